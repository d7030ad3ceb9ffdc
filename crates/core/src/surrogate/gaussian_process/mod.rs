//! Gaussian-process regression of losses over a space: what is believed anywhere, how surely, and how it changes.
//!
//! The loss in model units ([`Outputs`]) is y(x) = m + g(x) + ε, where g has a Matérn-5/2 covariance over the features of
//! the space ([`Kernel`]) with variance s², the mean m is N(0, 1) and integrated out, and ε is N(0, σ²) plus what a row
//! says about its own error. With A the covariance matrix of the rows, and a(x) the covariances of x with them, the belief
//! at x is normal with mean a(x)ᵀ A⁻¹ y and variance s² + 1 − a(x)ᵀ A⁻¹ a(x) (Rasmussen and Williams 2006, eq. 2.25, 2.26
//! and 2.39). Lengths, s² and σ² are those with the highest posterior density ([`Prior`]).
//!
//! It knows nothing of trials: which rows to show it, when to fit it anew and what to do with failures is a sampler's
//! business. Several objectives or constraints are several models.

mod ascent;
mod factor;
mod fit;
mod imagined;
mod kernel;
mod outputs;
mod success;
mod thin;

use std::slice::from_ref;
use std::sync::Arc;

pub use fit::Prior;
pub use imagined::Imagined;
pub use kernel::{Kernel, Warp};
pub use outputs::{Outputs, Power};
pub use success::Success;

use super::{Belief, Slope, Surrogate};
use crate::rng::Rng;
use factor::Factor;
use kernel::{lanes, matern, matern_with_slope};

/// The prior variance of the mean, in model units.
const MEAN_VARIANCE: f64 = 1.0;

/// No deviation is smaller, in model units.
const SMALLEST_DEVIATION: f64 = 1e-8;

/// One loss and where it was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    /// Unit coordinates, NaN where a parameter is inactive.
    pub unit: &'a [f64],
    /// The loss, finite.
    pub loss: f64,
    /// Its standard error, known from replicates; NaN or 0 where it is not known.
    pub error: f64,
}

/// What is learned: one length per feature of the kernel, and two variances in model units.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// How far one goes along each feature until losses have little to do with each other.
    pub lengths: Vec<f64>,
    /// s², the variance of the noise-free loss around its mean.
    pub signal: f64,
    /// σ², the variance of the noise in one loss.
    pub noise: f64,
    /// How the coordinates of number parameters are bent before distances are measured, in declared order; empty where
    /// none is.
    pub warps: Vec<Warp>,
}

impl Scales {
    fn weights(&self) -> Vec<f64> {
        self.lengths.iter().map(|length| 1.0 / (length * length)).collect()
    }
}

/// How a model is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Whether losses are made more normal by a power transform where that helps, and far outliers on the bad side are
    /// drawn in. Otherwise they are only standardised.
    pub transform: bool,
    /// Whether coordinates are bent where that makes the losses much more plausible. About doubles the cost of a fit.
    pub warp: bool,
    /// Of more rows, so many are kept: a third the best, a third the latest, a third spread evenly over the others.
    pub most_rows: usize,
    /// Scales are learned from so many rows at most, chosen in the same way from those that are kept.
    pub most_fitted: usize,
    /// Whether there is likely to be next to no noise ([`Prior`]).
    pub exact: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { transform: true, warp: false, most_rows: 1000, most_fitted: 300, exact: false }
    }
}

/// What is believed about several points together, in model units.
#[derive(Clone, Debug, PartialEq)]
pub struct Joint {
    /// The mean at each.
    pub mean: Vec<f64>,
    /// The covariance of each two, row by row.
    pub covariance: Vec<f64>,
    factor: Factor,
}

impl Joint {
    /// The values at the points that belong to independent standard normal numbers, one per point.
    pub fn at(&self, normals: &[f64]) -> Vec<f64> {
        self.factor.times(normals).iter().zip(&self.mean).map(|(change, mean)| mean + change).collect()
    }

