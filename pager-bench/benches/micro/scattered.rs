//! 2 MiB paged out in several chunks and taken back as one.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use pager_bench::{CHUNK_BYTES, CHUNK_WORDS};

use crate::setup::{random_words, subjects};

const CHUNK_COUNTS: [usize; 4] = [1, 2, 8, 64];

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scattered");
    group.throughput(Throughput::Bytes(CHUNK_BYTES as u64));
    let words = random_words(CHUNK_WORDS);
    for count in CHUNK_COUNTS {
        for subject in subjects() {
            let id = BenchmarkId::new(&subject.name, count);
            let mut chunks = vec![Vec::new(); count];
            let mut whole = Vec::new();
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut elapsed = Duration::ZERO;
                    for _ in 0..iterations {
                        let parts = words.chunks(CHUNK_WORDS / count);
                        for (chunk, part) in chunks.iter_mut().zip(parts) {
                            chunk.extend_from_slice(part);
                        }
                        let start = Instant::now();
                        let handle = subject.pager.pageout(&mut chunks).expect("pageout");
                        subject.pager.take(handle, &mut whole).expect("take");
                        elapsed += start.elapsed();
                    }
                    elapsed
                });
            });
            // Empty if a filter skipped the benchmark.
            assert!(whole.is_empty() || whole == words, "{}", subject.name);
        }
    }
    group.finish();
}
