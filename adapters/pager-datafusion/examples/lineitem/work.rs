//! What one process does: sort, and say what that cost.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use datafusion_common::config::SpillCompression;
use datafusion_execution::TaskContext;
use datafusion_execution::config::SessionConfig;
use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion_physical_expr::expressions::col;
use datafusion_physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::memory::{LazyBatchGenerator, LazyMemoryExec};
use datafusion_physical_plan::sorts::sort::SortExec;
use futures::StreamExt;
use pager::{BackendKind, Codec, Pager, PagerBuilder};
use pager_datafusion::{Adapter, LendingPool};
use parking_lot::RwLock;

use crate::rows::{KEY, Rows, Sum, schema};
use crate::{Args, Way};

/// What a process has to say; as text, fields with spaces between them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) rows: u64,
    /// Of them, in their order.
    pub(crate) sum: u64,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// Bytes that devices were asked for, and were given.
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) spills: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} {} {} {}",
            self.rows,
            self.sum,
            self.wall.as_secs_f64(),
            self.cpu.as_secs_f64(),
            self.read_bytes,
            self.written_bytes,
            self.peak_bytes,
            self.spills
        )
    }
}

impl FromStr for Report {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [rows, sum, wall, cpu, read, written, peak, spills] = fields[..] else {
            anyhow::bail!("no report: {text:?}");
        };
        let seconds = |text: &str| anyhow::Ok(Duration::from_secs_f64(text.parse()?));
        Ok(Self {
            rows: rows.parse()?,
            sum: sum.parse()?,
            wall: seconds(wall)?,
            cpu: seconds(cpu)?,
            read_bytes: read.parse()?,
            written_bytes: written.parse()?,
            peak_bytes: peak.parse()?,
            spills: spills.parse()?,
        })
    }
}

/// Does the first way.
pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let way = args.ways.first().copied().unwrap_or(Way::Pager);
    let mut config = SessionConfig::new();
    if way == Way::Lz4 {
        config.options_mut().execution.spill_compression = SpillCompression::Lz4Frame;
    }
    let (runtime, _adapter) = runtime(args, way)?;
    let context = TaskContext::default()
        .with_session_config(config)
        .with_runtime(Arc::new(runtime));
    let threads = tokio::runtime::Builder::new_multi_thread().build()?;
    let begun = Instant::now();
    let mut report = threads.block_on(sort(args.rows, way, Arc::new(context)))?;
    report.wall = begun.elapsed();
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    report.cpu = Duration::try_from(spent).unwrap_or_default();
    report.read_bytes = of_process("io", "read_bytes:")?;
    report.written_bytes = of_process("io", "write_bytes:")?;
    report.peak_bytes = of_process("status", "VmHWM:")? << 10;
    Ok(report)
}

/// The engine's runtime, and what it spills to if that is not its own.
fn runtime(args: &Args, way: Way) -> anyhow::Result<(RuntimeEnv, Option<Adapter>)> {
    let builder = RuntimeEnvBuilder::new().with_temp_file_path(&args.scratch);
    let limited = || {
        let builder = builder.clone();
        builder.with_memory_limit(args.memory_mib << 20, 1.0)
    };
    let own = |pager: PagerBuilder| {
        let pager = pager.budget_bytes(args.budget_mib << 20).build()?;
        anyhow::Ok(Adapter::new(Arc::new(pager)))
    };
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .scratch_dir(&args.scratch);
    let (builder, adapter) = match way {
        Way::Stock | Way::Lz4 => (limited(), None),
        Way::Memory | Way::Rows => (builder, None),
        Way::Pager => (limited(), Some(own(pager)?)),
        Way::Codec => (limited(), Some(own(pager.codec(Codec::Auto))?)),
        Way::MemoryPager => (builder, Some(own(pager)?)),
        Way::OneLimit => {
            let pool = LendingPool::new((args.memory_mib + args.budget_mib) << 20);
            (builder, Some(Adapter::within(pool, pager)?))
        }
    };
    let builder = match &adapter {
        Some(adapter) => adapter.install(builder)?,
        None => builder,
    };
    Ok((builder.build()?, adapter))
}

async fn sort(row_count: u64, way: Way, context: Arc<TaskContext>) -> anyhow::Result<Report> {
    let rows: Arc<RwLock<dyn LazyBatchGenerator>> = Arc::new(RwLock::new(Rows::new(row_count)));
    let rows = Arc::new(LazyMemoryExec::try_new(schema(), vec![rows])?);
    let key = KEY.map(|name| Ok(PhysicalSortExpr::new_default(col(name, &schema())?)));
    let key = key.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let key = LexOrdering::new(key).context("the key has columns")?;
    let sort = SortExec::new(key, Arc::<LazyMemoryExec>::clone(&rows));
    let mut sorted = match way {
        Way::Rows => rows.execute(0, context)?,
        _ => sort.execute(0, context)?,
    };
    let (mut report, mut sum) = (Report::default(), Sum::default());
    while let Some(batch) = sorted.next().await {
        let batch = batch?;
        report.rows += batch.num_rows() as u64;
        sum.add_batch(&batch);
    }
    report.sum = sum.0;
    let spills = sort.metrics().and_then(|metrics| metrics.spill_count());
    report.spills = spills.unwrap_or(0) as u64;
    Ok(report)
}

/// A figure that the kernel has of this process.
fn of_process(file: &str, name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next());
    Ok(figure.map_or(Ok(0), str::parse)?)
}
