//! Log expected improvement where the best loss itself is not known, because losses are noisy.
//!
//! The simplest remedy is to improve on the best *posterior mean* of a trial rather than on the best loss seen
//! ([`plug_in`]). [`NoisyLogExpectedImprovement`] goes further and averages over what the best noise-free loss may be, drawn
//! jointly with the model (Letham et al. 2019, arXiv:1706.07094, with one belief in place of one model per draw: the
//! dependence between a draw of the best and the belief at the point is left out, so that it costs as much as without
//! noise).

use super::expected_improvement::LogExpectedImprovement;
use super::{LogSum, Partials, Worth};
use crate::surrogate::{Belief, Surrogate};

/// ln of the mean of the expected improvements over several possible best losses.
#[derive(Clone, Debug, PartialEq)]
pub struct NoisyLogExpectedImprovement {
    /// Equally likely values of the best noise-free loss, at least one.
    pub bests: Vec<f64>,
}

impl Worth for NoisyLogExpectedImprovement {
    fn worth(&self, belief: Belief) -> f64 {
        self.partials(belief).value
    }

    fn partials(&self, belief: Belief) -> Partials {
        let mut total = LogSum::new(1);
        for best in &self.bests {
            let part = LogExpectedImprovement { best: *best }.partials(belief);
            total.add(part.value, &[part]);
        }
        let (sum, slopes) = total.total();
        Partials { value: sum - (self.bests.len() as f64).ln(), ..slopes[0] }
    }
}

/// The smallest posterior mean at `units`, and which point has it; none where there are no points.
pub fn plug_in(surrogate: &dyn Surrogate, units: &[Vec<f64>]) -> Option<(usize, f64)> {
    let means = surrogate.beliefs(units).into_iter().map(|belief| belief.mean).enumerate();
    means.min_by(|a, b| a.1.total_cmp(&b.1))
}
