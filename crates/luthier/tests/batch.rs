//! Objectives that evaluate many trials in one call: every trial has its own reports, decisions and end, slots are
//! refilled, and whatever happens to the one call, each trial is recorded exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use luthier::core::engine::{Done, verify};
use luthier::core::event::{Event, Failure, Outcome, Work};
use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::{Distribution, Parameter, Scale, Space};
use luthier::core::spec::{Component, PolicySpec, Spec};
use luthier::core::study::Study;
use luthier::core::trial::{Trial, TrialState};
use luthier::executor::{End, Options, run};
use luthier::log::{Draft, Guard, Log, MemoryLog, Options as LogOptions, ReplayError, SqliteLog};
use luthier::objective::{Failed, Flow, Next, Objective, Pool, Running};
use luthier::session::{Session, SessionError};

mod shared_log;

use shared_log::{Shared, events};

const SLOTS: usize = 5;
const TRIALS: u64 = 24;

/// One trial of [`Descent`] while it runs.
struct Member<'a> {
    running: Running<'a>,
    state: f64,
    step: u64,
    end: u64,
}

impl<'a> Member<'a> {
    /// From its checkpoint if there is one, else from its parameter.
    fn new(running: Running<'a>) -> Self {
        let own = 3 + u64::from(running.trial() % 5);
        let end = running.budget().or(running.max_budget()).unwrap_or(own);
        let saved = fs::read_to_string(running.checkpoint_folder().join("state")).ok();
        let (step, state) = match &saved {
            Some(text) => {
                let (step, state) = text.split_once(' ').unwrap();
                (step.parse().unwrap(), state.parse().unwrap())
            }
            None => (0, running.float("x").unwrap()),
        };
        Self { running, state, step, end }
    }

    fn advance(&mut self) {
        (self.state, self.step) = (descended(self.state), self.step + 1);
    }

    /// Whether it goes on after a report.
    fn goes_on(&mut self) -> bool {
        let flow = self.running.flow();
        // The study does not know where a trial ends, so one that is interrupted at its end may come back.
        if flow == Flow::Pause || self.running.is_interrupted() || self.step >= self.end {
            self.save();
        }
        flow == Flow::Continue && self.step < self.end
    }

    fn save(&self) {
        let folder = self.running.checkpoint_folder();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("state"), format!("{} {:?}", self.step, self.state)).unwrap();
    }
}

fn descended(state: f64) -> f64 {
    state * 0.8
}

fn loss(state: f64) -> f64 {
    state * state
}

type Hook = dyn Fn(&mut Vec<Member<'_>>) -> Result<(), Failed> + Send + Sync;

/// Gradient descent on as many parabolas at once as there are slots.
struct Descent {
    slots: usize,
    /// Is called with all members before each of their common steps.
    before_step: Box<Hook>,
    /// How often there was nothing for a free slot, and nothing more at all.
    later: AtomicU64,
    over: AtomicU64,
}

impl Descent {
    fn new(slots: usize) -> Self {
        Self::with_hook(slots, |_| Ok(()))
    }

    fn with_hook(
        slots: usize,
        hook: impl Fn(&mut Vec<Member<'_>>) -> Result<(), Failed> + Send + Sync + 'static,
    ) -> Self {
        Self { slots, before_step: Box::new(hook), later: AtomicU64::new(0), over: AtomicU64::new(0) }
    }
}

impl Descent {
    fn refill<'a>(&self, pool: &mut Pool<'a>) -> Option<Running<'a>> {
        match pool.refill() {
            Next::Trial(running) => return Some(running),
            Next::Later => self.later.fetch_add(1, Ordering::Relaxed),
            Next::Over => self.over.fetch_add(1, Ordering::Relaxed),
        };
        None
    }
}

