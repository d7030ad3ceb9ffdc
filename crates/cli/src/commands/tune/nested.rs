//! `luthier tune --nested`: an honest final number. Each outer fold is left out of a whole study of its own, whose winner is then measured on it.
//!
//! The studies lie beside each other in a folder, each with its log; what a winner scored on its fold is a note in that log. So a run that was
//! killed goes on where it was, and what is done is not done again. Nothing here chooses anything by the outer folds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use luthier::core::event::Wish;
use luthier::core::metric::CurveValue;
use luthier::core::space::Params;
use luthier::core::spec::{Limits, PolicySpec, Spec};
use luthier::core::study::Study;
use luthier::executor::{self, End, Options, Stop};
use luthier::log::MemoryLog;
use luthier::objective::command::{Command, CommandSpec, OuterFold, OuterPart};
use luthier::session::Session;
use luthier::study_file::ObjectiveSpec;
use serde_json::{Value, json};

use super::arguments::Arguments;
use super::ending::nested_continuation;
use super::ran::{Interrupts, Ran};
use crate::described::Kind;
use crate::interrupts::STOPPED;
use crate::opening::{BEST, is_log, log_beside, read_study_file};
use crate::page::on_stdout;
use crate::report::told_end;
use crate::report::{failure, number, params_words, safe};

/// The key of the note that tells what the winner of a study scored on its outer fold.
const NOTE: &str = "outer fold";

/// Tunes once for each outer fold, and tells what the winners scored on rows that their trials had not seen.
pub(super) fn run(
    arguments: &Arguments,
    folds: u16,
    interrupts: &mut Interrupts,
) -> anyhow::Result<ExitCode> {
    let folder = folder_of_studies(arguments)?;
    let begun = Instant::now();
    let mut found = Vec::with_capacity(usize::from(folds));
    for fold in 0..folds {
        let outer = OuterFold { fold, folds };
        announce(outer, arguments);
        let own = arguments.of_outer_fold(outer, &folder, begun.elapsed());
        std::fs::create_dir_all(&folder)?;
        let mut ran = Ran::new(&own, interrupts)?;
        if !matches!(ran.end, End::Done(_)) {
            return stopped(&ran.end, outer, arguments);
        }
        if ran.session.study().incumbent().is_some() {
            measure(&mut ran, outer, &interrupts.stop)?;
        }
        if interrupts.stop.is_asked() {
            return stopped(&End::Stopped, outer, arguments);
        }
        found.push(Fold::of(ran.session.study(), outer));
    }
    tell(&found, &folder, arguments)
}

/// Where the studies of the outer folds lie: beside the log that the study would have.
fn folder_of_studies(arguments: &Arguments) -> anyhow::Result<PathBuf> {
    if is_log(&arguments.file) {
        bail!(
            "--nested begins studies of its own: give it a study file, not the log {}",
            arguments.file.display()
        );
    }
    let log = match &arguments.study {
        Some(log) => log.clone(),
        None => log_beside(&arguments.file, &read_study_file(&arguments.file)?.spec.name),
    };
    Ok(log.with_extension("nested"))
}

fn announce(OuterFold { fold, folds }: OuterFold, arguments: &Arguments) {
    if arguments.json {
        println!("{}", json!({ "event": "outer_fold", "outer_fold": fold, "outer_folds": folds }));
    } else if !arguments.quiet {
        eprintln!("outer fold {fold} of {folds} is left out");
    }
}

fn stopped(end: &End, outer: OuterFold, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let again = nested_continuation(arguments)?;
    let why = match end {
        End::Limit => "the time is up".into(),
        other => told_end(other),
    };
    if arguments.json {
        println!(
            "{}",
            json!({ "event": "result", "ended": why, "outer_fold": outer.fold, "continue": again })
        );
    } else {
        println!("{why} at outer fold {} of {}\nto continue: {again}", outer.fold, outer.folds);
    }
    Ok(match end {
        End::Stopped => ExitCode::from(STOPPED),
        End::NotStarted { .. } => ExitCode::FAILURE,
        End::Done(_) | End::Limit => ExitCode::SUCCESS,
    })
}

