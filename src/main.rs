//! The binary: `cli`, or the shim of a sandbox, or a built-in buildpack, by `argv[0]`.

fn main() {}
