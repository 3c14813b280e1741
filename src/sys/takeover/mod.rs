//! What one program of a process leaves to the next over an exec: a state, and
//! open descriptors. The process id and the children stay; all memory goes.
//!
//! The state, with the numbers of the descriptors, is JSON in a file without a
//! name. Descriptors are close-on-exec at all times but between the last system
//! calls before the exec. Signals are held back from there until the next
//! program has handlers for them.

mod bag;
mod program;
mod rehearsal;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::io::Read as _;
use std::io::Seek as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

pub use bag::Bag;
pub use bag::Place;
pub use program::BadProgram;
pub use program::Program;
pub use rehearsal::Refusal;
pub use rehearsal::answer;
pub use rehearsal::rehearse;

use crate::sys::exec::assignments;
use crate::sys::exec::c_strings;
use crate::sys::syscall;

/// The name by which `main` knows that it is to go on where another program of the same process left off.
/// The argument after it is the number of the state's descriptor; more are for people who look at `ps`.
pub const TAKEOVER: &str = "slug-takeover";
/// The number of the format of the state, and of what inits and routers that are kept are told. A program reads
/// only its own: it refuses another, and the program that wrote it goes on.
pub const SCHEMA: u32 = 1;
/// The largest state, in bytes: that of 500 processes is a hundredth of it.
const STATE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why what was left cannot be taken over.
#[derive(Debug, Error)]
pub enum TakeoverError {
    /// The file, or a descriptor, could not be had.
    #[error("what the program before left could not be read")]
    Io(#[from] io::Error),
    /// It is not what a `slug` writes.
    #[error("what the program before left is not understood: {0}")]
    Garbled(String),
    /// Another version wrote it.
    #[error(
        "the state is in format {found}, and slug {} reads format {SCHEMA}",
        env!("CARGO_PKG_VERSION")
    )]
    Schema {
        /// Its number.
        found: u32,
    },
}

/// The head of every format, now and ever: it is read before all else.
#[derive(Deserialize)]
struct Head {
    schema: u32,
}

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    schema: u32,
    /// Nothing is to be taken over, only tried; no descriptor is there.
    is_rehearsal: bool,
    /// The next program refused, in these words: this one is the one before, and goes on.
    refused: Option<String>,
    /// The signals that were held back before all were.
    held_back: u64,
    /// The first is the program before: the way back. None in a rehearsal.
    descriptors: Vec<i32>,
    state: Value,
}

/// A state and descriptors, on the way to the next program.
#[derive(Debug)]
pub struct Package {
    /// All close-on-exec.
    descriptors: Vec<OwnedFd>,
    state: Value,
    is_rehearsal: bool,
    refused: Option<String>,
    /// None while this program is the one that packed it.
    held_back: Option<u64>,
}

impl Package {
    /// Packs them. The bag is one of `Bag::with_way_back`, and nothing was taken out of it.
    pub fn new(state: Value, bag: Bag) -> Self {
        Self {
            descriptors: bag.into_descriptors(),
            state,
            is_rehearsal: false,
            refused: None,
            held_back: None,
        }
    }

    /// What the program before left in the file of this number. To be called first of all in `main`, before a
    /// descriptor is opened.
    pub fn receive(number: i32) -> Result<Self, TakeoverError> {
        // The kernel names a program that was executed by a descriptor after its number.
        rustix::thread::set_name(c"slug").map_err(io::Error::from)?;
        let mut file = std::fs::File::from(bag::inherited(number)?);
        file.rewind()?;
        let mut bytes = Vec::new();
        file.take(STATE_BYTES_MAX).read_to_end(&mut bytes)?;
        let garbled = |error: serde_json::Error| TakeoverError::Garbled(error.to_string());
        let Head { schema } = serde_json::from_slice(&bytes).map_err(garbled)?;
        if schema != SCHEMA {
            return Err(TakeoverError::Schema { found: schema });
        }
        let envelope: Envelope = serde_json::from_slice(&bytes).map_err(garbled)?;
        Ok(Self {
            descriptors: bag::all_inherited(&envelope.descriptors)?,
            state: envelope.state,
            is_rehearsal: envelope.is_rehearsal,
            refused: envelope.refused,
            held_back: Some(envelope.held_back),
        })
    }

