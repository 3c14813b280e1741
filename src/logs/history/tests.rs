//! History on real files.

use std::ops::ControlFlow;

use super::files::CURRENT;
use super::*;
use crate::ident::ReleaseVersion;
use crate::logs::Stream;

fn line(number: u64, source: &str, release: u32) -> Vec<u8> {
    let mut line = Vec::new();
    let text = format!("line {number}").into_bytes();
    let release = ReleaseVersion::from_number(release);
    let record = Record {
        at: "2026-01-01T00:00:00.000000Z",
        release,
        source,
        stream: Stream::Out,
        cut: false,
        text: &text,
    };
    record.write(&mut line);
    line
}

fn now(number: i64) -> Timestamp {
    Timestamp::from_unix_us(1_700_000_000_000_000 + number).unwrap()
}

fn texts(folder: &Path, query: &Query) -> Vec<String> {
    let mut texts = Vec::new();
    read(folder, query, &mut |record| {
        texts.push(String::from_utf8_lossy(record.text).into_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    texts
}

#[test]
fn history_is_filtered_and_its_end_alone_can_be_had() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("logs/shop");
    let mut history = History::open(&folder).unwrap();
    for number in 0..10 {
        let source = if number % 2 == 0 { "web.1" } else { "worker.1" };
        history
            .append(
                &line(number, source, 1 + u32::try_from(number).unwrap() / 5),
                1,
                now(0),
            )
            .unwrap();
    }
    let web = Query {
        source: Some("web".to_owned()),
        ..Query::default()
    };
    assert_eq!(
        texts(&folder, &web),
        ["line 0", "line 2", "line 4", "line 6", "line 8"]
    );
    assert_eq!(
        texts(
            &folder,
            &Query {
                last: Some(1),
                ..web.clone()
            }
        ),
        ["line 8"]
    );
    assert_eq!(
        texts(
            &folder,
            &Query {
                release: ReleaseVersion::from_number(2),
                ..web
            }
        ),
        ["line 6", "line 8"]
    );
    assert_eq!(
        texts(
            &folder,
            &Query {
                last: Some(0),
                ..Query::default()
            }
        ),
        [""; 0]
    );
    assert_eq!(texts(&folder.join("none"), &Query::default()), [""; 0]);
}

/// A history that keeps so many bytes.
fn keeping(folder: &Path, bytes: u64) -> History {
    History::open_and_keep(folder, Keep { bytes, age: None }).unwrap()
}

#[test]
fn rotation_loses_no_line_and_keeps_a_bounded_number_of_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let line_bytes = line(10, "web.1", 1).len() as u64;
    let mut history = keeping(folder.path(), 8 * line_bytes); // one line a file
    for number in 10..30 {
        let lines = line(number, "web.1", 1);
        history.append(&lines, 1, now(0)).unwrap(); // the clock stands still: names differ all the same
    }
    let kept: Vec<String> = (22..30).map(|number| format!("line {number}")).collect();
    assert_eq!(texts(folder.path(), &Query::default()), kept);
}

#[test]
fn a_clock_that_is_set_back_changes_neither_the_order_nor_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = keeping(folder.path(), 64);
    for number in 0..4_i64 {
        let lines = line(number.unsigned_abs(), "web.1", 1);
        history.keep.bytes = 1024;
        history.append(&lines, 1, now(-1_000_000 * number)).unwrap();
        history.rotate(now(-1_000_000 * number)).unwrap();
    }
    let all: Vec<String> = (0..4).map(|number| format!("line {number}")).collect();
    assert_eq!(texts(folder.path(), &Query::default()), all);
}

#[test]
fn two_writers_lose_no_line_of_each_other_over_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let mut supervisor = History::open(folder.path()).unwrap();
    let mut one_off = History::open(folder.path()).unwrap();
    supervisor.append(&line(0, "web.1", 1), 1, now(0)).unwrap();
    one_off.append(&line(1, "run.1", 1), 1, now(1)).unwrap();
    supervisor.rotate(now(2)).unwrap();
    one_off.append(&line(2, "run.1", 1), 1, now(3)).unwrap();
    supervisor.append(&line(3, "web.1", 1), 1, now(4)).unwrap();
    let current = fs::read_to_string(folder.path().join(CURRENT)).unwrap();
    assert_eq!(current.lines().count(), 2, "{current}");
    let all: Vec<String> = (0..4).map(|number| format!("line {number}")).collect();
    assert_eq!(texts(folder.path(), &Query::default()), all);
}

#[test]
fn time_and_text_choose_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open(folder.path()).unwrap();
    for number in 0..4 {
        let at = now(i64::from(number) * 1_000_000);
        let text = format!("GET /{number}");
        let record = Record {
            at: &at.to_string(),
            release: None,
            source: "web.1",
            stream: Stream::Out,
            cut: false,
            text: text.as_bytes(),
        };
        let mut lines = Vec::new();
        record.write(&mut lines);
        history.append(&lines, 1, at).unwrap();
        history.rotate(at).unwrap();
    }
    let between = Query {
        since: Some(now(1_000_000)),
        until: Some(now(3_000_000)),
        ..Query::default()
    };
    assert_eq!(texts(folder.path(), &between), ["GET /1", "GET /2"]);
    let text = Query {
        text: Some("/3".to_owned()),
        ..Query::default()
    };
    assert_eq!(texts(folder.path(), &text), ["GET /3"]);
}

#[test]
fn a_half_line_of_a_killed_writer_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let torn = [
        line(1, "web.1", 1),
        b"2026-01-01T00:00:00.000000Z v1 we".to_vec(),
    ]
    .concat();
    File::create(folder.path().join(CURRENT))
        .unwrap()
        .write_all(&torn)
        .unwrap();
    let mut history = History::open(folder.path()).unwrap();
    history.append(&line(2, "web.1", 1), 1, now(0)).unwrap();
    assert_eq!(
        texts(folder.path(), &Query::default()),
        ["line 1", "line 2"]
    );
}

#[test]
fn a_follower_sees_past_and_future_across_a_rotation_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open(folder.path()).unwrap();
    history.append(&line(0, "web.1", 1), 1, now(0)).unwrap();
    let mut seen = Vec::new();
    follow(folder.path(), &Query::default(), &mut |record| {
        seen.push(String::from_utf8_lossy(record.text).into_owned());
        let next = u64::try_from(seen.len()).unwrap();
        if next == 5 {
            return ControlFlow::Break(());
        }
        if next == 3 {
            for _ in 0..2 {
                history.rotate(now(1)).unwrap(); // an empty file between is passed over
            }
        }
        history.append(&line(next, "web.1", 1), 1, now(1)).unwrap();
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen, ["line 0", "line 1", "line 2", "line 3", "line 4"]);
}
