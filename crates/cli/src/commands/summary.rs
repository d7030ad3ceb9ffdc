//! `luthier summary`: what a study's network has and costs, before anything is trained.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use luthier::core::space::Value;
use luthier::study_file::ObjectiveSpec;
use luthier_nn::objective::NetworkObjective;

use crate::described::located;
use crate::opening::{folder_of, is_log, read_study_file};

/// Which network.
#[derive(clap::Args)]
#[command(after_help = "\
Parameters that are not given are at their defaults, or in the middle of their ranges.

Example: luthier summary study.toml units=128 layers=3")]
pub(crate) struct Arguments {
    /// A study file; `study.toml` if not given. Then `name=value` for parameters and settings
    #[arg(value_name = "STUDY | NAME=VALUE")]
    words: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the summary; fails if a trial with this network would be refused.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (file, params) = parse(&arguments.words)?;
    if is_log(&file) {
        bail!("{} is a study's log; name its study file", file.display());
    }
    let read = read_study_file(&file)?;
    let ObjectiveSpec::Network(table) = &read.objective else {
        bail!(
            "{} runs a command: only networks, which have a [network] table, can be summed up",
            file.display()
        );
    };
    let table = serde_json::Value::Object(table.clone());
    let objective = NetworkObjective::from_table(table, &read.spec, &folder_of(&file))
        .map_err(|error| located(error, Some(&read)))?;
    let summary = objective.summary(&read.spec.space, &params)?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_value(&summary)?)?;
    } else {
        write!(out, "{summary}")?;
    }
    objective.limits().check(&summary).context("a trial with this network would be refused")?;
    Ok(ExitCode::SUCCESS)
}

/// The study file, which has no `=` in its name, and the params.
fn parse(words: &[String]) -> anyhow::Result<(PathBuf, Vec<(String, Value)>)> {
    let mut file = None;
    let mut params = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                params.push((name.to_owned(), Value::parse(value)));
            }
            None if file.is_none() => file = Some(Path::new(word).to_owned()),
            Some(_) | None => bail!("{word:?} is not NAME=VALUE"),
        }
    }
    Ok((file.unwrap_or_else(|| "study.toml".into()), params))
}
