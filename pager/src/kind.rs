//! [`BackendKind`]: which backends there are, by name.
//!
//! Both are always named, whatever the build contains; [`BackendKind::is_enabled`]
//! says whether one can be used.

use std::fmt;
use std::str::FromStr;

use pager_core::Error;

/// A backend that this facade knows.
///
/// ```
/// use pager::BackendKind;
///
/// assert_eq!("file".parse(), Ok(BackendKind::File));
/// assert_eq!(BackendKind::Swap.to_string(), "swap");
/// assert_eq!(BackendKind::default(), BackendKind::Swap);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum BackendKind {
    /// Anonymous memory that the kernel is advised to swap out (feature `swap`).
    #[default]
    Swap,
    /// Scratch files (feature `file`).
    File,
}

impl BackendKind {
    /// Every kind, in this build or not.
    pub const ALL: [Self; 2] = [Self::Swap, Self::File];

    /// The name, as parsed and displayed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::File => "file",
        }
    }

    /// Whether this build contains the backend.
    #[must_use]
    pub const fn is_enabled(self) -> bool {
        match self {
            Self::Swap => cfg!(feature = "swap"),
            Self::File => cfg!(feature = "file"),
        }
    }

    /// The backend that can do its work on this machine, in this process, and in the
    /// default scratch root: what [`BackendChoice::Auto`](crate::BackendChoice::Auto)
    /// comes to there.
    ///
    /// Swap where nothing keeps pages from leaving memory at full speed, else file
    /// where it can be used. Reads some files under `/proc` and `/sys`, and may have a
    /// small payload go out and come back; ask once, not for every page-out.
    ///
    /// ```
    /// use pager::{BackendKind, Pager};
    ///
    /// let pager = Pager::builder().backend(BackendKind::recommended()).build()?;
    /// # Ok::<(), pager::Error>(())
    /// ```
    #[must_use]
    pub fn recommended() -> Self {
        crate::BackendChoice::Auto.resolve(None)
    }

    /// The backend of a pager that was told nothing: swap, unless only file is in
    /// the build.
    pub(crate) const fn first_enabled() -> Self {
        if Self::File.is_enabled() && !Self::Swap.is_enabled() {
            Self::File
        } else {
            Self::Swap
        }
    }

    /// `self`, if this build contains it.
    pub(crate) fn enabled(self) -> Result<Self, Error> {
        if self.is_enabled() {
            Ok(self)
        } else {
            Err(self.disabled())
        }
    }

    pub(crate) const fn disabled(self) -> Error {
        Error::BackendDisabled {
            backend: self.name(),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = ParseNameError;

    fn from_str(name: &str) -> Result<Self, ParseNameError> {
        parse_name("backend", "swap or file", &Self::ALL, Self::name, name)
    }
}

/// A word that names no backend, or no preset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {what}: expected {expected}")]
pub struct ParseNameError {
    what: &'static str,
    expected: &'static str,
    given: String,
}

/// Finds the value with this name, upper or lower case.
pub(crate) fn parse_name<T: Copy>(
    what: &'static str,
    expected: &'static str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
    given: &str,
) -> Result<T, ParseNameError> {
    all.iter()
        .copied()
        .find(|&value| name_of(value).eq_ignore_ascii_case(given))
        .ok_or_else(|| ParseNameError {
            what,
            expected,
            given: given.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_parses_from_its_own_name() {
        for kind in BackendKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(kind.name().to_uppercase().parse(), Ok(kind));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads /proc")]
    fn what_is_recommended_can_do_its_work() {
        let kind = BackendKind::recommended();
        assert!(kind.is_enabled() || BackendKind::ALL.iter().all(|kind| !kind.is_enabled()));
        #[cfg(all(feature = "swap", feature = "file"))]
        if kind == BackendKind::Swap {
            use crate::diagnose::{Severity, worst_of};
            assert_ne!(
                worst_of(&crate::diagnose(), "swap"),
                Some(Severity::Blocked)
            );
        }
    }

    #[test]
    fn an_unknown_name_says_what_would_do() {
        let error = "tape".parse::<BackendKind>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"tape\" is not a backend: expected swap or file"
        );
    }
}
