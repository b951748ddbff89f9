//! [`Arrangement`]: updates arranged epoch by epoch, and a digest of what the trace holds. The
//! example's, and that of the tests.

use differential_dataflow::columnar::collection::Builder;
use differential_dataflow::columnar::trace::{Batcher, Spine};
use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::TraceReader;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::progress::frontier::AntichainRef;
use timely::worker::Worker;

/// Key, value, time and difference.
pub(crate) type Update = (u64, u64, u64, i64);

type Trace = TraceAgent<Spine<u64, u64, u64, i64>>;

/// A number from which nothing is to be seen of its neighbours.
pub(crate) fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// Of an update, so that those of equal key, value and time add up.
pub(crate) fn digest(key: u64, value: u64, time: u64, diff: i64) -> u64 {
    mix(key ^ mix(value ^ mix(time))).wrapping_mul(diff.cast_unsigned())
}

/// A trace that is fed.
pub(crate) struct Arrangement<'w> {
    worker: &'w mut Worker,
    input: InputHandle<u64, Builder<Update>>,
    probe: Handle<u64>,
    trace: Trace,
}

impl<'w> Arrangement<'w> {
    pub(crate) fn new(worker: &'w mut Worker) -> Self {
        let mut input = <InputHandle<u64, Builder<Update>>>::new_with_builder();
        let probe = Handle::new();
        let trace = worker.dataflow::<u64, _, _>(|scope| {
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
        Self {
            worker,
            input,
            probe,
            trace,
        }
    }

    /// Arranges all updates of an epoch.
    pub(crate) fn arrange(&mut self, epoch: u64, updates: impl Iterator<Item = Update>) {
        updates.for_each(|update| self.input.send(update));
        let time = epoch + 1;
        self.input.advance_to(time);
        self.input.flush();
        self.trace
            .set_physical_compaction(AntichainRef::new(&[time]));
        while self.probe.less_than(&time) {
            self.worker.step();
        }
    }

    /// Closes the input, has everything come to rest, and [reads](Self::read).
    #[allow(dead_code, reason = "the example reads while there may be more")]
    pub(crate) fn read_last(self) -> (u64, u64) {
        let Self {
            worker,
            input,
            probe,
            trace,
        } = self;
        input.close();
        while worker.step() {
            if probe.done() {
                break;
            }
        }
        held(&trace)
    }

    /// What the trace holds: a digest, and how many updates.
    #[allow(dead_code, reason = "the tests close the input first")]
    pub(crate) fn read(&self) -> (u64, u64) {
        held(&self.trace)
    }
}

fn held(trace: &Trace) -> (u64, u64) {
    let (mut sum, mut count) = (0u64, 0u64);
    trace.map_spans(|span| {
        let chunks = span.inner.iter().flat_map(|batch| &batch.chunks);
        pager_differential::scan(chunks, |updates| {
            for (key, value, time, diff) in updates.iter() {
                sum = sum.wrapping_add(digest(*key, *value, *time, *diff));
                count += 1;
            }
        });
    });
    (sum, count)
}
