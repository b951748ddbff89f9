//! Operators of the engine that spill, beside the engine's own files: the same rows, and
//! nothing left, also of a query that is cancelled.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion_common::config::SpillCompression;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::TaskContext;
use datafusion_execution::config::SessionConfig;
use datafusion_execution::memory_pool::FairSpillPool;
use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion_physical_expr::expressions::col;
use datafusion_physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::memory::{LazyBatchGenerator, LazyMemoryExec};
use datafusion_physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion_physical_plan::sorts::sort::SortExec;
use datafusion_physical_plan::spill::SpillManager;
use datafusion_physical_plan::spill::spill_pool::spsc_channel;
use futures::StreamExt;
use pager::{Group, Pager};
use pager_datafusion::Adapter;
use parking_lot::RwLock;

use support::{batch, check_empty, drain, pager, run, schema};

const BATCHES: u64 = 24;
const ROWS: u64 = 8192;

/// Makes batches as they are wanted.
#[derive(Debug)]
struct Rows(u64);

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows")
    }
}

impl LazyBatchGenerator for Rows {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn generate_next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let next = (self.0 < BATCHES).then(|| batch(self.0, ROWS));
        self.0 += 1;
        Ok(next)
    }

    fn reset_state(&self) -> Arc<RwLock<dyn LazyBatchGenerator>> {
        Arc::new(RwLock::new(Self(0)))
    }
}

/// All rows by their key.
fn sort() -> Arc<SortExec> {
    let rows: Arc<RwLock<dyn LazyBatchGenerator>> = Arc::new(RwLock::new(Rows(0)));
    let rows = LazyMemoryExec::try_new(schema(), vec![rows]).unwrap();
    let by_key = PhysicalSortExpr::new_default(col("key", &schema()).unwrap());
    let by_key = LexOrdering::new([by_key]).unwrap();
    Arc::new(SortExec::new(by_key, Arc::new(rows)))
}

/// A runtime in which that sort spills many times.
fn small() -> RuntimeEnvBuilder {
    let pool = FairSpillPool::new(4 << 20);
    RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool))
}

fn context(runtime: RuntimeEnv) -> Arc<TaskContext> {
    let config = SessionConfig::new()
        .with_sort_spill_reservation_bytes(1 << 20)
        .with_batch_size(2048);
    let context = TaskContext::default().with_session_config(config);
    Arc::new(context.with_runtime(Arc::new(runtime)))
}

fn sorted(runtime: RuntimeEnv) -> (RecordBatch, usize) {
    let sort = sort();
    let stream = sort.execute(0, context(runtime)).unwrap();
    let batches = run(drain(stream)).unwrap();
    let spills = sort.metrics().unwrap().spill_count().unwrap();
    (concat_batches(&schema(), &batches).unwrap(), spills)
}

fn adapter(budget_bytes: usize) -> (Adapter, tempfile::TempDir) {
    let (pager, scratch) = pager(budget_bytes);
    (Adapter::new(pager), scratch)
}

fn written_bytes(pager: &Pager) -> u64 {
    pager.stats().residency.written_bytes
}

#[test]
fn a_sort_has_the_same_rows_as_with_the_engines_own_files() {
    let (expected, spills) = sorted(small().build().unwrap());
    assert!(spills > 5, "{spills} spills");
    assert_eq!(expected.num_rows() as u64, BATCHES * ROWS);
    for budget_bytes in [0, 2 << 20, 64 << 20] {
        let (adapter, _scratch) = adapter(budget_bytes);
        let runtime = adapter.install(small()).unwrap().build().unwrap();
        let (rows, paged) = sorted(runtime);
        assert_eq!(rows, expected, "with a budget of {budget_bytes}");
        assert_eq!(paged, spills, "the engine counts as ever");
        // With no budget each is written at once, and nobody counts.
        match (budget_bytes, written_bytes(adapter.pager())) {
            (0, _) => {}
            (budget_bytes, written) if budget_bytes < 64 << 20 => assert!(written > 1 << 20),
            (_, written) => assert_eq!(written, 0, "there is room"),
        }
        let progress = adapter.spilling_progress();
        assert_eq!(
            (progress.current_bytes, progress.active_files_count),
            (0, 0)
        );
        check_empty(adapter.pager());
    }
}

