//! Requests and answers: short, with bodies, slow.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::Pace;
use super::Shared;
use super::exchange::Connection;
use super::exchange::wrong;

const SHORT: &[u8] = b"GET / HTTP/1.1\r\nHost: traffic\r\n\r\n";
const SHORT_AND_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: traffic\r\nConnection: close\r\n\r\n";
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: traffic\r\n\r\n";
/// Of a posted body, and how it comes.
const PIECE: [u8; 16 * 1024] = [b'p'; 16 * 1024];
const PIECES: usize = 4;
/// Of an upload: a piece in so many chunks, so far apart.
const CHUNKS: usize = 10;
const CHUNK_PAUSE: Duration = Duration::from_millis(100);

/// 40 requests a second, each on a connection and a thread of its own.
pub(super) fn fresh(shared: &Arc<Shared>) {
    let mut pace = Pace::new(Duration::from_millis(25));
    let mut asked = Vec::new();
    while !shared.is_over() {
        let (due, shared) = (pace.due(), Arc::clone(shared));
        asked.push(thread::spawn(move || {
            let floor = shared.floor();
            let outcome = Connection::open(shared.address)
                .and_then(|mut connection| short(&mut connection, SHORT_AND_CLOSE, floor));
            shared.settle("fresh", due, outcome);
        }));
        asked.retain(|asked| !asked.is_finished());
    }
    for asked in asked {
        asked.join().unwrap();
    }
}

/// 20 requests a second on one connection, which nobody but the client may end.
pub(super) fn kept(shared: &Arc<Shared>) {
    on_one_connection(
        shared,
        "kept",
        Duration::from_millis(50),
        |connection, floor| short(connection, SHORT, floor),
    );
}

/// 64 KiB in four pieces, five times a second, on one connection.
pub(super) fn posts(shared: &Arc<Shared>) {
    on_one_connection(
        shared,
        "post",
        Duration::from_millis(200),
        |connection, floor| {
            let length = PIECE.len() * PIECES;
            let head =
                format!("POST / HTTP/1.1\r\nHost: traffic\r\nContent-Length: {length}\r\n\r\n");
            connection.write(head.as_bytes())?;
            for _ in 0..PIECES {
                thread::sleep(Duration::from_millis(5));
                connection.write(&PIECE)?;
            }
            received(connection, length, floor)
        },
    );
}

/// A chunked body that takes a second, always one on its way.
pub(super) fn uploads(shared: &Arc<Shared>) {
    on_one_connection(shared, "upload", Duration::ZERO, |connection, floor| {
        connection
            .write(b"POST / HTTP/1.1\r\nHost: traffic\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for _ in 0..CHUNKS {
            let chunk = [b"400\r\n", &PIECE[..0x400], b"\r\n"].concat();
            connection.write(&chunk)?;
            thread::sleep(CHUNK_PAUSE);
        }
        connection.write(b"0\r\n\r\n")?;
        received(connection, 0x400 * CHUNKS, floor)
    });
}

/// An answer that takes a second, always one on its way.
pub(super) fn downloads(shared: &Arc<Shared>) {
    on_one_connection(shared, "download", Duration::ZERO, |connection, floor| {
        connection.write(SLOW)?;
        let answer = connection.answer()?;
        match answer.words(floor)?.as_slice() {
            [content, _] if content.len() == 10_000 => Ok(()),
            words => Err(wrong(format!("{words:?}"))),
        }
    });
}

fn short(connection: &mut Connection, request: &[u8], floor: u32) -> io::Result<()> {
    connection.write(request)?;
    received(connection, 0, floor)
}

/// The app says how much it got, and the sum of it.
fn received(connection: &mut Connection, length: usize, floor: u32) -> io::Result<()> {
    let answer = connection.answer()?;
    let sum = length * usize::from(PIECE[0]);
    match answer.words(floor)?.as_slice() {
        [_, got, summed] if *got == length.to_string() && *summed == sum.to_string() => Ok(()),
        words => Err(wrong(format!("{words:?}"))),
    }
}

/// One exchange after the other at that pace; after a failure, on a new connection.
fn on_one_connection(
    shared: &Arc<Shared>,
    kind: &'static str,
    every: Duration,
    exchange: impl Fn(&mut Connection, u32) -> io::Result<()>,
) {
    let mut pace = Pace::new(every);
    let mut kept = None;
    while !shared.is_over() {
        let due = if every.is_zero() {
            Instant::now()
        } else {
            pace.due()
        };
        let floor = shared.floor();
        let connection = match kept.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(shared.address),
        };
        let outcome = connection.and_then(|mut connection| {
            exchange(&mut connection, floor)?;
            kept = Some(connection);
            Ok(())
        });
        if outcome.is_err() {
            thread::sleep(Duration::from_millis(20)); // a failure a moment is enough to see
        }
        shared.settle(kind, due, outcome);
    }
}
