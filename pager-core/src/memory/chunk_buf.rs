//! [`ChunkBuf`]: a growable buffer of words in arena memory.

#![allow(unsafe_code, reason = "exposes the filled words of an arena slot")]

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use super::arena::Arena;
use super::slot::ArenaSlot;
use crate::{Error, Result};

/// A buffer of words, aligned for huge pages and for direct I/O.
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
#[derive(Default)]
pub struct ChunkBuf {
    slot: Option<ArenaSlot>,
    /// Invariant: the first `len` words of the slot are initialised.
    len: usize,
}

impl ChunkBuf {
    /// An empty buffer that holds no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { slot: None, len: 0 }
    }

    /// An empty buffer with room for `words` in the [shared](Arena::shared)
    /// arena.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn with_capacity(words: usize) -> Result<Self> {
        Self::with_capacity_in(&Arena::shared(), words)
    }

    /// An empty buffer with room for `words` in `arena`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn with_capacity_in(arena: &Arena, words: usize) -> Result<Self> {
        let bytes = words.checked_mul(size_of::<u64>());
        let slot = arena.allocate(bytes.unwrap_or(usize::MAX))?;
        Ok(Self {
            slot: Some(slot),
            len: 0,
        })
    }

    /// A copy of `words` in `arena`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn copy_of(arena: &Arena, words: &[u64]) -> Result<Self> {
        let mut buf = Self::with_capacity_in(arena, words.len())?;
        buf.extend_from_slice(words)?;
        Ok(buf)
    }

    /// Words that fit without growing.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slot
            .as_ref()
            .map_or(0, |slot| slot.piece().len_words())
    }

    /// Bytes of memory that the buffer may come to fill without growing: what it
    /// counts for against a budget. None for one that was never grown.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.slot
            .as_ref()
            .map_or(0, |slot| slot.piece().len_bytes())
    }

    /// Forgets the words; the capacity stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets the words from `len` on, if there are any.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Makes room for `additional` words behind the last one.
    ///
    /// Growing moves to a slot of at least twice the size: amortised constant
    /// per word.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the buffer is as it was.
    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        let needed = self.len.saturating_add(additional);
        if needed <= self.capacity() {
            return Ok(());
        }
        // In a forked child the arena of the words is its parent's.
        let arena = match &self.slot {
            Some(slot) if slot.arena().is_own() => slot.arena().clone(),
            _ => Arena::shared(),
        };
        let mut grown = Self::with_capacity_in(&arena, needed.max(self.capacity() * 2))?;
        grown.extend_from_slice(self)?;
        *self = grown;
        Ok(())
    }

    /// Appends one word.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the buffer is as it was.
    pub fn push(&mut self, word: u64) -> Result<()> {
        self.extend_from_slice(&[word])
    }

    /// Appends `words`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the buffer is as it was.
    pub fn extend_from_slice(&mut self, words: &[u64]) -> Result<()> {
        self.reserve(words.len())?;
        self.spare()[..words.len()].write_copy_of_slice(words);
        self.len += words.len();
        Ok(())
    }

    /// Cuts to `len` words, or fills up to them with `word`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the buffer is as it was.
    pub fn resize(&mut self, len: usize, word: u64) -> Result<()> {
        let additional = len.saturating_sub(self.len);
        self.reserve(additional)?;
        self.spare()[..additional].fill(MaybeUninit::new(word));
        self.len = len;
        Ok(())
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

    /// The room behind the last word.
    pub(super) fn spare(&mut self) -> &mut [MaybeUninit<u64>] {
        match &mut self.slot {
            Some(slot) => &mut slot.piece_mut().spare()[self.len..],
            None => &mut [],
        }
    }

    /// Counts `additional` words behind the last one as filled.
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

impl Deref for ChunkBuf {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match &self.slot {
            // SAFETY: the first `len` words are initialised.
            Some(slot) => unsafe { slot.piece().words(self.len) },
            None => &[],
        }
    }
}

impl DerefMut for ChunkBuf {
    fn deref_mut(&mut self) -> &mut [u64] {
        match &mut self.slot {
            // SAFETY: the first `len` words are initialised.
            Some(slot) => unsafe { slot.piece_mut().words_mut(self.len) },
            None => &mut [],
        }
    }
}

impl AsRef<[u64]> for ChunkBuf {
    fn as_ref(&self) -> &[u64] {
        self
    }
}

impl AsMut<[u64]> for ChunkBuf {
    fn as_mut(&mut self) -> &mut [u64] {
        self
    }
}

impl PartialEq for ChunkBuf {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ChunkBuf {}

impl fmt::Debug for ChunkBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkBuf")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .finish()
    }
}

impl TryFrom<&[u64]> for ChunkBuf {
    type Error = Error;

