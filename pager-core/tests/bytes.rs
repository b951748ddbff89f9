//! Bytes that are shared, and bytes that do not exist yet: who holds them when, and what
//! a failure leaves.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, which clippy does not see"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use pager_core::{ChunkBuf, Error, Registry, Residency, Shared};
use pager_testkit::{Failure, FaultyBackend, MemoryBackend, Operation};

const LEN: usize = 100_001;

fn under<B: pager_core::Backend>(backend: B, budget_bytes: usize) -> Registry<B> {
    let residency = Residency::builder()
        .budget_bytes(budget_bytes)
        .io_threads(0)
        .build();
    Registry::with_residency(backend, &residency)
}

fn owner() -> Arc<[u8]> {
    (0..LEN).map(|at| at.to_le_bytes()[0]).collect()
}

#[test]
fn a_shared_owner_is_kept_until_it_is_written() {
    let registry = under(MemoryBackend::new(), 1 << 20);
    let owner = owner();
    let handle = registry
        .pageout(&mut [Shared::new(Arc::clone(&owner))])
        .unwrap();
    assert_eq!(Arc::strong_count(&owner), 2, "kept, and not copied");
    assert_eq!(registry.stats().residency.resident_bytes, LEN as u64);
    registry.residency().write_back().unwrap();
    assert_eq!(Arc::strong_count(&owner), 1, "written, and released");
    assert_eq!(registry.stats().residency.resident_bytes, 0);
    let mut found = Vec::new();
    handle.read_at(7, 9, &mut found).unwrap();
    assert_eq!(found, owner[7..16]);
    found.clear();
    handle.take(&mut found).unwrap();
    assert_eq!(found, *owner);
}

#[test]
fn an_owner_whose_payload_is_dropped_is_let_go_unwritten() {
    let registry = under(MemoryBackend::new(), 1 << 20);
    let owner = owner();
    let mut chunks = [Shared::new(Arc::clone(&owner))];
    drop(registry.pageout(&mut chunks).unwrap());
    assert_eq!(Arc::strong_count(&owner), 1);
    assert_eq!(registry.stats().residency.elided_writes, 1);
}

#[test]
fn a_failed_pageout_leaves_the_owner_where_it_was() {
    let registry = Registry::new(FaultyBackend::new(MemoryBackend::new()));
    let owner = owner();
    let mut chunks = [Shared::new(Arc::clone(&owner))];
    registry
        .backend()
        .fail_nth(Operation::PageOut, 1, Failure::OutOfSpace);
    registry.pageout(&mut chunks).unwrap_err();
    let [chunk] = chunks;
    let back = chunk.into_inner().unwrap();
    assert!(Arc::ptr_eq(&back, &owner));
    drop(registry.pageout(&mut [Shared::new(back)]).unwrap());
    assert_eq!(Arc::strong_count(&owner), 1);
}

#[test]
fn a_write_that_fails_in_the_background_keeps_the_owner() {
    let registry = under(FaultyBackend::new(MemoryBackend::new()), 1 << 20);
    let owner = owner();
    let handle = registry
        .pageout(&mut [Shared::new(Arc::clone(&owner))])
        .unwrap();
    registry
        .backend()
        .fail_nth(Operation::PageOut, 1, Failure::OutOfSpace);
    registry.residency().write_back().unwrap_err();
    assert_eq!(Arc::strong_count(&owner), 2);
    let mut found = Vec::new();
    handle.take(&mut found).unwrap();
    assert_eq!(found, *owner);
    assert_eq!(Arc::strong_count(&owner), 1);
}

#[test]
fn what_fails_to_be_filled_is_not_paged_out() {
    for budget_bytes in [0, 1 << 20] {
        let registry = under(MemoryBackend::new(), budget_bytes);
        let half = registry.pageout_with(LEN, |window| {
            window.copy_from(&[1; LEN / 2]);
            Ok(())
        });
        assert!(matches!(half, Err(Error::Io { .. })));
        let refused = registry.pageout_with(LEN, |_| Err(Error::ShutDown));
        assert!(matches!(refused, Err(Error::ShutDown)));
        let error = registry.pageout_with(usize::MAX, |_| panic!("no such room"));
        assert!(matches!(error, Err(Error::OutOfMemory { .. })));
        let stats = registry.stats();
        assert_eq!(stats.failed_pageouts, 3);
        assert_eq!((stats.live_handles, stats.logical_bytes), (0, 0));
        assert_eq!(stats.residency.resident_bytes, 0);
    }
}

