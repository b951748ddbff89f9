//! The conformance suite over every mode.

use pager_core::codec::{Codec, Compressed, Scheme};
use pager_core::{Arena, Registry, Residency};
use pager_swap::{SeedAdvice, SwapBackend, SwapMode};
use pager_testkit::Expectations;

pager_testkit::conformance_tests! {
    // An arena is copied into, the published mode keeps the caller's own memory.
    expecting if mode == SwapMode::Arena {
        Expectations::none().keeps_capacity()
    } else {
        Expectations::none().same_allocation()
    };
    fn conforms(
        #[values(
            SwapMode::Arena,
            SwapMode::Seed(SeedAdvice::Cold),
            SwapMode::Seed(SeedAdvice::PageOut)
        )]
        mode: SwapMode,
    ) -> Registry<SwapBackend> {
        // An arena of its own, so that no test sees the slots of another.
        let arena = Arena::new(4 << 20);
        Registry::new(SwapBackend::builder().mode(mode).arena(arena).build())
    }
}

pager_testkit::conformance_tests! {
    expecting Expectations::none().keeps_capacity();
    fn conforms_when_every_read_is_paged_out_again() -> Registry<SwapBackend> {
        Registry::new(SwapBackend::new())
    }
}

pager_testkit::conformance_tests! {
    fn conforms_under_a_budget(
        #[values(0, 100 << 10, 64 << 20)] budget_bytes: usize,
        #[values(SwapMode::Arena, SwapMode::Seed(SeedAdvice::PageOut))] mode: SwapMode,
    ) -> Registry<SwapBackend> {
        let residency = Residency::builder().budget_bytes(budget_bytes).build();
        let backend = SwapBackend::builder().mode(mode).arena(Arena::new(4 << 20)).build();
        Registry::with_residency(backend, &residency)
    }
}

pager_testkit::conformance_tests! {
    fn conforms_beneath_a_codec(
        #[values(0, 100 << 10, 64 << 20)] budget_bytes: usize,
        #[values(SwapMode::Arena, SwapMode::Seed(SeedAdvice::PageOut))] mode: SwapMode,
        #[values(Codec::Off, Codec::Auto, Codec::Always(Scheme::Pack))] codec: Codec,
    ) -> Registry<Compressed<SwapBackend>> {
        let residency = Residency::builder().budget_bytes(budget_bytes).build();
        let backend = SwapBackend::builder().mode(mode).arena(Arena::new(4 << 20)).build();
        Registry::with_residency(Compressed::new(backend, codec), &residency)
    }
}
