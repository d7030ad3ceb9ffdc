//! Populations over time through a session and threads: children begin with what others had at their pauses, whoever is
//! interrupted meanwhile, and a schedule can be trained along again.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use luthier::core::engine::{Done, verify};
use luthier::core::event::Failure;
use luthier::core::lineage::schedule;
use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::Space;
use luthier::core::spec::{Component, Spec};
use luthier::core::study::Study;
use luthier::executor::{End, Keep, Options, Replay, run};
use luthier::objective::{Flow, Objective, closure};
use luthier::session::Session;

mod shared_log;

use shared_log::{Shared, events};

const LAST: u64 = 12;

fn spec(scheduler: &str, members: u64) -> Spec {
    let space = Space::builder().float("x", 0.0..=1.0).build().unwrap();
    let mut spec = Spec::new("test", space, Metrics::single("sum", Direction::Maximize));
    spec.max_budget = Some(LAST);
    spec.limits.trials = Some(members);
    spec.policy.scheduler = Component::named(scheduler).with("population", members).with("interval", 3);
    if scheduler == "pbt" {
        spec.policy.scheduler = spec.policy.scheduler.with("quantile", 0.5);
    }
    spec
}

/// Adds `x` at each step to what its checkpoint says, and overwrites that in place.
fn adding(calls: &Mutex<Vec<(u32, u64)>>) -> impl Objective + '_ {
    closure("sum", move |running| {
        let file = running.checkpoint_folder().join("state");
        let failed = |error: std::io::Error| Failure::error(error);
        let (mut step, mut sum) = match fs::read_to_string(&file) {
            Ok(text) => {
                let (step, sum) = text.split_once(' ').unwrap();
                (step.parse::<u64>().unwrap(), sum.parse::<f64>().unwrap())
            }
            Err(_) => (0, 0.0),
        };
        assert!(running.parent().is_none() || step > 0, "a child begins with something");
        fs::create_dir_all(running.checkpoint_folder()).map_err(failed)?;
        let end = running.budget().unwrap_or(LAST);
        let mut flow = Flow::Continue;
        while step < end && flow == Flow::Continue {
            (step, sum) = (step + 1, sum + running.float("x")?);
            fs::write(&file, format!("{step} {sum:?}")).map_err(failed)?;
            calls.lock().unwrap().push((running.trial(), step));
            flow = running.report(step, &[("sum", sum)]);
        }
        Ok(sum)
    })
}

/// A study run to its end, with its log.
fn tuned(spec: Spec, folder: &Path, workers: usize, keep: Keep) -> (Study, Shared, Vec<(u32, u64)>) {
    let (log, calls) = (Shared::default(), Mutex::default());
    let mut session = Session::create(Box::new(log.clone()), spec).unwrap();
    let options = Options { workers, keep, ..Options::new(folder) };
    run(&mut session, &adding(&calls), &options, &mut |_, _| {}).unwrap();
    let study = session.study().clone();
    (study, log, calls.into_inner().unwrap())
}

/// Every curve goes on where its parent's was at the step of the checkpoint; returns how many have a parent.
fn check_sums(study: &Study) -> usize {
    let sum = |number: u32, step: u64| {
        -study.piece(luthier::core::event::Work::of(number)).unwrap().loss_at(step).unwrap()
    };
    for trial in study.trials() {
        let x = trial.point.0[0];
        let (mut step, mut so_far) =
            trial.parent.map_or((0, 0.0), |(parent, step)| (step, sum(parent, step)));
        for point in trial.curve() {
            (step, so_far) = (step + 1, so_far + x);
            assert_eq!((point.step, sum(trial.number, step)), (step, so_far), "trial {}", trial.number);
        }
    }
    study.trials().iter().filter(|trial| trial.parent.is_some()).count()
}

fn left(folder: &Path, name: &str) -> usize {
    fs::read_dir(folder).unwrap().flatten().filter(|trial| trial.path().join(name).exists()).count()
}

#[test]
fn children_go_on_from_the_checkpoints_of_others() {
    for scheduler in ["pbt", "pb2"] {
        for workers in [1, 3] {
            let folder = tempfile::tempdir().unwrap();
            let (study, log, calls) = tuned(spec(scheduler, 6), folder.path(), workers, Keep::Best);
            assert!(check_sums(&study) >= 3, "{scheduler}");
            assert_eq!((study.tally().completed, study.tally().failed), (6, 0));
            assert_eq!(study.tally().steps, calls.len() as u64, "no step is taken twice");
            let found = verify(&events(&log)).unwrap();
            assert!(found.disagreements.is_empty(), "{:?}", found.disagreements);
            assert_eq!((left(folder.path(), "checkpoint"), left(folder.path(), "kept")), (1, 0));
        }
    }
}

#[test]
fn a_population_that_is_stopped_again_and_again_makes_the_same_decisions() {
    let whole = tempfile::tempdir().unwrap();
    let (expected, ..) = tuned(spec("pbt", 6), whole.path(), 1, Keep::Best);
    let (folder, log, calls) = (tempfile::tempdir().unwrap(), Shared::default(), Mutex::default());
    drop(Session::create(Box::new(log.clone()), spec("pbt", 6)).unwrap());
    for round in 0.. {
        assert!(round < 200, "it does not come to an end");
        let mut session = Session::open(Box::new(log.clone())).unwrap();
        let options = Options::new(folder.path());
        let stop = options.stop.clone();
        let mut seen = 0;
        let end = run(&mut session, &adding(&calls), &options, &mut |_, _| {
            seen += 1;
            if seen == 4 {
                stop.now();
            }
        });
        if end.unwrap() == End::Done(Done::Trials(6)) {
            assert!(round > 3, "it was stopped {round} times");
            break;
        }
    }
    let session = Session::open(Box::new(log.clone())).unwrap();
    let study = session.study();
    check_sums(study);
    let params = |study: &Study| study.trials().iter().map(|trial| study.params(trial)).collect::<Vec<_>>();
    assert_eq!(params(study), params(&expected));
    assert!(verify(&events(&log)).unwrap().disagreements.is_empty());
}

