//! The lengths, signal, noise and warps that make the losses most plausible: the maximum of the posterior density.

use std::cell::RefCell;

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::inverse::{inverse, inverse_scratch};
use faer::{MatMut, MatRef, Par};

use super::ascent::{self, Hill, Patience};
use super::factor::{Scratch, factorise};
use super::kernel::{Warp, lanes, matern_with_slope};
use super::{MEAN_VARIANCE, Rows, Scales, thin};
use crate::surrogate::normal::LN_SQRT_2PI;

/// The prior of what is learned.
///
/// * Lengths: log-normal(√2 + ½ ln d, √3), d the number of active parameters (Hvarfner et al. 2024, arXiv 2402.02229,
///   eq. 8): as likely complex in many dimensions as in one.
/// * Signal variance: log-normal(1, 1), whose mode is 1, the variance of standardised losses.
/// * Noise variance: log-normal(−4, 1), the same authors' code; of what is computed rather than measured, such as
///   most constraints, log-normal(−8, 2) ([`Settings::exact`](super::Settings::exact)).
/// * Both exponents of a warp: log-normal(0, √½), whose median is no warp (Snoek et al. 2014, arXiv 1402.0929).
///
/// Densities are those of the quantities themselves, but for warps those of their logarithms as shares of the highest: no warp is the
/// mode, and a model without any is as plausible as one whose exponents are all 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Parameters active at a point, averaged over points; at least 1.
    pub active: f64,
    /// Whether there is likely to be next to no noise.
    pub exact: bool,
}

/// Smallest and largest length, signal variance, noise variance and exponent of a warp.
const LENGTHS: (f64, f64) = (0.01, 1e4);
const SIGNALS: (f64, f64) = (0.01, 100.0);
const NOISES: (f64, f64) = (1e-6, 2.0);
const EXPONENTS: (f64, f64) = (0.1, 10.0);

/// Above so many rows, the climb begins on so many of them.
const FEW: usize = 100;

/// Warps are kept if they raise ln of the posterior density by as much.
const WORTH: f64 = 5.0;

/// The place of each quantity in a vector of logarithms: lengths, signal, noise, then two exponents per warp.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Length,
    Signal,
    Noise,
    Exponent,
}

impl Place {
    fn of(k: usize, features: usize) -> Self {
        match k {
            k if k < features => Self::Length,
            k if k == features => Self::Signal,
            k if k == features + 1 => Self::Noise,
            _ => Self::Exponent,
        }
    }

    fn bounds(self) -> (f64, f64) {
        match self {
            Self::Length => LENGTHS,
            Self::Signal => SIGNALS,
            Self::Noise => NOISES,
            Self::Exponent => EXPONENTS,
        }
    }
}

impl Prior {
    /// Mean and deviation of the logarithm.
    fn of(self, place: Place) -> (f64, f64) {
        match place {
            Place::Length => (2_f64.sqrt() + 0.5 * self.active.ln(), 3_f64.sqrt()),
            Place::Signal => (1.0, 1.0),
            Place::Noise if self.exact => (-8.0, 2.0),
            Place::Noise => (-4.0, 1.0),
            Place::Exponent => (0.0, 0.5_f64.sqrt()),
        }
    }

    /// The most likely scales before any loss is seen.
    pub fn mode(self, features: usize) -> Scales {
        let mode = |place| {
            let (mean, deviation) = self.of(place);
            (mean - deviation * deviation).exp()
        };
        Scales {
            lengths: vec![mode(Place::Length); features],
            signal: mode(Place::Signal),
            noise: mode(Place::Noise),
            warps: Vec::new(),
        }
    }

    /// ln of the density of `scales`.
    pub fn log_density(self, scales: &Scales) -> f64 {
        let features = scales.lengths.len();
        let logs = scales.logarithms();
        logs.iter().enumerate().map(|(k, log)| self.log_one(Place::of(k, features), *log).0).sum()
    }

    /// ln of the density of a length, and its derivative by the length's logarithm.
    pub(super) fn length(self, log: f64) -> (f64, f64) {
        self.log_one(Place::Length, log)
    }

    /// ln of the density of exp(log), and its derivative by `log`.
    fn log_one(self, place: Place, log: f64) -> (f64, f64) {
        let (mean, deviation) = self.of(place);
        let z = (log - mean) / deviation;
        let density = -0.5 * z * z - deviation.ln() - LN_SQRT_2PI;
        match place {
            Place::Length | Place::Signal | Place::Noise => (density - log, -z / deviation - 1.0),
            Place::Exponent => (-0.5 * z * z, -z / deviation),
        }
    }
}

