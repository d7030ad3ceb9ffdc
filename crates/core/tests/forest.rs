//! Random forests: against scikit-learn's numbers, as a model of mixed and conditional spaces, and as a sampler against
//! random search.

#[path = "support/functions.rs"]
mod functions;

use functions::{
    BRANCHES, BRANIN, Function, HARTMANN6, LEVY, SKEWED, SPHERE, TEN, best, float, int, run, study_of,
};
use luthier_core::engine::resolve;
use luthier_core::metric::{Direction, Metrics};
use luthier_core::rng::{Purpose, Rng};
use luthier_core::space::{Condition, Distribution, Parameter, Scale, Space};
use luthier_core::spec::{Component, Spec};
use luthier_core::surrogate::Surrogate;
use luthier_core::surrogate::forest::{Forest, Row, Settings, Splits};
use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
struct Reference {
    trees: Vec<ReferenceTree>,
    forests: ReferenceForests,
}

#[derive(Deserialize)]
struct ReferenceTree {
    name: String,
    min_samples_leaf: Option<usize>,
    min_samples_split: Option<usize>,
    max_depth: Option<usize>,
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    tests: Vec<Vec<f64>>,
    predictions: Vec<f64>,
}

#[derive(Deserialize)]
struct ReferenceForests {
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    tests: Vec<Vec<f64>>,
    truth: Vec<f64>,
    random: Ensemble,
    half: Ensemble,
    extra: Ensemble,
    extra_bootstrap: Ensemble,
}

/// Means over 100 seeds.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Ensemble {
    error: f64,
    spread: f64,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference/forest.json")).unwrap()
}

fn cube(dimensions: usize) -> Space {
    let parameter = |k| float(&format!("x{k}"), 0.0, 1.0, Scale::Linear);
    Space::new((0..dimensions).map(parameter).collect(), vec![]).unwrap()
}

fn rows<'a>(units: &'a [Vec<f64>], losses: &[f64]) -> Vec<Row<'a>> {
    units.iter().zip(losses).map(|(unit, loss)| Row { unit, loss: *loss }).collect()
}

fn rng(seed: u64) -> Rng {
    Rng::stream(seed, 0, Purpose::Surrogate, 0)
}

fn choices(n: i64) -> Distribution {
    Distribution::Categorical { choices: (0..n).map(Into::into).collect() }
}

/// A single tree that sees every row once.
fn tree() -> Settings {
    Settings { trees: 1, bootstrap: false, splits: Splits::Best, ..Settings::default() }
}

// ---- the model

#[test]
fn a_single_tree_predicts_what_scikit_learns_does() {
    for case in reference().trees {
        let settings = Settings {
            min_leaf: case.min_samples_leaf.unwrap_or(1),
            min_split: case.min_samples_split.unwrap_or(2),
            max_depth: case.max_depth.unwrap_or(1000),
            ..tree()
        };
        let space = cube(case.x[0].len());
        let forest = Forest::fit(&space, &rows(&case.x, &case.y), &settings, &mut rng(1));
        for (test, expected) in case.tests.iter().zip(&case.predictions) {
            let found = forest.belief(test).mean;
            assert!((found - expected).abs() < 1e-12, "{}: {found} is not {expected}", case.name);
        }
    }
}

#[test]
fn forests_err_and_spread_as_scikit_learns_do() {
    let reference = reference().forests;
    let space = cube(4);
    let check = |name: &str, settings: Settings, expected: Ensemble| {
        let (mut error, mut spread) = (0.0, 0.0);
        for seed in 0..100 {
            let forest = Forest::fit(&space, &rows(&reference.x, &reference.y), &settings, &mut rng(seed));
            let beliefs = forest.beliefs(&reference.tests);
            let squares = beliefs.iter().zip(&reference.truth).map(|(b, t)| (b.mean - t).powi(2));
            error += (squares.sum::<f64>() / beliefs.len() as f64).sqrt() / 100.0;
            spread += beliefs.iter().map(|b| b.deviation).sum::<f64>() / beliefs.len() as f64 / 100.0;
        }
        let found = Ensemble { error, spread };
        // The means of 100 seeds scatter by about 1 %.
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.05;
        assert!(
            near(found.error, expected.error) && near(found.spread, expected.spread),
            "{name}: {found:?} {expected:?}"
        );
    };
    let best = Settings { splits: Splits::Best, ..Settings::default() };
    check("random forest", best, reference.random);
    check("half of the coordinates", Settings { features: 0.5, ..best }, reference.half);
    let extra = Settings { splits: Splits::Random, ..best };
    check("extra trees", Settings { bootstrap: false, ..extra }, reference.extra);
    check("bootstrapped extra trees", extra, reference.extra_bootstrap);
}

