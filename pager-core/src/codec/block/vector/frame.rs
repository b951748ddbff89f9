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

/// Places of exceptions, of which the first so many count.
pub(super) type Places = [u16; VECTOR];

impl<T: Element> Frame<T> {
    /// The frame in which every number fits.
    pub(super) fn all(numbers: &[T; VECTOR]) -> Self {
        let (least, most) = bounds(numbers);
        Self::between(least, most)
    }

    fn between(least: T, most: T) -> Self {
        Self {
            reference: least,
            width: most.sub(least).bits(),
            exceptions: 0,
            exception_bytes: 1,
        }
    }

    /// The frame that takes the least room by a sample, with exceptions beyond it,
    /// whose places it writes down.
    pub(super) fn most(numbers: &[T; VECTOR], places: &mut Places) -> Self {
        let (least, most) = bounds(numbers);
        let all = Self::between(least, most);
        if all.width == 0 {
            return all;
        }
        let mut sample: [T; SAMPLE] = std::array::from_fn(|at| numbers[sampled_place(at)]);
        let reference = reference(&mut sample, least);
        // What lies below the reference wraps around, and is wide.
        let widest = match reference == least {
            true => all.width,
            false => T::BITS,
        };
        let likely = Self::likely(reference, widest, &sample);
        if likely.width >= widest {
            return all;
        }
        let limit = T::from_u64(!(u64::MAX << likely.width));
        let exceptions = find(places, |at| numbers[at].sub(reference) > limit);
        let frame = Self {
            exceptions,
            ..likely
        };
        match frame.words() < all.words() {
            true => frame,
            false => all,
        }
    }

    /// The width that would take the least room if all numbers were as those of
    /// the sample, but for one that takes `widest` bits.
    fn likely(reference: T, widest: usize, sample: &[T; SAMPLE]) -> Self {
        let mut counts = [0u8; 65];
        for number in sample {
            counts[number.sub(reference).bits()] += 1;
        }
        let mut best = Self {
            reference,
            width: widest,
            exceptions: 0,
            exception_bytes: widest.div_ceil(8).next_power_of_two(),
        };
        let mut sampled = 0;
        for width in (0..widest).rev() {
            sampled += usize::from(counts[width + 1]);
            let frame = Self {
                width,
                exceptions: 1 + sampled * (VECTOR / SAMPLE),
                ..best
            };
            if frame.words() < best.words() {
                best = frame;
            }
        }
        best
    }

    /// Words that the frame in which all numbers fit takes at least, by a sample.
    pub(super) fn least_words(numbers: &[T; VECTOR]) -> usize {
        let (mut least, mut most) = (numbers[0], numbers[0]);
        for at in 0..SAMPLE {
            let number = numbers[sampled_place(at)];
            least = least.min(number);
            most = most.max(number);
        }
        Self::between(least, most).words()
    }

    /// Words that the numbers take.
    pub(super) fn words(&self) -> usize {
        let (places, values) = exception_words(self.exceptions, self.exception_bytes);
        WORDS_PER_BIT * self.width + places + values
    }
}

/// Where sample `at` is taken: each a little further on in its part of the vector than
/// the one before, for what repeats does so every so many elements.
const fn sampled_place(at: usize) -> usize {
    const PART: usize = VECTOR / SAMPLE;
    at * PART + (at * 5 + at / PART) % PART
}

/// The least and the greatest of them.
fn bounds<T: Element>(numbers: &[T; VECTOR]) -> (T, T) {
    // Several of each, so that the compiler takes vectors of them and no branches, which
    // what ascends at random would have the processor guess.
    const LANES: usize = 8;
    let (mut least, mut most) = ([numbers[0]; LANES], [numbers[0]; LANES]);
    for lanes in numbers.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            least[lane] = least[lane].min(lanes[lane]);
            most[lane] = most[lane].max(lanes[lane]);
        }
    }
    let least = least.into_iter().fold(numbers[0], T::min);
    (least, most.into_iter().fold(numbers[0], T::max))
}

/// The least number, unless a few are so far below the others that it is better
/// to let them be exceptions.
fn reference<T: Element>(sample: &mut [T; SAMPLE], least: T) -> T {
    let (_, low, above) = sample.select_nth_unstable(FRINGE);
    let low = *low;
    let (_, high, _) = above.select_nth_unstable(SAMPLE - 2 - 2 * FRINGE);
    if low.sub(least).bits() > high.sub(low).bits() + 1 {
        low
    } else {
        least
    }
}

/// Collects the places for which `is_one` says so, without a branch for each.
pub(super) fn find(places: &mut Places, is_one: impl Fn(usize) -> bool) -> usize {
    let mut count = 0;
    for at in 0..VECTOR {
        // `count` is at most `at` here.
        #[allow(clippy::cast_possible_truncation, reason = "a vector has 1,024")]
        let place = at as u16;
        places[count] = place;
        count += usize::from(is_one(at));
    }
    count
}
