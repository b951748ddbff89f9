//! What one process does: its worker sends or receives, and says what that cost.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pager::{BackendKind, Pager};
use pager_timely::{Settings, Spill};
use serde_bytes::ByteBuf;
use timely::communication::Hooks;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::generic::Operator;
use timely::worker::Worker;
use timely::{CommunicationConfig, WorkerConfig};

use crate::{Args, Way, stock};

const RECORD_BYTES: usize = 256 << 10;

/// What a process has to say; as text, fields with spaces between them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Report {
    /// Bytes received.
    pub(crate) bytes: u64,
    /// Of the records received, in their order.
    pub(crate) sum: u64,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_bytes: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wall, cpu) = (self.wall.as_secs_f64(), self.cpu.as_secs_f64());
        let Self { bytes, sum, .. } = self;
        write!(f, "{bytes} {sum} {wall} {cpu} {}", self.peak_bytes)
    }
}

impl FromStr for Report {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [bytes, sum, wall, cpu, peak] = fields[..] else {
            anyhow::bail!("no report: {text:?}");
        };
        Ok(Self {
            bytes: bytes.parse()?,
            sum: sum.parse()?,
            wall: Duration::from_secs_f64(wall.parse()?),
            cpu: Duration::from_secs_f64(cpu.parse()?),
            peak_bytes: peak.parse()?,
        })
    }
}

/// Does part `part` of the first way.
pub(crate) fn run(args: &Args, part: u8) -> anyhow::Result<Report> {
    let way = args.ways.first().copied().unwrap_or(Way::Pager);
    let (hooks, spill) = hooks(args, way)?;
    let config = match args.processes {
        1 => CommunicationConfig::ProcessBinary(2),
        _ => CommunicationConfig::Cluster {
            threads: 1,
            process: part.into(),
            addresses: args.addresses.clone(),
            report: false,
            zerocopy: true,
        },
    };
    let (builders, guards) = config.try_build_with(hooks).map_err(anyhow::Error::msg)?;
    let records = (args.total_mib << 20) / RECORD_BYTES as u64;
    let (rate, burst) = (args.rate, args.burst);
    let workers =
        timely::execute::execute_from(builders, guards, WorkerConfig::default(), move |worker| {
            exchange(worker, records, rate, burst)
        })
        .map_err(anyhow::Error::msg)?;
    let mut report = Report::default();
    for received in workers.join() {
        let (bytes, sum, wall) = received.map_err(anyhow::Error::msg)?;
        report.bytes += bytes;
        report.sum = report.sum.wrapping_add(sum);
        report.wall = report.wall.max(wall);
    }
    report.cpu = cpu();
    report.peak_bytes = peak_bytes()?;
    if let Some(spill) = spill.filter(|_| std::env::var_os("EXCHANGE_STATS").is_some()) {
        pager_tool::warn(format_args!("{spill:?}"));
    }
    Ok(report)
}

fn hooks(args: &Args, way: Way) -> anyhow::Result<(Hooks, Option<Spill>)> {
    Ok(match way {
        Way::Memory => (Hooks::default(), None),
        Way::Stock => {
            let (threshold, reserve) = (args.threshold_mib << 20, args.reserve_mib << 20);
            (stock::hooks(args.scratch.clone(), threshold, reserve), None)
        }
        Way::Pager => {
            let pager = Pager::builder()
                .backend(BackendKind::File)
                .scratch_dir(&args.scratch)
                .budget_bytes(args.budget_mib << 20)
                .build()?;
            let spill = Spill::new(Arc::new(pager), Settings::default());
            (spill.hooks(), Some(spill))
        }
    })
}

/// The first worker sends, the last one receives; bytes that this one has received, a sum of
/// them that depends on their order, and how long it took from the first to the end.
fn exchange(worker: &mut Worker, records: u64, rate_mib: u64, burst: bool) -> (u64, u64, Duration) {
    let last = worker.peers() as u64 - 1;
    let received = Rc::new(Cell::new((0u64, 0u64)));
    let first = Rc::new(Cell::new(None));
    let begun = Rc::clone(&first);
    let sink = Rc::clone(&received);
    let mut input = InputHandle::<u64, CapacityContainerBuilder<Vec<ByteBuf>>>::new();
    worker.dataflow(|scope| {
        scope.input_from(&mut input).sink(
            Exchange::new(move |_: &ByteBuf| last),
            "consumer",
            move |(input, _)| {
                input.for_each(|_, records| {
                    for record in records.drain(..) {
                        let (bytes, sum) = sink.get();
                        let bytes = bytes + record.len() as u64;
                        sink.set((bytes, sum.wrapping_mul(31).wrapping_add(sum_of(&record))));
                        let since = begun.get().unwrap_or_else(Instant::now);
                        begun.set(Some(since));
                        wait_for(since, bytes, rate_mib);
                    }
                });
            },
        );
    });
    if worker.index() == 0 {
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        for index in 0..records {
            input.send(ByteBuf::from(record(&mut seed)));
            // A message for each.
            input.advance_to(index + 1);
            if !burst {
                worker.step();
            }
        }
    }
    input.close();
    while worker.step_or_park(None) {}
    let (bytes, sum) = received.get();
    let wall = first.get().map_or(Duration::ZERO, |since| since.elapsed());
    (bytes, sum, wall)
}

/// As slow a consumer as was asked for.
fn wait_for(begun: Instant, bytes: u64, rate_mib: u64) {
    if let Some(micros) = (bytes / 1024 * 1_000_000 / 1024).checked_div(rate_mib) {
        thread::sleep(Duration::from_micros(micros).saturating_sub(begun.elapsed()));
    }
}

/// Bytes that nothing can make smaller.
fn record(seed: &mut u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD_BYTES);
    for _ in 0..RECORD_BYTES / 8 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        bytes.extend_from_slice(&seed.to_ne_bytes());
    }
    bytes
}

fn sum_of(record: &[u8]) -> u64 {
    let words = record.chunks_exact(8).map(|word| {
        let word: [u8; 8] = word.try_into().expect("eight bytes");
        u64::from_ne_bytes(word)
    });
    words.fold(0, |sum, word| sum.rotate_left(5) ^ word)
}

/// Time on processors so far.
fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// The most memory that this process has had.
fn peak_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.map_or(Ok(0), str::parse)? << 10)
}
