//! The weights of a network: which there are, what they are called, how they lie in one flat slice, and how they
//! start. Every engine uses this layout, so engines start from the same bits and read each other's checkpoints.
//!
//! Kernels lie as `[inputs, units]` (dense, recurrent: units times gates), `[filters, channels, height, width]` or
//! `[filters, channels, width]` (convolutions), `[tokens, dimension]` (embeddings). The bias of a GRU is `[2, 3 ·
//! units]`: that of the inputs, then that of the state.

use std::ops::Range;

use crate::engine::{StateError, Tensor};
use crate::initializer::{Initializer, InitializerKind};
use crate::network::{
    Cell, Conv, Layer, Network, Penalty, Recurrent, ShapeError, WeightSettings, projection_stride,
};
use crate::rng::{Purpose, Stream};

/// What a parameter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weights of a dense or recurrent layer: each column leads into one unit.
    Kernel,
    /// Weights of a convolution: each row leads into one filter.
    Filters,
    /// Rows of an embedding.
    Embedding,
    /// Biases.
    Bias,
    /// γ of a normalisation.
    Gamma,
    /// β of a normalisation.
    Beta,
    /// Batch normalisation's moving mean: kept, not trained.
    MovingMean,
    /// Batch normalisation's moving variance: kept, not trained.
    MovingVariance,
}

impl Role {
    /// Whether gradients move it.
    pub fn is_trained(self) -> bool {
        !matches!(self, Self::MovingMean | Self::MovingVariance)
    }

    /// Whether it is one of the weights that decay and penalties are meant for.
    pub fn is_weight(self) -> bool {
        matches!(self, Self::Kernel | Self::Filters | Self::Embedding)
    }
}

/// One named array of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// For example `layers.1.kernel`, inside residual blocks `layers.2.layers.1.kernel`. Layers with parameters are
    /// counted, from 1: a dropout rate that becomes zero does not rename the weights behind it.
    pub name: String,
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// How it starts.
    pub start: Start,
    /// What holds it small.
    pub penalty: Penalty,
    /// Largest L2 norm of the weights into one unit.
    pub max_norm: Option<f64>,
}

/// How a parameter starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// Every number the same.
    Constant(f64),
    /// A constant for each of equal parts in turn (an LSTM's forget gate starts at one).
    Parts(Vec<f64>),
    /// Drawn. Fans include the receptive field.
    Drawn {
        /// How.
        initializer: Initializer,
        /// Numbers that go into one unit.
        fan_in: usize,
        /// Numbers that one input goes to.
        fan_out: usize,
    },
}

