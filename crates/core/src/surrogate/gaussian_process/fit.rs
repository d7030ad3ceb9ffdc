//! The lengths, signal and noise that make the losses most plausible: the maximum of the posterior density.

use std::cell::RefCell;
use std::convert::Infallible;

use basin::{BoxBounds, ConstraintDescription, ConstraintSet, Constraints};
use basin::{CostFunction, Executor, FirstOrderState, Gradient, Lbfgsb};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::inverse::{inverse, inverse_scratch};
use faer::{MatMut, MatRef, Par};

use super::factor::{Scratch, factorise};
use super::kernel::{lanes, matern_with_slope};
use super::{MEAN_VARIANCE, Rows, Scales};

/// The prior of lengths, signal and noise.
///
/// * Lengths: log-normal(√2 + ½ ln d, √3), d the number of active parameters (Hvarfner et al. 2024, arXiv 2402.02229,
///   eq. 8): as likely complex in many dimensions as in one.
/// * Signal variance: log-normal(1, 1), whose mode is 1, the variance of standardised losses.
/// * Noise variance: log-normal(−4, 1), the same authors' code.
///
/// Densities are those of the quantities themselves, not of their logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Parameters active at a point, averaged over points; at least 1.
    pub active: f64,
}

/// Smallest and largest length, signal variance and noise variance.
const LENGTHS: (f64, f64) = (0.01, 1e4);
const SIGNALS: (f64, f64) = (0.01, 100.0);
const NOISES: (f64, f64) = (1e-6, 2.0);

impl Prior {
    fn of(self, k: usize, features: usize) -> (f64, f64) {
        match k {
            k if k < features => (2_f64.sqrt() + 0.5 * self.active.ln(), 3_f64.sqrt()),
            k if k == features => (1.0, 1.0),
            _ => (-4.0, 1.0),
        }
    }

    /// The most likely scales before any loss is seen.
    pub fn mode(self, features: usize) -> Scales {
        let mode = |k| {
            let (mean, deviation) = self.of(k, features);
            (mean - deviation * deviation).exp()
        };
        Scales {
            lengths: (0..features).map(mode).collect(),
            signal: mode(features),
            noise: mode(features + 1),
        }
    }

    /// ln of the density of `scales`.
    pub fn log_density(self, scales: &Scales) -> f64 {
        let theta = scales.logarithms();
        theta.iter().enumerate().map(|(k, log)| self.log_one(k, theta.len() - 2, *log).0).sum()
    }

    /// ln of the density of exp(log), and its derivative by `log`.
    fn log_one(self, k: usize, features: usize, log: f64) -> (f64, f64) {
        let (mean, deviation) = self.of(k, features);
        let z = (log - mean) / deviation;
        let density = -0.5 * z * z - log - deviation.ln() - crate::surrogate::normal::LN_SQRT_2PI;
        (density, -z / deviation - 1.0)
    }
}

impl Scales {
    fn logarithms(&self) -> Vec<f64> {
        self.lengths.iter().chain([&self.signal, &self.noise]).map(|x| x.ln()).collect()
    }

    fn from_logarithms(theta: &[f64]) -> Self {
        let features = theta.len() - 2;
        Self {
            lengths: theta[..features].iter().map(|x| x.exp()).collect(),
            signal: theta[features].exp(),
            noise: theta[features + 1].exp(),
        }
    }
}

/// The most plausible scales for these rows, and ln of their likelihood times their prior.
pub(super) fn most_plausible(rows: &Rows, prior: Prior) -> (Scales, f64) {
    let mut best: Option<(Vec<f64>, f64)> = None;
    for start in starts(rows.kernel.len(), prior) {
        let (theta, density) = climb(rows, prior, start);
        if best.as_ref().is_none_or(|best| density > best.1) {
            best = Some((theta, density));
        }
    }
    let (theta, density) =
        best.unwrap_or_else(|| (prior.mode(rows.kernel.len()).logarithms(), f64::NEG_INFINITY));
    (Scales::from_logarithms(&theta), density)
}

