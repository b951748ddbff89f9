//! [`Loads`]: how busy each directory is, how fast, and whether it can be used; from
//! that, which one takes the next payload. Reads no clock and makes no call: it is told.
//!
//! A device's speed is what came to its end there over the time in which anything was
//! under way: single transfers tell little, for devices and throttles let them through
//! in bursts. A transfer counts as 64 KiB more than it has, so that small ones tell as
//! much as large ones. What was measured is believed less the longer ago it was, by half
//! every two seconds, so that a device that was slow once is tried again; one that does
//! not answer is as slow as its oldest transfer says.

use std::time::Duration;

/// What a transfer costs besides its bytes, in bytes.
const CALL_BYTES: u64 = 64 << 10;

/// What is measured over: when so much time was busy, all that was before counts half.
const WINDOW: Duration = Duration::from_secs(2);

/// A device whose oldest transfer takes so many times what all under way should take does
/// not answer as it did.
const PATIENCE_TIMES: f64 = 4.0;

/// Directories in which a payload is through about as soon, by so many times, take turns:
/// what is written in turn can be read side by side.
const ALIKE_TIMES: f64 = 1.25;

/// Taken for directories that were never measured: less than any that was, so that they
/// are, and something, so that several share.
const UNKNOWN_NANOS: f64 = 1e-6;

const HALF_LIFE: Duration = Duration::from_secs(2);

/// How long what failed is left out: at first, and at most, doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// As many times slower than the fastest is slow beyond reason, as statistics say it.
const SLOW_TIMES: f64 = 10.0;

/// Whether a directory takes payloads at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum DirectoryState {
    /// It does.
    InUse,
    /// It is more than ten times slower than the fastest: it gets what the others leave.
    Slow,
    /// It had no room, on its medium or in its quota. Smaller payloads may still fit; it
    /// is tried again when as much was freed there, or after a while.
    Full,
    /// The last transfer there failed. It is tried again after a while.
    Failing,
}

/// Why a directory is left out, and until when.
#[derive(Debug, Clone, Copy)]
struct Out {
    /// What did not fit and has not been freed since; `None` if it fails.
    missing_bytes: Option<u64>,
    until: Duration,
    backoff: Duration,
}

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) member: usize,
    bytes: u64,
    cost_bytes: u64,
    begun: Duration,
}

/// One directory.
#[derive(Debug)]
pub(super) struct Load {
    weight: u32,
    /// When it was chosen last, by the count of all.
    turn: u64,
    cost_bytes: u64,
    pub(super) in_flight_bytes: u64,
    /// When those under way began.
    begun: Vec<Duration>,
    /// What came to its end, and the time for that in which something was under way.
    ended_bytes: f64,
    busy_nanos: f64,
    /// Until when the latter is counted.
    measured: Duration,
    out: Option<Out>,
    pub(super) page_outs: u64,
    pub(super) paged_out_bytes: u64,
    pub(super) failures: u64,
    pub(super) last_error: Option<String>,
}

impl Load {
    fn new(weight: u32) -> Self {
        Self {
            weight,
            turn: 0,
            cost_bytes: 0,
            in_flight_bytes: 0,
            begun: Vec::new(),
            ended_bytes: 0.0,
            busy_nanos: 0.0,
            measured: Duration::ZERO,
            out: None,
            page_outs: 0,
            paged_out_bytes: 0,
            failures: 0,
            last_error: None,
        }
    }

    /// Nanoseconds for a byte, as they were measured.
    fn nanos(&self) -> Option<f64> {
        let nanos = self.busy_nanos / self.ended_bytes;
        (self.ended_bytes > 0.0).then_some(nanos.max(UNKNOWN_NANOS))
    }

    /// The same, as far as is known now.
    fn nanos_at(&self, now: Duration) -> f64 {
        let known = self.nanos().unwrap_or(UNKNOWN_NANOS);
        let Some(oldest) = self.begun.iter().min() else {
            let idle = now.saturating_sub(self.measured).as_secs_f64();
            return known * 0.5f64.powf(idle / HALF_LIFE.as_secs_f64());
        };
        let age_nanos = nanos(now.saturating_sub(*oldest));
        let queue_bytes = float(self.cost_bytes.max(1));
        match age_nanos > PATIENCE_TIMES * queue_bytes * known {
            true => age_nanos / queue_bytes,
            false => known,
        }
    }

    /// Counts the time until now, if anything is under way.
    fn count_time(&mut self, now: Duration) {
        if !self.begun.is_empty() {
            self.busy_nanos += nanos(now.saturating_sub(self.measured));
        }
        self.measured = self.measured.max(now);
        if self.busy_nanos > nanos(WINDOW) {
            self.busy_nanos /= 2.0;
            self.ended_bytes /= 2.0;
        }
    }

    /// Nanoseconds until `cost_bytes` more would be through.
    fn queue_nanos(&self, now: Duration, cost_bytes: u64) -> f64 {
        let queue_bytes = float(self.cost_bytes + cost_bytes);
        queue_bytes * self.nanos_at(now) / f64::from(self.weight.max(1))
    }

    fn is_out_for(&self, now: Duration, bytes: u64) -> bool {
        self.out.is_some_and(|out| {
            let is_too_large = out.missing_bytes.is_none_or(|missing| bytes >= missing);
            is_too_large && now < out.until
        })
    }

    /// Measured bytes per second.
    pub(super) fn bytes_per_second(&self) -> Option<u64> {
        // Not more than any device does, so it can be counted.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and saturates"
        )]
        self.nanos().map(|nanos| (1e9 / nanos) as u64)
    }
}

