//! [`DirectFile`]: direct I/O on a plain file, without pager.
//!
//! What the device does when nobody is in the way. The file is written in full
//! once, so that no figure includes the allocation of blocks, and vanishes when
//! it is dropped.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pager::FileConfig;
use pager_core::ChunkBuf;

use crate::data::{BLOCK_WORDS, Stream};
use crate::{CHUNK_BYTES, CHUNK_WORDS};

/// The directory given, else the first that `PAGER_SCRATCH` names, else `/var/tmp`.
#[must_use]
pub fn scratch_or_default(given: Option<&Path>) -> PathBuf {
    let named = given.map(Path::to_owned);
    named.unwrap_or_else(|| scratch_list(None).swap_remove(0))
}

/// The directories of the list given, else of `PAGER_SCRATCH`, else `/var/tmp`: at least
/// one.
#[must_use]
pub fn scratch_list(given: Option<&OsStr>) -> Vec<PathBuf> {
    let configs = given.map_or_else(FileConfig::all_from_env, FileConfig::all_of);
    let roots = configs.iter().map(FileConfig::root);
    roots.map(Path::to_owned).collect()
}

/// A buffer of `words` random words, aligned as direct I/O wants it.
///
/// # Errors
///
/// No memory.
pub fn random_buffer(key: u64, words: usize) -> Result<ChunkBuf> {
    let mut buffer = ChunkBuf::with_capacity(words)?;
    let mut stream = Stream::new(key);
    let mut block = [0; BLOCK_WORDS];
    while buffer.len() < words {
        stream.next_into(&mut block);
        buffer.extend_from_slice(&block[..BLOCK_WORDS.min(words - buffer.len())])?;
    }
    Ok(buffer)
}

/// A nameless file, opened with `O_DIRECT`, every block of it written.
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    len_bytes: u64,
}

impl DirectFile {
    /// Creates and writes a file of `chunks` chunks in `scratch`.
    ///
    /// # Errors
    ///
    /// The directory cannot be written, is full, or has no direct I/O.
    pub fn create(scratch: &Path, chunks: u64) -> Result<Self> {
        let path = scratch.join(format!("pager-direct-{}", std::process::id()));
        let file = open_direct(&path)
            .with_context(|| format!("no direct I/O in {}", scratch.display()))?;
        std::fs::remove_file(&path).context("the file could not be unlinked")?;
        let len_bytes = chunks * CHUNK_BYTES as u64;
        preallocate(&file, len_bytes)?;
        let this = Self { file, len_bytes };
        let mut buffer = random_buffer(0, CHUNK_WORDS)?;
        for chunk in 0..chunks {
            // One word per page is enough to make every chunk differ.
            for word in buffer.iter_mut().step_by(BLOCK_WORDS) {
                *word ^= chunk + 1;
            }
            this.write(&buffer, chunk * CHUNK_BYTES as u64)?;
        }
        this.file
            .sync_data()
            .context("the file could not be synced")?;
        Ok(this)
    }

    /// Bytes of the file.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Writes all of `buffer` at `offset_bytes`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn write(&self, buffer: &ChunkBuf, offset_bytes: u64) -> Result<()> {
        write_all_at(&self.file, bytemuck::cast_slice(buffer), offset_bytes)
            .with_context(|| format!("writing at {offset_bytes}"))
    }

    /// Fills all of `buffer` from `offset_bytes`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn read(&self, buffer: &mut ChunkBuf, offset_bytes: u64) -> Result<()> {
        read_exact_at(&self.file, bytemuck::cast_slice_mut(buffer), offset_bytes)
            .with_context(|| format!("reading at {offset_bytes}"))
    }
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    // The flag's bits are positive on every architecture.
    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    Ok(OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)?)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(path: &Path) -> Result<File> {
    let _ = (path, OpenOptions::new());
    anyhow::bail!("direct I/O is measured on Linux only")
}

#[cfg(target_os = "linux")]
fn preallocate(file: &File, len_bytes: u64) -> Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};

    ensure!(len_bytes > 0, "the file must have at least one chunk");
    match fallocate(file, FallocateFlags::empty(), 0, len_bytes) {
        // A file system without it allocates as the file is written.
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        other => other.context("no space for the file"),
    }
}

#[cfg(not(target_os = "linux"))]
fn preallocate(_: &File, len_bytes: u64) -> Result<()> {
    ensure!(len_bytes > 0, "the file must have at least one chunk");
    Ok(())
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset_bytes: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset_bytes)
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset_bytes: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset_bytes)
}

#[cfg(not(unix))]
fn write_all_at(_: &File, _: &[u8], _: u64) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_no_name_is_left() {
        let scratch = tempfile::tempdir_in(scratch_or_default(None)).unwrap();
        let Ok(file) = DirectFile::create(scratch.path(), 2) else {
            println!("skipped: no direct I/O in {}", scratch.path().display());
            return;
        };
        let written = random_buffer(7, CHUNK_WORDS).unwrap();
        file.write(&written, CHUNK_BYTES as u64).unwrap();
        let mut found = random_buffer(8, CHUNK_WORDS).unwrap();
        file.read(&mut found, CHUNK_BYTES as u64).unwrap();
        assert_eq!(written, found);
        assert!(file.read(&mut found, file.len_bytes()).is_err());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_without_direct_files_is_an_error() {
        assert!(DirectFile::create(Path::new("/proc"), 1).is_err());
    }
}
