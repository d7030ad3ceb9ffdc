//! A Parzen estimator over a mixed, conditional space: a mixture of product kernels, one per observation, and a prior.
//!
//! Everything happens in the unit interval of each parameter, where a [distribution](crate::space::Distribution) puts it;
//! what a logarithm or a step is, nobody here asks. A continuous parameter has normal kernels cut off at 0 and 1, a grid has
//! the mass of such a kernel on each cell, a categorical one has a spike over a floor. Bandwidths come from the gaps between
//! neighbours, as in Optuna 5.0 (`optuna/samplers/_tpe/parzen_estimator.py`; Watanabe 2023, arXiv:2304.11127).
//!
//! # Parameters that are not always active
//!
//! The weights of the mixture belong to whole observations. An observation that lacks a parameter says nothing about
//! it, so its kernel has the prior there; a query that lacks a parameter asks for the density of the rest, so the
//! factor is left out. The result is one normalised density over all branches of a conditional space: the kernels of
//! other branches fade out because the parent's kernel puts little mass on the query's branch. Optuna instead draws a
//! conditional parameter by itself, without looking at the others.
//!
//! # Cost
//!
//! Observations sit in numbered slots, in the order of their age. Entering or leaving changes the bandwidths of the
//! two neighbours per parameter only. A density skips kernels that are negligible beside the prior or beside the largest
//! of them, which bounds in single precision show. The result is the same for the same slots, whatever entered and left
//! before.

mod axis;
mod column;
mod outline;

use std::sync::Arc;

pub use self::axis::Axis;
use self::axis::{Coordinate, Shape};
use self::column::{Column, NO_CELL, Query, Spike};
use self::outline::{Bounds, Probe, SLACK};
use super::normal::LN_SQRT_2PI;
use crate::rng::Rng;
use crate::space::{Point, Space};

/// This many newest observations have full weight; older ones have less, linearly down to 1 / n.
const FULL_WEIGHT: usize = 25;

/// Kernels smaller than another by more than this factor's logarithm are left out: with 10,000 of them the relative
/// error is below 3e-12.
const NEGLIGIBLE: f64 = 36.0;

/// Kernels that bounds show to be within this much of the largest one's logarithm tell first that a density is too high to
/// matter, then those within the next.
const FIRST_LOOKS: [f32; 2] = [2.0, 6.0];

/// More than the rounding of a sum of kernels, in its logarithm.
const ROUNDING: f64 = 1e-9;

/// No kernel between 0 and 1 loses more than this to the cut-off: −ln(Φ(1) − Φ(0)), for a mean at an end and σ = 1.
const MOST_CUT_OFF: f64 = 1.08;

/// So many parameters are bounded for every kernel before any is dropped.
const DENSE: usize = 16;

/// A point as the kernels see it, one coordinate per axis; for [`Parzen::log_densities`].
#[derive(Clone, Debug)]
pub struct Located(Box<[Option<Coordinate>]>);

/// The weights of `n` observations, oldest first: the newest 25 count fully, the others linearly less down to 1 / n.
pub fn recency_weights(n: usize) -> Vec<f64> {
    (0..n).map(|k| recency_weight(k, n)).collect()
}

fn recency_weight(k: usize, n: usize) -> f64 {
    let ramp = n.saturating_sub(FULL_WEIGHT);
    if k + 1 >= ramp {
        return if k < ramp && ramp == 1 { 1.0 / n as f64 } else { 1.0 };
    }
    let least = 1.0 / n as f64;
    least + k as f64 * ((1.0 - least) / (ramp - 1) as f64)
}

/// The mixture.
#[derive(Clone, Debug)]
pub struct Parzen {
    axes: Arc<[Axis]>,
    /// Axes in the order of evaluation: those that rule out most kernels at the least cost come first.
    stages: Vec<usize>,
    columns: Vec<Column>,
    prior_weight: f64,
    /// One per slot, 0 where it is vacant.
    weights: Vec<f64>,
    /// Taken slots, ascending.
    taken: Vec<u32>,
    /// Sum of all weights, the prior's included.
    total: f64,
    /// Whether all observations weigh the same, whatever their age.
    even: bool,
    scratch: Scratch,
}

impl Parzen {
    /// The prior alone. `prior_weight` counts in observations and must be positive.
    pub fn new(axes: Arc<[Axis]>, prior_weight: f64) -> Self {
        let used = |k: &usize| axes[*k].shape != Shape::Unused;
        let mut stages: Vec<usize> = (0..axes.len()).filter(used).collect();
        stages.sort_by_key(|k| axes[*k].shape);
        let columns = vec![Column::default(); axes.len()];
        Self {
            axes,
            stages,
            columns,
            prior_weight,
            weights: Vec::new(),
            taken: Vec::new(),
            total: prior_weight,
            even: false,
            scratch: Scratch::default(),
        }
    }

