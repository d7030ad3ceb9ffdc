//! What commands print: trials, studies and tables, as text for people and JSON for machines.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use luthier::core::convergence::{self, Advice};
use luthier::core::engine::{Done, Engine};
use luthier::core::event::{Failure, Origin, Outcome};
use luthier::core::figures::about;
pub(crate) use luthier::core::figures::figure as number;
use luthier::core::metric::{CurveValue, Direction};
use luthier::core::steering::is_watched;
use luthier::core::study::{Incumbent, Study};
use luthier::core::trial::{CurvePoint, Estimate, Piece, Trial, TrialState};
use luthier::executor::End;
use luthier::replicates;
use luthier::session::named_values;
use luthier_nn::WinnerReport;
use luthier_nn::objective::Winner;
use serde_json::{Value, json};

/// Bars of a sparkline, low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A duration for people: `4.2 s`, `3 m 12 s`, `2 h 05 m`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=59 if seconds < 10.0 => format!("{seconds:.1} s"),
        0..=59 => format!("{whole} s"),
        60..=3599 => format!("{} m {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} m", whole / 3600, whole % 3600 / 60),
    }
}

/// Text that is safe on a terminal.
pub(crate) fn safe(text: &str) -> String {
    let is_risky = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if is_risky(c) { '\u{fffd}' } else { c }).collect()
}

/// A line of bars, one for each of at most `width` values.
pub(crate) fn sparkline(values: &[f64], width: usize) -> String {
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let (low, high) =
        finite.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let stride = finite.len().div_ceil(width.max(1)).max(1);
    let bar = |v: f64| {
        let share = if high > low { (v - low) / (high - low) } else { 0.5 };
        BARS[((share * 7.0).round() as usize).min(7)]
    };
    finite.chunks(stride).filter_map(|chunk| chunk.last()).map(|v| bar(*v)).collect()
}

/// `31 completed, 8 pruned, 1 failed`.
pub(crate) fn counts(study: &Study) -> String {
    counts_with(study, Open::of(study))
}

/// The same, where it is known already what the open trials are doing.
pub(crate) fn counts_with(study: &Study, open: Open) -> String {
    let tally = study.tally();
    let parts = [
        (tally.completed, "completed"),
        (tally.pruned, "pruned"),
        (tally.failed, "failed"),
        (tally.cancelled, "cancelled"),
        (open.running, "running"),
        (open.paused, "paused"),
    ];
    let shown: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if shown.is_empty() { "no trials".into() } else { shown.join(", ") }
}

/// Trials that have not finished, by what they are doing: each once, however many of its replicates do it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Open {
    pub(crate) running: u64,
    pub(crate) waiting: u64,
    pub(crate) paused: u64,
}

impl Open {
    pub(crate) fn of(study: &Study) -> Self {
        if study.spec().runs_once() {
            return Self {
                running: study.running().len() as u64,
                waiting: study.waiting().len() as u64,
                paused: study.paused().len() as u64,
            };
        }
        let works = [study.running(), study.waiting(), study.paused(), study.held()].into_iter().flatten();
        let numbers: BTreeSet<u32> = works.map(|work| work.trial).collect();
        let mut open = Self::default();
        for trial in numbers.into_iter().filter_map(|number| study.trial(number)) {
            match trial.state() {
                TrialState::Running => open.running += 1,
                TrialState::Waiting => open.waiting += 1,
                TrialState::Paused => open.paused += 1,
                // It has finished, and is measured again.
                _ => {}
            }
        }
        open
    }
}

/// One line about a study as it is now.
pub(crate) fn line(study: &Study) -> String {
    let best = match study.incumbent() {
        Some(best) => format!("best {} (trial {})", objective_values(study, best), best.number),
        None => "no result yet".into(),
    };
    format!("{}; {best}", counts(study))
}

/// `val_loss 0.0471`.
pub(crate) fn objective_values(study: &Study, trial: &Trial) -> String {
    let names = study.metrics().objectives.iter();
    let shown = names
        .zip(trial.values().unwrap_or_default())
        .map(|(m, v)| format!("{} {}", safe(&m.name), number(*v)));
    shown.collect::<Vec<_>>().join(", ")
}

