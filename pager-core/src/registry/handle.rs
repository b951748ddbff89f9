//! [`Handle`]: a caller's claim on one payload.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Shared;
use super::counters::Count;
use crate::backend::Backend;
use crate::budget::Claim;
use crate::error::{Error, Result, TakeError};
use crate::memory::Destination;
use crate::payload::Entry;

const WORD_BYTES: usize = size_of::<u64>();

/// A payload that was paged out, and the right to read it and take it back.
///
/// Dropping the handle gives the payload's storage back. Not `Clone`: one
/// payload, one owner; share it behind an `Arc` to read from many threads.
/// In a forked child every operation says [`Error::ForeignProcess`], and
/// dropping the handle does nothing: the payload is the parent's.
pub struct Handle<B: Backend> {
    /// `None` only while it is being dropped.
    entry: Option<Arc<Entry<B>>>,
    /// Its part of a group's quota, given back with it.
    _claim: Option<Claim>,
}

impl<B: Backend> Handle<B> {
    pub(super) fn new(entry: Arc<Entry<B>>, claim: Option<Claim>) -> Self {
        Self {
            entry: Some(entry),
            _claim: claim,
        }
    }

    fn entry(&self) -> &Arc<Entry<B>> {
        self.entry
            .as_ref()
            .expect("the entry is there until the handle is dropped")
    }

    /// Words of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len_bytes() / WORD_BYTES
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.entry().len_bytes
    }

    /// Whether the payload has no words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of the handle in its registry's listing.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.entry().id
    }

    /// Name of the backend that made the handle and keeps it for life.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.entry().home.backend.name()
    }

    /// Appends `len` words from word `offset` on to `dst`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], and what the backend says; `dst` is as it was.
    pub fn read_at<D: Destination>(&self, offset: usize, len: usize, dst: &mut D) -> Result<()> {
        let end = offset.saturating_add(len);
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
        let entry = self.own_entry()?;
        let mut bytes = 0;
        let read = self.check(ranges).and_then(|sum| {
            bytes = sum * WORD_BYTES;
            match bytes {
                0 => Ok(()),
                bytes => entry.read_into(&in_bytes(ranges)?, bytes, dst),
            }
        });
        let read = read.map_err(|error| error.of_handle(entry.id));
        if bytes > 0 || read.is_err() {
            entry.home.count_read(&read, Count::Reads, bytes);
        }
        read
    }

    /// Hints that the whole payload will be read or taken soon.
    pub fn prefetch(&self) {
        self.prefetch_range(0..self.len());
    }

    /// Hints that `len` words from word `offset` on will be read soon. What
    /// lies outside the payload is ignored.
    pub fn prefetch_at(&self, offset: usize, len: usize) {
        let end = offset.saturating_add(len).min(self.len());
        self.prefetch_range(offset.min(end)..end);
    }

    /// Replaces the content of `dst` by the payload, and frees its storage.
    ///
    /// A payload of one chunk that never left memory comes back as the very
    /// allocation it was: one that the budget has not sent away yet, or one of a
    /// backend that can do that ([`InPlace::detach`](crate::InPlace::detach)).
    ///
    /// # Errors
    ///
    /// What the backend says, with the handle, as good as before; `dst` is
    /// empty then.
    pub fn take<D: Destination>(mut self, dst: &mut D) -> Result<(), TakeError<Self>> {
        dst.clear();
        match self.try_take(dst) {
            Ok(()) => {
                self.retire();
                Ok(())
            }
            Err(error) => Err(TakeError::new(error, self)),
        }
    }

    fn try_take<D: Destination>(&mut self, dst: &mut D) -> Result<()> {
        self.own_entry()?;
        let entry = self
            .entry
            .as_mut()
            .expect("the entry is there until the handle is dropped");
        let taken = entry
            .take_into(dst)
            .map_err(|error| error.of_handle(entry.id));
        entry.home.count_read(&taken, Count::Takes, entry.len_bytes);
        taken
    }

    fn prefetch_range(&self, range: Range<usize>) {
        if let Ok(entry) = self.own_entry()
            && !range.is_empty()
        {
            entry.home.counters.add(Count::Prefetches, 1);
            entry.prefetch(range.start * WORD_BYTES..range.end * WORD_BYTES);
        }
    }

    /// Queues a fetch as `prefetch` does where there are threads to serve it.
    #[cfg(all(test, pager_shuttle))]
    pub(crate) fn queue_fetch(&self, range: Range<usize>) {
        let bytes = range.start * WORD_BYTES..range.end * WORD_BYTES;
        self.entry().queue_fetch(&bytes);
    }

    /// The entry, for this process only.
    fn own_entry(&self) -> Result<&Arc<Entry<B>>> {
        let entry = self.entry();
        if entry.home.owner.is_current() {
            Ok(entry)
        } else {
            Err(Error::ForeignProcess)
        }
    }

    /// Sum of the lengths of `ranges`, each of which lies within the payload.
    fn check(&self, ranges: &[Range<usize>]) -> Result<usize> {
        let payload_len = self.len();
        let out_of_bounds = |range: &Range<usize>| Error::OutOfBounds {
            offset: range.start,
            len: range.end.saturating_sub(range.start),
            payload_len,
        };
        ranges.iter().try_fold(0usize, |sum, range| {
            if range.start > range.end || range.end > payload_len {
                return Err(out_of_bounds(range));
            }
            sum.checked_add(range.len())
                .ok_or_else(|| out_of_bounds(range))
        })
    }

    /// Ends a handle whose payload was taken.
    fn retire(mut self) {
        if let Some(entry) = self.entry.take() {
            entry.home.handles.remove(entry.id);
        }
    }
}

/// `ranges` of words, in bytes; in memory of its own only if there are many.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
fn in_bytes(ranges: &[Range<usize>]) -> Result<SmallVec<[Range<usize>; 8]>> {
    let mut bytes = SmallVec::new();
    bytes
        .try_reserve_exact(ranges.len())
        .map_err(|_| Error::OutOfMemory {
            needed_bytes: size_of_val(ranges),
        })?;
    let scaled = |range: &Range<usize>| range.start * WORD_BYTES..range.end * WORD_BYTES;
    bytes.extend(ranges.iter().map(scaled));
    Ok(bytes)
}

impl<B> Shared<B> {
    /// Counts a read or a take that has ended.
    fn count_read(&self, outcome: &Result<()>, kind: Count, len_bytes: usize) {
        let bytes = match kind {
            Count::Takes => Count::TakenBytes,
            _ => Count::ReadBytes,
        };
        match outcome {
            Ok(()) => {
                self.counters.add(kind, 1);
                self.counters.add(bytes, len_bytes);
            }
            Err(_) => self.counters.add(Count::FailedReads, 1),
        }
    }
}

impl<B: Backend> Drop for Handle<B> {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else {
            return;
        };
        let shared = &entry.home;
        if shared.owner.is_current() {
            entry.abandon();
            // Counted before it is gone: nobody sees it neither alive nor dropped.
            shared.counters.add(Count::Drops, 1);
            shared.counters.add(Count::DroppedBytes, entry.len_bytes);
            shared.handles.remove(entry.id);
        } else {
            // The parent's: its locks may be held by threads that are not here.
            std::mem::forget(entry);
        }
    }
}

impl<B: Backend> fmt::Debug for Handle<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.id())
            .field("backend", &self.backend())
            .field("len", &self.len())
            .finish()
    }
}
