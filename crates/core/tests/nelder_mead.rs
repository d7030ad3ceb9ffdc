//! Nelder–Mead: against the method itself, against random search, and against itself.

#[path = "support/compared.rs"]
mod compared;
#[path = "support/functions.rs"]
mod functions;
#[path = "support/simulate.rs"]
#[allow(dead_code, reason = "one study in turbulence")]
mod simulate;
#[path = "support/turbulence.rs"]
mod turbulence;

use std::collections::HashSet;

use compared::{SEEDS, WINS, check_against_random};
use functions::{
    BRANCHES, BRANIN, HARTMANN6, LEVY, SKEWED, SPHERE, TEN, best, float, int, live, run, study_of,
};
use luthier_core::engine::{Engine, Next};
use luthier_core::event::{Event, Failure, Origin, Outcome, Work};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::registry::build;
use luthier_core::sampler::SAMPLERS;
use luthier_core::space::{Constraint, Distribution, Parameter, Scale, Space};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use turbulence::{Changes, survived};

fn nelder_mead() -> Component {
    Component::named("nelder_mead")
}

fn spec_over(space: Space, seed: u64) -> Spec {
    let mut spec = Spec::new("s", space, Metrics::single("loss", Direction::Minimize));
    (spec.policy.sampler, spec.seed) = (nelder_mead(), seed);
    spec
}

/// The method as Nelder and Mead tell it, for two parameters in the unit square, from a simplex of known costs. The
/// adaptive coefficients are the usual ones there.
fn by_the_book(
    mut simplex: Vec<([f64; 2], f64)>,
    loss: &dyn Fn([f64; 2]) -> f64,
    count: usize,
) -> Vec<[f64; 2]> {
    let mut asked = Vec::new();
    let mut value = |x: [f64; 2]| {
        asked.push(x);
        loss(x)
    };
    for _ in 0..count {
        simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
        let [best, second, worst] = [simplex[0], simplex[1], simplex[2]];
        let at = |t: f64| -> [f64; 2] {
            std::array::from_fn(|k| {
                let middle = f64::midpoint(best.0[k], second.0[k]);
                (middle + t * (middle - worst.0[k])).clamp(0.0, 1.0)
            })
        };
        let reflected = (at(1.0), value(at(1.0)));
        if reflected.1 < best.1 {
            let expanded = (at(2.0), value(at(2.0)));
            simplex[2] = if expanded.1 < reflected.1 { expanded } else { reflected };
        } else if reflected.1 < second.1 {
            simplex[2] = reflected;
        } else {
            let outside = reflected.1 < worst.1;
            let t = if outside { 0.5 } else { -0.5 };
            let contracted = (at(t), value(at(t)));
            if contracted.1 <= reflected.1.min(worst.1) && (outside || contracted.1 < worst.1) {
                simplex[2] = contracted;
            } else {
                for vertex in &mut simplex[1..] {
                    vertex.0 = std::array::from_fn(|k| f64::midpoint(best.0[k], vertex.0[k]));
                    vertex.1 = value(vertex.0);
                }
            }
        }
    }
    asked
}

#[test]
fn its_trials_are_those_of_the_method() {
    // A valley along a bent line, its floor well inside the square.
    let loss = |p: &[f64]| 10.0 * (p[1] - 0.3 - p[0] * p[0] / 2.0).powi(2) + (p[0] - 0.55).powi(2);
    let space =
        Space::new(vec![float("x", 0.0, 1.0, Scale::Linear), float("y", 0.0, 1.0, Scale::Linear)], vec![]);
    let study = run(spec_over(space.unwrap(), 6), 60, loss);
    let point = |k: usize| -> [f64; 2] { [study.trials()[k].point.0[0], study.trials()[k].point.0[1]] };
    let value = |x: [f64; 2]| loss(&x);
    let first = (0..10).min_by(|a, b| value(point(*a)).total_cmp(&value(point(*b)))).unwrap();
    let simplex = [first, 10, 11].map(|k| (point(k), value(point(k)))).to_vec();
    for (found, start) in [(point(10), 0), (point(11), 1)] {
        let mut expected = point(first);
        expected[start] += if expected[start] <= 0.5 { 0.2 } else { -0.2 };
        assert!((found[0] - expected[0]).hypot(found[1] - expected[1]) < 1e-12, "{found:?} {expected:?}");
    }
    let asked = by_the_book(simplex, &value, 40);
    for (k, expected) in asked.iter().take(48).enumerate() {
        let found = point(12 + k);
        assert!(
            (found[0] - expected[0]).hypot(found[1] - expected[1]) < 1e-9,
            "{k}: {found:?} is not {expected:?}"
        );
    }
}