impl Parameter {
    /// How many numbers it has; `usize::MAX` if more than that.
    pub fn len(&self) -> usize {
        self.shape.iter().copied().fold(1, usize::saturating_mul)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Network {
    /// All parameters, in the order in which they lie in the flat slice: layer by layer, so that whoever walks the
    /// layers can walk the parameters along.
    ///
    /// # Errors
    ///
    /// Names the first layer that cannot take what comes into it.
    pub fn parameters(&self) -> Result<Vec<Parameter>, ShapeError> {
        let mut list = Vec::new();
        collect(&mut list, "layers", "", &self.input, &self.layers)?;
        Ok(list)
    }

    /// Number of weights that are learned; `usize::MAX` if there are more than that, 0 if the layers do not fit together.
    pub fn parameter_count(&self) -> usize {
        let parameters = self.parameters().unwrap_or_default();
        parameters.iter().filter(|p| p.role.is_trained()).map(Parameter::len).fold(0, usize::saturating_add)
    }
}

fn collect(
    list: &mut Vec<Parameter>,
    path: &str,
    numbers: &str,
    input: &[usize],
    layers: &[Layer],
) -> Result<(), ShapeError> {
    let mut shape = input.to_vec();
    let mut weighted = 0;
    for (index, layer) in layers.iter().enumerate() {
        let number = format!("{numbers}{}", index + 1);
        let path = format!("{path}.{}", weighted + 1);
        let output = layer.output_shape(&number, &shape)?;
        let before = list.len();
        of_layer(list, &path, &number, layer, &shape, &output)?;
        weighted += usize::from(list.len() > before);
        shape = output;
    }
    Ok(())
}

fn of_layer(
    list: &mut Vec<Parameter>,
    path: &str,
    number: &str,
    layer: &Layer,
    input: &[usize],
    output: &[usize],
) -> Result<(), ShapeError> {
    let features = input.last().copied().unwrap_or_default();
    match layer {
        Layer::Dense(dense) => {
            let fans = (features, dense.units);
            list.push(weights(
                path,
                "kernel",
                vec![features, dense.units],
                Role::Kernel,
                fans,
                &dense.weights,
            ));
            if dense.bias {
                list.push(bias(path, dense.units, &dense.weights));
            }
        }
        Layer::Conv1d(conv) => convolution(list, path, conv, features, 1),
        Layer::Conv2d(conv) => convolution(list, path, conv, input[0], 2),
        Layer::BatchNormalization { .. } => {
            let width = channels(input);
            normalisation(list, path, width);
            list.push(constant(path, "moving_mean", width, Role::MovingMean, 0.0));
            list.push(constant(path, "moving_variance", width, Role::MovingVariance, 1.0));
        }
        Layer::LayerNormalization { .. } => normalisation(list, path, channels(input)),
        Layer::Embedding { vocabulary, dimension } => {
            list.push(embedding(format!("{path}.embedding"), *vocabulary, *dimension));
        }
        Layer::EmbedColumns { columns } => {
            for column in columns {
                let name = format!("{path}.embedding.{}", column.input);
                list.push(embedding(name, column.cardinality, column.dimension));
            }
        }
        Layer::Recurrent(recurrent) => {
            if recurrent.bidirectional {
                direction(list, &format!("{path}.forward"), recurrent, features);
                direction(list, &format!("{path}.backward"), recurrent, features);
            } else {
                direction(list, path, recurrent, features);
            }
        }
        Layer::Residual { layers } => {
            collect(list, &format!("{path}.layers"), &format!("{number}."), input, layers)?;
            if input != output && projection_stride(input, output).is_some() {
                projection(list, path, input, output);
            }
        }
        Layer::Dropout { .. }
        | Layer::Activation { .. }
        | Layer::Pool1d(_)
        | Layer::Pool2d(_)
        | Layer::GlobalPool { .. }
        | Layer::Flatten
        | Layer::Rows => {}
    }
    Ok(())
}

/// Numbers that a normalisation has γ and β for.
pub(crate) fn channels(shape: &[usize]) -> usize {
    match shape {
        [channels, _, _] => *channels,
        _ => shape.last().copied().unwrap_or_default(),
    }
}

fn convolution(list: &mut Vec<Parameter>, path: &str, conv: &Conv, channels: usize, dimensions: usize) {
    let mut shape = vec![conv.filters, channels];
    shape.extend(std::iter::repeat_n(conv.kernel_size, dimensions));
    let field: usize = shape[2..].iter().product();
    let fans = (channels * field, conv.filters * field);
    list.push(weights(path, "kernel", shape, Role::Filters, fans, &conv.weights));
    if conv.bias {
        list.push(bias(path, conv.filters, &conv.weights));
    }
}

/// A linear map of each position, without bias: `[inputs, units]`, or `[filters, channels, 1, 1]` for images.
fn projection(list: &mut Vec<Parameter>, path: &str, input: &[usize], output: &[usize]) {
    let (from, to) = (channels(input), channels(output));
    let (shape, role) =
        if input.len() == 3 { (vec![to, from, 1, 1], Role::Filters) } else { (vec![from, to], Role::Kernel) };
    let settings = WeightSettings::default();
    list.push(weights(path, "projection", shape, role, (from, to), &settings));
}

fn direction(list: &mut Vec<Parameter>, path: &str, layer: &Recurrent, features: usize) {
    let (units, sums) = (layer.units, layer.units * layer.cell.gates());
    list.push(weights(path, "kernel", vec![features, sums], Role::Kernel, (features, sums), &layer.weights));
    let orthogonal = WeightSettings {
        kernel_initializer: Initializer { kind: InitializerKind::Orthogonal, scale: None },
        ..layer.weights.clone()
    };
    list.push(weights(path, "recurrent_kernel", vec![units, sums], Role::Kernel, (units, sums), &orthogonal));
    let mut bias = bias(path, sums, &layer.weights);
    let usual = layer.weights.initial_bias;
    match layer.cell {
        Cell::Simple => {}
        // Jozefowicz et al. 2015: a forget gate that starts open.
        Cell::Lstm => bias.start = Start::Parts(vec![usual, 1.0, usual, usual]),
        Cell::Gru => bias.shape = vec![2, sums],
    }
    list.push(bias);
}

fn weights(
    path: &str,
    name: &str,
    shape: Vec<usize>,
    role: Role,
    (fan_in, fan_out): (usize, usize),
    settings: &WeightSettings,
) -> Parameter {
    Parameter {
        name: format!("{path}.{name}"),
        shape,
        role,
        start: Start::Drawn { initializer: settings.kernel_initializer, fan_in, fan_out },
        penalty: settings.kernel,
        max_norm: settings.max_norm,
    }
}

fn bias(path: &str, units: usize, settings: &WeightSettings) -> Parameter {
    Parameter { penalty: settings.biases, ..constant(path, "bias", units, Role::Bias, settings.initial_bias) }
}

fn normalisation(list: &mut Vec<Parameter>, path: &str, width: usize) {
    list.push(constant(path, "gamma", width, Role::Gamma, 1.0));
    list.push(constant(path, "beta", width, Role::Beta, 0.0));
}

fn embedding(name: String, rows: usize, dimension: usize) -> Parameter {
    let uniform = Initializer { kind: InitializerKind::Uniform, scale: None };
    Parameter {
        name,
        shape: vec![rows, dimension],
        role: Role::Embedding,
        start: Start::Drawn { initializer: uniform, fan_in: rows, fan_out: dimension },
        penalty: Penalty::NONE,
        max_norm: None,
    }
}

fn constant(path: &str, name: &str, width: usize, role: Role, value: f64) -> Parameter {
    Parameter {
        name: format!("{path}.{name}"),
        shape: vec![width],
        role,
        start: Start::Constant(value),
        penalty: Penalty::NONE,
        max_norm: None,
    }
}

/// The parameters of a network and where each lies in one slice of values. Holds no values itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    entries: Vec<(Parameter, Range<usize>)>,
    len: usize,
}

impl Layout {
    /// The layout of a network's parameters.
    ///
    /// # Errors
    ///
    /// Names the first layer that cannot take what comes into it.
    pub fn new(network: &Network) -> Result<Self, ShapeError> {
        let mut len = 0;
        let place = |parameter: Parameter| {
            let range = len..len + parameter.len();
            len = range.end;
            (parameter, range)
        };
        let entries = network.parameters()?.into_iter().map(place).collect();
        Ok(Self { entries, len })
    }

