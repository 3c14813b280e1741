//! (room buildpack)

pub mod author;
