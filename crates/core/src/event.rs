//! Everything that can happen in a study. The enum is closed: a reader refuses what it does not know.
//!
//! `docs/log-format.md` describes the written form; a change here is a change of that format.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::space::{Parameter, Params, Value};
use crate::spec::{Limits, PolicySpec, Spec};

/// A position in a log, counted from 1.
pub type Seq = u64;

/// One piece of work: one replicate (fold or seed) of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Work {
    /// The trial's number, from 0.
    pub trial: u32,
    /// The replicate, from 0; 0 unless folds or seeds are raced.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replicate: u16,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(replicate: &u16) -> bool {
    *replicate == 0
}

impl Work {
    /// Replicate 0 of a trial.
    pub fn of(trial: u32) -> Self {
        Self { trial, replicate: 0 }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The study began; always the first event.
    Created(Box<Spec>),

    /// Decision: a trial with these params may run.
    Started {
        /// Its number: the count of earlier trials.
        trial: u32,
        /// The space version that `params` follows.
        #[serde(default, skip_serializing_if = "is_first")]
        space: u32,
        /// One value per parameter of that space, `null` where inactive.
        params: Vec<Option<Value>>,
        /// How far it may go, in steps; none means to its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget: Option<u64>,
        /// With how many of its replicates it begins; none means with all. The others begin by a later decision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replicates: Option<u16>,
        /// The trial and step whose checkpoint it begins with. At step 0 there is none: it takes that trial's place from the
        /// beginning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<(u32, u64)>,
        /// Who chose the params.
        why: Origin,
        /// Which of a sampler's arms chose them, where a sampler mixes several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Choice>,
    },
    /// Decision: a paused piece of work may go on to a larger budget, or a replicate that was held back may begin.
    Resumed {
        /// Which.
        work: Work,
        /// How far, in steps; none means to its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget: Option<u64>,
    },
    /// Decision: what a running piece of work does now, or that a paused one makes way. Continuing is not recorded. Stopping a
    /// replicate that was held back ends it and all others of its trial that have not begun, as pruned.
    Judged {
        /// Which.
        work: Work,
        /// What.
        decision: Decision,
        /// Why, in one line.
        why: Arc<str>,
    },

    /// Fact: a worker took the work.
    Claimed {
        /// Which.
        work: Work,
        /// The fencing token: 1 for the first claim, one more for each later claim.
        attempt: u32,
    },
    /// Fact: a trial asked for a parameter that its params did not have, and got this value.
    Drawn {
        /// Which trial.
        trial: u32,
        /// The parameter.
        name: Arc<str>,
        /// Its value.
        value: Value,
    },
    /// Fact: values at a step. A later report at the same step replaces the values it names.
    Reported {
        /// Which work.
        work: Work,
        /// The step, from 0 or 1 as the objective counts.
        step: u64,
        /// Named values, all finite.
        values: Vec<(Arc<str>, f64)>,
        /// Seconds of work since the previous report (or the claim).
        #[serde(default)]
        seconds: f64,
    },
    /// Fact: the work reached its budget and stopped there with a checkpoint.
    Paused {
        /// Which.
        work: Work,
        /// How far it is.
        step: u64,
        /// Seconds of work since the previous report (or the claim).
        #[serde(default)]
        seconds: f64,
    },
    /// Fact: the work ended. A trial is finished when all its replicates have ended.
    Ended {
        /// Which.
        work: Work,
        /// How.
        outcome: Outcome,
        /// Seconds of work since the previous report (or the claim).
        #[serde(default)]
        seconds: f64,
        /// For traced spaces: the parameters the trial asked for; the others were inactive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        used: Option<Vec<Arc<str>>>,
    },
    /// Fact: the worker that held the work is gone, or gave it back; it may be claimed again.
    Lost {
        /// Which.
        work: Work,
        /// Given back on purpose, as when the user interrupts; does not count as a lost attempt.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        returned: bool,
    },

    /// Wish: the space is changed for later trials.
    SpaceChanged(SpaceEdit),
    /// Wish: another sampler or scheduler from here on.
    PolicyChanged(PolicySpec),
    /// Wish: other limits from here on, or the same again, to go on after too many failures: counting these begins anew.
    LimitsChanged(Limits),
    /// Wish: try these params next.
    Enqueued(Wish),
    /// The first queued trial does not fit the space any more and is taken out.
    Withdrawn {
        /// Why, in one line.
        why: Arc<str>,
    },
    /// Wish: stop this trial.
    StopAsked {
        /// Which.
        trial: u32,
    },
    /// Wish: what becomes of the one model that is watched; heard when it next reports, or at once if it is paused.
    Steered(Steer),
    /// A user's note; algorithms never read it.
    Noted {
        /// About which trial; none means the study.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trial: Option<u32>,
        /// What it is called.
        key: Arc<str>,
        /// What it says.
        value: serde_json::Value,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_first(version: &u32) -> bool {
    *version == 0
}

/// How an event is guarded in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Made by the engine; re-derived by `verify`.
    Decision,
    /// Reported by a worker.
    Fact,
    /// Asked by a user.
    Wish,
}

impl Event {
    /// How the event is guarded.
    pub fn class(&self) -> Class {
        match self {
            Self::Started { .. } | Self::Resumed { .. } | Self::Judged { .. } => Class::Decision,
            Self::Claimed { .. }
            | Self::Drawn { .. }
            | Self::Reported { .. }
            | Self::Paused { .. }
            | Self::Ended { .. }
            | Self::Lost { .. } => Class::Fact,
            Self::Created(_)
            | Self::SpaceChanged(_)
            | Self::PolicyChanged(_)
            | Self::LimitsChanged(_)
            | Self::Enqueued(_)
            | Self::Withdrawn { .. }
            | Self::StopAsked { .. }
            | Self::Steered(_)
            | Self::Noted { .. } => Class::Wish,
        }
    }

    /// The seconds of work the event tells, if it tells any.
    pub fn seconds(&self) -> Option<f64> {
        match self {
            Self::Reported { seconds, .. } | Self::Paused { seconds, .. } | Self::Ended { seconds, .. } => {
                Some(*seconds)
            }
            Self::Created(_)
            | Self::Started { .. }
            | Self::Resumed { .. }
            | Self::Judged { .. }
            | Self::Claimed { .. }
            | Self::Drawn { .. }
            | Self::Lost { .. }
            | Self::SpaceChanged(_)
            | Self::PolicyChanged(_)
            | Self::LimitsChanged(_)
            | Self::Enqueued(_)
            | Self::Withdrawn { .. }
            | Self::StopAsked { .. }
            | Self::Steered(_)
            | Self::Noted { .. } => None,
        }
    }

    /// The work the event concerns, if it concerns one.
    pub fn work(&self) -> Option<Work> {
        match self {
            Self::Started { trial, .. } | Self::Drawn { trial, .. } | Self::StopAsked { trial } => {
                Some(Work::of(*trial))
            }
            Self::Noted { trial, .. } => trial.map(Work::of),
            Self::Resumed { work, .. }
            | Self::Judged { work, .. }
            | Self::Claimed { work, .. }
            | Self::Reported { work, .. }
            | Self::Paused { work, .. }
            | Self::Ended { work, .. }
            | Self::Lost { work, .. } => Some(*work),
            Self::Created(_)
            | Self::SpaceChanged(_)
            | Self::PolicyChanged(_)
            | Self::LimitsChanged(_)
            | Self::Enqueued(_)
            | Self::Withdrawn { .. }
            | Self::Steered(_) => None,
        }
    }
}

/// Who chose a trial's params.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The sampler.
    Sampler,
    /// The defaults of the space.
    Default,
    /// A user, through the queue.
    Enqueued,
    /// A uniform draw, because the sampler's proposals broke a constraint or had been tried.
    Fallback,
    /// The scheduler, out of the params of the trial whose checkpoint this one begins with.
    Scheduler,
    /// A user, who turned a knob of the model that is watched or took it back to a checkpoint.
    Steered,
}

/// Which arm of a mixing sampler chose a point, and what that took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The arm's name.
    pub arm: Arc<str>,
    /// Seconds of computing that the arm is reckoned to take, by a model of its cost: no clock is read.
    pub effort: f64,
}

