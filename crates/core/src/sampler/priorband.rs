//! `PriorBand` (Mallik et al. 2023, arXiv:2306.12370): random
//! points, points from the user's prior, and points near the best trial, mixed by what each has proved to be worth.
//!
//! It weighs priors and nothing else: without priors in the space it is random search with a local part. For schedulers
//! with rungs. The higher the rung at which a trial begins, the fewer random points (section 5.1):
//! 1 / (1 + ηʳ) of them at rung r. Of the rest all goes to the prior at first. Once η trials have come to some rung, one has
//! completed, and as much was spent as a bracket costs, the rest is divided between the prior and the best trial, by how
//! likely each makes the best 1/η of the trials that have come furthest, better ones weighing more (section 5.2).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::depths::{at_step, deepest};
use super::variation::{another_choice, novel};
use super::{Proposal, Request, Sampler, cautions, first_metric_only, no_rungs};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::space::{Distribution, Point, Space};
use crate::spec::Spec;
use crate::study::Study;
use crate::surrogate::parzen::{Axis, Parzen};

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "priorband",
    summary: "mixes random points, the user's priors and the best trial by what each proves to be worth",
    options: &[
        OptionDoc { name: "eta", doc: "that of the scheduler: each rung is so many times further; from 2" },
        OptionDoc {
            name: "mutation_rate",
            doc: "probability that a parameter of the best trial is changed, above 0 and up to 1",
        },
        OptionDoc {
            name: "deviation",
            doc: "standard deviation of changes, as a share of a parameter's range, above 0",
        },
    ],
    build: |options| {
        let (priorband, complete) = configure::<PriorBand>(options)?;
        priorband.check_options()?;
        Ok((Box::new(priorband) as _, complete))
    },
};

/// The sampler's options. The first objective decides.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriorBand {
    /// How much further each rung is.
    pub eta: u64,
    /// Probability that a parameter of the best trial is changed.
    pub mutation_rate: f64,
    /// Standard deviation of changes in the unit interval.
    pub deviation: f64,
}

impl Default for PriorBand {
    fn default() -> Self {
        Self { eta: 3, mutation_rate: 0.5, deviation: 0.25 }
    }
}

/// Probabilities of the three sources; they sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Random points, priors left aside.
    pub random: f64,
    /// Points from the priors.
    pub prior: f64,
    /// Points near the best trial.
    pub best: f64,
}

impl Sampler for PriorBand {
    fn propose(&self, study: &Study, request: &Request, _: &mut Memo, rng: &mut Rng) -> Proposal {
        let space = study.space();
        let shares = self.shares(study, request.budget);
        let coin = rng.uniform();
        let point = if coin < shares.random {
            space.complete(|k| space.parameters()[k].distribution.from_unit(rng.uniform()))
        } else if coin < shares.random + shares.prior {
            space.draw(&rng.uniforms(space.len()))
        } else {
            match best(study) {
                Some(best) => {
                    let centre = &study.trials()[best as usize].point;
                    let tried = study.trials().iter().filter(|trial| !trial.outside);
                    let tried: Vec<Vec<f64>> = tried.map(|trial| space.to_unit(&trial.point)).collect();
                    novel(space, tried.iter().map(Vec::as_slice), |_| self.near(space, centre, rng))
                }
                None => space.draw(&rng.uniforms(space.len())),
            }
        };
        Proposal::Point(point)
    }

    fn caution(&self, spec: &Spec) -> Option<String> {
        let parameters = spec.space.parameters();
        let has_priors =
            parameters.is_empty() || parameters.iter().any(|parameter| parameter.prior.is_some());
        let priors = (!has_priors)
            .then(|| "priorband is made for parameters with priors; this study has none, so it draws at random instead".into());
        cautions([first_metric_only("priorband", spec), priors, no_rungs("priorband", spec)])
    }
}

impl PriorBand {
    /// The shares for a trial that begins with `budget`; without one it begins at the lowest rung.
    pub fn shares(&self, study: &Study, budget: Option<u64>) -> Shares {
        let max = study.spec().max_budget;
        // The rung counts from the smallest first budget, which the scheduler gives most trials.
        let rungs = |budget: u64, max: u64| {
            let below =
                |k: &u32| self.eta.checked_pow(*k).is_some_and(|power| budget.saturating_mul(power) < max);
            (0..64).take_while(below).count() as u32
        };
        let lowest = smallest_budget(study);
        let rung = match (budget, max, lowest) {
            (Some(budget), Some(max), Some(lowest)) => rungs(lowest, max).saturating_sub(rungs(budget, max)),
            _ => 0,
        };
        let random = 1.0 / (1.0 + (self.eta as f64).powi(rung as i32));
        let rest = 1.0 - random;
        let share = if self.is_active(study) { self.share_of_best(study) } else { 0.0 };
        Shares { random, prior: rest * (1.0 - share), best: rest * share }
    }