/// `breaks over by 0.21`: which of the metrics' constraints a trial breaks; none where it breaks none.
pub(crate) fn broken(study: &Study, trial: &Trial) -> Option<String> {
    let excess = study.excess(trial);
    let broken = study.metrics().constraints.iter().zip(excess).filter(|(_, excess)| *excess > 0.0);
    let told: Vec<String> =
        broken.map(|(name, excess)| format!("{} by {}", safe(name), number(excess))).collect();
    (!told.is_empty()).then(|| format!("breaks {}", told.join(" and ")))
}

/// The trials that no other beats in all metrics, the best by the first metric first; none where there is one metric.
pub(crate) fn front(study: &Study) -> Option<Vec<&Trial>> {
    (study.metrics().objectives.len() > 1).then(|| study.best_first(study.pareto_front()))
}

/// `best by loss; 7 of 20 completed trials are beaten by no other in all metrics`; none where there is one metric.
pub(crate) fn front_line(study: &Study) -> Option<String> {
    let [first, _, ..] = &study.metrics().objectives[..] else { return None };
    let (front, completed) = (study.pareto_front().len(), study.tally().completed);
    let told = match front {
        0 => format!("none of {completed} completed trials keeps the constraints"),
        1 => format!("1 of {completed} completed trials beats or equals all others in every metric"),
        _ => format!("{front} of {completed} completed trials are beaten by no other in all metrics"),
    };
    Some(format!("best by {}; {told}", safe(&first.name)))
}

/// The other metrics' means over the replicates that completed, of each at the step that its value stands for; while none has, the
/// first's last report. A metric that some of them did not tell has no mean beside the objective's.
pub(crate) fn other_values(study: &Study, trial: &Trial) -> Vec<(Arc<str>, f64)> {
    let completed = trial.replicates().filter_map(|(_, piece)| Some((piece, piece_value(piece)?)));
    let mut points: Vec<_> =
        completed.filter_map(|(piece, value)| counted_point(study, piece, value)).collect();
    if points.is_empty() {
        points.extend(trial.curve().last());
    }
    let Some(first) = points.first() else { return Vec::new() };
    let mean = |name: &str| -> Option<f64> {
        let told: Option<Vec<f64>> = points.iter().map(|point| study.curve_value(point, name)).collect();
        told.map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    let names = named_values(study, first).into_iter().map(|(name, _)| name);
    let others = names.filter(|name| study.metrics().objective(name).is_none());
    others.filter_map(|name| mean(&name).map(|mean| (name, mean))).collect()
}

/// The first objective's value of a replicate that completed.
fn piece_value(piece: &Piece) -> Option<f64> {
    match &piece.outcome {
        Some(Outcome::Completed { values }) => values.first().copied(),
        _ => None,
    }
}

/// What a trial told of each of the metrics' constraints, in their order.
pub(crate) fn constraint_values(study: &Study, trial: &Trial) -> Vec<Option<f64>> {
    let constraints = &study.metrics().constraints;
    if constraints.is_empty() {
        return Vec::new();
    }
    let told = other_values(study, trial);
    let value = |name| told.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
    constraints.iter().map(value).collect()
}

/// The report that a value stands for: the first or the last that told it, as the metrics say, else the last of the curve.
fn counted_point<'a>(study: &Study, piece: &'a Piece, value: f64) -> Option<&'a CurvePoint> {
    let name = &study.metrics().objectives.first()?.name;
    let points = piece.before.as_deref().into_iter().chain(&piece.curve);
    let mut told = points.filter(|point| study.curve_value(point, name) == Some(value));
    let counted = match study.metrics().curve {
        CurveValue::Best => told.next(),
        CurveValue::Last => told.next_back(),
    };
    counted.or(piece.curve.last())
}

/// Who chose a trial's params, and by which arm where it has several.
fn chooser(trial: &Trial) -> String {
    match &trial.by {
        Some(choice) => format!("{}'s arm {}", origin(trial), safe(&choice.arm)),
        None => origin(trial).into(),
    }
}

/// Who chose a trial's params, in a word.
pub(crate) fn origin(trial: &Trial) -> &'static str {
    match trial.origin {
        Origin::Sampler => "sampler",
        Origin::Default => "default",
        Origin::Enqueued => "enqueued",
        Origin::Fallback => "fallback",
        Origin::Scheduler => "scheduler",
        Origin::Steered => "steered",
    }
}

