//! The default: a mix of samplers in which those that find good trials in *this* study get more of the next ones.
//!
//! Samplers of different kinds win on different problems, and nobody knows beforehand on which (Benjamins et al. 2025,
//! arXiv:2506.06143). So several *arms* share the study. All arms learn from all trials, whoever proposed them.
//!
//! 1. **Start-up**: the user's defaults, then scrambled Sobol points, of which every other pair keeps to the inner part of the ranges.
//! 2. **Shares**: each arm has a share of the trials. It begins with a weight that follows from what is known of the
//!    problem (see [`Situation`]) and then follows the arm's *credit*. The next trial goes to the arm that is furthest
//!    behind its share. Gaussian processes get ever less from 500 trials on, and nothing from 20,000 on.
//! 3. **Credit**: a trial that is better than all but `r` of the `n` results there were when it finished earns
//!    `exp(−r / τ)` with `τ` = n / 20 between 1 and 50; a failed, stopped or infeasible one earns nothing, but as long as
//!    none keeps the constraints, those that break them least earn the same way. One that pauses earns by its place among
//!    those that had come as far, at its first pause, and nothing later. Earnings fade, so that an arm that was good early
//!    may lose its share later. With several objectives, a trial that no earlier one dominates earns 1.
//! 4. **Effort**: arms whose reckoned computing time per trial is more than `overhead` of what a trial takes do not take
//!    part. Trials are chosen one after another, so where many run at once, it is also at most what keeps choosing busy half
//!    the time. Times come from a model of each arm's cost (in `Started`), and from the durations in the log: no clock is
//!    read. Trials that take under 0.1 s, or whose time is unknown, count as 0.3 s, and as half as much more for each
//!    further thing that is modelled (objectives, constraints, failures), so that a short study is still a thorough one.
//! 5. **Level ground**: a proposal that more likely than not gives exactly what the trial nearest to it gave is moved to
//!    where that is unlikely, no farther than it needs to be. If no such place is found, another arm is asked, and if all
//!    propose such points, the least likely one is taken. How likely it is follows from how far trials of this study were
//!    from their nearest, and whether they repeated its loss.
//!
//! What it knows of a study is a fold of the log, so `luthier verify` derives every choice of an arm again.

mod ground;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::ground::Ground;
use super::gp;
use super::modelled::free_parameters;
use super::sequence::{BEGINNING, Place};
use super::{Proposal, Request, SAMPLERS, Sampler};
use crate::event::{Choice, Origin, Outcome};
use crate::figures::figure;
use crate::memo::Memo;
use crate::observation::{Era, Observation};
use crate::pareto::dominates;
use crate::registry::{self, Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::spec::{Component, Spec};
use crate::study::{Stop, Study};

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "auto",
    summary: "mixes samplers by what they earn in this study, within a share of its time; nothing to choose",
    options: &[
        OptionDoc {
            name: "arms",
            doc: "the samplers to mix, a table of names and weights (1 for the usual one); some take part in some studies only",
        },
        OptionDoc {
            name: "n_startup",
            doc: "trials spread evenly before any model is asked; none: by the number of parameters",
        },
        OptionDoc {
            name: "overhead",
            doc: "share of a trial's time that choosing the next one may take, above 0",
        },
    ],
    build: |options| {
        let (config, complete) = configure::<AutoOptions>(options)?;
        Ok((Box::new(Auto::new(config)?) as _, complete))
    },
};

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoOptions {
    /// The samplers to mix, each with a factor on its usual weight.
    pub arms: BTreeMap<String, f64>,
    /// Trials before any model is asked; none: by the number of parameters.
    pub n_startup: Option<usize>,
    /// Share of a trial's time that choosing may take.
    pub overhead: f64,
}

impl Default for AutoOptions {
    fn default() -> Self {
        let arms = KINDS.iter().map(|kind| (kind.name.to_owned(), 1.0)).collect();
        Self { arms, n_startup: None, overhead: 0.1 }
    }
}

