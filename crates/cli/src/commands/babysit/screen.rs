//! What a person sees who watches one model: a line for each report, what becomes of it, and the line they are typing.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use console::{measure_text_width, truncate_str};
use luthier::core::event::{Origin, Outcome};
use luthier::core::lineage::{goes_straight_on, losses};
use luthier::core::steering::standing;
use luthier::core::study::Study;
use luthier::core::trial::{Trial, TrialState};
use luthier::executor::Moment;
use luthier::objective::command::KnobsBy;
use luthier::session::named_values;

use super::command::Knobs;
use crate::lineage;
use crate::progress::why_failed;
use crate::report::{number, safe};

/// Metrics beside the objective in a report's line.
const MOST_OTHERS: usize = 2;
/// What stands before the line that is typed.
const PROMPT: &str = "> ";

/// Standard error, with a line at its bottom that somebody is typing; shared by whoever has something to say.
#[derive(Clone, Default)]
pub(super) struct Screen(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The line being typed; none where nobody types on a terminal.
    typed: Option<String>,
    is_quiet: bool,
    /// What is to be said after the next report.
    later: Vec<String>,
}

impl Screen {
    pub(super) fn new(is_quiet: bool) -> Self {
        Self(Arc::new(Mutex::new(State { is_quiet, ..State::default() })))
    }

    /// Says something once the report that is being written down has been told.
    pub(super) fn say_later(&self, text: String) {
        self.state().later.push(text);
    }

    fn say_what_waited(&self) {
        let later = std::mem::take(&mut self.state().later);
        for text in later {
            self.say(text);
        }
    }

    /// Says something, in lines above the one that is typed.
    pub(super) fn say(&self, text: impl Display) {
        let state = self.state();
        if state.is_quiet {
            return;
        }
        Self::write(&state, &text.to_string());
    }

    /// The line that is being typed, as it is now; none takes it away.
    pub(super) fn typing(&self, typed: Option<&str>) {
        let mut state = self.state();
        let was = state.typed.is_some();
        state.typed = typed.map(str::to_owned);
        if was || typed.is_some() {
            Self::write(&state, "");
        }
    }

    fn write(state: &State, text: &str) {
        let mut out = String::new();
        let is_drawn = std::io::stderr().is_terminal();
        if is_drawn {
            out.push_str("\r\x1b[K");
        }
        for line in text.lines() {
            out.push_str(line);
            out.push('\n');
        }
        if let Some(typed) = state.typed.as_ref().filter(|_| is_drawn) {
            let width = usize::from(console::Term::stderr().size().1).max(20) - 3;
            // Of a line that is too long the end is what is being typed.
            let skip = measure_text_width(typed).saturating_sub(width);
            out.push_str(PROMPT);
            out.extend(typed.chars().skip(skip));
        }
        let mut stderr = std::io::stderr().lock();
        // A terminal that is gone needs no telling.
        let _gone = stderr.write_all(out.as_bytes()).and_then(|()| stderr.flush());
    }

    /// Nothing that is done under this lock can leave it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells what happens to the model.
pub(super) struct Teller {
    screen: Screen,
    /// How many trials have been told of.
    told: usize,
    /// How often the model may go back by itself.
    rollbacks: u64,
    told_paused: bool,
    knobs: Arc<Knobs>,
    /// How a command hears of its knobs while it runs, if it does.
    knobs_by: Option<KnobsBy>,
    /// Knobs of which it has been said that the command says nothing about them.
    told_deaf: BTreeSet<String>,
}

impl Teller {
    pub(super) fn new(screen: Screen, study: &Study, knobs: Arc<Knobs>, knobs_by: Option<KnobsBy>) -> Self {
        let options = &study.spec().policy.scheduler.options;
        let rollbacks = options.get("rollbacks").and_then(serde_json::Value::as_u64).unwrap_or(0);
        Self {
            screen,
            told: study.trials().len(),
            rollbacks,
            told_paused: false,
            knobs,
            knobs_by,
            told_deaf: BTreeSet::new(),
        }
    }

    pub(super) fn tell(&mut self, study: &Study, moment: Moment) {
        for trial in &study.trials()[self.told..] {
            if let Some(text) = self.turn_of_events(study, trial) {
                self.screen.say(text);
            }
        }
        self.told = study.trials().len();
        match moment {
            Moment::Reported(work) => {
                if let Some(trial) = study.trial(work.trial) {
                    self.screen.say(report_line(study, trial, |name| self.knobs.is_knob(name), width()));
                    self.screen.say_what_waited();
                    self.tell_deafness(study, trial);
                }
            }
            Moment::Gone(_) => self.screen.say("another process has taken the model over"),
            Moment::Started(_) | Moment::Ended(_) | Moment::Idle => {}
        }
        self.tell_pause(study);
    }

