//! Websockets: an echo each 50 ms, until the router closes one a drain after its release was replaced.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use super::Pace;
use super::Shared;
use super::exchange::Connection;
use super::exchange::wrong;

const OPEN: &[u8] = b"GET /echo HTTP/1.1\r\nHost: traffic\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// RFC 6455, 1.3: what belongs to that key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// One websocket after the other.
pub(super) fn echoes(shared: &Arc<Shared>) {
    while !shared.is_over() {
        let opened = Instant::now();
        let outcome = one(shared, opened);
        let failed = outcome.is_err();
        shared.settle("websocket", opened, outcome);
        if failed {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Opens one, and echoes until one side closes it.
fn one(shared: &Shared, opened: Instant) -> io::Result<()> {
    let mut connection = Connection::open(shared.address)?;
    connection.write(OPEN)?;
    let head = connection.head()?;
    let is_open = head[0].contains(" 101 ") && head.iter().any(|line| line.ends_with(ACCEPT));
    if !is_open {
        return Err(wrong(format!("{head:?}")));
    }
    let mut pace = Pace::new(Duration::from_millis(50));
    for number in 0_u32.. {
        let due = pace.due();
        if shared.is_over() {
            return close(&mut connection);
        }
        let text = number.to_string();
        send(&mut connection, TEXT, text.as_bytes())?;
        let (kind, payload) = receive(&mut connection)?;
        if kind == CLOSE {
            return closed(&mut connection, shared, opened, &payload);
        }
        let is_echo = payload.ends_with(format!(" {text}").as_bytes());
        let outcome = is_echo.then_some(()).ok_or_else(|| {
            let payload = String::from_utf8_lossy(&payload);
            wrong(format!("{payload:?} after {text:?}"))
        });
        shared.settle("websocket echo", due, outcome);
    }
    Ok(())
}

/// The router closed it: allowed with "going away" (RFC 6455, 7.4.1), after the drain, and to the very end.
fn closed(
    connection: &mut Connection,
    shared: &Shared,
    opened: Instant,
    payload: &[u8],
) -> io::Result<()> {
    if !shared.may_be_drained(opened) {
        return Err(wrong("closed before the drain was over"));
    }
    if payload.get(..2) != Some(&1001_u16.to_be_bytes()) {
        return Err(wrong(format!("closed with {payload:?}")));
    }
    send(connection, CLOSE, &1001_u16.to_be_bytes())?;
    shared.tally.lock().unwrap().drained_websockets += 1;
    ended(connection)
}

/// The client closes it.
fn close(connection: &mut Connection) -> io::Result<()> {
    send(connection, CLOSE, &1000_u16.to_be_bytes())?;
    match receive(connection)? {
        (CLOSE, _) => ended(connection),
        (kind, _) => Err(wrong(format!("a frame of kind {kind} instead of a close"))),
    }
}

/// Nothing more comes, and no reset.
fn ended(connection: &mut Connection) -> io::Result<()> {
    match connection.read_exact(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Err(wrong("bytes after the close frame")),
    }
}

/// One frame, masked by zeros, as a client must mask.
fn send(connection: &mut Connection, kind: u8, payload: &[u8]) -> io::Result<()> {
    let length = u8::try_from(payload.len()).map_err(wrong)?;
    let head = [0x80 | kind, 0x80 | length, 0, 0, 0, 0];
    connection.write(&[&head, payload].concat())
}

/// One frame of fewer than 126 bytes.
fn receive(connection: &mut Connection) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    connection.read_exact(&mut head)?;
    let mut payload = vec![0; usize::from(head[1])];
    connection.read_exact(&mut payload)?;
    Ok((head[0] & 0x0f, payload))
}
