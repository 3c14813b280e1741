//! The index, proxy and CA settings of the operator's machine, for the build
//! that runs in the sandbox: as environment variables and as files to show it.
//!
//! Everything else of the operator's shell stays outside. A language's own
//! buildpack turns these into what its tool reads.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::sys::fs::read_if_present;

/// A configuration file is small; a larger one is not read.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Handed on as they are, in both cases where both are used.
const NETWORK: [&str; 13] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NETRC",
];
/// The options of pip that say where packages come from (pip, "Configuration"), as its files write them.
const PIP: [&str; 11] = [
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
];
/// The variables of uv that say where packages come from (uv, "Environment variables"); `UV_INDEX…` besides.
const UV: [&str; 9] = [
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT",
    "UV_HTTP_RETRIES",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_OFFLINE",
];
/// Those whose value is a file or folder, or several, or URLs among which there may be some.
const WITH_PATHS: [&str; 9] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NETRC",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_FIND_LINKS",
    "UV_FIND_LINKS",
];
/// What every sandbox shows anyway.
const SHOWN: [&str; 4] = ["/usr", "/etc/ssl", "/etc/pki", "/etc/ca-certificates"];

/// What a build may know of the operator's machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Written as `/platform/env/NAME`.
    pub env: BTreeMap<String, Vec<u8>>,
    /// Files and folders that `env` names, shown read-only at their own paths.
    pub binds: Vec<PathBuf>,
}

/// Reads the settings of pip and uv, proxies and CA files from the operator's environment and home.
/// A configuration file that cannot be read is as if it were not there: pip and uv say so themselves.
pub fn settings(operator_env: &BTreeMap<OsString, OsString>, home: Option<&Path>) -> Machine {
    let mut env = from_env(operator_env);
    add_netrc(&mut env, home);
    // The nearest file first: what is set already is not replaced.
    for path in pip_files(operator_env, home) {
        for (name, value) in pip_options(&text(&path)) {
            env.entry(name).or_insert(value.into_bytes());
        }
    }
    for path in uv_files(operator_env, home) {
        for (name, value) in uv_options(&text(&path)) {
            env.entry(name).or_insert(value.into_bytes());
        }
    }
    // Where pip itself takes `~` for the home.
    for name in ["PIP_CERT", "PIP_CLIENT_CERT", "PIP_FIND_LINKS"] {
        env.entry(name.to_owned())
            .and_modify(|value| *value = expand_home(value, home));
    }
    let binds = binds(&env);
    Machine { env, binds }
}

fn from_env(operator_env: &BTreeMap<OsString, OsString>) -> BTreeMap<String, Vec<u8>> {
    let wanted = |name: &str| {
        NETWORK.contains(&name)
            || UV.contains(&name)
            || name.starts_with("UV_INDEX")
            || PIP.iter().any(|option| pip_variable(option) == name)
    };
    let named = operator_env
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value.as_bytes())));
    let set = named.filter(|(name, value)| wanted(name) && !value.is_empty());
    set.map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect()
}

fn pip_variable(option: &str) -> String {
    format!("PIP_{}", option.replace('-', "_").to_uppercase())
}

fn add_netrc(env: &mut BTreeMap<String, Vec<u8>>, home: Option<&Path>) {
    if let Some(path) = home
        .map(|home| home.join(".netrc"))
        .filter(|path| path.is_file())
    {
        env.entry("NETRC".to_owned())
            .or_insert(path.as_os_str().as_bytes().to_vec());
    }
}

fn text(path: &Path) -> String {
    let bytes = read_if_present(path, CONFIG_BYTES_MAX)
        .ok()
        .flatten()
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn var<'a>(env: &'a BTreeMap<OsString, OsString>, name: &str) -> Option<&'a OsString> {
    env.get(OsStr::new(name)).filter(|value| !value.is_empty())
}

