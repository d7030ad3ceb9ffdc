//! Samplers that evolve a population: against other implementations' numbers, against random search, and against what
//! they promise.

#[path = "support/compared.rs"]
mod compared;
#[path = "support/fronts.rs"]
mod fronts;
#[path = "support/functions.rs"]
mod functions;

use std::sync::Arc;

use compared::{SEEDS, WINS};
use fronts::{PROBLEMS, ZDT1, study_of, volume};
use functions::{
    BRANCHES, BRANIN, Function, HARTMANN6, LEVY, SKEWED, SPHERE, TEN, best, float, int, run, started,
};
use luthier_core::engine::{Engine, Next, resolve, written};
use luthier_core::event::{Event, Failure, Origin, Outcome, Work};
use luthier_core::metric::{Direction, Metric, Metrics};
use luthier_core::pareto::front;
use luthier_core::rng::{Purpose, Rng};
use luthier_core::sampler::coarse_to_fine::CoarseToFine;
use luthier_core::sampler::differential_evolution::{Memory, Settings, Success, current_to_best_1, rand_1};
use luthier_core::sampler::nsga2::{Breeding, Nsga2};
use luthier_core::sampler::nsga3::{Frame, Nsga3, fill_niches, nearest};
use luthier_core::sampler::variation::{polynomial, simulated_binary};
use luthier_core::space::{Condition, Distribution, Parameter, Scale, Space};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use serde_json::Value as Json;

fn reference(what: &str) -> Vec<Json> {
    let all: Json = serde_json::from_str(include_str!("reference/evolution.json")).unwrap();
    all[what].as_array().unwrap().clone()
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn rows(json: &Json) -> Vec<Vec<f64>> {
    json.as_array().unwrap().iter().map(numbers).collect()
}

fn number(json: &Json) -> f64 {
    json.as_f64().unwrap()
}

fn close(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-9, "{what}: {found} is not {expected}");
}

fn all_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        close(*found, *expected, what);
    }
}

// ---- operators

#[test]
fn simulated_binary_crossover_is_optunas() {
    for case in reference("binary") {
        let [a, b, eta, u] = ["a", "b", "eta", "u"].map(|key| number(&case[key]));
        let (low, high) = simulated_binary(a, b, eta, u);
        all_close(&[low, high], &numbers(&case["children"]), "children");
        assert_eq!(simulated_binary(b, a, eta, u), (low, high));
    }
    assert_eq!(simulated_binary(0.3, 0.3, 15.0, 0.9), (0.3, 0.3));
}

#[test]
fn polynomial_mutation_is_optunas() {
    for case in reference("polynomial") {
        let [x, eta, u] = ["x", "eta", "u"].map(|key| number(&case[key]));
        close(polynomial(x, eta, u), number(&case["moved"]), "moved");
    }
}

#[test]
fn differences_are_scipys() {
    for case in reference("differences") {
        let (members, best, scale) = (rows(&case["members"]), numbers(&case["best"]), number(&case["scale"]));
        for k in 0..best.len() {
            let [a, b, c, _, own] = [0, 1, 2, 3, 4].map(|member: usize| members[member][k]);
            close(rand_1(a, b, c, scale), number(&case["rand1"][k]), "rand1");
            let found = current_to_best_1(own, best[k], a, b, scale);
            close(found, number(&case["current_to_best1"][k]), "current to best");
        }
    }
}

#[test]
fn success_is_remembered_as_weighted_means() {
    let mut memory = Memory::default();
    let success =
        |scale, crossover_rate, gain| Success { settings: Settings { scale, crossover_rate }, gain };
    let before = memory.means[1];
    memory.learn(&[success(0.4, 0.2, 1.0), success(0.8, 1.0, 3.0)]);
    // Lehmer's mean (0.25·0.16 + 0.75·0.64) / (0.25·0.4 + 0.75·0.8), arithmetic mean 0.25·0.2 + 0.75·1.
    close(memory.means[0].scale, 0.52 / 0.7, "scale");
    close(memory.means[0].crossover_rate, 0.8, "rate");
    assert_eq!(memory.means[1], before);
    memory.learn(&[]);
    assert_eq!(memory.means[1], before);
    memory.learn(&[success(0.4, 0.2, f64::INFINITY), success(0.8, 1.0, 3.0)]);
    close(memory.means[1].scale, 0.8 / 1.2, "scale of equal weights");
    close(memory.means[1].crossover_rate, 0.6, "rate of equal weights");
}

