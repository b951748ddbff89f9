//! A backend that panics on the caller's thread: no lock stays poisoned, and what
//! failed leaves everything as it was.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use pager_core::testkit::{MemoryBackend, content::words};
use pager_core::{Backend, Payload, Registry, Result, Usage, Window};

/// Panics while it is told to.
#[derive(Debug, Default)]
struct Panicky {
    inner: MemoryBackend,
    /// Relaxed: set and read by one thread.
    panics: AtomicBool,
}

impl Panicky {
    fn maybe(&self) {
        assert!(!self.panics.load(Ordering::Relaxed), "meant");
    }

    fn set(&self, panics: bool) {
        self.panics.store(panics, Ordering::Relaxed);
    }
}

impl Backend for Panicky {
    type Slot = <MemoryBackend as Backend>::Slot;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Self::Slot> {
        self.maybe();
        self.inner.page_out(payload)
    }

    fn read(
        &self,
        slot: &Self::Slot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        self.maybe();
        self.inner.read(slot, ranges, window)
    }

    fn free(&self, slot: Self::Slot) {
        self.inner.free(slot);
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}

#[test]
fn a_backend_that_panics_in_a_page_out_or_a_read_poisons_nothing() {
    let registry = Registry::new(Panicky::default());
    let handle = registry.pageout(&mut [words(1, 700)]).unwrap();
    registry.backend().set(true);
    let mut chunks = [words(2, 700)];
    let pageout = catch_unwind(AssertUnwindSafe(|| registry.pageout(&mut chunks).map(drop)));
    let mut found = vec![7];
    let read = catch_unwind(AssertUnwindSafe(|| handle.read_at(0, 700, &mut found)));
    assert!(pageout.is_err() && read.is_err());
    assert_eq!((&chunks[0], &found), (&words(2, 700), &vec![7]));
    registry.backend().set(false);

    handle.read_at(0, 700, &mut found).unwrap();
    assert_eq!(found[1..], words(1, 700));
    let second = registry.pageout(&mut chunks).unwrap();
    second.take(&mut found).unwrap();
    assert_eq!(found, words(2, 700));
    drop(handle);
    let stats = registry.stats();
    assert_eq!((stats.live_handles, stats.backend.logical_bytes), (0, 0));
}
