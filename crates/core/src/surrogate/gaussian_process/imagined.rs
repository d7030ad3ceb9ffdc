//! A model that believes, beside its rows, what the noise-free loss may be at some points: several equally likely draws of it.

use super::{GaussianProcess, Slope};
use crate::surrogate::Belief;

/// What is drawn is believed up to this share of the variance, for the sake of arithmetic.
const ROUGH: f64 = 1e-8;

/// A Gaussian process given its rows and several draws of the noise-free loss at some points. All draws share one factorised covariance.
#[derive(Clone, Debug)]
pub struct Imagined {
    /// Given the points; what it thinks of their values is of no account.
    model: GaussianProcess,
    /// A⁻¹ y for each draw.
    alphas: Vec<Vec<f64>>,
}

impl GaussianProcess {
    /// The model that believes a draw of the noise-free losses at `units`, in model units, for each of `draws`. O(n²) for each unit and draw.
    pub fn imagine(&self, units: &[Vec<f64>], draws: &[Vec<f64>]) -> Imagined {
        let mut model = self.clone();
        let without_noise = ROUGH * self.prior_variance() - self.scales.noise;
        for unit in units {
            model.push_believed(unit, 0.0, without_noise);
        }
        let alpha = |draw: &Vec<f64>| {
            let targets = [&self.rows.targets[..], draw].concat();
            model.factor.backward(&model.factor.forward(&targets))
        };
        let alphas = draws.iter().map(alpha).collect();
        Imagined { model, alphas }
    }
}

impl Imagined {
    /// What is believed at each of `units`, a belief per draw.
    pub fn beliefs(&self, units: &[Vec<f64>]) -> Vec<Vec<Belief>> {
        self.model.beliefs_given(units, &self.alphas)
    }

    /// The same at one point with its slopes.
    pub fn slopes(&self, unit: &[f64]) -> Vec<Slope> {
        self.model.slopes_given(unit, &self.alphas)
    }
}
