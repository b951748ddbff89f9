//! Every public function of the registry, its handles, the residency layer, arenas
//! and buffers, in forked children of a process that never rests: operations on what
//! is the parent's say `ForeignProcess`, figures and listings are empty, buffers go
//! on as memory does, and nothing waits for a lock that a thread of the parent held.

#![cfg(all(target_os = "linux", not(miri)))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]
#![allow(unsafe_code, reason = "forks")]

#[path = "common/every_call.rs"]
mod every_call;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use every_call::{Call, assert_complete, in_child, methods};
use pager_core::{
    Arena, ArenaUsage, ChunkBuf, Error, Group, Registry, Residency, Result, Reuse, Spill,
    SpillReader, SpillWriter,
};
use pager_testkit::MemoryBackend;

/// Children of each kind.
const ROUNDS: usize = 100;

const WORDS: usize = 700;

type Handle = pager_core::Handle<MemoryBackend>;

/// What a child is born with.
struct Inherited {
    registry: Registry<MemoryBackend>,
    residency: Residency,
    arena: Arena,
    /// Two payloads with words, and one without.
    handles: Vec<Handle>,
    /// Of the shared arena, and of `arena`.
    bufs: [ChunkBuf; 2],
    /// One that is being written and read.
    spill: (
        SpillWriter<MemoryBackend>,
        Spill<MemoryBackend>,
        SpillReader<MemoryBackend>,
    ),
    writers: Vec<SpillWriter<MemoryBackend>>,
}

impl Inherited {
    fn new() -> Self {
        let residency = Residency::builder().budget_bytes(64 << 10).build();
        let registry = Registry::with_residency(MemoryBackend::new(), &residency);
        let arena = Arena::new(1 << 20);
        let payload = |len: usize| registry.pageout(&mut [vec![3; len]]).unwrap();
        let (mut writer, spill) = registry.spill();
        writer.append(b"published").unwrap();
        writer.publish();
        let reader = spill.reader().unwrap();
        let writers = [(); 2].map(|()| registry.spill().0);
        Self {
            spill: (writer, spill, reader),
            writers: writers.into(),
            handles: vec![payload(WORDS), payload(WORDS), payload(0)],
            bufs: [&Arena::shared(), &arena]
                .map(|arena| ChunkBuf::copy_of(arena, &[5; WORDS]).unwrap()),
            registry,
            residency,
            arena,
        }
    }

    /// A writer that its parent has made.
    fn another_writer(&mut self) -> SpillWriter<MemoryBackend> {
        self.writers.pop().expect("there is one for each call")
    }

    fn each_full(&self, is_fine: impl Fn(&Handle) -> bool) -> bool {
        let mut full = self.handles.iter().filter(|handle| !handle.is_empty());
        full.all(is_fine)
    }

    /// Takes every handle; each comes back.
    fn each_taken(
        &mut self,
        take: impl Fn(Handle, &mut Vec<u64>) -> Result<(), (Error, Handle)>,
    ) -> bool {
        let handles = std::mem::take(&mut self.handles);
        handles.into_iter().all(|handle| {
            let mut dst = vec![7];
            let Err((error, handle)) = take(handle, &mut dst) else {
                return false;
            };
            self.handles.push(handle);
            is_foreign(&error) && dst.is_empty()
        })
    }

    /// Changes every buffer, whose words then are as they should be.
    fn each_buf(&mut self, change: impl Fn(&mut ChunkBuf, &mut Vec<u64>) -> Result<()>) -> bool {
        self.bufs.iter_mut().all(|buf| {
            let mut expected = buf.to_vec();
            change(buf, &mut expected).is_ok() && **buf == *expected
        })
    }
}

fn is_foreign(error: &Error) -> bool {
    matches!(error, Error::ForeignProcess)
}

fn is_refused<T>(outcome: Result<T>) -> bool {
    outcome.is_err_and(|error| is_foreign(&error))
}

/// A page-out of any chunks is refused and leaves them.
fn pages_nothing_out(pageout: impl Fn(&mut [Vec<u64>]) -> bool) -> bool {
    let mut chunks = [vec![1, 2, 3], Vec::new()];
    pageout(&mut chunks)
        && chunks == [vec![1, 2, 3], Vec::new()]
        && pageout(&mut [Vec::new()])
        && pageout(&mut [])
}

