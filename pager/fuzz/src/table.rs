//! [`Table`]: live handles, each with the bytes it must hold, and every check of
//! what an operation on one of them did.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use pager_core::{Backend, Chunk, ChunkBuf, Destination, Error, Result, TakeError};
use pager_testkit::Sample;
use pager_testkit::content::{assert_bytes, bytes};

use super::input::{BYTES_AT_MOST, Memory};

/// What a handle of the facade and one of a registry have in common.
pub(super) trait Paged: Sized {
    fn len(&self) -> usize;
    fn read_at<D: Destination<Element = u8>>(
        &self,
        offset: usize,
        len: usize,
        dst: &mut D,
    ) -> Result<()>;
    fn read_at_many<D: Destination<Element = u8>>(
        &self,
        ranges: &[Range<usize>],
        dst: &mut D,
    ) -> Result<()>;
    fn prefetch_at(&self, offset: usize, len: usize);
    fn take<D: Destination<Element = u8>>(self, dst: &mut D) -> Result<(), TakeError<Self>>;
}

macro_rules! paged {
    ($handle:ty $(, $backend:ident: $bound:path)?) => {
        impl$(<$backend: $bound>)? Paged for $handle {
            fn len(&self) -> usize {
                self.len()
            }

            fn read_at<D: Destination<Element = u8>>(&self, at: usize, len: usize, dst: &mut D) -> Result<()> {
                self.read_at(at, len, dst)
            }

            fn read_at_many<D: Destination<Element = u8>>(
                &self,
                ranges: &[Range<usize>],
                dst: &mut D,
            ) -> Result<()> {
                self.read_at_many(ranges, dst)
            }

            fn prefetch_at(&self, offset: usize, len: usize) {
                self.prefetch_at(offset, len);
            }

            fn take<D: Destination<Element = u8>>(self, dst: &mut D) -> Result<(), TakeError<Self>> {
                self.take(dst)
            }
        }
    };
}

paged!(pager::Handle<u8>);
paged!(pager_core::Handle<B, u8>, B: Backend);

/// A live handle, and what it must hold.
pub(super) struct Entry<H> {
    pub(super) handle: H,
    pub(super) content: Vec<u8>,
}

/// Live handles, by a number that is taken modulo how many there are.
pub(super) struct Table<H> {
    pub(super) live: Vec<Entry<H>>,
    made: u64,
}

impl<H: Paged> Table<H> {
    pub(super) fn new() -> Self {
        Self {
            live: Vec::new(),
            made: 0,
        }
    }

    pub(super) fn get(&self, which: u8) -> Option<&Entry<H>> {
        let index = usize::from(which).checked_rem(self.live.len())?;
        self.live.get(index)
    }

    pub(super) fn remove(&mut self, which: u8) -> Option<Entry<H>> {
        let index = usize::from(which).checked_rem(self.live.len())?;
        Some(self.live.swap_remove(index))
    }

    pub(super) fn bytes(&self) -> usize {
        self.live.iter().map(|entry| entry.content.len()).sum()
    }

    /// Cuts fresh bytes into chunks of these lengths, as far as there is room, each a
    /// whole number of elements.
    fn chunks(&mut self, lens: impl Iterator<Item = usize>, element: usize) -> Vec<Vec<u8>> {
        let mut room = BYTES_AT_MOST - self.bytes();
        lens.map(|len| {
            let len = len.min(room);
            let len = len - len % element;
            room -= len;
            self.made += 1;
            bytes(self.made, len)
        })
        .collect()
    }

    /// Pages chunks of these lengths out by `pageout`, as one payload.
    pub(super) fn page_out(
        &mut self,
        lens: impl Iterator<Item = usize>,
        memory: Memory,
        pageout: impl PageOut<H>,
    ) -> Result<()> {
        let element = if memory == Memory::Words { 8 } else { 1 };
        let chunks = self.chunks(lens, element);
        let handle = match memory {
            Memory::Vec => page_out_as::<Vec<u8>, H>(&chunks, pageout),
            Memory::Words => page_out_as::<Vec<u64>, H>(&chunks, pageout),
            Memory::Buf => page_out_as::<ChunkBuf<u8>, H>(&chunks, pageout),
        }?;
        let content = chunks.concat();
        assert_eq!(handle.len(), content.len(), "bytes of the handle");
        self.live.push(Entry { handle, content });
        Ok(())
    }

    /// Pages chunks of these lengths out by `pageout`, each as a payload.
    pub(super) fn page_out_each(
        &mut self,
        lens: impl Iterator<Item = usize>,
        pageout: impl FnOnce(&mut [Vec<u8>]) -> Result<Vec<H>>,
    ) -> Result<()> {
        let before = self.chunks(lens, 1);
        let mut chunks = before.clone();
        let handles = pageout(&mut chunks);
        check_chunks(handles.is_ok(), &chunks, &before);
        let handles = handles?;
        assert_eq!(handles.len(), before.len(), "handles of the chunks");
        for (handle, content) in handles.into_iter().zip(before) {
            assert_eq!(handle.len(), content.len(), "bytes of the handle");
            self.live.push(Entry { handle, content });
        }
        Ok(())
    }

