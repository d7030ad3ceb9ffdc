//! The tree-structured Parzen estimator: against Optuna's numbers, against random search, and against itself.

#[path = "support/compared.rs"]
mod compared;
#[path = "support/functions.rs"]
mod functions;
#[path = "support/simulate.rs"]
#[allow(dead_code, reason = "one study in turbulence")]
mod simulate;
#[path = "support/turbulence.rs"]
mod turbulence;

use compared::{SEEDS, WINS, check_against_random, median, wins};
use functions::{
    BRANCHES, BRANIN, HARTMANN6, LEVY, RIGHT, SKEWED, SPHERE, TEN, WRONG, best, expecting, float, int, live,
    run, started, study_of,
};
use luthier_core::engine::{Engine, Next, resolve};
use luthier_core::event::{Event, Failure, Origin, Outcome, Work};
use luthier_core::memo::Memo;
use luthier_core::metric::{Direction, Metric, Metrics};
use luthier_core::pareto::hypervolume;
use luthier_core::rng::{Purpose, Rng};
use luthier_core::sampler::tpe::{Grouping, Split, Tpe, winner};
use luthier_core::sampler::{Proposal, Request, Sampler};
use luthier_core::space::{
    Comparison, Condition, Constraint, Distribution, Parameter, Point, Prior, Scale, Space, Value,
};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use luthier_core::surrogate::parzen::{Axis, Parzen, recency_weights};
use serde_json::Value as Json;
use turbulence::{Changes, survived};

/// Of Optuna's numbers: see `reference/optuna_tpe.py`. They agree with 50-digit arithmetic to 2.4e-13.
const TOLERANCE: f64 = 1e-10;

fn reference() -> Json {
    serde_json::from_str(include_str!("reference/optuna_tpe.json")).unwrap()
}

fn close(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error <= TOLERANCE, "{what}: {found} is not {expected}");
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn integers(json: &Json) -> Vec<u32> {
    json.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

fn parameter(name: &str, form: &Json) -> Parameter {
    if form["type"] == "categorical" {
        let choices = (0..form["choices"].as_i64().unwrap()).map(Value::Int).collect();
        return Parameter::new(name, Distribution::Categorical { choices });
    }
    let (low, high) = (form["low"].as_f64().unwrap(), form["high"].as_f64().unwrap());
    let scale = if form["scale"] == "log" { Scale::Log } else { Scale::Linear };
    let step = form["step"].as_f64();
    Parameter::new(
        name,
        if form["type"] == "int" {
            let step = step.unwrap() as i64;
            Distribution::Int { low: low as i64, high: high as i64, scale, step }
        } else {
            Distribution::Float { low, high, scale, step }
        },
    )
}

fn space(form: &Json) -> Space {
    let parameters = form.as_object().unwrap().iter().map(|(name, form)| parameter(name, form));
    Space::new(parameters.collect(), vec![]).unwrap()
}

fn parzen(space: &Space, prior_weight: f64) -> Parzen {
    Parzen::new(space.parameters().iter().map(|p| Axis::new(p, true)).collect(), prior_weight)
}

/// Points from columns of values by name; parameters without a column are inactive.
fn points(space: &Space, columns: &Json) -> Vec<Point> {
    let columns = columns.as_object().unwrap();
    let count = columns.values().next().map_or(0, |column| column.as_array().unwrap().len());
    let coded = |row: usize, p: &Parameter| match columns.get(&*p.name) {
        None => f64::NAN,
        Some(column) => column[row].as_f64().unwrap(),
    };
    (0..count).map(|row| Point(space.parameters().iter().map(|p| coded(row, p)).collect())).collect()
}

/// Where a number lies on Optuna's axis: its low end and its length, in Optuna's units.
fn optuna_axis(form: &Json) -> (f64, f64) {
    let half = form["step"].as_f64().unwrap_or(0.0) / 2.0;
    let (low, high) = (form["low"].as_f64().unwrap() - half, form["high"].as_f64().unwrap() + half);
    if form["scale"] == "log" { (low.ln(), high.ln() - low.ln()) } else { (low, high - low) }
}

/// ln of the volume of the continuous axes: Optuna's densities are per its own units, ours per unit interval.
fn log_volume(form: &Json, names: impl Fn(&str) -> bool) -> f64 {
    let continuous = form
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, axis)| names(name) && axis["type"] != "categorical" && axis["step"].is_null());
    continuous.map(|(_, axis)| optuna_axis(axis).1.ln()).sum()
}

