//! Lengths, bounds and kinds of memory, as the bytes of an input choose them:
//! mostly small, often at an edge, now and then large.

use std::ops::Range;

use arbitrary::{Arbitrary, Unstructured};

/// Words of a page, which is also a block of a scratch file.
const PAGE_WORDS: usize = 512;
/// The largest power of two: words of a huge page, which is also the staging
/// buffer of the file backend.
const LARGEST_POWER: u8 = 18;
/// The most that all payloads of one scene hold together, in words: what a fuzzer
/// gets through often.
pub(super) const WORDS_AT_MOST: usize = 1 << 20;

/// A scene of the target's own kind, or nothing if the bytes do not make one.
pub(super) fn scene<'a, T: Arbitrary<'a>>(input: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(input)).ok()
}

/// A word less, exactly, or a word more.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(super) enum Edge {
    Below,
    At,
    Above,
}

impl Edge {
    fn of(self, words: usize) -> usize {
        match self {
            Self::Below => words.saturating_sub(1),
            Self::At => words,
            Self::Above => words + 1,
        }
    }
}

/// How many words. Large ones are rare, because they are slow.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(super) enum Length {
    Few(u8),
    Pages(u8, Edge),
    Many(u16),
    Power(u8, Edge),
}

impl Length {
    pub(super) fn words(self) -> usize {
        match self {
            Self::Few(words) => words.into(),
            Self::Pages(pages, edge) => edge.of(usize::from(pages % 32) * PAGE_WORDS),
            Self::Many(words) => usize::from(words) / 8,
            Self::Power(power, edge) => edge.of(1 << (power % (LARGEST_POWER + 1))),
        }
    }
}

/// Which kind of memory words are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub(super) enum Memory {
    Vec,
    Buf,
}

/// One end of a range, of a payload whose length the input does not know.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(super) enum Bound {
    Word(u16),
    Share(u16),
    Page(u8, Edge),
    BeforeTheEnd(u8),
    BehindTheEnd(u8),
    Anywhere(usize),
}

impl Bound {
    fn word(self, len: usize) -> usize {
        match self {
            Self::Word(word) => word.into(),
            Self::Share(share) => len * usize::from(share) / usize::from(u16::MAX),
            Self::Page(page, edge) => edge.of(usize::from(page) * PAGE_WORDS),
            Self::BeforeTheEnd(words) => len.saturating_sub(words.into()),
            Self::BehindTheEnd(words) => len + usize::from(words),
            Self::Anywhere(word) => word,
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
    /// That many words from here on.
    Short(Bound, u8),
}

impl Span {
    pub(super) fn range(self, len: usize) -> Range<usize> {
        match self {
            Self::Ordered(a, b) => {
                let (a, b) = (a.word(len), b.word(len));
                a.min(b)..a.max(b)
            }
            Self::Raw(a, b) => a.word(len)..b.word(len),
            Self::Short(a, words) => {
                let start = a.word(len);
                start..start.saturating_add(words.into())
            }
        }
    }
}
