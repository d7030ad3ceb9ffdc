//! One model watched: what counts as trouble, where it goes back to, what users can ask, and that all of it is derived again.

#[allow(dead_code, reason = "the tests of schedulers use the rest")]
#[path = "support/simulate.rs"]
mod simulate;

mod play;

use luthier_core::engine::{Done, verify};
use luthier_core::event::{Decision, Event, Failure, Origin, Outcome, Steer, Wish, Work};
use luthier_core::lineage::{checkpoints, goes_straight_on, losses, schedule};
use luthier_core::space::{Distribution, Parameter, Params, Scale, Space};
use luthier_core::spec::{Component, Spec};
use luthier_core::steering::{SteerError, check, standing, told};
use luthier_core::study::Study;
use luthier_core::trial::TrialState;
use play::{choice, float, on_scale, space};
use simulate::{Mishap, Moment, Run, World, simulate};

/// What a trial reports, by its params and its moment.
type Values<'a> = &'a dyn Fn(&[f64], Moment) -> f64;

fn rate() -> Parameter {
    on_scale("lr", 1e-6, 10.0, Scale::Log)
}

fn spec(space: Space, last: u64, scheduler: Component) -> Spec {
    let mut spec = play::spec(space, "random");
    spec.policy.sampler = Component::named("manual");
    spec.policy.scheduler = scheduler;
    spec.max_budget = Some(last);
    spec.limits.trials = Some(1);
    play::resolved(spec)
}

fn babysit() -> Component {
    Component::named("babysit")
}

fn params(lr: f64) -> Params {
    Params::new().with("lr", lr)
}

/// Begins with this rate, and hears these wishes after so many events.
fn begun(lr: f64, mut wishes: Vec<(usize, Event)>) -> Vec<(usize, Event)> {
    wishes.insert(0, (1, Event::Enqueued(Wish { params: params(lr), within: vec![] })));
    wishes
}

fn turn(lr: f64) -> Event {
    Event::Steered(Steer::Turn(params(lr)))
}

/// A loss that falls as 1/step, and leaps up where the rate is above 1.
fn falling(params: &[f64], moment: Moment) -> f64 {
    if params[0] > 1.0 { 50.0 } else { 1.0 + 1.0 / moment.step as f64 }
}

fn check_log(run: &Run) {
    let found = verify(&run.events).unwrap();
    assert_eq!((found.disagreements, found.other_version), (vec![], 0));
}

fn rates(study: &Study) -> Vec<f64> {
    study.trials().iter().map(|trial| trial.point.0[0]).collect()
}

fn parents(study: &Study) -> Vec<Option<(u32, u64)>> {
    study.trials().iter().map(|trial| trial.parent).collect()
}

fn draws(study: &Study) -> Vec<u32> {
    study.trials().iter().map(|trial| trial.draws).collect()
}

fn close(a: &[f64], b: &[f64]) {
    assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} {b:?}");
}

/// The number of events that there are once `step` of the first trial has been reported, without wishes and with interval 1.
fn events_at(step: usize) -> usize {
    // Created and enqueued, started and claimed; then a report, a pause, a decision and a claim for each step.
    4 + 4 * (step - 1) + 1
}

#[test]
fn a_model_that_is_well_trains_to_its_end_as_one_trial() {
    let world = World { wishes: begun(0.1, vec![]), ..World::new(20, &falling) };
    let run = simulate(spec(space(vec![rate()]), 20, babysit()), world);
    assert_eq!(run.study.trials().len(), 1);
    assert_eq!(run.study.tally().completed, 1);
    assert!(matches!(run.done, Some(Done::Trials(1))));
    assert_eq!(run.study.trials()[0].piece(0).unwrap().pauses, (1..20).collect::<Vec<u64>>());
    check_log(&run);
}

