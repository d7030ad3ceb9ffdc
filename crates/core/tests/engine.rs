//! The engine over whole studies: determinism, limits, the queue, exhaustion, lost work, edits of the space, tracing.

mod play;

use luthier_core::engine::{Done, Engine, Next, drawn_value, trace, verify};
use luthier_core::event::{Event, Failure, Origin, Outcome, SpaceEdit, Wish, Within, Work};
use luthier_core::metric::{CurveValue, Direction, Metric};
use luthier_core::sampler::SAMPLERS;
use luthier_core::space::{Comparison, Condition, Constraint, Distribution, Params, Scale, Space, Value};
use luthier_core::spec::{Component, Limits, PolicySpec, Spec};
use luthier_core::study::Study;
use luthier_core::trial::TrialState;
use play::{Play, choice, completed, constrained, failed, float, int, on_scale, space};

fn spec(space: Space) -> Spec {
    play::spec(space, "random")
}

fn origins(play: &Play) -> Vec<Origin> {
    play.study.trials().iter().map(|trial| trial.origin).collect()
}

fn agrees(play: &Play) {
    let found = play.verified();
    assert!(found.disagreements.is_empty(), "{}", found.disagreements[0]);
    assert!(found.agreed > 0);
}

fn within(name: &str, low: impl Into<Value>, high: impl Into<Value>) -> Within {
    Within { name: name.into(), low: low.into(), high: high.into() }
}

#[test]
fn random_search_runs_to_its_limit_and_verifies() {
    let mut spec = spec(space(vec![float("x", -1.0, 1.0)]));
    spec.limits.trials = Some(50);
    let mut play = Play::new(spec);
    assert_eq!(play.run_out(|trial| completed(trial.point.0[0].powi(2))), Done::Trials(50));
    let study = &play.study;
    assert_eq!(study.tally().completed, 50);
    let best = study.incumbent().unwrap().loss(study.metrics(), 0).unwrap();
    assert!(study.trials().iter().all(|t| t.loss(study.metrics(), 0).unwrap() >= best));
    let found = play.verified();
    assert_eq!((found.agreed, found.disagreements.len()), (50, 0));
}

#[test]
fn a_changed_decision_is_found() {
    let mut spec = spec(space(vec![float("x", -1.0, 1.0)]));
    spec.limits.trials = Some(5);
    let mut play = Play::new(spec);
    play.run_out(|trial| completed(trial.point.0[0]));
    for event in &mut play.events {
        if let Event::Started { trial: 3, params, .. } = event {
            params[0] = Some(Value::Float(0.125));
        }
    }
    assert_eq!(verify(&play.events).unwrap().disagreements.len(), 1);
}

#[test]
fn a_finite_space_is_searched_without_repetition_and_ends_the_study() {
    let mut play = Play::new(spec(space(vec![choice("c", ["a", "b", "c"]), int("i", 1, 4)])));
    assert_eq!(play.run_out(|trial| completed(trial.point.0[1])), Done::Exhausted);
    assert_eq!(play.study.trials().len(), 12);
}

#[test]
fn forgetting_memos_changes_nothing() {
    let mut spec = spec(space(vec![int("i", 1, 40)]));
    spec.seed = 7;
    let mut play = Play::new(spec);
    play.run_out(|trial| completed(trial.point.0[0]));
    let events = play.events;
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
    let mut spec = spec(space(vec![float("x", 1e-5, 1.0), float("y", 0.0, 1.0)]));
    spec.limits.trials = Some(20);
    let mut play = Play::new(spec);
    play.run_out(|trial| completed(trial.point.0[0].sin() / 3.0));
    for event in &play.events {
        let text = serde_json::to_string(event).unwrap();
        let back: Event = serde_json::from_str(&text).unwrap();
        assert_eq!(&back, event, "{text}");
    }
}

