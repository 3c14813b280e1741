//! The binary: `cli`, or the shim of a sandbox, or a built-in buildpack, by `argv[0]`.

use std::process::ExitCode;

use slug::sys::sandbox;

fn main() -> ExitCode {
    if std::env::args_os()
        .next()
        .is_some_and(|name| name == sandbox::SHIM)
    {
        return sandbox::shim(slug::buildpack::exec_d::prepare);
    }
    ExitCode::SUCCESS
}
