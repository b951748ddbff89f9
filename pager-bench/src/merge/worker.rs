//! [`Worker`]: one thread's share of both chains, from build to check.

use std::fmt;

use pager::Reuse;

use super::combine::combine;
use super::{Config, is_doomed};
use crate::CHUNK_WORDS;
use crate::buffer::Buffer;
use crate::data::{ChunkId, Generator};
use crate::measure::{Latencies, Operation};
use crate::store::{Store, Stored};
use crate::verify::{Mismatch, compare};

/// An output chunk that is not what the inputs imply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrong {
    /// The thread that made it.
    pub thread: u32,
    /// Which pair of inputs it was made from.
    pub index: u32,
    /// The first or the second of the two outputs.
    pub output: usize,
    /// What is wrong with it.
    pub mismatch: Mismatch,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "output {} of pair {} of thread {}: {}",
            self.output, self.index, self.thread, self.mismatch
        )
    }
}

/// Two chunks with the same place in the two chains.
#[derive(Debug)]
struct Pair<C> {
    index: u32,
    chunks: [Stored<C>; 2],
}

/// One thread's share of the workload.
#[derive(Debug)]
pub(super) struct Worker<'a, C> {
    thread: u32,
    config: &'a Config,
    generator: &'a Generator,
    store: &'a Store,
    /// The buffers that chunks are taken into.
    inputs: [C; 2],
    /// The buffers that chunks are made in.
    outputs: [C; 2],
    built: Vec<Pair<C>>,
    merged: Vec<Pair<C>>,
    put_count: u64,
    merged_count: u64,
    latencies: Latencies,
    wrong: Option<Wrong>,
}

impl<'a, C: Buffer> Worker<'a, C> {
    pub(super) fn new(
        thread: u32,
        config: &'a Config,
        generator: &'a Generator,
        store: &'a Store,
    ) -> Self {
        Self {
            thread,
            config,
            generator,
            store,
            inputs: Default::default(),
            outputs: Default::default(),
            built: Vec::new(),
            merged: Vec::new(),
            put_count: 0,
            merged_count: 0,
            latencies: Latencies::default(),
            wrong: None,
        }
    }

    pub(super) fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// Chunks put into the store so far.
    pub(super) fn put_count(&self) -> u64 {
        self.put_count
    }

    /// Input chunks merged so far.
    pub(super) fn merged_count(&self) -> u64 {
        self.merged_count
    }

    /// The first output found wrong.
    pub(super) fn wrong(&self) -> Option<Wrong> {
        self.wrong
    }

    /// Builds one chain after the other.
    pub(super) fn build(&mut self) -> pager_core::Result<()> {
        let first = self.build_chain(0)?;
        let second = self.build_chain(1)?;
        self.built = first
            .into_iter()
            .zip(second)
            .map(|((index, a), (_, b))| Pair {
                index,
                chunks: [a, b],
            })
            .collect();
        Ok(())
    }

    fn build_chain(&mut self, chain: u32) -> pager_core::Result<Vec<(u32, Stored<C>)>> {
        let mut built = Vec::new();
        for index in 0..self.config.share(self.thread) {
            let id = self.id(chain, index);
            self.outputs[0].fill(self.generator.blocks(id), CHUNK_WORDS)?;
            let stored = self.put(0, Operation::BuildPageout, Reuse::Unknown)?;
            if is_doomed(index, self.config.die_young) {
                self.latencies.time(Operation::Drop, || drop(stored));
            } else {
                built.push((index, stored));
            }
        }
        Ok(built)
    }

    /// Merges the chains pair by pair, hinting `lookahead` pairs ahead.
    pub(super) fn merge(&mut self) -> pager_core::Result<()> {
        let mut pairs: Vec<Option<Pair<C>>> = std::mem::take(&mut self.built)
            .into_iter()
            .map(Some)
            .collect();
        let ahead = self.config.lookahead;
        for pair in pairs.iter().take(ahead).flatten() {
            self.prefetch(pair);
        }
        for place in 0..pairs.len() {
            if ahead > 0
                && let Some(Some(next)) = pairs.get(place.saturating_add(ahead))
            {
                self.prefetch(next);
            }
            if let Some(pair) = pairs[place].take() {
                self.merge_pair(pair, u32::try_from(place).unwrap_or(u32::MAX))?;
            }
        }
        Ok(())
    }

