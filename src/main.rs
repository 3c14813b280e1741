//! The binary: `cli`, or the shim of a sandbox, or the router, or one that takes over from another, or a built-in
//! buildpack, or a program of lifecycle, by `argv[0]`.

mod cli;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use slug::buildpack::{author, exec_d};
use slug::buildpacks;
use slug::router;
use slug::sys::sandbox;
use slug::sys::takeover;
use slug::sys::tree;

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let Some((argv0, args)) = argv.split_first() else {
        return cli::main();
    };
    if argv0 == sandbox::SHIM {
        return sandbox::shim(exec_d::prepare);
    }
    if argv0 == router::PROCESS {
        return router::process_main();
    }
    if argv0 == cli::RUNNER {
        return cli::runner();
    }
    if let Some(number) = takeover::asked(&argv) {
        return cli::takeover::main(number, argv.get(2..).unwrap_or_default());
    }
    if argv0 == tree::FORK_SERVER {
        return tree::fork_server();
    }
    if argv0 == cli::watch::WATCH {
        return cli::watch();
    }
    let name = Path::new(argv0).file_name().unwrap_or_default();
    // A process type may be called so too: it is a link in another folder.
    let is_of_buildpack = Path::new(argv0)
        .parent()
        .is_some_and(|parent| parent.ends_with("bin"));
    if is_of_buildpack && (name == "detect" || name == "build") {
        return author::main(argv0, args, buildpacks::PROGRAMS);
    }
    cli::cnb::by_name(argv0, args).unwrap_or_else(cli::main)
}
