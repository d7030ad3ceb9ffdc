//! One parameter as the kernels see it: where its values lie in the unit interval, and the mixture's prior there.

use super::super::normal::{LN_SQRT_2PI, log_mass, truncated_quantile};
use crate::space::{Distribution, Parameter, Prior};

/// The prior's kernel: a normal around the middle whose deviation is the whole range.
const WIDE: (f64, f64) = (0.5, 1.0);

/// ln of that normal's mass between 0 and 1: ln(Φ(½) − Φ(−½)).
const WIDE_MASS: f64 = -0.959_916_333_695_622_3;

/// Priors on grids up to this many cells are tabulated.
const TABLE: u64 = 1024;

/// The cell of a slot that is vacant or whose observation lacks the parameter.
pub(super) const NO_CELL: u32 = u32::MAX;

/// A cell's number where it is kept; those of finer grids are never looked at.
pub(super) fn short(cell: u64) -> u32 {
    cell.min(u64::from(NO_CELL - 1)) as u32
}

/// What a model knows about one parameter.
#[derive(Clone, Debug)]
pub struct Axis {
    pub(super) shape: Shape,
    pub(super) distribution: Distribution,
    prior: Option<Prior>,
    pub(super) cells: u64,
    /// ln of the prior on each cell or choice, if it is tabulated.
    table: Box<[f64]>,
}

/// In the order of evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    Continuous,
    Choices,
    Cells,
    /// A single value, or no longer searched.
    Unused,
}

/// A value as the kernels see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coordinate {
    pub(super) unit: f64,
    /// The share of the unit interval that rounds to the value; empty for a continuous parameter.
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) cell: u64,
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

    /// The axis of a parameter that a model leaves out.
    pub fn left_out(parameter: &Parameter) -> Self {
        let distribution = parameter.distribution.clone();
        Self { shape: Shape::Unused, distribution, prior: None, cells: 0, table: Box::default() }
    }

    /// Whether the model leaves the parameter out: because it was told to, or because it has a single value.
    pub fn is_left_out(&self) -> bool {
        self.shape == Shape::Unused
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
            (None, Shape::Cells) if self.cells <= TABLE => {
                let place = |cell| self.locate(self.distribution.cell(cell));
                (0..self.cells).map(|cell| wide_mass(&place(cell))).collect()
            }
            _ => Box::default(),
        }
    }

    pub(super) fn locate(&self, coded: f64) -> Coordinate {
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
    pub(super) fn log_prior(&self, at: &Coordinate) -> f64 {
        let (mean, sigma) = WIDE;
        match (&self.prior, self.shape) {
            (_, Shape::Unused) => 0.0,
            (_, Shape::Cells | Shape::Choices) if !self.table.is_empty() => self.table[at.cell as usize],
            (Some(_), Shape::Cells) => self.prior_mass(at).ln(),
            (Some(prior), _) => prior.density(&self.distribution, at.unit).ln(),
            (None, Shape::Continuous) => {
                let z = (at.unit - mean) / sigma;
                -0.5 * z * z - LN_SQRT_2PI - sigma.ln() - WIDE_MASS
            }
            (None, Shape::Cells) => wide_mass(at),
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

    pub(super) fn draw_prior(&self, u: f64) -> f64 {
        let unit = match (&self.prior, self.shape) {
            (Some(prior), _) => prior.quantile(&self.distribution, u),
            (None, Shape::Continuous | Shape::Cells) => truncated_quantile(WIDE.0, WIDE.1, u),
            (None, Shape::Choices | Shape::Unused) => u,
        };
        self.distribution.from_unit(unit)
    }
}

/// ln of the wide prior's mass on a cell.
fn wide_mass(at: &Coordinate) -> f64 {
    let (mean, sigma) = WIDE;
    log_mass((at.from - mean) / sigma, (at.to - mean) / sigma) - WIDE_MASS
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
