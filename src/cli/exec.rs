//! `slug exec`: a command inside a running instance.

use slug::run::{EnterError, Entering};

use super::args::{Exec, Which};
use super::report::{Failure, exit};
use super::settings::Settings;

pub(crate) fn run(settings: &Settings, typed: &Exec) -> Result<u8, Failure> {
    // 1 to 3 are the process's own, as with `slug run`.
    enter(settings, typed).map_err(Failure::before_the_process)
}

fn enter(settings: &Settings, typed: &Exec) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    let (process_type, number) = match &typed.which {
        Which::Type(process_type) => (process_type.clone(), None),
        Which::Instance(instance) => (instance.process_type.clone(), Some(instance.number)),
    };
    let entering = Entering {
        store: &store,
        app: &app,
        process_type,
        number,
        argv: typed.command.clone(),
        term: settings.term(),
    };
    let exit = slug::run::enter(&entering)?;
    Ok(u8::try_from(exit.code()).unwrap_or(exit::RUN_FAILED))
}

impl From<EnterError> for Failure {
    fn from(error: EnterError) -> Self {
        let failure = Self::of(exit::FAILED, &error).unchanged("the processes run on as before");
        let names = |all: &[slug::ident::Instance]| {
            let names: Vec<String> = all.iter().map(ToString::to_string).collect();
            names.join(", ")
        };
        match error {
            EnterError::NotThere { app, there, .. } if there.is_empty() => failure.hint(format!(
                "nothing of {app} runs: `slug run` starts a one-off"
            )),
            EnterError::NotThere { there, .. } => {
                failure.hint(format!("these run: {}", names(&there)))
            }
            EnterError::Several(process_type, there) => failure.code(exit::USAGE).hint(format!(
                "name one of {}, as in `slug exec {process_type}.1 -- sh`",
                names(&there)
            )),
            EnterError::Starting(_) => {
                failure.hint("`slug ps` shows when it is up; `slug logs` says what it waits for")
            }
            EnterError::Ended(_) => failure.hint("`slug ps` shows what runs now"),
            EnterError::Control(error) => error.into(),
            EnterError::Run(error) => error.into(),
        }
    }
}
