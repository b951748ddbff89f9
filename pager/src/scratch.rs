//! [`ScratchCell`]: the registry of the file backend, opened when it is first
//! needed and replaced when the scratch directory is.
//!
//! Invariants:
//!
//! 1. At most one file registry takes new payloads. Another one replaces it only
//!    while it has no live handle and no page-out under way.
//! 2. The lock is held to look and to swap, never across a system call: a
//!    directory is opened before the lock is taken, and closed after. Two threads
//!    that both find nothing open may both open one; one of the two stays.
//! 3. A directory that cannot be opened changes nothing, and may be tried again.
//! 4. In a forked child the lock is never asked for: a thread that is not there may
//!    hold it. Nothing is open there, and nothing can be opened.

use std::path::{Path, PathBuf};

use pager_core::{
    Error, OverflowStats, ProcessStamp, Registry, Residency, Result, ScratchProblem, Stats, Usage,
};
use pager_file::{DirectoryStats, FileConfig, FileMode, FileSet, IoChoice};

use crate::last_resort::{LastResort, set_of, stats_of};
use crate::layer::{Files, Layer, Layered};
use crate::stats::add;
use crate::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::{PagerBuilder, Preset};

/// A file registry, or the knowledge of how to open one.
#[derive(Debug)]
pub(crate) struct ScratchCell {
    settings: Settings,
    state: RwLock<State>,
    owner: ProcessStamp,
}

/// What every directory that this pager opens is opened with.
#[derive(Debug, Clone)]
struct Settings {
    preset: Preset,
    io: IoChoice,
    quota_bytes: Option<u64>,
    checksums: bool,
    #[cfg(feature = "encryption")]
    encryption: bool,
    allow_memory_fs: bool,
    slack_bytes: Option<u64>,
    last_resort: LastResort,
    #[cfg(feature = "swap")]
    core_dumps: bool,
    layer: Layer,
    residency: Residency,
}

/// A registry, and by its count how many page-outs are under way in it.
pub(crate) type OpenRegistry = Arc<Registry<Layered<Files>>>;

#[derive(Debug, Default)]
struct State {
    /// Whoever pages out holds a clone of the `Arc` meanwhile, taken under the
    /// lock; everybody else clones the registry inside. So under the write lock
    /// a sole owner means that no page-out is under way.
    open: Option<OpenRegistry>,
    /// What registries that were replaced had done, so that totals never fall.
    retired: Stats,
    /// The same of their codecs.
    #[cfg(feature = "codec")]
    retired_codec: pager_core::codec::CodecStats,
}

impl ScratchCell {
    pub(crate) fn new(settings: &PagerBuilder, residency: &Residency) -> Self {
        Self {
            settings: Settings {
                preset: settings.preset,
                io: settings.io,
                quota_bytes: settings.quota_bytes,
                checksums: settings.checksums.unwrap_or(true),
                #[cfg(feature = "encryption")]
                encryption: settings.encryption,
                allow_memory_fs: settings.allow_memory_fs,
                slack_bytes: settings.slack_bytes,
                last_resort: settings.last_resort,
                #[cfg(feature = "swap")]
                core_dumps: settings.core_dumps,
                layer: settings.layer,
                residency: residency.clone(),
            },
            state: RwLock::default(),
            owner: ProcessStamp::current(),
        }
    }

    /// The registry to page out through, opened at the default root if there is
    /// none yet. Hold it until the handle is made.
    pub(crate) fn for_pageout(&self) -> Result<OpenRegistry> {
        self.check_owner()?;
        if let Some(open) = &self.read().open {
            return Ok(Arc::clone(open));
        }
        let fresh = self.settings.open(FileConfig::all_from_env())?;
        let open = Arc::clone(self.write().open.get_or_insert_with(|| Arc::clone(&fresh)));
        // If another thread was first, `fresh` is closed here, after the lock.
        Ok(open)
    }

    /// The registry, if one is open; none in a forked child.
    pub(crate) fn current(&self) -> Option<Registry<Layered<Files>>> {
        self.check_owner().ok()?;
        self.read().open.as_deref().cloned()
    }

    /// Opens the roots of `configs`, and from then on pages out to them.
    pub(crate) fn set_roots(&self, configs: Vec<FileConfig>) -> Result<()> {
        self.check_owner()?;
        let roots: Vec<PathBuf> = configs.iter().map(|it| it.root().to_owned()).collect();
        if self.is_open_at(&roots) {
            return Ok(());
        }
        let root = roots.first().map_or(Path::new(""), |root| root);
        // Asked here too, lest a directory be made and removed in vain.
        if self.current().is_some_and(|open| open.live_handles() > 0) {
            return Err(in_use(root));
        }
        let fresh = self.settings.open(configs)?;
        match self.replace_idle(fresh) {
            Ok(_) => Ok(()),
            // Another thread may have asked for the same directory meanwhile.
            Err(_) if self.is_open_at(&roots) => Ok(()),
            Err(_) => Err(in_use(root)),
        }
    }

