//! [`Secret`]: a value that no swap device, core dump or forked child is to see.
//!
//! It lies in pages of its own, which the kernel is asked to lock (`mlock`), to leave
//! out of core dumps (`MADV_DONTDUMP`) and to wipe in children (`MADV_WIPEONFORK`);
//! what it refuses is told by [`SecretGuards`], for only the owner can know whether
//! that matters. It is overwritten before the pages are given back, whatever becomes of
//! them, and a child is not shown it.
//!
//! Guards nothing against who may read the memory of the process, or stop its machine
//! and look.

#![allow(
    unsafe_code,
    reason = "places a value in a mapping of its own, and advises on that"
)]

use std::fmt;
use std::hint::black_box;
use std::ptr::{self, NonNull};
use std::sync::atomic::{Ordering, compiler_fence};

use super::mapping::{Advice, Piece};
use super::stamp::ProcessStamp;
use crate::{Error, Result};

/// A value in pages of its own that leave this process by no way that the kernel
/// can bar.
///
/// ```
/// use pager_core::Secret;
///
/// let key = Secret::new(|| Ok([7u8; 32]))?;
/// assert_eq!(key.get(), Some(&[7; 32]));
/// if !key.guards().locked {
///     eprintln!("the key may be written to swap");
/// }
/// # Ok::<(), pager_core::Error>(())
/// ```
pub struct Secret<T> {
    place: NonNull<T>,
    guards: SecretGuards,
    owner: ProcessStamp,
    piece: Piece,
}

/// What the kernel does for a [`Secret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SecretGuards {
    /// It is never written to swap (`mlock`); it may be where `RLIMIT_MEMLOCK` is
    /// spent, or the call refused.
    pub locked: bool,
    /// No core dump contains it (`MADV_DONTDUMP`).
    pub undumped: bool,
    /// A forked child finds zeros in its place (`MADV_WIPEONFORK`). Where the kernel
    /// refuses, the child's memory has a copy, which [`Secret::get`] does not show.
    pub wiped: bool,
}

impl SecretGuards {
    /// Whether all that can be asked for is done.
    #[must_use]
    pub fn are_complete(self) -> bool {
        self.locked && self.undumped && self.wiped
    }
}

/// What is done, or what is not: `locked, not dumped, not inherited`.
impl fmt::Display for SecretGuards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = [
            (self.locked, "locked", "not locked"),
            (self.undumped, "not dumped", "dumped"),
            (self.wiped, "not inherited", "inherited"),
        ];
        for (index, (is_done, done, undone)) in said.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", if is_done { done } else { undone })?;
        }
        Ok(())
    }
}

// SAFETY: owns the value and its pages; nothing of it is tied to a thread.
unsafe impl<T: Send> Send for Secret<T> {}
// SAFETY: a shared reference gives shared references to the value, and no more.
unsafe impl<T: Sync> Sync for Secret<T> {}

impl<T> Secret<T> {
    /// Keeps what `make` makes. What making it left on the stack is overwritten, as far
    /// as a program can know.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], and those of `make`. That the kernel refuses a guard is
    /// no error: see [`guards`](Self::guards).
    pub fn new(make: impl FnOnce() -> Result<T>) -> Result<Self> {
        let page_bytes = page_bytes();
        let len_bytes = size_of::<T>().max(1).next_multiple_of(page_bytes);
        let no_memory = || Error::OutOfMemory {
            needed_bytes: len_bytes,
        };
        assert!(
            align_of::<T>() <= page_bytes,
            "pages are aligned well enough"
        );
        let advice = Advice {
            huge_pages: false,
            core_dumps: true,
        };
        let mut pieces = Piece::map(len_bytes, 1, advice).map_err(|_| no_memory())?;
        let mut piece = pieces.pop().ok_or_else(no_memory)?;
        let place = NonNull::from(piece.spare::<u64>()).cast::<T>();
        let guards = guard(place.cast(), len_bytes);
        let secret = write(place, make);
        overwrite_stack();
        secret?;
        Ok(Self {
            place,
            guards,
            owner: ProcessStamp::current(),
            piece,
        })
    }

    /// The value; `None` in a forked child, which has none.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        if !self.owner.is_current() {
            return None;
        }
        // SAFETY: the process wrote a value there before this was made, which stays
        // until it is dropped; the pages are mapped for as long, and nobody changes it.
        Some(unsafe { self.place.as_ref() })
    }

    /// What the kernel does for it.
    #[must_use]
    pub fn guards(&self) -> SecretGuards {
        self.guards
    }
}

impl<T> Drop for Secret<T> {
    fn drop(&mut self) {
        // A child's copy may be zeros, which need not be a value.
        if self.owner.is_current() {
            // SAFETY: as for `get`, and nobody can look at it any more.
            unsafe { ptr::drop_in_place(self.place.as_ptr()) };
        }
        let first = self.place.as_ptr().cast::<u64>();
        for index in 0..self.piece.len_bytes() / size_of::<u64>() {
            let word = first.wrapping_add(index);
            // SAFETY: one of the words of the piece, which begins at `first` and is
            // borrowed exclusively. Volatile, for nobody reads them again.
            unsafe { word.write_volatile(0) };
        }
        compiler_fence(Ordering::SeqCst);
    }
}