/// Where a trial comes from and who took its place; empty for one that began by itself and ended so.
fn descent(study: &Study, trial: &Trial) -> String {
    let mut text = String::new();
    if let Some((parent, step)) = trial.parent {
        text.push_str(&format!("goes on from trial {parent} at {} {step}\n", safe(&study.metrics().step)));
    }
    if let Some(by) = trial.replaced_by() {
        text.push_str(&format!("made way for trial {by}\n"));
    }
    text
}

/// An error about a file, with its name in front where it does not name the file itself.
pub(crate) fn about_file(
    error: impl std::error::Error + Send + Sync + 'static,
    path: &Path,
) -> anyhow::Error {
    let name = path.display().to_string();
    if error.to_string().contains(&name) { error.into() } else { anyhow::Error::new(error).context(name) }
}

/// Why a trial failed, in one line; empty if it did not.
pub(crate) fn failure(trial: &Trial) -> String {
    match trial.outcome() {
        Some(Outcome::Failed { reason, .. }) => reason.to_string(),
        _ => String::new(),
    }
}

/// The same, with the last line that the program printed where that may say more; safe on a terminal.
pub(crate) fn failure_line(trial: &Trial) -> String {
    let mut text = safe(&failure(trial));
    if let Some(Outcome::Failed { reason: Failure::ExitCode { .. } | Failure::Signal { .. }, detail }) =
        trial.outcome()
        && let Some(last) = detail.lines().map(str::trim).rfind(|line| !line.is_empty())
    {
        text.push_str(&format!(": {}", console::truncate_str(&safe(last), LAST_WORDS, "…")));
    }
    text
}

/// Columns that a program's last words may take in one line with other things.
const LAST_WORDS: usize = 120;

/// What is said of a trial whose params an edit of the space has left behind.
const OUTSIDE: &str = "outside the space as it is now";

/// The best trial, its params one a line.
pub(crate) fn best_block(study: &Study, best: &Trial) -> String {
    let mut text = format!("trial {}: {}\n", best.number, objective_values(study, best));
    text.extend(broken(study, best).map(|broken| format!("  {broken}; no trial keeps all constraints\n")));
    if best.outside {
        text.push_str(&format!("  {OUTSIDE}\n"));
    }
    text.push_str(&params_block(study, best));
    text.push_str(&estimate_lines(study, best));
    text
}

/// Params, one a line, names aligned.
pub(crate) fn params_block(study: &Study, trial: &Trial) -> String {
    let params = study.params(trial);
    let width = params.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    params.iter().fold(String::new(), |mut text, (name, value)| {
        let value =
            value.as_f64().filter(|x| x.fract() != 0.0).map_or_else(|| safe(&value.to_string()), number);
        let _infallible = writeln!(text, "  {:width$}  {value}", safe(name));
        text
    })
}

