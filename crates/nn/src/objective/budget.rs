//! What a step of a trial is. A curve is told at the ends of epochs, so a trial goes a little beyond a budget of updates or
//! seconds that ends within one; of a part of the rows only the end of its training is told.

use std::sync::Arc;

use luthier::core::event::Failure;
use luthier::core::metric::CurveValue;
use luthier::core::registry;
use luthier::core::scheduler::SCHEDULERS;
use luthier::core::spec::Spec;
use luthier::objective::Running;

use super::NetworkError;
use crate::{BudgetUnit, NetworkSpec, Problem, Schedule, Settings, TrainError, Trainer};

/// More epochs than a training has whose end is said otherwise.
const OPEN: usize = 1_000_000;

/// How far trials go, and in what that is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    /// Passes over the training rows: the largest step, where the study declares one. Where it `is_open` nobody has said how many there are.
    Epochs { max: Option<u64>, is_open: bool },
    /// Updates of the weights; where it `is_open` nobody has said how many epochs there are.
    Steps { max: u64, is_open: bool },
    /// Whole seconds of training.
    Seconds { max: u64, is_open: bool },
    /// Per cent of the training rows, each a training of its own.
    Rows { max: u64 },
}

impl Budget {
    /// What a study says; with `has_epochs` it says how many there are.
    pub(super) fn read(network: &NetworkSpec, spec: &Spec, has_epochs: bool) -> Result<Self, NetworkError> {
        let unit = network.unit;
        let refused = |problem: String| Err(NetworkError::Budget { unit, problem });
        let is_open = !has_epochs;
        if unit == BudgetUnit::Epoch {
            return Ok(Self::Epochs { max: spec.max_budget, is_open });
        }
        let name = &spec.policy.scheduler.name;
        let (scheduler, _) = match registry::build("scheduler", SCHEDULERS, &spec.policy.scheduler) {
            Ok(built) => built,
            Err(error) => return refused(error.to_string()),
        };
        if scheduler.branches() {
            return refused(format!(
                "with {name} a network's training is counted in epochs; say unit = \"epoch\""
            ));
        }
        let Some(max) = spec.max_budget else {
            return refused("give budget.max, how many there are".to_owned());
        };
        match unit {
            BudgetUnit::Epoch => Ok(Self::Epochs { max: Some(max), is_open }),
            BudgetUnit::Step => Ok(Self::Steps { max, is_open }),
            BudgetUnit::Second => {
                let has_end = |schedule| {
                    matches!(schedule, Schedule::Cosine | Schedule::Polynomial | Schedule::OneCycle)
                };
                if is_open && (has_end(network.settings.schedule) || spec.space.find("schedule").is_some()) {
                    return refused(
                        "the course of the learning rate needs to know how many epochs there are; give epochs in [network.settings]"
                            .to_owned(),
                    );
                }
                Ok(Self::Seconds { max, is_open })
            }
            BudgetUnit::Percent => {
                if max > 100 {
                    return refused(format!("budget.max is {max}, but there are at most 100"));
                }
                let sends_nobody_further = scheduler.only_judges() || **name == *"race";
                if max == 100 && sends_nobody_further && **name != *"run_all" {
                    return refused(format!(
                        "{name} sends no trial further, so all would be trained on all rows at once; say \
                         scheduler = {{ name = \"asha\", mode = \"promote\" }}, or `hyperband` in that mode"
                    ));
                }
                if spec.metrics.curve == CurveValue::Best {
                    return refused(
                        "a trial's value is that of its largest part of the rows; say curve = \"last\" in [metric]"
                            .to_owned(),
                    );
                }
                Ok(Self::Rows { max })
            }
        }
    }

    pub(super) fn unit(self) -> BudgetUnit {
        match self {
            Self::Epochs { .. } => BudgetUnit::Epoch,
            Self::Steps { .. } => BudgetUnit::Step,
            Self::Seconds { .. } => BudgetUnit::Second,
            Self::Rows { .. } => BudgetUnit::Percent,
        }
    }

    /// Whether a curve has a point for each epoch.
    pub(super) fn tells_epochs(self) -> bool {
        matches!(self, Self::Epochs { .. } | Self::Steps { .. })
    }

