//! Networks written down layer by layer, as in Keras. Only a way to make a [`Network`]: what a layer means is said
//! there.

use crate::activation::Activation;
use crate::initializer::{Initializer, InitializerKind};
use crate::loss::Loss;
use crate::network::{
    Cell, Conv, Layer, Network, Padding, Pool, Pooling, Recurrent, ShapeError, WeightSettings,
};

/// Layers in a row, from the input on. Methods that add a layer come first in a chain; those that say more about it
/// (`activation`, `l2`, `strides`, …) follow it.
///
/// ```
/// use luthier_nn::{Activation, Loss, Network};
///
/// let network = Network::sequential([28 * 28])
///     .dense(128)
///     .activation(Activation::Relu)
///     .l2(1e-4)
///     .dropout(0.2)
///     .dense(10)
///     .build(Loss::CROSS_ENTROPY)?;
/// assert_eq!(network.parameter_count(), 784 * 128 + 128 + 128 * 10 + 10);
/// # Ok::<(), luthier_nn::ShapeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Sequential {
    input: Vec<usize>,
    layers: Vec<Layer>,
    /// Whether the last layer's initialiser was chosen, and no longer follows its activation.
    initializer_chosen: bool,
    mistake: Option<ShapeError>,
}

impl Network {
    /// Begins a network whose examples have this shape: `[features]`, `[steps, features]`, `[channels, height, width]`,
    /// or `[steps]` of tokens.
    pub fn sequential(input: impl Into<Vec<usize>>) -> Sequential {
        Sequential { input: input.into(), layers: Vec::new(), initializer_chosen: false, mistake: None }
    }
}

