//! [`CodecStats`]: what a codec has done, for whoever wants to know.

use std::fmt;
use std::time::Duration;

use super::{Codec, Scheme};
use crate::sync::{AtomicU64, Ordering};

const SCHEMES: usize = Scheme::ALL.len();

/// What was encoded by one scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SchemeStats {
    /// Payloads that it was chosen for.
    pub payloads: u64,
    /// Bytes of them before.
    pub plain_bytes: u64,
    /// Bytes of them after, blocks that were stored as they are included.
    pub stored_bytes: u64,
    /// Time that encoding them took, on all threads.
    pub encode_time: Duration,
    /// Bytes that were decoded.
    pub decoded_bytes: u64,
    /// Time that decoding them took, on all threads.
    pub decode_time: Duration,
}

/// What a [`Compressed`](super::Compressed) backend has done since it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CodecStats {
    /// What it was told to do.
    pub codec: Codec,
    /// By scheme, in the order of [`Scheme::ALL`].
    pub schemes: [SchemeStats; SCHEMES],
    /// Payloads that were stored as they are, and their bytes.
    pub passed_payloads: u64,
    /// Bytes of payloads that were stored as they are.
    pub passed_bytes: u64,
    /// Of those, payloads that a scheme was chosen for and did not shrink.
    pub gave_up_payloads: u64,
    /// Times that all schemes were tried on a sample.
    pub trials: u64,
    /// Time that looking at samples took, trials included.
    pub choosing_time: Duration,
    /// Encoded bytes that are in memory now, and not stored.
    pub kept_bytes: u64,
    /// Encoded bytes that ever stayed in memory at first.
    pub came_bytes: u64,
    /// Of those, bytes that were stored later.
    pub moved_bytes: u64,
    /// Encoded bytes that were read from memory.
    pub kept_read_bytes: u64,
    /// Encoded bytes that were read from the backend.
    pub stored_read_bytes: u64,
}

impl CodecStats {
    /// What was encoded by `scheme`.
    #[must_use]
    pub fn of(&self, scheme: Scheme) -> SchemeStats {
        self.schemes[scheme.index()]
    }

    /// Adds what another layer has done.
    pub fn add(&mut self, more: &Self) {
        for (sum, more) in self.schemes.iter_mut().zip(&more.schemes) {
            sum.payloads += more.payloads;
            sum.plain_bytes += more.plain_bytes;
            sum.stored_bytes += more.stored_bytes;
            sum.encode_time += more.encode_time;
            sum.decoded_bytes += more.decoded_bytes;
            sum.decode_time += more.decode_time;
        }
        self.passed_payloads += more.passed_payloads;
        self.passed_bytes += more.passed_bytes;
        self.gave_up_payloads += more.gave_up_payloads;
        self.trials += more.trials;
        self.choosing_time += more.choosing_time;
        self.kept_bytes += more.kept_bytes;
        self.came_bytes += more.came_bytes;
        self.moved_bytes += more.moved_bytes;
        self.kept_read_bytes += more.kept_read_bytes;
        self.stored_read_bytes += more.stored_read_bytes;
    }

    /// Bytes of all payloads that were stored, before.
    #[must_use]
    pub fn plain_bytes(&self) -> u64 {
        self.passed_bytes + self.schemes.iter().map(|it| it.plain_bytes).sum::<u64>()
    }

    /// Bytes of all payloads that were stored, after.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.passed_bytes + self.schemes.iter().map(|it| it.stored_bytes).sum::<u64>()
    }
}

impl fmt::Display for CodecStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plain, stored) = (self.plain_bytes(), self.stored_bytes());
        write!(f, "codec {}: {plain} bytes became {stored}", self.codec)?;
        for scheme in Scheme::ALL {
            let of = self.of(scheme);
            if of.payloads > 0 {
                let (plain, stored) = (of.plain_bytes, of.stored_bytes);
                write!(f, "; {scheme} {plain} became {stored}")?;
            }
        }
        if self.passed_bytes > 0 {
            write!(f, "; {} stored as they are", self.passed_bytes)?;
        }
        if self.came_bytes > 0 {
            let (came, moved) = (self.came_bytes, self.moved_bytes);
            write!(
                f,
                "; {came} kept in memory at first, {moved} of them stored later"
            )?;
        }
        Ok(())
    }
}

/// The counters behind it. Relaxed throughout: statistics.
#[derive(Debug, Default)]
pub(super) struct Counters {
    schemes: [SchemeCounters; SCHEMES],
    pub(super) passed_payloads: Counter,
    pub(super) passed_bytes: Counter,
    pub(super) gave_up_payloads: Counter,
    pub(super) trials: Counter,
    pub(super) choosing_nanos: Counter,
}

#[derive(Debug, Default)]
pub(super) struct SchemeCounters {
    pub(super) payloads: Counter,
    pub(super) plain_bytes: Counter,
    pub(super) stored_bytes: Counter,
    pub(super) encode_nanos: Counter,
    pub(super) decoded_bytes: Counter,
    pub(super) decode_nanos: Counter,
}

/// What the tier has done.
#[derive(Debug, Default)]
pub(super) struct TierCounters {
    /// Portions that ever came, and their bytes.
    pub(super) came: Counter,
    pub(super) came_bytes: Counter,
    /// Bytes in memory now.
    pub(super) kept_bytes: Counter,
    /// Bytes that went on to the backend.
    pub(super) moved_bytes: Counter,
    /// Bytes that were read from memory, and from the backend.
    pub(super) hit_bytes: Counter,
    pub(super) missed_bytes: Counter,
    /// What either kind of read has cost since that was last looked at.
    pub(super) hit_nanos: Counter,
    pub(super) missed_nanos: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: usize) {
        // Relaxed: a statistic.
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, amount: usize) {
        // Relaxed: a statistic.
        self.0.fetch_sub(amount as u64, Ordering::Relaxed);
    }

    pub(super) fn add_time(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Relaxed: a statistic.
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Counts one more, and returns how many there were.
    pub(super) fn add_one(&self) -> u64 {
        // Relaxed: a statistic.
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// Begins again from zero.
    pub(super) fn take(&self) -> u64 {
        // Relaxed: a statistic.
        self.0.swap(0, Ordering::Relaxed)
    }

    pub(super) fn get(&self) -> u64 {
        // Relaxed: a statistic.
        self.0.load(Ordering::Relaxed)
    }

    fn time(&self) -> Duration {
        Duration::from_nanos(self.get())
    }
}

impl Counters {
    pub(super) fn of(&self, scheme: Scheme) -> &SchemeCounters {
        &self.schemes[scheme.index()]
    }

    pub(super) fn stats(&self, codec: Codec) -> CodecStats {
        CodecStats {
            codec,
            schemes: std::array::from_fn(|index| {
                let of = &self.schemes[index];
                SchemeStats {
                    payloads: of.payloads.get(),
                    plain_bytes: of.plain_bytes.get(),
                    stored_bytes: of.stored_bytes.get(),
                    encode_time: of.encode_nanos.time(),
                    decoded_bytes: of.decoded_bytes.get(),
                    decode_time: of.decode_nanos.time(),
                }
            }),
            passed_payloads: self.passed_payloads.get(),
            passed_bytes: self.passed_bytes.get(),
            gave_up_payloads: self.gave_up_payloads.get(),
            trials: self.trials.get(),
            choosing_time: self.choosing_nanos.time(),
            ..CodecStats::default()
        }
    }
}
