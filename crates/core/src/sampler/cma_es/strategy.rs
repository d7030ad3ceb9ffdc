//! The evolution strategy itself: a normal distribution over numbers, probabilities over choices, and how ranked points
//! move both. It knows coordinates and ranks, and has never heard of trials, losses or spaces.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::erf::erfc_inv;

use super::choices::{Choices, margin};
use super::constants::{Constants, population};
use super::covariance::Covariance;
use super::rates::Rates;
use crate::rng::Rng;
use crate::space::Distribution;
use crate::surrogate::normal::tail;

/// One coordinate of the normal distribution, in the unit interval.
#[derive(Clone, Debug)]
pub enum Axis {
    /// Every number.
    Continuous,
    /// The cells of a distribution; a number stands for the cell it lies in, numbers beyond an end for the last one.
    Cells(Distribution),
}

/// Where a search begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// Centre of the normal distribution, one number per axis.
    pub mean: Vec<f64>,
    /// Its step size, above 0.
    pub sigma: f64,
    /// Its shape.
    pub covariance: Covariance,
    /// First probabilities of the choices, for each parameter that has any.
    pub probabilities: Vec<Vec<f64>>,
    /// How many points are ranked together; none for 4 + ⌊3 ln n⌋.
    pub population: Option<usize>,
    /// Whether learning rates follow the signal-to-noise ratio (Nomura et al. 2023, arXiv:2304.03473).
    pub lr_adapt: bool,
}

/// A point drawn from a strategy, in its own coordinates.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// One number per axis; beyond [0, 1] only where cells are.
    pub latent: Vec<f64>,
    /// One choice per parameter with choices.
    pub choices: Vec<u32>,
}

/// A point that was evaluated.
#[derive(Clone, Debug)]
pub struct Member {
    /// What was drawn for it, one number per axis; NaN where nobody knows, which counts as no step.
    pub latent: Vec<f64>,
    /// What it stands for: the middle of its cell, or the number itself; NaN where the axis was inactive.
    pub middle: Vec<f64>,
    /// Its choices; none where inactive.
    pub choices: Vec<Option<u32>>,
    /// Whether it was drawn from another distribution than the present one. The length of its step is then bounded.
    pub injected: bool,
}

/// A search distribution and what it has learnt.
#[derive(Clone, Debug)]
pub struct Strategy {
    axes: Vec<Axis>,
    population: usize,
    constants: Constants,
    mean: Vec<f64>,
    sigma: f64,
    covariance: Covariance,
    step_path: Vec<f64>,
    path: Vec<f64>,
    /// Factors A on the deviations of cells, so that neighbouring cells stay within reach.
    stretch: Vec<f64>,
    /// How probable it was after the last update that a cell is left.
    leaving: Vec<f64>,
    /// The least such probability.
    margin: f64,
    choices: Choices,
    rates: Option<Rates>,
    generation: u64,
}

/// Keeps probabilities inside (0, ½).
const EPSILON: f64 = 1e-8;
/// Step sizes beyond this mean nothing in the unit cube.
const SIGMA_MAX: f64 = 1e32;

impl Strategy {
    /// A strategy over the axes, at its start.
    pub fn new(axes: Vec<Axis>, start: Start) -> Self {
        let n = axes.len();
        let cells = axes.iter().filter(|axis| matches!(axis, Axis::Cells(_))).count();
        let discrete = cells + start.probabilities.len();
        let population = start.population.unwrap_or_else(|| population(n + start.probabilities.len())).max(2);
        let constants = constants(n, population, start.covariance.is_separable());
        Self {
            population,
            constants,
            mean: start.mean,
            sigma: start.sigma,
            rates: start.lr_adapt.then(|| Rates::new(n, &start.covariance)),
            covariance: start.covariance,
            step_path: vec![0.0; n],
            path: vec![0.0; n],
            stretch: vec![1.0; n],
            leaving: vec![0.5 - EPSILON; n],
            margin: margin(discrete),
            choices: Choices::new(start.probabilities, discrete),
            generation: 0,
            axes,
        }
    }

    /// The coordinates of the normal distribution.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// How many points are ranked together.
    pub fn population(&self) -> usize {
        self.population
    }

