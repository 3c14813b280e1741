//! A started process of a folder, from its first report to its last line.

use std::io;

use crate::ident::Instance;
use crate::logs::Voice;
use crate::run::process::words;
use crate::run::supervisor::Ending;
use crate::sys::sandbox::Exit;
use crate::sys::tree::Report;
use crate::sys::tree::Tree;

/// A process and what is known of it.
pub(super) struct Running {
    pub(super) instance: Instance,
    pub(super) tree: Tree,
    pub(super) voice: Voice,
    failure: Option<String>,
    exit: Option<Exit>,
    /// How many of what it left were killed, and how many could not be.
    emptied: Option<(u32, u32)>,
}

impl Running {
    pub(super) fn new(instance: Instance, tree: Tree, voice: Voice) -> Self {
        Self {
            instance,
            tree,
            voice,
            failure: None,
            exit: None,
            emptied: None,
        }
    }

    /// Remembers what a report says.
    pub(super) fn note(&mut self, report: &Report) {
        match report {
            Report::Started { .. } | Report::Gone => {}
            Report::NotExecuted { doing, errno } => {
                let why = io::Error::from_raw_os_error(*errno);
                self.failure = Some(format!("could not be started: could not {doing}: {why}"));
            }
            Report::Ended { exit, .. } => self.exit = Some(*exit),
            Report::Empty { killed, left } => self.emptied = Some((*killed, *left)),
        }
    }

    /// Its init ended before the tree was empty: somebody killed it.
    pub(super) fn lost_its_init(&self) -> bool {
        self.emptied.is_none() && self.failure.is_none()
    }

    /// How it ended.
    pub(super) fn ending(&self) -> Ending {
        let mut text = match (&self.failure, self.exit) {
            (Some(failure), _) => failure.clone(),
            (None, Some(exit)) => words(exit),
            (None, None) if self.emptied.is_some() => "could not be ended".to_owned(),
            (None, None) => "was killed with its init".to_owned(),
        };
        let (killed, left) = self.emptied.unwrap_or_default();
        if killed > 0 {
            let left = processes(killed);
            text = format!("{text}; {left} that it left had to be killed");
        }
        if left > 0 {
            let left = processes(left);
            text = format!("{text}; {left} of another user, which slug may not end, went on");
        }
        Ending {
            code: self.exit.filter(|_| self.failure.is_none()).map(Exit::code),
            text,
        }
    }
}

/// `1 process`, `2 processes`.
pub(super) fn processes(count: u32) -> String {
    match count {
        1 => "1 process".to_owned(),
        _ => format!("{count} processes"),
    }
}