#[test]
fn a_rate_that_drives_it_away_is_taken_back() {
    let wishes = begun(0.1, vec![(events_at(10), turn(5.0))]);
    let run =
        simulate(spec(space(vec![rate()]), 20, babysit()), World { wishes, ..World::new(20, &falling) });
    let study = &run.study;
    close(&rates(study), &[0.1, 5.0, 0.1]);
    let from = study.trials()[1].parent.unwrap().1;
    // The same checkpoint, but it is the first trial's.
    assert_eq!(parents(study)[2], Some((0, from)));
    assert_eq!(study.trials()[1].origin, Origin::Steered);
    assert_eq!(study.trials()[2].origin, Origin::Scheduler);
    let why = study.trials()[1].piece(0).unwrap().why.clone().unwrap();
    assert!(why.starts_with("50 at step 11 is worse than "), "{why}");
    assert_eq!(study.trials()[1].outcome(), Some(&Outcome::Replaced { by: 2 }));
    assert_eq!(study.incumbent().unwrap().number, 2);
    let legs = schedule(study, 2);
    assert_eq!(
        legs.iter().map(|leg| (leg.trial, leg.from, leg.to)).collect::<Vec<_>>(),
        [(0, 0, from), (2, from, 20)]
    );
    // The mistake is as if it had not been: the same checkpoint, the same rate, the same random choices.
    assert_eq!(draws(study), [0, 0, 0]);
    assert_eq!(legs[1].draws, Some(0));
    check_log(&run);
}

#[test]
fn what_cannot_be_reported_is_trouble_too() {
    let fails = |moment: Moment| (moment.work.trial == 0 && moment.step == 8).then_some(Mishap::Fails);
    let world = World { wishes: begun(0.1, vec![]), mishap: &fails, ..World::new(20, &falling) };
    let run = simulate(spec(space(vec![rate()]), 20, babysit()), world);
    assert_eq!(parents(&run.study), [None, Some((0, 7))]);
    close(&rates(&run.study), &[0.1, 0.05]);
    assert_eq!(draws(&run.study), [0, 1], "other batches than those that led into trouble");
    assert_eq!(run.study.trials()[0].state(), TrialState::Failed);
    assert_eq!(run.study.incumbent().unwrap().number, 1);
    check_log(&run);
}

#[test]
fn a_failure_that_has_nothing_to_do_with_training_is_no_trouble() {
    for (reason, goes_back) in [
        (Failure::NonFinite { metric: "loss".into(), value: "nan".into() }, true),
        (Failure::error("diverged"), true),
        (Failure::ExitCode { code: 1 }, false),
        (Failure::NotStarted { problem: "no such file".into() }, false),
        (Failure::Memory { bytes: 1 }, false),
        (Failure::NoResult { metric: "loss".into() }, false),
    ] {
        let mut play = play::Play::new(spec(space(vec![rate()]), 20, babysit()));
        play.add(Event::Enqueued(Wish { params: params(0.1), within: vec![] }));
        let work = play.claim().unwrap();
        play.end(work, Outcome::Failed { reason: reason.clone(), detail: "".into() });
        let again = play.claim();
        assert_eq!(again.is_ok(), goes_back, "{reason}");
        if goes_back {
            let trial = &play.study.trials()[1];
            assert_eq!(trial.parent, Some((0, 0)), "it begins anew");
            close(&rates(&play.study), &[0.1, 0.05]);
            assert_eq!(schedule(&play.study, 1).len(), 1);
        }
        assert!(play.verified().disagreements.is_empty());
    }
}

#[test]
fn if_going_back_does_not_help_it_goes_further_back_and_in_the_end_stops() {
    // Whatever is tried, step 12 is a leap.
    let wall =
        |_: &[f64], moment: Moment| if moment.step >= 12 { 90.0 } else { 1.0 + 1.0 / moment.step as f64 };
    let world = World { wishes: begun(0.8, vec![]), ..World::new(20, &wall) };
    let run = simulate(spec(space(vec![rate()]), 20, babysit()), world);
    let steps: Vec<u64> = run.study.trials()[1..].iter().map(|trial| trial.parent.unwrap().1).collect();
    assert_eq!(steps, [11, 10, 8, 4, 0], "one further back, then three, then seven, then at the beginning");
    close(&rates(&run.study), &[0.8, 0.4, 0.2, 0.1, 0.05, 0.025]);
    let last = run.study.trials().last().unwrap();
    assert_eq!(last.state(), TrialState::Pruned);
    let why = last.piece(0).unwrap().why.clone().unwrap();
    assert!(why.ends_with("it has gone back 5 times"), "{why}");
    assert!(run.study.incumbent().is_none());
    check_log(&run);
}

