//! Coarse to fine: random search in the whole space, then in smaller and smaller regions around the best points, on each
//! parameter's own scale. It is what people do by hand, made systematic; it has no model.
//!
//! # Stages
//!
//! Stage 0 is the first `every` finished trials: points that cover the whole space evenly. Each `every` further trials begin
//! the next stage, and in stage `s` regions are `shrink`ˢ as wide as the space, not narrower than `finest`. Without `every`,
//! a stage is a tenth of the study's limit of trials, 50 at most, or 20 where there is none.
//!
//! # A region
//!
//! Its centre is one of the `keep` best trials, better ones more often (weights 1/1, 1/2, 1/3, …). A number or level is drawn
//! evenly from the interval of that width around the centre's value, moved inside the range where it sticks out. A choice is
//! the centre's with some probability, else follows how often the `keep` best have each choice; the frequencies
//! are smoothed by the prior, in shares that shrink with the region. A conditional parameter that the centre does
//! not have is drawn from its prior.
//!
//! The share `global` of the trials is drawn from the whole space at every stage, so that a wrong beginning is left again.
//! Failed and pruned trials and broken constraints are ordered as told in `population`.
//!
//! # Several metrics
//!
//! Four times as many trials are kept, those with the most room to their neighbours before others. A point is bred from two of them that are
//! on the first front: each parameter is either parent's. One parameter is drawn from its whole range, more often one in which the front's trials
//! differ more, for that is what leads along the front. Of the others one in five, but one at least, moves within its region; what leads to the front
//! and what leads along it are seldom the same, and a region over all parameters at once is narrow along the front before it has come near it.

use serde::{Deserialize, Serialize};

use super::population::{Finished, Member, founder, fronts, ranked};
use super::variation::{by_weight, spread};
use super::{Proposal, Request, Sampler, expectation};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "coarse_to_fine",
    summary: "random search in the whole space, then in smaller and smaller regions around the best trials",
    options: &[
        OptionDoc {
            name: "every",
            doc: "finished trials per stage, from 1; none means a tenth of the limit of trials, 50 at most, or 20 without one",
        },
        OptionDoc { name: "shrink", doc: "how much narrower regions become with each stage, in (0, 1)" },
        OptionDoc {
            name: "finest",
            doc: "the narrowest region, as a share of a parameter's range, in (0, 1]",
        },
        OptionDoc {
            name: "keep",
            doc: "best trials around which regions lie, from 1; with several objectives four times as many",
        },
        OptionDoc {
            name: "global",
            doc: "share of trials drawn from the whole space at every stage, 0 to 1",
        },
    ],
    build: |options| {
        let (coarse, complete) = configure::<CoarseToFine>(options)?;
        coarse.check_options()?;
        Ok((Box::new(coarse) as _, complete))
    },
};

/// Trials per stage where the limit of trials is not known.
const EVERY: u64 = 20;

/// Stages in a study whose limit of trials is known, unless they would be longer than [`LONGEST`].
const STAGES: u64 = 10;

/// Trials of the longest stage where the limit is known.
const LONGEST: u64 = 50;

/// So many times more trials are kept where there are several metrics.
const FRONT: usize = 4;

/// Where there are several metrics, the share of the parameters that move within their regions.
const MOVED: f64 = 0.2;

/// What every parameter has of the chance to be drawn anew, beside the share of its range that the front takes up.
const EVEN: f64 = 0.1;

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoarseToFine {
    /// Finished trials per stage; none means by the limit of trials.
    pub every: Option<u64>,
    /// How much narrower regions become with each stage.
    pub shrink: f64,
    /// The narrowest region, as a share of a parameter's range.
    pub finest: f64,
    /// Best trials around which regions lie.
    pub keep: usize,
    /// Share of trials drawn from the whole space.
    pub global: f64,
}

impl Default for CoarseToFine {
    fn default() -> Self {
        Self { every: None, shrink: 0.7, finest: 0.001, keep: 3, global: 0.1 }
    }
}

impl Sampler for CoarseToFine {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let best: &mut Best = memo.get();
        best.advance(study, self.keep);
        let space = study.space();
        let width = self.width(study, best.finished.seen());
        if best.members.is_empty() || width >= 1.0 {
            return Proposal::Point(founder(study, request.trial, request.draw, rng));
        }
        if rng.uniform() < self.global {
            return Proposal::Point(expectation::drawn(study, rng));
        }
        let several = study.metrics().objectives.len() > 1;
        let points = best.points(study, several);
        Proposal::Point(if several {
            bred(space, &points, width, rng)
        } else {
            near(space, &points, by_rank(points.len(), rng), width, rng)
        })
    }
}