    /// A command that takes knobs while it runs says in its reports which it uses; else nobody knows whether it heard. One that reads them
    /// from a file may do so a step late.
    fn tell_deafness(&mut self, study: &Study, trial: &Trial) {
        let ((Some(KnobsBy::Stdin), Some(_), [point]) | (Some(KnobsBy::File), Some(_), [_, point])) =
            (self.knobs_by, trial.parent, trial.curve())
        else {
            return;
        };
        let said = named_values(study, point);
        for (name, value) in study.params(trial).iter() {
            let Some(wanted) = value.as_f64() else { continue };
            let used = said.iter().find(|(said, _)| **said == *name).map(|(_, value)| *value);
            let is_heard = used.is_some_and(|used| (used - wanted).abs() <= 1e-9 * wanted.abs());
            if !is_heard && self.told_deaf.insert(name.to_owned()) {
                let name = safe(name);
                self.screen.say(match used {
                    Some(used) => format!("the command reports {name} {}, although it was told {value}", number(used)),
                    None => format!(
                        "the command does not say whether it took {name} {value}: its reports have no {name}; \
                         let it print {{\"step\": …, \"{name}\": …}}"
                    ),
                });
            }
        }
    }

    fn tell_pause(&mut self, study: &Study) {
        let is_idle = study.running().is_empty() && study.waiting().is_empty();
        let is_paused = is_idle && standing(study).is_some_and(|standing| standing.is_paused);
        if is_paused && !self.told_paused {
            let step = study.trials().last().map_or(0, Trial::step);
            let unit = safe(&study.metrics().step);
            self.screen.say(format!("paused at {unit} {step}; `go` goes on"));
        }
        self.told_paused = is_paused;
    }

    /// Why and how a model went on as another trial.
    fn turn_of_events(&self, study: &Study, trial: &Trial) -> Option<String> {
        let (parent, step) = trial.parent?;
        let (unit, number) = (safe(&study.metrics().step), trial.number);
        let changes = lineage::changes(study, trial);
        let place =
            if step == 0 { "at the beginning".into() } else { format!("at {unit} {step} of trial {parent}") };
        let as_then = || format!("all knobs as at {unit} {step}");
        let changes = if changes.is_empty() { as_then() } else { changes };
        let before = study.trials()[..trial.number as usize].last();
        if trial.origin != Origin::Scheduler {
            let moved = before.is_some_and(|before| before.number != parent || before.step() != step);
            return Some(if moved {
                format!("↩ trial {number} goes on {place}: {changes}")
            } else {
                format!("→ trial {number}, from {unit} {step} on: {changes}")
            });
        }
        let why = before.map(|before| reason(study, before)).unwrap_or_default();
        if goes_straight_on(study, trial) {
            return Some(format!("↓ {why}: trial {number}, from {unit} {step} on: {changes}"));
        }
        let went_back = |other: &&Trial| other.origin == Origin::Scheduler && !goes_straight_on(study, other);
        let count = study.trials()[..=trial.number as usize].iter().filter(went_back).count();
        let rollbacks = self.rollbacks;
        Some(format!(
            "↩ {why}: trial {number} goes on {place} with {changes} (rollback {count} of {rollbacks})"
        ))
    }
}

/// What a trial got into.
pub(super) fn reason(study: &Study, trial: &Trial) -> String {
    if let Some(Outcome::Failed { .. }) = trial.outcome() {
        return why_failed(study, trial);
    }
    lineage::in_its_unit(study, trial.piece(0).and_then(|piece| piece.why.as_deref()).unwrap_or_default())
}

/// `epoch 12  val_loss 0.18  best 0.17 at 11  train_loss 0.12 …  | learning_rate 0.01`.
fn report_line(study: &Study, trial: &Trial, is_knob: impl Fn(&str) -> bool, width: usize) -> String {
    let metrics = study.metrics();
    let Some(point) = trial.curve().last() else { return String::new() };
    let objective = &metrics.objectives[0];
    let values = named_values(study, point);
    let main = values.iter().find(|(name, _)| *name == objective.name).map_or(f64::NAN, |(_, value)| *value);
    let mut text =
        format!("{} {}  {} {}", safe(&metrics.step), point.step, safe(&objective.name), number(main));
    let best = losses(study, trial.number, point.step).into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((step, loss)) = best {
        text.push_str(&if step == point.step {
            "  the best".into()
        } else {
            format!("  best {} at {step}", number(objective.direction.turn(loss)))
        });
    }
    let params = study.params(trial);
    let is_other = |(name, _): &&(Arc<str>, f64)| *name != objective.name && params.get(name).is_none();
    let others = values.iter().filter(is_other).take(MOST_OTHERS);
    let others = others.map(|(name, value)| format!("{} {}", safe(name), number(*value))).collect();
    let told = |(name, value)| (lineage::word(name, value), weight(study, name, is_knob(name)));
    let knobs = params.iter().map(told).collect();
    if trial.state() == TrialState::Failed {
        text.push_str("  failed");
    }
    let shown = fitting(others, knobs, width.saturating_sub(measure_text_width(&text)));
    truncate_str(&(text + &shown), width.max(40), "…").into_owned()
}

/// How much it matters to see a param.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// A knob that somebody has turned.
    Turned,
    /// A knob that nobody has.
    Knob,
    /// What cannot change while the model trains.
    Fixed,
}

