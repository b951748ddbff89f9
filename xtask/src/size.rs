//! Byte sizes as people write them: `256MiB`, `8G`, `1.5GiB`, `4096`.
//!
//! Guarantees that a value prints back to something that parses to itself. Refuses an unknown
//! unit, a negative or non-finite number, and anything beyond 2^63 bytes.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(u64);

/// Why a text is not a size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a size: write a number and a unit, such as 256MiB, 8GiB or 4096")]
pub(crate) struct BadSize {
    text: String,
}

const UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Size {
    /// A size of `bytes`.
    pub(crate) const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }
}

/// The factor of a unit; all are powers of 1024, as memory limits are.
fn factor(unit: &str) -> Option<u64> {
    match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kb" | "kib" => Some(1 << 10),
        "m" | "mb" | "mib" => Some(1 << 20),
        "g" | "gb" | "gib" => Some(1 << 30),
        "t" | "tb" | "tib" => Some(1 << 40),
        _ => None,
    }
}

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadSize {
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let split = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let factor = factor(unit.trim()).ok_or_else(bad)?;
        if let Ok(whole) = number.parse::<u64>() {
            let bytes = whole.checked_mul(factor).ok_or_else(bad)?;
            return (bytes <= 1 << 63).then_some(Self(bytes)).ok_or_else(bad);
        }
        let bytes = number.parse::<f64>().map_err(|_| bad())? * factor as f64;
        if !(0.0..=(1u64 << 63) as f64).contains(&bytes) {
            return Err(bad());
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above to be within 0 and 2^63; a fraction of a byte is dropped"
        )]
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The largest unit that divides the value, so that printing loses nothing.
        for (unit, factor) in UNITS {
            if self.0 != 0 && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn sizes_parse_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("256MiB", 256 << 20),
            ("256m", 256 << 20),
            ("8 GiB", 8 << 30),
            ("1.5GiB", 3 << 29),
            ("2T", 2 << 40),
        ] {
            assert_eq!(text.parse::<Size>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "MiB",
            "-1",
            "1XiB",
            "1.2.3G",
            "99999999T",
            "12 34",
            "nan",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_prints_as_something_that_parses_to_itself() {
        for bytes in [0, 1, 1023, 1024, 256 << 20, (1 << 30) + 1, 3 << 29] {
            let size = Size::from_bytes(bytes);
            assert_eq!(size.to_string().parse::<Size>().unwrap(), size);
        }
    }
}
