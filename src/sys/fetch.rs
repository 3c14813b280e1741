//! Artifacts: fetched once per host, checked, kept by digest.
