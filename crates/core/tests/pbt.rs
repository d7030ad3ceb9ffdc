//! Populations over time: who makes way for whom, what children get, that no perturbation leaves the space, and that a
//! population finds schedules.

#[allow(dead_code, reason = "the tests of schedulers use the rest")]
#[path = "support/simulate.rs"]
mod simulate;

#[allow(dead_code, reason = "the contract of samplers uses the rest")]
mod spaces;

mod play;

use std::collections::BTreeSet;

use luthier_core::engine::{Done, verify};
use luthier_core::event::{Decision, Event, Origin, Outcome, Work};
use luthier_core::space::{Constraint, Distribution, Parameter, Scale, Space, Value};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use luthier_core::trial::Trial;
use play::{choice, float, int, on_scale, space};
use proptest::prelude::*;
use simulate::{Mishap, Moment, Run, World, simulate};
use spaces::any_space;

fn component(name: &str, population: u64, interval: u64) -> Component {
    Component::named(name).with("population", population).with("interval", interval)
}

fn spec(space: Space, last: u64, trials: u64, scheduler: Component) -> Spec {
    let mut spec = play::spec(space, "random");
    spec.policy.scheduler = scheduler;
    spec.max_budget = Some(last);
    spec.limits.trials = Some(trials);
    play::resolved(spec)
}

fn unit_square() -> Space {
    space(vec![float("x", 0.0, 1.0), float("y", 0.0, 1.0)])
}

/// Loss is the first parameter: a better one is better at every step.
fn level(params: &[f64], _: Moment) -> f64 {
    params[0]
}

fn exploits(run: &Run) -> Vec<(u32, u32, u64, String)> {
    let told = run.events.iter().filter_map(|event| match event {
        Event::Judged { work, decision: Decision::Exploit { from, step }, why } => {
            Some((work.trial, *from, *step, why.to_string()))
        }
        _ => None,
    });
    told.collect()
}

fn check_log(run: &Run) {
    // Members of a population have random choices of their own, whosever checkpoint they began with.
    assert!(run.study.trials().iter().all(|trial| trial.draws == trial.number));
    let found = verify(&run.events).unwrap();
    assert_eq!((found.disagreements, found.other_version), (vec![], 0));
}

fn loss_at(trial: &Trial, step: u64) -> f64 {
    trial.piece(0).unwrap().loss_by(step).unwrap()
}

#[test]
fn the_worst_quarter_makes_way_for_the_best_at_each_pause() {
    let scheduler = component("pbt", 8, 5).with("synchronous", true);
    let run = simulate(spec(unit_square(), 10, 8, scheduler), World::new(10, &level));
    let mut roots: Vec<(f64, u32)> = (0..8).map(|k| (loss_at(&run.study.trials()[k], 5), k as u32)).collect();
    roots.sort_by(|a, b| a.0.total_cmp(&b.0));
    let told = exploits(&run);
    assert_eq!(told.len(), 2);
    for (trial, from, step, why) in &told {
        let rank = roots.iter().position(|(_, number)| number == trial).unwrap();
        assert!(rank >= 6, "{why}");
        assert!(roots[..2].iter().any(|(_, number)| number == from), "{why}");
        assert_eq!(*step, 5);
        assert!(why.starts_with("at step 5: ") && why.contains(&format!("is {} of 8", rank + 1)), "{why}");
    }
    assert_eq!(run.study.tally().completed, 8);
    assert_eq!((run.study.tally().replaced, run.study.tally().branched), (2, 2));
    assert_eq!(run.study.trials().len(), 10);
    // Two trials of five steps each were not trained twice: eight members took ten steps.
    assert_eq!(run.study.tally().steps, 80);
    check_log(&run);
}

#[test]
fn a_child_begins_where_its_donor_paused_and_its_predecessor_is_replaced() {
    let scheduler = component("pbt", 6, 4);
    let run = simulate(spec(unit_square(), 20, 6, scheduler), World { workers: 3, ..World::new(20, &level) });
    let mut children = 0;
    for child in run.study.trials().iter().filter(|trial| trial.parent.is_some()) {
        let (donor, step) = child.parent.unwrap();
        children += 1;
        assert_eq!(child.origin, Origin::Scheduler);
        assert!(run.study.trials()[donor as usize].curve().iter().any(|point| point.step == step));
        assert_eq!(child.curve()[0].step, step + 1);
        let replaced = |trial: &&Trial| trial.outcome() == Some(&Outcome::Replaced { by: child.number });
        assert_eq!(run.study.trials().iter().filter(replaced).count(), 1);
    }
    assert!(children > 3, "{children}");
    check_log(&run);
}

