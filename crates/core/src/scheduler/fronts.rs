//! Trials in the order of several losses at once, for rungs that compare whole vectors.
//!
//! By non-dominated rank (Schmucker et al. 2021, "Multi-objective asynchronous successive halving"): front by front, and
//! within a front those with more room around them first (the crowding distance of Deb et al. 2002), so that what goes
//! on is spread over the front. Who may go on is the schedulers' affair.

use std::collections::BTreeMap;

use crate::pareto::{crowding_distances, ranks};

/// The trials of `losses`, best first; ties go to the lower number.
pub(super) fn best_first(losses: &BTreeMap<u32, Box<[f64]>>) -> Vec<u32> {
    let numbers: Vec<u32> = losses.keys().copied().collect();
    let rows: Vec<&[f64]> = losses.values().map(|row| &**row).collect();
    let ranks = ranks(&rows);
    let mut fronts = vec![Vec::new(); ranks.iter().max().map_or(0, |last| *last as usize + 1)];
    for (k, rank) in ranks.iter().enumerate() {
        fronts[*rank as usize].push(k);
    }
    let mut order = Vec::with_capacity(numbers.len());
    for front in fronts {
        let members: Vec<&[f64]> = front.iter().map(|k| rows[*k]).collect();
        let room = crowding_distances(&members);
        let mut places: Vec<usize> = (0..front.len()).collect();
        places.sort_by(|a, b| room[*b].total_cmp(&room[*a]).then(a.cmp(b)));
        order.extend(places.iter().map(|place| numbers[front[*place]]));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts_come_one_after_the_other_and_their_ends_first() {
        let rows = [[0.5, 0.5], [0.0, 1.0], [1.0, 0.0], [0.6, 0.6], [0.1, 0.9], [9.0, 9.0]];
        let losses = rows.iter().zip(7..).map(|(row, number)| (number, Box::from(&row[..]))).collect();
        assert_eq!(best_first(&losses), [8, 9, 7, 11, 10, 12]);
        assert!(best_first(&BTreeMap::new()).is_empty());
    }
}