#[test]
fn the_number_of_good_trials_is_optunas() {
    for (n, expected) in numbers(&reference()["gamma"]).into_iter().enumerate() {
        assert_eq!(Tpe::default().good_count(n) as f64, expected, "{n} trials");
    }
}

#[test]
fn weights_by_age_are_optunas() {
    for (n, expected) in reference()["weights"].as_object().unwrap() {
        let expected = numbers(expected);
        assert_eq!(expected.len(), n.parse::<usize>().unwrap());
        for (found, expected) in recency_weights(expected.len()).into_iter().zip(expected) {
            close(found, expected, &format!("weights of {n}"));
        }
    }
}

#[test]
fn splits_are_optunas() {
    for case in reference()["splits"].as_array().unwrap() {
        let study = recorded(case, &Json::Object(serde_json::Map::new()));
        let expected = Split { good: integers(&case["below"]), bad: integers(&case["above"]) };
        assert_eq!(Tpe::default().split(&study), expected, "{}", case["name"]);
    }
}

#[test]
fn splits_of_several_objectives_are_optunas() {
    for case in reference()["fronts"].as_array().unwrap() {
        let rows: Vec<Vec<f64>> = case["losses"].as_array().unwrap().iter().map(numbers).collect();
        let mut metrics = Metrics::single("loss 0", Direction::Minimize);
        let objective =
            |k: usize| Metric { name: format!("loss {k}").into(), direction: Direction::Minimize };
        metrics.objectives = (0..rows[0].len()).map(objective).collect();
        let mut study = Study::new(Spec::new("fronts", Space::default(), metrics));
        for (number, row) in (0..).zip(&rows) {
            let work = begin(&mut study, number, vec![]);
            end(&mut study, work, Outcome::Completed { values: row.clone() });
        }
        let found = Tpe::default().split(&study).good;
        assert_eq!(found, integers(&case["below"]), "{}", case["name"]);
    }
}

#[test]
fn kernels_and_densities_are_optunas() {
    for case in reference()["estimators"].as_array().unwrap() {
        let space = space(&case["space"]);
        let observations = points(&space, &case["observations"]);
        let mut model = parzen(&space, 1.0);
        let rows: Vec<(u32, &Point)> = (0..).zip(&observations).collect();
        model.update(&[], &rows);
        check_estimator(case, &space, &mut model);
        // The same observations one by one, in any order, and after others have left.
        let mut mended = parzen(&space, 1.0);
        for (slot, point) in rows.iter().rev() {
            mended.update(&[], &[(*slot, point)]);
        }
        if let Some((_, first)) = rows.first() {
            let passing: Vec<(u32, &Point)> = (0..40).map(|k| (rows.len() as u32 + k, *first)).collect();
            mended.update(&[], &passing[..3]);
            mended.update(&[], &passing[3..]);
            let slots: Vec<u32> = passing.iter().map(|(slot, _)| *slot).collect();
            mended.update(&slots[..38], &[]);
            mended.update(&slots[38..], &[]);
        }
        check_estimator(case, &space, &mut mended);
        let queries = model.locate(&points(&space, &case["queries"]));
        assert_eq!(model.log_densities(&queries), mended.log_densities(&queries), "{}", case["name"]);
    }
}

fn check_estimator(case: &Json, space: &Space, model: &mut Parzen) {
    let name = case["name"].as_str().unwrap();
    for (found, expected) in model.weights().into_iter().zip(numbers(&case["weights"])) {
        close(found, expected, &format!("{name}, weights"));
    }
    for (axis, parameter) in space.parameters().iter().enumerate() {
        let kernels = &case["kernels"][&*parameter.name];
        if kernels["means"].is_null() {
            continue;
        }
        let (low, length) = optuna_axis(&case["space"][&*parameter.name]);
        // The last one is the prior's.
        for slot in 0..model.len() {
            let (mean, sigma) = model.kernel(axis, slot as u32).unwrap();
            let what = format!("{name}, {}, kernel {slot}", parameter.name);
            close(mean, (kernels["means"][slot].as_f64().unwrap() - low) / length, &what);
            close(sigma, kernels["sigmas"][slot].as_f64().unwrap() / length, &what);
        }
    }
    let queries = model.locate(&points(space, &case["queries"]));
    let volume = log_volume(&case["space"], |_| true);
    let expected = numbers(&case["log_density"]);
    assert_eq!(queries.len(), expected.len());
    for (found, expected) in model.log_densities(&queries).into_iter().zip(expected) {
        close(found - volume, expected, name);
    }
}