    /// How often it has learnt.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The centre of the normal distribution.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The step size.
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// The shape of the normal distribution.
    pub fn covariance(&self) -> &Covariance {
        &self.covariance
    }

    /// The evolution path of the step size: `p_σ`.
    pub fn step_path(&self) -> &[f64] {
        &self.step_path
    }

    /// The evolution path of the covariance: `p_c`.
    pub fn path(&self) -> &[f64] {
        &self.path
    }

    /// The factors on the deviations of cells: A.
    pub fn stretch(&self) -> &[f64] {
        &self.stretch
    }

    /// The probabilities of choices.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// The learning rates, where they adapt.
    pub fn rates(&self) -> Option<&Rates> {
        self.rates.as_ref()
    }

    /// How many numbers it holds: a measure of its memory.
    pub fn size(&self) -> usize {
        3 * self.covariance.entries().len() + self.choices.probabilities().iter().map(Vec::len).sum::<usize>()
    }

    /// Numbers of a point drawn from the normal distribution.
    pub fn draw(&self, rng: &mut Rng) -> Vec<f64> {
        let z: Vec<f64> = self.mean.iter().map(|_| rng.normal()).collect();
        let y = self.covariance.spread(&z);
        (0..y.len()).map(|k| self.mean[k] + self.sigma * self.stretch[k] * y[k]).collect()
    }

    /// Choices drawn by their probabilities.
    pub fn choose(&self, rng: &mut Rng) -> Vec<u32> {
        (0..self.choices.probabilities().len()).map(|k| self.choices.at(k, rng.uniform())).collect()
    }

    /// The deviation of one axis, stretch included.
    pub fn deviation(&self, k: usize) -> f64 {
        self.sigma * self.stretch[k] * self.covariance.variance(k).sqrt()
    }

    /// Learns from points ranked best first; there are at least [`Strategy::population`] of them. Hansen 2016,
    /// fig. 6; cells by Hamano et al. 2025 (arXiv:2504.07884).
    pub fn learn(&mut self, mut ranked: Vec<Member>) {
        self.generation += 1;
        let other = (ranked.len() != self.population)
            .then(|| constants(self.axes.len(), ranked.len(), self.covariance.is_separable()));
        let constants = other.unwrap_or_else(|| self.constants.clone());
        let left = self.center(&mut ranked, constants.parents);
        if !self.axes.is_empty() {
            self.learn_numbers(&ranked, &constants);
            self.keep_margins(&left);
        }
        let weighed: Vec<(f64, &[Option<u32>])> = ranked[..constants.parents]
            .iter()
            .zip(&constants.weights)
            .map(|(member, weight)| (*weight, &*member.choices))
            .collect();
        self.choices.learn(&weighed);
    }

    fn learn_numbers(&mut self, ranked: &[Member], constants: &Constants) {
        let steps: Vec<Vec<f64>> = ranked.iter().map(|member| self.step_of(member)).collect();
        let before = self.rates.as_ref().map(|_| (self.mean.clone(), self.sigma, self.covariance.clone()));
        let step = self.recombine(ranked, &steps, constants);
        let stalled = self.follow(&step, constants, ranked.iter().any(|member| member.injected));
        self.reshape(&steps, constants, stalled);
        if let (Some(rates), Some(before)) = (&mut self.rates, before) {
            rates.temper(before, &mut self.mean, &mut self.sigma, &mut self.covariance);
            self.sigma = self.sigma.min(SIGMA_MAX);
        }
    }

    /// A member's step y, in units of the step size. An injected one's is at most √n + 2n / (n + 2) long as the
    /// distribution measures it (Hansen 2011, arXiv:1110.4181).
    fn step_of(&self, member: &Member) -> Vec<f64> {
        let n = self.mean.len() as f64;
        let unknown = |k: usize| member.latent[k].is_nan();
        let along = |k: usize| (member.latent[k] - self.mean[k]) / (self.stretch[k] * self.sigma);
        let mut step: Vec<f64> =
            (0..self.mean.len()).map(|k| if unknown(k) { 0.0 } else { along(k) }).collect();
        if member.injected {
            let length = norm(&self.covariance.whiten(&step));
            let most = n.sqrt() + 2.0 * n / (n + 2.0);
            if length > most {
                for y in &mut step {
                    *y *= most / length;
                }
            }
        }
        step
    }

