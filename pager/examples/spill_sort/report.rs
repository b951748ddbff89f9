//! Phases, progress and the summary.

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use pager::{BackendKind, Pager};
use pager_tool::{OutputError, print};

use crate::digest::Digest;
use crate::table::{COLUMN_COUNT, ROW_BYTES};

/// Progress of one phase in rows; drawn on a terminal only.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn add(&self, rows: usize) {
        self.0.inc(rows as u64);
    }
}

/// How long each phase took.
#[derive(Debug)]
pub(crate) struct Report {
    expected_rows: u64,
    phases: Vec<(&'static str, Duration)>,
}

/// What the summary tells.
#[derive(Debug)]
pub(crate) struct Summary<'a> {
    pub(crate) pager: &'a Pager,
    pub(crate) scale: f64,
    pub(crate) rows: u64,
    pub(crate) run_count: usize,
    pub(crate) budget_bytes: u64,
    pub(crate) pager_bytes: u64,
    pub(crate) buffer_bytes: u64,
}

impl Report {
    pub(crate) fn new(expected_rows: u64) -> Self {
        Self {
            expected_rows,
            phases: Vec::new(),
        }
    }

    /// Runs `phase` and remembers how long it took.
    pub(crate) fn phase<T>(
        &mut self,
        name: &'static str,
        phase: impl FnOnce(&Progress) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let bar = ProgressBar::new(self.expected_rows).with_message(name);
        if let Ok(style) =
            ProgressStyle::with_template("{msg:10} {wide_bar} {human_pos} rows, {eta} left")
        {
            bar.set_style(style);
        }
        let progress = Progress(bar);
        let start = Instant::now();
        let result = phase(&progress);
        self.phases.push((name, start.elapsed()));
        progress.0.finish_and_clear();
        result
    }

    /// The figures for a program: what was sorted, and how long it took until it was stored in
    /// order, and until it was read back and right.
    pub(crate) fn json(&self, summary: &Summary<'_>, rows: &Digest) -> serde_json::Value {
        let seconds = |phases: &[(&str, Duration)]| {
            let times = phases.iter().map(|(_, time)| *time);
            times.sum::<Duration>().as_secs_f64()
        };
        let (sort, check) = self.phases.split_at(self.phases.len().saturating_sub(1));
        let stats = summary.pager.stats();
        serde_json::json!({
            "engine": format!("pager, {}", stats.active),
            "scale": summary.scale,
            "limit_bytes": summary.budget_bytes,
            "rows": rows.rows,
            "rows_digest": rows.to_string(),
            "sort_s": seconds(sort),
            "check_s": seconds(check),
            "peak_rss_bytes": peak_rss_bytes(),
            "paged_out_bytes": stats.total.paged_out_bytes,
            "pager_budget_bytes": stats.residency.budget_bytes,
            "peak_held_bytes": stats.residency.peak_held_bytes,
            "verified": true,
        })
    }

    pub(crate) fn print(&self, summary: &Summary<'_>) -> Result<(), OutputError> {
        let table_bytes = summary.rows * ROW_BYTES;
        print(format_args!(
            "lineitem at scale {}: {} rows, {COLUMN_COUNT} columns, {}",
            summary.scale,
            summary.rows,
            size(table_bytes)
        ))?;
        print_pager(summary)?;
        match peak_rss_bytes() {
            Some(bytes) => print(format_args!("peak RSS   {}", size(bytes)))?,
            None => print("peak RSS   not known on this platform")?,
        }
        for (name, time) in &self.phases {
            let seconds = time.as_secs_f64();
            print(format_args!(
                "{name:<10} {seconds:.2} s, {:.0} MiB/s",
                mib(table_bytes) / seconds.max(1e-9)
            ))?;
        }
        Ok(())
    }
}

/// What was paged, where to, and how much memory that took.
fn print_pager(summary: &Summary<'_>) -> Result<(), OutputError> {
    let stats = summary.pager.stats();
    let (total, active) = (&stats.total, stats.active);
    print(format_args!(
        "backend    {active}, preset {}",
        summary.pager.preset()
    ))?;
    if let Some(of) = stats.of(active)
        && !of.backend.how.is_empty()
    {
        print(format_args!("           {}", of.backend.how))?;
    }
    if let (BackendKind::File, Some(path)) = (active, summary.pager.scratch_dir()) {
        print(format_args!("scratch    {}", path.display()))?;
    }
    print(format_args!(
        "memory     buffers of at most {} and {} for the pager in a budget of {}; {} sorted runs",
        size(summary.buffer_bytes),
        size(summary.pager_bytes),
        size(summary.budget_bytes),
        summary.run_count
    ))?;
    print(format_args!(
        "paged out  {} in {} page-outs",
        size(total.paged_out_bytes),
        total.pageouts
    ))?;
    #[cfg(feature = "codec")]
    print_codec(&summary.pager.codec_stats())?;
    #[cfg(feature = "encryption")]
    if let Some(encryption) = summary.pager.encryption() {
        print(format_args!("encrypted  {encryption}"))?;
    }
    print(format_args!(
        "paged in   {} in {} range reads and {} takes",
        size(total.read_bytes + total.taken_bytes),
        total.reads,
        total.takes
    ))
}

/// What became of the bytes on their way out, by scheme.
#[cfg(feature = "codec")]
fn print_codec(stats: &pager::CodecStats) -> Result<(), OutputError> {
    let (plain, stored) = (stats.plain_bytes(), stats.stored_bytes());
    if stats.codec == pager::Codec::Off {
        return Ok(());
    }
    print(format_args!(
        "codec      {}: {} became {}, {} of it as it was",
        stats.codec,
        size(plain),
        size(stored),
        size(stats.passed_bytes)
    ))?;
    for scheme in pager::Scheme::ALL {
        let of = stats.of(scheme);
        if of.payloads > 0 {
            print(format_args!(
                "           {scheme}: {} became {}",
                size(of.plain_bytes),
                size(of.stored_bytes)
            ))?;
        }
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(unix)]
fn peak_rss_bytes() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};

    // Kibibytes, but bytes on macOS.
    let unit = if cfg!(target_vendor = "apple") {
        1
    } else {
        1024
    };
    let peak = getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss();
    Some(u64::try_from(peak).ok()? * unit)
}

#[cfg(not(unix))]
fn peak_rss_bytes() -> Option<u64> {
    None
}
