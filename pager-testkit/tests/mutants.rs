//! Backends that are broken on purpose: the conformance suite must notice each.

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;

use pager_core::{
    Backend, ChunkKind, InPlace, OwnedChunk, Payload, Registry, Result, Usage, Window,
};
use pager_testkit::{Expectations, Guarantee, KeepingBackend, KeptChunks, MemoryBackend, model};
use rstest::rstest;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    DropsTheLastWord,
    DropsTheLastWordOfLargePayloads,
    SortsTheRanges,
    MergesOverlappingRanges,
    ReadsFromTheStartOfThePayload,
    LeavesTheChunksFull,
    LeavesTheLastChunkFull,
    JoinsTheChunksBackwards,
    SkipsWhatFollowsAnEmptyChunk,
    FillsTooLittle,
    LosesCapacity,
    LeaksUsageOnFree,
    CountsChunksInsteadOfBytes,
    ChargesForEmptyPayloads,
    ReadsWhatWasFreed,
    MixesThreadsUp,
    PrefetchEatsAWord,
    PanicsOnPrefetch,
    RefusesEmptyPayloads,
    RefusesManyChunks,
    ReadsAtMostOneWindow,
}

/// A correct backend with a bug before it.
#[derive(Debug)]
struct Mutant {
    inner: MemoryBackend,
    bug: Bug,
    /// For bugs that remember: what was freed or read last.
    remembered: Mutex<Vec<u8>>,
}

impl Mutant {
    fn with(bug: Bug) -> Registry<Self> {
        Registry::new(Self {
            inner: MemoryBackend::new(),
            bug,
            remembered: Mutex::default(),
        })
    }

    /// What the broken backend stores instead of these chunks.
    fn distort(&self, payload: &Payload<'_>) -> Vec<u8> {
        let mut bytes: Vec<u8> = match self.bug {
            Bug::JoinsTheChunksBackwards => {
                let mut chunks: Vec<&[u8]> = payload.chunks().collect();
                chunks.reverse();
                chunks.concat()
            }
            Bug::SkipsWhatFollowsAnEmptyChunk => {
                let before = payload.chunks().take_while(|chunk| !chunk.is_empty());
                let mut bytes: Vec<u8> = before.flatten().copied().collect();
                bytes.resize(payload.len_bytes(), 0);
                bytes
            }
            _ => payload.chunks().flatten().copied().collect(),
        };
        let drops_last = match self.bug {
            Bug::DropsTheLastWord => true,
            Bug::DropsTheLastWordOfLargePayloads => bytes.len() > 8192,
            _ => false,
        };
        if let Some(last) = bytes.last_mut()
            && drops_last
        {
            *last = 0;
        }
        if self.bug == Bug::ReadsWhatWasFreed && bytes.len() > 1 {
            let freed = self.remembered.lock().expect("no holder panics");
            let tail = bytes.len() - 1;
            if let Some(stale) = freed.get(tail) {
                bytes[tail] = *stale;
            }
        }
        bytes
    }

    fn read_broken(
        &self,
        slot: &Vec<u8>,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        let mut ranges = ranges.to_vec();
        match self.bug {
            Bug::SortsTheRanges => ranges.sort_by_key(|range| range.start),
            Bug::MergesOverlappingRanges => {
                let mut covered = 0;
                for range in &mut ranges {
                    range.start = range.start.max(covered).min(range.end);
                    covered = range.end;
                }
                let missing = window.len() - ranges.iter().map(Range::len).sum::<usize>();
                self.inner.read(slot, &ranges, window)?;
                window.copy_from(&vec![0; missing]);
                return Ok(());
            }
            Bug::ReadsFromTheStartOfThePayload => {
                for range in &mut ranges {
                    *range = 0..range.len();
                }
            }
            Bug::FillsTooLittle => {
                let last = ranges.iter_mut().rfind(|range| range.start < range.end);
                if let Some(last) = last {
                    last.end -= 1;
                }
            }
            Bug::ReadsAtMostOneWindow if ranges.len() > 8 => {
                window.copy_from(&vec![0; window.len()]);
                return Ok(());
            }
            Bug::MixesThreadsUp => {
                let scratch =
                    |bytes: Vec<u8>| *self.remembered.lock().expect("no holder panics") = bytes;
                scratch(
                    ranges
                        .iter()
                        .flat_map(|r| &slot[r.clone()])
                        .copied()
                        .collect(),
                );
                std::thread::yield_now();
                let found = self.remembered.lock().expect("no holder panics").clone();
                let found = found.into_iter().chain(std::iter::repeat(0));
                window.copy_from(&found.take(window.len()).collect::<Vec<u8>>());
                return Ok(());
            }
            _ => {}
        }
        self.inner.read(slot, &ranges, window)
    }
}

