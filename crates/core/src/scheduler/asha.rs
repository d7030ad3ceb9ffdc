//! Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning").
//!
//! Nobody waits at a rung. Either the paused trials in the best 1/η of a rung are resumed as workers become free
//! (`promote`, algorithm 2 of the paper), or a trial that comes to a rung and is not in its best 1/η ends there (`stop`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::brackets::Brackets;
use super::fronts;
use super::ranking::{Ranked, Ranking};
use super::rungs::{
    self, Losses, Nobody, arrival, at_the_end, check_options, concerns, ended_since, follower, is_over,
    is_paused, losses_at, losses_of, sent_to,
};
use super::{
    Allowance, Assignment, Scheduler, Verdict, figure, is_compared, latest, run_to_end, with_sibling,
};
use crate::event::Work;
use crate::memo::Memo;
use crate::metric::Direction;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::spec::Spec;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "asha",
    summary: "trials are compared at rungs as they come; the best 1/eta go on, and nobody waits",
    options: &[
        OptionDoc {
            name: "mode",
            doc: "\"stop\": a trial not among the best ends at the rung (default); \
                  \"promote\": all pause there, and the best are resumed from their checkpoints",
        },
        OptionDoc {
            name: "eta",
            doc: "one in eta goes on, and each rung is eta times further; from 2, default 3",
        },
        OptionDoc { name: "min_budget", doc: "the smallest rung, in steps; from 1, default 1" },
        OptionDoc {
            name: "min_early_stopping",
            doc: "how many of the lowest rungs are left out, so that trials are compared later; default 0",
        },
        OptionDoc {
            name: "brackets",
            doc: "groups of trials side by side, each compared from one rung later on than the one before; \
                  from 1, default 1",
        },
    ],
    build: |options| {
        let (asha, complete) = configure::<Asha>(options)?;
        check_options(asha.eta, asha.min_budget)?;
        if asha.brackets == 0 {
            return Err("brackets = 0, but trials are compared in at least 1".into());
        }
        Ok((Box::new(asha), complete))
    },
};

/// The rungs are at `min_budget`·ηˢ⁺ᵏ below the study's `max_budget`, where nobody is stopped any more. At a rung the
/// first report at or beyond it counts. One objective decides by its loss; of several all do, by fronts ([`fronts`]).
///
/// A trial is compared with those of its own bracket; with the default of 1 that is with all. See [`Brackets`].
///
/// *Stop.* A trial goes on if its loss is no worse than the n/η-th best of the n that have come to the rung, itself
/// among them, rounded down but at least the best (Optuna's rule; Ray Tune interpolates
/// between the losses that came before, Syne Tune goes by rank without rounding).
/// So the first to come always goes on, and equal losses do. A report that passes several rungs is compared at each.
/// Of several replicates the first is compared, with the first of the other trials; see [`is_compared`].
///
/// *Promote.* From the top rung down, the best paused trial among the best ⌊n/η⌋ goes on to the next rung; if there is
/// none, a new trial starts. A trial that fails or that a user stops counts as the worst of the last rung it was sent
/// to; one that completes early counts there with its final loss. A trial that pauses without a loss at its rung is
/// not among those compared. Once no trial may be started, whoever looks better than the best trial did at the same step goes on, and if none has completed and none is
/// running, the best of the highest rung
/// ([`at_the_end`]): a study with few trials ends with a result, and with the best that it knows of. The others stay paused. Of several
/// replicates, number 0 decides and the others follow it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asha {
    pub(super) mode: Mode,
    pub(super) eta: u64,
    pub(super) min_budget: u64,
    pub(super) min_early_stopping: u32,
    pub(super) brackets: u32,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Stop,
    Promote,
}

impl Default for Asha {
    fn default() -> Self {
        Self { mode: Mode::Stop, eta: 3, min_budget: 1, min_early_stopping: 0, brackets: 1 }
    }
}

