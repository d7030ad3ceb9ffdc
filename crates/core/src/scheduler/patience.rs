//! Stops a trial that no longer improves, or lets another scheduler stop only such trials.
//!
//! The rule is Optuna's `PatientPruner`. It looks at one curve; whom the curve is compared with is the other's business.

use serde::{Deserialize, Serialize};

use super::wrapped::{Inner, Wrapped};
use super::{Allowance, Assignment, Scheduler, Verdict, figure, latest, run_to_end, with_sibling};
use crate::event::{Decision, Work};
use crate::memo::Memo;
use crate::metric::Direction;
use crate::registry::{Entry, OptionDoc, configure, written};
use crate::rng::Rng;
use crate::spec::Spec;
use crate::study::Study;
use crate::trial::{CurvePoint, Piece};

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "patience",
    summary: "stops a trial that has not improved for so many reports, alone or where another scheduler would stop it",
    options: &[
        OptionDoc {
            name: "patience",
            doc: "reports without improvement that are forgiven, from 0; default 5",
        },
        OptionDoc {
            name: "min_delta",
            doc: "how much worse than the best before, in the metric's own unit, is not blamed; from 0, default 0",
        },
        OptionDoc {
            name: "scheduler",
            doc: "whose verdicts to stop count only then: a name, or a table with name and options; \
                  by default none, and whoever has lost patience is stopped",
        },
    ],
    build: |options| {
        let (mut patience, _) = configure::<Patience>(options)?;
        if !(patience.min_delta >= 0.0 && patience.min_delta.is_finite()) {
            return Err(format!("min_delta = {}, but a gain is at least 0", patience.min_delta));
        }
        let mut inner = None;
        if let Some(wrapped) = &patience.scheduler {
            let (built, complete) = wrapped.build()?;
            (inner, patience.scheduler) = (Some(built), Some(complete));
        }
        let complete = written(&patience)?;
        Ok((Box::new(Patient { options: patience, inner }), complete))
    },
};

/// Patience is lost when none of the last `patience` + 1 reports is within `min_delta` of the best loss before them. Only
/// reports of the first objective count, and there must be more than `patience` + 1. Every replicate is looked at by itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Patience {
    #[serde(rename = "patience")]
    reports: usize,
    min_delta: f64,
    scheduler: Option<Wrapped>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { reports: 5, min_delta: 0.0, scheduler: None }
    }
}

struct Patient {
    options: Patience,
    inner: Option<Box<dyn Scheduler>>,
}

impl Scheduler for Patient {
    fn assign(&self, study: &Study, allowance: Allowance, memo: &mut Memo, rng: &mut Rng) -> Assignment {
        match &self.inner {
            Some(inner) => inner.assign(study, allowance, &mut memo.get::<Inner>().0, rng),
            None => run_to_end(study, allowance),
        }
    }

    fn only_judges(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.only_judges())
    }

    fn branches(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.branches())
    }

    fn measures_again(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.measures_again())
    }

    fn opening(&self, study: &Study) -> Option<u16> {
        self.inner.as_ref()?.opening(study)
    }

    fn judge(&self, study: &Study, work: Work, memo: &mut Memo, rng: &mut Rng) -> Verdict {
        if let Some(verdict) = with_sibling(study, work) {
            return verdict;
        }
        let Some((piece, point)) = latest(study, work) else { return Verdict::go_on() };
        let lost = self.options.lost(piece);
        let Some(inner) = &self.inner else {
            return lost.map_or_else(Verdict::go_on, |lost| self.stop(study, point, lost));
        };
        let verdict = inner.judge(study, work, &mut memo.get::<Inner>().0, rng);
        match verdict.decision {
            Decision::Stop if lost.is_none() => Verdict::go_on(),
            _ => verdict,
        }
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        self.inner.as_ref().map_or(Ok(()), |inner| inner.check(spec))
    }
}

impl Patience {
    /// The best losses before and during the last `patience` + 1 reports, if there was no improvement.
    fn lost(&self, piece: &Piece) -> Option<(f64, f64)> {
        let losses = || piece.curve.iter().rev().map(|point| point.loss).filter(|loss| !loss.is_nan());
        let during = losses().take(self.reports + 1).min_by(f64::total_cmp)?;
        let before = losses().skip(self.reports + 1).min_by(f64::total_cmp)?;
        (before + self.min_delta < during).then_some((before, during))
    }
}

impl Patient {
    fn stop(&self, study: &Study, point: &CurvePoint, (before, during): (f64, f64)) -> Verdict {
        let direction = study.metrics().objectives[0].direction;
        let (before, during) = (figure(direction.turn(before)), figure(direction.turn(during)));
        let side = match direction {
            Direction::Minimize => "above",
            Direction::Maximize => "below",
        };
        let (step, reports) = (point.step, self.options.reports + 1);
        Verdict::stop(format!(
            "at step {step}: the best of the last {reports} reports, {during}, is {side} {before} before"
        ))
    }
}