const OF_REGISTRIES: &[Call<Inherited>] = &[
    ("Registry::new", |_| {
        let own = Registry::new(MemoryBackend::new());
        let handle = own.pageout(&mut [vec![1u64, 2]]).unwrap();
        handle.take(&mut Vec::new()).is_ok()
    }),
    ("Registry::with_residency", |it| {
        // The budget is the parent's, and nothing is admitted to it.
        let own = Registry::with_residency(MemoryBackend::new(), &it.residency);
        own.live_handles() == 0
    }),
    ("Registry::residency", |it| {
        it.registry.residency().stats().resident_bytes == 0
    }),
    ("Registry::backend", |it| {
        !format!("{:?}", it.registry.backend()).is_empty()
    }),
    ("Registry::pageout", |it| {
        pages_nothing_out(|chunks| is_refused(it.registry.pageout(chunks)))
            && is_refused(it.registry.pageout(&mut it.bufs))
            && it.bufs[1].len() >= WORDS
    }),
    ("Registry::options", |it| {
        !format!("{:?}", it.registry.options()).is_empty()
    }),
    ("PageoutOptions::reuse", |it| {
        let _same = it.registry.options().reuse(Reuse::Soon);
        true
    }),
    ("PageoutOptions::group", |it| {
        let group = Group::new("q").quota_bytes(1 << 20);
        pages_nothing_out(|chunks| is_refused(it.registry.options().group(&group).pageout(chunks)))
            && group.stats().logical_bytes == 0
    }),
    ("PageoutOptions::pageout", |it| {
        pages_nothing_out(|chunks| {
            is_refused(it.registry.options().reuse(Reuse::Soon).pageout(chunks))
        })
    }),
    ("PageoutOptions::without_waiting", |it| {
        let options = it.registry.options().without_waiting();
        pages_nothing_out(|chunks| is_refused(options.pageout(chunks)))
    }),
    ("PageoutOptions::pageout_with", |it| {
        is_refused(it.registry.options().pageout_with(9, |_| Ok(())))
    }),
    ("Registry::pageout_with", |it| {
        [0, 9]
            .into_iter()
            .all(|len| is_refused(it.registry.pageout_with(len, |_| Ok(()))))
    }),
    ("PageoutOptions::pageout_each", |it| {
        pages_nothing_out(|chunks| is_refused(it.registry.options().pageout_each(chunks)))
    }),
    ("Registry::spill", |it| {
        let (mut writer, spill) = it.registry.spill();
        is_refused(writer.append(b"more")) && is_refused(spill.reader())
    }),
    ("PageoutOptions::spill", |it| {
        let (mut writer, spill) = it.registry.options().reuse(Reuse::Late).spill();
        is_refused(writer.write_frame(b"more")) && is_refused(spill.into_reader())
    }),
    ("SpillWriter::append", |it| {
        is_refused(it.spill.0.append(b"more")) && is_refused(it.spill.0.append(b""))
    }),
    ("SpillWriter::write_frame", |it| {
        is_refused(it.spill.0.write_frame(b"more"))
    }),
    ("SpillWriter::write_frame_of", |it| {
        is_refused(it.spill.0.write_frame_of(&[]))
    }),
    ("SpillWriter::publish", |it| {
        it.spill.0.publish();
        std::io::Write::flush(&mut it.spill.0).is_err()
    }),
    ("SpillWriter::len_bytes", |it| it.spill.0.len_bytes() == 0),
    ("SpillWriter::finish", |it| {
        is_refused(it.another_writer().finish())
    }),
    ("SpillWriter::fail", |it| {
        it.another_writer().fail("no reason");
        true
    }),
    ("Spill::reader", |it| is_refused(it.spill.1.reader())),
    ("Spill::into_reader", |it| {
        is_refused(it.spill.1.clone().into_reader())
    }),
    ("Spill::len_bytes", |it| it.spill.1.len_bytes() == 0),
    ("SpillReader::poll_bytes", |it| {
        let mut context = Context::from_waker(Waker::noop());
        let polled = it.spill.2.poll_bytes(&mut context);
        matches!(polled, Poll::Ready(Err(Error::ForeignProcess)))
    }),
    ("SpillReader::next_frame", |it| {
        is_refused(it.spill.2.next_frame().map(drop))
    }),
    ("SpillReader::poll_frame", |it| {
        let mut context = Context::from_waker(Waker::noop());
        let polled = it.spill.2.poll_frame(&mut context);
        matches!(polled, Poll::Ready(Err(Error::ForeignProcess)))
    }),
    ("SpillReader::next_frame_view", |it| {
        is_refused(it.spill.2.next_frame_view())
    }),
    ("Registry::read_at", |it| {
        let mut dst = ChunkBuf::new();
        it.handles
            .iter()
            .filter(|handle| !handle.is_empty())
            .all(|handle| is_refused(it.registry.read_at(handle, 0, 1, &mut dst)) && dst.is_empty())
    }),
    ("Registry::read_at_many", |it| {
        it.each_full(|handle| {
            is_refused(
                it.registry
                    .read_at_many(handle, &[0..1, 0..0], &mut Vec::new()),
            )
        })
    }),
    ("Registry::prefetch", |it| {
        it.handles
            .iter()
            .for_each(|handle| it.registry.prefetch(handle));
        true
    }),
    ("Registry::prefetch_at", |it| {
        it.handles
            .iter()
            .for_each(|handle| it.registry.prefetch_at(handle, 1, usize::MAX));
        true
    }),
    ("Registry::prefetch_many", |it| {
        it.registry
            .prefetch_many(&it.handles.iter().collect::<Vec<_>>());
        true
    }),
    ("Registry::take", |it| {
        let registry = it.registry.clone();
        it.each_taken(|handle, dst| registry.take(handle, dst).map_err(|it| it.into_parts()))
    }),
    ("Registry::stats", |it| it.registry.stats().pageouts == 0),
    ("Registry::live_handles", |it| {
        it.registry.live_handles() == 0
    }),
    ("Registry::handles", |it| it.registry.handles().is_empty()),
    ("Handle::len", |it| {
        it.handles
            .iter()
            .all(|handle| [0, WORDS].contains(&handle.len()))
    }),
    ("Handle::len_bytes", |it| {
        it.each_full(|handle| handle.len_bytes() == 8 * WORDS)
    }),
    ("Handle::is_empty", |it| {
        it.handles.iter().any(Handle::is_empty)
    }),
    ("Handle::cast", |it| {
        let handles = std::mem::take(&mut it.handles).into_iter();
        it.handles = handles
            .map(|handle| handle.cast::<u8>().unwrap().cast().unwrap())
            .collect();
        it.each_full(|handle| handle.len() == WORDS)
    }),
    ("Handle::id", |it| it.handles[0].id() != it.handles[1].id()),
    ("Handle::backend", |it| {
        it.each_full(|handle| handle.backend() == "memory")
    }),
    ("Handle::read_at", |it| {
        const FAR: usize = usize::MAX;
        let places = [(0, WORDS), (0, 0), (FAR, 0), (0, 9999), (9, FAR)];
        it.handles.iter().all(|handle| {
            let refused = |(at, len)| is_refused(handle.read_at(at, len, &mut Vec::new()));
            places.into_iter().all(refused)
        })
    }),
    ("Handle::read_at_many", |it| {
        #[allow(clippy::reversed_empty_ranges, reason = "it must not matter")]
        let lists = [&[][..], &[1..2, 0..1], &[0..0, 0..0], &[3..2, 0..0]];
        it.handles.iter().all(|handle| {
            let refused = |ranges| is_refused(handle.read_at_many(ranges, &mut Vec::new()));
            lists.into_iter().all(refused)
        })
    }),
    ("Handle::view", |it| {
        it.each_full(|handle| is_refused(handle.view(0..9)))
    }),
    ("Handle::is_resident", |it| {
        it.each_full(|handle| !handle.is_resident(0..9))
    }),
    ("Handle::poll_fetch", |it| {
        let mut context = Context::from_waker(Waker::noop());
        it.handles
            .iter()
            .all(|handle| handle.poll_fetch(&mut context).is_ready())
    }),
    ("Handle::hint", |it| {
        it.handles
            .iter()
            .for_each(|handle| handle.hint().prefetch());
        true
    }),
    ("Handle::prefetch", |it| {
        it.handles.iter().for_each(Handle::prefetch);
        true
    }),
    ("Handle::prefetch_at", |it| {
        it.handles
            .iter()
            .for_each(|handle| handle.prefetch_at(usize::MAX, usize::MAX));
        true
    }),
    ("Handle::take", |it| {
        it.each_taken(|handle, dst| handle.take(dst).map_err(|it| it.into_parts()))
    }),
    ("Residency::builder", |_| {
        let own = Residency::builder().budget_bytes(1 << 20).build();
        let registry = Registry::with_residency(MemoryBackend::new(), &own);
        let handle = registry.pageout(&mut [vec![1u64; 5000]]).unwrap();
        own.flush().is_ok() && handle.take(&mut Vec::new()).is_ok() && own.shutdown().is_ok()
    }),
    ("Residency::budget_bytes", |it| {
        it.residency.budget_bytes() == 64 << 10
    }),
    ("Residency::set_budget_bytes", |it| {
        is_refused(it.residency.set_budget_bytes(0)) && it.residency.budget_bytes() == 64 << 10
    }),
    ("Residency::trim", |it| is_refused(it.residency.trim())),
    ("Residency::reclaim_bytes", |it| {
        is_refused(it.residency.reclaim_bytes(1))
    }),
    ("Residency::flush", |it| is_refused(it.residency.flush())),
    ("Residency::write_back", |it| {
        is_refused(it.residency.write_back())
    }),
    ("Residency::shutdown", |it| {
        is_refused(it.residency.shutdown())
    }),
    ("Residency::is_failing", |it| !it.residency.is_failing()),
    ("Residency::stats", |it| {
        it.residency.stats().resident_bytes == 0
    }),
];

