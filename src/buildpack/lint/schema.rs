//! Which keys a file has, and what each is: unknown keys and values of another type.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Rule;
use super::page::Page;
use crate::ident::nearest;

/// A key and what its value is.
pub(super) type Key = (&'static str, Kind);

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Bool,
    Texts,
    /// The author's own: anything.
    Any,
    Table(&'static [Key]),
    Tables(&'static [Key]),
    /// A table whose keys are the author's own.
    Free,
    /// Texts, or tables with these keys: lifecycle's form and the specification's.
    TextsOrTables(&'static [Key]),
    /// A text before Buildpack API 0.9, a list since: looked at where the API is known.
    Command,
}

impl Kind {
    fn fits(self, value: &DeValue<'_>) -> bool {
        let all = |fits: &dyn Fn(&DeValue<'_>) -> bool| {
            value
                .as_array()
                .is_some_and(|items| items.iter().all(|item| fits(item.get_ref())))
        };
        let texts = || all(&|item| item.is_str());
        let tables = || all(&|item| item.is_table());
        match self {
            Self::Any => true,
            Self::Text => value.is_str(),
            Self::Bool => value.is_bool(),
            Self::Texts => texts(),
            Self::Table(_) | Self::Free => value.is_table(),
            Self::Tables(_) => tables(),
            Self::TextsOrTables(_) => texts() || tables(),
            Self::Command => value.is_str() || texts(),
        }
    }

    fn expected(self, key: &str) -> String {
        match self {
            Self::Text => format!("write a string: `{key} = \"…\"`"),
            Self::Bool => format!("write `{key} = true` or `{key} = false`"),
            Self::Texts | Self::Command => format!("write a list of strings: `{key} = [\"…\"]`"),
            Self::Table(_) | Self::Free | Self::Any => format!("write a table: `[{key}]`"),
            Self::Tables(_) => format!("write an array of tables: `[[{key}]]`"),
            Self::TextsOrTables(_) => {
                format!("write a list of strings, or tables with a name: `[[{key}]]`")
            }
        }
    }

    fn keys(self) -> Option<&'static [Key]> {
        match self {
            Self::Table(keys) | Self::Tables(keys) | Self::TextsOrTables(keys) => Some(keys),
            _ => None,
        }
    }
}

/// Tells of every key of the table that is not one of these, and of every value that is of another type.
/// `path` is how the table is written: `buildpack`, `order.group`; nothing for the file.
pub(super) fn check(page: &mut Page, table: &DeTable<'_>, keys: &[Key], path: &str) {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let Some((_, kind)) = keys.iter().find(|(known, _)| *known == name) else {
            unknown(page, key.span(), name, keys, path);
            continue;
        };
        let inner = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        if !kind.fits(value.get_ref()) {
            let found = type_of(value.get_ref());
            let message = format!("`{inner}` is {found}");
            let shown = if kind.keys().is_some() { &inner } else { name };
            page.error(value.span(), Rule::KEYS, message, kind.expected(shown));
            continue;
        }
        if let Some(keys) = kind.keys() {
            for table in tables_of(value) {
                check(page, table, keys, &inner);
            }
        }
    }
}

fn tables_of<'t, 'i>(value: &'t Spanned<DeValue<'i>>) -> Vec<&'t DeTable<'i>> {
    match value.get_ref() {
        DeValue::Table(table) => vec![table],
        DeValue::Array(items) => items
            .iter()
            .filter_map(|item| item.get_ref().as_table())
            .collect(),
        _ => Vec::new(),
    }
}

fn unknown(page: &mut Page, at: std::ops::Range<usize>, name: &str, keys: &[Key], path: &str) {
    let known = keys.iter().map(|(known, _)| *known);
    let place = if path.is_empty() {
        "this file".to_owned()
    } else {
        format!("`[{path}]`")
    };
    let begins_alike = || known.clone().find(|key| name.get(..4) == key.get(..4));
    let fix = match nearest(name, known.clone()).or_else(begins_alike) {
        Some(meant) => format!("write `{meant}`, if that is meant"),
        None => format!(
            "remove it, or put it under `[metadata]`; known are {}",
            known.collect::<Vec<_>>().join(", ")
        ),
    };
    let message = format!("`{name}` is no key of {place}: platforms ignore it");
    page.warning(at, Rule::KEYS, message, fix);
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array of something else",
        DeValue::Table(_) => "a table",
    }
}
