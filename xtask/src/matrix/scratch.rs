//! A directory of the matrix's own below the scratch root, in which every cell works.
//!
//! Guarantees that what a cell leaves when it is killed goes with the directory: at the end of the
//! matrix, when it is interrupted, and after a kill of xtask itself with the next start. Refuses to
//! touch what somebody is still using: the directory is locked for life, every cell inherits the
//! lock, and only a directory that nobody has locked is swept.

use anyhow::{Context, bail};
use pager_tool::warn;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What such directories are called; nothing else is looked at.
const PREFIX: &str = "pager-matrix-";

/// How often a sweep may take a directory away before it is locked.
const ATTEMPTS: usize = 100;

/// The directory. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Holds the lock, here and in every child.
    _lock: File,
}

impl Scratch {
    /// Makes a directory below `root`, after removing what killed matrices have left there.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub(crate) fn new(root: &Path) -> anyhow::Result<Self> {
        if !root.exists() {
            fs::create_dir(root).with_context(|| format!("cannot make {}", root.display()))?;
        }
        sweep(root);
        for _ in 0..ATTEMPTS {
            let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root);
            let path = made
                .with_context(|| format!("cannot make a directory in {}", root.display()))?
                .keep();
            // Another start may have swept it in between; then the name is gone.
            let Ok(lock) = File::open(&path) else {
                continue;
            };
            if lock.try_lock().is_ok() && is_named(&lock, &path) {
                // Children keep the lock for as long as they live.
                rustix::io::fcntl_setfd(&lock, rustix::io::FdFlags::empty())
                    .context("cannot pass the lock on")?;
                return Ok(Self { path, _lock: lock });
            }
        }
        bail!("no directory in {} can be kept", root.display());
    }

    /// Where cells may make their own scratch directories.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes what matrices that were killed have left below `root`.
fn sweep(root: &Path) {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    for entry in entries {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        let Ok(lock) = File::open(&path) else {
            continue;
        };
        if is_ours {
            match lock.try_lock() {
                Ok(()) => remove(&path),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    warn(format_args!("cannot lock {}: {error}", path.display()));
                }
            }
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && path.exists()
    {
        warn(format_args!("cannot remove {}: {error}", path.display()));
    }
}

/// Whether the open directory is the one of that name.
fn is_named(open: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (open.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

#[cfg(test)]
mod tests {
    use super::{PREFIX, Scratch};
    use std::fs;

    #[test]
    fn a_directory_goes_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(&root.path().join("made")).unwrap();
        fs::create_dir(scratch.path().join("pager-1-2")).unwrap();
        fs::write(scratch.path().join("pager-1-2/0"), "left").unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(root.path().join("made")).unwrap().count(), 0);
    }

    #[test]
    fn the_dead_are_swept_and_the_living_and_strangers_are_not() {
        let root = tempfile::tempdir().unwrap();
        let living = Scratch::new(root.path()).unwrap();
        let dead = root.path().join(format!("{PREFIX}dead"));
        let other = root.path().join("somebody");
        for dir in [&dead, &other] {
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("file"), "left").unwrap();
        }
        let second = Scratch::new(root.path()).unwrap();
        assert!(!dead.exists());
        assert!(other.join("file").exists());
        assert!(living.path().exists() && second.path().exists());
    }
}
