//! [`Backend`]: the one seam of pager. Whatever stores payloads implements it.
//!
//! The trait is small on purpose. The registry above it has already checked
//! every range, reserved every destination and counted every handle, so an
//! implementation only says how bytes leave and how they come back.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::{OwnedChunk, Payload, Result, TransferMemory, Window};

/// Stores payloads somewhere and reads ranges of them back.
///
/// A *payload* is the chunks of one page-out, joined in order: any number of bytes. A
/// *slot* is what the backend remembers of one payload; nobody else looks inside it. All
/// methods take `&self` and may run on many threads at once.
///
/// # Guarantees that callers rely on
///
/// 1. [`page_out`](Self::page_out) is all or nothing: on success every chunk is
///    empty, on failure every chunk is as it was.
/// 2. [`read`](Self::read) fills its window with exactly the bytes asked for, in
///    request order, or fails.
/// 3. Hints ([`prefetch`](Self::prefetch)) never change a result.
/// 4. [`free`](Self::free) cannot fail and does not wait for a device.
/// 5. An empty payload costs no system call.
///
/// The conformance suite of `pager-testkit` has one test for each.
///
/// # Example
///
/// A complete backend that keeps everything in memory:
///
/// ```
/// use std::ops::Range;
/// use pager_core::{Backend, Payload, Registry, Result, Usage, Window};
///
/// #[derive(Debug)]
/// struct InMemory;
///
/// impl Backend for InMemory {
///     type Slot = Vec<u8>;
///
///     fn name(&self) -> &'static str {
///         "in-memory"
///     }
///
///     fn page_out(&self, payload: &mut Payload<'_>) -> Result<Vec<u8>> {
///         let slot = payload.chunks().flatten().copied().collect();
///         payload.clear();
///         Ok(slot)
///     }
///
///     fn read(&self, slot: &Vec<u8>, ranges: &[Range<usize>], window: &mut Window<'_>) -> Result<()> {
///         for range in ranges {
///             window.copy_from(&slot[range.clone()]);
///         }
///         Ok(())
///     }
///
///     fn free(&self, slot: Vec<u8>) {
///         drop(slot);
///     }
///
///     fn usage(&self) -> Usage {
///         Usage::default()
///     }
/// }
///
/// let registry = Registry::new(InMemory);
/// let handle = registry.pageout(&mut [vec![1, 2, 3]])?;
/// let mut words = Vec::new();
/// registry.read_at(&handle, 1, 2, &mut words)?;
/// assert_eq!(words, [2, 3]);
/// # Ok::<(), pager_core::Error>(())
/// ```
pub trait Backend: Send + Sync + 'static {
    /// What the backend remembers of one payload. Dropping it without
    /// [`free`](Self::free) may leak the storage behind it.
    type Slot: Send + Sync + 'static;

    /// The backend's name in errors and listings: a short lower-case word.
    fn name(&self) -> &'static str;

    /// Stores a payload and empties its chunks.
    ///
    /// On success every chunk of `payload` is empty: cleared with its capacity
    /// ([`Payload::clear`]) or moved out ([`Payload::take_chunks`]).
    ///
    /// # Errors
    ///
    /// Whatever kept the payload from being stored whole. Every chunk is then
    /// exactly as it was, and nothing is left behind on the medium.
    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Self::Slot>;

    /// Fills `window` with `ranges` of the payload, in bytes, one after the other.
    ///
    /// Each range lies within the payload and has `start <= end`; together they
    /// are exactly as long as the window. Ranges may overlap, touch, repeat and
    /// be empty.
    ///
    /// # Errors
    ///
    /// Whatever kept a range from being read. What the window holds by then is
    /// discarded by the caller.
    fn read(
        &self,
        slot: &Self::Slot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()>;

    /// Hints that `range` of the payload, in bytes, will be read soon. Never waits for the
    /// device, never fails, never changes a result. The default does nothing.
    fn prefetch(&self, slot: &Self::Slot, range: Range<usize>) {
        let _ = (slot, range);
    }

    /// Gives the storage of a payload back. Cannot fail and does not wait for a
    /// device.
    fn free(&self, slot: Self::Slot);

    /// What the backend holds at this moment. A few loads, whatever it holds: no
    /// system call, and no walk over payloads.
    fn usage(&self) -> Usage;

    /// What the backend can do besides because its payloads stay in memory of its own.
    /// The default is nothing.
    fn in_place(&self) -> Option<&dyn InPlace<Slot = Self::Slot>> {
        None
    }

    /// Hands over the room that buffers of transfers may take. Called once, before
    /// anything else, by the registry that owns the backend. The default needs none.
    fn attach(&self, memory: &TransferMemory) {
        let _ = memory;
    }

    /// How the backend likes to be used. The default is [`Preferences::default`].
    fn preferences(&self) -> Preferences {
        Preferences::default()
    }

    /// Bytes of memory that a slot takes besides itself (checksums, say). The default
    /// is none.
    fn slot_bytes(&self, slot: &Self::Slot) -> usize {
        let _ = slot;
        0
    }

    /// Bytes of the payload of this slot that the backend's medium holds,
    /// rounded up as the medium rounds. Zero where it stays in memory. The
    /// default says so.
    fn stored_bytes(&self, slot: &Self::Slot) -> u64 {
        let _ = slot;
        0
    }
}

