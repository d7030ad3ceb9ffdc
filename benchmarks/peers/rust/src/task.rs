//! A tuning task as the benchmark's loop describes it; see `benchmarks/suite/problems/space.py`.

use serde::Deserialize;

/// A value for each parameter of the space, in order; `None` where it is inactive. Choices and levels are their index.
pub type Point = Vec<Option<f64>>;

#[derive(Deserialize)]
pub struct Task {
    pub package: String,
    pub variant: String,
    pub seed: u64,
    pub trials: usize,
    pub space: Vec<Parameter>,
}

#[derive(Deserialize)]
pub struct Parameter {
    pub kind: Kind,
    /// Ends of the range, both inside it; for choices and levels the first and last index.
    pub low: f64,
    pub high: f64,
    #[serde(default)]
    pub log: bool,
    /// (place of the parent in the space, indices of the values under which this one exists).
    #[serde(default)]
    pub condition: Option<(usize, Vec<f64>)>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Float,
    Int,
    Categorical,
    Ordinal,
}

impl Parameter {
    pub fn is_active(&self, before: &[Option<f64>]) -> bool {
        match &self.condition {
            None => true,
            Some((parent, values)) => before[*parent].is_some_and(|value| values.contains(&value)),
        }
    }
}
