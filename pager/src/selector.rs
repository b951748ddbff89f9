//! [`Selector`]: the backend that the next page-out goes to.
//!
//! One byte, read exactly once per page-out and written by whoever changes the
//! backend. Every access is `Relaxed`, and that is enough:
//!
//! - The byte guards nothing. Both registries are reached through the pager
//!   itself, which was published to the thread with everything in it; the file
//!   registry, which may appear later, has a lock of its own. Whichever value a
//!   thread reads, what it then uses is complete.
//! - A page-out needs *one* answer, not the newest: it loads once and passes the
//!   value on, so a flip in mid-flight cannot send one half here and the other
//!   there.
//! - A thread sees its own flips at once (coherence), and those of another that
//!   it has synchronised with by a lock, a channel or a join. That is all that
//!   [`Pager::set_backend`](crate::Pager::set_backend) promises.

use crate::BackendKind;
use crate::sync::{AtomicU8, Ordering};

/// A [`BackendKind`] that any thread may read or replace at any time.
#[derive(Debug)]
pub(crate) struct Selector(AtomicU8);

impl Selector {
    pub(crate) fn new(kind: BackendKind) -> Self {
        Self(AtomicU8::new(encode(kind)))
    }

    pub(crate) fn get(&self) -> BackendKind {
        // Relaxed: see above.
        decode(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, kind: BackendKind) {
        // Relaxed: see above.
        self.0.store(encode(kind), Ordering::Relaxed);
    }
}

const fn encode(kind: BackendKind) -> u8 {
    match kind {
        BackendKind::Swap => 0,
        BackendKind::File => 1,
    }
}

const fn decode(byte: u8) -> BackendKind {
    match byte {
        0 => BackendKind::Swap,
        _ => BackendKind::File,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_byte() {
        for kind in BackendKind::ALL {
            assert_eq!(Selector::new(kind).get(), kind);
            let selector = Selector::new(BackendKind::Swap);
            selector.set(kind);
            assert_eq!(selector.get(), kind);
        }
    }
}