/// Everyone who has come to the rungs.
#[derive(Default)]
struct Field {
    begun: bool,
    from: u32,
    rungs: Vec<u64>,
    brackets: Brackets,
    reports: usize,
    ended: (usize, usize),
    nobody: Nobody,
    replicates: Vec<Replicate>,
}

/// The rungs of one replicate index.
#[derive(Default)]
struct Replicate {
    /// Trial by trial, the loss at each rung as ranked; NaN where the trial has not come. One objective only.
    losses: Vec<f64>,
    /// Bracket by bracket, rung by rung.
    ranked: Vec<Rung>,
}

/// Who has come to a rung of a bracket: by loss where there is one objective, else by fronts.
#[derive(Default)]
struct Rung {
    ranking: Ranking,
    /// Those among the best who are not known to have gone on or ended.
    open: BTreeSet<Ranked>,
    several: Several,
}

/// The losses of those who have come, and their order as far as it is known.
#[derive(Default)]
struct Several {
    losses: BTreeMap<u32, Box<[f64]>>,
    /// Best first.
    order: Option<Vec<u32>>,
}

impl Several {
    fn order(&mut self) -> &[u32] {
        let losses = &self.losses;
        self.order.get_or_insert_with(|| fronts::best_first(losses))
    }
}

impl Scheduler for Asha {
    fn assign(&self, study: &Study, allowance: Allowance, memo: &mut Memo, _: &mut Rng) -> Assignment {
        if self.mode == Mode::Stop {
            return run_to_end(study, allowance);
        }
        if let Some(assignment) = follower(study) {
            return assignment;
        }
        let field = memo.get::<Field>();
        self.advance(study, field);
        if let Some(assignment) = self.promotion(study, field) {
            return assignment;
        }
        if allowance.may_start {
            let bracket = field.bracket_of(study.trials().len() as u32);
            return Assignment::Start { budget: field.rungs.get(bracket).copied() };
        }
        if study.incumbent().is_none()
            && study.running().is_empty()
            && let Some(leader) = field.leader(study)
        {
            return leader;
        }
        at_the_end(study, &field.rungs, &mut field.nobody)
    }

    fn only_judges(&self) -> bool {
        self.mode == Mode::Stop
    }

    fn judge(&self, study: &Study, work: Work, memo: &mut Memo, _: &mut Rng) -> Verdict {
        if self.mode == Mode::Promote || work.trial < study.scheduler_from() {
            return Verdict::go_on();
        }
        if let Some(verdict) = with_sibling(study, work) {
            return verdict;
        }
        if !is_compared(study, work) {
            return Verdict::go_on();
        }
        let Some((piece, point)) = latest(study, work) else { return Verdict::go_on() };
        // At its end nothing is left to be saved, and its value is as good as that of any other that got there.
        if study.spec().max_budget.is_some_and(|max| point.step >= max) {
            return Verdict::go_on();
        }
        let field = memo.get::<Field>();
        self.advance(study, field);
        let bracket = field.bracket_of(work.trial);
        for k in bracket..field.rungs.len() {
            let rung = field.rungs[k];
            if arrival(study, piece, rung).is_none_or(|arrived| arrived.step != point.step) {
                continue;
            }
            let at = (rung, point.step);
            let Rung { ranking, several, .. } = field.rung(work.replicate, bracket, k);
            match losses_at(study, piece, rung) {
                Some(Losses::One(loss)) => {
                    if let Some(cut) = ranking.cut().filter(|cut| loss > cut.loss) {
                        return self.stop(study, at, (loss, cut.loss), ranking.len());
                    }
                }
                Some(Losses::Several(_)) => {
                    let order = several.order();
                    let quota = self.quota(order.len());
                    if let Some(place) =
                        order.iter().position(|&trial| trial == work.trial).filter(|p| *p >= quota)
                    {
                        return stop_by_fronts(at, place, quota, order.len());
                    }
                }
                None => {}
            }
        }
        Verdict::go_on()
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        rungs::check(spec, self.first())
    }
}

impl Asha {
    fn first(&self) -> u64 {
        self.min_budget.saturating_mul(self.eta.saturating_pow(self.min_early_stopping))
    }

