//! One model watched while it trains: it goes back to a checkpoint with a lower learning rate when it fails, its loss leaps up,
//! or its loss does not come down again; on a plateau it goes on with a lower learning rate, if it is to; and it does what users
//! ask by [`Steer`](crate::event::Steer).
//!
//! Whoever goes back, and whoever has a knob turned, is a new trial that begins with a checkpoint (decision 0013). A line is a
//! model from its beginning on; a study may have several.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::plateau::Plateau;
use super::{Allowance, Assignment, Scheduler, Verdict, figure, run_to_end};
use crate::event::{Failure, Origin, Outcome, Work};
use crate::lineage::{checkpoints, goes_straight_on, losses};
use crate::memo::Memo;
use crate::metric::{DEVIATION_BY_MEDIAN, median};
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::space::{Params, Point};
use crate::spec::Spec;
use crate::steering::{RATES, in_force, is_single, present, standing, turned};
use crate::study::Study;
use crate::trial::{Trial, TrialState};

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "babysit",
    summary: "a trial that diverges goes back to a checkpoint and on with a lower learning rate; knobs can be turned by hand",
    options: &[
        OptionDoc { name: "interval", doc: "steps between two checkpoints; from 1, default 1" },
        OptionDoc {
            name: "spike",
            doc: "trouble is a loss above the median of the last `window` reports by more than so many robust standard \
                  deviations of its noise, and than so many twentieths of that median; above 0, default 10, null: never",
        },
        OptionDoc {
            name: "patience",
            doc: "trouble is also when so many reports in a row lie so far above the best time; from 1, default 5, null: never",
        },
        OptionDoc { name: "window", doc: "reports that a loss is compared with; from 3, default 10" },
        OptionDoc {
            name: "rollbacks",
            doc: "how often a model goes back by itself before it is stopped; default 5, 0: never",
        },
        OptionDoc {
            name: "lower",
            doc: "the parameter that is lowered; default the first of learning_rate, lr, eta that there is",
        },
        OptionDoc {
            name: "factor",
            doc: "what the value that led into trouble is multiplied by; above 0, at most 1, default 0.5",
        },
        OptionDoc {
            name: "plateau",
            doc: "so many reports in a row without a gain, and the model goes on from there with a lower learning rate; from 1, \
                  default null: never",
        },
        OptionDoc {
            name: "plateau_factor",
            doc: "what `lower` is multiplied by on a plateau; above 0, below 1, default 0.1",
        },
        OptionDoc {
            name: "plateau_threshold",
            doc: "a loss gains if it is below the best by more than this share of that; from 0, below 1, default 0.0001",
        },
        OptionDoc {
            name: "plateau_cooldown",
            doc: "reports after a turn of a knob that are not counted towards a plateau; default 0",
        },
        OptionDoc {
            name: "plateau_min",
            doc: "a plateau lowers `lower` no further than to this, and never out of its range; from 0, default 0",
        },
        OptionDoc {
            name: "at_once",
            doc: "whether a trial pauses at once when something is to be decided (default true), or only after its interval, \
                  as suits a program that may run on while it is told",
        },
        OptionDoc {
            name: "keep",
            doc: "how many of its newest checkpoints each trial keeps to go back to; from 1, default all",
        },
    ],
    build: |options| {
        let (babysit, complete) = configure::<Babysit>(options)?;
        babysit.check_options()?;
        Ok((Box::new(babysit), complete))
    },
};

/// Reports that a loss is compared with, at least.
const FEWEST: usize = 3;
/// A robust standard deviation counts as no less than this share of the level it is taken around.
const FLOOR: f64 = 0.05;

/// The first objective is what is watched. A trial pauses after each interval, and where something is to be decided.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Babysit {
    interval: u64,
    spike: Option<f64>,
    patience: Option<usize>,
    window: usize,
    rollbacks: u64,
    lower: Option<Arc<str>>,
    factor: f64,
    plateau: Option<usize>,
    plateau_factor: f64,
    plateau_threshold: f64,
    plateau_cooldown: usize,
    plateau_min: f64,
    at_once: bool,
    keep: Option<usize>,
}

