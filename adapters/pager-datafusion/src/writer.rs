//! [`Writer`]: what the engine writes, as frames of a stream: one for each message.
//!
//! Arrow writes a message in many small pieces. They are collected until the message is
//! whole, and then readers see it: all of it, or nothing. What fails is not written, and the
//! same bytes may be written again.

use std::io;
use std::sync::{Arc, Weak};

use datafusion_common::{DataFusionError, Result};
use datafusion_execution::spill_file::SpillWriter;

use crate::error;
use crate::message::Message;
use crate::parts::{Parts, Told};
use crate::usage::FileUsage;

/// The writer of one part of a file.
pub(crate) struct Writer {
    /// Where the bytes go; nowhere once it has finished.
    spill: Option<pager::SpillWriter>,
    /// Of the file, so that another writer may be opened when this one has gone. Whether
    /// anybody can still read what is written is no matter of the writer's.
    parts: Weak<Parts>,
    told: Told,
    usage: Arc<FileUsage>,
    /// What there is of the message that is being written.
    begun: Vec<u8>,
    message: Message,
}

impl Writer {
    pub(crate) fn new(
        spill: pager::SpillWriter,
        parts: &Arc<Parts>,
        usage: &Arc<FileUsage>,
    ) -> Self {
        Self {
            spill: Some(spill),
            parts: Arc::downgrade(parts),
            told: parts.told().clone(),
            usage: Arc::clone(usage),
            begun: Vec::new(),
            message: Message::default(),
        }
    }

    /// Takes as much of `bytes` as belongs to the present message; how much that was.
    fn append(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut taken = 0;
        loop {
            let missing_bytes = self.message.wanted_bytes().saturating_sub(self.begun.len());
            let next = &bytes[taken..];
            let next = &next[..next.len().min(missing_bytes)];
            taken += next.len();
            if next.len() == missing_bytes && self.message.is_known() {
                return self.put(next).map(|()| taken);
            }
            self.begun.extend_from_slice(next);
            if next.len() < missing_bytes {
                return Ok(taken);
            }
            self.message = self.message.seen(&self.begun);
            self.make_room()?;
        }
    }

    /// Makes room for all of the message, once, if it is known how long it is.
    fn make_room(&mut self) -> Result<()> {
        let Message::Whole(needed_bytes) = self.message else {
            return Ok(());
        };
        let more_bytes = needed_bytes.saturating_sub(self.begun.len());
        let made = self.begun.try_reserve_exact(more_bytes);
        made.map_err(|_| {
            let error = pager::Error::OutOfMemory { needed_bytes };
            error::of_pager(error, &self.told.doing("writing"))
        })
    }

    /// Writes the message, of which `last` is the end.
    fn put(&mut self, last: &[u8]) -> Result<()> {
        let Some(spill) = &mut self.spill else {
            return Err(self.has_finished());
        };
        let bytes = (self.begun.len() + last.len()) as u64;
        self.usage.grow(bytes)?;
        match spill.write_frame_of(&[&self.begun, last]) {
            Ok(()) => spill.publish(),
            // As with a file that is deleted while it is written.
            Err(pager::Error::NoReader) => self.usage.shrink(bytes),
            Err(error) => {
                self.usage.shrink(bytes);
                return Err(error::of_pager(error, &self.told.doing("writing")));
            }
        }
        self.usage.wrote(bytes);
        self.begun.clear();
        self.message = self.message.next();
        Ok(())
    }

    fn has_finished(&self) -> DataFusionError {
        let doing = self.told.doing("writing");
        DataFusionError::Execution(format!("{doing}: it has finished"))
    }

    /// Whether it is within a message: not if there are no messages.
    fn is_amid_message(&self) -> bool {
        !self.begun.is_empty() && self.message.may_begin_with(&self.begun)
    }

    fn ended(&self) {
        if let Some(parts) = self.parts.upgrade() {
            parts.ended();
        }
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.spill.is_none() {
            return Err(error::io(self.has_finished()));
        }
        let (begun_bytes, message) = (self.begun.len(), self.message);
        self.append(bytes).map_err(|error| {
            // Nothing of it was taken.
            self.begun.truncate(begun_bytes);
            self.message = message;
            error::io(error)
        })
    }

    /// Readers see everything up to the last whole message.
    fn flush(&mut self) -> io::Result<()> {
        if !self.begun.is_empty() && !self.is_amid_message() {
            self.put(&[]).map_err(error::io)?;
            self.message = Message::Foreign;
        }
        Ok(())
    }
}

impl SpillWriter for Writer {
    /// Ends it as it is, with what there is of a message, which Arrow will complain of.
    fn finish(&mut self) -> Result<()> {
        if !self.begun.is_empty() {
            self.put(&[])?;
        }
        let Some(spill) = self.spill.take() else {
            return Ok(());
        };
        let finished = spill.finish();
        self.ended();
        finished.map_err(|error| error::of_pager(error, &self.told.doing("writing")))
    }
}

/// A writer that is dropped has ended too, but not in mid-message: then it has failed, and
/// readers are told so.
impl Drop for Writer {
    fn drop(&mut self) {
        if self.spill.is_none() {
            return;
        }
        let failure = if self.is_amid_message() {
            Some("it was dropped in mid-message".to_owned())
        } else {
            io::Write::flush(self).err().map(|error| error.to_string())
        };
        if let (Some(spill), Some(reason)) = (self.spill.take(), failure) {
            spill.fail(reason);
        }
        self.ended();
    }
}