#[test]
fn slow_divergence_goes_back_to_the_best() {
    // No step is a leap, but it climbs from step 11 on.
    let climbs = |x: &[f64], moment: Moment| {
        let t = moment.step as f64;
        if x[0] > 0.5 && t > 10.0 { 1.1 + 0.1 * (t - 10.0) } else { 1.0 + 1.0 / t }
    };
    let rules = babysit().with("patience", 4);
    let world = World { wishes: begun(0.8, vec![]), ..World::new(30, &climbs) };
    let run = simulate(spec(space(vec![rate()]), 30, rules), world);
    assert_eq!(run.study.trials()[1].parent, Some((0, 10)));
    let why = run.study.trials()[0].piece(0).unwrap().why.clone().unwrap();
    assert!(why.starts_with("the last 4 reports are worse than "), "{why}");
    close(&rates(&run.study), &[0.8, 0.4]);
    check_log(&run);
}

#[test]
fn noise_overfitting_and_a_rough_beginning_are_no_trouble() {
    let noisy = |_: &[f64], moment: Moment| 0.4 + 0.1 * ((moment.step * 7919 % 13) as f64 / 13.0);
    let overfits = |_: &[f64], moment: Moment| {
        let t = moment.step as f64;
        if t < 15.0 { 2.0 / t } else { 0.13 + 0.001 * (t - 15.0) }
    };
    let rough = |_: &[f64], moment: Moment| if moment.step < 4 { 1e6 } else { 0.5 };
    let accuracy = |_: &[f64], moment: Moment| -(0.9 - 0.5 / moment.step as f64);
    let nothing = |_: &[f64], moment: Moment| if moment.step == 8 { 1e-9 } else { 0.0 };
    let errors = |_: &[f64], moment: Moment| {
        if moment.step < 5 { 1.0 / moment.step as f64 } else { 0.01 * (moment.step % 7 / 6) as f64 }
    };
    let values: [Values; 6] = [&noisy, &overfits, &rough, &accuracy, &nothing, &errors];
    for (k, value) in values.into_iter().enumerate() {
        let run = simulate(
            spec(space(vec![rate()]), 60, babysit()),
            World { wishes: begun(0.1, vec![]), ..World::new(60, value) },
        );
        assert_eq!(
            run.study.trials().len(),
            1,
            "curve {k}: {:?}",
            run.study.trials()[0].piece(0).unwrap().why
        );
    }
}

#[test]
fn a_pause_holds_until_told_to_go_on_and_what_is_asked_meanwhile_is_heard() {
    let mut play = play::Play::new(spec(space(vec![rate()]), 20, babysit()));
    play.add(Event::Enqueued(Wish { params: params(0.1), within: vec![] }));
    let work = play.claim().unwrap();
    play.add(Event::Steered(Steer::Pause));
    play.add(Event::Reported { work, step: 1, values: vec![("loss".into(), 2.0)], seconds: 0.0 });
    let judged =
        luthier_core::engine::Engine::new(&play.study).unwrap().judge(&play.study, work).unwrap().unwrap();
    play.add(judged);
    play.add(Event::Paused { work, step: 1, seconds: 0.0 });
    assert!(play.claim().is_err() && standing(&play.study).unwrap().is_paused);
    play.add(turn(0.3));
    assert!(play.claim().is_err());
    play.add(Event::Steered(Steer::Go));
    assert_eq!(play.claim().unwrap(), Work::of(1));
    close(&rates(&play.study), &[0.1, 0.3]);
    assert!(play.study.steers().is_empty());
    assert!(play.verified().disagreements.is_empty());
}

#[test]
fn users_go_back_with_the_knobs_of_then_and_branch_from_any_trial() {
    let back = |trial, step| Event::Steered(Steer::Back { trial, step });
    let wishes =
        begun(0.1, vec![(events_at(6), turn(0.2)), (events_at(12), back(0, 3)), (events_at(18), back(1, 8))]);
    let run =
        simulate(spec(space(vec![rate()]), 20, babysit()), World { wishes, ..World::new(20, &falling) });
    close(&rates(&run.study), &[0.1, 0.2, 0.1, 0.2]);
    let parents = parents(&run.study);
    assert_eq!((parents[2], parents[3]), (Some((0, 3)), Some((1, 8))));
    assert!(run.study.trials().iter().skip(1).all(|trial| trial.origin == Origin::Steered));
    // Whoever goes over steps again does so with other random choices.
    assert_eq!(draws(&run.study), [0, 0, 2, 3]);
    // The line of the last: its own steps, then those of trial 1, then those of the first.
    let turned = parents[1].unwrap().1;
    let found = checkpoints(&run.study, 3);
    assert_eq!(found.first(), Some(&(3, 19)));
    assert!(
        found.contains(&(1, 8))
            && !found.contains(&(1, 9))
            && found.contains(&(0, turned))
            && !found.contains(&(2, 4))
    );
    assert_eq!(
        losses(&run.study, 3, 20).iter().map(|(step, _)| *step).collect::<Vec<_>>(),
        (1..=20).collect::<Vec<u64>>()
    );
    check_log(&run);
}

