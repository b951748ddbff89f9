//! The default mode: extents in a few large segment files.
