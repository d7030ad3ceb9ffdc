//! Lineages as text: which trials went on from which, and what changed there.

use std::path::Path;

use luthier::core::event::{Origin, Outcome};
use luthier::core::lineage::schedule;
use luthier::core::space::{Params, Value};
use luthier::core::study::Study;
use luthier::core::trial::Trial;

use crate::opening::quoted;
use crate::progress::why_failed;
use crate::report::{number, safe};

/// The trials of a study as a tree, each below the one whose checkpoint it began with.
pub(crate) fn tree(study: &Study) -> String {
    let mut rows = Vec::new();
    for trial in study.trials().iter().filter(|trial| trial.parent.is_none()) {
        grow(study, trial, "", "", &mut rows);
    }
    aligned(&rows)
}

/// A trial's row and those of its children; `lead` stands before its own, `below` before theirs.
fn grow(study: &Study, trial: &Trial, lead: &str, below: &str, rows: &mut Vec<[String; 4]>) {
    let value = last_value(study, trial).map_or_else(|| "-".into(), number);
    let metric = &study.metrics().objectives[0].name;
    rows.push([
        format!("{lead}trial {}", trial.number),
        format!("{} … {}", began(trial), trial.step()),
        format!("{} {value}", safe(metric)),
        told(study, trial),
    ]);
    let is_child = |other: &&Trial| other.parent.is_some_and(|(parent, _)| parent == trial.number);
    let children: Vec<&Trial> = study.trials().iter().filter(is_child).collect();
    for (k, child) in children.iter().enumerate() {
        let (corner, line) = match (children.len(), k + 1 == children.len()) {
            // Where nothing branches off a tree need not grow to the right.
            (1, _) => ("└ ", ""),
            (_, true) => ("└─ ", "   "),
            (_, false) => ("├─ ", "│  "),
        };
        grow(study, child, &format!("{below}{corner}"), &format!("{below}{line}"), rows);
    }
}

fn began(trial: &Trial) -> u64 {
    trial.parent.map_or(0, |(_, step)| step)
}

/// The last value of the first objective.
pub(crate) fn last_value(study: &Study, trial: &Trial) -> Option<f64> {
    let direction = study.metrics().objectives.first()?.direction;
    trial.piece(0)?.last_loss().map(|(_, loss)| direction.turn(loss))
}

/// What a trial began with that its parent had not, at whose word, and what became of it.
fn told(study: &Study, trial: &Trial) -> String {
    let changes = changes(study, trial);
    let who = match trial.origin {
        Origin::Steered => "you: ",
        Origin::Scheduler => "by itself: ",
        Origin::Sampler | Origin::Default | Origin::Enqueued | Origin::Fallback => "",
    };
    let step = trial.parent.map_or(0, |(_, step)| step);
    let as_then = || format!("all knobs as at {} {step}", safe(&study.metrics().step));
    let mut text = format!("{who}{}", if changes.is_empty() { as_then() } else { changes });
    let ended = ending(study, trial);
    if !ended.is_empty() {
        text.push_str(&format!("  → {ended}"));
    }
    text
}

/// The params that differ from those of the parent, or all of a trial without one.
pub(crate) fn changes(study: &Study, trial: &Trial) -> String {
    let before = trial.parent.and_then(|(parent, _)| study.trial(parent)).map(|parent| study.params(parent));
    let now = study.params(trial);
    let Some(before) = before else { return words(&now) };
    let differs = |(name, value): &(&str, &Value)| before.get(name) != Some(value);
    let mut changed: Vec<String> =
        now.iter().filter(differs).map(|(name, value)| word(name, value)).collect();
    let gone = before.iter().filter(|(name, _)| now.get(name).is_none());
    changed.extend(gone.map(|(name, _)| format!("{} as before it was turned", safe(name))));
    changed.join(", ")
}

/// `learning_rate 0.01, dropout 0.2`.
pub(crate) fn words(params: &Params) -> String {
    params.iter().map(|(name, value)| word(name, value)).collect::<Vec<_>>().join(", ")
}

/// `learning_rate 0.01`.
pub(crate) fn word(name: &str, value: &Value) -> String {
    format!("{} {}", safe(name), figure(value))
}

/// A value, with few digits.
pub(crate) fn figure(value: &Value) -> String {
    value.as_f64().filter(|x| x.fract() != 0.0).map_or_else(|| safe(&value.to_string()), number)
}

/// The best checkpoint, with its value, if it is better than the best trial has ended and does not lie on that trial's own line.
pub(crate) fn better_elsewhere(study: &Study) -> Option<(u32, u64, f64)> {
    let best = study.incumbent()?;
    let legs = schedule(study, best.number);
    let is_own = |trial: u32, step: u64| legs.iter().any(|leg| leg.trial == trial && step <= leg.to);
    let all = study.trials().iter().flat_map(|trial| {
        let at = |step: u64| trial.piece(0)?.loss_at(step);
        trial.pauses().iter().filter_map(move |step| Some((trial.number, *step, at(*step)?)))
    });
    let others = all.filter(|(trial, step, _)| !is_own(*trial, *step));
    let (trial, step, loss) = others.min_by(|a, b| a.2.total_cmp(&b.2))?;
    let direction = study.metrics().objectives.first()?.direction;
    (loss < best.loss(study.metrics(), 0)?).then(|| (trial, step, direction.turn(loss)))
}

/// What to know about the params of a trial whose model had others before; none if it had not.
pub(crate) fn note_on_params(study: &Study, trial: &Trial, log: &str) -> Option<String> {
    let legs = schedule(study, trial.number).len();
    let how = quoted(Path::new(log));
    (legs > 1).then(|| {
        format!(
            "these params are those of the last of {legs} legs; a schedule led to the best\n\
             to train along it: luthier replay {how}; to print it: luthier replay {how} --schedule"
        )
    })
}

/// How a trial ended, if there is something to say.
fn ending(study: &Study, trial: &Trial) -> String {
    let why = trial.piece(0).and_then(|piece| piece.why.as_deref()).unwrap_or_default();
    match trial.outcome() {
        Some(Outcome::Completed { .. }) => {
            let is_best = study.incumbent().is_some_and(|best| best.number == trial.number);
            if is_best { "completed, the best".into() } else { "completed".into() }
        }
        // What a user asked for stands at the trial that came of it.
        Some(Outcome::Replaced { .. }) if why.starts_with("asked") => String::new(),
        Some(Outcome::Replaced { .. }) => safe(why),
        Some(Outcome::Pruned) => format!("stopped: {}", safe(why)),
        Some(Outcome::Cancelled) => "cancelled".into(),
        Some(Outcome::Failed { .. }) => format!("failed: {}", why_failed(study, trial)),
        None => trial.state().name().into(),
    }
}

fn aligned(rows: &[[String; 4]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |[trial, steps, value, told]: &[String; 4]| {
        let [a, b, c] = widths;
        format!("{trial:a$}  {steps:b$}  {value:c$}  {told}\n")
    };
    rows.iter().map(line).collect()
}
