//! Micro-benchmarks of single operations, without memory pressure.
//!
//! Buffers are reused and refilled off the clock, so that neither the allocator
//! nor the filling is what is measured. `cargo bench -p pager-bench` measures;
//! `cargo test` runs each benchmark once. Refuses to measure a build in which system
//! calls ask a test's plan first.
//!
//! ```text
//! round_trip  pageout and take of one chunk, 4 KiB to 16 MiB
//! scattered   2 MiB in 1 to 64 chunks
//! read_many   1 to 64 ranges in one call, sorted and not
//! registry    what the bookkeeping costs, with a backend that does nothing
//! workload    what the merge workload costs besides paging
//! ```

mod read_many;
mod registry;
mod round_trip;
mod scattered;
mod setup;
mod workload;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    // `cargo bench` passes this, `cargo test` does not.
    if std::env::args().any(|arg| arg == "--bench") && pager_core::seam::HAS_HOOKS {
        eprintln!("built with fault hooks, which would be measured: cargo bench -p pager-bench");
        std::process::exit(2);
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    round_trip::all(&mut criterion);
    scattered::all(&mut criterion);
    read_many::all(&mut criterion);
    registry::all(&mut criterion);
    workload::all(&mut criterion);
    criterion.final_summary();
}
