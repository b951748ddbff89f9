//! Chunks do what a sorted list of updates does, whatever their size is and wherever they are.

use std::collections::VecDeque;
use std::sync::Arc;

use columnar::Columnar;
use differential_dataflow::columnar::updates::UpdatesTyped;
use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::lattice::Lattice;
use differential_dataflow::trace::Navigable;
use differential_dataflow::trace::chunk::{
    Chunk, ChunkBatch, ChunkBatchMerger, is_graded, merge_chains, settle_all,
};
use differential_dataflow::trace::cursor::Cursor;
use differential_dataflow::trace::implementations::spine_fueled::Merger;
use pager::{BackendKind, Pager};
use timely::order::Product;
use timely::progress::Antichain;

use super::TrieChunk;
use crate::{Scan, Settings, Spill};

type Time = Product<u64, u64>;
type Update = (String, u8, Time, i64);
type Row = ((String, u8), Time, i64);

/// Eight updates or so, so that groups lie across chunks.
type Tiny = TrieChunk<Update, 512>;

/// Numbers without an order, always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }

    /// Consolidated rows that collide with others.
    fn rows(&mut self, most: u64) -> Vec<Row> {
        let keys = 1 + self.below(20);
        let mut rows: Vec<Row> = (0..=self.below(most))
            .map(|_| {
                let key = "k".repeat(usize::try_from(self.below(keys)).unwrap());
                let time = Product::new(self.below(5), self.below(5));
                let val = u8::try_from(self.below(3)).unwrap();
                (
                    (key, val),
                    time,
                    [1, 1, -1][usize::try_from(self.below(3)).unwrap()],
                )
            })
            .collect();
        consolidate_updates(&mut rows);
        rows
    }

    /// The rows as a chain of chunks of any size.
    fn chain(&mut self, rows: &[Row]) -> Vec<Tiny> {
        let mut chain = Vec::new();
        let mut rest = rows;
        while !rest.is_empty() {
            let count = 1 + self.below(rest.len() as u64);
            let (chunk, more) = rest.split_at(usize::try_from(count).unwrap());
            let mut trie = UpdatesTyped::<Update>::default();
            for ((key, val), time, diff) in chunk {
                columnar::Push::push(&mut trie, (key, val, time, diff));
            }
            chain.push(Tiny::from_trie(trie.consolidate()));
            rest = more;
        }
        // As they come from a batch, as often as not.
        if self.below(2) == 0 {
            settle_all(chain)
        } else {
            chain
        }
    }
}

fn rows_of<'a>(chunks: impl IntoIterator<Item = &'a Tiny>) -> Vec<Row> {
    let mut rows = Vec::new();
    for chunk in chunks {
        let before = rows.len();
        // Unsettled ones are parts of others.
        let records = chunk.records();
        chunk.clone().into_whole().with_updates(|updates| {
            rows.extend(updates.iter().map(|(key, val, time, diff)| {
                let key = String::from_utf8_lossy(key).into_owned();
                ((key, *val), Time::into_owned(time), *diff)
            }));
        });
        assert_eq!(rows.len() - before, records.len());
    }
    rows
}

fn merged(one: &[Row], other: &[Row]) -> Vec<Row> {
    let mut rows = [one, other].concat();
    consolidate_updates(&mut rows);
    rows
}

fn advanced(mut rows: Vec<Row>, frontier: &Antichain<Time>) -> Vec<Row> {
    for row in &mut rows {
        row.1.advance_by(frontier.borrow());
    }
    consolidate_updates(&mut rows);
    rows
}

/// Runs `test` with chunks in memory, and paged out within several budgets.
fn everywhere(test: fn(&mut Numbers)) {
    test(&mut Numbers(1));
    for (budget_bytes, runs) in [(0, 1), (64 << 10, 2), (16 << 20, 1)] {
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        let pager = Pager::builder()
            .backend(BackendKind::File)
            .scratch_dir(scratch.path())
            .budget_bytes(budget_bytes)
            .build()
            .unwrap();
        let pager = Arc::new(pager);
        let spill = Spill::install(Arc::clone(&pager), Settings::default());
        (0..runs).for_each(|run| test(&mut Numbers(2 + run)));
        let stats = spill.stats();
        assert!(stats.stored_chunks > 0, "{stats:?}");
        assert!(stats.loaded_chunks + stats.taken_chunks > 0, "{stats:?}");
        assert_eq!(pager.stats().total.live_handles, 0);
    }
}

#[test]
fn merged_chains_hold_the_sum_of_both() {
    everywhere(|numbers| {
        for _ in 0..60 {
            let (one, other) = (numbers.rows(80), numbers.rows(80));
            let mut out = VecDeque::new();
            merge_chains(numbers.chain(&one), numbers.chain(&other), &mut out);
            assert_eq!(rows_of(&out), merged(&one, &other));
            let settled = settle_all(out);
            assert!(is_graded(&settled), "{settled:?}");
            assert_eq!(rows_of(&settled), merged(&one, &other));
        }
    });
}

