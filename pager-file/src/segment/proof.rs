//! [`Proof`]: what is kept in memory of the blocks of a payload, to know them again
//! when they come back; and [`Protection`], which kind of it a store keeps.
//!
//! Checksums find damage. Seals find whatever is not exactly what was written there,
//! malice included, and make blocks unreadable on the medium.

use pager_core::Result;

use super::checksums::{Checksums, Damage};
#[cfg(feature = "encryption")]
use super::seals::{Cipher, Sealer, Seals};

/// What a store does for the blocks that it keeps.
#[derive(Debug)]
pub(super) enum Protection {
    /// Nothing: damage comes back as it is.
    None,
    /// They are compared with checksums.
    Checksums,
    /// They are sealed.
    #[cfg(feature = "encryption")]
    Seals(Cipher),
}

/// What the blocks of one payload must be when they come back.
#[derive(Debug)]
pub(super) enum Proof {
    /// Empty without protection.
    Checksums(Checksums),
    #[cfg(feature = "encryption")]
    Seals(Seals),
}

/// Where a payload lies: its segment, and its first byte in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset_bytes: u64,
}

/// Makes the proof of a payload while its blocks are on their way.
#[derive(Debug)]
pub(super) struct Prover<'p> {
    protection: &'p Protection,
    checksums: Checksums,
    #[cfg(feature = "encryption")]
    sealer: Option<Sealer<'p>>,
}

/// Whole blocks that are about to be written.
#[derive(Debug)]
pub(super) enum Seen<'b> {
    /// They are the caller's own memory.
    InPlace(&'b [u8]),
    /// They were copied into a staging buffer.
    Copied(&'b mut [u8]),
}

impl Protection {
    /// Whether blocks are compared with anything.
    pub(super) fn verifies(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether blocks are changed on their way, so that they have to be copied first.
    pub(super) fn changes_blocks(&self) -> bool {
        #[cfg(feature = "encryption")]
        return matches!(self, Self::Seals(_));
        #[cfg(not(feature = "encryption"))]
        false
    }

    /// Begins the proof of a payload of `len_bytes` that is written to `place`.
    ///
    /// # Errors
    ///
    /// [`pager_core::Error::OutOfMemory`]; with seals
    /// [`pager_core::Error::ForeignProcess`] in a forked child.
    pub(super) fn begin(&self, place: Place, len_bytes: usize) -> Result<Prover<'_>> {
        let mut prover = Prover {
            protection: self,
            checksums: Checksums::default(),
            #[cfg(feature = "encryption")]
            sealer: None,
        };
        match self {
            Self::None => {}
            Self::Checksums => prover.checksums = Checksums::for_bytes(len_bytes)?,
            #[cfg(feature = "encryption")]
            Self::Seals(cipher) => prover.sealer = Some(cipher.sealer(place, len_bytes)?),
        }
        let _ = place;
        Ok(prover)
    }

    /// Whether `bytes`, whole blocks that were read from byte `at` of the payload at
    /// `place` on, are what was written; makes them readable where they lie.
    ///
    /// # Errors
    ///
    /// The first block that is not.
    pub(super) fn verify(
        &self,
        proof: &Proof,
        place: Place,
        at: usize,
        bytes: &mut [u8],
    ) -> Result<(), Damage> {
        let _ = place;
        match proof {
            Proof::Checksums(checksums) => checksums.verify(at, bytes),
            #[cfg(feature = "encryption")]
            Proof::Seals(seals) => match self {
                Self::Seals(cipher) => cipher.open(seals, place, at, bytes),
                // Of a store that has another protection, and so is not this one.
                Self::None | Self::Checksums => Err(seals.damage(at)),
            },
        }
    }
}

impl Prover<'_> {
    /// Takes note of the next blocks of the payload, and changes them to what is to be
    /// written.
    pub(super) fn see(&mut self, blocks: Seen<'_>) {
        match self.protection {
            Protection::None => {}
            Protection::Checksums => match blocks {
                Seen::InPlace(blocks) => self.checksums.add(blocks),
                Seen::Copied(blocks) => self.checksums.add(blocks),
            },
            #[cfg(feature = "encryption")]
            Protection::Seals(_) => match (blocks, &mut self.sealer) {
                (Seen::Copied(blocks), Some(sealer)) => sealer.seal(blocks),
                _ => unreachable!("what is sealed was copied first"),
            },
        }
    }

    /// What has to be kept.
    pub(super) fn finish(self) -> Proof {
        #[cfg(feature = "encryption")]
        if let Some(sealer) = self.sealer {
            return Proof::Seals(sealer.finish());
        }
        Proof::Checksums(self.checksums)
    }
}

impl Proof {
    /// Bytes of memory that it takes besides the slot.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Checksums(checksums) => checksums.memory_bytes(),
            #[cfg(feature = "encryption")]
            Self::Seals(seals) => seals.memory_bytes(),
        }
    }

    /// The damage that it is for byte `at` of the payload not to be there; `None`
    /// without protection.
    pub(super) fn missing(&self, at: usize) -> Option<Damage> {
        match self {
            Self::Checksums(checksums) => checksums.missing(at),
            #[cfg(feature = "encryption")]
            Self::Seals(seals) => Some(seals.damage(at)),
        }
    }
}

impl Default for Proof {
    fn default() -> Self {
        Self::Checksums(Checksums::default())
    }
}
