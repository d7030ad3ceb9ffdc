//! Who spends budget: what runs next and how far, and what a running trial does now.
//!
//! To add one: write a file with an `ENTRY`, and name it in [`SCHEDULERS`]. A pruner is a scheduler that only judges.

mod asha;
mod babysit;
mod brackets;
pub mod forecast;
mod fronts;
mod hyperband;
mod median;
mod paired;
mod patience;
mod pb2;
mod pbt;
mod plateau;
mod population;
mod race;
mod ranking;
mod run_all;
mod rungs;
mod successive_halving;
mod threshold;
mod wilcoxon;
mod wrapped;

use std::sync::Arc;

use crate::event::{Decision, Origin, Outcome, Work};
use crate::figures::figure;
use crate::memo::Memo;
use crate::registry::Entry;
use crate::rng::Rng;
use crate::space::Point;
use crate::study::Study;
use crate::trial::{CurvePoint, Piece, Trial};

/// Every scheduler there is.
pub static SCHEDULERS: &[Entry<dyn Scheduler>] = &[
    run_all::ENTRY,
    median::ENTRY,
    median::PERCENTILE,
    threshold::ENTRY,
    patience::ENTRY,
    wilcoxon::ENTRY,
    successive_halving::ENTRY,
    asha::ENTRY,
    hyperband::ENTRY,
    race::ENTRY,
    pbt::ENTRY,
    pb2::ENTRY,
    babysit::ENTRY,
    forecast::ENTRY,
];

/// What runs next.
#[derive(Clone, Debug, PartialEq)]
pub enum Assignment {
    /// A new trial, up to this step; none means to its end.
    Start {
        /// The first budget.
        budget: Option<u64>,
    },
    /// Paused work goes on.
    Resume {
        /// Which.
        work: Work,
        /// Up to this step; none means to its end.
        budget: Option<u64>,
    },
    /// A trial ends although some of its replicates have not begun: they never will.
    Stop {
        /// One of those that have not begun.
        work: Work,
        /// Why, in one line with the numbers that decided.
        why: Arc<str>,
    },
    /// A paused trial makes way for one that begins with another trial's checkpoint; what that one is, the next
    /// assignment says.
    Exploit {
        /// Which makes way.
        work: Work,
        /// The trial and step whose checkpoint is taken instead.
        from: (u32, u64),
        /// Why, in one line with the numbers that decided.
        why: Arc<str>,
    },
    /// A new trial from another's checkpoint: in place of the one that makes way ([`Study::exploiting`]) if there is one.
    Branch {
        /// The trial and step whose checkpoint it begins with; at step 0 it begins anew.
        from: (u32, u64),
        /// Its params.
        point: Point,
        /// Up to this step; none means to its end.
        budget: Option<u64>,
        /// On whose word: that of the scheduler, or of a user who steers.
        why: Origin,
    },
    /// Nothing now; ask again when something running has reported.
    Wait,
    /// Nothing any more: all that could be promoted has been.
    Done,
}

/// What a running piece of work does now, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What.
    pub decision: Decision,
    /// Why, in one line with the numbers that decided; empty for continuing.
    pub why: Arc<str>,
}

impl Verdict {
    /// Go on.
    pub fn go_on() -> Self {
        Self { decision: Decision::Continue, why: "".into() }
    }

    /// Save a checkpoint and make room for the next decision, because of `why`.
    pub fn pause(why: impl Into<Arc<str>>) -> Self {
        Self { decision: Decision::Pause, why: why.into() }
    }

    /// End for good, because of `why`.
    pub fn stop(why: impl Into<Arc<str>>) -> Self {
        Self { decision: Decision::Stop, why: why.into() }
    }
}

/// What the engine allows when it asks for an assignment.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Whether a new trial may be started within the study's limits.
    pub may_start: bool,
}

