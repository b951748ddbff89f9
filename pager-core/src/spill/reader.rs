//! [`SpillReader`]: a cursor on a spill, and what it sees there.
//!
//! What lies in memory as it was written is read from there. A stored segment that others
//! may read as well is read into a buffer of the reader's; one that nobody else will read
//! is taken, without a copy where it never left memory. The segments after it are fetched
//! meanwhile.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::buffer::{Tail, Window};
use super::shared::{Patience, Shared};
use super::state::{Form, Found};
use crate::backend::Backend;
use crate::payload::Shown;
use crate::registry::Handle;
use crate::{Error, Result};

/// Reads a spill from its beginning, also while it is written.
///
/// Bytes come out by [`io::Read`] and [`io::BufRead`], which wait for the writer and end
/// with it, or by [`poll_bytes`](Self::poll_bytes), which wakes a task; frames by
/// [`next_frame`](Self::next_frame), [`next_frame_view`](Self::next_frame_view) and
/// [`poll_frame`](Self::poll_frame).
///
/// Each reader has its own cursor. A reader holds at most one segment in memory, within the
/// budget. What an error keeps it from reading it finds again at the next call.
pub struct SpillReader<B: Backend> {
    shared: Arc<Shared<B>>,
    cursor: usize,
    /// The segment that it is at, and the next byte in it.
    number: u64,
    pub(super) offset: usize,
    source: Source<B>,
    /// What was written, once it is known.
    form: Option<Form>,
}

/// Where the bytes of the present segment come from.
enum Source<B: Backend> {
    /// Not known yet.
    Unknown,
    /// Memory that is shared with the writer or other readers.
    Memory(Arc<Tail>),
    /// A payload, and what is read of it.
    Stored(Arc<Handle<B, u8>>, Option<Arc<Window>>),
    /// The same where it was taken: all of it.
    Taken(Arc<Window>),
}

impl<B: Backend> SpillReader<B> {
    pub(super) fn open(shared: &Arc<Shared<B>>) -> Result<Self> {
        shared.check_own()?;
        let (cursor, number) = shared.open_cursor();
        Ok(Self {
            cursor,
            shared: Arc::clone(shared),
            number,
            offset: 0,
            source: Source::Unknown,
            form: None,
        })
    }

