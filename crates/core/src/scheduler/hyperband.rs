//! Hyperband (Li et al. 2018, JMLR 18(185)): successive halving with several first rungs, since nobody knows beforehand
//! how early curves can be compared.
//!
//! It names the brackets; what happens inside one is the business of [`super::asha`] and [`super::successive_halving`].

use serde::{Deserialize, Serialize};

use super::Scheduler;
use super::asha::{Asha, Mode};
use super::rungs::check_options;
use super::successive_halving::SuccessiveHalving;
use crate::registry::{Entry, OptionDoc, configure};

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "hyperband",
    summary: "successive halving in brackets that begin to compare at different steps",
    options: &[
        OptionDoc {
            name: "mode",
            doc: "\"stop\": a trial not among the best of its bracket ends at the rung (default); \
                  \"promote\": all pause there, and the best are resumed, nobody waits; \
                  \"wait\": brackets one after the other, and the best are resumed when all have come",
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
/// takes a hash of the study's name). In mode `wait` they follow one another as in the paper.
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
            Synchrony::Wait => {
                Box::new(SuccessiveHalving { eta, min_budget, bracket_trials: None, rounds_of: brackets })
            }
        }
    }
}
