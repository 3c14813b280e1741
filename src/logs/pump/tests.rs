//! The pump on real pipes.

use std::io::Read as _;
use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::ident::ReleaseVersion;
use crate::logs::Form;
use crate::logs::History;
use crate::logs::Paint;
use crate::logs::Terminal;

/// Long enough for any machine.
const LONG: Duration = Duration::from_mins(1);

fn until_read(pump: &Pump, voice: &Voice, farewell: &str) {
    let (tell, read) = mpsc::channel();
    let then = Box::new(move || tell.send(()).unwrap());
    pump.ended_then(voice, farewell.to_owned(), then);
    read.recv_timeout(LONG).unwrap();
}

struct Seen {
    pump: Pump,
    reader: io::PipeReader,
}

fn sinks(history: Option<History>) -> (io::PipeReader, Vec<Box<dyn Sink>>) {
    let (reader, writer) = io::pipe().unwrap();
    let mut sinks: Vec<Box<dyn Sink>> =
        vec![Box::new(Terminal::new(writer, Form::Text(Paint::Plain)))];
    sinks.extend(history.map(|history| Box::new(history) as Box<dyn Sink>));
    (reader, sinks)
}

fn pump(history: Option<History>) -> Seen {
    let (reader, sinks) = sinks(history);
    let pump = Pump::start(sinks).unwrap();
    Seen { pump, reader }
}

impl Seen {
    fn close(mut self) -> Vec<String> {
        let reading = thread::spawn(move || {
            let mut all = String::new();
            self.reader.read_to_string(&mut all).unwrap();
            all
        });
        assert!(self.pump.close(LONG));
        let all = reading.join().unwrap();
        all.lines().map(|line| line[16..].to_owned()).collect()
    }
}

fn labels() -> Labels {
    Labels {
        source: "web.1".to_owned(),
        release: ReleaseVersion::from_number(3),
    }
}

fn kept(folder: &Path) -> Vec<(Stream, Option<ReleaseVersion>, String)> {
    let mut kept = Vec::new();
    let query = crate::logs::Query::default();
    crate::logs::read(folder, &query, &mut |record| {
        let text = String::from_utf8_lossy(record.text).into_owned();
        kept.push((record.stream, record.release, text));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    kept
}

#[test]
fn the_farewell_comes_after_the_last_line_though_it_was_told_before() {
    let seen = pump(None);
    let (out, mut to_out) = io::pipe().unwrap();
    let (err, to_err) = io::pipe().unwrap();
    let voice = seen.pump.listen(labels(), out.into(), err.into());
    to_out.write_all(b"one\ntwo, no newline").unwrap();
    seen.pump
        .ended(&voice, "web.1 exited with code 0".to_owned());
    drop((to_out, to_err));
    assert_eq!(
        seen.close(),
        [
            "web.1 | one",
            "web.1 | two, no newline",
            "slug | web.1 exited with code 0"
        ]
    );
    assert_eq!(voice.tail(), "one\ntwo, no newline");
}

#[test]
fn a_pipe_that_a_straggler_holds_open_delays_nothing_for_long() {
    let seen = pump(None);
    let (out, mut to_out) = io::pipe().unwrap();
    let (err, _held_open) = io::pipe().unwrap();
    let voice = seen.pump.listen(labels(), out.into(), err.into());
    to_out.write_all(b"last").unwrap();
    until_read(&seen.pump, &voice, "gone");
    assert_eq!(seen.close(), ["web.1 | last", "slug | gone"]);
}

#[test]
fn two_streams_do_not_mix_within_a_line_and_history_says_which_was_which() {
    let folder = tempfile::tempdir().unwrap();
    let seen = pump(Some(History::open(folder.path()).unwrap()));
    let (out, mut to_out) = io::pipe().unwrap();
    let (err, mut to_err) = io::pipe().unwrap();
    let voice = seen.pump.listen(labels(), out.into(), err.into());
    to_out.write_all(b"half").unwrap();
    to_err.write_all(b"oops\n").unwrap();
    to_out.write_all(b" and half\n").unwrap();
    drop((to_out, to_err));
    until_read(&seen.pump, &voice, "");
    let mut lines = seen.close();
    lines.sort();
    assert_eq!(lines, ["web.1 | half and half", "web.1 | oops"]);
    let mut kept = kept(folder.path());
    kept.sort_by_key(|(stream, ..)| stream.name());
    let release = ReleaseVersion::from_number(3);
    assert_eq!(
        kept,
        [
            (Stream::Err, release, "oops".to_owned()),
            (Stream::Out, release, "half and half".to_owned())
        ]
    );
}

#[test]
fn the_lines_of_a_router_that_is_a_process_are_read_until_it_closes_its_end() {
    let seen = pump(None);
    let (pipe, mut to_pipe) = io::pipe().unwrap();
    seen.pump.listen_to_router(pipe.into());
    to_pipe.write_all(b"at=info\nat=err").unwrap();
    to_pipe.write_all(b"or\n").unwrap();
    drop(to_pipe);
    assert_eq!(seen.close(), ["router | at=info", "router | at=error"]);
}

#[test]
fn a_hand_over_loses_and_doubles_nothing_and_keeps_the_tail_and_the_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = pump(Some(History::open(folder.path()).unwrap()));
    let (out, mut to_out) = io::pipe().unwrap();
    let (err, mut to_err) = io::pipe().unwrap();
    let (access, mut to_access) = io::pipe().unwrap();
    let voice = seen.pump.listen(labels(), out.into(), err.into());
    seen.pump.listen_to_router(access.into());
    to_out.write_all(b"\xffone\nha").unwrap();
    to_access.write_all(b"at=in").unwrap();
    let mut first = [0; 28];
    seen.reader.read_exact(&mut first).unwrap(); // the rest of what was written is read with it
    let mut handed = seen.pump.hand_over(LONG).unwrap();
    to_out.write_all(b"lf\n").unwrap();
    to_access.write_all(b"fo\n").unwrap();
    let json = serde_json::to_string(&handed.state).unwrap();
    handed.state = serde_json::from_str(&json).unwrap();
    assert_eq!(handed.state.unwritten, []);

    let (reader, sinks) = sinks(Some(History::open(folder.path()).unwrap()));
    let adopted = Pump::adopt(handed, sinks).unwrap();
    let again = adopted.voice(voice.id(), voice.labels());
    to_err.write_all(b"unended").unwrap();
    drop((to_out, to_err, to_access));
    until_read(&adopted.pump, &again, "gone");
    let pump = adopted.pump;
    let next = pump.listen_to_router(io::pipe().unwrap().0.into());
    assert!(next.id() > again.id());
    let mut lines = Seen { pump, reader }.close();
    lines.sort();
    let after = [
        "router | at=info",
        "slug | gone",
        "web.1 | half",
        "web.1 | unended",
    ];
    assert_eq!(lines, after);
    assert!(
        again.tail().starts_with("\u{fffd}one\n"),
        "{}",
        again.tail()
    );
    let texts: Vec<String> = kept(folder.path())
        .into_iter()
        .map(|(.., text)| text)
        .collect();
    assert_eq!(texts.len(), 5, "{texts:?}");
}
