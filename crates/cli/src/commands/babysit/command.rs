//! What can be said to a model that is watched: lines of words in, wishes in the study's log out.

use anyhow::{Context, bail};
use luthier::core::event::{SpaceEdit, Steer};
use luthier::core::lineage::{checkpoints, schedule};
use luthier::core::space::{Parameter, Params, Space, Value};
use luthier::core::steering::{RATES, Standing, present, standing, told};
use luthier::core::study::Study;
use luthier::core::trial::{Trial, TrialState};
use luthier::session::{SessionError, Turn};
use luthier_nn::Settings;
use luthier_nn::objective::{NetworkError, knob};
use serde_json::json;

use crate::lineage;
use crate::page::stderr_width;
use crate::report::safe;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Another value for a knob.
    Turn {
        name: String,
        to: Amount,
    },
    Pause,
    Go,
    /// Back along the model's own line: to this step, or to the checkpoint before the one it stands at.
    Back(Option<u64>),
    /// To any trial's checkpoint.
    Branch {
        trial: u32,
        step: u64,
    },
    Stop,
    Show(View),
}

/// How a knob is turned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Amount {
    To(Value),
    Times(f64),
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Tree,
    Schedule,
    Knobs,
    Help,
}

/// A command that waits for a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cue {
    pub(crate) step: u64,
    pub(crate) command: Command,
}

/// A line as it may be typed, or stand in a script.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    Now(Command),
    Later(Cue),
}

pub(crate) const HELP: &str = "\
lr 0.01          turn a knob; `lr *0.5` and `lr /2` multiply
back 12          go back to the checkpoint of step 12 of this line, with its knobs; `back` alone: to the one before
branch 3@20      go on from what trial 3 had at step 20
pause, go        stand still, go on
stop             be done: no further step, and what is there counts
knobs, tree, schedule, help
at step 40: …    the same when step 40 is reached
keys while the line is empty: space pauses and goes on, ↑ ↓ turn the learning rate by a fifth, ← goes back
";

/// Reads one line; none if it is empty or a comment.
pub(crate) fn parse(text: &str) -> anyhow::Result<Option<Line>> {
    let text = text.split('#').next().unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(None);
    }
    let Some(rest) = text.strip_prefix("at ") else { return Ok(Some(Line::Now(command(text)?))) };
    let how = || format!("{text:?} is not understood; write `at step 40: lr *0.5`");
    let (step, rest) = rest.split_once(':').with_context(how)?;
    let step: Option<u64> = step.trim().rsplit(' ').next().unwrap_or_default().parse().ok();
    let step = step.with_context(how)?;
    if step == 0 {
        bail!(
            "{text:?}: steps begin at 1; what is to hold from the start is set in the study file, or with --set"
        );
    }
    Ok(Some(Line::Later(Cue { step, command: command(rest.trim())? })))
}

/// Reads a script: one line for each command that waits for a step.
pub(crate) fn script(text: &str) -> anyhow::Result<Vec<Cue>> {
    let mut cues = Vec::new();
    for (k, line) in text.lines().enumerate() {
        match parse(line).with_context(|| format!("line {} of the script", k + 1))? {
            Some(Line::Later(cue)) => cues.push(cue),
            Some(Line::Now(_)) => {
                bail!("line {} of the script does not say when; write `at step 40: {}`", k + 1, line.trim())
            }
            None => {}
        }
    }
    Ok(cues)
}

fn command(text: &str) -> anyhow::Result<Command> {
    let words: Vec<&str> = text.split([' ', '\t', '=']).filter(|word| !word.is_empty()).collect();
    let whole = |word: &str, what: &str| -> anyhow::Result<u64> {
        word.parse().ok().with_context(|| format!("{word:?} is not {what}"))
    };
    Ok(match words.as_slice() {
        ["pause"] => Command::Pause,
        ["go"] => Command::Go,
        ["stop"] => Command::Stop,
        ["tree"] => Command::Show(View::Tree),
        ["schedule"] => Command::Show(View::Schedule),
        ["knobs"] => Command::Show(View::Knobs),
        ["help" | "?"] => Command::Show(View::Help),
        ["back"] => Command::Back(None),
        ["back", step] => Command::Back(Some(whole(step, "a step")?)),
        ["branch", from] => {
            let (trial, step) = from.split_once('@').context("write trial@step, such as `branch 3@20`")?;
            let trial = u32::try_from(whole(trial, "a trial's number")?).context("there is no such trial")?;
            Command::Branch { trial, step: whole(step, "a step")? }
        }
        [name, amount] => Command::Turn { name: (*name).into(), to: amount_of(amount)? },
        [name, "*", factor] => Command::Turn { name: (*name).into(), to: amount_of(&format!("*{factor}"))? },
        [name, "/", factor] => Command::Turn { name: (*name).into(), to: amount_of(&format!("/{factor}"))? },
        _ => bail!(
            "{text:?} is not understood; a knob and its value, such as `lr 0.01`, or one of: pause, go, back, branch, stop, knobs, tree, schedule, help"
        ),
    })
}

