//! [`Scheme`] and [`Codec`]: how a payload may be encoded, and who decides that.

use std::fmt;
use std::str::FromStr;

/// A way to encode the blocks of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// Frame of reference and bit packing: numbers of one magnitude.
    Pack,
    /// The same, with exceptions: numbers of one magnitude, but for a few.
    Patch,
    /// Differences of neighbours, with exceptions: what ascends, what repeats.
    Delta,
    /// Numbers for few distinct values.
    Dictionary,
    /// Floats that were decimal numbers once.
    Decimal,
    /// Bytes, by lz4.
    Lz4,
    /// Bytes, by zstd; stored as they are in a build without it.
    Zstd,
}

impl Scheme {
    /// Every scheme, the cheap ones first.
    pub const ALL: [Self; 7] = [
        Self::Pack,
        Self::Patch,
        Self::Delta,
        Self::Dictionary,
        Self::Decimal,
        Self::Lz4,
        Self::Zstd,
    ];

    /// The name, as parsed and displayed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::Patch => "patch",
            Self::Delta => "delta",
            Self::Dictionary => "dictionary",
            Self::Decimal => "decimal",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Whether this build can do it.
    #[must_use]
    pub const fn is_enabled(self) -> bool {
        !matches!(self, Self::Zstd) || cfg!(feature = "codec-zstd")
    }

    /// Bytes to a block. A range read decodes whole blocks of general bytes, but
    /// those shrink little if they are small; of numbers it decodes vectors, and
    /// reads blocks.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Lz4 | Self::Zstd => 64 << 10,
            _ => 16 << 10,
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a [`Compressed`](super::Compressed) backend does with payloads.
///
/// ```
/// use pager_core::codec::{Codec, Scheme};
///
/// assert_eq!("auto".parse(), Ok(Codec::Auto));
/// assert_eq!("delta".parse(), Ok(Codec::Always(Scheme::Delta)));
/// assert_eq!(Codec::default().to_string(), "off");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Codec {
    /// Nothing: they are stored as they are.
    #[default]
    Off,
    /// Whatever makes page-out and page-in together end soonest, chosen for each
    /// payload.
    Auto,
    /// This, wherever it makes a payload smaller.
    Always(Scheme),
}

impl Codec {
    /// The name, as parsed and displayed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Auto => "auto",
            Self::Always(scheme) => scheme.name(),
        }
    }

    /// Whether this build can do it.
    #[must_use]
    pub const fn is_enabled(self) -> bool {
        match self {
            Self::Off | Self::Auto => true,
            Self::Always(scheme) => scheme.is_enabled(),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no codec of this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a codec of this build: expected off, auto, pack, patch, delta, dictionary, decimal, lz4 or zstd"
)]
pub struct ParseCodecError {
    given: String,
}

impl FromStr for Codec {
    type Err = ParseCodecError;

    fn from_str(name: &str) -> Result<Self, ParseCodecError> {
        let always = Scheme::ALL.map(Self::Always);
        [Self::Off, Self::Auto]
            .into_iter()
            .chain(always)
            .filter(|codec| codec.is_enabled())
            .find(|codec| codec.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| ParseCodecError {
                given: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_of_the_build_parses_from_its_own_name() {
        for scheme in Scheme::ALL {
            assert_eq!(Scheme::ALL[scheme.index()], scheme);
            let codec = Codec::Always(scheme);
            let parsed = codec.to_string().to_uppercase().parse();
            assert_eq!(parsed.ok(), codec.is_enabled().then_some(codec));
        }
        assert_eq!("OFF".parse(), Ok(Codec::Off));
        let error = "tape".parse::<Codec>().unwrap_err();
        assert!(error.to_string().starts_with("\"tape\" is not a codec"));
    }
}