// ---- survival

fn breeding(population: Option<usize>, offspring: usize) -> Breeding {
    Breeding { population, offspring, ..Breeding::default() }
}

#[test]
fn survivors_are_optunas() {
    for case in reference("survivors") {
        let (losses, size) = (rows(&case["losses"]), case["size"].as_u64().unwrap() as usize);
        let study = recorded(&losses);
        let nsga2 = Nsga2 { breeding: breeding(Some(size), losses.len() - size) };
        let chosen: Vec<u32> = numbers(&case["chosen"]).into_iter().map(|k| k as u32).collect();
        assert_eq!(nsga2.parents(&study), chosen);
    }
}

#[test]
fn frames_are_pymoos() {
    for updates in reference("frames") {
        let mut frame = Frame::default();
        for update in updates.as_array().unwrap() {
            let losses = rows(&update["losses"]);
            let all: Vec<&[f64]> = losses.iter().map(Vec::as_slice).collect();
            frame.update(&all, &all[..update["front"].as_u64().unwrap() as usize]);
            all_close(&frame.ideal, &numbers(&update["ideal"]), "ideal");
            all_close(&frame.extremes.concat(), &rows(&update["extremes"]).concat(), "extremes");
            all_close(&frame.nadir, &numbers(&update["nadir"]), "nadir");
            all_close(&frame.normalised(&frame.nadir), &vec![1.0; frame.nadir.len()], "normalised");
        }
    }
}

#[test]
fn the_nearest_directions_are_optunas() {
    for case in reference("niches") {
        let directions = rows(&case["directions"]);
        for (k, point) in rows(&case["points"]).iter().enumerate() {
            let (direction, distance) = nearest(point, &directions);
            assert_eq!(direction as u64, case["nearest"][k].as_u64().unwrap());
            close(distance, number(&case["distances"][k]), "distance");
        }
    }
}

#[test]
fn niches_are_filled_evenly_and_first_by_the_nearest() {
    let rivals = [(0, 0.5), (0, 0.1), (1, 0.3), (1, 0.2), (2, 0.9), (0, 0.4)];
    for draw in 0..20 {
        let mut rng = Rng::stream(1, 0, Purpose::Objective, draw);
        let mut chosen = fill_niches(4, &[1], &rivals, 2, &mut rng);
        chosen.sort_unstable();
        assert_eq!(chosen, [1, 4], "directions 0 and 2 had nobody");
        let chosen = fill_niches(4, &[1, 1, 1], &rivals, 4, &mut rng);
        let of = |direction| chosen.iter().filter(|k| rivals[**k].0 == direction).count();
        assert_eq!((of(0), of(1), of(2)), (3, 0, 1), "direction 1 has three members already");
        assert_eq!(fill_niches(4, &[], &rivals, 6, &mut rng).len(), 6);
    }
}

#[test]
fn there_are_as_many_directions_as_parents_allow() {
    let count = |objectives, population| Nsga3::default().directions(objectives, population).len();
    assert_eq!((count(1, 50), count(2, 50), count(3, 50), count(3, 92)), (1, 50, 45, 91));
    // Two layers: C(7, 4) + C(6, 4) for five metrics, C(9, 7) + 8 for eight; the axes at least.
    assert_eq!((count(5, 50), count(8, 50), count(60, 50)), (35 + 15, 36 + 8, 60));
}

/// A study of one parameter, of which only losses matter.
fn recorded(losses: &[Vec<f64>]) -> Study {
    let outcome = |row: &Vec<f64>| Outcome::Completed { values: row.clone() };
    ended(losses[0].len(), &losses.iter().map(outcome).collect::<Vec<_>>())
}

