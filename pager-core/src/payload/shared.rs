//! [`Shared`]: bytes that belong to somebody else, paged out without a copy.
//!
//! The owner is kept until its bytes are written, and dropped then: whoever shares them
//! may have them back by its own count. Nothing is ever changed in place. A page-out
//! that fails leaves the owner where it was.

use std::fmt;
use std::sync::Arc;

use super::chunks::sealed::Erased;
use super::chunks::{Chunk, OwnedChunk};
use crate::backend::ChunkKind;
use crate::memory::ElementLayout;

/// An owner of bytes as a chunk: it is gone from here once it has been paged out.
///
/// What counts against the budget is the length of the bytes: an owner may hold more.
///
/// ```
/// use std::sync::Arc;
/// use pager_core::{Registry, Shared};
/// # mod in_memory { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_memory.inc")); }
/// # use in_memory::InMemory;
///
/// let registry = Registry::new(InMemory);
/// let text: Arc<[u8]> = Arc::from(*b"shared");
/// let handle = registry.pageout(&mut [Shared::new(Arc::clone(&text))])?;
/// assert_eq!(Arc::strong_count(&text), 1);
///
/// let mut back = Vec::new();
/// handle.take(&mut back)?;
/// assert_eq!(back, b"shared");
/// # Ok::<(), pager_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared<O>(Option<O>);

impl<O: AsRef<[u8]> + Send + Sync + 'static> Shared<O> {
    /// A chunk of the bytes of `owner`, which must stay the same bytes.
    pub const fn new(owner: O) -> Self {
        Self(Some(owner))
    }

    /// The owner, unless it has been paged out.
    pub fn into_inner(self) -> Option<O> {
        self.0
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |owner| owner.as_ref())
    }
}

impl<O> Default for Shared<O> {
    /// A chunk without an owner, and without bytes.
    fn default() -> Self {
        Self(None)
    }
}

/// Bytes of an owner that pager holds, its type forgotten.
#[derive(Clone)]
pub struct SharedBytes(Arc<dyn Owner>);

/// Whatever owns bytes, its type forgotten.
trait Owner: Send + Sync {
    fn bytes(&self) -> &[u8];

    /// To find out what it is.
    #[cfg(any(feature = "bytes", feature = "arrow"))]
    fn as_any(&self) -> &dyn std::any::Any;
}

impl<O: AsRef<[u8]> + Send + Sync + 'static> Owner for O {
    fn bytes(&self) -> &[u8] {
        self.as_ref()
    }

    #[cfg(any(feature = "bytes", feature = "arrow"))]
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl SharedBytes {
    /// Keeps `owner`.
    pub(crate) fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(owner))
    }

    /// The owner, if it is of this type.
    #[cfg(any(feature = "bytes", feature = "arrow"))]
    pub(super) fn owner<O: 'static>(&self) -> Option<&O> {
        (*self.0).as_any().downcast_ref()
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        (*self.0).bytes()
    }
}

impl PartialEq for SharedBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for SharedBytes {}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shared bytes", self.as_ref().len())
    }
}

/// Implements what makes a chunk of a type with an empty value, whose values are owners.
macro_rules! owner_chunk {
    ([$($generics:tt)*] $owner:ty, $chunk:ident => $bytes:expr, $taken:expr) => {
        impl<$($generics)*> Chunk for $owner {
            type Element = u8;

            fn elements(&self) -> &[u8] {
                let $chunk = self;
                $bytes
            }
        }

        impl<$($generics)*> Erased for $owner {
            fn content(&self) -> &[u8] {
                self.elements()
            }

            fn capacity_bytes(&self) -> usize {
                self.content().len()
            }

            fn kind(&self) -> ChunkKind {
                ChunkKind::Shared
            }

            fn element(&self) -> ElementLayout {
                ElementLayout::BYTES
            }

            fn clear(&mut self) {
                *self = Self::default();
            }

            fn take(&mut self) -> OwnedChunk {
                let $chunk = std::mem::take(self);
                OwnedChunk::Shared($taken)
            }
        }
    };
}

#[cfg(any(feature = "bytes", feature = "arrow"))]
pub(crate) use owner_chunk;

owner_chunk!(
    [O: AsRef<[u8]> + Send + Sync + 'static] Shared<O>,
    chunk => chunk.bytes(),
    SharedBytes::new(Whole(chunk))
);

/// A chunk that has its owner still.
struct Whole<O>(Shared<O>);

impl<O: AsRef<[u8]> + Send + Sync + 'static> AsRef<[u8]> for Whole<O> {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}
