//! (room build)
