//! From pager's errors to [`io::Error`], for callers whose own interface speaks that:
//! a reader, a writer, an operator of somebody's engine.
//!
//! The kind says what [`Error`]'s variant says, the message is the same, and
//! [`io::Error::get_ref`] and [`source`](std::error::Error::source) lead to
//! everything that was known. Refuses to flatten: no cause is turned into text.

use std::io;

use super::{Error, ScratchProblem, TakeError};

/// Keeps the kind and, within, the error itself.
///
/// ```
/// use std::io;
/// use pager_core::Error;
///
/// let full = Error::from_io("file", "write", None, 4096, io::ErrorKind::StorageFull.into());
/// let error = io::Error::from(full);
/// assert_eq!(error.kind(), io::ErrorKind::StorageFull);
/// let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
/// assert!(inner.is_some_and(Error::is_out_of_space));
/// ```
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(kind(&error), error)
    }
}

/// For `?` where the handle is not wanted any more: it is dropped, and with it
/// the payload.
impl<H> From<TakeError<H>> for io::Error {
    fn from(failed: TakeError<H>) -> Self {
        Error::from(failed).into()
    }
}

/// The kind of the standard library that says the same; where the system has
/// spoken, its own.
fn kind(error: &Error) -> io::ErrorKind {
    use io::ErrorKind as Kind;

    match error {
        Error::OutOfBounds { .. } | Error::Contradiction { .. } => Kind::InvalidInput,
        Error::OutOfSpace { source, .. } => match source.kind() {
            kind @ (Kind::QuotaExceeded | Kind::FileTooLarge) => kind,
            _ => Kind::StorageFull,
        },
        Error::QuotaExceeded { .. } | Error::GroupQuotaExceeded { .. } => Kind::QuotaExceeded,
        Error::Corrupt { .. } => Kind::InvalidData,
        Error::ScratchUnavailable {
            problem, source, ..
        } => source
            .as_ref()
            .map_or_else(|| kind_of_problem(*problem), io::Error::kind),
        Error::OutOfMemory { .. } | Error::NoRoom { .. } => Kind::OutOfMemory,
        Error::Io { source, .. } => source.kind(),
        Error::Backend { source, .. } => {
            if let Some(error) = source.downcast_ref::<Error>() {
                kind(error)
            } else {
                source
                    .downcast_ref::<io::Error>()
                    .map_or(Kind::Other, io::Error::kind)
            }
        }
        Error::BackendDisabled { .. } | Error::Unsupported { .. } => Kind::Unsupported,
        Error::ForeignProcess => Kind::PermissionDenied,
        Error::WriterFailed { .. } => Kind::UnexpectedEof,
        Error::NoReader => Kind::BrokenPipe,
        Error::ShutDown => Kind::Other,
    }
}

/// For a directory that pager itself has refused.
fn kind_of_problem(problem: ScratchProblem) -> io::ErrorKind {
    use io::ErrorKind as Kind;

    match problem {
        ScratchProblem::Missing => Kind::NotFound,
        ScratchProblem::NotADirectory | ScratchProblem::SymbolicLink => Kind::NotADirectory,
        ScratchProblem::NotWritable | ScratchProblem::NotPrivate => Kind::PermissionDenied,
        ScratchProblem::InUse => Kind::ResourceBusy,
        // Settings that cannot work, and whatever is added.
        _ => Kind::InvalidInput,
    }
}
