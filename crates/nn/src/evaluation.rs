//! How good a network is on some rows: its loss and its metrics, in the units of the data. Scores of a part are made
//! once, whatever is asked of them. Works with any engine and changes nothing.

use pulp::Arch;
use serde::{Deserialize, Serialize};

use crate::data::{Part, TargetEncoding};
use crate::engine::{Engine, Targets};
use crate::loss::Loss;
use crate::metrics::{Metric, Predicted, TargetKind, compute, predicted_class};
use crate::network::Network;
use crate::quality::Answers;

/// Rows that are evaluated together. Fixed, because an output's last bits may depend on it.
pub(crate) const ROWS_AT_ONCE: usize = 256;

/// What was measured on one part of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows measured.
    pub rows: usize,
    /// Mean of the network's loss over the rows, in the target's units, without penalties, weights and label smoothing,
    /// so that runs that differ in these can be compared.
    pub loss: f64,
    /// The metrics that have a value on these rows.
    pub metrics: Vec<(Metric, f64)>,
    /// A sentence for each metric that has none, or that leaves something out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Evaluation {
    /// Named values, for example `[("loss", 0.2), ("accuracy", 0.95)]`.
    pub fn values(&self) -> Vec<(&'static str, f64)> {
        let metrics = self.metrics.iter().map(|(metric, value)| (metric.name(), *value));
        std::iter::once(("loss", self.loss)).chain(metrics).collect()
    }

    /// The value of a metric, if it was measured and has one.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        self.metrics.iter().find(|(m, _)| *m == metric).map(|(_, value)| *value)
    }

    /// The metrics of each epoch unless others are asked for: cheap ones, for they are measured often.
    pub fn metrics_of_an_epoch(kind: TargetKind) -> &'static [Metric] {
        match kind {
            TargetKind::Classes => &[Metric::Accuracy],
            TargetKind::Labels => &[Metric::F1, Metric::SubsetAccuracy],
            TargetKind::Values => &[Metric::Rmse, Metric::R2],
        }
    }
}

/// Evaluates engines of one network with buffers of its own.
pub(crate) struct Evaluator {
    outputs: usize,
    /// Without label smoothing.
    loss: Loss,
    metrics: Vec<Metric>,
    /// Scores of one block of rows.
    scores: Vec<f32>,
    /// Scores of a whole part, then its predictions.
    all: Vec<f32>,
}

impl Evaluator {
    /// For engines that hold `network`, with the metrics of an epoch.
    pub(crate) fn new(network: &Network) -> Self {
        let outputs = network.outputs();
        let kind = network.loss.target_kind();
        Self {
            outputs,
            loss: network.loss.with_label_smoothing(0.0),
            metrics: Evaluation::metrics_of_an_epoch(kind).to_vec(),
            scores: vec![0.0; ROWS_AT_ONCE * outputs],
            all: Vec::new(),
        }
    }

    /// Measures `engine` on `part`, which must not be empty.
    pub(crate) fn evaluate(
        &mut self,
        engine: &mut dyn Engine,
        part: &Part,
        encoding: &TargetEncoding,
    ) -> Evaluation {
        let (arch, rows, targets) = (Arch::new(), part.len(), part.targets());
        self.collect(engine, part.inputs(), rows);
        let sum = self.loss.value(arch, &self.all, rows, targets, None);
        let (mean, deviation) = unit(encoding);
        let loss = sum / rows as f64 * self.loss.unit(deviation);
        self.loss.link().apply(arch, &mut self.all, self.outputs);
        let in_unit = |values: &[f32]| -> Vec<f64> {
            values.iter().map(|&value| f64::from(value) * deviation + mean).collect()
        };
        let width = self.outputs;
        let measured = match (self.loss.target_kind(), targets) {
            (TargetKind::Classes, Targets::Classes(truth)) => {
                compute(&self.metrics, Predicted::Classes { probabilities: &self.all, width, truth })
            }
            (TargetKind::Labels, Targets::Values(truth)) => {
                compute(&self.metrics, Predicted::Labels { probabilities: &self.all, width, truth })
            }
            (TargetKind::Values, Targets::Values(truth)) => {
                let (predicted, truth) = (in_unit(&self.all), in_unit(truth));
                compute(&self.metrics, Predicted::Values { predicted: &predicted, width, truth: &truth })
            }
            (kind, _) => unreachable!("a network whose loss is for {kind} was given other targets"),
        };
        Evaluation { rows, loss, metrics: measured.values, notes: measured.notes }
    }

    /// What `engine` says about rows, as replicates are compared by it ([`crate::Quality`]).
    pub(crate) fn answers(
        &mut self,
        engine: &mut dyn Engine,
        inputs: &[f32],
        rows: usize,
        encoding: &TargetEncoding,
    ) -> Answers {
        self.collect(engine, inputs, rows);
        self.loss.link().apply(Arch::new(), &mut self.all, self.outputs);
        match self.loss.target_kind() {
            TargetKind::Classes => {
                let class = |row| predicted_class(row) as u32;
                Answers::Classes(self.all.chunks_exact(self.outputs).map(class).collect())
            }
            TargetKind::Labels => Answers::Classes(self.all.iter().map(|p| u32::from(*p > 0.5)).collect()),
            TargetKind::Values => {
                let (mean, deviation) = unit(encoding);
                Answers::Values(self.all.iter().map(|&y| f64::from(y) * deviation + mean).collect())
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

    /// Leaves the scores of all rows in `all`.
    fn collect(&mut self, engine: &mut dyn Engine, inputs: &[f32], rows: usize) {
        let mut all = std::mem::take(&mut self.all);
        all.clear();
        self.each_block(engine, inputs, rows, |_, scores| all.extend_from_slice(scores));
        self.all = all;
    }
}

/// Mean and deviation that a number was standardised with. Several numbers have different units: they stay as they are.
fn unit(encoding: &TargetEncoding) -> (f64, f64) {
    match encoding {
        TargetEncoding::Classes { .. } | TargetEncoding::Labels { .. } | TargetEncoding::Values { .. } => {
            (0.0, 1.0)
        }
        TargetEncoding::Value { mean, deviation } => (*mean, *deviation),
    }
}
