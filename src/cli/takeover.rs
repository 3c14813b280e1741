//! Going on where another program of this process left off: the other half of
//! `slug upgrade`, and of SIGUSR2. Not typed by anybody: `main` knows it by `argv[0]`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::panic;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::Parser as _;
use slug::logs::Sink;
use slug::run::Found;
use slug::store::Store;
use slug::sys::takeover;
use slug::sys::takeover::Package;

use super::args::{Command, Typed, Up};
use super::report::{Failure, exit};
use super::settings::Settings;
use super::ui::Ui;
use super::up;

/// All that can fail, done while there is a way back.
struct Prepared {
    settings: Settings,
    typed: Up,
    store: Store,
    found: Found,
    /// None in a rehearsal: the program that rehearses writes to the same files.
    sinks: Option<Vec<Box<dyn Sink>>>,
}

/// `number` is the descriptor that holds the state; `arguments` are those of the first program, after its name.
pub(crate) fn main(number: i32, arguments: &[OsString]) -> ExitCode {
    let package = match Package::receive(number) {
        Ok(package) => package,
        Err(error) => return failed(&Failure::of(exit::FAILED, &error)),
    };
    // A panic before anything was taken is a reason to go back as good as any.
    let prepared = panic::catch_unwind(AssertUnwindSafe(|| prepare(&package, arguments)));
    let prepared = prepared.unwrap_or_else(|_| Err(Failure::failed("slug panicked")));
    match prepared {
        Ok(_) if package.is_rehearsal() => answer(),
        Ok(prepared) => go_on(prepared, arguments.to_vec(), package),
        // The program before wrote it, and is this one: there is nobody else to go back to.
        Err(failure) if package.is_rehearsal() || package.refused().is_some() => failed(&failure),
        Err(failure) => {
            #[expect(clippy::disallowed_methods, reason = "settings may be what failed")]
            let env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
            let error = package.go_back(arguments, &env, failure.what());
            Ui::stderr(&format!("there is no way back: {error}"));
            failed(&failure)
        }
    }
}

fn failed(failure: &Failure) -> ExitCode {
    Ui::stderr(failure.what());
    ExitCode::from(exit::FAILED)
}

fn answer() -> ExitCode {
    match Ui::result(format!("{}\n", takeover::answer()).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

fn prepare(package: &Package, arguments: &[OsString]) -> Result<Prepared, Failure> {
    let words = std::iter::once(OsString::from("slug")).chain(arguments.iter().cloned());
    let typed = Typed::try_parse_from(words)
        .map_err(|error| Failure::usage(error.to_string().trim().to_owned()))?;
    let Command::Up(up) = typed.command else {
        return Err(Failure::usage("only `slug up` is taken over"));
    };
    let ui = Ui::from(&typed.common);
    let settings = Settings::new(typed.common, ui)?;
    let store = settings.open_store()?;
    let found = Found::read(package, &store).map_err(|error| Failure::of(exit::FAILED, &error))?;
    let sinks = if package.is_rehearsal() {
        None
    } else {
        Some(up::sinks(&settings, &store, found.app(), &up)?)
    };
    Ok(Prepared {
        settings,
        typed: up,
        store,
        found,
        sinks,
    })
}

fn go_on(prepared: Prepared, arguments: Vec<OsString>, package: Package) -> ExitCode {
    let Prepared {
        settings,
        typed,
        store,
        found,
        sinks,
    } = prepared;
    let sinks = sinks.unwrap_or_default();
    let outcome = up::resume(&settings, &typed, (store, found), sinks, arguments, package)
        .and_then(|options| up::live(&settings, options));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(&settings.ui),
    }
}
