//! What a study is asked to do, resolved when it is created: nothing in it depends on a later default.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::metric::Metrics;
use crate::space::Space;

/// The version of the engine's decision rules that this code implements.
///
/// It changes whenever the same log prefix would lead to another decision; `verify` re-derives exactly only the
/// decisions of its own version.
pub const POLICY_VERSION: u32 = 1;

/// A study's specification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The study's name; no decision depends on it.
    pub name: Arc<str>,
    /// The seed of every random stream.
    pub seed: u64,
    /// The search space at the start.
    pub space: Space,
    /// What is measured.
    pub metrics: Metrics,
    /// Who proposes and who spends.
    pub policy: PolicySpec,
    /// When the study is done.
    #[serde(default)]
    pub limits: Limits,
    /// The largest step a trial can reach, where that is known; schedulers with rungs need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_budget: Option<u64>,
    /// Replicates (folds or seeds) per trial, at least 1.
    #[serde(default = "one")]
    pub replicates: u16,
    /// How often lost work is tried again before the trial fails, at least 1.
    #[serde(default = "three")]
    pub max_attempts: u32,
    /// A description of the objective and the fingerprints of its data; compared when a study is continued.
    #[serde(default)]
    pub objective: serde_json::Value,
}

fn one() -> u16 {
    1
}

fn three() -> u32 {
    3
}

impl Spec {
    /// A study of `space` with one objective, random search, no limit and seed 0.
    pub fn new(name: &str, space: Space, metrics: Metrics) -> Self {
        Self {
            name: name.into(),
            seed: 0,
            space,
            metrics,
            policy: PolicySpec::new("random", "run_all"),
            limits: Limits::default(),
            max_budget: None,
            replicates: 1,
            max_attempts: 3,
            objective: serde_json::Value::Null,
        }
    }
}

/// A named sampler or scheduler with its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name in the registry.
    pub name: Arc<str>,
    /// Its options; complete once the policy is resolved.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub options: serde_json::Map<String, serde_json::Value>,
}

impl Component {
    /// A component with default options.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), options: serde_json::Map::new() }
    }

    /// The same with one option set.
    pub fn with(mut self, option: &str, value: impl Into<serde_json::Value>) -> Self {
        self.options.insert(option.into(), value.into());
        self
    }
}

/// Who proposes params and who spends budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// Version of the decision rules, see [`POLICY_VERSION`].
    pub version: u32,
    /// Proposes params.
    pub sampler: Component,
    /// Gives budgets and verdicts.
    pub scheduler: Component,
}

impl PolicySpec {
    /// A sampler and a scheduler by name, with default options.
    pub fn new(sampler: &str, scheduler: &str) -> Self {
        Self {
            version: POLICY_VERSION,
            sampler: Component::named(sampler),
            scheduler: Component::named(scheduler),
        }
    }
}

/// When a study is done. All are totals over the study's life, whoever works on it and however often it continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Finished root trials, failed and pruned ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<u64>,
    /// Seconds of work, summed over workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Steps, summed over trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// A value of the first objective that is good enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Consecutive failed trials after which the study stops, so that a broken command does not burn the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u64>,
}
