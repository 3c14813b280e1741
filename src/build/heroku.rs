//! What an app says to Heroku about its build: `.buildpacks`, and `buildpacks`
//! and `env` of `app.json`. The rest of `app.json` is not about a build.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::slug_toml::Need;
use super::{BuildError, BuiltIns, Reference};
use crate::ident::EnvKey;
use crate::layer::TomlError;
use crate::layer::toml_file::wrong;
use crate::sys::fs::read_plain;

/// The largest such file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The namespaces of Heroku's list of buildpacks whose entries are repositories of Heroku's own.
const NAMESPACES: [&str; 2] = ["heroku/", "heroku-community/"];

/// The config contract of `app.json`, and what the author should know of it.
#[derive(Debug, Default)]
pub(super) struct Contract {
    /// The vars that it declares.
    pub(super) env: BTreeMap<EnvKey, Need>,
    /// Of those that cannot be.
    pub(super) warnings: Vec<String>,
}

#[derive(Default, Deserialize)]
struct AppJson {
    #[serde(default)]
    buildpacks: Vec<Buildpack>,
    #[serde(default)]
    env: BTreeMap<String, Var>,
}

#[derive(Deserialize)]
struct Buildpack {
    url: String,
}

/// `"KEY": "value"`, or an object.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a text, or an object with `value`, `required`, `description`, `generator`"
)]
enum Var {
    Value(String),
    Declared(Declared),
}

#[derive(Deserialize)]
struct Declared {
    value: Option<String>,
    description: Option<String>,
    generator: Option<String>,
    /// Heroku: required unless said otherwise.
    #[serde(default = "yes")]
    required: bool,
}

fn yes() -> bool {
    true
}

impl AppJson {
    fn read(text: &str, path: &Path) -> Result<Self, TomlError> {
        serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            wrong(text, path, offset(text, &error), message.to_owned())
        })
    }
}

/// The buildpacks that the app lists, in their order: those of `.buildpacks`, else those of `app.json`. Read only where
/// nothing else says which: a name that cannot be followed is no matter then.
pub(super) fn buildpacks(
    folder: &Path,
    built_ins: &BuiltIns,
) -> Result<Vec<Reference>, BuildError> {
    let path = folder.join(".buildpacks");
    let text = read_text(&path)?.unwrap_or_default();
    let listed = listed(&text, &path, folder, built_ins)?;
    if !listed.is_empty() {
        return Ok(listed);
    }
    let path = folder.join("app.json");
    let Some(text) = read_text(&path)? else {
        return Ok(Vec::new());
    };
    let parse = |Buildpack { url }: Buildpack| {
        let place = text.find(&url).unwrap_or_default();
        reference(&url, folder, built_ins).map_err(|why| wrong(&text, &path, place, why))
    };
    let app = AppJson::read(&text, &path)?;
    let found: Result<_, TomlError> = app.buildpacks.into_iter().map(parse).collect();
    Ok(found?)
}

/// What `env` of `app.json` declares.
pub(super) fn contract(folder: &Path) -> Result<Contract, BuildError> {
    let path = folder.join("app.json");
    let mut contract = Contract::default();
    let Some(text) = read_text(&path)? else {
        return Ok(contract);
    };
    for (name, var) in AppJson::read(&text, &path)?.env {
        match name.parse::<EnvKey>() {
            Ok(key) => drop(contract.env.insert(key, var.need())),
            Err(error) => contract.warnings.push(format!(
                "app.json: {error}; it is no part of the config contract"
            )),
        }
    }
    Ok(contract)
}

impl Var {
    /// A value is Heroku's to set at the first deploy; here it is a proposal to whoever sets the config.
    fn need(self) -> Need {
        let Declared {
            value,
            description,
            generator,
            required,
        } = match self {
            Self::Declared(declared) => declared,
            Self::Value(value) => Declared {
                value: Some(value),
                description: None,
                generator: None,
                required: true,
            },
        };
        let is_generated = generator.is_some();
        let proposal = match value {
            _ if is_generated => {
                Some("any secret, such as `openssl rand -hex 32` prints".to_owned())
            }
            Some(value) if !value.is_empty() => Some(format!("app.json proposes `{value}`")),
            _ => None,
        };
        let parts: Vec<String> = description.into_iter().chain(proposal).collect();
        let description = (!parts.is_empty()).then(|| parts.join("; "));
        Need::new(required, is_generated, description)
    }
}

fn read_text(path: &Path) -> Result<Option<String>, BuildError> {
    let bytes = read_plain(path, FILE_BYTES_MAX)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// One a line; blank lines and those that begin with `#` are none.
fn listed(
    text: &str,
    path: &Path,
    folder: &Path,
    built_ins: &BuiltIns,
) -> Result<Vec<Reference>, TomlError> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        if !content.is_empty() && !content.starts_with('#') {
            let place = start + line.find(content).unwrap_or_default();
            let reference = reference(content, folder, built_ins)
                .map_err(|why| wrong(text, path, place, why))?;
            found.push(reference);
        }
        start += line.len();
    }
    Ok(found)
}

