//! The synchronisation primitives of the registry and the residency layer: those
//! of `std`, or those of shuttle when the model checker runs (`--cfg shuttle`).
//!
//! No lock here stays poisoned: the data behind each is whole between two
//! statements, so a panic of another holder leaves nothing to repair.

use std::time::Duration;

#[cfg(not(shuttle))]
pub(crate) use std::{sync, thread};

#[cfg(shuttle)]
pub(crate) use shuttle::{sync, thread};

pub(crate) use sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use sync::{Condvar, Mutex, MutexGuard, RwLock};
pub(crate) use sync::{RwLockReadGuard, RwLockWriteGuard, TryLockError};

use sync::PoisonError;

/// Locks, whatever happened to an earlier holder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading, whatever happened to an earlier holder.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing, whatever happened to an earlier holder.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading if nobody writes.
pub(crate) fn try_read<T>(lock: &RwLock<T>) -> Option<RwLockReadGuard<'_, T>> {
    match lock.try_read() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Locks for writing if nobody reads or writes.
pub(crate) fn try_write<T>(lock: &RwLock<T>) -> Option<RwLockWriteGuard<'_, T>> {
    match lock.try_write() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Waits to be notified, for at most `timeout`.
pub(crate) fn wait_for<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
) -> MutexGuard<'a, T> {
    match condvar.wait_timeout(guard, timeout) {
        Ok((guard, _)) => guard,
        Err(poisoned) => poisoned.into_inner().0,
    }
}
