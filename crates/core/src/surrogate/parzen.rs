//! A Parzen estimator over a mixed, conditional space: a mixture of product kernels, one per observation, and a prior.
//!
//! Everything happens in the unit interval of each parameter, where [`Distribution`] puts it; what a logarithm or a
//! step is, nobody here asks. A continuous parameter has normal kernels cut off at 0 and 1, a grid has the mass of
//! such a kernel on each cell, a categorical one has a spike over a floor. Bandwidths come from the gaps between
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
//! two neighbours per parameter only, and a density skips kernels that are negligible beside the prior. The result is
//! the same for the same slots, whatever entered and left before.

use std::sync::Arc;

use super::normal::{LN_SQRT_2PI, log_mass, truncated_quantile};
use crate::rng::Rng;
use crate::space::{Distribution, Parameter, Point, Prior, Space};

/// This many newest observations have full weight; older ones have less, linearly down to 1 / n.
const FULL_WEIGHT: usize = 25;

/// Kernels smaller than another by more than this factor's logarithm are left out: with 10,000 of them the relative
/// error is below 3e-12.
const NEGLIGIBLE: f64 = 36.0;

/// The prior's kernel: a normal around the middle whose deviation is the whole range.
const WIDE: (f64, f64) = (0.5, 1.0);

/// ln of that normal's mass between 0 and 1: ln(Φ(½) − Φ(−½)).
const WIDE_MASS: f64 = -0.959_916_333_695_622_3;

/// No kernel between 0 and 1 loses more than this to the cut-off: −ln(Φ(1) − Φ(0)), for a mean at an end and σ = 1.
const MOST_CUT_OFF: f64 = 1.08;

/// Priors on grids up to this many cells are tabulated.
const TABLE: u64 = 4096;

/// What a model knows about one parameter.
#[derive(Clone, Debug)]
pub struct Axis {
    shape: Shape,
    distribution: Distribution,
    prior: Option<Prior>,
    cells: u64,
    /// ln of the user's prior on each cell or choice, if it is tabulated.
    table: Box<[f64]>,
}

/// In the order of evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Continuous,
    Choices,
    Cells,
    /// A single value, or no longer searched.
    Unused,
}

/// A point as the kernels see it, one coordinate per axis; for [`Parzen::log_densities`].
#[derive(Clone, Debug)]
pub struct Located(Box<[Option<Coordinate>]>);

/// A value as the kernels see it.
#[derive(Clone, Copy, Debug)]
struct Coordinate {
    unit: f64,
    /// The share of the unit interval that rounds to the value; empty for a continuous parameter.
    from: f64,
    to: f64,
    cell: u64,
}

impl Axis {
    /// The axis of a parameter. Where it has a prior of the user's and `expects` is set, that is the mixture's prior.
    pub fn new(parameter: &Parameter, expects: bool) -> Self {
        let distribution = parameter.distribution.clone();
        let shape = match distribution.cells() {
            _ if parameter.retired || distribution.is_fixed() => Shape::Unused,
            None => Shape::Continuous,
            Some(_) if distribution.is_categorical() => Shape::Choices,
            Some(_) => Shape::Cells,
        };
        let prior = parameter.prior.clone().filter(|_| expects && shape != Shape::Unused);
        let cells = distribution.cells().unwrap_or(0);
        let mut axis = Self { shape, distribution, prior, cells, table: Box::default() };
        axis.table = axis.tabulated();
        axis
    }

    fn tabulated(&self) -> Box<[f64]> {
        match (&self.prior, self.shape) {
            (Some(prior @ Prior::Weights { weights }), Shape::Choices | Shape::Cells) => {
                log_shares(prior, weights, &self.distribution)
            }
            (Some(_), Shape::Cells) if self.cells <= TABLE => {
                let middle = |cell| self.locate(self.distribution.cell(cell));
                (0..self.cells).map(|cell| self.prior_mass(&middle(cell)).ln()).collect()
            }
            _ => Box::default(),
        }
    }

