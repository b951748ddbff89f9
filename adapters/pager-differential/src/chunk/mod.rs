//! [`TrieChunk`]: the engine's columnar tries, paged out when they are settled.
//!
//! ```text
//! operate   what the engine does with chunks
//! body      a trie in memory or in the pager, and how it is read
//! bytes     a payload in memory, and the columns that lie in it
//! run       records of a trie, and where they are
//! build     a trie that grows, and the merge of two runs into it
//! advance   times moved to a frontier
//! chunker   updates of a stream made into chunks
//! cursor    what the engine's own operators read through
//! ```

mod advance;
mod body;
mod build;
mod bytes;
mod chunker;
mod cursor;
mod operate;
mod run;

use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use differential_dataflow::batcher::merge::MergeBatcher;
use differential_dataflow::columnar::layout::ColumnarUpdate;
use differential_dataflow::columnar::updates::{UpdatesTyped, UpdatesView};
use differential_dataflow::trace::chunk::{self, Chunk, ChunkMerger};
use pager::Reuse;

use crate::spill::Shared;
use body::{Body, Reading};
use build::TrieBuilder;
use run::Place;

pub use chunker::Chunker;
pub use cursor::TrieCursor;

/// Bytes of a chunk's updates, unless said otherwise.
pub const CHUNK_BYTES: usize = 2 << 20;

/// A trace of [`TrieChunk`]s.
pub type Spine<K, V, T, R, const BYTES: usize = CHUNK_BYTES> =
    chunk::ChunkSpine<TrieChunk<(K, V, T, R), BYTES>>;

/// A batcher whose chains are [`TrieChunk`]s.
pub type Batcher<K, V, T, R, const BYTES: usize = CHUNK_BYTES> = MergeBatcher<
    Chunker<(K, V, T, R), BYTES>,
    ChunkMerger<TrieChunk<(K, V, T, R), BYTES>>,
    chunk::ChunkBuilder<TrieChunk<(K, V, T, R), BYTES>>,
>;

/// A builder of batches of [`TrieChunk`]s.
pub type Builder<K, V, T, R, const BYTES: usize = CHUNK_BYTES> =
    chunk::ChunkBuilder<TrieChunk<(K, V, T, R), BYTES>>;

/// A sorted run of updates, which the worker's [`Spill`](crate::Spill) pages out when it is
/// settled: one of the engine's chunks, in place of `columnar::trace::ColChunk`.
///
/// A merge reads what it merges where it lies in pager's memory, and has what comes next read
/// ahead. A chunk that nobody else holds is taken: what had not left memory never does. Chunks
/// have `BYTES` of updates, counted as they are in rows.
///
/// Where nothing is installed, chunks stay in memory, and so do those that have not a hundredth
/// of that: a batch has one of them at most.
pub struct TrieChunk<U: ColumnarUpdate, const BYTES: usize = CHUNK_BYTES> {
    body: Rc<Body<U>>,
    /// Those of the trie that are the chunk's.
    records: Records,
}

/// Records of a trie.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Records {
    All,
    Some(Range<usize>),
}

impl<U: ColumnarUpdate, const BYTES: usize> TrieChunk<U, BYTES> {
    /// Updates of a chunk, at most.
    const UPDATES: usize = {
        let update =
            size_of::<U::Key>() + size_of::<U::Val>() + size_of::<U::Time>() + size_of::<U::Diff>();
        // So that what says where the columns are fits beside them.
        let columns = BYTES - BYTES / 512;
        match columns.checked_div(update) {
            Some(0) => 1,
            Some(count) => count,
            None => columns + 1,
        }
    };

    /// A chunk in memory, of a trie that is sorted and consolidated.
    #[must_use]
    pub fn from_trie(trie: UpdatesTyped<U>) -> Self {
        Self::whole(Body::Typed(trie))
    }

