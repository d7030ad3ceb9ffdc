//! What a study says to a model: one row per trial, with unit coordinates, losses and their doubt. How a model treats
//! failures, constraints or partial curves is the model's business.

use std::collections::HashMap;

use crate::event::{Failure, Outcome};
use crate::study::{Stop, Study};
use crate::trial::{CurvePoint, Estimate, Piece, Trial, TrialState};

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
    /// Seconds of work; of a stop that was a pause, NaN.
    pub seconds: f64,
}

impl Observation {
    /// What `trial` says, or `None` when it says nothing: its values no longer fit the space, or it never started.
    pub fn of(study: &Study, trial: &Trial) -> Option<Self> {
        if trial.outside {
            return None;
        }
        let estimates = study.estimates(trial);
        let standing = standing(trial, &estimates);
        if let Some(Outcome::Failed { reason: Failure::NotStarted { .. }, .. }) = trial.outcome() {
            return None;
        }
        let (losses, errors) = said(study, trial, standing, &estimates);
        Some(Self {
            trial: trial.number,
            standing,
            unit: study.space().to_unit(&trial.point).into(),
            losses,
            errors,
            constraints: constraints(study, trial, u64::MAX),
            violation: study.violation(trial),
            step: trial.step(),
            seconds: trial.seconds(),
        })
    }

    /// What the trial of `stop` said when it came to that stop, whatever it has done since.
    pub fn at(study: &Study, stop: &Stop) -> Option<Self> {
        let trial = &study.trials()[stop.trial as usize];
        let Some(step) = stop.paused_at else { return Self::of(study, trial) };
        if trial.outside {
            return None;
        }
        let (losses, errors) = so_far(study, trial, step);
        let constraints = constraints(study, trial, step);
        Some(Self {
            trial: trial.number,
            standing: Standing::Partial,
            unit: study.space().to_unit(&trial.point).into(),
            losses,
            errors,
            violation: broken(&constraints),
            constraints,
            step,
            seconds: f64::NAN,
        })
    }

    /// The same if it is the trial's first stop; later ones say nothing new to who looks at each trial once.
    pub fn at_first(study: &Study, stop: &Stop) -> Option<Self> {
        if stop.is_first { Self::at(study, stop) } else { None }
    }

    /// Whether it has a loss and keeps the constraints of the metrics.
    pub fn is_feasible(&self) -> bool {
        self.violation <= 0.0 && !self.losses.iter().any(|loss| loss.is_nan())
    }
}

/// What kind of news a trial is that says this by its replicates.
fn standing(trial: &Trial, estimates: &[Estimate]) -> Standing {
    match trial.state() {
        TrialState::Completed => Standing::Completed,
        TrialState::Pruned | TrialState::Paused | TrialState::Cancelled if !estimates.is_empty() => {
            Standing::Raced
        }
        TrialState::Pruned | TrialState::Paused | TrialState::Cancelled | TrialState::Replaced => {
            Standing::Partial
        }
        TrialState::Waiting | TrialState::Running => Standing::Pending,
        TrialState::Failed => Standing::Failed,
    }
}

/// Its losses now, with their standard errors.
fn said(
    study: &Study,
    trial: &Trial,
    standing: Standing,
    estimates: &[Estimate],
) -> (Box<[f64]>, Box<[f64]>) {
    let objectives = 0..study.metrics().objectives.len();
    match standing {
        Standing::Failed => {
            let nothing: Box<[f64]> = objectives.map(|_| f64::NAN).collect();
            (nothing.clone(), nothing)
        }
        Standing::Completed => {
            let loss = |k| trial.loss(study.metrics(), k).unwrap_or(f64::NAN);
            let error = |k| trial.standard_error(k).unwrap_or(f64::NAN);
            (objectives.clone().map(loss).collect(), objectives.map(error).collect())
        }
        Standing::Raced => (
            estimates.iter().map(|estimate| estimate.mean).collect(),
            estimates.iter().map(|estimate| estimate.error).collect(),
        ),
        Standing::Partial | Standing::Pending => so_far(study, trial, u64::MAX),
    }
}

/// The losses that the trial of `stop` had reached when it came to that stop; none if it failed, has not reported all of them, or
/// breaks the constraints of the metrics.
pub(crate) fn reached(study: &Study, stop: &Stop) -> Option<Vec<f64>> {
    let trial = &study.trials()[stop.trial as usize];
    let (losses, violation) = if let Some(step) = stop.paused_at {
        (so_far(study, trial, step).0, broken(&constraints(study, trial, step)))
    } else {
        let estimates = study.estimates(trial);
        let (losses, _) = said(study, trial, standing(trial, &estimates), &estimates);
        (losses, study.violation(trial))
    };
    let is_known =
        losses.len() == study.metrics().objectives.len() && !losses.iter().any(|loss| loss.is_nan());
    (violation <= 0.0 && is_known).then(|| losses.into())
}

/// By how much values of constraints break them.
fn broken(constraints: &[f64]) -> f64 {
    constraints.iter().map(|value| value.max(0.0)).sum()
}

