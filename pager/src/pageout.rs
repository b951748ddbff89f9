//! [`PageoutOptions`]: what a page-out says beyond its chunks.

#![cfg_attr(
    not(any(feature = "swap", feature = "file")),
    allow(unused, reason = "a build without backends pages nothing out")
)]

use pager_core::{Backend, Chunk, Group, Result, Reuse, Window};

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
    pub(crate) pager: &'a Pager,
    backend: Option<BackendKind>,
    reuse: Reuse,
    group: Option<&'a Group>,
    waits: bool,
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
            waits: true,
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

    /// Says that the page-out is refused ([`Error::NoRoom`](crate::Error::NoRoom)) where
    /// it would otherwise wait for room in the memory budget, or go straight to the
    /// backend for want of any.
    pub fn without_waiting(mut self) -> Self {
        self.waits = false;
        self
    }

    /// Pages out `len_bytes` bytes that `fill` writes into a window of pager's memory,
    /// once there is room for them: nothing is zeroed and nothing copied.
    ///
    /// # Errors
    ///
    /// As for [`pageout`](Self::pageout), before `fill` is called;
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory); those of `fill`, and
    /// [`Error::Io`](crate::Error::Io) if it left part of the window unfilled.
    pub fn pageout_with(
        &self,
        len_bytes: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<Handle<u8>> {
        through!(self, |options| options.pageout_with(len_bytes, fill), one)
    }

    /// Pages out `chunks` as one payload, what they hold joined in order.
    ///
    /// # Errors
    ///
    /// As for [`Pager::pageout`];
    /// [`Error::GroupQuotaExceeded`](crate::Error::GroupQuotaExceeded).
    pub fn pageout<C: Chunk>(&self, chunks: &mut [C]) -> Result<Handle<C::Element>> {
        through!(self, |options| options.pageout(chunks), one)
    }

    /// Pages out every chunk as a payload of its own: all or none.
    ///
    /// # Errors
    ///
    /// As for [`pageout`](Self::pageout); every chunk is then as it was.
    pub fn pageout_each<C: Chunk>(&self, chunks: &mut [C]) -> Result<Vec<Handle<C::Element>>> {
        through!(self, |options| options.pageout_each(chunks), each)
    }

    /// The same, said to one registry.
    pub(crate) fn of<'r, B: Backend>(
        &self,
        options: pager_core::PageoutOptions<'r, B>,
    ) -> pager_core::PageoutOptions<'r, B>
    where
        'a: 'r,
    {
        let options = match self.waits {
            true => options.reuse(self.reuse),
            false => options.reuse(self.reuse).without_waiting(),
        };
        match self.group {
            Some(group) => options.group(group),
            None => options,
        }
    }

    pub(crate) fn kind(&self) -> BackendKind {
        self.backend.unwrap_or_else(|| self.pager.selector.get())
    }
}

fn one<H, T>(handle: H, wrap: impl Fn(H) -> Handle<T>) -> Handle<T> {
    wrap(handle)
}

fn each<H, T>(handles: Vec<H>, wrap: impl Fn(H) -> Handle<T>) -> Vec<Handle<T>> {
    handles.into_iter().map(wrap).collect()
}
