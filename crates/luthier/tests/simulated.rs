//! Studies in virtual time: what the simulated executor promises, and how busy schedulers keep a thousand workers.

use luthier::core::engine::{Done, verify};
use luthier::core::event::{Event, Work};
use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::{Params, Space};
use luthier::core::spec::{Component, PolicySpec, Spec};
use luthier::core::study::Study;
use luthier::executor::End;
use luthier::executor::simulated::{
    Curves, CurvesError, Recorded, Recording, Simulated, Simulation, Slowness, Told, simulate,
};
use luthier::log::MemoryLog;
use luthier::session::Session;

mod shared_log;

use shared_log::{Shared, events};

const LAST: u64 = 81;

fn spec(scheduler: Component, trials: u64) -> Spec {
    let space = Space::builder().float("level", 0.0..=1.0).float("speed", 0.0..=1.0).build().unwrap();
    let mut spec = Spec::new("virtual", space, Metrics::single("loss", Direction::Minimize));
    spec.policy = PolicySpec { scheduler, ..PolicySpec::new("random", "run_all") };
    spec.max_budget = Some(LAST);
    spec.limits.trials = Some(trials);
    spec
}

fn number(params: &Params, name: &str) -> f64 {
    params.get(name).unwrap().as_f64().unwrap()
}

/// Curves that fall to their level at different speeds; steps take between half a minute and a minute and a half.
fn falling() -> impl Recording {
    Recorded::new(LAST, |params: &Params, work: Work, step: u64| {
        let (level, speed) = (number(params, "level"), number(params, "speed"));
        let loss = level + (-(step as f64) * (0.02 + 0.3 * speed)).exp() + 0.01 * f64::from(work.trial % 7);
        Told { values: vec![loss], seconds: 30.0 + 60.0 * speed }
    })
}

/// Everything that can happen to workers and trials.
fn rough(workers: usize) -> Simulation {
    Simulation {
        seed: 5,
        workers_slowness: Slowness::LogNormal { deviation: 0.2 },
        trials_slowness: Slowness::Stragglers { share: 0.05, shape: 1.5 },
        start_seconds: 5.0,
        failure: 0.001,
        loss: 0.001,
        missed_after: 120.0,
        checkpoint_every: Some(5),
        ..Simulation::new(workers)
    }
}

fn run(spec: Spec, recording: &dyn Recording, world: &Simulation) -> (Simulated, Study, Vec<Event>) {
    let log = Shared::default();
    let mut session = Session::create(Box::new(log.clone()), spec).unwrap();
    let simulated = simulate(&mut session, recording, world).unwrap();
    let events = events(&log);
    (simulated, session.study().clone(), events)
}

fn asha() -> Component {
    Component::named("asha")
}

#[test]
fn a_thousand_workers_are_kept_busy_by_asynchronous_schedulers() {
    let promote = |name: &str| Component::named(name).with("mode", "promote");
    for scheduler in [asha(), promote("asha"), Component::named("hyperband"), promote("hyperband")] {
        let about = format!("{} {:?}", scheduler.name, scheduler.options);
        let mut session = Session::create(Box::new(MemoryLog::new()), spec(scheduler, 10_000)).unwrap();
        let simulated = simulate(&mut session, &falling(), &rough(1_000)).unwrap();
        let (starting, whole) = (simulated.utilisation_while_starting(), simulated.utilisation());
        println!(
            "{about}: {:.2} % busy while trials start, {:.2} % to the end",
            starting * 100.0,
            whole * 100.0
        );
        assert!(starting >= 0.95, "{about}: {starting}");
        assert_eq!(session.study().trials().len(), 10_000, "{about}");
        assert!(session.study().tally().completed > 50, "{about}");
        assert!(session.study().tally().failed > 20, "{about}");
        assert!(simulated.repeated > 0.0, "{about}");
    }
}

