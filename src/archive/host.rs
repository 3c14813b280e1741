//! What this machine offers to the slugs that run on it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::sys::PathError;
use crate::sys::fs::read_if_present;

use super::elf;
use super::{Target, host_target};

/// What a host offers to the slugs that run on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What it is.
    pub target: Target,
    /// The names of the shared libraries that its dynamic linker finds.
    pub libraries: BTreeSet<String>,
    /// The version of its glibc: `2.36`; none if it has another libc.
    pub glibc: Option<String>,
}

/// A cache of 10,000 libraries is about 1 MiB.
const CACHE_BYTES_MAX: u64 = 64 << 20;

impl Host {
    /// This machine: its ld.so.cache and the linker's standard folders, as far as the sandbox shows them.
    pub fn read() -> Result<Self, PathError> {
        let cache = read_if_present(Path::new("/etc/ld.so.cache"), CACHE_BYTES_MAX)?;
        let cached = cache.as_deref().map(cached_libraries).unwrap_or_default();
        let mut paths: Vec<PathBuf> = cached.into_iter().filter(|path| is_visible(path)).collect();
        for folder in standard_folders(paths.is_empty()) {
            paths.extend(libraries_in(&folder));
        }
        let glibc = paths
            .iter()
            .filter(|path| path.ends_with("libc.so.6"))
            .find_map(|path| glibc_of(path));
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        Ok(Self {
            target: host_target()?,
            libraries: paths.iter().filter_map(name).collect(),
            glibc,
        })
    }
}

/// The sandbox shows `/usr` and `/lib*` alone: a library in `/opt` is not there for an app.
fn is_visible(path: &Path) -> bool {
    path.starts_with("/usr") || path.to_string_lossy().starts_with("/lib")
}

/// The linker's own folders. Where there is no cache, `/lib` and `/usr/lib` too; elsewhere they may hold another architecture's.
fn standard_folders(no_cache: bool) -> Vec<PathBuf> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let mut folders = vec![PathBuf::from("/lib64"), PathBuf::from("/usr/lib64")];
    folders.extend(["/lib", "/usr/lib"].map(|folder| Path::new(folder).join(&triplet)));
    if no_cache {
        folders.extend([PathBuf::from("/lib"), PathBuf::from("/usr/lib")]);
    }
    folders
}

/// A folder that is not there, or not readable, offers nothing.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let is_library = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().contains(".so"))
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_library)
        .collect()
}

fn glibc_of(path: &Path) -> Option<String> {
    elf::read(&File::open(path).ok()?)?
        .defines
        .map(|version| version.to_string())
}

/// The paths that ld.so.cache lists for this architecture (glibc, `dl-cache.h`: `struct cache_file_new`); none if it is malformed.
fn cached_libraries(cache: &[u8]) -> Vec<PathBuf> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    // An old-format part may come first; offsets count from the new one's magic.
    let Some(start) = cache
        .windows(MAGIC.len())
        .position(|window| window == MAGIC)
    else {
        return Vec::new();
    };
    let cache = &cache[start..];
    let number = |at: usize| Some(u32::from_ne_bytes(cache.get(at..at + 4)?.try_into().ok()?));
    let entry = |index: usize| {
        let at = HEADER + index * ENTRY;
        let (flags, value) = (number(at)?, number(at + 8)?);
        if arch_flags().is_some_and(|wanted| flags & 0xff00 != wanted) {
            return None;
        }
        let text = cache
            .get(usize::try_from(value).ok()?..)?
            .split(|byte| *byte == 0)
            .next()?;
        std::str::from_utf8(text).ok().map(PathBuf::from)
    };
    let entries_max = cache.len() / ENTRY;
    let entries = number(MAGIC.len())
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or_default();
    (0..entries.min(entries_max)).filter_map(entry).collect()
}

/// `FLAG_X8664_LIB64`, `FLAG_AARCH64_LIB64` (glibc, `ldconfig.h`).
fn arch_flags() -> Option<u32> {
    match std::env::consts::ARCH {
        "x86_64" => Some(0x0300),
        "aarch64" => Some(0x0a00),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_what_this_program_runs_on() {
        let host = Host::read().unwrap();
        let program = elf::read(&File::open("/proc/self/exe").unwrap()).unwrap();
        for needed in program.needed {
            assert!(
                host.libraries.contains(&needed),
                "{needed} in {:?}",
                host.libraries
            );
        }
        assert_eq!(host.glibc.is_some(), cfg!(target_env = "gnu"));
    }

    #[test]
    fn a_malformed_cache_lists_nothing() {
        let mut cache = b"glibc-ld.so.cache1.1".to_vec();
        assert!(cached_libraries(&cache).is_empty());
        cache.resize(200, 0xff);
        assert!(cached_libraries(&cache).is_empty());
        assert!(cached_libraries(b"").is_empty());
    }
}
