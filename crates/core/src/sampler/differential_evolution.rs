//! Differential evolution (Storn and Price 1997): each trial moves one member of a population by differences of others, and
//! takes its place if it is no worse. Failed and pruned trials and broken constraints are ordered as told in `population`.
//!
//! Two strategies: `current_to_pbest`, with an archive of members that were replaced (JADE, Zhang and Sanderson 2009) and
//! with scale and crossover rate adapted by what succeeded (SHADE, Tanabe and Fukunaga 2013); and the classic `rand1bin`.
//! Three things differ from SHADE: the first crossover rate is 0.9, not 0.5; of a full archive the oldest goes, not a random one; and there
//! are no generations (below). In 600 trials of five parameters each gains on a sphere; the rate loses on Rastrigin's function.
//!
//! # Many workers
//!
//! Trial `t` is a rival of member `t mod population`, whoever chose it, and meets that member when it finishes: nobody waits
//! for a generation. Scale and crossover rate of a trial are drawn from a stream of its own around the memory of what
//! succeeded, so that they can be told again when it finishes; with one worker they are exactly those it was made with,
//! with many the memory may have moved by a generation meanwhile.
//!
//! # Several metrics
//!
//! A trial that dominates the member it meets takes its place, and one that is dominated is dropped. Where neither is better, the one
//! that comes last of all members and the trial together goes, by fronts and then by room, as in GDE3 (Kukkonen and Lampinen
//! 2005). The best towards which members move are the first in that order. There are more members then: as many as NSGA-II has parents.
//!
//! # Mixed and conditional spaces
//!
//! Numbers and levels move in the unit cube, where a value of a grid stands for its whole cell (as in DEHB, Awad et al. 2021);
//! they are put anywhere in the cell, so that differences do not die out. Choices have no differences: a choice goes over to
//! that of the member it is drawn towards with the probability that the scale gives, and now and then to any other. A parameter that the member does not
//! have, because another choice opened it, is taken from the others, or from its prior.

use std::cmp::Ordering;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::population::{Finished, Member, founder, ranked, size_by_limit};
use super::variation::{another_choice, novel};
use super::{MOST_MEMBERS, Proposal, Request, Sampler};
use crate::event::Origin;
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, check_count, configure};
use crate::rng::{Purpose, Rng};
use crate::space::{Distribution, Point, Space};
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "differential_evolution",
    summary: "moves members of a population by the differences of others; adapts its own step sizes",
    options: &[
        OptionDoc {
            name: "population",
            doc: "members, 4 to 100,000; none means the square root of the limit of trials, from 8 to 12, and 12 without one; with several metrics from 10 to 50, and 50. The first so many trials cover the space evenly",
        },
        OptionDoc {
            name: "strategy",
            doc: "`current_to_pbest` (towards one of the best, and by a difference) or `rand1bin` (a random member, moved by a difference)",
        },
        OptionDoc {
            name: "scale",
            doc: "factor of differences, above 0 and up to 2; none means adapted by what succeeded",
        },
        OptionDoc {
            name: "crossover_rate",
            doc: "probability that a parameter moves, 0 to 1; none means adapted by what succeeded",
        },
        OptionDoc {
            name: "best_share",
            doc: "share of the population that counts as best, above 0 and up to 1",
        },
        OptionDoc {
            name: "archive",
            doc: "replaced members that are kept for differences, per member; 0 for none",
        },
    ],
    build: |options| {
        let (evolution, complete) = configure::<DifferentialEvolution>(options)?;
        evolution.check_options()?;
        Ok((Box::new(evolution) as _, complete))
    },
};

/// How many settings the memory of success holds (Tanabe and Fukunaga 2014, section V).
const MEMORIES: usize = 6;

/// Share of moves of a choice that go to any other: choices on which all members agree have no difference to move by.
const STRAY_CHOICES: f64 = 0.1;

