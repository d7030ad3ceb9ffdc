//! Update rules: one fused pass over parameters that lie in one slice. Penalties, clipping, decay and limits on
//! weights are not here but around it, in [`crate::update`].
//!
//! Where Keras and `PyTorch` write a rule differently, this is `PyTorch`'s form: the learning rate multiplies last, so
//! that a schedule acts at once and not through the velocity, and ε is added outside the square root. The formulas
//! at each variant of [`Optimizer`] are the ones computed. No sums are reordered, so the SIMD level of the machine
//! does not change a bit.

use std::ops::Range;

use pulp::Arch;
use serde::{Deserialize, Serialize};

use crate::naming::named_choices;

named_choices! {
    /// Which update rule; [`Optimizer`] has the formulas.
    OptimizerKind {
        /// Stochastic gradient descent; it too takes a momentum, 0 unless set.
        Sgd = "sgd",
        /// SGD with momentum, 0.9 unless set (Polyak 1964).
        Momentum = "momentum",
        /// SGD with Nesterov's momentum, 0.9 unless set (Sutskever et al. 2013).
        Nesterov = "nesterov",
        /// `RMSprop` (Tieleman and Hinton 2012), not centred, with momentum if set.
        Rmsprop = "rmsprop",
        /// Adagrad (Duchi et al. 2011).
        Adagrad = "adagrad",
        /// Adam (Kingma and Ba 2015, algorithm 1).
        Adam = "adam",
        /// Adam with decoupled weight decay (Loshchilov and Hutter 2019), 0.01 unless set.
        AdamW = "adamw",
        /// Adam with Nesterov's momentum (Dozat 2016).
        NAdam = "nadam",
        /// Lion: steps by the sign of a mean (Chen et al. 2023).
        Lion = "lion",
    }
}

impl OptimizerKind {
    /// The learning rate used when none is set: 0.01 for the SGD family and Adagrad, 0.0001 for Lion, 0.001 for the
    /// others. As Keras but for Adagrad, where that is `PyTorch`'s (Keras has 0.001, with which it hardly moves).
    /// `PyTorch` has 0.001 for SGD, 0.01 for `RMSprop` and 0.002 for `NAdam`.
    pub fn default_learning_rate(self) -> f64 {
        match self {
            Self::Sgd | Self::Momentum | Self::Nesterov | Self::Adagrad => 0.01,
            Self::Rmsprop | Self::Adam | Self::AdamW | Self::NAdam => 0.001,
            Self::Lion => 0.0001,
        }
    }

    /// The momentum used when none is set: 0.9 for `momentum` and `nesterov`, otherwise 0.
    pub fn default_momentum(self) -> f64 {
        match self {
            Self::Momentum | Self::Nesterov => 0.9,
            Self::Sgd
            | Self::Rmsprop
            | Self::Adagrad
            | Self::Adam
            | Self::AdamW
            | Self::NAdam
            | Self::Lion => 0.0,
        }
    }

    /// The β₂ used when none is set: 0.99 for Lion (the paper's), otherwise 0.999.
    pub fn default_beta2(self) -> f64 {
        if self == Self::Lion { 0.99 } else { 0.999 }
    }

    /// The decoupled weight decay used when none is set: 0.01 for `AdamW` (as `PyTorch`; Keras has 0.004), otherwise 0.
    pub fn default_weight_decay(self) -> f64 {
        if self == Self::AdamW { 0.01 } else { 0.0 }
    }

    /// The rule of this kind with default constants: β₁ 0.9, ρ 0.9 (`PyTorch` calls it `alpha`, 0.99), ε 1e-8
    /// everywhere (Keras has 1e-7, `PyTorch`'s Adagrad 1e-10), Adagrad's accumulator from 0.1 (as Keras; `PyTorch` 0).
    pub fn rule(self) -> Optimizer {
        let (beta1, beta2, epsilon) = (0.9, self.default_beta2(), 1e-8);
        let momentum = self.default_momentum();
        match self {
            Self::Sgd | Self::Momentum => Optimizer::Sgd { momentum, nesterov: false },
            Self::Nesterov => Optimizer::Sgd { momentum, nesterov: true },
            Self::Rmsprop => Optimizer::Rmsprop { rho: 0.9, momentum, epsilon },
            Self::Adagrad => Optimizer::Adagrad { initial_accumulator: 0.1, epsilon },
            Self::Adam => Optimizer::Adam { beta1, beta2, epsilon },
            Self::AdamW => Optimizer::AdamW { beta1, beta2, epsilon },
            Self::NAdam => Optimizer::NAdam { beta1, beta2, epsilon },
            Self::Lion => Optimizer::Lion { beta1, beta2 },
        }
    }

