//! [`Config`]: what one run of the merge does, and which chunks die young.

use crate::data::DataKind;

/// What to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Chunks of each of the two chains, over all threads together.
    pub chain_chunks: u32,
    /// Threads that build and merge a share of the chains each.
    pub threads: u32,
    /// What the chunks contain.
    pub data: DataKind,
    /// Pairs of chunks that are prefetched ahead of the one being merged.
    pub lookahead: usize,
    /// Whether outputs are said to be wanted later than all inputs.
    pub hints: bool,
    /// Share of the chunks, inputs and outputs alike, that are dropped as soon
    /// as they are paged out: 0 for none, 1 for all.
    pub die_young: f64,
    /// Whether the output is read back and compared.
    pub verify: bool,
}

impl Config {
    /// Chunks of each chain that `thread` is in charge of.
    #[must_use]
    pub fn share(&self, thread: u32) -> u32 {
        let (each, rest) = (
            self.chain_chunks / self.threads,
            self.chain_chunks % self.threads,
        );
        each + u32::from(thread < rest)
    }
}

/// Whether the chunk at `index` of a chain dies young: such chunks are spread
/// evenly, and of the first `n` there are `n * fraction`, rounded down.
#[must_use]
pub fn is_doomed(index: u32, fraction: f64) -> bool {
    doomed_below(index + 1, fraction) > doomed_below(index, fraction)
}

/// How many of the first `count` chunks die young.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction of a count is within its range"
)]
#[must_use]
pub fn doomed_below(count: u32, fraction: f64) -> u32 {
    (f64::from(count) * fraction.clamp(0.0, 1.0)).floor() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doomed_are_the_fraction_asked_for() {
        for (fraction, doomed) in [(0.0, 0), (0.25, 25), (0.5, 50), (1.0, 100), (7.0, 100)] {
            let found = (0..100).filter(|index| is_doomed(*index, fraction)).count();
            assert_eq!(found, doomed, "{fraction}");
        }
    }

    #[test]
    fn shares_add_up_to_the_chain() {
        for threads in 1..9 {
            let config = Config {
                chain_chunks: 7,
                threads,
                data: DataKind::Random,
                lookahead: 0,
                hints: false,
                die_young: 0.0,
                verify: false,
            };
            let sum: u32 = (0..threads).map(|thread| config.share(thread)).sum();
            assert_eq!(sum, 7);
        }
    }
}
