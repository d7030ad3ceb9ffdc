//! Which members can train together: what of a network and its training must be the same, and what may differ. No
//! tensors here.

use std::mem::{Discriminant, discriminant};

use crate::activation::Activation;
use crate::loss::LossKind;
use crate::network::{Layer, Network};
use crate::optimizer::Optimizer;
use crate::settings::Settings;
use crate::trainer::Trainer;

/// What members of one [`Population`](super::Population) have in common: kinds and activations of their layers, inputs
/// and outputs, the kind of loss, the family of the optimiser, rows and batches of an epoch. Widths, dropout, penalties,
/// learning rates and constants are each member's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) kinds: Vec<Kind>,
    pub(super) loss: LossKind,
    rule: Discriminant<Optimizer>,
    proximal: bool,
    /// Rows that are trained on, and in a batch.
    pub(super) rows: usize,
    pub(super) batch: usize,
    /// Whether batches are made on the host: examples are changed, or classes weighted.
    pub(super) by_hand: bool,
}

/// A layer without its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Dense { activation: Activation, bias: bool },
    Activation(Activation),
    BatchNormalization,
    LayerNormalization,
}

/// The numbers of a member's layers, one for each [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Numbers {
    /// Width of what comes out.
    pub(super) width: usize,
    /// Rate of the dropout behind it; 0 for none.
    pub(super) dropout: f64,
    pub(super) momentum: f64,
    pub(super) epsilon: f64,
}

impl Shape {
    /// The shape of a run, or in words why it cannot train together with others.
    pub fn of(trainer: &Trainer) -> Result<Self, String> {
        let (kinds, _) = kinds(trainer.network())?;
        let (rows, batch) = trainer.rows_and_batch();
        let settings = trainer.settings();
        Ok(Self {
            inputs: trainer.network().inputs(),
            outputs: trainer.network().outputs(),
            kinds,
            loss: trainer.network().loss.kind(),
            rule: discriminant(&family(settings)),
            proximal: settings.l1_proximal,
            rows,
            batch,
            by_hand: !trainer.has_plain_batches(),
        })
    }
}

/// Adam and `AdamW` are one rule: the decay is not the rule's.
pub(super) fn family(settings: &Settings) -> Optimizer {
    match settings.update_rule() {
        Optimizer::AdamW { beta1, beta2, epsilon } => Optimizer::Adam { beta1, beta2, epsilon },
        rule => rule,
    }
}

/// The layers of a network, dropout apart, with their numbers.
pub(super) fn kinds(network: &Network) -> Result<(Vec<Kind>, Vec<Numbers>), String> {
    let [mut width] = network.input[..] else {
        return Err("only rows of numbers train together, not sequences or images".to_owned());
    };
    let (mut kinds, mut numbers): (Vec<Kind>, Vec<Numbers>) = (Vec::new(), Vec::new());
    for layer in &network.layers {
        let (kind, momentum, epsilon) = match layer {
            Layer::Dense(dense) if dense.weights.activity.is_none() => {
                width = dense.units;
                (Kind::Dense { activation: known(dense.activation)?, bias: dense.bias }, 0.0, 0.0)
            }
            Layer::Dense(_) => return Err("penalties on outputs are not for a population".to_owned()),
            Layer::Activation { activation } => (Kind::Activation(known(*activation)?), 0.0, 0.0),
            Layer::BatchNormalization { momentum, epsilon } => {
                (Kind::BatchNormalization, *momentum, *epsilon)
            }
            Layer::LayerNormalization { epsilon } => (Kind::LayerNormalization, 0.0, *epsilon),
            Layer::Dropout { rate } => match numbers.last_mut() {
                Some(last) if last.dropout == 0.0 => {
                    last.dropout = *rate;
                    continue;
                }
                _ => return Err("dropout of the inputs, or twice, is not for a population".to_owned()),
            },
            other => return Err(format!("layers of type {} are not for a population", other.kind())),
        };
        kinds.push(kind);
        numbers.push(Numbers { width, dropout: 0.0, momentum, epsilon });
    }
    if matches!(kinds.first(), Some(Kind::Dense { .. })) {
        Ok((kinds, numbers))
    } else {
        Err("a network that does not begin with a dense layer is not for a population".to_owned())
    }
}

fn known(activation: Activation) -> Result<Activation, String> {
    if activation == Activation::Softmax {
        return Err("softmax inside a network is not for a population".to_owned());
    }
    Ok(activation)
}
