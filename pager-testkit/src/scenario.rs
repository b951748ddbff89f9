//! The script that is played once for every fault: a backend is opened, payloads
//! of every shape go out, are read, and come back, and it is closed.
//!
//! Whatever happens meanwhile, the script insists on the following, and panics
//! with what it found otherwise:
//!
//! - a failed page-out leaves its chunks as they were, a failed read appends
//!   nothing, a failed take gives the handle back;
//! - after every failure, every payload that is out reads back byte for byte;
//! - an error is typed, and its cause is the fault and nothing else;
//! - an operation whose fault is over succeeds when it is repeated, one whose
//!   fault is for good does so when that is healed;
//! - in the end everything that was counted is zero, and nothing is left.

use std::ops::Deref;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::content;
use super::syscalls::{Fault, Injection};
use pager_core::{Arena, Backend, Chunk, ChunkBuf, Destination, Error, Handle, Registry};
use pager_core::{Residency, Result};

/// What a script is played on.
pub trait Subject: Send + Sync + 'static {
    /// The backend.
    type Backend: Backend;

    /// Opens it. Called again after a failure.
    ///
    /// # Errors
    ///
    /// Those of the backend.
    fn open(&self) -> Result<Self::Backend>;

    /// What else the backend can do; called with payloads stored and some freed.
    ///
    /// # Errors
    ///
    /// Those of the backend.
    fn housekeep(&self, _backend: &Self::Backend) -> Result<()> {
        Ok(())
    }

    /// What the backend holds, by name; all zero when no payload is live.
    fn held(&self, backend: &Self::Backend) -> Vec<(&'static str, u64)>;

    /// What is left of it once it has been dropped, by name.
    fn left_behind(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Bytes of the payloads: around a word, around a block, several, and more than a
/// short range.
const LENS: [usize; 9] = [0, 1, 7, 8, 4095, 4096, 4097, 32_776, 131_081];

/// How often an operation is tried whose fault is over after one of them: a
/// failure of the background may be told after the fault.
const ATTEMPTS: usize = 3;

/// How long background threads may take to let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// A payload that is out.
struct Kept<B: Backend> {
    handle: Handle<B, u8>,
    seed: usize,
}

impl<B: Backend> Kept<B> {
    fn expected(&self) -> &'static [u8] {
        payload(self.seed)
    }
}

/// The bytes of a payload, made once for all scripts.
fn payload(seed: usize) -> &'static [u8] {
    static PAYLOADS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let make = || {
        (0u64..)
            .zip(LENS)
            .map(|(seed, len)| content::bytes(seed, len))
    };
    &PAYLOADS.get_or_init(|| make().collect())[seed]
}

/// A script under way.
struct Player<'a, S: Subject> {
    subject: &'a S,
    injection: &'a Injection,
    fault: Option<Fault>,
    kept: Vec<Kept<S::Backend>>,
}

/// Plays the script on `subject`, its payloads under a budget if there is one,
/// with `fault` in force by `injection`.
///
/// # Panics
///
/// If one of the guarantees above does not hold.
pub fn play<S: Subject>(
    subject: &S,
    budget_bytes: Option<usize>,
    fault: Option<Fault>,
    injection: &Injection,
) {
    let mut player = Player {
        subject,
        injection,
        fault,
        kept: Vec::new(),
    };
    let backend = player.open();
    let registry = match budget_bytes {
        None => Registry::new(backend),
        Some(bytes) => {
            let residency = Residency::builder().budget_bytes(bytes).build();
            Registry::with_residency(backend, &residency)
        }
    };
    player.page_out_all(&registry);
    player.read_all::<Vec<u8>>();
    player.flush(&registry);
    player.read_all::<ChunkBuf<u8>>();
    player.drop_some();
    let _ = player.attempt("housekeep", || subject.housekeep(registry.backend()));
    player.page_out_all(&registry);
    player.flush(&registry);
    player.end(registry);
}

