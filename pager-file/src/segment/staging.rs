//! [`StagingPool`]: a small stock of aligned buffers for memory that is not.
//!
//! Direct I/O wants aligned memory, and a `Vec` has none. Such bytes travel
//! through one of these buffers, which are as large as a chunk and stay warm. The
//! memory budget bounds how many are in use: who needs one more waits for one.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use pager_core::{Arena, ChunkBuf, PAGE_BYTES, Result, SizeClass, TransferCharge, TransferMemory};

/// Bytes of a staging buffer: one chunk, so one system call moves it.
pub(super) const STAGING_BYTES: usize = 2 << 20;

/// Buffers that are kept when nobody uses them. More may be in use at a time: one for
/// each thread inside a read or a page-out, as far as the budget lets them.
const KEPT_COUNT: usize = 3;

/// Buffers nobody is using, last in first out: the last one is still in the
/// processor's cache.
#[derive(Debug)]
pub(super) struct StagingPool {
    idle: Mutex<Vec<Idle>>,
    /// None until the backend has a registry: then nobody counts.
    memory: OnceLock<TransferMemory>,
}

/// A buffer that nobody uses, and what it costs.
#[derive(Debug)]
struct Idle {
    buffer: ChunkBuf<u8>,
    charge: Option<TransferCharge>,
}

impl StagingPool {
    pub(super) fn new() -> Self {
        Self {
            idle: Mutex::new(Vec::with_capacity(KEPT_COUNT)),
            memory: OnceLock::new(),
        }
    }

    /// Has buffers count as the transfers of a registry.
    pub(super) fn attach(&self, memory: &TransferMemory) {
        // A second registry over the same backend does not exist.
        let _ = self.memory.set(memory.clone());
        // Those that were made before, for a trial.
        let mut idle = std::mem::take(&mut *self.lock());
        idle.retain_mut(|idle| {
            idle.charge = memory.try_hold(buffer_bytes());
            idle.charge.as_ref().is_some_and(TransferCharge::try_rest)
        });
        self.lock().append(&mut idle);
    }

    /// An idle buffer, or a new one; waits while as many are in use as the budget allows.
    /// Nobody may hold one who asks for another.
    ///
    /// # Errors
    ///
    /// [`pager_core::Error::OutOfMemory`].
    pub(super) fn get(&self) -> Result<Staging<'_>> {
        loop {
            let idle = self.lock().pop();
            if let Some(idle) = idle {
                let charge = idle.charge.as_ref();
                if charge.is_none_or(TransferCharge::try_resume) {
                    return Ok(self.lend(idle));
                }
                self.lock().push(idle);
            }
            let memory = self.memory.get();
            let charge = memory.and_then(|memory| memory.try_hold(buffer_bytes()));
            match (memory, charge) {
                (Some(memory), None) => memory.wait(),
                (_, charge) => {
                    let buffer = new_buffer()?;
                    return Ok(self.lend(Idle { buffer, charge }));
                }
            }
        }
    }

    fn lend(&self, idle: Idle) -> Staging<'_> {
        Staging {
            buffer: idle.buffer,
            charge: idle.charge,
            pool: self,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        // A push or a pop leaves the stock whole, whoever panics.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where in its page a staged copy of what lies at `address` should begin: half a
/// page away from the place of that in its own, at a multiple of `align_bytes`.
///
/// A processor that copies between places which are the same in their pages, but
/// for a few bytes, takes each load for one of the bytes just stored and waits: on
/// Zen 3, `rep movsb` then runs at a fourth of its speed. A `Vec` of the C library
/// begins 16 bytes into its page, an aligned buffer none.
/// <https://sourceware.org/bugzilla/show_bug.cgi?id=30994>
pub(super) fn page_offset_apart_from(address: usize, align_bytes: usize) -> usize {
    let apart = address.wrapping_add(PAGE_BYTES / 2) % PAGE_BYTES;
    apart - apart % align_bytes.clamp(MIN_STEP_BYTES, PAGE_BYTES)
}

/// A line of the processor's cache: buffers begin at one.
const MIN_STEP_BYTES: usize = 64;

/// Bytes of memory that a buffer takes.
fn buffer_bytes() -> usize {
    SizeClass::for_bytes(STAGING_BYTES + PAGE_BYTES).bytes()
}

fn new_buffer() -> Result<ChunkBuf<u8>> {
    let len = STAGING_BYTES + PAGE_BYTES;
    let mut buffer = ChunkBuf::with_capacity_in(&Arena::shared(), len)?;
    // Once in a buffer's life: what is read into later is never cleared.
    buffer.resize(len, 0)?;
    Ok(buffer)
}

/// A buffer in use; goes back to the stock when dropped.
#[derive(Debug)]
pub(super) struct Staging<'a> {
    buffer: ChunkBuf<u8>,
    pool: &'a StagingPool,
    charge: Option<TransferCharge>,
}

impl Staging<'_> {
    /// [`STAGING_BYTES`] from byte `page_offset` of its first page on, content
    /// unknown.
    pub(super) fn bytes_at(&mut self, page_offset: usize) -> &mut [u8] {
        &mut self.buffer[page_offset..page_offset + STAGING_BYTES]
    }

    /// The same from the beginning of a page on.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.bytes_at(0)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let charge = self.charge.take();
        let may_stay = charge.as_ref().is_none_or(TransferCharge::try_rest);
        let mut idle = self.pool.lock();
        if may_stay && idle.len() < KEPT_COUNT {
            idle.push(Idle { buffer, charge });
        } else {
            // Freed after the lock, for it may cost a system call.
            drop(idle);
            drop((buffer, charge));
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
    fn a_copy_lies_half_a_page_away_where_alignment_allows_it() {
        for address in [16, 0, 4080, 2048, 12_345_678] {
            for align_bytes in [1, 8, 512] {
                let offset = page_offset_apart_from(address, align_bytes);
                assert!(offset < PAGE_BYTES && offset.is_multiple_of(align_bytes));
                let apart = (address + PAGE_BYTES - offset) % PAGE_BYTES;
                assert!((1024..=3072).contains(&apart), "{address} {offset}");
            }
            assert_eq!(page_offset_apart_from(address, PAGE_BYTES), 0);
            assert_eq!(page_offset_apart_from(address, 1 << 40), 0);
        }
        let pool = StagingPool::new();
        assert_eq!(
            pool.get().unwrap().bytes_at(PAGE_BYTES).len(),
            STAGING_BYTES
        );
    }

    #[test]
    fn the_stock_is_bounded() {
        let pool = StagingPool::new();
        let many: Vec<_> = (0..KEPT_COUNT + 3).map(|_| pool.get().unwrap()).collect();
        drop(many);
        assert_eq!(pool.lock().len(), KEPT_COUNT);
    }
}
