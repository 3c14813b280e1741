//! The modes of new files, for as long as the code that makes them runs.

use rustix::fs::Mode;

/// As long as it lives, new files and folders have the modes that the code asks for, but no write by group and others;
/// then the umask is what it was. It is the whole process's: only code that owns the process while it runs may take it.
#[derive(Debug)]
#[must_use]
pub struct PlainModes(Mode);

impl PlainModes {
    /// Takes the umask 022.
    pub fn take() -> Self {
        Self(rustix::process::umask(Mode::WGRP | Mode::WOTH))
    }
}

impl Drop for PlainModes {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}
