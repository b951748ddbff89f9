//! What a matrix has measured so far, one line a run.
//!
//! Guarantees that a run that has ended is on the disk before the next begins, so that an
//! interruption of any kind, `kill -9` included, costs the run that was under way and no other.
//! Refuses to go on with what was measured under other settings or by other programs.

use super::compare::Measured;
use super::extra::{Extra, ExtraRecord};
use super::plan::Cell;
use super::record::Record;
use super::suite::Suite;
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// What has to be the same for runs to be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) suite: Suite,
    pub(crate) chain_gib: f64,
    pub(crate) lookahead: u32,
    pub(crate) verify: bool,
    /// Of the programs that are measured, as far as it is known.
    pub(crate) commit: String,
}

/// What the device gave at the beginning of a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ceiling {
    pub(crate) round: u32,
    pub(crate) gib_s: f64,
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Settings(Settings),
    Ceiling(Ceiling),
    Run(Box<Record>),
    Extra(Box<ExtraRecord>),
}

/// The file, and what it holds.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    records: Vec<Record>,
    extras: Vec<ExtraRecord>,
    ceilings: Vec<Ceiling>,
}

/// The file's name in the directory of the results.
const NAME: &str = "journal.jsonl";

impl Journal {
    /// Begins one in `out`.
    ///
    /// # Errors
    /// When there is one already, or the file cannot be written.
    pub(crate) fn create(out: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let path = out.join(NAME);
        let file = File::options().append(true).create_new(true).open(&path);
        let file = file.with_context(|| {
            format!(
                "cannot begin {}: to go on with a matrix, name its directory with --resume",
                path.display()
            )
        })?;
        let mut journal = Self {
            file,
            records: Vec::new(),
            extras: Vec::new(),
            ceilings: Vec::new(),
        };
        journal.write(&Line::Settings(settings.clone()))?;
        Ok(journal)
    }

    /// Goes on with the one in `out`.
    ///
    /// # Errors
    /// When there is none, or it is of other settings.
    pub(crate) fn resume(out: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let path = out.join(NAME);
        let cannot = || format!("cannot go on with {}", path.display());
        let text = fs::read_to_string(&path).with_context(cannot)?;
        let file = File::options().append(true).open(&path);
        let mut journal = Self {
            file: file.with_context(cannot)?,
            records: Vec::new(),
            extras: Vec::new(),
            ceilings: Vec::new(),
        };
        let mut found = None;
        // A line that was cut off by a kill is not one; what it told is measured again.
        for line in text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
        {
            match line {
                Line::Settings(settings) => found = Some(settings),
                Line::Ceiling(ceiling) => journal.ceilings.push(ceiling),
                Line::Run(record) if record.is_final() => journal.records.push(*record),
                Line::Extra(record) if record.is_final() => journal.extras.push(*record),
                Line::Run(_) | Line::Extra(_) => {}
            }
        }
        let found = found.with_context(|| format!("{} has no settings", path.display()))?;
        ensure!(
            found == *settings,
            "{} was begun with other settings: {found:?}, now {settings:?}",
            path.display()
        );
        if !text.ends_with('\n') {
            writeln!(journal.file)?;
        }
        Ok(journal)
    }

    /// Adds a run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn add(&mut self, record: Record) -> anyhow::Result<()> {
        let line = Line::Run(Box::new(record));
        self.write(&line)?;
        if let Line::Run(record) = line {
            self.records.push(*record);
        }
        Ok(())
    }

    /// Adds what was measured beside the merge.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn add_extra(&mut self, record: ExtraRecord) -> anyhow::Result<()> {
        let line = Line::Extra(Box::new(record));
        self.write(&line)?;
        if let Line::Extra(record) = line {
            self.extras.push(*record);
        }
        Ok(())
    }

    /// Adds what the device gave.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn add_ceiling(&mut self, ceiling: Ceiling) -> anyhow::Result<()> {
        self.write(&Line::Ceiling(ceiling))?;
        self.ceilings.push(ceiling);
        Ok(())
    }

    fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        let line = serde_json::to_string(line)? + "\n";
        let written = self.file.write_all(line.as_bytes());
        written.context("the journal of the matrix cannot be written")
    }

    /// Whether that run has ended.
    pub(crate) fn has(&self, cell: Cell, round: u32) -> bool {
        let mut records = self.records.iter();
        records.any(|record| record.cell == cell && record.round == round)
    }

    /// Whether that has ended.
    pub(crate) fn has_extra(&self, extra: Extra, round: u32) -> bool {
        let mut extras = self.extras.iter();
        extras.any(|record| record.extra == extra && record.round == round)
    }

    /// Whether the device was measured in that round.
    pub(crate) fn has_ceiling(&self, round: u32) -> bool {
        self.ceilings.iter().any(|ceiling| ceiling.round == round)
    }

    /// All of it.
    pub(crate) fn into_measured(self) -> Measured {
        Measured {
            ceilings: self.ceilings,
            runs: self.records,
            extras: self.extras,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::extra::tests::extras;
    use super::super::plan::Preset;
    use super::super::record::tests::record;
    use super::super::suite::Suite;
    use super::{Ceiling, Journal, NAME, Settings};
    use std::fs;

    fn settings() -> Settings {
        Settings {
            suite: Suite::Quick,
            chain_gib: 0.125,
            lookahead: 4,
            verify: true,
            commit: "1234".to_owned(),
        }
    }

    #[test]
    fn what_has_ended_is_kept_over_an_end_in_the_middle_of_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path(), &settings()).unwrap();
        let (done, failed) = (
            record(Some(Preset::Fast), Some(1.0)),
            record(Some(Preset::Seed), None),
        );
        let ceiling = Ceiling {
            round: 1,
            gib_s: 2.5,
        };
        journal.add_ceiling(ceiling).unwrap();
        journal.add(done.clone()).unwrap();
        journal.add(failed.clone()).unwrap();
        drop(journal);
        let path = dir.path().join(NAME);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + "{\"run\":{\"da").unwrap();

        let mut resumed = Journal::resume(dir.path(), &settings()).unwrap();
        assert!(resumed.has(done.cell, 1) && !resumed.has(done.cell, 2));
        assert!(!resumed.has(failed.cell, 1), "what failed is tried again");
        assert!(resumed.has_ceiling(1) && !resumed.has_ceiling(2));
        resumed.add(failed).unwrap();
        let extra = extras().remove(0);
        resumed.add_extra(extra.clone()).unwrap();
        let again = Journal::resume(dir.path(), &settings()).unwrap();
        assert!(again.has_extra(extra.extra, 1) && !again.has_extra(extra.extra, 2));
        let measured = again.into_measured();
        assert_eq!((measured.runs.len(), measured.ceilings), (1, vec![ceiling]));
        assert_eq!(measured.extras[0].number("out_s"), extra.number("out_s"));
        assert_eq!(measured.runs[0].number("through_gib_s"), Some(1.0));
    }

    #[test]
    fn other_settings_and_a_second_beginning_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Journal::resume(dir.path(), &settings()).is_err());
        Journal::create(dir.path(), &settings()).unwrap();
        assert!(Journal::create(dir.path(), &settings()).is_err());
        let other = Settings {
            chain_gib: 1.0,
            ..settings()
        };
        let told = Journal::resume(dir.path(), &other).unwrap_err().to_string();
        assert!(told.contains("other settings"), "{told}");
    }
}
