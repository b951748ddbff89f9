//! [`Stream`]: incompressible words at the speed of memory.

use super::Block;

/// Independent generators side by side, so that the compiler uses vectors.
const LANES: usize = 8;

/// Eight xorshift generators (Marsaglia's 13, 7, 17), interleaved.
#[derive(Debug, Clone)]
pub struct Stream {
    lanes: [u64; LANES],
}

impl Stream {
    /// The stream of this key; different keys give unrelated streams.
    #[must_use]
    pub fn new(key: u64) -> Self {
        let mut state = key;
        Self {
            // An xorshift of zero stays zero.
            lanes: std::array::from_fn(|_| split_mix(&mut state) | 1),
        }
    }

    /// Overwrites `block` with the next words.
    pub fn next_into(&mut self, block: &mut Block) {
        let mut lanes = self.lanes;
        for words in block.as_chunks_mut::<LANES>().0 {
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane ^= *lane << 13;
                *lane ^= *lane >> 7;
                *lane ^= *lane << 17;
                *word = *lane;
            }
        }
        self.lanes = lanes;
    }

    /// One word, for offsets and the like; eight times the cost per word.
    pub fn next_word(&mut self) -> u64 {
        self.lanes.rotate_left(1);
        let lane = &mut self.lanes[0];
        *lane ^= *lane << 13;
        *lane ^= *lane >> 7;
        *lane ^= *lane << 17;
        *lane
    }
}

/// SplitMix64: spreads keys that differ in one bit over all bits.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