/// What is known of a problem before and while it is searched; weights and costs of arms follow from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Situation {
    /// Parameters that have more than one value.
    pub parameters: usize,
    /// Objectives.
    pub objectives: usize,
    /// What a surrogate has a model of: objectives, constraints, and where trials fail, once one has.
    pub models: usize,
    /// Trials that have come to a stop.
    pub seen: usize,
    /// Trials that run or wait.
    pub open: usize,
    /// Seconds that choosing a trial may take.
    pub allowed: f64,
    /// Whether trials pause, so that most are judged by their first steps.
    pub pauses: bool,
}

/// A kind of arm: a registered sampler with its options, its weight and its cost by the situation.
struct Kind {
    name: &'static str,
    sampler: &'static str,
    options: fn(Component) -> Component,
    /// Its share relative to the others before anything is earned; 0 for taking no part.
    weight: fn(&Situation) -> f64,
    /// Seconds of computing per trial, averaged over refits, on one core of a busy server.
    cost: fn(&Situation) -> f64,
    /// After so many trials it takes no part any more, and what it remembers is let go.
    until: usize,
    /// A word on what it does.
    words: &'static str,
}

/// Weights were chosen on the development half of `benchmarks/suite`.
const KINDS: &[Kind] = &[
    Kind {
        name: "gp",
        sampler: "gp",
        options: |c| c.with("acquisition", "ensemble").with("warp", false),
        weight: |s| 3.0 * fewer(s, FADED),
        cost: |s| (1e-2 + 8e-5 * rows(s)) * breadth(s),
        until: MODELLED,
        words: "a model of the whole space",
    },
    Kind {
        name: "gp_sharp",
        sampler: "gp",
        options: |c| c.with("acquisition", "log_ei").with("warp", true),
        weight: |s| if s.objectives > 1 { 0.0 } else { 3.0 * fewer(s, FADED) },
        cost: |s| (6.5e-3 + 6.5e-5 * rows(s)) * breadth(s),
        until: MODELLED,
        words: "a model with bent axes, asked for the best guess",
    },
    Kind {
        name: "gp_quick",
        sampler: "gp",
        options: |c| c.with("acquisition", "log_ei").with("warp", false),
        weight: |s| if (KINDS[0].cost)(s) > s.allowed { 5.0 * fewer(s, FADED) } else { 0.0 },
        cost: |s| (3e-3 + 4e-5 * rows(s)) * breadth(s),
        until: MODELLED,
        words: "a plainer model of the whole space",
    },
    Kind {
        name: "cma_es",
        sampler: "cma_es",
        options: |c| c,
        weight: |s| if s.objectives > 1 { 0.0 } else { 1.0 },
        cost: |s| 1e-4 * width(s),
        until: usize::MAX,
        words: "a cloud that follows the best",
    },
    Kind {
        name: "tpe",
        sampler: "tpe",
        options: |c| c,
        weight: |s| if s.objectives > 1 { 1.0 } else { 0.5 },
        cost: |s| (2e-4 + 2e-7 * s.seen.min(10_000) as f64) * width(s),
        until: usize::MAX,
        words: "what good trials have in common",
    },
    Kind {
        name: "nsga2",
        sampler: "nsga2",
        options: |c| c,
        weight: |s| if s.objectives > 1 { 1.0 } else { 0.0 },
        cost: |_| 1e-4,
        until: usize::MAX,
        words: "offspring of the front",
    },
    Kind {
        name: "random",
        sampler: "random",
        options: |c| c,
        // First steps may mislead: a third at first, as in BOHB (Falkner et al. 2018, section 3.3).
        weight: |s| if s.pauses { 4.0 } else { 0.05 },
        cost: |_| 1e-5,
        until: usize::MAX,
        words: "a look elsewhere",
    },
];

/// 1 up to so many trials, then falling as one over their number.
fn fewer(situation: &Situation, trials: usize) -> f64 {
    (trials as f64 / situation.seen.max(1) as f64).min(1.0)
}

/// Trials from which on the share of Gaussian processes falls.
const FADED: usize = 500;

/// Trials after which Gaussian processes, with a small share by then, are not worth the memory of every trial's row.
const MODELLED: usize = 20_000;

/// Costs were measured with ten parameters.
fn width(situation: &Situation) -> f64 {
    (situation.parameters as f64 / 10.0).max(0.5)
}

/// Costs of Gaussian processes were measured with one model, too.
fn breadth(situation: &Situation) -> f64 {
    effort_of(situation.models) * width(situation)
}