fn amount_of(text: &str) -> anyhow::Result<Amount> {
    let factor = |text: &str| {
        let factor = text.trim().parse::<f64>().ok().filter(|factor| factor.is_finite() && *factor > 0.0);
        factor.with_context(|| format!("{text:?} is no factor; write a number above 0, such as `lr *0.5`"))
    };
    match (text.strip_prefix('*'), text.strip_prefix('/')) {
        (Some(times), _) => Ok(Amount::Times(factor(times)?)),
        (None, Some(by)) => Ok(Amount::Times(1.0 / factor(by)?)),
        (None, None) if is_no_number(text) => bail!("{text:?} is no number that a knob can have"),
        (None, None) => Ok(Amount::To(Value::parse(text))),
    }
}

/// Whether a text is a number that is none, or larger than numbers can be. A choice may well be called `inf`.
fn is_no_number(text: &str) -> bool {
    let has_digit = text.contains(|c: char| c.is_ascii_digit());
    text.parse::<f64>().is_ok_and(|x| x.is_nan() || (x.is_infinite() && has_digit))
}

/// What the knobs of a study are: its parameters, and for a network all its settings that can change.
pub(crate) struct Knobs {
    /// The settings of the network that params are laid over; none for a command.
    pub(crate) network: Option<Settings>,
}

impl Knobs {
    /// Carries a command out, and says what it did or why it cannot be done; nothing is written then.
    pub(crate) fn carry_out(&self, turn: &mut Turn<'_>, command: &Command) -> Result<String, SessionError> {
        let done = match command {
            Command::Turn { name, to } => self.turn(turn, name, to),
            Command::Pause => steer(turn, Steer::Pause),
            Command::Go => steer(turn, Steer::Go),
            Command::Stop => steer(turn, Steer::Stop),
            Command::Back(to) => back(turn.study(), *to).and_then(|steer_to| steer(turn, steer_to)),
            Command::Branch { trial, step } => steer(turn, Steer::Back { trial: *trial, step: *step }),
            Command::Show(view) => Ok(self.show(turn.study(), *view)),
        };
        match done {
            Ok(text) => Ok(text),
            // What a user asked for and cannot have is no reason to end anything.
            Err(error) => match error.downcast::<SessionError>() {
                Ok(SessionError::Steer(problem)) => Ok(format!("not done: {problem}")),
                Ok(SessionError::Space(problem)) => Ok(format!("not done: {problem}")),
                Ok(other) => Err(other),
                Err(problem) => Ok(format!("not done: {problem:#}")),
            },
        }
    }

    fn turn(&self, turn: &mut Turn<'_>, name: &str, to: &Amount) -> anyhow::Result<String> {
        let study = turn.study();
        let now = standing(study).context("the model has not begun to train")?;
        let (parameter, is_new) = self.parameter(study, name)?;
        let before =
            study.space().decode(&now.point).get(&parameter.name).cloned().or(parameter.default.clone());
        let value = amount(&parameter, before.as_ref(), to)?;
        parameter
            .distribution
            .encode(&value)
            .map_err(|problem| anyhow::anyhow!("{}: {problem}", parameter.name))?;
        if is_new {
            turn.change_space(SpaceEdit::Add(parameter.clone()))?;
        }
        turn.steer(Steer::Turn(Params::new().with(&parameter.name, value.clone())))?;
        let was = before.map_or_else(String::new, |before| format!("{} → ", lineage::figure(&before)));
        let when = when(turn.study(), &now);
        Ok(format!("{} {was}{}{when}", safe(&parameter.name), lineage::figure(&value)))
    }

