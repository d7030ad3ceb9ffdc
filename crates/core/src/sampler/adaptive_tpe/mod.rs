//! Adaptive TPE: the estimator of [`super::tpe`], whose settings follow what the history looks like, trial by trial.
//!
//! The idea is Hyperopt's (`atpe`): parameters that matter less are locked to values of good trials, the history is
//! filtered, and how strongly is decided from features of the history. What decides here is not Hyperopt's cascade of
//! models but one linear model of our own: for each setting, a row of numbers per choice (`table.rs`), fitted to what the choices
//! gained in studies of the benchmark's development tasks. `examples/train_adaptive_tpe.rs` runs these, fits and writes the table.
//! The fit gave only the number of candidates, the width and the locking choices that depend on the history; the other settings are those of
//! [`super::tpe`] unless they are given. Wherever the table promises nothing beyond the plain estimator's choices, and no loss of a good trial repeats, the proposal is that of
//! [`super::tpe`].
//!
//! # One proposal
//!
//! 1. *Settings*: the features of the history ([`features`]) go into the table; of each setting the choice with the
//!    highest expected gain is taken, the plain estimator's unless another promises clearly more. With several objectives
//!    the plain estimator's are taken: the table has seen none.
//! 2. *Locking*: parameters are ordered by how much the good trials' values differ from all trials' (PED-ANOVA's
//!    divergence; Watanabe et al. 2023, arXiv:2304.10255; here over the values' ranks, and beyond what chance gives). Those beyond the ones that hold most of the sum are locked, each with
//!    probability `lock`, to the value of one of the good trials.
//! 3. *Copies*: of good trials with the same loss the first is good, the others are bad. Where params are rounded, looked up or
//!    without effect, and where a metric has few values, the plain estimator comes back to one result again and again: each copy makes
//!    its place look better. Where no losses repeat this changes nothing.
//! 4. *Filter*: bad trials are kept by age, by rank or by chance, or all (always, unless `filter` says otherwise).
//! 5. The others' values come from the estimator's `l / g`, all at once or one by one.
//!
//! Which trials are good, bad or silent, and how several objectives, constraints and unfinished trials are treated, is as
//! in [`super::tpe`]. `g` looks at the latest 1,000 trials.

pub mod features;
mod settings;
mod table;

use serde::{Deserialize, Serialize};

pub use self::settings::{Filter, SETTING_COUNT, SETTINGS, Settings};
use super::tpe::ledger::{self, Ledger, Standing};
use super::tpe::models::Group;
use super::tpe::{Grouping, Tpe};
use super::{MOST_CANDIDATES, Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, check_count, configure};
use crate::rng::Rng;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "adaptive_tpe",
    summary: "TPE of which some settings follow the history; locks parameters that matter less; any space",
    options: &[
        OptionDoc {
            name: "n_startup",
            doc: "trials with a loss before the model is used; until then drawn at random",
        },
        OptionDoc { name: "constant_liar", doc: "whether trials that run or wait count as bad until known" },
        OptionDoc {
            name: "copies",
            doc: "whether good trials with the loss of an earlier one count as good; else as bad",
        },
        OptionDoc {
            name: "gamma",
            doc: "share of the trials that count as good, in (0, 1); none: by the table",
        },
        OptionDoc {
            name: "n_candidates",
            doc: "points drawn for each proposal, 1 to 1,000,000; none: by the history",
        },
        OptionDoc {
            name: "width",
            doc: "smallest bandwidth as a share of the range, in [0, 1); none: by the history",
        },
        OptionDoc {
            name: "bad_width",
            doc: "smallest bandwidth of the bad trials' model, as that of tpe; none: by the table",
        },
        OptionDoc {
            name: "prior_weight",
            doc: "weight of the prior, in trials, above 0; none: by the table",
        },
        OptionDoc {
            name: "lock",
            doc: "probability in [0, 1] with which a parameter that matters less is locked; none: by the history",
        },
        OptionDoc {
            name: "filter",
            doc: "which bad trials are left out: none, age (old ones), rank (the worst), random; null: by the table",
        },
        OptionDoc {
            name: "grouping",
            doc: "as that of tpe: auto, joint (all parameters at once) or single (one by one); none: by the table",
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
    /// Whether good trials with the loss of an earlier one count as good; else they are bad.
    pub copies: bool,
    /// Share of the trials that count as good.
    pub gamma: Option<f64>,
    /// Points drawn for each proposal.
    pub n_candidates: Option<usize>,
    /// The smallest bandwidth, as a share of the range.
    pub width: Option<f64>,
    /// The smallest bandwidth of the bad trials' model, as that of [`super::tpe`].
    pub bad_width: Option<f64>,
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
            copies: false,
            gamma: None,
            n_candidates: None,
            width: None,
            bad_width: None,
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
        check_count("n_candidates", self.n_candidates, 1..=MOST_CANDIDATES)?;
        if self.width.is_some_and(|width| !(0.0..1.0).contains(&width)) {
            return Err("width is a share of the range in [0, 1)".into());
        }
        if self.bad_width.is_some_and(|width| !(width >= 0.0 && width.is_finite())) {
            return Err("bad_width must be 0 or more".into());
        }
        if self.prior_weight.is_some_and(|weight| !(weight > 0.0 && weight.is_finite())) {
            return Err("prior_weight must be above 0".into());
        }
        if self.lock.is_some_and(|lock| !(0.0..=1.0).contains(&lock)) {
            return Err("lock is a probability in [0, 1]".into());
        }
        if self.grouping == Some(Grouping::Group) {
            return Err("grouping is auto, joint or single here; the sampler \"tpe\" knows groups".into());
        }
        Ok(())
    }

    /// What the history suggests, but for settings that are given.
    fn settings(&self, free: Settings) -> Settings {
        Settings {
            gamma: self.gamma.unwrap_or(free.gamma),
            n_candidates: self.n_candidates.unwrap_or(free.n_candidates),
            width: self.width.unwrap_or(free.width),
            bad_width: self.bad_width.unwrap_or(free.bad_width),
            prior_weight: self.prior_weight.unwrap_or(free.prior_weight),
            lock: self.lock.unwrap_or(free.lock),
            filter: self.filter.unwrap_or(free.filter),
            grouping: self.grouping.unwrap_or(free.grouping),
        }
    }
}

