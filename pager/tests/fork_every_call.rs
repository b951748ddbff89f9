//! Every public function of the facade, in forked children of a process that never
//! rests: each operation says `ForeignProcess`, whatever its arguments, figures and
//! listings are empty, and nothing waits for a lock that a thread of the parent held.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]
#![allow(unsafe_code, reason = "forks")]

#[path = "common/every_call.rs"]
mod every_call;
#[path = "common/kept.rs"]
mod kept;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use every_call::{Call, assert_complete, functions, in_child, methods};
use kept::Kept;
use pager::{
    Arena, BackendKind, ChunkBuf, Error, Group, Handle, Pager, Result, Reuse, Spill, SpillReader,
    SpillWriter,
};

/// Children of each kind.
const ROUNDS: usize = 60;

/// What a child is born with.
struct Inherited {
    /// The process-wide pager, in use by other threads.
    pager: &'static Pager,
    /// One whose scratch directory other threads exchange all the time.
    moving: &'static Pager,
    /// Payloads of both backends, with words and without.
    handles: Vec<Handle>,
    /// One that is being written and read.
    spill: (SpillWriter, Spill, SpillReader),
    writers: Vec<SpillWriter>,
}

const WORDS: u64 = 700;

impl Inherited {
    fn new(pager: &'static Pager, moving: &'static Pager) -> Self {
        let payload = |kind| {
            [WORDS, 0].map(|len| {
                let chunk = (0..len).collect::<Vec<u64>>();
                pager.options().backend(kind).pageout(&mut [chunk]).unwrap()
            })
        };
        let (mut writer, spill) = pager.spill().unwrap();
        writer.append(b"published").unwrap();
        writer.publish();
        let reader = spill.reader().unwrap();
        let writers = [(); 2].map(|()| pager.spill().unwrap().0);
        Self {
            pager,
            moving,
            spill: (writer, spill, reader),
            writers: writers.into(),
            handles: BackendKind::ALL.into_iter().flat_map(payload).collect(),
        }
    }

    /// A writer that its parent has made.
    fn another_writer(&mut self) -> SpillWriter {
        self.writers.pop().expect("there is one for each call")
    }

    fn each(&self, is_fine: impl Fn(&Handle) -> bool) -> bool {
        self.handles.iter().all(is_fine)
    }

    /// Those that have words.
    fn each_full(&self, is_fine: impl Fn(&Handle) -> bool) -> bool {
        let mut full = self.handles.iter().filter(|handle| !handle.is_empty());
        full.all(is_fine)
    }

    /// Takes every handle; each comes back.
    fn each_taken(&mut self, take: impl Fn(Handle, &mut Vec<u64>) -> Refused) -> bool {
        let handles = std::mem::take(&mut self.handles);
        for handle in handles {
            let mut dst = vec![7];
            let Err((error, handle)) = take(handle, &mut dst) else {
                return false;
            };
            if !is_foreign(&error) || !dst.is_empty() {
                return false;
            }
            self.handles.push(handle);
        }
        true
    }
}

type Refused = Result<(), (Error, Handle)>;

fn is_foreign(error: &Error) -> bool {
    matches!(error, Error::ForeignProcess)
}

fn is_refused<T>(outcome: Result<T>) -> bool {
    outcome.is_err_and(|error| is_foreign(&error))
}

/// A codec has done nothing.
#[cfg(feature = "codec")]
fn codec_did_nothing(pager: &Pager) -> bool {
    pager.codec_stats().plain_bytes() == 0
}

/// Without a codec there is nobody to ask.
#[cfg(not(feature = "codec"))]
fn codec_did_nothing(_: &Pager) -> bool {
    true
}

/// Whose directory is its parent's has no key.
#[cfg(feature = "encryption")]
fn is_not_encrypted(pager: &Pager) -> bool {
    pager.encryption().is_none()
}

/// Without encryption there is nobody to ask.
#[cfg(not(feature = "encryption"))]
fn is_not_encrypted(_: &Pager) -> bool {
    true
}

/// A page-out of any chunks is refused and leaves them.
fn pages_nothing_out(pageout: impl Fn(&mut [Vec<u64>]) -> bool) -> bool {
    let mut chunks = [vec![1, 2, 3], Vec::new()];
    pageout(&mut chunks)
        && chunks == [vec![1, 2, 3], Vec::new()]
        && pageout(&mut [Vec::new()])
        && pageout(&mut [])
}

