//! A recurrent layer as one node: one matrix product for the inputs of all steps and gates, one a step for the state,
//! and backward one for each kernel's gradient over all steps. Everything inside lies step by step, so that a step's
//! rows are neighbours.

use burn::Tensor;
use pulp::Arch;

use super::node::{Input, record};
use crate::activation::{Activation, with_activation};
use crate::elementary::{logistic, tanh};
use crate::matmul::{Matrix, accumulate, multiply};
use crate::network::Cell;

/// What is read, and how.
#[derive(Debug, Clone, Copy)]
pub(in crate::burn) struct Sequence {
    pub(in crate::burn) rows: usize,
    pub(in crate::burn) steps: usize,
    pub(in crate::burn) features: usize,
    pub(in crate::burn) units: usize,
    pub(in crate::burn) cell: Cell,
    /// Of the simple cell.
    pub(in crate::burn) activation: Activation,
    /// From the last step to the first.
    pub(in crate::burn) reversed: bool,
    /// Whether every step comes out, each at its own place, or the final state alone.
    pub(in crate::burn) every_step: bool,
}

/// Reads `inputs`, rows of steps · features, into rows of units, or of steps · units.
pub(in crate::burn) fn read(
    arch: Arch,
    inputs: Tensor<2>,
    kernel: Tensor<1>,
    recurrent: Tensor<1>,
    bias: Tensor<1>,
    sequence: Sequence,
) -> Tensor<2> {
    let nodes = [Input::new(inputs), Input::new(kernel), Input::new(recurrent), Input::new(bias)];
    let [inputs, kernel, recurrent, bias] = nodes.each_ref().map(Input::values);
    let mut run = Run::new(arch, sequence, &inputs);
    run.forward(&kernel, &recurrent, &bias);
    let outputs = run.outputs();
    let backward = move |gradient: &[f32], [wants_inputs, _, _, _]: [bool; 4]| {
        let found = run.backward(gradient, &recurrent);
        let to_inputs = wants_inputs.then(|| run.to_inputs(&kernel));
        [to_inputs, Some(found.kernel), Some(found.recurrent), Some(found.bias)]
    };
    record(nodes, outputs, sequence.rows, Box::new(backward))
}

/// A pass over a sequence with all that the backward pass needs of it.
struct Run {
    arch: Arch,
    of: Sequence,
    /// steps × rows × features, in reading order.
    inputs: Vec<f32>,
    /// steps × rows × gates · units: sums, then what the gates let through (the slope of the simple cell), and in
    /// the backward pass the gradient by the sums.
    gates: Vec<f32>,
    /// (steps + 1) × rows × units: the state before each step, and the last.
    states: Vec<f32>,
    /// (steps + 1) × rows × units: the LSTM's cell before each step, and the last.
    cells: Vec<f32>,
    /// steps × rows × units: the tanh of the LSTM's cell, or the candidate's sum from the state in a GRU.
    inner: Vec<f32>,
    /// steps × rows × gates · units: in a GRU the gradient by the sums from the state, which is not that by the sums
    /// from the inputs.
    from_state: Vec<f32>,
}

struct Gradients {
    kernel: Vec<f32>,
    recurrent: Vec<f32>,
    bias: Vec<f32>,
}

impl Run {
    fn new(arch: Arch, of: Sequence, inputs: &[f32]) -> Self {
        let step = of.rows * of.units;
        let only = |cell, count| if of.cell == cell { vec![0.0; count] } else { Vec::new() };
        Self {
            arch,
            of,
            inputs: of.by_step(inputs, of.features),
            gates: vec![0.0; of.steps * step * of.cell.gates()],
            states: vec![0.0; (of.steps + 1) * step],
            cells: only(Cell::Lstm, (of.steps + 1) * step),
            inner: if of.cell == Cell::Simple { Vec::new() } else { vec![0.0; of.steps * step] },
            from_state: only(Cell::Gru, of.steps * step * of.cell.gates()),
        }
    }