/// Trials of the window that are not among the `good` ones, by number.
fn bad(ledger: &Ledger, study: &Study, good: &[u32]) -> Vec<u32> {
    let start = study.trials().len().saturating_sub(WINDOW) as u32;
    let says = |number: &u32| ledger.standing(*number) != Standing::Silent;
    (start..study.trials().len() as u32)
        .filter(|number| says(number) && good.binary_search(number).is_err())
        .collect()
}

impl Sampler for AdaptiveTpe {
    fn propose(&self, study: &Study, _: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let space = study.space();
        let ledger: &mut Ledger = memo.get();
        ledger.advance(study, self.constant_liar, Tpe::default().most_good(study));
        if ledger.ranked() < self.n_startup.max(1) {
            return Proposal::Point(space.draw(&rng.uniforms(space.len())));
        }
        let seen = features::observe(study, ledger);
        let is_known = study.metrics().objectives.len() < 2;
        let settings = self.settings(if is_known {
            Settings::by(&seen.features)
        } else {
            Settings::of([0; SETTING_COUNT])
        });
        let tpe = settings.estimator();
        let count = tpe.good_count_of(study, ledger.ranked());
        let good = if self.copies || !is_known { ledger.best(study, count) } else { ledger.originals(count) };
        let bad = filtered(ledger, bad(ledger, study, &good), settings.filter, rng);
        let locked = locked(study, &good, &seen.importance, settings.lock, rng);
        let mut groups = Group::afresh(study, &tpe, ledger, settings.width, &good, &bad);
        Proposal::Point(tpe.choose(space, &mut groups, &locked, rng))
    }
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

/// Values of good trials for parameters that matter less, each with probability `lock`; none for the others, and none at all as long
/// as no parameter is known to matter.
fn locked(study: &Study, good: &[u32], importance: &[f64], lock: f64, rng: &mut Rng) -> Vec<Option<f64>> {
    let mut locked = vec![None; importance.len()];
    let total: f64 = importance.iter().sum();
    if lock <= 0.0 || total <= 0.0 || good.is_empty() {
        return locked;
    }
    let mut order: Vec<usize> = (0..importance.len()).collect();
    order.sort_by(|a, b| importance[*b].total_cmp(&importance[*a]).then(a.cmp(b)));
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

/// Whether a trial's rank is that of a completed, feasible one.
fn is_completed(standing: Standing) -> bool {
    matches!(standing, Standing::Ranked(rank) if rank.group == ledger::Group::Completed)
}
