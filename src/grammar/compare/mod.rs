//! What other tools make of the same bytes, where it is not what we make of
//! them. A value of a `.env` is never said: only that it differs, and how.

mod env_file;
mod procfile;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::dialects::Tool;

pub use env_file::of_env_file;
pub use procfile::of_procfile;

/// Something that some tools read otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// From one.
    pub line: u64,
    /// From one, in characters.
    pub column: usize,
    /// Which tools.
    pub tools: Vec<Tool>,
    /// What they make of it.
    pub what: String,
}

impl Difference {
    /// As text for people: `foreman, honcho: the line is dropped without a word`.
    pub fn text(&self) -> String {
        let names: Vec<&str> = self.tools.iter().map(|tool| tool.name()).collect();
        format!("{}: {}", names.join(", "), self.what)
    }
}

/// What was found so far: by place, then by what.
#[derive(Default)]
struct Found(BTreeMap<(u64, usize, String), Vec<Tool>>);

impl Found {
    fn add(&mut self, tool: Tool, line: u64, column: usize, what: impl Into<String>) {
        let tools = self.0.entry((line, column, what.into())).or_default();
        if !tools.contains(&tool) {
            tools.push(tool);
        }
    }

    fn into_list(self) -> Vec<Difference> {
        let difference = |((line, column, what), tools)| Difference {
            line,
            column,
            tools,
            what,
        };
        self.0.into_iter().map(difference).collect()
    }
}

const DROPPED: &str = "the line is dropped without a word";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a tool that drops the first line may do so.
fn because_of_mark(bytes: &[u8], line: u64) -> &'static str {
    if line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
        ", because the file begins with a byte order mark"
    } else {
        ""
    }
}

/// By line, in order.
fn by_line<T>(list: Vec<T>, line: impl Fn(&T) -> u64) -> BTreeMap<u64, Vec<T>> {
    let mut lines: BTreeMap<u64, Vec<T>> = BTreeMap::new();
    for item in list {
        lines.entry(line(&item)).or_default().push(item);
    }
    lines
}