    /// Moves the mean and returns the weighted step. The mean of an axis follows only members in which it was active;
    /// the step counts what was drawn for the others too, which is neutral on average, where leaving it out would
    /// look like a step too short.
    fn recombine(&mut self, ranked: &[Member], steps: &[Vec<f64>], constants: &Constants) -> Vec<f64> {
        let mut whole = vec![0.0; self.mean.len()];
        for k in 0..self.mean.len() {
            let mut active = 0.0;
            for (rank, weight) in constants.weights[..constants.parents].iter().enumerate() {
                whole[k] += steps[rank][k] * weight;
                if !ranked[rank].middle[k].is_nan() {
                    active += steps[rank][k] * weight;
                }
            }
            self.mean[k] += self.sigma * active;
        }
        whole
    }

    /// Updates paths and step size; whether the covariance path is held back (`h_σ` = 0).
    fn follow(&mut self, step: &[f64], constants: &Constants, injected: bool) -> bool {
        let (rate, mu_eff) = (constants.step_path, constants.mu_eff);
        let gain = (rate * (2.0 - rate) * mu_eff).sqrt();
        let white = self.covariance.whiten(step);
        self.step_path.iter_mut().zip(&white).for_each(|(p, y)| *p = (1.0 - rate) * *p + gain * y);
        let length = norm(&self.step_path);
        let mut growth = rate / constants.damping * (length / constants.expected_norm - 1.0);
        if injected {
            growth = growth.min(1.0);
        }
        self.sigma = (self.sigma * growth.exp()).min(SIGMA_MAX);
        let n = step.len() as f64;
        let settled = (1.0 - (1.0 - rate).powf(2.0 * (self.generation as f64 + 1.0))).sqrt();
        let stalled = length / settled >= (1.4 + 2.0 / (n + 1.0)) * constants.expected_norm;
        let rate = constants.path;
        let gain = if stalled { 0.0 } else { (rate * (2.0 - rate) * mu_eff).sqrt() };
        self.path.iter_mut().zip(step).for_each(|(p, y)| *p = (1.0 - rate) * *p + gain * y);
        stalled
    }

    fn reshape(&mut self, steps: &[Vec<f64>], constants: &Constants, stalled: bool) {
        let n = self.mean.len() as f64;
        let missed = if stalled { constants.path * (2.0 - constants.path) } else { 0.0 };
        let sum: f64 = constants.weights.iter().sum();
        let keep = 1.0 + constants.rank_one * missed - constants.rank_one - constants.rank_mu * sum;
        let path = std::mem::take(&mut self.path);
        let mut terms: Vec<(f64, &[f64])> = vec![(constants.rank_one, &path)];
        for (weight, step) in constants.weights.iter().zip(steps) {
            let scale = if *weight < 0.0 {
                n / (self.covariance.whiten(step).iter().map(|x| x * x).sum::<f64>() + EPSILON)
            } else {
                1.0
            };
            if *weight != 0.0 {
                terms.push((constants.rank_mu * weight * scale, step));
            }
        }
        let patience = 1.0 / (10.0 * n * (constants.rank_one + constants.rank_mu));
        let patience = if self.rates.is_some() { 0 } else { patience as u64 };
        self.covariance.update(keep, &terms, patience);
        self.path = path;
    }

    /// Moves parents that left the mean's cell to the middle of theirs, and the others so that this adds no bias;
    /// which axes some parent left (Hamano et al. 2025, section 4.2).
    fn center(&self, ranked: &mut [Member], parents: usize) -> Vec<bool> {
        let mut left = vec![false; self.axes.len()];
        for (k, axis) in self.axes.iter().enumerate() {
            let Axis::Cells(cells) = axis else { continue };
            let home = cells.from_unit(self.mean[k]);
            let home = cells.to_unit(home);
            let parents = || 0..parents.min(ranked.len());
            let active: Vec<usize> = parents().filter(|&i| !ranked[i].middle[k].is_nan()).collect();
            let (mut up, mut down, mut bias) = (0.0, 0.0, 0.0);
            for &i in &active {
                let offset = ranked[i].middle[k] - ranked[i].latent[k];
                if ranked[i].middle[k] != home {
                    left[k] = true;
                    bias += offset;
                } else if offset > 0.0 {
                    up += offset;
                } else {
                    down += offset;
                }
            }
            let share = |moves: f64| if bias * moves < 0.0 { (-bias / moves).min(1.0) } else { 0.0 };
            let share = share(up) + share(down);
            for &i in &active {
                let member = &mut ranked[i];
                let offset = member.middle[k] - member.latent[k];
                if member.middle[k] != home {
                    member.latent[k] = member.middle[k];
                } else if bias * offset < 0.0 {
                    member.latent[k] += share * offset;
                }
            }
        }
        left
    }

