//! Memory that pager owns: huge-page-aligned slots, the buffers that users fill
//! in them, and the window through which a backend fills somebody's buffer.
//!
//! ```text
//! mapping   one anonymous, huge-page-aligned mapping   (unsafe: mmap, madvise)
//! arena     slots, by size class: warm and cold        (no unsafe)
//! shared    one arena for the whole process            (unsafe: a leaked one)
//! slot      one of them, in somebody's hands           (unsafe: moves out on drop)
//! class     the free slots of one size, by region      (no unsafe)
//! chunk_buf a growable buffer in one slot              (unsafe: slices of a slot)
//! append    filling one from its end
//! append_buf one that is read while it is appended to  (unsafe: a shared, filled part)
//! element   size and alignment of what it is made of
//! heap_buf  the buffer of a vector, its type forgotten (unsafe: allocates and frees)
//! reserve   room in a vector, or an error
//! window    the uninitialised tail that a read fills   (unsafe: proof of filling)
//! release   vectors freed so that memory leaves        (unsafe: madvise)
//! secret    a value that stays in this process       (unsafe: its pages)
//! stamp     which process this is, across forks        (unsafe: pthread_atfork)
//! ```

mod append;
mod append_buf;
mod arena;
mod chunk_buf;
mod class;
mod destination;
mod element;
mod heap_buf;
mod mapping;
mod release;
mod reserve;
mod secret;
mod shared;
mod size_class;
mod slot;
mod stamp;
mod window;

pub use arena::{Arena, ArenaBuilder, ArenaUsage};
pub use chunk_buf::ChunkBuf;
pub use destination::Destination;
pub use element::ElementLayout;
pub use heap_buf::HeapBuf;
pub use secret::{Secret, SecretGuards};
pub use size_class::SizeClass;
pub use stamp::ProcessStamp;
pub use window::Window;

pub(crate) use append_buf::{AppendBuf, Appender};
pub(crate) use destination::Adopt;
pub(crate) use release::release_buf;
pub(crate) use reserve::try_reserve;

/// Bytes of a huge page, and the alignment of every arena mapping.
///
/// x86-64 and arm64 with 4 KiB base pages; where the kernel's huge pages are
/// larger, the alignment still serves and the advice is simply not taken.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Granularity of size classes: the base page of the common platforms.
pub const PAGE_BYTES: usize = 4096;
