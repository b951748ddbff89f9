//! [`PagerBuilder`]: what a pager may be told before it is made.

use std::path::PathBuf;

use pager_core::{Error, MemoryAccount, Residency, ResidencyBuilder, Result, default_budget_bytes};

use crate::{BackendChoice, BackendKind, Pager, Preset};

/// Settings for a [`Pager`]. Every one has a default.
///
/// ```
/// use pager::{BackendKind, Pager, Preset};
///
/// let pager = Pager::builder()
///     .backend(BackendKind::Swap)
///     .preset(Preset::Seed)
///     .build()?;
/// assert_eq!(pager.preset(), Preset::Seed);
/// # Ok::<(), pager::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PagerBuilder {
    pub(crate) backend: Option<BackendChoice>,
    pub(crate) preset: Preset,
    pub(crate) scratch_dir: Option<PathBuf>,
    #[cfg(feature = "file")]
    pub(crate) scratch_dirs: Option<Vec<pager_file::FileConfig>>,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) allow_memory_fs: bool,
    #[cfg(feature = "file")]
    pub(crate) checksums: Option<bool>,
    #[cfg(feature = "encryption")]
    pub(crate) encryption: bool,
    #[cfg(feature = "file")]
    pub(crate) io: pager_file::IoChoice,
    #[cfg(feature = "swap")]
    pub(crate) core_dumps: bool,
    #[cfg(any(feature = "swap", feature = "file", feature = "codec"))]
    pub(crate) layer: crate::layer::Layer,
    #[cfg(feature = "file")]
    pub(crate) slack_bytes: Option<u64>,
    #[cfg(feature = "file")]
    pub(crate) last_resort: crate::LastResort,
    #[cfg(feature = "swap")]
    pub(crate) warm_bytes: Option<usize>,
    pub(crate) budget_bytes: Option<usize>,
    pub(crate) io_threads: Option<usize>,
    pub(crate) residency: ResidencyBuilder,
    /// Whether anything was said of a budget of its own.
    has_own_budget: bool,
    shared_budget: Option<Residency>,
}

impl PagerBuilder {
    /// The backend of the first page-outs, by name or by
    /// [`BackendChoice::Auto`], which [`build`](Self::build) resolves for the scratch
    /// directory named here; [`Pager::backend`] tells which it is. Default: swap, or
    /// file in a build without swap.
    pub fn backend(mut self, choice: impl Into<BackendChoice>) -> Self {
        self.backend = Some(choice.into());
        self
    }

