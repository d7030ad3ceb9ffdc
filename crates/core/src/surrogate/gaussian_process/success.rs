//! How likely a trial at a point is to succeed, learned from trials that did and did not: a probit model with a latent
//! Gaussian process, by variational Bayes (Girolami and Rogers 2006, "Variational Bayesian Multinomial Probit Regression").
//!
//! A trial succeeds where f(x) + ε > 0, with f a Gaussian process and ε standard normal. The approximate posterior of f is
//! that of a regression with noise 1 on targets y = m + α, where m is the most plausible latent value at each row and
//! αᵢ = tᵢ φ(mᵢ) / Φ(tᵢ mᵢ) for the label tᵢ = ±1. So the model is a [`GaussianProcess`] given y, and
//! the probability at x is Φ(mean / √(1 + variance)). Lengths and signal maximise the bound of the evidence
//!
//! > −½ ln |C + I| − ½ mᵀ α + Σ ln Φ(tᵢ mᵢ)
//!
//! and their prior. A latent function may be as steep as the edge between success and failure is sharp, and still
//! be smooth along it; a regression on the labels themselves would take the jump for a short length.

use std::cell::RefCell;
use std::sync::Arc;

use super::super::normal::{LN_SQRT_2PI, log_tail};
use super::super::{Belief, Surrogate};
use super::ascent::{self, Hill, Patience};
use super::factor::{Factor, factorise};
use super::fit::{Prior, Work};
use super::kernel::lanes;
use super::outputs::Outputs;
use super::{GaussianProcess, Kernel, Row, Rows, Scales};

/// The probability of success over a space.
#[derive(Clone, Debug)]
pub struct Success {
    /// `None` until both outcomes have been seen.
    model: Option<GaussianProcess>,
    /// Laplace's rule of succession, for a model that has not seen both outcomes.
    share: f64,
}

/// Lengths and signal are learned from so many outcomes at most, half of each kind where there are so many.
const LEARNED: usize = 100;

/// Smallest and largest length and signal variance; the latter's prior is log-normal about `SIGNAL`.
const LENGTHS: (f64, f64) = (0.05, 1e4);
const SIGNALS: (f64, f64) = (0.1, 1e3);
const SIGNAL: (f64, f64) = (std::f64::consts::LN_10, 1.5);

impl Success {
    /// The model of outcomes at unit coordinates.
    ///
    /// While all are alike, the probability is (successes + 1) / (trials + 2) everywhere.
    pub fn fit(kernel: &Arc<Kernel>, outcomes: &[(&[f64], bool)]) -> Self {
        let successes = outcomes.iter().filter(|(_, succeeded)| *succeeded).count();
        let share = (successes + 1) as f64 / (outcomes.len() + 2) as f64;
        if successes == 0 || successes == outcomes.len() {
            return Self { model: None, share };
        }
        let rows: Vec<Row> =
            outcomes.iter().map(|(unit, ok)| Row { unit, loss: label(*ok), error: f64::NAN }).collect();
        let mut rows = Rows::of(kernel, &rows, &Outputs::identity());
        let prior = rows.prior(false);
        let scales = most_plausible(&rows.chosen(&balanced(&rows.targets)), prior);
        let weights = scales.weights();
        let covariances = without_noise(&rows.covariances(&scales, &weights), rows.len());
        let labels = std::mem::take(&mut rows.targets);
        let mode = Mode::of(&covariances, &labels, vec![0.0; labels.len()]);
        rows.targets = mode.targets();
        Self { model: Some(GaussianProcess::condition(rows, Outputs::identity(), prior, scales)), share }
    }