#[test]
fn of_the_same_candidates_the_same_one_wins() {
    for case in reference()["choices"].as_array().unwrap() {
        let study = recorded(case, &case["space"]);
        let (mut good, mut bad) = Tpe { bad_width: 0.0, ..Tpe::default() }.models(&study);
        // A second decision is about a conditional parameter that Optuna draws by itself; Luthier draws it jointly.
        let decision = &case["decisions"][0];
        let split = Tpe::default().split(&study);
        assert_eq!(split.good, integers(&decision["below"]));
        assert_eq!(split.bad, integers(&decision["above"]));
        let candidates = good.locate(&points(study.space(), &decision["candidates"]));
        let named = |name: &str| decision["candidates"].get(name).is_some();
        let volume = log_volume(&case["space"], named);
        let (l, g) = (good.log_densities(&candidates), bad.log_densities(&candidates));
        for (k, (l, g)) in l.iter().zip(&g).enumerate() {
            close(l - volume, decision["log_below"][k].as_f64().unwrap(), "good");
            close(g - volume, decision["log_above"][k].as_f64().unwrap(), "bad");
        }
        let scores: Vec<f64> = l.iter().zip(&g).map(|(l, g)| l - g).collect();
        assert_eq!(winner(&scores) as u64, decision["winner"].as_u64().unwrap(), "{}", case["name"]);
    }
}

/// A study with the trials of a reference case.
fn recorded(case: &Json, form: &Json) -> Study {
    let direction = if case["direction"] == "maximize" { Direction::Maximize } else { Direction::Minimize };
    let mut metrics = Metrics::single("loss", direction);
    metrics.constraints = vec!["violation".into()];
    let mut study = Study::new(Spec::new("recorded", space(form), metrics));
    for trial in case["trials"].as_array().unwrap() {
        let params = study.space().parameters().iter();
        let params = params.map(|p| read(&p.distribution, &trial["params"][&*p.name])).collect();
        record(&mut study, params, trial);
    }
    study
}

fn read(distribution: &Distribution, value: &Json) -> Option<Value> {
    value.as_f64().map(|x| match distribution {
        Distribution::Float { .. } => Value::Float(x),
        _ => Value::Int(x as i64),
    })
}

fn record(study: &mut Study, params: Vec<Option<Value>>, trial: &Json) {
    let number = trial["number"].as_u64().unwrap() as u32;
    let work = begin(study, number, params);
    for report in trial["reports"].as_array().unwrap() {
        // Where Optuna was told NaN, the objective is missing from the report.
        let values = report[1].as_f64().map(|value| ("loss".into(), value)).into_iter().collect();
        report_at(study, work, report[0].as_u64().unwrap(), values);
    }
    if let Some(violation) = trial["violation"].as_f64() {
        report_at(study, work, 0, vec![("violation".into(), violation)]);
    }
    match trial["state"].as_str().unwrap() {
        "completed" => {
            end(study, work, Outcome::Completed { values: vec![trial["value"].as_f64().unwrap()] });
        }
        "pruned" => end(study, work, Outcome::Pruned),
        _ => {}
    }
}

fn begin(study: &mut Study, trial: u32, params: Vec<Option<Value>>) -> Work {
    study.apply(&started(study, trial, params, Origin::Sampler)).unwrap();
    let work = Work::of(trial);
    study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
    work
}

fn report_at(study: &mut Study, work: Work, step: u64, values: Vec<(std::sync::Arc<str>, f64)>) {
    study.apply(&Event::Reported { work, step, values, seconds: 0.0 }).unwrap();
}

fn end(study: &mut Study, work: Work, outcome: Outcome) {
    study.apply(&Event::Ended { work, outcome, seconds: 0.0, used: None }).unwrap();
}

fn tpe() -> Component {
    Component::named("tpe")
}

#[test]
fn wins_on_sphere() {
    check_against_random(&tpe(), &SPHERE, 100, 0.35);
}

#[test]
fn wins_on_branin() {
    check_against_random(&tpe(), &BRANIN, 60, 0.21);
}

#[test]
fn wins_on_hartmann6() {
    check_against_random(&tpe(), &HARTMANN6, 100, 0.19);
}

#[test]
fn wins_on_levy() {
    check_against_random(&tpe(), &LEVY, 100, 0.23);
}

#[test]
fn wins_on_a_skewed_quadratic_on_log_scales() {
    check_against_random(&tpe(), &SKEWED, 60, 0.051);
}

#[test]
fn wins_on_a_conditional_space() {
    check_against_random(&tpe(), &BRANCHES, 100, 0.49);
}

