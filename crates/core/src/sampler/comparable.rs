//! Losses of trials that stopped on the way, made comparable with final ones, for models of the final loss.
//!
//! A curve that was stopped early stands higher than it would have ended, and a model that took its last value for a final
//! one would believe that whole regions are worse than they are. So a stopped trial keeps its *rank*: among the trials
//! that went further, it is placed by the losses they had at the step at which it stopped, and given the final loss (itself made
//! comparable, for trials that were stopped later) of that place. Worse than all of them, it is worse than their
//! worst by as much as it was behind at that step; better than all, it is as good as their best and no better. A trial
//! that nobody got beyond keeps its last loss (Salinas et al. 2023, arXiv:2305.03623, train on last losses alone).

use crate::metric::CurveValue;
use crate::observation::{Observation, Standing};
use crate::study::Study;

/// Trials that a stopped one is compared with: those that went furthest.
const MOST: usize = 128;

/// A trial that went so far, with its comparable loss.
struct Deep {
    trial: u32,
    step: u64,
    loss: f64,
}

/// The first objective's comparable loss of each row; NaN for one that says nothing about it.
pub(super) fn comparable_losses(study: &Study, rows: &[Observation]) -> Vec<f64> {
    let mut losses: Vec<f64> = rows.iter().map(final_loss).collect();
    let stopped = |row: &Observation| row.standing == Standing::Partial && !row.losses[0].is_nan();
    let mut order: Vec<usize> = (0..rows.len()).filter(|k| stopped(&rows[*k])).collect();
    if order.is_empty() {
        return losses;
    }
    let complete = |k: usize| !losses[k].is_nan();
    let mut deep: Vec<Deep> = (0..rows.len())
        .filter(|k| complete(*k))
        .map(|k| Deep { trial: rows[k].trial, step: u64::MAX, loss: losses[k] })
        .collect();
    // The furthest first; of those stopped at the same step none is a measure for another.
    order.sort_by_key(|k| (std::cmp::Reverse(rows[*k].step), rows[*k].trial));
    let mut at = 0;
    while at < order.len() {
        let step = rows[order[at]].step;
        let rung: Vec<usize> = order[at..].iter().copied().take_while(|k| rows[*k].step == step).collect();
        let pairs = measures(study, &deep, step);
        for &k in &rung {
            losses[k] = placed(rows[k].losses[0], &pairs);
        }
        deep.extend(rung.iter().map(|k| Deep { trial: rows[*k].trial, step, loss: losses[*k] }));
        at += rung.len();
    }
    losses
}

fn final_loss(row: &Observation) -> f64 {
    match row.standing {
        Standing::Completed | Standing::Raced => row.losses[0],
        Standing::Partial | Standing::Failed | Standing::Pending => f64::NAN,
    }
}

/// What trials that went further had at `step`, and what became of them.
fn measures(study: &Study, deep: &[Deep], step: u64) -> Vec<(f64, f64)> {
    let at_step = |deep: &Deep| {
        let (_, piece) = study.trials()[deep.trial as usize].pieces().next()?;
        let to_here = piece.curve.iter().take_while(|point| point.step <= step);
        let loss = match study.metrics().curve {
            CurveValue::Best => piece.best_loss_to(step)?,
            CurveValue::Last => to_here.filter(|point| !point.loss.is_nan()).last()?.loss,
        };
        // A curve without a report near the step says nothing about it.
        let went_further = piece.step() >= step || deep.step == u64::MAX;
        (went_further && !loss.is_nan()).then_some((loss, deep.loss))
    };
    deep.iter().filter_map(at_step).take(MOST).collect()
}

/// The final loss that belongs to the rank of `loss` among the first of each pair.
fn placed(loss: f64, pairs: &[(f64, f64)]) -> f64 {
    if pairs.is_empty() {
        return loss;
    }
    let mut then: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
    let mut last: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    then.sort_by(f64::total_cmp);
    last.sort_by(f64::total_cmp);
    let (better, n) = (then.partition_point(|x| *x < loss), then.len());
    match better {
        0 => last[0],
        better if better == n => last[n - 1] + (loss - then[n - 1]),
        better => {
            let (low, high) = (then[better - 1], then[better]);
            let share = if high > low { (loss - low) / (high - low) } else { 0.5 };
            last[better - 1] + share * (last[better] - last[better - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_at_a_step_becomes_that_rank_at_the_end() {
        let pairs = [(0.5, 0.1), (0.6, 0.3), (0.9, 0.2)];
        for (loss, expected) in [(0.4, 0.1), (0.6, 0.2), (0.55, 0.15), (0.75, 0.25), (1.1, 0.5)] {
            assert!((placed(loss, &pairs) - expected).abs() < 1e-12, "{loss}");
        }
        assert_eq!(placed(0.7, &[]), 0.7);
    }
}