const OF_MEMORY: &[Call<Inherited>] = &[
    ("Arena::new", |_| {
        let own = Arena::new(1 << 20);
        drop(ChunkBuf::<u64>::with_capacity_in(&own, 9000).unwrap());
        own.trim() > 0 && own.usage() == ArenaUsage::default()
    }),
    ("Arena::builder", |_| {
        Arena::builder().build().usage() == ArenaUsage::default()
    }),
    ("Arena::shared", |_| {
        let held = ChunkBuf::<u64>::with_capacity(9000).unwrap();
        Arena::shared().usage().used_bytes >= held.capacity_bytes()
    }),
    ("Arena::usage", |it| {
        it.arena.usage() == ArenaUsage::default()
    }),
    ("Arena::trim", |it| it.arena.trim() == 0),
    ("ChunkBuf::new", |_| ChunkBuf::<u64>::new().is_empty()),
    ("ChunkBuf::with_capacity", |_| {
        ChunkBuf::<u64>::with_capacity(700).unwrap().capacity() >= 700
    }),
    ("ChunkBuf::with_capacity_in", |it| {
        is_refused(ChunkBuf::<u64>::with_capacity_in(&it.arena, 0))
    }),
    ("ChunkBuf::copy_of", |it| {
        is_refused(ChunkBuf::<u64>::copy_of(&it.arena, &[]))
            && is_refused(ChunkBuf::copy_of(&it.arena, &[1]))
    }),
    ("ChunkBuf::capacity", |it| {
        it.bufs.iter().all(|buf| buf.capacity() >= WORDS)
    }),
    ("ChunkBuf::capacity_bytes", |it| {
        it.bufs
            .iter()
            .all(|buf| buf.capacity_bytes() == 8 * buf.capacity())
    }),
    ("ChunkBuf::push", |it| {
        it.each_buf(|buf, expected| {
            expected.push(9);
            buf.push(9)
        })
    }),
    ("ChunkBuf::reserve", |it| {
        it.each_buf(|buf, _| buf.reserve(1 << 18))
    }),
    ("ChunkBuf::extend_from_slice", |it| {
        it.each_buf(|buf, expected| {
            let more = vec![8; 2 * buf.capacity()];
            expected.extend_from_slice(&more);
            buf.extend_from_slice(&more)
        })
    }),
    ("ChunkBuf::resize", |it| {
        it.each_buf(|buf, expected| {
            expected.resize(100, 1);
            expected.resize(200, 2);
            buf.resize(100, 1)?;
            buf.resize(200, 2)
        })
    }),
    ("ChunkBuf::truncate", |it| {
        it.each_buf(|buf, expected| {
            expected.truncate(50);
            buf.truncate(50);
            Ok(())
        })
    }),
    ("ChunkBuf::mark_paged_out", |it| {
        it.each_buf(|buf, _| {
            buf.mark_paged_out();
            Ok(())
        })
    }),
    ("ChunkBuf::has_been_paged_out", |it| {
        it.bufs.iter().all(ChunkBuf::has_been_paged_out)
    }),
    ("ChunkBuf::append_with", |it| {
        it.each_buf(|buf, expected| {
            expected.push(5);
            buf.append_with(1, |window| {
                window.copy_from(&5u64.to_ne_bytes());
                Ok(())
            })
        })
    }),
    ("ChunkBuf::into_bytes", |it| {
        it.each_buf(|buf, _| {
            *buf = std::mem::take(buf).into_bytes().cast().unwrap();
            Ok(())
        })
    }),
    ("ChunkBuf::cast", |it| {
        it.each_buf(|buf, _| {
            *buf = std::mem::take(buf).cast::<f64>().unwrap().cast().unwrap();
            Ok(())
        })
    }),
    ("ChunkBuf::clear", |it| {
        it.each_buf(|buf, expected| {
            expected.clear();
            buf.clear();
            Ok(())
        })
    }),
];