#[test]
fn a_model_that_begins_anew_in_the_place_of_a_branch_has_nothing_of_what_came_before() {
    let back = Event::Steered(Steer::Back { trial: 1, step: 0 });
    let wishes = begun(0.1, vec![(events_at(6), turn(0.2)), (events_at(12), back)]);
    let run =
        simulate(spec(space(vec![rate()]), 20, babysit()), World { wishes, ..World::new(20, &falling) });
    assert_eq!(parents(&run.study)[2], Some((1, 0)));
    close(&rates(&run.study), &[0.1, 0.2, 0.1]);
    let legs = schedule(&run.study, 2);
    assert_eq!(legs.iter().map(|leg| (leg.trial, leg.from, leg.to)).collect::<Vec<_>>(), [(2, 0, 20)]);
    assert_eq!(checkpoints(&run.study, 2), (1..20).rev().map(|step| (2, step)).collect::<Vec<_>>());
    let steps: Vec<u64> = losses(&run.study, 2, 20).iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, (1..=20).collect::<Vec<u64>>());
    assert_eq!(draws(&run.study), [0, 0, 2]);
    check_log(&run);
}

#[test]
fn what_is_trained_again_after_a_loss_is_no_moment_to_pause_for_what_was_asked() {
    let mut play = play::Play::new(spec(space(vec![rate()]), 20, babysit().with("interval", 5)));
    play.add(Event::Enqueued(Wish { params: params(0.1), within: vec![] }));
    let work = play.claim().unwrap();
    let report = |play: &mut play::Play, step: u64| {
        play.add(Event::Reported { work, step, values: vec![("loss".into(), 2.0)], seconds: 0.0 });
        play.engine.judge(&play.study, work).unwrap()
    };
    for step in 1..=3 {
        assert_eq!(report(&mut play, step), None);
    }
    play.add(turn(0.3));
    play.add(Event::Lost { work, returned: false });
    play.add(Event::Claimed { work, attempt: 2 });
    // Its checkpoint was of step 1.
    assert_eq!(report(&mut play, 2), None);
    let judged = report(&mut play, 3).unwrap();
    assert!(matches!(judged, Event::Judged { decision: Decision::Pause, .. }), "{judged:?}");
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let small = Parameter::new("units", Distribution::Int { low: 1, high: 9, scale: Scale::Linear, step: 1 });
    let with_choice = space(vec![rate(), small, choice("optimizer", ["sgd", "adam"])]);
    let mut play = play::Play::new(spec(with_choice, 20, babysit()));
    let said =
        |play: &play::Play, steer: Steer| check(&play.study, &steer, |_, _| true).map_err(|e| e.to_string());
    assert!(said(&play, Steer::Pause).unwrap_err().contains("has not begun"));
    play.add(Event::Enqueued(Wish { params: params(0.1), within: vec![] }));
    let work = play.claim().unwrap();
    assert!(said(&play, Steer::Turn(params(99.0))).unwrap_err().contains("lr"));
    assert!(
        said(&play, Steer::Turn(Params::new().with("dropout", 0.1)))
            .unwrap_err()
            .contains("there is no such knob; there are lr, units, optimizer")
    );
    assert!(
        said(&play, Steer::Back { trial: 0, step: 4 })
            .unwrap_err()
            .contains("trial 0 has no checkpoint of step 4; it has none")
    );
    assert_eq!(
        said(&play, Steer::Back { trial: 3, step: 4 }).unwrap_err(),
        SteerError::NoTrial(3).to_string()
    );
    assert_eq!(said(&play, Steer::Go).unwrap_err(), SteerError::NotPaused.to_string());
    assert!(
        said(&play, Steer::Turn(params(0.2))).is_ok()
            && said(&play, Steer::Back { trial: 0, step: 0 }).is_ok()
    );
    play.end(work, play::completed(1.0));
    assert_eq!(said(&play, Steer::Turn(params(0.2))).unwrap_err(), SteerError::Over.to_string());
    assert!(said(&play, Steer::Back { trial: 0, step: 0 }).is_ok());
    let many = play::Play::new(play::spec(space(vec![float("x", 0.0, 1.0)]), "random"));
    assert_eq!(said(&many, Steer::Pause).unwrap_err(), SteerError::NotWatched.to_string());
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    for (option, value, word) in [
        ("interval", serde_json::json!(0), "interval"),
        ("spike", serde_json::json!(-1.0), "standard deviations"),
        ("patience", serde_json::json!(0), "patience"),
        ("window", serde_json::json!(2), "at least 3"),
        ("factor", serde_json::json!(1.5), "lowers nothing"),
        ("keep", serde_json::json!(0), "keep"),
        ("lower", serde_json::json!("rate"), "the space has lr"),
        ("plateau", serde_json::json!(0), "plateau = 0"),
        ("plateau", serde_json::json!(-3), "plateau = -3"),
        ("plateau", serde_json::json!("soon"), "plateau = \"soon\""),
        ("plateau_factor", serde_json::json!(1.0), "plateau_factor = 1"),
        ("plateau_factor", serde_json::json!(0.0), "plateau_factor = 0"),
        ("plateau_threshold", serde_json::json!(1.5), "plateau_threshold = 1.5"),
        ("plateau_threshold", serde_json::json!(-0.1), "plateau_threshold = -0.1"),
        ("plateau_cooldown", serde_json::json!(-1), "plateau_cooldown = -1"),
        ("plateau_min", serde_json::json!(-1e-3), "plateau_min = -0.001"),
    ] {
        let mut spec = play::spec(space(vec![rate()]), "random");
        spec.policy.scheduler = babysit().with(option, value);
        let said = luthier_core::engine::resolve(&spec).unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn every_trial_of_a_study_that_tunes_is_watched() {
    let value = |x: &[f64], moment: Moment| {
        if x[0] > 0.5 && moment.step > 5 { 40.0 } else { 1.0 + 1.0 / moment.step as f64 }
    };
    let mut spec = spec(space(vec![rate()]), 10, babysit().with("interval", 2));
    spec.policy.sampler = Component::named("random");
    spec.limits.trials = Some(30);
    let spec = play::resolved(spec);
    for workers in [1, 3] {
        let run = simulate(spec.clone(), World { workers, engines: 2, ..World::new(10, &value) });
        assert_eq!(run.study.tally().completed, 30);
        assert!(run.study.trials().iter().any(|trial| trial.origin == Origin::Scheduler));
        let done = run.study.trials().iter().filter(|trial| trial.state() == TrialState::Completed);
        assert!(done.into_iter().all(|trial| trial.point.0[0] <= 0.5));
        check_log(&run);
    }
}

#[test]
fn a_wish_to_go_back_is_told_in_the_unit_of_the_study() {
    let back = |step| Steer::Back { trial: 3, step };
    assert_eq!(told(&back(2), "epoch"), "back to epoch 2 of trial 3");
    assert_eq!(told(&back(0), "epoch"), "back to the beginning");
}

/// A loss that falls as 1/step, but not below the rate.
fn stuck(params: &[f64], moment: Moment) -> f64 {
    params[0].max(1.0 / moment.step as f64)
}

/// One run with these rules, from a rate of 0.1.
fn run_of(rules: Component, last: u64, value: Values, wishes: Vec<(usize, Event)>) -> Run {
    let world = World { wishes: begun(0.1, wishes), engines: 2, ..World::new(last, value) };
    let run = simulate(spec(space(vec![rate()]), last, rules), world);
    check_log(&run);
    run
}

#[test]
fn on_a_plateau_it_goes_on_with_a_lower_rate() {
    let run = run_of(babysit().with("plateau", 3), 60, &stuck, vec![]);
    close(&rates(&run.study), &[0.1, 0.01]);
    assert_eq!(parents(&run.study), [None, Some((0, 13))], "0.1 is reached at step 10");
    let trials = run.study.trials();
    assert_eq!(trials[0].outcome(), Some(&Outcome::Replaced { by: 1 }));
    assert_eq!(
        &*trials[0].piece(0).unwrap().why.clone().unwrap(),
        "the last 3 reports are not 0.01 % better than 0.1"
    );
    assert_eq!((trials[1].origin, trials[1].state()), (Origin::Scheduler, TrialState::Completed));
    assert_eq!(draws(&run.study), [0, 0], "it stands where it stood, and so it draws on");
    let legs = schedule(&run.study, 1);
    assert_eq!(
        legs.iter().map(|leg| (leg.trial, leg.from, leg.to)).collect::<Vec<_>>(),
        [(0, 0, 13), (1, 13, 60)]
    );
    assert_eq!(run_of(babysit(), 60, &stuck, vec![]).study.trials().len(), 1, "nobody has asked for it");
}

#[test]
fn a_plateau_lowers_no_further_than_it_may_and_not_at_the_end() {
    let flat = |_: &[f64], _: Moment| 1.0;
    let rules = || babysit().with("plateau", 4).with("plateau_factor", 0.2);
    let run = run_of(rules().with("plateau_min", 0.003), 60, &flat, vec![]);
    close(&rates(&run.study), &[0.1, 0.02, 0.004, 0.003]);
    let begins = |run: &Run| {
        run.study.trials().iter().filter_map(|trial| trial.parent).map(|at| at.1).collect::<Vec<_>>()
    };
    assert_eq!(begins(&run), [5, 9, 13]);
    let run = run_of(rules().with("plateau_cooldown", 3), 19, &flat, vec![]);
    assert_eq!(begins(&run), [5, 12], "at step 19 there is nothing left to train");
    // The range of `lr` ends at 1e-6.
    let run = run_of(rules().with("plateau_factor", 1e-4), 60, &flat, vec![]);
    close(&rates(&run.study), &[0.1, 1e-5, 1e-6]);
}

#[test]
fn a_plateau_waits_for_the_interval_of_a_command_that_may_run_on() {
    let rules = babysit().with("plateau", 3).with("interval", 5).with("at_once", false);
    let run = run_of(rules, 60, &stuck, vec![]);
    assert_eq!(parents(&run.study), [None, Some((0, 15))]);
    let rules = babysit().with("plateau", 3).with("interval", 5);
    assert_eq!(parents(&run_of(rules, 60, &stuck, vec![]).study), [None, Some((0, 13))]);
}

#[test]
fn whoever_turns_a_knob_begins_the_count_of_a_plateau_anew() {
    let flat = |_: &[f64], _: Moment| 1.0;
    let rules = || babysit().with("plateau", 4);
    let run = run_of(rules(), 8, &flat, vec![(events_at(3), turn(0.2))]);
    let from = run.study.trials()[1].parent.unwrap().1;
    assert_eq!(parents(&run.study), [None, Some((0, from)), Some((1, from + 4))]);
    close(&rates(&run.study), &[0.1, 0.2, 0.02]);
    // What is asked where a plateau has come to light goes before it.
    let run = run_of(rules(), 8, &flat, vec![(events_at(5), turn(0.2))]);
    close(&rates(&run.study)[..2], &[0.1, 0.2]);
    assert_eq!(run.study.trials()[1].origin, Origin::Steered);
}

#[test]
fn a_lower_rate_on_a_plateau_is_no_going_back() {
    // Two plateaus, then a leap wherever the rate is not below 1e-4.
    let value = |x: &[f64], moment: Moment| if moment.step > 12 && x[0] > 1e-4 { 90.0 } else { 1.0 };
    let rules = babysit().with("plateau", 4).with("rollbacks", 1).with("factor", 0.01);
    let run = run_of(rules, 16, &value, vec![]);
    close(&rates(&run.study), &[0.1, 0.01, 0.001, 1e-5]);
    assert_eq!(parents(&run.study)[1..], [Some((0, 5)), Some((1, 9)), Some((2, 12))]);
    let straight = |trial: u32| goes_straight_on(&run.study, run.study.trial(trial).unwrap());
    assert_eq!([0, 1, 2, 3].map(straight), [false, true, true, false]);
    assert_eq!(run.study.trials()[3].state(), TrialState::Completed);
}

#[test]
fn a_plateau_needs_something_to_lower() {
    let named = |name: &str, rules: Component| {
        let mut spec = play::spec(space(vec![float(name, 0.0, 1.0)]), "random");
        spec.policy.scheduler = rules.with("plateau", 5);
        luthier_core::engine::resolve(&spec).map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(named("x", babysit()).unwrap_err().contains("name one with lower"));
    assert_eq!((named("eta", babysit()), named("x", babysit().with("lower", "x"))), (Ok(()), Ok(())));
}
