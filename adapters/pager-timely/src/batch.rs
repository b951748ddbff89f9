//! [`Batch`]: entries of a queue that move as one payload.
//!
//! A batch is where the engine put its bytes until somebody has copied them into the pager,
//! and is the pager's from then on. Whoever wants it back finds it in either place; nothing
//! is let go before the other place has it.

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use pager::{ChunkBuf, Error, Handle, Pager, Result};
use timely::bytes::arc::{Bytes, BytesMut};
use timely::communication::allocator::zero_copy::spill::BytesFetch;

use crate::lock;
use crate::stats::Failure;

/// Messages are read as words where they lie: each entry is as far from a multiple of this as
/// it was.
const ALIGN_BYTES: usize = size_of::<u64>();

/// Entries of one queue, in order.
pub(crate) struct Batch {
    /// The whole payload: for each run of entries, bytes to skip and bytes that it has.
    runs: Box<[Run]>,
    len_bytes: usize,
    place: Mutex<Place>,
}

/// Entries that lie one behind the other without a gap. Timely reads them as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    skipped_bytes: usize,
    len_bytes: usize,
}

/// Where the bytes are.
enum Place {
    /// Where the engine put them.
    Here(Vec<Bytes>),
    /// In the pager.
    Out(Handle<u8>),
    /// In the pager; a thread has been asked to read them.
    Asked(Handle<u8>),
    /// That thread is reading them.
    Coming,
    /// It has read them.
    Back(ChunkBuf<u8>),
    /// It could not. What there is stays where it is.
    Failed(Failure, Handle<u8>),
    /// With the consumer.
    Gone,
}

/// What a consumer finds.
pub(crate) enum Found {
    /// The entries, in order, and whether the pager had them.
    Entries(Vec<Bytes>, bool),
    /// They are on their way: the waker is called when they are here.
    Coming,
    /// They do not come by themselves: a thread has to read them.
    Stuck,
}

impl Batch {
    /// A batch of `entries`, none of them empty.
    pub(crate) fn new(entries: Vec<Bytes>) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        let mut end = 0;
        for entry in &entries {
            let skipped_bytes = skipped_before(entry, end);
            end += skipped_bytes + entry.len();
            match runs.last_mut() {
                Some(run) if skipped_bytes == 0 => run.len_bytes += entry.len(),
                _ => runs.push(Run {
                    skipped_bytes,
                    len_bytes: entry.len(),
                }),
            }
        }
        Self {
            runs: runs.into(),
            len_bytes: end,
            place: Mutex::new(Place::Here(entries)),
        }
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Copies the batch into the pager, which may wait for room; `true` if it is there then,
    /// `false` if somebody has taken it meanwhile. No lock is held while it waits or copies.
    ///
    /// # Errors
    ///
    /// What the pager says; the batch is as it was.
    pub(crate) fn page_out(&self, pager: &Pager) -> Result<bool> {
        let entries = match &*lock(&self.place) {
            Place::Here(entries) => entries.clone(),
            _ => return Ok(false),
        };
        let handle = pager.pageout_with(self.len_bytes, |window| {
            for entry in &entries {
                let end = window.len() - window.remaining_bytes();
                window.copy_from(&[0; ALIGN_BYTES][..skipped_before(entry, end)]);
                window.copy_from(entry);
            }
            Ok(())
        })?;
        let mut place = lock(&self.place);
        if !matches!(*place, Place::Here(_)) {
            return Ok(false);
        }
        let before = std::mem::replace(&mut *place, Place::Out(handle));
        drop(place);
        // The engine's buffers may be freed by this.
        drop(before);
        Ok(true)
    }

    /// Asks the pager to read the batch; `false` if it is not the pager's yet.
    pub(crate) fn read_ahead(&self) -> bool {
        match &*lock(&self.place) {
            Place::Here(_) => false,
            Place::Out(handle) => {
                handle.prefetch();
                true
            }
            _ => true,
        }
    }

