//! The way out: a payload, encoded portion by portion, each portion stored as soon as it is
//! whole. The chunks are emptied when the last one is.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::slot::{DEVICE_BYTES, Encoded, Form, Portion};
use super::{CodecSlot, Compressed, element_width};
use crate::codec::block::encode;
use crate::codec::chooser::{Choice, copy_bytes};
use crate::codec::workspace::{PORTION_BYTES, Workspace};
use crate::codec::{Codec, Scheme};
use crate::{Backend, Error, Payload, Result};

/// Payloads of fewer bytes take as many blocks of a device whatever becomes of them.
const LEAST_BYTES: usize = 8 << 10;

/// What a payload, or a portion, has to shrink to, in sixteenths.
const MOST_SIXTEENTHS: usize = 15;

/// What has become of the first portion, or of the next.
enum Outcome<S> {
    Stored(Portion<S>),
    /// It would not be smaller.
    Larger,
}

impl<B: Backend> Compressed<B> {
    pub(super) fn store(&self, payload: &mut Payload<'_>) -> Result<CodecSlot<B::Slot>> {
        if self.codec == Codec::Off || payload.len_bytes() < LEAST_BYTES {
            return self.pass(payload);
        }
        let Some((scheme, choice)) = self.choose(payload)? else {
            return self.pass(payload);
        };
        let Some(mut workspace) = self.workspaces.large_soon()? else {
            return self.pass(payload);
        };
        match self.encode_all(scheme, payload, &mut workspace)? {
            Some(encoded) => {
                let of = self.counters.of(scheme);
                of.payloads.add(1);
                of.plain_bytes.add(encoded.len_bytes);
                of.stored_bytes.add(encoded.stored_bytes());
                self.plain_bytes.add(encoded.len_bytes);
                self.given_bytes.add(encoded.stored_bytes());
                if let Some(choice) = choice {
                    let stored_bytes = encoded.stored_bytes();
                    self.chooser
                        .came_out(&choice, stored_bytes, encoded.len_bytes);
                }
                payload.clear();
                Ok(CodecSlot(Form::Encoded(Box::new(encoded))))
            }
            None => {
                self.counters.gave_up_payloads.add(1);
                if let Some(choice) = choice {
                    self.chooser.came_out(&choice, 1, 1);
                }
                drop(workspace);
                self.pass(payload)
            }
        }
    }

    /// Stores a payload as it is.
    fn pass(&self, payload: &mut Payload<'_>) -> Result<CodecSlot<B::Slot>> {
        if self.codec == Codec::Off {
            return self
                .inner
                .page_out(payload)
                .map(|slot| CodecSlot(Form::Plain(slot)));
        }
        let bytes = payload.len_bytes();
        let transfer = self.meter.writes.begin();
        let slot = self.inner.page_out(payload)?;
        transfer.done(bytes);
        self.counters.passed_payloads.add(1);
        self.counters.passed_bytes.add(bytes);
        Ok(CodecSlot(Form::Plain(slot)))
    }

    /// The scheme for this payload, and why, if it was not told.
    fn choose(&self, payload: &Payload<'_>) -> Result<Option<(Scheme, Option<Choice>)>> {
        match self.codec {
            Codec::Auto => {}
            Codec::Always(scheme) if scheme.is_enabled() => return Ok(Some((scheme, None))),
            _ => return Ok(None),
        }
        let start = Instant::now();
        let mut workspace = self.workspaces.small()?;
        let (choice, is_trial) =
            self.chooser
                .choose(payload, element_width(payload), &self.meter, &mut workspace);
        self.counters.choosing_nanos.add_time(start.elapsed());
        self.counters.trials.add(usize::from(is_trial));
        Ok(choice.map(|choice| (choice.scheme, Some(choice))))
    }

    /// Encodes and stores a payload; `None` if its first portion would not be smaller.
    /// The chunks stay as they are.
    ///
    /// # Errors
    ///
    /// Those of the backend beneath. Nothing is left in it.
    fn encode_all(
        &self,
        scheme: Scheme,
        payload: &Payload<'_>,
        workspace: &mut Workspace,
    ) -> Result<Option<Encoded<B::Slot>>> {
        let mut unfinished = Unfinished {
            backend: self,
            portions: with_room_for(payload.len_bytes().div_ceil(PORTION_BYTES))?,
        };
        for start in (0..payload.len_bytes()).step_by(PORTION_BYTES) {
            let bytes = start..(start + PORTION_BYTES).min(payload.len_bytes());
            let portion = match self.encode_portion(scheme, payload, &bytes, workspace)? {
                Outcome::Stored(portion) => portion,
                Outcome::Larger if start == 0 => return Ok(None),
                Outcome::Larger => self.copy_portion(payload, &bytes, workspace)?,
            };
            unfinished.portions.push(portion);
        }
        Ok(Some(Encoded {
            scheme,
            len_bytes: payload.len_bytes(),
            portions: std::mem::take(&mut unfinished.portions).into_boxed_slice(),
        }))
    }

