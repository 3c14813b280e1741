//! Archives, manifests, configs and ELF files, changed at random.

use std::io::Cursor;

use super::attacks::Place;
use super::documents::{Index, Manifest};
use super::elf;
use super::entry::Entries;
use super::import_archive;
use super::labels::slug_of;
use super::tar_header::{BLOCK, checksum};
use crate::fuzz::{fit_for_a_terminal, fuzz};

/// Every block that has the magic of a header gets the checksum of one: else nearly all changes end there.
fn with_checksums(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    for block in tar.as_chunks_mut::<BLOCK>().0 {
        if &block[257..262] == b"ustar" {
            let sum = format!("{:06o}\0 ", checksum(block));
            block[148..156].copy_from_slice(sum.as_bytes());
        }
    }
    tar
}

/// Whether every entry and its content can be read.
fn is_readable(tar: &[u8]) -> bool {
    let mut entries = Entries::new(Cursor::new(tar), tar.len() as u64);
    loop {
        match entries.next() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(error) => {
                fit_for_a_terminal(&error.to_string());
                return false;
            }
        }
    }
}

#[test]
fn any_layer_is_unpacked_below_its_folder_or_refused_whole() {
    fuzz("layer_tar", |input| {
        let tar = with_checksums(input);
        is_readable(input);
        if is_readable(&tar) {
            let place = Place::new();
            let _ = place.unpack(&place.layer(&tar)); // asserts that nothing else was touched
        }
    });
}

/// 2,500 flipped bits of one archive: none gave another slug.
#[test]
fn a_damaged_archive_gives_the_same_slug_or_none() {
    let whole = include_bytes!("../../tests/corpus/oci_archive/procfile.slug");
    let import = |input: &[u8]| {
        let place = Place::new();
        let file = place.store.root().join("a.slug");
        crate::sys::fs::write_unsynced(&file, input, 0o644).unwrap();
        import_archive(&place.store, &file)
    };
    let slug = import(whole).unwrap();
    fuzz("oci_archive", |input| {
        match import(&with_checksums(input)) {
            Ok(found) => assert_eq!(found, slug),
            Err(error) => fit_for_a_terminal(&error.to_string()),
        }
    });
}

#[test]
fn any_index_manifest_and_config_is_read_or_refused() {
    fuzz("oci_index", |input| {
        if let Err(error) = Index::parse(input) {
            fit_for_a_terminal(&error.to_string());
        }
    });
    fuzz("oci_manifest", |input| {
        if let Err(error) = Manifest::parse(input) {
            fit_for_a_terminal(&error.to_string());
        }
    });
    let manifest = include_bytes!("../../tests/corpus/oci_manifest/manifest.json");
    let manifest = Manifest::parse(manifest).unwrap();
    fuzz("oci_config", |input| {
        if let Err(error) = slug_of(input, &manifest) {
            fit_for_a_terminal(&error.to_string());
        }
    });
}

#[test]
fn any_elf_file_is_read_or_taken_for_data() {
    fuzz("elf", |input| {
        let file = tempfile::tempfile().unwrap();
        rustix::io::pwrite(&file, input, 0).unwrap();
        let _ = elf::read(&file);
    });
}