/// Attempts at a child after which parameters are drawn anew besides, because the population has run together.
const PLAIN_ATTEMPTS: u32 = 4;

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DifferentialEvolution {
    /// Members; none means by the limit of trials.
    pub population: Option<usize>,
    /// How children are made.
    pub strategy: Strategy,
    /// Factor of differences; none means adapted.
    pub scale: Option<f64>,
    /// Probability that a parameter moves; none means adapted.
    pub crossover_rate: Option<f64>,
    /// Share of the population that counts as best.
    pub best_share: f64,
    /// Replaced members that are kept, per member.
    pub archive: f64,
}

/// How children are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The member itself, moved towards one of the best and by a difference.
    CurrentToPbest,
    /// A random member, moved by a difference.
    Rand1bin,
}

impl Default for DifferentialEvolution {
    fn default() -> Self {
        Self {
            population: None,
            strategy: Strategy::CurrentToPbest,
            scale: None,
            crossover_rate: None,
            best_share: 0.2,
            archive: 1.0,
        }
    }
}

/// `base + scale · (one − other)`: the mutant of `rand1bin`.
pub fn rand_1(base: f64, one: f64, other: f64, scale: f64) -> f64 {
    base + scale * (one - other)
}

/// `current + scale · (best − current) + scale · (one − other)`: the mutant of `current_to_pbest`.
pub fn current_to_best_1(current: f64, best: f64, one: f64, other: f64, scale: f64) -> f64 {
    current + scale * (best - current) + scale * (one - other)
}

impl Sampler for DifferentialEvolution {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let colony: &mut Colony = memo.get();
        colony.advance(study, self);
        let slot = request.trial as usize % colony.slots.len();
        let (Some(target), true) = (&colony.slots[slot], colony.is_viable()) else {
            return Proposal::Point(founder(study, request.trial, request.draw, rng));
        };
        let settings = colony.memory.settings(study, request.trial, self);
        let known = colony.slots.iter().flatten().map(|member| &*member.unit);
        Proposal::Point(novel(study.space(), known, |attempt| {
            let parents = colony.parents(study, target, slot, self, rng);
            let fresh = f64::from(attempt.saturating_sub(PLAIN_ATTEMPTS)) / 16.0;
            child(study.space(), &parents, settings, fresh, rng)
        }))
    }
}

impl DifferentialEvolution {
    fn check_options(&self) -> Result<(), String> {
        check_count("population", self.population, 4..=MOST_MEMBERS)?;
        if let Some(scale) = self.scale.filter(|scale| !(*scale > 0.0 && *scale <= 2.0)) {
            return Err(format!("scale is above 0 and up to 2, not {scale}"));
        }
        if let Some(rate) = self.crossover_rate.filter(|rate| !(0.0..=1.0).contains(rate)) {
            return Err(format!("crossover_rate is a share from 0 to 1, not {rate}"));
        }
        if !(self.best_share > 0.0 && self.best_share <= 1.0) {
            return Err(format!("best_share is a share above 0 and up to 1, not {}", self.best_share));
        }
        if !(0.0..=100.0).contains(&self.archive) {
            return Err(format!("archive is from 0 to 100 members per member, not {}", self.archive));
        }
        Ok(())
    }

    fn members(&self, study: &Study) -> usize {
        let several = study.metrics().objectives.len() > 1;
        let (range, unlimited) = if several { (10..=50, 50) } else { (8..=12, 12) };
        self.population.unwrap_or_else(|| size_by_limit(study, range, unlimited))
    }
}

/// Factor of differences, and the probability that a parameter moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Factor of differences.
    pub scale: f64,
    /// Probability that a parameter moves.
    pub crossover_rate: f64,
}

/// A setting that led to a better member, and by how much it was better.
#[derive(Clone, Copy, Debug)]
pub struct Success {
    /// The setting.
    pub settings: Settings,
    /// By how much the loss fell.
    pub gain: f64,
}

