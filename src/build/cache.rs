//! The cache of an app on this host, and the scratch folder of one build.
//! `store::build_cache` draws the folder.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::thread;

use super::state::{MadeFor, ReadState, State};
use super::{BuildError, BuildRequest, Event};
use crate::layer::cache::Change;
use crate::store::build_cache::{LOCK, ROOTS, WORK};
use crate::sys::cancel::Cancel;
use crate::sys::fs::{create_dir_durable, random_hex, remove_tree};
use crate::sys::lock::Lock;
use crate::sys::{At as _, PathError};

/// Held by one build of an app at a time.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    scratch: PathBuf,
    _lock: Lock,
    /// What the last good build left, as far as it is of use to this one.
    pub(super) state: State,
    /// What is of no use, and why.
    forgotten: Option<(State, Change)>,
}

impl Cache {
    /// Waits for the app's other build, if one runs; sweeps what killed ones left.
    pub(super) fn open(
        request: &BuildRequest,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, BuildError> {
        let folder = request.store.build_cache(&request.app);
        // Private: what is in there may name an index with its password.
        create_dir_durable(&folder, 0o700)?;
        let lock = take_lock(&folder.join(LOCK), request, progress)?;
        let state = match State::read(&folder.join("state.json"))? {
            ReadState::Read(state) => *state,
            ReadState::Unusable(why) => {
                progress(Event::Warning(&format!(
                    "the build cache of {} cannot be used and begins anew: {why}",
                    request.app
                )));
                State::empty()
            }
        };
        let scratch = folder.join(WORK).join(random_hex());
        let mut cache = Self {
            folder,
            scratch,
            _lock: lock,
            state,
            forgotten: None,
        };
        if request.clear_cache {
            cache.forget(Change::Cleared);
        }
        remove_tree(&cache.folder.join(WORK))?;
        for path in [&cache.scratch, &cache.folder.join(ROOTS)] {
            fs::create_dir_all(path).at("create the folder", path)?;
        }
        Ok(cache)
    }

    /// Layers made for something else are not restored (rule 49).
    pub(super) fn forget_unless_made_for(&mut self, now: &MadeFor) {
        if let Some(why) = self.state.unfit_for(now) {
            self.forget(why);
        }
    }

    fn forget(&mut self, why: Change) {
        let forgotten = std::mem::replace(&mut self.state, State::empty());
        self.forgotten.get_or_insert((forgotten, why));
    }

    /// Why a layer that the state does not have is made: it may have been there, and be of no use.
    pub(super) fn why_made(&self, was_there: impl Fn(&State) -> bool) -> Change {
        match &self.forgotten {
            Some((state, why)) if was_there(state) => *why,
            _ => Change::New,
        }
    }

    /// This build's own folder, on the file system of the roots.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A file of the cache's own.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where a root of the state lies.
    pub(super) fn root(&self, name: &str) -> PathBuf {
        self.folder.join(ROOTS).join(name)
    }

    /// Is all the content of the layer there? Somebody may have cleaned up by hand.
    pub(super) fn has_roots(&self, names: &[String], layer: &str) -> bool {
        !names.is_empty()
            && names
                .iter()
                .all(|name| self.root(name).join(layer).symlink_metadata().is_ok())
    }

    /// Takes a tree over, as the folder `layer` of a new root. Until the state names it, it is garbage.
    pub(super) fn adopt(&self, tree: &Path, layer: &str) -> Result<String, PathError> {
        let name = random_hex();
        let root = self.root(&name);
        fs::create_dir(&root).at("create the folder", &root)?;
        super::tree::move_tree(tree, &root.join(layer))?;
        Ok(name)
    }

    /// From now on the new state counts; then what it does not need is removed. `has_new_roots`: their bytes must be on the disk before.
    pub(super) fn commit(self, state: &State, has_new_roots: bool) -> Result<(), PathError> {
        if has_new_roots {
            let roots = self.folder.join(ROOTS);
            fs::File::open(&roots)
                .and_then(|folder| Ok(rustix::fs::syncfs(folder)?))
                .at("make durable", &roots)?;
        }
        if *state != self.state {
            state.write(&self.folder.join("state.json"))?;
        }
        let needed: BTreeSet<&str> = state.roots().collect();
        let roots = self.folder.join(ROOTS);
        for entry in fs::read_dir(&roots).at("read", &roots)? {
            let entry = entry.at("read", &roots)?;
            if !entry
                .file_name()
                .to_str()
                .is_some_and(|name| needed.contains(name))
            {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for Cache {
    /// What a failed build wrote is of no use to anybody; the next build would sweep it too.
    fn drop(&mut self) {
        let _ = remove_tree(&self.scratch);
    }
}

/// Waits for the lock, or for being asked to end. Says in the lock whose build this is: another one will be told for
/// whom it waits, and `slug gc` when the cache was used.
fn take_lock(
    path: &Path,
    request: &BuildRequest,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Lock, BuildError> {
    let lock = if let Some(lock) = Lock::try_take(path)? {
        lock
    } else {
        progress(Event::Waiting {
            holder: &Lock::who(path)?,
        });
        wait_for_lock(path, &request.cancel)?
    };
    let source = request.source.display();
    lock.say_who(&format!("`{source}`, process {}", std::process::id()), path)?;
    Ok(lock)
}

/// A thread of its own waits: nothing else can be watched beside a lock.
fn wait_for_lock(path: &Path, cancel: &Cancel) -> Result<Lock, BuildError> {
    let (ready, taken) = io::pipe().at("wait for", path)?;
    let of_thread = path.to_owned();
    let waiter = thread::spawn(move || {
        let _taken = taken; // closed at the end: that is what is watched
        Lock::take(&of_thread)
    });
    if let Some(signal) = cancel.wait_with(ready.as_fd()).at("wait for", path)? {
        return Err(BuildError::Interrupted { signal });
    }
    let lock = waiter.join();
    Ok(lock.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
}