/// What a running piece of work does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Go on.
    Continue,
    /// Save a checkpoint and free the worker; may go on later.
    Pause,
    /// End for good.
    Stop,
    /// Make way, at a pause, for a new trial that begins with another trial's checkpoint; starting it is the next
    /// decision, and ends this one as [`Outcome::Replaced`].
    Exploit {
        /// The trial whose checkpoint it is.
        from: u32,
        /// The step of that checkpoint.
        step: u64,
    },
}

/// How a trial, or one replicate of it, ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran to its end; raw values of the objectives, in the order of the spec, all finite.
    Completed {
        /// One per objective.
        values: Vec<f64>,
    },
    /// The scheduler stopped it; its curve stays.
    Pruned,
    /// Another trial continues from its checkpoint.
    Replaced {
        /// Which.
        by: u32,
    },
    /// A user stopped it.
    Cancelled,
    /// It failed; data like any other outcome.
    Failed {
        /// Why.
        reason: Failure,
        /// The last lines of its error output, at most a few kilobytes.
        #[serde(default, skip_serializing_if = "str::is_empty")]
        detail: Arc<str>,
    },
}

/// Why a trial failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The command ended with a non-zero code.
    #[error("exit code {code}")]
    ExitCode {
        /// The code.
        code: i32,
    },
    /// The command was ended by a signal that Luthier did not send.
    #[error("killed by signal {signal}")]
    Signal {
        /// Its number.
        signal: i32,
    },
    /// It ran longer than allowed.
    #[error("still running after {seconds} s")]
    Timeout {
        /// The limit.
        seconds: f64,
    },
    /// It used more memory than allowed.
    #[error("used more than {} MB of memory", *bytes as f64 / 1e6)]
    Memory {
        /// The limit.
        bytes: u64,
    },
    /// The value of an objective, or of a constraint on metrics, was NaN or infinite.
    #[error("{metric} was {value}")]
    NonFinite {
        /// The metric.
        metric: Arc<str>,
        /// `nan`, `inf` or `-inf`.
        value: Arc<str>,
    },
    /// It ended without a value for an objective, or for a constraint on metrics.
    #[error("ended without a value for {metric}")]
    NoResult {
        /// The metric.
        metric: Arc<str>,
    },
    /// Every worker that took it since it last came further vanished.
    #[error("its worker vanished {attempts} times without progress")]
    Lost {
        /// How often since then.
        attempts: u32,
    },
    /// It could not be started at all.
    #[error("could not start: {problem}")]
    NotStarted {
        /// Why.
        problem: Arc<str>,
    },
    /// The objective returned an error.
    #[error("{problem}")]
    Error {
        /// What it said.
        problem: Arc<str>,
    },
    /// The objective panicked.
    #[error("panicked: {problem}")]
    Panicked {
        /// The panic's message.
        problem: Arc<str>,
    },
}

