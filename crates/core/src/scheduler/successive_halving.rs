//! Synchronous successive halving (Jamieson and Talwalkar 2016; as algorithm 1 of Li et al. 2020).
//!
//! A bracket is a fixed number of trials that start together at the smallest budget. When all of them have come to a
//! rung, the best 1/η of them go on from their checkpoints to the next, until one runs to its end.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::brackets::{Brackets as Rounds, Slice};
use super::fronts;
use super::ranking::Ranked;
use super::rungs::{
    self, Losses, check_options, concerns, contender, ended_since, follower, is_over, is_paused, losses_at,
    losses_of, sent_to,
};
use super::{Allowance, Assignment, Scheduler, Verdict};
use crate::event::Work;
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::spec::Spec;
use crate::study::Study;
use crate::trial::Trial;

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "successive_halving",
    summary: "brackets of trials; when all have come to a rung, the best 1/eta are resumed to the next",
    options: &[
        OptionDoc {
            name: "eta",
            doc: "one in eta goes on, and each rung is eta times further; from 2, default 3",
        },
        OptionDoc { name: "min_budget", doc: "the first rung, in steps; from 1, default 1" },
        OptionDoc {
            name: "bracket_trials",
            doc: "trials in a bracket, from 1; by default eta to the number of rungs below max_budget, \
                  so that one in each bracket runs to its end",
        },
    ],
    build: |options| {
        let (halving, complete) = configure::<SuccessiveHalving>(options)?;
        check_options(halving.eta, halving.min_budget)?;
        if halving.bracket_trials == Some(0) {
            return Err("bracket_trials = 0, but a bracket has at least 1 trial".into());
        }
        Ok((Box::new(halving), complete))
    },
};

/// The rungs are at `min_budget`·ηᵏ below the study's `max_budget`; beyond the last a trial runs to its end. One objective
/// decides by its loss, several by fronts ([`fronts`]), ties by trial number. At least one trial of a rung goes on, also where the bracket has fewer
/// than η trials left.
///
/// Bracket *b* is the *b*-th group of trials by number since the policy began. While a rung waits for running trials,
/// free workers fill the next bracket rather than idle; without leave to start trials they wait. The last bracket is
/// smaller where the limit of trials or the space ends it, and fills up if the limit is raised later. Trials that are
/// not promoted stay paused: their checkpoints are of no more use once the study is over.
///
/// A trial that fails, or that a user stops, is the worst of the last rung it was sent to; one that completes early counts with its final
/// loss at all later rungs. A trial that pauses without a loss at its rung counts with its last one. Of several
/// replicates, number 0 decides and the others follow it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SuccessiveHalving {
    pub(super) eta: u64,
    pub(super) min_budget: u64,
    pub(super) bracket_trials: Option<u32>,
    /// How many of Hyperband's brackets take turns; 0 for plain halving. Not an option of this scheduler's own.
    #[serde(skip)]
    pub(super) rounds_of: u32,
}

impl Default for SuccessiveHalving {
    fn default() -> Self {
        Self { eta: 3, min_budget: 1, bracket_trials: None, rounds_of: 0 }
    }
}

/// Where the brackets stand. Each is surveyed again only after something in it changed.
#[derive(Default)]
struct Brackets {
    begun: bool,
    from: u32,
    rungs: Vec<u64>,
    cut: Cut,
    reports: usize,
    ended: (usize, usize),
    trials: u32,
    known: Vec<Bracket>,
    /// Brackets in which something may be left to decide.
    active: BTreeSet<usize>,
}

/// How trials are cut into brackets.
enum Cut {
    /// So many each, and all begin at the first rung.
    Even(u32),
    /// As in Hyperband, one after the other.
    Rounds(Rounds),
}

impl Default for Cut {
    fn default() -> Self {
        Self::Even(1)
    }
}

impl Cut {
    /// The bracket of the `offset`-th trial of the policy.
    fn slice(&self, offset: u32) -> Slice {
        match self {
            Self::Even(size) => {
                let index = offset / size;
                Slice { index: index as usize, first: index * size, trials: *size, start: 0 }
            }
            Self::Rounds(rounds) => rounds.slice(offset),
        }
    }
}

struct Bracket {
    slice: Slice,
    /// The lowest rung at which something has changed since the survey; a new trial changes the first.
    stale: Option<usize>,
    stage: Stage,
}

