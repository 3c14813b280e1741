//! What was written is read again; what was cut is refused.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::*;
use crate::sys::sandbox::Mount;
use crate::sys::sandbox::Program;

fn spec() -> Spec {
    Spec {
        mounts: vec![
            Mount::Bind {
                from: "/a".into(),
                to: OsStr::from_bytes(b"/b\xff\n").into(),
                read_only: true,
            },
            Mount::Overlay {
                lower: vec!["/l,:\\".into()],
                upper: Some(("/u".into(), "/w".into())),
                to: "/o".into(),
            },
            Mount::Scratch { to: "/s".into() },
            Mount::Private {
                to: "/p".into(),
                files: BTreeMap::from([("NAME".into(), vec![1, 0, 255])]),
            },
            Mount::File {
                to: "/f".into(),
                bytes: vec![0, 255],
            },
        ],
        network: Network::None,
        uid: 7,
        program: Program {
            argv: vec!["a".into(), OsStr::from_bytes(b"\xff").into()],
            env: BTreeMap::from([("K".into(), OsStr::from_bytes(b"\xfe=").into())]),
            cwd: "/".into(),
        },
        terminal: Terminal {
            stdin: true,
            stdout: false,
            stderr: true,
        },
        prepare: Some(serde_json::json!({"exec_d": ["/x"]})),
        limits: crate::sys::sandbox::Limits {
            nofile: Some(u64::MAX - 1),
            cgroup: Some("/g".into()),
        },
    }
}

#[test]
fn a_spec_of_any_bytes_arrives_as_it_was() {
    let order = Order::decode(&Order::encode(&spec(), Some(7))).unwrap();
    assert_eq!(format!("{:?}", order.spec), format!("{:?}", spec()));
    assert_eq!(order.namespaces, Some(7));
}

#[test]
fn a_truncated_spec_is_an_error_at_every_length() {
    let bytes = Order::encode(&spec(), None);
    for length in 0..bytes.len() {
        assert!(Order::decode(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn the_longest_error_fits_a_message() {
    let long = "é".repeat(MESSAGE_BYTES_MAX);
    let error = SandboxError::Setup {
        step: long.clone(),
        source: io::Error::other(long),
    };
    let bytes = Report::Failed(error).encode();
    assert!(bytes.len() <= MESSAGE_BYTES_MAX);
    assert!(matches!(
        Report::decode(&bytes).unwrap(),
        Report::Failed(SandboxError::Setup { .. })
    ));
}

#[test]
fn an_error_keeps_its_number() {
    let error = SandboxError::NotExecutable {
        program: "x".into(),
        source: io::Error::from_raw_os_error(8),
    };
    let Report::Failed(SandboxError::NotExecutable { source, .. }) =
        Report::decode(&Report::Failed(error).encode()).unwrap()
    else {
        panic!("another report");
    };
    assert_eq!(source.raw_os_error(), Some(8));
}
