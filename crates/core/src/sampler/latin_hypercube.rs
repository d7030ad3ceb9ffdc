//! Latin hypercube sampling (`McKay`, Beckman and Conover 1979): with `n` trials planned, each parameter's range is cut into
//! `n` equally likely strata, and each stratum is used exactly once. It looks at no loss.
//!
//! # How many strata
//!
//! As many as the study's limit of trials. Without a limit, or past it, `block` strata at first; when they are used up, each
//! is cut in two, of which one is taken: so the design grows, and after `block`, 2·`block`, 4·`block`, … trials it is a
//! Latin hypercube again, as is each addition by itself on the strata before the cut (nested designs, Qian 2009).
//!
//! # Which strata are taken
//!
//! Those of all trials there are, by number, however they were chosen and however they ended: enqueued ones too, and those
//! before a limit was raised. A value of a grid or a choice stands for as many strata as it covers and takes one of them
//! each time. Strata are cut on the priors' quantiles, so that more of them lie where good values are expected. A
//! conditional parameter has its strata used by the trials in which it is active. Where there are priors, a trial is drawn from them as
//! any other would be, and each value moves to the nearest free stratum: so those strata go together that one fifth of all
//! draws, which ignores all priors at once, would have.
//!
//! # Which strata go together
//!
//! Of `candidates` random pairings of free strata that keep the constraints, the one that is furthest from its nearest
//! neighbour among the trials ("maximin", Johnson, Moore and Ylvisaker 1990; the latest 512 are looked at). The first
//! random pairing is plain Latin hypercube sampling. Where free strata cannot be paired so that the constraints hold, an
//! independent draw replaces the pairing.

use serde::{Deserialize, Serialize};

use super::{MOST_CANDIDATES, Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, check_count, configure};
use crate::rng::Rng;
use crate::space::{Parameter, Point, Space};
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "latin_hypercube",
    summary: "one trial in each of as many strata per parameter as there are trials",
    options: &[
        OptionDoc {
            name: "block",
            doc: "strata at first where the limit of trials is not known, 1 to 65536; they double when used up",
        },
        OptionDoc {
            name: "candidates",
            doc: "random pairings of strata of which the one furthest from other trials is taken, 1 to 1,000,000",
        },
        OptionDoc {
            name: "centred",
            doc: "whether values lie in the middle of their stratum, not anywhere in it",
        },
    ],
    build: |options| {
        let (design, complete) = configure::<LatinHypercube>(options)?;
        design.check_options()?;
        Ok((Box::new(design) as _, complete))
    },
};

/// More strata than this are never cut: their lists would outgrow what they are good for.
const MOST_STRATA: u64 = 1 << 16;

/// How often pairings may be refused, because none keeps the constraints or a finite space has had them, before
/// independent draws replace them.
const PATIENCE: u64 = 8;

/// Trials to which candidates keep their distance.
const NEIGHBOURS: usize = 512;

/// Values stay so far from the ends of their stratum, as a share of it, that rounding cannot move them into the next.
const MARGIN: f64 = 1e-6;

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatinHypercube {
    /// Strata at first where the limit of trials is not known.
    pub block: u64,
    /// Random pairings of strata of which the best is taken.
    pub candidates: usize,
    /// Whether values lie in the middle of their stratum.
    pub centred: bool,
}

impl Default for LatinHypercube {
    fn default() -> Self {
        Self { block: 16, candidates: 8, centred: false }
    }
}

impl Sampler for LatinHypercube {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let space = study.space();
        if request.draw > PATIENCE {
            return Proposal::Point(space.draw(&rng.uniforms(space.len())));
        }
        let design: &mut Design = memo.get();
        design.advance(study, self);
        let mut best: Option<(f64, Point)> = None;
        // The same for all pairings, so that keeping distance does not prefer what is unexpected.
        let expecting = space.parameters().iter().position(|parameter| parameter.prior.is_some());
        let follows = expecting.map(|first| (first, rng.uniform()));
        let doubts = follows.is_some_and(|(_, uniform)| space.draws_despite_priors(uniform));
        for _ in 0..self.candidates {
            let point = self.pairing(space, design, follows, rng);
            let room = if space.allows(&point.0) { design.room(space, &point, doubts) } else { -1.0 };
            if best.as_ref().is_none_or(|(most, _)| room > *most) {
                best = Some((room, point));
            }
        }
        Proposal::Point(best.map_or_else(|| space.default_point(), |(_, point)| point))
    }
}

