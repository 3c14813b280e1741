//! Each variant of each error, as a user reads it.

#![expect(clippy::too_many_lines, reason = "a table, one row an error")]

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use expect_test::{Expect, expect};
use slug::archive::{BadImage, BaseMismatch, Refusal, Unpackable};
use slug::build::BuildError;
use slug::build::ClassicsMisplaced;
use slug::build::NoContent;
use slug::buildpack::descriptor::DescriptorError;
use slug::buildpack::detection::{GroupVerdict, MemberVerdict, Verdict};
use slug::buildpack::order::OrderError;
use slug::buildpack::sbom::SbomError;
use slug::ident::Digest;
use slug::layer::toml_file;
use slug::release::{Ineligible, MissingVar, ReleaseError};
use slug::router::RouterError;
use slug::run::control::ControlError;
use slug::run::formation::StateError;
use slug::run::{EnterError, LaunchError, RunError};
use slug::store::BadConfigVar;
use slug::store::gc::UnknownNeeds;
use slug::sys::fetch::FetchError;
use slug::sys::inherited::BadInherited;

use super::*;
use crate::cli::ui::Talk;

/// Says each error and its exit code. Does not compile while a variant is not listed, and fails
/// while one that is listed is not said.
macro_rules! check {
    ($errors:expr, $expected:expr, [$($variant:pat),+ $(,)?]) => {{
        let mut listed = BTreeSet::from([$(stringify!($variant)),+]);
        let mut text = String::new();
        for error in $errors {
            listed.remove(match &error {
                $($variant => stringify!($variant)),+
            });
            text += &said(&error.into());
        }
        assert_eq!(listed, BTreeSet::new(), "these have no snapshot");
        let expected: Expect = $expected;
        expected.assert_eq(&text);
    }};
}