fn starts(features: usize, prior: Prior) -> Vec<Vec<f64>> {
    let mode = prior.mode(features);
    let smooth =
        Scales { lengths: mode.lengths.iter().map(|length| 5.0 * length).collect(), signal: 1.0, noise: 0.1 };
    vec![mode.logarithms(), smooth.logarithms()]
}

fn climb(rows: &Rows, prior: Prior, start: Vec<f64>) -> (Vec<f64>, f64) {
    let hill = Hill::new(rows, prior);
    let solver = Lbfgsb::new()
        .with_absolute_projected_gradient_tolerance(1e-3)
        .with_relative_cost_reduction_tolerance(1e-7);
    match Executor::new(hill, solver, FirstOrderState::new(start.clone())).max_iter(100).run() {
        Ok(result) => (result.best_param().clone(), -result.best_cost()),
        Err(_) => (start, f64::NEG_INFINITY),
    }
}

/// ln of likelihood times prior as a function of the logarithms of the scales.
pub(super) struct Hill<'a> {
    rows: &'a Rows,
    prior: Prior,
    lower: Vec<f64>,
    upper: Vec<f64>,
    work: RefCell<Work>,
}

struct Work {
    /// The covariance matrix, then its factor; by columns.
    covariance: Vec<f64>,
    /// Derivatives of the covariances by r².
    slopes: Vec<f64>,
    inverse: Vec<f64>,
    squares: Vec<f64>,
    scratch: Scratch,
    room: MemBuffer,
}

impl<'a> Hill<'a> {
    pub(super) fn new(rows: &'a Rows, prior: Prior) -> Self {
        let (n, features) = (rows.len(), rows.kernel.len());
        let bounds = |end: fn((f64, f64)) -> f64| {
            let mut ends = vec![end(LENGTHS).ln(); features];
            ends.extend([end(SIGNALS).ln(), end(NOISES).ln()]);
            ends
        };
        let work = Work {
            covariance: vec![0.0; n * n],
            slopes: vec![0.0; n * n],
            inverse: vec![0.0; n * n],
            squares: vec![0.0; n],
            scratch: Scratch::new(n),
            room: MemBuffer::new(inverse_scratch::<f64>(n, Par::Seq)),
        };
        Self {
            rows,
            prior,
            lower: bounds(|ends| ends.0),
            upper: bounds(|ends| ends.1),
            work: RefCell::new(work),
        }
    }

    /// The value at `theta` and its gradient; −∞ where the covariance matrix has no factor.
    pub(super) fn climb(&self, theta: &[f64]) -> (f64, Vec<f64>) {
        let (rows, features, n) = (self.rows, self.rows.kernel.len(), self.rows.len());
        let scales = Scales::from_logarithms(theta);
        let work = &mut *self.work.borrow_mut();
        work.fill(rows, &scales);
        if !factorise(&mut work.covariance, n, &mut work.scratch) {
            return (f64::NEG_INFINITY, vec![0.0; theta.len()]);
        }
        work.invert(n);
        let alpha = work.solve(&rows.targets);
        let fit = lanes(&alpha, &rows.targets, |a, b| a * b);
        let determinant: f64 = (0..n).map(|k| 2.0 * work.covariance[k * n + k].ln()).sum();
        let mut value = -0.5 * (fit + determinant) - n as f64 * crate::surrogate::normal::LN_SQRT_2PI;
        let mut gradient = work.gradient(rows, &scales, &alpha);
        for k in 0..theta.len() {
            let (density, slope) = self.prior.log_one(k, features, theta[k]);
            value += density;
            gradient[k] += slope;
        }
        (value, gradient)
    }
}

