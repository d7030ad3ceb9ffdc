//! The mix of samplers: who takes part in which study, what earns a share, and what it finds beside random search.

#[path = "support/compared.rs"]
mod compared;
#[path = "support/functions.rs"]
mod functions;
mod play;

use std::collections::{BTreeMap, VecDeque};

use compared::{SEEDS, check_against_random, median, wins};
use functions::{BRANCHES, BRANIN, TEN, best, crowd};
use luthier_core::engine::resolve;
use luthier_core::event::{Choice, Event, Origin, Outcome, Work};
use luthier_core::memo::Memo;
use luthier_core::metric::{Direction, Metric, Metrics};
use luthier_core::registry;
use luthier_core::sampler::SAMPLERS;
use luthier_core::space::{Constraint, Params, Space, Value};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use play::{Play, completed, constrained, failed, float, space, spec};

fn auto() -> Component {
    Component::named("auto")
}

fn unit_square() -> Space {
    space(vec![float("x", 0.0, 1.0), float("y", 0.0, 1.0)])
}

fn bowl(params: &Params) -> f64 {
    let coordinate = |name: &str| params.get(name).and_then(Value::as_f64).unwrap();
    (coordinate("x") - 0.7).powi(2) + (coordinate("y") - 0.2).powi(2)
}

/// How often each arm was asked, of the trials from `first` on.
fn counts(study: &Study, first: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for trial in &study.trials()[first..] {
        let arm = trial.by.as_ref().map_or("", |choice| &*choice.arm);
        *counts.entry(arm.to_owned()).or_default() += 1;
    }
    counts
}

/// Runs a study of the bowl whose trials take so many seconds.
fn run(spec: Spec, trials: usize, seconds: f64) -> Play {
    let mut play = Play::new(spec);
    for _ in 0..trials {
        let work = play.claim().unwrap();
        let outcome = completed(bowl(&play.study.params(play.study.trial(work.trial).unwrap())));
        play.add(Event::Ended { work, outcome, seconds, used: None });
    }
    play
}

/// What the mix says of a study.
fn explanation(study: &Study) -> String {
    let (sampler, _) = registry::build("sampler", SAMPLERS, &study.spec().policy.sampler).unwrap();
    sampler.explain(study, &mut Memo::default()).unwrap()
}

/// The names and shares that the mix tells of a study, in per cent.
fn told(study: &Study) -> Vec<(String, f64)> {
    let text = explanation(study);
    let (_, arms) = text.split_once(": ").unwrap_or_else(|| panic!("{text}"));
    let arms = arms.split(';').next().unwrap();
    let share = |arm: &str| {
        let mut words = arm.split(' ');
        (words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap())
    };
    arms.split("), ").map(share).collect()
}

/// What an arm's trials come to, by the round they are of.
type Found = fn(usize) -> Outcome;

/// The mix of these arms only, each with a factor on its usual weight.
fn mix(arms: &[(&str, f64)]) -> Spec {
    let mut spec = spec(unit_square(), "auto");
    let arms: BTreeMap<&str, f64> = arms.iter().copied().collect();
    spec.policy.sampler = auto().with("arms", serde_json::to_value(arms).unwrap());
    play::resolved(spec)
}

/// A study whose trials were proposed in turn by these arms, with what each of them found.
fn history(spec: Spec, rounds: usize, arms: &[(&str, Found)]) -> Play {
    let mut play = Play::new(spec);
    let mut events = Vec::new();
    for round in 0..rounds {
        for (k, (arm, outcome)) in arms.iter().enumerate() {
            let trial = (round * arms.len() + k) as u32;
            let at = f64::from(trial) * 0.618_034 % 1.0;
            let params = vec![Some(at.into()), Some((at * 7.0 % 1.0).into())];
            let by = Some(Choice { arm: (*arm).into(), effort: 0.01 });
            events.push(Event::Started {
                trial,
                space: 0,
                params,
                budget: None,
                replicates: None,
                parent: None,
                why: Origin::Sampler,
                by,
            });
            let work = Work { trial, replicate: 0 };
            events.push(Event::Claimed { work, attempt: 1 });
            events.push(Event::Ended { work, outcome: outcome(round), seconds: 1.0, used: None });
        }
    }
    for event in events {
        play.add(event);
    }
    play
}

