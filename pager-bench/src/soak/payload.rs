//! [`Kept`]: a live payload and what it must come back as.
//!
//! Content follows from a seed, so the model of a payload is two numbers, and no
//! word of it is the same as its neighbour's or another payload's.

use std::ops::Range;

use pager::Handle;

use super::dice::Dice;

/// The most chunks of a payload.
pub const MAX_CHUNKS: usize = 4;

/// Most chunks have at least so many bytes, if the largest may have more.
const USUAL_MIN_BYTES: usize = 64 << 10;
/// And at most so many.
const USUAL_MAX_BYTES: usize = 2 << 20;

/// A live payload: its handle, and the model.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) handle: Handle,
    pub(super) content: Content,
}

/// What a payload contains: `len` words that follow from `seed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) seed: u64,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// A difference between what came back and what had to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference(pub(super) String);

/// The finaliser of SplitMix64 over both numbers.
pub(super) fn mix(seed: u64, index: u64) -> u64 {
    let mut word = seed
        .wrapping_mul(0xd129_0e3a_5b1c_4f87)
        .wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Content {
    fn word(&self, index: usize) -> u64 {
        mix(self.seed, (self.start + index) as u64)
    }

    /// These words of it.
    pub(super) fn part(&self, range: Range<usize>) -> impl Iterator<Item = u64> + use<> {
        let this = *self;
        range.map(move |index| this.word(index))
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.len * size_of::<u64>()) as u64
    }

    /// The content of consecutive chunks of these lengths.
    pub(super) fn cut<'a>(&self, lens: &'a [usize]) -> impl Iterator<Item = Self> + use<'a> {
        let mut next = *self;
        lens.iter().map(move |&len| {
            let part = Self { len, ..next };
            next.start += len;
            part
        })
    }

    /// Whether `words` are the words of `ranges`, one after the other.
    pub(super) fn compare(&self, words: &[u64], ranges: &[Range<usize>]) -> Result<(), Difference> {
        let wanted: usize = ranges.iter().map(ExactSizeIterator::len).sum();
        if words.len() != wanted {
            let found = words.len();
            return Err(Difference(format!("{found} words instead of {wanted}")));
        }
        let mut at = 0;
        for range in ranges {
            let found = &words[at..at + range.len()];
            let expected = self.part(range.clone());
            if let Some(index) = found.iter().zip(expected).position(|(a, b)| *a != b) {
                let (position, found) = (range.start + index, found[index]);
                let expected = self.word(position);
                return Err(Difference(format!(
                    "word {position} of {} is {found:#018x} instead of {expected:#018x}",
                    self.len
                )));
            }
            at += range.len();
        }
        Ok(())
    }
}

/// Lengths in words of the chunks of a payload: mostly usual ones, some tiny, some
/// as large as allowed, and now and then none at all.
pub(super) fn draw_lens(dice: &mut Dice, max_chunk_bytes: usize) -> Vec<usize> {
    if dice.once_in(64) {
        return vec![0; dice.below(2)];
    }
    let count = dice.between(1, MAX_CHUNKS);
    (0..count)
        .map(|_| draw_len(dice, max_chunk_bytes))
        .collect()
}

fn draw_len(dice: &mut Dice, max_chunk_bytes: usize) -> usize {
    let max_words = max_chunk_bytes / size_of::<u64>();
    let usual = |bytes: usize| (bytes / size_of::<u64>()).min(max_words);
    match dice.below(16) {
        0 => dice.between(1, max_words.min(64)),
        1 => dice.between(1, max_words),
        // Whole blocks, which take the short ways through the backends.
        2..=5 => {
            let len = dice.between(usual(USUAL_MIN_BYTES), usual(USUAL_MAX_BYTES));
            len.next_multiple_of(512).min(max_words)
        }
        _ => dice.between(usual(USUAL_MIN_BYTES), usual(USUAL_MAX_BYTES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Content {
        /// Whether `words` are all of it.
        fn compare_all(&self, words: &[u64]) -> Result<(), Difference> {
            self.compare(words, std::slice::from_ref(&(0..self.len)))
        }
    }

    #[test]
    fn a_wrong_word_is_located_and_a_missing_one_is_seen() {
        let content = Content {
            seed: 3,
            start: 0,
            len: 100,
        };
        let mut words: Vec<u64> = content.part(0..100).collect();
        assert_eq!(content.compare_all(&words), Ok(()));
        assert_eq!(content.compare(&words[10..30], &[10..20, 20..30]), Ok(()));
        words[42] ^= 1;
        let said = content.compare_all(&words).unwrap_err().0;
        assert!(said.starts_with("word 42 of 100 is"), "{said}");
        let said = content.compare_all(&words[..99]).unwrap_err().0;
        assert_eq!(said, "99 words instead of 100");
    }

    #[test]
    fn chunks_continue_each_other() {
        let content = Content {
            seed: 9,
            start: 0,
            len: 10,
        };
        let parts: Vec<_> = content.cut(&[3, 0, 7]).collect();
        let joined: Vec<u64> = parts
            .iter()
            .flat_map(|part| part.part(0..part.len))
            .collect();
        assert_eq!(content.compare_all(&joined), Ok(()));
    }

    #[test]
    fn no_chunk_is_larger_than_allowed() {
        let mut dice = Dice::new(1, 1);
        for _ in 0..2000 {
            for len in draw_lens(&mut dice, 4096) {
                assert!(len <= 512);
            }
        }
    }
}
