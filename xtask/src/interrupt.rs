//! Ctrl-C, SIGTERM and SIGHUP as a flag that loops look at.
//!
//! Guarantees that no signal ends this process before its guards (memory cap, swap device) have
//! been dropped. Refuses nothing: SIGKILL cannot be caught; what it leaves
//! is taken down by the next start.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The exit code of a command that was interrupted, as shells have it.
pub(crate) const EXIT_CODE: u8 = 130;

/// From here on a signal sets the flag instead of ending the process.
pub(crate) fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        // Relaxed: the flag is the whole message, no other memory is published with it.
        REQUESTED.store(true, Ordering::Relaxed);
    })?;
    Ok(())
}

/// Whether somebody asked this process to stop.
pub(crate) fn requested() -> bool {
    // Relaxed: see `install`; a late look only delays the stop by one poll.
    REQUESTED.load(Ordering::Relaxed)
}
