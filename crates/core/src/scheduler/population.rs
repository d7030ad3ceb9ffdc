//! Populations over time: who stands where, who makes way for whom, and who goes on. Shared by `pbt` and `pb2`.
//!
//! Every member pauses after each interval, with a checkpoint. There it goes on, or makes way for a child that begins
//! with the checkpoint of a better member. What the params of that child are is not decided here.

use std::cmp::Reverse;
use std::sync::Arc;

use super::ranking::Ranked;
use super::{Allowance, Assignment, figure, run_to_end};
use crate::event::{Origin, Outcome, Work};
use crate::registry::OptionDoc;
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::spec::Spec;
use crate::study::Study;
use crate::trial::{Piece, Trial, WorkState};

/// Draws of a child's params before those of the donor are taken, where a space has constraints.
const ATTEMPTS: usize = 64;

/// What the options that populations share are for; how many members there are by default is each one's own.
pub(super) const INTERVAL: OptionDoc = OptionDoc {
    name: "interval",
    doc: "steps between two pauses, at which members are compared; default a twentieth of max_budget",
};
/// See [`INTERVAL`].
pub(super) const BURN_IN: OptionDoc =
    OptionDoc { name: "burn_in", doc: "nobody makes way before this step; default 0" };
/// See [`INTERVAL`].
pub(super) const QUANTILE: OptionDoc = OptionDoc {
    name: "quantile",
    doc: "the share that makes way, for as many of the best; above 0, at most 0.5, default 0.25",
};
/// See [`INTERVAL`].
pub(super) const SYNCHRONOUS: OptionDoc = OptionDoc {
    name: "synchronous",
    doc: "true: members wait for each other at each pause, so that the number of workers decides nothing; false (default): nobody waits",
};
/// See [`INTERVAL`].
pub(super) const CHANGE: OptionDoc = OptionDoc {
    name: "change",
    doc: "names of the parameters that can change while a trial trains; the others stay as they are along a lineage; default \
          all (in a study file of a network: all that can)",
};

/// How a population lives.
pub(super) struct Rules<'a> {
    /// How many members it has.
    pub(super) size: u32,
    /// Steps between pauses; none means a twentieth of `max_budget`.
    pub(super) interval: Option<u64>,
    /// Nobody makes way before this step.
    pub(super) burn_in: u64,
    /// The share that makes way, and the share it makes way for.
    pub(super) quantile: f64,
    /// Whether members wait for each other at each pause.
    pub(super) synchronous: bool,
    /// One for each part of the population: how many intervals lie between its selections.
    pub(super) frequencies: &'a [u64],
    /// Names of the parameters that may change; none means all.
    pub(super) change: Option<&'a [Arc<str>]>,
}

/// A child that is to be given params.
pub(super) struct Child {
    /// The trial whose checkpoint it begins with.
    pub(super) donor: u32,
    /// The step of that checkpoint.
    pub(super) step: u64,
    /// The step it goes to first.
    pub(super) end: u64,
    /// The first trial of its population; earlier ones are through.
    pub(super) first: u32,
    /// The step up to which what its population did decides; no bound if nobody waits.
    pub(super) until: u64,
}

/// Who has stood in which place: a fold of the trials that the present policy has started.
#[derive(Default)]
pub(super) struct Ledger {
    begun: bool,
    from: u32,
    /// The place of each trial, from `from` on.
    place_of: Vec<usize>,
    places: Vec<Place>,
    roots: u32,
}

/// A place in a population, held by one trial after the other.
struct Place {
    /// Populations follow each other: a study of more trials than members has several.
    cohort: u32,
    /// The part of the population.
    part: usize,
    /// Its holders, the present one last.
    holders: Vec<u32>,
    /// Whether it was made for a trial that failed.
    is_spare: bool,
}

/// A place with the loss that its holder had at some step.
#[derive(Clone, Copy)]
struct Standing {
    ranked: Ranked,
    place: usize,
}

impl Ledger {
    fn advance(&mut self, study: &Study, rules: &Rules) {
        if !self.begun || self.from != study.scheduler_from() {
            *self = Self { begun: true, from: study.scheduler_from(), ..Self::default() };
        }
        for trial in &study.trials()[self.from as usize + self.place_of.len()..] {
            let place = self.place_for(study, trial, rules);
            self.places[place].holders.push(trial.number);
            self.place_of.push(place);
        }
    }