    /// A draw of the values at the points.
    pub fn draw(&self, rng: &mut Rng) -> Vec<f64> {
        let normals: Vec<f64> = self.mean.iter().map(|_| rng.normal()).collect();
        self.at(&normals)
    }
}

/// A Gaussian process given rows.
///
/// Beliefs are about the noise-free loss in model units; [`GaussianProcess::outputs`] turns losses into them and back.
#[derive(Clone, Debug)]
pub struct GaussianProcess {
    rows: Rows,
    outputs: Outputs,
    prior: Prior,
    scales: Scales,
    weights: Vec<f64>,
    factor: Factor,
    /// L⁻¹ y and A⁻¹ y.
    half: Vec<f64>,
    alpha: Vec<f64>,
}

impl GaussianProcess {
    /// The model with the most plausible scales for these rows; without rows, the prior.
    pub fn fit(kernel: &Arc<Kernel>, rows: &[Row], settings: &Settings) -> Self {
        let kept = kept(rows, settings);
        let losses: Vec<f64> = kept.iter().map(|row| row.loss).collect();
        if !settings.transform {
            return fit_with(kernel, &kept, Outputs::linear(&losses), settings);
        }
        likelier(kernel, &kept, Outputs::candidates(&losses), settings)
    }

    /// The same for a quantity whose sign is what counts, such as a constraint's: the transform is one around 0, and kept
    /// are the rows whose values are the smallest.
    pub fn fit_around_zero(kernel: &Arc<Kernel>, rows: &[Row], settings: &Settings) -> Self {
        let kept = kept(rows, settings);
        let values: Vec<f64> = kept.iter().map(|row| row.loss).collect();
        likelier(kernel, &kept, Outputs::around_zero(&values), settings)
    }

    /// The model with given scales.
    pub fn with(kernel: &Arc<Kernel>, rows: &[Row], outputs: Outputs, scales: Scales) -> Self {
        let rows = Rows::of(kernel, rows, &outputs);
        let prior = rows.prior(false);
        Self::condition(rows, outputs, prior, scales)
    }

    fn condition(mut rows: Rows, outputs: Outputs, prior: Prior, scales: Scales) -> Self {
        rows.warp(&scales.warps);
        let weights = scales.weights();
        let factor = Factor::of(&rows.covariances(&scales, &weights), rows.len());
        let half = factor.forward(&rows.targets);
        let alpha = factor.backward(&half);
        Self { rows, outputs, prior, scales, weights, factor, half, alpha }
    }

    /// Takes in one more row, at O(n²). Scales and outputs stay as they are.
    pub fn push(&mut self, row: Row) {
        let target = self.outputs.forward(row.loss);
        let error = row.error * self.outputs.slope(row.loss);
        self.push_believed(row.unit, target, if error.is_finite() { error * error } else { 0.0 });
    }

    /// Takes in a value in model units as if it had been seen, such as what is believed of a pending trial. `variance`
    /// is that of its own error, beside the model's noise.
    pub fn push_believed(&mut self, unit: &[f64], value: f64, variance: f64) {
        let point = self.rows.embed(unit);
        let covariances = self.covariances(&point);
        let own = self.prior_variance() + self.scales.noise + variance;
        let (row, pivot) = self.factor.append(&covariances, own);
        let explained = lanes(&row, &self.half, |a, b| a * b);
        self.half.push((value - explained) / pivot);
        self.rows.push(&point, value, variance);
        self.alpha = self.factor.backward(&self.half);
    }

    /// Forgets all rows but the first `rows`, at O(n²): takes back what was pushed last.
    pub fn truncate(&mut self, rows: usize) {
        self.rows.truncate(rows);
        self.factor.truncate(rows);
        self.half.truncate(rows);
        self.alpha = self.factor.backward(&self.half);
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has seen nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// The features it measures distances by.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.rows.kernel
    }

