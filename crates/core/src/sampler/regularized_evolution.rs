//! Evolution with regularised age (Real et al. 2019, arXiv:1802.01548): the population is the latest so many trials, however
//! good the older ones were; the best of a few drawn at random has a child, which differs from it in one parameter.
//!
//! Made for spaces of choices, such as architectures. A choice becomes another one, a level or a number a near one or, one time
//! in five, a new draw from its prior; what a new choice opens is drawn from its prior. Several metrics, failed and pruned
//! trials and broken constraints are ordered as told in `population`. Trials that run are not looked at, so workers are never idle.
//!
//! # Several metrics
//!
//! The best of the drawn ones is on the lowest front and has the most room there (the crowded comparison of NSGA-II). Age kills only who is
//! not on the first front; where all are, the one with the least room goes, so the population is an archive of the front as well. The parameter in
//! which a child differs is more often one in which the front's trials differ, for that is what leads along the front, and the more they differ in it
//! the more often it is drawn anew: small steps from wherever the front was first met would not come to its other parts before it has moved on.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::population::{Finished, Member, founder, fronts, places, ranked};
use super::variation::{by_weight, mutated, novel, spread};
use super::{MOST_MEMBERS, Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, check_count, configure};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "regularized_evolution",
    summary: "changes one parameter of a good recent trial; the old die. For spaces of choices",
    options: &[
        OptionDoc {
            name: "population",
            doc: "latest finished trials that live, 2 to 100,000; the first so many cover the space evenly",
        },
        OptionDoc {
            name: "sample",
            doc: "members drawn at random, of which the best has a child, 1 to 100,000",
        },
        OptionDoc {
            name: "redraw_rate",
            doc: "probability that a number or level is drawn anew rather than moved a little, 0 to 1",
        },
        OptionDoc {
            name: "mutation_eta",
            doc: "index of the polynomial mutation of numbers and levels, from 0: the larger, the smaller the steps",
        },
    ],
    build: |options| {
        let (evolution, complete) = configure::<RegularizedEvolution>(options)?;
        evolution.check_options()?;
        Ok((Box::new(evolution) as _, complete))
    },
};

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegularizedEvolution {
    /// Latest finished trials that live.
    pub population: usize,
    /// Members drawn at random, of which the best has a child.
    pub sample: usize,
    /// Probability that a number or level is drawn anew.
    pub redraw_rate: f64,
    /// Distribution index of the polynomial mutation of numbers and levels.
    pub mutation_eta: f64,
}

/// With several metrics, what every parameter has of the chance to be changed, beside the share of its range that the front takes up.
const EVEN: f64 = 0.1;

impl Default for RegularizedEvolution {
    fn default() -> Self {
        Self { population: 20, sample: 10, redraw_rate: 0.2, mutation_eta: 10.0 }
    }
}

impl Sampler for RegularizedEvolution {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let alive: &mut Alive = memo.get();
        alive.advance(study, self.population);
        if alive.members.len() < self.population {
            return Proposal::Point(founder(study, request.trial, request.draw, rng));
        }
        let space = study.space();
        let members = alive.members.make_contiguous();
        let point = |member: &Member| &study.trials()[member.trial as usize].point;
        let standings = standings(members);
        let front = front(members);
        let front: Vec<&Point> = front.into_iter().map(point).collect();
        let known = members.iter().map(|member| &*member.unit);
        Proposal::Point(novel(space, known, |_| {
            let drawn = (0..self.sample).map(|_| rng.below(members.len() as u64) as usize);
            let best = &members[drawn.min_by_key(|k| standings[*k]).unwrap_or(0)];
            self.child(space, point(best), &front, rng)
        }))
    }
}

impl RegularizedEvolution {
    fn check_options(&self) -> Result<(), String> {
        check_count("population", self.population, 2..=MOST_MEMBERS)?;
        check_count("sample", self.sample, 1..=MOST_MEMBERS)?;
        if !(0.0..=1.0).contains(&self.redraw_rate) {
            return Err(format!("redraw_rate is a share from 0 to 1, not {}", self.redraw_rate));
        }
        if !(self.mutation_eta >= 0.0 && self.mutation_eta.is_finite()) {
            return Err(format!("mutation_eta must be 0 or more, not {}", self.mutation_eta));
        }
        Ok(())
    }

