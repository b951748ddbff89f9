//! [`Memory`] and [`Resident`]: where bytes of a payload lie in memory, and what that
//! costs.

use std::ops::Range;
use std::sync::Arc;

use super::chunks::OwnedChunk;
use super::joined::Payload;
use crate::budget::{Charge, Engine};
use crate::memory::{ElementLayout, HeapBuf, Window, release_buf};
use crate::sync::{AtomicUsize, Ordering};

/// Memory that holds a payload, or a piece of one.
pub(crate) enum Memory {
    /// The buffer of one `Vec`.
    Vec(HeapBuf),
    /// Several chunks, or one arena buffer.
    Chunks(Box<[OwnedChunk]>),
    /// Memory of the backend's own.
    Mapped,
}

impl Memory {
    pub(crate) fn of_chunk(chunk: OwnedChunk) -> Self {
        match chunk {
            OwnedChunk::Vec(buf) => Self::Vec(buf),
            other => Self::Chunks(Box::new([other])),
        }
    }

    pub(super) fn of_chunks(mut chunks: Vec<OwnedChunk>) -> Self {
        match chunks.pop() {
            Some(only) if chunks.is_empty() => Self::of_chunk(only),
            last => {
                chunks.extend(last);
                Self::Chunks(chunks.into_boxed_slice())
            }
        }
    }

    /// Its only chunk.
    ///
    /// # Errors
    ///
    /// The memory, if it is not in one chunk.
    pub(super) fn into_chunk(self) -> Result<OwnedChunk, Self> {
        match self {
            Self::Vec(buf) => Ok(OwnedChunk::Vec(buf)),
            Self::Chunks(chunks) if chunks.len() == 1 => {
                let mut chunks = chunks.into_vec();
                chunks.pop().ok_or(Self::Mapped)
            }
            other => Err(other),
        }
    }

    /// Bytes of it, of which only the backend knows where it is [mapped](Self::Mapped).
    pub(crate) fn len_bytes(&self) -> usize {
        match self {
            Self::Vec(buf) => buf.len(),
            Self::Chunks(chunks) => chunks.iter().map(|chunk| chunk.bytes().len()).sum(),
            Self::Mapped => 0,
        }
    }

    /// Whether some of it belongs to somebody else as well.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Chunks(chunks)
            if chunks.iter().any(|chunk| matches!(chunk, OwnedChunk::Shared(_))))
    }

    pub(super) fn is_mapped(&self) -> bool {
        matches!(self, Self::Mapped)
    }

    /// Its bytes as a payload of such elements to be stored, while others may read them.
    pub(super) fn payload(&self, element: ElementLayout) -> Payload<'_> {
        let payload = match self {
            Self::Vec(buf) => Payload::of_bytes(buf),
            Self::Chunks(chunks) => Payload::shared(chunks),
            Self::Mapped => Payload::shared(&[]),
        };
        payload.of_elements(element)
    }

    /// The bytes at `wanted`, if they lie in one place that can be looked at.
    pub(super) fn slice(&self, wanted: &Range<usize>) -> Option<&[u8]> {
        match self {
            Self::Vec(buf) => buf.get(wanted.clone()),
            Self::Chunks(chunks) => slice_of(chunks, wanted),
            Self::Mapped => None,
        }
    }

    /// Copies the bytes at `wanted` into `window`.
    pub(super) fn copy(&self, wanted: &Range<usize>, window: &mut Window<'_>) {
        match self {
            Self::Vec(buf) => window.copy_from(&buf[wanted.clone()]),
            Self::Chunks(chunks) => copy_across(chunks, wanted, window),
            Self::Mapped => {}
        }
    }

    /// The buffers of `Vec`s that it lies in; arena buffers go back to their arena.
    pub(crate) fn into_vecs(self) -> impl Iterator<Item = HeapBuf> {
        let (one, many) = match self {
            Self::Vec(buf) => (Some(buf), None),
            Self::Chunks(chunks) => (None, Some(chunks.into_vec())),
            Self::Mapped => (None, None),
        };
        let many = many.into_iter().flatten().filter_map(|chunk| match chunk {
            OwnedChunk::Vec(buf) => Some(buf),
            OwnedChunk::Buf(_) | OwnedChunk::Shared(_) => None,
        });
        one.into_iter().chain(many)
    }

    /// Gives it back to the system.
    pub(crate) fn release(self) {
        self.into_vecs().for_each(release_buf);
    }
}