enum Stage {
    /// This trial has not come to this rung.
    Waits { trial: u32, rung: usize },
    /// These go on to this rung; best last.
    Promotes { rung: usize, trials: Vec<u32> },
    /// Nothing is left to decide.
    Over,
}

impl Scheduler for SuccessiveHalving {
    fn assign(&self, study: &Study, allowance: Allowance, memo: &mut Memo, _: &mut Rng) -> Assignment {
        if let Some(assignment) = follower(study) {
            return assignment;
        }
        let brackets = memo.get::<Brackets>();
        self.advance(study, brackets);
        let active: Vec<usize> = brackets.active.iter().copied().collect();
        for index in active {
            if let Some(assignment) = self.promotion(study, allowance, brackets, index) {
                return assignment;
            }
        }
        if allowance.may_start {
            let slice = brackets.cut.slice(study.trials().len() as u32 - brackets.from);
            return Assignment::Start { budget: brackets.rungs.get(slice.start).copied() };
        }
        if !study.running().is_empty() {
            return Assignment::Wait;
        }
        // Every bracket has brought one to its end, unless that failed or another scheduler began it.
        let last = if study.incumbent().is_none() { contender(study, &brackets.rungs) } else { None };
        last.unwrap_or(Assignment::Done)
    }

    fn judge(&self, _: &Study, _: Work, _: &mut Memo, _: &mut Rng) -> Verdict {
        Verdict::go_on()
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        rungs::check(spec, self.min_budget)
    }
}

impl SuccessiveHalving {
    fn advance(&self, study: &Study, brackets: &mut Brackets) {
        if !brackets.begun || brackets.from != study.scheduler_from() {
            *brackets = self.begin(study);
        }
        for report in &study.reports()[brackets.reports..] {
            if let (0, Some(offset)) = (report.work.replicate, report.work.trial.checked_sub(brackets.from)) {
                let mut rungs = brackets.cut.slice(offset).start..brackets.rungs.len();
                let rung = rungs.find(|k| concerns(study, report.work, brackets.rungs[*k], report.step));
                brackets.touch(report.work.trial, rung);
            }
        }
        for number in ended_since(study, &mut brackets.ended) {
            let Some(piece) = study.trials()[number as usize].piece(0) else { continue };
            let reached = |&&rung: &&u64| losses_at(study, piece, rung).is_some();
            let lacking = brackets.rungs.iter().take_while(reached).count();
            let last = sent_to(piece, &brackets.rungs).saturating_sub(1);
            brackets.touch(number, Some(lacking.min(last)));
        }
        let trials = study.trials().len() as u32;
        for number in brackets.trials.max(brackets.from)..trials {
            brackets.touch(number, Some(0));
        }
        brackets.reports = study.reports().len();
        brackets.trials = trials;
    }

    fn begin(&self, study: &Study) -> Brackets {
        let max = study.spec().max_budget.unwrap_or(u64::MAX);
        let rungs = rungs::rungs(self.min_budget, self.eta, max);
        let full = u32::try_from(self.eta.saturating_pow(rungs.len() as u32)).unwrap_or(u32::MAX);
        let cut = match self.rounds_of {
            0 => Cut::Even(self.bracket_trials.unwrap_or(full)),
            most => Cut::Rounds(Rounds::new(self.min_budget, self.eta, max, most)),
        };
        Brackets { begun: true, from: study.scheduler_from(), rungs, cut, ..Brackets::default() }
    }

    /// The next promotion in a bracket, if one is due.
    fn promotion(
        &self,
        study: &Study,
        allowance: Allowance,
        brackets: &mut Brackets,
        index: usize,
    ) -> Option<Assignment> {
        let slice = brackets.known[index].slice;
        let first = brackets.from + slice.first;
        let trials = slice.trials.min(study.trials().len() as u32 - first);
        if trials < slice.trials && allowance.may_start {
            return None;
        }
        loop {
            let rungs = &brackets.rungs;
            let bracket = &mut brackets.known[index];
            if bracket.is_stale(study, rungs) {
                bracket.stage = self.survey(study, rungs, slice.start, first..first + trials);
            }
            bracket.stale = None;
            match &mut bracket.stage {
                Stage::Waits { .. } => return None,
                Stage::Over => {
                    brackets.active.remove(&index);
                    return None;
                }
                Stage::Promotes { rung, trials } => {
                    let behind = |number: u32| is_behind(&study.trials()[number as usize], rungs, *rung);
                    while trials.pop_if(|number| !behind(*number)).is_some() {}
                    let ready =
                        |number: &&u32| is_paused(&study.trials()[**number as usize]) && behind(**number);
                    if let Some(&number) = trials.iter().rev().find(ready) {
                        let budget = rungs.get(*rung).copied();
                        return Some(Assignment::Resume { work: Work::of(number), budget });
                    }
                    if !trials.is_empty() {
                        return None;
                    }
                    bracket.stale = Some(0);
                }
            }
        }
    }

