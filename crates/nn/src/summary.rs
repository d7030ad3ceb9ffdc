//! What a network will cost before it is trained: parameters, shapes, depth, memory and arithmetic, as a table; and the
//! refusal of what is above a user's limits. Estimates only: nothing is built or measured here.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::activation::Activation;
use crate::bytes::Bytes;
use crate::loss::Loss;
use crate::network::{Cell, Conv, Layer, Network, Recurrent, ShapeError, chain_shapes};
use crate::optimizer::OptimizerKind;
use crate::parameters::channels;

/// What there is to know of a network without running it. Shown with [`Display`] it is a table.
///
/// ```
/// use luthier_nn::{Layer, Loss, Network, OptimizerKind};
///
/// let layers = vec![Layer::dense(3), Layer::dense(1)];
/// let network = Network { input: vec![3], layers, loss: Loss::SquaredError };
/// let summary = network.summary(32, OptimizerKind::Adam)?;
/// assert_eq!((summary.learned, summary.kept, summary.depth), (16, 0, 2));
/// assert_eq!(summary.flops, 2 * 9 + 3 + 2 * 3 + 1);
/// # Ok::<(), luthier_nn::ShapeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Shape of one example.
    pub input: Vec<usize>,
    /// The layers in order; those of a residual block follow it.
    pub layers: Vec<LayerSummary>,
    /// Numbers that are learned.
    pub learned: u64,
    /// Numbers that are kept but not learned: moving statistics.
    pub kept: u64,
    /// Layers that learn weights, see [`Network::depth`].
    pub depth: usize,
    /// Rows in a batch, for which the memory is estimated.
    pub rows: usize,
    /// Bytes of weights, gradients, optimiser memory, and of what a batch needs, see [`Memory`].
    pub memory: Memory,
    /// Arithmetic of one example forward: a multiplication with its addition counts two; a bias, an activation, a
    /// comparison of pooling one. Training takes about three times as much.
    pub flops: u64,
}

/// One layer of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSummary {
    /// Its place, for example `3`, or `3.1` inside a residual block.
    pub number: String,
    /// What it is, for example `dense 64 relu`.
    pub name: String,
    /// Shape of what comes out, for one example.
    pub shape: Vec<usize>,
    /// Numbers that it learns; of a residual block those of its projection.
    pub learned: u64,
    /// Numbers that it keeps but does not learn.
    pub kept: u64,
    /// Arithmetic of one example forward.
    pub flops: u64,
}

/// Estimated bytes in training. An engine may need more for a moment, or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All parameters.
    pub weights: u64,
    /// As many as are learned.
    pub gradients: u64,
    /// What the optimiser remembers of each.
    pub optimizer: u64,
    /// What layers keep of a batch for the way back, the gradients of the two widest, and the largest input of a
    /// convolution that is unfolded into a matrix.
    pub activations: u64,
}

impl Memory {
    /// All together.
    pub fn total(&self) -> u64 {
        plus(&[self.weights, self.gradients, self.optimizer, self.activations])
    }
}

impl Network {
    /// What the network has and costs, trained in batches of `rows` rows by this kind of optimiser.
    ///
    /// # Errors
    ///
    /// Names the first layer that cannot take what comes into it.
    pub fn summary(&self, rows: usize, optimizer: OptimizerKind) -> Result<Summary, ShapeError> {
        let mut lines = Lines::default();
        lines.chain("", &self.input, &self.layers)?;
        let sum = |of: fn(&LayerSummary) -> u64| plus(&lines.layers.iter().map(of).collect::<Vec<_>>());
        let (learned, kept) = (sum(|layer| layer.learned), sum(|layer| layer.kept));
        let bytes = |numbers: u64| numbers.saturating_mul(4);
        let widest = lines.widest.max(self.inputs() as u64);
        let a_row = plus(&[lines.kept_for_backward, widest, widest, lines.unfolded]);
        let memory = Memory {
            weights: bytes(learned.saturating_add(kept)),
            gradients: bytes(learned),
            optimizer: bytes(learned.saturating_mul(optimizer.slots().len() as u64)),
            activations: bytes(a_row.saturating_mul(rows as u64)),
        };
        let flops = sum(|layer| layer.flops);
        let (input, depth) = (self.input.clone(), self.depth());
        Ok(Summary { input, layers: lines.layers, learned, kept, depth, rows, memory, flops })
    }
}

/// The lines of a table, and what they come to for one row of a batch, in numbers.
#[derive(Default)]
struct Lines {
    layers: Vec<LayerSummary>,
    kept_for_backward: u64,
    widest: u64,
    unfolded: u64,
}

