//! [`Buffer`]: the kinds of memory that a workload may hold its chunks in.

use pager_core::{Chunk, ChunkBuf, Destination};

use crate::data::{BLOCK_WORDS, Blocks};

/// A growable buffer of words that can be paged out and taken into.
pub trait Buffer:
    Chunk<Element = u64> + Destination<Element = u64> + Default + Send + Sync + 'static
{
    /// Name of the kind, as a flag says it.
    const NAME: &'static str;

    /// Words that fit without growing.
    fn capacity_words(&self) -> usize;

    /// Forgets the words; the capacity stays.
    fn forget(&mut self);

    /// Makes room for `words` more in one step.
    ///
    /// # Errors
    ///
    /// No memory.
    fn reserve_words(&mut self, words: usize) -> pager_core::Result<()>;

    /// Appends `words`.
    ///
    /// # Errors
    ///
    /// No memory.
    fn append_words(&mut self, words: &[u64]) -> pager_core::Result<()>;

    /// All words of a buffer of this length, to be overwritten: they are what they are.
    ///
    /// # Errors
    ///
    /// No memory.
    fn words_mut(&mut self, len: usize) -> pager_core::Result<&mut [u64]>;

    /// Becomes the first `len` words of `blocks`.
    ///
    /// # Errors
    ///
    /// No memory.
    fn fill(&mut self, mut blocks: Blocks<'_>, len: usize) -> pager_core::Result<()> {
        self.forget();
        self.reserve_words(len)?;
        let mut block = [0; BLOCK_WORDS];
        let mut left = len;
        while left > 0 {
            blocks.next_into(&mut block);
            let words = left.min(BLOCK_WORDS);
            self.append_words(&block[..words])?;
            left -= words;
        }
        Ok(())
    }
}

impl Buffer for Vec<u64> {
    const NAME: &'static str = "vec";

    fn capacity_words(&self) -> usize {
        self.capacity()
    }

    fn forget(&mut self) {
        self.clear();
    }

    fn reserve_words(&mut self, words: usize) -> pager_core::Result<()> {
        self.try_reserve_exact(words)
            .map_err(|_| pager_core::Error::OutOfMemory {
                needed_bytes: words.saturating_mul(size_of::<u64>()),
            })
    }

    fn append_words(&mut self, words: &[u64]) -> pager_core::Result<()> {
        self.extend_from_slice(words);
        Ok(())
    }

    fn words_mut(&mut self, len: usize) -> pager_core::Result<&mut [u64]> {
        if self.capacity() < len {
            self.clear();
            self.reserve_words(len)?;
        }
        // A buffer that is used again has its length, and is not zeroed.
        self.resize(len, 0);
        Ok(self)
    }
}

impl Buffer for ChunkBuf {
    const NAME: &'static str = "buf";

    fn capacity_words(&self) -> usize {
        self.capacity()
    }

    fn forget(&mut self) {
        self.clear();
    }

    fn reserve_words(&mut self, words: usize) -> pager_core::Result<()> {
        self.reserve(words)
    }

    fn append_words(&mut self, words: &[u64]) -> pager_core::Result<()> {
        self.extend_from_slice(words)
    }

    fn words_mut(&mut self, len: usize) -> pager_core::Result<&mut [u64]> {
        self.resize(len, 0)?;
        Ok(self)
    }
}
