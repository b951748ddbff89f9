//! [`Arena`]: recycled slots of huge-page-aligned memory, by size class.
//!
//! A slot is *warm* while memory is behind it and *cold* after that memory, and
//! any swap space, has gone back to the system. Freed slots stay warm up to a
//! bound, because a warm slot costs no page fault and no zeroing to reuse; the
//! rest turns cold at once. Address space goes back, too: what is wholly free is
//! unmapped beyond a bound, and all of it before anybody is told that there is no
//! memory.
//!
//! Payloads live here, and never in the general allocator's memory, because the
//! allocator would hand out ranges whose pages are still out on swap.
//!
//! In a forked child the memory is as any other: copied when it is written. The
//! arena itself is its parent's there, and none of its locks is ever asked for.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::class::{Class, Idle, Slot};
use super::mapping::{Advice, Piece};
use super::shared::shared_in;
use super::slot::ArenaSlot;
use super::{HUGE_PAGE_BYTES, ProcessStamp, SizeClass};
use crate::{Error, Result};

/// The most that an arena maps at a time, unless one slot is larger.
const REGION_BYTES: usize = if cfg!(miri) { 2 << 20 } else { 32 << 20 };

/// Bytes of address space that an arena keeps although all of it is free.
const IDLE_BYTES: usize = 2 * REGION_BYTES;

/// Bytes of freed slots that the shared arena keeps warm. No budget counts them.
pub(super) const SHARED_WARM_BYTES: usize = 4 << 20;

/// Recycled, huge-page-aligned memory. A clone is the same arena.
///
/// A forked child keeps what buffers held when it was born, as it does with all
/// memory, but the arena is its parent's: there it hands out nothing
/// ([`Error::ForeignProcess`]), holds nothing, and takes nothing back. Buffers
/// that grow there move to the child's own [shared](Self::shared) arena.
pub struct Arena {
    /// Leaked in a forked child.
    inner: ManuallyDrop<Arc<Inner>>,
}

struct Inner {
    classes: Box<[Mutex<Class>]>,
    warm_limit_bytes: usize,
    core_dumps: bool,
    /// Bytes of warm slots in the free lists. Relaxed throughout: a bound on a
    /// cache, published to nobody.
    warm_bytes: AtomicUsize,
    /// Bytes of slots in use. Relaxed: a statistic.
    used_bytes: AtomicUsize,
    /// Bytes of address space mapped now. Relaxed: a statistic.
    mapped_bytes: AtomicUsize,
    /// Bytes of regions that are wholly free and mapped still. Relaxed throughout,
    /// as for `warm_bytes`; a region is counted and forgotten under the lock of its
    /// class.
    idle_bytes: AtomicUsize,
    owner: ProcessStamp,
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
    /// Of that, what is wholly free and kept for the next to come: 64 MiB at most.
    pub idle_bytes: usize,
}

/// Settings of an [`Arena`].
///
/// ```
/// use pager_core::Arena;
///
/// let arena = Arena::builder().warm_limit_bytes(8 << 20).core_dumps(true).build();
/// assert_eq!(arena.usage().mapped_bytes, 0);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ArenaBuilder {
    warm_limit_bytes: usize,
    core_dumps: bool,
}

impl ArenaBuilder {
    /// Bytes of freed slots that may stay warm. Default: none.
    pub fn warm_limit_bytes(mut self, bytes: usize) -> Self {
        self.warm_limit_bytes = bytes;
        self
    }

    /// Whether a core dump of the process contains the memory of this arena.
    /// Default: no, for what is on swap would all be read back for it, while the
    /// process and its parent wait.
    pub fn core_dumps(mut self, included: bool) -> Self {
        self.core_dumps = included;
        self
    }

    /// The arena. Maps nothing yet.
    #[must_use]
    pub fn build(self) -> Arena {
        let classes = (0..SizeClass::COUNT).map(|_| Mutex::default()).collect();
        let inner = Inner {
            classes,
            warm_limit_bytes: self.warm_limit_bytes,
            core_dumps: self.core_dumps,
            warm_bytes: AtomicUsize::new(0),
            used_bytes: AtomicUsize::new(0),
            mapped_bytes: AtomicUsize::new(0),
            idle_bytes: AtomicUsize::new(0),
            owner: ProcessStamp::current(),
        };
        Arena {
            inner: ManuallyDrop::new(Arc::new(inner)),
        }
    }
}

