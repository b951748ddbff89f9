//! The conformance suite over every mode.

use pager_core::{Arena, Registry};
use pager_swap::{SeedAdvice, SwapBackend, SwapMode};

pager_core::conformance_tests! {
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

pager_core::conformance_tests! {
    fn conforms_when_every_read_is_paged_out_again() -> Registry<SwapBackend> {
        Registry::new(SwapBackend::builder().read_back_bytes(0).build())
    }
}