fn said(failure: &Failure) -> String {
    let ui = Ui {
        talk: Talk::Normal,
        json: false,
        colour: false,
        colour_out: false,
    };
    format!("{}\n[exit {}]\n\n", failure.text(&ui), failure.code)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn digest(digit: &str) -> Digest {
    parsed(&format!("sha256:{}", digit.repeat(64)))
}

fn path() -> PathBuf {
    PathBuf::from("/var/lib/slug/some/file")
}

fn path_error(kind: ErrorKind) -> PathError {
    PathError {
        doing: "write",
        path: path(),
        source: kind.into(),
    }
}

fn refused() -> io::Error {
    ErrorKind::PermissionDenied.into()
}

#[test]
fn of_a_path() {
    check!(
        [
            path_error(ErrorKind::StorageFull),
            path_error(ErrorKind::ReadOnlyFilesystem),
            path_error(ErrorKind::PermissionDenied),
            path_error(ErrorKind::NotADirectory),
            path_error(ErrorKind::NotFound),
        ],
        expect![[r#"
            error: could not write `/var/lib/slug/some/file`: no storage space
            unchanged: what was there before is as it was
            hint: make room, or run `slug gc`, and try again
            [exit 1]

            error: could not write `/var/lib/slug/some/file`: read-only filesystem or storage medium
            hint: the store must be writable; another can be named with `--store DIR`
            [exit 1]

            error: could not write `/var/lib/slug/some/file`: permission denied
            hint: run it as the user it belongs to, or name another store with `--store DIR`
            [exit 1]

            error: could not write `/var/lib/slug/some/file`: not a directory
            hint: something that is no folder is in the way
            [exit 1]

            error: could not write `/var/lib/slug/some/file`: entity not found
            [exit 1]

        "#]],
        [PathError { .. }]
    );
}

#[test]
fn of_the_store() {
    let (app, version) = (|| parsed("shop"), parsed("v7"));
    check!(
        [
            StoreError::Path(path_error(ErrorKind::NotFound)),
            StoreError::BadJson {
                path: path(),
                line: 3,
                column: 9,
                why: "expected `,`".to_owned()
            },
            StoreError::UnknownSchema {
                path: path(),
                schema: 2,
                reader: "0.9.0".to_owned()
            },
            StoreError::NoRelease {
                app: app(),
                version,
                newest: Some(parsed("v3"))
            },
            StoreError::NoRelease {
                app: app(),
                version,
                newest: None
            },
            StoreError::RecordMissing {
                app: app(),
                version
            },
            StoreError::RecordChanged {
                app: app(),
                version,
                expected: digest("a"),
                found: digest("b")
            },
            StoreError::LastVersion {
                app: app(),
                version: parsed("v4294967295")
            },
            StoreError::EventExists {
                app: app(),
                version,
                event: "succeeded"
            },
            StoreError::RecordTooLarge { bytes: 2_000_000 },
            StoreError::LockHeld {
                app: app(),
                holder: "alice, process 7".to_owned()
            },
            StoreError::ConfigMissing {
                app: app(),
                config: digest("c")
            },
            StoreError::ConfigChanged {
                app: app(),
                config: digest("c"),
                why: "it is cut".to_owned()
            },
            StoreError::ConfigNotForThisHost {
                app: app(),
                config: digest("c"),
                recipient: "age1abc".to_owned()
            },
            StoreError::BadConfigVar(BadConfigVar::Nul { key: parsed("KEY") }),
            StoreError::BadRecipient {
                path: path(),
                line: 2
            },
            StoreError::BadIdentity {
                path: path(),
                why: "no key".to_owned()
            },
            StoreError::Seal {
                why: "no recipient".to_owned()
            },
            StoreError::NoUidLeft { app: app() },
            StoreError::BadUid { path: path() },
        ],
        expect![[r#"
            error: could not write `/var/lib/slug/some/file`: entity not found
            [exit 1]

            error: `/var/lib/slug/some/file` cannot be read: expected `,` (line 3, column 9)
            hint: `slug verify` names everything in the store that is not as it was written
            [exit 3]

            error: `/var/lib/slug/some/file` has schema 2, which slug 0.9.0 and newer can read; this is slug 0.1.0
            hint: use slug 0.9.0 or newer with this store
            [exit 3]

            error: shop has no release v7
            hint: the newest is v3; `slug releases` lists all
            [exit 1]

            error: shop has no release v7
            hint: there is none yet: `slug release SLUG` makes the first
            [exit 1]

            error: the record of v7 of shop is missing
            hint: `slug verify` names everything in the store that is not as it was written
            [exit 3]

            error: the record of v7 of shop was changed: its digest was aaaaaaaaaaaa, and is bbbbbbbbbbbb
            hint: `slug verify` names everything in the store that is not as it was written
            [exit 3]

            error: shop has release v4294967295: there is no number after it
            [exit 1]

            error: v7 of shop is already recorded as succeeded
            unchanged: what was recorded first stays
            hint: `slug releases` shows what became of it
            [exit 1]

            error: the record would be 2000000 bytes, more than the 1048576 that a record may have
            hint: say less in `--message`
            [exit 1]

            error: shop is locked by alice, process 7
            unchanged: no release was made
            hint: try again when it is done; the lock ends with the process that holds it
            [exit 3]

            error: the config cccccccccccc of shop is not in the store
            hint: bring the store's `config` folder back from a backup, or set the config vars again
            [exit 3]

            error: the config cccccccccccc of shop was changed in the store: it is cut
            hint: `slug verify` names everything in the store that is not as it was written
            [exit 3]

            error: the config cccccccccccc of shop is not sealed to this host
            hint: on a host that can read it, add `age1abc` to the store's recipients, and set a config var
            [exit 3]

            error: the value of KEY has a NUL byte, which no environment can hold
            unchanged: no release was made
            hint: give text of 128 KiB at most: what is larger, or binary, belongs into a backing service or a file of the app
            [exit 2]

            error: `/var/lib/slug/some/file` has a line that is not an age X25519 recipient (expected `age1…`): line 2
            hint: correct the line, or remove it
            [exit 1]

            error: `/var/lib/slug/some/file` is not an age identity: no key
            hint: bring the file back from a backup; without a host's identity its config cannot be read
            [exit 1]

            error: the config could not be sealed: no recipient
            unchanged: no release was made
            [exit 1]

            error: no uid is left for shop: 1900000000 to 1900065535 are taken
            hint: remove the `uids` files of apps that this host no longer runs
            [exit 1]

            error: `/var/lib/slug/some/file` does not hold a uid from 1900000000 to 1900065535
            hint: `slug verify` names everything in the store that is not as it was written
            [exit 3]

        "#]],
        [
            StoreError::Path(_),
            StoreError::BadJson { .. },
            StoreError::UnknownSchema { .. },
            StoreError::NoRelease { .. },
            StoreError::RecordMissing { .. },
            StoreError::RecordChanged { .. },
            StoreError::LastVersion { .. },
            StoreError::EventExists { .. },
            StoreError::RecordTooLarge { .. },
            StoreError::LockHeld { .. },
            StoreError::ConfigMissing { .. },
            StoreError::ConfigChanged { .. },
            StoreError::ConfigNotForThisHost { .. },
            StoreError::BadConfigVar(_),
            StoreError::BadRecipient { .. },
            StoreError::BadIdentity { .. },
            StoreError::Seal { .. },
            StoreError::NoUidLeft { .. },
            StoreError::BadUid { .. },
        ]
    );
}

#[test]
fn of_archives() {
    check!(
        [
            ArchiveError::Path(path_error(ErrorKind::NotFound)),
            ArchiveError::Store(StoreError::BadUid { path: path() }),
            ArchiveError::Unpackable {
                path: path(),
                why: Unpackable::Setuid { mode: 0o4755 }
            },
            ArchiveError::Overlap {
                upper: path(),
                lower: path()
            },
            ArchiveError::Refused {
                entry: b"../\x1b[31m".to_vec(),
                why: Refusal::DotDot
            },
            ArchiveError::Damaged {
                what: "the blob",
                expected: digest("a"),
                actual: digest("b")
            },
            ArchiveError::Size {
                digest: digest("a"),
                expected: 10,
                actual: 9
            },
            ArchiveError::MissingBlob {
                digest: digest("a")
            },
            ArchiveError::Image {
                what: "index.json".to_owned(),
                why: BadImage::Schema {
                    found: "2".to_owned()
                }
            },
            ArchiveError::ReservedLabel {
                label: "slug.base".to_owned()
            },
            ArchiveError::NoSlug {
                prefix: "sha256:01234567".to_owned()
            },
            ArchiveError::AmbiguousSlug {
                prefix: parsed("01234567"),
                candidates: vec![digest("a"), digest("b")]
            },
        ],
        expect![[r#"
            error: could not write `/var/lib/slug/some/file`: entity not found
            [exit 1]

            error: `/var/lib/slug/some/file` does not hold a uid from 1900000000 to 1900065535
            hint: `slug verify` names everything in the store that is not as it was written
            [exit 3]

            error: `/var/lib/slug/some/file` cannot be part of a slug: it is setuid or setgid (mode 4755)
            unchanged: no slug was made
            hint: leave it out with .slugignore, or change it
            [exit 1]

            error: `/var/lib/slug/some/file` and `/var/lib/slug/some/file` would lie in each other in one layer
            unchanged: no slug was made
            hint: leave it out with .slugignore, or change it
            [exit 1]

            error: entry `../\u{1b}[31m` is refused: its path goes up by `..`
            unchanged: nothing of it was kept
            hint: bring the slug again from where it was built: the file was damaged, or is not a slug
            [exit 3]

            error: the blob sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa is damaged: its bytes have the digest sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
            unchanged: nothing of it was kept
            hint: bring the slug again from where it was built: the file was damaged, or is not a slug
            [exit 3]

            error: the blob sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa has 9 bytes, and its manifest says 10
            unchanged: nothing of it was kept
            hint: bring the slug again from where it was built: the file was damaged, or is not a slug
            [exit 3]

            error: the blob sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa is missing
            hint: bring the slug again: `slug release app.slug`, or build it: the same source has the same digest
            [exit 3]

            error: index.json is refused: its schema is `2`, and this slug reads 1
            unchanged: nothing of it was kept
            hint: bring the slug again from where it was built: the file was damaged, or is not a slug
            [exit 3]

            error: the label `slug.base` is slug's own
            hint: labels that begin with `slug.` are slug's own
            [exit 1]

            error: no slug sha256:01234567 in the store
            hint: `slug build` prints the digest of what it made; a slug from elsewhere is brought as a file
            [exit 1]

            error: sha256:01234567 is not unique: 2 slugs begin so
              sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
              sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
            hint: type more digits
            [exit 2]

        "#]],
        [
            ArchiveError::Path(_),
            ArchiveError::Store(_),
            ArchiveError::Unpackable { .. },
            ArchiveError::Overlap { .. },
            ArchiveError::Refused { .. },
            ArchiveError::Damaged { .. },
            ArchiveError::Size { .. },
            ArchiveError::MissingBlob { .. },
            ArchiveError::Image { .. },
            ArchiveError::ReservedLabel { .. },
            ArchiveError::NoSlug { .. },
            ArchiveError::AmbiguousSlug { .. },
        ]
    );
}

#[test]
fn of_sandboxes() {
    let facts = Facts {
        apparmor: true,
        userns_clone_off: true,
        userns_max_zero: true,
        container: true,
        ..Facts::default()
    };
    let program = || "manage".to_owned();
    check!(
        [
            SandboxError::Refused {
                call: "clone".to_owned(),
                source: refused(),
                facts
            },
            SandboxError::Refused {
                call: "clone".to_owned(),
                source: refused(),
                facts: Facts::default()
            },
            SandboxError::Overlay {
                to: path(),
                source: refused()
            },
            SandboxError::Setup {
                step: "mount `/tmp`".to_owned(),
                source: refused()
            },
            SandboxError::NotFound { program: program() },
            SandboxError::NoInterpreter {
                program: program(),
                interpreter: "/bin/zsh".to_owned()
            },
            SandboxError::NotExecutable {
                program: program(),
                source: refused()
            },
            SandboxError::Prepare("exec.d failed".to_owned()),
        ],
        expect![[r#"
            error: this machine refuses the namespaces that a sandbox is made of (clone: permission denied)
            hint: this is Ubuntu's AppArmor rule: as root, give the binary a profile with `userns,` (https://ubuntu.com/blog/ubuntu-23-10-restricted-unprivileged-user-namespaces), or run slug as root
            hint: as root: `sysctl kernel.unprivileged_userns_clone=1`, or run slug as root
            hint: as root: `sysctl user.max_user_namespaces=15000`, or run slug as root
            hint: inside a container: start it with the right to make namespaces (`--privileged`, or `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`)
            [exit 1]

            error: this machine refuses the namespaces that a sandbox is made of (clone: permission denied)
            hint: `slug doctor` checks what slug needs of this machine
            [exit 1]

            error: could not mount the overlay at `/var/lib/slug/some/file`: permission denied
            hint: the store must lie on a file system that can hold an overlay's upper folder: ext4, xfs, btrfs, tmpfs
            [exit 1]

            error: could not set up the sandbox: mount `/tmp`: permission denied
            hint: `slug doctor` checks what slug needs of this machine
            [exit 1]

            error: `manage` was not found
            hint: only the slug, the host's /usr and /bin are visible inside; PATH is the release's
            [exit 127]

            error: `manage` needs `/bin/zsh`, which was not found
            hint: only the slug, the host's /usr and /bin are visible inside; PATH is the release's
            [exit 127]

            error: `manage` cannot be executed: permission denied
            hint: make it executable in the source: `chmod +x`
            [exit 126]

            error: exec.d failed
            [exit 1]

        "#]],
        [
            SandboxError::Refused { .. },
            SandboxError::Overlay { .. },
            SandboxError::Setup { .. },
            SandboxError::NotFound { .. },
            SandboxError::NoInterpreter { .. },
            SandboxError::NotExecutable { .. },
            SandboxError::Prepare(_),
        ]
    );
}

#[test]
fn of_releases() {
    let (app, version) = (|| parsed("shop"), parsed("v7"));
    let missing = |secret| MissingVar {
        key: parsed("DATABASE_URL"),
        description: Some("where the \u{1b}[31morders are".to_owned()),
        secret,
    };
    let mismatch = BaseMismatch::Arch {
        slug: "linux/s390x".to_owned(),
        host: "linux/amd64".to_owned(),
    };
    check!(
        [
            ReleaseError::Store(StoreError::BadUid { path: path() }),
            ReleaseError::Archive(ArchiveError::MissingBlob {
                digest: digest("a")
            }),
            ReleaseError::SlugIncomplete {
                slug: digest("a"),
                blob: digest("b")
            },
            ReleaseError::Base {
                slug: digest("a"),
                mismatches: vec![mismatch]
            },
            ReleaseError::MissingConfig {
                app: app(),
                missing: vec![missing(true), missing(false)]
            },
            ReleaseError::BadContract {
                slug: digest("a"),
                why: "expected a table".to_owned()
            },
            ReleaseError::SetAndUnset { key: parsed("KEY") },
            ReleaseError::BadConfigVar(BadConfigVar::TooLong {
                key: parsed("KEY"),
                bytes: 131_073
            }),
            ReleaseError::Ineligible {
                app: app(),
                version,
                why: Ineligible::Current
            },
            ReleaseError::NothingToRollBackTo {
                app: app(),
                current: Some(version),
                refused: vec![(parsed("v6"), Ineligible::NoSlug)]
            },
            ReleaseError::Overtaken {
                app: app(),
                planned: version,
                next: parsed("v8")
            },
            ReleaseError::WrongLock {
                held: parsed("other"),
                app: app()
            },
            ReleaseError::CommandFailed {
                app: app(),
                version,
                exit: Some(1),
                tail: "no such table\n".to_owned()
            },
            ReleaseError::CommandFailed {
                app: app(),
                version,
                exit: Some(130),
                tail: "\n".to_owned()
            },
            ReleaseError::CommandFailed {
                app: app(),
                version,
                exit: None,
                tail: "`migrate` was not found".to_owned()
            },
            ReleaseError::UnknownNeeds(UnknownNeeds {
                app: app(),
                version,
                slug: digest("a")
            }),
        ],
        expect![[r#"
            error: `/var/lib/slug/some/file` does not hold a uid from 1900000000 to 1900065535
            hint: `slug verify` names everything in the store that is not as it was written
            [exit 3]

            error: the blob sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa is missing
            hint: bring the slug again: `slug release app.slug`, or build it: the same source has the same digest
            [exit 3]

            error: the slug aaaaaaaaaaaa is not whole: its blob sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb is missing or cut short
            unchanged: no release was made
            hint: bring it whole: `slug release app.slug`, or build it: the same source has the same digest
            [exit 3]

            error: the slug aaaaaaaaaaaa cannot run on this host: it is built for linux/s390x, and this host is linux/amd64
            unchanged: no release was made
            hint: install what is missing on this host, or build the slug on a host like this one
            [exit 3]

            error: shop needs config vars that are not set: DATABASE_URL (where the \u{1b}[31morders are); DATABASE_URL (where the \u{1b}[31morders are)
            unchanged: no release was made
            hint: `slug config set --app shop DATABASE_URL=-` and the value on standard input
            hint: `slug config set --app shop DATABASE_URL=…`
            [exit 3]

            error: the label `slug.contract` of the slug aaaaaaaaaaaa is not a config contract: expected a table
            unchanged: no release was made
            hint: correct [env] in slug.toml, and build again
            [exit 3]

            error: KEY cannot be set and unset at once
            unchanged: no release was made
            [exit 2]

            error: KEY is 131073 bytes with its name, more than the 131072 that Linux gives a process
            unchanged: no release was made
            hint: give text of 128 KiB at most: what is larger, or binary, belongs into a backing service or a file of the app
            [exit 2]

            error: shop cannot be rolled back to v7: it is the current release
            unchanged: no release was made
            hint: `slug releases` shows what became of each release
            [exit 3]

            error: shop has no release to roll back to
              v6: it has no slug
            unchanged: no release was made
            hint: `slug releases` shows what became of each release
            [exit 3]

            error: v7 of shop was planned, but the next release is v8 by now
            unchanged: no release was made
            hint: look at `slug releases`, and ask again
            [exit 3]

            error: the lock of other was taken, and a release of shop asked for
            unchanged: no release was made
            [exit 3]

            error: the release command of v7 of shop ended with exit code 1
              no such table
            unchanged: the release before it is current; no process was touched
            hint: `slug releases show v7` has its output; a corrected slug or config makes the next release
            [exit 1]

            error: the release command of v7 of shop was ended by signal 2
            unchanged: the release before it is current; no process was touched
            hint: `slug releases show v7` has its output; a corrected slug or config makes the next release
            [exit 130]

            error: the release command of v7 of shop could not be started
              `migrate` was not found
            unchanged: the release before it is current; no process was touched
            hint: `slug releases show v7` has its output; a corrected slug or config makes the next release
            [exit 1]

            error: the slug sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa of v7 of shop cannot be read, so what it needs is not known
            unchanged: nothing was deleted
            hint: `slug verify` says what is wrong; bring the slug back with `slug release app.slug`, then collect again
            [exit 3]

        "#]],
        [
            ReleaseError::Store(_),
            ReleaseError::Archive(_),
            ReleaseError::SlugIncomplete { .. },
            ReleaseError::Base { .. },
            ReleaseError::MissingConfig { .. },
            ReleaseError::BadContract { .. },
            ReleaseError::SetAndUnset { .. },
            ReleaseError::BadConfigVar(_),
            ReleaseError::Ineligible { .. },
            ReleaseError::NothingToRollBackTo { .. },
            ReleaseError::Overtaken { .. },
            ReleaseError::WrongLock { .. },
            ReleaseError::CommandFailed { .. },
            ReleaseError::UnknownNeeds(_),
        ]
    );
}

#[test]
fn of_builds() {
    let id = || parsed("slug/python");
    let verdicts = |verdict| {
        vec![GroupVerdict {
            members: vec![MemberVerdict {
                version: "1.0.0".to_owned(),
                buildpack: id(),
                optional: false,
                verdict,
            }],
            conflicts: Vec::new(),
        }]
    };
    let failed = Verdict::Failed {
        exit: 2,
        tail: b"cannot read\n".to_vec(),
    };
    let tried = vec![("https://example.com/uv".to_owned(), "timed out".to_owned())];
    check!(
        [
            BuildError::Path(path_error(ErrorKind::StorageFull)),
            BuildError::Toml(toml_file::wrong(
                "app = 5",
                &path(),
                6,
                "expected a string".to_owned()
            )),
            BuildError::Store(StoreError::BadUid { path: path() }),
            BuildError::Archive(ArchiveError::Unpackable {
                path: path(),
                why: Unpackable::Fifo
            }),
            BuildError::Sandbox(SandboxError::Prepare("exec.d failed".to_owned())),
            BuildError::Descriptor(DescriptorError::Missing(path())),
            BuildError::Order(OrderError::TooManyGroups),
            BuildError::NoSource(path()),
            BuildError::EmptySource(path()),
            BuildError::NoGit {
                path: path(),
                source: ErrorKind::NotFound.into()
            },
            BuildError::Git {
                path: path(),
                said: "dubious ownership".to_owned()
            },
            BuildError::TooManyFiles {
                path: path(),
                max: 1_000_000
            },
            BuildError::BadPattern {
                path: path(),
                why: "unclosed `[`".to_owned()
            },
            BuildError::NoSuchBuildpack("slug/cobol".to_owned()),
            BuildError::BuildpackArchive {
                reference: "./tool.tgz".to_owned(),
                source: ArchiveError::Refused {
                    entry: b"../x".to_vec(),
                    why: Refusal::DotDot,
                },
            },
            BuildError::NotABuildpack {
                reference: "./tool".to_owned(),
                why: "it has no buildpack.toml".to_owned(),
            },
            BuildError::NotTheBuildpack {
                reference: "./tool".to_owned(),
                expected: parsed("a/b"),
                found: parsed("c/d"),
            },
            BuildError::NoOrderFile(path()),
            BuildError::NothingFits(verdicts(Verdict::Declined)),
            BuildError::DetectFailed(verdicts(failed)),
            BuildError::Problems(vec![
                "two lock files".to_owned(),
                "no Python 3.99".to_owned()
            ]),
            BuildError::Artifacts {
                missing: vec![FetchError {
                    name: "uv".to_owned(),
                    version: "0.12.5".to_owned(),
                    tried,
                    instead: Some("name a mirror".to_owned()),
                }]
            },
            BuildError::BuildFailed {
                buildpack: id(),
                exit: 1,
                tail: b"No matching distribution\n".to_vec()
            },
            BuildError::Unmet {
                buildpack: id(),
                name: "node".to_owned()
            },
            BuildError::LayerName {
                buildpack: id(),
                name: "a/b".to_owned()
            },
            BuildError::LayerMissing {
                buildpack: id(),
                layer: parsed("venv"),
                why: NoContent::NeverMade
            },
            BuildError::Sbom(SbomError::Extension(path())),
            BuildError::SbomFolder(id()),
            BuildError::Classics {
                packs: vec!["apt".to_owned(), "ruby".to_owned()],
                why: ClassicsMisplaced::Apart
            },
            BuildError::Classics {
                packs: vec!["apt".to_owned(), "ruby".to_owned()],
                why: ClassicsMisplaced::Optional
            },
            BuildError::Classics {
                packs: vec!["apt".to_owned(), "ruby".to_owned()],
                why: ClassicsMisplaced::Several
            },
            BuildError::PathTaken(PathBuf::from("/workspace")),
            BuildError::PathBusy(PathBuf::from("/cnb")),
            BuildError::TimedOut {
                buildpack: id(),
                limit: std::time::Duration::from_secs(90),
                tail: b"waiting for the lock of the index\n".to_vec(),
            },
            BuildError::Interrupted { signal: 15 },
            BuildError::Leaked {
                leaks: vec![slug::build::Leak {
                    name: parsed("NPM_TOKEN"),
                    path: PathBuf::from("/layers/a_b/deps/.npmrc"),
                }],
            },
            BuildError::Follow {
                buildpack: id(),
                source: refused()
            },
        ],
        expect![[r#"
            error: could not write `/var/lib/slug/some/file`: no storage space
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: make room, or run `slug gc`, and try again
            [exit 1]

            error: `/var/lib/slug/some/file`, line 1, column 7: expected a string
              app = 5
                    ^
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: correct the file, and build again
            [exit 1]

            error: `/var/lib/slug/some/file` does not hold a uid from 1900000000 to 1900065535
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: `slug verify` names everything in the store that is not as it was written
            [exit 3]

            error: `/var/lib/slug/some/file` cannot be part of a slug: it is a named pipe
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: leave it out with .slugignore, or change it
            [exit 1]

            error: exec.d failed
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: on a machine that is thrown away after the build, `slug build --isolation none` does without namespaces
            [exit 1]

            error: `/var/lib/slug/some/file` has no buildpack.toml
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: correct the buildpack's buildpack.toml; `slug buildpacks` lists the built-in ones
            [exit 1]

            error: the order of buildpacks comes to more than 10000 groups
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: correct the buildpack's buildpack.toml; `slug buildpacks` lists the built-in ones
            [exit 1]

            error: `/var/lib/slug/some/file` is not a folder
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: name the folder of the app: `slug build DIR`
            [exit 2]

            error: `/var/lib/slug/some/file` has no files to build (of those that git does not ignore, where it is a git work tree)
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: `git status --ignored` shows what git ignores
            [exit 1]

            error: `/var/lib/slug/some/file` is a git work tree, and `git` could not be run: entity not found
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: install git
            [exit 1]

            error: git cannot list the files of `/var/lib/slug/some/file`: dubious ownership
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: git's own advice is above; `slug` takes the files that `git ls-files` lists
            [exit 1]

            error: `/var/lib/slug/some/file` has more than 1000000 files
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: leave out what the app does not need with .slugignore
            [exit 1]

            error: `/var/lib/slug/some/file` has a pattern that cannot be read: unclosed `[`
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: correct the file, and build again
            [exit 1]

            error: `slug/cobol` is neither a folder or an archive nor the id of a built-in buildpack
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: `slug buildpacks` lists the built-in ones
            [exit 2]

            error: the buildpack `./tool.tgz` cannot be unpacked: entry `../x` is refused: its path goes up by `..`
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: make the archive again from a folder that you trust: `tar -czf buildpack.tgz -C FOLDER .`
            [exit 3]

            error: `./tool` is not a buildpack: it has no buildpack.toml
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: name the folder, `.tgz`, `.cnb` or OCI layout of a buildpack: one with a buildpack.toml
            [exit 2]

            error: `./tool` is the buildpack `c/d`, and `a/b` is written beside it
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: leave `a/b` out, or name the buildpack that has this id
            [exit 1]

            error: `/var/lib/slug/some/file` is not there
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: name a file with `[[order]]` tables
            [exit 2]

            error: no buildpack fits this app
              group 1: slug/python: not for this app
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: slug knows an app by requirements.txt, pyproject.toml, uv.lock, app.py, manage.py or a Procfile
            hint: another buildpack can be named: `slug build --buildpack PATH`; `--explain` says what each of a group said
            [exit 20]

            error: detection failed
              group 1: slug/python: failed with exit code 2
                cannot read
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: what it said is above; `--explain` says what each buildpack of each group said
            [exit 21]

            error: two lock files
            no Python 3.99
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: `slug plan` shows each decision, and the file and line that made it
            [exit 51]

            error: uv 0.12.5 could not be had
              uv 0.12.5:
                https://example.com/uv: timed out
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: name a mirror
            hint: a mirror of your own can be named: `slug build --mirror URL|DIR`
            [exit 69]

            error: the buildpack `slug/python` failed (exit code 1)
              No matching distribution
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: the whole of its output is above
            [exit 51]

            error: the buildpack `slug/python` leaves `node` unmet, which was not asked of it
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: this is a fault of the buildpack: its author should know
            [exit 1]

            error: the buildpack `slug/python` made a layer of a name that cannot be: "a/b"
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: this is a fault of the buildpack: its author should know
            [exit 1]

            error: the buildpack `slug/python` wants the layer `venv` in the slug and did not make it: the last build had none to take in its place
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: this is a fault of the buildpack: its author should know
            [exit 1]

            error: `/var/lib/slug/some/file` is no SBOM of a known format (expected `.sbom.cdx.json`, `.sbom.spdx.json` or `.sbom.syft.json`)
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: this is a fault of the buildpack: its author should know
            [exit 1]

            error: the buildpack `slug/python` wrote to `sbom` in its layers folder, which is the platform's
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: this is a fault of the buildpack: its author should know
            [exit 1]

            error: the classic buildpacks apt, ruby have another buildpack between them: they run as one, sharing a cache and an environment, so they stand beside each other
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: name the others before or after all of them
            [exit 1]

            error: the classic buildpacks apt, ruby are not all required: a later one may detect what an earlier one made, so each must fit
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: leave `optional` out of theirs
            [exit 1]

            error: the classic buildpacks apt, ruby are not the same in each group: a build has one list of them
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: name them in one group alone, or the same ones in each
            [exit 1]

            error: `/workspace` exists, and it is not an earlier build's
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: `--isolation none` is for machines that are thrown away; build without it here
            [exit 1]

            error: another build is running at `/cnb` of this machine
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: try again when it is done: `--isolation none` builds one app at a time
            [exit 3]

            error: the buildpack `slug/python` did not end within 90s
              waiting for the lock of the index
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: it was ended with all that it had started; `--build-timeout` gives it longer
            [exit 51]

            error: the build was interrupted by SIGTERM
            unchanged: no slug was made; the cache of earlier builds is as it was
            [exit 143]

            error: `/layers/a_b/deps/.npmrc` holds the secret NPM_TOKEN
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: the buildpack, or the app's own files, put it there: keep it out of what becomes part of the slug or its cache
            hint: a credential that is needed when the app runs is a config var: `slug config set`
            [exit 3]

            error: could not follow the output of `slug/python`: permission denied
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: this is a fault of the buildpack: its author should know
            [exit 1]

        "#]],
        [
            BuildError::Path(_),
            BuildError::Toml(_),
            BuildError::Store(_),
            BuildError::Archive(_),
            BuildError::Sandbox(_),
            BuildError::Descriptor(_),
            BuildError::Order(_),
            BuildError::NoSource(_),
            BuildError::EmptySource(_),
            BuildError::NoGit { .. },
            BuildError::Git { .. },
            BuildError::TooManyFiles { .. },
            BuildError::BadPattern { .. },
            BuildError::NoSuchBuildpack(_),
            BuildError::BuildpackArchive { .. },
            BuildError::NotABuildpack { .. },
            BuildError::NotTheBuildpack { .. },
            BuildError::NoOrderFile(_),
            BuildError::NothingFits(_),
            BuildError::DetectFailed(_),
            BuildError::Problems(_),
            BuildError::Artifacts { .. },
            BuildError::BuildFailed { .. },
            BuildError::Unmet { .. },
            BuildError::LayerName { .. },
            BuildError::LayerMissing { .. },
            BuildError::Sbom(_),
            BuildError::SbomFolder(_),
            BuildError::Classics { .. },
            BuildError::PathTaken(_),
            BuildError::PathBusy(_),
            BuildError::TimedOut { .. },
            BuildError::Interrupted { .. },
            BuildError::Leaked { .. },
            BuildError::Follow { .. },
        ]
    );
}

#[test]
fn of_processes() {
    let missing = vec![BaseMismatch::Library {
        soname: "libpq.so.5".to_owned(),
        wanted_by: "layers/x/y".to_owned(),
    }];
    check!(
        [
            LaunchError::NoSlug(parsed("v1")),
            LaunchError::NoType {
                slug: digest("a"),
                wanted: parsed("wep"),
                has: vec![parsed("web")]
            },
            LaunchError::NoDefault {
                slug: digest("a"),
                has: Vec::new()
            },
            LaunchError::EmptyCommand(parsed("web")),
            LaunchError::Base {
                slug: digest("a"),
                missing
            },
            LaunchError::Archive(ArchiveError::MissingBlob {
                digest: digest("a")
            }),
            LaunchError::Store(StoreError::BadUid { path: path() }),
            LaunchError::Path(path_error(ErrorKind::NotFound)),
            LaunchError::Sandbox(SandboxError::Prepare("exec.d failed".to_owned())),
            LaunchError::Port(refused()),
            LaunchError::Pipe(refused()),
            LaunchError::Cgroup(slug::sys::cgroup::CgroupError::Shared(path())),
            LaunchError::NotLoaded(parsed("web.1")),
        ],
        expect![[r#"
            error: v1 has no slug yet: it holds config alone
            hint: release a slug: `slug release SLUG`
            [exit 1]

            error: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa has no process type `wep`
            hint: the slug has web
            hint: a command is run so: `slug run -- COMMAND ARG…`
            [exit 2]

            error: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa has no default process
            hint: the slug has none
            [exit 2]

            error: the command of `web` is empty
            hint: correct the Procfile, and build again
            [exit 1]

            error: this host lacks what sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa needs
              `layers/x/y` needs `libpq.so.5`, which neither the slug nor this host has
            hint: install what is missing on this host, or build the slug on a host like this one
            [exit 3]

            error: the blob sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa is missing
            hint: bring the slug again: `slug release app.slug`, or build it: the same source has the same digest
            [exit 3]

            error: `/var/lib/slug/some/file` does not hold a uid from 1900000000 to 1900065535
            hint: `slug verify` names everything in the store that is not as it was written
            [exit 3]

            error: could not write `/var/lib/slug/some/file`: entity not found
            [exit 1]

            error: exec.d failed
            [exit 1]

            error: no port could be had: permission denied
            [exit 1]

            error: could not make what its output goes through: permission denied
            [exit 1]

            error: other processes are in the cgroup `/var/lib/slug/some/file` too
            [exit 1]

            error: the release of web.1 is not loaded
            [exit 1]

        "#]],
        [
            LaunchError::NoSlug(_),
            LaunchError::NoType { .. },
            LaunchError::NoDefault { .. },
            LaunchError::EmptyCommand(_),
            LaunchError::Base { .. },
            LaunchError::Archive(_),
            LaunchError::Store(_),
            LaunchError::Path(_),
            LaunchError::Sandbox(_),
            LaunchError::Port(_),
            LaunchError::Pipe(_),
            LaunchError::Cgroup(_),
            LaunchError::NotLoaded(_),
        ]
    );
    check!(
        [
            RunError::NoRelease(parsed("shop")),
            RunError::Launch(LaunchError::NoSlug(parsed("v1"))),
            RunError::Store(StoreError::BadUid { path: path() }),
            RunError::Io("catch signals", refused()),
        ],
        expect![[r#"
            error: the app `shop` has no release that this host can run
            hint: make one: `slug release --app shop SLUG`
            [exit 1]

            error: v1 has no slug yet: it holds config alone
            hint: release a slug: `slug release SLUG`
            [exit 1]

            error: `/var/lib/slug/some/file` does not hold a uid from 1900000000 to 1900065535
            hint: `slug verify` names everything in the store that is not as it was written
            [exit 3]

            error: could not catch signals: permission denied
            [exit 1]

        "#]],
        [
            RunError::NoRelease(_),
            RunError::Launch(_),
            RunError::Store(_),
            RunError::Io(..)
        ]
    );
}

#[test]
fn of_entering_an_instance() {
    let all = || vec![parsed("web.1"), parsed("worker.1")];
    let not_there = |there| EnterError::NotThere {
        app: parsed("shop"),
        wanted: "web.3".to_owned(),
        there,
    };
    check!(
        [
            not_there(all()),
            not_there(Vec::new()),
            EnterError::Several(parsed("web"), vec![parsed("web.1"), parsed("web.2")]),
            EnterError::Starting(parsed("web.1")),
            EnterError::Ended(parsed("web.1")),
            EnterError::Control(ControlError::Answer("expected value".to_owned())),
            EnterError::Run(RunError::Io("catch signals", refused())),
        ],
        expect![[r#"
            error: shop has no running process `web.3` on this host
            unchanged: the processes run on as before
            hint: these run: web.1, worker.1
            [exit 1]

            error: shop has no running process `web.3` on this host
            unchanged: the processes run on as before
            hint: nothing of shop runs: `slug run` starts a one-off
            [exit 1]

            error: several processes of the type `web` run
            unchanged: the processes run on as before
            hint: name one of web.1, web.2, as in `slug exec web.1 -- sh`
            [exit 2]

            error: `web.1` is starting: there is nothing to enter yet
            unchanged: the processes run on as before
            hint: `slug ps` shows when it is up; `slug logs` says what it waits for
            [exit 1]

            error: `web.1` has just ended
            unchanged: the processes run on as before
            hint: `slug ps` shows what runs now
            [exit 1]

            error: the supervisor's answer was not understood: expected value
            hint: the supervisor may be another version of slug: restart it with this one
            [exit 1]

            error: could not catch signals: permission denied
            [exit 1]

        "#]],
        [
            EnterError::NotThere { .. },
            EnterError::Several(..),
            EnterError::Starting(_),
            EnterError::Ended(_),
            EnterError::Control(_),
            EnterError::Run(_)
        ]
    );
}

#[test]
fn of_the_supervisor() {
    check!(
        [
            ControlError::NotUp(parsed("shop")),
            ControlError::Broken {
                path: path(),
                source: refused()
            },
            ControlError::Answer("expected value".to_owned()),
        ],
        expect![[r#"
            error: no supervisor of `shop` is up on this host
            hint: start one: `slug up --app shop`
            [exit 1]

            error: could not talk to the supervisor over `/var/lib/slug/some/file`: permission denied
            hint: only the user whose supervisor it is may talk to it, and root
            [exit 1]

            error: the supervisor's answer was not understood: expected value
            hint: the supervisor may be another version of slug: restart it with this one
            [exit 1]

        "#]],
        [
            ControlError::NotUp(_),
            ControlError::Broken { .. },
            ControlError::Answer(_)
        ]
    );
    check!(
        [
            StateError::Path(path_error(ErrorKind::NotFound)),
            StateError::Bad {
                path: path(),
                why: "expected value".to_owned()
            }
        ],
        expect![[r#"
            error: could not write `/var/lib/slug/some/file`: entity not found
            [exit 1]

            error: `/var/lib/slug/some/file` is not what slug wrote there: expected value
            hint: remove the file: the formation of slug.toml then holds again
            [exit 3]

        "#]],
        [StateError::Path(_), StateError::Bad { .. }]
    );
    check!(
        [
            BadInherited::Count("many".to_owned()),
            BadInherited::NotOpen {
                count: 2,
                number: 4
            },
        ],
        expect![[r#"
            error: LISTEN_FDS is `many`, not a number from 0 to 64
            unchanged: nothing was started
            hint: let LISTEN_FDS be what the service manager says, or unset it and use `--listen`
            [exit 1]

            error: LISTEN_FDS is 2, and descriptor 4 is not open
            unchanged: nothing was started
            hint: let LISTEN_FDS be what the service manager says, or unset it and use `--listen`
            [exit 1]

        "#]],
        [BadInherited::Count(_), BadInherited::NotOpen { .. }]
    );
    check!(
        [
            RouterError::Listen {
                at: parsed("127.0.0.1:8080"),
                source: ErrorKind::AddrInUse.into()
            },
            RouterError::Inherited {
                name: "shop.socket".to_owned(),
                what: "a socket for datagrams or packets".to_owned()
            },
            RouterError::Start(refused()),
        ],
        expect![[r#"
            error: could not listen at 127.0.0.1:8080: address in use
            unchanged: nothing was started
            hint: another address can be named: `slug up --listen 127.0.0.1:8081`
            [exit 1]

            error: the socket `shop.socket` of LISTEN_FDS is a socket for datagrams or packets, not one that listens for streams
            unchanged: nothing was started
            hint: in the socket unit: `ListenStream=`, and no `Accept=yes`
            [exit 1]

            error: could not start the router: permission denied
            unchanged: nothing was started
            [exit 1]

        "#]],
        [
            RouterError::Listen { .. },
            RouterError::Inherited { .. },
            RouterError::Start(_)
        ]
    );
}

mod start;
mod watch;
