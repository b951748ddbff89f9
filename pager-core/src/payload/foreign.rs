//! Buffers of other crates as chunks and as destinations: `bytes::Bytes` (feature
//! `bytes`) and Arrow's `Buffer` (feature `arrow`).
//!
//! Both are shared and never changed. They go out without a copy, but for the one that
//! the medium may need, and come back in the memory that they were read into; one that
//! has not left memory yet comes back as the bytes that it was.

use super::Chunk;
use super::chunks::OwnedChunk;
use super::chunks::sealed::Erased;
use super::shared::{SharedBytes, owner_chunk};
use crate::Result;
use crate::backend::ChunkKind;
use crate::memory::{Adopt, Arena, ChunkBuf, Destination, ElementLayout, Window};

/// As a destination, `dst` appends by a copy of what it held, which is nothing as a rule.
macro_rules! foreign {
    ($buffer:ty, $of_owner:expr) => {
        owner_chunk!([] $buffer, chunk => chunk, SharedBytes::new(Held(chunk)));

        impl Destination for $buffer {}

        impl Adopt for $buffer {
            type Element = u8;

            const KIND: ChunkKind = ChunkKind::Buf;

            fn clear(&mut self) {
                *self = Self::default();
            }

            fn append(
                &mut self,
                len_bytes: usize,
                fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
            ) -> Result<()> {
                let room = self.len().saturating_add(len_bytes);
                let mut buf = ChunkBuf::with_capacity_in(&Arena::shared(), room)?;
                buf.extend_from_slice(self)?;
                Adopt::append(&mut buf, len_bytes, fill)?;
                *self = $of_owner(OwnedChunk::Buf(buf));
                Ok(())
            }

            fn adopt(&mut self, chunk: OwnedChunk) -> Result<OwnedChunk, OwnedChunk> {
                // One that went out comes back as it was.
                let own = match &chunk {
                    OwnedChunk::Shared(shared) => shared.owner::<Held<Self>>(),
                    _ => None,
                };
                *self = match own {
                    Some(held) => held.0.clone(),
                    None => $of_owner(chunk),
                };
                Ok(OwnedChunk::empty(ChunkKind::Buf, ElementLayout::BYTES))
            }
        }
    };
}

/// A buffer that pager holds.
struct Held<B>(B);

impl<B: std::ops::Deref<Target = [u8]>> AsRef<[u8]> for Held<B> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(feature = "bytes")]
foreign!(bytes::Bytes, bytes::Bytes::from_owner);

#[cfg(feature = "arrow")]
foreign!(arrow_buffer::Buffer, |chunk| {
    arrow_buffer::Buffer::from(bytes::Bytes::from_owner(chunk))
});
