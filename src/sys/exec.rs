//! Becoming another program.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::sys::syscall;

/// Makes this process the program at `path`, with exactly these arguments (the first is its name) and this environment.
/// Returns only why it could not. Every other thread ends; descriptors that are not for this program alone stay.
pub fn replace(path: &Path, argv: &[OsString], env: &BTreeMap<OsString, OsString>) -> io::Error {
    let c_string = |text: &OsStr| CString::new(text.as_bytes());
    let assignments = env.iter().map(|(name, value)| {
        let bytes = [name.as_bytes(), b"=", value.as_bytes()].concat();
        CString::new(OsString::from_vec(bytes).into_vec())
    });
    let path = c_string(path.as_os_str());
    let argv: Result<Vec<CString>, _> = argv.iter().map(|word| c_string(word)).collect();
    let env: Result<Vec<CString>, _> = assignments.collect();
    let (Ok(path), Ok(argv), Ok(env)) = (path, argv, env) else {
        return io::Error::new(
            io::ErrorKind::InvalidInput,
            "a NUL in its path, arguments or environment",
        );
    };
    let argv: Vec<_> = argv.iter().map(CString::as_c_str).collect();
    let env: Vec<_> = env.iter().map(CString::as_c_str).collect();
    // Rust's runtime ignores it, and what is ignored stays so over an exec.
    syscall::default_signal(libc::SIGPIPE);
    syscall::execve(&path, &argv, &env)
}
