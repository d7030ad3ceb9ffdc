//! An ensemble of acquisitions that need not agree: points that no other point beats in all of them at once, and one of
//! those at random (Lyu et al. 2018; Cowen-Rivers et al. 2022, "HEBO", arXiv:2012.03826, section 3.3).
//!
//! The front is approximated by NSGA-II (Deb et al. 2002) over the search's own candidates and moves, with far fewer
//! evaluations than HEBO's 10,000, since it starts from candidates near the best trials.

use super::search::{Candidate, Search};
use super::{Acquisition, Worth};
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
        let values: Vec<&[f64]> = people.iter().map(|person| &*person.values).collect();
        let first = fronts(&values).into_iter().next().unwrap_or_default();
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
        let values: Vec<&[f64]> = people.iter().map(|person| &*person.values).collect();
        let mut chosen = Vec::with_capacity(self.population);
        for mut front in fronts(&values) {
            let room = self.population - chosen.len();
            if room == 0 {
                break;
            }
            let crowding = crowding(&values, &front);
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

fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(x, y)| x >= y) && a.iter().zip(b).any(|(x, y)| x > y)
}

/// Indices by rank: those that nobody dominates, those that only they dominate, and so on.
fn fronts(values: &[&[f64]]) -> Vec<Vec<usize>> {
    let n = values.len();
    let (mut below, mut count) = (vec![Vec::new(); n], vec![0usize; n]);
    for a in 0..n {
        for b in 0..a {
            if dominates(values[a], values[b]) {
                below[a].push(b);
                count[b] += 1;
            } else if dominates(values[b], values[a]) {
                below[b].push(a);
                count[a] += 1;
            }
        }
    }
    let mut fronts = Vec::new();
    let mut front: Vec<usize> = (0..n).filter(|k| count[*k] == 0).collect();
    while !front.is_empty() {
        let mut next = Vec::new();
        for &a in &front {
            for &b in &below[a] {
                count[b] -= 1;
                if count[b] == 0 {
                    next.push(b);
                }
            }
        }
        next.sort_unstable();
        fronts.push(std::mem::replace(&mut front, next));
    }
    fronts
}

/// Deb's crowding distance of each member of a front; infinite at its ends.
fn crowding(values: &[&[f64]], front: &[usize]) -> Vec<f64> {
    let mut distance = vec![0.0; front.len()];
    let members = values.first().map_or(0, |row| row.len());
    for value_of in (0..members).map(|m| move |row: &&[f64]| row[m]) {
        let mut order: Vec<usize> = (0..front.len()).collect();
        order.sort_by(|a, b| value_of(&values[front[*a]]).total_cmp(&value_of(&values[front[*b]])));
        let at = |j: usize| value_of(&values[front[order[j]]]);
        let (last, range) = (front.len() - 1, at(front.len() - 1) - at(0));
        (distance[order[0]], distance[order[last]]) = (f64::INFINITY, f64::INFINITY);
        for j in 1..last {
            if range > 0.0 && range.is_finite() {
                distance[order[j]] += (at(j + 1) - at(j - 1)) / range;
            }
        }
    }
    distance
}
