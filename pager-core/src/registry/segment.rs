//! Page-outs of buffers that pager itself has filled: the segments of spills. Room first,
//! while others may still read the buffer; then it is moved, or stored where it lies.

use super::{Handle, PageoutOptions, Registry, Reuse};
use crate::backend::{Backend, ChunkKind};
use crate::budget::{Charge, Claim, Fit, Group, Wait};
use crate::error::Result;
use crate::memory::{ChunkBuf, ElementLayout};
use crate::payload::{Memory, OwnedChunk, Payload, PayloadForm};

/// Where segments go, and how: what outlives the options that said so.
#[derive(Debug)]
pub(crate) struct SegmentDoor<B: Backend> {
    registry: Registry<B>,
    reuse: Reuse,
    group: Option<Group>,
    wait: Wait,
}

/// What became of a segment that was let in.
pub(crate) enum Admitted<B: Backend> {
    /// There is room for it, and it has its part of a group's quota.
    Room(Charge, Option<Claim>),
    /// There was none for it, nor would be: it has been stored from where it lies.
    Stored(Handle<B, u8>),
}

impl<B: Backend> SegmentDoor<B> {
    pub(crate) fn new(options: &PageoutOptions<'_, B>) -> Self {
        Self {
            registry: options.registry.clone(),
            reuse: options.reuse,
            group: options.group.cloned(),
            wait: options.wait,
        }
    }

    pub(crate) fn registry(&self) -> &Registry<B> {
        &self.registry
    }

    /// Lets a segment in that takes `held_bytes` of memory: what pages it out, but for the
    /// move of its buffer.
    ///
    /// # Errors
    ///
    /// Those of a page-out.
    pub(crate) fn admit(&self, segment: &[u8], held_bytes: usize) -> Result<Admitted<B>> {
        let len_bytes = segment.len();
        let admit = |registry: &Registry<B>| {
            registry.check_open()?;
            let claim = registry.claim(self.group.as_ref(), len_bytes)?;
            let engine = registry.shared.engine();
            let (room, freed) = engine.admit(held_bytes, Fit::NONE, self.wait)?;
            engine.keep_buffer(freed);
            if let Some(room) = room {
                return Ok(Admitted::Room(room, claim));
            }
            let mut payload = Payload::of_bytes(segment);
            let slot = registry.shared.write(&mut payload, None)?;
            let handle = registry.register_stored(form(len_bytes), slot, claim);
            Ok(Admitted::Stored(handle))
        };
        let handle = |admitted: &Admitted<B>| match admitted {
            Admitted::Stored(handle) => Some(handle.id()),
            Admitted::Room(..) => None,
        };
        self.registry.counted(len_bytes, admit, handle)
    }

    /// Keeps a segment in `room` until the budget wants its memory.
    pub(crate) fn keep(
        &self,
        segment: ChunkBuf<u8>,
        room: Charge,
        claim: Option<Claim>,
    ) -> Handle<B, u8> {
        let form = form(segment.len());
        let memory = Memory::of_chunk(OwnedChunk::Buf(segment));
        self.registry
            .keep_as(form, (memory, room), self.reuse, claim)
    }
}

fn form(len_bytes: usize) -> PayloadForm {
    PayloadForm {
        len_bytes,
        element: ElementLayout::BYTES,
        kind: ChunkKind::Buf,
    }
}
