//! [`Usage`]: how many bytes are in spill files, and how many there may be.
//!
//! The limit is the engine's `max_temp_directory_size`, looked up at each write, so that one
//! that is changed holds at once, as with the engine's own files. What a file holds is a value
//! that gives back what it counts when it is dropped.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use datafusion_common::{DataFusionError, human_readable_size};
use datafusion_execution::disk_manager::{
    DEFAULT_MAX_TEMP_DIRECTORY_SIZE, DiskManager, SpillingProgress,
};

/// What all spill files of an adapter hold. Relaxed throughout: counts that order nothing.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    used_bytes: AtomicU64,
    files: AtomicUsize,
}

/// How much there may be.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Whose setting it is: set once it is made, which is after whoever asks here.
    manager: OnceLock<Weak<DiskManager>>,
    /// What it was when last looked up. Relaxed: it orders nothing.
    last_bytes: AtomicU64,
}

/// What one file holds of it.
#[derive(Debug)]
pub(crate) struct FileUsage {
    usage: Arc<Usage>,
    limit: Arc<Limit>,
    /// What it has to give back. Relaxed, as the sum is.
    held_bytes: AtomicU64,
    /// All that was ever written to it.
    written_bytes: AtomicU64,
}

impl Usage {
    pub(crate) fn progress(&self) -> SpillingProgress {
        SpillingProgress {
            current_bytes: self.used_bytes.load(Ordering::Relaxed),
            active_files_count: self.files.load(Ordering::Relaxed),
        }
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            manager: OnceLock::new(),
            last_bytes: AtomicU64::new(DEFAULT_MAX_TEMP_DIRECTORY_SIZE),
        }
    }
}

impl Limit {
    /// Whose setting it is.
    pub(crate) fn is_set_by(&self, manager: &Arc<DiskManager>) {
        let manager = self.manager.get_or_init(|| Arc::downgrade(manager));
        if let Some(manager) = manager.upgrade() {
            self.remember(&manager);
        }
    }

    fn remember(&self, manager: &DiskManager) -> u64 {
        let bytes = manager.max_temp_directory_size();
        self.last_bytes.store(bytes, Ordering::Relaxed);
        bytes
    }

    /// What it is now; what it last was, if the engine has gone and its files have not.
    fn bytes(&self) -> u64 {
        let manager = self.manager.get().and_then(Weak::upgrade);
        manager.map_or_else(
            || self.last_bytes.load(Ordering::Relaxed),
            |manager| self.remember(&manager),
        )
    }
}

impl FileUsage {
    /// Of a file that is made now.
    pub(crate) fn of_file(usage: &Arc<Usage>, limit: &Arc<Limit>) -> Self {
        usage.files.fetch_add(1, Ordering::Relaxed);
        Self {
            usage: Arc::clone(usage),
            limit: Arc::clone(limit),
            held_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
        }
    }

    /// Counts `bytes` that are about to be written.
    ///
    /// # Errors
    ///
    /// There would be more than there may be.
    pub(crate) fn grow(&self, bytes: u64) -> Result<(), DataFusionError> {
        let limit_bytes = self.limit.bytes();
        let more = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= limit_bytes);
        let used = &self.usage.used_bytes;
        if used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_err()
        {
            let limit = human_readable_size(usize::try_from(limit_bytes).unwrap_or(usize::MAX));
            return Err(DataFusionError::ResourcesExhausted(format!(
                "The used disk space during the spilling process has exceeded the allowable \
                 limit of {limit}. Please try increasing the config: \
                 `datafusion.runtime.max_temp_directory_size`."
            )));
        }
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// What was counted has been written.
    pub(crate) fn wrote(&self, bytes: u64) {
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives `bytes` back: they were not written, or nobody can read them any more.
    pub(crate) fn shrink(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.usage.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Gives back all that it holds: nobody can read it any more.
    pub(crate) fn forget(&self) {
        let held_bytes = self.held_bytes.swap(0, Ordering::Relaxed);
        let used = &self.usage.used_bytes;
        used.fetch_sub(held_bytes, Ordering::Relaxed);
    }

    /// All that was ever written.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for FileUsage {
    fn drop(&mut self) {
        self.forget();
        self.usage.files.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_engines_and_may_change() {
        let manager = DiskManager::builder().with_max_temp_directory_size(10);
        let manager = Arc::new(manager.build().expect("a manager"));
        let (usage, limit) = (Arc::new(Usage::default()), Arc::new(Limit::default()));
        limit.is_set_by(&manager);
        let (file, other) = (
            FileUsage::of_file(&usage, &limit),
            FileUsage::of_file(&usage, &limit),
        );
        file.grow(7).expect("there is room");
        let refused = other.grow(4).expect_err("there is none");
        assert!(matches!(refused, DataFusionError::ResourcesExhausted(_)));
        manager.set_max_temp_directory_size(11).expect("set");
        other.grow(4).expect("there is room now");
        assert_eq!(usage.progress().current_bytes, 11);
        file.shrink(2);
        drop(file);
        assert_eq!(usage.progress().current_bytes, 4);
        drop(manager);
        other.grow(8).expect_err("it is the last that was set");
        drop(other);
        let progress = usage.progress();
        assert_eq!(
            (progress.current_bytes, progress.active_files_count),
            (0, 0)
        );
    }
}
