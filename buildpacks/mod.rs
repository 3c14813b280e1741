//! The built-in buildpacks, and their order.
