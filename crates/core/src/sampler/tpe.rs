//! The tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"), with
//! the rules of Optuna 5.0: multivariate, constant liar, neighbours' gaps as bandwidths (Watanabe 2023,
//! arXiv:2304.11127).
//!
//! Trials are split into a few good ones and all others. `l` models where the good ones are, `g` where the others
//! are; of some points drawn from `l`, the one with the largest `l / g` is proposed. How `l` and `g` treat scales,
//! steps, choices and conditions is told in [`crate::surrogate::parzen`]. It looks at the first objective only.
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
//! # Long studies
//!
//! `g` looks at the latest 10,000 trials; good ones are remembered for ever.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Proposal, Request, Sampler};
use crate::event::{Failure, Outcome};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::study::Study;
use crate::surrogate::parzen::{Axis, Parzen};
use crate::trial::{Trial, TrialState};

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
            doc: "points drawn from the good trials' model for each proposal, from 1",
        },
        OptionDoc { name: "gamma", doc: "share of the trials that count as good, in (0, 1)" },
        OptionDoc { name: "max_good", doc: "the most trials that count as good, from 1" },
        OptionDoc { name: "prior_weight", doc: "weight of the prior, in trials, above 0" },
        OptionDoc { name: "constant_liar", doc: "whether trials that run or wait count as bad until known" },
    ],
    build: |options| {
        let (tpe, complete) = configure::<Tpe>(options)?;
        tpe.check_options()?;
        Ok((Box::new(tpe) as _, complete))
    },
};

/// Trials that `g` looks back on.
const WINDOW: usize = 10_000;

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
        }
    }
}

impl Sampler for Tpe {
    fn propose(&self, study: &Study, _: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let space = study.space();
        let history: &mut History = memo.get();
        history.advance(study, self);
        if history.ranking.len() < self.n_startup {
            return Proposal::Point(space.draw(&rng.uniforms(space.len())));
        }
        let mut good = history.good_model(study, self);
        let candidates = self.candidates(space, &good, rng);
        let located = good.locate(&candidates);
        let (l, g) = (good.log_densities(&located), history.bad_model.log_densities(&located));
        let scores: Vec<f64> = l.iter().zip(&g).map(|(l, g)| l - g).collect();
        let best = winner(&scores);
        Proposal::Point(candidates.into_iter().nth(best).unwrap_or_else(|| space.default_point()))
    }
}

impl Tpe {
    fn check_options(&self) -> Result<(), String> {
        if self.n_candidates == 0 {
            return Err("n_candidates must be at least 1".into());
        }
        if !(self.gamma > 0.0 && self.gamma < 1.0) {
            return Err(format!("gamma is a share in (0, 1), not {}", self.gamma));
        }
        if self.max_good == 0 {
            return Err("max_good must be at least 1".into());
        }
        if !(self.prior_weight > 0.0 && self.prior_weight.is_finite()) {
            return Err(format!("prior_weight must be above 0, not {}", self.prior_weight));
        }
        Ok(())
    }

    /// How many of `n` trials are good.
    pub fn good_count(&self, n: usize) -> usize {
        ((self.gamma * n as f64).ceil() as usize).min(self.max_good)
    }

    /// Splits a study's trials; the same rules as in a proposal, from scratch.
    pub fn split(&self, study: &Study) -> Split {
        let mut history = History::default();
        history.advance(study, self);
        let bad = (0..study.trials().len() as u32).filter(|number| history.is_bad(*number)).collect();
        Split { good: history.good, bad }
    }

    /// The two models `l` and `g` of a study, without those of its priors.
    pub fn models(&self, study: &Study) -> (Parzen, Parzen) {
        let mut history = History::default();
        history.advance(study, self);
        (history.good_model(study, self), history.bad_model)
    }

