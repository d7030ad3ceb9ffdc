//! Writes a study of many trials and measures what it costs to open it cold.
//!
//! `million [--trials N] [--params K] [--measure] FILE` writes the study unless `FILE` exists, then starts itself
//! again with `--measure`, which opens the study in a fresh process, folds it, asks for the best trial and prints one
//! line of JSON. `file_mb` counts 10⁶ bytes, `peak_rss_mb` 2²⁰ bytes.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use luthier::log::{Draft, Guard, Log, Options, SqliteLog, replay};
use luthier_core::engine::{Engine, Next};
use luthier_core::event::{Event, Outcome};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::space::{Distribution, Parameter, Scale, Space};
use luthier_core::spec::Spec;
use luthier_core::study::Study;

/// Trials written in one turn.
const TURN: usize = 1_000;

type Fallible<T> = Result<T, Box<dyn Error>>;

struct Arguments {
    file: PathBuf,
    trials: usize,
    params: usize,
    measure: bool,
}

fn main() -> Fallible<()> {
    let arguments = arguments()?;
    if arguments.measure {
        return measure(&arguments.file);
    }
    if !arguments.file.exists() {
        write(&arguments)?;
    }
    let again = Command::new(std::env::current_exe()?).arg("--measure").arg(&arguments.file).status()?;
    if again.success() { Ok(()) } else { Err("the measuring process failed".into()) }
}

fn arguments() -> Fallible<Arguments> {
    let mut found = Arguments { file: PathBuf::new(), trials: 1_000_000, params: 10, measure: false };
    let mut rest = std::env::args().skip(1);
    while let Some(argument) = rest.next() {
        let mut number = || rest.next().ok_or("a number is missing")?.parse().map_err(Box::<dyn Error>::from);
        match argument.as_str() {
            "--trials" => found.trials = number()?,
            "--params" => found.params = number()?,
            "--measure" => found.measure = true,
            _ if argument.starts_with('-') => found.file = PathBuf::new(),
            _ => found.file = argument.into(),
        }
    }
    if found.file.as_os_str().is_empty() {
        return Err("usage: million [--trials N] [--params K] [--measure] FILE".into());
    }
    Ok(found)
}

/// Half of the parameters are continuous on a linear scale, the others logarithmic, integer and categorical.
fn spec(params: usize) -> Fallible<Spec> {
    let parameter = |k: usize| {
        let distribution = match k % 6 {
            0 | 2 | 4 => Distribution::Float { low: -5.0, high: 5.0, scale: Scale::Linear, step: None },
            1 => Distribution::Float { low: 1e-6, high: 1.0, scale: Scale::Log, step: None },
            3 => Distribution::Int { low: 1, high: 1_000, scale: Scale::Log, step: 1 },
            _ => {
                Distribution::Categorical { choices: vec!["sgd".into(), "adam".into(), "lion".into()].into() }
            }
        };
        Parameter::new(format!("parameter_{k}"), distribution)
    };
    let space = Space::new((0..params).map(parameter).collect(), vec![])?;
    Ok(Spec::new("million", space, Metrics::single("loss", Direction::Minimize)))
}

/// Writes what one worker with the random sampler would have written. The study in memory begins anew every
/// [`TURN`] trials, since the engine needs only the space; trial numbers are moved up.
fn write(arguments: &Arguments) -> Fallible<()> {
    let began = Instant::now();
    let mut log = SqliteLog::create(&arguments.file, Options::default())?;
    let mut seq =
        log.append(&[Draft::new(&Event::Created(Box::new(spec(arguments.params)?)), 0)?], Guard::End(0))?;
    for first in (0..arguments.trials).step_by(TURN) {
        let count = TURN.min(arguments.trials - first);
        let events = trials(arguments.params, first, count)?;
        log.lock()?;
        for three in events.chunks(3) {
            let drafts: Result<Vec<Draft>, _> = three.iter().map(|event| Draft::new(event, seq)).collect();
            seq = log.append(&drafts?, Guard::End(seq))?;
        }
        log.unlock()?;
    }
    eprintln!("wrote {} trials in {:.1} s", arguments.trials, began.elapsed().as_secs_f64());
    Ok(())
}

fn trials(params: usize, first: usize, count: usize) -> Fallible<Vec<Event>> {
    let mut spec = spec(params)?;
    spec.seed = first as u64;
    let mut study = Study::new(spec);
    let mut engine = Engine::new(&study)?;
    let mut events = Vec::with_capacity(3 * count);
    while events.len() < 3 * count {
        let event = match engine.next(&study)? {
            Next::Decide(event) => event,
            Next::Claim(work) if study.piece(work).is_some_and(|piece| piece.attempt == 0) => {
                study.apply(&Event::Claimed { work, attempt: 1 })?;
                events.push(moved(Event::Claimed { work, attempt: 1 }, first));
                let point = &study.trials()[work.trial as usize].point;
                let loss = point.0.iter().map(|x| (x - 0.3).powi(2)).sum::<f64>();
                let outcome = Outcome::Completed { values: vec![loss] };
                Event::Ended { work, outcome, seconds: 0.001 + loss.fract() / 64.0, used: None }
            }
            other => return Err(format!("{other:?}").into()),
        };
        study.apply(&event)?;
        events.push(moved(event, first));
    }
    Ok(events)
}

fn moved(mut event: Event, by: usize) -> Event {
    match &mut event {
        Event::Started { trial, .. } => *trial += by as u32,
        Event::Claimed { work, .. } | Event::Ended { work, .. } => work.trial += by as u32,
        _ => {}
    }
    event
}

fn measure(file: &Path) -> Fallible<()> {
    let began = Instant::now();
    let mut log = SqliteLog::open(file, Options::default())?;
    let (study, _) = replay(&mut log)?;
    let open = began.elapsed().as_secs_f64();
    let asked = Instant::now();
    let best = study.incumbent().ok_or("no trial has completed")?;
    let params = study.params(best);
    let answered = asked.elapsed().as_secs_f64();
    eprintln!("best: trial {} with {:?}: {params}", best.number, best.values());
    let (trials, size) = (study.trials().len(), std::fs::metadata(file)?.len() as f64 / 1e6);
    let peak = peak_rss().map_or("null".into(), |bytes| format!("{:.1}", bytes / f64::from(1 << 20)));
    println!(
        "{{\"trials\":{trials},\"open_s\":{open:.3},\"best_s\":{answered:.6},\"peak_rss_mb\":{peak},\"file_mb\":{size:.1}}}"
    );
    Ok(())
}

/// The largest resident size of this process so far in bytes, where the system tells.
fn peak_rss() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}
