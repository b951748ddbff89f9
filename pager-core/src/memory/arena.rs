//! [`Arena`]: recycled slots of huge-page-aligned memory, by size class.
//!
//! A slot is *warm* while memory is behind it and *cold* after that memory, and
//! any swap space, has gone back to the system. Freed slots stay warm up to a
//! bound, because a warm slot costs no page fault and no zeroing to reuse; the
//! rest turns cold at once, and address space is all it keeps.
//!
//! Payloads live here, and never in the general allocator's memory, because the
//! allocator would hand out ranges whose pages are still out on swap.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mapping::Piece;
use super::{HUGE_PAGE_BYTES, ProcessStamp, SizeClass};
use crate::{Error, Result};

/// Bytes that an arena maps at a time; a larger slot gets a mapping of its own.
const REGION_BYTES: usize = if cfg!(miri) { 2 << 20 } else { 32 << 20 };

/// Bytes of freed slots that the shared arena keeps warm.
const SHARED_WARM_BYTES: usize = 16 << 20;

/// Recycled, huge-page-aligned memory. A clone is the same arena.
///
/// Memory of an arena is private to the process: a forked child finds zeros.
#[derive(Clone)]
pub struct Arena {
    inner: Arc<Inner>,
}

struct Inner {
    classes: Box<[Mutex<Class>]>,
    warm_limit_bytes: usize,
    /// Bytes of warm slots in the free lists. Relaxed throughout: a bound on a
    /// cache, published to nobody.
    warm_bytes: AtomicUsize,
    /// Bytes of slots in use. Relaxed: a statistic.
    used_bytes: AtomicUsize,
    /// Bytes of address space mapped so far. Relaxed: a statistic.
    mapped_bytes: AtomicUsize,
    owner: ProcessStamp,
}

/// The free slots of one size, last in first out.
#[derive(Default)]
struct Class {
    warm: Vec<Piece>,
    cold: Vec<Piece>,
}

/// What an arena holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ArenaUsage {
    /// In slots that somebody holds.
    pub used_bytes: usize,
    /// In free slots that still have memory behind them.
    pub warm_bytes: usize,
    /// Address space mapped, with or without memory behind it.
    pub mapped_bytes: usize,
}

impl Arena {
    /// An arena that keeps at most `warm_limit_bytes` of freed slots warm.
    #[must_use]
    pub fn new(warm_limit_bytes: usize) -> Self {
        let classes = (0..SizeClass::COUNT).map(|_| Mutex::default()).collect();
        Self {
            inner: Arc::new(Inner {
                classes,
                warm_limit_bytes,
                warm_bytes: AtomicUsize::new(0),
                used_bytes: AtomicUsize::new(0),
                mapped_bytes: AtomicUsize::new(0),
                owner: ProcessStamp::current(),
            }),
        }
    }

    /// The arena that buffers and backends use unless told otherwise, one for
    /// the whole process; it keeps 16 MiB warm.
    #[must_use]
    pub fn shared() -> Self {
        // Never freed: a process and its forked descendants make one each.
        static SHARED: AtomicPtr<Arena> = AtomicPtr::new(std::ptr::null_mut());
        shared_in(&SHARED)
    }

    /// What the arena holds. Three loads.
    #[must_use]
    pub fn usage(&self) -> ArenaUsage {
        ArenaUsage {
            used_bytes: self.inner.used_bytes.load(Ordering::Relaxed),
            warm_bytes: self.inner.warm_bytes.load(Ordering::Relaxed),
            mapped_bytes: self.inner.mapped_bytes.load(Ordering::Relaxed),
        }
    }

    /// Gives the memory of all warm free slots back to the system, and returns
    /// how many bytes that was.
    pub fn trim(&self) -> usize {
        let mut trimmed_bytes = 0;
        for class in &self.inner.classes {
            while let Some(bytes) = self.inner.chill_one(class) {
                trimmed_bytes += bytes;
            }
        }
        trimmed_bytes
    }

