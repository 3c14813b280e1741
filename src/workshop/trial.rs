//! One program of a buildpack on one app, as its author tries it out.

use std::path::Path;

use super::bench::{Bench, WorkshopError};
use super::expectation::{Given, Outcome};
use super::found::Found;
use super::place::Place;
use crate::build::{BuildError, BuildRequest, BuildpackProgram, Event, plan};
use crate::buildpack::plan::{Conflict, Require};

/// What a trial came to.
#[derive(Debug)]
pub struct Tried {
    /// What was found.
    pub found: Found,
    /// What stood in for other buildpacks, so that the build plan held.
    pub stood_in: Given,
}

impl Bench<'_> {
    /// Runs `bin/detect`, or it and `bin/build`, on the app. What the build plan lacks of other buildpacks, stand-ins have.
    pub fn try_out(
        &self,
        program: BuildpackProgram,
        app: &Path,
        progress: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Tried, WorkshopError> {
        let place = Place::without_app(app)?;
        let mut stood_in = Given::default();
        let request = self.request_of(app, &stood_in, &place)?;
        if program == BuildpackProgram::Detect {
            return self.detect(&request, progress);
        }
        let ran = match self.build(&request, progress) {
            Err(WorkshopError::Build(BuildError::NothingFits(groups)))
                if groups.iter().any(|group| !group.conflicts.is_empty()) =>
            {
                let conflicts = groups.iter().flat_map(|group| &group.conflicts);
                conflicts.for_each(|conflict| stand_in_for(&mut stood_in, conflict));
                let request = self.request_of(app, &stood_in, &place)?;
                self.build(&request, progress)
            }
            ran => ran,
        };
        let (found, _) = ran?;
        Ok(Tried { found, stood_in })
    }

    fn detect(
        &self,
        request: &BuildRequest,
        progress: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Tried, WorkshopError> {
        let (found, ended) = self.listen(progress, |progress| plan(request, progress));
        let mut found = found?;
        let outcome = match ended {
            Ok(_) => Outcome::Pass,
            Err(error) => match self.outcome(&error) {
                Some((_, outcome)) => outcome,
                // Its own detect passed: what the plan lacks of others is no matter here.
                None if found.as_expectation.plan.is_some() => Outcome::Pass,
                None => return Err(error.into()),
            },
        };
        if outcome != Outcome::Pass {
            found.as_expectation.plan = None;
        }
        found.as_expectation.detect = outcome;
        Ok(Tried {
            found,
            stood_in: Given::default(),
        })
    }
}

fn stand_in_for(given: &mut Given, conflict: &Conflict) {
    match conflict {
        Conflict::Requires { name, .. } => given.provides.push(name.clone()),
        Conflict::Provides { name, .. } => given.requires.push(Require {
            name: name.clone(),
            ..Require::default()
        }),
        Conflict::NobodyLeft | Conflict::TooManyTrials => {}
    }
}
