//! Environments as lifecycle makes them: the cases of its `env/env_test.go` and of
//! launching in `launch/launcher_test.go`, as data.

use super::*;

/// One case: its line, the folders and files (`-> ` is a link, a name ending in `/` a folder), the variables before and after.
struct Case {
    line: u32,
    files: &'static [(&'static str, &'static str)],
    before: &'static [(&'static str, &'static str)],
    after: &'static [(&'static str, &'static str)],
}

/// A folder of these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.ends_with('/') {
            std::fs::create_dir_all(&path).unwrap();
        } else if let Some(target) = value.strip_prefix("-> ") {
            std::os::unix::fs::symlink(target, &path).unwrap();
        } else {
            crate::sys::fs::write_atomic(&path, value.as_bytes(), 0o600).unwrap();
        }
    }
    folder
}

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn check(cases: &[Case], file: &str, change: impl Fn(&Path, &mut Env)) {
    for case in cases {
        let folder = folder(case.files);
        let mut actual = env(case.before);
        change(folder.path(), &mut actual);
        assert_eq!(actual, env(case.after), "{file}:{}", case.line);
    }
}

const ROOT_FOLDERS: &[Case] = &[
    Case {
        line: 53,
        files: &[("bin/", ""), ("lib/", "")],
        before: &[
            ("PATH", "some"),
            ("LD_LIBRARY_PATH", "some-ld"),
            ("LIBRARY_PATH", "some-library"),
        ],
        after: &[
            ("LD_LIBRARY_PATH", "/l/lib:some-ld"),
            ("LIBRARY_PATH", "/l/lib:some-library"),
            ("PATH", "/l/bin:some"),
        ],
    },
    Case {
        line: 80,
        files: &[("bin/", ""), ("lib/", "")],
        before: &[],
        after: &[
            ("LD_LIBRARY_PATH", "/l/lib"),
            ("LIBRARY_PATH", "/l/lib"),
            ("PATH", "/l/bin"),
        ],
    },
    Case {
        line: 353,
        files: &[("bin/", "")],
        before: &[("PATH", "path-orig")],
        after: &[("PATH", "/l/bin:path-orig")],
    },
];

#[test]
fn rule_41_root_folders() {
    check(ROOT_FOLDERS, "env_test.go", |folder, env| {
        let layer = LayerEnv::read(folder, Path::new("/l")).unwrap();
        layer.apply_at_build(env);
    });
}