/// Params in one line, numbers shortened.
pub(crate) fn params_words(study: &Study, trial: &Trial) -> String {
    let short = |value: &luthier::core::space::Value| match value.as_f64() {
        Some(x) if x.fract() != 0.0 => number(x),
        Some(_) | None => safe(&value.to_string()),
    };
    let params = study.params(trial);
    params
        .iter()
        .map(|(name, value)| format!("{}={}", safe(name), short(value)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// One trial with all there is to know.
pub(crate) fn trial_block(study: &Study, trial: &Trial) -> String {
    let mut text =
        format!("trial {} ({}, params by {})\n", trial.number, trial.state().name(), chooser(trial));
    text.push_str(&descent(study, trial));
    text.push_str(&params_block(study, trial));
    if trial.values().is_some() {
        text.push_str(&format!("{}\n", objective_values(study, trial)));
    }
    for (name, value) in other_values(study, trial) {
        text.push_str(&format!("{} {}\n", safe(&name), number(value)));
    }
    text.extend(broken(study, trial).map(|broken| format!("{broken}: a constraint wants 0 or less\n")));
    if trial.outside {
        text.push_str(&format!("{OUTSIDE}\n"));
    }
    let steps = (trial.step() > 0).then(|| format!("{} in ", many(trial.step(), &study.metrics().step)));
    text.push_str(&format!("{}{}\n", steps.unwrap_or_default(), duration(trial.seconds())));
    text.push_str(&replicates_block(study, trial));
    for (work, piece) in trial.pieces() {
        let losses: Vec<f64> = piece.curve.iter().map(|point| point.loss).collect();
        let turned: Vec<f64> = losses.iter().map(|loss| direction(study).turn(*loss)).collect();
        let bars = sparkline(&turned, 60);
        if !bars.is_empty() {
            text.push_str(&format!("curve {}  {bars}\n", work.replicate));
        }
    }
    text.push_str(&failure_block(study, trial));
    text.extend(why_stopped(trial).map(|why| format!("stopped: {}\n", safe(why))));
    for (_, key, value) in study.notes().iter().filter(|(number, ..)| *number == Some(trial.number)) {
        text.push_str(&format!("note {}: {}\n", safe(key), safe(&value.to_string())));
    }
    text
}

/// Why a scheduler stopped a trial, if one did.
pub(crate) fn why_stopped(trial: &Trial) -> Option<&str> {
    let mut whys = trial.pieces().filter_map(|(_, piece)| piece.why.as_deref());
    whys.find(|why| trial.state() == TrialState::Pruned && !why.is_empty())
}

/// What each replicate of a trial came to, their mean with its standard error, and what measuring it again said; empty where a
/// trial is run once.
fn replicates_block(study: &Study, trial: &Trial) -> String {
    if study.spec().runs_once() {
        return String::new();
    }
    let mut text = String::new();
    for (work, piece) in trial.pieces() {
        let said = match &piece.outcome {
            Some(Outcome::Completed { values }) => {
                values.iter().copied().map(number).collect::<Vec<_>>().join(", ")
            }
            Some(Outcome::Failed { .. }) => "failed".into(),
            Some(_) | None if piece.attempt == 0 => continue,
            Some(_) => "stopped".into(),
            None => format!("at {} {}", safe(&study.metrics().step), piece.step()),
        };
        text.push_str(&format!("{}  {said}\n", replicate_name(study, work.replicate)));
    }
    text.push_str(&estimate_lines(study, trial));
    text
}

/// A share of a mean below which its error is of the arithmetic and not of the replicates.
const ROUNDING: f64 = 1e-13;

/// `fold 2 of 5, seed 1`.
pub(crate) fn replicate_name(study: &Study, replicate: u16) -> String {
    let Some(design) = study.spec().design else { return format!("replicate {replicate}") };
    let place = design.place(replicate);
    let seed = place.seed.unwrap_or(0);
    let again = if seed >= design.seeds { ", measured again" } else { "" };
    match (design.folds, design.seeds + design.confirm) {
        (1, _) => format!("seed {seed}{again}"),
        (folds, 1) => format!("fold {} of {folds}", place.fold),
        (folds, _) => format!("fold {} of {folds}, seed {seed}{again}", place.fold),
    }
}

/// The mean over replicates with its standard error, and what measuring again said; empty where a trial is run once.
pub(crate) fn estimate_lines(study: &Study, trial: &Trial) -> String {
    let mut text = String::new();
    for (k, metric) in study.metrics().objectives.iter().enumerate() {
        let told = |estimate: &Estimate| {
            let mean = number(metric.direction.turn(estimate.mean));
            let doubt = match estimate.error {
                error if error.is_nan() => String::new(),
                // What rounding leaves of replicates that are all the same.
                error if error < ROUNDING * estimate.mean.abs() => " ± 0".into(),
                error => format!(" ± {}", number(error)),
            };
            format!("{mean}{doubt}")
        };
        let counted = |count: u16| many(count.into(), "replicate");
        if let Some(estimate) = trial.estimate(k) {
            let (name, told, count) = (safe(&metric.name), told(estimate), estimate.replicates);
            text.push_str(&if count < study.spec().replicates {
                format!(
                    "mean {name}, estimated from {count} of {}  {told}\n",
                    counted(study.spec().replicates)
                )
            } else {
                format!("mean {name}  {told} ({})\n", counted(count))
            });
        }
        if let Some(again) = study.measured_again(trial, k) {
            text.push_str(&format!(
                "measured again, by what did not choose it: {}  {} ({})\n",
                safe(&metric.name),
                told(&again),
                counted(again.replicates)
            ));
        }
    }
    text
}

/// Why a trial failed, with the last lines it printed and, where that may help, what to do; empty if it did not.
pub(crate) fn failure_block(study: &Study, trial: &Trial) -> String {
    let Some(Outcome::Failed { reason, detail }) = trial.outcome() else { return String::new() };
    let mut text = format!("failed: {}\n", safe(&reason.to_string()));
    for line in detail.lines() {
        text.push_str(&format!("  | {}\n", safe(line)));
    }
    let command = &study.spec().objective["command"];
    let reads_lines =
        command.is_object() && command.get("pattern").is_none() && command.get("result").is_none();
    // A value of the curve would do, so the program has come to an end that it did not tell.
    let has_curve = trial.piece(0).is_some_and(|piece| piece.last_loss().is_some());
    if let Some(metric) = untold_constraint(study, reason) {
        text.push_str(&format!(
            "  `feasible` names {}, so every trial has to tell it: 0 or less where it keeps within bounds\n",
            safe(metric)
        ));
    } else if let (Failure::NoResult { .. }, true) = (reason, has_curve) {
        text.push_str(
            "  started again, it printed nothing: a program that goes on from a checkpoint prints the line of that step first,\n  \
             if it is beyond LUTHIER_STEP, the last one that was written down\n",
        );
    } else if let (Failure::NoResult { metric }, true) = (reason, was_on_stderr(trial)) {
        text.push_str(&format!(
            "  it printed {} on standard error; lines of JSON are read from standard output, and a pattern under [command] from both\n",
            safe(metric)
        ));
    } else if let (Failure::NoResult { metric }, Some(said)) = (reason, said_instead(study, trial)) {
        text.push_str(&format!(
            "  it printed {said}, but no {}: `name` under [metric] has to be a name that the command prints\n",
            safe(metric)
        ));
    } else if let (Failure::NoResult { metric }, true) = (reason, reads_lines) {
        let line = json!({ &**metric: 0.41 });
        text.push_str(&format!(
            "  the command has to print a line such as {line} on standard output,\n  \
             or the study file names a pattern or a result file under [command]\n"
        ));
        if detail.lines().any(|line| line.trim_start().starts_with("{'")) {
            text.push_str("  (a printed dictionary of Python is not JSON; json.dumps(...) makes it so)\n");
        }
    }
    text
}

/// The constraint on metrics of which a trial told no value.
fn untold_constraint<'a>(study: &Study, reason: &'a Failure) -> Option<&'a str> {
    match reason {
        Failure::NoResult { metric } if study.metrics().constraints.contains(metric) => Some(metric),
        _ => None,
    }
}

/// The names of the metrics that a trial without its objective told instead, in its curve or in the last lines that are known of it.
pub(crate) fn said_instead(study: &Study, trial: &Trial) -> Option<String> {
    let Some(Outcome::Failed { reason: Failure::NoResult { .. }, detail }) = trial.outcome() else {
        return None;
    };
    let curve = trial.curve().last().map(|point| named_values(study, point)).unwrap_or_default();
    let mut names: Vec<String> = curve.iter().map(|(name, _)| safe(name)).collect();
    names.extend(numbers_in(detail).map(|name| safe(&name)).filter(|name| name != "step"));
    names.retain(|name| study.metrics().objective(name).is_none());
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    (!names.is_empty()).then(|| names.join(", "))
}

/// Whether a trial without its objective printed just that where it is not looked for: last lines with a value are those of standard error.
pub(crate) fn was_on_stderr(trial: &Trial) -> bool {
    let Some(Outcome::Failed { reason: Failure::NoResult { metric }, detail }) = trial.outcome() else {
        return false;
    };
    numbers_in(detail).any(|name| *name == **metric)
}

/// The names of numbers in lines of JSON.
fn numbers_in(text: &str) -> impl Iterator<Item = String> {
    let objects =
        text.lines().filter_map(|line| serde_json::from_str::<serde_json::Map<String, Value>>(line).ok());
    objects.flatten().filter(|(_, value)| value.is_number()).map(|(name, _)| name)
}

/// `1 epoch`, `7 epochs`; a unit that has its plural already, or is none that has one, stays as it is.
pub(crate) fn many(count: u64, unit: &str) -> String {
    let unit = safe(unit);
    let ending = match &*unit {
        _ if count == 1 => "",
        text if text.ends_with(['s', '%']) || text.contains("percent") || text.contains("per cent") => "",
        text if text.ends_with("batch") => "es",
        _ => "s",
    };
    format!("{count} {unit}{ending}")
}

/// What all trials together have taken: `2.5 s of work, 507 epochs`; the seconds alone where nothing is told of steps.
pub(crate) fn cost(study: &Study) -> String {
    let tally = study.tally();
    let steps = (tally.steps > 0).then(|| format!(", {}", many(tally.steps, &study.metrics().step)));
    format!("{} of work{}", duration(tally.seconds), steps.unwrap_or_default())
}

fn direction(study: &Study) -> Direction {
    study.metrics().objectives.first().map_or(Direction::Minimize, |metric| metric.direction)
}

/// A study at a glance.
pub(crate) fn study_block(study: &Study, place: &str) -> String {
    let spec = study.spec();
    let mut text = format!("{} ({place})\n", safe(&spec.name));
    text.push_str(&format!(
        "{} + {}, seed {}\n",
        spec.policy.sampler.name, spec.policy.scheduler.name, spec.seed
    ));
    let is_used_up = Engine::new(study).and_then(|mut engine| engine.is_exhausted(study)).unwrap_or(false);
    let next = if is_used_up {
        Some("nothing: every point of the space has been tried".into())
    } else {
        plan(study)
    };
    text.extend(next.map(|next| format!("next: {next}\n")));
    text.push_str(&format!("{}\n", counts(study)));
    text.push_str(&format!("{}\n", cost(study)));
    if let Some(best) = study.incumbent() {
        text.push_str("best ");
        text.push_str(&best_block(study, best));
        text.extend(front_line(study).map(|front| format!("front       {front}\n")));
        let bars = trajectory(study, 60);
        if !bars.is_empty() {
            text.push_str(&format!("trajectory  {bars}\n"));
        }
    }
    let advice = advice(study).filter(|_| !is_used_up);
    text.extend(advice.map(|advice| format!("advice      {}\n", advice_line(study, &advice))));
    let verdict = study.spec().limits.converged.and_then(|rule| convergence::verdict(study, &rule));
    text.extend(verdict.map(|verdict| format!("converged   {verdict}\n")));
    let last_failed = study.trials().iter().rev().find(|trial| trial.state() == TrialState::Failed);
    if let Some(trial) = last_failed {
        text.push_str(&format!("last failure: trial {}, {}\n", trial.number, failure_line(trial)));
    }
    text
}

/// The chance that more trials gain more, by the study's own rule or the usual one.
pub(crate) fn advice(study: &Study) -> Option<Advice> {
    // More trials of one model that is watched are nobody's plan.
    if is_watched(study) {
        return None;
    }
    told_advice(convergence::advice(study, &study.spec().limits.converged.unwrap_or_default()))
}

/// The advice, unless there is nothing to measure a gain by: all results are equal so far.
pub(crate) fn told_advice(advice: Option<Advice>) -> Option<Advice> {
    advice.filter(|advice| advice.epsilon > 0.0 || advice.progress > 0.0)
}

/// `another 50 trials: 12 % chance to gain over 0.0021 (1 % of the gain so far); ten times the trials: about 0.01`.
pub(crate) fn advice_line(study: &Study, advice: &Advice) -> String {
    let what = match &*study.metrics().objectives {
        [_] => "",
        _ => " of hypervolume",
    };
    format!("{advice}; ten times the trials would gain about {}{what}", about(advice.regret))
}

/// What the sampler would do next and why, where its name does not say it all.
fn plan(study: &Study) -> Option<String> {
    Engine::new(study).and_then(|mut engine| engine.explain(study)).ok().flatten()
}

/// What is known about the winner of a study of networks.
pub(crate) fn winner_block(winner: &Winner) -> String {
    let mut text = winner_text(&winner.report);
    if winner.report.anew.is_none() {
        text.push_str(&held_out(&winner.held_out));
    }
    if let Some(model) = &winner.model {
        text.push_str(&format!("model  {}\n", model.display()));
    }
    text
}

/// The report on a winner, with the one measurement of its last training.
pub(crate) fn winner_text(report: &WinnerReport) -> String {
    let values = report.anew.as_ref().map_or(String::new(), |anew| held_out(&anew.held_out));
    format!("{}\n{values}", report.to_string().trim_end())
}

fn held_out(values: &[(String, f64)]) -> String {
    values.iter().map(|(name, value)| format!("held-out test {name}  {}\n", number(*value))).collect()
}

/// The same for machines. What is known about single examples is in the model's folder only.
pub(crate) fn winner_json(report: &WinnerReport) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(report)?;
    if let Some(consistency) = value.pointer_mut("/quality/consistency").and_then(Value::as_object_mut) {
        consistency.remove("examples");
    }
    Ok(value)
}

