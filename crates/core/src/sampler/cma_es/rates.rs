//! Learning rates that follow the signal-to-noise ratio of the updates (LRA-CMA-ES: Nomura et al. 2023,
//! arXiv:2304.03473): slower on noisy and many-peaked functions, without larger populations.

use super::covariance::Covariance;

/// The learning rates of mean and covariance, and the averages behind them.
#[derive(Clone, Debug)]
pub struct Rates {
    mean: Average,
    covariance: Average,
}

/// A moving average E of updates, that of their squared length V, and the rate η that follows from both.
#[derive(Clone, Debug)]
struct Average {
    beta: f64,
    update: Vec<f64>,
    square: f64,
    rate: f64,
}

/// α: the signal-to-noise ratio aimed at, and γ: how fast rates move.
const ALPHA: f64 = 1.4;
const GAMMA: f64 = 0.1;

impl Rates {
    /// Rates of 1 for `n` coordinates.
    pub(super) fn new(n: usize, covariance: &Covariance) -> Self {
        let average = |beta, size| Average { beta, update: vec![0.0; size], square: 0.0, rate: 1.0 };
        Self { mean: average(0.1, n), covariance: average(0.03, covariance.entries().len()) }
    }

    /// The learning rate of the mean, in (0, 1].
    pub fn mean(&self) -> f64 {
        self.mean.rate
    }

    /// The learning rate of the covariance, in (0, 1].
    pub fn covariance(&self) -> f64 {
        self.covariance.rate
    }

    /// Takes back part of an update, given what was there before it.
    pub(super) fn temper(
        &mut self,
        (old_mean, old_sigma, old): (Vec<f64>, f64, Covariance),
        mean: &mut [f64],
        sigma: &mut f64,
        covariance: &mut Covariance,
    ) {
        let shift: Vec<f64> = mean.iter().zip(&old_mean).map(|(new, old)| new - old).collect();
        let (new_square, old_square) = (sigma.powi(2), old_sigma.powi(2));
        let change: Vec<f64> = covariance
            .entries()
            .iter()
            .zip(old.entries())
            .map(|(new, old)| new_square * new - old_square * old)
            .collect();
        let local_shift: Vec<f64> = old.whiten(&shift).iter().map(|x| x / old_sigma).collect();
        let local_change: Vec<f64> =
            whiten_both(&old, &change).iter().map(|x| x / (old_square * std::f64::consts::SQRT_2)).collect();
        let before = self.mean.rate;
        self.mean.follow(&local_shift);
        self.covariance.follow(&local_change);
        for ((mean, old), shift) in mean.iter_mut().zip(&old_mean).zip(&shift) {
            *mean = old + self.mean.rate * shift;
        }
        let rate = self.covariance.rate;
        let tempered =
            old.entries().iter().zip(&change).map(|(old, change)| old_square * old + rate * change);
        covariance.replace(tempered.collect());
        let volume = covariance.log_determinant() / mean.len() as f64;
        *sigma = (volume / 2.0).exp();
        covariance.replace(covariance.entries().iter().map(|c| c / volume.exp()).collect());
        *sigma *= before / self.mean.rate;
    }
}

impl Average {
    fn follow(&mut self, update: &[f64]) {
        let beta = self.beta;
        self.update.iter_mut().zip(update).for_each(|(e, x)| *e = (1.0 - beta) * *e + beta * x);
        self.square = (1.0 - beta) * self.square + beta * update.iter().map(|x| x * x).sum::<f64>();
        let signal: f64 = self.update.iter().map(|e| e * e).sum();
        let noise = self.square - signal;
        if noise.is_nan() || noise <= 0.0 {
            return;
        }
        let ratio = (signal - beta / (2.0 - beta) * self.square) / noise;
        let wanted = (ratio / ALPHA / self.rate - 1.0).clamp(-1.0, 1.0);
        self.rate = (self.rate * ((GAMMA * self.rate).min(beta) * wanted).exp()).min(1.0);
    }
}

/// `C^−½ M C^−½` for a symmetric M in the covariance's own form.
fn whiten_both(covariance: &Covariance, matrix: &[f64]) -> Vec<f64> {
    if covariance.is_separable() {
        return covariance.whiten(&covariance.whiten(matrix));
    }
    let n = matrix.len().isqrt();
    let rows = |matrix: &[f64]| -> Vec<f64> {
        matrix.chunks_exact(n.max(1)).flat_map(|row| covariance.whiten(row)).collect()
    };
    // Whitening the rows gives M C^−½; its transpose whitened again gives the whole, which is symmetric.
    let half = rows(matrix);
    rows(&(0..n * n).map(|k| half[k % n * n + k / n]).collect::<Vec<f64>>())
}
