//! Finished trials as members of a population: who is better than whom, and where a population begins.
//!
//! Every finished trial is a candidate, whoever chose it. Trials that wait or run are not looked at. The order is that of
//! groups first:
//!
//! 1. completed trials by their losses;
//! 2. those that stopped on the way (pruned, cancelled, replaced) by how far they came, then by the losses their curves
//!    stand for;
//! 3. those that break a constraint of the metrics, by how much;
//! 4. failed ones.
//!
//! With several objectives, losses are compared by fronts, and within a front whoever has more room to its neighbours is better
//! (the crowded comparison of NSGA-II).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::RangeInclusive;

use super::expectation;
use super::sequence::{self, SOBOL};
use crate::observation::{FirstStops, Observation, Standing};
use crate::pareto;
use crate::rng::Rng;
use crate::space::Point;
use crate::study::Study;

/// A finished trial as evolution sees it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its number.
    pub(super) trial: u32,
    /// Its unit coordinates, NaN where inactive.
    pub(super) unit: Box<[f64]>,
    /// Its losses, NaN where unknown.
    pub(super) losses: Box<[f64]>,
    group: Group,
    /// What counts within the group before the losses: the steps not taken, or the violation.
    first: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Completed,
    Partial,
    Infeasible,
    Failed,
}

impl Member {
    pub(super) fn of(row: &Observation) -> Self {
        let (group, first) = if row.standing == Standing::Failed {
            (Group::Failed, 0.0)
        } else if row.violation > 0.0 {
            (Group::Infeasible, row.violation)
        } else if matches!(row.standing, Standing::Completed | Standing::Raced) {
            (Group::Completed, 0.0)
        } else {
            (Group::Partial, -(row.step as f64))
        };
        let (unit, losses) = (row.unit.clone(), row.losses.clone());
        Self { trial: row.trial, unit, losses, group, first }
    }

    /// Whether it ran to its end and broke nothing.
    pub(super) fn is_completed(&self) -> bool {
        self.group == Group::Completed
    }

    /// Whether it failed: nothing but its place is known.
    pub(super) fn is_failed(&self) -> bool {
        self.group == Group::Failed
    }

    /// Before the losses are looked at.
    fn class(&self, other: &Self) -> Ordering {
        self.group.cmp(&other.group).then(self.first.total_cmp(&other.first))
    }

    /// By the first loss alone: smaller is better. Members that are equal in everything are equal, whatever their numbers.
    pub(super) fn merit(&self, other: &Self) -> Ordering {
        let loss = |member: &Self| {
            let loss = member.losses.first().copied().unwrap_or(f64::NAN);
            if loss.is_nan() || member.group == Group::Infeasible { f64::INFINITY } else { loss + 0.0 }
        };
        self.class(other).then(loss(self).total_cmp(&loss(other)))
    }

    /// Whether it is better in its class or, where losses count, dominates the other; less is better, equal is neither.
    pub(super) fn dominance(&self, other: &Self) -> Ordering {
        let by_losses = || {
            let better = |a: &Self, b: &Self| {
                self.group < Group::Infeasible && pareto::dominates(&a.losses, &b.losses)
            };
            better(other, self).cmp(&better(self, other))
        };
        self.class(other).then_with(by_losses)
    }

    /// [`Member::merit`], with the lower number before the higher of equal ones: a strict order.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.merit(other).then(self.trial.cmp(&other.trial))
    }
}

/// The front of each member, from 0: a class of members comes after all fronts of the class before it.
pub(super) fn fronts<M: Borrow<Member>>(members: &[M]) -> Vec<u32> {
    let member = |k: usize| members[k].borrow();
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|a, b| member(*a).class(member(*b)).then(a.cmp(b)));
    let (mut fronts, mut from) = (vec![0; members.len()], 0);
    for class in order.chunk_by(|a, b| member(*a).class(member(*b)).is_eq()) {
        let losses: Vec<&[f64]> = class.iter().map(|k| &*member(*k).losses).collect();
        let by_losses = member(class[0]).group < Group::Infeasible;
        let ranks = if by_losses { pareto::ranks(&losses) } else { vec![0; class.len()] };
        for (k, rank) in class.iter().zip(&ranks) {
            fronts[*k] = from + rank;
        }
        from += 1 + ranks.into_iter().max().unwrap_or(0);
    }
    fronts
}

/// Where a member stands among others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its front, from 0.
    pub(super) front: u32,
    /// Its crowding distance within the front: larger is better.
    pub(super) room: f64,
}

impl Place {
    /// The crowded comparison (Deb et al. 2002, section III-B).
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.front.cmp(&other.front).then(other.room.total_cmp(&self.room))
    }
}

/// The place of each member.
pub(super) fn places<M: Borrow<Member>>(members: &[M]) -> Vec<Place> {
    let fronts = fronts(members);
    let mut places: Vec<Place> = fronts.iter().map(|front| Place { front: *front, room: 0.0 }).collect();
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|k| (fronts[*k], *k));
    for front in order.chunk_by(|a, b| fronts[*a] == fronts[*b]) {
        let losses: Vec<&[f64]> = front.iter().map(|k| &*members[*k].borrow().losses).collect();
        for (k, room) in front.iter().zip(pareto::crowding_distances(&losses)) {
            places[*k].room = room;
        }
    }
    places
}

/// Indices of members, the best first: with one objective by [`Member::order`], with several by their places and then their numbers.
pub(super) fn ranked<M: Borrow<Member>>(members: &[M]) -> Vec<usize> {
    let member = |k: usize| members[k].borrow();
    let mut order: Vec<usize> = (0..members.len()).collect();
    if members.first().is_none_or(|first| first.borrow().losses.len() < 2) {
        order.sort_by(|a, b| member(*a).order(member(*b)));
    } else {
        let places = places(members);
        order.sort_by(|a, b| places[*a].order(&places[*b]).then(member(*a).trial.cmp(&member(*b).trial)));
    }
    order
}

/// Trials in the order in which they first stopped, each handed out once, as it was then.
#[derive(Default)]
pub(super) struct Finished {
    stops: FirstStops,
    seen: usize,
}

impl Finished {
    /// Members that have come since the last call, and whether all before are to be forgotten, because the space is another.
    pub(super) fn advance(&mut self, study: &Study) -> (bool, Vec<Member>) {
        let (holds, fresh) = self.stops.advance(study);
        self.seen = fresh.len() + if holds { self.seen } else { 0 };
        (!holds, fresh.iter().map(Member::of).collect())
    }

    /// How many have been handed out.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }
}

/// The square root of the study's limit of trials, kept in `range`; `unlimited` where there is no limit.
///
/// So a short study has several generations, and a long one enough members not to run together too soon.
pub(super) fn size_by_limit(study: &Study, range: RangeInclusive<usize>, unlimited: usize) -> usize {
    let root = |limit: u64| (limit as f64).sqrt().round() as usize;
    study.spec().limits.trials.map_or(unlimited, |limit| root(limit).clamp(*range.start(), *range.end()))
}

/// The point with which trial number `trial` fills a population that is not yet full: a point of the scrambled Sobol
/// sequence, pushed through the priors as long as they stand; an independent draw if the engine asks again.
pub(super) fn founder(study: &Study, trial: u32, draw: u64, rng: &mut Rng) -> Point {
    if draw > 0 {
        return expectation::drawn(study, rng);
    }
    expectation::placed(study, &sequence::coordinates(SOBOL, study, trial))
}