#[test]
fn work_of_a_lost_worker_is_claimed_again_with_the_next_token() {
    let mut study = Study::new(spec(space(vec![float("x", 0.0, 1.0)])));
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

#[test]
fn losses_are_counted_from_the_last_progress_on() {
    let mut study = Study::new(spec(space(vec![float("x", 0.0, 1.0)])));
    let Next::Decide(started) = Engine::new(&study).unwrap().next(&study).unwrap() else {
        panic!("a decision was due")
    };
    study.apply(&started).unwrap();
    let work = Work::of(0);
    let mut attempt = 0;
    let mut lost_after = |step: Option<u64>, study: &mut Study| {
        attempt += 1;
        study.apply(&Event::Claimed { work, attempt }).unwrap();
        if let Some(step) = step {
            let values = vec![("loss".into(), 0.5)];
            study.apply(&Event::Reported { work, step, values, seconds: 1.0 }).unwrap();
        }
        study.apply(&Event::Lost { work, returned: false }).unwrap();
        study.piece(work).unwrap().lost
    };
    let steps = [None, None, Some(3), Some(2), Some(3), None, Some(4)];
    let counts = steps.map(|step| lost_after(step, &mut study));
    assert_eq!(counts, [1, 2, 1, 2, 3, 4, 1], "a step reached again is no progress");
    // A checkpoint is progress also where nothing new was reported.
    study.apply(&Event::Claimed { work, attempt: 8 }).unwrap();
    study.apply(&Event::Paused { work, step: 4, seconds: 0.0 }).unwrap();
    assert_eq!(study.piece(work).unwrap().lost, 0);
}

// The queue.

#[test]
fn queued_values_come_first_and_open_ones_are_filled_in() {
    let mut play =
        Play::new(spec(space(vec![on_scale("lr", 1e-4, 1.0, Scale::Log), choice("opt", ["sgd", "adam"])])));
    play.run(2, |_| completed(1.0));
    play.enqueue(Params::new().with("lr", 0.5).with("opt", "adam"));
    play.enqueue(Params::new().with("lr", 0.25));
    play.run(3, |_| completed(1.0));
    assert_eq!(play.written()[2], "lr=0.5 opt=adam");
    assert!(play.written()[3].starts_with("lr=0.25 opt="));
    let expected = [Origin::Sampler, Origin::Sampler, Origin::Enqueued, Origin::Enqueued, Origin::Sampler];
    assert_eq!(origins(&play), expected);
    assert!(play.study.queue().is_empty());
    agrees(&play);
}

#[test]
fn queued_ranges_are_drawn_evenly_between_their_ends() {
    let mut play = Play::new(spec(space(vec![
        on_scale("lr", 1e-4, 1.0, Scale::Log),
        int("n", 0, 100),
        choice("opt", ["sgd", "adam"]),
    ])));
    for _ in 0..300 {
        let within = vec![within("lr", 1e-3, 1e-2), within("n", 4, 6)];
        play.add(Event::Enqueued(Wish { params: Params::new().with("opt", "sgd"), within }));
    }
    play.run(300, |_| completed(1.0));
    let column = |name: &str| -> Vec<f64> {
        let value = |trial| play.study.params(trial).get(name).unwrap().as_f64().unwrap();
        play.study.trials().iter().map(value).collect()
    };
    let (rates, counts) = (column("lr"), column("n"));
    assert!(rates.iter().all(|lr| (1e-3..=1e-2).contains(lr)));
    // The geometric middle halves a log range: 150 ± 5 σ, σ = √300 / 2; false failure 6 in 10⁷.
    let below = rates.iter().filter(|lr| **lr < 1e-2 / 10f64.sqrt()).count();
    assert!((107..=193).contains(&below), "{below}");
    // Each of 4, 5, 6 has a third, the ends too: 100 ± 5 σ, σ = 8.2; false failure 2 in 10⁶.
    for n in [4.0, 5.0, 6.0] {
        let share = counts.iter().filter(|count| **count == n).count();
        assert!((59..=141).contains(&share), "{n}: {share}");
    }
    agrees(&play);
}

#[test]
fn queued_trials_that_do_not_fit_say_why() {
    let space = || space(vec![float("x", 0.0, 1.0), choice("opt", ["sgd", "adam"])]);
    let check = |wish: Wish, expected: &str| {
        let mut play = Play::new(spec(space()));
        play.add(Event::Enqueued(wish));
        let Next::Done(done @ Done::Queue(_)) = play.next() else { panic!("{expected}") };
        assert!(done.to_string().contains(expected), "{done}");
    };
    let value = |name, value: Value| Wish { params: Params::new().with(name, value), within: vec![] };
    let range =
        |name, low: Value, high: Value| Wish { params: Params::new(), within: vec![within(name, low, high)] };
    check(value("x", 2.0.into()), "\"x\"");
    check(value("y", 2.0.into()), "no such parameter");
    check(value("opt", "rmsprop".into()), "\"opt\"");
    check(range("x", 0.9.into(), 0.1.into()), "swap");
    check(range("opt", "sgd".into(), "adam".into()), "order");
    check(range("x", 0.5.into(), 1.5.into()), "\"x\"");
}

#[test]
fn a_queued_trial_in_full_may_break_a_constraint_and_an_open_one_is_completed_within_it() {
    let weights = vec![("x".into(), 1.0), ("y".into(), 1.0)];
    let rule = Constraint::Linear { weights, at_most: 1.0 };
    for sampler in automatic().chain(["manual"]) {
        let space = constrained(vec![float("x", 0.0, 1.0), float("y", 0.0, 1.0)], vec![rule.clone()]);
        let mut play = Play::new(play::spec(space, sampler));
        play.enqueue(Params::new().with("x", 1.0).with("y", 1.0));
        play.enqueue(Params::new().with("y", 0.9));
        play.run(2, |_| completed(1.0));
        assert_eq!(play.written()[0], "x=1 y=1", "{sampler}");
        let open = &play.study.trials()[1].point.0;
        assert!(open[1] == 0.9 && open[0] <= 0.1 + 1e-9, "{sampler}: {open:?}");
        agrees(&play);
    }
}

#[test]
fn queued_values_decide_what_else_is_active() {
    let mut momentum = float("momentum", 0.0, 0.9);
    momentum.when = Some(Condition::eq("opt", "sgd"));
    let mut play = Play::new(spec(space(vec![choice("opt", ["adam", "sgd"]), momentum])));
    for opt in ["sgd", "adam"].repeat(10) {
        play.enqueue(Params::new().with("opt", opt));
    }
    play.run(20, |_| completed(1.0));
    for (k, trial) in play.study.trials().iter().enumerate() {
        assert_eq!(trial.point.get(1).is_some(), k % 2 == 0);
    }
    agrees(&play);
}

#[test]
fn the_manual_sampler_waits_for_the_queue() {
    let mut width = int("width", 1, 9);
    width.default = Some(3.into());
    let mut play = Play::new(play::spec(space(vec![float("x", 0.0, 1.0), width]), "manual"));
    assert_eq!(play.next(), Next::Wait);
    play.enqueue(Params::new().with("x", 0.25));
    play.add(Event::Enqueued(Wish { params: Params::new(), within: vec![within("x", 0.5, 0.75)] }));
    assert_eq!(play.run(9, |_| completed(1.0)), Some(Next::Wait));
    assert_eq!(play.written()[0], "x=0.25 width=3");
    let ranged = &play.study.trials()[1].point.0;
    assert!((0.5..=0.75).contains(&ranged[0]) && ranged[1] == 3.0, "{ranged:?}");
    agrees(&play);
}

// Defaults.

#[test]
fn defaults_are_tried_first_where_they_are_allowed() {
    let with_default = || {
        let mut x = float("x", 0.0, 1.0);
        x.default = Some(0.125.into());
        vec![x, float("y", 0.0, 8.0)]
    };
    let mut play = Play::new(spec(space(with_default())));
    play.run(2, |_| completed(1.0));
    assert_eq!(play.written()[0], "x=0.125 y=4");
    assert_eq!(origins(&play), [Origin::Default, Origin::Sampler]);
    agrees(&play);

    let rule = Constraint::Forbid(Condition::compare("y", Comparison::Eq, 4.0));
    let mut play = Play::new(spec(constrained(with_default(), vec![rule])));
    play.run(1, |_| completed(1.0));
    assert_eq!(origins(&play), [Origin::Sampler]);

    let mut play = Play::new(play::spec(space(with_default()), "grid"));
    play.run(1, |_| completed(1.0));
    assert_eq!((origins(&play), play.written()), (vec![Origin::Sampler], vec!["x=0 y=0".to_owned()]));
}

// Limits and counts.

fn limited(limits: Limits) -> Play {
    let mut spec = spec(space(vec![float("x", 0.0, 1.0)]));
    spec.limits = limits;
    Play::new(spec)
}

#[test]
fn limits_count_every_finished_trial_and_all_its_work() {
    let mut play = limited(Limits { trials: Some(4), ..Limits::default() });
    let outcomes = [completed(1.0), failed(), Outcome::Pruned, Outcome::Cancelled];
    assert_eq!(play.run_out(|trial| outcomes[trial.number as usize].clone()), Done::Trials(4));
    let tally = *play.study.tally();
    assert_eq!((tally.completed, tally.failed, tally.pruned, tally.cancelled), (1, 1, 1, 1));
    assert_eq!(tally.finished(), 4);

    // Each trial costs one second.
    let mut play = limited(Limits { seconds: Some(7.5), ..Limits::default() });
    assert_eq!(play.run_out(|_| completed(1.0)), Done::Seconds(7.5));
    assert_eq!(play.study.trials().len(), 8);

    let mut play = limited(Limits { steps: Some(20), ..Limits::default() });
    let done = loop {
        match play.claim() {
            Ok(work) => {
                play.report(work, 3, 1.0);
                play.report(work, 6, 0.5);
                play.end(work, completed(0.5));
            }
            Err(Next::Done(done)) => break done,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!((done, play.study.trials().len()), (Done::Steps(20), 4));
    agrees(&play);
}

#[test]
fn running_trials_count_towards_the_limit() {
    let mut play = limited(Limits { trials: Some(3), ..Limits::default() });
    let running: Vec<Work> = (0..3).map(|_| play.claim().unwrap()).collect();
    assert_eq!(play.next(), Next::Done(Done::Trials(3)));
    for work in running {
        play.end(work, completed(1.0));
    }
    assert_eq!(play.next(), Next::Done(Done::Trials(3)));
    play.add(Event::LimitsChanged(Limits { trials: Some(5), ..Limits::default() }));
    assert_eq!(play.run_out(|_| completed(1.0)), Done::Trials(5));
    assert_eq!(play.study.trials().len(), 5);
    agrees(&play);
}

#[test]
fn a_target_ends_the_study_in_either_direction() {
    let mut play = limited(Limits { target: Some(2.0), ..Limits::default() });
    assert_eq!(play.run_out(|trial| completed(5.0 - f64::from(trial.number))), Done::Target(2.0));
    assert_eq!(play.study.trials().len(), 4);

    let mut up = spec(space(vec![float("x", 0.0, 1.0)]));
    up.metrics.objectives[0].direction = Direction::Maximize;
    up.limits.target = Some(0.9);
    let mut play = Play::new(up);
    assert_eq!(play.run_out(|trial| completed(0.5 + 0.1 * f64::from(trial.number))), Done::Target(0.9));
    assert_eq!(play.study.incumbent().unwrap().number, 4);
    agrees(&play);
}

#[test]
fn failures_in_a_row_end_the_study_and_a_success_starts_the_count_again() {
    let mut play = limited(Limits { failures: Some(3), ..Limits::default() });
    let done = play.run_out(|trial| match trial.number {
        2 | 5 => completed(1.0),
        7 => Outcome::Cancelled,
        _ => failed(),
    });
    // 6 failed, 7 was cancelled, which says nothing, 8 and 9 failed.
    assert_eq!((done, play.study.trials().len()), (Done::Failures(3), 10));
    assert_eq!(play.study.tally().failures_in_a_row, 3);
    agrees(&play);
}

#[test]
fn trials_may_be_cancelled_before_anybody_takes_them() {
    let mut play = limited(Limits { trials: Some(1), ..Limits::default() });
    let Next::Decide(event) = play.next() else { panic!("a decision was due") };
    play.add(event);
    play.add(Event::StopAsked { trial: 0 });
    assert!(play.study.stopping().contains(&0));
    play.end(Work::of(0), Outcome::Cancelled);
    assert!(play.study.stopping().is_empty());
    assert_eq!(play.next(), Next::Done(Done::Trials(1)));
    assert_eq!(play.study.trials()[0].state(), TrialState::Cancelled);
}

// Replicates and metrics.

fn replicated() -> Play {
    let mut spec = spec(space(vec![float("x", 0.0, 1.0)]));
    spec.replicates = 3;
    Play::new(spec)
}

#[test]
fn the_value_of_a_replicated_trial_is_the_mean_and_its_error_is_known() {
    let mut play = replicated();
    for value in [1.0, 2.0, 6.0] {
        let work = play.claim().unwrap();
        assert_eq!(work.trial, 0);
        assert_eq!(play.study.incumbent().map(|trial| trial.number), None);
        play.end(work, completed(value));
    }
    let trial = &play.study.trials()[0];
    assert_eq!(trial.values(), Some(&[3.0][..]));
    // Variance (4 + 1 + 9) / 2 = 7 over 3 replicates.
    assert!((trial.standard_error(0).unwrap() - (7.0f64 / 3.0).sqrt()).abs() < 1e-12);
    assert_eq!(play.claim().unwrap(), Work::of(1));
    agrees(&play);
}

#[test]
fn one_failed_replicate_fails_the_trial_once_all_have_ended() {
    let mut play = replicated();
    let works: Vec<Work> = (0..3).map(|_| play.claim().unwrap()).collect();
    assert_eq!(works.iter().map(|work| work.replicate).collect::<Vec<_>>(), [0, 1, 2]);
    play.end(works[1], failed());
    play.end(works[0], completed(1.0));
    assert!(!play.study.trials()[0].is_finished());
    play.end(works[2], completed(1.0));
    assert_eq!(play.study.trials()[0].state(), TrialState::Failed);
    assert_eq!((play.study.tally().failed, play.study.tally().completed), (1, 0));
    assert!(play.study.incumbent().is_none());
    agrees(&play);
}

#[test]
fn several_objectives_keep_their_raw_values_and_turn_into_losses() {
    let mut spec = spec(space(vec![float("x", 0.0, 1.0)]));
    spec.metrics.objectives.push(Metric { name: "speed".into(), direction: Direction::Maximize });
    spec.metrics.curve = CurveValue::Best;
    let mut play = Play::new(spec);
    let work = play.claim().unwrap();
    for (step, loss, speed) in [(1, 3.0, 10.0), (2, 1.0, 30.0), (3, 2.0, 20.0)] {
        let values = vec![("loss".into(), loss), ("speed".into(), speed), ("memory".into(), 7.0)];
        play.add(Event::Reported { work, step, values, seconds: 0.5 });
    }
    let values = play.study.curve_values(play.study.piece(work).unwrap(), u64::MAX).unwrap();
    assert_eq!(values, [1.0, 30.0]);
    play.end(work, Outcome::Completed { values });
    let trial = &play.study.trials()[0];
    assert_eq!(trial.loss(play.study.metrics(), 0), Some(1.0));
    assert_eq!(trial.loss(play.study.metrics(), 1), Some(-30.0));
    let last = trial.curve().last().unwrap();
    assert_eq!(play.study.curve_value(last, "speed"), Some(20.0));
    assert_eq!(play.study.curve_value(last, "memory"), Some(7.0));
    let work = play.claim().unwrap();
    let short = Event::Ended { work, outcome: completed(1.0), seconds: 0.0, used: None };
    assert!(play.study.apply(&short).is_err(), "one value for two objectives");
}

#[test]
fn a_later_report_at_the_same_step_replaces_what_it_names() {
    let mut play = Play::new(spec(space(vec![float("x", 0.0, 1.0)])));
    let work = play.claim().unwrap();
    let report = |step, values: &[(&str, f64)]| {
        let values = values.iter().map(|(name, value)| ((*name).into(), *value)).collect();
        Event::Reported { work, step, values, seconds: 1.0 }
    };
    play.add(report(1, &[("loss", 4.0), ("memory", 1.0)]));
    play.add(report(3, &[("loss", 3.0)]));
    play.add(report(1, &[("loss", 5.0)]));
    play.add(report(2, &[("memory", 9.0)]));
    let curve = play.study.trials()[0].curve();
    assert_eq!(curve.iter().map(|point| point.step).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((curve[0].loss, curve[2].loss), (5.0, 3.0));
    assert!(curve[1].loss.is_nan());
    assert_eq!(play.study.curve_value(&curve[0], "memory"), Some(1.0));
    assert_eq!((play.study.tally().steps, play.study.tally().reports), (3, 4));
    play.end(work, completed(3.0));
    agrees(&play);
}

// Constraints that cannot be kept.

#[test]
fn constraints_that_no_point_keeps_end_the_study_as_impossible() {
    // More than a space sees through when it is made: x < y and y < x, in more combinations than it looks at.
    let less = |a, b| Condition::between(a, Comparison::Lt, b);
    let never = || vec![Constraint::Require(less("x", "y").and(less("y", "x")))];
    let floats = vec![float("x", 0.0, 1.0), float("y", 0.0, 1.0)];
    let ints = vec![int("x", 0, 999), int("y", 0, 999)];
    for parameters in [floats, ints] {
        let mut play = Play::new(spec(constrained(parameters, never())));
        let done = play.run_out(|_| completed(1.0));
        assert!(matches!(done, Done::Impossible { constraint: 1, .. }), "{done}");
        assert!(done.to_string().contains("constraint 1"), "{done}");
    }
}

#[test]
fn a_narrow_feasible_strip_is_found_by_drawing() {
    let weights = vec![("x".into(), -1.0), ("y".into(), -1.0)];
    let rule = Constraint::Linear { weights, at_most: -1.96 };
    let mut play = Play::new(spec(constrained(vec![float("x", 0.0, 1.0), float("y", 0.0, 1.0)], vec![rule])));
    assert_eq!(play.run(20, |_| completed(1.0)), None);
    assert!(origins(&play).contains(&Origin::Fallback));
    assert!(play.study.trials().iter().all(|trial| play.study.space().allows(&trial.point.0)));
    agrees(&play);
}

// Edits of the space.

/// Every sampler that proposes trials by itself.
fn automatic() -> impl Iterator<Item = &'static str> {
    SAMPLERS.iter().map(|entry| entry.name).filter(|name| *name != "manual")
}

#[test]
fn a_new_parameter_is_searched_from_then_on() {
    for sampler in automatic() {
        let mut play = Play::new(play::spec(space(vec![int("a", 1, 3)]), sampler));
        assert_eq!(play.run_out(|_| completed(1.0)), Done::Exhausted);
        play.add(Event::SpaceChanged(SpaceEdit::Add(choice("b", [true, false]))));
        assert_eq!(play.run_out(|_| completed(1.0)), Done::Exhausted);
        let mut written = play.written();
        assert_eq!(&written[..3].iter().map(String::len).collect::<Vec<_>>(), &[3, 3, 3], "{sampler}");
        written.sort();
        written.dedup();
        assert_eq!(written.len(), 3 + 6, "{sampler}");
        agrees(&play);
    }
}

#[test]
fn wider_bounds_and_new_choices_keep_the_history() {
    for sampler in automatic() {
        let mut play = Play::new(play::spec(space(vec![int("a", 1, 3), choice("c", ["x"])]), sampler));
        play.run_out(|_| completed(1.0));
        play.add(Event::SpaceChanged(SpaceEdit::Change(int("a", 0, 3))));
        play.add(Event::SpaceChanged(SpaceEdit::Change(choice("c", ["w", "x"]))));
        assert!(play.study.trials().iter().all(|trial| !trial.outside && trial.point.0[1] == 1.0));
        assert_eq!(play.run_out(|_| completed(1.0)), Done::Exhausted);
        let mut written = play.written();
        written.sort();
        written.dedup();
        assert_eq!((written.len(), play.study.trials().len()), (8, 8), "{sampler}");
        agrees(&play);
    }
}

#[test]
fn a_removed_choice_sets_its_trials_outside_and_bringing_it_back_returns_them() {
    for sampler in automatic() {
        let mut play =
            Play::new(play::spec(space(vec![choice("c", ["w", "x", "y"]), int("a", 1, 2)]), sampler));
        play.run_out(|_| completed(1.0));
        let before = play.written();
        play.add(Event::SpaceChanged(SpaceEdit::Change(choice("c", ["y", "w", "z"]))));
        for (trial, before) in play.study.trials().iter().zip(&before) {
            assert_eq!(trial.outside, before.starts_with("c=x"));
        }
        assert_eq!(play.written(), before, "what was run does not change");
        assert_eq!(play.run_out(|_| completed(1.0)), Done::Exhausted);
        assert_eq!(play.study.trials().len(), 6 + 2, "{sampler}");
        play.add(Event::SpaceChanged(SpaceEdit::Change(choice("c", ["w", "x", "y", "z"]))));
        assert!(play.study.trials().iter().all(|trial| !trial.outside));
        assert_eq!(play.next(), Next::Done(Done::Exhausted));
        agrees(&play);
    }
}

#[test]
fn a_retired_parameter_leaves_later_trials() {
    for sampler in automatic() {
        let mut play = Play::new(play::spec(space(vec![int("a", 1, 2), int("b", 1, 2)]), sampler));
        play.run_out(|_| completed(1.0));
        play.add(Event::SpaceChanged(SpaceEdit::Retire { name: "b".into() }));
        assert_eq!(play.run_out(|_| completed(1.0)), Done::Exhausted);
        let mut later = play.written()[4..].to_vec();
        later.sort();
        assert_eq!(later, ["a=1", "a=2"], "{sampler}");
        assert!(play.written()[..4].iter().all(|params| params.contains("b=")));
        agrees(&play);
    }
}

#[test]
fn a_trial_started_before_an_edit_ends_after_it() {
    let mut play = Play::new(spec(space(vec![choice("c", ["x"])])));
    let work = play.claim().unwrap();
    play.add(Event::SpaceChanged(SpaceEdit::Change(choice("c", ["w"]))));
    play.end(work, completed(1.0));
    assert!(play.study.trials()[0].outside);
    assert_eq!(play.written(), ["c=x"]);
    assert_eq!(play.study.incumbent().unwrap().number, 0);
    play.run(1, |_| completed(2.0));
    assert_eq!(play.written()[1], "c=w");
    agrees(&play);
}

#[test]
fn another_policy_takes_over_in_the_middle() {
    let mut play = Play::new(play::spec(space(vec![int("a", 1, 3), int("b", 1, 3)]), "random"));
    play.run(4, |_| completed(1.0));
    let grid = PolicySpec { sampler: Component::named("grid"), ..play.study.spec().policy.clone() };
    play.add(Event::PolicyChanged(grid));
    assert_eq!(play.run_out(|_| completed(1.0)), Done::Exhausted);
    let mut written = play.written();
    let by_grid = written[4..].to_vec();
    assert!(by_grid.is_sorted(), "{by_grid:?}");
    written.sort();
    written.dedup();
    assert_eq!(written.len(), 9);
    agrees(&play);
}

// Define-by-run: the objective asks for parameters by name, and the space grows.

/// Runs trials of an objective that asks: `optimizer`, then `momentum` only for sgd, then `width`.
fn traced(play: &mut Play, trials: usize) -> Option<Next> {
    for _ in 0..trials {
        let work = match play.claim() {
            Ok(work) => work,
            Err(next) => return Some(next),
        };
        let mut asked = vec!["optimizer"];
        let optimizer = ask(play, work, choice("optimizer", ["adam", "sgd"]));
        if optimizer == Value::from("sgd") {
            ask(play, work, choice("momentum", [0.0, 0.9]));
            asked.push("momentum");
        }
        ask(play, work, int("width", 1, 3));
        asked.push("width");
        let used = Some(asked.into_iter().map(Into::into).collect());
        play.add(Event::Ended { work, outcome: completed(1.0), seconds: 1.0, used });
    }
    None
}

/// The value of a parameter in a running trial: its params', or a draw that the log records.
fn ask(play: &mut Play, work: Work, parameter: luthier_core::space::Parameter) -> Value {
    if let Some(edit) = trace(play.study.space(), &parameter).unwrap() {
        play.add(Event::SpaceChanged(edit));
    }
    let trial = play.study.trial(work.trial).unwrap();
    if let Some(value) = play.study.params(trial).get(&parameter.name) {
        return value.clone();
    }
    let index = play.study.space().find(&parameter.name).unwrap();
    let value = drawn_value(&play.study, work.trial, index);
    play.add(Event::Drawn { trial: work.trial, name: parameter.name, value: value.clone() });
    value
}

#[test]
fn a_traced_space_grows_and_what_a_trial_did_not_ask_for_is_inactive() {
    for sampler in automatic() {
        let mut play = Play::new(play::spec(Space::default(), sampler));
        assert_eq!(traced(&mut play, 1), None, "{sampler}");
        assert!(play.study.is_traced());
        traced(&mut play, 8);
        assert_eq!(play.study.space().len(), 3);
        for (trial, params) in play.study.trials().iter().zip(play.written()) {
            assert!(params.contains("width="), "{params}");
            assert_eq!(params.contains("momentum="), params.contains("sgd"), "{params}");
            assert!(trial.is_finished());
        }
        agrees(&play);
        assert_eq!(play.reopened().written(), play.written());
    }
}

#[test]
fn a_traced_finite_space_ends_after_every_distinct_trial() {
    for sampler in automatic() {
        let mut play = Play::new(play::spec(Space::default(), sampler));
        assert_eq!(traced(&mut play, 100), Some(Next::Done(Done::Exhausted)), "{sampler}");
        let mut written = play.written();
        written.sort();
        written.dedup();
        // adam × 3 widths, sgd × 2 momenta × 3 widths; the first trials may repeat while the space is still unknown.
        assert_eq!(written.len(), 9, "{sampler}");
        assert!(play.study.trials().len() <= 12, "{sampler}: {}", play.study.trials().len());
        agrees(&play);
    }
}

#[test]
fn a_traced_trial_that_runs_keeps_the_study_open() {
    let mut play = Play::new(play::spec(Space::default(), "grid"));
    let first = play.claim().unwrap();
    assert_eq!(play.next(), Next::Wait, "nothing is known yet, and one trial is finding out");
    ask(&mut play, first, choice("optimizer", ["adam", "sgd"]));
    let second = play.claim().unwrap();
    play.end(second, failed());
    play.end(first, completed(1.0));
    assert!(play.study.trials().len() >= 2);
}

#[test]
fn a_known_name_asked_with_other_bounds_widens_the_space() {
    let known = space(vec![int("width", 1, 3)]);
    assert_eq!(trace(&known, &int("width", 1, 3)).unwrap(), None);
    let edit = trace(&known, &int("width", 1, 5)).unwrap();
    assert_eq!(edit, Some(SpaceEdit::Change(int("width", 1, 5))));
    assert!(trace(&known, &int("depth", 5, 1)).is_err());
}

#[test]
fn params_of_a_traced_trial_stay_when_the_space_changes_under_it() {
    let mut play = Play::new(spec(space(vec![choice("c", ["x"])])));
    let work = play.claim().unwrap();
    play.add(Event::SpaceChanged(SpaceEdit::Change(choice("c", ["w"]))));
    ask(&mut play, work, int("width", 2, 2));
    assert_eq!(play.written(), ["c=x width=2"]);
    let used = Some(vec!["width".into()]);
    play.add(Event::Ended { work, outcome: completed(1.0), seconds: 1.0, used });
    assert_eq!(play.written(), ["width=2"]);
    agrees(&play);
}

// Everything at once.

#[test]
fn a_log_with_everything_in_it_verifies_and_replays() {
    for sampler in automatic() {
        let mut y = float("y", 0.0, 1.0);
        y.default = Some(0.5.into());
        let mut spec = play::spec(space(vec![int("a", 1, 9), y]), sampler);
        spec.replicates = 2;
        let mut play = Play::new(spec);
        play.run(6, |_| completed(1.0));
        play.enqueue(Params::new().with("a", 4));
        let work = play.claim().unwrap();
        play.add(Event::Lost { work, returned: false });
        play.run(3, |_| failed());
        play.add(Event::SpaceChanged(SpaceEdit::Add(choice("c", [1, 2, 3]))));
        play.add(Event::Noted { trial: Some(0), key: "k".into(), value: true.into() });
        let work = play.claim().unwrap();
        play.report(work, 1, 0.5);
        play.add(Event::StopAsked { trial: work.trial });
        play.end(work, Outcome::Cancelled);
        play.add(Event::SpaceChanged(SpaceEdit::Change(int("a", 1, 5))));
        play.run(6, |_| completed(0.5));
        play.add(Event::SpaceChanged(SpaceEdit::Retire { name: "y".into() }));
        play.run(5, |_| Outcome::Pruned);
        let work = play.claim().unwrap();
        let reason = Failure::NonFinite { metric: "loss".into(), value: "nan".into() };
        play.end(work, Outcome::Failed { reason, detail: "".into() });
        agrees(&play);
        let mut again = play.reopened();
        assert_eq!(again.written(), play.written());
        assert_eq!(again.next(), play.next(), "{sampler}");
        assert_eq!(again.study.tally(), play.study.tally());
    }
}

#[test]
fn stepped_numbers_keep_their_text_through_the_log() {
    let step = Distribution::Float { low: 0.1, high: 0.9, scale: Scale::Linear, step: Some(0.1) };
    let parameter = luthier_core::space::Parameter::new("x", step);
    let mut play = Play::new(spec(space(vec![parameter])));
    assert_eq!(play.run_out(|_| completed(1.0)), Done::Exhausted);
    let mut written = play.written();
    written.sort();
    let expected = ["x=0.1", "x=0.2", "x=0.3", "x=0.4", "x=0.5", "x=0.6", "x=0.7", "x=0.8", "x=0.9"];
    assert_eq!(written, expected);
    assert_eq!(play.reopened().next(), Next::Done(Done::Exhausted));
}
