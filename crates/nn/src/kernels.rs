//! The loops of a dense network that are not matrix products: bias and activation, dropout, losses, gradients of
//! biases and penalties. Plain loops over slices; [`pulp`] compiles each for the SIMD levels of the machine. No
//! sums are reordered, so the SIMD level does not change a bit.

use pulp::Arch;

use crate::activation::{Activation, with_activation};
use crate::elementary::{exp, ln};

/// z ← f(z + bias), row by row.
pub(crate) fn activate(arch: Arch, activation: Activation, z: &mut [f32], bias: &[f32]) {
    with_activation!(activation, f => arch.dispatch(|| {
        for row in z.chunks_exact_mut(bias.len()) {
            for (z, &b) in row.iter_mut().zip(bias) {
                *z = f(*z + b).0;
            }
        }
    }));
}

/// z ← f(z + bias) and slope ← f'(z + bias).
pub(crate) fn activate_with_slope(
    arch: Arch,
    activation: Activation,
    z: &mut [f32],
    slope: &mut [f32],
    bias: &[f32],
) {
    with_activation!(activation, f => arch.dispatch(|| {
        for (row, slopes) in z.chunks_exact_mut(bias.len()).zip(slope.chunks_exact_mut(bias.len())) {
            for ((z, slope), &b) in row.iter_mut().zip(slopes).zip(bias) {
                (*z, *slope) = f(*z + b);
            }
        }
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


/// Softmax cross-entropy: turns scores into the gradient of the mean loss, (softmax − one-hot) / rows, and returns
/// the summed loss in nats. Each row's largest score is taken off first, so nothing overflows.
pub(crate) fn cross_entropy(arch: Arch, scores: &mut [f32], classes: &[u32]) -> f64 {
    let width = scores.len() / classes.len();
    let inverse_rows = 1.0 / classes.len() as f32;
    subtract_row_maxima(scores, width);
    let right: f64 = scores.chunks_exact(width).zip(classes).map(|(row, &c)| f64::from(row[c as usize])).sum();
    arch.dispatch(|| scores.iter_mut().for_each(|score| *score = exp(*score)));
    let mut log_sums = 0.0;
    for (row, &class) in scores.chunks_exact_mut(width).zip(classes) {
        let sum: f32 = row.iter().sum();
        let scale = inverse_rows / sum;
        row.iter_mut().for_each(|p| *p *= scale);
        row[class as usize] -= inverse_rows;
        log_sums += f64::from(ln(sum));
    }
    log_sums - right
}

/// Squared error of one output per row: turns outputs into the gradient of the mean loss, 2 (y − t) / rows, and
/// returns the summed loss.
pub(crate) fn squared_error(outputs: &mut [f32], targets: &[f32]) -> f64 {
    let scale = 2.0 / targets.len() as f32;
    let mut sum = 0.0;
    for (y, &target) in outputs.iter_mut().zip(targets) {
        let error = *y - target;
        sum += f64::from(error) * f64::from(error);
        *y = scale * error;
    }
    sum
}

/// Softmax of each row, in place.
pub(crate) fn softmax(arch: Arch, scores: &mut [f32], width: usize) {
    subtract_row_maxima(scores, width);
    arch.dispatch(|| scores.iter_mut().for_each(|score| *score = exp(*score)));
    for row in scores.chunks_exact_mut(width) {
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= sum);
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

/// NaN stays NaN: a maximum that skips it still leaves it in its own place.
fn subtract_row_maxima(scores: &mut [f32], width: usize) {
    for row in scores.chunks_exact_mut(width) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|score| *score -= largest);
    }
}
