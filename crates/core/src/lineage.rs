//! Schedules: which params a model was trained with from when to when, along the line of trials that it comes from.

use serde::{Deserialize, Serialize};

use crate::space::Params;
use crate::study::Study;

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
}

/// The legs of a trial's lineage, the oldest first; empty if there is no such trial.
pub fn schedule(study: &Study, number: u32) -> Vec<Leg> {
    let mut legs = Vec::new();
    let mut next = study.trial(number).map(|trial| (trial, trial.step()));
    while let Some((trial, to)) = next {
        let from = trial.parent.map_or(0, |(_, step)| step);
        legs.push(Leg { trial: trial.number, from, to, params: study.params(trial) });
        next = trial.parent.and_then(|(parent, step)| Some((study.trial(parent)?, step)));
    }
    legs.reverse();
    legs
}
