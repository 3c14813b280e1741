//! Something about a place of a file.

use std::fmt::Write as _;

use crate::ident::marked;

/// Something about a place of a file that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// From one.
    pub line: u64,
    /// From one, in characters.
    pub column: usize,
    /// What there is to say.
    pub text: String,
    /// The line, as it may be shown above the marker; empty if the remark is about the whole file.
    pub source: String,
}

impl Remark {
    /// As text for people: `Procfile:2:3: no colon`, the line, and a marker below its column.
    pub fn of_file(&self, file: &str) -> String {
        let Self {
            line,
            column,
            text,
            source,
        } = self;
        let mut said = format!("{file}:{line}:{column}: {text}");
        if !source.is_empty() {
            for shown in marked(source, *column).lines() {
                let _ = write!(said, "\n  | {shown}");
            }
        }
        said
    }
}

/// The remarks, one below the other.
pub fn list(file: &str, remarks: &[Remark]) -> String {
    let said: Vec<String> = remarks.iter().map(|remark| remark.of_file(file)).collect();
    said.join("\n")
}
