//! Stops a trial whose best loss so far is worse than the median of the completed trials at the same step.
//!
//! The rule is Optuna's `PercentilePruner`: the median is taken over what the completed trials reported at exactly
//! this step. Vizier's (Golovin et al. 2017, section 3.2) takes it over their running averages up to the step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ranking::{Ranked, Ranking};
use super::{
    Allowance, Assignment, Scheduler, Verdict, figure, is_compared, is_due, latest, run_to_end, with_sibling,
};
use crate::event::{Outcome, Work};
use crate::memo::Memo;
use crate::metric::Direction;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "median",
    summary: "stops a trial whose best value so far is worse than the median of the completed trials at its step",
    options: &[
        OptionDoc {
            name: "percentile",
            doc: "0 to 100; the best so many per cent may go on; default 50, the median",
        },
        OptionDoc {
            name: "startup_trials",
            doc: "no trial is stopped before so many have completed; default 5",
        },
        OptionDoc { name: "warmup_steps", doc: "reports below this step are not looked at; default 0" },
        OptionDoc {
            name: "interval_steps",
            doc: "looks at one report in so many steps, counted from warmup_steps; default 1",
        },
        OptionDoc {
            name: "min_trials",
            doc: "completed trials that must have reported at the very step; default 1",
        },
    ],
    build: |options| {
        let (median, complete) = configure::<Median>(options)?;
        if !(0.0..=100.0).contains(&median.percentile) {
            return Err(format!("percentile = {}, but it lies between 0 and 100", median.percentile));
        }
        Ok((Box::new(median), complete))
    },
};

/// The same rule, for whoever looks for it by its own name.
pub(super) const PERCENTILE: Entry<dyn Scheduler> = Entry {
    name: "percentile",
    summary: "stops a trial whose best value so far is not among the best so many per cent of the completed trials at its step",
    options: &[
        OptionDoc { name: "percentile", doc: "0 to 100; the best so many per cent may go on; default 25" },
        ENTRY.options[1],
        ENTRY.options[2],
        ENTRY.options[3],
        ENTRY.options[4],
    ],
    build: |options| {
        let mut options = options.clone();
        options.entry("percentile").or_insert_with(|| 25.0.into());
        (ENTRY.build)(&options)
    },
};

/// The first objective decides. Trials of an earlier policy count among the completed ones. Of several
/// replicates the first is compared, with the first of the other trials; see [`is_compared`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Median {
    percentile: f64,
    startup_trials: u64,
    warmup_steps: u64,
    interval_steps: u64,
    min_trials: usize,
}

impl Default for Median {
    fn default() -> Self {
        Self { percentile: 50.0, startup_trials: 5, warmup_steps: 0, interval_steps: 1, min_trials: 1 }
    }
}

/// The completed trials' losses by replicate and step, cut at the percentile.
#[derive(Default)]
struct Completed {
    finished: usize,
    count: u64,
    losses: BTreeMap<(u16, u64), Ranking>,
}

impl Scheduler for Median {
    fn assign(&self, study: &Study, allowance: Allowance, _: &mut Memo, _: &mut Rng) -> Assignment {
        run_to_end(study, allowance)
    }

    fn only_judges(&self) -> bool {
        true
    }

    fn judge(&self, study: &Study, work: Work, memo: &mut Memo, _: &mut Rng) -> Verdict {
        if let Some(verdict) = with_sibling(study, work) {
            return verdict;
        }
        if !is_compared(study, work) {
            return Verdict::go_on();
        }
        let Some((piece, point)) = latest(study, work) else { return Verdict::go_on() };
        let completed = memo.get::<Completed>();
        self.advance(study, completed);
        if completed.count < self.startup_trials.max(1)
            || !is_due(piece, point.step, self.warmup_steps, self.interval_steps)
        {
            return Verdict::go_on();
        }
        let Some(others) = completed.losses.get(&(work.replicate, point.step)) else {
            return Verdict::go_on();
        };
        let Some(bar) = self.bar(others).filter(|_| others.len() >= self.min_trials) else {
            return Verdict::go_on();
        };
        // The best so far is no worse than the latest, which mostly settles it.
        if point.loss <= bar {
            return Verdict::go_on();
        }
        match piece.best_loss_to(point.step) {
            Some(best) if best > bar => self.stop(study, point.step, best, bar, others.len()),
            _ => Verdict::go_on(),
        }
    }
}

impl Median {
    fn advance(&self, study: &Study, completed: &mut Completed) {
        for &number in &study.finished()[completed.finished..] {
            let trial = &study.trials()[number as usize];
            if !matches!(trial.outcome(), Some(Outcome::Completed { .. })) {
                continue;
            }
            completed.count += 1;
            for (work, piece) in trial.pieces() {
                for point in piece.curve.iter().filter(|point| !point.loss.is_nan()) {
                    let ranking = completed.losses.entry((work.replicate, point.step)).or_default();
                    ranking.insert(Ranked::new(point.loss, number), |n| self.place(n).0 + 1, |_, _| {});
                }
            }
        }
        completed.finished = study.finished().len();
    }

    /// Where the percentile of `n` values lies: after which of them, from 0, and how far towards the next.
    fn place(&self, n: usize) -> (usize, f64) {
        let place = n.saturating_sub(1) as f64 * self.percentile / 100.0;
        (place as usize, place.fract())
    }

    /// The percentile by linear interpolation, rounded as `NumPy` rounds it.
    fn bar(&self, others: &Ranking) -> Option<f64> {
        let (_, part) = self.place(others.len());
        let low = others.cut()?.loss;
        let Some(high) = others.beyond().map(|ranked| ranked.loss) else { return Some(low) };
        let gap = high - low;
        Some(if part < 0.5 { low + gap * part } else { high - gap * (1.0 - part) })
    }

    fn stop(&self, study: &Study, step: u64, best: f64, bar: f64, trials: usize) -> Verdict {
        let direction = study.metrics().objectives[0].direction;
        let (best, bar) = (figure(direction.turn(best)), figure(direction.turn(bar)));
        let side = match direction {
            Direction::Minimize => "above",
            Direction::Maximize => "below",
        };
        let what = match self.percentile {
            50.0 => "the median".to_string(),
            percentile => format!("the best {percentile} % at"),
        };
        Verdict::stop(format!("at step {step}: {best} is {side} {what} {bar} of {trials} trials"))
    }
}
