//! How good a network is on some rows: losses and metrics from its outputs, in the units of the data. Works with
//! any engine and changes nothing.

use pulp::Arch;
use serde::{Deserialize, Serialize};

use crate::data::{Part, TargetEncoding};
use crate::engine::{Engine, Targets};
use crate::loss::Loss;
use crate::metrics::{Metric, Predicted, TargetKind, compute, predicted_class};
use crate::quality::Answers;
use crate::target::Reading;

/// Rows that are evaluated together. Fixed, because an output's last bits may depend on it.
pub(crate) const ROWS_AT_ONCE: usize = 256;

/// What was measured on one part of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows measured.
    pub rows: usize,
    /// Mean loss over the rows, each counting the same, without penalties and label smoothing, in the unit of the data:
    /// cross-entropies in nats, squared errors in squared units of the target. With several numbers to predict, that
    /// of the standardised numbers.
    pub loss: f64,
    /// The metrics that were asked for and have a value, in the order asked for.
    pub metrics: Vec<(Metric, f64)>,
    /// A sentence for each metric that has no value on these rows, or leaves something out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Evaluation {
    /// The value of a metric, if it was asked for and has one.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        self.metrics.iter().find(|(m, _)| *m == metric).map(|(_, value)| *value)
    }

    /// Named values, for example `[("loss", 0.2), ("accuracy", 0.95)]`.
    pub fn values(&self) -> Vec<(&'static str, f64)> {
        let metrics = self.metrics.iter().map(|(metric, value)| (metric.name(), *value));
        std::iter::once(("loss", self.loss)).chain(metrics).collect()
    }

    /// The metrics of each epoch unless more are asked for: cheap ones, for they are measured often.
    pub fn metrics_of_an_epoch(kind: TargetKind) -> &'static [Metric] {
        match kind {
            TargetKind::Classes => &[Metric::Accuracy, Metric::BalancedAccuracy, Metric::F1],
            TargetKind::Labels => &[Metric::Accuracy, Metric::SubsetAccuracy, Metric::F1],
            TargetKind::Values => &[Metric::Rmse, Metric::Mae, Metric::R2],
        }
    }

    /// The metrics of a last measurement: those of an epoch, then the usual ones.
    pub fn final_metrics(kind: TargetKind) -> Vec<Metric> {
        joined(Self::metrics_of_an_epoch(kind), Metric::defaults(kind))
    }
}

/// `first`, then those of `others` that are not among them.
pub(crate) fn joined(first: &[Metric], others: &[Metric]) -> Vec<Metric> {
    let mut all = first.to_vec();
    for metric in others {
        if !all.contains(metric) {
            all.push(*metric);
        }
    }
    all
}

/// Rows to measure: all of a part, or some.
#[derive(Clone, Copy)]
pub(crate) struct Selection<'a> {
    pub(crate) part: &'a Part,
    pub(crate) rows: Option<&'a [u32]>,
}

impl Selection<'_> {
    fn len(&self) -> usize {
        self.rows.map_or(self.part.len(), <[u32]>::len)
    }
}

impl<'a> From<&'a Part> for Selection<'a> {
    fn from(part: &'a Part) -> Self {
        Self { part, rows: None }
    }
}

/// Evaluates engines with buffers of its own, made once.
pub(crate) struct Evaluator {
    reading: Reading,
    /// Scores of all rows of a part.
    scores: Vec<f32>,
    /// Inputs of a block of rows that do not lie together.
    block: Vec<f32>,
}

impl Evaluator {
    /// For networks with `loss` on data with this target.
    pub(crate) fn new(encoding: &TargetEncoding, loss: Loss) -> Self {
        let reading = Reading::new(encoding, loss.with_label_smoothing(0.0));
        Self { reading, scores: Vec::new(), block: Vec::new() }
    }

