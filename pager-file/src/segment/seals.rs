//! [`Cipher`] and [`Seals`]: blocks that nobody can read or change on the medium
//! (AES-256-GCM by `ring`).
//!
//! The key is drawn when the store is opened, lies in a [`Secret`], and is told to
//! nobody. Each block of 4 KiB is sealed by itself, so that any of them can be opened by
//! itself. Its tag stays in memory, where a checksum would be and in its place, and so
//! does its nonce; neither reaches the medium.
//!
//! **A nonce is a number that was never handed out before.** The cipher counts, with 64
//! bits, and whoever is about to write takes as many numbers as there are blocks; a
//! write that fails and is done again takes others. The counter lives and dies with its
//! key, a forked child has neither, and 2⁶⁴ blocks are more than a device can write in
//! ten thousand years.
//!
//! **A block opens at its place and time only.** Where it lies is authenticated with it,
//! and its number is that of one writing of it: what is changed, comes from elsewhere,
//! from another payload or from before, or is not there, does not open.

use std::sync::atomic::{AtomicU64, Ordering};

use pager_core::{Error, Result, Secret, SecretGuards};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::checksums::Damage;
use super::io_mode::BLOCK_BYTES;
use super::proof::Place;
use crate::BACKEND;

/// What seals and opens the blocks of one store.
#[derive(Debug)]
pub(super) struct Cipher {
    key: Secret<LessSafeKey>,
    /// Relaxed: each number is handed out once, in whatever order.
    next_number: AtomicU64,
}

/// What the blocks of one payload were sealed with: the number of the first one, those
/// of the others follow, and the tag of each.
#[derive(Debug)]
pub(super) struct Seals {
    first_number: u64,
    tags: Vec<[u8; TAG_BYTES]>,
}

/// Seals the blocks of one payload, one after the other.
#[derive(Debug)]
pub(super) struct Sealer<'c> {
    key: &'c LessSafeKey,
    place: Place,
    seals: Seals,
}

const TAG_BYTES: usize = 16;

impl Cipher {
    /// Draws a key.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], and [`Error::Io`] if the system gives no random bytes.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            key: Secret::new(draw_key)?,
            next_number: AtomicU64::new(0),
        })
    }

    /// What the kernel does for the key.
    pub(super) fn guards(&self) -> SecretGuards {
        self.key.guards()
    }

    /// What seals a payload of `len_bytes` that is written to `place`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; [`Error::ForeignProcess`] in a forked child.
    pub(super) fn sealer(&self, place: Place, len_bytes: usize) -> Result<Sealer<'_>> {
        let count = len_bytes.div_ceil(BLOCK_BYTES);
        let mut tags = Vec::new();
        tags.try_reserve_exact(count)
            .map_err(|_| Error::OutOfMemory {
                needed_bytes: count * TAG_BYTES,
            })?;
        let key = self.key.get().ok_or(Error::ForeignProcess)?;
        let first_number = self.next_number.fetch_add(count as u64, Ordering::Relaxed);
        let seals = Seals { first_number, tags };
        Ok(Sealer { key, place, seals })
    }

    /// Opens `blocks`, whole ones that were read from byte `at` of the payload at
    /// `place` on, where they lie.
    ///
    /// # Errors
    ///
    /// The first block that is not what was written, and in a forked child, which has no
    /// key, the first of all; what is in `blocks` from there on is nothing.
    pub(super) fn open(
        &self,
        seals: &Seals,
        place: Place,
        at: usize,
        blocks: &mut [u8],
    ) -> Result<(), Damage> {
        let key = self.key.get().ok_or_else(|| seals.damage(at))?;
        let first = at / BLOCK_BYTES;
        for (index, block) in (first..).zip(blocks.chunks_mut(BLOCK_BYTES)) {
            let tag = seals.tag(index);
            let nonce = nonce(seals.first_number + index as u64);
            let aad = Aad::from(associated(place, index));
            let opened = key.open_in_place_separate_tag(nonce, aad, Tag::from(tag), block, 0..);
            if opened.is_err() {
                return Err(seals.damage(index * BLOCK_BYTES));
            }
        }
        Ok(())
    }
}

impl Sealer<'_> {
    /// Seals `blocks`, the next whole ones of the payload, where they lie.
    pub(super) fn seal(&mut self, blocks: &mut [u8]) {
        debug_assert!(
            blocks.len().is_multiple_of(BLOCK_BYTES),
            "blocks are written whole"
        );
        for block in blocks.chunks_mut(BLOCK_BYTES) {
            let index = self.seals.tags.len();
            let nonce = nonce(self.seals.first_number + index as u64);
            let aad = Aad::from(associated(self.place, index));
            let tag = self
                .key
                .seal_in_place_separate_tag(nonce, aad, block)
                .expect("only a block of 64 GiB is too long");
            let mut kept = [0; TAG_BYTES];
            kept.copy_from_slice(tag.as_ref());
            self.seals.tags.push(kept);
        }
    }

    /// What has to be kept.
    pub(super) fn finish(self) -> Seals {
        self.seals
    }
}

impl Seals {
    /// Bytes of memory that they take besides the slot.
    pub(super) fn memory_bytes(&self) -> usize {
        self.tags.capacity() * TAG_BYTES
    }

