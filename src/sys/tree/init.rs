//! The init of a tree: it starts the program, reaps, passes signals on, and
//! ends only when the whole tree has.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::WaitOptions;
use rustix::process::WaitStatus;

use super::LOST_GRACE;
use super::sweep;
use super::sweep::Sent;
use super::wire::Command;
use super::wire::MESSAGE_BYTES_MAX;
use super::wire::Order;
use super::wire::Told;
use super::wire::Whom;
use super::wire::read;
use super::wire::tell;
use crate::sys::channel;
use crate::sys::channel::Patience;
use crate::sys::channel::Received;
use crate::sys::sandbox::Exit;
use crate::sys::syscall;

/// How often what is being ended is looked at, beside each end of a child: a process that is no child of this one
/// yet may fork unseen.
const LOOK: Duration = Duration::from_millis(50);

/// The whole life of an init.
pub(super) fn live(lifeline: OwnedFd, order: &Order, streams: [OwnedFd; 2]) -> ! {
    let lived = start(&lifeline, order, streams).and_then(|leader| {
        Init {
            lifeline,
            leader,
            grace: order.grace,
            stop_signal: order.stop_signal,
            exit: None,
            is_lost: false,
            deadline: None,
            is_killing: false,
            asked: Vec::new(),
            killed: 0,
        }
        .watch()
    });
    // An init that cannot watch ends; the kernel ends the program with it, and the caller what is left.
    syscall::exit_now(i32::from(lived.is_err()))
}

/// Starts the program; gives its process.
fn start(lifeline: &OwnedFd, order: &Order, [stdout, stderr]: [OwnedFd; 2]) -> io::Result<Pid> {
    let own = rustix::process::getpid();
    let number = |pid: Pid| pid.as_raw_nonzero().get().cast_unsigned();
    tell(lifeline.as_fd(), &Told::Init { pid: number(own) });
    let started = (|| {
        rustix::process::setsid()?;
        rustix::thread::set_name(c"slug-init")?;
        rustix::process::set_child_subreaper(Some(own))?;
        // SAFETY: the fork server has a single thread, this is its fork, and started none.
        #[expect(unsafe_code, reason = "a fork; see above")]
        unsafe {
            syscall::clone(libc::SIGCHLD)
        }
    })();
    match started {
        Ok(Some(pid)) => {
            tell(lifeline.as_fd(), &Told::Started { pid });
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            pid.ok_or_else(|| Errno::RANGE.into())
        }
        Ok(None) => {
            let (doing, error) = become_program(own, order, &stdout, &stderr);
            let errno = error.raw_os_error().unwrap_or_default();
            tell(lifeline.as_fd(), &Told::NotExecuted { doing, errno });
            syscall::exit_now(127)
        }
        Err(error) => {
            let doing = "start a process".to_owned();
            let errno = error.raw_os_error().unwrap_or_default();
            tell(lifeline.as_fd(), &Told::NotExecuted { doing, errno });
            Err(error)
        }
    }
}

/// Becomes the program; returns only what could not be done, and why.
fn become_program(
    init: Pid,
    order: &Order,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
) -> (String, io::Error) {
    let program = &order.program;
    let ready = || -> io::Result<()> {
        rustix::process::setsid()?;
        // Nothing else would end the program if the init were killed.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(init) {
            syscall::exit_now(127);
        }
        rustix::stdio::dup2_stdout(stdout)?;
        rustix::stdio::dup2_stderr(stderr)?;
        syscall::default_all_signals();
        syscall::hold_back(0).map(drop)
    };
    if let Err(error) = ready() {
        return ("prepare the process".to_owned(), error);
    }
    if let Err(error) = rustix::process::chdir(&program.cwd) {
        let doing = format!("enter the folder `{}`", program.cwd.display());
        return (doing, error.into());
    }
    let Some((name, arguments)) = program.argv.split_first() else {
        return ("execute nothing".to_owned(), Errno::INVAL.into());
    };
    let mut command = process::Command::new(name);
    command.args(arguments).env_clear().envs(&program.env);
    let error = command.exec();
    (format!("execute `{}`", name.display()), error)
}

struct Init {
    lifeline: OwnedFd,
    leader: Pid,
    grace: Duration,
    stop_signal: i32,
    /// How the leader ended.
    exit: Option<Exit>,
    /// The caller is gone.
    is_lost: bool,
    /// When what is being ended is killed.
    deadline: Option<Instant>,
    is_killing: bool,
    /// Those who were asked to end.
    asked: Vec<Pid>,
    /// How many that the leader had left were killed.
    killed: u32,
}

