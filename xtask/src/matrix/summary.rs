//! What the runs of one cell say together: medians, spread and ratios.
//!
//! Guarantees that a ratio is one of runs of the same round, which were neighbours in time.
//! Refuses a ratio where one side left all in memory: that would compare paging with not paging.

use super::journal::Ceiling;
use super::plan::Cell;
use super::record::{Outcome, Record};

/// All runs of one cell.
#[derive(Clone, Debug)]
pub(crate) struct Summary<'a> {
    pub(crate) cell: Cell,
    pub(crate) runs: Vec<&'a Record>,
}

/// The middle of some values, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// None of no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self {
            median,
            least,
            most,
        })
    }
}

/// One summary a cell, in the order in which cells first appear.
pub(crate) fn summaries(records: &[Record]) -> Vec<Summary<'_>> {
    let mut all: Vec<Summary<'_>> = Vec::new();
    for record in records {
        match all.iter_mut().find(|summary| summary.cell == record.cell) {
            Some(summary) => summary.runs.push(record),
            None => all.push(Summary {
                cell: record.cell,
                runs: vec![record],
            }),
        }
    }
    all
}

impl Summary<'_> {
    /// The runs that have figures.
    pub(crate) fn good(&self) -> impl Iterator<Item = &Record> {
        let good = |record: &&&Record| record.outcome == Outcome::Ok;
        self.runs.iter().filter(good).copied()
    }

    /// A figure over all runs that have it.
    pub(crate) fn number(&self, path: &str) -> Option<Spread> {
        Spread::of(self.good().filter_map(|record| record.number(path)))
    }

    /// Whether there are figures, and all stayed in memory in each of the runs.
    pub(crate) fn paged_nothing(&self) -> bool {
        let mut good = self.good().peekable();
        good.peek().is_some() && good.all(Record::paged_nothing)
    }

    /// Throughput over that of another cell, of the runs of a round.
    pub(crate) fn ratio_to(&self, other: &Self) -> Option<Spread> {
        if self.paged_nothing() || other.paged_nothing() {
            return None;
        }
        Spread::of(self.good().filter_map(|ours| {
            let theirs = other.good().find(|theirs| theirs.round == ours.round)?;
            let theirs = theirs.number("through_gib_s").filter(|v| *v > 0.0)?;
            Some(ours.number("through_gib_s")? / theirs)
        }))
    }

    /// Throughput over what the device gave at the beginning of the round.
    pub(crate) fn share_of_ceiling(&self, ceilings: &[Ceiling]) -> Option<Spread> {
        if self.paged_nothing() {
            return None;
        }
        Spread::of(self.good().filter_map(|ours| {
            let ceiling = ceilings
                .iter()
                .find(|ceiling| ceiling.round == ours.round)?;
            let gib_s = Some(ceiling.gib_s).filter(|v| *v > 0.0)?;
            Some(ours.number("through_gib_s")? / gib_s)
        }))
    }

    /// Whether the matrix as a whole has failed by this cell.
    pub(crate) fn is_failure(&self) -> bool {
        let mut failed = self.runs.iter().filter(|run| run.is_failure()).peekable();
        // A round for which there was no time is no failure where an earlier one had some.
        let has_figures = self.good().next().is_some();
        failed.peek().is_some() && !(has_figures && failed.all(|r| r.outcome == Outcome::NotRun))
    }

    /// The remarks of the report, each once, with the number of runs that it is true of where
    /// that is not all.
    pub(crate) fn notes(&self) -> String {
        let mut notes: Vec<(String, usize)> = Vec::new();
        for note in self.runs.iter().flat_map(|run| run.notes()) {
            match notes.iter_mut().find(|(known, _)| *known == note) {
                Some((_, count)) => *count += 1,
                None => notes.push((note, 1)),
            }
        }
        let all = self.runs.len();
        let text = notes.into_iter().map(|(note, count)| {
            if count == all {
                note
            } else {
                format!("{note} ({count} of {all} runs)")
            }
        });
        text.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Ceiling;
    use super::super::plan::Preset;
    use super::super::record::tests::{paged, record};
    use super::super::record::{Outcome, Record};
    use super::{Spread, Summary, summaries};

    fn runs(preset: Preset, through: &[f64]) -> Vec<Record> {
        (1..)
            .zip(through)
            .map(|(round, through)| Record {
                round,
                ..paged(record(Some(preset), Some(*through)), 1.0, 1.0)
            })
            .collect()
    }

    #[test]
    fn a_median_lies_in_the_middle_and_nothing_has_none() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN]), None);
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.least, odd.most), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0]).unwrap().median, 2.5);
    }

    #[test]
    fn a_ratio_is_one_of_neighbours_and_not_of_medians() {
        // The machine doubles its speed from round to round; the ratio does not change.
        let all = [
            runs(Preset::Seed, &[0.5, 1.0, 2.0]),
            runs(Preset::Fast, &[2.0, 4.0, 8.0]),
        ]
        .concat();
        let [seed, fast] = &summaries(&all)[..] else {
            panic!("two cells were measured");
        };
        let ratio = fast.ratio_to(seed).unwrap();
        assert_eq!((ratio.least, ratio.median, ratio.most), (4.0, 4.0, 4.0));
        let ceilings = [
            Ceiling {
                round: 1,
                gib_s: 4.0,
            },
            Ceiling {
                round: 2,
                gib_s: 4.0,
            },
        ];
        assert_eq!(fast.share_of_ceiling(&ceilings).unwrap().most, 1.0);
        assert_eq!(fast.share_of_ceiling(&[]), None);
    }

    #[test]
    fn a_cell_that_left_all_in_memory_has_no_ratio() {
        let quiet = paged(record(Some(Preset::Fast), Some(4.0)), 0.0, 0.001);
        let all = [runs(Preset::Seed, &[0.5]), vec![quiet]].concat();
        let [seed, fast] = &summaries(&all)[..] else {
            panic!("two cells were measured");
        };
        assert_eq!(fast.ratio_to(seed), None);
        assert_eq!(seed.ratio_to(fast), None, "nor has the other");
        let ceiling = Ceiling {
            round: 1,
            gib_s: 1.0,
        };
        assert_eq!(fast.share_of_ceiling(&[ceiling]), None);
        assert_eq!(fast.notes(), "nothing was paged");
    }

    #[test]
    fn a_note_on_some_runs_says_on_how_many() {
        let mut all = runs(Preset::Fast, &[1.0, 2.0]);
        all[1].outcome = Outcome::NotRun;
        all[1].error = Some("not run: no time".to_owned());
        let summary: &Summary<'_> = &summaries(&all)[0];
        assert_eq!(summary.notes(), "not run: no time (1 of 2 runs)");
        assert!(!summary.is_failure(), "one run has its figures");
        all[0].outcome = Outcome::Failed;
        assert!(summaries(&all)[0].is_failure());
    }
}
