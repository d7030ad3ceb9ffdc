//! Whole runs through a session and threads: nothing lost, nothing twice, every decision re-derived.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use luthier::core::engine::{Done, verify};
use luthier::core::event::Failure;
use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::{Distribution, Parameter, Scale, Space};
use luthier::core::spec::Spec;
use luthier::core::trial::TrialState;
use luthier::executor::{End, Options, run};
use luthier::log::MemoryLog;
use luthier::objective::{Flow, Objective, closure};
use luthier::session::{Session, SessionError};

mod shared_log;

use shared_log::{Shared, events};

fn float(name: &str, low: f64, high: f64) -> Parameter {
    Parameter::new(name, Distribution::Float { low, high, scale: Scale::Linear, step: None })
}

fn spec(trials: u64) -> Spec {
    let space = Space::new(vec![float("x", -1.0, 1.0), float("y", -1.0, 1.0)], vec![]).unwrap();
    let mut spec = Spec::new("test", space, Metrics::single("loss", Direction::Minimize));
    spec.limits.trials = Some(trials);
    spec
}

fn tune(spec: Spec, objective: &dyn Objective, workers: usize) -> (Session, End) {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::create(Box::new(MemoryLog::new()), spec).unwrap();
    let options = Options { workers, ..Options::new(folder.path()) };
    let end = run(&mut session, objective, &options, &mut |_, _| {}).unwrap();
    (session, end)
}

#[test]
fn every_trial_runs_exactly_once_whatever_the_number_of_workers() {
    for workers in [1, 2, 8] {
        let calls = Mutex::new(Vec::new());
        let objective = closure("loss", |running| {
            calls.lock().unwrap().push(running.trial());
            Ok(running.float("x")?.powi(2) + running.float("y")?.powi(2))
        });
        let (session, end) = tune(spec(50), &objective, workers);
        assert_eq!(end, End::Done(Done::Trials(50)));
        assert_eq!(session.study().tally().completed, 50);
        let mut calls = calls.lock().unwrap().clone();
        calls.sort_unstable();
        assert_eq!(calls, (0..50).collect::<Vec<_>>());
    }
}

#[test]
fn a_parallel_log_verifies() {
    let log = Shared::default();
    let mut session = Session::create(Box::new(log.clone()), spec(60)).unwrap();
    let objective = closure("loss", |running| {
        for step in 1..=3 {
            let loss = running.float("x")?.abs() / step as f64;
            if running.report(step, &[("loss", loss)]) != Flow::Continue {
                return Ok(loss);
            }
        }
        running.float("x")
    });
    let folder = tempfile::tempdir().unwrap();
    let options = Options { workers: 4, ..Options::new(folder.path()) };
    run(&mut session, &objective, &options, &mut |_, _| {}).unwrap();
    let found = verify(&events(&log)).unwrap();
    assert!(found.disagreements.is_empty(), "{:?}", found.disagreements);
    assert_eq!(found.agreed, 60 + 180);
}

#[test]
fn failures_are_data() {
    let objective = closure("loss", |running| match running.trial() % 4 {
        0 => Err(Failure::error("no luck")),
        1 => Ok(f64::NAN),
        2 => panic!("boom"),
        _ => Ok(1.0),
    });
    let (session, _) = tune(spec(8), &objective, 2);
    let states: Vec<_> = session.study().trials().iter().map(|t| format!("{:?}", t.outcome())).collect();
    assert!(states[0].contains("no luck") && states[1].contains("NonFinite") && states[2].contains("boom"));
    assert_eq!(session.study().tally().failed, 6);
    assert_eq!(session.study().tally().completed, 2);
}

#[test]
fn a_study_continues_where_it_stopped() {
    let log = Shared::default();
    let objective = closure("loss", |running| running.float("x"));
    let folder = tempfile::tempdir().unwrap();
    let first = Options { trials: Some(7), ..Options::new(folder.path()) };
    {
        let mut session = Session::create(Box::new(log.clone()), spec(20)).unwrap();
        assert_eq!(run(&mut session, &objective, &first, &mut |_, _| {}).unwrap(), End::Limit);
        assert_eq!(session.study().tally().finished(), 7);
    }
    let mut session = Session::open(Box::new(log.clone())).unwrap();
    let rest = Options::new(folder.path());
    assert_eq!(run(&mut session, &objective, &rest, &mut |_, _| {}).unwrap(), End::Done(Done::Trials(20)));
    let (whole, _) = tune(spec(20), &objective, 1);
    let params = |s: &Session| s.study().trials().iter().map(|t| s.study().params(t)).collect::<Vec<_>>();
    assert_eq!(params(&session), params(&whole));
}

