//! The description of a network: which layers, how wide, what they apply. No weights here: [`crate::parameters`] says
//! which there are, engines move them.
//!
//! Shapes are those of one example, outermost first: `[features]`, `[steps, features]` of a sequence, `[steps]` of
//! tokens, `[channels, height, width]` of an image.

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::initializer::Initializer;
use crate::loss::Loss;
use crate::naming::named_choices;

named_choices! {
    /// What is around an input that a kernel or window slides over.
    Padding {
        /// Zeros, so that outputs are input size / step, rounded up; an odd one is added at the end (as Keras).
        Same = "same",
        /// Nothing: windows stay inside.
        Valid = "valid",
    }
}

named_choices! {
    /// How a window is reduced to one number.
    Pooling {
        /// Its largest.
        Max = "max",
        /// Its mean.
        Average = "average",
        /// No pooling.
        None = "none",
    }
}

named_choices! {
    /// A recurrent layer's step.
    Cell {
        /// h ← f(x·W + h·U + b) (Elman 1990).
        Simple = "simple",
        /// Long short-term memory with forget gate (Gers et al. 2000); gates in the order input, forget, cell, output.
        Lstm = "lstm",
        /// Gated recurrent unit (Cho et al. 2014) with the reset gate applied after the product (as cuDNN, `PyTorch`
        /// and Keras do); gates in the order update, reset, candidate.
        Gru = "gru",
    }
}

impl Cell {
    /// How many states wide its sums are.
    pub fn gates(self) -> usize {
        match self {
            Self::Simple => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

/// A chain of layers, the last of which is the output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Shape of one example.
    pub input: Vec<usize>,
    /// The layers from the input on; never empty.
    pub layers: Vec<Layer>,
    /// What follows the output layer in training.
    pub loss: Loss,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Layer {
    /// activation(x · kernel + bias), on the last axis of a row or a sequence.
    Dense(Dense),
    /// Zeroes each number with probability `rate` in training and scales the others by 1 / (1 − rate).
    Dropout {
        /// Fraction dropped, [0, 1).
        rate: f64,
    },
    /// γ (x − mean) / √(variance + ε) + β for each feature or channel. Trained with the statistics of the batch (over
    /// rows and positions), evaluated with moving ones: moving ← momentum · moving + (1 − momentum) · batch. Both
    /// variances are those of the population (not Bessel-corrected, as Keras; `PyTorch` corrects the moving one).
    BatchNormalization {
        /// Share of the old moving value kept at each step, [0, 1).
        momentum: f64,
        /// ε, above 0.
        epsilon: f64,
    },
    /// γ (x − mean) / √(variance + ε) + β with mean and variance over one row's features (of each step; of an image
    /// over channels and positions, with γ and β per channel).
    LayerNormalization {
        /// ε, above 0.
        epsilon: f64,
    },
    /// An activation alone.
    Activation {
        /// Applied to each number.
        activation: Activation,
    },
    /// Convolution over the steps of a sequence.
    Conv1d(Conv),
    /// Convolution over an image.
    Conv2d(Conv),
    /// Windows over the steps of a sequence, each reduced to one number per feature.
    Pool1d(Pool),
    /// Square windows over an image, each reduced to one number per channel.
    Pool2d(Pool),
    /// All steps of a sequence, or all positions of an image, reduced to one row of features.
    GlobalPool {
        /// Max or average.
        pooling: Pooling,
    },
    /// Everything side by side.
    Flatten,
    /// An image as a sequence of its rows: `[channels, height, width]` becomes `[height, channels · width]`.
    Rows,
    /// A row of numbers for each token.
    Embedding {
        /// How many tokens there are.
        vocabulary: usize,
        /// Numbers per token.
        dimension: usize,
    },
    /// Replaces columns that hold category numbers by learned rows of numbers; the other columns come first, in
    /// their order, then the embeddings.
    EmbedColumns {
        /// Which columns; ascending.
        columns: Vec<EmbedColumn>,
    },
    /// Reads a sequence step by step.
    Recurrent(Recurrent),
    /// x + layers(x). Where the shapes differ, x goes through a linear projection (of each position) with the step
    /// that fits.
    Residual {
        /// The layers that are added to their own input.
        layers: Vec<Layer>,
    },
}

/// A dense layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dense {
    /// Numbers that come out.
    pub units: usize,
    /// Applied to each of them.
    pub activation: Activation,
    /// Whether a bias is added.
    pub bias: bool,
    /// How the weights start and what holds them small.
    pub weights: WeightSettings,
}

/// A convolution. Kernels are square in two dimensions; as in all such libraries they are not flipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// Channels that come out.
    pub filters: usize,
    /// Width (and height) of the kernel.
    pub kernel_size: usize,
    /// Step.
    pub stride: usize,
    /// What is around the input.
    pub padding: Padding,
    /// Applied to each number.
    pub activation: Activation,
    /// Whether a bias is added.
    pub bias: bool,
    /// How the weights start and what holds them small.
    pub weights: WeightSettings,
}

/// A pooling layer; windows stay inside the input.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Max or average.
    pub pooling: Pooling,
    /// Width (and height) of a window.
    pub size: usize,
    /// Step from window to window.
    pub stride: usize,
}

