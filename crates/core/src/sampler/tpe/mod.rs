//! The tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"), with
//! the rules of Optuna 5.0: multivariate, constant liar, neighbours' gaps as bandwidths (Watanabe 2023,
//! arXiv:2304.11127).
//!
//! Trials are split into a few good ones and all others. `l` models where the good ones are, `g` where the others
//! are; of some points drawn from `l`, the one with the largest `l / g` is proposed. How `l` and `g` treat scales,
//! steps, choices and conditions is told in [`crate::surrogate::parzen`].
//!
//! # How wide the kernels are
//!
//! Gaps between neighbours, as in Optuna, come from one parameter at a time. In many dimensions such kernels are too narrow:
//! between the bad trials `g` is next to nothing, so `l / g` is large wherever nothing was tried near the good ones, and
//! the search stays there for good. So no kernel of `g` is narrower than `bad_width · (n + 1)^(−1 / (d + 4))`, for n trials and d
//! parameters chosen together: the rate of Scott's rule (1992, "Multivariate Density Estimation", equation 6.42), which has
//! 0.29 for uniform values. Kernels of `l` may be narrower: they say how precisely good values are known.
//! With constraints on metrics the best trials are often next to forbidden ones, so there `g` stays as
//! narrow as the gaps are.
//!
//! # Which trials are good
//!
//! The best `min(ceil(gamma · n), max_good)` of the `n` trials that have said something about their loss, in this order:
//! 1. completed ones by loss;
//! 2. those that stopped on the way (pruned, paused, cancelled, replaced) by how far they came and then by the loss
//!    their curve stands for; without a report, last;
//! 3. those whose last reports break a constraint of the metrics, by the sum of what they break it by. A constraint
//!    that was never reported counts as kept.
//!
//! With several objectives, completed trials come by fronts (who is dominated by nobody, by the first front only, …); of
//! the front that does not fit those that together cover the most volume. Up to `4 · max_good` are good then, and all weigh
//! the same.
//!
//! Equal ones are ordered by trial number. A failed trial is bad, whatever its curve, and does not count in `n`: its
//! region is avoided, the share of good trials is not enlarged by it. One that could not even be started says nothing and
//! is left out, as are trials whose values no longer fit the space. A trial that runs or waits is bad until known, so that
//! parallel workers do not crowd.
//!
//! # Priors
//!
//! A user's prior says where *good* values are, so it is the prior of `l` alone; `g` keeps the wide one. It has the
//! weight of one good trial, and so counts less with each.
//!
//! # Conditional spaces
//!
//! By default all branches are in one density (with several objectives, each parameter is chosen by itself, which was
//! better on ZDT, DTLZ and WFG). With `grouping = "group"` the space falls into groups of parameters that
//! have always been active together; groups are chosen one after the other, each by models of the trials that had it.
//!
//! # Noise
//!
//! Where replicates tell the standard error of a loss, no bandwidth is smaller than `noise_width` times the root of its
//! ratio to the standard deviation of all losses: around a quadratic minimum, points nearer than that cannot be told
//! apart (Watanabe 2023, section 3.3.3, advises wider kernels under noise).
//!
//! # Constraints of the metrics
//!
//! By default they only order the trials. With `constraints = "ratio"` each has densities of its own, of the trials that
//! keep it and of those that do not; see `constrained`.
//!
//! # Long studies
//!
//! `g` looks at the latest 10,000 trials; good ones are remembered for ever.

mod constrained;
pub(crate) mod ledger;
pub(crate) mod models;

use serde::{Deserialize, Serialize};

use self::models::{Group, History};
use super::{MOST_CANDIDATES, Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, check_count, configure};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::study::Study;
use crate::surrogate::parzen::{Located, Parzen};

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "tpe",
    summary: "proposes what resembles good trials more than bad ones; any space, parallel workers, priors",
    options: &[
        OptionDoc {
            name: "n_startup",
            doc: "trials with a loss before the model is used; until then drawn at random",
        },
        OptionDoc {
            name: "n_candidates",
            doc: "points drawn from the good trials' model for each proposal, 1 to 1,000,000",
        },
        OptionDoc { name: "gamma", doc: "share of the trials that count as good, in (0, 1)" },
        OptionDoc {
            name: "max_good",
            doc: "the most trials that count as good, from 1; with several objectives four times as many",
        },
        OptionDoc { name: "prior_weight", doc: "weight of the prior, in trials, above 0" },
        OptionDoc { name: "constant_liar", doc: "whether trials that run or wait count as bad until known" },
        OptionDoc {
            name: "grouping",
            doc: "which parameters are modelled together: auto (joint with one objective, single with several), joint (all), group (those that are always active together, each group on the trials that had it), single (each alone)",
        },
        OptionDoc {
            name: "constraints",
            doc: "rank: trials that break constraints come after all others; ratio: each constraint has a model of its own (c-TPE)",
        },
        OptionDoc {
            name: "bad_width",
            doc: "smallest bandwidth of the bad trials' model for one trial, in units of the range; it falls with their number as Scott's rule has it; 0, and with constraints on metrics: gaps between neighbours alone, as in Optuna",
        },
        OptionDoc {
            name: "noise_width",
            doc: "smallest bandwidth where replicates tell the noise: this times the root of the noise's share in the losses' spread, from 0",
        },
    ],
    build: |options| {
        let (tpe, complete) = configure::<Tpe>(options)?;
        tpe.check_options()?;
        Ok((Box::new(tpe) as _, complete))
    },
};