    /// The damage that it is for the block at byte `at` of the payload not to open. A
    /// block does not say which tag it would have had.
    pub(super) fn damage(&self, at: usize) -> Damage {
        let mut head = [0; size_of::<u64>()];
        head.copy_from_slice(&self.tag(at / BLOCK_BYTES)[..size_of::<u64>()]);
        Damage {
            offset_bytes: (at - at % BLOCK_BYTES) as u64,
            expected: u64::from_le_bytes(head),
            found: 0,
        }
    }

    /// The tag of a block; none that fits any if it was never written, of which nobody
    /// reads.
    fn tag(&self, index: usize) -> [u8; TAG_BYTES] {
        self.tags.get(index).copied().unwrap_or_default()
    }
}

fn draw_key() -> Result<LessSafeKey> {
    let mut bytes = [0; 32];
    let drawn = SystemRandom::new().fill(&mut bytes);
    let key = drawn.and_then(|()| UnboundKey::new(&AES_256_GCM, &bytes));
    // The owner overwrites this stack.
    key.map(LessSafeKey::new).map_err(|_| Error::Io {
        backend: BACKEND,
        operation: "getrandom",
        path: None,
        source: std::io::Error::other("the system gives no random bytes for a key"),
    })
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..size_of::<u64>()].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// What is authenticated with a block: its segment, and its first byte in it.
fn associated(place: Place, index: usize) -> [u8; 12] {
    let offset_bytes = place.offset_bytes + (index * BLOCK_BYTES) as u64;
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&place.segment.to_le_bytes());
    bytes[4..].copy_from_slice(&offset_bytes.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = Place {
        segment: 3,
        offset_bytes: 7 * BLOCK_BYTES as u64,
    };

    fn plain() -> Vec<u8> {
        (0..3 * BLOCK_BYTES)
            .map(|at| (at * 7 / 8).to_le_bytes()[0])
            .collect()
    }

    fn sealed(cipher: &Cipher, place: Place) -> (Vec<u8>, Seals) {
        let mut blocks = plain();
        let mut sealer = cipher.sealer(place, blocks.len()).unwrap();
        let (front, back) = blocks.split_at_mut(BLOCK_BYTES);
        sealer.seal(front);
        sealer.seal(back);
        let seals = sealer.finish();
        assert_ne!(blocks, plain());
        (blocks, seals)
    }

    #[track_caller]
    fn damaged_at(opened: Result<(), Damage>, block: usize) {
        let damage = opened.unwrap_err();
        assert_eq!(damage.offset_bytes, (block * BLOCK_BYTES) as u64);
        assert_ne!(damage.expected, damage.found);
    }

    #[test]
    fn what_was_sealed_opens_whole_and_by_blocks() {
        let cipher = Cipher::new().unwrap();
        let (mut blocks, seals) = sealed(&cipher, HERE);
        let mut last = blocks[2 * BLOCK_BYTES..].to_vec();
        cipher
            .open(&seals, HERE, 2 * BLOCK_BYTES, &mut last)
            .unwrap();
        assert_eq!(last, plain()[2 * BLOCK_BYTES..]);
        cipher.open(&seals, HERE, 0, &mut blocks).unwrap();
        assert_eq!(blocks, plain());
        assert!(seals.memory_bytes() >= 3 * TAG_BYTES);
    }

    #[test]
    fn no_two_writings_are_alike() {
        let cipher = Cipher::new().unwrap();
        let (first, one) = sealed(&cipher, HERE);
        let (again, two) = sealed(&cipher, HERE);
        assert_ne!(first, again);
        assert!(two.first_number >= one.first_number + 3);
        // Blocks of one content differ as well.
        let mut zeros = vec![0; 2 * BLOCK_BYTES];
        let mut sealer = cipher.sealer(HERE, zeros.len()).unwrap();
        sealer.seal(&mut zeros);
        assert_ne!(zeros[..BLOCK_BYTES], zeros[BLOCK_BYTES..]);
    }

    #[test]
    fn what_is_changed_moved_or_old_does_not_open() {
        let cipher = Cipher::new().unwrap();
        let (blocks, seals) = sealed(&cipher, HERE);
        let step = if cfg!(miri) { 4099 } else { 61 };
        for bit in (0..BLOCK_BYTES * 8).step_by(step) {
            let mut changed = blocks.clone();
            changed[BLOCK_BYTES + bit / 8] ^= 1 << (bit % 8);
            damaged_at(cipher.open(&seals, HERE, 0, &mut changed), 1);
        }
        let mut swapped = blocks.clone();
        let (front, back) = swapped.split_at_mut(BLOCK_BYTES);
        front.swap_with_slice(&mut back[..BLOCK_BYTES]);
        damaged_at(cipher.open(&seals, HERE, 0, &mut swapped), 0);
        for there in [
            Place { segment: 4, ..HERE },
            Place {
                offset_bytes: 0,
                ..HERE
            },
        ] {
            damaged_at(cipher.open(&seals, there, 0, &mut blocks.clone()), 0);
        }
        let (_, later) = sealed(&cipher, HERE);
        damaged_at(cipher.open(&later, HERE, 0, &mut blocks.clone()), 0);
        let other = Cipher::new().unwrap();
        damaged_at(other.open(&seals, HERE, 0, &mut blocks.clone()), 0);
        damaged_at(Err(seals.damage(BLOCK_BYTES + 5)), 1);
    }
}
