//! What a rung is and which loss counts there: shared by the schedulers that halve.
//!
//! Nothing about a rung is stored in a study. Who is at a rung, and with which loss, follows from the curves, the
//! budgets and the outcomes of the trials that the current policy has started.

use std::cmp::Reverse;

use super::Assignment;
use super::ranking::Ranked;
use crate::event::{Outcome, Work};
use crate::metric::{CurveValue, Metric};
use crate::spec::Spec;
use crate::study::Study;
use crate::trial::{CurvePoint, Piece, Trial, WorkState};

/// The steps at which trials are compared: `first`·ηᵏ as long as that is below `max_budget`, which is not among them.
pub(super) fn rungs(first: u64, eta: u64, max_budget: u64) -> Vec<u64> {
    let next = |&rung: &u64| rung.checked_mul(eta);
    std::iter::successors(Some(first), next).take_while(|&rung| rung < max_budget).collect()
}

/// Why a study cannot have rungs from `first` on, if it cannot.
pub(super) fn check(spec: &Spec, first: u64) -> Result<(), String> {
    match spec.max_budget {
        None => {
            Err("it compares trials at fractions of the largest budget, which the study does not declare; \
                     give max_budget, the largest step a trial can reach (`max` under [budget] in a study file)"
                .into())
        }
        Some(max) if first >= max => Err(format!(
            "the first rung is at step {first}, which is not below max_budget = {max}; \
             lower min_budget or raise max_budget"
        )),
        Some(_) => Ok(()),
    }
}

/// Refuses options that make no rungs.
pub(super) fn check_options(eta: u64, min_budget: u64) -> Result<(), String> {
    if eta < 2 {
        return Err(format!("eta = {eta}, but 1/eta of the trials go on: give a whole number from 2"));
    }
    if min_budget < 1 {
        return Err("min_budget = 0, but a trial has to run before it is compared: give a step from 1".into());
    }
    Ok(())
}

/// The losses by which a trial is compared at a rung: one, or one for each of several objectives.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Losses {
    /// Of the only objective.
    One(f64),
    /// Of each objective.
    Several(Box<[f64]>),
}

impl Losses {
    pub(super) fn one(self) -> Option<f64> {
        match self {
            Self::One(loss) => Some(loss),
            Self::Several(_) => None,
        }
    }

    /// The same loss in every objective.
    pub(super) fn all(study: &Study, loss: f64) -> Self {
        match study.metrics().objectives.len() {
            0 | 1 => Self::One(loss),
            count => Self::Several(vec![loss; count].into()),
        }
    }
}

/// The first report at or beyond `rung` that holds the first objective, once the others have been reported too.
pub(super) fn arrival<'a>(study: &Study, piece: &'a Piece, rung: u64) -> Option<&'a CurvePoint> {
    let from = piece.curve.partition_point(|point| point.step < rung);
    let mut at = (from..piece.curve.len()).filter(|k| !piece.curve[*k].loss.is_nan());
    if study.metrics().objectives.len() < 2 {
        return at.next().map(|k| &piece.curve[k]);
    }
    let others = &study.metrics().objectives[1..];
    let complete = |k: &usize| {
        let known =
            |name: &str| piece.curve[..=*k].iter().any(|point| study.curve_value(point, name).is_some());
        others.iter().all(|metric| known(&metric.name))
    };
    at.find(complete).map(|k| &piece.curve[k])
}

/// Whether a report at `step`, already in the curve of `work`, can have changed the losses at `rung`.
///
/// With a broken trial how far it was sent counts too, and it may run on beyond its budget.
pub(super) fn concerns(study: &Study, work: Work, rung: u64, step: u64) -> bool {
    let Some((trial, piece)) = study.trial(work.trial).zip(study.piece(work)) else { return false };
    let reached = rung <= piece.step() && arrival(study, piece, rung).is_none_or(|point| step <= point.step);
    reached || is_broken(trial)
}

