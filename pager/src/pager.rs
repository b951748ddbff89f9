//! [`Pager`]: pages payloads out through the backend that is selected, and works
//! on handles of every backend.
//!
//! Contains no mechanism: it picks a registry and forwards.

use std::ops::Range;
use std::path::Path;

use pager_core::{
    Chunk, Destination, Error, HandleInfo, Pod, ProcessStamp, Residency, ResidencyStats, Result,
    Stats, TakeError, Window,
};

use crate::selector::Selector;
use crate::{BackendKind, Handle, PageoutOptions, PagerBuilder, PagerStats, Preset};

/// The backends of this build behind one set of operations.
///
/// All methods take `&self` and may run on many threads at once; share a pager by
/// reference or in an `Arc`. The swap backend is ready at once; the file backend
/// opens its scratch directory when it is first paged out to, or by
/// [`set_scratch_dir`](Self::set_scratch_dir).
///
/// ```
/// use pager::{BackendKind, Pager};
///
/// let pager = Pager::new();
/// let early = pager.pageout(&mut [vec![1, 2, 3]])?;
/// pager.set_backend(BackendKind::Swap)?;
///
/// let mut words = Vec::new();
/// pager.read_at_many(&early, &[2..3, 0..2], &mut words)?;
/// assert_eq!(words, [3, 1, 2]);
/// assert_eq!(pager.stats().total.live_handles, 1);
/// # Ok::<(), pager::Error>(())
/// ```
#[derive(Debug)]
pub struct Pager {
    pub(crate) selector: Selector,
    preset: Preset,
    #[cfg(feature = "codec")]
    codec: crate::Codec,
    #[cfg(feature = "encryption")]
    pub(crate) encryption: bool,
    /// The process that made it: a forked child is refused.
    pub(crate) owner: ProcessStamp,
    /// One budget over the payloads of every backend.
    pub(crate) residency: Residency,
    #[cfg(feature = "swap")]
    pub(crate) swap: pager_core::Registry<crate::layer::Layered<pager_swap::SwapBackend>>,
    #[cfg(feature = "file")]
    pub(crate) file: crate::scratch::ScratchCell,
}

impl Pager {
    /// A pager with default settings: backend swap (file in a build without
    /// swap), preset fast, scratch directory by `PAGER_SCRATCH`, else `/var/tmp`.
    ///
    /// Makes no system call for the file backend.
    #[must_use]
    pub fn new() -> Self {
        Self::from_settings(PagerBuilder::default())
    }

    /// Settings, to be followed by [`build`](PagerBuilder::build).
    pub fn builder() -> PagerBuilder {
        PagerBuilder::default()
    }

    /// What the builder has checked.
    pub(crate) fn from_settings(settings: PagerBuilder) -> Self {
        let residency = settings.residency();
        let backend = match (settings.only_backend(), settings.backend) {
            (Some(kind), _) => kind,
            (None, Some(choice)) => choice.resolve_in(&settings.scratch_roots()),
            (None, None) => BackendKind::first_enabled(),
        };
        Self {
            selector: Selector::new(backend),
            preset: settings.preset,
            #[cfg(feature = "codec")]
            codec: settings.layer.codec,
            #[cfg(feature = "encryption")]
            encryption: settings.encryption,
            owner: ProcessStamp::current(),
            #[cfg(feature = "swap")]
            swap: pager_core::Registry::with_residency(
                settings.layer.over(swap_backend(&settings)),
                &residency,
            ),
            #[cfg(feature = "file")]
            file: crate::scratch::ScratchCell::new(&settings, &residency),
            residency,
        }
    }

    /// The strategies the backends use.
    #[must_use]
    pub fn preset(&self) -> Preset {
        self.preset
    }

    /// The backend that the next [`pageout`](Self::pageout) goes to.
    #[must_use]
    pub fn backend(&self) -> BackendKind {
        self.selector.get()
    }

    /// Selects the backend of later page-outs.
    ///
    /// Handles made before stay where they are and work as before. A page-out
    /// that runs on another thread meanwhile goes wholly to one of the two.
    ///
    /// # Errors
    ///
    /// [`Error::BackendDisabled`](crate::Error::BackendDisabled);
    /// [`Error::Unsupported`](crate::Error::Unsupported) of a backend that does not
    /// encrypt, if that was asked for; and
    /// [`Error::ForeignProcess`](crate::Error::ForeignProcess) in a forked child. The
    /// selection is then as it was.
    pub fn set_backend(&self, kind: BackendKind) -> Result<()> {
        if !self.owner.is_current() {
            return Err(Error::ForeignProcess);
        }
        self.selector.set(self.usable(kind)?);
        Ok(())
    }