/// The best value after each finished trial that had one, as a sparkline; of trials that keep the metrics' constraints.
pub(crate) fn trajectory(study: &Study, width: usize) -> String {
    let direction = direction(study);
    let total = study.tally().finished().max(1);
    let keeps =
        |change: &&Incumbent| study.trial(change.trial).is_some_and(|trial| study.violation(trial) <= 0.0);
    let changes: Vec<&Incumbent> = study.trajectory().iter().filter(keeps).collect();
    let at = |finished: u64| changes.iter().rev().find(|change| change.finished <= finished).map(|c| c.loss);
    let columns = (width as u64).min(total);
    let values: Vec<f64> = (1..=columns)
        .filter_map(|column| at(column * total / columns))
        .map(|loss| direction.turn(loss))
        .collect();
    sparkline(&values, width)
}

/// Behind a value that breaks a constraint.
pub(crate) const BREAKS: &str = " !";

/// A table of trials.
pub(crate) fn table(study: &Study, trials: &[&Trial]) -> String {
    let parameters = study.space().parameters();
    let unit = safe(&study.metrics().step);
    let has_steps = trials.iter().any(|trial| trial.step() > 0);
    let mut header: Vec<String> = vec!["trial".into(), "state".into()];
    header.extend(has_steps.then_some(unit));
    header.extend(study.metrics().objectives.iter().map(|metric| safe(&metric.name)));
    header.extend(study.metrics().constraints.iter().map(|name| safe(name)));
    header.extend(parameters.iter().map(|parameter| safe(&parameter.name)));
    let mut rows = vec![header];
    for trial in trials {
        let params = study.params(trial);
        let mut row = vec![trial.number.to_string(), trial.state().name().into()];
        row.extend(has_steps.then(|| trial.step().to_string()));
        // What a trial without a final value had come to stands in brackets: what its replicates lead to expect, or its curve.
        let values = trial.values().map(<[f64]>::to_vec);
        let reached = trial.piece(0).and_then(|piece| study.curve_values(piece, u64::MAX).ok());
        let objectives = study.metrics().objectives.iter().enumerate();
        row.extend(objectives.map(|(k, metric)| match (&values, trial.estimate(k), &reached) {
            (Some(values), ..) => number(values[k]),
            (None, Some(estimate), _) => format!("({})", number(metric.direction.turn(estimate.mean))),
            (None, None, Some(reached)) => format!("({})", number(reached[k])),
            (None, None, None) => "-".into(),
        }));
        let kept = constraint_values(study, trial).into_iter().zip(study.excess(trial));
        row.extend(kept.map(|(value, excess)| {
            let mark = if excess > 0.0 { BREAKS } else { "" };
            value.map_or_else(|| "-".into(), |value| format!("{}{mark}", number(value)))
        }));
        row.extend(parameters.iter().map(|p| match params.get(&p.name) {
            Some(value) => value.as_f64().map_or_else(|| safe(&value.to_string()), number),
            None => "-".into(),
        }));
        rows.push(row);
    }
    aligned(&rows)
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0)).collect();
    rows.iter().fold(String::new(), |mut text, row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        text
    })
}

