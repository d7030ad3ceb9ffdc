//! The kernels in few bits: upper bounds on their logarithms, in single precision, for many points at once.
//!
//! The loops have no branch and no reduction whose order matters, so that every machine finds the same bounds, however
//! many numbers its instructions take at once.

// What is not inlined into the dispatched function is compiled for the oldest processors.
#![allow(clippy::inline_always)]

use pulp::{Arch, Simd, WithSimd};

use super::axis::{NO_CELL, Shape};

/// More than the rounding of a bound: each of 16 parameters has z² below 400 where it matters, off by 1e-3 at most.
pub(super) const SLACK: f32 = 0.1;

/// Slots whose bounds are computed together, so that their kernels stay in the fastest cache for all points.
const BLOCK: usize = 256;

/// Bounds compared at once.
const LANES: usize = 16;

/// One parameter's kernels, by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    mean: Vec<f32>,
    steepness: Vec<f32>,
    /// No cell's logarithm is higher.
    mass: Vec<f32>,
    /// No cell's logarithm is higher, less that of its width; NaN where the observation lacks the parameter.
    density: Vec<f32>,
}

impl Outline {
    pub(super) fn resize(&mut self, slots: usize) {
        for column in [&mut self.mean, &mut self.steepness, &mut self.mass, &mut self.density] {
            column.resize(slots, 0.0);
        }
    }

    pub(super) fn drop_front(&mut self, gone: usize) {
        for column in [&mut self.mean, &mut self.steepness, &mut self.mass, &mut self.density] {
            column.drain(..gone);
        }
    }

    pub(super) fn set(&mut self, slot: usize, mean: f64, steepness: f64, mass: f64, density: f64) {
        (self.mean[slot], self.steepness[slot]) = (mean as f32, steepness as f32);
        (self.mass[slot], self.density[slot]) = (mass as f32, density as f32);
    }

    /// The slot is vacant.
    pub(super) fn clear(&mut self, slot: usize) {
        self.density[slot] = 0.0;
    }

    /// The slot's observation lacks the parameter.
    pub(super) fn lack(&mut self, slot: usize) {
        self.density[slot] = f32::NAN;
    }
}

/// One parameter of one point, with the kernels to compare it with.
pub(super) struct Probe<'a> {
    pub(super) shape: Shape,
    pub(super) outline: &'a Outline,
    pub(super) cells: &'a [u32],
    pub(super) cell: u32,
    /// The middle of the cell, or the value.
    pub(super) unit: f32,
    pub(super) half_width: f32,
    pub(super) log_width: f32,
    /// Logarithms of a categorical kernel at its choice and at others.
    pub(super) hit: f32,
    pub(super) miss: f32,
    /// That of the prior.
    pub(super) prior: f32,
}

/// Bounds on the logarithm of every slot's kernel, for several points.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    slots: usize,
    each: Vec<f32>,
    /// The highest of each block.
    tops: Vec<f32>,
}

impl Bounds {
    /// Sums the bounds of each point's probes; slots without weight are out of the question.
    pub(super) fn compute(&mut self, weights: &[f64], points: &[Vec<Probe>]) {
        self.slots = weights.len();
        let blocks = self.slots.div_ceil(BLOCK);
        self.each.resize(self.slots * points.len(), 0.0);
        self.tops.resize(blocks * points.len(), 0.0);
        let arch = Arch::new();
        for block in 0..blocks {
            let first = block * BLOCK;
            let last = (first + BLOCK).min(self.slots);
            for (k, probes) in points.iter().enumerate() {
                let bounds = &mut self.each[k * self.slots + first..k * self.slots + last];
                let top = &mut self.tops[k * blocks + block];
                *top = arch.dispatch(Bound { weights: &weights[first..last], probes, first, bounds });
            }
        }
    }

    fn of(&self, point: usize) -> &[f32] {
        &self.each[point * self.slots..(point + 1) * self.slots]
    }

    fn tops_of(&self, point: usize) -> &[f32] {
        let blocks = self.slots.div_ceil(BLOCK);
        &self.tops[point * blocks..(point + 1) * blocks]
    }