/// Settings that succeeded (SHADE, section III): a ring of means, one rewritten per generation that had a success.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The means.
    pub means: [Settings; MEMORIES],
    next: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { means: [Settings { scale: 0.5, crossover_rate: 0.9 }; MEMORIES], next: 0 }
    }
}

impl Memory {
    /// Takes in a generation's successes: the gains' weighted mean of the crossover rates, and their weighted Lehmer mean of
    /// the scales (equations 7 to 9). Where a gain is not finite, all weigh the same.
    pub fn learn(&mut self, successes: &[Success]) {
        let total: f64 = successes.iter().map(|success| success.gain).sum();
        let is_weighted = total > 0.0 && total.is_finite();
        let weight = |success: &Success| if is_weighted { success.gain / total } else { 1.0 };
        let (mut first, mut second, mut rates, mut weights) = (0.0, 0.0, 0.0, 0.0);
        for success in successes {
            let (w, Settings { scale, crossover_rate }) = (weight(success), success.settings);
            first += w * scale;
            second += w * scale * scale;
            rates += w * crossover_rate;
            weights += w;
        }
        if first > 0.0 && weights > 0.0 {
            let mean = Settings { scale: second / first, crossover_rate: rates / weights };
            self.means[self.next] = mean;
            self.next = (self.next + 1) % MEMORIES;
        }
    }

    /// The settings of one trial: around one of the means, the scale by a Cauchy distribution of width 0.1, again until it is
    /// positive, the crossover rate by a normal one (equations 5 and 6).
    fn settings(&self, study: &Study, trial: u32, options: &DifferentialEvolution) -> Settings {
        let mut rng = Rng::stream(study.spec().seed, u64::from(trial), Purpose::Surrogate, 1);
        let mean = self.means[rng.below(MEMORIES as u64) as usize];
        let rate = (mean.crossover_rate + 0.1 * rng.normal()).clamp(0.0, 1.0);
        let mut cauchy = || mean.scale + 0.1 * (std::f64::consts::PI * (rng.uniform() - 0.5)).tan();
        let drawn = (0..100).map(|_| cauchy()).find(|scale| *scale > 0.0);
        let scale = drawn.unwrap_or(mean.scale).min(1.0);
        Settings {
            scale: options.scale.unwrap_or(scale),
            crossover_rate: options.crossover_rate.unwrap_or(rate),
        }
    }
}

/// The memo: the population at present and what it has learnt.
#[derive(Default)]
struct Colony {
    /// The first trial of the policy that is in force.
    policy_from: u32,
    finished: Finished,
    slots: Vec<Option<Member>>,
    archive: VecDeque<Member>,
    memory: Memory,
    successes: Vec<Success>,
    /// Trials of the present generation.
    met: usize,
}

impl Colony {
    fn advance(&mut self, study: &Study, options: &DifferentialEvolution) {
        let members = options.members(study);
        let policy_from = study.policy_from();
        if (self.slots.len(), self.policy_from) != (members, policy_from) {
            *self = Self { slots: vec![None; members], policy_from, ..Self::default() };
        }
        let (afresh, fresh) = self.finished.advance(study);
        if afresh {
            let finished = std::mem::take(&mut self.finished);
            *self = Self { finished, slots: vec![None; members], policy_from, ..Self::default() };
        }
        for member in fresh {
            self.meet(study, member, options);
        }
    }

    /// A trial takes its slot if it is empty, or if it is no worse than the member there.
    fn meet(&mut self, study: &Study, rival: Member, options: &DifferentialEvolution) {
        let slots = self.slots.len();
        let slot = &mut self.slots[rival.trial as usize % slots];
        let Some(member) = slot else {
            *slot = Some(rival);
            return;
        };
        if rival.losses.len() > 1 {
            self.compete(study, rival, options);
        } else {
            let order = rival.merit(member);
            if order.is_lt() {
                let gain = gain(member, &rival);
                self.succeed(study, rival.trial, gain, options);
            }
            let slot = rival.trial as usize % slots;
            if order.is_le() {
                self.replace(slot, rival, order.is_lt());
            }
        }
        if self.archive.len() > (options.archive * slots as f64) as usize {
            self.archive.pop_front();
        }
        self.met += 1;
        if self.met == slots {
            self.memory.learn(&self.successes);
            self.successes.clear();
            self.met = 0;
        }
    }

