//! Loads that missed the translation buffer, where the machine counts them.
//!
//! Virtual machines often have no counters, and a kernel may keep them to itself; then there is no
//! figure, which is not a figure of zero. The kernel's own misses are left out: an ordinary user may
//! not count them.

#[cfg(target_os = "linux")]
use std::sync::{Mutex, OnceLock, PoisonError};

#[cfg(target_os = "linux")]
use perf_event::events::{Cache, CacheOp, CacheResult, WhichCache};
#[cfg(target_os = "linux")]
use perf_event::{Builder, Counter};

/// Counts this thread and all that begin after the first call. None where nothing is counted.
#[cfg(target_os = "linux")]
#[must_use]
pub fn load_misses() -> Option<u64> {
    static COUNTER: OnceLock<Option<Mutex<Counter>>> = OnceLock::new();
    let counter = COUNTER.get_or_init(|| begin().ok().map(Mutex::new));
    let mut counter = counter
        .as_ref()?
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    counter.read().ok()
}

#[cfg(target_os = "linux")]
fn begin() -> std::io::Result<Counter> {
    let misses = Cache {
        which: WhichCache::DTLB,
        operation: CacheOp::READ,
        result: CacheResult::MISS,
    };
    let mut builder = Builder::new().kind(misses);
    builder.inherit(true);
    let mut counter = builder.build()?;
    counter.enable()?;
    Ok(counter)
}

/// Nobody counts.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn load_misses() -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::load_misses;

    #[test]
    fn misses_grow_where_they_are_counted() {
        let Some(before) = load_misses() else {
            println!("skipped: this machine does not count misses of the translation buffer");
            return;
        };
        let memory = vec![1_u8; 256 << 20];
        let sum: u64 = (0..memory.len())
            .step_by(4096)
            .map(|at| u64::from(memory[at]))
            .sum();
        assert_eq!(sum, 65536);
        assert!(load_misses() > Some(before));
    }
}
