//! Initial values of weights. Which parameter starts how is decided in [`crate::parameters`].

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::naming::named_choices;
use crate::rng::Stream;

named_choices! {
    /// How weights with `fan_in` inputs and `fan_out` outputs of each start; fans include the receptive field. Names
    /// and numbers as in Keras 3: the scaled uniform ones draw from ±√(3 variance); the scaled normal ones are cut at
    /// two standard deviations and rescaled so that the variance is that of the paper (`PyTorch` does not cut).
    InitializerKind {
        /// All zero.
        Zeros = "zeros",
        /// All one.
        Ones = "ones",
        /// All the same: the scale, 0 if none is given.
        Constant = "constant",
        /// Uniform between ± the scale, 0.05 if none is given.
        Uniform = "uniform",
        /// Normal with the scale as standard deviation, 0.05 if none is given; not cut.
        Normal = "normal",
        /// Normal with the scale as standard deviation before it is cut at twice that, 0.05 if none is given.
        TruncatedNormal = "truncated_normal",
        /// Variance 1 / `fan_in`, uniform (`LeCun` et al. 1998).
        LecunUniform = "lecun_uniform",
        /// Variance 1 / `fan_in`, cut normal.
        LecunNormal = "lecun_normal",
        /// Variance 2 / (`fan_in` + `fan_out`), uniform (Glorot and Bengio 2010).
        GlorotUniform = "glorot_uniform",
        /// Variance 2 / (`fan_in` + `fan_out`), cut normal.
        GlorotNormal = "glorot_normal",
        /// Variance 2 / `fan_in`, uniform (He et al. 2015).
        HeUniform = "he_uniform",
        /// Variance 2 / `fan_in`, cut normal.
        HeNormal = "he_normal",
        /// Orthonormal rows or columns, whichever are fewer, times the scale, 1 if none is given (Saxe et al. 2014).
        Orthogonal = "orthogonal",
    }
}

/// Standard deviation of a standard normal number cut at ±2.
const CUT_NORMAL_DEVIATION: f64 = 0.879_625_661_034_239_8;

impl InitializerKind {
    /// The default for a layer with this activation: He for the relu family, `LeCun` for selu, Glorot otherwise; the
    /// uniform form of each.
    pub fn default_for(activation: Activation) -> Self {
        match activation {
            Activation::Relu
            | Activation::LeakyRelu
            | Activation::Elu
            | Activation::Gelu
            | Activation::Silu
            | Activation::Softplus => Self::HeUniform,
            Activation::Selu => Self::LecunUniform,
            Activation::Linear | Activation::Sigmoid | Activation::Tanh | Activation::Softmax => {
                Self::GlorotUniform
            }
        }
    }
}

/// An initialiser with its scale, which only some of them have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Initializer {
    /// Which one.
    pub kind: InitializerKind,
    /// See [`InitializerKind`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
}

impl Initializer {
    /// The default for a layer with this activation, see [`InitializerKind::default_for`].
    pub fn default_for(activation: Activation) -> Self {
        InitializerKind::default_for(activation).into()
    }

    /// Fills `weights`, a row-major matrix of `rows` rows (which only matters to the orthogonal one).
    pub fn fill(self, weights: &mut [f32], rows: usize, fan_in: usize, fan_out: usize, stream: &mut Stream) {
        let (fan_in, fan_out) = (fan_in.max(1) as f64, fan_out.max(1) as f64);
        let deviation = self.scale.unwrap_or(0.05);
        match self.kind {
            InitializerKind::Zeros => weights.fill(0.0),
            InitializerKind::Ones => weights.fill(1.0),
            InitializerKind::Constant => weights.fill(self.scale.unwrap_or(0.0) as f32),
            InitializerKind::Uniform => fill_uniform(weights, deviation, stream),
            InitializerKind::Normal => draw_each(weights, || deviation * stream.normal()),
            InitializerKind::TruncatedNormal => draw_each(weights, || deviation * stream.truncated_normal()),
            InitializerKind::LecunUniform => fill_uniform(weights, (3.0 / fan_in).sqrt(), stream),
            InitializerKind::LecunNormal => fill_cut_normal(weights, 1.0 / fan_in, stream),
            InitializerKind::GlorotUniform => {
                fill_uniform(weights, (6.0 / (fan_in + fan_out)).sqrt(), stream);
            }
            InitializerKind::GlorotNormal => fill_cut_normal(weights, 2.0 / (fan_in + fan_out), stream),
            InitializerKind::HeUniform => fill_uniform(weights, (6.0 / fan_in).sqrt(), stream),
            InitializerKind::HeNormal => fill_cut_normal(weights, 2.0 / fan_in, stream),
            InitializerKind::Orthogonal => fill_orthogonal(weights, rows, self.scale.unwrap_or(1.0), stream),
        }
    }
}

impl From<InitializerKind> for Initializer {
    fn from(kind: InitializerKind) -> Self {
        Self { kind, scale: None }
    }
}

