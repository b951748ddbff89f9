//! [`Window`]: the part of somebody's buffer that one read has to fill.
//!
//! A window begins uninitialised and is filled from the front, so nothing is
//! zeroed first. Whoever made it learns how much was filled and exposes only
//! that; a backend cannot claim bytes that it did not write.

#![allow(
    unsafe_code,
    reason = "looks at bytes of possibly uninitialised memory that were filled"
)]

use std::fmt;
use std::io;
use std::mem::MaybeUninit;

/// Uninitialised bytes that a [`Backend::read`](crate::Backend::read) fills in
/// order, from the front.
///
/// ```
/// use std::mem::MaybeUninit;
/// use pager_core::Window;
///
/// let mut spare = [MaybeUninit::uninit(); 3];
/// let mut window = Window::new(&mut spare);
/// window.copy_from(&[1, 2]);
/// assert_eq!(window.remaining_bytes(), 1);
/// ```
pub struct Window<'a> {
    spare: &'a mut [MaybeUninit<u8>],
    filled_bytes: usize,
}

impl<'a> Window<'a> {
    /// A window over `spare`, nothing of it filled.
    pub fn new(spare: &'a mut [MaybeUninit<u8>]) -> Self {
        Self {
            spare,
            filled_bytes: 0,
        }
    }

    /// Bytes the window has in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spare.len()
    }

    /// Whether the window has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spare.is_empty()
    }

    /// Bytes still to be filled.
    #[must_use]
    pub fn remaining_bytes(&self) -> usize {
        self.spare.len() - self.filled_bytes
    }

    /// Whether every byte is filled.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.remaining_bytes() == 0
    }

    /// Whether the next byte to fill lies at a multiple of `align_bytes`.
    #[must_use]
    pub fn is_aligned_to(&self, align_bytes: usize) -> bool {
        self.next_address().is_multiple_of(align_bytes)
    }

    /// Where in memory the next byte to fill lies: a number, to align by.
    #[must_use]
    pub fn next_address(&self) -> usize {
        self.spare.as_ptr().addr() + self.filled_bytes
    }

    /// Fills the next bytes with a copy.
    ///
    /// # Panics
    ///
    /// If fewer bytes remain.
    pub fn copy_from(&mut self, bytes: &[u8]) {
        self.unfilled()[..bytes.len()].write_copy_of_slice(bytes);
        self.filled_bytes += bytes.len();
    }

    /// Lends the next `len` bytes as a window of their own, which `fill` has to fill
    /// whole.
    ///
    /// # Errors
    ///
    /// Those of `fill`, and [`Error::Io`](crate::Error::Io) if it left some of them
    /// unfilled; nothing counts as filled then.
    ///
    /// # Panics
    ///
    /// If fewer bytes remain.
    #[cfg(feature = "codec")]
    pub(crate) fn fill_part(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut Window<'_>) -> crate::Result<()>,
    ) -> crate::Result<()> {
        super::destination::fill_exactly(&mut self.unfilled()[..len], fill)?;
        self.filled_bytes += len;
        Ok(())
    }

    /// Lets `fill` write into at most `max_bytes` of what remains, and counts
    /// what it gives back as filled.
    ///
    /// `fill` proves what it wrote by returning the initialised front part of
    /// the slice it was given, as the reads of rustix do:
    ///
    /// ```ignore
    /// window.fill_with(len, |unfilled| Ok(rustix::io::pread(fd, unfilled, offset)?.0))
    /// ```
    ///
    /// Returns the bytes that were filled.
    ///
    /// # Errors
    ///
    /// Those of `fill`; nothing counts as filled then.
    ///
    /// # Panics
    ///
    /// If `fill` returns anything but the front part of its slice.
    pub fn fill_with<E>(
        &mut self,
        max_bytes: usize,
        fill: impl for<'b> FnOnce(&'b mut [MaybeUninit<u8>]) -> Result<&'b mut [u8], E>,
    ) -> Result<usize, E> {
        let unfilled = self.unfilled();
        let len = unfilled.len().min(max_bytes);
        let front = unfilled[..len].as_mut_ptr().cast::<u8>();
        let initialised = fill(&mut unfilled[..len])?;
        // The slice was borrowed exclusively for the call, so a non-empty slice
        // that starts where it started is its initialised front part.
        assert!(
            initialised.is_empty()
                || (initialised.as_mut_ptr() == front && initialised.len() <= len),
            "a fill must return the front part of its slice"
        );
        let filled = initialised.len();
        self.filled_bytes += filled;
        Ok(filled)
    }

    /// The last `len` of the bytes that were filled, to be looked at, or changed where they
    /// lie.
    ///
    /// # Panics
    ///
    /// If fewer were filled.
    #[must_use]
    pub fn last_filled(&mut self, len: usize) -> &mut [u8] {
        let start = self
            .filled_bytes
            .checked_sub(len)
            .expect("no more is looked at than was filled");
        let first = self.spare.as_mut_ptr().cast::<u8>().wrapping_add(start);
        // SAFETY:
        // - `start + len` is `filled_bytes`, which is within `self.spare`;
        // - every byte below `filled_bytes` was initialised: each way to raise it
        //   copies initialised bytes, or is shown an initialised slice of them;
        // - `self` stays borrowed exclusively, so nobody else looks at them meanwhile,
        //   and initialised bytes are all that can be written through the result.
        unsafe { std::slice::from_raw_parts_mut(first, len) }
    }

    /// Whether this is a full window over exactly this memory: the proof that it
    /// may be read. A backend could have put another window in its place.
    pub(super) fn proves_full(&self, start: *const u8, len: usize) -> bool {
        self.spare.as_ptr().cast::<u8>() == start && self.spare.len() == len && self.is_full()
    }

    fn unfilled(&mut self) -> &mut [MaybeUninit<u8>] {
        &mut self.spare[self.filled_bytes..]
    }
}

