//! The command line of `luthier tune`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser};
use luthier::core::registry::Entry;
use luthier::core::sampler::SAMPLERS;
use luthier::core::scheduler::SCHEDULERS;
use luthier::objective::command::OuterFold;
use luthier::session::LEASE;

use super::super::data::{self, OnData};
use crate::opening::EXTENSION;

/// What to run, and how.
#[derive(clap::Args, Clone)]
#[command(after_help = EXAMPLE)]
#[allow(clippy::struct_excessive_bools)] // flags of a command line
pub(crate) struct Arguments {
    /// A study file (`.toml`, `.json`), or the log (`.luthier`) of a study to continue
    #[arg(value_name = "STUDY", default_value = "study.toml", conflicts_with = "data")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) data: OnData,
    /// Trials to finish in all, over the study's life
    #[arg(long, short = 'n', value_name = "N")]
    pub(super) trials: Option<u64>,
    /// End when more trials would hardly gain anything; [limits.converged] in the study file says what hardly means
    #[arg(long)]
    pub(super) until_converged: bool,
    /// Tune once for each of so many outer folds, on the other rows, and measure each winner on its fold: an honest final number
    #[arg(long, value_name = "FOLDS", value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub(super) nested: Option<u16>,
    /// The outer fold that is left out, of a run of `--nested`
    #[arg(skip)]
    pub(super) outer: Option<OuterFold>,
    /// Trials to run at once
    #[arg(long, short = 'j', default_value_t = 1, value_name = "N", value_parser = parse_workers)]
    pub(super) workers: usize,
    /// Start nothing more after this time, such as 90s, 10m or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    pub(super) time: Option<Duration>,
    /// Who proposes params, instead of the study file's
    #[arg(long, value_name = "NAME", value_parser = names(SAMPLERS))]
    pub(super) sampler: Option<String>,
    /// Who stops and promotes trials, instead of the study file's
    #[arg(long, value_name = "NAME", value_parser = names(SCHEDULERS))]
    pub(super) scheduler: Option<String>,
    /// The seed of every random choice; only for a new study
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Where the study's log is; beside the study file if not given
    #[arg(long, value_name = "FILE")]
    pub(super) study: Option<PathBuf>,
    /// Where trials keep their files; beside the log if not given
    #[arg(long, value_name = "FOLDER")]
    pub(super) folder: Option<PathBuf>,
    /// What a finished trial survives
    #[arg(long, value_enum, default_value_t = Survives::Kill)]
    pub(super) durability: Survives,
    /// Keep the checkpoints of all trials, not only of the best (with several metrics, of all that no other beats)
    #[arg(long)]
    pub(super) keep_all: bool,
    /// Megabytes of checkpoints beyond which the paused trials least likely to go on lose theirs; the best trial, with several
    /// metrics all that no other beats, never do
    #[arg(long, value_name = "MB", value_parser = parse_megabytes)]
    pub(super) checkpoint_quota: Option<u64>,
    /// Continue although the objective or its data has changed since the study began
    #[arg(long)]
    pub(super) accept_changes: bool,
    /// Print JSON lines as things happen
    #[arg(long, conflicts_with = "quiet")]
    pub(super) json: bool,
    /// Print nothing but the result
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Seconds without a sign of life after which other processes take over what this one runs
    #[arg(long, value_name = "SECONDS", hide = true, default_value_t = LEASE.as_secs_f64())]
    pub(super) lease: f64,
}

impl Arguments {
    /// Those by which the study of one outer fold is tuned in `folder`, when so much time has passed.
    pub(super) fn of_outer_fold(&self, outer: OuterFold, folder: &Path, passed: Duration) -> Self {
        let name = format!("outer-{}", outer.fold);
        Self {
            nested: None,
            outer: Some(outer),
            study: Some(folder.join(format!("{name}.{EXTENSION}"))),
            folder: self.folder.as_ref().map(|folder| folder.join(&name)),
            seed: self.seed.map(|seed| seed.wrapping_add(u64::from(outer.fold))),
            time: self.time.map(|time| time.saturating_sub(passed)),
            ..self.clone()
        }
    }
}

/// With `--data`, the arguments of the study file that is written for it.
pub(super) fn on_data(arguments: &Arguments) -> anyhow::Result<Arguments> {
    let mut arguments = arguments.clone();
    if arguments.data.path().is_some() {
        let usual = arguments.data.usual_output();
        let output = usual.context("--data names no file; give the path of a data file")?;
        // What there is to say about the data is said when the study begins.
        arguments.data.write_or_find(&output, arguments.trials.unwrap_or(data::TRIALS))?;
        arguments.file = output;
    }
    Ok(arguments)
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Survives {
    /// A killed process (SQLite WAL, synchronous NORMAL)
    Kill,
    /// A power failure as well (synchronous FULL); slower
    PowerLoss,
}

/// The names of a registry, each with its summary.
fn names<T: ?Sized>(entries: &'static [Entry<T>]) -> PossibleValuesParser {
    let values = entries.iter().map(|entry| PossibleValue::new(entry.name).help(entry.summary));
    values.collect::<Vec<_>>().into()
}

const EXAMPLE: &str = "\
Example: a script of yours, `train.py`, that reads --lr and --layers and prints a line such as
{\"step\": 3, \"val_loss\": 0.41} after each epoch. Save this as study.toml beside it:

    trials = 40
    [metric]
    name = \"val_loss\"
    direction = \"minimize\"
    [command]
    run = [\"python3\", \"train.py\", \"--lr\", \"{lr}\", \"--layers\", \"{layers}\"]
    [params.lr]
    type = \"float\"
    low = 1e-5
    high = 1e-1
    scale = \"log\"
    [params.layers]
    type = \"int\"
    low = 1
    high = 4

then run `luthier tune study.toml`. Ctrl-C once finishes what is running, twice stops now, three
times ends the process; the same command continues. `luthier init` writes such a file with every key explained.";

fn parse_workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number from 1".into()),
        Ok(workers) => Ok(workers),
    }
}

/// `2GB`, `500MB`, or plain megabytes of 10⁶ bytes.
fn parse_megabytes(text: &str) -> Result<u64, String> {
    let upper = text.to_ascii_uppercase();
    let (number, megabytes) = match upper.strip_suffix("GB") {
        Some(number) => (number, 1000),
        None => (upper.strip_suffix("MB").unwrap_or(&upper), 1),
    };
    let whole = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(megabytes));
    whole
        .ok_or_else(|| "write a whole number of megabytes, such as 500, or with its unit, such as 2GB".into())
}

/// `90s`, `10m`, `2h`, `1d`, or plain seconds.
fn parse_time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("write 90s, 10m, 2h or 1d".into()),
    };
    let number: f64 = number.parse().map_err(|_| "write 90s, 10m, 2h or 1d".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|e| e.to_string())
}
