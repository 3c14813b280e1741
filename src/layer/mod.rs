//! (room layer)