/// A column that holds category numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedColumn {
    /// Its place in the row, from 0.
    pub input: usize,
    /// How many categories there are, "unknown" included.
    pub cardinality: usize,
    /// Numbers per category.
    pub dimension: usize,
}

/// A recurrent layer. It starts from a state of zeros.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recurrent {
    /// Its step.
    pub cell: Cell,
    /// Width of the state.
    pub units: usize,
    /// Activation of the simple cell; the others use tanh and the logistic function.
    pub activation: Activation,
    /// Whether a second layer reads backwards; its outputs are put behind those of the first.
    pub bidirectional: bool,
    /// Whether every step comes out, or the final state alone.
    pub return_sequences: bool,
    /// How the weights start and what holds them small. The recurrent kernel starts orthogonal.
    pub weights: WeightSettings,
}

/// How a layer's weights start, and what holds them (and its outputs) small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WeightSettings {
    /// How the kernel starts.
    pub kernel_initializer: Initializer,
    /// What biases start with.
    pub initial_bias: f64,
    /// Penalty on the kernel.
    pub kernel: Penalty,
    /// Penalty on the bias.
    pub biases: Penalty,
    /// Penalty on the layer's outputs, as a mean over rows.
    pub activity: Penalty,
    /// Largest L2 norm of the weights into one unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_norm: Option<f64>,
}

impl Default for WeightSettings {
    fn default() -> Self {
        Self {
            kernel_initializer: Initializer::default_for(Activation::Linear),
            initial_bias: 0.0,
            kernel: Penalty::NONE,
            biases: Penalty::NONE,
            activity: Penalty::NONE,
            max_norm: None,
        }
    }
}

/// λ₁ Σ|x| + λ₂ Σx² (there is no ½).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Penalty {
    /// λ₁, at least 0.
    pub l1: f64,
    /// λ₂, at least 0.
    pub l2: f64,
}

impl Penalty {
    /// No penalty.
    pub const NONE: Self = Self { l1: 0.0, l2: 0.0 };

    /// Whether it changes nothing.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// Layers that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer} ({kind}): {problem}")]
pub struct ShapeError {
    /// Which layer, for example `3` or `3.1` inside a residual block.
    pub layer: String,
    /// Its type.
    pub kind: &'static str,
    /// What does not fit.
    pub problem: String,
}

impl Network {
    /// The shape that comes out of each layer.
    ///
    /// # Errors
    ///
    /// Names the first layer that cannot take what comes into it.
    pub fn shapes(&self) -> Result<Vec<Vec<usize>>, ShapeError> {
        chain_shapes("", &self.input, &self.layers)
    }

    /// Numbers per row that go in.
    pub fn inputs(&self) -> usize {
        self.input.iter().product()
    }

    /// Numbers per row that come out; 0 if the layers do not fit together.
    pub fn outputs(&self) -> usize {
        let shapes = self.shapes().unwrap_or_default();
        shapes.last().map_or(0, |shape| shape.iter().product())
    }

    /// Layers that learn weights, the output and embeddings included, normalisation not counted: the longest chain of
    /// them from input to output.
    pub fn depth(&self) -> usize {
        depth(&self.layers)
    }
}

fn depth(layers: &[Layer]) -> usize {
    let of = |layer: &Layer| match layer {
        Layer::Dense(_)
        | Layer::Conv1d(_)
        | Layer::Conv2d(_)
        | Layer::Embedding { .. }
        | Layer::EmbedColumns { .. }
        | Layer::Recurrent(_) => 1,
        Layer::Residual { layers } => depth(layers),
        Layer::Dropout { .. }
        | Layer::BatchNormalization { .. }
        | Layer::LayerNormalization { .. }
        | Layer::Activation { .. }
        | Layer::Pool1d(_)
        | Layer::Pool2d(_)
        | Layer::GlobalPool { .. }
        | Layer::Flatten
        | Layer::Rows => 0,
    };
    layers.iter().map(of).sum()
}

/// The shapes after each of `layers`; `prefix` is put in front of layer numbers in errors.
pub(crate) fn chain_shapes(
    prefix: &str,
    input: &[usize],
    layers: &[Layer],
) -> Result<Vec<Vec<usize>>, ShapeError> {
    let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let number = format!("{prefix}{}", index + 1);
        let before = shapes.last().map_or(input, Vec::as_slice);
        let shape = layer.output_shape(&number, before)?;
        shapes.push(shape);
    }
    Ok(shapes)
}