impl Default for Babysit {
    fn default() -> Self {
        Self {
            interval: 1,
            spike: Some(10.0),
            patience: Some(5),
            window: 10,
            rollbacks: 5,
            lower: None,
            factor: 0.5,
            plateau: None,
            plateau_factor: 0.1,
            plateau_threshold: 1e-4,
            plateau_cooldown: 0,
            plateau_min: 0.0,
            at_once: true,
            keep: None,
        }
    }
}

/// What is wrong with a model.
struct Trouble {
    /// Up to this step all was well.
    well_until: u64,
    why: String,
}

/// A loss that gains no more, and what is done about it.
struct Standstill {
    point: Point,
    why: String,
}

/// What becomes of a line.
enum Course {
    /// It goes on.
    On(Work),
    /// It goes on as another trial.
    Back { from: (u32, u64), point: Point, why: String, by: Origin },
    /// A worker has it, or it is paused by a user.
    Busy,
    /// It is done.
    Over,
}

/// Which trials follow each other: a fold of the trials that the present policy has started.
#[derive(Default)]
struct Ledger {
    from: u32,
    begun: bool,
    line_of: Vec<usize>,
    lines: Vec<Vec<u32>>,
}

impl Ledger {
    fn advance(&mut self, study: &Study) {
        if !self.begun || self.from != study.scheduler_from() {
            *self = Self { from: study.scheduler_from(), begun: true, ..Self::default() };
        }
        for trial in &study.trials()[self.from as usize + self.line_of.len()..] {
            let follows = matches!(trial.origin, Origin::Scheduler | Origin::Steered);
            let parent = trial.parent.filter(|_| follows).and_then(|(parent, _)| self.line(parent));
            let line = parent.unwrap_or(self.lines.len());
            if line == self.lines.len() {
                self.lines.push(Vec::new());
            }
            self.lines[line].push(trial.number);
            self.line_of.push(line);
        }
    }

    /// The line of a trial.
    fn line(&self, trial: u32) -> Option<usize> {
        self.line_of.get(trial.checked_sub(self.from)? as usize).copied()
    }
}

impl Babysit {
    fn check_options(&self) -> Result<(), String> {
        if self.interval == 0 {
            return Err(
                "interval = 0, but a model has to train between checkpoints: give a number of steps from 1"
                    .into(),
            );
        }
        if let Some(spike) = self.spike.filter(|spike| !(spike.is_finite() && *spike > 0.0)) {
            return Err(format!(
                "spike = {spike} is no number of standard deviations: give one above 0, or null for none"
            ));
        }
        if self.patience == Some(0) {
            return Err("patience = 0 would stop everything at once: give a number of reports from 1, or null for none".into());
        }
        if self.window < FEWEST {
            return Err(format!(
                "window = {} is too few reports to compare with: give at least {FEWEST}",
                self.window
            ));
        }
        if !(self.factor > 0.0 && self.factor <= 1.0) {
            return Err(format!(
                "factor = {} lowers nothing: give a number above 0 and at most 1",
                self.factor
            ));
        }
        if self.keep == Some(0) {
            return Err("keep = 0 leaves nothing to go back to: give a number from 1, or null for all".into());
        }
        self.check_plateau()
    }

    fn check_plateau(&self) -> Result<(), String> {
        if self.plateau == Some(0) {
            return Err("plateau = 0 would lower the learning rate at every report: give a number of reports from 1, or null for never".into());
        }
        let is_share = |share: f64| (0.0..1.0).contains(&share);
        if !(is_share(self.plateau_factor) && self.plateau_factor > 0.0) {
            return Err(format!(
                "plateau_factor = {} lowers nothing: give a number above 0 and below 1",
                self.plateau_factor
            ));
        }
        if !is_share(self.plateau_threshold) {
            return Err(format!(
                "plateau_threshold = {} is no share of a loss: give a number from 0 and below 1",
                self.plateau_threshold
            ));
        }
        if !(self.plateau_min >= 0.0 && self.plateau_min.is_finite()) {
            return Err(format!(
                "plateau_min = {} is no bound of a learning rate: give a number from 0",
                self.plateau_min
            ));
        }
        Ok(())
    }