/// What is no function by name: to print, and to drop.
const OTHERS: &[Call<Inherited>] = &[
    ("growing from the first word on", |it| {
        // With neither a function before it nor room in the slot.
        it.each_buf(|buf, expected| {
            let more = vec![8; buf.capacity()];
            expected.extend_from_slice(&more);
            buf.extend_from_slice(&more)
        })
    }),
    ("print", |it| {
        let handles = format!("{:?} {:?} {:?}", it.handles, it.registry, it.residency);
        let memory = format!("{:?} {:?}", it.arena, it.bufs);
        !handles.is_empty() && !memory.is_empty()
    }),
    ("drop", |it| {
        it.handles.clear();
        it.bufs = [ChunkBuf::new(), ChunkBuf::new()];
        it.arena = Arena::new(0);
        it.registry = Registry::new(MemoryBackend::new());
        it.residency = Residency::builder().build();
        true
    }),
];

#[test]
fn every_function_answers_in_a_child_whatever_its_parent_is_doing() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_complete(
        OF_REGISTRIES,
        &methods(
            &[
                "Registry",
                "PageoutOptions",
                "Handle",
                "Residency",
                "Spill",
                "SpillWriter",
                "SpillReader",
            ],
            &source,
        ),
    );
    assert_complete(OF_MEMORY, &methods(&["Arena", "ChunkBuf"], &source));

    let mut inherited = Inherited::new();
    let (registry, arena) = (inherited.registry.clone(), inherited.arena.clone());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&done);
        for _ in 0..2 {
            scope.spawn(|| page_out_and_take(&registry, &done));
            scope.spawn(|| grow_and_drop(&arena, &done));
        }
        for round in 0..ROUNDS {
            for calls in [OF_REGISTRIES, OF_MEMORY, OTHERS] {
                let outcome = in_child(calls, &mut inherited);
                assert_eq!(outcome, Ok(()), "in round {round}");
            }
        }
    });
    assert!(inherited.bufs.iter().all(|buf| buf[..] == [5; WORDS]));
    for handle in inherited.handles {
        let mut words = Vec::new();
        handle.take(&mut words).unwrap();
        assert!(words.iter().all(|word| *word == 3));
    }
    assert_eq!(registry.live_handles(), 0);
}

/// Lets the workers end, also when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        // Relaxed, here and where it is read: a flag that publishes nothing.
        self.0.store(true, Ordering::Relaxed);
    }
}

fn page_out_and_take(registry: &Registry<MemoryBackend>, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let handles: Vec<_> = (1..20)
            .map(|len| registry.pageout(&mut [vec![1u64; 99 * len]]).unwrap())
            .collect();
        registry.prefetch_many(&handles.iter().collect::<Vec<_>>());
        for handle in handles {
            handle.take(&mut Vec::new()).unwrap();
        }
    }
}

fn grow_and_drop(arena: &Arena, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        for arena in [arena, &Arena::shared()] {
            let mut buf = ChunkBuf::<u64>::with_capacity_in(arena, 1).unwrap();
            for _ in 0..4 {
                buf.reserve(buf.capacity() + 1).unwrap();
            }
        }
    }
}
