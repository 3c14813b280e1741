//! `slug verify`: everything that a store holds, against what it should be.

use super::eligibility::check_blobs;
use crate::store::{Finding, Ledger, Store};

/// Hashes every blob, checks that every slug is whole, every ledger's chain, and that every config
/// opens on this host. Changes nothing; `progress` is told the bytes read. No finding: all is well.
pub fn verify(store: &Store, progress: &mut dyn FnMut(u64)) -> Vec<Finding> {
    let mut findings = store.verify_blobs(progress);
    match store.slugs() {
        Ok(slugs) => {
            let broken = slugs
                .iter()
                .filter_map(|slug| check_blobs(store, slug).err());
            findings.extend(broken.map(|error| Finding::Unreadable {
                what: error.to_string(),
            }));
        }
        Err(error) => findings.push(Finding::Unreadable {
            what: error.to_string(),
        }),
    }
    match store.apps() {
        Ok(apps) => {
            for app in apps {
                findings.extend(Ledger::open(store, &app).verify());
                findings.extend(store.verify_configs(&app));
            }
        }
        Err(error) => findings.push(Finding::Unreadable {
            what: error.to_string(),
        }),
    }
    findings
}
