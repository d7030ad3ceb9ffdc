//! What is measured and which way is better. Direction and non-finite values are settled here, once, where a
//! value enters; inside, everything is a finite *loss*, smaller is better.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Which way is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Smaller is better.
    #[default]
    Minimize,
    /// Larger is better.
    Maximize,
}

impl Direction {
    /// Turns a value so that smaller is better; the same call turns it back.
    pub fn turn(self, value: f64) -> f64 {
        match self {
            Self::Minimize => value,
            Self::Maximize => -value,
        }
    }
}

/// An objective's metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The name under which the objective reports it.
    pub name: Arc<str>,
    /// Which way is better.
    #[serde(default)]
    pub direction: Direction,
}

/// Which value of a learning curve stands for the trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CurveValue {
    /// The one at the last step.
    #[default]
    Last,
    /// The best of all steps.
    Best,
}

/// Everything a study measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// What is optimised; at least one.
    pub objectives: Vec<Metric>,
    /// Metrics that must be ≤ 0 for a trial to be feasible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Arc<str>>,
    /// What one step is: `epoch`, `tree`, `batch`; for display.
    #[serde(default = "step_unit")]
    pub step: Arc<str>,
    /// Which value of a curve counts.
    #[serde(default)]
    pub curve: CurveValue,
}

fn step_unit() -> Arc<str> {
    "step".into()
}

impl Metrics {
    /// One objective.
    pub fn single(name: &str, direction: Direction) -> Self {
        Self {
            objectives: vec![Metric { name: name.into(), direction }],
            constraints: Vec::new(),
            step: step_unit(),
            curve: CurveValue::Last,
        }
    }

    /// The index of objective `name`.
    pub fn objective(&self, name: &str) -> Option<usize> {
        self.objectives.iter().position(|metric| &*metric.name == name)
    }
}

/// The standard deviation of normal numbers, by the median of how far they are from their mean.
pub(crate) const DEVIATION_BY_MEDIAN: f64 = 1.4826;

/// The middle of some values, or between the two in the middle; there must be one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    f64::midpoint(values[(n - 1) / 2], values[n / 2])
}
