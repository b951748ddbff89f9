//! [`ScratchProblem`]: why a directory is no scratch directory, and the way out.

use std::fmt;

/// What is wrong with a scratch directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScratchProblem {
    /// No directory was named.
    NotConfigured,
    /// It, or the directory it would be created in, does not exist.
    Missing,
    /// The path names something that is not a directory.
    NotADirectory,
    /// The path, or an entry of ours in it, is a symbolic link.
    SymbolicLink,
    /// Files cannot be created in it.
    NotWritable,
    /// It lies in memory: on tmpfs or ramfs, or on a disk that is memory, directly or
    /// through other layers.
    InMemory,
    /// What is written there cannot be kept from other users: a program of another
    /// user serves the file system, or it knows no modes and shows files to everybody.
    NotPrivate,
    /// Handles are live in another scratch directory.
    InUse,
    /// The system refused for another reason.
    Refused,
}

impl fmt::Display for ScratchProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConfigured => "no directory was named",
            Self::Missing => "it does not exist",
            Self::NotADirectory => "it is not a directory",
            Self::SymbolicLink => "it is a symbolic link: name the directory it leads to",
            Self::NotWritable => {
                "files cannot be created in it: name one that this user may write to"
            }
            Self::InMemory => {
                "it is memory (tmpfs, ramfs, or a disk made of memory, perhaps underneath): name one on a disk, or allow memory explicitly if that is meant"
            }
            Self::NotPrivate => {
                "other users would see what is written there: name one on a file system that keeps modes and is not served by another user's program"
            }
            Self::InUse => "handles are live in another scratch directory",
            Self::Refused => "the system refused it",
        })
    }
}
