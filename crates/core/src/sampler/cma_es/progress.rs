//! When a search is over: it has converged, or it stagnates (Hansen 2009, "Benchmarking a BI-Population CMA-ES").

use std::collections::VecDeque;

use super::strategy::{Axis, Strategy};

/// What the generations of one search have brought.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    sigma: f64,
    /// Best, median and worst loss of the latest generations; infinite where there was none.
    generations: VecDeque<[f64; 3]>,
}

/// The range of losses, and the share of the first step size, at which a search has converged.
const TOLERANCE: f64 = 1e-12;
/// Ratio of the longest to the shortest deviation beyond which arithmetic is no longer sound.
const CONDITION: f64 = 1e7;
/// A step size that has grown this much says that the search diverges.
const DIVERGED: f64 = 1e4;

impl Progress {
    pub(super) fn new(sigma: f64) -> Self {
        Self { sigma, generations: VecDeque::new() }
    }

    /// Takes in the losses of a generation, best first.
    pub(super) fn add(&mut self, losses: &[f64], strategy: &Strategy) {
        let last = losses.len() - 1;
        self.generations.push_back([losses[0], losses[last / 2], losses[last]]);
        while self.generations.len() > patience(strategy) {
            self.generations.pop_front();
        }
    }

    /// Whether another generation would be wasted.
    pub(super) fn is_over(&self, strategy: &Strategy) -> bool {
        self.is_flat(strategy) || self.stagnates(strategy) || self.has_converged(strategy)
    }

    /// All recent losses are the same.
    fn is_flat(&self, strategy: &Strategy) -> bool {
        let recent = recent(strategy);
        if self.generations.len() < recent {
            return false;
        }
        let latest = self.generations.iter().rev().take(recent);
        let (low, high) =
            latest.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), g| (low.min(g[0]), high.max(g[2])));
        high - low <= TOLERANCE.max(4.0 * f64::EPSILON * low.abs())
    }

    /// Neither best nor median losses are better than long ago.
    fn stagnates(&self, strategy: &Strategy) -> bool {
        let count = self.generations.len();
        if count < patience(strategy) {
            return false;
        }
        let part = count * 3 / 10;
        let median = |which: usize, from: usize| {
            let mut values: Vec<f64> = self.generations.range(from..from + part).map(|g| g[which]).collect();
            values.sort_by(f64::total_cmp);
            values[part / 2]
        };
        (0..2).all(|which| median(which, count - part) >= median(which, 0))
    }

    fn has_converged(&self, strategy: &Strategy) -> bool {
        let (axes, sigma) = (strategy.axes(), strategy.sigma());
        if axes.is_empty() {
            return false;
        }
        let (short, long) = strategy.covariance().range();
        if sigma * long > DIVERGED || long > CONDITION * short {
            return true;
        }
        let deviation = |k: usize| sigma * strategy.covariance().variance(k).sqrt();
        let continuous = || (0..axes.len()).filter(|&k| matches!(axes[k], Axis::Continuous));
        let tiny = TOLERANCE * self.sigma;
        let still = |k: usize| deviation(k) < tiny && sigma * strategy.path()[k].abs() < tiny;
        let mut numbers = continuous().peekable();
        let still = numbers.peek().is_some() && numbers.all(still);
        let unmoved = |k: usize| strategy.mean()[k] + 0.2 * deviation(k) == strategy.mean()[k];
        still || continuous().any(unmoved)
    }
}

/// Generations over which losses have to differ.
fn recent(strategy: &Strategy) -> usize {
    10 + per_population(strategy)
}

/// Generations over which losses have to fall.
fn patience(strategy: &Strategy) -> usize {
    120 + per_population(strategy)
}

fn per_population(strategy: &Strategy) -> usize {
    (30 * strategy.axes().len()).div_ceil(strategy.population())
}
