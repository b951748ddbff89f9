//! Random operations on every mode, compared with the model word for word.

use pager_core::{Arena, Registry};
use pager_swap::{SeedAdvice, SwapBackend, SwapMode};
use pager_testkit::model;
use proptest::prelude::*;

fn registry(mode: SwapMode, read_back_bytes: usize) -> Registry<SwapBackend> {
    let builder = SwapBackend::builder()
        .mode(mode)
        .arena(Arena::new(4 << 20))
        .read_back_bytes(read_back_bytes);
    Registry::new(builder.build())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arena_mode_agrees_with_the_model(
        steps in model::operations(if cfg!(miri) { 6 } else { 40 }),
        read_back_bytes in prop_oneof![Just(0), Just(64 << 10), Just(usize::MAX)],
    ) {
        model::run(&registry(SwapMode::Arena, read_back_bytes), &steps);
    }

    #[test]
    fn seed_mode_agrees_with_the_model(
        steps in model::operations(if cfg!(miri) { 6 } else { 40 }),
        advice in prop_oneof![Just(SeedAdvice::Cold), Just(SeedAdvice::PageOut)],
    ) {
        model::run(&registry(SwapMode::Seed(advice), 0), &steps);
    }
}
