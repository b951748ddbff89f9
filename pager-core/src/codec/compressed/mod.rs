//! [`Compressed`]: a backend over a backend, whose payloads are smaller.
//!
//! ```text
//! write  the way out: encoded portion by portion
//! read   the way back: the blocks that a range touches
//! slot   what is remembered of a payload
//! ```

mod read;
mod slot;
mod write;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::block::ElementWidth;
use super::chooser::Chooser;
use super::meter::Meter;
use super::stats::{Counter, Counters};
use super::tier::Tier;
use super::workspace::{PORTION_BYTES, Workspaces};
use super::{Codec, CodecStats};
use crate::{
    Backend, ChunkKind, InPlace, OwnedChunk, Payload, Preferences, Result, TransferMemory, Usage,
    Window,
};
pub use slot::CodecSlot;
use slot::{Form, Portion};

/// How wide the numbers of a payload are: as wide as they are aligned, for an element may
/// be several of them.
fn element_width(payload: &Payload<'_>) -> ElementWidth {
    let align_bytes = payload.element().align_bytes();
    ElementWidth::of_bytes(align_bytes).unwrap_or(ElementWidth::Eight)
}

/// Encodes payloads on their way into the backend `B`, and decodes them on their way
/// back.
///
/// With [`Codec::Off`] it forwards everything, at the price of a comparison. A payload
/// of more than 2 MiB is encoded and stored in portions of that, so that encoding takes a
/// bounded amount of memory; each portion is a payload of the backend beneath.
///
/// ```
/// use pager_core::codec::{Codec, Compressed, Scheme};
/// use pager_core::Registry;
/// # use std::ops::Range;
/// # use pager_core::{Backend, Payload, Result, Usage, Window};
/// # #[derive(Debug)]
/// # struct InMemory;
/// # impl Backend for InMemory {
/// #     type Slot = Vec<u8>;
/// #     fn name(&self) -> &'static str {
/// #         "in-memory"
/// #     }
/// #     fn page_out(&self, payload: &mut Payload<'_>) -> Result<Vec<u8>> {
/// #         let slot = payload.chunks().flatten().copied().collect();
/// #         payload.clear();
/// #         Ok(slot)
/// #     }
/// #     fn read(&self, slot: &Vec<u8>, ranges: &[Range<usize>], window: &mut Window<'_>) -> Result<()> {
/// #         ranges.iter().for_each(|range| window.copy_from(&slot[range.clone()]));
/// #         Ok(())
/// #     }
/// #     fn free(&self, _: Vec<u8>) {}
/// #     fn usage(&self) -> Usage {
/// #         Usage::default()
/// #     }
/// # }
///
/// let registry = Registry::new(Compressed::new(InMemory, Codec::Always(Scheme::Delta)));
/// let handle = registry.pageout(&mut [(0..100_000).collect::<Vec<u64>>()])?;
/// let mut words = Vec::new();
/// handle.read_at(50_000, 2, &mut words)?;
/// assert_eq!(words, [50_000, 50_001]);
///
/// let stats = registry.backend().codec_stats();
/// assert_eq!(stats.plain_bytes(), 800_000);
/// assert!(stats.stored_bytes() < 20_000);
/// # Ok::<(), pager_core::Error>(())
/// ```
pub struct Compressed<B: Backend> {
    inner: Arc<B>,
    tier: Arc<Tier<B>>,
    codec: Codec,
    chooser: Chooser,
    meter: Arc<Meter>,
    counters: Counters,
    workspaces: Workspaces,
    /// Bytes of live encoded payloads, as their callers count them.
    plain_bytes: Counter,
    /// The same, as the backend beneath counts them.
    given_bytes: Counter,
}

impl<B: Backend> Compressed<B> {
    /// A layer over `inner`. A scheme that is not in this build does nothing.
    pub fn new(inner: B, codec: Codec) -> Self {
        let inner = Arc::new(inner);
        let meter = Arc::new(Meter::new());
        Self {
            tier: Tier::new(Arc::clone(&inner), Arc::clone(&meter)),
            inner,
            codec,
            chooser: Chooser::default(),
            meter,
            counters: Counters::default(),
            workspaces: Workspaces::new(),
            plain_bytes: Counter::default(),
            given_bytes: Counter::default(),
        }
    }

