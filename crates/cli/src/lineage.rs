//! Lineages as text: which trials went on from which, and what changed there.

use std::path::Path;

use luthier::core::event::{Origin, Outcome};
use luthier::core::lineage::schedule;
use luthier::core::space::{Params, Value};
use luthier::core::study::Study;
use luthier::core::trial::Trial;

use crate::opening::quoted;
use crate::page::folded;
use crate::progress::why_failed;
use crate::report::{number, safe};

/// The trials of a study as a tree, each below the one whose checkpoint it began with; what is told of each is folded at this width, if
/// there is one.
pub(crate) fn tree(study: &Study, width: Option<usize>) -> String {
    let mut rows = Vec::new();
    for trial in study.trials().iter().filter(|trial| trial.parent.is_none()) {
        grow(study, trial, "", "", &mut rows);
    }
    aligned(&rows, width)
}

/// What a rule says, with steps called as the study calls them.
pub(crate) fn in_its_unit(study: &Study, why: &str) -> String {
    safe(&why.replace(" at step ", &format!(" at {} ", study.metrics().step)))
}

/// A line of the tree.
struct Row {
    /// The trial, its steps and its value.
    cells: [String; 3],
    told: String,
    /// What is drawn in front of further lines about it.
    below: String,
}

/// A trial's row and those of its children; `lead` stands before its own, `below` before theirs.
fn grow(study: &Study, trial: &Trial, lead: &str, below: &str, rows: &mut Vec<Row>) {
    let value = last_value(study, trial).map_or_else(|| "-".into(), number);
    let metric = &study.metrics().objectives[0].name;
    let is_child = |other: &&Trial| other.parent.is_some_and(|(parent, _)| parent == trial.number);
    let children: Vec<&Trial> = study.trials().iter().filter(is_child).collect();
    rows.push(Row {
        cells: [
            format!("{lead}trial {}", trial.number),
            format!("{} … {}", began(trial), trial.step()),
            format!("{} {value}", safe(metric)),
        ],
        told: told(study, trial),
        below: if children.len() > 1 { format!("{below}│") } else { below.into() },
    });
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
    let has_condition = |name: &str| {
        let index = study.space().find(name);
        index.is_some_and(|index| study.space().parameters()[index].when.is_some())
    };
    let without = |name| {
        if has_condition(name) {
            format!("no {}", safe(name))
        } else {
            format!("{} as before it was turned", safe(name))
        }
    };
    changed.extend(gone.map(|(name, _)| without(name)));
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
        Some(Outcome::Replaced { .. }) => in_its_unit(study, why),
        Some(Outcome::Pruned) => format!("stopped: {}", in_its_unit(study, why)),
        Some(Outcome::Cancelled) => "cancelled".into(),
        Some(Outcome::Failed { .. }) => format!("failed: {}", why_failed(study, trial)),
        None => trial.state().name().into(),
    }
}

fn aligned(rows: &[Row], width: Option<usize>) -> String {
    let widest = |column: usize| rows.iter().map(|row| row.cells[column].chars().count()).max().unwrap_or(0);
    let [a, b, c] = [widest(0), widest(1), widest(2)];
    let mut text = String::new();
    for Row { cells: [trial, steps, value], told, below } in rows {
        let front = format!("{trial:a$}  {steps:b$}  {value:c$}  ");
        let room = width.map_or(usize::MAX, |width| width.saturating_sub(a + b + c + 6).max(LEAST_TOLD));
        let mut lines = folded("", told, room).into_iter();
        text.push_str(&format!("{front}{}\n", lines.next().unwrap_or_default()));
        for line in lines {
            text.push_str(&format!("{below:a$}  {:b$}  {:c$}  {line}\n", "", ""));
        }
    }
    text
}

/// Columns that what is told of a trial has at least.
const LEAST_TOLD: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_folded_beside_the_drawing() {
        let row = |trial: &str, told: &str, below: &str| Row {
            cells: [trial.into(), "0 … 8".into(), "loss 1".into()],
            told: told.into(),
            below: below.into(),
        };
        let rows = [
            row("trial 0", "lr 0.1", "│"),
            row("├─ trial 1", "lr 5  → 64 at step 14 is worse than 7", "│  "),
        ];
        let narrow = "trial 0     0 … 8  loss 1  lr 0.1\n\
                      ├─ trial 1  0 … 8  loss 1  lr 5  → 64 at\n\
                      │                          step 14 is worse\n\
                      │                          than 7\n";
        assert_eq!(aligned(&rows, Some(42)), narrow);
        assert_eq!(aligned(&rows, None).lines().count(), 2);
    }
}