    /// The next pause after `step`; beyond the largest step there is none.
    fn end_after(&self, study: &Study, step: u64) -> u64 {
        let max = study.spec().max_budget.unwrap_or(u64::MAX);
        (step / self.interval + 1).saturating_mul(self.interval).min(max)
    }

    /// The place in the space of what is lowered.
    fn lowered(&self, study: &Study) -> Option<usize> {
        match &self.lower {
            Some(name) => study.space().find(name),
            None => RATES.iter().find_map(|name| study.space().find(name)),
        }
    }

    /// What is wrong with a trial by its latest report, or by how it failed.
    fn trouble(&self, study: &Study, trial: &Trial) -> Option<Trouble> {
        let step = trial.step();
        if let Some(Outcome::Failed { reason, .. }) = trial.outcome() {
            let has_trained = trial.parent.is_some() || !trial.curve().is_empty();
            return is_of_training(reason, has_trained)
                .then(|| Trouble { well_until: step, why: reason.to_string() });
        }
        if self.spike.is_none() && self.patience.is_none() {
            return None;
        }
        let curve = losses(study, trial.number, study.latest_report(Work::of(trial.number))?);
        self.leap(study, &curve).or_else(|| self.no_return(study, &curve))
    }

    /// The last loss lies far above those just before it.
    fn leap(&self, study: &Study, curve: &[(u64, f64)]) -> Option<Trouble> {
        let (&(step, loss), before) = curve.split_last()?;
        let bound = self.bound(before, self.spike?)?;
        let turn = |loss: f64| figure(study.metrics().objectives[0].direction.turn(loss));
        (loss > bound).then(|| Trouble {
            well_until: before.last().map_or(0, |(step, _)| *step),
            why: format!("{} at step {step} is worse than {}", turn(loss), turn(bound)),
        })
    }

