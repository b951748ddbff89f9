//! Writing: a payload, joined and padded to blocks, into its extent.
//!
//! Chunks that are aligned go to the kernel where they lie; everything else is
//! joined in a staging buffer, and so is whatever is sealed. Both kinds of pieces
//! share one call, so a chunk costs one, whatever kind it is. Checksums are made of
//! what was just copied, and it is sealed, while the processor's cache still holds it.

use std::io::IoSlice;

use pager_core::{Payload, Result};

use super::super::file::SegmentFile;
use super::super::io_mode::BLOCK_BYTES;
use super::super::proof::{Place, Proof, Seen};
use super::super::staging::page_offset_apart_from;
use super::{BlockIo, CACHED_BYTES};

/// Pieces to a call: fewer than the kernel takes (`IOV_MAX`, 1024), for the
/// array lives on the stack.
const MAX_PIECES: usize = 256;

impl BlockIo {
    /// Writes all of `payload` to `place`, which is in `file`. The last block is filled
    /// up with zeros, never with what lay there before. Returns what its blocks will be
    /// known by.
    ///
    /// # Errors
    ///
    /// Typed; part of the extent may have been overwritten.
    pub(in super::super) fn write_payload(
        &self,
        file: &SegmentFile,
        place: Place,
        payload: &Payload<'_>,
    ) -> Result<Proof> {
        let align_bytes = self.mode.memory_align_bytes();
        let copies_all = self.protection.changes_blocks();
        let mut staging = if !copies_all && is_all_straight(payload, align_bytes) {
            None
        } else {
            Some(self.staging.get()?)
        };
        let mut source = Source::new(payload, align_bytes, copies_all);
        let mut written_bytes = 0;
        let mut prover = self.protection.begin(place, payload.len_bytes())?;
        while !source.is_empty() {
            let staging = staging.as_mut().map_or(&mut [][..], |staging| {
                staging.bytes_at(page_offset_apart_from(source.address(), align_bytes))
            });
            let mut batch = [IoSlice::new(&[]); MAX_PIECES];
            let mut see = |blocks: Seen<'_>| prover.see(blocks);
            let count = fill_batch(&mut batch, &mut source, staging, &mut see);
            let offset_bytes = place.offset_bytes + written_bytes;
            written_bytes += self.write(file, &mut batch[..count], offset_bytes)?;
        }
        self.finish_write(file, written_bytes)?;
        Ok(prover.finish())
    }
}