impl Work {
    /// The lower triangles of the covariances and their slopes.
    fn fill(&mut self, rows: &Rows, scales: &Scales) {
        let n = rows.len();
        let weights = scales.weights();
        for j in 0..n {
            let squares = &mut self.squares[j..];
            squares.fill(0.0);
            for (f, weight) in weights.iter().enumerate() {
                let column = &rows.columns[f];
                rows.kernel.add_squares(f, *weight, column[j], &column[j..], squares);
            }
            let place = j * n + j..(j + 1) * n;
            let entries = self.covariance[place.clone()].iter_mut().zip(&mut self.slopes[place]);
            for ((covariance, slope), square) in entries.zip(squares) {
                let (value, by_square) = matern_with_slope(*square);
                *covariance = scales.signal * value + MEAN_VARIANCE;
                *slope = scales.signal * by_square;
            }
            self.covariance[j * n + j] += scales.noise + rows.variances[j];
        }
    }

    fn invert(&mut self, n: usize) {
        let factor = MatRef::from_column_major_slice(&self.covariance, n, n);
        let out = MatMut::from_column_major_slice_mut(&mut self.inverse, n, n);
        inverse(out, factor, Par::Seq, MemStack::new(&mut self.room));
        for j in 0..n {
            for i in j + 1..n {
                self.inverse[i * n + j] = self.inverse[j * n + i];
            }
        }
    }

    /// A⁻¹ b.
    fn solve(&self, b: &[f64]) -> Vec<f64> {
        self.inverse.chunks_exact(b.len()).map(|row| lanes(row, b, |a, b| a * b)).collect()
    }

    /// Of ln likelihood: ½ Σᵢⱼ (αᵢ αⱼ − A⁻¹ᵢⱼ) ∂Aᵢⱼ (Rasmussen and Williams 2006, eq. 5.9).
    fn gradient(&mut self, rows: &Rows, scales: &Scales, alpha: &[f64]) -> Vec<f64> {
        let (n, weights) = (rows.len(), scales.weights());
        let features = weights.len();
        let mut gradient = vec![0.0; features + 2];
        let mut trace = 0.0;
        for j in 0..n {
            let pull = |i: usize, inverse: &[f64]| alpha[i] * alpha[j] - inverse[j * n + i];
            trace += pull(j, &self.inverse);
            // Below the diagonal each pair counts twice, which cancels the half.
            let places = &mut self.squares[j + 1..];
            for (k, place) in places.iter_mut().enumerate() {
                let i = j + 1 + k;
                *place = pull(i, &self.inverse) * self.slopes[j * n + i];
            }
            for (f, weight) in weights.iter().enumerate() {
                let column = &rows.columns[f];
                let sum = rows.kernel.weigh_squares(f, column[j], &column[j + 1..], places);
                gradient[f] -= 2.0 * weight * sum;
            }
        }
        // y = A α, and s² R = A − the rest.
        let fit = lanes(alpha, &rows.targets, |a, b| a * b);
        let sum: f64 = alpha.iter().sum();
        let total: f64 = self.inverse.iter().sum();
        let mut other = scales.noise * trace + MEAN_VARIANCE * (sum * sum - total);
        for j in 0..n {
            other += rows.variances[j] * (alpha[j] * alpha[j] - self.inverse[j * n + j]);
        }
        gradient[features] = 0.5 * (fit - n as f64 - other);
        gradient[features + 1] = 0.5 * scales.noise * trace;
        gradient
    }
}

impl Constraints for Hill<'_> {
    type Set = ConstraintSet<BoxBounds<Vec<f64>>>;

    fn constraints(&self) -> <Self::Set as ConstraintDescription>::Borrowed<'_> {
        ConstraintSet::new().with_bounds(BoxBounds::new(Some(&self.lower), Some(&self.upper)))
    }
}

impl CostFunction for Hill<'_> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Infallible;

    fn cost(&self, theta: &Vec<f64>) -> Result<f64, Infallible> {
        Ok(-self.climb(theta).0)
    }
}

impl Gradient for Hill<'_> {
    type Gradient = Vec<f64>;

    fn gradient(&self, theta: &Vec<f64>) -> Result<Vec<f64>, Infallible> {
        Ok(self.cost_and_gradient(theta)?.1)
    }

    fn cost_and_gradient(&self, theta: &Vec<f64>) -> Result<(f64, Vec<f64>), Infallible> {
        let (value, gradient) = self.climb(theta);
        Ok((-value, gradient.into_iter().map(|slope| -slope).collect()))
    }
}
