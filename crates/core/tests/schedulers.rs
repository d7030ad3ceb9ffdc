//! Schedulers against Optuna's decisions, hand-worked examples, the rules spelled out slowly, and running everything.

#[path = "support/functions.rs"]
mod functions;
#[path = "support/simulate.rs"]
mod simulate;

use std::collections::BTreeSet;

use functions::{BRANIN, HARTMANN6, LEVY, started};
use luthier_core::engine::{Done, Engine, Next, resolve, verify};
use luthier_core::event::{Decision, Event, Failure, Origin, Outcome, Work};
use luthier_core::metric::{CurveValue, Direction, Metric, Metrics};
use luthier_core::pareto;
use luthier_core::scheduler::{SCHEDULERS, forecast};
use luthier_core::space::{Distribution, Parameter, Scale, Space, Value};
use luthier_core::spec::{Component, PolicySpec, Spec};
use luthier_core::study::Study;
use luthier_core::trial::{Piece, Trial, TrialState};
use proptest::prelude::*;
use simulate::{Mishap, Moment, Run, World, simulate};

fn float(name: &str) -> Parameter {
    Parameter::new(name, Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None })
}

/// A study over the unit cube of `d` dimensions, whose trials have `last` steps.
fn spec(d: usize, last: u64, scheduler: &Component) -> Spec {
    let parameters = (0..d).map(|k| float(&format!("x{k}"))).collect();
    let space = Space::new(parameters, vec![]).unwrap();
    let mut spec = Spec::new("test", space, Metrics::single("loss", Direction::Minimize));
    spec.policy.scheduler = scheduler.clone();
    spec.max_budget = Some(last);
    spec
}

fn named(name: &str) -> Component {
    Component::named(name)
}

/// One component for every way in which each scheduler can be set up; the contract runs over all of them.
fn all() -> Vec<Component> {
    let mut all = Vec::new();
    for entry in SCHEDULERS {
        let component = named(entry.name);
        match entry.name {
            "asha" => {
                all.push(component.clone().with("mode", "stop"));
                all.push(component.clone().with("mode", "promote"));
                all.push(
                    component.clone().with("mode", "promote").with("eta", 2).with("min_early_stopping", 1),
                );
                all.push(component.with("brackets", 2).with("eta", 2));
            }
            "hyperband" => {
                for mode in ["stop", "promote", "wait", "fresh"] {
                    all.push(component.clone().with("mode", mode));
                }
                all.push(component.with("mode", "wait").with("eta", 2).with("brackets", 2));
            }
            "patience" => {
                let median = serde_json::json!({"name": "median", "startup_trials": 2});
                all.push(component.clone().with("patience", 12));
                all.push(component.clone().with("patience", 1).with("scheduler", median));
                let halving = serde_json::json!({"name": "asha", "mode": "promote"});
                all.push(component.with("patience", 0).with("scheduler", halving));
            }
            "forecast" => {
                all.push(component.clone().with("min_trials", 3).with("chance", 0.3));
                let promote = serde_json::json!({"name": "asha", "mode": "promote"});
                all.push(component.with("min_trials", 2).with("chance", 0.4).with("scheduler", promote));
            }
            "wilcoxon" => all.push(component.with("p_threshold", 0.4)),
            "successive_halving" => {
                all.push(component.clone());
                all.push(component.with("eta", 2).with("bracket_trials", 5));
            }
            "median" => {
                all.push(component.clone());
                all.push(
                    component.with("percentile", 25.0).with("startup_trials", 1).with("interval_steps", 2),
                );
            }
            "pbt" => {
                all.push(component.clone());
                let parts = component.with("population", 12).with("interval", 4).with("synchronous", true);
                all.push(parts.with("frequencies", vec![1, 2]));
            }
            "babysit" => {
                all.push(component.clone());
                let plateau = component.clone().with("lower", "x0").with("plateau", 2);
                let plateau = plateau.with("plateau_threshold", 0.05).with("plateau_factor", 0.5);
                all.push(plateau.clone());
                all.push(plateau.with("interval", 4).with("at_once", false).with("plateau_cooldown", 1));
                all.push(
                    component
                        .with("interval", 3)
                        .with("spike", 2.0)
                        .with("patience", 2)
                        .with("at_once", false),
                );
            }
            "pb2" => all.push(component.with("population", 6).with("interval", 3)),
            "threshold" => all.push(component.with("upper", 1.5).with("warmup_steps", 2)),
            _ => all.push(component),
        }
    }
    all
}

