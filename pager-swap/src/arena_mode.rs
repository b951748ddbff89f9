//! Arena mode: each payload in one slot of huge-page-aligned memory that pager
//! owns, paged out whole, and mapped back in one call.
//!
//! The general allocator's memory is never paged out: a chunk of it is copied
//! once, into a slot whose swap space goes back without I/O when it is freed.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use pager_core::{
    Arena, ChunkBuf, ChunkKind, Error, HUGE_PAGE_BYTES, OwnedChunk, Payload, Result, SizeClass,
    TransferMemory, Window,
};

use crate::NAME;
use crate::advise::{Hint, Rounding, advise};
use crate::diagnose::has_huge_pages;
use crate::live::Spans;
use crate::outcome::Outcome;
use crate::pagemap::{Residency, Span};
use crate::pages::{huge_pages, pages_bytes, whole_huge_pages};
use crate::parked::Parked;
use crate::patience::{Patience, Plan};
use crate::watch::Watch;

/// The default mode.
#[derive(Debug)]
pub(crate) struct ArenaMode {
    arena: Arena,
    retry_count: u32,
    patience: Patience,
    /// Room for what is copied and has not left yet; none until the backend has a
    /// registry.
    memory: OnceLock<TransferMemory>,
    /// The kernel does not know `MADV_POPULATE_READ`, or a sandbox does not let it
    /// be told. Relaxed: found out anew by whoever does not see it yet.
    cannot_populate: AtomicBool,
    /// Found out when first asked.
    has_huge_pages: OnceLock<bool>,
}

