//! [`Body`]: a trie in memory or in the pager, and how it is read.
//!
//! What is in the pager is shown where it lies, in the form in which it went out: the columns are
//! not copied to be read. As long as it is shown the budget counts it, and it does not leave.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};

use columnar::{Borrow, ContainerBytes, ContainerOf, Index, Len};
use differential_dataflow::columnar::layout::ColumnarUpdate;
use differential_dataflow::columnar::updates::{Lists, Updates, UpdatesTyped, UpdatesView};
use pager::{ChunkBuf, Handle, Reuse};

use super::bytes::{Bytes, Memory, decode, fetch};
use crate::spill::{Kept, Shared};

/// A trie whose columns are owned, or lie in bytes of pager's.
pub(super) type Trie<U> = Updates<U, Bytes>;

/// A trie, wherever it is.
pub(super) enum Body<U: ColumnarUpdate> {
    /// Its columns owned.
    Typed(UpdatesTyped<U>),
    /// In memory as it was paged out, or as it was to be.
    Here(
        Trie<U>,
        #[allow(dead_code, reason = "counts for as long as it is there")] Option<Kept>,
    ),
    /// In the pager.
    Paged(Paged<U>),
}

/// A trie that the pager has.
pub(super) struct Paged<U: ColumnarUpdate> {
    shared: Rc<Shared>,
    handle: Handle<u8>,
    len: usize,
    /// The first record and the last.
    ends: [Record<U>; 2],
    /// What comes after it.
    next: RefCell<Weak<Body<U>>>,
    /// Whether it has been asked for since it was last read.
    is_asked: Cell<bool>,
    /// What a cursor has come to, shown for as long as this is there.
    shown: OnceCell<Trie<U>>,
}

/// A key, a value and a time.
pub(super) struct Record<U: ColumnarUpdate> {
    key: ContainerOf<U::Key>,
    val: ContainerOf<U::Val>,
    time: ContainerOf<U::Time>,
}

/// What a [`Record`] holds.
pub(super) type RecordRef<'a, U> = (
    columnar::Ref<'a, <U as ColumnarUpdate>::Key>,
    columnar::Ref<'a, <U as ColumnarUpdate>::Val>,
    columnar::Ref<'a, <U as ColumnarUpdate>::Time>,
);

impl<U: ColumnarUpdate> Record<U> {
    /// The one at the front of the columns, or at their end.
    fn of(view: UpdatesView<'_, U>, is_last: bool) -> Self {
        fn one<C: ContainerBytes>(column: C::Borrowed<'_>, is_last: bool) -> C {
            let mut one = C::default();
            let at = if is_last { column.len() - 1 } else { 0 };
            one.push(column.get(at));
            one
        }
        Self {
            key: one(view.keys.values, is_last),
            val: one(view.vals.values, is_last),
            time: one(view.times.values, is_last),
        }
    }

    fn get(&self) -> RecordRef<'_, U> {
        let (key, val, time) = (self.key.borrow(), self.val.borrow(), self.time.borrow());
        (key.get(0), val.get(0), time.get(0))
    }
}

/// The columns of a trie, to be borrowed one by one: where they lie in bytes, that is work.
pub(super) enum Columns<'a, U: ColumnarUpdate> {
    Typed(&'a UpdatesTyped<U>),
    Lying(&'a Trie<U>),
}

impl<U: ColumnarUpdate> Copy for Columns<'_, U> {}

impl<U: ColumnarUpdate> Clone for Columns<'_, U> {
    fn clone(&self) -> Self {
        *self
    }
}

/// A borrowed column, and where its lists end.
pub(super) type ListsOf<'a, C> = <Lists<ContainerOf<C>> as Borrow>::Borrowed<'a>;

macro_rules! columns {
    ($($column:ident: $of:ident),*) => {
        impl<'a, U: ColumnarUpdate> Columns<'a, U> {
            $(pub(super) fn $column(self) -> ListsOf<'a, U::$of> {
                match self {
                    Self::Typed(trie) => trie.$column.borrow(),
                    Self::Lying(trie) => trie.$column.borrow(),
                }
            })*
        }
    };
}

