//! [`PagedFile`]: one of the engine's spill files, which is no file.

use std::pin::Pin;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use datafusion_common::Result;
use datafusion_execution::spill_file::{SpillFile, SpillWriter};
use futures::Stream;

use crate::adapter::Adapter;
use crate::parts::Parts;
use crate::reader::Reader;
use crate::usage::{FileUsage, Limit};
use crate::writer::Writer;

/// A spill file: streams of pager's, and what they count for.
#[derive(Debug)]
pub(crate) struct PagedFile {
    adapter: Adapter,
    parts: Arc<Parts>,
    usage: Arc<FileUsage>,
    /// Itself, for readers to see whether anybody else may read it.
    this: Weak<Self>,
}

impl PagedFile {
    pub(crate) fn create(adapter: &Adapter, limit: &Arc<Limit>, description: &str) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            adapter: adapter.clone(),
            parts: Arc::new(Parts::new(description)),
            usage: Arc::new(FileUsage::of_file(adapter.usage(), limit)),
            this: Weak::clone(this),
        })
    }
}

impl SpillFile for PagedFile {
    /// All that was written, be it in memory or stored, as a file's length is.
    fn size(&self) -> Option<u64> {
        Some(self.usage.written_bytes())
    }

    /// Its bytes from the beginning, a whole message at a time, also while it is written:
    /// then to the end of what is written until its writer has ended.
    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let first = self.parts.open_reader()?;
        let owners = (!self.adapter.keeps()).then(|| Weak::clone(&self.this));
        let (parts, usage) = (Arc::clone(&self.parts), Arc::clone(&self.usage));
        Ok(Box::pin(Reader::new(first, parts, usage, owners)))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let spill = self.parts.open_writer(|| self.adapter.spill())?;
        Ok(Box::new(Writer::new(spill, &self.parts, &self.usage)))
    }
}