#[test]
fn the_variance_is_that_of_the_trees_and_of_their_leaves() {
    let units: Vec<Vec<f64>> = [0.1, 0.2, 0.8, 0.9].iter().map(|x| vec![*x]).collect();
    let settings = Settings { max_depth: 1, ..tree() };
    let forest = Forest::fit(&cube(1), &rows(&units, &[1.0, 3.0, 10.0, 14.0]), &settings, &mut rng(1));
    for (x, mean, deviation) in [(0.0, 2.0, 1.0), (1.0, 12.0, 2.0)] {
        let belief = forest.belief(&[x]);
        assert!((belief.mean - mean).abs() < 1e-12 && (belief.deviation - deviation).abs() < 1e-12);
    }
    let losses: Vec<f64> = (0..4).map(|k| f64::from(k * k)).collect();
    let forest = Forest::fit(&cube(1), &rows(&units, &losses), &Settings::default(), &mut rng(2));
    let trees = forest.predictions(&[0.5]);
    let mean = trees.iter().sum::<f64>() / trees.len() as f64;
    let variance = trees.iter().map(|tree| (tree - mean).powi(2)).sum::<f64>() / trees.len() as f64;
    let belief = forest.belief(&[0.5]);
    assert!((belief.mean - mean).abs() < 1e-12 && (belief.deviation - variance.sqrt()).abs() < 1e-9);
}

#[test]
fn every_kind_of_tree_of_full_depth_knows_its_rows() {
    let sgd = Some(Condition::eq("method", 1));
    let parameters = vec![
        Parameter::new("method", choices(3)),
        Parameter { when: sgd.clone(), ..float("rate", 1e-4, 1.0, Scale::Log) },
        Parameter { when: sgd, ..Parameter::new("kind", choices(5)) },
        Parameter::new("size", int(1, 40, Scale::Linear)),
        Parameter::new("many", choices(1000)),
    ];
    let space = Space::new(parameters, vec![]).unwrap();
    let mut draw = rng(7);
    let units: Vec<Vec<f64>> =
        (0..80).map(|_| space.to_unit(&space.draw(&draw.uniforms(space.len())))).collect();
    let losses: Vec<f64> = (0..80).map(|_| draw.normal()).collect();
    for splits in [Splits::Best, Splits::Between, Splits::Random] {
        let settings = Settings { trees: 3, splits, bootstrap: false, ..Settings::default() };
        let all = rows(&units, &losses);
        let mut forest = Forest::fit(&space, &all[..50], &settings, &mut rng(3));
        for row in &all[50..] {
            forest.push(*row, &mut draw);
        }
        assert_eq!(forest.len(), 80);
        for row in &all {
            let belief = forest.belief(row.unit);
            assert!((belief.mean - row.loss).abs() < 1e-12, "{splits:?}");
            assert!(belief.deviation < 1e-5, "{splits:?}");
        }
    }
}

#[test]
fn a_tenth_of_the_rows_pushed_one_by_one_teaches_as_much_as_at_once() {
    let reference = reference().forests;
    let all = rows(&reference.x, &reference.y);
    let error = |grown: usize| {
        let one = |seed: u64| {
            let mut rng = rng(seed);
            let mut forest = Forest::fit(&cube(4), &all[..grown], &Settings::default(), &mut rng);
            all[grown..].iter().for_each(|row| forest.push(*row, &mut rng));
            let beliefs = forest.beliefs(&reference.tests);
            let squares = beliefs.iter().zip(&reference.truth).map(|(b, t)| (b.mean - t).powi(2));
            (squares.sum::<f64>() / beliefs.len() as f64).sqrt()
        };
        (0..40).map(one).sum::<f64>() / 40.0
    };
    let (at_once, last_tenth) = (error(150), error(136));
    // What the sampler does at most between two fits.
    assert!((last_tenth / at_once - 1.0).abs() < 0.06, "{last_tenth} {at_once}");
}

#[test]
fn choices_are_split_into_the_best_two_sets() {
    let space = Space::new(vec![Parameter::new("c", choices(6))], vec![]).unwrap();
    let level = [5.0, 1.0, 5.2, 0.9, 5.1, 1.1];
    let units: Vec<Vec<f64>> = (0..6).map(|c| vec![(f64::from(c) + 0.5) / 6.0]).collect();
    let settings = Settings { max_depth: 1, ..tree() };
    let forest = Forest::fit(&space, &rows(&units, &level), &settings, &mut rng(1));
    for (unit, level) in units.iter().zip(level) {
        let expected = if level > 3.0 { 5.1 } else { 1.0 };
        assert!((forest.belief(unit).mean - expected).abs() < 1e-12);
    }
}

