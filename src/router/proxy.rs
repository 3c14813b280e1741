//! One request: to whom, how often, and what the client is told.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header;
use hyper::header::HeaderValue;
use hyper::upgrade::OnUpgrade;
use tokio::sync::Notify;
use tokio::sync::watch;

use super::access::Journal;
use super::address::TrustedProxy;
use super::body::Answer;
use super::body::Progress;
use super::body::Stream;
use super::body::Turn;
use super::body::Upload;
use super::code::Code;
use super::headers;
use super::headers::Origin;
use super::headers::Peer;
use super::pool;
use super::pool::Pool;
use super::screen::CLIENT_STILL_MAX;
use super::table::InFlight;
use super::table::Lane;
use super::table::Routes;
use super::table::Table;
use super::ticket::Ticket;
use super::tunnel;
use crate::sys::clock::Timestamp;
use crate::sys::fs::random_hex;

/// How long a request may wait for a target.
pub const HOLD_MAX: Duration = Duration::from_secs(30);
/// How many requests may wait for a target at once (Heroku's H11).
pub const HELD_REQUESTS_MAX: usize = 1024;
/// How long an app may take to its answer's head, from the last byte of the request that was passed on (Heroku's H12).
pub const FIRST_BYTE_MAX: Duration = Duration::from_secs(30);
/// How long a client that expects `100 Continue` waits for the app's, before it gets the router's.
pub const EXPECT_MAX: Duration = Duration::from_secs(1);
/// How soon a target that refused a connection is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// How many connections may end before a byte of the same request was written.
const UNSENT_MAX: u32 = 4;

/// What the requests of one thread share.
pub(super) struct Thread {
    pub(super) table: Arc<Table>,
    pub(super) routes: watch::Receiver<Arc<Routes>>,
    pub(super) held: Arc<AtomicUsize>,
    pub(super) trusted: Arc<[TrustedProxy]>,
    pub(super) journal: Journal,
    pub(super) pool: Rc<Pool>,
}

/// Why one attempt brought no answer.
enum Attempt {
    /// Not a byte of it was written: it can be sent elsewhere.
    Unsent(Box<Request<Upload>>),
    /// It was written, perhaps in part, and no answer came.
    Lost(Code),
}

