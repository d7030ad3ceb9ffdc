//! DEHB (Awad et al. 2021, arXiv:2105.09821): a population of differential evolution at each depth, whose mutants come from
//! the best of the depth below.
//!
//! It is the evolution's half; the other half is the scheduler `hyperband` in mode `fresh`, which begins trials at all rungs.
//! A trial's depth is the budget it begins with. Where all begin alike, there is one population.
//!
//! Section 3 of the paper: rand/1/bin with F = CR = 0.5, values that leave the range drawn anew. The t-th trial of a depth is a
//! rival of member t modulo the population, and takes its place if it is no worse. A population begins with draws at the lowest
//! depth, and at others with the best trials of the depth below as they are. Later parents are, at the lowest depth, members; at
//! others the best trials of the depth below, so many as the population has members.

use serde::{Deserialize, Serialize};

use super::depths::{At, at_step};
use super::differential_evolution::{Parents, Settings, child};
use super::variation::novel;
use super::{MOST_MEMBERS, Proposal, Request, Sampler, cautions, expectation, first_metric_only};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, check_count, configure};
use crate::rng::Rng;
use crate::space::Point;
use crate::spec::Spec;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "dehb",
    summary: "differential evolution at every depth, parents from the depth below; for hyperband in mode fresh",
    options: &[
        OptionDoc { name: "population", doc: "members of each depth, 4 to 100,000" },
        OptionDoc { name: "scale", doc: "factor of differences, above 0 and up to 2" },
        OptionDoc { name: "crossover_rate", doc: "probability that a parameter moves, 0 to 1" },
    ],
    build: |options| {
        let (dehb, complete) = configure::<Dehb>(options)?;
        dehb.check_options()?;
        Ok((Box::new(dehb) as _, complete))
    },
};

/// The sampler's options. The first objective decides.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dehb {
    /// Members of each depth.
    pub population: usize,
    /// Factor of differences.
    pub scale: f64,
    /// Probability that a parameter moves.
    pub crossover_rate: f64,
}

impl Default for Dehb {
    fn default() -> Self {
        Self { population: 12, scale: 0.5, crossover_rate: 0.5 }
    }
}

impl Sampler for Dehb {
    fn propose(&self, study: &Study, request: &Request, _: &mut Memo, rng: &mut Rng) -> Proposal {
        let space = study.space();
        let (own, below) = depths(study, request.budget);
        let slots = self.members(study, &own);
        let asked = own.len() % self.population;
        let point = |number: u32| -> &Point { &study.trials()[number as usize].point };
        let elders = below.map(|step| at_step(study, step)).unwrap_or_default();
        if own.len() < self.population && request.draw == 0 {
            let is_new = |at: &&At| own.iter().all(|other| point(*other) != point(at.trial));
            if let Some(best) = elders.iter().filter(|at| at.loss.is_finite()).find(is_new) {
                return Proposal::Point(point(best.trial).clone());
            }
        }
        let has_elders = elders.len() > 3;
        let pool: Vec<u32> = if has_elders {
            elders.iter().take(self.population).map(|at| at.trial).collect()
        } else {
            slots.iter().flatten().map(|at| at.trial).collect()
        };
        // At the lowest depth there is nobody to come from elsewhere: each place begins with a draw.
        let founder = pool.first().copied().filter(|_| has_elders);
        let Some(target) = slots[asked].map(|at| at.trial).or(founder) else {
            return Proposal::Point(expectation::drawn(study, rng));
        };
        let pool: Vec<u32> = pool.into_iter().filter(|number| *number != target).collect();
        if pool.len() < 3 {
            return Proposal::Point(expectation::drawn(study, rng));
        }
        let settings = Settings { scale: self.scale, crossover_rate: self.crossover_rate };
        // What has been tried at this depth, or is a parent, tells nothing new.
        let known: Vec<Vec<f64>> =
            own.iter().chain(&pool).chain([&target]).map(|number| space.to_unit(point(*number))).collect();
        Proposal::Point(novel(space, known.iter().map(Vec::as_slice), |attempt| {
            let [a, b, c] = three(pool.len(), rng).map(|k| point(pool[k]));
            let parents = Parents { target: point(target), base: a, best: None, one: b, other: c };
            child(space, &parents, settings, f64::from(attempt) / 16.0, rng)
        }))
    }

    fn caution(&self, spec: &Spec) -> Option<String> {
        let scheduler = &spec.policy.scheduler;
        let mode = scheduler.options.get("mode").and_then(serde_json::Value::as_str);
        let is_fresh = *scheduler.name == *"hyperband" && mode == Some("fresh");
        let depths = (!is_fresh).then(|| {
            "dehb is made for scheduler = { name = \"hyperband\", mode = \"fresh\" }, which begins trials at several budgets; this study has another".into()
        });
        cautions([first_metric_only("dehb", spec), depths])
    }
}

impl Dehb {
    /// Who holds each place of a population.
    fn members(&self, study: &Study, own: &[u32]) -> Vec<Option<At>> {
        let mut slots: Vec<Option<At>> = vec![None; self.population];
        let mut losses: Vec<At> = match own.first() {
            Some(first) => {
                at_step(study, depth_of(study, *first).min(study.spec().max_budget.unwrap_or(u64::MAX)))
            }
            None => Vec::new(),
        };
        losses.sort_by_key(|at| at.trial);
        for (k, number) in own.iter().enumerate() {
            let Ok(found) = losses.binary_search_by_key(number, |at| at.trial) else { continue };
            let slot = &mut slots[k % self.population];
            if slot.is_none_or(|holder| losses[found].loss <= holder.loss) {
                *slot = Some(losses[found]);
            }
        }
        slots
    }

    fn check_options(&self) -> Result<(), String> {
        check_count("population", self.population, 4..=MOST_MEMBERS)?;
        if !(self.scale > 0.0 && self.scale <= 2.0) {
            return Err(format!("scale is above 0 and up to 2, not {}", self.scale));
        }
        if !(0.0..=1.0).contains(&self.crossover_rate) {
            return Err(format!("crossover_rate is a share from 0 to 1, not {}", self.crossover_rate));
        }
        Ok(())
    }
}

/// The trials that began with this budget, and the next smaller budget that trials began with and have come to.
fn depths(study: &Study, budget: Option<u64>) -> (Vec<u32>, Option<u64>) {
    let depth = |number: u32| depth_of(study, number);
    let goal = budget.unwrap_or(u64::MAX);
    let all = || study.trials().iter().filter(|trial| !trial.outside).map(|trial| trial.number);
    let own = all().filter(|number| depth(*number) == goal).collect();
    let below = all().map(depth).filter(|other| *other < goal).max();
    (own, below)
}

/// The budget a trial has; without one it goes to its end.
fn depth_of(study: &Study, number: u32) -> u64 {
    let piece = study.trials()[number as usize].piece(0);
    piece.and_then(|piece| piece.budget).unwrap_or(u64::MAX)
}

/// Three different numbers below `n`, which is at least 3.
fn three(n: usize, rng: &mut Rng) -> [usize; 3] {
    let a = rng.below(n as u64) as usize;
    let mut b = rng.below(n as u64 - 1) as usize;
    b += usize::from(b >= a);
    let mut c = rng.below(n as u64 - 2) as usize;
    for taken in [a.min(b), a.max(b)] {
        c += usize::from(c >= taken);
    }
    [a, b, c]
}
