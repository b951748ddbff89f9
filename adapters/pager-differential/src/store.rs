//! [`Store`]: the engine's store and its sources, over payloads.

use std::rc::Rc;
use std::thread;
use std::time::Duration;

use differential_dataflow::columnar::trace::spill::{BytesSource, BytesStore};
use pager::Handle;

use crate::spill::{Failure, Shared};

/// Times that a load is tried, in all.
const TRIES: u32 = 5;

/// How long after the first failure; twice as long after each further one.
const PAUSE: Duration = Duration::from_millis(10);

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
                let kept = &self.0.kept_bytes;
                kept.set(kept.get() + bytes.len() as u64);
                Box::new(Kept {
                    shared: Rc::clone(&self.0),
                    bytes: bytes.into(),
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
        let (mut bytes, mut pause) = (Vec::new(), PAUSE);
        for tried in 1..=TRIES {
            let Err(error) = self.handle.read_at(0, self.handle.len(), &mut bytes) else {
                break;
            };
            shared.tell(&shared.load_failures, &error);
            if tried == TRIES {
                let failure = Failure::new(error);
                *shared.failure.borrow_mut() = Some(failure.clone());
                panic!("{failure}: {}", failure.cause());
            }
            thread::sleep(pause);
            pause *= 2;
        }
        bytes
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.shared.order.borrow_mut().remove(self.number);
    }
}

/// A chunk that could not be stored.
struct Kept {
    shared: Rc<Shared>,
    bytes: Box<[u8]>,
}

impl BytesSource for Kept {
    fn load(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let kept = &self.shared.kept_bytes;
        kept.set(kept.get() - self.bytes.len() as u64);
    }
}
