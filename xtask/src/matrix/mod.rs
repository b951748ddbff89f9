//! `cargo xtask bench-matrix`: the merge workload with pager and with its peers, over presets,
//! threads, caps and data.
//!
//! Guarantees that every planned cell ends up in the results, that a failed one fails the command
//! and not the others, that an interrupted matrix keeps what it has measured and leaves no scratch
//! file, and that it can be gone on with. Refuses to compare cells that did not run under the
//! conditions they were planned for: those are marked.
//!
//! ```text
//! args         what is asked for
//! suite        what is measured where nothing else is said
//! plan         which cells there are, and in which order
//! growth       the points of the curves of growth
//! job          whole jobs: a sort, by whom
//! extra        both of them, beside the cells of the merge
//! run          one program, to its end
//! cell         one run of one cell, or of what is beside them
//! record       what came of a run
//! journal      what has been measured so far, on the disk
//! summary      what the runs of a cell say together
//! compare      what has changed since another matrix
//! signed_rank  the test that decides that
//! report       tables, figures and a verdict, as text and as a page
//! host         the machine
//! scratch      the directory in which cells work
//! ```

mod args;
mod cell;
mod compare;
mod extra;
mod growth;
mod host;
mod job;
mod journal;
mod plan;
mod record;
mod report;
mod run;
mod scratch;
mod signed_rank;
mod suite;
mod summary;

use crate::cargo;
use crate::cgroup::{self, Cap};
use crate::interrupt;
use crate::size::Size;
use crate::swap::{self, ProvisionedSwap};
use anyhow::Context;
pub(crate) use args::Args;
use cell::Bench;
use compare::Measured;
use extra::Extra;
use indicatif::{ProgressBar, ProgressStyle};
use journal::{Ceiling, Journal};
use pager_tool::{print, warn};
use plan::Cell;
use scratch::Scratch;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// Runs the matrix and returns the exit code: 0 only when every cell has its result.
pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    // Before anything is measured, so that a wrong name costs nothing.
    let old = args.compare.as_deref().map(Measured::read).transpose()?;
    let programs = args.programs()?;
    cgroup::sweep();

    let swap = args
        .provision_swap
        .map(|size| ProvisionedSwap::new(&args.swap_dir, size))
        .transpose()?;
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    // Dropped before the swap, and after the last cell has ended.
    let scratch = Scratch::new(&args.scratch)?;
    let mut bench = args.bench(programs, swap.is_some() || swap::any_active(&swaps))?;
    bench.scratch = scratch.path().to_owned();
    let host = host::Host::describe(&args.scratch);
    let settings = args.settings(&bench, &host);
    let (out, journal) = match &args.resume {
        Some(out) => (out.clone(), Journal::resume(out, &settings)?),
        None => {
            let out = args.out.clone().unwrap_or_else(default_out);
            fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
            let journal = Journal::create(&out, &settings)?;
            (out, journal)
        }
    };
    let matrix = Matrix {
        bench: &bench,
        cells: args.cells(),
        extras: args.extras(&bench.programs),
        rounds: args.rounds(),
        extra_rounds: args.extra_rounds(),
        deadline: args.suite.time().map(|time| Instant::now() + time),
    };
    matrix.tell_if_uncapped();
    let new = matrix.run(journal)?;
    drop(scratch);
    drop(swap);

    let conditions = format!(
        "Two chains of {} GiB, 2 MiB chunks, {} interleaved rounds; all but the published \
         strategies look {} pairs ahead. Throughput is the bytes of both input chains over the time \
         of the merge; medians, and ratios of runs of the same round.",
        bench.chain_gib, matrix.rounds, bench.lookahead
    );
    let changes = old.map_or_else(Vec::new, |old| compare::changes(&old, &new));
    let summaries = summary::summaries(&new.runs);
    let report = report::Report::new(&host, &conditions, &new, &changes);
    let json = serde_json::json!({
        "host": host, "settings": settings, "conditions": conditions, "changes": changes,
        "ceilings": new.ceilings, "runs": new.runs, "extras": new.extras,
    });
    fs::write(
        out.join("results.json"),
        serde_json::to_string_pretty(&json)?,
    )?;
    record::write_csv(&out.join("results.csv"), &new.runs)?;
    report.write(&out)?;
    print(report.terminal().trim_end())?;
    print(format_args!("written to {}", out.display()))?;

    let failed_extras = new.extras.iter().filter(|it| it.is_failure()).count();
    let failed = summaries.iter().filter(|cell| cell.is_failure()).count();
    if interrupt::requested() {
        warn(format_args!("go on with --resume {}", out.display()));
        return Ok(interrupt::EXIT_CODE);
    }
    if failed > 0 {
        warn(format_args!("{failed} of {} cells failed", summaries.len()));
    }
    if failed_extras > 0 {
        warn(format_args!("{failed_extras} runs beside the merge failed"));
    }
    Ok(u8::from(failed > 0 || failed_extras > 0))
}

