//! What a proposal costs each sampler, by how long the history is: CPU milliseconds per ask and tell on ten mixed
//! parameters (four log floats, three integers, three choices), and by what factor they grow when the history doubles.
//!
//! `cargo bench -p luthier-core --bench samplers -- [SAMPLER …] [--most TRIALS]`
//!
//! Each ask is that of a running study: one more trial has finished since the last and the memo is kept, so refits are in
//! the mean as often as they happen. The time is the engine's: the search for repeated points is in it. A
//! sampler's row ends when an ask takes more than 0.2 s, or where it has nothing more to propose.

#[path = "../tests/support/functions.rs"]
mod functions;

use functions::{TEN, study_of};
use luthier_core::engine::{Engine, Next};
use luthier_core::event::{Event, Outcome};
use luthier_core::sampler::SAMPLERS;
use luthier_core::spec::{Component, PolicySpec};
use luthier_core::study::Study;

/// Asks per row at least; more where the history is long, so that refits are met as often as they happen.
const ASKS: usize = 50;
const SHORTEST: usize = 125;
const LONGEST: usize = 128_000;
/// Seconds per ask beyond which a row ends.
const ENOUGH: f64 = 0.2;

fn main() {
    // Cargo adds `--bench`.
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let most = words.iter().position(|word| word == "--most").map_or(LONGEST, |at| {
        let number = words.get(at + 1).and_then(|text| text.parse().ok());
        words.drain(at..(at + 2).min(words.len()));
        number.unwrap_or(LONGEST)
    });
    if let Some(unknown) = words.iter().find(|name| SAMPLERS.iter().all(|entry| entry.name != **name)) {
        eprintln!("there is no sampler {unknown:?}");
        std::process::exit(2);
    }
    println!("{:22} {:>8} {:>14} {:>8} {:>14}", "sampler", "trials", "ms per ask", "growth", "first ask ms");
    for entry in SAMPLERS.iter().filter(|entry| words.is_empty() || words.iter().any(|w| w == entry.name)) {
        rows(entry.name, most);
    }
}

/// One sampler's rows; histories grow by random trials, half of each length, and its own.
fn rows(sampler: &str, most: usize) {
    let mut before: Option<f64> = None;
    let mut trials = SHORTEST;
    while trials <= most {
        let Some((mean, first)) = cost(sampler, trials) else {
            println!("{sampler:22} {trials:>8} {:>14}", "proposes none");
            return;
        };
        let growth = before.map_or(String::new(), |before| format!("{:.2}", mean / before));
        println!("{sampler:22} {trials:>8} {:>14.4} {growth:>8} {:>14.2}", mean * 1e3, first * 1e3);
        if mean > ENOUGH {
            return;
        }
        (before, trials) = (Some(mean), trials * 2);
    }
}

/// Mean seconds per ask and tell after `trials` trials, and those of the first ask, which builds the memo.
fn cost(sampler: &str, trials: usize) -> Option<(f64, f64)> {
    let mut study = study_of(&TEN, Component::named("random"), 1, trials);
    let policy = PolicySpec { sampler: Component::named(sampler), ..study.spec().policy.clone() };
    study.apply(&Event::PolicyChanged(policy)).expect("a change of policy follows");
    let mut engine = Engine::new(&study).expect("every sampler has default options");
    let begun = cpu_seconds();
    step(&mut study, &mut engine)?;
    let first = cpu_seconds() - begun;
    let asks = ASKS.max(if trials < 4_000 { trials / 10 } else { 0 });
    let begun = cpu_seconds();
    for _ in 0..asks {
        step(&mut study, &mut engine)?;
    }
    Some(((cpu_seconds() - begun) / asks as f64, first))
}

/// Asks for a trial, claims it and tells its result.
fn step(study: &mut Study, engine: &mut Engine) -> Option<()> {
    let Next::Decide(event) = engine.next(study).expect("the policy is valid") else { return None };
    study.apply(&event).expect("a decision follows");
    let Next::Claim(work) = engine.next(study).expect("the policy is valid") else { return None };
    let values = vec![(TEN.regret)(&study.trials()[work.trial as usize].point.0)];
    let ended = Event::Ended { work, outcome: Outcome::Completed { values }, seconds: 0.0, used: None };
    study.apply(&Event::Claimed { work, attempt: 1 }).expect("the work is free");
    study.apply(&ended).expect("the work runs");
    Some(())
}

/// Seconds that this thread has computed: other programs on the machine do not count.
#[cfg(unix)]
fn cpu_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// Seconds that have passed.
#[cfg(not(unix))]
fn cpu_seconds() -> f64 {
    static BEGUN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGUN.get_or_init(std::time::Instant::now).elapsed().as_secs_f64()
}
