//! The router by raw sockets: what goes in, what comes out, byte by byte. The apps are threads with a script.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use slug::router::Listen;
use slug::router::Listener;
use slug::router::Router;
use slug::router::RouterOptions;
use slug::router::Target;

const PATIENCE: Duration = Duration::from_secs(20);

/// A router on a free port, and its access lines.
struct Front {
    router: Router,
    address: SocketAddr,
    lines: Arc<Mutex<Vec<u8>>>,
}

impl Front {
    fn new() -> Self {
        Self::listening(&["127.0.0.1:0".parse().unwrap()])
    }

    fn listening(listen: &[Listen]) -> Self {
        let lines: Arc<Mutex<Vec<u8>>> = Arc::default();
        let noted = Arc::clone(&lines);
        let access = Arc::new(move |line: Vec<u8>| noted.lock().unwrap().extend(line));
        let listeners: Vec<Listener> = listen
            .iter()
            .map(|at| Listener::bind(at).unwrap())
            .collect();
        let Listen::Tcp(address) = *listeners[0].at() else {
            panic!("the first is tcp")
        };
        let router = Router::start(RouterOptions {
            listeners,
            trusted: Vec::new(),
            threads: 2,
            access,
        })
        .unwrap();
        Self {
            router,
            address,
            lines,
        }
    }

    /// In front of one app.
    fn of(app: &App) -> Self {
        let front = Self::new();
        front.route(&[app]);
        front
    }

    fn route(&self, apps: &[&App]) {
        let targets: Vec<Target> = apps.iter().map(|app| app.target()).collect();
        self.router.route(&targets, true);
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes, reads until the router closes.
    fn tell(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        read_all(&mut stream)
    }

    fn line_with(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let lines = String::from_utf8(self.lines.lock().unwrap().clone()).unwrap();
            if let Some(line) = lines.lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            thread::yield_now();
        }
        panic!(
            "no access line with {words:?} in {:?}",
            String::from_utf8_lossy(&self.lines.lock().unwrap())
        );
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.router.close();
    }
}

/// What an app does with a connection; the number says which connection of its life it is.
type Script = dyn Fn(&mut Conn, usize) + Send + Sync;

struct App {
    id: u64,
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
}

static NEXT_APP: AtomicUsize = AtomicUsize::new(1);

impl App {
    fn new(script: impl Fn(&mut Conn, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let ends = Arc::new(AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let (counted, ended) = (Arc::clone(&connections), Arc::clone(&ends));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                thread::spawn(move || {
                    let mut conn = Conn {
                        stream: stream.unwrap(),
                        rest: Vec::new(),
                    };
                    conn.stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    script(&mut conn, number);
                });
            }
        });
        let id = NEXT_APP.fetch_add(1, Ordering::SeqCst) as u64;
        Self {
            id,
            address,
            connections,
            ends,
        }
    }

    /// Answers each request with its head and body as it got them.
    fn echo() -> Self {
        Self::new(|conn, _| {
            while let Some((head, body)) = conn.request() {
                let answer = [head.as_bytes(), b"|", &body].concat();
                let length = answer.len();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                if conn
                    .stream
                    .write_all(&[head.as_bytes(), &answer].concat())
                    .is_err()
                {
                    return;
                }
            }
        })
    }

    /// Answers each request with these words.
    fn says(words: &'static str) -> Self {
        Self::new(move |conn, _| {
            while conn.request().is_some() {
                if conn.answer(words).is_err() {
                    return;
                }
            }
        })
    }

    fn target(&self) -> Target {
        Target {
            id: self.id,
            instance: "web.1".to_owned(),
            release: "v1".to_owned(),
            address: self.address,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the listener, which then closes
    }
}

struct Conn {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Conn {
    /// Head and body of the next request; none at the end.
    fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let head = self.head()?;
        let body = if header(&head, "transfer-encoding").is_some() {
            self.chunked()?
        } else {
            let length =
                header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            self.take(length)?
        };
        Some((head, body))
    }

    fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self
                .rest
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                let head = self.rest.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            self.more()?;
        }
    }

    fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            if size == 0 {
                while !self.line()?.trim().is_empty() {}
                return Some(body);
            }
            body.extend(self.take(size)?);
            self.take(2)?;
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                return Some(String::from_utf8(self.rest.drain(..=end).collect()).unwrap());
            }
            self.more()?;
        }
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.rest.len() < length {
            self.more()?;
        }
        Some(self.rest.drain(..length).collect())
    }

    fn more(&mut self) -> Option<()> {
        let mut buffer = vec![0; 65536];
        let count = self.stream.read(&mut buffer).ok()?;
        self.rest.extend_from_slice(&buffer[..count]);
        (count > 0).then_some(())
    }

    fn answer(&mut self, words: &str) -> io::Result<()> {
        let length = words.len();
        self.stream.write_all(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{words}").as_bytes(),
        )
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn read_all(stream: &mut impl Read) -> String {
    let mut all = Vec::new();
    // A reset after the answer (the router closed with bytes unread) is an end like another.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn get(path: &str, close: bool) -> Vec<u8> {
    let close = if close { "Connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{close}\r\n").into_bytes()
}

#[test]
fn a_request_reaches_the_app_with_its_origin_and_its_answer_comes_back() {
    let app = App::echo();
    let front = Front::of(&app);
    let answer = front.tell(b"POST /x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nCookie: c\r\nConnection: close\r\n\r\nbody");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("POST /x?y=1 HTTP/1.1\r\n") && answer.ends_with("|body"),
        "{answer}"
    );
    for line in [
        "host: a",
        "cookie: c",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "content-length: 4",
    ] {
        assert!(
            answer.contains(&format!("{line}\r\n")),
            "{line} is missing in {answer}"
        );
    }
    let line = front.line_with("path=\"/x?y=1\"");
    assert!(
        line.contains("at=info method=POST")
            && line.contains("process=web.1 release=v1")
            && line.contains("status=200"),
        "{line}"
    );
}

#[test]
fn requests_of_one_connection_are_answered_in_order_pipelined_too() {
    let app = App::echo();
    let front = Front::of(&app);
    let mut pipelined: Vec<u8> = (0..20)
        .flat_map(|number| get(&format!("/{number}"), false))
        .collect();
    pipelined.extend(get("/last", true));
    let answer = front.tell(&pipelined);
    let paths: Vec<&str> = answer
        .lines()
        .filter_map(|line| line.split("GET ").nth(1)?.strip_suffix(" HTTP/1.1"))
        .collect();
    let expected: Vec<String> = (0..20)
        .map(|number| format!("/{number}"))
        .chain(["/last".to_owned()])
        .collect();
    assert_eq!(paths, expected);
    assert_eq!(app.connections(), 1, "connections to the app are kept");
}

