//! Which points the curves of growth have: one thing grows, the rest stays.
//!
//! Guarantees sizes that the suite has time and a machine of 24 GiB has room for. Refuses nothing.

use super::plan::{Backend, name};
use super::suite::Suite;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Axis {
    /// The set, in times of the budget.
    Set,
    /// Handles, in a budget that all of them fit in.
    Handles,
    /// The size of a payload, of a set of four times the budget.
    Payload,
    /// Threads.
    Threads,
}

impl Axis {
    pub(crate) const ALL: [Self; 4] = [Self::Set, Self::Handles, Self::Payload, Self::Threads];
}

/// One point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) axis: Axis,
    pub(crate) backend: Backend,
    pub(crate) budget_bytes: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) handles: u64,
    pub(crate) threads: u32,
}

/// How large, by how much time there is.
#[derive(Debug)]
struct Sizes {
    /// Budget where the set grows, and twice it where the threads do.
    budget_bytes: u64,
    ratios: &'static [u64],
    handles: &'static [u64],
    payloads: &'static [u64],
    /// The most that there are of the smallest payloads, and the set of the larger ones.
    payloads_at_most: u64,
    payload_set_bytes: u64,
    threads: &'static [u32],
    thread_set_bytes: u64,
}

impl Sizes {
    fn of(suite: Suite) -> Self {
        match suite {
            Suite::Quick => Self {
                budget_bytes: 16 * MIB,
                ratios: &[2, 8, 32],
                handles: &[1_000, 10_000, 100_000, 1_000_000],
                payloads: &[4 * KIB, 64 * KIB, 2 * MIB, 64 * MIB],
                payloads_at_most: 2048,
                payload_set_bytes: 256 * MIB,
                threads: &[1, 4, 16],
                thread_set_bytes: 256 * MIB,
            },
            Suite::Standard => Self {
                budget_bytes: 32 * MIB,
                ratios: &[2, 4, 8, 16, 32],
                handles: &[1_000, 10_000, 100_000, 1_000_000],
                payloads: &[4 * KIB, 64 * KIB, 512 * KIB, 2 * MIB, 16 * MIB, 64 * MIB],
                payloads_at_most: 8192,
                payload_set_bytes: 512 * MIB,
                threads: &[1, 2, 4, 8, 16],
                thread_set_bytes: 512 * MIB,
            },
            Suite::Full => Self {
                budget_bytes: 128 * MIB,
                ratios: &[2, 4, 8, 16, 32],
                handles: &[1_000, 10_000, 100_000, 1_000_000, 10_000_000],
                payloads: &[4 * KIB, 64 * KIB, 512 * KIB, 2 * MIB, 16 * MIB, 64 * MIB],
                payloads_at_most: 65536,
                payload_set_bytes: 2048 * MIB,
                threads: &[1, 2, 4, 8, 16],
                thread_set_bytes: 2048 * MIB,
            },
        }
    }
}

/// The points of a suite, of these backends: neighbours differ in the backend alone.
pub(crate) fn points(suite: Suite, backends: &[Backend]) -> Vec<Point> {
    let sizes = Sizes::of(suite);
    let mut points = Vec::new();
    let of = |axis, budget_bytes, payload_bytes, handles, threads| {
        let backends = backends.iter().copied().filter(|it| it.is_pager());
        backends.map(move |backend| Point {
            axis,
            backend,
            budget_bytes,
            payload_bytes,
            handles,
            threads,
        })
    };
    let chunk = 2 * MIB;
    for ratio in sizes.ratios {
        let set = ratio * sizes.budget_bytes;
        points.extend(of(Axis::Set, sizes.budget_bytes, chunk, set / chunk, 1));
    }
    for &handles in sizes.handles {
        // 64 bytes each, and what is remembered of them.
        let budget = 64 * MIB + handles * KIB;
        points.extend(of(Axis::Handles, budget, 64, handles, 1));
    }
    for &payload in sizes.payloads {
        let handles = (sizes.payload_set_bytes / payload).min(sizes.payloads_at_most);
        let budget = handles * payload / 4;
        points.extend(of(Axis::Payload, budget, payload, handles, 1));
    }
    for &threads in sizes.threads {
        let handles = sizes.thread_set_bytes / chunk;
        let budget = 4 * sizes.budget_bytes;
        points.extend(of(Axis::Threads, budget, chunk, handles, threads));
    }
    points
}

impl Point {
    /// Where on its curve it is.
    pub(crate) fn at(self) -> f64 {
        match self.axis {
            Axis::Set => (self.handles * self.payload_bytes) as f64 / self.budget_bytes as f64,
            Axis::Handles => self.handles as f64,
            Axis::Payload => self.payload_bytes as f64 / KIB as f64,
            Axis::Threads => f64::from(self.threads),
        }
    }

    /// What the program `growth` is told.
    pub(crate) fn args(self) -> Vec<OsString> {
        let bytes = |count: u64| format!("{count}B");
        let options = [
            ("--backend", name(&self.backend)),
            ("--budget", bytes(self.budget_bytes)),
            ("--payload", bytes(self.payload_bytes)),
            ("--handles", self.handles.to_string()),
            ("--threads", self.threads.to_string()),
        ];
        let words = options
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value]);
        words.map(OsString::from).collect()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (axis, backend) = (name(&self.axis), self.backend.label());
        write!(f, "growth, {axis} {}, {backend}", self.at())
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, MIB, points};
    use crate::matrix::plan::Backend;
    use crate::matrix::suite::Suite;

    #[test]
    fn the_full_suite_has_the_whole_of_each_curve() {
        let points = points(Suite::Full, &Backend::ALL);
        let at = |axis| {
            let on = points
                .iter()
                .filter(|it| it.axis == axis && it.backend == Backend::File);
            on.map(|it| it.at()).collect::<Vec<_>>()
        };
        assert_eq!(at(Axis::Set), [2.0, 4.0, 8.0, 16.0, 32.0]);
        assert_eq!(at(Axis::Handles), [1e3, 1e4, 1e5, 1e6, 1e7]);
        assert_eq!(at(Axis::Threads), [1.0, 2.0, 4.0, 8.0, 16.0]);
        let payloads = at(Axis::Payload);
        assert_eq!((payloads[0], payloads[5]), (4.0, 65536.0));
    }

    #[test]
    fn every_point_fits_the_machine_and_has_a_neighbour_on_the_other_backend() {
        for suite in [Suite::Quick, Suite::Standard, Suite::Full] {
            let points = points(suite, &Backend::ALL);
            for point in &points {
                let set = point.handles * point.payload_bytes;
                assert!(
                    set <= 8192 * MIB && point.budget_bytes <= 16384 * MIB,
                    "{point}"
                );
                let exceeds = set >= 2 * point.budget_bytes || point.axis == Axis::Threads;
                assert!(exceeds || point.axis == Axis::Handles, "{point}");
            }
            for pair in points.chunks(2) {
                let swap = super::Point {
                    backend: Backend::Swap,
                    ..pair[1]
                };
                assert_eq!(pair[0], swap);
            }
        }
        assert!(points(Suite::Quick, &[Backend::Lgalloc]).is_empty());
    }
}
