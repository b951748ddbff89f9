//! The engine's own operators, which read through cursors, over chunks that are paged out.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::columnar::collection::Builder as Updates;
use differential_dataflow::columnar::updates::UpdatesTyped;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::join::join_traces;
use differential_dataflow::trace::TraceReader;
use pager::{BackendKind, Pager};
use pager_differential::{Batcher, Builder, Spine, scan};
use timely::container::PushInto;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::probe::{Handle, Probe};

const BYTES: usize = 8 << 10;
const KEYS: u64 = 600;
const EPOCHS: u64 = 4;

type Trace = Spine<u64, u64, u64, i64, BYTES>;

/// Value `value` of `key` comes in one epoch, and goes in a later one now and then.
fn updates(epoch: u64) -> impl Iterator<Item = (u64, u64, u64, i64)> {
    (0..KEYS).flat_map(move |key| {
        let value = (key * 7 + epoch * 13) % 11;
        let comes = (key, value + 100 * epoch, epoch, 1);
        let last = epoch.checked_sub(1).filter(|_| key % 3 == 0);
        let goes = last.map(|last| (key, (key * 7 + last * 13) % 11 + 100 * last, epoch, -1));
        [comes].into_iter().chain(goes)
    })
}

/// For each key, each of its values joined with the largest.
fn wanted() -> BTreeMap<(u64, u64), i64> {
    let mut values: BTreeMap<u64, BTreeMap<u64, i64>> = BTreeMap::new();
    for (key, value, _, diff) in (0..EPOCHS).flat_map(updates) {
        let of_key = values.entry(key).or_default();
        *of_key.entry(value).or_default() += diff;
        of_key.retain(|_, count| *count != 0);
    }
    let mut wanted = BTreeMap::new();
    for (key, values) in values {
        let largest = values.last_key_value().map_or(0, |(value, _)| *value);
        for (value, count) in values {
            *wanted.entry((key, value * 1000 + largest)).or_default() += count;
        }
    }
    wanted
}

fn joined() -> BTreeMap<(u64, u64), i64> {
    timely::execute_directly(|worker| {
        let mut input = InputHandle::<u64, Updates<(u64, u64, u64, i64)>>::new_with_builder();
        let probe = Handle::new();
        let trace = worker.dataflow::<u64, _, _>(|scope| {
            let stream = scope.input_from(&mut input);
            let values = arrange_core::<_, _, _, Trace>(stream, Pipeline, "values", Batcher::new);
            let largest = values
                .clone()
                .reduce_abelian::<_, Builder<u64, u64, u64, i64, BYTES>, Trace, _, _>(
                    "largest",
                    |_key, values, output| {
                        let largest = values.iter().map(|(value, _)| **value).max();
                        output.extend(largest.map(|largest| (largest, 1)));
                    },
                    |chunk, key, updates| {
                        let mut trie = UpdatesTyped::default();
                        for (value, time, diff) in updates.drain(..) {
                            columnar::Push::push(&mut trie, (key, &value, &time, &diff));
                        }
                        *chunk.updates_mut() = trie.consolidate();
                    },
                );
            let pairs = join_traces::<_, _, _, _, Updates<(u64, u64, u64, i64)>>(
                values,
                largest,
                "pairs",
                |key, value, largest, time, one, other, session| {
                    session.push_into((
                        *key,
                        *value * 1000 + *largest,
                        time.to_owned(),
                        one * other,
                    ));
                },
            );
            let pairs = arrange_core::<_, _, _, Trace>(pairs, Pipeline, "pairs", Batcher::new);
            pairs.stream.probe_with(&probe);
            pairs.trace.clone()
        });
        for epoch in 0..EPOCHS {
            updates(epoch).for_each(|update| input.send(update));
            input.advance_to(epoch + 1);
            input.flush();
            while probe.less_than(&(epoch + 1)) {
                worker.step();
            }
        }
        let mut found = BTreeMap::<_, i64>::new();
        trace.map_spans(|span| {
            let chunks = span.inner.iter().flat_map(|batch| &batch.chunks);
            scan(chunks, |updates| {
                for (key, pair, _, diff) in updates.iter() {
                    *found.entry((*key, *pair)).or_default() += *diff;
                }
            });
        });
        found.retain(|_, count| *count != 0);
        found
    })
}

#[test]
fn reduce_and_join_find_in_paged_chunks_what_is_there() {
    let wanted = wanted();
    assert_eq!(joined(), wanted);
    for budget_bytes in [0, 128 << 10] {
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        let pager = Pager::builder()
            .backend(BackendKind::File)
            .scratch_dir(scratch.path())
            .budget_bytes(budget_bytes)
            .build()
            .unwrap();
        let pager = Arc::new(pager);
        let spill = pager_differential::install(Arc::clone(&pager));
        assert_eq!(joined(), wanted, "{budget_bytes}");
        assert!(spill.stats().loaded_chunks > 0, "{spill:?}");
        assert_eq!(pager.stats().total.live_handles, 0, "{budget_bytes}");
    }
}
