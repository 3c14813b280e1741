//! What differs between two releases: files, process types, what is needed of
//! the host, and the names of config vars. Never a config value.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::ReleaseError;
use crate::archive::{BaseNeeds, LayerBlob, Progress, Slug, SlugProcess, read_image, unpack};
use crate::ident::{AppName, Digest, EnvKey, ProcessType, ReleaseVersion};
use crate::store::{ConfigVars, Ledger, Release, Store};
use crate::sys::{At as _, PathError};

/// What came, went, and became another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes<T> {
    /// Only in the later one; sorted.
    pub added: Vec<T>,
    /// Only in the earlier one; sorted.
    pub removed: Vec<T>,
    /// In both, and not the same; sorted.
    pub changed: Vec<T>,
}

impl<T> Changes<T> {
    /// Is there no difference?
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self {
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
        }
    }
}

impl<T: Clone + Ord> Changes<T> {
    fn between<V>(
        old: &BTreeMap<T, V>,
        new: &BTreeMap<T, V>,
        same: impl Fn(&V, &V) -> bool,
    ) -> Self {
        let missing_in = |other: &BTreeMap<T, V>, map: &BTreeMap<T, V>| {
            map.keys()
                .filter(|key| !other.contains_key(key))
                .cloned()
                .collect()
        };
        let differs =
            |(key, value): &(&T, &V)| old.get(key).is_some_and(|before| !same(before, value));
        Self {
            added: missing_in(old, new),
            removed: missing_in(new, old),
            changed: new
                .iter()
                .filter(differs)
                .map(|(key, _)| key.clone())
                .collect(),
        }
    }
}

impl Changes<EnvKey> {
    /// What lies between two sets of config vars, by name.
    pub fn of_config(old: &ConfigVars, new: &ConfigVars) -> Self {
        let (old, new) = (old.iter().collect(), new.iter().collect());
        let changes = Changes::<&EnvKey>::between(&old, &new, |before, after| before == after);
        let owned = |keys: Vec<&EnvKey>| keys.into_iter().cloned().collect();
        Self {
            added: owned(changes.added),
            removed: owned(changes.removed),
            changed: owned(changes.changed),
        }
    }
}

/// What differs between two releases of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReleaseDiff {
    /// Of this object; its form (`spec/store.md`).
    pub schema: u32,
    /// Whose.
    pub app: AppName,
    /// The earlier.
    pub from: ReleaseVersion,
    /// The later.
    pub to: ReleaseVersion,
    /// Of the earlier.
    pub from_slug: Option<Digest>,
    /// Of the later.
    pub to_slug: Option<Digest>,
    /// Files and links, by their path in the slug: another content, kind or exec bit is a change.
    pub files: Changes<String>,
    /// Process types: another command is a change.
    pub processes: Changes<ProcessType>,
    /// Config vars, by name.
    pub config: Changes<EnvKey>,
    /// What the slug needs of the host.
    pub base: BaseDiff,
}

/// What the slugs of two releases need of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BaseDiff {
    /// Shared libraries, by their `SONAME`.
    pub libraries: Changes<String>,
    /// The lowest glibc, of the earlier.
    pub from_glibc: Option<String>,
    /// The lowest glibc, of the later.
    pub to_glibc: Option<String>,
}

/// Compares two releases. Layers that both have are not looked into; the others are unpacked on
/// this host, as they are to run, and compared file by file.
pub fn diff(
    store: &Store,
    app: &AppName,
    versions: (ReleaseVersion, ReleaseVersion),
    progress: Progress<'_>,
) -> Result<ReleaseDiff, ReleaseError> {
    let ledger = Ledger::open(store, app);
    let (from, to) = (ledger.get(versions.0)?, ledger.get(versions.1)?);
    let config_of = |release: &Release| store.unseal(app, &release.record.config);
    let (from_slug, to_slug) = (slug_of(store, &from)?, slug_of(store, &to)?);
    let (old, new) = (from_slug.as_ref(), to_slug.as_ref());
    let _held = store.hold()?;
    Ok(ReleaseDiff {
        schema: 1,
        app: app.clone(),
        from: versions.0,
        to: versions.1,
        from_slug: from.record.slug,
        to_slug: to.record.slug,
        files: file_changes(store, old, new, progress)?,
        processes: Changes::between(&processes(old), &processes(new), |before, after| {
            before == after
        }),
        config: Changes::of_config(&config_of(&from)?, &config_of(&to)?),
        base: base_diff(old.map(|slug| &slug.base), new.map(|slug| &slug.base)),
    })
}