    fn forward(&mut self, kernel: &[f32], recurrent: &[f32], bias: &[f32]) {
        let Sequence { rows, steps, features, units, cell, .. } = self.of;
        let (step, sums) = (rows * units, units * cell.gates());
        let inputs = Matrix::new(&self.inputs, steps * rows, features);
        multiply(&mut self.gates, inputs, Matrix::new(kernel, features, sums));
        let recurrent = Matrix::new(recurrent, units, sums);
        for t in 0..steps {
            let gates = &mut self.gates[t * rows * sums..][..rows * sums];
            let (before, after) = self.states[t * step..][..2 * step].split_at_mut(step);
            let previous = Matrix::new(before, rows, units);
            match cell {
                Cell::Simple => {
                    accumulate(gates, previous, recurrent);
                    simple(self.arch, self.of.activation, units, bias, gates, after);
                }
                Cell::Lstm => {
                    accumulate(gates, previous, recurrent);
                    let (cell, cell_after) = self.cells[t * step..][..2 * step].split_at_mut(step);
                    let squashed = &mut self.inner[t * step..][..step];
                    lstm(self.arch, units, bias, gates, cell, cell_after, squashed, after);
                }
                Cell::Gru => {
                    let from_state = &mut self.from_state[t * rows * sums..][..rows * sums];
                    multiply(from_state, previous, recurrent);
                    let candidate = &mut self.inner[t * step..][..step];
                    gru(self.arch, units, bias, gates, from_state, before, candidate, after);
                }
            }
        }
    }

    /// What comes out, row by row.
    fn outputs(&self) -> Vec<f32> {
        let Sequence { rows, steps, units, every_step, .. } = self.of;
        let step = rows * units;
        if every_step {
            self.of.by_row(&self.states[step..], units)
        } else {
            self.states[steps * step..].to_vec()
        }
    }

    /// Turns `gates` into the gradient by the sums from the inputs.
    fn backward(&mut self, gradient: &[f32], recurrent: &[f32]) -> Gradients {
        let Sequence { rows, steps, features, units, cell, every_step, .. } = self.of;
        let (step, sums) = (rows * units, units * cell.gates());
        let each = if every_step { self.of.by_step(gradient, units) } else { Vec::new() };
        let mut to_state = if every_step { vec![0.0; step] } else { gradient.to_vec() };
        let mut to_cell = vec![0.0; if cell == Cell::Lstm { step } else { 0 }];
        let recurrent = Matrix::new(recurrent, units, sums).transposed();
        for t in (0..steps).rev() {
            if let Some(now) = each.get(t * step..(t + 1) * step) {
                self.arch.dispatch(|| to_state.iter_mut().zip(now).for_each(|(sum, g)| *sum += g));
            }
            let gates = &mut self.gates[t * rows * sums..][..rows * sums];
            match cell {
                Cell::Simple => {
                    self.arch.dispatch(|| gates.iter_mut().zip(&to_state).for_each(|(s, g)| *s *= g));
                    multiply(&mut to_state, Matrix::new(gates, rows, sums), recurrent);
                }
                Cell::Lstm => {
                    let (cells, squashed) =
                        (&self.cells[t * step..][..step], &self.inner[t * step..][..step]);
                    lstm_backward(self.arch, units, gates, cells, squashed, &to_state, &mut to_cell);
                    multiply(&mut to_state, Matrix::new(gates, rows, sums), recurrent);
                }
                Cell::Gru => {
                    let from_state = &mut self.from_state[t * rows * sums..][..rows * sums];
                    let (before, candidate) =
                        (&self.states[t * step..][..step], &self.inner[t * step..][..step]);
                    gru_backward(self.arch, units, gates, from_state, before, candidate, &mut to_state);
                    accumulate(&mut to_state, Matrix::new(from_state, rows, sums), recurrent);
                }
            }
        }
        let by_sums = Matrix::new(&self.gates, steps * rows, sums);
        let by_state_sums = match cell {
            Cell::Gru => Matrix::new(&self.from_state, steps * rows, sums),
            Cell::Simple | Cell::Lstm => by_sums,
        };
        let mut found = Gradients {
            kernel: vec![0.0; features * sums],
            recurrent: vec![0.0; units * sums],
            bias: Vec::new(),
        };
        multiply(&mut found.kernel, Matrix::new(&self.inputs, steps * rows, features).transposed(), by_sums);
        let states = Matrix::new(&self.states[..steps * step], steps * rows, units).transposed();
        multiply(&mut found.recurrent, states, by_state_sums);
        found.bias = column_sums(self.arch, &self.gates, sums);
        if cell == Cell::Gru {
            found.bias.extend(column_sums(self.arch, &self.from_state, sums));
        }
        found
    }

    /// The gradient by the inputs, after the backward pass.
    fn to_inputs(&self, kernel: &[f32]) -> Vec<f32> {
        let Sequence { rows, steps, features, units, cell, .. } = self.of;
        let sums = units * cell.gates();
        let mut found = vec![0.0; self.inputs.len()];
        let kernel = Matrix::new(kernel, features, sums).transposed();
        multiply(&mut found, Matrix::new(&self.gates, steps * rows, sums), kernel);
        self.of.by_row(&found, features)
    }
}