impl Failure {
    /// A failure with a message of the objective's own.
    pub fn error(problem: impl std::fmt::Display) -> Self {
        Self::Error { problem: problem.to_string().into() }
    }
}

/// A change of the space; history stays usable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpaceEdit {
    /// A new parameter, last in order; earlier trials do not have it.
    Add(Parameter),
    /// Another declaration of a known parameter: wider bounds, a new choice, another prior.
    Change(Parameter),
    /// Later trials do not have it.
    Retire {
        /// The parameter.
        name: Arc<str>,
    },
}

/// Params that a user wants tried. What is not given is filled in by the sampler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Values given.
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    pub params: Params,
    /// Ranges given by hand: drawn evenly on the parameter's own scale between the two values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<Within>,
}

/// What a user wants of the one model that is watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Steer {
    /// Train on with these values; what is not named stays as it is.
    Turn(Params),
    /// Go on from a checkpoint, with the params that were in force there.
    Back {
        /// Whose checkpoint.
        trial: u32,
        /// The step of it; 0 is the beginning, before any training.
        step: u64,
    },
    /// Stand still until told to go on.
    Pause,
    /// Go on.
    Go,
    /// Be done: the model as it is counts as the result.
    Stop,
}

/// A range given by hand for one enqueued trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Within {
    /// The parameter, a number or a level.
    pub name: Arc<str>,
    /// Smallest value.
    pub low: Value,
    /// Largest value.
    pub high: Value,
}
