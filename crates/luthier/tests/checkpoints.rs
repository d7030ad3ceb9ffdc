//! Checkpoints under a scheduler that pauses: no step is run twice, and a quota is kept without losing the best trial's.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use luthier::core::event::{Event, Outcome};
use luthier::core::metric::{Direction, Metric, Metrics};
use luthier::core::space::Space;
use luthier::core::spec::{Component, Spec};
use luthier::core::study::Study;
use luthier::executor::{Keep, Options, run};
use luthier::objective::{Failed, Flow, Objective, Running};
use luthier::session::Session;

mod shared_log;

use shared_log::{Shared, events};

const LAST: u64 = 27;
const TRIALS: u64 = 60;

/// Counts steps, and keeps the step it is at in a checkpoint of a thousand bytes.
#[derive(Default)]
struct Training {
    steps: AtomicU64,
    begun_anew: AtomicU64,
}

impl Objective for Training {
    fn evaluate(&self, running: &mut Running<'_>) -> Result<(), Failed> {
        let x = running.float("x")?;
        let folder = running.checkpoint_folder();
        let file = folder.join("state");
        let saved =
            fs::read(&file).ok().and_then(|bytes| Some(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)));
        if running.step() > 0 && saved.is_none() {
            self.begun_anew.fetch_add(1, Ordering::Relaxed);
        }
        for step in saved.unwrap_or(0) + 1..=LAST {
            self.steps.fetch_add(1, Ordering::Relaxed);
            let mut state = step.to_le_bytes().to_vec();
            state.resize(1000, 0);
            fs::create_dir_all(&folder).and_then(|()| fs::write(&file, state)).expect("a folder to write in");
            if running.report(step, &[("loss", x + 1.0 / step as f64)]) != Flow::Continue {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn tune(folder: &Path, scheduler: Component, quota: Option<u64>) -> (Training, Study, Vec<Event>) {
    let space = Space::builder().float("x", 0.0..=1.0).build().unwrap();
    let mut spec = Spec::new("checkpoints", space, Metrics::single("loss", Direction::Minimize));
    spec.policy.scheduler = scheduler;
    spec.max_budget = Some(LAST);
    spec.limits.trials = Some(TRIALS);
    let log = Shared::default();
    let mut session = Session::create(Box::new(log.clone()), spec).unwrap();
    let training = Training::default();
    let options = Options { workers: 3, checkpoint_quota: quota, keep: Keep::Best, ..Options::new(folder) };
    run(&mut session, &training, &options, &mut |_, _| {}).unwrap();
    let events = events(&log);
    (training, session.study().clone(), events)
}

fn promote(name: &str) -> Component {
    Component::named(name).with("mode", "promote")
}

fn checkpoints(folder: &Path, study: &Study) -> Vec<u32> {
    let has = |number: &u32| folder.join(format!("{number:05}/checkpoint/state")).exists();
    (0..study.trials().len() as u32).filter(has).collect()
}

#[test]
fn promotion_resumes_and_no_step_is_run_twice() {
    for scheduler in [promote("asha"), promote("hyperband"), Component::named("successive_halving")] {
        let folder = tempfile::tempdir().unwrap();
        let (training, study, log) = tune(folder.path(), scheduler.clone(), None);
        let reached: u64 = study.trials().iter().map(luthier::core::trial::Trial::step).sum();
        assert_eq!(training.steps.load(Ordering::Relaxed), reached, "{}", scheduler.name);
        assert_eq!(training.begun_anew.load(Ordering::Relaxed), 0, "{}", scheduler.name);
        let resumed = log.iter().filter(|event| matches!(event, Event::Resumed { .. })).count();
        assert!(resumed > 15, "{}: {resumed}", scheduler.name);
        let kept = checkpoints(folder.path(), &study);
        let best = study.incumbent().unwrap().number;
        assert!(kept.contains(&best), "{}", scheduler.name);
        assert_eq!(kept.len(), study.paused().len() + 1, "{}: paused trials and the best", scheduler.name);
    }
}

#[test]
fn a_quota_is_kept_and_the_best_trials_checkpoint_is_never_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (training, study, _) = tune(folder.path(), promote("asha"), Some(6_500));
    let kept = checkpoints(folder.path(), &study);
    let best = study.incumbent().unwrap().number;
    assert!(kept.contains(&best), "{kept:?}");
    assert!(kept.len() <= 6, "a thousand bytes each: {kept:?}");
    assert!(study.paused().len() > 20);
    assert_eq!(study.tally().failed, 0, "a trial without its checkpoint begins anew");
    assert!(training.steps.load(Ordering::Relaxed) >= study.tally().steps);
    let completed =
        |trial: &luthier::core::trial::Trial| matches!(trial.outcome(), Some(Outcome::Completed { .. }));
    assert!(study.trials().iter().filter(|trial| completed(trial)).count() > 1);
}

#[test]
fn even_a_quota_of_nothing_leaves_the_best_and_the_study_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (training, study, _) = tune(folder.path(), promote("asha"), Some(0));
    assert_eq!(checkpoints(folder.path(), &study), [study.incumbent().unwrap().number]);
    // Most are promoted the moment they pause, and lose nothing.
    assert!(training.begun_anew.load(Ordering::Relaxed) > 0, "who is promoted later begins anew");
    assert_eq!((study.trials().len() as u64, study.tally().failed), (TRIALS, 0));
}

#[test]
fn with_two_metrics_the_checkpoints_of_the_whole_front_are_kept() {
    let space = Space::builder().float("x", 0.0..=1.0).build().unwrap();
    let mut metrics = Metrics::single("loss", Direction::Minimize);
    metrics.objectives.push(Metric { name: "size".into(), direction: Direction::Minimize });
    let mut spec = Spec::new("front", space, metrics);
    spec.policy.scheduler = Component::named("run_all");
    spec.max_budget = Some(2);
    spec.limits.trials = Some(12);
    for quota in [None, Some(0)] {
        let folder = tempfile::tempdir().unwrap();
        // The second half is found in a run of its own.
        let log = Shared::default();
        drop(Session::create(Box::new(log.clone()), spec.clone()).unwrap());
        for trials in [6, 12] {
            let mut session = Session::open(Box::new(log.clone())).unwrap();
            let options =
                Options { trials: Some(trials), checkpoint_quota: quota, ..Options::new(folder.path()) };
            run(&mut session, &Both, &options, &mut |_, _| {}).unwrap();
        }
        let session = Session::open(Box::new(log)).unwrap();
        let study = session.study();
        let values = |number: u32| study.trial(number).unwrap().values().unwrap();
        let is_beaten =
            |one: &u32| (0..12).any(|other| values(other).iter().zip(values(*one)).all(|(a, b)| a < b));
        let (beaten, front): (Vec<u32>, Vec<u32>) = (0..12).partition(is_beaten);
        assert!(front.len() > 2 && beaten.len() > 2, "{front:?}, {beaten:?}");
        assert_eq!(checkpoints(folder.path(), study), front, "quota {quota:?}");
    }
}

/// Two metrics that pull apart where `x` is below a half, and go up together beyond.
struct Both;

impl Objective for Both {
    fn evaluate(&self, running: &mut Running<'_>) -> Result<(), Failed> {
        let x = running.float("x")?;
        let (folder, size) = (running.checkpoint_folder(), if x < 0.5 { 1.0 - x } else { 2.0 + x });
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("state"), "x"))
            .expect("a folder to write in");
        for step in 1..=2 {
            if running.report(step, &[("loss", x), ("size", size)]) != Flow::Continue {
                break;
            }
        }
        Ok(())
    }
}
