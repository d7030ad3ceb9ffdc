//! What a step of a trial is. However it is counted, a trial reports at the ends of epochs, and goes a little beyond its budget
//! where that ends within one; of a share of the rows it reports once, when it has trained on them.

use std::sync::Arc;

use luthier::core::metric::CurveValue;
use luthier::core::spec::Spec;
use luthier::objective::{Failed, Running};

use super::NetworkError;
use crate::data::DataError;
use crate::{BudgetUnit, NetworkSpec, Problem, Settings, Trainer};

/// Schedulers that have trials go on from others' epochs.
const BY_EPOCHS: [&str; 3] = ["pbt", "pb2", "babysit"];
/// Schedulers that have modes, of which `stop`, the usual one, gives no budgets.
const WITH_MODES: [&str; 2] = ["asha", "hyperband"];
/// More epochs than a training has whose end is said otherwise.
const OPEN: usize = 1_000_000;

/// How far trials go, and in what that is counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budget {
    pub(super) unit: BudgetUnit,
    /// The largest step.
    max: u64,
    /// Whether the epochs end with something else, since nobody said how many there are.
    is_open: bool,
}

impl Budget {
    /// What a study says; with `epochs` it says how many there are, with `planned` that the learning rate follows a course.
    pub(super) fn read(
        network: &NetworkSpec,
        spec: &Spec,
        epochs: bool,
        planned: bool,
    ) -> Result<Self, NetworkError> {
        let unit = network.unit;
        let refused = |problem: String| Err(NetworkError::Budget { unit, problem });
        if unit == BudgetUnit::Epoch {
            return Ok(Self::default());
        }
        let scheduler = &spec.policy.scheduler;
        if BY_EPOCHS.contains(&&*scheduler.name) {
            return refused(format!("{} counts a network's training in epochs", scheduler.name));
        }
        let Some(max) = spec.max_budget else {
            return refused("give budget.max, how many there are".to_owned());
        };
        match unit {
            BudgetUnit::Second if planned && !epochs => {
                return refused(
                    "a learning rate that follows a schedule needs to know its epochs; give epochs in [network.settings]"
                        .to_owned(),
                );
            }
            BudgetUnit::Percent => {
                if max > 100 {
                    return refused(format!("budget.max is {max}, but there are at most 100"));
                }
                let mode = scheduler.options.get("mode").and_then(|mode| mode.as_str()).unwrap_or("stop");
                if WITH_MODES.contains(&&*scheduler.name) && mode == "stop" {
                    return refused(format!(
                        "{} in mode \"stop\" judges trainings on their way, but a training on a part of the rows has only its end; \
                         say mode = \"promote\"",
                        scheduler.name
                    ));
                }
                if spec.metrics.curve == CurveValue::Best {
                    return refused(
                        "a trial's value is that of its largest part of the rows; say curve = \"last\" in [metric]"
                            .to_owned(),
                    );
                }
            }
            BudgetUnit::Epoch | BudgetUnit::Step | BudgetUnit::Second => {}
        }
        Ok(Self { unit, max, is_open: !epochs })
    }

    /// Settings of a training that ends with the largest step.
    pub(super) fn limited(self, mut settings: Settings) -> Settings {
        match self.unit {
            BudgetUnit::Epoch | BudgetUnit::Percent => return settings,
            BudgetUnit::Step => {
                settings.max_steps = Some(settings.max_steps.unwrap_or(u64::MAX).min(self.max));
            }
            BudgetUnit::Second => {
                settings.max_seconds =
                    Some(settings.max_seconds.unwrap_or(f64::INFINITY).min(self.max as f64));
            }
        }
        if self.is_open {
            settings.epochs = OPEN;
        }
        settings
    }

    /// Whether epochs are as many as the updates take.
    pub(super) fn counts_epochs_by_steps(self) -> bool {
        self.unit == BudgetUnit::Step && self.is_open
    }

    /// The share of the training rows that a trial is to train on now, in per cent, where that is its budget.
    pub(super) fn share(self, running: &Running<'_>) -> Option<u64> {
        (self.unit == BudgetUnit::Percent).then(|| running.budget().unwrap_or(self.max))
    }

    /// The problem with the rows that a trial is to train on now.
    pub(super) fn rows(self, problem: &Arc<Problem>, running: &Running<'_>) -> Result<Arc<Problem>, Failed> {
        match self.share(running) {
            None => Ok(Arc::clone(problem)),
            Some(percent) => problem.share(percent as f64).map(Arc::new).map_err(|e| no_rows(percent, &e)),
        }
    }

    /// The step at which trainers are that have done so many epochs in step with each other.
    pub(super) fn position(self, epochs: usize, trainers: &[Trainer]) -> u64 {
        match self.unit {
            BudgetUnit::Epoch | BudgetUnit::Percent => epochs as u64,
            BudgetUnit::Step => trainers.iter().map(Trainer::steps_done).max().unwrap_or(0),
            BudgetUnit::Second => trainers.iter().map(Trainer::seconds_done).sum::<f64>() as u64,
        }
    }

    /// Whether a checkpoint of this step may be the trial's own: that of its parent is of the step it begins at, and one beyond
    /// what was reported would skip reports. Of a part of the rows nothing is reported before the end.
    pub(super) fn is_own(self, running: &Running<'_>, step: u64, is_done: bool) -> bool {
        match self.unit {
            BudgetUnit::Percent => !is_done,
            _ => step <= running.step() && running.parent().is_none_or(|(_, from)| step > from),
        }
    }
}

pub(super) fn no_rows(percent: u64, error: &DataError) -> Failed {
    luthier::core::event::Failure::error(format!("it cannot be trained on {percent} % of the rows: {error}"))
        .into()
}
