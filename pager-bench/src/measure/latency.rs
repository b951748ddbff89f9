//! [`Latencies`]: how long each operation took, in histograms.

use std::time::Instant;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Operations that are timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `pageout` while the chains are built.
    BuildPageout,
    /// `pageout` of a merged chunk.
    Pageout,
    /// `take` of an input chunk.
    Take,
    /// `prefetch` of an input chunk.
    Prefetch,
    /// Dropping a handle.
    Drop,
    /// `read_at`.
    Read,
}

const OPERATIONS: usize = Operation::Read as usize + 1;

/// One histogram of nanoseconds for each operation, to three digits.
#[derive(Debug, Clone)]
pub struct Latencies([Histogram<u64>; OPERATIONS]);

impl Default for Latencies {
    fn default() -> Self {
        Self(std::array::from_fn(|_| {
            Histogram::new(3).expect("three digits are within what a histogram offers")
        }))
    }
}

/// Percentiles of one operation, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How often it ran.
    pub count: u64,
    /// What a call took on average.
    #[serde(default)]
    pub mean: f64,
    /// Half of the calls took at most this.
    pub p50: f64,
    /// 99 of 100 calls took at most this.
    pub p99: f64,
    /// 999 of 1000 calls took at most this.
    pub p999: f64,
    /// The longest call.
    pub max: f64,
}

impl Latencies {
    /// Times `work`.
    pub fn time<T>(&mut self, operation: Operation, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.record_ns(operation, nanos);
        done
    }

    /// Adds one call.
    pub fn record_ns(&mut self, operation: Operation, nanos: u64) {
        // Cannot fail: the histogram grows to whatever is recorded.
        let _ = self.0[operation as usize].record(nanos);
    }

    /// Adds what another thread recorded.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.add(theirs)
                .expect("a histogram that resizes takes any other of its precision");
        }
    }

    /// Percentiles of one operation.
    #[must_use]
    pub fn summary(&self, operation: Operation) -> Summary {
        let histogram = &self.0[operation as usize];
        let micros = |nanos: u64| nanos as f64 / 1e3;
        Summary {
            count: histogram.len(),
            mean: if histogram.is_empty() {
                0.0
            } else {
                histogram.mean() / 1e3
            },
            p50: micros(histogram.value_at_quantile(0.5)),
            p99: micros(histogram.value_at_quantile(0.99)),
            p999: micros(histogram.value_at_quantile(0.999)),
            max: micros(histogram.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_threads_add_up() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        for micros in 1..=500 {
            one.record_ns(Operation::Take, micros * 1000);
            other.record_ns(Operation::Take, (micros + 500) * 1000);
        }
        one.add(&other);
        let summary = one.summary(Operation::Take);
        assert_eq!(summary.count, 1000);
        assert!((summary.p50 - 500.0).abs() < 1.0, "{summary:?}");
        assert!((summary.p999 - 999.0).abs() < 2.0, "{summary:?}");
        assert!(summary.max >= 1000.0);
        assert!((summary.mean - 500.5).abs() < 1.0, "{summary:?}");
        assert_eq!(one.summary(Operation::Drop), Summary::default());
    }
}
