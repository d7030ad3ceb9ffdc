//! What a report costs with each scheduler, by how long the study is, in CPU microseconds, and by what factor that grows when
//! the study becomes ten times as long.
//!
//! `cargo bench -p luthier-core --bench schedulers -- [SCHEDULER …] [--most TRIALS]`
//!
//! Trials have 50 steps with a report each, 20 run side by side, and their curves fall at different speeds.
//!
//! * *all 50 steps*: verdicts are asked for and not carried out, so that every trial has its 50 reports; the mean over the
//!   last tenth of the trials, starts and ends of trials included. `benchmarks/schedulers/run.py` puts Optuna's pruners
//!   beside it.
//! * *study*: the whole study as it goes, with everything that follows from a report: verdict, end, resumption, the next
//!   trial with the random sampler's point.

use std::collections::VecDeque;

use luthier_core::engine::{Engine, Next};
use luthier_core::event::{Event, Outcome, Work};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::scheduler::SCHEDULERS;
use luthier_core::space::{Distribution, Parameter, Scale, Space};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;

const STEPS: u64 = 50;
const AT_ONCE: usize = 20;
const SIZES: [u64; 3] = [1_000, 10_000, 100_000];

fn main() {
    // Cargo adds `--bench`.
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let most = words.iter().position(|word| word == "--most").map_or(SIZES[2], |at| {
        let number = words.get(at + 1).and_then(|text| text.parse().ok());
        words.drain(at..(at + 2).min(words.len()));
        number.unwrap_or(SIZES[2])
    });
    if let Some(unknown) = words.iter().find(|word| SCHEDULERS.iter().all(|entry| entry.name != **word)) {
        eprintln!("there is no scheduler {unknown:?}");
        std::process::exit(2);
    }
    println!(
        "{:22} {:8} {:>8} {:>14} {:>8} {:>14} {:>8}",
        "scheduler", "mode", "trials", "all 50 steps", "growth", "study", "growth"
    );
    for (scheduler, mode) in configurations() {
        if !words.is_empty() && words.iter().all(|word| **word != *scheduler.name) {
            continue;
        }
        let mut before: Option<[f64; 2]> = None;
        for trials in SIZES.into_iter().filter(|trials| *trials <= most) {
            let costs = [cost(&scheduler, trials, false), cost(&scheduler, trials, true)];
            let growth =
                |k: usize| before.map_or(String::new(), |before| format!("{:.2}", costs[k] / before[k]));
            print!("{:22} {mode:8} {trials:>8}", scheduler.name);
            println!(" {:>14.3} {:>8} {:>14.3} {:>8}", costs[0] * 1e6, growth(0), costs[1] * 1e6, growth(1));
            before = Some(costs);
        }
    }
}

/// Every scheduler, those with modes once for each.
fn configurations() -> Vec<(Component, &'static str)> {
    let mut all = Vec::new();
    for entry in SCHEDULERS {
        let component = Component::named(entry.name);
        match entry.name {
            "asha" => {
                all.extend(["stop", "promote"].map(|mode| (component.clone().with("mode", mode), mode)));
            }
            "hyperband" => {
                all.extend(
                    ["stop", "promote", "wait"].map(|mode| (component.clone().with("mode", mode), mode)),
                );
            }
            "patience" => all.push((component.with("scheduler", "median"), "median")),
            "threshold" => all.push((component.with("upper", 1e9), "")),
            _ => all.push((component, "")),
        }
    }
    all
}

/// CPU seconds per report, of the last tenth of the trials or, if verdicts are obeyed, of the whole study.
fn cost(scheduler: &Component, trials: u64, obeys: bool) -> f64 {
    let float = |name: &str| {
        Parameter::new(name, Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None })
    };
    let space = Space::new(vec![float("level"), float("speed")], vec![]).expect("a valid space");
    let mut spec = Spec::new("bench", space, Metrics::single("loss", Direction::Minimize));
    spec.policy.scheduler = scheduler.clone();
    spec.max_budget = Some(STEPS);
    spec.limits.trials = Some(trials);
    let mut study = Study::new(spec);
    let mut engine = Engine::new(&study).expect("a valid policy");
    let (mut begun, mut reports) = (cpu_seconds(), 0);
    let mut running: VecDeque<Work> = VecDeque::new();
    loop {
        while running.len() < AT_ONCE {
            match engine.next(&study).expect("the policy is valid") {
                Next::Decide(event) => study.apply(&event).expect("a decision follows"),
                Next::Claim(work) => {
                    let attempt = study.piece(work).map_or(0, |piece| piece.attempt) + 1;
                    study.apply(&Event::Claimed { work, attempt }).expect("the work is free");
                    running.push_back(work);
                }
                Next::Wait | Next::Done(_) => break,
            }
        }
        let Some(work) = running.pop_front() else { break };
        if !obeys && reports == 0 && study.trials().len() as u64 > trials - trials / 10 {
            (begun, reports) = (cpu_seconds(), study.tally().reports);
        }
        if advance(&mut study, &mut engine, work, obeys) {
            running.push_back(work);
        }
    }
    (cpu_seconds() - begun) / (study.tally().reports - reports) as f64
}

/// One step of a trial; whether it goes on.
fn advance(study: &mut Study, engine: &mut Engine, work: Work, obeys: bool) -> bool {
    let piece = study.piece(work).expect("it runs");
    let (step, budget) = (piece.step() + 1, piece.budget);
    let params = &study.trials()[work.trial as usize].point.0;
    // A wave of its own for each trial, so that losses are in no order.
    let wave = 0.1 * (f64::from(work.trial) * 0.7 + step as f64).sin();
    let loss = params[0] + (-(step as f64) * (0.05 + 0.3 * params[1])).exp() + wave;
    let report = Event::Reported { work, step, values: vec![("loss".into(), loss)], seconds: 1.0 };
    study.apply(&report).expect("the work runs");
    let ended = |outcome| Event::Ended { work, outcome, seconds: 0.0, used: None };
    let judged = engine.judge(study, work).expect("the policy is valid");
    let end = match judged.filter(|_| obeys) {
        Some(judged) => {
            study.apply(&judged).expect("a verdict follows");
            ended(Outcome::Pruned)
        }
        None if step >= STEPS => ended(Outcome::Completed { values: vec![loss] }),
        None if obeys && budget.is_some_and(|budget| step >= budget) => {
            Event::Paused { work, step, seconds: 0.0 }
        }
        None => return true,
    };
    study.apply(&end).expect("the work runs");
    false
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