impl Backend for Mutant {
    type Slot = Vec<u8>;

    fn name(&self) -> &'static str {
        "mutant"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Vec<u8>> {
        let refused = match self.bug {
            Bug::RefusesEmptyPayloads => payload.is_empty(),
            Bug::RefusesManyChunks => payload.chunk_count() > 1024,
            _ => false,
        };
        if refused {
            return Err(pager_core::Error::ShutDown);
        }
        let bytes = self.distort(payload);
        let slot = self.inner.page_out(&mut Payload::of_bytes(&bytes))?;
        match self.bug {
            Bug::LeavesTheChunksFull => {}
            Bug::LeavesTheLastChunkFull => {
                let full = payload.chunks().filter(|chunk| !chunk.is_empty()).count();
                payload
                    .take_chunks()
                    .take(full.saturating_sub(1))
                    .for_each(drop);
            }
            Bug::LosesCapacity => payload.take_chunks().for_each(drop),
            _ => payload.clear(),
        }
        Ok(slot)
    }

    fn read(&self, slot: &Vec<u8>, ranges: &[Range<usize>], window: &mut Window<'_>) -> Result<()> {
        self.read_broken(slot, ranges, window)
    }

    fn prefetch(&self, slot: &Vec<u8>, range: Range<usize>) {
        match self.bug {
            Bug::PanicsOnPrefetch => assert!(range.len() != slot.len(), "not that much"),
            Bug::PrefetchEatsAWord => self
                .remembered
                .lock()
                .expect("no holder panics")
                .push(slot[0]),
            _ => {}
        }
    }

    fn free(&self, slot: Vec<u8>) {
        match self.bug {
            Bug::LeaksUsageOnFree if slot.len() == 8 => {}
            Bug::ReadsWhatWasFreed => {
                *self.remembered.lock().expect("no holder panics") = slot.clone();
                self.inner.free(slot);
            }
            _ => self.inner.free(slot),
        }
    }

    fn usage(&self) -> Usage {
        let mut usage = self.inner.usage();
        match self.bug {
            Bug::CountsChunksInsteadOfBytes => usage.logical_bytes /= 8,
            Bug::ChargesForEmptyPayloads => usage.stored_bytes = self.charged(),
            Bug::PrefetchEatsAWord => {
                let eaten = self.remembered.lock().expect("no holder panics").len() as u64;
                usage.logical_bytes = usage.logical_bytes.saturating_sub(eaten * 8);
            }
            _ => {}
        }
        usage
    }
}

impl Mutant {
    /// More each time that anybody asks.
    fn charged(&self) -> u64 {
        let mut remembered = self.remembered.lock().expect("no holder panics");
        remembered.push(0);
        remembered.len() as u64 * 4096
    }
}

/// What the backends beneath the mutants promise beyond what all do.
const MEMORY: Expectations = Expectations::none().keeps_capacity();
const KEEPING: Expectations = Expectations::none().same_allocation();

/// The guarantees that `make`'s registries do not keep.
fn broken<B: Backend>(make: impl Fn() -> Registry<B>) -> Vec<Guarantee> {
    let keeps = |guarantee: &&Guarantee| {
        let check = AssertUnwindSafe(|| guarantee.check(MEMORY, &make));
        panic::catch_unwind(check).is_err()
    };
    Guarantee::ALL.iter().filter(keeps).copied().collect()
}

#[test]
#[cfg_attr(miri, ignore = "runs the whole suite")]
fn the_mutant_without_a_bug_keeps_every_guarantee() {
    assert_eq!(broken(|| Mutant::with(Bug::None)), []);
}

