//! Where the model of a trial comes from: which params it was trained with from when to when, what losses it had, and what
//! checkpoints there are, along the line of trials that it comes from.

use serde::{Deserialize, Serialize};

use crate::space::Params;
use crate::study::Study;
use crate::trial::{CurvePoint, Trial};

/// A part of a model's training with params that did not change: those of one trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    /// The trial.
    pub trial: u32,
    /// The step it begins at: 0, or that of its parent's checkpoint.
    pub from: u64,
    /// The step it ends at: that of the checkpoint that the next leg begins with, or of the last report.
    pub to: u64,
    /// Its params.
    pub params: Params,
    /// The trial whose random choices it made, if those were not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draws: Option<u32>,
}

/// The checkpoints from which a trial's training can be taken up again, its own and those of the trials that it comes from up
/// to where it left them: trial and step, the latest first. Checkpoints are of pauses; whether one is still kept is not known
/// here.
pub fn checkpoints(study: &Study, number: u32) -> Vec<(u32, u64)> {
    let of = |(trial, to): (&Trial, u64)| -> Vec<(u32, u64)> {
        trial.pauses().iter().rev().filter(|step| **step <= to).map(|step| (trial.number, *step)).collect()
    };
    line(study, number, |_| u64::MAX).flat_map(of).collect()
}

/// The reports that the model of a trial had, ascending: its own, and before those the ones of the trials that it comes from.
pub fn curve(study: &Study, number: u32) -> Vec<&CurvePoint> {
    let mut found: Vec<&CurvePoint> = latest_first(study, number, u64::MAX).collect();
    found.reverse();
    found
}

/// The losses that the model of a trial had up to and including `step`, ascending: its own, and before those the ones of the
/// trials that it comes from.
pub fn losses(study: &Study, number: u32, step: u64) -> Vec<(u64, f64)> {
    let told = latest_first(study, number, step).filter(|point| !point.loss.is_nan());
    let mut found: Vec<(u64, f64)> = told.map(|point| (point.step, point.loss)).collect();
    found.reverse();
    found
}

/// The reports that the model of a trial had up to and including `step`, the latest first.
fn latest_first(study: &Study, number: u32, step: u64) -> impl Iterator<Item = &CurvePoint> {
    line(study, number, move |_| step)
        .flat_map(|(trial, to)| trial.curve().iter().rev().filter(move |point| point.step <= to))
}

/// The legs of a trial's lineage, the oldest first; empty if there is no such trial.
pub fn schedule(study: &Study, number: u32) -> Vec<Leg> {
    let leg = |(trial, to): (&Trial, u64)| {
        let from = trial.parent.map_or(0, |(_, step)| step);
        let draws = Some(trial.draws).filter(|draws| *draws != trial.number);
        Leg { trial: trial.number, from, to, params: study.params(trial), draws }
    };
    let mut legs: Vec<Leg> = line(study, number, Trial::step).map(leg).collect();
    legs.reverse();
    legs
}

/// Whether a trial has taken the place of its parent just where that stood, so that its model has lost nothing.
pub fn goes_straight_on(study: &Study, trial: &Trial) -> bool {
    let Some((parent, step)) = trial.parent else { return false };
    let parent = study.trial(parent);
    parent.is_some_and(|parent| parent.step() == step && parent.replaced_by() == Some(trial.number))
}

/// The trials that a trial's model comes from with the steps up to which it does, itself first; its own end is what `to` says. A
/// trial that began anew in another's place comes from no one.
fn line<'a>(
    study: &'a Study,
    number: u32,
    to: impl Fn(&Trial) -> u64,
) -> impl Iterator<Item = (&'a Trial, u64)> {
    let before = |(trial, _): &(&'a Trial, u64)| {
        let (parent, step) = trial.parent.filter(|(_, step)| *step > 0)?;
        Some((study.trial(parent)?, step))
    };
    std::iter::successors(study.trial(number).map(|trial| (trial, to(trial))), before)
}
