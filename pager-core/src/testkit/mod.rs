//! What tests of backends need (feature `testkit`).

mod memory_backend;

pub use memory_backend::MemoryBackend;