impl Layer {
    /// A dense layer with everything else at its default: linear, with a bias, Glorot's uniform initialiser.
    pub fn dense(units: usize) -> Self {
        Self::Dense(Dense {
            units,
            activation: Activation::Linear,
            bias: true,
            weights: WeightSettings::default(),
        })
    }

    /// Its type, as saved models write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::Dropout { .. } => "dropout",
            Self::BatchNormalization { .. } => "batch_normalization",
            Self::LayerNormalization { .. } => "layer_normalization",
            Self::Activation { .. } => "activation",
            Self::Conv1d(_) => "conv1d",
            Self::Conv2d(_) => "conv2d",
            Self::Pool1d(_) => "pool1d",
            Self::Pool2d(_) => "pool2d",
            Self::GlobalPool { .. } => "global_pool",
            Self::Flatten => "flatten",
            Self::Rows => "rows",
            Self::Embedding { .. } => "embedding",
            Self::EmbedColumns { .. } => "embed_columns",
            Self::Recurrent(_) => "recurrent",
            Self::Residual { .. } => "residual",
        }
    }

    /// The shape that comes out when `input` goes in; `number` is its name in errors.
    pub(crate) fn output_shape(&self, number: &str, input: &[usize]) -> Result<Vec<usize>, ShapeError> {
        let fail = |problem: String| Err(ShapeError { layer: number.to_owned(), kind: self.kind(), problem });
        let shape = match (self, input) {
            (Self::Dense(dense), [_]) => vec![dense.units],
            (Self::Dense(dense), [steps, _]) => vec![*steps, dense.units],
            (
                Self::Dropout { .. }
                | Self::BatchNormalization { .. }
                | Self::LayerNormalization { .. }
                | Self::Activation { .. },
                _,
            ) => input.to_vec(),
            (Self::Conv1d(conv), [steps, _]) => match conv.output_length(*steps) {
                Some(out) => vec![out, conv.filters],
                None => return fail(too_small("kernel", conv.kernel_size, input)),
            },
            (Self::Conv2d(conv), [_, height, width]) => {
                match (conv.output_length(*height), conv.output_length(*width)) {
                    (Some(height), Some(width)) => vec![conv.filters, height, width],
                    _ => return fail(too_small("kernel", conv.kernel_size, input)),
                }
            }
            (Self::Pool1d(pool), [steps, features]) => match pool.output_length(*steps) {
                Some(out) => vec![out, *features],
                None => return fail(too_small("window", pool.size, input)),
            },
            (Self::Pool2d(pool), [channels, height, width]) => {
                match (pool.output_length(*height), pool.output_length(*width)) {
                    (Some(height), Some(width)) => vec![*channels, height, width],
                    _ => return fail(too_small("window", pool.size, input)),
                }
            }
            (Self::GlobalPool { .. }, [_, features] | [features, _, _]) => vec![*features],
            (Self::Flatten, _) => vec![input.iter().product()],
            (Self::Rows, [channels, height, width]) => vec![*height, channels * width],
            (Self::Embedding { dimension, .. }, [steps]) => vec![*steps, *dimension],
            (Self::EmbedColumns { columns }, [features]) => {
                if columns.iter().any(|column| column.input >= *features) {
                    return fail(format!("an embedded column is beyond the {features} inputs"));
                }
                let added: usize = columns.iter().map(|column| column.dimension).sum();
                vec![features - columns.len() + added]
            }
            (Self::Recurrent(layer), [steps, _]) => {
                let width = layer.units * if layer.bidirectional { 2 } else { 1 };
                if layer.return_sequences { vec![*steps, width] } else { vec![width] }
            }
            (Self::Residual { layers }, _) => {
                let inner = chain_shapes(&format!("{number}."), input, layers)?;
                let output = inner.last().map_or(input, Vec::as_slice);
                if projection_stride(input, output).is_none() {
                    return fail(format!("its input {input:?} cannot be projected to {output:?}"));
                }
                output.to_vec()
            }
            _ => return fail(format!("it cannot take {input:?}{}", self.wanted())),
        };
        if shape.contains(&0) {
            return fail("nothing would come out".to_owned());
        }
        Ok(shape)
    }

    /// What it takes, for an error.
    fn wanted(&self) -> &'static str {
        match self {
            Self::Conv2d(_) | Self::Pool2d(_) | Self::Rows => ": it needs an image [channels, height, width]",
            Self::Conv1d(_) | Self::Pool1d(_) | Self::Recurrent(_) => {
                ": it needs a sequence [steps, features]"
            }
            Self::Dense(_) => ": it needs [features] or [steps, features]; flatten before it",
            Self::Embedding { .. } => ": it needs tokens [steps]",
            Self::EmbedColumns { .. } => ": it needs a row [features]",
            Self::GlobalPool { .. } => ": it needs a sequence or an image",
            _ => "",
        }
    }
}

