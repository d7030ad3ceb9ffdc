//! What users expect of good values, with every sampler: it helps where it is right, and is recovered from where it is wrong.

#[path = "support/compared.rs"]
mod compared;
#[path = "support/functions.rs"]
mod functions;

use compared::{median, wins};
use functions::{RIGHT, SPHERE, WRONG, best, expecting, live, run};
use luthier_core::event::Outcome;
use luthier_core::metric::{Direction, Metric, Metrics};
use luthier_core::sampler::SAMPLERS;
use luthier_core::spec::{Component, Spec};

/// Samplers that priors cannot steer, with the reason.
const WITHOUT_PRIORS: [(&str, &str); 2] = [
    ("grid", "tries every point of the grid once, wherever it lies"),
    ("manual", "tries what users enqueue, and nothing else"),
];

/// Samplers that look at no loss: nothing tells them that a prior is wrong, but a fifth of their trials ignore it.
const DESIGNS: [&str; 4] = ["random", "sobol", "halton", "latin_hypercube"];

const SEEDS: u64 = 20;

/// The regret of the best of so many trials on [`SPHERE`], by seed.
fn regrets(sampler: &str, center: Option<[f64; 5]>, trials: usize) -> Vec<f64> {
    let mut spec = Spec::new("s", expecting(center), Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = Component::named(sampler);
    spec.limits.trials = Some(trials as u64);
    let regret = |seed| best(&run(Spec { seed, ..spec.clone() }, trials, SPHERE.regret));
    (0..SEEDS).map(regret).collect()
}

/// The same with two objectives, whose best compromise is where that of [`SPHERE`] is, on one scale.
fn compromises(sampler: &str, center: Option<[f64; 5]>, trials: usize) -> Vec<f64> {
    let objective = |name: &str| Metric { name: name.into(), direction: Direction::Minimize };
    let metrics = Metrics {
        objectives: vec![objective("a"), objective("b")],
        ..Metrics::single("a", Direction::Minimize)
    };
    let mut spec = Spec::new("s", expecting(center), metrics);
    spec.policy.sampler = Component::named(sampler);
    spec.limits.trials = Some(trials as u64);
    // Either is the sphere, its middle moved to one side in the first coordinate.
    let values = |x: &[f64]| [-1.0, 1.0].map(|side| (SPHERE.regret)(x) + side * (x[0] - 1.3)).to_vec();
    let regret = |seed| {
        let study = live(Spec { seed, ..spec.clone() }, trials, |x| Outcome::Completed { values: values(x) });
        let found = study.trials().iter().filter_map(|trial| trial.values());
        found.map(|values| f64::midpoint(values[0], values[1])).fold(f64::INFINITY, f64::min)
    };
    (0..SEEDS).map(regret).collect()
}

/// Every sampler that priors can steer.
fn samplers() -> impl Iterator<Item = &'static str> {
    let names = SAMPLERS.iter().map(|entry| entry.name);
    names.filter(|name| WITHOUT_PRIORS.iter().all(|(other, _)| other != name))
}

#[test]
fn a_right_prior_is_of_use_to_every_sampler() {
    let mut failed = Vec::new();
    for name in samplers() {
        let (right, none) = (regrets(name, Some(RIGHT), 20), regrets(name, None, 20));
        let wins = wins(&right, &none);
        let (right, none) = (median(right), median(none));
        println!("{name}: {wins} wins of {SEEDS}; {right:.3}, without a prior {none:.3}");
        // 16 of 20 pairs are won by chance with probability 0.006.
        if wins < 16 || right > 0.7 * none {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// The samplers that end farther off with a wrong prior than random search does without one after a third of the trials.
fn lost(regrets: impl Fn(&str, Option<[f64; 5]>, usize) -> Vec<f64>) -> Vec<&'static str> {
    let random = median(regrets("random", None, 20));
    let is_lost = |name: &&str| {
        let trials = if DESIGNS.contains(name) { 200 } else { 60 };
        let wrong = median(regrets(name, Some(WRONG), trials));
        println!(
            "{name}: {wrong:.3} after {trials} trials; random search without a prior {random:.3} after 20"
        );
        wrong > random
    };
    samplers().filter(is_lost).collect()
}

#[test]
fn every_sampler_recovers_from_a_wrong_prior() {
    assert_eq!(lost(regrets), [""; 0]);
}

#[test]
fn every_sampler_recovers_from_a_wrong_prior_with_several_objectives() {
    assert_eq!(lost(compromises), [""; 0]);
}