#[test]
#[cfg_attr(miri, ignore = "a megabyte is much for an interpreter")]
fn room_comes_before_the_bytes() {
    let registry = under(MemoryBackend::new(), 1 << 20);
    let full: Vec<_> = std::iter::from_fn(|| {
        let filled = registry
            .options()
            .without_waiting()
            .pageout_with(64 << 10, |window| {
                window.copy_from(&[7; 64 << 10]);
                Ok(())
            });
        filled.ok()
    })
    .collect();
    assert!((8..16).contains(&full.len()), "{} fit", full.len());
    let begun = Instant::now();
    let refused = registry
        .options()
        .without_waiting()
        .pageout_with(64 << 10, |_| panic!("there is no room for them"));
    assert!(begun.elapsed() < Duration::from_millis(100), "nobody waits");
    assert!(matches!(
        refused,
        Err(Error::NoRoom {
            needed_bytes: 65_536,
            budget_bytes: 1_048_576
        })
    ));
    let mut chunks = [vec![1u8; 64 << 10]];
    let refused = registry.options().without_waiting().pageout(&mut chunks);
    assert!(matches!(refused, Err(Error::NoRoom { .. })));
    assert_eq!(chunks[0].len(), 64 << 10, "the chunk is as it was");
    registry.residency().write_back().unwrap();
    let again = registry
        .options()
        .without_waiting()
        .pageout_with(64 << 10, |window| {
            window.copy_from(&[8; 64 << 10]);
            Ok(())
        });
    let mut found = ChunkBuf::new();
    again.unwrap().take(&mut found).unwrap();
    assert!(found.iter().all(|byte| *byte == 8));
}

#[cfg(feature = "bytes")]
#[test]
fn bytes_go_out_shared_and_come_back() {
    use bytes::Bytes;

    for budget_bytes in [0, 1 << 20] {
        let registry = under(MemoryBackend::new(), budget_bytes);
        let whole = Bytes::from(owner().to_vec());
        let handle = registry
            .pageout(&mut [whole.slice(..1000), whole.slice(1000..)])
            .unwrap();
        let mut found = Bytes::from_static(b"before");
        handle.read_at(998, 4, &mut found).unwrap();
        assert_eq!(found, [b"before", &whole[998..1002]].concat());
        handle.take(&mut found).unwrap();
        assert_eq!(found, whole);
    }
    let registry = under(MemoryBackend::new(), 1 << 20);
    let whole = Bytes::from(owner().to_vec());
    let handle = registry.pageout(&mut [whole.clone()]).unwrap();
    let mut back = Bytes::new();
    handle.take(&mut back).unwrap();
    assert_eq!(back.as_ptr(), whole.as_ptr(), "no copy either way");
    let mut vec = vec![5u8; LEN];
    vec.reserve_exact(0);
    let place = vec.as_ptr();
    let handle = registry.pageout(&mut [vec]).unwrap();
    handle.take(&mut back).unwrap();
    assert_eq!(back.as_ptr(), place, "a Vec comes back as Bytes in place");
}

#[cfg(feature = "arrow")]
#[test]
fn arrow_buffers_go_out_shared_and_come_back() {
    use arrow_buffer::{Buffer, ScalarBuffer};

    for budget_bytes in [0, 1 << 20] {
        let registry = under(MemoryBackend::new(), budget_bytes);
        let column = Buffer::from_vec((0..10_000i32).collect());
        let handle = registry.pageout(&mut [column.clone()]).unwrap();
        let mut back = Buffer::default();
        handle.read_at(400, 4, &mut back).unwrap();
        assert_eq!(back.as_slice(), 100i32.to_ne_bytes());
        handle.take(&mut back).unwrap();
        assert_eq!(back, column);
        let ints = ScalarBuffer::<i32>::new(back, 0, 10_000);
        assert_eq!(ints[9999], 9999);
    }
}
