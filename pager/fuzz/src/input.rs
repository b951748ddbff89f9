//! Lengths, bounds and kinds of memory, as the bytes of an input choose them:
//! mostly small, often at an edge, now and then large.

use std::ops::Range;

use arbitrary::{Arbitrary, Unstructured};

/// A page, which is also a block of a scratch file.
const PAGE_BYTES: usize = 4096;
/// The largest power of two: bytes of a huge page, which is also the staging
/// buffer of the file backend.
const LARGEST_POWER: u8 = 21;
/// The most that all payloads of one scene hold together, in bytes: what a fuzzer
/// gets through often.
pub(super) const BYTES_AT_MOST: usize = 8 << 20;

/// A scene of the target's own kind, or nothing if the bytes do not make one.
pub(super) fn scene<'a, T: Arbitrary<'a>>(input: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(input)).ok()
}

/// A byte less, exactly, or a byte more.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(super) enum Edge {
    Below,
    At,
    Above,
}

impl Edge {
    fn of(self, bytes: usize) -> usize {
        match self {
            Self::Below => bytes.saturating_sub(1),
            Self::At => bytes,
            Self::Above => bytes + 1,
        }
    }
}

/// How many bytes. Large ones are rare, because they are slow.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(super) enum Length {
    Few(u8),
    Pages(u8, Edge),
    Many(u16),
    Power(u8, Edge),
}

impl Length {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Few(bytes) => bytes.into(),
            Self::Pages(pages, edge) => edge.of(usize::from(pages % 32) * PAGE_BYTES),
            Self::Many(bytes) => bytes.into(),
            Self::Power(power, edge) => edge.of(1 << (power % (LARGEST_POWER + 1))),
        }
    }
}

/// Which kind of memory bytes are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub(super) enum Memory {
    Vec,
    /// A `Vec` of words: as many as the bytes fill.
    Words,
    Buf,
}

/// One end of a range, of a payload whose length the input does not know.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(super) enum Bound {
    Byte(u16),
    Share(u16),
    Page(u8, Edge),
    BeforeTheEnd(u8),
    BehindTheEnd(u8),
    Anywhere(usize),
}

impl Bound {
    fn byte(self, len: usize) -> usize {
        match self {
            Self::Byte(byte) => byte.into(),
            Self::Share(share) => len * usize::from(share) / usize::from(u16::MAX),
            Self::Page(page, edge) => edge.of(usize::from(page) * PAGE_BYTES),
            Self::BeforeTheEnd(bytes) => len.saturating_sub(bytes.into()),
            Self::BehindTheEnd(bytes) => len + usize::from(bytes),
            Self::Anywhere(byte) => byte,
        }
    }
}

/// A range, in bounds or not, reversed or not.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(super) enum Span {
    /// From here to there, in order.
    Ordered(Bound, Bound),
    /// From here to there, as they come.
    Raw(Bound, Bound),
    /// That many bytes from here on.
    Short(Bound, u8),
}

impl Span {
    pub(super) fn range(self, len: usize) -> Range<usize> {
        match self {
            Self::Ordered(a, b) => {
                let (a, b) = (a.byte(len), b.byte(len));
                a.min(b)..a.max(b)
            }
            Self::Raw(a, b) => a.byte(len)..b.byte(len),
            Self::Short(a, bytes) => {
                let start = a.byte(len);
                start..start.saturating_add(bytes.into())
            }
        }
    }
}
