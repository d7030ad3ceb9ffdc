//! The way of a batch through the layers, as a graph of Burn's tensors. Holds no weights and never goes backward:
//! Burn does.
//!
//! Between layers a batch is rows of numbers; its shape, known from the network, goes beside it. A layer gives the
//! rows the rank it needs.

use burn::Tensor;
use burn::tensor::activation::softmax;
use burn::tensor::module::{batch_norm, batch_norm_train, embedding, layer_norm};
use burn::tensor::{Int, TensorData};
use pulp::Arch;

use super::cpu::{self, Sequence};
use super::portable;
use super::shape::Window;
use crate::activation::Activation;
use crate::network::{
    Dense, EmbedColumn, Layer, Penalty, Pool, Pooling, Recurrent, chain_shapes, projection_stride,
};
use crate::parameters::channels;
use crate::rng::Stream;

/// One pass.
pub(super) struct Forward<'a> {
    /// The SIMD level for [`cpu`]'s nodes; without it everything is done by Burn's own operations.
    arch: Option<Arch>,
    /// What is still to come of the parameters, each flat.
    parameters: std::slice::Iter<'a, Tensor<1>>,
    /// The epoch's noise; in prediction there is none.
    noise: Option<&'a mut Stream>,
    /// Places of moving statistics among the parameters, with the batch's own.
    pub(super) statistics: Vec<Statistics>,
    /// Penalties on outputs, summed over rows.
    pub(super) activity: Option<Tensor<1>>,
}

/// What a batch normalisation saw of a batch.
pub(super) struct Statistics {
    /// Place of the moving mean among the parameters; the variance is next.
    pub(super) parameter: usize,
    pub(super) momentum: f64,
    pub(super) mean: Tensor<1>,
    pub(super) variance: Tensor<1>,
}

impl<'a> Forward<'a> {
    /// With `noise` in training, without in prediction.
    pub(super) fn new(
        arch: Option<Arch>,
        parameters: &'a [Tensor<1>],
        noise: Option<&'a mut Stream>,
    ) -> Self {
        Self { arch, parameters: parameters.iter(), noise, statistics: Vec::new(), activity: None }
    }

    /// Sends rows of shape `input` through `layers`. `total` is the number of parameters there are.
    pub(super) fn through(
        &mut self,
        layers: &[Layer],
        input: &[usize],
        mut rows: Tensor<2>,
        total: usize,
    ) -> Tensor<2> {
        let shapes = chain_shapes("", input, layers).expect("shapes were checked when the engine was made");
        let mut shape = input;
        for (layer, output) in layers.iter().zip(&shapes) {
            rows = self.layer(layer, shape, output, rows, total);
            shape = output;
        }
        rows
    }

