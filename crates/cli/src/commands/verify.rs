//! `luthier verify`: re-derives every decision in a log.

use std::process::ExitCode;

use anyhow::Context;
use luthier::core::engine::Verifier;

use crate::opening::{StudyPath, watch_log};

/// Which study.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    study: StudyPath,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Re-derives the decisions; fails if one disagrees.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut log = watch_log(&arguments.study)?;
    let mut verifier: Option<Verifier> = None;
    let mut seen = 0;
    loop {
        let records = log.read(seen, 10_000)?;
        if records.is_empty() {
            break;
        }
        for record in records {
            let event = record.event()?;
            match &mut verifier {
                None => verifier = Some(Verifier::new(&event)?),
                Some(verifier) => verifier.check(record.seq, &event)?,
            }
            seen = record.seq;
        }
    }
    let (study, found) = verifier.context("the log is empty")?.finish(seen);
    let verified = found.disagreements.is_empty();
    if arguments.json {
        let disagreements: Vec<String> = found.disagreements.iter().map(ToString::to_string).collect();
        let (agreed, other) = (found.agreed, found.other_version);
        println!(
            "{}",
            serde_json::json!({ "events": seen, "agreed": agreed, "other_version": other, "disagreements": disagreements })
        );
    } else {
        println!(
            "{} events, {} trials: {} decisions re-derived and equal",
            seen,
            study.trials().len(),
            found.agreed
        );
        if found.other_version > 0 {
            println!(
                "{} decisions were made by another version of the rules and not re-derived",
                found.other_version
            );
        }
        for disagreement in &found.disagreements {
            println!("{disagreement}");
        }
    }
    Ok(if verified { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
