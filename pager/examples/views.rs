//! Views: a column that several threads look at where it lies, while the memory budget is
//! smaller than all columns together; and a task that is woken when its column has come.
//!
//!     cargo run -p pager-out-of-core --example views

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use pager::{Error, Handle, Pager};

const LEN: u64 = 1 << 18;

/// A task of its own thread: what a runtime has instead.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for the column without holding a thread of pager's; then looks at it.
fn sum(column: &Handle) -> Result<u64, Error> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    while column.poll_fetch(&mut context) == Poll::Pending {
        thread::park();
    }
    let view = column.view(0..column.len())?;
    Ok(view.iter().sum())
}

fn main() -> anyhow::Result<()> {
    let pager = Pager::builder().budget_bytes(24 << 20).build()?;
    let columns = (0..32)
        .map(|seed| pager.pageout(&mut [(seed..seed + LEN).collect::<Vec<u64>>()]))
        .collect::<Result<Vec<_>, _>>()?;

    let total: u64 = thread::scope(|scope| {
        let halves = columns
            .chunks(columns.len() / 2)
            .map(|half| scope.spawn(move || half.iter().map(sum).sum::<Result<u64, _>>()));
        let threads: Vec<_> = halves.collect();
        let sums = threads.into_iter().map(|thread| {
            let outcome = thread.join();
            outcome.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
        });
        sums.sum::<Result<u64, _>>()
    })?;
    println!("{} columns sum up to {total}", columns.len());

    // A view outlives its payload; a hint does not keep it.
    let [first, ..] = &columns[..] else {
        return Ok(());
    };
    let (view, hint) = (first.view(0..4)?, first.hint());
    drop(columns);
    hint.prefetch();
    assert_eq!(*view, [0, 1, 2, 3]);
    Ok(())
}
