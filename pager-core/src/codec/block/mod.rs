//! One block of a payload, smaller: some KiB of elements of one width, encoded so
//! that it decodes by itself.
//!
//! Guarantees: what [`encode`] made, [`decode`] gives back byte for byte, and any
//! range of it without the rest where the scheme allows. [`decode`] believes
//! nothing: whatever it is given, it yields exactly the bytes asked for or says
//! [`Damaged`], reads nothing beyond, and needs no more memory than its scratch.
//!
//! Refuses: blocks of more than [`MAX_BLOCK_BYTES`].
//!
//! A block is whole words of 8 bytes, and begins with one that says what it is:
//!
//! ```text
//! byte 0     kind: plain, vectors, dictionary, lz4, zstd
//! byte 1     bytes to an element
//! bytes 2-3  entries of the dictionary; bytes of filling at the end of lz4 and zstd
//! bytes 4-7  bytes that it decodes to
//! ```
//!
//! ```text
//! element     integers of 1, 2, 4 and 8 bytes and their bit packing
//! vector      1,024 elements: frame of reference, differences, decimals, exceptions
//! dictionary  blocks of few distinct values
//! fingerprint what can be told of elements at a glance
//! general     bytes without numbers in them: lz4, zstd
//! scratch     what encoding and decoding need besides
//! ```

/// Calls a function that is generic over the element with the type of this width.
macro_rules! with_element {
    ($width:expr, $function:ident ( $($argument:expr),* $(,)? )) => {
        match $width {
            ElementWidth::One => $function::<u8>($($argument),*),
            ElementWidth::Two => $function::<u16>($($argument),*),
            ElementWidth::Four => $function::<u32>($($argument),*),
            ElementWidth::Eight => $function::<u64>($($argument),*),
        }
    };
}

mod dictionary;
mod element;
mod fingerprint;
mod general;
mod scratch;
mod vector;

use std::ops::Range;

pub(super) use fingerprint::fingerprint;
pub use scratch::Scratch;

use super::Scheme;
use element::{Element, VECTOR};

/// Most bytes that a block may decode to.
pub const MAX_BLOCK_BYTES: usize = 64 << 10;

const WORD_BYTES: usize = size_of::<u64>();

/// Bytes to an element: 1, 2, 4 or 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementWidth {
    /// Bytes, or elements of any other width.
    One,
    /// `u16`, `i16`.
    Two,
    /// `u32`, `i32`, `f32`.
    Four,
    /// `u64`, `i64`, `f64`.
    Eight,
}

impl ElementWidth {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::One, Self::Two, Self::Four, Self::Eight];

    /// The width of elements of so many bytes, if there are such.
    #[must_use]
    pub const fn of_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    /// Bytes to an element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// A stored block is not one that [`encode`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block cannot be decoded: {what}")]
pub struct Damaged {
    what: &'static str,
}

impl Damaged {
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what }
    }
}

/// What a block is, as its first word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    kind: Kind,
    width: ElementWidth,
    count: u16,
    plain_len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain = 1,
    Vectors = 2,
    Dictionary = 3,
    Lz4 = 4,
    Zstd = 5,
}

impl Header {
    fn to_word(self) -> u64 {
        let plain_len = self.plain_len as u64;
        self.kind as u64
            | (self.width.bytes() as u64) << 8
            | u64::from(self.count) << 16
            | plain_len << 32
    }

    fn from_word(word: u64) -> Result<Self, Damaged> {
        let [kind, width, low, high, len @ ..] = word.to_le_bytes();
        Ok(Self {
            kind: match kind {
                1 => Kind::Plain,
                2 => Kind::Vectors,
                3 => Kind::Dictionary,
                4 => Kind::Lz4,
                5 => Kind::Zstd,
                _ => return Err(Damaged::new("it is of no known kind")),
            },
            width: ElementWidth::of_bytes(width.into())
                .ok_or(Damaged::new("its elements have no possible width"))?,
            count: u16::from_le_bytes([low, high]),
            plain_len: u32::from_le_bytes(len) as usize,
        })
    }
}

/// Encodes `plain`, elements of `width`, and gives the words of the block back.
///
/// What `scheme` cannot do is done otherwise, at worst stored as it is: the block
/// is never longer than `plain` and one word more.
///
/// # Panics
///
/// If `plain` has more than [`MAX_BLOCK_BYTES`].
pub fn encode<'s>(
    scheme: Scheme,
    width: ElementWidth,
    plain: &[u8],
    scratch: &'s mut Scratch,
) -> &'s [u64] {
    assert!(
        plain.len() <= MAX_BLOCK_BYTES,
        "a block has a greatest length"
    );
    let limit_words = plain.len().div_ceil(WORD_BYTES);
    let words = match scheme {
        Scheme::Lz4 | Scheme::Zstd => general::encode(scheme, width, plain, scratch),
        Scheme::Dictionary => with_element!(width, dictionary_or_vectors(plain, scratch)),
        Scheme::Pack | Scheme::Patch | Scheme::Delta | Scheme::Decimal => {
            with_element!(width, vectors(scheme, plain, scratch))
        }
    };
    match words {
        Some(words) if words <= limit_words => &scratch.out[..words],
        _ => encode_plain(width, plain, scratch),
    }
}

