//! `luthier enqueue`: params, or ranges given by hand, to be tried next.

use std::process::ExitCode;

use anyhow::{Context, bail};
use luthier::core::event::{Wish, Within};
use luthier::core::space::Value;

use crate::opening::{StudyPath, open};

/// What to try.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A study's log (`.luthier`) or its study file; the only log in this folder if not given
    #[arg(long, value_name = "STUDY")]
    study: Option<std::path::PathBuf>,
    /// `name=value` for a value, `name=low..high` for a range drawn on the parameter's own scale
    #[arg(required = true, value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// How many trials to queue; useful with ranges
    #[arg(long, default_value_t = 1, value_name = "N")]
    count: u32,
}

/// Queues them.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let wish = parse(&arguments.params)?;
    let mut session = open(&StudyPath::at(arguments.study.clone()))?;
    session.turn(|turn| (0..arguments.count).try_for_each(|_| turn.enqueue(wish.clone())))?;
    let study = session.study();
    let waiting = study.queue().len() as u64;
    let started = study.trials().len() as u64 - study.tally().replaced;
    match study.spec().limits.trials {
        Some(limit) if started + waiting > limit => eprintln!(
            "queued; {waiting} waiting. {started} of {limit} trials have been started; `luthier tune --trials {}` \
             runs them all",
            started + waiting
        ),
        Some(_) | None => eprintln!("queued; {waiting} waiting. `luthier tune` runs them first"),
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(texts: &[String]) -> anyhow::Result<Wish> {
    let mut wish = Wish::default();
    for text in texts {
        let (name, value) = text.split_once('=').with_context(|| format!("{text:?} is not NAME=VALUE"))?;
        if name.is_empty() || value.is_empty() {
            bail!("{text:?} is not NAME=VALUE");
        }
        match value.split_once("..") {
            Some((low, high)) => {
                let (low, high) = (Value::parse(low), Value::parse(high.trim_start_matches('=')));
                wish.within.push(Within { name: name.into(), low, high });
            }
            None => wish.params.set(name, Value::parse(value)),
        }
    }
    Ok(wish)
}