    /// Settings of a training that ends with the largest step.
    pub(super) fn limited(self, mut settings: Settings) -> Settings {
        let is_open = match self {
            Self::Rows { .. } => return settings,
            Self::Epochs { max, is_open } => {
                let max = max.map_or(settings.epochs, |max| max as usize);
                settings.epochs = if is_open { max } else { max.min(settings.epochs) };
                return settings;
            }
            Self::Steps { max, is_open } => {
                settings.max_steps = Some(settings.max_steps.unwrap_or(u64::MAX).min(max));
                is_open
            }
            Self::Seconds { max, is_open } => {
                settings.max_seconds = Some(settings.max_seconds.unwrap_or(f64::INFINITY).min(max as f64));
                is_open
            }
        };
        if is_open {
            settings.epochs = OPEN;
        }
        settings
    }

    /// Settings of the winner's last training, of which it is known how many epochs it has unless early stopping ends it. Its trial
    /// had `planned` so many, which a course of the learning rate goes by.
    pub(super) fn of_winner<E>(
        self,
        settings: Settings,
        epochs: usize,
        planned: impl FnOnce() -> Result<usize, E>,
    ) -> Result<Settings, E> {
        let (Self::Steps { is_open, .. } | Self::Seconds { is_open, .. }) = self else {
            return Ok(self.limited(settings));
        };
        let is_stopped = settings.patience.is_some();
        let mut settings = if is_stopped {
            self.limited(settings)
        } else {
            Settings { max_steps: None, max_seconds: None, ..settings }
        };
        if is_open {
            let planned = planned()?;
            settings.epochs = if planned < OPEN || is_stopped { planned.max(epochs) } else { epochs };
        }
        Ok(settings)
    }

    /// Whether epochs are as many as the updates take.
    pub(super) fn counts_epochs_by_steps(self) -> bool {
        matches!(self, Self::Steps { is_open: true, .. })
    }

    /// The part of the training rows that a trial is to train on now, in per cent, where that is its budget.
    pub(super) fn share(self, running: &Running<'_>) -> Option<u64> {
        match self {
            Self::Rows { max } => Some(running.budget().unwrap_or(max)),
            Self::Epochs { .. } | Self::Steps { .. } | Self::Seconds { .. } => None,
        }
    }

    /// The problem with the training rows that a trial is to train on now: where they are its budget, a part of them.
    pub(super) fn rows_of(
        self,
        problem: &Arc<Problem>,
        running: &Running<'_>,
    ) -> Result<Arc<Problem>, Failure> {
        match self.share(running) {
            Some(percent) if percent < 100 => {
                problem.share(percent as f64).map(Arc::new).map_err(|error| too_small(percent, &error))
            }
            Some(_) | None => Ok(Arc::clone(problem)),
        }
    }

    /// Why a training cannot begin.
    pub(super) fn not_trained(self, error: TrainError, running: &Running<'_>) -> Failure {
        match (self.share(running), &error) {
            (Some(percent), TrainError::NothingToWatch { .. }) => too_small(percent, &error),
            _ => Failure::error(error),
        }
    }

    /// The step at which trainers are that have done so many epochs in step with each other.
    pub(super) fn position(self, epochs: usize, trainers: &[Trainer]) -> u64 {
        match self {
            Self::Epochs { .. } | Self::Rows { .. } => epochs as u64,
            Self::Steps { .. } => trainers.iter().map(Trainer::steps_done).max().unwrap_or(0),
            Self::Seconds { .. } => trainers.iter().map(Trainer::seconds_done).fold(0.0, f64::max) as u64,
        }
    }

    /// Whether a checkpoint of this step may be the trial's own: that of its parent is of the step it begins at, and one beyond
    /// what was reported would skip reports. Of a part of the rows nothing is reported before the end.
    pub(super) fn is_own(self, running: &Running<'_>, step: u64, is_done: bool) -> bool {
        match self {
            Self::Rows { .. } => !is_done,
            Self::Epochs { .. } | Self::Steps { .. } | Self::Seconds { .. } => {
                step <= running.step() && running.parent().is_none_or(|(_, from)| step > from)
            }
        }
    }
}

/// Why there is no training on a part of the rows.
fn too_small(percent: u64, error: &dyn std::fmt::Display) -> Failure {
    Failure::error(format!(
        "on {percent} % of the rows: {error}; or begin with more rows, by the scheduler's min_budget"
    ))
}
