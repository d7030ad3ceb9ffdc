//! `luthier quality`: how dependable the winner of a study of networks is, as it was found when the study ended.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use luthier_nn::{Consistency, Quality, WinnerReport};

use crate::opening::{BEST, StudyPath, find, trials_of};
use crate::report;

/// Which study, and how to print.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    study: StudyPath,
    /// Where trials keep their files; beside the log if not given
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print each example that was predicted at least twice, as CSV, those that are hardest first
    #[arg(long)]
    examples: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "examples")]
    json: bool,
}

/// Prints it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let log = find(&arguments.study)?;
    let folder = arguments.folder.clone().unwrap_or_else(|| trials_of(&log)).join(BEST);
    if !WinnerReport::file(&folder).exists() {
        bail!(
            "{} does not exist: a study of networks with [network.quality] or `retrain = true` writes it when it ends",
            WinnerReport::file(&folder).display()
        );
    }
    let winner = WinnerReport::load(&folder)?;
    let mut out = std::io::stdout().lock();
    if arguments.examples {
        match &winner.quality {
            Some(quality) => write!(out, "{}", examples(quality))?,
            None => bail!("the trials of this study had no replicates; use [network.quality]"),
        }
    } else if arguments.json {
        writeln!(out, "{}", report::winner_json(&winner)?)?;
    } else {
        write!(out, "{}", report::winner_text(&winner))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for each example: the one that was least often right, or most differently predicted, first.
fn examples(quality: &Quality) -> String {
    match &quality.consistency {
        Consistency::Classes { examples, .. } => {
            let mut hardest = examples.clone();
            let share = |right: u32, times: u32| f64::from(right) / f64::from(times);
            hardest.sort_by(|a, b| share(a.right, a.times).total_cmp(&share(b.right, b.times)));
            let lines =
                hardest.iter().map(|hits| format!("{},{},{}\n", hits.example, hits.times, hits.right));
            std::iter::once("example,times,right\n".to_owned()).chain(lines).collect()
        }
        Consistency::Values { examples, .. } => {
            let mut hardest = examples.clone();
            hardest.sort_by(|a, b| b.standard_deviation.total_cmp(&a.standard_deviation));
            let lines = hardest
                .iter()
                .map(|e| format!("{},{},{},{}\n", e.example, e.times, e.mean, e.standard_deviation));
            std::iter::once("example,times,mean,sd\n".to_owned()).chain(lines).collect()
        }
        Consistency::Unknown { .. } => format!("{}\n", quality.consistency),
    }
}
