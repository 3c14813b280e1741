//! `slug diff`: names of what differs, never a config value.

use std::fmt::Display;

use slug::ident::EnvKey;
use slug::release::{self, Changes, ReleaseDiff};

use super::args::Diff;
use super::report::Failure;
use super::settings::Settings;

pub(crate) fn run(settings: &Settings, typed: &Diff) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    let diff = release::diff(&store, &app, (typed.from, typed.to), &mut |_| ())?;
    settings.ui.answer(&diff, text);
    Ok(0)
}

fn text(diff: &ReleaseDiff) -> String {
    let mut text = String::new();
    if diff.from_slug == diff.to_slug {
        text.push_str("slug     the same\n");
    }
    text.push_str(&lines("file", &diff.files, |path| {
        path.escape_debug().to_string()
    }));
    text.push_str(&lines("process", &diff.processes, ToString::to_string));
    text.push_str(&config_lines(&diff.config));
    text.push_str(&lines("library", &diff.base.libraries, Clone::clone));
    if diff.base.from_glibc != diff.base.to_glibc {
        let glibc = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
        text.push_str(&format!(
            "glibc    {} -> {}\n",
            glibc(&diff.base.from_glibc),
            glibc(&diff.base.to_glibc)
        ));
    }
    text
}

/// `config   +KEY`, and so on.
pub(crate) fn config_lines(changes: &Changes<EnvKey>) -> String {
    lines("config", changes, ToString::to_string)
}

fn lines<T: Display>(what: &str, changes: &Changes<T>, show: impl Fn(&T) -> String) -> String {
    let signed = [
        ('+', &changes.added),
        ('-', &changes.removed),
        ('~', &changes.changed),
    ];
    signed
        .iter()
        .flat_map(|(sign, items)| items.iter().map(move |item| (*sign, item)))
        .map(|(sign, item)| format!("{what:<8} {sign}{}\n", show(item)))
        .collect()
}
