//! `slug buildpack lint`.

use std::path::{Path, PathBuf};

use serde_json::json;
use slug::buildpack::lint::{self, Finding, Severity};
use slug::ident::marked;

use super::args::Lint;
use crate::cli::report::{Failure, exit};
use crate::cli::settings::Settings;
use crate::cli::ui::Text;

pub(crate) fn run(settings: &Settings, typed: &Lint) -> Result<u8, Failure> {
    let dir = folder(settings, &typed.dir)?;
    let findings = lint::buildpack(&dir)?;
    settings.ui.answer(
        &json!({ "schema": 1, "buildpack": dir, "findings": findings }),
        |_| text(&findings),
    )?;
    settings.ui.say(&summary(&findings));
    let failed = findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    Ok(if failed { exit::FAILED } else { 0 })
}

/// The folder of a buildpack, as it was typed.
pub(super) fn folder(settings: &Settings, dir: &Path) -> Result<PathBuf, Failure> {
    let path = settings.absolute(dir);
    if path.is_dir() {
        return Ok(path);
    }
    Err(
        Failure::usage(format!("`{}` is not a folder", path.display()))
            .hint("name the folder of a buildpack: the one with its buildpack.toml"),
    )
}

pub(super) fn text(findings: &[Finding]) -> String {
    let mut text = Text::default();
    for finding in findings {
        let place = if finding.line == 0 {
            finding.file.clone()
        } else {
            format!("{}:{}:{}", finding.file, finding.line, finding.column)
        };
        let rule = finding
            .rule
            .map_or_else(String::new, |rule| format!("rule {rule}, "));
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        text.line(format!(
            "{place}: {severity}: {} [{rule}{}]",
            finding.message, finding.section
        ));
        if !finding.text.is_empty() {
            for line in marked(&finding.text, finding.column).lines() {
                text.line(format!("    {line}"));
            }
        }
        text.line(format!("  fix: {}", finding.fix));
    }
    text.into_string()
}

/// `2 errors, 1 warning`.
pub(super) fn summary(findings: &[Finding]) -> String {
    let count = |severity| {
        findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let counted = |number: usize, noun: &str| match number {
        0 => None,
        1 => Some(format!("1 {noun}")),
        _ => Some(format!("{number} {noun}s")),
    };
    let parts = [
        counted(count(Severity::Error), "error"),
        counted(count(Severity::Warning), "warning"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        "nothing is wrong".to_owned()
    } else {
        parts.join(", ")
    }
}