    /// How losses and model units belong together.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// The scales it was made with.
    pub fn scales(&self) -> &Scales {
        &self.scales
    }

    /// The losses of its rows in model units.
    pub fn targets(&self) -> &[f64] {
        &self.rows.targets
    }

    /// Variance of the noise-free loss where nothing is known.
    pub fn prior_variance(&self) -> f64 {
        self.scales.signal + MEAN_VARIANCE
    }

    /// What had to be added to the diagonal of the covariance matrix for it to have a factor; 0 unless rows are all but
    /// the same and noise is tiny.
    pub fn jitter(&self) -> f64 {
        self.factor.jitter
    }

    /// ln of the likelihood of its rows.
    pub fn log_likelihood(&self) -> f64 {
        let fit = lanes(&self.half, &self.half, |a, b| a * b);
        -0.5 * (fit + self.factor.log_determinant())
            - self.rows.len() as f64 * crate::surrogate::normal::LN_SQRT_2PI
    }

    /// ln of likelihood times prior density: what the fit maximises.
    pub fn log_posterior(&self) -> f64 {
        self.log_likelihood() + self.prior.log_density(&self.scales)
    }

    /// What is believed at each of its rows: losses with the noise taken out.
    ///
    /// From a(xᵢ) = A eᵢ − vᵢ eᵢ, with vᵢ the variance of the noise in row i: the mean is yᵢ − vᵢ αᵢ and the variance
    /// vᵢ − vᵢ² A⁻¹ᵢᵢ.
    pub fn smoothed(&self) -> Vec<Belief> {
        let precisions = self.factor.inverse_diagonal();
        let belief = |i: usize| {
            let noise = self.noise(i);
            let variance = noise - noise * noise * precisions[i];
            Belief { mean: self.rows.targets[i] - noise * self.alpha[i], deviation: deviation(variance) }
        };
        (0..self.len()).map(belief).collect()
    }

    /// What would be believed of each loss, noise included, without it (Rasmussen and Williams 2006, eq. 5.12).
    pub fn leave_one_out(&self) -> Vec<Belief> {
        let precisions = self.factor.inverse_diagonal();
        let belief = |i: usize| Belief {
            mean: self.rows.targets[i] - self.alpha[i] / precisions[i],
            deviation: deviation(1.0 / precisions[i]),
        };
        (0..self.len()).map(belief).collect()
    }

    fn noise(&self, row: usize) -> f64 {
        self.scales.noise + self.rows.variances[row] + self.factor.jitter
    }

    /// What is believed about several points together.
    pub fn joint(&self, units: &[Vec<f64>]) -> Joint {
        let (n, q) = (self.len(), units.len());
        let points: Vec<Vec<f64>> = units.iter().map(|unit| self.rows.embed(unit)).collect();
        let mut solved: Vec<f64> = points.iter().flat_map(|point| self.covariances(point)).collect();
        let means = solved.chunks_exact(n.max(1)).map(|column| lanes(column, &self.alpha, |a, b| a * b));
        let mean = if n == 0 { vec![0.0; q] } else { means.collect() };
        self.factor.forward_all(&mut solved);
        let mut covariance = vec![0.0; q * q];
        for i in 0..q {
            for j in 0..=i {
                let known = lanes(&solved[i * n..(i + 1) * n], &solved[j * n..(j + 1) * n], |a, b| a * b);
                covariance[i * q + j] = self.covariance(&points[i], &points[j]) - known;
                covariance[j * q + i] = covariance[i * q + j];
            }
        }
        let factor = Factor::of(&covariance, q);
        Joint { mean, covariance, factor }
    }

    fn covariance(&self, a: &[f64], b: &[f64]) -> f64 {
        let mut square = [0.0];
        for (f, weight) in self.weights.iter().enumerate() {
            self.rows.kernel.add_squares(f, *weight, a[f], &b[f..=f], &mut square);
        }
        self.scales.signal * matern(square[0]) + MEAN_VARIANCE
    }

