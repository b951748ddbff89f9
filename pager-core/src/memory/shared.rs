//! [`shared_in`]: one arena for the whole process, made at first use and never freed.

use std::sync::atomic::{AtomicPtr, Ordering};

use super::Arena;
use super::arena::SHARED_WARM_BYTES;

/// The arena that `cell` points at, or a fresh one if that is none of this
/// process's own.
#[allow(unsafe_code, reason = "publishes a leaked arena through a pointer")]
pub(super) fn shared_in(cell: &AtomicPtr<Arena>) -> Arena {
    // Acquire pairs with the Release below: who sees the pointer sees the arena.
    let found = cell.load(Ordering::Acquire);
    // SAFETY: the pointer is null or points at an arena that is never freed.
    if let Some(arena) = unsafe { found.as_ref() }
        && arena.is_own()
    {
        return arena.clone();
    }
    let fresh = Box::into_raw(Box::new(Arena::new(SHARED_WARM_BYTES)));
    match cell.compare_exchange(found, fresh, Ordering::Release, Ordering::Acquire) {
        // SAFETY: just leaked, never freed.
        Ok(_) => unsafe { &*fresh }.clone(),
        Err(winner) => {
            // SAFETY: `fresh` was made above and shown to nobody.
            drop(unsafe { Box::from_raw(fresh) });
            // SAFETY: published by another thread of this process.
            unsafe { &*winner }.clone()
        }
    }
}