    fn locate(&self, coded: f64) -> Coordinate {
        let nowhere = Coordinate { unit: 0.5, from: 0.0, to: 1.0, cell: 0 };
        match self.shape {
            Shape::Unused => nowhere,
            Shape::Continuous => Coordinate { unit: self.distribution.to_unit(coded), ..nowhere },
            Shape::Choices => Coordinate { cell: self.distribution.cell_of(coded), ..nowhere },
            Shape::Cells => {
                let (from, to) = self.distribution.cell_bounds(coded);
                let unit = self.distribution.to_unit(coded);
                Coordinate { unit, from, to, cell: self.distribution.cell_of(coded) }
            }
        }
    }

    /// ln of the prior's density or, on cells and choices, mass.
    fn log_prior(&self, at: &Coordinate) -> f64 {
        let (mean, sigma) = WIDE;
        match (&self.prior, self.shape) {
            (_, Shape::Unused) => 0.0,
            (Some(_), Shape::Cells | Shape::Choices) if !self.table.is_empty() => {
                self.table[at.cell as usize]
            }
            (Some(_), Shape::Cells) => self.prior_mass(at).ln(),
            (Some(prior), _) => prior.density(&self.distribution, at.unit).ln(),
            (None, Shape::Continuous) => {
                let z = (at.unit - mean) / sigma;
                -0.5 * z * z - LN_SQRT_2PI - sigma.ln() - WIDE_MASS
            }
            (None, Shape::Cells) => log_mass((at.from - mean) / sigma, (at.to - mean) / sigma) - WIDE_MASS,
            (None, Shape::Choices) => -(self.cells as f64).ln(),
        }
    }

    /// The user's prior integrated over a cell, by Gauss and Legendre's rule on panels no wider than its spread.
    fn prior_mass(&self, at: &Coordinate) -> f64 {
        let Some(prior) = &self.prior else { return at.to - at.from };
        let density = |x: f64| prior.density(&self.distribution, x);
        let Prior::Center { spread, .. } = prior else { return density(at.unit) * (at.to - at.from) };
        let mode = prior.mode(&self.distribution);
        let breaks = (-8..=8).map(|k| mode + f64::from(k) * spread).filter(|x| at.from < *x && *x < at.to);
        let mut mass = 0.0;
        let mut low = at.from;
        for high in breaks.chain([at.to]) {
            mass += integral(&density, low, high);
            low = high;
        }
        mass
    }

    fn draw_prior(&self, u: f64) -> f64 {
        let unit = match (&self.prior, self.shape) {
            (Some(prior), _) => prior.quantile(&self.distribution, u),
            (None, Shape::Continuous | Shape::Cells) => truncated_quantile(WIDE.0, WIDE.1, u),
            (None, Shape::Choices | Shape::Unused) => u,
        };
        self.distribution.from_unit(unit)
    }
}

/// ln of the prior's mass on each of many choices. The density is a line in the weight, so two of its points do:
/// asking for each would sum all weights each time.
fn log_shares(prior: &Prior, weights: &[f64], distribution: &Distribution) -> Box<[f64]> {
    let n = weights.len() as f64;
    let extreme = |better: fn(f64, f64) -> bool| {
        (1..weights.len()).fold(0, |best, k| if better(weights[k], weights[best]) { k } else { best })
    };
    let (light, heavy) = (extreme(|a, b| a < b), extreme(|a, b| a > b));
    let share = |k: usize| prior.density(distribution, (k as f64 + 0.5) / n) / n;
    let (least, range) = (share(light), weights[heavy] - weights[light]);
    let slope = if range > 0.0 { (share(heavy) - least) / range } else { 0.0 };
    weights.iter().map(|weight| (least + slope * (weight - weights[light])).ln()).collect()
}

/// Five-point rule.
fn integral(density: &dyn Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    const NODES: [(f64, f64); 3] = [
        (0.0, 0.568_888_888_888_888_9),
        (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
        (0.906_179_845_938_664, 0.236_926_885_056_189_08),
    ];
    let (middle, half) = (f64::midpoint(low, high), (high - low) / 2.0);
    let pairs = NODES[1..].iter().map(|(x, w)| w * (density(middle - half * x) + density(middle + half * x)));
    half * (NODES[0].1 * density(middle) + pairs.sum::<f64>())
}

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
}

