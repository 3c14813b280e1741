//! What layers, users and operators do to an environment.

use super::*;

/// A layer with these files (a name ending in `/` is a folder), read as `/l`.
fn layer(files: &[(&str, &str)]) -> LayerEnv {
    layer_at("/l", files).unwrap()
}

fn layer_at(at: &str, files: &[(&str, &str)]) -> Result<LayerEnv, PathError> {
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
    LayerEnv::read(folder.path(), Path::new(at))
}

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn check_build(layers: &[LayerEnv], before: &[(&str, &str)], after: &[(&str, &str)]) {
    let mut actual = env(before);
    apply_at_build(layers, &mut actual);
    assert_eq!(actual, env(after));
}

fn check_launch(buildpacks: &[Vec<LayerEnv>], before: &[(&str, &str)], after: &[(&str, &str)]) {
    let mut actual = env(before);
    apply_at_launch(buildpacks, Some(&ProcessType::web()), &mut actual);
    assert_eq!(actual, env(after));
}

#[test]
fn rule_41_folders_extend_paths_only_if_there_and_without_a_stray_colon() {
    let all = layer(&[
        ("bin/", ""),
        ("lib/", ""),
        ("include/", ""),
        ("pkgconfig/", ""),
    ]);
    let after = [
        ("PATH", "/l/bin:/bin"),
        ("LD_LIBRARY_PATH", "/l/lib"),
        ("LIBRARY_PATH", "/l/lib"),
        ("CPATH", "/l/include"),
        ("PKG_CONFIG_PATH", "/l/pkgconfig"),
    ];
    check_build(&[all], &[("PATH", "/bin"), ("CPATH", "")], &after);
    check_build(
        &[layer(&[("bin", "a file")])],
        &[("PATH", "/bin")],
        &[("PATH", "/bin")],
    );
}

#[test]
fn rule_41_paths_come_before_env_and_env_before_env_build() {
    let files = [
        ("bin/", ""),
        ("env/PATH.append", "x"),
        ("env/A", "env"),
        ("env.build/A", "build"),
    ];
    check_build(
        &[layer(&files)],
        &[],
        &[("PATH", "/l/binx"), ("A", "build")],
    );
}

#[test]
fn rule_41_the_last_layer_of_a_buildpack_is_first_on_the_path() {
    let layers = [
        layer_at("/l/a", &[("bin/", "")]).unwrap(),
        layer_at("/l/a-b", &[("bin/", "")]).unwrap(),
    ];
    check_build(&layers, &[], &[("PATH", "/l/a-b/bin:/l/a/bin")]);
    check_launch(&[layers.to_vec()], &[], &[("PATH", "/l/a-b/bin:/l/a/bin")]);
}

#[test]
fn rule_42_a_users_path_is_put_before_and_the_rest_replaces() {
    let mut actual = env(&[("PATH", "/bin"), ("A", "old")]);
    apply_user(
        &env(&[("PATH", "/u"), ("A", "new"), ("CPATH", "/c")]),
        &mut actual,
    );
    assert_eq!(
        actual,
        env(&[("PATH", "/u:/bin"), ("A", "new"), ("CPATH", "/c")])
    );
}

#[test]
fn rule_43_the_operators_files_without_suffix_are_defaults() {
    let folder = tempfile::tempdir().unwrap();
    crate::sys::fs::write_atomic(&folder.path().join("A"), b"new", 0o600).unwrap();
    crate::sys::fs::write_atomic(&folder.path().join("B"), b"new", 0o600).unwrap();
    let delta = Delta::read(folder.path(), Action::Default).unwrap();
    let mut actual = env(&[("A", "old")]);
    delta.apply(&mut actual);
    assert_eq!(actual, env(&[("A", "old"), ("B", "new")]));
    assert_eq!(
        Delta::read(&folder.path().join("none"), Action::Default).unwrap(),
        Delta::default()
    );
}