#[test]
fn synchronous_halving_leaves_workers_waiting_for_stragglers() {
    // One bracket of 81 on 60 workers, so that nothing else can fill the gaps.
    let halving = Component::named("successive_halving");
    let world = Simulation {
        trials_slowness: Slowness::Stragglers { share: 0.2, shape: 1.0 },
        ..Simulation::new(60)
    };
    let (synchronous, study, _) = run(spec(halving, 81), &falling(), &world);
    let (asynchronous, _, _) = run(spec(asha().with("mode", "promote"), 81), &falling(), &world);
    assert_eq!(study.tally().completed, 1);
    assert!(synchronous.utilisation() < 0.3, "{}", synchronous.utilisation());
    assert!(asynchronous.seconds > 0.0 && asynchronous.utilisation() > synchronous.utilisation());
}

#[test]
fn the_same_seed_gives_the_same_log_and_its_decisions_are_derived_again() {
    for scheduler in [asha(), asha().with("mode", "promote"), Component::named("successive_halving")] {
        let name = scheduler.name.clone();
        let spec = || spec(scheduler.clone(), 120);
        let (first, _, log) = run(spec(), &falling(), &rough(16));
        let (second, _, again) = run(spec(), &falling(), &rough(16));
        assert_eq!((&first, &log), (&second, &again), "{name}");
        let other = Simulation { seed: 6, ..rough(16) };
        assert_ne!(run(spec(), &falling(), &other).2, log, "{name}");
        let found = verify(&log).unwrap();
        assert_eq!(found.disagreements, vec![], "{name}");
        assert!(found.agreed > 200, "{name}");
    }
}

#[test]
fn promotion_trains_no_step_twice() {
    for name in ["asha", "hyperband"] {
        let scheduler = Component::named(name).with("mode", "promote");
        let (simulated, study, log) = run(spec(scheduler, 200), &falling(), &Simulation::new(20));
        let resumed = log.iter().filter(|event| matches!(event, Event::Resumed { .. })).count();
        assert!(resumed > 50, "{name}: {resumed}");
        let reached: u64 = study.trials().iter().map(luthier::core::trial::Trial::step).sum();
        assert_eq!((simulated.steps, simulated.repeated), (reached, 0.0), "{name}");
        assert_eq!(study.tally().reports, reached, "{name}: one report for each step");
    }
}

#[test]
fn lost_work_begins_at_its_last_checkpoint() {
    let scheduler = Component::named("run_all");
    let lossy =
        |every| Simulation { loss: 0.01, missed_after: 300.0, checkpoint_every: every, ..Simulation::new(4) };
    let mut spec = spec(scheduler, 30);
    spec.max_attempts = 1000;
    let (often, study, log) = run(spec.clone(), &falling(), &lossy(Some(3)));
    let (never, _, _) = run(spec, &falling(), &lossy(None));
    assert_eq!((study.tally().completed, study.tally().failed), (30, 0));
    assert!(log.iter().any(|event| matches!(event, Event::Lost { .. })));
    assert!(often.steps < never.steps && often.repeated < never.repeated, "{often:?} {never:?}");
    assert!(often.steps > 30 * LAST);
    // A vanished worker is not busy until it is missed.
    assert!(often.utilisation() < 0.95, "{}", often.utilisation());
}

#[test]
fn a_trial_that_makes_progress_outlives_any_number_of_workers() {
    let world = |loss| Simulation { loss, checkpoint_every: Some(1), ..Simulation::new(4) };
    let (_, study, log) = run(spec(Component::named("run_all"), 30), &falling(), &world(0.03));
    assert_eq!((study.spec().max_attempts, study.tally().completed), (3, 30));
    let losses = |trial: u32| {
        let is_its = |event: &&Event| matches!(event, Event::Lost { work, .. } if work.trial == trial);
        log.iter().filter(is_its).count()
    };
    assert!((0..30).any(|trial| losses(trial) > 3));
    assert_eq!(verify(&log).unwrap().disagreements, vec![]);

    let (_, study, _) = run(spec(Component::named("run_all"), 3), &falling(), &world(1.0));
    assert!(study.trials().iter().all(|trial| {
        let told = trial.outcome().map(|outcome| format!("{outcome:?}")).unwrap_or_default();
        told.contains("Lost { attempts: 3 }")
    }));
}

