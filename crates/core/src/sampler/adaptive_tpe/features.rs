//! What a history looks like, in a few numbers.

use std::collections::BTreeSet;

use super::super::tpe::ledger::Ledger;
use super::is_completed;
use crate::study::Study;

/// How many features there are.
pub const COUNT: usize = 9;

/// One number each, most of them between −1 and 1; see [`NAMES`].
pub type Features = [f64; COUNT];

/// What the features are.
pub const NAMES: [&str; COUNT] = [
    "one",
    "log10 of the number of ranked trials, less 1.7",
    "log2 of the number of parameters, less 3, halved",
    "share of parameters with unordered choices",
    "share of the importance that the most important quarter of the parameters has, less 0.5",
    "how low the median loss lies between the 10 % and the 90 % quantile: 0.5 less its height",
    "share of the trials since the best one, less 0.4",
    "spread of the good trials' values by that of uniform ones, less 0.6",
    "how much of the best trials' losses is one outlier: the gap after the best by that to the 20 % quantile",
];

/// Trials that features look back on.
const LATEST: usize = 300;
/// The share of the trials whose values are compared with all trials'.
const TOP: f64 = 0.2;
/// Places into which a parameter's values fall when they are compared.
const BINS: usize = 5;
/// Deviations by which a divergence must exceed the mean that chance gives it.
const SURE: f64 = 2.0;

/// What can be said of a history.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the settings follow.
    pub features: Features,
    /// How much each parameter matters: the divergence of the good trials' values from all trials', 0 or more.
    pub importance: Vec<f64>,
}

/// The features of a study's history as it is, for training.
pub fn features_of(study: &Study) -> Features {
    let mut ledger = Ledger::default();
    ledger.advance(study, true, 1);
    observe(study, &ledger).features
}

/// Looks at the latest completed trials. Needs none, but says more with some.
pub(crate) fn observe(study: &Study, ledger: &Ledger) -> Seen {
    let space = study.space();
    let numbers = 0..study.trials().len() as u32;
    let mut latest: Vec<u32> =
        numbers.rev().filter(|number| is_completed(ledger.standing(*number))).take(LATEST).collect();
    latest.sort_unstable();
    let loss =
        |number: u32| study.trials()[number as usize].loss(study.metrics(), 0).unwrap_or(f64::INFINITY);
    let mut rows: Vec<(f64, u32)> = latest.iter().map(|number| (loss(*number), *number)).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let units: Vec<Vec<f64>> =
        rows.iter().map(|(_, number)| space.to_unit(&study.trials()[*number as usize].point)).collect();
    let top = ((TOP * rows.len() as f64).ceil() as usize).max(1).min(rows.len());
    let searched: Vec<usize> = (0..space.len())
        .filter(|k| !space.parameters()[*k].retired && !space.parameters()[*k].distribution.is_fixed())
        .collect();
    let mut importance = vec![0.0; space.len()];
    for &k in &searched {
        importance[k] = divergence(study, &rows, &units, top, k);
    }
    let losses: Vec<f64> = rows.iter().map(|(loss, _)| *loss).collect();
    let since = rows.first().map_or(0.0, |(_, best)| {
        latest.iter().filter(|number| **number > *best).count() as f64 / latest.len() as f64
    });
    let is_choice = |k: &&usize| space.parameters()[**k].distribution.is_categorical();
    let count = searched.len().max(1) as f64;
    let features = [
        1.0,
        (ledger.ranked().max(1) as f64).log10() - 1.7,
        (count.log2() - 3.0) / 2.0,
        searched.iter().filter(is_choice).count() as f64 / count,
        concentration(&searched.iter().map(|k| importance[*k]).collect::<Vec<_>>()) - 0.5,
        0.5 - height(&losses),
        since - 0.4,
        spread(study, &units[..top], &searched) - 0.6,
        outlier(&losses),
    ];
    Seen { features, importance }
}

