//! [`scan`]: a trace read chunk by chunk, of which none stays in memory.

use differential_dataflow::columnar::layout::ColumnarUpdate;
use differential_dataflow::columnar::trace::ColChunk;
use differential_dataflow::columnar::updates::UpdatesView;

use crate::TrieChunk;

/// A chunk that can be shown for the time of a call, and is out of memory after it.
pub trait Scan {
    /// What is in it.
    type Update: ColumnarUpdate;

    /// Calls `each` with the updates, in order.
    ///
    /// # Panics
    ///
    /// If the chunk cannot be loaded.
    fn with_updates<T>(&self, each: impl FnOnce(UpdatesView<'_, Self::Update>) -> T) -> T;
}

impl<U: ColumnarUpdate, const BYTES: usize> Scan for TrieChunk<U, BYTES> {
    type Update = U;

    fn with_updates<T>(&self, each: impl FnOnce(UpdatesView<'_, U>) -> T) -> T {
        self.show(each)
    }
}

impl<U: ColumnarUpdate> Scan for ColChunk<U> {
    type Update = U;

    fn with_updates<T>(&self, each: impl FnOnce(UpdatesView<'_, U>) -> T) -> T {
        // A clone shares the stored bytes, and is what the loaded ones go into.
        match self {
            Self::Resident(updates) => each(updates.view()),
            Self::Paged(_) => each(self.clone().updates_mut().view()),
        }
    }
}

/// Calls `each` with the updates of each of `chunks`, in order.
///
/// A chunk that was stored is read for the call and let go after it, which a cursor does not
/// do: that keeps every chunk that it came to for as long as the chunk lives. So a trace larger
/// than memory can be read this way, within memory. What comes next is read ahead.
///
/// ```no_run
/// # use pager_differential::Spine;
/// # fn example(trace: &Spine<u64, u64, u64, i64>) {
/// use differential_dataflow::trace::TraceReader;
///
/// let mut count = 0;
/// trace.map_spans(|span| {
///     let chunks = span.inner.iter().flat_map(|batch| &batch.chunks);
///     pager_differential::scan(chunks, |updates| count += updates.iter().len());
/// });
/// # }
/// ```
///
/// # Panics
///
/// If a chunk cannot be loaded.
pub fn scan<'a, C: Scan + 'a>(
    chunks: impl IntoIterator<Item = &'a C>,
    mut each: impl FnMut(UpdatesView<'_, C::Update>),
) {
    chunks
        .into_iter()
        .for_each(|chunk| chunk.with_updates(&mut each));
}
