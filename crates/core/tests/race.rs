//! Races over folds and seeds: what is stopped, what that saves, what is measured again, and what samplers learn of it.

#[path = "support/simulate.rs"]
mod simulate;

use std::collections::BTreeMap;

use luthier_core::engine::{Done, Engine, Next, resolve, verify};
use luthier_core::event::{Decision, Event, Outcome, Work};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::observation::{Observation, Standing};
use luthier_core::space::{Distribution, Parameter, Scale, Space};
use luthier_core::spec::{Component, Design, PolicySpec, Spec};
use luthier_core::study::Study;
use luthier_core::trial::{Trial, TrialState};
use serde::Deserialize;
use simulate::{Mishap, Moment, Run, World, simulate};

/// A study over the unit interval whose trials are raced over 5 folds of one seed, and the best measured again by another.
fn spec(race: Component, trials: u64) -> Spec {
    let unit = Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None };
    let space = Space::new(vec![Parameter::new("x", unit)], vec![]).unwrap();
    let mut spec = Spec::new("test", space, Metrics::single("loss", Direction::Minimize))
        .with_design(Design { folds: 5, seeds: 1, confirm: 1 });
    spec.policy = PolicySpec { scheduler: race, ..PolicySpec::new("random", "run_all") };
    spec.limits.trials = Some(trials);
    spec.policy = resolve(&spec).unwrap();
    spec
}

fn race() -> Component {
    Component::named("race")
}