    /// Puts `fresh` in the place of a registry that nobody uses, whose totals it
    /// keeps, and returns that one; gives `fresh` back if somebody does.
    fn replace_idle(&self, fresh: OpenRegistry) -> Result<Option<OpenRegistry>, OpenRegistry> {
        let mut state = self.write();
        if let Some(open) = &mut state.open {
            let Some(idle) = Arc::get_mut(open).filter(|open| open.live_handles() == 0) else {
                return Err(fresh);
            };
            let mut done = idle.stats();
            done.backend = Usage::default();
            #[cfg(feature = "codec")]
            let encoded = idle.backend().codec_stats();
            add(&mut state.retired, &done);
            #[cfg(feature = "codec")]
            state.retired_codec.add(&encoded);
        }
        // Replaced and retired under one lock: whoever looks counts it once.
        Ok(state.open.replace(fresh))
    }

    /// What the open registry and those before it have done; nothing in a forked
    /// child.
    pub(crate) fn stats(&self) -> Option<Stats> {
        self.check_owner().ok()?;
        let (open, retired) = {
            let state = self.read();
            (state.open.as_deref().cloned()?, state.retired.clone())
        };
        let mut stats = open.stats();
        add(&mut stats, &retired);
        Some(stats)
    }

    /// The scratch directories, each with what it holds; none in a forked child.
    pub(crate) fn directories(&self) -> Vec<DirectoryStats> {
        self.current()
            .map_or_else(Vec::new, |open| set_of(open.backend()).directories())
    }

    /// What is in the last resort behind them, if there is one.
    pub(crate) fn last_resort(&self) -> Option<OverflowStats> {
        stats_of(self.current()?.backend())
    }

    /// What the codec of the open registry and those before it has done.
    #[cfg(feature = "codec")]
    pub(crate) fn codec_stats(&self) -> pager_core::codec::CodecStats {
        let mut stats = pager_core::codec::CodecStats::default();
        if self.check_owner().is_ok() {
            let state = self.read();
            stats.add(&state.retired_codec);
            if let Some(open) = &state.open {
                stats.add(&open.backend().codec_stats());
            }
        }
        stats
    }

    /// Whether a directory is open under each of `roots`, and still there: one that
    /// somebody has removed is as good as none.
    fn is_open_at(&self, roots: &[PathBuf]) -> bool {
        self.current().is_some_and(|open| {
            let backends = set_of(open.backend()).backends();
            backends.len() == roots.len()
                && backends.zip(roots).all(|(backend, root)| {
                    is_same_directory(backend.scratch_root(), root) && backend.directory().is_dir()
                })
        })
    }

    fn check_owner(&self) -> Result<()> {
        if self.owner.is_current() {
            Ok(())
        } else {
            Err(Error::ForeignProcess)
        }
    }

    // A panic cannot leave the state half changed: it is replaced whole.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings {
    fn open(&self, configs: Vec<FileConfig>) -> Result<OpenRegistry> {
        let is_alone = configs.len() == 1;
        let configs = configs.into_iter().map(|config| self.apply_to(config));
        let set = match self.quota_bytes {
            Some(bytes) if is_alone => {
                FileSet::open(configs.map(|config| config.quota_bytes(bytes)))?
            }
            Some(bytes) => FileSet::open(configs)?.quota_bytes(bytes),
            None => FileSet::open(configs)?,
        };
        let files = self.last_resort.behind(
            set,
            #[cfg(feature = "swap")]
            || {
                pager_swap::SwapBackend::builder()
                    .core_dumps(self.core_dumps)
                    .build()
            },
        );
        let backend = self.layer.over(files);
        Ok(Arc::new(Registry::with_residency(backend, &self.residency)))
    }

    fn apply_to(&self, config: FileConfig) -> FileConfig {
        let mode = match self.preset {
            Preset::Fast => FileMode::Segments,
            Preset::Seed => FileMode::Seed,
        };
        let config = config
            .mode(mode)
            .io(self.io)
            .checksums(self.checksums)
            .allow_memory_fs(self.allow_memory_fs);
        #[cfg(feature = "encryption")]
        let config = config.encryption(self.encryption);
        match self.slack_bytes {
            Some(slack_bytes) => config.slack_bytes(slack_bytes),
            None => config,
        }
    }
}

/// Whether both paths lead to one directory, however they are spelt.
fn is_same_directory(open: &Path, asked: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    open == asked || real(open).is_some_and(|open| real(asked) == Some(open))
}

fn in_use(root: &Path) -> Error {
    Error::ScratchUnavailable {
        path: PathBuf::from(root),
        problem: ScratchProblem::InUse,
        call: None,
        source: None,
    }
}