#[test]
fn it_covers_the_space_and_then_asks_arms_by_name() {
    let play = run(spec(unit_square(), "auto"), 40, 10.0);
    let arms: Vec<_> = play.study.trials().iter().map(|trial| trial.by.is_some()).collect();
    assert_eq!(arms[..6], [false, false, false, false, false, true], "five points for two parameters");
    assert!(arms[5..].iter().all(|by| *by));
    let counts = counts(&play.study, 5);
    for arm in ["gp", "gp_sharp", "cma_es", "tpe"] {
        assert!(counts.contains_key(arm), "{arm} never took part: {counts:?}");
    }
    assert!(play.study.trials()[5..].iter().all(|trial| trial.by.as_ref().unwrap().effort > 0.0));
    assert_eq!(play.verified().disagreements, []);
}

#[test]
fn an_arm_that_finds_better_trials_gets_a_greater_share() {
    let good: Found = |round| completed(-(round as f64));
    let poor: Found = |round| completed(100.0 + round as f64);
    for (best, worst) in [("cma_es", "gp"), ("tpe", "gp_sharp"), ("gp", "cma_es"), ("gp_sharp", "tpe")] {
        let share = |best_finds| {
            let arms = mix(&[(best, 1.0), (worst, 1.0)]);
            let told = told(&history(arms, 20, &[(best, best_finds), (worst, poor)]).study);
            told.into_iter().find(|(name, _)| name == best).unwrap().1
        };
        let (before, after) = (share(poor), share(good));
        assert!(after > before + 5.0 && after > 55.0, "{best}: {before} % and then {after} %");
    }
}

#[test]
fn failures_earn_nothing() {
    let fine: Found = |round| completed(-(round as f64));
    let fails: Found = |_| failed();
    let spec = mix(&[("gp", 1.0), ("cma_es", 1.0)]);
    let told: BTreeMap<String, f64> =
        told(&history(spec, 20, &[("gp", fails), ("cma_es", fine)]).study).into_iter().collect();
    assert!(told["cma_es"] > told["gp"], "three times the weight does not help gp: {told:?}");
}

#[test]
fn weights_are_factors_on_what_an_arm_weighs_by_itself() {
    // Nobody earns anything; tpe weighs half as much as cma_es by itself.
    let fails: Found = |_| failed();
    let arms = [("tpe", 2.0), ("cma_es", 1.0)];
    let mut play = history(mix(&arms), 30, &[("tpe", fails), ("cma_es", fails)]);
    play.run(1, |_| completed(1.0));
    let told: BTreeMap<String, f64> = told(&play.study).into_iter().collect();
    assert!((told["tpe"] - 50.0).abs() <= 5.0 && told["tpe"] + told["cma_es"] == 100.0, "{told:?}");
}

#[test]
fn quick_trials_leave_no_time_for_dear_arms() {
    let mut hasty = spec(unit_square(), "auto");
    hasty.policy.sampler = auto().with("overhead", 0.001);
    let play = run(play::resolved(hasty.clone()), 40, 1.0);
    let counts_of = counts(&play.study, 5);
    assert!(!counts_of.keys().any(|arm| arm.starts_with("gp")), "1 ms a trial: {counts_of:?}");
    let patient = counts(&run(play::resolved(hasty), 40, 1_000.0).study, 5);
    assert!(patient.keys().any(|arm| arm.starts_with("gp")), "1 s a trial: {patient:?}");
    for trial in &play.study.trials()[5..] {
        let effort = trial.by.as_ref().unwrap().effort;
        assert!(effort <= 0.001, "{effort}");
    }
    let explained = explanation(&play.study);
    assert!(
        explained.ends_with("; too slow, above 0.1 % of a trial's time: gp, gp_sharp, gp_quick"),
        "{explained}"
    );
}