impl Lines {
    fn chain(&mut self, prefix: &str, input: &[usize], layers: &[Layer]) -> Result<(), ShapeError> {
        let shapes = chain_shapes(prefix, input, layers)?;
        let mut before = input;
        for (index, (layer, shape)) in layers.iter().zip(&shapes).enumerate() {
            let number = format!("{prefix}{}", index + 1);
            self.layer(&number, layer, before, shape)?;
            if let Layer::Residual { layers } = layer {
                self.chain(&format!("{number}."), before, layers)?;
            }
            before = shape;
        }
        Ok(())
    }

    fn layer(
        &mut self,
        number: &str,
        layer: &Layer,
        input: &[usize],
        shape: &[usize],
    ) -> Result<(), ShapeError> {
        let out = size(shape);
        self.widest = self.widest.max(out);
        // Its outputs, and the slopes of what was applied to its sums; of a recurrent layer the gates of every step.
        self.kept_for_backward = plus(&[self.kept_for_backward, out, out, gates(layer, input)]);
        if let Layer::Conv1d(conv) | Layer::Conv2d(conv) = layer {
            let positions = out / conv.filters as u64;
            self.unfolded = self.unfolded.max(times(&[positions, field(layer, conv, input)]));
        }
        let (learned, kept) = own_parameters(layer, input)?;
        let (number, name, flops) = (number.to_owned(), name(layer), flops(layer, input, shape));
        self.layers.push(LayerSummary { number, name, shape: shape.to_vec(), learned, kept, flops });
        Ok(())
    }
}

/// Parameters (learned, kept) of the layer itself, without those of layers inside.
fn own_parameters(layer: &Layer, input: &[usize]) -> Result<(u64, u64), ShapeError> {
    let count = |layers: &[Layer]| -> Result<(u64, u64), ShapeError> {
        let network = Network { input: input.to_vec(), layers: layers.to_vec(), loss: Loss::SquaredError };
        let (mut learned, mut kept) = (0u64, 0u64);
        for parameter in network.parameters()? {
            let sum = if parameter.role.is_trained() { &mut learned } else { &mut kept };
            *sum = sum.saturating_add(parameter.len() as u64);
        }
        Ok((learned, kept))
    };
    let (learned, kept) = count(std::slice::from_ref(layer))?;
    match layer {
        Layer::Residual { layers } => {
            let (inner, inner_kept) = count(layers)?;
            Ok((learned - inner, kept - inner_kept))
        }
        _ => Ok((learned, kept)),
    }
}

/// Numbers of a shape.
fn size(shape: &[usize]) -> u64 {
    shape.iter().fold(1, |product, &n| product.saturating_mul(n as u64))
}

fn times(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product, &n| product.saturating_mul(n))
}

fn plus(terms: &[u64]) -> u64 {
    terms.iter().fold(0, |sum, &n| sum.saturating_add(n))
}

/// Positions of a sequence or image; 1 of a row.
fn positions(shape: &[usize]) -> u64 {
    size(shape) / channels(shape).max(1) as u64
}

/// Inputs that one output of a convolution sees.
fn field(layer: &Layer, conv: &Conv, input: &[usize]) -> u64 {
    let width = conv.kernel_size as u64;
    let window = if matches!(layer, Layer::Conv2d(_)) { width * width } else { width };
    times(&[channels(input) as u64, window])
}

/// Sums of a recurrent layer over all steps of one example; 0 of other layers.
fn gates(layer: &Layer, input: &[usize]) -> u64 {
    match layer {
        Layer::Recurrent(layer) => {
            let sums = layer.cell.gates() * layer.units * directions(layer);
            times(&[positions(input), sums as u64])
        }
        _ => 0,
    }
}

fn directions(layer: &Recurrent) -> usize {
    1 + usize::from(layer.bidirectional)
}

/// See [`Summary::flops`]. Layers inside a residual block count on their own.
fn flops(layer: &Layer, input: &[usize], shape: &[usize]) -> u64 {
    let (into, out) = (size(input), size(shape));
    let activated = |activation: Activation| if activation == Activation::Linear { 0 } else { out };
    let biased = |bias: bool| if bias { out } else { 0 };
    match layer {
        Layer::Dense(dense) => {
            plus(&[times(&[2, channels(input) as u64, out]), biased(dense.bias), activated(dense.activation)])
        }
        Layer::Conv1d(conv) | Layer::Conv2d(conv) => plus(&[
            times(&[2, field(layer, conv, input), out]),
            biased(conv.bias),
            activated(conv.activation),
        ]),
        // A scale and a shift; layer normalisation finds mean and variance first.
        Layer::BatchNormalization { .. } => times(&[2, out]),
        Layer::LayerNormalization { .. } => times(&[6, out]),
        Layer::Activation { activation } => activated(*activation),
        Layer::Pool1d(pool) => times(&[pool.size as u64, out]),
        Layer::Pool2d(pool) => times(&[pool.size as u64, pool.size as u64, out]),
        Layer::GlobalPool { .. } => into,
        Layer::Recurrent(layer) => recurrent_flops(layer, input),
        Layer::Residual { .. } if input == shape => out,
        Layer::Residual { .. } => plus(&[times(&[2, channels(input) as u64, out]), out]),
        Layer::Dropout { .. }
        | Layer::Flatten
        | Layer::Rows
        | Layer::Embedding { .. }
        | Layer::EmbedColumns { .. } => 0,
    }
}

