//! Processes, and what they are started with.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::buildpack::author::AuthoredLabel;
use crate::buildpack::author::BuildContext;
use crate::buildpack::author::Failure;
use crate::buildpack::author::LayerTypes;
use crate::buildpack::author::read_text;
use crate::buildpack::author::write as write_file;
use crate::buildpack::classic::Pack;
use crate::buildpack::classic::Packs;
use crate::grammar::procfile;
use crate::grammar::remark;

use super::pack::say;
use super::release::Release;

/// The label that says which packs made the slug.
const PACKS_LABEL: &str = "slug.classic";
/// The label that says how processes run: `slug.toml` writes the same, and wins.
const PROCESS_LABEL: &str = "slug.process";

/// `launch.toml` in the form of Buildpack API 0.8.
#[derive(Serialize)]
struct Launch {
    labels: Vec<AuthoredLabel>,
    processes: Vec<Process>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Process {
    #[serde(rename = "type")]
    name: String,
    command: String,
    /// Not: bash starts it, after the profiles.
    direct: bool,
    default: bool,
}

/// What the layer `profile` was made of.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct ProfileKey {
    app: String,
    config_vars: BTreeMap<String, String>,
}

/// Writes `launch.toml` and the layer that every process starts with.
pub(super) fn write(
    context: &BuildContext,
    release: &Release,
    packs: &Packs,
) -> Result<(), Failure> {
    write_profile(context, release)?;
    let procfile = read_procfile(&context.app)?;
    let processes = processes(&release.process_types, &procfile);
    let idle: BTreeMap<_, _> = processes
        .iter()
        .filter(|process| process.name != "web")
        .filter(|process| !procfile.contains_key(&process.name))
        .map(|process| (&process.name, serde_json::json!({ "instances": 0 })))
        .collect();
    let mut labels = vec![AuthoredLabel {
        key: PACKS_LABEL.to_owned(),
        value: packs.packs.iter().map(shown).collect::<Vec<_>>().join(", "),
    }];
    if !idle.is_empty() {
        labels.push(AuthoredLabel {
            key: PROCESS_LABEL.to_owned(),
            value: serde_json::json!(idle).to_string(),
        });
    }
    let path = context.layers.join("launch.toml");
    let text = toml::to_string(&Launch { labels, processes })
        .map_err(|error| Failure(format!("could not write `{}`: {error}", path.display())))?;
    Ok(write_file(&path, text.as_bytes())?)
}

fn shown(pack: &Pack) -> String {
    match &pack.revision {
        Some(revision) => format!("{}@{revision}", pack.name),
        None => pack.name.clone(),
    }
}

/// The app's own file, as the packs left it; its problems end the build.
fn read_procfile(app: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let Some(text) = read_text(&app.join("Procfile"))? else {
        return Ok(BTreeMap::new());
    };
    let parsed = procfile::parse(&text);
    for warning in &parsed.warnings {
        say(&format!("warning: {}", warning.of_file("Procfile")));
    }
    if !parsed.problems.is_empty() {
        return Err(Failure(remark::list("Procfile", &parsed.problems)));
    }
    let entries = parsed.entries.into_iter();
    Ok(entries.map(|entry| (entry.name, entry.command)).collect())
}

/// The Procfile wins per type. `web` is the default, or the one process that is neither `web` nor `release`.
fn processes(
    of_release: &BTreeMap<String, String>,
    of_procfile: &BTreeMap<String, String>,
) -> Vec<Process> {
    let mut merged = of_release.clone();
    merged.extend(of_procfile.clone());
    let startable: Vec<&String> = merged.keys().filter(|name| *name != "release").collect();
    let default = match startable.as_slice() {
        [only] => Some((*only).clone()),
        several => several
            .iter()
            .find(|name| **name == "web")
            .map(|name| (*name).clone()),
    };
    let process = |(name, command): (String, String)| Process {
        default: default.as_ref() == Some(&name),
        name,
        command: command.trim().to_owned(),
        direct: false,
    };
    merged.into_iter().map(process).collect()
}

/// `HOME`, what the pack would have set as config, and the app's own profiles.
fn write_profile(context: &BuildContext, release: &Release) -> Result<(), Failure> {
    let app = context.app.display().to_string();
    let key = ProfileKey {
        app: app.clone(),
        config_vars: release.config_vars.clone(),
    };
    let types = LayerTypes {
        launch: true,
        cache: true,
        ..LayerTypes::default()
    };
    let layer = context.layer("profile");
    if layer.cached::<ProfileKey>().as_ref() != Some(&key) {
        layer.renew()?;
        layer.set_env("env.launch", "HOME.override", &app)?;
        for (name, value) in &release.config_vars {
            // The base's own PATH is no config var of the user's.
            let action = if name == "PATH" {
                "override"
            } else {
                "default"
            };
            layer.set_env("env.launch", &format!("{name}.{action}"), value)?;
        }
        layer.set_env("profile.d", "app.sh", &profile(&app))?;
    }
    layer.describe(types, key)
}

/// Sources what packs and app put into `.profile.d`; the launcher then sources the app's `.profile`.
fn profile(app: &str) -> String {
    format!(
        "for slug_profile in {app}/.profile.d/*.sh; do\n  \
         [ -f \"$slug_profile\" ] && source \"$slug_profile\"\ndone\nunset slug_profile\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(of_release: &[(&str, &str)], of_procfile: &[(&str, &str)], expected: &[&str]) {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, command)| ((*name).to_owned(), (*command).to_owned()))
                .collect()
        };
        let shown: Vec<String> = processes(&map(of_release), &map(of_procfile))
            .into_iter()
            .map(|process| {
                let mark = if process.default { " (default)" } else { "" };
                format!("{}: {}{mark}", process.name, process.command)
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_procfile_wins_for_each_type_and_web_is_the_default() {
        check(
            &[("web", "npm start"), ("rake", "rake")],
            &[("web", "node a.js"), ("worker", "w")],
            &["rake: rake", "web: node a.js (default)", "worker: w"],
        );
        check(
            &[("worker", "w")],
            &[("release", "r")],
            &["release: r", "worker: w (default)"],
        );
        check(&[("a", "1"), ("b", "2")], &[], &["a: 1", "b: 2"]);
    }
}
