//! Constraints of the metrics as models (c-TPE; Watanabe and Hutter 2023, arXiv:2211.14411).
//!
//! The objective and each constraint have a density of the trials that do well in it and one of the others. What is
//! maximised is the product of the relative density ratios `1 / (γ + (1 − γ) · g / l)`, where γ is the share of those that
//! do well: whatever nearly all trials keep says nothing, however it is spread.
//!
//! Models are made afresh from the latest 1,000 finished trials.

use std::sync::Arc;

use super::ledger::{Ledger, Standing};
use super::{Tpe, candidates, winner};
use crate::observation::Observation;
use crate::rng::Rng;
use crate::space::Point;
use crate::study::Study;
use crate::surrogate::parzen::{Axis, Parzen};

/// Finished trials that are looked back on.
const LATEST: usize = 1_000;

/// One factor of the product.
struct Factor {
    good: Parzen,
    bad: Parzen,
    /// γ.
    share: f64,
}

pub(super) fn propose(study: &Study, tpe: &Tpe, ledger: &Ledger, rng: &mut Rng) -> Point {
    let space = study.space();
    let mut factors = factors(study, tpe, ledger);
    let mut points = Vec::new();
    for factor in &factors {
        points.extend(candidates(space, tpe.n_candidates, || factor.good.draw(space, rng)));
    }
    let mut scores = vec![0.0; points.len()];
    for factor in &mut factors {
        let located = factor.good.locate(&points);
        let (l, g) = (factor.good.log_densities(&located), factor.bad.log_densities(&located));
        for (score, (l, g)) in scores.iter_mut().zip(l.iter().zip(&g)) {
            *score -= (factor.share + (1.0 - factor.share) * (g - l).exp()).ln();
        }
    }
    points.swap_remove(winner(&scores))
}

/// The objective's factor, then those of the constraints that some trial has told.
fn factors(study: &Study, tpe: &Tpe, ledger: &Ledger) -> Vec<Factor> {
    let finished = study.finished();
    let mut numbers = finished[finished.len().saturating_sub(LATEST)..].to_vec();
    numbers.sort_unstable();
    numbers.retain(|number| ledger.standing(*number) != Standing::Silent);
    let rows: Vec<Observation> = numbers
        .iter()
        .filter_map(|number| Observation::of(study, &study.trials()[*number as usize]))
        .collect();
    let axes = |expects| -> Arc<[Axis]> {
        study.space().parameters().iter().map(|parameter| Axis::new(parameter, expects)).collect()
    };
    let (axes, expecting) = (axes(false), axes(true));
    let pending = study.running().iter().chain(study.waiting()).map(|work| work.trial);
    let mut pending: Vec<u32> = if tpe.constant_liar { pending.collect() } else { Vec::new() };
    pending.dedup();
    let made = |good: &[u32], bad: &[u32]| {
        let model = |axes: &Arc<[Axis]>, numbers: &[u32]| {
            let points = numbers.iter().map(|number| &study.trials()[*number as usize].point);
            let mut model = Parzen::new(axes.clone(), tpe.prior_weight);
            model.update(&[], &(0..).zip(points).collect::<Vec<(u32, &Point)>>());
            model
        };
        let share = good.len() as f64 / (good.len() + bad.len()).max(1) as f64;
        let others: Vec<u32> = bad.iter().chain(&pending).copied().collect();
        Factor { good: model(&expecting, good), bad: model(&axes, &others), share }
    };
    let (good, bad) = by_loss(&rows, tpe);
    let mut factors = vec![made(&good, &bad)];
    for k in 0..study.metrics().constraints.len() {
        let (kept, broken) = by_constraint(&rows, k);
        if !kept.is_empty() {
            factors.push(made(&kept, &broken));
        }
    }
    factors
}

/// The best by loss, feasible or not: as many as it takes to have enough feasible ones among them. All, where there are not
/// so many: then the loss does not matter yet.
fn by_loss(rows: &[Observation], tpe: &Tpe) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<&Observation> = rows.iter().filter(|row| !row.losses[0].is_nan()).collect();
    order.sort_by(|a, b| a.losses[0].total_cmp(&b.losses[0]).then(a.trial.cmp(&b.trial)));
    let wanted = tpe.good_count(order.len());
    let mut feasible = 0;
    let enough = order.iter().position(|row| {
        feasible += usize::from(row.violation <= 0.0);
        feasible == wanted
    });
    let (good, bad) = order.split_at(enough.map_or(order.len(), |at| at + 1));
    let failed = rows.iter().filter(|row| row.losses[0].is_nan());
    let numbers = |rows: &[&Observation]| rows.iter().map(|row| row.trial).collect::<Vec<u32>>();
    let (mut good, mut bad) = (numbers(good), numbers(bad));
    bad.extend(failed.map(|row| row.trial));
    good.sort_unstable();
    bad.sort_unstable();
    (good, bad)
}

/// The trials that keep constraint `k`, or the nearest to it where none does; and those that break it.
fn by_constraint(rows: &[Observation], k: usize) -> (Vec<u32>, Vec<u32>) {
    let known = || rows.iter().filter(|row| !row.constraints[k].is_nan());
    let nearest = known().map(|row| row.constraints[k]).fold(f64::INFINITY, f64::min);
    let keeps = |row: &&Observation| row.constraints[k] <= nearest.max(0.0);
    let kept = known().filter(keeps).map(|row| row.trial).collect();
    (kept, known().filter(|row| !keeps(row)).map(|row| row.trial).collect())
}
