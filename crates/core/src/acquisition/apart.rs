//! Keeps proposals apart from trials whose results are still to come: what they will tell must not be asked twice.
//!
//! A model that believes what it expects of a pending trial still finds nothing more promising than its neighbourhood once
//! all other places are known to be worse. A batch of such proposals would be one trial with copies. So the acquisition
//! is multiplied by 1 − exp(−d² / 2r²) for each pending trial at distance d (a local penalty as in González et al. 2016,
//! arXiv:1505.08052, with a fixed radius r in place of one from a Lipschitz constant, which shrinks to nothing where the
//! model is sure).

use super::Acquisition;
use crate::space::Space;

/// The radius r per square root of numeric parameters, as a share of the unit interval.
const RADIUS: f64 = 0.01;

/// ln of the product of penalties; −∞ at a pending point.
pub struct Apart<'a> {
    pending: &'a [Vec<f64>],
    numbers: Vec<usize>,
    choices: Vec<usize>,
    radius: f64,
}

impl<'a> Apart<'a> {
    /// From unit coordinates of pending trials.
    pub fn new(space: &Space, pending: &'a [Vec<f64>]) -> Self {
        let free = |k: &usize| {
            let parameter = &space.parameters()[*k];
            !parameter.retired && !parameter.distribution.is_fixed()
        };
        let is_choice = |k: &usize| space.parameters()[*k].distribution.is_categorical();
        let (choices, numbers): (Vec<usize>, Vec<usize>) = (0..space.len()).filter(free).partition(is_choice);
        let radius = RADIUS * (numbers.len().max(1) as f64).sqrt();
        Self { pending, numbers, choices, radius }
    }

    /// The squared distance over numeric parameters; `None` where a choice or an active parameter differs.
    fn square(&self, a: &[f64], b: &[f64]) -> Option<f64> {
        let alike = |k: &usize| a[*k] == b[*k] || (a[*k].is_nan() && b[*k].is_nan());
        if !self.choices.iter().all(alike) {
            return None;
        }
        let mut square = 0.0;
        for &k in &self.numbers {
            match (a[k].is_nan(), b[k].is_nan()) {
                (true, true) => {}
                (false, false) => square += (a[k] - b[k]).powi(2),
                (true, false) | (false, true) => return None,
            }
        }
        Some(square)
    }
}

impl Acquisition for Apart<'_> {
    fn value(&self, unit: &[f64]) -> f64 {
        let halves = self.pending.iter().filter_map(|other| self.square(unit, other));
        halves.map(|square| (-(-0.5 * square / (self.radius * self.radius)).exp_m1()).ln()).sum()
    }

    /// With t = d² / 2r², the slope of ln(1 − e⁻ᵗ) is t' / (eᵗ − 1).
    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        let mut slope = vec![0.0; unit.len()];
        let scale = self.radius * self.radius;
        for other in self.pending {
            let Some(square) = self.square(unit, other).filter(|square| *square > 0.0) else { continue };
            let pull = 1.0 / (scale * (0.5 * square / scale).exp_m1());
            for &k in self.numbers.iter().filter(|k| !unit[**k].is_nan()) {
                slope[k] += (unit[k] - other[k]) * pull;
            }
        }
        Some((self.value(unit), slope))
    }
}