columns!(keys: Key, vals: Val, times: Time, diffs: Diff);

impl<U: ColumnarUpdate> Body<U> {
    /// Records in it.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Typed(trie) => trie.len(),
            Self::Here(trie, _) => trie.len(),
            Self::Paged(paged) => paged.len,
        }
    }

    /// The first record and the last, without a read.
    pub(super) fn ends(&self) -> (RecordRef<'_, U>, RecordRef<'_, U>) {
        match self {
            Self::Paged(paged) => (paged.ends[0].get(), paged.ends[1].get()),
            Self::Typed(_) | Self::Here(..) => {
                let view = self.shown();
                let (keys, vals, times) = (view.keys.values, view.vals.values, view.times.values);
                let last = |column_len: usize| column_len - 1;
                (
                    (keys.get(0), vals.get(0), times.get(0)),
                    (
                        keys.get(last(keys.len())),
                        vals.get(last(vals.len())),
                        times.get(last(times.len())),
                    ),
                )
            }
        }
    }

    /// Whether its columns are owned, and all records have the same key and value.
    pub(super) fn is_one_group(&self) -> bool {
        match self {
            Self::Typed(trie) => trie.keys.values.len() == 1 && trie.vals.values.len() == 1,
            Self::Here(..) | Self::Paged(_) => false,
        }
    }

    pub(super) fn is_paged(&self) -> bool {
        matches!(self, Self::Paged(_))
    }

    /// The trie, its columns owned.
    ///
    /// # Panics
    ///
    /// If it cannot be read, time and again.
    pub(super) fn into_typed(self) -> UpdatesTyped<U> {
        match self {
            Self::Typed(trie) => trie,
            Self::Here(trie, _) => trie.into_typed(),
            Self::Paged(paged) => paged.take().into_typed(),
        }
    }

    /// What a cursor reads, for as long as this is there.
    pub(super) fn columns(&self) -> Columns<'_, U> {
        match self {
            Self::Typed(trie) => Columns::Typed(trie),
            Self::Here(trie, _) => Columns::Lying(trie),
            Self::Paged(paged) => Columns::Lying(paged.shown.get_or_init(|| paged.show())),
        }
    }

    /// The same, all columns at once.
    pub(super) fn shown(&self) -> UpdatesView<'_, U> {
        match self.columns() {
            Columns::Typed(trie) => trie.view(),
            Columns::Lying(trie) => trie.view(),
        }
    }

    /// Says what comes after it.
    pub(super) fn set_next(&self, next: &Rc<Self>) {
        if let Self::Paged(paged) = self {
            *paged.next.borrow_mut() = Rc::downgrade(next);
        }
    }

    /// Pages it out, unless it is paged out or has less than `least_bytes`. What cannot be
    /// stored stays in memory, which is told.
    pub(super) fn page_out(self, shared: &Rc<Shared>, reuse: Reuse, least_bytes: usize) -> Self {
        let trie = match self {
            Self::Typed(trie) => Trie::<U>::from(trie),
            Self::Here(trie, _) => trie,
            paged @ Self::Paged(_) => return paged,
        };
        let (len, len_bytes) = (trie.len(), trie.length_in_bytes());
        if len_bytes < least_bytes {
            return Self::Here(trie, None);
        }
        let options = shared.pager.options().reuse(reuse);
        let paged_out = options.pageout_with(len_bytes, |window| {
            trie.write_to(window);
            Ok(())
        });
        match paged_out {
            Ok(handle) => {
                shared.stored(len, len_bytes);
                let ends = [false, true].map(|is_last| Record::of(trie.view(), is_last));
                Self::Paged(Paged {
                    shared: Rc::clone(shared),
                    handle,
                    len,
                    ends,
                    next: RefCell::default(),
                    is_asked: Cell::new(false),
                    shown: OnceCell::new(),
                })
            }
            Err(error) => {
                shared.tell(&shared.store_failures, &error);
                Self::Here(trie, Some(Kept::new(shared, len_bytes)))
            }
        }
    }
}