    fn prefetch(&mut self, pair: &Pair<C>) {
        for stored in &pair.chunks {
            self.latencies
                .time(Operation::Prefetch, || self.store.prefetch(stored));
        }
    }

    fn merge_pair(&mut self, pair: Pair<C>, place: u32) -> pager_core::Result<()> {
        for (side, stored) in pair.chunks.into_iter().enumerate() {
            // A page-out may have kept the buffer that the last output was in.
            // What the last input came in is free now, and takes its place.
            if self.outputs[side].capacity_words() == 0 {
                std::mem::swap(&mut self.outputs[side], &mut self.inputs[side]);
            }
            let (store, input) = (self.store, &mut self.inputs[side]);
            self.latencies
                .time(Operation::Take, || store.take(stored, input))?;
        }
        combine(self.config.data, &self.inputs, &mut self.outputs)?;
        self.merged_count += 2;
        // Whoever reads the output does so when all of the input is merged.
        let reuse = if self.config.hints {
            Reuse::Late
        } else {
            Reuse::Unknown
        };
        let chunks = [
            self.put(0, Operation::Pageout, reuse)?,
            self.put(1, Operation::Pageout, reuse)?,
        ];
        if is_doomed(place, self.config.die_young) {
            for stored in chunks {
                self.latencies.time(Operation::Drop, || drop(stored));
            }
        } else {
            self.merged.push(Pair {
                index: pair.index,
                chunks,
            });
        }
        Ok(())
    }

    /// Puts `outputs[side]` into the store.
    fn put(
        &mut self,
        side: usize,
        operation: Operation,
        reuse: Reuse,
    ) -> pager_core::Result<Stored<C>> {
        let (store, output) = (self.store, &mut self.outputs[side]);
        let stored = self
            .latencies
            .time(operation, || store.put(output, reuse))?;
        self.put_count += 1;
        Ok(stored)
    }

    /// Takes the merged chunks back and compares them with what the generator
    /// implies, until one is wrong.
    pub(super) fn verify(&mut self) -> pager_core::Result<()> {
        for pair in std::mem::take(&mut self.merged) {
            for (chain, input) in (0..).zip(&mut self.inputs) {
                let id = ChunkId {
                    chain,
                    thread: self.thread,
                    index: pair.index,
                };
                input.fill(self.generator.blocks(id), CHUNK_WORDS)?;
            }
            combine(self.config.data, &self.inputs, &mut self.outputs)?;
            for (output, stored) in pair.chunks.into_iter().enumerate() {
                let found = &mut self.inputs[output];
                self.store.take(stored, found)?;
                if let Err(mismatch) = compare(self.outputs[output].elements(), found.elements()) {
                    self.wrong = Some(Wrong {
                        thread: self.thread,
                        index: pair.index,
                        output,
                        mismatch,
                    });
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn id(&self, chain: u32, index: u32) -> ChunkId {
        ChunkId {
            chain,
            thread: self.thread,
            index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataKind;

    #[test]
    fn one_wrong_word_in_the_output_is_reported_with_its_place() {
        let config = Config {
            chain_chunks: 3,
            threads: 1,
            data: DataKind::Random,
            lookahead: 0,
            hints: false,
            die_young: 0.0,
            verify: true,
        };
        let generator = Generator::new(config.data);
        let mut worker: Worker<'_, Vec<u64>> = Worker::new(0, &config, &generator, &Store::None);
        worker.build().unwrap();
        worker.merge().unwrap();
        let Stored::Chunk(chunk) = &mut worker.merged[2].chunks[1] else {
            panic!("a store without a pager keeps chunks");
        };
        chunk[70_000] ^= 1;
        worker.verify().unwrap();
        let wrong = worker.wrong().expect("the wrong word is found");
        assert_eq!((wrong.index, wrong.output), (2, 1));
        assert!(matches!(wrong.mismatch, Mismatch::Word { at: 70_000, .. }));
    }
}