/// A hash as a number, even in -1 … 1.
fn chance(parts: &[u64]) -> f64 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for part in parts {
        state ^= part.wrapping_add(0x9E37_79B9_7F4A_7C15);
        state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        state ^= state >> 31;
    }
    (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// A bowl, with folds of which some are harder than others, and noise that is smaller than both.
fn bowl(params: &[f64], moment: Moment) -> f64 {
    let Work { trial, replicate } = moment.work;
    let fold = 0.3 * chance(&[1, u64::from(replicate)]);
    (params[0] - 0.3).powi(2) + fold + 0.02 * chance(&[2, u64::from(trial), u64::from(replicate)])
}

fn fits(study: &Study) -> usize {
    study.trials().iter().flat_map(Trial::pieces).filter(|(_, piece)| piece.attempt > 0).count()
}

fn check_log(run: &Run) {
    let found = verify(&run.events).unwrap();
    assert_eq!((found.disagreements, found.other_version), (vec![], 0));
}

#[test]
fn a_trial_that_cannot_win_is_stopped_after_a_few_folds_and_the_best_are_measured_again() {
    let run = simulate(spec(race(), 30), World::new(1, &bowl));
    check_log(&run);
    assert_eq!(run.done, Some(Done::Trials(30)));
    let study = &run.study;
    assert!(study.held().is_empty() && study.paused().is_empty() && study.unfinished() == 0);
    assert_eq!(study.trials()[0].replicates().count(), 5);
    assert_eq!(study.trials()[0].state(), TrialState::Completed, "the first has nobody to be compared with");
    assert!(study.tally().pruned > 15, "{:?}", study.tally());
    assert!(fits(study) < 75, "{} of 150 fits", fits(study));
    let best = study.incumbent().unwrap();
    let smallest = study.trials().iter().map(|trial| (trial.point.0[0] - 0.3).abs()).fold(1.0, f64::min);
    assert!((best.point.0[0] - 0.3).abs() < smallest + 0.15);
    assert!(best.is_confirmed());
    assert_eq!(study.measured_again(best, 0).unwrap().replicates, 5);
    for trial in study.trials().iter().filter(|trial| trial.state() == TrialState::Pruned) {
        let begun = trial.replicates().filter(|(_, piece)| piece.attempt > 0).count();
        assert!((1..5).contains(&begun), "trial {}", trial.number);
        assert_eq!(usize::from(trial.estimate(0).unwrap().replicates), begun);
    }
}

#[test]
fn folds_of_one_trial_run_on_several_workers() {
    let run = simulate(spec(race(), 12), World { workers: 5, engines: 2, ..World::new(1, &bowl) });
    check_log(&run);
    let opened = run.events.iter().take_while(|event| !matches!(event, Event::Reported { .. }));
    let claimed: Vec<Work> = opened
        .filter_map(|event| match event {
            Event::Claimed { work, .. } => Some(*work),
            _ => None,
        })
        .collect();
    let folds = (0..5).map(|replicate| Work { trial: 0, replicate }).collect::<Vec<_>>();
    assert_eq!(claimed, folds, "the first trial has all folds at once");
    assert_eq!(run.study.unfinished(), 0);
}

#[test]
fn reasons_are_told_in_numbers() {
    let run = simulate(spec(race(), 30), World::new(1, &bowl));
    let why = run.events.iter().find_map(|event| match event {
        Event::Judged { decision: Decision::Stop, why, .. } => Some(why.clone()),
        _ => None,
    });
    let why = why.unwrap();
    assert!(why.starts_with("after ") && why.contains(" of 5 replicates: worse than trial "), "{why}");
    assert!(why.contains("chance to win"), "{why}");
    let stopped = run.study.trials().iter().find(|trial| trial.state() == TrialState::Pruned).unwrap();
    assert_eq!(stopped.pieces().find_map(|(_, piece)| piece.why.clone()), Some(why), "the trial knows it");
}

#[test]
fn raced_trials_tell_samplers_a_mean_that_compares_and_its_error() {
    // One fold is far harder than the others: a plain mean over the first would mislead.
    let value = |params: &[f64], moment: Moment| {
        let Work { trial, replicate } = moment.work;
        let hard = if replicate == 0 { 10.0 } else { 0.0 };
        params[0] + hard + 0.01 * chance(&[u64::from(trial), u64::from(replicate)])
    };
    let run = simulate(spec(race(), 25), World::new(1, &value));
    let rows: Vec<Observation> =
        run.study.trials().iter().filter_map(|trial| Observation::of(&run.study, trial)).collect();
    let raced: Vec<&Observation> = rows.iter().filter(|row| row.standing == Standing::Raced).collect();
    assert!(raced.len() > 10);
    for row in raced {
        assert!((row.losses[0] - (row.unit[0] + 2.0)).abs() < 0.03, "{row:?}");
        assert!(row.errors[0] > 0.0 && row.errors[0] < 0.03, "{row:?}");
    }
    for row in rows.iter().filter(|row| row.standing == Standing::Completed) {
        assert!(row.errors[0] < 0.03, "hard folds are no doubt about a trial: {row:?}");
    }
}

#[test]
fn what_a_race_stops_is_told_no_better_than_it_and_the_best_were_measured() {
    // The first trial is bad, and by chance its first fold is far harder than its others; the folds are alike.
    let value = |params: &[f64], moment: Moment| match (moment.work.trial, moment.work.replicate) {
        (0, 0) => 8.0,
        (0, _) => 3.0 + 0.5 * chance(&[3, u64::from(moment.work.replicate)]),
        (trial, replicate) => 0.3 + params[0] + 0.05 * chance(&[u64::from(trial), u64::from(replicate)]),
    };
    let run = simulate(spec(race(), 25), World::new(1, &value));
    check_log(&run);
    let rows = run.study.trials().iter().filter_map(|trial| Observation::of(&run.study, trial));
    let raced: Vec<Observation> = rows.filter(|row| row.standing == Standing::Raced).collect();
    assert!(raced.len() > 10);
    for row in raced {
        assert!((row.losses[0] - (0.3 + row.unit[0])).abs() < 0.1, "{row:?}");
        assert!(row.errors[0] < 0.1, "{row:?}");
    }
}

#[test]
fn a_trial_is_as_noisy_as_those_like_it() {
    // Half of the trials are bad, and a thousand times as noisy as the others.
    let value = |params: &[f64], moment: Moment| {
        let Work { trial, replicate } = moment.work;
        let noise = chance(&[9, u64::from(trial), u64::from(replicate)]);
        if params[0] < 0.5 { 0.1 + params[0] + 0.01 * noise } else { 20.0 + 10.0 * noise }
    };
    let mut spec = spec(Component::named("run_all"), 24);
    spec.policy = resolve(&spec).unwrap();
    let run = simulate(spec, World::new(1, &value));
    check_log(&run);
    let (mut good, mut bad) = (0, 0);
    for trial in run.study.trials() {
        // The deviation of an even number in -1 … 1, by the root of five.
        let expected = (1.0_f64 / 3.0 / 5.0).sqrt() * if trial.point.0[0] < 0.5 { 0.01 } else { 10.0 };
        let share = trial.standard_error(0).unwrap() / expected;
        assert!((0.3..3.0).contains(&share), "trial {}: {share}", trial.number);
        if trial.point.0[0] < 0.5 { good += 1 } else { bad += 1 }
    }
    assert!(good > 3 && bad > 3, "{good} {bad}");
}

#[test]
fn what_is_measured_again_knows_of_hard_folds_too() {
    let run = simulate(spec(race(), 30), World::new(1, &bowl_of_folds));
    let best = run.study.incumbent().unwrap();
    let again = run.study.measured_again(best, 0).unwrap();
    let first = best.estimate(0).unwrap();
    assert!((again.mean - first.mean).abs() < 0.03, "{again:?} {first:?}");
    assert!(again.error < 0.03 && first.error < 0.03, "{again:?} {first:?}");

    // Folds that are others under another seed remain a doubt.
    let run = simulate(spec(race(), 30), World::new(1, &bowl));
    let again = run.study.measured_again(run.study.incumbent().unwrap(), 0).unwrap();
    assert!(again.error > 0.03, "{again:?}");
}

/// As [`bowl`], with the same hard folds under any seed.
fn bowl_of_folds(params: &[f64], moment: Moment) -> f64 {
    let Work { trial, replicate } = moment.work;
    let fold = chance(&[1, u64::from(replicate % 5)]);
    (params[0] - 0.3).powi(2) + fold + 0.02 * chance(&[2, u64::from(trial), u64::from(replicate)])
}

#[test]
fn all_rules_end_with_good_trials_and_fewer_fits() {
    // The folds of the bowl differ more than most trials do, so the forgiving rule stops few.
    for (rule, most) in [("interval", 0.5), ("wilcoxon", 1.0), ("forgiving", 1.0)] {
        let run = simulate(spec(race().with("rule", rule), 40), World { workers: 3, ..World::new(1, &bowl) });
        check_log(&run);
        let share = fits(&run.study) as f64 / 200.0;
        assert!(share < most, "{rule}: {share}");
        assert!((run.study.incumbent().unwrap().point.0[0] - 0.3).abs() < 0.15, "{rule}");
    }
}

#[derive(Deserialize)]
struct Case {
    best: Vec<f64>,
    trial: Vec<f64>,
    /// By how many values: whether Optuna stops it then.
    stops: BTreeMap<usize, bool>,
}

#[test]
fn the_wilcoxon_rule_decides_as_optuna_does() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("reference/optuna_wilcoxon.json")).unwrap();
    let (mut stopped, mut went_on) = (0, 0);
    for case in cases {
        let replicates = case.best.len() as u16;
        let mut spec = spec(race().with("rule", "wilcoxon").with("first", 1), 2);
        spec = spec.with_design(Design { folds: replicates, seeds: 1, confirm: 0 });
        let value = |_: &[f64], moment: Moment| {
            let of = if moment.work.trial == 0 { &case.best } else { &case.trial };
            of[usize::from(moment.work.replicate)]
        };
        let run = simulate(spec, World::new(1, &value));
        let begun = run.study.trials()[1].replicates().filter(|(_, piece)| piece.attempt > 0).count();
        let expected = case
            .stops
            .iter()
            .find(|(n, stops)| **stops && **n < case.best.len())
            .map_or(case.best.len(), |(n, _)| *n);
        assert_eq!(begun, expected, "{:?} beside {:?}", case.trial, case.best);
        if begun < case.best.len() { stopped += 1 } else { went_on += 1 }
    }
    assert!(stopped > 10 && went_on > 10, "{stopped} {went_on}");
}

