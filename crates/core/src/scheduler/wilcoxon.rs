//! Stops a trial that does worse than the best one on the same instances, by a paired test.
//!
//! For objectives that report one value per instance (fold, data set, seed), each instance being a step or a replicate; their
//! order does not matter. The rule is Optuna's `WilcoxonPruner`. It is not for learning curves, whose steps follow from
//! one another.

use serde::{Deserialize, Serialize};

use super::paired::{differences, worse_by_ranks};
use super::{Allowance, Assignment, Scheduler, Verdict, figure, latest, run_to_end, with_sibling};
use crate::event::Work;
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::study::Study;
use crate::trial::Trial;

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "wilcoxon",
    summary: "stops a trial that is worse than the best one on the same folds or instances, by a signed-rank test",
    options: &[
        OptionDoc {
            name: "p_threshold",
            doc: "a trial is stopped where chance alone would be so much worse with a smaller probability; \
                  0 to 1, default 0.1",
        },
        OptionDoc {
            name: "startup_steps",
            doc: "instances that both must have before they are compared, at least 2; default 2",
        },
    ],
    build: |options| {
        let (wilcoxon, complete) = configure::<Wilcoxon>(options)?;
        if !(0.0..=1.0).contains(&wilcoxon.p_threshold) {
            return Err(format!(
                "p_threshold = {}, but a probability lies between 0 and 1",
                wilcoxon.p_threshold
            ));
        }
        Ok((Box::new(wilcoxon), complete))
    },
};

/// The instances of a trial are all reports of all its replicates, each with its replicate and step. The best trial is
/// the incumbent; the first objective decides. A trial whose mean is no worse than the incumbent's is never stopped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wilcoxon {
    p_threshold: f64,
    startup_steps: usize,
}

impl Default for Wilcoxon {
    fn default() -> Self {
        Self { p_threshold: 0.1, startup_steps: 2 }
    }
}

impl Scheduler for Wilcoxon {
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
        if latest(study, work).is_none() {
            return Verdict::go_on();
        }
        let (Some(trial), Some(best)) = (study.trial(work.trial), study.incumbent()) else {
            return Verdict::go_on();
        };
        let (own, of_best) = (instances(trial), instances(best));
        let least = self.startup_steps.max(2);
        let Some(p) = worse_by_ranks(&own, &of_best, least, self.p_threshold) else {
            return Verdict::go_on();
        };
        Verdict::stop(format!(
            "worse than trial {} on {} common instances, by chance with p = {}",
            best.number,
            differences(&own, &of_best).len(),
            figure(p)
        ))
    }
}

/// Everything that a trial has reported for the first objective, by replicate and step.
fn instances(trial: &Trial) -> Vec<((u16, u64), f64)> {
    let reports = trial
        .pieces()
        .flat_map(|(work, piece)| piece.curve.iter().map(move |at| ((work.replicate, at.step), at.loss)));
    reports.filter(|(_, loss)| !loss.is_nan()).collect()
}
