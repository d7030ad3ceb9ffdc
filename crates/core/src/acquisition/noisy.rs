//! Log expected improvement where the best loss itself is not known, because losses are noisy.
//!
//! The simplest remedy is to improve on the best *posterior mean* of a trial rather than on the best loss seen.
//! [`NoisyLogExpectedImprovement`] averages over what the noise-free losses of trials may be (Letham et al. 2019,
//! arXiv:1706.07094, eq. 4): each draw of them has a best, and a model that believes the draw.

use super::expected_improvement::LogExpectedImprovement;
use super::{Acquisition, Worth, log_sum};
use crate::surrogate::gaussian_process::{GaussianProcess, Imagined};

/// ln of the expected improvement on the best of some points, averaged over draws of the noise-free losses there.
#[derive(Clone, Debug)]
pub struct NoisyLogExpectedImprovement {
    imagined: Imagined,
    /// What is to be improved on, by draw.
    bests: Vec<f64>,
}

impl NoisyLogExpectedImprovement {
    /// With equally likely draws of the noise-free losses at `units`, as [`Joint::draw`](crate::surrogate::gaussian_process::Joint::draw)
    /// makes them, in model units; at least one of each. An improvement is one by more than `margin`.
    pub fn new(model: &GaussianProcess, units: &[Vec<f64>], draws: &[Vec<f64>], margin: f64) -> Self {
        let best = |draw: &Vec<f64>| draw.iter().copied().fold(f64::INFINITY, f64::min) - margin;
        Self { imagined: model.imagine(units, draws), bests: draws.iter().map(best).collect() }
    }
}

impl Acquisition for NoisyLogExpectedImprovement {
    fn value(&self, unit: &[f64]) -> f64 {
        self.values(&[unit.to_vec()])[0]
    }

    fn values(&self, units: &[Vec<f64>]) -> Vec<f64> {
        let count = (self.bests.len() as f64).ln();
        let mean = |beliefs: Vec<_>| {
            let logs = self.bests.iter().zip(beliefs);
            let logs: Vec<f64> =
                logs.map(|(best, belief)| LogExpectedImprovement { best: *best }.worth(belief)).collect();
            log_sum(&logs) - count
        };
        self.imagined.beliefs(units).into_iter().map(mean).collect()
    }

    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        let slopes = self.imagined.slopes(unit);
        let parts = self.bests.iter().zip(&slopes);
        let parts: Vec<_> = parts
            .map(|(best, slope)| LogExpectedImprovement { best: *best }.partials(slope.belief))
            .collect();
        let logs: Vec<f64> = parts.iter().map(|part| part.value).collect();
        let sum = log_sum(&logs);
        let mut total = vec![0.0; unit.len()];
        for (part, slope) in parts.iter().zip(&slopes).filter(|(part, _)| part.value > f64::NEG_INFINITY) {
            let weight = (part.value - sum).exp();
            for (k, total) in total.iter_mut().enumerate() {
                *total += weight * (part.mean * slope.mean[k] + part.deviation * slope.deviation[k]);
            }
        }
        Some((sum - (self.bests.len() as f64).ln(), total))
    }
}