#[test]
fn the_forgiving_rule_stops_what_is_worse_than_the_worst_fold() {
    for (loss, expected) in [(0.51, 1), (0.49, 5)] {
        let best = [0.1, 0.5, 0.2, 0.3, 0.4];
        let value = |_: &[f64], moment: Moment| {
            if moment.work.trial == 0 { best[usize::from(moment.work.replicate)] } else { loss }
        };
        let mut spec = spec(race().with("rule", "forgiving"), 2);
        spec.design = Some(Design { folds: 5, seeds: 1, confirm: 0 });
        let run = simulate(spec, World::new(1, &value));
        let begun = run.study.trials()[1].replicates().filter(|(_, piece)| piece.attempt > 0).count();
        assert_eq!(begun, expected, "{loss}");
    }
}

#[test]
fn what_is_measured_again_is_free_of_the_winners_curse() {
    // All trials are equally good, and only noise tells them apart: what won looks better than it is.
    let noise = |seed: u64| {
        move |_: &[f64], moment: Moment| {
            chance(&[seed, u64::from(moment.work.trial), u64::from(moment.work.replicate)])
        }
    };
    let studies = 200;
    let (mut chosen, mut again) = (0.0, 0.0);
    for seed in 0..studies {
        let run = simulate(
            spec(race().with("finalists", 1), 20),
            World { compare: false, ..World::new(1, &noise(seed)) },
        );
        let best = run.study.incumbent().unwrap();
        chosen += best.loss(run.study.metrics(), 0).unwrap() / studies as f64;
        again += run.study.measured_again(best, 0).unwrap().mean / studies as f64;
    }
    // One replicate has the variance 1/3, so the mean of 200 means of 5 has this standard deviation.
    let deviation = (1.0 / 3.0 / 5.0 / studies as f64).sqrt();
    assert!(again.abs() < 3.5 * deviation, "{again} is {} deviations from 0", again / deviation);
    assert!(chosen < -10.0 * deviation, "{chosen}: choosing makes a difference of many deviations");
}