    fn encode_portion(
        &self,
        scheme: Scheme,
        payload: &Payload<'_>,
        bytes: &Range<usize>,
        workspace: &mut Workspace,
    ) -> Result<Outcome<B::Slot>> {
        let Workspace {
            stored,
            scratch,
            joined,
            ..
        } = workspace;
        let width = element_width(payload);
        let block_bytes = scheme.block_bytes();
        let limit = bytes.len() / 16 * MOST_SIXTEENTHS;
        let start = Instant::now();
        let mut ends = with_room_for(bytes.len().div_ceil(block_bytes))?;
        stored.clear();
        let mut chunks = Cursor::new(payload, bytes.start);
        for at in bytes.clone().step_by(block_bytes) {
            let len = block_bytes.min(bytes.end - at);
            let plain = chunks.next(len, joined);
            let block: &[u8] = bytemuck::cast_slice(encode(scheme, width, plain, scratch));
            if stored.len() + block.len() > limit {
                self.meter
                    .encoded(scheme, at - bytes.start, start.elapsed());
                return Ok(Outcome::Larger);
            }
            stored.extend_from_slice(block)?;
            ends.push(u32::try_from(stored.len()).expect("a portion is some MiB"));
        }
        // Whole blocks of a device can be written from where they lie.
        stored.resize(stored.len().next_multiple_of(DEVICE_BYTES), 0)?;
        self.encoded(scheme, bytes.len(), start.elapsed());
        if stored.len() >= bytes.len() {
            return Ok(Outcome::Larger);
        }
        self.give(stored, ends).map(Outcome::Stored)
    }

    /// Stores a portion as it is, for others of its payload are encoded.
    fn copy_portion(
        &self,
        payload: &Payload<'_>,
        bytes: &Range<usize>,
        workspace: &mut Workspace,
    ) -> Result<Portion<B::Slot>> {
        let stored = &mut workspace.stored;
        stored.clear();
        let mut chunks = Cursor::new(payload, bytes.start);
        while stored.len() < bytes.len() {
            let front = chunks.front(bytes.len() - stored.len());
            stored.extend_from_slice(front)?;
            chunks.skip(front.len());
        }
        self.give(stored, Vec::new())
    }

    fn give(&self, stored: &[u8], ends: Vec<u32>) -> Result<Portion<B::Slot>> {
        Ok(Portion {
            slot: self.tier.page_out(stored)?,
            stored_bytes: stored.len(),
            ends: ends.into_boxed_slice(),
        })
    }

    fn encoded(&self, scheme: Scheme, plain_bytes: usize, time: Duration) {
        self.meter.encoded(scheme, plain_bytes, time);
        self.counters.of(scheme).encode_nanos.add_time(time);
    }
}

/// An empty list with room for so many: a payload may be of any size.
fn with_room_for<T>(count: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(count)
        .map_err(|_| Error::OutOfMemory {
            needed_bytes: count.saturating_mul(size_of::<T>()),
        })?;
    Ok(list)
}

/// Pieces of a payload that is not stored whole yet. Frees them when dropped, if only
/// by a panic of the backend beneath.
struct Unfinished<'a, B: Backend> {
    backend: &'a Compressed<B>,
    portions: Vec<Portion<B::Slot>>,
}

impl<B: Backend> Drop for Unfinished<'_, B> {
    fn drop(&mut self) {
        for portion in self.portions.drain(..) {
            self.backend.tier.free(portion.slot, portion.stored_bytes);
        }
    }
}

/// A place in the chunks of a payload.
struct Cursor<'p, 'c> {
    payload: &'p Payload<'c>,
    at: usize,
    next_chunk: usize,
    rest: &'p [u8],
}

impl<'p, 'c> Cursor<'p, 'c> {
    fn new(payload: &'p Payload<'c>, start: usize) -> Self {
        let mut cursor = Self {
            payload,
            at: 0,
            next_chunk: 0,
            rest: &[],
        };
        cursor.skip(start);
        cursor
    }

    /// At most `len` bytes that lie together; some, unless this is the end.
    fn front(&self, len: usize) -> &'p [u8] {
        &self.rest[..len.min(self.rest.len())]
    }

    fn skip(&mut self, mut len: usize) {
        self.at += len;
        loop {
            let here = len.min(self.rest.len());
            self.rest = &self.rest[here..];
            len -= here;
            if !self.rest.is_empty() || self.next_chunk == self.payload.chunk_count() {
                return;
            }
            self.rest = self.payload.chunk(self.next_chunk);
            self.next_chunk += 1;
        }
    }

    /// The next `len` bytes, where they lie if they lie together, and else joined.
    fn next<'a>(&mut self, len: usize, joined: &'a mut Vec<u8>) -> &'a [u8]
    where
        'p: 'a,
    {
        let front = self.front(len);
        if front.len() == len {
            self.skip(len);
            return front;
        }
        joined.clear();
        copy_bytes(self.payload, self.at..self.at + len, joined);
        self.skip(len);
        joined
    }
}
