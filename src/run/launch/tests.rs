//! What processes get, without starting one.

use super::*;
use crate::archive::BaseNeeds;
use crate::archive::SlugBuildpack;
use crate::archive::Target;
use crate::store::Secret;

pub(super) fn process(name: &str, command: &[&str], args: &[&str], direct: bool) -> SlugProcess {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    SlugProcess {
        process_type: name.parse().unwrap(),
        command: owned(command),
        args: owned(args),
        direct,
        working_dir: (name == "there").then(|| "sub".to_owned()),
        buildpack: "a/b".parse().unwrap(),
        default: name == "web",
    }
}

fn loaded(folder: &Path) -> Loaded {
    loaded_at(folder, AppFolder::Workspace)
}

fn loaded_at(folder: &Path, app: AppFolder) -> Loaded {
    let target = ["linux", "amd64", "debian", "12"].map(str::to_owned);
    let [os, arch, distro_name, distro_version] = target;
    let slug = Slug {
        layers: Vec::new(),
        app,
        processes: vec![
            process("web", &["serve", "--fixed"], &["--default"], true),
            process("there", &["pwd"], &[], true),
            process("script", &["echo $A && pwd"], &[], false),
            process("empty", &[], &[], true),
        ],
        buildpacks: vec![SlugBuildpack {
            id: "a/b".parse().unwrap(),
            version: "1".into(),
            api: "0.10".into(),
            homepage: None,
        }],
        target: Target {
            os,
            arch,
            distro_name,
            distro_version,
        },
        base: BaseNeeds::default(),
        labels: std::collections::BTreeMap::new(),
    };
    let mut config = ConfigVars::new();
    for (key, value) in [("GREETING", b"hi\xff".to_vec()), ("LANG", b"C".to_vec())] {
        config
            .set(key.parse().unwrap(), Secret::new(value))
            .unwrap();
    }
    let kind = LayerKind::Buildpack {
        buildpack: "a/b".parse().unwrap(),
        layer: "venv".parse().unwrap(),
    };
    let unpacked = [
        (kind, folder.to_owned()),
        (LayerKind::App, folder.join("app")),
    ];
    let layers = launch_layers(&slug, &unpacked).unwrap();
    Loaded {
        app: "shop".parse().unwrap(),
        version: ReleaseVersion::from_number(42).unwrap(),
        digest: Digest::of(b""),
        released_at: Timestamp::from_unix_us(0).unwrap(),
        config,
        uid: 1,
        mounts: mounts(app, &unpacked, &layers, None),
        layers,
        slug,
    }
}

fn layer_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let layer = folder.path().join("layers/a_b/venv");
    std::fs::create_dir_all(layer.join("bin")).unwrap();
    std::fs::create_dir_all(layer.join("env.launch/web")).unwrap();
    std::fs::create_dir_all(layer.join("exec.d")).unwrap();
    for (file, value) in [
        ("env.launch/LANG.default", "x"),
        ("env.launch/web/ONLY.override", "web"),
        ("exec.d/a", ""),
    ] {
        crate::sys::fs::write_atomic(&layer.join(file), value.as_bytes(), 0o644).unwrap();
    }
    folder
}

/// The words that a slug of these processes is started with; each buildpack is an id and its Buildpack API.
pub(super) fn argv_of(
    processes: Vec<SlugProcess>,
    buildpacks: &[(String, String)],
    command: &Command,
) -> Result<Vec<String>, LaunchError> {
    let folder = layer_folder();
    let mut loaded = loaded(folder.path());
    loaded.slug.processes = processes;
    let buildpack = |(id, api): &(String, String)| SlugBuildpack {
        id: id.parse().unwrap(),
        version: "1".to_owned(),
        api: api.clone(),
        homepage: None,
    };
    loaded.slug.buildpacks = buildpacks.iter().map(buildpack).collect();
    let spec = loaded.spec(command, &"run.1".parse().unwrap(), None)?;
    let words = spec.program.argv.into_iter();
    Ok(words.map(|word| word.into_string().unwrap()).collect())
}

fn argv(command: &Command) -> Vec<String> {
    let folder = layer_folder();
    let spec = loaded(folder.path())
        .spec(command, &"web.1".parse().unwrap(), None)
        .unwrap();
    spec.program
        .argv
        .into_iter()
        .map(|word| word.into_string().unwrap())
        .collect()
}

fn of_type(name: &str, args: &[&str]) -> Command {
    Command::Type(
        Some(name.parse().unwrap()),
        args.iter().map(OsString::from).collect(),
    )
}

#[test]
fn arguments_of_a_user_replace_the_default_ones_and_never_the_command() {
    assert_eq!(
        argv(&Command::Type(None, Vec::new())),
        ["serve", "--fixed", "--default"]
    );
    assert_eq!(argv(&of_type("web", &["a b"])), ["serve", "--fixed", "a b"]);
    assert_eq!(argv(&Command::Direct(vec!["true".into()])), ["true"]);
}

