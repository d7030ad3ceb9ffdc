//! A box around the best point that grows with success and shrinks with failure, for spaces of many dimensions
//! (Eriksson et al. 2019, "`TuRBO`", arXiv:1910.01465, section 2 and appendix A).
//!
//! Only one region is kept, and its length is a fold of the losses in the order in which trials finished. When it
//! collapses, the search starts over with the widest one.

use super::search::Region;

/// Side of the box at first, at most, and where it has collapsed, as shares of the unit interval.
const LENGTHS: (f64, f64, f64) = (0.8, 1.6, 0.007_812_5);

/// Successes in a row after which the box doubles.
const SUCCESSES: usize = 3;

/// A better loss must be better by this share of the best one's magnitude to be a success.
const MARGIN: f64 = 1e-3;

/// The state of a trust region.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustRegion {
    length: f64,
    successes: usize,
    failures: usize,
    patience: usize,
    best: f64,
    restarts: usize,
}

impl TrustRegion {
    /// A region for `dimensions` numeric dimensions before any trial. It halves after as many failures in a row as there
    /// are dimensions, or 4 if that is more.
    pub fn new(dimensions: usize) -> Self {
        let patience = dimensions.max(4);
        Self { length: LENGTHS.0, successes: 0, failures: 0, patience, best: f64::INFINITY, restarts: 0 }
    }

    /// Takes in the next finished trial: its loss, or NaN where it failed or broke a constraint.
    pub fn learn(&mut self, loss: f64) {
        let margin = if self.best.is_finite() { MARGIN * self.best.abs() } else { 0.0 };
        if loss < self.best - margin {
            (self.successes, self.failures) = (self.successes + 1, 0);
        } else {
            (self.successes, self.failures) = (0, self.failures + 1);
        }
        if loss < self.best {
            self.best = loss;
        }
        if self.successes >= SUCCESSES {
            (self.length, self.successes) = ((2.0 * self.length).min(LENGTHS.1), 0);
        } else if self.failures >= self.patience {
            (self.length, self.failures) = (self.length / 2.0, 0);
        }
        if self.length < LENGTHS.2 {
            let restarts = self.restarts + 1;
            *self = Self { best: self.best, restarts, ..Self::new(self.patience) };
        }
    }

    /// Side of the box as a share of the unit interval.
    pub fn length(&self) -> f64 {
        self.length
    }

    /// How often it has collapsed and started over.
    pub fn restarts(&self) -> usize {
        self.restarts
    }

    /// The box around `center`: its sides are proportional to the lengthscales of the model, with the volume that
    /// equal sides would have. Coordinates that are NaN in `center` are free.
    pub fn around(&self, center: &[f64], lengthscales: &[f64]) -> Region {
        let logs = lengthscales.iter().filter(|l| **l > 0.0).map(|l| l.ln());
        let count = logs.clone().count().max(1);
        let middle = logs.sum::<f64>() / count as f64;
        let half = |k: usize| {
            let share = lengthscales.get(k).filter(|l| **l > 0.0).map_or(1.0, |l| (l.ln() - middle).exp());
            self.length / 2.0 * share
        };
        let (mut low, mut high) = (vec![0.0; center.len()], vec![1.0; center.len()]);
        for (k, x) in center.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
            (low[k], high[k]) = ((x - half(k)).max(0.0), (x + half(k)).min(1.0));
        }
        Region { low, high }
    }
}
