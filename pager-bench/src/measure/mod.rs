//! What a phase of a workload costs, as the system counts it.
//!
//! ```text
//! proc      counters and sizes of /proc
//! cost      a phase's share of them, with CPU time and faults
//! tlb       loads that missed the translation buffer
//! sampler   memory over time, watched while the workload runs
//! latency   how long each operation took
//! host      the machine, the kernel, the file system, the commit
//! ```
//!
//! Where the system does not say (no `/proc`, a kernel without a counter), a
//! figure is 0.

pub mod cost;
pub mod host;
pub mod latency;
pub mod proc;
pub mod sampler;
pub mod tlb;

pub use cost::{Cost, Mark};
pub use host::Host;
pub use latency::{Latencies, Operation, Summary};
pub use sampler::{Sample, Sampler, Watched};
