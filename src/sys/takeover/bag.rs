//! Descriptors on their way from one program to the next.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd as _;
use std::os::fd::OwnedFd;

use rustix::io::FdFlags;
use serde::Deserialize;
use serde::Serialize;

use super::Program;
use super::TakeoverError;

/// Where in a bag a descriptor is; a state names its descriptors so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(usize);

/// Descriptors, each to be taken out once.
#[derive(Debug, Default)]
pub struct Bag {
    descriptors: Vec<Option<OwnedFd>>,
}

impl Bag {
    /// With the program that this process is now, to which the next goes back if it cannot take over.
    pub fn with_way_back() -> io::Result<Self> {
        let mut bag = Self::default();
        bag.put_copy(Program::own()?.as_fd())?;
        Ok(bag)
    }

    /// Puts one in.
    pub fn put(&mut self, descriptor: OwnedFd) -> Place {
        self.descriptors.push(Some(descriptor));
        Place(self.descriptors.len() - 1)
    }

    /// Puts a copy in.
    pub fn put_copy(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<Place> {
        descriptor.try_clone_to_owned().map(|copy| self.put(copy))
    }

    /// Takes it out; an error if there is none, or no more.
    pub fn take(&mut self, place: Place) -> io::Result<OwnedFd> {
        let taken = self.descriptors.get_mut(place.0).and_then(Option::take);
        taken.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    pub(super) fn into_descriptors(self) -> Vec<OwnedFd> {
        self.descriptors.into_iter().flatten().collect()
    }
}

impl From<Vec<OwnedFd>> for Bag {
    fn from(descriptors: Vec<OwnedFd>) -> Self {
        Self {
            descriptors: descriptors.into_iter().map(Some).collect(),
        }
    }
}

/// Descriptors 0 to 2 are the standard streams, which stay as they are.
const FIRST: i32 = 3;

/// The descriptor of this number, which the program before left open; close-on-exec from now on.
pub(super) fn inherited(number: i32) -> io::Result<OwnedFd> {
    if number < FIRST {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    #[expect(unsafe_code, reason = "a number is all that an exec leaves")]
    // SAFETY: fcntl only looks the number up, and says so where it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    #[expect(unsafe_code, reason = "see above")]
    // SAFETY: it is open, as the call above has shown, and of the program before, which gave it away by naming it:
    // this one has opened nothing that it keeps (`Package::receive` is the first thing that `main` does).
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// All of them; each must be named once.
pub(super) fn all_inherited(numbers: &[i32]) -> Result<Vec<OwnedFd>, TakeoverError> {
    let distinct: BTreeSet<&i32> = numbers.iter().collect();
    if distinct.len() != numbers.len() {
        let twice = "a descriptor is named twice".to_owned();
        return Err(TakeoverError::Garbled(twice));
    }
    let all: io::Result<Vec<OwnedFd>> = numbers.iter().map(|number| inherited(*number)).collect();
    Ok(all?)
}

/// Whether the next program gets them.
pub(super) fn set_inherited<'a>(
    descriptors: impl IntoIterator<Item = &'a OwnedFd>,
    is_inherited: bool,
) -> io::Result<()> {
    let flags = if is_inherited {
        FdFlags::empty()
    } else {
        FdFlags::CLOEXEC
    };
    for descriptor in descriptors {
        rustix::io::fcntl_setfd(descriptor, flags)?;
    }
    Ok(())
}

/// The descriptor of this number stays open over the next exec. For a child between fork and exec.
pub(super) fn let_next_have(number: i32) -> io::Result<()> {
    #[expect(unsafe_code, reason = "a child has its parent's numbers alone")]
    // SAFETY: fcntl only looks the number up, and says so where it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(rustix::io::fcntl_setfd(borrowed, FdFlags::empty())?)
}