impl Thread {
    /// From a request's head to its answer's head.
    pub(super) async fn handle(
        self: Rc<Self>,
        peer: Peer,
        mut request: Request<Incoming>,
    ) -> Response<Answer> {
        let ends_screening = headers::ends_screening(request.headers());
        let checked = headers::check(&request);
        let theirs = headers::upgrade(request.headers()).map(|_| hyper::upgrade::on(&mut request));
        let origin = Origin {
            peer,
            trusted: &self.trusted,
            at_ms: Timestamp::now().unix_us() / 1000,
            new_id: random_hex,
        };
        headers::pass_on(&mut request, &origin);
        let mut ticket = Ticket::new(&request, &self.journal);
        if let Err(status) = checked {
            let is_slow = status == StatusCode::REQUEST_TIMEOUT;
            return ticket.fail(status, if is_slow { Code::H28 } else { Code::H26 });
        }
        let request = upload(request);
        let progress = request.body().progress();
        match self.forward(request, &progress, &mut ticket).await {
            Err(_) if progress.turn() == Turn::Bad => {
                ticket.fail(StatusCode::BAD_REQUEST, Code::H26)
            }
            Err(_) if progress.turn() == Turn::Gone => ticket.fail(Code::H27.status(), Code::H27),
            Err(Code::H80) => {
                let page = self.routes.borrow().page.clone();
                ticket.maintain(page.unwrap_or_default())
            }
            Err(code) => ticket.fail(code.status(), code),
            Ok((response, connection)) => {
                let mut response = self.answer(response, connection, theirs, ticket);
                if ends_screening && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    // The screen does not know where the next request of this connection begins.
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        }
    }

    /// Tries until somebody answers, or nobody may be asked any more.
    async fn forward(
        &self,
        mut request: Request<Upload>,
        progress: &Progress,
        ticket: &mut Ticket,
    ) -> Result<(Response<Incoming>, SendRequest<Upload>), Code> {
        let mut wait = Wait::new(self);
        let (mut may_reuse, mut unsent) = (true, 0);
        loop {
            let in_flight = wait.target().await?;
            let lane = Arc::clone(in_flight.lane());
            ticket.enter(in_flight);
            let reused = if may_reuse {
                self.pool.take(&lane).await
            } else {
                None
            };
            let is_reused = reused.is_some();
            let mut connection = match reused {
                Some(connection) => connection,
                None => match pool::connect(&lane).await {
                    Ok(connection) => connection,
                    Err(code) => {
                        ticket.leave();
                        wait.refused(lane.target.id, code);
                        continue;
                    }
                },
            };
            ticket.connected();
            // A connection that was idle may have been closed just now: then a request that can be said twice is.
            let spare = if is_reused { copy(&request) } else { None };
            match send(&mut connection, request, progress, &lane).await {
                Ok(response) => return Ok((response, connection)),
                Err(Attempt::Unsent(back)) if unsent < UNSENT_MAX => {
                    (request, may_reuse, unsent) = (*back, is_reused, unsent + 1);
                }
                Err(Attempt::Unsent(_)) => return Err(Code::H13),
                Err(Attempt::Lost(code)) => {
                    let is_theirs = matches!(progress.turn(), Turn::Bad | Turn::Gone);
                    let spare = spare.filter(|_| code == Code::H13 && !is_theirs);
                    (request, may_reuse) = (spare.ok_or(code)?, false);
                }
            }
        }
    }

    fn answer(
        &self,
        mut response: Response<Incoming>,
        connection: SendRequest<Upload>,
        theirs: Option<OnUpgrade>,
        mut ticket: Ticket,
    ) -> Response<Answer> {
        let status = response.status();
        let is_upgraded = status == StatusCode::SWITCHING_PROTOCOLS;
        if headers::check_answer(status, response.headers()).is_err() {
            return ticket.fail(Code::H25.status(), Code::H25);
        }
        ticket.answered(status);
        headers::pass_back(response.headers_mut(), status);
        match (is_upgraded, theirs) {
            (true, Some(theirs)) => {
                let ours = hyper::upgrade::on(&mut response);
                let is_websocket = headers::is_websocket(response.headers());
                tokio::task::spawn_local(tunnel::relay(theirs, ours, is_websocket, ticket));
                response.map(|_| Answer::empty())
            }
            (true, None) => ticket.fail(Code::H17.status(), Code::H17), // nobody asked for another protocol
            (false, _) => response.map(|inner| {
                let (connection, pool) = (Some(connection), Rc::clone(&self.pool));
                Answer::Stream(Box::new(Stream {
                    inner,
                    ticket,
                    connection,
                    pool,
                    still: None,
                }))
            }),
        }
    }
}

/// With its body as one that is passed on. The app is asked whether it wants it where the client asks.
fn upload(mut request: Request<Incoming>) -> Request<Upload> {
    let expects = headers::expects_continue(&request);
    if expects && request.body().is_end_stream() {
        request.headers_mut().remove(header::EXPECT);
        return request.map(Upload::new);
    }
    let mut request = request.map(Upload::new);
    if expects {
        let wanted = Arc::new(Notify::new());
        let told = Arc::clone(&wanted);
        request.body_mut().wait_until(wanted, EXPECT_MAX);
        hyper::ext::on_informational(&mut request, move |answer| {
            if answer.status() == StatusCode::CONTINUE {
                told.notify_one();
            }
        });
    }
    request
}

/// Sends it, and waits for the head of the answer.
async fn send(
    connection: &mut SendRequest<Upload>,
    request: Request<Upload>,
    progress: &Progress,
    lane: &Lane,
) -> Result<Response<Incoming>, Attempt> {
    tokio::select! {
        biased;
        sent = connection.try_send_request(request) => sent.map_err(|mut error| {
            let is_garbage = error.error().is_parse();
            match error.take_message() {
                Some(request) => Attempt::Unsent(Box::new(request)),
                None if is_garbage => Attempt::Lost(Code::H17),
                None => Attempt::Lost(Code::H13),
            }
        }),
        code = stands_still(progress) => Err(Attempt::Lost(code)),
        () = lane.cut() => Err(Attempt::Lost(Code::H24)),
    }
}

/// Until whoever's turn it is has let pass the time that it has: the client to send more, or the app to answer.
async fn stands_still(progress: &Progress) -> Code {
    loop {
        let (limit, code) = match progress.turn() {
            Turn::Client => (CLIENT_STILL_MAX, Code::H28),
            _ => (FIRST_BYTE_MAX, Code::H12),
        };
        let due = progress.last() + limit;
        if due <= Instant::now() {
            return code;
        }
        tokio::time::sleep_until(due.into()).await;
    }
}

/// The same request again, if it has no body and does the same however often it is sent (RFC 9110, 9.2.2).
fn copy(request: &Request<Upload>) -> Option<Request<Upload>> {
    let is_idempotent = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::PUT,
        Method::DELETE,
    ];
    if !request.body().is_end_stream() || !is_idempotent.contains(request.method()) {
        return None;
    }
    let mut copy = Request::new(Upload::empty(request.body()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// A request's search for a target.
struct Wait<'a> {
    thread: &'a Thread,
    deadline: Instant,
    /// Those that refused a connection since the last pause.
    unfit: Vec<u64>,
    code: Code,
    held: Option<Held<'a>>,
}

/// Counts as one that waits; no more when dropped.
struct Held<'a>(&'a AtomicUsize);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'a> Wait<'a> {
    fn new(thread: &'a Thread) -> Self {
        let deadline = Instant::now() + HOLD_MAX;
        Self {
            thread,
            deadline,
            unfit: Vec::new(),
            code: Code::H14,
            held: None,
        }
    }

