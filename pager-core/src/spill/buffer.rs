//! Memory for tails and for what readers look at, with the charge that it is held for.
//!
//! Spills hold a share of the budget together. Where that is used up, a buffer is small,
//! [`MIN_BYTES`] or as large as a frame, and counted as what no budget refuses: so any
//! number of spills goes on, and nobody waits for another.

use std::sync::Arc;

use crate::backend::Backend;
use crate::budget::{Charge, Engine};
use crate::memory::{AppendBuf, Appender, ChunkBuf, SizeClass};
use crate::payload::{Shown, View};
use crate::registry::Handle;
use crate::{Error, Result};

/// The least that a buffer is.
/// The model checker would have to fill it.
pub(super) const MIN_BYTES: usize = if cfg!(pager_shuttle) { 64 } else { 16 << 10 };

/// What a window begins at a multiple of, so that what is aligned in the segment is so in
/// memory.
const WINDOW_ALIGN_BYTES: usize = super::frames::WIDE_ALIGN_BYTES;

/// What a writer appends to, and readers may look at meanwhile.
pub(super) type Tail = AppendBuf<Charge>;

/// Room for a buffer of `wanted_bytes`, or for one that is smaller, but not than
/// `needed_bytes`; how large it may be. What is needed is never refused.
fn room(engine: &Arc<Engine>, wanted_bytes: usize, needed_bytes: usize) -> (usize, Charge) {
    let least_bytes = needed_bytes.max(MIN_BYTES);
    let mut bytes = wanted_bytes.max(least_bytes);
    while bytes > MIN_BYTES {
        if let Some(charge) = engine.room_for_spill(SizeClass::for_bytes(bytes).bytes()) {
            return (bytes, charge);
        }
        if bytes == least_bytes {
            break;
        }
        bytes = (bytes / 4).max(least_bytes);
    }
    let held_bytes = SizeClass::for_bytes(least_bytes).bytes();
    (least_bytes, engine.room_for_small_spill(held_bytes))
}

/// An empty tail for `wanted_bytes`, or for less if there is no room, but not for less
/// than `needed_bytes`.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub(super) fn tail(
    engine: &Arc<Engine>,
    wanted_bytes: usize,
    needed_bytes: usize,
) -> Result<Appender<Charge>> {
    let (bytes, charge) = room(engine, wanted_bytes, needed_bytes);
    Appender::new(bytes, charge)
}

/// Whether a tail is worth keeping as it is: a payload in a buffer more than twice as
/// large as itself is copied instead, as any is.
pub(super) fn fits(tail: &Tail, filled_bytes: usize) -> bool {
    tail.capacity_bytes() / 2 <= filled_bytes
}

/// Part of a stored segment, in memory that a reader holds.
pub(super) struct Window {
    bytes: Lying,
    /// First byte of the segment that it holds.
    start: usize,
}

/// Where the bytes of a window are.
enum Lying {
    /// In memory of its own, within the spills' share.
    Own(ChunkBuf<u8>, Charge),
    /// Where the budget has them for whoever wants them.
    Seen(View<u8>),
}

impl Window {
    /// A part of a segment of `len` bytes with what begins at `offset`: all that follows
    /// if there is room, and at least `needed_bytes`. What is in memory is not copied.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], and what reading says.
    pub(super) fn read<B: Backend>(
        handle: &Handle<B, u8>,
        (len, offset): (usize, usize),
        needed_bytes: usize,
        engine: &Arc<Engine>,
    ) -> Result<Self> {
        if handle.is_at_hand() {
            // Its own buffer needs no room that others would have to make.
            match handle.view_without_waiting(0..len) {
                Ok(view) => {
                    return Ok(Self {
                        bytes: Lying::Seen(view),
                        start: 0,
                    });
                }
                // More than may be held in memory by all who look.
                Err(Error::NoRoom { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let start = offset - offset % WINDOW_ALIGN_BYTES;
        let rest = len - start;
        let needed_bytes = (offset - start).saturating_add(needed_bytes).min(rest);
        let (bytes, charge) = room(engine, rest, needed_bytes);
        let bytes = bytes.min(rest);
        let mut own = ChunkBuf::with_capacity(bytes)?;
        handle.read_at(start, bytes, &mut own)?;
        Ok(Self {
            bytes: Lying::Own(own, charge),
            start,
        })
    }

    /// Takes a segment as a whole, if there is room for it; gives the handle back
    /// otherwise, with the error if there is one.
    ///
    /// # Errors
    ///
    /// The handle, and what taking says.
    pub(super) fn take<B: Backend>(
        handle: Handle<B, u8>,
        engine: &Arc<Engine>,
    ) -> Result<Self, (Option<Error>, Handle<B, u8>)> {
        let held_bytes = SizeClass::for_bytes(handle.len_bytes()).bytes();
        let Some(charge) = engine.room_for_spill(held_bytes) else {
            return Err((None, handle));
        };
        let mut own = ChunkBuf::new();
        match handle.take(&mut own) {
            Ok(()) => Ok(Self {
                bytes: Lying::Own(own, charge),
                start: 0,
            }),
            Err(failed) => {
                let (error, handle) = failed.into_parts();
                Err((Some(error), handle))
            }
        }
    }

    /// First byte of the segment that it holds.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// What it has from byte `offset` of the segment on.
    pub(super) fn bytes_from(&self, offset: usize) -> &[u8] {
        let behind = offset.checked_sub(self.start);
        behind
            .and_then(|at| self.shown().get(at..))
            .unwrap_or_default()
    }
}

impl Shown for Window {
    fn shown(&self) -> &[u8] {
        match &self.bytes {
            Lying::Own(own, _) => own,
            Lying::Seen(view) => view,
        }
    }

    fn is_own(&self) -> bool {
        match &self.bytes {
            Lying::Own(_, charge) => charge.engine().is_own(),
            // It knows by itself.
            Lying::Seen(_) => true,
        }
    }
}

impl Shown for Tail {
    fn shown(&self) -> &[u8] {
        self.published_from(0)
    }

    fn is_own(&self) -> bool {
        self.beside().engine().is_own()
    }
}
