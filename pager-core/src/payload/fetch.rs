//! The way back before it is wanted: pieces are queued, fetched, and cancelled when
//! somebody reads them first.

use std::ops::Range;
use std::sync::Arc;

use super::chunks::OwnedChunk;
use super::entry::Entry;
use super::flight::Flight;
use super::memory::{Memory, Resident};
use super::pieces::{PiecePlace, Pieces};
use super::state::State;
use crate::backend::{Backend, ChunkKind};
use crate::budget::{Charge, Kind};
use crate::error::Result;
use crate::memory::{HeapBuf, release_buf};
use crate::observe::{Operation, Watch};
use crate::sync::lock;

/// A payload of at most this size is fetched whole, whatever range was hinted.
const FETCH_WHOLE_BYTES: usize = 4 << 20;

/// A larger one is fetched in pieces of at most this size, cut at its multiples.
pub(super) const PIECE_BYTES: usize = 2 << 20;

impl<B: Backend> Entry<B> {
    /// Starts bringing `range` back, in the background where there is one and the
    /// budget has room for it; else the backend gets the hint.
    pub(crate) fn prefetch(self: &Arc<Self>, range: Range<usize>) {
        let can_fetch = |bytes: usize| self.engine().can_fetch(bytes);
        let whole = self.len_bytes <= FETCH_WHOLE_BYTES && can_fetch(self.len_bytes);
        let range = if whole { 0..self.len_bytes } else { range };
        if whole || can_fetch(range.len().min(PIECE_BYTES)) {
            self.queue_fetch(&range);
        } else {
            self.hint(range);
        }
    }

    /// Hints to the backend that `range` will be read soon.
    pub(super) fn hint(&self, range: Range<usize>) {
        if let Some(slot) = self.slot.get() {
            self.home.backend.prefetch(slot, range);
        }
    }

    /// Queues what of `range` is neither in memory nor on its way.
    pub(crate) fn queue_fetch(self: &Arc<Self>, range: &Range<usize>) {
        let mut state = lock(&self.state);
        let State::Stored(pieces) = &mut *state else {
            // Wanted soon: what is in memory should stay there until then.
            self.touch();
            return;
        };
        let gaps = pieces.gaps(range);
        if gaps.is_empty() {
            self.touch();
            return;
        }
        for piece in gaps.into_iter().flat_map(|gap| self.cut(gap)) {
            if let Some(turn) = self.engine().request_fetch(self.weak(), piece.clone()) {
                pieces.insert(piece, PiecePlace::Queued(turn));
            }
        }
        drop(state);
        self.engine().begin_fetches();
    }

