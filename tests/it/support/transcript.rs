//! What a running program has said so far.

use std::io::Read;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Text that grows while a program runs, and wakes who waits for a part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl Transcript {
    /// Reads `from` to its end on a thread of its own.
    pub(crate) fn follow(&self, mut from: impl Read + Send + 'static) {
        let transcript = self.clone();
        thread::spawn(move || {
            let mut part = [0; 16 << 10];
            while let Ok(count @ 1..) = from.read(&mut part) {
                let (text, grown) = &*transcript.0;
                text.lock().unwrap().extend_from_slice(&part[..count]);
                grown.notify_all();
            }
        });
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.0.lock().unwrap()).into_owned()
    }

    /// Waits until the text holds `part`; fails with the whole text if it does not come.
    #[track_caller]
    pub(crate) fn wait_for(&self, part: &str, limit: Duration) {
        self.wait_until(part, limit, |text| text.contains(part));
    }

    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, limit: Duration, done: impl Fn(&str) -> bool) {
        let (text, grown) = &*self.0;
        let deadline = Instant::now() + limit;
        let mut text = text.lock().unwrap();
        while !done(&String::from_utf8_lossy(&text)) {
            let left = deadline.saturating_duration_since(Instant::now());
            let so_far = || String::from_utf8_lossy(&text).into_owned();
            assert!(
                !left.is_zero(),
                "waited {limit:?} in vain for `{what}` in:\n{}",
                so_far()
            );
            text = grown.wait_timeout(text, left).unwrap().0;
        }
    }
}
