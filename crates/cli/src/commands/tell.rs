//! `luthier tell`: the values of a trial that was taken by `luthier ask`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use luthier::core::event::{Failure, Work};
use luthier::core::trial::WorkState;
use luthier::session::{Reply, Returned, Session, SessionError};

use crate::opening::{StudyPath, holder_is_alive, open, watch_log};

/// The exit code that says: the trial should stop.
const STOP: u8 = 4;

/// What to tell.
#[derive(clap::Args)]
#[command(override_usage = "luthier tell [OPTIONS] --trial <NUMBER> [METRIC=VALUE]... [--study <STUDY>]")]
pub(crate) struct Arguments {
    /// A study's log (`.luthier`) or its study file; the only log in this folder if not given
    #[arg(long, value_name = "STUDY")]
    study: Option<std::path::PathBuf>,
    /// The trial's number, as `ask` printed it
    #[arg(long, short, value_name = "NUMBER")]
    trial: u32,
    /// The replicate, as `ask` printed it
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    replicate: u16,
    /// The attempt, as `ask` printed it; needed when the trial was handed out more than once
    #[arg(long, value_name = "NUMBER")]
    attempt: Option<u32>,
    /// The values; without --step they are final
    #[arg(value_name = "METRIC=VALUE")]
    values: Vec<String>,
    /// The values belong to this step, and the trial goes on unless told otherwise (exit code 4)
    #[arg(long)]
    step: Option<u64>,
    /// The trial failed, for this reason
    #[arg(long, value_name = "REASON", conflicts_with_all = ["values", "step"])]
    failed: Option<String>,
    /// Seconds of work since the last report, for the study's account
    #[arg(long, default_value_t = 0.0, value_parser = parse_seconds)]
    seconds: f64,
}

/// Tells it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.values.is_empty() && arguments.failed.is_none() {
        bail!("nothing to tell: give METRIC=VALUE, or --failed REASON");
    }
    let values = arguments.values.iter().map(|text| parse(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let path = StudyPath::at(arguments.study.clone());
    let mut session = open(&path)?;
    let work = Work { trial: arguments.trial, replicate: arguments.replicate };
    let current = current_attempt(&session, work)?;
    let attempt = match arguments.attempt {
        Some(attempt) => attempt,
        None => sure_attempt(&path, work, current)?,
    };
    let reply = session.turn(|turn| {
        if let Some(step) = arguments.step {
            let reply = turn.report(work, attempt, step, &values, arguments.seconds)?;
            if reply == Reply::Pause {
                // Whoever told this saves a checkpoint and asks again; the trial is free from here on.
                let paused = Returned { result: Ok(()), conclusion: None, seconds: 0.0, used: None };
                return turn.finish(work, attempt, paused);
            }
            Ok(reply)
        } else {
            let result = match &arguments.failed {
                Some(reason) => Err((Failure::error(reason), "".into())),
                None => Ok(()),
            };
            let conclusion = result.is_ok().then_some(values);
            turn.finish(
                work,
                attempt,
                Returned { result, conclusion, seconds: arguments.seconds, used: None },
            )
        }
    })?;
    match reply {
        Reply::Continue => Ok(ExitCode::SUCCESS),
        Reply::Pause => {
            println!("pause");
            Ok(ExitCode::from(STOP))
        }
        Reply::Stop(why) => {
            println!("stop: {why}");
            Ok(ExitCode::from(STOP))
        }
        Reply::Gone => {
            bail!("trial {} has been taken over by another worker; nothing was recorded", work.trial)
        }
    }
}

fn current_attempt(session: &Session, work: Work) -> anyhow::Result<u32> {
    let piece = session.study().piece(work).ok_or(SessionError::NoTrial(work.trial))?;
    if piece.state != WorkState::Running {
        let state = session.study().trial(work.trial).map_or("unknown", |trial| trial.state().name());
        bail!("trial {} is {state}, not running; `luthier ask` takes one", work.trial);
    }
    Ok(piece.attempt)
}

/// The attempt that a teller who names none can only mean.
fn sure_attempt(path: &StudyPath, work: Work, current: u32) -> anyhow::Result<u32> {
    let number = work.trial;
    if current > 1 {
        bail!(
            "trial {number} has been handed out {current} times; give --attempt as `luthier ask` printed it"
        );
    }
    let leases = watch_log(path)?.leases()?;
    let held = leases.iter().find(|lease| lease.work == work && lease.attempt == current);
    if held.is_some_and(|lease| holder_is_alive(&lease.holder) == Some(true)) {
        bail!(
            "trial {number} is being run by `luthier tune`; to speak in its place nevertheless, give --attempt {current}"
        );
    }
    Ok(current)
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
    seconds.ok_or_else(|| "write a number of seconds from 0".into())
}

fn parse(text: &str) -> anyhow::Result<(Arc<str>, f64)> {
    let (name, value) = text.split_once('=').with_context(|| format!("{text:?} is not METRIC=VALUE"))?;
    let value = value.trim().parse().with_context(|| format!("{value:?} is not a number"))?;
    Ok((name.into(), value))
}
