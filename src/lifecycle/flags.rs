//! The flags of lifecycle's programs, written as Go's `flag` reads them:
//! `-name value`, `-name=value`, also with two dashes; a flag that is on or off
//! takes a value behind `=` alone. Which flags there are depends on the phase
//! and on the Platform API.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use super::Phase;
use super::failed::{ARGUMENTS, FLAG, Failed};
use super::platform_api::PlatformApi;

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// `-help`: what there is.
    Help(String),
    /// `-version`.
    Version,
    /// The value of each flag.
    Values(BTreeMap<&'static str, OsString>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Value,
    Switch,
}

/// A flag, and in which phases it is known from which Platform API (0.n) on.
struct Flag {
    name: &'static str,
    kind: Kind,
    since: &'static [(Phase, u8)],
}

const ALWAYS: &[(Phase, u8)] = &[(Phase::Detect, 7), (Phase::Restore, 7), (Phase::Build, 7)];
const DETECT_AND_BUILD: &[(Phase, u8)] = &[(Phase::Detect, 7), (Phase::Build, 7)];
const RESTORE: &[(Phase, u8)] = &[(Phase::Restore, 7)];

const fn flag(name: &'static str, since: &'static [(Phase, u8)]) -> Flag {
    let kind = Kind::Value;
    Flag { name, kind, since }
}

const fn switch(name: &'static str, since: &'static [(Phase, u8)]) -> Flag {
    let kind = Kind::Switch;
    Flag { name, kind, since }
}

const FLAGS: &[Flag] = &[
    flag(
        "analyzed",
        &[(Phase::Detect, 10), (Phase::Restore, 7), (Phase::Build, 12)],
    ),
    flag("app", DETECT_AND_BUILD),
    flag("build-config", &[(Phase::Detect, 11), (Phase::Build, 11)]),
    flag("build-image", &[(Phase::Restore, 10)]),
    flag("buildpacks", DETECT_AND_BUILD),
    flag("cache-dir", RESTORE),
    flag("cache-image", RESTORE),
    switch("daemon", &[(Phase::Restore, 12)]),
    flag("extensions", &[(Phase::Detect, 10)]),
    flag("generated", &[(Phase::Detect, 10), (Phase::Restore, 12)]),
    flag("gid", RESTORE),
    flag("group", ALWAYS),
    flag("insecure-registry", &[(Phase::Restore, 13)]),
    flag("layers", ALWAYS),
    switch("layout", &[(Phase::Restore, 12)]),
    flag("layout-dir", &[(Phase::Restore, 12)]),
    flag("log-level", ALWAYS),
    switch("no-color", ALWAYS),
    flag("order", &[(Phase::Detect, 7)]),
    flag("plan", DETECT_AND_BUILD),
    flag("platform", DETECT_AND_BUILD),
    flag("run", &[(Phase::Detect, 12), (Phase::Restore, 14)]),
    switch("skip-layers", RESTORE),
    flag("system", &[(Phase::Detect, 15)]),
    flag("uid", RESTORE),
];

impl Flag {
    fn is_known(&self, phase: Phase, api: PlatformApi) -> bool {
        let mut since = self.since.iter();
        since.any(|(of, minor)| *of == phase && api >= PlatformApi::minor(*minor))
    }
}

/// Reads what was typed: flags alone, no program of lifecycle that we are takes an argument.
pub(super) fn parse(
    phase: Phase,
    api: PlatformApi,
    arguments: &[OsString],
) -> Result<Parsed, Failed> {
    let mut values = BTreeMap::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some((name, given)) = split(argument) else {
            let why = if phase == Phase::Restore {
                "received unexpected Args"
            } else {
                "received unexpected arguments"
            };
            return Err(Failed::new(ARGUMENTS, "parse arguments", why));
        };
        match name {
            b"h" | b"help" => return Ok(Parsed::Help(usage(phase, api))),
            b"version" => return Ok(Parsed::Version),
            _ => {}
        }
        let known = FLAGS.iter().filter(|flag| flag.is_known(phase, api));
        let name = String::from_utf8_lossy(name);
        let Some(flag) = known.into_iter().find(|flag| flag.name == name) else {
            return Err(wrong(&format!("-{name} is not defined"), phase, api));
        };
        let value = match (flag.kind, given) {
            (_, Some(given)) => given.to_owned(),
            (Kind::Switch, None) => "true".into(),
            (Kind::Value, None) => rest
                .next()
                .ok_or_else(|| wrong(&format!("-{name} needs a value"), phase, api))?
                .clone(),
        };
        if flag.kind == Kind::Switch && is_true(&value).is_none() {
            let what = format!("-{name} is true or false, not {}", value.to_string_lossy());
            return Err(wrong(&what, phase, api));
        }
        values.insert(flag.name, value);
    }
    Ok(Parsed::Values(values))
}