    /// Has the file backend make its scratch directory under `path`, and removes
    /// from there what processes that have died left behind.
    ///
    /// The same path again is no change, unless the directory has been removed
    /// meanwhile: then, and for another path, a new one takes its place if no
    /// handle of the file backend is live. After a failure nothing has changed, and the call
    /// may be repeated.
    ///
    /// # Errors
    ///
    /// [`Error::ScratchUnavailable`](crate::Error::ScratchUnavailable) with what
    /// is wrong with the directory, [`ScratchProblem::InUse`] if handles are live
    /// in another; [`Error::BackendDisabled`](crate::Error::BackendDisabled).
    ///
    /// [`ScratchProblem::InUse`]: crate::ScratchProblem::InUse
    pub fn set_scratch_dir(&self, path: impl AsRef<Path>) -> Result<()> {
        #[cfg(feature = "file")]
        return self.set_scratch_roots(vec![pager_file::FileConfig::new(path.as_ref())]);
        #[cfg(not(feature = "file"))]
        {
            let _ = path;
            Err(BackendKind::File.disabled())
        }
    }

    #[cfg(feature = "file")]
    pub(crate) fn set_scratch_roots(&self, configs: Vec<pager_file::FileConfig>) -> Result<()> {
        self.file.set_roots(configs)
    }

    /// The directory of this process under the scratch root, under the first of several,
    /// if the file backend has been opened; none in a forked child, for it is its
    /// parent's. [`PagerStats::scratch`] has them all.
    #[cfg(feature = "file")]
    #[must_use]
    pub fn scratch_dir(&self) -> Option<std::path::PathBuf> {
        let open = self.file.current()?;
        let mut backends = crate::last_resort::set_of(open.backend()).backends();
        backends.next().map(|first| first.directory().to_owned())
    }

    /// Removes what processes that have died left under the scratch root. A
    /// process that runs for long may call it now and then; opening the scratch
    /// directory does it once.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if the scratch root cannot be listed, and
    /// those of [`set_scratch_dir`](Self::set_scratch_dir) if it was not open yet.
    #[cfg(feature = "file")]
    pub fn reap(&self) -> Result<pager_file::Reaped> {
        crate::last_resort::set_of(self.file.for_pageout()?.backend()).reap()
    }

    /// Pages out `chunks` as one payload, what they hold joined in order, through the
    /// selected backend.
    ///
    /// On success every chunk is empty. Chunks are `Vec`s or
    /// [`ChunkBuf`](crate::ChunkBuf)s. While the budget has room this moves pointers and
    /// nothing else; the bytes leave in the background. A payload without bytes belongs
    /// to the selected backend as any other does.
    ///
    /// # Errors
    ///
    /// What the backend says, those of [`set_scratch_dir`](Self::set_scratch_dir)
    /// if the file backend has to be opened, and
    /// [`Error::BackendDisabled`](crate::Error::BackendDisabled) in a build
    /// without backends. Every chunk is then as it was.
    pub fn pageout<C: Chunk>(&self, chunks: &mut [C]) -> Result<Handle<C::Element>> {
        self.options().pageout(chunks)
    }

    /// Pages out `len_bytes` bytes that `fill` writes into a window of pager's memory,
    /// once there is room for them: nothing is zeroed and nothing copied.
    ///
    /// ```
    /// use pager::Pager;
    ///
    /// let pager = Pager::new();
    /// let handle = pager.pageout_with(6, |window| {
    ///     window.copy_from(b"frames");
    ///     Ok(())
    /// })?;
    /// let mut bytes = Vec::new();
    /// pager.take(handle, &mut bytes)?;
    /// assert_eq!(bytes, b"frames");
    /// # Ok::<(), pager::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`PageoutOptions::pageout_with`].
    pub fn pageout_with(
        &self,
        len_bytes: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<Handle<u8>> {
        self.options().pageout_with(len_bytes, fill)
    }

    /// Page-outs that say more than their chunks: through which backend they go,
    /// when they are expected to be wanted again.
    pub fn options(&self) -> PageoutOptions<'_> {
        PageoutOptions::new(self)
    }

    /// Appends `len` elements from `offset` on to `dst`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`](crate::Error::OutOfBounds), and what the backend
    /// says; `dst` is as it was.
    pub fn read_at<T: Pod, D: Destination<Element = T>>(
        &self,
        handle: &Handle<T>,
        offset: usize,
        len: usize,
        dst: &mut D,
    ) -> Result<()> {
        handle.read_at(offset, len, dst)
    }

