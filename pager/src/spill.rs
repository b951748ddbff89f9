//! [`Spill`], [`SpillWriter`] and [`SpillReader`]: sequences that are written once and read
//! in order, on whichever backend.
//!
//! Contains no mechanism: an enum over the backends in the build, as a handle is one.

#![cfg_attr(
    not(any(feature = "swap", feature = "file")),
    allow(unused, reason = "a build without backends spills nothing")
)]

use std::io;
use std::task::{Context, Poll};

use pager_core::{Error, Result, View};

use crate::each::each;
use crate::{BackendKind, PageoutOptions, Pager};

/// A spill, as the right to open readers at its beginning: as long as one lives, all of
/// the spill is kept. A clone is the same right.
///
/// Made by [`Pager::spill`], together with its only writer. Drop it, or make it the
/// [last reader](Self::into_reader), to have what was read freed. It keeps its backend
/// alive, as writers and readers do: the [`Pager`] may be dropped first.
#[derive(Debug, Clone)]
pub struct Spill(SpillOf);

/// The only writer of a spill.
///
/// Bytes go in by [`io::Write`], or whole frames by [`write_frame`](Self::write_frame);
/// one spill has one or the other. Readers see them after [`flush`](io::Write::flush) or
/// [`publish`](Self::publish), or when a segment of 2 MiB is full. Nothing is durable.
///
/// Dropping the writer finishes the spill. If that happens in a panic, readers get what
/// was published, and then [`Error::WriterFailed`](Error::WriterFailed).
#[derive(Debug)]
pub struct SpillWriter {
    of: WriterOf,
    /// So that nothing takes the place of its scratch directory as long as something may
    /// still be written there.
    #[cfg(feature = "file")]
    _open: Option<crate::scratch::OpenRegistry>,
}

/// Reads a spill from its beginning, also while it is written.
///
/// Bytes come out by [`io::Read`] and [`io::BufRead`], which wait for the writer and end
/// with it, or by [`poll_bytes`](Self::poll_bytes), which wakes a task; frames by
/// [`next_frame`](Self::next_frame), [`next_frame_view`](Self::next_frame_view) and
/// [`poll_frame`](Self::poll_frame).
///
/// Each reader has its own cursor, and holds at most one segment in memory, within the
/// budget. What an error keeps it from reading it finds again at the next call.
#[derive(Debug)]
pub struct SpillReader(ReaderOf);