fn config_home(env: &BTreeMap<OsString, OsString>, home: Option<&Path>) -> Option<PathBuf> {
    var(env, "XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| home.map(|home| home.join(".config")))
}

/// `/etc/xdg`, unless the operator says otherwise.
fn config_dirs(env: &BTreeMap<OsString, OsString>) -> Vec<PathBuf> {
    var(env, "XDG_CONFIG_DIRS").map_or_else(
        || vec!["/etc/xdg".into()],
        |dirs| std::env::split_paths(dirs).collect(),
    )
}

/// The files that pip reads (pip, "Configuration files"), the one that wins first.
fn pip_files(env: &BTreeMap<OsString, OsString>, home: Option<&Path>) -> Vec<PathBuf> {
    let named = var(env, "PIP_CONFIG_FILE").map(PathBuf::from);
    if named.as_deref() == Some(Path::new("/dev/null")) {
        return Vec::new(); // pip's own way to say "none"
    }
    let venv = var(env, "VIRTUAL_ENV").map(|venv| Path::new(venv).join("pip.conf"));
    let own = config_home(env, home).map(|folder| folder.join("pip/pip.conf"));
    let legacy = home.map(|home| home.join(".pip/pip.conf"));
    let global = config_dirs(env)
        .into_iter()
        .map(|folder| folder.join("pip/pip.conf"));
    [named, venv, own, legacy]
        .into_iter()
        .flatten()
        .chain([PathBuf::from("/etc/pip.conf")])
        .chain(global)
        .collect()
}

/// The files that uv reads (uv, "Configuration files"), the one that wins first.
fn uv_files(env: &BTreeMap<OsString, OsString>, home: Option<&Path>) -> Vec<PathBuf> {
    if let Some(named) = var(env, "UV_CONFIG_FILE") {
        return vec![named.into()];
    }
    let own = config_home(env, home);
    let global = config_dirs(env).into_iter().chain([PathBuf::from("/etc")]);
    own.into_iter()
        .chain(global)
        .map(|folder| folder.join("uv/uv.toml"))
        .collect()
}

/// The options of `[global]`, `[install]` and `[download]` as variables. `[install]` wins, as it does in `pip install`.
fn pip_options(text: &str) -> BTreeMap<String, String> {
    let mut sections: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    let (mut section, mut option) = ("", None::<String>);
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', ';']))
    {
        let content = line.trim();
        if content.is_empty() {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            let value = option
                .as_ref()
                .and_then(|option| sections.get_mut(section)?.get_mut(option));
            if let Some(value) = value {
                value.push(' ');
                value.push_str(content);
            }
        } else if let Some(name) = content
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            (section, option) = (name, None);
        } else if let Some((name, value)) = content.split_once(['=', ':']) {
            let name = name.trim().to_lowercase().replace('_', "-");
            sections
                .entry(section)
                .or_default()
                .insert(name.clone(), value.trim().to_owned());
            option = Some(name);
        }
    }
    let mut options = BTreeMap::new();
    for section in ["global", "download", "install"]
        .iter()
        .filter_map(|name| sections.remove(name))
    {
        options.extend(section);
    }
    options.retain(|name, value| PIP.contains(&name.as_str()) && !value.is_empty());
    options
        .into_iter()
        .map(|(name, value)| (pip_variable(&name), value.trim().to_owned()))
        .collect()
}

/// What a `uv.toml` says about indexes, as variables. A file that is no TOML says nothing.
fn uv_options(text: &str) -> BTreeMap<String, String> {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let pip = table
        .get("pip")
        .and_then(toml::Value::as_table)
        .cloned()
        .unwrap_or_default();
    let value = |key: &str| table.get(key).or_else(|| pip.get(key));
    let mut options = BTreeMap::new();
    for (key, variable) in [
        ("index-url", "UV_INDEX_URL"),
        ("extra-index-url", "UV_EXTRA_INDEX_URL"),
        ("find-links", "UV_FIND_LINKS"),
        ("no-index", "PIP_NO_INDEX"), // uv has no variable for it
        ("allow-insecure-host", "UV_INSECURE_HOST"),
        ("native-tls", "UV_NATIVE_TLS"),
        ("system-certs", "UV_SYSTEM_CERTS"),
    ] {
        let between = if key == "find-links" { "," } else { " " };
        options.extend(value(key).map(|value| (variable.to_owned(), joined(value, between))));
    }
    let indexes = table
        .get("index")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten();
    let mut others = Vec::new();
    for index in indexes.filter_map(toml::Value::as_table) {
        let flag = |key: &str| index.get(key).and_then(toml::Value::as_bool) == Some(true);
        let Some(url) = index.get("url").and_then(toml::Value::as_str) else {
            continue;
        };
        match index.get("name").and_then(toml::Value::as_str) {
            _ if flag("explicit") => {} // asked only by a project that names it itself
            _ if flag("default") => {
                options.insert("UV_DEFAULT_INDEX".to_owned(), url.to_owned());
            }
            Some(name) => others.push(format!("{name}={url}")),
            None => others.push(url.to_owned()),
        }
    }
    if !others.is_empty() {
        options.insert("UV_INDEX".to_owned(), others.join(" "));
    }
    options.retain(|_, value| !value.is_empty() && value != "false");
    options
}

/// A string, a truth value, or several strings, as a variable writes them.
fn joined(value: &toml::Value, between: &str) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Boolean(flag) => flag.to_string(),
        toml::Value::Array(values) => values
            .iter()
            .filter_map(toml::Value::as_str)
            .collect::<Vec<_>>()
            .join(between),
        _ => String::new(),
    }
}

/// `~/wheels` → `/home/ada/wheels`: the home inside the sandbox is another one.
fn expand_home(value: &[u8], home: Option<&Path>) -> Vec<u8> {
    let Some(home) = home else {
        return value.to_vec();
    };
    let words = value
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let expanded = words.map(|word| match word.strip_prefix(b"~/") {
        Some(rest) => home
            .join(OsStr::from_bytes(rest))
            .into_os_string()
            .as_bytes()
            .to_vec(),
        None => word.to_vec(),
    });
    expanded.collect::<Vec<_>>().join(&b' ')
}

