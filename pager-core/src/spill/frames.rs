//! Frames: pieces of a spill that come back whole.
//!
//! A frame is its length, as eight bytes, and its bytes. It begins at a multiple of
//! eight; the bytes of one that is [wide](WIDE_BYTES) begin at a multiple of
//! [64](WIDE_ALIGN_BYTES). It lies within one segment; one that is larger than a segment
//! has one of its own.

use std::ops::Range;
use std::task::{Context, Poll};

use super::shared::Patience;
use super::state::Form;
use super::{SpillReader, SpillWriter};
use crate::Result;
use crate::backend::Backend;
use crate::payload::View;

const HEADER_BYTES: usize = size_of::<u64>();

/// Frames of so many bytes are worth aligning: what that costs is less than a fiftieth.
const WIDE_BYTES: usize = 4 << 10;

/// What their bytes are aligned to: what vector instructions like.
pub(super) const WIDE_ALIGN_BYTES: usize = 64;

/// Where the next header can begin.
fn aligned(offset: usize) -> usize {
    offset.next_multiple_of(HEADER_BYTES)
}

/// Where the bytes of a frame of `len` bytes begin whose header is at `header`.
fn body(header: usize, len: usize) -> usize {
    let behind = header + HEADER_BYTES;
    if len >= WIDE_BYTES {
        behind.next_multiple_of(WIDE_ALIGN_BYTES)
    } else {
        behind
    }
}

impl<B: Backend> SpillWriter<B> {
    /// Appends one frame, which readers get in one piece: all of it, or nothing. It may be
    /// empty. Takes 8 bytes besides, and up to 7 for the next one to begin at a multiple
    /// of 8; one of 4 KiB or more takes up to 63 so that its bytes begin at a multiple of
    /// 64. A frame that is larger than 16 KiB is held whole, by the writer and by each
    /// reader that looks at it, however small the budget.
    ///
    /// # Errors
    ///
    /// Those of a page-out of the segment that was full; [`NoReader`](crate::Error::NoReader);
    /// [`Contradiction`](crate::Error::Contradiction) for a spill of bytes without frames. Nothing was appended,
    /// nothing is lost, and the call may be repeated.
    pub fn write_frame(&mut self, frame: &[u8]) -> Result<()> {
        self.write_frame_of(&[frame])
    }

    /// Appends one frame that is made of these parts, one behind the other.
    ///
    /// # Errors
    ///
    /// As for [`write_frame`](Self::write_frame).
    pub fn write_frame_of(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.write_as(Form::Frames)?;
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        // What is between frames fits where this one does.
        let tail = self.tail_with(len.saturating_add(2 * WIDE_ALIGN_BYTES))?;
        let header = aligned(tail.filled_bytes());
        tail.pad_to(header);
        tail.append(&(len as u64).to_le_bytes());
        tail.pad_to(body(header, len));
        for part in parts {
            tail.append(part);
        }
        Ok(())
    }
}

impl<B: Backend> SpillReader<B> {
    /// The next frame, without a copy; waits until there is one. `None` at the end. Its
    /// bytes begin at a multiple of 8 in memory, those of 4 KiB or more at a multiple of
    /// 64.
    ///
    /// # Errors
    ///
    /// Those of a read; [`WriterFailed`](crate::Error::WriterFailed);
    /// [`Contradiction`](crate::Error::Contradiction) for a spill of bytes without frames;
    /// [`ForeignProcess`](crate::Error::ForeignProcess) in a forked child. The cursor
    /// stays.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>> {
        match self.find_frame(&mut Patience::Thread)? {
            Poll::Ready(Some(frame)) => {
                self.offset = frame.end;
                Ok(Some(&self.bytes_from(frame.start)[..frame.len()]))
            }
            Poll::Ready(None) | Poll::Pending => Ok(None),
        }
    }

    /// The same as a [`View`], which may be kept and sent elsewhere: without a copy. It
    /// holds the memory that the frame lies in, which the budget counts: a segment that is
    /// in memory, of 2 MiB at most, once for all its frames; where memory is short, little
    /// more than the frame.
    ///
    /// # Errors
    ///
    /// As for [`next_frame`](Self::next_frame).
    pub fn next_frame_view(&mut self) -> Result<Option<View<u8>>> {
        match self.find_frame(&mut Patience::Thread)? {
            Poll::Ready(Some(frame)) => Ok(Some(self.take_frame(frame))),
            Poll::Ready(None) | Poll::Pending => Ok(None),
        }
    }

    /// The next frame if it is there; wakes the task when it may be, otherwise: when more
    /// was published, or when what is stored has been fetched. `None` at the end.
    ///
    /// Waits for a device only where nothing can be fetched: without a budget or threads
    /// to serve it, or without room.
    ///
    /// # Errors
    ///
    /// As for [`next_frame`](Self::next_frame).
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<View<u8>>>> {
        match self.find_frame(&mut Patience::Task(context)) {
            Ok(Poll::Ready(Some(frame))) => Poll::Ready(Ok(Some(self.take_frame(frame)))),
            Ok(Poll::Ready(None)) => Poll::Ready(Ok(None)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Gets the next frame into memory, and tells where in the segment its bytes are.
    fn find_frame(
        &mut self,
        patience: &mut Patience<'_, '_>,
    ) -> Result<Poll<Option<Range<usize>>>> {
        self.check_form(Form::Frames)?;
        self.offset = aligned(self.offset);
        if !self.look(HEADER_BYTES, patience)? {
            self.check_form(Form::Frames)?;
            return Ok(self.nothing());
        }
        self.check_form(Form::Frames)?;
        let len = self.frame_len();
        let start = body(self.offset, len);
        let whole_bytes = (start - self.offset).saturating_add(len);
        if !self.look(whole_bytes, patience)? {
            return Ok(self.nothing());
        }
        if self.here().len() < whole_bytes {
            return Err(self.corrupt(len));
        }
        Ok(Poll::Ready(Some(start..start + len)))
    }

    /// The length that the frame at the cursor says it has.
    fn frame_len(&self) -> usize {
        let header = self.here().first_chunk().copied().unwrap_or_default();
        usize::try_from(u64::from_le_bytes(header)).unwrap_or(usize::MAX)
    }

    /// Moves past this frame, and returns it.
    fn take_frame(&mut self, frame: Range<usize>) -> View<u8> {
        self.offset = frame.end;
        match self.shown() {
            Some((owner, start)) => View::of_shown(owner, frame.start - start..frame.end - start),
            None => View::new(None),
        }
    }
}