fn too_small(what: &str, size: usize, input: &[usize]) -> String {
    format!("its {what} of {size} is larger than its input {input:?}")
}

impl Conv {
    /// Positions that come out of `length` positions; `None` if the kernel does not fit.
    pub fn output_length(&self, length: usize) -> Option<usize> {
        match self.padding {
            Padding::Same => Some(length.div_ceil(self.stride)),
            Padding::Valid => length.checked_sub(self.kernel_size).map(|rest| rest / self.stride + 1),
        }
    }

    /// Zeros before and after `length` positions.
    pub fn padding_of(&self, length: usize) -> (usize, usize) {
        match self.padding {
            Padding::Valid => (0, 0),
            Padding::Same => {
                let needed = (length.div_ceil(self.stride) - 1) * self.stride + self.kernel_size;
                let total = needed.saturating_sub(length);
                (total / 2, total - total / 2)
            }
        }
    }
}

impl Pool {
    /// Windows that fit into `length` positions; `None` if none does.
    pub fn output_length(&self, length: usize) -> Option<usize> {
        length.checked_sub(self.size).map(|rest| rest / self.stride + 1)
    }
}

/// The step of the projection of a residual block from `input` to `output`: 1 where positions are kept, `None` if
/// no step fits. Equal shapes need no projection.
pub(crate) fn projection_stride(input: &[usize], output: &[usize]) -> Option<usize> {
    let positions = |shape: &[usize]| match shape {
        [_, height, width] => vec![*height, *width],
        [steps, _] => vec![*steps],
        _ => Vec::new(),
    };
    if input.len() != output.len() {
        return None;
    }
    let (from, to) = (positions(input), positions(output));
    (1..=from.iter().copied().max().unwrap_or(1))
        .find(|&stride| from.iter().zip(&to).all(|(&n, &m)| n.div_ceil(stride) == m))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(input: &[usize], layers: Vec<Layer>) -> Network {
        Network { input: input.to_vec(), layers, loss: Loss::SquaredError }
    }

    #[test]
    fn parameters_are_kernels_and_biases() {
        let dense = |units: &[usize]| units.iter().map(|&units| Layer::dense(units)).collect();
        assert_eq!(network(&[3], dense(&[3, 1])).parameter_count(), 16);
        assert_eq!(network(&[3], dense(&[2, 2, 1])).parameter_count(), 17);
        assert_eq!(network(&[64], dense(&[10])).parameter_count(), 650);
    }

    #[test]
    fn normalisation_does_not_count_as_depth() {
        let normal = Layer::BatchNormalization { momentum: 0.9, epsilon: 1e-5 };
        let layers =
            (0..5).flat_map(|_| [Layer::dense(4), normal.clone()]).chain([Layer::dense(1)]).collect();
        let network = network(&[4], layers);
        assert_eq!(network.depth(), 6);
        // Moving statistics are not learned: 8 of each normalisation's 16 numbers are.
        assert_eq!(network.parameter_count(), 5 * (20 + 8) + 5);
    }

    #[test]
    fn same_padding_is_that_of_keras() {
        let conv = |kernel_size, stride| Conv {
            filters: 1,
            kernel_size,
            stride,
            padding: Padding::Same,
            activation: Activation::Linear,
            bias: true,
            weights: WeightSettings::default(),
        };
        assert_eq!((conv(3, 1).output_length(28), conv(3, 1).padding_of(28)), (Some(28), (1, 1)));
        assert_eq!((conv(3, 2).output_length(28), conv(3, 2).padding_of(28)), (Some(14), (0, 1)));
        assert_eq!((conv(4, 1).output_length(5), conv(4, 1).padding_of(5)), (Some(5), (1, 2)));
    }

    #[test]
    fn a_misfit_is_named() {
        let inner = vec![Layer::dense(3), Layer::Pool2d(Pool { pooling: Pooling::Max, size: 2, stride: 2 })];
        let network = network(&[4], vec![Layer::dense(4), Layer::Residual { layers: inner }]);
        let error = network.shapes().unwrap_err().to_string();
        assert_eq!(
            error,
            "layer 2.2 (pool2d): it cannot take [3]: it needs an image [channels, height, width]"
        );
    }
}
