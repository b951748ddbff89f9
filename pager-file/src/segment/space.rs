//! [`Space`]: the segment files together with what is free in them.
//!
//! Guarantees that storage is behind an extent before it is handed out, so that
//! a full medium is an error before any data moves; that what is free beyond
//! the slack goes back to the file system; and that no lock is held while the
//! system works.
//!
//! Punching a hole waits for all I/O on the file and writes the journal, so
//! neither `free`, which must not wait, nor a page-out, whose caller did not ask
//! for it, is the place. A thread does it that lives only while there is
//! something to punch. It stops well below the slack, so it is started once for
//! many freed extents, not once for each.

mod room;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use pager_core::SizeClass;

use super::allocator::{Allocator, Bytes};
use super::file::{Outcome, SegmentFile};
use super::io_mode::is_full;
use super::punches::{Punch, Punches};
use super::span::{Extent, Span};
use super::stats::Counters;
use crate::config::Slack;
use crate::{size_limit, sys};

/// Address space of a segment: a terabyte is sixteen descriptors.
const SEGMENT_BYTES: u64 = 64 << 30;

/// Segments there may be: 64 TiB in all.
const MAX_SEGMENTS: u32 = 1024;

/// What the punching thread takes out of circulation at a time.
const SWEEP_BYTES: u64 = 64 << 20;

impl Slack {
    /// How much may be free at the moment.
    fn bytes(self, bytes: Bytes) -> u64 {
        match self {
            Self::Stored { min_bytes } => bytes.live.max(min_bytes),
            Self::Fixed { bytes } => bytes,
        }
    }

    fn is_exceeded(self, bytes: Bytes) -> bool {
        bytes.freed > self.bytes(bytes)
    }
}

/// Segment files and the allocation of their bytes.
#[derive(Debug)]
pub(super) struct Space {
    allocator: Mutex<Allocator>,
    /// Opened in order, never closed before the store is.
    files: Box<[OnceLock<SegmentFile>]>,
    max_file_bytes: u64,
    slack: Slack,
    counters: Arc<Counters>,
    punches: Punches,
    /// What the file system turned out not to do. Relaxed: learning it late
    /// costs a call that fails.
    cannot_allocate: AtomicBool,
    cannot_punch: AtomicBool,
    /// Whether the punching thread runs.
    sweeping: AtomicBool,
    /// Whether the store is gone. Relaxed: the thread may punch once more.
    closing: AtomicBool,
}

impl Space {
    /// No segment yet. `max_file_bytes` is what the process may write to a file.
    pub(super) fn new(slack: Slack, max_file_bytes: u64, counters: Arc<Counters>) -> Self {
        let max_file_bytes = max_file_bytes / 4096 * 4096;
        let allocator = Allocator::new(SEGMENT_BYTES.min(max_file_bytes), MAX_SEGMENTS);
        Self {
            allocator: Mutex::new(allocator),
            files: (0..MAX_SEGMENTS).map(|_| OnceLock::new()).collect(),
            max_file_bytes,
            slack,
            counters,
            punches: Punches::default(),
            cannot_allocate: AtomicBool::new(false),
            cannot_punch: AtomicBool::new(false),
            sweeping: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        }
    }

    /// The file that `extent` lies in.
    pub(super) fn file(&self, extent: &Extent) -> &SegmentFile {
        self.opened(extent.segment())
            .expect("a segment is open before an extent of it is handed out")
    }