    /// Points of `good` that keep the constraints; one that does not where there is no other.
    fn candidates(&self, space: &Space, good: &Parzen, rng: &mut Rng) -> Vec<Point> {
        let mut candidates = Vec::with_capacity(self.n_candidates);
        let mut refused = None;
        for _ in 0..self.n_candidates * PATIENCE {
            let point = good.draw(space, rng);
            if space.allows(&point.0) {
                candidates.push(point);
            } else {
                refused.get_or_insert(point);
            }
            if candidates.len() == self.n_candidates {
                break;
            }
        }
        if candidates.is_empty() {
            candidates.extend(refused);
        }
        candidates
    }
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

/// What a trial says to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Standing {
    /// Nothing.
    #[default]
    Silent,
    /// It is bad, how bad is unknown.
    Bad,
    /// It has a place among the others.
    Ranked(Rank),
}

/// A place: smaller is better.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rank {
    group: Group,
    first: f64,
    second: f64,
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Completed,
    Partial,
    Infeasible,
}

impl Eq for Rank {}
impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.group
            .cmp(&other.group)
            .then(self.first.total_cmp(&other.first))
            .then(self.second.total_cmp(&other.second))
            .then(self.number.cmp(&other.number))
    }
}

impl Standing {
    fn of(study: &Study, trial: &Trial, constant_liar: bool) -> Self {
        if trial.outside {
            return Self::Silent;
        }
        match trial.state() {
            TrialState::Waiting | TrialState::Running if constant_liar => Self::Bad,
            TrialState::Waiting | TrialState::Running => Self::Silent,
            TrialState::Failed => match trial.outcome() {
                Some(Outcome::Failed { reason: Failure::NotStarted { .. }, .. }) => Self::Silent,
                _ => Self::Bad,
            },
            TrialState::Completed
            | TrialState::Pruned
            | TrialState::Paused
            | TrialState::Cancelled
            | TrialState::Replaced => Self::Ranked(Rank::of(study, trial)),
        }
    }
}

impl Rank {
    fn of(study: &Study, trial: &Trial) -> Self {
        let violation = study.violation(trial);
        let (group, first, second) = if violation > 0.0 {
            (Group::Infeasible, violation, 0.0)
        } else if let Some(loss) = trial.loss(study.metrics(), 0) {
            (Group::Completed, loss, 0.0)
        } else if trial.pieces().all(|(_, piece)| piece.curve.is_empty()) {
            (Group::Partial, 1.0, 0.0)
        } else {
            let loss = trial.curve_loss(study.metrics()).unwrap_or(f64::INFINITY);
            (Group::Partial, -(trial.step() as f64), loss)
        };
        // Adding zero makes -0 the same as 0, so that the trial number breaks the tie.
        Self { group, first: first + 0.0, second: second + 0.0, number: trial.number }
    }
}

/// The fold of a study that proposals need: every trial's standing, and the model of the bad ones.
///
/// What it holds follows from the study alone; a history that was kept and one made afresh are the same, but for
/// vacant slots.
#[derive(Default)]
struct History {
    space: Option<u32>,
    expecting: Arc<[Axis]>,
    standings: Vec<Standing>,
    /// How many of the study's finished trials have been seen.
    finished: usize,
    ranking: BTreeSet<Rank>,
    /// Points of unfinished trials as they were: those of traced trials change.
    unfinished: BTreeMap<u32, Point>,
    good: Vec<u32>,
    /// The first trial of the window.
    start: u32,
    /// The trial in slot 0 of the bad model.
    first: u32,
    bad_model: Parzen,
}

impl Default for Parzen {
    fn default() -> Self {
        Self::new(Arc::default(), 1.0)
    }
}

impl History {
    fn advance(&mut self, study: &Study, tpe: &Tpe) {
        let other = self.standings.len() > study.trials().len() || self.finished > study.finished().len();
        if other || self.space != Some(study.space_version()) {
            *self = Self::new(study, tpe);
        }
        let touched = self.touched(study);
        let mut moved = Vec::new();
        for number in touched {
            if self.reconsider(study, number, tpe) {
                moved.push(number);
            }
        }
        self.finished = study.finished().len();
        let start = study.trials().len().saturating_sub(WINDOW) as u32;
        if !moved.is_empty() || start != self.start {
            self.sort_out(study, tpe, moved, start);
        }
    }

