//! What a study says to a model: one row per trial, with unit coordinates, losses and their doubt. How a model treats
//! failures, constraints or partial curves is the model's business.

use crate::event::{Failure, Outcome};
use crate::study::Study;
use crate::trial::{Piece, Trial, TrialState};

/// What kind of news a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It ran to its end: `losses` are final.
    Completed,
    /// It stopped on the way (pruned, paused, cancelled, replaced): `losses` are where its curve stands at `step`, NaN
    /// without a report.
    Partial,
    /// It stopped after some of its replicates, or waits to go on with the others: `losses` are means of those that completed,
    /// turned to what the mean of all would be, with their standard errors. They compare with final ones.
    Raced,
    /// It crashed, diverged, ran out of memory or of time: `losses` are NaN.
    Failed,
    /// It waits or runs: `losses` are where its curve stands so far, NaN without a report.
    Pending,
}

/// One trial as a model sees it.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Its number.
    pub trial: u32,
    /// What kind of news it is.
    pub standing: Standing,
    /// Its point in the unit cube, NaN where a parameter is inactive.
    pub unit: Box<[f64]>,
    /// One loss per objective (smaller is better); NaN where unknown.
    pub losses: Box<[f64]>,
    /// The standard error of each loss over replicates; NaN with fewer than two.
    pub errors: Box<[f64]>,
    /// The last value of each constraint of the metrics (≤ 0 is kept), averaged over replicates; NaN where never reported.
    pub constraints: Box<[f64]>,
    /// By how much it breaks them: [`Study::violation`].
    pub violation: f64,
    /// How far it came.
    pub step: u64,
    /// Seconds of work.
    pub seconds: f64,
}

impl Observation {
    /// What `trial` says, or `None` when it says nothing: its values no longer fit the space, or it never started.
    pub fn of(study: &Study, trial: &Trial) -> Option<Self> {
        if trial.outside {
            return None;
        }
        let estimates = study.estimates(trial);
        let standing = match trial.state() {
            TrialState::Completed => Standing::Completed,
            TrialState::Pruned | TrialState::Paused | TrialState::Cancelled if !estimates.is_empty() => {
                Standing::Raced
            }
            TrialState::Pruned | TrialState::Paused | TrialState::Cancelled | TrialState::Replaced => {
                Standing::Partial
            }
            TrialState::Waiting | TrialState::Running => Standing::Pending,
            TrialState::Failed => Standing::Failed,
        };
        if let Some(Outcome::Failed { reason: Failure::NotStarted { .. }, .. }) = trial.outcome() {
            return None;
        }
        let objectives = &study.metrics().objectives;
        let nothing = || vec![f64::NAN; objectives.len()].into_boxed_slice();
        let (losses, errors) = match standing {
            Standing::Failed => (nothing(), nothing()),
            Standing::Completed => {
                let loss = |k| trial.loss(study.metrics(), k).unwrap_or(f64::NAN);
                let error = |k| trial.standard_error(k).unwrap_or(f64::NAN);
                ((0..objectives.len()).map(loss).collect(), (0..objectives.len()).map(error).collect())
            }
            Standing::Raced => (
                estimates.iter().map(|estimate| estimate.mean).collect(),
                estimates.iter().map(|estimate| estimate.error).collect(),
            ),
            Standing::Partial | Standing::Pending => so_far(study, trial),
        };
        Some(Self {
            trial: trial.number,
            standing,
            unit: study.space().to_unit(&trial.point).into(),
            losses,
            errors,
            constraints: constraints(study, trial),
            violation: study.violation(trial),
            step: trial.step(),
            seconds: trial.seconds(),
        })
    }

    /// Whether it has a loss and keeps the constraints of the metrics.
    pub fn is_feasible(&self) -> bool {
        self.violation <= 0.0 && !self.losses.iter().any(|loss| loss.is_nan())
    }
}

/// Means and standard errors over the replicates that have reported.
fn so_far(study: &Study, trial: &Trial) -> (Box<[f64]>, Box<[f64]>) {
    let rows: Vec<Vec<f64>> = trial
        .pieces()
        .filter(|(_, piece)| !piece.curve.is_empty())
        .map(|(_, piece)| curve_losses(study, piece))
        .collect();
    let objectives = study.metrics().objectives.len();
    let (mut means, mut errors) = (Vec::with_capacity(objectives), Vec::with_capacity(objectives));
    for k in 0..objectives {
        let values: Vec<f64> = rows.iter().map(|row| row[k]).filter(|loss| !loss.is_nan()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        means.push(mean);
        errors.push(if values.len() < 2 { f64::NAN } else { (squares / (n - 1.0) / n).sqrt() });
    }
    (means.into(), errors.into())
}

/// The losses that a curve stands for; NaN for an objective it has not reported.
fn curve_losses(study: &Study, piece: &Piece) -> Vec<f64> {
    let metrics = study.metrics();
    if let Ok(values) = study.curve_values(piece) {
        return values.iter().zip(&metrics.objectives).map(|(v, m)| m.direction.turn(*v)).collect();
    }
    let mut losses = vec![f64::NAN; metrics.objectives.len()];
    losses[0] = piece.last_loss().map_or(f64::NAN, |(_, loss)| loss);
    losses
}

fn constraints(study: &Study, trial: &Trial) -> Box<[f64]> {
    let last = |name: &str| {
        let values: Vec<f64> = trial
            .pieces()
            .filter_map(|(_, piece)| piece.curve.iter().rev().find_map(|at| study.curve_value(at, name)))
            .collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    study.metrics().constraints.iter().map(|name| last(name)).collect()
}

/// The rows of a study, kept up to date. What it holds follows from the study alone.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    space: Option<u32>,
    seen: usize,
    finished: Vec<Observation>,
    open: Vec<Observation>,
    /// Trials that had not finished at the last call, and the first number not looked at.
    unfinished: Vec<u32>,
    next: u32,
}

impl Observations {
    /// Takes in what has happened since the last call; begins anew when the space has changed.
    pub fn advance(&mut self, study: &Study) {
        if self.space != Some(study.space_version())
            || self.seen > study.finished().len()
            || self.next as usize > study.trials().len()
        {
            *self = Self { space: Some(study.space_version()), ..Self::default() };
        }
        let row = |number: &u32| Observation::of(study, &study.trials()[*number as usize]);
        self.finished.extend(study.finished()[self.seen..].iter().filter_map(row));
        self.seen = study.finished().len();
        self.unfinished.extend(self.next..study.trials().len() as u32);
        self.next = study.trials().len() as u32;
        self.unfinished.retain(|number| !study.trials()[*number as usize].is_finished());
        self.open = self.unfinished.iter().filter_map(row).collect();
    }

    /// Finished trials in the order in which they finished. While the space stays, rows are only added.
    pub fn finished(&self) -> &[Observation] {
        &self.finished
    }

    /// Trials that wait, run or are paused, by number.
    pub fn open(&self) -> &[Observation] {
        &self.open
    }
}
