//! What [`super::cpu`] does by hand, in Burn's own operations, which run on every device.

use burn::Tensor;
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Int, activation as burns};

use super::cpu::Sequence;
use super::shape::Window;
use crate::activation::Activation;
use crate::network::Cell;

/// f of every number; the softmax is over the last axis.
pub(super) fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::Linear => x,
        Activation::Sigmoid => burns::sigmoid(x),
        Activation::Tanh => burns::tanh(x),
        Activation::Relu => burns::relu(x),
        Activation::LeakyRelu => burns::leaky_relu(x, 0.01),
        Activation::Elu => burns::elu(x, 1.0),
        Activation::Selu => burns::selu(x),
        Activation::Gelu => burns::gelu(x),
        Activation::Silu => burns::silu(x),
        Activation::Softplus => burns::softplus(x, 1.0),
        Activation::Softmax => burns::softmax(x, D - 1),
    }
}

/// As [`super::cpu::convolve`].
pub(super) fn convolve(
    images: Tensor<2>,
    kernel: Tensor<1>,
    bias: Option<Tensor<1>>,
    window: Window,
    filters: usize,
    activation: Activation,
) -> Tensor<2> {
    let rows = images.dims()[0];
    let images = images.reshape([rows, window.channels, window.height, window.width]);
    // The convolution pads both sides alike; what the end needs beyond the beginning is put there by hand.
    let more = [0, 1].map(|axis| window.after[axis].saturating_sub(window.before[axis]));
    let images =
        if more == [0, 0] { images } else { images.pad((0, more[1], 0, more[0]), PadMode::Constant(0.0)) };
    let kernel = kernel.reshape([filters, window.channels, window.size[0], window.size[1]]);
    let options = ConvOptions::new(window.stride, window.before, [1, 1], 1);
    let sums = conv2d(images, kernel, bias, options);
    activate(sums.reshape([rows, filters * window.positions()]), activation)
}

/// As [`super::cpu::largest`].
pub(super) fn largest(images: Tensor<2>, window: Window) -> Tensor<2> {
    let rows = images.dims()[0];
    let images = images.reshape([rows, window.channels, window.height, window.width]);
    let found = max_pool2d(images, MaxPoolOptions::new(window.size).with_stride(window.stride));
    found.reshape([rows, window.channels * window.positions()])
}

/// As [`super::cpu::average`].
pub(super) fn average(images: Tensor<2>, window: Window) -> Tensor<2> {
    let rows = images.dims()[0];
    let images = images.reshape([rows, window.channels, window.height, window.width]);
    let found = avg_pool2d(images, AvgPoolOptions::new(window.size).with_stride(window.stride));
    found.reshape([rows, window.channels * window.positions()])
}

/// As [`super::cpu::read`].
pub(super) fn read(
    inputs: Tensor<2>,
    kernel: Tensor<1>,
    recurrent: Tensor<1>,
    bias: Tensor<1>,
    of: Sequence,
) -> Tensor<2> {
    let Sequence { rows, steps, features, units, cell, .. } = of;
    let sums = units * cell.gates();
    let (kernel, recurrent) = (kernel.reshape([features, sums]), recurrent.reshape([units, sums]));
    let biases = bias.reshape([-1, sums as i32]);
    let bias = biases.clone().slice([0..1, 0..sums]);
    let projected = inputs.reshape([rows * steps, features]).matmul(kernel) + bias;
    let projected = projected.reshape([rows, steps, sums]);
    let device = projected.device();
    let mut state = Tensor::<2>::zeros([rows, units], &device);
    let mut memory = state.clone();
    let mut outputs: Vec<Tensor<3>> = Vec::new();
    for read in 0..steps {
        let step = if of.reversed { steps - 1 - read } else { read };
        let x = projected.clone().slice([0..rows, step..step + 1, 0..sums]).reshape([rows, sums]);
        let from_state = state.clone().matmul(recurrent.clone());
        let part = |sums: &Tensor<2>, gate: usize| sums.clone().narrow(1, gate * units, units);
        state = match cell {
            Cell::Simple => activate(x + from_state, of.activation),
            Cell::Lstm => {
                let z = x + from_state;
                let [i, f] = [0, 1].map(|gate| burns::sigmoid(part(&z, gate)));
                memory = f * memory + i * burns::tanh(part(&z, 2));
                burns::sigmoid(part(&z, 3)) * burns::tanh(memory.clone())
            }
            Cell::Gru => {
                let from_state = from_state + biases.clone().slice([1..2, 0..sums]);
                let [u, r] = [0, 1].map(|gate| burns::sigmoid(part(&x, gate) + part(&from_state, gate)));
                let n = burns::tanh(part(&x, 2) + r * part(&from_state, 2));
                u.clone() * (state - n.clone()) + n
            }
        };
        if of.every_step {
            outputs.push(state.clone().reshape([rows, 1, units]));
        }
    }
    if !of.every_step {
        return state;
    }
    if of.reversed {
        outputs.reverse();
    }
    Tensor::cat(outputs, 1).reshape([rows, steps * units])
}

/// Category numbers as indices: the nearest whole number from 0 to below `count`.
pub(super) fn indices(numbers: Tensor<2>, count: usize) -> Tensor<2, Int> {
    numbers.without_autodiff().clamp(0.0, count as f64 - 1.0).round().int()
}
