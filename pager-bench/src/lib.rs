//! The evidence for pager: the merge workload, the device ceiling, and what
//! both are measured with. Depends on the product crates; none depends on it.
//!
//! ```text
//! data      distinct chunks of words, random or columns of TPC-H lineitem
//! buffer    the two kinds of memory that a workload may hold its chunks in
//! store     where chunks go between build and merge: a pager, a peer, or nowhere
//! peer      what people use instead of pager
//! merge     the workload itself: build two chains, merge them
//! verify    the merged chains against what the generator implies
//! measure   faults, swap traffic, I/O, memory and latencies of a phase
//! report    all of it as one line of JSON, or a few for people
//! direct    2 MiB and 4 KiB direct I/O without pager, to compare with
//! ceiling   what the device can do
//! growth    what a payload costs as there are more, larger ones, or more threads
//! pread_4k  small random reads, of handles and of a plain file
//! soak      random operations on many threads, compared with a model
//! ```

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod buffer;
pub mod ceiling;
pub mod data;
pub mod direct;
pub mod growth;
pub mod measure;
pub mod merge;
pub mod peer;
pub mod pread_4k;
pub mod report;
pub mod soak;
pub mod store;
pub mod verify;

/// Words of a chunk: 2 MiB.
pub const CHUNK_WORDS: usize = CHUNK_BYTES / size_of::<u64>();

/// Bytes of a chunk.
pub const CHUNK_BYTES: usize = 2 << 20;

/// Bytes of a GiB, for rates.
pub const GIB: f64 = (1u64 << 30) as f64;

/// The middle of some figures, of which there is one at least.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Bytes that `gib` stands for, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a flag for people: fractions of a byte and negative sizes become nothing"
)]
#[must_use]
pub fn bytes_of_gib(gib: f64) -> u64 {
    (gib * GIB) as u64
}
