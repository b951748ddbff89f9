//! Words that are different for every seed and every position, so that a word
//! in the wrong place is always seen. Those of one seed are near enough to each other
//! for a codec to make something of them.

/// The `index`-th word of the content that `seed` stands for.
#[must_use]
pub fn word(seed: u64, index: usize) -> u64 {
    // The high bits are the seed's alone, and the low ones enough for no position of
    // a few million to collide with another.
    mixed(seed, usize::MAX) << LOW_BITS | mixed(seed, index) >> (u64::BITS - LOW_BITS)
}

/// Bits of a word that depend on its position.
const LOW_BITS: u32 = 48;

/// The finaliser of SplitMix64.
fn mixed(seed: u64, index: usize) -> u64 {
    let mut word = seed
        .wrapping_mul(0xD129_0E3A_5B1C_4F87)
        .wrapping_add((index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// The first `len` words of the content that `seed` stands for.
#[must_use]
pub fn words(seed: u64, len: usize) -> Vec<u64> {
    (0..len).map(|index| word(seed, index)).collect()
}

/// The first `len` bytes of the content that `seed` stands for.
#[must_use]
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let words = words(seed, len.div_ceil(size_of::<u64>()));
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    bytes.truncate(len);
    bytes
}

/// Compares without printing millions of words: says where the first
/// difference is.
///
/// # Panics
///
/// If `found` is not `expected`.
#[track_caller]
pub fn assert_words(found: &[u64], expected: &[u64], what: &str) {
    let difference = found.iter().zip(expected).position(|(a, b)| a != b);
    if let Some(index) = difference {
        let (found, expected) = (found[index], expected[index]);
        panic!("{what}: word {index} is {found:#018x} instead of {expected:#018x}");
    }
    assert!(
        found.len() == expected.len(),
        "{what}: {} words instead of {}",
        found.len(),
        expected.len()
    );
}

/// As [`assert_words`], of bytes.
///
/// # Panics
///
/// If `found` is not `expected`.
#[track_caller]
pub fn assert_bytes(found: &[u8], expected: &[u8], what: &str) {
    let difference = found.iter().zip(expected).position(|(a, b)| a != b);
    if let Some(index) = difference {
        let (found, expected) = (found[index], expected[index]);
        panic!("{what}: byte {index} is {found:#04x} instead of {expected:#04x}");
    }
    assert!(
        found.len() == expected.len(),
        "{what}: {} bytes instead of {}",
        found.len(),
        expected.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_words_of_a_few_seeds_are_alike() {
        let each = if cfg!(miri) { 50 } else { 1000 };
        let mut all: Vec<u64> = (0..8).flat_map(|seed| words(seed, each)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8 * each);
    }

    #[test]
    #[should_panic(expected = "word 2 is")]
    fn a_difference_is_located() {
        assert_words(&[1, 2, 3], &[1, 2, 4], "words");
    }

    #[test]
    #[should_panic(expected = "2 words instead of 3")]
    fn a_missing_tail_is_seen() {
        assert_words(&[1, 2], &[1, 2, 4], "words");
    }
}