impl Sequential {
    /// The network with this loss.
    ///
    /// # Errors
    ///
    /// Names the first layer that does not fit, or that was told something it does not have.
    pub fn build(self, loss: Loss) -> Result<Network, ShapeError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let network = Network { input: self.input, layers: self.layers, loss };
        network.shapes()?;
        Ok(network)
    }

    /// Adds any layer.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self.initializer_chosen = false;
        self
    }

    /// Adds a dense layer of `units`, linear unless an activation follows.
    #[must_use]
    pub fn dense(self, units: usize) -> Self {
        self.layer(Layer::dense(units))
    }

    /// Adds dropout; `rate` is the fraction dropped, [0, 1).
    #[must_use]
    pub fn dropout(self, rate: f64) -> Self {
        self.layer(Layer::Dropout { rate })
    }

    /// Adds batch normalisation with momentum 0.9 and ε = 1e-5.
    #[must_use]
    pub fn batch_normalization(self) -> Self {
        self.layer(Layer::BatchNormalization { momentum: 0.9, epsilon: 1e-5 })
    }

    /// Adds layer normalisation with ε = 1e-5.
    #[must_use]
    pub fn layer_normalization(self) -> Self {
        self.layer(Layer::LayerNormalization { epsilon: 1e-5 })
    }

    /// Adds a convolution over the steps of a sequence, with step 1 and zeros around.
    #[must_use]
    pub fn conv1d(self, filters: usize, kernel_size: usize) -> Self {
        self.layer(Layer::Conv1d(plain_convolution(filters, kernel_size)))
    }

    /// Adds a convolution over an image, with step 1 and zeros around.
    #[must_use]
    pub fn conv2d(self, filters: usize, kernel_size: usize) -> Self {
        self.layer(Layer::Conv2d(plain_convolution(filters, kernel_size)))
    }

    /// Adds pooling by the largest, in windows of `size` side by side, over an image or the steps of a sequence.
    #[must_use]
    pub fn max_pool(self, size: usize) -> Self {
        self.pool(Pooling::Max, size)
    }

    /// Adds pooling by the mean, in windows of `size` side by side, over an image or the steps of a sequence.
    #[must_use]
    pub fn average_pool(self, size: usize) -> Self {
        self.pool(Pooling::Average, size)
    }

    /// Adds pooling over all positions.
    #[must_use]
    pub fn global_pool(self, pooling: Pooling) -> Self {
        self.layer(Layer::GlobalPool { pooling })
    }

    /// Adds a layer that puts all positions side by side.
    #[must_use]
    pub fn flatten(self) -> Self {
        self.layer(Layer::Flatten)
    }

    /// Adds an embedding of tokens: `dimension` numbers for each of `vocabulary`.
    #[must_use]
    pub fn embedding(self, vocabulary: usize, dimension: usize) -> Self {
        self.layer(Layer::Embedding { vocabulary, dimension })
    }

    /// Adds a simple recurrent layer with tanh that hands on its final state.
    #[must_use]
    pub fn simple_rnn(self, units: usize) -> Self {
        self.recurrent(Cell::Simple, units)
    }

    /// Adds an LSTM that hands on its final state.
    #[must_use]
    pub fn lstm(self, units: usize) -> Self {
        self.recurrent(Cell::Lstm, units)
    }

    /// Adds a GRU that hands on its final state.
    #[must_use]
    pub fn gru(self, units: usize) -> Self {
        self.recurrent(Cell::Gru, units)
    }

    /// Adds layers whose output is added to their own input.
    #[must_use]
    pub fn residual(mut self, block: impl FnOnce(Self) -> Self) -> Self {
        let inner = block(Network::sequential([]));
        self.mistake = self.mistake.or(inner.mistake);
        self.layer(Layer::Residual { layers: inner.layers })
    }

    /// The activation of the layer before it; behind layers that have none of their own, an activation layer.
    /// The initialiser follows it, unless it was chosen.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        let place = match self.layers.last_mut() {
            Some(Layer::Dense(dense)) => Some((&mut dense.activation, &mut dense.weights)),
            Some(Layer::Conv1d(conv) | Layer::Conv2d(conv)) => {
                Some((&mut conv.activation, &mut conv.weights))
            }
            Some(Layer::Recurrent(layer)) => Some((&mut layer.activation, &mut layer.weights)),
            _ => None,
        };
        let Some((place, weights)) = place else { return self.layer(Layer::Activation { activation }) };
        *place = activation;
        if !self.initializer_chosen {
            weights.kernel_initializer = Initializer::default_for(activation);
        }
        self
    }

    /// How the kernel of the last layer starts.
    #[must_use]
    pub fn kernel_initializer(mut self, kind: InitializerKind) -> Self {
        self.initializer_chosen = true;
        self.weights("kernel_initializer", |weights| {
            weights.kernel_initializer = Initializer { kind, scale: None };
        })
    }

    /// λ₁ of the penalty λ₁ Σ|w| + λ₂ Σw² on the last layer's kernel.
    #[must_use]
    pub fn l1(self, l1: f64) -> Self {
        self.weights("l1", |weights| weights.kernel.l1 = l1)
    }

    /// λ₂ of the penalty on the last layer's kernel (there is no ½).
    #[must_use]
    pub fn l2(self, l2: f64) -> Self {
        self.weights("l2", |weights| weights.kernel.l2 = l2)
    }

    /// Largest L2 norm of the weights into one unit of the last layer.
    #[must_use]
    pub fn max_norm(self, limit: f64) -> Self {
        self.weights("max_norm", |weights| weights.max_norm = Some(limit))
    }

    /// Leaves out the bias of the last layer, dense or convolutional.
    #[must_use]
    pub fn without_bias(self) -> Self {
        self.of_last("without_bias", |layer| {
            match layer {
                Layer::Dense(dense) => dense.bias = false,
                Layer::Conv1d(conv) | Layer::Conv2d(conv) => conv.bias = false,
                _ => return false,
            }
            true
        })
    }

    /// Step of the last layer, a convolution or pooling.
    #[must_use]
    pub fn strides(self, stride: usize) -> Self {
        self.of_last("strides", |layer| {
            match layer {
                Layer::Conv1d(conv) | Layer::Conv2d(conv) => conv.stride = stride,
                Layer::Pool1d(pool) | Layer::Pool2d(pool) => pool.stride = stride,
                _ => return false,
            }
            true
        })
    }

    /// Zeros around the input of the last layer, a convolution, or none. (Keras has none unless told otherwise.)
    #[must_use]
    pub fn padding(self, padding: Padding) -> Self {
        self.of_last("padding", |layer| {
            match layer {
                Layer::Conv1d(conv) | Layer::Conv2d(conv) => conv.padding = padding,
                _ => return false,
            }
            true
        })
    }

    /// Lets the last layer, a recurrent one, also read backwards.
    #[must_use]
    pub fn bidirectional(self) -> Self {
        self.of_last("bidirectional", |layer| {
            match layer {
                Layer::Recurrent(layer) => layer.bidirectional = true,
                _ => return false,
            }
            true
        })
    }

    /// Lets the last layer, a recurrent one, hand on every step.
    #[must_use]
    pub fn return_sequences(self) -> Self {
        self.of_last("return_sequences", |layer| {
            match layer {
                Layer::Recurrent(layer) => layer.return_sequences = true,
                _ => return false,
            }
            true
        })
    }

    fn recurrent(self, cell: Cell, units: usize) -> Self {
        let activation = Activation::Tanh;
        let kernel_initializer = Initializer::default_for(activation);
        self.layer(Layer::Recurrent(Recurrent {
            cell,
            units,
            activation,
            bidirectional: false,
            return_sequences: false,
            weights: WeightSettings { kernel_initializer, ..WeightSettings::default() },
        }))
    }

    fn pool(self, pooling: Pooling, size: usize) -> Self {
        let pool = Pool { pooling, size, stride: size };
        let is_image = self.shape().len() == 3;
        self.layer(if is_image { Layer::Pool2d(pool) } else { Layer::Pool1d(pool) })
    }

    /// What comes out of the last layer that fits.
    fn shape(&self) -> Vec<usize> {
        self.layers
            .iter()
            .fold(self.input.clone(), |shape, layer| layer.output_shape("", &shape).unwrap_or(shape))
    }

    fn weights(self, what: &str, set: impl FnOnce(&mut WeightSettings)) -> Self {
        self.of_last(what, |layer| {
            match layer {
                Layer::Dense(dense) => set(&mut dense.weights),
                Layer::Conv1d(conv) | Layer::Conv2d(conv) => set(&mut conv.weights),
                Layer::Recurrent(layer) => set(&mut layer.weights),
                _ => return false,
            }
            true
        })
    }

    /// Changes the last layer; notes a mistake if it has nothing of the kind.
    fn of_last(mut self, what: &str, set: impl FnOnce(&mut Layer) -> bool) -> Self {
        let kind = self.layers.last().map_or("input", Layer::kind);
        if !self.layers.last_mut().is_some_and(set) {
            let layer = self.layers.len().to_string();
            let problem = format!("it has no `{what}`: say it behind the layer that it is about");
            self.mistake.get_or_insert(ShapeError { layer, kind, problem });
        }
        self
    }
}

