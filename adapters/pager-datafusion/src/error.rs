//! Errors of the pager as the engine expects them.
//!
//! What is exhausted, memory or disk, is [`DataFusionError::ResourcesExhausted`], which
//! operators and clients look for; everything else carries the pager's own error, for
//! whoever wants to tell a full disk from a broken one.

use std::io;

use datafusion_common::DataFusionError;
use pager::Error;

/// What went wrong while `doing` something with a spill file.
pub(crate) fn of_pager(error: Error, doing: &str) -> DataFusionError {
    match error {
        Error::OutOfSpace { .. }
        | Error::QuotaExceeded { .. }
        | Error::GroupQuotaExceeded { .. }
        | Error::NoRoom { .. }
        | Error::OutOfMemory { .. } => {
            DataFusionError::ResourcesExhausted(format!("{doing}: {error}"))
        }
        error => DataFusionError::External(Box::new(error)).context(doing.to_owned()),
    }
}

/// An error where the engine writes, as [`io::Write`] has it: `find_root` finds the engine's
/// own in it, past Arrow's writer.
pub(crate) fn io(error: DataFusionError) -> io::Error {
    io::Error::other(Carried(error))
}

/// Between an [`io::Error`], which does not show what it holds as its source, and what it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Carried(#[source] DataFusionError);

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_is_exhausted_is_found_at_the_root() {
        let error = of_pager(Error::OutOfMemory { needed_bytes: 7 }, "spilling");
        assert!(matches!(error, DataFusionError::ResourcesExhausted(_)));
        let carried = DataFusionError::IoError(io(error));
        let root = carried.find_root();
        assert!(matches!(root, DataFusionError::ResourcesExhausted(_)));
    }

    #[test]
    fn what_is_broken_keeps_its_cause() {
        let error = of_pager(Error::ShutDown, "spilling");
        let mut cause = error.source();
        while let Some(found) = cause {
            if found.is::<Error>() {
                return;
            }
            cause = found.source();
        }
        panic!("{error:?} does not say why");
    }
}
