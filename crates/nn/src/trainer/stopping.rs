//! Early stopping: watches rows split off from the training part, and says when the best epoch lies too far back. It
//! never sees the rows that score the trial.

use serde::{Deserialize, Serialize};

use crate::data::Problem;
use crate::engine::{Engine, Targets, Tensor};
use crate::evaluation::Evaluation;
use crate::metrics::Metric;
use crate::rng::{Purpose, Stream};
use crate::settings::Settings;

use super::TrainError;

/// What a run with `patience` remembers.
pub(super) struct Stopping {
    monitor: Monitor,
    patience: usize,
    min_delta: f64,
    /// Rows of the training part that are watched, ascending.
    rows: Vec<u32>,
    pub(super) state: StoppingState,
    /// The weights of the best epoch; empty before the first.
    pub(super) best_weights: Vec<Tensor>,
}

/// The part of it that is in a checkpoint beside the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoppingState {
    /// The best value so far, turned so that smaller is better.
    best: Option<f64>,
    /// The epoch it is of; 0 before the first.
    pub(crate) best_epoch: usize,
    /// Epochs since then.
    waited: usize,
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Monitor {
    Loss,
    Metric(Metric),
}

impl Stopping {
    /// What `settings` want, and the rows that are left to train on.
    pub(super) fn new(
        problem: &Problem,
        settings: &Settings,
        seed: &[u8; 32],
    ) -> Result<(Option<Self>, Vec<u32>), TrainError> {
        let rows = problem.train().len();
        let Some(patience) = settings.patience else { return Ok((None, (0..rows as u32).collect())) };
        let monitor = Monitor::named(&settings.monitor, problem)?;
        let (training, watched) = split(problem, settings.stopping_fraction, seed);
        if watched.is_empty() {
            return Err(TrainError::NothingToWatch { rows });
        }
        let stopping = Self {
            monitor,
            patience,
            min_delta: settings.min_delta,
            rows: watched,
            state: StoppingState::default(),
            best_weights: Vec::new(),
        };
        Ok((Some(stopping), training))
    }

    pub(super) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The metrics that must be measured on the watched rows.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        match self.monitor {
            Monitor::Loss => Vec::new(),
            Monitor::Metric(metric) => vec![metric],
        }
    }

    /// What is watched, out of a measurement of the watched rows.
    pub(super) fn watched(&self, evaluation: &Evaluation) -> Option<f64> {
        match self.monitor {
            Monitor::Loss => Some(evaluation.loss),
            Monitor::Metric(metric) => evaluation.get(metric),
        }
    }

    /// Takes an epoch's measurement of the watched rows. A metric without a value is no better than any other.
    pub(super) fn observe(&mut self, epoch: usize, evaluation: &Evaluation, engine: &dyn Engine) {
        let turn = match self.monitor {
            Monitor::Metric(metric) if metric.higher_is_better() => -1.0,
            Monitor::Loss | Monitor::Metric(_) => 1.0,
        };
        let value = self.watched(evaluation).map(|value| turn * value);
        let state = &mut self.state;
        let better = value.is_some_and(|value| state.best.is_none_or(|best| value < best - self.min_delta));
        if better || self.best_weights.is_empty() {
            *state = StoppingState { best: value, best_epoch: epoch, waited: 0 };
            self.best_weights = engine.weights();
        } else {
            state.waited += 1;
        }
    }

    /// Whether it is time to stop.
    pub(super) fn is_exhausted(&self) -> bool {
        self.state.waited >= self.patience
    }
}

impl Monitor {
    fn named(name: &str, problem: &Problem) -> Result<Self, TrainError> {
        if name == "loss" {
            return Ok(Self::Loss);
        }
        let kind = problem.target_kind();
        match Metric::named(name).filter(|metric| metric.applies_to(kind)) {
            Some(metric) => Ok(Self::Metric(metric)),
            None => {
                let known = Metric::ALL.iter().filter(|metric| metric.applies_to(kind)).map(|m| m.name());
                Err(TrainError::Monitor {
                    name: name.to_owned(),
                    known: std::iter::once("loss").chain(known).collect::<Vec<_>>().join(", "),
                })
            }
        }
    }
}

/// Rows of the training part to train on, and to watch: each class in proportion, at least one row to train on of each,
/// at least one to watch in all if there are two of a class.
fn split(problem: &Problem, fraction: f64, seed: &[u8; 32]) -> (Vec<u32>, Vec<u32>) {
    let (mut training, mut watched) = (Vec::new(), Vec::new());
    let mut owed = 0.0;
    for (class, mut group) in groups(problem).into_iter().enumerate() {
        Stream::new(seed, Purpose::Stopping, class as u64).shuffle(&mut group);
        owed += fraction * group.len() as f64;
        let wanted = if watched.is_empty() { owed.max(1.0) } else { owed };
        let taken = (wanted.round() as usize).min(group.len().saturating_sub(1));
        owed -= taken as f64;
        watched.extend(group.drain(..taken));
        training.extend(group);
    }
    training.sort_unstable();
    watched.sort_unstable();
    (training, watched)
}

/// The training rows by class; one group if there are no classes.
fn groups(problem: &Problem) -> Vec<Vec<u32>> {
    let part = problem.train();
    let Targets::Classes(classes) = part.targets() else { return vec![(0..part.len() as u32).collect()] };
    let mut groups = vec![Vec::new(); problem.classes().len()];
    for (row, &class) in (0..).zip(classes) {
        groups[class as usize].push(row);
    }
    groups
}
