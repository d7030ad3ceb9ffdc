//! The loops of a dense network that are not matrix products: bias and activation, dropout, softmax, gradients of
//! biases and penalties. Normalisation has a file of its own. Plain loops over slices; [`pulp`] compiles each for the SIMD levels of the machine. No
//! sums are reordered, so the SIMD level does not change a bit.

use pulp::Arch;

use crate::activation::{Activation, with_activation};
use crate::elementary::exp;

/// z ← f(z + bias), row by row, or z ← f(z) without a bias.
pub(crate) fn activate(arch: Arch, activation: Activation, z: &mut [f32], bias: Option<&[f32]>) {
    with_activation!(activation, f => arch.dispatch(|| match bias {
        Some(bias) => for row in z.chunks_exact_mut(bias.len()) {
            for (z, &b) in row.iter_mut().zip(bias) {
                *z = f(*z + b).0;
            }
        },
        None => for z in z {
            *z = f(*z).0;
        },
    }));
}

/// As [`activate`], and slope ← f'(z + bias).
pub(crate) fn activate_with_slope(
    arch: Arch,
    activation: Activation,
    z: &mut [f32],
    slope: &mut [f32],
    bias: Option<&[f32]>,
) {
    with_activation!(activation, f => arch.dispatch(|| match bias {
        Some(bias) => {
            for (row, slopes) in z.chunks_exact_mut(bias.len()).zip(slope.chunks_exact_mut(bias.len())) {
                for ((z, slope), &b) in row.iter_mut().zip(slopes).zip(bias) {
                    (*z, *slope) = f(*z + b);
                }
            }
        }
        None => for (z, slope) in z.iter_mut().zip(slope) {
            (*z, *slope) = f(*z);
        },
    }));
}

/// Zeroes each output and its slope with probability `rate` and scales the others by 1 / (1 − rate). `noise` holds
/// two random bytes per output, so rates count in units of 2⁻¹⁶.
pub(crate) fn drop_units(arch: Arch, rate: f64, outputs: &mut [f32], slopes: &mut [f32], noise: &[u8]) {
    let threshold = (rate * 65_536.0).round() as u32;
    let scale = (1.0 / (1.0 - rate)) as f32;
    arch.dispatch(|| {
        for ((y, slope), noise) in outputs.iter_mut().zip(slopes).zip(noise.chunks_exact(2)) {
            let draw = u32::from(u16::from_le_bytes([noise[0], noise[1]]));
            let factor = if draw < threshold { 0.0 } else { scale };
            *y *= factor;
            *slope *= factor;
        }
    });
}

/// δ ← δ · slope, and the bias gradient as the column sums of the result.
pub(crate) fn through_slope(arch: Arch, delta: &mut [f32], slope: &[f32], bias_gradient: &mut [f32]) {
    let width = bias_gradient.len();
    arch.dispatch(|| {
        bias_gradient.fill(0.0);
        for (deltas, slopes) in delta.chunks_exact_mut(width).zip(slope.chunks_exact(width)) {
            for ((d, &s), sum) in deltas.iter_mut().zip(slopes).zip(bias_gradient.iter_mut()) {
                *d *= s;
                *sum += *d;
            }
        }
    });
}

/// δ ← δ · slope.
pub(crate) fn multiply_each(arch: Arch, delta: &mut [f32], slope: &[f32]) {
    arch.dispatch(|| {
        for (d, &s) in delta.iter_mut().zip(slope) {
            *d *= s;
        }
    });
}

/// The sum of each column of a row-major matrix.
pub(crate) fn column_sums(arch: Arch, values: &[f32], sums: &mut [f32]) {
    arch.dispatch(|| {
        sums.fill(0.0);
        for row in values.chunks_exact(sums.len()) {
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    });
}

/// a ← a + b.
pub(crate) fn add(arch: Arch, a: &mut [f32], b: &[f32]) {
    arch.dispatch(|| {
        for (a, &b) in a.iter_mut().zip(b) {
            *a += b;
        }
    });
}

/// δ ← p (δ − Σ δ p) for each row of softmax outputs p.
pub(crate) fn through_softmax(arch: Arch, delta: &mut [f32], outputs: &[f32], width: usize) {
    arch.dispatch(|| {
        for (deltas, row) in delta.chunks_exact_mut(width).zip(outputs.chunks_exact(width)) {
            let along: f32 = deltas.iter().zip(row).map(|(d, p)| d * p).sum();
            for (d, &p) in deltas.iter_mut().zip(row) {
                *d = p * (*d - along);
            }
        }
    });
}

/// Softmax of each row, in place.
pub(crate) fn softmax(arch: Arch, scores: &mut [f32], width: usize) {
    subtract_row_maxima(scores, width);
    exponentials(arch, scores);
    for row in scores.chunks_exact_mut(width) {
        let sum: f32 = row.iter().sum();
        for p in row {
            *p /= sum;
        }
    }
}

/// Adds the gradient of λ₁ Σ|w| + λ₂ Σw², taking 0 for the slope of |w| at 0.
pub(crate) fn add_penalty(arch: Arch, gradient: &mut [f32], kernel: &[f32], l1: f64, l2: f64) {
    let (l1, twice_l2) = (l1 as f32, 2.0 * l2 as f32);
    arch.dispatch(|| {
        for (g, &w) in gradient.iter_mut().zip(kernel) {
            let sign = if w > 0.0 { 1.0 } else { 0.0 } - if w < 0.0 { 1.0 } else { 0.0 };
            *g += l1 * sign + twice_l2 * w;
        }
    });
}

/// eˣ of each.
pub(crate) fn exponentials(arch: Arch, values: &mut [f32]) {
    arch.dispatch(|| {
        for x in values {
            *x = exp(*x);
        }
    });
}

/// NaN stays NaN: a maximum that skips it still leaves it in its own place.
pub(crate) fn subtract_row_maxima(scores: &mut [f32], width: usize) {
    for row in scores.chunks_exact_mut(width) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for score in row {
            *score -= largest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Stream};

    #[test]
    fn dropped_units_are_zero_and_the_others_scaled_with_their_slopes() {
        let mut noise = vec![0; 20_000];
        Stream::new(&[4; 32], Purpose::Dropout, 1).fill(&mut noise);
        let (mut outputs, mut slopes) = (vec![3.0; 10_000], vec![0.5; 10_000]);
        drop_units(Arch::new(), 0.2, &mut outputs, &mut slopes, &noise);
        let dropped = outputs.iter().filter(|y| **y == 0.0).count();
        // 2,000 expected with a standard error of 40.
        assert!((1800..2200).contains(&dropped), "{dropped} of 10,000 dropped at rate 0.2");
        for (y, slope) in outputs.iter().zip(&slopes) {
            assert!((*y == 0.0 && *slope == 0.0) || (*y == 3.75 && *slope == 0.625), "{y}, {slope}");
        }
    }

    #[test]
    fn softmax_rows_sum_to_one() {
        let mut scores = [1.0, 2.0, 3.0, -100.0, 100.0, 0.0];
        softmax(Arch::new(), &mut scores, 3);
        for row in scores.chunks_exact(3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert!((scores[2] - 0.665_241).abs() < 1e-6);
    }
}
