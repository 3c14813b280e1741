//! What became of a release: each event an object of its own beside the
//! record, so that the record never changes.

use serde::{Deserialize, Serialize};

use super::json::{Reader, Schema};
use crate::ident::Digest;
use crate::sys::clock::Timestamp;

/// How much of a failed step's output is kept, in bytes: its end.
pub const TAIL_BYTES_MAX: usize = 16 * 1024;

/// What happened to a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Event {
    /// Its checks and its release command are under way.
    Pending,
    /// It may run; it is current until a higher one succeeds.
    Succeeded,
    /// It will never run.
    Failed {
        /// `release-command`, `interrupted`, …
        step: String,
        /// The exit code of that step, where it had one.
        exit: Option<i32>,
        /// The end of its output.
        tail: String,
    },
    /// It did not become ready on a host, which keeps serving the one before.
    Rejected {
        /// Which host.
        host: String,
        /// What was waited for.
        why: String,
    },
    /// A one-off process of it ended.
    Ran(Ran),
}

/// A one-off process that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ran {
    /// Who ran it.
    pub by: String,
    /// On which host.
    pub host: String,
    /// What: a process type, or a program with its arguments.
    pub process: String,
    /// When it began.
    pub started: Timestamp,
    /// The exit code; 128 + n for signal n.
    pub exit: i32,
}

impl Event {
    /// The word in its file's name and in its JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Rejected { .. } => "rejected",
            Self::Ran(_) => "ran",
        }
    }

    /// With no more of a tail than is kept: its end, whole characters, from the start of a line where there is one.
    pub(super) fn cut(&self) -> Self {
        match self {
            Self::Failed { step, exit, tail } if tail.len() > TAIL_BYTES_MAX => Self::Failed {
                step: step.clone(),
                exit: *exit,
                tail: end_of(tail).to_owned(),
            },
            whole => whole.clone(),
        }
    }
}

fn end_of(tail: &str) -> &str {
    let from = (tail.len() - TAIL_BYTES_MAX..tail.len()).find(|at| tail.is_char_boundary(*at));
    let end = &tail[from.unwrap_or(tail.len())..];
    end.split_once('\n')
        .map_or(end, |(_, lines)| if lines.is_empty() { end } else { lines })
}

/// An event as it lies beside its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventObject {
    pub(super) schema: Schema,
    pub(super) reader: Reader,
    /// The digest of the record it belongs to: so a changed last record, which no later one names, is found.
    pub(super) record: Digest,
    pub(super) at: Timestamp,
    pub(super) event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_its_last_lines_within_the_limit() {
        let failed = |tail: String| Event::Failed {
            step: "release-command".to_owned(),
            exit: Some(1),
            tail,
        };
        let at_limit = failed("x".repeat(TAIL_BYTES_MAX));
        assert_eq!(at_limit.cut(), at_limit);
        let lines = "line é\n".repeat(TAIL_BYTES_MAX / 4);
        let Event::Failed { tail, .. } = failed(lines).cut() else {
            panic!("another event")
        };
        assert!(tail.len() <= TAIL_BYTES_MAX && tail.len() > TAIL_BYTES_MAX - 16);
        assert!(tail.starts_with("line é\n") && tail.ends_with("line é\n"));
    }
}
