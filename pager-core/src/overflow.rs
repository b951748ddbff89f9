//! [`Overflow`]: a backend, and another one for what it has no room for.

use std::fmt;
use std::ops::Range;

use crate::sync::{AtomicU64, Ordering};
use crate::{
    Backend, Error, InPlace, Payload, Preferences, Result, TransferMemory, Usage, Window, observe,
};

/// Stores payloads in the backend `B`, and those that it has no room for, on its medium or in
/// its quota, in `R`: the last resort.
///
/// Each payload is offered to `B` first, so that once there is room again, it goes there; what
/// went to `R` stays there until it is taken back or dropped. Without a last resort
/// everything is forwarded.
///
/// ```
/// use pager_core::{MemoryStore, Overflow, Registry};
/// # use std::ops::Range;
/// # use pager_core::{Backend, Error, Payload, Result, Usage, Window};
/// # struct FullDisk;
/// # impl Backend for FullDisk {
/// #     type Slot = ();
/// #     fn name(&self) -> &'static str { "full" }
/// #     fn page_out(&self, payload: &mut Payload<'_>) -> Result<()> {
/// #         let needed_bytes = payload.len_bytes() as u64;
/// #         let source = std::io::ErrorKind::StorageFull.into();
/// #         Err(Error::OutOfSpace { backend: "full", needed_bytes, path: None, source })
/// #     }
/// #     fn read(&self, (): &(), _: &[Range<usize>], _: &mut Window<'_>) -> Result<()> { Ok(()) }
/// #     fn free(&self, (): ()) {}
/// #     fn usage(&self) -> Usage { Usage::default() }
/// # }
///
/// let registry = Registry::new(Overflow::new(FullDisk, Some(MemoryStore::new())));
/// let handle = registry.pageout(&mut [vec![1, 2, 3]])?;
/// assert_eq!(handle.len(), 3);
/// println!("{}", registry.backend().stats().expect("there is a last resort"));
/// # Ok::<(), pager_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Overflow<B, R> {
    first: B,
    last: Option<Last<R>>,
}

/// The last resort. Relaxed throughout: statistics.
#[derive(Debug)]
struct Last<R> {
    backend: R,
    live_payloads: AtomicU64,
    pageouts: AtomicU64,
    refusals: AtomicU64,
}

/// Where a payload is. Opaque: only the backend that made it can read it.
#[derive(Debug)]
pub struct OverflowSlot<B, R>(Place<B, R>);

#[derive(Debug)]
enum Place<B, R> {
    First(B),
    /// With the bytes of the payload.
    Last(R, usize),
}

/// What is in a last resort, and how often it was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OverflowStats {
    /// The backend that is the last resort, by its name.
    pub backend: &'static str,
    /// Payloads that are there at this moment.
    pub live_payloads: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Payloads that have gone there.
    pub pageouts: u64,
    /// Payloads that it had no room for either.
    pub refusals: u64,
}

impl<B: Backend, R: Backend> Overflow<B, R> {
    /// `first`, with a last resort or without.
    pub fn new(first: B, last: Option<R>) -> Self {
        let last = last.map(|backend| Last {
            backend,
            live_payloads: AtomicU64::new(0),
            pageouts: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
        });
        Self { first, last }
    }

    /// The backend that payloads are offered to first.
    pub fn first(&self) -> &B {
        &self.first
    }

    /// What is in the last resort; `None` if there is none. A few loads.
    pub fn stats(&self) -> Option<OverflowStats> {
        self.last.as_ref().map(|last| OverflowStats {
            backend: last.backend.name(),
            live_payloads: last.live_payloads.load(Ordering::Relaxed),
            live_bytes: last.backend.usage().logical_bytes,
            pageouts: last.pageouts.load(Ordering::Relaxed),
            refusals: last.refusals.load(Ordering::Relaxed),
        })
    }
}

impl<R: Backend> Last<R> {
    /// Stores what found no room elsewhere, for the reason `why`.
    fn page_out(&self, payload: &mut Payload<'_>, why: Error) -> Result<(R::Slot, usize)> {
        let bytes = payload.len_bytes();
        let Ok(slot) = self.backend.page_out(payload) else {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            // That is what can be helped.
            return Err(why);
        };
        if self.live_payloads.fetch_add(1, Ordering::Relaxed) == 0 {
            observe::last_resort(self.backend.name(), &why);
        }
        self.pageouts.fetch_add(1, Ordering::Relaxed);
        Ok((slot, bytes))
    }

