//! A one-off that nobody waits for: `slug run --detach`. Whoever stands by it is
//! a process of its own, in a session of its own; its lines go into the app's
//! history.

use std::io;
use std::time::Duration;

use super::OneOff;
use super::Prepared;
use super::RunError;
use super::attend;
use super::events;
use super::nothing;
use super::record;
use super::registry::Entry;
use crate::logs::History;
use crate::logs::Labels;
use crate::logs::Pump;
use crate::run::formation;
use crate::run::launch::LaunchError;
use crate::run::pipe::pipe;
use crate::sys::sandbox;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Streams;

/// How long its last lines may take to be written.
const FAREWELL: Duration = Duration::from_secs(30);

/// Runs it to its end. `begun` is called once, when the process was executed; an error before that is the answer to
/// whoever asked for it.
pub fn run_detached(one_off: &OneOff<'_>, begun: &mut dyn FnMut(&Entry)) -> Result<Exit, RunError> {
    let Prepared {
        ledger,
        loaded,
        spec,
        mut registration,
    } = Prepared::new(one_off, true, &mut |_| ())?;
    // Before the threads are: what is held back here, is there too.
    let signals = attend::catch()?;
    let pump = pump(one_off)?;
    let two = || pipe(spec.uid).map_err(|error| RunError::Io("make a pipe", error));
    let ((out, to_out), (err, to_err)) = (two()?, two()?);
    let streams = Streams {
        stdin: nothing().map_err(LaunchError::from)?,
        stdout: to_out,
        stderr: to_err,
    };
    let mut child = sandbox::spawn(&spec, streams)?;
    registration
        .started(child.pid())
        .map_err(LaunchError::from)?;
    let entry = registration.entry().clone();
    let labels = Labels {
        source: entry.instance.to_string(),
        release: Some(entry.release),
    };
    pump.say(labels.clone(), &events::started(&entry));
    pump.listen(labels, out, err);
    begun(&entry);
    let stop = super::stop(&loaded, one_off);
    let ended = attend::attend(&mut child, &signals, None, stop, &mut || {
        registration.take_off();
    })?;
    // The sandbox left nobody who could write more: this reads all that is in the pipes.
    pump.close(FAREWELL);
    events::note(
        one_off.store,
        one_off.app,
        &entry,
        &events::ended(&entry, ended),
    );
    record(one_off, &ledger, &entry, ended)?;
    Ok(ended.exit)
}

/// Who reads what it says: for the history alone.
fn pump(one_off: &OneOff<'_>) -> Result<Pump, RunError> {
    let history = History::open(&formation::logs_folder(one_off.store, one_off.app))
        .map_err(LaunchError::from)?;
    Pump::start(vec![Box::new(history)])
        .map_err(|error| RunError::Io("read what it says", io::Error::other(error)))
}