    /// Squared distances of an embedded point to the rows.
    fn squares(&self, point: &[f64]) -> Vec<f64> {
        let mut squares = vec![0.0; self.len()];
        for (f, weight) in self.weights.iter().enumerate() {
            self.rows.kernel.add_squares(f, *weight, point[f], &self.rows.columns[f], &mut squares);
        }
        squares
    }

    fn covariances(&self, point: &[f64]) -> Vec<f64> {
        let mut squares = self.squares(point);
        for square in &mut squares {
            *square = self.scales.signal * matern(*square) + MEAN_VARIANCE;
        }
        squares
    }

    /// The beliefs from a point's covariances with the rows, one for each A⁻¹ y.
    fn beliefs_of(&self, covariances: &[f64], solved: &[f64], alphas: &[Vec<f64>]) -> Vec<Belief> {
        let known = lanes(solved, solved, |a, b| a * b);
        let deviation = deviation(self.prior_variance() - known);
        let mean = |alpha: &Vec<f64>| lanes(covariances, alpha, |a, b| a * b);
        alphas.iter().map(|alpha| Belief { mean: mean(alpha), deviation }).collect()
    }

    /// What is believed at each of `units`, one belief for each A⁻¹ y.
    fn beliefs_given(&self, units: &[Vec<f64>], alphas: &[Vec<f64>]) -> Vec<Vec<Belief>> {
        let n = self.len();
        if n == 0 {
            let none = self.beliefs_of(&[], &[], alphas);
            return units.iter().map(|_| none.clone()).collect();
        }
        let columns = |unit: &Vec<f64>| self.covariances(&self.rows.embed(unit));
        let covariances: Vec<f64> = units.iter().flat_map(columns).collect();
        let mut solved = covariances.clone();
        self.factor.forward_all(&mut solved);
        let pairs = covariances.chunks_exact(n).zip(solved.chunks_exact(n));
        pairs.map(|(covariances, solved)| self.beliefs_of(covariances, solved, alphas)).collect()
    }

    /// What is believed at `unit` with its slopes, for each A⁻¹ y. The mean changes by ∂a(x)ᵀ α, the variance by
    /// −2 ∂a(x)ᵀ A⁻¹ a(x).
    fn slopes_given(&self, unit: &[f64], alphas: &[Vec<f64>]) -> Vec<Slope> {
        let point = self.rows.embed(unit);
        let (mut covariances, mut pulls) = (self.squares(&point), vec![0.0; self.len()]);
        for (covariance, pull) in covariances.iter_mut().zip(&mut pulls) {
            let (value, slope) = matern_with_slope(*covariance);
            *covariance = self.scales.signal * value + MEAN_VARIANCE;
            *pull = 2.0 * self.scales.signal * slope;
        }
        let solved = self.factor.forward(&covariances);
        let explained = self.factor.backward(&solved);
        // ∂ of a sum over rows of a(x) times `by`, by each coordinate.
        let along = |by: &[f64]| {
            let by: Vec<f64> = pulls.iter().zip(by).map(|(pull, by)| pull * by).collect();
            let mut slope = vec![0.0; unit.len()];
            for (f, weight) in self.weights.iter().enumerate() {
                let Some(k) = self.rows.kernel.line(f).filter(|k| !unit[*k].is_nan()) else { continue };
                let (x, column) = (point[f], &self.rows.columns[f]);
                let bend = self.rows.bend(f, unit[k]);
                slope[k] = bend * weight * lanes(column, &by, |y, by| (x - y) * by);
            }
            slope
        };
        let explained = along(&explained);
        let slope = |(belief, alpha): (Belief, &Vec<f64>)| Slope {
            belief,
            mean: along(alpha),
            deviation: explained.iter().map(|by| -by / belief.deviation).collect(),
        };
        self.beliefs_of(&covariances, &solved, alphas).into_iter().zip(alphas).map(slope).collect()
    }
}

