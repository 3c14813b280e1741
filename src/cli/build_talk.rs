//! What a build says while it works: plain lines, and a bar on a terminal for what takes long.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use slug::build::Event;

use super::ui::{Talk, Ui};

/// Shown only by what takes longer.
const BAR_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct BuildTalk<'a> {
    ui: &'a Ui,
    bar: Option<(String, ProgressBar, std::time::Instant)>,
    bars: bool,
}

impl<'a> BuildTalk<'a> {
    pub(crate) fn new(ui: &'a Ui) -> Self {
        Self {
            ui,
            bar: None,
            bars: ui.talk >= Talk::Normal && io::stderr().is_terminal(),
        }
    }

    pub(crate) fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::Fetched { bytes, total } => self.advance("fetching", *bytes, *total),
            Event::Packing { layer, bytes } => {
                self.advance(&format!("packing {layer}"), *bytes, None);
            }
            other => {
                self.end();
                self.line(other);
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&mut self) {
        if let Some((_, bar, _)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn line(&self, event: &Event<'_>) {
        match event {
            Event::Waiting { holder: "" } => self
                .ui
                .say("another build of this app is running: waiting for it"),
            Event::Waiting { holder } => self.ui.say(&format!(
                "another build of this app is running: waiting for it ({holder})"
            )),
            Event::Warning(text) => self.ui.warn(text),
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
                self.ui
                    .say(&self.ui.paint(&format!("==> {buildpack} {version}"), "1"));
            }
            Event::Output { bytes, .. } => self.ui.talk_bytes(bytes),
            Event::Wrote { .. } | Event::Fetched { .. } | Event::Packing { .. } => {}
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
            self.end();
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

fn style(with_total: bool) -> ProgressStyle {
    let template = if with_total {
        "{msg} {wide_bar} {bytes}/{total_bytes}"
    } else {
        "{spinner} {msg} {bytes} ({bytes_per_sec})"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
