//! What has changed since another matrix, beyond the noise.
//!
//! Guarantees that a change is told only where a paired test finds it: a pair is the same cell in
//! the same round of both, each taken as the share of what the device gave at the beginning of its
//! round, since devices drift. Refuses to judge by a threshold, and where there are too few pairs
//! for any test.

use super::extra::ExtraRecord;
use super::journal::Ceiling;
use super::plan::{Backend, Preset};
use super::record::{Outcome, Record};
use super::signed_rank::{holm, signed_rank};
use super::summary::Spread;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;

/// What is told is told with this chance of a false alarm, over all that is compared.
const LEVEL: f64 = 0.05;

/// What `results.json` holds of a matrix.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) ceilings: Vec<Ceiling>,
    pub(crate) runs: Vec<Record>,
    /// Growth and whole jobs; a matrix of an older version has none.
    #[serde(default)]
    pub(crate) extras: Vec<ExtraRecord>,
}

impl Measured {
    /// Reads it.
    ///
    /// # Errors
    /// When the file is not there or holds something else.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not of a matrix of this version", path.display()))
    }

    /// The device at the beginning of that round.
    fn ceiling(&self, round: u32) -> Option<f64> {
        let mut ceilings = self.ceilings.iter();
        let found = ceilings.find(|ceiling| ceiling.round == round)?;
        Some(found.gib_s).filter(|gib_s| *gib_s > 0.0)
    }
}

/// What became of all cells of one backend and preset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    pub(crate) label: String,
    pub(crate) pairs: usize,
    /// New over old: the median of all pairs, and their ends.
    pub(crate) ratio: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Two-sided, corrected for the number of tests.
    pub(crate) p: f64,
    pub(crate) verdict: Verdict,
}

/// What the test says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Faster,
    Slower,
    /// What there is may be noise.
    NothingSeen,
    /// Even if all pairs agreed, that could be chance.
    TooFewPairs,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::NothingSeen => "no change beyond the noise",
            Self::TooFewPairs => "too few pairs to tell: raise --repeat",
        })
    }
}

/// All pairs of one backend and preset, new over old.
#[derive(Debug)]
struct Group {
    kind: (Backend, Option<Preset>),
    label: String,
    ratios: Vec<f64>,
}

/// Compares `new` with `old`, by backend and preset.
pub(crate) fn changes(old: &Measured, new: &Measured) -> Vec<Change> {
    let mut groups: Vec<Group> = Vec::new();
    for ours in new.runs.iter().filter(|run| run.outcome == Outcome::Ok) {
        let same = |theirs: &&Record| {
            let is_same = theirs.cell == ours.cell && theirs.round == ours.round;
            is_same && theirs.outcome == Outcome::Ok
        };
        let Some(theirs) = old.runs.iter().find(same) else {
            continue;
        };
        let Some(ratio) = ratio(old, theirs, new, ours) else {
            continue;
        };
        let kind = (ours.cell.backend, ours.cell.preset);
        match groups.iter_mut().find(|group| group.kind == kind) {
            Some(group) => group.ratios.push(ratio),
            None => groups.push(Group {
                kind,
                label: ours.cell.label(),
                ratios: vec![ratio],
            }),
        }
    }
    let test = |group: &Group| {
        let logs: Vec<f64> = group.ratios.iter().map(|ratio| ratio.ln()).collect();
        signed_rank(&logs)
    };
    let probabilities: Vec<f64> = groups.iter().map(test).collect();
    // The smallest probability that so many pairs can give, raised.
    let tests_count = groups.len() as f64;
    groups
        .into_iter()
        .zip(holm(&probabilities))
        .filter_map(|(Group { label, ratios, .. }, p)| {
            let spread = Spread::of(ratios.iter().copied())?;
            let best = tests_count * 2.0 * 0.5_f64.powi(i32::try_from(ratios.len()).ok()?);
            Some(Change {
                label,
                pairs: ratios.len(),
                ratio: spread.median,
                least: spread.least,
                most: spread.most,
                p,
                verdict: match (p < LEVEL, spread.median > 1.0) {
                    (true, true) => Verdict::Faster,
                    (true, false) => Verdict::Slower,
                    (false, _) if best >= LEVEL => Verdict::TooFewPairs,
                    (false, _) => Verdict::NothingSeen,
                },
            })
        })
        .collect()
}

