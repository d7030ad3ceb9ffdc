//! The normal distribution where it is delicate: far tails, narrow intervals, and draws between two bounds.
//!
//! `erfc` is libm's: that of statrs 0.19 is off by up to 1e-10, and by other amounts on either side of its joints.

use std::f64::consts::SQRT_2;

use libm::erfc;
use statrs::function::erf::erfc_inv;

/// ln √(2π).
pub const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

/// From here on a tail's logarithm is summed from its asymptotic series.
const FAR: f64 = 20.0;

/// Intervals with less [`reach`] have their mass from a series around the middle, which is cheaper.
const NARROW: f64 = 1.0;

/// 1 − Φ(z): the mass above `z`.
pub fn tail(z: f64) -> f64 {
    0.5 * erfc(z / SQRT_2)
}

/// ln(1 − Φ(z)), accurate in both tails.
pub fn log_tail(z: f64) -> f64 {
    if z > FAR {
        let r = 1.0 / (z * z);
        // Abramowitz and Stegun 26.2.12; the first term left out is below 1e-13.
        let series = 1.0
            - r * (1.0 - 3.0 * r * (1.0 - 5.0 * r * (1.0 - 7.0 * r * (1.0 - 9.0 * r * (1.0 - 11.0 * r)))));
        -0.5 * z * z - z.ln() - LN_SQRT_2PI + series.ln()
    } else if z > -1.0 {
        tail(z).ln()
    } else {
        (-tail(-z)).ln_1p()
    }
}

/// ln(Φ(b) − Φ(a)) for `a < b`; −∞ for an empty interval.
///
/// Relative accuracy of the mass: 1e-12 or better wherever the interval lies.
pub fn log_mass(a: f64, b: f64) -> f64 {
    if a >= b {
        return f64::NEG_INFINITY;
    }
    let (width, middle) = (b - a, f64::midpoint(a, b));
    if reach(width, middle) < NARROW {
        return log_mass_narrow(width, middle);
    }
    log_mass_wide(a, b)
}

/// The same from the tails, taken on the side where they do not cancel.
fn log_mass_wide(a: f64, b: f64) -> f64 {
    if b <= 0.0 {
        log_tail_mass(-b, -a)
    } else if a >= 0.0 {
        log_tail_mass(a, b)
    } else {
        (-tail(-a) - tail(b)).ln_1p()
    }
}

/// ln(Φ(b) − Φ(a)) for 0 ≤ a < b.
fn log_tail_mass(a: f64, b: f64) -> f64 {
    if a < FAR { (tail(a) - tail(b)).ln() } else { log_difference(log_tail(a), log_tail(b)) }
}

/// The same by Taylor's series of the density around the middle m: with h half the width, the mass is
/// 2h φ(m) Σ He₂ⱼ(m) h²ʲ / (2j + 1)!, and term j is at most reach²ʲ / (2j + 1)!.
fn log_mass_narrow(width: f64, middle: f64) -> f64 {
    let (half, square) = (width / 2.0, reach(width, middle).powi(2));
    // He_n(m) hⁿ / n! and the one before, by the recurrence He_(n+1) = m He_n − n He_(n−1).
    let (mut last, mut this) = (1.0, middle * half);
    let (mut sum, mut bound, mut n) = (0.0, 1.0, 1.0);
    while bound > 1e-14 {
        let even = (middle * half * this - half * half * last) / (n + 1.0);
        let odd = (middle * half * even - half * half * this) / (n + 2.0);
        sum += even / (n + 2.0);
        bound *= square / ((n + 1.0) * (n + 2.0));
        (last, this) = (even, odd);
        n += 2.0;
    }
    width.ln() - 0.5 * middle * middle - LN_SQRT_2PI + sum.ln_1p()
}

/// A bound on the roots |Heₙ(m) hⁿ|^(1/n) up to n = 14: Heₙ(m) is the mean of (m + iZ)ⁿ, and E|Z|¹⁴ = 2.33¹⁴.
fn reach(width: f64, middle: f64) -> f64 {
    width / 2.0 * (middle.abs() + 2.4)
}

