//! Merging sorted runs that are larger than memory: each run is read in windows, the next window
//! of a run is fetched while this one is merged, and the result goes out in chunks that say that
//! they are wanted last. `spill_sort` is a whole program of this.
//!
//!     cargo run -p pager-out-of-core --example merge_runs

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pager::{BackendKind, Error, Handle, Pager, Reuse};

const RUNS: u64 = 16;
/// Words of a run: 2 MiB.
const RUN_LEN: usize = 1 << 18;
/// Words of a window: 64 KiB.
const WINDOW_LEN: usize = 1 << 13;
/// Words of a chunk of the result: 1 MiB.
const CHUNK_LEN: usize = 1 << 17;

/// A run, and where the merge is in it.
struct Cursor {
    run: Handle,
    window: Vec<u64>,
    /// Of the next word, in the window.
    next: usize,
    /// Of the next window, in the run.
    offset: usize,
}

impl Cursor {
    fn new(run: Handle) -> Self {
        Self {
            run,
            window: Vec::with_capacity(WINDOW_LEN),
            next: 0,
            offset: 0,
        }
    }

    /// The next word, or none at the end.
    fn advance(&mut self) -> Result<Option<u64>, Error> {
        if self.next == self.window.len() {
            let len = WINDOW_LEN.min(self.run.len() - self.offset);
            self.window.clear();
            self.run.read_at(self.offset, len, &mut self.window)?;
            self.offset += len;
            self.next = 0;
            // Beyond the end there is nothing, and that is no error.
            self.run.prefetch_at(self.offset, WINDOW_LEN);
        }
        let word = self.window.get(self.next).copied();
        self.next += 1;
        Ok(word)
    }
}

/// Merges sorted runs, hands every word to `consume` in order, and drops each run at its end.
fn merge(
    runs: Vec<Handle>,
    mut consume: impl FnMut(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut heap = BinaryHeap::new();
    let mut cursors: Vec<Option<Cursor>> = Vec::new();
    for (index, run) in runs.into_iter().enumerate() {
        let mut cursor = Cursor::new(run);
        heap.extend(cursor.advance()?.map(|word| Reverse((word, index))));
        cursors.push(Some(cursor));
    }
    while let Some(Reverse((word, index))) = heap.pop() {
        consume(word)?;
        if let Some(cursor) = &mut cursors[index] {
            match cursor.advance()? {
                Some(word) => heap.push(Reverse((word, index))),
                None => cursors[index] = None,
            }
        }
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    // 32 MiB of runs, and as much of a result, in 8 MiB.
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(8 << 20)
        .build()?;
    let runs = (0..RUNS)
        .map(|first| pager.pageout(&mut [(first..).step_by(16).take(RUN_LEN).collect::<Vec<_>>()]))
        .collect::<Result<Vec<_>, _>>()?;

    let late = pager.options().reuse(Reuse::Late);
    let mut chunk = Vec::with_capacity(CHUNK_LEN);
    let mut merged = Vec::new();
    merge(runs, |word| {
        chunk.push(word);
        if chunk.len() == CHUNK_LEN {
            merged.push(late.pageout(std::slice::from_mut(&mut chunk))?);
        }
        Ok(())
    })?;
    assert!(chunk.is_empty(), "all runs together are whole chunks");

    let mut expected = 0;
    for handle in merged {
        pager.take(handle, &mut chunk)?;
        for word in &chunk {
            assert_eq!(*word, expected);
            expected += 1;
        }
    }
    assert_eq!(expected, RUNS * RUN_LEN as u64);
    println!("{expected} words in order\n{}", pager.stats());
    Ok(())
}
