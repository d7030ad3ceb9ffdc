//! Samplers against the papers they follow: what they reach after so many trials, on average over seeds,
//! beside what other programs of the same algorithms reach; and the rule by which one search follows another.
//!
//! Seeds are fixed. A mean is taken for wrong where it is more than four standard errors of the difference
//! away: of right ones at other seeds, one comparison in 16,000 would fail.

#[path = "support/functions.rs"]
mod functions;

use functions::{Function, SPHERE, float, started};
use luthier_core::engine::{Engine, Next, written};
use luthier_core::event::{Event, Origin, Outcome, Work};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::rng::{Purpose, Rng};
use luthier_core::space::{Distribution, Parameter, Scale, Space};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use serde_json::Value as Json;

/// Standard errors between two means that are the same.
const ERRORS: f64 = 4.0;

fn read(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn count(json: &Json) -> usize {
    json.as_u64().unwrap() as usize
}

fn spec_of(space: Space, sampler: Component, seed: u64) -> Spec {
    let mut spec = Spec::new("paper", space, Metrics::single("loss", Direction::Minimize));
    (spec.policy.sampler, spec.seed) = (sampler, seed);
    spec
}

fn complete(study: &mut Study, work: Work, loss: &impl Fn(&[f64]) -> f64) {
    let values = vec![loss(&study.trials()[work.trial as usize].point.0)];
    let outcome = Outcome::Completed { values };
    study.apply(&Event::Ended { work, outcome, seconds: 0.0, used: None }).unwrap();
}

/// Runs `trials` more trials, `at_once` of them at a time, which end in order.
fn go_on(
    study: &mut Study,
    engine: &mut Engine,
    trials: usize,
    at_once: usize,
    loss: &impl Fn(&[f64]) -> f64,
) {
    let last = study.finished().len() + trials;
    let mut running: Vec<Work> = Vec::new();
    while study.finished().len() < last {
        match engine.next(study).unwrap() {
            Next::Decide(event) => study.apply(&event).unwrap(),
            Next::Claim(work) => {
                study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
                running.push(work);
                if running.len() == at_once {
                    for work in running.drain(..) {
                        complete(study, work, loss);
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The smallest loss so far after each trial. The first `founders` trials are drawn at random, as in the
/// papers: the samplers' own founders cover the space more evenly.
fn course(
    spec: Spec,
    founders: usize,
    trials: usize,
    at_once: usize,
    loss: &impl Fn(&[f64]) -> f64,
) -> Vec<f64> {
    let mut study = Study::new(spec);
    let mut rng = Rng::stream(study.spec().seed, 0, Purpose::Objective, 0);
    for trial in 0..founders as u32 {
        let cube = rng.uniforms(study.space().len());
        let params = written(study.space(), &study.space().from_unit(&cube));
        study.apply(&started(&study, trial, params, Origin::Enqueued)).unwrap();
        study.apply(&Event::Claimed { work: Work::of(trial), attempt: 1 }).unwrap();
        complete(&mut study, Work::of(trial), loss);
    }
    let mut engine = Engine::new(&study).unwrap();
    go_on(&mut study, &mut engine, trials - founders, at_once, loss);
    let mut best = f64::INFINITY;
    let mut best_so_far = |loss: f64| {
        best = best.min(loss);
        best
    };
    study.trials().iter().map(|trial| best_so_far(trial.values().unwrap()[0])).collect()
}

/// The mean, and its standard error.
fn mean_of(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0) / n).sqrt())
}

/// Compares with rows of (trials, mean, standard error of the mean).
fn check_means(what: &str, means: &Json, courses: &[Vec<f64>]) {
    for row in means.as_array().unwrap() {
        let trials = count(&row[0]);
        let (expected, theirs) = (row[1].as_f64().unwrap(), row[2].as_f64().unwrap());
        let reached: Vec<f64> = courses.iter().map(|course| course[trials - 1]).collect();
        let (found, own) = mean_of(&reached);
        let errors = (found - expected) / own.hypot(theirs);
        let told = format!(
            "{what}, {trials} trials: {found:.4} ± {own:.4}, theirs {expected:.4} ± {theirs:.4}: {errors:+.1}"
        );
        println!("{told}");
        assert!(errors.abs() < ERRORS, "{told} standard errors");
    }
}

// ---- evolution with regularised age

/// No two points are equally good; the best has choice `k` modulo `choices` for parameter `k`. Equal
/// neighbours cost more.
fn loss_of_choices(point: &[f64], choices: usize) -> f64 {
    let term = |k: usize| {
        let away = (point[k] as usize + choices - k % choices) % choices;
        let same = point.get(k + 1) == Some(&point[k]);
        ((k + 2) as f64).sqrt() * (away as f64 / (choices - 1) as f64 + f64::from(u8::from(same)))
    };
    (0..point.len()).map(term).sum()
}

fn check_regularized_evolution(name: &str, seeds: u64) {
    let all = read(include_str!("reference/regularized_evolution.json"));
    let case = all["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
    let (population, sample) = (count(&case["population"]), count(&case["sample"]));
    let (parameters, choices) = (count(&case["parameters"]), count(&case["choices"]));
    let parameter = |k: usize| {
        let choices = (0..choices as i64).map(Into::into).collect();
        Parameter::new(format!("c{k}"), Distribution::Categorical { choices })
    };
    let space = Space::new((0..parameters).map(parameter).collect(), vec![]).unwrap();
    let sampler =
        Component::named("regularized_evolution").with("population", population).with("sample", sample);
    let means = &case["means"];
    let trials = count(&means.as_array().unwrap().last().unwrap()[0]);
    let one = |seed: u64| {
        let spec = spec_of(space.clone(), sampler.clone(), seed);
        course(spec, population, trials, 1, &|point: &[f64]| loss_of_choices(point, choices))
    };
    let courses: Vec<Vec<f64>> = (0..seeds).map(one).collect();
    check_means(name, means, &courses);
}

#[test]
fn evolution_with_regularised_age_is_that_of_its_paper() {
    check_regularized_evolution("wide", 200);
    check_regularized_evolution("wide, old", 200);
}

#[test]
fn evolution_with_regularised_age_is_the_papers_without_repeats_where_points_are_few() {
    check_regularized_evolution("small", 400);
}

// ---- differential evolution

/// Rastrigin's function over five dimensions, off centre as [`SPHERE`].
const RASTRIGIN: Function = Function {
    name: "rastrigin",
    regret: |x| {
        let turn = 2.0 * std::f64::consts::PI;
        let offsets = x.iter().zip([1.3, -2.1, 0.4, 3.0, -0.7]).map(|(x, c)| x - c);
        offsets.map(|y| 10.0 + y * y - 10.0 * (turn * y).cos()).sum()
    },
    ..SPHERE
};

/// One trial at a time, and a whole generation at a time as in the paper.
fn check_shade(function: &Function) {
    let all = read(include_str!("reference/shade.json"));
    let members = count(&all["members"]);
    for case in all["cases"].as_array().unwrap().iter().filter(|case| case["loss"] == function.name) {
        let (at_once, means) = (count(&case["at_once"]), &case["means"]);
        let trials = count(&means.as_array().unwrap().last().unwrap()[0]);
        let one = |seed: u64| {
            let sampler = Component::named("differential_evolution").with("population", members);
            let spec = spec_of((function.space)(), sampler, seed);
            let losses = course(spec, members, trials, at_once, &function.regret);
            losses.into_iter().map(f64::log10).collect::<Vec<f64>>()
        };
        let courses: Vec<Vec<f64>> = (0..100).map(one).collect();
        check_means(&format!("{}, {at_once} at once", function.name), means, &courses);
    }
}

#[test]
fn differential_evolution_is_shade_on_sphere() {
    check_shade(&SPHERE);
}

#[test]
fn differential_evolution_is_shade_on_rastrigin() {
    check_shade(&RASTRIGIN);
}

// ---- restarts of CMA-ES

/// Trials of one search of a constant loss: generations until all losses of so many were the same (Hansen
/// 2009).
fn length(parameters: usize, population: usize) -> usize {
    population * (10 + (30 * parameters).div_ceil(population))
}

/// Generation, population and step size of the present search.
fn standing(engine: &mut Engine, study: &Study) -> (usize, usize, f64) {
    let text = engine.explain(study).unwrap().unwrap();
    let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
    (words[1].parse().unwrap(), words[3].parse().unwrap(), words[8].parse().unwrap())
}

/// Population and first step size of one search after the other, where the loss is constant.
fn searches(restart: &str, parameters: usize, seed: u64, trials: usize) -> Vec<(usize, f64)> {
    let names = (0..parameters).map(|k| format!("x{k}"));
    let space = names.map(|name| float(&name, 0.0, 1.0, Scale::Linear)).collect();
    let sampler = Component::named("cma_es").with("restart", restart);
    let mut study = Study::new(spec_of(Space::new(space, vec![]).unwrap(), sampler, seed));
    let mut engine = Engine::new(&study).unwrap();
    let mut found = Vec::new();
    while study.finished().len() < trials {
        let (generation, population, sigma) = standing(&mut engine, &study);
        assert_eq!(generation, 0, "a search takes as many trials as told");
        found.push((population, sigma));
        let own = length(parameters, population);
        go_on(&mut study, &mut engine, own - 1, 1, &|_: &[f64]| 0.0);
        assert_eq!(standing(&mut engine, &study).0, own / population - 1);
        go_on(&mut study, &mut engine, 1, 1, &|_: &[f64]| 0.0);
    }
    found
}

/// The default of the first step size, as it is told.
const SIGMA: f64 = 0.167;

#[test]
fn populations_double_as_those_of_cma() {
    let all = read(include_str!("reference/restarts.json"));
    let doubled = all["doubled"].as_array().unwrap().iter().map(count);
    let expected: Vec<(usize, f64)> = doubled.map(|population| (population, SIGMA)).collect();
    assert_eq!(searches("ipop", 2, 1, 1_200), expected);
}

/// Small searches follow while they have spent less than large ones. Hansen counts the first search to
/// neither; here it counts to the large ones.
#[test]
fn small_populations_beside_large_ones_are_hansens() {
    let all = read(include_str!("reference/restarts.json"));
    let usual = count(&all["usual"]);
    // What is beyond the mean, and the variance of that; the logarithms of the step sizes' shares.
    let (mut beyond, mut variance, mut known, mut shares) = (0.0, 0.0, 0, Vec::new());
    for seed in 0..30 {
        let (mut large, mut spent) = (usual, [0, 0]);
        for (k, (population, sigma)) in searches("bipop", 1, seed, 1_500).into_iter().enumerate() {
            let is_small = k > 1 && spent[1] < spent[0];
            if is_small {
                let rows = all["small"].as_array().unwrap();
                let row = rows.iter().find(|row| count(&row["large"]) == large).unwrap();
                let most = count(&row["most"]);
                assert!((usual..=most).contains(&population), "{population} beside {large}");
                beyond += population as f64 - row["mean"].as_f64().unwrap();
                variance += row["variance"].as_f64().unwrap();
                known += usize::from(most > usual);
                shares.push((sigma / SIGMA).log10());
            } else {
                large *= if k > 0 { 2 } else { 1 };
                assert_eq!((population, sigma), (large, SIGMA));
            }
            spent[usize::from(is_small)] += length(1, population);
        }
    }
    assert!(known > 100, "{known} small searches beside large ones that leave a choice");
    let errors = beyond / variance.sqrt();
    println!("small populations: {errors:+.1} standard errors from their mean over {known}");
    assert!(errors.abs() < ERRORS, "{errors:+.1} standard errors over {known}");
    // Uniform from −2 to 0.
    assert!(shares.iter().all(|share| (-2.01..=0.01).contains(share)), "{shares:?}");
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    let errors = (mean + 1.0) / (4.0 / 12.0 / shares.len() as f64).sqrt();
    println!("step sizes: 10 to the {mean:.2}, {errors:+.1} standard errors from -1");
    assert!(errors.abs() < ERRORS, "10 to the {mean:.2}, {errors:+.1} standard errors from -1");
}
