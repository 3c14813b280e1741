//! The sandbox, from inside and from outside. Run by root, each test runs once
//! more as an unprivileged user, who gets a user namespace.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use slug::sys::sandbox::{
    self, Child, Exit, Mount, Network, Program, SandboxError, Scope, Spec, Streams, Terminal,
};

/// What root's processes are in these tests.
const UID: u32 = 1_900_000_123;

/// The user that root's tests run a second time as.
const NOBODY: u32 = 65_534;

/// Runs the body, and as root the test once more as an unprivileged user.
fn as_anyone(test: &str, body: fn()) {
    body();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut again = Command::new("/proc/self/exe");
    again
        .args([&format!("sandbox::{test}"), "--exact", "--nocapture"])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/");
    let output = again.output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && words.contains("1 passed"),
        "as an unprivileged user:\n{words}"
    );
}

fn slug() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_slug"))
}

/// A folder that the sandboxed process may write to.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    give(folder.path());
    folder
}

fn give(path: &Path) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(UID), Some(UID)).unwrap();
    }
}

fn spec(argv: &[&str]) -> Spec {
    let env = [
        ("HOME", "/home/slug"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ];
    Spec {
        mounts: vec![Mount::Scratch {
            to: "/home/slug".into(),
        }],
        network: Network::Host,
        uid: UID,
        program: Program {
            argv: argv.iter().map(Into::into).collect(),
            env: env.map(|(key, value)| (key.into(), value.into())).into(),
            cwd: "/".into(),
        },
        terminal: Terminal::default(),
        prepare: None,
    }
}

fn bind(from: &Path, to: &str, read_only: bool) -> Mount {
    Mount::Bind {
        from: from.to_owned(),
        to: to.into(),
        read_only,
    }
}

/// A running process and what it says on standard output and error together.
struct Running {
    child: Child,
    output: fs::File,
}

fn start(spec: &Spec) -> Result<Running, SandboxError> {
    let (output, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let stdin: OwnedFd = fs::File::open("/dev/null").unwrap().into();
    let stderr = writer.try_clone().unwrap();
    let mut child = sandbox::launch(
        slug(),
        spec,
        Streams {
            stdin,
            stdout: writer,
            stderr,
        },
    )?;
    child.started()?;
    Ok(Running {
        child,
        output: output.into(),
    })
}

impl Running {
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.output.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    fn end(mut self) -> (String, Exit) {
        let mut words = String::new();
        self.output.read_to_string(&mut words).unwrap();
        (words, self.child.wait().unwrap())
    }
}

fn run(spec: &Spec) -> (String, Exit) {
    start(spec).unwrap().end()
}

/// What a shell script says, which must succeed.
fn sh(mounts: Vec<Mount>, script: &str) -> String {
    let mut spec = spec(&["sh", "-c", script]);
    spec.mounts.extend(mounts);
    let (words, exit) = run(&spec);
    assert_eq!(exit, Exit::Code(0), "{words}");
    words
}

/// Every way to change a file or a folder, each with the name of the error that it ends in.
const CHANGES: &str = r#"
import ctypes, errno, mmap, os, sys
top = sys.argv[1]
at = lambda name: os.path.join(top, name)
libc = ctypes.CDLL(None, use_errno=True)
def setxattr(path):
    if libc.setxattr(path.encode(), b"user.x", b"1", 1, 0) != 0:
        raise OSError(ctypes.get_errno(), "")
def shared():
    fd = os.open(at("file"), os.O_RDWR)
    mmap.mmap(fd, 1, mmap.MAP_SHARED, mmap.PROT_WRITE)[0] = 1
changes = dict(
    create=lambda: os.open(at("new"), os.O_CREAT | os.O_WRONLY),
    append=lambda: os.open(at("file"), os.O_APPEND | os.O_WRONLY),
    truncate=lambda: os.truncate(at("file"), 0),
    rename=lambda: os.rename(at("file"), at("other")),
    unlink=lambda: os.unlink(at("file")),
    mkdir=lambda: os.mkdir(at("folder")),
    symlink=lambda: os.symlink("x", at("link")),
    chmod=lambda: os.chmod(at("file"), 0o600),
    utime=lambda: os.utime(at("file")),
    setxattr=lambda: setxattr(at("file")),
    hard_link=lambda: os.link(at("file"), at("again")),
    shared_mapping=shared,
)
for name, change in changes.items():
    try:
        change()
        print(name, "done")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
"#;

fn changes_in(mounts: Vec<Mount>, top: &str) -> Vec<String> {
    let mut spec = spec(&["python3", "-I", "-c", CHANGES, top]);
    spec.mounts.extend(mounts);
    let (words, exit) = run(&spec);
    assert_eq!(
        (exit, words.lines().count()),
        (Exit::Code(0), 12),
        "{words}"
    );
    words.lines().map(str::to_owned).collect()
}

#[test]
fn a_change_under_a_read_only_bind_fails_with_erofs() {
    as_anyone("a_change_under_a_read_only_bind_fails_with_erofs", || {
        let code = folder();
        fs::write(code.path().join("file"), "text").unwrap();
        give(&code.path().join("file"));
        for change in changes_in(vec![bind(code.path(), "/workspace", true)], "/workspace") {
            assert!(change.ends_with(" EROFS"), "{change}");
        }
        assert_eq!(
            fs::read_to_string(code.path().join("file")).unwrap(),
            "text"
        );
    });
}

#[test]
fn a_change_under_a_writable_bind_is_done_on_the_host() {
    as_anyone("a_change_under_a_writable_bind_is_done_on_the_host", || {
        let data = folder();
        let script = "echo text > /data/file; mkdir /data/sub; mv /data/file /data/sub; chmod 640 /data/sub/file";
        sh(vec![bind(data.path(), "/data", false)], script);
        let file = data.path().join("sub/file");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs::read_to_string(file).unwrap(), "text\n");
    });
}

#[test]
fn a_mount_below_a_bound_folder_is_read_only_too() {
    as_anyone("a_mount_below_a_bound_folder_is_read_only_too", || {
        let script = "for at in / /usr /etc /dev /proc/sys/kernel/hostname /etc/hosts; do \
            if [ -d $at ]; then touch $at/new; else echo x > $at; fi; done 2>&1 | grep -vE 'Read-only|Permission denied'; true";
        assert_eq!(sh(Vec::new(), script), "");
    });
}

#[test]
fn only_the_base_of_the_host_is_visible() {
    as_anyone("only_the_base_of_the_host_is_visible", || {
        let seen = sh(
            Vec::new(),
            "ls -A / | tr '\\n' ' '; ls -A /home /dev; ls /etc | grep -cE 'shadow|ssh|machine-id'; true",
        );
        let top: Vec<&str> = seen.lines().next().unwrap().split(' ').collect();
        for hidden in [
            "root", "var", "opt", "srv", "run", "sys", "mnt", "boot", "media",
        ] {
            assert!(!top.contains(&hidden), "/{hidden} is visible: {seen}");
        }
        assert!(seen.contains("/home:\nslug\n"), "{seen}");
        let devices =
            "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
        assert!(seen.contains(&format!("/dev:\n{devices}")), "{seen}");
        assert!(seen.ends_with("\n0\n"), "{seen}");
    });
}

#[test]
fn home_tmp_and_shared_memory_are_fresh_and_writable() {
    as_anyone("home_tmp_and_shared_memory_are_fresh_and_writable", || {
        let script =
            "for at in $HOME /tmp /dev/shm; do ls -A $at; echo x > $at/file && cat $at/file; done";
        assert_eq!(sh(Vec::new(), script), "x\nx\nx\n");
        assert_eq!(
            sh(Vec::new(), script),
            "x\nx\nx\n",
            "a second sandbox sees the first one's files"
        );
    });
}

#[test]
fn the_process_knows_its_own_name_and_no_other_account() {
    as_anyone(
        "the_process_knows_its_own_name_and_no_other_account",
        || {
            let accounts = "whoami; cut -d: -f1 /etc/passwd | sort | tr '\\n' ' '; cd; pwd; cut -d: -f1 /etc/group | sort | tr '\\n' ' '";
            assert_eq!(
                sh(Vec::new(), accounts),
                "slug\nnobody root slug /home/slug\nnogroup root slug "
            );
        },
    );
}

#[test]
fn the_process_has_no_capability_and_gains_none() {
    as_anyone("the_process_has_no_capability_and_gains_none", || {
        let status = sh(
            Vec::new(),
            "grep -E '^(Cap|NoNewPrivs|Uid|Groups)' /proc/self/status",
        );
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(
                status.contains(&format!("{set}:\t0000000000000000\n")),
                "{status}"
            );
        }
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        if rustix::process::geteuid().is_root() {
            assert!(
                status.contains(&format!("Uid:\t{UID}\t{UID}\t{UID}\t{UID}\n")),
                "{status}"
            );
            assert!(status.contains("Groups:\t \n"), "{status}");
        }
    });
}

