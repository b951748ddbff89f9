//! [`SwapBackend`]: the `Backend` trait over the two modes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use pager_core::diagnose::Finding;
use pager_core::{
    ArenaUsage, Backend, ChunkKind, Error, InPlace, OwnedChunk, Payload, ProcessStamp, Result,
    TransferMemory, Usage, Window,
};

use crate::arena_mode::ArenaMode;
use crate::pagemap::Residency;
use crate::parked::Parked;
use crate::seed_mode::Kept;
use crate::watch::Watch;
use crate::{NAME, SwapBuilder, SwapMode, SwapStats, diagnose};

/// Keeps payloads in anonymous memory and moves them to swap and back.
///
/// `take` into a [`ChunkBuf`](pager_core::ChunkBuf) gives the very slot back; a
/// `Vec` costs a copy each way, except in seed mode, which keeps the `Vec`s.
/// Callers' `Vec`s keep their capacity in arena mode and lose it in seed mode; a
/// single `ChunkBuf` is adopted in both; in arena mode one of 2 MiB or more that has
/// come back from swap is copied, because it came in small pages, which leave slowly.
///
/// Bytes that a read brings back stay in memory as far as the budget of the registry has
/// room for them, and go out again otherwise.
///
/// When nothing leaves memory any more (no swap, or all of it full), retries
/// stop after 4 payloads, and after 16 most payloads are left alone and counted
/// as unreclaimable; one in 64 is tried, and the first success restores all.
///
/// A forked child is refused ([`Error::ForeignProcess`]) and told of nothing: what a
/// thread of the parent had locked is locked there for ever.
#[derive(Debug)]
pub struct SwapBackend {
    mode: SwapMode,
    arena_mode: ArenaMode,
    watch: Watch,
    owner: ProcessStamp,
}

/// What a [`SwapBackend`] remembers of one payload.
#[derive(Debug)]
pub struct SwapSlot(Slot);

#[derive(Debug)]
enum Slot {
    /// No words, so no memory and no system call.
    Empty,
    Parked(Arc<Parked>),
    Kept(Kept),
}

impl SwapBackend {
    /// A backend in the default mode over [`Arena::shared`](pager_core::Arena::shared).
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Settings to choose from.
    pub fn builder() -> SwapBuilder {
        SwapBuilder::default()
    }

    pub(crate) fn from_builder(builder: SwapBuilder) -> Self {
        let arena = builder.chosen_arena();
        Self {
            mode: builder.mode,
            arena_mode: ArenaMode::new(arena, builder.retry_count),
            watch: Watch::new(),
            owner: ProcessStamp::current(),
        }
    }

    fn check_owner(&self) -> Result<()> {
        if self.owner.is_current() {
            Ok(())
        } else {
            Err(Error::ForeignProcess)
        }
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> SwapMode {
        self.mode
    }

    /// Why paging to swap may not work, or not well, on this machine and in this
    /// memory cgroup; empty if all is well.
    ///
    /// Reads a few files under `/proc` and `/sys`, tries the hints on a page of its
    /// own, and changes nothing.
    #[must_use]
    pub fn diagnose() -> Vec<Finding> {
        diagnose::diagnose()
    }

    /// What the backend holds and has done; nothing in a forked child.
    ///
    /// Reads the page-table entries of all live payloads: 2 KiB for each MiB of
    /// them, in one call for up to 128 MiB that lie together. Stops nobody.
    #[must_use]
    pub fn stats(&self) -> SwapStats {
        if self.check_owner().is_err() {
            return SwapStats::none(self.mode);
        }
        let counters = &self.watch.counters;
        let survey = self.watch.survey();
        let logical_bytes = counters.logical_bytes.get();
        let seen = survey.unwrap_or_else(|| unseen(logical_bytes));
        SwapStats {
            mode: self.mode,
            observed: survey.is_some(),
            live_payloads: self.watch.live_payloads() as u64,
            logical_bytes,
            resident_bytes: seen.resident_bytes as u64,
            swapped_bytes: seen.swapped_bytes as u64,
            unreclaimable_bytes: counters.unreclaimable_bytes.get(),
            read_back_bytes: counters.back_bytes.get(),
            adopted_count: counters.adopted_count.get(),
            copied_bytes: counters.copied_bytes.get(),
            hint_count: counters.hint_count.get(),
            retry_count: counters.retry_count.get(),
            refused_count: counters.refused_count.get(),
            left_alone_count: counters.left_alone_count.get(),
            stayed_bytes: counters.stayed_bytes.get(),
            repeated_count: counters.repeated_count.get(),
            populates: self.arena_mode.populates(),
        }
    }

    /// What the arena holds that payloads are copied into. Four loads.
    #[must_use]
    pub fn arena_usage(&self) -> ArenaUsage {
        self.arena_mode.arena().usage()
    }

    /// Gives the memory of all warm free slots of that arena back to the system, and the
    /// address space of all that is wholly free; returns how many bytes were warm.
    /// Nothing in a forked child.
    pub fn trim(&self) -> usize {
        self.arena_mode.arena().trim()
    }

    /// Whether it is known what is in memory: seed mode does not look, and where there is
    /// no page map nobody can.
    fn is_counted(&self) -> bool {
        self.mode == SwapMode::Arena && self.watch.can_see()
    }

    fn how(&self) -> Cow<'static, str> {
        let mut how = format!("{} mode", self.mode);
        if self.arena_mode.is_futile() {
            how.push_str(", but swap takes nothing: see SwapBackend::diagnose");
        }
        if !self.watch.can_see() {
            how.push_str(", what is in memory cannot be observed and counts as all");
        }
        how.into()
    }
}

