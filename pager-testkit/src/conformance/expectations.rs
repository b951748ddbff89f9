//! [`Expectations`]: what a test expects of a backend beyond what all guarantee.

use super::Guarantee;

/// What a backend, in the mode and under the budget that a test gives it, promises
/// beyond what every backend guarantees. The test says so, not the backend: nothing
/// but a test would ask.
///
/// ```
/// use pager_testkit::{Expectations, Guarantee, MemoryBackend};
/// use pager_core::Registry;
///
/// let expected = Expectations::none().keeps_capacity();
/// Guarantee::ChunksKeepCapacity.check(expected, || Registry::new(MemoryBackend::new()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use]
pub struct Expectations {
    keeps_capacity: bool,
    same_allocation: bool,
}

impl Expectations {
    /// Nothing more than of every backend; switched on by method.
    pub const fn none() -> Self {
        Self {
            keeps_capacity: false,
            same_allocation: false,
        }
    }

    /// After a page-out the callers' chunks have the capacity they had.
    pub const fn keeps_capacity(self) -> Self {
        Self {
            keeps_capacity: true,
            ..self
        }
    }

    /// A payload of one `Vec` comes back as the same allocation.
    pub const fn same_allocation(self) -> Self {
        Self {
            same_allocation: true,
            ..self
        }
    }

    /// Whether `guarantee` is to be kept.
    pub(super) fn include(self, guarantee: Guarantee) -> bool {
        match guarantee {
            Guarantee::ChunksKeepCapacity => self.keeps_capacity,
            Guarantee::SameAllocation => self.same_allocation,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_expected_is_not_checked_and_all_else_is() {
        let left_out = |expected: Expectations| -> Vec<Guarantee> {
            let all = Guarantee::ALL.iter().copied();
            all.filter(|it| !expected.include(*it)).collect()
        };
        let (capacity, allocation) = (Guarantee::ChunksKeepCapacity, Guarantee::SameAllocation);
        assert_eq!(left_out(Expectations::none()), [capacity, allocation]);
        assert_eq!(
            left_out(Expectations::none().keeps_capacity()),
            [allocation]
        );
        assert_eq!(left_out(Expectations::none().same_allocation()), [capacity]);
    }
}
