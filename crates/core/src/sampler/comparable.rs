//! Losses of trials that stopped on the way, made comparable with final ones, for models of the final loss.
//!
//! A curve that was stopped early stands higher than it would have ended, and a model that took its last value for a final
//! one would believe that whole regions are worse than they are. So a stopped trial keeps its *rank*: among the trials
//! that went further, it is placed by the losses they had at the step at which it stopped, and given the final loss (itself made
//! comparable, for trials that were stopped later) of that place. Worse than all of them, it is worse than their
//! worst by as much as it was behind at that step; better than all, it is as good as their best and no better. A trial
//! that nobody got beyond keeps its last loss (Salinas et al. 2023, arXiv:2305.03623, train on last losses alone).
//!
//! Ranks change on the way. By how much such a loss is wrong is seen in the trials that went further: each is placed by the
//! others in the same way, and compared with what became of it.

use crate::metric::{CurveValue, DEVIATION_BY_MEDIAN, median};
use crate::observation::{Observation, Standing, losses_so_far};
use crate::study::Study;
use crate::trial::Piece;

/// Trials that a stopped one is compared with: those that went furthest.
const MOST: usize = 128;

/// Of these, so many are placed by the others to see how wrong that is; with fewer than three nothing is known.
const TRIED: usize = 32;
const FEW: usize = 3;

/// A loss as if it were final.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Comparable {
    /// The loss; NaN where a row says nothing about it.
    pub(super) loss: f64,
    /// By how much it may be wrong, beside the noise that all losses have: a standard deviation.
    pub(super) error: f64,
}

/// A trial that went so far, with its comparable loss.
struct Deep {
    trial: u32,
    step: u64,
    end: Comparable,
}

/// The comparable losses of each row, one per objective: each objective has ranks of its own.
pub(super) fn comparable_losses(study: &Study, rows: &[Observation]) -> Vec<Box<[Comparable]>> {
    let objectives = study.metrics().objectives.len();
    let columns: Vec<Vec<Comparable>> = (0..objectives).map(|m| column(study, rows, m)).collect();
    (0..rows.len()).map(|k| columns.iter().map(|column| column[k]).collect()).collect()
}

fn column(study: &Study, rows: &[Observation], objective: usize) -> Vec<Comparable> {
    let mut losses: Vec<Comparable> =
        rows.iter().map(|row| Comparable { loss: final_loss(row, objective), error: 0.0 }).collect();
    let stopped = |row: &Observation| row.standing == Standing::Partial && !row.losses[objective].is_nan();
    let mut order: Vec<usize> = (0..rows.len()).filter(|k| stopped(&rows[*k])).collect();
    if order.is_empty() {
        return losses;
    }
    let complete = |k: usize| !losses[k].loss.is_nan();
    let mut deep: Vec<Deep> = (0..rows.len())
        .filter(|k| complete(*k))
        .map(|k| Deep { trial: rows[k].trial, step: u64::MAX, end: losses[k] })
        .collect();
    // The furthest first; of those stopped at the same step none is a measure for another.
    order.sort_by_key(|k| (std::cmp::Reverse(rows[*k].step), rows[*k].trial));
    let mut at = 0;
    while at < order.len() {
        let step = rows[order[at]].step;
        let rung: Vec<usize> = order[at..].iter().copied().take_while(|k| rows[*k].step == step).collect();
        let pairs = measures(study, &deep, step, objective);
        let (ranks, error) = (ranks(&pairs), wrong_by(&pairs));
        for &k in &rung {
            losses[k] = Comparable { loss: ranks.end_of(rows[k].losses[objective], Ahead::IsLost), error };
        }
        deep.extend(rung.iter().map(|k| Deep { trial: rows[*k].trial, step, end: losses[*k] }));
        at += rung.len();
    }
    losses
}

fn final_loss(row: &Observation, objective: usize) -> f64 {
    match row.standing {
        Standing::Completed | Standing::Raced => row.losses[objective],
        Standing::Partial | Standing::Failed | Standing::Pending => f64::NAN,
    }
}

/// A loss at some step, and what became of it.
struct Pair {
    then: f64,
    end: Comparable,
}

/// What trials that went further had of an objective at `step`, and what became of them.
fn measures(study: &Study, deep: &[Deep], step: u64, objective: usize) -> Vec<Pair> {
    let at_step = |deep: &Deep| {
        let trial = &study.trials()[deep.trial as usize];
        let (_, piece) = trial.pieces().next()?;
        let loss = if objective == 0 {
            first_loss(study, piece, step)?
        } else {
            losses_so_far(study, trial, step)[objective]
        };
        // A curve without a report near the step says nothing about it.
        let went_further = piece.step() >= step || deep.step == u64::MAX;
        (went_further && !loss.is_nan()).then_some(Pair { then: loss, end: deep.end })
    };
    deep.iter().filter_map(at_step).take(MOST).collect()
}

