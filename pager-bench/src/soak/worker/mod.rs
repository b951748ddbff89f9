//! [`Worker`]: one thread of a soak.

mod reading;

use std::sync::PoisonError;
use std::time::Instant;

use pager::{BackendKind, Error, Handle};
use pager_core::{Chunk, ChunkBuf, Reuse};

use super::Shared;
use super::dice::Dice;
use super::payload::{Content, Kept, draw_lens};
use super::tally::{OPERATIONS, Operation, WEIGHTS};

/// Handles under way between threads at most.
const GALLERY_MAX: usize = 16;
/// Ranges of one scattered read at most.
const MAX_RANGES: usize = 24;
/// Handles of one batch of hints at most.
const MAX_HINTS: usize = 8;
/// Words that a destination may hold before it is appended to.
const MAX_PREFIX: usize = 5;

pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    dice: Dice,
    kept: Vec<Kept>,
    /// Destinations that are used again and again, as a program would.
    vec: Vec<u64>,
    buf: ChunkBuf,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, number: u32) -> Self {
        Self {
            shared,
            dice: Dice::new(shared.config.seed, number),
            kept: Vec::new(),
            vec: Vec::new(),
            buf: ChunkBuf::new(),
        }
    }

    /// Works until the time is over, then takes or drops what is left.
    pub(super) fn run(mut self) {
        while Instant::now() < self.shared.deadline {
            let operation = self.draw();
            self.perform(operation);
        }
        while let Some(kept) = self.draw_own() {
            if self.dice.once_in(2) {
                self.take(kept);
            } else {
                self.discard(kept);
            }
        }
    }

    fn draw(&mut self) -> Operation {
        let mut rest = self.dice.below(WEIGHTS);
        for (operation, _, weight) in OPERATIONS {
            if rest < weight {
                return operation;
            }
            rest -= weight;
        }
        Operation::Pageout
    }

    fn perform(&mut self, operation: Operation) {
        match operation {
            Operation::Pageout
            | Operation::PageoutTo
            | Operation::PageoutEach
            | Operation::PageoutHinted => self.page_out(operation),
            Operation::ReadAt | Operation::ReadAtMany => self.read_own(operation),
            Operation::Take => {
                if let Some(kept) = self.draw_own() {
                    self.take(kept);
                }
            }
            Operation::Drop => {
                if let Some(kept) = self.draw_own() {
                    self.discard(kept);
                }
            }
            Operation::Prefetch | Operation::PrefetchAt | Operation::PrefetchMany => {
                self.hint(operation);
            }
            Operation::HandOver => self.hand_over(),
            Operation::Accept => self.accept(),
            Operation::ReadShared => self.read_shared(),
            Operation::SetBackend => {
                let kind = self.draw_backend();
                self.settle(operation, self.shared.pager.set_backend(kind));
            }
            Operation::SetBudget => {
                let most = self.shared.config.budget_bytes * 2;
                let budget_bytes = match self.dice.below(4) {
                    0 => 0,
                    _ => self.dice.between(0, most),
                };
                self.settle(operation, self.shared.pager.set_budget(budget_bytes));
            }
            Operation::Flush => self.settle(operation, self.shared.pager.flush()),
        }
    }

    fn settle(&self, operation: Operation, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) => self.shared.tally.done(operation),
            Err(error) => self.shared.tally.failed(operation, &error),
        }
    }

    fn draw_backend(&mut self) -> BackendKind {
        BackendKind::ALL[self.dice.below(BackendKind::ALL.len())]
    }

    fn draw_own(&mut self) -> Option<Kept> {
        if self.kept.is_empty() {
            return None;
        }
        let index = self.dice.below(self.kept.len());
        Some(self.kept.swap_remove(index))
    }

    fn page_out(&mut self, operation: Operation) {
        let lens = draw_lens(&mut self.dice, self.shared.config.max_chunk_bytes);
        let content = Content {
            seed: self.dice.number(),
            start: 0,
            len: lens.iter().sum(),
        };
        if !self.shared.reserve(content.bytes()) {
            // Full: something has to go first.
            if let Some(kept) = self.draw_own() {
                self.take(kept);
            } else {
                self.accept();
                std::thread::yield_now();
            }
            return;
        }
        let parts: Vec<_> = content.cut(&lens).collect();
        if self.dice.once_in(2) {
            let mut chunks: Vec<Vec<u64>> = parts
                .iter()
                .map(|part| part.part(0..part.len).collect())
                .collect();
            self.page_out_chunks(operation, &mut chunks, content, &parts);
        } else {
            match parts.iter().map(fill_buf).collect::<Result<Vec<_>, _>>() {
                Ok(mut chunks) => self.page_out_chunks(operation, &mut chunks, content, &parts),
                Err(error) => {
                    self.shared.release(content.bytes());
                    self.shared.tally.failed(operation, &error);
                }
            }
        }
    }

    fn page_out_chunks<C: Chunk<Element = u64>>(
        &mut self,
        operation: Operation,
        chunks: &mut [C],
        content: Content,
        parts: &[Content],
    ) {
        let pager = self.shared.pager;
        let paged_out = match operation {
            Operation::PageoutEach => pager.options().pageout_each(chunks),
            Operation::PageoutTo => {
                let kind = self.draw_backend();
                let handle = pager.options().backend(kind).pageout(chunks);
                if let Ok(handle) = &handle
                    && handle.backend() != kind
                {
                    self.shared.tally.differs(operation, "another backend");
                }
                handle.map(|handle| vec![handle])
            }
            Operation::PageoutHinted => {
                let reuse = [Reuse::Soon, Reuse::Unknown, Reuse::Late][self.dice.below(3)];
                pager
                    .options()
                    .reuse(reuse)
                    .pageout(chunks)
                    .map(|handle| vec![handle])
            }
            _ => pager.pageout(chunks).map(|handle| vec![handle]),
        };
        match paged_out {
            Ok(handles) => {
                if chunks.iter().any(|chunk| !chunk.elements().is_empty()) {
                    self.shared.tally.differs(operation, "a chunk kept words");
                }
                self.keep(operation, handles, content, parts);
            }
            Err(error) => {
                self.shared.tally.failed(operation, &error);
                for (chunk, part) in chunks.iter().zip(parts) {
                    self.compared(
                        operation,
                        part,
                        chunk.elements(),
                        std::slice::from_ref(&(0..part.len)),
                    );
                }
                self.shared.release(content.bytes());
            }
        }
    }

    fn keep(
        &mut self,
        operation: Operation,
        handles: Vec<Handle>,
        content: Content,
        parts: &[Content],
    ) {
        let whole = [content];
        let contents = match operation {
            Operation::PageoutEach => parts,
            _ => &whole,
        };
        if handles.len() != contents.len() {
            self.shared.tally.differs(operation, "a handle is missing");
        }
        for (handle, content) in handles.into_iter().zip(contents) {
            if handle.len() != content.len {
                self.shared.tally.differs(operation, "another length");
            }
            let content = *content;
            self.kept.push(Kept { handle, content });
        }
        self.shared.tally.done(operation);
    }

    fn take(&mut self, kept: Kept) {
        let into_buf = self.dice.once_in(2);
        let Kept { handle, content } = kept;
        let pager = self.shared.pager;
        let taken = if into_buf {
            pager.take(handle, &mut self.buf)
        } else {
            pager.take(handle, &mut self.vec)
        };
        let words = if into_buf {
            &self.buf[..]
        } else {
            &self.vec[..]
        };
        match taken {
            Ok(()) => {
                self.compared(
                    Operation::Take,
                    &content,
                    words,
                    std::slice::from_ref(&(0..content.len)),
                );
                self.shared.tally.done(Operation::Take);
                self.shared.release(content.bytes());
            }
            Err(failed) => {
                self.shared.tally.failed(Operation::Take, failed.error());
                if !words.is_empty() {
                    let what = "a failed take left words behind";
                    self.shared.tally.differs(Operation::Take, what);
                }
                let handle = failed.into_handle();
                self.kept.push(Kept { handle, content });
                // What failed at the very end would fail for ever.
                if Instant::now() >= self.shared.deadline
                    && let Some(kept) = self.kept.pop()
                {
                    self.discard(kept);
                }
            }
        }
    }

    fn discard(&self, kept: Kept) {
        let bytes = kept.content.bytes();
        drop(kept);
        self.shared.tally.done(Operation::Drop);
        self.shared.release(bytes);
    }

    fn hint(&mut self, operation: Operation) {
        if self.kept.is_empty() {
            return;
        }
        let pager = self.shared.pager;
        let first = self.dice.below(self.kept.len());
        match operation {
            Operation::PrefetchMany => {
                let hinted = self.kept[first..].iter().take(MAX_HINTS);
                pager.prefetch_many(&hinted.map(|kept| &kept.handle).collect::<Vec<_>>());
            }
            Operation::PrefetchAt => {
                let len = self.kept[first].content.len;
                let (start, words) = (self.dice.between(0, len), self.dice.between(0, len));
                pager.prefetch_at(&self.kept[first].handle, start, words);
            }
            _ => pager.prefetch(&self.kept[first].handle),
        }
        self.shared.tally.done(operation);
    }

    fn hand_over(&mut self) {
        let Some(kept) = self.draw_own() else {
            return;
        };
        let mut gallery = self
            .shared
            .gallery
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let refused = if gallery.len() < GALLERY_MAX {
            gallery.push(kept);
            None
        } else {
            // Full: one goes in and another comes out.
            let index = self.dice.below(gallery.len());
            Some(std::mem::replace(&mut gallery[index], kept))
        };
        drop(gallery);
        self.kept.extend(refused);
        self.shared.tally.done(Operation::HandOver);
    }

    fn accept(&mut self) {
        let mut gallery = self
            .shared
            .gallery
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if !gallery.is_empty() {
            let index = self.dice.below(gallery.len());
            let kept = gallery.swap_remove(index);
            drop(gallery);
            self.kept.push(kept);
            self.shared.tally.done(Operation::Accept);
        }
    }
}

fn fill_buf(part: &Content) -> Result<ChunkBuf, Error> {
    let mut buf = ChunkBuf::with_capacity(part.len)?;
    for word in part.part(0..part.len) {
        buf.push(word)?;
    }
    Ok(buf)
}
