//! Archives of others, each as a row, and what becomes of it.

#![expect(clippy::too_many_lines, reason = "tables: one row an archive")]

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::archive::attacks::Raw;

/// What is unpacked of it, as `path mode` and `path -> target`, or what is said.
fn unpacked(tar: &[u8]) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    crate::sys::fs::write_atomic(&folder.path().join("canary"), b"alive", 0o600).unwrap();
    let (archive, to) = (folder.path().join("a.tar"), folder.path().join("to"));
    crate::sys::fs::write_unsynced(&archive, tar, 0o644).unwrap();
    std::fs::create_dir(&to).unwrap();
    let unpacked = unpack_foreign(&archive, &to).map_err(|error| error.to_string());
    assert_untouched(&folder.path().join("canary"));
    unpacked.map(|()| listed(&to))
}

fn assert_untouched(canary: &Path) {
    assert_eq!(std::fs::read(canary).unwrap(), b"alive");
    assert_eq!(mode(canary), 0o600);
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

fn listed(to: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![to.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(to).unwrap().display();
            match std::fs::read_link(&path) {
                Ok(target) => lines.push(format!("{name} -> {}", target.display())),
                Err(_) => lines.push(format!("{name} {:o}", mode(&path))),
            }
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    lines.sort();
    lines
}

#[test]
fn what_others_spell_differently_is_read() {
    let new = Raw::new;
    let rows: &[(&str, Vec<u8>, &[&str])] = &[
        (
            "dot",
            new().folder(".").folder("./a").file("./a/b").end(),
            &["a 755", "a/b 644"],
        ),
        ("absolute", new().file("/a").end(), &["a 644"]),
        (
            "double slash",
            new().file("a//b").end(),
            &["a 755", "a/b 644"],
        ),
        (
            "implied folders",
            new().file("a/b/c").file("a/d").end(),
            &["a 755", "a/b 755", "a/b/c 644", "a/d 644"],
        ),
        (
            "folder twice",
            new().folder("a").folder("a").file("a/b").end(),
            &["a 755", "a/b 644"],
        ),
        (
            "links inside",
            new()
                .file("a/b")
                .link("a/c", "b")
                .link("d", "a/../a/c")
                .end(),
            &["a 755", "a/b 644", "a/c -> b", "d -> a/../a/c"],
        ),
        (
            "dangling",
            new().link("a", "none/../../x").end(),
            &["a -> none/../../x"],
        ),
        (
            "hard link",
            new().file("./a").hard("./b", "./a").end(),
            &["a 644", "b 644"],
        ),
        (
            "setuid",
            new()
                .changed(b'0', b"a", b"", b"", |header| {
                    header[100..108].copy_from_slice(b"0006755\0");
                })
                .end(),
            &["a 755"],
        ),
        (
            "no permission",
            new()
                .changed(b'5', b"a/", b"", b"", |header| {
                    header[100..108].copy_from_slice(b"0000000\0");
                })
                .file("a/b")
                .end(),
            &["a 755", "a/b 644"],
        ),
        (
            "git archive",
            new().pax(b'g', &[("comment", b"0123")]).file("a").end(),
            &["a 644"],
        ),
    ];
    for (id, tar, expected) in rows {
        let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(unpacked(tar), Ok(expected), "{id}");
    }
}

#[test]
fn what_leads_out_is_refused() {
    let new = Raw::new;
    let up = b"../canary";
    let rows: &[(&str, Vec<u8>, &str)] = &[
        ("dotdot", new().file("../canary").end(), "goes up by `..`"),
        (
            "dotdot below",
            new().file("./a/../../canary").end(),
            "goes up by `..`",
        ),
        (
            "pax",
            new().pax(b'x', &[("path", up)]).file("a").end(),
            "goes up by `..`",
        ),
        (
            "long name",
            new().entry(b'L', b"L", b"", up).file("a").end(),
            "goes up by `..`",
        ),
        (
            "link",
            new().link("a", "/etc/passwd").end(),
            "leads out of the archive",
        ),
        (
            "link up",
            new().link("a/b", "../../canary").end(),
            "leads out of the archive",
        ),
        (
            "link through a link",
            new()
                .folder("a/b")
                .link("a/b/up", "../..")
                .link("x", "a/b/up/../canary")
                .end(),
            "leads out of the archive",
        ),
        (
            "link to root",
            new().link("a", "/").end(),
            "leads out of the archive",
        ),
        (
            "write through a link",
            new().link("a", "..").file("a/canary").end(),
            "leads through a link",
        ),
        (
            "implied folder through a link",
            new().link("a", "..").file("a/b/canary").end(),
            "leads through a link",
        ),
        (
            "folder over a link",
            new().link("a", "..").folder("a").end(),
            "is there already",
        ),
        (
            "file twice",
            new().file("a").file("./a").end(),
            "is there already",
        ),
        (
            "file as folder",
            new().file("a").file("a/b").end(),
            "through a link or a file",
        ),
        (
            "root as a file",
            new().file("./").end(),
            "its name ends with `/`",
        ),
        (
            "root as a link",
            new().link(".", "/etc").end(),
            "its name is empty",
        ),
        (
            "hard link out",
            new().hard("a", "../canary").end(),
            "goes up by `..`",
        ),
        (
            "hard link to nothing",
            new().hard("a", "/canary").end(),
            "no file that came before",
        ),
        (
            "hard link through a link",
            new().link("l", "..").hard("a", "l/canary").end(),
            "leads through a link",
        ),
        (
            "device",
            new().entry(b'3', b"a", b"", b"").end(),
            "character device",
        ),
        (
            "named pipe",
            new().entry(b'6', b"a", b"", b"").end(),
            "named pipe",
        ),
        ("whiteout", new().file("a/.wh.b").end(), "deletions"),
        ("empty", Vec::new(), "no end mark"),
        ("text", b"hello".repeat(200), "checksum"),
        (
            "too large",
            new()
                .changed(b'0', b"a", b"", b"", |header| {
                    header[124..136].copy_from_slice(b"77777777777\0");
                })
                .end(),
            "more than 4294967296 bytes",
        ),
    ];
    for (id, tar, expected) in rows {
        let said = unpacked(tar).expect_err(id);
        assert!(
            said.contains(expected),
            "{id}: `{said}` should say `{expected}`"
        );
    }
}

#[test]
fn an_archive_of_others_has_at_most_so_many_entries() {
    let entries = usize::try_from(crate::archive::limits::FOREIGN_ENTRIES_MAX).unwrap();
    let folder = Raw::new().folder("a");
    let tar = |count| {
        let repeated = (1..count).fold(Vec::new(), |mut tar, _| {
            tar.extend_from_slice(folder.bytes());
            tar
        });
        Raw::new().folder("a").raw(&repeated).end()
    };
    assert!(unpacked(&tar(entries)).is_ok());
    let said = unpacked(&tar(entries + 1)).unwrap_err();
    assert!(said.contains("more than 200000 entries"), "{said}");
}