/// Gives budgets and verdicts.
///
/// The same study and stream give the same answers, whatever the memo holds.
pub trait Scheduler: Send + Sync {
    /// What runs next. Without leave to start a trial, only paused work may be resumed.
    fn assign(&self, study: &Study, allowance: Allowance, memo: &mut Memo, rng: &mut Rng) -> Assignment;

    /// What `work` does after its latest report, which the study already holds.
    fn judge(&self, study: &Study, work: Work, memo: &mut Memo, rng: &mut Rng) -> Verdict;

    /// Whether it lets trials begin with the checkpoints of others: then those of every pause are kept.
    fn branches(&self) -> bool {
        false
    }

    /// Whether `trial` may still be asked for what it had at its pause at `step`, beyond its latest pause.
    fn keeps(&self, _study: &Study, _trial: &Trial, _step: u64) -> bool {
        false
    }

    /// Whether users may steer the model that it watches.
    fn is_steered(&self) -> bool {
        false
    }

    /// With how many of its replicates a new trial begins; none means with all. The others are held until this scheduler
    /// resumes them, or stops the trial.
    fn opening(&self, _study: &Study) -> Option<u16> {
        None
    }

    /// Whether the best trials are measured again once no more are started, which then happens after a study has converged too.
    fn measures_again(&self) -> bool {
        false
    }

    /// Whether trials run to their end unless [`Scheduler::judge`] stops them: it never pauses one or holds a part of it.
    fn only_judges(&self) -> bool {
        false
    }

    /// What the study must declare for this scheduler to work; an error says what is missing.
    fn check(&self, _spec: &crate::spec::Spec) -> Result<(), String> {
        Ok(())
    }
}

/// What a scheduler that only judges assigns: new trials, all of them to their end. Those that another scheduler paused had lost by its rungs, and stay
/// paused unless there would be no result without one.
fn run_to_end(study: &Study, allowance: Allowance) -> Assignment {
    let paused = || study.paused().range(Work::of(study.scheduler_from())..).next();
    // An earlier scheduler may have held replicates back.
    if let Some(&work) = study.held().first().or_else(paused) {
        return Assignment::Resume { work, budget: None };
    }
    if allowance.may_start {
        return Assignment::Start { budget: None };
    }
    let is_over = study.running().is_empty() && study.incumbent().is_none();
    Some(study).filter(|_| is_over).and_then(|study| rungs::contender(study, &[])).unwrap_or(Assignment::Done)
}

/// The piece to judge and its latest report, if that report holds the first objective.
fn latest(study: &Study, work: Work) -> Option<(&Piece, &CurvePoint)> {
    let (piece, step) = (study.piece(work)?, study.latest_report(work)?);
    let at = piece.curve.binary_search_by_key(&step, |point| point.step).ok()?;
    Some((piece, &piece.curve[at])).filter(|(_, point)| !point.loss.is_nan())
}

/// The verdict for a replicate of which a sibling was stopped: the trial can only come out as pruned.
fn with_sibling(study: &Study, work: Work) -> Option<Verdict> {
    let mut pieces = study.trial(work.trial)?.pieces();
    let (sibling, _) = pieces.find(|(_, piece)| piece.outcome == Some(Outcome::Pruned))?;
    Some(Verdict::stop(format!("replicate {} of the trial was stopped", sibling.replicate)))
}

/// Whether the place of `work` among others at the same step says something about its trial. Later replicates are run only by
/// trials that got through the first: the worst of them is better than most.
fn is_compared(study: &Study, work: Work) -> bool {
    study.trial(work.trial).is_some_and(|trial| work.replicate < trial.compared())
}

/// Whether a report is due for a look: `warmup` steps are over, and it is the first in its window of `interval` steps.
///
/// The windows begin at `warmup`. An interval of 0 counts as 1.
fn is_due(piece: &Piece, step: u64, warmup: u64, interval: u64) -> bool {
    let Some(over) = step.checked_sub(warmup) else { return false };
    let window = warmup + over - over % interval.max(1);
    let earlier = piece.curve.partition_point(|point| point.step < step);
    earlier == 0 || piece.curve[earlier - 1].step < window
}
