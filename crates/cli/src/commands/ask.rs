//! `luthier ask`: the next trial, for whoever runs it by hand or from a shell loop.

use std::process::ExitCode;
use std::time::Duration;

use luthier::session::Asked;
use serde_json::json;

use crate::opening::{StudyPath, open_with_lease};

/// The exit code when there is nothing to run.
const NOTHING: u8 = 3;

/// Which study, and for how long.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    study: StudyPath,
    /// Seconds after which the trial counts as lost if nothing was told
    #[arg(long, default_value_t = 86_400.0, value_name = "SECONDS")]
    lease: f64,
    /// Print `name=value` words after the trial's number instead of JSON; the first is `attempt=N` if the trial
    /// was handed out before
    #[arg(long)]
    words: bool,
}

/// Takes the next trial and prints it; exits with 3 when there is none.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let lease = Duration::try_from_secs_f64(arguments.lease).unwrap_or(Duration::from_hours(24));
    let mut session = open_with_lease(&arguments.study, lease)?;
    let asked = session.turn(|turn| {
        turn.sweep()?;
        turn.ask()
    })?;
    match asked {
        Asked::Work(assigned) if arguments.words => {
            let again = match assigned.attempt {
                1 => String::new(),
                attempt => format!(" attempt={attempt}"),
            };
            println!("{}{again} {}", assigned.work.trial, assigned.params);
        }
        Asked::Work(assigned) => {
            let mut line = json!({
                "trial": assigned.work.trial,
                "attempt": assigned.attempt,
                "params": assigned.params,
            });
            if assigned.work.replicate > 0 {
                line["replicate"] = json!(assigned.work.replicate);
            }
            if assigned.seed_number.is_some() {
                let place = assigned.place;
                line["fold"] = json!(place.fold);
                line["folds"] = json!(place.folds);
                line["seed"] = json!(assigned.replicate_seed());
            }
            if let Some(budget) = assigned.budget.or(assigned.max_budget) {
                line["budget"] = json!(budget);
                line["step"] = json!(assigned.step);
            }
            println!("{line}");
        }
        Asked::Wait => {
            eprintln!("nothing to run now: wait for running trials, or enqueue one");
            return Ok(ExitCode::from(NOTHING));
        }
        Asked::Done(done) => {
            eprintln!("nothing more to run: {done}");
            return Ok(ExitCode::from(NOTHING));
        }
    }
    Ok(ExitCode::SUCCESS)
}
