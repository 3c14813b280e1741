//! Whole messages over the socket between the caller and the sandbox.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::sys::sandbox::wire::MESSAGE_BYTES_MAX;

/// The most descriptors in one message.
const DESCRIPTORS_MAX: usize = 2;

/// Whether to wait for what is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Wait,
    DoNotWait,
}

/// What was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Message(Vec<u8>),
    /// Nothing yet; never with `Patience::Wait`.
    Nothing,
    /// The other end is closed, by whatever end its holders met.
    Closed,
}

/// Sends one message; never waits, never raises SIGPIPE.
pub(super) fn send(socket: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::send(socket, message, flags)?;
    Ok(())
}

/// Sends two descriptors.
pub(super) fn send_descriptors(
    socket: BorrowedFd<'_>,
    fds: [BorrowedFd<'_>; DESCRIPTORS_MAX],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&[0])],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives what `send_descriptors` sent.
pub(super) fn receive_descriptors(
    socket: BorrowedFd<'_>,
) -> io::Result<[OwnedFd; DESCRIPTORS_MAX]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    let wrong = |fds: Vec<OwnedFd>| {
        io::Error::other(format!(
            "{} descriptors instead of {DESCRIPTORS_MAX}",
            fds.len()
        ))
    };
    fds.try_into().map_err(wrong)
}

/// Receives one message.
pub(super) fn receive(socket: BorrowedFd<'_>, patience: Patience) -> io::Result<Received> {
    let flags = match patience {
        Patience::Wait => RecvFlags::empty(),
        Patience::DoNotWait => RecvFlags::DONTWAIT,
    };
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut control = RecvAncillaryBuffer::default();
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
    match received {
        Ok(message) if message.flags.contains(ReturnFlags::TRUNC) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message larger than any that the sandbox writes",
        )),
        Ok(message) if message.bytes > 0 => {
            bytes.truncate(message.bytes);
            Ok(Received::Message(bytes))
        }
        Ok(_) => Ok(Received::Closed),
        Err(rustix::io::Errno::AGAIN) => Ok(Received::Nothing),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap()
    }

    #[test]
    fn messages_keep_their_bounds_and_the_end_is_seen() {
        let (ours, theirs) = pair();
        send(theirs.as_fd(), b"one").unwrap();
        send(theirs.as_fd(), b"two").unwrap();
        drop(theirs);
        assert_eq!(
            receive(ours.as_fd(), Patience::Wait).unwrap(),
            Received::Message(b"one".to_vec())
        );
        assert_eq!(
            receive(ours.as_fd(), Patience::Wait).unwrap(),
            Received::Message(b"two".to_vec())
        );
        assert_eq!(
            receive(ours.as_fd(), Patience::Wait).unwrap(),
            Received::Closed
        );
    }

    #[test]
    fn the_last_words_arrive_although_the_other_end_left_a_message_unread() {
        let (ours, theirs) = pair();
        send(ours.as_fd(), b"unread").unwrap();
        send(theirs.as_fd(), b"last").unwrap();
        drop(theirs);
        for expected in [Received::Message(b"last".to_vec()), Received::Closed] {
            let received = receive(ours.as_fd(), Patience::DoNotWait).unwrap();
            assert_eq!(received, expected);
        }
    }

    #[test]
    fn a_message_over_the_limit_is_an_error_and_one_at_it_is_not() {
        let (ours, theirs) = pair();
        send(theirs.as_fd(), &vec![7; MESSAGE_BYTES_MAX]).unwrap();
        send(theirs.as_fd(), &vec![7; MESSAGE_BYTES_MAX + 1]).unwrap();
        assert!(matches!(
            receive(ours.as_fd(), Patience::Wait),
            Ok(Received::Message(_))
        ));
        assert!(receive(ours.as_fd(), Patience::Wait).is_err());
        assert_eq!(
            receive(ours.as_fd(), Patience::DoNotWait).unwrap(),
            Received::Nothing
        );
    }
}
