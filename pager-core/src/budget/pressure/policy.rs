//! [`Policy`]: how large the budget may be, from what was seen. Reads nothing, and
//! knows no clock but the one that it is told.
//!
//! Lowered at once, by what is missing and a little more; raised only after it has been
//! calm for a while, to no more than what leaves memory free. Between the two lies a
//! band in which nothing happens, so that the budget does not swing.

use std::time::Duration;

/// How long there must have been room, without a report of stalls, before the budget
/// is raised. Longer than the window over which the kernel looks for stalls would be
/// double: a report that comes late starts it anew.
const CALM: Duration = Duration::from_secs(1);

/// The same after a report of stalls, whose window is this long.
const CALM_AFTER_STALLS: Duration = Duration::from_secs(2);

/// Memory that somebody else may want within a second, at most: how far away a bound
/// is, is how long one need not look.
const GROWTH_BYTES_PER_SECOND: u64 = 1 << 30;

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks while memory is short and nothing more can be given up, or while
/// it has to stay calm.
const PAUSE_AT_FLOOR: Duration = Duration::from_millis(250);

/// The memory that one bound leaves: the machine's, or a cgroup's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// All that there may be.
    pub(super) bound_bytes: u64,
    /// What can be had without anybody being killed or slowed down for it.
    pub(super) free_bytes: u64,
}

impl Room {
    /// What should stay free: an eighth, and no more than a gibibyte.
    fn reserve_bytes(self) -> u64 {
        (self.bound_bytes / 8).min(1 << 30)
    }

    /// What is free beyond the reserve; negative if that is touched.
    fn slack_bytes(self) -> i64 {
        signed(self.free_bytes) - signed(self.reserve_bytes())
    }

    /// By how much more could be held, and the band above the reserve stay half full.
    fn growth_bytes(self) -> i64 {
        self.slack_bytes() - signed(self.reserve_bytes() / 4)
    }

    fn is_wide(self) -> bool {
        self.slack_bytes() >= signed(self.reserve_bytes() / 2)
    }

    /// Whether so little is free that stalls, wherever they were, may be for want of it.
    pub(super) fn is_narrow(self) -> bool {
        self.free_bytes < self.bound_bytes / 4
    }
}

/// What one look has found.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// What every bound leaves.
    pub(super) rooms: Vec<Room>,
    /// Tasks have waited for memory, or one was killed for it.
    pub(super) stalled: bool,
    /// What pager could give up.
    pub(super) held_bytes: usize,
    /// The budget that was asked for.
    pub(super) asked_bytes: usize,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Stay,
    /// Hold no more than this.
    Lower(usize),
    /// Hold no more than this, which is more than before; all that was asked for if
    /// `None`.
    Raise(Option<usize>),
}

/// The state between two looks.
#[derive(Debug)]
pub(super) struct Policy {
    floor_bytes: usize,
    /// What may be held; all that was asked for if `None`.
    ceiling_bytes: Option<usize>,
    /// Before this the budget is not raised.
    calm_at: Duration,
}

impl Policy {
    pub(super) fn new(floor_bytes: usize) -> Self {
        Self {
            floor_bytes,
            ceiling_bytes: None,
            calm_at: Duration::ZERO,
        }
    }

    /// What to do about what was `seen` at the time `now`.
    pub(super) fn step(&mut self, now: Duration, seen: &Seen) -> Move {
        let slack_bytes = seen.rooms.iter().map(|room| room.slack_bytes()).min();
        let missing_bytes = slack_bytes.filter(|it| *it < 0).map(i64::unsigned_abs);
        if seen.stalled || missing_bytes.is_some() {
            let calm = match seen.stalled {
                true => CALM_AFTER_STALLS,
                false => CALM,
            };
            self.calm_at = self.calm_at.max(now + calm);
            return self.lower(missing_bytes.unwrap_or(0), seen);
        }
        if !seen.rooms.iter().all(|room| room.is_wide()) {
            self.calm_at = self.calm_at.max(now + CALM);
            return Move::Stay;
        }
        match self.ceiling_bytes {
            Some(ceiling_bytes) if now >= self.calm_at => self.raise(ceiling_bytes, seen),
            _ => Move::Stay,
        }
    }

    fn lower(&mut self, missing_bytes: u64, seen: &Seen) -> Move {
        let missing_bytes = usize::try_from(missing_bytes).unwrap_or(usize::MAX);
        // Somewhat more than what is missing, or every page that somebody else takes
        // would be a step of its own.
        let less_bytes = missing_bytes.saturating_add(seen.held_bytes / 8);
        let floor_bytes = self.floor_bytes.min(seen.asked_bytes);
        let target_bytes = seen.held_bytes.saturating_sub(less_bytes).max(floor_bytes);
        if target_bytes >= self.allowed_bytes(seen) {
            return Move::Stay;
        }
        self.ceiling_bytes = Some(target_bytes);
        Move::Lower(target_bytes)
    }

    fn raise(&mut self, ceiling_bytes: usize, seen: &Seen) -> Move {
        let growth_bytes = seen.rooms.iter().map(|room| room.growth_bytes()).min();
        let growth_bytes = match growth_bytes {
            Some(bytes) => usize::try_from(bytes).unwrap_or(0),
            None => usize::MAX,
        };
        let target_bytes = seen.held_bytes.saturating_add(growth_bytes);
        if target_bytes >= seen.asked_bytes {
            self.ceiling_bytes = None;
            return Move::Raise(None);
        }
        // Little steps are not worth it.
        if target_bytes < ceiling_bytes.saturating_add(ceiling_bytes / 8) {
            return Move::Stay;
        }
        self.ceiling_bytes = Some(target_bytes);
        Move::Raise(Some(target_bytes))
    }