    /// Appends the elements of all `ranges`, in the order given, to `dst`.
    ///
    /// Ranges may overlap, touch, repeat and be empty.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`](crate::Error::OutOfBounds) if any range is reversed
    /// or reaches outside the payload, and what the backend says; `dst` is as it
    /// was.
    pub fn read_at_many<T: Pod, D: Destination<Element = T>>(
        &self,
        handle: &Handle<T>,
        ranges: &[Range<usize>],
        dst: &mut D,
    ) -> Result<()> {
        handle.read_at_many(ranges, dst)
    }

    /// Hints that the whole payload will be read or taken soon.
    pub fn prefetch<T: Pod>(&self, handle: &Handle<T>) {
        handle.prefetch();
    }

    /// Hints that `len` elements from `offset` on will be read soon. What lies
    /// outside the payload is ignored.
    pub fn prefetch_at<T: Pod>(&self, handle: &Handle<T>, offset: usize, len: usize) {
        handle.prefetch_at(offset, len);
    }

    /// Replaces the content of `dst` by the payload, and frees its storage.
    ///
    /// # Errors
    ///
    /// What the backend says, with the handle, as good as before; `dst` is empty
    /// then.
    pub fn take<T: Pod, D: Destination<Element = T>>(
        &self,
        handle: Handle<T>,
        dst: &mut D,
    ) -> Result<(), TakeError<Handle<T>>> {
        handle.take(dst)
    }

    /// What the backends hold and have done. Never stops other threads. In a
    /// forked child, which holds nothing of it, all figures are zero.
    #[must_use]
    pub fn stats(&self) -> PagerStats {
        if !self.owner.is_current() {
            return PagerStats::new(self.selector.get(), None, None, ResidencyStats::default());
        }
        #[allow(unused_mut, reason = "a build may have no file backend")]
        let mut stats = PagerStats::new(
            self.selector.get(),
            self.swap_totals(),
            self.file_totals(),
            self.residency.stats(),
        );
        #[cfg(feature = "file")]
        {
            stats.scratch.extend(self.file.directories());
            stats.last_resort = self.file.last_resort();
        }
        stats
    }

    /// What the codec has done, over all backends. In a forked child, all figures are
    /// zero.
    #[cfg(feature = "codec")]
    #[must_use]
    pub fn codec_stats(&self) -> crate::CodecStats {
        let mut stats = crate::CodecStats::default();
        stats.codec = self.codec;
        if self.owner.is_current() {
            #[cfg(feature = "swap")]
            stats.add(&self.swap.backend().codec_stats());
            #[cfg(feature = "file")]
            stats.add(&self.file.codec_stats());
        }
        stats
    }

    #[cfg(feature = "swap")]
    fn swap_totals(&self) -> Option<Stats> {
        Some(self.swap.stats())
    }

    #[cfg(not(feature = "swap"))]
    fn swap_totals(&self) -> Option<Stats> {
        None
    }

    #[cfg(feature = "file")]
    fn file_totals(&self) -> Option<Stats> {
        self.file.stats()
    }

    #[cfg(not(feature = "file"))]
    fn file_totals(&self) -> Option<Stats> {
        None
    }

    /// The live handles of every backend, in no particular order; none in a forked
    /// child, for all of them are its parent's.
    #[must_use]
    pub fn handles(&self) -> Vec<HandleInfo> {
        #[allow(unused_mut, reason = "a build may have no backend")]
        let mut listed = Vec::new();
        if !self.owner.is_current() {
            return listed;
        }
        #[cfg(feature = "swap")]
        listed.extend(self.swap.handles());
        #[cfg(feature = "file")]
        if let Some(open) = self.file.current() {
            listed.extend(open.handles());
        }
        listed
    }
}

impl Default for Pager {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "swap")]
fn swap_backend(settings: &PagerBuilder) -> pager_swap::SwapBackend {
    use pager_swap::{SeedAdvice, SwapMode};

    let mode = match settings.preset {
        Preset::Fast => SwapMode::Arena,
        Preset::Seed => SwapMode::Seed(SeedAdvice::Cold),
    };
    let builder = pager_swap::SwapBackend::builder()
        .mode(mode)
        .core_dumps(settings.core_dumps);
    match settings.warm_bytes {
        Some(bytes) => builder.warm_bytes(bytes).build(),
        None => builder.build(),
    }
}
