//! [`Meter`]: what encoding, decoding and the device really take, as moving averages.

use std::time::Duration;

use super::Scheme;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

const SCHEMES: usize = Scheme::ALL.len();

/// What a new measurement weighs against all those before it.
const WEIGHT: f64 = 0.125;

/// As many times the average is the most that a measurement of the processor counts for.
const MOST_TIMES: f64 = 2.0;

/// Bytes that a device moves in the time that a call takes besides. So the time of
/// small transfers, which is all that is left of payloads that shrink well, tells of
/// the time that large ones would take.
const CALL_BYTES: usize = 64 << 10;

/// Decoding fewer bytes takes more time for everything else.
const LEAST_DECODED_BYTES: usize = 16 << 10;

/// Nanoseconds to a byte that a device is taken to need before the first transfer.
const DEVICE_NANOS: f64 = 0.5;

/// Nanoseconds to a plain byte in and out, by scheme, until they are measured: those
/// of a processor of 2023.
const USUAL_NANOS: [(f64, f64); SCHEMES] = [
    (0.07, 0.05),
    (0.12, 0.05),
    (0.22, 0.09),
    (0.13, 0.06),
    (0.35, 0.12),
    (1.6, 0.6),
    (3.0, 1.2),
];

/// A moving average. Relaxed throughout: an estimate, of which a lost update does not
/// matter.
#[derive(Debug)]
struct Average(AtomicU64);

impl Average {
    /// Not measured yet.
    fn new() -> Self {
        Self(AtomicU64::new(f64::NAN.to_bits()))
    }

    fn get(&self) -> Option<f64> {
        // Relaxed: see the type.
        let value = f64::from_bits(self.0.load(Ordering::Relaxed));
        (!value.is_nan()).then_some(value)
    }

    fn add(&self, value: f64) {
        let average = match self.get() {
            Some(average) => average + (value - average) * WEIGHT,
            None => value,
        };
        self.set(average);
    }

    /// The same for what takes time of the processor, and `usual` as long as nothing is
    /// known: one that was interrupted tells little, and what is not chosen for its sake
    /// would not be measured again.
    fn add_likely(&self, usual: f64, value: f64) {
        let average = self.get().unwrap_or(usual);
        let value = value.min(MOST_TIMES * average);
        self.set(average + (value - average) * WEIGHT);
    }

    fn set(&self, average: f64) {
        // Relaxed: see the type.
        self.0.store(average.to_bits(), Ordering::Relaxed);
    }
}

/// One direction of the device.
#[derive(Debug)]
pub(super) struct Direction {
    /// Nanoseconds to a byte, had each transfer the device for itself.
    nanos: Average,
    under_way: AtomicUsize,
}

/// A transfer that is under way.
pub(super) struct Transfer<'a> {
    direction: &'a Direction,
    start: std::time::Instant,
    /// Transfers under way when this one began, itself included.
    depth: usize,
}

impl Direction {
    fn new() -> Self {
        Self {
            nanos: Average::new(),
            under_way: AtomicUsize::new(0),
        }
    }

    pub(super) fn begin(&self) -> Transfer<'_> {
        // Relaxed: a count for an estimate, which orders nothing.
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        Transfer {
            direction: self,
            start: std::time::Instant::now(),
            depth: before + 1,
        }
    }
}

impl Transfer<'_> {
    /// Says how many bytes have been moved, and learns in what time.
    pub(super) fn done(self, bytes: usize) -> Duration {
        // Relaxed: as in `begin`.
        let depth_now = self.direction.under_way.load(Ordering::Relaxed);
        let depth = (share(self.depth) + share(depth_now)) / 2.0;
        let time = self.start.elapsed();
        let nanos = nanos(time, bytes + CALL_BYTES);
        self.direction.nanos.add(nanos / depth.max(1.0));
        time
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        // Relaxed: as in `begin`.
        self.direction.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What everything takes, at this moment.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) writes: Direction,
    pub(super) reads: Direction,
    encode: [Average; SCHEMES],
    decode: [Average; SCHEMES],
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            writes: Direction::new(),
            reads: Direction::new(),
            encode: std::array::from_fn(|_| Average::new()),
            decode: std::array::from_fn(|_| Average::new()),
        }
    }

    pub(super) fn encoded(&self, scheme: Scheme, plain_bytes: usize, time: Duration) {
        if plain_bytes > 0 {
            let (usual, _) = USUAL_NANOS[scheme.index()];
            self.encode[scheme.index()].add_likely(usual, nanos(time, plain_bytes));
        }
    }

    pub(super) fn decoded(&self, scheme: Scheme, plain_bytes: usize, time: Duration) {
        if plain_bytes >= LEAST_DECODED_BYTES {
            let (_, usual) = USUAL_NANOS[scheme.index()];
            self.decode[scheme.index()].add_likely(usual, nanos(time, plain_bytes));
        }
    }

    /// Nanoseconds that the device has to do for a stored byte, to write it and to read it
    /// again. Those before it in a queue take what they take, whatever becomes of it.
    pub(super) fn device_nanos(&self) -> f64 {
        let write = self.writes.nanos.get().unwrap_or(DEVICE_NANOS);
        write + self.reads.nanos.get().unwrap_or(write)
    }

    /// Nanoseconds to encode a plain byte by `scheme` and to decode it again.
    pub(super) fn scheme_nanos(&self, scheme: Scheme) -> f64 {
        let (usual_in, usual_out) = USUAL_NANOS[scheme.index()];
        let encode = self.encode[scheme.index()].get().unwrap_or(usual_in);
        encode + self.decode[scheme.index()].get().unwrap_or(usual_out)
    }
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn nanos(time: Duration, bytes: usize) -> f64 {
    time.as_nanos() as f64 / bytes as f64
}

#[allow(clippy::cast_precision_loss, reason = "a few transfers")]
fn share(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn an_average_begins_with_the_first_and_follows() {
        let average = Average::new();
        assert_eq!(average.get(), None);
        average.add(8.0);
        assert!(average.get().is_some_and(|value| close(value, 8.0)));
        average.add(16.0);
        assert!(average.get().is_some_and(|value| close(value, 9.0)));
        for _ in 0..100 {
            average.add(1.0);
        }
        assert!(average.get().is_some_and(|value| value < 1.01));
    }

    #[test]
    fn one_that_was_interrupted_tells_little_and_many_are_believed() {
        let meter = Meter::new();
        let usual = meter.scheme_nanos(Scheme::Pack);
        meter.encoded(Scheme::Pack, 1 << 20, Duration::from_millis(50));
        assert!(meter.scheme_nanos(Scheme::Pack) < 1.2 * usual);
        for _ in 0..200 {
            meter.encoded(Scheme::Pack, 1 << 20, Duration::from_millis(50));
        }
        assert!(meter.scheme_nanos(Scheme::Pack) > 40.0);
    }

    #[test]
    fn a_byte_costs_what_the_device_does_for_it_however_long_the_queue_is() {
        let meter = Meter::new();
        assert!(close(meter.device_nanos(), 2.0 * DEVICE_NANOS));
        let queue = [meter.writes.begin(), meter.writes.begin()];
        assert!(close(meter.device_nanos(), 2.0 * DEVICE_NANOS));
        drop(queue);
        let quick = meter.writes.begin();
        quick.done(1 << 30);
        assert!(
            meter.device_nanos() < DEVICE_NANOS,
            "it is faster than that"
        );
    }
}
