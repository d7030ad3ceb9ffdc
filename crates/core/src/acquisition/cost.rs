//! Improvement per second: where trials cost unequally much, a cheap improvement is worth more (Snoek et al. 2012,
//! arXiv:1206.2944, section 3.2).

use super::{Acquisition, Partials, Worth};
use crate::surrogate::{Belief, Surrogate};

/// Costs that spread less than this (standard deviation of their natural logarithms) are all the same: nothing is gained
/// by a model of them.
const SPREAD: f64 = 0.4;

/// −exponent · E\[ln seconds\], to be added to a log acquisition.
#[derive(Clone, Copy)]
pub struct LogCost<'a> {
    /// A model of ln seconds, in its own units.
    pub surrogate: &'a dyn Surrogate,
    /// Natural logarithms of seconds per unit of the model.
    pub scale: f64,
    /// How much cost counts: 1 is improvement per second, 0 not at all (Lee et al. 2020, arXiv:2003.10870).
    pub exponent: f64,
}

impl LogCost<'_> {
    fn weight(&self) -> f64 {
        self.scale * self.exponent
    }
}

impl Worth for LogCost<'_> {
    fn worth(&self, belief: Belief) -> f64 {
        -self.weight() * belief.mean
    }

    fn partials(&self, belief: Belief) -> Partials {
        Partials { value: self.worth(belief), mean: -self.weight(), deviation: 0.0 }
    }
}

impl Acquisition for LogCost<'_> {
    fn value(&self, unit: &[f64]) -> f64 {
        self.worth(self.surrogate.belief(unit))
    }

    fn values(&self, units: &[Vec<f64>]) -> Vec<f64> {
        self.surrogate.beliefs(units).into_iter().map(|belief| self.worth(belief)).collect()
    }

    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        let slope = self.surrogate.slope(unit)?;
        let value = self.worth(slope.belief);
        Some((value, slope.mean.iter().map(|m| -self.weight() * m).collect()))
    }
}

/// Whether seconds of work differ enough for a model of them: their logarithms' standard deviation is above 0.4.
pub fn differs(seconds: &[f64]) -> bool {
    let logs: Vec<f64> = seconds.iter().filter(|s| **s > 0.0).map(|s| s.ln()).collect();
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
    logs.len() >= 5 && variance > SPREAD * SPREAD
}
