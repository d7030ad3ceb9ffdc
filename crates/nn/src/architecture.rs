//! From settings to a network: which layers a dense, convolutional or recurrent network of these settings has. It
//! never fails on a setting that does not concern the network; what cannot be built is an error of its shapes.

use crate::activation::Activation;
use crate::data::Problem;
use crate::initializer::{Initializer, InitializerKind};
use crate::loss::Loss;
use crate::network::{
    Conv, Dense, EmbedColumn, Layer, Network, Penalty, Pool, Pooling, Recurrent, WeightSettings,
};
use crate::settings::{Architecture, Gathering, Normalization, Settings};

/// What goes into a network and what is wanted of it: the data's side of its description.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// Shape of one example: `[features]`, `[steps, features]`, `[channels, height, width]`, or `[steps]` of tokens.
    pub input: Vec<usize>,
    /// How many tokens there are, if the input is tokens.
    pub vocabulary: Option<usize>,
    /// Columns of a row that hold category numbers, as (place, number of categories).
    pub embedded: Vec<(usize, usize)>,
    /// Scores that the loss wants.
    pub outputs: usize,
    /// What training makes small.
    pub loss: Loss,
}

impl Signature {
    /// Rows of `features` numbers.
    pub fn rows(features: usize, outputs: usize, loss: Loss) -> Self {
        Self { input: vec![features], vocabulary: None, embedded: Vec::new(), outputs, loss }
    }

    /// The architecture when none is set: rows dense, images convolutional, sequences and tokens recurrent.
    pub fn usual_architecture(&self) -> Architecture {
        match self.input.len() {
            3 => Architecture::Convolutional,
            1 if self.vocabulary.is_none() => Architecture::Dense,
            _ => Architecture::Recurrent,
        }
    }
}

impl Problem {
    /// What goes into a network for these data, and what is wanted of it.
    pub fn signature(&self, settings: &Settings) -> Signature {
        let loss = settings.loss(self.usual_loss());
        Signature {
            input: self.shape().to_vec(),
            vocabulary: self.vocabulary(),
            embedded: self.embedded().iter().map(|column| (column.input, column.cardinality)).collect(),
            // A loss that does not fit is refused before training.
            outputs: self.outputs(loss).unwrap_or_else(|_| self.preprocessing().target().width()),
            loss,
        }
    }

    /// The network that `settings` describe for these data.
    pub fn network(&self, settings: &Settings) -> Network {
        Network::build(&self.signature(settings), settings)
    }
}

impl Network {
    /// The network that `settings` describe for this signature.
    pub fn build(signature: &Signature, settings: &Settings) -> Self {
        let mut builder = Builder { settings, layers: Vec::new(), shape: signature.input.clone() };
        builder.embed(signature);
        let architecture = settings.architecture.unwrap_or_else(|| signature.usual_architecture());
        match (architecture, builder.shape.len()) {
            // A plain row has no positions to slide over or to read in order.
            (Architecture::Dense, _) | (_, 1) => builder.gather(Gathering::Flatten),
            (Architecture::Convolutional, _) => builder.convolutions(),
            (Architecture::Recurrent, _) => builder.recurrences(),
        }
        for layer in 1..=settings.hidden_layers() {
            builder.hidden(layer);
        }
        builder.output(signature.outputs);
        Self { input: signature.input.clone(), layers: builder.layers, loss: signature.loss }
    }
}

struct Builder<'a> {
    settings: &'a Settings,
    layers: Vec<Layer>,
    /// What comes out of the last layer.
    shape: Vec<usize>,
}

