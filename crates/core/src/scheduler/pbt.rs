//! Population based training (Jaderberg et al. 2017, arXiv 1711.09846): members train side by side; at each pause the worst
//! go on with the weights of the best and with params near theirs. The result is a schedule, not one set of params.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::population::{BURN_IN, CHANGE, Child, INTERVAL, Ledger, QUANTILE, Rules, SYNCHRONOUS};
use super::{Allowance, Assignment, Scheduler, Verdict};
use crate::event::Work;
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::spec::Spec;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "pbt",
    summary: "a population trains side by side; its worst take over weights of its best and vary their params",
    options: &[
        OptionDoc { name: "population", doc: "how many members train side by side; from 2, default 16" },
        INTERVAL,
        BURN_IN,
        QUANTILE,
        OptionDoc {
            name: "resample_probability",
            doc: "how likely a parameter is drawn anew instead of varied; 0 to 1, default 0.25",
        },
        OptionDoc {
            name: "factors",
            doc: "one of these, by lot, multiplies a parameter on its scale; default [0.8, 1.2]",
        },
        SYNCHRONOUS,
        OptionDoc {
            name: "frequencies",
            doc: "the population has one part for each, compared every so many intervals; more than one, such as \
                  [1, 4], against short-sightedness; default [1]",
        },
        CHANGE,
    ],
    build: |options| {
        let (pbt, complete) = configure::<Pbt>(options)?;
        pbt.rules().check_options()?;
        if pbt.factors.is_empty() || pbt.factors.iter().any(|factor| !(factor.is_finite() && *factor > 0.0)) {
            return Err("factors are positive numbers, such as [0.8, 1.2]".into());
        }
        if !(0.0..=1.0).contains(&pbt.resample_probability) {
            let given = pbt.resample_probability;
            return Err(format!(
                "resample_probability = {given} is no probability: give a number from 0 to 1"
            ));
        }
        Ok((Box::new(pbt), complete))
    },
};

/// Members are compared by the loss they had at the step of the one that is looked at, whoever has come further since;
/// a child begins with the latest checkpoint of its donor. The first objective decides. A study of more trials than
/// `population` trains one population after the other.
///
/// A member that fails is replaced by a child of one of the best of those that have come furthest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pbt {
    population: u32,
    interval: Option<u64>,
    burn_in: u64,
    quantile: f64,
    resample_probability: f64,
    factors: Vec<f64>,
    synchronous: bool,
    frequencies: Vec<u64>,
    change: Option<Vec<Arc<str>>>,
}

impl Default for Pbt {
    fn default() -> Self {
        Self {
            population: 16,
            interval: None,
            burn_in: 0,
            quantile: 0.25,
            resample_probability: 0.25,
            factors: vec![0.8, 1.2],
            synchronous: false,
            frequencies: vec![1],
            change: None,
        }
    }
}

impl Pbt {
    fn rules(&self) -> Rules<'_> {
        Rules {
            size: self.population,
            interval: self.interval,
            burn_in: self.burn_in,
            quantile: self.quantile,
            synchronous: self.synchronous,
            frequencies: &self.frequencies,
            change: self.change.as_deref(),
        }
    }

    /// Params near those of a donor.
    fn explored(&self, space: &Space, donor: &Point, rng: &mut Rng) -> Point {
        self.rules().changed(space, donor, donor, rng, |k, value, rng| {
            if rng.uniform() < self.resample_probability {
                return space.draw_one(k, rng.uniform());
            }
            let distribution = &space.parameters()[k].distribution;
            if distribution.is_categorical() {
                return other_choice(value, distribution.cells().unwrap_or(1), rng);
            }
            distribution.moved(value, self.factors[rng.below(self.factors.len() as u64) as usize])
        })
    }
}

/// A choice stays as often as it changes: all others are its neighbours.
fn other_choice(value: f64, choices: u64, rng: &mut Rng) -> f64 {
    if choices < 2 || rng.uniform() < 0.5 {
        return value;
    }
    let other = rng.below(choices - 1) as f64;
    if other >= value { other + 1.0 } else { other }
}

impl Scheduler for Pbt {
    fn assign(&self, study: &Study, allowance: Allowance, memo: &mut Memo, rng: &mut Rng) -> Assignment {
        let params = |child: &Child, rng: &mut Rng| {
            self.explored(study.space(), &study.trials()[child.donor as usize].point, rng)
        };
        self.rules().assign(study, allowance, memo.get::<Ledger>(), rng, params)
    }

    fn judge(&self, _: &Study, _: Work, _: &mut Memo, _: &mut Rng) -> Verdict {
        Verdict::go_on()
    }

    fn branches(&self) -> bool {
        true
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        self.rules().check(spec)
    }
}