    /// An extent with storage behind it. `create` makes a segment file.
    ///
    /// # Errors
    ///
    /// What the system said to the allocation, after everything that is free
    /// here has been given back to it, or to the creation of a file.
    pub(super) fn acquire(
        &self,
        class: SizeClass,
        create: &dyn Fn() -> io::Result<SegmentFile>,
    ) -> io::Result<Extent> {
        // Beyond this limit the kernel would send a signal before it fails.
        if class.bytes() as u64 > self.max_file_bytes {
            return Err(rustix::io::Errno::FBIG.into());
        }
        let mut attempts = 0;
        loop {
            let given_bytes = self.punches.given_bytes();
            let taken = {
                let mut allocator = self.lock();
                match allocator.take(class) {
                    Some(extent) => return Ok(extent),
                    None => allocator.claim(class),
                }
            };
            let span = taken.ok_or(rustix::io::Errno::FBIG)?;
            match self.grow(span, class, create) {
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    self.lock().retire(span);
                    // A whole segment of its own would not do either.
                    if span.offset_bytes == 0 {
                        return Err(error);
                    }
                }
                Err(error) => {
                    self.lock().abandon(span);
                    attempts += 1;
                    if !is_full(&error) || !self.makes_room(class, given_bytes, attempts) {
                        return Err(error);
                    }
                }
                grown => return grown,
            }
        }
    }

    /// Takes an extent back for reuse. No system call, unless the slack is
    /// exceeded for the first time in a while and the punching thread starts.
    pub(super) fn release(self: &Arc<Self>, extent: Extent) {
        let bytes = {
            let mut allocator = self.lock();
            allocator.release(extent);
            allocator.bytes()
        };
        if self.slack.is_exceeded(bytes) {
            self.start_sweep();
        }
    }

    /// Takes back an extent that could not be written.
    pub(super) fn release_unwritten(&self, extent: Extent) {
        self.lock().release_last(extent);
    }

    /// Gives all storage back that holds nothing, and returns its bytes.
    ///
    /// # Errors
    ///
    /// What the system said; what could not be given back stays for reuse.
    pub(super) fn trim(&self) -> io::Result<u64> {
        let punch = self.punches.begin();
        let mut spans = Vec::new();
        self.lock().surplus_all(&mut spans);
        self.punch_all(spans, punch)
    }

    /// Makes the punching thread stop at the next opportunity.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Bytes by state, and segments begun, at one moment.
    pub(super) fn usage(&self) -> (Bytes, u32) {
        let allocator = self.lock();
        (allocator.bytes(), allocator.segment_count())
    }

    pub(super) fn allocates_ahead(&self) -> bool {
        !self.cannot_allocate.load(Ordering::Relaxed)
    }

    pub(super) fn punches_holes(&self) -> bool {
        !self.cannot_punch.load(Ordering::Relaxed)
    }

    /// Puts storage behind all of `span`, or else behind one extent of it.
    fn grow(
        &self,
        span: Span,
        class: SizeClass,
        create: &dyn Fn() -> io::Result<SegmentFile>,
    ) -> io::Result<Extent> {
        let file = self.open(span.segment, create)?;
        let (exact, rest) = span.split_at(class.bytes() as u64);
        // What is promised as one is taken back as one by a file system that copies on
        // write: a hole in it would give nothing.
        if !file.copies_on_write() && self.allocates_ahead() {
            match self.allocate(file, span) {
                Ok(()) if self.allocates_ahead() => return Ok(self.lock().commit(span, class)),
                Err(error) if !is_full(&error) || rest.len_bytes == 0 => return Err(error),
                _ => {}
            }
        }
        self.allocate(file, exact)?;
        let mut allocator = self.lock();
        allocator.abandon(rest);
        Ok(allocator.commit(exact, class))
    }

    /// Behaves as on a file system that lacks both calls.
    #[cfg(test)]
    pub(super) fn forget_fallocate(&self) {
        self.cannot_allocate.store(true, Ordering::Relaxed);
        self.cannot_punch.store(true, Ordering::Relaxed);
    }

    fn allocate(&self, file: &SegmentFile, span: Span) -> io::Result<()> {
        size_limit::check(span.offset_bytes + span.len_bytes)?;
        if !self.allocates_ahead() {
            return Ok(());
        }
        self.counters.allocate_calls.fetch_add(1, Ordering::Relaxed);
        match file.allocate(span) {
            Ok(Outcome::Done) => Ok(()),
            Ok(Outcome::Unsupported) => {
                self.cannot_allocate.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                // What was allocated until the medium was full stays so, and
                // would be lost to everybody.
                let _ = file.punch(span);
                Err(error)
            }
        }
    }

    fn open(
        &self,
        segment: u32,
        create: &dyn Fn() -> io::Result<SegmentFile>,
    ) -> io::Result<&SegmentFile> {
        if let Some(file) = self.opened(segment) {
            return Ok(file);
        }
        // Two threads may both get here; one file is kept, the other vanishes.
        let file = create()?;
        Ok(self.files[segment as usize].get_or_init(|| file))
    }

    pub(super) fn opened(&self, segment: u32) -> Option<&SegmentFile> {
        self.files.get(segment as usize)?.get()
    }

    fn start_sweep(self: &Arc<Self>) {
        // SeqCst: see `sweep`.
        if !self.punches_holes() || self.sweeping.swap(true, Ordering::SeqCst) {
            return;
        }
        let space = Arc::clone(self);
        let started = sys::spawn("pager-punch", move || space.sweep());
        if started.is_err() {
            // The next extent that is freed tries again.
            self.sweeping.store(false, Ordering::SeqCst);
        }
    }

    /// Punches, in large steps, while the slack is exceeded.
    ///
    /// Each step goes below the slack, by up to a quarter of it: otherwise the
    /// thread would follow a `free` of a long list with a call for each extent.
    fn sweep(&self) {
        loop {
            let punch = self.punches.begin();
            let mut spans = Vec::new();
            if !self.closing.load(Ordering::Relaxed) && self.punches_holes() {
                let mut allocator = self.lock();
                let bytes = allocator.bytes();
                if self.slack.is_exceeded(bytes) {
                    let slack_bytes = self.slack.bytes(bytes);
                    allocator.surplus(slack_bytes - slack_bytes / 4, SWEEP_BYTES, &mut spans);
                }
            }
            if !spans.is_empty() && self.punch_all(spans, punch).is_ok() {
                continue;
            }
            // SeqCst, with the lock below: whoever frees an extent after the last
            // look above sees the flag down, or this thread sees the extent.
            self.sweeping.store(false, Ordering::SeqCst);
            let is_over = self.slack.is_exceeded(self.lock().bytes());
            let stops = self.closing.load(Ordering::Relaxed) || !self.punches_holes();
            if stops || !is_over || self.sweeping.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Punches `spans`, which the allocator does not know at the moment, and
    /// gives them back to it.
    fn punch_all(&self, mut spans: Vec<Span>, mut under_way: Punch<'_>) -> io::Result<u64> {
        Span::merge(&mut spans);
        let mut failed = Ok(());
        for span in spans {
            let punched = if failed.is_ok() {
                self.punch(span)
            } else {
                Ok(Outcome::Unsupported)
            };
            let mut allocator = self.lock();
            match punched {
                Ok(Outcome::Done) => {
                    under_way.given_bytes += span.len_bytes;
                    allocator.abandon(span);
                }
                Ok(Outcome::Unsupported) => allocator.add_storage(span),
                Err(error) => {
                    allocator.add_storage(span);
                    failed = Err(error);
                }
            }
        }
        let punched_bytes = under_way.given_bytes;
        self.counters
            .punched_bytes
            .fetch_add(punched_bytes, Ordering::Relaxed);
        failed.map(|()| punched_bytes)
    }

    fn punch(&self, span: Span) -> io::Result<Outcome> {
        let Some(file) = self.opened(span.segment).filter(|_| self.punches_holes()) else {
            return Ok(Outcome::Unsupported);
        };
        self.counters.punch_calls.fetch_add(1, Ordering::Relaxed);
        let punched = file.punch(span);
        if let Ok(Outcome::Unsupported) = punched {
            self.cannot_punch.store(true, Ordering::Relaxed);
        }
        punched
    }

    fn lock(&self) -> MutexGuard<'_, Allocator> {
        // Between its calls the allocator is whole, and nothing here panics
        // while it holds the lock.
        self.allocator
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
