//! Races trials over their replicates: a trial begins with few folds or seeds, and is given more only while it may still win.
//!
//! After each replicate a trial is compared with the best completed one on the same replicates. What may still come out
//! ahead goes on; what completes all replicates takes part in the study like any other. When no more trials are started, those that may
//! be the best are measured again on replicates that did not choose them. How far the curve of a replicate
//! goes is not decided here, but a pruner can be named that does, for the replicates with which all trials begin.

use serde::{Deserialize, Serialize};

use super::paired::{
    Measured, Noise, chance_ahead, chance_better, differences, losses, mean, worse_by_ranks,
};
use super::wrapped::Wrapped;
use super::{Allowance, Assignment, Scheduler, Verdict, figure, with_sibling};
use crate::event::{Outcome, Work};
use crate::figures::percent;
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure, written};
use crate::rng::Rng;
use crate::spec::Spec;
use crate::study::Study;
use crate::trial::{Trial, TrialState, WorkState};

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "race",
    summary: "a trial that cannot win is stopped after few of its folds or seeds; the best are measured again at the end",
    options: &[
        OptionDoc {
            name: "rule",
            doc: "when a trial cannot win: \"interval\" (the chance that its mean over all replicates comes out ahead is below risk; \
                  default), \"wilcoxon\" (signed-rank test, p below risk), or \"forgiving\" (its mean is worse than the \
                  best trial's worst replicate)",
        },
        OptionDoc {
            name: "first",
            doc: "replicates with which a trial begins; from 1 to below their number, with a pruner up to it, default 1",
        },
        OptionDoc {
            name: "risk",
            doc: "the chance or p below which a trial is stopped, above 0 and up to 0.5; default 0.4 for interval and 0.1 for wilcoxon. Of no use to the forgiving rule",
        },
        OptionDoc {
            name: "finalists",
            doc: "how many trials are measured again at the end, at most; only those that may be the best are, for as long as they may. Default 3",
        },
        OptionDoc {
            name: "pruner",
            doc: "a scheduler that stops trials by the curves of the replicates they begin with as well: {\"name\": \"median\"}, \
                  with its options; one that pauses trials cannot. None by default",
        },
    ],
    build: |options| {
        let (mut race, _) = configure::<Race>(options)?;
        race.check_options()?;
        race.risk = Some(race.risk());
        if let Some(wrapped) = &race.pruner {
            let (pruner, complete) = wrapped.build()?;
            if !pruner.only_judges() {
                return Err("its pruner pauses trials or holds parts of them, which the race does itself; take one that only \
                            stops, such as median, threshold, or asha in mode \"stop\""
                    .into());
            }
            (race.built, race.pruner) = (Some(pruner), Some(complete));
        }
        let complete = written(&race)?;
        Ok((Box::new(race), complete))
    },
};

/// The first objective decides, and there may be no other. Trials are compared by the values that their replicates completed with.
///
/// *Interval.* See [`chance_ahead`]: the differences to the best trial on the same replicates, with the noise that the best and completed
/// trials like it have shown. So a trial may be stopped after one replicate once two trials have completed. The risk is far above what a
/// test would take: what counts is the best of many trials, and fits that a near tie does not take go to others. A trial whose
/// values are those of the best on two replicates and more is taken for the same.
///
/// *Wilcoxon.* Optuna's `WilcoxonPruner`: from two replicates on, a one-sided signed-rank test; a trial whose mean so far is no worse
/// than the best trial's over all replicates goes on. Four replicates are the fewest that can reach p < 0.1.
///
/// *Forgiving.* The rule of "Don't waste your time: early stopping cross-validation" (Bergman, Purucker and Hutter 2024, arXiv:2405.03389).
///
/// The first trial, and all until one has completed, run all their replicates. A trial's next replicate begins when the one before has
/// ended; once no new trials may be started, as many at a time as there are workers. A trial of which a replicate
/// fails is stopped. If nothing keeps the metrics' constraints yet, nobody is stopped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Race {
    rule: Rule,
    first: u16,
    risk: Option<f64>,
    finalists: usize,
    pruner: Option<Wrapped>,
    #[serde(skip)]
    built: Option<Box<dyn Scheduler>>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rule {
    Interval,
    Wilcoxon,
    Forgiving,
}

impl Default for Race {
    fn default() -> Self {
        Self { rule: Rule::Interval, first: 1, risk: None, finalists: 3, pruner: None, built: None }
    }
}

/// A trial is measured again unless the chance that it is better than the first is below this, and only until the chance that it
/// comes out ahead of the best of those that have been is.
const DOUBT: f64 = 0.1;

/// Degrees of freedom that completed trials lend to one comparison, at most.
const LENT: f64 = 8.0;

/// What becomes of a trial of which not all replicates have begun.
enum Course {
    /// It waits for replicates that run.
    Busy,
    /// Its next replicate begins.
    On(Work),
    /// It cannot win.
    Over(Work, String),
}