/// Collects pieces of whole blocks from the front of `source` until either the
/// batch or the staging buffer is full, and says how many. `see` is shown all of
/// their blocks, in order.
fn fill_batch<'s, 'p: 's>(
    batch: &mut [IoSlice<'s>],
    source: &mut Source<'p, '_>,
    mut staging: &'s mut [u8],
    see: &mut impl FnMut(Seen<'_>),
) -> usize {
    let mut count = 0;
    while count < batch.len() && !source.is_empty() {
        let straight = source.take_straight();
        batch[count] = if !straight.is_empty() {
            see(Seen::InPlace(straight));
            IoSlice::new(straight)
        } else if staging.is_empty() {
            break;
        } else {
            let len = source.copy_blocks(staging, see);
            let (filled, rest) = std::mem::take(&mut staging).split_at_mut(len);
            staging = rest;
            IoSlice::new(filled)
        };
        count += 1;
    }
    count
}

/// Whether no byte needs a staging buffer.
fn is_all_straight(payload: &Payload<'_>, align_bytes: usize) -> bool {
    payload.chunks().all(|chunk| {
        chunk.len().is_multiple_of(BLOCK_BYTES) && chunk.as_ptr().addr().is_multiple_of(align_bytes)
    })
}

/// What is left of a payload.
struct Source<'p, 'c> {
    payload: &'p Payload<'c>,
    align_bytes: usize,
    /// Whether nothing may be written where it lies.
    copies_all: bool,
    next_chunk: usize,
    /// What is left of the chunk before; empty only at the end.
    rest: &'p [u8],
}

impl<'p, 'c> Source<'p, 'c> {
    fn new(payload: &'p Payload<'c>, align_bytes: usize, copies_all: bool) -> Self {
        let mut source = Self {
            payload,
            align_bytes,
            copies_all,
            next_chunk: 0,
            rest: &[],
        };
        source.advance(0);
        source
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Where the next byte lies.
    fn address(&self) -> usize {
        self.rest.as_ptr().addr()
    }

    /// Leaves `len` bytes of `rest` behind, and goes on to the next chunk at its
    /// end.
    fn advance(&mut self, len: usize) {
        self.rest = &self.rest[len..];
        while self.rest.is_empty() && self.next_chunk < self.payload.chunk_count() {
            self.rest = self.payload.chunk(self.next_chunk);
            self.next_chunk += 1;
        }
    }

    /// Bytes from `skip` on that may be written where they lie, if the file is
    /// at a block there.
    fn straight_len(&self, skip: usize) -> usize {
        let Some(rest) = self.rest.get(skip..) else {
            return 0;
        };
        if !self.copies_all && rest.as_ptr().addr().is_multiple_of(self.align_bytes) {
            rest.len() - rest.len() % BLOCK_BYTES
        } else {
            0
        }
    }

    /// Whole blocks that lie aligned at the front; perhaps none.
    fn take_straight(&mut self) -> &'p [u8] {
        let len = self.straight_len(0);
        let straight = &self.rest[..len];
        self.advance(len);
        straight
    }

    /// Copies to the front of `staging`, which has whole blocks, until what
    /// follows may be written where it lies. Pads the last block of the payload
    /// with zeros. Shows the blocks to `see` while they are still in the cache.
    /// Returns the bytes, whole blocks.
    fn copy_blocks(&mut self, staging: &mut [u8], see: &mut impl FnMut(Seen<'_>)) -> usize {
        let (mut len, mut seen) = (0, 0);
        while len < staging.len() && !self.is_empty() {
            let to_block = len.next_multiple_of(BLOCK_BYTES) - len;
            if len > 0 && to_block == 0 && self.straight_len(0) > 0 {
                break;
            }
            let room = if to_block > 0 && self.straight_len(to_block) > 0 {
                to_block
            } else {
                staging.len() - len
            };
            let copied = room.min(self.rest.len()).min(CACHED_BYTES);
            staging[len..len + copied].copy_from_slice(&self.rest[..copied]);
            len += copied;
            self.advance(copied);
            let whole = len - len % BLOCK_BYTES;
            see(Seen::Copied(&mut staging[seen..whole]));
            seen = whole;
        }
        let padded = len.next_multiple_of(BLOCK_BYTES);
        staging[len..padded].fill(0);
        see(Seen::Copied(&mut staging[seen..padded]));
        padded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pager_core::ChunkBuf;
    use proptest::prelude::*;

    const BLOCK_WORDS: usize = BLOCK_BYTES / size_of::<u64>();

    /// What would be written, in batches, through a staging buffer of four
    /// blocks.
    fn written(
        payload: &Payload<'_>,
        align_bytes: usize,
        max_pieces: usize,
        copies_all: bool,
    ) -> (Vec<u8>, usize) {
        let mut staging = vec![0xeeu8; 4 * BLOCK_BYTES];
        let mut source = Source::new(payload, align_bytes, copies_all);
        let (mut bytes, mut calls) = (Vec::new(), 0);
        while !source.is_empty() {
            let mut batch = vec![IoSlice::new(&[]); max_pieces];
            let mut seen = Vec::new();
            let count = fill_batch(
                &mut batch,
                &mut source,
                &mut staging,
                &mut |blocks| match blocks {
                    Seen::InPlace(blocks) => {
                        assert!(!copies_all, "nothing is written where it lies");
                        seen.extend_from_slice(blocks);
                    }
                    Seen::Copied(blocks) => seen.extend_from_slice(blocks),
                },
            );
            assert!(count > 0, "every batch makes progress");
            let pieces: Vec<&[u8]> = batch[..count].iter().map(|piece| &**piece).collect();
            assert!(
                seen == pieces.concat(),
                "every block is seen once, in order"
            );
            for piece in &batch[..count] {
                assert!(piece.len().is_multiple_of(BLOCK_BYTES) && !piece.is_empty());
                bytes.extend_from_slice(piece);
            }
            calls += 1;
        }
        (bytes, calls)
    }

    fn buf(len: usize) -> ChunkBuf {
        let words: Vec<u64> = (1..=len as u64).collect();
        ChunkBuf::try_from(&words[..]).unwrap()
    }

    #[test]
    fn aligned_chunks_are_written_where_they_lie_in_one_call() {
        let mut chunks = [buf(BLOCK_WORDS * 3), buf(0), buf(BLOCK_WORDS)];
        let payload = Payload::new(&mut chunks);
        assert!(is_all_straight(&payload, 512));
        let mut source = Source::new(&payload, 512, false);
        let mut batch = [IoSlice::new(&[]); 4];
        assert_eq!(fill_batch(&mut batch, &mut source, &mut [], &mut |_| {}), 2);
        assert_eq!(batch[0].as_ptr(), payload.chunk(0).as_ptr());
        assert_eq!(batch[1].as_ptr(), payload.chunk(2).as_ptr());
    }

    #[test]
    fn an_aligned_chunk_with_a_tail_still_takes_one_call() {
        let mut chunks = [buf(BLOCK_WORDS * 8 + 1)];
        let payload = Payload::new(&mut chunks);
        let (bytes, calls) = written(&payload, 512, MAX_PIECES, false);
        assert_eq!((bytes.len(), calls), (9 * BLOCK_BYTES, 1));
        assert!(bytes[8 * BLOCK_BYTES + 8..].iter().all(|byte| *byte == 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 4 } else { 128 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_joined_words_and_zeros_are_written(
            lens in prop::collection::vec(prop_oneof![0..40usize, 500..2000usize, Just(512usize)], 1..12),
            align_bytes in prop_oneof![Just(1usize), Just(8), Just(512), Just(1 << 40)],
            max_pieces in 1..5usize,
            in_arena in any::<bool>(),
            copies_all in any::<bool>(),
        ) {
            let mut joined = Vec::new();
            let mut vecs = Vec::new();
            for (index, len) in lens.iter().enumerate() {
                let words: Vec<u64> = (0..*len as u64).map(|word| word << 8 | index as u64).collect();
                joined.extend_from_slice(bytemuck::cast_slice(&words));
                vecs.push(words);
            }
            let mut bufs: Vec<_> =
                vecs.iter().map(|words| ChunkBuf::try_from(&words[..]).unwrap()).collect();
            let payload = if in_arena { Payload::new(&mut bufs) } else { Payload::new(&mut vecs) };
            let (bytes, _) = written(&payload, align_bytes, max_pieces, copies_all);
            joined.resize(joined.len().next_multiple_of(BLOCK_BYTES), 0);
            prop_assert_eq!(bytes, joined);
        }
    }
}
