//! Vectors: 1,024 elements at a time, each with the frame that fits it best.
//!
//! A block of vectors has a descriptor of two words for each, and behind them the
//! data of each:
//!
//! ```text
//! descriptor  mode, width, bytes to an exception, exponent, exceptions; reference
//! data        the value before the first, for differences
//!             1,024 numbers of `width` bits, less the reference
//!             places of the exceptions, 2 bytes each
//!             the exceptions, as many bytes each as the widest of them needs
//! ```
//!
//! What does not fit into the width is an exception. So a run is a difference of
//! zero that takes no bits, and where it ends an exception: lengths of runs need no
//! scheme of their own.

mod decode;
mod encode;
mod frame;

use std::ops::Range;

use super::element::{Element, VECTOR, WORDS_PER_BIT};
use super::{Damaged, Header, Kind, Scratch, WORD_BYTES, overlap, put_bytes, split_elements};
use crate::codec::Scheme;

/// Words of a descriptor.
const DESCRIPTOR_WORDS: usize = 2;

/// Powers of ten by which decimals are multiplied; all are exact.
pub(super) const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// What the numbers of a vector are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The elements.
    Values = 0,
    /// Each element less the one before.
    Differences = 1,
    /// Floats multiplied by a power of ten.
    Decimals = 2,
}

/// How one vector is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Descriptor {
    mode: Mode,
    width: usize,
    exception_bytes: usize,
    exponent: usize,
    exceptions: usize,
    /// As many of its low bits as an element has.
    reference: u64,
}

impl Descriptor {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "every field but the reference is at most 1,024"
    )]
    fn to_words(self) -> [u64; DESCRIPTOR_WORDS] {
        let [low, high] = (self.exceptions as u16).to_le_bytes();
        let first = [
            self.mode as u8,
            self.width as u8,
            self.exception_bytes as u8,
            self.exponent as u8,
            low,
            high,
            0,
            0,
        ];
        [u64::from_le_bytes(first), self.reference]
    }

    /// Reads one and checks every field, so that nothing that follows from them
    /// can go wrong.
    fn from_words<T: Element>(words: [u64; DESCRIPTOR_WORDS]) -> Result<Self, Damaged> {
        let [mode, width, exception_bytes, exponent, low, high, ..] = words[0].to_le_bytes();
        let descriptor = Self {
            mode: match mode {
                0 => Mode::Values,
                1 => Mode::Differences,
                2 if T::default().to_float().is_some() => Mode::Decimals,
                _ => return Err(Damaged::new("a vector is of no known mode")),
            },
            width: width.into(),
            exception_bytes: exception_bytes.into(),
            exponent: exponent.into(),
            exceptions: u16::from_le_bytes([low, high]).into(),
            reference: words[1],
        };
        let possible = descriptor.width <= T::BITS
            && matches!(exception_bytes, 1 | 2 | 4 | 8)
            && descriptor.exception_bytes <= T::BYTES
            && descriptor.exponent < POWERS.len()
            && descriptor.exceptions <= VECTOR;
        match possible {
            true => Ok(descriptor),
            false => Err(Damaged::new("a vector is described as none can be")),
        }
    }

    /// Words that the packed numbers take.
    fn packed_words(&self) -> usize {
        WORDS_PER_BIT * self.width
    }

    /// Words that the value before the first takes.
    fn base_words(&self) -> usize {
        usize::from(self.mode == Mode::Differences)
    }

    /// Words of the places of the exceptions, and of the exceptions.
    fn exception_words(&self) -> (usize, usize) {
        exception_words(self.exceptions, self.exception_bytes)
    }

    fn data_words(&self) -> usize {
        let (places, values) = self.exception_words();
        self.base_words() + self.packed_words() + places + values
    }
}

fn exception_words(exceptions: usize, bytes: usize) -> (usize, usize) {
    let places = (exceptions * size_of::<u16>()).div_ceil(WORD_BYTES);
    (places, (exceptions * bytes).div_ceil(WORD_BYTES))
}

/// Encodes a block of vectors into the scratch, and says how many words it has;
/// `None` if there is no whole element.
pub(super) fn encode_all<T: Element>(
    scheme: Scheme,
    plain: &[u8],
    scratch: &mut Scratch,
) -> Option<usize> {
    let (elements, odd) = split_elements::<T>(plain);
    if elements.is_empty() {
        return None;
    }
    let vectors = elements.len().div_ceil(VECTOR * T::BYTES);
    let header = Header {
        kind: Kind::Vectors,
        width: super::ElementWidth::of_bytes(T::BYTES)?,
        count: 0,
        plain_len: plain.len(),
    };
    let Scratch {
        out,
        plain: copy,
        shifted,
        ..
    } = scratch;
    out[0] = header.to_word();
    let mut end = 1 + DESCRIPTOR_WORDS * vectors;
    for (index, bytes) in elements.chunks(VECTOR * T::BYTES).enumerate() {
        let vector = super::load::<T>(bytes, copy);
        let descriptor = encode::encode(scheme, vector, shifted, &mut out[end..]);
        let at = 1 + DESCRIPTOR_WORDS * index;
        out[at..at + DESCRIPTOR_WORDS].copy_from_slice(&descriptor.to_words());
        end += descriptor.data_words();
    }
    let odd_words = odd.len().div_ceil(WORD_BYTES);
    put_bytes(&mut out[end..end + odd_words], odd);
    Some(end + odd_words)
}

/// Yields bytes `range` of a block of vectors, of which it decodes only those that
/// it has to.
pub(super) fn decode_all<T: Element>(
    body: &[u64],
    plain_len: usize,
    range: Range<usize>,
    scratch: &mut Scratch,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Damaged> {
    let odd_len = plain_len % T::BYTES;
    let elements_len = plain_len - odd_len;
    let vector_len = VECTOR * T::BYTES;
    let vectors = elements_len.div_ceil(vector_len);
    let (descriptors, mut data) = body
        .split_at_checked(DESCRIPTOR_WORDS * vectors)
        .ok_or(SHORT)?;
    for (index, words) in descriptors.as_chunks().0.iter().enumerate() {
        let descriptor = Descriptor::from_words::<T>(*words)?;
        let (own, rest) = data
            .split_at_checked(descriptor.data_words())
            .ok_or(SHORT)?;
        data = rest;
        let start = index * vector_len;
        let wanted = overlap(&range, start..elements_len.min(start + vector_len));
        if !wanted.is_empty() {
            let vector = super::as_vector_mut::<T>(&mut scratch.plain);
            decode::decode(&descriptor, own, vector)?;
            sink(&bytemuck::cast_slice(vector)[wanted]);
        }
    }
    if data.len() != odd_len.div_ceil(WORD_BYTES) {
        return Err(SHORT);
    }
    sink(&bytemuck::cast_slice(data)[overlap(&range, elements_len..plain_len)]);
    Ok(())
}

const SHORT: Damaged = Damaged::new("its vectors have another length than they say");
