//! `kill -9` at every change that a build makes to its cache and to the store:
//! the next build is as if the killed one had never been.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::support::buildpack::{TAKE_ALL, arguments, build, buildpack, layers};
use crate::support::world::World;

/// A cached layer whose content is made of the app's, one that only the cache has, and one that is only launched.
const FOLLOWS: &str = r#"
    for layer in deps pool run; do
        mkdir -p "$1/$layer/sub"
        cmp -s file "$1/$layer/file" || { cp file "$1/$layer/file"; rm -rf "$1/$layer/sub"; mkdir "$1/$layer/sub"; cp file "$1/$layer/sub/$(cat file)"; }
    done
    [ "$(ls "$1/deps/sub")" = "$(cat file)" ] && [ "$(ls "$1/pool/sub")" = "$(cat file)" ]
    printf '[types]\nlaunch = true\ncache = true\n' > "$1/deps.toml"
    printf '[types]\ncache = true\n[metadata]\nis = "%s"\n' "$(cat file)" > "$1/pool.toml"
    printf '[types]\nlaunch = true\n' > "$1/run.toml""#;

/// Tells every change of the folders that a build changes.
struct Changes {
    events: OwnedFd,
    cache: PathBuf,
}

impl Changes {
    fn new(world: &World) -> Self {
        let events = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        let apps = fs::read_dir(world.store().join("cache/build")).unwrap();
        let cache = apps.map(|app| app.unwrap().path()).next().unwrap();
        let changes = Self { events, cache };
        for folder in ["blobs/sha256", "slugs"] {
            changes.watch(&world.store().join(folder));
        }
        changes.watch(&changes.cache);
        changes.watch(&changes.cache.join("roots"));
        changes
    }

    fn watch(&self, folder: &PathBuf) {
        let all = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::MOVE;
        inotify::add_watch(&self.events, folder, all).unwrap();
    }

    /// Kills the child right after the n-th change, from one; false if it ends before.
    fn kill_at(self, child: &mut Child, n: usize) -> bool {
        let pid = Pid::from_child(child);
        let exited = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.events.as_fd(), &mut buffer);
        for _ in 0..n {
            if reader.is_buffer_empty() {
                let mut watched = [self.events.as_fd(), exited.as_fd()]
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
                poll(&mut watched, None).unwrap();
                if !watched[0].revents().contains(PollFlags::IN) {
                    return false;
                }
            }
            reader.next().unwrap();
        }
        child.kill().unwrap();
        true
    }
}

fn world() -> World {
    let world = World::new();
    world.app("app", &[("file", "one")]);
    buildpack(&world, "follows", TAKE_ALL, FOLLOWS);
    world
}

/// The slug of the app as it is, and what became of the layers.
fn built(world: &World) -> (String, Vec<String>) {
    let built = build(world, &["follows"]);
    (built["slug"].to_string(), layers(&built))
}

#[test]
fn a_build_killed_at_any_change_leaves_the_next_one_right() {
    let undisturbed = world();
    let (one, _) = built(&undisturbed);
    undisturbed.write("app/file", "two");
    let (two, _) = built(&undisturbed);
    let world = world();
    assert_eq!(built(&world).0, one);
    // Every second one: what comes between two is killed for by the next, since the build goes on while it is told.
    for n in (1..).step_by(2) {
        assert!(n < 500, "the build never ends");
        world.write("app/file", "two");
        let changes = Changes::new(&world);
        let mut command = world.command(&arguments(&["follows"]));
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = quiet.spawn().unwrap();
        let was_killed = changes.kill_at(&mut child, n);
        let status = child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(9), "{status}");
        let (slug, shown) = built(&world);
        assert_eq!(slug, two, "killed at change {n}: {shown:?}");
        if !was_killed {
            assert!(n > 20, "only {n} changes: nobody watches any more");
            break;
        }
        world.write("app/file", "one");
        let (slug, shown) = built(&world);
        assert_eq!(slug, one, "killed at change {n}: {shown:?}");
    }
    world.slug(&["verify"]).code(0);
    let (_, shown) = built(&world);
    assert_eq!(shown[..2], ["deps: kept", "pool: kept"]);
}
