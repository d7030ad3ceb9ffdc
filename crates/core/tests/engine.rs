//! The engine over whole studies: determinism, limits, exhaustion, lost work.

use luthier_core::engine::{Done, Engine, Next, verify};
use luthier_core::event::{Event, Outcome, Work};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::space::{Distribution, Parameter, Scale, Space, Value};
use luthier_core::spec::Spec;
use luthier_core::study::Study;

fn float(name: &str, low: f64, high: f64) -> Parameter {
    Parameter::new(name, Distribution::Float { low, high, scale: Scale::Linear, step: None })
}

fn spec(parameters: Vec<Parameter>) -> Spec {
    Spec::new("test", Space::new(parameters, vec![]).unwrap(), Metrics::single("loss", Direction::Minimize))
}

/// Runs a study one trial at a time; the loss of a trial is `loss(its point)`.
fn run(spec: Spec, loss: impl Fn(&[f64]) -> f64) -> (Vec<Event>, Study, Done) {
    let mut events = vec![Event::Created(Box::new(spec.clone()))];
    let mut study = Study::new(spec);
    let mut engine = Engine::new(&study).unwrap();
    let mut add = |study: &mut Study, event: Event| {
        study.apply(&event).unwrap();
        events.push(event);
    };
    let done = loop {
        match engine.next(&study).unwrap() {
            Next::Decide(event) => add(&mut study, event),
            Next::Claim(work) => {
                add(&mut study, Event::Claimed { work, attempt: 1 });
                let values = vec![loss(&study.trial(work.trial).unwrap().point.0)];
                let outcome = Outcome::Completed { values };
                add(&mut study, Event::Ended { work, outcome, seconds: 1.0, used: None });
            }
            Next::Wait => panic!("waits with nothing running"),
            Next::Done(done) => break done,
        }
    };
    (events, study, done)
}

#[test]
fn random_search_runs_to_its_limit_and_verifies() {
    let mut spec = spec(vec![float("x", -1.0, 1.0)]);
    spec.limits.trials = Some(50);
    let (events, study, done) = run(spec, |p| p[0] * p[0]);
    assert_eq!(done, Done::Trials(50));
    assert_eq!(study.tally().completed, 50);
    let best = study.incumbent().unwrap().loss(study.metrics(), 0).unwrap();
    assert!(study.trials().iter().all(|t| t.loss(study.metrics(), 0).unwrap() >= best));
    let found = verify(&events).unwrap();
    assert_eq!((found.agreed, found.disagreements.len()), (50, 0));
}

#[test]
fn a_changed_decision_is_found() {
    let mut spec = spec(vec![float("x", -1.0, 1.0)]);
    spec.limits.trials = Some(5);
    let (mut events, ..) = run(spec, |p| p[0]);
    for event in &mut events {
        if let Event::Started { trial: 3, params, .. } = event {
            params[0] = Some(Value::Float(0.125));
        }
    }
    assert_eq!(verify(&events).unwrap().disagreements.len(), 1);
}

#[test]
fn a_finite_space_is_searched_without_repetition_and_ends_the_study() {
    let choices = Distribution::Categorical { choices: vec!["a".into(), "b".into(), "c".into()].into() };
    let int = Distribution::Int { low: 1, high: 4, scale: Scale::Linear, step: 1 };
    let (_, study, done) = run(spec(vec![Parameter::new("c", choices), Parameter::new("i", int)]), |p| p[1]);
    assert_eq!(done, Done::Exhausted);
    assert_eq!(study.trials().len(), 12);
}

#[test]
fn forgetting_memos_changes_nothing() {
    let int = Distribution::Int { low: 1, high: 40, scale: Scale::Linear, step: 1 };
    let mut spec = spec(vec![Parameter::new("i", int)]);
    spec.seed = 7;
    let (events, ..) = run(spec, |p| p[0]);
    let mut study = Study::replay(&events[..1]).unwrap();
    for event in &events[1..] {
        if let Event::Started { .. } = event {
            let mut engine = Engine::new(&study).unwrap();
            assert_eq!(engine.next(&study).unwrap(), Next::Decide(event.clone()));
        }
        study.apply(event).unwrap();
    }
}

#[test]
fn events_survive_json() {
    let mut spec = spec(vec![float("x", 1e-5, 1.0), float("y", 0.0, 1.0)]);
    spec.limits.trials = Some(20);
    let (events, ..) = run(spec, |p| p[0].sin() / 3.0);
    for event in &events {
        let text = serde_json::to_string(event).unwrap();
        let back: Event = serde_json::from_str(&text).unwrap();
        assert_eq!(&back, event, "{text}");
    }
}

#[test]
fn work_of_a_lost_worker_is_claimed_again_with_the_next_token() {
    let mut study = Study::new(spec(vec![float("x", 0.0, 1.0)]));
    let mut engine = Engine::new(&study).unwrap();
    let Next::Decide(event) = engine.next(&study).unwrap() else { panic!("a decision was due") };
    study.apply(&event).unwrap();
    let work = Work::of(0);
    study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
    study.apply(&Event::Lost { work, returned: false }).unwrap();
    assert_eq!(engine.next(&study).unwrap(), Next::Claim(work));
    assert!(study.apply(&Event::Claimed { work, attempt: 1 }).is_err());
    study.apply(&Event::Claimed { work, attempt: 2 }).unwrap();
}
