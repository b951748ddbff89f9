//! What can go wrong, as one typed error that a program can tell apart.
//!
//! Every variant says what failed, on which backend and where, and keeps the
//! cause in [`std::error::Error::source`]. An error never costs data: the
//! operation that returns it has left its inputs as they were, and an operation
//! that consumes its input gives it back inside [`TakeError`].

mod permanent;
mod scratch_problem;
mod to_io;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use scratch_problem::ScratchProblem;

/// The result of every fallible operation of pager.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A range reaches outside the payload, is reversed, or overflows `usize`.
    #[error("range of {len} elements at {offset} is outside a payload of {payload_len} elements")]
    OutOfBounds {
        /// First element asked for.
        offset: usize,
        /// Elements asked for; `usize::MAX` for a sum that overflows.
        len: usize,
        /// Elements the payload has.
        payload_len: usize,
    },
    /// The medium is full (`ENOSPC`, `EDQUOT`, `EFBIG`).
    #[error("{backend}: no space for {needed_bytes} bytes{}", At(path))]
    OutOfSpace {
        /// Name of the backend.
        backend: &'static str,
        /// Bytes that the operation wanted to store.
        needed_bytes: u64,
        /// File or directory concerned, where there is one.
        path: Option<PathBuf>,
        /// What the system said.
        source: io::Error,
    },
    /// The configured quota of the backend would be exceeded.
    #[error(
        "{backend}: {needed_bytes} bytes more would exceed the quota: {used_bytes} of {quota_bytes} bytes are in use{}",
        At(path)
    )]
    QuotaExceeded {
        /// Name of the backend.
        backend: &'static str,
        /// Bytes that the operation wanted to store.
        needed_bytes: u64,
        /// Bytes stored at that moment.
        used_bytes: u64,
        /// Bytes allowed.
        quota_bytes: u64,
        /// Directory whose quota it is; `None` for one of all together.
        path: Option<PathBuf>,
    },
    /// The quota of a [group](crate::Group) would be exceeded.
    #[error(
        "group {group:?}: {needed_bytes} bytes more would exceed the quota: {used_bytes} of {quota_bytes} bytes are in use"
    )]
    GroupQuotaExceeded {
        /// What the group is called.
        group: String,
        /// Bytes that were to be paged out.
        needed_bytes: u64,
        /// Bytes of its payloads at that moment.
        used_bytes: u64,
        /// Bytes that they may be.
        quota_bytes: u64,
    },
    /// Two settings contradict each other.
    #[error("settings contradict each other: {what}")]
    Contradiction {
        /// Which.
        what: &'static str,
    },
    /// Stored bytes are not the bytes that were paged out.
    ///
    /// The payload lives on, and what else it holds can still be read. Neither
    /// this nor any other failed read appends anything to its destination.
    #[error(
        "{backend}: corrupt bytes at byte {offset_bytes} of {}: expected checksum {expected:#x}, found {found:#x}{}",
        Payload(*handle),
        At(path)
    )]
    Corrupt {
        /// Name of the backend.
        backend: &'static str,
        /// Number of the handle ([`Handle::id`](crate::Handle::id)); `None` from a
        /// backend, which knows of no handles.
        handle: Option<u64>,
        /// First byte of the damaged unit, relative to the payload.
        offset_bytes: u64,
        /// Checksum kept when the bytes were stored, or the first half of their tag if
        /// they were encrypted; zero if they cannot be decoded, which a codec finds
        /// without one.
        expected: u64,
        /// Checksum of the bytes that came back; zero if none did, or if they were
        /// encrypted, for then nobody can say; their first word if they cannot be
        /// decoded.
        found: u64,
        /// Directory that the bytes came from, where there is one; `None` for what a
        /// codec could not decode.
        path: Option<PathBuf>,
    },
    /// The scratch directory cannot be used.
    #[error("scratch directory {path:?} cannot be used: {problem}{}", Said(*call))]
    ScratchUnavailable {
        /// The directory as it was asked for.
        path: PathBuf,
        /// What is wrong with it.
        problem: ScratchProblem,
        /// The system call that showed it, where one failed: a sandbox may refuse it.
        call: Option<&'static str>,
        /// What the system said, where the system refused.
        source: Option<io::Error>,
    },
    /// The memory budget has no room that could be had without waiting, or no room for
    /// more that cannot leave memory.
    #[error("no room for {needed_bytes} bytes in a memory budget of {budget_bytes}")]
    NoRoom {
        /// Bytes that were wanted.
        needed_bytes: u64,
        /// Bytes of the whole budget.
        budget_bytes: u64,
    },
    /// Memory for the result or for a buffer could not be had.
    #[error("no memory for {needed_bytes} bytes")]
    OutOfMemory {
        /// Bytes that were wanted.
        needed_bytes: usize,
    },
    /// A system call failed for a reason that has no variant of its own.
    #[error("{backend}: {operation} failed{}", At(path))]
    Io {
        /// Name of the backend.
        backend: &'static str,
        /// What was attempted, as a verb: `write`, `open`, …
        operation: &'static str,
        /// File or directory concerned, where there is one.
        path: Option<PathBuf>,
        /// What the system said.
        source: io::Error,
    },
    /// A backend that is not part of pager failed in a way of its own.
    ///
    /// For whoever implements [`Backend`](crate::Backend) over something that is no
    /// file and no memory: the cause is theirs, whole, and can be downcast. What a
    /// variant above describes belongs there, so that programs can tell it apart.
    #[error("{backend}: {operation} failed")]
    Backend {
        /// Name of the backend.
        backend: &'static str,
        /// What was attempted, as a verb: `put`, `fetch`, …
        operation: &'static str,
        /// What the backend's own means said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The backend asked for is not in this build (a cargo feature is off).
    #[error("backend {backend} is not part of this build: enable the cargo feature of that name")]
    BackendDisabled {
        /// Name of the backend.
        backend: &'static str,
    },
    /// The platform, or the mode that was asked for, cannot do it.
    #[error("{backend}: {what} is not supported")]
    Unsupported {
        /// Name of the backend.
        backend: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// The pager belongs to the parent of this forked process.
    ///
    /// A child sees its parent's handles but must not touch what they own.
    #[error("this pager belongs to another process: it was created before a fork")]
    ForeignProcess,
    /// Whoever wrote a spill did not come to its end: what was published before can be
    /// read, and no more.
    #[error("the writer of the spill failed: {reason}")]
    WriterFailed {
        /// What it said, or that it panicked.
        reason: String,
    },
    /// Nobody reads a spill any more, nor ever can.
    #[error("nobody reads the spill any more")]
    NoReader,
    /// The pager has been shut down and takes no more payloads.
    #[error("the pager has been shut down")]
    ShutDown,
}

/// Prints ` (path)` after a message, or nothing.
struct At<'a>(&'a Option<PathBuf>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, " ({})", path.display()),
            None => Ok(()),
        }
    }
}

