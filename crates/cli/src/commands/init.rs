//! `luthier init`: a commented study file for a command or for data, ready to be edited.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use luthier::objective::command::PLACEHOLDERS;

use super::data::{OnData, TRIALS};

/// The command, and where to write.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to write the study file
    #[arg(long, short, default_value = "study.toml", value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    data: OnData,
    /// Trials that the space is made for; with --data
    #[arg(long, default_value_t = TRIALS, value_name = "N", requires = "data")]
    trials: u64,
    /// The metric that the command reports
    #[arg(long, default_value = "val_loss")]
    metric: String,
    /// Larger values are better
    #[arg(long)]
    maximize: bool,
    /// The command, with a placeholder such as {lr} for each parameter to tune
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Writes it; never over an existing file.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.data.path().is_some() {
        if !arguments.command.is_empty() {
            bail!("give either --data or a command, not both");
        }
        arguments.data.write(&arguments.output, arguments.trials)?;
        told(&arguments.output);
        return Ok(ExitCode::SUCCESS);
    }
    let text = study_file(arguments)?;
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&arguments.output) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let path = arguments.output.display();
            bail!("{path} is there already and is never overwritten; --output names another")
        }
        opened => opened.with_context(|| format!("cannot write {}", arguments.output.display()))?,
    };
    file.write_all(text.as_bytes())?;
    let path = arguments.output.display();
    eprintln!("wrote {path}: set the metric and the ranges, then run `luthier tune {path}`");
    Ok(ExitCode::SUCCESS)
}

fn told(path: &Path) {
    let path = path.display();
    eprintln!("wrote {path}: set the ranges, then run `luthier tune {path}`");
}

fn study_file(arguments: &Arguments) -> anyhow::Result<String> {
    let example = ["python3", "train.py", "--lr", "{lr}", "--layers", "{layers}"].map(String::from);
    let command = if arguments.command.is_empty() { &example[..] } else { &arguments.command[..] };
    let names = placeholders(command)?;
    let run = command.iter().map(|word| toml_text(word)).collect::<Vec<_>>().join(", ");
    let direction = if arguments.maximize { "maximize" } else { "minimize" };
    let params: String = names.iter().map(|name| parameter(name)).collect();
    let metric = toml_text(&arguments.metric);
    let has_budget = command.iter().any(|word| word.contains("{budget}"));
    let budget = if has_budget { ASKED_BUDGET } else { BUDGET };
    Ok(format!(
        r#"# A Luthier study. Run it with `luthier tune {file}`; the same command continues it.

trials = 50                  # finished trials in all, failed and stopped ones included
# limits.failures = 10       # stop when this many trials in a row fail: the command may be broken
# limits.converged = true    # stop when more trials would hardly gain anything
seed = 0                     # the same seed and the same results give the same decisions

[metric]
name = {metric}              # what the command reports
direction = "{direction}"
# curve = "best"             # a trial counts with the best value of its curve; default: with its last

{budget}
[policy]                     # both lines may be left out
sampler = "auto"             # or "gp", "tpe", "cma_es", "random", "sobol", "grid", ...
# scheduler = "median"       # or "run_all", "patience", "threshold", "asha", "hyperband" (the last two need [budget])

[command]
# Placeholders: any parameter below, and {{budget}}, {{step}}, {{trial}}, {{replicate}}, {{fold}}, {{folds}}, {{seed}}, {{attempt}}, {{params}} (a
# JSON file with all params), {{checkpoint}} (a folder kept when a trial is paused and resumed), {{folder}}. Params are in the
# environment too: LUTHIER_PARAM_LR, ...; LUTHIER_PARAMS names the JSON file.
run = [{run}]
# Results are read from lines such as {{"step": 3, {json}: 0.41}} on standard output; without "step" the value is
# final. For a program that prints something else:
# pattern = {{ {key} = 'loss: ([0-9.e+-]+)' }}
# result = "result.json"     # or a JSON file that it writes into {{folder}}
# time_limit = 600           # seconds; then the trial fails
# memory_limit = 4000        # megabytes, the command and everything it starts together
{params}
# More kinds of parameters:
# [params.optimizer]
# type = "categorical"
# choices = ["adam", "sgd"]
#
# [params.momentum]
# type = "float"
# low = 0.5
# high = 0.99
# scale = "log1m"            # even on the scale of 1 - x: 0.9, 0.99, 0.999
# when = {{ param = "optimizer", eq = "sgd" }}
#
# [params.units]             # units[1] ... units[layers]
# type = "int"
# low = 16
# high = 256
# scale = "log"
# repeat = "layers"
#
# [[constraints]]
# forbid = {{ all = [{{ param = "optimizer", eq = "adam" }}, {{ param = "lr", gt = 0.01 }}] }}
"#,
        file = arguments.output.display(),
        json = serde_json::to_string(&arguments.metric)?,
        key = toml_key(&arguments.metric),
    ))
}

/// For a command that may report a curve.
const BUDGET: &str = r#"# [budget]                   # if the command reports a value after each step (epoch, tree, ...)
# max = 30                   # the largest step; lets hopeless trials be stopped early
# unit = "epoch"
"#;

/// For a command that asks how far to go.
const ASKED_BUDGET: &str = r#"[budget]                     # the command reports a value after each step (epoch, tree, ...)
max = 30                     # the largest step, and what {budget} stands for at most
unit = "epoch"
"#;

/// The parameters named in braces, each once, in order.
fn placeholders(command: &[String]) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for word in command {
        let bare = word.replace("{{", "").replace("}}", "");
        for part in bare.split('{').skip(1) {
            let Some((name, _)) = part.split_once('}') else {
                bail!("{word:?} has a brace without its partner")
            };
            if !PLACEHOLDERS.contains(&name) && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    if names.is_empty() {
        bail!("the command has no placeholder to tune; write {{name}} where a value goes, as in --lr {{lr}}");
    }
    Ok(names)
}

/// A first guess at a parameter from its name, to be edited.
fn parameter(name: &str) -> String {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let body = if has(&["momentum", "beta"]) {
        "type = \"float\"\nlow = 0.5\nhigh = 0.999\nscale = \"log1m\"       # even on the scale of 1 - x"
    } else if has(&["dropout", "fraction", "ratio", "subsample"]) {
        "type = \"float\"\nlow = 0.0\nhigh = 0.9"
    } else if has(&["batch", "units", "hidden", "width", "leaves", "estimators"]) {
        "type = \"int\"\nlow = 8\nhigh = 256\nscale = \"log\""
    } else if has(&["layer", "depth", "num", "min_", "max_", "size"]) {
        "type = \"int\"\nlow = 1\nhigh = 8"
    } else if has(&["optim", "activation", "kernel", "booster", "method", "mode"]) {
        "type = \"categorical\"\nchoices = [\"FIRST\", \"SECOND\"]"
    } else {
        "type = \"float\"\nlow = 1e-5\nhigh = 1e-1\nscale = \"log\"         # equal ratios count equally; \"linear\" is the default"
    };
    format!(
        "\n[params.{}]                # check this guess\n{body}\n# default = ...         # the value you use today, tried first\n",
        toml_key(name)
    )
}

fn toml_key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { name.to_owned() } else { toml_text(name) }
}

/// A TOML basic string; JSON's escapes are TOML's.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
