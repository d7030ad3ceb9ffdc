//! The shape of a network: which layers, how wide, what they apply. No weights here; engines hold those.

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::initializer::KernelInitializer;
use crate::loss::Loss;
use crate::settings::Settings;

/// A chain of dense layers, the last of which is the output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Numbers per row that go in.
    pub inputs: usize,
    /// The layers from the input on; never empty.
    pub layers: Vec<Dense>,
    /// What follows the output layer in training.
    pub loss: Loss,
}

/// A dense layer: dropout(activation(x · kernel + bias)), with a kernel of inputs × units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Numbers per row that come out.
    pub units: usize,
    /// Applied to each of them.
    pub activation: Activation,
    /// Fraction dropped in training, [0, 1).
    pub dropout: f64,
    /// λ₁ on the kernel.
    pub l1: f64,
    /// λ₂ on the kernel.
    pub l2: f64,
    /// How the kernel starts.
    pub kernel_initializer: KernelInitializer,
}

impl Network {
    /// The network that `settings` describe, for rows of `inputs` numbers and `outputs` classes (or one number).
    pub fn dense(inputs: usize, outputs: usize, loss: Loss, settings: &Settings) -> Self {
        let layer = |units, activation, dropout| Dense {
            units,
            activation,
            dropout,
            l1: settings.l1,
            l2: settings.l2,
            kernel_initializer: settings
                .kernel_initializer
                .unwrap_or_else(|| KernelInitializer::default_for(activation)),
        };
        let hidden = (1..=settings.hidden_layers())
            .map(|k| layer(settings.units.at(k), settings.activation.at(k), settings.dropout.at(k)));
        let layers = hidden.chain(std::iter::once(layer(outputs, Activation::Linear, 0.0))).collect();
        Self { inputs, layers, loss }
    }

    /// Numbers per row that come out.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(self.inputs, |layer| layer.units)
    }

    /// (inputs, units) of each layer.
    pub fn shapes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let inputs = std::iter::once(self.inputs).chain(self.layers.iter().map(|layer| layer.units));
        inputs.zip(self.layers.iter().map(|layer| layer.units))
    }

    /// Number of weights and biases; `usize::MAX` if there are more than that.
    pub fn parameter_count(&self) -> usize {
        self.shapes()
            .map(|(inputs, units)| inputs.saturating_add(1).saturating_mul(units))
            .fold(0, usize::saturating_add)
    }

    /// Layers that learn weights, the output included.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// The widest layer or input.
    pub fn widest(&self) -> usize {
        self.layers.iter().map(|layer| layer.units).fold(self.inputs, usize::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PerLayer;

    fn parameters(inputs: usize, hidden: &[usize], outputs: usize) -> usize {
        let mut settings = Settings { layers: Some(hidden.len()), ..Settings::default() };
        if let Some(units) = PerLayer::list(hidden) {
            settings.units = units;
        }
        Network::dense(inputs, outputs, Loss::SquaredError, &settings).parameter_count()
    }

    #[test]
    fn parameters_are_kernels_and_biases() {
        assert_eq!(parameters(3, &[3], 1), 16);
        assert_eq!(parameters(3, &[2, 2], 1), 17);
        assert_eq!(parameters(64, &[], 10), 650);
        assert_eq!(parameters(64, &[128, 128], 10), 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10);
    }

    #[test]
    fn five_hidden_layers_and_an_output_are_depth_six() {
        let settings = Settings { layers: Some(5), ..Settings::default() };
        assert_eq!(Network::dense(4, 2, Loss::CROSS_ENTROPY, &settings).depth(), 6);
    }
}