fn slug_of(store: &Store, release: &Release) -> Result<Option<Slug>, ReleaseError> {
    Ok(release
        .record
        .slug
        .map(|slug| read_image(store, &slug))
        .transpose()?)
}

fn processes(slug: Option<&Slug>) -> BTreeMap<ProcessType, &SlugProcess> {
    let processes: &[SlugProcess] = slug.map_or(&[], |slug| &slug.processes);
    processes
        .iter()
        .map(|process| (process.process_type.clone(), process))
        .collect()
}

fn base_diff(old: Option<&BaseNeeds>, new: Option<&BaseNeeds>) -> BaseDiff {
    let libraries =
        |needs: Option<&BaseNeeds>| needs.map_or_else(BTreeMap::new, |needs| needs.sonames.clone());
    BaseDiff {
        // Which file wants a library is no need of its own.
        libraries: Changes::between(&libraries(old), &libraries(new), |_, _| true),
        from_glibc: old.and_then(|needs| needs.glibc.clone()),
        to_glibc: new.and_then(|needs| needs.glibc.clone()),
    }
}

fn file_changes(
    store: &Store,
    old: Option<&Slug>,
    new: Option<&Slug>,
    progress: Progress<'_>,
) -> Result<Changes<String>, ReleaseError> {
    let old_files = files_not_in(store, old, new, progress)?;
    let new_files = files_not_in(store, new, old, progress)?;
    // Compared here, not in the closure of `between`: reading can fail.
    let mut differing = BTreeSet::new();
    for (path, after) in &new_files {
        if let Some(before) = old_files.get(path)
            && !is_same_file(before, after)?
        {
            differing.insert(after.at.clone());
        }
    }
    Ok(Changes::between(&old_files, &new_files, |_, after| {
        !differing.contains(&after.at)
    }))
}

/// A file or link of an unpacked layer.
struct Node {
    at: PathBuf,
    kind: NodeKind,
}

#[derive(PartialEq, Eq)]
enum NodeKind {
    File { bytes: u64, executable: bool },
    Link { target: PathBuf },
}

/// The files of the layers of `slug` that `other` has not.
fn files_not_in(
    store: &Store,
    slug: Option<&Slug>,
    other: Option<&Slug>,
    progress: Progress<'_>,
) -> Result<BTreeMap<String, Node>, ReleaseError> {
    let layers = |slug: Option<&Slug>| -> Vec<LayerBlob> {
        slug.iter()
            .flat_map(|slug| slug.layers.iter().map(|(_, layer)| layer.clone()))
            .collect()
    };
    let shared: BTreeSet<Digest> = layers(other).iter().map(|layer| layer.diff_id).collect();
    let mut files = BTreeMap::new();
    for layer in layers(slug)
        .iter()
        .filter(|layer| !shared.contains(&layer.diff_id))
    {
        let root = unpack(store, layer, progress)?;
        add_files(&root, &mut files)?;
    }
    Ok(files)
}

fn add_files(root: &Path, files: &mut BTreeMap<String, Node>) -> Result<(), PathError> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).at("list", &folder)? {
            let at = entry.at("list", &folder)?.path();
            let metadata = fs::symlink_metadata(&at).at("look at", &at)?;
            let kind = if metadata.is_dir() {
                folders.push(at);
                continue;
            } else if metadata.is_symlink() {
                NodeKind::Link {
                    target: fs::read_link(&at).at("read the link", &at)?,
                }
            } else {
                NodeKind::File {
                    bytes: metadata.len(),
                    executable: metadata.permissions().mode() & 0o100 != 0,
                }
            };
            let path = at.strip_prefix(root).unwrap_or(&at);
            files.insert(format!("/{}", path.display()), Node { at, kind });
        }
    }
    Ok(())
}

fn is_same_file(before: &Node, after: &Node) -> Result<bool, PathError> {
    if before.kind != after.kind {
        return Ok(false);
    }
    match after.kind {
        NodeKind::Link { .. } => Ok(true),
        NodeKind::File { .. } => has_same_bytes(&before.at, &after.at),
    }
}

fn has_same_bytes(before: &Path, after: &Path) -> Result<bool, PathError> {
    let open = |path: &Path| File::open(path).map(BufReader::new).at("open", path);
    let (mut old, mut new) = (open(before)?, open(after)?);
    let (mut old_bytes, mut new_bytes) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let old_count = fill(&mut old, &mut old_bytes).at("read", before)?;
        let new_count = fill(&mut new, &mut new_bytes).at("read", after)?;
        if old_bytes[..old_count] != new_bytes[..new_count] {
            return Ok(false);
        }
        if old_count < old_bytes.len() {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
