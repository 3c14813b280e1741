//! Values that are written as text. Each keeps the text, so that a label says
//! what the file said.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

/// A value, parsed from its text, with what is expected of the text.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident($value:ty), $expected:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name {
            text: String,
            value: $value,
        }

        impl $name {
            /// What the text means.
            pub fn value(&self) -> &$value {
                &self.value
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let parse: fn(&str) -> Option<$value> = $parse;
                match parse(&text) {
                    Some(value) => Ok(Self { text, value }),
                    None => Err(format!("{text:?} is not {}", $expected)),
                }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.text
            }
        }
    };
}

text!(
    /// A time.
    TimeSpan(Duration),
    "a time (expected a number and ms, s, m or h, such as `30s`)",
    parse_time
);
text!(
    /// The number of a signal.
    StopSignal(i32),
    "a stop signal (expected TERM, INT, QUIT, HUP, USR1, USR2, WINCH, ABRT, ALRM, PWR, TTIN, TTOU, or RTMIN+3 and the like)",
    parse_signal
);
text!(
    /// A path of a URL, with its query if it has one.
    UrlPath(String),
    "the path of a URL (expected `/` and printable characters)",
    |text| {
        let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| text.to_owned())
    }
);
text!(
    /// A command for `sh -c`.
    CommandLine(String),
    "a command (expected a line for a shell)",
    |text| (!text.trim().is_empty() && !text.contains('\0')).then(|| text.to_owned())
);
text!(
    /// A number of bytes.
    Bytes(u64),
    "an amount of memory (expected a number and K, M or G, such as `512M`, at least 1M)",
    parse_bytes
);
text!(
    /// Thousandths of a processor.
    Cpus(u32),
    "a number of processors (expected such as `0.5` or `2`, with at most three decimals)",
    parse_cpus
);

/// `250ms`, `60s`, `5m`, `1h`.
fn parse_time(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let number: u64 = text[..digits].parse().ok()?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number * unit_ms))
}

/// The signals that servers stop by (Apache: WINCH, nginx and Unicorn: QUIT, PostgreSQL: INT, systemd: RTMIN+3 …),
/// with or without `SIG`.
fn parse_signal(text: &str) -> Option<i32> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some(number) = name.strip_prefix("RTMIN+") {
        let number: i32 = number.parse().ok()?;
        let last = libc::SIGRTMAX() - libc::SIGRTMIN();
        let is_written_so = name == format!("RTMIN+{number}");
        return (is_written_so && (0..=last).contains(&number)).then(|| libc::SIGRTMIN() + number);
    }
    Some(match name {
        "TERM" => libc::SIGTERM,
        "INT" => libc::SIGINT,
        "QUIT" => libc::SIGQUIT,
        "HUP" => libc::SIGHUP,
        "USR1" => libc::SIGUSR1,
        "USR2" => libc::SIGUSR2,
        "WINCH" => libc::SIGWINCH,
        "ABRT" => libc::SIGABRT,
        "ALRM" => libc::SIGALRM,
        "PWR" => libc::SIGPWR,
        "TTIN" => libc::SIGTTIN,
        "TTOU" => libc::SIGTTOU,
        _ => return None,
    })
}

/// `512M`: of 1024 of 1024.
fn parse_bytes(text: &str) -> Option<u64> {
    const BYTES_MIN: u64 = 1 << 20;
    let unit = match text.bytes().last()? {
        b'K' => 1 << 10,
        b'M' => 1 << 20,
        b'G' => 1 << 30,
        _ => return None,
    };
    let bytes = digits(&text[..text.len() - 1], 9)? * unit;
    (bytes >= BYTES_MIN).then_some(bytes)
}

fn parse_cpus(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.len() > 3 {
        return None;
    }
    let milli = digits(whole, 4)? * 1000 + digits(&format!("{part:0<3}"), 3)?;
    u32::try_from(milli).ok().filter(|milli| *milli > 0)
}

fn digits(text: &str, most: usize) -> Option<u64> {
    let is_number = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_mean_what_they_say() {
        assert_eq!(parse_time("5m"), Some(Duration::from_mins(5)));
        assert_eq!(parse_time("250ms"), Some(Duration::from_millis(250)));
        for text in ["", "s", "1", "1d", "-1s", "1.5s", "1234567890s"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert_eq!(parse_signal("SIGWINCH"), Some(libc::SIGWINCH));
        assert_eq!(parse_signal("RTMIN+3"), Some(libc::SIGRTMIN() + 3));
        for text in ["KILL", "STOP", "RTMIN+99", "RTMIN+03", "9", "term"] {
            assert_eq!(parse_signal(text), None, "{text}");
        }
        assert_eq!(parse_bytes("512M"), Some(512 << 20));
        assert_eq!(parse_bytes("2G"), Some(2 << 30));
        for text in ["", "M", "512", "1.5G", "+1M", "1023K"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
        assert_eq!(parse_cpus("1.5"), Some(1500));
        assert_eq!(parse_cpus("0.25"), Some(250));
        assert_eq!(parse_cpus("16"), Some(16_000));
        for text in ["", ".", "0", "0.000", "1.2345", "-1", "99999"] {
            assert_eq!(parse_cpus(text), None, "{text}");
        }
    }
}
