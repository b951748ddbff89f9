//! What happens to a payload in the background: it is written, its copy leaves
//! memory, or it is fetched and comes back.

use std::ops::Range;
use std::sync::Arc;

use smallvec::smallvec;

use super::entry::Entry;
use super::state::{Chunks, State};
use crate::backend::{Backend, ChunkKind};
use crate::error::Result;
use crate::memory::ChunkBuf;
use crate::payload::{OwnedChunk, Payload};
use crate::residency::{Outcome, Pageable, Share};
use crate::sync::{Ordering, try_read, try_write, write};

impl<B: Backend> Entry<B> {
    /// Brings `range` into memory, as a copy or within the backend.
    fn fetch_from(&self, slot: &B::Slot, range: &Range<usize>) -> Result<Option<Chunks>> {
        let backend = &self.shared.backend;
        if backend.page_in(slot, range.clone())? {
            return Ok(None);
        }
        let mut copy = self.fetch_buffer(range.len());
        copy.append(range.len(), |window| {
            backend.read(slot, std::slice::from_ref(range), window)
        })?;
        Ok(Some(smallvec![copy]))
    }

    /// A buffer to fetch into.
    fn fetch_buffer(&self, words: usize) -> OwnedChunk {
        match self.kind {
            ChunkKind::Vec => {
                let spare = self.shared.engine().and_then(|engine| engine.spare(words));
                OwnedChunk::Vec(spare.unwrap_or_default())
            }
            ChunkKind::Buf => OwnedChunk::Buf(ChunkBuf::new()),
        }
    }

    /// Hands a payload in one arena buffer to a backend that keeps such buffers
    /// as they are; `None` if it is to be written as others are.
    fn give_away(&self) -> Option<Outcome> {
        if self.kind != ChunkKind::Buf || !self.shared.backend.capabilities().adopts {
            return None;
        }
        let mut state = try_write(&self.state)?;
        let State::Resident(chunks) = &mut *state else {
            return None;
        };
        if chunks.len() > 1 {
            return None;
        }
        // Before the backend takes the words away.
        let bytes = self.len * size_of::<u64>();
        let stored = self.store(&mut Payload::new(&mut chunks[..]));
        match stored {
            Ok(slot) => {
                *state = State::Stored(slot);
                drop(state);
                self.tally(|engine| engine.release(Share::Dirty(bytes)));
                Some(Outcome::Freed)
            }
            Err(error) => Some(Outcome::Failed(error)),
        }
    }

    /// Writes a resident payload while others may go on reading it, and keeps it
    /// in memory as a clean copy.
    fn write_and_keep(&self) -> Outcome {
        let Some(state) = try_read(&self.state) else {
            return Outcome::Busy;
        };
        let State::Resident(chunks) = &*state else {
            return Outcome::Nothing;
        };
        let bytes = state.memory_bytes();
        let stored = self.store(&mut Payload::shared(chunks));
        drop(state);
        let slot = match stored {
            Ok(slot) => slot,
            Err(error) => return Outcome::Failed(error),
        };
        let mut state = write(&self.state);
        match state.leave() {
            State::Resident(chunks) => {
                *state = State::Cached {
                    slot,
                    copy: Some(chunks),
                    range: 0..self.len,
                };
                drop(state);
                if self.abandoned.load(Ordering::Relaxed) {
                    self.tally(|engine| engine.tally.cancelled_writes.add(1));
                }
                self.tally(|engine| engine.cleaned(bytes));
                Outcome::Kept
            }
            // Taken between the write and here: what was stored is not wanted.
            left => {
                *state = left;
                drop(state);
                self.shared.backend.free(slot);
                self.tally(|engine| engine.tally.cancelled_writes.add(1));
                Outcome::Nothing
            }
        }
    }

    /// Has the backend store `payload`, and counts that.
    fn store(&self, payload: &mut Payload<'_>) -> Result<B::Slot> {
        let bytes = payload.len_bytes();
        let engine = self.shared.engine();
        let under_way = engine.map(|engine| engine.tally.writing_bytes.hold(bytes));
        let slot = self.shared.backend.page_out(payload)?;
        drop(under_way);
        self.tally(|engine| engine.tally.written(bytes));
        Ok(slot)
    }
}

impl<B: Backend> Pageable for Entry<B> {
    fn is_wanted(&self) -> bool {
        // Looked at before it is swapped: most have not been touched, and a load
        // leaves their cache line shared.
        self.touched.load(Ordering::Relaxed) && self.touched.swap(false, Ordering::Relaxed)
    }

    fn is_unused(&self) -> bool {
        self.unused_fetch.load(Ordering::Relaxed)
    }

    fn write(self: Arc<Self>) -> Outcome {
        self.give_away().unwrap_or_else(|| self.write_and_keep())
    }

    fn evict(self: Arc<Self>) -> Outcome {
        let Some(mut state) = try_write(&self.state) else {
            return Outcome::Busy;
        };
        let share = self.share(&state);
        if let State::Cached {
            slot, copy: None, ..
        } = &*state
        {
            self.shared.backend.page_out_again(slot);
        }
        match state.leave() {
            State::Cached { slot, copy, .. } => {
                *state = State::Stored(slot);
                let was_unused = self.unused_fetch.swap(false, Ordering::Relaxed);
                drop(state);
                self.tally(|engine| {
                    engine.keep_spares(copy);
                    engine.tally.clean_evictions.add(1);
                    if was_unused {
                        engine.tally.prefetch_waste.add(1);
                    }
                    engine.release(share);
                });
                Outcome::Freed
            }
            left => {
                *state = left;
                Outcome::Nothing
            }
        }
    }

    fn fetch(self: Arc<Self>, range: Range<usize>) -> bool {
        self.forget_fetch();
        let mut state = write(&self.state);
        if state.covers(&range) {
            return false;
        }
        let (State::Stored(slot) | State::Cached { slot, .. }) = &*state else {
            return false;
        };
        let copy = match self.fetch_from(slot, &range) {
            Ok(copy) => copy,
            Err(error) => {
                // The reader that wants it reads it, and learns the error first hand.
                let error = error.of_handle(self.id);
                self.tally(|engine| engine.tally.failed(&error));
                return false;
            }
        };
        let replaced = self.share(&state);
        let was_unused = self.unused_fetch.swap(true, Ordering::Relaxed);
        match state.leave() {
            State::Stored(slot) | State::Cached { slot, .. } => {
                *state = State::Cached { slot, copy, range };
            }
            left => *state = left,
        }
        // Counted before anybody can use it.
        self.tally(|engine| engine.tally.fetches.add(1));
        drop(state);
        self.tally(|engine| {
            if was_unused {
                engine.tally.prefetch_waste.add(1);
            }
            engine.release(replaced);
        });
        true
    }

    fn announce(&self, range: Range<usize>) {
        if let Some(state) = try_read(&self.state)
            && let State::Stored(slot) = &*state
        {
            self.shared.backend.prefetch(slot, range);
        }
    }

    fn forget_fetch(&self) {
        self.fetch_queued.store(false, Ordering::Relaxed);
    }
}
