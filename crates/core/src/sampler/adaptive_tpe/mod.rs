//! Adaptive TPE: the estimator of [`super::tpe`], whose settings follow what the history looks like, trial by trial.
//!
//! The idea is Hyperopt's (`atpe`): parameters that matter less are locked to values of good trials, the history is
//! filtered, and how strongly is decided from features of the history. What decides here is not Hyperopt's cascade of
//! models but one linear model of our own: for each setting, a row of numbers per choice (`table.rs`), fitted to what the choices
//! gained in simulated studies. `examples/train_adaptive_tpe.rs` simulates, fits and writes the table.
//!
//! # One proposal
//!
//! 1. *Settings*: the features of the history ([`features`]) go into the table; of each setting the choice with the
//!    highest expected gain is taken, the plain estimator's unless another promises clearly more.
//! 2. *Locking*: parameters are ordered by how much the good trials' values differ from all trials' (PED-ANOVA's
//!    divergence; Watanabe et al. 2023, arXiv:2304.10255). Those beyond the ones that hold most of the sum are locked, each with
//!    probability `lock`, to the value of one of the best trials.
//! 3. *Filter*: bad trials are kept by age, by rank or by chance, or all.
//! 4. The others' values come from the estimator's `l / g`, all at once or one by one.
//!
//! Which trials are good, bad or silent, and how several objectives, constraints and unfinished trials are treated, is as
//! in [`super::tpe`]. `g` looks at the latest 1,000 trials.

pub mod features;
mod settings;
mod table;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::settings::{Filter, SETTINGS, Settings};
use super::tpe::ledger::{Group, Ledger, Standing};
use super::tpe::{Grouping, best_of, candidates};
use super::{Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::study::Study;
use crate::surrogate::parzen::{Axis, Located, Parzen};

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "adaptive_tpe",
    summary: "TPE whose settings follow the history; locks parameters that matter less; any space",
    options: &[
        OptionDoc {
            name: "n_startup",
            doc: "trials with a loss before the model is used; until then drawn at random",
        },
        OptionDoc { name: "constant_liar", doc: "whether trials that run or wait count as bad until known" },
        OptionDoc {
            name: "gamma",
            doc: "share of the trials that count as good, in (0, 1); none: by the history",
        },
        OptionDoc {
            name: "n_candidates",
            doc: "points drawn for each proposal, from 1; none: by the history",
        },
        OptionDoc {
            name: "width",
            doc: "smallest bandwidth as a share of the range, in [0, 1); none: by the history",
        },
        OptionDoc {
            name: "prior_weight",
            doc: "weight of the prior, in trials, above 0; none: by the history",
        },
        OptionDoc {
            name: "lock",
            doc: "probability in [0, 1] with which a parameter that matters less is locked; none: by the history",
        },
        OptionDoc {
            name: "filter",
            doc: "which bad trials are left out: none, age (old ones), rank (the worst), random; null: by the history",
        },
        OptionDoc {
            name: "grouping",
            doc: "joint (all parameters at once) or single (one by one); none: by the history",
        },
    ],
    build: |options| {
        let (tpe, complete) = configure::<AdaptiveTpe>(options)?;
        tpe.check_options()?;
        Ok((Box::new(tpe) as _, complete))
    },
};

/// Trials that `g` looks back on.
const WINDOW: usize = 1_000;
/// The most trials that count as good; four times as many with several objectives.
const MOST_GOOD: usize = 25;
/// Parameters with this share of all importance are not locked.
const PRIMARY: f64 = 0.7;

/// The sampler's options. A setting that is given is not chosen by the history.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveTpe {
    /// Trials with a loss before the model is used.
    pub n_startup: usize,
    /// Whether trials that run or wait count as bad.
    pub constant_liar: bool,
    /// Share of the trials that count as good.
    pub gamma: Option<f64>,
    /// Points drawn for each proposal.
    pub n_candidates: Option<usize>,
    /// The smallest bandwidth, as a share of the range.
    pub width: Option<f64>,
    /// Weight of the prior, in trials.
    pub prior_weight: Option<f64>,
    /// Probability with which a parameter that matters less is locked.
    pub lock: Option<f64>,
    /// Which bad trials are left out.
    pub filter: Option<Filter>,
    /// Whether parameters are chosen at once or one by one.
    pub grouping: Option<Grouping>,
}

