//! [`DirectoryStats`]: one directory of a set, as seen from outside.

use std::fmt;
use std::path::PathBuf;

pub use super::loads::DirectoryState;

/// One scratch directory of several, what it holds, and how it does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DirectoryStats {
    /// The scratch root, made absolute.
    pub root: PathBuf,
    /// The private directory under it.
    pub directory: PathBuf,
    /// Whether it takes payloads at the moment. Always [`DirectoryState::InUse`] where
    /// there is one directory only: then nothing is measured.
    pub state: DirectoryState,
    /// Its weight, as it was configured.
    pub weight: u32,
    /// Bytes that live payloads occupy there, as the quota counts them.
    pub stored_bytes: u64,
    /// Bytes that they may occupy there.
    pub quota_bytes: Option<u64>,
    /// Bytes being written and read at this moment.
    pub in_flight_bytes: u64,
    /// Measured bytes per second of what is under way, as a moving average.
    pub bytes_per_second: Option<u64>,
    /// Payloads that were stored there.
    pub page_outs: u64,
    /// Their bytes.
    pub paged_out_bytes: u64,
    /// Transfers that failed there. A page-out was then tried in the next directory.
    pub failures: u64,
    /// The last of them, as text.
    pub last_error: Option<String>,
}

impl fmt::Display for DirectoryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::InUse => "in use",
            Self::Slow => "slow",
            Self::Full => "full",
            Self::Failing => "failing",
        })
    }
}

/// One line.
impl fmt::Display for DirectoryStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}, {} bytes stored",
            self.root.display(),
            self.state,
            self.stored_bytes
        )?;
        if let Some(bytes_per_second) = self.bytes_per_second {
            write!(f, ", {} MiB/s", bytes_per_second >> 20)?;
        }
        if self.failures > 0 {
            write!(f, ", {} failures", self.failures)?;
        }
        if let Some(error) = &self.last_error {
            write!(f, ", the last: {error}")?;
        }
        Ok(())
    }
}