#[rstest]
#[case(Bug::DropsTheLastWord, Guarantee::PayloadsComeBack)]
#[case(Bug::DropsTheLastWordOfLargePayloads, Guarantee::PayloadsComeBack)]
#[case(Bug::SortsTheRanges, Guarantee::ManyRanges)]
#[case(Bug::MergesOverlappingRanges, Guarantee::ManyRanges)]
#[case(Bug::ReadsFromTheStartOfThePayload, Guarantee::EveryRangeReads)]
#[case(Bug::LeavesTheChunksFull, Guarantee::ChunksAreEmptied)]
#[case(Bug::LeavesTheLastChunkFull, Guarantee::ChunksAreEmptied)]
#[case(Bug::JoinsTheChunksBackwards, Guarantee::ChunksComeBackJoined)]
#[case(Bug::SkipsWhatFollowsAnEmptyChunk, Guarantee::ChunksComeBackJoined)]
#[case(Bug::FillsTooLittle, Guarantee::PayloadsComeBack)]
#[case(Bug::LosesCapacity, Guarantee::ChunksKeepCapacity)]
#[case(Bug::LeaksUsageOnFree, Guarantee::DropReclaims)]
#[case(Bug::LeaksUsageOnFree, Guarantee::TakeReclaims)]
#[case(Bug::CountsChunksInsteadOfBytes, Guarantee::UsageIsExact)]
#[case(Bug::ChargesForEmptyPayloads, Guarantee::EmptyPayloads)]
#[case(Bug::ReadsWhatWasFreed, Guarantee::FreedBytesNeverShow)]
#[case(Bug::PrefetchEatsAWord, Guarantee::UsageIsExact)]
#[case(Bug::PanicsOnPrefetch, Guarantee::PrefetchIsAHint)]
#[case(Bug::RefusesEmptyPayloads, Guarantee::EmptyPayloads)]
#[case(Bug::ReadsAtMostOneWindow, Guarantee::ManyRanges)]
#[cfg_attr(
    not(miri),
    case(Bug::RefusesManyChunks, Guarantee::ChunksComeBackJoined)
)]
#[cfg_attr(not(miri), case(Bug::MixesThreadsUp, Guarantee::ThreadsStayApart))]
fn every_bug_is_noticed_by_the_guarantee_it_breaks(#[case] bug: Bug, #[case] breaks: Guarantee) {
    let check = AssertUnwindSafe(|| breaks.check(MEMORY, || Mutant::with(bug)));
    assert!(
        panic::catch_unwind(check).is_err(),
        "{bug:?} went unnoticed by {breaks:?}"
    );
}

/// What is wrong with a `detach`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detach {
    GivesACopy,
    GivesZeros,
    ForgetsToCount,
    GivesTooLittle,
    GivesTheWrongKind,
}

#[derive(Debug)]
struct WrongDetach {
    inner: KeepingBackend,
    wrong: Detach,
    /// Bytes that were detached and are still counted.
    miscounted_bytes: Mutex<u64>,
}

impl WrongDetach {
    fn with(wrong: Detach) -> Registry<Self> {
        Registry::new(Self {
            inner: KeepingBackend::new(),
            wrong,
            miscounted_bytes: Mutex::default(),
        })
    }
}

impl Backend for WrongDetach {
    type Slot = KeptChunks;

    fn name(&self) -> &'static str {
        "wrong-detach"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<KeptChunks> {
        self.inner.page_out(payload)
    }

    fn read(
        &self,
        slot: &KeptChunks,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        self.inner.read(slot, ranges, window)
    }

    fn free(&self, slot: KeptChunks) {
        self.inner.free(slot);
    }

    fn usage(&self) -> Usage {
        let mut usage = self.inner.usage();
        usage.logical_bytes += *self.miscounted_bytes.lock().expect("no holder panics");
        usage
    }

    fn in_place(&self) -> Option<&dyn InPlace<Slot = KeptChunks>> {
        Some(self)
    }
}

impl InPlace for WrongDetach {
    type Slot = KeptChunks;

    fn adopts(&self) -> bool {
        true
    }

    fn reads_stay(&self) -> bool {
        false
    }

