//! [`Handle`]: a caller's claim on one payload.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::counters::Count;
use super::shard::Key;
use super::{HandleInfo, Shared};
use crate::backend::Backend;
use crate::error::{Error, Result, TakeError};
use crate::memory::Destination;

/// A payload that was paged out, and the right to read it and take it back.
///
/// Dropping the handle gives the payload's storage back. Not `Clone`: one
/// payload, one owner; share it behind an `Arc` to read from many threads.
/// In a forked child every operation says [`Error::ForeignProcess`], and
/// dropping the handle does nothing: the payload is the parent's.
pub struct Handle<B: Backend> {
    /// `None` only after `take` has moved the slot out.
    slot: Option<B::Slot>,
    shared: Arc<Shared<B>>,
    key: Key,
    id: u64,
    len: usize,
}

impl<B: Backend> Handle<B> {
    /// Registers a payload that the backend has stored.
    pub(super) fn new(shared: &Arc<Shared<B>>, slot: B::Slot, len: usize) -> Self {
        let id = shared.next_id();
        let key = shared.handles.insert(HandleInfo {
            id,
            backend: shared.backend.name(),
            len,
        });
        Self {
            slot: Some(slot),
            shared: Arc::clone(shared),
            key,
            id,
            len,
        }
    }

    /// Words of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len * size_of::<u64>()
    }

    /// Whether the payload has no words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of the handle in its registry's listing.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Name of the backend that made the handle and keeps it for life.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.shared.backend.name()
    }

    /// Appends `len` words from word `offset` on to `dst`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], and what the backend says; `dst` is as it was.
    pub fn read_at<D: Destination>(&self, offset: usize, len: usize, dst: &mut D) -> Result<()> {
        let end = offset.checked_add(len).ok_or(Error::OutOfBounds {
            offset,
            len,
            payload_len: self.len,
        })?;
        self.read_at_many(std::slice::from_ref(&(offset..end)), dst)
    }

    /// Appends the words of all `ranges`, in the order given, to `dst`.
    ///
    /// Ranges may overlap, touch, repeat and be empty.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if any range is reversed or reaches outside the
    /// payload, and what the backend says; `dst` is as it was.
    pub fn read_at_many<D: Destination>(&self, ranges: &[Range<usize>], dst: &mut D) -> Result<()> {
        let words = self.check(ranges)?;
        if words == 0 {
            return Ok(());
        }
        let slot = self.slot()?;
        let read = dst.append(words, |window| {
            self.shared.backend.read(slot, ranges, window)
        });
        self.shared.count_read(&read, Count::Reads, words);
        read
    }

    /// Hints that the whole payload will be read or taken soon.
    pub fn prefetch(&self) {
        self.prefetch_range(0..self.len);
    }

    /// Hints that `len` words from word `offset` on will be read soon. What
    /// lies outside the payload is ignored.
    pub fn prefetch_at(&self, offset: usize, len: usize) {
        let end = offset.saturating_add(len).min(self.len);
        self.prefetch_range(offset.min(end)..end);
    }

    /// Replaces the content of `dst` by the payload, and frees its storage.
    ///
    /// A payload of one chunk that never left memory comes back as the very
    /// allocation it was, where the backend can do that
    /// ([`Capabilities::same_allocation`](crate::Capabilities)).
    ///
    /// # Errors
    ///
    /// What the backend says, with the handle, as good as before; `dst` is
    /// empty then.
    pub fn take<D: Destination>(mut self, dst: &mut D) -> Result<(), TakeError<Self>> {
        dst.clear();
        match self.take_into(dst) {
            Ok(()) => Ok(()),
            Err(error) => Err(TakeError::new(error, self)),
        }
    }

    fn take_into<D: Destination>(&mut self, dst: &mut D) -> Result<()> {
        self.slot()?;
        let Some(slot) = self.slot.take() else {
            return Err(Error::ForeignProcess);
        };
        let backend = &self.shared.backend;
        let slot = match backend.detach(slot, D::KIND) {
            Ok(chunk) => {
                if dst.adopt(chunk).is_err() {
                    unreachable!("a backend detaches only the kind of chunk that is wanted");
                }
                self.shared.count_read(&Ok(()), Count::Takes, self.len);
                return Ok(());
            }
            Err(slot) => self.slot.insert(slot),
        };
        let whole = 0..self.len;
        let read = if self.len == 0 {
            Ok(())
        } else {
            dst.append(self.len, |window| {
                backend.read(slot, std::slice::from_ref(&whole), window)
            })
        };
        self.shared.count_read(&read, Count::Takes, self.len);
        read?;
        if let Some(slot) = self.slot.take() {
            backend.free(slot);
        }
        Ok(())
    }

    fn prefetch_range(&self, range: Range<usize>) {
        if let Ok(slot) = self.slot()
            && !range.is_empty()
        {
            self.shared.counters.add(Count::Prefetches, 1);
            self.shared.backend.prefetch(slot, range);
        }
    }

    /// The slot, for this process only.
    fn slot(&self) -> Result<&B::Slot> {
        match &self.slot {
            Some(slot) if self.shared.owner.is_current() => Ok(slot),
            _ => Err(Error::ForeignProcess),
        }
    }

    /// Sum of the lengths of `ranges`, each of which lies within the payload.
    fn check(&self, ranges: &[Range<usize>]) -> Result<usize> {
        let out_of_bounds = |range: &Range<usize>| Error::OutOfBounds {
            offset: range.start,
            len: range.end.saturating_sub(range.start),
            payload_len: self.len,
        };
        ranges.iter().try_fold(0usize, |sum, range| {
            if range.start > range.end || range.end > self.len {
                return Err(out_of_bounds(range));
            }
            sum.checked_add(range.len())
                .ok_or_else(|| out_of_bounds(range))
        })
    }
}

impl<B: Backend> Drop for Handle<B> {
    fn drop(&mut self) {
        if !self.shared.owner.is_current() {
            // The parent's payload: leak our copy of what is remembered of it.
            std::mem::forget(self.slot.take());
            return;
        }
        self.shared.handles.remove(self.key);
        if let Some(slot) = self.slot.take() {
            self.shared.counters.add(Count::Drops, 1);
            self.shared
                .counters
                .add(Count::DroppedBytes, self.len * size_of::<u64>());
            self.shared.backend.free(slot);
        }
    }
}

impl<B: Backend> fmt::Debug for Handle<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.id)
            .field("backend", &self.backend())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