#[test]
fn wins_on_ten_mixed_parameters() {
    check_against_random(&tpe(), &TEN, 100, 1.8);
}

#[test]
fn groups_and_single_parameters_win_too() {
    for (grouping, known) in [("group", 0.55), ("single", 0.7)] {
        let sampler = Component::named("tpe").with("grouping", grouping);
        check_against_random(&sampler, &BRANCHES, 100, known);
    }
}

// ---- the estimator

/// A small space of which every point can be listed: a condition, a prior of each kind, levels, a log grid.
fn listable() -> Space {
    let choices = |n: i64| Distribution::Categorical { choices: (0..n).map(Value::Int).collect() };
    let levels = Distribution::Ordinal { levels: vec!["low".into(), "mid".into(), "high".into()].into() };
    let weights = |weights: &[f64]| Some(Prior::Weights { weights: weights.to_vec() });
    let center = |center: i64, spread| Some(Prior::Center { center: center.into(), spread });
    let parameters = vec![
        Parameter { prior: weights(&[1.0, 0.0, 3.0]), ..Parameter::new("a", choices(3)) },
        Parameter { when: Some(Condition::eq("a", 2)), ..Parameter::new("b", int(1, 6, Scale::Log)) },
        Parameter { prior: center(3, 0.02), ..Parameter::new("c", int(0, 7, Scale::Linear)) },
        Parameter { prior: weights(&[5.0, 2.0, 1.0]), ..Parameter::new("d", levels) },
        Parameter { when: Some(Condition::eq("b", 3)), ..Parameter::new("e", choices(2)) },
    ];
    Space::new(parameters, vec![]).unwrap()
}

fn every_point(space: &Space) -> Vec<Point> {
    let mut points = Vec::new();
    space.visit_points(&mut |point| {
        points.push(Point(point.into()));
        true
    });
    points
}

fn model_of(space: &Space, observations: u64, seed: u64) -> Parzen {
    let mut rng = Rng::stream(seed, 0, Purpose::Sampler, 0);
    let drawn: Vec<Point> = (0..observations).map(|_| space.draw(&rng.uniforms(space.len()))).collect();
    let mut model = parzen(space, 1.5);
    model.update(&[], &(0..).zip(&drawn).collect::<Vec<_>>());
    model
}

#[test]
fn the_mass_over_all_branches_of_a_conditional_space_is_one() {
    let space = listable();
    for observations in [0, 1, 2, 9, 70, 200] {
        let mut model = model_of(&space, observations, 3);
        let located = model.locate(&every_point(&space));
        let mass: f64 = model.log_densities(&located).into_iter().map(f64::exp).sum();
        assert!((mass - 1.0).abs() < 1e-9, "{mass} with {observations} observations");
    }
}

#[test]
fn the_most_exceeded_point_is_found_without_all_densities() {
    for space in [listable(), (TEN.space)(), (HARTMANN6.space)()] {
        for (seed, observations) in [(1, 0), (2, 1), (3, 12), (4, 90), (5, 700)] {
            let mut good = model_of(&space, observations / 10, seed);
            let mut bad = model_of(&space, observations, seed + 100);
            for width in [0.0, 0.15] {
                bad.widen(width);
                let mut rng = Rng::stream(seed, 7, Purpose::Sampler, 0);
                let points: Vec<Point> = (0..24).map(|_| good.draw(&space, &mut rng)).collect();
                let located = good.locate(&points);
                let (l, g) = (good.log_densities(&located), bad.log_densities(&located));
                let excess: Vec<f64> = l.iter().zip(&g).map(|(l, g)| l - g).collect();
                assert_eq!(bad.most_exceeded(&located, &l), winner(&excess), "{observations} observations");
            }
        }
    }
}

#[test]
fn points_are_drawn_as_often_as_their_density_says() {
    const DRAWS: usize = 40_000;
    let space = listable();
    for observations in [0, 6, 60] {
        let mut model = model_of(&space, observations, 4);
        let points = every_point(&space);
        let located = model.locate(&points);
        let masses: Vec<f64> = model.log_densities(&located).into_iter().map(f64::exp).collect();
        let mut counts = vec![0.0; points.len()];
        let mut rng = Rng::stream(5, observations, Purpose::Sampler, 0);
        for _ in 0..DRAWS {
            let point = model.draw(&space, &mut rng);
            counts[points.iter().position(|other| *other == point).unwrap()] += 1.0;
        }
        let expected = masses.iter().map(|mass| mass * DRAWS as f64);
        let chi: f64 = counts.iter().zip(expected).map(|(n, e)| (n - e) * (n - e) / e).sum();
        // The statistic has this mean and a deviation of √(2 · freedom); five of them are never reached by chance.
        let freedom = (points.len() - 1) as f64;
        assert!(chi < freedom + 5.0 * (2.0 * freedom).sqrt(), "chi² is {chi}, {observations} observations");
    }
}