    /// The same with several objectives: whoever neither dominates nor is dominated may take the place of the last of all.
    fn compete(&mut self, study: &Study, rival: Member, options: &DifferentialEvolution) {
        let own = rival.trial as usize % self.slots.len();
        let order = self.slots[own].as_ref().map_or(Ordering::Less, |member| rival.dominance(member));
        let slot = match order {
            Ordering::Less => own,
            Ordering::Greater => return,
            Ordering::Equal => {
                let taken: Vec<usize> = (0..self.slots.len()).filter(|k| self.slots[*k].is_some()).collect();
                let mut all: Vec<&Member> = self.slots.iter().flatten().collect();
                all.push(&rival);
                match ranked(&all).last().and_then(|last| taken.get(*last)) {
                    Some(slot) => *slot,
                    None => return,
                }
            }
        };
        self.succeed(study, rival.trial, 1.0, options);
        self.replace(slot, rival, true);
    }

    /// Notes the settings of a trial that has improved the population.
    fn succeed(&mut self, study: &Study, trial: u32, gain: f64, options: &DifferentialEvolution) {
        if is_own(study, trial) {
            let settings = self.memory.settings(study, trial, options);
            self.successes.push(Success { settings, gain });
        }
    }

    fn replace(&mut self, slot: usize, rival: Member, archived: bool) {
        let replaced = self.slots[slot].replace(rival);
        self.archive.extend(replaced.filter(|_| archived));
    }

    /// Whether there are enough members for a difference.
    fn is_viable(&self) -> bool {
        self.slots.iter().flatten().count() >= 4
    }

    fn parents<'a>(
        &'a self,
        study: &'a Study,
        target: &'a Member,
        slot: usize,
        options: &DifferentialEvolution,
        rng: &mut Rng,
    ) -> Parents<'a> {
        let others: Vec<&Member> =
            (0..self.slots.len()).filter(|k| *k != slot).filter_map(|k| self.slots[k].as_ref()).collect();
        let point = |member: &Member| &study.trials()[member.trial as usize].point;
        let a = rng.below(others.len() as u64) as usize;
        match options.strategy {
            Strategy::CurrentToPbest => {
                let all: Vec<&Member> = others.iter().copied().chain([target]).collect();
                let count = ((options.best_share * all.len() as f64).round() as usize).max(2);
                let best = all[ranked(&all)[rng.below(count as u64) as usize]];
                let pool = others.len() + self.archive.len() - 1;
                let b = skipping(rng.below(pool as u64) as usize, a);
                let other = others.get(b).copied().unwrap_or_else(|| &self.archive[b - others.len()]);
                let (one, other) = (point(others[a]), point(other));
                Parents { target: point(target), base: point(target), best: Some(point(best)), one, other }
            }
            Strategy::Rand1bin => {
                let b = skipping(rng.below(others.len() as u64 - 1) as usize, a);
                let c = skipping(skipping(rng.below(others.len() as u64 - 2) as usize, a.min(b)), a.max(b));
                let (base, one, other) = (point(others[a]), point(others[b]), point(others[c]));
                Parents { target: point(target), base, best: None, one, other }
            }
        }
    }
}

/// Whether this sampler chose the trial, so that it knows the settings it was made with.
fn is_own(study: &Study, number: u32) -> bool {
    let trial = &study.trials()[number as usize];
    let by_an_arm = trial.by.as_ref().is_none_or(|choice| &*choice.arm == ENTRY.name);
    trial.origin == Origin::Sampler && number >= study.policy_from() && by_an_arm
}

