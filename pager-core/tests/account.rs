//! Memory that is somebody else's: what an account lends bounds what is held, whatever
//! the account does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pager_core::{Backend, Handle, MemoryAccount, Registry, Residency};
use pager_testkit::content::words;
use pager_testkit::{Failure, FaultyBackend, MemoryBackend, Operation};

const MIB: usize = 1 << 20;
/// What may be held beyond what is lent: bookkeeping.
const FREE_BYTES: usize = MIB;

/// So many bytes, with a record of what was asked.
#[derive(Default)]
struct Pool {
    limit_bytes: AtomicUsize,
    lent_bytes: AtomicUsize,
    grown: AtomicU64,
    shrunk: AtomicU64,
    panics: AtomicBool,
}

impl Pool {
    fn new(limit_bytes: usize) -> Arc<Self> {
        let pool = Self::default();
        pool.limit_bytes.store(limit_bytes, Ordering::SeqCst);
        Arc::new(pool)
    }

    fn lent_bytes(&self) -> usize {
        self.lent_bytes.load(Ordering::SeqCst)
    }
}

impl MemoryAccount for Pool {
    fn try_grow(&self, bytes: usize) -> Result<(), Box<dyn StdError + Send + Sync>> {
        self.grown.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "told to panic");
        let limit_bytes = self.limit_bytes.load(Ordering::SeqCst);
        let more = |lent: usize| Some(lent + bytes).filter(|sum| *sum <= limit_bytes);
        self.lent_bytes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .map(drop)
            .map_err(|lent| format!("{lent} bytes are lent already").into())
    }

    fn shrink(&self, bytes: usize) {
        self.shrunk.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "told to panic");
        let before = self.lent_bytes.fetch_sub(bytes, Ordering::SeqCst);
        assert!(before >= bytes, "more came back than was lent");
    }
}

fn borrowing(pool: &Arc<Pool>, budget_bytes: usize) -> (Registry<MemoryBackend>, Residency) {
    let residency = Residency::builder()
        .budget_bytes(budget_bytes)
        .account(Arc::clone(pool))
        .build();
    let registry = Registry::with_residency(MemoryBackend::new(), &residency);
    (registry, residency)
}

fn held_bytes(residency: &Residency) -> usize {
    usize::try_from(residency.stats().held_bytes).unwrap()
}

fn page_out<B: Backend>(registry: &Registry<B>, seed: u64, bytes: usize) -> Handle<B> {
    registry.pageout(&mut [words(seed, bytes / 8)]).unwrap()
}

fn take_all<B: Backend>(handles: Vec<Handle<B>>, bytes: usize) {
    for (seed, handle) in handles.into_iter().enumerate() {
        let mut taken: Vec<u64> = Vec::new();
        handle.take(&mut taken).unwrap();
        assert!(taken == words(seed as u64, bytes / 8), "payload {seed}");
    }
}

#[test]
fn what_is_held_is_lent_in_steps_and_comes_back() {
    let pool = Pool::new(usize::MAX);
    let (registry, residency) = borrowing(&pool, 64 * MIB);
    let handles: Vec<_> = (0..640)
        .map(|seed| {
            let handle = page_out(&registry, seed, 64 << 10);
            let stats = residency.stats();
            assert_eq!(stats.lent_bytes, pool.lent_bytes() as u64);
            assert!(stats.held_bytes <= stats.lent_bytes + FREE_BYTES as u64);
            handle
        })
        .collect();
    // 40 MiB, by 4 MiB.
    let grown = pool.grown.load(Ordering::SeqCst);
    assert!(
        (10..=14).contains(&grown),
        "{grown} calls for 640 page-outs"
    );
    assert!(pool.lent_bytes() >= 40 * MIB, "{}", pool.lent_bytes());

    take_all(handles, 64 << 10);
    let spare_bytes = held_bytes(&residency);
    assert!(pool.lent_bytes() <= spare_bytes + 8 * MIB);
    assert!(pool.shrunk.load(Ordering::SeqCst) <= 14);
    drop((registry, residency));
    assert_eq!(pool.lent_bytes(), 0);
}

#[test]
fn an_account_that_lends_nothing_leaves_a_pager_that_stores_at_once() {
    let pool = Pool::new(0);
    let (registry, residency) = borrowing(&pool, 64 * MIB);
    let handles: Vec<_> = (0..32).map(|seed| page_out(&registry, seed, MIB)).collect();
    let stats = residency.stats();
    assert_eq!(stats.resident_bytes, 0);
    assert!(stats.account_refusals > 0);
    let said = stats.last_account_refusal.unwrap();
    assert_eq!(said, "0 bytes are lent already");
    handles[3].prefetch();
    take_all(handles, MIB);
}