#[test]
fn an_observation_without_a_parameter_has_the_prior_there() {
    let space = listable();
    let mut rng = Rng::stream(6, 0, Purpose::Sampler, 0);
    let mut drawn: Vec<Point> = (0..50).map(|_| space.draw(&rng.uniforms(space.len()))).collect();
    drawn.retain(|point| point.get(1).is_none());
    let mut model = parzen(&space, 1.0);
    model.update(&[], &(0..).zip(&drawn).collect::<Vec<_>>());
    let mut prior = parzen(&space, 1.0);
    let only_b = |value: f64| Point(vec![f64::NAN, value, f64::NAN, f64::NAN, f64::NAN].into());
    let located = model.locate(&(1..=6).map(|b| only_b(f64::from(b))).collect::<Vec<_>>());
    for (found, expected) in model.log_densities(&located).into_iter().zip(prior.log_densities(&located)) {
        close(found, expected, "density of b");
    }
}

// ---- the sampler

#[test]
fn wrong_options_are_refused() {
    let mut spec = Spec::new("s", (SPHERE.space)(), Metrics::single("loss", Direction::Minimize));
    for (option, value) in [
        ("n_candidates", 0.into()),
        ("gamma", 1.0.into()),
        ("prior_weight", 0.0.into()),
        ("gama", Json::from(0.1)),
    ] {
        spec.policy.sampler = Component::named("tpe").with(option, value);
        let problem = resolve(&spec).unwrap_err().to_string();
        assert!(problem.contains(option), "{problem}");
    }
    spec.policy.sampler = Component::named("tpe").with("n_startup", 3);
    let complete = resolve(&spec).unwrap().sampler.options;
    assert_eq!((complete["n_startup"].as_i64(), complete["max_good"].as_i64()), (Some(3), Some(25)));
}

/// A study of several workers in which trials fail, vanish, pause, are pruned, and the space grows.
#[test]
fn a_kept_memo_changes_no_proposal_and_the_log_verifies() {
    for (scheduler, grouping) in [
        ("run_all", "joint"),
        ("asha", "joint"),
        ("median", "joint"),
        ("asha", "group"),
        ("run_all", "single"),
    ] {
        let study = survived(tpe().with("grouping", grouping), scheduler, &Changes::Three);
        let proposed = study.trials().iter().filter(|trial| trial.origin == Origin::Sampler).count();
        assert!(proposed >= 100, "{scheduler}: {proposed}");
    }
}

#[test]
fn a_kept_memo_changes_no_proposal_when_the_window_moves() {
    let mut spec = Spec::new("s", (BRANIN.space)(), Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = Component::named("tpe");
    let mut study = Study::new(spec);
    let mut engine = Engine::new(&study).unwrap();
    let mut rng = Rng::stream(8, 0, Purpose::Sampler, 0);
    for number in 0..20_300 {
        let point = study.space().draw(&rng.uniforms(2));
        let work = begin(&mut study, number, point.0.iter().map(|x| Some(Value::Float(*x))).collect());
        end(&mut study, work, Outcome::Completed { values: vec![(BRANIN.regret)(&point.0)] });
        if number % 97 == 0 || [9_998, 9_999, 10_000, 10_001, 19_999, 20_000].contains(&number) {
            let kept = engine.next(&study).unwrap();
            let is_telling = [97 * 50, 97 * 120, 9_999, 10_000, 10_001, 20_000, 97 * 208].contains(&number);
            if is_telling {
                assert_eq!(kept, Engine::new(&study).unwrap().next(&study).unwrap(), "after {number}");
            }
        }
    }
}

#[test]
fn every_proposal_is_a_valid_point_that_keeps_the_constraints() {
    let SpaceParts { parameters, constraint } = constrained();
    let space = Space::new(parameters, vec![constraint]).unwrap();
    let spec = Spec::new("s", space, Metrics::single("loss", Direction::Minimize));
    let functions = [BRANCHES, TEN]
        .map(|f| (Spec::new("s", (f.space)(), Metrics::single("loss", Direction::Minimize)), f.regret));
    let all = functions.into_iter().chain([(spec, (|p: &[f64]| (p[0] - p[1]).abs()) as fn(&[f64]) -> f64)]);
    for (mut spec, regret) in all {
        spec.policy.sampler = Component::named("tpe");
        let study = run(spec, 80, regret);
        assert_eq!(study.trials().len(), 80);
        for trial in study.trials() {
            let point = study.space().encode(&study.params(trial)).unwrap();
            assert_eq!((point, trial.origin), (trial.point.clone(), Origin::Sampler));
        }
    }
}

struct SpaceParts {
    parameters: Vec<Parameter>,
    constraint: Constraint,
}

/// low < high, on two grids, where the losses pull towards equality.
fn constrained() -> SpaceParts {
    let step = Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: Some(0.001) };
    SpaceParts {
        parameters: vec![Parameter::new("low", step.clone()), Parameter::new("high", step)],
        constraint: Constraint::Require(Condition::between("low", Comparison::Lt, "high")),
    }
}

