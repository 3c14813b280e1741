//! `--isolation none` where a CI job runs: as root in a container that is refused namespaces.
//!
//! The container is made of a user namespace whose own limits allow no further namespace, and a root in memory. Where
//! the tests may not make one, they say so and check nothing.

use std::fs;
use std::process::Child;

use crate::support::buildpack::{TAKE_ALL, buildpack};
use crate::support::run::Run;
use crate::support::tools;
use crate::support::wait;
use crate::support::world::World;

/// Makes the root, gives up namespaces, and becomes the command: `$1` is the root, `$2` the world.
const BODY: &str = r#"
    set -eu
    root=$1; world=$2; shift 2
    mount -t tmpfs tmpfs "$root"
    for name in usr etc bin sbin lib lib32 lib64 dev proc; do
        if [ -L "/$name" ]; then cp -d "/$name" "$root/$name"
        elif [ -e "/$name" ]; then mkdir "$root/$name"; mount --rbind "/$name" "$root/$name"; fi
    done
    mkdir -p -m 1777 "$root/tmp"; mkdir -p "$root$world" "$root/bin-slug"
    mount --rbind "$world" "$root$world"
    mount --rbind "$(dirname "$SLUG")" "$root/bin-slug"
    echo 0 > /proc/sys/user/max_user_namespaces
    echo 0 > /proc/sys/user/max_mnt_namespaces
    before=$(cd "$root"; echo * | tr ' ' '\n' | sort)
    code=0; chroot "$root" /bin-slug/slug "$@" || code=$?
    after=$(cd "$root"; echo * | tr ' ' '\n' | sort)
    [ "$before" = "$after" ] || echo "LEFT BEHIND: $after" >&2
    exit $code"#;

/// The shell that is executed after its user was mapped has the rights of root; one that was before has none.
const ENTER: &str = r#"read -r go; exec sh -c "$BODY" sh "$@""#;

/// A container that is refused namespaces, and the world in it.
struct Container {
    world: World,
}

impl Container {
    /// None where the tests may not make one.
    fn new() -> Option<Self> {
        let container = Self {
            world: World::new(),
        };
        fs::create_dir(container.world.path("root")).unwrap();
        let run = container.slug(&["--version"]);
        if run.exit() == 0 {
            return Some(container);
        }
        assert!(
            !tools::is_root(),
            "root can make a container: {}",
            run.story()
        );
        tools::skip("no container without namespaces can be made by this user");
        None
    }

    /// Runs `slug` in it; what the build left at the real paths is said as `LEFT BEHIND`.
    fn slug(&self, arguments: &[&str]) -> Run {
        let world = self.world.folder().to_str().unwrap();
        let root = format!("{world}/root");
        let mut words = vec!["-U", "-m", "sh", "-c", ENTER, "sh", &root, world];
        words.extend(arguments);
        let container = self.world.program("unshare", &words);
        let binary = env!("CARGO_BIN_EXE_slug");
        container
            .env("SLUG", binary)
            .env("BODY", BODY)
            .stdin(b"go\n")
            .once_started(admit)
            .run()
    }
}

/// Maps the users of the container, as soon as it is a namespace of its own, and lets it go on.
fn admit(child: &Child) {
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    let theirs = format!("/proc/{}/ns/user", child.id());
    wait::until(wait::LONG, "the container", || {
        let found = fs::read_link(&theirs); // fails once it has ended
        found.map_or(true, |found| found != own).then_some(())
    });
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    let maps = if tools::is_root() {
        ["0 0 4294967294".to_owned(), "0 0 4294967294".to_owned()]
    } else {
        [format!("0 {uid} 1"), format!("0 {gid} 1")]
    };
    for (file, map) in [("uid_map", &maps[0]), ("gid_map", &maps[1])] {
        if file == "gid_map" && !tools::is_root() {
            let _ = fs::write(format!("/proc/{}/setgroups", child.id()), "deny");
        }
        let _ = fs::write(format!("/proc/{}/{file}", child.id()), map); // refused: the container says so
    }
}

const MAKES: &str = r#"
    mkdir -p "$1/deps/bin"; echo "$(pwd) $1 $CNB_PLATFORM_DIR" > "$1/deps/paths"
    printf '#!/bin/sh\necho %s\n' "$1" > "$1/deps/bin/where"; chmod 755 "$1/deps/bin/where"
    printf '[types]\nlaunch = true\ncache = true\n' > "$1/deps.toml"
    echo built > made"#;

#[test]
fn a_container_without_namespaces_builds_the_same_slug() {
    let Some(container) = Container::new() else {
        return;
    };
    let world = &container.world;
    let app = world.app("app", &[("file", "one\n")]);
    let one = buildpack(world, "one", TAKE_ALL, MAKES);
    let (app, one) = (app.to_str().unwrap(), one.to_str().unwrap());
    let typed = ["build", app, "--buildpack", one];
    let with_namespaces = world.slug(&typed).ok();
    container
        .slug(&typed)
        .code(1)
        .says("refuses the namespaces")
        .says("--isolation none");

    let elsewhere = world.path("store-inside");
    let inside = [
        "--isolation",
        "none",
        "--store",
        elsewhere.to_str().unwrap(),
    ];
    let arguments: Vec<&str> = typed.iter().chain(&inside).copied().collect();
    for _ in ["new", "cached"] {
        let run = container.slug(&arguments);
        run.says_not("LEFT BEHIND");
        assert_eq!(run.ok(), with_namespaces);
    }
}

#[test]
fn a_build_that_fails_or_is_cancelled_leaves_nothing_at_the_real_paths() {
    let Some(container) = Container::new() else {
        return;
    };
    let world = &container.world;
    let app = world.app("app", &[("file", "one\n")]);
    let fails = "cat /platform/secrets/TOKEN; mkdir \"$1/x\"; (setsid sleep 1000 &) ; exit 7";
    let fails = buildpack(world, "fails", TAKE_ALL, fails);
    // The parent of the buildpack's parent's… is slug: asked to end by the build itself.
    let cancels =
        "(trap '' TERM; setsid sleep 1000 &); kill -TERM $PPID 2>/dev/null || exit 9; sleep 1000";
    let cancels = buildpack(world, "cancels", TAKE_ALL, cancels);
    let key = world.write("key", "canary-in-a-file");
    let secret = format!("TOKEN=@{}", key.display());
    let uid_of_its_own = tools::is_root();
    for (buildpack, exit) in [(&fails, 51), (&cancels, 143)] {
        // As another user than slug it may not signal slug.
        let exit = if uid_of_its_own { 51 } else { exit };
        let run = container.slug(&[
            "build",
            app.to_str().unwrap(),
            "--isolation",
            "none",
            "--secret",
            &secret,
            "--buildpack",
            buildpack.to_str().unwrap(),
        ]);
        run.code(exit).says_not("LEFT BEHIND").says_not("canary");
        assert_eq!(sleepers(world), 0, "{}", run.story());
        let shared = fs::read_dir("/dev/shm").unwrap();
        let left = shared.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("slug-secrets-")
        });
        assert_eq!(left.count(), 0);
    }
}

/// Processes of this world that outlived their build.
fn sleepers(world: &World) -> usize {
    crate::support::processes::of(world.folder()).len()
}
