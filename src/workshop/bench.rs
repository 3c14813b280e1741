//! Runs a fixture: the app is built once or twice, in a store of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::compare::{Difference, compare};
use super::expectation::{Given, Outcome, Second};
use super::fixture::Fixture;
use super::found::{Found, Listener};
use super::place::Place;
use super::stand_in;
use crate::build::{
    BadReference, BuildError, BuildRequest, BuildpackProgram, Built, Event, OrderRequest,
    Reference, Why, build,
};
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::detection::{GroupVerdict, Verdict};
use crate::ident::LayerName;
use crate::layer::TomlError;
use crate::layer::user_env::{is_variable_name, is_variable_value};
use crate::store::Store;
use crate::sys::PathError;

/// Why a fixture could not be run to its end.
#[derive(Debug, Error)]
pub enum WorkshopError {
    /// A file could not be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// What the buildpack wrote, or an `expect.toml`, is wrong.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// The build ended for another reason than that a program of the buildpack failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// `before` or `after` of `given` is wrong.
    #[error("`{}/expect.toml`: {source}", folder.display())]
    Reference {
        /// The fixture's.
        folder: PathBuf,
        /// What is wrong.
        source: BadReference,
    },
    /// A variable of `given` cannot be given.
    #[error("`{}/expect.toml`: `{name}` cannot be the name of a variable, or not have that value", folder.display())]
    Variable {
        /// The fixture's.
        folder: PathBuf,
        /// Its name.
        name: String,
    },
}

/// Where fixtures are run.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The buildpack.
    pub buildpack: &'a Descriptor,
    /// What the builds have in common; source, store, order and variables are the fixture's. Any app will do.
    pub request: BuildRequest,
}

/// A fixture that was run.
#[derive(Debug)]
pub struct Tested {
    /// What was found, in the first build.
    pub found: Found,
    /// What is not as expected.
    pub differences: Vec<Difference>,
}