/// Prints ` (call)` after a message, or nothing.
struct Said(Option<&'static str>);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(call) => write!(f, " ({call})"),
            None => Ok(()),
        }
    }
}

/// Prints `payload 7`, or `a payload`.
struct Payload(Option<u64>);

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(handle) => write!(f, "payload {handle}"),
            None => f.write_str("a payload"),
        }
    }
}

impl Error {
    /// A payload that its backend lost, which breaks the contract of
    /// [`Backend`](crate::Backend).
    pub(crate) fn lost(backend: &'static str) -> Self {
        Self::Io {
            backend,
            operation: "take",
            path: None,
            source: io::Error::new(
                io::ErrorKind::InvalidData,
                "the backend did not give back what was stored",
            ),
        }
    }

    /// Says which handle's payload is corrupt, if that is what is wrong.
    pub(crate) fn of_handle(mut self, id: u64) -> Self {
        if let Self::Corrupt { handle, .. } = &mut self {
            *handle = Some(id);
        }
        self
    }

    /// Classifies a failed system call: a full medium, memory that could not
    /// be had, or plain [`Error::Io`].
    ///
    /// `needed_bytes` is what the operation wanted to move.
    #[must_use]
    pub fn from_io(
        backend: &'static str,
        operation: &'static str,
        path: Option<PathBuf>,
        needed_bytes: u64,
        source: io::Error,
    ) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::OutOfSpace {
                backend,
                needed_bytes,
                path,
                source,
            },
            io::ErrorKind::OutOfMemory => Self::OutOfMemory {
                needed_bytes: usize::try_from(needed_bytes).unwrap_or(usize::MAX),
            },
            _ => Self::Io {
                backend,
                operation,
                path,
                source,
            },
        }
    }

    /// Wraps what a backend outside pager has met: see [`Error::Backend`].
    #[must_use]
    pub fn from_backend(
        backend: &'static str,
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Backend {
            backend,
            operation,
            source: source.into(),
        }
    }

    /// Whether the same call may succeed once space has been freed.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        matches!(
            self,
            Self::OutOfSpace { .. } | Self::QuotaExceeded { .. } | Self::GroupQuotaExceeded { .. }
        )
    }
}

/// A `take` that failed, with the handle it consumed.
///
/// Nothing is lost: [`TakeError::into_handle`] gives the handle back, and the
/// payload is where it was.
#[derive(thiserror::Error)]
#[error("the payload could not be taken")]
pub struct TakeError<H> {
    #[source]
    error: Error,
    handle: H,
}

impl<H> TakeError<H> {
    /// Pairs an error with the handle that survives it.
    pub fn new(error: Error, handle: H) -> Self {
        Self { error, handle }
    }

    /// Why the payload could not be taken.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The handle, as good as before.
    pub fn into_handle(self) -> H {
        self.handle
    }

    /// Both parts.
    pub fn into_parts(self) -> (Error, H) {
        (self.error, self.handle)
    }

    /// The same error around another type of handle.
    pub fn map<T>(self, wrap: impl FnOnce(H) -> T) -> TakeError<T> {
        TakeError {
            error: self.error,
            handle: wrap(self.handle),
        }
    }
}

impl<H> fmt::Debug for TakeError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakeError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// For `?` where the handle is not wanted any more: it is dropped, and with it
/// the payload.
impl<H> From<TakeError<H>> for Error {
    fn from(failed: TakeError<H>) -> Self {
        failed.error
    }
}
