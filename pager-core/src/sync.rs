//! The synchronisation primitives of the registry and the residency layer: those
//! of `std`, or those of shuttle where the model checker builds this (`races/`).
//!
//! No lock here stays poisoned: the data behind each is whole between two
//! statements, so a panic of another holder leaves nothing to repair.

use std::time::Duration;

#[cfg(not(pager_shuttle))]
pub(crate) use std::{sync, thread};

#[cfg(pager_shuttle)]
pub(crate) use shuttle::{sync, thread};

pub(crate) use sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use sync::{Condvar, Mutex, MutexGuard};

use sync::PoisonError;

/// Locks, whatever happened to an earlier holder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified.
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified, for at most `timeout`. The model checker has no clock: there
/// it is over at any moment.
pub(crate) fn wait_for<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
) -> Option<MutexGuard<'a, T>> {
    if cfg!(pager_shuttle) {
        drop(guard);
        thread::yield_now();
        return None;
    }
    match condvar.wait_timeout(guard, timeout) {
        Ok((guard, _)) => Some(guard),
        Err(poisoned) => Some(poisoned.into_inner().0),
    }
}
