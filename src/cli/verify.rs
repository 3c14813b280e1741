//! `slug verify`: every blob, record and config against its digest.

use serde_json::json;
use slug::archive;
use slug::release;
use slug::store::Store;

use super::args::Verify;
use super::report::Failure;
use super::settings::Settings;
use super::slug_name;
use super::ui::human_bytes;

pub(crate) fn run(settings: &Settings, typed: &Verify) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    match &typed.slug {
        Some(named) => verify_slug(settings, &store, named),
        None => verify_store(settings, &store),
    }
}

/// A file is imported into a store of its own that is dropped, which checks every digest on the way.
fn verify_slug(settings: &Settings, store: &Store, named: &str) -> Result<u8, Failure> {
    let digest = if slug_name::is_file(settings, named) {
        let path = slug_name::file(settings, named)?;
        let (_folder, scratch) = slug_name::scratch(store)?;
        archive::import_archive(&scratch, &path)?
    } else {
        let digest = slug_name::in_store(store, named)?;
        archive::read_image(store, &digest)?;
        for (blob, _) in archive::image_blobs(store, &digest)? {
            if let Some(finding) = store.verify_blob(&blob, &mut |_| ()) {
                return Err(Failure::refused(finding.to_string()).hint(REPAIR));
            }
        }
        digest
    };
    settings.ui.answer(
        &json!({ "schema": 1, "slug": digest, "findings": [] }),
        |_| format!("{digest}: verified"),
    )?;
    Ok(0)
}

const REPAIR: &str = "bring the slug back with `slug release app.slug`, or build it again: the same source has the same digest";

fn verify_store(settings: &Settings, store: &Store) -> Result<u8, Failure> {
    let mut bytes = 0;
    let findings = release::verify(store, &mut |read| bytes += read);
    settings.ui.answer(
        &json!({ "schema": 1, "bytes": bytes, "findings": findings }),
        |_| {
            if !findings.is_empty() {
                return findings
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n");
            }
            format!(
                "verified: {} of blobs, every ledger, every config",
                human_bytes(bytes)
            )
        },
    )?;
    if findings.is_empty() {
        return Ok(0);
    }
    Err(Failure::refused(format!(
        "the store is not as it was written: {} found",
        findings.len()
    ))
    .unchanged("nothing was repaired or removed")
    .hint(REPAIR)
    .hint("records and config come back from a backup only"))
}
