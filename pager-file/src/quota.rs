//! [`Quota`]: how many bytes a store may hold, exact under concurrency.
//!
//! Bytes are reserved before anything else happens and given back on every
//! failure, so the sum never exceeds the limit, not even for a moment. What
//! counts is what is stored: a payload as its store rounds it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use pager_core::{Error, Result};

use crate::BACKEND;

/// A bound, and what is used of it.
#[derive(Debug)]
pub(crate) struct Quota {
    limit_bytes: Option<u64>,
    /// Whose it is; that of several directories is nobody's.
    directory: Option<PathBuf>,
    /// Relaxed throughout: a read-modify-write is atomic in any order, and the
    /// number guards no other memory.
    used_bytes: AtomicU64,
}

/// Bytes counted against a quota; given back on drop unless kept.
#[derive(Debug)]
#[must_use]
pub(crate) struct Reservation<'a> {
    quota: &'a Quota,
    bytes: u64,
}

impl Quota {
    pub(crate) fn new(limit_bytes: Option<u64>) -> Self {
        Self {
            limit_bytes,
            directory: None,
            used_bytes: AtomicU64::new(0),
        }
    }

    /// The quota of this directory.
    pub(crate) fn of_directory(limit_bytes: Option<u64>, directory: &Path) -> Self {
        Self {
            directory: Some(directory.to_owned()),
            ..Self::new(limit_bytes)
        }
    }

    /// Counts `bytes` in.
    ///
    /// # Errors
    ///
    /// [`Error::QuotaExceeded`]; nothing is counted.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<Reservation<'_>> {
        let limit_bytes = self.limit_bytes.unwrap_or(u64::MAX);
        let within = |used_bytes: u64| {
            used_bytes
                .checked_add(bytes)
                .filter(|sum| *sum <= limit_bytes)
        };
        match self
            .used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
        {
            Ok(_) => Ok(Reservation { quota: self, bytes }),
            Err(used_bytes) => Err(Error::QuotaExceeded {
                backend: BACKEND,
                needed_bytes: bytes,
                used_bytes,
                quota_bytes: limit_bytes,
                path: self.directory.clone(),
            }),
        }
    }

    /// Counts `bytes` out that a kept reservation had counted in.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn limit_bytes(&self) -> Option<u64> {
        self.limit_bytes
    }
}

impl Reservation<'_> {
    /// Leaves the bytes counted.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.quota.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_fits_and_one_more_does_not() {
        let quota = Quota::new(Some(8192));
        quota.reserve(4096).unwrap().keep();
        quota.reserve(4096).unwrap().keep();
        let refused = quota.reserve(4096).unwrap_err();
        assert!(matches!(
            refused,
            Error::QuotaExceeded {
                needed_bytes: 4096,
                used_bytes: 8192,
                quota_bytes: 8192,
                ..
            }
        ));
        quota.give_back(4096);
        quota.reserve(4096).unwrap().keep();
    }

    #[test]
    fn a_reservation_that_is_not_kept_is_given_back() {
        let quota = Quota::new(Some(4096));
        drop(quota.reserve(4096).unwrap());
        assert_eq!(quota.used_bytes(), 0);
        assert!(quota.reserve(u64::MAX).is_err());
    }
}
