//! `STACK`: the name of the base that a pack's ready-made programs were built for.

use std::path::Path;
use std::process::Command;

use crate::buildpack::author::Evidence;
use crate::buildpack::author::read_text;

/// Heroku's stacks that are not at their end of life (heroku-buildpack-python, `lib/checks.sh`), newest first: the Ubuntu
/// release that each is made of, and the glibc of that.
const STACKS: [(&str, &str, (u32, u32)); 3] = [
    ("heroku-26", "26.04", (2, 43)),
    ("heroku-24", "24.04", (2, 39)),
    ("heroku-22", "22.04", (2, 35)),
];

/// A stack, and why it is that one.
pub(super) struct Stack {
    pub(super) name: String,
    pub(super) evidence: Evidence,
}

/// What the user says (`STACK` in `ENV_DIR`), else the one of this system.
pub(super) fn stack(env_dir: &Path) -> Result<Stack, String> {
    let said = read_text(&env_dir.join("STACK")).map_err(|error| error.to_string())?;
    if let Some(name) = said {
        return Ok(found(name, "as the build's environment says"));
    }
    let os_release = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .find_map(|path| read_text(Path::new(path)).ok().flatten());
    if let Some((name, ubuntu)) = of_ubuntu(&os_release.unwrap_or_default()) {
        return Ok(found(name.to_owned(), &format!("which is Ubuntu {ubuntu}")));
    }
    let glibc = glibc();
    let (name, why) = of_glibc(glibc.as_deref())?;
    Ok(found(name.to_owned(), &why))
}

fn found(name: String, why: &str) -> Stack {
    let evidence = Evidence {
        what: format!("STACK {name}, {why}"),
        file: None,
        line: None,
    };
    Stack { name, evidence }
}

/// On the system that a stack is made of, it is that stack.
fn of_ubuntu(os_release: &str) -> Option<(&'static str, &'static str)> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key));
        line.map(|value| value.trim_matches(['"', '\'']))
    };
    if value("ID=") != Some("ubuntu") {
        return None;
    }
    let version = value("VERSION_ID=")?;
    let known = STACKS.iter().find(|(_, ubuntu, _)| *ubuntu == version);
    known.map(|(name, ubuntu, _)| (*name, *ubuntu))
}

/// Elsewhere the newest whose programs this system's glibc can run.
fn of_glibc(version: Option<&str>) -> Result<(&'static str, String), String> {
    let numbers = version.and_then(|version| {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let known = STACKS
        .iter()
        .find(|(_, _, needed)| numbers.is_some_and(|has| has >= *needed));
    if let (Some((name, _, (major, minor))), Some(version)) = (known, version) {
        let why = format!("whose glibc {major}.{minor} is not newer than this system's {version}");
        return Ok((name, why));
    }
    let has = version.map_or_else(
        || "no glibc that can be found".to_owned(),
        |version| format!("glibc {version}"),
    );
    let (oldest, _, (major, minor)) = STACKS[STACKS.len() - 1];
    Err(format!(
        "this system has {has}, and the ready-made programs of classic buildpacks need {major}.{minor} or newer ({oldest}); \
         if those of this app need none, name a stack: `--env STACK={oldest}`"
    ))
}

/// `2.36`, as the C library says it itself.
fn glibc() -> Option<String> {
    let said = Command::new("getconf")
        .arg("GNU_LIBC_VERSION")
        .output()
        .ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    text.trim().strip_prefix("glibc ").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_ubuntu_it_is_the_stack_of_that_ubuntu() {
        let of = |version: &str| {
            let text = format!("NAME=\"Ubuntu\"\nVERSION_ID=\"{version}\"\nID=ubuntu\n");
            of_ubuntu(&text).map(|(name, _)| name)
        };
        assert_eq!(of("22.04"), Some("heroku-22"));
        assert_eq!(of("24.04"), Some("heroku-24"));
        assert_eq!(of("24.10"), None);
        assert_eq!(of_ubuntu("ID=debian\nVERSION_ID=\"24.04\"\n"), None);
    }

    #[test]
    fn elsewhere_it_is_the_newest_that_this_glibc_can_run() {
        let of = |version: &str| of_glibc(Some(version)).map(|(name, _)| name);
        assert_eq!(of("2.35"), Ok("heroku-22"));
        assert_eq!(of("2.36"), Ok("heroku-22"));
        assert_eq!(of("2.41"), Ok("heroku-24"));
        assert_eq!(of("3.0"), Ok("heroku-26"));
        assert!(of("2.31").unwrap_err().contains("glibc 2.31"));
        assert!(of_glibc(None).unwrap_err().contains("STACK=heroku-22"));
    }
}
