//! The loops of batch and layer normalisation, over rows of `width` numbers. They scale; the shift β is the bias that
//! the stage adds afterwards. Sums run in an order that does not depend on the machine.

use pulp::Arch;

/// What the backward pass needs of the forward pass: (x − mean) / √(variance + ε), and 1 / √(variance + ε).
#[derive(Default)]
pub(super) struct Normalized {
    /// As the layer's inputs.
    pub(super) values: Vec<f32>,
    /// One number a column (batch normalisation) or a row (layer normalisation).
    pub(super) inverse: Vec<f32>,
    /// Room for a number a column.
    pub(super) means: Vec<f32>,
}

/// Normalises each column by its own mean and variance over all rows, and moves the moving statistics towards them.
///
/// A single row has the variance 0: it is normalised to 0, whatever it holds.
pub(super) fn normalize_columns(
    arch: Arch,
    x: &[f32],
    kept: &mut Normalized,
    moving_mean: &mut [f32],
    moving_variance: &mut [f32],
    (momentum, epsilon): (f64, f64),
) {
    let width = moving_mean.len();
    let share = 1.0 / (x.len() / width) as f32;
    let (keep, add, epsilon) = (momentum as f32, (1.0 - momentum) as f32, epsilon as f32);
    let values = &mut kept.values[..x.len()];
    let (means, variances) = (&mut kept.means[..width], &mut kept.inverse[..width]);
    arch.dispatch(|| {
        means.fill(0.0);
        for row in x.chunks_exact(width) {
            for (mean, &x) in means.iter_mut().zip(row) {
                *mean += x;
            }
        }
        for mean in means.iter_mut() {
            *mean *= share;
        }
        variances.fill(0.0);
        for (row, centred) in x.chunks_exact(width).zip(values.chunks_exact_mut(width)) {
            for (((&x, centred), &mean), variance) in
                row.iter().zip(centred).zip(means.iter()).zip(variances.iter_mut())
            {
                *centred = x - mean;
                *variance += *centred * *centred;
            }
        }
        for (((&mean, variance), moving_mean), moving_variance) in
            means.iter().zip(variances.iter_mut()).zip(moving_mean).zip(moving_variance)
        {
            *variance *= share;
            *moving_mean = keep * *moving_mean + add * mean;
            *moving_variance = keep * *moving_variance + add * *variance;
            *variance = 1.0 / (*variance + epsilon).sqrt();
        }
        for row in values.chunks_exact_mut(width) {
            for (value, &inverse) in row.iter_mut().zip(variances.iter()) {
                *value *= inverse;
            }
        }
    });
}

/// y ← γ (x − mean) / √(variance + ε) with given statistics. `room` has a place for each column.
pub(super) fn normalize_with(
    arch: Arch,
    x: &[f32],
    y: &mut [f32],
    (mean, variance, gamma): (&[f32], &[f32], &[f32]),
    epsilon: f64,
    room: &mut [f32],
) {
    let epsilon = epsilon as f32;
    arch.dispatch(|| {
        for ((scale, &variance), &gamma) in room.iter_mut().zip(variance).zip(gamma) {
            *scale = gamma / (variance + epsilon).sqrt();
        }
        for (x, y) in x.chunks_exact(mean.len()).zip(y.chunks_exact_mut(mean.len())) {
            for (((&x, y), &mean), &scale) in x.iter().zip(y).zip(mean).zip(room.iter()) {
                *y = (x - mean) * scale;
            }
        }
    });
}

/// Normalises each row of `width` numbers by its own mean and variance.
pub(super) fn normalize_rows(arch: Arch, x: &[f32], kept: &mut Normalized, width: usize, epsilon: f64) {
    let (share, epsilon) = (1.0 / width as f32, epsilon as f32);
    let values = &mut kept.values[..x.len()];
    arch.dispatch(|| {
        for ((row, centred), inverse) in
            x.chunks_exact(width).zip(values.chunks_exact_mut(width)).zip(&mut kept.inverse)
        {
            let mean = sum(row, |x| x) * share;
            for (&x, centred) in row.iter().zip(centred.iter_mut()) {
                *centred = x - mean;
            }
            *inverse = 1.0 / (sum(centred, |x| x * x) * share + epsilon).sqrt();
            for value in centred {
                *value *= *inverse;
            }
        }
    });
}

/// y ← γ · normalised.
pub(super) fn scale_columns(arch: Arch, values: &[f32], y: &mut [f32], gamma: &[f32]) {
    arch.dispatch(|| {
        for (row, y) in values.chunks_exact(gamma.len()).zip(y.chunks_exact_mut(gamma.len())) {
            for ((&value, y), &gamma) in row.iter().zip(y).zip(gamma) {
                *y = gamma * value;
            }
        }
    });
}

/// The gradient of γ: Σ δ · normalised over rows.
pub(super) fn gamma_gradient(arch: Arch, delta: &[f32], values: &[f32], gradient: &mut [f32]) {
    let width = gradient.len();
    arch.dispatch(|| {
        gradient.fill(0.0);
        for (deltas, row) in delta.chunks_exact(width).zip(values.chunks_exact(width)) {
            for ((&delta, &value), sum) in deltas.iter().zip(row).zip(gradient.iter_mut()) {
                *sum += delta * value;
            }
        }
    });
}

/// δ back through batch statistics: γ / √(variance + ε) · (δ − mean(δ) − normalised · mean(δ · normalised)). The means
/// are known from the gradients of β and γ.
pub(super) fn through_columns(
    arch: Arch,
    delta: &mut [f32],
    kept: &Normalized,
    gamma: &[f32],
    (beta_gradient, gamma_gradient): (&[f32], &[f32]),
) {
    let width = gamma.len();
    let share = 1.0 / (delta.len() / width) as f32;
    let (values, inverse) = (&kept.values, &kept.inverse[..width]);
    arch.dispatch(|| {
        for (deltas, row) in delta.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
            for (((((delta, &value), &gamma), &inverse), &plain), &along) in
                deltas.iter_mut().zip(row).zip(gamma).zip(inverse).zip(beta_gradient).zip(gamma_gradient)
            {
                *delta = gamma * inverse * (*delta - share * plain - value * (share * along));
            }
        }
    });
}

/// δ back through the statistics of each row.
pub(super) fn through_rows(arch: Arch, delta: &mut [f32], kept: &Normalized, gamma: &[f32]) {
    let width = gamma.len();
    let share = 1.0 / width as f32;
    arch.dispatch(|| {
        for ((deltas, row), &inverse) in
            delta.chunks_exact_mut(width).zip(kept.values.chunks_exact(width)).zip(&kept.inverse)
        {
            for (delta, &gamma) in deltas.iter_mut().zip(gamma) {
                *delta *= gamma;
            }
            let plain = sum(deltas, |x| x) * share;
            let along = sum_of_products(deltas, row) * share;
            for (delta, &value) in deltas.iter_mut().zip(row) {
                *delta = inverse * (*delta - plain - value * along);
            }
        }
    });
}

const LANES: usize = 8;

/// Σ f(x) in eight interleaved sums whatever the machine, so that all get the same bits.
#[allow(clippy::inline_always, reason = "must be inlined into a loop compiled for the machine's SIMD level")]
#[inline(always)]
fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for block in values.chunks(LANES) {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += f(x);
        }
    }
    lanes.iter().sum()
}

/// Σ a b, as [`sum`].
#[allow(clippy::inline_always, reason = "must be inlined into a loop compiled for the machine's SIMD level")]
#[inline(always)]
fn sum_of_products(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}
