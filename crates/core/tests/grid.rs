//! The grid visits every combination once, in its documented order, and goes on where it was.

mod play;

use luthier_core::engine::{Done, resolve};
use luthier_core::event::{Event, Outcome};
use luthier_core::space::{Comparison, Condition, Constraint, Distribution, Parameter, Params, Scale, Space};
use luthier_core::spec::{Component, Spec};
use play::{Play, choice, completed, constrained, failed, float, int, on_scale, space};
use serde_json::json;

fn grid(space: Space, options: serde_json::Value) -> Spec {
    let mut spec = play::spec(space, "random");
    let serde_json::Value::Object(options) = options else { panic!("options are a table") };
    spec.policy.sampler = Component { name: "grid".into(), options };
    play::resolved(spec)
}

fn all(spec: Spec) -> Vec<String> {
    let mut play = Play::new(spec);
    let done = play.run_out(|_| completed(1.0));
    assert!(matches!(done, Done::Exhausted | Done::SamplerExhausted(_)), "{done:?}");
    play.written()
}

fn check(space: Space, options: serde_json::Value, expected: &[&str]) {
    assert_eq!(all(grid(space, options)), expected);
}

#[test]
fn values_are_even_on_the_scale_from_end_to_end() {
    check(space(vec![float("x", -1.0, 1.0)]), json!({}), &["x=-1", "x=-0.5", "x=0", "x=0.5", "x=1"]);
    check(space(vec![float("x", -1.0, 1.0)]), json!({ "points": 2 }), &["x=-1", "x=1"]);
    check(space(vec![float("x", -1.0, 1.0)]), json!({ "points": 1 }), &["x=0"]);
    check(space(vec![int("n", 1, 9)]), json!({}), &["n=1", "n=3", "n=5", "n=7", "n=9"]);
    check(space(vec![int("n", 1, 4)]), json!({}), &["n=1", "n=2", "n=3", "n=4"]);
    let log_int = Distribution::Int { low: 1, high: 1000, scale: Scale::Log, step: 1 };
    let log_int = || space(vec![Parameter::new("n", log_int.clone())]);
    check(log_int(), json!({ "points": 4 }), &["n=1", "n=10", "n=100", "n=1000"]);
    let stepped = Distribution::Float { low: 0.0, high: 0.95, scale: Scale::Linear, step: Some(0.1) };
    check(
        space(vec![Parameter::new("x", stepped)]),
        json!({ "points": 4 }),
        &["x=0", "x=0.3", "x=0.6", "x=0.9"],
    );

    let mut play = Play::new(grid(space(vec![on_scale("lr", 1e-4, 1.0, Scale::Log)]), json!({})));
    play.run_out(|_| completed(1.0));
    for (trial, power) in play.study.trials().iter().zip(-4..=0) {
        assert!((trial.point.0[0].log10() - f64::from(power)).abs() < 1e-12);
    }
    assert_eq!((play.written()[0].as_str(), play.written()[4].as_str()), ("lr=0.0001", "lr=1"));
    let mut play =
        Play::new(grid(space(vec![on_scale("m", 0.9, 0.999, Scale::Log1m)]), json!({ "points": 3 })));
    play.run_out(|_| completed(1.0));
    assert!((play.study.trials()[1].point.0[0] - 0.99).abs() < 1e-12);
}

#[test]
fn values_that_round_to_the_same_are_visited_once() {
    let log_int = Distribution::Int { low: 1, high: 10, scale: Scale::Log, step: 1 };
    let written = all(grid(space(vec![Parameter::new("n", log_int)]), json!({ "points": 7 })));
    assert_eq!(written, ["n=1", "n=2", "n=3", "n=5", "n=7", "n=10"]);
}

#[test]
fn the_last_parameter_turns_fastest() {
    let space =
        space(vec![choice("opt", ["sgd", "adam"]), float("x", 0.0, 1.0), choice("flag", [false, true])]);
    check(
        space,
        json!({ "points": { "x": 2 } }),
        &[
            "opt=sgd x=0 flag=false",
            "opt=sgd x=0 flag=true",
            "opt=sgd x=1 flag=false",
            "opt=sgd x=1 flag=true",
            "opt=adam x=0 flag=false",
            "opt=adam x=0 flag=true",
            "opt=adam x=1 flag=false",
            "opt=adam x=1 flag=true",
        ],
    );
}