    /// Which strategies the backends use. Default: [`Preset::Fast`].
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }

    /// Where the file backend makes its scratch directory. [`build`](Self::build)
    /// opens it at once, so that a bad one is an error then.
    ///
    /// Default: those of the environment variable `PAGER_SCRATCH`, a list separated by
    /// colons, else `/var/tmp`, opened by the first page-out to file.
    pub fn scratch_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.scratch_dir = Some(path.into());
        #[cfg(feature = "file")]
        {
            self.scratch_dirs = None;
        }
        self
    }

    /// Several scratch directories, on as many devices: each payload goes to the one
    /// where it is through soonest. One that is full, fails or hardly answers is left out
    /// for a while. Each is a path, or a [`FileConfig`](pager_file::FileConfig) with a
    /// quota or a weight of its own; how bytes move is this builder's matter, and
    /// [`quota_bytes`](Self::quota_bytes) bounds all of them together. Takes the place of
    /// [`scratch_dir`](Self::scratch_dir), and is opened when that would be; an empty list
    /// is an error then.
    ///
    /// The default number of I/O threads is two for each.
    ///
    /// ```
    /// use pager::{BackendKind, FileConfig, Pager};
    ///
    /// # let scratch = tempfile::tempdir_in("/var/tmp")?;
    /// # let (nvme, disk) = (scratch.path().join("nvme"), scratch.path().join("disk"));
    /// let pager = Pager::builder()
    ///     .backend(BackendKind::File)
    ///     .scratch_dirs([FileConfig::new(nvme).quota_bytes(64 << 30), disk.into()])
    ///     .build()?;
    /// for directory in pager.stats().scratch {
    ///     println!("{directory}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "file")]
    pub fn scratch_dirs<R: Into<pager_file::FileConfig>>(
        mut self,
        roots: impl IntoIterator<Item = R>,
    ) -> Self {
        self.scratch_dirs = Some(roots.into_iter().map(Into::into).collect());
        self.scratch_dir = None;
        self
    }

    /// The scratch roots that were named.
    pub(crate) fn scratch_roots(&self) -> Vec<PathBuf> {
        #[allow(unused_mut, reason = "a build may have no file backend")]
        let mut roots: Vec<PathBuf> = self.scratch_dir.iter().cloned().collect();
        #[cfg(feature = "file")]
        roots.extend(
            self.scratch_dirs
                .iter()
                .flatten()
                .map(|it| it.root().to_owned()),
        );
        roots
    }

    /// Bytes that the file backend may store. Default: as many as fit.
    pub fn quota_bytes(mut self, bytes: u64) -> Self {
        self.quota_bytes = Some(bytes);
        self
    }

    /// Bytes of freed room that scratch files keep for reuse, before they give room back
    /// to the file system. Default: as many as are stored at the moment, and at least
    /// 256 MiB. [`Pager::trim`] gives back what is kept. [`Preset::Seed`] keeps none.
    #[cfg(feature = "file")]
    pub fn slack_bytes(mut self, bytes: u64) -> Self {
        self.slack_bytes = Some(bytes);
        self
    }

    /// How the file backend moves bytes. Default: what the file system does best.
    #[cfg(feature = "file")]
    pub fn io(mut self, io: pager_file::IoChoice) -> Self {
        self.io = io;
        self
    }

    /// Whether the file backend compares what comes back with checksums, so that
    /// damage on the device is [`Error::Corrupt`](crate::Error::Corrupt). Default:
    /// yes, except with [`Preset::Seed`], which has none.
    #[cfg(feature = "file")]
    pub fn checksums(mut self, checksums: bool) -> Self {
        self.checksums = Some(checksums);
        self
    }

    /// What is done with payloads on their way into a backend, whichever it is, so that
    /// there is less to move. Default: nothing.
    ///
    /// With [`Codec::Auto`](crate::Codec::Auto) it is chosen for each payload, by what
    /// it shrinks to and by how fast the device is at that moment. What was done is in
    /// [`Pager::codec_stats`].
    ///
    /// ```
    /// use pager::{Codec, Pager};
    ///
    /// let pager = Pager::builder().codec(Codec::Auto).build()?;
    /// # Ok::<(), pager::Error>(())
    /// ```
    #[cfg(feature = "codec")]
    pub fn codec(mut self, codec: crate::Codec) -> Self {
        self.layer.codec = codec;
        self
    }

    /// Whether the scratch directory may lie in memory: on tmpfs or ramfs, or on a disk
    /// made of memory, be it underneath. Default: no.
    pub fn allow_memory_fs(mut self, allow: bool) -> Self {
        self.allow_memory_fs = allow;
        self
    }

    /// Whether a core dump of the process contains what the swap backend keeps, and
    /// reads it all back from swap for that. Default: no.
    #[cfg(feature = "swap")]
    pub fn core_dumps(mut self, included: bool) -> Self {
        self.core_dumps = included;
        self
    }

    /// Bytes of freed memory that the swap backend keeps warm, with pages behind it, for
    /// the next payloads. It then has an arena of its own. Default: 4 MiB, in the arena
    /// that the whole process shares.
    #[cfg(feature = "swap")]
    pub fn warm_bytes(mut self, bytes: usize) -> Self {
        self.warm_bytes = Some(bytes);
        self
    }

    /// Bytes of memory that payloads may occupy before they are paged out; with
    /// zero, every page-out stores at once on the calling thread.
    ///
    /// Default: an eighth of what this process may use, at least 64 MiB; zero with
    /// [`Preset::Seed`], the published strategy.
    pub fn budget_bytes(mut self, budget_bytes: usize) -> Self {
        self.budget_bytes = Some(budget_bytes);
        self.has_own_budget = true;
        self
    }

    /// Shares of the budget, in percent: above `low` the background pages out,
    /// above `high` the caller of `pageout` helps or waits; the rest is for
    /// read-ahead. Default: 50 and 75.
    pub fn watermarks(mut self, low_percent: u8, high_percent: u8) -> Self {
        self.residency = self.residency.watermarks(low_percent, high_percent);
        self.has_own_budget = true;
        self
    }

    /// Number of background threads, started at first use. Default: 2, or two for each
    /// scratch directory if there are several.
    pub fn io_threads(mut self, io_threads: usize) -> Self {
        self.io_threads = Some(io_threads);
        self.has_own_budget = true;
        self
    }

    /// Whose memory it is: a pool that others use, too. What pager holds stays within
    /// what the account lends, and within the budget. Default: the process's own.
    pub fn account(mut self, account: impl MemoryAccount) -> Self {
        self.residency = self.residency.account(account);
        self.has_own_budget = true;
        self
    }

    /// Shares the budget of another pager, with its threads: the payloads of both are
    /// bounded together, and the coldest of all goes first. So what is done to the one's
    /// budget is done to the other's: [`Pager::set_budget`], [`Pager::flush`],
    /// [`Pager::shutdown`].
    ///
    /// ```
    /// use pager::Pager;
    ///
    /// let first = Pager::builder().budget_bytes(64 << 20).build()?;
    /// let second = Pager::builder().shared_budget(first.residency()).build()?;
    /// let handle = second.pageout(&mut [vec![1u64; 1000]])?;
    /// assert_eq!(first.stats().residency.resident_bytes, 8000);
    /// # Ok::<(), pager::Error>(())
    /// ```
    pub fn shared_budget(mut self, residency: &Residency) -> Self {
        self.shared_budget = Some(residency.clone());
        self
    }

    /// Follows how short memory is, and lowers the budget meanwhile, to `floor_bytes` at
    /// least, as [`ResidencyBuilder::follow_pressure`] says. What was seen and done is in
    /// [`ResidencyStats::pressure`](crate::ResidencyStats::pressure). Default: the budget
    /// is what it was set to.
    ///
    /// ```
    /// use pager::Pager;
    ///
    /// let pager = Pager::builder()
    ///     .budget_bytes(256 << 20)
    ///     .follow_pressure(16 << 20)
    ///     .build()?;
    /// let pressure = pager.stats().residency.pressure.expect("it was asked for");
    /// assert_eq!(pressure.asked_bytes, 256 << 20);
    /// # Ok::<(), pager::Error>(())
    /// ```
    #[cfg(feature = "pressure")]
    pub fn follow_pressure(mut self, floor_bytes: usize) -> Self {
        self.residency = self.residency.follow_pressure(floor_bytes);
        self.has_own_budget = true;
        self
    }

    /// The residency layer that these settings ask for.
    pub(crate) fn residency(&self) -> Residency {
        if let Some(shared) = &self.shared_budget {
            return shared.clone();
        }
        let default_bytes = || match self.preset {
            Preset::Fast => default_budget_bytes(),
            Preset::Seed => 0,
        };
        let budget_bytes = self.budget_bytes.unwrap_or_else(default_bytes);
        let io_threads = self.io_threads.unwrap_or_else(|| 2 * self.device_count());
        let residency = self.residency.clone().io_threads(io_threads);
        residency.budget_bytes(budget_bytes).build()
    }

    /// How many devices payloads may go to at once, as far as that is said.
    fn device_count(&self) -> usize {
        let named = self.scratch_roots().len();
        #[cfg(feature = "file")]
        if named == 0 {
            return pager_file::FileConfig::all_from_env().len();
        }
        named.max(1)
    }

    /// Makes the pager.
    ///
    /// # Errors
    ///
    /// [`Error::BackendDisabled`](crate::Error::BackendDisabled) if the backend
    /// asked for, or the one that a setting is for, is not in the build;
    /// [`Error::Unsupported`](crate::Error::Unsupported) if encryption was asked for and
    /// cannot be had with it; those of [`Pager::set_scratch_dir`] if a scratch directory
    /// was named; [`Error::Contradiction`] for a shared budget and a setting of one of
    /// its own.
    pub fn build(mut self) -> Result<Pager> {
        if self.shared_budget.is_some() && self.has_own_budget {
            return Err(Error::Contradiction {
                what: "a shared budget has no size, watermarks, threads, account or pressure of its own",
            });
        }
        self.check_encryption()?;
        if let Some(choice) = self.backend {
            let resolve = || choice.resolve_in(&self.scratch_roots());
            let kind = self.only_backend().unwrap_or_else(resolve).enabled()?;
            self.backend = Some(kind.into());
        }
        let concerns_file =
            self.scratch_dir.is_some() || self.quota_bytes.is_some() || self.allow_memory_fs;
        if concerns_file {
            BackendKind::File.enabled()?;
        }
        #[cfg(feature = "codec")]
        if !self.layer.codec.is_enabled() {
            return Err(pager_core::Error::BackendDisabled {
                backend: "codec-zstd",
            });
        }
        let scratch_dir = self.scratch_dir.clone();
        #[cfg(feature = "file")]
        let scratch_dirs = self.scratch_dirs.clone();
        let pager = Pager::from_settings(self);
        if let Some(root) = scratch_dir {
            pager.set_scratch_dir(root)?;
        }
        #[cfg(feature = "file")]
        if let Some(configs) = scratch_dirs {
            pager.set_scratch_roots(configs)?;
        }
        Ok(pager)
    }
}
