//! `--secret NAME`, `NAME=@FILE`, `NAME=-`: never `NAME=VALUE`, which the list of processes would show.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;

use slug::build::{BadSecret, SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secrets};
use slug::ident::EnvKey;

use super::report::Failure;
use super::settings::Settings;

const NOTHING_BUILT: &str = "nothing was built";

/// The secrets that were named.
pub(crate) fn read(settings: &Settings, typed: &[String]) -> Result<Secrets, Failure> {
    let mut secrets = Secrets::default();
    let mut stdin_of: Option<EnvKey> = None;
    for typed in typed {
        let (name, from) = match typed.split_once('=') {
            Some((name, from)) => (name, Some(from)),
            None => (typed.as_str(), None),
        };
        let name: EnvKey = name.parse().map_err(|_| wrong_name())?;
        let value = match from {
            None => of_environment(settings, &name)?,
            Some("-") => {
                if let Some(first) = stdin_of.replace(name.clone()) {
                    return Err(two_from_stdin(&first, &name));
                }
                read_all(io::stdin().lock(), &name, "standard input")?
            }
            Some(from) => {
                let file = from.strip_prefix('@').ok_or_else(|| value_typed(&name))?;
                let path = settings.absolute(file.as_ref());
                let shown = path.display().to_string();
                let open = File::open(&path).map_err(|error| unreadable(&name, &shown, &error))?;
                read_all(open, &name, &shown)?
            }
        };
        secrets.add(name, value)?;
    }
    Ok(secrets)
}

fn of_environment(settings: &Settings, name: &EnvKey) -> Result<Vec<u8>, Failure> {
    let value = settings.env.get(OsStr::new(name.as_str()));
    value.map(|value| value.as_bytes().to_vec()).ok_or_else(|| {
        Failure::usage(format!("the secret {name} is not in the environment"))
            .unchanged(NOTHING_BUILT)
            .hint(format!(
                "export {name}, or read it from a file: `--secret {name}=@FILE`"
            ))
    })
}

fn read_all(from: impl Read, name: &EnvKey, shown: &str) -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    from.take(SECRET_BYTES_MAX as u64 + 1)
        .read_to_end(&mut value)
        .map_err(|error| unreadable(name, shown, &error))?;
    Ok(value)
}

fn unreadable(name: &EnvKey, shown: &str, error: &io::Error) -> Failure {
    Failure::usage(format!(
        "the secret {name} could not be read from {shown}: {error}"
    ))
    .unchanged(NOTHING_BUILT)
}

fn wrong_name() -> Failure {
    // What was typed may hold the value.
    Failure::usage("a secret's name is of letters, digits and `_`, and does not begin with a digit")
        .unchanged(NOTHING_BUILT)
        .hint("`--secret NAME`, `--secret NAME=@FILE` or `--secret NAME=-`")
}

fn value_typed(name: &EnvKey) -> Failure {
    Failure::usage(format!("the value of the secret {name} stands on the command line, where every user of this machine can see it"))
        .unchanged(NOTHING_BUILT)
        .hint(format!("put it into a variable and name that: `--secret {name}`; or into a file: `--secret {name}=@FILE`"))
        .hint("change the secret: it was seen")
}

fn two_from_stdin(first: &EnvKey, second: &EnvKey) -> Failure {
    Failure::usage(format!(
        "both {first} and {second} are to be read from standard input"
    ))
    .unchanged(NOTHING_BUILT)
    .hint(format!(
        "read one of them from a file: `--secret {second}=@FILE`"
    ))
}

impl From<BadSecret> for Failure {
    fn from(error: BadSecret) -> Self {
        let failure = Self::of(super::report::exit::USAGE, &error).unchanged(NOTHING_BUILT);
        match error {
            BadSecret::Short(_) => failure.hint(format!(
                "a secret has {SECRET_BYTES_MIN} bytes or more: a shorter text appears in many files by chance"
            )),
            BadSecret::Long(_) => failure.hint("give what opens a file rather than the file"),
            BadSecret::Twice(_) => failure.hint("name each secret once"),
        }
    }
}