#[test]
fn the_best_of_those_measured_again_is_the_one_with_the_best_mean_over_all() {
    // Trial 0 is best by luck in what chose it, and falls behind when it is measured again.
    let value = |_: &[f64], moment: Moment| match (moment.work.trial, moment.work.replicate) {
        (0, 0..5) => 0.10,
        (0, _) => 0.40,
        (1, replicate) => [0.04, 0.18, 0.05, 0.17, 0.11][usize::from(replicate % 5)],
        (trial, replicate) => 5.0 + chance(&[u64::from(trial), u64::from(replicate)]),
    };
    let run = simulate(spec(race().with("risk", 0.05), 6), World::new(1, &value));
    check_log(&run);
    assert_eq!(run.study.confirmed(), [0, 1]);
    assert_eq!(run.study.incumbent().unwrap().number, 1);
    assert_eq!(run.study.trajectory().last().unwrap().trial, 1);
    assert_eq!(run.study.trials()[0].values().unwrap().len(), 1, "what chose it stays its value");
}

#[test]
fn a_finalist_that_falls_behind_is_not_measured_to_the_end() {
    // Trial 1 is nearly as good as trial 0 by what chose them, and much worse by all else.
    let value = |_: &[f64], moment: Moment| match (moment.work.trial, moment.work.replicate) {
        (0, replicate) => [0.10, 0.11, 0.10, 0.09, 0.10][usize::from(replicate % 5)],
        (1, replicate @ 0..5) => [0.08, 0.14, 0.09, 0.12, 0.09][usize::from(replicate)],
        (1, _) => 0.90,
        (trial, replicate) => 5.0 + chance(&[u64::from(trial), u64::from(replicate)]),
    };
    for workers in [1, 3] {
        let run = simulate(spec(race().with("risk", 0.05), 6), World { workers, ..World::new(1, &value) });
        check_log(&run);
        assert_eq!((run.study.unfinished(), run.done), (0, Some(Done::Trials(6))));
        assert_eq!(run.study.confirmed(), [0]);
        assert_eq!(run.study.incumbent().unwrap().number, 0);
        let begun = run.study.trials()[1].confirmations().filter(|(_, piece)| piece.attempt > 0).count();
        assert!((1..5).contains(&begun), "{begun} with {workers} workers");
    }
}