/// One of these for each backend in the build.
macro_rules! of_each_backend {
    ($(#[$attribute:meta])* $name:ident, $core:ident) => {
        $(#[$attribute])*
        enum $name {
            #[cfg(feature = "swap")]
            Swap(pager_core::$core<crate::layer::Layered<pager_swap::SwapBackend>>),
            #[cfg(feature = "file")]
            File(pager_core::$core<crate::layer::Layered<crate::layer::Files>>),
            #[cfg(not(any(feature = "swap", feature = "file")))]
            None(std::convert::Infallible),
        }
    };
}

of_each_backend!(
    #[derive(Debug, Clone)]
    SpillOf,
    Spill
);
of_each_backend!(
    #[derive(Debug)]
    WriterOf,
    SpillWriter
);
of_each_backend!(
    #[derive(Debug)]
    ReaderOf,
    SpillReader
);

impl Pager {
    /// A new spill through the selected backend, and its writer: an append-only sequence
    /// of bytes or frames, written once and read in order.
    ///
    /// Its segments of up to 2 MiB are payloads as any others: they stay in memory while
    /// the budget has room, and leave in the background. Nothing is held and nothing is
    /// done before something is written.
    ///
    /// ```
    /// use pager::Pager;
    ///
    /// let pager = Pager::new();
    /// let (mut writer, spill) = pager.spill()?;
    /// let mut reader = spill.into_reader()?;
    /// let thread = std::thread::spawn(move || {
    ///     for number in 0..1000_u64 {
    ///         writer.write_frame(&number.to_le_bytes())?;
    ///     }
    ///     writer.finish()
    /// });
    /// let mut count = 0;
    /// while let Some(frame) = reader.next_frame()? {
    ///     assert_eq!(frame, u64::to_le_bytes(count));
    ///     count += 1;
    /// }
    /// assert_eq!(count, 1000);
    /// thread.join().expect("no panic")?;
    /// # Ok::<(), pager::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`set_scratch_dir`](Self::set_scratch_dir) if the file backend has to be
    /// opened, [`Error::BackendDisabled`](Error::BackendDisabled) in a build without
    /// backends, and [`Error::ForeignProcess`](Error::ForeignProcess) in a forked
    /// child.
    pub fn spill(&self) -> Result<(SpillWriter, Spill)> {
        self.options().spill()
    }
}

impl PageoutOptions<'_> {
    /// A new spill whose segments are paged out with these options, and its writer.
    ///
    /// # Errors
    ///
    /// As for [`Pager::spill`].
    pub fn spill(&self) -> Result<(SpillWriter, Spill)> {
        if !self.pager.owner.is_current() {
            return Err(Error::ForeignProcess);
        }
        match self.pager.usable(self.kind())? {
            #[cfg(feature = "swap")]
            BackendKind::Swap => {
                let (writer, spill) = self.of(self.pager.swap.options()).spill();
                let writer = SpillWriter {
                    of: WriterOf::Swap(writer),
                    #[cfg(feature = "file")]
                    _open: None,
                };
                Ok((writer, Spill(SpillOf::Swap(spill))))
            }
            #[cfg(feature = "file")]
            BackendKind::File => {
                let open = self.pager.file.for_pageout()?;
                let (writer, spill) = self.of(open.options()).spill();
                let writer = SpillWriter {
                    of: WriterOf::File(writer),
                    _open: Some(open),
                };
                Ok((writer, Spill(SpillOf::File(spill))))
            }
            #[cfg(not(all(feature = "swap", feature = "file")))]
            other => Err(other.disabled()),
        }
    }
}

impl Spill {
    /// A reader at the beginning.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignProcess`](Error::ForeignProcess) in a forked child.
    pub fn reader(&self) -> Result<SpillReader> {
        Ok(SpillReader(match self.0 {
            #[cfg(feature = "swap")]
            SpillOf::Swap(ref spill) => ReaderOf::Swap(spill.reader()?),
            #[cfg(feature = "file")]
            SpillOf::File(ref spill) => ReaderOf::File(spill.reader()?),
            #[cfg(not(any(feature = "swap", feature = "file")))]
            SpillOf::None(never) => match never {},
        }))
    }

    /// A reader at the beginning, in place of the spill: if it was the last, what this
    /// reader and all others have read is freed as they go.
    ///
    /// # Errors
    ///
    /// As for [`reader`](Self::reader).
    pub fn into_reader(self) -> Result<SpillReader> {
        self.reader()
    }

    /// Bytes that were sealed or published so far; all there are once the writer has
    /// finished. With frames, what they take with their lengths. Zero in a forked child.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        each!(self.0, SpillOf(ref spill) => spill.len_bytes())
    }
}

impl SpillWriter {
    /// Appends as much of `bytes` as goes into the present segment, at least one byte
    /// unless there is none; how many they were. [`io::Write`] does the same.
    ///
    /// # Errors
    ///
    /// Those of [`Pager::pageout`], for the segment that was full;
    /// [`Error::NoReader`](Error::NoReader) if nobody can ever read it;
    /// [`Error::Contradiction`](Error::Contradiction) for a spill of frames. Nothing
    /// was appended, nothing is lost, and the call may be repeated.
    pub fn append(&mut self, bytes: &[u8]) -> Result<usize> {
        each!(self.of, WriterOf(ref mut writer) => writer.append(bytes))
    }

    /// Appends one frame, which readers get in one piece: all of it, or nothing. It may be
    /// empty. Takes 8 bytes besides, and up to 7 for the next one to begin at a multiple
    /// of 8. A frame that is larger than 16 KiB is held whole, by the writer and by each
    /// reader that looks at it, however small the budget.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append);
    /// [`Error::Contradiction`](Error::Contradiction) for a spill of bytes without
    /// frames.
    pub fn write_frame(&mut self, frame: &[u8]) -> Result<()> {
        self.write_frame_of(&[frame])
    }