#[test]
fn a_namespace_made_inside_does_not_make_code_writable() {
    as_anyone(
        "a_namespace_made_inside_does_not_make_code_writable",
        || {
            let code = folder();
            let script = "unshare --user --map-root-user --mount sh -c 'mount -o remount,bind,rw /workspace; touch /workspace/new' 2>&1; ls -A /workspace";
            let words = sh(vec![bind(code.path(), "/workspace", true)], script);
            assert!(!words.lines().any(|line| line == "new"), "{words}");
            assert_eq!(fs::read_dir(code.path()).unwrap().count(), 0);
        },
    );
}

#[test]
fn pseudo_terminals_and_the_links_of_dev_work() {
    as_anyone("pseudo_terminals_and_the_links_of_dev_work", || {
        let script = "python3 -I -c 'import os; print(os.ttyname(os.openpty()[1]))'; echo out > /dev/stdout; \
            echo err > /dev/stderr; echo x > /dev/null; head -c 2 /dev/zero | wc -c; echo fd | cat /dev/fd/0";
        assert_eq!(sh(Vec::new(), script), "/dev/pts/0\nout\nerr\n2\nfd\n");
    });
}

#[test]
fn no_network_is_loopback_alone() {
    as_anyone("no_network_is_loopback_alone", || {
        let mut spec = spec(&[
            "sh",
            "-c",
            "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; \
            python3 -I -c 'import socket; s = socket.create_server((\"127.0.0.1\", 0)); socket.create_connection(s.getsockname()); print(\"ok\")'",
        ]);
        spec.network = Network::None;
        assert_eq!(run(&spec), ("lo\nok\n".to_owned(), Exit::Code(0)));
    });
}

