//! The seam between pager and the kernel: before every system call that can fail,
//! the crates ask here whether it may be made.
//!
//! With the feature `fault-hooks` the answer is that of the [`Hooks`] that
//! `pager-testkit` installs; without it the answer is a constant, and nothing of
//! this is left in the program. Hidden from users: it crosses crates, and is no part
//! of the interface.
//!
//! Calls whose failure nobody could see are not asked about: the `close` of a
//! descriptor that is dropped, the clock, a limit of the process.

/// A system call by the name that the kernel and `strace` give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Memory is mapped.
    Mmap,
    /// Memory is given back.
    Munmap,
    /// Memory is advised, discarded, paged out or populated.
    Madvise,
    /// Memory is locked.
    Mlock,
    /// A directory or file is opened or made.
    Openat,
    /// A directory is made.
    Mkdirat,
    /// A directory is listed; asked once for each entry.
    Getdents,
    /// A directory is locked.
    Flock,
    /// A directory gets its name.
    Renameat,
    /// A file or directory is removed.
    Unlinkat,
    /// A descriptor is examined.
    Fstat,
    /// A name is examined.
    Newfstatat,
    /// A file says how it can be read and written.
    Statx,
    /// A file system is examined.
    Fstatfs,
    /// A link is read.
    Readlinkat,
    /// The mode of a descriptor is changed.
    Fchmod,
    /// The mode of a name is changed.
    Fchmodat,
    /// The flags of a descriptor are read or changed.
    Fcntl,
    /// The attributes of a file are read or changed.
    Ioctl,
    /// Storage is promised or given back.
    Fallocate,
    /// Bytes are written.
    Pwrite,
    /// Bytes of several places are written.
    Pwritev,
    /// Bytes of several places are written, with flags.
    Pwritev2,
    /// Bytes are read.
    Pread,
    /// Bytes are written out.
    Fdatasync,
    /// The page cache is advised.
    Fadvise,
    /// A descriptor is closed by somebody who looks at the outcome.
    Close,
    /// A thread is started.
    Clone,
}

impl Call {
    /// All of them, in order of declaration.
    pub const ALL: [Self; 28] = [
        Self::Mmap,
        Self::Munmap,
        Self::Madvise,
        Self::Mlock,
        Self::Openat,
        Self::Mkdirat,
        Self::Getdents,
        Self::Flock,
        Self::Renameat,
        Self::Unlinkat,
        Self::Fstat,
        Self::Newfstatat,
        Self::Statx,
        Self::Fstatfs,
        Self::Readlinkat,
        Self::Fchmod,
        Self::Fchmodat,
        Self::Fcntl,
        Self::Ioctl,
        Self::Fallocate,
        Self::Pwrite,
        Self::Pwritev,
        Self::Pwritev2,
        Self::Pread,
        Self::Fdatasync,
        Self::Fadvise,
        Self::Close,
        Self::Clone,
    ];

    /// Whether it moves bytes, and may move fewer than it was asked to.
    #[must_use]
    pub fn moves_bytes(self) -> bool {
        matches!(
            self,
            Self::Pwrite | Self::Pwritev | Self::Pwritev2 | Self::Pread
        )
    }
}

/// Whether this build asks anybody. What measures refuses to run if it does.
pub const HAS_HOOKS: bool = cfg!(feature = "fault-hooks");

/// Who answers, in a build that asks.
#[cfg(feature = "fault-hooks")]
pub trait Hooks: Sync {
    /// Whether `call` may be made.
    ///
    /// # Errors
    ///
    /// The number of the error that the call is to fail with, unmade.
    fn enter(&self, call: Call) -> Result<(), i32>;

    /// How many of `wanted` bytes `call` may move at most, if not all.
    ///
    /// # Errors
    ///
    /// As for [`enter`](Self::enter).
    fn transfer(&self, call: Call, wanted: usize) -> Result<Option<usize>, i32>;
}

#[cfg(feature = "fault-hooks")]
static HOOKS: std::sync::OnceLock<&dyn Hooks> = std::sync::OnceLock::new();

/// Lets `hooks` answer from now on, for the whole process and for good.
///
/// # Panics
///
/// If there are hooks already: two plans would not see each other's calls.
#[cfg(feature = "fault-hooks")]
pub fn install(hooks: &'static dyn Hooks) {
    let is_first = HOOKS.set(hooks).is_ok();
    assert!(is_first, "a process has one set of fault hooks");
}

/// Asked before `call` is made.
///
/// # Errors
///
/// The number of the error that the call is to fail with, unmade.
#[cfg(feature = "fault-hooks")]
pub fn enter(call: Call) -> Result<(), i32> {
    HOOKS.get().map_or(Ok(()), |hooks| hooks.enter(call))
}

/// Asked before `call` is made: it may be.
///
/// # Errors
///
/// None in this build.
#[cfg(not(feature = "fault-hooks"))]
#[inline(always)]
pub fn enter(_: Call) -> Result<(), i32> {
    Ok(())
}

/// Asked before `call` moves bytes, `wanted` of them: how many it may move at
/// most, if not all.
///
/// # Errors
///
/// As for [`enter`].
#[cfg(feature = "fault-hooks")]
pub fn transfer(call: Call, wanted: impl FnOnce() -> usize) -> Result<Option<usize>, i32> {
    HOOKS
        .get()
        .map_or(Ok(None), |hooks| hooks.transfer(call, wanted()))
}

/// Asked before `call` moves bytes: it may move all of them.
///
/// # Errors
///
/// None in this build.
#[cfg(not(feature = "fault-hooks"))]
#[inline(always)]
pub fn transfer(_: Call, _: impl FnOnce() -> usize) -> Result<Option<usize>, i32> {
    Ok(None)
}