/// One trial for machines.
pub(crate) fn trial_json(study: &Study, trial: &Trial) -> Value {
    let values: serde_json::Map<String, Value> = study
        .metrics()
        .objectives
        .iter()
        .zip(trial.values().unwrap_or_default())
        .map(|(metric, value)| (metric.name.to_string(), json!(value)))
        .collect();
    // A trial that is run once has but one curve.
    let curves = (!study.spec().runs_once()).then(|| -> Vec<Value> {
        let told = trial.pieces().filter(|(_, piece)| !piece.curve.is_empty());
        told.map(
            |(work, piece)| json!({ "replicate": work.replicate, "curve": curve_json(study, &piece.curve) }),
        )
        .collect()
    });
    let failure: Option<(&Failure, &str)> = match trial.outcome() {
        Some(Outcome::Failed { reason, detail }) => Some((reason, detail)),
        _ => None,
    };
    json!({
        "trial": trial.number,
        "state": trial.state().name(),
        "origin": origin(trial),
        "arm": trial.by.as_ref().map(|choice| &*choice.arm),
        "parent": trial.parent.map(|(parent, step)| json!({ "trial": parent, "step": step })),
        "replaced_by": trial.replaced_by(),
        "params": study.params(trial),
        "values": values,
        "violation": study.violation(trial),
        "outside": trial.outside,
        "step": trial.step(),
        "stopped": why_stopped(trial),
        "seconds": trial.seconds(),
        "replicates": replicates::told(study, trial),
        "failure": failure.map(|(reason, detail)| json!({ "reason": reason, "text": reason.to_string(), "detail": detail })),
        "curve": curve_json(study, trial.curve()),
        "curves": curves,
    })
}

