//! How likely a trial at a point is to succeed, learned from trials that did and did not: least-squares classification
//! with a probit on top (Rasmussen and Williams 2006, section 6.5).
//!
//! A Gaussian process is fitted to labels +1 and −1 as if they were losses. Where it believes in mean m and variance v,
//! the probability is Φ((a m + b) / √(1 + a² v)) (their eq. 6.42); a and b make the labels most plausible, each as
//! believed without it, which has a closed form. One factorisation, no iteration over labels.

use std::sync::Arc;

use super::super::normal::log_tail;
use super::super::{Belief, Surrogate};
use super::outputs::{Outputs, highest};
use super::{GaussianProcess, Kernel, Row, Settings, fit_with};

/// The probability of success over a space.
#[derive(Clone, Debug)]
pub struct Success {
    /// `None` until both outcomes have been seen.
    model: Option<GaussianProcess>,
    steepness: f64,
    shift: f64,
    /// Laplace's rule of succession, for a model that has not seen both outcomes.
    share: f64,
}

/// Values of a that are compared, each with its best b.
const STEEPNESSES: [f64; 9] = [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0];

impl Success {
    /// The model of outcomes at unit coordinates.
    ///
    /// While all are alike, the probability is (successes + 1) / (trials + 2) everywhere.
    pub fn fit(kernel: &Arc<Kernel>, outcomes: &[(&[f64], bool)]) -> Self {
        let successes = outcomes.iter().filter(|(_, succeeded)| *succeeded).count();
        let share = (successes + 1) as f64 / (outcomes.len() + 2) as f64;
        if successes == 0 || successes == outcomes.len() {
            return Self { model: None, steepness: 1.0, shift: 0.0, share };
        }
        let rows: Vec<Row> = outcomes
            .iter()
            .map(|(unit, succeeded)| Row { unit, loss: label(*succeeded), error: f64::NAN })
            .collect();
        let model = fit_with(kernel, &rows, Outputs::identity(), &Settings::default());
        let (steepness, shift) = squash(&model);
        Self { model: Some(model), steepness, shift, share }
    }

    /// Takes in one more outcome, at O(n²). Only for a model that has seen both outcomes: false, and nothing done, for
    /// others, which must be fitted anew.
    pub fn push(&mut self, unit: &[f64], succeeded: bool) -> bool {
        let Some(model) = &mut self.model else { return false };
        model.push(Row { unit, loss: label(succeeded), error: f64::NAN });
        true
    }

    /// Whether the probability is the same everywhere.
    pub fn is_flat(&self) -> bool {
        self.model.is_none()
    }

    /// The probability that a trial at `unit` succeeds.
    pub fn probability(&self, unit: &[f64]) -> f64 {
        self.log_probability(unit).exp()
    }

    /// Its logarithm, which stays finite where success is most unlikely.
    pub fn log_probability(&self, unit: &[f64]) -> f64 {
        match &self.model {
            None => self.share.ln(),
            Some(model) => log_tail(-self.z(&model.belief(unit))),
        }
    }

    /// Logarithms at many points.
    pub fn log_probabilities(&self, units: &[Vec<f64>]) -> Vec<f64> {
        match &self.model {
            None => vec![self.share.ln(); units.len()],
            Some(model) => {
                let beliefs = model.beliefs(units);
                beliefs.iter().map(|belief| log_tail(-self.z(belief))).collect()
            }
        }
    }

    /// ln of the probability and its slope by each unit coordinate.
    pub fn slope(&self, unit: &[f64]) -> (f64, Vec<f64>) {
        let flat = || (self.share.ln(), vec![0.0; unit.len()]);
        let Some(slope) = self.model.as_ref().and_then(|model| model.slope(unit)) else { return flat() };
        let z = self.z(&slope.belief);
        let log = log_tail(-z);
        // φ(z) / Φ(z), as a difference of logarithms.
        let ratio = (-0.5 * z * z - super::super::normal::LN_SQRT_2PI - log).exp();
        let a = self.steepness;
        let spread = (1.0 + (a * slope.belief.deviation).powi(2)).sqrt();
        let parts = slope.mean.iter().zip(&slope.deviation);
        let by = |(mean, deviation): (&f64, &f64)| {
            ratio * (a * mean / spread - z * a * a * slope.belief.deviation * deviation / (spread * spread))
        };
        (log, parts.map(by).collect())
    }

    fn z(&self, belief: &Belief) -> f64 {
        z(self.steepness, self.shift, belief)
    }
}

fn label(succeeded: bool) -> f64 {
    if succeeded { 1.0 } else { -1.0 }
}

fn z(steepness: f64, shift: f64, belief: &Belief) -> f64 {
    (steepness * belief.mean + shift) / (1.0 + (steepness * belief.deviation).powi(2)).sqrt()
}

/// The a and b under which labels are most plausible where each is left out, with b ~ N(0, 1) and ln a ~ N(ln 2, 1) to
/// hold them when few labels speak.
fn squash(model: &GaussianProcess) -> (f64, f64) {
    let left_out = model.leave_one_out();
    let plausible = |steepness: f64, shift: f64| {
        let labels = model.targets().iter().zip(&left_out);
        let log = |(label, belief): (&f64, &Belief)| log_tail(-label.signum() * z(steepness, shift, belief));
        labels.map(log).sum::<f64>() - 0.5 * shift * shift - 0.5 * (steepness / 2.0).ln().powi(2)
    };
    let mut best = (f64::NEG_INFINITY, 1.0, 0.0);
    for steepness in STEEPNESSES {
        let shift = highest(|shift| plausible(steepness, shift), -4.0, 4.0, 1e-3);
        let value = plausible(steepness, shift);
        if value > best.0 {
            best = (value, steepness, shift);
        }
    }
    (best.1, best.2)
}