    /// `gap` in pieces: a small payload is one.
    fn cut(&self, gap: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<B> {
        let step = if self.len_bytes <= FETCH_WHOLE_BYTES {
            usize::MAX
        } else {
            PIECE_BYTES
        };
        cut(gap, step)
    }

    /// Fetches the piece that is queued under `turn` into memory for which `charge` is
    /// the room; `buffer` may serve. `false` if nobody wants it any more.
    pub(super) fn bring_in(
        self: &Arc<Self>,
        turn: u64,
        charge: Charge,
        buffer: Option<HeapBuf>,
    ) -> bool {
        let Some(landing) = self.begin_fetch(turn) else {
            buffer.into_iter().for_each(release_buf);
            return false;
        };
        let watch = Watch::begin(self.about(Operation::Fetch, landing.range.len()));
        let fetched = self.fetch_from(&landing.range, buffer);
        watch.end(&fetched, None);
        match fetched {
            Ok(memory) => {
                let is_mapped = matches!(memory, Memory::Mapped);
                let range = landing.range.clone();
                let charge = charge.of_group(self.group.as_ref());
                let has_landed = landing.land(Resident::new(memory, charge));
                if has_landed && is_mapped {
                    self.keep_what_came_with(&range);
                }
                has_landed
            }
            Err(error) => {
                // The reader that wants it reads it, and learns the error first hand.
                let error = error.of_handle(self.id);
                self.engine().tally.failed(&error);
                false
            }
        }
    }

    /// Marks the piece that is queued under `turn` as coming.
    fn begin_fetch(self: &Arc<Self>, turn: u64) -> Option<Landing<B>> {
        let mut state = lock(&self.state);
        let State::Stored(pieces) = &mut *state else {
            return None;
        };
        let piece = pieces.queued(turn)?;
        let flight = Arc::new(Flight::default());
        piece.place = PiecePlace::Coming(Arc::clone(&flight));
        Some(Landing {
            entry: Arc::clone(self),
            range: piece.range.clone(),
            flight,
        })
    }

    /// Brings `range` into memory, as a copy or within the backend.
    fn fetch_from(&self, range: &Range<usize>, buffer: Option<HeapBuf>) -> Result<Memory> {
        let backend = &self.home.backend;
        let slot = self.slot()?;
        if let Some(in_place) = backend.in_place()
            && in_place.page_in(slot, range.clone())?
        {
            buffer.into_iter().for_each(release_buf);
            return Ok(Memory::Mapped);
        }
        let mut copy = match self.kind {
            // Part of a payload is never handed over, and an arena buffer can be read
            // into without a copy.
            ChunkKind::Vec if range.len() == self.len_bytes => {
                OwnedChunk::Vec(buffer.unwrap_or_else(|| HeapBuf::new(self.element)))
            }
            _ => {
                buffer.into_iter().for_each(release_buf);
                OwnedChunk::empty(ChunkKind::Buf, self.element)
            }
        };
        copy.append(range.len(), |window| {
            backend.read(slot, std::slice::from_ref(range), window)
        })?;
        Ok(Memory::of_chunk(copy))
    }

    /// Takes back what is queued of `pieces`.
    pub(super) fn cancel(&self, pieces: &mut Pieces) {
        for turn in pieces.cancel_within(std::slice::from_ref(&(0..self.len_bytes))) {
            self.engine().cancel_fetch(turn);
        }
    }
}

/// `range` in parts that end at multiples of `step` bytes.
pub(super) fn cut(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let end = (at / step).saturating_add(1).saturating_mul(step);
        let part = at..end.min(range.end);
        at = part.end;
        Some(part)
    })
}

/// A piece on its way. Ends, if only by a panic of the backend, with nobody waiting.
struct Landing<B: Backend> {
    entry: Arc<Entry<B>>,
    range: Range<usize>,
    flight: Arc<Flight>,
}

impl<B: Backend> Landing<B> {
    /// Puts what came in its place; `false` if the payload is gone.
    fn land(self, resident: Arc<Resident>) -> bool {
        let entry = &self.entry;
        let mut state = lock(&entry.state);
        let State::Stored(pieces) = &mut *state else {
            return false;
        };
        let Some(piece) = pieces.at(self.range.start) else {
            return false;
        };
        piece.place = PiecePlace::Here(Arc::clone(&resident));
        // Counted before anybody can use it.
        entry.engine().tally.fetches.add(1);
        debug_assert_eq!(resident.charge().kind(), Kind::ReadAhead);
        resident
            .charge()
            .list(entry.weak(), self.range.start, false);
        true
    }
}

impl<B: Backend> Drop for Landing<B> {
    fn drop(&mut self) {
        if let State::Stored(pieces) = &mut *lock(&self.entry.state)
            && let Some(piece) = pieces.at(self.range.start)
            && matches!(&piece.place,
                PiecePlace::Coming(flight) if Arc::ptr_eq(flight, &self.flight))
        {
            pieces.remove(self.range.start);
        }
        self.flight.land();
        self.entry.wakers.wake();
    }
}

#[cfg(all(test, not(pager_shuttle)))]
mod tests {
    use super::cut;

    #[test]
    fn a_range_is_cut_at_multiples_of_the_step() {
        let parts = |range, step| cut(range, step).collect::<Vec<_>>();
        assert_eq!(parts(3..25, 10), [3..10, 10..20, 20..25]);
        assert_eq!(parts(10..20, 10), std::slice::from_ref(&(10..20)));
        assert_eq!(parts(3..25, usize::MAX), std::slice::from_ref(&(3..25)));
        assert_eq!(parts(3..3, 10), []);
    }
}
