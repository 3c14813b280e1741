//! Reading the app's files as pip and uv read them: UTF-8, or UTF-16 with its
//! mark, which PowerShell's `>` writes.

use std::path::Path;

use crate::buildpack::author::At as _;
use crate::buildpack::author::Failure;

/// The text of a file; `None` if there is none. Bytes that are of neither form become `�`.
pub(super) fn read(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(decode(&bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Ok(Err(error).at("read", path)?),
    }
}

fn decode(bytes: &[u8]) -> String {
    let utf_16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest
            .chunks(2)
            .map(|pair| unit([pair[0], pair.get(1).copied().unwrap_or_default()]))
            .collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_powershell_writes_is_read() {
        for bytes in [
            &b"3.12"[..],
            b"\xef\xbb\xbf3.12",
            b"\xff\xfe3\0.\x001\x002\0",
            b"\xfe\xff\x003\0.\x001\x002",
        ] {
            assert_eq!(decode(bytes), "3.12", "{bytes:?}");
        }
        assert!(decode(b"caf\xe9").contains('\u{fffd}') && decode(b"\xff\xfea").contains('a'));
    }
}
