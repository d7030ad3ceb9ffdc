//! `luthier trials`: a table of trials.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use luthier::core::trial::{Trial, TrialState};

use crate::opening::{StudyPath, watch};
use crate::report;

/// Which trials, in which order.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    study: StudyPath,
    /// Only trials in this state
    #[arg(long, value_enum)]
    state: Option<Filter>,
    /// Best first instead of by number; those that keep the constraints before others
    #[arg(long)]
    best: bool,
    /// With several metrics, only trials that no other beats in all of them (the Pareto front), the best by the first metric first
    #[arg(long, conflicts_with_all = ["state", "best"])]
    front: bool,
    /// At most this many; 0 for all
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Filter {
    Waiting,
    Running,
    Paused,
    Completed,
    Pruned,
    Cancelled,
    Failed,
}

impl Filter {
    fn state(self) -> TrialState {
        match self {
            Self::Waiting => TrialState::Waiting,
            Self::Running => TrialState::Running,
            Self::Paused => TrialState::Paused,
            Self::Completed => TrialState::Completed,
            Self::Pruned => TrialState::Pruned,
            Self::Cancelled => TrialState::Cancelled,
            Self::Failed => TrialState::Failed,
        }
    }
}

/// Prints the table.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let session = watch(&arguments.study)?;
    let study = session.study();
    let wanted = |trial: &&Trial| arguments.state.is_none_or(|filter| trial.state() == filter.state());
    let mut trials: Vec<&Trial> = study.trials().iter().filter(wanted).collect();
    if arguments.best {
        trials = study.best_first(trials);
    } else if arguments.front {
        trials = report::front(study).context(
            "the study has one metric, and so one best trial: see `luthier best`, or `luthier trials --best`",
        )?;
    }
    let total = trials.len();
    if arguments.limit > 0 && total > arguments.limit {
        let skip = if arguments.best || arguments.front { 0 } else { total - arguments.limit };
        trials = trials.into_iter().skip(skip).take(arguments.limit).collect();
    }
    let mut out = std::io::stdout().lock();
    if arguments.json {
        for trial in trials {
            writeln!(out, "{}", report::trial_json(study, trial))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    write!(out, "{}", report::table(study, &trials))?;
    if trials.iter().any(|trial| study.violation(trial) > 0.0) {
        eprintln!("{} breaks a constraint, which wants 0 or less", report::BREAKS.trim());
    }
    if trials.len() < total {
        eprintln!("{} of {total} trials; --limit 0 shows all", trials.len());
    }
    Ok(ExitCode::SUCCESS)
}