    fn new(study: &Study, tpe: &Tpe) -> Self {
        let axes = |expects| study.space().parameters().iter().map(move |p| Axis::new(p, expects)).collect();
        Self {
            space: Some(study.space_version()),
            expecting: axes(true),
            bad_model: Parzen::new(axes(false), tpe.prior_weight),
            ..Self::default()
        }
    }

    /// Trials whose standing may have changed: new ones, unfinished ones, and those that finished since.
    fn touched(&mut self, study: &Study) -> BTreeSet<u32> {
        let fresh = self.standings.len() as u32..study.trials().len() as u32;
        self.standings.resize(study.trials().len(), Standing::Silent);
        let mut touched: BTreeSet<u32> = fresh.chain(self.unfinished.keys().copied()).collect();
        touched.extend(&study.finished()[self.finished..]);
        touched
    }

    /// Updates one trial's standing; whether it, or the trial's point, changed.
    fn reconsider(&mut self, study: &Study, number: u32, tpe: &Tpe) -> bool {
        let trial = &study.trials()[number as usize];
        let standing = Standing::of(study, trial, tpe.constant_liar);
        let old = std::mem::replace(&mut self.standings[number as usize], standing);
        let same_point = self.unfinished.get(&number).is_none_or(|point| *point == trial.point);
        if trial.is_finished() {
            self.unfinished.remove(&number);
        } else if !same_point || !self.unfinished.contains_key(&number) {
            self.unfinished.insert(number, trial.point.clone());
        }
        if old == standing && same_point {
            return false;
        }
        if let Standing::Ranked(rank) = old {
            self.ranking.remove(&rank);
        }
        if let Standing::Ranked(rank) = standing {
            self.ranking.insert(rank);
        }
        if !same_point && self.in_model(number) {
            self.bad_model.update(&[number - self.first], &[]);
        }
        true
    }

    /// Chooses the good ones, and brings the model of the bad ones up to date.
    fn sort_out(&mut self, study: &Study, tpe: &Tpe, moved: Vec<u32>, start: u32) {
        let count = tpe.good_count(self.ranking.len());
        let mut good: Vec<u32> = self.ranking.iter().take(count).map(|rank| rank.number).collect();
        good.sort_unstable();
        let mut changed: BTreeSet<u32> = moved.into_iter().filter(|number| *number >= start).collect();
        if !self.bad_model.is_empty() {
            changed.extend(self.start..start);
        }
        changed.extend(&self.good);
        changed.extend(&good);
        self.good = good;
        self.start = start;
        let leave = changed.iter().filter(|number| self.in_model(**number) && !self.is_bad(**number));
        let leave: Vec<u32> = leave.map(|number| number - self.first).collect();
        let enter = changed.iter().filter(|number| !self.in_model(**number) && self.is_bad(**number));
        let enter: Vec<u32> = enter.copied().collect();
        if self.bad_model.is_empty() {
            self.first = start;
        }
        let points: Vec<(u32, &Point)> = enter
            .iter()
            .map(|number| (number - self.first, &study.trials()[*number as usize].point))
            .collect();
        self.bad_model.update(&leave, &points);
        // Seldom, so that moving the slots costs nothing in the mean.
        if (start - self.first) as usize >= WINDOW {
            self.bad_model.drop_front(start - self.first);
            self.first = start;
        }
    }

    fn in_model(&self, number: u32) -> bool {
        number >= self.first && self.bad_model.holds(number - self.first)
    }

    fn is_bad(&self, number: u32) -> bool {
        number >= self.start
            && self.standings[number as usize] != Standing::Silent
            && self.good.binary_search(&number).is_err()
    }

    fn good_model(&self, study: &Study, tpe: &Tpe) -> Parzen {
        let mut model = Parzen::new(self.expecting.clone(), tpe.prior_weight);
        let points = self.good.iter().map(|number| &study.trials()[*number as usize].point);
        let points: Vec<(u32, &Point)> = (0..).zip(points).collect();
        model.update(&[], &points);
        model
    }
}
