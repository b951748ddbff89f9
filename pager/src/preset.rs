//! [`Preset`]: which strategies the backends use.

use std::fmt;
use std::str::FromStr;

use crate::kind::{ParseNameError, parse_name};

/// How the backends store payloads.
///
/// ```
/// use pager::Preset;
///
/// assert_eq!("seed".parse(), Ok(Preset::Seed));
/// assert_eq!(Preset::default().to_string(), "fast");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Preset {
    /// The best there is: huge-page arena for swap, extents of segment files for
    /// file.
    #[default]
    Fast,
    /// The published strategies, kept as the reference that measurements run
    /// against: the callers' own `Vec`s and `MADV_COLD` for swap, one named file
    /// per handle for file.
    Seed,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 2] = [Self::Fast, Self::Seed];

    /// The name, as parsed and displayed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Seed => "seed",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Preset {
    type Err = ParseNameError;

    fn from_str(name: &str) -> Result<Self, ParseNameError> {
        parse_name("preset", "fast or seed", &Self::ALL, Self::name, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_parses_from_its_own_name() {
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse(), Ok(preset));
        }
        assert!("best".parse::<Preset>().is_err());
    }
}
