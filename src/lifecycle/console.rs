//! What a program of lifecycle says, in its form: everything on one stream,
//! filtered by a level.

use std::io::Write;

use super::failed::{ARGUMENTS, Failed};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// For who looks for a fault.
    Debug,
    /// What goes on.
    Info,
    /// What the user should know.
    Warn,
    /// Why it ended.
    Error,
}

/// Where it says it.
pub(super) struct Console<'a> {
    out: &'a mut dyn Write,
    level: Level,
}

impl<'a> Console<'a> {
    /// Says what is `Info` or matters more.
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            level: Level::Info,
        }
    }

    /// `-log-level`.
    pub(super) fn set_level(&mut self, name: &str) -> Result<(), Failed> {
        self.level = match name.to_ascii_lowercase().as_str() {
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" | "warning" => Level::Warn,
            "error" | "fatal" => Level::Error,
            _ => {
                let why = format!("invalid level `{name}` (expected debug, info, warn or error)");
                return Err(Failed::new(ARGUMENTS, "parse log level", why));
            }
        };
        Ok(())
    }

    pub(super) fn debug(&mut self, line: &str) {
        self.say(Level::Debug, line.as_bytes());
    }

    pub(super) fn info(&mut self, line: &str) {
        self.say(Level::Info, line.as_bytes());
    }

    pub(super) fn warn(&mut self, line: &str) {
        self.say(Level::Warn, line.as_bytes());
    }

    /// What a program said, or a line of ours. Nobody may be listening any more: that is no reason to end.
    pub(super) fn say(&mut self, level: Level, text: &[u8]) {
        if level < self.level || text.is_empty() {
            return;
        }
        let prefix: &[u8] = match level {
            Level::Debug | Level::Info => b"",
            Level::Warn => b"Warning: ",
            Level::Error => b"ERROR: ",
        };
        let end: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\n" };
        let _ = self.out.write_all(&[prefix, text, end].concat());
    }

    /// Before another program writes to the same stream.
    pub(super) fn flush(&mut self) {
        let _ = self.out.flush();
    }

    /// Says why it ended, if it failed; gives the exit code.
    pub(super) fn answer(&mut self, outcome: Result<(), Failed>) -> u8 {
        let code = match outcome {
            Ok(()) => 0,
            Err(failed) => {
                self.say(Level::Error, failed.to_string().as_bytes());
                failed.code
            }
        };
        self.flush();
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_less_than_the_level_is_not_said() {
        let mut out = Vec::new();
        let mut console = Console::new(&mut out);
        console.debug("a");
        console.set_level("debug").unwrap();
        console.debug("b");
        console.warn("c\n");
        console.set_level("error").unwrap();
        console.warn("d");
        assert_eq!(console.answer(Err(Failed::new(22, "detect", "e"))), 22);
        assert!(console.set_level("loud").is_err());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "b\nWarning: c\nERROR: failed to detect: e\n"
        );
    }
}
