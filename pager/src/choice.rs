//! [`BackendChoice`]: a backend by name, or whichever does its work here.
//!
//! The rules, in order; `docs/backends.md` explains them to whoever runs a program:
//!
//! 1. A backend that is not in the build is not chosen while the other is.
//! 2. Swap, if nothing about it is worse than a note.
//! 3. Else file, unless file is blocked and swap is not.
//!
//! So where both are blocked it is file, whose page-outs then fail with a reason,
//! where swap would fill memory in silence.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::BackendKind;
use crate::diagnose::{self, Severity, worst_of};
use crate::kind::{ParseNameError, parse_name};

/// A backend that is named, or found out.
///
/// ```
/// use pager::{BackendChoice, BackendKind, Pager};
///
/// assert_eq!("auto".parse(), Ok(BackendChoice::Auto));
/// assert_eq!("file".parse(), Ok(BackendChoice::from(BackendKind::File)));
///
/// let pager = Pager::builder().backend(BackendChoice::Auto).build()?;
/// println!("paging to {}", pager.backend());
/// # Ok::<(), pager::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BackendChoice {
    /// The one that can do its work on this machine, in this process, and in the
    /// scratch directory that is used: see [`resolve`](Self::resolve).
    #[default]
    Auto,
    /// This one.
    Kind(BackendKind),
}

impl BackendChoice {
    /// Every choice.
    pub const ALL: [Self; 3] = [
        Self::Auto,
        Self::Kind(BackendKind::Swap),
        Self::Kind(BackendKind::File),
    ];

    /// The name, as parsed and displayed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kind(kind) => kind.name(),
        }
    }

    /// The backend that is meant, for scratch files in `root` or, without one, in
    /// the default root.
    ///
    /// `Auto` is swap if nothing that [`diagnose`](crate::diagnose()) finds about it is
    /// worse than a note, else file, unless file is blocked and swap is not. A backend
    /// that is not in the build is not chosen while the other is. The file backend
    /// is looked at only if swap does not do.
    #[must_use]
    pub fn resolve(self, root: Option<&Path>) -> BackendKind {
        let roots: Vec<PathBuf> = root.into_iter().map(Path::to_owned).collect();
        self.resolve_in(&roots)
    }

    /// The same for scratch files in all of `roots`, or in the default ones if there is
    /// none.
    pub(crate) fn resolve_in(self, roots: &[PathBuf]) -> BackendKind {
        match self {
            Self::Kind(kind) => kind,
            Self::Auto => {
                let process = diagnose::of_process();
                choose(BackendKind::is_enabled, |kind| {
                    let mut findings = process.clone();
                    findings.extend(match kind {
                        BackendKind::Swap => diagnose::of_swap(),
                        BackendKind::File => diagnose::of_file(roots),
                    });
                    worst_of(&findings, kind.name())
                })
            }
        }
    }
}

/// The rules of the [module](self), over the worst that is known of each backend.
fn choose(
    is_enabled: impl Fn(BackendKind) -> bool,
    worst: impl Fn(BackendKind) -> Option<Severity>,
) -> BackendKind {
    use BackendKind::{File, Swap};

    match (is_enabled(Swap), is_enabled(File)) {
        (false, true) => return File,
        (true, false) | (false, false) => return Swap,
        (true, true) => {}
    }
    let of_swap = worst(Swap);
    if of_swap <= Some(Severity::Note) {
        return Swap;
    }
    let is_blocked = |worst| worst == Some(Severity::Blocked);
    if is_blocked(of_swap) || !is_blocked(worst(File)) {
        File
    } else {
        Swap
    }
}

impl From<BackendKind> for BackendChoice {
    fn from(kind: BackendKind) -> Self {
        Self::Kind(kind)
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BackendChoice {
    type Err = ParseNameError;

    fn from_str(name: &str) -> Result<Self, ParseNameError> {
        parse_name(
            "backend",
            "auto, swap or file",
            &Self::ALL,
            Self::name,
            name,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BackendKind::{File, Swap};

    #[test]
    fn every_choice_parses_from_its_own_name() {
        for choice in BackendChoice::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        let error = "tape".parse::<BackendChoice>().unwrap_err();
        assert!(error.to_string().ends_with("expected auto, swap or file"));
    }

    #[test]
    fn the_rules_choose_as_they_are_written() {
        const NOTE: Option<Severity> = Some(Severity::Note);
        const SLOW: Option<Severity> = Some(Severity::Slow);
        const BLOCKED: Option<Severity> = Some(Severity::Blocked);
        for (of_swap, of_file, expected) in [
            (None, None, Swap),
            (NOTE, NOTE, Swap),
            (NOTE, BLOCKED, Swap),
            (SLOW, None, File),
            (SLOW, NOTE, File),
            (SLOW, SLOW, File),
            (SLOW, BLOCKED, Swap),
            (BLOCKED, NOTE, File),
            (BLOCKED, SLOW, File),
            (BLOCKED, BLOCKED, File),
        ] {
            let worst = |kind| if kind == Swap { of_swap } else { of_file };
            let chosen = choose(|_| true, worst);
            assert_eq!(chosen, expected, "{of_swap:?} {of_file:?}");
            // With one in the build there is nothing to ask.
            for only in BackendKind::ALL {
                assert_eq!(choose(|kind| kind == only, worst), only);
            }
        }
    }

    #[test]
    fn the_disk_is_not_touched_for_swap_that_works() {
        let ask = |kind| match kind {
            Swap => Some(Severity::Note),
            File => panic!("nobody needs to know"),
        };
        assert_eq!(choose(|_| true, ask), Swap);
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads /proc")]
    fn a_root_that_cannot_be_used_is_not_chosen_over_swap_that_can() {
        let nowhere = Path::new("/nowhere/at/all");
        let chosen = BackendChoice::Auto.resolve(Some(nowhere));
        let swap_works = worst_of(&diagnose::of_swap(), "swap") != Some(Severity::Blocked);
        if cfg!(all(feature = "swap", feature = "file")) && swap_works {
            assert_eq!(chosen, Swap);
        }
        assert_eq!(BackendChoice::from(File).resolve(Some(nowhere)), File);
    }
}
