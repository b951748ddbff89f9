//! Random operations on every mode, compared with the model word for word.

use pager_core::{Arena, Registry, Residency};
use pager_swap::{SeedAdvice, SwapBackend, SwapMode};
use pager_testkit::model;
use proptest::prelude::*;

fn registry(mode: SwapMode, budget_bytes: usize) -> Registry<SwapBackend> {
    let backend = SwapBackend::builder()
        .mode(mode)
        .arena(Arena::new(4 << 20))
        .build();
    let residency = Residency::builder().budget_bytes(budget_bytes).build();
    Registry::with_residency(backend, &residency)
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
        budget_bytes in prop_oneof![Just(0), Just(64 << 10), Just(1 << 30)],
    ) {
        model::run(&registry(SwapMode::Arena, budget_bytes), &steps);
    }

    #[test]
    fn seed_mode_agrees_with_the_model(
        steps in model::operations(if cfg!(miri) { 6 } else { 40 }),
        advice in prop_oneof![Just(SeedAdvice::Cold), Just(SeedAdvice::PageOut)],
    ) {
        model::run(&registry(SwapMode::Seed(advice), 0), &steps);
    }
}