    fn place_for(&mut self, study: &Study, trial: &Trial, rules: &Rules) -> usize {
        let donor = trial.parent.filter(|_| trial.origin == Origin::Scheduler);
        let new = if let Some(of_donor) = donor.and_then(|(donor, _)| self.place_of(donor)) {
            let made_way = |place: &&usize| {
                let holder = study.trial(self.holder(**place));
                holder.and_then(Trial::replaced_by) == Some(trial.number)
            };
            let places: Vec<usize> = (0..self.places.len()).rev().collect();
            if let Some(&place) = places.iter().find(made_way) {
                return place;
            }
            let Place { cohort, part, .. } = self.places[of_donor];
            Place { cohort, part, holders: Vec::new(), is_spare: true }
        } else {
            let (cohort, seat) = (self.roots / rules.size, self.roots % rules.size);
            self.roots += 1;
            let part = seat as usize % rules.frequencies.len();
            Place { cohort, part, holders: Vec::new(), is_spare: false }
        };
        self.places.push(new);
        self.places.len() - 1
    }

    fn place_of(&self, trial: u32) -> Option<usize> {
        self.place_of.get(trial.checked_sub(self.from)? as usize).copied()
    }

    /// The present holder of a place.
    fn holder(&self, place: usize) -> u32 {
        self.places[place].holders.last().copied().unwrap_or(u32::MAX)
    }

    /// The latest population, with the number of each place.
    fn present(&self) -> impl Iterator<Item = (usize, &Place)> {
        let cohort = self.places.last().map(|place| place.cohort);
        self.places.iter().enumerate().filter(move |(_, place)| Some(place.cohort) == cohort)
    }

    /// How the places of a population stood at `step`, the best first: those whose holder at that time got so far. A holder
    /// that made way there stands with the loss it had.
    fn standings(
        &self,
        study: &Study,
        cohort: u32,
        is_wanted: impl Fn(usize) -> bool,
        step: u64,
    ) -> Vec<Standing> {
        let of_place = |(index, place): (usize, &Place)| {
            let mut holders = place.holders.iter().rev();
            let ranked = holders.find_map(|&number| {
                let piece = study.piece(Work::of(number))?;
                let loss = piece.loss_by(step).filter(|_| piece.from < step && step <= piece.step())?;
                Some(Ranked::new(loss, number))
            })?;
            Some(Standing { ranked, place: index })
        };
        let places = self.places.iter().enumerate();
        let wanted = places.filter(|(_, place)| place.cohort == cohort && is_wanted(place.part));
        let mut standings: Vec<Standing> = wanted.filter_map(of_place).collect();
        standings.sort_by_key(|a| a.ranked);
        standings
    }

    /// The step of a checkpoint that others may begin with: of a trial that still holds its place, at a pause not before
    /// `step`.
    fn checkpoint(&self, study: &Study, number: u32, step: u64) -> Option<u64> {
        let trial = study.trial(number).filter(|trial| !trial.outside)?;
        let is_sound = matches!(trial.outcome(), None | Some(Outcome::Completed { .. }));
        let holds = self.place_of(number).is_some_and(|place| self.holder(place) == number);
        trial.piece(0)?.paused_at().filter(|&at| is_sound && holds && at >= step)
    }
}

