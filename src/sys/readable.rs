//! A descriptor that a task of a reactor waits for.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor, watched by the reactor of the thread that made this.
pub struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Watches it; inside a reactor only.
    pub fn watch(fd: OwnedFd) -> io::Result<Self> {
        #[expect(
            unsafe_code,
            reason = "tokio trusts that the number stays this descriptor's"
        )]
        // SAFETY: an `OwnedFd` names one open descriptor all its life, and it is given away here,
        // to live as long as the registration.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        registered.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Waits until something has come since the last wait. Whoever is woken takes all that there is before
    /// waiting again: what was left is not told a second time.
    pub async fn wait(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}

impl AsFd for Readable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get_ref().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_comes_wakes_and_what_was_taken_does_not() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (reader, mut writer) = io::pipe().unwrap();
            let readable = Readable::watch(reader.into()).unwrap();
            for _ in 0..3 {
                writer.write_all(b"x").unwrap();
                readable.wait().await.unwrap();
                assert_eq!(rustix::io::read(&readable, &mut [0; 2]).unwrap(), 1);
            }
            drop(writer);
            readable.wait().await.unwrap();
        });
    }
}
