//! Activation functions with their slopes, one pair of numbers at a time; loops over them are the engine's.
#![allow(
    clippy::inline_always,
    reason = "these must be inlined into a loop compiled for the machine's SIMD level"
)]

use crate::elementary::{exp, ln_1p, logistic, normal_distribution, tanh};
use crate::naming::named_choices;

named_choices! {
    /// What a layer applies to its weighted sums.
    Activation {
        /// x.
        Linear = "linear",
        /// 1 / (1 + e⁻ˣ).
        Sigmoid = "sigmoid",
        /// tanh x.
        Tanh = "tanh",
        /// max(x, 0); slope 0 at 0.
        Relu = "relu",
        /// x, or 0.01 x where x is negative (Maas et al. 2013; `PyTorch`'s slope, Keras has 0.2).
        LeakyRelu = "leaky_relu",
        /// x, or eˣ − 1 where x is negative (Clevert et al. 2016, α = 1).
        Elu = "elu",
        /// The self-normalising unit (Klambauer et al. 2017): 1.0507 x, or 1.0507 · 1.6733 (eˣ − 1) where x is negative.
        Selu = "selu",
        /// x Φ(x), with the exact normal distribution function (Hendrycks and Gimpel 2016).
        Gelu = "gelu",
        /// x / (1 + e⁻ˣ), also called swish.
        Silu = "silu",
        /// ln(1 + eˣ).
        Softplus = "softplus",
        /// eˣ / Σ eˣ over the features of a row (of each step of a sequence).
        Softmax = "softmax",
    }
}

/// Binds `$function` to the (value, slope) function of an activation and evaluates `$body` with it: a loop inside
/// the body is compiled once per activation, with the function inlined. Not for softmax, which is no function of one
/// number: its layers are run apart.
macro_rules! with_activation {
    ($activation:expr, $function:ident => $body:expr) => {{
        use $crate::activation as choices;
        match $activation {
            choices::Activation::Linear => {
                let $function = choices::linear;
                $body
            }
            choices::Activation::Sigmoid => {
                let $function = choices::sigmoid;
                $body
            }
            choices::Activation::Tanh => {
                let $function = choices::hyperbolic;
                $body
            }
            choices::Activation::Relu => {
                let $function = choices::relu;
                $body
            }
            choices::Activation::LeakyRelu => {
                let $function = choices::leaky_relu;
                $body
            }
            choices::Activation::Elu => {
                let $function = choices::elu;
                $body
            }
            choices::Activation::Selu => {
                let $function = choices::selu;
                $body
            }
            choices::Activation::Gelu => {
                let $function = choices::gelu;
                $body
            }
            choices::Activation::Silu => {
                let $function = choices::silu;
                $body
            }
            choices::Activation::Softplus => {
                let $function = choices::softplus;
                $body
            }
            choices::Activation::Softmax => unreachable!("softmax needs a whole row"),
        }
    }};
}
pub(crate) use with_activation;

#[inline(always)]
pub(crate) fn linear(x: f32) -> (f32, f32) {
    (x, 1.0)
}

#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> (f32, f32) {
    let y = logistic(x);
    (y, y * (1.0 - y))
}

#[inline(always)]
pub(crate) fn hyperbolic(x: f32) -> (f32, f32) {
    let y = tanh(x);
    (y, 1.0 - y * y)
}

// A comparison with NaN is false, so `x <= 0` (rather than `x > 0`) lets NaN through to the loss, where it is caught.
#[inline(always)]
pub(crate) fn relu(x: f32) -> (f32, f32) {
    if x <= 0.0 { (0.0, 0.0) } else { (x, 1.0) }
}

#[inline(always)]
pub(crate) fn leaky_relu(x: f32) -> (f32, f32) {
    const SLOPE: f32 = 0.01;
    if x <= 0.0 { (SLOPE * x, SLOPE) } else { (x, 1.0) }
}

#[inline(always)]
pub(crate) fn elu(x: f32) -> (f32, f32) {
    let e = exp(x);
    if x <= 0.0 { (e - 1.0, e) } else { (x, 1.0) }
}

#[inline(always)]
pub(crate) fn selu(x: f32) -> (f32, f32) {
    const SCALE: f32 = 1.050_701;
    const SCALED_ALPHA: f32 = 1.758_099_3;
    let e = exp(x);
    if x <= 0.0 { (SCALED_ALPHA * (e - 1.0), SCALED_ALPHA * e) } else { (SCALE * x, SCALE) }
}

#[inline(always)]
pub(crate) fn gelu(x: f32) -> (f32, f32) {
    let (below, density) = normal_distribution(x);
    (x * below, below + x * density)
}

#[inline(always)]
pub(crate) fn silu(x: f32) -> (f32, f32) {
    let s = logistic(x);
    (x * s, s * (1.0 + x * (1.0 - s)))
}

#[inline(always)]
pub(crate) fn softplus(x: f32) -> (f32, f32) {
    let positive = if x <= 0.0 { 0.0 } else { x };
    (positive + ln_1p(exp(-x.abs())), logistic(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Linear => x,
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Relu => x.max(0.0),
            Activation::LeakyRelu => x.max(0.01 * x),
            Activation::Elu => x.max(0.0) + x.min(0.0).exp_m1(),
            Activation::Selu => {
                1.050_700_987_355_480_5 * (x.max(0.0) + 1.673_263_242_354_377_2 * x.min(0.0).exp_m1())
            }
            Activation::Gelu => 0.5 * x * libm::erfc(-x / 2f64.sqrt()),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Softplus => x.exp().ln_1p(),
            Activation::Softmax => unreachable!("not of one number"),
        }
    }

    fn elementwise() -> impl Iterator<Item = Activation> {
        Activation::ALL.iter().copied().filter(|&activation| activation != Activation::Softmax)
    }

    #[test]
    fn values_and_slopes_agree_with_double_precision() {
        for activation in elementwise() {
            for i in -799..800 {
                let x = f64::from(i) / 100.0 + 0.0025;
                let (value, slope) = with_activation!(activation, f => f(x as f32));
                let h = 1e-6;
                let difference = (exact(activation, x + h) - exact(activation, x - h)) / (2.0 * h);
                let want = exact(activation, x);
                assert!((f64::from(value) - want).abs() < 2e-6, "{activation}({x}) is {value}, not {want}");
                assert!(
                    (f64::from(slope) - difference).abs() < 5e-6,
                    "slope of {activation} at {x}: {slope}, not {difference}"
                );
            }
        }
    }

    #[test]
    fn not_a_number_passes_through_every_activation() {
        for activation in elementwise() {
            let (value, _) = with_activation!(activation, f => f(f32::NAN));
            assert!(value.is_nan(), "{activation} hides NaN");
        }
    }

    #[test]
    fn names_are_read_as_keras_and_others_write_them() {
        assert_eq!(Activation::named("leakyRelu"), Some(Activation::LeakyRelu));
        assert_eq!(Activation::named("RELU"), Some(Activation::Relu));
        assert_eq!(Activation::named("swoosh"), None);
    }
}