    /// Keeps the neighbours of the mean's cell within reach: moves the mean and stretches the deviation of each axis of
    /// cells so that its cell is left with at least the margin's probability (Hamano et al. 2025, section 4.1).
    fn keep_margins(&mut self, left: &[bool]) {
        for (k, left) in left.iter().enumerate() {
            let Axis::Cells(cells) = &self.axes[k] else { continue };
            let (low, high) = thresholds(cells, self.mean[k]);
            if low == high {
                self.keep_margin_at_end(k, low, *left);
            } else {
                self.keep_margin_inside(k, (low, high), *left);
            }
        }
    }

    /// At an end of the range there is one threshold, and one way out of the cell.
    fn keep_margin_at_end(&mut self, k: usize, threshold: f64, left: bool) {
        let Axis::Cells(cells) = &self.axes[k] else { return };
        let middle = cells.to_unit(cells.from_unit(self.mean[k]));
        let deviation = self.deviation(k);
        let out = tail((self.mean[k] - threshold).abs() / deviation).max(self.margin);
        let out = if left { out } else { out.min(self.leaving[k]) };
        let out = out.clamp(EPSILON, 0.5 - EPSILON);
        let plain = deviation / self.stretch[k];
        let least = (middle - threshold).abs() / (plain * reach(self.margin));
        self.stretch[k] = self.stretch[k].max(least);
        let side = if self.mean[k] < threshold { -1.0 } else { 1.0 };
        self.mean[k] = threshold + side * plain * self.stretch[k] * reach(out);
        self.leaving[k] = out;
    }

    fn keep_margin_inside(&mut self, k: usize, (low, high): (f64, f64), left: bool) {
        let deviation = self.deviation(k);
        let half = self.margin / 2.0;
        let below = tail((self.mean[k] - low) / deviation);
        let above = tail((high - self.mean[k]) / deviation);
        let inside = 1.0 - below - above;
        let (below, above) = (below.max(half), above.max(half));
        let least_inside = if left { half } else { 1.0 - self.leaving[k] };
        let inside = if left { inside } else { inside.max(least_inside) };
        let missing = 1.0 - below - above - inside;
        let slack = below + above + inside - self.margin - least_inside;
        let missing = if slack == 0.0 { 0.0 } else { missing / slack };
        let bound = |p: f64| (p + missing * (p - half)).clamp(EPSILON, 0.5 - EPSILON);
        let (below, above) = (bound(below), bound(above));
        let (reach_low, reach_high) = (reach(below), reach(above));
        let plain = deviation / self.stretch[k];
        self.stretch[k] = (high - low) / ((reach_low + reach_high) * plain);
        self.mean[k] = (low * reach_high + high * reach_low) / (reach_low + reach_high);
        self.leaving[k] = below + above;
    }
}

fn constants(coordinates: usize, ranked: usize, separable: bool) -> Constants {
    if separable { Constants::separable(coordinates, ranked) } else { Constants::full(coordinates, ranked) }
}

/// The ends of the cell of `unit` that lead to a neighbour; in the first and the last cell both are the one there is.
fn thresholds(cells: &Distribution, unit: f64) -> (f64, f64) {
    let (low, high) = cells.cell_bounds(cells.from_unit(unit));
    if low <= 0.0 {
        (high, high)
    } else if high >= 1.0 {
        (low, low)
    } else {
        (low, high)
    }
}

/// How many standard deviations above the mean a tail of `mass` in (0, ½) begins.
fn reach(mass: f64) -> f64 {
    let z = SQRT_2 * erfc_inv(2.0 * mass);
    // One step of Newton's method: erfc_inv alone is good to 1e-9 or so.
    let density = (-0.5 * z * z).exp() / (2.0 * PI).sqrt();
    z + (tail(z) - mass) / density
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}
