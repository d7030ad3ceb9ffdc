//! What a network's scores stand for: which losses fit a target, how many scores they want, and how scores become
//! predictions in the unit of the data. The only place that knows both targets and losses.

use pulp::Arch;

use crate::data::{Problem, TargetEncoding};
use crate::engine::Targets;
use crate::loss::{Link, Loss, LossError, LossKind};
use crate::metrics::TargetKind;
use crate::network::Network;

/// A target that a loss cannot be used for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// The loss is for another kind of target.
    #[error("the loss `{loss}` does not fit `{target}`, which is {kind}: use one of {fitting}, or none to have it chosen")]
    Loss {
        /// The loss.
        loss: LossKind,
        /// The target's column.
        target: String,
        /// What the target is.
        kind: String,
        /// The losses that fit.
        fitting: String,
    },
    /// A parameter of the loss.
    #[error(transparent)]
    Parameter(#[from] LossError),
    /// Counts that are negative.
    #[error("the loss `poisson` is for counts, but `{target}` has the value {value}: use `squared_error`")]
    NotACount {
        /// The target's column.
        target: String,
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
        kind_of(self.preprocessing().target())
    }

    /// The loss that is used when none is set: binary cross-entropy for two classes, cross-entropy for more, squared
    /// error for numbers.
    pub fn usual_loss(&self) -> LossKind {
        match self.preprocessing().target() {
            TargetEncoding::Classes { names } if names.len() == 2 => LossKind::BinaryCrossEntropy,
            TargetEncoding::Classes { .. } => LossKind::CrossEntropy,
            TargetEncoding::Value { .. } => LossKind::SquaredError,
        }
    }

    /// The loss of the best constant prediction on the training part: for classes the entropy of their shares, for
    /// squared error the variance. `None` for other losses, and for several numbers.
    pub fn baseline_loss(&self, loss: Loss) -> Option<f64> {
        match (self.train().targets(), self.preprocessing().target()) {
            (Targets::Classes(classes), _) => Some(entropy(classes, self.classes().len())),
            (Targets::Values(_), TargetEncoding::Value { deviation, .. })
                if loss.kind() == LossKind::SquaredError =>
            {
                Some(deviation * deviation)
            }
            (Targets::Values(_), _) => None,
        }
    }

    /// How many scores `loss` wants of a network for these data.
    pub(crate) fn outputs(&self, loss: Loss) -> usize {
        Reading::new(self.preprocessing().target(), loss).outputs()
    }

    /// Whether `loss` can be used for these data.
    pub(crate) fn check_loss(&self, loss: Loss) -> Result<(), TargetError> {
        loss.check()?;
        let encoding = self.preprocessing().target();
        let target = || self.preprocessing().target_name().to_owned();
        let fitting = fitting(encoding);
        if !fitting.contains(&loss.kind()) {
            let kind = match encoding {
                TargetEncoding::Classes { names } => format!("one of {} classes", names.len()),
                TargetEncoding::Value { .. } => "a number".to_owned(),
            };
            let fitting = fitting.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
            return Err(TargetError::Loss { loss: loss.kind(), target: target(), kind, fitting });
        }
        if loss.link() == Link::Exp
            && let Some(values) = Reading::new(encoding, loss).raw_targets(self.train().targets())
            && let Some(value) = values.iter().find(|value| **value < 0.0)
        {
            return Err(TargetError::NotACount { target: target(), value: f64::from(*value) });
        }
        Ok(())
    }

    /// Whether a network takes these rows, and gives as many scores as its loss wants.
    pub(crate) fn check_network(&self, network: &Network) -> Result<(), TargetError> {
        let misfit = |part, found: String, wanted: String| Err(TargetError::Misfit { part, found, wanted });
        if network.inputs() != self.inputs() {
            let wanted = format!("the data have {} numbers a row", self.inputs());
            return misfit("takes inputs of shape", format!("{:?}", network.input), wanted);
        }
        let wanted = self.outputs(network.loss);
        let shapes = network.shapes().unwrap_or_default();
        let output = shapes.last().unwrap_or(&network.input);
        if *output != [wanted] {
            let what = format!("the loss `{}` needs {wanted} for these data", network.loss.kind());
            return misfit("gives scores of shape", format!("{output:?}"), what);
        }
        Ok(())
    }
}

