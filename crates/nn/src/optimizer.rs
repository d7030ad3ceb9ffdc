//! Optimisers: one fused pass over all parameters of a network, kept in one slice.

use pulp::Arch;
use serde::{Deserialize, Serialize};

use crate::naming::named_choices;

named_choices! {
    /// Which update rule; [`Optimizer`] has the formulas.
    OptimizerKind {
        /// Stochastic gradient descent, with or without momentum.
        Sgd = "sgd",
        /// Adam (Kingma and Ba 2015, algorithm 1).
        Adam = "adam",
    }
}

impl OptimizerKind {
    /// The learning rate used when none is set: 0.01 for SGD, 0.001 for Adam (as Keras).
    pub fn default_learning_rate(self) -> f64 {
        match self {
            Self::Sgd => 0.01,
            Self::Adam => 0.001,
        }
    }

    /// Names of the per-parameter numbers it remembers between steps, as checkpoints call them.
    pub fn slots(self) -> &'static [&'static str] {
        match self {
            Self::Sgd => &["velocity"],
            Self::Adam => &["mean", "square"],
        }
    }
}

/// An update rule with its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// v ← μ v + g, then w ← w − η v; with `nesterov` w ← w − η (g + μ v). `PyTorch`'s convention: the learning rate
    /// is outside the velocity, so that changing it acts at once.
    Sgd {
        /// μ, in [0, 1).
        momentum: f64,
        /// Look ahead along the velocity (Sutskever et al. 2013).
        nesterov: bool,
    },
    /// m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; w ← w − η m̂ / (√v̂ + ε), where m̂ = m / (1 − β₁ᵗ) and
    /// v̂ = v / (1 − β₂ᵗ).
    Adam {
        /// β₁, in [0, 1).
        beta1: f64,
        /// β₂, in [0, 1).
        beta2: f64,
        /// ε, above 0.
        epsilon: f64,
    },
}

impl Optimizer {
    /// Its kind.
    pub fn kind(&self) -> OptimizerKind {
        match self {
            Self::Sgd { .. } => OptimizerKind::Sgd,
            Self::Adam { .. } => OptimizerKind::Adam,
        }
    }

    /// One step: `step` counts from 1; `slots` are the slices named by [`OptimizerKind::slots`], zero before step 1.
    /// All slices have the length of `weights`.
    pub(crate) fn update(
        &self,
        arch: Arch,
        weights: &mut [f32],
        gradients: &[f32],
        slots: &mut [Vec<f32>],
        learning_rate: f64,
        step: u64,
    ) {
        match (*self, slots) {
            (Self::Sgd { momentum, nesterov }, [velocity]) => {
                let (rate, momentum) = (learning_rate as f32, momentum as f32);
                arch.dispatch(|| sgd(weights, gradients, velocity, rate, momentum, nesterov));
            }
            (Self::Adam { beta1, beta2, epsilon }, [mean, square]) => {
                let correction1 = 1.0 - power(beta1, step);
                let correction2 = 1.0 - power(beta2, step);
                let constants = AdamStep {
                    beta1: beta1 as f32,
                    rest1: (1.0 - beta1) as f32,
                    beta2: beta2 as f32,
                    rest2: (1.0 - beta2) as f32,
                    rate: (learning_rate / correction1) as f32,
                    root: (1.0 / correction2.sqrt()) as f32,
                    epsilon: epsilon as f32,
                };
                arch.dispatch(|| adam(weights, gradients, mean, square, constants));
            }
            (_, slots) => unreachable!("{} optimiser slots for {self:?}", slots.len()),
        }
    }
}

/// baseⁿ by squaring: the same bits everywhere, unlike the platform's `pow`.
fn power(base: f64, mut exponent: u64) -> f64 {
    let (mut result, mut square) = (1.0, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}

#[inline]
fn sgd(
    weights: &mut [f32],
    gradients: &[f32],
    velocity: &mut [f32],
    rate: f32,
    momentum: f32,
    nesterov: bool,
) {
    let (own, along) = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
    for ((w, &g), v) in weights.iter_mut().zip(gradients).zip(velocity) {
        *v = momentum * *v + g;
        *w -= rate * (own * g + along * *v);
    }
}

/// The numbers of one Adam step that do not depend on the parameter.
#[derive(Clone, Copy)]
struct AdamStep {
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    /// η / (1 − β₁ᵗ).
    rate: f32,
    /// 1 / √(1 − β₂ᵗ).
    root: f32,
    epsilon: f32,
}

#[inline]
fn adam(weights: &mut [f32], gradients: &[f32], mean: &mut [f32], square: &mut [f32], c: AdamStep) {
    for (((w, &g), m), v) in weights.iter_mut().zip(gradients).zip(mean).zip(square) {
        *m = c.beta1 * *m + c.rest1 * g;
        *v = c.beta2 * *v + c.rest2 * (g * g);
        *w -= c.rate * *m / (v.sqrt() * c.root + c.epsilon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_agree_with_the_platform() {
        for step in [1u64, 2, 3, 10, 1000, 123_456] {
            assert!((power(0.999, step) - 0.999f64.powf(step as f64)).abs() < 1e-12);
        }
    }
}