impl Objective for Descent {
    fn evaluate(&self, _: &mut Running<'_>) -> Result<(), Failed> {
        Err(Failure::error("nobody asks for one trial at a time").into())
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn evaluate_batch(&self, pool: &mut Pool<'_>) -> Result<(), Failed> {
        assert_eq!(pool.slots(), self.slots);
        let mut members: Vec<Member<'_>> = Vec::new();
        loop {
            while let Some(running) = self.refill(pool) {
                let member = Member::new(running);
                if member.step < member.end {
                    members.push(member);
                } else {
                    // Interrupted right after its last step.
                    member.running.finish(Ok(()));
                }
            }
            if members.is_empty() {
                return Ok(());
            }
            (self.before_step)(&mut members)?;
            for member in &mut members {
                member.advance();
                member.running.post(member.step, &[("loss", loss(member.state))]);
            }
            for mut member in std::mem::take(&mut members) {
                if member.goes_on() {
                    members.push(member);
                } else {
                    member.running.finish(Ok(()));
                }
            }
        }
    }
}

/// The same one by one, with nothing of pools in it.
struct OneByOne;

impl Objective for OneByOne {
    fn evaluate(&self, running: &mut Running<'_>) -> Result<(), Failed> {
        let own = 3 + u64::from(running.trial() % 5);
        let end = running.budget().or(running.max_budget()).unwrap_or(own);
        let mut state = running.float("x")?;
        for step in 1..=end {
            state = descended(state);
            if step > running.step() && running.report(step, &[("loss", loss(state))]) != Flow::Continue {
                break;
            }
        }
        Ok(())
    }
}

fn spec(trials: u64) -> Spec {
    let x = Distribution::Float { low: -1.0, high: 1.0, scale: Scale::Linear, step: None };
    let space = Space::new(vec![Parameter::new("x", x)], vec![]).unwrap();
    let mut spec = Spec::new("batch", space, Metrics::single("loss", Direction::Minimize));
    spec.limits.trials = Some(trials);
    spec
}

fn scheduled(scheduler: Component) -> Spec {
    let mut spec = spec(TRIALS);
    spec.max_budget = Some(9);
    spec.policy = PolicySpec { scheduler, ..PolicySpec::new("tpe", "run_all") };
    spec
}

/// Runs a study in memory to its end.
fn tune(spec: Spec, objective: &dyn Objective, workers: usize) -> (Session, Vec<Event>) {
    let (log, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let mut session = Session::create(Box::new(log.clone()), spec).unwrap();
    let options = Options { workers, ..Options::new(folder.path()) };
    run(&mut session, objective, &options, &mut |_, _| {}).unwrap();
    (session, events(&log))
}

fn open(path: &Path) -> Session {
    Session::open(Box::new(SqliteLog::open(path, LogOptions::default()).unwrap())).unwrap()
}

fn create(path: &Path, spec: Spec) -> Session {
    Session::create(Box::new(SqliteLog::create(path, LogOptions::default()).unwrap()), spec).unwrap()
}

fn events_at(path: &Path) -> Vec<Event> {
    let mut log = SqliteLog::open(path, LogOptions::default()).unwrap();
    log.read(0, usize::MAX >> 1).unwrap().iter().map(|record| record.event().unwrap()).collect()
}

/// What holds of every log: decisions follow from it, each trial ends at most once, curves have no gap and the values
/// that the trial's parameter leads to, and no more than `slots` run at once. Returns the most that did.
fn check(study: &Study, events: &[Event], slots: usize) -> usize {
    let found = verify(events).unwrap();
    assert!(found.disagreements.is_empty(), "{:?}", found.disagreements);
    let (mut running, mut ended, mut most) = (BTreeSet::new(), BTreeSet::new(), 0);
    for event in events {
        match event {
            Event::Claimed { work, .. } => assert!(running.insert(*work), "{work:?} runs twice at once"),
            Event::Paused { work, .. } | Event::Lost { work, .. } => assert!(running.remove(work)),
            Event::Ended { work, .. } => {
                running.remove(work);
                assert!(ended.insert(*work), "{work:?} ends twice");
            }
            _ => {}
        }
        most = most.max(running.len());
    }
    assert!(running.is_empty(), "{running:?} never ended");
    assert!(most <= slots, "{most} at once in {slots} slots");
    for trial in study.trials() {
        let mut state = study.params(trial).get("x").unwrap().as_f64().unwrap();
        for (k, point) in trial.curve().iter().enumerate() {
            state = descended(state);
            assert_eq!(point.step, k as u64 + 1, "trial {}", trial.number);
            assert_eq!(study.curve_value(point, "loss"), Some(loss(state)), "trial {}", trial.number);
        }
    }
    most
}

fn results(study: &Study) -> Vec<(Option<Outcome>, usize)> {
    study.trials().iter().map(|trial| (trial.outcome().cloned(), trial.curve().len())).collect()
}

/// The trials whose failure says `text`.
fn failed_with(study: &Study, text: &str) -> BTreeSet<u32> {
    let says = |outcome: &Outcome| {
        matches!(outcome, Outcome::Failed { .. }) && format!("{outcome:?}").contains(text)
    };
    study.trials().iter().filter(|t| t.outcome().is_some_and(says)).map(|t| t.number).collect()
}

#[test]
fn trials_that_run_together_have_the_results_they_have_alone() {
    let (alone, alone_events) = tune(spec(TRIALS), &OneByOne, 1);
    assert_eq!(check(alone.study(), &alone_events, 1), 1);
    for (slots, workers) in [(1, 1), (SLOTS, 1), (SLOTS, 2), (100, 1)] {
        let (together, events) = tune(spec(TRIALS), &Descent::new(slots), workers);
        let most = check(together.study(), &events, slots * workers);
        assert_eq!(most, (slots * workers).min(TRIALS as usize));
        assert_eq!(results(together.study()), results(alone.study()), "{slots} slots, {workers} workers");
    }
}

#[test]
fn schedulers_decide_about_each_member_by_itself() {
    let median = Component::named("median").with("startup_trials", 2);
    let promote = Component::named("asha").with("mode", "promote");
    for scheduler in [Component::named("run_all"), Component::named("asha"), promote, median] {
        let name = format!("{scheduler:?}");
        let (alone, alone_events) = tune(scheduled(scheduler.clone()), &OneByOne, 1);
        check(alone.study(), &alone_events, 1);
        for workers in [1, 2] {
            let (together, events) = tune(scheduled(scheduler.clone()), &Descent::new(SLOTS), workers);
            let study = together.study();
            assert_eq!(check(study, &events, SLOTS * workers), SLOTS * workers, "{name}");
            assert_eq!(study.trials().len() as u64, TRIALS, "{name}");
            let (own, lone) = (study.tally(), alone.study().tally());
            assert_eq!((own.failed, own.cancelled), (0, 0), "{name}");
            assert_eq!(own.completed + own.pruned + study.paused().len() as u64, TRIALS, "{name}");
            assert_eq!(own.pruned > 0, lone.pruned > 0, "{name}");
            assert_eq!(study.paused().is_empty(), alone.study().paused().is_empty(), "{name}");
            assert!(study.tally().completed > 0, "{name}");
        }
    }
}

#[test]
fn slots_are_refilled_until_there_is_nothing_left() {
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let descent = Descent::with_hook(SLOTS, move |members| {
        keep.lock().unwrap().push(members.iter().map(|m| m.running.trial()).collect::<Vec<_>>());
        Ok(())
    });
    tune(spec(TRIALS), &descent, 1);
    let seen = seen.lock().unwrap();
    let mut started = 0;
    for (k, members) in seen.iter().enumerate() {
        started = started.max(members.iter().max().unwrap() + 1);
        let all_started = u64::from(started) == TRIALS;
        assert!(members.len() == SLOTS || all_started, "step {k} has only {members:?}");
    }
    // Each trial takes part in as many common steps as it is long, and never has to wait.
    let all_steps: u64 = (0..TRIALS).map(|trial| 3 + trial % 5).sum();
    assert_eq!(seen.iter().map(Vec::len).sum::<usize>() as u64, all_steps);
}

#[test]
fn one_worker_with_many_slots_decides_the_same_every_time() {
    let asha = || scheduled(Component::named("asha").with("mode", "promote"));
    let timeless = |events: &[Event]| {
        let without_seconds = |event: &Event| {
            let mut json = serde_json::to_value(event).unwrap();
            forget_seconds(&mut json);
            json
        };
        events.iter().map(without_seconds).collect::<Vec<_>>()
    };
    let (_, first) = tune(asha(), &Descent::new(SLOTS), 1);
    for _ in 0..3 {
        let (_, again) = tune(asha(), &Descent::new(SLOTS), 1);
        let (again, first) = (timeless(&again), timeless(&first));
        for (k, (again, first)) in again.iter().zip(&first).enumerate() {
            assert_eq!(again, first, "event {}", k + 1);
        }
        assert_eq!(again.len(), first.len());
    }
}

fn forget_seconds(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Object(fields) => {
            fields.remove("seconds");
            fields.values_mut().for_each(forget_seconds);
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(forget_seconds),
        _ => {}
    }
}

#[test]
fn a_member_that_fails_does_not_hurt_the_others() {
    let descent = Descent::with_hook(SLOTS, |members| {
        for mut member in std::mem::take(members) {
            match (member.running.trial() % 4, member.step) {
                (0, 1) => member.running.finish(Err(Failure::error("no luck").into())),
                (1, 2) => drop(member),
                (2, 2) => {
                    let flow = member.running.report(3, &[("loss", f64::NAN)]);
                    assert_eq!(flow, Flow::Stop);
                    member.running.finish(Ok(()));
                }
                _ => members.push(member),
            }
        }
        Ok(())
    });
    let (session, events) = tune(spec(TRIALS), &descent, 2);
    let study = session.study();
    check(study, &events, 2 * SLOTS);
    let every_fourth = |from: u32| (from..TRIALS as u32).step_by(4).collect::<BTreeSet<_>>();
    assert_eq!(failed_with(study, "no luck"), every_fourth(0));
    assert_eq!(failed_with(study, "without finishing it"), every_fourth(1));
    assert_eq!(failed_with(study, "NonFinite"), every_fourth(2));
    assert_eq!(study.tally().completed, TRIALS / 4);
}

#[test]
fn what_ends_the_whole_call_fails_who_was_in_it_and_nobody_else() {
    type Ends = fn() -> Result<(), Failed>;
    let ends: [(&str, Ends); 2] =
        [("boom", || panic!("boom")), ("out of memory", || Err(Failure::error("out of memory").into()))];
    for (text, end) in ends {
        let victims = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
        let (keep, over) = (victims.clone(), AtomicBool::new(false));
        let descent = Descent::with_hook(SLOTS, move |members| {
            let is_time = members.iter().any(|m| m.running.trial() == 7 && m.step == 2);
            if !is_time || over.swap(true, Ordering::Relaxed) {
                return Ok(());
            }
            keep.lock().unwrap().extend(members.iter().map(|m| m.running.trial()));
            end()
        });
        let (session, events) = tune(spec(TRIALS), &descent, 1);
        check(session.study(), &events, SLOTS);
        assert_eq!(victims.lock().unwrap().len(), SLOTS);
        assert_eq!(failed_with(session.study(), text), *victims.lock().unwrap());
        assert_eq!(session.study().tally().completed, TRIALS - SLOTS as u64);
    }
}

#[test]
fn an_objective_that_takes_no_trial_fails_them_and_does_not_run_for_ever() {
    struct Lazy;
    impl Objective for Lazy {
        fn evaluate(&self, _: &mut Running<'_>) -> Result<(), Failed> {
            Ok(())
        }
        fn slots(&self) -> usize {
            3
        }
        fn evaluate_batch(&self, _: &mut Pool<'_>) -> Result<(), Failed> {
            Err(Failure::error("no device").into())
        }
    }
    let (session, events) = tune(spec(7), &Lazy, 1);
    check(session.study(), &events, 3);
    assert_eq!(failed_with(session.study(), "no device").len(), 7);
}

#[test]
fn no_more_trials_are_started_than_this_run_may_finish() {
    for (limit, workers) in [(1, 1), (7, 1), (7, 2), (SLOTS as u64, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let mut session = Session::create(Box::new(MemoryLog::new()), spec(TRIALS)).unwrap();
        let options = Options { workers, trials: Some(limit), ..Options::new(folder.path()) };
        let end = run(&mut session, &Descent::new(SLOTS), &options, &mut |_, _| {}).unwrap();
        assert_eq!(end, End::Limit);
        assert_eq!(session.study().tally().completed, limit);
        assert_eq!(session.study().trials().len() as u64, limit);
    }
}

#[test]
fn a_pool_tells_later_from_never() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::create(Box::new(MemoryLog::new()), spec(TRIALS)).unwrap();
    let options = Options { trials: Some(SLOTS as u64), ..Options::new(folder.path()) };
    let limited = Descent::new(SLOTS);
    run(&mut session, &limited, &options, &mut |_, _| {}).unwrap();
    // The longest trial has 7 steps, and after each there is nothing more, as there was before the first.
    assert_eq!((limited.later.into_inner(), limited.over.into_inner()), (0, 8));

    let whole = Descent::new(SLOTS);
    tune(spec(TRIALS), &whole, 1);
    // While any of the last trials runs it may be lost and come back.
    assert!(whole.later.into_inner() > 0);
    assert_eq!(whole.over.into_inner(), 1);
}

#[test]
fn a_run_out_of_time_finishes_who_runs_and_starts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::create(Box::new(MemoryLog::new()), spec(TRIALS)).unwrap();
    let options = Options { seconds: Some(1.0), ..Options::new(folder.path()) };
    let once = AtomicBool::new(false);
    let descent = Descent::with_hook(SLOTS, move |_| {
        if !once.swap(true, Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    });
    assert_eq!(run(&mut session, &descent, &options, &mut |_, _| {}).unwrap(), End::Limit);
    assert_eq!(session.study().trials().len(), SLOTS);
    assert_eq!(session.study().tally().completed, SLOTS as u64);
}

#[test]
fn an_interrupted_batch_continues_where_it_was() {
    let (whole, _) = tune(spec(TRIALS), &OneByOne, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.luthier");
    drop(create(&path, spec(TRIALS)));
    let mut interrupts = 0;
    loop {
        let mut session = open(&path);
        let options = Options { workers: 2, ..Options::new(folder.path().join("trials")) };
        let (stop, steps) = (options.stop.clone(), AtomicU64::new(0));
        let descent = Descent::with_hook(SLOTS, move |members| {
            if steps.fetch_add(1, Ordering::Relaxed) == 4 {
                stop.now();
            }
            if stop.is_now() {
                // The interrupt comes from the session's thread, and to each member.
                while !members.iter().all(|m| m.running.is_interrupted()) {
                    std::thread::yield_now();
                }
            }
            Ok(())
        });
        let end = run(&mut session, &descent, &options, &mut |_, _| {}).unwrap();
        if end == End::Done(Done::Trials(TRIALS)) {
            break;
        }
        assert_eq!(end, End::Stopped);
        let states = session.study().trials().iter().map(Trial::state);
        let waiting = states.filter(|state| *state == TrialState::Waiting).count();
        assert_eq!(waiting as u64, session.study().unfinished());
        interrupts += 1;
    }
    assert!(interrupts > 3);
    let session = open(&path);
    check(session.study(), &events_at(&path), 2 * SLOTS);
    assert_eq!(results(session.study()), results(whole.study()));
    let reports = events_at(&path).iter().filter(|e| matches!(e, Event::Reported { .. })).count();
    let points: usize = whole.study().trials().iter().map(|trial| trial.curve().len()).sum();
    assert_eq!(reports, points, "nothing was done twice");
}

#[test]
fn a_gentle_stop_lets_the_members_finish() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::create(Box::new(MemoryLog::new()), spec(TRIALS)).unwrap();
    let options = Options::new(folder.path());
    let stop = options.stop.clone();
    let descent = Descent::with_hook(SLOTS, move |_| {
        stop.gently();
        Ok(())
    });
    assert_eq!(run(&mut session, &descent, &options, &mut |_, _| {}).unwrap(), End::Stopped);
    let study = session.study();
    assert_eq!(study.tally().completed, study.trials().len() as u64);
    assert!((SLOTS..TRIALS as usize).contains(&study.trials().len()));
}

#[test]
fn one_member_can_be_stopped_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.luthier");
    let (place, once) = (path.clone(), AtomicBool::new(false));
    let descent = Descent::with_hook(SLOTS, move |members| {
        let is_time = members.iter().any(|m| m.running.trial() == 2 && m.step == 1);
        if is_time && !once.swap(true, Ordering::Relaxed) {
            open(&place).turn(|turn| turn.stop(2)).unwrap();
        }
        Ok(())
    });
    let mut session = create(&path, spec(TRIALS));
    let options = Options::new(folder.path().join("trials"));
    run(&mut session, &descent, &options, &mut |_, _| {}).unwrap();
    check(session.study(), &events_at(&path), SLOTS);
    assert_eq!(session.study().trial(2).unwrap().outcome(), Some(&Outcome::Cancelled));
    assert_eq!(session.study().tally().completed, TRIALS - 1);
}

#[test]
fn members_that_were_taken_over_are_told_so_and_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.luthier");
    let (place, steps) = (path.clone(), AtomicU64::new(0));
    let descent = Descent::with_hook(SLOTS, move |_| {
        if steps.fetch_add(1, Ordering::Relaxed) == 3 {
            let mut other = open(&place).with_liveness(|_| Some(false));
            let taken_over = |lost: u64| assert_eq!(lost, SLOTS as u64);
            other.turn(|turn| turn.sweep().map(taken_over)).unwrap();
        }
        Ok(())
    });
    let mut session = create(&path, spec(TRIALS));
    let options = Options::new(folder.path().join("trials"));
    run(&mut session, &descent, &options, &mut |_, _| {}).unwrap();
    check(session.study(), &events_at(&path), SLOTS);
    assert_eq!(session.study().tally().completed, TRIALS);
    let again = |event: &&Event| matches!(event, Event::Claimed { attempt: 2, .. });
    assert_eq!(events_at(&path).iter().filter(again).count(), SLOTS);
}

