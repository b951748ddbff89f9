//! [`SizeClass`]: the sizes in which arena slots and file extents are cut.
//!
//! Eight steps to each doubling, so that what a slot wastes stays under an
//! eighth of the payload, and every multiple of 2 MiB up to 32 MiB is a class
//! of its own without waste.

use super::PAGE_BYTES;

/// Steps to each doubling of the size, as a power of two.
const STEPS_LOG2: u32 = 3;
const STEPS: usize = 1 << STEPS_LOG2;

/// One of the sizes in which slots are cut, a multiple of 4 KiB.
///
/// ```
/// use pager_core::SizeClass;
///
/// assert_eq!(SizeClass::for_bytes(1).bytes(), 4096);
/// assert_eq!(SizeClass::for_bytes(2 << 20).bytes(), 2 << 20);
/// assert_eq!(SizeClass::for_bytes((2 << 20) + 1).bytes(), (2 << 20) + (256 << 10));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeClass(u16);

impl SizeClass {
    /// Number of classes there are: sizes up to half of the address space.
    pub const COUNT: usize = (usize::BITS as usize - 12 - 3) * STEPS;

    /// The smallest class that holds `bytes`; zero bytes count as one.
    ///
    /// # Panics
    ///
    /// Never for the size of something in memory: only above `isize::MAX / 2`
    /// bytes.
    #[must_use]
    pub fn for_bytes(bytes: usize) -> Self {
        assert!(bytes <= isize::MAX as usize / 2, "no payload is this large");
        let pages = bytes.div_ceil(PAGE_BYTES).max(1);
        let index = if pages <= STEPS {
            pages - 1
        } else {
            // Round up to a multiple of an eighth of the power of two below.
            let shift = (pages - 1).ilog2() - STEPS_LOG2;
            let steps = (pages - 1) >> shift; // in STEPS..2*STEPS
            shift as usize * STEPS + steps
        };
        Self(u16::try_from(index).expect("there are fewer classes than 2^16"))
    }

    /// Bytes of a slot of this class.
    #[must_use]
    pub fn bytes(self) -> usize {
        let index = usize::from(self.0);
        if index < STEPS {
            (index + 1) * PAGE_BYTES
        } else {
            let shift = (index / STEPS) - 1;
            ((STEPS + index % STEPS + 1) << shift) * PAGE_BYTES
        }
    }

    /// Position among all classes, from the smallest.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_holds_its_own_size_and_no_byte_more() {
        let mut last = 0;
        let is_possible = |class: &SizeClass| class.bytes() <= isize::MAX as usize / 2;
        for class in (0..240).map(SizeClass).take_while(is_possible) {
            let index = class.index();
            assert!(class.bytes() > last, "class {index} is not larger");
            assert_eq!(SizeClass::for_bytes(class.bytes()), class);
            assert_eq!(SizeClass::for_bytes(last + 1), class);
            last = class.bytes();
        }
    }

    #[test]
    fn waste_stays_under_an_eighth() {
        for bytes in (1 << 20..9 << 20).step_by(4099) {
            let waste = SizeClass::for_bytes(bytes).bytes() - bytes;
            assert!(waste * 8 < bytes, "{bytes} bytes waste {waste}");
        }
    }

    #[test]
    fn multiples_of_a_huge_page_waste_nothing() {
        for chunks in 1..=16 {
            let bytes = chunks * super::super::HUGE_PAGE_BYTES;
            assert_eq!(SizeClass::for_bytes(bytes).bytes(), bytes);
        }
    }
}