impl<U: ColumnarUpdate> Paged<U> {
    /// Asks for what comes after it, up to so many bytes, each once for each time that it is
    /// read.
    fn read_ahead(&self) {
        self.is_asked.set(false);
        let most = self.shared.settings.ahead_bytes;
        let (mut bytes, mut next) = (0, self.next.borrow().upgrade());
        while let Some(body) = next {
            let Body::Paged(paged) = &*body else { break };
            bytes += paged.handle.len_bytes();
            if bytes > most {
                break;
            }
            if !paged.is_asked.replace(true) {
                paged.handle.prefetch();
            }
            let after = paged.next.borrow().upgrade();
            next = after;
        }
    }

    /// The trie where it lies in pager's memory; a copy of it where there is no room for that.
    ///
    /// # Panics
    ///
    /// If it cannot be read, time and again.
    fn show(&self) -> Trie<U> {
        // Before the read, which may wait: they come meanwhile.
        self.read_ahead();
        let all = 0..self.handle.len();
        let bytes = self.shared.persist(|| {
            fetch(&self.handle);
            // Only what is in memory is sure of its room: a view that has to find some may wait
            // for what the worker itself holds.
            if self.handle.is_resident(all.clone())
                && let Ok(view) = self.handle.view(all.clone())
            {
                return Ok(Bytes::new(Memory::View(view)));
            }
            let mut copy = ChunkBuf::new();
            self.handle.read_at(0, self.handle.len(), &mut copy)?;
            Ok(Bytes::new(Memory::Own(copy)))
        });
        self.shared.loaded();
        decode(bytes)
    }

    /// The trie, out of the pager.
    ///
    /// # Panics
    ///
    /// As for [`show`](Self::show).
    fn take(self) -> Trie<U> {
        if let Some(trie) = self.shown.into_inner() {
            return trie;
        }
        let (mut handle, mut bytes) = (Some(self.handle), ChunkBuf::new());
        self.shared.persist(|| match handle.take() {
            Some(held) => held.take(&mut bytes).map_err(|error| {
                let (error, held) = error.into_parts();
                handle = Some(held);
                error
            }),
            None => Ok(()),
        });
        self.shared.taken();
        decode(Bytes::new(Memory::Own(bytes)))
    }
}

/// A trie that is read, for as long as this is there.
pub(super) struct Reading<U: ColumnarUpdate> {
    body: Rc<Body<U>>,
    shown: Option<Trie<U>>,
}

impl<U: ColumnarUpdate> Reading<U> {
    /// Shows what others may hold too.
    pub(super) fn shared(body: Rc<Body<U>>) -> Self {
        let shown = match &*body {
            Body::Paged(paged) if paged.shown.get().is_none() => Some(paged.show()),
            _ => None,
        };
        Self { body, shown }
    }

    /// Takes what nobody else holds, whose storage is free then, and shows what others hold.
    pub(super) fn taking(body: Rc<Body<U>>) -> Self {
        match Rc::try_unwrap(body) {
            Ok(Body::Paged(paged)) => {
                paged.read_ahead();
                let trie = paged.take();
                Self {
                    body: Rc::new(Body::Here(trie, None)),
                    shown: None,
                }
            }
            Ok(here) => Self {
                body: Rc::new(here),
                shown: None,
            },
            Err(shared) => Self::shared(shared),
        }
    }

    pub(super) fn view(&self) -> UpdatesView<'_, U> {
        match &self.shown {
            Some(trie) => trie.view(),
            None => self.body.shown(),
        }
    }

    /// What was read.
    pub(super) fn into_body(self) -> Rc<Body<U>> {
        self.body
    }
}
