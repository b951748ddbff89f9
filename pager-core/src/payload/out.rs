//! The way out: a payload is written, and its copy leaves memory.

use std::sync::Arc;

use super::chunks::OwnedChunk;
use super::entry::Entry;
use super::flight::Flight;
use super::joined::Payload;
use super::memory::{Memory, Resident};
use super::pieces::{Piece, PiecePlace, Pieces};
use super::state::State;
use crate::backend::{Backend, ChunkKind};
use crate::budget::{Charge, Evicted, Kind, Outcome};
use crate::error::Result;
use crate::sync::lock;

impl<B: Backend> Entry<B> {
    /// Stores a dirty payload, and keeps it in memory as a clean copy unless the
    /// backend takes the memory itself.
    pub(super) fn write_out(self: Arc<Self>) -> Outcome {
        match self.begin_giving() {
            Ok(Some(giving)) => giving.give(),
            Ok(None) => self.write_and_keep(),
            Err(outcome) => outcome,
        }
    }

    /// Takes the only arena buffer of a dirty payload out, for a backend that keeps
    /// such buffers as they are; nothing if it is to be written as others are.
    fn begin_giving(self: &Arc<Self>) -> Result<Option<Giving<B>>, Outcome> {
        let adopts = self
            .home
            .backend
            .in_place()
            .is_some_and(|in_place| in_place.adopts());
        if self.kind != ChunkKind::Buf || !adopts {
            return Ok(None);
        }
        let mut state = lock(&self.state);
        if matches!(&*state, State::Dirty(resident) if resident.is_pinned()) {
            // Somebody looks at it: a copy leaves.
            return Ok(None);
        }
        let State::Dirty(resident) = state.leave() else {
            return Err(Outcome::Nothing);
        };
        let (memory, charge) = match resident.into_parts() {
            Ok(parts) => parts,
            Err(shared) => {
                *state = State::Dirty(shared);
                return Err(Outcome::Busy);
            }
        };
        match memory.into_chunk() {
            Ok(chunk) => {
                let flight = Arc::new(Flight::default());
                *state = State::Leaving(Arc::clone(&flight));
                Ok(Some(Giving {
                    entry: Arc::clone(self),
                    flight,
                    charge: Some(charge),
                    chunk: [chunk],
                }))
            }
            Err(memory) => {
                *state = State::Dirty(Resident::new(memory, charge));
                Ok(None)
            }
        }
    }

    /// Writes a resident payload while others may go on reading it, and keeps it
    /// in memory as a clean copy.
    fn write_and_keep(self: &Arc<Self>) -> Outcome {
        let resident = match &*lock(&self.state) {
            State::Dirty(resident) => Arc::clone(resident),
            _ => return Outcome::Nothing,
        };
        let slot = match self.store(&mut resident.memory().payload(self.element)) {
            Ok(slot) => slot,
            Err(error) => return Outcome::Failed(error),
        };
        let mut state = lock(&self.state);
        let is_wanted = matches!(&*state, State::Dirty(dirty) if Arc::ptr_eq(dirty, &resident));
        if is_wanted {
            self.remember(slot);
            if resident.memory().is_shared() {
                // Somebody waits for it to be let go.
                *state = State::Stored(Pieces::default());
            } else {
                *state = State::Stored(Pieces::whole(self.len_bytes, Arc::clone(&resident)));
                resident.charge().turn(Kind::Clean, self.weak(), 0);
            }
            drop(state);
        } else {
            // Taken since the write began.
            drop(state);
            self.home.backend.free(slot);
        }
        if !is_wanted || self.is_abandoned() {
            self.engine().tally.cancelled_writes.add(1);
        }
        if is_wanted {
            Outcome::Written
        } else {
            Outcome::Nothing
        }
    }

    /// Has the backend store `payload`, and counts that.
    fn store(&self, payload: &mut Payload<'_>) -> Result<B::Slot> {
        let bytes = payload.len_bytes();
        let tally = &self.engine().tally;
        let under_way = tally.writing_bytes.hold(bytes);
        let stored = self.home.write(payload, Some(self.id));
        drop(under_way);
        let slot = stored?;
        tally.written(bytes);
        Ok(slot)
    }

    /// Drops the copy of this kind that begins at byte `start` from memory.
    pub(super) fn drop_copy(&self, kind: Kind, start: usize) -> Evicted {
        let mut state = lock(&self.state);
        let State::Stored(pieces) = &mut *state else {
            return Evicted::Nothing;
        };
        let range = match pieces.at(start) {
            Some(Piece {
                range,
                place: PiecePlace::Here(resident),
            }) if resident.charge().kind() == kind => {
                if resident.is_pinned() {
                    return Evicted::Pinned;
                }
                if Arc::strong_count(resident) > 1 {
                    return Evicted::Busy;
                }
                range.clone()
            }
            _ => return Evicted::Nothing,
        };
        let Some(resident) = pieces.remove_here(start) else {
            return Evicted::Nothing;
        };
        let around = pieces.around(&range, self.len_bytes);
        drop(state);
        let tally = &self.engine().tally;
        tally.clean_evictions.add(1);
        tally
            .prefetch_waste
            .add(usize::from(kind == Kind::ReadAhead));
        if resident.memory().is_mapped()
            && let Some(in_place) = self.home.backend.in_place()
            && let Some(slot) = self.slot.get()
        {
            in_place.release(slot, range, around);
        }
        match resident.into_parts() {
            Ok((memory, charge)) => Evicted::Freed(memory, charge),
            // Nobody can have found it since it was removed; if somebody did, both go
            // with the last who has it.
            Err(_) => Evicted::Nothing,
        }
    }
}

/// An arena buffer on its way into a backend that keeps it as it is. Ends, if only by
/// a panic of the backend, with the payload where its bytes are.
struct Giving<B: Backend> {
    entry: Arc<Entry<B>>,
    flight: Arc<Flight>,
    charge: Option<Charge>,
    chunk: [OwnedChunk; 1],
}

impl<B: Backend> Giving<B> {
    fn give(mut self) -> Outcome {
        match self
            .entry
            .store(&mut Payload::new(&mut self.chunk).of_elements(self.entry.element))
        {
            Ok(slot) => self.entry.remember(slot),
            Err(error) => return Outcome::Failed(error),
        }
        *lock(&self.entry.state) = State::Stored(Pieces::default());
        self.charge = None;
        if self.entry.is_abandoned() {
            self.entry.engine().tally.cancelled_writes.add(1);
        }
        Outcome::Written
    }
}

impl<B: Backend> Drop for Giving<B> {
    fn drop(&mut self) {
        if let Some(charge) = self.charge.take() {
            let chunk = std::mem::replace(
                &mut self.chunk[0],
                OwnedChunk::empty(ChunkKind::Vec, self.entry.element),
            );
            let resident = Resident::new(Memory::of_chunk(chunk), charge);
            *lock(&self.entry.state) = State::Dirty(resident);
        }
        self.flight.land();
        self.entry.wakers.wake();
    }
}