    fn detach(&self, slot: KeptChunks, wants: ChunkKind) -> Result<OwnedChunk, KeptChunks> {
        let detached = InPlace::detach(&self.inner, slot, wants)?;
        let OwnedChunk::Vec(buf) = detached else {
            return Ok(detached);
        };
        let vec: Vec<u64> = buf.into_vec().expect("words were paged out");
        Ok(OwnedChunk::from(match self.wrong {
            Detach::GivesACopy => vec.clone(),
            Detach::GivesZeros => vec![0; vec.len()],
            Detach::GivesTooLittle => vec[1..].to_vec(),
            Detach::GivesTheWrongKind => {
                let buf = pager_core::ChunkBuf::try_from(&vec[..]).expect("there is memory");
                return Ok(buf.into());
            }
            Detach::ForgetsToCount => {
                *self.miscounted_bytes.lock().expect("no holder panics") +=
                    size_of_val(&vec[..]) as u64;
                vec
            }
        }))
    }

    fn page_in(&self, _: &KeptChunks, _: Range<usize>) -> Result<bool> {
        Ok(false)
    }

    fn release(&self, _: &KeptChunks, _: Range<usize>, _: Range<usize>) {}
}

#[rstest]
#[case(Detach::GivesACopy, Guarantee::SameAllocation)]
#[case(Detach::GivesZeros, Guarantee::PayloadsComeBack)]
#[case(Detach::ForgetsToCount, Guarantee::TakeReclaims)]
fn every_wrong_detach_is_noticed(#[case] wrong: Detach, #[case] breaks: Guarantee) {
    let check = AssertUnwindSafe(|| breaks.check(KEEPING, || WrongDetach::with(wrong)));
    assert!(
        panic::catch_unwind(check).is_err(),
        "{wrong:?} went unnoticed by {breaks:?}"
    );
}

/// Clears the chunks although it fails: the model notices, because the suite
/// has no backend that fails.
#[derive(Debug)]
struct ClearsAndFails;

impl Backend for ClearsAndFails {
    type Slot = ();

    fn name(&self) -> &'static str {
        "clears-and-fails"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<()> {
        payload.clear();
        Err(pager_core::Error::ShutDown)
    }

    fn read(&self, (): &(), _: &[Range<usize>], _: &mut Window<'_>) -> Result<()> {
        Ok(())
    }

    fn free(&self, (): ()) {}

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

#[test]
fn chunks_cleared_by_a_failed_pageout_are_noticed() {
    let step = model::Step::PageOut {
        seed: 1,
        lens: vec![24],
        memory: model::Memory::Words,
    };
    let check = AssertUnwindSafe(|| {
        model::run_with_failures(&Registry::new(ClearsAndFails), &[step], || {});
    });
    panic::catch_unwind(check).expect_err("the chunks are gone");
}

#[test]
fn a_window_that_is_not_filled_is_an_error_and_not_rubbish() {
    let registry = Mutant::with(Bug::FillsTooLittle);
    let handle = registry.pageout(&mut [vec![1u64, 2, 3]]).unwrap();
    let mut found = vec![9];
    let error = handle.read_at(0, 3, &mut found).unwrap_err();
    assert!(matches!(error, pager_core::Error::Io { .. }));
    assert_eq!(found, [9]);
}

#[test]
fn a_detached_chunk_of_the_wrong_length_is_an_error_and_no_empty_success() {
    let registry = WrongDetach::with(Detach::GivesTooLittle);
    let handle = registry.pageout(&mut [vec![1u64, 2, 3]]).unwrap();
    let mut found = Vec::new();
    let failed = handle.take(&mut found).unwrap_err();
    assert!(matches!(failed.error(), pager_core::Error::Io { .. }));
    assert!(found.is_empty());
    // The payload is lost, and every later operation says so.
    let error = failed.into_handle().read_at(0, 1, &mut found).unwrap_err();
    assert!(matches!(error, pager_core::Error::Io { .. }), "{error}");
    assert_eq!(registry.live_handles(), 0);
}

#[test]
fn a_detached_chunk_of_the_wrong_kind_is_copied() {
    let registry = WrongDetach::with(Detach::GivesTheWrongKind);
    let handle = registry.pageout(&mut [vec![1u64, 2, 3]]).unwrap();
    let mut found = Vec::new();
    handle.take(&mut found).unwrap();
    assert_eq!(found, [1, 2, 3]);
}
