//! Bytes without numbers in them: lz4, and zstd where it is built in.
//!
//! A range of such a block costs the whole of it.

use std::fmt;
use std::ops::Range;

use super::{Damaged, ElementWidth, Header, Kind, Scratch, WORD_BYTES};
use crate::codec::Scheme;

/// Level of zstd. Higher ones are slower than the disk that they would spare.
#[cfg(feature = "codec-zstd")]
const ZSTD_LEVEL: i32 = 1;

/// What zstd keeps from one block to the next: more than a megabyte, made when it
/// is first used.
#[derive(Default)]
pub(super) struct Contexts {
    #[cfg(feature = "codec-zstd")]
    compressor: Option<zstd::bulk::Compressor<'static>>,
    #[cfg(feature = "codec-zstd")]
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts").finish_non_exhaustive()
    }
}

/// Encodes a block by `scheme`, and says how many words it has; `None` if it does
/// not shrink.
pub(super) fn encode(
    scheme: Scheme,
    width: ElementWidth,
    plain: &[u8],
    scratch: &mut Scratch,
) -> Option<usize> {
    let Scratch { out, contexts, .. } = scratch;
    let (first, rest) = out.split_first_mut()?;
    let bytes = bytemuck::cast_slice_mut::<u64, u8>(rest);
    let (kind, len) = match scheme {
        Scheme::Zstd => (Kind::Zstd, contexts.compress(plain, bytes)?),
        _ => (
            Kind::Lz4,
            lz4_flex::block::compress_into(plain, bytes).ok()?,
        ),
    };
    let words = len.div_ceil(WORD_BYTES);
    let filling = words * WORD_BYTES - len;
    bytes[len..len + filling].fill(0);
    let header = Header {
        kind,
        width,
        count: u16::try_from(filling).ok()?,
        plain_len: plain.len(),
    };
    *first = header.to_word();
    Some(1 + words)
}

/// Yields bytes `range` of a block of general bytes.
pub(super) fn decode(
    header: Header,
    body: &[u64],
    range: Range<usize>,
    scratch: &mut Scratch,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Damaged> {
    let filling = usize::from(header.count);
    let stored: &[u8] = bytemuck::cast_slice(body);
    if filling >= WORD_BYTES || filling > stored.len() {
        return Err(Damaged::new("it has no possible filling"));
    }
    let stored = &stored[..stored.len() - filling];
    let Scratch {
        bytes, contexts, ..
    } = scratch;
    let plain = &mut bytemuck::cast_slice_mut::<u64, u8>(bytes)[..header.plain_len];
    let len = match header.kind {
        Kind::Zstd => contexts.decompress(stored, plain)?,
        _ => lz4_flex::block::decompress_into(stored, plain).map_err(|_| RUBBISH)?,
    };
    if len != header.plain_len {
        return Err(RUBBISH);
    }
    sink(&plain[range]);
    Ok(())
}

const RUBBISH: Damaged = Damaged::new("its bytes do not decompress");

#[cfg(feature = "codec-zstd")]
impl Contexts {
    fn compress(&mut self, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        if self.compressor.is_none() {
            self.compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
        }
        self.compressor
            .as_mut()?
            .compress_to_buffer(plain, out)
            .ok()
    }

    fn decompress(&mut self, stored: &[u8], plain: &mut [u8]) -> Result<usize, Damaged> {
        if self.decompressor.is_none() {
            self.decompressor = zstd::bulk::Decompressor::new().ok();
        }
        let decompressor = self
            .decompressor
            .as_mut()
            .ok_or(Damaged::new("there is no memory to undo zstd"))?;
        decompressor
            .decompress_to_buffer(stored, plain)
            .map_err(|_| RUBBISH)
    }
}

#[cfg(not(feature = "codec-zstd"))]
#[allow(clippy::unused_self, reason = "as where zstd is built in")]
impl Contexts {
    fn compress(&mut self, _: &[u8], _: &mut [u8]) -> Option<usize> {
        None
    }

    fn decompress(&mut self, _: &[u8], _: &mut [u8]) -> Result<usize, Damaged> {
        Err(Damaged::new("it is of a kind that is not in this build"))
    }
}
