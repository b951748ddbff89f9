//! [`TempFiles`]: one unlinked temporary file per chunk, written and read through the page
//! cache. What most programs do that spill by hand.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::{Kept, Peer};

/// A directory for temporary files.
#[derive(Debug)]
pub(super) struct TempFiles {
    scratch: PathBuf,
}

/// One of the files.
#[derive(Debug)]
struct KeptFile {
    file: File,
    word_count: usize,
}

impl TempFiles {
    pub(super) fn new(scratch: &Path) -> Self {
        Self {
            scratch: scratch.to_owned(),
        }
    }
}

impl Peer for TempFiles {
    fn put(&self, words: &[u64]) -> io::Result<Box<dyn Kept>> {
        let mut file = tempfile::tempfile_in(&self.scratch)?;
        file.write_all(bytemuck::cast_slice(words))?;
        Ok(Box::new(KeptFile {
            file,
            word_count: words.len(),
        }))
    }
}

impl Kept for KeptFile {
    fn word_count(&self) -> usize {
        self.word_count
    }

    #[cfg(target_os = "linux")]
    fn prefetch(&self) {
        // Advice: what comes of it is a matter of speed.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::WillNeed);
    }

    #[cfg(not(target_os = "linux"))]
    fn prefetch(&self) {}

    fn bring_back(mut self: Box<Self>, words: &mut [u64]) -> io::Result<()> {
        self.file.rewind()?;
        self.file.read_exact(bytemuck::cast_slice_mut(words))
    }
}
