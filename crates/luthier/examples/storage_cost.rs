//! What a durable finished trial costs: the whole loop of ask, evaluate nothing, finish, with random search on a study
//! file. Prints one line of JSON; `benchmarks/storage/run.py` runs it beside a peer.
//!
//! ```text
//! storage_cost --trials 10000 --params 10 --durability normal --dir /tmp/x [--workers 4]
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::{Distribution, Parameter, Scale, Space};
use luthier::core::spec::Spec;
use luthier::executor::{Options, run};
use luthier::log::{Durability, Options as LogOptions, SqliteLog};
use luthier::objective::closure;
use luthier::session::{Asked, Returned, Session, SessionError};

struct Arguments {
    trials: u64,
    params: usize,
    durability: Durability,
    dir: PathBuf,
    workers: usize,
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!(
            "usage: storage_cost --trials N --params N --durability normal|full --dir DIR [--workers N]"
        );
        return ExitCode::FAILURE;
    };
    match measure(&arguments) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<serde_json::Value, SessionError> {
    let path = arguments.dir.join("storage-cost.luthier");
    for extension in ["luthier", "luthier-wal", "luthier-shm"] {
        // A missing file is what is wanted.
        let _missing = std::fs::remove_file(path.with_extension(extension));
    }
    let options = LogOptions { durability: arguments.durability, ..LogOptions::default() };
    let log = SqliteLog::create(&path, options)?;
    let mut session = Session::create(Box::new(log), spec(arguments))?;
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    if arguments.workers > 1 {
        let objective = closure("loss", |running| running.float("x0"));
        let run_options = Options { workers: arguments.workers, ..Options::new(&arguments.dir) };
        run(&mut session, &objective, &run_options, &mut |_, _| {})?;
    } else {
        one_by_one(&mut session)?;
    }
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let finished = session.study().tally().finished() as f64;
    Ok(serde_json::json!({
        "trials": finished,
        "params": arguments.params,
        "workers": arguments.workers,
        "durability": format!("{:?}", arguments.durability),
        "wall_s": wall,
        "cpu_s": cpu,
        "ms_wall_per_trial": wall * 1e3 / finished,
        "ms_cpu_per_trial": cpu * 1e3 / finished,
    }))
}

/// One turn a trial: the end of the last one and the beginning of the next are one commit.
fn one_by_one(session: &mut Session) -> Result<(), SessionError> {
    let mut last: Option<(luthier::core::event::Work, u32, f64)> = None;
    loop {
        let asked = session.turn(|turn| {
            if let Some((work, attempt, value)) = last {
                turn.finish(work, attempt, Returned::with_values(&[("loss", value)], 0.0))?;
            }
            turn.ask()
        })?;
        match asked {
            Asked::Work(assigned) => {
                let x =
                    assigned.params.get("x0").and_then(luthier::core::space::Value::as_f64).unwrap_or(0.0);
                last = Some((assigned.work, assigned.attempt, x * x));
            }
            Asked::Wait | Asked::Done(_) => return Ok(()),
        }
    }
}

fn spec(arguments: &Arguments) -> Spec {
    let float = Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None };
    let parameters = (0..arguments.params).map(|k| Parameter::new(format!("x{k}"), float.clone())).collect();
    let space = Space::new(parameters, Vec::new()).unwrap_or_default();
    let mut spec = Spec::new("storage-cost", space, Metrics::single("loss", Direction::Minimize));
    spec.limits.trials = Some(arguments.trials);
    spec
}

fn arguments() -> Option<Arguments> {
    let mut arguments = Arguments {
        trials: 1000,
        params: 10,
        durability: Durability::Kill,
        dir: std::env::temp_dir(),
        workers: 1,
    };
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        let value = words.next()?;
        match flag.as_str() {
            "--trials" => arguments.trials = value.parse().ok()?,
            "--params" => arguments.params = value.parse().ok()?,
            "--workers" => arguments.workers = value.parse().ok()?,
            "--dir" => arguments.dir = value.into(),
            "--durability" if value == "normal" => arguments.durability = Durability::Kill,
            "--durability" if value == "full" => arguments.durability = Durability::PowerLoss,
            _ => return None,
        }
    }
    Some(arguments)
}

/// User and system seconds of this process, where the system tells.
fn cpu_seconds() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return f64::NAN };
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |k: usize| fields.get(k).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
    // Fields 14 and 15 of proc(5), in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}