impl Scheduler for Race {
    fn assign(&self, study: &Study, allowance: Allowance, _: &mut Memo, _: &mut Rng) -> Assignment {
        let mut from = Work::of(0);
        while let Some(&work) = study.held().range(from..).next() {
            match self.course(study, &study.trials()[work.trial as usize], work, allowance) {
                Course::Busy => {}
                Course::On(work) => return Assignment::Resume { work, budget: None },
                Course::Over(work, why) => return Assignment::Stop { work, why: why.into() },
            }
            from = Work::of(work.trial + 1);
        }
        // Those that another scheduler paused have lost.
        if let Some(&work) = study.paused().range(Work::of(study.scheduler_from())..).next() {
            return Assignment::Resume { work, budget: None };
        }
        if allowance.may_start { Assignment::Start { budget: None } } else { self.final_heat(study) }
    }

    fn judge(&self, study: &Study, work: Work, memo: &mut Memo, rng: &mut Rng) -> Verdict {
        if usize::from(work.replicate) >= usize::from(study.spec().replicates.max(1)) {
            return Verdict::go_on();
        }
        if let Some(verdict) = with_sibling(study, work) {
            return verdict;
        }
        // Later replicates are only those of trials that may win: the worst of them is better than most.
        let all_have_it = work.replicate < self.first;
        match self.built.as_ref().filter(|_| all_have_it) {
            Some(pruner) => pruner.judge(study, work, memo, rng),
            None => Verdict::go_on(),
        }
    }

    fn opening(&self, study: &Study) -> Option<u16> {
        let is_first = study.incumbent().is_none() && study.trials().len() as u32 <= study.policy_from();
        (!is_first).then_some(self.first)
    }

    fn measures_again(&self) -> bool {
        true
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        if spec.metrics.objectives.len() > 1 {
            return Err("trials race by one metric, and the study has several; take another scheduler".into());
        }
        if spec.replicates < 2 {
            return Err("there is nothing to race, since each trial runs once; give it folds or seeds \
                        (`folds` and `seeds` under [replicates] in a study file)"
                .into());
        }
        let (first, all) = (self.first, spec.replicates);
        if first > all || (first == all && self.built.is_none()) {
            return Err(format!(
                "first = {first}, but a trial has {all} replicates, so it would run them all before it is compared; lower first"
            ));
        }
        if let Some(pruner) = &self.built {
            pruner.check(spec)?;
        }
        Ok(())
    }
}

impl Race {
    fn check_options(&self) -> Result<(), String> {
        if self.first == 0 {
            return Err(
                "first = 0, but a trial has to run before it is compared: give a whole number from 1".into(),
            );
        }
        let risk = self.risk();
        if !(risk > 0.0 && risk <= 0.5) {
            return Err(format!("risk = {risk}, but it lies above 0 and up to 0.5"));
        }
        Ok(())
    }

    fn risk(&self) -> f64 {
        self.risk.unwrap_or(match self.rule {
            Rule::Interval | Rule::Forgiving => 0.4,
            Rule::Wilcoxon => 0.1,
        })
    }

    /// What becomes of a trial whose replicate `next` is the first that has not begun.
    fn course(&self, study: &Study, trial: &Trial, next: Work, allowance: Allowance) -> Course {
        let failed = |outcome: &Outcome| !matches!(outcome, Outcome::Completed { .. });
        let mut pieces = trial.replicates();
        if let Some((work, _)) = pieces.find(|(_, piece)| piece.outcome.as_ref().is_some_and(failed)) {
            return Course::Over(next, format!("replicate {} did not complete", work.replicate));
        }
        let is_busy = |state| matches!(state, WorkState::Running | WorkState::Waiting | WorkState::Paused);
        let busy = trial.replicates().any(|(_, piece)| is_busy(piece.state));
        match self.verdict(study, trial) {
            Some(why) => Course::Over(next, why),
            None if busy && allowance.may_start => Course::Busy,
            None => Course::On(next),
        }
    }

    /// Why a trial cannot win, if it cannot.
    fn verdict(&self, study: &Study, trial: &Trial) -> Option<String> {
        let best = study.incumbent().filter(|best| study.violation(best) <= 0.0)?;
        let pair = Pair::of(study, trial, best);
        if pair.own.len() < usize::from(self.first) || pair.behind.is_empty() {
            return None;
        }
        let why = match self.rule {
            Rule::Interval => self.by_interval(study, &pair),
            Rule::Wilcoxon => self.by_ranks(&pair),
            Rule::Forgiving => by_the_worst(study, &pair),
        }?;
        Some(format!("after {} of {} replicates: {why}", pair.own.len(), pair.others.len()))
    }

