//! [`ChunkBuf`]: a growable buffer of plain elements in arena memory.

#![allow(unsafe_code, reason = "exposes the filled elements of an arena slot")]

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

use super::ElementLayout;
use super::arena::Arena;
use super::slot::ArenaSlot;
use crate::{Error, Result};

/// A buffer of plain elements, words by default, aligned for huge pages and for direct
/// I/O.
///
/// Fill it in place, then page it out without a copy. It grows as a `Vec` does,
/// except that it says so when there is no memory instead of aborting. An empty
/// one that was never grown holds no memory.
///
/// ```
/// use pager_core::ChunkBuf;
///
/// let mut column = ChunkBuf::with_capacity(1 << 18)?;
/// column.extend_from_slice(&[3, 1, 2])?;
/// column.sort_unstable();
/// assert_eq!(*column, [1, 2, 3]);
/// # Ok::<(), pager_core::Error>(())
/// ```
pub struct ChunkBuf<T = u64> {
    slot: Option<ArenaSlot>,
    /// In elements. Invariant: so many fit into the slot, and are initialised.
    len: usize,
    _elements: PhantomData<T>,
}

impl<T: Pod> ChunkBuf<T> {
    /// An empty buffer that holds no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slot: None,
            len: 0,
            _elements: PhantomData,
        }
    }

    /// An empty buffer with room for `capacity` elements in the [shared](Arena::shared)
    /// arena.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn with_capacity(capacity: usize) -> Result<Self> {
        Self::with_capacity_in(&Arena::shared(), capacity)
    }

    /// An empty buffer with room for `capacity` elements in `arena`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn with_capacity_in(arena: &Arena, capacity: usize) -> Result<Self> {
        let bytes = capacity.checked_mul(ElementLayout::of::<T>().bytes());
        let slot = arena.allocate(bytes.unwrap_or(usize::MAX))?;
        Ok(Self {
            slot: Some(slot),
            ..Self::new()
        })
    }

    /// A copy of `elements` in `arena`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn copy_of(arena: &Arena, elements: &[T]) -> Result<Self> {
        let mut buf = Self::with_capacity_in(arena, elements.len())?;
        buf.extend_from_slice(elements)?;
        Ok(buf)
    }

    /// Elements that fit without growing.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity_bytes() / ElementLayout::of::<T>().bytes()
    }

    /// Bytes of memory that the buffer may come to fill without growing: what it
    /// counts for against a budget. None for one that was never grown.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.slot
            .as_ref()
            .map_or(0, |slot| slot.piece().len_bytes())
    }

    /// Forgets the elements; the capacity stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets the elements from `len` on, if there are any.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Makes room for `additional` elements behind the last one.
    ///
    /// Growing moves to a slot of at least twice the size: amortised constant
    /// per element.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the buffer is as it was.
    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        let needed = self.len.saturating_add(additional);
        if needed <= self.capacity() {
            return Ok(());
        }
        // In a forked child the arena of the elements is its parent's.
        let arena = match &self.slot {
            Some(slot) if slot.arena().is_own() => slot.arena().clone(),
            _ => Arena::shared(),
        };
        let mut grown = Self::with_capacity_in(&arena, needed.max(self.capacity() * 2))?;
        grown.extend_from_slice(self)?;
        *self = grown;
        Ok(())
    }

    /// Appends one element.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the buffer is as it was.
    pub fn push(&mut self, element: T) -> Result<()> {
        self.extend_from_slice(&[element])
    }

    /// Appends `elements`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the buffer is as it was.
    pub fn extend_from_slice(&mut self, elements: &[T]) -> Result<()> {
        self.reserve(elements.len())?;
        self.spare()[..elements.len()].write_copy_of_slice(elements);
        self.len += elements.len();
        Ok(())
    }

    /// Cuts to `len` elements, or fills up to them with `element`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the buffer is as it was.
    pub fn resize(&mut self, len: usize, element: T) -> Result<()> {
        let additional = len.saturating_sub(self.len);
        self.reserve(additional)?;
        self.spare()[..additional].fill(MaybeUninit::new(element));
        self.len = len;
        Ok(())
    }

    /// The same memory as bytes.
    #[must_use]
    pub fn into_bytes(self) -> ChunkBuf<u8> {
        ChunkBuf {
            len: size_of_val(&*self),
            slot: self.slot,
            _elements: PhantomData,
        }
    }

    /// The same memory as elements of another type.
    ///
    /// # Errors
    ///
    /// The buffer, if its bytes are no whole number of them.
    pub fn cast<U: Pod>(self) -> Result<ChunkBuf<U>, Self> {
        let (len_bytes, element) = (size_of_val(&*self), ElementLayout::of::<U>());
        if !len_bytes.is_multiple_of(element.bytes()) {
            return Err(self);
        }
        Ok(ChunkBuf {
            len: len_bytes / element.bytes(),
            slot: self.slot,
            _elements: PhantomData,
        })
    }

    /// Says that the buffer has been paged out: whatever the system keeps for
    /// it, swap space included, is given back when it is dropped, instead of
    /// being kept warm for reuse. For backends.
    pub fn mark_paged_out(&mut self) {
        if let Some(slot) = &mut self.slot {
            slot.chill_on_drop();
        }
    }

    /// Whether [`mark_paged_out`](Self::mark_paged_out) was said of this slot. For
    /// backends: what came back did so in small pages.
    #[must_use]
    pub fn has_been_paged_out(&self) -> bool {
        self.slot.as_ref().is_some_and(ArenaSlot::chills_on_drop)
    }

    /// The room behind the last element.
    pub(super) fn spare(&mut self) -> &mut [MaybeUninit<T>] {
        match &mut self.slot {
            Some(slot) => &mut slot.piece_mut().spare()[self.len..],
            None => &mut [],
        }
    }

    /// Counts `additional` elements behind the last one as filled.
    ///
    /// # Safety
    ///
    /// They are within the capacity and initialised.
    pub(super) unsafe fn assume_filled(&mut self, additional: usize) {
        debug_assert!(
            self.len + additional <= self.capacity(),
            "beyond the capacity"
        );
        self.len += additional;
    }
}

impl<T: Pod> Default for ChunkBuf<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Pod> Deref for ChunkBuf<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.slot {
            // SAFETY: the first `len` elements are initialised.
            Some(slot) => unsafe { slot.piece().elements(self.len) },
            None => &[],
        }
    }
}

impl<T: Pod> DerefMut for ChunkBuf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.slot {
            // SAFETY: the first `len` elements are initialised.
            Some(slot) => unsafe { slot.piece_mut().elements_mut(self.len) },
            None => &mut [],
        }
    }
}

impl<T: Pod> AsRef<[T]> for ChunkBuf<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: Pod> AsMut<[T]> for ChunkBuf<T> {
    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T: Pod + PartialEq> PartialEq for ChunkBuf<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Pod + Eq> Eq for ChunkBuf<T> {}

impl<T: Pod> fmt::Debug for ChunkBuf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkBuf")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .finish()
    }
}

impl<T: Pod> TryFrom<&[T]> for ChunkBuf<T> {
    type Error = Error;

    /// A copy in the [shared](Arena::shared) arena.
    fn try_from(elements: &[T]) -> Result<Self> {
        Self::copy_of(&Arena::shared(), elements)
    }
}

#[cfg(test)]
#[path = "chunk_buf_tests.rs"]
mod tests;
