//! Many threads look up rows of columns that do not fit into memory together. Each looks at a
//! range where it lies, without a copy of its own; what several of them look at is there once.
//!
//!     cargo run -p pager-out-of-core --example readers

use std::thread;

use pager::{BackendKind, Error, Handle, Pager};

const THREADS: u32 = 8;
const LOOKUPS: u32 = 2_000;
const COLUMNS: usize = 24;
/// Rows of a column: 1 MiB.
const ROWS: usize = 1 << 17;
/// Rows of a page, which is what a lookup looks at: 32 KiB.
const PAGE_ROWS: usize = 1 << 12;

/// What is in a row of a column.
fn cell(column: usize, row: usize) -> u64 {
    ((column as u64) << 32) | row as u64
}

/// Numbers that differ enough: a linear congruential generator without its low bits.
fn random(state: &mut u32) -> usize {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*state >> 8) as usize
}

/// Looks up rows at random, and says how many.
fn reader(columns: &[Handle], seed: u32) -> Result<u32, Error> {
    let mut state = seed;
    let mut seen = 0;
    for _ in 0..LOOKUPS {
        // Half of the lookups go to a quarter of the columns.
        let busy = COLUMNS / [1, 4][random(&mut state) % 2];
        let column = random(&mut state) % busy;
        let row = random(&mut state) % ROWS;
        let page = row / PAGE_ROWS * PAGE_ROWS;
        let view = columns[column].view(page..page + PAGE_ROWS)?;
        // The view may be kept, cloned and sent to other threads: it holds its memory.
        assert_eq!(view[row - page], cell(column, row));
        seen += 1;
    }
    Ok(seen)
}

fn main() -> anyhow::Result<()> {
    // 24 MiB of columns in 8 MiB.
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(8 << 20)
        .build()?;
    let columns = (0..COLUMNS)
        .map(|column| {
            let rows: Vec<u64> = (0..ROWS).map(|row| cell(column, row)).collect();
            pager.pageout(&mut [rows])
        })
        .collect::<Result<Vec<_>, _>>()?;

    let columns = &columns;
    let seen: u32 = thread::scope(|scope| {
        let readers: Vec<_> = (0..THREADS)
            .map(|seed| scope.spawn(move || reader(columns, seed)))
            .collect();
        let seen = readers.into_iter().map(|reader| {
            let outcome = reader.join();
            outcome.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
        });
        seen.sum::<Result<u32, _>>()
    })?;
    assert_eq!(seen, THREADS * LOOKUPS);

    let stats = pager.stats();
    assert!(stats.residency.cache_hits > 0, "some were there already");
    // The budget, and what two transfers need beyond it.
    assert!(stats.residency.peak_held_bytes <= 16 << 20);
    println!("{seen} lookups\n{stats}");
    Ok(())
}