#[test]
fn a_command_of_a_users_comes_after_the_profiles_where_classic_buildpacks_made_the_slug() {
    let folder = layer_folder();
    let scripts = folder.path().join("layers/a_b/venv/profile.d");
    std::fs::create_dir(&scripts).unwrap();
    crate::sys::fs::write_atomic(&scripts.join("app.sh"), b"", 0o644).unwrap();
    let spec = loaded_at(folder.path(), AppFolder::App)
        .spec(
            &Command::Direct(vec!["rake".into(), "db:migrate".into()]),
            &"run.1".parse().unwrap(),
            None,
        )
        .unwrap();
    let Program { argv, cwd, .. } = spec.program;
    assert_eq!(
        (argv[0].as_os_str(), cwd),
        ("/bin/bash".as_ref(), "/app".into())
    );
    let script = argv[2].to_str().unwrap();
    assert!(
        script.starts_with("source '/layers/a_b/venv/profile.d/app.sh'\n"),
        "{script}"
    );
    assert_eq!(argv[4..], ["rake", "db:migrate"]);
}

#[test]
fn what_is_not_there_is_named() {
    let folder = layer_folder();
    let loaded = loaded(folder.path());
    let spec = |command: &Command| {
        loaded
            .spec(command, &"run.1".parse().unwrap(), None)
            .map(|_| ())
            .unwrap_err()
    };
    assert!(
        matches!(spec(&of_type("nope", &[])), LaunchError::NoType { has, .. } if has.len() == 4)
    );
    assert!(matches!(
        spec(&of_type("empty", &[])),
        LaunchError::EmptyCommand(_)
    ));
    assert!(matches!(
        spec(&Command::Direct(Vec::new())),
        LaunchError::EmptyCommand(_)
    ));
}

#[test]
fn the_environment_is_config_then_slugs_own_then_the_layers_of_that_type() {
    let folder = layer_folder();
    let loaded = loaded(folder.path());
    let spec = loaded
        .spec(&of_type("web", &[]), &"web.2".parse().unwrap(), Some(4000))
        .unwrap();
    let env = spec.program.env;
    let get = |key: &str| env.get(std::ffi::OsStr::new(key)).cloned();
    assert_eq!(
        get("GREETING"),
        Some(OsString::from_vec(b"hi\xff".to_vec()))
    );
    assert_eq!(
        (get("PORT"), get("DYNO"), get("SLUG_PROCESS")),
        (
            Some("4000".into()),
            Some("web.2".into()),
            Some("web.2".into())
        )
    );
    assert_eq!(
        (get("SLUG_RELEASE"), get("HOME")),
        (Some("v42".into()), Some(HOME.into()))
    );
    assert_eq!(
        (get("LANG"), get("ONLY")),
        (Some("C".into()), Some("web".into()))
    );
    assert!(
        get("PATH")
            .unwrap()
            .into_string()
            .unwrap()
            .starts_with("/layers/a_b/venv/bin:/usr")
    );
    let other = loaded
        .spec(&of_type("there", &[]), &"there.1".parse().unwrap(), None)
        .unwrap();
    assert_eq!(
        (
            other.program.env.get(std::ffi::OsStr::new("PORT")),
            other.program.env.get(std::ffi::OsStr::new("ONLY"))
        ),
        (None, None)
    );
    assert_eq!(other.program.cwd, Path::new("/workspace/sub"));
    assert_eq!(
        spec.prepare,
        Some(serde_json::json!({ "exec_d": ["/layers/a_b/venv/exec.d/a"], "app": "/workspace" }))
    );
}

#[test]
fn every_layer_and_the_app_are_read_only_and_home_is_not() {
    let folder = layer_folder();
    let spec = loaded(folder.path())
        .spec(&of_type("web", &[]), &"web.1".parse().unwrap(), None)
        .unwrap();
    let inside: Vec<&Path> = spec.mounts.iter().map(Mount::to).collect();
    assert_eq!(
        inside,
        [
            Path::new("/layers/a_b/venv"),
            Path::new("/workspace"),
            Path::new(HOME)
        ]
    );
    let is_sealed = |mount: &Mount| {
        matches!(
            mount,
            Mount::Bind {
                read_only: true,
                ..
            }
        )
    };
    assert!(
        spec.mounts[..2].iter().all(is_sealed) && matches!(spec.mounts[2], Mount::Scratch { .. })
    );
}

#[test]
fn later_slices_of_an_app_lie_over_earlier_ones() {
    let slices = ["/one", "/two"].map(|folder| (LayerKind::App, PathBuf::from(folder)));
    for (app, name) in [(AppFolder::Workspace, "workspace"), (AppFolder::App, "app")] {
        let lower = ["/two", "/one"].map(|folder| Path::new(folder).join(name));
        let overlay = Mount::Overlay {
            lower: lower.into(),
            upper: None,
            to: Path::new("/").join(name),
        };
        assert_eq!(mounts(app, &slices, &[], None)[0], overlay);
    }
}
