//! `luthier replay`: the schedule of a trial's lineage, and a fresh model trained along it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use luthier::core::event::Work;
use luthier::core::lineage::{Leg, schedule};
use luthier::core::spec::Spec;
use luthier::core::study::Study;
use luthier::executor::{Replay, Report};
use luthier::folders;
use luthier::session::{SessionError, named_values};
use luthier_nn::{BudgetUnit, Model};
use serde_json::{Value, json};

use crate::described::{Kind, stored};
use crate::opening::{StudyPath, find, watch};
use crate::report;

/// Which trial, and where to.
#[derive(clap::Args)]
#[command(after_help = "\
Params of a trial that went on from another (pbt, pb2) changed on the way: its schedule says which were in force from which \
step to which. `--schedule` prints it as JSON. Without that, a fresh model is trained along it, with the same random choices, and \
its curve compared with the study's.

Example: luthier replay study.toml --out replayed")]
pub(crate) struct Arguments {
    #[command(flatten)]
    study: StudyPath,
    /// A trial, by number; the best if not given
    #[arg(long, value_name = "NUMBER")]
    trial: Option<u32>,
    /// Print the schedule as JSON and train nothing
    #[arg(long)]
    schedule: bool,
    /// Where the training keeps its files and leaves its model; beside the log if not given
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the schedule, or trains along it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let session = watch(&arguments.study)?;
    let study = session.study();
    let number = match arguments.trial {
        Some(number) => study.trial(number).ok_or(SessionError::NoTrial(number))?.number,
        None => study.incumbent().context("no trial has completed yet; name one with --trial")?.number,
    };
    let legs = schedule(study, number);
    if arguments.schedule {
        println!("{}", written(study, number, &legs));
        return Ok(ExitCode::SUCCESS);
    }
    if study.spec().replicates > 1 {
        bail!("a trial of several replicates has no single model to train again");
    }
    let log = find(&arguments.study)?;
    let out = arguments.out.clone().unwrap_or_else(|| log.with_extension("replay"));
    let (objective, base) = stored(study, &log)?;
    let spec = Spec { space: study.space().clone(), ..study.spec().clone() };
    let kind = Kind::new(&objective, None, &spec, &base, 1)?;
    let replay = Replay { seed: spec.seed, max_budget: spec.max_budget, folder: out.clone() };
    let mut watch = |(step, values): &Report| {
        if !arguments.json {
            let told = values
                .iter()
                .map(|(name, value)| format!("{} {}", report::safe(name), report::number(*value)));
            eprintln!("{} {step}: {}", report::safe(&spec.metrics.step), told.collect::<Vec<_>>().join(", "));
        }
    };
    let trained = replay.train(kind.objective(), &legs, &mut watch);
    let reports = trained
        .map_err(|failed| anyhow::anyhow!("the replay failed: {}\n{}", failed.reason, failed.detail))?;
    fs::write(out.join("schedule.json"), written(study, number, &legs).to_string() + "\n")?;
    let model = saved_model(&out, number)?;
    let unit = kind.unit();
    let difference = difference(study, &legs, &reports, unit == Some(BudgetUnit::Percent));
    if arguments.json {
        println!("{}", told(study, number, &legs, &reports, difference, model.as_deref()));
    } else {
        print_result(number, &legs, difference, unit, &out, model.as_deref());
    }
    Ok(ExitCode::SUCCESS)
}

/// A schedule as JSON.
fn written(study: &Study, number: u32, legs: &[Leg]) -> Value {
    let spec = study.spec();
    json!({
        "study": spec.name,
        "trial": number,
        "seed": spec.seed,
        "step": spec.metrics.step,
        "max_budget": spec.max_budget,
        "legs": legs,
    })
}

/// The largest difference of the first objective from the study's curve, relative to the value there. Where each step is a
/// training of its own, only the last one is made again.
fn difference(study: &Study, legs: &[Leg], reports: &[Report], last_only: bool) -> f64 {
    let name = &study.metrics().objectives[0].name;
    let recorded = legs.iter().flat_map(|leg| {
        let curve = study.trial(leg.trial).map(luthier::core::trial::Trial::curve).unwrap_or_default();
        curve.iter().filter(|point| leg.from < point.step && point.step <= leg.to)
    });
    let recorded: Vec<(u64, f64)> =
        recorded.filter_map(|point| Some((point.step, study.curve_value(point, name)?))).collect();
    let again = |step: u64| {
        let report = reports.iter().rev().find(|(at, _)| *at == step)?;
        report.1.iter().find(|(metric, _)| metric == name).map(|(_, value)| *value)
    };
    let of_step = |&(step, value): &(u64, f64)| {
        again(step).map_or(f64::INFINITY, |again| (again - value).abs() / value.abs().max(f64::MIN_POSITIVE))
    };
    let first = if last_only { recorded.len().saturating_sub(1) } else { 0 };
    recorded[first..].iter().map(of_step).fold(0.0, f64::max)
}

/// The model of a replayed network, in the folder named `model`.
fn saved_model(out: &Path, number: u32) -> anyhow::Result<Option<PathBuf>> {
    let left = folders::checkpoint_of(out, Work::of(number)).join("model");
    if !left.is_dir() {
        return Ok(None);
    }
    let folder = out.join("model");
    Model::load(&left)?.save(&folder)?;
    Ok(Some(folder))
}

fn told(
    study: &Study,
    number: u32,
    legs: &[Leg],
    reports: &[Report],
    difference: f64,
    model: Option<&Path>,
) -> Value {
    let curve: Vec<Value> = reports
        .iter()
        .map(|(step, values)| {
            let mut row: serde_json::Map<String, Value> =
                values.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
            row.insert("step".into(), json!(step));
            Value::Object(row)
        })
        .collect();
    let last =
        study.trial(number).and_then(|trial| trial.curve().last()).map(|point| named_values(study, point));
    json!({
        "schedule": written(study, number, legs),
        "curve": curve,
        "recorded": last.map(|values| values.into_iter().map(|(name, value)| (name.to_string(), json!(value))).collect::<serde_json::Map<_, _>>()),
        "difference": if difference.is_finite() { json!(difference) } else { Value::Null },
        "model": model.map(|model| model.display().to_string()),
    })
}

fn print_result(
    number: u32,
    legs: &[Leg],
    difference: f64,
    unit: Option<BudgetUnit>,
    out: &Path,
    model: Option<&Path>,
) {
    println!("trial {number} trained again along {} leg(s)", legs.len());
    for leg in legs {
        println!(
            "  {} … {}  trial {}  {}",
            leg.from,
            leg.to,
            leg.trial,
            report::safe(&leg.params.to_string())
        );
    }
    match difference {
        0.0 => println!("the curve is that of the study"),
        x if x.is_finite() => {
            println!("the curve differs from the study's by up to {} of its value", report::number(x));
        }
        _ if unit == Some(BudgetUnit::Second) => {
            println!(
                "the curve has other seconds than the study's: how much is trained in one depends on the machine"
            );
        }
        _ => println!("the curve lacks steps that the study's has"),
    }
    println!("schedule  {}", out.join("schedule.json").display());
    if let Some(model) = model {
        println!("model     {}", model.display());
    }
}
