//! What became of the layers of the last build.