    /// Nothing is to be taken over: only whether it could be is asked.
    pub fn is_rehearsal(&self) -> bool {
        self.is_rehearsal
    }

    /// Why the program that was to take over did not. This one is the one before it, and goes on.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// What was left.
    pub fn state(&self) -> &Value {
        &self.state
    }

    /// Opens it: from here on there is no way back to the program before. The number is for `let_signals_in`.
    pub fn open(self) -> (Value, Bag, Option<u64>) {
        (self.state, Bag::from(self.descriptors), self.held_back)
    }

    /// Makes this process the program, which finds all of this. `arguments` are those after its name and the
    /// number of the state. Returns only why it could not; nothing has changed then.
    ///
    /// To be called where no other thread starts processes: they would get the descriptors.
    pub fn exec(
        &self,
        program: &Program,
        arguments: &[OsString],
        env: &BTreeMap<OsString, OsString>,
    ) -> io::Error {
        match self.try_exec(program.as_fd(), arguments, env, None) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Makes this process the program before again, which is told why. Returns only why it could not.
    pub fn go_back(
        &self,
        arguments: &[OsString],
        env: &BTreeMap<OsString, OsString>,
        why: &str,
    ) -> io::Error {
        let Some(before) = self.descriptors.first() else {
            return io::Error::from_raw_os_error(libc::EBADF);
        };
        match self.try_exec(before.as_fd(), arguments, env, Some(why)) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_exec(
        &self,
        program: BorrowedFd<'_>,
        arguments: &[OsString],
        env: &BTreeMap<OsString, OsString>,
        refused: Option<&str>,
    ) -> io::Result<std::convert::Infallible> {
        let held_back = syscall::hold_back(syscall::ALL_SIGNALS)?;
        let envelope = Envelope {
            schema: SCHEMA,
            is_rehearsal: false,
            refused: refused.map(str::to_owned),
            // Who took over holds all of them back already, and passes on what was held back before.
            held_back: self.held_back.unwrap_or(held_back),
            descriptors: self.descriptors.iter().map(OwnedFd::as_raw_fd).collect(),
            state: self.state.clone(),
        };
        let tried = envelope.seal().and_then(|file| {
            let argv = argv(&file, arguments)?;
            let env = c_strings(&assignments(env))?;
            bag::set_inherited(&self.descriptors, true)?;
            bag::set_inherited([&file], true)?;
            Err(program::exec(program, &argv, &env))
        });
        let _ = bag::set_inherited(&self.descriptors, false);
        let _ = syscall::hold_back(held_back);
        tried
    }
}

fn argv(file: &OwnedFd, arguments: &[OsString]) -> io::Result<Vec<CString>> {
    let mut argv = vec![
        OsString::from(TAKEOVER),
        file.as_raw_fd().to_string().into(),
    ];
    argv.extend_from_slice(arguments);
    c_strings(&argv)
}

impl Envelope {
    /// Into a file without a name, which nobody changes any more.
    fn seal(&self) -> io::Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("slug-state", flags)?;
        let mut file = std::fs::File::from(file);
        file.write_all(&serde_json::to_vec(self)?)?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK;
        rustix::fs::fcntl_add_seals(file.as_fd(), seals)?;
        Ok(file.into())
    }
}

/// The number of the state's descriptor, if this is how a program that is to take over was started.
pub fn asked(argv: &[OsString]) -> Option<i32> {
    let [name, number, ..] = argv else {
        return None;
    };
    (name == OsStr::new(TAKEOVER)).then(|| number.to_str()?.parse().ok())?
}

/// After a take-over: the signals that came meanwhile are delivered now. To be called on the first thread, once it
/// has handlers, with what `Package::open` gave.
pub fn let_signals_in(held_back: Option<u64>) -> io::Result<()> {
    held_back.map_or(Ok(()), |set| syscall::hold_back(set).map(drop))
}

#[cfg(test)]
mod tests;
