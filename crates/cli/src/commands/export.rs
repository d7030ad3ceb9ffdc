//! `luthier export`: all trials, as CSV or JSON.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use luthier::core::study::Study;

use crate::opening::{StudyPath, find, salvage};
use crate::report;

/// What to write where.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    study: StudyPath,
    /// The format
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Where to; standard output if not given
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Every report of every learning curve instead of one row a trial (CSV)
    #[arg(long)]
    curves: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// One row a trial
    Csv,
    /// One object with the spec and all trials, curves included
    Json,
}

/// Writes them; of a damaged study, those before the damage.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let place = find(&arguments.study)?.display().to_string();
    let (study, damage) = salvage(&arguments.study)?;
    let study = &study;
    let out: Box<dyn Write> = match &arguments.output {
        Some(path) => {
            Box::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let mut out = io::BufWriter::new(out);
    match arguments.format {
        Format::Csv if arguments.curves => write_curves(study, &mut out)?,
        Format::Csv => write_trials(study, &mut out)?,
        Format::Json => write_json(study, &place, &mut out)?,
    }
    out.flush()?;
    let Some(damage) = damage else { return Ok(ExitCode::SUCCESS) };
    eprintln!("error: only what comes before the damage was exported: {damage:#}");
    Ok(ExitCode::FAILURE)
}

fn write_trials(study: &Study, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = csv::Writer::from_writer(out);
    let parameters = study.space().parameters();
    let objectives = &study.metrics().objectives;
    let mut header = vec!["trial".to_owned(), "state".into(), "origin".into()];
    header.extend(objectives.iter().map(|metric| plain(&metric.name)));
    header.extend(study.metrics().constraints.iter().map(|name| plain(name)));
    header.extend(parameters.iter().map(|parameter| format!("param {}", parameter.name)));
    header.extend(["step", "seconds", "failure"].map(String::from));
    table.write_record(&header)?;
    for trial in study.trials() {
        let params = study.params(trial);
        let mut row =
            vec![trial.number.to_string(), trial.state().name().into(), report::origin(trial).into()];
        let values = trial.values();
        row.extend((0..objectives.len()).map(|k| values.map_or(String::new(), |v| v[k].to_string())));
        let told = report::constraint_values(study, trial);
        row.extend(told.into_iter().map(|value| value.map_or(String::new(), |v| v.to_string())));
        row.extend(
            parameters.iter().map(|p| params.get(&p.name).map_or(String::new(), |v| plain(&v.to_string()))),
        );
        row.extend([trial.step().to_string(), trial.seconds().to_string(), plain(&report::failure(trial))]);
        table.write_record(&row)?;
    }
    table.flush()?;
    Ok(())
}

fn write_curves(study: &Study, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = csv::Writer::from_writer(out);
    let names = study.metric_names();
    let mut header = vec!["trial".to_owned(), "replicate".into(), "step".into()];
    header.extend(names.iter().map(|name| plain(name)));
    table.write_record(&header)?;
    for trial in study.trials() {
        for (work, piece) in trial.pieces() {
            for point in &piece.curve {
                let mut row =
                    vec![work.trial.to_string(), work.replicate.to_string(), point.step.to_string()];
                let value = |name| study.curve_value(point, name).map_or(String::new(), |v| v.to_string());
                row.extend(names.iter().map(|name| value(name)));
                table.write_record(&row)?;
            }
        }
    }
    table.flush()?;
    Ok(())
}

fn write_json(study: &Study, place: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut whole = report::study_json(study, place);
    whole["spec"] = serde_json::to_value(study.spec())?;
    whole["trials"] = study.trials().iter().map(|trial| report::trial_json(study, trial)).collect();
    writeln!(out, "{whole:#}")?;
    Ok(())
}

/// A text that a spreadsheet will not take for a formula.
fn plain(text: &str) -> String {
    let is_formula = text.starts_with(['=', '@', '\t', '\r'])
        || (text.starts_with(['+', '-']) && text.parse::<f64>().is_err());
    if is_formula { format!("'{text}") } else { text.to_owned() }
}