impl Scales {
    fn logarithms(&self) -> Vec<f64> {
        let warps = self.warps.iter().flat_map(|warp| [warp.a, warp.b]);
        let all = self.lengths.iter().copied().chain([self.signal, self.noise]).chain(warps);
        all.map(f64::ln).collect()
    }

    fn from_logarithms(logs: &[f64], features: usize) -> Self {
        Self {
            lengths: logs[..features].iter().map(|x| x.exp()).collect(),
            signal: logs[features].exp(),
            noise: logs[features + 1].exp(),
            warps: logs[features + 2..]
                .chunks_exact(2)
                .map(|pair| Warp { a: pair[0].exp(), b: pair[1].exp() })
                .collect(),
        }
    }
}

/// The most plausible scales for these rows; without rows, the prior's mode.
///
/// Climbs from two places, on a part of the rows where there are many, and from the best place reached on all rows.
/// With `warp`, climbs on with all warps free, and keeps them if that is worth it.
pub(super) fn most_plausible(rows: &Rows, prior: Prior, warp: bool) -> Scales {
    let features = rows.kernel.len();
    if rows.len() == 0 {
        return prior.mode(features);
    }
    let straight = climb_straight(rows, prior);
    let found = if warp { climb_warped(rows, prior, &straight) } else { straight };
    Scales::from_logarithms(&found.logs, features)
}

/// A place and how plausible it is.
struct Found {
    logs: Vec<f64>,
    density: f64,
}

fn climb_straight(rows: &Rows, prior: Prior) -> Found {
    let starts = starts(rows.kernel.len(), prior);
    if rows.len() <= FEW {
        return best(starts.into_iter().map(|start| climb(rows, prior, start, FINE)));
    }
    let few = rows.chosen(&thin::chosen(rows.targets.iter().copied(), FEW));
    let hill = Likelihood::new(rows, prior, 0);
    let promising = starts.into_iter().map(|start| {
        let logs = climb(&few, prior, start, COARSE).logs;
        let density = hill.at(&logs).0;
        Found { logs, density }
    });
    climb(rows, prior, best(promising).logs, FINE)
}

fn climb_warped(rows: &Rows, prior: Prior, straight: &Found) -> Found {
    let lines = (0..rows.kernel.len()).filter(|f| rows.kernel.line(*f).is_some()).count();
    let start = [&straight.logs[..], &vec![0.0; 2 * lines]].concat();
    let found = climb(rows, prior, start.clone(), COARSE);
    if found.density > straight.density + WORTH {
        return found;
    }
    Found { logs: straight.logs.clone(), density: straight.density }
}

fn best(found: impl Iterator<Item = Found>) -> Found {
    let mut best = Found { logs: Vec::new(), density: f64::NEG_INFINITY };
    for found in found {
        if best.logs.is_empty() || found.density > best.density {
            best = found;
        }
    }
    best
}

/// The prior's mode, and a smooth function with much noise.
fn starts(features: usize, prior: Prior) -> [Vec<f64>; 2] {
    let mode = prior.mode(features);
    let smooth = Scales {
        lengths: mode.lengths.iter().map(|length| 5.0 * length).collect(),
        noise: 0.1,
        ..mode.clone()
    };
    [mode.logarithms(), smooth.logarithms()]
}

const FINE: Patience = Patience { slope: 1e-3, rise: 1e-7, steps: 100 };
const COARSE: Patience = Patience { slope: 1e-2, rise: 1e-5, steps: 100 };

fn climb(rows: &Rows, prior: Prior, start: Vec<f64>, patience: Patience) -> Found {
    let hill = Likelihood::new(rows, prior, start.len() - rows.kernel.len() - 2);
    match ascent::climb(&hill, start.clone(), patience) {
        Some((logs, density)) => Found { logs, density },
        None => Found { logs: start, density: f64::NEG_INFINITY },
    }
}

/// ln of likelihood times prior as a function of the logarithms of the scales.
struct Likelihood<'a> {
    rows: &'a Rows,
    prior: Prior,
    lower: Vec<f64>,
    upper: Vec<f64>,
    work: RefCell<Work>,
}