impl Arena {
    /// An arena that keeps at most `warm_limit_bytes` of freed slots warm, and is
    /// left out of core dumps.
    #[must_use]
    pub fn new(warm_limit_bytes: usize) -> Self {
        let settings = Self::builder().warm_limit_bytes(warm_limit_bytes);
        settings.build()
    }

    /// Settings to choose from.
    pub fn builder() -> ArenaBuilder {
        ArenaBuilder::default()
    }

    /// The arena that buffers and backends use unless told otherwise, one for
    /// the whole process; it keeps 4 MiB warm, and is left out of core dumps.
    #[must_use]
    pub fn shared() -> Self {
        // Never freed: a process and its forked descendants make one each.
        static SHARED: AtomicPtr<Arena> = AtomicPtr::new(std::ptr::null_mut());
        shared_in(&SHARED)
    }

    /// What the arena holds; nothing in a forked child. Four loads.
    #[must_use]
    pub fn usage(&self) -> ArenaUsage {
        if !self.is_own() {
            return ArenaUsage::default();
        }
        ArenaUsage {
            used_bytes: self.inner.used_bytes.load(Ordering::Relaxed),
            warm_bytes: self.inner.warm_bytes.load(Ordering::Relaxed),
            mapped_bytes: self.inner.mapped_bytes.load(Ordering::Relaxed),
            idle_bytes: self.inner.idle_bytes.load(Ordering::Relaxed),
        }
    }

    /// Gives the memory of all warm free slots back to the system, and the address
    /// space of all that is wholly free; returns how many bytes were warm. Nothing
    /// in a forked child.
    pub fn trim(&self) -> usize {
        if !self.is_own() {
            return 0;
        }
        self.inner.trim()
    }

    /// Whether this is the process that made it.
    pub(super) fn is_own(&self) -> bool {
        self.inner.owner.is_current()
    }

    /// A slot of at least `bytes`, its content unknown.
    pub(super) fn allocate(&self, bytes: usize) -> Result<ArenaSlot> {
        if !self.is_own() {
            return Err(Error::ForeignProcess);
        }
        if bytes > isize::MAX as usize / 4 {
            return Err(Error::OutOfMemory {
                needed_bytes: bytes,
            });
        }
        let class = SizeClass::for_bytes(bytes);
        let slot = match self.inner.reuse(class) {
            Some(slot) => slot,
            None => self.inner.grow(class)?,
        };
        self.inner
            .used_bytes
            .fetch_add(class.bytes(), Ordering::Relaxed);
        Ok(ArenaSlot::new(slot, self.clone()))
    }

    /// Takes a slot back that was handed out.
    pub(super) fn take_back(&self, slot: Slot, cold: bool) {
        self.inner.release(slot, cold);
    }
}

impl Clone for Arena {
    fn clone(&self) -> Self {
        Self {
            inner: ManuallyDrop::new(Arc::clone(&self.inner)),
        }
    }
}

