//! [`Error::is_permanent`]: "never" told from "try again".
//!
//! One rule for every variant, and one for what the system says beneath them.
//! Refuses to guess: what is not known to be hopeless may be tried again.

use std::io;

use super::{Error, ScratchProblem};

impl Error {
    /// Whether the same call will fail for as long as nobody changes the program,
    /// its settings or the machine: `true` means *never*, `false` means *try again*,
    /// after a while or after something was let go.
    ///
    /// | variant | permanent | because |
    /// |---|---|---|
    /// | [`OutOfBounds`](Error::OutOfBounds) | yes | a payload never changes its length |
    /// | [`OutOfSpace`](Error::OutOfSpace) | no | space may be freed, by this program or another |
    /// | [`Contradiction`](Error::Contradiction) | yes | settings do not change by themselves |
    /// | [`NoRoom`](Error::NoRoom) | if what is needed exceeds the whole budget | else what leaves memory makes room |
    /// | [`QuotaExceeded`](Error::QuotaExceeded), [`GroupQuotaExceeded`](Error::GroupQuotaExceeded) | if what is needed exceeds the whole quota | else dropped handles make room |
    /// | [`Corrupt`](Error::Corrupt) | yes | what is stored is damaged, and stays so |
    /// | [`ScratchUnavailable`](Error::ScratchUnavailable) | yes, but for `InUse`; `Refused`: as its cause | a directory does not become another; handles that are in use are dropped |
    /// | [`OutOfMemory`](Error::OutOfMemory) | no | memory may be freed; not if no machine has so much (more than `isize::MAX`) |
    /// | [`Io`](Error::Io) | as its cause | see below |
    /// | [`Backend`](Error::Backend) | as its cause, if that is an [`Error`] or an [`io::Error`] | else unknown: no |
    /// | [`BackendDisabled`](Error::BackendDisabled), [`Unsupported`](Error::Unsupported) | yes | it is the build, or the platform |
    /// | [`ForeignProcess`](Error::ForeignProcess) | yes | a child does not become its parent |
    /// | [`WriterFailed`](Error::WriterFailed), [`NoReader`](Error::NoReader) | yes | a spill has one writer, and readers do not come back |
    /// | [`ShutDown`](Error::ShutDown) | yes | a pager is shut down for good |
    ///
    /// Of what the system says, permanent are: a name that is not there, is of the
    /// wrong kind or not allowed; a permission that is missing; a file system that is
    /// read-only; an argument or a call that it does not accept; a file that is
    /// shorter than it was. Everything else may pass: an interrupted or busy call,
    /// a device that failed (`EIO`), descriptors that have run out.
    ///
    /// ```
    /// use pager_core::Registry;
    /// # mod in_memory { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_memory.inc")); }
    /// # use in_memory::InMemory;
    ///
    /// let registry = Registry::new(InMemory);
    /// let handle = registry.pageout(&mut [vec![1, 2, 3]])?;
    /// let error = handle.read_at(2, 7, &mut Vec::new()).unwrap_err();
    /// assert!(error.is_permanent());
    /// # Ok::<(), pager_core::Error>(())
    /// ```
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::OutOfBounds { .. }
            | Self::Corrupt { .. }
            | Self::BackendDisabled { .. }
            | Self::Unsupported { .. }
            | Self::Contradiction { .. }
            | Self::ForeignProcess
            | Self::WriterFailed { .. }
            | Self::NoReader
            | Self::ShutDown => true,
            Self::OutOfSpace { .. } => false,
            Self::QuotaExceeded {
                needed_bytes,
                quota_bytes,
                ..
            }
            | Self::GroupQuotaExceeded {
                needed_bytes,
                quota_bytes,
                ..
            } => needed_bytes > quota_bytes,
            Self::NoRoom {
                needed_bytes,
                budget_bytes,
            } => needed_bytes > budget_bytes,
            Self::OutOfMemory { needed_bytes } => isize::try_from(*needed_bytes).is_err(),
            Self::ScratchUnavailable {
                problem, source, ..
            } => match problem {
                ScratchProblem::InUse => false,
                ScratchProblem::Refused => source.as_ref().is_some_and(is_hopeless),
                _ => true,
            },
            Self::Io { source, .. } => is_hopeless(source),
            Self::Backend { source, .. } => {
                if let Some(error) = source.downcast_ref::<Self>() {
                    error.is_permanent()
                } else {
                    source.downcast_ref::<io::Error>().is_some_and(is_hopeless)
                }
            }
        }
    }
}

/// Whether the system will say the same again.
fn is_hopeless(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;

    // One of ours that went through `io::Error` and came back.
    if let Some(ours) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return Error::is_permanent(ours);
    }
    matches!(
        error.kind(),
        Kind::NotFound
            | Kind::PermissionDenied
            | Kind::AlreadyExists
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::ReadOnlyFilesystem
            | Kind::InvalidInput
            | Kind::InvalidData
            | Kind::InvalidFilename
            | Kind::NotSeekable
            | Kind::StaleNetworkFileHandle
            | Kind::UnexpectedEof
            | Kind::Unsupported
    )
}
