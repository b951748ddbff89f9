//! With real swap: what is paged out leaves memory, comes back equal, and gives
//! its swap space back. Skipped where there is none.
//!
//! One test, because it looks at the memory of the whole process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::fs;

use pager_core::diagnose::Severity;
use pager_core::{ChunkBuf, Handle, Registry, Residency};
use pager_swap::{SeedAdvice, SwapBackend, SwapMode};
use pager_testkit::content::{assert_words, words};

const CHUNK_WORDS: usize = 1 << 18;
const CHUNK_COUNT: usize = 64;
const TOTAL_KIB: u64 = CHUNK_COUNT as u64 * 2048;

/// A field of `/proc/self/status`, in KiB.
fn status_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let value = line.unwrap().trim_start_matches(':').trim();
    value.trim_end_matches(" kB").parse().unwrap()
}

fn pageout_all(registry: &Registry<SwapBackend>) -> Vec<Handle<SwapBackend>> {
    let mut chunk = Vec::new();
    (0..CHUNK_COUNT as u64)
        .map(|seed| {
            chunk.extend(words(seed, CHUNK_WORDS));
            registry.pageout(std::slice::from_mut(&mut chunk)).unwrap()
        })
        .collect()
}

#[test]
fn paged_out_bytes_leave_memory_come_back_equal_and_free_their_swap() {
    if cfg!(miri) {
        println!("skipped: Miri has no swap");
        return;
    }
    let findings = SwapBackend::diagnose();
    if let Some(finding) = findings
        .iter()
        .find(|finding| finding.severity == Severity::Blocked)
    {
        println!("skipped: {finding}");
        return;
    }
    arena_mode_moves_everything();
    reads_bring_back_no_more_than_the_limit();
    seed_mode_moves_almost_everything();
}

fn arena_mode_moves_everything() {
    let registry = Registry::new(SwapBackend::new());
    let rss_before = status_kib("RssAnon");
    let swap_before = status_kib("VmSwap");
    let mut handles = pageout_all(&registry);
    let stats = registry.backend().stats();
    println!("arena mode: {stats}, {} retries", stats.retry_count);
    let grown = status_kib("RssAnon").saturating_sub(rss_before);
    assert!(grown < TOTAL_KIB / 4, "{grown} KiB stayed in memory");
    assert!(status_kib("VmSwap") > swap_before + TOTAL_KIB / 2);
    if stats.observed {
        assert!(stats.swapped_bytes > stats.logical_bytes / 2);
        assert!(stats.unreclaimable_bytes < stats.logical_bytes / 4);
    }
    // Half as vectors, a quarter as the slots themselves, the rest dropped.
    let mut back = Vec::new();
    for (seed, handle) in handles.drain(..CHUNK_COUNT / 2).enumerate() {
        handle.prefetch();
        handle.take(&mut back).unwrap();
        assert_words(&back, &words(seed as u64, CHUNK_WORDS), "taken");
    }
    for (at, handle) in handles.drain(..CHUNK_COUNT / 4).enumerate() {
        let seed = (CHUNK_COUNT / 2 + at) as u64;
        let mut buf = ChunkBuf::new();
        handle.take(&mut buf).unwrap();
        assert_words(&buf, &words(seed, CHUNK_WORDS), "detached");
    }
    drop(handles);
    let left = status_kib("VmSwap").saturating_sub(swap_before);
    assert!(left < 4096, "{left} KiB of swap are still held");
}

fn reads_bring_back_no_more_than_the_limit() {
    let limit_bytes = 8 << 20;
    let residency = Residency::builder().budget_bytes(limit_bytes).build();
    let registry = Registry::with_residency(SwapBackend::new(), &residency);
    let handles = pageout_all(&registry);
    let rss_before = status_kib("RssAnon");
    let mut part = Vec::new();
    for (seed, handle) in handles.iter().enumerate() {
        part.clear();
        handle.read_at(1000, CHUNK_WORDS / 2, &mut part).unwrap();
        let expected = &words(seed as u64, CHUNK_WORDS)[1000..1000 + CHUNK_WORDS / 2];
        assert_words(&part, expected, "part");
    }
    let stats = registry.backend().stats();
    println!("after reads: {stats}, {} again", stats.repeated_count);
    assert!(stats.repeated_count > 0);
    let grown = status_kib("RssAnon").saturating_sub(rss_before);
    // Each read is of half a huge page, and may have mapped the other half.
    assert!(
        grown <= 2 * limit_bytes as u64 / 1024 + 4096,
        "{grown} KiB came back"
    );
}

fn seed_mode_moves_almost_everything() {
    let mode = SwapMode::Seed(SeedAdvice::PageOut);
    let registry = Registry::new(SwapBackend::builder().mode(mode).build());
    let rss_before = status_kib("RssAnon");
    let handles = pageout_all(&registry);
    println!("seed mode: {}", registry.backend().stats());
    let grown = status_kib("RssAnon").saturating_sub(rss_before);
    assert!(grown < TOTAL_KIB / 4, "{grown} KiB stayed in memory");
    let mut back = Vec::new();
    for (seed, handle) in handles.into_iter().enumerate() {
        handle.take(&mut back).unwrap();
        assert_words(&back, &words(seed as u64, CHUNK_WORDS), "taken");
    }
}
