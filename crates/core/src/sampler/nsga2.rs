//! NSGA-II (Deb, Pratap, Agarwal and Meyarivan 2002, IEEE TEC 6(2)): a genetic algorithm for one or several objectives.
//! Survivors are chosen by fronts, and within the last front that fits in part by crowding distance.
//!
//! With one objective it is a plain genetic algorithm. Choices, levels and conditions are handled as told in `variation`,
//! failed and pruned trials and broken constraints as told in `population`, many workers as told in `genetic`.

use serde::{Deserialize, Serialize};

use super::genetic::{Generations, Parent, Sizes, Survival};
use super::population::{Member, fronts};
use super::variation::Variation;
use super::{Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::pareto::crowding_distances;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "nsga2",
    summary: "genetic algorithm for several metrics, by fronts and crowding (NSGA-II)",
    options: &[
        OptionDoc {
            name: "population",
            doc: "parents, from 2; none means the square root of the limit of trials, from 10 to 50, and 50 without one. The first so many trials cover the space evenly",
        },
        OptionDoc {
            name: "offspring",
            doc: "finished trials after which parents are chosen anew, from 1; as many as `population` gives generations",
        },
        OptionDoc { name: "crossover_rate", doc: "share of children with two parents, 0 to 1" },
        OptionDoc {
            name: "crossover_eta",
            doc: "index of simulated binary crossover, from 0: the larger, the closer to the parents",
        },
        OptionDoc {
            name: "swap_rate",
            doc: "probability that a parameter takes the second parent's side, 0 to 1",
        },
        OptionDoc {
            name: "mutation_rate",
            doc: "probability that a parameter mutates, 0 to 1; none means one parameter per child on average",
        },
        OptionDoc {
            name: "mutation_eta",
            doc: "index of polynomial mutation, from 0: the larger, the smaller the steps",
        },
    ],
    build: |options| {
        let (nsga2, complete) = configure::<Nsga2>(options)?;
        nsga2.check_options()?;
        Ok((Box::new(nsga2) as _, complete))
    },
};

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nsga2 {
    /// Parents; none means by the limit of trials.
    pub population: Option<usize>,
    /// Finished trials after which parents are chosen anew.
    pub offspring: usize,
    /// Share of children with two parents.
    pub crossover_rate: f64,
    /// Distribution index of simulated binary crossover.
    pub crossover_eta: f64,
    /// Probability that a parameter takes the second parent's side.
    pub swap_rate: f64,
    /// Probability that a parameter mutates; none means one per child on average.
    pub mutation_rate: Option<f64>,
    /// Distribution index of polynomial mutation.
    pub mutation_eta: f64,
}

impl Default for Nsga2 {
    fn default() -> Self {
        Self {
            population: None,
            offspring: 1,
            crossover_rate: 0.9,
            crossover_eta: 15.0,
            swap_rate: 0.5,
            mutation_rate: None,
            mutation_eta: 20.0,
        }
    }
}

impl Sampler for Nsga2 {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let generations: &mut Generations<Crowding> = memo.get();
        generations.advance(study, self.sizes(study), || Crowding);
        generations.propose(study, request, &self.variation(), rng)
    }
}

impl Nsga2 {
    fn check_options(&self) -> Result<(), String> {
        if self.population.is_some_and(|population| population < 2) {
            return Err("population must be at least 2".into());
        }
        if self.offspring == 0 {
            return Err("offspring must be at least 1".into());
        }
        self.variation().check()
    }

    /// The numbers of the parents of the study's next children; none before the first population is full.
    pub fn parents(&self, study: &Study) -> Vec<u32> {
        let mut generations: Generations<Crowding> = Generations::default();
        generations.advance(study, self.sizes(study), || Crowding);
        generations.trials()
    }

    fn sizes(&self, study: &Study) -> Sizes {
        Sizes::of(study, self.population, self.offspring)
    }

    fn variation(&self) -> Variation {
        Variation {
            crossover_rate: self.crossover_rate,
            crossover_eta: self.crossover_eta,
            swap_rate: self.swap_rate,
            mutation_rate: self.mutation_rate,
            mutation_eta: self.mutation_eta,
        }
    }
}

/// Fronts in order, the last one by crowding distance (section III-C).
struct Crowding;

impl Survival for Crowding {
    fn survivors(&mut self, pool: Vec<Member>, size: usize, _: &mut Rng) -> Vec<Parent> {
        let fronts = fronts(&pool);
        let mut rooms = vec![0.0; pool.len()];
        let mut order: Vec<usize> = (0..pool.len()).collect();
        order.sort_by_key(|k| (fronts[*k], *k));
        for front in order.chunk_by(|a, b| fronts[*a] == fronts[*b]) {
            let losses: Vec<&[f64]> = front.iter().map(|k| &*pool[*k].losses).collect();
            for (k, room) in front.iter().zip(crowding_distances(&losses)) {
                rooms[*k] = room;
            }
        }
        order
            .sort_by(|a, b| fronts[*a].cmp(&fronts[*b]).then(rooms[*b].total_cmp(&rooms[*a])).then(a.cmp(b)));
        order.truncate(size);
        order.sort_unstable();
        let parent = |(k, member)| Parent { member, front: fronts[k], room: rooms[k] };
        let kept = pool.into_iter().enumerate().filter(|(k, _)| order.binary_search(k).is_ok());
        kept.map(parent).collect()
    }
}