    pub(crate) fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Measures `engine` on some rows, at least one.
    pub(crate) fn evaluate(
        &mut self,
        engine: &mut dyn Engine,
        measured: Selection<'_>,
        metrics: &[Metric],
    ) -> Evaluation {
        let rows = measured.len();
        self.predict(engine, measured);
        let chosen = Chosen::new(measured, rows);
        let reading = &self.reading;
        let arch = Arch::new();
        let raw = reading.raw_targets(chosen.targets());
        let targets = raw.as_deref().map_or(chosen.targets(), Targets::Values);
        let loss = reading.loss.value(arch, &self.scores, rows, targets, None) / rows as f64 * reading.unit();
        reading.apply_link(arch, &mut self.scores);
        let width = self.scores.len() / rows.max(1);
        let found = match (reading.kind(), chosen.targets()) {
            (TargetKind::Classes, Targets::Classes(truth)) => {
                compute(metrics, Predicted::Classes { probabilities: &self.scores, width, truth })
            }
            (TargetKind::Labels, Targets::Values(truth)) => {
                compute(metrics, Predicted::Labels { probabilities: &self.scores, width, truth })
            }
            (TargetKind::Values, Targets::Values(values)) => {
                let (predicted, truth) =
                    (reading.predicted_values(&self.scores), reading.true_values(values));
                compute(metrics, Predicted::Values { predicted: &predicted, width, truth: &truth })
            }
            (kind, _) => unreachable!("the data hold other targets than {kind}"),
        };
        Evaluation { rows, loss, metrics: found.values, notes: found.notes }
    }

    /// What `engine` says about examples, as replicates are compared by it ([`crate::Quality`]): class numbers, whether
    /// each label holds, or numbers in the target's unit.
    pub(crate) fn answers(&mut self, engine: &mut dyn Engine, inputs: &[f32], rows: usize) -> Answers {
        let (mut classes, mut values) = (Vec::new(), Vec::new());
        self.each_block(engine, inputs, rows, |reading, block| match reading.kind() {
            TargetKind::Classes => {
                classes.extend(block.chunks_exact(reading.outputs()).map(|row| predicted_class(row) as u32));
            }
            TargetKind::Labels => classes.extend(block.iter().map(|p| u32::from(*p > 0.5))),
            TargetKind::Values => values.extend(reading.predicted_values(block)),
        });
        match self.reading.kind() {
            TargetKind::Values => Answers::Values(values),
            TargetKind::Classes | TargetKind::Labels => Answers::Classes(classes),
        }
    }

    /// Calls `use_predictions` with what the network says of successive blocks of rows, after the link.
    pub(crate) fn each_block(
        &mut self,
        engine: &mut dyn Engine,
        inputs: &[f32],
        rows: usize,
        mut use_predictions: impl FnMut(&Reading, &[f32]),
    ) {
        let width = inputs.len() / rows.max(1);
        let mut scores = std::mem::take(&mut self.scores);
        for first in (0..rows).step_by(ROWS_AT_ONCE) {
            let count = ROWS_AT_ONCE.min(rows - first);
            scores.resize(count * self.reading.outputs(), 0.0);
            engine.predict(&inputs[first * width..(first + count) * width], count, &mut scores);
            self.reading.apply_link(Arch::new(), &mut scores);
            use_predictions(&self.reading, &scores);
        }
        self.scores = scores;
    }

    /// Fills `scores`.
    fn predict(&mut self, engine: &mut dyn Engine, measured: Selection<'_>) {
        let (rows, outputs) = (measured.len(), self.reading.outputs());
        let inputs = measured.part.inputs();
        let width = inputs.len() / measured.part.len().max(1);
        self.scores.resize(rows * outputs, 0.0);
        for first in (0..rows).step_by(ROWS_AT_ONCE) {
            let count = ROWS_AT_ONCE.min(rows - first);
            let block = match measured.rows {
                None => &inputs[first * width..(first + count) * width],
                Some(chosen) => {
                    self.block.clear();
                    for &row in &chosen[first..first + count] {
                        self.block.extend_from_slice(&inputs[row as usize * width..][..width]);
                    }
                    &self.block
                }
            };
            engine.predict(block, count, &mut self.scores[first * outputs..(first + count) * outputs]);
        }
    }
}

/// The targets of the rows that are measured.
enum Chosen<'a> {
    All(Targets<'a>),
    Classes(Vec<u32>),
    Values(Vec<f32>),
}

impl<'a> Chosen<'a> {
    fn new(measured: Selection<'a>, rows: usize) -> Self {
        let targets = measured.part.targets();
        match (measured.rows, targets) {
            (None, targets) => Self::All(targets),
            (Some(chosen), Targets::Classes(classes)) => {
                Self::Classes(chosen.iter().map(|&row| classes[row as usize]).collect())
            }
            (Some(chosen), Targets::Values(values)) => {
                let width = values.len() / measured.part.len().max(1);
                let mut targets = Vec::with_capacity(rows * width);
                for &row in chosen {
                    targets.extend_from_slice(&values[row as usize * width..][..width]);
                }
                Self::Values(targets)
            }
        }
    }

    fn targets(&self) -> Targets<'_> {
        match self {
            Self::All(targets) => *targets,
            Self::Classes(classes) => Targets::Classes(classes),
            Self::Values(values) => Targets::Values(values),
        }
    }
}
