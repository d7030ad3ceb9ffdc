//! One stage of a network: the passes forward and backward through it, on buffers that it keeps.
//!
//! A stage is a sum (a matrix product, a normalisation, …), then a bias, an activation and a dropout. The last three
//! are alike for all: going forward they leave, beside the outputs, the slope of what was applied (activation times
//! dropout mask), and going backward is to multiply by it.

use std::ops::Range;

use pulp::Arch;

use super::normalization::{self, Normalized};
use crate::activation::Activation;
use crate::kernels;
use crate::matmul::{Matrix, multiply};
use crate::network::{EmbedColumn, Penalty};
use crate::rng::Stream;

pub(super) struct Stage {
    pub(super) kind: Kind,
    pub(super) from: Source,
    /// Rows of features that an example has: 1, or the steps of a sequence.
    pub(super) positions: usize,
    /// Features that go into each position, and out of it.
    pub(super) inputs: usize,
    pub(super) units: usize,
    /// Added to each position; β of a normalisation.
    pub(super) bias: Option<Range<usize>>,
    /// Applied to each number; never softmax, which is a kind of its own.
    pub(super) activation: Activation,
    pub(super) dropout: f64,
    /// On the outputs. A stage that has one has no dropout.
    pub(super) activity: Penalty,
    pub(super) outputs: Vec<f32>,
    /// As `outputs`; empty in an engine that only predicts, and where all slopes are 1.
    pub(super) slopes: Vec<f32>,
}

/// What a stage computes before bias, activation and dropout.
pub(super) enum Kind {
    /// Its inputs.
    Copy,
    Dense {
        kernel: Range<usize>,
    },
    BatchNormalization {
        gamma: Range<usize>,
        /// Moving mean, then moving variance.
        moving: Range<usize>,
        /// Momentum and ε.
        constants: (f64, f64),
        kept: Normalized,
    },
    LayerNormalization {
        gamma: Range<usize>,
        epsilon: f64,
        kept: Normalized,
    },
    /// Of each position's features. Nothing is applied after it.
    Softmax,
    Embed {
        /// Columns that stay as they are.
        others: Vec<usize>,
        tables: Vec<(EmbedColumn, Range<usize>)>,
    },
    /// Where a residual block begins: computes nothing. Going backward, what came through the other branch joins.
    Fork {
        join: usize,
    },
    /// The sum of a residual block's end and its beginning.
    Join {
        skip: Source,
        /// A linear map of the beginning, and how many features that has.
        projection: Option<(Range<usize>, usize)>,
        /// The gradient with respect to the sum, until the fork needs it.
        kept: Vec<f32>,
    },
}

/// Where a stage reads.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Inputs,
    Stage(usize),
}

/// What is known when a stage runs: the network's inputs and the outputs of the stages before.
pub(super) struct Values<'a> {
    pub(super) arch: Arch,
    pub(super) rows: usize,
    pub(super) inputs: &'a [f32],
    pub(super) stages: &'a [Stage],
}

impl<'a> Values<'a> {
    fn read(&self, source: Source) -> &'a [f32] {
        match source {
            Source::Inputs => self.inputs,
            Source::Stage(index) => {
                let stage = &self.stages[index];
                &stage.outputs[..self.rows * stage.size()]
            }
        }
    }
}

/// Random bytes for dropout, and room for them.
pub(super) struct Noise<'a> {
    pub(super) stream: &'a mut Stream,
    pub(super) room: &'a mut [u8],
}

/// Gradients with respect to what lies between stages: that of the outputs of the stage that is next to run, and room
/// for that of its inputs. Then they change places.
#[derive(Default)]
pub(super) struct Deltas {
    pub(super) now: Vec<f32>,
    pub(super) next: Vec<f32>,
}

impl Stage {
    /// Numbers that come out for one example.
    pub(super) fn size(&self) -> usize {
        self.positions * self.units
    }

    /// Whether gradients move something in it.
    pub(super) fn learns(&self) -> bool {
        match &self.kind {
            Kind::Dense { .. }
            | Kind::BatchNormalization { .. }
            | Kind::LayerNormalization { .. }
            | Kind::Embed { .. } => true,
            Kind::Join { projection, .. } => projection.is_some(),
            Kind::Copy | Kind::Softmax | Kind::Fork { .. } => false,
        }
    }

