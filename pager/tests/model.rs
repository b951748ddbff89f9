//! Random operations through `Pager`, backend flips among them, against a model
//! that keeps every payload in a `Vec`.

#![cfg(all(unix, feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;

use common::{Scratched, chunked, scratched, words};
use pager::{BackendKind, Error, Handle, Pager, Preset};
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[derive(Debug, Clone)]
enum Operation {
    PageOut {
        seed: u64,
        lens: Vec<usize>,
    },
    PageOutTo {
        kind: BackendKind,
        seed: u64,
        len: usize,
    },
    Flip(BackendKind),
    ReadAt {
        which: Index,
        offset: usize,
        len: usize,
    },
    ReadMany {
        which: Index,
        cuts: Vec<(Index, Index)>,
    },
    Prefetch {
        which: Index,
        offset: usize,
        len: usize,
    },
    Take(Index),
    Drop(Index),
}

/// A handle, and what it must hold.
struct Model {
    handle: Handle,
    words: Vec<u64>,
    kind: BackendKind,
}

fn kinds() -> impl Strategy<Value = BackendKind> {
    select(&BackendKind::ALL[..])
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..2000usize,
        1 => select(&[0, 1, 511, 512, 513, 1024][..]),
        1 => 0..40_000usize,
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => (any::<u32>(), proptest::collection::vec(len(), 0..5))
            .prop_map(|(seed, lens)| Operation::PageOut { seed: seed.into(), lens }),
        2 => (kinds(), any::<u32>(), len())
            .prop_map(|(kind, seed, len)| Operation::PageOutTo { kind, seed: seed.into(), len }),
        2 => kinds().prop_map(Operation::Flip),
        3 => (any::<Index>(), 0..3000usize, 0..3000usize)
            .prop_map(|(which, offset, len)| Operation::ReadAt { which, offset, len }),
        2 => (any::<Index>(), proptest::collection::vec(any::<(Index, Index)>(), 0..10))
            .prop_map(|(which, cuts)| Operation::ReadMany { which, cuts }),
        1 => (any::<Index>(), any::<usize>(), any::<usize>())
            .prop_map(|(which, offset, len)| Operation::Prefetch { which, offset, len }),
        2 => any::<Index>().prop_map(Operation::Take),
        1 => any::<Index>().prop_map(Operation::Drop),
    ]
}

fn apply(pager: &Pager, live: &mut Vec<Model>, operation: Operation) {
    match operation {
        Operation::PageOut { seed, lens } => {
            let words = words(seed, lens.iter().sum());
            let handle = pager.pageout(&mut chunked(&words, &lens)).unwrap();
            let kind = pager.backend();
            live.push(Model {
                handle,
                words,
                kind,
            });
        }
        Operation::PageOutTo { kind, seed, len } => {
            let words = words(seed, len);
            let handle = pager
                .options()
                .backend(kind)
                .pageout(&mut [words.clone()])
                .unwrap();
            live.push(Model {
                handle,
                words,
                kind,
            });
        }
        Operation::Flip(kind) => pager.set_backend(kind).unwrap(),
        _ if live.is_empty() => {}
        Operation::ReadAt { which, offset, len } => read_at(which.get(live), offset, len),
        Operation::ReadMany { which, cuts } => read_many(which.get(live), &cuts),
        Operation::Prefetch { which, offset, len } => {
            pager.prefetch_at(&which.get(live).handle, offset, len);
        }
        Operation::Take(which) => {
            let model = live.swap_remove(which.index(live.len()));
            let mut taken = vec![1, 2, 3];
            pager.take(model.handle, &mut taken).unwrap();
            assert_eq!(taken, model.words);
        }
        Operation::Drop(which) => drop(live.swap_remove(which.index(live.len()))),
    }
}

fn read_at(model: &Model, offset: usize, len: usize) {
    let mut read = vec![9];
    let result = model.handle.read_at(offset, len, &mut read);
    match model.words.get(offset..offset + len) {
        Some(expected) => {
            result.unwrap();
            assert_eq!(read[1..], *expected);
        }
        None => {
            assert!(matches!(result, Err(Error::OutOfBounds { .. })));
            assert_eq!(read, [9]);
        }
    }
}

fn read_many(model: &Model, cuts: &[(Index, Index)]) {
    let ranges: Vec<_> = cuts
        .iter()
        .map(|(a, b)| {
            let (a, b) = (
                a.index(model.words.len() + 1),
                b.index(model.words.len() + 1),
            );
            a.min(b)..a.max(b)
        })
        .collect();
    let expected: Vec<u64> = ranges
        .iter()
        .flat_map(|range| &model.words[range.clone()])
        .copied()
        .collect();
    let mut read = Vec::new();
    model.handle.read_at_many(&ranges, &mut read).unwrap();
    assert_eq!(read, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_pager_behaves_as_a_table_of_vecs(
        preset in select(&Preset::ALL[..]),
        budget_bytes in select(&[0, 20_000, 1 << 20][..]),
        operations in proptest::collection::vec(operation(), 1..60),
    ) {
        let Scratched { pager, root: _root } = scratched(BackendKind::Swap, preset);
        pager.set_budget(budget_bytes).unwrap();
        let mut live = Vec::new();
        for operation in operations {
            apply(&pager, &mut live, operation);
            for model in &live {
                prop_assert_eq!(model.handle.backend(), model.kind);
                prop_assert_eq!(model.handle.len(), model.words.len());
            }
            let total = pager.stats().total;
            prop_assert_eq!(total.live_handles, live.len());
            let bytes: usize = live.iter().map(|model| model.words.len() * 8).sum();
            prop_assert_eq!(total.logical_bytes, bytes as u64);
        }
        let mut read = Vec::new();
        for model in live {
            pager.take(model.handle, &mut read).unwrap();
            prop_assert_eq!(&read, &model.words);
        }
    }
}