impl ArenaMode {
    pub(crate) fn new(arena: Arena, retry_count: u32) -> Self {
        Self {
            arena,
            retry_count,
            patience: Patience::default(),
            memory: OnceLock::new(),
            cannot_populate: AtomicBool::new(false),
            has_huge_pages: OnceLock::new(),
        }
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Has copies count as a registry's transfers.
    pub(crate) fn attach(&self, memory: &TransferMemory) {
        // A second registry over the same backend does not exist.
        let _ = self.memory.set(memory.clone());
    }

    pub(crate) fn populates(&self) -> bool {
        !self.cannot_populate.load(Ordering::Relaxed)
    }

    /// Whether page-outs have long been for nothing.
    pub(crate) fn is_futile(&self) -> bool {
        self.patience.is_exhausted()
    }

    /// Moves a payload that is not empty into a slot, and the slot out of
    /// memory.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the chunks are as they were.
    pub(crate) fn park(&self, watch: &Watch, payload: &mut Payload<'_>) -> Result<Arc<Parked>> {
        let (mut bytes, outcome) = match adopt(payload) {
            Some(adopted) => {
                let bytes = self.fit(watch, adopted);
                let outcome = self.push_out(watch, &bytes);
                (bytes, outcome)
            }
            None => self.copy_out(watch, payload)?,
        };
        if outcome.left {
            bytes.mark_paged_out();
        }
        watch.counters.unreclaimable_bytes.add(outcome.stayed_bytes);
        watch.counters.stayed_bytes.add(outcome.stayed_bytes);
        watch.counters.left_bytes.add(outcome.left_bytes);
        let key = watch.admit(Spans::One(Span::of(&bytes)), bytes.len());
        let parked = Parked::new(bytes, key, outcome.left_bytes, outcome.stayed_bytes);
        Ok(Arc::new(parked))
    }

    /// Maps the covering pages of `ranges`, and copies them into the window.
    ///
    /// # Errors
    ///
    /// What the kernel says if it cannot read them from swap.
    pub(crate) fn read(
        &self,
        watch: &Watch,
        parked: &Arc<Parked>,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        let is_there = parked.is_paged_in(watch, ranges);
        // All reads are begun before the first is waited for.
        if !is_there && !parked.prefetched.load(Ordering::Relaxed) {
            for range in ranges {
                will_need(&parked.bytes[range.clone()]);
            }
        }
        for range in ranges {
            let bytes = &parked.bytes[range.clone()];
            if !is_there {
                self.populate(bytes)?;
                parked.came_back(watch, pages_bytes(bytes));
            }
            window.copy_from(bytes);
        }
        Ok(())
    }

    /// Begins to read `range` from swap.
    pub(crate) fn prefetch(&self, parked: &Parked, range: Range<usize>) {
        if range.len() == parked.bytes.len() {
            parked.prefetched.store(true, Ordering::Relaxed);
        }
        // Not even one page is worth a refusal: a hint that fails is forgotten.
        let _ = advise(&parked.bytes[range], Hint::WillNeed, Rounding::Outward);
    }

    /// Maps `range` and waits for it.
    ///
    /// # Errors
    ///
    /// What the kernel says if it cannot read from swap.
    pub(crate) fn page_in(
        &self,
        watch: &Watch,
        parked: &Parked,
        range: Range<usize>,
    ) -> Result<()> {
        parked.paged_in.store(true, Ordering::Relaxed);
        self.bring_back(watch, parked, range)
    }

    /// `range`, and the huge pages that it lies in where they are seen to be mapped whole.
    pub(crate) fn came_with(
        &self,
        watch: &Watch,
        parked: &Parked,
        range: Range<usize>,
    ) -> Range<usize> {
        let whole = whole_huge_pages(&parked.bytes, range.clone());
        // A page that shares none with others comes alone.
        if whole.len() > range.len()
            && parked.bytes.len() >= HUGE_PAGE_BYTES
            && watch.is_mapped(&parked.bytes[whole.clone()])
        {
            return whole;
        }
        range
    }

    /// Lets `range` leave memory again, and what of `unneeded` shares its huge pages:
    /// where one of them left whole and is in the kernel's cache still, it is mapped
    /// whole as well. What never left stays: it was tried before.
    pub(crate) fn release(
        &self,
        watch: &Watch,
        parked: &Parked,
        range: Range<usize>,
        unneeded: Range<usize>,
    ) {
        parked.prefetched.store(false, Ordering::Relaxed);
        parked.let_go(watch, pages_bytes(&parked.bytes[range.clone()]));
        let shared = whole_huge_pages(&parked.bytes, range);
        let bytes = &parked.bytes[shared.start.max(unneeded.start)..shared.end.min(unneeded.end)];
        if self.patience.is_exhausted() || parked.stayed_bytes == parked.len_bytes() {
            return;
        }
        watch.counters.repeated_count.add(1);
        watch.counters.hint_count.add(1);
        if advise(bytes, Hint::PageOut, Rounding::Outward).is_err() {
            watch.counters.refused_count.add(1);
        }
    }

    /// The slot itself, back in memory, for a destination that can adopt it.
    pub(crate) fn detach(
        &self,
        watch: &Watch,
        parked: Arc<Parked>,
        wants: ChunkKind,
    ) -> Result<OwnedChunk, Arc<Parked>> {
        if wants != ChunkKind::Buf {
            return Err(parked);
        }
        let whole = 0..parked.bytes.len();
        // A device that fails says so when the payload is read instead.
        if !parked.is_paged_in(watch, std::slice::from_ref(&whole))
            && self.bring_back(watch, &parked, whole).is_err()
        {
            return Err(parked);
        }
        // It fails if another thread is paging this payload out right now.
        let parked = Arc::try_unwrap(parked)?;
        self.forget(watch, &parked);
        Ok(OwnedChunk::Buf(parked.bytes))
    }

    pub(crate) fn free(&self, watch: &Watch, parked: &Parked) {
        self.forget(watch, parked);
    }

    fn forget(&self, watch: &Watch, parked: &Parked) {
        parked.let_go(watch, parked.len_bytes());
        watch.counters.left_bytes.sub(parked.left_bytes);
        watch.counters.unreclaimable_bytes.sub(parked.stayed_bytes);
        watch.release(parked.key, parked.len_bytes());
    }

    /// Copies a payload into a slot of the right size and pages it out, a huge page at
    /// a time, so that no more than that is in memory twice. The chunks are cleared
    /// after it.
    fn copy_out(
        &self,
        watch: &Watch,
        payload: &mut Payload<'_>,
    ) -> Result<(ChunkBuf<u8>, Outcome)> {
        let len_bytes = payload.len_bytes();
        let mut bytes = ChunkBuf::with_capacity_in(&self.arena, len_bytes)?;
        let mut outcome = Outcome::default();
        let mut chunks = payload.chunks();
        let mut chunk = chunks.next().unwrap_or_default();
        for piece in huge_pages(&bytes, len_bytes) {
            let memory = self.memory.get();
            let charge = memory.map(|memory| memory.hold(piece.len()));
            while bytes.len() < piece.end {
                let (now, later) = chunk.split_at(chunk.len().min(piece.end - bytes.len()));
                bytes.extend_from_slice(now)?;
                chunk = match later {
                    [] => chunks.next().unwrap_or_default(),
                    later => later,
                };
            }
            outcome.add(self.push_out(watch, &bytes[piece]));
            drop(charge);
        }
        drop(chunks);
        watch.counters.copied_bytes.add(len_bytes);
        payload.clear();
        Ok((bytes, outcome))
    }

    /// The adopted buffer, or a copy of it if its slot is larger than it needs,
    /// since memory behind the last byte would stay, or if it came back from swap
    /// in small pages: those leave four times as slowly as a fresh huge page, and
    /// the copy costs less than that.
    fn fit(&self, watch: &Watch, adopted: ChunkBuf<u8>) -> ChunkBuf<u8> {
        let slot_bytes = SizeClass::for_bytes(adopted.len()).bytes();
        let is_too_large = adopted.capacity_bytes() > slot_bytes;
        let is_split = adopted.has_been_paged_out()
            && slot_bytes >= HUGE_PAGE_BYTES
            && *self.has_huge_pages.get_or_init(has_huge_pages);
        if is_too_large || is_split {
            // Without memory for the copy, the slot serves as it is.
            if let Ok(copy) = ChunkBuf::copy_of(&self.arena, &adopted) {
                watch.counters.copied_bytes.add(copy.len());
                return copy;
            }
        }
        watch.counters.adopted_count.add(1);
        adopted
    }

    /// Pages `bytes` out, looks, and tries again what stayed.
    fn push_out(&self, watch: &Watch, bytes: &[u8]) -> Outcome {
        let len_bytes = bytes.len();
        let Plan::Try { retry_count } = self.patience.plan(self.retry_count) else {
            watch.counters.left_alone_count.add(1);
            return Outcome::of(Residency {
                resident_bytes: len_bytes,
                swapped_bytes: 0,
            });
        };
        let mut seen = None;
        for attempt in 0..=retry_count {
            watch.counters.hint_count.add(1);
            watch.counters.retry_count.add(usize::from(attempt > 0));
            let hinted = advise(bytes, Hint::PageOut, Rounding::Outward);
            if hinted.is_err() {
                watch.counters.refused_count.add(1);
            }
            let Some(now) = watch.look(bytes) else {
                return Outcome::unseen(hinted.is_ok());
            };
            let before = seen.replace(now).map_or(len_bytes, stays);
            if hinted.is_err() || stays(now) == 0 || (attempt > 0 && stays(now) >= before) {
                break;
            }
        }
        let outcome = Outcome::of(seen.unwrap_or_default());
        self.patience.learn(outcome.left);
        outcome
    }

    /// Begins to read `range` from swap unless that has begun, maps it and waits.
    fn bring_back(&self, watch: &Watch, parked: &Parked, range: Range<usize>) -> Result<()> {
        let bytes = &parked.bytes[range];
        if !parked.prefetched.load(Ordering::Relaxed) {
            will_need(bytes);
        }
        self.populate(bytes)?;
        parked.came_back(watch, pages_bytes(bytes));
        Ok(())
    }

    /// Maps the pages of `bytes`, reading what is on swap.
    fn populate(&self, bytes: &[u8]) -> Result<()> {
        if !self.populates() {
            return Ok(()); // The copy touches every page.
        }
        match advise(bytes, Hint::PopulateRead, Rounding::Outward) {
            Ok(()) => Ok(()),
            Err(error) => self.judge(error, bytes.len()),
        }
    }

    /// Whether the bytes can be touched although populating failed.
    fn judge(&self, error: io::Error, len_bytes: usize) -> Result<()> {
        match error.kind() {
            // An old kernel says the first, a sandbox any of them; the kernel itself
            // has no other reason for them here.
            io::ErrorKind::InvalidInput
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported => {
                self.cannot_populate.store(true, Ordering::Relaxed);
                Ok(())
            }
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(()),
            _ => Err(Error::from_io(
                NAME,
                "read from swap",
                None,
                len_bytes as u64,
                error,
            )),
        }
    }
}

fn stays(seen: Residency) -> usize {
    seen.resident_bytes
}

/// Begins to read `bytes` from swap, if they are more than a page: one page is
/// read by mapping it.
fn will_need(bytes: &[u8]) {
    if Span::of(bytes).pages(Rounding::Outward).len() > 1 {
        // A hint that is refused changes nothing.
        let _ = advise(bytes, Hint::WillNeed, Rounding::Outward);
    }
}

/// Moves the chunk out if it is the only one, and in an arena already.
fn adopt(payload: &mut Payload<'_>) -> Option<ChunkBuf<u8>> {
    let is_single = payload.chunks().filter(|chunk| !chunk.is_empty()).count() == 1;
    if !is_single || !payload.is_all(ChunkKind::Buf) {
        return None;
    }
    let mut adopted = None;
    for chunk in payload.take_chunks() {
        if let OwnedChunk::Buf(buf) = chunk {
            adopted = Some(buf);
        }
    }
    adopted
}

#[cfg(test)]
#[path = "arena_mode_tests.rs"]
mod tests;
