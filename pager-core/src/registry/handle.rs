//! [`Handle`]: a caller's claim on one payload.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytemuck::Pod;
use smallvec::SmallVec;

use super::counters::Count;
use crate::backend::Backend;
use crate::budget::{Claim, Wait};
use crate::error::{Error, Result, TakeError};
use crate::memory::{Destination, ElementLayout};
use crate::observe::{Operation, Watch};
use crate::payload::{Entry, Hint, View};

/// A payload that was paged out, and the right to read it and take it back.
///
/// Lengths and offsets count elements of `T`, the type that it was paged out in.
/// Dropping the handle gives the payload's storage back. Not `Clone`: one
/// payload, one owner; share it by reference or in an `Arc` to read from many threads.
/// In a forked child every operation says [`Error::ForeignProcess`], and
/// dropping the handle does nothing: the payload is the parent's.
pub struct Handle<B: Backend, T = u64> {
    /// `None` only while it is being dropped.
    entry: Option<Arc<Entry<B>>>,
    /// Its part of a group's quota, given back with it.
    claim: Option<Claim>,
    _elements: PhantomData<fn() -> T>,
}

impl<B: Backend, T> Handle<B, T> {
    pub(super) fn new(entry: Arc<Entry<B>>, claim: Option<Claim>) -> Self {
        Self {
            entry: Some(entry),
            claim,
            _elements: PhantomData,
        }
    }

    fn entry(&self) -> &Arc<Entry<B>> {
        self.entry
            .as_ref()
            .expect("the entry is there until the handle is dropped")
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.entry().len_bytes
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len_bytes() == 0
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

    /// The entry, for this process only.
    fn own_entry(&self) -> Result<&Arc<Entry<B>>> {
        let entry = self.entry();
        if entry.home.owner.is_current() {
            Ok(entry)
        } else {
            Err(Error::ForeignProcess)
        }
    }

    /// Ends a handle whose payload was taken.
    fn retire(mut self) {
        if let Some(entry) = self.entry.take() {
            entry.home.handles.remove(entry.id);
        }
    }
}

impl<B: Backend, T: Pod> Handle<B, T> {
    const ELEMENT_BYTES: usize = ElementLayout::of::<T>().bytes();

    /// Elements of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len_bytes() / Self::ELEMENT_BYTES
    }

    /// The same payload, its bytes as elements of another type.
    ///
    /// # Errors
    ///
    /// The handle, if the bytes are no whole number of these.
    pub fn cast<U: Pod>(mut self) -> Result<Handle<B, U>, Self> {
        let element = ElementLayout::of::<U>();
        if !self.len_bytes().is_multiple_of(element.bytes()) {
            return Err(self);
        }
        Ok(Handle {
            entry: self.entry.take(),
            claim: self.claim.take(),
            _elements: PhantomData,
        })
    }

    /// Appends `len` elements from `offset` on to `dst`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], and what the backend says; `dst` is as it was.
    pub fn read_at<D: Destination<Element = T>>(
        &self,
        offset: usize,
        len: usize,
        dst: &mut D,
    ) -> Result<()> {
        let end = offset.saturating_add(len);
        self.read_at_many(std::slice::from_ref(&(offset..end)), dst)
    }

    /// Appends the elements of all `ranges`, in the order given, to `dst`.
    ///
    /// Ranges may overlap, touch, repeat and be empty.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if any range is reversed or reaches outside the
    /// payload, and what the backend says; `dst` is as it was.
    pub fn read_at_many<D: Destination<Element = T>>(
        &self,
        ranges: &[Range<usize>],
        dst: &mut D,
    ) -> Result<()> {
        let entry = self.own_entry()?;
        let bytes_of = |range: &Range<usize>| range.len().saturating_mul(Self::ELEMENT_BYTES);
        let wanted = ranges.iter().map(bytes_of).fold(0, usize::saturating_add);
        let watch = Watch::begin(entry.about(Operation::Read, wanted));
        let mut bytes = 0;
        let read = self.check(ranges).and_then(|sum| {
            bytes = sum;
            match (bytes, Self::ELEMENT_BYTES) {
                (0, _) => Ok(()),
                (bytes, 1) => entry.read_into(ranges, bytes, dst),
                (bytes, _) => entry.read_into(&Self::all_in_bytes(ranges)?, bytes, dst),
            }
        });
        let read = read.map_err(|error| error.of_handle(entry.id));
        watch.end(&read, None);
        if bytes > 0 || read.is_err() {
            entry.home.counters.add_read(&read, Count::Reads, bytes);
        }
        read
    }

    /// A view of elements `range`, which derefs to the slice of them: without a copy where
    /// they are in memory in one place. Whoever looks holds them there, and the budget
    /// counts them; three quarters of it may be held so.
    ///
    /// ```
    /// use pager_core::{Registry, Residency};
    /// # mod in_memory { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_memory.inc")); }
    /// # use in_memory::InMemory;
    ///
    /// let residency = Residency::builder().budget_bytes(1 << 20).build();
    /// let registry = Registry::with_residency(InMemory, &residency);
    /// let handle = registry.pageout(&mut [vec![1.5f64, 2.5, 3.5]])?;
    /// let view = handle.view(1..3)?;
    /// drop(handle);
    /// assert_eq!(*view, [2.5, 3.5]);
    /// # Ok::<(), pager_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`]; [`Error::NoRoom`] for what does not fit into the budget
    /// beside what other views hold; what the backend says.
    pub fn view(&self, range: Range<usize>) -> Result<View<T>> {
        self.view_or_wait(range, Wait::AsLongAsItTakes)
    }

