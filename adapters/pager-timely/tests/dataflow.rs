//! Whole computations: the same result with and without spilling, in one process and in two,
//! which share a scratch root; and what becomes of the one when the other is killed.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
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
use timely::{CommunicationConfig, WorkerConfig};

/// Records that each worker sends to the next one, and bytes of each.
const RECORDS: u64 = 3000;
const RECORD_BYTES: usize = 16 << 10;

fn spill(scratch: &Path, budget_bytes: usize) -> Spill {
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .scratch_dir(scratch)
        .budget_bytes(budget_bytes)
        .build()
        .unwrap();
    let settings = Settings::default()
        .threshold_bytes(1 << 20)
        .head_bytes(1 << 19);
    Spill::new(Arc::new(pager), settings)
}

/// What each worker of this process has received: how many records, and a sum that depends
/// on their order. Everything is sent before anything is received.
fn run(config: CommunicationConfig, hooks: Hooks) -> Result<Vec<(u64, u64)>, String> {
    let (builders, guards) = config.try_build_with(hooks)?;
    let workers =
        timely::execute::execute_from(builders, guards, WorkerConfig::default(), |worker| {
            let next = (worker.index() + 1) as u64 % worker.peers() as u64;
            let seen = std::rc::Rc::new(std::cell::Cell::new((0u64, 0u64)));
            let sink = std::rc::Rc::clone(&seen);
            let mut input = InputHandle::<u64, CapacityContainerBuilder<Vec<ByteBuf>>>::new();
            worker.dataflow(|scope| {
                scope.input_from(&mut input).sink(
                    Exchange::new(move |_: &ByteBuf| next),
                    "sink",
                    move |(input, _)| {
                        input.for_each(|_, records| {
                            for record in records.drain(..) {
                                let (count, sum) = sink.get();
                                assert_eq!(record.len(), RECORD_BYTES);
                                assert!(record.iter().all(|byte| *byte == record[0]));
                                let sum = sum.wrapping_mul(31).wrapping_add(record[0].into());
                                sink.set((count + 1, sum));
                            }
                        });
                    },
                );
            });
            let seed = worker.index() as u64;
            for index in 0..RECORDS {
                let byte = (index.wrapping_mul(seed + 7) % 251).to_le_bytes()[0];
                input.send(ByteBuf::from(vec![byte; RECORD_BYTES]));
                if index == RECORDS / 3 {
                    mark(worker.index());
                }
            }
            input.close();
            while worker.step_or_park(None) {}
            seen.get()
        })?;
    workers.join().into_iter().collect()
}

#[test]
fn two_workers_see_the_same_with_and_without_spilling() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let plain = run(CommunicationConfig::ProcessBinary(2), Hooks::default()).unwrap();
    for budget_bytes in [0, 8 << 20] {
        let spill = spill(scratch.path(), budget_bytes);
        let seen = run(CommunicationConfig::ProcessBinary(2), spill.hooks()).unwrap();
        assert_eq!(seen, plain);
        let stats = spill.stats();
        assert!(stats.spilled_bytes > 32 << 20, "{stats:?}");
        assert!(stats.returned_bytes <= stats.spilled_bytes, "{stats:?}");
        assert!(spill.failure().is_none());
    }
}

/// Tells whoever has started this process that a worker is in the middle of its work.
fn mark(worker: usize) {
    if let Ok(marks) = std::env::var("PAGER_TIMELY_MARKS") {
        std::fs::write(Path::new(&marks).join(worker.to_string()), []).unwrap();
    }
}

/// The part of process `PAGER_TIMELY_PROCESS` of two; without that variable, nothing.
#[test]
fn one_of_two_processes() {
    let Ok(process) = std::env::var("PAGER_TIMELY_PROCESS") else {
        return;
    };
    let addresses = std::env::var("PAGER_TIMELY_ADDRESSES").unwrap();
    let scratch = std::env::var("PAGER_TIMELY_SCRATCH").unwrap();
    let config = CommunicationConfig::Cluster {
        threads: 2,
        process: process.parse().unwrap(),
        addresses: addresses.split(',').map(str::to_owned).collect(),
        report: false,
        zerocopy: true,
    };
    let spill = spill(Path::new(&scratch), 8 << 20);
    let seen = run(config, spill.hooks()).unwrap();
    assert!(spill.stats().spilled_bytes > 8 << 20, "{spill:?}");
    println!("seen {seen:?}");
}

fn start(process: usize, addresses: &str, scratch: &Path, marks: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "one_of_two_processes", "--nocapture"])
        .env("PAGER_TIMELY_PROCESS", process.to_string())
        .env("PAGER_TIMELY_ADDRESSES", addresses)
        .env("PAGER_TIMELY_SCRATCH", scratch)
        .env("PAGER_TIMELY_MARKS", marks)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Two addresses that nobody listens on, a moment ago.
fn addresses() -> String {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = listeners.map(|listener| listener.local_addr().unwrap().to_string());
    addresses.join(",")
}

#[test]
fn two_processes_on_one_scratch_root_see_what_one_sees() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let plain = run(CommunicationConfig::ProcessBinary(4), Hooks::default()).unwrap();
    let marks = tempfile::tempdir().unwrap();
    let (addresses, marks) = (addresses(), marks.path());
    let processes = [0, 1].map(|process| start(process, &addresses, scratch.path(), marks));
    for (process, half) in processes.into_iter().zip(plain.chunks(2)) {
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            said.contains(&format!("seen {half:?}")),
            "{said}: not {half:?}"
        );
    }
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        0,
        "nothing is left"
    );
}

#[test]
fn when_one_process_is_killed_the_other_ends_with_an_error_and_nothing_stays() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let marks = tempfile::tempdir().unwrap();
    let (addresses, marks) = (addresses(), marks.path());
    let [mut killed, mut left] =
        [0, 1].map(|process| start(process, &addresses, scratch.path(), marks));
    let begun = Instant::now();
    while std::fs::read_dir(marks).unwrap().count() < 4 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "somebody does not begin"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let status = loop {
        if let Some(status) = left.try_wait().unwrap() {
            break status;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "the other one hangs"
        );
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(!status.success(), "it has not seen everything");
    // The next one that starts there removes what the killed one has left.
    drop(spill(scratch.path(), 0));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}