impl LatinHypercube {
    fn check_options(&self) -> Result<(), String> {
        if !(1..=MOST_STRATA).contains(&self.block) {
            return Err(format!("block is from 1 to {MOST_STRATA}, not {}", self.block));
        }
        check_count("candidates", self.candidates, 1..=MOST_CANDIDATES)?;
        Ok(())
    }

    /// Into how many strata ranges are cut for the trial after `trials` others.
    fn strata(&self, study: &Study) -> usize {
        let trials = study.trials().len() as u64;
        let limit = study.spec().limits.trials.filter(|limit| *limit <= MOST_STRATA);
        let mut strata = limit.unwrap_or(self.block).max(1);
        while strata <= trials && strata < MOST_STRATA {
            strata *= 2;
        }
        strata.min(MOST_STRATA) as usize
    }

    /// A point with each active parameter in a free stratum. `follows` is the first parameter with a prior, and its uniform
    /// coordinate, by which the trial follows the priors or not.
    fn pairing(&self, space: &Space, design: &Design, follows: Option<(usize, f64)>, rng: &mut Rng) -> Point {
        let drawn = follows.map(|(first, uniform)| {
            let mut cube = rng.uniforms(space.len());
            cube[first] = uniform;
            space.draw(&cube)
        });
        space.complete(|k| {
            let parameter = &space.parameters()[k];
            let expected =
                drawn.as_ref().and_then(|drawn| drawn.get(k)).filter(|_| parameter.prior.is_some());
            let stratum = match expected {
                Some(coded) => design.free[k].nearest(quantiles(parameter, coded), rng),
                None => design.free[k].draw(rng),
            };
            let is_centred = self.centred || parameter.distribution.cells().is_some();
            let within = if is_centred { 0.5 } else { MARGIN + (1.0 - 2.0 * MARGIN) * rng.uniform() };
            space.draw_one(k, (stratum as f64 + within) / design.strata as f64)
        })
    }
}

/// The memo: which strata the trials so far have taken, and where they lie.
#[derive(Default)]
struct Design {
    space_version: u32,
    strata: usize,
    seen: usize,
    /// By parameter.
    free: Vec<Free>,
    /// The latest trials, in quantiles and in unit coordinates.
    places: Vec<[Vec<f64>; 2]>,
}

impl Design {
    fn advance(&mut self, study: &Study, options: &LatinHypercube) {
        let (space, strata) = (study.space(), options.strata(study));
        let is_other = self.space_version != study.space_version() || self.seen > study.trials().len();
        // The points of a traced study change while they run.
        if is_other || self.strata != strata || self.free.len() != space.len() || study.is_traced() {
            let free = (0..space.len()).map(|_| Free::new(strata)).collect();
            *self = Self { space_version: study.space_version(), strata, free, ..Self::default() };
        }
        for trial in &study.trials()[self.seen..] {
            if !trial.outside {
                self.take(space, &trial.point);
            }
        }
        self.seen = study.trials().len();
        let surplus = self.places.len().saturating_sub(NEIGHBOURS);
        self.places.drain(..surplus);
    }

    fn take(&mut self, space: &Space, point: &Point) {
        for (k, parameter) in space.parameters().iter().enumerate() {
            if let Some(coded) = point.get(k) {
                self.free[k].take(quantiles(parameter, coded));
            }
        }
        self.places.push([place(space, point), space.to_unit(point)]);
    }

    /// The distance to the nearest trial: in quantiles, or, of a trial that ignores the priors, in unit coordinates, since quantiles
    /// squeeze all that is not expected into corners.
    fn room(&self, space: &Space, point: &Point, doubts: bool) -> f64 {
        let own = if doubts { space.to_unit(point) } else { place(space, point) };
        let apart = |other: &[Vec<f64>; 2]| -> f64 {
            let parameters = space.parameters().iter().zip(own.iter().zip(&other[usize::from(doubts)]));
            parameters.map(|(parameter, (a, b))| gap(parameter, *a, *b)).sum()
        };
        self.places.iter().map(apart).fold(f64::INFINITY, f64::min)
    }
}

