//! [`Advancing`]: records whose times are advanced, in tries of a given size.
//!
//! Most values have one time, or times that stay apart: such records are appended as runs, with
//! nothing but their times replaced. Where times meet, their differences add up.

use std::collections::VecDeque;
use std::ops::Range;

use columnar::{Borrow, Clear, Columnar, ContainerOf, Index, Len, Push};
use differential_dataflow::columnar::layout::ColumnarUpdate;
use differential_dataflow::columnar::updates::{UpdatesTyped, UpdatesView};
use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::lattice::Lattice;
use timely::progress::frontier::AntichainRef;

use super::build::TrieBuilder;
use super::run::{Place, Run};

/// Takes whole groups of records of one key and value, in order.
pub(super) struct Advancing<'f, U: ColumnarUpdate> {
    frontier: AntichainRef<'f, U::Time>,
    most: usize,
    built: TrieBuilder<U>,
    full: VecDeque<UpdatesTyped<U>>,
    /// Of the records that are about to be appended.
    times: ContainerOf<U::Time>,
    /// Of a group.
    group: Vec<(U::Time, usize)>,
}

impl<'f, U: ColumnarUpdate> Advancing<'f, U> {
    /// Tries of `most` records, but for the last.
    pub(super) fn new(frontier: AntichainRef<'f, U::Time>, most: usize) -> Self {
        Self {
            frontier,
            most,
            built: TrieBuilder::default(),
            full: VecDeque::new(),
            times: ContainerOf::<U::Time>::default(),
            group: Vec::new(),
        }
    }

    /// The tries.
    pub(super) fn finish(mut self) -> VecDeque<UpdatesTyped<U>> {
        if !self.built.is_empty() {
            self.full.push_back(self.built.finish());
        }
        self.full
    }

    /// Adds records that have all of their groups.
    pub(super) fn add(&mut self, view: UpdatesView<'_, U>, records: Range<usize>) {
        if records.is_empty() {
            return;
        }
        let mut run = Run::new(view, records);
        // Those from here on are in `times`.
        let mut from = run.at;
        while !run.is_done() {
            let end = run.times_end();
            let is_apart = self.gather(view, run.at.record..end);
            if !is_apart {
                self.append(view, from, run.at);
                self.sum(view, run.at);
            }
            run.at = run.next_val();
            if !is_apart {
                from = run.at;
            }
            if run.at.record - from.record >= self.most {
                self.append(view, from, run.at);
                from = run.at;
            }
        }
        self.append(view, from, run.at);
    }

    /// Advances the times of a group. Adds them to `times` if they are still in order and
    /// apart; if not, to `group`.
    fn gather(&mut self, view: UpdatesView<'_, U>, records: Range<usize>) -> bool {
        let mut time = U::Time::default();
        if records.len() == 1 {
            time.copy_from(view.times.values.get(records.start));
            time.advance_by(self.frontier);
            self.times.push(&time);
            return true;
        }
        self.group.clear();
        for record in records {
            time.copy_from(view.times.values.get(record));
            time.advance_by(self.frontier);
            self.group.push((time.clone(), record));
        }
        let is_apart = self.group.windows(2).all(|two| two[0].0 < two[1].0);
        if is_apart {
            self.group
                .iter()
                .for_each(|(time, _)| self.times.push(time));
        }
        is_apart
    }

    /// Appends records with their new times, and fills tries.
    fn append(&mut self, view: UpdatesView<'_, U>, mut from: Place, to: Place) {
        let mut first = 0;
        while from.record < to.record {
            let room = self.most - self.built.len();
            let part = if to.record - from.record > room {
                Place::of(view, from.record + room)
            } else {
                to
            };
            let times = self.times.borrow();
            self.built.append_at(view, from, part, times, first);
            first += part.record - from.record;
            from = part;
            self.emit_full();
        }
        debug_assert_eq!(first, self.times.len(), "every time has a record");
        self.times.clear();
    }

    /// Adds up what is in `group`, which has this key and value.
    fn sum(&mut self, view: UpdatesView<'_, U>, place: Place) {
        let mut group = std::mem::take(&mut self.group);
        group.sort_by(|one, other| one.0.cmp(&other.0));
        for equal in group.chunk_by(|one, other| one.0 == other.0) {
            let mut diff = U::Diff::default();
            for (at, (_, record)) in equal.iter().enumerate() {
                let more = <U::Diff as Columnar>::into_owned(view.diffs.values.get(*record));
                if at == 0 {
                    diff = more;
                } else {
                    diff.plus_equals(&more);
                }
            }
            if !diff.is_zero() {
                let key = view.keys.values.get(place.key);
                let val = view.vals.values.get(place.val);
                self.built.push(key, val, &equal[0].0, &diff);
                self.emit_full();
            }
        }
        self.group = group;
    }

    fn emit_full(&mut self) {
        if self.built.len() >= self.most {
            self.full.push_back(self.built.take());
        }
    }
}
