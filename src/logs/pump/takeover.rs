//! How a reader leaves what it was doing, and how the next one takes it up.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Instant;

use super::Handed;
use super::HandedPipe;
use super::HandedSource;
use super::HandedState;
use super::PumpError;
use super::reader::Reader;
use super::source::Ending;
use crate::logs::Framer;
use crate::logs::Tail;
use crate::logs::Voice;

impl Reader {
    /// Everything that is not written down in the sinks.
    pub(super) fn into_handed(mut self) -> Handed {
        let mut fds = Vec::new();
        let mut sources = Vec::new();
        for (id, source) in self.sources.drain() {
            let mut keys: Vec<u64> = self.pipes.keys().copied().collect();
            keys.retain(|key| self.pipes.get(key).is_some_and(|pipe| pipe.voice == id));
            keys.sort_unstable();
            let mut pipes = Vec::new();
            for pipe in keys.iter().filter_map(|key| self.pipes.remove(key)) {
                let (stream, carried) = (pipe.stream, pipe.framer.carried().to_vec());
                pipes.push(HandedPipe { stream, carried });
                fds.push(pipe.file.into());
            }
            sources.push(HandedSource {
                id,
                labels: source.voice.labels().clone(),
                tail: source.voice.lock().bytes().to_vec(),
                is_process: source.is_process,
                farewell: source.ended.map(|ending| ending.farewell),
                pipes,
            });
        }
        let state = HandedState {
            sources,
            next_id: 0,
            unwritten: Vec::new(),
        };
        Handed { state, pipes: fds }
    }

    /// Takes up what another left.
    pub(super) fn adopt(
        &mut self,
        state: HandedState,
        fds: Vec<OwnedFd>,
    ) -> Result<BTreeMap<u64, Voice>, PumpError> {
        let pipes = state.sources.iter().map(|source| source.pipes.len()).sum();
        if pipes != fds.len() {
            let fds = fds.len();
            return Err(PumpError::Handed { pipes, fds });
        }
        let (mut fds, mut voices) = (fds.into_iter(), BTreeMap::new());
        for handed in state.sources {
            let mut tail = Tail::default();
            if !handed.tail.is_empty() {
                tail.push(&handed.tail);
            }
            let voice = Voice::new(handed.id, handed.labels, tail);
            voices.insert(handed.id, voice.clone());
            self.listen(voice, Vec::new(), handed.is_process);
            for (pipe, fd) in handed.pipes.into_iter().zip(&mut fds) {
                self.open(handed.id, pipe.stream, fd, Framer::carrying(pipe.carried))?;
            }
            if let Some(farewell) = handed.farewell {
                let (at, then) = (Instant::now(), None);
                self.ended(handed.id, Ending { farewell, at, then });
            }
        }
        Ok(voices)
    }
}
