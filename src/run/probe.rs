//! Is a routed process ready?

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio::time::timeout;

use super::formation::Check;

/// Between two tries of a port: a refused connection on loopback costs 20 µs, and each is time that a new release is not seen.
const PORT_PAUSE: Duration = Duration::from_millis(3);
/// Between two requests of a path: each costs the app what a request costs.
const PATH_PAUSE: Duration = Duration::from_millis(50);
/// One request may take so long.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// `HTTP/1.1 200`
const STATUS_BYTES: usize = 12;

/// Returns once the check passes; the caller decides how long it waits.
pub(super) async fn until_ready(address: SocketAddr, check: &Check) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            sleep(PORT_PAUSE).await;
            continue;
        };
        match check {
            Check::Port => return,
            Check::Command(_) => return std::future::pending().await, // asked inside its sandbox
            Check::Path { path, status } => {
                if timeout(ANSWER_MAX, is_well(&mut stream, address, path, *status))
                    .await
                    .unwrap_or_default()
                {
                    return;
                }
                sleep(PATH_PAUSE).await;
            }
        }
    }
}

/// Is the answer's status the one that is wanted, or, if none is, from 200 to 399?
async fn is_well(
    stream: &mut TcpStream,
    address: SocketAddr,
    path: &str,
    wanted: Option<u16>,
) -> bool {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: slug-check\r\nConnection: close\r\n\r\n"
    );
    let mut status = [0; STATUS_BYTES];
    let asked = stream.write_all(request.as_bytes()).await;
    let answered = stream.read_exact(&mut status).await;
    let code = std::str::from_utf8(&status[9..])
        .ok()
        .and_then(|code| code.parse::<u16>().ok());
    let is_expected = |code| match wanted {
        Some(wanted) => code == wanted,
        None => (200..400).contains(&code),
    };
    asked.is_ok()
        && answered.is_ok()
        && status.starts_with(b"HTTP/1.")
        && code.is_some_and(is_expected)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_path_is_ready_when_it_is_answered_well() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serving = async {
                let mut asked = 0;
                for answer in [
                    "HTTP/1.1 503 Not yet\r\n\r\n",
                    "garbage",
                    "HTTP/1.1 204 No Content\r\n\r\n",
                ] {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut request = [0; 16];
                    stream.read_exact(&mut request).await.unwrap();
                    assert_eq!(&request, b"GET /up HTTP/1.1");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    asked += 1;
                }
                asked
            };
            let check = Check::Path {
                path: "/up".to_owned(),
                status: None,
            };
            let (asked, ()) = tokio::join!(serving, until_ready(address, &check));
            assert_eq!(asked, 3);
        });
    }
}