    /// A slot of at least `bytes`, its content unknown.
    pub(super) fn allocate(&self, bytes: usize) -> Result<ArenaSlot> {
        if bytes > isize::MAX as usize / 4 {
            return Err(Error::OutOfMemory {
                needed_bytes: bytes,
            });
        }
        let class = SizeClass::for_bytes(bytes);
        let piece = match self.inner.reuse(class) {
            Some(piece) => piece,
            None => self.inner.grow(class)?,
        };
        self.inner
            .used_bytes
            .fetch_add(class.bytes(), Ordering::Relaxed);
        Ok(ArenaSlot {
            piece: ManuallyDrop::new(piece),
            arena: self.clone(),
            cold_on_drop: false,
        })
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usage().fmt(f)
    }
}

impl Inner {
    fn class(&self, class: SizeClass) -> MutexGuard<'_, Class> {
        lock(&self.classes[class.index()])
    }

    /// The warmest free slot of this class.
    fn reuse(&self, class: SizeClass) -> Option<Piece> {
        let mut free = self.class(class);
        if let Some(piece) = free.warm.pop() {
            drop(free);
            self.warm_bytes.fetch_sub(class.bytes(), Ordering::Relaxed);
            return Some(piece);
        }
        free.cold.pop()
    }

    /// Maps a region, keeps one slot of it and frees the rest, cold.
    fn grow(&self, class: SizeClass) -> Result<Piece> {
        let bytes = class.bytes();
        let count = (REGION_BYTES / bytes).max(1);
        let no_memory = Error::OutOfMemory {
            needed_bytes: bytes,
        };
        let Ok(mut pieces) = Piece::map(bytes, count, bytes >= HUGE_PAGE_BYTES) else {
            return Err(no_memory);
        };
        let first = pieces.swap_remove(0);
        {
            let mut free = self.class(class);
            if free.cold.try_reserve(pieces.len()).is_err() {
                return Err(no_memory);
            }
            free.cold.append(&mut pieces);
        }
        self.mapped_bytes.fetch_add(
            (bytes * count).next_multiple_of(HUGE_PAGE_BYTES),
            Ordering::Relaxed,
        );
        Ok(first)
    }

    /// Takes a slot back, warm if the stock has room for it.
    fn release(&self, mut piece: Piece, cold: bool) {
        let bytes = piece.len_bytes();
        let class = SizeClass::for_bytes(bytes);
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        // A slot that could not be discarded still has memory behind it.
        if cold && piece.discard().is_ok() {
            self.class(class).cold.push(piece);
        } else if self.make_room(class) {
            self.class(class).warm.push(piece);
        } else {
            // Under `mlockall` the memory stays; it is reused all the same.
            let _ = piece.discard();
            self.class(class).cold.push(piece);
        }
    }

    /// Counts one more warm slot into the stock, at the cost of slots of other
    /// sizes: what was freed last is what will be wanted next.
    fn make_room(&self, wanted: SizeClass) -> bool {
        if wanted.bytes() > self.warm_limit_bytes {
            return false;
        }
        if self.count_warm(wanted) {
            return true;
        }
        let others = self.classes.iter().enumerate().rev();
        for (_, class) in others.filter(|(index, _)| *index != wanted.index()) {
            while self.chill_one(class).is_some() {
                if self.count_warm(wanted) {
                    return true;
                }
            }
        }
        false
    }

    /// Counts one more warm slot if the stock may hold it.
    fn count_warm(&self, class: SizeClass) -> bool {
        let within_limit = |warm_bytes: usize| {
            Some(warm_bytes + class.bytes()).filter(|sum| *sum <= self.warm_limit_bytes)
        };
        self.warm_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within_limit)
            .is_ok()
    }

    /// Turns one warm slot of `class` cold, and returns its bytes.
    fn chill_one(&self, class: &Mutex<Class>) -> Option<usize> {
        let mut piece = lock(class).warm.pop()?;
        let bytes = piece.len_bytes();
        self.warm_bytes.fetch_sub(bytes, Ordering::Relaxed);
        // Under `mlockall` the memory stays; it is reused all the same.
        let _ = piece.discard();
        lock(class).cold.push(piece);
        Some(bytes)
    }
}

/// A slot of an arena, freed into it on drop.
#[derive(Debug)]
pub(super) struct ArenaSlot {
    piece: ManuallyDrop<Piece>,
    arena: Arena,
    cold_on_drop: bool,
}

impl ArenaSlot {
    pub(super) fn piece(&self) -> &Piece {
        &self.piece
    }

