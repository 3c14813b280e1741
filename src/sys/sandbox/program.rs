//! The last steps before the exec, in the process that will be the program:
//! nothing of whoever started `slug` is left, then `prepare`, then `PATH`.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::sys::sandbox::Prepare;
use crate::sys::sandbox::Program;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::error::setup;
use crate::sys::sandbox::limits;
use crate::sys::sandbox::terminal;
use crate::sys::sandbox::wire::Order;
use crate::sys::syscall;
use crate::sys::syscall::Descriptors;

/// Where programs are looked for when the environment has no `PATH`, as `execvp` does.
const PATH_UNSET: &str = "/bin:/usr/bin";

/// The longest `#!` line that Linux reads.
const SHEBANG_BYTES_MAX: u64 = 256;

/// Becomes the program of the order; returns only why it could not.
pub(super) fn become_program(order: Order, prepare: Prepare) -> SandboxError {
    match ready(order, prepare) {
        Ok(program) => execute(&program),
        Err(error) => error,
    }
}

/// Everything but the exec.
fn ready(order: Order, prepare: Prepare) -> Result<Program, SandboxError> {
    terminal::take(order.spec.terminal).map_err(|error| setup("take the terminal", error))?;
    syscall::default_all_signals();
    syscall::hold_back(0).map_err(|error| setup("let signals through", error))?;
    limits::set(order.spec.limits.nofile)?;
    let mut program = order.spec.program;
    let cwd = program.cwd.clone();
    rustix::process::chdir(&cwd).map_err(|error| {
        setup(
            &format!("enter the folder `{}`", cwd.display()),
            error.into(),
        )
    })?;
    if let Some(value) = order.spec.prepare {
        prepare(value, &mut program).map_err(SandboxError::Prepare)?;
    }
    syscall::close_from(3, Descriptors::CloseOnExec)
        .map_err(|error| setup("close descriptors", error))?;
    Ok(program)
}

/// Tries each place where the program may be; returns only why none was it.
pub(super) fn execute(program: &Program) -> SandboxError {
    let Some(name) = program.argv.first() else {
        return SandboxError::NotFound {
            program: String::new(),
        };
    };
    let strings = (
        c_strings(program.argv.iter().cloned()),
        c_strings(assignments(program)),
    );
    let (Ok(argv), Ok(env)) = strings else {
        return setup(
            "execute the program",
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "a NUL in its argv or environment",
            ),
        );
    };
    let argv: Vec<_> = argv.iter().map(CString::as_c_str).collect();
    let env: Vec<_> = env.iter().map(CString::as_c_str).collect();
    let mut refusal = None;
    for path in candidates(name, program.env.get(OsStr::new("PATH"))) {
        let Ok(c_path) = CString::new(path.as_os_str().as_bytes()) else {
            continue;
        };
        let error = syscall::execve(&c_path, &argv, &env);
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) if !path.exists() => {}
            Some(Errno::ACCESS) => refusal = refusal.or(Some((path, error))),
            _ => return not_executable(&path, error),
        }
    }
    match refusal {
        Some((path, error)) => not_executable(&path, error),
        None => SandboxError::NotFound {
            program: name.to_string_lossy().into_owned(),
        },
    }
}

/// A name with a slash is a path; any other is looked for in each folder of `PATH`, of which an empty one is the current.
fn candidates(name: &OsStr, path: Option<&OsString>) -> Vec<PathBuf> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.as_bytes().contains(&b'/') {
        return vec![name.into()];
    }
    let folders = path
        .map_or(PATH_UNSET.as_bytes(), |path| path.as_bytes())
        .split(|byte| *byte == b':');
    let folders = folders.map(|folder| {
        if folder.is_empty() {
            Path::new(".")
        } else {
            Path::new(OsStr::from_bytes(folder))
        }
    });
    folders.map(|folder| folder.join(name)).collect()
}

fn assignments(program: &Program) -> impl Iterator<Item = OsString> {
    program.env.iter().map(|(key, value)| {
        let mut assignment = key.clone();
        assignment.push("=");
        assignment.push(value);
        assignment
    })
}

fn c_strings(strings: impl Iterator<Item = OsString>) -> Result<Vec<CString>, std::ffi::NulError> {
    strings
        .map(|string| CString::new(string.into_vec()))
        .collect()
}

/// A program that is there and cannot be found by the kernel lacks its interpreter.
fn not_executable(path: &Path, source: io::Error) -> SandboxError {
    let program = path.to_string_lossy().into_owned();
    if source.kind() != io::ErrorKind::NotFound {
        return SandboxError::NotExecutable { program, source };
    }
    let interpreter =
        shebang(path).unwrap_or_else(|| "the dynamic loader that it names".to_owned());
    SandboxError::NoInterpreter {
        program,
        interpreter,
    }
}

/// The interpreter that the first line of a script names.
fn shebang(path: &Path) -> Option<String> {
    let mut head = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(SHEBANG_BYTES_MAX)
        .read_to_end(&mut head)
        .ok()?;
    let line = head
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let words = String::from_utf8_lossy(line);
    words.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, path: Option<&str>, expected: &[&str]) {
        let found = candidates(OsStr::new(name), path.map(OsString::from).as_ref());
        assert_eq!(
            found,
            expected.iter().map(PathBuf::from).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_program_is_looked_for_as_execvp_does() {
        check("sh", Some("/a:/b"), &["/a/sh", "/b/sh"]);
        check("sh", Some("/a:"), &["/a/sh", "./sh"]);
        check("sh", None, &["/bin/sh", "/usr/bin/sh"]);
        check("./sh", Some("/a"), &["./sh"]);
        check("/x/sh", Some("/a"), &["/x/sh"]);
        check("", Some("/a"), &[]);
    }
}
