//! (room release)

pub mod env_file;
