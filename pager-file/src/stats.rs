//! [`FileStats`] and [`Reaped`]: what a file backend says about itself beyond
//! [`Usage`](pager_core::Usage).

use std::borrow::Cow;
use std::fmt;

use crate::FileMode;

/// How a file backend works, and what it has met so far.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStats {
    /// How payloads are laid out.
    pub mode: FileMode,
    /// How bytes travel.
    pub io: IoMode,
    /// Why they travel so, in a sentence for people.
    pub io_reason: Cow<'static, str>,
    /// Bytes that live payloads occupy, as the quota counts them.
    pub stored_bytes: u64,
    /// Bytes that live payloads may occupy.
    pub quota_bytes: Option<u64>,
    /// Scratch files that exist.
    pub files: u64,
    /// Files that could not be removed when their payload was freed; they go
    /// with the directory.
    pub failed_removals: u64,
    /// What was removed of dead processes since the backend was opened, without what
    /// [`reap`](crate::FileBackend::reap) has returned.
    pub reaped: Reaped,
    /// How what is stored is encrypted; `None` if it is not.
    #[cfg(feature = "encryption")]
    pub encryption: Option<Encryption>,
    /// More about the default mode; `None` in the seed mode.
    #[cfg(unix)]
    pub segments: Option<crate::SegmentStats>,
}

impl FileStats {
    /// Bytes that the file system has allocated to the backend, or is about to: what
    /// live payloads occupy, and what is free and kept for reuse.
    /// [`trim`](crate::FileBackend::trim) gives the latter back.
    #[must_use]
    pub fn allocated_bytes(&self) -> u64 {
        #[cfg(unix)]
        if let Some(segments) = &self.segments {
            return segments.stored_bytes + segments.freed_bytes + segments.reserved_bytes;
        }
        self.stored_bytes
    }
}

impl FileStats {
    /// Those of two directories together: buffered if one of them is, and bounded if both
    /// are.
    pub(crate) fn plus(mut self, other: Self) -> Self {
        if other.io != self.io {
            self.io = IoMode::Buffered;
        }
        if other.io_reason != self.io_reason {
            self.io_reason = "it is not the same in all directories".into();
        }
        self.stored_bytes += other.stored_bytes;
        let both = self.quota_bytes.zip(other.quota_bytes);
        self.quota_bytes = both.map(|(one, other)| one.saturating_add(other));
        self.files += other.files;
        self.failed_removals += other.failed_removals;
        self.reaped.add(other.reaped);
        #[cfg(unix)]
        {
            let both = self.segments.zip(other.segments);
            self.segments = both.map(|(one, other)| one.plus(other));
        }
        self
    }
}

/// How what is stored is encrypted.
#[cfg(feature = "encryption")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encryption {
    /// The cipher: `AES-256-GCM`.
    pub cipher: &'static str,
    /// What the kernel does for the key. What it refuses (`mlock` above all, where
    /// `RLIMIT_MEMLOCK` is small) weakens the protection and stops nothing.
    pub key: pager_core::SecretGuards,
}

/// One line: `AES-256-GCM, key locked, not dumped, not inherited`.
#[cfg(feature = "encryption")]
impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, key {}", self.cipher, self.key)
    }
}

/// How bytes travel between memory and scratch files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IoMode {
    /// Past the page cache.
    Direct,
    /// Through the page cache.
    Buffered,
}

#[cfg(unix)]
impl From<crate::SegmentIo> for IoMode {
    fn from(io: crate::SegmentIo) -> Self {
        match io {
            crate::SegmentIo::Direct { .. } => Self::Direct,
            crate::SegmentIo::DontCache | crate::SegmentIo::DropBehind => Self::Buffered,
        }
    }
}

impl fmt::Display for IoMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "direct",
            Self::Buffered => "buffered",
        })
    }
}

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
    /// Directories of living processes, left alone; this process's own counts.
    pub live_directories: u64,
    /// Directories of dead processes that could not be removed. They stay for
    /// the next sweep.
    pub failed_directories: u64,
    /// Whether directories are left that nobody has looked at: there are many, and a
    /// thread is at it, or the system does not let us list the root.
    pub unfinished: bool,
}

impl Reaped {
    /// Adds what was found in another root.
    pub(crate) fn add(&mut self, other: Self) {
        self.directories += other.directories;
        self.files += other.files;
        self.freed_bytes += other.freed_bytes;
        self.live_directories += other.live_directories;
        self.failed_directories += other.failed_directories;
        self.unfinished |= other.unfinished;
    }
}