#[test]
fn an_account_that_refuses_is_a_smaller_budget_and_asked_again_later() {
    let pool = Pool::new(9 * MIB);
    let (registry, residency) = borrowing(&pool, 64 * MIB);
    let mut handles: Vec<_> = (0..48).map(|seed| page_out(&registry, seed, MIB)).collect();
    let stats = residency.stats();
    assert!(stats.held_bytes <= (9 * MIB + FREE_BYTES) as u64);
    assert!(stats.writes >= 32, "{} writes", stats.writes);
    assert!(pool.lent_bytes() > 8 * MIB, "what was left is used");

    pool.limit_bytes.store(usize::MAX, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(20);
    while residency.stats().held_bytes < (24 * MIB) as u64 {
        assert!(Instant::now() < deadline, "it was not asked again");
        let seed = handles.len() as u64;
        handles.push(page_out(&registry, seed, MIB));
    }
    take_all(handles, MIB);
}

#[test]
fn an_account_that_wants_memory_back_gets_it() {
    let pool = Pool::new(usize::MAX);
    let (registry, residency) = borrowing(&pool, 64 * MIB);
    let handles: Vec<_> = (0..40).map(|seed| page_out(&registry, seed, MIB)).collect();
    let before = pool.lent_bytes();
    let gone = residency.reclaim_bytes(24 * MIB).unwrap();
    assert!(gone >= 24 * MIB, "{gone} bytes");
    assert_eq!(pool.lent_bytes(), before - gone);
    // All that can go, and no more than there is.
    residency.reclaim_bytes(usize::MAX).unwrap();
    assert!(pool.lent_bytes() <= MIB, "{}", pool.lent_bytes());
    assert_eq!(residency.stats().resident_bytes, 0);
    take_all(handles, MIB);
}

#[test]
fn memory_that_is_nobodys_is_reclaimed_too() {
    let residency = Residency::builder().budget_bytes(64 * MIB).build();
    let registry = Registry::with_residency(MemoryBackend::new(), &residency);
    let handles: Vec<_> = (0..16).map(|seed| page_out(&registry, seed, MIB)).collect();
    assert!(residency.reclaim_bytes(4 * MIB).unwrap() >= 4 * MIB);
    assert!(residency.stats().resident_bytes <= (12 * MIB) as u64);
    assert_eq!(residency.stats().lent_bytes, 0);
    take_all(handles, MIB);
}

#[test]
fn an_account_that_panics_has_refused() {
    let pool = Pool::new(usize::MAX);
    let (registry, residency) = borrowing(&pool, 64 * MIB);
    let first = page_out(&registry, 0, MIB);
    pool.panics.store(true, Ordering::SeqCst);
    let mut handles = vec![first];
    handles.extend((1..24).map(|seed| page_out(&registry, seed, MIB)));
    take_all(handles, MIB);
    residency.reclaim_bytes(usize::MAX).unwrap();
    let stats = residency.stats();
    assert!(stats.account_panics >= 2, "both ways: {stats:?}");
    assert_eq!(stats.last_account_refusal.unwrap(), "the account panicked");
    assert_eq!(stats.resident_bytes, 0);
}

#[test]
fn without_memory_or_a_medium_a_page_out_is_an_error_and_loses_nothing() {
    let pool = Pool::new(0);
    let residency = Residency::builder()
        .budget_bytes(64 * MIB)
        .account(Arc::clone(&pool))
        .build();
    let backend = FaultyBackend::new(MemoryBackend::new());
    let registry = Registry::with_residency(backend, &residency);
    registry
        .backend()
        .fail_every(Operation::PageOut, 1, Failure::OutOfSpace);
    let mut chunk = [words(1, 1000)];
    let error = registry.pageout(&mut chunk).unwrap_err();
    assert!(error.is_out_of_space(), "{error}");
    assert_eq!(chunk[0], words(1, 1000));
}

#[test]
fn threads_that_come_and_go_never_hold_more_than_is_lent() {
    let pool = Pool::new(24 * MIB);
    let (registry, residency) = borrowing(&pool, 64 * MIB);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (registry, pool, residency, is_over) = (&registry, &pool, &residency, &is_over);
            scope.spawn(move || {
                let mut kept = Vec::new();
                for round in 0..200usize {
                    let bytes = (round * 37 % 29 + 1) * (32 << 10);
                    let seed = thread << 32 | round as u64;
                    kept.push((seed, bytes, page_out(registry, seed, bytes)));
                    if kept.len() > 16 {
                        let (seed, bytes, handle) = kept.swap_remove(round % 16);
                        let mut taken: Vec<u64> = Vec::new();
                        handle.take(&mut taken).unwrap();
                        assert!(taken == words(seed, bytes / 8));
                    }
                    // In this order: what is lent only falls after what is held.
                    if held_bytes(residency) > 24 * MIB + FREE_BYTES {
                        is_over.store(true, Ordering::SeqCst);
                    }
                    assert!(pool.lent_bytes() <= 24 * MIB);
                }
            });
        }
    });
    assert!(!is_over.load(Ordering::SeqCst));
    drop((registry, residency));
    assert_eq!(pool.lent_bytes(), 0);
}