/// Counts past `taken`.
fn skipping(k: usize, taken: usize) -> usize {
    k + usize::from(k >= taken)
}

/// By how much the loss fell; infinite where it was not known before.
fn gain(member: &Member, rival: &Member) -> f64 {
    let (before, after) = (member.losses[0], rival.losses[0]);
    let is_known = member.is_completed() && rival.is_completed();
    if is_known { before - after } else { f64::INFINITY }
}

/// Who has a part in a child.
pub(super) struct Parents<'a> {
    pub(super) target: &'a Point,
    pub(super) base: &'a Point,
    pub(super) best: Option<&'a Point>,
    pub(super) one: &'a Point,
    pub(super) other: &'a Point,
}

/// A child of the target. `fresh` is the probability that a parameter is drawn anew.
pub(super) fn child(
    space: &Space,
    parents: &Parents,
    settings: Settings,
    fresh: f64,
    rng: &mut Rng,
) -> Point {
    let free: Vec<usize> = (0..space.len())
        .filter(|k| parents.target.get(*k).is_some() && !space.parameters()[*k].distribution.is_fixed())
        .collect();
    let forced = free.get(rng.below(free.len().max(1) as u64) as usize).copied();
    space.complete(|k| {
        let moves = Some(k) == forced || rng.uniform() < settings.crossover_rate;
        if fresh > 0.0 && rng.uniform() < fresh {
            return space.draw_one(k, rng.uniform());
        }
        match parents.target.get(k) {
            Some(own) if !moves => own,
            _ => mutant(space, k, parents, settings.scale, rng),
        }
    })
}

/// The mutant's value of one parameter.
fn mutant(space: &Space, k: usize, parents: &Parents, scale: f64, rng: &mut Rng) -> f64 {
    let distribution = &space.parameters()[k].distribution;
    let best = parents.best.and_then(|best| best.get(k));
    let (one, other) = (parents.one.get(k), parents.other.get(k));
    let Some(base) = parents.base.get(k).or(best).or(one).or(other) else {
        return space.draw_one(k, rng.uniform());
    };
    if distribution.is_categorical() {
        if rng.uniform() < STRAY_CHOICES {
            return another_choice(space, k, base, rng);
        }
        let mut choice = base;
        if let Some(best) = best.filter(|_| rng.uniform() < scale) {
            choice = best;
        }
        return one.filter(|one| other != Some(*one) && rng.uniform() < scale).unwrap_or(choice);
    }
    let mut at = |coded: f64| anywhere(distribution, coded, rng);
    let from = at(base);
    let (one, other) = match (one, other) {
        (Some(one), Some(other)) => (at(one), at(other)),
        _ => (0.0, 0.0),
    };
    let moved = match parents.best {
        Some(_) => current_to_best_1(from, best.map_or(from, at), one, other, scale),
        None => rand_1(from, one, other, scale),
    };
    distribution.from_unit(within(moved, from, parents.best.is_some(), rng))
}

/// A place in the cell of a value of a grid; the unit coordinate of any other.
fn anywhere(distribution: &Distribution, coded: f64, rng: &mut Rng) -> f64 {
    if distribution.cells().is_none() {
        return distribution.to_unit(coded);
    }
    let (from, to) = distribution.cell_bounds(coded);
    from + rng.uniform() * (to - from)
}

/// Half-way between where it came from and the bound it crossed (JADE), or, for the classic strategy, anywhere.
fn within(moved: f64, from: f64, half_way: bool, rng: &mut Rng) -> f64 {
    match (moved < 0.0, moved > 1.0) {
        (false, false) => moved,
        _ if !half_way => rng.uniform(),
        (true, _) => from / 2.0,
        (_, true) => f64::midpoint(from, 1.0),
    }
}
