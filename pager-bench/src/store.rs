//! [`Store`]: where chunks are between build and merge.

use pager::{CodecStats, Handle, Pager, ResidencyStats, Reuse};

use crate::buffer::Buffer;
use crate::peer::{Kept, Peer, PeerKind};

/// A pager, a peer, or none: then every chunk stays where it is, and the system
/// swaps what it likes.
#[derive(Debug)]
pub enum Store {
    /// Chunks stay in the workload's memory.
    None,
    /// Chunks are paged out.
    Pager(Box<Pager>),
    /// Chunks go to a peer.
    Peer(PeerKind, Box<dyn Peer>),
}

/// One chunk that was put away.
#[derive(Debug)]
pub enum Stored<C> {
    /// The chunk itself.
    Chunk(C),
    /// The pager's claim on it.
    Handle(Handle),
    /// A peer's.
    Kept(Box<dyn Kept>),
}

impl Store {
    /// Puts `chunk` away, says when it will be wanted again, and leaves an empty
    /// one, with or without capacity.
    ///
    /// # Errors
    ///
    /// What the pager says.
    pub fn put<C: Buffer>(&self, chunk: &mut C, reuse: Reuse) -> pager_core::Result<Stored<C>> {
        match self {
            Self::None => Ok(Stored::Chunk(std::mem::take(chunk))),
            Self::Pager(pager) => pager
                .options()
                .reuse(reuse)
                .pageout(std::slice::from_mut(chunk))
                .map(Stored::Handle),
            Self::Peer(kind, peer) => {
                let bytes = size_of_val(chunk.elements()) as u64;
                let kept = peer.put(chunk.elements()).map_err(|cause| {
                    pager_core::Error::from_io(kind.name(), "write", None, bytes, cause)
                })?;
                chunk.forget();
                Ok(Stored::Kept(kept))
            }
        }
    }

    /// Brings a chunk back into `dst`.
    ///
    /// # Errors
    ///
    /// What the pager says; the chunk is lost then.
    pub fn take<C: Buffer>(&self, stored: Stored<C>, dst: &mut C) -> pager_core::Result<()> {
        match (self, stored) {
            (Self::Pager(pager), Stored::Handle(handle)) => Ok(pager.take(handle, dst)?),
            (Self::Peer(kind, _), Stored::Kept(kept)) => {
                let words = kept.word_count();
                let bytes = (words * size_of::<u64>()) as u64;
                kept.bring_back(dst.words_mut(words)?).map_err(|cause| {
                    pager_core::Error::from_io(kind.name(), "read", None, bytes, cause)
                })
            }
            (_, Stored::Handle(_) | Stored::Kept(_)) => {
                unreachable!("a store takes back what it was given")
            }
            (_, Stored::Chunk(chunk)) => {
                *dst = chunk;
                Ok(())
            }
        }
    }

    /// Has the pager store whatever it left in memory to be stored later; what is
    /// stored may stay in memory. What the page cache of a peer holds is not waited for.
    ///
    /// # Errors
    ///
    /// What the pager says.
    pub fn write_back(&self) -> pager_core::Result<()> {
        match self {
            Self::None | Self::Peer(..) => Ok(()),
            Self::Pager(pager) => pager.write_back(),
        }
    }

    /// What the residency layer has done, if there is one.
    #[must_use]
    pub fn residency(&self) -> ResidencyStats {
        match self {
            Self::None | Self::Peer(..) => ResidencyStats::default(),
            Self::Pager(pager) => pager.residency().stats(),
        }
    }

    /// What the codec has done, if there is a pager.
    #[must_use]
    pub fn codec(&self) -> CodecStats {
        match self {
            Self::None | Self::Peer(..) => CodecStats::default(),
            Self::Pager(pager) => pager.codec_stats(),
        }
    }

    /// How the pager encrypts what it has stored, and how the key is guarded; `None` if it
    /// does not.
    #[must_use]
    pub fn encryption(&self) -> Option<String> {
        match self {
            Self::None | Self::Peer(..) => None,
            Self::Pager(pager) => pager.encryption().map(|how| how.to_string()),
        }
    }

    /// Says that a chunk will be taken soon.
    pub fn prefetch<C>(&self, stored: &Stored<C>) {
        match (self, stored) {
            (Self::Pager(pager), Stored::Handle(handle)) => pager.prefetch(handle),
            (_, Stored::Kept(kept)) => kept.prefetch(),
            _ => {}
        }
    }
}