    /// Takes in one more outcome, at O(n²). Only for a model that has seen both outcomes: false, and nothing done, for
    /// others, which must be fitted anew.
    ///
    /// The latent values at the other rows move as in a regression.
    pub fn push(&mut self, unit: &[f64], succeeded: bool) -> bool {
        let Some(model) = &mut self.model else { return false };
        let (belief, label) = (model.belief(unit), label(succeeded));
        let variance = belief.deviation * belief.deviation;
        // The root of s = r(t μ + v s), r falling.
        let (mut low, mut high) = (0.0, mills(label * belief.mean));
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if mills(label * belief.mean + variance * middle) > middle {
                low = middle;
            } else {
                high = middle;
            }
        }
        model.push_believed(unit, belief.mean + (variance + 1.0) * label * low, 0.0);
        true
    }

    /// Whether the probability is the same everywhere.
    pub fn is_flat(&self) -> bool {
        self.model.is_none()
    }

    /// The probability that a trial at `unit` succeeds.
    pub fn probability(&self, unit: &[f64]) -> f64 {
        self.log_probability(unit).exp()
    }

    /// Its logarithm, which stays finite where success is most unlikely.
    pub fn log_probability(&self, unit: &[f64]) -> f64 {
        self.model.as_ref().map_or(self.share.ln(), |model| log_tail(-z(&model.belief(unit))))
    }

    /// Logarithms at many points.
    pub fn log_probabilities(&self, units: &[Vec<f64>]) -> Vec<f64> {
        match &self.model {
            None => vec![self.share.ln(); units.len()],
            Some(model) => model.beliefs(units).iter().map(|belief| log_tail(-z(belief))).collect(),
        }
    }

    /// ln of the probability and its slope by each unit coordinate.
    pub fn slope(&self, unit: &[f64]) -> (f64, Vec<f64>) {
        let Some(slope) = self.model.as_ref().and_then(|model| model.slope(unit)) else {
            return (self.share.ln(), vec![0.0; unit.len()]);
        };
        let (z, deviation) = (z(&slope.belief), slope.belief.deviation);
        let (ratio, spread) = (mills(z), (1.0 + deviation * deviation).sqrt());
        let parts = slope.mean.iter().zip(&slope.deviation);
        let by = |(mean, by): (&f64, &f64)| ratio * (mean / spread - z * deviation * by / (spread * spread));
        (log_tail(-z), parts.map(by).collect())
    }
}

fn label(succeeded: bool) -> f64 {
    if succeeded { 1.0 } else { -1.0 }
}

fn z(belief: &Belief) -> f64 {
    belief.mean / (1.0 + belief.deviation * belief.deviation).sqrt()
}

/// φ(z) / Φ(z).
fn mills(z: f64) -> f64 {
    (-0.5 * z * z - LN_SQRT_2PI - log_tail(-z)).exp()
}

/// Indices of at most [`LEARNED`] rows, evenly from the rows with either label; ascending.
fn balanced(labels: &[f64]) -> Vec<usize> {
    let of = |sign: f64| -> Vec<usize> { (0..labels.len()).filter(|k| labels[*k] == sign).collect() };
    let (good, bad) = (of(1.0), of(-1.0));
    let half = LEARNED / 2;
    let spread = |all: &[usize], other: &[usize]| -> Vec<usize> {
        let wanted = all.len().min(half.max(LEARNED - other.len().min(half)));
        (0..wanted).map(|k| all[(2 * k + 1) * all.len() / (2 * wanted)]).collect()
    };
    let mut chosen = [spread(&good, &bad), spread(&bad, &good)].concat();
    chosen.sort_unstable();
    chosen
}

/// C from the lower triangle of C + I, by columns.
fn without_noise(lower: &[f64], n: usize) -> Vec<f64> {
    let mut full = lower.to_vec();
    for j in 0..n {
        full[j * n + j] -= 1.0;
        for i in j + 1..n {
            full[i * n + j] = full[j * n + i];
        }
    }
    full
}

/// The most plausible latent values at rows.
struct Mode {
    /// m = C α.
    latent: Vec<f64>,
    alpha: Vec<f64>,
    /// −½ mᵀ α + Σ ln Φ(t m).
    height: f64,
}

