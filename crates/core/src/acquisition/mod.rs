//! What a sampler maximises over a surrogate, and how the maximum is found.
//!
//! Most acquisitions look at a point only through the [`Belief`] there: those implement [`Worth`], a few lines of
//! mathematics with its slopes, and become an [`Acquisition`] as [`Over`] a surrogate. What multiplies them (feasibility,
//! cost, priors) is added to their logarithm by [`Sum`]. [`search::Search`] finds the maximum in any space. None of them
//! knows trials or studies.

pub mod apart;
pub mod confidence_bound;
pub mod cost;
pub mod expected_improvement;
pub mod feasibility;
pub mod hypervolume;
pub mod largest;
pub mod noisy;
pub mod pareto;
pub mod prior;
pub mod probability;
pub mod search;
pub mod trust_region;

use crate::surrogate::{Belief, Surrogate};

/// A function over the unit cube whose maximum is the next point to try; larger is better, logarithms where the value
/// itself would vanish.
///
/// Points are unit coordinates of one space, one per parameter, NaN where a parameter is inactive.
pub trait Acquisition {
    /// Its value at `unit`.
    fn value(&self, unit: &[f64]) -> f64;

    /// Its value at many points; the same as one by one, only faster.
    fn values(&self, units: &[Vec<f64>]) -> Vec<f64> {
        units.iter().map(|unit| self.value(unit)).collect()
    }

    /// Its value and slope by each unit coordinate, or `None` if it has no slope there.
    fn slope(&self, _unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        None
    }
}

/// What a belief about the loss is worth; larger is better. Losses are to be small.
pub trait Worth {
    /// The value of trying a point about which this is believed.
    fn worth(&self, belief: Belief) -> f64;

    /// The value, and its change by the belief's mean and deviation.
    fn partials(&self, belief: Belief) -> Partials;
}

/// A value with its partial derivatives by the mean and the deviation of a belief.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Partials {
    /// The value.
    pub value: f64,
    /// Its change per unit of the mean.
    pub mean: f64,
    /// Its change per unit of the deviation.
    pub deviation: f64,
}

/// ln Σ exp vₖ; −∞ of no values.
fn log_sum(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
}

/// ln Σ exp vₖ with its slopes by the means and deviations of several beliefs, a value at a time.
struct LogSum {
    most: f64,
    /// Σ exp (vₖ − most), and as many times the slopes.
    sum: f64,
    slopes: Vec<Partials>,
}

impl LogSum {
    fn new(beliefs: usize) -> Self {
        let slopes = vec![Partials { value: 0.0, mean: 0.0, deviation: 0.0 }; beliefs];
        Self { most: f64::NEG_INFINITY, sum: 0.0, slopes }
    }

    /// Adds a value that is the sum of one part per belief; what is nothing, or unknown, adds nothing.
    fn add(&mut self, log: f64, parts: &[Partials]) {
        if log == f64::NEG_INFINITY || log.is_nan() {
            return;
        }
        if log > self.most {
            let shrink = (self.most - log).exp();
            self.sum *= shrink;
            for slope in &mut self.slopes {
                (slope.mean, slope.deviation) = (slope.mean * shrink, slope.deviation * shrink);
            }
            self.most = log;
        }
        let weight = (log - self.most).exp();
        self.sum += weight;
        for (slope, part) in self.slopes.iter_mut().zip(parts) {
            slope.mean += weight * part.mean;
            slope.deviation += weight * part.deviation;
        }
    }

    /// The logarithm, and per belief its slopes; level at −∞ where nothing was added.
    fn total(mut self) -> (f64, Vec<Partials>) {
        if self.sum > 0.0 {
            for slope in &mut self.slopes {
                (slope.mean, slope.deviation) = (slope.mean / self.sum, slope.deviation / self.sum);
            }
        }
        (self.most + self.sum.ln(), self.slopes)
    }
}

/// What several surrogates believe at each of some points: a row per point.
fn beliefs(surrogates: &[&dyn Surrogate], units: &[Vec<f64>]) -> Vec<Vec<Belief>> {
    let columns: Vec<Vec<Belief>> = surrogates.iter().map(|model| model.beliefs(units)).collect();
    (0..units.len()).map(|k| columns.iter().map(|column| column[k]).collect()).collect()
}

/// The value and slope by each unit coordinate of what depends on several surrogates' beliefs: the chain rule.
fn chained(
    surrogates: &[&dyn Surrogate],
    unit: &[f64],
    partials: impl FnOnce(&[Belief]) -> (f64, Vec<Partials>),
) -> Option<(f64, Vec<f64>)> {
    let slopes = surrogates.iter().map(|model| model.slope(unit)).collect::<Option<Vec<_>>>()?;
    let beliefs: Vec<Belief> = slopes.iter().map(|slope| slope.belief).collect();
    let (value, by) = partials(&beliefs);
    let mut total = vec![0.0; unit.len()];
    for (slope, by) in slopes.iter().zip(&by) {
        for (k, t) in total.iter_mut().enumerate() {
            *t += by.mean * slope.mean[k] + by.deviation * slope.deviation[k];
        }
    }
    Some((value, total))
}

/// A [`Worth`] as a function of the point, through a surrogate's beliefs.
#[derive(Clone, Copy)]
pub struct Over<'a, W> {
    /// Who says what is believed.
    pub surrogate: &'a dyn Surrogate,
    /// What that is worth.
    pub worth: W,
}

impl<'a, W: Worth> Over<'a, W> {
    /// `worth` over the beliefs of `surrogate`.
    pub fn new(surrogate: &'a dyn Surrogate, worth: W) -> Self {
        Self { surrogate, worth }
    }
}

impl<W: Worth> Acquisition for Over<'_, W> {
    fn value(&self, unit: &[f64]) -> f64 {
        self.worth.worth(self.surrogate.belief(unit))
    }

    fn values(&self, units: &[Vec<f64>]) -> Vec<f64> {
        self.surrogate.beliefs(units).into_iter().map(|belief| self.worth.worth(belief)).collect()
    }

    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        let slope = self.surrogate.slope(unit)?;
        let by = self.worth.partials(slope.belief);
        let chained = slope.mean.iter().zip(&slope.deviation).map(|(m, s)| by.mean * m + by.deviation * s);
        Some((by.value, chained.collect()))
    }
}

impl<A: Acquisition + ?Sized> Acquisition for &A {
    fn value(&self, unit: &[f64]) -> f64 {
        (**self).value(unit)
    }

    fn values(&self, units: &[Vec<f64>]) -> Vec<f64> {
        (**self).values(units)
    }

    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        (**self).slope(unit)
    }
}

/// The sum of several acquisitions: the product of what their logarithms stand for.
///
/// It has a slope where all of its parts have one.
pub struct Sum<A> {
    /// The summands.
    pub parts: Vec<A>,
}

impl<A: Acquisition> Acquisition for Sum<A> {
    fn value(&self, unit: &[f64]) -> f64 {
        self.parts.iter().map(|part| part.value(unit)).sum()
    }

    fn values(&self, units: &[Vec<f64>]) -> Vec<f64> {
        let mut sums = vec![0.0; units.len()];
        for part in &self.parts {
            sums.iter_mut().zip(part.values(units)).for_each(|(sum, value)| *sum += value);
        }
        sums
    }

    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        let (mut value, mut slope) = (0.0, vec![0.0; unit.len()]);
        for part in &self.parts {
            let (v, s) = part.slope(unit)?;
            value += v;
            slope.iter_mut().zip(s).for_each(|(sum, s)| *sum += s);
        }
        Some((value, slope))
    }
}