    fn read(
        &self,
        (slot, bytes): (&R::Slot, usize),
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        let read = self.backend.read(slot, ranges, window);
        if let Some(in_place) = self.backend.in_place() {
            // Nobody counts here what a read brings back.
            for range in ranges {
                in_place.release(slot, range.clone(), 0..bytes);
            }
        }
        read
    }

    fn free(&self, slot: R::Slot) {
        self.backend.free(slot);
        self.live_payloads.fetch_sub(1, Ordering::Relaxed);
    }
}

#[deny(clippy::missing_trait_methods)]
impl<B: Backend, R: Backend> Backend for Overflow<B, R> {
    type Slot = OverflowSlot<B::Slot, R::Slot>;

    fn name(&self) -> &'static str {
        self.first.name()
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Self::Slot> {
        let place = match (self.first.page_out(payload), &self.last) {
            (Err(why), Some(last)) if why.is_out_of_space() => {
                let (slot, bytes) = last.page_out(payload, why)?;
                Place::Last(slot, bytes)
            }
            (stored, _) => Place::First(stored?),
        };
        Ok(OverflowSlot(place))
    }

    fn read(
        &self,
        slot: &Self::Slot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        match (&slot.0, &self.last) {
            (Place::First(slot), _) => self.first.read(slot, ranges, window),
            (Place::Last(slot, bytes), Some(last)) => last.read((slot, *bytes), ranges, window),
            (Place::Last(..), None) => Err(Error::from_backend(
                self.name(),
                "read",
                "the slot is of another backend",
            )),
        }
    }

    fn prefetch(&self, slot: &Self::Slot, range: Range<usize>) {
        match (&slot.0, &self.last) {
            (Place::First(slot), _) => self.first.prefetch(slot, range),
            (Place::Last(slot, _), Some(last)) => last.backend.prefetch(slot, range),
            (Place::Last(..), None) => {}
        }
    }

    fn free(&self, slot: Self::Slot) {
        match (slot.0, &self.last) {
            (Place::First(slot), _) => self.first.free(slot),
            (Place::Last(slot, _), Some(last)) => last.free(slot),
            // Another backend's.
            (Place::Last(..), None) => {}
        }
    }

    fn usage(&self) -> Usage {
        let mut usage = self.first.usage();
        if let Some(last) = &self.last {
            let more = last.backend.usage();
            usage.logical_bytes += more.logical_bytes;
            usage.resident_bytes += more.resident_bytes;
            usage.stored_bytes += more.stored_bytes;
            usage.unreclaimable_bytes += more.unreclaimable_bytes;
        }
        usage
    }

    /// None: of two kinds of places, one may not be able to.
    fn in_place(&self) -> Option<&dyn InPlace<Slot = Self::Slot>> {
        None
    }

    fn attach(&self, memory: &TransferMemory) {
        self.first.attach(memory);
        if let Some(last) = &self.last {
            last.backend.attach(memory);
        }
    }

    fn preferences(&self) -> Preferences {
        self.first.preferences()
    }

    fn slot_bytes(&self, slot: &Self::Slot) -> usize {
        match (&slot.0, &self.last) {
            (Place::First(slot), _) => self.first.slot_bytes(slot),
            (Place::Last(slot, _), Some(last)) => last.backend.slot_bytes(slot),
            (Place::Last(..), None) => 0,
        }
    }

    fn stored_bytes(&self, slot: &Self::Slot) -> u64 {
        match (&slot.0, &self.last) {
            (Place::First(slot), _) => self.first.stored_bytes(slot),
            (Place::Last(slot, _), Some(last)) => last.backend.stored_bytes(slot),
            (Place::Last(..), None) => 0,
        }
    }
}

/// One line.
impl fmt::Display for OverflowStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "last resort: {} payloads of {} bytes in {}; {} have gone there",
            self.live_payloads, self.live_bytes, self.backend, self.pageouts
        )?;
        if self.refusals > 0 {
            write!(f, ", {} found no room there either", self.refusals)?;
        }
        Ok(())
    }
}
