//! `luthier evaluate`: how good a saved model is on rows whose answers are known.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, Value};

use crate::opening::model_at;
use crate::report;
use crate::report::about_file;

/// Which model, and which rows.
#[derive(clap::Args)]
#[command(after_help = "\
The loss is that which the network was trained on, without penalties, in the unit of the target.

Example: luthier evaluate study.toml labelled.csv")]
pub(crate) struct Arguments {
    /// A folder with a model (`model.json`), or a study, whose best model is taken
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Rows with the target among their columns, or examples with their answers beside them
    #[arg(value_name = "ROWS")]
    rows: PathBuf,
    /// The answers, for NumPy and IDX files that hold the inputs alone
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Measures the model.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut model = model_at(&arguments.model)?;
    let measured = model
        .evaluate_file(&arguments.rows, arguments.labels.as_deref())
        .map_err(|error| about_file(error, &arguments.rows))?;
    let loss = model.network().loss.kind();
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let mut object = Map::new();
        object.insert("rows".to_owned(), measured.rows.into());
        object.insert("loss_kind".to_owned(), loss.name().into());
        object
            .extend(measured.values().into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))));
        writeln!(out, "{}", Value::Object(object))?;
    } else {
        writeln!(out, "{} rows of {}", measured.rows, arguments.rows.display())?;
        let named = measured.values().into_iter().map(|(name, value)| match name {
            "loss" => (format!("loss ({loss})"), value),
            other => (other.to_owned(), value),
        });
        let lines: Vec<(String, f64)> = named.collect();
        let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, value) in lines {
            writeln!(out, "  {name:<width$}  {}", report::number(value))?;
        }
    }
    for note in &measured.notes {
        eprintln!("{note}");
    }
    Ok(ExitCode::SUCCESS)
}
