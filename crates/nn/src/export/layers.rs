//! Each layer as ONNX operations. Sequences stay `[rows, steps, features]` between layers; what ONNX wants channels first
//! or steps first is turned there and back.

use std::ops::Range;

use super::graph::{Attribute, Graph};
use crate::activation::Activation;
use crate::network::{
    Cell, Conv, Dense, EmbedColumn, Layer, Network, Pool, Pooling, Recurrent, projection_stride,
};
use crate::parameters::{Layout, Parameter};

use Attribute::{Float, Int, Ints, Text, Texts};

/// Steps first, then rows: what ONNX's recurrent operations read.
const STEPS_FIRST: [i64; 3] = [1, 0, 2];
/// `[rows, steps, features]` to `[rows, features, steps]`, and back.
const CHANNELS_FIRST: [i64; 3] = [0, 2, 1];

/// Walks layers and, along with them, their parameters, and writes operations.
pub(super) struct Translator<'a> {
    pub(super) graph: Graph,
    parameters: std::slice::Iter<'a, (Parameter, Range<usize>)>,
    values: &'a [f32],
}

impl<'a> Translator<'a> {
    /// `values` are of the layout of the network that will be translated.
    pub(super) fn new(layout: &'a Layout, values: &'a [f32]) -> Self {
        Self { graph: Graph::default(), parameters: layout.entries().iter(), values }
    }

    /// Writes a network whose input is called `input`; returns the name of its scores.
    pub(super) fn network(&mut self, network: &Network, input: &str) -> String {
        self.chain(input.to_owned(), &network.input, &network.layers).0
    }

    /// The next parameter of the layout.
    fn next(&mut self) -> (&'a Parameter, &'a [f32]) {
        let (parameter, range) = self.parameters.next().expect("a parameter for each that a layer has");
        (parameter, &self.values[range.clone()])
    }

    /// The next parameter as it is.
    fn weights(&mut self) -> String {
        let (parameter, values) = self.next();
        self.graph.weights(parameter.name.clone(), parameter.shape.clone(), values)
    }

    fn chain(&mut self, input: String, shape: &[usize], layers: &[Layer]) -> (String, Vec<usize>) {
        let mut now = (input, shape.to_vec());
        for layer in layers {
            let shape = layer.output_shape("", &now.1).expect("a network whose layers fit together");
            now = (self.layer(&now.0, &now.1, layer), shape);
        }
        now
    }

    fn layer(&mut self, x: &str, shape: &[usize], layer: &Layer) -> String {
        match layer {
            Layer::Dense(dense) => self.dense(x, shape, dense),
            Layer::Dropout { .. } => x.to_owned(),
            Layer::BatchNormalization { epsilon, .. } => self.batch_normalization(x, shape, *epsilon),
            Layer::LayerNormalization { epsilon } => self.layer_normalization(x, shape, *epsilon),
            Layer::Activation { activation } => self.activation_along(x, *activation, features_axis(shape)),
            Layer::Conv1d(conv) => self.channels_first(x, |this, x| this.convolution(x, &shape[..1], conv)),
            Layer::Conv2d(conv) => self.convolution(x, &shape[1..], conv),
            Layer::Pool1d(pool) => self.channels_first(x, |this, x| this.pool(x, 1, *pool)),
            Layer::Pool2d(pool) => self.pool(x, 2, *pool),
            Layer::GlobalPool { pooling } => self.global_pool(x, shape, *pooling),
            Layer::Flatten => self.graph.node("Flatten", &[x], vec![("axis", Int(1))]),
            Layer::Rows => self.rows(x, shape),
            Layer::Embedding { .. } => {
                let table = self.weights();
                self.embedded(x, &table)
            }
            Layer::EmbedColumns { columns } => self.embed_columns(x, shape[0], columns),
            Layer::Recurrent(recurrent) => self.recurrent(x, shape[0], recurrent),
            Layer::Residual { layers } => self.residual(x, shape, layers),
        }
    }