impl Rules<'_> {
    /// What the study must declare.
    pub(super) fn check(&self, spec: &Spec) -> Result<(), String> {
        let Some(max) = spec.max_budget else {
            return Err("its members train side by side to the largest budget, which the study does not declare; \
                        give max_budget, the largest step a trial can reach (`max` under [budget] in a study file)"
                .into());
        };
        if self.interval_of(max) >= max {
            return Err(format!(
                "interval = {}, but a trial ends at step {max}, so nobody would ever be compared; lower interval",
                self.interval_of(max)
            ));
        }
        self.check_selections(max)?;
        if spec.replicates > 1 {
            return Err(
                "its members are single trainings; it does not go with replicates, so set replicates = 1"
                    .into(),
            );
        }
        let known = |name: &&Arc<str>| spec.space.find(name).is_none();
        if let Some(unknown) = self.change.unwrap_or_default().iter().find(known) {
            let names: Vec<&str> = spec.space.parameters().iter().take(12).map(|p| &*p.name).collect();
            return Err(format!("change names {unknown:?}, but the space has {}", names.join(", ")));
        }
        Ok(())
    }

    /// Refuses a part whose members would never be compared before they end.
    fn check_selections(&self, max: u64) -> Result<(), String> {
        let interval = self.interval_of(max);
        for &frequency in self.frequencies {
            let apart = interval.saturating_mul(frequency);
            // The last of its comparisons.
            let last = (max - 1) / apart * apart;
            if last == 0 {
                return Err(format!(
                    "frequencies names {frequency}, with which members are compared every {apart} steps, but a trial ends at step {max}, so \
                     nobody of that part would ever be compared; lower it, or interval = {interval}"
                ));
            }
            if last < self.burn_in {
                return Err(format!(
                    "burn_in = {}, but members are compared for the last time at step {last}, so nobody would ever make way; lower burn_in",
                    self.burn_in
                ));
            }
        }
        Ok(())
    }

    /// Refuses what makes no population.
    pub(super) fn check_options(&self) -> Result<(), String> {
        if self.interval == Some(0) {
            return Err(
                "interval = 0, but members have to train between pauses: give a number of steps from 1"
                    .into(),
            );
        }
        if !(self.quantile > 0.0 && self.quantile <= 0.5) {
            let given = self.quantile;
            return Err(format!(
                "quantile = {given}, but it is the share that makes way: above 0, at most 0.5"
            ));
        }
        let parts = self.frequencies.len() as u32;
        if parts == 0 || self.frequencies[0] == 0 || !self.frequencies.is_sorted_by(|a, b| a < b) {
            return Err("frequencies are whole numbers from 1, ascending, such as [1, 4]".into());
        }
        if self.size < 2 * parts {
            let size = self.size;
            return Err(format!(
                "population = {size} is too small for {parts} part(s) of two members; raise it"
            ));
        }
        if self.change.is_some_and(<[_]>::is_empty) {
            return Err("change is empty, so no parameter could change; name some, or leave it out".into());
        }
        Ok(())
    }

    fn interval_of(&self, max: u64) -> u64 {
        self.interval.unwrap_or_else(|| (max / 20).max(1))
    }

    /// The next pause after `step`.
    pub(super) fn end_after(&self, study: &Study, step: u64) -> u64 {
        let max = study.spec().max_budget.unwrap_or(u64::MAX);
        let interval = self.interval_of(max);
        (step / interval + 1).saturating_mul(interval).min(max)
    }

    /// What runs next; `params` chooses those of a child.
    pub(super) fn assign(
        &self,
        study: &Study,
        allowance: Allowance,
        ledger: &mut Ledger,
        rng: &mut Rng,
        params: impl Fn(&Child, &mut Rng) -> Point,
    ) -> Assignment {
        if study.spec().replicates > 1 || study.spec().max_budget.is_none() {
            return run_to_end(study, allowance);
        }
        if let Some(&work) = study.paused().first().filter(|work| work.trial < study.scheduler_from()) {
            return Assignment::Resume { work, budget: None };
        }
        ledger.advance(study, self);
        let branch = |(donor, step): (u32, u64), point: Point| {
            let budget = Some(self.end_after(study, step));
            Assignment::Branch { from: (donor, step), point, budget, why: Origin::Scheduler }
        };
        if let Some((number, from)) = study.exploiting() {
            let point = self.successor(study, ledger, number, from, rng, &params);
            return branch(from, point);
        }
        let start = Assignment::Start { budget: Some(self.end_after(study, 0)) };
        if allowance.may_start && !ledger.roots.is_multiple_of(self.size) {
            return start;
        }
        let gathered = self.gathered(study, ledger);
        if let Some(until) = gathered
            && let Some(from) = self.spare(study, ledger, until, rng)
        {
            let child = self.child(study, ledger, from, until);
            return branch(from, params(&child, rng));
        }
        if allowance.may_start && is_through(study, ledger) {
            return start;
        }
        gathered
            .and_then(|_| self.go_on(study, ledger, rng))
            .unwrap_or_else(|| if study.running().is_empty() { Assignment::Done } else { Assignment::Wait })
    }

    fn child(&self, study: &Study, ledger: &Ledger, (donor, step): (u32, u64), until: u64) -> Child {
        let first = ledger.present().next().and_then(|(_, place)| place.holders.first().copied());
        Child { donor, step, end: self.end_after(study, step), first: first.unwrap_or(0), until }
    }

    /// The step up to which members are looked at; none as long as one is on its way there. If nobody waits there is no bound.
    ///
    /// What is decided at a pause is the same in whatever order members come to it, and whoever has trained on since: only
    /// what was until then decides. Those who failed on the way are replaced first, then the worst make way, then all go on.
    fn gathered(&self, study: &Study, ledger: &Ledger) -> Option<u64> {
        if !self.synchronous {
            return Some(u64::MAX);
        }
        let max = study.spec().max_budget.unwrap_or(u64::MAX);
        let least = least_paused(study).unwrap_or(max);
        let is_on_its_way = |(place, _): (usize, &Place)| {
            let is_busy = |piece: &&Piece| matches!(piece.state, WorkState::Waiting | WorkState::Running);
            study
                .piece(Work::of(ledger.holder(place)))
                .filter(is_busy)
                .is_some_and(|piece| stood(piece) < least)
        };
        (!ledger.present().any(is_on_its_way)).then_some(least)
    }

    /// Of the paused members that have come least far one makes way, or else the first goes on: so a donor does not train
    /// on before all have been looked at.
    fn go_on(&self, study: &Study, ledger: &Ledger, rng: &mut Rng) -> Option<Assignment> {
        let step = |work: &Work| study.piece(*work).map_or(0, Piece::step);
        let least = least_paused(study)?;
        let mut last = study.paused().iter().filter(|work| step(work) == least);
        for &work in last.clone() {
            let place = ledger.place_of(work.trial);
            if let Some((from, why)) = place.and_then(|place| self.better(study, ledger, place, least, rng)) {
                return Some(Assignment::Exploit { work, from, why });
            }
        }
        let budget = Some(self.end_after(study, least));
        last.next().map(|&work| Assignment::Resume { work, budget })
    }

    /// How many make way, of so many.
    fn share(&self, members: usize) -> usize {
        ((self.quantile * members as f64).ceil() as usize).min(members / 2)
    }

    /// The checkpoint for which the holder of a place makes way at `step`, if it does, and why.
    ///
    /// The worst of a part make way for one of the best of it, by lot (Jaderberg et al. 2017, truncation selection). With
    /// several parts, the third bracket makes way for better members of other parts (Doulazmi et al. 2025, arXiv 2506.03225,
    /// section 4.2): the first of the bracket for the best of them if that is better, the next for the next.
    fn better(
        &self,
        study: &Study,
        ledger: &Ledger,
        place: usize,
        step: u64,
        rng: &mut Rng,
    ) -> Option<((u32, u64), Arc<str>)> {
        let Place { cohort, part, .. } = ledger.places[place];
        let interval = self.interval_of(study.spec().max_budget.unwrap_or(u64::MAX));
        if step < self.burn_in || !step.is_multiple_of(interval.saturating_mul(self.frequencies[part])) {
            return None;
        }
        let own = ledger.standings(study, cohort, |other| other == part, step);
        let rank = own.iter().position(|standing| standing.place == place)?;
        let share = self.share(own.len());
        let usable = |standing: &Standing| {
            let number = standing.ranked.trial;
            Some((*standing, (number, ledger.checkpoint(study, number, step)?)))
        };
        let (found, from) = if rank >= own.len() - share {
            let donors: Vec<_> = own[..share].iter().filter_map(usable).collect();
            let count = donors.len() as u64;
            *donors.get(if count == 0 { 0 } else { rng.below(count) as usize })?
        } else if self.frequencies.len() > 1 && (2 * share..3 * share).contains(&rank) {
            let others = ledger.standings(study, cohort, |other| other != part, step);
            let mut best = others.iter();
            let mut migrant = best.next()?;
            for standing in &own[2 * share..rank] {
                if migrant.ranked.loss < standing.ranked.loss {
                    migrant = best.next()?;
                }
            }
            usable(migrant).filter(|(migrant, _)| migrant.ranked.loss < own[rank].ranked.loss)?
        } else {
            return None;
        };
        let direction = study.metrics().objectives[0].direction;
        let [own_value, its] =
            [own[rank], found].map(|standing| figure(direction.turn(standing.ranked.loss)));
        let (count, donor) = (own.len(), from.0);
        Some((
            from,
            format!("at step {step}: {own_value} is {} of {count}, trial {donor} has {its}", rank + 1).into(),
        ))
    }

    /// The params of the child that takes the place of trial `number`.
    ///
    /// Within a part they are explored. A migrant from a slower part brings its own; for one from a faster part those of
    /// the best member of the own part are taken, so that short-sighted values stay where they are.
    fn successor(
        &self,
        study: &Study,
        ledger: &Ledger,
        number: u32,
        from: (u32, u64),
        rng: &mut Rng,
        params: &impl Fn(&Child, &mut Rng) -> Point,
    ) -> Point {
        let places = ledger.place_of(number).zip(ledger.place_of(from.0));
        let Some((own, donor)) = places.map(|(own, donor)| (&ledger.places[own], &ledger.places[donor]))
        else {
            return study.trials()[from.0 as usize].point.clone();
        };
        let step = study.piece(Work::of(number)).map_or(0, Piece::step);
        if own.part == donor.part {
            let until = if self.synchronous { step } else { u64::MAX };
            return params(&self.child(study, ledger, from, until), rng);
        }
        let weights = &study.trials()[from.0 as usize].point;
        if own.part < donor.part {
            return weights.clone();
        }
        let best = ledger.standings(study, own.cohort, |part| part == own.part, step);
        let values = best.first().map_or(weights, |best| &study.trials()[best.ranked.trial as usize].point);
        self.changed(study.space(), weights, values, rng, |_, value, _| value)
    }

    /// A checkpoint to put in the place of a trial that has failed on its way to step `until`, where one has and nobody has
    /// taken its place.
    fn spare(&self, study: &Study, ledger: &Ledger, until: u64, rng: &mut Rng) -> Option<(u32, u64)> {
        for part in 0..self.frequencies.len() {
            let places: Vec<(usize, &Place)> =
                ledger.present().filter(|(_, place)| place.part == part).collect();
            let has_failed = |(place, _): &&(usize, &Place)| {
                let piece = study.piece(Work::of(ledger.holder(*place)));
                let failed = |piece: &&Piece| matches!(piece.outcome, Some(Outcome::Failed { .. }));
                piece.filter(failed).is_some_and(|piece| stood(piece) < until)
            };
            let failed = places.iter().filter(has_failed).count();
            let spares = places.iter().filter(|(_, place)| place.is_spare).count();
            if failed <= spares || spares >= self.size as usize {
                continue;
            }
            let max = study.spec().max_budget.unwrap_or(u64::MAX);
            let donor = |(place, _): &(usize, &Place)| {
                let number = ledger.holder(*place);
                let step = ledger.checkpoint(study, number, 0).filter(|&step| step < max && step <= until)?;
                let loss = study.piece(Work::of(number))?.loss_by(step)?;
                Some((Ranked::new(loss, number), (number, step)))
            };
            let mut donors: Vec<_> = places.iter().filter_map(donor).collect();
            donors.sort_by_key(|(ranked, from)| (Reverse(from.1), *ranked));
            let best = self.share(donors.len()).max(1).min(donors.len());
            if best > 0 {
                return Some(donors[rng.below(best as u64) as usize].1);
            }
        }
        None
    }

    /// Whether parameter `index` may change in a child.
    pub(super) fn may_change(&self, space: &Space, index: usize) -> bool {
        let parameter = &space.parameters()[index];
        let is_named = |names: &[Arc<str>]| names.contains(&parameter.name);
        !parameter.retired && !parameter.distribution.is_fixed() && self.change.is_none_or(is_named)
    }

    /// A point that has the values of `frozen`, and of `values` as `vary` makes them where a parameter may change. What
    /// becomes active by that is drawn. Where constraints allow none of many, `frozen` itself.
    pub(super) fn changed(
        &self,
        space: &Space,
        frozen: &Point,
        values: &Point,
        rng: &mut Rng,
        mut vary: impl FnMut(usize, f64, &mut Rng) -> f64,
    ) -> Point {
        for _ in 0..ATTEMPTS {
            let point = space.complete(|k| {
                let may_change = self.may_change(space, k);
                match if may_change { values.get(k) } else { frozen.get(k) } {
                    Some(value) if may_change => vary(k, value, rng),
                    Some(value) => value,
                    None => space.draw_one(k, rng.uniform()),
                }
            });
            if space.allows(&point.0) {
                return point;
            }
        }
        frozen.clone()
    }
}

/// The step of the paused members that have come least far.
fn least_paused(study: &Study) -> Option<u64> {
    study.paused().iter().map(|work| study.piece(*work).map_or(0, Piece::step)).min()
}

/// The last step at which a member has been looked at: that of its last pause, or of the checkpoint it began with.
fn stood(piece: &Piece) -> u64 {
    piece.paused_at().unwrap_or(0).max(piece.from)
}

/// Whether the latest population has come to its end.
fn is_through(study: &Study, ledger: &Ledger) -> bool {
    ledger.present().all(|(place, _)| study.trial(ledger.holder(place)).is_some_and(Trial::is_finished))
}
