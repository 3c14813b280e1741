//! Whole messages, with descriptors, between processes of this program that trust each other's framing.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The most descriptors in one message.
pub(crate) const DESCRIPTORS_MAX: usize = 64;

/// Whether to wait for what is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Wait,
    DoNotWait,
}

/// What was received.
#[derive(Debug)]
pub(crate) enum Received {
    /// With the descriptors that came with it, closed on exec.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// Nothing yet; never with `Patience::Wait`.
    Nothing,
    /// The other end is closed, by whatever end its holders met.
    Closed,
}

/// The two ends of a channel, closed on exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one message; never waits, never raises SIGPIPE.
pub(crate) fn send(socket: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::send(socket, message, flags)?;
    Ok(())
}

/// Sends one message that is not empty, with at most `DESCRIPTORS_MAX` descriptors, waiting for room.
pub(crate) fn send_with(
    socket: BorrowedFd<'_>,
    message: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    // The space is rounded up, so that it would hold one more than the other end has room for.
    if fds.len() > DESCRIPTORS_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("more than {DESCRIPTORS_MAX} descriptors in one message"),
        ));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            socket,
            &[IoSlice::new(message)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })?;
    Ok(())
}

/// Receives one message of at most `bytes_max`.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    patience: Patience,
    bytes_max: usize,
) -> io::Result<Received> {
    let flags = match patience {
        Patience::Wait => RecvFlags::CMSG_CLOEXEC,
        Patience::DoNotWait => RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    };
    let mut bytes = vec![0; bytes_max];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut receive = || {
        rustix::io::retry_on_intr(|| {
            let mut buffer = [IoSliceMut::new(&mut bytes)];
            rustix::net::recvmsg(socket, &mut buffer, &mut control, flags)
        })
    };
    let received = match receive() {
        // The other end closed with a message of ours unread: told once, before what it had sent.
        Err(rustix::io::Errno::CONNRESET) => receive(),
        other => other,
    };
    let cut = ReturnFlags::TRUNC | ReturnFlags::CTRUNC;
    match received {
        Ok(message) if message.flags.intersects(cut) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message larger than any that is sent here, or no descriptor left for what came with it",
        )),
        Ok(message) if message.bytes > 0 => {
            bytes.truncate(message.bytes);
            let mut fds = Vec::new();
            for part in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = part {
                    fds.extend(received);
                }
            }
            Ok(Received::Message(bytes, fds))
        }
        Ok(_) => Ok(Received::Closed),
        Err(rustix::io::Errno::AGAIN) => Ok(Received::Nothing),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    const BYTES_MAX: usize = 1024;

    /// What came, as text; the end is no text.
    fn heard(socket: &OwnedFd, patience: Patience) -> Option<Vec<u8>> {
        match receive(socket.as_fd(), patience, BYTES_MAX).unwrap() {
            Received::Message(bytes, _) => Some(bytes),
            Received::Closed => None,
            Received::Nothing => Some(Vec::new()),
        }
    }

    #[test]
    fn messages_keep_their_bounds_and_the_end_is_seen() {
        let (ours, theirs) = pair().unwrap();
        send(theirs.as_fd(), b"one").unwrap();
        send(theirs.as_fd(), b"two").unwrap();
        drop(theirs);
        for expected in [Some(b"one".to_vec()), Some(b"two".to_vec()), None] {
            assert_eq!(heard(&ours, Patience::Wait), expected);
        }
    }

    #[test]
    fn the_last_words_arrive_although_the_other_end_left_a_message_unread() {
        let (ours, theirs) = pair().unwrap();
        send(ours.as_fd(), b"unread").unwrap();
        send(theirs.as_fd(), b"last").unwrap();
        drop(theirs);
        for expected in [Some(b"last".to_vec()), None] {
            assert_eq!(heard(&ours, Patience::DoNotWait), expected);
        }
    }

    #[test]
    fn a_message_over_the_limit_is_an_error_and_one_at_it_is_not() {
        let (ours, theirs) = pair().unwrap();
        send(theirs.as_fd(), &[7; BYTES_MAX]).unwrap();
        send(theirs.as_fd(), &[7; BYTES_MAX + 1]).unwrap();
        assert_eq!(heard(&ours, Patience::Wait), Some(vec![7; BYTES_MAX]));
        assert!(receive(ours.as_fd(), Patience::Wait, BYTES_MAX).is_err());
        assert_eq!(heard(&ours, Patience::DoNotWait), Some(Vec::new()));
    }

    #[test]
    fn descriptors_arrive_with_their_message_and_more_than_the_limit_are_refused() {
        let (ours, theirs) = pair().unwrap();
        let most = [ours.as_fd(); DESCRIPTORS_MAX];
        send_with(theirs.as_fd(), b"many", &most).unwrap();
        send_with(theirs.as_fd(), b"none", &[]).unwrap();
        for (text, count) in [(b"many", DESCRIPTORS_MAX), (b"none", 0)] {
            let Received::Message(bytes, fds) =
                receive(ours.as_fd(), Patience::Wait, BYTES_MAX).unwrap()
            else {
                panic!("it was sent")
            };
            assert_eq!((bytes.as_slice(), fds.len()), (text.as_slice(), count));
        }
        let too_many = [ours.as_fd(); DESCRIPTORS_MAX + 1];
        assert!(send_with(theirs.as_fd(), b"x", &too_many).is_err());
    }
}