/// The losses of a curve at `rung`: at its first report there, or where it was best so far if the best of a curve counts.
/// Of several objectives, the first says where that is, and what a report left out is taken from the last before it.
pub(super) fn losses_at(study: &Study, piece: &Piece, rung: u64) -> Option<Losses> {
    let metrics = study.metrics();
    let mut at = arrival(study, piece, rung)?;
    if metrics.curve == CurveValue::Best {
        let so_far =
            piece.curve.iter().take_while(|point| point.step <= at.step && !std::ptr::eq(*point, at));
        at = so_far
            .chain([at])
            .filter(|point| !point.loss.is_nan())
            .min_by(|a, b| a.loss.total_cmp(&b.loss))?;
    }
    if metrics.objectives.len() < 2 {
        return Some(Losses::One(at.loss));
    }
    let until = piece.curve.partition_point(|point| point.step <= at.step);
    let loss = |metric: &Metric| {
        let told = |point: &CurvePoint| study.curve_value(point, &metric.name);
        let value = piece.curve[..until].iter().rev().chain(&piece.curve[until..]).find_map(told)?;
        Some(metric.direction.turn(value))
    };
    metrics.objectives.iter().map(loss).collect::<Option<Box<[f64]>>>().map(Losses::Several)
}

/// The losses of a trial at rung `k`; none as long as it has not been sent or has not come there.
///
/// Once it is over and has not come so far, its final losses count if it completed; else it is the worst there is, so
/// that a rung neither waits for it nor loses sight of it. It is also the worst of the last rung it came to if it
/// failed or was stopped by a user there: the place of one who goes on is not for it.
pub(super) fn losses_of(study: &Study, trial: &Trial, rungs: &[u64], k: usize) -> Option<Losses> {
    let piece = trial.piece(0)?;
    let sent = sent_to(piece, rungs);
    if sent <= k {
        return None;
    }
    if is_broken(trial) && sent == k + 1 {
        return Some(Losses::all(study, f64::INFINITY));
    }
    let last = || match &piece.outcome {
        Some(Outcome::Completed { values }) => {
            let objectives = values.iter().zip(&study.metrics().objectives);
            let losses: Box<[f64]> =
                objectives.map(|(value, metric)| metric.direction.turn(*value)).collect();
            if losses.len() == 1 { Losses::One(losses[0]) } else { Losses::Several(losses) }
        }
        _ => Losses::all(study, f64::INFINITY),
    };
    losses_at(study, piece, rungs[k]).or_else(|| is_over(trial).then(last))
}

/// Whether a replicate has ended, and neither by completing nor by losing.
fn is_broken(trial: &Trial) -> bool {
    trial.pieces().any(|(_, piece)| match &piece.outcome {
        Some(Outcome::Failed { .. } | Outcome::Cancelled | Outcome::Replaced { .. }) => true,
        Some(Outcome::Completed { .. } | Outcome::Pruned) | None => false,
    })
}

/// Whether no rung can send a trial further: its replicate 0 has ended, or another has and not by completing.
pub(super) fn is_over(trial: &Trial) -> bool {
    trial.pieces().any(|(work, piece)| match &piece.outcome {
        Some(Outcome::Completed { .. }) => work.replicate == 0,
        Some(_) => true,
        None => false,
    })
}

/// Trials of which something has ended since `seen` entries of the study's two lists of ends were read.
pub(super) fn ended_since(study: &Study, seen: &mut (usize, usize)) -> Vec<u32> {
    let ahead = study.ended_ahead()[seen.1..].iter().map(|work| work.trial);
    let ended = study.finished()[seen.0..].iter().copied().chain(ahead).collect();
    *seen = (study.finished().len(), study.ended_ahead().len());
    ended
}

/// How many of `rungs` a piece has been sent to or has passed; one more than all of them once it may run to its end.
pub(super) fn sent_to(piece: &Piece, rungs: &[u64]) -> usize {
    let Some(budget) = piece.budget else { return rungs.len() + 1 };
    let reach = budget.max(piece.step());
    rungs.partition_point(|&rung| rung <= reach)
}

