//! One file that is looked at, and what was found in it so far.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, de::DeString};

use super::{Finding, Rule, Severity};
use crate::layer::toml_file::Place;

/// A file, by its name in the report, with its text and its findings.
#[derive(Debug)]
pub(super) struct Page {
    file: String,
    text: String,
    findings: Vec<Finding>,
}

impl Page {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            text: String::new(),
            findings: Vec::new(),
        }
    }

    /// Parses the bytes as TOML and looks at them; what is no TOML is the one finding then.
    pub(super) fn read<T>(
        &mut self,
        bytes: &[u8],
        check: impl FnOnce(&mut Self, &DeTable<'_>) -> T,
    ) -> Option<T> {
        let fix = "correct the line: https://toml.io says how TOML is written";
        self.text = String::from_utf8_lossy(bytes).into_owned();
        if let Err(error) = std::str::from_utf8(bytes) {
            // What stands before is the same in the lossy text.
            let at = error.valid_up_to()..error.valid_up_to();
            self.error(at, Rule::KEYS, "not UTF-8", "save the file as UTF-8");
            return None;
        }
        let text = self.text.clone();
        match DeTable::parse(&text) {
            Ok(table) => Some(check(self, table.get_ref())),
            Err(error) => {
                let message = format!("not TOML: {}", error.message());
                self.error(error.span().unwrap_or(0..0), Rule::KEYS, message, fix);
                None
            }
        }
    }

    /// Looks at a text that is no TOML.
    pub(super) fn take_text(&mut self, text: String) {
        self.text = text;
    }

    pub(super) fn error(
        &mut self,
        at: Range<usize>,
        rule: Rule,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.find(Severity::Error, at, rule, message.into(), fix.into());
    }

    pub(super) fn warning(
        &mut self,
        at: Range<usize>,
        rule: Rule,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.find(Severity::Warning, at, rule, message.into(), fix.into());
    }

    /// About the file as a whole, which may not even be there.
    pub(super) fn whole_error(
        &mut self,
        rule: Rule,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.whole(Severity::Error, rule, message.into(), fix.into());
    }

    pub(super) fn whole_warning(
        &mut self,
        rule: Rule,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.whole(Severity::Warning, rule, message.into(), fix.into());
    }

    /// In the order of their places; those about the whole file first.
    pub(super) fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort();
        self.findings
    }

    fn find(
        &mut self,
        severity: Severity,
        at: Range<usize>,
        rule: Rule,
        message: String,
        fix: String,
    ) {
        let Place { line, column, text } = Place::of(&self.text, at.start);
        let Rule(number, section) = rule;
        self.findings.push(Finding {
            file: self.file.clone(),
            line,
            column,
            severity,
            message,
            fix,
            rule: number,
            section,
            text: text.to_owned(),
        });
    }

    fn whole(&mut self, severity: Severity, rule: Rule, message: String, fix: String) {
        let Rule(number, section) = rule;
        self.findings.push(Finding {
            file: self.file.clone(),
            line: 0,
            column: 0,
            severity,
            message,
            fix,
            rule: number,
            section,
            text: String::new(),
        });
    }
}

/// A key and its value.
pub(super) type Entry<'t, 'i> = (&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>);

/// The entry of that key.
pub(super) fn entry<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<Entry<'t, 'i>> {
    table.iter().find(|(name, _)| name.get_ref() == key)
}

/// The value of that key.
pub(super) fn value<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    entry(table, key).map(|(_, value)| value)
}

/// The text of that key with its place; none if it is not there or no text, of which the schema has told.
pub(super) fn text<'t>(table: &'t DeTable<'_>, key: &str) -> Option<(&'t str, Range<usize>)> {
    let value = value(table, key)?;
    Some((value.get_ref().as_str()?, value.span()))
}

/// The tables of an array of tables.
pub(super) fn tables<'t, 'i>(
    table: &'t DeTable<'i>,
    key: &str,
) -> impl Iterator<Item = (&'t DeTable<'i>, Range<usize>)> {
    let array = value(table, key).and_then(|value| value.get_ref().as_array());
    let items = array.into_iter().flat_map(|array| array.iter());
    items.filter_map(|item| Some((item.get_ref().as_table()?, item.span())))
}

/// The texts of an array of texts.
pub(super) fn texts<'t>(
    table: &'t DeTable<'_>,
    key: &str,
) -> impl Iterator<Item = (&'t str, Range<usize>)> {
    let array = value(table, key).and_then(|value| value.get_ref().as_array());
    let items = array.into_iter().flat_map(|array| array.iter());
    items.filter_map(|item| Some((item.get_ref().as_str()?, item.span())))
}
