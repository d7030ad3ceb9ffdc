//! The probability that a point keeps what it must: constraints of the metrics, and ending at all. Multiplied into an
//! acquisition as a logarithm (Gardner et al. 2014; Gelbart et al. 2014, arXiv:1403.5607).

use super::probability::LogImprovementProbability;
use super::{Acquisition, Over, Sum};
use crate::surrogate::Surrogate;
use crate::surrogate::gaussian_process::Success;

/// ln of the probability that every constraint's value is at most its limit, the constraints being independent.
pub type Feasibility<'a> = Sum<Over<'a, LogImprovementProbability>>;

/// The [`Feasibility`] by a model of each constraint with its limit in that model's units (where the constraint's value is 0).
pub fn feasibility<'a>(constraints: impl IntoIterator<Item = (&'a dyn Surrogate, f64)>) -> Feasibility<'a> {
    let kept = |(model, limit)| Over::new(model, LogImprovementProbability { target: limit });
    Sum { parts: constraints.into_iter().map(kept).collect() }
}

/// ln of the probability that a trial does not crash, diverge, or run out of memory or time, far lower where that is less
/// than a floor.
///
/// The floor is needed where losses fall towards an edge beyond which trials fail. Once everything on this side is known, the
/// expected improvement is so much smaller there that no probability makes up for it, and trial after trial fails.
pub struct LogSuccess<'a> {
    /// Where trials succeed.
    pub success: &'a Success,
    /// ln of the probability that is wanted at least; −∞ for none.
    pub floor: f64,
}

/// How much steeper it is below the floor: more than any logarithm of an improvement.
const STEEP: f64 = 1e5;

impl LogSuccess<'_> {
    fn of(&self, log: f64) -> f64 {
        log + STEEP * (log - self.floor).min(0.0)
    }
}

impl Acquisition for LogSuccess<'_> {
    fn value(&self, unit: &[f64]) -> f64 {
        self.of(self.success.log_probability(unit))
    }

    fn values(&self, units: &[Vec<f64>]) -> Vec<f64> {
        self.success.log_probabilities(units).into_iter().map(|log| self.of(log)).collect()
    }

    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        let (log, slope) = self.success.slope(unit);
        let steepness = if log < self.floor { 1.0 + STEEP } else { 1.0 };
        Some((self.of(log), slope.into_iter().map(|s| steepness * s).collect()))
    }
}
