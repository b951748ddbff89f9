//! The way back of everything: the payload becomes the caller's again, moved where
//! that is possible and copied or read where it is not.
//!
//! The handle is gone, so nobody but the background knows of the payload. A take
//! takes the state out, works on it without a lock, and puts it back if it fails.

use std::sync::Arc;

use super::chunks::OwnedChunk;
use super::entry::Entry;
use super::flight::Flight;
use super::memory::{Memory, Resident};
use super::pieces::{Coverage, Held, PiecePlace, Pieces};
use super::state::State;
use crate::backend::{Backend, ChunkKind};
use crate::error::{Error, Result};
use crate::memory::Destination;
use crate::sync::lock;

/// What a take finds.
enum Found {
    /// In memory only.
    Dirty(Arc<Resident>),
    /// Stored; what is in memory, if that is all of it.
    Stored(Pieces, Option<Held>),
    /// To be waited for.
    Coming(Arc<Flight>),
}

impl<B: Backend> Entry<B> {
    /// Moves or copies the payload into `dst`, which is empty, and frees it.
    ///
    /// On failure the payload is where it was.
    pub(crate) fn take_into<D: Destination>(self: &mut Arc<Self>, dst: &mut D) -> Result<()> {
        loop {
            match self.take_out()? {
                Found::Coming(flight) => {
                    self.engine().tally.read_stalls.time(|| flight.wait());
                }
                Found::Dirty(resident) => return self.take_dirty(resident, dst),
                Found::Stored(pieces, held) => return self.take_stored(pieces, held, dst),
            }
        }
    }

    /// Takes the state out, unless all of the payload is about to be in memory.
    fn take_out(&self) -> Result<Found> {
        let mut state = lock(&self.state);
        let held = match &*state {
            State::Leaving(flight) => return Ok(Found::Coming(Arc::clone(flight))),
            State::Stored(pieces) if self.len_bytes > 0 => {
                match pieces.cover(std::slice::from_ref(&(0..self.len_bytes))) {
                    Coverage::Coming(flight) => return Ok(Found::Coming(flight)),
                    Coverage::Here(held) => Some(held),
                    Coverage::Partly | Coverage::Missing => None,
                }
            }
            _ => None,
        };
        match state.leave() {
            State::Dirty(resident) => Ok(Found::Dirty(resident)),
            State::Stored(mut pieces) => {
                drop(state);
                self.cancel(&mut pieces);
                Ok(Found::Stored(pieces, held))
            }
            State::Leaving(_) | State::Gone => Err(self.gone()),
        }
    }

    fn take_dirty<D: Destination>(
        self: &Arc<Self>,
        resident: Arc<Resident>,
        dst: &mut D,
    ) -> Result<()> {
        // A copy is sooner made than a write ends that is under way, which then frees
        // what it has stored.
        let was_alone = Arc::strong_count(&resident) == 1;
        if let Err((error, resident)) = self.hand_over(resident, dst) {
            let owner = self.weak();
            let mut state = lock(&self.state);
            resident.charge().list(owner, 0, false);
            *state = State::Dirty(resident);
            return Err(error);
        }
        if was_alone {
            self.count_elided();
        }
        Ok(())
    }

    /// Makes `dst` become what `resident` holds, all of the payload: by moving it if
    /// nobody else uses it and it is one chunk of the right kind.
    fn hand_over<D: Destination>(
        &self,
        resident: Arc<Resident>,
        dst: &mut D,
    ) -> Result<(), (Error, Arc<Resident>)> {
        let resident = match resident.into_parts() {
            Ok((memory, charge)) => match adopt(memory, dst) {
                Ok(old) => {
                    // In this order: there is room for the one where the other was.
                    drop(charge);
                    self.engine().keep_spare(old);
                    return Ok(());
                }
                Err(memory) => Resident::new(memory, charge),
            },
            Err(shared) => shared,
        };
        let whole = 0..self.len_bytes;
        let copied = dst.append(self.len_bytes, |window| {
            resident.memory().copy(&whole, window);
            Ok(())
        });
        copied.map_err(|error| (error, resident))
    }

    /// Takes a stored payload: from memory if it is there, else from the backend.
    fn take_stored<D: Destination>(
        self: &mut Arc<Self>,
        pieces: Pieces,
        held: Option<Held>,
        dst: &mut D,
    ) -> Result<()> {
        let unused_count = pieces.unused_count();
        let is_hit = held.is_some();
        let taken = match held {
            Some(held) if !held.is_mapped() => self.take_held(held, pieces, dst),
            held => self.take_from_backend(pieces, held, dst),
        };
        if let Err((error, pieces)) = taken {
            let mut state = lock(&self.state);
            // Somebody may have looked for them in vain meanwhile.
            pieces.list_all(&self.weak());
            *state = State::Stored(pieces);
            return Err(error);
        }
        let engine = self.engine();
        engine.tally.cache_hits.add(usize::from(is_hit));
        if is_hit {
            engine.tally.prefetch_hits.add(unused_count);
        } else {
            engine.tally.prefetch_waste.add(unused_count);
        }
        if !is_hit || unused_count > 0 {
            engine.read_ahead_ages();
        }
        Ok(())
    }

