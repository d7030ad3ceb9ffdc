//! `luthier predict`: what a saved model says about new rows.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use luthier_nn::{Model, Prediction, TargetEncoding};
use serde_json::{Map, Value, json};

use crate::opening::model_at;
use crate::report::about_file;

/// Which model, which rows, and where to.
#[derive(clap::Args)]
#[command(after_help = "\
The rows need the columns that the model was trained on, in any order if they have names; the target may be among them or \
not. Preprocessing is the model's own.

Example: luthier predict study.toml new.csv --out predictions.csv")]
pub(crate) struct Arguments {
    /// A folder with a model (`model.json`), or a study, whose best model is taken
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The rows: a file of any kind that can be trained on, or a folder of images
    #[arg(value_name = "ROWS")]
    rows: PathBuf,
    /// Where to; standard output if not given
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// One JSON object a row instead of CSV
    #[arg(long)]
    json: bool,
}

/// Predicts every row, in order.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut model = model_at(&arguments.model)?;
    let predictions =
        model.predict_file(&arguments.rows).map_err(|error| about_file(error, &arguments.rows))?;
    let out: Box<dyn Write> = match &arguments.out {
        Some(path) => {
            Box::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let mut out = BufWriter::new(out);
    if arguments.json {
        for prediction in &predictions {
            writeln!(out, "{}", object(&model, prediction))?;
        }
    } else {
        write_table(&model, &predictions, &mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A column for each number that is predicted, called as its target; for classes and labels the names, and a column with
/// the probability of each.
fn write_table(model: &Model, predictions: &[Prediction], out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(header(model))?;
    for prediction in predictions {
        table.write_record(cells(prediction))?;
    }
    // Written by hand, so that a closed pipe is still seen to be one.
    Ok(out.write_all(&table.into_inner()?)?)
}

fn header(model: &Model) -> Vec<String> {
    match model.preprocessing().target() {
        TargetEncoding::Values { names, .. } => names.clone(),
        TargetEncoding::Value { .. } => vec![model.preprocessing().target_name().to_owned()],
        TargetEncoding::Classes { names } | TargetEncoding::Labels { names } => {
            let probabilities = names.iter().map(|name| format!("p({name})"));
            std::iter::once(model.preprocessing().target_name().to_owned()).chain(probabilities).collect()
        }
    }
}

fn cells(prediction: &Prediction) -> Vec<String> {
    let with = |first: String, probabilities: &[f32]| {
        std::iter::once(first).chain(probabilities.iter().map(f32::to_string)).collect()
    };
    match prediction {
        Prediction::Class { class, probabilities } => with(class.clone(), probabilities),
        Prediction::Labels { labels, probabilities } => with(labels.join(";"), probabilities),
        Prediction::Value { value } => vec![value.to_string()],
        Prediction::Values { values } => values.iter().map(f64::to_string).collect(),
    }
}

fn object(model: &Model, prediction: &Prediction) -> Value {
    let named = |probabilities: &[f32]| -> Map<String, Value> {
        model.classes().iter().cloned().zip(probabilities.iter().map(|&p| short(p))).collect()
    };
    match prediction {
        Prediction::Class { class, probabilities } => {
            json!({ "prediction": class, "probabilities": named(probabilities) })
        }
        Prediction::Labels { labels, probabilities } => {
            json!({ "prediction": labels, "probabilities": named(probabilities) })
        }
        Prediction::Value { value } => json!({ "prediction": value }),
        Prediction::Values { values } => {
            json!({ "prediction": header(model).into_iter().zip(values).map(|(name, &v)| (name, v.into())).collect::<Map<_, Value>>() })
        }
    }
}

/// A single-precision number with no more digits than it needs.
fn short(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
