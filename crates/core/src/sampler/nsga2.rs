//! NSGA-II (Deb, Pratap, Agarwal and Meyarivan 2002, IEEE TEC 6(2)): a genetic algorithm for one or several objectives.
//! Survivors are chosen by fronts, and within the last front that fits in part by crowding distance.
//!
//! With one objective it is a plain genetic algorithm. Choices, levels and conditions are handled as told in `variation`,
//! failed and pruned trials and broken constraints as told in `population`, many workers as told in `genetic`.

pub use super::genetic::Breeding;
use super::genetic::{BREEDING, Generations, Parent, Survival};
use super::population::{Member, Place, places};
use super::{Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::registry::Entry;
use crate::rng::Rng;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "nsga2",
    summary: "genetic algorithm for several metrics, by fronts and crowding (NSGA-II)",
    options: &BREEDING,
    build: |options| {
        let (breeding, complete) = Breeding::configure(options)?;
        Ok((Box::new(Nsga2 { breeding }) as _, complete))
    },
};

/// The sampler with its options.
#[derive(Clone, Debug, Default)]
pub struct Nsga2 {
    /// How parents are chosen and children made.
    pub breeding: Breeding,
}

impl Sampler for Nsga2 {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let generations: &mut Generations<Crowding> = memo.get();
        generations.advance(study, self.breeding.sizes(study), || Crowding);
        generations.propose(study, request, &self.breeding.variation(), rng)
    }
}

impl Nsga2 {
    /// The numbers of the parents of the study's next children; none before the first population is full.
    pub fn parents(&self, study: &Study) -> Vec<u32> {
        let mut generations: Generations<Crowding> = Generations::default();
        generations.advance(study, self.breeding.sizes(study), || Crowding);
        generations.trials()
    }
}

/// Fronts in order, the last one by crowding distance (section III-C).
struct Crowding;

impl Survival for Crowding {
    fn survivors(&mut self, pool: Vec<Member>, size: usize, _: &mut Rng) -> Vec<Parent> {
        let places = places(&pool);
        let mut order: Vec<usize> = (0..pool.len()).collect();
        order.sort_by(|a, b| places[*a].order(&places[*b]).then(a.cmp(b)));
        order.truncate(size);
        order.sort_unstable();
        let parent = |(k, member): (usize, Member)| {
            let Place { front, room } = places[k];
            Parent { member, front, room }
        };
        let kept = pool.into_iter().enumerate().filter(|(k, _)| order.binary_search(k).is_ok());
        kept.map(parent).collect()
    }
}