    fn quota(&self, trials: usize) -> usize {
        let share = trials / self.eta as usize;
        match self.mode {
            Mode::Stop => share.max(1),
            Mode::Promote => share,
        }
    }

    fn advance(&self, study: &Study, field: &mut Field) {
        if !field.begun || field.from != study.scheduler_from() {
            let max = study.spec().max_budget.unwrap_or(u64::MAX);
            let rungs = rungs::rungs(self.first(), self.eta, max);
            let brackets = Brackets::new(self.first(), self.eta, max, self.brackets);
            *field = Field { begun: true, from: study.scheduler_from(), rungs, brackets, ..Field::default() };
        }
        for report in &study.reports()[field.reports..] {
            let is_followed = match self.mode {
                Mode::Stop => is_compared(study, report.work),
                Mode::Promote => report.work.replicate == 0,
            };
            for k in 0..field.rungs.len() {
                if is_followed && concerns(study, report.work, field.rungs[k], report.step) {
                    self.refresh(study, field, report.work, k);
                }
            }
        }
        field.reports = study.reports().len();
        if self.mode == Mode::Promote {
            for number in ended_since(study, &mut field.ended) {
                let piece = study.trials()[number as usize].piece(0);
                let sent = piece.map_or(0, |piece| sent_to(piece, &field.rungs));
                for k in 0..sent.min(field.rungs.len()) {
                    self.refresh(study, field, Work::of(number), k);
                }
            }
        }
    }

    /// Ranks a piece at rung `k` by what the study now says.
    fn refresh(&self, study: &Study, field: &mut Field, work: Work, k: usize) {
        let Some(offset) = work.trial.checked_sub(field.from) else { return };
        let bracket = field.bracket_of(work.trial);
        if k < bracket {
            return;
        }
        let (rung, width) = (field.rungs[k], field.rungs.len());
        let losses = match self.mode {
            Mode::Stop => study.piece(work).and_then(|piece| losses_at(study, piece, rung)),
            Mode::Promote => {
                study.trial(work.trial).and_then(|trial| losses_of(study, trial, &field.rungs, k))
            }
        };
        if study.metrics().objectives.len() > 1 {
            let several = &mut field.rung(work.replicate, bracket, k).several;
            let before = match losses {
                Some(Losses::Several(losses)) => several.losses.insert(work.trial, losses),
                Some(Losses::One(_)) | None => several.losses.remove(&work.trial),
            };
            if several.losses.get(&work.trial) != before.as_ref() {
                several.order = None;
            }
            return;
        }
        let loss = losses.and_then(Losses::one);
        field.rung(work.replicate, bracket, k);
        let replicate = &mut field.replicates[usize::from(work.replicate)];
        let slot = offset as usize * width + k;
        if replicate.losses.len() <= slot {
            replicate.losses.resize((offset as usize + 1) * width, f64::NAN);
        }
        let before = std::mem::replace(&mut replicate.losses[slot], loss.unwrap_or(f64::NAN));
        let Rung { ranking, open, .. } = &mut replicate.ranked[bracket * width + k];
        let mut moved = |ranked: Ranked, within: bool| {
            if !within {
                open.remove(&ranked);
            } else if self.mode == Mode::Promote {
                open.insert(ranked);
            }
        };
        if loss == Some(before) {
            return;
        }
        if !before.is_nan() {
            ranking.remove(Ranked::new(before, work.trial), |n| self.quota(n), &mut moved);
        }
        if let Some(loss) = loss {
            ranking.insert(Ranked::new(loss, work.trial), |n| self.quota(n), &mut moved);
        }
    }

    /// The best paused trial within the quota of the highest rung that has one, whatever its bracket.
    fn promotion(&self, study: &Study, field: &mut Field) -> Option<Assignment> {
        let Field { rungs, replicates, .. } = field;
        let width = rungs.len();
        let ranked = &mut replicates.first_mut()?.ranked;
        for k in (0..width).rev() {
            for rung in ranked.iter_mut().skip(k).step_by(width) {
                if let Some(number) = self.candidate(study, rungs, rung, k) {
                    let budget = rungs.get(k + 1).copied();
                    return Some(Assignment::Resume { work: Work::of(number), budget });
                }
            }
        }
        None
    }

