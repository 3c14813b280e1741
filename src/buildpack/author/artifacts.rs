//! Artifacts on a platform that fetches none: the buildpack gets them itself,
//! into a layer of its own that is cached.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;

use super::{AuthoredLayer, BuildContext, Failure, LayerTypes};
use crate::sys::At as _;
use crate::sys::cancel::Cancel;
use crate::sys::fetch::{Artifact, FetchProgress, FetchSettings, Fetcher};
use crate::sys::fs::remove_tree;

/// The layer.
pub(super) const LAYER: &str = "artifacts";
/// A URL or folder that is asked first, as `slug build --mirror` is.
const MIRROR: &str = "SLUG_MIRROR";

/// Gets what the plan names, unless the platform did: it then made the folder for it, if only an empty one.
pub(super) fn provide(context: &BuildContext) -> Result<(), Failure> {
    let wanted = &context.plan.artifacts;
    if wanted.is_empty() || context.platform.join("artifacts").is_dir() {
        return Ok(());
    }
    let layer = context.layer(LAYER);
    if !layer.dir.is_dir() {
        layer.renew()?;
    }
    let fetcher = Fetcher::new(FetchSettings {
        folder: layer.dir.clone(),
        mirror: context.env(MIRROR).map(str::to_owned),
        offline: false,
        env: context.env.clone(),
        cancel: Cancel::default(),
        carried: None,
    });
    let mut missing = Vec::new();
    for artifact in wanted {
        if let Err(why) = fetch(context, &fetcher, artifact) {
            missing.push(why);
        }
    }
    if !missing.is_empty() {
        return Err(Failure(missing.join("\n")));
    }
    forget_others(&layer, wanted)?;
    let types = LayerTypes {
        cache: true,
        ..LayerTypes::default()
    };
    layer.describe(types, BTreeMap::<String, String>::new())
}

/// Of an artifact that is not required, a line in the log is all that comes of it.
fn fetch(context: &BuildContext, fetcher: &Fetcher, artifact: &Artifact) -> Result<(), String> {
    let name = format!("{} {}", artifact.name, artifact.version);
    let fetched = fetcher.fetch(artifact, &mut |step| match step {
        FetchProgress::Asking(place) => context.say(&format!("fetching {name} from {place}")),
        FetchProgress::Failed { place, why } => context.say(&format!("{name}: {place}: {why}")),
        FetchProgress::Bytes { .. } => {}
    });
    match fetched {
        Ok(_) => Ok(()),
        Err(error) if artifact.required => Err(match &error.instead {
            Some(instead) => format!("{error}: {instead}"),
            None => error.to_string(),
        }),
        Err(error) => {
            context.say(&format!("{error}; the build goes on without it"));
            Ok(())
        }
    }
}

/// What earlier builds wanted is not carried along.
fn forget_others(layer: &AuthoredLayer, wanted: &[Artifact]) -> Result<(), Failure> {
    let sources = wanted.iter().flat_map(|artifact| &artifact.sources);
    let names: Vec<String> = sources.map(|source| source.sha256.hex()).collect();
    for entry in fs::read_dir(&layer.dir).at("read", &layer.dir)? {
        let path = entry.at("read", &layer.dir)?.path();
        let is_wanted = names
            .iter()
            .any(|name| path.file_name() == Some(OsStr::new(name)));
        if !is_wanted {
            remove_tree(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::buildpack::author::{BuildTarget, PlanMetadata, Source};
    use crate::ident::Digest;

    fn artifact(text: &str, required: bool) -> Artifact {
        let source = Source {
            url: Some(format!("https://example.invalid/{text}")),
            purl: None,
            sha256: Digest::of(text.as_bytes()),
            size_bytes: None,
        };
        Artifact {
            name: text.to_owned(),
            version: "1".to_owned(),
            required,
            instead: Some("do without".to_owned()),
            sources: vec![source],
        }
    }

    fn context(folder: &Path, artifacts: Vec<Artifact>) -> BuildContext {
        let mirror = folder.join("mirror").into_os_string();
        for name in ["mirror", "layers", "platform"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        BuildContext {
            app: folder.to_owned(),
            layers: folder.join("layers"),
            platform: folder.join("platform"),
            target: BuildTarget::default(),
            env: BTreeMap::from([
                (MIRROR.into(), mirror),
                ("HTTPS_PROXY".into(), "http://127.0.0.1:9".into()),
            ]),
            plan: PlanMetadata {
                artifacts,
                ..PlanMetadata::default()
            },
        }
    }

    fn put(folder: &Path, text: &str) {
        let name = Digest::of(text.as_bytes()).hex();
        let path = folder.join("mirror").join(name);
        crate::sys::fs::write_unsynced(&path, text.as_bytes(), 0o644).unwrap();
    }

    #[test]
    fn what_the_platform_does_not_fetch_is_fetched_into_a_cached_layer() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path(), vec![artifact("a", true)]);
        put(folder.path(), "a");
        let old = context.layers.join("artifacts/old");
        fs::create_dir_all(old.parent().unwrap()).unwrap();
        crate::sys::fs::write_unsynced(&old, b"", 0o644).unwrap();
        provide(&context).unwrap();
        let (path, _) = context.artifact(&context.plan.artifacts[0]).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"a");
        let file = fs::read_to_string(context.layers.join("artifacts.toml")).unwrap();
        assert!(file.contains("cache = true"), "{file}");
        assert!(!old.exists());
        // Kept, it is asked for nowhere.
        fs::remove_dir_all(folder.path().join("mirror")).unwrap();
        provide(&context).unwrap();
    }

    #[test]
    fn what_the_platform_says_it_fetches_is_not_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path(), vec![artifact("a", true)]);
        fs::create_dir(context.platform.join("artifacts")).unwrap();
        provide(&context).unwrap();
        assert!(!context.layers.join("artifacts").exists());
        assert!(context.artifact(&context.plan.artifacts[0]).is_none());
    }

    #[test]
    fn all_that_is_required_and_not_to_be_had_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = vec![
            artifact("a", true),
            artifact("b", false),
            artifact("c", true),
        ];
        let error = provide(&context(folder.path(), wanted)).unwrap_err();
        assert_eq!(
            error.0,
            "a 1 could not be had: do without\nc 1 could not be had: do without"
        );
    }
}