    pub(super) fn piece_mut(&mut self) -> &mut Piece {
        &mut self.piece
    }

    pub(super) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Marks the slot as one that may have swap space behind it, to be given
    /// back with the memory when the slot is freed.
    pub(super) fn chill_on_drop(&mut self) {
        self.cold_on_drop = true;
    }

    /// Whether that was said.
    pub(super) fn chills_on_drop(&self) -> bool {
        self.cold_on_drop
    }
}

impl Drop for ArenaSlot {
    #[allow(unsafe_code, reason = "moves a field out on drop")]
    fn drop(&mut self) {
        if !self.arena.inner.owner.is_current() {
            // A forked child: the memory is the parent's, and a lock of the
            // arena may have been held by a thread that does not exist here.
            return;
        }
        // SAFETY: the slot is being dropped, so the piece is not used again.
        let piece = unsafe { ManuallyDrop::take(&mut self.piece) };
        self.arena.inner.release(piece, self.cold_on_drop);
    }
}

/// The arena that `cell` points at, or a fresh one if that is none of this
/// process's own.
#[allow(unsafe_code, reason = "publishes a leaked arena through a pointer")]
fn shared_in(cell: &AtomicPtr<Arena>) -> Arena {
    // Acquire pairs with the Release below: who sees the pointer sees the arena.
    let found = cell.load(Ordering::Acquire);
    // SAFETY: the pointer is null or points at an arena that is never freed.
    if let Some(arena) = unsafe { found.as_ref() }
        && arena.inner.owner.is_current()
    {
        return arena.clone();
    }
    let fresh = Box::into_raw(Box::new(Arena::new(SHARED_WARM_BYTES)));
    match cell.compare_exchange(found, fresh, Ordering::Release, Ordering::Acquire) {
        // SAFETY: just leaked, never freed.
        Ok(_) => unsafe { &*fresh }.clone(),
        Err(winner) => {
            // SAFETY: `fresh` was made above and shown to nobody.
            drop(unsafe { Box::from_raw(fresh) });
            // SAFETY: published by another thread of this process.
            unsafe { &*winner }.clone()
        }
    }
}