/// The bytes at `wanted` of `chunks` joined in order, if one of them has them all.
fn slice_of<'a>(chunks: &'a [OwnedChunk], wanted: &Range<usize>) -> Option<&'a [u8]> {
    let mut chunk_start = 0;
    for chunk in chunks {
        let bytes = chunk.bytes();
        let chunk_end = chunk_start + bytes.len();
        if wanted.start < chunk_end {
            return bytes.get(wanted.start - chunk_start..wanted.end - chunk_start);
        }
        chunk_start = chunk_end;
    }
    None
}

/// Copies the bytes at `wanted` of `chunks` joined in order.
fn copy_across(chunks: &[OwnedChunk], wanted: &Range<usize>, window: &mut Window<'_>) {
    let mut chunk_start = 0;
    for chunk in chunks {
        let bytes = chunk.bytes();
        let chunk_end = chunk_start + bytes.len();
        let (start, end) = (wanted.start.max(chunk_start), wanted.end.min(chunk_end));
        if start < end {
            window.copy_from(&bytes[start - chunk_start..end - chunk_start]);
        }
        if chunk_end >= wanted.end {
            return;
        }
        chunk_start = chunk_end;
    }
}

/// Memory and its charge, shared by whoever uses it at this moment; the last one
/// gives both back.
pub(super) struct Resident {
    memory: Memory,
    /// There until this is dropped or taken apart.
    charge: Option<Charge>,
    /// Views of it. Relaxed: becomes one under the lock of the payload, and whoever adds
    /// to it otherwise has one.
    pins: AtomicUsize,
}

impl Resident {
    pub(super) fn new(memory: Memory, charge: Charge) -> Arc<Self> {
        Arc::new(Self {
            memory,
            charge: Some(charge),
            pins: AtomicUsize::new(0),
        })
    }

    /// Holds it in memory for one view more; `false` if there is no room for what cannot
    /// leave. Called under the lock of its payload.
    pub(super) fn pin(&self) -> bool {
        let is_first = self.pins.fetch_add(1, Ordering::Relaxed) == 0;
        let may = !is_first || self.engine().try_pin(self.charge().bytes());
        if !may {
            self.pins.fetch_sub(1, Ordering::Relaxed);
        }
        may
    }

    /// The same for a copy of a view.
    pub(super) fn pin_again(&self) {
        self.pins.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends a view.
    pub(super) fn unpin(&self) {
        if self.pins.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.engine().unpin(self.charge().bytes());
        }
    }

    /// Whether there are views of it.
    pub(super) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Relaxed) > 0
    }

    /// Whether this is the process that made it.
    pub(super) fn is_own(&self) -> bool {
        self.engine().is_own()
    }

    fn engine(&self) -> &Arc<Engine> {
        self.charge().engine()
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn charge(&self) -> &Charge {
        self.charge
            .as_ref()
            .expect("the charge is there as long as the memory is")
    }

    /// Both parts, if nobody else uses them.
    ///
    /// # Errors
    ///
    /// The whole, otherwise.
    pub(super) fn into_parts(self: Arc<Self>) -> Result<(Memory, Charge), Arc<Self>> {
        let mut resident = Arc::try_unwrap(self)?;
        let memory = std::mem::replace(&mut resident.memory, Memory::Mapped);
        let charge = resident.charge.take();
        Ok((
            memory,
            charge.expect("the charge is there as long as the memory is"),
        ))
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, Memory::Mapped);
        if let Some(charge) = self.charge.take() {
            let engine = Arc::clone(charge.engine());
            engine.retire(memory, charge);
        }
    }
}
