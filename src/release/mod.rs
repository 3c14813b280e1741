//! (room release)