    fn layer(
        &mut self,
        layer: &Layer,
        input: &[usize],
        output: &[usize],
        x: Tensor<2>,
        total: usize,
    ) -> Tensor<2> {
        let count = x.dims()[0];
        match (layer, input) {
            (Layer::Dense(dense), _) => {
                let y = self.dense(dense, input, x);
                self.penalise(dense.weights.activity, y)
            }
            (Layer::Dropout { rate }, _) => self.dropout(*rate, x),
            (Layer::BatchNormalization { momentum, epsilon }, _) => {
                self.batch_normalization(input, *momentum, *epsilon, x, total)
            }
            (Layer::LayerNormalization { epsilon }, _) => self.layer_normalization(input, *epsilon, x),
            (Layer::Activation { activation: Activation::Softmax }, _) => softmax_of_features(x, input),
            (Layer::Activation { activation }, _) => self.activate(x, *activation),
            (Layer::Conv1d(conv), &[steps, features]) => {
                let window = Window::over_sequence(conv, [steps, features]);
                let x = swap(x, [steps, features]);
                let y = self.convolve(x, window, conv.filters, conv.bias, conv.activation);
                self.penalise(conv.weights.activity, swap(y, [conv.filters, window.positions()]))
            }
            (Layer::Conv2d(conv), &[channels, height, width]) => {
                let window = Window::over_image(conv, [channels, height, width]);
                let y = self.convolve(x, window, conv.filters, conv.bias, conv.activation);
                self.penalise(conv.weights.activity, y)
            }
            (Layer::Pool1d(pool), &[steps, features]) => {
                let window = Window::pool_sequence(pool, [steps, features]);
                let y = self.pool(pool, window, swap(x, [steps, features]));
                swap(y, [features, window.positions()])
            }
            (Layer::Pool2d(pool), &[channels, height, width]) => {
                self.pool(pool, Window::pool_image(pool, [channels, height, width]), x)
            }
            (Layer::GlobalPool { pooling }, &[steps, features]) => {
                global(*pooling, x.reshape([count, steps, features]), 1)
            }
            (Layer::GlobalPool { pooling }, &[channels, height, width]) => {
                global(*pooling, x.reshape([count, channels, height * width]), 2)
            }
            (Layer::Flatten, _) => x,
            (Layer::Rows, &[channels, height, width]) => x
                .reshape([count, channels, height, width])
                .swap_dims(1, 2)
                .reshape([count, channels * height * width]),
            (Layer::Embedding { vocabulary, dimension }, &[steps]) => {
                let table = self.parameter().reshape([*vocabulary, *dimension]);
                embedding(table, portable::indices(x, *vocabulary)).reshape([count, steps * dimension])
            }
            (Layer::EmbedColumns { columns }, &[features]) => self.embed_columns(columns, features, x),
            (Layer::Recurrent(recurrent), &[steps, features]) => {
                let y = self.recurrent(recurrent, [steps, features], x);
                self.penalise(recurrent.weights.activity, y)
            }
            (Layer::Residual { layers }, _) => {
                let inner = self.through(layers, input, x.clone(), total);
                inner + self.shortcut(input, output, x)
            }
            (layer, input) => unreachable!("{} on {input:?}", layer.kind()),
        }
    }

    /// The next parameter in the layout, flat.
    fn parameter(&mut self) -> Tensor<1> {
        self.parameters.next().expect("a layout has the parameters of all layers").clone()
    }

    fn dense(&mut self, dense: &Dense, input: &[usize], x: Tensor<2>) -> Tensor<2> {
        let count = x.dims()[0];
        let features = input.last().copied().unwrap_or_default();
        let positions = input.iter().product::<usize>() / features;
        let kernel = self.parameter().reshape([features, dense.units]);
        let mut sums = x.reshape([count * positions, features]).matmul(kernel);
        if dense.bias {
            sums = sums + self.parameter().reshape([1, dense.units]);
        }
        self.activate(sums, dense.activation).reshape([count, positions * dense.units])
    }

    fn activate(&self, x: Tensor<2>, activation: Activation) -> Tensor<2> {
        match self.arch {
            _ if activation == Activation::Linear => x,
            Some(arch) if activation != Activation::Softmax => cpu::activate(arch, x, activation),
            Some(_) | None => portable::activate(x, activation),
        }
    }

    /// Two random bytes a number, as the dense engine draws them.
    fn dropout(&mut self, rate: f64, x: Tensor<2>) -> Tensor<2> {
        let Some(noise) = self.noise.as_mut().filter(|_| rate > 0.0) else { return x };
        let [rows, width] = x.dims();
        let mut bytes = vec![0; 2 * rows * width];
        noise.fill(&mut bytes);
        let threshold = (rate * 65_536.0).round() as u32;
        let scale = (1.0 / (1.0 - rate)) as f32;
        let factor = |draw: &[u8]| {
            if u32::from(u16::from_le_bytes([draw[0], draw[1]])) < threshold { 0.0 } else { scale }
        };
        let mask: Vec<f32> = bytes.chunks_exact(2).map(factor).collect();
        let mask = Tensor::from_data(TensorData::new(mask, [rows, width]), &x.device());
        x * mask
    }

