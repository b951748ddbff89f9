//! [`Punches`]: the holes that are being punched at this moment, by whom ever.
//!
//! What is being punched is neither free here nor yet the file system's: who finds
//! the medium full meanwhile waits for it instead of calling it full.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Counts what is under way, and what has been given back.
#[derive(Debug, Default)]
pub(super) struct Punches {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    /// Bytes that the file system has got back so far.
    given_bytes: u64,
}

/// A punch under way, from before its spans leave the allocator.
pub(super) struct Punch<'a> {
    punches: &'a Punches,
    pub(super) given_bytes: u64,
}

impl Punches {
    pub(super) fn begin(&self) -> Punch<'_> {
        self.lock().under_way += 1;
        Punch {
            punches: self,
            given_bytes: 0,
        }
    }

    /// Bytes given back so far.
    pub(super) fn given_bytes(&self) -> u64 {
        self.lock().given_bytes
    }

    /// Waits until none is under way, if some bytes have not been given back since
    /// there were `before_bytes` of them; whether some have.
    pub(super) fn have_given_since(&self, before_bytes: u64) -> bool {
        let mut state = self.lock();
        while state.under_way > 0 && state.given_bytes == before_bytes {
            state = self
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.given_bytes > before_bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Punch<'_> {
    fn drop(&mut self) {
        let mut state = self.punches.lock();
        state.under_way -= 1;
        state.given_bytes += self.given_bytes;
        drop(state);
        self.punches.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn nothing_under_way_is_not_waited_for() {
        let punches = Punches::default();
        assert!(!punches.have_given_since(0));
        let mut punch = punches.begin();
        punch.given_bytes = 7;
        drop(punch);
        assert!(punches.have_given_since(0));
        assert!(!punches.have_given_since(7));
        assert_eq!(punches.given_bytes(), 7);
    }

    #[test]
    fn a_punch_of_another_thread_is_waited_for_whatever_it_gives() {
        for given_bytes in [0, 4096] {
            let punches = Punches::default();
            let mut punch = punches.begin();
            punch.given_bytes = given_bytes;
            let has_given = thread::scope(|scope| {
                let waiter = scope.spawn(|| punches.have_given_since(0));
                thread::sleep(Duration::from_millis(20));
                assert!(!waiter.is_finished());
                drop(punch);
                waiter.join().unwrap()
            });
            assert_eq!(has_given, given_bytes > 0);
        }
    }
}