#[test]
fn members_wait_for_each_other_only_if_they_are_to() {
    for synchronous in [true, false] {
        let scheduler = component("pbt", 4, 5).with("synchronous", synchronous);
        let ticks = |work: Work| if work.trial == 0 { 10 } else { 1 };
        let world = World { workers: 4, ticks: &ticks, ..World::new(20, &level) };
        let run = simulate(spec(unit_square(), 20, 4, scheduler), world);
        let mut study = Study::replay(&run.events[..1]).unwrap();
        let mut apart = 0;
        for event in &run.events[1..] {
            study.apply(event).unwrap();
            let steps = || study.trials().iter().filter(|trial| !trial.is_finished()).map(Trial::step);
            if study.trials().len() >= 4 && study.tally().completed == 0 {
                apart = apart.max(steps().max().unwrap_or(0) - steps().min().unwrap_or(0));
            }
        }
        assert_eq!(apart <= 5, synchronous, "{apart} steps apart");
        check_log(&run);
    }
}

/// Who makes way for whom, who is replaced, and with which params, whoever comes to a pause first: with one worker a child has
/// trained on before others are looked at, with several a member may have reported its step but not written its checkpoint yet.
#[test]
fn what_members_that_wait_for_each_other_do_does_not_depend_on_the_number_of_workers() {
    let value = |params: &[f64], Moment { work, step, .. }: Moment| {
        (params[0] - 0.04 * step as f64).powi(2) + 0.1 * params[1] + 0.01 * f64::from(work.trial % 5)
    };
    // Some fail at their first step after a pause, some at a pause, some at the end.
    let fails = |Moment { work, step, .. }: Moment| {
        let is_due =
            [(1, 4), (2, 3), (4, 3), (7, 7), (9, 24), (11, 13), (13, 24)].contains(&(work.trial, step));
        is_due.then_some(Mishap::Fails)
    };
    let nothing = |_: Moment| None;
    let ticks = |work: Work| 1 + u64::from(work.trial * 7 % 5);
    let parts = component("pbt", 12, 3).with("frequencies", vec![1, 2]);
    for scheduler in [component("pbt", 6, 3), parts, component("pb2", 6, 3)] {
        for mishap in [&nothing as &dyn Fn(Moment) -> Option<Mishap>, &fails] {
            let decisions = [(1, false), (1, true), (2, true), (3, false), (4, true), (6, true)].map(
                |(workers, saves_slowly)| {
                    let spec = spec(unit_square(), 24, 12, scheduler.clone().with("synchronous", true));
                    let world =
                        World { workers, saves_slowly, mishap, ticks: &ticks, ..World::new(24, &value) };
                    let run = simulate(spec, world);
                    check_log(&run);
                    assert_eq!(run.done, Some(Done::Trials(12)));
                    let trials = run.study.trials().iter();
                    let told: Vec<String> = trials
                        .map(|trial| format!("{:?} {:?} {:?}", trial.parent, trial.point, trial.outcome()))
                        .collect();
                    (exploits(&run), told)
                },
            );
            assert!(!decisions[0].0.is_empty());
            for other in &decisions[1..] {
                assert_eq!(*other, decisions[0], "{}", scheduler.name);
            }
        }
    }
}

#[test]
fn parameters_that_may_not_change_stay_as_they_are_along_a_lineage() {
    let space = space(vec![float("x", 0.0, 1.0), int("units", 1, 1000), choice("kind", ["a", "b", "c"])]);
    for name in ["pbt", "pb2"] {
        let scheduler = component(name, 6, 2).with("change", vec!["x"]);
        let run = simulate(spec(space.clone(), 20, 6, scheduler), World::new(20, &level));
        let (mut seen, mut moved) = (0, 0);
        for child in run.study.trials() {
            let Some((donor, _)) = child.parent else { continue };
            let donor = &run.study.trials()[donor as usize];
            assert_eq!(child.point.0[1..], donor.point.0[1..], "{name}");
            moved += usize::from(child.point.0[0] != donor.point.0[0]);
            seen += 1;
        }
        assert!(seen >= 5 && moved >= 2, "{name}: {moved} of {seen}");
    }
}

#[test]
fn a_failed_member_is_replaced_by_a_child_of_one_that_lives() {
    let fails = |moment: Moment| (moment.work.trial == 2 && moment.step == 7).then_some(Mishap::Fails);
    let world = World { mishap: &fails, ..World::new(20, &level) };
    let run = simulate(spec(unit_square(), 20, 5, component("pbt", 5, 5)), world);
    assert_eq!(run.study.tally().failed, 1);
    assert_eq!((run.study.tally().completed, run.study.tally().finished()), (5, 5));
    assert_eq!(run.study.tally().branched, run.study.tally().replaced + 1);
    assert_eq!(run.done, Some(Done::Trials(5)));
    check_log(&run);
}