impl Builder<'_> {
    fn push(&mut self, layer: Layer) {
        if let Ok(shape) = layer.output_shape("", &self.shape) {
            self.shape = shape;
        }
        self.layers.push(layer);
    }

    /// Whether the layer can take what there is now.
    fn fits(&self, layer: &Layer) -> bool {
        layer.output_shape("", &self.shape).is_ok()
    }

    fn embed(&mut self, signature: &Signature) {
        let dimension = |count: usize| self.settings.embedding.unwrap_or_else(|| count.div_ceil(2).min(50));
        if let Some(vocabulary) = signature.vocabulary {
            self.push(Layer::Embedding { vocabulary, dimension: dimension(vocabulary) });
        } else if !signature.embedded.is_empty() {
            let column = |&(input, cardinality): &(usize, usize)| EmbedColumn {
                input,
                cardinality,
                dimension: dimension(cardinality),
            };
            self.push(Layer::EmbedColumns { columns: signature.embedded.iter().map(column).collect() });
        }
    }

    fn convolutions(&mut self) {
        let settings = self.settings;
        let is_image = self.shape.len() == 3;
        for k in 1..=settings.conv_layers {
            let normalization = settings.normalization.shared();
            let activation = settings.activation.shared();
            let conv = Conv {
                filters: settings.filters.at(k),
                kernel_size: settings.kernel_size.at(k),
                stride: settings.strides.at(k),
                padding: settings.padding,
                activation: if normalization == Normalization::None {
                    activation
                } else {
                    Activation::Linear
                },
                bias: normalization != Normalization::Batch,
                weights: self.weights(activation, settings.l1.shared(), settings.l2.shared()),
            };
            let conv = if is_image { Layer::Conv2d(conv) } else { Layer::Conv1d(conv) };
            let layers = std::iter::once(conv).chain(self.normalized(normalization, activation));
            self.perhaps_residual(layers.collect());
            let pool = Pool {
                pooling: settings.pooling.at(k),
                size: settings.pool_size,
                stride: settings.pool_size,
            };
            let pool_layer = if is_image { Layer::Pool2d(pool) } else { Layer::Pool1d(pool) };
            if pool.pooling != Pooling::None && self.fits(&pool_layer) {
                self.push(pool_layer);
            }
            self.dropout(settings.conv_dropout.at(k));
        }
        self.gather(settings.gathering);
    }

    fn recurrences(&mut self) {
        let settings = self.settings;
        if self.shape.len() == 3 {
            self.push(Layer::Rows);
        }
        for k in 1..=settings.recurrent_layers {
            let activation = Activation::Tanh;
            let layer = Layer::Recurrent(Recurrent {
                cell: settings.cell,
                units: settings.recurrent_units.at(k),
                activation,
                bidirectional: settings.bidirectional,
                return_sequences: k < settings.recurrent_layers,
                weights: self.weights(activation, settings.l1.shared(), settings.l2.shared()),
            });
            if k < settings.recurrent_layers {
                self.perhaps_residual(vec![layer]);
            } else {
                self.push(layer);
            }
            self.dropout(settings.recurrent_dropout.at(k));
        }
    }

    /// Positions become one row of features.
    fn gather(&mut self, gathering: Gathering) {
        if self.shape.len() > 1 {
            self.push(match gathering {
                Gathering::Flatten => Layer::Flatten,
                Gathering::Average => Layer::GlobalPool { pooling: Pooling::Average },
                Gathering::Max => Layer::GlobalPool { pooling: Pooling::Max },
            });
        }
    }

    fn hidden(&mut self, k: usize) {
        let settings = self.settings;
        let (activation, normalization) = (settings.activation.at(k), settings.normalization.at(k));
        let dense = Layer::Dense(Dense {
            units: settings.units.at(k),
            activation: if normalization == Normalization::None { activation } else { Activation::Linear },
            bias: normalization != Normalization::Batch,
            weights: self.weights(activation, settings.l1.at(k), settings.l2.at(k)),
        });
        let layers = std::iter::once(dense).chain(self.normalized(normalization, activation));
        self.perhaps_residual(layers.collect());
        self.dropout(settings.dropout.at(k));
    }

    fn output(&mut self, outputs: usize) {
        let activation = self.settings.output_activation.unwrap_or(Activation::Linear);
        let mut weights = self.weights(activation, self.settings.l1.shared(), self.settings.l2.shared());
        weights.activity = Penalty::NONE;
        self.push(Layer::Dense(Dense { units: outputs, activation, bias: true, weights }));
    }

    /// What follows the sums of a layer whose activation comes after the normalisation.
    fn normalized(&self, normalization: Normalization, activation: Activation) -> Vec<Layer> {
        let epsilon = self.settings.normalization_epsilon;
        let normal = match normalization {
            Normalization::None => return Vec::new(),
            Normalization::Batch => {
                Layer::BatchNormalization { momentum: self.settings.normalization_momentum, epsilon }
            }
            Normalization::Layer => Layer::LayerNormalization { epsilon },
        };
        vec![normal, Layer::Activation { activation }]
    }

    fn perhaps_residual(&mut self, layers: Vec<Layer>) {
        let block = Layer::Residual { layers: layers.clone() };
        if self.settings.residual && self.fits(&block) {
            return self.push(block);
        }
        for layer in layers {
            self.push(layer);
        }
    }

    fn dropout(&mut self, rate: f64) {
        if rate > 0.0 {
            self.push(Layer::Dropout { rate });
        }
    }

    fn weights(&self, activation: Activation, l1: f64, l2: f64) -> WeightSettings {
        let settings = self.settings;
        let kind = settings.kernel_initializer.unwrap_or_else(|| InitializerKind::default_for(activation));
        WeightSettings {
            kernel_initializer: Initializer { kind, scale: settings.initializer_scale },
            initial_bias: settings.initial_bias,
            kernel: Penalty { l1, l2 },
            biases: Penalty { l1: settings.bias_l1, l2: settings.bias_l2 },
            activity: Penalty { l1: settings.activity_l1, l2: settings.activity_l2 },
            max_norm: settings.max_norm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PerLayer;

    fn image(settings: &Settings) -> Network {
        let signature = Signature { input: vec![1, 28, 28], ..Signature::rows(0, 10, Loss::CROSS_ENTROPY) };
        Network::build(&signature, settings)
    }

    #[test]
    fn images_are_convolved_pooled_and_flattened() {
        let settings = Settings {
            layers: Some(0),
            filters: PerLayer::list(&[16, 32]).unwrap_or_else(|| unreachable!("two values")),
            ..Settings::default()
        };
        let network = image(&settings);
        let shapes = network.shapes().unwrap_or_default();
        let expected: [&[usize]; 6] =
            [&[16, 28, 28], &[16, 14, 14], &[32, 14, 14], &[32, 7, 7], &[1568], &[10]];
        assert_eq!(shapes, expected);
        assert_eq!(network.parameter_count(), 16 * 9 + 16 + 32 * 16 * 9 + 32 + 1568 * 10 + 10);
    }

    #[test]
    fn every_architecture_takes_every_input() {
        let inputs: [(&[usize], Option<usize>); 4] =
            [(&[7], None), (&[12, 3], None), (&[3, 8, 8], None), (&[20], Some(30))];
        for (input, vocabulary) in inputs {
            for &architecture in Architecture::ALL {
                for residual in [false, true] {
                    let settings = Settings {
                        architecture: Some(architecture),
                        residual,
                        bidirectional: residual,
                        recurrent_layers: 2,
                        conv_layers: 6,
                        normalization: PerLayer::all(Normalization::Batch),
                        ..Settings::default()
                    };
                    let signature = Signature {
                        input: input.to_vec(),
                        vocabulary,
                        ..Signature::rows(0, 4, Loss::CROSS_ENTROPY)
                    };
                    let network = Network::build(&signature, &settings);
                    assert_eq!(network.shapes().map(|s| s.last().cloned()), Ok(Some(vec![4])), "{network:?}");
                }
            }
        }
    }
}