/// Says nothing of the value.
impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("guards", &self.guards)
            .finish_non_exhaustive()
    }
}

/// In a frame of its own, which is gone when the stack is overwritten.
#[inline(never)]
fn write<T>(place: NonNull<T>, make: impl FnOnce() -> Result<T>) -> Result<()> {
    let value = make()?;
    // SAFETY: the caller's place is mapped, large enough, aligned, and holds no value.
    unsafe { place.write(value) };
    Ok(())
}

/// Overwrites what functions that have returned left below this one's frame.
#[inline(never)]
fn overwrite_stack() {
    black_box(&mut [0u64; 2048]);
}

#[cfg(all(unix, not(miri)))]
fn page_bytes() -> usize {
    rustix::param::page_size()
}

#[cfg(not(all(unix, not(miri))))]
fn page_bytes() -> usize {
    super::PAGE_BYTES
}

/// Asks for all guards of pages that nothing is in yet.
#[cfg(all(unix, not(miri)))]
fn guard(start: NonNull<u8>, len_bytes: usize) -> SecretGuards {
    use crate::seam::{self, Call};

    let start = start.as_ptr().cast();
    // SAFETY: the range is mapped and the caller's; locking changes no content.
    let lock = || unsafe { rustix::mm::mlock(start, len_bytes) };
    SecretGuards {
        locked: seam::enter(Call::Mlock).is_ok() && lock().is_ok(),
        #[cfg(target_os = "linux")]
        undumped: advise(start, len_bytes, rustix::mm::Advice::LinuxDontDump),
        #[cfg(target_os = "linux")]
        wiped: advise(start, len_bytes, rustix::mm::Advice::LinuxWipeOnFork),
        ..SecretGuards::default()
    }
}

/// Whether the kernel takes advice that changes nothing here.
#[cfg(all(target_os = "linux", not(miri)))]
fn advise(start: *mut std::ffi::c_void, len_bytes: usize, advice: rustix::mm::Advice) -> bool {
    use crate::seam::{self, Call};

    // SAFETY: the range is mapped and the caller's; what is advised takes effect in
    // core dumps and children only.
    let advise = || unsafe { rustix::mm::madvise(start, len_bytes, advice) };
    seam::enter(Call::Madvise).is_ok() && advise().is_ok()
}

/// There is nobody to ask.
#[cfg(not(all(unix, not(miri))))]
fn guard(_: NonNull<u8>, _: usize) -> SecretGuards {
    SecretGuards::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_value_is_kept_and_dropped_once() {
        struct Counted<'a>(&'a Cell<u32>, u64);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let drops = Cell::new(0);
        let secret = Secret::new(|| Ok(Counted(&drops, 7))).unwrap();
        assert_eq!(secret.get().unwrap().1, 7);
        assert!(!format!("{secret:?}").contains('7'), "it stays secret");
        assert_eq!(drops.get(), 0);
        drop(secret);
        assert_eq!(drops.get(), 1);
    }

    #[test]
    fn what_cannot_be_made_is_the_error_of_who_makes_it() {
        let made = Secret::<u64>::new(|| Err(Error::ShutDown));
        assert!(matches!(made, Err(Error::ShutDown)));
    }

    #[test]
    fn guards_are_told_in_words() {
        let mut guards = SecretGuards {
            locked: true,
            undumped: true,
            wiped: true,
        };
        assert!(guards.are_complete());
        assert_eq!(guards.to_string(), "locked, not dumped, not inherited");
        guards.locked = false;
        assert!(!guards.are_complete());
        assert_eq!(guards.to_string(), "not locked, not dumped, not inherited");
    }

    /// The flags that the kernel shows of the mapping that an address lies in.
    #[cfg(all(target_os = "linux", not(miri)))]
    fn vm_flags(address: usize) -> String {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_in = false;
        for line in smaps.lines() {
            let range = line.split(' ').next().unwrap().split_once('-');
            if let Some((start, end)) = range
                && let Ok(start) = usize::from_str_radix(start, 16)
                && let Ok(end) = usize::from_str_radix(end, 16)
            {
                is_in = (start..end).contains(&address);
            } else if is_in && let Some(flags) = line.strip_prefix("VmFlags:") {
                return flags.to_owned();
            }
        }
        panic!("{address:x} is not mapped");
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn the_kernel_shows_the_guards_that_are_told() {
        let secret = Secret::new(|| Ok([9u64; 64])).unwrap();
        let flags = vm_flags(secret.place.as_ptr().addr());
        let has = |flag: &str| flags.split(' ').any(|it| it == flag);
        let guards = secret.guards();
        assert_eq!(
            (guards.locked, guards.undumped, guards.wiped),
            (has("lo"), has("dd"), has("wf")),
            "{flags}"
        );
        assert!(guards.undumped && guards.wiped, "{flags}");
    }
}
