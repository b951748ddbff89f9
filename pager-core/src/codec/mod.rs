//! Payloads, smaller: a layer over any backend.
//!
//! [`Compressed`] is a [`Backend`](crate::Backend) that encodes payloads on their way
//! into another one and decodes them on their way back. Columns of integers shrink
//! three to thirty times at several gigabytes a second on one core, so that a disk
//! which is slower than that becomes as much faster.
//!
//! Guarantees: what comes back is what went out, byte for byte. A payload that does
//! not shrink goes to the backend beneath untouched, without a copy. A range read
//! reads the blocks that it touches, and nothing else. Nothing that the medium says is
//! believed: a block that does not decode is [`Error::Corrupt`](crate::Error::Corrupt).
//!
//! Refuses: to find damage that decodes. That is what the checksums of the backend
//! beneath are for, which cover what is stored.
//!
//! ```text
//! scheme      the ways to encode, and who chooses
//! compressed  the backend: the way out, the way back
//! chooser     which scheme makes page-out and page-in end soonest
//! meter       what schemes and device take, as moving averages
//! stats       what was done
//! workspace   the buffers and scratch memory that it takes
//! block       some KiB, encoded and decoded
//! ```
//!
//! *Plain* is what the caller knows, *encoded* what a scheme made of it. A *portion* is
//! 2 MiB of a payload, encoded and stored together; a *block* of it, of 16 or 64 KiB,
//! decodes by itself; a *vector* is 1,024 elements of a block, packed to one width; an
//! *exception* is an element that does not fit that width and is stored beside it.

pub mod block;
mod chooser;
mod compressed;
mod meter;
mod scheme;
mod stats;
mod tier;
mod workspace;

pub use compressed::{CodecSlot, Compressed};
pub use scheme::{Codec, ParseCodecError, Scheme};
pub use stats::{CodecStats, SchemeStats};
