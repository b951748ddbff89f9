//! The registry's own cost: a backend that does nothing, a payload of one word.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use pager_core::{Backend, Payload, Registry, Result, Usage, Window};

/// Forgets what it is given. That of the test kit would bring the fault hooks along.
struct NullBackend;

impl Backend for NullBackend {
    type Slot = ();

    fn name(&self) -> &'static str {
        "null"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<()> {
        payload.clear();
        Ok(())
    }

    /// Nothing, which the registry tells from what was asked for.
    fn read(&self, (): &(), _: &[Range<usize>], _: &mut Window<'_>) -> Result<()> {
        Ok(())
    }

    fn free(&self, (): ()) {}

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry");
    for thread_count in [1, 2, 4] {
        let registry = Registry::new(NullBackend);
        let id = BenchmarkId::new("pageout_and_drop", thread_count);
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|iterations| {
                on_threads(thread_count, || pageout_and_drop(&registry, iterations))
            });
        });
        assert_eq!(registry.live_handles(), 0);
    }
    group.finish();
}

/// The longest time of several threads at the same work.
fn on_threads(thread_count: usize, work: impl Fn() -> Duration + Sync) -> Duration {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count).map(|_| scope.spawn(&work)).collect();
        let times = threads.into_iter().map(|thread| {
            let time = thread.join();
            time.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
        });
        times.max().unwrap_or_default()
    })
}

fn pageout_and_drop(registry: &Registry<NullBackend>, iterations: u64) -> Duration {
    let mut chunk = vec![0u64];
    let start = Instant::now();
    for word in 0..iterations {
        chunk.clear();
        chunk.push(word);
        let handle = registry.pageout(std::slice::from_mut(&mut chunk));
        drop(handle.expect("a backend that does nothing does not fail"));
    }
    start.elapsed()
}
