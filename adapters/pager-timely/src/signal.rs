//! [`Signal`]: how a consumer learns that its next batch has come.
//!
//! An engine thread that finds nothing in a queue that is not empty is told by the engine to
//! look again at once, over and over. An entry without bytes in front says that there was
//! something: then a worker parks as it does when it has nothing to do, and is woken by the
//! signal. The thread that sends to another process does not park, but looks again at once. So
//! the entry makes whoever looks again within moments wait when it is dropped, which is when
//! the queue is not locked any more: until the signal, and never for long.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use timely::bytes::arc::{Bytes, BytesMut};

use crate::lock;

/// Who looks again after less than this does nothing else.
const AT_ONCE: Duration = Duration::from_micros(20);

/// The longest that anybody is made to wait.
const WAIT_AT_MOST: Duration = Duration::from_micros(500);

/// Told when something has come, and wakes the thread that listens.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    listener: Option<Thread>,
    has_come: bool,
    /// When the listener last found nothing.
    paused: Option<Instant>,
}

impl Signal {
    /// Wakes this thread from now on.
    pub(crate) fn listen(&self) {
        let mut state = lock(&self.state);
        state.has_come = false;
        let current = thread::current();
        if state.listener.as_ref().map(Thread::id) != Some(current.id()) {
            state.listener = Some(current);
        }
    }

    /// An entry without bytes: see above.
    pub(crate) fn pause(self: &Arc<Self>) -> Bytes {
        BytesMut::from(Pause(Arc::clone(self))).freeze()
    }

    fn wait(&self) {
        let mut state = lock(&self.state);
        let is_spinning = state.paused.is_some_and(|last| last.elapsed() < AT_ONCE);
        if is_spinning && !state.has_come {
            let waited = self.came.wait_timeout(state, WAIT_AT_MOST);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        state.paused = Some(Instant::now());
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        let mut state = lock(&self.state);
        state.has_come = true;
        if let Some(listener) = &state.listener {
            listener.unpark();
        }
        drop(state);
        self.came.notify_all();
    }
}

/// No bytes, whose last owner may have to wait.
struct Pause(Arc<Signal>);

impl Deref for Pause {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &[]
    }
}

impl DerefMut for Pause {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut []
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.wait();
    }
}