fn recurrent_flops(layer: &Recurrent, input: &[usize]) -> u64 {
    let (features, units) = (channels(input) as u64, layer.units as u64);
    // What joins the gates to the new state: f·c + i·g, then o·tanh c; of a GRU r·(…), 1 − z, then (1 − z)·g + z·h.
    let joining = match layer.cell {
        Cell::Simple => 0,
        Cell::Lstm | Cell::Gru => 5,
    };
    // For each sum a product with input and state, a bias and an activation.
    let a_sum = plus(&[times(&[2, plus(&[features, units])]), 2]);
    let sums = times(&[units, layer.cell.gates() as u64]);
    let a_step = plus(&[times(&[sums, a_sum]), times(&[joining, units])]);
    times(&[positions(input), directions(layer) as u64, a_step])
}

/// Its type with what is most worth knowing.
fn name(layer: &Layer) -> String {
    let kind = layer.kind();
    let with = |text: String, activation: Activation| match activation {
        Activation::Linear => text,
        other => format!("{text} {other}"),
    };
    match layer {
        Layer::Dense(dense) => with(format!("{kind} {}", dense.units), dense.activation),
        Layer::Conv1d(conv) => with(
            format!("{kind} {} of {}{}", conv.filters, conv.kernel_size, step(conv.stride)),
            conv.activation,
        ),
        Layer::Conv2d(conv) => {
            let size = conv.kernel_size;
            with(format!("{kind} {} of {size}×{size}{}", conv.filters, step(conv.stride)), conv.activation)
        }
        Layer::Pool1d(pool) => format!("{kind} {} {}", pool.pooling, pool.size),
        Layer::Pool2d(pool) => format!("{kind} {} {size}×{size}", pool.pooling, size = pool.size),
        Layer::GlobalPool { pooling } => format!("{kind} {pooling}"),
        Layer::Dropout { rate } => format!("{kind} {rate}"),
        Layer::Activation { activation } => activation.to_string(),
        Layer::Embedding { vocabulary, dimension } => format!("{kind} {vocabulary} → {dimension}"),
        Layer::EmbedColumns { columns } => format!("{kind} of {}", columns.len()),
        Layer::Recurrent(layer) => {
            let both = if layer.bidirectional { "bidirectional " } else { "" };
            let cell = if layer.cell == Cell::Simple { "recurrent" } else { layer.cell.name() };
            let text = format!("{both}{cell} {}", layer.units);
            if layer.cell == Cell::Simple { with(text, layer.activation) } else { text }
        }
        Layer::BatchNormalization { .. }
        | Layer::LayerNormalization { .. }
        | Layer::Flatten
        | Layer::Rows
        | Layer::Residual { .. } => kind.to_owned(),
    }
}

fn step(stride: usize) -> String {
    if stride == 1 { String::new() } else { format!(" by {stride}") }
}

/// A whole number with a comma after every third digit from the right.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let header = ["", "layer", "output", "parameters", "FLOPs"].map(str::to_owned);
        let input = [String::new(), "input".to_owned(), shown(&self.input), String::new(), String::new()];
        let rows: Vec<[String; 5]> =
            [header, input].into_iter().chain(self.layers.iter().map(LayerSummary::cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 5] = std::array::from_fn(width);
        for row in &rows {
            let [number, name, shape, parameters, flops] = row;
            let line = format!(
                "{number:<0$}  {name:<1$}  {shape:<2$}  {parameters:>3$}  {flops:>4$}",
                widths[0], widths[1], widths[2], widths[3], widths[4]
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f)?;
        self.write_totals(f)
    }
}

