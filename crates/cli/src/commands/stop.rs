//! `luthier stop`: asks trials to stop; whoever runs them ends them.

use std::process::ExitCode;

use crate::opening::{StudyPath, open};

/// Which trials.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A study's log (`.luthier`) or its study file; the only log in this folder if not given
    #[arg(long, value_name = "STUDY")]
    study: Option<std::path::PathBuf>,
    /// Numbers of trials
    #[arg(required = true, value_name = "TRIAL")]
    trials: Vec<u32>,
}

/// Asks them to stop.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut session = open(&StudyPath::at(arguments.study.clone()))?;
    session.turn(|turn| arguments.trials.iter().try_for_each(|trial| turn.stop(*trial)))?;
    Ok(ExitCode::SUCCESS)
}
