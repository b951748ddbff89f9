//! [`Peer`]: what people use instead of pager, each as its own documentation advises.
//!
//! A peer stores chunks whole and brings them back whole; what it does in between is its
//! own affair. All of them copy, as pager does: the workload keeps its buffers.
//!
//! ```text
//! tempfiles  one unlinked temporary file per chunk, by `tempfile`
//! mapped     ranges of one unlinked file, mapped by `memmap2`
//! large      large objects of `lgalloc`, left to the kernel's swap
//! ```
//!
//! Plain vectors are no peer: they are what a workload has without any, see
//! [`Store::None`](crate::store::Store). A cache (`foyer`) is none either: it may drop what
//! it holds, and a spilled chunk must come back; `docs/benchmarks.md` says where it does.

mod large;
mod mapped;
mod tempfiles;

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use large::LargeObjects;
use mapped::MappedFile;
use tempfiles::TempFiles;

/// Somewhere to put chunks.
pub trait Peer: Send + Sync + fmt::Debug {
    /// Stores a copy of `words`.
    ///
    /// # Errors
    ///
    /// What the system says; nothing is stored then.
    fn put(&self, words: &[u64]) -> io::Result<Box<dyn Kept>>;
}

/// One chunk that a peer keeps. Dropping it gives its storage back.
pub trait Kept: Send + Sync + fmt::Debug {
    /// Words of the chunk.
    fn word_count(&self) -> usize;

    /// Says that the chunk will be wanted soon.
    fn prefetch(&self);

    /// Fills `words`, which has the chunk's length, and gives the storage back.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn bring_back(self: Box<Self>, words: &mut [u64]) -> io::Result<()>;
}

/// The peers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKind {
    /// One temporary file per chunk.
    TempFiles,
    /// Ranges of a mapped file.
    MappedFile,
    /// Large objects of an allocator.
    LargeObjects,
}

impl PeerKind {
    /// Every peer.
    pub const ALL: [Self; 3] = [Self::TempFiles, Self::MappedFile, Self::LargeObjects];

    /// The crate's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TempFiles => "tempfile",
            Self::MappedFile => "memmap2",
            Self::LargeObjects => "lgalloc",
        }
    }

    /// Whether chunks go to files of a directory; else to memory and swap.
    #[must_use]
    pub fn uses_files(self) -> bool {
        self != Self::LargeObjects
    }

    /// Sets the peer up, with its files in `scratch` if it has any.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(self, scratch: &Path) -> io::Result<Box<dyn Peer>> {
        Ok(match self {
            Self::TempFiles => Box::new(TempFiles::new(scratch)),
            Self::MappedFile => Box::new(MappedFile::create(scratch)?),
            Self::LargeObjects => Box::new(LargeObjects::new()),
        })
    }
}

impl FromStr for PeerKind {
    type Err = NotAPeer;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| NotAPeer(name.to_owned()))
    }
}

/// A name that no peer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAPeer(String);

impl fmt::Display for NotAPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no peer; those are", self.0)?;
        for kind in PeerKind::ALL {
            write!(f, " {}", kind.name())?;
        }
        Ok(())
    }
}

impl std::error::Error for NotAPeer {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CHUNK_WORDS;

    #[test]
    fn what_is_put_comes_back_whole_in_any_order_and_leaves_no_name() {
        let scratch = tempfile::tempdir().unwrap();
        for kind in PeerKind::ALL {
            let peer = kind.open(scratch.path()).unwrap();
            let chunk = |key: u64| (0..CHUNK_WORDS as u64).map(move |word| word ^ key << 40);
            // Two rounds, so that storage that was given back is used again.
            for round in 1..=2 {
                let mut kept: Vec<_> = (0..5)
                    .map(|key| {
                        let words: Vec<u64> = chunk(key * round).collect();
                        (key * round, peer.put(&words).unwrap())
                    })
                    .collect();
                kept.rotate_left(2);
                drop(kept.pop());
                for (key, kept) in kept {
                    assert_eq!(kept.word_count(), CHUNK_WORDS);
                    kept.prefetch();
                    let mut words = vec![7; CHUNK_WORDS];
                    kept.bring_back(&mut words).unwrap();
                    assert!(words.iter().copied().eq(chunk(key)), "{kind:?}");
                }
            }
            assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_peer_is_found_by_its_crates_name_and_others_are_told_the_names() {
        for kind in PeerKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        let told = "foyer".parse::<PeerKind>().unwrap_err().to_string();
        assert_eq!(
            told,
            "\"foyer\" is no peer; those are tempfile memmap2 lgalloc"
        );
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let nowhere = Path::new("/nowhere/at/all");
        assert!(PeerKind::MappedFile.open(nowhere).is_err());
        let files = PeerKind::TempFiles.open(nowhere).unwrap();
        assert!(files.put(&[1, 2]).is_err());
    }
}
