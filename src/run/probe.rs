//! Is a process ready, and does it still live? It is asked over its port, or by a
//! command beside it in its sandbox.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio::time::timeout;

use super::formation::Check;
use super::formation::Liveness;
use crate::sys::readable::Readable;
use crate::sys::sandbox::Child;
use crate::sys::sandbox::Exit;

/// Between two tries of a port: a refused connection on loopback costs 20 µs, and each is time that a new release is not seen.
const PORT_PAUSE: Duration = Duration::from_millis(3);
/// Between two requests of a path: each costs the app what a request costs.
const PATH_PAUSE: Duration = Duration::from_millis(10);
/// Between two commands: each costs a shell.
const COMMAND_PAUSE: Duration = Duration::from_millis(100);
/// One answer may take so long.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// `HTTP/1.1 200`
const STATUS_BYTES: usize = 12;

/// Whom it asks.
#[derive(Clone)]
pub(super) struct Asked {
    /// Where it listens, if it has a port.
    pub(super) address: Option<SocketAddr>,
    /// Its sandbox.
    pub(super) child: Rc<RefCell<Child>>,
}

impl Asked {
    /// Returns once the check passes; the caller decides how long it waits. Never, if there is nothing to ask.
    pub(super) async fn until_ready(&self, check: &Check) {
        if self.address.is_none() && !matches!(check, Check::Command(_)) {
            return std::future::pending().await;
        }
        loop {
            let pause = match (self.ask(check).await, check) {
                (Answer::Good, _) => return,
                (_, Check::Command(_)) => COMMAND_PAUSE,
                (Answer::Bad, _) => PATH_PAUSE,
                (Answer::Refused, _) => PORT_PAUSE,
            };
            sleep(pause).await;
        }
    }

    /// Returns once it does not live any more, with why. Never, if it does.
    pub(super) async fn until_dead(&self, liveness: &Liveness) -> String {
        let Liveness {
            check,
            every,
            failures,
        } = liveness;
        let mut failed = 0;
        while failed < *failures {
            sleep(*every).await;
            failed = if self.ask(check).await == Answer::Good {
                0
            } else {
                failed + 1
            };
        }
        let times = if failed == 1 {
            "once".to_owned()
        } else {
            format!("{failed} times in a row")
        };
        match check {
            Check::Port => format!("did not accept a connection {times}"),
            Check::Path { path, .. } => format!("did not answer {path} well {times}"),
            Check::Command(line) => format!("failed its liveness command `{line}` {times}"),
        }
    }

    async fn ask(&self, check: &Check) -> Answer {
        let asked = async {
            match (check, self.address) {
                (Check::Command(line), _) => Answer::of(self.succeeds(line).await),
                (Check::Port, Some(address)) => match TcpStream::connect(address).await {
                    Ok(_) => Answer::Good,
                    Err(_) => Answer::Refused,
                },
                (Check::Path { path, status }, Some(address)) => {
                    answer(address, path, *status).await
                }
                (_, None) => Answer::Refused,
            }
        };
        timeout(ANSWER_MAX, asked).await.unwrap_or(Answer::Bad)
    }

    async fn succeeds(&self, line: &str) -> bool {
        let begun = self.child.borrow_mut().begin_errand(line);
        let Ok(id) = begun else { return false };
        let _errand = Errand { of: self, id };
        let report = self.child.borrow().report_fd().try_clone_to_owned();
        let Ok(report) = report.and_then(Readable::watch) else {
            return false; // no descriptor left
        };
        loop {
            let taken = self.child.borrow_mut().take_errand(id);
            match taken {
                Ok(Some(exit)) => return exit == Exit::Code(0),
                Ok(None) => {}
                Err(_) => return false, // it ends, which is told elsewhere
            }
            if report.wait().await.is_err() {
                return false;
            }
        }
    }
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Good,
    Bad,
    /// Nobody listens yet.
    Refused,
}

impl Answer {
    fn of(is_good: bool) -> Self {
        if is_good { Self::Good } else { Self::Bad }
    }
}

/// A command that runs; killed if nobody waits for it any more.
struct Errand<'a> {
    of: &'a Asked,
    id: u32,
}

impl Drop for Errand<'_> {
    fn drop(&mut self) {
        self.of.child.borrow_mut().end_errand(self.id);
    }
}

/// `GET` of a path: good is the status that is wanted, or, if none is, one from 200 to 399.
async fn answer(address: SocketAddr, path: &str, wanted: Option<u16>) -> Answer {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return Answer::Refused;
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: slug-check\r\nConnection: close\r\n\r\n"
    );
    let mut status = [0; STATUS_BYTES];
    let asked = stream.write_all(request.as_bytes()).await;
    let answered = stream.read_exact(&mut status).await;
    let code = std::str::from_utf8(&status[9..]).unwrap_or_default();
    let is_expected = |code: u16| match wanted {
        Some(wanted) => code == wanted,
        None => (200..400).contains(&code),
    };
    let is_answer = asked.is_ok() && answered.is_ok() && status.starts_with(b"HTTP/1.");
    Answer::of(is_answer && code.parse().is_ok_and(is_expected))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What is said to each question, and whether that is well.
    fn check(wanted: Option<u16>, said: &[(&'static str, bool)]) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            for (said, is_good) in said {
                let serving = async {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut request = [0; 16];
                    stream.read_exact(&mut request).await.unwrap();
                    assert_eq!(&request, b"GET /up HTTP/1.1");
                    stream.write_all(said.as_bytes()).await.unwrap();
                };
                let (heard, ()) = tokio::join!(answer(address, "/up", wanted), serving);
                assert_eq!(heard, Answer::of(*is_good), "{said}");
            }
        });
    }

    #[test]
    fn a_path_is_well_when_it_is_answered_with_what_is_expected() {
        let answers = [
            ("HTTP/1.1 503 Not yet\r\n\r\n", false),
            ("garbage", false),
            ("HTTP/1.1 2xx Well\r\n\r\n", false),
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.0 302 Found\r\n\r\n", true),
        ];
        check(None, &answers);
        let answers = [
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.1 401 Who\r\n\r\n", true),
        ];
        check(Some(401), &answers);
    }
}