#[test]
fn wins_on_sphere() {
    check_against_random(&nelder_mead(), &SPHERE, 100, 0.05);
}

#[test]
fn wins_on_branin() {
    check_against_random(&nelder_mead(), &BRANIN, 60, 1e-3);
}

#[test]
fn wins_on_hartmann6() {
    check_against_random(&nelder_mead(), &HARTMANN6, 150, 0.13);
}

#[test]
fn wins_on_levy() {
    check_against_random(&nelder_mead(), &LEVY, 150, 3.0);
}

#[test]
fn wins_on_a_skewed_quadratic_on_log_scales() {
    check_against_random(&nelder_mead(), &SKEWED, 60, 0.003);
}

#[test]
fn wins_on_a_conditional_space() {
    check_against_random(&nelder_mead(), &BRANCHES, 100, 0.6);
}

#[test]
fn wins_on_ten_mixed_parameters() {
    check_against_random(&nelder_mead(), &TEN, 150, 2.5);
}

/// Runs a study by several workers, the oldest trial ending first.
fn run_at_once(mut study: Study, workers: usize, trials: usize, loss: &dyn Fn(&[f64]) -> f64) -> Study {
    let mut engine = Engine::new(&study).unwrap();
    let mut running = std::collections::VecDeque::new();
    while study.finished().len() < trials {
        match engine.next(&study).unwrap() {
            Next::Decide(event) => study.apply(&event).unwrap(),
            Next::Claim(work) => {
                study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
                running.push_back(work);
                if running.len() == workers {
                    let work = running.pop_front().unwrap();
                    let loss = loss(&study.trials()[work.trial as usize].point.0);
                    end(&mut study, work, Outcome::Completed { values: vec![loss] });
                }
            }
            other => panic!("{other:?}"),
        }
    }
    study
}

fn end(study: &mut Study, work: Work, outcome: Outcome) {
    study.apply(&Event::Ended { work, outcome, seconds: 0.0, used: None }).unwrap();
}

#[test]
fn parallel_workers_do_what_one_would_do_next() {
    let alone = study_of(&SPHERE, nelder_mead(), 2, 60);
    let points = |study: &Study| -> Vec<Vec<u64>> {
        let bits = |x: &f64| x.to_bits();
        study.trials().iter().map(|trial| trial.point.0.iter().map(bits).collect()).collect()
    };
    let alone = points(&alone);
    let mut spec = spec_over((SPHERE.space)(), 2);
    spec.limits.trials = Some(200);
    let three = run_at_once(Study::new(spec), 3, 150, &SPHERE.regret);
    let three: HashSet<Vec<u64>> = points(&three).into_iter().collect();
    // The same walk, with steps between that turned out not to be needed. The first points are no part of it.
    let shared = alone.iter().skip(15).filter(|point| three.contains(*point)).count();
    println!("{shared} of 45");
    assert!(shared > 30, "{shared} of 45");
    let regret =
        |seed| best(&run_at_once(Study::new(spec_over((SPHERE.space)(), seed)), 3, 150, &SPHERE.regret));
    let late = (0..SEEDS).filter(|seed| regret(*seed) < 0.1).count();
    println!("{late} of {SEEDS}");
    assert!(late >= WINS, "{late} of {SEEDS}");
}