fn curve_json(study: &Study, curve: &[CurvePoint]) -> Vec<Value> {
    let row = |point: &CurvePoint| {
        let values = named_values(study, point).into_iter();
        let mut row: serde_json::Map<String, Value> =
            values.map(|(name, value)| (name.to_string(), json!(value))).collect();
        row.insert("step".into(), json!(point.step));
        Value::Object(row)
    };
    curve.iter().map(row).collect()
}

/// A study for machines.
pub(crate) fn study_json(study: &Study, place: &str) -> Value {
    let (tally, open) = (study.tally(), Open::of(study));
    json!({
        "name": study.spec().name,
        "place": place,
        "policy": study.spec().policy,
        "trials_by_state": {
            "completed": tally.completed,
            "pruned": tally.pruned,
            "failed": tally.failed,
            "cancelled": tally.cancelled,
            "running": open.running,
            "waiting": open.waiting,
            "paused": open.paused,
        },
        "seconds": tally.seconds,
        "steps": tally.steps,
        "best": study.incumbent().map(|best| trial_json(study, best)),
        "front": front(study).map(|front| front.iter().map(|trial| trial.number).collect::<Vec<_>>()),
        "advice": advice(study),
        "converged": study.spec().limits.converged.and_then(|rule| convergence::verdict(study, &rule)).map(|verdict| verdict.to_string()),
        "trajectory": study.trajectory().iter().map(|change| json!({
            "finished": change.finished,
            "seconds": change.seconds,
            "trial": change.trial,
            "value": direction(study).turn(change.loss),
        })).collect::<Vec<_>>(),
    })
}