    /// A view for which nobody makes room.
    ///
    /// # Errors
    ///
    /// As for [`view`](Self::view); [`NoRoom`](crate::Error::NoRoom) where that would wait
    /// for room.
    pub(crate) fn view_without_waiting(&self, range: Range<usize>) -> Result<View<T>> {
        self.view_or_wait(range, Wait::No)
    }

    fn view_or_wait(&self, range: Range<usize>, patience: Wait) -> Result<View<T>> {
        let entry = self.own_entry()?;
        let element = ElementLayout::of::<T>();
        let viewed = match self.check(std::slice::from_ref(&range)) {
            Ok(0) => return Ok(View::new(None)),
            Ok(_) => entry.view(&Self::bytes_of(&range), element.align_bytes(), patience),
            Err(error) => Err(error),
        };
        let viewed = viewed.map_err(|error| error.of_handle(entry.id));
        let len_bytes = range.len() * element.bytes();
        let outcome = viewed.map(|pinned| View::new(Some(pinned)));
        // Whoever does not wait asks, and then reads in another way.
        if patience != Wait::No || !matches!(outcome, Err(Error::NoRoom { .. })) {
            entry
                .home
                .counters
                .add_read(&outcome, Count::Reads, len_bytes);
        }
        outcome
    }

    /// Whether elements `range` can be viewed or read without waiting for the backend,
    /// now: a hint, for they may leave at any time. What lies outside the payload is
    /// ignored.
    pub fn is_resident(&self, range: Range<usize>) -> bool {
        let end = range.end.min(self.len());
        let range = range.start.min(end)..end;
        self.own_entry()
            .is_ok_and(|entry| range.is_empty() || entry.is_resident(&Self::bytes_of(&range)))
    }

    /// Whether all of it is in memory, or some of it on its way.
    pub(crate) fn is_at_hand(&self) -> bool {
        let range = 0..self.len_bytes();
        self.own_entry()
            .is_ok_and(|entry| entry.is_resident(&range) || entry.is_coming(&range))
    }

    /// Begins to bring the payload back into memory, and is ready when it is there, or
    /// when it will not come by itself: without a budget or threads to serve it, without
    /// room, or if it cannot be read. A view or a read is then next; it waits only in the
    /// second case. The task is woken when something has changed.
    pub fn poll_fetch(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.own_entry() {
            Ok(entry) => entry.poll_fetch(&(0..entry.len_bytes), context),
            Err(_) => Poll::Ready(()),
        }
    }

    /// A hint that prefetches this payload from elsewhere, also when the handle has been
    /// given to somebody who will take it.
    #[must_use]
    pub fn hint(&self) -> Hint {
        Hint::new(self.entry().weak())
    }

    /// Elements in bytes.
    fn bytes_of(range: &Range<usize>) -> Range<usize> {
        range.start * Self::ELEMENT_BYTES..range.end * Self::ELEMENT_BYTES
    }

    /// The same of many; in memory of their own only if there are more than eight.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    fn all_in_bytes(ranges: &[Range<usize>]) -> Result<SmallVec<[Range<usize>; 8]>> {
        let mut bytes = SmallVec::new();
        bytes
            .try_reserve_exact(ranges.len())
            .map_err(|_| Error::OutOfMemory {
                needed_bytes: size_of_val(ranges),
            })?;
        bytes.extend(ranges.iter().map(Self::bytes_of));
        Ok(bytes)
    }

    /// Hints that the whole payload will be read or taken soon.
    pub fn prefetch(&self) {
        self.prefetch_range(0..self.len());
    }

    /// Hints that `len` elements from `offset` on will be read soon. What
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
    pub fn take<D: Destination<Element = T>>(mut self, dst: &mut D) -> Result<(), TakeError<Self>> {
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
        let watch = Watch::begin(entry.about(Operation::Take, entry.len_bytes));
        let taken = entry
            .take_into(dst)
            .map_err(|error| error.of_handle(entry.id));
        watch.end(&taken, None);
        entry
            .home
            .counters
            .add_read(&taken, Count::Takes, entry.len_bytes);
        taken
    }

    fn prefetch_range(&self, range: Range<usize>) {
        if let Ok(entry) = self.own_entry()
            && !range.is_empty()
        {
            entry.home.counters.add(Count::Prefetches, 1);
            entry.prefetch(Self::bytes_of(&range));
        }
    }

    /// Queues a fetch as `prefetch` does where there are threads to serve it.
    #[cfg(all(test, pager_shuttle))]
    pub(crate) fn queue_fetch(&self, range: Range<usize>) {
        self.entry().queue_fetch(&Self::bytes_of(&range));
    }

    /// Sum of the lengths of `ranges`, in bytes, each of which lies within the payload.
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
            // Within the payload, so this does not overflow.
            sum.checked_add(range.len() * Self::ELEMENT_BYTES)
                .ok_or_else(|| out_of_bounds(range))
        })
    }
}

impl<B: Backend, T> Drop for Handle<B, T> {
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

impl<B: Backend, T> fmt::Debug for Handle<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.id())
            .field("backend", &self.backend())
            .field("len_bytes", &self.len_bytes())
            .finish()
    }
}