    /// Computes the outputs: in training with `noise` for dropout, with statistics of the batch, and with slopes.
    pub(super) fn forward(&mut self, values: &Values<'_>, weights: &mut [f32], noise: Option<Noise<'_>>) {
        let (arch, rows, units) = (values.arch, values.rows * self.positions, self.units);
        let x = values.read(self.from);
        if let Kind::Fork { .. } = self.kind {
            return;
        }
        let y = &mut self.outputs[..rows * units];
        match &mut self.kind {
            Kind::Fork { .. } => {}
            Kind::Copy => y.copy_from_slice(x),
            Kind::Dense { kernel } => {
                let kernel = Matrix::new(&weights[kernel.clone()], self.inputs, units);
                multiply(y, Matrix::new(x, rows, self.inputs), kernel);
            }
            Kind::BatchNormalization { gamma, moving, constants, kept } => {
                let (gamma, moving) = (gamma.clone(), moving.clone());
                if noise.is_some() {
                    let (mean, variance) = weights[moving].split_at_mut(units);
                    normalization::normalize_columns(arch, x, kept, mean, variance, *constants);
                    normalization::scale_columns(arch, &kept.values, y, &weights[gamma]);
                } else {
                    let (mean, variance) = weights[moving].split_at(units);
                    let statistics = (mean, variance, &weights[gamma]);
                    normalization::normalize_with(arch, x, y, statistics, constants.1, &mut kept.inverse);
                }
            }
            Kind::LayerNormalization { gamma, epsilon, kept } => {
                normalization::normalize_rows(arch, x, kept, units, *epsilon);
                normalization::scale_columns(arch, &kept.values, y, &weights[gamma.clone()]);
            }
            Kind::Softmax => {
                y.copy_from_slice(x);
                kernels::softmax(arch, y, units);
            }
            Kind::Embed { others, tables } => embed(x, y, (self.inputs, units), others, tables, weights),
            Kind::Join { skip, projection, .. } => {
                let skip = values.read(*skip);
                match projection {
                    None => y.copy_from_slice(skip),
                    Some((kernel, inputs)) => {
                        let kernel = Matrix::new(&weights[kernel.clone()], *inputs, units);
                        multiply(y, Matrix::new(skip, rows, *inputs), kernel);
                    }
                }
                kernels::add(arch, y, x);
            }
        }
        self.finish(arch, rows, self.bias.clone().map(|bias| &weights[bias]), noise);
    }

    /// Bias, activation and dropout.
    fn finish(&mut self, arch: Arch, rows: usize, bias: Option<&[f32]>, noise: Option<Noise<'_>>) {
        let used = rows * self.units;
        let y = &mut self.outputs[..used];
        let Some(noise) = noise.filter(|_| !self.slopes.is_empty()) else {
            if bias.is_some() || self.activation != Activation::Linear {
                kernels::activate(arch, self.activation, y, bias);
            }
            return;
        };
        let slopes = &mut self.slopes[..used];
        kernels::activate_with_slope(arch, self.activation, y, slopes, bias);
        if self.dropout > 0.0 {
            let room = &mut noise.room[..2 * used];
            noise.stream.fill(room);
            kernels::drop_units(arch, self.dropout, y, slopes, room);
        }
    }

    /// From the gradient with respect to the outputs (in `deltas.now`) to that of the parameters and, if
    /// `goes_on`, with respect to the inputs. `after` are the stages behind this one.
    pub(super) fn backward(
        &mut self,
        values: &Values<'_>,
        after: &[Self],
        weights: &[f32],
        gradients: &mut [f32],
        deltas: &mut Deltas,
        goes_on: bool,
    ) {
        if let Kind::Fork { join } = self.kind {
            // Stages are counted from the first, and this one lies between `values.stages` and `after`.
            return after[join - values.stages.len() - 1].rejoin(values, weights, deltas);
        }
        self.through_slopes(values, gradients, deltas);
        let (arch, rows, units) = (values.arch, values.rows * self.positions, self.units);
        let delta = &mut deltas.now[..rows * units];
        match &mut self.kind {
            Kind::Fork { .. } | Kind::Copy => {}
            Kind::Dense { kernel } => {
                let delta = Matrix::new(delta, rows, units);
                let x = Matrix::new(values.read(self.from), rows, self.inputs).transposed();
                multiply(&mut gradients[kernel.clone()], x, delta);
                if goes_on {
                    let kernel = Matrix::new(&weights[kernel.clone()], self.inputs, units).transposed();
                    multiply(&mut deltas.next[..rows * self.inputs], delta, kernel);
                    deltas.swap();
                }
            }
            Kind::BatchNormalization { gamma, kept, .. } => {
                normalization::gamma_gradient(arch, delta, &kept.values, &mut gradients[gamma.clone()]);
                if goes_on {
                    let beta = self.bias.clone().unwrap_or_default();
                    let sums = (&gradients[beta], &gradients[gamma.clone()]);
                    normalization::through_columns(arch, delta, kept, &weights[gamma.clone()], sums);
                }
            }
            Kind::LayerNormalization { gamma, kept, .. } => {
                normalization::gamma_gradient(arch, delta, &kept.values, &mut gradients[gamma.clone()]);
                if goes_on {
                    normalization::through_rows(arch, delta, kept, &weights[gamma.clone()]);
                }
            }
            Kind::Softmax => kernels::through_softmax(arch, delta, &self.outputs, units),
            Kind::Embed { others, tables } => {
                let x = values.read(self.from);
                scatter(x, delta, (self.inputs, units), others.len(), tables, gradients);
                if goes_on {
                    spread(delta, &mut deltas.next[..rows * self.inputs], (self.inputs, units), others);
                    deltas.swap();
                }
            }
            Kind::Join { skip, projection, kept } => {
                kept[..delta.len()].copy_from_slice(delta);
                if let Some((kernel, inputs)) = projection {
                    let x = Matrix::new(values.read(*skip), rows, *inputs).transposed();
                    multiply(&mut gradients[kernel.clone()], x, Matrix::new(delta, rows, units));
                }
            }
        }
    }