#[test]
fn a_file_of_the_spec_is_there_read_only_also_over_one_of_a_bind() {
    as_anyone(
        "a_file_of_the_spec_is_there_read_only_also_over_one_of_a_bind",
        || {
            let code = folder();
            fs::write(code.path().join("a"), "host").unwrap();
            let file = |to: &str| Mount::File {
                to: to.into(),
                bytes: b"spec".to_vec(),
            };
            let mounts = vec![
                bind(code.path(), "/workspace", true),
                file("/workspace/a"),
                file("/platform/env/KEY"),
            ];
            let script = "cat /workspace/a /platform/env/KEY; echo x 2>/dev/null > /platform/env/KEY || echo x 2>/dev/null > /workspace/a || echo ' kept'; ls -A / | grep staged; true";
            assert_eq!(sh(mounts, script), "specspec kept\n");
            assert_eq!(fs::read_to_string(code.path().join("a")).unwrap(), "host");
        },
    );
}

#[test]
fn a_link_in_a_bind_does_not_lead_a_mount_to_the_host() {
    as_anyone("a_link_in_a_bind_does_not_lead_a_mount_to_the_host", || {
        let code = folder();
        let outside = folder();
        std::os::unix::fs::symlink(outside.path(), code.path().join("link")).unwrap();
        let mut spec = spec(&["true"]);
        spec.mounts.push(bind(code.path(), "/workspace", false));
        spec.mounts.push(Mount::File {
            to: "/workspace/link/file".into(),
            bytes: b"x".to_vec(),
        });
        // The link leads to a place inside, which does not exist and cannot be made through a link.
        assert!(matches!(start(&spec), Err(SandboxError::Setup { .. })));
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    });
}

/// `count` folders, of which the n-th has a file `n`, and each a file `who`.
fn layers(count: usize) -> (tempfile::TempDir, Vec<PathBuf>) {
    let top = folder();
    let folders: Vec<PathBuf> = (0..count)
        .map(|n| top.path().join(format!("a,long:name\\of a layer {n:04}")))
        .collect();
    for (n, folder) in folders.iter().enumerate() {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join(n.to_string()), "").unwrap();
        fs::write(folder.join("who"), n.to_string()).unwrap();
    }
    (top, folders)
}

#[test]
fn an_overlay_takes_two_hundred_lower_folders_of_any_name() {
    as_anyone(
        "an_overlay_takes_two_hundred_lower_folders_of_any_name",
        || {
            let (_top, lower) = layers(200);
            let overlay = Mount::Overlay {
                lower,
                upper: None,
                to: "/layers/x".into(),
            };
            let script = "ls /layers/x | wc -l; cat /layers/x/who; touch /layers/x/new 2>&1 | grep -c 'Read-only'";
            assert_eq!(sh(vec![overlay], script), "201\n01\n");
        },
    );
}

