//! (room build)

pub mod machine;
