//! `slug buildpack test`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use slug::build::{BuildError, BuildRequest, Event};
use slug::buildpack::descriptor::Descriptor;
use slug::buildpack::lint::Severity;
use slug::ident::{BadName, marked};
use slug::layer::TomlError;
use slug::store::Store;
use slug::sys::At as _;
use slug::sys::fs::write_unsynced;
use slug::workshop::{self, Bench, Difference, Fixture, Tested, WorkshopError};

use super::args::Test;
use super::{lint, package};
use crate::cli::args::BuildOptions;
use crate::cli::build::watch_signals;
use crate::cli::build_request::request;
use crate::cli::build_talk::BuildTalk;
use crate::cli::report::{Failure, exit};
use crate::cli::settings::Settings;
use crate::cli::ui::{Text, Ui};

pub(crate) fn run(settings: &Settings, typed: &Test) -> Result<u8, Failure> {
    let dir = lint::folder(settings, &typed.dir)?;
    let names = names(&dir, &typed.fixtures)?;
    package::make(settings, &dir)?;
    let buildpack = component(&dir)?;
    let mut request = template(settings, &typed.build_options())?;
    let watch = watch_signals()?;
    request.cancel = watch.cancel();
    let bench = Bench {
        buildpack: &buildpack,
        request,
    };
    let mut results = Vec::new();
    for name in &names {
        let result = run_one(settings, &bench, &dir, name, typed.update)?;
        settings.ui.say(&result.told(&settings.ui));
        results.push(result);
    }
    let failed = results.iter().filter(|result| !result.passed()).count();
    let answer: Vec<Value> = results.iter().map(RunFixture::to_json).collect();
    settings.ui.answer(
        &json!({ "schema": 1, "buildpack": buildpack.id, "fixtures": answer }),
        |_| summary(results.len(), failed),
    )?;
    Ok(if failed == 0 { 0 } else { exit::FAILED })
}

/// The fixtures that were named, or all.
fn names(dir: &Path, typed: &[String]) -> Result<Vec<String>, Failure> {
    let all = Fixture::names(dir)?;
    let hint = "a fixture is a folder `tests/NAME` with the app in `app` and what is expected in `expect.toml`";
    if all.is_empty() {
        let why = format!("`{}` has no fixtures", dir.display());
        return Err(Failure::usage(why).hint(hint));
    }
    if let Some(unknown) = typed.iter().find(|name| !all.contains(name)) {
        let why = format!("`{unknown}` is not a fixture of this buildpack");
        return Err(Failure::usage(why).hint(format!("there are {}", all.join(", "))));
    }
    Ok(if typed.is_empty() {
        all
    } else {
        typed.to_vec()
    })
}

/// A buildpack with programs of its own.
pub(super) fn component(dir: &Path) -> Result<Descriptor, Failure> {
    let hint = "`slug buildpack lint` says what is wrong, and what to do";
    let buildpack =
        Descriptor::read(dir).map_err(|error| Failure::of(exit::FAILED, &error).hint(hint))?;
    if buildpack.is_composite() {
        let why = format!(
            "the buildpack `{}` is nothing but groups of others",
            buildpack.id
        );
        return Err(Failure::usage(why)
            .hint("name one of its parts; `slug build --buildpack` tries the whole"));
    }
    Ok(buildpack)
}

/// What the builds of a workshop have in common: the rest is set for each.
pub(super) fn template(
    settings: &Settings,
    options: &BuildOptions,
) -> Result<BuildRequest, Failure> {
    let temporary = std::env::temp_dir();
    let store = Store::open(&temporary, &temporary)?;
    let app = "fixture"
        .parse()
        .map_err(|error: BadName| Failure::failed(error.to_string()))?;
    request(settings, &temporary, &app, &store, options)
}

/// What became of a fixture.
struct RunFixture {
    name: String,
    outcome: Result<Tested, Failure>,
    /// What was written to its `expect.toml`.
    written: bool,
    /// It has no `expect.toml`.
    is_new: bool,
}

fn run_one(
    settings: &Settings,
    bench: &Bench<'_>,
    dir: &Path,
    name: &str,
    update: bool,
) -> Result<RunFixture, Failure> {
    let fixture = Fixture::read(dir, name).map_err(wrong_toml)?;
    settings.ui.detail(&format!("== {name}"));
    let mut talk = BuildTalk::new(settings);
    let mut heard = |event: &Event<'_>| {
        if settings.ui.talk == crate::cli::ui::Talk::Verbose {
            talk.hear(event);
        }
    };
    let outcome = match bench.run(&fixture, &mut heard) {
        Err(error @ WorkshopError::Build(BuildError::Interrupted { .. })) => {
            return Err(error.into());
        }
        outcome => outcome.map_err(Failure::from),
    };
    talk.end();
    let mut result = RunFixture {
        name: name.to_owned(),
        is_new: fixture.expected.is_none(),
        outcome,
        written: false,
    };
    if update && let Ok(tested) = &result.outcome {
        result.written = write(&fixture, tested)?;
    }
    Ok(result)
}

