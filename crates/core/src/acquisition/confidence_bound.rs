//! The lower confidence bound of the loss: optimism in proportion to doubt (Srinivas et al. 2010, arXiv:0912.3995).

use super::{Partials, Worth};
use crate::surrogate::Belief;

/// kappa · deviation − mean: the negative of the loss's lower confidence bound, so that larger is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfidenceBound {
    /// Deviations below the mean, from 0; see [`kappa`].
    pub kappa: f64,
}

impl Worth for ConfidenceBound {
    fn worth(&self, belief: Belief) -> f64 {
        self.kappa * belief.deviation - belief.mean
    }

    fn partials(&self, belief: Belief) -> Partials {
        Partials { value: self.worth(belief), mean: -1.0, deviation: self.kappa }
    }
}

/// The schedule of HEBO (Cowen-Rivers et al. 2022, arXiv:2012.03826): √(2υ((2 + d/2) ln n + ln(π²/δ))), υ = ½,
/// δ = 0.01, after `trials` ≥ 1 trials in `dimensions` dimensions.
pub fn kappa(trials: usize, dimensions: usize) -> f64 {
    let (upsilon, delta) = (0.5, 0.01);
    let growth = (2.0 + dimensions as f64 / 2.0) * (trials.max(1) as f64).ln();
    (2.0 * upsilon * (growth + (std::f64::consts::PI.powi(2) / delta).ln())).sqrt()
}