fn lock(class: &Mutex<Class>) -> MutexGuard<'_, Class> {
    // The lists are whole after every statement, so a panic elsewhere in a
    // holder leaves nothing to repair.
    class.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChunkBuf;
    use crate::memory::PAGE_BYTES;
    use proptest::prelude::*;
    use std::ops::Range;
    use std::thread;

    const LIMIT_BYTES: usize = 3 * HUGE_PAGE_BYTES;

    /// A buffer with room for `bytes`.
    fn buf(arena: &Arena, bytes: usize) -> ChunkBuf {
        ChunkBuf::with_capacity_in(arena, bytes / 8).unwrap()
    }

    fn addresses(buf: &ChunkBuf) -> Range<usize> {
        let start = buf.as_ptr().addr();
        start..start + buf.capacity() * 8
    }

    #[test]
    fn a_freed_slot_stays_warm_and_is_the_next_to_be_used() {
        let arena = Arena::new(LIMIT_BYTES);
        let first = buf(&arena, HUGE_PAGE_BYTES);
        let place = addresses(&first);
        assert_eq!(arena.usage().used_bytes, HUGE_PAGE_BYTES);
        drop(first);
        assert_eq!(arena.usage().used_bytes, 0);
        assert_eq!(arena.usage().warm_bytes, HUGE_PAGE_BYTES);
        let second = buf(&arena, HUGE_PAGE_BYTES);
        assert_eq!(addresses(&second), place);
        assert_eq!(arena.usage().warm_bytes, 0);
    }

    #[test]
    fn trimming_leaves_nothing_warm_and_cold_slots_are_reused() {
        let arena = Arena::new(LIMIT_BYTES);
        let bufs = [PAGE_BYTES, 5 * PAGE_BYTES, HUGE_PAGE_BYTES].map(|len| buf(&arena, len));
        let places = bufs.each_ref().map(addresses);
        drop(bufs);
        let mapped_bytes = arena.usage().mapped_bytes;
        let warm_bytes = arena.usage().warm_bytes;
        assert_eq!(warm_bytes, HUGE_PAGE_BYTES + 6 * PAGE_BYTES);
        assert_eq!(arena.trim(), warm_bytes);
        assert_eq!(arena.usage().warm_bytes, 0);
        assert_eq!(arena.trim(), 0);
        let again = [PAGE_BYTES, 5 * PAGE_BYTES, HUGE_PAGE_BYTES].map(|len| buf(&arena, len));
        assert_eq!(again.each_ref().map(addresses), places);
        assert_eq!(arena.usage().mapped_bytes, mapped_bytes);
    }

    #[test]
    fn what_does_not_fit_the_warm_stock_turns_cold() {
        let arena = Arena::new(LIMIT_BYTES);
        drop(buf(&arena, LIMIT_BYTES + PAGE_BYTES));
        assert_eq!(arena.usage().warm_bytes, 0);
        let bufs: Vec<ChunkBuf> = (0..5).map(|_| buf(&arena, HUGE_PAGE_BYTES)).collect();
        drop(bufs);
        assert_eq!(arena.usage().warm_bytes, LIMIT_BYTES);
        // What was freed last displaces what was freed before it.
        drop(buf(&arena, PAGE_BYTES));
        let warm_bytes = arena.usage().warm_bytes;
        assert_eq!(warm_bytes, LIMIT_BYTES - HUGE_PAGE_BYTES + PAGE_BYTES);
    }

    #[test]
    fn an_arena_without_a_warm_stock_keeps_nothing_warm() {
        let arena = Arena::new(0);
        drop(buf(&arena, PAGE_BYTES));
        drop(buf(&arena, HUGE_PAGE_BYTES));
        assert_eq!(arena.usage().warm_bytes, 0);
    }

    #[test]
    fn a_slot_that_was_paged_out_is_given_back_cold() {
        let arena = Arena::new(LIMIT_BYTES);
        let mut paged_out = buf(&arena, PAGE_BYTES);
        paged_out.push(1).unwrap();
        paged_out.mark_paged_out();
        let place = addresses(&paged_out);
        drop(paged_out);
        assert_eq!(arena.usage().warm_bytes, 0);
        let next = buf(&arena, PAGE_BYTES);
        assert_eq!(addresses(&next), place);
        // The mark went with the buffer.
        drop(next);
        assert_eq!(arena.usage().warm_bytes, PAGE_BYTES);
    }

    #[test]
    fn slots_are_aligned_to_pages_and_large_ones_to_huge_pages() {
        let arena = Arena::new(0);
        for pages in [1, 2, 9, 100, 512, 576, 1024] {
            let bufs = [(); 2].map(|()| buf(&arena, pages * PAGE_BYTES));
            for buf in &bufs {
                let align_bytes = if pages % 512 == 0 {
                    HUGE_PAGE_BYTES
                } else {
                    PAGE_BYTES
                };
                let start = addresses(buf).start;
                assert!(start.is_multiple_of(align_bytes), "{pages} pages");
            }
        }
    }

    #[test]
    fn a_size_beyond_all_memory_is_a_typed_error() {
        let arena = Arena::new(0);
        for words in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8] {
            let error = ChunkBuf::with_capacity_in(&arena, words).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { .. }), "{words}");
        }
        assert_eq!(arena.usage(), ArenaUsage::default());
    }

    #[test]
    fn buffers_outlive_the_arena_value() {
        let arena = Arena::new(0);
        let mut buf = buf(&arena, PAGE_BYTES);
        drop(arena);
        buf.extend_from_slice(&[1, 2, 3]).unwrap();
        buf.reserve(PAGE_BYTES).unwrap();
        assert_eq!(*buf, [1, 2, 3]);
    }

    #[test]
    fn the_shared_arena_is_one() {
        let first = Arena::shared();
        let second = thread::spawn(Arena::shared).join().unwrap();
        assert!(Arc::ptr_eq(&first.inner, &second.inner));
    }

    #[test]
    fn threads_allocate_and_free_at_once() {
        const ROUNDS: usize = if cfg!(miri) { 3 } else { 500 };
        let arena = Arena::new(16 * PAGE_BYTES);
        thread::scope(|scope| {
            for thread in 0..4 {
                let arena = &arena;
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..ROUNDS {
                        let stamp = (thread * ROUNDS + round) as u64;
                        let pages = 1 + (thread + round) % 5;
                        let mut buf = buf(arena, pages * PAGE_BYTES);
                        buf.resize(pages * 64, stamp).unwrap();
                        held.push((stamp, buf));
                        if held.len() > 4 {
                            let (stamp, buf) = held.swap_remove(round % 4);
                            assert!(buf.iter().all(|word| *word == stamp));
                        }
                        if round % 50 == 0 {
                            arena.trim();
                        }
                    }
                });
            }
        });
        let usage = arena.usage();
        assert_eq!(usage.used_bytes, 0);
        assert!(usage.warm_bytes <= 16 * PAGE_BYTES);
        arena.trim();
        assert_eq!(arena.usage().warm_bytes, 0);
    }

    /// One operation of a random sequence; numbers name buffers.
    #[derive(Debug, Clone)]
    enum Step {
        Allocate(usize),
        Free(usize),
        FreePagedOut(usize),
        Extend(usize, usize),
        Trim,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        const USUAL: usize = if cfg!(miri) { 600 } else { 2000 };
        const MOST: usize = if cfg!(miri) { 800 } else { 300_000 };
        let words = || prop_oneof![9 => 0..USUAL, 1 => 0..MOST];
        let step = prop_oneof![
            4 => words().prop_map(Step::Allocate),
            2 => any::<usize>().prop_map(Step::Free),
            1 => any::<usize>().prop_map(Step::FreePagedOut),
            3 => (any::<usize>(), words()).prop_map(|(at, words)| Step::Extend(at, words)),
            1 => Just(Step::Trim),
        ];
        prop::collection::vec(step, 0..if cfg!(miri) { 6 } else { 60 })
    }

    /// Live buffers are disjoint, hold what was written, and are all that is
    /// counted as used; the warm stock keeps to its bound.
    fn check(arena: &Arena, limit_bytes: usize, live: &[(u64, ChunkBuf)]) {
        let mut places: Vec<Range<usize>> = live.iter().map(|(_, buf)| addresses(buf)).collect();
        places.sort_by_key(|place| place.start);
        assert!(places.is_sorted_by(|a, b| a.end <= b.start), "overlap");
        for (stamp, buf) in live {
            // A word of every page, and the last one: a stray write that hits
            // neither is found when the buffer is freed.
            let mut some = buf.iter().step_by(512).chain(buf.last());
            assert!(some.all(|word| word == stamp), "content changed");
        }
        let usage = arena.usage();
        let used_bytes: usize = places.iter().map(Range::len).sum();
        assert_eq!(usage.used_bytes, used_bytes);
        assert!(usage.warm_bytes <= limit_bytes, "{usage:?}");
        assert!(usage.used_bytes + usage.warm_bytes <= usage.mapped_bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 1 } else { 48 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn live_buffers_never_overlap_and_keep_their_content(
            steps in steps(),
            limit_bytes in prop_oneof![Just(0), Just(5 * PAGE_BYTES), Just(LIMIT_BYTES)],
        ) {
            let arena = Arena::new(limit_bytes);
            let mut live: Vec<(u64, ChunkBuf)> = Vec::new();
            for (stamp, step) in (1u64..).zip(steps) {
                match step {
                    Step::Allocate(words) => {
                        let mut fresh = buf(&arena, words * 8);
                        fresh.resize(words, stamp).unwrap();
                        live.push((stamp, fresh));
                    }
                    Step::Free(at) | Step::FreePagedOut(at) => {
                        let index = at.checked_rem(live.len());
                        let mut freed = index.map(|index| live.swap_remove(index));
                        if let Some((stamp, freed)) = &freed {
                            assert_eq!(freed[..], vec![*stamp; freed.len()]);
                        }
                        if let (Step::FreePagedOut(_), Some((_, freed))) = (&step, &mut freed) {
                            freed.mark_paged_out();
                        }
                    }
                    Step::Extend(at, words) => {
                        if let Some(index) = at.checked_rem(live.len()) {
                            let (stamp, grown) = &mut live[index];
                            grown.extend_from_slice(&vec![*stamp; words]).unwrap();
                        }
                    }
                    Step::Trim => {
                        arena.trim();
                        assert_eq!(arena.usage().warm_bytes, 0);
                    }
                }
                check(&arena, limit_bytes, &live);
            }
            live.clear();
            check(&arena, limit_bytes, &live);
        }
    }
}
