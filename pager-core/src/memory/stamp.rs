//! [`ProcessStamp`]: which process this is, so that a forked child is told from
//! its parent without a system call.

/// Identifies one process for as long as the machine runs.
///
/// A process id will not do: it is reused, and asking for it costs a system
/// call. On Linux the stamp lives in a page that the kernel wipes in every
/// forked child (`MADV_WIPEONFORK`, Linux 4.14), so a child sees zero there and
/// stamps itself anew. Elsewhere it is the process id.
///
/// ```
/// use pager_core::ProcessStamp;
///
/// let mine = ProcessStamp::current();
/// assert!(mine.is_current());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStamp(u64);

impl ProcessStamp {
    /// The stamp of the calling process. Cost on Linux: two loads.
    #[must_use]
    pub fn current() -> Self {
        Self(current())
    }

    /// Whether the calling process is the one that took this stamp.
    #[must_use]
    pub fn is_current(self) -> bool {
        self == Self::current()
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
fn current() -> u64 {
    use super::mapping::WipedOnFork;
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;

    static PAGE: OnceLock<Option<WipedOnFork>> = OnceLock::new();
    let Some(page) = PAGE.get_or_init(|| WipedOnFork::new().ok()) else {
        // A kernel before 4.14, or no memory for a single page.
        return u64::from(std::process::id());
    };
    // Relaxed, here and below: the value guards nothing but itself, and it never
    // changes within one process once it is set.
    let stamp = page.cell().load(Ordering::Relaxed);
    if stamp != 0 {
        return stamp;
    }
    let fresh = nanos_since_boot();
    match page
        .cell()
        .compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed)
    {
        Ok(_) => fresh,
        Err(winner) => winner,
    }
}

/// Later in a child than in its parent, so no two processes of one family share
/// it; never zero.
#[cfg(all(target_os = "linux", not(miri)))]
fn nanos_since_boot() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs() + 1
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn current() -> u64 {
    u64::from(std::process::id())
}
