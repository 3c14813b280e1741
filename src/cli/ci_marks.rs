//! What the log viewers of CI systems fold and point at: groups, warnings, errors.
//!
//! GitHub takes any line of a log that begins with `::` for a command. So its commands are off from the first to the
//! last line of a build, with a token that nobody else knows, but for the moments in which this speaks.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use slug::sys::clock::Timestamp;
use slug::sys::fs::random_hex;

/// The CI system that reads what is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ci {
    #[default]
    None,
    /// `GITHUB_ACTIONS=true`; also Gitea's and Forgejo's runners.
    GitHub,
    /// `GITLAB_CI=true`.
    GitLab,
}

impl Ci {
    pub(crate) fn of(env: &BTreeMap<OsString, OsString>) -> Self {
        let is_true = |name: &str| {
            env.get(OsStr::new(name))
                .is_some_and(|value| value == "true")
        };
        match (is_true("GITHUB_ACTIONS"), is_true("GITLAB_CI")) {
            (true, _) => Self::GitHub,
            (false, true) => Self::GitLab,
            (false, false) => Self::None,
        }
    }
}

/// Makes the marks; whoever has them prints them at the beginning of a line.
#[derive(Debug)]
pub(crate) struct Marks {
    ci: Ci,
    /// GitHub: what turns commands on again.
    token: Option<String>,
    /// The group that is open; GitLab: its name.
    group: Option<String>,
}

impl Marks {
    pub(crate) fn new(ci: Ci) -> Self {
        Self {
            ci,
            token: None,
            group: None,
        }
    }

    /// Before anything else is said.
    pub(crate) fn begin(&mut self) -> String {
        self.speak("")
    }

    /// A group begins, and the one before ends. None: there are no groups here.
    pub(crate) fn group(&mut self, title: &str, now: Timestamp) -> Option<String> {
        match self.ci {
            Ci::None => None,
            Ci::GitHub => {
                let end = self.end_group(now);
                self.group = Some(String::new());
                Some(self.speak(&format!("{end}::group::{}\n", escaped(title))))
            }
            Ci::GitLab => {
                let end = self.end_group(now);
                let name = format!("slug_{}", random_hex());
                let seconds = seconds(now);
                let title: String = title
                    .chars()
                    .filter(|letter| !letter.is_control())
                    .collect();
                let mark = format!("{end}\x1b[0Ksection_start:{seconds}:{name}\r\x1b[0K{title}\n");
                self.group = Some(name);
                Some(mark)
            }
        }
    }

    /// The text as a warning that the CI system points at. None: say it as everywhere.
    pub(crate) fn warning(&mut self, text: &str) -> Option<String> {
        self.command("warning", text)
    }

    /// The same of what ends a build.
    pub(crate) fn error(&mut self, text: &str) -> Option<String> {
        self.command("error", text)
    }

    fn command(&mut self, command: &str, text: &str) -> Option<String> {
        (self.ci == Ci::GitHub)
            .then(|| self.speak(&format!("::{command} title=slug::{}\n", escaped(text))))
    }

    /// After everything else was said.
    pub(crate) fn end(&mut self, now: Timestamp) -> String {
        let end = self.end_group(now);
        match self.token.take() {
            Some(token) => format!("::{token}::\n{end}"),
            None => end,
        }
    }

    fn end_group(&mut self, now: Timestamp) -> String {
        match (self.ci, self.group.take()) {
            (Ci::GitHub, Some(_)) => "::endgroup::\n".to_owned(),
            (Ci::GitLab, Some(name)) => {
                format!("\x1b[0Ksection_end:{}:{name}\r\x1b[0K\n", seconds(now))
            }
            _ => String::new(),
        }
    }

    /// GitHub: commands on, these commands, commands off; each time with another token, for this one stands in the log.
    fn speak(&mut self, commands: &str) -> String {
        if self.ci != Ci::GitHub {
            return String::new();
        }
        let mut text = String::new();
        if let Some(token) = self.token.take() {
            let _ = writeln!(text, "::{token}::");
        }
        let token = random_hex();
        let _ = writeln!(text, "{commands}::stop-commands::{token}");
        self.token = Some(token);
        text
    }
}

fn seconds(now: Timestamp) -> i64 {
    now.unix_s()
}

/// As the data of a command: on one line.
fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    /// With the tokens as letters, in the order of their appearance.
    fn plain(text: &str) -> String {
        let mut tokens: Vec<String> = Vec::new();
        let words = text.split_inclusive([':', '\n', '\r', '_']).map(|part| {
            let word = part.trim_end_matches([':', '\n', '\r', '_']);
            if word.len() != 32 || !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return part.to_owned();
            }
            let known = tokens.iter().position(|token| token == word);
            let number = known.unwrap_or_else(|| {
                tokens.push(word.to_owned());
                tokens.len() - 1
            });
            part.replace(word, ["A", "B", "C", "D", "E"][number])
        });
        words.collect()
    }

    #[test]
    fn githubs_commands_are_on_only_while_a_mark_is_said() {
        let mut marks = Marks::new(Ci::GitHub);
        let mut text = marks.begin();
        text += &marks.group("one\n::error::x", now()).unwrap();
        text += &marks.warning("50%\r\nlines").unwrap();
        text += &marks.group("two", now()).unwrap();
        text += &marks.end(now());
        expect_test::expect![[r#"
            ::stop-commands::A
            ::A::
            ::group::one%0A::error::x
            ::stop-commands::B
            ::B::
            ::warning title=slug::50%25%0D%0Alines
            ::stop-commands::C
            ::C::
            ::endgroup::
            ::group::two
            ::stop-commands::D
            ::D::
            ::endgroup::
        "#]]
        .assert_eq(&plain(&text));
    }

    #[test]
    fn gitlabs_sections_begin_and_end_by_one_name() {
        let mut marks = Marks::new(Ci::GitLab);
        assert_eq!(marks.begin(), "");
        let mut text = marks.group("one\r", now()).unwrap();
        assert_eq!(marks.warning("x"), None);
        text += &marks.end(now());
        let expected = "\x1b[0Ksection_start:1767225600:slug_A\r\x1b[0Kone\n\x1b[0Ksection_end:1767225600:slug_A\r\x1b[0K\n";
        assert_eq!(plain(&text), expected);
    }

    #[test]
    fn elsewhere_nothing_is_marked() {
        let mut marks = Marks::new(Ci::None);
        assert_eq!(marks.begin() + &marks.end(now()), "");
        assert_eq!(marks.group("one", now()), None);
    }
}