/// Writes what fits, and nothing once the window is full.
impl io::Write for Window<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fitting = bytes.len().min(self.remaining_bytes());
        self.copy_from(&bytes[..fitting]);
        Ok(fitting)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("bytes", &self.spare.len())
            .field("filled_bytes", &self.filled_bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicPtr, Ordering};

    #[test]
    fn copies_and_calls_fill_one_window() {
        let mut spare = [MaybeUninit::uninit(); 9];
        let mut window = Window::new(&mut spare);
        window.copy_from(&[1]);
        window.copy_from(&[2, 3, 4]);
        let filled = window
            .fill_with(3, |unfilled| {
                Ok::<_, Infallible>(unfilled.write_copy_of_slice(&[5, 6, 7]))
            })
            .unwrap();
        assert_eq!(filled, 3);
        assert_eq!(window.remaining_bytes(), 2);
        assert!(!window.is_full());
        assert_eq!(window.last_filled(4), [4, 5, 6, 7]);
        window.copy_from(&[8, 9]);
        assert!(window.is_full());
    }

    #[cfg(feature = "codec")]
    #[test]
    fn a_part_is_filled_whole_or_not_at_all() {
        let mut spare = [MaybeUninit::uninit(); 4];
        let mut window = Window::new(&mut spare);
        window.copy_from(&[1]);
        let error = window.fill_part(2, |part| {
            part.copy_from(&[9]);
            Ok(())
        });
        assert!(matches!(error, Err(crate::Error::Io { .. })));
        assert_eq!(window.remaining_bytes(), 3);
        window
            .fill_part(2, |part| {
                part.copy_from(&[2, 3]);
                Ok(())
            })
            .unwrap();
        assert_eq!(window.remaining_bytes(), 1);
        assert_eq!(window.last_filled(2), [2, 3]);
    }

    #[test]
    #[should_panic(expected = "front part")]
    fn a_fill_that_returns_other_memory_is_refused() {
        let mut spare = [MaybeUninit::uninit(); 4];
        let mut window = Window::new(&mut spare);
        // Reachable to the end, so that Miri counts no leak.
        static OTHER: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
        let _ = window.fill_with(8, |_| {
            let other = Box::leak(Box::new([7u8; 8]));
            // Relaxed: nobody reads it.
            OTHER.store(other.as_mut_ptr(), Ordering::Relaxed);
            Ok::<_, Infallible>(&mut other[..])
        });
    }

    #[test]
    #[should_panic(expected = "no more is looked at than was filled")]
    fn what_was_not_filled_is_not_shown() {
        let mut spare = [MaybeUninit::uninit(); 2];
        let mut window = Window::new(&mut spare);
        window.copy_from(&[1]);
        let _ = window.last_filled(2);
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_copy_past_the_end_is_refused() {
        let mut spare = [MaybeUninit::uninit(); 1];
        Window::new(&mut spare).copy_from(&[1, 2]);
    }
}