impl Default for AdaptiveTpe {
    fn default() -> Self {
        Self {
            n_startup: 10,
            constant_liar: true,
            gamma: None,
            n_candidates: None,
            width: None,
            prior_weight: None,
            lock: None,
            filter: None,
            grouping: None,
        }
    }
}

impl AdaptiveTpe {
    fn check_options(&self) -> Result<(), String> {
        if self.gamma.is_some_and(|gamma| !(gamma > 0.0 && gamma < 1.0)) {
            return Err("gamma is a share in (0, 1)".into());
        }
        if self.n_candidates == Some(0) {
            return Err("n_candidates must be at least 1".into());
        }
        if self.width.is_some_and(|width| !(0.0..1.0).contains(&width)) {
            return Err("width is a share of the range in [0, 1)".into());
        }
        if self.prior_weight.is_some_and(|weight| !(weight > 0.0 && weight.is_finite())) {
            return Err("prior_weight must be above 0".into());
        }
        if self.lock.is_some_and(|lock| !(0.0..=1.0).contains(&lock)) {
            return Err("lock is a probability in [0, 1]".into());
        }
        if matches!(self.grouping, Some(Grouping::Auto | Grouping::Group)) {
            return Err("grouping is joint or single here; the sampler \"tpe\" knows groups".into());
        }
        Ok(())
    }

    /// What the history suggests, but for settings that are given.
    fn settings(&self, features: &features::Features) -> Settings {
        let free = Settings::by(features);
        Settings {
            gamma: self.gamma.unwrap_or(free.gamma),
            n_candidates: self.n_candidates.unwrap_or(free.n_candidates),
            width: self.width.unwrap_or(free.width),
            prior_weight: self.prior_weight.unwrap_or(free.prior_weight),
            lock: self.lock.unwrap_or(free.lock),
            filter: self.filter.unwrap_or(free.filter),
            grouping: self.grouping.unwrap_or(free.grouping),
        }
    }
}

/// The fold of a study that proposals need.
#[derive(Default)]
struct History {
    ledger: Ledger,
    axes: Arc<[Axis]>,
    expecting: Arc<[Axis]>,
}

impl History {
    fn advance(&mut self, study: &Study, constant_liar: bool) {
        let (_, anew) = self.ledger.advance(study, constant_liar, most_good(study));
        if anew {
            let parameters = || study.space().parameters().iter();
            self.axes = parameters().map(|parameter| Axis::new(parameter, false)).collect();
            self.expecting = parameters().map(|parameter| Axis::new(parameter, true)).collect();
        }
    }

    /// Trials of the window that are not among the `good` ones, by number.
    fn bad(&self, study: &Study, good: &[u32]) -> Vec<u32> {
        let start = study.trials().len().saturating_sub(WINDOW) as u32;
        let says = |number: &u32| self.ledger.standing(*number) != Standing::Silent;
        (start..study.trials().len() as u32)
            .filter(|number| says(number) && good.binary_search(number).is_err())
            .collect()
    }
}

fn most_good(study: &Study) -> usize {
    if study.metrics().objectives.len() > 1 { 4 * MOST_GOOD } else { MOST_GOOD }
}

impl Sampler for AdaptiveTpe {
    fn propose(&self, study: &Study, _: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let space = study.space();
        let history: &mut History = memo.get();
        history.advance(study, self.constant_liar);
        if history.ledger.ranked() < self.n_startup.max(1) {
            return Proposal::Point(space.draw(&rng.uniforms(space.len())));
        }
        let seen = features::observe(study, &history.ledger);
        let settings = self.settings(&seen.features);
        let count = ((settings.gamma * history.ledger.ranked() as f64).ceil() as usize).min(most_good(study));
        let good = history.ledger.best(study, count);
        let bad = filtered(&history.ledger, history.bad(study, &good), settings.filter, rng);
        let mut pair = Pair {
            good: model(&history.expecting, study, &good, &settings),
            bad: model(&history.axes, study, &bad, &settings),
        };
        let locked = locked(study, &good, &seen.importance, settings.lock, rng);
        Proposal::Point(match settings.grouping {
            Grouping::Single => pair.one_by_one(space, locked, settings.n_candidates, rng),
            Grouping::Auto | Grouping::Joint | Grouping::Group => {
                pair.at_once(space, &locked, settings.n_candidates, rng)
            }
        })
    }
}