    /// Takes a payload back; a take that fails puts its handle back.
    pub(super) fn take(&mut self, which: u8, memory: Memory, held: usize) -> Result<()> {
        let Some(entry) = self.remove(which) else {
            return Ok(());
        };
        let taken = match memory {
            Memory::Vec | Memory::Words => entry.take_into::<Vec<u8>>(held),
            Memory::Buf => entry.take_into::<ChunkBuf<u8>>(held),
        };
        taken.map_err(|(error, entry)| {
            self.live.push(entry);
            error
        })
    }
}

/// A way to page out that takes any kind of chunk, as bytes.
pub(super) trait PageOut<H> {
    fn page_out<C: Chunk>(self, chunks: &mut [C]) -> Result<H>;
}

fn page_out_as<C: Sample, H>(before: &[Vec<u8>], pageout: impl PageOut<H>) -> Result<H> {
    let mut chunks: Vec<C> = before.iter().map(|chunk| C::of(chunk)).collect();
    let handle = pageout.page_out(&mut chunks);
    check_chunks(handle.is_ok(), &chunks, before);
    handle
}

/// All empty after a page-out that worked, all as they were after one that did not.
fn check_chunks<C: Sample>(paged_out: bool, chunks: &[C], before: &[Vec<u8>]) {
    for (chunk, before) in chunks.iter().zip(before) {
        if paged_out {
            assert_bytes(chunk.bytes(), &[], "a chunk after a page-out");
        } else {
            assert_bytes(chunk.bytes(), before, "a chunk after a failed page-out");
        }
    }
}

impl<H: Paged> Entry<H> {
    /// `read_at`, compared; the error is one of the backend's.
    pub(super) fn read(&self, range: &Range<usize>) -> Result<()> {
        // Reversed, or more than fits: what `offset` and `len` cannot say.
        let len = range.end.saturating_sub(range.start);
        let mut found = vec![7, 8];
        let outcome = self.handle.read_at(range.start, len, &mut found);
        let end = range.start.checked_add(len);
        let expected = end.and_then(|end| self.content.get(range.start..end));
        check_read(outcome, &found, &[7, 8], expected)
    }

    /// `read_at_many`, compared; the error is one of the backend's.
    pub(super) fn read_many(&self, ranges: &[Range<usize>], memory: Memory) -> Result<()> {
        match memory {
            Memory::Vec | Memory::Words => self.read_many_into::<Vec<u8>>(ranges),
            Memory::Buf => self.read_many_into::<ChunkBuf<u8>>(ranges),
        }
    }

    fn read_many_into<D: Sample<Of = u8>>(&self, ranges: &[Range<usize>]) -> Result<()> {
        let parts = ranges.iter().map(|range| self.content.get(range.clone()));
        let parts: Option<Vec<&[u8]>> = parts.collect();
        let expected = parts.map(|parts| parts.concat());
        let mut found = D::of(&[9]);
        let outcome = self.handle.read_at_many(ranges, &mut found);
        check_read(outcome, found.bytes(), &[9], expected.as_deref())
    }

    /// Everything, by one read.
    pub(super) fn read_all(&self) -> Result<()> {
        self.read(&(0..self.content.len()))
    }

    pub(super) fn prefetch(&self, range: &Range<usize>) {
        self.handle.prefetch_at(range.start, range.len());
    }

    /// Takes the payload into a destination that holds bytes, compared; the error
    /// is one of the backend's, with the entry.
    fn take_into<D: Sample<Of = u8>>(self, held: usize) -> Result<(), (Error, Self)> {
        let mut found = D::of(&bytes(0, held));
        match self.handle.take(&mut found) {
            Ok(()) => {
                assert_bytes(found.bytes(), &self.content, "a take");
                Ok(())
            }
            Err(failed) => {
                assert_bytes(found.bytes(), &[], "the destination of a failed take");
                let (error, handle) = failed.into_parts();
                let content = self.content;
                Err((error, Self { handle, content }))
            }
        }
    }
}

/// Checks what a read appended to `held`; `expected` is `None` out of bounds.
fn check_read(
    outcome: Result<()>,
    found: &[u8],
    held: &[u8],
    expected: Option<&[u8]>,
) -> Result<()> {
    let is_refused = matches!(outcome, Err(Error::OutOfBounds { .. }));
    assert_eq!(is_refused, expected.is_none(), "refused: {outcome:?}");
    let appended = match &outcome {
        Ok(()) => expected.unwrap_or_default(),
        Err(_) => &[],
    };
    assert_bytes(&found[..held.len()], held, "what a destination held");
    assert_bytes(&found[held.len()..], appended, "what a read appended");
    if is_refused { Ok(()) } else { outcome }
}

/// Waits for the background to let go of payloads that are gone: it may hold one
/// for a moment longer than its handle lived.
pub(super) fn assert_soon(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}, and it stays so");
        std::thread::yield_now();
    }
}

/// Waits for a scratch root to hold nothing any more.
pub(super) fn assert_is_soon_empty(root: &Path) {
    assert_soon("files are left", || {
        root.read_dir().expect("it can be listed").next().is_none()
    });
}