/// The kernels of one parameter, by slot.
#[derive(Clone, Debug, Default)]
struct Column {
    mean: Vec<f64>,
    sigma: Vec<f64>,
    /// 1 / (σ√2): a kernel's logarithm is `peak − ((x − mean) · steepness)²`.
    steepness: Vec<f64>,
    /// −∞ where the slot is vacant, NaN where its observation lacks the parameter.
    peak: Vec<f64>,
    cell: Vec<u32>,
    /// Those that have the parameter, by their mean and then by age.
    order: Vec<(f64, u32)>,
    /// How many have the parameter.
    present: usize,
    narrowest: f64,
    masses: Masses,
}

const NO_CELL: u32 = u32::MAX;

/// A cell's number where it is kept; those of finer grids are never looked at.
fn short(cell: u64) -> u32 {
    cell.min(u64::from(NO_CELL - 1)) as u32
}

impl Parzen {
    /// The prior alone. `prior_weight` counts in observations and must be positive.
    pub fn new(axes: Arc<[Axis]>, prior_weight: f64) -> Self {
        let used = |k: &usize| axes[*k].shape != Shape::Unused;
        let mut stages: Vec<usize> = (0..axes.len()).filter(used).collect();
        stages.sort_by_key(|k| axes[*k].shape);
        let columns = vec![Column::default(); axes.len()];
        let (weights, taken, total) = (Vec::new(), Vec::new(), prior_weight);
        Self { axes, stages, columns, prior_weight, weights, taken, total }
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
        let mut scratch = Scratch::default();
        points.iter().map(|point| self.log_density(point, &mut scratch)).collect()
    }

