//! `slug build`, `slug buildpacks`.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use slug::archive;
use slug::build::explain::{Explainer, Explanation};
use slug::build::{self, BuildError, BuiltLayer, Why};
use slug::buildpacks;
use slug::ident::AppName;
use slug::layer::cache::Change;
use slug::store::Store;
use slug::sys::cancel::Watch;

use super::args::{Build, BuildOptions};
use super::build_request::request;
use super::build_talk::BuildTalk;
use super::explain;
use super::report::Failure;
use super::secrets;
use super::settings::Settings;
use super::ui::{human_bytes, table};

/// From a signal to the end by force. GitHub's runner follows its SIGINT by SIGTERM after 7.5 s and by SIGKILL 2.5 s
/// later; the part of a build that cannot be stopped, the packing of a layer, takes less.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(settings: &Settings, typed: &Build) -> Result<u8, Failure> {
    let dir = settings.source_dir(&typed.dir)?;
    let output = typed.output.as_deref().map(|file| settings.absolute(file));
    if let Some(file) = &output {
        check_output(file)?;
    }
    let store = settings.open_store()?;
    let app = settings.app_of_dir(&dir)?;
    let (built, explanation) = build_explained(settings, &dir, &app, &store, &typed.options)?;
    if let Some(file) = &output {
        archive::export_archive(&store, &built.slug, file)?;
    }
    let mut answer = json!({ "schema": 1, "app": app, "built": built });
    if let Some(explanation) = &explanation {
        answer["explain"] = explain::json(explanation);
    }
    settings.ui.answer(&answer, |_| built.slug.to_string())?;
    Ok(0)
}

/// Before a build that may take minutes. The file is put in place by a rename, which would
/// replace a device or a link by a file: `-o /dev/stdout`, as root, by one in `/dev`.
fn check_output(file: &Path) -> Result<(), Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!(
            "the slug cannot be written to `{}`: {why}",
            file.display()
        ))
        .unchanged("nothing was built")
        .hint("name a file: `slug build -o app.slug`")
    };
    match file.symlink_metadata() {
        Ok(there) if !there.is_file() => Err(wrong("something that is not a file has that name")),
        Ok(_) => Ok(()),
        Err(_) if file.parent().is_some_and(Path::is_dir) => Ok(()),
        Err(_) => Err(wrong("its folder is not there")),
    }
}

/// Builds a folder, saying on stderr what goes on.
pub(crate) fn build(
    settings: &Settings,
    dir: &Path,
    app: &AppName,
    store: &Store,
    options: &BuildOptions,
) -> Result<build::Built, Failure> {
    build_explained(settings, dir, app, store, options).map(|(built, _)| built)
}

/// The same, and with `--explain` why it came to that, which is then on stderr too.
fn build_explained(
    settings: &Settings,
    dir: &Path,
    app: &AppName,
    store: &Store,
    options: &BuildOptions,
) -> Result<(build::Built, Option<Explanation>), Failure> {
    let mut request = request(settings, dir, app, store, options)?;
    request.secrets = secrets::read(settings, &options.secret)?;
    for name in request.secrets.names() {
        request.operator_env.remove(OsStr::new(name.as_str()));
    }
    let watch = watch_signals()?;
    request.cancel = watch.cancel();
    let mut talk = BuildTalk::new(settings);
    let mut explainer = Explainer::default();
    let built = build::build(&request, &mut |event| {
        if options.explain {
            explainer.hear(&event);
        }
        talk.hear(&event);
    });
    let explanation = explainer.finish(built.as_ref().err());
    match built {
        Ok(built) => {
            let explanation = options.explain.then_some(explanation);
            if let Some(explanation) = &explanation {
                talk.explain(&explain::text(explanation, &built.layers));
            }
            talk.built(&built);
            Ok((built, explanation))
        }
        Err(error) => {
            if options.explain {
                talk.explain_failure(&explanation);
            }
            let failure = Failure::from(error);
            Err(talk.failed(failure.each(|text| request.secrets.redacted(text))))
        }
    }
}

/// Asks a build to end when this process is asked to, until it is dropped.
pub(crate) fn watch_signals() -> Result<Watch, Failure> {
    Watch::start(GRACE).map_err(|error| {
        Failure::failed(format!("signals cannot be watched: {error}"))
            .unchanged("nothing was built")
    })
}

pub(crate) fn layer_line(layer: &BuiltLayer) -> String {
    let name = match &layer.buildpack {
        Some(buildpack) => format!("{buildpack}: {}", layer.name),
        None => layer.name.clone(),
    };
    let size = if layer.tar_bytes > 0 {
        format!(" ({})", human_bytes(layer.tar_bytes))
    } else {
        String::new()
    };
    match &layer.why {
        Why::Kept => format!("layer {name}{size}: kept"),
        Why::Changed(change) => format!("layer {name}{size}: made, {}", because(*change)),
    }
}

fn because(change: Change) -> &'static str {
    match change {
        Change::New => "the last build had none",
        Change::Written => "the buildpack wrote in it",
        Change::Remade => "the buildpack made it again",
        Change::BuildpackVersion => "another version of the buildpack wrote in it",
        Change::BlobGone => "its blob was no more in the store",
        Change::Compression => "another compression is asked for",
        Change::ExecEnv => "the last build was for another execution environment",
        Change::Target => "the last build was for another system",
        Change::Cleared => "the cache was cleared",
        Change::Evicted => "its content was no more in the cache",
    }
}

pub(crate) fn list_buildpacks(settings: &Settings) -> Result<(), Failure> {
    let groups: Vec<Vec<Value>> = buildpacks::ORDER
        .iter()
        .map(|group| {
            group
                .iter()
                .map(|(id, optional)| json!({ "id": id, "optional": optional }))
                .collect()
        })
        .collect();
    let rows = buildpacks::ORDER
        .iter()
        .enumerate()
        .flat_map(|(number, group)| {
            group.iter().map(move |(id, optional)| {
                vec![
                    format!("group {}", number + 1),
                    (*id).to_owned(),
                    if *optional { "optional" } else { "" }.to_owned(),
                ]
            })
        });
    settings
        .ui
        .answer(&json!({ "schema": 1, "order": groups }), |_| {
            table(&rows.collect::<Vec<_>>())
        })
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        super::build_report::word(error)
    }
}