/// −Σ pₖ ln pₖ of the classes' shares, in nats.
fn entropy(classes: &[u32], count: usize) -> f64 {
    let mut of_class = vec![0u32; count];
    for &class in classes {
        of_class[class as usize] += 1;
    }
    let shares = of_class.iter().filter(|&&n| n > 0).map(|&n| f64::from(n) / classes.len() as f64);
    -shares.map(|share| share * share.ln()).sum::<f64>()
}

fn kind_of(encoding: &TargetEncoding) -> TargetKind {
    match encoding {
        TargetEncoding::Classes { .. } => TargetKind::Classes,
        TargetEncoding::Value { .. } => TargetKind::Values,
    }
}

/// The losses that can be used for a target.
fn fitting(encoding: &TargetEncoding) -> &'static [LossKind] {
    match encoding {
        TargetEncoding::Classes { names } if names.len() == 2 => {
            &[LossKind::BinaryCrossEntropy, LossKind::CrossEntropy]
        }
        TargetEncoding::Classes { .. } => &[LossKind::CrossEntropy],
        TargetEncoding::Value { .. } => {
            &[LossKind::SquaredError, LossKind::AbsoluteError, LossKind::Huber, LossKind::Poisson]
        }
    }
}

/// How the scores of a network with one loss are read for one target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) kind: TargetKind,
    pub(crate) loss: Loss,
    /// Number of classes; 0 for numbers.
    classes: usize,
    /// Mean and deviation of each number that is predicted.
    scales: Vec<(f64, f64)>,
}

impl Reading {
    pub(crate) fn new(encoding: &TargetEncoding, loss: Loss) -> Self {
        let (classes, scales) = match encoding {
            TargetEncoding::Classes { names } => (names.len(), Vec::new()),
            TargetEncoding::Value { mean, deviation } => (0, vec![(*mean, *deviation)]),
        };
        Self { kind: kind_of(encoding), loss, classes, scales }
    }

    /// Scores per row.
    pub(crate) fn outputs(&self) -> usize {
        match (self.kind, self.loss.link()) {
            (TargetKind::Classes, Link::Softmax) => self.classes,
            (TargetKind::Classes, _) => 1,
            (TargetKind::Labels | TargetKind::Values, _) => self.scales.len(),
        }
    }

    /// What turns the mean loss that an engine sees into that of the data. Several numbers have no unit in common:
    /// their loss stays that of the standardised numbers.
    pub(crate) fn unit(&self) -> f64 {
        match self.scales[..] {
            [(_, deviation)] if self.kind == TargetKind::Values => self.loss.unit(deviation),
            _ => 1.0,
        }
    }

    /// The targets as the data have them, for a loss that cannot take standardised ones; `None` if it can.
    pub(crate) fn raw_targets(&self, targets: Targets<'_>) -> Option<Vec<f32>> {
        match targets {
            Targets::Values(values) if self.kind == TargetKind::Values && !self.loss.allows_standardising() => {
                // Back and forth through single precision a count of 0 may come out a little below it.
                let tidy = |(value, deviation): (f64, f64)| if value.abs() < 1e-6 * deviation { 0.0 } else { value };
                let scaled = values.iter().zip(self.scales.iter().cycle());
                Some(scaled.map(|(&v, &(m, d))| tidy((f64::from(v) * d + m, d)) as f32).collect())
            }
            Targets::Values(_) | Targets::Classes(_) => None,
        }
    }

    /// The true numbers in the unit of the data.
    pub(crate) fn true_values(&self, values: &[f32]) -> Vec<f64> {
        values.iter().zip(self.scales.iter().cycle()).map(|(&v, (m, d))| f64::from(v) * d + m).collect()
    }

    /// Turns scores into predictions of the loss: probabilities, or numbers that may be standardised.
    pub(crate) fn apply_link(&self, arch: Arch, scores: &mut [f32]) {
        self.loss.link().apply(arch, scores, self.outputs().max(1));
    }

    /// Predicted numbers, after the link, in the unit of the data.
    pub(crate) fn predicted_values(&self, predictions: &[f32]) -> Vec<f64> {
        if self.loss.allows_standardising() {
            self.true_values(predictions)
        } else {
            predictions.iter().map(|&value| f64::from(value)).collect()
        }
    }

    /// The probability of every class of a row, where the network may say only that of the second of two.
    pub(crate) fn class_probabilities(&self, predictions: &[f32]) -> Vec<f32> {
        match predictions {
            [second] if self.classes == 2 => vec![1.0 - second, *second],
            all => all.to_vec(),
        }
    }
}