fn conditional() -> Space {
    let mut momentum = float("momentum", 0.0, 0.9);
    momentum.when = Some(Condition::eq("opt", "sgd"));
    let mut nesterov = choice("nesterov", [false, true]);
    nesterov.when = Some(Condition::compare("momentum", Comparison::Gt, 0.0));
    space(vec![nesterov, momentum, choice("opt", ["adam", "sgd"]), int("width", 1, 2)])
}

#[test]
fn inactive_parameters_do_not_turn() {
    // Parents turn before their children, whatever the order of declaration.
    check(
        conditional(),
        json!({ "points": 2 }),
        &[
            "opt=adam width=1",
            "opt=adam width=2",
            "momentum=0 opt=sgd width=1",
            "momentum=0 opt=sgd width=2",
            "nesterov=false momentum=0.9 opt=sgd width=1",
            "nesterov=false momentum=0.9 opt=sgd width=2",
            "nesterov=true momentum=0.9 opt=sgd width=1",
            "nesterov=true momentum=0.9 opt=sgd width=2",
        ],
    );
}

#[test]
fn the_order_is_that_of_a_visit_of_the_grid() {
    let weights = vec![("a".into(), 1.0), ("b".into(), 1.0)];
    let rule = Constraint::Linear { weights, at_most: 5.0 };
    let mut c = choice("c", ["x", "y", "z"]);
    c.when = Some(Condition::ge("b", 2));
    let constrained = constrained(vec![int("a", 1, 4), c, int("b", 0, 3)], vec![rule]);
    for space in [conditional(), constrained] {
        let mut play = Play::new(grid(space.clone(), json!({ "points": 4 })));
        play.run_out(|_| completed(1.0));
        let mut expected = Vec::new();
        let distribution = |k: usize| &space.parameters()[k].distribution;
        let value = |k: usize, turn: u64| match distribution(k).cells() {
            Some(_) => distribution(k).cell(turn),
            None => distribution(k).from_unit(turn as f64 / 3.0),
        };
        let count = |k: usize| distribution(k).cells().unwrap_or(4);
        space.visit_grid(&value, &count, &mut |point| {
            expected.push(point.to_vec());
            true
        });
        assert!(expected.len() > 10);
        let visited: Vec<&[f64]> = play.study.trials().iter().map(|trial| &*trial.point.0).collect();
        assert_eq!(visited.len(), expected.len());
        for (a, b) in visited.iter().zip(&expected) {
            assert!(a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan()), "{a:?} {b:?}");
        }
    }
}

#[test]
fn combinations_that_break_a_constraint_are_passed_over() {
    let rule = Constraint::Require(Condition::between("low", Comparison::Lt, "high"));
    let space = constrained(vec![int("low", 1, 3), int("high", 1, 3)], vec![rule]);
    check(space, json!({}), &["low=1 high=2", "low=1 high=3", "low=2 high=3"]);
}

#[test]
fn a_stopped_grid_goes_on_with_the_rest() {
    let space = || space(vec![int("a", 1, 4), float("x", 0.0, 1.0), choice("c", ["u", "v"])]);
    let whole = all(grid(space(), json!({ "points": 3 })));
    assert_eq!(whole.len(), 18);
    for stop in [1, 7, 17, 18] {
        let mut play = Play::new(grid(space(), json!({ "points": 3 })));
        play.run(stop, |_| completed(1.0));
        let mut again = play.reopened();
        again.run_out(|_| completed(1.0));
        assert_eq!(again.written(), whole);
        assert!(again.verified().disagreements.is_empty());
    }
}

#[test]
fn parallel_failed_and_pruned_trials_are_not_repeated() {
    let mut play = Play::new(grid(space(vec![int("a", 1, 5), int("b", 1, 2)]), json!({})));
    let running: Vec<_> = (0..4).map(|_| play.claim().unwrap()).collect();
    for (k, work) in running.into_iter().enumerate().rev() {
        play.end(work, [completed(1.0), failed(), Outcome::Pruned, Outcome::Cancelled][k].clone());
    }
    assert_eq!(play.run_out(|_| failed()), Done::Exhausted);
    let written = play.written();
    assert_eq!(written.len(), 10);
    assert!(written.is_sorted());
}

#[test]
fn a_queued_trial_on_the_grid_counts_as_its_combination() {
    let mut play =
        Play::new(grid(space(vec![int("a", 1, 3), float("x", 0.0, 1.0)]), json!({ "points": { "x": 2 } })));
    play.run(1, |_| completed(1.0));
    play.enqueue(Params::new().with("a", 2).with("x", 1.0));
    play.enqueue(Params::new().with("a", 2).with("x", 0.75));
    play.run_out(|_| completed(1.0));
    let expected = ["a=1 x=0", "a=2 x=1", "a=2 x=0.75", "a=1 x=1", "a=2 x=0", "a=3 x=0", "a=3 x=1"];
    assert_eq!(play.written(), expected);
}