    /// Names of the per-parameter numbers it remembers between steps, as checkpoints call them. The SGD family
    /// shares one list, so that a run may be continued with another momentum.
    pub fn slots(self) -> &'static [&'static str] {
        match self {
            Self::Sgd | Self::Momentum | Self::Nesterov => &["velocity"],
            Self::Rmsprop => &["square", "velocity"],
            Self::Adagrad => &["square"],
            Self::Adam | Self::AdamW | Self::NAdam => &["mean", "square"],
            Self::Lion => &["mean"],
        }
    }
}

/// An update rule with its constants. In the formulas w is a weight, g its gradient, η the learning rate and t the
/// number of the step from 1; all remembered numbers begin at 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// v ← μ v + g, then w ← w − η v; with `nesterov` w ← w − η (g + μ v). Keras has η inside v, which differs only
    /// while η changes.
    Sgd {
        /// μ, in [0, 1).
        momentum: f64,
        /// Look ahead along the velocity.
        nesterov: bool,
    },
    /// s ← ρ s + (1 − ρ) g²; v ← μ v + g / (√s + ε); w ← w − η v. Keras has √(s + ε), and η inside v.
    Rmsprop {
        /// ρ, in [0, 1).
        rho: f64,
        /// μ, in [0, 1).
        momentum: f64,
        /// ε, above 0.
        epsilon: f64,
    },
    /// s ← s + g²; w ← w − η g / (√(s₀ + s) + ε). Keras has √(s₀ + s + ε).
    Adagrad {
        /// s₀, at least 0.
        initial_accumulator: f64,
        /// ε, above 0.
        epsilon: f64,
    },
    /// m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; w ← w − η m̂ / (√v̂ + ε), where m̂ = m / (1 − β₁ᵗ) and
    /// v̂ = v / (1 − β₂ᵗ). Keras adds its ε to √v instead ("ε̂" in the paper).
    Adam {
        /// β₁, in [0, 1).
        beta1: f64,
        /// β₂, in [0, 1).
        beta2: f64,
        /// ε, above 0.
        epsilon: f64,
    },
    /// The step of Adam. The decay that makes it `AdamW` is [`crate::UpdateSettings::weight_decay`], which every rule
    /// can have.
    #[serde(rename = "adamw")]
    AdamW {
        /// β₁, in [0, 1).
        beta1: f64,
        /// β₂, in [0, 1).
        beta2: f64,
        /// ε, above 0.
        epsilon: f64,
    },
    /// m and v as Adam; w ← w − η [(1 − μₜ) g / (1 − Πₜ) + μₜ₊₁ m / (1 − Πₜ μₜ₊₁)] / (√v̂ + ε), where
    /// μₜ = β₁ (1 − ½ 0.96^(ψ t)), Πₜ = μ₁ μ₂ … μₜ and ψ = 0.004 as in `PyTorch` (in Keras ψ is 1).
    #[serde(rename = "nadam")]
    NAdam {
        /// β₁, in [0, 1).
        beta1: f64,
        /// β₂, in [0, 1).
        beta2: f64,
        /// ε, above 0.
        epsilon: f64,
    },
    /// w ← w − η sign(β₁ m + (1 − β₁) g), then m ← β₂ m + (1 − β₂) g, with sign(0) = 0.
    Lion {
        /// β₁, in [0, 1).
        beta1: f64,
        /// β₂, in [0, 1).
        beta2: f64,
    },
}

/// What a step depends on besides the parameters' own numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// η.
    pub(crate) learning_rate: f64,
    /// t, from 1.
    pub(crate) number: u64,
    /// Πₜ of [`Optimizer::NAdam`]; see [`Optimizer::momentum_product`].
    pub(crate) momentum_product: f64,
    /// The fraction of each weight taken off besides the rule's own step.
    pub(crate) decay: f64,
}

impl Optimizer {
    /// Its kind. SGD is `nesterov` or `momentum` when it has that.
    pub fn kind(&self) -> OptimizerKind {
        match *self {
            Self::Sgd { nesterov: true, .. } => OptimizerKind::Nesterov,
            Self::Sgd { momentum, .. } if momentum > 0.0 => OptimizerKind::Momentum,
            Self::Sgd { .. } => OptimizerKind::Sgd,
            Self::Rmsprop { .. } => OptimizerKind::Rmsprop,
            Self::Adagrad { .. } => OptimizerKind::Adagrad,
            Self::Adam { .. } => OptimizerKind::Adam,
            Self::AdamW { .. } => OptimizerKind::AdamW,
            Self::NAdam { .. } => OptimizerKind::NAdam,
            Self::Lion { .. } => OptimizerKind::Lion,
        }
    }

