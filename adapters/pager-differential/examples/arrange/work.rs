//! What one process does: arrange, read, and say what that cost.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use differential_dataflow::columnar::collection::Builder;
use differential_dataflow::columnar::trace::spill::{self, SpillStats};
use differential_dataflow::columnar::trace::{Batcher, Spine};
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::TraceReader;
use pager::{BackendKind, Pager};
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::progress::frontier::AntichainRef;
use timely::worker::Worker;

use crate::files::Files;
use crate::{Args, Way};

/// Updates of an epoch: a batch.
const EPOCH: u64 = 1 << 19;

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
        Way::Pager => Some(Arc::new(
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
    let workers = timely::execute(timely::Config::thread(), move |worker| {
        let _spill = pager.clone().map(pager_differential::install);
        install_files(way, &scratch);
        let report = arrange(worker, epochs);
        if let Some(pager) = pager
            .as_ref()
            .filter(|_| std::env::var_os("ARRANGE_STATS").is_some())
        {
            pager_tool::warn(format_args!("{:?}", pager.stats().residency));
        }
        report
    });
    let mut reports = workers.map_err(anyhow::Error::msg)?.join();
    let report = reports.pop().unwrap_or_else(|| Err("no worker".to_owned()));
    let mut report = report.map_err(anyhow::Error::msg)?;
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    report.cpu = Duration::try_from(spent).unwrap_or_default();
    report.peak_bytes = peak_bytes()?;
    Ok(report)
}

fn install_files(way: Way, scratch: &Path) {
    if let Way::Lz4 | Way::Plain = way {
        let files = Files::new(scratch.to_path_buf(), way == Way::Lz4);
        spill::install(0, Box::new(files), Arc::new(SpillStats::default()));
    }
}

/// A number from which nothing is to be seen of its neighbours.
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

fn arrange(worker: &mut Worker, epochs: u64) -> Report {
    let mut input = <InputHandle<u64, Builder<(u64, u64, u64, i64)>>>::new_with_builder();
    let probe = Handle::new();
    let mut trace = worker.dataflow::<u64, _, _>(|scope| {
        let stream = scope.input_from(&mut input);
        let arranged = arrange_core::<_, _, _, Spine<u64, u64, u64, i64>>(
            stream,
            Pipeline,
            "arrange",
            Batcher::new,
        );
        arranged.stream.probe_with(&probe);
        arranged.trace.clone()
    });
    let begun = Instant::now();
    for epoch in 0..epochs {
        for index in 0..EPOCH {
            let key = mix(epoch * EPOCH + index);
            input.send((key, mix(key) & 0xffff, epoch, 1));
        }
        let time = epoch + 1;
        input.advance_to(time);
        input.flush();
        trace.set_physical_compaction(AntichainRef::new(&[time]));
        while probe.less_than(&time) {
            worker.step();
        }
    }
    let arranged = begun.elapsed();
    let (mut sum, mut count) = (0u64, 0u64);
    let begun = Instant::now();
    trace.map_spans(|span| {
        let chunks = span.inner.iter().flat_map(|batch| &batch.chunks);
        pager_differential::scan(chunks, |updates| {
            for (key, value, time, diff) in updates.iter() {
                let word = mix(key ^ mix(value ^ mix(*time)));
                sum = sum.wrapping_add(word.wrapping_mul(diff.cast_unsigned()));
                count += 1;
            }
        });
    });
    Report {
        updates: count,
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