/// The squared distance of two values from 0 to 1: that of two choices, or of something and nothing, is 1.
fn gap(parameter: &Parameter, a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => 0.0,
        (false, false) if !parameter.distribution.is_categorical() => (a - b) * (a - b),
        (false, false) => f64::from(u8::from(a != b)),
        (true, false) | (false, true) => 1.0,
    }
}

fn place(space: &Space, point: &Point) -> Vec<f64> {
    let middle = |(k, parameter): (usize, &Parameter)| {
        let (from, to) = point.get(k).map_or((f64::NAN, f64::NAN), |coded| quantiles(parameter, coded));
        f64::midpoint(from, to)
    };
    space.parameters().iter().enumerate().map(middle).collect()
}

/// The share of its prior that a value stands for.
fn quantiles(parameter: &Parameter, coded: f64) -> (f64, f64) {
    let (from, to) = parameter.distribution.cell_bounds(coded);
    let quantile = |unit: f64| match &parameter.prior {
        None => unit,
        Some(prior) => prior.cumulative(&parameter.distribution, unit),
    };
    (quantile(from), quantile(to))
}

/// The strata of one parameter that no trial has taken, counted in a tree (Fenwick 1994) so that the r-th is found in
/// logarithmic time.
struct Free {
    strata: usize,
    left: usize,
    /// Entry `i`, from 1, counts free strata `i − lowest bit of i` … `i − 1`.
    counts: Vec<u32>,
}

impl Free {
    fn new(strata: usize) -> Self {
        let lowest_bit = |i: usize| (i & i.wrapping_neg()) as u32;
        Self { strata, left: strata, counts: (0..=strata).map(lowest_bit).collect() }
    }

    /// A free stratum; any where none is free.
    fn draw(&self, rng: &mut Rng) -> usize {
        match self.left {
            0 => rng.below(self.strata as u64) as usize,
            left => self.nth(rng.below(left as u64) as usize),
        }
    }

    /// The free stratum nearest to one in the given share; any where none is free.
    fn nearest(&self, (from, to): (f64, f64), rng: &mut Rng) -> usize {
        if self.left == 0 {
            return self.draw(rng);
        }
        let wanted =
            (((from + (to - from) * rng.uniform()) * self.strata as f64) as usize).min(self.strata - 1);
        let before = self.before(wanted);
        let above = (before < self.left).then(|| self.nth(before));
        let below = before.checked_sub(1).map(|rank| self.nth(rank));
        match (below, above) {
            (Some(below), Some(above)) if wanted - below < above - wanted => below,
            (_, Some(above)) => above,
            (Some(below), None) => below,
            (None, None) => wanted,
        }
    }

    /// Takes the first free one of the strata whose middle lies in the given share, or, if that is too narrow to hold a
    /// middle, the one it lies in.
    fn take(&mut self, (from, to): (f64, f64)) {
        let n = self.strata as f64;
        let above = |quantile: f64| (quantile * n - 0.5).ceil().clamp(0.0, n) as usize;
        let (mut first, mut end) = (above(from), above(to));
        if first >= end {
            first = ((f64::midpoint(from, to) * n) as usize).min(self.strata - 1);
            end = first + 1;
        }
        let before = self.before(first);
        if before < self.left {
            let stratum = self.nth(before);
            if stratum < end {
                self.remove(stratum);
            }
        }
    }

    fn remove(&mut self, stratum: usize) {
        let mut i = stratum + 1;
        while i <= self.strata {
            self.counts[i] -= 1;
            i += i & i.wrapping_neg();
        }
        self.left -= 1;
    }

    /// How many free strata come before `stratum`.
    fn before(&self, stratum: usize) -> usize {
        let (mut i, mut sum) = (stratum, 0);
        while i > 0 {
            sum += self.counts[i] as usize;
            i &= i - 1;
        }
        sum
    }

    /// The free stratum that has `rank` free ones before it.
    fn nth(&self, rank: usize) -> usize {
        let (mut at, mut rest) = (0, rank);
        let mut step = 1 << self.strata.ilog2();
        while step > 0 {
            if at + step <= self.strata && self.counts[at + step] as usize <= rest {
                at += step;
                rest -= self.counts[at] as usize;
            }
            step /= 2;
        }
        at
    }
}
