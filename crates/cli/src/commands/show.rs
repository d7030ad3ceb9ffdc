//! `luthier show`: a study at a glance, or one trial with its curve.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use luthier::session::SessionError;

use crate::opening::{StudyPath, watch};
use crate::page::{on_stdout, stdout_width};
use crate::{lineage, report};

/// What to show.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    study: StudyPath,
    /// One trial, by number
    #[arg(long, value_name = "NUMBER")]
    trial: Option<u32>,
    /// The trials as a tree: which went on from which, and what changed there
    #[arg(long, conflicts_with_all = ["trial", "json", "watch"])]
    lineage: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Keep watching and print a line whenever something changed
    #[arg(long, conflicts_with_all = ["trial", "json"])]
    watch: bool,
}

/// Shows it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut session = watch(&arguments.study)?;
    let mut out = std::io::stdout().lock();
    if let Some(number) = arguments.trial {
        let study = session.study();
        let trial = study.trial(number).ok_or(SessionError::NoTrial(number))?;
        if arguments.json {
            writeln!(out, "{}", report::trial_json(study, trial))?;
        } else {
            write!(out, "{}", on_stdout(&report::trial_block(study, trial)))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.lineage {
        write!(out, "{}", lineage::tree(session.study(), stdout_width()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.json {
        writeln!(out, "{}", report::study_json(session.study(), &session.place()))?;
        return Ok(ExitCode::SUCCESS);
    }
    write!(out, "{}", on_stdout(&report::study_block(session.study(), &session.place())))?;
    if !arguments.watch {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(Duration::from_millis(500));
        if session.refresh()? {
            writeln!(out, "{}", report::line(session.study()))?;
            out.flush()?;
        }
    }
}
