//! The way out: a payload stays in memory while the budget has room, and goes
//! straight to the backend where there is no budget or it would never fit.

use std::sync::Arc;

use super::counters::Count;
use super::entry::Entry;
use super::{Handle, HandleInfo, Registry};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::payload::{Chunk, Payload};
use crate::residency::{Engine, Pageable, Share};

/// When a payload is expected to be wanted again: a hint to the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reuse {
    /// Sooner than others of its age: it is passed over once.
    Soon,
    /// Nobody knows: the oldest goes first.
    #[default]
    Unknown,
    /// Later than all others: its memory is the first to be given to somebody
    /// else, and it is written in time for that.
    Late,
}

impl<B: Backend> Registry<B> {
    /// Pages out `chunks` as one payload: their words, joined in order.
    ///
    /// On success every chunk is empty. Chunks are `Vec<u64>`s or
    /// [`ChunkBuf`](crate::ChunkBuf)s. Under a budget this is a promise and does
    /// no I/O below the high watermark; above it, the call helps to make room.
    ///
    /// # Errors
    ///
    /// What the backend says, be it about this payload or about one that had to
    /// make room for it; every chunk is then as it was. [`Error::ShutDown`] after
    /// the residency layer was shut down.
    pub fn pageout<C: Chunk>(&self, chunks: &mut [C]) -> Result<Handle<B>> {
        self.pageout_hinted(chunks, Reuse::Unknown)
    }

    /// As [`pageout`](Self::pageout), and says when the payload is expected to be
    /// wanted again.
    ///
    /// # Errors
    ///
    /// As for [`pageout`](Self::pageout).
    pub fn pageout_hinted<C: Chunk>(&self, chunks: &mut [C], reuse: Reuse) -> Result<Handle<B>> {
        let paged_out = self.try_pageout(chunks, reuse);
        if paged_out.is_err() {
            self.shared.counters.add(Count::FailedPageouts, 1);
        }
        paged_out
    }

    /// Pages out every chunk as a payload of its own: all or none.
    ///
    /// # Errors
    ///
    /// As for [`pageout`](Self::pageout); every chunk is then as it was.
    pub fn pageout_each<C: Chunk>(&self, chunks: &mut [C]) -> Result<Vec<Handle<B>>> {
        let paged_out = self.try_pageout_each(chunks);
        if paged_out.is_err() {
            self.shared.counters.add(Count::FailedPageouts, 1);
        }
        paged_out
    }

    fn try_pageout<C: Chunk>(&self, chunks: &mut [C], reuse: Reuse) -> Result<Handle<B>> {
        self.check_owner()?;
        let mut payload = Payload::new(chunks);
        if let Some(engine) = self.shared.engine()
            && !payload.is_empty()
            && engine.admit(payload.len_bytes())?
        {
            return Ok(self.keep(engine, &mut payload, reuse));
        }
        self.store(&mut payload)
    }

    fn try_pageout_each<C: Chunk>(&self, chunks: &mut [C]) -> Result<Vec<Handle<B>>> {
        self.check_owner()?;
        let bytes = Payload::new(chunks).len_bytes();
        if let Some(engine) = self.shared.engine()
            && bytes > 0
            && engine.admit(bytes)?
        {
            // Room for all of them is reserved: nothing below can fail but the
            // storing of an empty payload, which reserves nothing.
            let (full, empty): (Vec<_>, Vec<_>) =
                (0..chunks.len()).partition(|index| !chunks[*index].words().is_empty());
            return self.keep_each(engine, chunks, &full, &empty);
        }
        self.store_each(chunks)
    }

    /// Keeps the chunks at `full` in memory, and stores those at `empty`.
    fn keep_each<C: Chunk>(
        &self,
        engine: &Arc<Engine>,
        chunks: &mut [C],
        full: &[usize],
        empty: &[usize],
    ) -> Result<Vec<Handle<B>>> {
        let mut handles: Vec<Option<Handle<B>>> = (0..chunks.len()).map(|_| None).collect();
        for &index in empty {
            let stored = self.store(&mut Payload::new(&mut chunks[index..=index]));
            handles[index] = Some(stored.inspect_err(|_| {
                engine.release(Share::Dirty(Payload::new(chunks).len_bytes()));
            })?);
        }
        for &index in full {
            let mut payload = Payload::new(&mut chunks[index..=index]);
            handles[index] = Some(self.keep(engine, &mut payload, Reuse::Unknown));
        }
        Ok(handles.into_iter().flatten().collect())
    }

    /// Stores every chunk, and empties them only when all are stored.
    fn store_each<C: Chunk>(&self, chunks: &mut [C]) -> Result<Vec<Handle<B>>> {
        let backend = &self.shared.backend;
        let mut slots = Vec::with_capacity(chunks.len());
        for index in 0..chunks.len() {
            match backend.page_out(&mut Payload::lent(&mut chunks[index..=index])) {
                Ok(slot) => slots.push(slot),
                Err(error) => {
                    slots.into_iter().for_each(|slot| backend.free(slot));
                    return Err(error);
                }
            }
        }
        let kind = Payload::new(chunks).kind();
        let lens = chunks.iter().map(|chunk| chunk.words().len());
        let handles = slots.into_iter().zip(lens).map(|(slot, len)| {
            self.register(Arc::new(Entry::stored(self.homes.own(), len, kind, slot)))
        });
        let handles = handles.collect();
        Payload::new(chunks).clear();
        Ok(handles)
    }

    fn check_owner(&self) -> Result<()> {
        if self.shared.owner.is_current() {
            Ok(())
        } else {
            Err(Error::ForeignProcess)
        }
    }

    /// Keeps a payload in memory, for which room has been reserved.
    fn keep(&self, engine: &Arc<Engine>, payload: &mut Payload<'_>, reuse: Reuse) -> Handle<B> {
        let (len, kind) = (payload.len(), payload.kind());
        let chunks = payload.take_chunks().collect();
        payload.refill(len, |words| engine.spare(words));
        let entry = Arc::new(Entry::resident(self.homes.own(), len, kind, chunks));
        if reuse == Reuse::Soon {
            entry.touch();
        }
        let pageable = Arc::clone(&entry) as Arc<dyn Pageable>;
        let bytes = len * size_of::<u64>();
        engine.list(Arc::downgrade(&pageable), bytes, reuse == Reuse::Late);
        self.register(entry)
    }

    /// Hands a payload to the backend at once.
    fn store(&self, payload: &mut Payload<'_>) -> Result<Handle<B>> {
        let (len, kind) = (payload.len(), payload.kind());
        let slot = self.shared.backend.page_out(payload)?;
        Ok(self.register(Arc::new(Entry::stored(self.homes.own(), len, kind, slot))))
    }

    fn register(&self, entry: Arc<Entry<B>>) -> Handle<B> {
        let shared = &self.shared;
        shared.counters.add(Count::Pageouts, 1);
        shared
            .counters
            .add(Count::PagedOutBytes, entry.len * size_of::<u64>());
        let key = shared.handles.insert(HandleInfo {
            id: entry.id,
            backend: shared.backend.name(),
            len: entry.len,
        });
        Handle::new(entry, key)
    }
}
