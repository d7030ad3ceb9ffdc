//! Tests on paired differences: whether a trial that has run some of its replicates may still come out ahead of the best.
//!
//! Numbers in, probabilities out; what is compared with what, and what follows, is decided elsewhere.

use libm::erfc;
use statrs::function::beta::beta_reg;

/// Up to so many differences with ties or zeros, the distribution of the rank sum is counted out sign by sign.
const COUNTED: usize = 13;
/// Up to so many differences without ties, it is counted out by its recurrence.
const EXACT: usize = 50;

/// What is known of the noise in one replicate's difference between two trials.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    /// The variance of such differences between trials like these.
    pub(super) variance: f64,
    /// The degrees of freedom behind it, as far as they are lent to one pair of trials.
    pub(super) freedom: f64,
}

/// A loss by what it was measured on: a replicate, or a step of one. Ascending.
pub(super) type Measured<K> = (K, f64);

/// How much worse each of `own` losses is than that of another trial on the same, as far as both have one.
pub(super) fn differences<K: Ord>(own: &[Measured<K>], others: &[Measured<K>]) -> Vec<f64> {
    let behind = |(on, loss): &Measured<K>| {
        let at = others.binary_search_by(|other| other.0.cmp(on)).ok()?;
        Some(loss - others[at].1)
    };
    own.iter().filter_map(behind).collect()
}

/// The losses alone.
pub(super) fn losses<K>(measured: &[Measured<K>]) -> Vec<f64> {
    measured.iter().map(|(_, loss)| *loss).collect()
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The p-value of [`signed_rank`] if `own` losses are worse than others by that test and in the mean: below `risk`, on
/// `least` common ones or more.
pub(super) fn worse_by_ranks<K: Ord>(
    own: &[Measured<K>],
    others: &[Measured<K>],
    least: usize,
    risk: f64,
) -> Option<f64> {
    let differences = differences(own, others);
    let is_worse = differences.len() >= least && mean(&losses(own)) > mean(&losses(others));
    signed_rank(&differences).filter(|p| is_worse && *p < risk)
}

/// The chance that the mean difference over all `of` replicates comes out below 0, given those of the first few.
///
/// The differences are taken for independent normal draws around an unknown mean, about which nothing is known before; their
/// variance is estimated from `noise` and from the differences themselves, by their degrees of freedom. Then the mean over all
/// is Student-t around the mean so far, with scale² = variance · (of − n) / (of · n). 1 where nothing tells the variance,
/// and 0 or 1 once all are known. Equal means count as ahead.
pub(super) fn chance_ahead(differences: &[f64], of: usize, noise: Option<Noise>) -> f64 {
    let n = differences.len();
    if n == 0 {
        return 1.0;
    }
    let mean = mean(differences);
    let left = of.saturating_sub(n) as f64;
    let (variance, freedom) = variance(differences, noise);
    if freedom < 1.0 && left > 0.0 {
        return 1.0;
    }
    let scale = (variance * left / (of as f64 * n as f64)).sqrt();
    if scale <= 0.0 { f64::from(u8::from(mean <= 0.0)) } else { student_tail(mean / scale, freedom) }
}

/// The chance that the mean of what the differences are drawn from is below 0; as [`chance_ahead`], with infinitely many to come.
pub(super) fn chance_better(differences: &[f64], noise: Option<Noise>) -> f64 {
    let mean = mean(differences);
    let (variance, freedom) = variance(differences, noise);
    if freedom < 1.0 {
        return 1.0;
    }
    let scale = (variance / differences.len() as f64).sqrt();
    if scale <= 0.0 { f64::from(u8::from(mean <= 0.0)) } else { student_tail(mean / scale, freedom) }
}

/// The variance of one difference, and its degrees of freedom.
fn variance(differences: &[f64], noise: Option<Noise>) -> (f64, f64) {
    let n = differences.len() as f64;
    let mean = mean(differences);
    let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
    let (lent, squares_lent) =
        noise.map_or((0.0, 0.0), |noise| (noise.freedom, noise.freedom * noise.variance));
    let freedom = lent + n - 1.0;
    ((squares + squares_lent) / freedom.max(1.0), freedom)
}

/// The mass of Student's t with `freedom` degrees of freedom above `t`.
pub(super) fn student_tail(t: f64, freedom: f64) -> f64 {
    let half = 0.5 * beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t * t));
    if t >= 0.0 { half } else { 1.0 - half }
}

/// The p-value of Wilcoxon's signed-rank test against the alternative that differences lie above 0 (Wilcoxon 1945). Zeros share their
/// ranks between both signs. None without a difference.
///
/// Exact for up to 50 differences without ties and zeros, and for up to 13 with any; else by the normal approximation with
/// correction for ties: the choices of `SciPy` 1.17's `wilcoxon(alternative="greater", zero_method="zsplit")`, which Optuna's
/// `WilcoxonPruner` asks.
fn signed_rank(differences: &[f64]) -> Option<f64> {
    let n = differences.len();
    if n == 0 {
        return None;
    }
    let (ranks, ties) = ranks(differences);
    let sum = rank_sum(differences, &ranks);
    let has_zeros = differences.contains(&0.0);
    Some(if !has_zeros && ties == 0.0 && n <= EXACT {
        counted_by_recurrence(n, sum)
    } else if n <= COUNTED {
        counted_by_signs(differences, &ranks, sum)
    } else {
        approximated(n as f64, sum, ties)
    })
}

