//! [`Rescue`]: the thread that reads what read-ahead does not bring.
//!
//! The pager reads ahead where its budget has room and its threads succeed. Where it does
//! not, somebody has to wait for the device, and a policy must not: it holds a lock. So a
//! thread does, which also tries again what has failed. It is started when it is first
//! needed, and ends with the last queue.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::batch::Batch;
use crate::lock;
use crate::spill::Shared;

/// Times that a read is tried, in all.
const TRIES: u32 = 5;

/// How long after the first failure; twice as long after each further one.
const PAUSE: Duration = Duration::from_millis(10);

/// A batch that somebody waits for.
struct Wanted {
    batch: Arc<Batch>,
    waker: Waker,
}

/// The way to the thread.
#[derive(Default)]
pub(crate) struct Rescue(Mutex<Option<Sender<Wanted>>>);

impl Rescue {
    /// Has `batch` read, and `waker` called then. Where no thread can be had, it is read here.
    pub(crate) fn ask(&self, shared: &Arc<Shared>, batch: &Arc<Batch>, waker: &Waker) {
        let wanted = Wanted {
            batch: Arc::clone(batch),
            waker: waker.clone(),
        };
        let mut way = lock(&self.0);
        if way.is_none() {
            let (sender, receiver) = mpsc::channel();
            let shared = Arc::downgrade(shared);
            let thread = thread::Builder::new().name("pager-timely".to_owned());
            if thread.spawn(move || run(&shared, &receiver)).is_ok() {
                *way = Some(sender);
            }
        }
        let unsent = match &*way {
            Some(sender) => sender.send(wanted).err().map(|refused| refused.0),
            None => Some(wanted),
        };
        drop(way);
        if let Some(wanted) = unsent {
            read(shared, &wanted);
        }
    }
}

fn run(shared: &Weak<Shared>, receiver: &Receiver<Wanted>) {
    while let Ok(wanted) = receiver.recv() {
        // Without it there is no queue, and nobody waits.
        if let Some(shared) = shared.upgrade() {
            read(&shared, &wanted);
        }
    }
}

/// Reads, and tries again whatever fails.
fn read(shared: &Shared, wanted: &Wanted) {
    let mut pause = PAUSE;
    for tried in 1..=TRIES {
        let Err(error) = wanted.batch.bring_back() else {
            break;
        };
        shared.tally.read_failed();
        shared.tell(&error);
        if tried == TRIES {
            wanted.batch.give_up(error);
            break;
        }
        thread::sleep(pause);
        pause *= 2;
    }
    wanted.waker.wake_by_ref();
}
