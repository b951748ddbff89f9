//! [`AnonSampler`]: the highest anonymous memory of the process.
//!
//! The kernel keeps a high-water mark of all memory, page cache mapped in and
//! all, and none of the anonymous part. So a thread looks every few
//! milliseconds; a peak shorter than that may be missed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle, Thread};
use std::time::Duration;

use super::proc;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// Watches [`proc::anon_rss_bytes`].
#[derive(Debug, Default)]
pub struct AnonSampler {
    peak_bytes: AtomicU64,
    is_over: AtomicBool,
}

impl AnonSampler {
    /// Runs `work` while a thread watches; returns its result and the peak.
    pub fn watch<T>(work: impl FnOnce() -> T) -> (T, u64) {
        let sampler = Self::default();
        let done = thread::scope(|scope| {
            let _stop = Stop(&sampler, sampler.start(scope).thread().clone());
            work()
        });
        // Relaxed: the end of the scope has joined the thread.
        (done, sampler.peak_bytes.load(Ordering::Relaxed))
    }

    fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> ScopedJoinHandle<'scope, ()> {
        scope.spawn(|| {
            loop {
                // Relaxed: a statistic with one writer.
                self.peak_bytes
                    .fetch_max(proc::anon_rss_bytes(), Ordering::Relaxed);
                // Relaxed: a flag that publishes nothing; the look before it was
                // taken makes sure that even the shortest work is seen once.
                if self.is_over.load(Ordering::Relaxed) {
                    return;
                }
                thread::park_timeout(INTERVAL);
            }
        })
    }
}

/// Ends the watch also when the work panics, or the scope would wait for ever.
struct Stop<'a>(&'a AnonSampler, Thread);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        // Relaxed: see the load; `unpark` orders it before the thread's next look.
        self.0.is_over.store(true, Ordering::Relaxed);
        self.1.unpark();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_covers_what_the_work_held() {
        let (len, peak_bytes) = AnonSampler::watch(|| {
            let memory = vec![1u8; 32 << 20];
            thread::sleep(5 * INTERVAL);
            memory.len()
        });
        assert_eq!(len, 32 << 20);
        assert!(peak_bytes >= 32 << 20, "{peak_bytes}");
    }
}
