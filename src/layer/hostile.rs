//! What strangers' programs write into their layers, changed at random.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use super::env::{Action, Delta, Env};
use super::metadata::LayerMetadata;
use crate::fuzz::{fit_for_a_terminal, fuzz};

#[test]
fn any_layer_toml_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layer.toml");
    fuzz("layer_toml", |input| {
        crate::sys::fs::write_unsynced(&file, input, 0o644).unwrap();
        match LayerMetadata::read(&file) {
            Ok(Some(metadata)) => {
                let text = toml::to_string(&metadata.without_types()).unwrap();
                assert!(!text.contains("[types]\n") || text.contains('"'), "{text}");
            }
            Ok(None) => panic!("it is there"),
            Err(error) => fit_for_a_terminal(&error.to_string()),
        }
    });
}

/// The corpus: names and contents of files, each ended by a NUL.
#[test]
fn any_env_folder_makes_an_environment_that_a_program_can_have() {
    fuzz("layer_env", |input| {
        let folder = tempfile::tempdir().unwrap();
        let parts: Vec<&[u8]> = input.split(|byte| *byte == 0).collect();
        for pair in parts.chunks_exact(2) {
            let is_name = !pair[0].is_empty() && !pair[0].contains(&b'/') && pair[0].len() < 256;
            if is_name && pair[0] != b"." && pair[0] != b".." {
                fs::File::create(folder.path().join(OsStr::from_bytes(pair[0]))).unwrap();
                crate::sys::fs::write_unsynced(
                    &folder.path().join(OsStr::from_bytes(pair[0])),
                    pair[1],
                    0o644,
                )
                .unwrap();
            }
        }
        let mut env = Env::from([("PATH".into(), "/bin".into())]);
        Delta::read(folder.path(), Action::Override)
            .unwrap()
            .apply(&mut env);
        for (name, value) in &env {
            let name = name.as_bytes();
            assert!(
                !name.is_empty() && !name.contains(&b'=') && !name.contains(&0),
                "{name:?}"
            );
            assert!(!value.as_bytes().contains(&0));
        }
    });
}
