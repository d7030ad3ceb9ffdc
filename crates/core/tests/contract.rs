//! What every sampler of the registry keeps, over generated spaces and pasts.

mod play;
mod spaces;

use luthier_core::engine::{Done, Engine, Next, caution, resolve};
use luthier_core::event::{Event, Outcome};
use luthier_core::memo::Memo;
use luthier_core::metric::{Direction, Metrics};
use luthier_core::registry::build;
use luthier_core::rng::{Purpose, Rng};
use luthier_core::sampler::{Proposal, Request, SAMPLERS, Sampler};
use luthier_core::space::{Distribution, Parameter, Point, Space};
use luthier_core::spec::Component;
use luthier_core::study::Study;
use play::{Play, choice, completed, float, int, resolved, space, spec};
use proptest::prelude::*;
use serde_json::{Value, json};
use spaces::{PASTS, any_space, finite_space};

const CASES: u32 = 40;

fn cases() -> ProptestConfig {
    // A fixed seed: the same spaces on every machine.
    let rng_seed = proptest::test_runner::RngSeed::Fixed(20_240_521);
    ProptestConfig { cases: CASES, failure_persistence: None, rng_seed, ..ProptestConfig::default() }
}

fn samplers() -> impl Iterator<Item = (&'static str, Box<dyn Sampler>)> {
    SAMPLERS.iter().map(|entry| {
        let (sampler, _) = build("sampler", SAMPLERS, &Component::named(entry.name)).unwrap();
        (entry.name, sampler)
    })
}

/// Asks a sampler for draw `draw` of the next trial.
fn ask(sampler: &dyn Sampler, study: &Study, memo: &mut Memo, draw: u64) -> Proposal {
    let trial = study.trials().len() as u32;
    let mut rng = Rng::stream(study.spec().seed, u64::from(trial), Purpose::Sampler, draw);
    sampler.propose(study, &Request { trial, draw, budget: None }, memo, &mut rng)
}

