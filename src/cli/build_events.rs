//! The events of a build for programs: one JSON object a line (spec/ci.md).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slug::build::explain::Explanation;
use slug::build::{Built, Event};

use super::explain;
use super::report::Failure;
use super::ui::Ui;

/// The version of the events; a new kind of event, or a new field, does not change it.
const SCHEMA: u32 = 1;
/// A line of a buildpack that is longer is told in parts, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Progress is told once in this time.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Writes them.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// What was said without a newline so far: on standard output, and error.
    begun: [Vec<u8>; 2],
    /// The buildpack that builds.
    buildpack: Option<String>,
    /// When progress was told last.
    told: Option<Instant>,
}

impl Events {
    pub(crate) fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::Output { stderr, bytes } => self.output(*stderr, bytes),
            Event::Fetched { bytes, total } => self.progress("fetching", None, *bytes, *total),
            Event::Packing { layer, bytes } => self.progress("packing", Some(layer), *bytes, None),
            Event::Building { buildpack, .. } => {
                self.end_lines();
                self.buildpack = Some(buildpack.to_string());
                tell_event(event);
            }
            other => {
                self.end_lines();
                tell_event(other);
            }
        }
    }

    pub(crate) fn built(&mut self, built: &Built) {
        self.end_lines();
        for layer in &built.layers {
            tell("layer", json!({ "layer": layer }));
        }
    }

    pub(crate) fn explain(&mut self, explanation: &Explanation) {
        self.end_lines();
        tell("explain", json!({ "explain": explain::json(explanation) }));
    }

    pub(crate) fn failed(&mut self, failure: &Failure) {
        self.end_lines();
        tell("error", failure.json());
    }

    fn output(&mut self, stderr: bool, bytes: &[u8]) {
        let begun = &mut self.begun[usize::from(stderr)];
        begun.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
            lines.push(begun.drain(..=end).collect::<Vec<u8>>());
        }
        while begun.len() > LINE_BYTES_MAX {
            lines.push(begun.drain(..LINE_BYTES_MAX).collect());
        }
        for line in lines {
            self.line(stderr, &line);
        }
    }

    fn end_lines(&mut self) {
        for stderr in [false, true] {
            let line = std::mem::take(&mut self.begun[usize::from(stderr)]);
            if !line.is_empty() {
                self.line(stderr, &line);
            }
        }
    }

    fn line(&self, stderr: bool, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        tell(
            "output",
            json!({
                "buildpack": self.buildpack,
                "stream": if stderr { "stderr" } else { "stdout" },
                "line": String::from_utf8_lossy(line),
            }),
        );
    }

    fn progress(&mut self, doing: &str, layer: Option<&str>, bytes: u64, total: Option<u64>) {
        if self
            .told
            .is_some_and(|told| told.elapsed() < PROGRESS_EVERY)
        {
            return;
        }
        let is_first = self.told.replace(Instant::now()).is_none();
        if !is_first {
            tell(
                "progress",
                json!({ "doing": doing, "layer": layer, "bytes": bytes, "total_bytes": total }),
            );
        }
    }
}

fn tell_event(event: &Event<'_>) {
    let (name, fields) = match event {
        Event::Waiting { holder } => ("waiting", json!({ "holder": holder })),
        Event::Warning(text) => ("warning", json!({ "text": text })),
        Event::Detecting(buildpacks) => ("detecting", json!({ "buildpacks": buildpacks })),
        Event::DetectOutput {
            buildpack,
            failed,
            output,
        } => {
            let text = String::from_utf8_lossy(output);
            (
                "detected",
                json!({ "buildpack": buildpack, "failed": failed, "output": text }),
            )
        }
        Event::Fetching { artifact, place } => {
            ("fetching", json!({ "artifact": artifact, "place": place }))
        }
        Event::FetchFailed {
            artifact,
            place,
            why,
        } => {
            let fields = json!({ "artifact": artifact, "place": place, "why": why });
            ("fetch-failed", fields)
        }
        Event::Building { buildpack, version } => (
            "building",
            json!({ "buildpack": buildpack, "version": version }),
        ),
        Event::Wrote { .. }
        | Event::Variables(_)
        | Event::Detected(_)
        | Event::Layers { .. }
        | Event::Output { .. }
        | Event::Fetched { .. }
        | Event::Packing { .. } => return,
    };
    tell(name, fields);
}

fn tell(event: &str, mut fields: Value) {
    fields["schema"] = SCHEMA.into();
    fields["event"] = event.into();
    Ui::stderr(&fields.to_string());
}