/// New over old, device for device where both were asked.
fn ratio(old: &Measured, theirs: &Record, new: &Measured, ours: &Record) -> Option<f64> {
    if ours.paged_nothing() != theirs.paged_nothing() {
        return None;
    }
    let through = |record: &Record| record.number("through_gib_s").filter(|v| *v > 0.0);
    let raw = through(ours)? / through(theirs)?;
    // What stayed in memory does not depend on the device.
    let drift = match (new.ceiling(ours.round), old.ceiling(theirs.round)) {
        (Some(now), Some(then)) if !ours.paged_nothing() => now / then,
        _ => 1.0,
    };
    Some(raw / drift)
}

#[cfg(test)]
mod tests {
    use super::super::journal::Ceiling;
    use super::super::plan::Preset;
    use super::super::record::Record;
    use super::super::record::tests::{paged, record};
    use super::{Measured, Verdict, changes};

    /// Eight rounds of both presets; the device is `device` times as fast as it should be.
    fn measured(device: f64, fast: impl Fn(u32) -> f64) -> Measured {
        let rounds = 1..=8;
        let run = |preset, round: u32, through: f64| Record {
            round,
            ..paged(record(Some(preset), Some(device * through)), 1.0, 1.0)
        };
        Measured {
            extras: Vec::new(),
            ceilings: rounds
                .clone()
                .map(|round| Ceiling {
                    round,
                    gib_s: 2.0 * device,
                })
                .collect(),
            runs: rounds
                .flat_map(|round| {
                    [
                        run(Preset::Seed, round, 0.5 + f64::from(round % 3) / 100.0),
                        run(Preset::Fast, round, fast(round)),
                    ]
                })
                .collect(),
        }
    }

    #[test]
    fn a_change_shows_through_a_device_that_has_become_twice_as_fast() {
        let old = measured(1.0, |round| 1.0 + f64::from(round % 4) / 20.0);
        let new = measured(2.0, |round| 1.2 * (1.0 + f64::from(round % 3) / 20.0));
        let changes = changes(&old, &new);
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[0].label, "pager, swap, seed");
        assert_eq!(
            changes[0].verdict,
            Verdict::NothingSeen,
            "all pairs are equal"
        );
        assert_eq!(changes[1].verdict, Verdict::Faster);
        assert!(changes[1].p < 0.05 && changes[1].pairs == 8);
        assert!(changes[1].ratio > 1.1 && changes[1].ratio < 1.3);
    }

    #[test]
    fn noise_is_no_change_however_large_and_a_loss_is_one() {
        let old = measured(1.0, |_| 1.0);
        let noise = measured(1.0, |round| if round % 2 == 0 { 1.5 } else { 0.66 });
        assert_eq!(changes(&old, &noise)[1].verdict, Verdict::NothingSeen);
        let slower = measured(1.0, |round| 0.97 - f64::from(round) / 1000.0);
        assert_eq!(changes(&old, &slower)[1].verdict, Verdict::Slower);
    }

    #[test]
    fn few_pairs_cannot_tell_and_what_is_in_one_matrix_alone_is_not_compared() {
        let (old, mut new) = (measured(1.0, |_| 1.0), measured(1.0, |_| 9.0));
        new.runs.retain(|run| run.round <= 3);
        assert_eq!(changes(&old, &new)[1].verdict, Verdict::TooFewPairs);
        new.runs.retain(|run| run.round > 3);
        assert!(changes(&old, &new).is_empty());
    }

    #[test]
    fn results_of_something_else_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        assert!(Measured::read(&path).is_err());
        std::fs::write(&path, "{\"cells\": []}").unwrap();
        let told = Measured::read(&path).unwrap_err().to_string();
        assert!(told.contains("not of a matrix"), "{told}");
    }
}