    /// The same with equal weights for observations of any age.
    pub fn evenly(mut self) -> Self {
        self.even = true;
        self.reweigh();
        self
    }

    /// Makes no bandwidth smaller than `least`, in units of the range, whatever the number of observations; 0 at first.
    pub fn widen(&mut self, least: f64) {
        for &k in &self.stages {
            let (axis, column) = (&self.axes[k], &mut self.columns[k]);
            if column.least != least {
                column.least = least;
                column.reshape_all(axis);
            }
        }
    }

    /// Empties the slots in `leave` and then puts observations into the slots in `enter`, which must be vacant.
    pub fn update(&mut self, leave: &[u32], enter: &[(u32, &Point)]) {
        if leave.is_empty() && enter.is_empty() {
            return;
        }
        let slots =
            enter.iter().map(|(slot, _)| *slot as usize + 1).max().unwrap_or(0).max(self.weights.len());
        self.weights.resize(slots, 0.0);
        for &slot in leave {
            self.weights[slot as usize] = 0.0;
        }
        for (slot, _) in enter {
            self.weights[*slot as usize] = 1.0;
        }
        for &k in &self.stages {
            let (axis, column) = (&self.axes[k], &mut self.columns[k]);
            column.resize(slots);
            column.leave(axis, leave);
            column.enter(axis, enter.iter().map(|(slot, point)| (*slot, point.get(k))));
        }
        self.reweigh();
    }

    /// Forgets the first `count` slots, which must be vacant; the others are numbered from 0 again.
    pub fn drop_front(&mut self, count: u32) {
        let gone = (count as usize).min(self.weights.len());
        self.weights.drain(..gone);
        for column in &mut self.columns {
            column.drop_front(gone);
        }
        for slot in &mut self.taken {
            *slot -= gone as u32;
        }
    }

    /// Whether a slot holds an observation.
    pub fn holds(&self, slot: u32) -> bool {
        self.weights.get(slot as usize).is_some_and(|weight| *weight > 0.0)
    }

    /// How many observations there are.
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    /// Whether there is no observation, only the prior.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// The mixture's weights: the taken slots, ascending, then the prior. They sum to 1.
    pub fn weights(&self) -> Vec<f64> {
        let taken = self.taken.iter().map(|slot| self.weights[*slot as usize]);
        taken.chain([self.prior_weight]).map(|weight| weight / self.total).collect()
    }

    /// Mean and standard deviation, in the unit interval, of a slot's kernel for parameter `axis`; none where its
    /// observation lacks the parameter, or the parameter is categorical.
    pub fn kernel(&self, axis: usize, slot: u32) -> Option<(f64, f64)> {
        let column = &self.columns[axis];
        let sigma = *column.sigma.get(slot as usize)?;
        (sigma > 0.0).then(|| (column.mean[slot as usize], sigma))
    }

    /// Points as the kernels see them; the same for every mixture over the same space.
    pub fn locate(&self, points: &[Point]) -> Vec<Located> {
        let coordinates = |point: &Point| {
            let axes = self.axes.iter().enumerate();
            Located(axes.map(|(k, axis)| point.get(k).map(|coded| axis.locate(coded))).collect())
        };
        points.iter().map(coordinates).collect()
    }

    /// ln of the density at each point: per unit interval for continuous parameters, the mass for all others.
    /// Inactive parameters are integrated out.
    ///
    /// Changes nothing but what is remembered to answer faster.
    pub fn log_densities(&mut self, points: &[Located]) -> Vec<f64> {
        let queries: Vec<Vec<Query>> = points.iter().map(|point| self.queries(point)).collect();
        let mut scratch = std::mem::take(&mut self.scratch);
        let probes: Vec<Vec<Probe>> = queries.iter().map(|query| self.probes(query)).collect();
        scratch.bounds.compute(&self.weights, &probes);
        drop(probes);
        let each = queries.iter().enumerate();
        let densities = each.map(|(k, queries)| self.log_density(k, queries, &mut scratch)).collect();
        self.scratch = scratch;
        densities
    }

