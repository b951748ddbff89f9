//! What the engine does with chunks: it merges them, divides them by a frontier, advances their
//! times to one, and settles them.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::thread;

use columnar::{Columnar, Index};
use differential_dataflow::columnar::layout::ColumnarUpdate;
use differential_dataflow::trace::chunk::{self, Chunk};
use pager::Reuse;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::advance::Advancing;
use super::body::Reading;
use super::build::{TrieBuilder, merge};
use super::run::Run;
use super::{Records, TrieChunk, append};
use crate::spill::Shared;

/// Whether the worker fails: the engine merges traces even while it drops them. Nothing is read
/// then, for a second failure would end the process, and chunks are passed on as they are;
/// whoever comes to one of them afterwards fails again.
fn is_unwinding() -> bool {
    thread::panicking()
}

/// One of the two inputs of a merge: the chunk that is being read.
struct Front<U: ColumnarUpdate> {
    reading: Reading<U>,
    records: Range<usize>,
}

impl<U: ColumnarUpdate> Front<U> {
    fn next<const BYTES: usize>(input: &mut VecDeque<TrieChunk<U, BYTES>>) -> Option<Self> {
        let chunk = input.pop_front()?;
        Some(Self {
            records: chunk.records(),
            reading: Reading::taking(chunk.body),
        })
    }