    /// A point drawn from the mixture: one kernel for all its parameters.
    ///
    /// It may break a constraint of the space.
    pub fn draw(&self, space: &Space, rng: &mut Rng) -> Point {
        let kernel = self.pick(rng.uniform());
        space.complete(|k| self.draw_one(k, kernel, rng.uniform()))
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
                let x = truncated_quantile(column.mean[slot], column.sigma[slot], u);
                axis.distribution.from_unit(x)
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
            let weight = recency_weight(k, n);
            self.weights[slot as usize] = weight;
            self.total += weight;
        }
        self.total += self.prior_weight;
    }

    fn log_density(&mut self, point: &Located, scratch: &mut Scratch) -> f64 {
        let queries = self.queries(point);
        let prior = self.prior_weight.ln() + queries.iter().map(|query| query.prior).sum::<f64>();
        self.survive(&queries, prior - NEGLIGIBLE, scratch);
        let top = scratch.totals.iter().copied().fold(prior, f64::max);
        let kernels = scratch.slots.iter().zip(&scratch.totals);
        let sum: f64 = kernels.map(|(slot, total)| self.weights[*slot as usize] * (total - top).exp()).sum();
        top + (sum + (prior - top).exp()).ln() - self.total.ln()
    }

    fn queries(&self, point: &Located) -> Vec<Query> {
        let active = self.stages.iter().filter_map(|&k| {
            let at = point.0[k]?;
            let prior = self.axes[k].log_prior(&at);
            Some(Query { axis: k, at, prior, rest: 0.0, ceiling: self.ceiling(k).max(prior) })
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
    fn survive(&mut self, queries: &[Query], floor: f64, scratch: &mut Scratch) {
        let grids = queries.partition_point(|query| self.axes[query.axis].shape != Shape::Cells);
        let (dense, sparse) = queries.split_at(grids.min(DENSE));
        scratch.totals.clear();
        let vacant = |weight: &f64| if *weight > 0.0 { 0.0 } else { f64::NEG_INFINITY };
        scratch.totals.extend(self.weights.iter().map(vacant));
        for query in dense {
            self.add_to_all(query, &mut scratch.totals);
        }
        scratch.slots.clear();
        scratch.slots.extend(0..self.weights.len() as u32);
        scratch.keep(floor - sparse.iter().map(|query| query.ceiling).sum::<f64>());
        let floor = if scratch.slots.len() > FEW { floor.max(self.pilot(sparse, scratch)) } else { floor };
        for query in sparse {
            self.add_to_survivors(query, floor - query.rest, scratch);
        }
    }

    /// A stage over all slots, a loop without a branch.
    fn add_to_all(&self, query: &Query, totals: &mut [f64]) {
        let (column, x, prior) = (&self.columns[query.axis], query.at.unit, query.prior);
        if self.axes[query.axis].shape == Shape::Choices {
            let spike = Spike::new(self.floor(query.axis), query);
            for (total, cell) in totals.iter_mut().zip(&column.cell) {
                *total += spike.log(*cell);
            }
            return;
        }
        let kernels = column.mean.iter().zip(&column.steepness).zip(&column.peak);
        for (total, ((mean, steepness), peak)) in totals.iter_mut().zip(kernels) {
            let z = (x - mean) * steepness;
            let log = peak - z * z;
            *total += if log.is_nan() { prior } else { log };
        }
    }

    /// Evaluates to the end the kernel that is best so far, and returns how large others must become beside it.
    fn pilot(&self, queries: &[Query], scratch: &Scratch) -> f64 {
        let best = scratch.totals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let Some(at) = scratch.totals.iter().position(|total| *total == best) else { return best };
        let slot = scratch.slots[at] as usize;
        let rest: f64 = queries.iter().map(|query| self.factor(query, slot)).sum();
        best + rest + self.weights[slot].ln() - NEGLIGIBLE
    }

    /// ln of one kernel's factor for one parameter.
    fn factor(&self, query: &Query, slot: usize) -> f64 {
        let column = &self.columns[query.axis];
        match self.axes[query.axis].shape {
            Shape::Unused => 0.0,
            Shape::Continuous => column.log_normal(slot, query),
            Shape::Choices => Spike::new(self.floor(query.axis), query).log(column.cell[slot]),
            Shape::Cells => column.log_cell(slot, query),
        }
    }

    fn add_to_survivors(&mut self, query: &Query, least: f64, scratch: &mut Scratch) {
        let spike = Spike::new(self.floor(query.axis), query);
        let column = &mut self.columns[query.axis];
        match self.axes[query.axis].shape {
            Shape::Unused => {}
            Shape::Continuous => scratch.add(least, |slot, _| column.log_normal(slot, query)),
            Shape::Choices => scratch.add(least, |slot, _| spike.log(column.cell[slot])),
            Shape::Cells => {
                let mut masses = std::mem::take(&mut column.masses);
                let known = masses.row(query.at.cell, self.axes[query.axis].cells);
                scratch.add(least, |slot, total| column.log_cell_or_bound(slot, query, least - total, known));
                column.masses = masses;
            }
        }
    }
}

/// So many parameters are evaluated for every kernel before any is dropped.
const DENSE: usize = 8;
/// With fewer kernels it does not pay to find out which of them matter.
const FEW: usize = 64;
/// On grids up to so many cells, masses are remembered.
const FEW_CELLS: u64 = 4096;
/// Rows remembered per grid: at most 2 MiB.
const ROWS: usize = 64;

/// Masses already computed: for a cell asked for, by the cell of the kernel, for kernels with the smallest bandwidth.
#[derive(Clone, Debug, Default)]
struct Masses(Vec<(u64, Vec<f64>)>);

impl Masses {
    fn row(&mut self, cell: u64, cells: u64) -> &mut [f64] {
        let place = self.0.iter().position(|(known, _)| *known == cell).unwrap_or_else(|| {
            if self.0.len() == ROWS {
                self.0.clear();
            }
            self.0.push((cell, vec![f64::NAN; if cells <= FEW_CELLS { cells as usize } else { 0 }]));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

/// One active parameter of a query.
struct Query {
    axis: usize,
    at: Coordinate,
    /// ln of the prior there.
    prior: f64,
    /// The most that the stages after this one can add to a kernel's logarithm.
    rest: f64,
    /// The most that this one can.
    ceiling: f64,
}

/// The logarithms of categorical kernels at one choice.
struct Spike {
    cell: u32,
    hit: f64,
    miss: f64,
    prior: f64,
}

impl Spike {
    /// `floor` is the prior's part relative to the spike.
    fn new(floor: f64, query: &Query) -> Self {
        let hit = (floor * query.prior.exp()).ln_1p() - floor.ln_1p();
        let miss = floor.ln() + query.prior - floor.ln_1p();
        Self { cell: short(query.at.cell), hit, miss, prior: query.prior }
    }

    fn log(&self, cell: u32) -> f64 {
        let present = if cell == self.cell { self.hit } else { self.miss };
        if cell == NO_CELL { self.prior } else { present }
    }
}

/// Space to work in, shared by the queries of one call.
#[derive(Default)]
struct Scratch {
    slots: Vec<u32>,
    totals: Vec<f64>,
}

impl Scratch {
    /// Adds a factor to every kernel and drops those that end below `least`.
    fn add(&mut self, least: f64, mut factor: impl FnMut(usize, f64) -> f64) {
        for (slot, total) in self.slots.iter().zip(&mut self.totals) {
            *total += factor(*slot as usize, *total);
        }
        self.keep(least);
    }

    fn keep(&mut self, least: f64) {
        let mut kept = 0;
        for k in 0..self.slots.len() {
            let total = self.totals[k];
            self.slots[kept] = self.slots[k];
            self.totals[kept] = total;
            kept += usize::from(total >= least);
        }
        self.slots.truncate(kept);
        self.totals.truncate(kept);
    }
}

impl Column {
    fn resize(&mut self, slots: usize) {
        self.mean.resize(slots, 0.0);
        self.sigma.resize(slots, 0.0);
        self.steepness.resize(slots, 0.0);
        self.peak.resize(slots, f64::NEG_INFINITY);
        self.cell.resize(slots, NO_CELL);
    }

    fn drop_front(&mut self, gone: usize) {
        let gone = gone.min(self.mean.len());
        self.mean.drain(..gone);
        self.sigma.drain(..gone);
        self.steepness.drain(..gone);
        self.peak.drain(..gone);
        self.cell.drain(..gone);
        for (_, slot) in &mut self.order {
            *slot -= gone as u32;
        }
    }

    fn log_normal(&self, slot: usize, query: &Query) -> f64 {
        let z = (query.at.unit - self.mean[slot]) * self.steepness[slot];
        let log = self.peak[slot] - z * z;
        if log.is_nan() { query.prior } else { log }
    }

    fn log_cell(&self, slot: usize, query: &Query) -> f64 {
        let (mean, sigma, peak) = (self.mean[slot], self.sigma[slot], self.peak[slot]);
        if peak.is_nan() {
            return query.prior;
        }
        log_mass((query.at.from - mean) / sigma, (query.at.to - mean) / sigma) + peak
    }

    /// The same, or a bound if that is less than `needed`: Φ(−z) ≤ e^(−z²/2).
    fn log_cell_or_bound(&self, slot: usize, query: &Query, needed: f64, known: &mut [f64]) -> f64 {
        let kept =
            if self.sigma[slot] == self.narrowest { known.get_mut(self.cell[slot] as usize) } else { None };
        if let Some(log) = kept.as_deref().filter(|log| !log.is_nan()) {
            return *log;
        }
        let (at, mean) = (&query.at, self.mean[slot]);
        let gap = (at.from - mean).max(mean - at.to).max(0.0) * self.steepness[slot];
        let bound = self.peak[slot] - gap * gap;
        if bound < needed {
            return bound;
        }
        let log = self.log_cell(slot, query);
        if let Some(kept) = kept {
            *kept = log;
        }
        log
    }

    fn leave(&mut self, axis: &Axis, leave: &[u32]) {
        let many = is_many(leave.len(), self.order.len());
        for &slot in leave {
            let k = slot as usize;
            let has = self.sigma[k] > 0.0 || self.cell[k] != NO_CELL;
            let mean = self.mean[k];
            (self.mean[k], self.sigma[k], self.steepness[k]) = (0.0, 0.0, 0.0);
            (self.peak[k], self.cell[k]) = (f64::NEG_INFINITY, NO_CELL);
            if !has {
                continue;
            }
            self.present -= 1;
            if axis.shape != Shape::Choices && !many {
                let at = self.rank(mean, slot);
                self.order.remove(at);
                self.reshape_around(axis, at);
            }
        }
        if axis.shape != Shape::Choices && many {
            let cell = &self.cell;
            self.order.retain(|(_, slot)| cell[*slot as usize] != NO_CELL);
            self.reshape_all(axis);
        }
    }

    fn enter(&mut self, axis: &Axis, enter: impl ExactSizeIterator<Item = (u32, Option<f64>)>) {
        let many = is_many(enter.len(), self.order.len());
        for (slot, coded) in enter {
            let k = slot as usize;
            let Some(coded) = coded else {
                self.peak[k] = f64::NAN;
                continue;
            };
            let at = axis.locate(coded);
            self.present += 1;
            self.cell[k] = short(at.cell);
            self.mean[k] = at.unit;
            if axis.shape == Shape::Choices {
                continue;
            }
            if many {
                self.order.push((at.unit, slot));
            } else {
                let at = self.rank(at.unit, slot);
                self.order.insert(at, (self.mean[k], slot));
                self.reshape_around(axis, at);
            }
        }
        if axis.shape != Shape::Choices && many {
            self.order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            self.reshape_all(axis);
        }
    }

    fn rank(&self, mean: f64, slot: u32) -> usize {
        self.order.partition_point(|(m, s)| m.total_cmp(&mean).then(s.cmp(&slot)).is_lt())
    }

    /// The smallest bandwidth allowed: 1 / min(100, kernels + 1), the prior being a kernel ("magic clip").
    fn limit(&self) -> f64 {
        1.0 / (self.order.len() + 2).min(100) as f64
    }

    /// Bandwidths next to a place where a kernel came or went.
    fn reshape_around(&mut self, axis: &Axis, at: usize) {
        if self.limit() != self.narrowest {
            return self.reshape_all(axis);
        }
        for at in at.saturating_sub(1)..(at + 2).min(self.order.len()) {
            self.reshape(axis, at);
        }
    }

    fn reshape_all(&mut self, axis: &Axis) {
        if self.narrowest != self.limit() {
            self.narrowest = self.limit();
            self.masses = Masses::default();
        }
        for at in 0..self.order.len() {
            self.reshape(axis, at);
        }
    }

    fn reshape(&mut self, axis: &Axis, at: usize) {
        let (mean, slot) = (self.order[at].0, self.order[at].1 as usize);
        let sigma = self.bandwidth(at);
        if sigma == self.sigma[slot] {
            return;
        }
        self.sigma[slot] = sigma;
        self.steepness[slot] = 1.0 / (sigma * std::f64::consts::SQRT_2);
        let kept = -log_mass(-mean / sigma, (1.0 - mean) / sigma);
        self.peak[slot] =
            if axis.shape == Shape::Continuous { kept - sigma.ln() - LN_SQRT_2PI } else { kept };
    }

    /// The larger gap to a neighbour. The ends of the interval are no neighbours, except to a single kernel.
    fn bandwidth(&self, at: usize) -> f64 {
        let (order, mean) = (&self.order, self.order[at].0);
        let gap = if order.len() == 1 {
            mean.max(1.0 - mean)
        } else {
            let below = if at > 0 { mean - order[at - 1].0 } else { 0.0 };
            let above = order.get(at + 1).map_or(0.0, |next| next.0 - mean);
            below.max(above)
        };
        gap.clamp(self.narrowest, 1.0)
    }
}

/// Whether sorting afresh is cheaper than so many insertions.
fn is_many(changes: usize, there: usize) -> bool {
    changes > 16 && changes > there / 16
}
