//! [`TrieCursor`]: what the engine's own operators read chunks through.
//!
//! The engine's keys, values and times borrow from the chunk, so what a cursor has come to must
//! stay where it is for as long as the chunk lives: it is shown, and the budget counts it.

use std::fmt;
use std::marker::PhantomData;

use columnar::{Index, Len};
use differential_dataflow::columnar::layout::{Coltainer, ColumnarLayout, ColumnarUpdate};
use differential_dataflow::columnar::updates::child_range;
use differential_dataflow::trace::Navigable;
use differential_dataflow::trace::chunk::NavigableChunk;
use differential_dataflow::trace::cursor::Cursor;
use differential_dataflow::trace::implementations::{BatchContainer, Layout};

use super::body::Columns;
use super::run::{end_of, gallop_from, start_of};
use super::{CHUNK_BYTES, TrieChunk};

/// A cursor over one chunk.
pub struct TrieCursor<U: ColumnarUpdate, const BYTES: usize = CHUNK_BYTES> {
    key: usize,
    val: usize,
    _updates: PhantomData<U>,
}

impl<U: ColumnarUpdate, const BYTES: usize> fmt::Debug for TrieCursor<U, BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cursor at key {}, value {}", self.key, self.val)
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> TrieCursor<U, BYTES> {
    /// The values of the present key, which there must be.
    fn vals_end(&self, columns: Columns<'_, U>) -> usize {
        end_of(columns.vals().bounds, self.key)
    }

    fn first_val(&mut self, columns: Columns<'_, U>) {
        let bounds = columns.vals().bounds;
        if self.key < bounds.len() {
            self.val = start_of(bounds, self.key);
        }
    }
}

type KeyContainer<U> = <ColumnarLayout<U> as Layout>::KeyContainer;
type ValContainer<U> = <ColumnarLayout<U> as Layout>::ValContainer;
type TimeContainer<U> = <ColumnarLayout<U> as Layout>::TimeContainer;
type DiffContainer<U> = <ColumnarLayout<U> as Layout>::DiffContainer;

impl<U: ColumnarUpdate, const BYTES: usize> Cursor for TrieCursor<U, BYTES> {
    type Storage = TrieChunk<U, BYTES>;

    type KeyContainer = KeyContainer<U>;
    type Key<'a> = <KeyContainer<U> as BatchContainer>::ReadItem<'a>;
    type ValContainer = ValContainer<U>;
    type Val<'a> = <ValContainer<U> as BatchContainer>::ReadItem<'a>;
    type ValOwn = <ValContainer<U> as BatchContainer>::Owned;
    type TimeContainer = TimeContainer<U>;
    type TimeGat<'a> = <TimeContainer<U> as BatchContainer>::ReadItem<'a>;
    type Time = <TimeContainer<U> as BatchContainer>::Owned;
    type DiffContainer = DiffContainer<U>;
    type DiffGat<'a> = <DiffContainer<U> as BatchContainer>::ReadItem<'a>;
    type Diff = <DiffContainer<U> as BatchContainer>::Owned;

    fn key_valid(&self, storage: &Self::Storage) -> bool {
        // Each key has a list of values.
        self.key < storage.columns().vals().len()
    }

    fn val_valid(&self, storage: &Self::Storage) -> bool {
        let vals = storage.columns().vals();
        self.key < vals.len() && self.val < end_of(vals.bounds, self.key)
    }

    fn key<'a>(&self, storage: &'a Self::Storage) -> Self::Key<'a> {
        storage.columns().keys().values.get(self.key)
    }

    fn val<'a>(&self, storage: &'a Self::Storage) -> Self::Val<'a> {
        storage.columns().vals().values.get(self.val)
    }

    fn get_key<'a>(&self, storage: &'a Self::Storage) -> Option<Self::Key<'a>> {
        self.key_valid(storage).then(|| self.key(storage))
    }

    fn get_val<'a>(&self, storage: &'a Self::Storage) -> Option<Self::Val<'a>> {
        self.val_valid(storage).then(|| self.val(storage))
    }

    fn map_times<L: FnMut(Self::TimeGat<'_>, Self::DiffGat<'_>)>(
        &mut self,
        storage: &Self::Storage,
        mut logic: L,
    ) {
        if !self.val_valid(storage) {
            return;
        }
        let (times, diffs) = (storage.columns().times(), storage.columns().diffs());
        for record in child_range(times.bounds, self.val) {
            logic(times.values.get(record), diffs.values.get(record));
        }
    }

    fn step_key(&mut self, storage: &Self::Storage) {
        let columns = storage.columns();
        self.key = (self.key + 1).min(columns.vals().len());
        self.first_val(columns);
    }

    fn seek_key(&mut self, storage: &Self::Storage, key: Self::Key<'_>) {
        let columns = storage.columns();
        let keys = columns.keys().values;
        self.key = gallop_from(self.key, keys.len(), |at| {
            let found = Coltainer::<U::Key>::reborrow(keys.get(at));
            found < Coltainer::<U::Key>::reborrow(key)
        });
        self.first_val(columns);
    }

    fn step_val(&mut self, storage: &Self::Storage) {
        if self.key_valid(storage) {
            self.val = (self.val + 1).min(self.vals_end(storage.columns()));
        }
    }

    fn seek_val(&mut self, storage: &Self::Storage, val: Self::Val<'_>) {
        if !self.key_valid(storage) {
            return;
        }
        let columns = storage.columns();
        let vals = columns.vals().values;
        self.val = gallop_from(self.val, self.vals_end(columns), |at| {
            let found = Coltainer::<U::Val>::reborrow(vals.get(at));
            found < Coltainer::<U::Val>::reborrow(val)
        });
    }

    fn rewind_keys(&mut self, storage: &Self::Storage) {
        self.key = 0;
        self.first_val(storage.columns());
    }

    fn rewind_vals(&mut self, storage: &Self::Storage) {
        self.first_val(storage.columns());
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> TrieChunk<U, BYTES> {
    /// All of the trie, for as long as the chunk lives.
    fn columns(&self) -> Columns<'_, U> {
        debug_assert_eq!(
            self.records,
            super::Records::All,
            "cursors read what is settled"
        );
        self.body.columns()
    }
}

impl<U: ColumnarUpdate, const BYTES: usize> Navigable for TrieChunk<U, BYTES> {
    type Cursor = TrieCursor<U, BYTES>;

    fn cursor(&self) -> Self::Cursor {
        TrieCursor {
            key: 0,
            val: 0,
            _updates: PhantomData,
        }
    }
}

/// A key, a value and a time, as cursors show them.
type Bound<'a, C> = (
    <C as Cursor>::Key<'a>,
    <C as Cursor>::Val<'a>,
    <C as Cursor>::TimeGat<'a>,
);

impl<U: ColumnarUpdate, const BYTES: usize> NavigableChunk for TrieChunk<U, BYTES> {
    fn bounds(&self) -> (Bound<'_, Self::Cursor>, Bound<'_, Self::Cursor>) {
        self.body.ends()
    }
}
