//! The way back of ranges: copied from memory, or read from the backend.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::entry::Entry;
use super::fetch::{PIECE_BYTES, cut};
use super::flight::Flight;
use super::memory::{Memory, Resident};
use super::pieces::{Coverage, Held, PiecePlace};
use super::state::State;
use crate::backend::Backend;
use crate::budget::Kind;
use crate::error::Result;
use crate::memory::{Destination, PAGE_BYTES, Window};
use crate::sync::lock;

/// Where a read finds its bytes.
enum Source {
    /// In memory, which cannot leave meanwhile; that of the backend's own is read
    /// through it.
    Memory(Held),
    /// On the backend.
    Backend,
    /// Some in memory or on its way there, and some not.
    Parts,
    /// It will be in memory when this has landed.
    Coming(Arc<Flight>),
}

impl<B: Backend> Entry<B> {
    /// Appends `len_bytes` bytes, those of `ranges`, to `dst`.
    pub(crate) fn read_into<D: Destination>(
        self: &Arc<Self>,
        ranges: &[Range<usize>],
        len_bytes: usize,
        dst: &mut D,
    ) -> Result<()> {
        let source = self.find(ranges)?;
        dst.append(len_bytes, |window| self.fill_from(source, ranges, window))
    }

    /// Fills `window` with `ranges`.
    pub(super) fn fill_window(
        self: &Arc<Self>,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        self.fill_from(self.find(ranges)?, ranges, window)
    }

    /// The same from where they were found, part by part if they are in several places.
    fn fill_from(
        self: &Arc<Self>,
        source: Source,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        match source {
            Source::Parts => parts(ranges).try_for_each(|part| {
                let part = std::slice::from_ref(&part);
                self.fill(self.find(part)?, part, window)
            }),
            source => self.fill(source, ranges, window),
        }
    }

    /// Fills `window` with `ranges`, which were found at `source`.
    fn fill(
        self: &Arc<Self>,
        source: Source,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        match source {
            Source::Memory(held) if !held.is_mapped() => {
                ranges.iter().for_each(|range| held.copy(range, window));
                Ok(())
            }
            Source::Memory(_held) => self.home.backend.read(self.slot()?, ranges, window),
            Source::Backend | Source::Parts if self.reads_stay() => {
                parts(ranges).try_for_each(|part| self.read_in_place(&part, window))
            }
            Source::Backend | Source::Parts => self.home.backend.read(self.slot()?, ranges, window),
            Source::Coming(flight) => {
                self.engine().tally.read_stalls.time(|| flight.wait());
                self.fill(self.find(ranges)?, ranges, window)
            }
        }
    }

    /// Where `ranges` are. What is queued of them is not fetched any more.
    fn find(self: &Arc<Self>, ranges: &[Range<usize>]) -> Result<Source> {
        let mut state = lock(&self.state);
        let pieces = match &mut *state {
            State::Dirty(resident) => {
                self.touch();
                return Ok(Source::Memory(Held::whole(
                    self.len_bytes,
                    Arc::clone(resident),
                )));
            }
            State::Leaving(flight) => return Ok(Source::Coming(Arc::clone(flight))),
            State::Gone => return Err(self.gone()),
            State::Stored(pieces) => pieces,
        };
        match pieces.cover(ranges) {
            Coverage::Here(held) => {
                self.touch();
                self.count_hit(&held);
                Ok(Source::Memory(held))
            }
            Coverage::Coming(flight) => Ok(Source::Coming(flight)),
            Coverage::Partly if is_cut(ranges) => Ok(Source::Parts),
            Coverage::Partly | Coverage::Missing => {
                let cancelled = pieces.cancel_within(ranges);
                drop(state);
                if !cancelled.is_empty() {
                    self.wakers.wake();
                }
                for turn in cancelled {
                    self.engine().cancel_fetch(turn);
                }
                self.engine().read_ahead_ages();
                Ok(Source::Backend)
            }
        }
    }

    /// Counts a read that found in memory what is also stored. What was fetched
    /// has served its purpose then, and is a clean copy as any other.
    pub(super) fn count_hit(self: &Arc<Self>, held: &Held) {
        let engine = self.engine();
        engine.tally.cache_hits.add(1);
        let mut was_ahead = false;
        for (start, resident) in held.residents() {
            if resident.charge().kind() == Kind::ReadAhead {
                was_ahead = true;
                engine.tally.prefetch_hits.add(1);
                resident.charge().turn(Kind::Clean, self.weak(), start);
            }
        }
        if was_ahead {
            engine.read_ahead_ages();
        }
    }

    /// Whether what a read brings back stays in memory of the backend's own.
    fn reads_stay(&self) -> bool {
        let in_place = self.home.backend.in_place();
        in_place.is_some_and(|in_place| in_place.reads_stay())
    }

