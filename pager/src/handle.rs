//! [`Handle`]: a claim on one payload, on whichever backend stores it.
//!
//! An enum over the backends in the build: one branch per operation, no table of
//! functions, no allocation. The variant is fixed when the handle is made, so a
//! handle stays with its backend whatever the selector does later.

use std::ops::Range;

use pager_core::{Destination, Result, TakeError};

use crate::BackendKind;

/// A payload that was paged out, and the right to read it and take it back.
///
/// Dropping the handle gives the payload's storage back. Not `Clone`: one
/// payload, one owner; share it behind an `Arc` to read from many threads. The
/// handle keeps its backend alive, so the [`Pager`](crate::Pager) may be dropped
/// first.
#[derive(Debug)]
#[non_exhaustive]
pub enum Handle {
    /// A payload of the swap backend.
    #[cfg(feature = "swap")]
    Swap(pager_core::Handle<crate::layer::Layered<pager_swap::SwapBackend>>),
    /// A payload of the file backend.
    #[cfg(feature = "file")]
    File(pager_core::Handle<crate::layer::Layered<pager_file::FileSet>>),
}

/// Evaluates `$body` with `$inner` bound to the backend's own handle.
macro_rules! each {
    ($handle:expr, $inner:ident => $body:expr) => {
        match *$handle {
            #[cfg(feature = "swap")]
            Handle::Swap(ref $inner) => $body,
            #[cfg(feature = "file")]
            Handle::File(ref $inner) => $body,
        }
    };
}

#[cfg_attr(
    not(any(feature = "swap", feature = "file")),
    allow(
        unused_variables,
        reason = "without a backend there is no handle to use them on"
    )
)]
impl Handle {
    /// The backend that made the handle and keeps it for life.
    #[must_use]
    pub fn backend(&self) -> BackendKind {
        match *self {
            #[cfg(feature = "swap")]
            Self::Swap(_) => BackendKind::Swap,
            #[cfg(feature = "file")]
            Self::File(_) => BackendKind::File,
        }
    }

    /// Words of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        each!(self, handle => handle.len())
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        each!(self, handle => handle.len_bytes())
    }

    /// Whether the payload has no words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        each!(self, handle => handle.is_empty())
    }

    /// Number of the handle in its backend's listing.
    #[must_use]
    pub fn id(&self) -> u64 {
        each!(self, handle => handle.id())
    }

    /// Appends `len` words from word `offset` on to `dst`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`](crate::Error::OutOfBounds), and what the backend
    /// says; `dst` is as it was.
    pub fn read_at<D: Destination>(&self, offset: usize, len: usize, dst: &mut D) -> Result<()> {
        each!(self, handle => handle.read_at(offset, len, dst))
    }

    /// Appends the words of all `ranges`, in the order given, to `dst`.
    ///
    /// Ranges may overlap, touch, repeat and be empty.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`](crate::Error::OutOfBounds) if any range is reversed
    /// or reaches outside the payload, and what the backend says; `dst` is as it
    /// was.
    pub fn read_at_many<D: Destination>(&self, ranges: &[Range<usize>], dst: &mut D) -> Result<()> {
        each!(self, handle => handle.read_at_many(ranges, dst))
    }

    /// Hints that the whole payload will be read or taken soon.
    pub fn prefetch(&self) {
        each!(self, handle => handle.prefetch());
    }

    /// Hints that `len` words from word `offset` on will be read soon. What lies
    /// outside the payload is ignored.
    pub fn prefetch_at(&self, offset: usize, len: usize) {
        each!(self, handle => handle.prefetch_at(offset, len));
    }

    /// Replaces the content of `dst` by the payload, and frees its storage.
    ///
    /// # Errors
    ///
    /// What the backend says, with the handle, as good as before; `dst` is empty
    /// then.
    pub fn take<D: Destination>(self, dst: &mut D) -> Result<(), TakeError<Self>> {
        match self {
            #[cfg(feature = "swap")]
            Self::Swap(handle) => handle.take(dst).map_err(|error| error.map(Self::Swap)),
            #[cfg(feature = "file")]
            Self::File(handle) => handle.take(dst).map_err(|error| error.map(Self::File)),
        }
    }
}