    fn run(&self) -> Run<'_, U> {
        Run::new(self.reading.view(), self.records.clone())
    }

    /// Gives back what is left.
    fn put_back<const BYTES: usize>(self, input: &mut VecDeque<TrieChunk<U, BYTES>>) {
        if let Some(rest) = TrieChunk::part(self.reading.into_body(), self.records) {
            input.push_front(rest);
        }
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> Chunk for TrieChunk<U, BYTES> {
    type Time = U::Time;

    const TARGET: usize = Self::UPDATES;

    fn len(&self) -> usize {
        self.records().len()
    }

    /// Merges until there is a whole chunk, or one of the inputs is at its end. What is left of
    /// a chunk is the same chunk from another record on, and is not copied.
    fn merge(in1: &mut VecDeque<Self>, in2: &mut VecDeque<Self>, out: &mut VecDeque<Self>) {
        if is_unwinding() {
            return out.append(in1);
        }
        let mut built = TrieBuilder::default();
        let (mut one, mut other) = (Front::next(in1), Front::next(in2));
        while let (Some(first), Some(second)) = (&mut one, &mut other) {
            let (mut run1, mut run2) = (first.run(), second.run());
            merge(&mut built, &mut run1, &mut run2, Self::TARGET);
            let (left1, left2) = (run1.at.record, run2.at.record);
            first.records.start = left1;
            second.records.start = left2;
            if built.len() >= Self::TARGET {
                break;
            }
            // At least one of them is at its end, and is dropped before the next is read.
            if first.records.is_empty() {
                drop(one.take());
                one = Front::next(in1);
            }
            if second.records.is_empty() {
                drop(other.take());
                other = Front::next(in2);
            }
        }
        if let Some(one) = one {
            one.put_back(in1);
        }
        if let Some(other) = other {
            other.put_back(in2);
        }
        if !built.is_empty() {
            out.push_back(Self::from_trie(built.finish()));
        }
    }

    /// Divides one chunk. One that is wholly on either side goes there as it is.
    fn extract(
        input: &mut VecDeque<Self>,
        frontier: AntichainRef<'_, U::Time>,
        residual: &mut Antichain<U::Time>,
        keep: &mut VecDeque<Self>,
        ship: &mut VecDeque<Self>,
    ) {
        if is_unwinding() {
            return keep.append(input);
        }
        let Some(chunk) = input.pop_front() else {
            return;
        };
        let records = chunk.records();
        let reading = Reading::shared(Rc::clone(&chunk.body));
        let view = reading.view();
        let mut time = U::Time::default();
        let mut is_kept = |record: usize| {
            time.copy_from(view.times.values.get(record));
            let is_kept = frontier.less_equal(&time);
            if is_kept {
                residual.insert_ref(&time);
            }
            is_kept
        };
        let mut built = [TrieBuilder::default(), TrieBuilder::default()];
        let (mut start, mut side) = (records.start, is_kept(records.start));
        for record in records.start + 1..records.end {
            let next_side = is_kept(record);
            if next_side != side {
                append(&mut built[usize::from(side)], view, start..record);
                (start, side) = (record, next_side);
            }
        }
        let mut sides = [ship, keep];
        if start == records.start {
            drop(reading);
            sides[usize::from(side)].push_back(chunk);
            return;
        }
        append(&mut built[usize::from(side)], view, start..records.end);
        for (side, built) in sides.iter_mut().zip(built) {
            side.push_back(Self::from_trie(built.finish()));
        }
    }

    /// Advances all but the last key and value, which is put back unless it was the last.
    fn advance(
        input: &mut VecDeque<Self>,
        frontier: AntichainRef<'_, U::Time>,
        done: bool,
        out: &mut VecDeque<Self>,
    ) {
        if is_unwinding() {
            return out.append(input);
        }
        let mut advancing = Advancing::new(frontier, Self::TARGET);
        // The last key and value so far, as they were.
        let mut group = TrieBuilder::default();
        while let Some(chunk) = input.pop_front() {
            let records = chunk.records();
            if records.is_empty() {
                continue;
            }
            if group.is_empty() && chunk.is_one_group() {
                group = TrieBuilder::new(chunk.into_typed());
                continue;
            }
            let reading = Reading::taking(chunk.body);
            let view = reading.view();
            let run = Run::new(view, records.clone());
            let mut from = run.at;
            if group.is_at(view, from) {
                let to = run.next_val();
                group.append(view, from, to);
                from = to;
            }
            let last = run.last_val();
            if from.record < records.end && !group.is_empty() {
                let ended = group.take();
                advancing.add(ended.view(), 0..ended.len());
            }
            if from.record < records.end {
                advancing.add(view, from.record..last.record);
                append(&mut group, view, last.record..records.end);
            }
        }
        if !group.is_empty() {
            let group = group.finish();
            if done {
                advancing.add(group.view(), 0..group.len());
            } else {
                input.push_front(Self::from_trie(group));
            }
        }
        out.extend(advancing.finish().into_iter().map(Self::from_trie));
    }

    /// Packs chunks and pages them out. What lies a budget or more behind the beginning of its
    /// sequence is said to be wanted later than all else: of all batches, one that does not fit
    /// is merged last.
    fn settle(input: &mut VecDeque<Self>, done: bool, out: &mut VecDeque<Self>) {
        if is_unwinding() {
            return out.append(input);
        }
        let shared = Shared::installed();
        let shared = shared.as_ref();
        let settled = out.len();
        let shallow = shared.map_or(usize::MAX, |shared| shared.pager.budget_bytes());
        let mut depth = settled * BYTES;
        chunk::pack(
            input,
            done,
            out,
            |run| {
                let mut run = run.into_iter();
                let first = run.next().map(Self::into_typed).unwrap_or_default();
                let mut built = TrieBuilder::new(first);
                for chunk in run {
                    let records = chunk.records();
                    let reading = Reading::taking(chunk.body);
                    append(&mut built, reading.view(), records);
                }
                Self::from_trie(built.finish())
            },
            |chunk, count| {
                let records = chunk.records();
                let middle = records.start + count;
                let part = |records| Self {
                    body: Rc::clone(&chunk.body),
                    records: Records::Some(records),
                };
                (part(records.start..middle), part(middle..records.end))
            },
            |chunk| {
                let reuse = if depth < shallow {
                    Reuse::Unknown
                } else {
                    Reuse::Late
                };
                depth += BYTES;
                chunk.seal(shared, reuse)
            },
        );
        // What was settled before has its neighbours, but for the last.
        let chunks = out.range(settled.saturating_sub(1)..);
        for (chunk, next) in chunks.clone().zip(chunks.skip(1)) {
            chunk.body.set_next(&next.body);
        }
    }
}
