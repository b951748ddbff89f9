//! [`SpillWriter`]: appends to the tail, publishes it, and seals it into a payload when it
//! is full.
//!
//! Sealing asks for room first, while readers go on reading the tail; then the buffer
//! itself becomes the payload. Where a reader holds it at that moment, it is copied.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::buffer;
use super::shared::Shared;
use super::state::{End, Form, Place};
use crate::backend::Backend;
use crate::budget::{Charge, Claim};
use crate::memory::{Appender, ChunkBuf, SizeClass};
use crate::registry::{Admitted, Handle};
use crate::{Error, Result};

/// Bytes of a segment: as much as a device likes to move at a time, and a huge page.
pub(super) const SEGMENT_BYTES: usize = if cfg!(pager_shuttle) { 64 } else { 2 << 20 };

/// The first segment is this large, and each one four times the one before, so that a
/// spill of which little is written holds little.
/// The model checker would have to fill it.
const FIRST_BYTES: usize = if cfg!(pager_shuttle) { 64 } else { 64 << 10 };

/// The only writer of a spill.
///
/// Bytes go in by [`io::Write`], or whole frames by [`write_frame`](Self::write_frame);
/// one spill has one or the other. Readers see them after [`flush`](io::Write::flush), or when
/// a segment is full. Nothing is synchronised with a device: nothing is durable.
///
/// Dropping the writer finishes the spill. If that happens in a panic, readers get what
/// was published, and then [`Error::WriterFailed`].
pub struct SpillWriter<B: Backend> {
    shared: Arc<Shared<B>>,
    tail: Option<Appender<Charge>>,
    next_bytes: usize,
    form: Option<Form>,
    has_ended: bool,
}

impl<B: Backend> SpillWriter<B> {
    pub(super) fn new(shared: Arc<Shared<B>>) -> Self {
        Self {
            shared,
            tail: None,
            next_bytes: FIRST_BYTES,
            form: None,
            has_ended: false,
        }
    }

    /// Appends as much of `bytes` as goes into the tail, at least one byte unless there is
    /// none; how many they were.
    ///
    /// # Errors
    ///
    /// Those of a page-out of the segment that was full, [`Error::NoReader`], and
    /// [`Error::Contradiction`] for a spill of frames. Nothing was appended, nothing is
    /// lost, and the call may be repeated.
    pub fn append(&mut self, bytes: &[u8]) -> Result<usize> {
        self.write_as(Form::Bytes)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        Ok(self.tail_with(1)?.append(bytes))
    }

    /// Has readers see everything that was written so far. No system call, and no lock
    /// where no reader waits.
    pub fn publish(&mut self) {
        if let Some(tail) = &self.tail
            && self.shared.check_own().is_ok()
        {
            tail.publish();
            self.shared.published();
        }
    }

    /// Ends the spill: readers see everything, and then its end.
    ///
    /// The last segment is paged out; where that fails, it stays in memory, and is read
    /// from there.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignProcess`] in a forked child.
    pub fn finish(mut self) -> Result<()> {
        self.shared.check_own()?;
        self.end(End::Finished);
        Ok(())
    }

    /// Ends the spill because whoever writes has failed: readers get what was published,
    /// and then [`Error::WriterFailed`] with this reason.
    pub fn fail(mut self, reason: impl Into<String>) {
        if self.shared.check_own().is_ok() {
            self.end(End::Broken(reason.into()));
        }
    }

