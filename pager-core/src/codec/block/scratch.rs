//! [`Scratch`]: the memory that encoding and decoding blocks need besides what
//! goes in and comes out. Some 200 KiB, meant to be kept and used again.

use std::fmt;

use super::dictionary::Table;
use super::element::VECTOR;
use super::general::Contexts;
use super::{MAX_BLOCK_BYTES, WORD_BYTES};

/// Memory to encode and decode with; holds nothing between two calls.
pub struct Scratch {
    /// The block that is being made. No scheme makes one of twice its plain length.
    pub(super) out: Box<[u64]>,
    /// A block of general bytes that is being undone.
    pub(super) bytes: Box<[u64]>,
    /// A vector that was not aligned, or that is being undone.
    pub(super) plain: Box<[u64; VECTOR]>,
    /// What is packed in place of a vector: its differences, say.
    pub(super) shifted: Box<[u64; VECTOR]>,
    /// What a dictionary has numbers for.
    pub(super) table: Box<Table>,
    pub(super) contexts: Contexts,
}

impl Scratch {
    /// Bytes that it takes, but for what zstd keeps.
    pub(in crate::codec) const BYTES: usize =
        3 * MAX_BLOCK_BYTES + 3 * VECTOR * WORD_BYTES + size_of::<Table>();

    /// All of it, zeroed.
    #[must_use]
    pub fn new() -> Self {
        const BLOCK_WORDS: usize = MAX_BLOCK_BYTES / WORD_BYTES;
        Self {
            out: vec![0; 2 * BLOCK_WORDS + VECTOR].into_boxed_slice(),
            bytes: vec![0; BLOCK_WORDS].into_boxed_slice(),
            plain: Box::new([0; VECTOR]),
            shifted: Box::new([0; VECTOR]),
            table: Box::default(),
            contexts: Contexts::default(),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}