#[test]
fn rule_44_actions_and_delimiters() {
    let files = [
        ("env/APP.append", "n"),
        ("env/APP.delim", ";"),
        ("env/BARE", "n"),
        ("env/DEF.default", "n"),
        ("env/EMPTY.default", "n"),
        ("env/EMPTY_APP.append", "n"),
        ("env/EMPTY_APP.delim", ";"),
        ("env/NODELIM.prepend", "n"),
        ("env/OVER.override", "n"),
        ("env/PRE.delim", ":"),
        ("env/PRE.prepend", "n"),
        ("env/UNKNOWN.other", "n"),
        ("env/TWO.append.bak", "n"),
    ];
    let before = [
        ("APP", "o"),
        ("BARE", "o"),
        ("DEF", "o"),
        ("EMPTY", ""),
        ("EMPTY_APP", ""),
        ("NODELIM", "o"),
        ("OVER", "o"),
        ("PRE", "o"),
        ("UNKNOWN", "o"),
        ("TWO", "o"),
    ];
    let after = [
        ("APP", "o;n"),
        ("BARE", "n"),
        ("DEF", "o"),
        ("EMPTY", "n"),
        ("EMPTY_APP", "n"),
        ("NODELIM", "no"),
        ("OVER", "n"),
        ("PRE", "n:o"),
        ("UNKNOWN", "o"),
        ("TWO", "o"),
    ];
    check_build(&[layer(&files)], &before, &after);
}

#[test]
fn rule_44_a_delimiter_counts_in_its_own_folder_only() {
    let files = [("env/A.delim", ":"), ("env.build/A.append", "n")];
    check_build(&[layer(&files)], &[("A", "o")], &[("A", "on")]);
}

#[test]
fn rule_44_bytes_are_exact() {
    let files = [("env/A", " a\n"), ("env/B.append", "\n")];
    check_build(
        &[layer(&files)],
        &[("B", "b ")],
        &[("A", " a\n"), ("B", "b \n")],
    );
}

#[test]
fn rule_45_append_runs_early_to_late_and_prepend_late_to_early() {
    let one = layer(&[
        ("env/A.append", "1"),
        ("env/P.prepend", "1"),
        ("env/D.default", "1"),
        ("env/O", "1"),
    ]);
    let two = layer(&[
        ("env/A.append", "2"),
        ("env/P.prepend", "2"),
        ("env/D.default", "2"),
        ("env/O", "2"),
    ]);
    let after = [("A", "12"), ("P", "21"), ("D", "1"), ("O", "2")];
    check_build(&[one.clone(), two.clone()], &[], &after);
    check_launch(&[vec![one], vec![two]], &[], &after);
}

#[test]
fn rule_45_the_files_of_a_process_type_come_last_and_for_it_alone() {
    let files = [
        ("env/A", "all"),
        ("env.build/B", "build"),
        ("env.launch/A", "launch"),
        ("env.launch/web/A.append", "+web"),
        ("env.launch/worker/A", "worker"),
    ];
    check_launch(&[vec![layer(&files)]], &[], &[("A", "launch+web")]);
}

#[test]
fn rule_55_all_paths_of_a_buildpack_come_before_all_its_files() {
    let one = layer_at(
        "/l/a",
        &[
            ("bin/", ""),
            ("lib/", ""),
            ("include/", ""),
            ("env/PATH.prepend", "x:"),
        ],
    )
    .unwrap();
    let two = layer_at("/l/b", &[("bin/", "")]).unwrap();
    let after = [
        ("PATH", "x:/l/b/bin:/l/a/bin"),
        ("LD_LIBRARY_PATH", "/l/a/lib"),
    ];
    check_launch(&[vec![one, two]], &[], &after);
}

#[test]
fn a_value_is_never_read_through_a_link_out_of_the_layer() {
    let error = layer_at("/l", &[("env/A", "-> /etc/passwd")]).unwrap_err();
    assert!(
        error.source.to_string().contains("out of the layer"),
        "{error}"
    );
    assert!(layer_at("/l", &[("env", "-> /etc")]).is_err());
    let inside = layer(&[
        ("value", "v"),
        ("env/A", "-> ../value"),
        ("bin", "-> /usr/bin"),
    ]);
    check_build(&[inside], &[], &[("A", "v"), ("PATH", "/l/bin")]);
}

#[test]
fn a_value_has_a_limit_and_no_nul() {
    let longest = usize::try_from(ENV_VALUE_BYTES_MAX).unwrap();
    assert!(layer_at("/l", &[("env/A", &"x".repeat(longest))]).is_ok());
    assert!(layer_at("/l", &[("env/A", &"x".repeat(longest + 1))]).is_err());
    assert!(layer_at("/l", &[("env/A", "a\0b")]).is_err());
}
