//! [`Bytes`]: a payload in memory, and the columns that lie in it.

use std::ops::{Deref, Range};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

use columnar::ContainerBytes;
use columnar::bytes::stash::Stash;
use differential_dataflow::columnar::layout::ColumnarUpdate;
use differential_dataflow::columnar::updates::Updates;
use pager::{ChunkBuf, Handle, View};

use super::body::Trie;

/// The columns that lie in `bytes`, which are what was written.
pub(super) fn decode<U: ColumnarUpdate>(bytes: Bytes) -> Trie<U> {
    let mut lens = [0; 4];
    for (len, stored) in lens.iter_mut().zip(bytes.chunks_exact(8)) {
        let stored = stored.try_into().expect("eight bytes");
        *len = usize::try_from(u64::from_le_bytes(stored)).expect("what is in memory");
    }
    let mut at = 4 * 8;
    let mut part = |len: usize| {
        let part = bytes.part(at..at + len);
        at += len;
        part
    };
    let [keys, vals, times, diffs] = lens.map(&mut part);
    Updates {
        keys: column(keys),
        vals: column(vals),
        times: column(times),
        diffs: column(diffs),
    }
}

fn column<C: ContainerBytes>(bytes: Bytes) -> Stash<C, Bytes> {
    Stash::try_from_bytes(bytes).expect("what comes back is what was written")
}

/// Some of the bytes of a payload, which stay where they are.
#[derive(Clone)]
pub(super) struct Bytes {
    memory: Rc<Memory>,
    range: Range<usize>,
}

pub(super) enum Memory {
    View(View<u8>),
    Own(ChunkBuf<u8>),
}

impl Memory {
    fn all(&self) -> &[u8] {
        match self {
            Self::View(view) => view,
            Self::Own(buf) => buf,
        }
    }
}

impl Bytes {
    pub(super) fn new(memory: Memory) -> Self {
        Self {
            range: 0..memory.all().len(),
            memory: Rc::new(memory),
        }
    }

    fn part(&self, range: Range<usize>) -> Self {
        Self {
            memory: Rc::clone(&self.memory),
            range,
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.all()[self.range.clone()]
    }
}

/// Waits until the payload is in memory, or does not come by itself.
pub(super) fn fetch(handle: &Handle<u8>) {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    if handle.is_resident(0..handle.len()) {
        return;
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    while handle
        .poll_fetch(&mut Context::from_waker(&waker))
        .is_pending()
    {
        thread::park();
    }
    // One of the wake-ups may have been for the worker, who looks again.
    thread::current().unpark();
}
