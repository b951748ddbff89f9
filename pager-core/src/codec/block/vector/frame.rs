//! [`Frame`]: the reference and the width that fit numbers best, exceptions apart.

use super::exception_words;
use crate::codec::block::element::{Element, VECTOR, WORDS_PER_BIT};

/// Sampled numbers from which it is told where most of them lie.
const SAMPLE: usize = 64;

/// How far from either end of the sample "most" begins.
const FRINGE: usize = 3;

/// A reference, and how numbers are stored relative to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<T> {
    pub(super) reference: T,
    pub(super) width: usize,
    pub(super) exceptions: usize,
    pub(super) exception_bytes: usize,
}

impl<T: Element> Frame<T> {
    /// The frame in which every number fits.
    pub(super) fn all(numbers: &[T; VECTOR]) -> Self {
        let (least, most) = bounds(numbers);
        Self {
            reference: least,
            width: most.sub(least).bits(),
            exceptions: 0,
            exception_bytes: 1,
        }
    }

    /// The frame that takes the least room, with exceptions beyond it.
    pub(super) fn most(numbers: &[T; VECTOR]) -> Self {
        let (least, most) = bounds(numbers);
        if least == most {
            return Self::all_between(least, most);
        }
        let reference = reference(numbers, least);
        let counts = count_bits(numbers, reference);
        let widest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let exception_bytes = widest.div_ceil(8).next_power_of_two();
        let mut best = Self {
            reference,
            width: widest,
            exceptions: 0,
            exception_bytes,
        };
        let mut exceptions = 0;
        for width in (0..widest).rev() {
            exceptions += usize::from(counts[width + 1]);
            let frame = Self {
                width,
                exceptions,
                ..best
            };
            if frame.words() < best.words() {
                best = frame;
            }
        }
        best
    }

    fn all_between(least: T, most: T) -> Self {
        Self {
            reference: least,
            width: most.sub(least).bits(),
            exceptions: 0,
            exception_bytes: 1,
        }
    }

    /// Words that the numbers take.
    pub(super) fn words(&self) -> usize {
        let (places, values) = exception_words(self.exceptions, self.exception_bytes);
        WORDS_PER_BIT * self.width + places + values
    }
}

/// The least and the greatest of them.
fn bounds<T: Element>(numbers: &[T; VECTOR]) -> (T, T) {
    let (mut least, mut most) = (numbers[0], numbers[0]);
    for &number in numbers {
        least = least.min(number);
        most = most.max(number);
    }
    (least, most)
}

/// The least number, unless a few are so far below the others that it is better
/// to let them be exceptions: those wrap around and are wide.
fn reference<T: Element>(numbers: &[T; VECTOR], least: T) -> T {
    let mut sample: [T; SAMPLE] = std::array::from_fn(|at| numbers[at * (VECTOR / SAMPLE)]);
    let (_, low, above) = sample.select_nth_unstable(FRINGE);
    let low = *low;
    let (_, high, _) = above.select_nth_unstable(SAMPLE - 2 - 2 * FRINGE);
    if low.sub(least).bits() > high.sub(low).bits() + 1 {
        low
    } else {
        least
    }
}

/// How many numbers, less `reference`, have 0, 1, 2, … bits.
fn count_bits<T: Element>(numbers: &[T; VECTOR], reference: T) -> [u16; 65] {
    // Four counters for each, since neighbours are often alike, and a counter that
    // has just been written makes whoever reads it wait.
    let mut counts = [[0u16; 65]; 4];
    for four in numbers.as_chunks::<4>().0 {
        for (counts, number) in counts.iter_mut().zip(four) {
            counts[number.sub(reference).bits()] += 1;
        }
    }
    std::array::from_fn(|bits| counts.iter().map(|counts| counts[bits]).sum())
}