    fn by_interval(&self, study: &Study, pair: &Pair) -> Option<String> {
        let Pair { best, others, behind, .. } = pair;
        // Another name for the same thing: no further replicate can tell them apart.
        if behind.len() > 1 && behind.iter().all(|difference| *difference == 0.0) {
            return Some(format!("the same as trial {best} on all of them"));
        }
        let chance = chance_ahead(behind, others.len(), noise(study, *best));
        (chance < self.risk()).then(|| {
            let (gap, chance) = (figure(mean(behind)), percent(chance));
            format!("worse than trial {best} by {gap} on the same ones, chance to win {chance}")
        })
    }

    fn by_ranks(&self, pair: &Pair) -> Option<String> {
        let p = worse_by_ranks(&pair.own, &pair.others, 2, self.risk())?;
        Some(format!("worse than trial {} with p = {} (signed ranks)", pair.best, figure(p)))
    }

    /// Once nothing else is left to do: trials that may be the best are measured again.
    fn final_heat(&self, study: &Study) -> Assignment {
        if study.spec().confirmations() == 0 || self.finalists == 0 {
            return if study.held().is_empty() { Assignment::Done } else { Assignment::Wait };
        }
        let counted = study.spec().replicates.max(1);
        if !study.held().is_empty() || study.running().iter().any(|work| work.replicate < counted) {
            return Assignment::Wait;
        }
        for number in self.finalists(study) {
            let trial = &study.trials()[number as usize];
            let held = trial.confirmations().find(|(_, piece)| piece.state == WorkState::Held);
            if let Some((work, _)) = held.filter(|_| !has_lost(study, trial)) {
                return Assignment::Resume { work, budget: None };
            }
        }
        if study.running().is_empty() { Assignment::Done } else { Assignment::Wait }
    }

    /// The best completed trials by the replicates that all have, as far as they may be better than the first of them.
    fn finalists(&self, study: &Study) -> Vec<u32> {
        let metrics = study.metrics();
        let mut ranked: Vec<(f64, f64, u32)> = study
            .finished()
            .iter()
            .map(|number| &study.trials()[*number as usize])
            .filter(|trial| trial.state() == TrialState::Completed)
            .filter_map(|trial| Some((study.violation(trial), trial.loss(metrics, 0)?, trial.number)))
            .collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        let Some(&(violation, _, leader)) = ranked.first() else { return Vec::new() };
        let behind = |number: u32| {
            Pair::of(study, &study.trials()[number as usize], &study.trials()[leader as usize]).behind
        };
        let may_be_better =
            |number: u32| number == leader || chance_better(&behind(number), noise(study, leader)) >= DOUBT;
        let level = ranked.iter().take_while(|rank| rank.0 <= violation.max(0.0));
        level.map(|rank| rank.2).take(self.finalists).filter(|number| may_be_better(*number)).collect()
    }
}

/// A trial beside the best one, by the replicates that each has completed.
struct Pair {
    best: u32,
    own: Vec<Measured<u16>>,
    others: Vec<Measured<u16>>,
    /// By how much it is worse on each that both have.
    behind: Vec<f64>,
}

impl Pair {
    fn of(study: &Study, trial: &Trial, best: &Trial) -> Self {
        let losses = |trial: &Trial| trial.replicate_losses(study.metrics(), 0).collect::<Vec<_>>();
        let (own, others) = (losses(trial), losses(best));
        Self { best: best.number, behind: differences(&own, &others), own, others }
    }
}

/// The forgiving rule.
fn by_the_worst(study: &Study, pair: &Pair) -> Option<String> {
    let worst = pair.others.iter().map(|(_, loss)| *loss).fold(f64::NEG_INFINITY, f64::max);
    let own = mean(&losses(&pair.own));
    let told = |loss: f64| figure(study.metrics().objectives[0].direction.turn(loss));
    (own > worst).then(|| {
        let (own, worst) = (told(own), told(worst));
        format!("{own} on average, and the worst replicate of trial {} is {worst}", pair.best)
    })
}

/// Whether a finalist is given up: some other has been measured again to the end, and the chance that this one's mean over all
/// replicates comes out ahead of it is below [`DOUBT`]. It stays what it was by those that counted.
fn has_lost(study: &Study, trial: &Trial) -> bool {
    let Some(best) = study.incumbent().filter(|best| best.is_confirmed()) else { return false };
    let metrics = study.metrics();
    let all = |trial: &Trial| -> Vec<Measured<u16>> {
        trial.replicate_losses(metrics, 0).chain(trial.confirmation_losses(metrics, 0)).collect()
    };
    let (own, others) = (all(trial), all(best));
    chance_ahead(&differences(&own, &others), others.len(), noise(study, best.number)) < DOUBT
}

/// The noise of a difference between a trial and one that is as noisy: twice that of one. What may win is about as good as the best, and
/// so about as noisy.
fn noise(study: &Study, best: u32) -> Option<Noise> {
    let (variance, freedom) = study.variance_of_completed(study.trial(best)?, 0)?;
    Some(Noise { variance: 2.0 * variance, freedom: freedom.min(LENT) })
}
