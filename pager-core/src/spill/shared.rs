//! What a spill's writer and readers share, and how they wait for each other.
//!
//! The lock is held to look and to move a pointer. Bytes are read from what was found,
//! and freed, after it; tasks are woken after it too.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Waker};

use smallvec::SmallVec;

use super::state::{Cursor, Found, Freed, State};
use crate::backend::Backend;
use crate::budget::Engine;
use crate::registry::{PageoutOptions, SegmentDoor};
use crate::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, Ordering, fence, lock, wait};
use crate::{Error, Result};

/// A spill.
pub(super) struct Shared<B: Backend> {
    pub(super) door: SegmentDoor<B>,
    state: Mutex<State<B>>,
    /// Something was published, sealed or ended.
    changed: Condvar,
    /// Readers that wait, or are about to: threads, and tasks that are to be woken.
    /// Sequentially consistent with what is published, by fences: a reader counts itself
    /// and then looks, the writer publishes and then looks.
    waiters: AtomicUsize,
    /// Nobody can read any more. Relaxed: the writer is told a little later.
    abandoned: AtomicBool,
}

/// Who waits for what is not there yet.
pub(super) enum Patience<'a, 'b> {
    /// The thread of the reader.
    Thread,
    /// A task, which is woken.
    Task(&'a mut Context<'b>),
}

impl<B: Backend> Shared<B> {
    pub(super) fn new(options: &PageoutOptions<'_, B>) -> Self {
        Self {
            door: SegmentDoor::new(options),
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            waiters: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
        }
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        self.door.registry().engine()
    }

    /// # Errors
    ///
    /// [`Error::ForeignProcess`] in a forked child, where a thread that is not there may
    /// hold the lock.
    pub(super) fn check_own(&self) -> Result<()> {
        if self.is_own() {
            Ok(())
        } else {
            Err(Error::ForeignProcess)
        }
    }

    fn is_own(&self) -> bool {
        self.door.registry().is_own()
    }

    /// Looks at the state; `otherwise` in a forked child.
    pub(super) fn with_own<T>(&self, otherwise: T, look: impl FnOnce(&mut State<B>) -> T) -> T {
        if self.is_own() {
            look(&mut lock(&self.state))
        } else {
            otherwise
        }
    }

    /// Changes the state, in this process, and tells whoever waits.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State<B>) -> T) -> T {
        let mut state = lock(&self.state);
        let changed = change(&mut state);
        let tasks = self.waiting_tasks(&mut state);
        drop(state);
        self.changed.notify_all();
        tasks.into_iter().for_each(Waker::wake);
        changed
    }

    /// Tells readers that wait that more was published. A fence and a load where there
    /// are none.
    pub(super) fn published(&self) {
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            self.change(|_| ());
        }
    }

    /// The tasks that are to be woken, which wait no longer.
    fn waiting_tasks(&self, state: &mut State<B>) -> SmallVec<[Waker; 2]> {
        let cursors = state.cursors.iter_mut().flatten();
        let tasks: SmallVec<_> = cursors.filter_map(|it| it.waker.take()).collect();
        self.waiters.fetch_sub(tasks.len(), Ordering::Relaxed);
        tasks
    }

    /// Whether nobody reads, or can ever.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// A place for one more reader, at the beginning; where that is, and the number of
    /// the segment.
    pub(super) fn open_cursor(&self) -> (usize, u64) {
        lock(&self.state).open_cursor()
    }

    /// Moves a reader to this segment, or away for good.
    pub(super) fn move_cursor(&self, cursor: usize, number: Option<u64>) {
        let mut state = lock(&self.state);
        let before = std::mem::replace(&mut state.cursors[cursor], number.map(Cursor::at));
        let task = before.and_then(|it| it.waker);
        if task.is_some() {
            self.waiters.fetch_sub(1, Ordering::Relaxed);
        }
        let freed = self.collect(&mut state);
        drop(state);
        drop((freed, task));
    }

    fn collect(&self, state: &mut State<B>) -> Freed<B> {
        if state.is_abandoned() {
            self.abandoned.store(true, Ordering::Relaxed);
        }
        state.collect()
    }

    /// One right less to open readers.
    pub(super) fn forget_spill(&self) {
        if self.is_own() {
            let mut state = lock(&self.state);
            state.spill_count -= 1;
            let freed = self.collect(&mut state);
            drop(state);
            drop(freed);
        }
    }

    /// What reader `cursor` finds in segment `number` from byte `offset` on, waiting for
    /// it. A task finds that there is [nothing yet](Found::NotYet), and is woken.
    ///
    /// # Errors
    ///
    /// [`Error::WriterFailed`].
    pub(super) fn find(
        &self,
        cursor: usize,
        (number, offset): (u64, usize),
        patience: &mut Patience<'_, '_>,
    ) -> Result<Found<B>> {
        let mut state = lock(&self.state);
        match state.find(cursor, number, offset) {
            Ok(Found::NotYet) => {}
            found => return found,
        }
        let Patience::Task(context) = patience else {
            self.waiters.fetch_add(1, Ordering::Relaxed);
            let found = loop {
                fence(Ordering::SeqCst);
                match state.find(cursor, number, offset) {
                    Ok(Found::NotYet) => state = wait(&self.changed, state),
                    found => break found,
                }
            };
            self.waiters.fetch_sub(1, Ordering::Relaxed);
            return found;
        };
        let task = state.cursors[cursor].as_mut().map(|it| &mut it.waker);
        let before = task.and_then(|task| task.replace(context.waker().clone()));
        if before.is_none() {
            self.waiters.fetch_add(1, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        let found = state.find(cursor, number, offset);
        drop(state);
        drop(before);
        found
    }
}

impl<B: Backend> fmt::Debug for Shared<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a spill")
    }
}
