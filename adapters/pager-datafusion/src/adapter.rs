//! [`Adapter`]: puts a pager behind an engine's spill files.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_execution::disk_manager::{DiskManager, SpillingProgress};
use datafusion_execution::runtime_env::RuntimeEnvBuilder;
use datafusion_execution::spill_file::{SpillFile, TempFileFactory};
use pager::{Group, Pager, PagerBuilder};

use crate::file::PagedFile;
use crate::pool::LendingPool;
use crate::usage::{Limit, Usage};

/// A pager as the place of DataFusion's spill files. A clone is the same place.
///
/// ```
/// use std::sync::Arc;
/// use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
/// use pager::{BackendKind, Group, Pager};
/// use pager_datafusion::Adapter;
///
/// # let scratch = tempfile::tempdir_in("/var/tmp")?;
/// let pager = Pager::builder()
///     .backend(BackendKind::File)
///     .scratch_dir(scratch.path())
///     .budget_bytes(64 << 20)
///     .build()?;
/// let adapter = Adapter::new(Arc::new(pager));
/// let runtime = adapter
///     .install(RuntimeEnvBuilder::new().with_max_temp_directory_size(10 << 30))?
///     .build()?;
///
/// // One of the queries, on its own: told apart, and bounded.
/// let query = Group::new("query 7").quota_bytes(1 << 30);
/// let of_query = RuntimeEnvBuilder::from_runtime_env(&runtime);
/// let of_query: RuntimeEnv = adapter.for_query(query).install(of_query)?.build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Adapter {
    pager: Arc<Pager>,
    usage: Arc<Usage>,
    pool: Option<Arc<LendingPool>>,
    group: Option<Group>,
    keeps: bool,
}

impl Adapter {
    /// Spill files in `pager`, through the backend that is selected when each is written.
    #[must_use]
    pub fn new(pager: Arc<Pager>) -> Self {
        Self {
            pager,
            usage: Arc::new(Usage::default()),
            pool: None,
            group: None,
            keeps: false,
        }
    }

    /// Spill files in a pager that borrows its memory from `pool`: so there is one limit, for
    /// queries and for what they have spilled. Its budget is that limit, whatever was said
    /// of it before.
    ///
    /// [`install`](Self::install) then installs the pool as well.
    ///
    /// # Errors
    ///
    /// Those of [`PagerBuilder::build`].
    pub fn within(pool: LendingPool, pager: PagerBuilder) -> pager::Result<Self> {
        let pager = pool.build(pager)?;
        Ok(Self {
            pool: Some(Arc::new(pool)),
            ..Self::new(Arc::new(pager))
        })
    }

    /// The same place, for one query or one tenant: what its files hold is counted in
    /// `group`, and refused beyond that group's quota, as
    /// [`ResourcesExhausted`](datafusion_common::DataFusionError::ResourcesExhausted). All of
    /// them together stay within `max_temp_directory_size`.
    #[must_use]
    pub fn for_query(&self, group: Group) -> Self {
        Self {
            group: Some(group),
            ..self.clone()
        }
    }

    /// Whether a file is kept whole until it is dropped, so that its only owner may read it
    /// again and again. Default: no. A file that is read while it has several owners is kept
    /// anyway; one whose only owner reads it is freed as it is read, and a second
    /// `read_stream` of it is an error. DataFusion's own operators share what they read
    /// again.
    #[must_use]
    pub fn keep_until_dropped(mut self, keeps: bool) -> Self {
        self.keeps = keeps;
        self
    }

    /// Has `builder` make a runtime whose spill files are this adapter's.
    ///
    /// What it says of `max_temp_directory_size` and `max_spill_merge_fan_in` stands, be it a
    /// new builder's or that of a runtime which there is; where its files would have been is
    /// of no interest any more. The limit bounds what is in all files of the adapter, in
    /// memory or stored, and may be changed with
    /// [`DiskManager::set_max_temp_directory_size`] at any time.
    ///
    /// # Errors
    ///
    /// Those of [`DiskManager`], which are none today.
    pub fn install(&self, mut builder: RuntimeEnvBuilder) -> Result<RuntimeEnvBuilder> {
        let limit = Arc::new(Limit::default());
        let factory = Arc::new(Factory {
            adapter: self.clone(),
            limit: Arc::clone(&limit),
        });
        let settings = match (builder.disk_manager_builder.take(), &builder.disk_manager) {
            (Some(settings), _) => settings,
            (None, Some(manager)) => DiskManager::builder()
                .with_max_temp_directory_size(manager.max_temp_directory_size())
                .with_max_spill_merge_fan_in(manager.max_spill_merge_fan_in()),
            (None, None) => DiskManager::builder(),
        };
        let manager = Arc::new(settings.with_temp_file_factory(factory).build()?);
        limit.is_set_by(&manager);
        builder.disk_manager = Some(manager);
        if let Some(pool) = &self.pool {
            builder.memory_pool = Some(Arc::<LendingPool>::clone(pool));
        }
        Ok(builder)
    }

    /// What is in the adapter's files, and how many there are. The runtime's own
    /// `spilling_progress` knows of files on disk alone.
    #[must_use]
    pub fn spilling_progress(&self) -> SpillingProgress {
        self.usage.progress()
    }

    /// The pool that lends the pager its memory, if there is one.
    #[must_use]
    pub fn pool(&self) -> Option<&Arc<LendingPool>> {
        self.pool.as_ref()
    }

    /// The pager that was given, or made.
    #[must_use]
    pub fn pager(&self) -> &Arc<Pager> {
        &self.pager
    }

    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// A stream for one part of a file.
    ///
    /// # Errors
    ///
    /// Those of [`Pager::spill`].
    pub(crate) fn spill(&self) -> pager::Result<(pager::SpillWriter, pager::Spill)> {
        let options = self.pager.options();
        match &self.group {
            Some(group) => options.group(group).spill(),
            None => options.spill(),
        }
    }
}

/// Makes the files of one runtime.
#[derive(Debug)]
struct Factory {
    adapter: Adapter,
    limit: Arc<Limit>,
}

impl TempFileFactory for Factory {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        Ok(PagedFile::create(&self.adapter, &self.limit, description))
    }
}