    fn dense(&mut self, x: &str, shape: &[usize], dense: &Dense) -> String {
        let kernel = self.weights();
        let bias = dense.bias.then(|| self.weights());
        let sums = match (shape.len(), bias) {
            (1, Some(bias)) => self.graph.node("Gemm", &[x, &kernel, &bias], Vec::new()),
            (_, None) => self.graph.node("MatMul", &[x, &kernel], Vec::new()),
            (_, Some(bias)) => {
                let product = self.graph.node("MatMul", &[x, &kernel], Vec::new());
                self.graph.node("Add", &[&product, &bias], Vec::new())
            }
        };
        self.activation(&sums, dense.activation)
    }

    /// An activation of numbers whose features are on the last axis.
    fn activation(&mut self, x: &str, activation: Activation) -> String {
        self.activation_along(x, activation, -1)
    }

    fn activation_along(&mut self, x: &str, activation: Activation, features: i64) -> String {
        let graph = &mut self.graph;
        match activation {
            Activation::Linear => x.to_owned(),
            Activation::Sigmoid => graph.node("Sigmoid", &[x], Vec::new()),
            Activation::Tanh => graph.node("Tanh", &[x], Vec::new()),
            Activation::Relu => graph.node("Relu", &[x], Vec::new()),
            Activation::LeakyRelu => graph.node("LeakyRelu", &[x], vec![("alpha", Float(0.01))]),
            Activation::Elu => graph.node("Elu", &[x], vec![("alpha", Float(1.0))]),
            // The constants of the paper are ONNX's defaults.
            Activation::Selu => graph.node("Selu", &[x], Vec::new()),
            Activation::Gelu => self.gelu(x),
            Activation::Silu => {
                let share = graph.node("Sigmoid", &[x], Vec::new());
                graph.node("Mul", &[x, &share], Vec::new())
            }
            Activation::Softplus => graph.node("Softplus", &[x], Vec::new()),
            Activation::Softmax => graph.node("Softmax", &[x], vec![("axis", Int(features))]),
        }
    }

    /// x · ½ (1 + erf(x / √2)): the operation `Gelu` came only with operator set 20.
    fn gelu(&mut self, x: &str) -> String {
        let graph = &mut self.graph;
        let (root, one, half) =
            (graph.number(std::f32::consts::FRAC_1_SQRT_2), graph.number(1.0), graph.number(0.5));
        let scaled = graph.node("Mul", &[x, &root], Vec::new());
        let erf = graph.node("Erf", &[&scaled], Vec::new());
        let above = graph.node("Add", &[&erf, &one], Vec::new());
        let below = graph.node("Mul", &[&above, &half], Vec::new());
        graph.node("Mul", &[x, &below], Vec::new())
    }

    fn batch_normalization(&mut self, x: &str, shape: &[usize], epsilon: f64) -> String {
        let [gamma, beta, mean, variance] = std::array::from_fn(|_| self.weights());
        let normalize = |this: &mut Self, x: &str| {
            let inputs = [x, &gamma, &beta, &mean, &variance];
            this.graph.node("BatchNormalization", &inputs, vec![("epsilon", Float(epsilon as f32))])
        };
        if shape.len() == 2 { self.channels_first(x, normalize) } else { normalize(self, x) }
    }

    fn layer_normalization(&mut self, x: &str, shape: &[usize], epsilon: f64) -> String {
        if shape.len() == 3 {
            return self.image_normalization(x, epsilon);
        }
        let (gamma, beta) = (self.weights(), self.weights());
        let attributes = vec![("axis", Int(-1)), ("epsilon", Float(epsilon as f32))];
        self.graph.node("LayerNormalization", &[x, &gamma, &beta], attributes)
    }

