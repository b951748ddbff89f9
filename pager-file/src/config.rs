//! [`FileConfig`]: where scratch files live, how payloads are laid out in them,
//! and how much room they may take.
//!
//! A configuration is a plain value; nothing touches the file system before
//! [`FileBackend::open`](crate::FileBackend::open).

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The environment variable that names the default scratch root.
pub(crate) const ROOT_VARIABLE: &str = "PAGER_SCRATCH";

/// The scratch root when the variable is unset or empty: unlike `/tmp` it is
/// meant for large files, and it is on a disk.
pub(crate) const DEFAULT_ROOT: &str = "/var/tmp";

/// Free room that segment files keep before holes are punched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slack {
    /// As much as is stored at the moment: payloads that are taken, changed and
    /// paged out again find their room, however many wait in memory meanwhile.
    Stored {
        /// The least it ever is.
        min_bytes: u64,
    },
    /// Always so much.
    Fixed {
        /// How much.
        bytes: u64,
    },
}

const DEFAULT_SLACK: Slack = Slack::Stored {
    min_bytes: 256 << 20,
};

/// How a [`FileBackend`](crate::FileBackend) is set up.
///
/// ```
/// use pager_file::{FileConfig, FileMode, IoChoice};
///
/// let config = FileConfig::new("/var/tmp")
///     .mode(FileMode::Segments)
///     .io(IoChoice::Auto)
///     .quota_bytes(64 << 30);
/// assert_eq!(config.root(), std::path::Path::new("/var/tmp"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileConfig {
    pub(crate) root: PathBuf,
    pub(crate) mode: FileMode,
    pub(crate) io: IoChoice,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) slack: Slack,
    pub(crate) checksums: bool,
    #[cfg(feature = "encryption")]
    pub(crate) encryption: bool,
    pub(crate) allow_memory_fs: bool,
    pub(crate) weight: u32,
}

impl FileConfig {
    /// The default configuration with scratch files under `root`.
    ///
    /// The root is created if only its last component is missing.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            mode: FileMode::default(),
            io: IoChoice::default(),
            quota_bytes: None,
            slack: DEFAULT_SLACK,
            checksums: true,
            #[cfg(feature = "encryption")]
            encryption: false,
            allow_memory_fs: false,
            weight: 1,
        }
    }

    /// The default configuration with the first root that the variable
    /// `PAGER_SCRATCH` names, or `/var/tmp` where it is unset or empty.
    #[must_use]
    pub fn from_env() -> Self {
        Self::all_from_env().swap_remove(0)
    }

    /// The default configuration of each root that the variable `PAGER_SCRATCH` names,
    /// as a [list](Self::all_of); one of `/var/tmp` where it is unset. For
    /// [`FileSet::open`](crate::FileSet::open).
    #[must_use]
    pub fn all_from_env() -> Vec<Self> {
        Self::all_of(env::var_os(ROOT_VARIABLE).unwrap_or_default())
    }

    /// The default configuration of each root of a list: separated by colons, as that of
    /// `PATH`, empty parts left out. One of `/var/tmp` where it names none.
    #[must_use]
    pub fn all_of(list: impl AsRef<OsStr>) -> Vec<Self> {
        let roots = env::split_paths(list.as_ref());
        let named = roots.filter(|root| !root.as_os_str().is_empty());
        let mut all: Vec<Self> = named.map(Self::new).collect();
        if all.is_empty() {
            all.push(Self::new(DEFAULT_ROOT));
        }
        all
    }

    /// How payloads are laid out in files.
    #[must_use]
    pub fn mode(mut self, mode: FileMode) -> Self {
        self.mode = mode;
        self
    }

    /// How bytes travel between memory and files.
    #[must_use]
    pub fn io(mut self, io: IoChoice) -> Self {
        self.io = io;
        self
    }

    /// The most bytes that live payloads may store; without a call, no bound
    /// but the file system's.
    #[must_use]
    pub fn quota_bytes(mut self, quota_bytes: u64) -> Self {
        self.quota_bytes = Some(quota_bytes);
        self
    }

    /// How many bytes of freed room segment files keep for reuse before they
    /// give room back to the file system. Default: as many as are stored at the
    /// moment, and at least 256 MiB. No meaning in [`FileMode::Seed`], which keeps
    /// none.
    #[must_use]
    pub fn slack_bytes(mut self, slack_bytes: u64) -> Self {
        self.slack = Slack::Fixed { bytes: slack_bytes };
        self
    }

    /// Whether every block of 4 KiB that comes back is compared with a checksum
    /// (XXH3) kept in memory, so that damage is
    /// [`Error::Corrupt`](pager_core::Error::Corrupt) and never wrong data.
    /// Default yes; costs a thousandth of the stored bytes in memory. No meaning
    /// in [`FileMode::Seed`], which keeps none, as published.
    #[must_use]
    pub fn checksums(mut self, checksums: bool) -> Self {
        self.checksums = checksums;
        self
    }

    /// Whether every block of 4 KiB is encrypted before it reaches a file (AES-256-GCM),
    /// by a key that is drawn when the backend is opened and that nothing outside of the
    /// process ever has. Default no.
    ///
    /// Whatever comes back is then exactly what was stored there, or
    /// [`Error::Corrupt`](pager_core::Error::Corrupt): tags are kept in memory in the
    /// place of checksums, whatever [`checksums`](Self::checksums) says, and cost a
    /// 256th of the stored bytes. Whether the kernel guards the key is told by
    /// [`FileStats::encryption`](crate::FileStats::encryption). [`FileMode::Seed`]
    /// refuses it: it keeps nothing of a payload that could tell a forged one.
    #[cfg(feature = "encryption")]
    #[must_use]
    pub fn encryption(mut self, encryption: bool) -> Self {
        self.encryption = encryption;
        self
    }

    /// Whether a root in memory is accepted: on tmpfs or ramfs, or on a disk made of
    /// memory (zram, brd), be it under a loop device or another layer. Default no: such
    /// files are memory, and paging out to them frees none.
    #[must_use]
    pub fn allow_memory_fs(mut self, allow: bool) -> Self {
        self.allow_memory_fs = allow;
        self
    }

    /// How much this directory is preferred to others of a
    /// [`FileSet`](crate::FileSet): with twice the weight of another that is as fast, it
    /// gets twice as much. With zero it gets what no other takes. Default: 1. No
    /// meaning in a directory alone.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// The scratch root as it was given.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// The default configuration with scratch files under a root.