/// Trials that `g` looks back on.
const WINDOW: usize = 10_000;

/// So many times more trials are good where there are several objectives.
const FRONT: usize = 4;

/// Points drawn for each candidate wanted, where constraints refuse most.
const PATIENCE: usize = 8;

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tpe {
    /// Trials with a loss before the model is used.
    pub n_startup: usize,
    /// Points drawn from `l` for each proposal.
    pub n_candidates: usize,
    /// Share of the trials that count as good.
    pub gamma: f64,
    /// The most trials that count as good.
    pub max_good: usize,
    /// Weight of the prior, in trials.
    pub prior_weight: f64,
    /// Whether trials that run or wait count as bad.
    pub constant_liar: bool,
    /// Which parameters are modelled together.
    pub grouping: Grouping,
    /// What becomes of constraints of the metrics.
    pub constraints: Constraints,
    /// The smallest bandwidth of `g` is this times (n + 1)^(−1 / (d + 4)), with n trials and d parameters chosen together, in units
    /// of the range. From 0, which leaves the gaps between neighbours alone, as do constraints on metrics.
    pub bad_width: f64,
    /// The smallest bandwidth under noise: this times √(standard error / standard deviation of the losses), in units of
    /// the range, as far as replicates tell the standard error. From 0, which leaves noise alone.
    pub noise_width: f64,
}

/// Which parameters are modelled together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// All with one objective, each alone with several, as in Optuna 5.0.
    #[default]
    Auto,
    /// All, in one density over all branches of a conditional space.
    Joint,
    /// Those that were active in the same trials, each group on the trials that had it (Optuna's `group`).
    Group,
    /// Each alone.
    Single,
}

impl Grouping {
    /// What it comes to in `study`.
    pub(crate) fn in_study(self, study: &Study) -> Self {
        match self {
            Self::Auto if study.metrics().objectives.len() > 1 => Self::Single,
            Self::Auto => Self::Joint,
            Self::Joint | Self::Group | Self::Single => self,
        }
    }
}

/// What becomes of constraints of the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraints {
    /// Trials that break one come after all others, by how much they break.
    #[default]
    Rank,
    /// Each has a model of where it is kept, and its density ratio is a factor (c-TPE, arXiv:2211.14411).
    Ratio,
}

impl Default for Tpe {
    fn default() -> Self {
        Self {
            n_startup: 10,
            n_candidates: 24,
            gamma: 0.1,
            max_good: 25,
            prior_weight: 1.0,
            constant_liar: true,
            grouping: Grouping::Auto,
            constraints: Constraints::Rank,
            bad_width: 0.2,
            noise_width: 0.2,
        }
    }
}

impl Sampler for Tpe {
    fn propose(&self, study: &Study, _: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let space = study.space();
        let history: &mut History = memo.get();
        history.advance(study, self);
        if history.ledger.ranked() < self.n_startup {
            return Proposal::Point(space.draw(&rng.uniforms(space.len())));
        }
        if self.constraints == Constraints::Ratio && !study.metrics().constraints.is_empty() {
            return Proposal::Point(constrained::propose(study, self, &history.ledger, rng));
        }
        Proposal::Point(self.choose(space, history.groups(), &[], rng))
    }
}

