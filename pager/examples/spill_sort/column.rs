//! [`PagedColumn`]: a column that lives in paged-out chunks of equal length.

use std::collections::VecDeque;
use std::ops::Range;

use pager::{Handle, Pager};

/// Chunks of `chunk_words` words each, the last one perhaps shorter. Chunks leave
/// at the front once they are not needed any more.
#[derive(Debug)]
pub(crate) struct PagedColumn {
    chunk_words: usize,
    chunks: VecDeque<Handle>,
    /// Chunks that have left.
    gone: usize,
    len: usize,
}

impl PagedColumn {
    pub(crate) fn new(chunk_words: usize) -> Self {
        Self {
            chunk_words,
            chunks: VecDeque::new(),
            gone: 0,
            len: 0,
        }
    }

    /// Words in all.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Pages `chunk` out as the next one, and leaves it empty.
    pub(crate) fn push(&mut self, pager: &Pager, chunk: &mut Vec<u64>) -> pager::Result<()> {
        debug_assert!(
            self.len.is_multiple_of(self.chunk_words) && chunk.len() <= self.chunk_words,
            "only the last chunk may be short"
        );
        let len = chunk.len();
        let handle = pager.pageout(std::slice::from_mut(chunk))?;
        self.chunks.push_back(handle);
        self.len += len;
        // Some backends keep the allocation; the next chunk needs one.
        chunk.reserve_exact(self.chunk_words);
        Ok(())
    }

    /// Appends these words to `dst`. None of them may have left.
    pub(crate) fn read(
        &self,
        pager: &Pager,
        words: Range<usize>,
        dst: &mut Vec<u64>,
    ) -> pager::Result<()> {
        for (handle, part) in self.parts(words) {
            pager.read_at(handle, part.start, part.len(), dst)?;
        }
        Ok(())
    }

    /// Announces that these words will be read.
    pub(crate) fn prefetch(&self, pager: &Pager, words: Range<usize>) {
        for (handle, part) in self.parts(words) {
            pager.prefetch_at(handle, part.start, part.len());
        }
    }

    /// Lets go of all chunks that end at or before this word.
    pub(crate) fn release_before(&mut self, word: usize) {
        while self.gone < word / self.chunk_words && self.chunks.pop_front().is_some() {
            self.gone += 1;
        }
        if word == self.len {
            self.chunks.clear();
        }
    }

    /// The chunks that are left, first to last.
    pub(crate) fn into_chunks(self) -> VecDeque<Handle> {
        self.chunks
    }

    /// The chunks that these words are in, and where.
    fn parts(&self, words: Range<usize>) -> impl Iterator<Item = (&Handle, Range<usize>)> {
        let mut next = words.start;
        std::iter::from_fn(move || {
            if next >= words.end {
                return None;
            }
            let chunk = next / self.chunk_words;
            let chunk_start = chunk * self.chunk_words;
            let end = words.end.min(chunk_start + self.chunk_words);
            let part = next - chunk_start..end - chunk_start;
            next = end;
            Some((self.chunks.get(chunk - self.gone)?, part))
        })
    }
}