#[test]
fn a_simplex_that_has_collapsed_is_followed_by_another() {
    let study = study_of(&BRANIN, nelder_mead(), 3, 400);
    let minima =
        [[-std::f64::consts::PI, 12.275], [std::f64::consts::PI, 2.275], [9.424_777_960_769_38, 2.475]];
    for minimum in minima {
        let near = |p: &[f64]| (p[0] - minimum[0]).hypot(p[1] - minimum[1]) < 1e-2;
        assert!(study.trials().iter().any(|trial| near(&trial.point.0)), "{minimum:?}");
    }
}

#[test]
fn a_minimum_at_the_edge_is_found() {
    let space =
        Space::new((0..3).map(|k| float(&format!("x{k}"), 0.0, 1.0, Scale::Linear)).collect(), vec![]);
    let study =
        run(spec_over(space.unwrap(), 1), 150, |p| p[0] + (p[1] - 1.0).powi(2) + (p[2] - 0.5).powi(2));
    assert!(best(&study) < 1e-3, "{}", best(&study));
}

#[test]
fn integers_and_levels_are_snapped_and_choices_kept() {
    let parameters = vec![
        Parameter::new("n", int(0, 40, Scale::Linear)),
        Parameter::new("level", Distribution::Ordinal { levels: (0..9).map(|k: i64| k.into()).collect() }),
        Parameter::new("choice", Distribution::Categorical { choices: ["a", "b"].map(Into::into).into() }),
    ];
    let spec = spec_over(Space::new(parameters, vec![]).unwrap(), 4);
    let study = run(spec, 1_000, |p| (p[0] - 29.0).powi(2) + (p[1] - 6.0).powi(2) + 50.0 * p[2]);
    assert_eq!(study.finished().len(), 41 * 9 * 2);
    let at = study.trials().iter().position(|trial| *trial.point.0 == [29.0, 6.0, 0.0]).unwrap();
    assert!(at < 100, "{at}");
}

#[test]
fn points_that_constraints_forbid_are_walked_around() {
    let parameters = vec![float("x", 0.0, 1.0, Scale::Linear), float("y", 0.0, 1.0, Scale::Linear)];
    let rule = Constraint::Linear { weights: vec![("x".into(), 1.0), ("y".into(), 1.0)], at_most: 0.8 };
    let spec = spec_over(Space::new(parameters, vec![rule]).unwrap(), 1);
    // The best allowed point is (0.5, 0.3).
    let study = run(spec, 200, |p| (p[0] - 0.6).powi(2) + (p[1] - 0.4).powi(2));
    let by_chance = study.trials().iter().filter(|trial| trial.origin == Origin::Fallback).count();
    assert_eq!(by_chance, 0);
    assert!(best(&study) < 0.02 + 1e-3, "{}", best(&study));
}

#[test]
fn failed_trials_are_the_worst_vertices() {
    let space =
        Space::new((0..2).map(|k| float(&format!("x{k}"), 0.0, 1.0, Scale::Linear)).collect(), vec![]);
    let study = live(spec_over(space.unwrap(), 2), 120, |x| {
        if x[0] > 0.7 {
            Outcome::Failed { reason: Failure::error("diverged"), detail: "".into() }
        } else {
            Outcome::Completed { values: vec![(x[0] - 0.65).powi(2) + (x[1] - 0.2).powi(2)] }
        }
    });
    assert!(best(&study) < 1e-4 && study.tally().failed < 40, "{} {}", best(&study), study.tally().failed);
}

#[test]
fn a_kept_memo_changes_no_proposal_and_the_log_verifies() {
    for scheduler in ["run_all", "asha"] {
        let study = survived(nelder_mead(), scheduler, &Changes::None);
        assert_eq!(study.trials().len(), 120, "{scheduler}");
    }
}

#[test]
fn wrong_options_are_refused() {
    let refused = |options: Component, word: &str| {
        let Err(error) = build("sampler", SAMPLERS, &options) else { panic!("{options:?} was taken") };
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(nelder_mead().with("n_startup", 0), "at least 1");
    refused(nelder_mead().with("size", 0.7), "0.7");
    refused(nelder_mead().with("tolerance", 0.3), "below size");
}
