//! `slug check`: reads what the author of an app wrote for its runners, builds
//! nothing, and says what is wrong and what other tools read otherwise.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde_json::json;
use slug::build;
use slug::grammar::Remark;
use slug::grammar::compare;
use slug::grammar::compare::Difference;
use slug::grammar::dialects::Tool;
use slug::grammar::env_file;
use slug::grammar::procfile;
use slug::ident::EnvKey;
use slug::ident::nearest;
use slug::sys::fs::read_if_present;

use super::args::Check;
use super::build_request::BUILT_INS;
use super::config::ENV_FILE_BYTES_MAX;
use super::report::Failure;
use super::report::exit;
use super::settings::Settings;
use super::ui::Text;

/// The largest Procfile that is read, in bytes.
const PROCFILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Error,
    Warning,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Finding {
    file: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    severity: Severity,
    text: String,
    /// The tools that read it otherwise; none if it is about slug's own reading.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool>,
    /// The line, above a marker.
    #[serde(skip)]
    source: String,
}

impl Finding {
    fn new(file: &'static str, severity: Severity, remark: Remark) -> Self {
        let Remark {
            line,
            column,
            text,
            source,
        } = remark;
        Self {
            file,
            line: Some(line),
            column: Some(column),
            severity,
            text,
            tools: Vec::new(),
            source,
        }
    }

    fn of_tools(file: &'static str, difference: Difference) -> Self {
        let text = difference.text();
        Self {
            file,
            line: Some(difference.line),
            column: Some(difference.column),
            severity: Severity::Warning,
            text,
            tools: difference.tools,
            source: String::new(),
        }
    }

    /// `Procfile:2:4: error: …`, as compilers and editors write and read it.
    fn said(&self) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let text = format!("{severity}: {}", self.text);
        match (self.line, self.column) {
            (Some(line), Some(column)) => Remark {
                line,
                column,
                text,
                source: self.source.clone(),
            }
            .of_file(self.file),
            _ => format!("{}: {text}", self.file),
        }
    }
}

pub(crate) fn run(settings: &Settings, typed: &Check) -> Result<u8, Failure> {
    let dir = settings.source_dir(&typed.dir)?;
    let mut findings = Vec::new();
    let env_file = read(&dir, ".env", ENV_FILE_BYTES_MAX)?;
    let variables = check_env_file(env_file.as_deref().unwrap_or_default(), &mut findings);
    let procfile = read(&dir, "Procfile", PROCFILE_BYTES_MAX)?;
    let types = procfile
        .as_deref()
        .map(|bytes| check_procfile(bytes, &variables, &mut findings));
    check_toml_files(&dir, types.as_deref(), &mut findings)?;
    findings.sort_by_key(|one| (one.file, one.line, one.severity, one.column));
    let count = |severity| {
        findings
            .iter()
            .filter(|one| one.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let answer = json!({
        "schema": 1,
        "errors": errors,
        "warnings": warnings,
        "processes": types,
        "variables": env_file.is_some().then_some(&variables),
        "findings": findings,
    });
    settings.ui.answer(&answer, |_| {
        let mut text = Text::default();
        text.lines(findings.iter().map(Finding::said));
        if let Some(types) = &types {
            text.line(format!(
                "Procfile: {}",
                list("process", "processes", types.iter())
            ));
        }
        if env_file.is_some() {
            text.line(format!(
                ".env: {}",
                list("variable", "variables", variables.iter())
            ));
        }
        text.line(format!(
            "{}, {}",
            number(errors, "error", "errors"),
            number(warnings, "warning", "warnings")
        ));
        text.into_string()
    })?;
    Ok(if errors == 0 { 0 } else { exit::FAILED })
}

/// `2 processes (web, worker)`.
fn list<'a>(one: &str, several: &str, names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let count = number(names.len(), one, several);
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() {
        count
    } else {
        format!("{count} ({})", names.join(", "))
    }
}

fn number(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn read(dir: &Path, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, Failure> {
    let path = dir.join(name);
    // A pipe would be waited for.
    if path.exists() && !path.is_file() {
        return Err(
            Failure::failed(format!("`{}` is not a file", path.display()))
                .hint("remove it, or write the file"),
        );
    }
    Ok(read_if_present(&path, bytes_max)?)
}

/// The types that it names.
fn check_procfile(
    bytes: &[u8],
    variables: &BTreeSet<String>,
    findings: &mut Vec<Finding>,
) -> Vec<String> {
    let parsed = procfile::parse(&String::from_utf8_lossy(bytes));
    let error = |problem| Finding::new("Procfile", Severity::Error, problem);
    findings.extend(parsed.problems.into_iter().map(error));
    let differences = compare::of_procfile(bytes, variables).into_iter();
    findings.extend(differences.map(|difference| Finding::of_tools("Procfile", difference)));
    parsed.entries.into_iter().map(|entry| entry.name).collect()
}

/// The names that it sets.
fn check_env_file(bytes: &[u8], findings: &mut Vec<Finding>) -> BTreeSet<String> {
    let parsed = env_file::read(bytes);
    let error = |problem| Finding::new(".env", Severity::Error, problem);
    findings.extend(parsed.problems.into_iter().map(error));
    let file = env_file::last_of_each(parsed.assignments);
    for var in &file.vars {
        if let Err(reserved) = var.name.parse::<EnvKey>() {
            let text = format!("`slug config import` and `slug up DIR` refuse it: {reserved}");
            let remark = Remark {
                line: var.line,
                column: var.column,
                text,
                source: String::new(),
            };
            findings.push(Finding::new(".env", Severity::Warning, remark));
        }
    }
    let twice = |remark| Finding::new(".env", Severity::Warning, remark);
    findings.extend(file.duplicates.into_iter().map(twice));
    let differences = compare::of_env_file(bytes).into_iter();
    findings.extend(differences.map(|difference| Finding::of_tools(".env", difference)));
    file.vars.into_iter().map(|var| var.name).collect()
}

/// `types` are those of the Procfile: a name in slug.toml that is nearly one of them is a mistake.
fn check_toml_files(
    dir: &Path,
    types: Option<&[String]>,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let is_built_in = |id: &str| BUILT_INS.has(id);
    let remarks = build::check_toml_files(dir, &is_built_in)?;
    findings.extend(remarks.into_iter().map(|remark| Finding {
        file: remark.file,
        line: remark.place.map(|(line, _)| line as u64),
        column: remark.place.map(|(_, column)| column),
        severity: if remark.is_error {
            Severity::Error
        } else {
            Severity::Warning
        },
        text: remark.text,
        tools: Vec::new(),
        source: remark.source,
    }));
    let Some(types) = types else { return Ok(()) };
    for (name, (line, column)) in build::process_types_of_slug_toml(dir)? {
        if types.contains(&name) {
            continue;
        }
        let Some(meant) = nearest(&name, types.iter().map(String::as_str)) else {
            continue;
        };
        let text = format!("the Procfile has no process `{name}` (did you mean `{meant}`?)");
        let remark = Remark {
            line: line as u64,
            column,
            text,
            source: String::new(),
        };
        findings.push(Finding::new("slug.toml", Severity::Warning, remark));
    }
    Ok(())
}