    /// Each parameter with its place.
    pub fn entries(&self) -> &[(Parameter, Range<usize>)] {
        &self.entries
    }

    /// Where the parameter with this name lies.
    pub fn range(&self, name: &str) -> Option<Range<usize>> {
        self.entries.iter().find(|(parameter, _)| parameter.name == name).map(|(_, range)| range.clone())
    }

    /// Length of the slice.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How a run with this seed starts: each parameter from a stream of its own.
    pub fn initial(&self, seed: &[u8; 32]) -> Vec<f32> {
        let mut values = vec![0.0; self.len];
        for (index, (parameter, range)) in self.entries.iter().enumerate() {
            let place = &mut values[range.clone()];
            match &parameter.start {
                Start::Constant(value) => place.fill(*value as f32),
                Start::Parts(parts) => {
                    let width = place.len() / parts.len();
                    for (part, value) in place.chunks_exact_mut(width).zip(parts) {
                        part.fill(*value as f32);
                    }
                }
                Start::Drawn { initializer, fan_in, fan_out } => {
                    let mut stream = Stream::new(seed, Purpose::Weights, index as u64);
                    let rows = parameter.shape[0];
                    initializer.fill(place, rows, *fan_in, *fan_out, &mut stream);
                }
            }
        }
        values
    }

    /// Cuts a slice of this layout into named tensors; `prefix` goes in front of the names.
    pub fn tensors(&self, values: &[f32], prefix: &str) -> Vec<Tensor> {
        let tensor = |(parameter, range): &(Parameter, Range<usize>)| Tensor {
            name: format!("{prefix}{}", parameter.name),
            shape: parameter.shape.clone(),
            data: values[range.clone()].to_vec(),
        };
        self.entries.iter().map(tensor).collect()
    }

    /// Puts named tensors into one slice of this layout. Tensors that are not in the layout are ignored.
    ///
    /// # Errors
    ///
    /// A tensor that is missing, of another shape, or not finite.
    pub fn gather(&self, tensors: &[Tensor], prefix: &str) -> Result<Vec<f32>, StateError> {
        let mut values = vec![0.0; self.len];
        for (parameter, range) in &self.entries {
            let name = format!("{prefix}{}", parameter.name);
            let found = tensors.iter().find(|tensor| tensor.name == name);
            let tensor = found.ok_or_else(|| StateError::Missing(name.clone()))?;
            if tensor.shape != parameter.shape || tensor.data.len() != range.len() {
                let (expected, found) = (parameter.shape.clone(), tensor.shape.clone());
                return Err(StateError::Shape { name, expected, found });
            }
            if tensor.data.iter().any(|x| !x.is_finite()) {
                return Err(StateError::NotFinite(name));
            }
            values[range.clone()].copy_from_slice(&tensor.data);
        }
        Ok(values)
    }
}
