//! `luthier best`: the best trial, by the first metric where there are several.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;

use crate::opening::{StudyPath, watch};
use crate::page::on_stdout;
use crate::{lineage, report};

/// Which study, and how to print.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    study: StudyPath,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the params alone, as `name=value` words
    #[arg(long, conflicts_with = "json")]
    params: bool,
}

/// Prints the best trial.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let session = watch(&arguments.study)?;
    let study = session.study();
    let Some(best) = study.incumbent() else {
        let counts = report::counts(study);
        bail!("no trial has completed yet ({counts}); `luthier trials` shows why");
    };
    let mut out = std::io::stdout().lock();
    let note = lineage::note_on_params(study, best, &session.place());
    if arguments.json {
        writeln!(out, "{}", report::trial_json(study, best))?;
    } else if arguments.params {
        writeln!(out, "{}", study.params(best))?;
        // Programs read the params.
        if let Some(note) = note {
            eprintln!("{note}");
        }
    } else {
        write!(out, "{}", on_stdout(&report::best_block(study, best)))?;
        if let Some(front) = report::front_line(study) {
            writeln!(out, "{front}: `luthier trials --front`")?;
        }
        if let Some(note) = note {
            writeln!(out, "{note}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