impl Drop for Arena {
    #[allow(unsafe_code, reason = "moves a field out on drop")]
    fn drop(&mut self) {
        // In a forked child the lists may be half changed: a thread of the parent
        // may have been at it when the child was born.
        if self.is_own() {
            // SAFETY: the arena is being dropped, so the field is not used again.
            unsafe { ManuallyDrop::drop(&mut self.inner) }
        }
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
    fn reuse(&self, class: SizeClass) -> Option<Slot> {
        let mut free = self.class(class);
        if let Some(slot) = free.take_warm() {
            drop(free);
            self.warm_bytes.fetch_sub(class.bytes(), Ordering::Relaxed);
            return Some(slot);
        }
        let (slot, idle_bytes) = free.take_cold()?;
        self.idle_bytes.fetch_sub(idle_bytes, Ordering::Relaxed);
        Some(slot)
    }

    /// Maps a region, keeps one slot of it and frees the rest, cold. Where there is
    /// no room, what is free elsewhere is unmapped first, and one slot must do.
    fn grow(&self, class: SizeClass) -> Result<Slot> {
        let bytes = class.bytes();
        // As much as there is of this size already: little for sizes that are
        // seldom wanted, few mappings for those that are wanted often.
        let most = REGION_BYTES.min(self.class(class).mapped_bytes().max(HUGE_PAGE_BYTES));
        let mapped = self.map(class, (most / bytes).max(1)).or_else(|| {
            self.trim();
            self.map(class, 1)
        });
        mapped.ok_or(Error::OutOfMemory {
            needed_bytes: bytes,
        })
    }

    /// Maps a region of `count` slots, and takes the first of them.
    fn map(&self, class: SizeClass, count: usize) -> Option<Slot> {
        let advice = Advice {
            huge_pages: class.bytes() >= HUGE_PAGE_BYTES,
            core_dumps: self.core_dumps,
        };
        let pieces = Piece::map(class.bytes(), count, advice).ok()?;
        let slot = self.class(class).add_region(pieces)?;
        self.mapped_bytes
            .fetch_add(class.bytes() * count, Ordering::Relaxed);
        Some(slot)
    }

    /// Takes a slot back, warm if the stock has room for it.
    fn release(&self, mut slot: Slot, cold: bool) {
        let bytes = slot.piece.len_bytes();
        let class = SizeClass::for_bytes(bytes);
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        // A slot that could not be discarded still has memory behind it.
        let is_discarded = cold && slot.piece.discard().is_ok();
        if !is_discarded && self.make_room(class) {
            self.class(class).put_warm(slot);
            return;
        }
        // One that is unmapped at once takes its memory with it.
        if !is_discarded && bytes <= IDLE_BYTES {
            // Under `mlockall` the memory stays; it is reused all the same.
            let _ = slot.piece.discard();
        }
        self.put_cold(&self.classes[class.index()], slot);
    }

    /// Puts a cold slot where it came from, and unmaps its region if that is wholly
    /// free by now, beyond what may be kept so.
    fn put_cold(&self, class: &Mutex<Class>, slot: Slot) {
        let going = lock(class).put_cold(slot, |region_bytes| {
            if count_within(&self.idle_bytes, region_bytes, IDLE_BYTES) {
                return Idle::Kept;
            }
            self.mapped_bytes.fetch_sub(region_bytes, Ordering::Relaxed);
            Idle::Unmapped
        });
        // Unmapped outside of the lock.
        drop(going);
    }

    /// Counts one more warm slot into the stock, at the cost of slots of other
    /// sizes: what was freed last is what will be wanted next.
    fn make_room(&self, wanted: SizeClass) -> bool {
        let bytes = wanted.bytes();
        let count_warm = || count_within(&self.warm_bytes, bytes, self.warm_limit_bytes);
        if bytes > self.warm_limit_bytes {
            return false;
        }
        if count_warm() {
            return true;
        }
        let others = self.classes.iter().enumerate().rev();
        for (_, class) in others.filter(|(index, _)| *index != wanted.index()) {
            while self.chill_one(class).is_some() {
                if count_warm() {
                    return true;
                }
            }
        }
        false
    }

    /// Turns one warm slot of `class` cold, and returns its bytes.
    fn chill_one(&self, class: &Mutex<Class>) -> Option<usize> {
        let mut slot = lock(class).take_warm()?;
        let bytes = slot.piece.len_bytes();
        self.warm_bytes.fetch_sub(bytes, Ordering::Relaxed);
        // Under `mlockall` the memory stays; it is reused all the same.
        let _ = slot.piece.discard();
        self.put_cold(class, slot);
        Some(bytes)
    }

    /// Turns all that is warm cold, and unmaps all that is wholly free; how many
    /// bytes were warm.
    fn trim(&self) -> usize {
        let mut warm_bytes = 0;
        for class in &self.classes {
            while let Some(bytes) = self.chill_one(class) {
                warm_bytes += bytes;
            }
            while self.unmap_idle(class) {}
        }
        warm_bytes
    }

    /// Unmaps one idle region of `class`, if there is one.
    fn unmap_idle(&self, class: &Mutex<Class>) -> bool {
        let mut free = lock(class);
        let Some((going, idle_bytes)) = free.take_idle() else {
            return false;
        };
        self.idle_bytes.fetch_sub(idle_bytes, Ordering::Relaxed);
        self.mapped_bytes.fetch_sub(idle_bytes, Ordering::Relaxed);
        drop(free);
        // Unmapped outside of the lock.
        drop(going);
        true
    }
}

/// Adds `bytes` to `count` unless that makes more than `limit_bytes`.
fn count_within(count: &AtomicUsize, bytes: usize, limit_bytes: usize) -> bool {
    let within_limit = |held_bytes: usize| {
        let sum = held_bytes.checked_add(bytes)?;
        (sum <= limit_bytes).then_some(sum)
    };
    // Relaxed, both: the counts say of their own what they guard.
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within_limit)
        .is_ok()
}

fn lock(class: &Mutex<Class>) -> MutexGuard<'_, Class> {
    // The lists are whole after every statement, so a panic elsewhere in a
    // holder leaves nothing to repair.
    class.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "arena_tests.rs"]
mod tests;