#[test]
fn more_trials_than_members_are_one_population_after_the_other() {
    let run = simulate(
        spec(unit_square(), 10, 12, component("pbt", 4, 5)),
        World { workers: 2, ..World::new(10, &level) },
    );
    assert_eq!((run.study.roots(), run.study.tally().completed), (12, 12));
    let roots: Vec<usize> = run
        .events
        .iter()
        .enumerate()
        .filter(|(_, event)| matches!(event, Event::Started { parent: None, .. }))
        .map(|(k, _)| k)
        .collect();
    let study = Study::replay(&run.events[..roots[4]]).unwrap();
    assert_eq!(study.tally().completed, 4, "the second population begins when the first is through");
}

/// What a part does is told by its members' numbers: roots are dealt out to the parts one by one.
#[test]
fn slower_parts_are_compared_more_rarely_and_migrants_keep_to_the_paper() {
    let scheduler = component("pbt", 16, 2)
        .with("synchronous", true)
        .with("frequencies", vec![1, 4])
        .with("resample_probability", 1);
    // Members of the slow part lead, so migrants come from there; those of the fast part never lead.
    let value = |params: &[f64], moment: Moment| {
        params[0] + if moment.work.trial.is_multiple_of(2) { 0.5 } else { 0.0 }
    };
    let run = simulate(spec(unit_square(), 16, 16, scheduler), World::new(16, &value));
    let slow = |number: u32| -> bool {
        let mut number = number;
        loop {
            if number < 16 {
                return number % 2 == 1;
            }
            // The place is that of the trial it replaced.
            let by = |trial: &&Trial| trial.outcome() == Some(&Outcome::Replaced { by: number });
            number = run.study.trials().iter().find(by).unwrap().number;
        }
    };
    let (mut migrants, mut own) = (0, 0);
    for (trial, from, step, why) in exploits(&run) {
        let successor = match run.study.trials()[trial as usize].outcome() {
            Some(Outcome::Replaced { by }) => &run.study.trials()[*by as usize],
            other => panic!("{other:?}"),
        };
        let donor = &run.study.trials()[from as usize];
        assert_eq!(step % if slow(trial) { 8 } else { 2 }, 0, "{why}");
        match (slow(trial), slow(from)) {
            (false, true) => {
                migrants += 1;
                assert_eq!(successor.point, donor.point, "a migrant from a slower part brings its params");
            }
            (true, false) => {
                let is_own = |trial: &Trial| slow(trial.number) && trial.point == successor.point;
                assert!(
                    run.study.trials()[..successor.number as usize].iter().any(is_own),
                    "from a faster part come weights, not params"
                );
            }
            _ => {
                own += 1;
                assert_ne!(successor.point, donor.point, "within a part params are explored");
            }
        }
    }
    assert!(migrants > 0 && own > 0, "{migrants} migrants, {own} own");
    check_log(&run);
}

#[test]
fn what_makes_no_population_is_refused_with_what_to_do() {
    let refused = |scheduler: Component, with: &dyn Fn(&mut Spec)| {
        let mut spec = play::spec(unit_square(), "random");
        spec.max_budget = Some(20);
        spec.policy.scheduler = scheduler;
        with(&mut spec);
        luthier_core::engine::resolve(&spec).unwrap_err().to_string()
    };
    let same = |_: &mut Spec| {};
    let pbt = || Component::named("pbt");
    for (told, about) in [
        (refused(pbt(), &|spec| spec.max_budget = None), "max_budget"),
        (refused(pbt(), &|spec| spec.replicates = 2), "replicates = 1"),
        (refused(pbt().with("interval", 20), &same), "lower interval"),
        (refused(pbt().with("interval", 0), &same), "from 1"),
        (refused(pbt().with("quantile", 0.6), &same), "at most 0.5"),
        (refused(pbt().with("population", 1), &same), "raise it"),
        (refused(pbt().with("frequencies", vec![4, 1]), &same), "ascending"),
        (refused(pbt().with("frequencies", vec![100, 200]), &same), "every 100 steps"),
        (refused(pbt().with("frequencies", vec![1, 20]), &same), "nobody of that part"),
        (refused(pbt().with("burn_in", 100), &same), "lower burn_in"),
        (refused(Component::named("pb2").with("burn_in", 20), &same), "for the last time at step 19"),
        (refused(pbt().with("factors", vec![0.0]), &same), "positive"),
        (refused(pbt().with("resample_probability", 2.0), &same), "0 to 1"),
        (refused(pbt().with("change", vec!["z"]), &same), "the space has x, y"),
        (refused(Component::named("pb2").with("change", Vec::<String>::new()), &same), "leave it out"),
    ] {
        assert!(told.contains(about), "{told}");
    }
}