/// Every active parameter has one of its values, every inactive one has none.
fn check_point(space: &Space, point: &Point, who: &str) {
    assert_eq!(point.0.len(), space.len(), "{who}");
    for (k, parameter) in space.parameters().iter().enumerate() {
        assert_eq!(
            space.is_active(k, &point.0),
            point.get(k).is_some(),
            "{who}: activity of {}",
            parameter.name
        );
        if let Some(coded) = point.get(k) {
            let value = parameter.distribution.decode(coded);
            let back = space.encode_one(k, &value).unwrap_or_else(|problem| panic!("{who}: {problem}"));
            assert_eq!(back, coded, "{who}: {value} is not exactly a value of {}", parameter.name);
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn proposals_fit_the_space_whatever_the_past(space in any_space()) {
        for (name, sampler) in samplers() {
            for past in PASTS {
                let mut study = Study::new(spec(space.clone(), name));
                for event in past.live(&study, 25) {
                    study.apply(&event).unwrap();
                }
                let who = format!("{name} after {past:?}");
                let mut memo = Memo::default();
                for draw in 0..3 {
                    let proposal = ask(&*sampler, &study, &mut memo, draw);
                    prop_assert_eq!(&ask(&*sampler, &study, &mut memo, draw), &proposal, "{}: asked twice", who);
                    let (again, _) = build("sampler", SAMPLERS, &study.spec().policy.sampler).unwrap();
                    let fresh = ask(&*again, &study, &mut Memo::default(), draw);
                    prop_assert_eq!(&fresh, &proposal, "{}: without a memo", who);
                    if let Some(point) = proposal.point() {
                        check_point(&space, &point, &who);
                    }
                }
            }
        }
    }

    #[test]
    fn memos_and_restarts_change_no_decision(space in any_space(), seed in 0..u64::MAX) {
        for (name, _) in samplers() {
            let mut spec = spec(space.clone(), name);
            spec.seed = seed;
            let mut play = Play::new(spec);
            play.run(25, |trial| match trial.number % 5 {
                3 => play::failed(),
                4 => Outcome::Pruned,
                _ => completed(f64::from(trial.number * 7 % 11)),
            });
            let found = play.verified();
            prop_assert!(found.disagreements.is_empty(), "{name}: {}", found.disagreements[0]);
            let mut study = Study::replay(&play.events[..1]).unwrap();
            for event in &play.events[1..] {
                if let Event::Started { .. } = event {
                    let next = Engine::new(&study).unwrap().next(&study).unwrap();
                    prop_assert_eq!(next, Next::Decide(event.clone()), "{}", name);
                }
                study.apply(event).unwrap();
            }
        }
    }

    #[test]
    fn decisions_do_not_depend_on_names_and_notes(space in any_space()) {
        for (name, _) in samplers() {
            let mut plain = Play::new(spec(space.clone(), name));
            let mut noted = spec(space.clone(), name);
            noted.name = "another name".into();
            let mut noted = Play::new(noted);
            for _ in 0..12 {
                plain.run(1, |trial| completed(f64::from(trial.number % 5)));
                noted.add(Event::Noted { trial: None, key: "mood".into(), value: "fine".into() });
                noted.run(1, |trial| completed(f64::from(trial.number % 5)));
            }
            prop_assert_eq!(plain.written(), noted.written(), "{}", name);
        }
    }

    #[test]
    fn trials_keep_the_constraints(space in any_space()) {
        for (name, _) in samplers() {
            let mut play = Play::new(spec(space.clone(), name));
            let ended = play.run(25, |trial| completed(f64::from(trial.number)));
            for trial in play.study.trials() {
                check_point(&space, &trial.point, name);
                prop_assert!(space.allows(&trial.point.0), "{name}: trial {}", trial.number);
            }
            let finite = space.parameters().iter().all(|p| p.distribution.cells().is_some());
            match ended {
                None => prop_assert_eq!(play.study.trials().len(), 25),
                Some(Next::Wait) => prop_assert_eq!(name, "manual"),
                Some(Next::Done(Done::Exhausted)) => prop_assert!(finite, "{}", name),
                Some(Next::Done(Done::SamplerExhausted(_))) => prop_assert_eq!(name, "grid"),
                Some(Next::Done(Done::Impossible { .. })) => prop_assert_eq!(play.study.trials().len(), 0),
                other => prop_assert!(false, "{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn finite_spaces_end_after_every_point_once(space in finite_space(), at_once in 1..5usize) {
        let points = space.cardinality(400);
        prop_assume!(points.is_some());
        let points = points.unwrap() as usize;
        for (name, sampler) in samplers() {
            if sampler.waits_for_queue() {
                continue;
            }
            let mut play = Play::new(spec(space.clone(), name));
            let done = run_at_once(&mut play, at_once);
            let mut seen = play.written();
            prop_assert_eq!(seen.len(), points, "{}", name);
            seen.sort();
            seen.dedup();
            prop_assert_eq!(seen.len(), points, "{} repeated a point", name);
            match done {
                Done::Exhausted => {}
                Done::Impossible { .. } => prop_assert_eq!(points, 0),
                other => prop_assert!(false, "{name}: {other}"),
            }
        }
    }
}

/// Keeps `at_once` trials running until nothing more is started.
fn run_at_once(play: &mut Play, at_once: usize) -> Done {
    let mut running = std::collections::VecDeque::new();
    loop {
        match play.claim() {
            Ok(work) => running.push_back(work),
            Err(Next::Done(done)) => return done,
            Err(other) => panic!("{other:?}"),
        }
        if running.len() == at_once {
            let work = running.pop_front().unwrap();
            play.end(work, completed(f64::from(work.trial * 31 % 17)));
        }
    }
}

#[test]
fn a_hundred_thousand_choices_and_five_hundred_parameters_work() {
    let choices = || choice("word", (0..100_000).map(|k| format!("word {k}")));
    let wide = (0..500).map(|k| match k % 4 {
        0 => float(&format!("p{k}"), 0.0, 1.0),
        1 => int(&format!("p{k}"), 1, 50),
        2 => choice(&format!("p{k}"), ["a", "b", "c"]),
        _ => {
            Parameter::new(format!("p{k}"), Distribution::Ordinal { levels: vec![1.into(), 5.into()].into() })
        }
    });
    let long = play::space(vec![float("x", 0.0, 1.0), choices()]);
    for space in [long, play::space(vec![choices()]), play::space(wide.collect())] {
        for (name, sampler) in samplers().filter(|(_, sampler)| !sampler.waits_for_queue()) {
            let mut play = Play::new(spec(space.clone(), name));
            assert_eq!(play.run(15, |trial| completed(f64::from(trial.number * 7 % 11))), None, "{name}");
            let mut seen = play.written();
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 15, "{name}");
            drop(sampler);
        }
    }
}

#[test]
fn an_empty_space_is_one_point_that_may_be_run_again_and_again() {
    for (name, sampler) in samplers().filter(|(_, sampler)| sampler.avoids_repeats()) {
        drop(sampler);
        let mut play = Play::new(spec(Space::default(), name));
        assert_eq!(play.run(5, |_| completed(1.0)), None, "{name}");
    }
}

#[test]
fn a_policy_written_out_builds_the_same_sampler() {
    for entry in SAMPLERS {
        let mut resolved_once = spec(play::space(vec![float("x", 0.0, 1.0), int("n", 1, 9)]), entry.name);
        resolved_once.limits.trials = Some(12);
        let resolved_twice = resolved(resolved_once.clone());
        assert_eq!(resolved_once.policy, resolved_twice.policy, "{}", entry.name);
        let text = serde_json::to_string(&resolved_once).unwrap();
        assert_eq!(serde_json::from_str::<luthier_core::spec::Spec>(&text).unwrap(), resolved_once);
    }
}

#[test]
fn every_sampler_is_documented_and_refuses_options_it_does_not_know() {
    for entry in SAMPLERS {
        assert!(!entry.summary.is_empty());
        let wrong = Component::named(entry.name).with("no_such_option", 1);
        let Err(error) = build("sampler", SAMPLERS, &wrong) else { panic!("{} took anything", entry.name) };
        assert!(error.to_string().contains("no_such_option"), "{error}");
        let (_, complete) = build("sampler", SAMPLERS, &Component::named(entry.name)).unwrap();
        for option in complete.options.keys() {
            assert!(
                entry.options.iter().any(|doc| doc.name == option),
                "{}: {option} has no doc",
                entry.name
            );
        }
    }
}

/// A slip of the keyboard is refused at once, or makes no difference; it never makes a study that does not end.
#[test]
fn no_count_is_too_large() {
    for entry in SAMPLERS {
        let (_, complete) = build("sampler", SAMPLERS, &Component::named(entry.name)).unwrap();
        for option in complete.options.keys() {
            let mut spec =
                spec(space(vec![float("x", 0.0, 1.0), int("n", 1, 9), choice("c", ["a", "b"])]), entry.name);
            spec.policy.sampler = Component::named(entry.name).with(option, 1_000_000_000_000_u64);
            match resolve(&spec) {
                Ok(policy) => spec.policy = policy,
                Err(error) => {
                    let said = error.to_string();
                    assert!(said.contains(&**option) && !said.contains("panicked"), "{}: {said}", entry.name);
                    continue;
                }
            }
            spec.limits.trials = Some(14);
            let mut play = Play::new(spec);
            play.run(14, |trial| completed(f64::from(trial.number)));
            assert!(play.study.trials().len() == 14 || entry.name == "manual", "{}: {option}", entry.name);
        }
    }
}

#[test]
fn names_that_are_nearly_right_are_recognised() {
    let told = |sampler: &str| {
        let mut spec = spec(space(vec![float("x", 0.0, 1.0)]), "random");
        spec.policy.sampler = Component::named(sampler);
        resolve(&spec).unwrap_err().to_string()
    };
    for (given, hint) in [
        ("tpee", "(did you mean tpe?)"),
        ("CMA-ES", "(did you mean cma_es?)"),
        ("adaptive tpe", "(did you mean adaptive_tpe?)"),
        ("asha", "(asha is a scheduler)"),
    ] {
        let said = told(given);
        assert!(
            said.starts_with(&format!("there is no sampler {given:?} {hint}; there are auto, ")),
            "{said}"
        );
    }
    let said = told("bayes");
    assert!(said.starts_with("there is no sampler \"bayes\"; there are "), "{said}");
}

#[test]
fn options_that_are_no_names_or_not_finite_are_told_what_may_be() {
    let told = |sampler: &str, option: &str, value: Value| {
        let mut spec = spec(space(vec![float("x", 0.0, 1.0)]), sampler);
        spec.policy.sampler = Component::named(sampler).with(option, value);
        resolve(&spec).unwrap_err().to_string()
    };
    let region = told("gp", "trust_region", json!(true));
    assert_eq!(
        region,
        "sampler \"gp\": trust_region: invalid type: boolean `true`, expected one of `auto`, `on`, `off`"
    );
    let nothing = told("tpe", "prior_weight", Value::Null);
    assert!(
        nothing.starts_with("sampler \"tpe\": prior_weight has no value, or none that is finite: "),
        "{nothing}"
    );
}

/// A study of two metrics and no priors, in which every trial runs to its end.
#[test]
fn samplers_say_what_they_leave_out_of_account() {
    let cautious = |sampler: &str, metrics: Metrics| {
        let mut spec = spec(space(vec![float("x", 0.0, 1.0), int("n", 1, 9)]), sampler);
        spec.metrics = metrics;
        spec.limits.trials = Some(20);
        caution(&spec).unwrap()
    };
    let one = Metrics::single("loss", Direction::Minimize);
    let mut two = one.clone();
    two.objectives.push(Metrics::single("size", Direction::Minimize).objectives.remove(0));
    for entry in SAMPLERS {
        let said = (cautious(entry.name, one.clone()), cautious(entry.name, two.clone()));
        let first_only = ["bohb", "cma_es", "dehb", "priorband"].contains(&entry.name);
        let told = format!("{} looks at loss only, not at size", entry.name);
        assert_eq!(said.1.as_ref().is_some_and(|said| said.starts_with(&told)), first_only, "{said:?}");
        let always = match entry.name {
            "bohb" => Some("made for a scheduler that stops trials"),
            "dehb" => Some("mode = \"fresh\""),
            "priorband" => Some("with priors; this study has none"),
            "grid" => Some("the grid has 25 points, of which the first 20 are tried: "),
            "manual" => Some("chooses no trials"),
            _ => None,
        };
        assert_eq!(said.0.is_some(), always.is_some(), "{}: {said:?}", entry.name);
        assert!(said.0.unwrap_or_default().contains(always.unwrap_or_default()));
    }
}
