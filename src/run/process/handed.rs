//! A process on its way from one program of the supervisor to the next.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::rc::Rc;

use serde::Deserialize;
use serde::Serialize;

use super::Process;
use crate::ident::Instance;
use crate::ident::ReleaseVersion;
use crate::logs::Labels;
use crate::logs::Voice;
use crate::run::formation::TypePlan;
use crate::run::port::Port;
use crate::sys::cgroup::Leaf;
use crate::sys::sandbox::Child;
use crate::sys::sandbox::ChildState;
use crate::sys::takeover::Bag;
use crate::sys::takeover::Place;

/// What is known of it; its descriptors are in a bag, its pipes with the pump.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::run) struct ProcessState {
    instance: Instance,
    version: ReleaseVersion,
    plan: TypePlan,
    /// The number that the pump has for it.
    voice: u64,
    port: Option<(u16, Place)>,
    child: ChildState,
    /// Its cgroup, if it is limited.
    #[serde(default)]
    leaf: Option<PathBuf>,
}

impl Process {
    /// What the next program needs, copies of the descriptors in the bag.
    pub(in crate::run) fn state(&self, bag: &mut Bag) -> io::Result<ProcessState> {
        let port = match &self.port {
            Some(port) => Some((port.number(), bag.put_copy(port.as_fd())?)),
            None => None,
        };
        Ok(ProcessState {
            instance: self.instance.clone(),
            version: self.version,
            plan: self.plan.clone(),
            voice: self.voice.id(),
            port,
            child: self.child.borrow().state(bag)?,
            leaf: self.leaf.as_ref().map(|leaf| leaf.folder().to_owned()),
        })
    }

    /// Ends this hold alone: the next program has the process. No other clone is left.
    pub(in crate::run) fn let_go(self) {
        if let Some(child) = Rc::into_inner(self.child) {
            child.into_inner().let_go();
        }
        if let Some(leaf) = self.leaf.and_then(Rc::into_inner) {
            leaf.let_go();
        }
    }

    /// Goes on with a process that the program before left; `voice` gives what the pump that was handed over has
    /// for a number.
    pub(in crate::run) fn adopt(
        state: ProcessState,
        voice: impl FnOnce(u64, &Labels) -> Voice,
        bag: &mut Bag,
    ) -> io::Result<Self> {
        let labels = Labels {
            source: state.instance.to_string(),
            release: Some(state.version),
        };
        let port = match state.port {
            Some((number, claim)) => Some(Rc::new(Port::adopt(number, bag.take(claim)?))),
            None => None,
        };
        Ok(Self {
            instance: state.instance,
            version: state.version,
            plan: state.plan,
            voice: voice(state.voice, &labels),
            port,
            child: Rc::new(RefCell::new(Child::adopt(state.child, bag)?)),
            leaf: state.leaf.map(Leaf::adopt).map(Rc::new),
            memory_kills: Rc::default(),
            is_ending: Rc::default(),
        })
    }
}
