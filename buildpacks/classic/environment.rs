//! The environment of the packs' programs, and what their `export` files make of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::buildpack::author::At as _;
use crate::buildpack::author::BuildContext;
use crate::buildpack::author::Failure;
use crate::buildpack::author::LayerTypes;
use crate::buildpack::author::write;

use super::Env;

/// How this machine reaches the network: its own settings, which packs get as environment. The rest of `ENV_DIR` is for a
/// pack to read or leave, as on Heroku.
const NETWORK: [&str; 13] = [
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NETRC",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
/// What bash keeps for itself.
const OF_BASH: [&str; 4] = ["OLDPWD", "PWD", "SHLVL", "_"];

/// `HOME` is the app's folder, as at run time: packs bake it in. What tools keep beside their home by the XDG rules
/// stays out of the slug.
pub(super) fn of_packs(
    own: &Env,
    platform: &Path,
    app: &Path,
    stack: &str,
) -> Result<Env, Failure> {
    let is_contracts = |name: &OsStr| name.as_bytes().starts_with(b"CNB_");
    let mut env: Env = own.clone();
    env.retain(|name, _| !is_contracts(name));
    for name in NETWORK {
        let path = platform.join("env").join(name);
        match std::fs::read(&path) {
            Ok(value) => drop(env.insert(name.into(), OsStr::from_bytes(&value).to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => Err(error).at("read", &path)?,
        }
    }
    if let Some(home) = own.get(OsStr::new("HOME")) {
        env.insert(
            "XDG_CACHE_HOME".into(),
            Path::new(home).join("cache").into(),
        );
    }
    env.insert("HOME".into(), app.into());
    env.insert("STACK".into(), stack.into());
    Ok(env)
}

/// The environment as `env -0` prints it.
pub(super) fn parse(printed: &[u8]) -> Env {
    let entries = printed.split(|byte| *byte == 0);
    let pairs = entries.filter_map(|entry| {
        let middle = entry.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&entry[..middle], &entry[middle + 1..]);
        Some((
            OsStr::from_bytes(name).to_owned(),
            OsStr::from_bytes(value).to_owned(),
        ))
    });
    let mut env: Env = pairs.collect();
    env.retain(|name, _| !OF_BASH.iter().any(|own| name == own));
    env
}

/// What the packs exported, for later buildpacks of the group.
pub(super) fn export(context: &BuildContext, base: &Env, env: &Env) -> Result<(), Failure> {
    let changed: Vec<_> = env
        .iter()
        .filter(|(name, value)| base.get(*name) != Some(*value) && is_plain(name))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let layer = context.layer("export");
    layer.renew()?;
    let folder = layer.dir.join("env.build");
    std::fs::create_dir_all(&folder).at("create the folder", &folder)?;
    for (name, value) in changed {
        let mut file = name.clone();
        file.push(".override");
        write(&folder.join(file), value.as_bytes())?;
    }
    let types = LayerTypes {
        build: true,
        ..LayerTypes::default()
    };
    layer.describe(types, toml::Table::new())
}

/// An exported function of bash is a variable too, with a name that no file of a layer can have.
fn is_plain(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_lines_and_what_is_of_bash_is_left_out() {
        let env = parse(b"A=1\nB=2\0C=\0_=/usr/bin/env\0PWD=/\0D==\0");
        let shown: Vec<_> = env
            .iter()
            .map(|(name, value)| (name.to_str().unwrap(), value.to_str().unwrap()))
            .collect();
        assert_eq!(shown, [("A", "1\nB=2"), ("C", ""), ("D", "=")]);
    }
}
