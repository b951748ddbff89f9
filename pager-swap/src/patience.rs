//! [`Patience`]: how hard to try, learnt from what page-outs have achieved.
//!
//! Without swap every page-out is for nothing, and worse: the kernel splits the
//! huge page before it finds out. So after some failures in a row retries stop,
//! and after more of them most payloads are left alone, with one now and then to
//! find out whether swap has come back. A single success restores everything.

use std::sync::atomic::{AtomicU32, Ordering};

/// Failures in a row after which there are no retries.
const RETRY_FAILURES: u32 = 4;
/// Failures in a row after which most payloads are left alone.
const SKIP_FAILURES: u32 = 16;
/// One of this many is tried then.
const PROBE_INTERVAL: u32 = 64;

/// What is to be done with one payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Page it out, and try again as often as this if part of it stays.
    Try { retry_count: u32 },
    /// Leave it: nothing has left memory for a long time.
    Leave,
}

/// Remembers failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Payloads in a row of which nothing left memory, saturating. Relaxed
    /// throughout, as for `asked`: a guess about the future orders nothing.
    failures: AtomicU32,
    /// Questions while failing.
    asked: AtomicU32,
}

impl Patience {
    /// What to do with the next payload, of which `retry_count` retries would
    /// be allowed.
    pub(crate) fn plan(&self, retry_count: u32) -> Plan {
        match self.failures.load(Ordering::Relaxed) {
            ..RETRY_FAILURES => Plan::Try { retry_count },
            RETRY_FAILURES..SKIP_FAILURES => Plan::Try { retry_count: 0 },
            _ if self
                .asked
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(PROBE_INTERVAL) =>
            {
                Plan::Try { retry_count: 0 }
            }
            _ => Plan::Leave,
        }
    }

    /// Learns whether anything of a payload left memory.
    pub(crate) fn learn(&self, left: bool) {
        let failures = self.failures.load(Ordering::Relaxed);
        let learnt = if left { 0 } else { failures.saturating_add(1) };
        if learnt != failures {
            self.failures.store(learnt, Ordering::Relaxed);
        }
    }

    /// Whether nothing has left memory for a long time.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= SKIP_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_end_retries_and_then_attempts() {
        let patience = Patience::default();
        assert_eq!(patience.plan(3), Plan::Try { retry_count: 3 });
        for _ in 0..RETRY_FAILURES {
            patience.learn(false);
        }
        assert_eq!(patience.plan(3), Plan::Try { retry_count: 0 });
        for _ in RETRY_FAILURES..SKIP_FAILURES {
            patience.learn(false);
        }
        let plans: Vec<_> = (0..2 * PROBE_INTERVAL).map(|_| patience.plan(3)).collect();
        let tried = plans.iter().filter(|plan| **plan != Plan::Leave).count();
        assert_eq!(tried, 2, "one probe in each interval");
        assert!(patience.is_exhausted());
    }

    #[test]
    fn one_success_restores_patience() {
        let patience = Patience::default();
        (0..100).for_each(|_| patience.learn(false));
        patience.learn(true);
        assert!(!patience.is_exhausted());
        assert_eq!(patience.plan(2), Plan::Try { retry_count: 2 });
    }
}