/// What is known of all directories.
#[derive(Debug)]
pub(super) struct Loads {
    loads: Vec<Load>,
    /// How often one was chosen.
    turn: u64,
}

impl Loads {
    pub(super) fn new(weights: impl Iterator<Item = u32>) -> Self {
        Self {
            loads: weights.map(Load::new).collect(),
            turn: 0,
        }
    }

    pub(super) fn of(&self, member: usize) -> &Load {
        &self.loads[member]
    }

    /// Begins a page-out of `bytes` where it is through soonest, of those not `tried`
    /// yet; `None` if all were. What is left out is tried when nobody else is left, and
    /// a weight of zero only then, too.
    pub(super) fn begin_page_out(
        &mut self,
        now: Duration,
        bytes: u64,
        tried: &[usize],
    ) -> Option<Transfer> {
        let rank = |load: &Load| match load.is_out_for(now, bytes) {
            true => 2,
            false => u8::from(load.weight == 0),
        };
        let cost_bytes = bytes + CALL_BYTES;
        let untried = || {
            let untried = self.loads.iter().enumerate();
            untried.filter(|(member, _)| !tried.contains(member))
        };
        let best_rank = untried().map(|(_, load)| rank(load)).min()?;
        let queues = untried()
            .filter(|(_, load)| rank(load) == best_rank)
            .map(|(member, load)| (member, load.queue_nanos(now, cost_bytes)));
        let soonest = queues
            .clone()
            .map(|(_, nanos)| nanos)
            .fold(f64::MAX, f64::min);
        let (chosen, _) = queues
            .filter(|(_, nanos)| *nanos <= soonest * ALIKE_TIMES)
            .min_by_key(|(member, _)| self.loads[*member].turn)?;
        self.turn += 1;
        self.loads[chosen].turn = self.turn;
        if let Some(out) = &mut self.loads[chosen].out {
            // One tries; the others wait for what comes of it.
            out.until = out.until.max(now + out.backoff);
        }
        Some(self.begin(now, chosen, bytes))
    }

    /// Begins a transfer there.
    pub(super) fn begin(&mut self, now: Duration, member: usize, bytes: u64) -> Transfer {
        let load = &mut self.loads[member];
        load.count_time(now);
        let cost_bytes = bytes + CALL_BYTES;
        load.cost_bytes += cost_bytes;
        load.in_flight_bytes += bytes;
        load.begun.push(now);
        Transfer {
            member,
            bytes,
            cost_bytes,
            begun: now,
        }
    }

    fn end(&mut self, now: Duration, transfer: &Transfer) -> &mut Load {
        let load = &mut self.loads[transfer.member];
        load.count_time(now);
        load.cost_bytes -= transfer.cost_bytes;
        load.in_flight_bytes -= transfer.bytes;
        let began = load.begun.iter().position(|begun| *begun == transfer.begun);
        if let Some(index) = began {
            load.begun.swap_remove(index);
        }
        load
    }

    /// A page-out has come to its end.
    pub(super) fn paged_out(&mut self, now: Duration, transfer: &Transfer) {
        let load = self.moved(now, transfer);
        load.page_outs += 1;
        load.paged_out_bytes += transfer.bytes;
        load.out = None;
    }

    /// A transfer has come to its end.
    pub(super) fn moved(&mut self, now: Duration, transfer: &Transfer) -> &mut Load {
        let load = self.end(now, transfer);
        load.ended_bytes += float(transfer.cost_bytes);
        load
    }

    /// A transfer has failed for a reason that is not the directory's.
    pub(super) fn ended(&mut self, now: Duration, transfer: &Transfer) {
        self.end(now, transfer);
    }

    /// A transfer has failed, for want of room if `is_full`; the directory is left out
    /// for a while.
    pub(super) fn failed(
        &mut self,
        now: Duration,
        transfer: &Transfer,
        is_full: bool,
        error: String,
    ) {
        let load = self.end(now, transfer);
        let backoff = match load.out {
            // Who fails beside another one that fails has not tried again.
            Some(out) if transfer.begun < out.until.saturating_sub(out.backoff) => out.backoff,
            Some(out) => (out.backoff * 2).min(LONGEST_BACKOFF),
            None => FIRST_BACKOFF,
        };
        load.out = Some(Out {
            missing_bytes: is_full.then_some(transfer.bytes),
            until: now + backoff,
            backoff,
        });
        load.failures += 1;
        load.last_error = Some(error);
    }

    /// So many bytes were freed there.
    pub(super) fn freed(&mut self, member: usize, bytes: u64) {
        let load = &mut self.loads[member];
        if let Some(Out {
            missing_bytes: Some(missing_bytes),
            ..
        }) = &mut load.out
        {
            *missing_bytes = missing_bytes.saturating_sub(bytes);
            if *missing_bytes == 0 {
                load.out = None;
            }
        }
    }

    pub(super) fn state(&self, now: Duration, member: usize) -> DirectoryState {
        let load = &self.loads[member];
        if let Some(out) = load.out {
            return match out.missing_bytes {
                Some(_) => DirectoryState::Full,
                None => DirectoryState::Failing,
            };
        }
        let known = self.loads.iter().filter(|load| load.nanos().is_some());
        let fastest = known
            .map(|load| load.nanos_at(now))
            .fold(f64::MAX, f64::min);
        if load.nanos().is_some() && load.nanos_at(now) > fastest * SLOW_TIMES {
            DirectoryState::Slow
        } else {
            DirectoryState::InUse
        }
    }
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

#[allow(
    clippy::cast_precision_loss,
    reason = "an estimate: what 53 bits lose of a count of bytes is nothing"
)]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
#[path = "loads_tests.rs"]
mod tests;
