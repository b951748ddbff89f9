//! [`Flight`]: a transfer under way, and whoever waits for it.

use crate::sync::{Condvar, Mutex, lock, wait};

/// One transfer of one piece. Nobody holds a lock while it is made: who needs the
/// piece waits here, and for nothing else.
#[derive(Debug, Default)]
pub(super) struct Flight {
    has_landed: Mutex<bool>,
    landed: Condvar,
}

impl Flight {
    /// Waits until it is over, however it ended.
    pub(super) fn wait(&self) {
        let mut has_landed = lock(&self.has_landed);
        while !*has_landed {
            has_landed = wait(&self.landed, has_landed);
        }
    }

    /// Ends it.
    pub(super) fn land(&self) {
        *lock(&self.has_landed) = true;
        self.landed.notify_all();
    }
}
