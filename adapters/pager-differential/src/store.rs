//! [`Store`]: the engine's store and its sources, over payloads.

use std::rc::Rc;

use differential_dataflow::columnar::trace::spill::{BytesSource, BytesStore};
use pager::Handle;

use crate::spill::{self, Shared};

/// Stores chunks through the pager; waits where it does.
pub(crate) struct Store(Rc<Shared>);

impl Store {
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        Self(shared)
    }
}

impl BytesStore for Store {
    fn store(&mut self, bytes: &[u8]) -> Box<dyn BytesSource> {
        let paged_out = self.0.pager.pageout_with(bytes.len(), |window| {
            window.copy_from(bytes);
            Ok(())
        });
        match paged_out {
            Ok(handle) => {
                let number = self
                    .0
                    .order
                    .borrow_mut()
                    .push(handle.hint(), handle.len_bytes());
                Box::new(Stored {
                    shared: Rc::clone(&self.0),
                    handle,
                    number,
                })
            }
            Err(error) => {
                self.0.tell(&self.0.store_failures, &error);
                Box::new(Kept {
                    bytes: bytes.into(),
                    _counted: spill::Kept::new(&self.0, bytes.len()),
                })
            }
        }
    }
}

/// A chunk that the pager has.
struct Stored {
    shared: Rc<Shared>,
    handle: Handle<u8>,
    number: u64,
}

impl BytesSource for Stored {
    /// # Panics
    ///
    /// If the chunk cannot be read, time and again.
    fn load(&self) -> Vec<u8> {
        let shared = &self.shared;
        // Before the read, which may wait: they come meanwhile.
        let ahead_bytes = shared.settings.ahead_bytes;
        shared
            .order
            .borrow_mut()
            .read_ahead(self.number, ahead_bytes);
        shared.persist(|| {
            let mut bytes = Vec::new();
            self.handle.read_at(0, self.handle.len(), &mut bytes)?;
            Ok(bytes)
        })
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.shared.order.borrow_mut().remove(self.number);
    }
}

/// A chunk that could not be stored.
struct Kept {
    bytes: Box<[u8]>,
    _counted: spill::Kept,
}

impl BytesSource for Kept {
    fn load(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }
}
