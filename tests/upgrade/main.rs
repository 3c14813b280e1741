//! A program that is to take over from `slug up`, and does what its file's name says instead.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it answers over its streams"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use slug::sys::takeover;
use slug::sys::takeover::Package;

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let own = std::env::current_exe().expect("its path");
    let package = takeover::asked(&argv).map(Package::receive);
    match own.file_name().and_then(|name| name.to_str()) {
        Some("refuses") => {
            eprintln!("the state is in format 1, and slug 9.9.9 reads format 2");
            ExitCode::FAILURE
        }
        Some("crashes") => std::process::abort(),
        Some("turns-back") => turn_back(&package.expect("a state").expect("a package"), &argv[2..]),
        _ => ExitCode::FAILURE,
    }
}

/// Passes the trial; then there is no room for it.
fn turn_back(package: &Package, arguments: &[OsString]) -> ExitCode {
    if package.is_rehearsal() {
        println!("{}", takeover::answer());
        return ExitCode::SUCCESS;
    }
    #[expect(clippy::disallowed_methods, reason = "it has no settings")]
    let env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    let error = package.go_back(arguments, &env, "there is no room for it");
    eprintln!("{error}");
    ExitCode::FAILURE
}
