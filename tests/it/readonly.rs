//! What a running process can write and see.

use crate::support::world::World;

/// Tries every kind of write in a folder and prints each outcome; then what must not be visible.
const PROBE: &str = r#"
import errno, mmap, os, sys

def outcome(name, write):
    try:
        write()
        print(name, "DONE")
    except OSError as error:
        print(name, errno.errorcode[error.errno])

def mapped(path):
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 1, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as memory:
        memory[0:1] = b"x"

def file_in(folder):
    for parent, _, files in os.walk(folder):
        for name in sorted(files):
            path = os.path.join(parent, name)
            if not os.path.islink(path) and os.path.getsize(path) > 0:
                return path

for folder in sys.argv[1:]:
    file = file_in(folder)
    new = os.path.join(os.path.dirname(file), "new")
    outcome(f"{folder} create", lambda: open(new, "w"))
    outcome(f"{folder} create folder", lambda: os.mkdir(new))
    outcome(f"{folder} append", lambda: open(file, "a"))
    outcome(f"{folder} truncate", lambda: os.truncate(file, 0))
    outcome(f"{folder} rename", lambda: os.rename(file, new))
    outcome(f"{folder} unlink", lambda: os.unlink(file))
    outcome(f"{folder} chmod", lambda: os.chmod(file, 0o777))
    outcome(f"{folder} chown", lambda: os.chown(file, os.getuid(), os.getgid()))
    outcome(f"{folder} utime", lambda: os.utime(file))
    outcome(f"{folder} setxattr", lambda: os.setxattr(file, "user.a", b"b"))
    outcome(f"{folder} hard link", lambda: os.link(file, new))
    outcome(f"{folder} symbolic link", lambda: os.symlink(file, new))
    outcome(f"{folder} mapped write", lambda: mapped(file))
"#;

#[test]
fn every_kind_of_write_to_code_is_refused_by_the_kernel() {
    for world in [World::new(), World::unprivileged()] {
        world.release_real_app("plain");
        let said = world
            .slug(&["run", "--", "python", "-c", PROBE, "/workspace", "/layers"])
            .ok();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 26, "{said}");
        let written: Vec<_> = lines
            .iter()
            .filter(|line| !line.ends_with(" EROFS"))
            .collect();
        assert!(written.is_empty(), "{written:#?}");
    }
}

#[test]
fn scratch_folders_can_be_written_and_are_gone_with_the_process() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let write = "for at in $HOME $TMPDIR /tmp /dev/shm; do echo data > $at/new && echo $at; done";
    let folders = world.slug(&["run", "--", "sh", "-c", write]).ok();
    assert_eq!(folders.lines().count(), 4, "{folders}");
    let look =
        "for at in $HOME $TMPDIR /tmp /dev/shm; do test ! -e $at/new || echo still in $at; done";
    assert_eq!(world.slug(&["run", "--", "sh", "-c", look]).ok(), "");
}

#[test]
fn homes_the_store_and_the_control_socket_are_not_visible() {
    for world in [World::new(), World::unprivileged()] {
        world.slug(&["release", &world.greeter("hello")]).ok();
        let _up = world.up(&[]);
        let sockets = sockets_in(&world.store());
        assert!(!sockets.is_empty(), "the control socket is in the store");
        let mut hidden = vec![world.folder().to_owned(), world.store(), world.path("home")];
        hidden.extend(sockets);
        for path in hidden {
            world
                .slug(&["run", "--", "test", "-e", path.to_str().unwrap()])
                .code(1);
        }
        for folder in ["/root", "/var", "/opt", "/srv", "/run", "$HOME"] {
            let look = format!("ls -A {folder} 2>/dev/null || true");
            assert_eq!(
                world.slug(&["run", "--", "sh", "-c", &look]).ok(),
                "",
                "{folder}"
            );
        }
        let own = world
            .slug(&["run", "--", "sh", "-c", "ls -d /home/* $HOME | sort -u"])
            .ok();
        assert_eq!(
            own.lines().count(),
            1,
            "only the process's own, fresh home: {own}"
        );
    }
}

fn sockets_in(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    use std::os::unix::fs::FileTypeExt as _;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(sockets_in(&entry.path()));
        } else if kind.is_socket() {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_process_has_no_privilege_and_cannot_gain_one() {
    for world in [World::new(), World::unprivileged()] {
        world.slug(&["release", &world.greeter("hello")]).ok();
        let status = world.slug(&["run", "--", "cat", "/proc/self/status"]).ok();
        for line in [
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(status.contains(line), "{line} in\n{status}");
        }
        assert_ne!(world.slug(&["run", "--", "id", "-u"]).ok(), "0");
    }
}

#[test]
fn a_process_sees_none_of_the_others() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let _up = world.up(&[]);
    let numbers = world
        .slug(&["run", "--", "sh", "-c", "echo /proc/[0-9]*"])
        .ok();
    assert!(numbers.split(' ').count() <= 3, "{numbers}");
}
