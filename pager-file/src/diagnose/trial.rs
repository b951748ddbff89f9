//! A payload out and back, by the very way that a backend moves it.
//!
//! Guarantees that nothing is left of it. Refuses to sweep: a diagnosis changes
//! nothing.

use std::path::Path;

use pager_core::{Error, PAGE_BYTES, Registry, Result};

use crate::{FileBackend, FileConfig, SegmentIo, SegmentStats};

/// Words of the payload: some blocks, and a word on a block of its own.
const WORDS: usize = 5 * PAGE_BYTES / size_of::<u64>() + 1;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trial {
    /// There is no root to try.
    NotRun,
    /// It came back.
    Passed {
        io: SegmentIo,
        why: String,
        allocates_ahead: bool,
        punches_holes: bool,
    },
    /// Something was refused, or did not come back.
    Failed {
        /// What the error says, with its causes.
        said: String,
        kind: Failure,
    },
}

/// Failures that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The root itself is refused.
    Root,
    /// There is no space.
    Full,
    /// What came back is not what went out.
    Corrupt,
    /// A call failed.
    Call,
}

/// Tries `root`, which must be there.
pub(super) fn run(root: &Path) -> Trial {
    match try_out(root) {
        Ok(Some(stats)) => Trial::Passed {
            io: stats.io,
            why: stats.reason,
            allocates_ahead: stats.allocates_ahead,
            punches_holes: stats.punches_holes,
        },
        Ok(None) => Trial::Failed {
            said: "words came back that are not those that went out".to_owned(),
            kind: Failure::Corrupt,
        },
        Err(error) => Trial::Failed {
            said: with_causes(&error),
            kind: match error {
                Error::ScratchUnavailable { .. } => Failure::Root,
                Error::OutOfSpace { .. } => Failure::Full,
                Error::Corrupt { .. } => Failure::Corrupt,
                _ => Failure::Call,
            },
        },
    }
}

/// The figures of a store that has moved a payload; `None` if it came back wrong.
fn try_out(root: &Path) -> Result<Option<SegmentStats>> {
    // Whether memory will do is judged by what the mount says.
    let config = FileConfig::new(root).allow_memory_fs(true);
    let registry = Registry::new(FileBackend::open_unswept(config)?);
    let expected: Vec<u64> = (1..).take(WORDS).collect();
    let handle = registry.pageout(&mut [expected.clone()])?;
    let mut found = Vec::new();
    handle.take(&mut found).map_err(Error::from)?;
    if found != expected {
        return Ok(None);
    }
    // Shows whether holes can be punched.
    registry.backend().trim()?;
    Ok(registry.backend().stats().segments)
}

fn with_causes(error: &Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said.push_str(&format!(": {error}"));
        cause = error.source();
    }
    said
}
