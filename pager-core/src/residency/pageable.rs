//! [`Pageable`]: a payload as the residency engine sees it, whatever its backend.

use std::ops::Range;
use std::sync::{Arc, Weak};

use crate::Error;

/// A payload that can leave memory and be fetched back. Implemented by the
/// registry's entries; the engine holds them weakly, so that dropping a handle
/// never waits for the engine.
pub(crate) trait Pageable: Send + Sync {
    /// Whether the payload was used since this was last asked.
    fn is_wanted(&self) -> bool;

    /// Whether it holds a copy that was fetched and that nobody has used.
    fn is_unused(&self) -> bool;

    /// Stores a dirty payload, and keeps it in memory as a clean copy unless the
    /// backend takes the memory itself.
    fn write(self: Arc<Self>) -> Outcome;

    /// Drops a clean copy from memory.
    fn evict(self: Arc<Self>) -> Outcome;

    /// Brings `range` into memory, for which the caller has reserved room; `false`
    /// if the room was not used.
    fn fetch(self: Arc<Self>, range: Range<usize>) -> bool;

    /// Tells the backend that a fetch of `range` is about to be made.
    fn announce(&self, range: Range<usize>);

    /// Says that a queued fetch was given up.
    fn forget_fetch(&self);
}

/// A payload, if it is still wanted.
pub(crate) type WeakPageable = Weak<dyn Pageable>;

/// Whether a payload that was used since it came gets a second chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It stays once more.
    SecondChance,
    /// It goes.
    None,
}

/// How a write or an eviction ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The payload has left memory.
    Freed,
    /// The payload is stored, and in memory still.
    Kept,
    /// There was nothing to do.
    Nothing,
    /// Somebody is using it, or has used it lately: to be tried again.
    Busy,
    /// The backend refused; the payload is where it was, to be tried again.
    Failed(Error),
}
