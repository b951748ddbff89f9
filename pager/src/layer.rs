//! [`Layer`]: what lies over every backend of the facade: the codec, in a build that has
//! it, and nothing otherwise.

/// A backend as the facade has it.
#[cfg(all(feature = "codec", any(feature = "swap", feature = "file")))]
pub(crate) type Layered<B> = pager_core::codec::Compressed<B>;
/// A backend as the facade has it.
#[cfg(all(not(feature = "codec"), any(feature = "swap", feature = "file")))]
pub(crate) type Layered<B> = B;

/// The file backend as the facade has it: with last resorts, of which one at most is there.
#[cfg(feature = "file")]
pub(crate) type Files = pager_core::Overflow<FilesOrSwap, pager_core::MemoryStore>;
#[cfg(all(feature = "file", feature = "swap"))]
pub(crate) type FilesOrSwap = pager_core::Overflow<pager_file::FileSet, pager_swap::SwapBackend>;
#[cfg(all(feature = "file", not(feature = "swap")))]
pub(crate) type FilesOrSwap = pager_file::FileSet;

/// What a pager is told of the layer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layer {
    #[cfg(feature = "codec")]
    pub(crate) codec: pager_core::codec::Codec,
}

#[cfg(any(feature = "swap", feature = "file"))]
impl Layer {
    /// The layer over a backend.
    #[cfg(feature = "codec")]
    pub(crate) fn over<B: pager_core::Backend>(self, backend: B) -> Layered<B> {
        pager_core::codec::Compressed::new(backend, self.codec)
    }

    /// The layer over a backend.
    #[cfg(not(feature = "codec"))]
    #[allow(clippy::unused_self, reason = "as where there is a layer")]
    pub(crate) fn over<B: pager_core::Backend>(self, backend: B) -> Layered<B> {
        backend
    }
}

/// The backend beneath.
#[cfg(all(feature = "codec", any(feature = "swap", feature = "file")))]
pub(crate) fn beneath<B: pager_core::Backend>(layered: &Layered<B>) -> &B {
    layered.inner()
}

/// The backend beneath.
#[cfg(all(not(feature = "codec"), any(feature = "swap", feature = "file")))]
pub(crate) fn beneath<B: pager_core::Backend>(layered: &Layered<B>) -> &B {
    layered
}