    /// Takes the entries out if that takes no I/O; otherwise begins to bring them here, and
    /// wakes the task of `context` when they are.
    ///
    /// # Errors
    ///
    /// What the pager has said again and again to the thread that reads.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Result<Found, Failure> {
        let mut place = lock(&self.place);
        match std::mem::replace(&mut *place, Place::Gone) {
            Place::Here(entries) => Ok(Found::Entries(entries, false)),
            Place::Back(buf) => Ok(Found::Entries(self.entries_in(buf), true)),
            Place::Failed(failure, handle) => {
                *place = Place::Failed(failure.clone(), handle);
                Err(failure)
            }
            Place::Out(handle) => {
                let whole = 0..self.len_bytes;
                let is_ready = handle.poll_fetch(context).is_ready();
                if !handle.is_resident(whole) {
                    if is_ready {
                        *place = Place::Asked(handle);
                        return Ok(Found::Stuck);
                    }
                    *place = Place::Out(handle);
                    return Ok(Found::Coming);
                }
                // In memory: a pointer moves.
                match take(handle) {
                    Ok(buf) => Ok(Found::Entries(self.entries_in(buf), true)),
                    Err((_, handle)) => {
                        // Whoever reads it again meets the error again.
                        *place = Place::Asked(handle);
                        Ok(Found::Stuck)
                    }
                }
            }
            other => {
                *place = other;
                Ok(Found::Coming)
            }
        }
    }

    /// Reads the batch, if it was asked for and is wanted still, however long it takes.
    ///
    /// # Errors
    ///
    /// What the pager says; the batch is where it was.
    pub(crate) fn bring_back(&self) -> Result<()> {
        let mut place = lock(&self.place);
        let handle = match std::mem::replace(&mut *place, Place::Coming) {
            Place::Asked(handle) => handle,
            other => {
                *place = other;
                return Ok(());
            }
        };
        drop(place);
        let taken = take(handle);
        let mut place = lock(&self.place);
        match taken {
            Ok(buf) => *place = Place::Back(buf),
            Err((error, handle)) => {
                *place = Place::Asked(handle);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Says that the batch will not come back.
    pub(crate) fn give_up(&self, error: Error) {
        let mut place = lock(&self.place);
        if let Place::Asked(handle) = std::mem::replace(&mut *place, Place::Gone) {
            *place = Place::Failed(Failure::new(error), handle);
        }
    }

    /// The runs of entries in what was read, which is shared and not copied.
    fn entries_in(&self, buf: ChunkBuf<u8>) -> Vec<Bytes> {
        let mut rest = BytesMut::from(buf).freeze();
        let cut = |run: &Run| {
            drop(rest.extract_to(run.skipped_bytes));
            rest.extract_to(run.len_bytes)
        };
        self.runs.iter().map(cut).collect()
    }
}

/// A batch as the engine holds it.
pub(crate) struct Claim(pub(crate) Arc<Batch>);

/// For policies other than ours: the caller waits for the device, where ours does not.
impl BytesFetch for Claim {
    fn fetch(self: Box<Self>) -> Result<Vec<Bytes>, Box<dyn BytesFetch>> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match self.0.poll_take(&mut context) {
                Ok(Found::Entries(entries, _)) => return Ok(entries),
                Ok(Found::Stuck) if self.0.bring_back().is_ok() => {}
                _ => return Err(self),
            }
        }
    }
}

/// Bytes to skip after `end` so that `entry` lies as it did.
fn skipped_before(entry: &Bytes, end: usize) -> usize {
    let wanted = entry.as_ptr().addr() % ALIGN_BYTES;
    (wanted + ALIGN_BYTES - end % ALIGN_BYTES) % ALIGN_BYTES
}

/// Takes a payload back, wherever it is.
fn take(handle: Handle<u8>) -> Result<ChunkBuf<u8>, (Error, Handle<u8>)> {
    let mut buf = ChunkBuf::new();
    match handle.take(&mut buf) {
        Ok(()) => Ok(buf),
        Err(failed) => Err(failed.into_parts()),
    }
}