impl Sequence {
    /// From rows × steps × `width` to steps × rows × `width`, in reading order.
    fn by_step(&self, by_row: &[f32], width: usize) -> Vec<f32> {
        let mut found = vec![0.0; by_row.len()];
        self.pairs(|row, step, place| {
            let from = &by_row[(row * self.steps + step) * width..][..width];
            found[place * width..][..width].copy_from_slice(from);
        });
        found
    }

    /// The opposite of [`Self::by_step`].
    fn by_row(&self, by_step: &[f32], width: usize) -> Vec<f32> {
        let mut found = vec![0.0; by_step.len()];
        self.pairs(|row, step, place| {
            let from = &by_step[place * width..][..width];
            found[(row * self.steps + step) * width..][..width].copy_from_slice(from);
        });
        found
    }

    /// Calls `visit` with each row, step, and where they lie step by step.
    fn pairs(&self, mut visit: impl FnMut(usize, usize, usize)) {
        for row in 0..self.rows {
            for step in 0..self.steps {
                let read = if self.reversed { self.steps - 1 - step } else { step };
                visit(row, step, read * self.rows + row);
            }
        }
    }
}

fn column_sums(arch: Arch, values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    arch.dispatch(|| {
        for row in values.chunks_exact(width) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    });
    sums
}

/// h ← f(sums + bias); the sums become slopes.
fn simple(
    arch: Arch,
    activation: Activation,
    units: usize,
    bias: &[f32],
    sums: &mut [f32],
    state: &mut [f32],
) {
    with_activation!(activation, f => arch.dispatch(|| {
        for (sums, state) in sums.chunks_exact_mut(units).zip(state.chunks_exact_mut(units)) {
            for ((z, h), &b) in sums.iter_mut().zip(state).zip(bias) {
                (*h, *z) = f(*z + b);
            }
        }
    }));
}

/// c' = f c + i g and h' = o tanh c', with i, f, o logistic and g a tanh of their sums (Gers et al. 2000).
#[allow(clippy::too_many_arguments, reason = "one row of each")]
fn lstm(
    arch: Arch,
    units: usize,
    bias: &[f32],
    gates: &mut [f32],
    cells: &[f32],
    cells_after: &mut [f32],
    squashed: &mut [f32],
    states: &mut [f32],
) {
    arch.dispatch(|| {
        let before = cells.chunks_exact(units).zip(gates.chunks_exact_mut(4 * units));
        let after = cells_after.chunks_exact_mut(units).zip(squashed.chunks_exact_mut(units));
        for (((c, gates), (c_after, squashed)), h) in before.zip(after).zip(states.chunks_exact_mut(units)) {
            let (input_forget, cell_output) = gates.split_at_mut(2 * units);
            let (bias_first, bias_last) = bias.split_at(2 * units);
            for (z, b) in input_forget.iter_mut().zip(bias_first) {
                *z = logistic(*z + b);
            }
            let (g, o) = cell_output.split_at_mut(units);
            for (z, b) in g.iter_mut().zip(&bias_last[..units]) {
                *z = tanh(*z + b);
            }
            for (z, b) in o.iter_mut().zip(&bias_last[units..]) {
                *z = logistic(*z + b);
            }
            let (i, f) = input_forget.split_at(units);
            for ((((c_after, c), i), f), g) in c_after.iter_mut().zip(c).zip(i).zip(f).zip(&*g) {
                *c_after = f * c + i * g;
            }
            for (((h, squashed), c), o) in h.iter_mut().zip(squashed).zip(&*c_after).zip(&*o) {
                *squashed = tanh(*c);
                *h = o * *squashed;
            }
        }
    });
}