#[test]
fn races_end_whatever_happens() {
    let unlucky = |moment: Moment| {
        let Moment { work, attempt, .. } = moment;
        match chance(&[7, u64::from(work.trial), u64::from(work.replicate), u64::from(attempt)]) {
            x if x < -0.9 => Some(Mishap::Fails),
            x if x < -0.7 => Some(Mishap::Vanishes),
            x if x < -0.6 => Some(Mishap::Completes),
            _ => None,
        }
    };
    for (workers, first) in [(1, 1), (4, 2), (7, 1)] {
        for rule in ["interval", "wilcoxon", "forgiving"] {
            let race = race().with("first", first).with("rule", rule);
            let world = World { workers, mishap: &unlucky, engines: 2, ..World::new(3, &bowl) };
            let run = simulate(spec(race, 40), world);
            check_log(&run);
            assert_eq!(
                (run.study.unfinished(), run.done),
                (0, Some(Done::Trials(40))),
                "{rule}, {workers} workers"
            );
            assert!(run.study.tally().failed > 0 && run.study.tally().pruned > 0);
        }
    }
}

#[test]
fn a_pruner_stops_replicates_by_their_curves_as_well() {
    let value = |params: &[f64], moment: Moment| bowl(params, moment) + 1.0 / (moment.step as f64);
    let pruner = serde_json::json!({ "name": "median", "startup_trials": 2 });
    let mut spec = spec(race().with("pruner", pruner), 30);
    spec.max_budget = Some(4);
    let run = simulate(spec.clone(), World { workers: 2, ..World::new(4, &value) });
    check_log(&run);
    let reasons: Vec<String> = run
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Judged { why, .. } => Some(why.to_string()),
            _ => None,
        })
        .collect();
    assert!(reasons.iter().any(|why| why.contains("median")), "{reasons:?}");
    let by_curve = |event: &&Event| matches!(event, Event::Judged { why, .. } if why.contains("median"));
    let is_first = |event: &Event| matches!(event, Event::Judged { work, .. } if work.replicate == 0);
    assert!(run.events.iter().filter(by_curve).all(is_first), "on later ones there are only good trials");
    assert!(reasons.iter().any(|why| why.contains("chance to win")), "{reasons:?}");
    assert_eq!(spec.policy.scheduler.options["pruner"]["startup_trials"], 2);
    assert_eq!(
        spec.policy.scheduler.options["pruner"]["percentile"], 50.0,
        "its options are spelled out too"
    );
}

#[test]
fn another_policy_lets_held_replicates_run() {
    for scheduler in ["run_all", "asha", "successive_halving"] {
        let mut spec = spec(race(), 20);
        spec.max_budget = Some(9);
        let policy = PolicySpec { scheduler: policy_of(&spec, scheduler), ..spec.policy.clone() };
        let wishes = vec![(60, Event::PolicyChanged(policy))];
        let run = simulate(spec, World { workers: 3, wishes, ..World::new(9, &bowl) });
        check_log(&run);
        assert!(run.study.held().is_empty(), "{scheduler}");
    }
}

fn policy_of(spec: &Spec, scheduler: &str) -> Component {
    let policy = PolicySpec::new("random", scheduler);
    resolve(&Spec { policy, ..spec.clone() }).unwrap().scheduler
}

