//! Payloads that a test keeps an eye on: what fails must be typed and must leave
//! everything as it was, what comes back must be every word.
//!
//! Allocates with care, so that a test whose memory is limited does not end
//! itself by an allocation of its own.

#![allow(dead_code, reason = "not every test binary uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::time::{Duration, Instant};

use pager::{BackendKind, Error, Handle, Pager};

/// A payload and what it must hold.
pub(crate) struct Kept {
    pub(crate) handle: Handle,
    seed: u64,
    len: usize,
}

impl Kept {
    /// Pages out `len` words of `seed` in two chunks; after a failure they must
    /// be as they were.
    ///
    /// # Errors
    ///
    /// That of the page-out; [`Error::OutOfMemory`] if there is no memory for the
    /// words themselves.
    pub(crate) fn new(
        pager: &Pager,
        kind: BackendKind,
        seed: u64,
        len: usize,
    ) -> Result<Self, Error> {
        let mut chunks = [filled(seed, 0..len / 3)?, filled(seed, len / 3..len)?];
        match pager.options().backend(kind).pageout(&mut chunks) {
            Ok(handle) => {
                assert!(chunks.iter().all(Vec::is_empty), "the chunks are moved");
                Ok(Self { handle, seed, len })
            }
            Err(error) => {
                assert_eq!(chunks[0].len() + chunks[1].len(), len);
                let joined = chunks.iter().flatten().copied();
                assert!(
                    joined.eq(stream(seed, 0..len)),
                    "a failed page-out leaves the chunks as they were: {error}"
                );
                Err(error)
            }
        }
    }

    /// Reads all of it, and a part.
    ///
    /// # Errors
    ///
    /// That of the read; nothing was appended then.
    pub(crate) fn read(&self) -> Result<(), Error> {
        for range in [0..self.len, self.len / 2..self.len] {
            let mut found = Vec::new();
            let read = self.handle.read_at(range.start, range.len(), &mut found);
            let expected = if read.is_ok() { range } else { 0..0 };
            self.compare(&found, expected);
            read?;
        }
        Ok(())
    }

    /// Takes it.
    ///
    /// # Errors
    ///
    /// That of the take, with what was to be taken.
    pub(crate) fn take(self) -> Result<(), Box<(Error, Self)>> {
        let Self { handle, seed, len } = self;
        let mut found = Vec::new();
        match handle.take(&mut found) {
            Ok(()) => {
                assert!(found.len() == len && found.iter().copied().eq(stream(seed, 0..len)));
                Ok(())
            }
            Err(failed) => {
                assert!(found.is_empty(), "nothing on failure");
                let (error, handle) = failed.into_parts();
                Err(Box::new((error, Self { handle, seed, len })))
            }
        }
    }

    fn compare(&self, found: &[u64], expected: std::ops::Range<usize>) {
        assert_eq!(found.len(), expected.len());
        let same = found.iter().copied().eq(stream(self.seed, expected));
        assert!(same, "payload {} of {} words", self.seed, self.len);
    }
}

/// The words at these places of a payload.
fn stream(seed: u64, places: std::ops::Range<usize>) -> impl Iterator<Item = u64> {
    let start = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    places.map(move |place| start.wrapping_add(place as u64).rotate_left(23) ^ start)
}

fn filled(seed: u64, places: std::ops::Range<usize>) -> Result<Vec<u64>, Error> {
    let mut words = Vec::new();
    let refused = |_| Error::OutOfMemory {
        needed_bytes: places.len() * 8,
    };
    words.try_reserve_exact(places.len()).map_err(refused)?;
    words.extend(stream(seed, places));
    Ok(words)
}

/// Every count of the pager is at zero, once whatever is under way has ended.
#[track_caller]
pub(crate) fn assert_nothing_is_left(pager: &Pager) {
    let since = Instant::now();
    while let Err(left) = nothing_is_left(pager) {
        // A background thread may hold a payload for one operation more.
        assert!(since.elapsed() < Duration::from_secs(10), "left: {left}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn nothing_is_left(pager: &Pager) -> Result<(), String> {
    let stats = pager.stats();
    let left = [
        stats.total.live_handles as u64,
        stats.total.logical_bytes,
        stats.total.backend.logical_bytes,
        stats.total.backend.stored_bytes,
        stats.residency.resident_bytes,
        stats.residency.writing_bytes,
        stats.residency.fetching_bytes,
        pager.handles().len() as u64,
    ];
    if left.iter().all(|count| *count == 0) {
        Ok(())
    } else {
        Err(format!("{left:?} {stats}"))
    }
}
