//! CMA-ES: a normal distribution that learns where good trials are and how parameters work together (Hansen 2016,
//! arXiv:1604.00772), for spaces of any kind.
//!
//! * **Numbers** are searched in the unit interval, on their own scales. A draw outside is repeated, at most
//!   100 times, and then moved to the nearest end.
//! * **Integers, steps and levels** are cells of the unit interval. The distribution always keeps a margin of
//!   probability outside the mean's cell, so that it never freezes on one (`CatCMA` with margin: Hamano et al. 2025,
//!   arXiv:2504.07884, which adds centring on cells to CMA-ES with margin, Hamano et al. 2022, arXiv:2205.13482, and takes the margin
//!   1 − 0.73^(1/n) for n discrete parameters where that takes 1 / (d λ)).
//! * **Choices**, and parameters with two values, have probabilities of their own, which learn beside the normal
//!   distribution and never fall to 0 (`CatCMA`: Hamano et al. 2024, arXiv:2405.09962).
//! * **Conditional parameters** are always drawn. A trial in which one was inactive moves neither its mean nor its
//!   probabilities; step size and shape count what was drawn for it, which is neutral on average.
//! * **Constraints of the space** are kept by drawing again.
//! * **Priors and defaults** give the first mean; a prior's spread the first deviation, its weights the first
//!   probabilities. Restarts begin anywhere.
//!
//! # Which trials it learns from
//!
//! A generation is as many trials of this search as are ranked together, in the order in which they finished. A trial is
//! known to be the search's because its stream is known: what was drawn for it is drawn again, from the present and up to 32
//! earlier distributions, and compared. So any number of workers may ask at any time, and nothing about a generation has
//! to be stored. A trial that was drawn from an earlier distribution has a bounded step (Hansen 2011, arXiv:1110.4181).
//!
//! Trials of others (queued ones, other samplers' in a mix) are *injected* in the same way when they are better than the
//! median of the generation, at most half as many as it has. After a restart they no longer are: it is to look elsewhere.
//!
//! Trials are ranked in this order: completed ones by loss; those that stopped on the way, by how far they came and then
//! by where their curve stood; those that break a constraint of the metrics, by how much; failed ones. It looks
//! at the first objective only.
//!
//! # Warm start
//!
//! As long as it has learnt nothing, the trials of others say where to begin, once there are ten: mean and shape of the
//! best tenth of them (WS-CMA-ES: Nomura et al. 2021, arXiv:2012.06932; γ = 0.1, α = 0.1). They are looked at again
//! whenever there are a tenth more.
//!
//! # Restarts
//!
//! When a search has converged or stagnates, another begins at a random place with a larger population (IPOP: Auger and
//! Hansen 2005), or, as `bipop` does, now with a larger one and now with a smaller one and a smaller step (Hansen 2009).
//! So it never ends.

mod choices;
mod constants;
mod covariance;
mod history;
mod progress;
mod rates;
mod strategy;

use serde::{Deserialize, Serialize};

pub use choices::Choices;
pub use constants::{Constants, population};
pub use covariance::Covariance;
pub use history::warm_start;
pub use rates::Rates;
pub use strategy::{Axis, Member, Sample, Start, Strategy};

use history::History;

use super::{MOST_MEMBERS, Proposal, Request, Sampler, first_metric_only};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, check_count, configure};
use crate::rng::{Purpose, Rng};
use crate::spec::Spec;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: NAME,
    summary: "an evolution strategy that learns scales and correlations; for hundreds of trials and more",
    options: &[
        OptionDoc {
            name: "population",
            doc: "trials that are ranked together, 2 to 100,000; none: 4 + 3 ln(parameters), more after restarts",
        },
        OptionDoc { name: "sigma", doc: "first standard deviation as a share of each range, in (0, 1]" },
        OptionDoc { name: "n_startup", doc: "trials drawn at random before the search begins" },
        OptionDoc {
            name: "warm_start",
            doc: "whether it begins where the best of earlier trials are, from ten on",
        },
        OptionDoc {
            name: "lr_adapt",
            doc: "whether learning rates follow the noise: slower, but safer on noisy and many-peaked losses",
        },
        OptionDoc { name: "restart", doc: "what follows a search that has converged: bipop, ipop or none" },
        OptionDoc {
            name: "separable",
            doc: "whether correlations are left out, which is cheaper; none: beyond 100 parameters",
        },
    ],
    build: |options| {
        let (config, complete) = configure::<CmaEs>(options)?;
        config.check_options()?;
        Ok((Box::new(config) as _, complete))
    },
};

/// The name it is registered under, and by which a mix of samplers records its trials.
const NAME: &str = "cma_es";

/// From this many numeric parameters on, correlations are left out unless asked for.
const MANY: usize = 100;

/// What follows a search that has converged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Populations in two regimes, whichever has spent fewer trials: doubled ones, and small ones with small steps.
    Bipop,
    /// A doubled population.
    Ipop,
    /// Nothing: it stays where it is.
    None,
}

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CmaEs {
    /// Trials that are ranked together; none for 4 + ⌊3 ln n⌋ of `n` parameters.
    pub population: Option<usize>,
    /// First standard deviation, as a share of the range.
    pub sigma: f64,
    /// Trials drawn at random before the search begins.
    pub n_startup: usize,
    /// Whether earlier trials say where to begin.
    pub warm_start: bool,
    /// Whether learning rates follow the noise.
    pub lr_adapt: bool,
    /// What follows a search that has converged.
    pub restart: Restart,
    /// Whether correlations are left out; none for beyond 100 numeric parameters.
    pub separable: Option<bool>,
}

impl Default for CmaEs {
    fn default() -> Self {
        Self {
            population: None,
            sigma: 0.167,
            n_startup: 0,
            warm_start: true,
            lr_adapt: false,
            restart: Restart::Bipop,
            separable: None,
        }
    }
}

impl CmaEs {
    fn check_options(&self) -> Result<(), String> {
        check_count("population", self.population, 2..=MOST_MEMBERS)?;
        if !(self.sigma > 0.0 && self.sigma <= 1.0) {
            return Err(format!("sigma is a share of the range in (0, 1], not {}", self.sigma));
        }
        Ok(())
    }

    fn is_separable(&self, axes: usize) -> bool {
        self.separable.unwrap_or(axes > MANY)
    }

    /// The strategy after all that has happened in a study, from scratch; none where the space has nothing to search.
    pub fn strategy(&self, study: &Study) -> Option<Strategy> {
        let mut history = History::default();
        history.advance(study, self);
        history.strategy().cloned()
    }
}

impl Sampler for CmaEs {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let space = study.space();
        let history: &mut History = memo.get();
        history.advance(study, self);
        if history.seen() < self.n_startup {
            return Proposal::Point(space.draw(&rng.uniforms(space.len())));
        }
        // Its own copy of the trial's stream, which a mix of samplers may have drawn from: the trial is recognised by it.
        let mut own =
            Rng::stream(study.spec().seed, u64::from(request.trial), Purpose::Sampler, request.draw);
        match history.sample(space, &mut own) {
            Some(point) => Proposal::Point(point),
            None => Proposal::Point(space.draw(&rng.uniforms(space.len()))),
        }
    }

    fn caution(&self, spec: &Spec) -> Option<String> {
        first_metric_only(NAME, spec)
    }

    fn explain(&self, study: &Study, memo: &mut Memo) -> Option<String> {
        let history: &mut History = memo.get();
        history.advance(study, self);
        history.explain()
    }
}
