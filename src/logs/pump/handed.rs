//! What a pump leaves to the next one: a supervisor that replaces itself by
//! exec keeps every pipe, and every line that had not ended.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error as _;

use super::Pump;
use crate::logs::Labels;
use crate::logs::Stream;
use crate::logs::Tail;
use crate::logs::Voice;

/// All that a pump was doing.
#[derive(Debug)]
pub struct Handed {
    /// What can be written down.
    pub state: HandedState,
    /// The pipes, in the order of the state's sources and their pipes.
    pub pipes: Vec<OwnedFd>,
}

/// What can be written down of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedState {
    /// What was being read.
    pub sources: Vec<HandedSource>,
    /// The number of the next voice.
    pub next_id: u64,
    /// Which sinks did not write all, and how many lines.
    pub unwritten: Vec<(String, u64)>,
}

/// Who was being read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedSource {
    /// The number of its voice.
    pub id: u64,
    /// Who it is.
    pub labels: Labels,
    /// Its last lines.
    #[serde(with = "as_text")]
    pub tail: Vec<u8>,
    /// Its end is told, apart from the end of its pipes.
    pub is_process: bool,
    /// It has ended, its pipes have not: what is to be said after its last line.
    pub farewell: Option<String>,
    /// Those that are open.
    pub pipes: Vec<HandedPipe>,
}

/// One pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedPipe {
    /// Which stream comes through it.
    pub stream: Stream,
    /// The line whose end has not come.
    #[serde(with = "as_text")]
    pub carried: Vec<u8>,
}

/// A pump that goes on, and the voices that it goes on with.
#[derive(Debug)]
pub struct Adopted {
    /// The new handle.
    pub pump: Pump,
    /// By their numbers.
    pub voices: BTreeMap<u64, Voice>,
}

impl Adopted {
    /// The voice of a process that was handed over; one that says nothing any more if its last line had been read before.
    pub fn voice(&self, id: u64, labels: &Labels) -> Voice {
        let known = self.voices.get(&id).cloned();
        known.unwrap_or_else(|| Voice::new(id, labels.clone(), Tail::default()))
    }
}

/// Any bytes as text, each the character of its number: JSON knows no bytes, and most of these are ASCII.
mod as_text {
    use super::Deserialize;
    use super::Deserializer;
    use super::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        out.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
        bytes.map_err(super::no_byte::<D>)
    }
}

fn no_byte<'de, D: Deserializer<'de>>(_: std::char::TryFromCharError) -> D::Error {
    D::Error::custom("a character that stands for no byte")
}
