//! A router on a free port, apps that are threads with a script, and their connections, byte by byte.

use std::io;
use std::io::Read;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use slug::router::Listen;
use slug::router::Listener;
use slug::router::Router;
use slug::router::RouterOptions;
use slug::router::Target;

/// Far more than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A router on a free port, and its access lines.
pub(crate) struct Front {
    pub(crate) router: Router,
    pub(crate) address: SocketAddr,
    pub(crate) lines: Arc<Mutex<Vec<u8>>>,
}

impl Front {
    pub(crate) fn new() -> Self {
        Self::listening(&["127.0.0.1:0".parse().unwrap()])
    }

    pub(crate) fn listening(listen: &[Listen]) -> Self {
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
    pub(crate) fn of(app: &App) -> Self {
        let front = Self::new();
        front.route(&[app]);
        front
    }

    pub(crate) fn route(&self, apps: &[&App]) {
        let targets: Vec<Target> = apps.iter().map(|app| app.target()).collect();
        self.router.route(&targets, true);
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes, reads until the router closes.
    pub(crate) fn tell(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        read_all(&mut stream)
    }

    pub(crate) fn line_with(&self, words: &str) -> String {
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

pub(crate) struct App {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) ends: Arc<AtomicBool>,
}

static NEXT_APP: AtomicUsize = AtomicUsize::new(1);

impl App {
    pub(crate) fn new(script: impl Fn(&mut Conn, usize) + Send + Sync + 'static) -> Self {
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
    pub(crate) fn echo() -> Self {
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
    pub(crate) fn says(words: &'static str) -> Self {
        Self::new(move |conn, _| {
            while conn.request().is_some() {
                if conn.answer(words).is_err() {
                    return;
                }
            }
        })
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            id: self.id,
            instance: "web.1".to_owned(),
            release: "v1".to_owned(),
            address: self.address,
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the listener, which then closes
    }
}

pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    pub(crate) rest: Vec<u8>,
}

impl Conn {
    /// Head and body of the next request; none at the end.
    pub(crate) fn request(&mut self) -> Option<(String, Vec<u8>)> {
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

    pub(crate) fn head(&mut self) -> Option<String> {
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

    pub(crate) fn chunked(&mut self) -> Option<Vec<u8>> {
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

    pub(crate) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                return Some(String::from_utf8(self.rest.drain(..=end).collect()).unwrap());
            }
            self.more()?;
        }
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.rest.len() < length {
            self.more()?;
        }
        Some(self.rest.drain(..length).collect())
    }

    /// All that still comes; an error if it ends by a reset.
    pub(crate) fn rest_and_end(&mut self) -> io::Result<Vec<u8>> {
        let mut all = std::mem::take(&mut self.rest);
        self.stream.read_to_end(&mut all)?;
        Ok(all)
    }

    pub(crate) fn more(&mut self) -> Option<()> {
        let mut buffer = vec![0; 65536];
        let count = self.stream.read(&mut buffer).ok()?;
        self.rest.extend_from_slice(&buffer[..count]);
        (count > 0).then_some(())
    }

    pub(crate) fn answer(&mut self, words: &str) -> io::Result<()> {
        let length = words.len();
        self.stream.write_all(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{words}").as_bytes(),
        )
    }
}

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

pub(crate) fn read_all(stream: &mut impl Read) -> String {
    let mut all = Vec::new();
    // A reset after the answer (the router closed with bytes unread) is an end like another.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

pub(crate) fn get(path: &str, close: bool) -> Vec<u8> {
    let close = if close { "Connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{close}\r\n").into_bytes()
}
