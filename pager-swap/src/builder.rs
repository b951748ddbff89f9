//! [`SwapBuilder`]: the modes and settings of a swap backend.

use std::fmt;

use pager_core::Arena;

use crate::SwapBackend;

/// How payloads are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SwapMode {
    /// In slots of an [`Arena`], one for each payload, paged out at once. The
    /// default.
    #[default]
    Arena,
    /// As the callers' own chunks, with a hint: the published strategy, kept as
    /// the reference that others are measured against.
    Seed(SeedAdvice),
}

impl fmt::Display for SwapMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arena => "arena",
            Self::Seed(SeedAdvice::Cold) => "seed with MADV_COLD",
            Self::Seed(SeedAdvice::PageOut) => "seed with MADV_PAGEOUT",
        })
    }
}

/// The hint that seed mode gives about a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SeedAdvice {
    /// `MADV_COLD`: the kernel reclaims these pages first, when it needs memory.
    #[default]
    Cold,
    /// `MADV_PAGEOUT`: the kernel reclaims these pages now.
    PageOut,
}

/// Retries of a page-out that left something behind.
const DEFAULT_RETRY_COUNT: u32 = 2;

/// Bytes of freed slots that an arena of a backend's own keeps warm, as the shared
/// one does.
const OWN_WARM_BYTES: usize = 4 << 20;

/// Settings of a [`SwapBackend`].
///
/// ```
/// use pager_core::Arena;
/// use pager_swap::{SwapBackend, SwapMode};
///
/// let backend = SwapBackend::builder()
///     .mode(SwapMode::Arena)
///     .arena(Arena::new(64 << 20))
///     .retries(4)
///     .build();
/// assert_eq!(backend.mode(), SwapMode::Arena);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SwapBuilder {
    pub(crate) mode: SwapMode,
    pub(crate) arena: Option<Arena>,
    pub(crate) retry_count: u32,
    pub(crate) core_dumps: bool,
    pub(crate) warm_bytes: Option<usize>,
}

impl Default for SwapBuilder {
    fn default() -> Self {
        Self {
            mode: SwapMode::default(),
            arena: None,
            retry_count: DEFAULT_RETRY_COUNT,
            core_dumps: false,
            warm_bytes: None,
        }
    }
}

impl SwapBuilder {
    /// The mode; [`SwapMode::Arena`] unless set.
    pub fn mode(mut self, mode: SwapMode) -> Self {
        self.mode = mode;
        self
    }

    /// The arena for payloads that have to be copied; [`Arena::shared`] unless
    /// set. Seed mode uses none.
    pub fn arena(mut self, arena: Arena) -> Self {
        self.arena = Some(arena);
        self
    }

    /// How often the page-out of a payload is repeated while part of it stays in
    /// memory and each time brings progress; 2 unless set. After failures in a
    /// row the backend stops retrying of its own accord. Arena mode only.
    pub fn retries(mut self, retry_count: u32) -> Self {
        self.retry_count = retry_count;
        self
    }

    /// Whether a core dump of the process contains the payloads that were copied
    /// into the arena, and reads back for it what is on swap; no unless set.
    ///
    /// With it, and without an [`arena`](Self::arena), the backend has an arena of
    /// its own. Buffers that were filled in another arena are treated as that one
    /// was told ([`ArenaBuilder::core_dumps`](pager_core::ArenaBuilder::core_dumps)).
    /// Seed mode keeps the callers' own memory, which a core dump contains as ever.
    pub fn core_dumps(mut self, included: bool) -> Self {
        self.core_dumps = included;
        self
    }

    /// Bytes of freed slots that stay warm; 4 MiB unless set. With it, and without an
    /// [`arena`](Self::arena), the backend has an arena of its own. Seed mode uses none.
    pub fn warm_bytes(mut self, bytes: usize) -> Self {
        self.warm_bytes = Some(bytes);
        self
    }

    /// The arena that the settings ask for.
    pub(crate) fn chosen_arena(&self) -> Arena {
        match &self.arena {
            Some(arena) => arena.clone(),
            None if self.core_dumps || self.warm_bytes.is_some() => Arena::builder()
                .warm_limit_bytes(self.warm_bytes.unwrap_or(OWN_WARM_BYTES))
                .core_dumps(self.core_dumps)
                .build(),
            None => Arena::shared(),
        }
    }

    /// The backend. Opens `/proc/self/pagemap`, once.
    #[must_use]
    pub fn build(self) -> SwapBackend {
        SwapBackend::from_builder(self)
    }
}