#[test]
fn members_end_when_the_study_cannot_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.luthier");
    let (place, steps) = (path.clone(), AtomicU64::new(0));
    let descent = Descent::with_hook(SLOTS, move |_| {
        if steps.fetch_add(1, Ordering::Relaxed) == 3 {
            let stranger = Work { trial: 999, replicate: 0 };
            let draft = Draft::new(&Event::Lost { work: stranger, returned: true }, 0).unwrap();
            SqliteLog::open(&place, LogOptions::default()).unwrap().append(&[draft], Guard::None).unwrap();
        }
        Ok(())
    });
    let mut session = create(&path, spec(TRIALS));
    let options = Options { workers: 2, ..Options::new(folder.path().join("trials")) };
    let error = run(&mut session, &descent, &options, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, SessionError::Replay(ReplayError::Fold { .. })), "{error}");
}

#[test]
fn the_leases_of_all_members_are_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.luthier");
    let (place, once) = (path.clone(), AtomicBool::new(false));
    let descent = Descent::with_hook(SLOTS, move |_| {
        if once.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let mut log = SqliteLog::open(&place, LogOptions::default()).unwrap();
        let mut renewed = BTreeSet::<Work>::new();
        let mut left = BTreeMap::<Work, f64>::new();
        while renewed.len() < SLOTS {
            for lease in log.leases().unwrap() {
                let before = left.insert(lease.work, -lease.expired_for);
                // Without a renewal less and less time is left.
                if before.is_some_and(|before| -lease.expired_for > before) {
                    renewed.insert(lease.work);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
    let mut session = create(&path, spec(TRIALS)).with_lease(Duration::from_millis(400));
    let options = Options::new(folder.path().join("trials"));
    run(&mut session, &descent, &options, &mut |_, _| {}).unwrap();
    assert_eq!(session.study().tally().completed, TRIALS);
}

#[test]
fn members_may_suggest_parameters() {
    struct Traced;
    impl Objective for Traced {
        fn evaluate(&self, _: &mut Running<'_>) -> Result<(), Failed> {
            Err(Failure::error("nobody asks for one trial at a time").into())
        }
        fn slots(&self) -> usize {
            SLOTS
        }
        fn evaluate_batch(&self, pool: &mut Pool<'_>) -> Result<(), Failed> {
            while let Next::Trial(mut running) = pool.refill() {
                let x = Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None };
                let x = running.suggest(Parameter::new("x", x))?.as_f64().unwrap();
                running.conclude(vec![("loss".into(), x)]);
                running.finish(Ok(()));
            }
            Ok(())
        }
    }
    let mut traced = spec(TRIALS);
    traced.space = Space::new(vec![], vec![]).unwrap();
    let (session, events) = tune(traced, &Traced, 1);
    assert!(verify(&events).unwrap().disagreements.is_empty());
    assert_eq!((session.study().tally().completed, session.study().space().len()), (TRIALS, 1));
}

/// Not a test by itself: what the process that is killed below does.
#[test]
fn a_child_runs_until_it_is_killed() {
    let Some(path) = std::env::var_os("LUTHIER_BATCH_STUDY") else { return };
    let path = Path::new(&path);
    let last: u64 = std::env::var("LUTHIER_BATCH_STEPS").unwrap().parse().unwrap();
    let steps = AtomicU64::new(0);
    let descent = Descent::with_hook(SLOTS, move |_| {
        if steps.fetch_add(1, Ordering::Relaxed) == last {
            println!("\nunder way");
            std::thread::sleep(Duration::from_hours(1));
        }
        Ok(())
    });
    let options = Options::new(path.with_extension("trials"));
    run(&mut open(path), &descent, &options, &mut |_, _| {}).unwrap();
}

#[test]
fn a_killed_batch_is_taken_over_and_nothing_is_lost() {
    let (whole, _) = tune(spec(TRIALS), &OneByOne, 1);
    for steps in [0, 3, 9] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("study.luthier");
        drop(create(&path, spec(TRIALS)));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_child_runs_until_it_is_killed", "--nocapture"])
            .env("LUTHIER_BATCH_STUDY", &path)
            .env("LUTHIER_BATCH_STEPS", steps.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "under way"));
        child.kill().unwrap();
        child.wait().unwrap();

        let mut session = open(&path).with_liveness(|_| Some(false));
        assert_eq!(session.study().running().len(), SLOTS);
        let options = Options::new(path.with_extension("trials"));
        run(&mut session, &Descent::new(SLOTS), &options, &mut |_, _| {}).unwrap();
        check(session.study(), &events_at(&path), SLOTS);
        assert_eq!(results(session.study()), results(whole.study()));
    }
}
