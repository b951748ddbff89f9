//! What nobody drops is removed when the process ends: the directory of a pager in a
//! static, of one that was leaked, or whose handles were.
//!
//! Guarantees that after the end of `main` and after `exit`, on whichever thread, no
//! directory of this process is left, as far as it can be removed. Nothing else is
//! taken away: descriptors stay open, so that segment files, which have no names,
//! serve whoever still runs. The function runs after those that a program has
//! registered with `atexit`, and after the destructors of thread-local variables.
//!
//! Refuses to help where no code runs any more (`abort`, `_exit`, a signal): what is
//! left then is the next start's to sweep. In a forked child it does nothing for
//! what is its parent's.
//!
//! # Why nothing here can wait
//!
//! A child may be forked while a thread of its parent holds a lock, and then nobody
//! releases it. Directories are kept in slots with a lock each, that are only tried:
//! one that is taken is passed by.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};

use super::ScratchDir;

/// Directories that one block has room for: more than most processes ever have at
/// once.
const SLOTS: usize = 32;

/// How often the end looks at a slot that is taken. Slots are taken for a moment.
const LOOKS: usize = 100;

static FIRST: Block = Block::new();

/// Some slots, and the way to more of them.
struct Block {
    slots: [Mutex<Slot>; SLOTS],
    next: OnceLock<Box<Block>>,
}

/// A directory that may have been dropped meanwhile, or none.
type Slot = Weak<ScratchDir>;

impl Block {
    const fn new() -> Self {
        Self {
            slots: [const { Mutex::new(Weak::new()) }; SLOTS],
            next: OnceLock::new(),
        }
    }

    /// This block and all behind it.
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |block| block.next.get().map(|next| &**next))
    }

    fn remember(&self, directory: &Arc<ScratchDir>) {
        let mut last = self;
        loop {
            for block in last.chain() {
                let free = block
                    .slots
                    .iter()
                    .filter_map(try_lock)
                    .find(|slot| slot.strong_count() == 0);
                if let Some(mut slot) = free {
                    *slot = Arc::downgrade(directory);
                    return;
                }
                last = block;
            }
            // Another thread may have been faster, and its block serves as well.
            let _ = last.next.set(Box::new(Self::new()));
        }
    }

    /// Removes every directory that is still there.
    fn remove_all(&self) {
        for slot in self.chain().flat_map(|block| &block.slots) {
            let found = (0..LOOKS).find_map(|_| {
                let found = try_lock(slot);
                if found.is_none() {
                    std::thread::yield_now();
                }
                found
            });
            // The lock is gone before the directory is: dropping the last reference
            // would remove it too, which is as good.
            let directory = found.and_then(|slot| slot.upgrade());
            if let Some(directory) = directory {
                directory.remove();
            }
        }
    }
}

/// Has `directory` removed at the end of the process, if it is there by then.
pub(super) fn remember(directory: &Arc<ScratchDir>) {
    FIRST.remember(directory);
}

/// The slot, if nobody has it at this moment.
fn try_lock(slot: &Mutex<Slot>) -> Option<MutexGuard<'_, Slot>> {
    match slot.try_lock() {
        Ok(guard) => Some(guard),
        // A slot is written in one piece.
        Err(TryLockError::Poisoned(poisoned)) => Some(PoisonError::into_inner(poisoned)),
        Err(TryLockError::WouldBlock) => None,
    }
}

// Runs when `main` has returned, or `exit` was called.
#[cfg(not(miri))]
dtor::declarative::dtor! {
    #[dtor(unsafe)]
    fn at_exit() {
        FIRST.remove_all();
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::FileConfig;

    fn directory(root: &std::path::Path) -> Arc<ScratchDir> {
        let config = FileConfig::new(root).allow_memory_fs(true);
        Arc::new(ScratchDir::open(&config).expect("a fresh root"))
    }

    fn count(root: &std::path::Path) -> usize {
        std::fs::read_dir(root).expect("the root").count()
    }

    #[test]
    fn more_directories_than_a_block_has_room_for_are_all_removed() {
        let root = tempfile::tempdir().unwrap();
        let all = Block::new();
        let directories: Vec<_> = (0..2 * SLOTS + 1).map(|_| directory(root.path())).collect();
        directories.iter().for_each(|it| all.remember(it));
        assert_eq!(all.chain().count(), 3);
        assert_eq!(count(root.path()), directories.len());
        all.remove_all();
        assert_eq!(count(root.path()), 0);
        // What is dropped after that finds nothing to do.
        drop(directories);
        all.remove_all();
    }

    #[test]
    fn the_slot_of_a_directory_that_was_dropped_is_used_again() {
        let root = tempfile::tempdir().unwrap();
        let all = Block::new();
        for _ in 0..2 * SLOTS {
            all.remember(&directory(root.path()));
        }
        assert_eq!(all.chain().count(), 1);
        assert_eq!(count(root.path()), 0);
    }

    #[test]
    fn a_slot_that_somebody_has_is_passed_by() {
        let root = tempfile::tempdir().unwrap();
        let all = Block::new();
        let _held = all.slots[0].try_lock().unwrap();
        let kept = directory(root.path());
        all.remember(&kept);
        assert_eq!(all.slots[1].try_lock().unwrap().strong_count(), 1);
        all.remove_all();
        assert_eq!(count(root.path()), 0);
    }
}