impl<P: Into<PathBuf>> From<P> for FileConfig {
    fn from(root: P) -> Self {
        Self::new(root)
    }
}

/// How payloads are laid out in scratch files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum FileMode {
    /// Extents in a few large files, written directly where the file system
    /// can.
    #[default]
    Segments,
    /// The published strategy: one named file per handle, buffered.
    Seed,
}

/// How bytes travel between memory and scratch files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum IoChoice {
    /// Direct where the file system can, else buffered.
    #[default]
    Auto,
    /// Past the page cache (`O_DIRECT`), or an error where that cannot be.
    Direct,
    /// Through the page cache.
    Buffered,
}

/// A word that names no [`FileMode`] or [`IoChoice`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no {what}: expected one of {expected}")]
#[non_exhaustive]
pub struct UnknownName {
    /// What was asked for: `file mode` or `I/O choice`.
    pub what: &'static str,
    /// The names there are.
    pub expected: &'static str,
    /// The word given.
    pub given: String,
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Segments => "segments",
            Self::Seed => "seed",
        })
    }
}

impl FromStr for FileMode {
    type Err = UnknownName;

    /// Accepts what `Display` prints.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "segments" => Ok(Self::Segments),
            "seed" => Ok(Self::Seed),
            _ => Err(UnknownName {
                what: "file mode",
                expected: "segments, seed",
                given: name.to_owned(),
            }),
        }
    }
}

impl fmt::Display for IoChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::Buffered => "buffered",
        })
    }
}

impl FromStr for IoChoice {
    type Err = UnknownName;

    /// Accepts what `Display` prints.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "auto" => Ok(Self::Auto),
            "direct" => Ok(Self::Direct),
            "buffered" => Ok(Self::Buffered),
            _ => Err(UnknownName {
                what: "I/O choice",
                expected: "auto, direct, buffered",
                given: name.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_printed() {
        for mode in [FileMode::Segments, FileMode::Seed] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for io in [IoChoice::Auto, IoChoice::Direct, IoChoice::Buffered] {
            assert_eq!(io.to_string().parse(), Ok(io));
        }
    }

    #[test]
    fn an_unknown_name_says_what_was_expected() {
        let error = "fast".parse::<FileMode>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"fast\" is no file mode: expected one of segments, seed"
        );
        assert!("".parse::<IoChoice>().is_err());
    }

    fn roots_of(list: &str) -> Vec<PathBuf> {
        let all = FileConfig::all_of(list).into_iter();
        all.map(|config| config.root).collect()
    }

    #[test]
    fn an_unset_or_empty_variable_means_the_default_root() {
        // An unset one is an empty list.
        for none in ["", ":"] {
            assert_eq!(roots_of(none), [Path::new(DEFAULT_ROOT)]);
        }
        assert_eq!(roots_of("/a"), [Path::new("/a")]);
    }

    #[test]
    #[cfg(unix)]
    fn a_list_of_roots_is_separated_by_colons() {
        let roots = roots_of("/a:/b c::/d");
        assert_eq!(roots, ["/a", "/b c", "/d"].map(Path::new));
    }
}
