//! The kernels of one parameter: where they sit, how wide they are, and what they say about a value.

use super::super::normal::{LN_SQRT_2PI, log_mass, quantile_between, tail};
use super::axis::{Axis, Coordinate, Shape};
use super::outline::{Outline, Probe};

/// On grids up to so many cells, masses are remembered for kernels with the smallest bandwidth.
const FEW_CELLS: u64 = 4096;
/// Up to so many slots, masses are remembered for all others.
const FEW_SLOTS: usize = 4096;
/// Rows remembered per grid: at most 4 MiB.
const ROWS: usize = 64;

/// The cell of a slot that is vacant or whose observation lacks the parameter.
pub(super) const NO_CELL: u32 = u32::MAX;

/// One active parameter of a query.
pub(super) struct Query {
    pub(super) axis: usize,
    pub(super) at: Coordinate,
    /// ln of the prior there.
    pub(super) prior: f64,
    /// The most that the parameters after this one can add to a kernel's logarithm.
    pub(super) rest: f64,
    /// The most that this one can.
    pub(super) ceiling: f64,
    /// Of a parameter with choices.
    pub(super) spike: Spike,
}

/// The logarithms of categorical kernels at one choice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spike {
    hit: f64,
    miss: f64,
}

impl Spike {
    /// `floor` is the prior's part relative to the spike, `prior` its logarithm at the choice.
    pub(super) fn new(floor: f64, prior: f64) -> Self {
        let whole = floor.ln_1p();
        Self { hit: (floor * prior.exp()).ln_1p() - whole, miss: floor.ln() + prior - whole }
    }
}

/// A cell's number where it is kept; those of finer grids are never looked at.
pub(super) fn short(cell: u64) -> u32 {
    cell.min(u64::from(NO_CELL - 1)) as u32
}

/// The kernels of one parameter, by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    pub(super) mean: Vec<f64>,
    pub(super) sigma: Vec<f64>,
    /// 1 / (σ√2): a kernel's logarithm is `peak − ((x − mean) · steepness)²`.
    steepness: Vec<f64>,
    /// −∞ where the slot is vacant, NaN where its observation lacks the parameter.
    peak: Vec<f64>,
    /// What is cut off below 0 and above 1.
    tails: Vec<(f64, f64)>,
    pub(super) cell: Vec<u32>,
    outline: Outline,
    /// Those that have the parameter, by their mean and then by age.
    order: Vec<(f64, u32)>,
    /// How many have the parameter.
    pub(super) present: usize,
    pub(super) narrowest: f64,
    /// No bandwidth is smaller than this, however many kernels there are.
    pub(super) least: f64,
    masses: Masses,
}

/// Logarithms of masses already computed, by the cell asked for; NaN where unknown.
#[derive(Clone, Debug, Default)]
struct Masses(Vec<Row>);

#[derive(Clone, Debug)]
struct Row {
    cell: u64,
    /// For kernels with the smallest bandwidth, by their cell.
    by_cell: Vec<f64>,
    /// For the others, by slot.
    by_slot: Vec<f64>,
}

impl Masses {
    fn row(&mut self, cell: u64, cells: u64, slots: usize) -> &mut Row {
        let place = self.0.iter().position(|row| row.cell == cell).unwrap_or_else(|| {
            if self.0.len() == ROWS {
                self.0.clear();
            }
            let by_cell = vec![f64::NAN; if cells <= FEW_CELLS { cells as usize } else { 0 }];
            self.0.push(Row { cell, by_cell, by_slot: Vec::new() });
            self.0.len() - 1
        });
        let row = &mut self.0[place];
        row.by_slot.resize(if slots <= FEW_SLOTS { slots } else { 0 }, f64::NAN);
        row
    }

    /// The slot's kernel is another.
    fn forget(&mut self, slot: usize) {
        for row in &mut self.0 {
            if let Some(known) = row.by_slot.get_mut(slot) {
                *known = f64::NAN;
            }
        }
    }
}

impl Column {
    pub(super) fn resize(&mut self, slots: usize) {
        self.mean.resize(slots, 0.0);
        self.sigma.resize(slots, 0.0);
        self.steepness.resize(slots, 0.0);
        self.peak.resize(slots, f64::NEG_INFINITY);
        self.cell.resize(slots, NO_CELL);
        self.tails.resize(slots, (0.0, 0.0));
        self.outline.resize(slots);
    }

    pub(super) fn drop_front(&mut self, gone: usize) {
        let gone = gone.min(self.mean.len());
        for column in [&mut self.mean, &mut self.sigma, &mut self.steepness, &mut self.peak] {
            column.drain(..gone);
        }
        self.cell.drain(..gone);
        self.tails.drain(..gone);
        self.outline.drop_front(gone);
        self.masses = Masses::default();
        for (_, slot) in &mut self.order {
            *slot -= gone as u32;
        }
    }

    /// The point below which lies the share `u` of a slot's kernel.
    pub(super) fn quantile(&self, slot: usize, u: f64) -> f64 {
        quantile_between(self.mean[slot], self.sigma[slot], self.tails[slot], u)
    }

