//! Adaptive TPE: against random search, against the plain estimator where locking must help, and its options.

#[path = "support/compared.rs"]
mod compared;
#[path = "support/functions.rs"]
mod functions;

use std::collections::BTreeSet;

use compared::{SEEDS, WINS};
use functions::{BRANCHES, Function, HARTMANN6, SPHERE, TEN, best, run, study_of};
use luthier_core::engine::{resolve, verify};
use luthier_core::event::Event;
use luthier_core::metric::{Direction, Metrics};
use luthier_core::sampler::adaptive_tpe::features::{COUNT, NAMES, features_of};
use luthier_core::sampler::adaptive_tpe::{SETTING_COUNT, SETTINGS, Settings};
use luthier_core::space::{Distribution, Parameter, Scale, Space};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use luthier_core::trial::Trial;
use serde_json::{Value as Json, json};

fn wins(function: &Function, ours: &Component, other: &Component, trials: usize) -> usize {
    let regret = |sampler: &Component, seed| best(&study_of(function, sampler.clone(), seed, trials));
    (0..SEEDS).filter(|seed| regret(ours, *seed) < regret(other, *seed)).count()
}

#[test]
fn wins_against_random_search() {
    for (function, trials) in [(&SPHERE, 60), (&HARTMANN6, 60), (&BRANCHES, 60), (&TEN, 60)] {
        let wins = wins(function, &Component::named("adaptive_tpe"), &Component::named("random"), trials);
        println!("{}: {wins}", function.name);
        assert!(wins >= WINS, "{}: {wins} of {SEEDS}", function.name);
    }
}

#[test]
fn every_choice_of_every_setting_wins_against_random_search() {
    let options: [(&str, &[Json]); 8] = [
        ("gamma", &[json!(0.05), json!(0.2)]),
        ("n_candidates", &[json!(8), json!(64)]),
        ("width", &[json!(0.05), json!(0.1)]),
        ("bad_width", &[json!(0.1), json!(0.4)]),
        ("prior_weight", &[json!(0.3), json!(3.0)]),
        ("lock", &[json!(0.0), json!(0.7)]),
        ("filter", &[json!("none"), json!("age"), json!("rank"), json!("random")]),
        ("grouping", &[json!("joint"), json!("single")]),
    ];
    for (option, values) in options {
        for value in values {
            let sampler = Component::named("adaptive_tpe").with(option, value.clone());
            let wins = wins(&TEN, &sampler, &Component::named("random"), 50);
            assert!(wins >= WINS, "{option} = {value}: {wins} of {SEEDS}");
        }
    }
}

fn unit_cube(parameters: usize) -> Space {
    let distribution = Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None };
    let parameters = (0..parameters).map(|k| Parameter::new(format!("x{k}"), distribution.clone()));
    Space::new(parameters.collect(), vec![]).expect("the space is valid")
}

/// Two parameters that matter and ten that do not.
const FEW_MATTER: Function = Function {
    name: "few matter",
    space: || unit_cube(12),
    regret: |x| (x[3] - 0.3).powi(2) + (x[8] - 0.6).powi(2) + 0.001 * (x[0] - 0.5).powi(2),
};

/// Four values a parameter, whatever is proposed within a quarter of its range: as where results are looked up, or params rounded.
const ROUNDED: Function = Function {
    name: "rounded",
    space: || unit_cube(6),
    regret: |x| {
        let cell = |k: usize| (4.0 * x[k]).floor().min(3.0);
        let place = (0..6).map(|k| cell(k) * 4f64.powi(k as i32)).sum::<f64>();
        (0..6).map(|k| (cell(k) - 1.0).abs()).sum::<f64>() + (0.37 * place).sin()
    },
};

/// In all of 10 seeds; with equal chances that happens once in a thousand times.
#[test]
fn it_comes_back_to_the_same_result_less_often_where_copies_are_bad() {
    let kinds = |copies: bool, seed| {
        let study = study_of(&ROUNDED, Component::named("adaptive_tpe").with("copies", copies), seed, 120);
        let losses = study.trials().iter().filter_map(|trial| trial.values());
        losses.map(|values| values[0].to_bits()).collect::<BTreeSet<u64>>().len()
    };
    let wins = (0..10).filter(|seed| kinds(false, *seed) > kinds(true, *seed)).count();
    assert_eq!(wins, 10);
}

