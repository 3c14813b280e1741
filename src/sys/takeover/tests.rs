use std::os::fd::AsRawFd as _;

use super::*;

#[test]
fn a_package_is_received_as_it_was_sealed() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut bag = Bag::default();
    let place = bag.put(reader.into());
    let package = Package::new(serde_json::json!({ "pipe": place }), bag);
    assert_eq!(package.state()["pipe"], 0);
    let (state, mut bag, _) = package.open();
    let place: Place = serde_json::from_value(state["pipe"].clone()).unwrap();
    std::fs::File::from(OwnedFd::from(writer))
        .write_all(b"through")
        .unwrap();
    let mut said = String::new();
    std::fs::File::from(bag.take(place).unwrap())
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "through");
    assert!(bag.take(place).is_err(), "each is taken once");
}

/// What `receive` says of a file with these bytes.
#[track_caller]
fn received(bytes: &str) -> String {
    let file = rustix::fs::memfd_create("state", MemfdFlags::CLOEXEC).unwrap();
    let mut file = std::fs::File::from(file);
    file.write_all(bytes.as_bytes()).unwrap();
    let number = std::os::fd::IntoRawFd::into_raw_fd(file);
    match Package::receive(number) {
        Ok(package) => package.state().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_state_that_is_not_ours_is_refused() {
    let own = r#"{"schema":1,"is_rehearsal":true,"refused":null,"held_back":0,"descriptors":[],"state":7}"#;
    assert_eq!(received(own), "7");
    let later = r#"{"schema":2,"anything":"else"}"#;
    assert_eq!(
        received(later),
        format!(
            "the state is in format 2, and slug {} reads format 1",
            env!("CARGO_PKG_VERSION")
        )
    );
    for garbled in ["", "{", "[]", r#"{"schema":1}"#, &own.replace("[]", "[1]")] {
        assert_ne!(received(garbled), "7", "{garbled}");
    }
    let twice = own.replace("[]", "[900, 900]");
    assert!(received(&twice).contains("named twice"));
    let stdout = own.replace("[]", "[1]");
    assert!(received(&stdout).contains("could not be read"));
}

#[test]
fn a_program_that_takes_over_is_known_by_its_name() {
    let argv = |words: &[&str]| -> Vec<OsString> { words.iter().map(OsString::from).collect() };
    assert_eq!(asked(&argv(&["slug-takeover", "12", "up"])), Some(12));
    assert_eq!(asked(&argv(&["slug", "12"])), None);
    assert_eq!(asked(&argv(&["slug-takeover", "up"])), None);
    assert_eq!(asked(&argv(&["slug-takeover"])), None);
}

#[test]
fn what_is_no_program_of_ours_is_refused_before_it_is_started() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::File::create(&path)
            .unwrap()
            .write_all(bytes.as_bytes())
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Program::open(&path).map(drop).unwrap_err().to_string()
    };
    assert_eq!(file("a", "\x7fELF", 0o644), "it is not executable");
    assert_eq!(file("b", "\x7fELF", 0o777), "everybody may write to it");
    assert_eq!(
        file("c", "#!/bin/sh\n", 0o755),
        "it is no program of slug: a script, or no program at all"
    );
    assert_eq!(
        Program::open(folder.path()).unwrap_err().to_string(),
        "it is not a regular file"
    );
    assert!(Program::open(&folder.path().join("d")).is_err());
}

#[test]
fn what_does_not_answer_is_refused_with_what_it_said() {
    let refused = |path: &str| {
        let program = Program::open(std::path::Path::new(path)).unwrap();
        rehearse(&program, &[], &Value::Null)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refused("/bin/false"), "it ended with exit status: 1");
    assert_eq!(
        refused("/bin/true"),
        "it does not know how to take over: it is no slug, or one of before this was possible"
    );
    assert!(refused("/bin/ls").contains("slug-takeover: cannot access"));
}

#[test]
fn nothing_is_inherited_unless_it_is_said() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let reader = OwnedFd::from(reader);
    let flags = |descriptor: &OwnedFd| rustix::io::fcntl_getfd(descriptor).unwrap();
    bag::set_inherited([&reader], true).unwrap();
    assert!(flags(&reader).is_empty());
    bag::set_inherited([&reader], false).unwrap();
    assert_eq!(flags(&reader), rustix::io::FdFlags::CLOEXEC);
    assert!(reader.as_raw_fd() > 2);
}