#[test]
fn an_inactive_parameter_is_told_from_every_value() {
    let on = Some(Condition::eq("on", 1));
    let parameters =
        vec![Parameter::new("on", choices(2)), Parameter { when: on, ..float("x", 0.0, 1.0, Scale::Linear) }];
    let space = Space::new(parameters, vec![]).unwrap();
    let units = [vec![0.25, f64::NAN], vec![0.75, 0.0], vec![0.75, 1.0]];
    let settings = Settings { splits: Splits::Best, ..Settings::default() };
    let settings = Settings { bootstrap: false, ..settings };
    let forest = Forest::fit(&space, &rows(&units, &[1.0, 2.0, 3.0]), &settings, &mut rng(5));
    assert_eq!(forest.belief(&[0.25, f64::NAN]).mean, 1.0);
    assert_eq!(forest.belief(&[0.75, 0.1]).mean, 2.0);
    assert_eq!(forest.belief(&[0.75, 0.9]).mean, 3.0);
}

#[test]
fn no_rows_equal_rows_and_twice_the_same_point_are_no_trouble() {
    let space = cube(2);
    let mut forest = Forest::fit(&space, &[], &Settings::default(), &mut rng(1));
    assert!(forest.is_empty());
    assert_eq!((forest.belief(&[0.5, 0.5]).mean, forest.belief(&[0.5, 0.5]).deviation), (0.0, 1.0));
    forest.push_believed(&[0.5, 0.5], 3.0, &mut rng(2));
    assert_eq!(forest.belief(&[0.1, 0.9]).mean, 3.0);
    let units = vec![vec![0.3, 0.3]; 4];
    let settings = Settings { bootstrap: false, ..Settings::default() };
    let forest = Forest::fit(&space, &rows(&units, &[1.0, 2.0, 3.0, 6.0]), &settings, &mut rng(1));
    let belief = forest.belief(&[0.9, 0.0]);
    assert!((belief.mean - 3.0).abs() < 1e-12 && (belief.deviation.powi(2) - 3.5).abs() < 1e-12);
}

// ---- the sampler

#[test]
fn wrong_options_are_refused() {
    let mut spec = Spec::new("s", (SPHERE.space)(), Metrics::single("loss", Direction::Minimize));
    for (option, value) in [
        ("trees", Json::from(1)),
        ("random_share", 1.5.into()),
        ("effort", 0.0.into()),
        ("max_trials", 10.into()),
        ("transform", "ln".into()),
    ] {
        spec.policy.sampler = Component::named("forest").with(option, value);
        let problem = resolve(&spec).unwrap_err().to_string();
        assert!(problem.contains(option) || problem.contains("ln"), "{problem}");
    }
}

#[test]
fn both_kinds_of_trees_and_all_transforms_find_a_small_loss() {
    for (option, value) in [
        ("extra_trees", Json::from(false)),
        ("bootstrap", true.into()),
        ("trees", 10.into()),
        ("transform", "log".into()),
        ("transform", "none".into()),
        ("max_trials", 50.into()),
    ] {
        let component = Component::named("forest").with(option, value.clone());
        let mut spec = Spec::new("s", (SPHERE.space)(), Metrics::single("loss", Direction::Minimize));
        spec.policy.sampler = component;
        spec.seed = 3;
        // Random search has a median of 5.6 after 80 trials.
        let found = best(&run(spec, 80, SPHERE.regret));
        assert!(found < 3.5, "{option} {value}: {found}");
    }
}

/// Fair coins fall heads 15 times or more of 20 in 2.1 % of cases.
const SEEDS: u64 = 20;
const WINS: usize = 15;

fn check_against_random(function: &Function, trials: usize) {
    let regret = |name: &str, seed| best(&study_of(function, Component::named(name), seed, trials));
    let ours: Vec<f64> = (0..SEEDS).map(|seed| regret("forest", seed)).collect();
    let random: Vec<f64> = (0..SEEDS).map(|seed| regret("random", seed)).collect();
    let wins = ours.iter().zip(&random).filter(|(ours, random)| ours < random).count();
    let median = |mut losses: Vec<f64>| {
        losses.sort_by(f64::total_cmp);
        losses[losses.len() / 2]
    };
    let found = format!(
        "{}: {wins} wins of {SEEDS}, median regret {:.4}, random {:.4}",
        function.name,
        median(ours),
        median(random)
    );
    println!("{found}");
    assert!(wins >= WINS, "{found}");
}

#[test]
fn wins_on_sphere() {
    check_against_random(&SPHERE, 100);
}

#[test]
fn wins_on_branin() {
    check_against_random(&BRANIN, 60);
}

#[test]
fn wins_on_hartmann6() {
    check_against_random(&HARTMANN6, 100);
}

#[test]
fn wins_on_levy() {
    check_against_random(&LEVY, 100);
}

#[test]
fn wins_on_a_skewed_quadratic_on_log_scales() {
    check_against_random(&SKEWED, 60);
}

#[test]
fn wins_on_a_conditional_space() {
    check_against_random(&BRANCHES, 100);
}

#[test]
fn wins_on_ten_mixed_parameters() {
    check_against_random(&TEN, 100);
}
