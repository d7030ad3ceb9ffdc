//! An ensemble of acquisitions that need not agree: points that no other point beats in all of them at once, and one of
//! those at random (Lyu et al. 2018; Cowen-Rivers et al. 2022, "HEBO", arXiv:2012.03826, section 3.3).
//!
//! The front is approximated by NSGA-II (Deb et al. 2002) over the search's own candidates and moves, with far fewer
//! evaluations than HEBO's 10,000, since it starts from candidates near the best trials.

use super::search::{Candidate, Search};
use super::{Acquisition, Worth};
use crate::pareto::{crowding_distances, ranks};
use crate::rng::Rng;
use crate::surrogate::Surrogate;

/// Several worths over one surrogate, and what is added to each.
pub struct ParetoEnsemble<'a> {
    /// Who says what is believed.
    pub surrogate: &'a dyn Surrogate,
    /// The members, at least one.
    pub members: Vec<Box<dyn Worth + 'a>>,
    /// Added to every member, such as the log probability of feasibility.
    pub common: Option<&'a dyn Acquisition>,
    /// Points kept from one generation to the next, from 4.
    pub population: usize,
    /// Generations.
    pub generations: usize,
}

/// A point of the front.
#[derive(Clone, Debug)]
pub struct Compromise {
    /// The point.
    pub candidate: Candidate,
    /// What each member says; larger is better.
    pub values: Vec<f64>,
}

impl ParetoEnsemble<'_> {
    /// Untried points that no other point found is better than in every member; empty where there are none.
    pub fn front(&self, search: &Search, rng: &mut Rng) -> Vec<Compromise> {
        let mut people = self.selected(self.scored(search, search.candidates(rng)));
        for _ in 0..self.generations {
            if people.is_empty() {
                break;
            }
            let pick = |rng: &mut Rng| {
                // The population is sorted, so the smaller of two numbers wins the tournament.
                let n = people.len() as u64;
                rng.below(n).min(rng.below(n)) as usize
            };
            let children: Vec<Candidate> = (0..self.population)
                .map(|_| {
                    let (mother, father) = (pick(rng), pick(rng));
                    search.offspring(&people[mother].candidate, &people[father].candidate, rng)
                })
                .filter(|child| search.space.allows(&child.point.0))
                .collect();
            people.extend(self.scored(search, children));
            people = self.selected(people);
        }
        let first = fronts(&people).into_iter().next().unwrap_or_default();
        first.into_iter().map(|k| people[k].clone()).collect()
    }

    fn scored(&self, search: &Search, candidates: Vec<Candidate>) -> Vec<Compromise> {
        let candidates: Vec<Candidate> =
            candidates.into_iter().filter(|candidate| !(search.is_tried)(&candidate.point)).collect();
        let units: Vec<Vec<f64>> = candidates.iter().map(|candidate| candidate.unit.clone()).collect();
        let common = self.common.map_or_else(|| vec![0.0; units.len()], |common| common.values(&units));
        let beliefs = self.surrogate.beliefs(&units);
        let scored = candidates.into_iter().zip(beliefs).zip(common).map(|((candidate, belief), common)| {
            let values = self.members.iter().map(|member| member.worth(belief) + common).collect();
            Compromise { candidate, values }
        });
        scored.filter(|person| person.values.iter().all(|value| !value.is_nan())).collect()
    }

    /// The best of a generation: whole fronts, and of the last the least crowded, in that order.
    fn selected(&self, mut people: Vec<Compromise>) -> Vec<Compromise> {
        people.sort_by(|a, b| order(&a.candidate.unit, &b.candidate.unit));
        people.dedup_by(|a, b| a.candidate.point == b.candidate.point);
        let mut chosen = Vec::with_capacity(self.population);
        for mut front in fronts(&people) {
            let room = self.population - chosen.len();
            if room == 0 {
                break;
            }
            let values: Vec<&[f64]> = front.iter().map(|k| &*people[*k].values).collect();
            let crowding = crowding_distances(&values);
            let mut by_room: Vec<usize> = (0..front.len()).collect();
            by_room.sort_by(|a, b| crowding[*b].total_cmp(&crowding[*a]));
            front = by_room.into_iter().map(|j| front[j]).collect();
            chosen.extend(front.into_iter().take(room));
        }
        chosen.into_iter().map(|k| people[k].clone()).collect()
    }
}

fn order(a: &[f64], b: &[f64]) -> std::cmp::Ordering {
    let pairs = a.iter().zip(b).map(|(x, y)| x.total_cmp(y));
    pairs.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
}

/// Indices by rank: those that nobody is better than in every member, those that only they are, and so on.
fn fronts(people: &[Compromise]) -> Vec<Vec<usize>> {
    let losses: Vec<Vec<f64>> =
        people.iter().map(|person| person.values.iter().map(|value| -value).collect()).collect();
    let ranks = ranks(&losses);
    let mut fronts = vec![Vec::new(); ranks.iter().max().map_or(0, |last| *last as usize + 1)];
    for (k, rank) in ranks.into_iter().enumerate() {
        fronts[rank as usize].push(k);
    }
    fronts
}