    /// Some of the bytes at the cursor, at least one: those that lie in memory together;
    /// none at the end. [`consume`](io::BufRead::consume) moves past them. Where there are
    /// none yet, the task is woken when there may be: see
    /// [`poll_frame`](Self::poll_frame).
    ///
    /// # Errors
    ///
    /// Those of a read, [`Error::WriterFailed`], [`Error::Contradiction`] for a spill of
    /// frames, and [`Error::ForeignProcess`] in a forked child. The cursor stays.
    pub fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<&[u8]>> {
        match self.look_at_bytes(&mut Patience::Task(context)) {
            Ok(true) => Poll::Ready(Ok(self.here())),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Whether there are bytes at the cursor, or none any more.
    fn look_at_bytes(&mut self, patience: &mut Patience<'_, '_>) -> Result<bool> {
        self.check_form(Form::Bytes)?;
        let is_here = self.look(1, patience)?;
        self.check_form(Form::Bytes)?;
        Ok(is_here || self.has_ended())
    }

    /// That there is nothing: not yet, or not any more.
    pub(super) fn nothing<T>(&self) -> Poll<Option<T>> {
        if self.has_ended() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    /// Checks that frames are read as such, and bytes as such; anything goes as long as
    /// nothing was written.
    pub(super) fn check_form(&mut self, form: Form) -> Result<()> {
        if self.form.is_none() {
            self.form = self.shared.with_own(None, |state| state.form);
        }
        if self.form.is_some_and(|written| written != form) {
            return Err(Error::Contradiction {
                what: "frames, and bytes without any, in one spill",
            });
        }
        Ok(())
    }

    /// A frame that says that it has `len` bytes, which are not there.
    pub(super) fn corrupt(&self, len: usize) -> Error {
        let (id, backend) = match &self.source {
            Source::Stored(handle, ..) => (Some(handle.id()), handle.backend()),
            _ => (None, self.shared.door.registry().backend().name()),
        };
        Error::Corrupt {
            backend,
            handle: id,
            offset_bytes: self.offset as u64,
            expected: 0,
            found: len as u64,
            path: None,
        }
    }

    /// Bytes at the cursor that lie in memory.
    pub(super) fn here(&self) -> &[u8] {
        self.bytes_from(self.offset)
    }

    /// Bytes from `offset` of the present segment on that lie in memory.
    pub(super) fn bytes_from(&self, offset: usize) -> &[u8] {
        match &self.source {
            Source::Memory(tail) => tail.published_from(offset),
            Source::Stored(_, Some(window)) | Source::Taken(window) => window.bytes_from(offset),
            Source::Stored(_, None) | Source::Unknown => &[],
        }
    }

    /// What the bytes at the cursor lie in, and the first byte of the segment in it.
    pub(super) fn shown(&self) -> Option<(Arc<dyn Shown>, usize)> {
        match &self.source {
            Source::Memory(tail) => Some((Arc::<Tail>::clone(tail), 0)),
            Source::Stored(_, Some(window)) | Source::Taken(window) => {
                Some((Arc::<Window>::clone(window), window.start()))
            }
            Source::Stored(_, None) | Source::Unknown => None,
        }
    }

    /// Whether there is nothing at the cursor, and never will be.
    pub(super) fn has_ended(&self) -> bool {
        self.number == u64::MAX
    }

    /// Gets at least `needed_bytes` of the present segment into memory, or all it has from
    /// the cursor on; of the next one, if this has no more. `false` if there are none yet,
    /// or none any more.
    pub(super) fn look(
        &mut self,
        needed_bytes: usize,
        patience: &mut Patience<'_, '_>,
    ) -> Result<bool> {
        self.shared.check_own()?;
        loop {
            if self.here().len() >= needed_bytes {
                return Ok(true);
            }
            if self.has_ended() {
                return Ok(false);
            }
            match &self.source {
                Source::Stored(handle, _) if self.offset < handle.len_bytes() => {
                    if let Patience::Task(context) = patience
                        && handle.poll_fetch(context).is_pending()
                    {
                        return Ok(false);
                    }
                    self.read_on(needed_bytes)?;
                    return Ok(true);
                }
                Source::Taken(_) if !self.here().is_empty() => return Ok(true),
                Source::Stored(..) | Source::Taken(_) => {
                    self.pass();
                    continue;
                }
                Source::Memory(_) | Source::Unknown => {}
            }
            let at = (self.number, self.offset);
            match self.shared.find(self.cursor, at, patience)? {
                Found::Memory(tail) => {
                    // Frames are published whole.
                    self.source = Source::Memory(tail);
                    return Ok(true);
                }
                Found::Stored(handle, ahead) => {
                    if matches!(patience, Patience::Task(_)) {
                        // Before those that come after it: it is what is waited for.
                        handle.prefetch();
                    }
                    self.source = Source::Stored(handle, None);
                    ahead.iter().for_each(|next| next.prefetch());
                }
                Found::Passed => self.pass(),
                Found::NotYet => return Ok(false),
                Found::End => {
                    self.source = Source::Unknown;
                    self.number = u64::MAX;
                    return Ok(false);
                }
            }
        }
    }

    /// Moves to the next segment.
    fn pass(&mut self) {
        self.source = Source::Unknown;
        self.number += 1;
        self.offset = 0;
        self.shared.move_cursor(self.cursor, Some(self.number));
    }

    /// Gets more of a stored segment: all of it, if there is room.
    fn read_on(&mut self, needed_bytes: usize) -> Result<()> {
        let Source::Stored(handle, window) = std::mem::replace(&mut self.source, Source::Unknown)
        else {
            return Ok(());
        };
        // In this order: the room of the one serves the next.
        drop(window);
        let handle = match self.try_take(handle)? {
            Ok(window) => {
                self.source = Source::Taken(Arc::new(window));
                return Ok(());
            }
            Err(handle) => handle,
        };
        let at = (handle.len_bytes(), self.offset);
        let read = Window::read(&handle, at, needed_bytes, self.shared.engine());
        let (window, outcome) = match read {
            Ok(window) => (Some(Arc::new(window)), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.source = Source::Stored(handle, window);
        outcome
    }

    /// Takes a segment that nobody else will read, and of which nothing has been read; its
    /// handle otherwise, or where there is no room for all of it.
    fn try_take(
        &mut self,
        handle: Arc<Handle<B, u8>>,
    ) -> Result<Result<Window, Arc<Handle<B, u8>>>> {
        if self.offset > 0 {
            return Ok(Err(handle));
        }
        // It was taken out of the spill if this is the only one, so nobody finds it.
        let handle = match Arc::try_unwrap(handle) {
            Ok(handle) => handle,
            Err(shared) => return Ok(Err(shared)),
        };
        match Window::take(handle, self.shared.engine()) {
            Ok(window) => Ok(Ok(window)),
            Err((None, handle)) => Ok(Err(Arc::new(handle))),
            Err((Some(error), handle)) => {
                self.source = Source::Stored(Arc::new(handle), None);
                Err(error)
            }
        }
    }
}

impl<B: Backend> io::Read for SpillReader<B> {
    /// Waits until something is there, or the writer has finished.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = io::BufRead::fill_buf(self)?;
        let count = bytes.len().min(out.len());
        out[..count].copy_from_slice(&bytes[..count]);
        io::BufRead::consume(self, count);
        Ok(count)
    }
}

impl<B: Backend> io::BufRead for SpillReader<B> {
    /// What lies in memory at the cursor: without a copy. Waits until something is there,
    /// or the writer has finished.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.look_at_bytes(&mut Patience::Thread)?;
        Ok(self.here())
    }

    fn consume(&mut self, count: usize) {
        self.offset += count.min(self.here().len());
    }
}

impl<B: Backend> Drop for SpillReader<B> {
    fn drop(&mut self) {
        if self.shared.check_own().is_err() {
            // The parent's: its locks may be held by threads that are not here.
            std::mem::forget(std::mem::replace(&mut self.source, Source::Unknown));
            return;
        }
        self.source = Source::Unknown;
        self.shared.move_cursor(self.cursor, None);
    }
}

impl<B: Backend> fmt::Debug for SpillReader<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillReader")
            .field("segment", &self.number)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