    /// Over channels and positions, with γ and β for each channel: `LayerNormalization` wants them for each number.
    fn image_normalization(&mut self, x: &str, epsilon: f64) -> String {
        let [gamma, beta] = std::array::from_fn(|_| {
            let (parameter, values) = self.next();
            self.graph.weights(parameter.name.clone(), vec![values.len(), 1, 1], values)
        });
        let graph = &mut self.graph;
        let axes = || vec![("axes", Ints(vec![1, 2, 3])), ("keepdims", Int(1))];
        let mean = graph.node("ReduceMean", &[x], axes());
        let centred = graph.node("Sub", &[x, &mean], Vec::new());
        let squares = graph.node("Mul", &[&centred, &centred], Vec::new());
        let variance = graph.node("ReduceMean", &[&squares], axes());
        let epsilon = graph.number(epsilon as f32);
        let above_zero = graph.node("Add", &[&variance, &epsilon], Vec::new());
        let deviation = graph.node("Sqrt", &[&above_zero], Vec::new());
        let normal = graph.node("Div", &[&centred, &deviation], Vec::new());
        let scaled = graph.node("Mul", &[&normal, &gamma], Vec::new());
        graph.node("Add", &[&scaled, &beta], Vec::new())
    }

    /// Works on a sequence as `[rows, features, steps]`.
    fn channels_first(&mut self, x: &str, work: impl FnOnce(&mut Self, &str) -> String) -> String {
        let turned = self.transpose(x, &CHANNELS_FIRST);
        let out = work(self, &turned);
        self.transpose(&out, &CHANNELS_FIRST)
    }

    fn transpose(&mut self, x: &str, order: &[i64]) -> String {
        self.graph.node("Transpose", &[x], vec![("perm", Ints(order.to_vec()))])
    }

    /// The first axis stays; the others become `shape`.
    fn reshape(&mut self, x: &str, shape: &[usize]) -> String {
        // 0 keeps the size that is there.
        let sizes: Vec<i64> = std::iter::once(0).chain(shape.iter().map(|&size| size as i64)).collect();
        let sizes = self.graph.ints(&sizes);
        self.graph.node("Reshape", &[x, &sizes], Vec::new())
    }

    fn convolution(&mut self, x: &str, positions: &[usize], conv: &Conv) -> String {
        let kernel = self.weights();
        let bias = conv.bias.then(|| self.weights());
        let padding: Vec<_> = positions.iter().map(|&length| conv.padding_of(length)).collect();
        let pads = padding.iter().map(|pad| pad.0).chain(padding.iter().map(|pad| pad.1));
        let attributes = vec![
            ("kernel_shape", Ints(vec![conv.kernel_size as i64; positions.len()])),
            ("strides", Ints(vec![conv.stride as i64; positions.len()])),
            ("pads", Ints(pads.map(|pad| pad as i64).collect())),
        ];
        let mut inputs = vec![x, &kernel];
        inputs.extend(bias.as_deref());
        let sums = self.graph.node("Conv", &inputs, attributes);
        self.activation_along(&sums, conv.activation, 1)
    }

    fn pool(&mut self, x: &str, axes: usize, pool: Pool) -> String {
        let attributes = vec![
            ("kernel_shape", Ints(vec![pool.size as i64; axes])),
            ("strides", Ints(vec![pool.stride as i64; axes])),
        ];
        match pool.pooling {
            Pooling::Max => self.graph.node("MaxPool", &[x], attributes),
            Pooling::Average => self.graph.node("AveragePool", &[x], attributes),
            Pooling::None => unreachable!("refused before"),
        }
    }

    fn global_pool(&mut self, x: &str, shape: &[usize], pooling: Pooling) -> String {
        let axes = if shape.len() == 3 { vec![2, 3] } else { vec![1] };
        let operator = match pooling {
            Pooling::Max => "ReduceMax",
            Pooling::Average => "ReduceMean",
            Pooling::None => unreachable!("refused before"),
        };
        self.graph.node(operator, &[x], vec![("axes", Ints(axes)), ("keepdims", Int(0))])
    }

    fn rows(&mut self, x: &str, shape: &[usize]) -> String {
        let turned = self.transpose(x, &[0, 2, 1, 3]);
        self.reshape(&turned, &[shape[1], shape[0] * shape[2]])
    }

    /// The rows of `table` that the numbers in `x` name.
    fn embedded(&mut self, x: &str, table: &str) -> String {
        let places = self.graph.node("Cast", &[x], vec![("to", Int(7))]);
        self.graph.node("Gather", &[table, &places], vec![("axis", Int(0))])
    }