    /// One step of everything: `step` counts from 1; `slots` are the slices named by [`OptimizerKind::slots`], zero
    /// before step 1. All slices have the length of `weights`.
    #[cfg(test)]
    pub(crate) fn update(
        &self,
        arch: Arch,
        weights: &mut [f32],
        gradients: &[f32],
        slots: &mut [Vec<f32>],
        learning_rate: f64,
        step: u64,
    ) {
        let momentum_product = self.momentum_product(step);
        let step = Step { learning_rate, number: step, momentum_product, decay: 0.0 };
        self.update_range(arch, weights, gradients, slots, 0..weights.len(), step);
    }

    /// One step of the parameters in `range` alone.
    pub(crate) fn update_range(
        &self,
        arch: Arch,
        weights: &mut [f32],
        gradients: &[f32],
        slots: &mut [Vec<f32>],
        range: Range<usize>,
        step: Step,
    ) {
        let (w, g) = (&mut weights[range.clone()], &gradients[range.clone()]);
        let (rate, decay) = (step.learning_rate as f32, step.decay as f32);
        match (*self, slots) {
            (Self::Sgd { momentum, nesterov }, [velocity]) => {
                let (v, momentum) = (&mut velocity[range], momentum as f32);
                arch.dispatch(|| sgd(w, g, v, rate, momentum, nesterov, decay));
            }
            (Self::Rmsprop { rho, momentum, epsilon }, [square, velocity]) => {
                let (s, v) = (&mut square[range.clone()], &mut velocity[range]);
                let (momentum, epsilon) = (momentum as f32, epsilon as f32);
                let mix = (rho as f32, (1.0 - rho) as f32);
                arch.dispatch(|| rmsprop(w, g, s, v, mix, momentum, rate, epsilon, decay));
            }
            (Self::Adagrad { initial_accumulator, epsilon }, [square]) => {
                let (s, initial, epsilon) = (&mut square[range], initial_accumulator as f32, epsilon as f32);
                arch.dispatch(|| adagrad(w, g, s, initial, rate, epsilon, decay));
            }
            (
                Self::Adam { beta1, beta2, epsilon } | Self::AdamW { beta1, beta2, epsilon },
                [mean, square],
            ) => {
                let along = step.learning_rate / (1.0 - power(beta1, step.number));
                let constants = Moments::new(beta1, beta2, epsilon, along, step);
                let (m, v) = (&mut mean[range.clone()], &mut square[range]);
                arch.dispatch(|| adam(w, g, m, v, constants));
            }
            (Self::NAdam { beta1, beta2, epsilon }, [mean, square]) => {
                let (now, next) =
                    (scheduled_momentum(beta1, step.number), scheduled_momentum(beta1, step.number + 1));
                let own = step.learning_rate * (1.0 - now) / (1.0 - step.momentum_product);
                let along = step.learning_rate * next / (1.0 - step.momentum_product * next);
                let constants = Moments::new(beta1, beta2, epsilon, along, step);
                let (m, v) = (&mut mean[range.clone()], &mut square[range]);
                arch.dispatch(|| nadam(w, g, m, v, own as f32, constants));
            }
            (Self::Lion { beta1, beta2 }, [mean]) => {
                let m = &mut mean[range];
                let (mix1, mix2) =
                    ((beta1 as f32, (1.0 - beta1) as f32), (beta2 as f32, (1.0 - beta2) as f32));
                arch.dispatch(|| lion(w, g, m, mix1, mix2, rate, decay));
            }
            (_, slots) => unreachable!("{} optimiser slots for {self:?}", slots.len()),
        }
    }

    /// Πₜ after `steps` steps; 1 for all rules but `NAdam`. Takes time until the product vanishes in 1 − Πₜ; whoever
    /// goes on step by step uses [`Self::next_momentum_product`].
    pub(crate) fn momentum_product(&self, steps: u64) -> f64 {
        let mut product = 1.0;
        for step in 1..=steps {
            let next = self.next_momentum_product(product, step);
            if next == product {
                break;
            }
            product = next;
        }
        product
    }

    /// Πₜ from Πₜ₋₁. Below 2⁻⁶⁰, where it no longer changes 1 − Πₜ, it is 0.
    pub(crate) fn next_momentum_product(&self, product: f64, step: u64) -> f64 {
        match *self {
            Self::NAdam { beta1, .. } => {
                let next = product * scheduled_momentum(beta1, step);
                if next < 2f64.powi(-60) { 0.0 } else { next }
            }
            Self::Sgd { .. }
            | Self::Rmsprop { .. }
            | Self::Adagrad { .. }
            | Self::Adam { .. }
            | Self::AdamW { .. }
            | Self::Lion { .. } => 1.0,
        }
    }
}

