//! The codec over reference backends: it keeps every guarantee, loses nothing when what
//! is beneath fails, believes nothing of what comes back, reads no more than it has to,
//! and chooses by what the device takes.

#![cfg(feature = "codec")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use pager_core::codec::{Codec, CodecSlot, Compressed, Scheme};
use pager_core::{
    Backend, Error, Payload, Preferences, Registry, Residency, Result, TransferMemory, Usage,
    Window,
};
use pager_testkit::content::{assert_words, words};
use pager_testkit::{
    Expectations, Failure, FaultyBackend, KeepingBackend, MemoryBackend, Operation, model,
};
use proptest::prelude::*;

const PORTION_WORDS: usize = (2 << 20) / 8;

fn always(scheme: Scheme) -> Codec {
    Codec::Always(scheme)
}

pager_testkit::conformance_tests! {
    expecting Expectations::none().keeps_capacity();
    fn over_memory(
        #[values(
            Codec::Off, Codec::Auto, always(Scheme::Pack), always(Scheme::Delta),
            always(Scheme::Dictionary), always(Scheme::Lz4)
        )]
        codec: Codec,
    ) -> Registry<Compressed<MemoryBackend>> {
        Registry::new(Compressed::new(MemoryBackend::new(), codec))
    }
}

pager_testkit::conformance_tests! {
    fn over_a_backend_that_keeps_chunks(
        #[values(Codec::Off, always(Scheme::Pack))] codec: Codec,
    ) -> Registry<Compressed<KeepingBackend>> {
        Registry::new(Compressed::new(KeepingBackend::new(), codec))
    }
}

pager_testkit::conformance_tests! {
    fn under_a_budget(
        #[values(100 << 10, 64 << 20)] budget_bytes: usize,
    ) -> Registry<Compressed<MemoryBackend>> {
        let residency = Residency::builder().budget_bytes(budget_bytes).build();
        let backend = Compressed::new(MemoryBackend::new(), always(Scheme::Patch));
        Registry::with_residency(backend, &residency)
    }
}

/// A registry over memory, with this codec.
fn over(codec: Codec) -> Registry<Compressed<MemoryBackend>> {
    Registry::new(Compressed::new(MemoryBackend::new(), codec))
}

#[test]
fn what_the_suite_pages_out_is_really_encoded() {
    let registry = over(always(Scheme::Pack));
    let handle = registry.pageout(&mut [words(1, 5000)]).unwrap();
    let stats = registry.backend().codec_stats();
    assert_eq!(stats.of(Scheme::Pack).plain_bytes, 40_000);
    assert!(stats.stored_bytes() <= 32 << 10, "{stats}");
    assert_eq!(registry.backend().usage().logical_bytes, 40_000);
    assert!(registry.backend().inner().usage().logical_bytes <= 32 << 10);
    drop(handle);
    assert_eq!(registry.backend().usage().logical_bytes, 0);
    assert_eq!(registry.backend().inner().usage().logical_bytes, 0);
}

#[test]
fn a_payload_of_many_portions_comes_back_across_them() {
    let registry = over(always(Scheme::Pack));
    let lens = [PORTION_WORDS - 3, 5, 2 * PORTION_WORDS, 1];
    let mut chunks = lens.map(|len| words(len as u64, len));
    let expected = chunks.concat();
    let handle = registry.pageout(&mut chunks).unwrap();
    let ranges = [
        PORTION_WORDS - 2000..PORTION_WORDS + 2000,
        10..11,
        3 * PORTION_WORDS..3 * PORTION_WORDS + 3,
        0..3 * PORTION_WORDS + 3,
        10..10,
        PORTION_WORDS..PORTION_WORDS + 1,
    ];
    let mut found = Vec::new();
    handle.read_at_many(&ranges, &mut found).unwrap();
    let wanted: Vec<u64> = ranges
        .iter()
        .flat_map(|range| &expected[range.clone()])
        .copied()
        .collect();
    assert_words(&found, &wanted, "ranges across portions");
    handle.take(&mut found).unwrap();
    assert_words(&found, &expected, "all of it");
}

