//! What a sandboxed process sees of files, and what it may change.

use super::*;

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