const SUFFIXES: &[Case] = &[
    Case {
        line: 119,
        files: &[
            ("some-dir/", ""),
            ("VAR_APPEND.append", "value-append"),
            ("VAR_APPEND_NEW.append", "value-append"),
            ("VAR_APPEND_DELIM.append", "value-append-delim"),
            ("VAR_APPEND_DELIM_NEW.append", "value-append-delim"),
            ("VAR_APPEND_DELIM.delim", "[]"),
            ("VAR_APPEND_DELIM_NEW.delim", "[]"),
            ("VAR_PREPEND.prepend", "value-prepend"),
            ("VAR_PREPEND_NEW.prepend", "value-prepend"),
            ("VAR_PREPEND_DELIM.prepend", "value-prepend-delim"),
            ("VAR_PREPEND_DELIM_NEW.prepend", "value-prepend-delim"),
            ("VAR_PREPEND_DELIM.delim", "[]"),
            ("VAR_PREPEND_DELIM_NEW.delim", "[]"),
            ("VAR_DEFAULT.default", "value-default"),
            ("VAR_DEFAULT_NEW.default", "value-default"),
            ("VAR_OVERRIDE.override", "value-override"),
            ("VAR_OVERRIDE_NEW.override", "value-override"),
            ("VAR_IGNORE.ignore", "value-ignore"),
        ],
        before: &[
            ("VAR_APPEND", "value-append-orig"),
            ("VAR_APPEND_DELIM", "value-append-delim-orig"),
            ("VAR_PREPEND", "value-prepend-orig"),
            ("VAR_PREPEND_DELIM", "value-prepend-delim-orig"),
            ("VAR_DEFAULT", "value-default-orig"),
            ("VAR_OVERRIDE", "value-override-orig"),
        ],
        after: &[
            ("VAR_APPEND", "value-append-origvalue-append"),
            (
                "VAR_APPEND_DELIM",
                "value-append-delim-orig[]value-append-delim",
            ),
            ("VAR_APPEND_DELIM_NEW", "value-append-delim"),
            ("VAR_APPEND_NEW", "value-append"),
            ("VAR_DEFAULT", "value-default-orig"),
            ("VAR_DEFAULT_NEW", "value-default"),
            ("VAR_OVERRIDE", "value-override"),
            ("VAR_OVERRIDE_NEW", "value-override"),
            ("VAR_PREPEND", "value-prependvalue-prepend-orig"),
            (
                "VAR_PREPEND_DELIM",
                "value-prepend-delim[]value-prepend-delim-orig",
            ),
            ("VAR_PREPEND_DELIM_NEW", "value-prepend-delim"),
            ("VAR_PREPEND_NEW", "value-prepend"),
        ],
    },
    Case {
        line: 187,
        files: &[
            ("some-dir/", ""),
            ("VAR_NORMAL", "value-normal"),
            ("VAR_NORMAL_NEW", "value-normal"),
            ("VAR_NORMAL_DELIM", "value-normal-delim"),
            ("VAR_NORMAL_DELIM_NEW", "value-normal-delim"),
            ("VAR_NORMAL_DELIM.delim", "[]"),
            ("VAR_NORMAL_DELIM_NEW.delim", "[]"),
        ],
        before: &[
            ("VAR_NORMAL", "value-normal-orig"),
            ("VAR_NORMAL_DELIM", "value-normal-delim-orig"),
        ],
        after: &[
            ("VAR_NORMAL", "value-normal"),
            ("VAR_NORMAL_DELIM", "value-normal-delim"),
            ("VAR_NORMAL_DELIM_NEW", "value-normal-delim"),
            ("VAR_NORMAL_NEW", "value-normal"),
        ],
    },
];

#[test]
fn rule_44_suffixes_and_delimiters() {
    check(SUFFIXES, "env_test.go", |folder, env| {
        Delta::read(folder, Action::Override).unwrap().apply(env);
    });
}

const OPERATORS: &[Case] = &[Case {
    line: 265,
    files: &[
        ("some-dir/", ""),
        ("VAR_NORMAL", "value-normal"),
        ("VAR_DNE.default", "value-dne"),
        ("VAR_EXIST", "value-override"),
        ("VAR_OVERRIDE.override", "value-override"),
        ("VAR_CHANGE.prepend", "value-prepend"),
        ("VAR_CHANGE.delim", ":"),
        ("VAR_CHANGE.append", "value-append"),
        ("some-sym-dir", "-> some-dir"),
        ("VAR_SYM", "-> VAR_NORMAL"),
    ],
    before: &[
        ("VAR_EMPTY", ""),
        ("VAR_EXIST", "value-exist"),
        ("VAR_OVERRIDE", "value-override-orig"),
    ],
    after: &[
        ("VAR_CHANGE", "value-prepend:value-append"),
        ("VAR_DNE", "value-dne"),
        ("VAR_EMPTY", ""),
        ("VAR_EXIST", "value-exist"),
        ("VAR_NORMAL", "value-normal"),
        ("VAR_OVERRIDE", "value-override"),
        ("VAR_SYM", "value-normal"),
    ],
}];

#[test]
fn rule_43_the_operators_files() {
    check(OPERATORS, "env_test.go", |folder, env| {
        Delta::read(folder, Action::Default).unwrap().apply(env);
    });
}

