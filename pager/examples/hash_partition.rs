//! Grouping more rows than memory has room for: rows are spread over partitions by the hash of
//! their key, partitions leave memory in chunks, and come back one after the other to be summed
//! up, each small enough for a table of its own.
//!
//!     cargo run -p pager-out-of-core --example hash_partition

use std::collections::HashMap;

use pager::{BackendKind, Error, Handle, Pager};

/// A key and a value.
type Row = [u64; 2];

const PARTITIONS: usize = 16;
/// Rows that a partition collects before they go out: 256 KiB.
const CHUNK_ROWS: usize = (256 << 10) / size_of::<Row>();
const ROWS: u64 = 2_000_000;
const KEYS: u64 = 50_000;

/// One partition: rows that are paged out, and rows that are still collected.
#[derive(Default)]
struct Partition {
    chunks: Vec<Handle<Row>>,
    collected: Vec<Row>,
}

impl Partition {
    fn push(&mut self, pager: &Pager, row: Row) -> Result<(), Error> {
        self.collected.push(row);
        if self.collected.len() == CHUNK_ROWS {
            self.chunks
                .push(pager.pageout(std::slice::from_mut(&mut self.collected))?);
            // What comes back may be the buffer of a chunk that has left memory.
            self.collected.reserve_exact(CHUNK_ROWS);
        }
        Ok(())
    }

    /// The sum of the values of each key.
    fn sums(self, pager: &Pager) -> Result<HashMap<u64, u64>, Error> {
        let mut sums = HashMap::new();
        let mut rows = self.collected;
        let mut chunks = self.chunks.into_iter().peekable();
        loop {
            for [key, value] in &rows {
                *sums.entry(*key).or_default() += value;
            }
            let Some(chunk) = chunks.next() else {
                return Ok(sums);
            };
            // The next one is read while this one is summed up.
            if let Some(next) = chunks.peek() {
                next.prefetch();
            }
            pager.take(chunk, &mut rows)?;
        }
    }
}

/// Which partition a key belongs to, by the upper bits of its hash.
fn partition_of(key: u64) -> usize {
    let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::from(hash.to_be_bytes()[0]) % PARTITIONS
}

fn main() -> anyhow::Result<()> {
    // 30 MiB of rows in 4 MiB.
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(4 << 20)
        .build()?;

    let mut partitions: Vec<Partition> = Vec::new();
    partitions.resize_with(PARTITIONS, Partition::default);
    for number in 0..ROWS {
        let key = number % KEYS;
        partitions[partition_of(key)].push(&pager, [key, number])?;
    }

    let mut keys = 0;
    for partition in partitions {
        for (key, sum) in partition.sums(&pager)? {
            // key, key + KEYS, key + 2 * KEYS, …
            let times = ROWS / KEYS;
            assert_eq!(sum, times * key + KEYS * (times * (times - 1) / 2));
            keys += 1;
        }
    }
    assert_eq!(keys, KEYS);
    let stats = pager.stats();
    assert!(stats.residency.written_bytes > 0, "it did not fit");
    assert_eq!(stats.total.live_handles, 0);
    println!("{stats}");
    Ok(())
}
