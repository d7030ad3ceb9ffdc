//! A genetic algorithm as a fold of the study: parents, the selection of survivors as trials finish, and children. What
//! survives is decided by a [`Survival`], of which NSGA-II and NSGA-III are two.
//!
//! The first `population` trials that finish are the first parents. From then on, whenever `offspring` more have finished,
//! the best `population` of parents and newcomers are the next parents. With one at a time nobody waits for a generation to
//! be complete, so parallel workers are always busy with children of the parents there are.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::population::{Finished, Member, founder, size_by_limit};
use super::variation::{Variation, novel};
use super::{MOST_MEMBERS, Proposal, Request};
use crate::registry::{OptionDoc, check_count, configure};
use crate::rng::{Purpose, Rng};
use crate::study::Study;

/// A member that may become a parent, with what decides tournaments.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    pub(super) member: Member,
    /// Its front, from 0.
    pub(super) front: u32,
    /// Larger is better among members of one front.
    pub(super) room: f64,
}

/// Who of parents and newcomers survives.
pub(super) trait Survival: Send + 'static {
    /// At most `size` of `pool`, each with its front and its room. `pool` is in a fixed order; ties go to whoever is
    /// earlier, or are drawn from `rng`, which depends on the study and on how many trials had finished.
    fn survivors(&mut self, pool: Vec<Member>, size: usize, rng: &mut Rng) -> Vec<Parent>;
}

/// How parents are chosen and children made: the options that genetic algorithms share.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breeding {
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

/// What they are for.
pub(super) const BREEDING: [OptionDoc; 7] = [
    OptionDoc {
        name: "population",
        doc: "parents, 2 to 100,000; none means the square root of the limit of trials, from 10 to 50, and 50 without one. The first so many trials cover the space evenly",
    },
    OptionDoc {
        name: "offspring",
        doc: "finished trials after which parents are chosen anew, 1 to 100,000; as many as `population` gives generations",
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
];

impl Default for Breeding {
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

impl Breeding {
    /// Reads them, and spells all of them out.
    pub(super) fn configure(options: &Map<String, Value>) -> Result<(Self, Map<String, Value>), String> {
        let (breeding, complete) = configure::<Self>(options)?;
        check_count("population", breeding.population, 2..=MOST_MEMBERS)?;
        check_count("offspring", breeding.offspring, 1..=MOST_MEMBERS)?;
        breeding.variation().check()?;
        Ok((breeding, complete))
    }

    /// As the options say, or by the study's limit of trials.
    pub(super) fn sizes(&self, study: &Study) -> Sizes {
        let population = self.population.unwrap_or_else(|| size_by_limit(study, 10..=50, 50));
        Sizes { population, offspring: self.offspring }
    }

    pub(super) fn variation(&self) -> Variation {
        Variation {
            crossover_rate: self.crossover_rate,
            crossover_eta: self.crossover_eta,
            swap_rate: self.swap_rate,
            mutation_rate: self.mutation_rate,
            mutation_eta: self.mutation_eta,
        }
    }
}

/// The sizes of a population.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) population: usize,
    pub(super) offspring: usize,
}

/// The memo: the parents at present.
pub(super) struct Generations<S> {
    sizes: Sizes,
    finished: Finished,
    parents: Vec<Parent>,
    newcomers: Vec<Member>,
    survival: Option<S>,
}

impl<S> Default for Generations<S> {
    fn default() -> Self {
        Self {
            sizes: Sizes::default(),
            finished: Finished::default(),
            parents: Vec::new(),
            newcomers: Vec::new(),
            survival: None,
        }
    }
}

impl<S: Survival> Generations<S> {
    /// Takes in what has finished; `begin` makes the rule of survival of a study.
    pub(super) fn advance(&mut self, study: &Study, sizes: Sizes, begin: impl Fn() -> S) {
        if self.sizes != sizes {
            *self = Self { sizes, ..Self::default() };
        }
        let (afresh, fresh) = self.finished.advance(study);
        if afresh {
            (self.parents, self.newcomers, self.survival) = (Vec::new(), Vec::new(), None);
        }
        let survival = self.survival.get_or_insert_with(begin);
        let mut count = self.finished.seen() - fresh.len();
        for member in fresh {
            count += 1;
            self.newcomers.push(member);
            let wanted = if self.parents.is_empty() { sizes.population } else { sizes.offspring };
            if self.newcomers.len() == wanted {
                let parents = self.parents.drain(..).map(|parent| parent.member);
                let pool = parents.chain(self.newcomers.drain(..)).collect();
                let mut rng = Rng::stream(study.spec().seed, count as u64, Purpose::Surrogate, 0);
                self.parents = survival.survivors(pool, sizes.population, &mut rng);
            }
        }
    }

    /// A child of the present parents, or a founder while there are none.
    pub(super) fn propose(
        &self,
        study: &Study,
        request: &Request,
        variation: &Variation,
        rng: &mut Rng,
    ) -> Proposal {
        let space = study.space();
        if self.parents.is_empty() {
            return Proposal::Point(founder(study, request.trial, request.draw, rng));
        }
        let known = self.parents.iter().map(|parent| &*parent.member.unit);
        let point = |parent: &Parent| &study.trials()[parent.member.trial as usize].point;
        Proposal::Point(novel(space, known, |attempt| {
            // Where children were refused, or are nothing new, they mutate more.
            let vigour = 1.0 + f64::from(attempt) / 2.0 + request.draw as f64;
            let mother = self.tournament(rng);
            let father = self.tournament(rng);
            variation.child(space, point(mother), point(father), vigour, rng)
        }))
    }

    /// The better of two parents drawn at random (Deb et al. 2002, the crowded comparison); of equal ones, the first drawn.
    fn tournament(&self, rng: &mut Rng) -> &Parent {
        let mut drawn = || &self.parents[rng.below(self.parents.len() as u64) as usize];
        let (one, other) = (drawn(), drawn());
        if (other.front, -other.room) < (one.front, -one.room) { other } else { one }
    }

    /// Numbers of the present parents.
    pub(super) fn trials(&self) -> Vec<u32> {
        self.parents.iter().map(|parent| parent.member.trial).collect()
    }
}
