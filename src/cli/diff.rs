//! `slug diff`: names of what differs, never a config value.

use slug::ident::EnvKey;
use slug::release::{self, Changes, ReleaseDiff};

use super::args::Diff;
use super::report::Failure;
use super::settings::Settings;
use super::ui::Text;

pub(crate) fn run(settings: &Settings, typed: &Diff) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    let diff = release::diff(&store, &app, (typed.from, typed.to), &mut |_| ())?;
    settings.ui.answer(&diff, text)?;
    Ok(0)
}

fn text(diff: &ReleaseDiff) -> String {
    let mut text = Text::default();
    if diff.from_slug == diff.to_slug {
        text.line("slug     the same");
    }
    text.lines(lines("file", &diff.files, |path| {
        path.escape_debug().to_string()
    }));
    text.lines(lines("process", &diff.processes, ToString::to_string));
    text.lines(config_lines(&diff.config));
    text.lines(lines("library", &diff.base.libraries, Clone::clone));
    if diff.base.from_glibc != diff.base.to_glibc {
        let glibc = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
        text.line(format!(
            "glibc    {} -> {}",
            glibc(&diff.base.from_glibc),
            glibc(&diff.base.to_glibc)
        ));
    }
    text.into_string()
}

/// `config   +KEY`, and so on.
pub(crate) fn config_lines(changes: &Changes<EnvKey>) -> Vec<String> {
    lines("config", changes, ToString::to_string)
}

fn lines<T>(what: &str, changes: &Changes<T>, show: impl Fn(&T) -> String) -> Vec<String> {
    let signed = [
        ('+', &changes.added),
        ('-', &changes.removed),
        ('~', &changes.changed),
    ];
    let items = signed
        .iter()
        .flat_map(|(sign, items)| items.iter().map(move |item| (sign, item)));
    items
        .map(|(sign, item)| format!("{what:<8} {sign}{}", show(item)))
        .collect()
}
