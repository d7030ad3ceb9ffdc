//! Expected improvement over the best loss so far, and its logarithm, which does not vanish far from the best.
//!
//! With z = (best − mean) / deviation, EI = deviation · h(z), where h(z) = φ(z) + z Φ(z) (Jones, Schonlau and Welch 1998).
//! The logarithm is computed without cancellation for every z (Ament et al. 2023, arXiv:2310.20708, section 4.1).

use super::{Partials, Worth};
use crate::surrogate::Belief;
use crate::surrogate::normal::{LN_SQRT_2PI, tail};

/// Below this z the improvement is summed from its asymptotic series: ten terms are exact there to 1e-13.
const FAR: f64 = -20.0;

/// The expected improvement: how much smaller than `best` the loss is expected to be, counting larger ones as 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpectedImprovement {
    /// The loss to improve on, in the surrogate's units.
    pub best: f64,
}

/// The logarithm of the expected improvement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogExpectedImprovement {
    /// The loss to improve on, in the surrogate's units.
    pub best: f64,
}

impl Worth for ExpectedImprovement {
    fn worth(&self, belief: Belief) -> f64 {
        log_expected_improvement(belief, self.best).exp()
    }

    fn partials(&self, belief: Belief) -> Partials {
        let z = (self.best - belief.mean) / belief.deviation;
        Partials { value: self.worth(belief), mean: -tail(-z), deviation: density(z) }
    }
}

impl Worth for LogExpectedImprovement {
    fn worth(&self, belief: Belief) -> f64 {
        log_expected_improvement(belief, self.best)
    }

    fn partials(&self, belief: Belief) -> Partials {
        let z = (self.best - belief.mean) / belief.deviation;
        // d ln h = Φ/h dz and d ln EI = d ln σ + Φ/h dz; with dz = −(dμ + z dσ)/σ the σ terms are φ/(σ h).
        let (mean, deviation) = if z > -1.0 {
            let h = density(z) + z * tail(-z);
            (-tail(-z) / h, density(z) / h)
        } else {
            let excess = excess(z);
            (-mills(z) / excess, 1.0 / excess)
        };
        let sigma = belief.deviation;
        Partials { value: self.worth(belief), mean: mean / sigma, deviation: deviation / sigma }
    }
}

/// ln of the expected improvement over `best` (smaller losses are better); finite wherever ln φ(z) is.
pub fn log_expected_improvement(belief: Belief, best: f64) -> f64 {
    log_h((best - belief.mean) / belief.deviation) + belief.deviation.ln()
}

/// ln(φ(z) + z Φ(z)); relative accuracy of what it is the logarithm of: 1e-12.
pub fn log_h(z: f64) -> f64 {
    if z > -1.0 { (density(z) + z * tail(-z)).ln() } else { -0.5 * z * z - LN_SQRT_2PI + excess(z).ln() }
}

/// φ(z).
pub(super) fn density(z: f64) -> f64 {
    (-0.5 * z * z - LN_SQRT_2PI).exp()
}

/// Φ(z) / φ(z) for z ≤ 0.
pub(super) fn mills(z: f64) -> f64 {
    if z > FAR { tail(-z) / density(z) } else { (1.0 - excess(z)) / -z }
}

/// h(z) / φ(z) = 1 + z Φ(z) / φ(z) for z < 0.
fn excess(z: f64) -> f64 {
    if z > FAR {
        return 1.0 + z * mills(z);
    }
    // 1/z² − 3/z⁴ + 15/z⁶ − … from Abramowitz and Stegun 26.2.12, nested from the inside.
    let square = 1.0 / (z * z);
    let nested = (1..=10).rev().fold(1.0, |inner, k| 1.0 - f64::from(2 * k + 1) * square * inner);
    square * nested
}
