//! Trials compared where they have come equally far: for samplers that choose at which depth to learn.
//!
//! Nothing here knows rungs or brackets. A depth is a step at which trials have stopped, for now or for good.

use crate::event::{Failure, Outcome};
use crate::metric::CurveValue;
use crate::study::Study;
use crate::trial::{Piece, Trial, WorkState};

/// A trial with its loss at some step; infinite if it failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct At {
    pub(super) trial: u32,
    pub(super) loss: f64,
}

/// All trials that have come to `step`, with their losses there, best first; ties go to the lower number.
///
/// A completed trial whose curve does not say counts with its final loss. A failed one is the worst wherever it came.
pub(super) fn at_step(study: &Study, step: u64) -> Vec<At> {
    let mut all: Vec<At> = study
        .trials()
        .iter()
        .filter(|trial| !trial.outside)
        .filter_map(|trial| Some(At { trial: trial.number, loss: loss_at(study, trial, step)? }))
        .collect();
    all.sort_by(|a, b| a.loss.total_cmp(&b.loss).then(a.trial.cmp(&b.trial)));
    all
}

/// The largest step that at least `count` trials have come to, counting only steps at which trials have stopped; completed ones
/// have come as far as can be.
pub(super) fn deepest(study: &Study, count: usize) -> Option<u64> {
    let mut depths: Vec<u64> = study.trials().iter().filter_map(|trial| depth(study, trial)).collect();
    depths.sort_unstable_by(|a, b| b.cmp(a));
    depths.get(count.checked_sub(1)?).copied()
}

/// Trials that a scheduler stopped for good before they came to `step`, in the order of their numbers.
pub(super) fn stopped_before(study: &Study, step: u64) -> impl Iterator<Item = u32> {
    let is_before = move |trial: &&Trial| {
        let reached = trial.piece(0).and_then(Piece::last_loss).map_or(0, |(step, _)| step);
        !trial.outside && matches!(trial.outcome(), Some(Outcome::Pruned)) && reached < step
    };
    study.trials().iter().filter(is_before).map(|trial| trial.number)
}

/// Where a trial that does not run has come to; none if it says nothing.
fn depth(study: &Study, trial: &Trial) -> Option<u64> {
    let piece = trial.piece(0)?;
    let stopped = matches!(piece.state, WorkState::Paused | WorkState::Ended);
    if trial.outside || !stopped {
        return None;
    }
    match trial.outcome() {
        Some(Outcome::Completed { .. }) => Some(study.spec().max_budget.unwrap_or(u64::MAX)),
        Some(Outcome::Failed { .. }) => None,
        _ => piece.last_loss().map(|(step, _)| step),
    }
}

fn loss_at(study: &Study, trial: &Trial, step: u64) -> Option<f64> {
    if let Some(Outcome::Failed { reason, .. }) = trial.outcome() {
        let said_something = !matches!(reason, Failure::NotStarted { .. });
        return said_something.then_some(f64::INFINITY);
    }
    let piece = trial.piece(0)?;
    let from = piece.curve.partition_point(|point| point.step < step);
    let there = piece.curve[from..].iter().find(|point| !point.loss.is_nan());
    let by_curve = there.and_then(|point| match study.metrics().curve {
        CurveValue::Last => Some(point.loss),
        CurveValue::Best => piece.best_loss_to(point.step),
    });
    by_curve.or_else(|| trial.loss(study.metrics(), 0))
}