/// A study whose trials ended like this, one after the other.
fn ended(objectives: usize, outcomes: &[Outcome]) -> Study {
    let space = Space::new(vec![float("x", 0.0, 1.0, Scale::Linear)], vec![]).unwrap();
    let metric = |k: usize| Metric { name: format!("f{k}").into(), direction: Direction::Minimize };
    let metrics = Metrics {
        objectives: (0..objectives).map(metric).collect(),
        constraints: vec!["excess".into()],
        ..Metrics::single("f", Direction::Minimize)
    };
    let mut study = Study::new(Spec::new("recorded", space, metrics));
    for (trial, outcome) in outcomes.iter().enumerate() {
        let unit = (trial as f64 + 0.5) / outcomes.len() as f64;
        begin(&mut study, trial as u32, &[unit]);
        finish(&mut study, trial as u32, outcome.clone());
    }
    study
}

fn begin(study: &mut Study, trial: u32, cube: &[f64]) {
    let params = written(study.space(), &study.space().from_unit(cube));
    study.apply(&started(study, trial, params, Origin::Sampler)).unwrap();
    study.apply(&Event::Claimed { work: Work::of(trial), attempt: 1 }).unwrap();
}

fn finish(study: &mut Study, trial: u32, outcome: Outcome) {
    let work = Work::of(trial);
    study.apply(&Event::Ended { work, outcome, seconds: 0.0, used: None }).unwrap();
}

fn report(study: &mut Study, trial: u32, step: u64, name: &str, value: f64) {
    let values = vec![(Arc::from(name), value)];
    study.apply(&Event::Reported { work: Work::of(trial), step, values, seconds: 0.0 }).unwrap();
}

fn failed() -> Outcome {
    Outcome::Failed { reason: Failure::ExitCode { code: 1 }, detail: "".into() }
}

#[test]
fn completed_trials_come_before_pruned_broken_and_failed_ones() {
    let mut study = ended(1, &[]);
    for trial in 0..8 {
        begin(&mut study, trial, &[0.1 * f64::from(trial)]);
    }
    finish(&mut study, 0, failed());
    report(&mut study, 1, 3, "f0", 0.0);
    report(&mut study, 2, 5, "f0", 9.0);
    finish(&mut study, 1, Outcome::Pruned);
    finish(&mut study, 2, Outcome::Pruned);
    report(&mut study, 3, 9, "excess", 2.0);
    finish(&mut study, 3, Outcome::Completed { values: vec![-5.0] });
    report(&mut study, 4, 9, "excess", 1.0);
    finish(&mut study, 4, Outcome::Completed { values: vec![-4.0] });
    finish(&mut study, 5, Outcome::Completed { values: vec![7.0] });
    report(&mut study, 6, 9, "excess", -1.0);
    finish(&mut study, 6, Outcome::Completed { values: vec![8.0] });
    // From the best to the worst; trial 7 still runs.
    let order = [5, 6, 2, 1, 4, 3, 0];
    for size in 2..7 {
        let mut expected = order[..size].to_vec();
        expected.sort_unstable();
        let breeding = breeding(Some(size), 7 - size);
        let nsga2 = Nsga2 { breeding: breeding.clone() };
        assert_eq!(nsga2.parents(&study), expected);
        let nsga3 = Nsga3 { breeding, ..Nsga3::default() };
        assert_eq!(nsga3.parents(&study), expected);
    }
}

#[test]
fn one_at_a_time_the_parents_are_the_best_of_all() {
    let mut rng = Rng::stream(5, 0, Purpose::Objective, 0);
    let losses: Vec<Vec<f64>> = (0..200).map(|_| vec![rng.uniform()]).collect();
    let mut order: Vec<u32> = (0..200).collect();
    order.sort_by(|a, b| losses[*a as usize][0].total_cmp(&losses[*b as usize][0]));
    order.truncate(50);
    order.sort_unstable();
    let study = recorded(&losses);
    assert_eq!(Nsga2::default().parents(&study), order);
    assert_eq!(Nsga3::default().parents(&study), order);
}

// ---- proposals

/// The next trial of a study that runs under `sampler`.
fn next_point(study: &Study) -> Vec<f64> {
    let mut applied = study.clone();
    match Engine::new(study).unwrap().next(study).unwrap() {
        Next::Decide(event) => applied.apply(&event).unwrap(),
        other => panic!("{other:?}"),
    }
    applied.trials().last().unwrap().point.0.to_vec()
}