#[test]
fn a_region_where_trials_fail_is_avoided() {
    let failures = |sampler: &str, seed: u64| {
        let mut spec = Spec::new("s", (BRANIN.space)(), Metrics::single("loss", Direction::Minimize));
        spec.policy.sampler = Component::named(sampler);
        spec.seed = seed;
        // Two thirds of the space, where two of the three minima are.
        let study = live(spec, 100, |point| {
            if point[0] > 0.0 {
                Outcome::Failed { reason: Failure::error("diverged"), detail: "".into() }
            } else {
                Outcome::Completed { values: vec![(BRANIN.regret)(point)] }
            }
        });
        study.tally().failed
    };
    let of_ten = |sampler| (0..10).map(|seed| failures(sampler, seed)).sum::<u64>();
    let (ours, random) = (of_ten("tpe"), of_ten("random"));
    // Some 200 of ours come before ten trials have completed, when both draw at random.
    assert!(ours * 2 < random, "{ours} of 1,000 trials fail, {random} of random ones");
}

#[test]
fn parallel_workers_do_not_crowd() {
    let spread = |liar: bool, seed: u64| {
        let mut study = study_of(&BRANIN, Component::named("tpe").with("constant_liar", liar), seed, 30);
        let mut engine = Engine::new(&study).unwrap();
        let mut asked: Vec<Vec<f64>> = Vec::new();
        for _ in 0..8 {
            let Next::Decide(event) = engine.next(&study).unwrap() else { panic!("a decision was due") };
            study.apply(&event).unwrap();
            let trial = study.trials().last().unwrap();
            asked.push(study.space().to_unit(&trial.point));
            study.apply(&Event::Claimed { work: Work::of(trial.number), attempt: 1 }).unwrap();
        }
        let distance = |a: &[f64], b: &[f64]| (a[0] - b[0]).hypot(a[1] - b[1]);
        let pairs = (0..8).flat_map(|i| (0..i).map(move |j| (i, j)));
        pairs.map(|(i, j)| distance(&asked[i], &asked[j])).sum::<f64>() / 28.0
    };
    let wider = (0..SEEDS).filter(|seed| spread(true, *seed) > spread(false, *seed)).count();
    assert!(wider >= WINS, "{wider}");
}

// ---- groups, constraints, noise, several objectives

#[test]
fn a_group_is_modelled_on_the_trials_that_had_it() {
    // The good value of the child is known only from trials of its branch, which are few and bad in other respects.
    let choices = Distribution::Categorical { choices: vec!["a".into(), "b".into()].into() };
    let child =
        Parameter { when: Some(Condition::eq("branch", "b")), ..float("child", 0.0, 1.0, Scale::Linear) };
    let space = Space::new(vec![Parameter::new("branch", choices), child], vec![]).unwrap();
    let mut study = Study::new(Spec::new("s", space, Metrics::single("loss", Direction::Minimize)));
    for number in 0..40 {
        let is_child = number % 2 == 0;
        let at = f64::from(number) / 40.0;
        let params =
            vec![Some(if is_child { "b" } else { "a" }.into()), is_child.then_some(Value::Float(at))];
        let work = begin(&mut study, number, params);
        let loss = if is_child { 1.0 + (at - 0.3).abs() } else { 2.0 };
        end(&mut study, work, Outcome::Completed { values: vec![loss] });
    }
    let tpe = Tpe { grouping: Grouping::Group, ..Tpe::default() };
    let draws = |tpe: &Tpe| -> Vec<f64> {
        let asked = (0..200).filter_map(|draw| {
            let mut rng = Rng::stream(1, 40, Purpose::Sampler, draw);
            let request = Request { trial: 40, draw, budget: None };
            match tpe.propose(&study, &request, &mut Memo::default(), &mut rng) {
                Proposal::Point(point) => point.get(1),
                Proposal::Chosen(..) | Proposal::Exhausted => None,
            }
        });
        asked.collect()
    };
    let near = |values: Vec<f64>| values.iter().filter(|x| (**x - 0.3).abs() < 0.15).count() as f64;
    let drawn = draws(&tpe);
    assert!(drawn.len() > 150, "the better branch is chosen: {} of 200", drawn.len());
    let count = drawn.len() as f64;
    assert!(near(drawn) > 0.8 * count);
}