fn model(axes: &Arc<[Axis]>, study: &Study, numbers: &[u32], settings: &Settings) -> Parzen {
    let points = numbers.iter().map(|number| &study.trials()[*number as usize].point);
    let mut model = Parzen::new(axes.clone(), settings.prior_weight);
    model.widen(settings.width);
    model.update(&[], &(0..).zip(points).collect::<Vec<(u32, &Point)>>());
    model
}

/// Half of the bad trials: the young, the better or any with the higher probability; those without a rank are all kept.
fn filtered(ledger: &Ledger, bad: Vec<u32>, filter: Filter, rng: &mut Rng) -> Vec<u32> {
    if filter == Filter::None {
        return bad;
    }
    let is_ranked = |number: &u32| matches!(ledger.standing(*number), Standing::Ranked(_));
    let mut order: Vec<u32> = bad.iter().copied().filter(is_ranked).collect();
    if filter == Filter::Rank {
        // The worst first.
        let rank = |number: &u32| match ledger.standing(*number) {
            Standing::Ranked(rank) => Some(rank),
            Standing::Silent | Standing::Bad => None,
        };
        order.sort_by_key(|number| std::cmp::Reverse(rank(number)));
    }
    let count = order.len() as f64;
    let mut dropped: Vec<u32> = Vec::new();
    for (k, number) in order.into_iter().enumerate() {
        let keep = if filter == Filter::Random { 0.5 } else { (k as f64 + 1.0) / count };
        if rng.uniform() >= keep {
            dropped.push(number);
        }
    }
    dropped.sort_unstable();
    bad.into_iter().filter(|number| dropped.binary_search(number).is_err()).collect()
}

/// Values of good trials for parameters that matter less, each with probability `lock`; none for the others.
fn locked(study: &Study, good: &[u32], importance: &[f64], lock: f64, rng: &mut Rng) -> Vec<Option<f64>> {
    let mut locked = vec![None; importance.len()];
    if lock <= 0.0 || good.is_empty() {
        return locked;
    }
    let mut order: Vec<usize> = (0..importance.len()).collect();
    order.sort_by(|a, b| importance[*b].total_cmp(&importance[*a]).then(a.cmp(b)));
    let total: f64 = importance.iter().sum();
    let mut before = 0.0;
    for (place, k) in order.into_iter().enumerate() {
        let is_secondary = place > 0 && before >= PRIMARY * total;
        before += importance[k];
        if is_secondary && rng.uniform() < lock {
            let model = good[rng.below(good.len() as u64) as usize];
            locked[k] = study.trials()[model as usize].point.get(k);
        }
    }
    locked
}

/// Densities of good and of bad trials.
struct Pair {
    good: Parzen,
    bad: Parzen,
}

impl Pair {
    fn best(&mut self, located: &[Located]) -> usize {
        best_of(located, &mut self.good, &mut self.bad)
    }

    fn at_once(&mut self, space: &Space, given: &[Option<f64>], count: usize, rng: &mut Rng) -> Point {
        let mut points = candidates(space, &self.good, given, count, rng);
        let located = self.good.locate(&points);
        points.swap_remove(self.best(&located))
    }

    /// Each parameter's value by the densities of that parameter alone.
    fn one_by_one(
        &mut self,
        space: &Space,
        mut given: Vec<Option<f64>>,
        count: usize,
        rng: &mut Rng,
    ) -> Point {
        for &k in space.order() {
            if given[k].is_some() {
                continue;
            }
            let points: Vec<Point> = (0..count).map(|_| self.good.draw_around(space, &given, rng)).collect();
            if points[0].get(k).is_none() {
                continue;
            }
            let located: Vec<Located> =
                self.good.locate(&points).into_iter().map(|located| located.only(k)).collect();
            given[k] = points[self.best(&located)].get(k);
        }
        self.good.draw_around(space, &given, rng)
    }
}

/// Whether a trial's rank is that of a completed, feasible one.
fn is_completed(standing: Standing) -> bool {
    matches!(standing, Standing::Ranked(rank) if rank.group == Group::Completed)
}