    /// Reads `part`, at most a piece, from a backend in whose memory it stays: as a
    /// clean copy if the budget has room for it, and if not it is let go at once.
    fn read_in_place(self: &Arc<Self>, part: &Range<usize>, window: &mut Window<'_>) -> Result<()> {
        let engine = self.engine();
        let pages = part.start - part.start % PAGE_BYTES
            ..part.end.next_multiple_of(PAGE_BYTES).min(self.len_bytes);
        let charge = engine.room_for_copy(pages.len());
        let transfer = match charge {
            Some(_) => None,
            None => Some(engine.transfer_memory().hold(pages.len())),
        };
        let backend = &self.home.backend;
        let read = backend.read(self.slot()?, std::slice::from_ref(part), window);
        let is_kept = read.is_ok()
            && charge.is_some_and(|charge| {
                let charge = charge.of_group(self.group.as_ref());
                let resident = Resident::new(Memory::Mapped, charge);
                self.keep_mapped(pages.clone(), &resident)
            });
        if is_kept {
            self.keep_what_came_with(&pages);
        } else {
            self.let_go(&pages);
        }
        drop(transfer);
        read
    }

    /// What came back with `pages` into a backend's own memory is kept where there is room to
    /// spare, and let go where there is none: the budget counts what is there.
    pub(super) fn keep_what_came_with(self: &Arc<Self>, pages: &Range<usize>) {
        let (Some(in_place), Some(slot)) = (self.home.backend.in_place(), self.slot.get()) else {
            return;
        };
        let all = in_place.came_with(slot, pages.clone());
        if all == *pages {
            return;
        }
        let gaps = match &*lock(&self.state) {
            State::Stored(pieces) => pieces.unheld(&all),
            _ => return,
        };
        for gap in gaps {
            let charge = self.engine().room_to_spare(gap.len());
            let is_kept = charge.is_some_and(|charge| {
                let charge = charge.of_group(self.group.as_ref());
                self.keep_mapped(gap.clone(), &Resident::new(Memory::Mapped, charge))
            });
            if !is_kept {
                self.let_go(&gap);
            }
        }
    }

    /// Lists what a read has mapped as a clean copy, if nobody else has meanwhile.
    fn keep_mapped(self: &Arc<Self>, pages: Range<usize>, resident: &Arc<Resident>) -> bool {
        let mut state = lock(&self.state);
        let State::Stored(pieces) = &mut *state else {
            return false;
        };
        if pieces.gaps(&pages)[..] != [pages.clone()] {
            return false;
        }
        let start = pages.start;
        pieces.insert(pages, PiecePlace::Here(Arc::clone(resident)));
        resident.charge().list(self.weak(), start, false);
        true
    }

    /// Lets go what of `pages` no piece holds.
    fn let_go(&self, pages: &Range<usize>) {
        let gaps: SmallVec<[_; 1]> = match &*lock(&self.state) {
            State::Stored(pieces) => {
                let gaps = pieces.unheld(pages).into_iter();
                gaps.map(|gap| (pieces.around(&gap, self.len_bytes), gap))
                    .collect()
            }
            _ => return,
        };
        if let (Some(in_place), Some(slot)) = (self.home.backend.in_place(), self.slot.get()) {
            for (around, gap) in gaps {
                in_place.release(slot, gap, around);
            }
        }
    }

    /// Reads everything into `window`, of which nothing is needed in memory afterwards;
    /// where it would stay there, piece by piece.
    pub(super) fn read_all(self: &Arc<Self>, window: &mut Window<'_>) -> Result<()> {
        let (backend, slot) = (&self.home.backend, self.slot()?);
        let Some(in_place) = backend.in_place().filter(|in_place| in_place.reads_stay()) else {
            return backend.read(slot, std::slice::from_ref(&(0..self.len_bytes)), window);
        };
        let transfers = self.engine().transfer_memory();
        for part in cut(0..self.len_bytes, PIECE_BYTES) {
            let charge = transfers.hold(part.len());
            backend.read(slot, std::slice::from_ref(&part), window)?;
            if self.len_bytes > PIECE_BYTES {
                in_place.release(slot, part.clone(), 0..part.end);
            }
            drop(charge);
        }
        Ok(())
    }
}

/// What can be found one by one of `ranges`, in order.
fn parts(ranges: &[Range<usize>]) -> impl Iterator<Item = Range<usize>> {
    ranges
        .iter()
        .flat_map(|range| cut(range.clone(), PIECE_BYTES))
}

/// Whether a read of `ranges` has more than one such part.
fn is_cut(ranges: &[Range<usize>]) -> bool {
    !matches!(ranges, [only] if only.len() <= PIECE_BYTES)
}
