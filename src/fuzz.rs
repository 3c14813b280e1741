//! Hostile input for parsers: a corpus of files, and what comes of changing
//! them. The changes are the same in every run; `SLUG_FUZZ_SEED` gives others,
//! `SLUG_FUZZ_SECONDS` more of them. An input that breaks a parser is added to
//! the corpus, which is tried first: it stays a test for good.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner};

use crate::ident::Digest;
use crate::ident::acts_on_terminal;

/// How long each corpus is changed and tried, unless the environment says otherwise.
const SECONDS: u64 = 1;
/// How many changed inputs are tried between two looks at the clock.
const CASES: u32 = 64;
/// What parsers stumble over.
const TOKENS: [&[u8]; 32] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\x1b[31m",
    b"\"",
    b"'",
    b"\"\"\"",
    b"\\",
    b"\\u0000",
    b"=",
    b"==",
    b"#",
    b":",
    b"/",
    b"../",
    b"~",
    b"${A}",
    b"-1",
    b"0x",
    b"18446744073709551616",
    b"1e999",
    b"nan",
    b"[",
    b"]",
    b"[[",
    b"{",
    b"}",
];

/// One change of an input. Places are relative, so that each fits whatever was done before.
#[derive(Clone, Debug)]
enum Edit {
    /// This token is put in, so many times.
    Insert(Index, &'static [u8], usize),
    /// So many bytes are taken out.
    Remove(Index, usize),
    /// A bit is turned over.
    Flip(Index, u8),
    /// A part of another file of the corpus is put in.
    Splice(Index, Index, Index, usize),
    /// The rest is cut off.
    Cut(Index),
}

impl Edit {
    fn apply(&self, seeds: &[Vec<u8>], input: &mut Vec<u8>) {
        let place = |index: &Index, input: &[u8]| index.index(input.len() + 1);
        match self {
            Self::Insert(at, token, times) => {
                let at = place(at, input);
                input.splice(at..at, token.repeat(*times));
            }
            Self::Remove(at, count) => {
                let at = place(at, input);
                let end = (at + count).min(input.len());
                input.drain(at..end);
            }
            Self::Flip(at, bit) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] ^= 1 << bit;
            }
            Self::Flip(..) => {}
            Self::Splice(seed, from, at, count) => {
                let seed = &seeds[seed.index(seeds.len())];
                let from = place(from, seed);
                let part = &seed[from..(from + count).min(seed.len())];
                let at = place(at, input);
                input.splice(at..at, part.iter().copied());
            }
            Self::Cut(at) => input.truncate(place(at, input)),
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<Index>;
    let times = prop_oneof![8 => Just(1_usize), 1 => 2..9_usize, 1 => Just(5000_usize)];
    prop_oneof![
        4 => (index(), select(TOKENS.to_vec()), times).prop_map(|(at, token, times)| Edit::Insert(at, token, times)),
        2 => (index(), 1..40_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        2 => (index(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        3 => (index(), index(), index(), 1..60_usize).prop_map(|(seed, from, at, count)| Edit::Splice(seed, from, at, count)),
        1 => index().prop_map(Edit::Cut),
    ]
}

/// Tries the files of `tests/corpus/<corpus>`, then changes of them. `check` panics where the parser is wrong.
///
/// # Panics
///
/// If `check` does: with the smallest input for which it does, which is then in the corpus.
pub(crate) fn fuzz(corpus: &str, check: impl Fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(corpus);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    for seed in &seeds {
        check(seed);
    }
    let inputs = (any::<Index>(), vec(edit(), 1..6)).prop_map(|(seed, edits)| {
        let mut input = seeds[seed.index(seeds.len())].clone();
        for edit in edits {
            edit.apply(&seeds, &mut input);
        }
        input
    });
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(setting("SLUG_FUZZ_SEED").unwrap_or(1)),
        ..Config::default()
    });
    let limit = Duration::from_secs(setting("SLUG_FUZZ_SECONDS").unwrap_or(SECONDS));
    let start = Instant::now();
    while start.elapsed() < limit {
        let run = runner.run(&inputs, |input| {
            check(&input);
            Ok::<(), TestCaseError>(())
        });
        if let Err(TestError::Fail(why, input)) = run {
            let file = folder.join(format!("found-{}", &Digest::of(&input).hex()[..12]));
            crate::sys::fs::write_atomic(&file, &input, 0o644).unwrap();
            panic!(
                "{why}\nwith {} ({:?})",
                file.display(),
                String::from_utf8_lossy(&input)
            );
        }
    }
}

/// What is true of every message about foreign input: it fits a screen, and cannot change a terminal's state.
#[track_caller]
pub(crate) fn fit_for_a_terminal(message: &str) {
    assert!(message.len() < 4096, "a message of {} bytes", message.len());
    let acting = message
        .chars()
        .find(|letter| *letter != '\n' && acts_on_terminal(*letter));
    assert_eq!(acting, None, "a control character in {message:?}");
}

#[track_caller]
pub(crate) fn all_fit_for_a_terminal(messages: &[String]) {
    for message in messages {
        fit_for_a_terminal(message);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own setting")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
