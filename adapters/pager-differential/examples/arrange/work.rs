//! What one process does: arrange, read, and say what that cost.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use differential_dataflow::columnar::trace::spill::{self, SpillStats};
use pager::{BackendKind, Pager};
use pager_differential::CHUNK_BYTES;
use timely::worker::Worker;

use crate::dataflow::{Arrangement, Engines, Kind, Pagers, mix};
use crate::files::Files;
use crate::{Args, Way};

/// Updates of an epoch: a batch.
const EPOCH: u64 = 1 << 19;

/// Bytes of the engine's 8192 updates.
const SMALL_BYTES: usize = 256 << 10;

/// What a process has to say; as text, fields with spaces between them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Report {
    /// Updates in the trace.
    pub(crate) updates: u64,
    /// Of them, in whatever order.
    pub(crate) sum: u64,
    pub(crate) arranged: Duration,
    pub(crate) read: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_bytes: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { updates, sum, .. } = self;
        let times = [self.arranged, self.read, self.cpu].map(|it| it.as_secs_f64());
        let [arranged, read, cpu] = times;
        write!(
            f,
            "{updates} {sum} {arranged} {read} {cpu} {}",
            self.peak_bytes
        )
    }
}

impl FromStr for Report {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [updates, sum, arranged, read, cpu, peak] = fields[..] else {
            anyhow::bail!("no report: {text:?}");
        };
        let seconds = |text: &str| anyhow::Ok(Duration::from_secs_f64(text.parse()?));
        Ok(Self {
            updates: updates.parse()?,
            sum: sum.parse()?,
            arranged: seconds(arranged)?,
            read: seconds(read)?,
            cpu: seconds(cpu)?,
            peak_bytes: peak.parse()?,
        })
    }
}

/// Does the first way.
pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let way = args.ways.first().copied().unwrap_or(Way::Pager);
    let pager = match way {
        Way::Pager | Way::Small | Way::Chunks => Some(Arc::new(
            Pager::builder()
                .backend(BackendKind::File)
                .scratch_dir(&args.scratch)
                .budget_bytes(args.budget_mib << 20)
                .build()?,
        )),
        _ => None,
    };
    let (scratch, epochs) = (
        args.scratch.clone(),
        (args.million * 1_000_000).div_ceil(EPOCH),
    );
    let held = pager.clone();
    let workers = timely::execute(timely::Config::thread(), move |worker| {
        let _spill = pager.clone().map(pager_differential::install);
        install_files(way, &scratch);
        match way {
            Way::Small => arrange::<Pagers<SMALL_BYTES>>(worker, epochs),
            Way::Chunks => arrange::<Pagers<CHUNK_BYTES>>(worker, epochs),
            Way::Memory | Way::Lz4 | Way::Plain | Way::Pager => arrange::<Engines>(worker, epochs),
        }
    });
    let mut reports = workers.map_err(anyhow::Error::msg)?.join();
    let report = reports.pop().unwrap_or_else(|| Err("no worker".to_owned()));
    let mut report = report.map_err(anyhow::Error::msg)?;
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    report.cpu = Duration::try_from(spent).unwrap_or_default();
    report.peak_bytes = peak_bytes()?;
    if let Some(pager) = held.filter(|_| args.stats) {
        let stats = pager.stats();
        let ahead = &stats.residency;
        pager_tool::warn(format_args!(
            "{stats}\nread ahead: {} used, {} in vain, {} refused",
            ahead.prefetch_hits, ahead.prefetch_waste, ahead.prefetch_refusals
        ));
    }
    Ok(report)
}

fn install_files(way: Way, scratch: &Path) {
    if let Way::Lz4 | Way::Plain = way {
        let files = Files::new(scratch.to_path_buf(), way == Way::Lz4);
        spill::install(0, Box::new(files), Arc::new(SpillStats::default()));
    }
}

fn arrange<K: Kind>(worker: &mut Worker, epochs: u64) -> Report {
    let mut arrangement = Arrangement::<K>::new(worker);
    let begun = Instant::now();
    for epoch in 0..epochs {
        let keys = (0..EPOCH).map(|index| mix(epoch * EPOCH + index));
        arrangement.arrange(epoch, keys.map(|key| (key, mix(key) & 0xffff, epoch, 1)));
    }
    let arranged = begun.elapsed();
    let begun = Instant::now();
    let (sum, updates) = arrangement.read();
    Report {
        updates,
        sum,
        arranged,
        read: begun.elapsed(),
        ..Report::default()
    }
}

/// The most memory that this process has had.
fn peak_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.map_or(Ok(0), str::parse)? << 10)
}