#[test]
fn batches_that_merge_in_steps_are_advanced_and_graded() {
    everywhere(|numbers| {
        for _ in 0..60 {
            let (one, other) = (numbers.rows(80), numbers.rows(80));
            if one.is_empty() || other.is_empty() {
                continue;
            }
            let (a, b) = (numbers.below(5), numbers.below(5));
            let frontier = Antichain::from(vec![Product::new(a, 4), Product::new(4, b)]);
            let of = |chain| ChunkBatch::new(settle_all::<Tiny>(chain));
            let sources = (of(numbers.chain(&one)), of(numbers.chain(&other)));
            let mut merger = ChunkBatchMerger::new(&sources.0, &sources.1, frontier.borrow());
            loop {
                let mut fuel = 1;
                merger.work(&sources.0, &sources.1, &mut fuel);
                if fuel > 0 {
                    break;
                }
            }
            let done = merger.done();
            let chunks = done.as_ref().map_or(&[][..], |batch| &batch.chunks);
            assert!(is_graded(chunks), "{chunks:?}");
            let wanted = advanced(merged(&one, &other), &frontier);
            assert_eq!(rows_of(chunks), wanted);
            if let Some(batch) = done {
                assert_eq!(navigated(&batch), wanted);
            }
        }
    });
}

/// What a cursor comes to.
fn navigated(batch: &ChunkBatch<Tiny>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut cursor = batch.cursor();
    while let Some(key) = cursor.get_key(batch) {
        let key = String::from_utf8_lossy(key).into_owned();
        while let Some(val) = cursor.get_val(batch) {
            let val = *val;
            cursor.map_times(batch, |time, diff| {
                rows.push(((key.clone(), val), Time::into_owned(time), *diff));
            });
            cursor.step_val(batch);
        }
        cursor.step_key(batch);
    }
    rows
}

#[test]
fn cursors_find_the_first_key_that_is_not_before() {
    everywhere(|numbers| {
        for _ in 0..30 {
            let rows = numbers.rows(200);
            if rows.is_empty() {
                continue;
            }
            let batch = ChunkBatch::new(settle_all(numbers.chain(&rows)));
            for from in 0..22 {
                for to in 0..22 {
                    let wanted = rows.iter().map(|row| row.0.0.len()).find(|len| *len >= to);
                    let mut cursor = batch.cursor();
                    cursor.seek_key(&batch, "k".repeat(from).as_bytes());
                    cursor.seek_key(&batch, "k".repeat(to).as_bytes());
                    assert_eq!(
                        cursor.get_key(&batch).map(<[u8]>::len),
                        wanted,
                        "{from} {to}"
                    );
                }
            }
        }
    });
}

#[test]
fn what_is_extracted_is_on_one_side_of_the_frontier() {
    everywhere(|numbers| {
        for _ in 0..60 {
            let rows = numbers.rows(80);
            let frontier = Antichain::from_elem(Product::new(numbers.below(6), numbers.below(6)));
            let mut input = VecDeque::from(numbers.chain(&rows));
            let (mut keep, mut ship) = (VecDeque::new(), VecDeque::new());
            let mut residual = Antichain::new();
            while !input.is_empty() {
                let frontier = frontier.borrow();
                Tiny::extract(&mut input, frontier, &mut residual, &mut keep, &mut ship);
            }
            let (kept, shipped): (Vec<Row>, Vec<Row>) = rows
                .into_iter()
                .partition(|row| frontier.less_equal(&row.1));
            let lower: Antichain<Time> = kept.iter().map(|row| row.1).collect();
            assert_eq!(residual, lower);
            assert_eq!((rows_of(&keep), rows_of(&ship)), (kept, shipped));
        }
    });
}

#[test]
fn one_key_and_value_in_all_chunks_is_advanced_at_the_end() {
    everywhere(|numbers| {
        let rows: Vec<Row> = (0..500)
            .map(|number| ((String::new(), 0), Product::new(number, 0), 1))
            .collect();
        let frontier = Antichain::from_elem(Product::new(1000, 0));
        let (mut input, mut out) = (VecDeque::new(), VecDeque::new());
        for chunk in numbers.chain(&rows) {
            input.push_back(chunk);
            Tiny::advance(&mut input, frontier.borrow(), false, &mut out);
            assert!(input.len() == 1 && out.is_empty(), "nothing is complete");
        }
        Tiny::advance(&mut input, frontier.borrow(), true, &mut out);
        let wanted = ((String::new(), 0), Product::new(1000, 0), 500);
        assert_eq!(rows_of(&out), [wanted]);
        // So that something has been stored.
        drop(settle_all(numbers.chain(&rows)));
    });
}