/// What a backend can do whose payloads stay in memory of its own, as those of swap do.
pub trait InPlace: Send + Sync {
    /// That of the [`Backend`].
    type Slot;

    /// Whether [`page_out`](Backend::page_out) keeps a [`ChunkBuf`](crate::ChunkBuf) as
    /// it is, and does not copy it, where the payload may be moved out.
    fn adopts(&self) -> bool;

    /// Whether bytes that a read brings back stay in memory until they are
    /// [released](Self::release). The budget then counts them.
    fn reads_stay(&self) -> bool;

    /// Gives the payload back as the very memory it lives in, if it lives in
    /// one chunk of memory; otherwise gives the slot back.
    ///
    /// `take` calls this first, and reads and frees only when it is refused.
    /// `wants` is the kind of chunk the destination can adopt.
    ///
    /// # Errors
    ///
    /// The slot, unchanged, when the payload must be read instead.
    fn detach(&self, slot: Self::Slot, wants: ChunkKind) -> Result<OwnedChunk, Self::Slot>;

    /// Brings `range` of the payload, in bytes, back into its memory, waits for it, and says
    /// whether that was done. Called on a background thread, with room for `range`
    /// in the budget; where the answer is `false`, it is read into another buffer.
    ///
    /// # Errors
    ///
    /// Whatever kept the range from coming back; the payload is as it was.
    fn page_in(&self, slot: &Self::Slot, range: Range<usize>) -> Result<bool>;

    /// Bytes that are in memory since `range` was read or paged in, those of `range` and what
    /// came with them: a kernel maps a huge page for one of its bytes where its cache still has
    /// it whole. The default is that nothing came with them.
    fn came_with(&self, slot: &Self::Slot, range: Range<usize>) -> Range<usize> {
        let _ = slot;
        range
    }

    /// Lets what is in memory of `range` leave it again, with what has come back beside
    /// it: a kernel may map a huge page for one of its bytes. All of `unneeded`, which
    /// includes `range`, may leave. A hint: it cannot fail.
    fn release(&self, slot: &Self::Slot, range: Range<usize>, unneeded: Range<usize>);
}

/// How a backend likes to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preferences {
    /// Page-outs at a time from which on one more is better kept waiting.
    pub writes_at_a_time: usize,
    /// How soon a page-out that failed is tried again in the background.
    pub retry_after: Duration,
}

impl Default for Preferences {
    /// Two at a time, and 20 ms.
    fn default() -> Self {
        Self {
            writes_at_a_time: 2,
            retry_after: Duration::from_millis(20),
        }
    }
}

/// The kinds of memory a payload can live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkKind {
    /// A `Vec` of plain elements, in memory of the general allocator.
    Vec,
    /// A [`ChunkBuf`](crate::ChunkBuf) in an [`Arena`](crate::Arena).
    Buf,
    /// Memory of somebody else's, who shares it.
    Shared,
}

/// What a backend holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of all live payloads, as their callers count them.
    pub logical_bytes: u64,
    /// Bytes of live payloads that occupy memory of this process.
    pub resident_bytes: u64,
    /// Bytes on the medium, rounding and checksums included.
    pub stored_bytes: u64,
    /// Bytes that the backend tried to move out of memory and the system kept.
    pub unreclaimable_bytes: u64,
    /// How bytes move, and why so, in a sentence for people.
    pub how: Cow<'static, str>,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes paged out, {} of them in memory, {} on the medium",
            self.logical_bytes, self.resident_bytes, self.stored_bytes
        )?;
        if self.unreclaimable_bytes > 0 {
            write!(f, ", {} not reclaimable", self.unreclaimable_bytes)?;
        }
        if !self.how.is_empty() {
            write!(f, "; {}", self.how)?;
        }
        Ok(())
    }
}