/// Writes what was found; the comments at the head of the file stay. False if the file says so already.
fn write(fixture: &Fixture, tested: &Tested) -> Result<bool, Failure> {
    if fixture.expected.is_some() && tested.differences.is_empty() {
        return Ok(false);
    }
    let file = fixture.file();
    let new = workshop::updated(
        fixture.expected.as_ref(),
        &tested.found,
        &tested.differences,
    );
    let text = new
        .to_toml()
        .map_err(std::io::Error::other)
        .at("write", &file)?;
    let old = fs::read_to_string(&file).unwrap_or_default();
    let head = old
        .lines()
        .take_while(|line| line.starts_with('#'))
        .fold(String::new(), |head, line| head + line + "\n");
    let gap = if head.is_empty() { "" } else { "\n" };
    write_unsynced(&file, format!("{head}{gap}{text}").as_bytes(), 0o644)?;
    Ok(true)
}

impl RunFixture {
    fn passed(&self) -> bool {
        match &self.outcome {
            Ok(tested) => {
                (self.written || (tested.differences.is_empty() && !self.is_new))
                    && !has_errors(tested)
            }
            Err(_) => false,
        }
    }

    fn told(&self, ui: &Ui) -> String {
        let mut text = Text::default();
        let verdict = match (self.passed(), self.written) {
            (true, true) => ui.paint("written", "1;33"),
            (true, false) => ui.paint("ok", "1;32"),
            (false, _) => ui.paint("failed", "1;31"),
        };
        text.line(format!("{}: {verdict}", self.name));
        match &self.outcome {
            Err(failure) => text.lines(indented(&failure.text(ui), 2)),
            Ok(tested) => {
                if self.is_new && !self.written {
                    let why = "there is no expect.toml: `--update` writes what is found";
                    text.line(format!("  {why}"));
                }
                if !self.written {
                    text.lines(tested.differences.iter().flat_map(difference_lines));
                }
                if !self.passed() && !tested.found.output.is_empty() {
                    text.line("  what it said:");
                    text.lines(indented(&tested.found.output, 4));
                }
                text.lines(indented(&lint::text(&tested.found.findings), 2));
            }
        }
        text.into_string().trim_end().to_owned()
    }

    fn to_json(&self) -> Value {
        let (differences, findings, error) = match &self.outcome {
            Ok(tested) => (
                tested.differences.as_slice(),
                tested.found.findings.as_slice(),
                None,
            ),
            Err(failure) => (&[][..], &[][..], Some(failure.what_and_hints())),
        };
        json!({
            "name": self.name,
            "passed": self.passed(),
            "written": self.written,
            "differences": differences,
            "findings": findings,
            "error": error,
        })
    }
}

fn has_errors(tested: &Tested) -> bool {
    let mut findings = tested.found.findings.iter();
    findings.any(|finding| finding.severity == Severity::Error)
}

fn difference_lines(difference: &Difference) -> Vec<String> {
    let Difference {
        key,
        expected,
        found,
    } = difference;
    let mut lines = vec![format!("  {key}")];
    lines.extend(expected.as_ref().map(|text| format!("    - {text}")));
    lines.extend(found.as_ref().map(|text| format!("    + {text}")));
    if found.is_none() && (key == "output" || key == "second.output") {
        lines.push("    (it did not say that)".to_owned());
    }
    lines
}

fn indented(text: &str, by: usize) -> Vec<String> {
    text.lines()
        .map(|line| format!("{:by$}{line}", ""))
        .collect()
}

fn summary(all: usize, failed: usize) -> String {
    let noun = if all == 1 { "fixture" } else { "fixtures" };
    match failed {
        0 => format!("{all} {noun}, all passed"),
        _ => format!("{all} {noun}, {failed} failed"),
    }
}

impl From<WorkshopError> for Failure {
    fn from(error: WorkshopError) -> Self {
        let failure = match error {
            WorkshopError::Path(error) => Self::from(error),
            WorkshopError::Build(error) => Self::from(error),
            WorkshopError::Toml(error) => wrong_toml(error),
            other => Self::of(exit::FAILED, &other).hint("correct the file"),
        };
        failure.unchanged("the buildpack and its fixtures are as they were")
    }
}

pub(super) fn wrong_toml(error: TomlError) -> Failure {
    let failure = Failure::of(exit::FAILED, &error);
    match error {
        TomlError::Path(error) => Failure::from(error),
        TomlError::Wrong(wrong) => failure
            .detail(marked(&wrong.text, wrong.column))
            .hint("correct the file: spec/authors.md says what it may hold"),
    }
}