    /// A copy in the [shared](Arena::shared) arena.
    fn try_from(words: &[u64]) -> Result<Self> {
        Self::copy_of(&Arena::shared(), words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::PAGE_BYTES;
    use proptest::prelude::*;

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut buf = ChunkBuf::new();
        buf.clear();
        buf.truncate(7);
        buf.reserve(0).unwrap();
        buf.extend_from_slice(&[]).unwrap();
        buf.resize(0, 1).unwrap();
        buf.mark_paged_out();
        assert_eq!(buf.capacity(), 0);
        assert_eq!(buf.capacity_bytes(), 0);
        assert_eq!(*buf, []);
        assert_eq!(*std::mem::take(&mut buf), []);
    }

    #[test]
    fn a_buffer_has_at_least_the_room_that_was_asked_for() {
        let arena = Arena::new(0);
        for words in [0, 1, 511, 512, 513, 5000] {
            let mut buf = ChunkBuf::with_capacity_in(&arena, words).unwrap();
            assert!(buf.capacity() >= words);
            assert_eq!(buf.capacity_bytes(), 8 * buf.capacity());
            assert!(buf.is_empty());
            let place = buf.as_ptr();
            buf.resize(words, 3).unwrap();
            assert_eq!(buf.as_ptr(), place, "filling what is there moves nothing");
        }
    }

    #[test]
    fn growing_moves_seldom_and_stays_in_the_arena() {
        let arena = Arena::new(1 << 20);
        let mut buf = ChunkBuf::with_capacity_in(&arena, 1).unwrap();
        let pushes = if cfg!(miri) { 700 } else { 100_000 };
        let (mut moves, mut place) = (0, buf.as_ptr());
        for word in 0..pushes {
            buf.push(word).unwrap();
            if buf.as_ptr() != place {
                place = buf.as_ptr();
                moves += 1;
            }
        }
        assert!(buf.iter().copied().eq(0..pushes));
        assert!(moves <= 10, "{moves} moves");
        assert_eq!(arena.usage().used_bytes, buf.capacity() * 8);
    }

    #[test]
    fn clearing_keeps_the_room() {
        let arena = Arena::new(0);
        let mut buf = ChunkBuf::copy_of(&arena, &[1; 700]).unwrap();
        let (capacity, place) = (buf.capacity(), buf.as_ptr());
        buf.clear();
        assert_eq!((buf.len(), buf.capacity()), (0, capacity));
        buf.push(2).unwrap();
        assert_eq!(buf.as_ptr(), place);
    }

    #[test]
    fn a_failed_growth_leaves_the_buffer_as_it_was() {
        let mut buf = ChunkBuf::copy_of(&Arena::new(0), &[1, 2, 3]).unwrap();
        for additional in [usize::MAX, usize::MAX / 8, isize::MAX as usize] {
            let error = buf.reserve(additional).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { .. }));
            let error = buf.resize(additional, 1).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { .. }));
        }
        assert_eq!(*buf, [1, 2, 3]);
        let error = ChunkBuf::with_capacity(usize::MAX).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }));
    }

    #[test]
    fn buffers_are_equal_by_their_words() {
        let arena = Arena::new(0);
        let short = ChunkBuf::copy_of(&arena, &[1, 2]).unwrap();
        let mut roomy = ChunkBuf::with_capacity_in(&arena, PAGE_BYTES).unwrap();
        assert_ne!(short, roomy);
        roomy.extend_from_slice(&[1, 2]).unwrap();
        assert_eq!(short, roomy);
        assert_eq!(ChunkBuf::new(), ChunkBuf::default());
        assert!(format!("{short:?}").contains("len: 2"));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(u64),
        Extend(Vec<u64>),
        Resize(usize, u64),
        Truncate(usize),
        Clear,
        Reserve(usize),
        Sort,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        const LONGEST: usize = if cfg!(miri) { 40 } else { 300 };
        let step = prop_oneof![
            4 => any::<u64>().prop_map(Step::Push),
            4 => prop::collection::vec(any::<u64>(), 0..LONGEST).prop_map(Step::Extend),
            2 => (0..10 * LONGEST, any::<u64>()).prop_map(|(len, word)| Step::Resize(len, word)),
            2 => (0..10 * LONGEST).prop_map(Step::Truncate),
            1 => Just(Step::Clear),
            1 => (0..20 * LONGEST).prop_map(Step::Reserve),
            1 => Just(Step::Sort),
        ];
        prop::collection::vec(step, 0..if cfg!(miri) { 6 } else { 60 })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 1 } else { 128 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_buffer_behaves_as_a_vec_does(steps in steps()) {
            let arena = Arena::new(1 << 16);
            let mut buf = ChunkBuf::with_capacity_in(&arena, 0).unwrap();
            let mut vec: Vec<u64> = Vec::new();
            for step in steps {
                match step {
                    Step::Push(word) => {
                        buf.push(word).unwrap();
                        vec.push(word);
                    }
                    Step::Extend(words) => {
                        buf.extend_from_slice(&words).unwrap();
                        vec.extend_from_slice(&words);
                    }
                    Step::Resize(len, word) => {
                        buf.resize(len, word).unwrap();
                        vec.resize(len, word);
                    }
                    Step::Truncate(len) => {
                        buf.truncate(len);
                        vec.truncate(len);
                    }
                    Step::Clear => {
                        buf.clear();
                        vec.clear();
                    }
                    Step::Reserve(additional) => {
                        buf.reserve(additional).unwrap();
                        assert!(buf.capacity() >= vec.len() + additional);
                    }
                    Step::Sort => {
                        buf.sort_unstable();
                        vec.sort_unstable();
                    }
                }
                assert_eq!(*buf, *vec);
                assert_eq!(arena.usage().used_bytes, buf.capacity() * 8);
            }
        }
    }
}