    fn candidate(&self, study: &Study, rungs: &[u64], rung: &mut Rung, k: usize) -> Option<u32> {
        let has_left = |number: u32| {
            let trial = &study.trials()[number as usize];
            is_over(trial) || trial.piece(0).is_none_or(|piece| sent_to(piece, rungs) > k + 1)
        };
        let waits = |number: u32| is_paused(&study.trials()[number as usize]);
        if !rung.several.losses.is_empty() {
            let quota = self.quota(rung.several.losses.len());
            let within = &rung.several.order()[..quota];
            return within.iter().copied().find(|&number| !has_left(number) && waits(number));
        }
        let (mut gone, mut chosen) = (Vec::new(), None);
        for &candidate in &rung.open {
            if has_left(candidate.trial) {
                gone.push(candidate);
            } else if waits(candidate.trial) {
                chosen = Some(candidate.trial);
                break;
            }
        }
        for candidate in gone {
            rung.open.remove(&candidate);
        }
        chosen
    }

    fn stop(
        &self,
        study: &Study,
        (rung, step): (u64, u64),
        (loss, cut): (f64, f64),
        trials: usize,
    ) -> Verdict {
        let direction = study.metrics().objectives[0].direction;
        let (value, bar) = (figure(direction.turn(loss)), figure(direction.turn(cut)));
        let side = match direction {
            Direction::Minimize => "above",
            Direction::Maximize => "below",
        };
        let place = self.quota(trials);
        let best = if place == 1 { "the best".into() } else { format!("number {place}") };
        Verdict::stop(format!("at step {step}: {value} is {side} {bar}, {best} of {trials} at rung {rung}"))
    }
}

impl Field {
    fn bracket_of(&self, trial: u32) -> usize {
        self.brackets.of(trial.saturating_sub(self.from))
    }

    fn rung(&mut self, replicate: u16, bracket: usize, k: usize) -> &mut Rung {
        let (index, width) = (usize::from(replicate), self.rungs.len());
        if self.replicates.len() <= index {
            self.replicates.resize_with(index + 1, Replicate::default);
        }
        let ranked = &mut self.replicates[index].ranked;
        if ranked.len() <= bracket * width + k {
            ranked.resize_with((bracket + 1) * width, Rung::default);
        }
        &mut ranked[bracket * width + k]
    }

    /// The best paused trial of the highest rung that has one, whatever the quota.
    fn leader(&mut self, study: &Study) -> Option<Assignment> {
        let Self { rungs, replicates, .. } = self;
        let width = rungs.len();
        let ranked = &mut replicates.first_mut()?.ranked;
        for k in (0..width).rev() {
            let waits = |number: &u32| {
                let trial = &study.trials()[*number as usize];
                is_paused(trial)
                    && !is_over(trial)
                    && trial.piece(0).is_some_and(|piece| sent_to(piece, rungs) == k + 1)
            };
            for rung in ranked.iter_mut().skip(k).step_by(width) {
                let by_loss = rung.ranking.iter().map(|ranked| ranked.trial).find(|number| waits(number));
                if let Some(number) = by_loss.or_else(|| rung.several.order().iter().copied().find(waits)) {
                    let budget = rungs.get(k + 1).copied();
                    return Some(Assignment::Resume { work: Work::of(number), budget });
                }
            }
        }
        None
    }
}

fn stop_by_fronts((rung, step): (u64, u64), place: usize, quota: usize, trials: usize) -> Verdict {
    let best = if quota == 1 { "the best goes".into() } else { format!("the best {quota} go") };
    Verdict::stop(format!(
        "at step {step}: number {} by fronts of {trials} at rung {rung}, of whom {best} on",
        place + 1
    ))
}
