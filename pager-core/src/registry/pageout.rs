//! The way out: a payload stays in memory while the budget has room, and goes
//! straight to the backend where there is no budget or it would never fit.

use std::sync::Arc;

use super::counters::Count;
use super::{Handle, Registry};
use crate::backend::Backend;
use crate::budget::{Charge, Claim, Fit, Group, Wait};
use crate::error::{Error, Result};
use crate::observe::{Operation, Watch};
use crate::payload::{Chunk, Entry, Memory, Payload, PayloadForm};

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

/// What a page-out says beyond its chunks, made by [`Registry::options`]. Can be used
/// for any number of page-outs.
///
/// ```
/// # use pager_core::{Registry, Reuse};
/// # fn example<B: pager_core::Backend>(registry: &Registry<B>) -> pager_core::Result<()> {
/// let late = registry.options().reuse(Reuse::Late);
/// let handle = late.pageout(&mut [vec![1, 2, 3]])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct PageoutOptions<'a, B: Backend> {
    pub(super) registry: &'a Registry<B>,
    pub(super) reuse: Reuse,
    pub(super) group: Option<&'a Group>,
    pub(super) wait: Wait,
}

impl<B: Backend> Clone for PageoutOptions<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for PageoutOptions<'_, B> {}

impl<'a, B: Backend> PageoutOptions<'a, B> {
    /// Says when the payload is expected to be wanted again.
    pub fn reuse(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }

    /// Says to which group the payload belongs.
    pub fn group(mut self, group: &'a Group) -> Self {
        self.group = Some(group);
        self
    }

    /// Says that the page-out is refused ([`Error::NoRoom`]) where it would otherwise wait
    /// for room in the memory budget, or go straight to the backend for want of any.
    pub fn without_waiting(mut self) -> Self {
        self.wait = Wait::No;
        self
    }

    /// Pages out `chunks` as one payload: what they hold, joined in order.
    ///
    /// # Errors
    ///
    /// As for [`Registry::pageout`]; [`Error::GroupQuotaExceeded`].
    pub fn pageout<C: Chunk>(&self, chunks: &mut [C]) -> Result<Handle<B, C::Element>> {
        let bytes = bytes_of(chunks);
        let pageout = |registry: &Registry<B>| registry.try_pageout(chunks, *self);
        self.registry
            .counted(bytes, pageout, |handle| Some(handle.id()))
    }

    /// Pages out every chunk as a payload of its own: all or none.
    ///
    /// # Errors
    ///
    /// As for [`pageout`](Self::pageout); every chunk is then as it was.
    pub fn pageout_each<C: Chunk>(&self, chunks: &mut [C]) -> Result<Vec<Handle<B, C::Element>>> {
        let bytes = bytes_of(chunks);
        let pageout = |registry: &Registry<B>| registry.try_pageout_each(chunks, *self);
        self.registry.counted(bytes, pageout, |_| None)
    }
}

impl<B: Backend> Registry<B> {
    /// Pages out `chunks` as one payload: what they hold, joined in order.
    ///
    /// On success every chunk is empty. Chunks are `Vec`s or
    /// [`ChunkBuf`](crate::ChunkBuf)s of any plain element, or owners of shared bytes.
    /// Under a budget this is a promise and does no I/O below the high watermark; above
    /// it, the call helps to make room.
    ///
    /// # Errors
    ///
    /// What the backend says, be it about this payload or about one that had to
    /// make room for it; every chunk is then as it was. [`Error::ShutDown`] after
    /// the residency layer was shut down.
    pub fn pageout<C: Chunk>(&self, chunks: &mut [C]) -> Result<Handle<B, C::Element>> {
        self.options().pageout(chunks)
    }