#[test]
fn many_workers_do_not_wait_for_dear_arms() {
    // One trial at a time has 10 ms for its choice; with 16 at once a choice is due every 6 ms.
    let at_once = |workers: usize| {
        let mut play = Play::new(spec(unit_square(), "auto"));
        let mut running = VecDeque::new();
        for _ in 0..60 {
            running.push_back(play.claim().unwrap());
            if running.len() == workers {
                let work = running.pop_front().unwrap();
                let outcome = completed(bowl(&play.study.params(play.study.trial(work.trial).unwrap())));
                play.add(Event::Ended { work, outcome, seconds: 0.101, used: None });
            }
        }
        play.study
    };
    let (alone, many) = (at_once(1), at_once(16));
    let dearest = |study: &Study| {
        let efforts = study.trials()[20..].iter().map(|trial| trial.by.as_ref().unwrap().effort);
        efforts.fold(0.0, f64::max)
    };
    assert!((0.005..0.0101).contains(&dearest(&alone)), "{}", dearest(&alone));
    assert!(dearest(&many) <= 0.5 * 0.101 / 15.0, "{}", dearest(&many));
    assert!(counts(&many, 20).contains_key("gp_quick"), "{:?}", counts(&many, 20));
    let explained = explanation(&many);
    assert!(explained.ends_with("; too slow for 15 trials at once: gp, gp_sharp"), "{explained}");
}

#[test]
fn trials_that_run_at_once_learn_from_one_another() {
    let regrets = |sampler: &str| -> Vec<f64> {
        let regret = |seed| {
            let mut spec = spec((TEN.space)(), sampler);
            spec.seed = seed;
            best(&crowd(spec, 48, 12, |point| completed((TEN.regret)(point))))
        };
        (0..SEEDS).map(regret).collect()
    };
    let (ours, random) = (regrets("auto"), regrets("random"));
    let wins = wins(&ours, &random);
    let found = format!("{wins} wins of {SEEDS}, median {}, random {}", median(ours), median(random));
    println!("{found}");
    assert!(wins >= 37, "{found}");
}

#[test]
fn it_says_what_its_shares_go_by() {
    let finds: Found = |round| completed(1.0 / (1.0 + round as f64));
    let begun = run(spec(unit_square(), "auto"), 5, 1.0);
    let first = explanation(&begun.study);
    assert!(first.starts_with("shares to begin with, before any has earned: gp "), "{first}");
    let late = explanation(&history(spec(unit_square(), "auto"), 600, &[("gp", finds)]).study);
    assert!(
        late.starts_with("shares by what earned most: gp ") && late.contains("; models give way"),
        "{late}"
    );

    let mut bound = spec(unit_square(), "auto");
    bound.metrics.constraints = vec!["beyond".into()];
    let mut play = Play::new(play::resolved(bound));
    for count in 0..20 {
        let work = play.claim().unwrap();
        let values = vec![("loss".into(), 1.0), ("beyond".into(), 20.0 - f64::from(count))];
        play.add(Event::Reported { work, step: 1, values, seconds: 1.0 });
        play.end(work, completed(1.0));
    }
    let searched = explanation(&play.study);
    assert!(searched.starts_with("shares by what came nearest to keeping the constraints: "), "{searched}");
}

