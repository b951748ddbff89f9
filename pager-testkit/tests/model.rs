//! Random sequences of operations on the reference backends, compared with the
//! model word for word, on media that work and on media that fail.

use pager_core::{Backend, Registry};
use pager_testkit::{Failure, FaultyBackend, KeepingBackend, MemoryBackend, Operation, model};
use proptest::prelude::*;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Operations of one sequence, at most.
const STEPS: usize = if cfg!(miri) { 12 } else { 80 };

fn any_failure() -> impl Strategy<Value = Failure> {
    proptest::sample::select(&Failure::ALL[..])
}

fn fails_now_and_then<B: Backend>(
    inner: B,
    steps: &[model::Step],
    every: (u64, u64),
    failure: Failure,
) {
    let registry = Registry::new(FaultyBackend::new(inner));
    let faulty = registry.backend();
    faulty.fail_every(Operation::PageOut, every.0, failure);
    faulty.fail_every(Operation::Read, every.1, failure);
    let failures = model::run_with_failures(&registry, steps, || {
        faulty.heal(Operation::PageOut);
        faulty.heal(Operation::Read);
    });
    let injected = faulty.failures(Operation::PageOut) + faulty.failures(Operation::Read);
    assert_eq!(failures as u64, injected, "every failure came through");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_memory_backend_agrees_with_the_model(steps in model::operations(STEPS)) {
        model::run(&Registry::new(MemoryBackend::new()), &steps);
    }

    #[test]
    fn the_keeping_backend_agrees_with_the_model(steps in model::operations(STEPS)) {
        model::run(&Registry::new(KeepingBackend::new()), &steps);
    }

    #[test]
    fn failures_cost_nothing_on_the_memory_backend(
        steps in model::operations(STEPS),
        every in (1..6u64, 1..6u64),
        failure in any_failure(),
    ) {
        fails_now_and_then(MemoryBackend::new(), &steps, every, failure);
    }

    #[test]
    fn failures_cost_nothing_on_the_keeping_backend(
        steps in model::operations(STEPS),
        every in (1..6u64, 1..6u64),
        failure in any_failure(),
    ) {
        fails_now_and_then(KeepingBackend::new(), &steps, every, failure);
    }
}