    /// For a while no loss has come down to where the best was.
    fn no_return(&self, study: &Study, curve: &[(u64, f64)]) -> Option<Trouble> {
        let patience = self.patience?;
        let best = curve.iter().enumerate().min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(k, _)| k)?;
        let late = curve.len().checked_sub(patience).filter(|late| *late > best)?;
        let bound = self.bound(&curve[..=best], self.spike.unwrap_or(Self::default().spike?))?;
        let turn = |loss: f64| figure(study.metrics().objectives[0].direction.turn(loss));
        curve[late..].iter().all(|(_, loss)| *loss > bound).then(|| Trouble {
            well_until: curve[best].0,
            why: format!("the last {patience} reports are worse than {}", turn(bound)),
        })
    }

    /// How large a loss may be after these: so many robust standard deviations above their median.
    fn bound(&self, before: &[(u64, f64)], deviations: f64) -> Option<f64> {
        let recent = &before[before.len().saturating_sub(self.window)..];
        if recent.len() < FEWEST {
            return None;
        }
        let center = median(recent.iter().map(|(_, loss)| *loss).collect());
        let changes: Vec<f64> = recent.array_windows().map(|[(_, a), (_, b)]| b - a).collect();
        let trend = median(changes.clone());
        // Of changes, since a loss that falls is no noise; the change between two losses has the noise of both.
        let spread = median(changes.iter().map(|change| (change - trend).abs()).collect());
        let deviation = DEVIATION_BY_MEDIAN * spread / std::f64::consts::SQRT_2;
        // Where it is 0 what the loss once was tells how large it is; if it was never anything else, nothing does.
        let largest = || before.iter().fold(0.0, |largest: f64, (_, loss)| largest.max(loss.abs()));
        let scale = Some(center.abs()).filter(|scale| *scale > 0.0).unwrap_or_else(largest);
        let deviation = deviation.max(FLOOR * scale);
        (deviation > 0.0).then_some(center + deviations * deviation)
    }

    /// Where a line in trouble goes back to, and with which params; none once it has done so as often as it may.
    ///
    /// It goes back to the newest checkpoint before the trouble. If that did not help and it comes no further, it goes back further:
    /// one checkpoint, then three, then seven, in the end to the beginning.
    fn way_back(
        &self,
        study: &Study,
        line: &[u32],
        trial: &Trial,
        trouble: &Trouble,
    ) -> Option<((u32, u64), Point)> {
        let of = |number: &u32| study.trial(*number);
        let by_itself = |trial: &&Trial| trial.origin == Origin::Scheduler && !goes_straight_on(study, trial);
        let used = line.iter().filter_map(of).filter(by_itself).count() as u64;
        if used >= self.rollbacks {
            return None;
        }
        let mut in_vain = 0_u32;
        for pair in line.windows(2).rev() {
            let (Some(before), Some(after)) = (of(&pair[0]), of(&pair[1])) else { break };
            if !by_itself(&after) || after.step() > before.step() {
                break;
            }
            in_vain += 1;
        }
        let is_usable = |(number, step): &(u32, u64)| {
            *step <= trouble.well_until && of(number).is_some_and(|trial| self.is_recent(trial, *step))
        };
        let known: Vec<(u32, u64)> = checkpoints(study, trial.number).into_iter().filter(is_usable).collect();
        let further = (1_usize << in_vain.min(20)) - 1;
        let first = line.first().copied().unwrap_or(trial.number);
        let from = known.get(further).copied().unwrap_or((first, 0));
        Some((from, self.calmed(study, from, trial)))
    }

    /// The params in force at a checkpoint, with a learning rate so much below the one that led into trouble, and not above the one
    /// of then: so a rate that was turned up since is taken back.
    fn calmed(&self, study: &Study, from: (u32, u64), trial: &Trial) -> Point {
        let base = in_force(study, from.0, from.1).unwrap_or_else(|| trial.point.clone());
        let Some(index) = self.lowered(study) else { return base };
        let rates = [base.get(index), trial.point.get(index)];
        let [Some(before), Some(rate)] = rates else { return base };
        let lower = study.space().parameters()[index].distribution.scaled(rate, self.factor).min(before);
        with_value(study, &base, index, lower).unwrap_or(base)
    }

    /// A paused or reporting trial whose loss gains no more, if there is a lower learning rate to go on with.
    fn standstill(&self, study: &Study, trial: &Trial) -> Option<Standstill> {
        let patience = self.plateau?;
        let (threshold, cooldown) = (self.plateau_threshold, self.plateau_cooldown);
        let curve = losses(study, trial.number, study.latest_report(Work::of(trial.number))?);
        let turned_at = trial.parent.map(|(_, from)| curve.partition_point(|(step, _)| *step <= from));
        let losses: Vec<f64> = curve.into_iter().map(|(_, loss)| loss).collect();
        let best = Plateau { patience, threshold, cooldown }.stands_at(&losses, turned_at)?;
        let best = figure(study.metrics().objectives[0].direction.turn(best));
        let reports = if patience == 1 { "report is".into() } else { format!("{patience} reports are") };
        let gain = if threshold > 0.0 { format!("not {} %", figure(100.0 * threshold)) } else { "no".into() };
        let why = format!("the last {reports} {gain} better than {best}");
        Some(Standstill { point: self.eased(study, trial)?, why })
    }

    /// A trial's params with the learning rate of after a plateau; none where it cannot be lower.
    fn eased(&self, study: &Study, trial: &Trial) -> Option<Point> {
        let index = self.lowered(study)?;
        let rate = trial.point.get(index)?;
        let range = &study.space().parameters()[index].distribution;
        let lower = range.scaled(rate, self.plateau_factor).max(range.scaled(self.plateau_min, 1.0));
        if lower < rate { with_value(study, &trial.point, index, lower) } else { None }
    }

    /// Whether a checkpoint is among those that its trial keeps.
    fn is_recent(&self, trial: &Trial, step: u64) -> bool {
        let pauses = trial.pauses();
        let newer = pauses.iter().filter(|pause| **pause > step).count();
        pauses.contains(&step) && self.keep.is_none_or(|keep| newer < keep)
    }

    /// How a trial that is paused on a plateau goes on.
    fn easing(&self, study: &Study, trial: &Trial, here: (u32, u64)) -> Option<Course> {
        // What is trained again after a worker was lost has not come to where it was.
        let found = self.standstill(study, trial).filter(|_| here.1 == trial.step())?;
        Some(Course::Back { from: here, point: found.point, why: found.why, by: Origin::Scheduler })
    }

    /// What becomes of a line, whose last trial is `trial`.
    fn course(&self, study: &Study, line: &[u32], trial: &Trial) -> Course {
        let state = trial.state();
        if matches!(state, TrialState::Running | TrialState::Waiting) {
            return Course::Busy;
        }
        let is_ill = matches!(state, TrialState::Paused | TrialState::Failed | TrialState::Pruned);
        if let Some(trouble) = Some(trial).filter(|_| is_ill).and_then(|trial| self.trouble(study, trial))
            && let Some((from, point)) = self.way_back(study, line, trial, &trouble)
        {
            return Course::Back { from, point, why: trouble.why, by: Origin::Scheduler };
        }
        let work = Work::of(trial.number);
        let here = trial.pauses().last().map(|step| (trial.number, *step));
        let steered = standing(study).filter(|_| is_steered(study, trial));
        let Some(steered) = steered.filter(|_| !study.steers().is_empty()) else {
            return match here {
                _ if state != TrialState::Paused => Course::Over,
                Some(here) => self.easing(study, trial, here).unwrap_or(Course::On(work)),
                None => Course::On(work),
            };
        };
        match (state == TrialState::Paused, steered.back.or(here.filter(|_| state == TrialState::Paused))) {
            (true, _) | (false, Some(_)) if steered.is_paused && !steered.is_over => Course::Busy,
            (_, Some(from)) if steered.is_changed && !steered.is_over => Course::Back {
                from,
                point: steered.point,
                why: format!("asked: {}", steered.asked),
                by: Origin::Steered,
            },
            (true, _) => Course::On(work),
            (false, _) => Course::Over,
        }
    }
}