    /// The index of the first of the points where `logs`, less the logarithm of the density, is largest; NaN counts as the
    /// smallest. The same as from [`Self::log_densities`], but most densities need not be known: some of the
    /// kernels show that they are too high.
    pub fn most_exceeded(&mut self, points: &[Located], logs: &[f64]) -> usize {
        let queries: Vec<Vec<Query>> = points.iter().map(|point| self.queries(point)).collect();
        let mut scratch = std::mem::take(&mut self.scratch);
        let probes: Vec<Vec<Probe>> = queries.iter().map(|query| self.probes(query)).collect();
        scratch.bounds.compute(&self.weights, &probes);
        drop(probes);
        let mut hopes: Vec<(f64, usize)> = (0..points.len())
            .map(|k| (logs[k] - self.log_share(k, &queries[k], FIRST_LOOKS[0], &mut scratch), k))
            .collect();
        hopes.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (mut best, mut most) = (0, f64::NEG_INFINITY);
        for (hope, k) in hopes {
            let is_hopeless = |hope: f64| hope + ROUNDING < most;
            if is_hopeless(hope)
                || is_hopeless(logs[k] - self.log_share(k, &queries[k], FIRST_LOOKS[1], &mut scratch))
            {
                continue;
            }
            let excess = logs[k] - self.log_density(k, &queries[k], &mut scratch);
            if excess > most || (excess == most && k < best) {
                (best, most) = (k, excess);
            }
        }
        self.scratch = scratch;
        best
    }

    /// A point drawn from the mixture: one kernel for all its parameters.
    ///
    /// It may break a constraint of the space.
    pub fn draw(&self, space: &Space, rng: &mut Rng) -> Point {
        self.draw_around(space, &[], rng)
    }

    /// The same with some coded values given, by parameter; those missing at the end are not.
    pub fn draw_around(&self, space: &Space, given: &[Option<f64>], rng: &mut Rng) -> Point {
        let kernel = self.pick(rng.uniform());
        space.complete(|k| match given.get(k) {
            Some(Some(value)) => *value,
            _ => self.draw_one(k, kernel, rng.uniform()),
        })
    }

    fn pick(&self, u: f64) -> Option<u32> {
        let mut left = u * self.total;
        self.taken.iter().copied().find(|slot| {
            left -= self.weights[*slot as usize];
            left < 0.0
        })
    }

    fn draw_one(&self, k: usize, kernel: Option<u32>, u: f64) -> f64 {
        let (axis, column) = (&self.axes[k], &self.columns[k]);
        let Some(slot) = kernel.map(|slot| slot as usize) else { return axis.draw_prior(u) };
        match axis.shape {
            Shape::Continuous | Shape::Cells if column.sigma[slot] > 0.0 => {
                axis.distribution.from_unit(column.quantile(slot, u))
            }
            Shape::Choices if column.cell[slot] != NO_CELL => {
                let floor = self.floor(k);
                let v = u * (1.0 + floor) - 1.0;
                if v < 0.0 {
                    axis.distribution.cell(column.cell[slot].into())
                } else {
                    axis.draw_prior(v / floor)
                }
            }
            Shape::Unused | Shape::Continuous | Shape::Cells | Shape::Choices => axis.draw_prior(u),
        }
    }

    /// The prior's part in a categorical kernel, relative to the spike: `choices · prior weight / kernels`.
    fn floor(&self, k: usize) -> f64 {
        self.axes[k].cells as f64 * self.prior_weight / (self.columns[k].present + 1) as f64
    }

    fn reweigh(&mut self) {
        self.taken.clear();
        let slots = self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
        self.taken.extend(slots.map(|(slot, _)| slot as u32));
        let n = self.taken.len();
        self.total = 0.0;
        for (k, &slot) in self.taken.iter().enumerate() {
            let weight = if self.even { 1.0 } else { recency_weight(k, n) };
            self.weights[slot as usize] = weight;
            self.total += weight;
        }
        self.total += self.prior_weight;
    }