/// The reports of a piece up to and including `step`.
fn until(piece: &Piece, step: u64) -> &[CurvePoint] {
    &piece.curve[..piece.curve.partition_point(|point| point.step <= step)]
}

/// Means and standard errors over the replicates that have reported, of what they said up to `step`.
fn so_far(study: &Study, trial: &Trial, step: u64) -> (Box<[f64]>, Box<[f64]>) {
    let told = trial.pieces().map(|(_, piece)| piece).filter(|piece| !until(piece, step).is_empty());
    let rows: Vec<Vec<f64>> = told.map(|piece| curve_losses(study, piece, step)).collect();
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

/// What a trial's curves stood for at `step`, one loss per objective; NaN where they do not say.
pub(crate) fn losses_so_far(study: &Study, trial: &Trial, step: u64) -> Box<[f64]> {
    so_far(study, trial, step).0
}

/// The losses that a curve stands for up to `step`; NaN for an objective it has not reported.
fn curve_losses(study: &Study, piece: &Piece, step: u64) -> Vec<f64> {
    let metrics = study.metrics();
    if let Ok(values) = study.curve_values(piece, step) {
        return values.iter().zip(&metrics.objectives).map(|(v, m)| m.direction.turn(*v)).collect();
    }
    let mut losses = vec![f64::NAN; metrics.objectives.len()];
    losses[0] = piece.loss_by(step).unwrap_or(f64::NAN);
    losses
}

/// The last value of each constraint up to `step`, averaged over replicates.
fn constraints(study: &Study, trial: &Trial, step: u64) -> Box<[f64]> {
    let last = |name: &str| {
        let values: Vec<f64> = trial
            .pieces()
            .filter_map(|(_, piece)| {
                until(piece, step).iter().rev().find_map(|at| study.curve_value(at, name))
            })
            .collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    study.metrics().constraints.iter().map(|name| last(name)).collect()
}

/// Hands out each trial once, as it was at its first stop: for samplers that take news in as it comes and do not look back.
#[derive(Clone, Debug, Default)]
pub struct FirstStops {
    era: Era,
    seen: usize,
}

impl FirstStops {
    /// Rows of trials that have stopped for the first time since the last call, in the order of the log. False if everything
    /// handed out before is to be forgotten, because it does not hold any more.
    pub fn advance(&mut self, study: &Study) -> (bool, Vec<Observation>) {
        let holds = self.era == Era::of(study) && self.seen <= study.stops().len();
        if !holds {
            *self = Self { era: Era::of(study), seen: 0 };
        }
        let fresh = study.stops()[self.seen..].iter();
        self.seen = study.stops().len();
        (holds, fresh.filter_map(|stop| Observation::at_first(study, stop)).collect())
    }
}

/// What rows hold for: a version of the space, and a past that was not rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Era {
    space: u32,
    rewritten: u64,
}

impl Era {
    /// That of a study now.
    pub fn of(study: &Study) -> Self {
        Self { space: study.space_version(), rewritten: study.rewritten() }
    }
}

/// The rows of a study, kept up to date. What it holds follows from the study alone.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    era: Era,
    /// Stops taken in.
    seen: usize,
    stopped: Vec<Observation>,
    /// Where in `stopped` a trial is.
    places: HashMap<u32, usize>,
    open: Vec<Observation>,
    /// Trials that had not stopped at the last call, and the first number not looked at.
    unstopped: Vec<u32>,
    next: u32,
}

impl Observations {
    /// Takes in what has happened since the last call. False if it had to begin anew, so that earlier rows do not hold.
    pub fn advance(&mut self, study: &Study) -> bool {
        let era = Era::of(study);
        let holds =
            self.era == era && self.seen <= study.stops().len() && self.next as usize <= study.trials().len();
        if !holds {
            *self = Self { era, ..Self::default() };
        }
        for stop in &study.stops()[self.seen..] {
            self.take(study, stop);
        }
        self.seen = study.stops().len();
        self.unstopped.extend(self.next..study.trials().len() as u32);
        self.next = study.trials().len() as u32;
        self.unstopped.retain(|number| !study.trials()[*number as usize].has_stopped());
        let row = |number: &u32| Observation::of(study, &study.trials()[*number as usize]);
        self.open = self.unstopped.iter().filter_map(row).collect();
        holds
    }

    /// The rows as they were after the first `stops` stops.
    pub fn after(study: &Study, stops: usize) -> Vec<Observation> {
        let mut then = Self::default();
        for stop in &study.stops()[..stops] {
            then.take(study, stop);
        }
        then.stopped
    }

    fn take(&mut self, study: &Study, stop: &Stop) {
        let Some(row) = Observation::at(study, stop) else { return };
        if let Some(&place) = self.places.get(&stop.trial) {
            self.stopped[place] = row;
        } else {
            self.places.insert(stop.trial, self.stopped.len());
            self.stopped.push(row);
        }
    }

    /// Trials that have stopped, for now or for good, in the order of their first stops, each as it was at its latest.
    pub fn stopped(&self) -> &[Observation] {
        &self.stopped
    }

    /// Trials that have never stopped, by number.
    pub fn open(&self) -> &[Observation] {
        &self.open
    }
}
