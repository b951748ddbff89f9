//! [`HeapBuf`]: the buffer of a `Vec`, its element type forgotten.
//!
//! A `Vec` gives its buffer away and gets it back without a copy: the buffer remembers
//! how it was allocated, for memory goes back to the allocator with the layout that it
//! came with. So a buffer of `u64` becomes a `Vec<i64>` or `Vec<f64>` again, and none of
//! `u8`, whose alignment is another.

#![allow(unsafe_code, reason = "owns the buffer of a vector by its parts")]

use std::alloc::{self, Layout};
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Deref;
use std::ptr::NonNull;

use bytemuck::Pod;

use super::ElementLayout;
use super::reserve::again_after_trim;
use crate::{Error, Result};

/// Memory of the general allocator, as a `Vec` of plain elements has it.
///
/// Invariants:
///
/// 1. `start` is uniquely owned and allocated with `layout`, whose size is the capacity;
///    it dangles if that is zero.
/// 2. The first `len_bytes` are initialised, and no more than the capacity.
pub struct HeapBuf {
    start: NonNull<u8>,
    len_bytes: usize,
    layout: Layout,
}

// SAFETY: the unique owner of plain bytes.
unsafe impl Send for HeapBuf {}
// SAFETY: through a shared reference its bytes can only be read.
unsafe impl Sync for HeapBuf {}

impl HeapBuf {
    /// An empty buffer without memory, for elements of this layout.
    #[must_use]
    pub const fn new(element: ElementLayout) -> Self {
        let Ok(layout) = Layout::from_size_align(0, element.align_bytes()) else {
            panic!("types are aligned to powers of two");
        };
        Self {
            start: NonNull::dangling(),
            len_bytes: 0,
            layout,
        }
    }

    /// The buffer of `vec`, as it is.
    #[must_use]
    pub fn of_vec<T: Pod>(vec: Vec<T>) -> Self {
        let mut vec = ManuallyDrop::new(vec);
        let start = NonNull::new(vec.as_mut_ptr().cast());
        let layout = Layout::array::<T>(vec.capacity());
        Self {
            start: start.expect("the pointer of a vector is never null"),
            len_bytes: vec.len() * size_of::<T>(),
            layout: layout.expect("a vector is within the address space"),
        }
    }

    /// The buffer as a `Vec` of `T`, without a copy.
    ///
    /// # Errors
    ///
    /// The buffer, if it was allocated for elements of another alignment, or if its
    /// length or its capacity is no whole number of elements.
    pub fn into_vec<T: Pod>(self) -> Result<Vec<T>, Self> {
        let element = ElementLayout::of::<T>();
        let is_whole = |bytes: usize| bytes.is_multiple_of(element.bytes());
        if self.capacity_bytes() == 0 {
            return Ok(Vec::new());
        }
        if self.align_bytes() != element.align_bytes()
            || !is_whole(self.len_bytes)
            || !is_whole(self.capacity_bytes())
        {
            return Err(self);
        }
        let this = ManuallyDrop::new(self);
        // SAFETY:
        // - by the first invariant the allocation has the size of so many elements and
        //   their alignment, and its only owner is going away without freeing it;
        // - by the second the first `len` of them are initialised bytes, of which any
        //   make an element, and no more than fit.
        Ok(unsafe {
            Vec::from_raw_parts(
                this.start.as_ptr().cast(),
                this.len_bytes / element.bytes(),
                this.capacity_bytes() / element.bytes(),
            )
        })
    }

    /// Bytes of memory that it holds.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.layout.size()
    }

    /// What the buffer was aligned to when it was allocated.
    #[must_use]
    pub fn align_bytes(&self) -> usize {
        self.layout.align()
    }

    /// Forgets the bytes; the capacity stays.
    pub fn clear(&mut self) {
        self.len_bytes = 0;
    }

    /// Makes room for `additional_bytes` behind the last byte, and for no more. Moves
    /// what is there if there is less.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the buffer is as it was.
    pub(crate) fn reserve_exact(&mut self, additional_bytes: usize) -> Result<()> {
        let needed_bytes = self.len_bytes.saturating_add(additional_bytes);
        if needed_bytes <= self.capacity_bytes() {
            return Ok(());
        }
        let no_memory = || Error::OutOfMemory {
            needed_bytes: additional_bytes,
        };
        let layout = Layout::from_size_align(needed_bytes, self.align_bytes());
        let layout = layout.map_err(|_| no_memory())?;
        let start = again_after_trim(|| allocate(layout).ok_or_else(no_memory))?;
        let mut grown = Self {
            start,
            len_bytes: 0,
            layout,
        };
        grown.spare()[..self.len_bytes].write_copy_of_slice(self);
        grown.len_bytes = self.len_bytes;
        *self = grown;
        Ok(())
    }

    /// The room behind the last byte.
    pub(super) fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        let len = self.capacity_bytes() - self.len_bytes;
        // SAFETY: within the capacity, by the second invariant.
        let start = unsafe { self.start.add(self.len_bytes) };
        // SAFETY: valid for the rest of the capacity, exclusively borrowed, and
        // `MaybeUninit` asks nothing of its content.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr().cast(), len) }
    }

    /// Counts `additional_bytes` behind the last one as filled.
    ///
    /// # Safety
    ///
    /// They are within the capacity and initialised.
    pub(super) unsafe fn assume_filled(&mut self, additional_bytes: usize) {
        debug_assert!(
            self.len_bytes + additional_bytes <= self.capacity_bytes(),
            "beyond the capacity"
        );
        self.len_bytes += additional_bytes;
    }
}