/// As Heroku reads it: an archive ends in `.tgz` or `.tar.gz`, any other URL is a git repository, and a name is one of
/// Heroku's list. Besides, whatever `--buildpack` takes.
fn reference(text: &str, folder: &Path, built_ins: &BuiltIns) -> Result<Reference, String> {
    let parse = |text: &str| {
        Reference::parse(text, folder, &|id| built_ins.has(id)).map_err(|error| error.to_string())
    };
    let name = text.strip_prefix("urn:buildpack:").unwrap_or(text);
    if let Some(own) = NAMESPACES.iter().find_map(|space| name.strip_prefix(space)) {
        return parse(&repository(own));
    }
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    let is_url = text.starts_with("https://") || text.starts_with("http://");
    let is_archive = [".tgz", ".tar.gz"]
        .iter()
        .any(|ending| before_query.ends_with(ending));
    if is_url && !is_archive {
        return parse(&format!("git+{text}"));
    }
    let is_path = text.starts_with(['.', '/']);
    if name != text || (!is_url && !is_path && is_listed_name(text) && !built_ins.has(text)) {
        return Err(format!(
            "`{text}` is a name of Heroku's list of buildpacks, which slug does not read (expected the URL of its git repository)"
        ));
    }
    parse(text)
}

/// Where Heroku keeps its own.
fn repository(name: &str) -> String {
    let name = if name == "jvm" { "jvm-common" } else { name };
    format!("https://github.com/heroku/heroku-buildpack-{name}.git")
}

/// `namespace/name`.
fn is_listed_name(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.split_once('/')
        .is_some_and(|(space, name)| is_word(space) && is_word(name))
}

/// The place of a JSON error, in bytes.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let offset = before + error.column().saturating_sub(1);
    let offset = offset.min(text.len());
    (0..=offset)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildpack::author::{BuiltIn, Detected};

    const BUILT_IN: BuiltIn = BuiltIn {
        id: "slug/procfile",
        descriptor: "",
        detect: |_| Ok(Detected::No),
        build: |_| Ok(()),
    };
    const BUILT_INS: BuiltIns = BuiltIns {
        all: &[BUILT_IN],
        order: &[],
        classic: BUILT_IN,
    };

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            crate::sys::fs::write_atomic(&path, text.as_bytes(), 0o644).unwrap();
        }
        folder
    }

    /// The references, one a line; or the error without the path of the folder.
    fn listed_by(files: &[(&str, &str)]) -> Result<String, String> {
        let folder = folder(files);
        let root = format!("{}/", folder.path().display());
        let found = buildpacks(folder.path(), &BUILT_INS);
        let found = found.map_err(|error| error.to_string().replace(&root, ""))?;
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        Ok(shown.join("\n"))
    }

    fn check(text: &str, expected: Result<&str, &str>) {
        let shown = listed_by(&[(".buildpacks", text)]);
        match expected {
            Ok(expected) => assert_eq!(shown.as_deref(), Ok(expected)),
            Err(expected) => {
                let error = shown.unwrap_err();
                assert!(error.contains(expected), "{text}: {error}");
            }
        }
    }

    #[test]
    fn a_line_is_what_heroku_takes_it_for() {
        check("", Ok(""));
        check(
            "# two\r\n\r\n https://github.com/a/b \r\nhttps://github.com/a/c.git#v1\n",
            Ok("https://github.com/a/b\nhttps://github.com/a/c.git#v1"),
        );
        check(
            "heroku/nodejs\nurn:buildpack:heroku/jvm\nheroku-community/apt\n",
            Ok(
                "https://github.com/heroku/heroku-buildpack-nodejs.git\nhttps://github.com/heroku/heroku-buildpack-jvm-common.git\nhttps://github.com/heroku/heroku-buildpack-apt.git",
            ),
        );
        check("slug/procfile\n", Ok("slug/procfile"));
        check("git@example.org:a/b.git\n", Ok("git@example.org:a/b.git"));
        check(
            "\nmars/create-react-app\n",
            Err("`.buildpacks`, line 2, column 1: `mars/create-react-app` is a name"),
        );
        check("https://example.org/a.tgz\n", Err("has no digest"));
        check("urn:buildpack:mars/x\n", Err("is a name of Heroku's list"));
    }

    #[test]
    fn the_list_wins_over_app_json_if_it_names_any() {
        let json = r#"{"buildpacks": [{"url": "https://example.org/json"}]}"#;
        let of = |list: &str| listed_by(&[("app.json", json), (".buildpacks", list)]).unwrap();
        assert_eq!(of("https://example.org/list\n"), "https://example.org/list");
        assert_eq!(of("# none\n"), "https://example.org/json");
    }

    #[test]
    fn env_of_app_json_is_a_config_contract() {
        let json = r#"{"name": "x", "env": {
            "PLAIN": "2",
            "SECRET": {"generator": "secret", "description": "signs cookies"},
            "OPTIONAL": {"required": false},
            "NEEDED": {"description": "where"},
            "PORT": "80"
        }}"#;
        let contract = contract(folder(&[("app.json", json)]).path()).unwrap();
        let shown: Vec<String> = contract
            .env
            .iter()
            .map(|(key, need)| format!("{key} {}", serde_json::json!(need)))
            .collect();
        assert_eq!(
            shown,
            [
                r#"NEEDED {"description":"where","required":true,"secret":false}"#,
                r#"OPTIONAL {"required":false,"secret":false}"#,
                r#"PLAIN {"description":"app.json proposes `2`","required":true,"secret":false}"#,
                r#"SECRET {"description":"signs cookies; any secret, such as `openssl rand -hex 32` prints","required":true,"secret":true}"#,
            ]
        );
        assert_eq!(contract.warnings.len(), 1);
    }

    #[test]
    fn an_error_names_its_place() {
        for (json, expected) in [
            ("{\n  \"env\": [],\n}", "`app.json`, line 2, column"),
            ("{\n", "line"),
            (
                "{\"buildpacks\": [\n{\"url\": \"a/b\"}]}",
                "`app.json`, line 2, column 10: `a/b` is a name",
            ),
        ] {
            let error = listed_by(&[("app.json", json)]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
