//! [`StagingPool`]: a small stock of aligned buffers for memory that is not.
//!
//! Direct I/O wants aligned memory, and a `Vec` has none. Such words travel
//! through one of these buffers, which are as large as a chunk, stay warm, and
//! are made only when more threads need one at a time than ever before.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pager_core::{Arena, ChunkBuf, Result};

/// Bytes of a staging buffer: one chunk, so one system call moves it.
pub(super) const STAGING_BYTES: usize = 2 << 20;

/// Buffers that are kept when nobody uses them. More may be in use at a time:
/// one for each thread inside a read or a page-out.
const KEPT_COUNT: usize = 4;

/// Buffers nobody is using, last in first out: the last one is still in the
/// processor's cache.
#[derive(Debug)]
pub(super) struct StagingPool {
    idle: Mutex<Vec<ChunkBuf>>,
}

impl StagingPool {
    pub(super) fn new() -> Self {
        Self {
            idle: Mutex::new(Vec::with_capacity(KEPT_COUNT)),
        }
    }

    /// An idle buffer, or a new one.
    ///
    /// # Errors
    ///
    /// [`pager_core::Error::OutOfMemory`].
    pub(super) fn get(&self) -> Result<Staging<'_>> {
        let idle = self.lock().pop();
        let words = match idle {
            Some(words) => words,
            None => new_buffer()?,
        };
        Ok(Staging { words, pool: self })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ChunkBuf>> {
        // A push or a pop leaves the stock whole, whoever panics.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_buffer() -> Result<ChunkBuf> {
    let len = STAGING_BYTES / size_of::<u64>();
    let mut words = ChunkBuf::with_capacity_in(&Arena::shared(), len)?;
    // Once in a buffer's life: what is read into later is never cleared.
    words.resize(len, 0)?;
    Ok(words)
}

/// A buffer in use; goes back to the stock when dropped.
#[derive(Debug)]
pub(super) struct Staging<'a> {
    words: ChunkBuf,
    pool: &'a StagingPool,
}

impl Staging<'_> {
    /// All of it, [`STAGING_BYTES`] long, content unknown.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.words)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        let words = std::mem::take(&mut self.words);
        let mut idle = self.pool.lock();
        if idle.len() < KEPT_COUNT {
            idle.push(words);
        } else {
            // Freed after the lock, for it may cost a system call.
            drop(idle);
            drop(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_comes_back() {
        let pool = StagingPool::new();
        let first = {
            let mut staging = pool.get().unwrap();
            assert_eq!(staging.bytes().len(), STAGING_BYTES);
            staging.bytes().as_ptr().addr()
        };
        assert!(first.is_multiple_of(pager_core::PAGE_BYTES));
        assert_eq!(pool.get().unwrap().bytes().as_ptr().addr(), first);
    }

    #[test]
    fn the_stock_is_bounded() {
        let pool = StagingPool::new();
        let many: Vec<_> = (0..KEPT_COUNT + 3).map(|_| pool.get().unwrap()).collect();
        drop(many);
        assert_eq!(pool.lock().len(), KEPT_COUNT);
    }
}
