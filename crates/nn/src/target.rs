//! What a network's scores stand for on some data: which losses fit, how many scores they want, and how scores become
//! predictions in the unit of the data.

use pulp::Arch;

use crate::data::{Problem, TargetEncoding, Task};
use crate::engine::Targets;
use crate::loss::{Link, Loss, LossError, LossKind};
use crate::metrics::TargetKind;
use crate::network::Network;

/// A target that a loss or a network cannot be used for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// The loss is for another kind of target, or its parameters are out of range.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// Counts that are negative.
    #[error("the loss `poisson` is for counts, but a target is {value}: use `squared_error`")]
    NotACount {
        /// Its value.
        value: f64,
    },
    /// A network that was made for something else.
    #[error("the network {part} {found}, but {wanted}")]
    Misfit {
        /// `takes inputs of shape` or `gives scores of shape`.
        part: &'static str,
        /// What the network has.
        found: String,
        /// What the data and the loss need.
        wanted: String,
    },
}

impl Problem {
    /// What kind of thing is predicted.
    pub fn target_kind(&self) -> TargetKind {
        match self.task() {
            Task::Classification => TargetKind::Classes,
            Task::MultiLabel => TargetKind::Labels,
            Task::Regression => TargetKind::Values,
        }
    }

    /// The loss that is used when none is set: binary cross-entropy for two classes, cross-entropy for more, that of
    /// each label for labels, squared error for numbers.
    pub fn usual_loss(&self) -> LossKind {
        match self.target_kind() {
            TargetKind::Classes if self.classes().len() == 2 => LossKind::BinaryCrossEntropy,
            TargetKind::Classes => LossKind::CrossEntropy,
            TargetKind::Labels => LossKind::MultiLabel,
            TargetKind::Values => LossKind::SquaredError,
        }
    }

    /// The loss of the best constant prediction of the training part, in the unit of the validation loss: what a
    /// network has to beat.
    pub fn baseline_loss(&self, loss: Loss) -> f64 {
        let reading = Reading::new(self.preprocessing().target(), loss);
        let raw = reading.raw_targets(self.train().targets());
        let targets = raw.as_deref().map_or(self.train().targets(), Targets::Values);
        loss.baseline(targets, reading.outputs()) * reading.unit()
    }

    /// How many scores `loss` wants of a network for these data.
    pub(crate) fn outputs(&self, loss: Loss) -> Result<usize, LossError> {
        loss.outputs(self.target_kind(), self.preprocessing().target().width())
    }

    /// Whether `loss` can be used for these data.
    pub(crate) fn check_loss(&self, loss: Loss) -> Result<(), TargetError> {
        loss.check()?;
        self.outputs(loss)?;
        let reading = Reading::new(self.preprocessing().target(), loss);
        let counts = reading.raw_targets(self.train().targets()).unwrap_or_default();
        match counts.iter().find(|count| **count < 0.0) {
            Some(count) => Err(TargetError::NotACount { value: f64::from(*count) }),
            None => Ok(()),
        }
    }

    /// Whether a network takes these examples, and gives as many scores as its loss wants.
    pub(crate) fn check_network(&self, network: &Network) -> Result<(), TargetError> {
        let misfit = |part, found: String, wanted: String| Err(TargetError::Misfit { part, found, wanted });
        if network.inputs() != self.inputs() {
            let wanted = format!("the data have {} numbers an example", self.inputs());
            return misfit("takes inputs of shape", format!("{:?}", network.input), wanted);
        }
        let wanted = self.outputs(network.loss)?;
        let shapes = network.shapes().unwrap_or_default();
        let output = shapes.last().unwrap_or(&network.input);
        if *output != [wanted] {
            let what = format!("the loss `{}` needs {wanted} for these data", network.loss.kind());
            return misfit("gives scores of shape", format!("{output:?}"), what);
        }
        Ok(())
    }
}

/// How the scores of a network with one loss are read for one target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) loss: Loss,
    /// How many classes, labels or numbers there are.
    size: usize,
    /// Mean and deviation of each number that is predicted.
    scales: Vec<(f64, f64)>,
}

impl Reading {
    pub(crate) fn new(encoding: &TargetEncoding, loss: Loss) -> Self {
        let scales = match encoding {
            TargetEncoding::Classes { .. } | TargetEncoding::Labels { .. } => Vec::new(),
            TargetEncoding::Value { mean, deviation } => vec![(*mean, *deviation)],
            TargetEncoding::Values { means, deviations, .. } => {
                means.iter().copied().zip(deviations.iter().copied()).collect()
            }
        };
        Self { loss, size: encoding.width(), scales }
    }

    /// What is predicted.
    pub(crate) fn kind(&self) -> TargetKind {
        self.loss.target_kind()
    }

    /// Scores of an example.
    pub(crate) fn outputs(&self) -> usize {
        if self.loss.kind() == LossKind::BinaryCrossEntropy { 1 } else { self.size }
    }

    /// What turns the mean loss that an engine sees into that of the data. Several numbers have no unit in common:
    /// their loss stays that of the standardised numbers.
    pub(crate) fn unit(&self) -> f64 {
        match self.scales[..] {
            [(_, deviation)] => self.loss.unit(deviation),
            _ => 1.0,
        }
    }

    /// The targets as the data have them, for a loss that cannot take standardised ones; `None` if it can.
    pub(crate) fn raw_targets(&self, targets: Targets<'_>) -> Option<Vec<f32>> {
        match targets {
            Targets::Values(values) if self.loss.link() == Link::Exp => {
                // Back and forth through single precision a count of 0 may come out a little below it.
                let tidy =
                    |value: f64, deviation: f64| if value.abs() < 1e-6 * deviation { 0.0 } else { value };
                let scaled = values.iter().zip(self.scales.iter().cycle());
                Some(scaled.map(|(&v, &(mean, d))| tidy(f64::from(v) * d + mean, d) as f32).collect())
            }
            Targets::Values(_) | Targets::Classes(_) => None,
        }
    }

    /// The true numbers in the unit of the data.
    pub(crate) fn true_values(&self, values: &[f32]) -> Vec<f64> {
        values.iter().zip(self.scales.iter().cycle()).map(|(&v, (mean, d))| f64::from(v) * d + mean).collect()
    }

    /// Turns scores into predictions of the loss: probabilities, or numbers that may be standardised.
    pub(crate) fn apply_link(&self, arch: Arch, scores: &mut [f32]) {
        self.loss.link().apply(arch, scores, self.outputs());
    }

    /// Predicted numbers, after the link, in the unit of the data.
    pub(crate) fn predicted_values(&self, predictions: &[f32]) -> Vec<f64> {
        if self.loss.allows_standardising() {
            self.true_values(predictions)
        } else {
            predictions.iter().map(|&value| f64::from(value)).collect()
        }
    }
}

/// The probability of every class of an example, where the network may say only that of the second of two.
pub(crate) fn class_probabilities(predictions: &[f32]) -> Vec<f32> {
    match predictions {
        [second] => vec![1.0 - second, *second],
        all => all.to_vec(),
    }
}