impl Bench<'_> {
    /// Runs a fixture; `progress` hears what both builds say.
    pub fn run(
        &self,
        fixture: &Fixture,
        progress: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Tested, WorkshopError> {
        let expected = fixture.expected.clone().unwrap_or_default();
        let place = Place::make(fixture)?;
        let request = self.request_of(&fixture.folder, &expected.given(), &place)?;
        let (mut found, built) = self.build(&request, progress)?;
        let wants_second = fixture.expected.is_none() || expected.second.is_some();
        let mut second = None;
        if built.is_some() && wants_second {
            place.lay_over(&fixture.second())?;
            let (again, built) = self.build(&request, progress)?;
            let kept = built.map(|built| self.kept(&built));
            second = Some((
                Second {
                    kept,
                    output: Vec::new(),
                },
                again.output,
            ));
        }
        let told = second
            .as_ref()
            .map(|(second, output)| (second, output.as_str()));
        let differences = compare(&expected, &found, told);
        found.as_expectation.second = second.map(|(second, _)| second);
        found.as_expectation.given = expected.given;
        Ok(Tested { found, differences })
    }

    /// One build, and what became of this buildpack in it; the slug, if it came to that.
    pub(super) fn build(
        &self,
        request: &BuildRequest,
        progress: &mut dyn FnMut(&Event<'_>),
    ) -> Result<(Found, Option<Built>), WorkshopError> {
        let (found, ended) = self.listen(progress, |progress| build(request, progress));
        let built = match ended {
            // What could not be read is why the build ended, unless it went on.
            Ok(built) => return Ok((found?, Some(built))),
            Err(error) => error,
        };
        let mut found = found.unwrap_or_default();
        let as_found = &mut found.as_expectation;
        match self.outcome(&built) {
            Some((BuildpackProgram::Detect, outcome)) => {
                as_found.detect = outcome;
                as_found.plan = None;
            }
            Some((BuildpackProgram::Build, outcome)) => as_found.build = outcome,
            None => return Err(built.into()),
        }
        Ok((found, None))
    }

    /// Takes down what this buildpack does in a build or plan.
    pub(super) fn listen<T>(
        &self,
        progress: &mut dyn FnMut(&Event<'_>),
        run: impl FnOnce(&mut dyn FnMut(Event<'_>)) -> Result<T, BuildError>,
    ) -> (Result<Found, TomlError>, Result<T, BuildError>) {
        let mut listener = Listener::new(&self.buildpack.id);
        let ended = run(&mut |event| {
            listener.hear(&event);
            progress(&event);
        });
        (listener.finish(), ended)
    }

    /// How this buildpack's programs ended, if the build ended by one of them.
    pub(super) fn outcome(&self, error: &BuildError) -> Option<(BuildpackProgram, Outcome)> {
        let of_group = |groups: &[GroupVerdict]| {
            let members = groups.iter().flat_map(|group| &group.members);
            let mut own = members.filter(|member| member.buildpack == self.buildpack.id);
            match own.next()?.verdict {
                Verdict::Declined => Some((BuildpackProgram::Detect, Outcome::Fail)),
                Verdict::Failed { .. } | Verdict::Error(_) => {
                    Some((BuildpackProgram::Detect, Outcome::Error))
                }
                Verdict::Passed | Verdict::OtherExecEnv => None,
            }
        };
        match error {
            BuildError::NothingFits(groups) | BuildError::DetectFailed(groups) => of_group(groups),
            BuildError::BuildFailed { buildpack, .. } => (*buildpack == self.buildpack.id)
                .then_some((BuildpackProgram::Build, Outcome::Error)),
            BuildError::Problems(_) => Some((BuildpackProgram::Build, Outcome::Error)),
            _ => None,
        }
    }

    fn kept(&self, built: &Built) -> Vec<LayerName> {
        let own = built.layers.iter().filter(|layer| {
            layer.buildpack.as_ref() == Some(&self.buildpack.id) && matches!(layer.why, Why::Kept)
        });
        own.filter_map(|layer| layer.name.parse().ok()).collect()
    }

    /// `folder`: where the references of `given` begin.
    pub(super) fn request_of(
        &self,
        folder: &Path,
        given: &Given,
        place: &Place,
    ) -> Result<BuildRequest, WorkshopError> {
        let mut request = self.request.clone();
        request.source.clone_from(&place.app);
        request.store = Store::open(&place.store, &place.store)?;
        request.order = self.order(folder, given, place.folder())?;
        if let Some(exec_env) = &given.exec_env {
            request.exec_env = exec_env.clone();
        }
        for (name, value) in &given.env {
            let (name, value) = (OsString::from(name), OsString::from(value));
            if !is_variable_name(&name) || !is_variable_value(&value) {
                return Err(WorkshopError::Variable {
                    folder: folder.to_owned(),
                    name: name.to_string_lossy().into_owned(),
                });
            }
            request.env.insert(name, value);
        }
        Ok(request)
    }

    fn order(
        &self,
        folder: &Path,
        given: &Given,
        stand_ins: &Path,
    ) -> Result<OrderRequest, WorkshopError> {
        let parse = |text: &String| {
            let is_built_in = |id: &str| self.request.built_ins.has(id);
            Reference::parse(text, folder, &is_built_in).map_err(|source| {
                WorkshopError::Reference {
                    folder: folder.to_owned(),
                    source,
                }
            })
        };
        let (earlier, later) = stand_in::make(given, stand_ins)?;
        let mut buildpacks: Vec<Reference> = earlier.into_iter().collect();
        for text in &given.before {
            buildpacks.push(parse(text)?);
        }
        buildpacks.push(Reference::Path(self.buildpack.folder.clone()));
        for text in &given.after {
            buildpacks.push(parse(text)?);
        }
        buildpacks.extend(later);
        Ok(OrderRequest {
            buildpacks,
            ..OrderRequest::default()
        })
    }
}