/// Trials and losses of a study with replicates that differ by `noise`.
fn replicated(noise: f64) -> Study {
    let mut spec = Spec::new("s", (BRANIN.space)(), Metrics::single("loss", Direction::Minimize));
    spec.replicates = 3;
    let mut study = Study::new(spec);
    let mut rng = Rng::stream(3, 0, Purpose::Sampler, 0);
    for trial in 0..60 {
        let point = study.space().draw(&rng.uniforms(2));
        let params = point.0.iter().map(|x| Some(Value::Float(*x))).collect();
        study.apply(&started(&study, trial, params, Origin::Sampler)).unwrap();
        for replicate in 0..3 {
            let work = Work { trial, replicate };
            study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
            let value = (BRANIN.regret)(&point.0) + noise * rng.normal();
            end(&mut study, work, Outcome::Completed { values: vec![value] });
        }
    }
    study
}

#[test]
fn noise_that_replicates_show_widens_the_kernels() {
    let narrowest = |noise: f64, noise_width: f64| {
        let (good, bad) = Tpe { noise_width, bad_width: 0.0, ..Tpe::default() }.models(&replicated(noise));
        let sigma = |model: &Parzen, slot: u32| model.kernel(0, slot).map(|(_, sigma)| sigma);
        let of = |model: &Parzen| (0..60).filter_map(|k| sigma(model, k)).fold(1.0, f64::min);
        of(&good).min(of(&bad))
    };
    let magic = 1.0 / 56.0;
    assert_eq!(narrowest(0.0, 0.2), magic);
    assert_eq!(narrowest(30.0, 0.0), magic);
    // Losses spread by 50 or so; the error of a mean of three is 30 / √3.
    let wide = narrowest(30.0, 0.2);
    assert!(wide > 0.08 && wide < 0.16, "{wide}");
    assert!(narrowest(3.0, 0.2) < wide);
}

/// The best loss among trials that keep a constraint under which most of the space is out of the question, and how many
/// keep it.
fn constrained_best(sampler: Component, seed: u64) -> (f64, usize) {
    let mut metrics = Metrics::single("loss", Direction::Minimize);
    metrics.constraints = vec!["outside".into(), "quiet".into()];
    let mut spec = Spec::new("s", (SPHERE.space)(), metrics);
    (spec.policy.sampler, spec.seed) = (sampler, seed);
    let mut study = Study::new(spec);
    let mut engine = Engine::new(&study).unwrap();
    let (mut best, mut kept) = (f64::INFINITY, 0);
    for _ in 0..80 {
        let Next::Decide(event) = engine.next(&study).unwrap() else { panic!("a decision was due") };
        study.apply(&event).unwrap();
        let work = Work::of(study.trials().len() as u32 - 1);
        study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
        let x = study.trials().last().unwrap().point.0.to_vec();
        // A ball that the optimum is outside of.
        let outside = x.iter().map(|x| (x + 1.0).powi(2)).sum::<f64>() - 30.0;
        let loss = (SPHERE.regret)(&x);
        report_at(&mut study, work, 1, vec![("outside".into(), outside), ("quiet".into(), -1.0)]);
        end(&mut study, work, Outcome::Completed { values: vec![loss] });
        if outside <= 0.0 {
            (best, kept) = (best.min(loss), kept + 1);
        }
    }
    (best, kept)
}

