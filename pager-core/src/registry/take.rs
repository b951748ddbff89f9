//! The way back: the payload becomes the caller's again, moved where that is
//! possible and copied or read where it is not.

use super::Shared;
use super::counters::Count;
use super::entry::Entry;
use super::state::State;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::memory::Destination;
use crate::payload::OwnedChunk;
use crate::residency::Share;
use crate::sync::{Ordering, try_read, try_write, write};

impl<B: Backend> Entry<B> {
    /// Moves or copies the payload into `dst`, which is empty, and frees it.
    ///
    /// On failure the payload is where it was.
    pub(super) fn take_into<D: Destination>(&self, dst: &mut D) -> Result<()> {
        let mut state = match try_write(&self.state) {
            Some(state) => state,
            None if self.copy_while_written(dst)? => return Ok(()),
            None => write(&self.state),
        };
        let share = self.share(&state);
        let is_hit = match &*state {
            State::Resident(_) => {
                self.take_resident(&mut state, dst)?;
                false
            }
            State::Cached { copy, range, .. } if *range == (0..self.len) => {
                if copy.is_some() {
                    self.take_cached(&mut state, dst)?;
                } else {
                    self.take_stored(&mut state, dst)?;
                }
                true
            }
            State::Stored(_) | State::Cached { .. } => {
                self.take_stored(&mut state, dst)?;
                false
            }
            State::Gone => return Err(Error::ForeignProcess),
        };
        let was_unused = self.unused_fetch.swap(false, Ordering::Relaxed);
        drop(state);
        self.tally(|engine| {
            match share {
                Share::Clean(0) => engine.missed(),
                _ if is_hit => engine.tally.cache_hits.add(1),
                _ => {}
            }
            match (was_unused, is_hit) {
                (true, true) => engine.tally.prefetch_hits.add(1),
                (true, false) => engine.tally.prefetch_waste.add(1),
                (false, _) => {}
            }
            engine.release(share);
        });
        Ok(())
    }

    /// Copies the payload if it is being written: that is sooner done than the
    /// write, which then frees what it has stored.
    fn copy_while_written<D: Destination>(&self, dst: &mut D) -> Result<bool> {
        match try_read(&self.state) {
            Some(state) if matches!(*state, State::Resident(_)) => {
                self.copy_all(&state, dst)?;
                self.tally(|engine| engine.tally.cancelled_writes.add(1));
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn take_resident<D: Destination>(&self, state: &mut State<B::Slot>, dst: &mut D) -> Result<()> {
        if let State::Resident(chunks) = state
            && let [chunk] = &mut chunks[..]
            && self.hand_over(chunk, dst)
        {
            state.leave();
        } else {
            self.copy_all(state, dst)?;
            if let State::Resident(chunks) = state.leave() {
                self.tally(|engine| engine.keep_spares(Some(chunks)));
            }
        }
        self.count_elided();
        Ok(())
    }

    fn take_cached<D: Destination>(&self, state: &mut State<B::Slot>, dst: &mut D) -> Result<()> {
        let moved = match state {
            State::Cached {
                copy: Some(copy), ..
            } if copy.len() == 1 => self.hand_over(&mut copy[0], dst),
            _ => false,
        };
        if !moved {
            self.copy_all(state, dst)?;
        }
        if let State::Cached { slot, copy, .. } = state.leave() {
            self.shared.backend.free(slot);
            self.tally(|engine| engine.keep_spares(copy));
        }
        Ok(())
    }

    /// Takes from the backend, whatever part of it is cached.
    fn take_stored<D: Destination>(&self, state: &mut State<B::Slot>, dst: &mut D) -> Result<()> {
        let backend = &self.shared.backend;
        if self.detach(state, dst)? {
            return Ok(());
        }
        // The slot stays where it is until nothing can fail any more.
        if let State::Stored(slot) | State::Cached { slot, .. } = &*state
            && self.len > 0
        {
            let whole = 0..self.len;
            dst.append(self.len, |window| {
                backend.read(slot, std::slice::from_ref(&whole), window)
            })?;
        }
        if let State::Stored(slot) | State::Cached { slot, .. } = state.leave() {
            backend.free(slot);
        }
        Ok(())
    }

    /// Takes the very memory that the payload lives in, if the backend can.
    fn detach<D: Destination>(&self, state: &mut State<B::Slot>, dst: &mut D) -> Result<bool> {
        let (slot, cached) = match state.leave() {
            State::Stored(slot) => (slot, None),
            State::Cached { slot, copy, range } => (slot, Some((copy, range))),
            State::Resident(_) | State::Gone => return Err(Error::ForeignProcess),
        };
        match self.shared.backend.detach(slot, D::KIND) {
            Ok(mut chunk) => {
                let adopted = self.hand_over(&mut chunk, dst);
                debug_assert!(
                    adopted,
                    "a backend detaches the kind of chunk that is wanted"
                );
                Ok(true)
            }
            Err(slot) => {
                *state = match cached {
                    Some((copy, range)) => State::Cached { slot, copy, range },
                    None => State::Stored(slot),
                };
                Ok(false)
            }
        }
    }

    fn copy_all<D: Destination>(&self, state: &State<B::Slot>, dst: &mut D) -> Result<()> {
        dst.append(self.len, |window| {
            state.copy(&(0..self.len), window);
            Ok(())
        })
    }

    /// Makes `dst` become `chunk` and keeps its old buffer for reuse; `false` if
    /// the two are of different kinds, and nothing has changed.
    fn hand_over<D: Destination>(&self, chunk: &mut OwnedChunk, dst: &mut D) -> bool {
        match dst.adopt(std::mem::replace(chunk, OwnedChunk::Vec(Vec::new()))) {
            Ok(old) => {
                self.tally(|engine| engine.keep_spare(old));
                true
            }
            Err(refused) => {
                *chunk = refused;
                false
            }
        }
    }
}

impl<B: Backend> Shared<B> {
    /// Counts a read or a take that has ended.
    pub(super) fn count_read(&self, outcome: &Result<()>, kind: Count, words: usize) {
        let bytes = match kind {
            Count::Takes => Count::TakenBytes,
            _ => Count::ReadBytes,
        };
        match outcome {
            Ok(()) => {
                self.counters.add(kind, 1);
                self.counters.add(bytes, words * size_of::<u64>());
            }
            Err(_) => self.counters.add(Count::FailedReads, 1),
        }
    }
}