/// μₜ of `NAdam`.
fn scheduled_momentum(beta1: f64, step: u64) -> f64 {
    const MOMENTUM_DECAY: f64 = 0.004;
    beta1 * (1.0 - 0.5 * libm::pow(0.96, MOMENTUM_DECAY * step as f64))
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
fn sgd(w: &mut [f32], g: &[f32], v: &mut [f32], rate: f32, momentum: f32, nesterov: bool, decay: f32) {
    let (own, along) = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
    for ((w, &g), v) in w.iter_mut().zip(g).zip(v) {
        *v = momentum * *v + g;
        *w -= rate * (own * g + along * *v) + decay * *w;
    }
}

#[inline]
#[allow(clippy::too_many_arguments, reason = "slices and constants of one loop")]
fn rmsprop(
    w: &mut [f32],
    g: &[f32],
    s: &mut [f32],
    v: &mut [f32],
    (rho, rest): (f32, f32),
    momentum: f32,
    rate: f32,
    epsilon: f32,
    decay: f32,
) {
    for (((w, &g), s), v) in w.iter_mut().zip(g).zip(s).zip(v) {
        *s = rho * *s + rest * (g * g);
        *v = momentum * *v + g / (s.sqrt() + epsilon);
        *w -= rate * *v + decay * *w;
    }
}

#[inline]
fn adagrad(w: &mut [f32], g: &[f32], s: &mut [f32], initial: f32, rate: f32, epsilon: f32, decay: f32) {
    for ((w, &g), s) in w.iter_mut().zip(g).zip(s) {
        *s += g * g;
        *w -= rate * g / ((initial + *s).sqrt() + epsilon) + decay * *w;
    }
}

/// The numbers of one step of Adam or `NAdam` that do not depend on the parameter.
#[derive(Clone, Copy)]
struct Moments {
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    /// What multiplies m.
    along: f32,
    /// 1 / √(1 − β₂ᵗ).
    root: f32,
    epsilon: f32,
    decay: f32,
}

impl Moments {
    fn new(beta1: f64, beta2: f64, epsilon: f64, along: f64, step: Step) -> Self {
        Self {
            beta1: beta1 as f32,
            rest1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
            along: along as f32,
            root: (1.0 / (1.0 - power(beta2, step.number)).sqrt()) as f32,
            epsilon: epsilon as f32,
            decay: step.decay as f32,
        }
    }
}

#[inline]
fn adam(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], c: Moments) {
    for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        *m = c.beta1 * *m + c.rest1 * g;
        *v = c.beta2 * *v + c.rest2 * (g * g);
        *w -= c.along * *m / (v.sqrt() * c.root + c.epsilon) + c.decay * *w;
    }
}

#[inline]
fn nadam(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], own: f32, c: Moments) {
    for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        *m = c.beta1 * *m + c.rest1 * g;
        *v = c.beta2 * *v + c.rest2 * (g * g);
        *w -= (own * g + c.along * *m) / (v.sqrt() * c.root + c.epsilon) + c.decay * *w;
    }
}

#[inline]
fn lion(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    (beta1, rest1): (f32, f32),
    (beta2, rest2): (f32, f32),
    rate: f32,
    decay: f32,
) {
    for ((w, &g), m) in w.iter_mut().zip(g).zip(m) {
        let mixed = beta1 * *m + rest1 * g;
        *m = beta2 * *m + rest2 * g;
        // The last term is 0, but NaN if the gradient is: a divergence must not be hidden by a sign.
        let sign = f32::from(u8::from(mixed > 0.0)) - f32::from(u8::from(mixed < 0.0)) + 0.0 * mixed;
        *w -= rate * sign + decay * *w;
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

    #[test]
    fn momentum_products_are_the_same_in_one_go_and_step_by_step() {
        let rule = OptimizerKind::NAdam.rule();
        let mut product = 1.0;
        for step in 1..=2000 {
            product = rule.next_momentum_product(product, step);
            assert_eq!(product, rule.momentum_product(step));
        }
        assert_eq!(product, 0.0);
    }

    #[test]
    fn rules_and_kinds_agree() {
        for &kind in OptimizerKind::ALL {
            assert_eq!(kind.rule().kind(), kind);
            let text = serde_json::to_string(&kind.rule()).unwrap();
            assert_eq!(serde_json::from_str::<Optimizer>(&text).unwrap(), kind.rule(), "{text}");
        }
        assert_eq!(OptimizerKind::named("AdamW"), Some(OptimizerKind::AdamW));
        assert_eq!(OptimizerKind::named("RMSprop"), Some(OptimizerKind::Rmsprop));
    }

    #[test]
    fn no_rule_hides_a_gradient_that_is_not_a_number() {
        for &kind in OptimizerKind::ALL {
            let mut slots = vec![vec![0.0; 1]; kind.slots().len()];
            let mut weights = [1.0];
            kind.rule().update(Arch::new(), &mut weights, &[f32::NAN], &mut slots, 0.1, 1);
            assert!(weights[0].is_nan(), "{kind} gives {}", weights[0]);
        }
    }
}
