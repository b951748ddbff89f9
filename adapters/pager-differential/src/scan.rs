//! [`scan`]: a trace read chunk by chunk, of which none stays in memory.

use differential_dataflow::columnar::layout::ColumnarUpdate;
use differential_dataflow::columnar::trace::ColChunk;
use differential_dataflow::columnar::updates::UpdatesTyped;

/// Calls `each` with the updates of each of `chunks`, in order.
///
/// A chunk that was stored is loaded for the call and dropped after it, which a cursor does not
/// do: that keeps every chunk that it came to for as long as the chunk lives. So a trace larger
/// than memory can be read this way, within memory. What comes next is read ahead.
///
/// ```no_run
/// # use differential_dataflow::columnar::trace::Spine;
/// # fn example(trace: &Spine<u64, u64, u64, i64>) {
/// use differential_dataflow::trace::TraceReader;
///
/// let mut count = 0;
/// trace.map_spans(|span| {
///     let chunks = span.inner.iter().flat_map(|batch| &batch.chunks);
///     pager_differential::scan(chunks, |updates| count += updates.len());
/// });
/// # }
/// ```
///
/// # Panics
///
/// If a chunk cannot be loaded.
pub fn scan<'a, U: ColumnarUpdate>(
    chunks: impl IntoIterator<Item = &'a ColChunk<U>>,
    mut each: impl FnMut(&UpdatesTyped<U>),
) {
    for chunk in chunks {
        // A clone shares the stored bytes, and is what the loaded ones go into.
        match chunk {
            ColChunk::Resident(updates) => each(updates),
            ColChunk::Paged(_) => each(chunk.clone().updates_mut()),
        }
    }
}
