//! [`Sampler`]: the memory of the process over time.
//!
//! The kernel keeps a high-water mark of all memory, page cache mapped in and
//! all, and none of the anonymous part. So a thread looks every few
//! milliseconds; a peak shorter than that may be missed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle, Thread};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::proc;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// Samples that are kept; when there are more, each two become one.
const SAMPLES_AT_MOST: usize = 512;

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watched {
    /// The most anonymous memory.
    pub peak_anon_bytes: u64,
    /// All memory over time, in the order of time.
    pub samples: Vec<Sample>,
}

/// The most memory that was seen in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds from the beginning to the beginning of the stretch.
    pub at_s: f64,
    /// Bytes in RAM, anonymous and mapped.
    pub rss_bytes: u64,
}

/// Watches the memory of the process.
#[derive(Debug)]
pub struct Sampler {
    begun: Instant,
    watched: Mutex<Watched>,
    is_over: AtomicBool,
}

impl Sampler {
    /// Runs `work` while a thread watches; returns its result and what was seen.
    pub fn watch<T>(work: impl FnOnce() -> T) -> (T, Watched) {
        let sampler = Self {
            begun: Instant::now(),
            watched: Mutex::default(),
            is_over: AtomicBool::new(false),
        };
        let done = thread::scope(|scope| {
            let _stop = Stop(&sampler, sampler.start(scope).thread().clone());
            work()
        });
        let watched = sampler.watched.into_inner();
        (done, watched.unwrap_or_else(PoisonError::into_inner))
    }

    fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> ScopedJoinHandle<'scope, ()> {
        scope.spawn(|| {
            loop {
                self.look();
                // Relaxed: a flag that publishes nothing; the look before it was
                // taken makes sure that even the shortest work is seen once.
                if self.is_over.load(Ordering::Relaxed) {
                    return;
                }
                thread::park_timeout(INTERVAL);
            }
        })
    }

    fn look(&self) {
        let at_s = self.begun.elapsed().as_secs_f64();
        let (anon_bytes, rss_bytes) = proc::rss_bytes();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.peak_anon_bytes = watched.peak_anon_bytes.max(anon_bytes);
        watched.add(Sample { at_s, rss_bytes });
    }
}

impl Watched {
    fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
        if self.samples.len() >= SAMPLES_AT_MOST {
            let pairs = self.samples.chunks(2).map(|pair| Sample {
                at_s: pair[0].at_s,
                rss_bytes: pair.iter().map(|s| s.rss_bytes).max().unwrap_or(0),
            });
            self.samples = pairs.collect();
        }
    }
}

/// Ends the watch also when the work panics, or the scope would wait for ever.
struct Stop<'a>(&'a Sampler, Thread);

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
    fn the_peak_covers_what_the_work_held_and_time_goes_on() {
        let (len, watched) = Sampler::watch(|| {
            let memory = vec![1u8; 32 << 20];
            thread::sleep(5 * INTERVAL);
            memory.len()
        });
        assert_eq!(len, 32 << 20);
        assert!(watched.peak_anon_bytes >= 32 << 20, "{watched:?}");
        assert!(watched.samples.iter().any(|s| s.rss_bytes >= 32 << 20));
        assert!(watched.samples.is_sorted_by_key(|s| s.at_s));
    }

    #[test]
    fn a_long_watch_keeps_its_peaks_and_few_samples() {
        let mut watched = Watched::default();
        for at in 0..100_000_u32 {
            let rss_bytes = if at == 77_777 { 9 } else { 1 };
            watched.add(Sample {
                at_s: f64::from(at),
                rss_bytes,
            });
            assert!(watched.samples.len() < SAMPLES_AT_MOST);
        }
        assert_eq!(watched.samples[0].at_s, 0.0);
        assert_eq!(watched.samples.iter().map(|s| s.rss_bytes).max(), Some(9));
    }
}