/// What several models cost beside one; points are searched for once.
fn effort_of(models: usize) -> f64 {
    0.5 + 0.5 * models.max(1) as f64
}

/// Rows that a Gaussian process has.
fn rows(situation: &Situation) -> f64 {
    (situation.seen.min(gp::Gp::default().max_trials) + situation.open.min(gp::PENDING)) as f64
}

/// The share of the time, of all workers together, that choosing may be busy: more, and workers would wait for each other's proposals.
const BUSY: f64 = 0.5;
/// Trials that take less, or an unknown time, count as longer.
const QUICK: f64 = 0.1;
/// What such trials count as with one model, in seconds.
const QUICK_AS: f64 = 0.3;
/// Earnings keep this share with each further trial of the arm.
const FADING: f64 = 0.93;
/// The weight of an arm's first expectation, in trials.
const EXPECTED_FOR: f64 = 4.0;
/// The chance to repeat a result above which a proposal is moved or left out.
const LEVEL: f64 = 0.5;
/// What an arm is expected to earn at first.
const EXPECTED: f64 = 0.15;
/// No arm that takes part has less than this share of its starting share.
const LEAST: f64 = 0.15;

/// Results beyond this rank earn nothing that counts.
const RANKED: usize = 600;

/// The mixing sampler.
struct Auto {
    options: AutoOptions,
    arms: Vec<Arm>,
}

struct Arm {
    kind: &'static Kind,
    weight: f64,
    sampler: Box<dyn Sampler>,
}

impl Auto {
    fn new(options: AutoOptions) -> Result<Self, String> {
        if !(options.overhead > 0.0 && options.overhead.is_finite()) {
            return Err(format!("overhead is a share above 0, not {}", options.overhead));
        }
        if options.arms.is_empty() {
            return Err(format!("arms must name at least one sampler; there are {}", known()));
        }
        if let Some(name) = options.arms.keys().find(|name| KINDS.iter().all(|kind| kind.name != **name)) {
            return Err(format!("there is no arm {name:?}; there are {}", known()));
        }
        let mut arms = Vec::with_capacity(options.arms.len());
        for kind in KINDS {
            let Some(&weight) = options.arms.get(kind.name) else { continue };
            if !(weight > 0.0 && weight.is_finite()) {
                return Err(format!("the weight of arm {:?} must be above 0, not {weight}", kind.name));
            }
            let component = (kind.options)(Component::named(kind.sampler));
            let (sampler, _) = registry::build("sampler", SAMPLERS, &component).map_err(|e| e.to_string())?;
            arms.push(Arm { kind, weight, sampler });
        }
        Ok(Self { options, arms })
    }

    /// Trials spread evenly before any model is asked.
    fn startup(&self, situation: &Situation) -> usize {
        let by_size = (situation.parameters + 1).clamp(5, 10);
        self.options.n_startup.unwrap_or(by_size)
    }

    /// The arms that may choose the next trial with their shares, which sum to 1.
    fn shares(&self, situation: &Situation, past: &Past) -> Vec<f64> {
        let weights: Vec<f64> = self
            .arms
            .iter()
            .map(|arm| {
                let is_in = !arm.is_dear(situation) && situation.seen < arm.kind.until;
                if is_in { arm.weight * (arm.kind.weight)(situation) } else { 0.0 }
            })
            .collect();
        let total: f64 = weights.iter().sum();
        if total <= 0.0 {
            return self.cheapest(situation);
        }
        let earning: Vec<f64> = self.arms.iter().map(|arm| past.earning(arm.kind.name)).collect();
        let mean: f64 = weights.iter().zip(&earning).map(|(w, e)| w * e).sum::<f64>() / total;
        let raised = |(w, e): (&f64, &f64)| w / total * (e / mean).max(LEAST);
        let raised: Vec<f64> = weights.iter().zip(&earning).map(raised).collect();
        let sum: f64 = raised.iter().sum();
        raised.into_iter().map(|share| share / sum).collect()
    }

