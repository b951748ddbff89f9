//! `read_at_many` of ranges of 4 KiB of one 2 MiB payload.

use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput};
use pager_bench::CHUNK_WORDS;

use crate::setup::{random_words, subjects};

/// Words of one range: a page.
const RANGE_WORDS: usize = 512;

const RANGE_COUNTS: [usize; 3] = [1, 8, 64];

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read_at_many");
    for count in RANGE_COUNTS {
        let bytes = count * RANGE_WORDS * size_of::<u64>();
        group.throughput(Throughput::Bytes(bytes as u64));
        for (order, ranges) in [("sorted", sorted(count)), ("unsorted", unsorted(count))] {
            for subject in subjects() {
                let id = BenchmarkId::new(format!("{}/{order}", subject.name), count);
                let mut chunk = random_words(CHUNK_WORDS);
                let chunks = std::slice::from_mut(&mut chunk);
                let handle = subject.pager.pageout(chunks).expect("pageout");
                let mut dst = Vec::with_capacity(count * RANGE_WORDS);
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|iterations| {
                        let start = Instant::now();
                        for _ in 0..iterations {
                            dst.clear();
                            let read = subject.pager.read_at_many(&handle, &ranges, &mut dst);
                            read.expect("read_at_many");
                            black_box(&dst);
                        }
                        start.elapsed()
                    });
                });
            }
        }
    }
    group.finish();
}

/// Ranges spread evenly over the payload, with gaps between them.
fn sorted(count: usize) -> Vec<Range<usize>> {
    let step = CHUNK_WORDS / count;
    (0..count)
        .map(|index| index * step..index * step + RANGE_WORDS)
        .collect()
}

/// The same ranges in an order that jumps to and fro.
fn unsorted(count: usize) -> Vec<Range<usize>> {
    let sorted = sorted(count);
    // 5 is coprime to every count, so each range comes up once.
    (0..count)
        .map(|index| sorted[(index * 5 + 3) % count].clone())
        .collect()
}
