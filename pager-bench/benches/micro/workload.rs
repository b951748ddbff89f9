//! What the merge workload itself costs per 2 MiB chunk, next to paging: making
//! a chunk of either data, and merging two into two.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use pager_bench::buffer::Buffer;
use pager_bench::data::{ChunkId, DataKind, Generator};
use pager_bench::merge::combine;
use pager_bench::{CHUNK_BYTES, CHUNK_WORDS};

use crate::setup::random_words;

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("workload");
    group.throughput(Throughput::Bytes(CHUNK_BYTES as u64));
    for kind in [DataKind::Random, DataKind::Lineitem] {
        let generator = Generator::new(kind);
        let mut chunk = Vec::new();
        group.bench_function(format!("fill/{kind}"), |bencher| {
            let ids = (0..).map(|index| ChunkId {
                chain: 0,
                thread: 0,
                index,
            });
            let mut ids = ids.cycle();
            bencher.iter(|| {
                let id = ids.next().expect("a cycle does not end");
                chunk
                    .fill(generator.blocks(black_box(id)), CHUNK_WORDS)
                    .expect("there is memory for a chunk");
            });
        });
    }
    group.throughput(Throughput::Bytes(2 * CHUNK_BYTES as u64));
    let inputs = [random_words(CHUNK_WORDS), random_words(CHUNK_WORDS)];
    let mut outputs = [Vec::new(), Vec::new()];
    for kind in [DataKind::Random, DataKind::Lineitem] {
        group.bench_function(format!("combine/{kind}"), |bencher| {
            bencher.iter(|| {
                combine(kind, black_box(&inputs), &mut outputs).expect("there is memory");
            });
        });
    }
    group.finish();
}
