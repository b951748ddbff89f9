//! The suites: how much is measured, by how much time there is.
//!
//! Guarantees that `quick` ends within three minutes and needs no root, and that `standard` ends
//! within half an hour on two processors. Refuses nothing: a filter narrows a suite, and an option
//! changes what it says.

use super::plan::{Axes, Backend, Data, Preset, Share};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Suite {
    /// Three minutes, no root needed.
    Quick,
    /// Half an hour on two processors.
    Standard,
    /// All there is, for as long as it takes.
    Full,
}

impl Suite {
    /// What is varied.
    pub(crate) fn axes(self) -> Axes {
        let share = |parts: u32| Share::one_in(parts);
        let (threads, caps, data) = match self {
            Self::Quick => (vec![1], vec![Share::NONE, share(4)], vec![Data::Lineitem]),
            Self::Standard => (
                vec![1, 4],
                vec![Share::NONE, share(2), share(4)],
                vec![Data::Random, Data::Lineitem],
            ),
            Self::Full => (
                vec![1, 2, 4, 8, 16],
                vec![Share::NONE, share(2), share(4), share(8), share(16)],
                vec![Data::Random, Data::Lineitem],
            ),
        };
        Axes {
            backends: Backend::ALL.to_vec(),
            // Seed first: neighbours in the plan, and the ratio reads seed to fast.
            presets: vec![Preset::Seed, Preset::Fast, Preset::Codec],
            threads,
            caps,
            data,
        }
    }

    /// What of the published measurement, its shares of memory and threads on either backend, the
    /// axes leave out.
    pub(crate) fn headline(self) -> Option<Axes> {
        match self {
            // Quick has a quarter on one thread, and full has all of it.
            Self::Quick | Self::Full => None,
            Self::Standard => Some(Axes {
                backends: vec![Backend::Swap, Backend::File],
                presets: vec![Preset::Seed, Preset::Fast],
                threads: vec![1, 2, 4],
                caps: [2, 4, 8].map(Share::one_in).to_vec(),
                data: vec![Data::Random],
            }),
        }
    }

    /// GiB of each of the two chains.
    pub(crate) fn chain_gib(self) -> f64 {
        match self {
            Self::Quick => 0.125,
            Self::Standard => 0.375,
            Self::Full => 2.0,
        }
    }

    /// How often each cell is measured.
    pub(crate) fn repeat(self) -> u32 {
        match self {
            Self::Quick | Self::Standard => 3,
            Self::Full => 5,
        }
    }

    /// How often whole jobs and the points of the curves are measured, in the first rounds.
    pub(crate) fn extra_repeat(self) -> u32 {
        match self {
            Self::Quick | Self::Standard => 1,
            Self::Full => 3,
        }
    }

    /// The longest that a cell may take.
    pub(crate) fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Quick => 20,
            Self::Standard => 180,
            Self::Full => 1800,
        })
    }

    /// What all cells together may take; the rest of the suite's time is for the tools around
    /// them.
    pub(crate) fn time(self) -> Option<Duration> {
        match self {
            Self::Quick => Some(Duration::from_secs(150)),
            Self::Standard => Some(Duration::from_secs(29 * 60)),
            Self::Full => None,
        }
    }
}