fn plain_convolution(filters: usize, kernel_size: usize) -> Conv {
    Conv {
        filters,
        kernel_size,
        stride: 1,
        padding: Padding::Same,
        activation: Activation::Linear,
        bias: true,
        weights: WeightSettings::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_for_images_is_written_as_in_keras() {
        let network = Network::sequential([1, 28, 28])
            .conv2d(8, 3)
            .activation(Activation::Relu)
            .max_pool(2)
            .residual(|block| block.conv2d(16, 3).strides(2).without_bias().batch_normalization())
            .activation(Activation::Relu)
            .global_pool(Pooling::Average)
            .dense(10)
            .build(Loss::CROSS_ENTROPY)
            .unwrap();
        let shapes = network.shapes().unwrap();
        let expected: [&[usize]; 6] = [&[8, 28, 28], &[8, 14, 14], &[16, 7, 7], &[16, 7, 7], &[16], &[10]];
        assert_eq!(shapes, expected);
    }

    #[test]
    fn the_initialiser_follows_the_activation_unless_it_was_chosen() {
        let kinds = |network: Sequential| match network.layers.last() {
            Some(Layer::Dense(dense)) => dense.weights.kernel_initializer.kind,
            other => panic!("{other:?}"),
        };
        let dense = || Network::sequential([3]).dense(4);
        assert_eq!(
            kinds(dense().activation(Activation::Relu)),
            InitializerKind::default_for(Activation::Relu)
        );
        let chosen = dense().kernel_initializer(InitializerKind::Orthogonal).activation(Activation::Relu);
        assert_eq!(kinds(chosen), InitializerKind::Orthogonal);
    }

    #[test]
    fn what_a_layer_does_not_have_is_named() {
        let error =
            Network::sequential([3]).dense(4).dropout(0.5).l2(0.1).build(Loss::SquaredError).unwrap_err();
        assert_eq!(
            error.to_string(),
            "layer 2 (dropout): it has no `l2`: say it behind the layer that it is about"
        );
    }
}
