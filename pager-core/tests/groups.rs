//! Groups: what is counted for a label, and a quota that nobody passes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};

use pager_core::{Error, Group, Registry, Residency};
use pager_testkit::content::words;
use pager_testkit::{Failure, FaultyBackend, MemoryBackend, Operation, eventually};

const MIB: usize = 1 << 20;

fn under(bytes: usize) -> Registry<MemoryBackend> {
    let residency = Residency::builder().budget_bytes(bytes).build();
    Registry::with_residency(MemoryBackend::new(), &residency)
}

#[test]
fn a_group_has_its_own_payloads_and_no_others() {
    let registry = under(64 * MIB);
    let (left, right) = (Group::new("left"), Group::new("right").quota_bytes(1 << 30));
    let nobodys = registry.pageout(&mut [words(0, 1000)]).unwrap();
    let mut mine = vec![
        registry
            .options()
            .group(&left)
            .pageout(&mut [words(1, 2000)])
            .unwrap(),
    ];
    let theirs =
        registry
            .options()
            .group(&right)
            .pageout_each(&mut [words(2, 10), vec![], words(3, 30)]);
    let mut theirs = theirs.unwrap();

    let stats = registry.stats().residency;
    let figures: Vec<_> = stats
        .groups
        .iter()
        .map(|group| {
            (
                &*group.label,
                group.live_handles,
                group.logical_bytes,
                group.resident_bytes,
            )
        })
        .collect();
    assert_eq!(
        figures,
        [("left", 1, 16_000, 16_000), ("right", 3, 320, 320)]
    );
    assert_eq!(stats.groups[1].quota_bytes, Some(1 << 30));

    // Out of memory and back, by every way.
    registry.residency().flush().unwrap();
    assert_eq!(left.stats().resident_bytes, 0);
    mine[0].prefetch();
    eventually("the fetch", || left.stats().resident_bytes == 16_000);
    let mut taken: Vec<u64> = Vec::new();
    mine.remove(0).take(&mut taken).unwrap();
    assert_eq!(left.stats().live_handles + left.stats().logical_bytes, 0);
    // A thread in the background may hold a payload a moment longer than its handle.
    eventually("the end of it", || left.stats().resident_bytes == 0);
    drop(theirs.remove(0));
    assert_eq!(right.stats().logical_bytes, 240);
    drop((nobodys, theirs, left));
    eventually("the end of one", || {
        registry.stats().residency.groups.len() == 1
    });
}

#[test]
fn a_group_is_listed_once_and_as_long_as_anything_of_it_lives() {
    let registry = under(MIB);
    let group = Group::new("q");
    let labels = || {
        let groups = registry.stats().residency.groups.into_iter();
        groups.map(|group| group.label).collect::<Vec<_>>()
    };
    let handle = registry
        .options()
        .group(&group)
        .pageout(&mut [words(1, 10)])
        .unwrap();
    assert!(
        registry
            .options()
            .group(&group)
            .pageout(&mut [words(1, 10)])
            .is_ok()
    );
    assert_eq!(labels(), ["q"]);
    drop(group);
    assert_eq!(labels(), ["q"], "its payload lives");
    drop(handle);
    assert_eq!(labels(), [""; 0]);
}

#[test]
fn a_quota_is_exact_whoever_comes_at_once() {
    const QUOTA: u64 = 100 * 800;
    let registry = under(32 << 10);
    let group = Group::new("tenant").quota_bytes(QUOTA);
    let tenant = registry.options().group(&group);
    let paged_out = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (tenant, group, paged_out) = (&tenant, &group, &paged_out);
            scope.spawn(move || {
                let mut kept = Vec::new();
                for round in 0..400 {
                    match tenant.pageout(&mut [words(thread, 100)]) {
                        Ok(handle) => {
                            kept.push(handle);
                            paged_out.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(Error::GroupQuotaExceeded {
                            group,
                            needed_bytes,
                            used_bytes,
                            quota_bytes,
                        }) => {
                            assert_eq!(
                                (&*group, needed_bytes, quota_bytes),
                                ("tenant", 800, QUOTA)
                            );
                            assert!(used_bytes > QUOTA - 800);
                            kept.drain(..kept.len() / 2);
                        }
                        Err(error) => panic!("{error}"),
                    }
                    assert!(group.stats().logical_bytes <= QUOTA);
                    if round == 399 {
                        // The last ones fill it.
                        while let Ok(handle) = tenant.pageout(&mut [words(thread, 100)]) {
                            kept.push(handle);
                        }
                        assert!(group.stats().logical_bytes <= QUOTA);
                    }
                }
            });
        }
    });
    let stats = group.stats();
    assert_eq!((stats.live_handles, stats.logical_bytes), (0, 0));
    assert!(stats.refused_pageouts > 0 && paged_out.into_inner() > 100);
}

#[test]
fn a_page_out_that_is_refused_or_fails_counts_nothing() {
    let registry = Registry::new(FaultyBackend::new(MemoryBackend::new()));
    let group = Group::new("q").quota_bytes(1000);
    let query = registry.options().group(&group);
    let mut chunks = [words(1, 100), words(2, 26)];
    let error = query.pageout(&mut chunks).unwrap_err();
    assert!(error.is_out_of_space() && error.is_permanent(), "{error}");
    assert_eq!(
        error.to_string(),
        "group \"q\": 1008 bytes more would exceed the quota: 0 of 1000 bytes are in use"
    );
    assert!(query.pageout_each(&mut chunks).is_err());
    assert_eq!(chunks, [words(1, 100), words(2, 26)]);
    assert_eq!(group.stats().logical_bytes, 0);

    group.set_quota_bytes(None);
    registry
        .backend()
        .fail_every(Operation::PageOut, 1, Failure::OutOfSpace);
    assert!(query.pageout(&mut chunks).is_err());
    assert!(query.pageout_each(&mut chunks).is_err());
    let stats = group.stats();
    assert_eq!((stats.live_handles, stats.logical_bytes), (0, 0));
    assert_eq!(stats.refused_pageouts, 2);
    assert_eq!(registry.stats().failed_pageouts, 4);
    let kind = std::io::Error::from(error).kind();
    assert_eq!(kind, std::io::ErrorKind::QuotaExceeded);
}