#[test]
fn a_child_whose_parents_checkpoint_is_gone_trains_it_again_along_its_schedule() {
    let whole = tempfile::tempdir().unwrap();
    let (expected, ..) = tuned(spec("pbt", 4), whole.path(), 1, Keep::Best);
    let (folder, log, calls) = (tempfile::tempdir().unwrap(), Shared::default(), Mutex::default());
    drop(Session::create(Box::new(log.clone()), spec("pbt", 4)).unwrap());
    for round in 0.. {
        assert!(round < 200, "it does not come to an end");
        let mut session = Session::open(Box::new(log.clone())).unwrap();
        let options = Options::new(folder.path());
        let stop = options.stop.clone();
        let end = run(&mut session, &adding(&calls), &options, &mut |_, _| stop.gently());
        if matches!(end.unwrap(), End::Done(_)) {
            break;
        }
        // After each interval all that trials had at their pauses is lost.
        for trial in fs::read_dir(folder.path()).unwrap().flatten() {
            let _none = fs::remove_dir_all(trial.path().join("kept"));
        }
    }
    let session = Session::open(Box::new(log.clone())).unwrap();
    let study = session.study();
    assert!(check_sums(study) >= 2 && (study.tally().completed, study.tally().failed) == (4, 0));
    let params = |study: &Study| study.trials().iter().map(|trial| study.params(trial)).collect::<Vec<_>>();
    assert_eq!(params(study), params(&expected));
    let said = study.notes().iter().filter(|(_, key, _)| &**key == "begins anew").count();
    assert!(said > 0);
    assert!(calls.into_inner().unwrap().len() as u64 > study.tally().steps, "steps are taken again");
    assert!(verify(&events(&log)).unwrap().disagreements.is_empty());
}

#[test]
fn a_quota_costs_a_population_steps_and_nothing_else() {
    let whole = tempfile::tempdir().unwrap();
    let (expected, ..) = tuned(spec("pbt", 6), whole.path(), 1, Keep::Best);
    // Each checkpoint has some 10 to 20 bytes.
    for quota in [0, 60, 100_000] {
        let (folder, log, calls) = (tempfile::tempdir().unwrap(), Shared::default(), Mutex::default());
        let mut session = Session::create(Box::new(log.clone()), spec("pbt", 6)).unwrap();
        let options = Options { checkpoint_quota: Some(quota), ..Options::new(folder.path()) };
        let mut most = 0;
        run(&mut session, &adding(&calls), &options, &mut |study, _| {
            let paused = study.paused().iter().map(|work| folder.path().join(format!("{:05}", work.trial)));
            most = most.max(paused.map(|trial| bytes(&trial)).sum());
        })
        .unwrap();
        let study = session.study();
        assert_eq!((study.tally().completed, study.tally().failed), (6, 0), "quota {quota}");
        assert!(check_sums(study) >= 3, "quota {quota}");
        let params =
            |study: &Study| study.trials().iter().map(|trial| study.params(trial)).collect::<Vec<_>>();
        assert_eq!(params(study), params(&expected), "quota {quota}");
        let again = calls.lock().unwrap().len() as u64 - study.tally().steps;
        let said = study.notes().iter().any(|(_, key, _)| &**key == "begins anew");
        assert_eq!((again > 0, said), (quota < 1000, quota < 1000), "quota {quota}: {again} steps again");
        // What has just paused is looked at after this; a child's parent is spared.
        assert!(quota > 1000 || most <= quota + 60, "quota {quota}: paused trials had {most} bytes");
        assert!(verify(&events(&log)).unwrap().disagreements.is_empty());
    }
}

/// Bytes of what a folder has in it.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() { bytes(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) }
        })
        .sum()
}

#[test]
fn the_winners_schedule_trained_along_again_gives_the_same_curve() {
    let (folder, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (study, ..) = tuned(spec("pbt", 8), folder.path(), 2, Keep::Best);
    let child =
        study.trials().iter().rev().find(|trial| trial.parent.is_some() && trial.values().is_some()).unwrap();
    let legs = schedule(&study, child.number);
    assert!(legs.len() >= 2);
    assert_eq!((legs[0].from, legs.last().unwrap().to), (0, LAST));
    assert!(legs.array_windows().all(|[a, b]| a.to == b.from));
    let calls = Mutex::default();
    let replay = Replay { seed: 0, max_budget: Some(LAST), folder: again.path().to_owned() };
    let mut heard = 0;
    let reports = replay.train(&adding(&calls), &legs, &mut |_| heard += 1).unwrap();
    assert_eq!(heard, reports.len());
    let steps: Vec<u64> = calls.into_inner().unwrap().into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, (1..=LAST).collect::<Vec<_>>(), "each step once");
    for leg in &legs {
        for point in study.trial(leg.trial).unwrap().curve().iter().filter(|point| point.step <= leg.to) {
            let (_, values) = reports.iter().find(|(step, _)| *step == point.step).unwrap();
            assert_eq!(values[0].1, -point.loss, "step {}", point.step);
        }
    }
}