/// Paused work that no rung decides about: further replicates go as far as replicate 0 was sent. Trials that another scheduler
/// paused stay paused.
pub(super) fn follower(study: &Study) -> Option<Assignment> {
    // An earlier scheduler may have held replicates back.
    if let Some(&work) = study.held().first() {
        return Some(Assignment::Resume { work, budget: None });
    }
    if study.spec().replicates < 2 {
        return None;
    }
    let behind = |work: &&Work| {
        let budget = |replicate| study.trial(work.trial)?.piece(replicate).map(|piece| piece.budget);
        let (leader, own) = (budget(0).flatten(), budget(work.replicate).flatten());
        work.replicate > 0 && own.is_some_and(|own| leader.is_none_or(|leader| own < leader))
    };
    let own = study.paused().range(Work::of(study.scheduler_from())..);
    let &work = own.into_iter().find(behind)?;
    let budget = study.trial(work.trial)?.piece(0)?.budget;
    Some(Assignment::Resume { work, budget })
}

/// What is assigned once no trial may be started: a [`contender`], as many as there are workers; as long as nothing has completed, one after the other.
pub(super) fn at_the_end(study: &Study, rungs: &[u64], nobody: &mut Nobody) -> Assignment {
    let others = if study.running().is_empty() { Assignment::Done } else { Assignment::Wait };
    let best = study.incumbent().map(|best| best.number);
    let now = Nobody(Some((best, study.pauses(), study.rewritten())));
    if best.is_none() && !study.running().is_empty() || *nobody == now {
        return others;
    }
    let contender = contender(study, rungs);
    if contender.is_none() {
        *nobody = now;
    }
    contender.unwrap_or(others)
}

/// When there was no contender: with which best trial, after how many pauses and changes of what came before. Until one of these changes there is none.
#[derive(Default, PartialEq)]
pub(super) struct Nobody(Option<(Option<u32>, u64, u64)>);

/// Who goes on once no trial may be started, so that a study does not end with a best trial that another
/// looks better than: the paused trial that came furthest of those whose loss is below what the best one had at the same step. As long as
/// nothing has completed, the best of those that came furthest. It is sent to the next of `rungs`. Of several objectives only the latter holds.
pub(super) fn contender(study: &Study, rungs: &[u64]) -> Option<Assignment> {
    let best = study.incumbent();
    if best.is_some() && study.metrics().objectives.len() > 1 {
        return None;
    }
    let place = |&work: &Work| {
        let trial = study.trial(work.trial).filter(|trial| work.replicate == 0 && !is_over(trial))?;
        let (piece, step) = (trial.piece(0)?, trial.step());
        let loss = match losses_at(study, piece, step) {
            Some(Losses::One(loss)) => loss,
            Some(Losses::Several(losses)) => losses[0],
            None => f64::INFINITY,
        };
        let is_below = |best: &Trial| loss < loss_of_completed(study, best, step);
        best.is_none_or(is_below).then_some((Reverse(step), Ranked::new(loss, work.trial)))
    };
    let (Reverse(step), chosen) = study.paused().iter().filter_map(place).min()?;
    let budget = rungs.iter().copied().find(|&rung| rung > step);
    Some(Assignment::Resume { work: Work::of(chosen.trial), budget })
}

/// What a completed trial had at a step, or in the end if it came to that earlier.
fn loss_of_completed(study: &Study, trial: &Trial, step: u64) -> f64 {
    let at_step = trial.piece(0).and_then(|piece| losses_at(study, piece, step)).and_then(Losses::one);
    at_step.or_else(|| trial.loss(study.metrics(), 0)).unwrap_or(f64::INFINITY)
}

/// Whether a trial's replicate 0 waits at a rung to be promoted.
pub(super) fn is_paused(trial: &Trial) -> bool {
    trial.piece(0).is_some_and(|piece| piece.state == WorkState::Paused)
}