/// Each file and folder that a value names and that is there.
fn binds(env: &BTreeMap<String, Vec<u8>>) -> Vec<PathBuf> {
    let named = env
        .iter()
        .filter(|(name, _)| WITH_PATHS.contains(&name.as_str()) || name.contains("INDEX"));
    let words = named.flat_map(|(_, value)| {
        let parts = value.split(|byte| byte.is_ascii_whitespace() || *byte == b',');
        parts.chain([value.as_slice()])
    });
    let paths = words.filter_map(|word| {
        let word = word.strip_prefix(b"file://").unwrap_or(word);
        let path = Path::new(OsStr::from_bytes(word));
        let hidden = path.is_absolute() && !SHOWN.iter().any(|shown| path.starts_with(shown));
        (hidden && path.parent().is_some() && path.exists()).then(|| path.to_owned())
    });
    let unique: std::collections::BTreeSet<PathBuf> = paths.collect();
    unique.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::sys::fs::write_atomic(path, text.as_bytes(), 0o600).unwrap();
    }

    /// A machine whose global files are those of `home`, not of the one that runs the test.
    fn read(home: &Path, env: &[(&str, &str)]) -> (BTreeMap<String, String>, Vec<PathBuf>) {
        let mut operator: BTreeMap<OsString, OsString> = env
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        operator.insert("XDG_CONFIG_DIRS".into(), home.join("xdg").into());
        let machine = settings(&operator, Some(home));
        let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
        (
            machine
                .env
                .into_iter()
                .map(|(name, value)| (name, text(value)))
                .collect(),
            machine.binds,
        )
    }

    #[test]
    fn the_environment_wins_over_the_users_file_and_that_over_the_machines() {
        let home = tempfile::tempdir().unwrap();
        put(
            &home.path().join("xdg/pip/pip.conf"),
            "[global]\nindex-url = https://machine/simple\nproxy = p:1\ntimeout=7\n",
        );
        put(
            &home.path().join(".config/pip/pip.conf"),
            "# mine\n[global]\nindex-url=https://user/simple\ntimeout = 8\n[install]\ntimeout = 9\n[list]\nformat = columns\n",
        );
        let (env, _) = read(
            home.path(),
            &[
                ("PIP_PROXY", "env:1"),
                ("PIP_TARGET", "/x"),
                ("EDITOR", "vi"),
            ],
        );
        assert_eq!(env["PIP_INDEX_URL"], "https://user/simple");
        assert_eq!(env["PIP_PROXY"], "env:1");
        assert_eq!(env["PIP_TIMEOUT"], "9");
        assert!(
            !env.contains_key("PIP_TARGET")
                && !env.contains_key("EDITOR")
                && !env.contains_key("PIP_FORMAT")
        );
        let (env, _) = read(home.path(), &[("PIP_CONFIG_FILE", "/dev/null")]);
        assert!(!env.contains_key("PIP_INDEX_URL"));
    }

    #[test]
    fn files_that_a_setting_names_are_shown_to_the_build() {
        let home = tempfile::tempdir().unwrap();
        let (wheels, ca) = (home.path().join("wheels"), home.path().join("our ca.pem"));
        fs::create_dir(&wheels).unwrap();
        put(&ca, "");
        put(&home.path().join(".netrc"), "");
        put(
            &home.path().join(".pip/pip.conf"),
            "[global]\nfind-links =\n    ~/wheels\n    https://h/links\n",
        );
        let cert = ca.display().to_string();
        let (env, binds) = read(
            home.path(),
            &[
                ("SSL_CERT_FILE", &cert),
                ("PIP_CERT", "/etc/ssl/certs/x.crt"),
            ],
        );
        assert_eq!(
            env["PIP_FIND_LINKS"],
            format!("{} https://h/links", wheels.display())
        );
        assert_eq!(binds, [home.path().join(".netrc"), ca, wheels]);
    }

    #[test]
    fn the_indexes_of_uv_become_its_variables() {
        let home = tempfile::tempdir().unwrap();
        put(
            &home.path().join(".config/uv/uv.toml"),
            r#"
native-tls = true
[[index]]
name = "corp"
url = "https://corp/simple"
[[index]]
url = "https://mirror/simple"
default = true
[[index]]
name = "torch"
url = "https://torch/simple"
explicit = true
[pip]
find-links = ["https://a", "https://b"]
"#,
        );
        let (env, _) = read(home.path(), &[("UV_INDEX_CORP_PASSWORD", "hush")]);
        let uv: Vec<_> = env
            .iter()
            .filter(|(name, _)| name.starts_with("UV_"))
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        assert_eq!(
            uv,
            [
                "UV_DEFAULT_INDEX=https://mirror/simple",
                "UV_FIND_LINKS=https://a,https://b",
                "UV_INDEX=corp=https://corp/simple",
                "UV_INDEX_CORP_PASSWORD=hush",
                "UV_NATIVE_TLS=true",
            ]
        );
    }
}
