//! `pageout` and `take` of one chunk: with one word of every page read after it,
//! and, below the budget, by itself.

use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput};
use pager_core::PAGE_BYTES;

use crate::setup::{random_words, subjects};

const SIZES_BYTES: [usize; 5] = [4 << 10, 32 << 10, 256 << 10, 2 << 20, 16 << 20];

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round_trip");
    for size_bytes in SIZES_BYTES {
        group.throughput(Throughput::Bytes(size_bytes as u64));
        for subject in subjects() {
            let id = BenchmarkId::new(&subject.name, size_bytes);
            let mut chunk = random_words(size_bytes / size_of::<u64>());
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|iterations| {
                    let start = Instant::now();
                    for _ in 0..iterations {
                        let chunks = std::slice::from_mut(&mut chunk);
                        let handle = subject.pager.pageout(chunks).expect("pageout");
                        subject.pager.take(handle, &mut chunk).expect("take");
                        black_box(one_word_per_page(&chunk));
                    }
                    start.elapsed()
                });
            });
        }
    }
    group.finish();
    below_budget(criterion);
}

/// 2 MiB that never leave memory: what a promise costs.
fn below_budget(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("below_budget");
    let fast = subjects();
    for subject in fast.iter().filter(|it| it.name.ends_with("/fast")) {
        let mut chunk = random_words((2 << 20) / size_of::<u64>());
        group.bench_function(&subject.name, |bencher| {
            bencher.iter(|| {
                let chunks = std::slice::from_mut(&mut chunk);
                let handle = subject.pager.pageout(chunks).expect("pageout");
                subject.pager.take(handle, &mut chunk).expect("take");
            });
        });
    }
    group.finish();
}

fn one_word_per_page(words: &[u64]) -> u64 {
    let pages = words.iter().step_by(PAGE_BYTES / size_of::<u64>());
    pages.fold(0, |sum, word| sum ^ word)
}
