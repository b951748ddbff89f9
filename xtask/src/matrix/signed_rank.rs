//! Wilcoxon's signed-rank test, exact.
//!
//! Guarantees the probability, under the hypothesis that each difference could as well have had
//! the other sign, of rank sums at least as far from the middle as those seen; ties share their
//! ranks, and differences of zero say nothing. Refuses approximations: the distribution is
//! computed, whatever the number of pairs.
//!
//! F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945), 80-83.

/// The two-sided probability of `differences`, if they lie around zero.
pub(crate) fn signed_rank(differences: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = differences
        .iter()
        .copied()
        .filter(|difference| difference.is_finite() && *difference != 0.0)
        .collect();
    sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let ranks = doubled_ranks(&sorted);
    let of_positive = |(rank, difference): (&usize, &f64)| (*difference > 0.0).then_some(*rank);
    let seen: usize = ranks.iter().zip(&sorted).filter_map(of_positive).sum();
    let likely = distribution(&ranks);
    let below: f64 = likely[..=seen].iter().sum();
    let above: f64 = likely[seen..].iter().sum();
    (2.0 * below.min(above)).min(1.0)
}

/// Twice the rank of each value by its size, so that the mean rank of ties is a whole number.
fn doubled_ranks(sorted: &[f64]) -> Vec<usize> {
    let mut ranks = Vec::with_capacity(sorted.len());
    while ranks.len() < sorted.len() {
        let first = ranks.len();
        let size = sorted[first].abs();
        let ties = sorted[first..]
            .iter()
            .take_while(|v| v.abs() == size)
            .count();
        // First and last rank of the ties are first + 1 and first + ties.
        ranks.extend(std::iter::repeat_n(2 * first + ties + 1, ties));
    }
    ranks
}

/// The probability of each sum that a random half of the ranks may have.
fn distribution(ranks: &[usize]) -> Vec<f64> {
    let all: usize = ranks.iter().sum();
    let mut likely = vec![0.0; all + 1];
    likely[0] = 1.0;
    let mut reached = 0;
    for &rank in ranks {
        reached += rank;
        for sum in (0..=reached).rev() {
            let with = if sum >= rank { likely[sum - rank] } else { 0.0 };
            likely[sum] = f64::midpoint(likely[sum], with);
        }
    }
    likely
}

/// Probabilities of several tests, raised so that the chance of any false alarm among them all
/// stays what it is for one.
///
/// S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
/// Statistics 6 (1979), 65-70.
pub(crate) fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let mut raised = vec![1.0; probabilities.len()];
    let mut least: f64 = 0.0;
    for (done, &index) in order.iter().enumerate() {
        let left = (probabilities.len() - done) as f64;
        least = least.max((left * probabilities[index]).min(1.0));
        raised[index] = least;
    }
    raised
}

#[cfg(test)]
mod tests {
    use super::{holm, signed_rank};

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-12
    }

    /// Every assignment of signs, counted.
    fn by_counting(differences: &[f64]) -> f64 {
        let n = differences.len();
        let rank = |value: f64| {
            let below = differences.iter().filter(|d| d.abs() < value.abs()).count();
            let same = differences
                .iter()
                .filter(|d| d.abs() == value.abs())
                .count();
            below as f64 + (same as f64 + 1.0) / 2.0
        };
        let ranks: Vec<f64> = differences.iter().map(|d| rank(*d)).collect();
        let half: f64 = ranks.iter().sum::<f64>() / 2.0;
        let sum = |signs: u32| -> f64 {
            let chosen = (0..n).filter(|i| signs >> i & 1 == 1);
            chosen.map(|i| ranks[i]).sum()
        };
        let signs = (0..n).filter(|i| differences[*i] > 0.0);
        let seen = (sum(signs.fold(0, |signs, i| signs | 1 << i)) - half).abs();
        let far = (0..1u32 << n).filter(|signs| (sum(*signs) - half).abs() >= seen - 1e-9);
        far.count() as f64 / f64::from(1u32 << n)
    }

    #[test]
    fn it_agrees_with_counting_every_assignment_of_signs() {
        for differences in [
            &[1.0][..],
            &[1.0, -2.0],
            &[1.0, 2.0, 3.0, -4.0, 5.0],
            &[1.0, 1.0, -1.0, 2.0, 2.0, -3.0, 3.0],
            &[-5.0, -4.0, -3.0, 2.0, -1.0, -1.0, -6.5, 0.25, -9.0, -9.0],
        ] {
            let p = signed_rank(differences);
            assert!(close(p, by_counting(differences)), "{differences:?}");
        }
    }

    #[test]
    fn tables_of_critical_values_are_met() {
        // The lower tail of T at 5 % two-sided: 0 for 6 pairs, 8 for 10, 52 for 20.
        let of = |pairs: u32, negative: &[u32]| {
            let signs = (1..=pairs).map(|rank| {
                let sign = if negative.contains(&rank) { -1.0 } else { 1.0 };
                sign * f64::from(rank)
            });
            signed_rank(&signs.collect::<Vec<_>>())
        };
        assert!(of(6, &[]) <= 0.05 && of(6, &[1]) > 0.05);
        assert!(of(10, &[8]) <= 0.05 && of(10, &[9]) > 0.05);
        assert!(of(20, &[20, 19, 13]) <= 0.05 && of(20, &[20, 19, 14]) > 0.05);
        assert!(close(of(5, &[]), 2.0 / 32.0));
    }

    #[test]
    fn differences_of_zero_say_nothing_and_no_differences_say_nothing_at_all() {
        assert_eq!(signed_rank(&[]), 1.0);
        assert_eq!(signed_rank(&[0.0, 0.0]), 1.0);
        let (with, without) = (signed_rank(&[0.0, 1.0, 2.0]), signed_rank(&[1.0, 2.0]));
        assert_eq!(with, without);
    }

    #[test]
    fn many_pairs_are_exact_too() {
        let differences: Vec<f64> = (1..=300).map(f64::from).collect();
        let p = signed_rank(&differences);
        assert!(p > 0.0 && p < 1e-80);
        let balanced: Vec<f64> = (0..300)
            .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        assert!(signed_rank(&balanced) > 0.99);
    }

    #[test]
    fn several_tests_are_held_to_more() {
        let raised = holm(&[0.01, 0.04, 0.03]);
        assert!(close(raised[0], 0.03) && close(raised[1], 0.06) && close(raised[2], 0.06));
        assert!(holm(&[]).is_empty());
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }
}
