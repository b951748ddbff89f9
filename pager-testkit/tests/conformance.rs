//! The conformance suite on the reference backends and on the wrappers, which
//! must change nothing while they are idle.

use pager_core::Registry;
use pager_testkit::{Expectations, Guarantee, KeepingBackend, MemoryBackend};
#[cfg(not(miri))]
use pager_testkit::{FaultyBackend, Gate, GatedBackend};

pager_testkit::conformance_tests! {
    expecting Expectations::none().keeps_capacity();
    fn memory() -> Registry<MemoryBackend> {
        Registry::new(MemoryBackend::new())
    }
}

pager_testkit::conformance_tests! {
    expecting Expectations::none().same_allocation();
    fn keeping() -> Registry<KeepingBackend> {
        Registry::new(KeepingBackend::new())
    }
}

// The wrappers add no memory handling that Miri could look at.
#[cfg(not(miri))]
pager_testkit::conformance_tests! {
    expecting Expectations::none().same_allocation();
    fn faulty_over_keeping() -> Registry<FaultyBackend<KeepingBackend>> {
        Registry::new(FaultyBackend::new(KeepingBackend::new()))
    }
}

#[cfg(not(miri))]
pager_testkit::conformance_tests! {
    expecting Expectations::none().keeps_capacity();
    fn gated_over_memory() -> (Registry<GatedBackend<MemoryBackend>>, Gate) {
        let gate = Gate::new();
        (Registry::new(GatedBackend::new(MemoryBackend::new(), &gate)), gate)
    }
}

#[test]
fn every_guarantee_is_a_sentence_of_its_own() {
    let mut sentences: Vec<&str> = Guarantee::ALL.iter().map(|it| it.sentence()).collect();
    assert!(sentences.iter().all(|sentence| sentence.ends_with('.')));
    sentences.sort_unstable();
    sentences.dedup();
    assert_eq!(sentences.len(), Guarantee::ALL.len());
}
