//! What a build says while it works: plain lines, and a bar on a terminal for what takes long;
//! with `--json` events instead, and in a CI system its marks.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use slug::build::explain::Explanation;
use slug::build::{Built, Event};
use slug::sys::clock::Timestamp;

use super::build::layer_line;
use super::build_events::Events;
use super::ci_marks::{Ci, Marks};
use super::explain;
use super::report::Failure;
use super::settings::Settings;
use super::ui::{Talk, Ui};

/// Shown only by what takes longer.
const BAR_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct BuildTalk<'a> {
    ui: &'a Ui,
    bar: Option<(String, ProgressBar, std::time::Instant)>,
    bars: bool,
    marks: Marks,
    /// What buildpacks say ended with a newline.
    at_line_start: bool,
    /// With `--json`, instead of all else.
    events: Option<Events>,
}

impl<'a> BuildTalk<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        let ui = &settings.ui;
        let is_text = !ui.json && ui.talk >= Talk::Normal;
        let ci = if is_text {
            Ci::of(&settings.env)
        } else {
            Ci::None
        };
        let mut marks = Marks::new(ci);
        say_mark(&marks.begin());
        Self {
            ui,
            bar: None,
            bars: is_text && ci == Ci::None && io::stderr().is_terminal(),
            marks,
            at_line_start: true,
            events: ui.json.then(Events::default),
        }
    }

    pub(crate) fn hear(&mut self, event: &Event<'_>) {
        if let Some(events) = &mut self.events {
            return events.hear(event);
        }
        match event {
            Event::Fetched { bytes, total } => self.advance("fetching", *bytes, *total),
            Event::Packing { layer, bytes } => {
                self.advance(&format!("packing {layer}"), *bytes, None);
            }
            other => {
                self.end_bar();
                self.line(other);
            }
        }
    }

    /// All is said.
    pub(crate) fn end(&mut self) {
        self.end_bar();
        self.end_line();
        say_mark(&self.marks.end(Timestamp::now()));
    }

    /// `--explain`, where it is not part of the result.
    pub(crate) fn explain_failure(&mut self, explanation: &Explanation) {
        match &mut self.events {
            Some(events) => events.explain(explanation),
            None => self.explain(&explain::text(explanation, &[])),
        }
    }

    /// `--explain`, for people: said even under `--quiet`.
    pub(crate) fn explain(&mut self, text: &str) {
        if self.events.is_none() {
            self.end_bar();
            self.end_line();
            Ui::stderr(text);
        }
    }

    /// The last words of a build that made a slug.
    pub(crate) fn built(mut self, built: &Built) {
        if let Some(events) = &mut self.events {
            return events.built(built);
        }
        self.end();
        for layer in &built.layers {
            self.ui.say(&layer_line(layer));
        }
    }

    /// The last words of one that did not.
    pub(crate) fn failed(mut self, failure: Failure) -> Failure {
        if let Some(events) = &mut self.events {
            events.failed(&failure);
            return failure.told_before();
        }
        self.end_bar();
        self.end_line();
        failure.told_to(self.marks)
    }

    /// Takes the bar away.
    pub(crate) fn end_bar(&mut self) {
        if let Some((_, bar, _)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// What follows begins a line, where somebody reads lines.
    fn end_line(&mut self) {
        if !self.at_line_start {
            Ui::stderr("");
            self.at_line_start = true;
        }
    }

    fn line(&mut self, event: &Event<'_>) {
        if !matches!(event, Event::Output { .. }) {
            self.end_line();
        }
        match event {
            Event::Waiting { holder: "" } => self
                .ui
                .say("another build of this app is running: waiting for it"),
            Event::Waiting { holder } => self.ui.say(&format!(
                "another build of this app is running: waiting for it ({holder})"
            )),
            Event::Warning(text) => match self.marks.warning(text) {
                Some(mark) => say_mark(&mark),
                None => self.ui.warn(text),
            },
            Event::Detecting(buildpacks) => {
                let ids: Vec<&str> = buildpacks
                    .iter()
                    .map(slug::ident::BuildpackId::as_str)
                    .collect();
                self.ui.detail(&format!("detecting: {}", ids.join(", ")));
            }
            Event::DetectOutput {
                buildpack,
                failed,
                output,
            } => self.detect_output(buildpack.as_str(), *failed, output),
            Event::Fetching { artifact, place } => {
                self.ui.say(&format!("fetching {artifact} from {place}"));
            }
            Event::FetchFailed {
                artifact,
                place,
                why,
            } => self.ui.say(&format!("{artifact}: {place}: {why}")),
            Event::Building { buildpack, version } => {
                let title = format!("{buildpack} {version}");
                match self.marks.group(&title, Timestamp::now()) {
                    Some(mark) => say_mark(&mark),
                    None => self.ui.say(&self.ui.paint(&format!("==> {title}"), "1")),
                }
            }
            Event::Output { bytes, .. } => {
                self.ui.talk_bytes(bytes);
                self.at_line_start = self.ui.talk < Talk::Normal || bytes.ends_with(b"\n");
            }
            Event::Wrote { .. }
            | Event::Variables(_)
            | Event::Detected(_)
            | Event::Layers { .. }
            | Event::Fetched { .. }
            | Event::Packing { .. } => {}
        }
    }

    fn detect_output(&self, buildpack: &str, failed: bool, output: &[u8]) {
        let wanted = if failed { Talk::Normal } else { Talk::Verbose };
        if self.ui.talk < wanted || output.is_empty() {
            return;
        }
        for line in String::from_utf8_lossy(output).lines() {
            Ui::stderr(&format!("[{buildpack}] {line}"));
        }
    }

    fn advance(&mut self, what: &str, bytes: u64, total: Option<u64>) {
        if !self.bars {
            return;
        }
        let is_same = self.bar.as_ref().is_some_and(|(name, ..)| name == what);
        if !is_same {
            self.end_bar();
            let bar = ProgressBar::hidden();
            bar.set_style(style(total.is_some()));
            bar.set_message(what.to_owned());
            self.bar = Some((what.to_owned(), bar, std::time::Instant::now()));
        }
        let Some((_, bar, since)) = &self.bar else {
            return;
        };
        if bar.is_hidden() && since.elapsed() >= BAR_AFTER {
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        }
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(bytes);
    }
}

fn say_mark(mark: &str) {
    if !mark.is_empty() {
        Ui::stderr(mark.trim_end_matches('\n'));
    }
}

fn style(with_total: bool) -> ProgressStyle {
    let template = if with_total {
        "{msg} {wide_bar} {bytes}/{total_bytes}"
    } else {
        "{spinner} {msg} {bytes} ({bytes_per_sec})"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
