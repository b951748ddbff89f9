//! The judge: chunks that came back against chunks as they must be.

use std::fmt;

/// The first word that differs, or lengths that do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// The chunk has another length.
    Len {
        /// Words it must have.
        expected: usize,
        /// Words it has.
        found: usize,
    },
    /// A word is wrong.
    Word {
        /// Its place.
        at: usize,
        /// What it must be.
        expected: u64,
        /// What it is.
        found: u64,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Len { expected, found } => {
                write!(f, "{found} words instead of {expected}")
            }
            Self::Word {
                at,
                expected,
                found,
            } => write!(f, "word {at} is {found:#018x} instead of {expected:#018x}"),
        }
    }
}

/// Compares word for word.
///
/// # Errors
///
/// The first difference.
pub fn compare(expected: &[u64], found: &[u64]) -> Result<(), Mismatch> {
    if expected.len() != found.len() {
        return Err(Mismatch::Len {
            expected: expected.len(),
            found: found.len(),
        });
    }
    if expected == found {
        return Ok(());
    }
    let differs = expected.iter().zip(found).enumerate();
    for (at, (expected, found)) in differs {
        if expected != found {
            return Err(Mismatch::Word {
                at,
                expected: *expected,
                found: *found,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_bit_in_a_chunk_is_found() {
        let expected: Vec<u64> = (0..1000).collect();
        assert_eq!(compare(&expected, &expected.clone()), Ok(()));
        for at in [0, 511, 512, 999] {
            let mut found = expected.clone();
            found[at] ^= 1 << 63;
            let mismatch = compare(&expected, &found).unwrap_err();
            assert!(matches!(mismatch, Mismatch::Word { at: place, .. } if place == at));
        }
    }

    #[test]
    fn a_missing_word_is_found() {
        let mismatch = compare(&[1, 2], &[1]).unwrap_err();
        assert_eq!(mismatch.to_string(), "1 words instead of 2");
    }
}