fn kept<'a>(rows: &[Row<'a>], settings: &Settings) -> Vec<Row<'a>> {
    let kept = thin::chosen(rows.iter().map(|row| row.loss), settings.most_rows);
    kept.into_iter().map(|k| rows[k]).collect()
}

/// The model with the outputs that make the losses more plausible.
fn likelier(
    kernel: &Arc<Kernel>,
    rows: &[Row],
    (straight, bent): (Outputs, Option<Outputs>),
    settings: &Settings,
) -> GaussianProcess {
    let straight = fit_with(kernel, rows, straight, settings);
    let Some(bent) = bent else { return straight };
    let bent = fit_with(kernel, rows, bent, settings);
    let losses: Vec<f64> = rows.iter().map(|row| row.loss).collect();
    if is_more_plausible(&bent, &straight, &losses) { bent } else { straight }
}

/// Whether one model makes the losses themselves more plausible than another (Snelson et al. 2004, eq. 4): densities of
/// model units times model units per unit of loss. Losses that either draws in have no density and count in none.
fn is_more_plausible(one: &GaussianProcess, other: &GaussianProcess, losses: &[f64]) -> bool {
    let counts = |loss: &&f64| !one.outputs.is_drawn_in(**loss) && !other.outputs.is_drawn_in(**loss);
    let log = |model: &GaussianProcess| {
        let slopes: f64 = losses.iter().filter(counts).map(|loss| model.outputs.slope(*loss).ln()).sum();
        model.log_posterior() + slopes
    };
    log(one) > log(other)
}

/// The model with the most plausible scales for rows whose outputs are known.
fn fit_with(kernel: &Arc<Kernel>, rows: &[Row], outputs: Outputs, settings: &Settings) -> GaussianProcess {
    let all = Rows::of(kernel, rows, &outputs);
    let prior = all.prior(settings.exact);
    let scales = if rows.len() <= settings.most_fitted {
        fit::most_plausible(&all, prior, settings.warp)
    } else {
        let few = thin::chosen(all.targets.iter().copied(), settings.most_fitted);
        fit::most_plausible(&all.chosen(&few), prior, settings.warp)
    };
    GaussianProcess::condition(all, outputs, prior, scales)
}

/// How many of `finished` rows a model is fitted to that never sees more than `most`: the fit is made anew with every row up to 20, and
/// then whenever there are a tenth more, or what [`most_at_fit`] keeps free is used up. Rows in between are pushed. A function of the
/// counts alone, so that nothing depends on when a model was last asked.
pub fn rows_at_fit(finished: usize, most: usize) -> usize {
    let mut rows = finished.min(20);
    loop {
        let more = (rows / 10).clamp(1, room(most));
        if rows + more > finished {
            return rows;
        }
        rows += more;
    }
}

/// How many of the `most` rows that a model may see a fit uses at most: a fifth is kept free for rows pushed until the next one.
pub fn most_at_fit(most: usize) -> usize {
    most - room(most)
}

fn room(most: usize) -> usize {
    (most / 5).max(1)
}

fn deviation(variance: f64) -> f64 {
    variance.max(0.0).sqrt().max(SMALLEST_DEVIATION)
}

impl Surrogate for GaussianProcess {
    fn belief(&self, unit: &[f64]) -> Belief {
        let covariances = self.covariances(&self.rows.embed(unit));
        self.beliefs_of(&covariances, &self.factor.forward(&covariances), from_ref(&self.alpha))[0]
    }

    fn beliefs(&self, units: &[Vec<f64>]) -> Vec<Belief> {
        self.beliefs_given(units, from_ref(&self.alpha)).into_iter().map(|one| one[0]).collect()
    }

    fn slope(&self, unit: &[f64]) -> Option<Slope> {
        self.slopes_given(unit, from_ref(&self.alpha)).pop()
    }
}

