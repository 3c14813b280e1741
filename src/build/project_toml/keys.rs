//! Which keys the schemas of project.toml have in their own tables. All other
//! tables, and all metadata, are the author's.

use toml::de::{DeTable, DeValue};

use super::{Schema, shown_place};
use crate::ident::nearest;

const ABOUT: &[&str] = &[
    "schema-version",
    "id",
    "name",
    "version",
    "authors",
    "licenses",
    "documentation-url",
    "source-url",
    "metadata",
];
const LICENSE: &[&str] = &["type", "uri"];
const LISTED: &[&str] = &["id", "version", "uri", "script", "exec-env", "optional"];
const SCRIPT: &[&str] = &["api", "shell", "inline"];
const VARIABLE: &[&str] = &["name", "value", "exec-env"];
const AROUND: &[&str] = &["group"];

/// A table, and its keys.
type Table = (&'static str, &'static [&'static str]);

const V0_1: &[Table] = &[
    ("_", ABOUT),
    ("project", ABOUT),
    ("project.licenses", LICENSE),
    (
        "build",
        &[
            "include",
            "exclude",
            "buildpacks",
            "env",
            "builder",
            "pre",
            "post",
        ],
    ),
    ("build.buildpacks", LISTED),
    ("build.buildpacks.script", SCRIPT),
    ("build.env", VARIABLE),
    ("build.pre", AROUND),
    ("build.pre.group", LISTED),
    ("build.pre.group.script", SCRIPT),
    ("build.post", AROUND),
    ("build.post.group", LISTED),
    ("build.post.group.script", SCRIPT),
];

const V0_2: &[Table] = &[
    ("_", ABOUT),
    ("_.licenses", LICENSE),
    (
        "io.buildpacks",
        &[
            "include", "exclude", "group", "env", "build", "builder", "pre", "post",
        ],
    ),
    ("io.buildpacks.env", &["build"]),
    ("io.buildpacks.env.build", VARIABLE),
    ("io.buildpacks.build", &["env"]),
    ("io.buildpacks.build.env", VARIABLE),
    ("io.buildpacks.group", LISTED),
    ("io.buildpacks.group.script", SCRIPT),
    ("io.buildpacks.pre", AROUND),
    ("io.buildpacks.pre.group", LISTED),
    ("io.buildpacks.pre.group.script", SCRIPT),
    ("io.buildpacks.post", AROUND),
    ("io.buildpacks.post.group", LISTED),
    ("io.buildpacks.post.group.script", SCRIPT),
];

/// What the schema does not know in its own tables, each with its place.
pub(super) fn unknown(schema: Schema, text: &str) -> Vec<String> {
    let (tables, foreign, instead) = match schema {
        Schema::V0_1 => (
            V0_1,
            "io.buildpacks",
            "needs `schema-version = \"0.2\"` in `[_]`",
        ),
        Schema::V0_2 | Schema::V0_3 => (V0_2, "build", "is of schema 0.1"),
    };
    let mut walk = Walk {
        text,
        tables,
        foreign,
        instead,
        warnings: Vec::new(),
    };
    if let Ok(document) = DeTable::parse(text) {
        walk.table("", document.get_ref());
    }
    walk.warnings
}

struct Walk<'a> {
    text: &'a str,
    tables: &'static [Table],
    /// A table of another schema, and what is said of it.
    foreign: &'static str,
    instead: &'static str,
    warnings: Vec<String>,
}

impl Walk<'_> {
    fn table(&mut self, path: &str, table: &DeTable<'_>) {
        let known = self.tables.iter().find(|(name, _)| *name == path);
        for (key, value) in table {
            let name = key.get_ref();
            let below = if path.is_empty() {
                name.to_string()
            } else {
                format!("{path}.{name}")
            };
            let place = shown_place(self.text, key.span().start);
            if below == self.foreign {
                let instead = self.instead;
                self.warnings.push(format!(
                    "project.toml, {place}: `{below}` {instead}, and is ignored"
                ));
            } else if let Some((_, keys)) = known.filter(|(_, keys)| !keys.contains(&name.as_ref()))
            {
                let meant = nearest(name, keys.iter().copied());
                let meant = meant.map(|meant| format!(" (did you mean `{meant}`?)"));
                self.warnings.push(format!(
                    "project.toml, {place}: the key `{}` is unknown{}",
                    below.escape_debug(),
                    meant.unwrap_or_default()
                ));
            } else {
                self.value(&below, value.get_ref());
            }
        }
    }

    fn value(&mut self, path: &str, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.table(path, table),
            DeValue::Array(values) => {
                for value in values {
                    self.value(path, value.get_ref());
                }
            }
            _ => {}
        }
    }
}