/// ln(eᵖ − e^q) for p > q.
fn log_difference(p: f64, q: f64) -> f64 {
    p + (-(q - p).exp()).ln_1p()
}

/// The point of \[0, 1\] below which lies the share `u` of a normal distribution cut off at 0 and 1.
///
/// `mean` must lie in \[0, 1\]: then both ends are in their own tails and nothing cancels.
pub fn truncated_quantile(mean: f64, sigma: f64, u: f64) -> f64 {
    quantile_between(mean, sigma, (tail(mean / sigma), tail((1.0 - mean) / sigma)), u)
}

/// The same where what is cut off below 0 and above 1 is known.
pub fn quantile_between(mean: f64, sigma: f64, (below, above): (f64, f64), u: f64) -> f64 {
    let mass = 1.0 - below - above;
    let lower = below + u * mass;
    let z = if lower < 0.5 {
        -SQRT_2 * erfc_inv(2.0 * lower)
    } else {
        SQRT_2 * erfc_inv(2.0 * (above + (1.0 - u) * mass))
    };
    (mean + sigma * z).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance * expected.abs(), "{name}: {found} is not {expected}");
    }

    /// Expected values from mpmath with 40 digits.
    #[test]
    fn tails_and_masses_agree_with_forty_digit_arithmetic() {
        check("log_tail(-3)", log_tail(-3.0), -0.001_350_809_964_748_193_8, 1e-13);
        check("log_tail(1)", log_tail(1.0), -1.841_021_645_009_263_5, 1e-14);
        check("log_tail(10)", log_tail(10.0), -53.231_285_150_512_47, 1e-14);
        check("log_tail(19.99)", log_tail(19.99), -203.716_707_717_208_44, 1e-14);
        check("log_tail(20.01)", log_tail(20.01), -204.117_702_778_659_9, 1e-13);
        check("log_tail(40)", log_tail(40.0), -804.608_442_013_753_8, 1e-14);
        check("log_mass(-1, 2)", log_mass(-1.0, 2.0), -0.200_166_294_324_462_6, 1e-13);
        check("log_mass(3, 5)", log_mass(3.0, 5.0), -6.607_938_594_596_893, 1e-13);
        check("log_mass(-5, -3)", log_mass(-5.0, -3.0), -6.607_938_594_596_893, 1e-13);
        check("log_mass(30, 31)", log_mass(30.0, 31.0), -454.321_243_956_343_25, 1e-13);
        check("log_mass(2, 2.00001)", log_mass(2.0, 2.00001), -14.431_873_998_174_9, 1e-11);
    }

    #[test]
    fn a_narrow_interval_is_computed_alike_on_both_sides_of_the_switch() {
        for middle in [0.0, 0.7, 3.0, 8.0, 15.0] {
            let width = 2.0 * NARROW / (middle + 2.4);
            let (a, b) = (middle - width / 2.0, middle + width / 2.0);
            let difference = log_mass_narrow(width, middle) - log_mass_wide(a, b);
            assert!(difference.abs() < 2e-12, "{difference} around {middle}");
        }
    }

    #[test]
    fn the_quantile_inverts_the_distribution_function() {
        for (mean, sigma) in [(0.5, 1.0), (0.0, 0.01), (1.0, 0.01), (0.3, 0.05), (0.999, 0.2)] {
            for u in [1e-9, 0.01, 0.3, 0.5, 0.77, 0.999, 1.0 - 1e-9] {
                let x = truncated_quantile(mean, sigma, u);
                let z = |x: f64| (x - mean) / sigma;
                let share = (log_mass(z(0.0), z(x)) - log_mass(z(0.0), z(1.0))).exp();
                assert!((share - u).abs() < 1e-9, "N({mean}, {sigma}): {share} below {x}, not {u}");
            }
        }
    }
}
