//! [`Loads`]: how busy each directory is, how fast, and whether it can be used; from
//! that, which one takes the next payload. Reads no clock and makes no call: it is told.
//!
//! A device's speed is what came to its end there over the time in which anything was
//! under way: single transfers tell little, for devices and throttles let them through
//! in bursts. A transfer counts as 64 KiB more than it has, so that small ones tell as
//! much as large ones. What was measured is believed less the longer ago it was, by half every two seconds, so that a device that was slow
//! once is tried again; one that does not answer is as slow as its oldest transfer says.

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
mod tests {
    use super::*;

    const CHUNK: u64 = 2 << 20;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn loads(weights: &[u32]) -> Loads {
        Loads::new(weights.iter().copied())
    }

    /// Has a page-out of a chunk take so long there.
    fn measure(loads: &mut Loads, now: Duration, member: usize, took: Duration) {
        let transfer = loads.begin(now - took, member, CHUNK);
        loads.paged_out(now, &transfer);
    }

    fn chosen(loads: &mut Loads, now: Duration, bytes: u64) -> usize {
        loads.begin_page_out(now, bytes, &[]).unwrap().member
    }

    #[test]
    fn equal_directories_take_turns_also_before_they_were_measured() {
        for measured in [false, true] {
            let mut loads = loads(&[1, 1]);
            for member in (0..2).filter(|_| measured) {
                measure(&mut loads, ms(20), member, ms(10));
            }
            let mut counts = [0; 2];
            for _ in 0..8 {
                counts[chosen(&mut loads, ms(20), CHUNK)] += 1;
            }
            assert_eq!(counts, [4, 4]);
        }
    }

    #[test]
    fn the_shortest_queue_in_time_takes_the_next() {
        let mut loads = loads(&[1, 1]);
        measure(&mut loads, ms(100), 0, ms(10));
        measure(&mut loads, ms(100), 1, ms(30));
        let order: Vec<_> = (0..8).map(|_| chosen(&mut loads, ms(100), CHUNK)).collect();
        // Three to one, as fast as they are; a tie goes to the first.
        assert_eq!(order.iter().filter(|member| **member == 1).count(), 2);
        assert_eq!(order[..2], [0, 0]);
    }

    #[test]
    fn what_runs_beside_others_is_not_taken_for_slow() {
        let mut loads = loads(&[1]);
        let transfers: Vec<_> = (0..2).map(|_| loads.begin(ms(0), 0, CHUNK)).collect();
        // Both at once, in the time of two.
        for transfer in transfers {
            loads.paged_out(ms(20), &transfer);
        }
        let beside = loads.of(0).bytes_per_second().unwrap();
        let alone = (CHUNK + CALL_BYTES) * 100;
        assert!(beside.abs_diff(alone) < alone / 100, "{beside} and {alone}");
    }

    #[test]
    fn what_does_not_answer_is_avoided_and_what_was_slow_is_tried_again() {
        let mut loads = loads(&[1, 1]);
        measure(&mut loads, ms(100), 0, ms(10));
        measure(&mut loads, ms(100), 1, ms(10));
        let hung = loads.begin(ms(100), 0, CHUNK);
        for _ in 0..20 {
            assert_eq!(chosen(&mut loads, ms(2000), CHUNK), 1);
        }
        assert_eq!(loads.state(ms(2000), 0), DirectoryState::Slow);
        loads.paged_out(ms(3000), &hung);
        let mut loads = Loads::new([1, 1].into_iter());
        measure(&mut loads, ms(100), 0, ms(1));
        measure(&mut loads, ms(100), 1, ms(50));
        for second in 1..60 {
            let now = Duration::from_secs(second);
            let transfer = loads.begin_page_out(now, CHUNK, &[]).unwrap();
            if transfer.member == 1 {
                return assert!(second > 10, "only after a while");
            }
            loads.paged_out(now + ms(1), &transfer);
        }
        panic!("a slow one was never tried again");
    }

    #[test]
    fn what_fails_is_left_out_for_longer_each_time() {
        let mut loads = loads(&[1, 1]);
        let mut now = ms(0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let transfer = loads.begin_page_out(now, CHUNK, &[1]).unwrap();
            loads.failed(now, &transfer, false, "it is broken".to_owned());
            assert_eq!(loads.state(now, 0), DirectoryState::Failing);
            assert_eq!(chosen(&mut loads, now, 1), 1, "however small it is");
            let out = loads.of(0).out.unwrap();
            pauses.push(out.until - now);
            now = out.until;
        }
        assert_eq!(pauses[..3], [ms(100), ms(200), ms(400)]);
        assert_eq!(pauses.last(), Some(&LONGEST_BACKOFF));
        let transfer = loads.begin_page_out(now, CHUNK, &[1]).unwrap();
        loads.paged_out(now + ms(1), &transfer);
        assert_eq!(loads.state(now, 0), DirectoryState::InUse);
    }

    #[test]
    fn only_one_tries_what_had_failed() {
        let mut loads = loads(&[1, 1]);
        measure(&mut loads, ms(1000), 1, ms(500));
        let transfer = loads.begin(ms(1000), 0, CHUNK);
        loads.failed(ms(1000), &transfer, false, String::new());
        assert_eq!(chosen(&mut loads, ms(1200), CHUNK), 0);
        assert_eq!(chosen(&mut loads, ms(1200), CHUNK), 1);
    }

    #[test]
    fn a_full_one_takes_what_is_smaller_and_all_when_as_much_was_freed() {
        let mut loads = loads(&[1, 1]);
        measure(&mut loads, ms(10), 0, ms(1));
        measure(&mut loads, ms(10), 1, ms(9));
        let transfer = loads.begin(ms(10), 0, CHUNK);
        loads.failed(ms(10), &transfer, true, "it is full".to_owned());
        assert_eq!(loads.state(ms(10), 0), DirectoryState::Full);
        assert_eq!(chosen(&mut loads, ms(10), CHUNK), 1);
        assert_eq!(chosen(&mut loads, ms(10), CHUNK / 2), 0);
        loads.freed(0, CHUNK / 2);
        assert_eq!(chosen(&mut loads, ms(10), CHUNK), 1);
        loads.freed(0, CHUNK / 2);
        assert_eq!(loads.state(ms(10), 0), DirectoryState::InUse);
    }

    #[test]
    fn all_are_tried_before_it_is_an_error_and_none_twice() {
        let mut loads = loads(&[1, 0, 1]);
        let mut tried = Vec::new();
        while let Some(transfer) = loads.begin_page_out(ms(5), CHUNK, &tried) {
            tried.push(transfer.member);
            loads.failed(ms(5), &transfer, false, String::new());
        }
        // Those without a weight come last.
        assert_eq!(tried, [0, 2, 1]);
        assert!(loads.loads.iter().all(|load| load.begun.is_empty()));
        assert!(loads.loads.iter().all(|load| load.cost_bytes == 0));
    }

    #[test]
    fn a_weight_of_two_takes_twice_as_much() {
        let mut loads = loads(&[2, 1]);
        let order: Vec<_> = (0..9).map(|_| chosen(&mut loads, ms(1), CHUNK)).collect();
        assert_eq!(order.iter().filter(|member| **member == 0).count(), 6);
    }
}