/// Ranks of the absolute differences, ties at their mean; and Σ (t³ − t) over groups of t ties.
fn ranks(differences: &[f64]) -> (Vec<f64>, f64) {
    let mut order: Vec<usize> = (0..differences.len()).collect();
    order.sort_by(|a, b| differences[*a].abs().total_cmp(&differences[*b].abs()));
    let (mut ranks, mut ties) = (vec![0.0; differences.len()], 0.0);
    let mut from = 0;
    for group in order.chunk_by(|a, b| differences[*a].abs() == differences[*b].abs()) {
        let size = group.len() as f64;
        for &k in group {
            ranks[k] = from as f64 + f64::midpoint(size, 1.0);
        }
        ties += size.powi(3) - size;
        from += group.len();
    }
    (ranks, ties)
}

fn rank_sum(differences: &[f64], ranks: &[f64]) -> f64 {
    let share = |difference: f64| if difference == 0.0 { 0.5 } else { f64::from(u8::from(difference > 0.0)) };
    differences.iter().zip(ranks).map(|(difference, rank)| share(*difference) * rank).sum()
}

/// The share of all sign patterns whose rank sum is at least `sum`, from how many subsets of 1 … n have each sum.
fn counted_by_recurrence(n: usize, sum: f64) -> f64 {
    let most = n * (n + 1) / 2;
    let mut ways = vec![0.0; most + 1];
    ways[0] = 1.0;
    for rank in 1..=n {
        for total in (rank..=most).rev() {
            ways[total] += ways[total - rank];
        }
    }
    ways[sum.floor() as usize..].iter().sum::<f64>() / 2.0_f64.powi(n as i32)
}

/// The same pattern by pattern, for any ranks; the sign of a zero changes nothing.
fn counted_by_signs(differences: &[f64], ranks: &[f64], sum: f64) -> f64 {
    let zeros: f64 =
        differences.iter().zip(ranks).filter(|(d, _)| **d == 0.0).map(|(_, rank)| 0.5 * rank).sum();
    let signed: Vec<f64> =
        differences.iter().zip(ranks).filter(|(d, _)| **d != 0.0).map(|(_, rank)| *rank).collect();
    let patterns = 1_u32 << signed.len();
    let total = |pattern: u32| {
        let chosen = signed.iter().enumerate().filter(|(k, _)| pattern >> k & 1 == 1);
        zeros + chosen.map(|(_, rank)| rank).sum::<f64>()
    };
    // Ranks are halves, so sums are exact.
    let reached = (0..patterns).filter(|pattern| total(*pattern) >= sum).count();
    reached as f64 / f64::from(patterns)
}

fn approximated(n: f64, sum: f64, ties: f64) -> f64 {
    let mean = n * (n + 1.0) / 4.0;
    let deviation = ((n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0).sqrt();
    if deviation <= 0.0 {
        return 1.0;
    }
    let z = (sum - mean) / deviation;
    0.5 * erfc(z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Reference {
        signed_rank: Vec<(Vec<f64>, f64)>,
        student: Vec<(f64, f64, f64)>,
        ahead: Vec<(Vec<f64>, usize, f64, f64, f64)>,
    }

    fn reference() -> Reference {
        serde_json::from_str(include_str!("../../tests/reference/paired.json")).unwrap()
    }

    #[test]
    fn signed_ranks_are_those_of_scipy() {
        for (differences, expected) in reference().signed_rank {
            let found = signed_rank(&differences).unwrap();
            assert!((found - expected).abs() < 1e-12, "{differences:?}: {found}, scipy {expected}");
        }
        assert_eq!(signed_rank(&[]), None);
    }

    #[test]
    fn tails_of_student_are_those_of_scipy() {
        for (t, freedom, expected) in reference().student {
            let found = student_tail(t, freedom);
            assert!(
                (found - expected).abs() <= 1e-10 * expected.max(1e-3),
                "{t} {freedom}: {found} {expected}"
            );
        }
    }

    #[test]
    fn the_chance_to_come_out_ahead_is_that_of_the_posterior() {
        for (differences, of, variance, freedom, expected) in reference().ahead {
            let noise = (freedom > 0.0).then_some(Noise { variance, freedom });
            let found = chance_ahead(&differences, of, noise);
            // The reference is a simulation of 400,000 draws.
            assert!((found - expected).abs() < 0.004, "{differences:?} of {of}: {found} {expected}");
        }
    }

    #[test]
    fn without_a_doubt_there_is_no_chance() {
        assert_eq!(chance_ahead(&[0.1], 5, None), 1.0, "one difference says nothing about the others");
        assert_eq!(chance_ahead(&[0.1, 0.1], 5, None), 0.0);
        assert_eq!(chance_ahead(&[0.0, 0.0], 5, None), 1.0);
        assert_eq!(chance_ahead(&[0.1, -0.3, 0.1], 3, None), 1.0, "all are known");
        assert_eq!(chance_ahead(&[0.1, 0.3, 0.1], 3, None), 0.0);
        assert_eq!(chance_ahead(&[], 3, None), 1.0);
    }
}