#[test]
fn each_objective_costs_a_model() {
    let arms = |seconds| {
        let mut spec = spec(unit_square(), "auto");
        spec.metrics.objectives =
            ["a", "b"].map(|name| Metric { name: name.into(), direction: Direction::Minimize }).to_vec();
        let mut play = Play::new(play::resolved(spec));
        for _ in 0..60 {
            let work = play.claim().unwrap();
            let loss = bowl(&play.study.params(play.study.trial(work.trial).unwrap()));
            let outcome = Outcome::Completed { values: vec![loss, 1.0 - loss] };
            play.add(Event::Ended { work, outcome, seconds, used: None });
        }
        play
    };
    // One model of 45 trials costs 7 ms, two cost half as much again: more than trials of 0.101 s allow.
    let known = arms(0.101);
    assert!(!counts(&known.study, 45).contains_key("gp"), "{:?}", counts(&known.study, 45));
    assert!(known.study.trials()[5..].iter().all(|trial| trial.by.as_ref().unwrap().effort <= 0.0101));
    let quick = arms(0.01);
    assert!(counts(&quick.study, 45).contains_key("gp"), "{:?}", counts(&quick.study, 45));
}

#[test]
fn several_objectives_have_arms_of_their_own() {
    let mut spec = spec(unit_square(), "auto");
    spec.metrics = Metrics {
        objectives: ["a", "b"]
            .map(|name| Metric { name: name.into(), direction: Direction::Minimize })
            .to_vec(),
        ..spec.metrics
    };
    let mut play = Play::new(play::resolved(spec));
    let outcome = |params: &Params| {
        let x = params.get("x").and_then(Value::as_f64).unwrap();
        Outcome::Completed { values: vec![x, 1.0 - x.sqrt()] }
    };
    for _ in 0..40 {
        let work = play.claim().unwrap();
        let outcome = outcome(&play.study.params(play.study.trial(work.trial).unwrap()));
        play.add(Event::Ended { work, outcome, seconds: 60.0, used: None });
    }
    let counts = counts(&play.study, 5);
    assert!(
        counts.contains_key("nsga2") && counts.contains_key("gp") && counts.contains_key("tpe"),
        "{counts:?}"
    );
    assert!(!counts.contains_key("cma_es") && !counts.contains_key("gp_sharp"), "{counts:?}");
}

#[test]
fn where_trials_pause_a_third_is_drawn_at_random_at_first() {
    let mut paused = spec(unit_square(), "auto");
    paused.max_budget = Some(27);
    paused.policy.scheduler = Component::named("asha").with("mode", "promote");
    let mut play = Play::new(play::resolved(paused));
    for _ in 0..8 {
        let work = play.claim().unwrap();
        let budget = play.study.piece(work).unwrap().budget.unwrap_or(27);
        let loss = bowl(&play.study.params(play.study.trial(work.trial).unwrap())) + 1.0 / budget as f64;
        play.report(work, budget, loss);
        if budget < 27 {
            play.add(Event::Paused { work, step: budget, seconds: 10.0 });
        } else {
            play.add(Event::Ended { work, outcome: completed(loss), seconds: 10.0, used: None });
        }
    }
    let share = |study: &Study| {
        let told = told(study).into_iter().find(|(arm, _)| arm == "random");
        told.map_or(0.0, |(_, share)| share)
    };
    let shares = (share(&play.study), share(&run(spec(unit_square(), "auto"), 8, 10.0).study));
    assert!((25.0..45.0).contains(&shares.0) && shares.1 < 2.0, "{shares:?}");
}

#[test]
fn long_studies_are_handed_over_by_the_models() {
    let found: Found = |round| completed(1.0 / (1.0 + round as f64));
    let late =
        history(spec(unit_square(), "auto"), 6_700, &[("gp", found), ("tpe", found), ("cma_es", found)]);
    assert!(late.study.stopped() > 20_000);
    let names: Vec<String> = told(&late.study).into_iter().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name.starts_with("gp")), "{names:?}");
    let alone = history(mix(&[("gp", 1.0)]), 20_100, &[("gp", found)]);
    assert_eq!(told(&alone.study), [("gp".to_owned(), 100.0)], "the last one stays");
}

