//! Hostile layers, each as a row: an archive written header by header, and
//! what must become of it. The rows are those of the list of attacks on tar
//! readers that this project keeps; origins in parentheses where one is known.

#![expect(clippy::too_many_lines, reason = "tables: one row an attack")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test's files need not survive a crash"
)]
#![expect(
    clippy::panic_in_result_fn,
    reason = "what holds for every row is asserted in one place"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use crate::ident::Digest;
use crate::store::Store;

use super::limits::{DEPTH_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};
use super::tar_header::{BLOCK, checksum};
use super::{ArchiveError, Compression, LayerBlob, unpack};

/// A tar written byte by byte.
#[derive(Default)]
pub(super) struct Raw(Vec<u8>);

impl Raw {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn entry(self, flag: u8, name: &[u8], link: &[u8], body: &[u8]) -> Self {
        self.changed(flag, name, link, body, |_| {})
    }

    /// An entry whose header is changed before its checksum is made.
    pub(super) fn changed(
        mut self,
        flag: u8,
        name: &[u8],
        link: &[u8],
        body: &[u8],
        change: impl FnOnce(&mut [u8; BLOCK]),
    ) -> Self {
        let mut header = [0; BLOCK];
        header[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", body.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = flag;
        header[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
        header[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut header);
        let sum = format!("{:06o}\0 ", checksum(&header));
        header[148..156].copy_from_slice(sum.as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    pub(super) fn file(self, name: &str) -> Self {
        self.entry(b'0', name.as_bytes(), b"", b"content")
    }

    pub(super) fn folder(self, name: &str) -> Self {
        self.entry(b'5', format!("{name}/").as_bytes(), b"", b"")
    }

    pub(super) fn link(self, name: &str, to: &str) -> Self {
        self.entry(b'2', name.as_bytes(), to.as_bytes(), b"")
    }

    pub(super) fn hard(self, name: &str, to: &str) -> Self {
        self.entry(b'1', name.as_bytes(), to.as_bytes(), b"")
    }

    /// An extended header with these records, lengths counted.
    pub(super) fn pax(self, flag: u8, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..rest + 10)
                .find(|length| length.to_string().len() + rest == *length)
                .unwrap();
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.entry(flag, b"PaxHeaders/x", b"", &body)
    }

    /// The last byte so far, which is padding, is not zero.
    fn dirty(mut self) -> Self {
        *self.0.last_mut().unwrap() = b'x';
        self
    }

    fn size(self, field: &[u8; 12]) -> Self {
        self.changed(b'0', b"a", b"", b"", |header| {
            header[124..136].copy_from_slice(field);
        })
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn end(self) -> Vec<u8> {
        self.raw(&[0; 2 * BLOCK]).0
    }
}

/// A store in a folder that holds, beside it, a canary which no archive may touch.
pub(super) struct Place {
    folder: tempfile::TempDir,
    pub(super) store: Store,
}

impl Place {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/canary"), "alive").unwrap();
        let root = folder.path().join("store");
        let store = Store::open(&root, &root.join("host")).unwrap();
        Self { folder, store }
    }

    fn outside(&self) -> String {
        self.folder.path().join("outside").display().to_string()
    }

    pub(super) fn layer(&self, tar: &[u8]) -> LayerBlob {
        let blob = zstd::encode_all(tar, 1).unwrap();
        LayerBlob {
            diff_id: Digest::of(tar),
            digest: self.store.put_blob(&blob).unwrap(),
            size_bytes: blob.len() as u64,
            tar_bytes: tar.len() as u64,
            media_type: Compression::Zstd.media_type().to_owned(),
        }
    }

    pub(super) fn unpack(&self, layer: &LayerBlob) -> Result<Vec<String>, String> {
        let unpacked = unpack(&self.store, layer, &mut |_| {});
        let outside = Path::new(&self.folder.path()).join("outside");
        assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "alive");
        assert_eq!(fs::metadata(outside.join("canary")).unwrap().nlink(), 1);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        let left: Vec<_> = fs::read_dir(self.store.layers())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        match unpacked {
            Ok(folder) => Ok(listed(&folder)),
            Err(error) => {
                assert_eq!(
                    left,
                    [".lock"],
                    "a failed unpacking leaves nothing ({error})"
                );
                Err(said(&error))
            }
        }
    }
}

/// The message with its sources.
fn said(error: &ArchiveError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// `path mode`, or `path -> target`, sorted.
fn listed(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path
                .strip_prefix(folder)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            assert_eq!(metadata.mtime(), 315_532_801, "{name}");
            if metadata.is_symlink() {
                lines.push(format!(
                    "{name} -> {}",
                    fs::read_link(&path).unwrap().display()
                ));
            } else {
                lines.push(format!(
                    "{name} {:o}",
                    metadata.permissions().mode() & 0o7777
                ));
            }
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    lines.sort();
    lines
}

fn refused(id: &str, tar: &[u8], expected: &str) {
    let place = Place::new();
    let answer = place.unpack(&place.layer(tar));
    let message = answer.expect_err(id);
    assert!(
        message.contains(expected),
        "{id}: `{message}` should say `{expected}`"
    );
}

fn unpacked(id: &str, tar: &[u8], expected: &[&str]) {
    let place = Place::new();
    assert_eq!(
        place.unpack(&place.layer(tar)).as_deref(),
        Ok(expected.map(str::to_owned).as_slice()),
        "{id}"
    );
}

trait MapOwned {
    fn map(&self, own: fn(&str) -> String) -> Vec<String>;
}

impl MapOwned for [&str] {
    fn map(&self, own: fn(&str) -> String) -> Vec<String> {
        self.iter().map(|text| own(text)).collect()
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let new = Raw::new;
    let up = b"../../../outside/x";
    let rows: &[(&str, Vec<u8>, &str)] = &[
        (
            "abs-path (CVE-2001-1267)",
            new().file("/x").end(),
            "entry `/x` is refused: its path is absolute",
        ),
        (
            "dotdot (CVE-2007-4559)",
            new().file("../x").end(),
            "`../x` is refused: its path goes up by `..`",
        ),
        (
            "dotdot-mid",
            new().folder("a").file("a/../../x").end(),
            "goes up by `..`",
        ),
        (
            "longname-dotdot",
            new().entry(b'L', b"././@LongLink", b"", up).file("a").end(),
            "goes up by `..`",
        ),
        (
            "pax-path",
            new().pax(b'x', &[("path", up)]).file("a").end(),
            "goes up by `..`",
        ),
        (
            "pax-path-abs",
            new().pax(b'x', &[("path", b"/x")]).file("a").end(),
            "absolute",
        ),
        (
            "prefix-dotdot",
            new()
                .changed(b'0', b"a", b"", b"", |h| h[345..347].copy_from_slice(b".."))
                .end(),
            "goes up",
        ),
        (
            "dot-slash",
            new().file("./a").end(),
            "empty or `.` component",
        ),
        (
            "double-slash",
            new().folder("a").file("a//b").end(),
            "empty or `.` component",
        ),
        (
            "dot-symlink (CVE-2021-29136)",
            new().link(".", "/etc").end(),
            "empty or `.` component",
        ),
        (
            "dot-slash-symlink",
            new().link("./", "/etc").end(),
            "is a link, and its name ends with `/`",
        ),
        (
            "dot-folder",
            new().entry(b'5', b"./", b"", b"").end(),
            "empty or `.` component",
        ),
        ("empty-name", new().file("").end(), "its name is empty"),
        (
            "pax-empty-name",
            new().pax(b'x', &[("path", b"")]).file("a").end(),
            "its name is empty",
        ),
        (
            "trailing-slash-file",
            new().file("a/").end(),
            "is a file, and its name ends with `/`",
        ),
        (
            "pax-path-nul",
            new().pax(b'x', &[("path", b"a\0b")]).file("a").end(),
            "holds a NUL byte",
        ),
        (
            "longname-nul",
            new().entry(b'L', b"L", b"", b"a\0b\0").file("a").end(),
            "holds a NUL byte",
        ),
    ];
    for (id, tar, expected) in rows {
        refused(id, tar, expected);
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let place = Place::new();
    let outside = place.outside();
    let canary = format!("{outside}/canary");
    let new = Raw::new;
    let deep = (0..60).fold(new(), |tar, n| {
        tar.link(&format!("l{n}"), &format!("l{}/", n + 1))
    });
    let rows: &[(&str, Vec<u8>, &str)] = &[
        (
            "symlink-dir-through (CVE-2021-32803)",
            new().link("ln", &outside).file("ln/x").end(),
            "`ln/x` is refused: its path leads through a link",
        ),
        (
            "symlink-rel-through",
            new()
                .folder("a")
                .link("a/ln", "../../../../../outside")
                .file("a/ln/x")
                .end(),
            "through a link",
        ),
        (
            "symlink-dir-mkdir (CVE-2021-38511)",
            new().link("ln", &outside).folder("ln/d").end(),
            "through a link",
        ),
        (
            "symlink-mkdir-implicit",
            new().link("ln", &outside).file("ln/d/x").end(),
            "through a link",
        ),
        (
            "symlink-dir-chmod (CVE-2026-33056)",
            new().link("ln", &outside).folder("ln").end(),
            "its name is there already",
        ),
        (
            "symlink-dir-chmod-dot",
            new()
                .link("ln", &outside)
                .entry(b'5', b"ln/./", b"", b"")
                .end(),
            "`.` component",
        ),
        (
            "symlink-file-overwrite (RUSTSEC-2018-0002)",
            new().link("ln", &canary).file("ln").end(),
            "its name is there already",
        ),
        (
            "symlink-chain (CVE-2025-4517)",
            new()
                .folder("a")
                .link("a/b", "..")
                .link("a/b/c", "..")
                .end(),
            "through a link",
        ),
        (
            "symlink-chain2",
            new().link("a", ".").link("b", "a/..").file("b/x").end(),
            "through a link",
        ),
        (
            "symlink-chain-long (CVE-2025-4138)",
            deep.link("l60", &outside).file("l0/x").end(),
            "through a link",
        ),
        (
            "symlink-loop",
            new().link("a", "b").link("b", "a").file("a/x").end(),
            "through a link",
        ),
        (
            "symlink-proc",
            new().link("a", "/proc/self/cwd").file("a/x").end(),
            "through a link",
        ),
        (
            "file-as-folder",
            new().file("a").file("a/x").end(),
            "through a link or a file",
        ),
        (
            "hardlink-abs (CVE-2016-5418)",
            new().hard("h", &canary).end(),
            "its target",
        ),
        (
            "hardlink-abs-why",
            new().hard("h", "/x").end(),
            "its target `/x` is refused: its path is absolute",
        ),
        (
            "hardlink-dotdot",
            new().hard("h", "../../../outside/canary").end(),
            "is refused: its path goes up by `..`",
        ),
        (
            "hardlink-payload (CVE-2026-24842)",
            new().entry(b'1', b"h", canary.as_bytes(), b"evil").end(),
            "its target",
        ),
        (
            "hardlink-body",
            new().file("a").entry(b'1', b"h", b"a", b"evil").end(),
            "is no file and claims 4 bytes",
        ),
        (
            "hardlink-via-symlink (CVE-2026-26960)",
            new().link("ln", &outside).hard("h", "ln/canary").end(),
            "through a link",
        ),
        (
            "hardlink-to-symlink (CVE-2025-4330)",
            new().link("ln", &canary).hard("h", "ln").end(),
            "it is no file that came before",
        ),
        (
            "hardlink-to-folder",
            new().folder("a").hard("h", "a").end(),
            "it is no file that came before",
        ),
        (
            "hardlink-missing",
            new().hard("h", "none").end(),
            "it is no file that came before",
        ),
        (
            "hardlink-self",
            new().hard("h", "h").end(),
            "it is no file that came before",
        ),
        (
            "pax-linkpath",
            new().pax(b'x', &[("linkpath", b"/x")]).hard("h", "a").end(),
            "its target `/x` is refused: its path is absolute",
        ),
        (
            "longlink",
            new().entry(b'K', b"K", b"", b"../x\0").hard("h", "a").end(),
            "goes up by `..`",
        ),
        (
            "no-parent",
            new().file("a/b").end(),
            "its folder is not in the archive before it",
        ),
    ];
    for (id, tar, expected) in rows {
        refused(id, tar, expected);
    }
}

#[test]
fn a_name_comes_once() {
    let new = Raw::new;
    let rows = [
        (
            "dup-file-dir (CVE-2021-37701)",
            new().file("a").folder("a").end(),
        ),
        ("dup-dir-file", new().folder("a").file("a").end()),
        (
            "dup-dir-symlink (CVE-2021-37712)",
            new().folder("a").link("a", "/etc").end(),
        ),
        ("dup-file-file", new().file("a").file("a").end()),
        ("dup-dir-dir", new().folder("a").folder("a").end()),
        (
            "dup-hardlink",
            new().file("a").file("b").hard("b", "a").end(),
        ),
    ];
    for (id, tar) in rows {
        refused(id, &tar, "its name is there already");
    }
}

#[test]
fn only_files_folders_and_links_are_taken() {
    for (flag, expected) in [
        (b'3', "character device"),
        (b'4', "block device"),
        (b'6', "named pipe"),
        (b'S', "it is sparse"),
        (b'V', "volume label"),
        (b'M', "continuation"),
        (b'D', "incremental"),
        (b'Z', "`Z`, which is unknown"),
        (b's', "`s`, which is unknown"),
        (0x1b, "`\\x1b`, which is unknown"),
    ] {
        refused(
            expected,
            &Raw::new().entry(flag, b"a", b"", b"").end(),
            expected,
        );
    }
    unpacked(
        "contiguous",
        &Raw::new().entry(b'7', b"a", b"", b"x").end(),
        &["a 644"],
    );
    unpacked(
        "old-file",
        &Raw::new().entry(0, b"a", b"", b"x").end(),
        &["a 644"],
    );
}

#[test]
fn modes_owners_times_and_attributes_are_not_taken_over() {
    let new = Raw::new;
    let mode = |field: &'static [u8; 8]| {
        move |header: &mut [u8; BLOCK]| header[100..108].copy_from_slice(field)
    };
    let rows: &[(&str, Vec<u8>, &[&str])] = &[
        (
            "setuid",
            new()
                .changed(b'0', b"a", b"", b"x", mode(b"0006755\0"))
                .end(),
            &["a 755"],
        ),
        (
            "mode-bits-high",
            new()
                .changed(b'0', b"a", b"", b"x", mode(b"0177777\0"))
                .end(),
            &["a 755"],
        ),
        (
            "group-writable",
            new()
                .changed(b'0', b"a", b"", b"x", mode(b"0000666\0"))
                .end(),
            &["a 644"],
        ),
        (
            "private",
            new()
                .changed(b'0', b"a", b"", b"x", mode(b"0000500\0"))
                .end(),
            &["a 555"],
        ),
        (
            "dir-0000",
            new()
                .changed(b'5', b"d/", b"", b"", mode(b"0000000\0"))
                .file("d/a")
                .end(),
            &["d 755", "d/a 644"],
        ),
        (
            "mtime-negative",
            new()
                .changed(b'0', b"a", b"", b"", |h| h[136..148].fill(0xff))
                .end(),
            &["a 644"],
        ),
        (
            "pax-mtime-weird",
            new().pax(b'x', &[("mtime", b"-1e99")]).file("a").end(),
            &["a 644"],
        ),
        (
            "owner-huge",
            new()
                .changed(b'0', b"a", b"", b"", |h| h[108..124].fill(0xff))
                .end(),
            &["a 644"],
        ),
        (
            "pax-xattr-cap",
            new()
                .pax(
                    b'x',
                    &[
                        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02"),
                        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ],
                )
                .file("a")
                .end(),
            &["a 644"],
        ),
    ];
    for (id, tar, expected) in rows {
        unpacked(id, tar, expected);
    }
    refused(
        "mode-garbage",
        &new().changed(b'0', b"a", b"", b"", |h| h[100] = b'9').end(),
        "its mode is no number",
    );
}

#[test]
fn sizes_are_believed_only_where_they_can_be() {
    let new = Raw::new;
    let sparse = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.name", b"x"),
        ("GNU.sparse.realsize", b"9"),
    ];
    let rows: &[(&str, Vec<u8>, &str)] = &[
        (
            "size-negative",
            new().size(&[0xff; 12]).end(),
            "its size is no number, or negative",
        ),
        (
            "size-huge (CVE-2022-48303)",
            new()
                .size(b"\x80\0\0\0\0\xff\xff\xff\xff\xff\xff\xff")
                .end(),
            "bytes, and the archive has",
        ),
        (
            "size-overflow (CVE-2025-8194)",
            new().size(b"\x80\x01\0\0\0\0\0\0\0\0\0\0").end(),
            "its size is no number",
        ),
        (
            "size-octal-huge",
            new().size(b"77777777777\0").end(),
            "claims 8589934591 bytes, and the archive has",
        ),
        (
            "size-garbage",
            new().size(b"12x\0\0\0\0\0\0\0\0\0").end(),
            "its size is no number",
        ),
        (
            "size-of-folder",
            new().entry(b'5', b"a/", b"", b"x").end(),
            "it is no file and claims 1 bytes",
        ),
        (
            "size-of-link",
            new().entry(b'2', b"a", b"b", b"x").end(),
            "it is no file and claims 1 bytes",
        ),
        (
            "sparse-old-huge (CVE-2018-20482)",
            new()
                .changed(b'S', b"a", b"", b"", |h| {
                    h[483..495].copy_from_slice(b"77777777777\0");
                })
                .end(),
            "it is sparse",
        ),
        (
            "pax-sparse-1.0",
            new().pax(b'x', &sparse).file("GNUSparseFile.0/x").end(),
            "it is sparse",
        ),
        (
            "pax-size-up (CVE-2025-62518)",
            new().pax(b'x', &[("size", b"519")]).file("a").end(),
            "its header says 7 bytes, and its extended header 519",
        ),
        (
            "pax-size-down",
            new().pax(b'x', &[("size", b"1")]).file("a").end(),
            "its header says 7 bytes",
        ),
        (
            "pax-size-negative",
            new().pax(b'x', &[("size", b"-1")]).file("a").end(),
            "its size is no number",
        ),
        (
            "pax-size-huge",
            new()
                .pax(b'x', &[("size", b"99999999999999999999")])
                .file("a")
                .end(),
            "its size is no number",
        ),
    ];
    for (id, tar, expected) in rows {
        refused(id, tar, expected);
    }
    let said_twice = new().pax(b'x', &[("size", b"7")]).file("a").end();
    unpacked("pax-size-same", &said_twice, &["a 644"]);
}

#[test]
fn extended_headers_are_understood_one_way_or_refused() {
    let new = Raw::new;
    let x = |records: &[(&str, &[u8])]| new().pax(b'x', records);
    let malformed = |body: &[u8]| {
        new()
            .entry(b'x', b"PaxHeaders/x", b"", body)
            .file("a")
            .end()
    };
    let rows: &[(&str, Vec<u8>, &str)] = &[
        (
            "pax-dup-key",
            x(&[("path", b"one"), ("path", b"two")]).file("a").end(),
            "says `path` twice",
        ),
        (
            "pax-twice",
            x(&[("path", b"one")])
                .pax(b'x', &[("path", b"two")])
                .file("a")
                .end(),
            "two extended headers of one kind",
        ),
        (
            "longname-twice",
            new()
                .entry(b'L', b"L", b"", b"one\0")
                .entry(b'L', b"L", b"", b"two\0")
                .file("a")
                .end(),
            "two extended headers",
        ),
        (
            "pax-and-longname",
            x(&[("path", b"one")])
                .entry(b'L', b"L", b"", b"two\0")
                .file("a")
                .end(),
            "said twice, by PAX and by GNU",
        ),
        (
            "padding-of-a-file",
            new().file("a").dirty().file("b").end(),
            "entry `a` is refused: the rest of its last block is not zero",
        ),
        (
            "padding-of-a-header",
            new().pax(b'x', &[("mtime", b"1")]).dirty().file("a").end(),
            "the rest of its last block is not zero",
        ),
        (
            "pax-overlay-mark",
            new()
                .pax(b'x', &[("SCHILY.xattr.user.overlay.opaque", b"y")])
                .folder("a")
                .end(),
            "a mark that overlayfs believes",
        ),
        (
            "pax-link-attribute",
            new()
                .pax(b'x', &[("SCHILY.xattr.user.a", b"1")])
                .link("a", "b")
                .end(),
            "it is a link and has extended attributes",
        ),
        (
            "pax-global-attribute",
            new()
                .pax(b'g', &[("SCHILY.xattr.user.a", b"1")])
                .file("a")
                .end(),
            "a global header says `SCHILY.xattr`",
        ),
        (
            "pax-global-path",
            new().pax(b'g', &[("path", b"x")]).file("a").end(),
            "a global header says `path`",
        ),
        (
            "pax-global-size",
            new().pax(b'g', &[("size", b"1")]).file("a").end(),
            "a global header says `size`",
        ),
        (
            "pax-global-linkpath",
            new().pax(b'g', &[("linkpath", b"x")]).file("a").end(),
            "a global header says `linkpath`",
        ),
        (
            "pax-badlen (CVE-2026-32766)",
            malformed(b"99 path=a\n"),
            "its extended header is malformed",
        ),
        (
            "pax-noeq",
            malformed(b"9 path a\n"),
            "its extended header is malformed",
        ),
        (
            "pax-trailing",
            malformed(b"9 path=a\n\0"),
            "its extended header is malformed",
        ),
        (
            "bomb-longname",
            new()
                .changed(b'L', b"L", b"", b"", |h| {
                    h[124..136].copy_from_slice(b"04000000000\0");
                })
                .end(),
            "has 536870912 bytes (at most 1048576)",
        ),
        (
            "bomb-pax (CVE-2022-2879)",
            new()
                .changed(b'x', b"x", b"", b"", |h| {
                    h[124..136].copy_from_slice(b"04000000000\0");
                })
                .end(),
            "has 536870912 bytes (at most 1048576)",
        ),
        (
            "pax-at-end",
            x(&[("path", b"a")]).end(),
            "the archive ends within it",
        ),
    ];
    for (id, tar, expected) in rows {
        refused(id, tar, expected);
    }
    let then_long = new().pax(b'x', &[("size", b"7")]).entry(
        b'L',
        b"L",
        b"",
        &[b"b".repeat(120), vec![0]].concat(),
    );
    unpacked(
        "pax-then-L (GHSA-3cv2-h65g-fgmm)",
        &then_long.file("a").end(),
        &[&format!("{} 644", "b".repeat(120))],
    );
    unpacked(
        "git-archive",
        &new().pax(b'g', &[("comment", b"6f1c")]).file("a").end(),
        &["a 644"],
    );
    unpacked(
        "longlink",
        &new()
            .entry(b'K', b"K", b"", b"t/long\0")
            .link("a", "t")
            .end(),
        &["a -> t/long"],
    );
}

#[test]
fn names_have_limits() {
    let new = Raw::new;
    let long = |name: &str| new().pax(b'x', &[("path", name.as_bytes())]);
    let folders = |depth: usize| {
        let name = |depth: usize| vec!["d"; depth].join("/");
        (1..=depth).fold(new(), |tar, depth| {
            tar.pax(b'x', &[("path", format!("{}/", name(depth)).as_bytes())])
                .folder("d")
        })
    };
    let limit = "a".repeat(NAME_BYTES_MAX);
    unpacked(
        "name-limit",
        &long(&limit).file("a").end(),
        &[&format!("{limit} 644")],
    );
    refused(
        "name-300",
        &long(&"a".repeat(300)).file("a").end(),
        "has 300 bytes (at most 255)",
    );
    refused(
        "name-256",
        &long(&"a".repeat(256)).file("a").end(),
        "has 256 bytes (at most 255)",
    );
    refused(
        "name-1M",
        &long(&"é".repeat(500_000)).file("a").end(),
        "its path has 1000000 bytes (at most 4096)",
    );
    let place = Place::new();
    assert_eq!(
        place
            .unpack(&place.layer(&folders(DEPTH_MAX).end()))
            .unwrap()
            .len(),
        DEPTH_MAX
    );
    refused(
        "deep-129",
        &folders(DEPTH_MAX + 1).end(),
        "its path has 129 components (at most 128)",
    );
    refused(
        "deep-2000 (CVE-2024-28863)",
        &long(&vec!["d"; 2000].join("/")).file("a").end(),
        "2000 components",
    );
    let wide = |bytes: usize| {
        [
            vec!["d".repeat(250); bytes / 251].join("/"),
            "e".repeat(bytes % 251),
        ]
        .join("/")
    };
    assert_eq!(wide(PATH_BYTES_MAX).len(), PATH_BYTES_MAX);
    refused(
        "path-4096",
        &long(&wide(PATH_BYTES_MAX)).file("a").end(),
        "its folder is not in the archive",
    );
    refused(
        "path-4097",
        &long(&wide(PATH_BYTES_MAX + 1)).file("a").end(),
        "its path has 4097 bytes (at most 4096)",
    );
    let target = "t".repeat(4096);
    refused(
        "link-4096",
        &new()
            .pax(b'x', &[("linkpath", target.as_bytes())])
            .link("a", "t")
            .end(),
        "target has 4096 bytes",
    );
    refused(
        "link-empty",
        &new().link("a", "").end(),
        "its target is empty",
    );
}

#[test]
fn names_are_bytes_and_are_printed_escaped() {
    let new = Raw::new;
    unpacked(
        "case-fold",
        &new().file("README").file("Readme").end(),
        &["README 644", "Readme 644"],
    );
    unpacked(
        "nfc-nfd",
        &new().file("e\u{301}").file("é").end(),
        &["e\u{301} 644", "é 644"],
    );
    unpacked("backslash", &new().file("..\\x").end(), &["..\\x 644"]);
    unpacked(
        "control-chars",
        &new().file("a\x1b[31mb").end(),
        &["a\x1b[31mb 644"],
    );
    unpacked(
        "non-utf8",
        &new().entry(b'0', b"a\xff", b"", b"").end(),
        &["a\u{fffd} 644"],
    );
    refused(
        "control-chars-printed",
        &new().file("/a\x1b[31m\n").end(),
        "`/a\\u{1b}[31m\\n`",
    );
    refused(
        "non-utf8-printed",
        &new().entry(b'0', b"/\xff\xe2\x80\xae", b"", b"").end(),
        "`/\\xff\\u{202e}`",
    );
}

#[test]
fn links_are_data() {
    let tar = Raw::new()
        .link("etc", "/etc")
        .link("up", "../../../../etc")
        .link("self", "self")
        .end();
    unpacked(
        "symlink-kept",
        &tar,
        &["etc -> /etc", "self -> self", "up -> ../../../../etc"],
    );
}

#[test]
fn an_archive_ends_once() {
    let new = Raw::new;
    let rows: &[(&str, Vec<u8>, &str)] = &[
        (
            "truncated-body",
            new().file("a").0[..BLOCK + 3].to_vec(),
            "it claims 7 bytes, and the archive has 3 left",
        ),
        (
            "truncated-padding",
            new().file("a").0[..BLOCK + 100].to_vec(),
            "the archive ends within it",
        ),
        (
            "truncated-header",
            new().file("a").file("b").0[..2 * BLOCK + 77].to_vec(),
            "the archive ends within it",
        ),
        (
            "no-trailer",
            new().file("a").0,
            "the archive has no end mark",
        ),
        (
            "half-trailer",
            new().file("a").raw(&[0; BLOCK]).0,
            "the archive has no end mark",
        ),
        ("empty", Vec::new(), "the archive has no end mark"),
        (
            "zero-block-mid",
            new().file("a").raw(&[0; BLOCK]).file("b").end(),
            "data after the end",
        ),
        (
            "after-eof",
            [new().file("a").end(), new().file("b").end()].concat(),
            "data after the end",
        ),
        (
            "after-eof-byte",
            [new().file("a").end(), vec![0, 1]].concat(),
            "data after the end",
        ),
        (
            "bad-checksum",
            [&b"b"[..], &new().file("a").end()[1..]].concat(),
            "its header's checksum is wrong",
        ),
    ];
    for (id, tar, expected) in rows {
        refused(id, tar, expected);
    }
    unpacked(
        "zeros-after-end",
        &new().file("a").raw(&[0; 20 * BLOCK]).end(),
        &["a 644"],
    );
}

#[test]
fn deletions_of_images_have_no_place_in_a_slug() {
    for name in [".wh.a", ".wh..wh..opq", ".wh.", ".wh..", ".wh..."] {
        refused(name, &Raw::new().file(name).end(), "mean deletions");
    }
    refused(
        "whiteout-symlink",
        &Raw::new().link("ln", "/").file("ln/.wh.canary").end(),
        "mean deletions",
    );
    unpacked(
        "no-whiteout",
        &Raw::new().file(".whale").end(),
        &[".whale 644"],
    );
}

#[test]
fn what_the_slug_says_of_a_layer_must_be_true() {
    let tar = Raw::new().file("a").end();
    let check = |expected: &str, change: fn(&Place, &mut LayerBlob)| {
        let place = Place::new();
        let mut layer = place.layer(&tar);
        change(&place, &mut layer);
        let message = place.unpack(&layer).unwrap_err();
        assert!(
            message.contains(expected),
            "`{message}` should say `{expected}`"
        );
    };
    check("the layer sha256:", |_, layer| {
        layer.diff_id = Digest::of(b"other");
    });
    check("bytes, and its manifest says 1", |_, layer| {
        layer.size_bytes = 1;
    });
    check(
        "has 2048 bytes or more, and the slug says 2047",
        |_, layer| layer.tar_bytes -= 1,
    );
    check(
        "has 2048 bytes or more, and the slug says 2049",
        |_, layer| layer.tar_bytes += 1,
    );
    check("is missing", |_, layer| layer.digest = Digest::of(b"other"));
    check("malformed", |_, layer| {
        layer.media_type = Compression::Gzip.media_type().to_owned();
    });
    check("it is of the type `tar\\u{1b}`", |_, layer| {
        layer.media_type = "tar\x1b".to_owned();
    });
    check("is damaged: its bytes have the digest", |place, layer| {
        let path = place.store.blob_path(&layer.digest);
        let mut bytes = fs::read(&path).unwrap();
        bytes[12] ^= 1;
        fs::write(&path, bytes).unwrap();
    });
}

#[test]
fn compressed_data_is_one_stream_and_small_in_memory() {
    let tar = Raw::new().file("a").end();
    let frame = zstd::encode_all(&tar[..], 1).unwrap();
    let gzip = |bytes: &[u8]| {
        let mut out = vec![0; 4096];
        let length = libdeflater::Compressor::default()
            .gzip_compress(bytes, &mut out)
            .unwrap();
        out[..length].to_vec()
    };
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
    // A frame header that asks for a window of 2 GiB: descriptor 0, exponent 21.
    let window = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3][..], &[1, 0, 0]].concat();
    let (zstd, gz) = (Compression::Zstd, Compression::Gzip);
    let rows: &[(&str, Vec<u8>, Compression, &str)] = &[
        (
            "two-frames",
            [&frame[..], &frame[..]].concat(),
            zstd,
            "data after the end",
        ),
        (
            "frame-garbage",
            [&frame[..], b"x"].concat(),
            zstd,
            "data after the end",
        ),
        (
            "skippable-after",
            [&frame[..], &skippable[..]].concat(),
            zstd,
            "data after the end",
        ),
        (
            "skippable-before",
            [&skippable[..], &frame[..]].concat(),
            zstd,
            "",
        ),
        ("window-2g", window, zstd, "malformed"),
        ("cut", frame[..frame.len() - 3].to_vec(), zstd, "malformed"),
        (
            "gzip-garbage",
            [&gzip(&tar)[..], b"garbage!!!"].concat(),
            gz,
            "malformed",
        ),
        (
            "gzip-extra-member",
            [gzip(&tar), gzip(&tar)].concat(),
            gz,
            "data after the end",
        ),
        (
            "gzip-cut",
            gzip(&tar)[..gzip(&tar).len() - 3].to_vec(),
            gz,
            "malformed",
        ),
        ("not-compressed", tar.clone(), zstd, "malformed"),
    ];
    for (id, blob, compression, expected) in rows {
        let place = Place::new();
        let layer = LayerBlob {
            diff_id: Digest::of(&tar),
            digest: place.store.put_blob(blob).unwrap(),
            size_bytes: blob.len() as u64,
            tar_bytes: 2 * tar.len() as u64,
            media_type: compression.media_type().to_owned(),
        };
        let message = place.unpack(&layer).expect_err(id);
        assert!(
            message.contains(expected),
            "{id}: `{message}` should say `{expected}`"
        );
    }
}

#[test]
fn a_bomb_ends_at_the_size_that_the_slug_says() {
    let body = vec![0; 64 << 20];
    let tar = Raw::new().entry(b'0', b"a", b"", &body).end();
    let place = Place::new();
    let mut layer = place.layer(&tar);
    assert!(layer.size_bytes < 16 << 10);
    layer.tar_bytes = 1 << 20;
    let message = place.unpack(&layer).unwrap_err();
    assert!(
        message.contains("claims 67108864 bytes, and the archive has 1048064 left"),
        "{message}"
    );
    let many = (0..5000).fold(Raw::new(), |tar, n| {
        tar.entry(b'0', format!("f{n}").as_bytes(), b"", b"")
    });
    let mut layer = place.layer(&many.end());
    layer.tar_bytes = 1 << 20;
    let message = place.unpack(&layer).unwrap_err();
    assert!(message.contains("and the slug says 1048576"), "{message}");
}

#[test]
fn a_destination_that_is_a_link_is_not_followed() {
    let place = Place::new();
    let layer = place.layer(&Raw::new().file("a").end());
    fs::create_dir_all(place.store.layers()).unwrap();
    symlink(
        place.outside(),
        place.store.layers().join(layer.diff_id.hex()),
    )
    .unwrap();
    let message = unpack(&place.store, &layer, &mut |_| {}).unwrap_err();
    assert!(
        said(&message).contains("could not create"),
        "{}",
        said(&message)
    );
    assert_eq!(fs::read_dir(place.outside()).unwrap().count(), 1);
}

#[test]
fn concurrent_unpackings_are_one() {
    let place = Place::new();
    let tar = (0..200)
        .fold(Raw::new(), |tar, n| tar.file(&format!("f{n}")))
        .end();
    let layer = place.layer(&tar);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| unpack(&place.store, &layer, &mut |_| {}).unwrap());
        }
    });
    assert_eq!(place.unpack(&layer).unwrap().len(), 200);
    assert_eq!(fs::read_dir(place.store.layers()).unwrap().count(), 2); // the layer and the lock
}

#[test]
fn what_a_killed_unpacking_left_is_swept() {
    let place = Place::new();
    let left = place.store.layers().join(".tmp-00");
    fs::create_dir_all(left.join("workspace")).unwrap();
    place
        .unpack(&place.layer(&Raw::new().file("a").end()))
        .unwrap();
    assert!(!left.exists());
}
