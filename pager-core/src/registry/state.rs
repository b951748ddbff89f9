//! [`State`]: where the bytes of one payload are, and how that may change.
//!
//! | from | event | to | what it costs |
//! |---|---|---|---|
//! | `Resident` | written, and kept | `Cached` | the write |
//! | `Resident` | written into memory that the backend adopts | `Stored` | the write |
//! | `Resident` | taken or dropped | `Gone` | nothing: the write is elided |
//! | `Stored` | a fetch is done | `Cached` | a read |
//! | `Stored` | taken | `Gone` | a read |
//! | `Cached` | evicted | `Stored` | nothing: it is clean |
//! | `Cached` | another range is fetched | `Cached` | a read |
//! | `Cached` | taken | `Gone` | nothing if all of it is cached, else a read |
//! | any | dropped | `Gone` | nothing |
//!
//! There is no other transition, and none back to `Resident`: a payload that has
//! been stored is never written again.

use std::ops::Range;

use smallvec::SmallVec;

use crate::memory::Window;
use crate::payload::{Chunk, OwnedChunk};

/// The chunks of one payload; one, as a rule.
pub(super) type Chunks = SmallVec<[OwnedChunk; 1]>;

/// Where the bytes of a payload are.
#[derive(Debug)]
pub(super) enum State<S> {
    /// In memory only.
    Resident(Chunks),
    /// On the backend only.
    Stored(S),
    /// On the backend, with `range` in memory: as a copy, or in memory of the
    /// backend's own.
    Cached {
        slot: S,
        copy: Option<Chunks>,
        range: Range<usize>,
    },
    /// Nowhere: the payload has been taken.
    Gone,
}

impl<S> State<S> {
    /// Leaves `Gone` behind.
    pub(super) fn leave(&mut self) -> Self {
        std::mem::replace(self, Self::Gone)
    }

    /// Bytes that this state keeps in memory under the budget.
    pub(super) fn memory_bytes(&self) -> usize {
        let words = match self {
            Self::Resident(chunks) => chunks.iter().map(|chunk| chunk.words().len()).sum(),
            Self::Cached { range, .. } => range.len(),
            Self::Stored(_) | Self::Gone => 0,
        };
        words * size_of::<u64>()
    }

    /// Whether all of `wanted` is in memory.
    pub(super) fn covers(&self, wanted: &Range<usize>) -> bool {
        match self {
            Self::Resident(_) => true,
            Self::Cached { range, .. } => {
                wanted.is_empty() || (range.start <= wanted.start && wanted.end <= range.end)
            }
            Self::Stored(_) | Self::Gone => false,
        }
    }

    /// Whether what is in memory is in memory of the entry's own.
    pub(super) fn has_words(&self) -> bool {
        match self {
            Self::Resident(_) => true,
            Self::Cached { copy, .. } => copy.is_some(),
            Self::Stored(_) | Self::Gone => false,
        }
    }

    /// Copies `wanted`, which [`covers`](Self::covers) and
    /// [`has_words`](Self::has_words) have granted.
    pub(super) fn copy(&self, wanted: &Range<usize>, window: &mut Window<'_>) {
        match self {
            Self::Resident(chunks) => copy_across(chunks, wanted, window),
            Self::Cached {
                copy: Some(copy),
                range,
                ..
            } if !wanted.is_empty() => {
                let wanted = wanted.start - range.start..wanted.end - range.start;
                copy_across(copy, &wanted, window);
            }
            _ => {}
        }
    }
}

/// Copies the words at `wanted` of `chunks` joined in order.
fn copy_across(chunks: &[OwnedChunk], wanted: &Range<usize>, window: &mut Window<'_>) {
    let mut chunk_start = 0;
    for chunk in chunks {
        let words = chunk.words();
        let chunk_end = chunk_start + words.len();
        let (start, end) = (wanted.start.max(chunk_start), wanted.end.min(chunk_end));
        if start < end {
            window.copy_from(&words[start - chunk_start..end - chunk_start]);
        }
        if chunk_end >= wanted.end {
            return;
        }
        chunk_start = chunk_end;
    }
}
