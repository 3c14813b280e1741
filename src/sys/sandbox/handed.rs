//! A running child on its way from one program of its caller's process to the
//! next. Inits are children of the process, whatever program that is: they are
//! waited for as before.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;

use rustix::process::Pid;
use serde::Deserialize;
use serde::Serialize;

use crate::sys::sandbox::Child;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::child::errands_from;
use crate::sys::sandbox::wire::Report;
use crate::sys::takeover::Bag;
use crate::sys::takeover::Place;

/// What is known of a child; its descriptors are in a bag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildState {
    pid: i32,
    init: Place,
    lifeline: Place,
    /// Reports, as the init sent them, that nobody has taken yet.
    early: Vec<Vec<u8>>,
    /// The caller's side of its terminal, if nobody has taken it.
    terminal: Option<Place>,
    executed: bool,
    reaped: bool,
    ended: Option<Exit>,
}

impl Child {
    /// What the next program needs, copies of the descriptors in the bag. The child goes on as it is; this hold on it
    /// is to end by `let_go` if the next program takes it, and not at all if it does not.
    pub fn state(&self, bag: &mut Bag) -> io::Result<ChildState> {
        Ok(ChildState {
            pid: self.pid.as_raw_pid(),
            init: bag.put_copy(self.init.as_fd())?,
            lifeline: bag.put_copy(self.lifeline.as_fd())?,
            early: self.early.iter().map(Report::encode).collect(),
            terminal: self
                .terminal
                .as_ref()
                .map(|terminal| bag.put_copy(terminal.as_fd()))
                .transpose()?,
            executed: self.executed,
            reaped: self.reaped,
            ended: self.ended,
        })
    }

    /// Ends this hold and nothing else: the child lives for as long as a copy of its lifeline is in a bag.
    pub fn let_go(mut self) {
        self.reaped = true;
    }

    /// Takes hold of a child that another program of this process left. An error leaves its descriptors closed,
    /// which ends it.
    pub fn adopt(state: ChildState, bag: &mut Bag) -> io::Result<Self> {
        let ChildState {
            pid,
            init,
            lifeline,
            early,
            terminal,
            executed,
            reaped,
            ended,
        } = state;
        let pid = Pid::from_raw(pid);
        let early: io::Result<_> = early.iter().map(|report| Report::decode(report)).collect();
        Ok(Self {
            pid: pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?,
            init: bag.take(init)?,
            lifeline: bag.take(lifeline)?,
            early: early?,
            terminal: terminal.map(|terminal| bag.take(terminal)).transpose()?,
            executed,
            reaped,
            ended,
            next_errand: errands_from(),
            errands: BTreeMap::new(),
        })
    }
}