fn dictionary_or_vectors<T: Element>(plain: &[u8], scratch: &mut Scratch) -> Option<usize> {
    dictionary::encode::<T>(plain, scratch).or_else(|| vectors::<T>(Scheme::Pack, plain, scratch))
}

fn vectors<T: Element>(scheme: Scheme, plain: &[u8], scratch: &mut Scratch) -> Option<usize> {
    vector::encode_all::<T>(scheme, plain, scratch)
}

fn encode_plain<'s>(width: ElementWidth, plain: &[u8], scratch: &'s mut Scratch) -> &'s [u64] {
    let header = Header {
        kind: Kind::Plain,
        width,
        count: 0,
        plain_len: plain.len(),
    };
    let words = 1 + plain.len().div_ceil(WORD_BYTES);
    scratch.out[0] = header.to_word();
    put_bytes(&mut scratch.out[1..words], plain);
    &scratch.out[..words]
}

/// Yields bytes `range` of what the block `stored` decodes to, in pieces and in
/// order. It must decode to `plain_len` bytes.
///
/// # Errors
///
/// [`Damaged`]; some of the range may have been yielded.
///
/// # Panics
///
/// If `range` is not within `plain_len`, or that is more than [`MAX_BLOCK_BYTES`].
pub fn decode(
    stored: &[u64],
    plain_len: usize,
    range: Range<usize>,
    scratch: &mut Scratch,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Damaged> {
    assert!(
        plain_len <= MAX_BLOCK_BYTES && range.start <= range.end && range.end <= plain_len,
        "the range lies within the block"
    );
    let (first, body) = stored.split_first().ok_or(Damaged::new("it is empty"))?;
    let header = Header::from_word(*first)?;
    if header.plain_len != plain_len {
        return Err(Damaged::new("it is of another length"));
    }
    match header.kind {
        Kind::Plain => decode_plain(body, plain_len, range, sink),
        Kind::Vectors => {
            with_element!(
                header.width,
                decode_vectors(body, plain_len, range, scratch, sink)
            )
        }
        Kind::Dictionary => {
            with_element!(
                header.width,
                decode_dictionary(body, header, range, scratch, sink)
            )
        }
        Kind::Lz4 | Kind::Zstd => general::decode(header, body, range, scratch, sink),
    }
}

fn decode_vectors<T: Element>(
    body: &[u64],
    plain_len: usize,
    range: Range<usize>,
    scratch: &mut Scratch,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Damaged> {
    vector::decode_all::<T>(body, plain_len, range, scratch, sink)
}

fn decode_dictionary<T: Element>(
    body: &[u64],
    header: Header,
    range: Range<usize>,
    scratch: &mut Scratch,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Damaged> {
    dictionary::decode::<T>(body, header, range, scratch, sink)
}

fn decode_plain(
    body: &[u64],
    plain_len: usize,
    range: Range<usize>,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Damaged> {
    if body.len() != plain_len.div_ceil(WORD_BYTES) {
        return Err(Damaged::new("its bytes are not all there"));
    }
    sink(&bytemuck::cast_slice(body)[range]);
    Ok(())
}

/// Copies `bytes` into `words`, and zeros behind them.
fn put_bytes(words: &mut [u64], bytes: &[u8]) {
    if let Some(last) = words.last_mut() {
        *last = 0;
    }
    bytemuck::cast_slice_mut(words)[..bytes.len()].copy_from_slice(bytes);
}

/// The part of `range` that lies in `part`, counted from the front of `part`.
fn overlap(range: &Range<usize>, part: Range<usize>) -> Range<usize> {
    let start = range.start.clamp(part.start, part.end);
    let end = range.end.clamp(start, part.end);
    start - part.start..end - part.start
}

/// Bytes of `plain` in whole elements, and the odd ones behind them.
fn split_elements<T: Element>(plain: &[u8]) -> (&[u8], &[u8]) {
    plain.split_at(plain.len() - plain.len() % T::BYTES)
}

/// The elements of one vector, in place where they lie aligned; a short one is
/// filled up with its last element.
fn load<'p, T: Element>(bytes: &'p [u8], copy: &'p mut [u64; VECTOR]) -> &'p [T; VECTOR] {
    if let Ok(elements) = bytemuck::try_cast_slice::<u8, T>(bytes)
        && let Ok(vector) = elements.try_into()
    {
        return vector;
    }
    let vector = as_vector_mut::<T>(copy);
    let count = bytes.len() / T::BYTES;
    bytemuck::cast_slice_mut::<T, u8>(&mut vector[..count]).copy_from_slice(bytes);
    let last = vector[count - 1];
    vector[count..].fill(last);
    vector
}

/// The front of a vector of the widest elements, as one of these.
fn as_vector_mut<T: Element>(words: &mut [u64; VECTOR]) -> &mut [T; VECTOR] {
    bytemuck::cast_slice_mut::<u64, T>(words)
        .first_chunk_mut()
        .expect("no element is wider than a word")
}

#[cfg(test)]
mod tests;