impl Mode {
    /// By Newton's method from `alpha` (Rasmussen and Williams 2006, algorithm 3.1), halving steps that do not climb.
    fn of(covariances: &[f64], labels: &[f64], alpha: Vec<f64>) -> Self {
        let mut mode = Self::at(covariances, labels, alpha);
        for _ in 0..30 {
            let goal = mode.newton(covariances, labels);
            let mut share = 1.0;
            let mut next = Self::at(covariances, labels, goal.clone());
            while next.height < mode.height && share > 1e-3 {
                share *= 0.5;
                let pairs = mode.alpha.iter().zip(&goal);
                next = Self::at(covariances, labels, pairs.map(|(a, g)| a + share * (g - a)).collect());
            }
            let gain = next.height - mode.height;
            if gain > 0.0 {
                mode = next;
            }
            if gain < 1e-9 || gain.is_nan() {
                break;
            }
        }
        // At the mode α is the slope of the likelihood; exactly so, whatever Newton left.
        let pairs = labels.iter().zip(&mode.latent);
        mode.alpha = pairs.map(|(label, m)| label * mills(label * m)).collect();
        mode
    }

    fn at(covariances: &[f64], labels: &[f64], alpha: Vec<f64>) -> Self {
        let n = labels.len();
        let latent: Vec<f64> =
            covariances.chunks_exact(n).map(|row| lanes(row, &alpha, |a, b| a * b)).collect();
        let likelihood: f64 = labels.iter().zip(&latent).map(|(label, m)| log_tail(-label * m)).sum();
        let height = likelihood - 0.5 * lanes(&latent, &alpha, |a, b| a * b);
        Self { latent, alpha, height }
    }

    fn newton(&self, covariances: &[f64], labels: &[f64]) -> Vec<f64> {
        let n = labels.len();
        let ratios = labels.iter().zip(&self.latent).map(|(label, m)| (label * m, mills(label * m)));
        let curvatures: Vec<f64> = ratios.map(|(z, ratio)| (ratio * (ratio + z)).max(1e-12)).collect();
        let roots: Vec<f64> = curvatures.iter().map(|w| w.sqrt()).collect();
        let mut matrix = vec![0.0; n * n];
        for j in 0..n {
            for i in j..n {
                matrix[j * n + i] = roots[i] * covariances[j * n + i] * roots[j];
            }
            matrix[j * n + j] += 1.0;
        }
        let factor = Factor::of(&matrix, n);
        let slope = |k: usize| labels[k] * mills(labels[k] * self.latent[k]);
        let b: Vec<f64> = (0..n).map(|k| curvatures[k] * self.latent[k] + slope(k)).collect();
        let pulled = covariances.chunks_exact(n).map(|row| lanes(row, &b, |a, b| a * b));
        let right: Vec<f64> = pulled.zip(&roots).map(|(x, root)| x * root).collect();
        let solved = factor.backward(&factor.forward(&right));
        b.iter().zip(&roots).zip(&solved).map(|((b, root), x)| b - root * x).collect()
    }

    /// What a regression with noise 1 is given to believe in the same.
    fn targets(&self) -> Vec<f64> {
        self.latent.iter().zip(&self.alpha).map(|(m, alpha)| m + alpha).collect()
    }
}

/// The scales with the highest bound of the posterior density; noise is that of the probit.
fn most_plausible(rows: &Rows, prior: Prior) -> Scales {
    let features = rows.kernel.len();
    let hill = Bound::new(rows, prior);
    let mut start: Vec<f64> = prior.mode(features).lengths.iter().map(|length| length.ln()).collect();
    start.push(SIGNAL.0);
    let found = ascent::climb(&hill, start.clone(), Patience { slope: 1e-2, rise: 1e-5, steps: 50 });
    scales_of(&found.map_or(start, |(logs, _)| logs))
}

/// From logarithms of lengths and signal.
fn scales_of(logs: &[f64]) -> Scales {
    let (signal, lengths) = logs.split_last().map_or((1.0, &[][..]), |(signal, rest)| (signal.exp(), rest));
    let lengths = lengths.iter().map(|log| log.exp()).collect();
    Scales { lengths, signal, noise: 1.0, warps: Vec::new() }
}

/// ln of the bound times the prior as a function of the logarithms of lengths and signal.
struct Bound<'a> {
    rows: &'a Rows,
    prior: Prior,
    lower: Vec<f64>,
    upper: Vec<f64>,
    /// Room, and where the last mode was.
    work: RefCell<(Work, Vec<f64>)>,
}

