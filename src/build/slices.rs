//! Slices: parts of the app that become layers of their own, so that a change
//! elsewhere does not make them anew. Patterns are those of Go's
//! `filepath.Match`: no `**`, and `*` stops at a `/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::buildpack::launch::Slice;
use crate::sys::{At as _, PathError};

/// Moves what each slice matches out of the app into a folder of its own below `to`, an earlier slice taking first;
/// the folders, one for each slice, empty ones included. A folder that matches takes all that is below it.
pub(super) fn split(app: &Path, slices: &[Slice], to: &Path) -> Result<Vec<PathBuf>, PathError> {
    let mut folders = Vec::new();
    for (number, slice) in slices.iter().enumerate() {
        let folder = to.join(number.to_string());
        fs::create_dir_all(&folder).at("create the folder", &folder)?;
        let patterns: Vec<String> = slice.paths.iter().map(|path| cleaned(path)).collect();
        if !patterns.is_empty() {
            take(app, Path::new(""), &patterns, &folder)?;
        }
        folders.push(folder);
    }
    Ok(folders)
}

/// `./a//b/` is `a/b`.
fn cleaned(pattern: &str) -> String {
    let parts: Vec<&str> = pattern
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let cleaned = parts.join("/");
    // Nothing of the app has an absolute path: as in lifecycle, it never matches.
    if pattern.starts_with('/') {
        format!("/{cleaned}")
    } else {
        cleaned
    }
}

fn take(app: &Path, at: &Path, patterns: &[String], to: &Path) -> Result<(), PathError> {
    let folder = app.join(at);
    let entries: Vec<_> = fs::read_dir(&folder)
        .at("read", &folder)?
        .collect::<Result<_, _>>()
        .at("read", &folder)?;
    for entry in entries {
        let path = at.join(entry.file_name());
        let text = path.to_string_lossy();
        if patterns
            .iter()
            .any(|pattern| matches(pattern.as_bytes(), text.as_bytes()))
        {
            move_with_parents(app, &path, to)?;
        } else if entry.file_type().at("look at", &entry.path())?.is_dir() {
            take(app, &path, patterns, to)?;
        }
    }
    Ok(())
}

fn move_with_parents(app: &Path, path: &Path, to: &Path) -> Result<(), PathError> {
    let target = to.join(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).at("create the folder", parent)?;
    }
    super::tree::move_tree(&app.join(path), &target)
}

/// Go's `filepath.Match`: `*` and `?` stop at `/`, `[a-z]` and `[^a-z]`, `\` takes the next character as it is.
/// A pattern that is malformed matches nothing.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', rest @ ..] => {
            let end = name
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(name.len());
            (0..=end).any(|skipped| matches(rest, &name[skipped..]))
        }
        [b'?', rest @ ..] => match name {
            [first, ..] if *first != b'/' => matches(rest, &name[character_bytes(name)..]),
            _ => false,
        },
        [b'[', rest @ ..] => match (class(rest, name), name) {
            (Some((true, after)), [first, ..]) if *first != b'/' => matches(after, &name[1..]),
            _ => false,
        },
        [b'\\', escaped, rest @ ..] => name.first() == Some(escaped) && matches(rest, &name[1..]),
        [b'\\'] => false,
        [byte, rest @ ..] => name.first() == Some(byte) && matches(rest, &name[1..]),
    }
}

/// The bytes of the first character of a text in UTF-8.
fn character_bytes(name: &[u8]) -> usize {
    1 + name[1..]
        .iter()
        .take_while(|byte| **byte & 0xc0 == 0x80)
        .count()
}

/// Does the class, of which `[` is read, hold the first byte of the name? And what stands behind it.
fn class<'a>(pattern: &'a [u8], name: &[u8]) -> Option<(bool, &'a [u8])> {
    let wanted = *name.first()?;
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut holds = false;
    let mut is_empty = true;
    loop {
        if let ([b']', after @ ..], false) = (rest, is_empty) {
            return Some((holds != negated, after));
        }
        let (low, after) = class_byte(rest)?;
        let (high, after) = match after {
            [b'-', after @ ..] => class_byte(after)?,
            _ => (low, after),
        };
        holds |= (low..=high).contains(&wanted);
        is_empty = false;
        rest = after;
    }
}

fn class_byte(pattern: &[u8]) -> Option<(u8, &[u8])> {
    match pattern {
        [b'-' | b']', ..] | [] => None,
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => Some((*byte, rest)),
    }
}

#[cfg(test)]
mod lifecycle_cases;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_gos() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a/b", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a\u{263a}b", true),
            ("a?b", "a/b", false),
            ("[]a]", "]", false),
            ("[", "a", false),
            ("**", "a/b", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn an_earlier_slice_takes_first_and_a_folder_takes_what_is_below() {
        let folder = tempfile::tempdir().unwrap();
        let (app, to) = (folder.path().join("app"), folder.path().join("to"));
        for name in ["static/a.css", "static/deep/b.css", "lib/x.jar", "main"] {
            let path = app.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            crate::sys::fs::write_atomic(&path, b"", 0o644).unwrap();
        }
        let slice = |paths: &[&str]| Slice {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        let slices = [
            slice(&["static/*.css"]),
            slice(&["static/", "none"]),
            slice(&["/main"]),
        ];
        let folders = split(&app, &slices, &to).unwrap();
        assert!(
            folders[0].join("static/a.css").exists() && !folders[0].join("static/deep").exists()
        );
        assert!(folders[1].join("static/deep/b.css").exists());
        assert_eq!(fs::read_dir(&folders[2]).unwrap().count(), 0);
        assert!(
            app.join("main").exists()
                && app.join("lib/x.jar").exists()
                && !app.join("static").exists()
        );
    }
}