#[test]
fn chunked_bodies_pass_both_ways_with_their_trailers() {
    let app = App::new(|conn, _| {
        let (head, body) = conn.request().unwrap();
        assert_eq!(
            (header(&head, "content-length"), body.as_slice()),
            (None, b"hello world".as_slice())
        );
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
        conn.stream.write_all(answer).unwrap();
    });
    let front = Front::of(&app);
    let answer = front.tell(b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n");
    assert!(
        answer.contains("transfer-encoding: chunked")
            && answer.contains("3\r\nabc\r\n0\r\nx-sum: 1\r\n"),
        "{answer}"
    );
}

#[test]
fn what_two_parsers_could_take_apart_differently_is_refused_and_reaches_no_app() {
    let app = App::echo();
    let front = Front::of(&app);
    let cases: [&[u8]; 16] = [
        b"Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Host: a\r\nContent-Length: -1\r\n\r\n",
        b"Host: a\r\nContent-Length: 1 1\r\n\r\nx",
        b"Host: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nX: 1\r\n folded\r\n\r\n",
        b"Host: a\r\nX: 1\nY: 2\r\n\r\n",
        b"Host: a\r\nX: a\0b\r\n\r\n",
        b"Host: a\r\nHost: b\r\n\r\n",
        b"X: no host\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ];
    for case in cases {
        let request = [b"POST /smuggled HTTP/1.1\r\n", case].concat();
        let answer = front.tell(&[&request[..], &get("/second", true)].concat());
        let told = String::from_utf8_lossy(case);
        assert!(
            answer.starts_with("HTTP/1.1 400 "),
            "{told:?} was answered {answer:?}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{told:?}: what follows is not looked at: {answer}"
        );
    }
    let tunnel = front.tell(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(tunnel.starts_with("HTTP/1.1 400 "), "{tunnel}");
    assert!(front.tell(&get("/fine", true)).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_chunk_that_turns_bad_midway_is_not_passed_on_as_a_whole_request() {
    let (whole, is_whole) = mpsc::channel();
    let app = App::new(move |conn, _| {
        let head = conn.head();
        whole
            .send(head.is_some() && conn.chunked().is_some())
            .unwrap();
    });
    let front = Front::of(&app);
    let answer = front.tell(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n\r\n");
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    assert!(!is_whole.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn head_has_the_length_of_the_body_it_does_not_have() {
    let app = App::new(|conn, _| {
        while conn.request().is_some() {
            conn.stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
                .unwrap();
        }
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    for _ in 0..2 {
        stream
            .write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mut conn = Conn {
            stream: stream.try_clone().unwrap(),
            rest: Vec::new(),
        };
        let head = conn.head().unwrap();
        assert_eq!(header(&head, "content-length"), Some("1234"));
        assert!(conn.rest.is_empty());
    }
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let app = App::new(|conn, _| {
        for status in [
            "204 No Content",
            "304 Not Modified",
            "200 OK\r\nContent-Length: 0",
        ] {
            conn.request().unwrap();
            conn.stream
                .write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes())
                .unwrap();
        }
    });
    let front = Front::of(&app);
    let answer = front.tell(&[get("/", false), get("/", false), get("/", true)].concat());
    let statuses: Vec<&str> = answer
        .lines()
        .filter(|line| line.starts_with("HTTP/"))
        .collect();
    assert_eq!(
        statuses,
        [
            "HTTP/1.1 204 No Content",
            "HTTP/1.1 304 Not Modified",
            "HTTP/1.1 200 OK"
        ]
    );
}

#[test]
fn a_client_that_expects_100_gets_it_before_it_sends_its_body() {
    let app = App::echo();
    let front = Front::of(&app);
    let mut stream = front.connect();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n").unwrap();
    let mut conn = Conn {
        stream: stream.try_clone().unwrap(),
        rest: Vec::new(),
    };
    assert!(conn.head().unwrap().starts_with("HTTP/1.1 100 "));
    stream.write_all(b"body").unwrap();
    let answer = read_all(&mut stream);
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("|body"),
        "{answer}"
    );
    assert!(!answer.contains("expect:"));
}

#[test]
fn an_upgraded_connection_is_bytes_both_ways_and_counts_as_in_flight() {
    let app = App::new(|conn, _| {
        let (head, _) = conn.request().unwrap();
        assert_eq!(header(&head, "upgrade"), Some("websocket"));
        conn.stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi").unwrap();
        let mut buffer = [0; 5];
        conn.stream.read_exact(&mut buffer).unwrap();
        conn.stream.write_all(&buffer).unwrap();
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    stream
        .write_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .unwrap();
    let mut conn = Conn {
        stream: stream.try_clone().unwrap(),
        rest: Vec::new(),
    };
    let head = conn.head().unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101 ") && header(&head, "upgrade") == Some("websocket"),
        "{head}"
    );
    assert_eq!(conn.take(2).unwrap(), b"hi");
    front.router.route(&[], true);
    let (tell, told) = mpsc::channel();
    front
        .router
        .when_idle(app.id, Box::new(move || tell.send(()).unwrap()));
    assert!(told.try_recv().is_err());
    stream.write_all(b"\0\n\r\xff!").unwrap();
    assert_eq!(conn.take(5).unwrap(), b"\0\n\r\xff!");
    assert_eq!(conn.take(1), None);
    drop((stream, conn));
    told.recv_timeout(PATIENCE).unwrap();
    front.line_with("status=101");
}

#[test]
fn an_upgrade_that_is_refused_ends_the_connection_after_the_answer() {
    let app = App::echo();
    let front = Front::of(&app);
    let upgrade =
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_vec();
    let answer = front.tell(&[upgrade, get("/second", false)].concat());
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
}

#[test]
fn large_bodies_stream_both_ways_at_once() {
    const BYTES: usize = 32 * 1024 * 1024;
    // Answers while it reads: neither side could hold all of it back.
    let app = App::new(|conn, _| {
        conn.head().unwrap();
        conn.stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes())
            .unwrap();
        let mut left = BYTES;
        while left > 0 {
            let piece = conn.take(left.min(65536)).unwrap();
            left -= piece.len();
            conn.stream.write_all(&piece).unwrap();
        }
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    let mut reader = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        stream.write_all(format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes()).unwrap();
        let piece: Vec<u8> = (0..=255).cycle().take(65536).collect();
        (0..BYTES / 65536).for_each(|_| stream.write_all(&piece).unwrap());
        stream
    });
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    drop(sending.join().unwrap());
    let body = &all[all.len() - BYTES..];
    assert!(
        body.iter()
            .zip((0..=255).cycle())
            .all(|(got, sent): (&u8, u8)| *got == sent)
    );
}

#[test]
fn a_client_that_goes_away_frees_the_app() {
    let (gone, is_gone) = mpsc::channel();
    let app = App::new(move |conn, _| {
        conn.request().unwrap();
        conn.stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .unwrap();
        while conn.stream.write_all(b"1\r\nx\r\n").is_ok() {}
        gone.send(()).unwrap();
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    stream.write_all(&get("/", false)).unwrap();
    stream.read_exact(&mut [0; 16]).unwrap();
    drop(stream);
    is_gone.recv_timeout(PATIENCE).unwrap();
    front.line_with("code=H27");
}

#[test]
fn an_app_that_breaks_off_its_answer_breaks_the_clients_too() {
    let app = App::new(|conn, _| {
        conn.request().unwrap();
        conn.stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
            .unwrap();
    });
    let front = Front::of(&app);
    let answer = front.tell(&get("/", false));
    assert!(answer.ends_with("part"), "{answer}");
    front.line_with("code=H18");
}

#[test]
fn an_app_that_closes_without_an_answer_is_asked_once_and_told_as_h13() {
    let app = App::new(|conn, _| drop(conn.request()));
    let front = Front::of(&app);
    let answer = front
        .tell(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("H13"),
        "{answer}"
    );
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_kept_connection_that_the_app_closed_meanwhile_costs_no_request() {
    // Each connection answers one request, pretends that it stays open, and closes upon the next.
    let app = App::new(|conn, _| {
        conn.request().unwrap();
        conn.answer("ok").unwrap();
        let _ = conn.head();
    });
    let front = Front::of(&app);
    for _ in 0..20 {
        let answer = front.tell(&get("/", true));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn a_request_that_cannot_be_said_twice_never_is() {
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    let app = App::new(move |conn, _| {
        conn.request().unwrap();
        conn.answer("ok").unwrap();
        if conn.request().is_some() {
            counted.fetch_add(1, Ordering::SeqCst); // heard, and not answered
        }
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    stream.write_all(post).unwrap();
    let mut conn = Conn {
        stream: stream.try_clone().unwrap(),
        rest: Vec::new(),
    };
    assert!(conn.request().unwrap().0.starts_with("HTTP/1.1 200 "));
    stream.write_all(post).unwrap();
    assert!(conn.head().unwrap().starts_with("HTTP/1.1 503 "));
    assert_eq!((heard.load(Ordering::SeqCst), app.connections()), (1, 1));
}

#[test]
fn with_no_target_requests_are_held_and_answered_by_the_first_that_comes() {
    let front = Front::new();
    let mut streams: Vec<TcpStream> = (0..50).map(|_| front.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&get("/", true)).unwrap();
    }
    let app = App::says("late");
    front.route(&[&app]);
    for stream in &mut streams {
        assert!(read_all(stream).ends_with("late"));
    }
}

#[test]
fn with_no_target_and_none_expected_requests_are_refused_at_once() {
    let front = Front::new();
    front.router.route(&[], false);
    let answer = front.tell(&get("/", true));
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("H14"),
        "{answer}"
    );
    front.line_with("at=error code=H14 desc=\"No web processes running\"");
}

#[test]
fn a_target_that_refuses_connections_is_waited_for() {
    let dead = App::says("dead");
    let target = dead.target();
    drop(dead);
    let front = Front::new();
    front.router.route(&[target], true);
    let mut stream = front.connect();
    stream.write_all(&get("/", true)).unwrap();
    let app = App::says("alive");
    front.route(&[&app]);
    assert!(read_all(&mut stream).ends_with("alive"));
}

#[test]
fn several_addresses_serve_and_a_dead_sockets_file_is_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let app = App::echo();
    let front = Front::listening(&["127.0.0.1:0".parse().unwrap(), Listen::Unix(path.clone())]);
    front.route(&[&app]);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    assert!(read_all(&mut stream).contains("x-forwarded-for: 9.9.9.9\r\n"));
    assert!(front.tell(&get("/", true)).starts_with("HTTP/1.1 200 "));
    assert!(
        Listener::bind(&Listen::Unix(path)).is_err(),
        "a live socket is not taken away"
    );
}

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