    /// Follows a bracket from its first rung to where it stands.
    fn survey(&self, study: &Study, rungs: &[u64], start: usize, trials: std::ops::Range<u32>) -> Stage {
        let mut alive: Vec<u32> = trials.collect();
        for rung in start..=rungs.len() {
            let behind = |number: &&u32| is_behind(&study.trials()[**number as usize], rungs, rung);
            let trials: Vec<u32> = alive.iter().rev().filter(behind).copied().collect();
            if !trials.is_empty() {
                return Stage::Promotes { rung, trials };
            }
            if rung == rungs.len() {
                break;
            }
            let mut entries = Vec::with_capacity(alive.len());
            for &number in &alive {
                match entry(study, &study.trials()[number as usize], rungs, rung) {
                    Some(losses) => entries.push((number, losses)),
                    None => return Stage::Waits { trial: number, rung },
                }
            }
            alive = best_first(entries);
            alive.truncate((alive.len() / self.eta as usize).max(1));
        }
        Stage::Over
    }
}

impl Brackets {
    /// Something changed for a trial at this rung.
    fn touch(&mut self, number: u32, rung: Option<usize>) {
        let (Some(offset), Some(rung)) = (number.checked_sub(self.from), rung) else { return };
        let index = self.cut.slice(offset).index;
        while self.known.len() <= index {
            let next = self.known.last().map_or(0, |last| last.slice.first + last.slice.trials);
            let slice = self.cut.slice(next);
            self.known.push(Bracket { slice, stale: None, stage: Stage::Over });
        }
        let bracket = &mut self.known[index];
        bracket.stale = Some(bracket.stale.map_or(rung, |stale| stale.min(rung)));
        self.active.insert(index);
    }
}

impl Bracket {
    /// Whether a survey could find another stage.
    ///
    /// As long as one trial is missing at a rung and nothing changed below, the bracket waits, whoever else has come;
    /// and who is promoted to a rung depends only on the rungs below.
    fn is_stale(&self, study: &Study, rungs: &[u64]) -> bool {
        let changed_below = |rung| self.stale.is_some_and(|stale| stale < rung);
        match self.stage {
            Stage::Waits { trial, rung } => {
                changed_below(rung) || entry(study, &study.trials()[trial as usize], rungs, rung).is_some()
            }
            Stage::Promotes { rung, .. } => changed_below(rung),
            Stage::Over => self.stale.is_some(),
        }
    }
}

/// Whether a trial that belongs to a rung has not been sent there; nobody is behind at the first.
fn is_behind(trial: &Trial, rungs: &[u64], rung: usize) -> bool {
    !is_over(trial) && trial.piece(0).is_some_and(|piece| sent_to(piece, rungs) <= rung)
}

/// Trials by their losses at a rung.
fn best_first(entries: Vec<(u32, Losses)>) -> Vec<u32> {
    let (mut ranked, mut several) = (Vec::new(), BTreeMap::new());
    for (number, losses) in entries {
        match losses {
            Losses::One(loss) => ranked.push(Ranked::new(loss, number)),
            Losses::Several(losses) => drop(several.insert(number, losses)),
        }
    }
    ranked.sort_unstable();
    ranked.iter().map(|ranked| ranked.trial).chain(fronts::best_first(&several)).collect()
}

/// The losses with which a trial counts at a rung it was sent to, once they are known.
fn entry(study: &Study, trial: &Trial, rungs: &[u64], rung: usize) -> Option<Losses> {
    let known = losses_of(study, trial, rungs, rung);
    let silent = || {
        let piece = trial.piece(0)?;
        let left = is_paused(trial) || sent_to(piece, rungs) > rung + 1;
        let last = || match study.metrics().objectives.len() {
            0 | 1 => piece.last_loss().map_or(f64::INFINITY, |(_, loss)| loss),
            _ => f64::INFINITY,
        };
        left.then(|| Losses::all(study, last()))
    };
    known.or_else(silent)
}
