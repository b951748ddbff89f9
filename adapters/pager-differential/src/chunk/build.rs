//! [`TrieBuilder`]: a trie that grows at its end, by runs of another trie or by single records.

use std::cmp::Ordering;

use columnar::primitive::offsets::Strides;
use columnar::{BorrowedOf, Columnar, Container, ContainerOf, Index, IndexAs, Len, Push, Ref};
use differential_dataflow::columnar::layout::{ColumnarUpdate, OrdContainer};
use differential_dataflow::columnar::updates::{UpdatesTyped, UpdatesView};
use differential_dataflow::difference::{IsZero, Semigroup};

use super::run::{Place, Run, ends};

/// A sorted, consolidated trie. The last key's values and the last value's times have no bound
/// yet, so that more of either can follow.
pub(super) struct TrieBuilder<U: ColumnarUpdate> {
    trie: UpdatesTyped<U>,
}

impl<U: ColumnarUpdate> Default for TrieBuilder<U> {
    fn default() -> Self {
        Self {
            trie: UpdatesTyped::default(),
        }
    }
}

impl<U: ColumnarUpdate> TrieBuilder<U> {
    /// Continues a trie.
    pub(super) fn new(mut trie: UpdatesTyped<U>) -> Self {
        if trie.len() > 0 {
            trie.vals.bounds.pop();
            trie.times.bounds.pop();
        }
        Self { trie }
    }

    /// Records so far.
    pub(super) fn len(&self) -> usize {
        self.trie.times.values.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the last record has the key and the value of this one.
    pub(super) fn is_at(&self, view: UpdatesView<'_, U>, place: Place) -> bool {
        self.has_key(view.keys.values.get(place.key))
            && self.has_val(view.vals.values.get(place.val))
    }

    /// Appends records `from..to` of another trie, which are after all that are here.
    pub(super) fn append(&mut self, view: UpdatesView<'_, U>, from: Place, to: Place) {
        self.append_at(view, from, to, view.times.values, from.record);
    }

    /// The same, with those of `times` that begin at `first` in place of their own.
    pub(super) fn append_at(
        &mut self,
        view: UpdatesView<'_, U>,
        from: Place,
        to: Place,
        times: BorrowedOf<'_, U::Time>,
        first: usize,
    ) {
        let count = to.record - from.record;
        if count == 0 {
            return;
        }
        let (key_end, val_end) = ends(view, to);
        let has_key = self.has_key(view.keys.values.get(from.key));
        let has_val = has_key && self.has_val(view.vals.values.get(from.val));
        self.close(has_key, has_val);
        let trie = &mut self.trie;

        let keys = from.key + usize::from(has_key)..key_end;
        trie.keys.values.extend_from_self(view.keys.values, keys);

        let vals = from.val + usize::from(has_val)..val_end;
        let (here, there) = (trie.vals.values.len(), vals.start);
        trie.vals.values.extend_from_self(view.vals.values, vals);
        for key in from.key..key_end - 1 {
            let end = view.vals.bounds.index_as(key);
            trie.vals.bounds.push(end + here as u64 - there as u64);
        }

        let (here, there) = (trie.times.values.len(), from.record);
        let range = first..first + count;
        trie.times.values.extend_from_self(times, range);
        for val in from.val..val_end - 1 {
            let end = view.times.bounds.index_as(val);
            trie.times.bounds.push(end + here as u64 - there as u64);
        }

        let diffs = from.record..to.record;
        trie.diffs.values.extend_from_self(view.diffs.values, diffs);
    }

    /// Appends one record.
    pub(super) fn push<T>(
        &mut self,
        key: Ref<'_, U::Key>,
        val: Ref<'_, U::Val>,
        time: T,
        diff: &U::Diff,
    ) where
        ContainerOf<U::Time>: Push<T>,
    {
        let has_key = self.has_key(key);
        let has_val = has_key && self.has_val(val);
        self.close(has_key, has_val);
        let trie = &mut self.trie;
        if !has_key {
            trie.keys.values.push(key);
        }
        if !has_val {
            trie.vals.values.push(val);
        }
        trie.times.values.push(time);
        trie.diffs.values.push(diff);
    }

    /// The trie.
    pub(super) fn finish(self) -> UpdatesTyped<U> {
        let mut trie = self.trie;
        let count = trie.times.values.len() as u64;
        if count > 0 {
            trie.times.bounds.push(count);
            trie.vals.bounds.push(trie.vals.values.len() as u64);
            trie.keys.bounds = Strides::new(trie.keys.values.len() as u64, 1);
        }
        trie.diffs.bounds = Strides::new(1, count);
        trie
    }

    /// What there is so far, as a trie; nothing is left.
    pub(super) fn take(&mut self) -> UpdatesTyped<U> {
        std::mem::take(self).finish()
    }

    /// Ends the last value's times, unless they go on, and the last key's values.
    fn close(&mut self, has_key: bool, has_val: bool) {
        let trie = &mut self.trie;
        if trie.times.values.is_empty() {
            return;
        }
        if !has_val {
            trie.times.bounds.push(trie.times.values.len() as u64);
        }
        if !has_key {
            trie.vals.bounds.push(trie.vals.values.len() as u64);
        }
    }

    fn has_key(&self, key: Ref<'_, U::Key>) -> bool {
        is_last(&self.trie.keys.values, key)
    }

    fn has_val(&self, val: Ref<'_, U::Val>) -> bool {
        is_last(&self.trie.vals.values, val)
    }
}

/// Whether `item` is what the container ends with.
fn is_last<C: OrdContainer>(container: &C, item: C::Ref<'_>) -> bool {
    let held = container.borrow();
    let last = held.len().checked_sub(1);
    last.is_some_and(|last| C::reborrow_ref(held.get(last)) == C::reborrow_ref(item))
}

/// Merges two runs until one of them is at its end, or `built` has `most` records. What is left
/// of either is after all that was merged.
pub(super) fn merge<'a, U: ColumnarUpdate>(
    built: &mut TrieBuilder<U>,
    one: &mut Run<'a, U>,
    other: &mut Run<'a, U>,
    most: usize,
) {
    while !one.is_done() && !other.is_done() && built.len() < most {
        let (key, other_key) = (one.key(), other.key());
        match key.cmp(&other_key) {
            Ordering::Less => advance(built, one, one.seek_key(|key| key < other_key), most),
            Ordering::Greater => advance(built, other, other.seek_key(|it| it < key), most),
            Ordering::Equal => merge_vals(built, one, other, most),
        }
    }
}

