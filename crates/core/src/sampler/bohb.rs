//! BOHB (Falkner et al. 2018, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale"): good and bad trials are
//! told apart where trials have come furthest, as soon as enough have.
//!
//! It is the model's half; the other half is the scheduler `hyperband`. Any other scheduler will do as well.
//!
//! Section 4 of the paper, with the densities of [`crate::surrogate::parzen`] in place of its kernels: with probability
//! `random_share` a random point; else of the deepest step with at least m + 2 trials the best 15 per cent, at least m, are
//! good and the rest bad, at least m, and of some points drawn from the good ones' density the one is proposed whose
//! ratio to the bad ones' is largest. The paper takes m = d + 1, d being the number of parameters; these densities do with half as
//! many, but 4, so that the good ones are a choice sooner. Trials that wait at an earlier step do not count. Those that were stopped there for good
//! are bad: that was the verdict on them beside those that went on. Without them the bad trials of a deep step would be its survivors, and
//! what they have in common with the good ones, which is why they survived, would be lost.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::depths::{At, at_step, deepest, stopped_before};
use super::modelled::free_parameters;
use super::tpe::{best_of, candidates};
use super::{MOST_CANDIDATES, Proposal, Request, Sampler, cautions, first_metric_only, no_rungs};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, check_count, configure};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::spec::Spec;
use crate::study::Study;
use crate::surrogate::parzen::{Axis, Parzen};

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "bohb",
    summary: "learns from the trials that have come furthest; the model of BOHB, for the scheduler hyperband",
    options: &[
        OptionDoc { name: "random_share", doc: "share of the trials that are drawn at random, from 0 to 1" },
        OptionDoc { name: "good_share", doc: "share of the trials that count as good, between 0 and 1" },
        OptionDoc {
            name: "n_candidates",
            doc: "points drawn from the good trials' model for each proposal, 1 to 1,000,000",
        },
        OptionDoc {
            name: "min_points",
            doc: "good and bad trials at least, from 2; none means one more than half as many as parameters, at least 4",
        },
    ],
    build: |options| {
        let (bohb, complete) = configure::<Bohb>(options)?;
        bohb.check_options()?;
        Ok((Box::new(bohb) as _, complete))
    },
};

/// Bad trials of which a density is made: the latest.
const WINDOW: usize = 2_000;

/// The sampler's options. The first objective decides.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bohb {
    /// Share of the trials that are drawn at random.
    pub random_share: f64,
    /// Share of the trials that count as good.
    pub good_share: f64,
    /// Points drawn for each proposal.
    pub n_candidates: usize,
    /// Good and bad trials at least; none means one more than half as many as parameters, at least 4.
    pub min_points: Option<usize>,
}

impl Default for Bohb {
    fn default() -> Self {
        Self { random_share: 0.33, good_share: 0.15, n_candidates: 64, min_points: None }
    }
}

impl Sampler for Bohb {
    fn propose(&self, study: &Study, _: &Request, _: &mut Memo, rng: &mut Rng) -> Proposal {
        let space = study.space();
        let is_random = rng.uniform() < self.random_share;
        match self.split(study).filter(|_| !is_random) {
            Some((good, bad)) => Proposal::Point(self.best_candidate(study, &good, &bad, rng)),
            None => Proposal::Point(space.draw(&rng.uniforms(space.len()))),
        }
    }

    fn caution(&self, spec: &Spec) -> Option<String> {
        cautions([first_metric_only("bohb", spec), no_rungs("bohb", spec)])
    }
}

impl Bohb {
    /// Good and bad trials, by number, at the deepest step at which there are enough; none before. Bad are also those that were stopped for
    /// good before that step.
    pub fn split(&self, study: &Study) -> Option<(Vec<u32>, Vec<u32>)> {
        let free = free_parameters(study.space());
        let least = self.min_points.unwrap_or((free.div_ceil(2) + 1).max(4)).max(2);
        let step = deepest(study, least + 2)?;
        let there = at_step(study, step);
        let n = there.len();
        let good = ((self.good_share * n as f64) as usize).max(least);
        let bad = (n - good).max(least);
        let numbers = |part: &[At]| {
            let mut numbers: Vec<u32> = part.iter().map(|at| at.trial).collect();
            numbers.sort_unstable();
            numbers
        };
        // With few trials some are both, as in the authors' code.
        let mut worse = numbers(&there[n - bad..]);
        worse.extend(stopped_before(study, step));
        worse.sort_unstable();
        Some((numbers(&there[..good]), worse))
    }

    fn best_candidate(&self, study: &Study, good: &[u32], bad: &[u32], rng: &mut Rng) -> Point {
        let space = study.space();
        let bad = &bad[bad.len().saturating_sub(WINDOW)..];
        let mut l = density(study, good, true);
        let mut g = density(study, bad, false);
        let mut points = candidates(space, self.n_candidates, || l.draw(space, rng));
        let best = best_of(&l.locate(&points), &mut l, &mut g);
        points.swap_remove(best)
    }

    fn check_options(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.random_share) {
            return Err(format!("random_share is a share from 0 to 1, not {}", self.random_share));
        }
        if !(self.good_share > 0.0 && self.good_share < 1.0) {
            return Err(format!("good_share is a share between 0 and 1, not {}", self.good_share));
        }
        check_count("n_candidates", self.n_candidates, 1..=MOST_CANDIDATES)?;
        if self.min_points.is_some_and(|points| points < 2) {
            return Err("min_points must be at least 2".into());
        }
        Ok(())
    }
}

/// The density of some trials' points; a user's prior is that of good ones only.
fn density(study: &Study, numbers: &[u32], expects: bool) -> Parzen {
    let space: &Space = study.space();
    let axes: Arc<[Axis]> =
        space.parameters().iter().map(|parameter| Axis::new(parameter, expects)).collect();
    let mut density = Parzen::new(axes, 1.0).evenly();
    let points: Vec<(u32, &Point)> =
        (0..).zip(numbers.iter().map(|number| &study.trials()[*number as usize].point)).collect();
    density.update(&[], &points);
    density
}