    fn batch_normalization(
        &mut self,
        input: &[usize],
        momentum: f64,
        epsilon: f64,
        x: Tensor<2>,
        total: usize,
    ) -> Tensor<2> {
        let [count, width] = x.dims();
        let features = channels(input);
        // Rows and steps are examples of a feature; an image has its positions behind each channel.
        let x: Tensor<3> = match input {
            [_, _, _] => x.reshape([count, features, width / features]),
            _ => x.reshape([count * width / features, features, 1]),
        };
        let (gamma, beta) = (self.parameter(), self.parameter());
        let parameter = total - self.parameters.len();
        let (mean, variance) = (self.parameter(), self.parameter());
        let y = if self.noise.is_some() {
            let seen = batch_norm_train(x, gamma, beta, epsilon);
            let (mean, variance) = (seen.mean.without_autodiff(), seen.variance.without_autodiff());
            self.statistics.push(Statistics { parameter, momentum, mean, variance });
            seen.output
        } else {
            batch_norm(x, gamma, beta, mean, variance, epsilon)
        };
        y.reshape([count, width])
    }

    fn layer_normalization(&mut self, input: &[usize], epsilon: f64, x: Tensor<2>) -> Tensor<2> {
        let [count, width] = x.dims();
        let features = channels(input);
        let (gamma, beta) = (self.parameter(), self.parameter());
        if let [_, _, _] = input {
            let centred = x.clone() - x.mean_dim(1);
            let variance = centred.clone().square().mean_dim(1);
            let normal = centred / (variance + epsilon).sqrt();
            let normal = normal.reshape([count, features, width / features]);
            let [gamma, beta] = [gamma, beta].map(|each| each.reshape([1, features, 1]));
            return (normal * gamma + beta).reshape([count, width]);
        }
        let x = x.reshape([count * width / features, features]);
        layer_norm(x, gamma, Some(beta), epsilon).reshape([count, width])
    }

    fn convolve(
        &mut self,
        images: Tensor<2>,
        window: Window,
        filters: usize,
        bias: bool,
        activation: Activation,
    ) -> Tensor<2> {
        let kernel = self.parameter();
        let bias = bias.then(|| self.parameter());
        if activation == Activation::Softmax {
            let sums = match self.arch {
                Some(arch) => cpu::convolve(arch, images, kernel, bias, window, filters, Activation::Linear),
                None => portable::convolve(images, kernel, bias, window, filters, Activation::Linear),
            };
            return softmax_of_features(sums, &[filters, window.output[0], window.output[1]]);
        }
        match self.arch {
            Some(arch) => cpu::convolve(arch, images, kernel, bias, window, filters, activation),
            None => portable::convolve(images, kernel, bias, window, filters, activation),
        }
    }

    fn pool(&self, pool: &Pool, window: Window, images: Tensor<2>) -> Tensor<2> {
        match (pool.pooling, self.arch) {
            (Pooling::Max, Some(arch)) => cpu::largest(arch, images, window),
            (Pooling::Max, None) => portable::largest(images, window),
            (Pooling::Average, Some(arch)) => cpu::average(arch, images, window),
            (Pooling::Average, None) => portable::average(images, window),
            (Pooling::None, _) => images,
        }
    }

    fn embed_columns(&mut self, columns: &[EmbedColumn], features: usize, x: Tensor<2>) -> Tensor<2> {
        let count = x.dims()[0];
        let others: Vec<i64> = (0..features)
            .filter(|place| columns.iter().all(|column| column.input != *place))
            .map(|place| place as i64)
            .collect();
        let mut parts = Vec::with_capacity(columns.len() + 1);
        if !others.is_empty() {
            let shape = [others.len()];
            let places = Tensor::<1, Int>::from_data(TensorData::new(others, shape), &x.device());
            parts.push(x.clone().select(1, places));
        }
        for column in columns {
            let table = self.parameter().reshape([column.cardinality, column.dimension]);
            let numbers = x.clone().narrow(1, column.input, 1);
            let found = embedding(table, portable::indices(numbers, column.cardinality));
            parts.push(found.reshape([count, column.dimension]));
        }
        Tensor::cat(parts, 1)
    }