/// What to report if nothing can be seen: the most it can be.
fn unseen(logical_bytes: u64) -> Residency {
    Residency {
        resident_bytes: usize::try_from(logical_bytes).unwrap_or(usize::MAX),
        swapped_bytes: 0,
    }
}

impl Default for SwapBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for SwapBackend {
    type Slot = SwapSlot;

    fn name(&self) -> &'static str {
        NAME
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<SwapSlot> {
        self.check_owner()?;
        if payload.is_empty() {
            return Ok(SwapSlot(Slot::Empty));
        }
        Ok(SwapSlot(match self.mode {
            SwapMode::Arena => Slot::Parked(self.arena_mode.park(&self.watch, payload)?),
            SwapMode::Seed(advice) => Slot::Kept(Kept::keep(&self.watch, advice, payload)?),
        }))
    }

    fn read(
        &self,
        slot: &SwapSlot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        self.check_owner()?;
        match &slot.0 {
            Slot::Empty => Ok(()),
            Slot::Parked(parked) => self.arena_mode.read(&self.watch, parked, ranges, window),
            Slot::Kept(kept) => {
                kept.read(ranges, window);
                Ok(())
            }
        }
    }

    fn prefetch(&self, slot: &SwapSlot, range: Range<usize>) {
        match &slot.0 {
            _ if self.check_owner().is_err() => {}
            Slot::Empty => {}
            Slot::Parked(parked) => self.arena_mode.prefetch(parked, range),
            Slot::Kept(kept) => kept.prefetch(range),
        }
    }

    fn free(&self, slot: SwapSlot) {
        match slot.0 {
            // The parent's, and the books about it as well.
            slot if self.check_owner().is_err() => std::mem::forget(slot),
            Slot::Empty => {}
            Slot::Parked(parked) => self.arena_mode.free(&self.watch, &parked),
            Slot::Kept(kept) => kept.free(&self.watch),
        }
    }

    /// What was seen when payloads were paged out, and what has been brought back since:
    /// counted, so that it costs a few loads. [`stats`](SwapBackend::stats) looks.
    fn usage(&self) -> Usage {
        if self.check_owner().is_err() {
            return Usage::default();
        }
        let counters = &self.watch.counters;
        let mut usage = Usage::default();
        usage.logical_bytes = counters.logical_bytes.get();
        usage.stored_bytes = counters.left_bytes.get();
        usage.unreclaimable_bytes = counters.unreclaimable_bytes.get();
        usage.resident_bytes = if self.is_counted() {
            usage.unreclaimable_bytes + counters.back_bytes.get()
        } else {
            usage.logical_bytes
        };
        usage.how = self.how();
        usage
    }

    fn in_place(&self) -> Option<&dyn InPlace<Slot = SwapSlot>> {
        Some(self)
    }

    fn attach(&self, memory: &TransferMemory) {
        self.arena_mode.attach(memory);
    }

    /// What was seen to leave memory when the payload was paged out; in seed
    /// mode, which does not look then, what is on swap now.
    fn stored_bytes(&self, slot: &SwapSlot) -> u64 {
        match &slot.0 {
            Slot::Empty => 0,
            Slot::Parked(parked) => parked.left_bytes as u64,
            Slot::Kept(kept) => kept.swapped_bytes(&self.watch) as u64,
        }
    }
}

impl InPlace for SwapBackend {
    type Slot = SwapSlot;

    fn adopts(&self) -> bool {
        self.mode == SwapMode::Arena
    }

    fn reads_stay(&self) -> bool {
        self.mode == SwapMode::Arena && cfg!(all(target_os = "linux", not(miri)))
    }

    fn detach(&self, slot: SwapSlot, wants: ChunkKind) -> Result<OwnedChunk, SwapSlot> {
        match slot.0 {
            _ if self.check_owner().is_err() => Err(slot),
            Slot::Empty => Err(slot),
            Slot::Parked(parked) => self
                .arena_mode
                .detach(&self.watch, parked, wants)
                .map_err(|parked| SwapSlot(Slot::Parked(parked))),
            Slot::Kept(kept) => kept
                .detach(&self.watch, wants)
                .map_err(|kept| SwapSlot(Slot::Kept(kept))),
        }
    }

    fn page_in(&self, slot: &SwapSlot, range: Range<usize>) -> Result<bool> {
        self.check_owner()?;
        match &slot.0 {
            Slot::Empty => {}
            Slot::Parked(parked) => self.arena_mode.page_in(&self.watch, parked, range)?,
            Slot::Kept(kept) => kept.prefetch(range),
        }
        Ok(true)
    }

    fn came_with(&self, slot: &SwapSlot, range: Range<usize>) -> Range<usize> {
        match &slot.0 {
            Slot::Parked(parked) if self.check_owner().is_ok() => {
                self.arena_mode.came_with(&self.watch, parked, range)
            }
            _ => range,
        }
    }

    fn release(&self, slot: &SwapSlot, range: Range<usize>, unneeded: Range<usize>) {
        if let Slot::Parked(parked) = &slot.0
            && self.check_owner().is_ok()
        {
            self.arena_mode
                .release(&self.watch, parked, range, unneeded);
        }
    }
}