impl Tpe {
    /// Around the values that are given, group by group, the best of some candidates; again where the whole breaks a constraint
    /// of the space.
    pub(crate) fn choose(
        &self,
        space: &Space,
        groups: &mut [Group],
        given: &[Option<f64>],
        rng: &mut Rng,
    ) -> Point {
        if let [group] = groups {
            let mut points = candidates(space, self.n_candidates, || group.draw(space, given, rng));
            let best = group.best_of(&points);
            return points.swap_remove(best);
        }
        let mut point = space.default_point();
        for _ in 0..PATIENCE {
            let mut values = vec![None; space.len()];
            values[..given.len()].copy_from_slice(given);
            for group in &mut *groups {
                if group.members.iter().all(|k| values[*k].is_some()) {
                    continue;
                }
                let drawn = (0..self.n_candidates).map(|_| group.draw(space, &values, rng));
                let points: Vec<Point> = drawn.collect();
                let best = &points[group.best_of(&points)];
                for &k in &group.members {
                    values[k] = best.get(k);
                }
            }
            point = space.complete(|k| values[k].unwrap_or_else(|| space.draw_one(k, rng.uniform())));
            if space.allows(&point.0) {
                break;
            }
        }
        point
    }

    fn check_options(&self) -> Result<(), String> {
        check_count("n_candidates", self.n_candidates, 1..=MOST_CANDIDATES)?;
        if !(self.gamma > 0.0 && self.gamma < 1.0) {
            return Err(format!("gamma is a share in (0, 1), not {}", self.gamma));
        }
        if self.max_good == 0 {
            return Err("max_good must be at least 1".into());
        }
        if !(self.prior_weight > 0.0 && self.prior_weight.is_finite()) {
            return Err(format!("prior_weight must be above 0, not {}", self.prior_weight));
        }
        if !(self.bad_width >= 0.0 && self.bad_width.is_finite()) {
            return Err(format!("bad_width must be 0 or more, not {}", self.bad_width));
        }
        if !(self.noise_width >= 0.0 && self.noise_width.is_finite()) {
            return Err(format!("noise_width must be 0 or more, not {}", self.noise_width));
        }
        Ok(())
    }

    /// How many of `n` trials are good in a study with one objective.
    pub fn good_count(&self, n: usize) -> usize {
        ((self.gamma * n as f64).ceil() as usize).min(self.max_good)
    }

    /// The same in `study`.
    pub(crate) fn good_count_of(&self, study: &Study, n: usize) -> usize {
        ((self.gamma * n as f64).ceil() as usize).min(self.most_good(study))
    }

    /// The most trials that count as good in `study`: a front of several objectives needs more.
    pub(crate) fn most_good(&self, study: &Study) -> usize {
        if study.metrics().objectives.len() > 1 { FRONT * self.max_good } else { self.max_good }
    }

    /// The smallest bandwidth of a model of `trials` bad trials and `parameters` of theirs.
    fn bad_width_of(&self, study: &Study, trials: usize, parameters: usize) -> f64 {
        if study.metrics().constraints.is_empty() {
            self.bad_width * (trials as f64 + 1.0).powf(-1.0 / (parameters as f64 + 4.0))
        } else {
            0.0
        }
    }

    /// Splits a study's trials; the same rules as in a proposal, from scratch.
    pub fn split(&self, study: &Study) -> Split {
        let mut history = History::default();
        history.advance(study, self);
        let bad = (0..study.trials().len() as u32).filter(|number| history.is_bad(*number)).collect();
        Split { good: history.good().to_vec(), bad }
    }

    /// The two models `l` and `g` of a study's first group of parameters.
    pub fn models(&self, study: &Study) -> (Parzen, Parzen) {
        let mut history = History::default();
        history.advance(study, self);
        let (good, bad) = history.groups()[0].models();
        (good.clone(), bad.clone())
    }
}

/// So many of the points that `draw` gives as keep the constraints; one that does not where there is no other.
pub(crate) fn candidates(space: &Space, count: usize, mut draw: impl FnMut() -> Point) -> Vec<Point> {
    let mut candidates = Vec::with_capacity(count);
    let mut refused = None;
    for _ in 0..count * PATIENCE {
        let point = draw();
        if space.allows(&point.0) {
            candidates.push(point);
        } else {
            refused.get_or_insert(point);
        }
        if candidates.len() == count {
            break;
        }
    }
    if candidates.is_empty() {
        candidates.extend(refused);
    }
    candidates
}

/// The index of the first point where `good` is above `bad` most.
pub(crate) fn best_of(points: &[Located], good: &mut Parzen, bad: &mut Parzen) -> usize {
    let logs = good.log_densities(points);
    bad.most_exceeded(points, &logs)
}

/// The numbers of good and bad trials, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Good ones.
    pub good: Vec<u32>,
    /// All others that count, within the window.
    pub bad: Vec<u32>,
}

/// The index of the largest score; the first of equal ones, NaN last.
pub fn winner(scores: &[f64]) -> usize {
    let value = |k: usize| if scores[k].is_nan() { f64::NEG_INFINITY } else { scores[k] };
    (1..scores.len()).fold(0, |best, k| if value(k) > value(best) { k } else { best })
}
