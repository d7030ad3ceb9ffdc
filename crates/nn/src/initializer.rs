//! Initial values of kernels. Biases start at zero.

use crate::activation::Activation;
use crate::naming::named_choices;
use crate::rng::Stream;

named_choices! {
    /// How a kernel with `fan_in` inputs and `fan_out` units starts. Names and numbers as in Keras 3: the scaled
    /// uniform ones draw from ±√(3 variance); the scaled normal ones are cut at two standard deviations and
    /// rescaled so that the variance is that of the paper.
    KernelInitializer {
        /// All zero.
        Zeros = "zeros",
        /// All one.
        Ones = "ones",
        /// Uniform between −0.05 and 0.05.
        Uniform = "uniform",
        /// Normal with standard deviation 0.05, not cut.
        Normal = "normal",
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
    }
}

/// Standard deviation of a standard normal number cut at ±2.
const CUT_NORMAL_DEVIATION: f64 = 0.879_625_661_034_239_8;

impl KernelInitializer {
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
            Activation::Linear | Activation::Sigmoid | Activation::Tanh => Self::GlorotUniform,
        }
    }

    /// Fills a kernel of `fan_in` rows and `fan_out` columns.
    pub fn fill(self, kernel: &mut [f32], fan_in: usize, fan_out: usize, stream: &mut Stream) {
        let (fan_in, fan_out) = (fan_in.max(1) as f64, fan_out.max(1) as f64);
        match self {
            Self::Zeros => kernel.fill(0.0),
            Self::Ones => kernel.fill(1.0),
            Self::Uniform => fill_uniform(kernel, 0.05, stream),
            Self::Normal => draw_each(kernel, || 0.05 * stream.normal()),
            Self::LecunUniform => fill_uniform(kernel, (3.0 / fan_in).sqrt(), stream),
            Self::LecunNormal => fill_cut_normal(kernel, 1.0 / fan_in, stream),
            Self::GlorotUniform => fill_uniform(kernel, (6.0 / (fan_in + fan_out)).sqrt(), stream),
            Self::GlorotNormal => fill_cut_normal(kernel, 2.0 / (fan_in + fan_out), stream),
            Self::HeUniform => fill_uniform(kernel, (6.0 / fan_in).sqrt(), stream),
            Self::HeNormal => fill_cut_normal(kernel, 2.0 / fan_in, stream),
        }
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
    fn check(initializer: KernelInitializer, variance: f64, largest: f64) {
        let mut kernel = vec![0.0; 60_000];
        initializer.fill(&mut kernel, 200, 300, &mut Stream::new(&[3; 32], Purpose::Weights, 0));
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
            (KernelInitializer::Uniform, uniform(0.05f64.powi(2) / 3.0)),
            (KernelInitializer::Normal, (0.05f64.powi(2), f64::INFINITY)),
            (KernelInitializer::LecunUniform, uniform(1.0 / 200.0)),
            (KernelInitializer::LecunNormal, cut(1.0 / 200.0)),
            (KernelInitializer::GlorotUniform, uniform(2.0 / 500.0)),
            (KernelInitializer::GlorotNormal, cut(2.0 / 500.0)),
            (KernelInitializer::HeUniform, uniform(2.0 / 200.0)),
            (KernelInitializer::HeNormal, cut(2.0 / 200.0)),
        ] {
            check(initializer, variance, largest);
        }
    }

    #[test]
    fn constants_are_constant() {
        let mut kernel = [7.0; 6];
        let mut stream = Stream::new(&[0; 32], Purpose::Weights, 0);
        KernelInitializer::Zeros.fill(&mut kernel, 2, 3, &mut stream);
        assert_eq!(kernel, [0.0; 6]);
        KernelInitializer::Ones.fill(&mut kernel, 2, 3, &mut stream);
        assert_eq!(kernel, [1.0; 6]);
    }

    #[test]
    fn keras_spellings_are_read() {
        for name in ["glorot_normal", "glorotNormal", "GlorotNormal"] {
            assert_eq!(KernelInitializer::named(name), Some(KernelInitializer::GlorotNormal));
        }
    }
}
