//! [`Chunker`]: updates of a stream made into chunks, and what else makes chunks of updates.

use std::fmt;
use std::rc::Rc;

use differential_dataflow::columnar::collection::RecordedUpdates;
use differential_dataflow::columnar::layout::ColumnarUpdate;
use differential_dataflow::columnar::trace::{self, ColChunk};
use differential_dataflow::consolidation::Consolidate;
use differential_dataflow::trace::chunk::Chunk;
use timely::Accountable;
use timely::container::{ContainerBuilder, PushInto, SizableContainer};

use super::{CHUNK_BYTES, TrieChunk};

/// Makes chunks of the updates of a columnar stream, as the engine's own chunker does.
pub struct Chunker<U: ColumnarUpdate, const BYTES: usize = CHUNK_BYTES> {
    engine: trace::Chunker<U>,
    made: Option<TrieChunk<U, BYTES>>,
}

impl<U: ColumnarUpdate, const BYTES: usize> Default for Chunker<U, BYTES> {
    fn default() -> Self {
        Self {
            engine: trace::Chunker::default(),
            made: None,
        }
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> fmt::Debug for Chunker<U, BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunker").finish_non_exhaustive()
    }
}

impl<'a, U: ColumnarUpdate, const BYTES: usize> PushInto<&'a mut RecordedUpdates<U>>
    for Chunker<U, BYTES>
{
    fn push_into(&mut self, updates: &'a mut RecordedUpdates<U>) {
        self.engine.push_into(updates);
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> ContainerBuilder for Chunker<U, BYTES> {
    type Container = TrieChunk<U, BYTES>;

    fn extract(&mut self) -> Option<&mut Self::Container> {
        self.made = self.engine.extract().map(of_engine);
        self.made.as_mut()
    }

    fn finish(&mut self) -> Option<&mut Self::Container> {
        self.made = self.engine.finish().map(of_engine);
        self.made.as_mut()
    }
}

/// The chunk that the engine's chunker has made, which nobody else holds.
fn of_engine<U: ColumnarUpdate, const BYTES: usize>(
    chunk: &mut ColChunk<U>,
) -> TrieChunk<U, BYTES> {
    let trie = match std::mem::take(chunk) {
        ColChunk::Resident(trie) => Rc::try_unwrap(trie).unwrap_or_else(|held| (*held).clone()),
        mut paged @ ColChunk::Paged(_) => std::mem::take(paged.updates_mut()),
    };
    TrieChunk::from_trie(trie)
}

impl<U: ColumnarUpdate, const BYTES: usize> Accountable for TrieChunk<U, BYTES> {
    fn record_count(&self) -> i64 {
        i64::try_from(Chunk::len(self)).unwrap_or(i64::MAX)
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> SizableContainer for TrieChunk<U, BYTES> {
    fn at_capacity(&self) -> bool {
        Chunk::len(self) >= Self::TARGET
    }

    fn ensure_capacity(&mut self, _stash: &mut Option<Self>) {}
}

impl<U: ColumnarUpdate, const BYTES: usize> Consolidate for TrieChunk<U, BYTES> {
    fn len(&self) -> usize {
        Chunk::len(self)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn consolidate_into(&mut self, target: &mut Self) {
        *target = Self::from_trie(std::mem::take(self.updates_mut()).consolidate());
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> PushInto<((U::Key, U::Val), U::Time, U::Diff)>
    for TrieChunk<U, BYTES>
{
    fn push_into(&mut self, update: ((U::Key, U::Val), U::Time, U::Diff)) {
        self.updates_mut().push_into(update);
    }
}
