//! Page-outs whose bytes do not exist yet: room first, then the bytes, in memory of
//! pager's.

use super::{Handle, PageoutOptions, Registry};
use crate::backend::{Backend, ChunkKind};
use crate::budget::Fit;
use crate::error::{Error, Result};
use crate::memory::{ElementLayout, SizeClass, Window};
use crate::payload::{Memory, OwnedChunk, Payload, PayloadForm};

impl<B: Backend> PageoutOptions<'_, B> {
    /// As [`Registry::pageout_with`].
    ///
    /// # Errors
    ///
    /// As there; [`Error::GroupQuotaExceeded`], and [`Error::NoRoom`] if it was said that
    /// the page-out does not [wait](Self::without_waiting): it costs no copy then, for
    /// `fill` has not been called.
    pub fn pageout_with(
        &self,
        len_bytes: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<Handle<B, u8>> {
        let pageout = |registry: &Registry<B>| registry.try_pageout_with(len_bytes, fill, *self);
        self.registry
            .counted(len_bytes, pageout, |handle| Some(handle.id()))
    }
}

impl<B: Backend> Registry<B> {
    /// Pages out `len_bytes` bytes that `fill` writes into a window of pager's memory,
    /// once there is room for them: nothing is zeroed and nothing copied.
    ///
    /// # Errors
    ///
    /// As for [`pageout`](Self::pageout), before `fill` is called; [`Error::OutOfMemory`];
    /// those of `fill`, and [`Error::Io`] if it left part of the window unfilled.
    pub fn pageout_with(
        &self,
        len_bytes: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<Handle<B, u8>> {
        self.options().pageout_with(len_bytes, fill)
    }

    fn try_pageout_with(
        &self,
        len_bytes: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
        options: PageoutOptions<'_, B>,
    ) -> Result<Handle<B, u8>> {
        self.check_open()?;
        // Sizes beyond this have no class.
        if len_bytes > isize::MAX as usize / 4 {
            return Err(Error::OutOfMemory {
                needed_bytes: len_bytes,
            });
        }
        let claim = self.claim(options.group, len_bytes)?;
        let mut chunk = OwnedChunk::empty(ChunkKind::Buf, ElementLayout::BYTES);
        if len_bytes == 0 {
            return self.store(&mut Payload::new(&mut [chunk]), claim);
        }
        let engine = self.shared.engine();
        let held_bytes = SizeClass::for_bytes(len_bytes).bytes();
        let (charge, freed) = engine.admit(held_bytes, Fit::NONE, options.wait)?;
        engine.keep_buffer(freed);
        let Some(charge) = charge else {
            // It would never fit: counted as far as such may be, and not as a buffer of a
            // transfer, for the backend waits for one of those.
            let workspace = engine.transfer_memory().try_keep_workspace(held_bytes);
            chunk.append(len_bytes, fill)?;
            let stored = self.store(&mut Payload::new(&mut [chunk]), claim);
            drop(workspace);
            return stored;
        };
        chunk.append(len_bytes, fill)?;
        let form = PayloadForm {
            len_bytes,
            element: ElementLayout::BYTES,
            kind: ChunkKind::Buf,
        };
        let held = (Memory::of_chunk(chunk), charge);
        Ok(self.keep_as(form, held, options.reuse, claim))
    }
}
