//! Random numbers: one `ChaCha8` stream for each (seed, purpose, index), so that an epoch's shuffle or a layer's
//! initial weights depend on nothing that was drawn before. That is what makes a resumed run equal to an
//! uninterrupted one without saving a generator's position.
//!
//! The conversions to uniform and normal numbers are written out here and never change: a seed means the same
//! weights and the same shuffles in every version.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What a stream is drawn for. The numbers are part of what a seed means; they are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights; the index is the layer, counted from 0.
    Weights = 1,
    /// The order of the training rows; the index is the epoch, counted from 1.
    Shuffle = 2,
    /// Which units are dropped; the index is the epoch, counted from 1.
    Dropout = 3,
    /// Which rows are for training, validation and test, or watched by early stopping; the index is the class (0 for
    /// regression).
    Split = 4,
    /// How examples are mirrored, shifted and made noisy; the index is the epoch, counted from 1.
    Augmentation = 5,
    /// Which rows are mixed, and how; the index is the epoch, counted from 1.
    Mixup = 6,
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Stream {
    generator: ChaCha8Rng,
}

impl Stream {
    /// The stream of `seed` for one purpose and index (index below 2⁴⁸).
    pub fn new(seed: &[u8; 32], purpose: Purpose, index: u64) -> Self {
        let mut generator = ChaCha8Rng::from_seed(*seed);
        generator.set_stream(((purpose as u64) << 48) | index);
        Self { generator }
    }

    /// A uniform number in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        const UNIT: f64 = 1.0 / (1u64 << 53) as f64;
        (self.generator.next_u64() >> 11) as f64 * UNIT
    }

    /// A standard normal number, by Marsaglia's polar method. The logarithm is `libm`'s: the same on all machines.
    pub fn normal(&mut self) -> f64 {
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                return u * (-2.0 * libm::log(s) / s).sqrt();
            }
        }
    }

    /// A standard normal number drawn again until it lies within two standard deviations, as Keras does.
    pub fn truncated_normal(&mut self) -> f64 {
        loop {
            let x = self.normal();
            if x.abs() <= 2.0 {
                return x;
            }
        }
    }

    /// A number in [0, 1] from the Beta distribution with both parameters `alpha` > 0: of two Gamma variates the share
    /// of the first. For α near 0 it is nearly always close to 0 or 1.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        // Below this α the shares are 0 and 1 anyway, and logarithms would become infinite.
        let alpha = alpha.max(1e-9);
        let (first, second) = (self.log_gamma_variate(alpha), self.log_gamma_variate(alpha));
        1.0 / (1.0 + libm::exp(second - first))
    }

    /// The logarithm of a Gamma variate of shape `alpha` (Marsaglia and Tsang 2000, with their step from α + 1 to α;
    /// in logarithms, as the variate itself may be too small to be a number).
    fn log_gamma_variate(&mut self, alpha: f64) -> f64 {
        let d = alpha + 1.0 - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let root = 1.0 + c * x;
            let v = root * root * root;
            let log_u = libm::log(1.0 - self.uniform());
            if v > 0.0 && log_u < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return libm::log(d * v) + libm::log(1.0 - self.uniform()) / alpha;
            }
        }
    }

    /// A whole number below `bound` (at least 1), without bias (Lemire 2019, "Fast random integer generation").
    pub fn below(&mut self, bound: u32) -> u32 {
        let bound = u64::from(bound);
        let mut product = u64::from(self.generator.next_u32()) * bound;
        if (product as u32) < bound as u32 {
            let threshold = (1u64 << 32) % bound;
            while u64::from(product as u32) < threshold {
                product = u64::from(self.generator.next_u32()) * bound;
            }
        }
        (product >> 32) as u32
    }

    /// Puts `items` (fewer than 2³²) in random order (Fisher and Yates, from the back).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }

    /// Fills `bytes` with random bits.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.generator.fill_bytes(bytes);
    }
}

/// The 32-byte seed that a small number stands for: its little-endian bytes, then zeros.
pub fn seed_from_u64(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_frozen() {
        let mut stream = Stream::new(&seed_from_u64(7), Purpose::Shuffle, 3);
        let drawn = (stream.uniform(), stream.normal(), stream.below(1000));
        assert_eq!(drawn, FROZEN);
        let mut order: Vec<u8> = (0..8).collect();
        stream.shuffle(&mut order);
        assert_eq!(order, FROZEN_ORDER);
    }

    /// From `tests/reference/streams.py`, which has its own `ChaCha8`.
    const FROZEN: (f64, f64, u32) = (0.156_833_402_629_455_55, 1.044_452_755_359_008, 129);
    const FROZEN_ORDER: [u8; 8] = [1, 6, 2, 5, 7, 0, 4, 3];

    #[test]
    fn purposes_and_indices_give_different_streams() {
        let first = |purpose, index| Stream::new(&[9; 32], purpose, index).uniform();
        let drawn = [
            first(Purpose::Weights, 0),
            first(Purpose::Weights, 1),
            first(Purpose::Shuffle, 1),
            first(Purpose::Dropout, 1),
            first(Purpose::Split, 0),
        ];
        for (i, a) in drawn.iter().enumerate() {
            assert!(drawn[..i].iter().all(|b| a != b));
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        // 100,000 draws with a fixed seed: each bound is more than five standard errors wide.
        let mut stream = Stream::new(&[1; 32], Purpose::Weights, 0);
        let n = 100_000;
        let moments = |draws: Vec<f64>| {
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            (mean, draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n))
        };
        let (mean, variance) = moments((0..n).map(|_| stream.uniform()).collect());
        assert!((mean - 0.5).abs() < 0.005 && (variance - 1.0 / 12.0).abs() < 0.002);
        let (mean, variance) = moments((0..n).map(|_| stream.normal()).collect());
        assert!(mean.abs() < 0.017 && (variance - 1.0).abs() < 0.025);
        let (mean, variance) = moments((0..n).map(|_| stream.truncated_normal()).collect());
        assert!(mean.abs() < 0.017 && (variance - 0.879_625_661_034_239_8_f64.powi(2)).abs() < 0.015);
        let (mean, variance) = moments((0..n).map(|_| f64::from(stream.below(6))).collect());
        assert!((mean - 2.5).abs() < 0.03 && (variance - 35.0 / 12.0).abs() < 0.05);
        for alpha in [0.2, 1.0, 3.0] {
            let (mean, variance) = moments((0..n).map(|_| stream.beta(alpha)).collect());
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01 && (variance - expected).abs() < 0.006, "{alpha}: {variance}");
        }
        assert!((0..1000).all(|_| (0.0..=1.0).contains(&stream.beta(1e-6))));
    }
}