    /// The parameter that a name means, and whether the space does not know it yet.
    fn parameter(&self, study: &Study, name: &str) -> anyhow::Result<(Parameter, bool)> {
        let space = study.space();
        let found = named(space, name).or_else(|| lowered(study).filter(|_| RATES.contains(&name)));
        let found = found.map(|index| space.parameters()[index].clone());
        match (&self.network, found) {
            (Some(_), Some(parameter)) if !Settings::may_change(&parameter.name).unwrap_or(true) => {
                bail!("{} cannot change while a network trains; `knobs` lists what can", parameter.name)
            }
            (_, Some(parameter)) => Ok((parameter, false)),
            (Some(settings), None) => match knob(settings, name) {
                Ok(parameter) => Ok((parameter, true)),
                Err(NetworkError::NoKnob { name, .. }) => {
                    bail!("{name} cannot change while a network trains; `knobs` lists what can")
                }
                Err(NetworkError::Settings(_)) => {
                    bail!("there is no knob {name:?}; `knobs` lists what there is")
                }
                Err(other) => Err(other.into()),
            },
            (None, None) => {
                let names: Vec<&str> = space.parameters().iter().map(|p| &*p.name).collect();
                bail!("there is no knob {name:?}; there are {}", names.join(", "))
            }
        }
    }

    /// The answer to a question.
    pub(crate) fn show(&self, study: &Study, view: View) -> String {
        let text = match view {
            View::Help => HELP.to_owned(),
            View::Tree => lineage::tree(study, stderr_width()),
            View::Schedule => legs(study),
            View::Knobs => self.knobs(study),
        };
        text.trim_end().to_owned()
    }

    /// Whether what is called so can be turned while the model trains.
    pub(super) fn is_knob(&self, name: &str) -> bool {
        self.network.is_none() || Settings::may_change(name).unwrap_or(true)
    }

    fn knobs(&self, study: &Study) -> String {
        let Some(now) = standing(study) else { return "the model has not begun to train".into() };
        let params = study.space().decode(&now.point);
        let (mut text, mut fixed) = (String::new(), Params::new());
        for (name, value) in params.iter() {
            if self.is_knob(name) {
                let range = study
                    .space()
                    .find(name)
                    .map(|k| range(&study.space().parameters()[k]))
                    .unwrap_or_default();
                text.push_str(&format!("{}  {value}{range}\n", safe(name)));
            } else {
                fixed.set(name, value.clone());
            }
        }
        if !fixed.is_empty() {
            text.push_str(&format!("fixed: {}\n", lineage::words(&fixed)));
        }
        if let Some(settings) = &self.network {
            let others =
                Settings::names().filter(|name| self.is_knob(name) && study.space().find(name).is_none());
            let others = others.filter(|name| knob(settings, name).is_ok());
            text.push_str(&format!("more knobs: {}\n", others.collect::<Vec<_>>().join(", ")));
        }
        text
    }
}

/// The place of the parameter that a name means: one called so, one with the name that this is short for, or `lr` or `eta` for the learning
/// rate.
pub(super) fn named(space: &Space, name: &str) -> Option<usize> {
    let known = |name: &str| space.find(name).filter(|index| !space.parameters()[*index].retired);
    let full = Settings::full_name(name).ok();
    let full = full.as_deref();
    let rates = if full == Some(RATES[0]) { RATES.as_slice() } else { &[] };
    known(name).or_else(|| known(full?)).or_else(|| rates.iter().find_map(|rate| known(rate)))
}

/// What going back lowers, where the rules name it.
pub(super) fn lowered(study: &Study) -> Option<usize> {
    study.space().find(study.spec().policy.scheduler.options.get("lower")?.as_str()?)
}

fn range(parameter: &Parameter) -> String {
    use luthier::core::space::Distribution;
    match &parameter.distribution {
        Distribution::Float { low, high, .. } => {
            format!("  ({} … {})", Value::Float(*low), Value::Float(*high))
        }
        Distribution::Int { low, high, .. } => format!("  ({low} … {high})"),
        Distribution::Categorical { choices: values } | Distribution::Ordinal { levels: values } => {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            format!("  ({})", values.join(", "))
        }
    }
}

