//! [`joined`]: ranges that touch, as one: a run of them costs one transfer.

use std::ops::Range;

/// The ranges with every run of touching neighbours joined into one, and the
/// empty ones left out. Their bytes are the same, in the same order.
pub(crate) fn joined(ranges: &[Range<usize>]) -> impl Iterator<Item = Range<usize>> {
    let mut rest = ranges.iter().filter(|range| !range.is_empty()).peekable();
    std::iter::from_fn(move || {
        let mut whole = rest.next()?.clone();
        while let Some(next) = rest.next_if(|next| next.start == whole.end) {
            whole.end = next.end;
        }
        Some(whole)
    })
}

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    reason = "lists of one range are meant"
)]
mod tests {
    use super::*;

    fn join(ranges: &[Range<usize>]) -> Vec<Range<usize>> {
        joined(ranges).collect()
    }

    #[test]
    fn touching_ranges_are_read_as_one() {
        assert_eq!(join(&[0..4, 4..6, 6..7]), [0..7]);
        assert_eq!(join(&[0..4, 5..6]), [0..4, 5..6]);
    }

    #[test]
    fn empty_ranges_are_left_out_and_keep_no_neighbours_apart() {
        assert_eq!(join(&[3..3, 0..2, 9..9, 2..3, 1..1]), [0..3]);
        assert!(join(&[5..5]).is_empty());
    }

    #[test]
    fn runs_end_where_a_range_does_not_go_on() {
        let ranges = [0..2, 2..2, 2..5, 9..9, 7..8, 8..9, 0..1];
        assert_eq!(join(&ranges), [0..5, 7..9, 0..1]);
        assert!(join(&[3..3, 1..1]).is_empty());
    }

    #[test]
    fn overlapping_and_backward_ranges_stay_apart() {
        assert_eq!(join(&[0..4, 2..6, 0..1]), [0..4, 2..6, 0..1]);
    }
}
