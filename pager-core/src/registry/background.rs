//! What happens to a payload in the background: it is written and leaves memory,
//! or it is fetched and comes back.

use std::ops::Range;
use std::sync::Arc;

use super::entry::Entry;
use super::state::State;
use crate::backend::{Backend, ChunkKind};
use crate::error::Result;
use crate::memory::ChunkBuf;
use crate::payload::{OwnedChunk, Payload};
use crate::residency::{Eviction, Pageable, Patience};
use crate::sync::{Ordering, try_read, try_write, write};

impl<B: Backend> Entry<B> {
    /// Brings `range` into memory, as a copy or within the backend.
    fn fetch_from(&self, slot: &B::Slot, range: &Range<usize>) -> Result<Option<OwnedChunk>> {
        let backend = &self.shared.backend;
        if backend.page_in(slot, range.clone())? {
            return Ok(None);
        }
        let mut copy = self.fetch_buffer(range.len());
        copy.append(range.len(), |window| {
            backend.read(slot, std::slice::from_ref(range), window)
        })?;
        Ok(Some(copy))
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

    /// Drops a clean copy from memory.
    fn evict_cached(&self) -> Option<Eviction> {
        let mut state = try_write(&self.state)?;
        match state.leave() {
            State::Cached { slot, copy, range } => {
                if copy.is_none() {
                    self.shared.backend.page_out_again(&slot);
                }
                *state = State::Stored(slot);
                drop(state);
                self.tally(|engine| {
                    copy.into_iter().for_each(|copy| engine.keep_spare(copy));
                    engine.tally.clean_evictions.add(1);
                    engine.release(range.len() * size_of::<u64>());
                });
                Some(Eviction::Freed)
            }
            left @ State::Resident(_) => {
                *state = left;
                None
            }
            left => {
                *state = left;
                Some(Eviction::Nothing)
            }
        }
    }

    /// Hands a payload in one arena buffer to a backend that keeps such buffers
    /// as they are; `None` if it is to be written as others are.
    fn evict_adopted(&self) -> Option<Eviction> {
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
        let bytes = self.len * size_of::<u64>();
        self.tally(|engine| engine.tally.writing_bytes.add(bytes));
        let stored = self
            .shared
            .backend
            .page_out(&mut Payload::new(&mut chunks[..]));
        self.tally(|engine| engine.tally.writing_bytes.sub(bytes));
        match stored {
            Ok(slot) => {
                *state = State::Stored(slot);
                drop(state);
                self.tally(|engine| {
                    engine.tally.written(bytes);
                    engine.release(bytes);
                });
                Some(Eviction::Freed)
            }
            Err(error) => Some(Eviction::Failed(error)),
        }
    }

    /// Writes a resident payload while others may go on reading it.
    fn evict_resident(&self) -> Eviction {
        let Some(state) = try_read(&self.state) else {
            return Eviction::Busy;
        };
        let bytes = state.memory_bytes();
        let State::Resident(chunks) = &*state else {
            // A copy that somebody was reading a moment ago still occupies memory:
            // it must stay listed.
            return match bytes {
                0 => Eviction::Nothing,
                _ => Eviction::Busy,
            };
        };
        self.tally(|engine| engine.tally.writing_bytes.add(bytes));
        let stored = self.shared.backend.page_out(&mut Payload::shared(chunks));
        self.tally(|engine| engine.tally.writing_bytes.sub(bytes));
        drop(state);
        let slot = match stored {
            Ok(slot) => slot,
            Err(error) => return Eviction::Failed(error),
        };
        self.tally(|engine| engine.tally.written(bytes));
        let mut state = write(&self.state);
        match state.leave() {
            left @ State::Resident(_) => {
                *state = State::Stored(slot);
                drop(state);
                self.keep_spares(left);
                self.tally(|engine| engine.release(bytes));
                Eviction::Freed
            }
            // Taken between the write and here: what was stored is not wanted.
            left => {
                *state = left;
                drop(state);
                self.shared.backend.free(slot);
                self.tally(|engine| engine.tally.cancelled_writes.add(1));
                Eviction::Nothing
            }
        }
    }
}

impl<B: Backend> Pageable for Entry<B> {
    fn evict(self: Arc<Self>, patience: Patience) -> Eviction {
        if patience == Patience::SecondChance && self.touched.swap(false, Ordering::Relaxed) {
            return Eviction::Busy;
        }
        self.evict_cached()
            .or_else(|| self.evict_adopted())
            .unwrap_or_else(|| self.evict_resident())
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
        let replaced_bytes = state.memory_bytes();
        match state.leave() {
            State::Stored(slot) | State::Cached { slot, .. } => {
                *state = State::Cached { slot, copy, range };
            }
            left => *state = left,
        }
        drop(state);
        if replaced_bytes > 0 {
            self.tally(|engine| {
                engine.tally.prefetch_waste.add(1);
                engine.release(replaced_bytes);
            });
        }
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