const USERS: &[Case] = &[
    Case {
        line: 228,
        files: &[
            ("platform/PATH", "value-path"),
            ("platform/LD_LIBRARY_PATH", "value-ld-library-path"),
            ("platform/LIBRARY_PATH", "value-library-path"),
            ("platform/VAR_NORMAL", "value-normal"),
            ("platform/VAR_OVERRIDE", "value-override"),
            ("base/", ""),
        ],
        before: &[
            ("VAR_EMPTY", ""),
            ("VAR_OVERRIDE", "value-override-orig"),
            ("PATH", "value-path-orig"),
            ("LD_LIBRARY_PATH", "orig1:orig2"),
        ],
        after: &[
            ("LD_LIBRARY_PATH", "value-ld-library-path:orig1:orig2"),
            ("LIBRARY_PATH", "value-library-path"),
            ("PATH", "value-path:value-path-orig"),
            ("VAR_EMPTY", ""),
            ("VAR_NORMAL", "value-normal"),
            ("VAR_OVERRIDE", "value-override"),
        ],
    },
    Case {
        line: 303,
        files: &[
            ("platform/VAR_DNE", "value-platform-dne"),
            ("platform/VAR_PLATFORM_DEFAULT", "value-platform-override"),
            ("platform/VAR_CHANGE", "value-platform-change"),
            ("platform/VAR_OVERRIDE", "value-platform"),
            ("base/VAR_NORMAL", "value-normal"),
            ("base/VAR_OVERRIDE.override", "value-override"),
            ("base/VAR_DNE.default", "value-dne"),
            ("base/VAR_EXIST.default", "value-override"),
            ("base/VAR_DEFAULT", "value-default"),
            ("base/VAR_CHANGE.prepend", "value-prepend"),
            ("base/VAR_CHANGE.delim", ":"),
            ("base/VAR_CHANGE.append", "value-append"),
        ],
        before: &[
            ("VAR_EMPTY", ""),
            ("VAR_EXIST", "value-exist"),
            ("VAR_DEFAULT", "value-override-orig"),
        ],
        after: &[
            (
                "VAR_CHANGE",
                "value-prepend:value-platform-change:value-append",
            ),
            ("VAR_DEFAULT", "value-override-orig"),
            ("VAR_DNE", "value-platform-dne"),
            ("VAR_EMPTY", ""),
            ("VAR_EXIST", "value-exist"),
            ("VAR_NORMAL", "value-normal"),
            ("VAR_OVERRIDE", "value-override"),
            ("VAR_PLATFORM_DEFAULT", "value-platform-override"),
        ],
    },
];

#[test]
fn rules_42_and_43_the_users_variables_and_then_the_operators() {
    check(USERS, "env_test.go", |folder, env| {
        let files = std::fs::read_dir(folder.join("platform")).unwrap();
        let user = files.map(|file| {
            let path = file.unwrap().path();
            let value = std::fs::read_to_string(&path).unwrap();
            (path.file_name().unwrap().to_owned(), value.into())
        });
        apply_user(&user.collect(), env);
        let delta = Delta::read(&folder.join("base"), Action::Default).unwrap();
        delta.apply(env);
    });
}

/// The order of lifecycle's calls (`launcher_test.go:52`): of each buildpack first all root folders, then of each
/// layer `env`, `env.launch` and `env.launch/<type>`.
#[test]
fn rules_45_and_55_the_order_of_a_launch() {
    let files: &[(&str, &str)] = &[
        ("env/O.append", "env "),
        ("env.launch/O.append", "launch "),
        ("env.launch/web/O.append", "web "),
        ("env.launch/other/O.append", "other "),
        ("env.build/O.append", "build "),
        ("bin/", ""),
    ];
    let read = |at: &str| {
        let folder = folder(files);
        LayerEnv::read(folder.path(), Path::new(at)).unwrap()
    };
    let buildpacks = [
        vec![read("/layers/0.9/layer1"), read("/layers/0.9/layer2")],
        vec![read("/layers/latest/layer3"), read("/layers/latest/layer4")],
    ];
    let mut actual = Env::new();
    apply_at_launch(&buildpacks, Some(&ProcessType::web()), &mut actual);
    let path = "/layers/latest/layer4/bin:/layers/latest/layer3/bin:/layers/0.9/layer2/bin:/layers/0.9/layer1/bin";
    let order = "env launch web ".repeat(4);
    assert_eq!(actual, env(&[("O", &order), ("PATH", path)]));
}
