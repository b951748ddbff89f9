//! The conformance suite on the reference backends.

use pager_core::Registry;
use pager_core::testkit::MemoryBackend;

pager_core::conformance_tests! {
    fn memory() -> Registry<MemoryBackend> {
        Registry::new(MemoryBackend::new())
    }
}
