//! exp, ln, tanh and the normal distribution function in single precision, without branches or tables, so that
//! loops over them become SIMD code and give the same bits on every machine. Not for use outside the engine: the
//! results saturate where a network no longer cares.
//!
//! Polynomials: Cephes (S. Moshier), `expf`, `logf`, `tanhf`; Abramowitz and Stegun 7.1.26. Absolute errors stay
//! below 3e-7 relative to the largest value involved; NaN goes in, NaN comes out.
#![allow(
    clippy::inline_always,
    reason = "these must be inlined into a loop compiled for the machine's SIMD level"
)]
#![allow(clippy::excessive_precision, reason = "coefficients are kept as published")]

use std::f32::consts::LOG2_E;

/// ln 2 in two parts; the first has few bits, so that its products with small integers are exact.
const LN2_HIGH: f32 = 0.693_359_375;
const LN2_LOW: f32 = -2.121_944_40e-4;

/// eˣ, held between e⁻⁸⁷ and e⁸⁸ instead of reaching zero or infinity.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2²³ rounds to an integer that then sits in the low bits of the sum.
    const ROUNDER: f32 = 12_582_912.0;
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let rounded = x * LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_15e-4;
    p = p * r + 1.398_199_950_7e-3;
    p = p * r + 8.333_451_907_3e-3;
    p = p * r + 4.166_579_589_4e-2;
    p = p * r + 1.666_666_545_9e-1;
    p = p * r + 5.000_000_120_1e-1;
    let mantissa = p * r * r + r + 1.0;
    let exponent = rounded.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127);
    mantissa * f32::from_bits(exponent << 23)
}

/// ln x for positive, normal x; infinity gives NaN.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3F35_04F3;
    let exponent = (x.to_bits().wrapping_sub(SQRT_HALF) as i32) >> 23;
    let m = f32::from_bits(x.to_bits().wrapping_sub((exponent as u32) << 23)) - 1.0;
    let e = exponent as f32;
    let z = m * m;
    let mut p = 7.037_683_629_2e-2;
    p = p * m - 1.151_461_031e-1;
    p = p * m + 1.167_699_874e-1;
    p = p * m - 1.242_014_084_6e-1;
    p = p * m + 1.424_932_278_7e-1;
    p = p * m - 1.666_805_766_5e-1;
    p = p * m + 2.000_071_476_5e-1;
    p = p * m - 2.499_999_399_3e-1;
    p = p * m + 3.333_333_117_4e-1;
    // Taking the bits apart would make a number of NaN; a zero times x brings it back.
    m + (p * m * z + e * LN2_LOW - 0.5 * z) + e * LN2_HIGH + 0.0 * x
}

/// ln(1 + u) for u from 0 to 1, with small u kept.
#[inline(always)]
pub(crate) fn ln_1p(u: f32) -> f32 {
    let sum = 1.0 + u;
    if sum == 1.0 { u } else { ln(sum) * (u / (sum - 1.0)) }
}

/// The hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    let large = 1.0 - 2.0 / (exp(magnitude + magnitude) + 1.0);
    let z = x * x;
    let mut p = -5.704_988_727_45e-3;
    p = p * z + 2.063_908_879_54e-2;
    p = p * z - 5.373_971_555_31e-2;
    p = p * z + 1.333_144_220_36e-1;
    p = p * z - 3.333_328_194_22e-1;
    let small = p * z * x + x;
    if magnitude < 0.625 { small } else { large.copysign(x) }
}

/// The logistic function 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(crate) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Φ and its derivative φ of the standard normal distribution.
#[inline(always)]
pub(crate) fn normal_distribution(x: f32) -> (f32, f32) {
    const SQRT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
    const INV_SQRT_TWO_PI: f32 = 0.398_942_280_4;
    let bell = exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.327_591_1 * (x.abs() * SQRT_HALF));
    let mut p = 1.061_405_429;
    p = p * t - 1.453_152_027;
    p = p * t + 1.421_413_741;
    p = p * t - 0.284_496_736;
    p = p * t + 0.254_829_592;
    let tail = 0.5 * p * t * bell;
    (if x < 0.0 { tail } else { 1.0 - tail }, bell * INV_SQRT_TWO_PI)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, range: (f64, f64), ours: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) {
        for i in 0..=20_000 {
            let x = (range.0 + (range.1 - range.0) * f64::from(i) / 20_000.0) as f32;
            let (got, want) = (f64::from(ours(x)), exact(f64::from(x)));
            assert!((got - want).abs() <= 3e-7 * want.abs().max(1.0), "{name}({x}) is {got}, not {want}");
        }
    }

    #[test]
    fn functions_agree_with_double_precision() {
        check("exp", (-86.0, 5.0), exp, f64::exp);
        check("ln", (1e-3, 100.0), ln, f64::ln);
        check("ln_1p", (0.0, 1.0), ln_1p, f64::ln_1p);
        check("tanh", (-12.0, 12.0), tanh, f64::tanh);
        check("logistic", (-40.0, 40.0), logistic, |x| 1.0 / (1.0 + (-x).exp()));
        check("normal", (-8.0, 8.0), |x| normal_distribution(x).0, |x| 0.5 * libm::erfc(-x / 2f64.sqrt()));
    }

    #[test]
    fn relative_error_of_exp_is_small_everywhere() {
        for i in -8600..=8700 {
            let x = i as f32 / 100.0;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) / want - 1.0).abs() < 3e-7, "exp({x})");
        }
    }

    #[test]
    fn not_a_number_is_never_hidden() {
        let nan = f32::NAN;
        assert!(
            exp(nan).is_nan()
                && ln(nan).is_nan()
                && ln_1p(nan).is_nan()
                && tanh(nan).is_nan()
                && logistic(nan).is_nan()
        );
        assert!(normal_distribution(nan).0.is_nan());
        assert!(exp(f32::INFINITY) > 1e38 && exp(f32::NEG_INFINITY) < 1e-37);
    }
}
