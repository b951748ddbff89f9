//! The words of every input chunk, as a pure function of its place.
//!
//! The same [`ChunkId`] gives the same words at any time, so nothing has to be
//! remembered to check results, and no two chunks of a run are alike. Producing
//! a chunk costs about as much as writing it once, block by block through the
//! first-level cache: the workload must not be what is measured.

mod lineitem;
mod random;

use std::fmt;
use std::str::FromStr;

pub use lineitem::Lineitem;
pub use random::Stream;

/// Words that are produced at a time: a page, which stays in the cache.
pub const BLOCK_WORDS: usize = 512;

/// One block of words.
pub type Block = [u64; BLOCK_WORDS];

/// What the chunks contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    /// Random words, which no codec makes smaller.
    Random,
    /// Columns of TPC-H `lineitem`, widened to words.
    Lineitem,
}

impl FromStr for DataKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "random" => Ok(Self::Random),
            "lineitem" => Ok(Self::Lineitem),
            _ => Err(format!("no such data: {name} (random, lineitem)")),
        }
    }
}

impl fmt::Display for DataKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::Lineitem => "lineitem",
        })
    }
}

/// Which chunk of which chain on which thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkId {
    /// 0 for the first chain, 1 for the second.
    pub chain: u32,
    /// The thread that builds and merges it.
    pub thread: u32,
    /// Its place in its thread's part of the chain.
    pub index: u32,
}

impl ChunkId {
    /// A number that no other chunk of a run has.
    fn key(self) -> u64 {
        // 1, 15 and 32 bits of 64: no more threads than that ever start. The high
        // 16 bits stay 0.
        u64::from(self.chain) << 47 | u64::from(self.thread) << 32 | u64::from(self.index)
    }
}

/// Makes the words of chunks.
#[derive(Debug)]
pub enum Generator {
    /// See [`DataKind::Random`].
    Random,
    /// See [`DataKind::Lineitem`].
    Lineitem(Lineitem),
}

impl Generator {
    /// A generator; for `lineitem` this generates the table's rows.
    #[must_use]
    pub fn new(kind: DataKind) -> Self {
        match kind {
            DataKind::Random => Self::Random,
            DataKind::Lineitem => Self::Lineitem(Lineitem::generate()),
        }
    }

    /// The words of chunk `id`, block by block.
    #[must_use]
    pub fn blocks(&self, id: ChunkId) -> Blocks<'_> {
        match self {
            Self::Random => Blocks(Source::Random(Stream::new(id.key()))),
            Self::Lineitem(lineitem) => Blocks(Source::Lineitem(lineitem.cursor(id))),
        }
    }
}

/// The endless blocks of one chunk.
#[derive(Debug)]
pub struct Blocks<'a>(Source<'a>);

#[derive(Debug)]
enum Source<'a> {
    Random(Stream),
    Lineitem(lineitem::Cursor<'a>),
}

impl Blocks<'_> {
    /// Overwrites `block` with the next words.
    pub fn next_into(&mut self, block: &mut Block) {
        match &mut self.0 {
            Source::Random(stream) => stream.next_into(block),
            Source::Lineitem(cursor) => cursor.next_into(block),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_block(generator: &Generator, chain: u32, thread: u32, index: u32) -> Block {
        let mut block = [0; BLOCK_WORDS];
        let id = ChunkId {
            chain,
            thread,
            index,
        };
        generator.blocks(id).next_into(&mut block);
        block
    }

    #[test]
    fn every_chunk_differs_and_repeats_itself() {
        for kind in [DataKind::Random, DataKind::Lineitem] {
            let generator = Generator::new(kind);
            let mut seen = std::collections::HashSet::new();
            for (chain, thread, index) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 14)] {
                let block = first_block(&generator, chain, thread, index);
                assert_eq!(block, first_block(&generator, chain, thread, index));
                assert!(seen.insert(block), "{kind}: {chain} {thread} {index}");
            }
        }
    }

    #[test]
    fn names_of_data_round_trip() {
        for kind in [DataKind::Random, DataKind::Lineitem] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("zeros".parse::<DataKind>().is_err());
    }
}