    fn embed_columns(&mut self, x: &str, width: usize, columns: &[EmbedColumn]) -> String {
        let is_embedded = |place: usize| columns.iter().any(|column| column.input == place);
        let others: Vec<i64> = (0..width).filter(|&place| !is_embedded(place)).map(|p| p as i64).collect();
        let mut parts = Vec::new();
        if !others.is_empty() {
            let places = self.graph.ints(&others);
            parts.push(self.graph.node("Gather", &[x, &places], vec![("axis", Int(1))]));
        }
        for column in columns {
            let table = self.weights();
            let place = self.graph.int(column.input as i64);
            let numbers = self.graph.node("Gather", &[x, &place], vec![("axis", Int(1))]);
            parts.push(self.embedded(&numbers, &table));
        }
        self.concat(&parts, 1)
    }

    fn recurrent(&mut self, x: &str, steps: usize, layer: &Recurrent) -> String {
        let native = match layer.activation {
            Activation::Tanh => Some("Tanh"),
            Activation::Relu => Some("Relu"),
            Activation::Sigmoid => Some("Sigmoid"),
            _ => None,
        };
        match (layer.cell, native) {
            (Cell::Simple, None) => self.unrolled(x, steps, layer),
            (Cell::Simple, Some(activation)) => {
                let names = vec![activation; 1 + usize::from(layer.bidirectional)];
                self.recurrence("RNN", x, steps, layer, Some(("activations", Texts(names))))
            }
            (Cell::Lstm, _) => self.recurrence("LSTM", x, steps, layer, None),
            (Cell::Gru, _) => self.recurrence("GRU", x, steps, layer, Some(("linear_before_reset", Int(1)))),
        }
    }

