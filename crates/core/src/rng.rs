//! Randomness as an argument: one frozen generator, one stream per (study seed, trial, purpose, draw).
//!
//! The generator is `ChaCha` with 8 rounds, whose output is fixed by its specification. The conversions to numbers
//! are written out here so that no update of a dependency can change a decision.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// What a stream is for. The numbers are part of the log format: never reuse or renumber one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// A sampler's proposal.
    Sampler = 1,
    /// A scheduler's choice.
    Scheduler = 2,
    /// The value of a parameter that a trial asked for and its point did not have.
    Drawn = 3,
    /// Ranges given by hand for an enqueued trial.
    Enqueued = 4,
    /// What the objective draws for itself: initial weights, shuffles, masks.
    Objective = 5,
    /// Something drawn once per study, such as the scrambling of a sequence.
    Study = 6,
    /// The fit of a surrogate, keyed by how many observations it is fitted to in place of a trial.
    Surrogate = 7,
}

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream of (seed, trial, purpose, draw): the four numbers, little-endian, are the `ChaCha` key.
    pub fn stream(seed: u64, trial: u64, purpose: Purpose, draw: u64) -> Self {
        Self(ChaCha8Rng::from_seed(Self::key(seed, trial, purpose, draw)))
    }

    /// The 32-byte key of a stream, for whoever seeds a generator of their own with it.
    pub fn key(seed: u64, trial: u64, purpose: Purpose, draw: u64) -> [u8; 32] {
        let mut key = [0; 32];
        for (slot, part) in key.chunks_exact_mut(8).zip([seed, trial, purpose as u64, draw]) {
            slot.copy_from_slice(&part.to_le_bytes());
        }
        key
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in 0 … n − 1, without bias (Lemire 2019, by rejection). `n` must be positive.
    pub fn below(&mut self, n: u64) -> u64 {
        debug_assert!(n > 0);
        let threshold = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.bits()) * u128::from(n);
            if (wide as u64) >= threshold {
                return (wide >> 64) as u64;
            }
        }
    }

    /// Standard normal (Box and Muller 1958, the cosine branch).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// `n` uniform coordinates.
    pub fn uniforms(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.uniform()).collect()
    }
}