#[test]
fn what_cannot_be_raced_is_refused_with_a_way_out() {
    for (race, replicates, objectives, expected) in [
        (race(), 1, 1, "give it folds or seeds"),
        (race(), 5, 2, "take another scheduler"),
        (race().with("risk", 0.0), 5, 1, "above 0 and up to 0.5"),
        (race().with("first", 0), 5, 1, "first = 0"),
        (race().with("first", 5), 5, 1, "lower first"),
        (race().with("first", 7), 5, 1, "a trial has 5 replicates"),
        (race().with("first", 7).with("pruner", "median"), 5, 1, "a trial has 5 replicates"),
        (
            race().with("first", 1.5),
            5,
            1,
            "first = 1.5: invalid type: floating point `1.5`, expected a whole number from 0",
        ),
        (race().with("rule", "luck"), 5, 1, "luck"),
        (race().with("pruner", "successive_halving"), 5, 1, "take one that only stops"),
        (race().with("pruner", serde_json::json!({ "name": "asha", "mode": "promote" })), 5, 1, "only stops"),
        (race().with("pruner", serde_json::json!({ "percentile": 1 })), 5, 1, "without a name"),
        (race().with("pruner", "asha"), 5, 1, "give max_budget"),
    ] {
        let mut spec = spec(Component::named("race"), 5);
        spec.policy.scheduler = race;
        spec.replicates = replicates;
        spec.metrics.objectives = vec![spec.metrics.objectives[0].clone(); objectives];
        let problem = resolve(&spec).unwrap_err().to_string();
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn designs_number_folds_and_seeds() {
    let design = Design { folds: 3, seeds: 2, confirm: 1 };
    let places: Vec<(u16, Option<u16>)> =
        (0..9).map(|k| (design.place(k).fold, design.place(k).seed)).collect();
    assert_eq!(places[..4], [(0, Some(0)), (1, Some(0)), (2, Some(0)), (0, Some(1))]);
    assert_eq!((design.replicates(), design.confirmations()), (6, 3));
    let spec = spec(race(), 1);
    assert_eq!(spec.seed_number(0), spec.seed_number(0));
    assert_ne!(spec.seed_number(0), spec.seed_number(1));
    assert!(spec.seed_number(0) < 1 << 31);
    for (folds, seeds, confirm, expected) in
        [(0, 1, 0, "from 1"), (1, 1, 0, "no replicates"), (300, 300, 0, "more than 65535")]
    {
        let problem = Design { folds, seeds, confirm }.check().unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn a_stop_between_folds_that_does_not_follow_is_found() {
    let run = simulate(spec(race(), 30), World::new(1, &bowl));
    let place = run.events.iter().position(|event| matches!(event, Event::Judged { .. })).unwrap();
    let mut forged = run.events.clone();
    // The trial is let on to its next fold instead.
    let Event::Judged { work, .. } = forged[place].clone() else { unreachable!("found above") };
    forged[place] = Event::Resumed { work, budget: None };
    forged.truncate(place + 1);
    assert_eq!(verify(&forged).unwrap().disagreements.len(), 1);
}

#[test]
fn samplers_work_with_races_and_verify() {
    for sampler in ["tpe", "gp", "forest", "cma_es", "nelder_mead", "auto"] {
        let mut spec = spec(race(), 25);
        spec.policy.sampler = Component::named(sampler);
        spec.policy = resolve(&spec).unwrap();
        let run = simulate(spec, World { workers: 2, ..World::new(1, &bowl) });
        check_log(&run);
        assert!((run.study.incumbent().unwrap().point.0[0] - 0.3).abs() < 0.15, "{sampler}");
    }
}

#[test]
fn an_outcome_is_decided_by_the_replicates_that_count() {
    let mut study = Study::new(spec(race(), 3));
    let mut engine = Engine::new(&study).unwrap();
    for replicate in 0..5 {
        loop {
            match engine.next(&study).unwrap() {
                Next::Decide(event) => study.apply(&event).unwrap(),
                Next::Claim(work) => {
                    assert_eq!(work, Work { trial: 0, replicate });
                    study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
                    let outcome = Outcome::Completed { values: vec![f64::from(replicate)] };
                    study.apply(&Event::Ended { work, outcome, seconds: 1.0, used: None }).unwrap();
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(study.trials()[0].values(), Some(&[2.0][..]));
    assert_eq!(study.trials()[0].confirmations().count(), 5);
    assert!(!study.trials()[0].is_confirmed());
}
