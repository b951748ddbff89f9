//! Seed mode: the published strategy, kept as the reference.
//!
//! The callers' chunks are kept as they are, with a hint that their whole pages
//! are cold. Nothing is copied on the way out, and nothing is observed: whether
//! the hint achieved anything shows in `usage()` only. Chunks come from the
//! general allocator, so pages that they share with others are left alone.

use std::io;
use std::ops::Range;

use pager_core::{ChunkKind, OwnedChunk, Payload, Result, Window};

use crate::SeedAdvice;
use crate::advise::{Hint, Rounding, advise};
use crate::live::{Key, Spans};
use crate::pagemap::Span;
use crate::watch::Watch;

/// A payload as the chunks that it was.
#[derive(Debug)]
pub(crate) struct Kept {
    /// None of them empty.
    chunks: Box<[OwnedChunk]>,
    /// For each chunk, the bytes before its end.
    ends: Box<[usize]>,
    key: Key,
}

impl Kept {
    /// Takes the chunks of a payload that is not empty.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](pager_core::Error::OutOfMemory) if they have to be copied,
    /// because others read them meanwhile; they are as they were.
    pub(crate) fn keep(
        watch: &Watch,
        advice: SeedAdvice,
        payload: &mut Payload<'_>,
    ) -> Result<Self> {
        let len_bytes = payload.len_bytes();
        let mut chunks = payload.try_take_chunks()?.into_boxed_slice();
        let mut end = 0;
        let ends = chunks
            .iter()
            .map(|chunk| {
                end += chunk.bytes().len();
                end
            })
            .collect();
        for chunk in &mut chunks {
            let hinted = give_hint(watch, advice, chunk.bytes());
            if let (Ok(()), SeedAdvice::PageOut, OwnedChunk::Buf(buf)) = (hinted, advice, chunk) {
                buf.mark_paged_out();
            }
        }
        let key = watch.admit(spans_of(&chunks), len_bytes);
        Ok(Self { chunks, ends, key })
    }

    /// Copies `ranges` into the window.
    pub(crate) fn read(&self, ranges: &[Range<usize>], window: &mut Window<'_>) {
        for range in ranges {
            self.pieces(range.clone())
                .for_each(|piece| window.copy_from(piece));
        }
    }

    /// Begins to read `range` from swap.
    pub(crate) fn prefetch(&self, range: Range<usize>) {
        for piece in self.pieces(range) {
            // A hint that is refused changes nothing.
            let _ = advise(piece, Hint::WillNeed, Rounding::Outward);
        }
    }

    /// The single chunk, if it is one and of this kind.
    pub(crate) fn detach(self, watch: &Watch, wants: ChunkKind) -> Result<OwnedChunk, Self> {
        if self.chunks.len() != 1 || self.chunks[0].kind() != wants {
            return Err(self);
        }
        let (key, len_bytes) = (self.key, self.len_bytes());
        let mut chunks = self.chunks.into_vec();
        match chunks.pop() {
            Some(chunk) => {
                watch.release(key, len_bytes);
                Ok(chunk)
            }
            None => unreachable!("there is one chunk"),
        }
    }

    pub(crate) fn free(self, watch: &Watch) {
        watch.release(self.key, self.len_bytes());
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Bytes on swap now; none if that cannot be seen.
    pub(crate) fn swapped_bytes(&self, watch: &Watch) -> usize {
        let swapped = |chunk| Some(watch.look(chunk)?.swapped_bytes);
        let chunks = self.chunks.iter().map(OwnedChunk::bytes);
        chunks.filter_map(swapped).sum()
    }

    /// The parts of chunks that make up `range`.
    fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let first = self.ends.partition_point(|end| *end <= range.start);
        let mut at = range.start;
        (first..self.chunks.len()).map_while(move |index| {
            if at >= range.end {
                return None;
            }
            let bytes = self.chunks[index].bytes();
            let chunk_start = self.ends[index] - bytes.len();
            let piece = &bytes[at - chunk_start..range.end.min(self.ends[index]) - chunk_start];
            at = self.ends[index];
            Some(piece)
        })
    }
}

fn give_hint(watch: &Watch, advice: SeedAdvice, bytes: &[u8]) -> io::Result<()> {
    let hint = match advice {
        SeedAdvice::Cold => Hint::Cold,
        SeedAdvice::PageOut => Hint::PageOut,
    };
    watch.counters.hint_count.add(1);
    advise(bytes, hint, Rounding::Inward).inspect_err(|_| watch.counters.refused_count.add(1))
}

fn spans_of(chunks: &[OwnedChunk]) -> Spans {
    match chunks {
        [chunk] => Spans::One(Span::of(chunk.bytes())),
        chunks => Spans::Many(chunks.iter().map(|chunk| Span::of(chunk.bytes())).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(lens: &[usize]) -> (Watch, Kept) {
        let watch = Watch::new();
        let mut word = 0;
        let mut chunks: Vec<Vec<u64>> = lens
            .iter()
            .map(|len| {
                let chunk = (word..word + *len as u64).collect();
                word += *len as u64;
                chunk
            })
            .collect();
        let kept = Kept::keep(&watch, SeedAdvice::Cold, &mut Payload::new(&mut chunks)).unwrap();
        assert!(chunks.iter().all(Vec::is_empty));
        (watch, kept)
    }

    #[test]
    fn pieces_cross_chunk_boundaries_and_skip_empty_chunks() {
        let (_, kept) = kept(&[3, 0, 1, 4]);
        let whole: Vec<u8> = (0..8u64).flat_map(u64::to_ne_bytes).collect();
        for start in 0..=whole.len() {
            for end in start..=whole.len() {
                let bytes: Vec<u8> = kept.pieces(start..end).flatten().copied().collect();
                assert_eq!(bytes, whole[start..end], "{start}..{end}");
                assert!(kept.pieces(start..end).all(|piece| !piece.is_empty()));
            }
        }
    }

    #[test]
    fn only_a_single_chunk_of_the_wanted_kind_is_given_back() {
        let (watch, several) = kept(&[1, 1]);
        let several = several.detach(&watch, ChunkKind::Vec).unwrap_err();
        several.free(&watch);
        let (watch, single) = kept(&[0, 2]);
        let single = single.detach(&watch, ChunkKind::Buf).unwrap_err();
        let chunk = single.detach(&watch, ChunkKind::Vec).unwrap();
        assert_eq!(chunk.bytes(), [0, 1].map(u64::to_ne_bytes).as_flattened());
        assert_eq!(watch.live_payloads(), 0);
        assert_eq!(watch.counters.logical_bytes.get(), 0);
    }
}
