//! [`Checksums`]: 32 bits of XXH3 for each block of a payload, kept in memory.
//!
//! They stay with the slot and never reach the medium, so they tell the bytes of
//! this payload from those of any other, from older ones of the same place, and
//! from none at all. Four bytes to a block of 4 KiB: a thousandth of what is
//! stored. A block is also what every transfer moves at least, so a read of one
//! byte verifies one block.
//!
//! XXH3 (<https://github.com/Cyan4973/xxHash>) is no secret: it finds damage, of
//! which one in four thousand million goes unseen, and keeps out nobody who means
//! harm. It is three times as fast as CRC-32C where the processor multiplies
//! polynomials 128 bits at a time.

use pager_core::{Error, Result};
use smallvec::SmallVec;
use twox_hash::XxHash3_64;

use super::io_mode::BLOCK_BYTES;

/// Checksums of the blocks of one payload, in order; none if they are switched
/// off. Those of a small payload lie within the slot.
#[derive(Debug, Default)]
pub(super) struct Checksums(SmallVec<[u32; 4]>);

/// A block that is not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damage {
    /// First byte of the block, relative to the payload.
    pub(super) offset_bytes: u64,
    /// What is kept of it: its checksum, or the first half of its tag.
    pub(super) expected: u64,
    /// Zero for a block that is not there, or does not open.
    pub(super) found: u64,
}

impl Checksums {
    /// Room for the checksums of a payload of `len_bytes` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub(super) fn for_bytes(len_bytes: usize) -> Result<Self> {
        let count = len_bytes.div_ceil(BLOCK_BYTES);
        let mut sums = SmallVec::new();
        sums.try_reserve_exact(count)
            .map_err(|_| Error::OutOfMemory {
                needed_bytes: count * size_of::<u32>(),
            })?;
        Ok(Self(sums))
    }

    /// Bytes of memory that they take besides the slot.
    pub(super) fn memory_bytes(&self) -> usize {
        if self.0.spilled() {
            self.0.capacity() * size_of::<u32>()
        } else {
            0
        }
    }

    /// Adds those of `blocks`, the next whole blocks of the payload.
    pub(super) fn add(&mut self, blocks: &[u8]) {
        debug_assert!(
            blocks.len().is_multiple_of(BLOCK_BYTES),
            "blocks are written whole"
        );
        self.0.extend(blocks.chunks(BLOCK_BYTES).map(checksum));
    }

    /// Compares `bytes`, whole blocks that were read from byte `at` of the
    /// payload on, with what was written there.
    ///
    /// # Errors
    ///
    /// The first block that differs.
    pub(super) fn verify(&self, at: usize, bytes: &[u8]) -> Result<(), Damage> {
        let Some(expected) = self.0.get(at / BLOCK_BYTES..) else {
            return Ok(());
        };
        for (index, (block, &expected)) in bytes.chunks(BLOCK_BYTES).zip(expected).enumerate() {
            let found = checksum(block);
            if found != expected {
                return Err(Damage {
                    offset_bytes: (at + index * BLOCK_BYTES) as u64,
                    expected: expected.into(),
                    found: found.into(),
                });
            }
        }
        Ok(())
    }

    /// The damage that it is for byte `at` of the payload not to be there;
    /// `None` if checksums are switched off.
    pub(super) fn missing(&self, at: usize) -> Option<Damage> {
        self.0.get(at / BLOCK_BYTES).map(|&expected| Damage {
            offset_bytes: (at - at % BLOCK_BYTES) as u64,
            expected: expected.into(),
            found: 0,
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "every half of this hash is as good as the other"
)]
fn checksum(block: &[u8]) -> u32 {
    XxHash3_64::oneshot(block) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_lower_half_of_xxh3() {
        // The reference implementation's values for nothing and for 4096 zeros.
        assert_eq!(checksum(&[]), 0x38d3_94c2);
        assert_eq!(checksum(&[0; BLOCK_BYTES]), 0x48c6_89ba);
    }

    #[test]
    fn every_flipped_bit_of_a_block_is_found() {
        let mut bytes: Vec<u8> = (0..3 * BLOCK_BYTES)
            .map(|at| (at * 7 / 8).to_le_bytes()[0])
            .collect();
        let mut sums = Checksums::for_bytes(bytes.len()).unwrap();
        sums.add(&bytes[..BLOCK_BYTES]);
        sums.add(&bytes[BLOCK_BYTES..]);
        assert_eq!(sums.verify(0, &bytes), Ok(()));
        // An interpreter takes a moment for each; a prime step meets every bit of a byte.
        let step = if cfg!(miri) { 4099 } else { 1 };
        for bit in (0..BLOCK_BYTES * 8).step_by(step) {
            let at = BLOCK_BYTES + bit / 8;
            bytes[at] ^= 1 << (bit % 8);
            let damage = sums.verify(BLOCK_BYTES, &bytes[BLOCK_BYTES..]).unwrap_err();
            assert_eq!(damage.offset_bytes, BLOCK_BYTES as u64);
            assert_ne!(damage.expected, damage.found);
            bytes[at] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_missing_block_is_damage_and_without_checksums_nothing_is() {
        let mut sums = Checksums::for_bytes(1).unwrap();
        sums.add(&[1; BLOCK_BYTES]);
        let damage = sums.missing(100).unwrap();
        assert_eq!((damage.offset_bytes, damage.found), (0, 0));
        assert_eq!(Checksums::default().missing(0), None);
        assert_eq!(Checksums::default().verify(0, &[7; BLOCK_BYTES]), Ok(()));
    }
}
