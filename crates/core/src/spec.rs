//! What a study is asked to do, resolved when it is created: nothing in it depends on a later default.

use std::fmt;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metric::Metrics;
use crate::rng::{Purpose, Rng};
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
    /// What tells replicates apart, where the study says so; else they are repetitions with numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub design: Option<Design>,
    /// How many workers may be lost with a piece of work that comes no further in between, before its trial fails; at least 1.
    #[serde(default = "three")]
    pub max_attempts: u32,
    /// A description of the objective and the fingerprints of its data; compared when a study is continued.
    #[serde(default)]
    pub objective: Value,
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
            design: None,
            max_attempts: 3,
            objective: Value::Null,
        }
    }

    /// The same with the replicates of a design.
    pub fn with_design(mut self, design: Design) -> Self {
        self.replicates = design.replicates();
        self.design = Some(design);
        self
    }

    /// Whether each trial is one piece of work, without replicates.
    pub fn runs_once(&self) -> bool {
        self.replicates < 2 && self.confirmations() == 0
    }

    /// Replicates beyond [`Spec::replicates`], numbered after them, that run only to measure a finished trial again.
    pub fn confirmations(&self) -> u16 {
        self.design.map_or(0, Design::confirmations)
    }

    /// The place of a replicate: its fold and its seed. Without a design, each is a fold of its own.
    pub fn place(&self, replicate: u16) -> Place {
        match self.design {
            Some(design) => design.place(replicate),
            None => Place { fold: replicate, folds: self.replicates.max(1), seed: None },
        }
    }

    /// The number that replicates of this seed are to draw by, below 2³¹; the same for all trials and folds.
    pub fn seed_number(&self, seed: u16) -> u64 {
        // No trial has this number.
        Rng::stream(self.seed, u64::MAX, Purpose::Objective, u64::from(seed)).bits() >> 33
    }
}

/// How the replicates of a trial differ: by fold and by seed. Replicate r is fold r mod `folds` under seed r div `folds`.
/// Folds and seeds are the same for all trials, which can so be compared pair by pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// Folds of cross-validation, from 1, which is none.
    #[serde(default = "one")]
    pub folds: u16,
    /// How often all folds are run, each time from another seed; from 1.
    #[serde(default = "one")]
    pub seeds: u16,
    /// Further seeds, by which only finished trials that may be the best are measured again; from 0.
    #[serde(default, skip_serializing_if = "is_none")]
    pub confirm: u16,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_none(count: &u16) -> bool {
    *count == 0
}

/// Which fold and which seed a replicate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The fold, from 0.
    pub fold: u16,
    /// How many folds there are, from 1.
    pub folds: u16,
    /// The seed, from 0; none where the study does not name seeds.
    pub seed: Option<u16>,
}

impl Design {
    /// Replicates by which trials are compared.
    pub fn replicates(self) -> u16 {
        self.folds.saturating_mul(self.seeds)
    }

    /// Replicates by which a finished trial is measured again.
    pub fn confirmations(self) -> u16 {
        self.folds.saturating_mul(self.confirm)
    }

    /// The place of a replicate.
    pub fn place(self, replicate: u16) -> Place {
        let folds = self.folds.max(1);
        Place { fold: replicate % folds, folds, seed: Some(replicate / folds) }
    }

    /// What is wrong with the numbers, if anything is.
    pub fn check(self) -> Result<(), String> {
        if self.folds == 0 || self.seeds == 0 {
            return Err("folds and seeds of replicates are whole numbers from 1".into());
        }
        let all = u32::from(self.folds) * (u32::from(self.seeds) + u32::from(self.confirm));
        if all > u32::from(u16::MAX) {
            return Err(format!("{all} replicates of a trial are more than {}", u16::MAX));
        }
        if self.replicates() == 1 {
            return Err("one fold and one seed are no replicates; give folds or seeds from 2".into());
        }
        Ok(())
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
    pub options: serde_json::Map<String, Value>,
}

impl Component {
    /// A component with default options.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), options: serde_json::Map::new() }
    }

