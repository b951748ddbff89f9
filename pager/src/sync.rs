//! The synchronisation primitives of the facade: those of `std`, or those of
//! shuttle where the model checker builds this (`races/`).

#[cfg(not(pager_shuttle))]
use std::sync;

#[cfg(pager_shuttle)]
use shuttle::sync;

pub(crate) use sync::atomic::{AtomicU8, Ordering};
#[cfg(feature = "file")]
pub(crate) use sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