    /// The highest bound.
    pub(super) fn top(&self, point: usize) -> f32 {
        self.tops_of(point).iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// The first slot with the highest bound.
    pub(super) fn best(&self, point: usize) -> Option<usize> {
        let tops = self.tops_of(point);
        let top = self.top(point);
        let block = tops.iter().position(|other| *other == top && top.is_finite())?;
        let bounds = &self.of(point)[block * BLOCK..];
        bounds.iter().position(|bound| *bound == top).map(|at| block * BLOCK + at)
    }

    /// Leaves in `slots` those whose bound is `least` or more, ascending.
    pub(super) fn keep_from(&self, point: usize, least: f32, slots: &mut Vec<u32>) {
        slots.clear();
        let arch = Arch::new();
        for (block, bounds) in self.of(point).chunks(BLOCK).enumerate() {
            if self.tops_of(point)[block] >= least {
                arch.dispatch(Keep { bounds, least, first: (block * BLOCK) as u32, slots });
            }
        }
    }
}

struct Keep<'a> {
    bounds: &'a [f32],
    least: f32,
    first: u32,
    slots: &'a mut Vec<u32>,
}

impl WithSimd for Keep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { bounds, least, first, slots } = self;
        for (first, some) in (first..).step_by(LANES).zip(bounds.chunks(LANES)) {
            let any = some.iter().fold(0, |any, bound| any | u32::from(*bound >= least));
            if any == 1 {
                slots.extend((first..).zip(some).filter(|(_, bound)| **bound >= least).map(|(slot, _)| slot));
            }
        }
    }
}

/// Bounds of one block; the output is the highest.
struct Bound<'a, 'b> {
    weights: &'a [f64],
    probes: &'a [Probe<'b>],
    first: usize,
    bounds: &'a mut [f32],
}

impl WithSimd for Bound<'_, '_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        let Self { weights, probes, first, bounds } = self;
        for (bound, weight) in bounds.iter_mut().zip(weights) {
            *bound = if *weight > 0.0 { 0.0 } else { f32::NEG_INFINITY };
        }
        for probe in probes {
            match probe.shape {
                Shape::Unused => {}
                Shape::Choices => add_spikes(probe, first, bounds),
                Shape::Continuous => add_normals(probe, first, bounds),
                Shape::Cells => add_cells(probe, first, bounds),
            }
        }
        highest(bounds)
    }
}

#[inline(always)]
fn add_spikes(probe: &Probe, first: usize, bounds: &mut [f32]) {
    let (mine, hit, miss, prior) = (probe.cell, probe.hit, probe.miss, probe.prior);
    for (bound, cell) in bounds.iter_mut().zip(&probe.cells[first..]) {
        let present = if *cell == mine { hit } else { miss };
        *bound += if *cell == NO_CELL { prior } else { present };
    }
}

#[inline(always)]
fn add_normals(probe: &Probe, first: usize, bounds: &mut [f32]) {
    let Outline { mean, steepness, density, .. } = probe.outline;
    let kernels = mean[first..].iter().zip(&steepness[first..]).zip(&density[first..]);
    let (x, prior) = (probe.unit, probe.prior);
    for (bound, ((mean, steepness), density)) in bounds.iter_mut().zip(kernels) {
        let z = (x - mean) * steepness;
        let log = density - z * z;
        *bound += if log.is_nan() { prior } else { log };
    }
}

/// The density nowhere in the cell is higher than at its point nearest to the mean, and the mass is at most that of the
/// tail from there: Φ(−z) ≤ e^(−z²/2).
#[inline(always)]
fn add_cells(probe: &Probe, first: usize, bounds: &mut [f32]) {
    let Outline { mean, steepness, mass, density } = probe.outline;
    let kernels = mean[first..].iter().zip(&steepness[first..]).zip(&mass[first..]).zip(&density[first..]);
    let (x, half, log_width, prior) = (probe.unit, probe.half_width, probe.log_width, probe.prior);
    for (bound, (((mean, steepness), mass), density)) in bounds.iter_mut().zip(kernels) {
        let gap = (x - mean).abs() - half;
        let z = if gap > 0.0 { gap } else { 0.0 } * steepness;
        let narrow = density + log_width;
        let log = if *mass < narrow { *mass } else { narrow } - z * z;
        *bound += if log.is_nan() { prior } else { log };
    }
}

#[inline(always)]
fn highest(bounds: &[f32]) -> f32 {
    let mut best = [f32::NEG_INFINITY; LANES];
    let mut chunks = bounds.chunks_exact(LANES);
    for some in &mut chunks {
        for (best, bound) in best.iter_mut().zip(some) {
            *best = if *bound > *best { *bound } else { *best };
        }
    }
    best.iter().chain(chunks.remainder()).copied().fold(f32::NEG_INFINITY, f32::max)
}
