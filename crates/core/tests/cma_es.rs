//! CMA-ES: against the numbers of the package cmaes, against random search, and against itself.

#[path = "support/functions.rs"]
mod functions;

use functions::{
    BRANCHES, BRANIN, Function, HARTMANN6, SKEWED, SPHERE, TEN, best, float, int, run, study_of,
};
use luthier_core::engine::{Engine, Next, verify};
use luthier_core::event::{Event, Failure, Origin, Outcome, Work};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::rng::{Purpose, Rng};
use luthier_core::sampler::cma_es::{
    Axis, Choices, CmaEs, Constants, Covariance, Member, Start, Strategy, population, warm_start,
};
use luthier_core::space::{Condition, Constraint, Distribution, Parameter, Prior, Scale, Space, Value};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use serde_json::Value as Json;

/// Of the package's numbers, relative to 1 or to the number itself.
const TOLERANCE: f64 = 1e-8;

fn reference() -> Json {
    serde_json::from_str(include_str!("reference/cma_es.json")).unwrap()
}

fn close(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs().max(1e-3);
    assert!(error <= TOLERANCE, "{what}: {found} is not {expected}");
}

fn all_close(found: &[f64], expected: &Json, what: &str) {
    let expected = numbers(expected);
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f64, |most, x| most.max(x.abs())).max(1e-12);
    for (k, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let error = (found - expected).abs() / largest;
        assert!(error <= TOLERANCE, "{what}, {k}: {found} is not {expected}");
    }
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn start(mean: Vec<f64>, sigma: f64, covariance: Covariance) -> Start {
    Start { mean, sigma, covariance, probabilities: vec![], population: None, lr_adapt: false }
}

fn member(latent: Vec<f64>) -> Member {
    Member { middle: latent.clone(), latent, choices: vec![], injected: false }
}

fn check_normal(strategy: &Strategy, after: &Json, what: &str) {
    all_close(strategy.mean(), &after["mean"], &format!("{what}, mean"));
    close(strategy.sigma(), after["sigma"].as_f64().unwrap(), &format!("{what}, sigma"));
    all_close(strategy.covariance().entries(), &after["covariance"], &format!("{what}, covariance"));
    all_close(strategy.step_path(), &after["step_path"], &format!("{what}, step path"));
    all_close(strategy.path(), &after["path"], &format!("{what}, path"));
}

#[test]
fn constants_are_those_of_cmaes() {
    for case in reference()["constants"].as_array().unwrap() {
        let (n, size) = (case["n"].as_u64().unwrap() as usize, case["population"].as_u64().unwrap() as usize);
        let what = format!("n = {n}, population {size}");
        if case["usual"].as_bool().unwrap() {
            assert_eq!(population(n), size, "{what}");
        }
        let found = Constants::full(n, size);
        all_close(&found.weights, &case["weights"], &what);
        close(found.mu_eff, case["mu_eff"].as_f64().unwrap(), &what);
        let rates =
            [found.rank_one, found.rank_mu, found.step_path, found.damping, found.path, found.expected_norm];
        all_close(&rates, &case["rates"], &what);
    }
}

fn check_plain(case: &Json, separable: bool) {
    let name = case["name"].as_str().unwrap();
    let mean = numbers(&case["start"]["mean"]);
    let sigma = case["start"]["sigma"].as_f64().unwrap();
    let covariance = match &case["start"]["covariance"] {
        Json::Null => Covariance::diagonal(&vec![1.0; mean.len()], separable),
        shape => Covariance::full(mean.len(), numbers(shape)),
    };
    let axes = vec![Axis::Continuous; mean.len()];
    let lr_adapt = name == "learning rates";
    let mut strategy = Strategy::new(axes, Start { lr_adapt, ..start(mean, sigma, covariance) });
    assert_eq!(strategy.population() as u64, case["population"].as_u64().unwrap());
    for (g, generation) in case["generations"].as_array().unwrap().iter().enumerate() {
        let points = generation["points"].as_array().unwrap();
        strategy.learn(points.iter().map(|x| member(numbers(x))).collect());
        let after = &generation["after"];
        if after.is_null() {
            continue;
        }
        let what = format!("{name}, generation {}", g + 1);
        check_normal(&strategy, after, &what);
        if let Some(rates) = strategy.rates() {
            all_close(&[rates.mean(), rates.covariance()], &after["rates"], &what);
        }
    }
}

#[test]
fn thirty_generations_are_those_of_cmaes() {
    for case in reference()["plain"].as_array().unwrap() {
        check_plain(case, false);
    }
}

#[test]
fn thirty_separable_generations_are_those_of_cmaes() {
    check_plain(&reference()["separable"], true);
}

#[test]
fn margins_and_probabilities_are_those_of_cmaes() {
    for case in reference()["mixed"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let counts = |key: &str| -> Vec<i64> {
            case[key].as_array().unwrap().iter().map(|x| x.as_i64().unwrap()).collect()
        };
        let mut axes = vec![Axis::Continuous; case["continuous"].as_u64().unwrap() as usize];
        axes.extend(counts("cells").into_iter().map(|n| Axis::Cells(int(1, n, Scale::Linear))));
        let mean = numbers(&case["mean"]);
        let variance = case["variance"].as_f64().unwrap();
        let covariance = Covariance::diagonal(&vec![variance; mean.len()], false);
        let choices = counts("choices");
        let even = |count: &i64| vec![1.0 / *count as f64; *count as usize];
        let probabilities = choices.iter().map(even).collect();
        let begin = Start { probabilities, ..start(mean, 1.0, covariance) };
        let mut strategy = Strategy::new(axes, begin);
        assert_eq!(strategy.population() as u64, case["population"].as_u64().unwrap(), "{name}");
        for (g, generation) in case["generations"].as_array().unwrap().iter().enumerate() {
            let row = |point: &Json| Member {
                latent: numbers(&point["latent"]),
                middle: numbers(&point["middle"]),
                choices: numbers(&point["choices"]).into_iter().map(|c| Some(c as u32)).collect(),
                injected: false,
            };
            strategy.learn(generation["points"].as_array().unwrap().iter().map(row).collect());
            let after = &generation["after"];
            if after.is_null() {
                continue;
            }
            let what = format!("{name}, generation {}", g + 1);
            if !strategy.mean().is_empty() {
                check_normal(&strategy, after, &what);
                all_close(strategy.stretch(), &after["stretch"], &format!("{what}, stretch"));
            }
            for (found, expected) in strategy
                .choices()
                .probabilities()
                .iter()
                .zip(after["probabilities"].as_array().unwrap_or(&vec![]))
            {
                all_close(found, expected, &format!("{what}, probabilities"));
            }
            if !choices.is_empty() {
                close(strategy.choices().trust(), after["trust"].as_f64().unwrap(), &what);
            }
        }
    }
}

#[test]
fn warm_starts_are_those_of_cmaes() {
    for case in reference()["warm"].as_array().unwrap() {
        let points: Vec<Vec<f64>> = case["points"].as_array().unwrap().iter().map(numbers).collect();
        let (mean, sigma, covariance) = warm_start(&points, &vec![0.5; points[0].len()], false);
        all_close(&mean, &case["mean"], "mean");
        close(sigma, case["sigma"].as_f64().unwrap(), "sigma");
        all_close(covariance.entries(), &case["covariance"], "covariance");
    }
}
