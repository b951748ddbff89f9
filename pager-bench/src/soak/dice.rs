//! [`Dice`]: choices that follow from a seed.

use super::payload::mix;

/// A small deterministic source of choices, one for each thread.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64, thread: u32) -> Self {
        Self(mix(seed, u64::from(thread)))
    }

    /// Any number.
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0, 0x736f_616b)
    }

    /// A number below `sides`, which is not zero.
    pub(super) fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.number() % sides as u64).expect("less than a usize")
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_chooses_the_same_and_another_thread_does_not() {
        let rolls = |seed, thread| -> Vec<_> {
            let mut dice = Dice::new(seed, thread);
            (0..32).map(|_| dice.below(1000)).collect()
        };
        assert_eq!(rolls(1, 0), rolls(1, 0));
        assert_ne!(rolls(1, 0), rolls(1, 1));
        assert_ne!(rolls(1, 0), rolls(2, 0));
    }

    #[test]
    fn both_ends_are_drawn() {
        let mut dice = Dice::new(7, 7);
        let drawn: Vec<_> = (0..200).map(|_| dice.between(3, 5)).collect();
        assert_eq!(
            (drawn.iter().min(), drawn.iter().max()),
            (Some(&3), Some(&5))
        );
    }
}