/// Measures the winner on the outer fold, unless its log says that this has been done, and writes it down there.
fn measure(ran: &mut Ran, outer: OuterFold, stop: &Stop) -> anyhow::Result<()> {
    let study = ran.session.study();
    let Some(best) = study.incumbent() else { return Ok(()) };
    if noted(study).is_some() {
        return Ok(());
    }
    let scored = match (&ran.kind, &ran.objective) {
        (Kind::Network(network), _) => {
            let winner = network.save_best(study, &ran.folder, &ran.folder.join(BEST), true)?;
            Scored::Values(winner.held_out)
        }
        (Kind::Command(_), ObjectiveSpec::Command(command)) => {
            score_command(study, command, &study.params(best), ran, stop)?
        }
        (Kind::Command(_), ObjectiveSpec::Network(_)) => unreachable!("a command comes of a command's table"),
    };
    let values: serde_json::Map<String, Value> = match scored {
        Scored::Values(values) => values.into_iter().map(|(name, value)| (name, value.into())).collect(),
        Scored::Not(problem) => {
            eprintln!("the winner of outer fold {} could not be measured: {}", outer.fold, safe(&problem));
            return Ok(());
        }
        Scored::Interrupted => return Ok(()),
    };
    let note = json!({ "fold": outer.fold, "folds": outer.folds, "trial": best.number, "values": values });
    ran.session.turn(|turn| turn.note(None, NOTE, note))?;
    Ok(())
}

/// The values that the study's winner scored on its outer fold, as the log tells them.
fn noted(study: &Study) -> Option<Vec<(String, f64)>> {
    let best = study.incumbent()?.number;
    let is_it = |(trial, key, value): &&(Option<u32>, std::sync::Arc<str>, Value)| {
        trial.is_none() && **key == *NOTE && value["trial"] == best
    };
    let (.., value) = study.notes().iter().rev().find(is_it)?;
    let values = value["values"].as_object()?.iter();
    Some(values.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect())
}

/// What came of measuring a winner.
enum Scored {
    Values(Vec<(String, f64)>),
    Not(String),
    Interrupted,
}

/// Runs the command once more with the winner's params, trained on all rows but the outer fold's and scored on these: a study of one trial,
/// in memory, so that limits and interrupts hold as ever. Its last values count, for none is chosen by these rows.
fn score_command(
    study: &Study,
    command: &CommandSpec,
    params: &Params,
    ran: &Ran,
    stop: &Stop,
) -> anyhow::Result<Scored> {
    let mut spec = Spec {
        policy: PolicySpec::new("manual", "run_all"),
        limits: Limits { trials: Some(1), ..Limits::default() },
        space: study.space().clone(),
        replicates: 1,
        design: None,
        ..study.spec().clone()
    };
    spec.metrics.curve = CurveValue::Last;
    let command = Command::new(command.clone(), &spec.space, &spec.metrics, &ran.base)?;
    let objective = command.scoring_on(OuterPart::Test);
    let mut session = Session::create(Box::new(MemoryLog::new()), spec)?;
    session.turn(|turn| turn.enqueue(Wish { params: params.clone(), within: Vec::new() }))?;
    let options = Options { stop: stop.clone(), ..Options::new(ran.folder.join(NOTE.replace(' ', "-"))) };
    let end = executor::run(&mut session, &objective, &options, &mut |_, _| {})?;
    if let End::NotStarted { problem, .. } = end {
        return Ok(Scored::Not(problem.to_string()));
    }
    let study = session.study();
    let Some(trial) = study.trials().first() else { return Ok(Scored::Interrupted) };
    match trial.values() {
        Some(values) => {
            let names = study.metrics().objectives.iter().map(|metric| metric.name.to_string());
            Ok(Scored::Values(names.zip(values.iter().copied()).collect()))
        }
        None if !trial.is_finished() => Ok(Scored::Interrupted),
        None => Ok(Scored::Not(failure(trial))),
    }
}

/// What became of one outer fold.
struct Fold {
    number: u16,
    /// How many have been started; the winner is one of them.
    trials: usize,
    /// The winner's number, its value in the first objective as its trial said, and its params.
    winner: Option<(u32, f64, String, Params)>,
    /// What it scored on the outer fold.
    scores: Vec<(String, f64)>,
}

