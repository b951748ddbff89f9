//! [`ProcessStamp`]: which process this is, so that a forked child is told from
//! its parent without a system call.
//!
//! On Linux the stamp lives in a page that the kernel wipes in every forked child
//! (`MADV_WIPEONFORK`, Linux 4.14), so a child sees zero there and stamps itself
//! anew. Old kernels and some sandboxes refuse that, and others accept it and do
//! nothing. So the C library is asked, too, to clear the stamp in children that it
//! forks; and where the kernel refused, every stamp holds the process id as well,
//! for children that were forked past the library. Asking for the id is a system
//! call, so such a system pays one for each question.
//!
//! A process id alone will not do: it is reused, and the first process of a new
//! namespace has the same as that of the old one.
//!
//! Never waits: a child may be born at any moment, and would wait for a thread that
//! it does not have.

#![allow(unsafe_code, reason = "registers a fork handler")]

/// Identifies one process for as long as the machine runs.
///
/// ```
/// use pager_core::ProcessStamp;
///
/// let mine = ProcessStamp::current();
/// assert!(mine.is_current());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStamp {
    /// When the process first asked; zero where there is no such page.
    nanos: u64,
    /// The process id, where the page alone does not tell; zero elsewhere.
    pid: u32,
}

impl ProcessStamp {
    /// The stamp of the calling process. Cost on Linux: three loads; a system call
    /// more where `MADV_WIPEONFORK` is refused.
    #[must_use]
    pub fn current() -> Self {
        current()
    }

    /// Whether the calling process is the one that took this stamp.
    #[must_use]
    pub fn is_current(self) -> bool {
        self == Self::current()
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
use on_linux::current;

#[cfg(all(target_os = "linux", not(miri)))]
mod on_linux {
    use std::sync::atomic::{AtomicU64, Ordering};

    use once_cell::race::OnceBox;

    use super::ProcessStamp;
    use crate::memory::mapping::StampPage;

    /// The page of this process and its children, once somebody has asked. The first
    /// one wins, and nobody waits.
    static PLACE: OnceBox<Place> = OnceBox::new();

    struct Place {
        /// In a page that is never unmapped; in ordinary memory where there was no
        /// memory for a page.
        cell: &'static AtomicU64,
        asks_pid: bool,
        /// Keeps what owns the page within reach, so that nobody takes it for lost.
        _page: Option<&'static StampPage>,
    }

    impl Place {
        #[cold]
        fn new() -> Box<Self> {
            // A refusal (no memory) leaves the page, or the process id.
            // SAFETY: the handler is a function of this program's lifetime that is
            // called with no argument, and does what a handler may: two atomic loads
            // and an atomic store. Nothing is wrong with having it called twice.
            let _ = unsafe { libc::pthread_atfork(None, None, Some(forget_in_child)) };
            // Two threads that are the first at once leak one of two pages.
            let place = match StampPage::new() {
                Ok(page) => {
                    let page: &'static StampPage = Box::leak(Box::new(page));
                    Self {
                        cell: page.cell(),
                        asks_pid: !page.is_wiped(),
                        _page: Some(page),
                    }
                }
                Err(_) => Self {
                    cell: Box::leak(Box::new(AtomicU64::new(0))),
                    asks_pid: true,
                    _page: None,
                },
            };
            Box::new(place)
        }
    }

    pub(super) fn current() -> ProcessStamp {
        let place = PLACE.get_or_init(Place::new);
        let pid = if place.asks_pid {
            std::process::id()
        } else {
            0
        };
        let nanos = stamp_in(place.cell);
        ProcessStamp { nanos, pid }
    }

    fn stamp_in(cell: &AtomicU64) -> u64 {
        // Relaxed, here and below: the value guards nothing but itself, and it never
        // changes within one process once it is set.
        let stamp = cell.load(Ordering::Relaxed);
        if stamp != 0 {
            return stamp;
        }
        let fresh = nanos_since_boot();
        match cell.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => fresh,
            Err(winner) => winner,
        }
    }

    /// Called by the C library in every child that it forks.
    extern "C" fn forget_in_child() {
        if let Some(place) = PLACE.get() {
            place.cell.store(0, Ordering::Relaxed);
        }
    }

    /// Later in a child than in its parent, so no two processes of one family share
    /// it; never zero.
    fn nanos_since_boot() -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs() + 1
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn current() -> ProcessStamp {
    ProcessStamp {
        nanos: 0,
        pid: std::process::id(),
    }
}