    /// The updates, to be changed: what was paged out is read, and what others hold too is
    /// copied. They must be sorted and consolidated in the end.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub fn updates_mut(&mut self) -> &mut UpdatesTyped<U> {
        if !matches!(Rc::get_mut(&mut self.body), Some(Body::Typed(_))) {
            *self = Self::from_trie(std::mem::take(self).into_typed());
        }
        match Rc::get_mut(&mut self.body) {
            Some(Body::Typed(trie)) => trie,
            _ => unreachable!("it has just been made"),
        }
    }

    /// Calls `each` with the updates, which the budget counts meanwhile as far as it has room.
    pub(crate) fn show<T>(&self, each: impl FnOnce(UpdatesView<'_, U>) -> T) -> T {
        let whole = self.clone().into_whole();
        each(Reading::shared(whole.body).view())
    }

    fn whole(body: Body<U>) -> Self {
        Self {
            body: Rc::new(body),
            records: Records::All,
        }
    }

    fn records(&self) -> Range<usize> {
        match &self.records {
            Records::All => 0..self.body.len(),
            Records::Some(records) => records.clone(),
        }
    }

    /// The chunk of these records of `body`, if there is any.
    fn part(body: Rc<Body<U>>, records: Range<usize>) -> Option<Self> {
        (!records.is_empty()).then(|| Self {
            records: if records == (0..body.len()) {
                Records::All
            } else {
                Records::Some(records)
            },
            body,
        })
    }

    /// The same, with a trie of its own.
    fn into_whole(self) -> Self {
        match self.records {
            Records::All => self,
            Records::Some(_) => Self::from_trie(self.into_typed()),
        }
    }

    fn into_typed(self) -> UpdatesTyped<U> {
        if self.records == Records::All {
            return match Rc::try_unwrap(self.body) {
                Ok(body) => body.into_typed(),
                Err(shared) => copied(&Reading::shared(shared), None),
            };
        }
        let records = self.records();
        copied(&Reading::taking(self.body), Some(records))
    }

    /// Pages it out, if there is a pager and it is worth it.
    fn seal(self, shared: Option<&Rc<Shared>>, reuse: Reuse) -> Self {
        let chunk = self.into_whole();
        match shared {
            Some(shared) if !chunk.body.is_paged() => {
                let body = Rc::try_unwrap(chunk.body)
                    .unwrap_or_else(|held| Body::Typed(copied(&Reading::shared(held), None)));
                Self::whole(body.page_out(shared, reuse, BYTES / 128))
            }
            _ => chunk,
        }
    }
}

/// A copy of these records, or of all.
fn copied<U: ColumnarUpdate>(
    reading: &Reading<U>,
    records: Option<Range<usize>>,
) -> UpdatesTyped<U> {
    let view = reading.view();
    let mut built = TrieBuilder::default();
    append(&mut built, view, records.unwrap_or(0..view.iter().len()));
    built.finish()
}

fn append<U: ColumnarUpdate>(
    built: &mut TrieBuilder<U>,
    view: UpdatesView<'_, U>,
    records: Range<usize>,
) {
    let (from, to) = (Place::of(view, records.start), Place::of(view, records.end));
    built.append(view, from, to);
}

impl<U: ColumnarUpdate, const BYTES: usize> TrieChunk<U, BYTES> {
    /// Whether all records have the same key and value, as far as can be said without a read.
    fn is_one_group(&self) -> bool {
        self.records == Records::All && self.body.is_one_group()
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> Clone for TrieChunk<U, BYTES> {
    fn clone(&self) -> Self {
        Self {
            body: Rc::clone(&self.body),
            records: self.records.clone(),
        }
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> Default for TrieChunk<U, BYTES> {
    fn default() -> Self {
        Self::from_trie(UpdatesTyped::default())
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> fmt::Debug for TrieChunk<U, BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.body.is_paged() {
            "paged"
        } else {
            "here"
        };
        write!(f, "chunk of {} updates, {place}", self.len())
    }
}

#[cfg(test)]
mod tests;