    /// All to the cheapest arm, where none is cheap enough.
    fn cheapest(&self, situation: &Situation) -> Vec<f64> {
        let cost = |k: usize| (self.arms[k].kind.cost)(situation);
        let cheapest = (1..self.arms.len()).fold(0, |best, k| if cost(k) < cost(best) { k } else { best });
        (0..self.arms.len()).map(|k| f64::from(u8::from(k == cheapest))).collect()
    }

    fn choose(&self, shares: &[f64], past: &Past, request: &Request, rng: &mut Rng) -> usize {
        if request.draw > 0 {
            // The first choice repeated a trial or broke a constraint: anyone may try.
            let at = rng.uniform() * shares.iter().sum::<f64>();
            let mut sum = 0.0;
            let found = shares.iter().position(|share| {
                sum += share;
                at < sum
            });
            // Rounding may leave `at` at the very end.
            return found.or_else(|| shares.iter().rposition(|share| *share > 0.0)).unwrap_or(0);
        }
        let behind = |k: usize| shares[k] * (past.given + 1.0) - past.given_to(self.arms[k].kind.name);
        let among = (0..shares.len()).filter(|&k| shares[k] > 0.0);
        among
            .fold(None, |best, k| match best {
                Some(best) if behind(best) >= behind(k) => Some(best),
                _ => Some(k),
            })
            .unwrap_or(0)
    }
}

impl Arm {
    fn is_dear(&self, situation: &Situation) -> bool {
        (self.kind.cost)(situation) > situation.allowed
    }
}

fn known() -> String {
    KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

impl Sampler for Auto {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let kept: &mut Kept = memo.get();
        kept.advance(study, self);
        let situation = Situation::of(study, self.options.overhead);
        if study.trials().len() < self.startup(&situation) || kept.past.is_empty() {
            return Proposal::Point(kept.cover.propose(BEGINNING, study, request, rng));
        }
        let mut shares = self.shares(&situation, &kept.past);
        kept.let_go(self, &situation, &shares);
        let mut least: Option<(f64, Proposal)> = None;
        while shares.iter().any(|share| *share > 0.0) {
            let chosen = self.choose(&shares, &kept.past, request, rng);
            let arm = &self.arms[chosen];
            let proposal = arm.sampler.propose(study, request, &mut kept.arms[chosen], rng);
            let Proposal::Point(point) = proposal else { return proposal };
            shares[chosen] = 0.0;
            let chance = kept.past.ground.repeats(study.space(), &point);
            let choice = Choice { arm: arm.kind.name.into(), effort: (arm.kind.cost)(&situation) };
            if chance <= LEVEL {
                return Proposal::Chosen(point, choice);
            }
            if let Some(moved) = kept.past.ground.leave(study.space(), &point, rng) {
                return Proposal::Chosen(moved, choice);
            }
            let proposal = Proposal::Chosen(point, choice);
            if least.as_ref().is_none_or(|(other, _)| chance < *other) {
                least = Some((chance, proposal));
            }
        }
        least.expect("shares sum to 1, so some arm was asked").1
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        self.arms.iter().try_for_each(|arm| arm.sampler.check(spec))
    }

    fn explain(&self, study: &Study, memo: &mut Memo) -> Option<String> {
        let kept: &mut Kept = memo.get();
        kept.advance(study, self);
        let situation = Situation::of(study, self.options.overhead);
        let startup = self.startup(&situation);
        if study.trials().len() < startup || kept.past.is_empty() {
            return Some(format!("covering the space evenly for the first {startup} trials"));
        }
        let shares = self.shares(&situation, &kept.past);
        let mut order: Vec<usize> = (0..shares.len()).filter(|&k| shares[k] > 0.0).collect();
        order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]).then(a.cmp(&b)));
        let words = |k: &usize| {
            let kind = self.arms[*k].kind;
            format!("{} {:.0} % ({})", kind.name, 100.0 * shares[*k], kind.words)
        };
        let told: Vec<String> = order.iter().take(3).map(words).collect();
        let is_out = |(arm, share): &(&Arm, &f64)| {
            **share == 0.0 && (arm.kind.weight)(&situation) > 0.0 && arm.is_dear(&situation)
        };
        let out: Vec<&str> =
            self.arms.iter().zip(&shares).filter(is_out).map(|(arm, _)| arm.kind.name).collect();
        let mut told = format!("{}: {}", kept.past.basis(), told.join(", "));
        if situation.seen > FADED && order.iter().any(|&k| self.arms[k].kind.until == MODELLED) {
            told += "; models give way as trials add up";
        }
        if !out.is_empty() {
            let than = match study.running().len() {
                running if share_allowed(study, self.options.overhead) < self.options.overhead => {
                    format!(" for {running} trials at once")
                }
                _ => format!(", above {} % of a trial's time", figure(100.0 * self.options.overhead)),
            };
            told += &format!("; too slow{than}: {}", out.join(", "));
        }
        Some(told)
    }
}