    /// The gradient with respect to the sums, and that of the bias.
    fn through_slopes(&self, values: &Values<'_>, gradients: &mut [f32], deltas: &mut Deltas) {
        let (arch, used) = (values.arch, values.rows * self.size());
        let delta = &mut deltas.now[..used];
        if !self.activity.is_none() {
            let share = 1.0 / values.rows as f64;
            let outputs = &self.outputs[..used];
            kernels::add_penalty(arch, delta, outputs, share * self.activity.l1, share * self.activity.l2);
        }
        match (self.slopes.is_empty(), self.bias.clone()) {
            (false, Some(bias)) => {
                kernels::through_slope(arch, delta, &self.slopes[..used], &mut gradients[bias]);
            }
            (false, None) => kernels::multiply_each(arch, delta, &self.slopes[..used]),
            (true, Some(bias)) => kernels::column_sums(arch, delta, &mut gradients[bias]),
            (true, None) => {}
        }
    }

    /// Adds, at the fork, what came back past the residual block that ends here.
    fn rejoin(&self, values: &Values<'_>, weights: &[f32], deltas: &mut Deltas) {
        let Kind::Join { projection, kept, .. } = &self.kind else { unreachable!("a fork without a join") };
        let rows = values.rows * self.positions;
        let kept = &kept[..rows * self.units];
        match projection {
            None => kernels::add(values.arch, &mut deltas.now[..kept.len()], kept),
            Some((kernel, inputs)) => {
                let kernel = Matrix::new(&weights[kernel.clone()], *inputs, self.units).transposed();
                let past = &mut deltas.next[..rows * inputs];
                multiply(past, Matrix::new(kept, rows, self.units), kernel);
                kernels::add(values.arch, &mut deltas.now[..rows * inputs], past);
            }
        }
    }
}

impl Deltas {
    fn swap(&mut self) {
        std::mem::swap(&mut self.now, &mut self.next);
    }
}

/// The place of a category number; what is beyond counts as the last.
fn category(x: f32, column: &EmbedColumn) -> usize {
    (x as usize).min(column.cardinality - 1)
}

/// The other columns, then the row of its table for each category.
fn embed(
    x: &[f32],
    y: &mut [f32],
    (inputs, units): (usize, usize),
    others: &[usize],
    tables: &[(EmbedColumn, Range<usize>)],
    weights: &[f32],
) {
    for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(units)) {
        let (plain, mut rest) = y.split_at_mut(others.len());
        for (y, &place) in plain.iter_mut().zip(others) {
            *y = x[place];
        }
        for (column, table) in tables {
            let start = table.start + category(x[column.input], column) * column.dimension;
            let (row, behind) = rest.split_at_mut(column.dimension);
            row.copy_from_slice(&weights[start..start + column.dimension]);
            rest = behind;
        }
    }
}

/// The gradients of the tables: each row's delta is added to the category it came from.
fn scatter(
    x: &[f32],
    delta: &[f32],
    (inputs, units): (usize, usize),
    others: usize,
    tables: &[(EmbedColumn, Range<usize>)],
    gradients: &mut [f32],
) {
    for (_, table) in tables {
        gradients[table.clone()].fill(0.0);
    }
    for (x, delta) in x.chunks_exact(inputs).zip(delta.chunks_exact(units)) {
        let mut rest = &delta[others..];
        for (column, table) in tables {
            let start = table.start + category(x[column.input], column) * column.dimension;
            let (row, behind) = rest.split_at(column.dimension);
            for (sum, &delta) in gradients[start..start + column.dimension].iter_mut().zip(row) {
                *sum += delta;
            }
            rest = behind;
        }
    }
}

/// The gradient with respect to the inputs of an embedding: none goes to the category numbers.
fn spread(delta: &[f32], before: &mut [f32], (inputs, units): (usize, usize), others: &[usize]) {
    before.fill(0.0);
    for (delta, before) in delta.chunks_exact(units).zip(before.chunks_exact_mut(inputs)) {
        for (&delta, &place) in delta.iter().zip(others) {
            before[place] = delta;
        }
    }
}
