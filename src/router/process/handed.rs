//! The router's processes on their way from one program of the supervisor to
//! the next: they go on while it changes.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::time::Instant;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use super::Live;
use super::ProcessOptions;
use super::RouterProcess;
use super::Shared;
use super::State;
use super::attend;
use super::cause;
use super::launch;
use super::lock;
use super::message::Order;
use super::start_again;
use crate::router::Listener;
use crate::sys::helper::Helper;
use crate::sys::helper::HelperState;
use crate::sys::takeover::Bag;
use crate::sys::takeover::Place;

/// What is known of the router; its descriptors are in a bag.
#[derive(Serialize, Deserialize)]
struct Handed {
    /// Each with whether a service manager had bound it.
    listeners: Vec<(Place, bool)>,
    processes: Vec<HandedProcess>,
    /// Of the last table.
    number: u64,
}

#[derive(Serialize, Deserialize)]
struct HandedProcess {
    helper: HelperState,
    channel: Place,
}

impl RouterProcess {
    /// What another program of this process needs to go on with the router, copies of the descriptors in the bag. From
    /// then on none is started; those that run go on.
    pub fn hand_over(&self, bag: &mut Bag) -> io::Result<Value> {
        let _no_start_is_under_way = lock(&self.0.sending);
        let mut state = lock(&self.0.state);
        let listeners: io::Result<Vec<(Place, bool)>> = self
            .0
            .options
            .listeners
            .iter()
            .map(|listener| Ok((bag.put_copy(listener.as_fd())?, listener.is_inherited())))
            .collect();
        let processes: io::Result<Vec<HandedProcess>> = state
            .processes
            .iter()
            .map(|live| {
                Ok(HandedProcess {
                    helper: live.helper.state(bag)?,
                    channel: bag.put_copy(live.channel.as_fd())?,
                })
            })
            .collect();
        let handed = Handed {
            listeners: listeners?,
            processes: processes?,
            number: state.number,
        };
        let handed = serde_json::to_value(handed)?;
        state.is_handed_over = true;
        Ok(handed)
    }

    /// Goes on with what the program before left. `options` come without listeners, which were left too.
    pub fn adopt(mut options: ProcessOptions, handed: Value, bag: &mut Bag) -> io::Result<Self> {
        let Handed {
            listeners,
            processes,
            number,
        } = serde_json::from_value(handed)?;
        for (place, is_inherited) in listeners {
            let listener = Listener::received(bag.take(place)?, is_inherited)?;
            options.listeners.push(listener);
        }
        let shared = Arc::new(Shared {
            options,
            sending: Mutex::default(),
            state: Mutex::new(State {
                number,
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        for HandedProcess { helper, channel } in processes {
            let helper = Helper::adopt(helper, bag)?;
            attend(&shared, helper, bag.take(channel)?, Instant::now())?;
        }
        Ok(Self(shared))
    }

    /// Starts a process of this program, which takes all new connections; those that were handed over take none, and
    /// end with their last. If it cannot be started, that is said, and those that were handed over go on.
    pub fn renew(&self) {
        let before: Vec<_> = {
            let state = lock(&self.0.state);
            state.processes.iter().map(Live::handle).collect()
        };
        match launch(&self.0) {
            Ok(()) => {
                let _sending = lock(&self.0.sending);
                self.0.tell(&before, &Order::Retire);
            }
            Err(error) => {
                let line = format!("{error}: {}; the one before goes on", cause(&error));
                (self.0.options.say)(&line);
                if before.is_empty() {
                    start_again(&self.0, Instant::now());
                }
            }
        }
    }
}
