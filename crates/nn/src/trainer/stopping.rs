//! Early stopping: watches rows split off from the training part, and says when the best epoch lies too far back. It
//! never sees the rows that score the trial.

use crate::checkpoint::StoppingState;
use crate::data::Problem;
use crate::engine::{Engine, Tensor};
use crate::evaluation::{Evaluation, Selection};
use crate::metrics::Metric;
use crate::settings::Settings;

use super::TrainError;

/// What a run with `patience` remembers.
pub(super) struct Stopping {
    monitor: Monitor,
    patience: usize,
    min_delta: f64,
    /// Rows of the training part that are watched, ascending; `None` if the problem has a part of its own for that.
    rows: Option<Vec<u32>>,
    pub(super) state: StoppingState,
    /// The weights of the best epoch; empty before the first.
    pub(super) best_weights: Vec<Tensor>,
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Monitor {
    Loss,
    Metric(Metric),
}

impl Stopping {
    /// What `settings` want, and the rows that are left to train on. The rows to watch are a part of the training part,
    /// divided as the data are split, unless the problem was made by [`Problem::inner`].
    pub(super) fn new(
        problem: &Problem,
        settings: &Settings,
        seed: &[u8; 32],
    ) -> Result<(Option<Self>, Vec<u32>), TrainError> {
        let rows = problem.train().len();
        let Some(patience) = settings.patience else { return Ok((None, (0..rows as u32).collect())) };
        let monitor = Monitor::named(&settings.monitor, problem)?;
        let (training, watched) = if problem.stopping().is_some() {
            ((0..rows as u32).collect(), None)
        } else {
            let split = problem.inner_places(settings.stopping_fraction, seed);
            let (training, watched) = split.map_err(|_| TrainError::NothingToWatch { rows })?;
            (training, Some(watched))
        };
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

    /// Rows of the training part that are watched instead of trained on.
    pub(super) fn taken_rows(&self) -> usize {
        self.rows.as_ref().map_or(0, Vec::len)
    }

    /// What is watched.
    pub(super) fn selection<'a>(&'a self, problem: &'a Problem) -> Selection<'a> {
        match &self.rows {
            Some(rows) => Selection { part: problem.train(), rows: Some(rows) },
            None => problem.stopping().unwrap_or(problem.train()).into(),
        }
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
            Monitor::Metric(metric) => evaluation.metric(metric),
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
        if let Some(metric) = Metric::named(name).filter(|metric| metric.applies_to(kind)) {
            return Ok(Self::Metric(metric));
        }
        let known = Metric::ALL.iter().filter(|metric| metric.applies_to(kind)).map(|m| m.name());
        let known = std::iter::once("loss").chain(known).collect::<Vec<_>>().join(", ");
        Err(TrainError::Monitor { name: name.to_owned(), known })
    }
}
