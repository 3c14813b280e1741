//! The file of a program, opened and looked at, so that what is tried and what
//! is executed later are the same.

use std::ffi::CStr;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use thiserror::Error;

use crate::sys::syscall;

/// A program that may be executed.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// Why a file is not executed in this process's place.
#[derive(Debug, Error)]
pub enum BadProgram {
    /// It could not be opened or read.
    #[error("it could not be opened")]
    Io(#[from] io::Error),
    /// A folder, a pipe, a device.
    #[error("it is not a regular file")]
    NotRegular,
    /// No execute bit.
    #[error("it is not executable")]
    NotExecutable,
    /// Whoever owns it could make this process do anything.
    #[error("it belongs to uid {owner}, and may belong to root or to uid {own} alone")]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Whose this process is.
        own: u32,
    },
    /// The same, for everybody.
    #[error("everybody may write to it")]
    Writable,
    /// A script, or anything else that is no ELF file.
    #[error("it is no program of slug: a script, or no program at all")]
    NotElf,
}

impl Program {
    /// Opens the file at the path, which must be a regular executable of root's or of this process's user, and
    /// not be writable by everybody.
    pub fn open(path: &Path) -> Result<Self, BadProgram> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
        let mut file = File::from(file);
        let metadata = file.metadata()?;
        let own = rustix::process::geteuid().as_raw();
        match metadata.mode() {
            _ if !metadata.is_file() => return Err(BadProgram::NotRegular),
            mode if mode & 0o111 == 0 => return Err(BadProgram::NotExecutable),
            _ if metadata.uid() != 0 && metadata.uid() != own => {
                let owner = metadata.uid();
                return Err(BadProgram::Owner { owner, own });
            }
            mode if mode & 0o002 != 0 => return Err(BadProgram::Writable),
            _ => {}
        }
        let mut magic = Vec::new();
        (&mut file).take(4).read_to_end(&mut magic)?;
        if magic != b"\x7fELF" {
            return Err(BadProgram::NotElf);
        }
        Ok(Self(file.into()))
    }

    /// The program that this process is now, even where its file is gone from its folder. Needs `/proc`, as every
    /// start of a sandbox does.
    pub fn own() -> io::Result<Self> {
        File::open("/proc/self/exe").map(|file| Self(file.into()))
    }
}

/// Becomes the program in the descriptor; returns only why not.
pub(super) fn exec(program: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> io::Error {
    let argv: Vec<&CStr> = argv.iter().map(CString::as_c_str).collect();
    let env: Vec<&CStr> = env.iter().map(CString::as_c_str).collect();
    // Rust's runtime ignores it, and what is ignored stays so over an exec.
    syscall::default_signal(libc::SIGPIPE);
    let error = syscall::execveat(program, &argv, &env);
    syscall::ignore_signal(libc::SIGPIPE);
    error
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
