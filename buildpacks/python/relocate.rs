//! An interpreter that starts from wherever it lies: the library paths in its
//! ELF files become relative to themselves, written over the absolute ones
//! in place.

use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use object::LittleEndian;
use object::elf;
use object::read::elf::Dyn as _;
use object::read::elf::ElfFile64;
use object::read::elf::FileHeader as _;
use object::read::elf::ProgramHeader as _;

/// What one ELF file needs, and where its library paths stand.
#[derive(Debug, Default)]
struct Dynamic {
    /// `DT_NEEDED`.
    needed: Vec<String>,
    /// `DT_RUNPATH` and `DT_RPATH`: the range in the file.
    paths: Vec<std::ops::Range<usize>>,
    /// Where any other string of the dynamic section begins.
    others: Vec<usize>,
}

/// The `DT_NEEDED` of an ELF file; none for any other file.
pub(super) fn needed(bytes: &[u8]) -> Vec<String> {
    dynamic(bytes)
        .map(|dynamic| dynamic.needed)
        .unwrap_or_default()
}

/// Rewrites the library paths of an ELF file that lies in `folder` so that they name `lib` relative to it.
/// A path that is too short to hold that is emptied: the layer's `lib` is on `LD_LIBRARY_PATH` by the contract.
/// False if there was nothing to change.
pub(super) fn relocate(bytes: &mut [u8], folder: &Path, lib: &Path) -> bool {
    let Some(dynamic) = dynamic(bytes) else {
        return false;
    };
    let relative = relative(folder, lib);
    let new = if relative.as_os_str().is_empty() {
        "$ORIGIN".to_owned()
    } else {
        format!("$ORIGIN/{}", relative.display())
    };
    let mut changed = false;
    for range in dynamic.paths {
        let old = &bytes[range.clone()];
        let shared = dynamic.others.iter().any(|at| range.contains(at));
        if !old.starts_with(b"/") || shared {
            continue;
        }
        let new = if new.len() <= range.len() {
            new.as_bytes()
        } else {
            b""
        };
        bytes[range.clone()].fill(0);
        bytes[range.start..range.start + new.len()].copy_from_slice(new);
        changed = true;
    }
    changed
}

/// `/a/bin` to `/a/lib`: `../lib`.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (mut from, mut to) = (from.components().peekable(), to.components().peekable());
    while from.peek().is_some() && from.peek() == to.peek() {
        from.next();
        to.next();
    }
    from.map(|_| Component::ParentDir).chain(to).collect()
}

/// None: not a 64-bit little-endian ELF file with a dynamic section, or not one that can be trusted.
fn dynamic(bytes: &[u8]) -> Option<Dynamic> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return None;
    }
    let file = ElfFile64::<LittleEndian>::parse(bytes).ok()?;
    let (endian, header) = (LittleEndian, file.elf_header());
    let segments = header.program_headers(endian, bytes).ok()?;
    let entries = segments
        .iter()
        .find_map(|segment| segment.dynamic(endian, bytes).ok()?)?;
    let value = |tag: elf::DynamicTag| {
        entries
            .iter()
            .find(|entry| entry.tag(endian) == tag)
            .map(|entry| entry.d_val(endian))
    };
    let address = value(elf::DT_STRTAB)?;
    let table = segments.iter().find_map(|segment| {
        let start = segment.p_vaddr(endian);
        let within = address
            .checked_sub(start)
            .filter(|within| *within < segment.p_filesz(endian));
        (segment.p_type(endian) == elf::PT_LOAD).then_some(())?;
        usize::try_from(segment.p_offset(endian).checked_add(within?)?).ok()
    })?;
    let mut found = Dynamic::default();
    for entry in entries {
        let tag = entry.tag(endian);
        if tag == elf::DT_NULL {
            break;
        }
        if ![
            elf::DT_NEEDED,
            elf::DT_SONAME,
            elf::DT_RUNPATH,
            elf::DT_RPATH,
        ]
        .contains(&tag)
        {
            continue;
        }
        let start = table.checked_add(usize::try_from(entry.d_val(endian)).ok()?)?;
        let length = bytes.get(start..)?.iter().position(|byte| *byte == 0)?;
        match tag {
            elf::DT_RUNPATH | elf::DT_RPATH => found.paths.push(start..start + length),
            tag => {
                found.others.push(start);
                if tag == elf::DT_NEEDED {
                    found
                        .needed
                        .push(String::from_utf8_lossy(&bytes[start..start + length]).into_owned());
                }
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_relative_to_the_folder_of_the_file() {
        let check = |from: &str, expect: &str| {
            assert_eq!(
                relative(Path::new(from), Path::new("/l/p/lib")),
                Path::new(expect),
                "{from}"
            );
        };
        check("/l/p/bin", "../lib");
        check("/l/p/lib/python3.12/lib-dynload", "../..");
        check("/l/p/lib", "");
    }

    #[test]
    fn what_is_no_elf_file_is_left_alone() {
        let mut bytes = b"\x7fELF and then nonsense".to_vec();
        assert!(!relocate(&mut bytes, Path::new("/a"), Path::new("/b")));
        assert!(needed(&bytes).is_empty() && needed(b"#!/bin/sh").is_empty());
    }

    #[test]
    fn an_absolute_library_path_becomes_relative_in_place() {
        let test = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(
            needed(&test).iter().any(|name| name == "libc.so.6"),
            "the test itself is dynamic"
        );
        let mut unchanged = test.clone();
        assert!(
            !relocate(&mut unchanged, Path::new("/a/bin"), Path::new("/a/lib")),
            "it has no library path"
        );
        assert_eq!(unchanged, test);
    }
}