/// Two optimizers with a rate each, and some depth.
fn conditional() -> Space {
    let choices = Distribution::Categorical { choices: vec!["sgd".into(), "adam".into()].into() };
    let when = |name: &str| Some(Condition::eq("optimizer", name));
    Space::new(
        vec![
            Parameter::new("optimizer", choices),
            Parameter { when: when("sgd"), ..float("sgd_rate", 1e-4, 1.0, Scale::Log) },
            Parameter { when: when("adam"), ..float("adam_rate", 1e-4, 1.0, Scale::Log) },
            Parameter::new("depth", int(1, 9, Scale::Linear)),
        ],
        vec![],
    )
    .unwrap()
}

#[test]
fn children_inherit_what_their_choice_opens() {
    // Both kinds of parents have one rate each; without mutation a child has one of the two.
    let mut spec = Spec::new("test", conditional(), Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = Component::named("nsga2")
        .with("population", 4)
        .with("mutation_rate", 0.0)
        .with("crossover_rate", 1.0)
        .with("crossover_eta", 1e6);
    let (mut sgd, mut adam) = (0, 0);
    for seed in 0..60 {
        spec.seed = seed;
        let mut study = Study::new(Spec { policy: resolve(&spec).unwrap(), ..spec.clone() });
        for (trial, cube) in
            [[0.2, 0.3, 0.0, 0.1], [0.8, 0.0, 0.6, 0.9], [0.2, 0.3, 0.0, 0.9], [0.8, 0.0, 0.6, 0.1]]
                .iter()
                .enumerate()
        {
            begin(&mut study, trial as u32, cube);
            finish(&mut study, trial as u32, Outcome::Completed { values: vec![1.0] });
        }
        let (space, point) = (study.space(), next_point(&study));
        let unit = space.to_unit(&luthier_core::space::Point(point.clone().into()));
        if point[0] == 0.0 {
            sgd += 1;
            assert!((unit[1] - 0.3).abs() < 1e-3 && unit[2].is_nan(), "{unit:?}");
        } else {
            adam += 1;
            assert!((unit[2] - 0.6).abs() < 1e-3 && unit[1].is_nan(), "{unit:?}");
        }
    }
    assert!(sgd > 10 && adam > 10, "{sgd} and {adam}");
}

#[test]
fn populations_that_have_run_together_still_try_something_new() {
    for sampler in ["differential_evolution", "nsga2", "nsga3", "regularized_evolution"] {
        let mut spec = Spec::new("test", conditional(), Metrics::single("loss", Direction::Minimize));
        spec.policy.sampler = Component::named(sampler);
        let mut study = Study::new(Spec { policy: resolve(&spec).unwrap(), ..spec.clone() });
        for trial in 0..60 {
            begin(&mut study, trial, &[0.2, 0.3, 0.0, 0.5]);
            finish(&mut study, trial, Outcome::Completed { values: vec![1.0] });
        }
        let old = study.trials()[0].point.0.to_vec();
        let new = next_point(&study);
        assert!(new.iter().zip(&old).any(|(a, b)| a.to_bits() != b.to_bits()), "{sampler}");
    }
}

#[test]
fn regularized_evolution_changes_one_parameter_of_a_trial_that_lives() {
    for seed in 0..20 {
        let mut spec = Spec::new("test", (TEN.space)(), Metrics::single("loss", Direction::Minimize));
        spec.policy.sampler =
            Component::named("regularized_evolution").with("population", 8).with("sample", 3);
        spec.seed = seed;
        spec.policy = resolve(&spec).unwrap();
        let study = run(spec, 60, TEN.regret);
        for trial in &study.trials()[8..] {
            let n = trial.number as usize;
            let changes = |parent: &luthier_core::trial::Trial| {
                trial.point.0.iter().zip(&parent.point.0).filter(|(a, b)| a != b).count()
            };
            assert!(study.trials()[n - 8..n].iter().any(|parent| changes(parent) == 1), "trial {n}");
        }
    }
}

#[test]
fn regions_shrink_stage_by_stage_and_no_further_than_told() {
    let coarse = CoarseToFine { every: Some(10), shrink: 0.5, finest: 0.1, ..CoarseToFine::default() };
    let study = ended(1, &[]);
    let widths: Vec<f64> = [0, 9, 10, 19, 20, 30, 40, 1_000_000].map(|n| coarse.width(&study, n)).into();
    assert_eq!(widths, [1.0, 1.0, 0.5, 0.5, 0.25, 0.125, 0.1, 0.1]);
    let mut spec = study.spec().clone();
    spec.limits.trials = Some(500);
    // Stages of 50 trials with that limit, of 20 without.
    let limited = Study::new(spec);
    assert_eq!([49, 50].map(|n| CoarseToFine::default().width(&limited, n)), [1.0, 0.7]);
    assert_eq!([19, 20].map(|n| CoarseToFine::default().width(&study, n)), [1.0, 0.7]);
}

#[test]
fn fine_trials_lie_in_a_region_around_one_of_the_best() {
    let sampler = Component::named("coarse_to_fine").with("every", 20).with("global", 0.0).with("keep", 2);
    for seed in 0..20 {
        let mut spec = Spec::new("test", (SPHERE.space)(), Metrics::single("loss", Direction::Minimize));
        spec.policy.sampler = sampler.clone();
        spec.seed = seed;
        let study = run(spec, 120, SPHERE.regret);
        let space = study.space();
        for trial in &study.trials()[20..] {
            let n = trial.number as usize;
            let width = 0.7f64.powi((n / 20) as i32);
            let mut before: Vec<usize> = (0..n).collect();
            before.sort_by(|a, b| {
                let loss = |k: usize| study.trials()[k].values().unwrap()[0];
                loss(*a).total_cmp(&loss(*b)).then(a.cmp(b))
            });
            let own = space.to_unit(&trial.point);
            let is_near = |k: &usize| {
                let centre = space.to_unit(&study.trials()[*k].point);
                // The interval is moved inside the range where it sticks out, so it reaches further on the other side.
                let within = |(x, c): (&f64, &f64)| {
                    let from = (c - width / 2.0).clamp(0.0, 1.0 - width);
                    (from - 1e-9..=from + width + 1e-9).contains(x)
                };
                own.iter().zip(&centre).all(within)
            };
            assert!(before[..2].iter().any(is_near), "seed {seed}, trial {n}");
        }
    }
}

#[test]
fn members_of_differential_evolution_only_improve() {
    // Of each member's trials, every one after the founder is made of the best so far and three others, so the best
    // loss of the population never rises, and it falls by far within a few hundred trials.
    let regret = |trials| {
        let mut spec = Spec::new("test", (SPHERE.space)(), Metrics::single("loss", Direction::Minimize));
        spec.policy.sampler = Component::named("differential_evolution");
        best(&run(spec, trials, SPHERE.regret))
    };
    assert!(regret(600) < 1e-3 * regret(60), "{} after {}", regret(600), regret(60));
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let check = |sampler: &str, option: &str, value: Json| {
        let mut spec = Spec::new("test", conditional(), Metrics::single("loss", Direction::Minimize));
        spec.policy.sampler = Component::named(sampler).with(option, value);
        let error = resolve(&spec).unwrap_err().to_string();
        assert!(error.contains(option) && error.contains(sampler), "{error}");
    };
    check("nsga2", "population", 1.into());
    check("nsga2", "offspring", 0.into());
    check("nsga2", "mutation_rate", 1.5.into());
    check("nsga3", "divisions", 0.into());
    check("nsga3", "crossover_eta", (-1.0).into());
    check("differential_evolution", "population", 3.into());
    check("differential_evolution", "scale", 0.0.into());
    check("differential_evolution", "best_share", 0.0.into());
    check("differential_evolution", "archive", (-1.0).into());
    check("regularized_evolution", "sample", 0.into());
    check("regularized_evolution", "redraw_rate", 2.0.into());
    check("coarse_to_fine", "every", 0.into());
    check("coarse_to_fine", "shrink", 1.0.into());
    check("coarse_to_fine", "finest", 0.0.into());
    check("coarse_to_fine", "keep", 0.into());
    check("coarse_to_fine", "global", 1.1.into());
}

// ---- against random search

fn regret(function: &Function, sampler: &str, seed: u64, trials: usize) -> f64 {
    let mut spec = Spec::new(function.name, (function.space)(), Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = Component::named(sampler);
    spec.seed = seed;
    spec.limits.trials = Some(trials as u64);
    best(&run(spec, trials, function.regret))
}

/// On each of the functions.
fn check_wins(sampler: &str, trials: usize) {
    for function in &FUNCTIONS {
        let regret = |sampler, seed| regret(function, sampler, seed, trials);
        let wins = (0..SEEDS).filter(|seed| regret(sampler, *seed) < regret("random", *seed)).count();
        println!("{sampler} on {}: {wins} wins of {SEEDS}", function.name);
        assert!(wins >= WINS, "{sampler} on {}: {wins} wins of {SEEDS}", function.name);
    }
}

const FUNCTIONS: [Function; 7] = [SPHERE, BRANIN, HARTMANN6, LEVY, SKEWED, BRANCHES, TEN];

#[test]
fn coarse_to_fine_beats_random_search() {
    check_wins("coarse_to_fine", 100);
}

#[test]
fn differential_evolution_beats_random_search() {
    check_wins("differential_evolution", 150);
}

#[test]
fn regularized_evolution_beats_random_search() {
    check_wins("regularized_evolution", 100);
}

#[test]
fn a_genetic_algorithm_with_one_metric_beats_random_search() {
    check_wins("nsga2", 150);
}

/// Of 10 pairs, 9 or more are won by chance with probability 0.011 where there is no difference; seeds are fixed. Two
/// problems take thousands of trials: on DTLZ4 nearly all points lead to the front's ends, on DTLZ6 nearly none come near it.
#[test]
fn fronts_beat_random_search() {
    for problem in PROBLEMS.into_iter().filter(|problem| !["dtlz4", "dtlz6"].contains(&problem.name)) {
        let covered = |sampler: &str, seed| volume(&problem, Component::named(sampler), seed, 250);
        let by_chance: Vec<f64> = (0..10).map(|seed| covered("random", seed)).collect();
        for sampler in ["nsga2", "nsga3"] {
            let wins = (0..10).filter(|seed| covered(sampler, *seed) > by_chance[*seed as usize]).count();
            println!("{sampler} on {}: {wins} wins of 10", problem.name);
            assert!(wins >= 9, "{sampler} on {}: {wins} wins of 10", problem.name);
        }
    }
}

/// Of 10 seeds on ZDT1: how often a sampler covers more than random search, and how often its front is spread out. The front's first
/// loss runs from 0 to 1; of a search that saw that loss alone, all good points had it near 0.
fn covers_and_spreads(sampler: &str) -> (usize, usize) {
    let covered = |sampler: &str, seed| volume(&ZDT1, Component::named(sampler), seed, 250);
    let wins = (0..10).filter(|seed| covered(sampler, *seed) > covered("random", *seed)).count();
    let spread = |seed: &u64| {
        let study = study_of(&ZDT1, Component::named(sampler), *seed, 250);
        let losses: Vec<&[f64]> = study.trials().iter().filter_map(|trial| trial.values()).collect();
        let front: Vec<f64> = front(&losses).into_iter().map(|k| losses[k][0]).collect();
        [0.0, 0.25, 0.5].iter().all(|low| front.iter().any(|loss| (*low..low + 0.25).contains(loss)))
    };
    let spread = (0..10).filter(spread).count();
    println!("{sampler}: {wins} wins of 10, {spread} fronts of 10 spread out");
    (wins, spread)
}

#[test]
fn differential_evolution_covers_a_front() {
    let (wins, spread) = covers_and_spreads("differential_evolution");
    assert!(wins >= 9 && spread >= 9, "{wins} wins of 10, {spread} fronts of 10 spread out");
}

#[test]
fn evolution_with_regularised_age_goes_for_several_losses() {
    let (wins, _) = covers_and_spreads("regularized_evolution");
    assert!(wins >= 9, "{wins} wins of 10");
}

#[test]
fn coarse_to_fine_covers_a_front() {
    let (wins, spread) = covers_and_spreads("coarse_to_fine");
    assert!(wins >= 9 && spread >= 9, "{wins} wins of 10, {spread} fronts of 10 spread out");
}

#[test]
fn samplers_of_one_loss_cover_a_front() {
    for sampler in ["regularized_evolution", "nelder_mead"] {
        let (wins, spread) = covers_and_spreads(sampler);
        assert!(wins >= 9 && spread >= 9, "{sampler}: {wins} wins of 10, {spread} fronts of 10 spread out");
    }
}
