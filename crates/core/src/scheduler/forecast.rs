//! Stops a trial that will hardly become the best, by what completed trials have gained from the same step on: a veto over
//! another scheduler.
//!
//! A curve is not extrapolated by itself, since from its first steps nobody can tell a slow start from the end. What is known is
//! what other curves of the study went on to gain. The chance is counted out (a conformal p-value: Vovk et al. 2005): of the
//! completed trials whose losses at this step were nearest, how many gained enough that this trial, gaining as much, would
//! beat the best? It is right as far as the trial is like them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::wrapped::{Inner, Wrapped};
use super::{Allowance, Assignment, Scheduler, Verdict, is_compared, latest, with_sibling};
use crate::event::{Decision, Outcome, Work};
use crate::figures::percent;
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure, written};
use crate::rng::Rng;
use crate::spec::Spec;
use crate::study::Study;
use crate::trial::Piece;

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "forecast",
    summary: "stops a trial that will hardly become the best, by what others gained from the same step on; else as another scheduler",
    options: &[
        OptionDoc {
            name: "chance",
            doc: "a trial is stopped where its chance to become the best is smaller; above 0 and below 1, default 0.05",
        },
        OptionDoc {
            name: "min_trials",
            doc: "completed trials with a curve at the step that it takes to tell; from 2, default 20",
        },
        OptionDoc {
            name: "scheduler",
            doc: "who decides about all else: a name, or a table with name and options; default run_all. One that stops most trials leaves \
                  few that complete, and the forecast silent for long",
        },
    ],
    build: |options| {
        let (mut forecast, _) = configure::<Forecast>(options)?;
        if !(forecast.chance > 0.0 && forecast.chance < 1.0) {
            return Err(format!("chance = {}, but it lies between 0 and 1", forecast.chance));
        }
        if forecast.min_trials < 2 {
            return Err(format!("min_trials = {}, but a forecast takes at least 2", forecast.min_trials));
        }
        let (inner, scheduler) = forecast.scheduler.build()?;
        forecast.scheduler = scheduler;
        let complete = written(&forecast)?;
        Ok((Box::new(Forecaster { options: forecast, inner }), complete))
    },
};

/// It looks at the first report at or beyond each power of two, so that a trial is not tried again and again. The first of several
/// objectives says nothing about a front: with several there is no veto. Nor is there one where the best trial breaks
/// a constraint. Of several replicates it looks at the first, and asks whether that will beat the first of the best trial; see [`is_compared`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Forecast {
    chance: f64,
    min_trials: usize,
    scheduler: Wrapped,
}

impl Default for Forecast {
    fn default() -> Self {
        Self { chance: 0.05, min_trials: 20, scheduler: Wrapped::named("run_all") }
    }
}

struct Forecaster {
    options: Forecast,
    inner: Box<dyn Scheduler>,
}

/// The most trials that a forecast is counted from.
const MOST: usize = 100;

#[derive(Default)]
struct Known {
    finished: usize,
    /// By replicate and step, (loss there, final loss) of completed trials, ascending.
    gains: BTreeMap<(u16, u64), Vec<(f64, f64)>>,
    inner: Inner,
}

impl Known {
    fn advance(&mut self, study: &Study) {
        for &number in &study.finished()[self.finished..] {
            for (work, piece) in study.trials()[number as usize].pieces() {
                let Some(Outcome::Completed { values }) = &piece.outcome else { continue };
                let last = study.metrics().objectives[0].direction.turn(values[0]);
                for point in piece.curve.iter().filter(|point| !point.loss.is_nan()) {
                    let rows = self.gains.entry((work.replicate, point.step)).or_default();
                    let at = rows.partition_point(|row| *row < (point.loss, last));
                    rows.insert(at, (point.loss, last));
                }
            }
        }
        self.finished = study.finished().len();
    }
}

impl Scheduler for Forecaster {
    fn assign(&self, study: &Study, allowance: Allowance, memo: &mut Memo, rng: &mut Rng) -> Assignment {
        self.inner.assign(study, allowance, &mut memo.get::<Known>().inner.0, rng)
    }

    fn only_judges(&self) -> bool {
        self.inner.only_judges()
    }