    /// Whether enough is known of the best trial: η trials at some rung, one completed, and a bracket's budget spent.
    fn is_active(&self, study: &Study) -> bool {
        let Some(max) = study.spec().max_budget else { return study.incumbent().is_some() };
        let lowest = smallest_budget(study).unwrap_or(max).max(1);
        let rungs = 1 + (max / lowest).max(1).ilog(self.eta.max(2));
        let spent = study.tally().steps >= max.saturating_mul(u64::from(rungs));
        spent && study.incumbent().is_some() && deepest(study, self.eta as usize).is_some()
    }

    /// How likely the best trial makes the best ones, against the prior.
    fn share_of_best(&self, study: &Study) -> f64 {
        let space = study.space();
        let Some(step) = deepest(study, self.eta as usize) else { return 0.0 };
        let Some(incumbent) = best(study) else { return 0.0 };
        let there = at_step(study, step);
        let top = &there[..(there.len() / self.eta as usize).max(1).min(there.len())];
        let axes: Arc<[Axis]> =
            space.parameters().iter().map(|parameter| Axis::new(parameter, true)).collect();
        let mut prior = Parzen::new(axes, 1.0);
        let points: Vec<Point> =
            top.iter().map(|at| study.trials()[at.trial as usize].point.clone()).collect();
        let located = prior.locate(&points);
        let by_prior = prior.log_densities(&located);
        let centre = &study.trials()[incumbent as usize].point;
        let by_best: Vec<f64> = points.iter().map(|point| self.log_density(space, centre, point)).collect();
        // Both sums share a factor, so that neither runs out of range.
        let largest = by_prior.iter().chain(&by_best).copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = |logs: &[f64]| -> f64 {
            let weighted = logs.iter().zip((1..=logs.len()).rev());
            weighted.map(|(log, weight)| weight as f64 * (log - largest).exp()).sum()
        };
        let (prior, best) = (sum(&by_prior), sum(&by_best));
        if prior + best > 0.0 { best / (prior + best) } else { 0.5 }
    }

    /// The best trial with each parameter changed by chance, by a normal step or to another choice.
    fn near(&self, space: &Space, centre: &Point, rng: &mut Rng) -> Point {
        space.complete(|k| {
            let Some(own) = centre.get(k) else { return space.draw_one(k, rng.uniform()) };
            let changes = rng.uniform() < self.mutation_rate;
            let distribution = &space.parameters()[k].distribution;
            if !changes || distribution.is_fixed() {
                return own;
            }
            if distribution.is_categorical() {
                return another_choice(space, k, own, rng);
            }
            let from = distribution.to_unit(own);
            let steps = (0..100).map(|_| from + self.deviation * rng.normal());
            let within = steps.into_iter().find(|unit| (0.0..=1.0).contains(unit));
            distribution.from_unit(within.unwrap_or(from))
        })
    }

    /// The logarithm of the density of `point` around the best trial, in the unit cube and as a mass for choices: what is unchanged
    /// with the probability that nothing changes has the density of the step besides, as the authors' code has it.
    fn log_density(&self, space: &Space, centre: &Point, point: &Point) -> f64 {
        let one = |k: usize| {
            let distribution = &space.parameters()[k].distribution;
            let (Some(from), Some(to)) = (centre.get(k), point.get(k)) else { return 0.0 };
            match distribution {
                _ if distribution.is_fixed() => 0.0,
                Distribution::Categorical { choices } => {
                    let others = (choices.len() - 1) as f64;
                    let mass =
                        if from == to { 1.0 - self.mutation_rate } else { self.mutation_rate / others };
                    mass.max(f64::MIN_POSITIVE).ln()
                }
                _ => {
                    let z = (distribution.to_unit(to) - distribution.to_unit(from)) / self.deviation;
                    -0.5 * z * z - self.deviation.ln() - crate::surrogate::normal::LN_SQRT_2PI
                }
            }
        };
        (0..space.len()).map(one).sum()
    }

    fn check_options(&self) -> Result<(), String> {
        if self.eta < 2 {
            return Err(format!("eta is a whole number from 2, not {}", self.eta));
        }
        if !(self.mutation_rate > 0.0 && self.mutation_rate <= 1.0) {
            return Err(format!("mutation_rate is above 0 and up to 1, not {}", self.mutation_rate));
        }
        if !(self.deviation > 0.0 && self.deviation.is_finite()) {
            return Err(format!("deviation is above 0, not {}", self.deviation));
        }
        Ok(())
    }
}

/// The best completed trial that still fits the space, if there is one.
fn best(study: &Study) -> Option<u32> {
    study.incumbent().filter(|trial| !trial.outside).map(|trial| trial.number)
}

/// The smallest step at which a trial stopped without having completed.
fn smallest_budget(study: &Study) -> Option<u64> {
    let stopped = study.trials().iter().filter(|trial| trial.values().is_none());
    stopped.filter_map(|trial| trial.piece(0)?.last_loss()).map(|(step, _)| step).min()
}
