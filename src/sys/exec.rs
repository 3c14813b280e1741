//! Becoming another program.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::sys::syscall;

/// What no string may have inside that a program begins with.
const NUL: &str = "a NUL in its path, arguments or environment";

/// Makes this process the program at `path`, with exactly these arguments (the first is its name) and this environment.
/// Returns only why it could not. Every other thread ends; descriptors that are not for this program alone stay.
pub fn replace(path: &Path, argv: &[OsString], env: &BTreeMap<OsString, OsString>) -> io::Error {
    let path = c_strings(&[path.as_os_str().to_owned()]);
    let (path, argv, env) = match (
        path.as_deref(),
        c_strings(argv),
        c_strings(&assignments(env)),
    ) {
        (Ok([path]), Ok(argv), Ok(env)) => (path.clone(), argv, env),
        _ => {
            return io::Error::new(io::ErrorKind::InvalidInput, NUL);
        }
    };
    let argv: Vec<_> = argv.iter().map(CString::as_c_str).collect();
    let env: Vec<_> = env.iter().map(CString::as_c_str).collect();
    // Rust's runtime ignores it, and what is ignored stays so over an exec.
    syscall::default_signal(libc::SIGPIPE);
    syscall::execve(&path, &argv, &env)
}

/// An environment as the kernel has it: `NAME=value`.
pub(in crate::sys) fn assignments(env: &BTreeMap<OsString, OsString>) -> Vec<OsString> {
    let assignment = |(name, value): (&OsString, &OsString)| {
        OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    env.iter().map(assignment).collect()
}

/// As C has strings; an error if one has a NUL inside.
pub(in crate::sys) fn c_strings(strings: &[OsString]) -> io::Result<Vec<CString>> {
    let c_string = |text: &OsString| {
        CString::new(text.as_bytes()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, NUL))
    };
    strings.iter().map(c_string).collect()
}