    /// An operation that reads the whole sequence.
    fn recurrence(
        &mut self,
        operator: &'static str,
        x: &str,
        steps: usize,
        layer: &Recurrent,
        attribute: Option<(&'static str, Attribute)>,
    ) -> String {
        let directions = 1 + usize::from(layer.bidirectional);
        let [kernel, recurrent, bias] = self.gates(layer, directions);
        let direction = if layer.bidirectional { "bidirectional" } else { "forward" };
        let mut attributes = vec![("hidden_size", Int(layer.units as i64)), ("direction", Text(direction))];
        attributes.extend(attribute);
        let turned = self.transpose(x, &STEPS_FIRST);
        let inputs = [turned.as_str(), &kernel, &recurrent, &bias];
        // All outputs are [steps, directions, rows, units], the last states [directions, rows, units].
        let place = usize::from(!layer.return_sequences);
        let out = self.graph.node_with_output(operator, &inputs, place, attributes);
        let width = directions * layer.units;
        if layer.return_sequences {
            let turned = self.transpose(&out, &[2, 0, 1, 3]);
            self.reshape(&turned, &[steps, width])
        } else {
            let turned = self.transpose(&out, &STEPS_FIRST);
            self.reshape(&turned, &[width])
        }
    }

    /// Kernels and biases of a recurrent layer as ONNX lays them: directions, then gates in its own order, then units;
    /// each gate's row holds the weights into one unit.
    fn gates(&mut self, layer: &Recurrent, directions: usize) -> [String; 3] {
        let (units, count) = (layer.units, layer.cell.gates());
        // ONNX has input, output, forget, cell; and update, reset, hidden.
        let order: &[usize] = match layer.cell {
            Cell::Simple => &[0],
            Cell::Lstm => &[0, 3, 1, 2],
            Cell::Gru => &[0, 1, 2],
        };
        let sums = units * count;
        let columns = || order.iter().flat_map(|gate| gate * units..(gate + 1) * units);
        let turned = |values: &[f32]| -> Vec<f32> {
            columns().flat_map(|column| values.iter().skip(column).step_by(sums).copied()).collect()
        };
        let (mut kernels, mut recurrents, mut biases) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = [String::new(), String::new(), String::new()];
        let mut inputs = 0;
        for _ in 0..directions {
            let ((kernel, weights), (recurrent, between), (bias, added)) =
                (self.next(), self.next(), self.next());
            inputs = kernel.shape[0];
            kernels.extend(turned(weights));
            recurrents.extend(turned(between));
            biases.extend(columns().map(|column| added[column]));
            // The bias of the state, which only a GRU has apart.
            biases.extend(columns().map(|column| added.get(sums + column).copied().unwrap_or(0.0)));
            if names[0].is_empty() {
                names = [kernel.name.clone(), recurrent.name.clone(), bias.name.clone()];
            }
        }
        let [kernel, recurrent, bias] = names;
        [
            self.graph.weights(kernel, vec![directions, sums, inputs], &kernels),
            self.graph.weights(recurrent, vec![directions, sums, units], &recurrents),
            self.graph.weights(bias, vec![directions, 2 * sums], &biases),
        ]
    }

    /// A simple recurrence step by step, for activations that ONNX's own does not have.
    fn unrolled(&mut self, x: &str, steps: usize, layer: &Recurrent) -> String {
        let mut parts = vec![self.unrolled_direction(x, layer, (0..steps).collect())];
        if layer.bidirectional {
            parts.push(self.unrolled_direction(x, layer, (0..steps).rev().collect()));
        }
        self.concat(&parts, -1)
    }

    /// One direction: reads the steps in the given order.
    fn unrolled_direction(&mut self, x: &str, layer: &Recurrent, order: Vec<usize>) -> String {
        let (kernel, recurrent, bias) = (self.weights(), self.weights(), self.weights());
        let product = self.graph.node("MatMul", &[x, &kernel], Vec::new());
        let inputs = self.graph.node("Add", &[&product, &bias], Vec::new());
        let mut states: Vec<(usize, String)> = Vec::new();
        for step in order {
            let place = self.graph.int(step as i64);
            let mut sums = self.graph.node("Gather", &[&inputs, &place], vec![("axis", Int(1))]);
            if let Some((_, state)) = states.last() {
                let from_state = self.graph.node("MatMul", &[state, &recurrent], Vec::new());
                sums = self.graph.node("Add", &[&sums, &from_state], Vec::new());
            }
            states.push((step, self.activation(&sums, layer.activation)));
        }
        if !layer.return_sequences {
            return states.pop().map_or_else(String::new, |(_, state)| state);
        }
        states.sort_by_key(|(step, _)| *step);
        let axis = self.graph.ints(&[1]);
        let rows: Vec<String> = states
            .iter()
            .map(|(_, state)| self.graph.node("Unsqueeze", &[state, &axis], Vec::new()))
            .collect();
        self.concat(&rows, 1)
    }

    fn concat(&mut self, parts: &[String], axis: i64) -> String {
        if let [only] = parts {
            return only.clone();
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.graph.node("Concat", &parts, vec![("axis", Int(axis))])
    }

    fn residual(&mut self, x: &str, shape: &[usize], layers: &[Layer]) -> String {
        let (inner, output) = self.chain(x.to_owned(), shape, layers);
        let direct = if output == shape {
            x.to_owned()
        } else {
            let stride = projection_stride(shape, &output).expect("a block that fits");
            self.projection(x, shape, stride as i64)
        };
        self.graph.node("Add", &[&inner, &direct], Vec::new())
    }

    fn projection(&mut self, x: &str, shape: &[usize], stride: i64) -> String {
        let kernel = self.weights();
        if shape.len() == 3 {
            let attributes =
                vec![("kernel_shape", Ints(vec![1, 1])), ("strides", Ints(vec![stride, stride]))];
            return self.graph.node("Conv", &[x, &kernel], attributes);
        }
        let positions = if stride == 1 { x.to_owned() } else { self.every(x, stride) };
        self.graph.node("MatMul", &[&positions, &kernel], Vec::new())
    }

    /// Every `stride`-th step of a sequence, from the first.
    fn every(&mut self, x: &str, stride: i64) -> String {
        let graph = &mut self.graph;
        let ends = [&[0][..], &[i64::MAX], &[1], &[stride]].map(|values| graph.ints(values));
        graph.node("Slice", &[x, &ends[0], &ends[1], &ends[2], &ends[3]], Vec::new())
    }
}

/// The axis, rows being the first, on which an example of this shape has its features: those of an image are channels.
fn features_axis(shape: &[usize]) -> i64 {
    if shape.len() == 3 { 1 } else { -1 }
}