/// The name of a flag, and what stands behind its `=`; none for an argument.
fn split(argument: &OsStr) -> Option<(&[u8], Option<&OsStr>)> {
    let bytes = argument.as_bytes();
    let name = bytes.strip_prefix(b"-")?;
    let name = name.strip_prefix(b"-").unwrap_or(name);
    if name.is_empty() {
        return None;
    }
    match name.iter().position(|byte| *byte == b'=') {
        Some(at) => Some((&name[..at], Some(OsStr::from_bytes(&name[at + 1..])))),
        None => Some((name, None)),
    }
}

/// As Go's `strconv.ParseBool` reads it; none if it is neither.
pub(super) fn is_true(value: &OsStr) -> Option<bool> {
    match value.as_bytes() {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

fn wrong(what: &str, phase: Phase, api: PlatformApi) -> Failed {
    let why = format!("{what}\n{}", usage(phase, api));
    Failed::new(FLAG, "parse flags", why)
}

fn usage(phase: Phase, api: PlatformApi) -> String {
    let known = FLAGS.iter().filter(|flag| flag.is_known(phase, api));
    let lines = known.map(|flag| match flag.kind {
        Kind::Value => format!("  -{} VALUE", flag.name),
        Kind::Switch => format!("  -{}", flag.name),
    });
    let lines: Vec<String> = lines.collect();
    format!("flags of {}:\n{}", phase.command(), lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(phase: Phase, minor: u8, arguments: &[&str], expected: Result<&[(&str, &str)], u8>) {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let actual = match parse(phase, PlatformApi::minor(minor), &arguments) {
            Ok(Parsed::Values(values)) => Ok(values),
            Ok(other) => panic!("{other:?}"),
            Err(failed) => Err(failed.code),
        };
        let expected = expected.map(|pairs| {
            pairs
                .iter()
                .map(|(name, value)| (*name, OsString::from(value)))
                .collect::<BTreeMap<_, _>>()
        });
        let shown = |values: BTreeMap<&'static str, OsString>| {
            values.into_iter().collect::<BTreeMap<&str, OsString>>()
        };
        assert_eq!(actual.map(shown), expected, "{arguments:?}");
    }

    #[test]
    fn a_flag_is_written_as_go_reads_it() {
        let detect = Phase::Detect;
        check(
            detect,
            12,
            &["-app", "/a", "--layers=/l"],
            Ok(&[("app", "/a"), ("layers", "/l")]),
        );
        check(detect, 12, &["-app="], Ok(&[("app", "")]));
        check(
            detect,
            12,
            &["-no-color", "-app", "-x"],
            Ok(&[("no-color", "true"), ("app", "-x")]),
        );
        check(detect, 12, &["-no-color=F"], Ok(&[("no-color", "F")]));
        check(detect, 12, &["-no-color=maybe"], Err(FLAG));
        check(detect, 12, &["-app"], Err(FLAG));
        check(detect, 12, &["-nonsense"], Err(FLAG));
        check(detect, 12, &["some-arg"], Err(ARGUMENTS));
        check(detect, 12, &["-"], Err(ARGUMENTS));
        check(detect, 12, &["--"], Err(ARGUMENTS));
    }

    #[test]
    fn which_flags_there_are_is_said_by_phase_and_platform_api() {
        check(Phase::Detect, 15, &["-system=/s"], Ok(&[("system", "/s")]));
        check(Phase::Detect, 14, &["-system=/s"], Err(FLAG));
        check(Phase::Build, 15, &["-system=/s"], Err(FLAG));
        check(
            Phase::Build,
            12,
            &["-analyzed=/a"],
            Ok(&[("analyzed", "/a")]),
        );
        check(Phase::Build, 11, &["-analyzed=/a"], Err(FLAG));
        check(
            Phase::Restore,
            7,
            &["-cache-dir=/c"],
            Ok(&[("cache-dir", "/c")]),
        );
        check(Phase::Restore, 7, &["-app=/a"], Err(FLAG));
    }
}
