//! [`ElementLayout`]: what a payload is made of, once its type is forgotten.

use bytemuck::Pod;

use super::PAGE_BYTES;

/// Size and alignment of the elements of a payload, in bytes.
///
/// ```
/// use pager_core::ElementLayout;
///
/// let of_ints = ElementLayout::of::<i32>();
/// assert_eq!((of_ints.bytes(), of_ints.align_bytes()), (4, 4));
/// assert_eq!(ElementLayout::of::<[f32; 3]>().bytes(), 12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ElementLayout {
    bytes: u32,
    align_bytes: u32,
}

impl ElementLayout {
    /// That of plain bytes.
    pub const BYTES: Self = Self::of::<u8>();

    /// That of elements of type `T`: a type without bytes, and one that is aligned to
    /// more than a page or larger than 2 GiB, does not compile.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked in the line before"
    )]
    pub const fn of<T: Pod>() -> Self {
        const {
            assert!(size_of::<T>() > 0, "an element has bytes");
            assert!(size_of::<T>() <= i32::MAX as usize, "an element is small");
            assert!(align_of::<T>() <= PAGE_BYTES, "pages are aligned to pages");
        }
        Self {
            bytes: size_of::<T>() as u32,
            align_bytes: align_of::<T>() as u32,
        }
    }

    /// Bytes to an element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bytes as usize
    }

    /// What the address of an element is a multiple of.
    #[must_use]
    pub const fn align_bytes(self) -> usize {
        self.align_bytes as usize
    }
}