impl Situation {
    /// The situation of a study where choosing a trial may take `overhead` of a trial's time.
    pub fn of(study: &Study, overhead: f64) -> Self {
        let metrics = study.metrics();
        let has_failed = usize::from(study.tally().failed > 0);
        let models = metrics.objectives.len() + metrics.constraints.len() + has_failed;
        let seconds = study.tally().seconds / study.stopped().max(1) as f64;
        let seconds = if seconds < QUICK { QUICK_AS * effort_of(models) } else { seconds };
        Self {
            parameters: free_parameters(study.space()),
            objectives: metrics.objectives.len(),
            models,
            seen: study.stopped(),
            open: study.trials().len() - study.stopped(),
            allowed: share_allowed(study, overhead) * seconds,
            pauses: study.stops().len() > study.finished().len(),
        }
    }
}

/// The share of a trial's time that choosing one may take: `overhead`, or less where so many run that they would wait for it.
fn share_allowed(study: &Study, overhead: f64) -> f64 {
    overhead.min(BUSY / study.running().len() as f64)
}

/// The memo: the past of the mix, and the arms' own memos.
#[derive(Default)]
struct Kept {
    past: Past,
    arms: Vec<Memo>,
    cover: Place,
}

impl Kept {
    fn advance(&mut self, study: &Study, auto: &Auto) {
        self.arms.resize_with(auto.arms.len(), Memo::default);
        self.past.advance(study);
    }

    /// Forgets what arms know that take no part any more.
    fn let_go(&mut self, auto: &Auto, situation: &Situation, shares: &[f64]) {
        for (k, arm) in auto.arms.iter().enumerate() {
            if situation.seen >= arm.kind.until && shares[k] == 0.0 {
                self.arms[k] = Memo::default();
            }
        }
    }
}

/// What the arms were given and have earned: a fold of the study.
#[derive(Default)]
struct Past {
    era: Era,
    started: usize,
    stops: usize,
    /// Losses of trials that keep the constraints, by the step at which they stopped; completed ones have come furthest.
    results: BTreeMap<u64, Results>,
    /// By how much trials that stopped broke the constraints.
    violations: Results,
    /// Where trials completed, with one objective.
    ground: Ground,
    /// Losses of the latest trials on the front, with several objectives.
    front: Vec<Vec<f64>>,
    given: f64,
    accounts: Vec<Account>,
}

/// The best losses (or violations) there have been at some step, ascending, and how many there were.
#[derive(Default)]
struct Results {
    best: Vec<f64>,
    count: f64,
}

impl Results {
    /// Enters one, and returns what it earns.
    fn enter(&mut self, loss: f64) -> f64 {
        let better = self.best.partition_point(|other| *other <= loss);
        self.count += 1.0;
        if better >= RANKED {
            return 0.0;
        }
        self.best.insert(better, loss);
        self.best.truncate(RANKED);
        (-(better as f64) / (self.count / 20.0).clamp(1.0, 50.0)).exp()
    }
}

struct Account {
    arm: Arc<str>,
    /// Faded counts: trials started, trials stopped, and what those earned.
    given: f64,
    stopped: f64,
    earned: f64,
}

impl Past {
    fn advance(&mut self, study: &Study) {
        let (started, stops) = (study.trials().len(), study.stops().len());
        let era = Era::of(study);
        if self.era != era || self.started > started || self.stops > stops {
            *self = Self { era, ..Self::default() };
        }
        for trial in &study.trials()[self.started..] {
            if let (Origin::Sampler, Some(choice)) = (trial.origin, &trial.by) {
                self.given = self.given * FADING + 1.0;
                for account in &mut self.accounts {
                    account.given *= FADING;
                }
                self.account(&choice.arm).given += 1.0;
            }
        }
        self.started = started;
        for stop in &study.stops()[self.stops..] {
            let reward = self.rank(study, stop);
            let choice = study.trials()[stop.trial as usize].by.as_ref();
            if let Some(choice) = choice.filter(|_| stop.is_first) {
                let account = self.account(&choice.arm);
                account.stopped = account.stopped * FADING + 1.0;
                account.earned = account.earned * FADING + reward;
            }
        }
        self.stops = stops;
    }