    fn branches(&self) -> bool {
        self.inner.branches()
    }

    fn measures_again(&self) -> bool {
        self.inner.measures_again()
    }

    fn opening(&self, study: &Study) -> Option<u16> {
        self.inner.opening(study)
    }

    fn judge(&self, study: &Study, work: Work, memo: &mut Memo, rng: &mut Rng) -> Verdict {
        if let Some(verdict) = with_sibling(study, work) {
            return verdict;
        }
        let known = memo.get::<Known>();
        let verdict = self.inner.judge(study, work, &mut known.inner.0, rng);
        if verdict.decision == Decision::Stop {
            return verdict;
        }
        known.advance(study);
        self.veto(study, work, known).unwrap_or(verdict)
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        self.inner.check(spec)
    }
}

impl Forecaster {
    fn veto(&self, study: &Study, work: Work, known: &Known) -> Option<Verdict> {
        let (piece, point) = latest(study, work).filter(|_| is_compared(study, work))?;
        let best = study.incumbent()?;
        if study.metrics().objectives.len() > 1 || study.violation(best) > 0.0 || !is_due(piece, point.step) {
            return None;
        }
        let rows = known.gains.get(&(work.replicate, point.step))?;
        if rows.len() < self.options.min_trials {
            return None;
        }
        let (_, target) =
            best.replicate_losses(study.metrics(), 0).find(|(replicate, _)| *replicate == work.replicate)?;
        let near = nearest(rows, point.loss, self.options.min_trials);
        let chance = chance(near, point.loss, target);
        let step = point.step;
        (chance < self.options.chance).then(|| {
            Verdict::stop(format!(
                "at step {step}: by what {} trials gained from there on, its chance to become the best is {} at most",
                near.len(),
                percent(chance)
            ))
        })
    }
}

/// Whether a report is the first at or beyond a power of two.
fn is_due(piece: &Piece, step: u64) -> bool {
    let earlier = piece.curve.partition_point(|point| point.step < step);
    let before = earlier.checked_sub(1).map_or(0, |at| piece.curve[at].step);
    step > 0 && step.ilog2() != before.checked_ilog2().unwrap_or(u32::MAX)
}

/// Half of the rows, those whose losses are nearest: between `least` (or all) and 100.
pub fn nearest(rows: &[(f64, f64)], loss: f64, least: usize) -> &[(f64, f64)] {
    let count = (rows.len() / 2).clamp(least.min(MOST), MOST).min(rows.len());
    let middle = rows.partition_point(|row| row.0 < loss);
    let (mut from, mut to) = (middle, middle);
    while to - from < count {
        let below = from.checked_sub(1).map(|k| loss - rows[k].0);
        let above = rows.get(to).map(|row| row.0 - loss);
        match (below, above) {
            (Some(below), Some(above)) if above < below => to += 1,
            (Some(_), _) => from -= 1,
            (None, _) => to += 1,
        }
    }
    &rows[from..to]
}

/// The chance that a trial with `loss` ends at `target` or below, if it gains what one of `near` has gained: (loss at the step,
/// final loss) each. Never 0: with n others it is at least 1 / (n + 1).
///
/// ```
/// use luthier_core::scheduler::forecast::chance;
/// let gained = [(1.0, 0.9), (1.1, 0.7), (1.2, 0.2)];
/// assert_eq!(chance(&gained, 1.0, 0.5), 0.5); // one of three gained 0.5 or more
/// ```
pub fn chance(near: &[(f64, f64)], loss: f64, target: f64) -> f64 {
    let enough = near.iter().filter(|(then, last)| loss - (then - last) <= target).count();
    (enough + 1) as f64 / (near.len() + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_half_is_taken_from_both_sides() {
        let rows: Vec<(f64, f64)> = (0..10).map(|k| (f64::from(k), 0.0)).collect();
        let losses =
            |loss: f64, least| nearest(&rows, loss, least).iter().map(|row| row.0).collect::<Vec<_>>();
        assert_eq!(losses(4.6, 2), [3.0, 4.0, 5.0, 6.0, 7.0][..].to_vec());
        assert_eq!(losses(-5.0, 3), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(losses(99.0, 3), [5.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!(losses(99.0, 20).len(), 10, "all there are");
    }
}