#[test]
fn listed_values_are_visited_in_their_order() {
    let rates = || vec![on_scale("lr", 1e-4, 1.0, Scale::Log), choice("opt", ["sgd", "adam"])];
    let options = json!({ "values": { "lr": [0.1, 0.01, 0.1, 1], "opt": ["adam"] } });
    check(space(rates()), options.clone(), &["lr=0.1 opt=adam", "lr=0.01 opt=adam", "lr=1 opt=adam"]);

    // An edit of the space may take some of them away.
    let mut play = Play::new(grid(space(rates()), options));
    play.run(1, |_| completed(1.0));
    let narrower = on_scale("lr", 0.05, 1.0, Scale::Log);
    play.add(Event::SpaceChanged(luthier_core::event::SpaceEdit::Change(narrower)));
    play.run_out(|_| completed(1.0));
    assert_eq!(play.written(), ["lr=0.1 opt=adam", "lr=1 opt=adam"]);
}

#[test]
fn options_are_written_out_in_full() {
    let options = |given: serde_json::Value| {
        let spec = grid(space(vec![float("x", 0.0, 1.0)]), given);
        serde_json::Value::Object(spec.policy.sampler.options)
    };
    assert_eq!(options(json!({})), json!({ "points": { "*": 5 }, "values": {} }));
    assert_eq!(options(json!({ "points": 3 })), json!({ "points": { "*": 3 }, "values": {} }));
    assert_eq!(
        options(json!({ "points": { "x": 2 } })),
        json!({ "points": { "*": 5, "x": 2 }, "values": {} })
    );
}

#[test]
fn wrong_options_are_named() {
    let check = |options: serde_json::Value, expected: &str| {
        let mut spec =
            play::spec(space(vec![float("x", 0.0, 1.0), choice("opt", ["sgd", "adam"])]), "random");
        let options = options.as_object().unwrap().clone();
        spec.policy.sampler = Component { name: "grid".into(), options };
        let error = resolve(&spec).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(json!({ "points": 0 }), "points for \"*\" = 0 must be from 1 to 1000000");
    check(json!({ "points": { "x": 10_000_000 } }), "points for \"x\" = 10000000 must be from 1 to 1000000");
    check(json!({ "points": "many" }), "points is a whole number, or a table");
    check(json!({ "points": { "y": 3 } }), "no parameter \"y\"");
    check(json!({ "points": { "opt": 1 } }), "visited whole");
    check(json!({ "values": { "x": [] } }), "empty");
    check(json!({ "values": { "x": [0.5, 2.0] } }), "\"x\"");
    check(json!({ "values": { "opt": ["rmsprop"] } }), "\"opt\"");
    check(json!({ "values": { "y": [1] } }), "no parameter \"y\"");
}

/// Were the walk begun anew at each ask, this would take 10¹⁰ steps.
#[test]
fn a_million_combinations_are_walked_once() {
    let digits = (0..6).map(|k| int(&format!("d{k}"), 0, 9)).collect();
    let mut play = Play::new(grid(space(digits), json!({ "points": 10 })));
    assert_eq!(play.run(100_000, |_| completed(1.0)), None);
    for trial in [0, 1, 9, 12_345, 99_999] {
        let number =
            play.study.trials()[trial].point.0.iter().fold(0.0, |number, digit| number * 10.0 + digit);
        assert_eq!(number, trial as f64);
    }
    let mut again = play.reopened();
    again.run(1, |_| completed(1.0));
    assert_eq!(again.written()[100_000], "d0=1 d1=0 d2=0 d3=0 d4=0 d5=0");
}

#[test]
fn a_grid_that_is_used_up_is_told_apart_from_a_space_that_is() {
    let done = |space: Space| Play::new(grid(space, json!({ "points": 3 }))).run_out(|_| completed(1.0));
    assert_eq!(done(space(vec![int("a", 1, 3)])), Done::Exhausted);
    assert_eq!(done(space(vec![int("a", 1, 4)])), Done::SamplerExhausted("grid".into()));
    assert_eq!(done(space(vec![float("x", 0.0, 1.0)])), Done::SamplerExhausted("grid".into()));
}