#[test]
fn a_portion_that_does_not_shrink_is_copied_among_those_that_do() {
    let registry = over(always(Scheme::Pack));
    let mut chunk = vec![7; PORTION_WORDS];
    chunk.extend((0..PORTION_WORDS as u64).map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    chunk.extend_from_slice(&[8; 100]);
    let expected = chunk.clone();
    let handle = registry.pageout(&mut [chunk]).unwrap();
    let stats = registry.backend().codec_stats();
    assert_eq!(stats.passed_payloads, 0);
    let stored = usize::try_from(stats.stored_bytes()).unwrap();
    assert!(
        stored / 8 > PORTION_WORDS && stored / 8 < PORTION_WORDS + 4096,
        "{stats}"
    );
    let mut found = Vec::new();
    let around = PORTION_WORDS - 5000..2 * PORTION_WORDS + 50;
    handle
        .read_at(around.start, around.len(), &mut found)
        .unwrap();
    assert_words(&found, &expected[around], "across all three");
}

#[test]
fn what_does_not_shrink_goes_on_untouched() {
    let registry = Registry::new(Compressed::new(KeepingBackend::new(), Codec::Auto));
    let chunk: Vec<u64> = (1..=100_000u64)
        .map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ at << 40).rotate_left(17))
        .collect();
    let place = chunk.as_ptr();
    let handle = registry.pageout(&mut [chunk]).unwrap();
    let mut back = Vec::new();
    handle.take(&mut back).unwrap();
    assert_eq!(back.as_ptr(), place, "the very memory came back");
    assert_eq!(registry.backend().codec_stats().passed_payloads, 1);
}

// Beneath the codec something fails.

fn fails_beneath(steps: &[model::Step], every: (u64, u64), failure: Failure) {
    let inner = FaultyBackend::new(MemoryBackend::new());
    let registry = Registry::new(Compressed::new(inner, always(Scheme::Pack)));
    let faulty = registry.backend().inner();
    faulty.fail_every(Operation::PageOut, every.0, failure);
    faulty.fail_every(Operation::Read, every.1, failure);
    let failures = model::run_with_failures(&registry, steps, || {
        faulty.heal(Operation::PageOut);
        faulty.heal(Operation::Read);
    });
    let injected = faulty.failures(Operation::PageOut) + faulty.failures(Operation::Read);
    assert_eq!(failures as u64, injected, "every failure came through");
    assert_eq!(faulty.inner().usage().logical_bytes, 0, "nothing is left");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_codec_agrees_with_the_model(
        steps in model::operations(60),
        codec in proptest::sample::select(vec![
            Codec::Off, Codec::Auto, always(Scheme::Pack), always(Scheme::Patch),
            always(Scheme::Delta), always(Scheme::Decimal), always(Scheme::Lz4),
        ]),
    ) {
        model::run(&over(codec), &steps);
    }

    #[test]
    fn failures_beneath_cost_nothing(
        steps in model::operations(60),
        every in (1..6u64, 1..6u64),
        failure in proptest::sample::select(&Failure::ALL[..]),
    ) {
        fails_beneath(&steps, every, failure);
    }
}

#[test]
fn a_portion_that_cannot_be_stored_takes_the_others_with_it() {
    let inner = FaultyBackend::new(MemoryBackend::new());
    let registry = Registry::new(Compressed::new(inner, always(Scheme::Pack)));
    let beneath = registry.backend().inner();
    beneath.fail_nth(Operation::PageOut, 3, Failure::OutOfSpace);
    let expected = words(1, 4 * PORTION_WORDS);
    let mut chunks = [expected.clone()];
    let error = registry.pageout(&mut chunks).unwrap_err();
    assert!(error.is_out_of_space());
    assert_words(&chunks[0], &expected, "the chunk is as it was");
    assert_eq!(beneath.inner().usage().logical_bytes, 0, "nothing is left");
    assert_eq!(registry.backend().usage().logical_bytes, 0);
}

// What comes back is not what went out.

const WORD_BYTES: usize = size_of::<u64>();

/// A backend that can be told to change what it gives back, and counts what it reads.
#[derive(Debug, Default)]
struct Medium {
    inner: MemoryBackend,
    /// Added to every so-manieth word that is read; zero for none.
    damage: AtomicU64,
    every: AtomicUsize,
    read_words: AtomicUsize,
    read_calls: AtomicUsize,
    nanos_per_byte: AtomicU64,
}

