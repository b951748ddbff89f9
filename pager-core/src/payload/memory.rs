//! [`Memory`] and [`Resident`]: where bytes of a payload lie in memory, and what that
//! costs.

use std::ops::Range;
use std::sync::Arc;

use super::chunks::OwnedChunk;
use super::joined::Payload;
use crate::budget::Charge;
use crate::memory::{ElementLayout, HeapBuf, Window, release_buf};

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
    pub(super) fn of_chunk(chunk: OwnedChunk) -> Self {
        match chunk {
            OwnedChunk::Vec(buf) => Self::Vec(buf),
            buf @ OwnedChunk::Buf(_) => Self::Chunks(Box::new([buf])),
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
            OwnedChunk::Buf(_) => None,
        });
        one.into_iter().chain(many)
    }

    /// Gives it back to the system.
    pub(crate) fn release(self) {
        self.into_vecs().for_each(release_buf);
    }
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
}

impl Resident {
    pub(super) fn new(memory: Memory, charge: Charge) -> Arc<Self> {
        Arc::new(Self {
            memory,
            charge: Some(charge),
        })
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
