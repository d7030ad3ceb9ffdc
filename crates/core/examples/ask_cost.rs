//! Prints what one proposal costs: milliseconds per `ask` of every sampler, on ten mixed parameters, after 100,
//! 1,000 and 10,000 trials. Run it with `--release`; arguments name the samplers and the numbers of trials to show.
//!
//! Each ask is that of a running study: one more trial has finished since the last, and the memo is kept. The time is
//! the engine's, so the search for repeated points is in it; medians of several asks and tells are shown, which a busy
//! machine does not change much. `paused=100000` adds so many trials that wait for a decision after their first report.

#[path = "../tests/support/functions.rs"]
#[allow(dead_code)]
mod functions;

use std::time::Instant;

use functions::{TEN, best, study_of};
use luthier_core::engine::{Engine, Next};
use luthier_core::event::{Event, Origin, Outcome, Work};
use luthier_core::rng::{Purpose, Rng};
use luthier_core::sampler::SAMPLERS;
use luthier_core::spec::{Component, PolicySpec};
use luthier_core::study::Study;

const ASKS: usize = 101;

fn main() {
    let (mut names, mut sizes): (Vec<String>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut paused = 0;
    for argument in std::env::args().skip(1) {
        match (argument.parse(), argument.strip_prefix("paused=").map(str::parse)) {
            (Ok(size), _) => sizes.push(size),
            (_, Some(Ok(count))) => paused = count,
            _ => names.push(argument),
        }
    }
    if sizes.is_empty() {
        sizes = vec![100, 1_000, 10_000];
    }
    println!(
        "{:12} {:>8} {:>12} {:>12} {:>12}",
        "sampler", "trials", "ms per ask", "ms per tell", "first ask ms"
    );
    for entry in
        SAMPLERS.iter().filter(|entry| names.is_empty() || names.iter().any(|name| name == entry.name))
    {
        for &trials in &sizes {
            // The history is the same for all: half of it random, half of it by the estimator.
            match cost(entry.name, trials, paused) {
                None => println!("{:12} {trials:>8} {:>12}", entry.name, "waits"),
                Some(Cost { ask, tell, first }) => {
                    println!("{:12} {trials:>8} {ask:>12.4} {tell:>12.4} {first:>12.3}", entry.name);
                }
            }
        }
    }
}

/// Milliseconds.
struct Cost {
    ask: f64,
    tell: f64,
    first: f64,
}

fn cost(sampler: &str, trials: usize, paused: usize) -> Option<Cost> {
    let mut study = history(trials);
    pause(&mut study, paused);
    let policy = PolicySpec { sampler: Component::named(sampler), ..study.spec().policy.clone() };
    study.apply(&Event::PolicyChanged(policy)).expect("a change of policy follows");
    let mut engine = Engine::new(&study).expect("every sampler has default options");
    let mut times = Vec::with_capacity(ASKS);
    let mut tells = Vec::with_capacity(ASKS);
    for _ in 0..ASKS {
        let start = Instant::now();
        let Next::Decide(event) = engine.next(&study).expect("the policy is valid") else { return None };
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        study.apply(&event).expect("a decision follows");
        finish(&mut study, &mut engine);
        tells.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let first = times.remove(0);
    Some(Cost { ask: median(times), tell: median(tells), first })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn history(trials: usize) -> Study {
    let mut study = study_of(&TEN, Component::named("random"), 1, trials / 2);
    let policy = PolicySpec { sampler: Component::named("tpe"), ..study.spec().policy.clone() };
    study.apply(&Event::PolicyChanged(policy)).expect("a change of policy follows");
    let mut engine = Engine::new(&study).expect("every sampler has default options");
    while study.finished().len() < trials {
        let Next::Decide(event) = engine.next(&study).expect("the policy is valid") else { break };
        study.apply(&event).expect("a decision follows");
        finish(&mut study, &mut engine);
    }
    debug_assert!(best(&study).is_finite());
    study
}

/// Starts trials that report once and pause.
fn pause(study: &mut Study, count: usize) {
    let mut rng = Rng::stream(5, 0, Purpose::Sampler, 0);
    for _ in 0..count {
        let point = study.space().draw(&rng.uniforms(study.space().len()));
        let params = study.space().parameters().iter().zip(&point.0);
        let params = params.map(|(parameter, coded)| Some(parameter.distribution.decode(*coded))).collect();
        let (trial, space, why) = (study.trials().len() as u32, study.space_version(), Origin::Sampler);
        let work = Work::of(trial);
        let values = vec![("loss".into(), (TEN.regret)(&point.0))];
        for event in [
            Event::Started { trial, space, params, budget: Some(1), parent: None, why, by: None },
            Event::Claimed { work, attempt: 1 },
            Event::Reported { work, step: 1, values, seconds: 0.0 },
            Event::Paused { work, step: 1, seconds: 0.0 },
        ] {
            study.apply(&event).expect("one event follows the other");
        }
    }
}

fn finish(study: &mut Study, engine: &mut Engine) {
    let Next::Claim(work) = engine.next(study).expect("the policy is valid") else { return };
    let values = vec![(TEN.regret)(&study.trials()[work.trial as usize].point.0)];
    let ended = Event::Ended { work, outcome: Outcome::Completed { values }, seconds: 0.0, used: None };
    study.apply(&Event::Claimed { work, attempt: 1 }).expect("the work is free");
    study.apply(&ended).expect("the work runs");
}
