//! What a spill holds, who reads where, and what each reader finds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use smallvec::SmallVec;

use super::buffer::Tail;
use crate::backend::Backend;
use crate::registry::Handle;
use crate::{Error, Result};

/// Where the bytes of a sealed segment are.
pub(super) enum Place<B: Backend> {
    /// Where they were written.
    Memory(Arc<Tail>),
    /// On the way from there into a payload, for an instant.
    Moving,
    /// In a payload.
    Stored(Arc<Handle<B, u8>>),
    /// With the only reader that will ever want them.
    Taken,
}

/// How the sequence ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It does not yet.
    Open,
    Finished,
    /// Because the writer failed.
    Broken(String),
}

/// Whether frames were written, or bytes without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Bytes,
    Frames,
}

/// Where a reader is.
pub(super) struct Cursor {
    /// Its segment.
    number: u64,
    /// Whether it reads the bytes of that from where they are written.
    has_tail: bool,
    /// The task that waits, counted among the waiters.
    pub(super) waker: Option<Waker>,
}

pub(super) struct State<B: Backend> {
    /// From the oldest that somebody may still read to the newest that is sealed.
    pub(super) segments: VecDeque<Place<B>>,
    /// The number of the first of them.
    first: u64,
    /// The one that is being written; it comes after them.
    pub(super) tail: Option<Arc<Tail>>,
    /// Bytes of all segments sealed so far.
    pub(super) sealed_bytes: u64,
    /// One for each reader; none where a reader was.
    pub(super) cursors: Vec<Option<Cursor>>,
    pub(super) spill_count: usize,
    pub(super) end: End,
    pub(super) form: Option<Form>,
}

/// What a reader finds at its cursor.
pub(super) enum Found<B: Backend> {
    /// Bytes in memory.
    Memory(Arc<Tail>),
    /// A payload, and those that come after it.
    Stored(Arc<Handle<B, u8>>, Ahead<B>),
    /// This segment has no more, and the next one is there or will be.
    Passed,
    /// Nothing yet.
    NotYet,
    /// Nothing any more.
    End,
}

/// What is let go under the lock and freed after it.
pub(super) type Freed<B> = (SmallVec<[Place<B>; 2]>, Option<Arc<Tail>>);

/// Payloads that a reader will come to next.
pub(super) type Ahead<B> = SmallVec<[Arc<Handle<B, u8>>; AHEAD_COUNT]>;

/// Segments that are fetched before a reader comes to them: as many bytes as a device
/// needs under way to be busy.
const AHEAD_COUNT: usize = 4;

impl Cursor {
    pub(super) fn at(number: u64) -> Self {
        Self {
            number,
            has_tail: false,
            waker: None,
        }
    }
}

impl<B: Backend> State<B> {
    /// Of a spill of which nothing was written, and nobody reads.
    pub(super) fn new() -> Self {
        Self {
            segments: VecDeque::new(),
            first: 0,
            tail: None,
            sealed_bytes: 0,
            cursors: Vec::new(),
            spill_count: 1,
            end: End::Open,
            form: None,
        }
    }

    /// A place for one more reader, at the beginning; where that is, and the number of
    /// the segment.
    pub(super) fn open_cursor(&mut self) -> (usize, u64) {
        let cursor = Some(Cursor::at(self.first));
        let free = self.cursors.iter().position(Option::is_none);
        let place = free.unwrap_or(self.cursors.len());
        match self.cursors.get_mut(place) {
            Some(free) => *free = cursor,
            None => self.cursors.push(cursor),
        }
        (place, self.first)
    }

    /// What reader `cursor` finds in segment `number` from byte `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::WriterFailed`].
    pub(super) fn find(&mut self, cursor: usize, number: u64, offset: usize) -> Result<Found<B>> {
        let index = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        let is_last_reader = self.is_last_reader(cursor, number);
        match self.segments.get_mut(index) {
            Some(Place::Memory(tail)) => {
                return Ok(if tail.published_bytes() > offset {
                    Found::Memory(Arc::clone(tail))
                } else {
                    Found::Passed
                });
            }
            Some(Place::Stored(handle)) if handle.len_bytes() <= offset => {
                return Ok(Found::Passed);
            }
            Some(Place::Stored(handle)) => {
                let handle = Arc::clone(handle);
                if is_last_reader {
                    self.segments[index] = Place::Taken;
                }
                return Ok(Found::Stored(handle, self.ahead_of(index)));
            }
            Some(Place::Moving) => return Ok(Found::NotYet),
            Some(Place::Taken) => return Ok(Found::Passed),
            None => {}
        }
        if let Some(tail) = self.tail.as_ref().filter(|_| index == self.segments.len())
            && tail.published_bytes() > offset
        {
            if let Some(reader) = &mut self.cursors[cursor] {
                reader.has_tail = true;
            }
            return Ok(Found::Memory(Arc::clone(tail)));
        }
        match &self.end {
            End::Open => Ok(Found::NotYet),
            End::Finished => Ok(Found::End),
            End::Broken(reason) => Err(Error::WriterFailed {
                reason: reason.clone(),
            }),
        }
    }

    /// Takes out what nobody can read any more.
    pub(super) fn collect(&mut self) -> Freed<B> {
        let mut freed = SmallVec::new();
        if self.spill_count > 0 {
            return (freed, None);
        }
        let Some(wanted) = self.cursors.iter().flatten().map(|it| it.number).min() else {
            freed.extend(self.segments.drain(..));
            return (freed, self.tail.take());
        };
        while self.first < wanted
            && let Some(place) = self.segments.pop_front()
        {
            freed.push(place);
            self.first += 1;
        }
        (freed, None)
    }

    /// Whether nobody reads, or can ever.
    pub(super) fn is_abandoned(&self) -> bool {
        self.spill_count == 0 && self.cursors.iter().all(Option::is_none)
    }

    /// Whether segment `number` is wanted by this reader and will be by no other.
    fn is_last_reader(&self, cursor: usize, number: u64) -> bool {
        let mut others = self.cursors.iter().enumerate();
        self.spill_count == 0
            && others.all(|(other, it)| {
                other == cursor || it.as_ref().is_none_or(|it| it.number > number)
            })
    }

    /// Whether all who will ever read the tail read it from where it is, right now: it
    /// then goes with them, and need not be paged out.
    pub(super) fn is_read_out(&self) -> bool {
        let number = self.first + self.segments.len() as u64;
        let mut readers = self.cursors.iter().flatten().peekable();
        self.spill_count == 0
            && readers.peek().is_some()
            && readers.all(|it| it.has_tail && it.number == number)
    }

    /// What is stored and comes after the segment at `index`.
    fn ahead_of(&self, index: usize) -> Ahead<B> {
        let next = self.segments.iter().skip(index.saturating_add(1));
        next.take(AHEAD_COUNT)
            .filter_map(|place| match place {
                Place::Stored(handle) => Some(Arc::clone(handle)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn len_bytes(&mut self) -> u64 {
        let tail_bytes = self.tail.as_ref().map_or(0, |tail| tail.published_bytes());
        self.sealed_bytes + tail_bytes as u64
    }
}