#[test]
fn an_overlay_writes_to_its_upper_folder_alone() {
    as_anyone("an_overlay_writes_to_its_upper_folder_alone", || {
        let (top, lower) = layers(3);
        let [upper, work] = ["upper", "work"].map(|name| top.path().join(name));
        for path in [&upper, &work] {
            fs::create_dir(path).unwrap();
            give(path);
        }
        let overlay = Mount::Overlay {
            lower: lower.clone(),
            upper: Some((upper.clone(), work)),
            to: "/layers/x".into(),
        };
        let script = "cd /layers/x && rm 1 && mkdir new && echo text > new/file && ls && rm -r new && mkdir -p new";
        assert_eq!(sh(vec![overlay], script), "0\n2\nnew\nwho\n");
        assert!(lower[1].join("1").exists() && upper.join("new").is_dir());
        // In an overlay on top of what was written, the removal still holds.
        let again = Mount::Overlay {
            lower: [vec![upper], lower].concat(),
            upper: None,
            to: "/layers/x".into(),
        };
        assert_eq!(sh(vec![again], "ls /layers/x"), "0\n2\nnew\nwho\n");
    });
}

#[test]
fn an_overlay_of_one_folder_is_that_folder() {
    as_anyone("an_overlay_of_one_folder_is_that_folder", || {
        let (_top, lower) = layers(1);
        let upper = folder();
        let mounts = vec![
            Mount::Overlay {
                lower,
                upper: None,
                to: "/a".into(),
            },
            Mount::Overlay {
                lower: Vec::new(),
                upper: Some((upper.path().into(), upper.path().into())),
                to: "/b".into(),
            },
            Mount::Overlay {
                lower: Vec::new(),
                upper: None,
                to: "/c".into(),
            },
        ];
        assert_eq!(
            sh(
                mounts,
                "cat /a/who; touch /b/made; ls -A /c; touch /a/x /c/x 2>&1 | grep -c Read-only"
            ),
            "02\n"
        );
        assert!(upper.path().join("made").exists());
    });
}

#[test]
fn the_environment_is_exactly_the_given_one() {
    as_anyone("the_environment_is_exactly_the_given_one", || {
        let mut spec = spec(&["env"]);
        spec.program.env = BTreeMap::from(
            [("PATH", "/usr/bin:/bin"), ("B", "1\n2"), ("A", "")]
                .map(|(k, v)| (k.into(), v.into())),
        );
        assert_eq!(
            run(&spec),
            ("A=\nB=1\n2\nPATH=/usr/bin:/bin\n".to_owned(), Exit::Code(0))
        );
    });
}

#[test]
fn descriptors_umask_and_limits_are_set_not_inherited() {
    as_anyone("descriptors_umask_and_limits_are_set_not_inherited", || {
        let leaked = fs::File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
        let script = "ls /proc/self/fd | grep -v '^3$' | tr '\\n' ' '; umask; ulimit -c; ulimit -Hc; ulimit -t; grep -c . /proc/self/environ";
        let words = sh(Vec::new(), script);
        drop(leaked);
        assert!(
            words.starts_with("0 1 2 0022\n0\n0\nunlimited\n"),
            "{words}"
        );
    });
}

