//! How much smaller columns become, and how fast: each scheme of the codec on each
//! column of `lineitem`, on random words, and on prices as floats. One core, 2 MiB
//! of elements of 8 bytes at a time, without a backend.
//!
//! `cargo bench -p pager-bench --bench codec` prints the table of ratios and then
//! measures; a name (`in/delta`, say) restricts what is measured, as always with
//! criterion. `cargo test` runs each benchmark once.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use pager_bench::buffer::Buffer;
use pager_bench::data::{ChunkId, DataKind, Generator};
use pager_bench::{CHUNK_BYTES, CHUNK_WORDS};
use pager_core::codec::Scheme;
use pager_core::codec::block::{ElementWidth, Scratch, decode, encode};

/// The columns of `lineitem`, in the order in which the generator makes them.
const COLUMNS: [&str; 14] = [
    "orderkey",
    "partkey",
    "suppkey",
    "linenumber",
    "quantity",
    "extendedprice",
    "discount",
    "tax",
    "returnflag",
    "linestatus",
    "shipdate",
    "commitdate",
    "receiptdate",
    "shipmode",
];

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .configure_from_args();
    let columns = columns();
    let schemes: Vec<Scheme> = Scheme::ALL
        .into_iter()
        .filter(|scheme| scheme.is_enabled())
        .collect();
    print_ratios(&columns, &schemes);
    // One place in memory for all columns: places differ in speed.
    let mut words = Vec::with_capacity(CHUNK_WORDS);
    for &scheme in &schemes {
        for (name, column) in &columns {
            words.clone_from(column);
            measure(&mut criterion, scheme, name, &words);
        }
    }
    criterion.final_summary();
}

/// Every column under its name.
fn columns() -> Vec<(&'static str, Vec<u64>)> {
    let lineitem = Generator::new(DataKind::Lineitem);
    let mut columns: Vec<_> = (0..)
        .zip(COLUMNS)
        .map(|(index, name)| (name, filled(&lineitem, index)))
        .collect();
    let cents = &columns[5].1;
    #[allow(clippy::cast_precision_loss, reason = "no price has 16 digits")]
    let prices = cents.iter().map(|&cents| (cents as f64 / 100.0).to_bits());
    columns.push(("extendedprice as f64", prices.collect()));
    columns.push(("random", filled(&Generator::new(DataKind::Random), 0)));
    columns
}

fn filled(generator: &Generator, index: u32) -> Vec<u64> {
    let id = ChunkId {
        chain: 0,
        thread: 0,
        index,
    };
    let mut words = Vec::new();
    words
        .fill(generator.blocks(id), CHUNK_WORDS)
        .expect("there is memory for a chunk");
    words
}

fn print_ratios(columns: &[(&str, Vec<u64>)], schemes: &[Scheme]) {
    print!("{:22}", "ratio");
    schemes.iter().for_each(|scheme| print!("{scheme:>11}"));
    println!();
    let mut scratch = Scratch::new();
    for (name, words) in columns {
        print!("{name:22}");
        for &scheme in schemes {
            let mut stored = Vec::new();
            encode_all(scheme, words, &mut scratch, &mut stored, &mut Vec::new());
            #[allow(clippy::cast_precision_loss, reason = "a ratio")]
            let ratio = words.len() as f64 / stored.len() as f64;
            print!("{ratio:11.1}");
        }
        println!();
    }
}

fn encode_all(
    scheme: Scheme,
    words: &[u64],
    scratch: &mut Scratch,
    stored: &mut Vec<u64>,
    lens: &mut Vec<usize>,
) {
    stored.clear();
    lens.clear();
    for block in bytemuck::cast_slice::<u64, u8>(words).chunks(scheme.block_bytes()) {
        let block = encode(scheme, ElementWidth::Eight, block, scratch);
        stored.extend_from_slice(block);
        lens.push(block.len());
    }
}

fn measure(criterion: &mut Criterion, scheme: Scheme, name: &str, words: &[u64]) {
    let mut scratch = Scratch::new();
    let mut stored = Vec::with_capacity(2 * words.len());
    let mut lens = Vec::new();
    let mut group = criterion.benchmark_group("in");
    group.throughput(Throughput::Bytes(CHUNK_BYTES as u64));
    group.bench_function(format!("{scheme}/{name}"), |bencher| {
        bencher.iter(|| {
            encode_all(
                scheme,
                black_box(words),
                &mut scratch,
                &mut stored,
                &mut lens,
            )
        });
    });
    group.finish();
    encode_all(scheme, words, &mut scratch, &mut stored, &mut lens);
    let mut back: Vec<u8> = Vec::with_capacity(CHUNK_BYTES);
    let mut group = criterion.benchmark_group("out");
    group.throughput(Throughput::Bytes(CHUNK_BYTES as u64));
    group.bench_function(format!("{scheme}/{name}"), |bencher| {
        bencher.iter(|| {
            back.clear();
            let mut rest = &black_box(&stored)[..];
            for len in &lens {
                let (block, behind) = rest.split_at(*len);
                rest = behind;
                let plain_len = scheme.block_bytes().min(CHUNK_BYTES - back.len());
                decode(block, plain_len, 0..plain_len, &mut scratch, &mut |piece| {
                    back.extend_from_slice(piece);
                })
                .expect("what was encoded decodes");
            }
        });
    });
    group.finish();
    assert!(
        back.is_empty() || back == bytemuck::cast_slice::<u64, u8>(words),
        "{scheme} gave {name} back otherwise"
    );
}