#[test]
fn constraints_are_kept_and_optimised_under() {
    for constraints in ["rank", "ratio"] {
        let sampler = Component::named("tpe").with("constraints", constraints);
        let pairs = (0..SEEDS).map(|seed| {
            (constrained_best(sampler.clone(), seed), constrained_best(Component::named("random"), seed))
        });
        let pairs: Vec<_> = pairs.collect();
        let wins = pairs.iter().filter(|(ours, random)| ours.0 < random.0).count();
        let ours: usize = pairs.iter().map(|pair| pair.0.1).sum();
        let random: usize = pairs.iter().map(|pair| pair.1.1).sum();
        let median = median(pairs.iter().map(|pair| pair.0.0).collect());
        println!("{constraints}: {wins} wins, {ours} kept to {random}, median {median}");
        assert!(wins >= WINS && ours > 3 * random, "{constraints}: {wins} wins, {ours} kept to {random}");
    }
}

/// The volume that a study of two objectives has covered: a convex front over four parameters, or five with a choice.
fn volume(sampler: Component, seed: u64) -> f64 {
    let mut parameters: Vec<Parameter> =
        (0..4).map(|k| float(&format!("x{k}"), 0.0, 1.0, Scale::Linear)).collect();
    let choices = (0..4).map(Value::Int).collect();
    parameters.push(Parameter::new("c", Distribution::Categorical { choices }));
    let mut metrics = Metrics::single("f", Direction::Minimize);
    metrics.objectives.push(Metric { name: "g".into(), direction: Direction::Maximize });
    let mut spec = Spec::new("s", Space::new(parameters, vec![]).unwrap(), metrics);
    (spec.policy.sampler, spec.seed) = (sampler, seed);
    let mut study = Study::new(spec);
    let mut engine = Engine::new(&study).unwrap();
    let mut losses = Vec::new();
    for _ in 0..100 {
        let Next::Decide(event) = engine.next(&study).unwrap() else { panic!("a decision was due") };
        study.apply(&event).unwrap();
        let work = Work::of(study.trials().len() as u32 - 1);
        study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
        let x = study.trials().last().unwrap().point.0.to_vec();
        // ZDT1 (Zitzler, Deb, Thiele 2000) with a choice that costs.
        let g = 1.0 + 3.0 * x[1..4].iter().map(|x| (x - 0.4).abs()).sum::<f64>() + 0.5 * (x[4] - 2.0).abs();
        let second = g * (1.0 - (x[0] / g).sqrt());
        end(&mut study, work, Outcome::Completed { values: vec![x[0], -second] });
        losses.push([x[0], second]);
    }
    hypervolume(&losses, &[1.1, 6.0])
}

#[test]
fn several_objectives_are_covered_better_than_by_chance() {
    let wins = (0..SEEDS)
        .filter(|seed| volume(Component::named("tpe"), *seed) > volume(Component::named("random"), *seed));
    let wins = wins.count();
    assert!(wins >= WINS, "{wins} of {SEEDS}");
}

// ---- priors

fn with_prior(sampler: Component, center: Option<[f64; 5]>, seed: u64, trials: usize) -> f64 {
    let mut spec = Spec::new("s", expecting(center), Metrics::single("loss", Direction::Minimize));
    (spec.policy.sampler, spec.seed) = (sampler, seed);
    best(&run(spec, trials, SPHERE.regret))
}

#[test]
fn a_right_prior_finds_good_values_sooner() {
    let regrets = |center| (0..SEEDS).map(|seed| with_prior(tpe(), center, seed, 20)).collect::<Vec<_>>();
    let (right, none) = (regrets(Some(RIGHT)), regrets(None));
    let wins = wins(&right, &none);
    let (right, none) = (median(right), median(none));
    assert!(wins >= WINS && right < 0.5 * none, "{wins} wins; {right}, without a prior {none}");
}

#[test]
fn the_model_itself_expects_what_the_prior_says() {
    // Without random trials at the beginning, whose draws follow the prior too.
    let model_only = Component::named("tpe").with("n_startup", 0);
    let regret = |center, seed| with_prior(model_only.clone(), center, seed, 20);
    let wins = (0..SEEDS).filter(|seed| regret(Some(RIGHT), *seed) < regret(None, *seed)).count();
    assert!(wins >= WINS, "{wins} of {SEEDS}");
}

#[test]
fn a_wrong_prior_is_outgrown() {
    let regret = |center: Option<[f64; 5]>, trials| {
        median((0..SEEDS).map(|seed| with_prior(tpe(), center, seed, trials)).collect())
    };
    let (early, late, none) = (regret(Some(WRONG), 15), regret(Some(WRONG), 100), regret(None, 100));
    let soon = regret(None, 15);
    assert!(early > 1.3 * soon, "it did not steer: {early}, without a prior {soon}");
    // Random search reaches 6.2 after 100.
    assert!(late < 2.0 * none, "{early}, then {late}; without a prior {none}");
}