/// Pearson's divergence of the top rows' values of parameter `k` from all rows', less what chance makes of it: its mean and
/// two deviations. Ordered values fall into bins by their rank, so that where the search has come together does not matter.
fn divergence(study: &Study, rows: &[(f64, u32)], units: &[Vec<f64>], top: usize, k: usize) -> f64 {
    let distribution = &study.space().parameters()[k].distribution;
    let cells = distribution.cells().unwrap_or(u64::MAX);
    let known = units.iter().enumerate().map(|(row, unit)| (row, unit[k]));
    let mut known: Vec<(usize, f64)> = known.filter(|(_, unit)| !unit.is_nan()).collect();
    if distribution.cells().is_none() {
        // A value that an earlier trial had was locked to it: that good trials have it says nothing of the parameter.
        known.sort_by_key(|(row, _)| rows[*row].1);
        let mut seen = BTreeSet::new();
        known.retain(|(_, unit)| seen.insert(unit.to_bits()));
    }
    let bins =
        if distribution.is_categorical() { cells.min(50) as usize } else { (cells as usize).min(BINS) };
    let values: Vec<f64> = known.iter().map(|(_, unit)| *unit).collect();
    let places = if cells <= bins as u64 { values } else { quantiles(&values) };
    let (mut all, mut best) = (vec![0.0; bins], vec![0.0; bins]);
    for ((row, _), place) in known.iter().zip(places) {
        let bin = ((place * bins as f64) as usize).min(bins - 1);
        all[bin] += 1.0;
        best[bin] += f64::from(u8::from(*row < top));
    }
    let (n, m): (f64, f64) = (all.iter().sum(), best.iter().sum());
    if m < 1.0 || bins < 2 {
        return 0.0;
    }
    let freedom = all.iter().filter(|count| **count > 0.0).count() as f64 - 1.0;
    let terms = all.iter().zip(&best).filter(|(all, _)| **all > 0.0);
    let sum: f64 = terms.map(|(all, best)| (best / m - all / n).powi(2) / (all / n)).sum();
    let by_chance = (freedom + SURE * (2.0 * freedom).sqrt()) / m * (1.0 - m / n);
    (sum - by_chance).max(0.0)
}

/// Each value's rank as a share; equal ones have the middle of theirs.
fn quantiles(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let (mut quantiles, mut from) = (vec![0.0; values.len()], 0);
    for level in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let middle = from as f64 + (level.len() as f64 - 1.0) / 2.0;
        for &k in level {
            quantiles[k] = middle / values.len() as f64;
        }
        from += level.len();
    }
    quantiles
}

/// The share of the sum that the largest quarter of the values has.
fn concentration(values: &[f64]) -> f64 {
    let total: f64 = values.iter().sum();
    if total <= 0.0 {
        return 0.5;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.iter().take(values.len().div_ceil(4)).sum::<f64>() / total
}

/// Of ascending values.
fn quantile(values: &[f64], share: f64) -> f64 {
    values[((values.len() - 1) as f64 * share).round() as usize]
}

/// Where the median lies between the 10 % and the 90 % quantile.
fn height(losses: &[f64]) -> f64 {
    if losses.is_empty() {
        return 0.5;
    }
    let (low, high) = (quantile(losses, 0.1), quantile(losses, 0.9));
    let height = (quantile(losses, 0.5) - low) / (high - low);
    if height.is_finite() { height } else { 0.5 }
}

fn outlier(losses: &[f64]) -> f64 {
    if losses.len() < 5 {
        return 0.0;
    }
    let share = (losses[1] - losses[0]) / (quantile(losses, 0.2) - losses[0]);
    if share.is_finite() { share.min(1.0) } else { 0.0 }
}

/// The standard deviation of ordered parameters' values, by that of uniform ones, averaged.
fn spread(study: &Study, units: &[Vec<f64>], searched: &[usize]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for &k in searched.iter().filter(|k| !study.space().parameters()[**k].distribution.is_categorical()) {
        let values: Vec<f64> = units.iter().map(|unit| unit[k]).filter(|x| !x.is_nan()).collect();
        if values.len() < 2 {
            continue;
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        sum += (12.0 * variance).sqrt();
        count += 1.0;
    }
    if count > 0.0 { (sum / count).min(1.6) } else { 0.6 }
}