/// Room for a covariance matrix and its slopes.
pub(super) struct Work {
    /// The covariance matrix, then its factor; by columns.
    pub(super) covariance: Vec<f64>,
    /// Derivatives of the covariances by r².
    slopes: Vec<f64>,
    inverse: Vec<f64>,
    squares: Vec<f64>,
    /// Columns of warped features, in the order of warps; none without warps.
    warped: Vec<Vec<f64>>,
    pub(super) scratch: Scratch,
    room: MemBuffer,
}

impl<'a> Likelihood<'a> {
    /// With so many logarithms of exponents.
    fn new(rows: &'a Rows, prior: Prior, exponents: usize) -> Self {
        let features = rows.kernel.len();
        let bounds = |k| Place::of(k, features).bounds();
        let all = 0..features + 2 + exponents;
        Self {
            rows,
            prior,
            lower: all.clone().map(|k| bounds(k).0.ln()).collect(),
            upper: all.map(|k| bounds(k).1.ln()).collect(),
            work: RefCell::new(Work::new(rows.len())),
        }
    }
}

impl Hill for Likelihood<'_> {
    /// The height there and its slopes; −∞ where the covariance matrix has no factor.
    fn at(&self, logs: &[f64]) -> (f64, Vec<f64>) {
        let (rows, features, n) = (self.rows, self.rows.kernel.len(), self.rows.len());
        let scales = Scales::from_logarithms(logs, features);
        let work = &mut *self.work.borrow_mut();
        work.warp(rows, &scales.warps);
        work.fill(rows, &scales);
        if !factorise(&mut work.covariance, n, &mut work.scratch) {
            return (f64::NEG_INFINITY, vec![0.0; logs.len()]);
        }
        work.invert(n);
        let alpha = work.solve(&rows.targets);
        let fit = lanes(&alpha, &rows.targets, |a, b| a * b);
        let determinant: f64 = (0..n).map(|k| 2.0 * work.covariance[k * n + k].ln()).sum();
        let mut height = -0.5 * (fit + determinant) - n as f64 * LN_SQRT_2PI;
        let mut slopes = work.gradient(rows, &rows.targets, &scales, &alpha);
        for (k, log) in logs.iter().enumerate() {
            let (density, slope) = self.prior.log_one(Place::of(k, features), *log);
            height += density;
            slopes[k] += slope;
        }
        (height, slopes)
    }

    fn bounds(&self) -> (&Vec<f64>, &Vec<f64>) {
        (&self.lower, &self.upper)
    }
}

impl Work {
    pub(super) fn new(n: usize) -> Self {
        Self {
            covariance: vec![0.0; n * n],
            slopes: vec![0.0; n * n],
            inverse: vec![0.0; n * n],
            squares: vec![0.0; n],
            warped: Vec::new(),
            scratch: Scratch::new(n),
            room: MemBuffer::new(inverse_scratch::<f64>(n, Par::Seq)),
        }
    }

    fn warp(&mut self, rows: &Rows, warps: &[Warp]) {
        let lines = (0..rows.kernel.len()).filter(|f| rows.kernel.line(*f).is_some());
        let warped = |(f, warp): (usize, &Warp)| rows.columns[f].iter().map(|u| warp.of(*u)).collect();
        self.warped = lines.zip(warps).map(warped).collect();
    }

    /// The column of feature `f`, warped or not.
    fn column<'a>(warped: &'a [Vec<f64>], rows: &'a Rows, f: usize) -> &'a [f64] {
        match rows.kernel.rank_of_line(f) {
            Some(rank) if !warped.is_empty() => &warped[rank],
            _ => &rows.columns[f],
        }
    }

