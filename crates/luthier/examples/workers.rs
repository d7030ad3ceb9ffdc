//! Ten thousand trials on a thousand workers over recorded curves, in virtual time: how busy each scheduler keeps them.
//!
//! `workers CURVES [--workers N] [--trials N] [--seed S]` reads a table of real runs (`benchmarks/schedulers/workers.py` writes it) and prints a
//! line of JSON per scheduler. Workers and trials are of uneven speed, one claim in twenty is a straggler, one step in a thousand fails and one
//! loses its worker.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::{Distribution, Parameter, Params, Scale, Space};
use luthier::core::spec::{Component, PolicySpec, Spec};
use luthier::executor::simulated::{Curves, Simulation, Slowness, Told, simulate};
use luthier::log::MemoryLog;
use luthier::session::Session;
use serde::Deserialize;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// A table of runs: where they lie in the space, and their curves.
#[derive(Deserialize)]
struct Table {
    params: Vec<Range>,
    runs: Vec<Run>,
    /// Seconds of a step.
    seconds: f64,
}

#[derive(Deserialize)]
struct Range {
    name: String,
    low: f64,
    high: f64,
    log: bool,
}

#[derive(Deserialize)]
struct Run {
    params: Params,
    losses: Vec<f64>,
}

struct Arguments {
    curves: PathBuf,
    workers: usize,
    trials: u64,
    seed: u64,
}

fn main() -> Fallible<()> {
    let arguments = arguments()?;
    let text = fs::read_to_string(&arguments.curves)
        .map_err(|error| format!("{}: {error}", arguments.curves.display()))?;
    let table: Table = serde_json::from_str(&text)?;
    let space = Space::new(table.params.iter().map(parameter).collect(), Vec::new())?;
    let steps = table.runs.iter().map(|run| run.losses.len()).max().unwrap_or(0) as u64;
    let curve = |losses: Vec<f64>| {
        losses.into_iter().map(|loss| Told { values: vec![loss], seconds: table.seconds }).collect()
    };
    let rows = table.runs.into_iter().map(|run| (run.params, curve(run.losses)));
    let curves = Curves::new(&space, rows)?;
    for (name, mode) in
        [("asha", "stop"), ("asha", "promote"), ("hyperband", "stop"), ("hyperband", "promote")]
    {
        let scheduler = Component::named(name).with("mode", mode);
        let mut spec = Spec::new("workers", space.clone(), Metrics::single("loss", Direction::Minimize));
        spec.policy = PolicySpec { scheduler, ..PolicySpec::new("random", "run_all") };
        (spec.max_budget, spec.limits.trials, spec.seed) =
            (Some(steps), Some(arguments.trials), arguments.seed);
        let mut session = Session::create(Box::new(MemoryLog::new()), spec)?;
        let begin = Instant::now();
        let simulated = simulate(&mut session, &curves, &world(&arguments, table.seconds))?;
        let (study, taken) = (session.study(), begin.elapsed().as_secs_f64());
        let best = study.incumbent().and_then(|best| best.loss(study.metrics(), 0));
        println!(
            "{}",
            serde_json::json!({
                "scheduler": name,
                "mode": mode,
                "workers": arguments.workers,
                "trials": study.trials().len(),
                "steps": simulated.steps,
                "failed": study.tally().failed,
                "best": best,
                "busy_while_starting": simulated.utilisation_while_starting(),
                "busy": simulated.utilisation(),
                "virtual_hours": simulated.seconds / 3600.0,
                "seconds": taken,
            })
        );
    }
    Ok(())
}

fn parameter(range: &Range) -> Parameter {
    let scale = if range.log { Scale::Log } else { Scale::Linear };
    let (low, high) = (range.low, range.high);
    Parameter::new(range.name.as_str(), Distribution::Float { low, high, scale, step: None })
}

fn world(arguments: &Arguments, step: f64) -> Simulation {
    Simulation {
        seed: arguments.seed,
        workers_slowness: Slowness::LogNormal { deviation: 0.2 },
        trials_slowness: Slowness::Stragglers { share: 0.05, shape: 1.5 },
        start_seconds: step / 10.0,
        failure: 0.001,
        loss: 0.001,
        missed_after: 2.0 * step,
        checkpoint_every: Some(5),
        ..Simulation::new(arguments.workers)
    }
}

fn arguments() -> Fallible<Arguments> {
    let mut given = std::env::args().skip(1);
    let mut found = Arguments { curves: PathBuf::new(), workers: 1_000, trials: 10_000, seed: 0 };
    while let Some(word) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{word} takes a number"));
        match word.as_str() {
            "--workers" => found.workers = value()?.parse()?,
            "--trials" => found.trials = value()?.parse()?,
            "--seed" => found.seed = value()?.parse()?,
            _ => found.curves = word.into(),
        }
    }
    if found.curves.as_os_str().is_empty() {
        return Err("give a table of curves; benchmarks/schedulers/workers.py writes one".into());
    }
    Ok(found)
}