/// The same of the values of a key that both have.
fn merge_vals<'a, U: ColumnarUpdate>(
    built: &mut TrieBuilder<U>,
    one: &mut Run<'a, U>,
    other: &mut Run<'a, U>,
    most: usize,
) {
    let keys = (one.at.key, other.at.key);
    while (one.at.key, other.at.key) == keys
        && !one.is_done()
        && !other.is_done()
        && built.len() < most
    {
        let (val, other_val) = (one.val(), other.val());
        match val.cmp(&other_val) {
            Ordering::Less => advance(built, one, one.seek_val(|val| val < other_val), most),
            Ordering::Greater => advance(built, other, other.seek_val(|it| it < val), most),
            Ordering::Equal => merge_times(built, one, other, most),
        }
    }
}

/// The same of the times of a value that both have: equal ones add up.
fn merge_times<'a, U: ColumnarUpdate>(
    built: &mut TrieBuilder<U>,
    one: &mut Run<'a, U>,
    other: &mut Run<'a, U>,
    most: usize,
) {
    let vals = (one.at.val, other.at.val);
    while (one.at.val, other.at.val) == vals
        && !one.is_done()
        && !other.is_done()
        && built.len() < most
    {
        let (time, other_time) = (one.time(), other.time());
        match time.cmp(&other_time) {
            Ordering::Less => advance(built, one, one.seek_time(|time| time < other_time), most),
            Ordering::Greater => advance(built, other, other.seek_time(|it| it < time), most),
            Ordering::Equal => {
                let of = |run: &Run<'a, U>| run.view.diffs.values.get(run.at.record);
                let mut diff = <U::Diff as Columnar>::into_owned(of(one));
                diff.plus_equals(&<U::Diff as Columnar>::into_owned(of(other)));
                if !diff.is_zero() {
                    built.push(one.key(), one.val(), time, &diff);
                }
                one.at = one.next();
                other.at = other.next();
            }
        }
    }
}

/// Appends the records of `run` before `to`, or as many as there is room for.
fn advance<U: ColumnarUpdate>(
    built: &mut TrieBuilder<U>,
    run: &mut Run<'_, U>,
    to: Place,
    most: usize,
) {
    let last = run.at.record + (most - built.len());
    let to = if to.record > last {
        Place::of(run.view, last)
    } else {
        to
    };
    built.append(run.view, run.at, to);
    run.at = to;
}