/// A directory of this moment.
fn default_out() -> PathBuf {
    let time = host::timestamp(SystemTime::now());
    cargo::root().join("bench-out").join(time)
}

/// What is to be run.
#[derive(Debug)]
struct Matrix<'a> {
    bench: &'a Bench,
    cells: Vec<Cell>,
    extras: Vec<Extra>,
    rounds: u32,
    /// Of these, the first ones have the extras too.
    extra_rounds: u32,
    deadline: Option<Instant>,
}

impl Matrix<'_> {
    /// Says once why cells will run without the cap they were planned with.
    fn tell_if_uncapped(&self) {
        let working_set = self.bench.working_set_bytes();
        let mut caps = self.cells.iter().map(|cell| cell.cap);
        let cap = caps.find_map(|cap| cap.cap_bytes(working_set));
        if let Some(Err(error)) = cap.map(|bytes| Cap::new(Size::from_bytes(bytes))) {
            warn(format_args!("cells run uncapped: {error}"));
        }
    }

    /// Every cell once in each round, every other round backwards, so that a machine that becomes
    /// slower does so for all.
    fn run(&self, mut journal: Journal) -> anyhow::Result<Measured> {
        let extras = self.extras.len() * self.extra_rounds as usize;
        let bar = bar(self.cells.len() * self.rounds as usize + extras);
        for round in 1..=self.rounds {
            self.measure_device(&mut journal, round)?;
            let mut cells = self.cells.clone();
            if round % 2 == 0 {
                cells.reverse();
            }
            for cell in cells {
                if !journal.has(cell, round) {
                    self.run_cell(&mut journal, cell, round, &bar)?;
                }
                bar.inc(1);
            }
            // Before the next round: where time runs out, it is the last round that has none.
            if round <= self.extra_rounds {
                self.run_extras(&mut journal, round, &bar)?;
            }
        }
        bar.finish_and_clear();
        let mut measured = journal.into_measured();
        // What was resumed comes in the order of the plan, as if it had run through.
        let place = |cell| self.cells.iter().position(|planned| *planned == cell);
        measured
            .runs
            .sort_by_key(|run| (run.round, place(run.cell)));
        Ok(measured)
    }

    fn run_extras(
        &self,
        journal: &mut Journal,
        round: u32,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        for &extra in &self.extras {
            if !journal.has_extra(extra, round) {
                let record = match self.has_to_stop() {
                    Some(why) => self.bench.blank_extra(extra, round, why),
                    None => {
                        bar.set_message(format!("round {round}: {extra}"));
                        self.bench.run_extra(extra, round)
                    }
                };
                if bar.is_hidden() {
                    let (done, all) = (bar.position() + 1, bar.length().unwrap_or(0));
                    let notes = record.notes();
                    warn(format_args!("{done}/{all} round {round}, {extra}: {notes}"));
                }
                journal.add_extra(record)?;
            }
            bar.inc(1);
        }
        Ok(())
    }

    fn measure_device(&self, journal: &mut Journal, round: u32) -> anyhow::Result<()> {
        if journal.has_ceiling(round) || self.has_to_stop().is_some() {
            return Ok(());
        }
        match cell::ceiling(
            &self.bench.programs.ceiling,
            &self.bench.scratch,
            self.bench.chain_gib,
        ) {
            Ok(gib_s) => journal.add_ceiling(Ceiling { round, gib_s }),
            Err(error) => {
                warn(format_args!("ceiling: {error:#}"));
                Ok(())
            }
        }
    }

    fn run_cell(
        &self,
        journal: &mut Journal,
        cell: Cell,
        round: u32,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let record = match self.has_to_stop() {
            Some(why) => self.bench.blank(cell, round, why),
            None => {
                bar.set_message(format!("round {round}: {cell}"));
                self.bench.run(cell, round)
            }
        };
        if bar.is_hidden() {
            // No terminal: a line per run, so that a log shows where the time goes.
            let through = record.number("through_gib_s");
            let through = through.map_or_else(|| "-".to_owned(), |v| format!("{v:.3} GiB/s"));
            let (done, all) = (bar.position() + 1, bar.length().unwrap_or(0));
            let (left, notes) = (bar.eta().as_secs(), record.notes().join(", "));
            warn(format_args!(
                "{done}/{all} round {round}, {cell}: {through} {notes} ({left} s left)"
            ));
        }
        journal.add(record)
    }

    fn has_to_stop(&self) -> Option<&'static str> {
        if interrupt::requested() {
            Some("interrupted")
        } else if self.deadline.is_some_and(|at| Instant::now() >= at) {
            Some("not run: the time of the suite is up")
        } else {
            None
        }
    }
}

fn bar(runs: usize) -> ProgressBar {
    let bar = ProgressBar::new(runs as u64);
    if let Ok(style) = ProgressStyle::with_template(
        "{pos}/{len} [{bar:30}] {elapsed} gone, about {eta} left  {msg}",
    ) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