    /// The parent with one parameter changed. `front` is empty with one metric.
    fn child(&self, space: &Space, parent: &Point, front: &[&Point], rng: &mut Rng) -> Point {
        let can_change =
            |k: &usize| parent.get(*k).is_some() && !space.parameters()[*k].distribution.is_fixed();
        let free: Vec<usize> = (0..space.len()).filter(can_change).collect();
        let spreads: Vec<f64> = free.iter().map(|k| spread(space, *k, front)).collect();
        let place = if front.is_empty() || free.is_empty() {
            rng.below(free.len().max(1) as u64) as usize
        } else {
            by_weight(&spreads.iter().map(|spread| spread + EVEN).collect::<Vec<f64>>(), rng)
        };
        let chosen = free.get(place).copied();
        let redraw_rate = self.redraw_rate.max(spreads.get(place).copied().unwrap_or(0.0));
        space.complete(|k| match parent.get(k) {
            None => space.draw_one(k, rng.uniform()),
            Some(own) if Some(k) == chosen => self.changed(space, k, own, redraw_rate, rng),
            Some(own) => own,
        })
    }

    fn changed(&self, space: &Space, k: usize, own: f64, redraw_rate: f64, rng: &mut Rng) -> f64 {
        if !space.parameters()[k].distribution.is_categorical() && rng.uniform() < redraw_rate {
            let drawn = space.draw_one(k, rng.uniform());
            if drawn != own {
                return drawn;
            }
        }
        mutated(space, k, own, self.mutation_eta, rng)
    }
}

/// Where each member stands, from 0. Members with the same loss are equal; with several objectives those with the same front and the
/// same room, so that of the front's ends none is preferred.
fn standings(members: &[Member]) -> Vec<u32> {
    let order = ranked(members);
    let places = if members[0].losses.len() > 1 { places(members) } else { Vec::new() };
    let mut standings = vec![0; members.len()];
    for pair in order.windows(2) {
        let are_equal = if places.is_empty() {
            members[pair[0]].merit(&members[pair[1]]).is_eq()
        } else {
            places[pair[0]].order(&places[pair[1]]).is_eq()
        };
        standings[pair[1]] = standings[pair[0]] + u32::from(!are_equal);
    }
    standings
}

/// With several objectives, the members on the first front.
fn front(members: &[Member]) -> Vec<&Member> {
    if members[0].losses.len() < 2 {
        return Vec::new();
    }
    members.iter().zip(fronts(members)).filter(|(_, front)| *front == 0).map(|(member, _)| member).collect()
}

/// The memo: the latest trials to finish, oldest first.
#[derive(Default)]
struct Alive {
    finished: Finished,
    members: VecDeque<Member>,
}

impl Alive {
    fn advance(&mut self, study: &Study, population: usize) {
        let (afresh, fresh) = self.finished.advance(study);
        if afresh {
            self.members.clear();
        }
        if study.metrics().objectives.len() > 1 {
            for member in fresh {
                self.members.push_back(member);
                self.thin_out(population);
            }
            return;
        }
        self.members.extend(fresh);
        let dead = self.members.len().saturating_sub(population);
        self.members.drain(..dead);
    }

    /// With several objectives: the oldest that is not on the first front dies, or, where all are, the one with the least room.
    fn thin_out(&mut self, population: usize) {
        if self.members.len() <= population {
            return;
        }
        let places = places(self.members.make_contiguous());
        let dominated = places.iter().position(|place| place.front > 0);
        let crowded = || (0..places.len()).min_by(|a, b| places[*a].room.total_cmp(&places[*b].room));
        if let Some(dead) = dominated.or_else(crowded) {
            self.members.remove(dead);
        }
    }
}
