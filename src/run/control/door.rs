//! The control socket as the reactor holds it: who comes in, and who is still inside.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Asked;
use super::attend;

/// How many clients are heard at once; more wait.
const CLIENTS_MAX: usize = 256;

/// Takes clients in until it is closed; those that come then wait in the kernel's queue.
pub(in crate::run) struct Door {
    listener: Rc<UnixListener>,
    heard: Rc<dyn Fn(Asked)>,
    inside: Rc<Inside>,
    /// The task that takes clients in; none while it is closed.
    open: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Inside {
    count: Cell<usize>,
    left: Notify,
}

/// One client inside.
pub(super) struct Guest(Rc<Inside>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.left.notify_waiters();
    }
}

impl Door {
    /// Opens it; what each client asks goes to `heard`.
    pub(in crate::run) fn open(listener: UnixListener, heard: impl Fn(Asked) + 'static) -> Self {
        let mut door = Self {
            listener: Rc::new(listener),
            heard: Rc::new(heard),
            inside: Rc::default(),
            open: None,
        };
        door.set_open(true);
        door
    }

    /// Whether clients are taken in.
    pub(in crate::run) fn set_open(&mut self, is_open: bool) {
        match (is_open, self.open.take()) {
            (true, None) => {
                let taking = take_in(
                    Rc::clone(&self.listener),
                    Rc::clone(&self.heard),
                    Rc::clone(&self.inside),
                );
                self.open = Some(tokio::task::spawn_local(taking));
            }
            (true, open @ Some(_)) => self.open = open,
            (false, Some(taking)) => taking.abort(),
            (false, None) => {}
        }
    }

    /// Closed, and every client inside has its answer. One that waits for an upgrade is not counted.
    pub(in crate::run) fn is_empty(&self) -> bool {
        self.open.is_none() && self.inside.count.get() == 0
    }

    /// Returns when a client has left.
    pub(in crate::run) fn left(&self) -> impl Future<Output = ()> + use<> {
        let inside = Rc::clone(&self.inside);
        async move { inside.left.notified().await }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

async fn take_in(listener: Rc<UnixListener>, heard: Rc<dyn Fn(Asked)>, inside: Rc<Inside>) {
    loop {
        while inside.count.get() >= CLIENTS_MAX {
            inside.left.notified().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await; // no descriptor left
            continue;
        };
        inside.count.set(inside.count.get() + 1);
        let (heard, guest) = (Rc::clone(&heard), Guest(Rc::clone(&inside)));
        tokio::task::spawn_local(async move {
            // A client that breaks off, or sends garbage, has told us so itself.
            let _ = attend(stream, &*heard, guest).await;
        });
    }
}

/// Answers a client whose request another program of this process took. It may have gone away: then nobody is told.
pub(in crate::run) fn answer(connection: OwnedFd, reply: &super::Reply) -> io::Result<()> {
    use std::io::Write as _;
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    std::os::unix::net::UnixStream::from(connection).write_all(&line)
}
