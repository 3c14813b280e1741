//! Which group of buildpacks takes the app (rules 10-17).

use crate::buildpack::plan::Conflict;
use crate::ident::BuildpackId;

/// What became of one group that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupVerdict {
    /// Each member, in order.
    pub members: Vec<MemberVerdict>,
    /// Why the plans of those that passed do not fit together; empty if it did not come to that.
    pub conflicts: Vec<Conflict>,
}

/// What a member of a group said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberVerdict {
    /// Who.
    pub buildpack: BuildpackId,
    /// May be left out.
    pub optional: bool,
    /// What it said.
    pub verdict: Verdict,
}

/// What a `bin/detect` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Exit 0.
    Passed,
    /// Exit 100: the app is not for it.
    Declined,
    /// Any other exit.
    Failed {
        /// 128 + n for signal n.
        exit: i32,
        /// The last of its output.
        tail: Vec<u8>,
    },
    /// It could not be run, it did not end in time, or its plan cannot be read.
    Error(String),
}
