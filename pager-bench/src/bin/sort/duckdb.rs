//! By DuckDB, whose module a Python beside us runs: rows go in as CSV, and come out as a file of it.
//!
//! Loading the rows into a table is no part of the sort, and reading them back for the check is
//! none either: what counts is the time of `CREATE TABLE .. AS SELECT .. ORDER BY`.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::check::Check;
use crate::digest::Digest;
use crate::table::{COLUMN_NAMES, KEY_COLUMNS, Row};
use crate::{End, Job, Sorted, private_directory, rows};

const SCRIPT: &str = include_str!("by_duckdb.py");
/// What the script ends with where there is no module.
const NO_MODULE: i32 = 75;

/// Sorts, where there is a python3 with the module.
///
/// # Errors
///
/// What DuckDB says.
pub(crate) fn sort(job: &Job) -> Result<End> {
    let directory = private_directory(&job.scratch)?;
    let keys = KEY_COLUMNS.map(|column| COLUMN_NAMES[column]).join(",");
    let started = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(directory.path())
        .args([&job.limit_bytes.to_string(), &COLUMN_NAMES.join(","), &keys])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(End::Skipped("there is no python3".to_owned()));
        }
        Err(error) => return Err(error).context("python3 cannot be started"),
    };
    let Some(mut sorted) = play(Running(child), job.scale)? else {
        return Ok(End::Skipped(
            "python3 has no module duckdb: see --duckdb of bench-matrix".to_owned(),
        ));
    };
    let begun = Instant::now();
    let text = File::open(directory.path().join("sorted.csv"))?;
    sorted.output = check(BufReader::with_capacity(1 << 20, text))?;
    sorted.check_s = begun.elapsed().as_secs_f64();
    Ok(End::Sorted(Box::new(sorted)))
}

/// A child that does not outlive us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, or is to: there is nothing to do about a failure.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Feeds the child and waits for it; nothing if there is no module. The rows that came out are
/// not looked at.
fn play(mut running: Running, scale: f64) -> Result<Option<Sorted>> {
    let child = &mut running.0;
    let stdin = child.stdin.take().context("a pipe was asked for")?;
    let mut stderr = child.stderr.take().context("a pipe was asked for")?;
    let feeding = thread::spawn(move || feed(BufWriter::new(stdin), scale));
    let mut said = String::new();
    stderr.read_to_string(&mut said)?;
    let status = child.wait()?;
    let fed = feeding.join().ok().context("a thread has panicked")?;
    if status.code() == Some(NO_MODULE) {
        return Ok(None);
    }
    if !status.success() {
        let mut lines = said.lines();
        // A traceback before it, and advice after it.
        let why = lines.find(|line| line.contains("Error:") || line.contains("Exception:"));
        bail!("duckdb, {status}: {}", why.unwrap_or(said.trim()));
    }
    Ok(Some(Sorted {
        load_s: seconds(&said, "load")?,
        sort_s: seconds(&said, "sort")?,
        child_rss_bytes: children_peak_rss_bytes(),
        input: fed?,
        ..Sorted::default()
    }))
}

fn feed(mut to: BufWriter<impl Write>, scale: f64) -> Result<Digest> {
    let mut input = Digest::default();
    rows::each(scale, |row| {
        input.add_row(row);
        for (place, word) in row.iter().enumerate() {
            let end = if place + 1 == row.len() { '\n' } else { ',' };
            write!(to, "{word}{end}")?;
        }
        Ok(())
    })?;
    to.flush()?;
    Ok(input)
}

fn check(mut from: impl BufRead) -> Result<Check> {
    let mut output = Check::default();
    let mut line = String::new();
    while from.read_line(&mut line)? > 0 {
        let mut row = Row::default();
        let mut words = line.trim_end().split(',');
        for place in &mut row {
            *place = words.next().context("check failed: a short row")?.parse()?;
        }
        ensure!(words.next().is_none(), "check failed: a long row");
        output.add(&row)?;
        line.clear();
    }
    Ok(output)
}

/// The figure of this name in what the script says.
fn seconds(said: &str, name: &str) -> Result<f64> {
    let mut lines = said.lines().filter_map(|line| line.strip_prefix(name));
    let figure = lines
        .next()
        .with_context(|| format!("duckdb told no {name}"))?;
    Ok(figure.trim().parse()?)
}

#[cfg(unix)]
fn children_peak_rss_bytes() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN);
    usage.map_or(0, |usage| {
        u64::try_from(usage.max_rss()).unwrap_or(0) * 1024
    })
}

#[cfg(not(unix))]
fn children_peak_rss_bytes() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::{check, feed, seconds};
    use crate::rows;
    use std::io::BufWriter;

    #[test]
    fn rows_survive_as_text_and_sorted_ones_are_checked() {
        let mut text = Vec::new();
        let input = feed(BufWriter::new(&mut text), 0.001).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count() as u64, input.rows);
        assert!(check(text.as_bytes()).is_err(), "it is not sorted");
        let mut all = Vec::new();
        rows::each(0.001, |row| {
            all.push(*row);
            Ok(())
        })
        .unwrap();
        all.sort_unstable_by_key(rows::key);
        let lines = all
            .iter()
            .map(|row| row.map(|word| word.to_string()).join(",") + "\n");
        let output = check(lines.collect::<String>().as_bytes()).unwrap();
        output.compare(&input).unwrap();
        assert!(check(&b"1,2\n"[..]).is_err());
    }

    #[test]
    fn times_are_found_by_name() {
        assert_eq!(seconds("load 1.5\nsort 2\n", "sort").unwrap(), 2.0);
        assert!(seconds("nothing", "sort").is_err());
    }
}
