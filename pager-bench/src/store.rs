//! [`Store`]: where chunks are between build and merge.

use pager::{CodecStats, Handle, Pager, ResidencyStats, Reuse};

use crate::buffer::Buffer;

/// A pager, or none: then every chunk stays where it is, and the system swaps
/// what it likes.
#[derive(Debug)]
pub enum Store {
    /// Chunks stay in the workload's memory.
    None,
    /// Chunks are paged out.
    Pager(Box<Pager>),
}

/// One chunk that was put away.
#[derive(Debug)]
pub enum Stored<C> {
    /// The chunk itself.
    Chunk(C),
    /// The pager's claim on it.
    Handle(Handle),
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
            (Self::None, Stored::Handle(_)) => {
                unreachable!("a store without a pager makes no handles")
            }
            (_, Stored::Chunk(chunk)) => {
                *dst = chunk;
                Ok(())
            }
        }
    }

    /// Has the pager store whatever it left in memory to be stored later; what is
    /// stored may stay in memory.
    ///
    /// # Errors
    ///
    /// What the pager says.
    pub fn write_back(&self) -> pager_core::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Pager(pager) => pager.write_back(),
        }
    }

    /// What the residency layer has done, if there is one.
    #[must_use]
    pub fn residency(&self) -> ResidencyStats {
        match self {
            Self::None => ResidencyStats::default(),
            Self::Pager(pager) => pager.residency().stats(),
        }
    }

    /// What the codec has done, if there is a pager.
    #[must_use]
    pub fn codec(&self) -> CodecStats {
        match self {
            Self::None => CodecStats::default(),
            Self::Pager(pager) => pager.codec_stats(),
        }
    }

    /// Says that a chunk will be taken soon.
    pub fn prefetch<C>(&self, stored: &Stored<C>) {
        if let (Self::Pager(pager), Stored::Handle(handle)) = (self, stored) {
            pager.prefetch(handle);
        }
    }
}