/// Every active parameter has one of its values, every inactive one has none, and the constraints hold.
fn check_point(space: &Space, point: &luthier_core::space::Point) {
    for (k, parameter) in space.parameters().iter().enumerate() {
        assert_eq!(space.is_active(k, &point.0), point.get(k).is_some(), "{}", parameter.name);
        if let Some(coded) = point.get(k) {
            let value = parameter.distribution.decode(coded);
            assert_eq!(space.encode_one(k, &value).unwrap(), coded, "{}", parameter.name);
        }
    }
    assert!(space.allows(&point.0));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_251_121),
        ..ProptestConfig::default()
    })]

    #[test]
    fn children_fit_any_space(space in any_space(), seed in 0..u64::MAX) {
        for name in ["pbt", "pb2"] {
            let mut spec = play::spec(space.clone(), "random");
            spec.policy.scheduler = component(name, 4, 1);
            spec.max_budget = Some(if name == "pbt" { 30 } else { 8 });
            spec.limits.trials = Some(4);
            spec.seed = seed;
            if luthier_core::engine::resolve(&spec).is_err() {
                continue;
            }
            let value = |params: &[f64], moment: Moment| {
                let sum: f64 = params.iter().filter(|x| !x.is_nan()).sum();
                (sum * 7.3 + moment.step as f64).sin() + f64::from(moment.work.trial % 3)
            };
            let last = spec.max_budget.unwrap();
            let run = simulate(spec, World { compare: false, workers: 2, ..World::new(last, &value) });
            for trial in run.study.trials() {
                check_point(&space, &trial.point);
            }
        }
    }
}