/// Turns the gates into the gradient by their sums, and `to_cell` into that by the cell before.
fn lstm_backward(
    arch: Arch,
    units: usize,
    gates: &mut [f32],
    cells: &[f32],
    squashed: &[f32],
    to_state: &[f32],
    to_cell: &mut [f32],
) {
    arch.dispatch(|| {
        let known = cells.chunks_exact(units).zip(squashed.chunks_exact(units));
        let moving = to_state.chunks_exact(units).zip(to_cell.chunks_exact_mut(units));
        for ((gates, (c, squashed)), (dh, dc)) in gates.chunks_exact_mut(4 * units).zip(known).zip(moving) {
            let (i, rest) = gates.split_at_mut(units);
            let (f, rest) = rest.split_at_mut(units);
            let (g, o) = rest.split_at_mut(units);
            // Slices of one length that the compiler can see, so that no index is checked in the loop.
            let (o, c, squashed, dh, dc) =
                (&mut o[..units], &c[..units], &squashed[..units], &dh[..units], &mut dc[..units]);
            for k in 0..units {
                let d = dc[k] + dh[k] * o[k] * (1.0 - squashed[k] * squashed[k]);
                let (to_i, to_f) = (d * g[k] * i[k] * (1.0 - i[k]), d * c[k] * f[k] * (1.0 - f[k]));
                let to_g = d * i[k] * (1.0 - g[k] * g[k]);
                let to_o = dh[k] * squashed[k] * o[k] * (1.0 - o[k]);
                dc[k] = d * f[k];
                (i[k], f[k], g[k], o[k]) = (to_i, to_f, to_g, to_o);
            }
        }
    });
}

/// u and r logistic, n = tanh(x-sum + r · state-sum), h' = (1 − u) n + u h: the reset gate is applied after the
/// product with the state. `candidate` keeps the state's sum.
#[allow(clippy::too_many_arguments, reason = "one row of each")]
fn gru(
    arch: Arch,
    units: usize,
    bias: &[f32],
    gates: &mut [f32],
    from_state: &[f32],
    states: &[f32],
    candidate: &mut [f32],
    states_after: &mut [f32],
) {
    let (bias, state_bias) = bias.split_at(3 * units);
    arch.dispatch(|| {
        let sums = gates.chunks_exact_mut(3 * units).zip(from_state.chunks_exact(3 * units));
        let moving = states.chunks_exact(units).zip(states_after.chunks_exact_mut(units));
        for (((gates, from_state), (h, h_after)), candidate) in
            sums.zip(moving).zip(candidate.chunks_exact_mut(units))
        {
            let (update_reset, n) = gates.split_at_mut(2 * units);
            for (((z, s), b), state_b) in update_reset.iter_mut().zip(from_state).zip(bias).zip(state_bias) {
                *z = logistic(*z + b + (s + state_b));
            }
            let (u, r) = update_reset.split_at(units);
            let sums = from_state[2 * units..].iter().zip(&state_bias[2 * units..]);
            for (((z, b), r), ((s, state_b), kept)) in
                n.iter_mut().zip(&bias[2 * units..]).zip(r).zip(sums.zip(candidate))
            {
                *kept = s + state_b;
                *z = tanh(*z + b + r * *kept);
            }
            for (((h_after, h), u), n) in h_after.iter_mut().zip(h).zip(u).zip(&*n) {
                *h_after = (1.0 - u) * n + u * h;
            }
        }
    });
}

/// Turns the gates into the gradient by the inputs' sums, fills `from_state` with that by the state's sums, and
/// leaves in `to_state` what reaches the state before without passing a product.
fn gru_backward(
    arch: Arch,
    units: usize,
    gates: &mut [f32],
    from_state: &mut [f32],
    states: &[f32],
    candidate: &[f32],
    to_state: &mut [f32],
) {
    arch.dispatch(|| {
        let sums = gates.chunks_exact_mut(3 * units).zip(from_state.chunks_exact_mut(3 * units));
        let known = states.chunks_exact(units).zip(candidate.chunks_exact(units));
        for (((gates, from_state), (h, candidate)), dh) in
            sums.zip(known).zip(to_state.chunks_exact_mut(units))
        {
            let (u, rest) = gates.split_at_mut(units);
            let (r, n) = rest.split_at_mut(units);
            let (by_u, rest) = from_state.split_at_mut(units);
            let (by_r, by_n) = rest.split_at_mut(units);
            let (n, by_n) = (&mut n[..units], &mut by_n[..units]);
            let (h, candidate, dh) = (&h[..units], &candidate[..units], &mut dh[..units]);
            for k in 0..units {
                let to_n = dh[k] * (1.0 - u[k]) * (1.0 - n[k] * n[k]);
                let to_u = dh[k] * (h[k] - n[k]) * u[k] * (1.0 - u[k]);
                let to_r = to_n * candidate[k] * r[k] * (1.0 - r[k]);
                (by_u[k], by_r[k], by_n[k]) = (to_u, to_r, to_n * r[k]);
                dh[k] *= u[k];
                (u[k], r[k], n[k]) = (to_u, to_r, to_n);
            }
        }
    });
}
