//! A file that another program rotates: appended to, and opened anew when it was moved away.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::Batch;
use super::Form;
use super::Policy;
use super::Sink;
use super::Written;

/// `file:/path` and `ndjson:/path`.
#[derive(Debug)]
pub struct TextFile {
    path: PathBuf,
    form: Form,
    name: String,
    file: Option<File>,
    /// Lines since the last that could be written.
    lost: u64,
    shown: Vec<u8>,
}

impl TextFile {
    /// Appends to `path`, which is made (0600) when the first line comes.
    pub fn new(path: PathBuf, form: Form, name: String) -> Self {
        Self {
            path,
            form,
            name,
            file: None,
            lost: 0,
            shown: Vec::new(),
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        let is_there = |file: &File| {
            let (ours, theirs) = (file.metadata(), fs::metadata(&self.path));
            matches!((ours, theirs), (Ok(ours), Ok(theirs)) if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
        };
        let file = if let Some(file) = self.file.take().filter(is_there) {
            file
        } else {
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o600);
            options.open(&self.path)?
        };
        self.file.insert(file).write_all(&self.shown)
    }
}

impl Sink for TextFile {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn policy(&self) -> Policy {
        Policy::Block
    }

    fn write(&mut self, batches: &[Arc<Batch>], _alive: &dyn Fn()) -> Written {
        self.shown.clear();
        if self.lost > 0 {
            let marker = super::outlet::missing(&self.name, self.lost);
            self.shown.push(b'\n'); // a failed write may have left half a line
            self.form.write(&marker, &mut self.shown);
        }
        for batch in batches {
            self.form.write(batch, &mut self.shown);
        }
        match self.try_write() {
            Ok(()) => {
                self.lost = 0;
                Written::All
            }
            Err(error) => {
                self.lost += batches.iter().map(|batch| batch.count()).sum::<u64>();
                Written::Lost(format!("{error}; lines are counted, not written"))
            }
        }
    }
}