impl Medium {
    fn take_time(&self, bytes: usize) {
        let nanos = self.nanos_per_byte.load(Ordering::Relaxed) * bytes as u64;
        if nanos > 0 {
            std::thread::sleep(Duration::from_nanos(nanos));
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for Medium {
    type Slot = Vec<u8>;

    fn name(&self) -> &'static str {
        "medium"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Vec<u8>> {
        self.take_time(payload.len_bytes());
        self.inner.page_out(payload)
    }

    fn read(&self, slot: &Vec<u8>, ranges: &[Range<usize>], window: &mut Window<'_>) -> Result<()> {
        self.take_time(window.remaining_bytes());
        self.read_calls.fetch_add(1, Ordering::Relaxed);
        self.read_words
            .fetch_add(window.len() / WORD_BYTES, Ordering::Relaxed);
        let damage = self.damage.load(Ordering::Relaxed);
        let every = self.every.load(Ordering::Relaxed);
        for range in ranges {
            // Blocks are whole words, and so is what the tests store.
            for at in range.clone().step_by(WORD_BYTES) {
                let is_hit = every > 0 && (at / WORD_BYTES).is_multiple_of(every);
                let word: u64 = bytemuck::pod_read_unaligned(&slot[at..at + WORD_BYTES]);
                let word = word.wrapping_add(if is_hit { damage } else { 0 });
                window.copy_from(&word.to_ne_bytes());
            }
        }
        Ok(())
    }

    fn prefetch(&self, _: &Vec<u8>, _: Range<usize>) {}

    fn free(&self, slot: Vec<u8>) {
        self.inner.free(slot);
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn in_place(&self) -> Option<&dyn pager_core::InPlace<Slot = Vec<u8>>> {
        None
    }

    fn attach(&self, _: &TransferMemory) {}

    fn preferences(&self) -> Preferences {
        self.inner.preferences()
    }

    fn slot_bytes(&self, slot: &Vec<u8>) -> usize {
        self.inner.slot_bytes(slot)
    }

    fn stored_bytes(&self, slot: &Vec<u8>) -> u64 {
        self.inner.stored_bytes(slot)
    }
}

fn medium(codec: Codec) -> Registry<Compressed<Medium>> {
    Registry::new(Compressed::new(Medium::default(), codec))
}

/// Numbers that every scheme makes something of.
fn column(len: usize) -> Vec<u64> {
    (0..len as u64).map(|at| 1000 + at % 97).collect()
}

#[test]
fn a_block_that_does_not_decode_is_corrupt_and_appends_nothing() {
    for scheme in Scheme::ALL.into_iter().filter(|scheme| scheme.is_enabled()) {
        let registry = medium(always(scheme));
        let expected = column(20_000);
        let handle = registry.pageout(&mut [expected.clone()]).unwrap();
        let medium = registry.backend().inner();
        // The first word of the first block: its kind.
        medium.damage.store(0x60, Ordering::Relaxed);
        medium.every.store(usize::MAX / 2, Ordering::Relaxed);
        let mut found = vec![1, 2, 3];
        let error = handle.read_at(5, 10, &mut found).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Corrupt {
                    backend: "medium",
                    offset_bytes: 0,
                    ..
                }
            ),
            "{scheme}: {error:?}"
        );
        assert_eq!(found, [1, 2, 3]);
        medium.every.store(0, Ordering::Relaxed);
        let mut found = Vec::new();
        handle.take(&mut found).unwrap();
        assert_words(&found, &expected, "undamaged again");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damage_is_an_error_or_as_many_other_words(
        damage in 1..u64::MAX,
        every in 1..3000usize,
        scheme in proptest::sample::select(&Scheme::ALL[..]),
        range in (0..20_000usize, 0..20_000usize),
    ) {
        let registry = medium(always(scheme));
        let handle = registry.pageout(&mut [column(20_000)]).unwrap();
        let medium = registry.backend().inner();
        medium.damage.store(damage, Ordering::Relaxed);
        medium.every.store(every, Ordering::Relaxed);
        let (start, end) = (range.0.min(range.1), range.0.max(range.1));
        let mut found = Vec::new();
        match handle.read_at(start, end - start, &mut found) {
            Ok(()) => prop_assert_eq!(found.len(), end - start),
            Err(error) => {
                let is_corrupt = matches!(error, Error::Corrupt { .. });
                prop_assert!(is_corrupt, "{error:?}");
                prop_assert!(found.is_empty());
            }
        }
    }
}

// No more than it has to.

#[test]
fn a_range_read_reads_the_blocks_that_it_touches_in_one_call() {
    let registry = medium(always(Scheme::Pack));
    let handle = registry.pageout(&mut [words(1, PORTION_WORDS)]).unwrap();
    let medium = registry.backend().inner();
    let mut found = Vec::new();
    handle.read_at(98_400, 512, &mut found).unwrap();
    assert_eq!(medium.read_calls.load(Ordering::Relaxed), 1);
    let read = medium.read_words.swap(0, Ordering::Relaxed);
    assert!(
        read <= 2048,
        "a block of 12 KiB, but {read} words were read"
    );
    let scattered = [5..6, 200_000..200_001, 6..7, 100_000..100_002];
    handle.read_at_many(&scattered, &mut found).unwrap();
    assert_eq!(medium.read_calls.load(Ordering::Relaxed), 2);
    let read = medium.read_words.load(Ordering::Relaxed);
    assert!(read <= 3 * 2048, "{read} words were read");
    let all = words(1, PORTION_WORDS);
    let wanted = [
        &all[98_400..98_912],
        &[all[5], all[200_000], all[6]],
        &all[100_000..100_002],
    ];
    assert_words(&found, &wanted.concat(), "scattered");
}

#[test]
fn the_index_takes_a_few_bytes_a_block() {
    let backend = Compressed::new(MemoryBackend::new(), always(Scheme::Pack));
    let mut chunks = [column(PORTION_WORDS)];
    let slot: CodecSlot<_> = backend.page_out(&mut Payload::new(&mut chunks)).unwrap();
    assert!(backend.slot_bytes(&slot) <= 128 * 4 + 128);
    backend.free(slot);
}

// The choice.

fn random(seed: u64) -> Vec<u64> {
    let mut state = seed;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(next).take(1 << 14).collect()
}

/// Pages out and takes back, `times` times.
fn round_trips(registry: &Registry<Compressed<Medium>>, data: &[u64], times: usize) {
    for _ in 0..times {
        let mut back = Vec::new();
        let handle = registry.pageout(&mut [data.to_vec()]).unwrap();
        handle.take(&mut back).unwrap();
        assert_words(&back, data, "round trip");
    }
}

#[test]
fn the_choice_follows_the_data() {
    let registry = medium(Codec::Auto);
    let backend = registry.backend();
    // 2 MB/s, so that a build without optimisation is faster than that.
    backend.inner().nanos_per_byte.store(500, Ordering::Relaxed);
    round_trips(&registry, &random(1), 4);
    assert_eq!(backend.codec_stats().passed_payloads, 4, "random data");
    let shrinks = |data: &[u64], least_times: u64| {
        let before = backend.codec_stats();
        round_trips(&registry, data, 4);
        let after = backend.codec_stats();
        assert_eq!(after.passed_payloads, before.passed_payloads, "{after}");
        let stored = after.stored_bytes() - before.stored_bytes();
        let plain = after.plain_bytes() - before.plain_bytes();
        assert!(stored * least_times <= plain, "{after}");
    };
    let ascending: Vec<u64> = (0..1 << 14).map(|at| at / 4 + at / 32 * 24).collect();
    shrinks(&ascending, 15);
    let few: Vec<u64> = random(2).iter().map(|word| (word % 5) << 40).collect();
    shrinks(&few, 15);
    let near: Vec<u64> = random(5).iter().map(|word| (word % 1000) << 9).collect();
    shrinks(&near, 3);
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let price = |word: &u64| ((word % 100_000) as f64 / 100.0).to_bits();
    let prices: Vec<u64> = random(3).iter().map(price).collect();
    shrinks(&prices, 3);
    round_trips(&registry, &random(4), 4);
    let stats = backend.codec_stats();
    assert_eq!(stats.passed_payloads, 8, "random data again: {stats}");
    assert!(stats.trials <= 7, "classes are remembered: {stats:?}");
}

#[test]
fn the_choice_follows_the_device() {
    let registry = medium(Codec::Auto);
    let backend = registry.backend();
    // Text: nothing but a general codec makes much of it, and slowly.
    let text = "it is a truth universally acknowledged that a disk in want of bandwidth; ";
    let bytes: Vec<u8> = text.bytes().cycle().take(1 << 17).collect();
    let words: Vec<u64> = bytes
        .as_chunks::<8>()
        .0
        .iter()
        .zip(random(7))
        .map(|(word, noise)| u64::from_le_bytes(*word) ^ (noise & 3))
        .collect();
    // 2 MB/s: whatever makes it smaller is worth its time.
    backend.inner().nanos_per_byte.store(500, Ordering::Relaxed);
    round_trips(&registry, &words, 6);
    let slow = backend.codec_stats();
    // The first one came before anything was known of the device.
    assert!(slow.passed_payloads <= 1, "{slow}");
    // As fast as memory: nothing is, once that has been seen.
    backend.inner().nanos_per_byte.store(0, Ordering::Relaxed);
    round_trips(&registry, &words, 90);
    let fast = backend.codec_stats();
    let general = |stats: &pager_core::codec::CodecStats| {
        stats.of(Scheme::Lz4).payloads + stats.of(Scheme::Zstd).payloads
    };
    assert!(general(&fast) - general(&slow) < 80, "{fast}");
}