    /// Enters a trial that has stopped among the results, and returns what it earns.
    fn rank(&mut self, study: &Study, stop: &Stop) -> f64 {
        let trial = &study.trials()[stop.trial as usize];
        let is_over = stop.paused_at.is_none();
        if is_over && !matches!(trial.outcome(), Some(Outcome::Completed { .. })) {
            return 0.0;
        }
        let Some(row) = Observation::at(study, stop) else { return 0.0 };
        if row.violation > 0.0 {
            let earned = self.violations.enter(row.violation);
            return if self.has_kept_all() { 0.0 } else { earned };
        }
        if !row.is_feasible() {
            return 0.0;
        }
        if row.losses.len() > 1 {
            return if is_over { self.reach(&row.losses) } else { 0.0 };
        }
        if is_over {
            self.ground.enter(row.unit, row.losses[0]);
        }
        self.results.entry(stop.paused_at.unwrap_or(u64::MAX)).or_default().enter(row.losses[0])
    }

    /// The same with several objectives: 1 for a place on the front of what there was, else nothing.
    fn reach(&mut self, losses: &[f64]) -> f64 {
        if self.front.iter().any(|other| other == losses || dominates(other, losses)) {
            return 0.0;
        }
        self.front.retain(|other| !dominates(losses, other));
        self.front.push(losses.to_vec());
        if self.front.len() > RANKED {
            self.front.remove(0);
        }
        1.0
    }

    fn account(&mut self, arm: &Arc<str>) -> &mut Account {
        let known = self.accounts.iter().position(|account| account.arm == *arm);
        let at = known.unwrap_or_else(|| {
            self.accounts.push(Account { arm: arm.clone(), given: 0.0, stopped: 0.0, earned: 0.0 });
            self.accounts.len() - 1
        });
        &mut self.accounts[at]
    }

    /// What shares go by, in words.
    fn basis(&self) -> &'static str {
        let has_earned = self.accounts.iter().any(|account| account.earned > 0.0);
        match (has_earned, self.has_kept_all()) {
            (false, _) => "shares to begin with, before any has earned",
            (true, false) => "shares by what came nearest to keeping the constraints",
            (true, true) => "shares by what earned most",
        }
    }

    /// Whether nothing has been learned yet.
    fn is_empty(&self) -> bool {
        !self.has_kept_all() && self.violations.count == 0.0
    }

    /// Whether some trial has kept all constraints.
    fn has_kept_all(&self) -> bool {
        !self.results.is_empty() || !self.front.is_empty()
    }

    fn find(&self, arm: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| &*account.arm == arm)
    }

    fn given_to(&self, arm: &str) -> f64 {
        self.find(arm).map_or(0.0, |account| account.given)
    }

    /// What a trial of this arm is expected to earn.
    fn earning(&self, arm: &str) -> f64 {
        let (earned, stopped) =
            self.find(arm).map_or((0.0, 0.0), |account| (account.earned, account.stopped));
        (EXPECTED * EXPECTED_FOR + earned) / (EXPECTED_FOR + stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    #[test]
    fn an_arm_that_takes_no_part_is_never_asked_again() {
        let auto = Auto::new(AutoOptions::default()).unwrap();
        let request = Request { trial: 7, draw: 1, budget: None };
        for (in_part, share) in [(1, 0.01), (3, 0.4), (auto.arms.len() - 1, 1e-9)] {
            let mut shares = vec![0.0; auto.arms.len()];
            shares[in_part] = share;
            for seed in 0..50 {
                let mut rng = Rng::stream(seed, 0, Purpose::Sampler, 0);
                assert_eq!(auto.choose(&shares, &Past::default(), &request, &mut rng), in_part);
            }
        }
    }
}
