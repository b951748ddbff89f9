//! Records sent around a ring of four workers in two processes, which receive when they have
//! sent everything.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use pager_timely::{Settings, Spill};
use serde_bytes::ByteBuf;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::generic::Operator;
use timely::worker::Worker;
use timely::{CommunicationConfig, WorkerConfig};

use crate::{Args, End, Ended};

const RECORDS: u64 = 1000;
const RECORD_BYTES: usize = 16 << 10;

pub(super) fn run(args: &Args) -> anyhow::Result<Ended> {
    let config = CommunicationConfig::Cluster {
        threads: 2,
        process: args.process,
        addresses: args.addresses.clone(),
        report: false,
        zerocopy: true,
    };
    let pager = super::pager(args, [0, 2 << 20, 8 << 20])?;
    let settings = Settings::default()
        .threshold_bytes(1 << 20)
        .head_bytes(1 << 19);
    let spill = Spill::new(Arc::clone(&pager), settings);
    let built = config.try_build_with(spill.hooks());
    let (builders, guards) = built.map_err(anyhow::Error::msg)?;
    if let Some(marks) = &args.marks {
        std::fs::write(marks.join(args.process.to_string()), [])?;
    }
    let injection = super::begin(args);
    let config = WorkerConfig::default();
    let workers = timely::execute::execute_from(builders, guards, config, around);
    let workers = workers.map_err(anyhow::Error::msg)?.join();
    let struck = injection.struck();
    injection.heal();
    let ended: Result<Vec<bool>, String> = workers.into_iter().collect();
    let end = match ended {
        Ok(right) => {
            ensure!(right == [true, true], "wrong or missing records");
            End::Whole
        }
        // The other process may have failed, or been killed.
        Err(_) => End::Told(match spill.failure() {
            Some(failure) => failure.cause().to_string(),
            None => "the peer is gone".to_owned(),
        }),
    };
    drop(spill);
    let begun = Instant::now();
    while matches!(end, End::Whole) && pager.stats().total.live_handles > 0 {
        let is_late = begun.elapsed() > Duration::from_secs(20);
        ensure!(
            !is_late,
            "{} handles are left",
            pager.stats().total.live_handles
        );
        thread::sleep(Duration::from_millis(1));
    }
    Ok(Ended { struck, end })
}

/// What record `index` of a worker is made of.
fn byte(worker: u64, index: u64) -> u8 {
    u8::try_from(index.wrapping_mul(worker + 7) % 251).unwrap_or_default()
}

/// Whether the worker has received what the one before it has sent, in order.
fn around(worker: &mut Worker) -> bool {
    let (index, peers) = (worker.index() as u64, worker.peers() as u64);
    let (next, before) = ((index + 1) % peers, (index + peers - 1) % peers);
    let seen = Rc::new(Cell::new((0, true)));
    let sink = Rc::clone(&seen);
    let mut input = InputHandle::<u64, CapacityContainerBuilder<Vec<ByteBuf>>>::new();
    worker.dataflow(|scope| {
        scope.input_from(&mut input).sink(
            Exchange::new(move |_: &ByteBuf| next),
            "sink",
            move |(input, _)| {
                input.for_each(|_, records| {
                    for record in records.drain(..) {
                        let (count, is_right) = sink.get();
                        let wanted = byte(before, count);
                        let is_same = record.len() == RECORD_BYTES
                            && record.iter().all(|byte| *byte == wanted);
                        sink.set((count + 1, is_right && is_same));
                    }
                });
            },
        );
    });
    for at in 0..RECORDS {
        input.send(ByteBuf::from(vec![byte(index, at); RECORD_BYTES]));
    }
    input.close();
    while worker.step_or_park(None) {}
    seen.get() == (RECORDS, true)
}
