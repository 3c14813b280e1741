//! (room buildpack)
