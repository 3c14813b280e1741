//! The router, while its targets change and when it closes.

use std::io::Write as _;
use std::net::Shutdown;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;

use crate::support::front::App;
use crate::support::front::Conn;
use crate::support::front::Front;
use crate::support::front::PATIENCE;
use crate::support::front::get;
use crate::support::front::read_all;

#[test]
fn closing_lets_the_request_in_flight_end_and_takes_no_other() {
    let (arrived, has_arrived) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Mutex::new(may_go);
    let app = App::new(move |conn, _| {
        if conn.request().is_some() {
            arrived.send(()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
            conn.answer("done").unwrap();
        }
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    stream.write_all(&get("/", false)).unwrap();
    has_arrived.recv_timeout(PATIENCE).unwrap();
    front.router.close();
    go.send(()).unwrap();
    assert!(read_all(&mut stream).ends_with("done"));
    assert!(front.router.join(PATIENCE));
    assert!(TcpStream::connect(front.address).is_err());
}

/// Clients of four kinds, all the while the target changes and the old one ends as soon as it is told to be idle.
#[test]
fn no_request_fails_in_any_of_many_switches_under_load() {
    const SWITCHES: usize = 60;
    let front = Arc::new(Front::new());
    let first = App::echo();
    front.route(&[&first]);
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|kind| {
            let (front, stop, done) = (Arc::clone(&front), Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || client(kind, &front, &stop, &done))
        })
        .collect();
    let mut old = first;
    for number in 0..SWITCHES {
        let target = done.load(Ordering::SeqCst) + 20;
        while done.load(Ordering::SeqCst) < target
            && !clients.iter().any(thread::JoinHandle::is_finished)
        {
            thread::yield_now();
        }
        let new = App::echo();
        if number % 3 == 0 {
            front.router.route(&[], true); // a restart: nobody serves for a moment
        }
        front.route(&[&new]);
        let (tell, told) = mpsc::channel();
        front
            .router
            .when_idle(old.id, Box::new(move || tell.send(()).unwrap()));
        told.recv_timeout(PATIENCE).unwrap();
        old = new; // the old one's listener is gone now
    }
    stop.store(true, Ordering::SeqCst);
    let failures: Vec<String> = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect();
    assert!(
        failures.is_empty(),
        "{} failed, such as {}",
        failures.len(),
        failures[0]
    );
}

fn client(kind: usize, front: &Front, stop: &AtomicBool, done: &AtomicUsize) -> Vec<String> {
    let mut failures = Vec::new();
    let mut kept: Option<Conn> = None;
    while !stop.load(Ordering::SeqCst) && failures.len() < 5 {
        let request = match kind % 4 {
            0 | 1 => get("/", kind.is_multiple_of(4)),
            2 => b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
            _ => b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec(),
        };
        let mut conn = kept.take().unwrap_or_else(|| Conn {
            stream: front.connect(),
            rest: Vec::new(),
        });
        let sent = request.split_at(request.len() / 2);
        let written = conn
            .stream
            .write_all(sent.0)
            .and_then(|()| conn.stream.write_all(sent.1));
        match conn.request() {
            Some((head, _)) if head.starts_with("HTTP/1.1 200 ") => {
                done.fetch_add(1, Ordering::SeqCst);
                if kind.is_multiple_of(4) {
                    let _ = conn.stream.shutdown(Shutdown::Both);
                } else {
                    kept = Some(conn);
                }
            }
            answer => failures.push(format!("kind {kind}: {written:?}, {answer:?}")),
        }
    }
    failures
}
