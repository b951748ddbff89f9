//! [`Finding`]: one thing about this machine, and about the place where this process
//! runs, that matters to paging.
//!
//! Backends say what concerns them, the facade what concerns the process. Each of
//! them reads first and judges then: a probe turns files and trials into facts and
//! decides nothing, and a judge turns facts into findings and reads nothing, so that
//! every finding can be tested without the machine that has it. What cannot be read
//! is a finding of its own and never an error.
//!
//! ```text
//! what  everything that can be found
//! text  the files under `/proc` that more than one probe reads
//! ```

#[doc(hidden)]
pub mod text;
mod what;

use std::borrow::Cow;
use std::fmt;

pub use what::What;

/// How much a [`Finding`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing, or could not be seen.
    Note,
    /// Paging works, but slower than it could, or with less room.
    Slow,
    /// Nothing leaves memory, or every page-out fails.
    Blocked,
}

impl Severity {
    /// The name, as displayed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Slow => "slow",
            Self::Blocked => "blocked",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One thing that matters to paging. Prints as a sentence that says what it is, by
/// what it is known, and what to do.
///
/// ```
/// use pager_core::diagnose::{Finding, Severity, What};
///
/// let finding = Finding::new(
///     "swap",
///     Severity::Blocked,
///     What::NoSwap,
///     "no swap is configured",
///     "add a swap device",
/// );
/// assert_eq!(finding.to_string(), "no swap is configured; add a swap device");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Name of the backend that it concerns, or `process` where it is all of them.
    pub concern: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub what: What,
    /// What was seen, as a sentence with its figures.
    pub evidence: String,
    /// What to do about it, or why nothing need be done.
    pub remedy: Cow<'static, str>,
}

impl Finding {
    /// A finding about `concern`, the name of a backend or `process`.
    pub fn new(
        concern: &'static str,
        severity: Severity,
        what: What,
        evidence: impl Into<String>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            concern,
            severity,
            what,
            evidence: evidence.into(),
            remedy: remedy.into(),
        }
    }

    /// What a probe could not read or understand.
    #[must_use]
    pub fn unknown(concern: &'static str, what_of: impl fmt::Display) -> Self {
        Self::new(
            concern,
            Severity::Note,
            What::Unknown,
            format!("{what_of} cannot be read or understood, so what it would say is unknown"),
            "look at it by hand",
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.evidence, self.remedy)
    }
}

/// The worst there is among findings about `concern`; `None` if there are none.
#[must_use]
pub fn worst_of(findings: &[Finding], concern: &str) -> Option<Severity> {
    findings
        .iter()
        .filter(|finding| finding.concern == concern)
        .map(|finding| finding.severity)
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_backend_is_that_of_its_own_findings() {
        let all = [
            Finding::unknown("swap", "/proc/swaps"),
            Finding::new("file", Severity::Slow, What::BufferedIo, "a", "b"),
        ];
        assert_eq!(worst_of(&all, "swap"), Some(Severity::Note));
        assert_eq!(worst_of(&all, "file"), Some(Severity::Slow));
        assert_eq!(worst_of(&all, "process"), None);
        assert!(Severity::Note < Severity::Slow && Severity::Slow < Severity::Blocked);
    }
}
