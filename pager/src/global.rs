//! The operations of [`Pager`] on one pager for the whole process.
//!
//! For programs in which many parts page out and none of them should have to
//! carry a [`Pager`] around. The process-wide pager is made with default settings
//! by the first call of any of these functions, unless [`install`] has put one in
//! place before. It lives until the process ends, and nothing of its file backend is
//! left on disk then, whether `main` returns or somebody calls `exit`. What a process
//! that aborts or is killed leaves is removed by the next one. A forked child finds its
//! parent's, which refuses it as any other pager does.
//!
//! ```
//! let handle = pager::pageout(&mut [vec![1, 2, 3]])?;
//! let mut words = Vec::new();
//! pager::take(handle, &mut words)?;
//! assert_eq!(words, [1, 2, 3]);
//! # Ok::<(), pager::Error>(())
//! ```

use std::ops::Range;
use std::path::Path;

use once_cell::race::OnceBox;
use pager_core::{Chunk, Destination, HandleInfo, Pod, Residency, Result, TakeError, Window};

use crate::{BackendKind, Handle, PageoutOptions, Pager, PagerStats, Preset};

/// The first one wins. Nobody waits: a forked child would wait for a thread of its
/// parent's that was about to make one. Of two threads that both find none, one
/// makes its own in vain; nothing has been opened for it yet.
static PAGER: OnceBox<Pager> = OnceBox::new();

/// The process-wide pager.
pub fn pager() -> &'static Pager {
    PAGER.get_or_init(Box::default)
}

/// Makes `pager` the process-wide one.
///
/// # Errors
///
/// `pager` itself, if the process has one already.
pub fn install(pager: Pager) -> Result<(), Box<Pager>> {
    PAGER.set(Box::new(pager))
}

/// [`Pager::backend`] of the process-wide pager.
#[must_use]
pub fn backend() -> BackendKind {
    pager().backend()
}

/// [`Pager::set_backend`] of the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn set_backend(kind: BackendKind) -> Result<()> {
    pager().set_backend(kind)
}

/// [`Pager::set_scratch_dir`] of the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn set_scratch_dir(path: impl AsRef<Path>) -> Result<()> {
    pager().set_scratch_dir(path)
}

/// [`Pager::reap`] of the process-wide pager.
///
/// # Errors
///
/// As there.
#[cfg(feature = "file")]
pub fn reap() -> Result<pager_file::Reaped> {
    pager().reap()
}

/// [`Pager::codec_stats`] of the process-wide pager.
#[cfg(feature = "codec")]
#[must_use]
pub fn codec_stats() -> crate::CodecStats {
    pager().codec_stats()
}

/// [`Pager::pageout`] through the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn pageout<C: Chunk>(chunks: &mut [C]) -> Result<Handle<C::Element>> {
    pager().pageout(chunks)
}

/// [`Pager::pageout_with`] through the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn pageout_with(
    len_bytes: usize,
    fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
) -> Result<Handle<u8>> {
    pager().pageout_with(len_bytes, fill)
}

/// [`Pager::options`] of the process-wide pager.
pub fn options() -> PageoutOptions<'static> {
    pager().options()
}

/// [`Pager::spill`] through the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn spill() -> Result<(crate::SpillWriter, crate::Spill)> {
    pager().spill()
}

/// [`Pager::preset`] of the process-wide pager.
#[must_use]
pub fn preset() -> Preset {
    pager().preset()
}

/// [`Pager::scratch_dir`] of the process-wide pager.
#[cfg(feature = "file")]
#[must_use]
pub fn scratch_dir() -> Option<std::path::PathBuf> {
    pager().scratch_dir()
}

/// [`Pager::budget_bytes`] of the process-wide pager.
#[must_use]
pub fn budget_bytes() -> usize {
    pager().budget_bytes()
}

/// [`Pager::residency`] of the process-wide pager.
#[must_use]
pub fn residency() -> &'static Residency {
    pager().residency()
}

/// [`Pager::trim`] of the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn trim() -> Result<crate::Trimmed> {
    pager().trim()
}

/// [`Pager::reclaim_bytes`] of the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn reclaim_bytes(bytes: usize) -> Result<usize> {
    pager().reclaim_bytes(bytes)
}

/// [`Pager::swap_stats`] of the process-wide pager.
#[cfg(feature = "swap")]
#[must_use]
pub fn swap_stats() -> pager_swap::SwapStats {
    pager().swap_stats()
}

/// [`Pager::arena_usage`] of the process-wide pager.
#[cfg(feature = "swap")]
#[must_use]
pub fn arena_usage() -> pager_core::ArenaUsage {
    pager().arena_usage()
}

/// [`Pager::file_stats`] of the process-wide pager.
#[cfg(feature = "file")]
#[must_use]
pub fn file_stats() -> Option<pager_file::FileStats> {
    pager().file_stats()
}

/// [`Pager::write_back`] of the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn write_back() -> Result<()> {
    pager().write_back()
}

/// [`Pager::shutdown`] of the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn shutdown() -> Result<()> {
    pager().shutdown()
}

/// [`Pager::set_budget`] of the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn set_budget(budget_bytes: usize) -> Result<()> {
    pager().set_budget(budget_bytes)
}

/// [`Pager::flush`] of the process-wide pager.
///
/// # Errors
///
/// As there.
pub fn flush() -> Result<()> {
    pager().flush()
}

/// [`Pager::read_at`]; the handle may be of any pager.
///
/// # Errors
///
/// As there.
pub fn read_at<T: Pod, D: Destination<Element = T>>(
    handle: &Handle<T>,
    offset: usize,
    len: usize,
    dst: &mut D,
) -> Result<()> {
    handle.read_at(offset, len, dst)
}

/// [`Pager::read_at_many`]; the handle may be of any pager.
///
/// # Errors
///
/// As there.
pub fn read_at_many<T: Pod, D: Destination<Element = T>>(
    handle: &Handle<T>,
    ranges: &[Range<usize>],
    dst: &mut D,
) -> Result<()> {
    handle.read_at_many(ranges, dst)
}

/// [`Pager::prefetch`]; the handle may be of any pager.
pub fn prefetch<T: Pod>(handle: &Handle<T>) {
    handle.prefetch();
}

/// [`Pager::prefetch_at`]; the handle may be of any pager.
pub fn prefetch_at<T: Pod>(handle: &Handle<T>, offset: usize, len: usize) {
    handle.prefetch_at(offset, len);
}

/// [`Pager::prefetch_many`]; the handles may be of any pager.
pub fn prefetch_many<T: Pod>(handles: &[&Handle<T>]) {
    handles.iter().for_each(|handle| handle.prefetch());
}

/// [`Pager::take`]; the handle may be of any pager.
///
/// # Errors
///
/// As there.
pub fn take<T: Pod, D: Destination<Element = T>>(
    handle: Handle<T>,
    dst: &mut D,
) -> Result<(), TakeError<Handle<T>>> {
    handle.take(dst)
}

/// [`Pager::stats`] of the process-wide pager.
#[must_use]
pub fn stats() -> PagerStats {
    pager().stats()
}

/// [`Pager::handles`] of the process-wide pager.
#[must_use]
pub fn handles() -> Vec<HandleInfo> {
    pager().handles()
}