impl CoarseToFine {
    fn check_options(&self) -> Result<(), String> {
        if self.every == Some(0) {
            return Err("every must be at least 1".into());
        }
        if !(self.shrink > 0.0 && self.shrink < 1.0) {
            return Err(format!("shrink is a share in (0, 1), not {}", self.shrink));
        }
        if !(self.finest > 0.0 && self.finest <= 1.0) {
            return Err(format!("finest is a share in (0, 1], not {}", self.finest));
        }
        if self.keep == 0 {
            return Err("keep must be at least 1".into());
        }
        if !(0.0..=1.0).contains(&self.global) {
            return Err(format!("global is a share from 0 to 1, not {}", self.global));
        }
        Ok(())
    }

    /// How wide regions are after `finished` trials, as a share of each range.
    pub fn width(&self, study: &Study, finished: usize) -> f64 {
        let by_limit =
            || study.spec().limits.trials.map_or(EVERY, |limit| (limit / STAGES).clamp(1, LONGEST));
        let stage = finished as u64 / self.every.unwrap_or_else(by_limit);
        self.shrink.powi(stage.min(10_000) as i32).max(self.finest)
    }
}

/// A point in the region of the given width around `best[centre]`; the best are in order.
fn near(space: &Space, best: &[&Point], centre: usize, width: f64, rng: &mut Rng) -> Point {
    space.complete(|k| match best[centre].get(k) {
        Some(own) => moved(space, k, best, own, width, rng),
        None => space.draw_one(k, rng.uniform()),
    })
}

/// A point of two trials of the front, with one parameter drawn anew and some moved within the region of the given width.
fn bred(space: &Space, front: &[&Point], width: f64, rng: &mut Rng) -> Point {
    let (mother, father) = (front[by_rank(front.len(), rng)], front[by_rank(front.len(), rng)]);
    let crossed = space.complete(|k| match (mother.get(k), father.get(k)) {
        (Some(a), Some(b)) => [a, b][rng.below(2) as usize],
        (Some(own), None) | (None, Some(own)) => own,
        (None, None) => space.draw_one(k, rng.uniform()),
    });
    let is_free = |k: &usize| crossed.get(*k).is_some() && !space.parameters()[*k].distribution.is_fixed();
    let free: Vec<usize> = (0..space.len()).filter(is_free).collect();
    if free.is_empty() {
        return crossed;
    }
    let surely = free[rng.below(free.len() as u64) as usize];
    let weights: Vec<f64> = free.iter().map(|k| spread(space, *k, front) + EVEN).collect();
    let anew = free[by_weight(&weights, rng)];
    space.complete(|k| match crossed.get(k) {
        // It may be another's new choice that has made it active.
        Some(own) if k != anew => {
            let moves = k == surely || rng.uniform() < MOVED;
            if moves { moved(space, k, front, own, width, rng) } else { own }
        }
        Some(_) | None => space.draw_one(k, rng.uniform()),
    })
}

/// A value of parameter `k` in the region of the given width around `own`.
fn moved(space: &Space, k: usize, best: &[&Point], own: f64, width: f64, rng: &mut Rng) -> f64 {
    let distribution = &space.parameters()[k].distribution;
    if distribution.is_categorical() {
        return choice(space, k, best, own, width, rng);
    }
    let from = (distribution.to_unit(own) - width / 2.0).clamp(0.0, 1.0 - width);
    distribution.from_unit(from + width * rng.uniform())
}

/// The centre's choice, or, in a share that shrinks with the region, that of any of the best, or a draw from the prior.
fn choice(space: &Space, k: usize, best: &[&Point], own: f64, width: f64, rng: &mut Rng) -> f64 {
    if rng.uniform() < width {
        return space.draw_one(k, rng.uniform());
    }
    if rng.uniform() < width {
        return best[by_rank(best.len(), rng)].get(k).unwrap_or(own);
    }
    own
}

/// An index below `count`, with weights 1/1, 1/2, 1/3, …
fn by_rank(count: usize, rng: &mut Rng) -> usize {
    let weights: Vec<f64> = (0..count).map(|k| 1.0 / (k + 1) as f64).collect();
    by_weight(&weights, rng)
}

/// The memo: the best trials, in order.
#[derive(Default)]
struct Best {
    finished: Finished,
    members: Vec<Member>,
}

impl Best {
    fn advance(&mut self, study: &Study, keep: usize) {
        let (afresh, fresh) = self.finished.advance(study);
        if afresh {
            self.members.clear();
        }
        let keep = if study.metrics().objectives.len() > 1 { FRONT * keep } else { keep };
        for member in fresh.into_iter().filter(|member| !member.is_failed()) {
            self.members.push(member);
            let order = ranked(&self.members);
            self.members = order.into_iter().take(keep).map(|k| self.members[k].clone()).collect();
        }
    }

    /// Where the best are, in order; with several metrics only those on the first front.
    fn points<'a>(&self, study: &'a Study, several: bool) -> Vec<&'a Point> {
        let fronts = if several { fronts(&self.members) } else { vec![0; self.members.len()] };
        let first = self.members.iter().zip(fronts).filter(|(_, front)| *front == 0);
        first.map(|(member, _)| &study.trials()[member.trial as usize].point).collect()
    }
}
