//! pager-datafusion with system calls that fail, each kind at many places: every batch comes
//! back, or whoever writes or reads is told; nothing hangs, and nothing is left.

use std::panic::catch_unwind;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use datafusion_common::DataFusionError;
use datafusion_execution::runtime_env::RuntimeEnvBuilder;
use datafusion_execution::spill_file::SpillFile;
use futures::StreamExt;
use futures::executor::block_on;
use pager_datafusion::Adapter;
use pager_testkit::syscalls::{Call, Fault, Injection};

/// What is written, and how much of it at a time.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let words = (0..192_u64 << 10).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
});
const PIECE_BYTES: usize = 128 << 10;

/// How a run ended.
#[derive(Debug)]
enum End {
    /// All came back.
    Whole,
    /// Whoever wrote or read was told why not.
    Told(DataFusionError),
}

/// Writes all, then reads all: twice if it is shared, and then as its only owner.
fn run(file: Arc<dyn SpillFile>) -> Result<(), DataFusionError> {
    let mut writer = file.open_writer()?;
    for piece in BYTES.chunks(PIECE_BYTES) {
        writer.write_all(piece)?;
    }
    writer.finish()?;
    drop(writer);
    let shared = Arc::clone(&file);
    read(&*shared)?;
    drop(shared);
    read(&*file)
}

fn read(file: &dyn SpillFile) -> Result<(), DataFusionError> {
    let mut stream = file.read_stream()?;
    let mut read = Vec::new();
    let begun = Instant::now();
    while let Some(bytes) = block_on(stream.next()) {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
        read.extend_from_slice(&bytes?);
    }
    assert!(read == *BYTES, "wrong data");
    Ok(())
}

struct Outcome {
    end: End,
    counts: Vec<(Call, usize)>,
    struck: usize,
}

/// One run with `faults`, on a pager of its own.
fn under(budget_bytes: usize, faults: &[Fault]) -> Outcome {
    let (pager, _scratch) = faults::file_pager(budget_bytes);
    let adapter = Adapter::new(pager);
    let runtime = adapter
        .install(RuntimeEnvBuilder::new())
        .expect("a runtime");
    let runtime = runtime.build().expect("a runtime");
    let injection = Injection::begin(faults);
    let file = runtime.disk_manager.create_tmp_file("a campaign");
    let ended = file.and_then(run);
    let (struck, counts) = (injection.struck(), injection.counts());
    injection.heal();
    let begun = Instant::now();
    while adapter.pager().stats().total.live_handles > 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{faults:?}: a payload is left"
        );
        thread::sleep(Duration::from_millis(1));
    }
    let progress = adapter.spilling_progress();
    assert_eq!(
        (progress.current_bytes, progress.active_files_count),
        (0, 0),
        "{faults:?}: something is counted that is not there"
    );
    let end = match ended {
        Ok(()) => End::Whole,
        Err(error) => End::Told(error),
    };
    Outcome {
        end,
        counts,
        struck,
    }
}

/// Whether the error is one that a full disk or a broken one makes.
fn is_fitting(error: &DataFusionError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        if found.is::<pager::Error>() {
            return true;
        }
        cause = found.source();
    }
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

#[test]
fn every_batch_comes_back_or_the_engine_is_told() {
    let (mut struck, mut told) = (0, 0);
    for budget_bytes in [0, 512 << 10] {
        let calm = under(budget_bytes, &[]);
        assert!(matches!(calm.end, End::Whole), "{:?}", calm.end);
        for fault in faults::plans(&calm.counts) {
            let outcome = catch_unwind(|| under(budget_bytes, &[fault]));
            let outcome = outcome.unwrap_or_else(|_| panic!("{fault}"));
            struck += usize::from(outcome.struck > 0);
            if let End::Told(error) = outcome.end {
                told += 1;
                assert!(outcome.struck > 0, "{fault}: {error:?}");
                assert!(is_fitting(&error), "{fault}: {error:?}");
            }
        }
    }
    println!("{struck} faults struck; of {told} the engine was told, the others had everything");
    assert!(struck > 100, "{struck} faults are no campaign");
    assert!(told > 0, "a device that fails for good is told of");
}
