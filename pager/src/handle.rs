//! [`Handle`]: a claim on one payload, on whichever backend stores it.
//!
//! An enum over the backends in the build: one branch per operation, no table of
//! functions, no allocation. The variant is fixed when the handle is made, so a
//! handle stays with its backend whatever the selector does later.

use std::ops::Range;
use std::task::{Context, Poll};

use pager_core::{Destination, Hint, Pod, Result, TakeError, View};

use crate::BackendKind;
use crate::each::each;

/// A payload that was paged out, and the right to read it and take it back.
///
/// Lengths and offsets count elements of `T`, the type that it was paged out in.
/// Dropping the handle gives the payload's storage back. Not `Clone`: one
/// payload, one owner; share it behind an `Arc` to read from many threads. The
/// handle keeps its backend alive, so the [`Pager`](crate::Pager) may be dropped
/// first.
#[derive(Debug)]
#[non_exhaustive]
pub enum Handle<T = u64> {
    /// A payload of the swap backend.
    #[cfg(feature = "swap")]
    Swap(pager_core::Handle<crate::layer::Layered<pager_swap::SwapBackend>, T>),
    /// A payload of the file backend.
    #[cfg(feature = "file")]
    File(pager_core::Handle<crate::layer::Layered<crate::layer::Files>, T>),
    /// None: a build without backends pages nothing out.
    #[cfg(not(any(feature = "swap", feature = "file")))]
    #[doc(hidden)]
    None(std::convert::Infallible, std::marker::PhantomData<T>),
}

#[cfg_attr(
    not(any(feature = "swap", feature = "file")),
    allow(
        unused_variables,
        reason = "without a backend there is no handle to use them on"
    )
)]
impl<T: Pod> Handle<T> {
    /// The backend that made the handle and keeps it for life.
    #[must_use]
    pub fn backend(&self) -> BackendKind {
        match *self {
            #[cfg(feature = "swap")]
            Self::Swap(_) => BackendKind::Swap,
            #[cfg(feature = "file")]
            Self::File(_) => BackendKind::File,
            #[cfg(not(any(feature = "swap", feature = "file")))]
            Self::None(never, _) => match never {},
        }
    }

    /// Elements of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        each!(*self, Handle(ref handle) => handle.len())
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        each!(*self, Handle(ref handle) => handle.len_bytes())
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        each!(*self, Handle(ref handle) => handle.is_empty())
    }

    /// The same payload, its bytes as elements of another type.
    ///
    /// # Errors
    ///
    /// The handle, if the bytes are no whole number of these.
    pub fn cast<U: Pod>(self) -> Result<Handle<U>, Self> {
        match self {
            #[cfg(feature = "swap")]
            Self::Swap(handle) => handle.cast().map(Handle::Swap).map_err(Self::Swap),
            #[cfg(feature = "file")]
            Self::File(handle) => handle.cast().map(Handle::File).map_err(Self::File),
            #[cfg(not(any(feature = "swap", feature = "file")))]
            Self::None(never, _) => match never {},
        }
    }

    /// Number of the handle in its backend's listing.
    #[must_use]
    pub fn id(&self) -> u64 {
        each!(*self, Handle(ref handle) => handle.id())
    }

    /// Appends `len` elements from `offset` on to `dst`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`](crate::Error::OutOfBounds), and what the backend
    /// says; `dst` is as it was.
    pub fn read_at<D: Destination<Element = T>>(
        &self,
        offset: usize,
        len: usize,
        dst: &mut D,
    ) -> Result<()> {
        each!(*self, Handle(ref handle) => handle.read_at(offset, len, dst))
    }

    /// Appends the elements of all `ranges`, in the order given, to `dst`.
    ///
    /// Ranges may overlap, touch, repeat and be empty.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`](crate::Error::OutOfBounds) if any range is reversed
    /// or reaches outside the payload, and what the backend says; `dst` is as it
    /// was.
    pub fn read_at_many<D: Destination<Element = T>>(
        &self,
        ranges: &[Range<usize>],
        dst: &mut D,
    ) -> Result<()> {
        each!(*self, Handle(ref handle) => handle.read_at_many(ranges, dst))
    }

    /// A view of elements `range`, which derefs to the slice of them: without a copy where
    /// they are in memory in one place. Whoever looks holds them there, and the budget
    /// counts them; three quarters of it may be held so.
    ///
    /// ```
    /// use pager::Pager;
    ///
    /// let pager = Pager::new();
    /// let handle = pager.pageout(&mut [vec![1.5f64, 2.5, 3.5]])?;
    /// let view = handle.view(1..3)?;
    /// drop(handle);
    /// assert_eq!(*view, [2.5, 3.5]);
    /// # Ok::<(), pager::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`](crate::Error::OutOfBounds);
    /// [`Error::NoRoom`](crate::Error::NoRoom) for what does not fit into the budget
    /// beside what other views hold; what the backend says.
    pub fn view(&self, range: Range<usize>) -> Result<View<T>> {
        each!(*self, Handle(ref handle) => handle.view(range))
    }

    /// Whether elements `range` can be viewed or read without waiting for the backend,
    /// now: a hint, for they may leave at any time. What lies outside the payload is
    /// ignored.
    pub fn is_resident(&self, range: Range<usize>) -> bool {
        each!(*self, Handle(ref handle) => handle.is_resident(range))
    }

    /// Begins to bring the payload back into memory, and is ready when it is there, or
    /// when it will not come by itself: without a budget, without room, or if it cannot be
    /// read. A view or a read is then next; it waits only in the second case. The task is
    /// woken when something has changed.
    pub fn poll_fetch(&self, context: &mut Context<'_>) -> Poll<()> {
        each!(*self, Handle(ref handle) => handle.poll_fetch(context))
    }

    /// A hint that prefetches this payload from elsewhere, also when the handle has been
    /// given to somebody who will take it.
    #[must_use]
    pub fn hint(&self) -> Hint {
        each!(*self, Handle(ref handle) => handle.hint())
    }

    /// Hints that the whole payload will be read or taken soon.
    pub fn prefetch(&self) {
        each!(*self, Handle(ref handle) => handle.prefetch());
    }

    /// Hints that `len` elements from `offset` on will be read soon. What lies
    /// outside the payload is ignored.
    pub fn prefetch_at(&self, offset: usize, len: usize) {
        each!(*self, Handle(ref handle) => handle.prefetch_at(offset, len));
    }

    /// Replaces the content of `dst` by the payload, and frees its storage.
    ///
    /// # Errors
    ///
    /// What the backend says, with the handle, as good as before; `dst` is empty
    /// then.
    pub fn take<D: Destination<Element = T>>(self, dst: &mut D) -> Result<(), TakeError<Self>> {
        match self {
            #[cfg(feature = "swap")]
            Self::Swap(handle) => handle.take(dst).map_err(|error| error.map(Self::Swap)),
            #[cfg(feature = "file")]
            Self::File(handle) => handle.take(dst).map_err(|error| error.map(Self::File)),
            #[cfg(not(any(feature = "swap", feature = "file")))]
            Self::None(never, _) => match never {},
        }
    }
}
