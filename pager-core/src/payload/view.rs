//! [`View`]: bytes of a payload, read where they lie.
//!
//! A view holds the memory that it shows: the budget counts it, and it does not leave as
//! long as a view of it lives, whatever becomes of the payload. What is not in memory is
//! read into a buffer that others find there afterwards.

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;

use super::chunks::OwnedChunk;
use super::entry::Entry;
use super::flight::Flight;
use super::memory::{Memory, Resident};
use super::pieces::{Coverage, PiecePlace};
use super::state::State;
use crate::backend::{Backend, ChunkKind};
use crate::budget::Wait;
use crate::error::Result;
use crate::memory::{ElementLayout, SizeClass};
use crate::sync::lock;

/// A read-only view of a range of a payload, which derefs to the slice of its elements.
///
/// A clone is another view of the same memory. Views live as long as they like: across
/// eviction, take and drop of the payload, flush and shutdown. In a forked child they show
/// what they showed.
pub struct View<T = u64> {
    /// `None` for an empty one.
    held: Option<Held>,
    _elements: PhantomData<T>,
}

/// What keeps the bytes of a view where they are.
#[derive(Clone)]
enum Held {
    Payload(Pinned),
    Other(OfOther),
}

/// Memory that is no payload's and never changes, with what it is counted as.
pub(crate) trait Shown: Send + Sync {
    /// All of it.
    fn shown(&self) -> &[u8];

    /// Whether this is the process that made it.
    fn is_own(&self) -> bool;
}

/// Bytes of such memory.
#[derive(Clone)]
struct OfOther {
    /// There until this is dropped.
    owner: Option<Arc<dyn Shown>>,
    range: Range<usize>,
}

impl<T: Pod> View<T> {
    /// A view of these bytes, which are whole elements and lie aligned.
    pub(crate) fn new(pinned: Option<Pinned>) -> Self {
        Self {
            held: pinned.map(Held::Payload),
            _elements: PhantomData,
        }
    }
}

impl View<u8> {
    /// A view of bytes `range` of what `owner` shows.
    pub(crate) fn of_shown(owner: Arc<dyn Shown>, range: Range<usize>) -> Self {
        let owner = Some(owner);
        Self {
            held: Some(Held::Other(OfOther { owner, range })),
            _elements: PhantomData,
        }
    }
}

impl<T> View<T> {
    fn bytes(&self) -> &[u8] {
        match &self.held {
            Some(Held::Payload(pinned)) => pinned.bytes(),
            Some(Held::Other(other)) => other.bytes(),
            None => &[],
        }
    }
}

impl OfOther {
    fn bytes(&self) -> &[u8] {
        let all = self.owner.as_ref().map_or(&[][..], |owner| owner.shown());
        all.get(self.range.clone()).unwrap_or(&[])
    }
}

impl Drop for OfOther {
    fn drop(&mut self) {
        // In a forked child it is the parent's, whose locks may be held.
        if self.owner.as_ref().is_some_and(|owner| !owner.is_own()) {
            std::mem::forget(self.owner.take());
        }
    }
}

impl<T> Clone for View<T> {
    fn clone(&self) -> Self {
        Self {
            held: self.held.clone(),
            _elements: PhantomData,
        }
    }
}

impl<T: Pod> Deref for View<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self.bytes() {
            // Of no bytes, nobody knows where they lie.
            [] => &[],
            bytes => bytemuck::cast_slice(bytes),
        }
    }
}

impl<T: Pod> AsRef<[T]> for View<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "view of {} bytes", self.bytes().len())
    }
}

#[cfg(feature = "bytes")]
impl From<View<u8>> for bytes::Bytes {
    fn from(view: View<u8>) -> Self {
        Self::from_owner(view)
    }
}

#[cfg(feature = "arrow")]
impl From<View<u8>> for arrow_buffer::Buffer {
    fn from(view: View<u8>) -> Self {
        bytes::Bytes::from_owner(view).into()
    }
}

/// Memory that does not leave, and the bytes of it that are shown.
pub(crate) struct Pinned {
    /// Leaked in a forked child.
    resident: ManuallyDrop<Arc<Resident>>,
    range: Range<usize>,
}

impl Pinned {
    /// Called while the payload's state is locked, or nobody else knows of `resident`;
    /// `None` if there is no room for it.
    fn new(resident: &Arc<Resident>, range: Range<usize>) -> Option<Self> {
        resident.pin().then(|| Self {
            resident: ManuallyDrop::new(Arc::clone(resident)),
            range,
        })
    }

    fn bytes(&self) -> &[u8] {
        // It was there when this was made, and memory that is shared does not change.
        self.resident.memory().slice(&self.range).unwrap_or(&[])
    }
}

impl Clone for Pinned {
    fn clone(&self) -> Self {
        self.resident.pin_again();
        Self {
            resident: self.resident.clone(),
            range: self.range.clone(),
        }
    }
}

