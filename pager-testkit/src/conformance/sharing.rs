//! Threads: readers of one handle, owners of many, and handles that travel.

use std::sync::mpsc;
use std::thread;

use super::{pageout, pageout_words, read, taken};
use crate::content::{assert_words, word, words};
use crate::settled_stats;
use pager_core::{Backend, Handle, Registry};

const ROUNDS: usize = if cfg!(miri) { 3 } else { 40 };
const READERS: usize = 4;
const WRITERS: usize = if cfg!(miri) { 3 } else { 8 };

/// Words of a payload of several pages.
const LEN: usize = if cfg!(miri) { 600 } else { 9000 };

pub(super) fn threads_read_one_handle_at_once<B: Backend>(registry: Registry<B>) {
    let content = words(1, LEN);
    let mut chunks = [content[..300].to_vec(), content[300..].to_vec()];
    let handle = pageout(&registry, &mut chunks);
    thread::scope(|scope| {
        for reader in 0..READERS {
            let (handle, content) = (&handle, &content);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let start = (reader * 131 + round * 257) % LEN;
                    let end = LEN.min(start + 700);
                    if round % 5 == reader {
                        handle.prefetch_at(start, end - start);
                    }
                    let found = read(handle, start, end - start);
                    assert_words(&found, &content[start..end], "a shared read");
                    let mut found = Vec::new();
                    handle
                        .read_at_many(&[start..end, 0..50, 290..310], &mut found)
                        .expect("a read must succeed");
                    let expected = [&content[start..end], &content[..50], &content[290..310]];
                    assert_words(&found, &expected.concat(), "a shared read of ranges");
                }
            });
        }
    });
    assert_words(&taken(handle), &content, "a take after shared reads");
}

pub(super) fn threads_never_see_each_others_words<B: Backend>(registry: Registry<B>) {
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let registry = &registry;
            scope.spawn(move || {
                let mut held: Vec<(u64, usize, Handle<B>)> = Vec::new();
                for round in 0..ROUNDS {
                    let seed = (writer * 1000 + round) as u64;
                    let len = [1, 513, LEN, 700][(writer + round) % 4];
                    held.push((seed, len, pageout_words(registry, seed, len)));
                    let (seed, len, handle) = &held[(round * 7) % held.len()];
                    let found = read(handle, len / 2, len - len / 2);
                    assert_words(&found, &words(*seed, *len)[len / 2..], "a read");
                    if held.len() > 5 {
                        let (seed, len, handle) = held.swap_remove(round % 5);
                        if round % 3 > 0 {
                            assert_words(&taken(handle), &words(seed, len), "a take");
                        }
                    }
                }
            });
        }
        // Somebody looks while all of this goes on.
        for _ in 0..ROUNDS {
            let stats = registry.stats();
            assert!(stats.live_handles <= WRITERS * 7, "more than are held");
            assert!(registry.handles().len() <= WRITERS * 7);
        }
    });
    assert_eq!(registry.live_handles(), 0);
    assert_eq!(settled_stats(&registry).backend.logical_bytes, 0);
}

pub(super) fn handles_travel_between_threads<B: Backend>(registry: Registry<B>) {
    let (sender, receiver) = mpsc::channel::<(u64, Handle<B>)>();
    thread::scope(|scope| {
        for writer in 0..2 {
            let (sender, registry) = (sender.clone(), registry.clone());
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let seed = (writer * 1000 + round) as u64;
                    let handle = pageout_words(&registry, seed, 700);
                    sender.send((seed, handle)).expect("somebody receives");
                }
            });
        }
        drop(sender);
        for (index, (seed, handle)) in receiver.iter().enumerate() {
            assert_eq!(read(&handle, 699, 1), [word(seed, 699)]);
            if index % 3 > 0 {
                assert_words(&taken(handle), &words(seed, 700), "a take elsewhere");
            }
        }
    });
    assert_eq!(registry.live_handles(), 0);
    assert_eq!(settled_stats(&registry).backend.logical_bytes, 0);
}