/// 100,000 perturbations of one lineage, each of the one before: whatever drifts leaves the space.
#[test]
fn a_hundred_thousand_perturbations_never_leave_the_space() {
    let stepped = |name: &str, scale, low, high, step| {
        Parameter::new(name, Distribution::Float { low, high, scale, step: Some(step) })
    };
    let levels: Vec<Value> = [1.into(), 4.into(), 9.into()].to_vec();
    let mut momentum = on_scale("momentum", 0.5, 0.999, Scale::Log1m);
    momentum.when = Some(serde_json::from_str(r#"{"param": "optimizer", "eq": "sgd"}"#).unwrap());
    let space = space(vec![
        on_scale("rate", 1e-5, 1.0, Scale::Log),
        float("dropout", 0.0, 0.9),
        float("shift", -3.0, 2.0),
        stepped("noise", Scale::Linear, 0.1, 1.0, 0.3),
        stepped("decay", Scale::Log, 0.001, 0.1, 0.001),
        int("batch", 1, 512),
        Parameter::new("levels", Distribution::Ordinal { levels: levels.into() }),
        choice("optimizer", ["sgd", "adam"]),
        momentum,
    ]);
    let together =
        Constraint::Linear { weights: vec![("dropout".into(), 1.0), ("shift".into(), 1.0)], at_most: 1.0 };
    let space = Space::new(space.parameters().to_vec(), vec![together]).unwrap();
    let last = 100_001;
    let scheduler = component("pbt", 2, 1).with("quantile", 0.5).with("synchronous", true);
    let scheduler = scheduler.with("resample_probability", 0.02);
    let mut spec = spec(space.clone(), last, 2, scheduler);
    spec.seed = 3;
    let value = |_: &[f64], moment: Moment| f64::from(moment.work.trial % 2);
    // Two members: at each step, one makes way. Neither is better for long, so that all lineages go on.
    let run = simulate(spec, World { compare: false, ..World::new(last, &value) });
    let children = run.study.trials().iter().filter(|trial| trial.parent.is_some());
    let (mut count, mut moved) = (0, vec![BTreeSet::new(); space.len()]);
    for child in children {
        check_point(&space, &child.point);
        for (k, kinds) in moved.iter_mut().enumerate() {
            if kinds.len() < 50 {
                kinds.insert(child.point.0[k].to_bits());
            }
        }
        count += 1;
    }
    assert!(count >= 100_000, "{count} perturbations");
    for (k, kinds) in moved.iter().enumerate() {
        let cells = space.parameters()[k].distribution.cells().unwrap_or(50).min(20) as usize;
        assert!(kinds.len() >= cells.min(4), "{} has had {} values", space.parameters()[k].name, kinds.len());
    }
}

/// What is left to learn shrinks only while the parameter is near a target, which moves: no constant value does well.
#[test]
fn a_population_solves_what_no_constant_value_can() {
    for name in ["pbt", "pb2"] {
        let better = (0..10).filter(|&seed| {
            let study = learned(component(name, 8, 5).with("synchronous", true), seed);
            let left = study.incumbent().unwrap().values().unwrap()[0];
            let constant =
                |k: usize| (1..=LAST).map(|step| rate(study.trials()[k].point.0[0], step)).product::<f64>();
            left < (0..8).map(constant).fold(f64::INFINITY, f64::min)
        });
        // Without skill at most as likely as not: 9 of 10 or more has probability 0.011. The seeds are fixed.
        let better = better.count();
        assert!(better >= 9, "{name}: {better} of 10");
    }
}

const LAST: u64 = 60;

/// What a step leaves of what is left to learn.
fn rate(x: f64, step: u64) -> f64 {
    let target = 0.1 + 0.8 * step as f64 / LAST as f64;
    1.0 - 0.2 * (-(x - target).powi(2) / 0.02).exp()
}

/// The more of the parameter the faster, up to where trainings diverge: as with a learning rate.
#[test]
fn pb2_keeps_away_from_where_trainings_diverge() {
    for seed in 0..5 {
        let scheduler = component("pb2", 8, 3).with("synchronous", true);
        let study = trained(scheduler, seed, |x, _| if x > 0.7 { None } else { Some(1.0 - 0.1 * x) });
        let children = study.trials().iter().filter(|trial| trial.parent.is_some());
        let (diverged, others): (Vec<&Trial>, Vec<&Trial>) =
            children.partition(|trial| matches!(trial.outcome(), Some(Outcome::Failed { .. })));
        // Even draws would diverge in 3 of 10; those that learn from improvements alone nearly always.
        assert!(
            10 * diverged.len() <= 2 * (diverged.len() + others.len()),
            "seed {seed}: {} and {}",
            diverged.len(),
            others.len()
        );
        assert!(study.incumbent().unwrap().point.0[0] > 0.5, "seed {seed}");
    }
}

/// A study with one worker, in which a child knows what its parent knew.
fn learned(scheduler: Component, seed: u64) -> Study {
    trained(scheduler, seed, |x, step| Some(rate(x, step)))
}

/// The same for what a step leaves of what is left to learn, by the parameter and the step; a trial for which it leaves
/// nothing fails.
fn trained(scheduler: Component, seed: u64, rate: impl Fn(f64, u64) -> Option<f64>) -> Study {
    let mut spec = spec(space(vec![float("x", 0.0, 1.0)]), LAST, 8, scheduler);
    spec.seed = seed;
    let mut play = play::Play::new(spec);
    while let Ok(work) = play.claim() {
        let trial = play.study.trial(work.trial).unwrap();
        let (x, piece) = (trial.point.0[0], trial.piece(0).unwrap());
        let (mut step, end) = (piece.step(), piece.budget.unwrap());
        let inherited =
            trial.parent.and_then(|(parent, step)| play.study.piece(Work::of(parent))?.loss_by(step));
        let mut left = piece.loss_by(step).or(inherited).unwrap_or(1.0);
        let mut sound = true;
        while step < end && sound {
            step += 1;
            sound = rate(x, step).is_some();
            left *= rate(x, step).unwrap_or(1.0);
            if sound {
                play.report(work, step, left);
            }
        }
        if !sound {
            play.end(work, play::failed());
        } else if step == LAST {
            play.end(work, play::completed(left));
        } else {
            play.add(Event::Paused { work, step, seconds: 0.0 });
        }
    }
    let found = play.verified();
    assert!(found.disagreements.is_empty(), "{}", found.disagreements[0]);
    play.study
}

#[test]
fn children_of_one_donor_differ() {
    let scheduler = component("pbt", 8, 5).with("synchronous", true).with("quantile", 0.5);
    let scheduler = scheduler.with("resample_probability", 1);
    let run = simulate(spec(unit_square(), 10, 8, scheduler), World::new(10, &level));
    let bits = |trial: &Trial| -> Vec<u64> { trial.point.0.iter().map(|x| x.to_bits()).collect() };
    let points: BTreeSet<Vec<u64>> = run.study.trials().iter().map(bits).collect();
    assert_eq!(points.len(), run.study.trials().len());
}
