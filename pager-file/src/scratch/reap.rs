//! Removing what dead processes left, judged by their lock.

/// What a sweep of a scratch root found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Reaped {
    /// Directories of dead processes that were removed.
    pub directories: u64,
    /// Files in them.
    pub files: u64,
    /// Bytes that the file system got back.
    pub freed_bytes: u64,
    /// Directories of living processes, left alone.
    pub live_directories: u64,
    /// Directories of dead processes that could not be removed.
    pub failed_directories: u64,
}
