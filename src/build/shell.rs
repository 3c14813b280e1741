//! A shell where a program of a buildpack has run: the same mounts, the same
//! environment, the same user, on the operator's own terminal.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::site::{Ended, Job, Site};
use super::{BuildError, ShellRequest};
use crate::sys::relay::Relay;
use crate::sys::sandbox::{Child, Streams, Terminal, launch};

/// How often a change of the terminal's size is looked for: the build's threads leave nobody who would be told.
const RESIZE: Duration = Duration::from_millis(250);

/// The shells of the base, the more comfortable one first.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];
/// `bin/detect` says that the app is not for it: an answer, not a failure.
const DECLINED: i32 = 100;

impl Site {
    /// Opens the shell, if it was asked for after this end of this program. How the shell ends changes nothing.
    pub(super) fn offer_shell(
        &self,
        shell: ShellRequest,
        job: Job<'_>,
        ended: Ended,
        on_output: &mut dyn FnMut(bool, &[u8]),
    ) -> Result<(), BuildError> {
        let program = job.program.argv.first().map(Path::new);
        let is_meant = program.is_some_and(|program| program.ends_with(shell.after.path()));
        if !is_meant || !(shell.always || has_failed(ended)) {
            return Ok(());
        }
        let words: Vec<_> = job
            .program
            .argv
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        let told = format!(
            "a shell where it ran ({}); `exit` leaves it. To run it again:\n  {}\n",
            how(ended),
            words.join(" ")
        );
        on_output(true, told.as_bytes());
        self.enter(job)
    }

    fn enter(&self, job: Job<'_>) -> Result<(), BuildError> {
        let Job {
            buildpack,
            mut program,
            sees,
            network,
            limit: _,
        } = job;
        let lost = |source| BuildError::Follow {
            buildpack: buildpack.clone(),
            source,
        };
        let shell = SHELLS.into_iter().find(|shell| Path::new(shell).exists());
        program.argv = vec![shell.unwrap_or(SHELLS[1]).into()];
        // What the build is given has no terminal; a shell that draws needs to know which it has.
        program.env.insert("TERM".into(), "xterm".into());
        let mut spec = self.spec(program, sees, network);
        let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        spec.terminal = Terminal {
            stdin: is_terminal,
            stdout: is_terminal,
            stderr: is_terminal,
        };
        let own = |fd: BorrowedFd<'_>| -> Result<OwnedFd, BuildError> {
            fd.try_clone_to_owned().map_err(lost)
        };
        // Standard output is the command's result: what is typed and said here is talk.
        let streams = Streams {
            stdin: own(io::stdin().as_fd())?,
            stdout: own(io::stderr().as_fd())?,
            stderr: own(io::stderr().as_fd())?,
        };
        let mut child = launch(&self.program, &spec, streams)?;
        child.started()?;
        show(&mut child).map_err(lost)?;
        child.wait()?;
        Ok(())
    }
}

/// Shows the shell's terminal on the operator's until the shell has ended.
fn show(child: &mut Child) -> io::Result<()> {
    let Some(master) = child.take_terminal() else {
        return Ok(());
    };
    let mut relay = Relay::start(master, io::stdin().as_fd(), io::stderr().as_fd())?;
    while !relay
        .wait(&[child.exited_fd()], Some(RESIZE))?
        .contains(&true)
    {
        relay.resize();
    }
    relay.finish();
    Ok(())
}

fn has_failed(ended: Ended) -> bool {
    ![0, DECLINED].contains(&ended.code())
}

fn how(ended: Ended) -> String {
    match ended {
        Ended::Exit(code) => format!("it ended with exit code {code}"),
        Ended::TimedOut => "its time was up".to_owned(),
    }
}
