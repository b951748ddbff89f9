//! One memory limit: what queries do not use is lent, and comes back.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datafusion_common::DataFusionError;
use datafusion_execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryPool, MemoryReservation, UnboundedMemoryPool,
};
use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion_execution::spill_file::SpillFile;
use futures::StreamExt;
use pager::{BackendKind, Pager};
use pager_datafusion::{Adapter, LendingPool};

use support::{check_empty, drain, run};

const MIB: usize = 1 << 20;

struct Place {
    adapter: Adapter,
    runtime: RuntimeEnv,
    _scratch: tempfile::TempDir,
}

fn place(pool: LendingPool) -> Place {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .scratch_dir(scratch.path());
    let adapter = Adapter::within(pool, pager).unwrap();
    let runtime = adapter.install(RuntimeEnvBuilder::new()).unwrap();
    Place {
        runtime: runtime.build().unwrap(),
        adapter,
        _scratch: scratch,
    }
}

impl Place {
    fn query(&self) -> MemoryReservation {
        MemoryConsumer::new("a query").register(&self.runtime.memory_pool)
    }

    /// A file of so many MiB, of which each has its number.
    fn spill(&self, mib: usize) -> Arc<dyn SpillFile> {
        let file = self.runtime.disk_manager.create_tmp_file("a test").unwrap();
        let mut writer = file.open_writer().unwrap();
        for number in 0..mib {
            writer.write_all(&vec![byte(number); MIB]).unwrap();
        }
        file
    }

    fn lent_bytes(&self) -> usize {
        self.adapter.pool().unwrap().lent_bytes()
    }
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap()
}

fn check(bytes: &[bytes::Bytes], mib: usize) {
    let bytes = bytes.concat();
    assert_eq!(bytes.len(), mib * MIB);
    for (number, mib) in bytes.chunks(MIB).enumerate() {
        assert!(mib == vec![byte(number); MIB], "MiB {number}");
    }
}

#[test]
fn what_queries_do_not_use_is_lent_and_comes_back_when_they_want_it() {
    let place = place(LendingPool::new(64 * MIB));
    let pool = Arc::clone(place.adapter.pool().unwrap());
    assert_eq!(pool.reserve_bytes(), 8 * MIB);
    let file = place.spill(40);
    assert!(place.lent_bytes() >= 40 * MIB, "it stays in memory");
    let query = place.query();
    // Batch by batch, until queries have all that they may.
    for _ in 0..56 {
        query.try_grow(MIB).unwrap();
        assert!(query.size() + place.lent_bytes() <= 64 * MIB);
    }
    let refused = query.try_grow(MIB).expect_err("the reserve is not theirs");
    assert!(matches!(refused, DataFusionError::ResourcesExhausted(_)));
    assert_eq!(pool.reserved(), 56 * MIB);
    assert!(place.lent_bytes() <= 8 * MIB);
    assert!(place.adapter.pager().stats().residency.written_bytes >= 30 << 20);
    // What had to leave comes back, within what is left.
    // All of it is kept: the reader waits for no room that nobody makes.
    let begun = Instant::now();
    check(&run(drain(file.read_stream().unwrap())).unwrap(), 40);
    assert!(begun.elapsed() < Duration::from_secs(15));
    drop((query, file));
    let again = place.spill(40);
    assert!(place.lent_bytes() >= 30 * MIB, "it is lent again");
    drop(again);
    check_empty(place.adapter.pager());
    let Place {
        adapter, runtime, ..
    } = place;
    drop((runtime, adapter));
}

#[test]
fn the_sum_stays_within_the_limit_whoever_asks() {
    let place = Arc::new(place(LendingPool::new(32 * MIB)));
    let (done, seen) = (AtomicBool::new(false), Arc::clone(&place));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let sum = seen.runtime.memory_pool.reserved() + seen.lent_bytes();
                // The two are not read at once: a step may be counted twice.
                assert!(sum <= 34 * MIB, "{} MiB", sum / MIB);
                std::thread::yield_now();
            }
        });
        let queries: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let query = place.query();
                    for _ in 0..4 {
                        let file = place.spill(8);
                        while query.size() < 12 * MIB {
                            query.try_grow(MIB / 2).unwrap();
                        }
                        // Piece by piece: what is held cannot be given back.
                        let mut stream = file.read_stream().unwrap();
                        let mut read_bytes = 0;
                        while let Some(bytes) = run(stream.next()) {
                            read_bytes += bytes.unwrap().len();
                        }
                        assert_eq!(read_bytes, 8 * MIB);
                        query.free();
                    }
                })
            })
            .collect();
        let ended: Vec<_> = queries.into_iter().map(|query| query.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    check_empty(place.adapter.pager());
}

#[test]
fn what_is_being_read_cannot_be_given_back_and_that_is_said() {
    let place = place(LendingPool::new(32 * MIB));
    let file = place.spill(16);
    let mut stream = file.read_stream().unwrap();
    let mut held = Vec::new();
    while let Some(bytes) = run(stream.next()) {
        held.push(bytes.unwrap());
    }
    let query = place.query();
    let refused = (0..24).find_map(|_| query.try_grow(MIB).err());
    let refused = refused.expect("pager holds more than the reserve");
    let text = refused.to_string();
    assert!(matches!(refused, DataFusionError::ResourcesExhausted(_)));
    assert!(text.contains("cannot be given back"), "{text}");
    check(&held, 16);
    drop((held, stream));
    while query.size() < 24 * MIB {
        query.try_grow(MIB).unwrap();
    }
}

#[test]
fn another_pool_decides_which_query_gets_how_much() {
    let fair: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(24 * MIB));
    let place = place(LendingPool::around(fair, 8 * MIB).unwrap());
    let spilling = |name| {
        let consumer = MemoryConsumer::new(name).with_can_spill(true);
        consumer.register(&place.runtime.memory_pool)
    };
    let (first, second) = (spilling("first"), spilling("second"));
    first.try_grow(12 * MIB).unwrap();
    first.try_grow(1).expect_err("half of it is another's");
    second.try_grow(12 * MIB).unwrap();
    assert_eq!(place.runtime.memory_pool.reserved(), 24 * MIB);
    let text = place.runtime.memory_pool.to_string();
    assert!(text.contains("lending") && text.contains("fair"), "{text}");
    drop((first, second));
    assert_eq!(place.runtime.memory_pool.reserved(), 0);
    let unbounded: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    assert!(LendingPool::around(unbounded, MIB).is_err());
}