#[test]
fn time_passes_as_recorded() {
    let minute = Recorded::new(LAST, |_: &Params, _: Work, step: u64| Told {
        values: vec![1.0 / step as f64],
        seconds: 60.0,
    });
    let alone = Simulation { start_seconds: 9.0, ..Simulation::new(1) };
    let (simulated, study, _) = run(spec(Component::named("run_all"), 3), &minute, &alone);
    assert_eq!(simulated.seconds, 3.0 * (9.0 + 60.0 * LAST as f64));
    assert_eq!((simulated.busy, simulated.utilisation()), (simulated.seconds, 1.0));
    assert_eq!(study.tally().seconds, 3.0 * 60.0 * LAST as f64, "waiting to start is not the trial's work");
    assert_eq!(simulated.end, End::Done(Done::Trials(3)));

    let short = Simulation { seconds: Some(1000.0), ..Simulation::new(2) };
    let (simulated, study, _) = run(spec(Component::named("run_all"), 9), &minute, &short);
    assert_eq!((simulated.end.clone(), simulated.seconds), (End::Limit, 1000.0));
    assert_eq!((simulated.steps, study.running().len()), (32, 2));

    let mut limited = spec(Component::named("run_all"), 9);
    limited.limits.seconds = Some(7_000.0);
    let (simulated, study, _) = run(limited, &minute, &Simulation::new(2));
    assert_eq!(
        simulated.end,
        End::Done(Done::Seconds(7_000.0)),
        "the study's own limit counts virtual seconds"
    );
    assert_eq!(study.trials().len(), 2);
}

#[test]
fn a_table_gives_each_trial_the_curve_of_the_nearest_run() {
    let space =
        Space::builder().float("lr", 0.001..=1.0).log().categorical("kind", ["a", "b"]).build().unwrap();
    let params = |lr: f64, kind: &str| Params::new().with("lr", lr).with("kind", kind);
    let curve = |loss: f64| {
        vec![Told { values: vec![loss + 1.0], seconds: 2.0 }, Told { values: vec![loss], seconds: 3.0 }]
    };
    let rows = [(params(0.01, "a"), 0.1), (params(0.1, "a"), 0.2), (params(0.01, "b"), 0.3)];
    let table = Curves::new(&space, rows.into_iter().map(|(params, loss)| (params, curve(loss)))).unwrap();
    assert_eq!(table.nearest(&params(0.02, "a")), 0, "on a log scale");
    assert_eq!(table.nearest(&params(0.04, "a")), 1);
    assert_eq!(table.nearest(&params(0.9, "b")), 2, "another choice is as far as a whole range");
    let life = table.begin(&params(0.01, "b"), Work::of(0));
    assert_eq!(life(2), Some(Told { values: vec![0.3], seconds: 3.0 }));
    assert_eq!(life(3), None);

    let mut spec = Spec::new("table", space.clone(), Metrics::single("loss", Direction::Minimize));
    spec.limits.trials = Some(20);
    let (simulated, study, _) = run(spec, &table, &Simulation::new(3));
    assert_eq!((study.tally().completed, simulated.steps), (20, 40), "trials end where their curves do");

    let wrong = [(params(0.01, "c"), curve(0.0))];
    assert!(matches!(Curves::new(&space, wrong), Err(CurvesError::Params { row: 1, .. })));
    let wrong = [(params(0.01, "a"), curve(0.0)), (params(0.01, "b"), curve(f64::NAN))];
    assert_eq!(Curves::new(&space, wrong).err(), Some(CurvesError::Number { row: 2, step: 1 }));
    assert_eq!(Curves::new(&space, []).err(), Some(CurvesError::Empty));
}