/// Rows in model units, features by columns.
#[derive(Clone, Debug)]
struct Rows {
    kernel: Arc<Kernel>,
    /// What the columns have been bent by.
    warps: Vec<Warp>,
    columns: Vec<Vec<f64>>,
    targets: Vec<f64>,
    /// Variances of the rows' own errors.
    variances: Vec<f64>,
    /// Active parameters, summed over rows.
    active: usize,
}

impl Rows {
    fn of(kernel: &Arc<Kernel>, rows: &[Row], outputs: &Outputs) -> Self {
        let column = |f| rows.iter().map(|row| kernel.embed(f, row.unit)).collect();
        let variance = |row: &Row| {
            let error = row.error * outputs.slope(row.loss);
            if error.is_finite() { error * error } else { 0.0 }
        };
        Self {
            kernel: kernel.clone(),
            warps: Vec::new(),
            columns: (0..kernel.len()).map(column).collect(),
            targets: rows.iter().map(|row| outputs.forward(row.loss)).collect(),
            variances: rows.iter().map(variance).collect(),
            active: rows.iter().map(|row| kernel.active(row.unit)).sum(),
        }
    }

    fn len(&self) -> usize {
        self.targets.len()
    }

    fn embed(&self, unit: &[f64]) -> Vec<f64> {
        let embed = |f| {
            let x = self.kernel.embed(f, unit);
            self.warp_of(f).map_or(x, |warp| warp.of(x))
        };
        (0..self.kernel.len()).map(embed).collect()
    }

    fn warp_of(&self, f: usize) -> Option<Warp> {
        self.warps.get(self.kernel.rank_of_line(f)?).copied()
    }

    /// How fast feature `f` moves with its coordinate.
    fn bend(&self, f: usize, coordinate: f64) -> f64 {
        self.warp_of(f).map_or(1.0, |warp| warp.slope(coordinate))
    }

    /// Bends the columns, once.
    fn warp(&mut self, warps: &[Warp]) {
        self.warps = warps.to_vec();
        for f in 0..self.columns.len() {
            if let Some(warp) = self.warp_of(f) {
                for u in &mut self.columns[f] {
                    *u = warp.of(*u);
                }
            }
        }
    }

    /// Some of the rows.
    fn chosen(&self, rows: &[usize]) -> Self {
        let pick = |values: &Vec<f64>| rows.iter().map(|k| values[*k]).collect();
        Self {
            kernel: self.kernel.clone(),
            warps: self.warps.clone(),
            columns: self.columns.iter().map(pick).collect(),
            targets: pick(&self.targets),
            variances: pick(&self.variances),
            active: self.active * rows.len() / self.len().max(1),
        }
    }

    fn push(&mut self, point: &[f64], target: f64, variance: f64) {
        for (column, x) in self.columns.iter_mut().zip(point) {
            column.push(*x);
        }
        self.targets.push(target);
        self.variances.push(variance);
    }

    fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
        self.targets.truncate(rows);
        self.variances.truncate(rows);
    }

    fn prior(&self, exact: bool) -> Prior {
        let rows = self.len() as f64;
        let mean = if rows == 0.0 { self.kernel.len() as f64 } else { self.active as f64 / rows };
        Prior { active: mean.max(1.0), exact }
    }

    /// The lower triangle of A, by columns.
    fn covariances(&self, scales: &Scales, weights: &[f64]) -> Vec<f64> {
        let n = self.len();
        let mut matrix = vec![0.0; n * n];
        for j in 0..n {
            let entries = &mut matrix[j * n + j..(j + 1) * n];
            for (f, weight) in weights.iter().enumerate() {
                let column = &self.columns[f];
                self.kernel.add_squares(f, *weight, column[j], &column[j..], entries);
            }
            for entry in entries {
                *entry = scales.signal * matern(*entry) + MEAN_VARIANCE;
            }
            matrix[j * n + j] += scales.noise + self.variances[j];
        }
        matrix
    }
}