    /// The backend beneath.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// What is done with payloads.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// What has been done. A few loads.
    pub fn codec_stats(&self) -> CodecStats {
        let tier = &self.tier.counters;
        CodecStats {
            kept_bytes: tier.kept_bytes.get(),
            came_bytes: tier.came_bytes.get(),
            moved_bytes: tier.moved_bytes.get(),
            kept_read_bytes: tier.hit_bytes.get(),
            stored_read_bytes: tier.missed_bytes.get(),
            ..self.counters.stats(self.codec)
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<B: Backend> Backend for Compressed<B> {
    type Slot = CodecSlot<B::Slot>;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Self::Slot> {
        self.store(payload)
    }

    fn read(
        &self,
        slot: &Self::Slot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        match &slot.0 {
            Form::Encoded(encoded) => self.read_encoded(encoded, ranges, window),
            Form::Plain(slot) if self.codec == Codec::Off => self.inner.read(slot, ranges, window),
            Form::Plain(slot) => {
                let bytes = window.remaining_bytes();
                let transfer = self.meter.reads.begin();
                self.inner.read(slot, ranges, window)?;
                transfer.done(bytes);
                Ok(())
            }
        }
    }

    fn prefetch(&self, slot: &Self::Slot, range: Range<usize>) {
        self.for_stored(slot, range, |slot, range| self.inner.prefetch(slot, range));
    }

    fn free(&self, slot: Self::Slot) {
        match slot.0 {
            Form::Plain(slot) => self.inner.free(slot),
            Form::Encoded(encoded) => {
                self.plain_bytes.subtract(encoded.len_bytes);
                self.given_bytes.subtract(encoded.stored_bytes());
                for portion in encoded.portions {
                    self.tier.free(portion.slot, portion.stored_bytes);
                }
            }
        }
    }

    fn usage(&self) -> Usage {
        let usage = self.inner.usage();
        // A page-out under way may be counted beneath and not here yet.
        let kept_bytes = self.tier.counters.kept_bytes.get();
        let given_bytes = self.given_bytes.get().saturating_sub(kept_bytes);
        let others = usage.logical_bytes.saturating_sub(given_bytes);
        Usage {
            logical_bytes: others + self.plain_bytes.get(),
            ..usage
        }
    }

    fn in_place(&self) -> Option<&dyn InPlace<Slot = Self::Slot>> {
        self.inner.in_place().map(|_| self as _)
    }

    fn attach(&self, memory: &TransferMemory) {
        self.inner.attach(memory);
        self.workspaces.attach(memory);
        self.tier.attach(memory);
    }

    fn preferences(&self) -> Preferences {
        self.inner.preferences()
    }

    fn slot_bytes(&self, slot: &Self::Slot) -> usize {
        match &slot.0 {
            Form::Plain(slot) => self.inner.slot_bytes(slot),
            Form::Encoded(encoded) => {
                let portions = encoded.portions.iter();
                let beneath = portions.map(|portion| self.tier.slot_bytes(&portion.slot));
                encoded.memory_bytes() + beneath.sum::<usize>()
            }
        }
    }

    fn stored_bytes(&self, slot: &Self::Slot) -> u64 {
        match &slot.0 {
            Form::Plain(slot) => self.inner.stored_bytes(slot),
            Form::Encoded(encoded) => {
                let portions = encoded.portions.iter();
                let stored = |portion: &Portion<B::Slot>| {
                    self.tier
                        .on_stored(&portion.slot, |slot| self.inner.stored_bytes(slot))
                };
                portions.filter_map(stored).sum()
            }
        }
    }
}

/// What the backend beneath does in place with encoded payloads, it does with their
/// stored bytes: they come back into its memory, and a read decodes them from there.
/// The budget counts such a payload as if it were there plain.
#[deny(clippy::missing_trait_methods)]
impl<B: Backend> InPlace for Compressed<B> {
    type Slot = CodecSlot<B::Slot>;

    fn adopts(&self) -> bool {
        self.inner
            .in_place()
            .is_some_and(|in_place| in_place.adopts())
    }

    fn reads_stay(&self) -> bool {
        self.inner
            .in_place()
            .is_some_and(|in_place| in_place.reads_stay())
    }

    fn detach(&self, slot: Self::Slot, wants: ChunkKind) -> Result<OwnedChunk, Self::Slot> {
        match (slot.0, self.inner.in_place()) {
            (Form::Plain(slot), Some(in_place)) => in_place
                .detach(slot, wants)
                .map_err(|slot| CodecSlot(Form::Plain(slot))),
            (form, _) => Err(CodecSlot(form)),
        }
    }

    fn page_in(&self, slot: &Self::Slot, range: Range<usize>) -> Result<bool> {
        let Some(in_place) = self.inner.in_place() else {
            return Ok(false);
        };
        let mut all = Ok(true);
        self.for_stored(slot, range, |slot, range| {
            if let Ok(true) = all {
                all = in_place.page_in(slot, range);
            }
        });
        all
    }

    fn came_with(&self, slot: &Self::Slot, range: Range<usize>) -> Range<usize> {
        match (&slot.0, self.inner.in_place()) {
            (Form::Plain(slot), Some(in_place)) => in_place.came_with(slot, range),
            // Counted as if it were plain.
            _ => range,
        }
    }

    fn release(&self, slot: &Self::Slot, range: Range<usize>, unneeded: Range<usize>) {
        let Some(in_place) = self.inner.in_place() else {
            return;
        };
        match &slot.0 {
            Form::Plain(slot) => in_place.release(slot, range, unneeded),
            // Pieces of a payload share blocks, so what is beside this one may be needed.
            Form::Encoded(_) => self.for_stored(slot, range, |slot, range| {
                in_place.release(slot, range.clone(), range);
            }),
        }
    }
}

impl<B: Backend> Compressed<B> {
    /// Calls `act` with each slot of the backend beneath that holds some of bytes
    /// `range`, and with the bytes of it that do. What is still in memory is in none.
    fn for_stored(
        &self,
        slot: &CodecSlot<B::Slot>,
        range: Range<usize>,
        mut act: impl FnMut(&B::Slot, Range<usize>),
    ) {
        match &slot.0 {
            Form::Plain(slot) => act(slot, range),
            Form::Encoded(encoded) => {
                for (index, bytes) in encoded.portions_of(&range) {
                    let portion = &encoded.portions[index];
                    let stored = portion.stored_of(&bytes, encoded.block_bytes());
                    self.tier.on_stored(&portion.slot, |slot| act(slot, stored));
                }
            }
        }
    }
}

impl<B: Backend + fmt::Debug> fmt::Debug for Compressed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressed")
            .field("codec", &self.codec)
            .field("inner", &self.inner)
            .field("workspaces", &self.workspaces)
            .finish_non_exhaustive()
    }
}