    /// Reads it as users write it: a name, or a table of `name` and the options. An error says what is there instead.
    pub fn from_written(value: Value) -> Result<Self, String> {
        match value {
            Value::String(name) => Ok(Self::named(&name)),
            Value::Object(mut options) => match options.remove("name") {
                Some(Value::String(name)) => Ok(Self { name: name.into(), options }),
                Some(other) => Err(format!("name = {other}, but a name is text")),
                None => Err("a table without a name".into()),
            },
            other => Err(format!("{other} is neither a name nor a table with a name and options")),
        }
    }

    /// The table that [`Component::from_written`] reads.
    pub fn into_table(self) -> Value {
        let mut table = self.options;
        table.insert("name".into(), (*self.name).into());
        Value::Object(table)
    }

    /// The same with one option set.
    pub fn with(mut self, option: &str, value: impl Into<Value>) -> Self {
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
    /// Ends the study when more trials would hardly gain anything; `true` stands for [`Convergence::default`].
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub converged: Option<Convergence>,
}

impl Limits {
    /// What is wrong with the numbers, if anything is.
    pub fn check(&self) -> Result<(), String> {
        self.converged.map_or(Ok(()), Convergence::check)
    }
}

/// `true`, `false`, or a table.
fn or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Convergence>, D::Error> {
    deserializer.deserialize_any(ConvergenceForm)
}

/// Reads what [`or_default`] does; what is wrong within a table is told of its key.
struct ConvergenceForm;

impl<'de> Visitor<'de> for ConvergenceForm {
    type Value = Option<Convergence>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or a table with epsilon, share, chance, trials, patience and min_trials")
    }

    fn visit_bool<E>(self, is_asked: bool) -> Result<Self::Value, E> {
        Ok(is_asked.then(Convergence::default))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
        Convergence::deserialize(MapAccessDeserializer::new(table)).map(Some)
    }
}

/// When a study counts as converged: [`crate::convergence`] says how its chance is reckoned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Convergence {
    /// What counts as a gain, in units of the metric, from 0; if not given, `share` says it. Gains below the standard error of the best
    /// trial never count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// What counts as a gain, as a share of what has been gained so far over the median of the first twenty values, or of what the
    /// first twenty trials had reached when they stopped where fewer than five have completed; above 0, by default 0.01.
    pub share: f64,
    /// The study ends when the chance of a gain is smaller than this; from 0, which leaves it to `patience`, to below 1; by default 0.1.
    pub chance: f64,
    /// Within how many further trials; from 1, by default 50.
    pub trials: u64,
    /// The study also ends when so many trials in a row have brought no gain; from 1, by default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// It never ends before so many trials have stopped, for now or for good, in all and since the space or the policy was changed; by default 20.
    pub min_trials: u64,
}

impl Default for Convergence {
    fn default() -> Self {
        Self { epsilon: None, share: 0.01, chance: 0.1, trials: 50, patience: None, min_trials: 20 }
    }
}

impl Convergence {
    /// What is wrong with the numbers, if anything is.
    pub fn check(self) -> Result<(), String> {
        if self.epsilon.is_some_and(|epsilon| !(epsilon.is_finite() && epsilon >= 0.0)) {
            return Err("epsilon of converged, a gain in units of the metric, must be a number from 0".into());
        }
        if !(self.share.is_finite() && self.share > 0.0) {
            return Err("share of converged, a gain as a share of that so far, must be a number above 0, such as 0.01".into());
        }
        if !(0.0..1.0).contains(&self.chance) {
            return Err("chance of converged must be from 0 to below 1, such as 0.1".into());
        }
        if self.trials == 0 || self.patience == Some(0) {
            return Err("trials and patience of converged are whole numbers from 1".into());
        }
        if self.chance == 0.0 && self.patience.is_none() {
            return Err("with chance = 0 and no patience a study never converges; give one of them".into());
        }
        Ok(())
    }
}