#[test]
fn ignored_and_blocked_signals_are_not_inherited() {
    as_anyone("ignored_and_blocked_signals_are_not_inherited", || {
        // The shim is started by a shell that ignores what nohup and some CI systems ignore.
        let wrapper = folder();
        let path = wrapper.path().join("ignoring");
        fs::write(&path, format!("#!/bin/sh\ntrap '' HUP INT QUIT TERM USR1 PIPE TSTP\nexec perl -e '$p = shift; exec {{$p}} @ARGV' {} slug-shim --sandbox-shim\n", slug().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(wrapper.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (output, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let stdin = fs::File::open("/dev/null").unwrap().into();
        let stderr = writer.try_clone().unwrap();
        let spec = spec(&["cat", "/proc/self/status"]);
        let child = sandbox::launch(
            &path,
            &spec,
            Streams {
                stdin,
                stdout: writer,
                stderr,
            },
        )
        .unwrap();
        let (words, exit) = Running {
            child,
            output: output.into(),
        }
        .end();
        let none = "0000000000000000";
        assert_eq!(exit, Exit::Code(0));
        assert!(
            words.contains(&format!(
                "SigBlk:\t{none}\nSigIgn:\t{none}\nSigCgt:\t{none}\n"
            )),
            "{words}"
        );
    });
}

#[test]
fn the_program_is_no_first_process_and_leads_a_session() {
    as_anyone(
        "the_program_is_no_first_process_and_leads_a_session",
        || {
            let words = sh(
                Vec::new(),
                "echo $$ $(cut -d' ' -f5,6,7 /proc/$$/stat); ls /proc | grep -c '^[0-9]'; cat /proc/1/comm",
            );
            assert!(words.starts_with("2 2 2 0\n"), "{words}");
            assert!(words.ends_with("slug-init\n"), "{words}");
        },
    );
}

#[test]
fn the_memory_and_the_environment_of_the_init_are_closed_to_the_program() {
    as_anyone(
        "the_memory_and_the_environment_of_the_init_are_closed_to_the_program",
        || {
            let script = "for file in mem environ maps fd root; do ls /proc/1/$file/ >/dev/null 2>&1 || head -c 1 /proc/1/$file >/dev/null 2>&1; done && echo open; kill -9 1; kill -STOP 1; echo here";
            assert_eq!(sh(Vec::new(), script), "here\n");
        },
    );
}

#[test]
fn exit_codes_and_signals_are_told_exactly() {
    as_anyone("exit_codes_and_signals_are_told_exactly", || {
        for (script, exit) in [
            ("exit 0", Exit::Code(0)),
            ("exit 137", Exit::Code(137)),
            ("exit 255", Exit::Code(255)),
            ("kill -TERM $$", Exit::Signal(15)),
            ("kill -KILL $$", Exit::Signal(9)),
            ("kill -SEGV $$", Exit::Signal(11)),
        ] {
            assert_eq!(
                run(&spec(&["sh", "-c", script])),
                (String::new(), exit),
                "{script}"
            );
        }
    });
}

#[test]
fn what_cannot_be_executed_is_told_from_what_is_not_there() {
    as_anyone(
        "what_cannot_be_executed_is_told_from_what_is_not_there",
        || {
            let code = folder();
            let make = |name: &str, text: &str, mode| {
                fs::write(code.path().join(name), text).unwrap();
                fs::set_permissions(code.path().join(name), fs::Permissions::from_mode(mode))
                    .unwrap();
            };
            make("plain", "text", 0o644);
            make("noise", "text", 0o755);
            make("orphan", "#!/no/such/python -I\n", 0o755);
            let check = |program: &str| {
                let mut spec = spec(&[program]);
                spec.mounts.push(bind(code.path(), "/workspace", true));
                spec.program
                    .env
                    .insert("PATH".into(), "/workspace:/usr/bin".into());
                start(&spec).err().unwrap().to_string()
            };
            assert_eq!(check("gone"), "`gone` was not found");
            assert_eq!(check("/workspace/gone"), "`/workspace/gone` was not found");
            assert_eq!(check(""), "`` was not found");
            assert_eq!(
                check("plain"),
                "`/workspace/plain` cannot be executed: Permission denied (os error 13)"
            );
            assert_eq!(
                check("/workspace"),
                "`/workspace` cannot be executed: Permission denied (os error 13)"
            );
            assert_eq!(
                check("noise"),
                "`/workspace/noise` cannot be executed: Exec format error (os error 8)"
            );
            assert_eq!(
                check("orphan"),
                "`/workspace/orphan` needs `/no/such/python`, which was not found"
            );
        },
    );
}

#[test]
fn a_step_that_fails_is_named() {
    as_anyone("a_step_that_fails_is_named", || {
        let mut missing = spec(&["true"]);
        missing
            .mounts
            .push(bind(Path::new("/no/such/folder"), "/x", true));
        let error = start(&missing).err().unwrap().to_string();
        assert_eq!(
            error,
            "could not set up the sandbox: bind `/no/such/folder` at `/x`: No such file or directory (os error 2)"
        );
        let mut nowhere = spec(&["true"]);
        nowhere.program.cwd = "/no/such".into();
        let error = start(&nowhere).err().unwrap().to_string();
        assert_eq!(
            error,
            "could not set up the sandbox: enter the folder `/no/such`: No such file or directory (os error 2)"
        );
    });
}

#[test]
fn a_program_that_is_no_shim_is_told_as_such() {
    as_anyone("a_program_that_is_no_shim_is_told_as_such", || {
        let null = || {
            OwnedFd::from(
                fs::File::options()
                    .read(true)
                    .write(true)
                    .open("/dev/null")
                    .unwrap(),
            )
        };
        for shim in ["/bin/false", "/no/such/shim", "/proc/self/exe"] {
            let streams = Streams {
                stdin: null(),
                stdout: null(),
                stderr: null(),
            };
            let error = sandbox::launch(Path::new(shim), &spec(&["true"]), streams)
                .err()
                .unwrap();
            assert!(
                error
                    .to_string()
                    .contains(&format!("start the shim `{shim}`")),
                "{error}"
            );
        }
    });
}

#[test]
fn a_signal_reaches_the_leader_or_all() {
    as_anyone("a_signal_reaches_the_leader_or_all", || {
        let script = "trap 'echo leader; exit 3' TERM; (trap 'echo child' TERM; echo up; sleep 60 & wait; sleep 60 & wait) & sleep 60 & wait; wait";
        let mut running = start(&spec(&["sh", "-c", script])).unwrap();
        assert_eq!(running.line(), "up");
        running.child.signal(libc::SIGTERM, Scope::Leader);
        assert_eq!(running.end(), ("leader\n".to_owned(), Exit::Code(3)));
        let script = "trap : TERM; (trap 'echo child; exit' TERM; echo up; while :; do sleep 60 & wait; done) & wait; wait; exit 4";
        let mut running = start(&spec(&["sh", "-c", script])).unwrap();
        assert_eq!(running.line(), "up");
        running.child.signal(libc::SIGTERM, Scope::All);
        assert_eq!(running.end(), ("child\n".to_owned(), Exit::Code(4)));
    });
}

#[test]
fn a_signal_to_what_has_ended_is_no_error() {
    as_anyone("a_signal_to_what_has_ended_is_no_error", || {
        let mut running = start(&spec(&["true"])).unwrap();
        assert_eq!(running.child.wait().unwrap(), Exit::Code(0));
        running.child.signal(libc::SIGTERM, Scope::All);
        running.child.kill();
        assert_eq!(running.child.wait().unwrap(), Exit::Code(0));
        assert_eq!(running.child.try_wait().unwrap(), Some(Exit::Code(0)));
    });
}

/// A grandchild in a session of its own, which says `up` and holds the output open.
const ESCAPING: &str = "setsid sh -c 'trap \"\" HUP TERM INT; echo up; exec sleep 1000' & ";

#[test]
fn an_escaped_grandchild_is_dead_once_the_leader_ended() {
    as_anyone(
        "an_escaped_grandchild_is_dead_once_the_leader_ended",
        || {
            let mut running = start(&spec(&[
                "sh",
                "-c",
                &format!("{ESCAPING} read line; exit 5"),
            ]))
            .unwrap();
            // The end of the output is the death of the last who holds it.
            assert_eq!(running.child.wait().unwrap(), Exit::Code(5));
            let mut rest = String::new();
            running.output.read_to_string(&mut rest).unwrap();
        },
    );
}

#[test]
fn killing_a_sandbox_leaves_nothing() {
    as_anyone("killing_a_sandbox_leaves_nothing", || {
        let script = format!("{ESCAPING} sleep 1000");
        let mut running = start(&spec(&["sh", "-c", &script])).unwrap();
        assert_eq!(running.line(), "up");
        assert_eq!(running.child.try_wait().unwrap(), None);
        running.child.kill();
        assert_eq!(running.end(), (String::new(), Exit::Signal(9)));
        let mut running = start(&spec(&["sh", "-c", &script])).unwrap();
        assert_eq!(running.line(), "up");
        drop(running.child);
        assert_eq!(running.output.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn the_descriptor_of_the_end_is_readable_at_the_end() {
    as_anyone("the_descriptor_of_the_end_is_readable_at_the_end", || {
        let running = start(&spec(&["sh", "-c", "exit 7"])).unwrap();
        let mut child = running.child;
        let mut watched = [rustix::event::PollFd::from_borrowed_fd(
            child.exited_fd(),
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut watched, None).unwrap();
        assert_eq!(child.try_wait().unwrap(), Some(Exit::Code(7)));
    });
}

#[test]
fn a_reactor_learns_the_start_without_blocking() {
    as_anyone("a_reactor_learns_the_start_without_blocking", || {
        let null = || {
            OwnedFd::from(
                fs::File::options()
                    .read(true)
                    .write(true)
                    .open("/dev/null")
                    .unwrap(),
            )
        };
        let streams = Streams {
            stdin: null(),
            stdout: null(),
            stderr: null(),
        };
        let mut child = sandbox::launch(slug(), &spec(&["gone"]), streams).unwrap();
        let error = loop {
            match child.try_started() {
                Ok(true) => panic!("it started"),
                Ok(false) => {
                    let mut watched = [rustix::event::PollFd::from_borrowed_fd(
                        child.report_fd(),
                        rustix::event::PollFlags::IN,
                    )];
                    rustix::event::poll(&mut watched, None).unwrap();
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(error, SandboxError::NotFound { .. }));
    });
}

#[test]
fn zombies_of_orphans_are_reaped() {
    as_anyone("zombies_of_orphans_are_reaped", || {
        let script = "for n in 1 2 3 4 5 6 7 8 9; do (sh -c 'exit 0' & ) ; done; \
            while grep -ls '^State:.Z' /proc/[0-9]*/status; do :; done; echo clean";
        assert!(sh(Vec::new(), script).ends_with("clean\n"));
    });
}

#[test]
fn five_hundred_processes_leak_no_descriptor_and_no_zombie() {
    as_anyone(
        "five_hundred_processes_leak_no_descriptor_and_no_zombie",
        || {
            // In a process of its own: other tests open and close descriptors meanwhile.
            let count = || fs::read_dir("/proc/self/fd").unwrap().count();
            if std::env::args().any(|word| word == "--test-threads=1") {
                run(&spec(&["true"]));
                let before = count();
                for _ in 0..500 {
                    assert_eq!(run(&spec(&["true"])).1, Exit::Code(0));
                }
                assert_eq!(count(), before);
                assert!(matches!(
                    rustix::process::wait(rustix::process::WaitOptions::NOHANG),
                    Err(rustix::io::Errno::CHILD)
                ));
                return;
            }
            let mut alone = Command::new("/proc/self/exe");
            alone.args([
                "sandbox::five_hundred_processes_leak_no_descriptor_and_no_zombie",
                "--exact",
                "--test-threads=1",
            ]);
            let output = alone.output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
        },
    );
}

#[test]
fn threads_that_spawn_at_once_hold_no_lifeline_of_one_another() {
    as_anyone(
        "threads_that_spawn_at_once_hold_no_lifeline_of_one_another",
        || {
            let spawn = || {
                for _ in 0..20 {
                    let mut running =
                        start(&spec(&["sh", "-c", "echo up; exec sleep 1000"])).unwrap();
                    assert_eq!(running.line(), "up");
                    // Were the lifeline held by another, this would wait for ever.
                    drop(running);
                }
            };
            std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(spawn))));
        },
    );
}

#[test]
fn a_secret_of_the_environment_stands_in_no_argv_and_no_other_environment() {
    as_anyone(
        "a_secret_of_the_environment_stands_in_no_argv_and_no_other_environment",
        || {
            let mut spec = spec(&["sh", "-c", "echo up; exec sleep 1000"]);
            spec.program
                .env
                .insert("SECRET".into(), "canary-7461".into());
            let mut running = start(&spec).unwrap();
            assert_eq!(running.line(), "up");
            let init = PathBuf::from(format!("/proc/{}", running.child.pid()));
            let read = |name: &str| {
                fs::read(init.join(name)).map_or_else(
                    |_| String::new(),
                    |bytes| String::from_utf8_lossy(&bytes).into_owned(),
                )
            };
            assert_eq!(read("environ"), "");
            assert_eq!(read("cmdline"), "slug-shim\0--sandbox-shim\0");
        },
    );
}

/// A pseudo-terminal: the side of whoever types, and the side of the program.
fn pseudo_terminal() -> (fs::File, OwnedFd) {
    use rustix::pty::OpenptFlags;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let keyboard = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&keyboard).unwrap();
    rustix::pty::unlockpt(&keyboard).unwrap();
    let name = rustix::pty::ptsname(&keyboard, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let terminal = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
    (keyboard.into(), terminal)
}

/// Says whether the program is in the foreground of the terminal, then waits.
const FOREGROUND: &str = "import os, sys, time; sys.stdout.write('foreground %s\\n' % (os.tcgetpgrp(0) == os.getpgrp())); sys.stdout.flush(); open('/dev/tty').close(); time.sleep(1000)";

fn until(keyboard: &mut fs::File, words: &str) {
    let mut seen = String::new();
    while !seen.contains(words) {
        let mut bytes = [0; 256];
        let count = keyboard.read(&mut bytes).unwrap();
        seen += &String::from_utf8_lossy(&bytes[..count]);
    }
}

#[test]
fn the_terminal_of_a_sandbox_has_a_name_inside_and_takes_ctrl_c() {
    as_anyone(
        "the_terminal_of_a_sandbox_has_a_name_inside_and_takes_ctrl_c",
        || {
            let (_keyboard, terminal) = pseudo_terminal();
            let size = rustix::termios::Winsize {
                ws_row: 33,
                ws_col: 77,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            rustix::termios::tcsetwinsize(&terminal, size).unwrap();
            let script =
                "tty; stty size; exec 2>&1; python3 -I -c \"$0\"; echo $?; exec sleep 1000";
            let mut spec = spec(&["sh", "-c", script, FOREGROUND]);
            spec.terminal = Terminal {
                stdin: true,
                stdout: true,
                stderr: false,
            };
            let copy = || terminal.try_clone().unwrap();
            let streams = Streams {
                stdin: copy(),
                stdout: copy(),
                stderr: copy(),
            };
            let mut child = sandbox::launch(slug(), &spec, streams).unwrap();
            child.started().unwrap();
            let mut keyboard = fs::File::from(child.take_terminal().unwrap());
            until(&mut keyboard, "/dev/pts/0\r\n33 77\r\n");
            until(&mut keyboard, "foreground True");
            keyboard.write_all(b"\x1a\x03").unwrap();
            until(&mut keyboard, "130\r\n");
            keyboard.write_all(b"\x1c").unwrap();
            assert_eq!(child.wait().unwrap(), Exit::Signal(libc::SIGQUIT));
        },
    );
}

#[test]
fn a_program_cannot_type_into_the_terminal_of_its_caller() {
    as_anyone(
        "a_program_cannot_type_into_the_terminal_of_its_caller",
        || {
            let (_keyboard, terminal) = pseudo_terminal();
            let push = "import fcntl, termios\nfor fd in 0, 1, 2:\n try: fcntl.ioctl(fd, termios.TIOCSTI, b'x'); print('typed')\n except OSError as error: print(error.strerror, flush=True)\n";
            let (output, writer) =
                rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            let streams = Streams {
                stdin: terminal.try_clone().unwrap(),
                stdout: writer,
                stderr: terminal,
            };
            let mut child =
                sandbox::launch(slug(), &spec(&["python3", "-I", "-c", push]), streams).unwrap();
            child.started().unwrap();
            let words = std::io::read_to_string(fs::File::from(output)).unwrap();
            assert_eq!(child.wait().unwrap(), Exit::Code(0), "{words}");
            assert!(!words.contains("typed"), "{words}");
        },
    );
}

#[test]
#[ignore = "the next test runs it, where namespaces are refused"]
fn where_namespaces_are_refused() {
    let error = start(&spec(&["true"])).err().unwrap();
    let SandboxError::Refused {
        call,
        source,
        facts,
    } = error
    else {
        panic!("not a refusal: {error}");
    };
    assert_eq!(
        (call.as_str(), source.raw_os_error()),
        ("clone", Some(libc::ENOSPC))
    );
    assert!(facts.root);
}

#[test]
fn refused_namespaces_are_told_with_the_call_and_the_facts() {
    as_anyone(
        "refused_namespaces_are_told_with_the_call_and_the_facts",
        || {
            let script = "echo 0 > /proc/sys/user/max_mnt_namespaces && exec \"$0\" --exact sandbox::where_namespaces_are_refused --ignored";
            let exe = fs::read_link("/proc/self/exe").unwrap();
            let mut inner = Command::new("unshare");
            inner
                .args(["--user", "--map-root-user", "sh", "-c", script])
                .arg(exe);
            let output = inner.output().unwrap();
            let words =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && words.contains("1 passed"),
                "{words}"
            );
        },
    );
}

#[test]
fn roots_own_uid_is_none_for_a_sandbox() {
    if !rustix::process::geteuid().is_root() {
        return; // an unprivileged caller's process keeps the caller's
    }
    for uid in [0, u32::MAX] {
        let spec = Spec {
            uid,
            ..spec(&["true"])
        };
        let error = start(&spec).err().unwrap().to_string();
        assert_eq!(
            error,
            format!("could not set up the sandbox: choose a uid: {uid} is not a uid for a sandbox")
        );
    }
}