    /// Bytes written so far, published or not; with frames, with what they take besides.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        let tail_bytes = self.tail.as_ref().map_or(0, Appender::filled_bytes);
        self.shared
            .with_own(0, |state| state.sealed_bytes + tail_bytes as u64)
    }

    /// Checks that this process may write, and may write so.
    pub(super) fn write_as(&mut self, form: Form) -> Result<()> {
        self.shared.check_own()?;
        if self.form.is_none() {
            self.form = Some(form);
            self.shared.change(|state| state.form = Some(form));
        }
        if self.form != Some(form) {
            return Err(Error::Contradiction {
                what: "frames, and bytes without any, in one spill",
            });
        }
        if self.shared.is_abandoned() {
            return Err(Error::NoReader);
        }
        Ok(())
    }

    /// The tail, with room for `needed_bytes`: a new one if it has none.
    pub(super) fn tail_with(&mut self, needed_bytes: usize) -> Result<&mut Appender<Charge>> {
        let has_room = |tail: &Appender<Charge>| tail.room_bytes() >= needed_bytes;
        if !self.tail.as_ref().is_some_and(has_room) {
            let charge = self.seal()?;
            self.begin(needed_bytes, charge)?;
        }
        Ok(self.tail.as_mut().expect("it has just been made"))
    }

    /// Begins a tail, in the room of the one before if that is as large.
    fn begin(&mut self, needed_bytes: usize, charge: Option<Charge>) -> Result<()> {
        let wanted_bytes = self.next_bytes.max(needed_bytes);
        let engine = self.shared.engine();
        let fits = |charge: &Charge| charge.bytes() == SizeClass::for_bytes(wanted_bytes).bytes();
        let tail = match charge.filter(fits) {
            Some(charge) => Appender::new(wanted_bytes, charge)?,
            None => buffer::tail(engine, wanted_bytes, needed_bytes)?,
        };
        self.next_bytes = (self.next_bytes * 4).min(SEGMENT_BYTES);
        let shown = Arc::clone(tail.shared());
        let unread = self.shared.change(|state| {
            let is_wanted = !self.shared.is_abandoned();
            if is_wanted {
                state.tail = Some(shown);
                None
            } else {
                Some(shown)
            }
        });
        drop(unread);
        self.tail = Some(tail);
        Ok(())
    }

    /// Makes the tail, if there is one, a payload, and returns the room that it had.
    ///
    /// # Errors
    ///
    /// Those of the page-out; the tail is as it was.
    fn seal(&mut self) -> Result<Option<Charge>> {
        let Some(tail) = self.tail.take() else {
            return Ok(None);
        };
        if tail.filled_bytes() == 0 || self.shared.is_abandoned() {
            // Nobody has seen it, or will.
            drop(self.shared.change(|state| state.tail.take()));
            return Ok(tail.into_parts().ok().map(|(_, charge)| charge));
        }
        tail.publish();
        self.shared.published();
        if self.leave_to_readers(&tail) {
            return Ok(None);
        }
        match self.page_out(&tail) {
            Ok(Admitted::Stored(handle)) => Ok(self.settle(tail, handle)),
            Ok(Admitted::Room(room, claim)) => self.hand_over(tail, room, claim),
            Err(error) => self.keep_tail(tail, error),
        }
    }

    fn keep_tail<T>(&mut self, tail: Appender<Charge>, error: Error) -> Result<T> {
        self.tail = Some(tail);
        Err(error)
    }

    /// Leaves the tail where it is, if whoever will read it does so already.
    fn leave_to_readers(&self, tail: &Appender<Charge>) -> bool {
        self.shared.change(|state| {
            let is_read_out = state.is_read_out();
            if is_read_out && let Some(read) = state.tail.take() {
                state.segments.push_back(Place::Memory(read));
                state.sealed_bytes += tail.filled_bytes() as u64;
            }
            is_read_out
        })
    }

    /// Gets room for the tail as a payload, or stores it.
    fn page_out(&self, tail: &Appender<Charge>) -> Result<Admitted<B>> {
        let filled_bytes = tail.filled_bytes();
        let held_bytes = if buffer::fits(tail.shared(), filled_bytes) {
            tail.shared().capacity_bytes()
        } else {
            SizeClass::for_bytes(filled_bytes).bytes()
        };
        self.shared.door.admit(tail.filled(), held_bytes)
    }

    /// Puts the payload in the place of the tail, and returns the room that this had, if
    /// nobody reads it any more.
    fn settle(&self, tail: Appender<Charge>, handle: Handle<B, u8>) -> Option<Charge> {
        let replaced = self.shared.change(|state| {
            state.sealed_bytes += tail.filled_bytes() as u64;
            state.segments.push_back(Place::Stored(Arc::new(handle)));
            state.tail.take()
        });
        drop(replaced);
        self.drop_unread();
        tail.into_parts().ok().map(|(_, charge)| charge)
    }

    /// Makes the tail's buffer a payload, or a copy of it where somebody reads it.
    fn hand_over(
        &mut self,
        tail: Appender<Charge>,
        room: Charge,
        claim: Option<Claim>,
    ) -> Result<Option<Charge>> {
        let door = &self.shared.door;
        if buffer::fits(tail.shared(), tail.filled_bytes()) && self.hide_tail() {
            let filled_bytes = tail.filled_bytes();
            let (place, freed) = match tail.into_parts() {
                Ok((segment, charge)) => {
                    let handle = door.keep(segment, room, claim);
                    (Place::Stored(Arc::new(handle)), Some(charge))
                }
                // Nobody can have got it since; if somebody did, it stays in memory.
                Err(held) => (Place::Memory(Arc::clone(held.shared())), None),
            };
            self.place(place, filled_bytes);
            return Ok(freed);
        }
        let mut copy = ChunkBuf::new();
        match copy.extend_from_slice(tail.filled()) {
            Ok(()) => {
                let handle = door.keep(copy, room, claim);
                Ok(self.settle(tail, handle))
            }
            Err(error) => self.keep_tail(tail, error),
        }
    }

    /// Takes the tail out of readers' reach, if none has it.
    fn hide_tail(&self) -> bool {
        let hidden = self.shared.change(|state| {
            let tail = state.tail.as_ref();
            // Its appender and the state itself.
            let is_free = tail.is_some_and(|tail| Arc::strong_count(tail) == 2);
            is_free.then(|| {
                state.segments.push_back(Place::Moving);
                state.tail.take()
            })
        });
        hidden.is_some()
    }

    /// Puts the segment that was moving where it is now.
    fn place(&self, place: Place<B>, filled_bytes: usize) {
        let moving = self.shared.change(|state| {
            state.sealed_bytes += filled_bytes as u64;
            // Nobody reads what is moving, but all may have gone.
            match state.segments.back_mut() {
                Some(last @ Place::Moving) => std::mem::replace(last, place),
                _ => place,
            }
        });
        drop(moving);
    }

    /// Lets go of segments that nobody will read.
    fn drop_unread(&self) {
        if self.shared.is_abandoned() {
            let unread = self
                .shared
                .change(|state| std::mem::take(&mut state.segments));
            drop(unread);
        }
    }

    fn end(&mut self, end: End) {
        self.has_ended = true;
        if self
            .tail
            .as_ref()
            .is_some_and(|tail| tail.filled_bytes() > 0)
            && end == End::Finished
            && self.seal().is_err()
            && let Some(tail) = self.tail.take()
        {
            // It stays where it was written.
            let filled_bytes = tail.filled_bytes();
            self.shared.change(|state| {
                if let Some(tail) = state.tail.take() {
                    state.segments.push_back(Place::Memory(tail));
                    state.sealed_bytes += filled_bytes as u64;
                }
            });
        }
        self.tail = None;
        let unused = self.shared.change(|state| {
            let unused = match end {
                End::Finished => state.tail.take(),
                // What was published before can still be read.
                _ => None,
            };
            state.end = end;
            unused
        });
        drop(unused);
        self.drop_unread();
    }
}

impl<B: Backend> io::Write for SpillWriter<B> {
    /// As [`append`](SpillWriter::append).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.append(bytes)?)
    }

    /// As [`publish`](SpillWriter::publish).
    fn flush(&mut self) -> io::Result<()> {
        self.shared.check_own()?;
        self.publish();
        Ok(())
    }
}

impl<B: Backend> Drop for SpillWriter<B> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        if self.shared.check_own().is_err() {
            // The parent's: its locks may be held by threads that are not here.
            std::mem::forget(self.tail.take());
        } else if std::thread::panicking() {
            self.end(End::Broken("it panicked".to_owned()));
        } else {
            self.end(End::Finished);
        }
    }
}

impl<B: Backend> fmt::Debug for SpillWriter<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillWriter")
            .field("len_bytes", &self.len_bytes())
            .finish_non_exhaustive()
    }
}