fn weight(study: &Study, name: &str, is_knob: bool) -> Weight {
    let value = |trial: &Trial| study.params(trial).get(name).cloned();
    let first = study.trials().first().and_then(value);
    match is_knob {
        true if study.trials().iter().any(|trial| value(trial) != first) => Weight::Turned,
        true => Weight::Knob,
        false => Weight::Fixed,
    }
}

/// Further metrics and params, as many as fit: knobs first, those before others that have been turned, then metrics, then what cannot
/// be turned; each wholly or not at all.
fn fitting(others: Vec<String>, params: Vec<(String, Weight)>, room: usize) -> String {
    let wide = |text: &String| measure_text_width(text) + 2;
    let knobs = params.iter().filter(|(_, weight)| *weight != Weight::Fixed);
    let is_short = knobs.map(|(text, _)| wide(text)).sum::<usize>() + 2 > room;
    // The bar before the params, and a sign where knobs are left out.
    let mut left = room.saturating_sub(if is_short { 5 } else { 2 });
    let mut take = |text: &String| {
        let fits = wide(text) <= left;
        left = if fits { left - wide(text) } else { 0 };
        fits
    };
    let mut is_shown = vec![false; params.len()];
    let mut choose = |weight: Weight, take: &mut dyn FnMut(&String) -> bool| {
        for (k, (text, _)) in params.iter().enumerate().filter(|(_, (_, own))| *own == weight) {
            is_shown[k] = take(text);
        }
    };
    choose(Weight::Turned, &mut take);
    choose(Weight::Knob, &mut take);
    let others: Vec<String> = others.into_iter().filter(|text| take(text)).collect();
    choose(Weight::Fixed, &mut take);
    let shown = params.into_iter().zip(is_shown).filter(|(_, is_shown)| *is_shown);
    let mut shown: Vec<String> = shown.map(|((text, _), _)| text).collect();
    shown.extend(is_short.then(|| "…".into()));
    let others = if others.is_empty() { String::new() } else { format!("  {}", others.join(" ")) };
    let shown = if shown.is_empty() { String::new() } else { format!("  | {}", shown.join(", ")) };
    others + &shown
}

/// Columns of the terminal; plenty where there is none.
fn width() -> usize {
    if std::io::stderr().is_terminal() {
        usize::from(console::Term::stderr().size().1).max(40) - 1
    } else {
        400
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_come_before_further_metrics_and_nothing_loses_its_number() {
        let others = || vec!["train_loss 0.096285".to_owned(), "val_accuracy 0.97214".into()];
        let knob = |text: &str| (text.to_owned(), Weight::Knob);
        let params =
            || vec![("units 32".to_owned(), Weight::Fixed), knob("learning_rate 0.003"), knob("dropout 0.2")];
        let shown = |room| fitting(others(), params(), room);
        let all = "  train_loss 0.096285 val_accuracy 0.97214  | units 32, learning_rate 0.003, dropout 0.2";
        assert_eq!(shown(400), all);
        assert_eq!(
            shown(80),
            "  train_loss 0.096285 val_accuracy 0.97214  | learning_rate 0.003, dropout 0.2"
        );
        assert_eq!(shown(60), "  train_loss 0.096285  | learning_rate 0.003, dropout 0.2");
        assert_eq!(shown(40), "  | learning_rate 0.003, dropout 0.2");
        assert_eq!(shown(30), "  | learning_rate 0.003, …");
        assert_eq!(shown(10), "  | …");
        let turned = vec![knob("learning_rate 0.003"), ("dropout 0.2".to_owned(), Weight::Turned)];
        assert_eq!(fitting(others(), turned, 30), "  | dropout 0.2, …");
        for room in 5..100 {
            assert!(measure_text_width(&shown(room)) <= room, "{room}: {}", shown(room));
        }
        assert_eq!(fitting(Vec::new(), Vec::new(), 40), "");
    }
}
