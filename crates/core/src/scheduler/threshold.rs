//! Stops a trial whose first objective leaves the bounds given by the user. It compares with nothing else.

use serde::{Deserialize, Serialize};

use super::{Allowance, Assignment, Scheduler, Verdict, figure, is_due, latest, run_to_end, with_sibling};
use crate::event::Work;
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "threshold",
    summary: "stops a trial whose first objective, as reported, leaves given bounds",
    options: &[
        OptionDoc {
            name: "lower",
            doc: "smallest value that may go on, in the metric's own unit; none by default",
        },
        OptionDoc {
            name: "upper",
            doc: "largest value that may go on, in the metric's own unit; none by default",
        },
        OptionDoc { name: "warmup_steps", doc: "reports below this step are not looked at; default 0" },
        OptionDoc {
            name: "interval_steps",
            doc: "looks at one report in so many steps, counted from warmup_steps; default 1",
        },
    ],
    build: |options| {
        let (threshold, complete) = configure::<Threshold>(options)?;
        threshold.check_bounds()?;
        Ok((Box::new(threshold), complete))
    },
};

/// The bounds concern the raw value of the latest report, whatever the direction. A value that is not a number fails
/// the trial before any scheduler hears of it. Every replicate is judged by its own curve.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Threshold {
    lower: Option<f64>,
    upper: Option<f64>,
    warmup_steps: u64,
    interval_steps: u64,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { lower: None, upper: None, warmup_steps: 0, interval_steps: 1 }
    }
}

impl Threshold {
    fn check_bounds(&self) -> Result<(), String> {
        match (self.lower, self.upper) {
            (None, None) => Err("there is no bound; give lower, upper or both".into()),
            (Some(lower), Some(upper)) if lower > upper => Err(format!(
                "lower = {lower} is above upper = {upper}, so that no trial could go on; swap them"
            )),
            _ => Ok(()),
        }
    }
}

impl Scheduler for Threshold {
    fn assign(&self, study: &Study, allowance: Allowance, _: &mut Memo, _: &mut Rng) -> Assignment {
        run_to_end(study, allowance)
    }

    fn only_judges(&self) -> bool {
        true
    }

    fn judge(&self, study: &Study, work: Work, _: &mut Memo, _: &mut Rng) -> Verdict {
        if let Some(verdict) = with_sibling(study, work) {
            return verdict;
        }
        let Some((piece, point)) = latest(study, work) else { return Verdict::go_on() };
        if !is_due(piece, point.step, self.warmup_steps, self.interval_steps) {
            return Verdict::go_on();
        }
        let value = study.metrics().objectives[0].direction.turn(point.loss);
        let outside = |side: &str, bound: f64| {
            let (step, value, bound) = (point.step, figure(value), figure(bound));
            Verdict::stop(format!("at step {step}: {value} is {side} the bound {bound}"))
        };
        match (self.lower, self.upper) {
            (Some(lower), _) if value < lower => outside("below", lower),
            (_, Some(upper)) if value > upper => outside("above", upper),
            _ => Verdict::go_on(),
        }
    }
}
