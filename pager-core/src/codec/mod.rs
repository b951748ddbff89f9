//! Payloads, smaller.

pub mod block;
mod scheme;

pub use scheme::{Codec, ParseCodecError, Scheme};