#[test]
fn arms_take_turns_where_all_ground_is_level() {
    // A hollow in one corner, 1 elsewhere, and an arm that goes back to where it was: every result around is the same.
    let mut play = history(mix(&[("cma_es", 1.0), ("random", 1.0)]), 1, &[("random", |_| completed(0.0))]);
    play.run(40, |_| completed(1.0));
    let counts = counts(&play.study, 8);
    assert!(
        counts["random"] > 3 && counts["cma_es"] > 3,
        "who is next in turn, if all ground is level: {counts:?}"
    );
}

#[test]
fn models_look_for_the_first_trial_that_keeps_the_constraints() {
    // One point in 130 does, near (0.9, 0.1).
    let beyond = |params: &Params| {
        let coordinate = |name: &str| params.get(name).and_then(Value::as_f64).unwrap();
        (coordinate("x") - 0.9).hypot(coordinate("y") - 0.1) - 0.05
    };
    let found = |sampler: &str, seed| {
        let mut spec = spec(unit_square(), sampler);
        spec.metrics.constraints = vec!["beyond".into()];
        spec.seed = seed;
        let mut play = Play::new(play::resolved(spec));
        for _ in 0..30 {
            let work = play.claim().unwrap();
            let params = play.study.params(play.study.trial(work.trial).unwrap());
            let values = vec![("loss".into(), bowl(&params)), ("beyond".into(), beyond(&params))];
            play.add(Event::Reported { work, step: 1, values, seconds: 1.0 });
            play.end(work, completed(bowl(&params)));
        }
        play.study.trials().iter().any(|trial| play.study.violation(trial) <= 0.0)
    };
    let seeds = |sampler| (0..20).filter(|seed| found(sampler, *seed)).count();
    let (ours, random) = (seeds("auto"), seeds("random"));
    assert!(ours >= 18 && random <= 10, "auto {ours}, random search {random} of 20");
}

#[test]
fn constraints_of_the_space_are_kept() {
    let below = Constraint::Linear { weights: vec![("x".into(), 1.0), ("y".into(), 1.0)], at_most: 1.0 };
    let space = constrained(vec![float("x", 0.0, 1.0), float("y", 0.0, 1.0)], vec![below]);
    let play = run(spec(space, "auto"), 40, 10.0);
    for trial in play.study.trials() {
        assert!(trial.point.0.iter().sum::<f64>() <= 1.0 + 1e-9, "{:?}", trial.point);
    }
}

#[test]
fn it_finds_more_than_random_search() {
    check_against_random(&auto(), &BRANIN, 30, 0.1);
    check_against_random(&auto(), &TEN, 40, 3.0);
    check_against_random(&auto(), &BRANCHES, 40, 1.0);
}

#[test]
fn options_that_make_no_sense_are_named() {
    let problem = |component: Component| {
        let mut spec = Spec::new("test", unit_square(), Metrics::single("loss", Direction::Minimize));
        spec.policy.sampler = component;
        resolve(&spec).unwrap_err().to_string()
    };
    let arms = |name: &str, weight: f64| {
        let arms: BTreeMap<&str, f64> = [(name, weight)].into();
        auto().with("arms", serde_json::to_value(arms).unwrap())
    };
    let none: BTreeMap<&str, f64> = BTreeMap::new();
    for (component, expected) in [
        (auto().with("overhead", 0.0), "overhead is a share above 0, not 0"),
        (
            arms("tpa", 1.0),
            "there is no arm \"tpa\"; there are gp, gp_sharp, gp_quick, cma_es, tpe, nsga2, random",
        ),
        (arms("tpe", -1.0), "the weight of arm \"tpe\" must be above 0, not -1"),
        (auto().with("arms", serde_json::to_value(none).unwrap()), "arms must name at least one sampler"),
    ] {
        let found = problem(component);
        assert!(found.contains(expected), "{found}");
    }
}