    fn refused(&mut self, target: u64, code: Code) {
        self.unfit.push(target);
        self.code = code;
    }

    /// A target, as soon as there is one.
    async fn target(&mut self) -> Result<InFlight, Code> {
        loop {
            let mut changes = self.thread.routes.clone();
            let routes = Arc::clone(&changes.borrow_and_update());
            if routes.page.is_some() {
                return Err(Code::H80);
            }
            if let Some(entered) = self
                .thread
                .table
                .enter(&routes, |target| !self.unfit.contains(&target.id))
            {
                self.held = None;
                return Ok(entered);
            }
            if routes.lanes.is_empty() && !routes.hold {
                return Err(self.code);
            }
            self.pause(&mut changes).await?;
        }
    }

    /// Until the table changes, or those that refused may be asked again.
    async fn pause(&mut self, changes: &mut watch::Receiver<Arc<Routes>>) -> Result<(), Code> {
        if self.held.is_none() {
            let held = Held(&self.thread.held);
            if held.0.fetch_add(1, Ordering::Relaxed) >= HELD_REQUESTS_MAX {
                return Err(Code::H11);
            }
            self.held = Some(held);
        }
        let now = Instant::now();
        if now >= self.deadline {
            return Err(if self.code == Code::H14 {
                Code::H20
            } else {
                self.code
            });
        }
        let until = if self.unfit.is_empty() {
            self.deadline
        } else {
            self.deadline.min(now + RETRY)
        };
        // The end of the time, and the end of the table (it outlives us), are both looked at again by the caller.
        let _ = tokio::time::timeout_at(until.into(), changes.changed()).await;
        self.unfit.clear();
        Ok(())
    }
}