/// Why a run ended.
pub(crate) fn told_end(end: &End) -> String {
    match end {
        End::Done(Done::Converged(verdict)) => format!("stopped: {verdict}"),
        End::Done(done) => format!("ended because {done}"),
        End::Stopped => "stopped by you".into(),
        End::Limit => "ended because the time is up".into(),
        End::NotStarted { trial, problem } => {
            let problem = safe(problem);
            format!("stopped: trial {trial} could not be started and waits to be: {problem}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_a_plural() {
        let told = |count, unit| many(count, unit);
        assert_eq!((told(1, "epoch"), told(0, "epoch")), ("1 epoch".into(), "0 epochs".into()));
        for (unit, text) in [("seconds", "9 seconds"), ("batch", "9 batches"), ("percent", "9 percent")] {
            assert_eq!(told(9, unit), text);
        }
    }

    #[test]
    fn durations_read_well() {
        for (seconds, text) in [(0.25, "0.2 s"), (42.4, "42 s"), (192.0, "3 m 12 s"), (7500.0, "2 h 05 m")] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn sparklines_span_their_values() {
        assert_eq!(sparkline(&[0.0, 0.5, 1.0], 10), "▁▅█");
        assert_eq!(sparkline(&[], 10), "");
        assert_eq!(sparkline(&[2.0, 2.0], 10), "▅▅");
        assert_eq!(sparkline(&[0.0; 100], 10).chars().count(), 10);
    }

    #[test]
    fn terminals_are_safe_from_names() {
        assert_eq!(safe("a\u{1b}[31mb\u{202e}"), "a\u{fffd}[31mb\u{fffd}");
    }
}
