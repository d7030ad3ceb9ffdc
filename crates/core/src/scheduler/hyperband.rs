//! Hyperband (Li et al. 2018, JMLR 18(185)): successive halving with several first rungs, since nobody knows beforehand
//! how early curves can be compared.
//!
//! It names the brackets; what happens inside one is the business of [`super::asha`] and [`super::successive_halving`].

use serde::{Deserialize, Serialize};

use super::asha::{Asha, Mode};
use super::brackets::Brackets;
use super::rungs::{self, at_the_end, check_options, follower};
use super::successive_halving::SuccessiveHalving;
use super::{Allowance, Assignment, Scheduler, Verdict};
use crate::event::Work;
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::spec::Spec;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "hyperband",
    summary: "successive halving in brackets that begin to compare at different steps",
    options: &[
        OptionDoc {
            name: "mode",
            doc: "\"stop\": a trial not among the best of its bracket ends at the rung (default); \
                  \"promote\": all pause there, and the best are resumed, nobody waits; \
                  \"wait\": brackets one after the other, and the best are resumed when all have come; \
                  \"fresh\": new trials begin at all rungs, for the sampler dehb",
        },
        OptionDoc {
            name: "eta",
            doc: "one in eta goes on, and each rung is eta times further; from 2, default 3",
        },
        OptionDoc {
            name: "min_budget",
            doc: "the smallest rung of the first bracket, in steps; from 1, default 1",
        },
        OptionDoc {
            name: "brackets",
            doc: "how many brackets at most, those that compare earliest first; from 1, \
                  by default all for which max_budget has room",
        },
    ],
    build: |options| {
        let (hyperband, complete) = configure::<Hyperband>(options)?;
        check_options(hyperband.eta, hyperband.min_budget)?;
        if hyperband.brackets == Some(0) {
            return Err("brackets = 0, but trials are compared in at least 1".into());
        }
        Ok((hyperband.scheduler(), complete))
    },
};

/// Bracket *b* of n leaves out the *b* lowest rungs, the last compares at none below `max_budget`/η. Shares of trials are
/// such that each bracket gets about as much budget as the others: ⌈n·ηˢ / (s + 1)⌉ with s = n − 1 − b.
///
/// In modes `stop` and `promote` all brackets run side by side, each trial's bracket following from its number alone (Optuna
/// takes a hash of the study's name). In mode `wait` they follow one another as in the paper. In mode `fresh` (Awad et al. 2021,
/// DEHB) they do too, but nobody is promoted: so many trials as would go on to a rung begin there instead, and each ends where it
/// was sent.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Hyperband {
    mode: Synchrony,
    eta: u64,
    min_budget: u64,
    brackets: Option<u32>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Synchrony {
    Stop,
    Promote,
    Wait,
    Fresh,
}

impl Default for Hyperband {
    fn default() -> Self {
        Self { mode: Synchrony::Stop, eta: 3, min_budget: 1, brackets: None }
    }
}

impl Hyperband {
    fn scheduler(&self) -> Box<dyn Scheduler> {
        let (eta, min_budget, brackets) = (self.eta, self.min_budget, self.brackets.unwrap_or(u32::MAX));
        let side_by_side = |mode| Asha { mode, eta, min_budget, min_early_stopping: 0, brackets };
        match self.mode {
            Synchrony::Stop => Box::new(side_by_side(Mode::Stop)),
            Synchrony::Promote => Box::new(side_by_side(Mode::Promote)),
            Synchrony::Fresh => Box::new(Fresh { eta, min_budget, brackets }),
            Synchrony::Wait => {
                Box::new(SuccessiveHalving { eta, min_budget, bracket_trials: None, rounds_of: brackets })
            }
        }
    }
}

/// Trials that begin at the rungs to which others would be promoted.
struct Fresh {
    eta: u64,
    min_budget: u64,
    brackets: u32,
}

impl Scheduler for Fresh {
    fn assign(&self, study: &Study, allowance: Allowance, memo: &mut Memo, _: &mut Rng) -> Assignment {
        if let Some(assignment) = follower(study) {
            return assignment;
        }
        if allowance.may_start {
            return Assignment::Start { budget: self.budget(study) };
        }
        let max = study.spec().max_budget.unwrap_or(u64::MAX);
        at_the_end(study, &rungs::rungs(self.min_budget, self.eta, max), memo.get())
    }

    fn judge(&self, _: &Study, _: Work, _: &mut Memo, _: &mut Rng) -> Verdict {
        Verdict::go_on()
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        rungs::check(spec, self.min_budget)
    }
}

impl Fresh {
    /// The budget of the next trial, by its number alone.
    fn budget(&self, study: &Study) -> Option<u64> {
        let max = study.spec().max_budget.unwrap_or(u64::MAX);
        let rungs = rungs::rungs(self.min_budget, self.eta, max);
        let brackets = Brackets::new(self.min_budget, self.eta, max, self.brackets);
        // A bracket of the tournament has so many trials at its first rung, and 1/eta as many at each further one.
        let sizes: Vec<Vec<u64>> = (0..brackets.count())
            .map(|start| {
                let first = brackets.trials(start);
                let sizes = std::iter::successors(Some(first), |size| Some((size / self.eta).max(1)));
                sizes.take(rungs.len() + 1 - start).collect()
            })
            .collect();
        let round: u64 = sizes.iter().flatten().fold(0, |sum, size| sum.saturating_add(*size));
        let mut place = (study.trials().len() as u64 - u64::from(study.scheduler_from())) % round;
        for (start, sizes) in sizes.iter().enumerate() {
            for (k, size) in sizes.iter().enumerate() {
                if place < *size {
                    return rungs.get(start + k).copied();
                }
                place -= size;
            }
        }
        None
    }
}