/// The Q factor of a matrix of normal numbers, by modified Gram–Schmidt in double precision, done twice: that makes
/// it orthogonal to rounding. Its distribution is uniform, as no sign is fixed by the method.
fn fill_orthogonal(weights: &mut [f32], rows: usize, gain: f64, stream: &mut Stream) {
    let columns = weights.len() / rows.max(1);
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut vector: Vec<f64> = (0..length).map(|_| stream.normal()).collect();
        for _ in 0..2 {
            for other in &vectors {
                let along: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                vector.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        // A draw inside the span of the others has probability zero, and would be noise after the division.
        if norm > 1e-6 {
            for x in &mut vector {
                *x /= norm;
            }
            vectors.push(vector);
        }
    }
    for (place, weight) in weights.iter_mut().enumerate() {
        let (row, column) = (place / columns, place % columns);
        let value = if rows <= columns { vectors[row][column] } else { vectors[column][row] };
        *weight = (gain * value) as f32;
    }
}

fn fill_uniform(kernel: &mut [f32], limit: f64, stream: &mut Stream) {
    draw_each(kernel, || limit * (2.0 * stream.uniform() - 1.0));
}

fn fill_cut_normal(kernel: &mut [f32], variance: f64, stream: &mut Stream) {
    let scale = variance.sqrt() / CUT_NORMAL_DEVIATION;
    draw_each(kernel, || scale * stream.truncated_normal());
}

fn draw_each(kernel: &mut [f32], mut draw: impl FnMut() -> f64) {
    for weight in kernel {
        *weight = draw() as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    /// (fan-in 200, fan-out 300) gives 60,000 weights: the variance of a sample has a relative standard error of at
    /// most √(2 / 60,000) = 0.6 %, so a band of 4 % is never left by chance; the mean's is σ / 245.
    fn check(initializer: InitializerKind, variance: f64, largest: f64) {
        let mut kernel = vec![0.0; 60_000];
        Initializer::from(initializer).fill(
            &mut kernel,
            200,
            200,
            300,
            &mut Stream::new(&[3; 32], Purpose::Weights, 0),
        );
        let mean = kernel.iter().map(|&w| f64::from(w)).sum::<f64>() / 60_000.0;
        let spread = kernel.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>() / 60_000.0;
        let extreme = kernel.iter().map(|w| f64::from(w.abs())).fold(0.0, f64::max);
        assert!(mean.abs() < 6.0 * variance.sqrt() / 245.0, "{initializer}: mean {mean}");
        assert!((spread / variance - 1.0).abs() < 0.04, "{initializer}: variance {spread}, not {variance}");
        assert!(extreme <= largest * 1.000_001, "{initializer}: {extreme} is beyond {largest}");
        assert!(
            extreme > largest * 0.95 || largest.is_infinite(),
            "{initializer}: {extreme}, never near {largest}"
        );
    }

    #[test]
    fn moments_and_limits_are_those_of_the_papers() {
        let uniform = |variance: f64| (variance, (3.0 * variance).sqrt());
        let cut = |variance: f64| (variance, 2.0 * variance.sqrt() / CUT_NORMAL_DEVIATION);
        for (initializer, (variance, largest)) in [
            (InitializerKind::Uniform, uniform(0.05f64.powi(2) / 3.0)),
            (InitializerKind::Normal, (0.05f64.powi(2), f64::INFINITY)),
            (InitializerKind::LecunUniform, uniform(1.0 / 200.0)),
            (InitializerKind::LecunNormal, cut(1.0 / 200.0)),
            (InitializerKind::GlorotUniform, uniform(2.0 / 500.0)),
            (InitializerKind::GlorotNormal, cut(2.0 / 500.0)),
            (InitializerKind::HeUniform, uniform(2.0 / 200.0)),
            (InitializerKind::HeNormal, cut(2.0 / 200.0)),
        ] {
            check(initializer, variance, largest);
        }
    }

    #[test]
    fn constants_are_constant() {
        let mut kernel = [7.0; 6];
        let mut stream = Stream::new(&[0; 32], Purpose::Weights, 0);
        Initializer::from(InitializerKind::Zeros).fill(&mut kernel, 2, 2, 3, &mut stream);
        assert_eq!(kernel, [0.0; 6]);
        Initializer::from(InitializerKind::Ones).fill(&mut kernel, 2, 2, 3, &mut stream);
        assert_eq!(kernel, [1.0; 6]);
    }

    #[test]
    fn orthogonal_kernels_have_orthonormal_rows_or_columns() {
        for (rows, columns) in [(12, 12), (5, 20), (20, 5)] {
            let mut kernel = vec![0.0; rows * columns];
            let orthogonal = Initializer { kind: InitializerKind::Orthogonal, scale: Some(2.0) };
            orthogonal.fill(
                &mut kernel,
                rows,
                rows,
                columns,
                &mut Stream::new(&[5; 32], Purpose::Weights, 0),
            );
            let at = |r: usize, c: usize| f64::from(kernel[r * columns + c]) / 2.0;
            let (few, many) = (rows.min(columns), rows.max(columns));
            let along = |i: usize, k: usize| if rows <= columns { at(i, k) } else { at(k, i) };
            for i in 0..few {
                for j in 0..few {
                    let product: f64 = (0..many).map(|k| along(i, k) * along(j, k)).sum();
                    assert!((product - f64::from(u8::from(i == j))).abs() < 1e-6, "{i}, {j}: {product}");
                }
            }
        }
    }

    #[test]
    fn keras_spellings_are_read() {
        for name in ["glorot_normal", "glorotNormal", "GlorotNormal"] {
            assert_eq!(InitializerKind::named(name), Some(InitializerKind::GlorotNormal));
        }
    }
}