/// A point with another value of one parameter, if the space allows it.
fn with_value(study: &Study, base: &Point, index: usize, coded: f64) -> Option<Point> {
    let space = study.space();
    let parameter = &space.parameters()[index];
    let value = parameter.distribution.decode(coded);
    let point = turned(space, base, &Params::new().with(&parameter.name, value));
    space.allows(&point.0).then_some(point)
}

/// Whether users steer this trial.
fn is_steered(study: &Study, trial: &Trial) -> bool {
    is_single(study) && present(study).is_some_and(|present| present.number == trial.number)
}

/// Whether a failure comes of how the model trained, and not of the machine or of a command that was never right.
fn is_of_training(reason: &Failure, has_trained: bool) -> bool {
    match reason {
        Failure::NonFinite { .. } | Failure::Error { .. } => true,
        Failure::ExitCode { .. } | Failure::Panicked { .. } => has_trained,
        Failure::Signal { .. }
        | Failure::Timeout { .. }
        | Failure::Memory { .. }
        | Failure::NoResult { .. }
        | Failure::Lost { .. }
        | Failure::NotStarted { .. } => false,
    }
}

impl Scheduler for Babysit {
    fn assign(&self, study: &Study, allowance: Allowance, memo: &mut Memo, _: &mut Rng) -> Assignment {
        if study.spec().replicates > 1 {
            return run_to_end(study, allowance);
        }
        if let Some(&work) = study.paused().first().filter(|work| work.trial < study.scheduler_from()) {
            return Assignment::Resume { work, budget: None };
        }
        let ledger: &mut Ledger = memo.get();
        ledger.advance(study);
        let mut waits = false;
        for line in &ledger.lines {
            let Some(trial) = line.last().and_then(|number| study.trial(*number)) else { continue };
            match self.course(study, line, trial) {
                Course::On(work) => {
                    let budget = Some(self.end_after(study, trial.step()));
                    return Assignment::Resume { work, budget };
                }
                Course::Back { from, point, why, by } => {
                    let is_next = study.exploiting().is_some_and(|(number, _)| number == trial.number);
                    if trial.state() == TrialState::Paused && !is_next {
                        return Assignment::Exploit { work: Work::of(trial.number), from, why: why.into() };
                    }
                    let budget = Some(self.end_after(study, from.1));
                    return Assignment::Branch { from, point, budget, why: by };
                }
                Course::Busy => waits = true,
                Course::Over => {}
            }
        }
        match (allowance.may_start, waits) {
            (true, _) => Assignment::Start { budget: Some(self.end_after(study, 0)) },
            (false, true) => Assignment::Wait,
            (false, false) => Assignment::Done,
        }
    }