/// When a wish takes effect.
fn when(study: &Study, now: &Standing) -> String {
    let unit = &study.metrics().step;
    let options = &study.spec().policy.scheduler.options;
    if options.get("at_once") == Some(&false.into()) {
        let interval = options.get("interval").and_then(serde_json::Value::as_u64).unwrap_or(1).max(1);
        let next = |trial: &Trial| match trial.state() {
            TrialState::Paused => trial.step(),
            _ => (trial.step() / interval + 1) * interval,
        };
        let from = now.back.map(|(_, step)| step).or_else(|| study.trials().last().map(next));
        return format!(" from the checkpoint of {} {} on", safe(unit), from.unwrap_or(0));
    }
    if now.is_paused { " when it goes on".into() } else { format!(" from the next {} on", safe(unit)) }
}

fn steer(turn: &mut Turn<'_>, wish: Steer) -> anyhow::Result<String> {
    let unit = safe(&turn.study().metrics().step);
    let text = told(&wish, &unit);
    turn.steer(wish.clone())?;
    Ok(match wish {
        Steer::Pause => format!("pausing at the end of this {unit}; `go` goes on"),
        Steer::Go => "going on".into(),
        Steer::Stop if present(turn.study()).is_some_and(Trial::is_finished) => {
            "done: the model as it is counts".into()
        }
        Steer::Stop => format!("done at the end of this {unit}"),
        Steer::Back { .. } | Steer::Turn(_) => format!("going {text}"),
    })
}

/// The wish to go back along the model's own line.
fn back(study: &Study, to: Option<u64>) -> anyhow::Result<Steer> {
    let trial = study.trials().last().context("the model has not begun to train")?.number;
    let now = standing(study).and_then(|standing| standing.back);
    let (trial, at) = now.map_or((trial, u64::MAX), |(trial, step)| (trial, step));
    let known: Vec<(u32, u64)> =
        checkpoints(study, trial).into_iter().filter(|(_, step)| *step <= at).collect();
    let here = study.trial(trial).map_or(0, luthier::core::trial::Trial::step).min(at);
    let found = match to {
        Some(0) => Some((trial, 0)),
        Some(to) => known.iter().copied().find(|(_, step)| *step == to),
        None => Some(known.iter().copied().find(|(_, step)| *step < here).unwrap_or((trial, 0))),
    };
    let Some((trial, step)) = found else {
        let mut steps: Vec<u64> = known.iter().map(|(_, step)| *step).collect();
        steps.reverse();
        bail!(
            "there is no checkpoint of step {} on this line; there are 0 (the beginning) and {}",
            to.unwrap_or(0),
            ranges(&steps)
        )
    };
    Ok(Steer::Back { trial, step })
}

/// `1 … 12, 15, 20`.
fn ranges(steps: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &step in steps {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == step => *last = step,
            _ => runs.push((step, step)),
        }
    }
    let told = |(first, last): &(u64, u64)| {
        if first == last { first.to_string() } else { format!("{first} … {last}") }
    };
    if runs.is_empty() { "no other".into() } else { runs.iter().map(told).collect::<Vec<_>>().join(", ") }
}

fn amount(parameter: &Parameter, before: Option<&Value>, to: &Amount) -> anyhow::Result<Value> {
    let factor = match to {
        Amount::To(value) => return Ok(value.clone()),
        Amount::Times(factor) => *factor,
    };
    let name = &parameter.name;
    match before {
        Some(Value::Int(whole)) => Ok(Value::Int((*whole as f64 * factor).round() as i64)),
        // 0.1 times 3 is 0.3 to whoever typed it.
        Some(Value::Float(x)) => {
            Ok(Value::Float(format!("{:.14e}", x * factor).parse().unwrap_or(x * factor)))
        }
        Some(value @ (Value::Bool(_) | Value::Text(_))) => {
            bail!("{name} is {value}, which cannot be multiplied; give a value")
        }
        None => bail!("{name} has no value yet; give one"),
    }
}

/// The schedule of the model as it stands, as JSON.
fn legs(study: &Study) -> String {
    let Some(trial) = study.trials().last() else { return "the model has not begun to train".into() };
    json!(schedule(study, trial.number)).to_string()
}
