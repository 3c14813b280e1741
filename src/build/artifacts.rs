//! What buildpacks need from elsewhere: named in their build plans, fetched
//! before any of them builds, shown to the one that asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::site::PLATFORM;
use super::{BuildError, BuildRequest, Event, portable};
use crate::buildpack::plan::{BuildpackPlan, Entry, Require};
use crate::ident::Digest;
use crate::sys::fetch::{Artifact, FetchError, FetchProgress, FetchSettings, Fetcher};
use crate::sys::sandbox::Mount;

/// The key of a require's metadata under which they stand.
const KEY: &str = "artifacts";

/// What was got, by the digests of all its sources, and what was not.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    files: BTreeMap<Digest, PathBuf>,
    /// Not to be had, and not needed: by the first source.
    pub(super) missing: Vec<Digest>,
}

/// The artifacts of a require. What does not look like artifacts is the buildpack's own business.
pub(super) fn of(require: &Require) -> Vec<Artifact> {
    let value = require.metadata.get(KEY).cloned();
    value
        .and_then(|value| value.try_into().ok())
        .unwrap_or_default()
}

/// All artifacts of a plan, each once.
pub(super) fn of_plan(entries: &[Entry]) -> Vec<Artifact> {
    let mut all: Vec<Artifact> = Vec::new();
    for artifact in entries
        .iter()
        .flat_map(|entry| &entry.requires)
        .flat_map(of)
    {
        if !artifact.sources.is_empty() && !all.contains(&artifact) {
            all.push(artifact);
        }
    }
    all
}

/// Gets things for one build.
pub(super) fn fetcher(request: &BuildRequest) -> Fetcher {
    Fetcher::new(FetchSettings {
        folder: request.store.host().join("cache/artifacts"),
        mirror: request.mirror.clone(),
        offline: request.offline,
        env: request.operator_env.clone(),
        cancel: request.cancel.clone(),
        carried: portable::artifacts(request),
    })
}

