//! [`PageoutOptions`]: what a page-out says beyond its chunks.

#![cfg_attr(
    not(any(feature = "swap", feature = "file")),
    allow(unused, reason = "a build without backends pages nothing out")
)]

use pager_core::{Backend, Chunk, Group, Result, Reuse};

use crate::{BackendKind, Handle, Pager};

/// What a page-out says beyond its chunks, made by [`Pager::options`]. Can be used for
/// any number of page-outs.
///
/// ```
/// use pager::{BackendKind, Pager, Reuse};
///
/// let pager = Pager::new();
/// let late = pager.options().backend(BackendKind::Swap).reuse(Reuse::Late);
/// let handle = late.pageout(&mut [vec![1, 2, 3]])?;
/// assert_eq!(handle.backend(), BackendKind::Swap);
/// # Ok::<(), pager::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct PageoutOptions<'a> {
    pager: &'a Pager,
    backend: Option<BackendKind>,
    reuse: Reuse,
    group: Option<&'a Group>,
}

/// One page-out through the registry of the backend that it is for.
macro_rules! through {
    ($self:ident, |$options:ident| $pageout:expr, $wrap:ident) => {
        match $self.pager.usable($self.kind())? {
            #[cfg(feature = "swap")]
            BackendKind::Swap => {
                let $options = $self.of($self.pager.swap.options());
                $pageout.map(|paged_out| $wrap(paged_out, Handle::Swap))
            }
            #[cfg(feature = "file")]
            BackendKind::File => {
                // Held until the handle counts: see `ScratchCell`.
                let open = $self.pager.file.for_pageout()?;
                let $options = $self.of(open.options());
                $pageout.map(|paged_out| $wrap(paged_out, Handle::File))
            }
            #[cfg(not(all(feature = "swap", feature = "file")))]
            other => Err(other.disabled()),
        }
    };
}

impl<'a> PageoutOptions<'a> {
    pub(crate) fn new(pager: &'a Pager) -> Self {
        Self {
            pager,
            backend: None,
            reuse: Reuse::Unknown,
            group: None,
        }
    }

    /// Through this backend, whichever is selected.
    pub fn backend(mut self, kind: BackendKind) -> Self {
        self.backend = Some(kind);
        self
    }

    /// Says when the payload is expected to be wanted again.
    pub fn reuse(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }

    /// Says to which group the payload belongs.
    pub fn group(mut self, group: &'a Group) -> Self {
        self.group = Some(group);
        self
    }

    /// Pages out `chunks` as one payload, their words joined in order.
    ///
    /// # Errors
    ///
    /// As for [`Pager::pageout`];
    /// [`Error::GroupQuotaExceeded`](crate::Error::GroupQuotaExceeded).
    pub fn pageout<C: Chunk>(&self, chunks: &mut [C]) -> Result<Handle> {
        through!(self, |options| options.pageout(chunks), one)
    }

    /// Pages out every chunk as a payload of its own: all or none.
    ///
    /// # Errors
    ///
    /// As for [`pageout`](Self::pageout); every chunk is then as it was.
    pub fn pageout_each<C: Chunk>(&self, chunks: &mut [C]) -> Result<Vec<Handle>> {
        through!(self, |options| options.pageout_each(chunks), each)
    }

    /// The same, said to one registry.
    fn of<'r, B: Backend>(
        &self,
        options: pager_core::PageoutOptions<'r, B>,
    ) -> pager_core::PageoutOptions<'r, B>
    where
        'a: 'r,
    {
        let options = options.reuse(self.reuse);
        match self.group {
            Some(group) => options.group(group),
            None => options,
        }
    }

    fn kind(&self) -> BackendKind {
        self.backend.unwrap_or_else(|| self.pager.selector.get())
    }
}

fn one<H>(handle: H, wrap: impl Fn(H) -> Handle) -> Handle {
    wrap(handle)
}

fn each<H>(handles: Vec<H>, wrap: impl Fn(H) -> Handle) -> Vec<Handle> {
    handles.into_iter().map(wrap).collect()
}