    /// The lower triangles of the covariances and their slopes.
    pub(super) fn fill(&mut self, rows: &Rows, scales: &Scales) {
        let n = rows.len();
        let weights = scales.weights();
        for j in 0..n {
            let squares = &mut self.squares[j..];
            squares.fill(0.0);
            for (f, weight) in weights.iter().enumerate() {
                let column = Self::column(&self.warped, rows, f);
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

    pub(super) fn invert(&mut self, n: usize) {
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
    pub(super) fn gradient(
        &mut self,
        rows: &Rows,
        targets: &[f64],
        scales: &Scales,
        alpha: &[f64],
    ) -> Vec<f64> {
        let (n, weights) = (rows.len(), scales.weights());
        let features = weights.len();
        let mut gradient = vec![0.0; features + 2];
        // For each warped feature f and row i: Σⱼ pullᵢⱼ ∂Aᵢⱼ/∂r² (wᵢ − wⱼ).
        let mut pulls = vec![vec![0.0; n]; self.warped.len()];
        let mut trace = 0.0;
        for j in 0..n {
            trace += alpha[j] * alpha[j] - self.inverse[j * n + j];
            // Below the diagonal each pair counts twice, which cancels the half.
            let below = j * n + j + 1..(j + 1) * n;
            let entries = self.inverse[below.clone()].iter().zip(&self.slopes[below]);
            let places = &mut self.squares[j + 1..];
            for ((place, (inverse, slope)), alpha_i) in places.iter_mut().zip(entries).zip(&alpha[j + 1..]) {
                *place = (alpha_i * alpha[j] - inverse) * slope;
            }
            for (f, weight) in weights.iter().enumerate() {
                let column = Self::column(&self.warped, rows, f);
                let sum = rows.kernel.weigh_squares(f, column[j], &column[j + 1..], places);
                gradient[f] -= 2.0 * weight * sum;
            }
            for (column, pull) in self.warped.iter().zip(&mut pulls) {
                add_pulls(column, places, j, pull);
            }
        }
        // y = A α, and s² R = A − the rest.
        let fit = lanes(alpha, targets, |a, b| a * b);
        let sum: f64 = alpha.iter().sum();
        let total: f64 = self.inverse.iter().sum();
        let mut other = scales.noise * trace + MEAN_VARIANCE * (sum * sum - total);
        for (j, (variance, alpha)) in rows.variances.iter().zip(alpha).enumerate() {
            other += variance * (alpha * alpha - self.inverse[j * n + j]);
        }
        gradient[features] = 0.5 * (fit - n as f64 - other);
        gradient[features + 1] = 0.5 * scales.noise * trace;
        gradient.extend(warp_slopes(rows, scales, &pulls));
        gradient
    }
}

/// Adds the pairs of row j with those after it.
fn add_pulls(column: &[f64], pairs: &[f64], j: usize, pull: &mut [f64]) {
    let (before, after) = pull.split_at_mut(j + 1);
    let x = column[j];
    for ((pull, pair), y) in after.iter_mut().zip(pairs).zip(&column[j + 1..]) {
        *pull += pair * (y - x);
    }
    before[j] -= lanes(&column[j + 1..], pairs, |y, pair| pair * (y - x));
}

/// By ln a and ln b of each warp in turn.
fn warp_slopes(rows: &Rows, scales: &Scales, pulls: &[Vec<f64>]) -> Vec<f64> {
    let lines = (0..rows.kernel.len()).filter(|f| rows.kernel.line(*f).is_some());
    let slopes = |((f, warp), pull): ((usize, &Warp), &Vec<f64>)| {
        let mut sums = [0.0; 2];
        for (u, pull) in rows.columns[f].iter().zip(pull) {
            let (by_a, by_b) = warp.by_exponents(*u);
            sums[0] += pull * by_a;
            sums[1] += pull * by_b;
        }
        sums.map(|sum| 2.0 * sum / (scales.lengths[f] * scales.lengths[f]))
    };
    lines.zip(&scales.warps).zip(pulls).flat_map(slopes).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rng::{Purpose, Rng};
    use crate::space::{Condition, Space};
    use crate::surrogate::gaussian_process::ascent::assert_slopes;
    use crate::surrogate::gaussian_process::{Kernel, Outputs, Row};

    #[test]
    fn slopes_of_the_hill_agree_with_differences() {
        let space = Space::builder()
            .float("x", 0.0..=1.0)
            .categorical("kind", ["a", "b"])
            .float("y", 0.0..=1.0)
            .when(Condition::eq("kind", "a"))
            .build()
            .unwrap();
        let mut rng = Rng::stream(1, 0, Purpose::Surrogate, 0);
        let draw = |_| space.to_unit(&space.from_unit(&rng.uniforms(3)));
        let units: Vec<Vec<f64>> = (0..20).map(draw).collect();
        let row = |unit: &Vec<f64>| unit[0].sin() + unit[1];
        let losses: Vec<Row> =
            units.iter().map(|unit| Row { unit, loss: row(unit), error: 0.1 * unit[0] }).collect();
        let rows = Rows::of(&Arc::new(Kernel::of(&space)), &losses, &Outputs::identity());
        let hill = Likelihood::new(&rows, rows.prior(false), 4);
        let logs = [-0.4, 0.3, 0.1, -0.2, 0.5, -3.0, 0.4, -0.3, -0.2, 0.6];
        assert_slopes(&hill, &logs, 1e-5);
    }
}