    fn recurrent(&mut self, layer: &Recurrent, [steps, features]: [usize; 2], x: Tensor<2>) -> Tensor<2> {
        let rows = x.dims()[0];
        let mut direction = |x, reversed| {
            let [kernel, recurrent, bias] = [(); 3].map(|()| self.parameter());
            let sequence = Sequence {
                rows,
                steps,
                features,
                units: layer.units,
                cell: layer.cell,
                activation: layer.activation,
                reversed,
                every_step: layer.return_sequences,
            };
            match self.arch {
                Some(arch) if layer.activation != Activation::Softmax => {
                    cpu::read(arch, x, kernel, recurrent, bias, sequence)
                }
                Some(_) | None => portable::read(x, kernel, recurrent, bias, sequence),
            }
        };
        if !layer.bidirectional {
            return direction(x, false);
        }
        let positions = if layer.return_sequences { steps } else { 1 };
        let ways = [direction(x.clone(), false), direction(x, true)];
        let ways = ways.map(|way| way.reshape([rows, positions, layer.units]));
        Tensor::cat(ways.into(), 2).reshape([rows, positions * 2 * layer.units])
    }

    /// What a residual block adds its layers' output to.
    fn shortcut(&mut self, input: &[usize], output: &[usize], x: Tensor<2>) -> Tensor<2> {
        if input == output {
            return x;
        }
        let stride = projection_stride(input, output).expect("shapes were checked");
        let (count, to) = (x.dims()[0], channels(output));
        match *input {
            [from, height, width] => {
                let window = Window::points([from, height, width], stride);
                self.convolve(x, window, to, false, Activation::Linear)
            }
            [steps, from] => {
                let kept = steps.div_ceil(stride);
                let x = x.reshape([count, steps, from]);
                let x = if stride == 1 {
                    x
                } else {
                    let places: Vec<i64> = (0..steps as i64).step_by(stride).collect();
                    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [kept]), &x.device());
                    x.select(1, places)
                };
                let kernel = self.parameter().reshape([from, to]);
                x.reshape([count * kept, from]).matmul(kernel).reshape([count, kept * to])
            }
            _ => {
                let kernel = self.parameter().reshape([channels(input), to]);
                x.matmul(kernel)
            }
        }
    }

    fn penalise(&mut self, penalty: Penalty, outputs: Tensor<2>) -> Tensor<2> {
        if penalty.is_none() || self.noise.is_none() {
            return outputs;
        }
        let share = 1.0 / outputs.dims()[0] as f64;
        let absolute = outputs.clone().abs().sum() * (penalty.l1 * share);
        let squared = outputs.clone().square().sum() * (penalty.l2 * share);
        let added = absolute + squared;
        self.activity = Some(match self.activity.take() {
            Some(sum) => sum + added,
            None => added,
        });
        outputs
    }
}

/// Over the features of a row or step, or the channels of each position of an image.
fn softmax_of_features(x: Tensor<2>, shape: &[usize]) -> Tensor<2> {
    let [count, width] = x.dims();
    let features = channels(shape);
    match shape {
        [_, _, _] => softmax(x.reshape([count, features, width / features]), 1).reshape([count, width]),
        _ => softmax(x.reshape([count * width / features, features]), 1).reshape([count, width]),
    }
}

/// Rows of `from[0]` · `from[1]` numbers, transposed.
fn swap(x: Tensor<2>, from: [usize; 2]) -> Tensor<2> {
    let [count, width] = x.dims();
    x.reshape([count, from[0], from[1]]).swap_dims(1, 2).reshape([count, width])
}

fn global(pooling: Pooling, x: Tensor<3>, axis: usize) -> Tensor<2> {
    let reduced = match pooling {
        Pooling::Average => x.mean_dim(axis),
        Pooling::Max => x.max_dim(axis),
        Pooling::None => x,
    };
    let [count, a, b] = reduced.dims();
    reduced.reshape([count, a * b])
}