    /// What bounds on the kernels' logarithms need to know of a query.
    pub(super) fn probe<'a>(&'a self, axis: &Axis, query: &Query) -> Probe<'a> {
        let at = &query.at;
        let is_grid = axis.shape == Shape::Cells;
        let width = if is_grid { at.to - at.from } else { 0.0 };
        Probe {
            shape: axis.shape,
            outline: &self.outline,
            cells: &self.cell,
            cell: short(at.cell),
            unit: if is_grid { f64::midpoint(at.from, at.to) } else { at.unit } as f32,
            half_width: (width / 2.0) as f32,
            log_width: if is_grid { width.ln() as f32 } else { 0.0 },
            hit: query.spike.hit as f32,
            miss: query.spike.miss as f32,
            prior: query.prior as f32,
        }
    }

    /// ln of one kernel's factor for a number.
    pub(super) fn log_normal(&self, slot: usize, query: &Query) -> f64 {
        let z = (query.at.unit - self.mean[slot]) * self.steepness[slot];
        let log = self.peak[slot] - z * z;
        if log.is_nan() { query.prior } else { log }
    }

    /// ln of one kernel's factor for a choice.
    pub(super) fn log_spike(&self, slot: usize, query: &Query) -> f64 {
        let cell = self.cell[slot];
        let present = if cell == short(query.at.cell) { query.spike.hit } else { query.spike.miss };
        if cell == NO_CELL { query.prior } else { present }
    }

    /// ln of one kernel's factor for a cell of a grid.
    pub(super) fn log_cell(&self, slot: usize, query: &Query) -> f64 {
        let (mean, sigma, peak) = (self.mean[slot], self.sigma[slot], self.peak[slot]);
        if peak.is_nan() {
            return query.prior;
        }
        log_mass((query.at.from - mean) / sigma, (query.at.to - mean) / sigma) + peak
    }

    /// The same, remembered, for every slot in `slots`, added to `totals`; or a bound where the sum stays below `least`.
    pub(super) fn add_cells(
        &mut self,
        axis: &Axis,
        query: &Query,
        least: f64,
        slots: &[u32],
        totals: &mut [f64],
    ) {
        let mut masses = std::mem::take(&mut self.masses);
        let known = masses.row(query.at.cell, axis.cells, self.mean.len());
        for (slot, total) in slots.iter().zip(totals) {
            *total += self.log_cell_or_bound(*slot as usize, query, least - *total, known);
        }
        self.masses = masses;
    }

    /// The factor, or a bound if that is less than `needed`: Φ(−z) ≤ e^(−z²/2).
    fn log_cell_or_bound(&self, slot: usize, query: &Query, needed: f64, known: &mut Row) -> f64 {
        let kept = if self.sigma[slot] == self.narrowest {
            known.by_cell.get_mut(self.cell[slot] as usize)
        } else {
            known.by_slot.get_mut(slot)
        };
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
        // What a kernel without the parameter says depends on the prior alone, and its slot may be taken by another.
        if let Some(kept) = kept.filter(|_| self.cell[slot] != NO_CELL) {
            *kept = log;
        }
        log
    }

    pub(super) fn leave(&mut self, axis: &Axis, leave: &[u32]) {
        let many = is_many(leave.len(), self.order.len());
        for &slot in leave {
            let k = slot as usize;
            let has = self.sigma[k] > 0.0 || self.cell[k] != NO_CELL;
            let mean = self.mean[k];
            (self.mean[k], self.sigma[k], self.steepness[k]) = (0.0, 0.0, 0.0);
            (self.peak[k], self.cell[k]) = (f64::NEG_INFINITY, NO_CELL);
            self.outline.clear(k);
            self.masses.forget(k);
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

    pub(super) fn enter(&mut self, axis: &Axis, enter: impl ExactSizeIterator<Item = (u32, Option<f64>)>) {
        let many = is_many(enter.len(), self.order.len());
        for (slot, coded) in enter {
            let k = slot as usize;
            let Some(coded) = coded else {
                self.peak[k] = f64::NAN;
                self.outline.lack(k);
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
        (1.0 / (self.order.len() + 2).min(100) as f64).max(self.least)
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

    pub(super) fn reshape_all(&mut self, axis: &Axis) {
        self.narrowest = self.limit();
        self.masses = Masses::default();
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
        self.masses.forget(slot);
        self.sigma[slot] = sigma;
        self.steepness[slot] = 1.0 / (sigma * std::f64::consts::SQRT_2);
        let tails = (tail(mean / sigma), tail((1.0 - mean) / sigma));
        self.tails[slot] = tails;
        let kept = -(-tails.0 - tails.1).ln_1p();
        let density = kept - sigma.ln() - LN_SQRT_2PI;
        self.peak[slot] = if axis.shape == Shape::Continuous { density } else { kept };
        self.outline.set(slot, mean, self.steepness[slot], kept, density);
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
