//! How good a network is on some rows: losses and metrics from its outputs, in the units of the data. Works with
//! any engine and changes nothing.

use pulp::Arch;
use serde::{Deserialize, Serialize};

use crate::data::{Part, TargetEncoding};
use crate::engine::{Engine, Targets};
use crate::loss::Loss;

/// Rows that are evaluated together. Fixed, because an output's last bits may depend on it.
pub(crate) const ROWS_AT_ONCE: usize = 256;

/// What was measured on one part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows measured.
    pub rows: usize,
    /// Mean loss without penalties: cross-entropy in nats, or squared error in squared units of the target.
    pub loss: f64,
    /// What the task is judged by.
    pub metrics: Metrics,
}

/// Metrics of a task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metrics {
    /// For classes.
    Classification {
        /// Fraction of rows whose highest score is the right class (the first of equal ones counts).
        accuracy: f64,
    },
    /// For numbers.
    Regression {
        /// Root mean squared error, in units of the target.
        rmse: f64,
        /// 1 − squared error / squared deviation from these rows' mean; `None` if the target is constant here.
        r2: Option<f64>,
    },
}

impl Evaluation {
    /// Named values, for example `[("loss", 0.2), ("accuracy", 0.95)]`.
    pub fn values(&self) -> Vec<(&'static str, f64)> {
        let mut values = vec![("loss", self.loss)];
        match self.metrics {
            Metrics::Classification { accuracy } => values.push(("accuracy", accuracy)),
            Metrics::Regression { rmse, r2 } => {
                values.push(("rmse", rmse));
                values.extend(r2.map(|r2| ("r2", r2)));
            }
        }
        values
    }
}

/// Evaluates engines with a buffer of its own, made once.
pub(crate) struct Evaluator {
    outputs: usize,
    scores: Vec<f32>,
}

impl Evaluator {
    pub(crate) fn new(outputs: usize) -> Self {
        Self { outputs, scores: vec![0.0; ROWS_AT_ONCE * outputs] }
    }

    /// Measures `engine` on `part`, which must not be empty.
    pub(crate) fn evaluate(
        &mut self,
        engine: &mut dyn Engine,
        part: &Part,
        encoding: &TargetEncoding,
    ) -> Evaluation {
        match (part.targets(), encoding) {
            (Targets::Classes(classes), _) => self.classification(engine, part.inputs(), classes),
            (Targets::Values(values), TargetEncoding::Value { deviation, .. }) => {
                self.regression(engine, part.inputs(), values, *deviation)
            }
            (Targets::Values(values), TargetEncoding::Values { .. }) => {
                let loss = self.mean_loss(engine, part, values, Loss::SquaredError, |_, _| ());
                Evaluation {
                    rows: part.len(),
                    loss,
                    metrics: Metrics::Regression { rmse: loss.sqrt(), r2: None },
                }
            }
            (Targets::Values(values), TargetEncoding::Labels { .. }) => {
                let mut right = 0usize;
                let loss = Loss::MultiLabel { label_smoothing: 0.0 };
                let loss = self.mean_loss(engine, part, values, loss, |scores, flags| {
                    right += scores
                        .iter()
                        .zip(flags)
                        .filter(|(score, flag)| (**score >= 0.0) == (**flag == 1.0))
                        .count();
                });
                let metrics = Metrics::Classification { accuracy: right as f64 / values.len() as f64 };
                Evaluation { rows: part.len(), loss, metrics }
            }
            (Targets::Values(_), TargetEncoding::Classes { .. }) => {
                unreachable!("values are never encoded as classes")
            }
        }
    }

    /// Calls `use_scores(row, scores)` with the outputs of successive blocks of rows.
    pub(crate) fn each_block(
        &mut self,
        engine: &mut dyn Engine,
        inputs: &[f32],
        rows: usize,
        mut use_scores: impl FnMut(usize, &mut [f32]),
    ) {
        let width = inputs.len() / rows.max(1);
        for first in (0..rows).step_by(ROWS_AT_ONCE) {
            let count = ROWS_AT_ONCE.min(rows - first);
            let scores = &mut self.scores[..count * self.outputs];
            engine.predict(&inputs[first * width..(first + count) * width], count, scores);
            use_scores(first, scores);
        }
    }

    /// Mean loss over rows that have several targets; `see` gets each block's scores and targets.
    fn mean_loss(
        &mut self,
        engine: &mut dyn Engine,
        part: &Part,
        values: &[f32],
        loss: Loss,
        mut see: impl FnMut(&[f32], &[f32]),
    ) -> f64 {
        let (mut sum, width) = (0.0, self.outputs);
        self.each_block(engine, part.inputs(), part.len(), |first, scores| {
            let wanted = &values[first * width..first * width + scores.len()];
            see(scores, wanted);
            sum += loss.value(Arch::new(), scores, scores.len() / width, Targets::Values(wanted), None);
        });
        sum / part.len() as f64
    }

    fn classification(&mut self, engine: &mut dyn Engine, inputs: &[f32], classes: &[u32]) -> Evaluation {
        let (arch, width) = (Arch::new(), self.outputs);
        let (mut loss, mut right) = (0.0, 0usize);
        self.each_block(engine, inputs, classes.len(), |first, scores| {
            let classes = &classes[first..first + scores.len() / width];
            right += scores
                .chunks_exact(width)
                .zip(classes)
                .filter(|(row, c)| largest(row) == **c as usize)
                .count();
            loss += Loss::CROSS_ENTROPY.value(arch, scores, classes.len(), Targets::Classes(classes), None);
        });
        let rows = classes.len();
        let metrics = Metrics::Classification { accuracy: right as f64 / rows as f64 };
        Evaluation { rows, loss: loss / rows as f64, metrics }
    }

    fn regression(
        &mut self,
        engine: &mut dyn Engine,
        inputs: &[f32],
        values: &[f32],
        deviation: f64,
    ) -> Evaluation {
        let mut squares = 0.0;
        self.each_block(engine, inputs, values.len(), |first, outputs| {
            squares += Loss::SquaredError.value(
                Arch::new(),
                outputs,
                outputs.len(),
                Targets::Values(&values[first..first + outputs.len()]),
                None,
            );
        });
        let rows = values.len();
        let mean = values.iter().map(|&y| f64::from(y)).sum::<f64>() / rows as f64;
        let spread = values.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>();
        let loss = squares / rows as f64 * deviation * deviation;
        let r2 = (spread > 0.0).then(|| 1.0 - squares / spread);
        Evaluation { rows, loss, metrics: Metrics::Regression { rmse: loss.sqrt(), r2 } }
    }
}

/// Index of the largest value, the first of equal ones.
pub(crate) fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
