//! [`Arrangement`]: updates arranged epoch by epoch, and a digest of what the trace holds. The
//! example's, and that of the tests.

use differential_dataflow::columnar::LINK_TARGET;
use differential_dataflow::columnar::collection::{Builder, RecordedUpdates};
use differential_dataflow::columnar::trace::{self, ColChunk};
use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::chunk::{Chunk, ChunkBatcher, ChunkSpine};
use pager_differential::{Chunker, Scan, TrieChunk};
use timely::container::{ContainerBuilder, PushInto};
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::progress::frontier::AntichainRef;
use timely::worker::Worker;

/// Key, value, time and difference.
pub(crate) type Update = (u64, u64, u64, i64);

/// What a trace's chunks are, and what makes them.
pub(crate) trait Kind: 'static {
    type Chunk: Chunk<Time = u64> + Scan<Update = Update> + Default + 'static;
    type Chunker: ContainerBuilder<Container = Self::Chunk>
        + for<'a> PushInto<&'a mut RecordedUpdates<Update>>
        + 'static;
}

/// The engine's chunks, of 8192 updates.
pub(crate) struct Engines;

impl Kind for Engines {
    type Chunk = ColChunk<Update>;
    type Chunker = trace::Chunker<Update>;
}

/// Pager's, of so many bytes.
pub(crate) struct Pagers<const BYTES: usize>;

impl<const BYTES: usize> Kind for Pagers<BYTES> {
    type Chunk = TrieChunk<Update, BYTES>;
    type Chunker = Chunker<Update, BYTES>;
}

type Trace<K> = TraceAgent<ChunkSpine<<K as Kind>::Chunk>>;

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
pub(crate) struct Arrangement<'w, K: Kind> {
    worker: &'w mut Worker,
    input: InputHandle<u64, Builder<Update>>,
    probe: Handle<u64>,
    trace: Trace<K>,
}

impl<'w, K: Kind> Arrangement<'w, K> {
    pub(crate) fn new(worker: &'w mut Worker) -> Self {
        let mut input = <InputHandle<u64, Builder<Update>>>::new_with_builder();
        let probe = Handle::new();
        let trace = worker.dataflow::<u64, _, _>(|scope| {
            let stream = scope.input_from(&mut input);
            let arranged = arrange_core::<_, _, _, ChunkSpine<K::Chunk>>(
                stream,
                Pipeline,
                "arrange",
                ChunkBatcher::<K::Chunker, K::Chunk>::new,
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
        for (sent, update) in updates.enumerate() {
            self.input.send(update);
            // What is sent is in memory until the worker comes to it.
            if (sent + 1).is_multiple_of(LINK_TARGET) {
                self.worker.step();
            }
        }
        let time = epoch + 1;
        self.input.advance_to(time);
        self.input.flush();
        self.trace
            .set_physical_compaction(AntichainRef::new(&[time]));
        while self.probe.less_than(&time) {
            self.worker.step();
        }
    }

    /// Lets times before `time` become it.
    #[allow(dead_code, reason = "the example keeps all times")]
    pub(crate) fn compact(&mut self, time: u64) {
        self.trace
            .set_logical_compaction(AntichainRef::new(&[time]));
    }

    /// Closes the input, and has everything come to rest.
    #[allow(dead_code, reason = "the example reads while there may be more")]
    pub(crate) fn close(self) -> Closed<K> {
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
        Closed(trace)
    }

    /// What the trace holds: a digest, and how many updates.
    #[allow(dead_code, reason = "the tests close the input first")]
    pub(crate) fn read(&self) -> (u64, u64) {
        held::<K>(&self.trace)
    }
}

/// A trace to which nothing is added any more.
#[allow(dead_code, reason = "the example reads while there may be more")]
pub(crate) struct Closed<K: Kind>(pub(crate) Trace<K>);

#[allow(dead_code, reason = "the example reads while there may be more")]
impl<K: Kind> Closed<K> {
    /// What it holds: a digest, and how many updates.
    pub(crate) fn read(&self) -> (u64, u64) {
        held::<K>(&self.0)
    }

    /// All updates in it.
    pub(crate) fn updates(&self) -> Vec<Update> {
        let mut all = Vec::new();
        each::<K>(&self.0, |update| all.push(update));
        all
    }
}

fn held<K: Kind>(trace: &Trace<K>) -> (u64, u64) {
    let (mut sum, mut count) = (0u64, 0u64);
    each::<K>(trace, |(key, value, time, diff)| {
        sum = sum.wrapping_add(digest(key, value, time, diff));
        count += 1;
    });
    (sum, count)
}

fn each<K: Kind>(trace: &Trace<K>, mut each: impl FnMut(Update)) {
    trace.map_spans(|span| {
        let chunks = span.inner.iter().flat_map(|batch| &batch.chunks);
        pager_differential::scan(chunks, |updates| {
            for (key, value, time, diff) in updates.iter() {
                each((*key, *value, *time, *diff));
            }
        });
    });
}