    fn probes(&self, queries: &[Query]) -> Vec<Probe<'_>> {
        let probe = |query: &Query| {
            let k = query.axis;
            self.columns[k].probe(&self.axes[k], query)
        };
        queries.iter().take(DENSE).map(probe).collect()
    }

    /// The density at point `k` of those whose bounds are in `scratch`.
    fn log_density(&mut self, k: usize, queries: &[Query], scratch: &mut Scratch) -> f64 {
        let prior = self.log_prior(queries);
        self.survive(k, queries, prior - NEGLIGIBLE, scratch);
        self.log_sum(prior, scratch)
    }

    /// ln of what the prior and the kernels within `look` of the largest one, by their bounds, add up to: no more than the
    /// density.
    fn log_share(&mut self, k: usize, queries: &[Query], look: f32, scratch: &mut Scratch) -> f64 {
        let prior = self.log_prior(queries);
        let Scratch { bounds, slots, totals } = scratch;
        slots.clear();
        if bounds.top(k).is_finite() {
            bounds.keep_from(k, bounds.top(k) - look, slots);
        }
        totals.clear();
        totals.resize(slots.len(), 0.0);
        for query in queries {
            self.add_factors(query, f64::NEG_INFINITY, slots, totals);
        }
        self.log_sum(prior, scratch)
    }

    fn log_prior(&self, queries: &[Query]) -> f64 {
        self.prior_weight.ln() + queries.iter().map(|query| query.prior).sum::<f64>()
    }

    /// ln of the prior and the kernels in `scratch`, together.
    fn log_sum(&self, prior: f64, scratch: &Scratch) -> f64 {
        let top = scratch.totals.iter().copied().fold(prior, f64::max);
        let kernels = scratch.slots.iter().zip(&scratch.totals);
        let sum: f64 = kernels.map(|(slot, total)| self.weights[*slot as usize] * (total - top).exp()).sum();
        top + (sum + (prior - top).exp()).ln() - self.total.ln()
    }

    fn queries(&self, point: &Located) -> Vec<Query> {
        let active = self.stages.iter().filter_map(|&k| {
            let at = point.0[k]?;
            let prior = self.axes[k].log_prior(&at);
            let ceiling = self.ceiling(k).max(prior);
            let is_choice = self.axes[k].shape == Shape::Choices;
            let spike = if is_choice { Spike::new(self.floor(k), prior) } else { Spike::default() };
            Some(Query { axis: k, at, prior, rest: 0.0, ceiling, spike })
        });
        let mut queries: Vec<Query> = active.collect();
        let mut rest = 0.0;
        for query in queries.iter_mut().rev() {
            query.rest = rest;
            rest += query.ceiling;
        }
        queries
    }

    /// No kernel's logarithm is higher.
    fn ceiling(&self, k: usize) -> f64 {
        match self.axes[k].shape {
            Shape::Continuous if self.columns[k].present > 0 => {
                MOST_CUT_OFF - LN_SQRT_2PI - self.columns[k].narrowest.ln()
            }
            Shape::Unused | Shape::Continuous | Shape::Cells | Shape::Choices => 0.0,
        }
    }

    /// Leaves in `scratch` the kernels that matter beside `floor` and beside one another, with the logarithms of their
    /// densities.
    fn survive(&mut self, k: usize, queries: &[Query], floor: f64, scratch: &mut Scratch) {
        let Scratch { bounds, slots, totals } = scratch;
        let pilot = bounds.best(k).map(|slot| self.log_kernel(queries, slot) - NEGLIGIBLE);
        let floor = floor.max(pilot.unwrap_or(floor));
        let sparse: f64 = queries.iter().skip(DENSE).map(|query| query.ceiling).sum();
        bounds.keep_from(k, (floor - sparse) as f32 - SLACK, slots);
        totals.clear();
        totals.resize(slots.len(), 0.0);
        for query in queries {
            self.add_factors(query, floor - query.rest, slots, totals);
            drop_below(floor - query.rest, slots, totals);
        }
    }

    /// ln of one weighted kernel.
    fn log_kernel(&mut self, queries: &[Query], slot: usize) -> f64 {
        let mut total = [self.weights[slot].ln()];
        for query in queries {
            self.add_factors(query, f64::NEG_INFINITY, &[slot as u32], &mut total);
        }
        total[0]
    }

    /// Adds the factors of one parameter to the kernels in `slots`; on grids those that end below `least` may be less
    /// than they should.
    fn add_factors(&mut self, query: &Query, least: f64, slots: &[u32], totals: &mut [f64]) {
        let column = &mut self.columns[query.axis];
        let each = slots.iter().map(|slot| *slot as usize).zip(totals.iter_mut());
        match self.axes[query.axis].shape {
            Shape::Unused => {}
            Shape::Continuous => each.for_each(|(slot, total)| *total += column.log_normal(slot, query)),
            Shape::Choices => each.for_each(|(slot, total)| *total += column.log_spike(slot, query)),
            Shape::Cells => column.add_cells(&self.axes[query.axis], query, least, slots, totals),
        }
    }
}

/// Space to work in.
#[derive(Clone, Debug, Default)]
struct Scratch {
    bounds: Bounds,
    slots: Vec<u32>,
    totals: Vec<f64>,
}

/// Drops the kernels whose total is less than `least`.
fn drop_below(least: f64, slots: &mut Vec<u32>, totals: &mut Vec<f64>) {
    let mut kept = 0;
    for k in 0..slots.len() {
        let (slot, total) = (slots[k], totals[k]);
        (slots[kept], totals[kept]) = (slot, total);
        kept += usize::from(total >= least);
    }
    slots.truncate(kept);
    totals.truncate(kept);
}
