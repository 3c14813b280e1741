//! What an app's author writes for every runner of processes: `Procfile` and
//! `.env`, each with one strict grammar (`spec/procfile.md`).
//!
//! A line that is not understood is a problem with its place, never dropped.
//! Knows no file, no process: bytes in, what they say out.

pub mod compare;
pub mod dialects;
pub mod env_file;
#[cfg(test)]
mod hostile;
pub mod procfile;
pub mod remark;

pub use remark::Remark;
