//! The synchronisation primitives of the facade: those of `std`, or those of
//! shuttle when the model checker runs (`--cfg shuttle`).

#[cfg(not(shuttle))]
use std::sync;

#[cfg(shuttle)]
use shuttle::sync;

pub(crate) use sync::atomic::{AtomicU8, Ordering};
#[cfg(feature = "file")]
pub(crate) use sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