    fn judge(&self, study: &Study, work: Work, memo: &mut Memo, _: &mut Rng) -> Verdict {
        let Some(trial) = study.trial(work.trial).filter(|_| study.spec().replicates == 1) else {
            return Verdict::go_on();
        };
        // What was trained again after a worker was lost has been judged; what it has now is no checkpoint of where it was.
        if study.latest_report(work).is_some_and(|step| step < trial.step()) {
            return Verdict::go_on();
        }
        let is_at_end = study.spec().max_budget.is_some_and(|max| trial.step() >= max);
        let is_due =
            trial.piece(0).and_then(|piece| piece.budget).is_none_or(|budget| trial.step() >= budget);
        if !self.at_once && !is_due {
            return Verdict::go_on();
        }
        if let Some(trouble) = self.trouble(study, trial) {
            let ledger: &mut Ledger = memo.get();
            ledger.advance(study);
            let line = ledger.line(work.trial).map_or(&[][..], |line| &ledger.lines[line]);
            return match self.way_back(study, line, trial, &trouble) {
                Some(_) if is_at_end => Verdict::stop(trouble.why),
                Some(_) => Verdict::pause(trouble.why),
                None => Verdict::stop(format!("{}; it has gone back {} times", trouble.why, self.rollbacks)),
            };
        }
        if is_at_end {
            return Verdict::go_on();
        }
        if !study.steers().is_empty() && is_steered(study, trial) {
            let asked = standing(study).map_or_else(String::new, |standing| standing.asked);
            return Verdict::pause(format!("asked: {asked}"));
        }
        self.standstill(study, trial).map_or_else(Verdict::go_on, |found| Verdict::pause(found.why))
    }

    fn branches(&self) -> bool {
        true
    }

    fn keeps(&self, study: &Study, trial: &Trial, step: u64) -> bool {
        (is_single(study) || !trial.is_finished()) && self.is_recent(trial, step)
    }

    fn is_steered(&self) -> bool {
        true
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        if spec.replicates > 1 {
            return Err(
                "it watches single trainings; it does not go with replicates, so set replicates = 1".into()
            );
        }
        if let Some(name) = self.lower.as_ref().filter(|name| spec.space.find(name).is_none()) {
            let names: Vec<&str> = spec.space.parameters().iter().take(12).map(|p| &*p.name).collect();
            return Err(format!("lower names {name:?}, but the space has {}", names.join(", ")));
        }
        let has_rate = self.lower.is_some() || RATES.iter().any(|name| spec.space.find(name).is_some());
        if self.plateau.is_some() && !has_rate {
            return Err("plateau lowers a learning rate, but no parameter is called learning_rate, lr or eta: name one with lower".into());
        }
        Ok(())
    }
}