/// The first objective's loss that a piece stood for at `step`; the others' are found in the reports' values, which takes longer.
fn first_loss(study: &Study, piece: &Piece, step: u64) -> Option<f64> {
    match study.metrics().curve {
        CurveValue::Best => piece.best_loss_to(step),
        CurveValue::Last => {
            let to_here = piece.curve.iter().take_while(|point| point.step <= step);
            Some(to_here.filter(|point| !point.loss.is_nan()).last()?.loss)
        }
    }
}

/// By how much losses placed by these pairs are wrong: the median error of placing each by the others, as a standard deviation of
/// normal errors, and what is doubtful about their own ends.
fn wrong_by(pairs: &[Pair]) -> f64 {
    let doubt = pairs.iter().map(|pair| pair.end.error.powi(2)).sum::<f64>() / pairs.len().max(1) as f64;
    if pairs.len() < FEW {
        return doubt.sqrt();
    }
    let tried = &pairs[..pairs.len().min(TRIED)];
    let without = |k: usize| {
        let others = ranks(tried[..k].iter().chain(&tried[k + 1..]));
        (others.end_of(tried[k].then, Ahead::IsLost) - tried[k].end.loss).abs()
    };
    (doubt + (DEVIATION_BY_MEDIAN * median((0..tried.len()).map(without).collect())).powi(2)).sqrt()
}

fn ranks<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> Ranks {
    Ranks::of(pairs.into_iter().map(|pair| (pair.then, pair.end.loss)))
}

/// What becomes of a loss that is better than those of all trials that went further.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ahead {
    /// It ends better than their best by as much.
    Stays,
    /// It ends as their best; nothing better has been seen.
    IsLost,
}

/// Losses that trials had at some step and those they came to, each in order.
pub(super) struct Ranks {
    then: Vec<f64>,
    end: Vec<f64>,
}

impl Ranks {
    /// From the loss at the step and the one at the end of each trial.
    pub(super) fn of(pairs: impl Iterator<Item = (f64, f64)>) -> Self {
        let (mut then, mut end): (Vec<f64>, Vec<f64>) = pairs.unzip();
        then.sort_by(f64::total_cmp);
        end.sort_by(f64::total_cmp);
        Self { then, end }
    }

    /// The end that belongs to the rank of `loss` at the step; the loss itself where there are no trials.
    pub(super) fn end_of(&self, loss: f64, ahead: Ahead) -> f64 {
        let Self { then, end } = self;
        let (below, n) = (then.partition_point(|x| *x < loss), then.len());
        if n == 0 {
            return loss;
        }
        match below {
            0 if ahead == Ahead::Stays => end[0] - (then[0] - loss),
            0 => end[0],
            below if below == n => end[n - 1] + (loss - then[n - 1]),
            below => {
                let (low, high) = (then[below - 1], then[below]);
                let share = if high > low { (loss - low) / (high - low) } else { 0.5 };
                end[below - 1] + share * (end[below] - end[below - 1])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_at_a_step_becomes_that_rank_at_the_end() {
        let ranks = Ranks::of([(0.5, 0.1), (0.6, 0.3), (0.9, 0.2)].into_iter());
        for (loss, expected) in [(0.4, 0.1), (0.6, 0.2), (0.55, 0.15), (0.75, 0.25), (1.1, 0.5)] {
            assert!((ranks.end_of(loss, Ahead::IsLost) - expected).abs() < 1e-12, "{loss}");
        }
        assert_eq!(Ranks::of([].into_iter()).end_of(0.7, Ahead::IsLost), 0.7);
    }

    #[test]
    fn beyond_the_best_and_the_worst_a_loss_keeps_its_distance() {
        let ranks = Ranks::of([(0.5, 0.1), (0.6, 0.2), (0.9, 0.3)].into_iter());
        for (loss, expected) in [(0.4, 0.0), (0.6, 0.2), (0.55, 0.15), (0.75, 0.25), (1.1, 0.5)] {
            assert!((ranks.end_of(loss, Ahead::Stays) - expected).abs() < 1e-12, "{loss}");
        }
        assert_eq!(ranks.end_of(0.4, Ahead::IsLost), 0.1);
        assert_eq!(Ranks::of([].into_iter()).end_of(0.7, Ahead::Stays), 0.7);
    }
}