    fn allowed_bytes(&self, seen: &Seen) -> usize {
        let ceiling_bytes = self.ceiling_bytes.unwrap_or(usize::MAX);
        ceiling_bytes.min(seen.asked_bytes)
    }

    /// How long nobody need look, but for an alarm.
    pub(super) fn pause(&self, now: Duration, seen: &Seen) -> Duration {
        let slack_bytes = seen.rooms.iter().map(|room| room.slack_bytes()).min();
        let Some(slack_bytes) = slack_bytes else {
            return LONGEST_PAUSE;
        };
        let floor_bytes = self.floor_bytes.min(seen.asked_bytes);
        if seen.held_bytes <= floor_bytes && slack_bytes < 0 {
            return PAUSE_AT_FLOOR;
        }
        let slack_bytes = u64::try_from(slack_bytes).unwrap_or(0);
        let millis = slack_bytes.saturating_mul(1000) / GROWTH_BYTES_PER_SECOND;
        let pause = Duration::from_millis(millis).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        if self.ceiling_bytes.is_some() && now < self.calm_at {
            return pause.min(PAUSE_AT_FLOOR);
        }
        pause
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const ASKED: usize = 160 * MIB;
    const FLOOR: usize = 16 * MIB;

    /// A bound of 256 MiB, so a reserve of 32.
    fn seen(free_mib: u64, held_mib: usize) -> Seen {
        Seen {
            rooms: vec![Room {
                bound_bytes: 256 << 20,
                free_bytes: free_mib << 20,
            }],
            stalled: false,
            held_bytes: held_mib * MIB,
            asked_bytes: ASKED,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_missing_and_an_eighth_are_given_up_at_once() {
        let mut policy = Policy::new(FLOOR);
        assert_eq!(policy.step(at(0), &seen(40, 160)), Move::Stay);
        let lower = policy.step(at(1), &seen(22, 160));
        assert_eq!(lower, Move::Lower((160 - 10 - 20) * MIB));
        // What has left is not asked for twice.
        assert_eq!(policy.step(at(1), &seen(52, 130)), Move::Stay);
    }

    #[test]
    fn the_floor_holds_and_is_never_above_what_was_asked_for() {
        let mut policy = Policy::new(FLOOR);
        assert_eq!(policy.step(at(0), &seen(0, 40)), Move::Lower(FLOOR));
        assert_eq!(policy.step(at(0), &seen(0, 16)), Move::Stay);
        let mut policy = Policy::new(usize::MAX);
        assert_eq!(policy.step(at(0), &seen(0, 160)), Move::Stay);
    }

    #[test]
    fn the_budget_comes_back_when_it_has_been_calm_and_no_sooner() {
        let mut policy = Policy::new(FLOOR);
        assert!(matches!(policy.step(at(10), &seen(0, 160)), Move::Lower(_)));
        // Room, but in the band where nothing happens.
        assert_eq!(policy.step(at(20), &seen(40, 100)), Move::Stay);
        assert_eq!(policy.step(at(20), &seen(200, 100)), Move::Stay);
        assert_eq!(policy.step(at(21), &seen(200, 100)), Move::Raise(None));
        assert_eq!(policy.step(at(22), &seen(200, 100)), Move::Stay);
    }

    #[test]
    fn what_leaves_no_room_for_all_is_raised_in_part_and_does_not_swing() {
        let mut policy = Policy::new(FLOOR);
        assert!(matches!(policy.step(at(0), &seen(0, 160)), Move::Lower(_)));
        let Move::Raise(Some(raised)) = policy.step(at(2), &seen(100, 70)) else {
            panic!("it was calm for two seconds");
        };
        assert_eq!(raised, (70 + 100 - 32 - 8) * MIB);
        // When all of that is used, nothing has to be lowered again.
        assert_eq!(policy.step(at(3), &seen(40, 130)), Move::Stay);
        assert_eq!(policy.step(at(9), &seen(40, 130)), Move::Stay);
    }

    #[test]
    fn stalls_lower_by_an_eighth_each_and_hold_it_down_for_longer() {
        let mut policy = Policy::new(FLOOR);
        let mut stalls = seen(200, 160);
        stalls.stalled = true;
        assert_eq!(policy.step(at(5), &stalls), Move::Lower(140 * MIB));
        assert_eq!(policy.step(at(6), &seen(200, 140)), Move::Stay);
        assert_eq!(policy.step(at(7), &seen(200, 140)), Move::Raise(None));
    }

    #[test]
    fn who_is_far_from_every_bound_looks_rarely() {
        let mut policy = Policy::new(FLOOR);
        let pause = policy.pause(at(0), &seen(256, 0));
        assert_eq!(pause.as_millis(), 224 * 1000 / 1024);
        assert_eq!(policy.pause(at(0), &seen(33, 100)), SHORTEST_PAUSE);
        assert_eq!(policy.pause(at(0), &seen(0, 100)), SHORTEST_PAUSE);
        assert_eq!(policy.pause(at(0), &seen(0, 16)), PAUSE_AT_FLOOR);
        let mut wide = seen(0, 0);
        wide.rooms = vec![Room {
            bound_bytes: 64 << 30,
            free_bytes: 32 << 30,
        }];
        assert_eq!(policy.pause(at(0), &wide), LONGEST_PAUSE);
        wide.rooms.clear();
        assert_eq!(policy.pause(at(0), &wide), LONGEST_PAUSE);
        let _ = policy.step(at(9), &seen(0, 100));
        assert!(policy.pause(at(9), &seen(250, 80)) <= PAUSE_AT_FLOOR);
    }
}