impl Summary {
    fn write_totals(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "parameters  {} learned", grouped(self.learned))?;
        if self.kept > 0 {
            write!(f, ", {} kept (moving statistics)", grouped(self.kept))?;
        }
        writeln!(f, "\ndepth       {}", self.depth)?;
        let Memory { weights, gradients, optimizer, activations } = self.memory;
        let [total, weights, gradients, optimizer, activations] =
            [self.memory.total(), weights, gradients, optimizer, activations].map(Bytes);
        writeln!(
            f,
            "memory      about {total} in training with batches of {}: weights {weights}, gradients {gradients}, optimiser {optimizer}, activations {activations}",
            self.rows
        )?;
        writeln!(
            f,
            "arithmetic  {} FLOPs an example, about three times as many in training",
            grouped(self.flops)
        )
    }
}

impl LayerSummary {
    fn cells(&self) -> [String; 5] {
        let number = |n: u64| if n == 0 { String::new() } else { grouped(n) };
        let parameters = number(self.learned.saturating_add(self.kept));
        [self.number.clone(), self.name.clone(), shown(&self.shape), parameters, number(self.flops)]
    }
}

fn shown(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Signature;
    use crate::settings::{Normalization, PerLayer, Settings};

    fn dense(input: usize, units: &[usize]) -> Network {
        let layers = units.iter().map(|&units| Layer::dense(units)).collect();
        Network { input: vec![input], layers, loss: Loss::SquaredError }
    }

    #[test]
    fn parameters_are_counted() {
        let learned =
            |network: &Network| network.summary(1, OptimizerKind::Adam).map(|summary| summary.learned);
        assert_eq!(learned(&dense(3, &[3, 1])), Ok(16));
        assert_eq!(learned(&dense(3, &[2, 2, 1])), Ok(17));
    }

    #[test]
    fn memory_is_that_of_weights_gradients_optimiser_and_batch() {
        let summary = dense(3, &[3, 1]).summary(10, OptimizerKind::Adam).unwrap_or_else(|e| panic!("{e}"));
        let expected = Memory {
            weights: 4 * 16,
            gradients: 4 * 16,
            optimizer: 8 * 16,
            // Outputs and slopes of 3 + 1 units, two gradients of 3.
            activations: 4 * 10 * (2 * 4 + 2 * 3),
        };
        assert_eq!((summary.memory, summary.memory.total()), (expected, 256 + 560));
    }

    fn image(settings: &Settings) -> Summary {
        let signature = Signature { input: vec![1, 28, 28], ..Signature::rows(0, 10, Loss::CROSS_ENTROPY) };
        let network = Network::build(&signature, settings);
        let summary = network.summary(32, OptimizerKind::Adam).unwrap_or_else(|e| panic!("{e}"));
        let parameters = network.parameters().unwrap_or_default();
        let all: usize = parameters.iter().map(crate::parameters::Parameter::len).sum();
        assert_eq!(summary.learned + summary.kept, all as u64);
        assert_eq!(summary.learned, network.parameter_count() as u64);
        summary
    }

    #[test]
    fn the_table_is_aligned_and_complete() {
        let settings = Settings {
            filters: PerLayer::list(&[16, 32]).unwrap_or_else(|| unreachable!("two values")),
            normalization: PerLayer::all(Normalization::Batch),
            residual: true,
            dropout: PerLayer::all(0.25),
            ..Settings::default()
        };
        let expected = r"
     layer                output        parameters      FLOPs
     input                1 × 28 × 28
1    residual             16 × 28 × 28          16     37,632
1.1  conv2d 16 of 3×3     16 × 28 × 28         144    225,792
1.2  batch_normalization  16 × 28 × 28          64     25,088
1.3  relu                 16 × 28 × 28                 12,544
2    pool2d max 2×2       16 × 14 × 14                 12,544
3    residual             32 × 14 × 14         512    206,976
3.1  conv2d 32 of 3×3     32 × 14 × 14       4,608  1,806,336
3.2  batch_normalization  32 × 14 × 14         128     12,544
3.3  relu                 32 × 14 × 14                  6,272
4    pool2d max 2×2       32 × 7 × 7                    6,272
5    flatten              1568
6    residual             64               100,352    200,768
6.1  dense 64             64               100,352    200,704
6.2  batch_normalization  64                   256        128
6.3  relu                 64                               64
7    dropout 0.25         64
8    dense 10             10                   650      1,290

parameters  206,858 learned, 224 kept (moving statistics)
depth       4
memory      about 29.7 MiB in training with batches of 32: weights 808.9 KiB, gradients 808.0 KiB, optimiser 1.6 MiB, activations 26.5 MiB
arithmetic  2,754,954 FLOPs an example, about three times as many in training
";
        assert_eq!(image(&settings).to_string(), expected.trim_start_matches('\n'));
    }

    #[test]
    fn whole_numbers_are_grouped() {
        let check = |number, expected: &str| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(1000, "1,000");
        check(1_234_567, "1,234,567");
    }
}