#[test]
fn a_query_that_is_cancelled_leaves_nothing() {
    for budget_bytes in [0, 2 << 20, 64 << 20] {
        for batches in [0, 1, 20] {
            let (adapter, _scratch) = adapter(budget_bytes);
            let runtime = adapter.install(small()).unwrap().build().unwrap();
            // Before it was read to its end, after it has spilled.
            let stream = sort().execute(0, context(runtime)).unwrap();
            run(async {
                let mut stream = stream;
                for _ in 0..batches {
                    stream.next().await.unwrap().unwrap();
                    assert!(adapter.spilling_progress().active_files_count > 0);
                }
            });
            check_empty(adapter.pager());
            let progress = adapter.spilling_progress();
            assert_eq!(
                (progress.current_bytes, progress.active_files_count),
                (0, 0)
            );
        }
    }
}

#[test]
fn a_query_without_room_on_disk_is_told_so_and_leaves_nothing() {
    let (adapter, _scratch) = adapter(2 << 20);
    let limited = small().with_max_temp_directory_size(4 << 20);
    let limited = adapter.install(limited).unwrap().build().unwrap();
    let of_group = adapter.for_query(Group::new("query 7").quota_bytes(4 << 20));
    let of_group = of_group.install(small()).unwrap().build().unwrap();
    for runtime in [limited, of_group] {
        let stream = sort().execute(0, context(runtime)).unwrap();
        let error = run(drain(stream)).expect_err("there is no room");
        let root = error.find_root();
        assert!(
            matches!(root, DataFusionError::ResourcesExhausted(_)),
            "{root:?}"
        );
        check_empty(adapter.pager());
    }
}

#[test]
fn compressed_messages_come_back_too() {
    let (adapter, _scratch) = adapter(1 << 20);
    let runtime = Arc::new(adapter.install(small()).unwrap().build().unwrap());
    for compression in [SpillCompression::Lz4Frame, SpillCompression::Zstd] {
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        let manager = SpillManager::new(Arc::clone(&runtime), metrics, schema());
        let manager = manager.with_compression_type(compression);
        let batches: Vec<_> = (0..10).map(|seed| batch(seed, ROWS)).collect();
        let file = manager.spill_record_batch_and_finish(&batches, "a test");
        let file = file.unwrap().expect("there are batches");
        let read = manager
            .read_spill_as_stream(Arc::clone(&file), None)
            .unwrap();
        assert_eq!(run(drain(read)).unwrap(), batches);
        // It is shared, so it can be read again.
        let again = manager.read_spill_as_stream(file, None).unwrap();
        assert_eq!(run(drain(again)).unwrap(), batches);
    }
    check_empty(adapter.pager());
}

#[test]
fn a_queue_of_the_engines_is_read_while_it_is_written_and_goes_as_it_is_read() {
    for budget_bytes in [0, 1 << 20] {
        let (adapter, _scratch) = adapter(budget_bytes);
        let runtime = Arc::new(adapter.install(small()).unwrap().build().unwrap());
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        let manager = Arc::new(SpillManager::new(runtime, metrics.clone(), schema()));
        let (writer, reader) = spsc_channel(4 << 20, manager);
        let thread = std::thread::spawn(move || {
            for seed in 0..BATCHES {
                writer.push_batch(&batch(seed, ROWS)).unwrap();
            }
        });
        let read = run(drain(reader)).unwrap();
        thread.join().unwrap();
        let expected: Vec<_> = (0..BATCHES).map(|seed| batch(seed, ROWS)).collect();
        assert_eq!(read, expected);
        assert!(metrics.spill_file_count.value() > 1);
        assert!(metrics.spilled_bytes.value() > 4 << 20);
        check_empty(adapter.pager());
    }
}