impl Drop for Pinned {
    #[allow(unsafe_code, reason = "moves a field out on drop")]
    fn drop(&mut self) {
        if !self.resident.is_own() {
            return;
        }
        self.resident.unpin();
        // SAFETY: the view is being dropped, so the field is not used again.
        unsafe { ManuallyDrop::drop(&mut self.resident) }
    }
}

/// Where a view finds its bytes.
enum Seen {
    Here(Pinned),
    Coming(Arc<Flight>),
    /// Not in memory, or not in one place.
    Elsewhere,
}

impl<B: Backend> Entry<B> {
    /// Holds bytes `range` of the payload in memory, in one place and aligned for its
    /// elements; brings them back first if they are not there, and waits for room for them
    /// unless told not to.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoom`](crate::Error::NoRoom), and what the backend says.
    pub(crate) fn view(
        self: &Arc<Self>,
        range: &Range<usize>,
        align_bytes: usize,
        patience: Wait,
    ) -> Result<Pinned> {
        loop {
            match self.see(range, align_bytes)? {
                Seen::Here(pinned) => return Ok(pinned),
                Seen::Coming(flight) => self.engine().tally.read_stalls.time(|| flight.wait()),
                Seen::Elsewhere => return self.view_copy(range, patience),
            }
        }
    }

    fn see(self: &Arc<Self>, range: &Range<usize>, align_bytes: usize) -> Result<Seen> {
        let mut state = lock(&self.state);
        let (resident, start) = match &mut *state {
            State::Dirty(resident) => {
                self.touch();
                (Arc::clone(resident), 0)
            }
            State::Leaving(flight) => return Ok(Seen::Coming(Arc::clone(flight))),
            State::Gone => return Err(self.gone()),
            State::Stored(pieces) => match pieces.cover(std::slice::from_ref(range)) {
                Coverage::Coming(flight) => return Ok(Seen::Coming(flight)),
                Coverage::Here(held) if held.is_single() => {
                    self.touch();
                    self.count_hit(&held);
                    match held.residents().next() {
                        Some((start, resident)) => (Arc::clone(resident), start),
                        None => return Ok(Seen::Elsewhere),
                    }
                }
                _ => return Ok(Seen::Elsewhere),
            },
        };
        let within = range.start - start..range.end - start;
        let is_fit = resident
            .memory()
            .slice(&within)
            .is_some_and(|bytes| bytes.as_ptr().addr().is_multiple_of(align_bytes));
        if !is_fit {
            return Ok(Seen::Elsewhere);
        }
        match Pinned::new(&resident, within) {
            Some(pinned) => Ok(Seen::Here(pinned)),
            None => Err(self.engine().no_room(range.len())),
        }
    }

    /// Reads `range` into a buffer of its own, and leaves it there for others if nothing of
    /// it was in memory.
    fn view_copy(self: &Arc<Self>, range: &Range<usize>, patience: Wait) -> Result<Pinned> {
        let engine = self.engine();
        let bytes = SizeClass::for_bytes(range.len()).bytes();
        // Counted for as long as it takes to find room, so that nobody waits in vain.
        if !engine.try_pin(bytes) {
            return Err(engine.no_room(bytes));
        }
        let read = engine.room_for_view(bytes, patience).and_then(|charge| {
            let mut chunk = OwnedChunk::empty(ChunkKind::Buf, ElementLayout::BYTES);
            chunk.append(range.len(), |window| {
                self.fill_window(std::slice::from_ref(range), window)
            })?;
            let charge = charge.of_group(self.group.as_ref());
            Ok(Resident::new(Memory::of_chunk(chunk), charge))
        });
        engine.unpin(bytes);
        let resident = read?;
        let mut state = lock(&self.state);
        let pinned = Pinned::new(&resident, 0..range.len());
        if let State::Stored(pieces) = &mut *state
            && pieces.gaps(range)[..] == [range.clone()]
        {
            pieces.insert(range.clone(), PiecePlace::Here(Arc::clone(&resident)));
            resident.charge().list(self.weak(), range.start, false);
        }
        drop(state);
        pinned.ok_or_else(|| engine.no_room(bytes))
    }

    /// Whether `range` can be read at once: whether nothing of it has to be read from the
    /// backend, or waited for.
    pub(crate) fn is_resident(&self, range: &Range<usize>) -> bool {
        match &*lock(&self.state) {
            State::Dirty(_) => true,
            State::Stored(pieces) => {
                matches!(pieces.cover(std::slice::from_ref(range)), Coverage::Here(_))
            }
            State::Leaving(_) | State::Gone => false,
        }
    }

    /// Whether some of `range` is queued, or on its way.
    pub(crate) fn is_coming(&self, range: &Range<usize>) -> bool {
        match &*lock(&self.state) {
            State::Stored(pieces) => pieces.is_coming(range),
            State::Leaving(_) => true,
            State::Dirty(_) | State::Gone => false,
        }
    }
}
