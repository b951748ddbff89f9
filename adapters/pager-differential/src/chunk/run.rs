//! [`Run`]: records of a trie in order, and where in it they are.
//!
//! A consolidated trie has one difference for each time, so a record has the number of its time.
//! Runs may begin and end in the middle of a key or a value.

use std::ops::Range;

use columnar::{Index, IndexAs, Len, Ref};
use differential_dataflow::columnar::layout::ColumnarUpdate;
use differential_dataflow::columnar::updates::UpdatesView;

/// A record: its key, its value and itself, each by its number in the trie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) key: usize,
    pub(super) val: usize,
    pub(super) record: usize,
}

impl Place {
    /// Where `record` is, by two binary searches.
    pub(super) fn of<U: ColumnarUpdate>(view: UpdatesView<'_, U>, record: usize) -> Self {
        let val = list_of(view.times.bounds, record);
        Self {
            key: list_of(view.vals.bounds, val),
            val,
            record,
        }
    }
}

/// The list that holds `item`, of those that end at `bounds`; how many lists there are if none
/// does.
fn list_of<B: Len + Index<Ref = u64> + Copy>(bounds: B, item: usize) -> usize {
    let (mut low, mut high) = (0, bounds.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if position(bounds.get(middle)) <= item {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn position(bound: u64) -> usize {
    usize::try_from(bound).expect("what is in memory has a usize")
}

/// Where list `number` begins.
pub(super) fn start_of<B: IndexAs<u64>>(bounds: B, number: usize) -> usize {
    match number.checked_sub(1) {
        Some(before) => position(bounds.index_as(before)),
        None => 0,
    }
}

/// Where list `number` ends.
pub(super) fn end_of<B: IndexAs<u64>>(bounds: B, number: usize) -> usize {
    position(bounds.index_as(number))
}

/// Records from `at` on, before `end`.
pub(super) struct Run<'a, U: ColumnarUpdate> {
    pub(super) view: UpdatesView<'a, U>,
    pub(super) at: Place,
    pub(super) end: usize,
    /// Of the last record.
    last: Place,
}

impl<'a, U: ColumnarUpdate> Run<'a, U> {
    /// These records, of which there is at least one.
    pub(super) fn new(view: UpdatesView<'a, U>, records: Range<usize>) -> Self {
        Self {
            view,
            at: Place::of(view, records.start),
            end: records.end,
            last: Place::of(view, records.end - 1),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at.record >= self.end
    }

    pub(super) fn key(&self) -> Ref<'a, U::Key> {
        self.view.keys.values.get(self.at.key)
    }

    pub(super) fn val(&self) -> Ref<'a, U::Val> {
        self.view.vals.values.get(self.at.val)
    }

    pub(super) fn time(&self) -> Ref<'a, U::Time> {
        self.view.times.values.get(self.at.record)
    }

    /// The first record with a key for which `is_before` does not hold, which holds for
    /// those of the present key.
    pub(super) fn seek_key(&self, is_before: impl Fn(Ref<'a, U::Key>) -> bool) -> Place {
        let keys = self.view.keys.values;
        let found = gallop_from(self.at.key + 1, self.last.key + 1, |at| {
            is_before(keys.get(at))
        });
        self.at_key(found)
    }

    /// The same of the values of the present key; after them, the next key.
    pub(super) fn seek_val(&self, is_before: impl Fn(Ref<'a, U::Val>) -> bool) -> Place {
        let vals = self.view.vals.values;
        let found = gallop_from(self.at.val + 1, self.vals_end(), |at| {
            is_before(vals.get(at))
        });
        self.at_val(found)
    }

    /// The same of the times of the present value; after them, the next value.
    pub(super) fn seek_time(&self, is_before: impl Fn(Ref<'a, U::Time>) -> bool) -> Place {
        let times = self.view.times.values;
        let found = gallop_from(self.at.record + 1, self.times_end(), |at| {
            is_before(times.get(at))
        });
        self.at_record(found)
    }

    /// The record after the present one.
    pub(super) fn next(&self) -> Place {
        self.at_record(self.at.record + 1)
    }

    /// Where the present value's records end.
    pub(super) fn times_end(&self) -> usize {
        end_of(self.view.times.bounds, self.at.val).min(self.end)
    }

    /// The first record of the next value, or key.
    pub(super) fn next_val(&self) -> Place {
        self.at_val(self.at.val + 1)
    }

    /// The first record of the last value.
    pub(super) fn last_val(&self) -> Place {
        let record = start_of(self.view.times.bounds, self.last.val);
        if record <= self.at.record {
            return self.at;
        }
        Place {
            record,
            ..self.last
        }
    }

    fn vals_end(&self) -> usize {
        end_of(self.view.vals.bounds, self.at.key).min(self.last.val + 1)
    }

    fn at_record(&self, record: usize) -> Place {
        if record == self.times_end() {
            return self.at_val(self.at.val + 1);
        }
        Place { record, ..self.at }
    }

    fn at_val(&self, val: usize) -> Place {
        if val == self.vals_end() {
            return self.at_key(self.at.key + 1);
        }
        Place {
            val,
            record: start_of(self.view.times.bounds, val),
            ..self.at
        }
    }

    fn at_key(&self, key: usize) -> Place {
        if key > self.last.key {
            return Place {
                key,
                val: self.last.val + 1,
                record: self.end,
            };
        }
        let val = start_of(self.view.vals.bounds, key);
        let record = start_of(self.view.times.bounds, val);
        Place { key, val, record }
    }
}

/// The keys and the values that records `from..to` are of, by where they end.
pub(super) fn ends<U: ColumnarUpdate>(view: UpdatesView<'_, U>, to: Place) -> (usize, usize) {
    let is_in_val = start_of(view.times.bounds, to.val) < to.record;
    let val_end = to.val + usize::from(is_in_val);
    let is_in_key = start_of(view.vals.bounds, to.key) < val_end;
    (to.key + usize::from(is_in_key), val_end)
}

/// The first of `from..end` for which `is_before` does not hold, which holds for those before it
/// and for none after; in logarithmic time of how far it is.
pub(super) fn gallop_from(from: usize, end: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut step) = (from, 1);
    while low + step <= end && is_before(low + step - 1) {
        low += step;
        step *= 2;
    }
    let mut high = end.min(low + step - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::gallop_from;

    #[test]
    fn galloping_finds_what_a_scan_finds() {
        for end in 0..20 {
            for from in 0..=end {
                for first in 0..=end + 1 {
                    let found = gallop_from(from, end, |at| at < first);
                    assert_eq!(found, first.clamp(from, end), "{from}..{end}, {first}");
                }
            }
        }
    }
}
