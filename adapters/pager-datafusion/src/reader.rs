//! [`Reader`]: a spill file's bytes, as a stream that wakes its task.
//!
//! Each item is one message, where it lies in pager's memory: Arrow makes columns of it
//! without a copy. One that is [small](COPIED_BYTES) is copied, so that whoever keeps it does
//! not keep all that lies around it.
//!
//! A stream is the last when its file has no owner but one, who then is this stream's, and
//! there is no other stream. What it has read is freed as it goes, and what it reads before it
//! is written never is written.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use datafusion_common::Result;
use futures::Stream;
use pager::{SpillReader, View};

use crate::error;
use crate::file::PagedFile;
use crate::parts::Parts;
use crate::usage::FileUsage;

/// Messages of fewer bytes are copied.
const COPIED_BYTES: usize = 64 << 10;

/// A stream of a file's bytes.
pub(crate) struct Reader {
    parts: Arc<Parts>,
    usage: Arc<FileUsage>,
    /// Who owns the file, if it may be given up.
    owners: Option<Weak<PagedFile>>,
    /// The part that is being read.
    part: usize,
    spill: Option<SpillReader>,
    /// What was read so far and is still counted.
    read_bytes: u64,
    /// Whether it is the last.
    is_last: bool,
}

impl Reader {
    pub(crate) fn new(
        first: Option<SpillReader>,
        parts: Arc<Parts>,
        usage: Arc<FileUsage>,
        owners: Option<Weak<PagedFile>>,
    ) -> Self {
        Self {
            parts,
            usage,
            owners,
            part: 0,
            spill: first,
            read_bytes: 0,
            is_last: false,
        }
    }

    /// Becomes the last if there can be no other.
    fn look_for_owners(&mut self) {
        let is_alone = |file: &Weak<PagedFile>| file.strong_count() <= 1;
        if !self.is_last
            && self.spill.is_some()
            && self.owners.as_ref().is_some_and(is_alone)
            && self.parts.give_up(self.part)
        {
            self.is_last = true;
        }
        if self.is_last {
            self.usage.shrink(std::mem::take(&mut self.read_bytes));
        }
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        self.look_for_owners();
        while let Some(spill) = &mut self.spill {
            match ready!(spill.poll_frame(context)) {
                Ok(Some(message)) => {
                    self.read_bytes += message.len() as u64;
                    return Poll::Ready(Ok(Some(own(message))));
                }
                Ok(None) => {
                    let Some(next) = self.parts.reader(self.part + 1)? else {
                        break;
                    };
                    self.part += 1;
                    self.spill = Some(next);
                }
                Err(error) => {
                    let doing = self.parts.told().doing("reading");
                    return Poll::Ready(Err(error::of_pager(error, &doing)));
                }
            }
        }
        Poll::Ready(Ok(None))
    }
}

/// A message that keeps little more than itself in memory.
fn own(message: View<u8>) -> Bytes {
    if message.len() < COPIED_BYTES {
        Bytes::copy_from_slice(&message)
    } else {
        Bytes::from(message)
    }
}

impl Stream for Reader {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_bytes(context).map(Result::transpose)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.spill = None;
        self.parts.close_reader();
        if self.is_last {
            // What it has not read nobody will.
            self.usage.forget();
        }
    }
}