impl<'a> Bound<'a> {
    fn new(rows: &'a Rows, prior: Prior) -> Self {
        let bounds = |of: fn((f64, f64)) -> f64| {
            let mut bounds = vec![of(LENGTHS).ln(); rows.kernel.len()];
            bounds.push(of(SIGNALS).ln());
            bounds
        };
        let work = RefCell::new((Work::new(rows.len()), vec![0.0; rows.len()]));
        Self { rows, prior, lower: bounds(|ends| ends.0), upper: bounds(|ends| ends.1), work }
    }
}

impl Hill for Bound<'_> {
    /// The height there and its slopes. At the mode the bound does not change with m, so its slopes are those of the
    /// regression's likelihood at fixed targets.
    fn at(&self, logs: &[f64]) -> (f64, Vec<f64>) {
        let (rows, n) = (self.rows, self.rows.len());
        let scales = scales_of(logs);
        let (work, last) = &mut *self.work.borrow_mut();
        work.fill(rows, &scales);
        let covariances = without_noise(&work.covariance, n);
        let mode = Mode::of(&covariances, &rows.targets, last.clone());
        last.clone_from(&mode.alpha);
        if !factorise(&mut work.covariance, n, &mut work.scratch) {
            return (f64::NEG_INFINITY, vec![0.0; logs.len()]);
        }
        work.invert(n);
        let determinant: f64 = (0..n).map(|k| 2.0 * work.covariance[k * n + k].ln()).sum();
        let mut height = mode.height - 0.5 * determinant;
        let mut slopes = work.gradient(rows, &mode.targets(), &scales, &mode.alpha);
        slopes.truncate(logs.len());
        for (k, (log, slope)) in logs.iter().zip(&mut slopes).enumerate() {
            let (density, by) = if k + 1 < logs.len() { self.prior.length(*log) } else { of_signal(*log) };
            height += density;
            *slope += by;
        }
        (height, slopes)
    }

    fn bounds(&self) -> (&Vec<f64>, &Vec<f64>) {
        (&self.lower, &self.upper)
    }
}

/// ln of the density of a signal's logarithm, and its slope.
fn of_signal(log: f64) -> (f64, f64) {
    let z = (log - SIGNAL.0) / SIGNAL.1;
    (-0.5 * z * z, -z / SIGNAL.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};
    use crate::space::Space;
    use crate::surrogate::gaussian_process::ascent::assert_slopes;

    #[test]
    fn slopes_of_the_bound_agree_with_differences_and_targets_give_the_mode() {
        let space = Space::builder().float("x", 0.0..=1.0).categorical("kind", ["a", "b"]).build().unwrap();
        let mut rng = Rng::stream(1, 0, Purpose::Surrogate, 0);
        let units: Vec<Vec<f64>> =
            (0..20).map(|_| space.to_unit(&space.from_unit(&rng.uniforms(2)))).collect();
        let outcomes: Vec<(&[f64], bool)> = units.iter().map(|unit| (&unit[..], unit[0] < 0.6)).collect();
        let rows: Vec<Row> =
            outcomes.iter().map(|(unit, ok)| Row { unit, loss: label(*ok), error: f64::NAN }).collect();
        let kernel = Arc::new(Kernel::of(&space));
        let rows = Rows::of(&kernel, &rows, &Outputs::identity());
        let hill = Bound::new(&rows, rows.prior(false));
        let logs = [-0.7, 0.3, 2.0];
        assert_slopes(&hill, &logs, 1e-4);
        let model = Success::fit(&kernel, &outcomes).model.unwrap();
        for (unit, ok) in &outcomes {
            let m = model.belief(unit).mean;
            let alpha = label(*ok) * mills(label(*ok) * m);
            let k = units.iter().position(|u| u == unit).unwrap();
            assert!((model.targets()[k] - m - alpha).abs() < 1e-4, "{k}: {m} {alpha} {}", model.targets()[k]);
        }
    }
}
