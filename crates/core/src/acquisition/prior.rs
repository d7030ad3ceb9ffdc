//! A user's expectation as a factor of an acquisition that fades with every trial (Hvarfner et al. 2022, "`πBO`",
//! arXiv:2204.11051): acquisition · prior^(β / n), so that a wrong prior is outgrown.

use super::Acquisition;
use crate::space::Space;

/// The paper's β for the default confidence.
pub const BETA: f64 = 10.0;

/// A step in a unit coordinate over which a prior's slope is measured.
const STEP: f64 = 1e-5;

/// (β / n) · Σ ln prior, over the active parameters that have a prior.
///
/// Priors of the space include a share of doubt, so the logarithm is bounded below.
pub struct LogPrior<'a> {
    space: &'a Space,
    weight: f64,
}

impl<'a> LogPrior<'a> {
    /// With weight `beta` / `trials`; `None` where no parameter has a prior or none is left of it.
    pub fn new(space: &'a Space, beta: f64, trials: usize) -> Option<Self> {
        let weight = beta / trials.max(1) as f64;
        let has_prior = space.parameters().iter().any(|p| p.prior.is_some() && !p.retired);
        (has_prior && weight > 0.0).then_some(Self { space, weight })
    }

    fn term(&self, k: usize, unit: f64) -> f64 {
        let parameter = &self.space.parameters()[k];
        match &parameter.prior {
            Some(prior) if !unit.is_nan() => {
                self.weight * prior.density(&parameter.distribution, unit.clamp(0.0, 1.0)).ln()
            }
            Some(_) | None => 0.0,
        }
    }
}

impl Acquisition for LogPrior<'_> {
    fn value(&self, unit: &[f64]) -> f64 {
        unit.iter().enumerate().map(|(k, x)| self.term(k, *x)).sum()
    }

    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        let by = |k: usize, x: f64| {
            let is_continuous = self.space.parameters()[k].distribution.cells().is_none();
            if !is_continuous || x.is_nan() {
                return 0.0;
            }
            let (low, high) = ((x - STEP).max(0.0), (x + STEP).min(1.0));
            (self.term(k, high) - self.term(k, low)) / (high - low)
        };
        Some((self.value(unit), unit.iter().enumerate().map(|(k, x)| by(k, *x)).collect()))
    }
}
