//! The tree-structured Parzen estimator: against Optuna's numbers, against random search, and against itself.

#[path = "support/functions.rs"]
mod functions;

use functions::{BRANCHES, BRANIN, Function, HARTMANN6, LEVY, SKEWED, SPHERE, TEN, best, run, study_of};
use luthier_core::engine::{Engine, Next};
use luthier_core::event::{Event, Failure, Outcome, Wish, Work};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::sampler::tpe::{Split, Tpe, winner};
use luthier_core::space::{Condition, Distribution, Parameter, Params, Point, Prior, Scale, Space, Value};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use luthier_core::surrogate::parzen::{Axis, Parzen, recency_weights};
use serde_json::Value as Json;

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
        let (mut good, mut bad) = Tpe::default().models(&study);
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
            end(study, work, Outcome::Completed { values: vec![trial["value"].as_f64().unwrap()] })
        }
        "pruned" => end(study, work, Outcome::Pruned),
        _ => {}
    }
}

fn begin(study: &mut Study, trial: u32, params: Vec<Option<Value>>) -> Work {
    let why = luthier_core::event::Origin::Sampler;
    let space = study.space_version();
    study.apply(&Event::Started { trial, space, params, budget: None, parent: None, why }).unwrap();
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