#[test]
fn define_by_run_grows_the_space() {
    let empty = Space::new(vec![], vec![]).unwrap();
    let mut spec = Spec::new("traced", empty, Metrics::single("loss", Direction::Minimize));
    spec.limits.trials = Some(30);
    let log = Shared::default();
    let mut session = Session::create(Box::new(log.clone()), spec).unwrap();
    let objective = closure("loss", |running| {
        let choices = Distribution::Categorical { choices: vec!["line".into(), "bowl".into()].into() };
        let kind = running.suggest(Parameter::new("kind", choices))?;
        let x = running.suggest(float("x", -1.0, 1.0))?.as_f64().unwrap();
        if kind.as_str() == Some("line") {
            return Ok(x);
        }
        let y = running.suggest(float("y", 0.0, 1.0))?.as_f64().unwrap();
        Ok(x * x + y)
    });
    let folder = tempfile::tempdir().unwrap();
    let options = Options { workers: 2, ..Options::new(folder.path()) };
    run(&mut session, &objective, &options, &mut |_, _| {}).unwrap();
    let study = session.study();
    assert_eq!(study.space().len(), 3);
    assert_eq!(study.tally().completed, 30);
    for trial in study.trials() {
        let params = study.params(trial);
        assert_eq!(
            params.get("y").is_some(),
            params.get("kind").unwrap().as_str() == Some("bowl"),
            "{params}"
        );
    }
    assert!(verify(&events(&log)).unwrap().disagreements.is_empty());
}

#[test]
fn what_cannot_be_started_waits_and_what_runs_beside_it_is_finished() {
    let log = Shared::default();
    let mut session = Session::create(Box::new(log.clone()), spec(6)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options { workers: 2, ..Options::new(folder.path()) };
    let has_failed = AtomicBool::new(false);
    let objective = closure("loss", |running| match running.trial() {
        2 => {
            has_failed.store(true, Ordering::SeqCst);
            Err(Failure::NotStarted { problem: "the disk is full".into() })
        }
        3 => {
            while !has_failed.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            running.float("x")
        }
        _ => running.float("x"),
    });
    let end = run(&mut session, &objective, &options, &mut |_, _| {}).unwrap();
    assert_eq!(end, End::NotStarted { trial: 2, problem: "the disk is full".into() });
    let study = session.study();
    assert_eq!(study.trial(2).unwrap().state(), TrialState::Waiting);
    assert_eq!((study.tally().failed, study.running().len()), (0, 0));
    let plain = closure("loss", |running| running.float("x"));
    run(&mut session, &plain, &Options::new(folder.path()), &mut |_, _| {}).unwrap();
    assert_eq!((session.study().tally().completed, session.study().trials().len()), (6, 6));
    assert!(verify(&events(&log)).unwrap().disagreements.is_empty());
}

#[test]
fn an_interrupted_run_gives_its_work_back() {
    let log = Shared::default();
    let mut session = Session::create(Box::new(log.clone()), spec(5)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options { workers: 2, ..Options::new(folder.path()) };
    let stop = options.stop.clone();
    let objective = closure("loss", |running| {
        if running.trial() == 3 {
            stop.now();
            while !running.is_interrupted() {
                std::thread::yield_now();
            }
            return Err(Failure::error("interrupted"));
        }
        running.float("x")
    });
    assert_eq!(run(&mut session, &objective, &options, &mut |_, _| {}).unwrap(), End::Stopped);
    assert_eq!(session.study().trial(3).unwrap().state(), TrialState::Waiting);
    let plain = closure("loss", |running| running.float("x"));
    run(&mut session, &plain, &Options::new(folder.path()), &mut |_, _| {}).unwrap();
    assert_eq!(session.study().tally().completed, 5);
    assert_eq!(session.study().trials().len(), 5);
}

#[test]
fn a_failed_turn_leaves_nothing_behind() {
    let log = Shared::default();
    let mut session = Session::create(Box::new(log.clone()), spec(5)).unwrap();
    let failed: Result<(), _> = session.turn(|turn| {
        turn.ask()?;
        Err(SessionError::Spec("on purpose".into()))
    });
    assert!(failed.is_err());
    assert_eq!(session.study().trials().len(), 0);
    assert_eq!(events(&log).len(), 1);
}