impl Fold {
    fn of(study: &Study, outer: OuterFold) -> Self {
        let winner = study.incumbent().and_then(|best| {
            Some((best.number, *best.values()?.first()?, params_words(study, best), study.params(best)))
        });
        let (number, trials) = (outer.fold, study.trials().len());
        Self { number, trials, winner, scores: noted(study).unwrap_or_default() }
    }

    fn score(&self, name: &str) -> Option<f64> {
        self.scores.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

/// A mean over outer folds, with the standard error of as many independent numbers.
fn mean(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt()))
}

/// Says what came of it, on standard output.
fn tell(folds: &[Fold], folder: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let read = read_study_file(&arguments.file)?;
    let objective = read.spec.metrics.objectives[0].name.to_string();
    let complete: Vec<&Fold> = folds.iter().filter(|fold| !fold.scores.is_empty()).collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in complete.iter().flat_map(|fold| &fold.scores) {
        if !names.contains(&&**name) {
            names.push(name);
        }
    }
    let over = |name: &str| complete.iter().filter_map(|fold| fold.score(name)).collect::<Vec<f64>>();
    let inner: Vec<f64> = folds.iter().filter_map(|fold| Some(fold.winner.as_ref()?.1)).collect();
    if arguments.json {
        let rows: Vec<Value> = folds.iter().map(row).collect();
        let means = names.iter().map(|name| {
            let (mean, error) = mean(&over(name));
            ((*name).to_owned(), json!({ "mean": mean, "standard_error": error }))
        });
        let inner = (!inner.is_empty()).then(|| mean(&inner).0);
        println!(
            "{}",
            json!({
                "event": "result",
                "outer_folds": rows,
                "held_out": means.collect::<serde_json::Map<String, Value>>(),
                "inner": { &*objective: inner },
                "folder": folder.display().to_string(),
            })
        );
    } else {
        let text = text(folds, &complete, &names, over, &objective, &inner, folder);
        print!("{}", on_stdout(&text));
    }
    Ok(if complete.len() == folds.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(fold: &Fold) -> Value {
    let winner = fold.winner.as_ref();
    json!({
        "outer_fold": fold.number,
        "trials": fold.trials,
        "trial": winner.map(|(trial, ..)| trial),
        "inner": winner.map(|(_, value, ..)| value),
        "params": winner.map(|(.., params)| params),
        "held_out": fold.scores.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<serde_json::Map<_, _>>(),
    })
}

fn text(
    folds: &[Fold],
    complete: &[&Fold],
    names: &[&str],
    over: impl Fn(&str) -> Vec<f64>,
    objective: &str,
    inner: &[f64],
    folder: &Path,
) -> String {
    let mut text = format!(
        "\nnested cross-validation, {} outer folds, each left out of a study of its own\n",
        folds.len()
    );
    for fold in folds {
        let scores: Vec<String> =
            fold.scores.iter().map(|(name, value)| format!("{} {}", safe(name), number(*value))).collect();
        let held_out = if scores.is_empty() { "not measured".into() } else { scores.join(", ") };
        match &fold.winner {
            Some((trial, value, params, _)) => text.push_str(&format!(
                "outer fold {}: {held_out}; trial {trial} of {}, {} {}  [{params}]\n",
                fold.number,
                fold.trials,
                safe(objective),
                number(*value)
            )),
            None => text.push_str(&format!(
                "outer fold {}: no trial of {} has completed\n",
                fold.number, fold.trials
            )),
        }
    }
    if !complete.is_empty() {
        text.push_str("\non rows that no trial has seen, mean and standard error over the outer folds:\n");
    }
    for name in names {
        let (mean, error) = mean(&over(name));
        let error = error.map(|error| format!(" ± {}", number(error))).unwrap_or_default();
        text.push_str(&format!("  {}  {}{error}\n", safe(name), number(mean)));
    }
    if !inner.is_empty() {
        let said = number(mean(inner).0);
        text.push_str(&format!("the winners' own trials had said {} {said} in the mean\n", safe(objective)));
    }
    if complete.len() < folds.len() {
        text.push_str(
            "not all outer folds were measured, so the mean is not that of nested cross-validation\n",
        );
    }
    text.push_str(&format!("studies  {}\n", folder.display()));
    text.push_str("the same command without --nested tunes on all rows, for the model to be used\n");
    text
}
