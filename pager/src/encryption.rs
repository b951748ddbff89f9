//! Encryption of what a pager stores: asked for once, of the file backend, and refused
//! wherever it would not be.

#[cfg(feature = "encryption")]
use pager_core::Error;
use pager_core::Result;

use crate::{BackendKind, Pager, PagerBuilder};

impl PagerBuilder {
    /// Whether everything that leaves memory through this pager is encrypted
    /// (AES-256-GCM), by a key that is drawn when the scratch directory is opened and
    /// that never leaves the process. Default: no.
    ///
    /// What comes back is then exactly what was stored, or
    /// [`Error::Corrupt`](crate::Error::Corrupt). How, and how well the kernel guards
    /// the key, is in [`Pager::encryption`].
    ///
    /// Only the file backend does that, so it becomes the default, and what
    /// [`BackendChoice::Auto`](crate::BackendChoice::Auto) chooses; to select swap, or to
    /// page out to it, is an error, as is swap as the last resort. So is
    /// [`Preset::Seed`](crate::Preset::Seed), which is as published. A [codec](Self::codec)
    /// comes before it.
    ///
    /// ```
    /// use pager::{BackendKind, Pager};
    ///
    /// let pager = Pager::builder().encryption(true).build()?;
    /// assert_eq!(pager.backend(), BackendKind::File);
    /// let handle = pager.pageout(&mut [vec![1, 2, 3]])?;
    /// println!("{}", pager.encryption().expect("it is on"));
    /// # Ok::<(), pager::Error>(())
    /// ```
    #[cfg(feature = "encryption")]
    #[cfg_attr(
        not(feature = "codec"),
        allow(rustdoc::broken_intra_doc_links, reason = "there is none")
    )]
    pub fn encryption(mut self, encryption: bool) -> Self {
        self.encryption = encryption;
        self
    }

    /// The only backend that does what was asked for, if there is but one.
    pub(crate) fn only_backend(&self) -> Option<BackendKind> {
        #[cfg(feature = "encryption")]
        return self.encryption.then_some(BackendKind::File);
        #[cfg(not(feature = "encryption"))]
        None
    }

    /// Refuses what nobody encrypts.
    pub(crate) fn check_encryption(&self) -> Result<()> {
        #[cfg(feature = "encryption")]
        if self.encryption {
            if let Some(crate::BackendChoice::Kind(BackendKind::Swap)) = self.backend {
                return Err(unencrypted_swap());
            }
            #[cfg(all(feature = "file", feature = "swap"))]
            if self.last_resort == crate::LastResort::Swap {
                return Err(unencrypted_swap());
            }
            if self.preset == crate::Preset::Seed {
                return Err(Error::Unsupported {
                    backend: BackendKind::File.name(),
                    what: "encryption in preset seed",
                });
            }
        }
        Ok(())
    }
}

impl Pager {
    /// How the file backend encrypts what it stores; `None` if it was not told to, is not
    /// open yet, or is a forked child's parent's.
    #[cfg(feature = "encryption")]
    #[must_use]
    pub fn encryption(&self) -> Option<pager_file::Encryption> {
        let open = self.file.current()?;
        crate::last_resort::set_of(open.backend())
            .stats()
            .encryption
    }

    /// `kind`, if it is in this build and does what was asked for.
    pub(crate) fn usable(&self, kind: BackendKind) -> Result<BackendKind> {
        #[cfg(feature = "encryption")]
        if self.encryption && kind == BackendKind::Swap {
            return Err(unencrypted_swap());
        }
        kind.enabled()
    }
}

#[cfg(feature = "encryption")]
fn unencrypted_swap() -> Error {
    Error::Unsupported {
        backend: BackendKind::Swap.name(),
        what: "encryption of what the kernel swaps",
    }
}
