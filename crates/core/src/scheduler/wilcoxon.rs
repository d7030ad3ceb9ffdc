//! Stops a trial that does worse than the best one on the same instances, by a paired test.
//!
//! For objectives that report one value per instance (fold, data set, seed), each instance being a step or a replicate; their
//! order does not matter. The rule is Optuna's `WilcoxonPruner`. It is not for learning curves, whose steps follow from
//! one another.

use serde::{Deserialize, Serialize};

use super::{Allowance, Assignment, Scheduler, Verdict, figure, latest, run_to_end, with_sibling};
use crate::event::Work;
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::study::Study;
use crate::trial::Trial;

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "wilcoxon",
    summary: "stops a trial that is worse than the best one on the same folds or instances, by a signed-rank test",
    options: &[
        OptionDoc {
            name: "p_threshold",
            doc: "a trial is stopped where chance alone would be so much worse with a smaller probability; \
                  0 to 1, default 0.1",
        },
        OptionDoc {
            name: "startup_steps",
            doc: "instances that both must have before they are compared, at least 2; default 2",
        },
    ],
    build: |options| {
        let (wilcoxon, complete) = configure::<Wilcoxon>(options)?;
        if !(0.0..=1.0).contains(&wilcoxon.p_threshold) {
            return Err(format!(
                "p_threshold = {}, but a probability lies between 0 and 1",
                wilcoxon.p_threshold
            ));
        }
        Ok((Box::new(wilcoxon), complete))
    },
};

/// The instances of a trial are all reports of all its replicates, each with its replicate and step. The best trial is
/// the incumbent; the first objective decides. A trial whose mean is no worse than the incumbent's is never stopped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wilcoxon {
    p_threshold: f64,
    startup_steps: usize,
}

impl Default for Wilcoxon {
    fn default() -> Self {
        Self { p_threshold: 0.1, startup_steps: 2 }
    }
}

impl Scheduler for Wilcoxon {
    fn assign(&self, study: &Study, allowance: Allowance, _: &mut Memo, _: &mut Rng) -> Assignment {
        run_to_end(study, allowance)
    }

    fn only_judges(&self) -> bool {
        true
    }

    fn judge(&self, study: &Study, work: Work, _: &mut Memo, _: &mut Rng) -> Verdict {
        if let Some(verdict) = with_sibling(study, work) {
            return verdict;
        }
        if latest(study, work).is_none() {
            return Verdict::go_on();
        }
        let (Some(trial), Some(best)) = (study.trial(work.trial), study.incumbent()) else {
            return Verdict::go_on();
        };
        let (own, of_best) = (instances(trial), instances(best));
        let behind = |&(instance, loss): &((u16, u64), f64)| {
            let at = of_best.binary_search_by_key(&instance, |other| other.0).ok()?;
            Some(loss - of_best[at].1)
        };
        let differences: Vec<f64> = own.iter().filter_map(behind).collect();
        if differences.len() < self.startup_steps.max(2) || mean(&own) <= mean(&of_best) {
            return Verdict::go_on();
        }
        let p = signed_rank(&differences);
        if p >= self.p_threshold {
            return Verdict::go_on();
        }
        Verdict::stop(format!(
            "worse than trial {} on {} common instances, by chance with p = {}",
            best.number,
            differences.len(),
            figure(p)
        ))
    }
}

/// Everything that a trial has reported for the first objective, by replicate and step.
fn instances(trial: &Trial) -> Vec<((u16, u64), f64)> {
    let reports = trial
        .pieces()
        .flat_map(|(work, piece)| piece.curve.iter().map(move |at| ((work.replicate, at.step), at.loss)));
    reports.filter(|(_, loss)| !loss.is_nan()).collect()
}

fn mean(instances: &[((u16, u64), f64)]) -> f64 {
    instances.iter().map(|(_, loss)| loss).sum::<f64>() / instances.len() as f64
}

/// Up to so many pairs the distribution is counted out.
const EXACT: usize = 50;

/// The probability that differences with random signs have ranks above zero that sum to at least what these do
/// (Wilcoxon 1945, one-sided). Equal sizes share their ranks, and the ranks of zeros are split between the sides.
///
/// Exact up to 50 differences, ties and zeros included; beyond, by the normal distribution with the ties' correction.
pub(super) fn signed_rank(differences: &[f64]) -> f64 {
    let mut order: Vec<f64> = differences.to_vec();
    order.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    // Ranks are doubled, so that shared ones are whole.
    let (mut ranked, mut above, mut zeros, mut ties) = (0, 0, 0, 0.0);
    let mut moving = Vec::with_capacity(order.len());
    for tied in order.chunk_by(|a, b| a.abs() == b.abs()) {
        let rank = 2 * ranked + tied.len() + 1;
        ranked += tied.len();
        let size = tied.len() as f64;
        ties += size * (size * size - 1.0);
        if tied[0] == 0.0 {
            zeros = rank * tied.len();
        } else {
            above += rank * tied.iter().filter(|difference| **difference > 0.0).count();
            moving.extend(std::iter::repeat_n(rank, tied.len()));
        }
    }
    if ranked <= EXACT {
        return tail(&moving, above);
    }
    let n = ranked as f64;
    let statistic = above as f64 / 2.0 + zeros as f64 / 4.0;
    let spread = ((n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0).sqrt();
    let z = (statistic - n * (n + 1.0) / 4.0) / spread;
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

/// The probability that parts, each taken or left like a coin falls, sum to at least `needed`.
fn tail(parts: &[usize], needed: usize) -> f64 {
    let mut shares = vec![0.0; parts.iter().sum::<usize>() + 1];
    shares[0] = 1.0;
    for &part in parts {
        for sum in (0..shares.len()).rev() {
            let taken = if sum >= part { shares[sum - part] } else { 0.0 };
            shares[sum] = 0.5 * (shares[sum] + taken);
        }
    }
    shares[needed..].iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_counted_out() {
        // All eight sign patterns of three differences: only one is as good as all above zero.
        assert_eq!(signed_rank(&[1.0, 2.0, 3.0]), 0.125);
        assert_eq!(signed_rank(&[-1.0, 2.0, 3.0]), 0.25);
        assert_eq!(signed_rank(&[-1.0, -2.0, -3.0]), 1.0);
        // Zeros cannot change sides, and equal sizes share a rank.
        assert_eq!(signed_rank(&[0.0, 0.0, 5.0]), 0.5);
        assert_eq!(signed_rank(&[1.0, -1.0]), 0.75);
        assert_eq!(signed_rank(&[0.0, 0.0]), 1.0);
    }

    #[test]
    fn many_differences_follow_the_normal_distribution_as_scipy_has_it() {
        let mut differences: Vec<f64> =
            (1..=60).map(|k| f64::from(if k % 3 == 0 { -k } else { k })).collect();
        assert!((signed_rank(&differences) / 0.017_950_061_607_939_057 - 1.0).abs() < 1e-12);
        // Counted out, it is 0.01778.
        for difference in &mut differences {
            *difference = (*difference / 4.0).round_ties_even();
        }
        differences.extend([0.0; 3]);
        assert!(
            (signed_rank(&differences) / 0.017_146_126_165_959_376 - 1.0).abs() < 1e-12,
            "ties and zeros"
        );
    }
}
