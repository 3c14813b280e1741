//! What clients of the control socket want.

use std::collections::BTreeMap;

use super::Reactor;
use super::UpError;
use super::handover::Client;
use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;
use crate::run::control;
use crate::run::control::Asked;
use crate::run::control::Replies;
use crate::run::control::Reply;
use crate::run::control::Request;
use crate::run::formation::HostState;
use crate::run::formation::INSTANCES_MAX;
use crate::run::one_off::chain;
use crate::run::process::Process;
use crate::run::supervisor::Event;
use crate::run::supervisor::Moment;
use crate::run::supervisor::Which;
use crate::sys::clock::Timestamp;

impl Reactor {
    /// A client of the control socket wants something.
    pub(super) fn on_asked(&mut self, asked: Asked) -> Result<(), UpError> {
        let Asked {
            request,
            replies,
            connection,
        } = asked;
        match request {
            Request::Upgrade { program } => {
                let client = connection.map(|connection| Client {
                    replies,
                    connection,
                });
                self.begin_upgrade(&program, client);
            }
            Request::Ps => drop(replies.send(Reply::Processes {
                processes: self.seen(),
            })),
            Request::Scale { counts } => drop(replies.send(self.scale(counts))),
            Request::Restart { which } => drop(replies.send(self.restart(which.as_deref()))),
            Request::Maintenance => drop(replies.send(self.maintain())),
            Request::Stop => {
                self.stoppers.push(replies);
                if !self.is_stopping {
                    self.stop();
                }
            }
            Request::Follow { version } => {
                self.look()?;
                self.follow(version, replies);
            }
        }
        Ok(())
    }

    fn seen(&self) -> Vec<control::Process> {
        let at = |since: Moment| {
            let us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_unix_us(self.began_at.unix_us().saturating_add(us))
                .unwrap_or(self.began_at)
        };
        let seen = self.supervisor.seen().into_iter();
        let process = |id| self.processes.get(&id);
        seen.map(|seen| control::Process {
            pid: seen.id.and_then(process).and_then(Process::pid),
            port: seen
                .id
                .and_then(process)
                .and_then(Process::address)
                .map(|address| address.port()),
            instance: seen.instance,
            release: seen.version,
            state: seen.state.to_owned(),
            since: at(seen.since),
            crashes: seen.crashes,
            next: seen.next.map(at),
        })
        .collect()
    }

    fn scale(&mut self, counts: BTreeMap<ProcessType, u32>) -> Reply {
        if let Some((process_type, count)) =
            counts.iter().find(|(_, count)| **count > INSTANCES_MAX)
        {
            return Reply::Refused {
                why: format!("{process_type}={count} is more than {INSTANCES_MAX}"),
            };
        }
        let remembered = counts.clone();
        let changed = HostState::change(&self.options.store, &self.options.app, |state| {
            state.scale.extend(remembered);
        });
        if let Err(error) = changed {
            return Reply::Refused { why: chain(&error) };
        }
        self.step([Event::Scaled(counts)]);
        Reply::Done
    }

    /// As the host's state has it now.
    fn maintain(&self) -> Reply {
        match HostState::load(&self.options.store, &self.options.app) {
            Ok(state) => {
                let word = if state.maintenance.is_some() {
                    "on"
                } else {
                    "off"
                };
                self.options.front.maintenance(state.maintenance);
                self.say(None, &format!("maintenance is {word}"));
                Reply::Done
            }
            Err(error) => Reply::Refused { why: chain(&error) },
        }
    }

    fn restart(&mut self, which: Option<&str>) -> Reply {
        let refused = |why: String| Reply::Refused { why };
        let Some(current) = self.supervisor.current_plan().cloned() else {
            return refused("nothing is up yet".to_owned());
        };
        if let Some(incoming) = self.supervisor.incoming() {
            return refused(format!(
                "{incoming} is being started: that starts everything anew"
            ));
        }
        let Some(which) = which else {
            self.step([Event::Released(current)]);
            return Reply::Done;
        };
        let as_instance = which
            .parse::<Instance>()
            .ok()
            .filter(|instance| current.types.contains_key(&instance.process_type));
        let as_type = which
            .parse::<ProcessType>()
            .ok()
            .filter(|process_type| current.types.contains_key(process_type));
        // A type may have a dot in its name: `web.1` is one if the slug says so.
        let which = match (as_type, as_instance) {
            (Some(process_type), _) => Which::Type(process_type),
            (None, Some(instance)) => Which::Instance(instance),
            (None, None) => {
                return refused(format!("{} has no process `{which}`", current.version));
            }
        };
        self.step([Event::Recycled(which)]);
        Reply::Done
    }

    /// Answers at once if it is over, else when it is.
    fn follow(&mut self, version: ReleaseVersion, replies: Replies) {
        let is_up = self.supervisor.current() == Some(version)
            && self.supervisor.is_settled()
            && self.supervisor.incoming().is_none();
        let reply = match self.ledger.get(version) {
            Err(error) => Some(Reply::Refused { why: chain(&error) }),
            Ok(_) if is_up => Some(Reply::Switched { version }),
            Ok(release) if !release.succeeded() => {
                let why = format!("{version} has not succeeded: it does not run");
                Some(Reply::Refused { why })
            }
            Ok(release) => {
                let rejected = release
                    .rejected
                    .into_iter()
                    .find(|(host, _)| *host == self.options.host);
                let newest = self
                    .loading
                    .or(self.supervisor.incoming())
                    .or(self.supervisor.current());
                match rejected {
                    Some((_, why)) => Some(Reply::Rejected {
                        version,
                        why,
                        tail: String::new(),
                    }),
                    None => newest
                        .filter(|newest| *newest > version)
                        .map(|by| Reply::Superseded { by }),
                }
            }
        };
        match reply {
            Some(reply) => drop(replies.send(reply)),
            None => self.followers.push((version, replies)),
        }
    }
}