impl<S: Subject> Player<'_, S> {
    fn open(&self) -> S::Backend {
        if let Some(backend) = self.attempt("open", || self.subject.open()) {
            return backend;
        }
        self.assert_nothing_left(true);
        self.injection.heal();
        self.subject.open().expect("it opens once it is healed")
    }

    fn is_for_good(&self) -> bool {
        self.fault.is_some_and(|fault| fault.for_good)
    }

    /// Does it, again if it fails; `None` if it fails for good, and may.
    fn attempt<T>(&self, what: &str, mut action: impl FnMut() -> Result<T>) -> Option<T> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match action() {
                Ok(done) => return Some(done),
                Err(error) => {
                    self.assert_told(what, &error);
                    self.assert_all_alive();
                    last = Some(error);
                }
            }
        }
        assert!(
            self.is_for_good(),
            "{what} fails although the fault is over: {last:?}"
        );
        None
    }

    /// The error is that of the fault.
    fn assert_told(&self, what: &str, error: &Error) {
        assert!(
            self.injection.struck() > 0,
            "{what} fails without a fault: {error:?}"
        );
        let told = self.fault.is_some_and(|fault| fault.is_told_by(error));
        assert!(
            told,
            "{what}: the error is not that of the fault: {error:?}"
        );
    }

    /// Every payload that is out reads back, unless the fault is for good and
    /// keeps it from being read now.
    fn assert_all_alive(&self) {
        let mut bytes = Vec::new();
        for kept in &self.kept {
            bytes.clear();
            let read = |bytes: &mut Vec<u8>| kept.handle.read_at(0, kept.handle.len(), bytes);
            let struck_before = self.injection.struck();
            let mut outcome = read(&mut bytes);
            if outcome.is_err() && self.injection.struck() > struck_before {
                // This very look was struck.
                outcome = read(&mut bytes);
            }
            match outcome {
                Ok(()) => assert!(bytes == kept.expected(), "a survivor has other bytes"),
                Err(error) => {
                    assert!(self.is_for_good(), "a survivor cannot be read: {error:?}");
                    assert!(bytes.is_empty(), "a failed read appends nothing");
                }
            }
        }
    }

    /// Each payload as two `Vec`s, as one, of words where it is made of them, and as a
    /// buffer of pager's own.
    fn page_out_all(&mut self, registry: &Registry<S::Backend>) {
        let arena = Arena::new(0);
        for seed in 0..LENS.len() {
            let bytes = payload(seed);
            let (front, back) = bytes.split_at(bytes.len() / 3);
            self.page_out(registry, seed, &mut [front.to_vec(), back.to_vec()]);
            let (words, rest) = bytes.as_chunks::<{ size_of::<u64>() }>();
            if rest.is_empty() {
                let words: Vec<u64> = words.iter().map(|word| bytemuck::cast(*word)).collect();
                self.page_out(registry, seed, &mut [words]);
            } else {
                self.page_out(registry, seed, &mut [bytes.to_vec()]);
            }
            let copied = self.attempt("a buffer", || ChunkBuf::copy_of(&arena, bytes));
            if let Some(buf) = copied {
                self.page_out(registry, seed, &mut [buf]);
            }
        }
    }

    fn page_out<C: Chunk>(
        &mut self,
        registry: &Registry<S::Backend>,
        seed: usize,
        chunks: &mut [C],
    ) {
        let paged_out = self.attempt("pageout", || {
            let paged_out = registry.pageout(chunks);
            let bytes_of = |chunk| bytemuck::cast_slice::<_, u8>(C::elements(chunk)).iter();
            let mut bytes = chunks.iter().flat_map(bytes_of);
            match &paged_out {
                Ok(_) => assert!(bytes.next().is_none(), "chunks that went out are empty"),
                Err(_) => assert!(bytes.eq(payload(seed)), "chunks stay as they were"),
            }
            paged_out
        });
        if let Some(handle) = paged_out {
            let Ok(handle) = handle.cast() else {
                panic!("any elements are bytes")
            };
            self.kept.push(Kept { handle, seed });
        }
    }

    fn read_all<D: Destination<Element = u8> + Default + Deref<Target = [u8]>>(&self) {
        for kept in &self.kept {
            let (bytes, len) = (kept.expected(), kept.handle.len());
            kept.handle.prefetch();
            for range in [0..len, len / 2..len, len / 3..(len / 3 + 4801).min(len)] {
                let read =
                    self.read::<D>(|read| kept.handle.read_at(range.start, range.len(), read));
                assert!(
                    read.is_none_or(|read| read[..] == bytes[range]),
                    "a range reads back"
                );
            }
            let ranges = [len / 2..len, 0..len.min(9), 0..0];
            let read = self.read::<D>(|read| kept.handle.read_at_many(&ranges, read));
            let joined = [&bytes[len / 2..], &bytes[..len.min(9)]].concat();
            assert!(
                read.is_none_or(|read| read[..] == joined[..]),
                "scattered ranges read back"
            );
        }
    }

    fn read<D: Default + Deref<Target = [u8]>>(
        &self,
        mut action: impl FnMut(&mut D) -> Result<()>,
    ) -> Option<D> {
        self.attempt("read", || {
            let mut read = D::default();
            let outcome = action(&mut read);
            assert!(
                outcome.is_ok() || read.is_empty(),
                "a failed read appends nothing"
            );
            outcome.map(|()| read)
        })
    }

    fn flush(&self, registry: &Registry<S::Backend>) {
        let _ = self.attempt("flush", || registry.residency().flush());
    }

    fn drop_some(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        let stays = |(index, one)| (index % 2 == 0).then_some(one);
        self.kept = kept.into_iter().enumerate().filter_map(stays).collect();
    }

    /// Takes everything back, closes, and looks for what is left.
    fn end(mut self, registry: Registry<S::Backend>) {
        for (index, kept) in std::mem::take(&mut self.kept).into_iter().enumerate() {
            match index % 4 {
                0 => self.take::<Vec<u8>>(kept),
                1 => self.take::<ChunkBuf<u8>>(kept),
                2 => drop(kept),
                _ => self.kept.push(kept),
            }
        }
        self.heal_if_struck();
        self.assert_all_alive();
        self.take_rest();
        self.heal_if_struck();
        self.take_rest();
        self.assert_all_zero(&registry);
        let struck_before = self.injection.struck();
        drop(registry);
        self.assert_nothing_left(struck_before > 0);
    }

    fn heal_if_struck(&mut self) {
        if self.injection.struck() > 0 {
            self.injection.heal();
            // Whatever fails from here on fails for no reason.
            self.fault = None;
        }
    }

    fn take_rest(&mut self) {
        for kept in std::mem::take(&mut self.kept) {
            self.take::<Vec<u8>>(kept);
        }
    }

    fn take<D: Destination<Element = u8> + Default + Deref<Target = [u8]>>(
        &mut self,
        kept: Kept<S::Backend>,
    ) {
        let (seed, mut handle) = (kept.seed, Some(kept.handle));
        let taken = self.attempt("take", || {
            let mut dst = D::default();
            let Some(taken) = handle.take() else {
                panic!("a failed take gives its handle back")
            };
            match taken.take(&mut dst) {
                Ok(()) => {
                    assert!(dst[..] == *payload(seed), "a payload comes back");
                    Ok(())
                }
                Err(failed) => {
                    assert!(dst.is_empty(), "a failed take leaves nothing");
                    let (error, survivor) = failed.into_parts();
                    handle = Some(survivor);
                    Err(error)
                }
            }
        });
        if let (None, Some(handle)) = (taken, handle) {
            self.kept.push(Kept { handle, seed });
        }
    }

    fn assert_all_zero(&self, registry: &Registry<S::Backend>) {
        let since = Instant::now();
        loop {
            let stats = registry.stats();
            let mut held = self.subject.held(registry.backend());
            held.extend([
                ("live handles", stats.live_handles as u64),
                ("logical bytes", stats.logical_bytes),
                ("backend's logical bytes", stats.backend.logical_bytes),
                ("resident bytes", stats.residency.resident_bytes),
                ("bytes being written", stats.residency.writing_bytes),
                ("bytes being fetched", stats.residency.fetching_bytes),
            ]);
            held.retain(|(_, count)| *count > 0);
            if held.is_empty() {
                return;
            }
            // A background thread may hold a payload for one operation more.
            assert!(since.elapsed() < PATIENCE, "still held: {held:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What could not be removed is removed by the next who opens; there may be
    /// such a thing only if the fault struck just now.
    fn assert_nothing_left(&self, struck_before: bool) {
        let since = Instant::now();
        let mut left = self.subject.left_behind();
        while !left.is_empty() && since.elapsed() < PATIENCE {
            let strikes = self.injection.struck() > 0 && !struck_before;
            if strikes || self.is_for_good() {
                self.injection.heal();
                drop(self.subject.open().expect("it opens once it is healed"));
            }
            std::thread::sleep(Duration::from_millis(1));
            left = self.subject.left_behind();
        }
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}