    /// Takes from memory.
    fn take_held<D: Destination>(
        &self,
        held: Held,
        mut pieces: Pieces,
        dst: &mut D,
    ) -> Result<(), (Error, Pieces)> {
        let whole = 0..self.len_bytes;
        if held.is_single() {
            drop(held);
            if let Some(resident) = pieces.remove_here(0) {
                return self.hand_over(resident, dst).map_err(|(error, resident)| {
                    pieces.insert(whole, PiecePlace::Here(resident));
                    (error, pieces)
                });
            }
            return Err((self.gone(), pieces));
        }
        let copied = dst.append(self.len_bytes, |window| {
            held.copy(&whole, window);
            Ok(())
        });
        copied.map_err(|error| (error, pieces))
    }

    /// Takes from the backend, whatever part of it is in memory; `held` if all of it is,
    /// in memory of the backend's own.
    fn take_from_backend<D: Destination>(
        self: &mut Arc<Self>,
        pieces: Pieces,
        held: Option<Held>,
        dst: &mut D,
    ) -> Result<(), (Error, Pieces)> {
        if self.home.backend.in_place().is_some() {
            return self.take_in_place(pieces, held, dst);
        }
        let read = match self.len_bytes {
            0 => Ok(()),
            len => dst.append(len, |window| self.read_all(window)),
        };
        read.map_err(|error| (error, pieces))
    }

    /// Takes from a backend that keeps payloads in memory of its own: that very memory,
    /// if it can be given away.
    fn take_in_place<D: Destination>(
        self: &mut Arc<Self>,
        pieces: Pieces,
        held: Option<Held>,
        dst: &mut D,
    ) -> Result<(), (Error, Pieces)> {
        // What was in memory stays there, and is about to be the caller's.
        let is_mapped = held.is_some();
        drop((pieces, held));
        let taken = match self.detach(D::KIND) {
            Some(chunk) => self.take_detached(chunk, dst),
            None if self.len_bytes == 0 => Ok(()),
            None => dst.append(self.len_bytes, |window| {
                let whole = 0..self.len_bytes;
                if is_mapped {
                    let slot = self.slot()?;
                    self.home
                        .backend
                        .read(slot, std::slice::from_ref(&whole), window)
                } else {
                    self.read_all(window)
                }
            }),
        };
        taken.map_err(|error| {
            if let (Some(in_place), Some(slot)) = (self.home.backend.in_place(), self.slot.get()) {
                in_place.release(slot, 0..self.len_bytes, 0..self.len_bytes);
            }
            (error, Pieces::default())
        })
    }

    /// The very memory that the payload lives in, if the backend can give that away and
    /// nobody else uses it.
    fn detach(self: &mut Arc<Self>, wants: ChunkKind) -> Option<OwnedChunk> {
        let entry = Arc::get_mut(self)?;
        let slot = entry.slot.take()?;
        let in_place = entry.home.backend.in_place()?;
        match in_place.detach(*slot, wants) {
            Ok(chunk) => Some(chunk),
            Err(slot) => {
                self.remember(slot);
                None
            }
        }
    }

    /// Makes `dst` become a chunk that the backend has given away.
    ///
    /// # Errors
    ///
    /// If it is not what was stored: the payload is lost then, and the backend to
    /// blame.
    fn take_detached<D: Destination>(&self, chunk: OwnedChunk, dst: &mut D) -> Result<()> {
        if chunk.bytes().len() != self.len_bytes {
            return Err(self.gone());
        }
        let memory = match adopt(Memory::of_chunk(chunk), dst) {
            Ok(old) => {
                self.engine().keep_spare(old);
                return Ok(());
            }
            Err(memory) => memory,
        };
        dst.append(self.len_bytes, |window| {
            memory.copy(&(0..self.len_bytes), window);
            Ok(())
        })
    }
}

/// Makes `dst` become `memory`, if it is one chunk of the right kind, and returns its old
/// buffer.
fn adopt<D: Destination>(memory: Memory, dst: &mut D) -> Result<OwnedChunk, Memory> {
    dst.adopt(memory.into_chunk()?).map_err(Memory::of_chunk)
}
