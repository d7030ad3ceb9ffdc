//! The probability of improving on the best loss so far by some margin (Kushner 1964), and its logarithm.

use super::expected_improvement::{density, mills};
use super::{Partials, Worth};
use crate::surrogate::Belief;
use crate::surrogate::normal::{log_tail, tail};

/// The probability that the loss is below `target`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImprovementProbability {
    /// The loss to get below, in the surrogate's units: the best one less a margin.
    pub target: f64,
}

/// The logarithm of the probability that the loss is below `target`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogImprovementProbability {
    /// The loss to get below, in the surrogate's units.
    pub target: f64,
}

impl Worth for ImprovementProbability {
    fn worth(&self, belief: Belief) -> f64 {
        tail((belief.mean - self.target) / belief.deviation)
    }

    fn partials(&self, belief: Belief) -> Partials {
        let z = (self.target - belief.mean) / belief.deviation;
        let slope = density(z) / belief.deviation;
        Partials { value: tail(-z), mean: -slope, deviation: -z * slope }
    }
}

impl Worth for LogImprovementProbability {
    fn worth(&self, belief: Belief) -> f64 {
        log_tail((belief.mean - self.target) / belief.deviation)
    }

    fn partials(&self, belief: Belief) -> Partials {
        let z = (self.target - belief.mean) / belief.deviation;
        let ratio = if z > 0.0 { density(z) / tail(-z) } else { 1.0 / mills(z) };
        let slope = ratio / belief.deviation;
        Partials { value: log_tail(-z), mean: -slope, deviation: -z * slope }
    }
}