/// Memory of this layout, which has a size; `None` if there is none.
fn allocate(layout: Layout) -> Option<NonNull<u8>> {
    debug_assert!(layout.size() > 0, "nothing is never allocated");
    // SAFETY: the layout has a size: the only caller asks for more than some capacity.
    NonNull::new(unsafe { alloc::alloc(layout) })
}

impl Drop for HeapBuf {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated with this layout and owned by nobody else, by the first
            // invariant.
            unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) }
        }
    }
}

impl Deref for HeapBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: initialised, by the second invariant, and borrowed as `self` is.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len_bytes) }
    }
}

impl<T: Pod> From<Vec<T>> for HeapBuf {
    fn from(vec: Vec<T>) -> Self {
        Self::of_vec(vec)
    }
}

impl PartialEq for HeapBuf {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for HeapBuf {}

impl fmt::Debug for HeapBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapBuf")
            .field("len_bytes", &self.len_bytes)
            .field("layout", &self.layout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Out of `T`s and back, in place.
    fn there_and_back<T: Pod + PartialEq + fmt::Debug>(value: T, len: usize, capacity: usize) {
        let mut vec = Vec::with_capacity(capacity);
        vec.resize(len, value);
        let (place, capacity) = (vec.as_ptr(), vec.capacity());
        let buf = HeapBuf::of_vec(vec);
        assert_eq!(buf.len(), len * size_of::<T>());
        assert_eq!(buf.capacity_bytes(), capacity * size_of::<T>());
        let mut vec: Vec<T> = buf.into_vec().unwrap();
        assert!(vec.iter().all(|found| *found == value));
        assert_eq!((vec.len(), vec.capacity()), (len, capacity));
        if capacity > 0 {
            assert_eq!(vec.as_ptr(), place);
        }
        vec.push(value);
        vec.shrink_to_fit();
    }

    #[test]
    fn a_vec_comes_back_as_the_buffer_it_was() {
        for (len, capacity) in [(0, 0), (0, 5), (3, 3), (3, 7), (1000, 1024)] {
            there_and_back(7u8, len, capacity);
            there_and_back(-7i16, len, capacity);
            there_and_back(0.5f32, len, capacity);
            there_and_back(u64::MAX, len, capacity);
            there_and_back(1u128, len, capacity);
            there_and_back([1u8, 2, 3], len, capacity);
            there_and_back([1.0f64; 5], len, capacity);
        }
    }

    #[test]
    fn elements_of_one_alignment_change_places() {
        let buf = HeapBuf::of_vec(vec![1u64, 2, 3, 4]);
        let vec: Vec<[i64; 2]> = buf.into_vec().unwrap();
        assert_eq!(vec, [[1, 2], [3, 4]]);
        let vec: Vec<f64> = HeapBuf::of_vec(vec).into_vec().unwrap();
        assert_eq!(vec[0].to_bits(), 1);
    }

    #[test]
    fn what_does_not_fit_stays_what_it_is() {
        let buf = HeapBuf::of_vec(vec![1u64, 2, 3]);
        let buf = buf.into_vec::<u8>().unwrap_err();
        let buf = buf.into_vec::<[u64; 2]>().unwrap_err();
        assert_eq!(buf.into_vec::<u64>().unwrap(), [1, 2, 3]);
        let mut roomy = Vec::with_capacity(9);
        roomy.extend([1u64, 2, 3, 4]);
        assert!(HeapBuf::of_vec(roomy).into_vec::<[u64; 2]>().is_err());
        let nothing = HeapBuf::new(ElementLayout::BYTES);
        assert_eq!(nothing.into_vec::<u64>().unwrap(), []);
    }

    #[test]
    fn growing_keeps_what_is_there() {
        let mut buf = HeapBuf::new(ElementLayout::of::<u32>());
        buf.reserve_exact(0).unwrap();
        assert_eq!(buf.capacity_bytes(), 0);
        for round in 1..5usize {
            buf.reserve_exact(8).unwrap();
            assert_eq!(buf.capacity_bytes(), 8 * round);
            buf.spare().fill(MaybeUninit::new(5));
            // SAFETY: all of the spare room has just been filled.
            unsafe { buf.assume_filled(8) };
            assert!(buf.len() == 8 * round && buf.iter().all(|byte| *byte == 5));
        }
        for bytes in [usize::MAX, isize::MAX as usize] {
            let error = buf.reserve_exact(bytes).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { .. }));
        }
        assert_eq!(buf.into_vec::<u32>().unwrap(), [0x0505_0505; 8]);
    }
}
