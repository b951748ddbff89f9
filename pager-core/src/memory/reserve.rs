//! [`try_reserve`]: room in a `Vec` for what has the size of a payload, or an error; and
//! [`again_after_trim`], which that and whoever else allocates is made of.
//!
//! Before it says that there is no memory, what the shared arena keeps without need
//! goes back to the system: the allocator may have failed for want of address space
//! or of a promise of the kernel's, and the arena may have both to spare.

use std::collections::TryReserveError;

use super::Arena;
use crate::{Error, Result};

/// Makes room for `additional` elements in `vec`, by `reserve`: `Vec::try_reserve` or
/// `Vec::try_reserve_exact`.
///
/// # Errors
///
/// [`Error::OutOfMemory`]; the vector is as it was.
pub(crate) fn try_reserve<T>(
    vec: &mut Vec<T>,
    additional: usize,
    reserve: impl Fn(&mut Vec<T>, usize) -> Result<(), TryReserveError>,
) -> Result<()> {
    let refused = |_| Error::OutOfMemory {
        needed_bytes: additional.saturating_mul(size_of::<T>()),
    };
    again_after_trim(|| reserve(vec, additional)).map_err(refused)
}

/// What `allocate` gives, if only when the shared arena has given back what it keeps.
///
/// # Errors
///
/// That of the second attempt.
pub(super) fn again_after_trim<T, E>(mut allocate: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    allocate().or_else(|_| {
        Arena::shared().trim();
        allocate()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChunkBuf;
    use std::cell::Cell;

    #[test]
    fn a_second_attempt_finds_what_the_arena_gave_back() {
        drop(ChunkBuf::<u64>::with_capacity(1 << 18).unwrap());
        let attempts = Cell::new(0);
        let mut vec = Vec::<u64>::new();
        try_reserve(&mut vec, 10, |vec, additional| {
            attempts.set(attempts.get() + 1);
            if attempts.get() == 1 {
                return Vec::<u64>::new().try_reserve(usize::MAX);
            }
            vec.try_reserve(additional)
        })
        .unwrap();
        assert!(vec.capacity() >= 10);
        assert_eq!(attempts.get(), 2);
    }

    #[test]
    #[cfg_attr(miri, ignore = "an interpreter ends where a system refuses memory")]
    fn what_there_is_no_memory_for_is_an_error() {
        let mut vec = vec![1];
        let error = try_reserve(&mut vec, usize::MAX / 16, Vec::try_reserve_exact).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }));
        assert_eq!(vec, [1]);
    }
}