/// A number in [0, 1) that follows from these.
fn chance(parts: &[u64]) -> f64 {
    let mixed = parts.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |state, &part| {
        let z = (state.rotate_left(5) ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    });
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

// ---- one study event by event

/// A study whose reports are given by hand.
struct ByHand {
    study: Study,
    engine: Engine,
}

impl ByHand {
    fn new(spec: Spec) -> Self {
        let study = Study::new(spec);
        let engine = Engine::new(&study).unwrap();
        Self { study, engine }
    }

    fn add(&mut self, event: &Event) {
        self.study.apply(event).unwrap();
    }

    /// Trials up to `number` exist and run.
    fn start(&mut self, number: u32) {
        while self.study.trials().len() as u32 <= number {
            let trial = self.study.trials().len() as u32;
            let params = vec![Some(Value::Float(0.5))];
            self.add(&started(&self.study, trial, params, Origin::Sampler));
            self.add(&Event::Claimed { work: Work::of(trial), attempt: 1 });
        }
    }

    /// Reports, and says why the trial is stopped if it is.
    fn report(&mut self, number: u32, step: u64, value: Option<f64>) -> Option<String> {
        let work = Work::of(number);
        let values = value.map(|value| ("loss".into(), value)).into_iter().collect();
        self.add(&Event::Reported { work, step, values, seconds: 0.0 });
        let judged = self.engine.judge(&self.study, work).unwrap();
        let fresh = Engine::new(&self.study).unwrap().judge(&self.study, work).unwrap();
        assert_eq!(judged, fresh, "the memo changed the answer");
        match judged? {
            Event::Judged { decision: Decision::Stop, why, .. } => Some(why.to_string()),
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, number: u32, outcome: Outcome) {
        self.add(&Event::Ended { work: Work::of(number), outcome, seconds: 0.0, used: None });
    }

    fn complete(&mut self, number: u32, curve: &[f64]) {
        self.start(number);
        for (k, &value) in curve.iter().enumerate() {
            assert_eq!(self.report(number, k as u64 + 1, Some(value)), None, "trial {number}");
        }
        self.end(number, Outcome::Completed { values: vec![curve[curve.len() - 1]] });
    }

    fn next(&mut self) -> Next {
        let next = self.engine.next(&self.study).unwrap();
        assert_eq!(
            Engine::new(&self.study).unwrap().next(&self.study).unwrap(),
            next,
            "the memo changed the answer"
        );
        next
    }

    /// Decides and claims what comes next, and says which work it is and how far it goes.
    fn take(&mut self) -> (u32, Option<u64>) {
        loop {
            match self.next() {
                Next::Decide(event) => self.add(&event),
                Next::Claim(work) => {
                    let piece = self.study.piece(work).unwrap();
                    let (attempt, budget) = (piece.attempt + 1, piece.budget);
                    self.add(&Event::Claimed { work, attempt });
                    return (work.trial, budget);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reports at a budget and pauses there.
    fn reach(&mut self, number: u32, step: u64, value: f64) {
        assert_eq!(self.report(number, step, Some(value)), None);
        self.add(&Event::Paused { work: Work::of(number), step, seconds: 0.0 });
    }
}

// ---- Optuna's decisions

/// Our scheduler for one of Optuna's pruners.
fn ours(pruner: &str, settings: &serde_json::Map<String, serde_json::Value>) -> Component {
    let (name, names): (_, &[(&str, &str)]) = match pruner {
        "MedianPruner" | "PercentilePruner" => (
            if pruner == "MedianPruner" { "median" } else { "percentile" },
            &[
                ("percentile", "percentile"),
                ("n_startup_trials", "startup_trials"),
                ("n_warmup_steps", "warmup_steps"),
                ("interval_steps", "interval_steps"),
                ("n_min_trials", "min_trials"),
            ],
        ),
        "ThresholdPruner" => (
            "threshold",
            &[
                ("lower", "lower"),
                ("upper", "upper"),
                ("n_warmup_steps", "warmup_steps"),
                ("interval_steps", "interval_steps"),
            ],
        ),
        "SuccessiveHalvingPruner" => (
            "asha",
            &[
                ("min_resource", "min_budget"),
                ("reduction_factor", "eta"),
                ("min_early_stopping_rate", "min_early_stopping"),
            ],
        ),
        // The largest budget is the study's.
        "HyperbandPruner" => (
            "hyperband",
            &[("min_resource", "min_budget"), ("reduction_factor", "eta"), ("max_resource", "")],
        ),
        "PatientPruner" => (
            "patience",
            &[("patience", "patience"), ("min_delta", "min_delta"), ("wrapped_pruner", "scheduler")],
        ),
        "WilcoxonPruner" => {
            ("wilcoxon", &[("p_threshold", "p_threshold"), ("n_startup_steps", "startup_steps")])
        }
        other => panic!("no scheduler for {other}"),
    };
    let mut component = named(name);
    for (key, value) in settings {
        let (_, option) = names.iter().find(|(theirs, _)| theirs == key).unwrap();
        let value = value.as_object().map_or_else(|| value.clone(), wrapped);
        if !option.is_empty() {
            component = component.with(option, value);
        }
    }
    component
}

/// The option for a pruner that another one wraps.
fn wrapped(settings: &serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
    let mut settings = settings.clone();
    let pruner = settings.remove("pruner").unwrap();
    let Component { name, mut options } = ours(pruner.as_str().unwrap(), &settings);
    options.insert("name".into(), name.to_string().into());
    options.into()
}

/// Follows a case and returns (reports judged alike, reports judged otherwise).
///
/// Reports that are not numbers are left to the engine's owner here (they fail the trial), so what Optuna decides
/// about them is not compared.
fn follow(case: &serde_json::Value) -> (usize, usize) {
    let scheduler = ours(case["pruner"].as_str().unwrap(), case["settings"].as_object().unwrap());
    let mut spec = spec(1, case["settings"]["max_resource"].as_u64().unwrap_or(1 << 40), &scheduler);
    if case["direction"] == "maximize" {
        spec.metrics.objectives[0].direction = Direction::Maximize;
    }
    let mut hand = ByHand::new(spec);
    let list = |key: &str| case[key].as_array().unwrap().clone();
    let reports = list("reports");
    let (mut alike, mut otherwise) = (0, 0);
    for (k, report) in reports.iter().enumerate() {
        let (number, step, value) =
            (report[0].as_u64().unwrap() as u32, report[1].as_u64().unwrap(), &report[2]);
        hand.start(number);
        let stopped = hand.report(number, step, value.as_f64()).is_some();
        let pruned = list("pruned").contains(&serde_json::json!([number, step]));
        if !value.is_null() {
            if stopped == pruned {
                alike += 1;
            } else {
                otherwise += 1;
            }
        }
        let is_last = !reports[k + 1..].iter().any(|later| later[0] == report[0]);
        if pruned {
            hand.end(number, Outcome::Pruned);
        } else if is_last && list("completed").contains(&report[0]) {
            hand.end(number, Outcome::Completed { values: vec![value.as_f64().unwrap()] });
        } else if is_last {
            hand.end(number, Outcome::Failed { reason: Failure::error("not a number"), detail: "".into() });
        }
    }
    (alike, otherwise)
}

#[test]
fn judges_as_optunas_pruners_do() {
    let text = include_str!("reference/optuna_pruners.json");
    let fixture: serde_json::Value = serde_json::from_str(text).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 31);
    let mut compared = 0;
    for case in cases {
        let (alike, otherwise) = follow(case);
        println!("{}: {alike} alike, {otherwise} otherwise", case["name"]);
        assert_eq!(otherwise, 0, "{}", case["name"]);
        compared += alike;
    }
    assert!(compared > 2200, "{compared}");
}

// ---- examples worked by hand

#[test]
fn the_median_stops_what_is_worse_and_says_why() {
    let mut hand = ByHand::new(spec(1, 27, &named("median")));
    for number in 0..5 {
        hand.complete(number, &[f64::from(number) + 1.0, 0.5]);
    }
    hand.start(7);
    let why = hand.report(5, 1, Some(3.5));
    assert_eq!(why.as_deref(), Some("at step 1: 3.5 is above the median 3 of 5 trials"));
    assert_eq!(hand.report(6, 1, Some(3.0)), None, "as good as the median");
    assert_eq!(
        hand.report(6, 2, Some(0.6)).as_deref(),
        Some("at step 2: 0.6 is above the median 0.5 of 5 trials")
    );
    assert_eq!(hand.report(7, 1, Some(0.4)), None);
    assert_eq!(hand.report(7, 2, Some(0.6)), None, "its best so far is better");
    assert_eq!(hand.report(7, 3, Some(9.9)), None, "nobody has been there");
}

#[test]
fn a_percentile_interpolates() {
    let mut hand =
        ByHand::new(spec(1, 27, &named("median").with("percentile", 25.0).with("startup_trials", 2)));
    hand.complete(0, &[1.0]);
    hand.complete(1, &[2.0]);
    hand.start(3);
    assert_eq!(hand.report(2, 1, Some(1.25)), None);
    let why = hand.report(3, 1, Some(1.26));
    assert_eq!(why.as_deref(), Some("at step 1: 1.26 is above the best 25 % at 1.25 of 2 trials"));
}

#[test]
fn a_threshold_is_about_the_raw_value() {
    let mut bounds = spec(1, 27, &named("threshold").with("lower", 0.2).with("warmup_steps", 2));
    bounds.metrics.objectives[0].direction = Direction::Maximize;
    let mut hand = ByHand::new(bounds);
    hand.start(0);
    assert_eq!(hand.report(0, 1, Some(0.1)), None);
    assert_eq!(hand.report(0, 2, Some(0.2)), None);
    assert_eq!(hand.report(0, 3, Some(0.19)).as_deref(), Some("at step 3: 0.19 is below the bound 0.2"));
}

#[test]
fn asha_stops_what_is_not_among_the_best_third_at_a_rung() {
    let mut hand = ByHand::new(spec(1, 9, &named("asha")));
    hand.start(8);
    assert_eq!(hand.report(0, 1, Some(0.9)), None, "the first to come goes on");
    assert_eq!(hand.report(1, 1, Some(0.5)), None, "the best of two");
    assert_eq!(
        hand.report(2, 1, Some(0.6)).as_deref(),
        Some("at step 1: 0.6 is above 0.5, the best of 3 at rung 1")
    );
    assert_eq!(hand.report(3, 1, Some(0.5)), None, "as good as the best");
    assert_eq!(hand.report(0, 2, Some(0.8)), None, "no rung at step 2");
    assert_eq!(hand.report(4, 1, Some(0.7)).map(|why| why.contains("the best of 5")), Some(true));
    let why = hand.report(5, 1, Some(0.51));
    assert_eq!(why.as_deref(), Some("at step 1: 0.51 is above 0.5, number 2 of 6 at rung 1"));
    // A report beyond the rung counts there: 0.8 at step 4 is the first of rung 3, 0.7 the better.
    assert_eq!(hand.report(0, 4, Some(0.8)), None);
    assert_eq!(hand.report(1, 3, Some(0.7)), None);
    assert_eq!(
        hand.report(3, 5, Some(0.75)).as_deref(),
        Some("at step 5: 0.75 is above 0.7, the best of 3 at rung 3")
    );
    assert_eq!(hand.report(0, 9, Some(5.0)), None, "nobody is stopped at the end");
    assert_eq!(hand.report(6, 9, Some(0.1)), None);
    // A report that passes two rungs is compared at each.
    assert_eq!(hand.report(7, 3, Some(0.05)), None);
    let why = hand.report(8, 3, Some(0.4));
    assert_eq!(why.as_deref(), Some("at step 3: 0.4 is above 0.1, number 2 of 6 at rung 3"));
}

#[test]
fn asha_promotes_as_algorithm_2_of_the_paper() {
    let mut hand = ByHand::new(spec(1, 9, &named("asha").with("mode", "promote")));
    for (number, loss) in [(0, 0.5), (1, 0.3), (2, 0.4)] {
        assert_eq!(hand.take(), (number, Some(1)));
        hand.reach(number, 1, loss);
    }
    assert_eq!(hand.take(), (1, Some(3)), "the best of three");
    // While it runs, another worker finds nobody to promote: the one best of four is trial 1.
    assert_eq!(hand.take(), (3, Some(1)));
    hand.reach(3, 1, 0.6);
    assert_eq!(hand.take(), (4, Some(1)));
    hand.reach(4, 1, 0.2);
    assert_eq!(hand.take(), (4, Some(3)), "the one best of five has changed, and is not promoted yet");
    assert_eq!(hand.take(), (5, Some(1)));
    hand.reach(5, 1, 0.7);
    // The two best of six, trials 4 and 1, are promoted already.
    assert_eq!(hand.take(), (6, Some(1)));
    hand.reach(6, 1, 0.25);
    assert_eq!(hand.take(), (6, Some(3)));
    hand.reach(1, 3, 0.28);
    hand.reach(4, 3, 0.15);
    hand.reach(6, 3, 0.2);
    assert_eq!(hand.take(), (4, None), "the best of three at rung 3 runs to its end");
    // Two at once: rung 3 has three more, of whom trial 8 is the best of six, and rung 1 has trial 10.
    for (number, loss) in [(7, 0.19), (8, 0.18), (9, 0.17)] {
        assert_eq!(hand.take(), (number, Some(1)));
        hand.reach(number, 1, loss);
        assert_eq!(hand.take(), (number, Some(3)));
    }
    assert_eq!(hand.take(), (10, Some(1)));
    for (number, loss) in [(7, 0.6), (8, 0.14), (9, 0.7)] {
        hand.reach(number, 3, loss);
    }
    hand.reach(10, 1, 0.01);
    assert_eq!(hand.take(), (8, None), "the top rung first");
    assert_eq!(hand.take(), (10, Some(3)));
}

#[test]
fn a_halving_bracket_goes_as_in_the_paper() {
    let mut hand = ByHand::new(spec(1, 9, &named("successive_halving")));
    let losses = [0.5, 0.2, 0.8, 0.3, 0.9, 0.1, 0.7, 0.4, 0.6];
    for (number, loss) in (0..9).zip(losses) {
        assert_eq!(hand.take(), (number, Some(1)));
        hand.reach(number, 1, loss);
    }
    for (number, loss) in [(5, 0.09), (1, 0.01), (3, 0.05)] {
        assert_eq!(hand.take(), (number, Some(3)), "the best three, best first");
        hand.reach(number, 3, loss);
    }
    assert_eq!(hand.take(), (1, None), "the best of three to its end");
    assert_eq!(hand.take(), (9, Some(1)), "the next bracket begins meanwhile");
}

#[test]
fn a_halving_rung_waits_and_a_free_worker_fills_the_next_bracket() {
    let mut spec = spec(1, 9, &named("successive_halving").with("bracket_trials", 3));
    spec.limits.trials = Some(4);
    let mut hand = ByHand::new(spec);
    for number in 0..3 {
        assert_eq!(hand.take(), (number, Some(1)));
    }
    hand.reach(0, 1, 0.3);
    hand.reach(1, 1, 0.2);
    assert_eq!(hand.take(), (3, Some(1)), "trial 2 still runs");
    assert_eq!(hand.next(), Next::Wait, "no more trials may start");
    hand.reach(3, 1, 0.9);
    assert_eq!(hand.take(), (3, Some(3)), "the last bracket has one trial, which goes on");
    hand.end(2, Outcome::Failed { reason: Failure::error("by plan"), detail: "".into() });
    assert_eq!(hand.take(), (1, Some(3)), "a failed trial does not block its rung");
}

#[test]
fn a_value_replaced_after_a_loss_changes_who_is_promoted() {
    let halving = named("successive_halving").with("eta", 2).with("bracket_trials", 4);
    let mut spec = spec(1, 4, &halving);
    spec.limits.trials = Some(4);
    let mut hand = ByHand::new(spec);
    for number in 0..4 {
        assert_eq!(hand.take(), (number, Some(1)));
        hand.reach(number, 1, 0.1 * f64::from(number));
    }
    assert_eq!(hand.take(), (0, Some(2)));
    assert_eq!(hand.take(), (1, Some(2)));
    assert_eq!(hand.next(), Next::Wait);
    hand.add(&Event::Lost { work: Work::of(1), returned: false });
    assert_eq!(hand.take(), (1, Some(2)));
    hand.report(1, 1, Some(0.9));
    assert_eq!(hand.take(), (2, Some(2)), "trial 1 is the worst now");
    hand.reach(0, 2, 0.5);
    hand.reach(2, 2, 0.1);
    assert_eq!(hand.take(), (2, None));
    assert_eq!(hand.next(), Next::Wait, "nothing is left to decide");
    hand.add(&Event::Lost { work: Work::of(2), returned: false });
    assert_eq!(hand.take(), (2, None));
    hand.report(2, 2, Some(0.6));
    assert_eq!(hand.take(), (0, None), "trial 0 is the best now");
}

#[test]
fn ties_go_to_the_lower_trial_whatever_the_sign_of_zero() {
    for scheduler in
        [named("asha").with("mode", "promote"), named("successive_halving").with("bracket_trials", 3)]
    {
        let mut hand = ByHand::new(spec(1, 9, &scheduler));
        for (number, loss) in [(0, 0.0), (1, -0.0), (2, 1.0)] {
            assert_eq!(hand.take(), (number, Some(1)));
            hand.reach(number, 1, loss);
        }
        assert_eq!(hand.take(), (0, Some(3)), "{}", scheduler.name);
    }
}

#[test]
fn a_trial_that_pauses_in_silence_does_not_block_its_rung() {
    let mut spec = spec(1, 9, &named("successive_halving").with("bracket_trials", 3));
    spec.limits.trials = Some(3);
    let silent = |moment: Moment| (moment.work.trial == 1).then_some(Mishap::Silence);
    let value = |_: &[f64], moment: Moment| f64::from(moment.work.trial);
    let run = simulate(spec, World { workers: 2, mishap: &silent, ..World::new(9, &value) });
    let steps: Vec<u64> = run.study.trials().iter().map(luthier_core::trial::Trial::step).collect();
    assert_eq!(steps, [9, 1, 1]);
}

#[test]
fn the_best_of_a_curve_counts_at_a_rung_where_the_study_says_so() {
    for (curve, goes_on) in [(CurveValue::Last, false), (CurveValue::Best, true)] {
        let mut spec = spec(1, 9, &named("asha").with("min_budget", 3));
        spec.metrics.curve = curve;
        let mut hand = ByHand::new(spec);
        hand.start(1);
        assert_eq!(hand.report(0, 3, Some(0.5)), None);
        assert_eq!(hand.report(1, 1, Some(0.4)), None);
        assert_eq!(hand.report(1, 3, Some(0.6)).is_none(), goes_on, "{curve:?}");
    }
}

#[test]
fn a_trial_of_which_a_replicate_failed_is_not_promoted() {
    for scheduler in
        [named("asha").with("mode", "promote"), named("successive_halving").with("bracket_trials", 3)]
    {
        let mut spec = spec(1, 9, &scheduler);
        spec.replicates = 2;
        spec.limits.trials = Some(3);
        let fails = |moment: Moment| {
            let second = moment.work == Work { trial: 0, replicate: 1 };
            second.then_some(Mishap::Fails)
        };
        let value = |_: &[f64], moment: Moment| f64::from(moment.work.trial);
        let run = simulate(spec, World { workers: 2, mishap: &fails, ..World::new(9, &value) });
        let steps: Vec<u64> = run.study.trials().iter().map(luthier_core::trial::Trial::step).collect();
        assert_eq!(steps, [1, 9, 1], "{}", scheduler.name);
        assert_eq!(run.study.tally().completed, 1);
    }
}

#[test]
fn a_change_of_the_scheduler_begins_new_rungs_and_one_of_the_sampler_none() {
    for (to, is_new) in [(named("asha").with("mode", "promote").with("eta", 4), true), (named(""), false)] {
        for scheduler in all() {
            let mut spec = spec(2, 27, &scheduler);
            spec.limits.trials = Some(60);
            let to = if is_new { to.clone() } else { scheduler.clone() };
            let changed = PolicySpec { sampler: named("sobol"), scheduler: to, ..spec.policy.clone() };
            let wishes = vec![(150, Event::PolicyChanged(changed))];
            let world = World { workers: 4, ticks: &uneven, wishes, ..World::new(27, &noisy) };
            let run = simulate(spec, world);
            let from = run.study.policy_from();
            assert!(from > 3 && from < 50, "{from}");
            assert_eq!(run.study.scheduler_from(), if is_new { from } else { 0 }, "{}", scheduler.name);
            check_end(&run, 60, &scheduler.name);
            check_log(&run, &scheduler.name);
        }
    }
}

/// Who lost by the rungs of before is not trained to the end because somebody takes other rungs.
#[test]
fn trials_that_another_scheduler_paused_stay_paused() {
    let promote = |eta: u64| named("asha").with("mode", "promote").with("eta", eta);
    for to in [
        promote(2),
        named("hyperband").with("mode", "promote"),
        named("successive_halving"),
        named("asha"),
        named("median"),
        named("run_all"),
    ] {
        let mut spec = spec(1, 27, &promote(3));
        spec.limits.trials = Some(40);
        spec.policy = resolve(&spec).unwrap();
        let changed = PolicySpec { scheduler: to.clone(), ..spec.policy.clone() };
        let changed = resolve(&Spec { policy: changed, ..spec.clone() }).unwrap();
        // A later trial is worse than all before: nobody who lost looks better than the best.
        let value = |_: &[f64], moment: Moment| f64::from(moment.work.trial) + 1.0 / moment.step as f64;
        let run = simulate(
            spec,
            World { wishes: vec![(90, Event::PolicyChanged(changed))], ..World::new(27, &value) },
        );
        check_log(&run, &to.name);
        let from = run.study.scheduler_from();
        let paused = run.study.paused().iter().filter(|work| work.trial < from).count();
        let expected = if &*to.name == "run_all" { 0 } else { from as usize / 3 };
        assert!(
            from > 9 && paused >= expected && (expected > 0 || paused == 0),
            "{}: {paused} of {from} are paused",
            to.name
        );
    }
}

/// Trial 1 of each pair looks better than the best at the step where it is, and so is not left there; 2 looks worse.
#[test]
fn who_looks_better_than_the_best_at_the_end_goes_on() {
    for scheduler in [
        named("asha").with("mode", "promote"),
        named("hyperband").with("mode", "promote"),
        named("hyperband").with("mode", "fresh"),
    ] {
        let mut spec = spec(1, 9, &scheduler);
        spec.limits.trials = Some(3);
        let mut hand = ByHand::new(spec);
        hand.start(2);
        hand.complete(0, &[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
        hand.reach(1, 1, 0.4);
        hand.reach(2, 1, 0.6);
        assert_eq!(hand.take(), (1, Some(3)), "{}", scheduler.name);
        hand.reach(1, 3, 0.45);
        assert_eq!(hand.take(), (1, None), "{}", scheduler.name);
        hand.end(1, Outcome::Completed { values: vec![0.55] });
        assert!(matches!(hand.next(), Next::Done(Done::Trials(3))), "{}", scheduler.name);
        assert_eq!(hand.study.incumbent().map(|best| best.number), Some(0), "{}", scheduler.name);
    }
}

#[test]
fn rungs_are_declared_or_refused() {
    for (scheduler, limit, expected) in [
        (named("asha"), None, "give max_budget"),
        (named("successive_halving"), None, "give max_budget"),
        (named("asha").with("min_budget", 10), Some(10), "not below max_budget = 10"),
        (named("asha").with("min_early_stopping", 2), Some(9), "the first rung is at step 9"),
        (named("asha").with("eta", 1), Some(9), "eta = 1"),
        (named("asha").with("min_budget", 0), Some(9), "min_budget = 0"),
        (named("asha").with("mode", "both"), Some(9), "both"),
        (named("successive_halving").with("bracket_trials", 0), Some(9), "bracket_trials = 0"),
        (named("median").with("percentile", 101.0), None, "percentile = 101"),
        (named("threshold"), None, "give lower, upper or both"),
        (named("threshold").with("lower", 2.0).with("upper", 1.0), None, "lower = 2"),
        (named("median").with("eta", 3), None, "eta"),
        (named("percentile").with("percentile", -1.0), None, "percentile = -1"),
        (named("hyperband"), None, "give max_budget"),
        (named("hyperband").with("mode", "wait"), None, "give max_budget"),
        (named("hyperband").with("brackets", 0), Some(9), "brackets = 0"),
        (named("asha").with("brackets", 0), Some(9), "brackets = 0"),
        (named("patience").with("min_delta", -0.5), None, "min_delta = -0.5"),
        (named("patience").with("scheduler", "medium"), None, "there is no scheduler \"medium\""),
        (named("patience").with("scheduler", "asha"), None, "give max_budget"),
        (named("patience").with("scheduler", serde_json::json!({"eta": 2})), None, "without a name"),
        (named("wilcoxon").with("p_threshold", 2.0), None, "p_threshold = 2"),
        (named("forecast").with("chance", 1.0), Some(9), "chance = 1"),
        (named("forecast").with("min_trials", 1), Some(9), "min_trials = 1"),
        (named("forecast").with("scheduler", "asha"), None, "give max_budget"),
    ] {
        let mut spec = spec(1, 9, &scheduler);
        spec.max_budget = limit;
        let problem = resolve(&spec).unwrap_err().to_string();
        assert!(problem.contains(expected), "{problem}");
    }
    for scheduler in all() {
        let replicates = if matches!(&*scheduler.name, "pbt" | "pb2" | "babysit") { 1 } else { 5 };
        let raced = |scheduler: &Component| Spec { replicates, ..spec(1, 9, scheduler) };
        let policy = resolve(&raced(&scheduler)).unwrap();
        let again = raced(&policy.scheduler);
        assert_eq!(resolve(&again).unwrap(), policy, "a resolved policy is complete");
        let entry = SCHEDULERS.iter().find(|entry| *entry.name == *scheduler.name).unwrap();
        let documented: Vec<_> = entry.options.iter().map(|option| option.name).collect();
        let taken: Vec<_> = policy.scheduler.options.keys().map(String::as_str).collect();
        assert_eq!(taken, documented, "{}", entry.name);
    }
}

// ---- the contract

/// A learning curve that falls from its start to a level given by the params.
fn falling(params: &[f64], moment: Moment) -> f64 {
    params[0] + params[1] * (-(moment.step as f64) / 5.0).exp()
}

/// The same with noise, which differs when lost work is done again.
fn noisy(params: &[f64], moment: Moment) -> f64 {
    let Moment { work, attempt, step } = moment;
    let key = [u64::from(work.trial), u64::from(work.replicate), u64::from(attempt), step];
    falling(params, moment) + 0.2 * chance(&key)
}

/// Fails, vanishes, completes early or says nothing now and then.
fn unlucky(moment: Moment) -> Option<Mishap> {
    let Moment { work, attempt, step } = moment;
    match chance(&[7, u64::from(work.trial), u64::from(work.replicate), u64::from(attempt), step]) {
        x if x < 0.01 => Some(Mishap::Fails),
        x if x < 0.04 => Some(Mishap::Vanishes),
        x if x < 0.05 => Some(Mishap::Completes),
        x if x < 0.12 => Some(Mishap::Silence),
        _ => None,
    }
}

fn uneven(work: Work) -> u64 {
    1 + (chance(&[3, u64::from(work.trial)]) * 9.0) as u64
}

fn check_log(run: &Run, about: &str) {
    let found = verify(&run.events).unwrap();
    assert_eq!((found.disagreements, found.other_version), (vec![], 0), "{about}");
}

/// Nothing is left but paused trials, which only the end of the study can decide about.
fn check_end(run: &Run, trials: u64, about: &str) {
    assert_eq!(run.done, Some(Done::Trials(trials)), "{about}");
    assert_eq!(run.study.roots(), trials, "{about}");
    assert!(run.study.running().is_empty() && run.study.waiting().is_empty(), "{about}");
    let paused: BTreeSet<u32> = run.study.paused().iter().map(|work| work.trial).collect();
    assert_eq!(run.study.unfinished() as usize, paused.len(), "{about}");
    assert!(run.study.tally().completed > 0, "{about}");
}

#[test]
fn every_scheduler_comes_to_an_end_with_any_number_of_workers() {
    for scheduler in all() {
        for (workers, stride) in [(1, 1), (2, 1), (3, 4), (5, 1), (8, 2)] {
            let mut spec = spec(2, 27, &scheduler);
            spec.limits.trials = Some(37);
            let world = World { workers, stride, ticks: &uneven, engines: 2, ..World::new(27, &noisy) };
            let run = simulate(spec, world);
            let about = format!("{} {:?}, {workers} workers", scheduler.name, scheduler.options);
            check_end(&run, 37, &about);
            check_log(&run, &about);
            let compares = !["threshold", "patience"].contains(&&*scheduler.name);
            if workers == 1 && compares {
                assert_ne!(run.study.trials()[0].state(), TrialState::Pruned, "{about}: alone at first");
            }
        }
    }
}

#[test]
fn every_scheduler_survives_failures_lost_workers_silence_and_early_ends() {
    for scheduler in all() {
        for (workers, replicates) in [(1, 1), (4, 1), (3, 2)] {
            let mut spec = spec(2, 27, &scheduler);
            spec.limits.trials = Some(30);
            spec.replicates = replicates;
            spec.metrics.curve = if workers == 4 { CurveValue::Best } else { CurveValue::Last };
            let world =
                World { workers, ticks: &uneven, mishap: &unlucky, engines: 2, ..World::new(27, &noisy) };
            let run = simulate(spec, world);
            let about = format!("{} {:?}, {workers} workers", scheduler.name, scheduler.options);
            check_end(&run, 30, &about);
            check_log(&run, &about);
            check_silence(&run, &about);
        }
    }
}

/// No verdict follows a report that leaves the first objective unknown at its step, unless a sibling's decides.
fn check_silence(run: &Run, about: &str) {
    let mut known = BTreeSet::new();
    for pair in run.events.windows(2) {
        let Event::Reported { work, step, values, .. } = &pair[0] else { continue };
        if !values.is_empty() {
            known.insert((*work, *step));
        }
        if let Event::Judged { why, .. } = &pair[1] {
            let said = known.contains(&(*work, *step));
            assert!(said || why.starts_with("replicate"), "{about}: {why}");
        }
    }
}

#[test]
fn a_study_in_which_everything_fails_ends_too() {
    for scheduler in all() {
        let mut spec = spec(2, 27, &scheduler);
        spec.limits.trials = Some(20);
        let fails = |_: Moment| Some(Mishap::Fails);
        let run = simulate(spec, World { workers: 3, mishap: &fails, ..World::new(27, &falling) });
        // Babysitting begins a training anew five times before it gives it up.
        let lives = if &*scheduler.name == "babysit" { 6 } else { 1 };
        assert_eq!((run.done.clone(), run.study.tally().failed), (Some(Done::Trials(20)), 20 * lives));
        check_log(&run, &scheduler.name);
    }
}

#[test]
fn maximising_the_negative_makes_the_same_decisions() {
    for scheduler in all().into_iter().filter(|scheduler| *scheduler.name != *"threshold") {
        let runs = [Direction::Minimize, Direction::Maximize].map(|direction| {
            let mut spec = spec(2, 27, &scheduler);
            spec.metrics.objectives[0].direction = direction;
            spec.limits.trials = Some(40);
            // Quarters, so that there are ties, and zeros of both signs.
            let value = |params: &[f64], moment: Moment| {
                direction.turn((4.0 * (noisy(params, moment) - 0.5)).round() / 4.0)
            };
            simulate(spec, World { workers: 3, ticks: &uneven, ..World::new(27, &value) })
        });
        let decisions = |run: &Run| -> Vec<String> {
            let made = run.events.iter().filter_map(|event| match event {
                Event::Judged { work, decision, .. } => Some(format!("{work:?} {decision:?}")),
                Event::Resumed { .. } | Event::Started { .. } => Some(format!("{event:?}")),
                _ => None,
            });
            made.collect()
        };
        assert_eq!(decisions(&runs[0]), decisions(&runs[1]), "{}", scheduler.name);
    }
}

#[test]
fn what_is_paused_is_promoted_when_a_finite_space_is_used_up() {
    for scheduler in [named("asha").with("mode", "promote"), named("successive_halving")] {
        let mut spec = spec(1, 9, &scheduler);
        let int = Distribution::Int { low: 0, high: 6, scale: Scale::Linear, step: 1 };
        spec.space = Space::new(vec![Parameter::new("x0", int)], vec![]).unwrap();
        let value = |params: &[f64], _: Moment| params[0];
        let run = simulate(spec, World { workers: 2, ..World::new(9, &value) });
        assert_eq!((run.done.clone(), run.study.trials().len()), (Some(Done::Exhausted), 7));
        let best = run.study.incumbent().unwrap();
        assert_eq!(best.values(), Some(&[0.0][..]), "{}", scheduler.name);
        check_log(&run, &scheduler.name);
    }
}

#[test]
fn further_replicates_follow_the_first() {
    for scheduler in [named("asha").with("mode", "promote"), named("successive_halving")] {
        let mut spec = spec(2, 9, &scheduler);
        spec.replicates = 3;
        spec.limits.trials = Some(18);
        let run = simulate(spec, World { workers: 4, ticks: &uneven, ..World::new(9, &noisy) });
        check_end(&run, 18, &scheduler.name);
        for trial in run.study.trials() {
            let steps: Vec<u64> = trial.pieces().map(|(_, piece)| piece.step()).collect();
            assert!(steps.iter().all(|step| *step == steps[0]), "trial {}: {steps:?}", trial.number);
        }
    }
}

#[test]
fn a_stopped_replicate_stops_its_siblings() {
    let mut spec = spec(1, 9, &named("threshold").with("upper", 0.5));
    spec.replicates = 2;
    spec.limits.trials = Some(1);
    let value =
        |_: &[f64], moment: Moment| if moment.work.replicate == 0 && moment.step == 3 { 0.9 } else { 0.1 };
    let run = simulate(spec, World { workers: 2, ..World::new(9, &value) });
    let why: Vec<String> = run
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Judged { why, .. } => Some(why.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(why, ["at step 3: 0.9 is above the bound 0.5", "replicate 0 of the trial was stopped"]);
}

/// Later folds are run only by trials that got through the first. Compared among those, a trial would have to be among the best
/// third five times over; and the first fold is harder than the others, so that no trial is as good there as the best is on all.
#[test]
fn of_several_folds_trials_are_compared_by_the_first_alone() {
    let forecast = named("forecast").with("min_trials", 4).with("chance", 0.25);
    let hyperband = named("hyperband").with("min_budget", 3);
    for scheduler in
        [named("asha").with("min_budget", 9), hyperband, named("median"), named("percentile"), forecast]
    {
        for workers in [1, 4] {
            let mut spec = spec(2, 27, &scheduler);
            spec.replicates = 5;
            spec.limits.trials = Some(60);
            let value = |params: &[f64], moment: Moment| {
                noisy(params, moment) + if moment.work.replicate == 0 { 3.0 } else { 0.0 }
            };
            let run = simulate(spec, World { workers, ticks: &uneven, ..World::new(27, &value) });
            let about = format!("{}, {workers} workers", scheduler.name);
            for event in &run.events {
                if let Event::Judged { work, why, .. } = event {
                    assert!(work.replicate == 0 || why.starts_with("replicate 0 "), "{about}: {why}");
                }
            }
            let has_got_through = |trial: &&Trial| trial.piece(0).unwrap().step() == 27;
            let got_through = run.study.trials().iter().filter(has_got_through).count() as u64;
            assert_eq!(run.study.tally().completed, got_through, "{about}");
            assert!((6..45).contains(&got_through), "{about}: {got_through}");
            check_log(&run, &about);
        }
    }
}

// ---- the rules, spelled out slowly

/// The rungs below `last` for η.
fn rungs(eta: u64, first: u64, last: u64) -> Vec<u64> {
    let mut rungs = vec![first];
    while rungs[rungs.len() - 1] * eta < last {
        rungs.push(rungs[rungs.len() - 1] * eta);
    }
    rungs
}

/// The loss at the first report at or beyond a rung.
fn loss_at(piece: &Piece, rung: u64) -> Option<f64> {
    piece.curve.iter().find(|point| point.step >= rung && !point.loss.is_nan()).map(|point| point.loss)
}

/// All who have come to a rung, best first.
fn comers(study: &Study, rung: u64) -> Vec<(f64, u32)> {
    let mut comers: Vec<(f64, u32)> = study
        .trials()
        .iter()
        .filter_map(|trial| Some((loss_at(trial.piece(0)?, rung)?, trial.number)))
        .collect();
    comers.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    comers
}

/// Folds a log and looks at the study before each event.
fn before_each(run: &Run, mut look: impl FnMut(&Study, &Event)) {
    let Event::Created(spec) = &run.events[0] else { panic!("a log begins with its spec") };
    let mut study = Study::new((**spec).clone());
    for event in &run.events[1..] {
        look(&study, event);
        study.apply(event).unwrap();
    }
}

#[test]
fn asha_promotes_only_and_all_of_the_best_of_each_rung() {
    for (eta, workers, stride) in [(3, 1, 1), (3, 4, 1), (2, 8, 1), (3, 3, 1)] {
        let mut spec = spec(2, 27, &named("asha").with("mode", "promote").with("eta", eta));
        spec.limits.trials = Some(100);
        let world = World { workers, stride, ticks: &uneven, compare: false, ..World::new(27, &noisy) };
        let run = simulate(spec, world);
        let rungs = rungs(eta, 1, 27);
        let mut promotions = 0;
        before_each(&run, |study, event| {
            // (rung, trial) for everyone who could be promoted, top rung first, best first.
            let mut open = Vec::new();
            for (k, &rung) in rungs.iter().enumerate().rev() {
                let comers = comers(study, rung);
                for &(_, number) in &comers[..comers.len() / eta as usize] {
                    let budget = study.trial(number).unwrap().piece(0).unwrap().budget;
                    if budget == Some(rung) && study.paused().contains(&Work::of(number)) {
                        open.push((rungs.get(k + 1).copied(), number));
                    }
                }
            }
            match event {
                Event::Resumed { work, budget } => {
                    assert_eq!(open.first(), Some(&(*budget, work.trial)));
                    promotions += 1;
                }
                Event::Started { budget, .. } => assert_eq!((*budget, open), (Some(1), vec![])),
                _ => {}
            }
        });
        assert!(promotions > 30, "{promotions}");
    }
}

#[test]
fn asha_stops_only_and_all_but_the_best_of_each_rung() {
    for (eta, workers, stride) in [(3, 1, 1), (3, 4, 1), (2, 8, 2), (4, 3, 5)] {
        let mut spec = spec(2, 27, &named("asha").with("eta", eta));
        spec.limits.trials = Some(100);
        let world = World { workers, stride, ticks: &uneven, compare: false, ..World::new(27, &noisy) };
        let run = simulate(spec, world);
        let rungs = rungs(eta, 1, 27);
        let (mut due, mut stopped) = (None, 0);
        before_each(&run, |study, event| {
            if let Some((work, step)) = due.take() {
                let piece = study.piece(work).unwrap();
                let crossed =
                    |rung: &&u64| piece.curve.iter().find(|p| p.step >= **rung).unwrap().step == step;
                let fails = rungs.iter().filter(|rung| **rung <= step).filter(crossed).any(|&rung| {
                    let comers = comers(study, rung);
                    let place = (comers.len() / eta as usize).max(1) - 1;
                    loss_at(piece, rung).unwrap() > comers[place].0
                });
                assert_eq!(matches!(event, Event::Judged { .. }), fails, "{event:?}");
                stopped += u64::from(fails);
            }
            if let Event::Reported { work, step, .. } = event {
                due = Some((*work, *step));
            }
        });
        assert!(stopped > 50, "{stopped}");
    }
}

#[test]
fn halving_sends_on_exactly_the_best_of_each_full_rung() {
    for (eta, bracket, workers, stride) in [(3, 27, 1, 1), (3, 27, 6, 1), (2, 16, 4, 1), (3, 10, 3, 2)] {
        let component = named("successive_halving").with("eta", eta).with("bracket_trials", bracket);
        let mut spec = spec(2, 27, &component);
        spec.limits.trials = Some(70);
        let world = World { workers, stride, ticks: &uneven, compare: false, ..World::new(27, &noisy) };
        let run = simulate(spec, world);
        let rungs = rungs(eta, 1, 27);
        let numbers: Vec<u32> = (0..70).collect();
        for members in numbers.chunks(bracket as usize) {
            let mut alive = members.to_vec();
            for (k, &rung) in rungs.iter().enumerate() {
                let loss = |number: &u32| {
                    loss_at(run.study.trials()[*number as usize].piece(0).unwrap(), rung).unwrap()
                };
                alive.sort_by(|a, b| loss(a).total_cmp(&loss(b)).then(a.cmp(b)));
                alive.truncate((alive.len() / eta as usize).max(1));
                let went_on = |number: &&u32| {
                    let budget = run.study.trials()[**number as usize].piece(0).unwrap().budget;
                    budget.is_none_or(|budget| budget > rung)
                };
                let next = rungs.get(k + 1).copied().unwrap_or(27);
                let mut gone: Vec<u32> = members.iter().filter(went_on).copied().collect();
                if stride > 1 {
                    // A report may pass a rung; then nobody is sent there.
                    gone.extend(alive.iter().filter(|n| run.study.trials()[**n as usize].step() >= next));
                }
                gone.sort_unstable();
                gone.dedup();
                alive.sort_unstable();
                assert_eq!(gone, alive, "bracket from {}, rung {rung}", members[0]);
            }
        }
        check_end(&run, 70, "halving");
    }
}

proptest! {
    // Each case compares every answer of a study with that of an engine without memos, and re-derives its log.
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_depends_on_a_memo(
        which in 0..all().len(),
        (workers, engines, stride) in (1usize..6, 1usize..4, 1u64..6),
        (replicates, best, trials) in (1u16..3, any::<bool>(), 1u64..25),
        (seed, silence, failure, loss) in (any::<u64>(), 0.0..0.3, 0.0..0.05, 0.0..0.15),
        later in prop::option::of((0..all().len(), 5usize..200)),
        more in prop::option::of((5usize..300, 1u64..40)),
    ) {
        let mut spec = spec(2, 20, &all()[which]);
        spec.seed = seed;
        spec.replicates = replicates;
        spec.limits.trials = Some(trials);
        spec.metrics.curve = if best { CurveValue::Best } else { CurveValue::Last };
        let mut wishes = Vec::new();
        if let Some((other, after)) = later {
            let mut policy = PolicySpec::new("random", "run_all");
            policy.scheduler = all()[other].clone();
            wishes.push((after, Event::PolicyChanged(policy)));
        }
        if let Some((after, trials)) = more {
            let mut limits = spec.limits;
            limits.trials = Some(trials);
            wishes.push((after, Event::LimitsChanged(limits)));
        }
        wishes.sort_by_key(|(after, _)| *after);
        let mishap = |moment: Moment| {
            let Moment { work, attempt, step } = moment;
            let x = chance(&[seed, u64::from(work.trial), u64::from(work.replicate), u64::from(attempt), step]);
            match x {
                x if x < failure => Some(Mishap::Fails),
                x if x < failure + loss => Some(Mishap::Vanishes),
                x if x < failure + loss + silence => Some(Mishap::Silence),
                _ => None,
            }
        };
        // Tenths, so that there are ties.
        let value = |params: &[f64], moment: Moment| (noisy(params, moment) * 10.0).round() / 10.0;
        let world = World {
            workers, engines, stride, ticks: &uneven, mishap: &mishap, wishes, ..World::new(20, &value)
        };
        let run = simulate(spec, world);
        check_log(&run, &all()[which].name);
        prop_assert!(run.study.running().is_empty() && run.study.waiting().is_empty());
    }
}

// ---- against running everything, at equal cost

/// A learning curve over the unit cube: dimensions, and the loss after a step; the noise is even in −1 … 1.
struct Problem {
    name: &'static str,
    dimensions: usize,
    curve: fn(&[f64], f64, f64) -> f64,
}

/// Branin and Hoo's function over the unit square.
fn branin(x: &[f64]) -> f64 {
    (BRANIN.regret)(&[15.0 * x[0] - 5.0, 15.0 * x[1]])
}

/// Lévy's function over −10 … 10 (Laguna and Martí 2005).
fn levy(x: &[f64]) -> f64 {
    (LEVY.regret)(&x.iter().map(|x| 20.0 * x - 10.0).collect::<Vec<f64>>())
}

/// Rosenbrock's valley over −2 … 2, as a logarithm.
fn rosenbrock(x: &[f64]) -> f64 {
    let x: Vec<f64> = x.iter().map(|x| 4.0 * x - 2.0).collect();
    x.windows(2).map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2)).sum::<f64>().ln_1p()
}

/// Ackley's function over −5 … 5, its minimum off the centre.
fn ackley(x: &[f64]) -> f64 {
    use std::f64::consts::{E, TAU};
    let (n, x) = (x.len() as f64, x.iter().map(|x| 10.0 * x - 6.0));
    let square = x.clone().map(|x| x * x).sum::<f64>() / n;
    let wave = x.map(|x| (TAU * x).cos()).sum::<f64>() / n;
    20.0 - 20.0 * (-0.2 * square.sqrt()).exp() + E - wave.exp()
}

/// How fast the curves fall, whether they cross and how much they shake differs; early order tells something in all.
static PROBLEMS: &[Problem] = &[
    Problem {
        name: "branin, exponential",
        dimensions: 2,
        curve: |x, t, _| branin(x) + 50.0 * (-t / 6.0).exp(),
    },
    Problem {
        name: "hartmann6, power law, speeds differ",
        dimensions: 6,
        curve: |x, t, _| (HARTMANN6.regret)(x) + (1.0 + x[0]) * t.powf(-0.4 - 0.6 * x[1]),
    },
    Problem {
        name: "levy4, noise",
        dimensions: 4,
        curve: |x, t, noise| levy(x) + 30.0 * (-t / 5.0).exp() + 10.0 * noise / t,
    },
    Problem {
        name: "rosenbrock4, slow learners cross fast ones",
        dimensions: 4,
        curve: |x, t, noise| rosenbrock(x) + 4.0 * (-t / (1.0 + 7.0 * x[2])).exp() + 0.5 * noise / t,
    },
    Problem {
        name: "ackley5, the better the slower",
        dimensions: 5,
        curve: |x, t, noise| {
            let level = ackley(x);
            level + 4.0 * (-t / (3.0 + 20.0 / (1.0 + level))).exp() + 0.3 * noise / t.sqrt()
        },
    },
];

const LAST: u64 = 27;

impl Problem {
    fn value(&self, seed: u64, params: &[f64], moment: Moment) -> f64 {
        let noise = 2.0 * chance(&[seed, u64::from(moment.work.trial), moment.step]) - 1.0;
        (self.curve)(params, moment.step as f64, noise)
    }

    /// The best final loss that a scheduler has found after as many steps as 40 whole trials of `last` steps take.
    fn best(&self, scheduler: &Component, last: u64, seed: u64) -> f64 {
        let mut spec = spec(self.dimensions, last, scheduler);
        spec.seed = seed;
        let value = |params: &[f64], moment: Moment| self.value(seed, params, moment);
        let run = simulate(spec, World { steps: 40 * last, compare: false, ..World::new(last, &value) });
        assert_eq!(run.study.tally().steps, 40 * last);
        run.study.incumbent().map_or(f64::INFINITY, |best| best.values().unwrap()[0])
    }

    /// Seeds of 40 on which a scheduler finds a better trial than running all of the same random draws, and those
    /// on which it finds a worse one.
    fn wins(&self, scheduler: &Component) -> (usize, usize) {
        self.wins_with(scheduler, LAST)
    }

    fn wins_with(&self, scheduler: &Component, last: u64) -> (usize, usize) {
        let best = |scheduler: &Component, seed| self.best(scheduler, last, seed);
        let pairs: Vec<_> =
            (0..40).map(|seed| (best(scheduler, seed), best(&named("run_all"), seed))).collect();
        let count = |better: fn(&(f64, f64)) -> bool| pairs.iter().filter(|pair| better(pair)).count();
        (count(|(own, all)| own < all), count(|(own, all)| own > all))
    }

    /// What the best tenth of random trials have reached at `step`: a bound such as a user knows from earlier runs.
    fn usual(&self, step: u64) -> f64 {
        let mut losses: Vec<f64> = (0..500)
            .map(|trial| {
                let params: Vec<f64> = (0..self.dimensions as u64).map(|k| chance(&[99, trial, k])).collect();
                self.value(99, &params, Moment { work: Work::of(trial as u32), attempt: 1, step })
            })
            .collect();
        losses.sort_by(f64::total_cmp);
        losses[50]
    }
}

/// If a scheduler were no better than running everything, 29 wins of 40 or more would have probability 0.003.
/// The seeds are fixed, so the test cannot fail by chance; ties count against the scheduler.
#[test]
fn every_scheduler_beats_running_everything_at_equal_cost() {
    let mut weak = Vec::new();
    for problem in PROBLEMS {
        let bound = named("threshold").with("upper", problem.usual(3)).with("warmup_steps", 3);
        let rivals = [
            ("median", named("median")),
            ("threshold", bound.with("interval_steps", LAST)),
            ("halving", named("successive_halving")),
            ("asha, stop", named("asha")),
            ("asha, promote", named("asha").with("mode", "promote")),
            ("percentile", named("percentile")),
            ("pbt", named("pbt")),
            ("pb2", named("pb2").with("interval", 5)),
            ("forecast", named("forecast").with("chance", 0.2).with("min_trials", 5)),
        ];
        // These have tests of their own below; a race saves replicates, of which there are none here: see race.rs; to
        // babysit is to save a training, and not steps: see babysit.rs.
        let apart = ["run_all", "hyperband", "patience", "wilcoxon", "race", "babysit"];
        for entry in SCHEDULERS.iter().filter(|entry| !apart.contains(&entry.name)) {
            assert!(rivals.iter().any(|(_, rival)| *rival.name == *entry.name), "{} is missing", entry.name);
        }
        for (label, scheduler) in rivals {
            let (wins, losses) = problem.wins(&scheduler);
            println!("{:45} {label:15} {wins:2} wins, {losses:2} losses", problem.name);
            if wins < 29 {
                weak.push((problem.name, label, wins));
            }
        }
    }
    assert!(weak.is_empty(), "{weak:?}");
}

/// With 27 steps, a quarter of Hyperband's budget goes to trials that nobody stops, and whatever it does it can try 3.7 times as many as running
/// everything: with the same random draws, 29 of 40 is then what chance allows. With 81 steps it is 6 times.
#[test]
fn hyperband_beats_running_everything_at_equal_cost() {
    let mut weak = Vec::new();
    for problem in PROBLEMS {
        for mode in ["stop", "promote", "wait"] {
            let (wins, losses) = problem.wins_with(&named("hyperband").with("mode", mode), 81);
            println!("{:45} {mode:15} {wins:2} wins, {losses:2} losses", problem.name);
            if wins < 29 {
                weak.push((problem.name, mode, wins));
            }
        }
    }
    assert!(weak.is_empty(), "{weak:?}");
}

/// Curves that turn, and of which the best value counts: after the turn nothing is to be gained.
#[test]
fn patience_beats_running_everything_where_curves_turn() {
    let best = |scheduler: &Component, seed: u64| {
        let mut spec = spec(4, 81, scheduler);
        spec.seed = seed;
        spec.metrics.curve = CurveValue::Best;
        let value = |x: &[f64], moment: Moment| {
            let (t, turn) = (moment.step as f64, 2.0 + 10.0 * x[3]);
            rosenbrock(x)
                + 0.01 * (t - turn).powi(2)
                + 0.02 * chance(&[seed, u64::from(moment.work.trial), moment.step])
        };
        let run = simulate(spec, World { steps: 40 * 81, compare: false, ..World::new(81, &value) });
        let curves = run.study.trials().iter().filter_map(|trial| trial.curve_loss(run.study.metrics()));
        curves.min_by(f64::total_cmp).unwrap()
    };
    let rival = named("patience").with("patience", 2);
    let wins = (0..40).filter(|&seed| best(&rival, seed) < best(&named("run_all"), seed)).count();
    println!("{wins} wins");
    assert!(wins >= 29, "{wins} wins");
}

/// Steps are instances here, of very different difficulty; what a trial is worth is their mean, told at the last step.
#[test]
fn a_paired_test_beats_running_everything_where_steps_are_instances() {
    let (instances, mean) = (100, |x: &[f64]| branin(x) / 50.0);
    let best = |scheduler: &Component, seed: u64| {
        let mut spec = spec(2, instances, scheduler);
        spec.seed = seed;
        let value = |x: &[f64], moment: Moment| {
            let difficulty = 6.0 * chance(&[seed, 5, moment.step]);
            let noise = chance(&[seed, u64::from(moment.work.trial), moment.step]) - 0.5;
            if moment.step == instances { mean(x) } else { mean(x) + difficulty + noise }
        };
        let world = World { steps: 40 * instances, compare: false, ..World::new(instances, &value) };
        let run = simulate(spec, world);
        run.study.incumbent().map_or(f64::INFINITY, |best| best.values().unwrap()[0])
    };
    let rival = named("wilcoxon");
    let wins = (0..40).filter(|&seed| best(&rival, seed) < best(&named("run_all"), seed)).count();
    println!("{wins} wins");
    assert!(wins >= 29, "{wins} wins");
}

// ---- several objectives

/// Two objectives that pull apart, with curves.
fn two(d: usize, last: u64, scheduler: &Component) -> Spec {
    let mut spec = spec(d, last, scheduler);
    spec.metrics.objectives.push(Metric { name: "size".into(), direction: Direction::Maximize });
    spec
}

/// Large where the first objective is large, and noisy too.
fn size(params: &[f64], moment: Moment) -> Vec<f64> {
    let key = [17, u64::from(moment.work.trial), moment.step];
    vec![(params[0] - 0.4).powi(2) + params[1] + 0.1 * chance(&key)]
}

/// Schedulers with rungs, which compare whole vectors.
fn with_rungs() -> Vec<Component> {
    all().into_iter().filter(|s| ["asha", "successive_halving", "hyperband"].contains(&&*s.name)).collect()
}

#[test]
fn hyperband_brackets_follow_one_another_as_in_the_paper() {
    let mut spec = spec(1, 9, &named("hyperband").with("mode", "wait"));
    spec.limits.trials = Some(17);
    let value = |params: &[f64], moment: Moment| params[0] + 1.0 / moment.step as f64;
    let run = simulate(spec, World::new(9, &value));
    let steps = |trials: std::ops::Range<usize>, step| {
        run.study.trials()[trials].iter().filter(|trial| trial.step() >= step).count()
    };
    // Nine from step 1, five from step 3, three to the end at once.
    assert_eq!([steps(0..9, 1), steps(0..9, 3), steps(0..9, 9)], [9, 3, 1]);
    assert_eq!([steps(9..14, 3), steps(9..14, 9)], [5, 1]);
    assert_eq!(steps(14..17, 9), 3);
    let first = |number: usize| {
        run.events.iter().find_map(|event| match event {
            Event::Started { trial, budget, .. } if *trial as usize == number => Some(*budget),
            _ => None,
        })
    };
    assert_eq!([first(0), first(9), first(14)], [Some(Some(1)), Some(Some(3)), Some(None)]);
}

#[test]
fn trials_of_different_brackets_are_not_compared() {
    for mode in ["stop", "promote"] {
        let scheduler = named("hyperband").with("mode", mode);
        let mut spec = spec(2, 27, &scheduler);
        spec.limits.trials = Some(49);
        let run = simulate(spec, World { workers: 3, ticks: &uneven, ..World::new(27, &noisy) });
        let firsts: Vec<u64> = run.study.trials().iter().map(Trial::step).collect();
        // Whoever ends earlier than at 3, 9, 27 was in a bracket that compares there.
        assert!(firsts.iter().filter(|step| **step == 1).count() > 12, "{mode}: {firsts:?}");
        assert!(firsts.iter().filter(|step| **step == 27).count() > 5, "{mode}: {firsts:?}");
        check_end(&run, 49, mode);
    }
}

#[test]
fn patience_is_lost_after_so_many_reports_and_alone_or_with_another() {
    let mut hand = ByHand::new(spec(1, 27, &named("patience").with("patience", 1).with("min_delta", 0.1)));
    hand.start(0);
    for (step, value) in [(1, 1.0), (2, 0.5), (3, 0.55), (4, 0.61)] {
        assert_eq!(hand.report(0, step, Some(value)), None, "step {step}");
    }
    assert_eq!(
        hand.report(0, 5, Some(0.7)).as_deref(),
        Some("at step 5: the best of the last 2 reports, 0.61, is above 0.5 before")
    );
    let median = serde_json::json!({"name": "median", "startup_trials": 1});
    let mut hand = ByHand::new(spec(1, 27, &named("patience").with("patience", 1).with("scheduler", median)));
    hand.complete(0, &[1.0, 0.8, 0.6, 0.4, 0.3]);
    hand.start(1);
    for (step, value) in [(1, 2.0), (2, 1.9), (3, 1.8), (4, 1.9)] {
        assert_eq!(hand.report(1, step, Some(value)), None, "worse than the median, but it improves");
    }
    assert_eq!(
        hand.report(1, 5, Some(1.9)).as_deref(),
        Some("at step 5: 1.8 is above the median 0.3 of 1 trials")
    );
}

#[test]
fn a_paired_test_says_with_whom_and_how_sure() {
    let mut hand = ByHand::new(spec(1, 27, &named("wilcoxon")));
    hand.complete(0, &[1.0, 2.0, 3.0, 0.5]);
    hand.start(1);
    for (step, value) in [(1, 1.2), (2, 2.3), (3, 3.4)] {
        assert_eq!(hand.report(1, step, Some(value)), None, "three of three: p is still 0.125");
    }
    assert_eq!(
        hand.report(1, 4, Some(1.0)).as_deref(),
        Some("worse than trial 0 on 4 common instances, by chance with p = 0.0625")
    );
}

#[test]
fn a_forecast_stops_what_will_hardly_become_the_best_and_says_how_likely_that_is() {
    let forecast = named("forecast").with("min_trials", 4).with("chance", 0.21).with("scheduler", "run_all");
    let mut hand = ByHand::new(spec(1, 27, &forecast));
    for (number, curve) in
        [[1.0, 0.9, 0.8, 0.7], [1.2, 1.0, 0.8, 0.7], [0.9, 0.8, 0.6, 0.5], [1.1, 1.0, 0.9, 0.8]]
            .iter()
            .enumerate()
    {
        hand.complete(number as u32, curve);
    }
    hand.start(6);
    // From step 1 on the others gained 0.3, 0.5, 0.4 and 0.3; the best ended at 0.5.
    assert_eq!(hand.report(4, 1, Some(0.95)), None, "with a gain of 0.5 it would be the best: two of five");
    assert_eq!(
        hand.report(5, 1, Some(1.05)).as_deref(),
        Some(
            "at step 1: by what 4 trials gained from there on, its chance to become the best is 20 % at most"
        )
    );
    // Step 3 is no power of two, step 4 is.
    assert_eq!(hand.report(4, 2, Some(0.7)), None, "0.3 or less is lost by two of four from there");
    assert_eq!(hand.report(4, 3, Some(2.0)), None);
    assert!(hand.report(4, 4, Some(2.0)).is_some());
}

/// Real learning curves of eight tasks; the chances have to come true as often as they say.
#[test]
fn chances_are_calibrated_on_recorded_curves() {
    let text = include_str!("reference/learning_curves.json");
    let fixture: serde_json::Value = serde_json::from_str(text).unwrap();
    let tasks = fixture["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 8);
    // Tenths of the chance: how often it was said, the sum of what was said, how often it came true.
    let mut tenths = [(0.0, 0.0, 0.0); 10];
    let mut hopeless = (0.0, 0.0);
    for (task, curves) in tasks.iter().map(|task| task["curves"].as_array().unwrap()).enumerate() {
        let curves: Vec<Vec<f64>> = curves
            .iter()
            .map(|curve| curve.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect())
            .collect();
        for split in 0..4_u64 {
            let is_known = |k: &usize| chance(&[task as u64, split, *k as u64]) < 0.6;
            let (known, new): (Vec<usize>, Vec<usize>) = (0..curves.len()).partition(is_known);
            let last = |k: &usize| curves[*k][curves[*k].len() - 1];
            let mut finals: Vec<f64> = known.iter().map(last).collect();
            finals.sort_by(f64::total_cmp);
            #[allow(clippy::needless_range_loop, reason = "the step is looked up in many curves")]
            for step in 0..curves[0].len() - 1 {
                let mut rows: Vec<(f64, f64)> = known.iter().map(|k| (curves[*k][step], last(k))).collect();
                rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
                for target in [finals[0], finals[finals.len() / 10], finals[finals.len() / 3]] {
                    for k in &new {
                        let loss = curves[*k][step];
                        let said = forecast::chance(forecast::nearest(&rows, loss, 20), loss, target);
                        let came = f64::from(u8::from(last(k) <= target));
                        let tenth = &mut tenths[((said * 10.0) as usize).min(9)];
                        *tenth = (tenth.0 + 1.0, tenth.1 + said, tenth.2 + came);
                        if said < 0.05 {
                            hopeless = (hopeless.0 + 1.0, hopeless.1 + came);
                        }
                    }
                }
            }
        }
    }
    let all: f64 = tenths.iter().map(|tenth| tenth.0).sum();
    for (count, said, came) in tenths {
        println!("said {:.3}, came true {:.3}, {count} times", said / count, came / count);
    }
    let error: f64 = tenths.iter().map(|(_, said, came)| (said - came).abs()).sum::<f64>() / all;
    println!("mean error {error:.4}; of {} under 0.05, {:.4} came true", hopeless.0, hopeless.1 / hopeless.0);
    assert!(error < 0.05, "{error}");
    assert!(hopeless.0 > 1000.0 && hopeless.1 / hopeless.0 <= 0.05, "{hopeless:?}");
}

#[test]
fn fronts_decide_about_several_objectives_and_say_so() {
    let mut hand = ByHand::new(two(1, 9, &named("asha").with("eta", 2)));
    let mut report = |number: u32, loss: f64, size: Option<f64>| {
        hand.start(number);
        let work = Work::of(number);
        let values = [("loss", Some(loss)), ("size", size)];
        let values = values.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect();
        hand.add(&Event::Reported { work, step: 1, values, seconds: 0.0 });
        hand.engine.judge(&hand.study, work).unwrap().map(|event| match event {
            Event::Judged { why, .. } => why.to_string(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(report(0, 0.5, Some(5.0)), None, "the first to come goes on");
    assert_eq!(
        report(1, 0.6, Some(4.0)).as_deref(),
        Some("at step 1: number 2 by fronts of 2 at rung 1, of whom the best goes on"),
        "worse in both"
    );
    assert_eq!(report(2, 0.7, None), None, "not compared as long as an objective is unknown");
    assert!(report(3, 0.8, Some(9.0)).is_some(), "on the front, but one of three goes on");
    assert_eq!(report(4, 0.4, Some(6.0)), None, "dominates trial 0");
    // The front has trials 3 and 4 now.
    assert!(report(5, 0.45, Some(7.0)).is_some(), "on the front, between the two that go on");
}

#[test]
fn asha_sends_on_the_first_fronts_of_each_rung() {
    for (mode, workers) in [("promote", 1), ("promote", 5), ("stop", 1), ("stop", 5)] {
        let mut spec = two(2, 27, &named("asha").with("mode", mode));
        spec.limits.trials = Some(90);
        let world =
            World { workers, ticks: &uneven, further: &size, compare: false, ..World::new(27, &noisy) };
        let run = simulate(spec, world);
        let (rungs, mut decided, mut due) = (rungs(3, 1, 27), 0, None::<(Work, u64)>);
        before_each(&run, |study, event| {
            let ranks = |rung: u64| {
                let of = |trial: &Trial| {
                    let point = trial.curve().iter().find(|point| point.step >= rung)?;
                    Some((trial.number, [point.loss, -study.curve_value(point, "size")?]))
                };
                let comers: Vec<(u32, [f64; 2])> = study.trials().iter().filter_map(of).collect();
                let rows: Vec<[f64; 2]> = comers.iter().map(|comer| comer.1).collect();
                let fronts = pareto::ranks(&rows);
                comers.iter().map(|comer| comer.0).zip(fronts).collect::<Vec<_>>()
            };
            let rank_of =
                |ranks: &[(u32, u32)], trial| ranks.iter().find(|entry| entry.0 == trial).unwrap().1;
            if let Some((work, step)) = due.take()
                && let Event::Judged { why, .. } = event
            {
                let at = ranks(step);
                let own = rank_of(&at, work.trial);
                let no_worse = at.iter().filter(|entry| entry.1 <= own).count();
                assert!(no_worse > (at.len() / 3).max(1), "{why}");
                decided += 1;
            }
            match event {
                Event::Reported { work, step, .. } => due = rungs.contains(step).then_some((*work, *step)),
                Event::Resumed { work, budget: Some(budget) } => {
                    let at = ranks(budget / 3);
                    let better = at.iter().filter(|entry| entry.1 < rank_of(&at, work.trial)).count();
                    assert!(better < at.len() / 3, "{work:?}");
                    decided += 1;
                }
                _ => {}
            }
        });
        assert!(decided > 25, "{decided}");
        check_log(&run, mode);
    }
}

#[test]
fn vectors_survive_mishaps_and_no_answer_depends_on_a_memo() {
    for scheduler in with_rungs() {
        for (workers, curve) in [(1, CurveValue::Last), (4, CurveValue::Best)] {
            let mut spec = two(2, 27, &scheduler);
            spec.limits.trials = Some(35);
            spec.metrics.curve = curve;
            let world = World {
                workers,
                ticks: &uneven,
                mishap: &unlucky,
                further: &size,
                engines: 2,
                ..World::new(27, &noisy)
            };
            let run = simulate(spec, world);
            let about = format!("{} {:?}, {workers} workers", scheduler.name, scheduler.options);
            check_end(&run, 35, &about);
            check_log(&run, &about);
        }
    }
}

/// The hypervolume found at equal cost. As above, 29 of 40 would have probability 0.003 by chance.
#[test]
fn rungs_by_fronts_beat_running_everything_at_equal_cost() {
    let volume = |scheduler: &Component, seed: u64| {
        let mut spec = two(4, LAST, scheduler);
        spec.seed = seed;
        spec.metrics.objectives[1].direction = Direction::Minimize;
        let falling = |moment: Moment| 4.0 * (-(moment.step as f64) / 6.0).exp();
        let value = |x: &[f64], moment: Moment| rosenbrock(x) + falling(moment);
        let further = |x: &[f64], moment: Moment| vec![levy(x) / 10.0 + falling(moment)];
        let world = World { steps: 40 * LAST, compare: false, further: &further, ..World::new(LAST, &value) };
        let run = simulate(spec, world);
        let found: Vec<&[f64]> = run.study.trials().iter().filter_map(Trial::values).collect();
        pareto::hypervolume(&found, &[8.0, 8.0])
    };
    for scheduler in
        [named("asha"), named("asha").with("mode", "promote"), named("hyperband").with("mode", "wait")]
    {
        let wins = (0..40).filter(|&seed| volume(&scheduler, seed) > volume(&named("run_all"), seed)).count();
        println!("{} {:?}: {wins} wins", scheduler.name, scheduler.options);
        assert!(wins >= 29, "{} {:?}: {wins} wins", scheduler.name, scheduler.options);
    }
}

#[test]
fn stopping_the_best_trials_loses_against_running_everything() {
    let problem = &PROBLEMS[0];
    let (wins, losses) =
        problem.wins(&named("threshold").with("lower", problem.usual(3)).with("warmup_steps", 3));
    assert!(wins <= 2 && losses >= 29, "{wins} wins, {losses} losses");
}