#[test]
fn the_important_parameters_are_found_and_the_others_locked() {
    let study = study_of(&FEW_MATTER, Component::named("random"), 2, 120);
    let features = features_of(&study);
    let index = NAMES.iter().position(|name| name.starts_with("share of the importance")).unwrap();
    assert!(features[index] > 0.2, "{features:?}");
    // With everything else locked to values that some good trial had, these repeat.
    let sampler = Component::named("adaptive_tpe").with("lock", 1.0);
    let study = study_of(&FEW_MATTER, sampler, 2, 120);
    let repeated = |k: usize| {
        let values = study.trials()[60..].iter().map(|trial| trial.point.0[k]);
        let earlier = |value: f64| study.trials()[..60].iter().any(|trial| trial.point.0[k] == value);
        values.filter(|value| earlier(*value)).count()
    };
    // The two may have such unequal shares of the importance that one counts as secondary.
    assert!(repeated(3).min(repeated(8)) < 10, "{} {}", repeated(3), repeated(8));
    assert!((0..12).filter(|k| ![3, 8].contains(k)).all(|k| repeated(k) > 20));
}

#[test]
fn features_are_finite_and_small_whatever_the_history() {
    let constant = |_: &[f64]| 1.0;
    let mut spec = Spec::new("s", (TEN.space)(), Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = Component::named("random");
    for trials in [0, 1, 2, 30] {
        for study in
            [run(spec.clone(), trials, constant), study_of(&BRANCHES, Component::named("random"), 3, trials)]
        {
            let features = features_of(&study);
            assert!(features.iter().all(|feature| feature.abs() <= 2.0), "{trials}: {features:?}");
        }
    }
    let empty = Study::new(Spec::new("s", Space::default(), Metrics::single("loss", Direction::Minimize)));
    assert!(features_of(&empty).iter().all(|feature| feature.is_finite()));
}

#[test]
fn without_reason_the_settings_are_the_plain_estimators() {
    assert_eq!(Settings::of([0; SETTING_COUNT]).gamma, 0.1);
    assert_eq!(Settings::of([0; SETTING_COUNT]).n_candidates, 24);
    assert_eq!(Settings::by(&[0.0; COUNT]), Settings::of([0; SETTING_COUNT]));
    assert_eq!(SETTINGS.iter().map(|(_, count)| count).sum::<usize>(), 24);
}

#[test]
fn with_the_plain_settings_it_proposes_what_plain_tpe_does() {
    let plain = Settings::of([0; SETTING_COUNT]);
    let plain = Component::named("adaptive_tpe")
        .with("gamma", plain.gamma)
        .with("n_candidates", plain.n_candidates)
        .with("width", plain.width)
        .with("bad_width", plain.bad_width)
        .with("prior_weight", plain.prior_weight)
        .with("lock", plain.lock)
        .with("filter", serde_json::to_value(plain.filter).unwrap())
        .with("grouping", serde_json::to_value(plain.grouping).unwrap());
    for function in [&BRANCHES, &TEN] {
        let points = |sampler: &Component| -> Vec<Vec<u64>> {
            let study = study_of(function, sampler.clone(), 4, 80);
            let bits = |trial: &Trial| trial.point.0.iter().map(|x| x.to_bits()).collect();
            study.trials().iter().map(bits).collect()
        };
        assert_eq!(points(&plain), points(&Component::named("tpe")), "{}", function.name);
    }
}

#[test]
fn wrong_options_are_refused() {
    let mut spec = Spec::new("s", (SPHERE.space)(), Metrics::single("loss", Direction::Minimize));
    for (option, value) in [
        ("gamma", json!(1.0)),
        ("n_candidates", json!(0)),
        ("width", json!(1.0)),
        ("prior_weight", json!(0.0)),
        ("lock", json!(1.5)),
        ("grouping", json!("group")),
        ("gama", json!(0.1)),
    ] {
        spec.policy.sampler = Component::named("adaptive_tpe").with(option, value);
        let problem = resolve(&spec).unwrap_err().to_string();
        assert!(problem.contains(option), "{problem}");
    }
}

#[test]
fn the_log_verifies() {
    let mut spec = Spec::new("s", (BRANCHES.space)(), Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = Component::named("adaptive_tpe");
    spec.limits.trials = Some(60);
    spec.policy = resolve(&spec).unwrap();
    let mut study = Study::new(spec.clone());
    let mut events = vec![Event::Created(Box::new(spec))];
    let mut engine = luthier_core::engine::Engine::new(&study).unwrap();
    let mut add = |study: &mut Study, event: Event| {
        study.apply(&event).unwrap();
        events.push(event);
    };
    while let Ok(next) = engine.next(&study) {
        match next {
            luthier_core::engine::Next::Decide(event) => add(&mut study, event),
            luthier_core::engine::Next::Claim(work) => {
                let values = vec![(BRANCHES.regret)(&study.trials()[work.trial as usize].point.0)];
                add(&mut study, Event::Claimed { work, attempt: 1 });
                let outcome = luthier_core::event::Outcome::Completed { values };
                add(&mut study, Event::Ended { work, outcome, seconds: 0.0, used: None });
            }
            luthier_core::engine::Next::Wait | luthier_core::engine::Next::Done(_) => break,
        }
    }
    assert_eq!(study.finished().len(), 60);
    assert_eq!(verify(&events).unwrap().disagreements, vec![]);
}
