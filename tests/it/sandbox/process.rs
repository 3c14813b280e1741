//! What a sandboxed process is: its environment, its signals, its end.

use super::*;

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
                "sandbox::process::five_hundred_processes_leak_no_descriptor_and_no_zombie",
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
