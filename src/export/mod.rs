//! The service that runs `slug up`, in the words of a process manager of the
//! operating system (`spec/export.md`). Pure: what to run comes in, files come
//! out; no config value is in any of them.

mod quote;
mod supervision;
mod supervisord;
mod systemd;
#[cfg(test)]
mod tests;

use std::time::Duration;

use thiserror::Error;

use crate::ident::AppName;
use crate::ident::shown;

pub use quote::for_sh;
pub use quote::for_supervisord;
pub use quote::for_systemd;

/// The longest name of a user, in bytes.
const USER_BYTES_MAX: usize = 32;

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// systemd, a unit.
    Systemd,
    /// runit, a service directory.
    Runit,
    /// s6, a service directory.
    S6,
    /// supervisord, a part of its configuration.
    Supervisord,
}

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which app.
    pub app: AppName,
    /// The binary and its arguments: the first is an absolute path.
    pub command: Vec<String>,
    /// Who runs it; the manager's own user if none.
    pub user: Option<User>,
    /// How long the app's processes may take to end, with a margin.
    pub stop_within: Duration,
}

/// One file, below the folder that was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportFile {
    /// Where, with `/`.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Is it a program?
    pub is_executable: bool,
}

/// A value that the manager's files cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadExport {
    /// An end of a line, in a file where lines are all that there is.
    #[error("`{0}` has a control character, which a configuration of supervisord cannot hold")]
    Control(String),
    /// Not what users are called.
    #[error(
        "`{0}` cannot be the name of a user (expected a letter or `_`, then letters, digits, `_` and `-`, at most {USER_BYTES_MAX})"
    )]
    User(String),
}

/// The name of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(String);

impl std::str::FromStr for User {
    type Err = BadExport;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if begins && text.bytes().all(fits) && text.len() <= USER_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadExport::User(shown(text)))
        }
    }
}

/// The files that make the manager run the service.
pub fn files(manager: Manager, service: &Service) -> Result<Vec<ExportFile>, BadExport> {
    match manager {
        Manager::Systemd => Ok(systemd::files(service)),
        Manager::Runit => Ok(supervision::runit(service)),
        Manager::S6 => Ok(supervision::s6(service)),
        Manager::Supervisord => supervisord::files(service),
    }
}

/// What the service is called everywhere.
fn name(service: &Service) -> String {
    format!("slug-{}", service.app)
}

/// The words, quoted, with blanks between them.
fn joined(words: &[String], quote: fn(&str) -> String) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    quoted.join(" ")
}
