//! A cache of columns with two bounds: so much memory, and so much altogether. A column that
//! was made once is not made again, also when it has left memory meanwhile. When the cache is
//! full, the column that nobody has asked for longest goes.
//!
//!     cargo run -p pager-out-of-core --example column_cache

use std::collections::HashMap;

use pager::{BackendKind, Error, Group, Handle, Pager, View};

const MIB: usize = 1 << 20;
const ROWS: u32 = 1 << 17;

struct Cache {
    pager: Pager,
    /// All columns together, with their quota.
    columns: Group,
    cached: HashMap<u32, Cached>,
    clock: u64,
    made: u32,
}

struct Cached {
    column: Handle<f64>,
    used_at: u64,
}

impl Cache {
    fn new(memory_bytes: usize, all_bytes: u64) -> Result<Self, Error> {
        Ok(Self {
            pager: Pager::builder()
                .backend(BackendKind::File)
                .budget_bytes(memory_bytes)
                .build()?,
            columns: Group::new("columns").quota_bytes(all_bytes),
            cached: HashMap::new(),
            clock: 0,
            made: 0,
        })
    }

    /// The column, to look at: in memory as long as the view lives.
    fn get(&mut self, name: u32) -> Result<View<f64>, Error> {
        self.clock += 1;
        let mut cached = match self.cached.remove(&name) {
            Some(cached) => cached,
            None => {
                self.made += 1;
                let column = self.keep(expensive(name))?;
                Cached { column, used_at: 0 }
            }
        };
        cached.used_at = self.clock;
        let view = cached.column.view(0..cached.column.len());
        self.cached.insert(name, cached);
        view
    }

    /// Hands a column over, and lets old ones go until there is room.
    fn keep(&mut self, column: Vec<f64>) -> Result<Handle<f64>, Error> {
        let mut chunks = [column];
        loop {
            let paged_out = self
                .pager
                .options()
                .group(&self.columns)
                .pageout(&mut chunks);
            match paged_out {
                Err(Error::GroupQuotaExceeded { .. }) if !self.cached.is_empty() => {
                    let oldest = self.cached.iter().min_by_key(|(_, cached)| cached.used_at);
                    let oldest = oldest.map(|(name, _)| *name);
                    // Dropping the handle is all: memory and disk are free again.
                    oldest.and_then(|name| self.cached.remove(&name));
                }
                outcome => return outcome,
            }
        }
    }
}

/// What is worth being cached.
fn expensive(name: u32) -> Vec<f64> {
    (0..ROWS)
        .map(|row| f64::from(name) + f64::from(row))
        .collect()
}

fn main() -> anyhow::Result<()> {
    // A column is 1 MiB: 8 are in memory, 40 are in the cache.
    let mut cache = Cache::new(8 * MIB, 40 << 20)?;
    for round in 0..3 {
        for name in 0..32 {
            let column = cache.get(name)?;
            assert_eq!(column[1000], f64::from(name) + 1000.0, "round {round}");
        }
    }
    assert_eq!(cache.made, 32, "none was made twice");
    let held = cache.pager.stats().residency.peak_held_bytes;
    // The budget, and what two transfers need beyond it.
    assert!(held <= 16 << 20, "{held} bytes in memory");

    // More than the cache may hold: the oldest went, and are made again.
    for name in 32..48 {
        cache.get(name)?;
    }
    assert_eq!(cache.cached.len(), 40);
    assert!(!cache.cached.contains_key(&0) && cache.cached.contains_key(&31));
    cache.get(0)?;
    assert_eq!(cache.made, 49);
    println!("{}", cache.pager.stats());
    Ok(())
}