impl Init {
    /// Serves until the tree is empty.
    fn watch(mut self) -> io::Result<()> {
        let signals = syscall::signalfd(syscall::only(libc::SIGCHLD))?;
        loop {
            let (is_child, is_caller) = self.wait(signals.as_fd())?;
            if is_child {
                const SIGNALFD_SIGINFO_BYTES: usize = 128;
                // One record at most: the same signal is pending once, however many children ended.
                let _ = rustix::io::read(&signals, &mut [0; SIGNALFD_SIGINFO_BYTES]);
            }
            let had_exit = self.exit.is_some();
            let is_empty = self.reap()?;
            if is_caller {
                self.hear()?;
            }
            if let Some(exit) = self.exit
                && !had_exit
            {
                self.leader_ended(exit, is_empty)?;
            }
            let refused = if is_empty { 0 } else { self.clear()? };
            // Where what it may not kill is all that is left, it cannot wait for ever.
            if is_empty || refused > 0 {
                let (killed, left) = (self.killed, refused);
                tell(self.lifeline.as_fd(), &Told::Empty { killed, left });
                return Ok(());
            }
        }
    }

    /// Waits for the end of a child, for the caller, or until something is due.
    fn wait(&self, signals: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
        let patience = self.deadline.map(|deadline| {
            let look = if self.exit.is_some() || self.is_killing {
                LOOK
            } else {
                Duration::MAX
            };
            deadline
                .saturating_duration_since(Instant::now())
                .min(look)
                .max(Duration::from_millis(1))
        });
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut watched = vec![PollFd::from_borrowed_fd(signals, PollFlags::IN)];
        if !self.is_lost {
            watched.push(PollFd::from_borrowed_fd(
                self.lifeline.as_fd(),
                PollFlags::IN,
            ));
        }
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, patience.as_ref()))?;
        let happened = |at: usize| watched.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok((happened(0), happened(1)))
    }

    /// Reaps all that ended; says whether no child is left, and so nothing of the tree.
    fn reap(&mut self) -> io::Result<bool> {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.leader => self.exit = exit_of(status),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                Err(Errno::CHILD) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn hear(&mut self) -> io::Result<()> {
        match channel::receive(
            self.lifeline.as_fd(),
            Patience::DoNotWait,
            MESSAGE_BYTES_MAX,
        )? {
            Received::Nothing => {}
            Received::Message(message, _) => match read(&message)? {
                Command::Signal { signal, whom } => self.signal(signal, whom),
                Command::Kill => self.kill(),
            },
            Received::Closed => {
                self.is_lost = true;
                self.signal(self.stop_signal, Whom::Leader);
                let within = self.grace.min(LOST_GRACE);
                self.end_within(within);
            }
        }
        Ok(())
    }

    /// A process that was stopped (SIGSTOP, Ctrl-Z) hears no other signal until it goes on.
    fn signal(&self, signal: i32, whom: Whom) {
        if self.exit.is_some() {
            return; // its number may be another's by now
        }
        let leader = self.leader.as_raw_nonzero().get();
        // Its group is there a moment later than it is. It may also have ended this moment, which is no error.
        let is_sent = whom == Whom::Group && syscall::kill(-leader, signal).is_ok();
        let to = if is_sent { -leader } else { leader };
        if !is_sent {
            let _ = syscall::kill(leader, signal);
        }
        let _ = syscall::kill(to, libc::SIGCONT);
    }

    fn kill(&mut self) {
        self.is_killing = true;
        self.end_within(Duration::ZERO);
        if self.exit.is_none() {
            // All of the group at one instant: it may be forking faster than it can be listed.
            let _ = syscall::kill(-self.leader.as_raw_nonzero().get(), libc::SIGKILL);
        }
    }

    /// What is to end has at most so long; what was set before may be sooner.
    fn end_within(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.deadline = Some(self.deadline.map_or(deadline, |set| set.min(deadline)));
    }

    fn leader_ended(&mut self, exit: Exit, is_empty: bool) -> io::Result<()> {
        let mut left = 0;
        if !is_empty {
            let found = sweep::descendants(&[])?;
            left = found.iter().filter(|process| !process.is_zombie).count();
            self.end_within(self.grace);
        }
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        tell(self.lifeline.as_fd(), &Told::ended(exit, left));
        Ok(())
    }

    /// Ends what the leader left behind; says how many processes refuse to be.
    fn clear(&mut self) -> io::Result<u32> {
        let Some(deadline) = self.deadline else {
            return Ok(0);
        };
        if self.is_killing || Instant::now() >= deadline {
            self.is_killing = true;
            let pass = sweep::kill_all(&[])?;
            if self.exit.is_some() {
                self.killed += pass.killed;
            }
            return Ok(if pass.killed == 0 { pass.refused } else { 0 });
        }
        if self.exit.is_some() {
            for process in sweep::descendants(&[])? {
                if !process.is_zombie && !self.asked.contains(&process.pid) {
                    self.asked.push(process.pid);
                    if sweep::send(process, Signal::TERM) == Sent::Yes {
                        let _ = sweep::send(process, Signal::CONT);
                    }
                }
            }
        }
        Ok(0)
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    status
        .exit_status()
        .map(Exit::Code)
        .or(status.terminating_signal().map(Exit::Signal))
}
