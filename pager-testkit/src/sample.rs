//! [`Sample`]: chunks of several kinds, as the bytes that they are made of.

use pager_core::{Chunk, ChunkBuf, Destination, Pod};

/// A chunk and destination that a test can make and look into.
pub trait Sample: Chunk<Element = Self::Of> + Destination<Element = Self::Of> {
    /// What it is made of.
    type Of: Pod;

    /// Made of these bytes, a whole number of elements.
    #[must_use]
    fn of(bytes: &[u8]) -> Self;

    /// What it holds.
    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self.elements())
    }
}

impl Sample for Vec<u8> {
    type Of = u8;

    fn of(bytes: &[u8]) -> Self {
        bytes.to_vec()
    }
}

impl Sample for Vec<u64> {
    type Of = u64;

    fn of(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks();
        assert!(rest.is_empty(), "whole words");
        words.iter().map(|word| u64::from_ne_bytes(*word)).collect()
    }
}

impl Sample for ChunkBuf<u8> {
    type Of = u8;

    fn of(bytes: &[u8]) -> Self {
        Self::try_from(bytes).expect("memory for a test")
    }
}
