//! A buildpack whose programs are made from source has a script `package`
//! beside its descriptor: it is run before they are needed.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::report::Failure;
use crate::cli::settings::Settings;

/// The script.
const PACKAGE: &str = "package";

/// Runs `./package`, if there is one. What it says is talk.
pub(super) fn make(settings: &Settings, dir: &Path) -> Result<(), Failure> {
    let script = dir.join(PACKAGE);
    if !script.is_file() {
        return Ok(());
    }
    settings.ui.say("./package");
    let hint = "run it by hand: it makes bin/detect and bin/build";
    let failed = |why: String| {
        Err(Failure::failed(format!("`{}` {why}", script.display()))
            .unchanged("nothing was run in the sandbox")
            .hint(hint))
    };
    let status = Command::new(&script)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => failed(format!("failed ({status})")),
        Err(error) => failed(format!("could not be run: {error}")),
    }
}
