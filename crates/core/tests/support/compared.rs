//! A sampler beside random search, at equal seeds; and beside what it had reached when a test was written.
#![allow(dead_code, reason = "each test binary uses some of it")]

use luthier_core::spec::Component;

use crate::functions::{Function, best, study_of};

/// Seeds at which two samplers are compared.
pub(crate) const SEEDS: u64 = 40;

/// Of 40 pairs, 29 or more are won by chance with probability 0.003 where there is no difference.
pub(crate) const WINS: usize = 29;

/// The middle value, or the middle of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// Final regrets at seeds 0 … 39.
pub(crate) fn regrets(function: &Function, sampler: &Component, trials: usize) -> Vec<f64> {
    (0..SEEDS).map(|seed| best(&study_of(function, sampler.clone(), seed, trials))).collect()
}

/// How often each of `ours` is below its pair of `others`.
pub(crate) fn wins(ours: &[f64], others: &[f64]) -> usize {
    ours.iter().zip(others).filter(|(ours, other)| ours < other).count()
}

/// Compares with random search, and with the median regret that this sampler had when the test was written: `known` is more
/// than that by as much as medians over other sets of 40 seeds differ, which lie within a factor of two of one another.
pub(crate) fn check_against_random(sampler: &Component, function: &Function, trials: usize, known: f64) {
    let ours = regrets(function, sampler, trials);
    let random = regrets(function, &Component::named("random"), trials);
    let wins = wins(&ours, &random);
    let (median, by_chance) = (median(ours), median(random));
    let found = format!(
        "{} on {}: {wins} wins of {SEEDS}, median regret {median:.2e}, random {by_chance:.2e}",
        sampler.name, function.name
    );
    println!("{found}");
    assert!(wins >= WINS && median <= known, "{found}");
}