/// A read of words that there are is refused and appends nothing.
fn reads_nothing(read: impl Fn(usize, usize, &mut Vec<u64>) -> Result<()>) -> bool {
    let mut dst = vec![7];
    is_refused(read(0, 1, &mut dst)) && dst == [7]
}

/// So is a read of none, and of some beyond the end.
fn reads_nothing_anywhere(read: impl Fn(usize, usize, &mut Vec<u64>) -> Result<()>) -> bool {
    const FAR: usize = usize::MAX;
    let ranges = [(0, 0), (5, 0), (FAR, 0), (0, 9999), (9, FAR)];
    let mut dst = vec![7];
    let mut is_refused = |(offset, len)| is_refused(read(offset, len, &mut dst));
    ranges.into_iter().all(&mut is_refused) && dst == [7]
}

type Ranges<'a> = &'a [std::ops::Range<usize>];

fn reads_no_ranges(read: impl Fn(Ranges<'_>, &mut Vec<u64>) -> Result<()>) -> bool {
    let mut dst = vec![7];
    is_refused(read(&[0..1, 0..0], &mut dst)) && dst == [7]
}

fn reads_no_odd_ranges(read: impl Fn(Ranges<'_>, &mut Vec<u64>) -> Result<()>) -> bool {
    #[allow(clippy::reversed_empty_ranges, reason = "it must not matter")]
    let lists = [&[][..], &[0..0, 0..0], &[3..2, 0..0], &[0..1, 0..9999]];
    let mut dst = vec![7];
    let mut is_refused = |ranges| is_refused(read(ranges, &mut dst));
    lists.into_iter().all(&mut is_refused) && dst == [7]
}

const METHODS: &[Call<Inherited>] = &[
    ("Pager::new", |_| Pager::new().handles().is_empty()),
    ("Pager::builder", |_| Pager::builder().build().is_ok()),
    ("Pager::preset", |it| {
        it.pager.preset() == it.moving.preset()
    }),
    ("Pager::backend", |it| {
        BackendKind::ALL.contains(&it.pager.backend())
    }),
    ("Pager::set_backend", |it| {
        let before = it.pager.backend();
        let refused = BackendKind::ALL.map(|kind| is_refused(it.pager.set_backend(kind)));
        refused == [true; 2] && it.pager.backend() == before
    }),
    ("Pager::set_scratch_dir", |it| {
        [it.pager, it.moving]
            .iter()
            .all(|pager| is_refused(pager.set_scratch_dir("/var/tmp")))
    }),
    ("Pager::codec_stats", |it| codec_did_nothing(it.pager)),
    ("Pager::encryption", |it| is_not_encrypted(it.pager)),
    ("Pager::scratch_dir", |it| {
        it.pager.scratch_dir().is_none() && it.moving.scratch_dir().is_none()
    }),
    ("Pager::encryption", |it| {
        #[cfg(feature = "encryption")]
        let is_foreign = it.pager.encryption().is_none();
        #[cfg(not(feature = "encryption"))]
        let is_foreign = it.pager.scratch_dir().is_none();
        is_foreign
    }),
    ("Pager::reap", |it| {
        is_refused(it.pager.reap()) && is_refused(it.moving.reap())
    }),
    ("Pager::pageout", |it| {
        pages_nothing_out(|chunks| is_refused(it.pager.pageout(chunks)))
    }),
    ("Pager::options", |it| {
        !format!("{:?}", it.pager.options()).is_empty()
    }),
    ("PageoutOptions::backend", |it| {
        BackendKind::ALL.into_iter().all(|kind| {
            pages_nothing_out(|chunks| is_refused(it.pager.options().backend(kind).pageout(chunks)))
                && is_refused(it.moving.options().backend(kind).pageout(&mut [vec![1u64]]))
        })
    }),
    ("PageoutOptions::reuse", |it| {
        pages_nothing_out(|chunks| {
            is_refused(it.pager.options().reuse(Reuse::Late).pageout(chunks))
        })
    }),
    ("PageoutOptions::group", |it| {
        let group = Group::new("q").quota_bytes(1 << 20);
        pages_nothing_out(|chunks| is_refused(it.pager.options().group(&group).pageout(chunks)))
            && group.stats().logical_bytes == 0
    }),
    ("Pager::spill", |it| is_refused(it.pager.spill())),
    ("PageoutOptions::spill", |it| {
        BackendKind::ALL
            .into_iter()
            .all(|kind| is_refused(it.pager.options().backend(kind).spill()))
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
    ("PageoutOptions::pageout", |it| {
        pages_nothing_out(|chunks| is_refused(it.moving.options().pageout(chunks)))
    }),
    ("PageoutOptions::without_waiting", |it| {
        pages_nothing_out(|chunks| is_refused(it.pager.options().without_waiting().pageout(chunks)))
    }),
    ("PageoutOptions::pageout_with", |it| {
        is_refused(it.moving.options().pageout_with(9, |_| Ok(())))
    }),
    ("Pager::pageout_with", |it| {
        is_refused(it.pager.pageout_with(9, |_| Ok(())))
    }),
    ("PageoutOptions::pageout_each", |it| {
        pages_nothing_out(|chunks| is_refused(it.pager.options().pageout_each(chunks)))
    }),
    ("Pager::read_at", |it| {
        it.each_full(|handle| reads_nothing(|at, len, dst| it.pager.read_at(handle, at, len, dst)))
    }),
    ("Pager::read_at_many", |it| {
        it.each_full(|handle| {
            reads_no_ranges(|ranges, dst| it.pager.read_at_many(handle, ranges, dst))
        })
    }),
    ("Pager::prefetch", |it| {
        it.handles
            .iter()
            .for_each(|handle| it.pager.prefetch(handle));
        true
    }),
    ("Pager::prefetch_at", |it| {
        it.handles
            .iter()
            .for_each(|handle| it.pager.prefetch_at(handle, 5, usize::MAX));
        true
    }),
    ("Pager::prefetch_many", |it| {
        it.pager
            .prefetch_many(&it.handles.iter().collect::<Vec<_>>());
        true
    }),
    ("Pager::take", |it| {
        let pager = it.pager;
        it.each_taken(|handle, dst| {
            pager
                .take(handle, dst)
                .map_err(|failed| failed.into_parts())
        })
    }),
    ("Pager::stats", |it| {
        [it.pager, it.moving].iter().all(|pager| {
            let stats = pager.stats();
            stats.total.live_handles == 0 && stats.residency.resident_bytes == 0
        })
    }),
    ("Pager::handles", |it| {
        it.pager.handles().is_empty() && it.moving.handles().is_empty()
    }),
    ("Pager::budget_bytes", |it| it.pager.budget_bytes() > 0),
    ("Pager::set_budget", |it| {
        is_refused(it.pager.set_budget(0)) && is_refused(it.pager.set_budget(usize::MAX))
    }),
    ("Pager::trim", |it| is_refused(it.pager.trim())),
    ("Pager::reclaim_bytes", |it| {
        is_refused(it.pager.reclaim_bytes(1 << 20))
    }),
    ("Pager::swap_stats", |it| {
        it.pager.swap_stats().logical_bytes == 0
    }),
    ("Pager::arena_usage", |it| {
        it.pager.arena_usage().used_bytes == 0
    }),
    ("Pager::file_stats", |it| it.pager.file_stats().is_none()),
    ("Pager::flush", |it| is_refused(it.pager.flush())),
    ("Pager::write_back", |it| is_refused(it.pager.write_back())),
    ("Pager::shutdown", |it| is_refused(it.pager.shutdown())),
    ("Pager::residency", |it| {
        let residency = it.pager.residency();
        is_refused(residency.flush()) && residency.stats().resident_bytes == 0
    }),
    ("Handle::backend", |it| {
        it.each(|handle| BackendKind::ALL.contains(&handle.backend()))
    }),
    ("Handle::len", |it| {
        it.each(|handle| [0, WORDS].contains(&(handle.len() as u64)))
    }),
    ("Handle::cast", |it| {
        let handles = std::mem::take(&mut it.handles).into_iter();
        it.handles = handles
            .map(|handle| handle.cast::<u8>().unwrap().cast().unwrap())
            .collect();
        it.each(|handle| [0, WORDS].contains(&(handle.len() as u64)))
    }),
    ("Handle::len_bytes", |it| {
        it.each(|handle| handle.len_bytes() == handle.len() * 8)
    }),
    ("Handle::is_empty", |it| {
        it.each(|handle| handle.is_empty() == (handle.len_bytes() == 0))
    }),
    ("Handle::id", |it| it.each(|handle| handle.id() < u64::MAX)),
    ("Handle::read_at", |it| {
        it.each_full(|handle| reads_nothing(|at, len, dst| handle.read_at(at, len, dst)))
    }),
    ("Handle::read_at_many", |it| {
        it.each_full(|handle| reads_no_ranges(|ranges, dst| handle.read_at_many(ranges, dst)))
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
            .for_each(|handle| handle.prefetch_at(usize::MAX, 1));
        true
    }),
    ("Handle::take", |it| {
        it.each_taken(|handle, dst| handle.take(dst).map_err(|failed| failed.into_parts()))
    }),
];

const FUNCTIONS: &[Call<Inherited>] = &[
    ("pager", |it| std::ptr::eq(pager::global::pager(), it.pager)),
    ("install", |_| pager::install(Pager::new()).is_err()),
    ("backend", |it| pager::backend() == it.pager.backend()),
    ("set_backend", |_| {
        is_refused(pager::set_backend(BackendKind::File))
    }),
    ("set_scratch_dir", |_| {
        is_refused(pager::set_scratch_dir("/var/tmp"))
    }),
    ("reap", |_| is_refused(pager::reap())),
    ("pageout", |_| {
        pages_nothing_out(|chunks| is_refused(pager::pageout(chunks)))
    }),
    ("pageout_with", |_| {
        is_refused(pager::pageout_with(9, |_| Ok(())))
    }),
    ("options", |_| {
        let options = pager::options().reuse(Reuse::Late);
        let refuses = |kind| {
            let options = options.backend(kind);
            pages_nothing_out(|chunks| is_refused(options.pageout(chunks)))
                && pages_nothing_out(|chunks| is_refused(options.pageout_each(chunks)))
        };
        BackendKind::ALL.into_iter().all(refuses)
    }),
    ("preset", |it| pager::preset() == it.pager.preset()),
    ("scratch_dir", |_| pager::scratch_dir().is_none()),
    ("codec_stats", |_| {
        #[cfg(feature = "codec")]
        let did_nothing = pager::codec_stats().plain_bytes() == 0;
        #[cfg(not(feature = "codec"))]
        let did_nothing = true;
        did_nothing
    }),
    ("budget_bytes", |_| pager::budget_bytes() > 0),
    ("residency", |_| is_refused(pager::residency().flush())),
    ("set_budget", |_| is_refused(pager::set_budget(0))),
    ("spill", |_| is_refused(pager::spill())),
    ("trim", |_| is_refused(pager::trim())),
    ("reclaim_bytes", |_| is_refused(pager::reclaim_bytes(1))),
    ("swap_stats", |_| pager::swap_stats().logical_bytes == 0),
    ("arena_usage", |_| pager::arena_usage().used_bytes == 0),
    ("file_stats", |_| pager::file_stats().is_none()),
    ("flush", |_| is_refused(pager::flush())),
    ("write_back", |_| is_refused(pager::write_back())),
    ("shutdown", |_| is_refused(pager::shutdown())),
    ("read_at", |it| {
        it.each_full(|handle| reads_nothing(|at, len, dst| pager::read_at(handle, at, len, dst)))
    }),
    ("read_at_many", |it| {
        it.each_full(|handle| {
            reads_no_ranges(|ranges, dst| pager::read_at_many(handle, ranges, dst))
        })
    }),
    ("prefetch", |it| {
        it.handles.iter().for_each(pager::prefetch);
        true
    }),
    ("prefetch_at", |it| {
        it.handles
            .iter()
            .for_each(|handle| pager::prefetch_at(handle, 0, 1));
        true
    }),
    ("prefetch_many", |it| {
        pager::prefetch_many(&it.handles.iter().collect::<Vec<_>>());
        true
    }),
    ("take", |it| {
        it.each_taken(|handle, dst| pager::take(handle, dst).map_err(|failed| failed.into_parts()))
    }),
    ("stats", |_| pager::stats().total.live_handles == 0),
    ("handles", |_| pager::handles().is_empty()),
];

/// The reads, with arguments that need not be looked at.
const ODD_READS: &[Call<Inherited>] = &[
    ("Pager::read_at", |it| {
        it.each(|handle| {
            reads_nothing_anywhere(|at, len, dst| it.pager.read_at(handle, at, len, dst))
        })
    }),
    ("Pager::read_at_many", |it| {
        it.each(|handle| {
            reads_no_odd_ranges(|ranges, dst| it.pager.read_at_many(handle, ranges, dst))
        })
    }),
    ("Handle::read_at", |it| {
        it.each(|handle| reads_nothing_anywhere(|at, len, dst| handle.read_at(at, len, dst)))
    }),
    ("Handle::read_at_many", |it| {
        it.each(|handle| reads_no_odd_ranges(|ranges, dst| handle.read_at_many(ranges, dst)))
    }),
    ("read_at", |it| {
        it.each(|handle| {
            reads_nothing_anywhere(|at, len, dst| pager::read_at(handle, at, len, dst))
        })
    }),
    ("read_at_many", |it| {
        it.each(|handle| {
            reads_no_odd_ranges(|ranges, dst| pager::read_at_many(handle, ranges, dst))
        })
    }),
];

/// What is no function by name: to print, and to drop.
const OTHERS: &[Call<Inherited>] = &[
    ("print", |it| {
        let printed = format!("{:?} {:?} {:?}", it.pager, it.moving, it.handles);
        !printed.is_empty()
    }),
    ("a pager of its own", |_| {
        let own = Pager::builder().budget_bytes(1 << 20).build().unwrap();
        let made = Kept::new(&own, BackendKind::Swap, 1, 5000).unwrap();
        made.read().is_ok() && made.take().is_ok()
    }),
    ("drop", |it| {
        it.handles.clear();
        Arena::shared().usage().used_bytes == 0
    }),
];

#[test]
fn a_read_is_refused_before_anybody_looks_at_its_ranges() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let settings = Pager::builder().scratch_dir(root.path());
    let own: &Pager = Box::leak(Box::new(settings.build().unwrap()));
    let mut inherited = Inherited::new(own, own);
    assert_eq!(in_child(ODD_READS, &mut inherited), Ok(()));
    drop(inherited);
    own.shutdown().unwrap();
}

#[test]
fn every_function_answers_in_a_child_whatever_its_parent_is_doing() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_complete(
        METHODS,
        &methods(
            &[
                "Pager",
                "PageoutOptions",
                "Handle",
                "Spill",
                "SpillWriter",
                "SpillReader",
            ],
            &source,
        ),
    );
    assert_complete(FUNCTIONS, &functions(&source.join("global.rs")));

    let roots = [(); 3].map(|()| tempfile::tempdir_in("/var/tmp").unwrap());
    let settings = Pager::builder()
        .budget_bytes(1 << 20)
        .scratch_dir(roots[0].path());
    pager::install(settings.build().unwrap()).unwrap();
    let pager = pager::global::pager();
    let moving: &Pager = Box::leak(Box::new(Pager::builder().build().unwrap()));
    let mut inherited = Inherited::new(pager, moving);
    let done = AtomicBool::new(false);
    let done = &done;
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(done);
        for worker in 0..2 {
            scope.spawn(move || page_out_and_take(pager, worker, done));
        }
        let places = [roots[1].path(), roots[2].path()];
        scope.spawn(move || move_about(moving, places, done));
        scope.spawn(move || grow_and_drop(done));
        for round in 0..ROUNDS {
            for calls in [METHODS, FUNCTIONS, OTHERS] {
                let outcome = in_child(calls, &mut inherited);
                assert_eq!(outcome, Ok(()), "in round {round}");
            }
        }
    });
    for handle in inherited.handles {
        let mut words = Vec::new();
        handle.take(&mut words).unwrap();
        assert!(words.iter().copied().eq(0..words.len() as u64));
    }
    pager.shutdown().unwrap();
}

/// Lets the workers end, also when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        // Relaxed, here and where it is read: a flag that publishes nothing.
        self.0.store(true, Ordering::Relaxed);
    }
}

fn page_out_and_take(pager: &Pager, worker: u64, done: &AtomicBool) {
    for round in 0.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let kind = BackendKind::ALL[usize::from(round % 2 == 0)];
        let kept = Kept::new(pager, kind, worker << 32 | round, 6000).unwrap();
        kept.handle.prefetch();
        kept.read().unwrap();
        kept.take().map_err(|failed| failed.0).unwrap();
    }
}

fn move_about(pager: &Pager, places: [&Path; 2], done: &AtomicBool) {
    for place in places.into_iter().cycle() {
        if done.load(Ordering::Relaxed) {
            return;
        }
        pager.set_scratch_dir(place).unwrap();
        assert!(pager.scratch_dir().unwrap().starts_with(place));
        for _ in 0..50 {
            let _ = (pager.stats(), pager.handles());
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn grow_and_drop(done: &AtomicBool) {
    for round in 0usize.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let mut buf = ChunkBuf::new();
        buf.resize(100 + round % 3000, 1).unwrap();
        buf.reserve(9000).unwrap();
    }
}
