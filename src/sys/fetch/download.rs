//! A file by HTTP, with the proxies and CA files of the machine.

use std::error::Error;
use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::blocking::Client;

/// How long a place may take to answer, or to send the next bytes.
const SILENCE_S_MAX: u64 = 30;
/// How long a connection may take.
const CONNECT_S_MAX: u64 = 10;
/// A download that breaks off, or a server's own error, is asked for again.
const ATTEMPTS_MAX: u32 = 3;

/// Asks for `url` and hands the body, with its length if told, to `keep`.
pub(super) fn get<T>(
    url: &str,
    mut keep: impl FnMut(&mut dyn Read, Option<u64>) -> io::Result<T>,
) -> Result<T, String> {
    let client = client()?;
    let mut why = String::new();
    for _ in 0..ATTEMPTS_MAX {
        let mut response = client
            .get(url)
            .send()
            .map_err(|error| words(error.without_url()))?;
        let status = response.status();
        if status.is_server_error() {
            why = format!("HTTP {status}");
            continue;
        }
        if !status.is_success() {
            return Err(format!("HTTP {status}"));
        }
        let total = response.content_length();
        match keep(&mut response, total) {
            Ok(kept) => return Ok(kept),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(error.to_string());
            }
            Err(error) => why = words(error),
        }
    }
    Err(why)
}

/// One client for the process: it keeps its connections and the parsed CA files.
fn client() -> Result<&'static Client, String> {
    static CLIENT: OnceLock<Result<Client, String>> = OnceLock::new();
    let made = CLIENT.get_or_init(|| {
        // Err: another part of the process has chosen one already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .user_agent(concat!("slug/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(CONNECT_S_MAX))
            .timeout(Duration::from_secs(SILENCE_S_MAX));
        builder.build().map_err(words)
    });
    made.as_ref().map_err(Clone::clone)
}

/// The error and all its causes: the last is the one that tells.
fn words(error: impl Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