    /// Page-outs that say more than their chunks.
    pub fn options(&self) -> PageoutOptions<'_, B> {
        PageoutOptions {
            registry: self,
            reuse: Reuse::Unknown,
            group: None,
            wait: Wait::AsLongAsItTakes,
        }
    }

    /// What `pageout` gives, with its handle if that is one; its failure is counted.
    pub(super) fn counted<T>(
        &self,
        bytes: usize,
        pageout: impl FnOnce(&Self) -> Result<T>,
        handle: impl FnOnce(&T) -> Option<u64>,
    ) -> Result<T> {
        let watch = Watch::begin(self.shared.about(Operation::Pageout, None, bytes));
        let paged_out = pageout(self);
        let handle = paged_out.as_ref().ok().and_then(handle);
        watch.end(&paged_out, handle);
        if paged_out.is_err() {
            self.shared.counters.add(Count::FailedPageouts, 1);
        }
        paged_out
    }

    fn try_pageout<C: Chunk>(
        &self,
        mut chunks: &mut [C],
        options: PageoutOptions<'_, B>,
    ) -> Result<Handle<B, C::Element>> {
        self.check_open()?;
        let mut payload = Payload::new(&mut chunks);
        let claim = self.claim(options.group, payload.len_bytes())?;
        if payload.is_empty() {
            return self.store(&mut payload, claim);
        }
        let engine = self.shared.engine();
        let fit = Fit {
            len_bytes: payload.len_bytes(),
            element: payload.element(),
        };
        let (charge, freed) = engine.admit(payload.held_bytes(), fit, options.wait)?;
        // After it was admitted: who waits for room holds no buffer that is counted
        // nowhere.
        let spare = match (payload.wants_refill(), &freed) {
            (true, None) => engine.spare(fit),
            _ => freed,
        };
        let paged_out = match charge {
            Some(charge) => payload
                .move_out()
                .map(|memory| self.keep(&payload, (memory, charge), options.reuse, claim)),
            None => self.store(&mut payload, claim),
        };
        engine.keep_buffer(payload.refill(spare));
        paged_out
    }

    fn try_pageout_each<C: Chunk>(
        &self,
        chunks: &mut [C],
        options: PageoutOptions<'_, B>,
    ) -> Result<Vec<Handle<B, C::Element>>> {
        self.check_open()?;
        let full = chunks
            .iter()
            .filter(|chunk| !chunk.elements().is_empty())
            .count();
        let claims = chunks
            .iter()
            .map(|chunk| self.claim(options.group, size_of_val(chunk.elements())))
            .collect::<Result<Vec<_>>>()?;
        let held_bytes = |mut chunk: &mut [C]| Payload::new(&mut chunk).held_bytes();
        let bytes = chunks.chunks_mut(1).map(held_bytes).sum();
        // One admission for all: who waits for room holds none that others wait for.
        let (charge, freed) = self.shared.engine().admit(bytes, Fit::NONE, options.wait)?;
        self.shared.engine().keep_buffer(freed);
        match charge {
            Some(charge) if full > 0 => self.keep_each(chunks, charge, options.reuse, claims),
            _ => self.store_each(chunks, claims),
        }
    }

    /// Keeps the chunks that are not empty in memory, for which `charge` is the room,
    /// and stores those that are.
    fn keep_each<C: Chunk>(
        &self,
        chunks: &mut [C],
        mut charge: Charge,
        reuse: Reuse,
        mut claims: Vec<Option<Claim>>,
    ) -> Result<Vec<Handle<B, C::Element>>> {
        // Whatever can fail comes first: copies, and the storing of empty payloads.
        let mut copies = Vec::with_capacity(chunks.len());
        let mut empty = Vec::new();
        for (mut chunk, claim) in chunks.chunks_mut(1).zip(&mut claims) {
            let mut payload = Payload::new(&mut chunk);
            copies.push(payload.compacted()?);
            if payload.is_empty() {
                empty.push(self.store(&mut payload, claim.take())?);
            }
        }
        let mut empty = empty.into_iter();
        let kept = chunks.chunks_mut(1).zip(copies).zip(claims).filter_map(
            |((mut chunk, copy), claim)| {
                let mut payload = Payload::new(&mut chunk);
                if payload.is_empty() {
                    return empty.next();
                }
                let room = charge.split(payload.held_bytes());
                let memory = payload.moved(copy);
                Some(self.keep(&payload, (memory, room), reuse, claim))
            },
        );
        Ok(kept.collect())
    }

    /// Stores every chunk, and empties them only when all are stored.
    fn store_each<C: Chunk>(
        &self,
        mut chunks: &mut [C],
        claims: Vec<Option<Claim>>,
    ) -> Result<Vec<Handle<B, C::Element>>> {
        let backend = &self.shared.backend;
        let mut slots = Vec::with_capacity(chunks.len());
        for index in 0..chunks.len() {
            let mut chunk = &mut chunks[index..=index];
            let mut payload = Payload::lent(&mut chunk);
            match self.shared.write(&mut payload, None) {
                Ok(slot) => slots.push((slot, form_of(&payload))),
                Err(error) => {
                    slots.into_iter().for_each(|(slot, _)| backend.free(slot));
                    return Err(error);
                }
            }
        }
        let handles = slots
            .into_iter()
            .zip(claims)
            .map(|((slot, form), claim)| self.register_stored(form, slot, claim));
        let handles = handles.collect();
        Payload::new(&mut chunks).clear();
        Ok(handles)
    }

    /// Whether page-outs are taken.
    pub(super) fn check_open(&self) -> Result<()> {
        if !self.shared.owner.is_current() {
            return Err(Error::ForeignProcess);
        }
        self.shared.engine().check_running()
    }

    /// So many bytes of the quota of `group`, if the payload belongs to one.
    pub(super) fn claim(&self, group: Option<&Group>, bytes: usize) -> Result<Option<Claim>> {
        let engine = self.shared.engine();
        group.map(|group| engine.claim(group, bytes)).transpose()
    }

    /// Keeps a payload that has been moved into memory of pager's.
    fn keep<T>(
        &self,
        payload: &Payload<'_>,
        held: (Memory, Charge),
        reuse: Reuse,
        claim: Option<Claim>,
    ) -> Handle<B, T> {
        let form = PayloadForm {
            // Moved out, it has none of its own any more.
            len_bytes: held.0.len_bytes(),
            ..form_of(payload)
        };
        self.keep_as(form, held, reuse, claim)
    }

    /// The same of a payload of this form.
    pub(super) fn keep_as<T>(
        &self,
        form: PayloadForm,
        held: (Memory, Charge),
        reuse: Reuse,
        claim: Option<Claim>,
    ) -> Handle<B, T> {
        let home = self.homes.own();
        let group = claim.as_ref().map(Claim::group);
        let entry = Entry::dirty(home, form, held, reuse == Reuse::Late, group);
        if reuse == Reuse::Soon {
            entry.touch();
        }
        self.register(entry, claim)
    }

    /// Hands a payload to the backend at once.
    pub(super) fn store<T>(
        &self,
        payload: &mut Payload<'_>,
        claim: Option<Claim>,
    ) -> Result<Handle<B, T>> {
        let form = form_of(payload);
        let slot = self.shared.write(payload, None)?;
        Ok(self.register_stored(form, slot, claim))
    }

    pub(super) fn register_stored<T>(
        &self,
        form: PayloadForm,
        slot: B::Slot,
        claim: Option<Claim>,
    ) -> Handle<B, T> {
        let group = claim.as_ref().map(Claim::group);
        let entry = Entry::stored(self.homes.own(), form, slot, group);
        self.register(entry, claim)
    }

    fn register<T>(&self, entry: Arc<Entry<B>>, claim: Option<Claim>) -> Handle<B, T> {
        let shared = &self.shared;
        // In this order: what is counted as paged out may be found in the table.
        shared
            .handles
            .insert(entry.id, (entry.len_bytes, entry.element));
        shared.counters.add(Count::Pageouts, 1);
        shared.counters.add(Count::PagedOutBytes, entry.len_bytes);
        Handle::new(entry, claim)
    }
}

fn form_of(payload: &Payload<'_>) -> PayloadForm {
    PayloadForm {
        len_bytes: payload.len_bytes(),
        element: payload.element(),
        kind: payload.kind(),
    }
}

fn bytes_of<C: Chunk>(chunks: &[C]) -> usize {
    chunks
        .iter()
        .map(|chunk| size_of_val(chunk.elements()))
        .sum()
}