/// Gets all artifacts. `known_missing` are those that were not to be had at the last build of this very plan:
/// nobody is asked for them again. Those that are needed and cannot be had are all named in one error.
pub(super) fn fetch(
    fetcher: &Fetcher,
    artifacts: &[Artifact],
    known_missing: &[Digest],
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Fetched, BuildError> {
    let mut fetched = Fetched::default();
    let mut errors: Vec<FetchError> = Vec::new();
    for artifact in artifacts {
        let first = artifact.sources[0].sha256;
        let is_hopeless = !artifact.required
            && known_missing.contains(&first)
            && fetcher.have(artifact).is_none();
        if is_hopeless {
            fetched.missing.push(first);
            continue;
        }
        match fetch_one(fetcher, artifact, progress) {
            Ok(file) => fetched.files.extend(
                artifact
                    .sources
                    .iter()
                    .map(|source| (source.sha256, file.clone())),
            ),
            Err(error) if artifact.required => errors.push(error),
            Err(error) => {
                progress(Event::Warning(&format!(
                    "{error}; the build goes on without it"
                )));
                fetched.missing.push(first);
            }
        }
    }
    if errors.is_empty() {
        Ok(fetched)
    } else {
        Err(BuildError::Artifacts { missing: errors })
    }
}

/// Gets one.
pub(super) fn fetch_one(
    fetcher: &Fetcher,
    artifact: &Artifact,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<PathBuf, FetchError> {
    let name = format!("{} {}", artifact.name, artifact.version);
    fetcher.fetch(artifact, &mut |step| match step {
        FetchProgress::Asking(place) => progress(Event::Fetching {
            artifact: &name,
            place,
        }),
        FetchProgress::Bytes { done, total } => progress(Event::Fetched { bytes: done, total }),
        FetchProgress::Failed { place, why } => {
            progress(Event::FetchFailed {
                artifact: &name,
                place,
                why,
            });
        }
    })
}

impl Fetched {
    /// The files.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.values().map(PathBuf::as_path)
    }

    /// The files, and their names in `/platform/artifacts`: their digests.
    pub(super) fn names(&self) -> impl Iterator<Item = &std::ffi::OsStr> {
        self.files.values().filter_map(|file| file.file_name())
    }

    /// What the buildpack that is handed this plan sees of them.
    pub(super) fn seen_by(&self, handed: &BuildpackPlan) -> Vec<Mount> {
        let artifacts = handed.entries.iter().flat_map(of);
        let files = artifacts
            .filter_map(|artifact| self.files.get(&artifact.sources.first()?.sha256).cloned());
        let mut files: Vec<PathBuf> = files.collect();
        files.sort();
        files.dedup();
        let mount = |from: PathBuf| {
            let to = Path::new(PLATFORM)
                .join("artifacts")
                .join(from.file_name()?);
            Some(Mount::Bind {
                from,
                to,
                read_only: true,
            })
        };
        files.into_iter().filter_map(mount).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(name: &str, required: bool) -> Artifact {
        let source = crate::sys::fetch::Source {
            url: Some(format!("https://example.invalid/{name}")),
            purl: None,
            sha256: Digest::of(name.as_bytes()),
            size_bytes: None,
        };
        Artifact {
            name: name.to_owned(),
            version: "1".to_owned(),
            required,
            instead: None,
            sources: vec![source],
        }
    }

    fn offline(folder: &Path, mirror: &Path) -> Fetcher {
        Fetcher::new(FetchSettings {
            folder: folder.to_owned(),
            mirror: Some(mirror.display().to_string()),
            offline: true,
            ..FetchSettings::default()
        })
    }

    fn require(artifacts: &[Artifact]) -> Require {
        let value = toml::Value::try_from(artifacts).unwrap();
        Require {
            name: "x".to_owned(),
            metadata: toml::Table::from_iter([(KEY.to_owned(), value)]),
        }
    }

    #[test]
    fn all_that_is_needed_and_not_to_be_had_is_named_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fetcher = offline(&folder.path().join("kept"), folder.path());
        let wanted = [
            artifact("a", true),
            artifact("b", false),
            artifact("c", true),
        ];
        let error = fetch(&fetcher, &wanted, &[], &mut |_| {}).unwrap_err();
        let BuildError::Artifacts { missing } = error else {
            panic!("{error}")
        };
        assert_eq!(
            missing
                .iter()
                .map(|error| error.name.as_str())
                .collect::<Vec<_>>(),
            ["a", "c"]
        );
    }

    #[test]
    fn what_was_not_to_be_had_at_the_last_build_of_this_plan_is_not_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let fetcher = offline(&folder.path().join("kept"), folder.path());
        let wanted = [artifact("a", false)];
        let mut asked = 0;
        let mut count =
            |event: Event<'_>| asked += usize::from(matches!(event, Event::Fetching { .. }));
        let first = fetch(&fetcher, &wanted, &[], &mut count).unwrap();
        let second = fetch(&fetcher, &wanted, &first.missing, &mut count).unwrap();
        assert_eq!(first.missing, second.missing);
        assert!(asked > 0);
        let after_first = asked;
        let mut count =
            |event: Event<'_>| asked += usize::from(matches!(event, Event::Fetching { .. }));
        fetch(&fetcher, &wanted, &first.missing, &mut count).unwrap();
        assert_eq!(asked, after_first);
    }

    #[test]
    fn a_buildpack_sees_what_it_asked_for_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            let path = folder.path().join(Digest::of(name.as_bytes()).hex());
            crate::sys::fs::write_atomic(&path, name.as_bytes(), 0o644).unwrap();
        }
        let fetcher = offline(&folder.path().join("kept"), folder.path());
        let fetched = fetch(
            &fetcher,
            &[artifact("a", true), artifact("b", true)],
            &[],
            &mut |_| {},
        )
        .unwrap();
        let seen = fetched.seen_by(&BuildpackPlan {
            entries: vec![require(&[artifact("a", true)]); 2],
        });
        let expected = Path::new("/platform/artifacts").join(Digest::of(b"a").hex());
        assert_eq!(seen.iter().map(Mount::to).collect::<Vec<_>>(), [expected]);
        let other = toml::Table::from_iter([(KEY.to_owned(), toml::Value::from("mine"))]);
        assert!(
            of(&Require {
                name: String::new(),
                metadata: other
            })
            .is_empty()
        );
    }
}