    /// Appends one frame that is made of these parts, one behind the other.
    ///
    /// # Errors
    ///
    /// As for [`write_frame`](Self::write_frame).
    pub fn write_frame_of(&mut self, parts: &[&[u8]]) -> Result<()> {
        each!(self.of, WriterOf(ref mut writer) => writer.write_frame_of(parts))
    }

    /// Has readers see everything that was written so far. No system call, and no lock
    /// where no reader waits. [`io::Write::flush`] does the same.
    pub fn publish(&mut self) {
        each!(self.of, WriterOf(ref mut writer) => writer.publish());
    }

    /// Ends the spill: readers see everything, and then its end. The last segment is paged
    /// out; where that fails, it stays in memory, and is read from there.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignProcess`](Error::ForeignProcess) in a forked child.
    pub fn finish(self) -> Result<()> {
        each!(self.of, WriterOf(writer) => writer.finish())
    }

    /// Ends the spill because whoever writes has failed: readers get what was published,
    /// and then [`Error::WriterFailed`](Error::WriterFailed) with this reason.
    pub fn fail(self, reason: impl Into<String>) {
        each!(self.of, WriterOf(writer) => writer.fail(reason));
    }

    /// Bytes written so far, published or not; with frames, with what they take besides.
    /// Zero in a forked child.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        each!(self.of, WriterOf(ref writer) => writer.len_bytes())
    }
}

impl io::Write for SpillWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        each!(self.of, WriterOf(ref mut writer) => writer.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        each!(self.of, WriterOf(ref mut writer) => writer.flush())
    }
}

impl SpillReader {
    /// Some of the bytes at the cursor, at least one: those that lie in memory together,
    /// without a copy; none at the end. [`consume`](io::BufRead::consume) moves past them.
    /// Where there are none yet, the task is woken when there may be: see
    /// [`poll_frame`](Self::poll_frame).
    ///
    /// # Errors
    ///
    /// Those of [`Pager::read_at`]; [`Error::WriterFailed`](Error::WriterFailed);
    /// [`Error::Contradiction`](Error::Contradiction) for a spill of frames. The
    /// cursor stays.
    pub fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<&[u8]>> {
        each!(self.0, ReaderOf(ref mut reader) => reader.poll_bytes(context))
    }

    /// The next frame, without a copy; waits until there is one. `None` at the end. Its
    /// bytes begin at a multiple of 8 in memory, those of 4 KiB or more at a multiple of
    /// 64.
    ///
    /// # Errors
    ///
    /// As for [`poll_bytes`](Self::poll_bytes);
    /// [`Error::Contradiction`](Error::Contradiction) for a spill of bytes without
    /// frames.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>> {
        each!(self.0, ReaderOf(ref mut reader) => reader.next_frame())
    }

    /// The same as a [`View`], which may be kept and sent elsewhere: without a copy. With
    /// the features of those names it becomes `Bytes` or an Arrow `Buffer` without one
    /// either. It holds the memory that the frame lies in, which the budget counts: a
    /// segment that is in memory, of 2 MiB at most, once for all its frames; where memory
    /// is short, little more than the frame.
    ///
    /// # Errors
    ///
    /// As for [`next_frame`](Self::next_frame).
    pub fn next_frame_view(&mut self) -> Result<Option<View<u8>>> {
        each!(self.0, ReaderOf(ref mut reader) => reader.next_frame_view())
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
        each!(self.0, ReaderOf(ref mut reader) => reader.poll_frame(context))
    }
}

impl io::Read for SpillReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        each!(self.0, ReaderOf(ref mut reader) => reader.read(out))
    }
}

impl io::BufRead for SpillReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        each!(self.0, ReaderOf(ref mut reader) => reader.fill_buf())
    }

    fn consume(&mut self, count: usize) {
        each!(self.0, ReaderOf(ref mut reader) => reader.consume(count));
    }
}
