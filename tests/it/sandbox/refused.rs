//! Where no sandbox can be made.

use super::*;

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
            let script = "echo 0 > /proc/sys/user/max_mnt_namespaces && exec \"$0\" --exact sandbox::refused::where_namespaces_are_refused --ignored";
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
