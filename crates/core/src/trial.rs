//! One trial: its point, its pieces of work with their learning curves, and its outcome.

use std::sync::Arc;

use crate::event::{Choice, Origin, Outcome, Work};
use crate::metric::{CurveValue, Metrics};
use crate::space::Point;

/// One report of a learning curve: raw values of the objectives at a step, NaN where a report left one out.
#[derive(Clone, Debug, PartialEq)]
pub struct CurvePoint {
    /// The step.
    pub step: u64,
    /// The first objective's *loss*, or NaN if this report did not hold it.
    pub loss: f64,
    /// The other metrics reported: (index into the study's metric names, raw value).
    pub others: Box<[(u32, f64)]>,
}

impl CurvePoint {
    fn merge(&mut self, later: &Self) {
        if !later.loss.is_nan() {
            self.loss = later.loss;
        }
        let kept = self.others.iter().filter(|(id, _)| later.others.iter().all(|(other, _)| other != id));
        let merged = kept.copied().chain(later.others.iter().copied()).collect();
        self.others = merged;
    }
}

/// Where a piece of work stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkState {
    /// Not begun; begins only by a decision.
    Held,
    /// May be claimed.
    Waiting,
    /// Held by a worker.
    Running,
    /// Stopped at its budget with a checkpoint; goes on only by a decision.
    Paused,
    /// Over.
    Ended,
}

/// One replicate of a trial.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where it stands.
    pub state: WorkState,
    /// How often it was claimed; the current fencing token.
    pub attempt: u32,
    /// How often its worker vanished since it last came further: to a larger step, or to a checkpoint kept at a pause.
    pub lost: u32,
    /// How far it may go, in steps; `None` means to its end.
    pub budget: Option<u64>,
    /// Seconds of work so far.
    pub seconds: f64,
    /// The step it began at: that of its parent's checkpoint, else 0.
    pub from: u64,
    /// The steps of its pauses, ascending: at each it had a checkpoint.
    pub pauses: Vec<u64>,
    /// Why the latest verdict about it was given, in one line.
    pub why: Option<Arc<str>>,
    /// Its reports, steps ascending.
    pub curve: Vec<CurvePoint>,
    /// The best report of the trials that its model comes from, where it goes on from a checkpoint and the best of a curve counts.
    pub before: Option<Box<CurvePoint>>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl Piece {
    pub(crate) fn new(budget: Option<u64>, from: u64, state: WorkState) -> Self {
        Self {
            state,
            attempt: 0,
            lost: 0,
            budget,
            seconds: 0.0,
            from,
            pauses: Vec::new(),
            why: None,
            curve: Vec::new(),
            before: None,
            outcome: None,
        }
    }

    /// The largest step reported; before the first report the step it began at.
    pub fn step(&self) -> u64 {
        self.curve.last().map_or(self.from, |point| point.step.max(self.from))
    }

    /// The step of its latest pause.
    pub fn paused_at(&self) -> Option<u64> {
        self.pauses.last().copied()
    }

    /// The loss of the last report up to and including `step` that holds one.
    pub fn loss_by(&self, step: u64) -> Option<f64> {
        let until = self.curve.partition_point(|point| point.step <= step);
        self.curve[..until].iter().rev().map(|point| point.loss).find(|loss| !loss.is_nan())
    }

    /// The loss at exactly this step.
    pub fn loss_at(&self, step: u64) -> Option<f64> {
        let k = self.curve.binary_search_by_key(&step, |point| point.step).ok()?;
        Some(self.curve[k].loss).filter(|loss| !loss.is_nan())
    }

    /// The smallest loss up to and including `step`, of the model that it goes on from too where the best of a curve counts.
    pub fn best_loss_to(&self, step: u64) -> Option<f64> {
        let own = self.curve.iter().take_while(|point| point.step <= step);
        let losses = self.before.as_deref().into_iter().chain(own).map(|point| point.loss);
        losses.filter(|loss| !loss.is_nan()).min_by(f64::total_cmp)
    }

    /// The last loss reported, with its step.
    pub fn last_loss(&self) -> Option<(u64, f64)> {
        self.curve.iter().rev().find(|point| !point.loss.is_nan()).map(|point| (point.step, point.loss))
    }

    /// Enters a report at its step; what an earlier report at the same step said and this one does not, stays.
    pub(crate) fn report(&mut self, point: CurvePoint) {
        match self.curve.last() {
            Some(last) if last.step >= point.step => {
                match self.curve.binary_search_by_key(&point.step, |p| p.step) {
                    Ok(k) => self.curve[k].merge(&point),
                    Err(k) => self.curve.insert(k, point),
                }
            }
            _ => self.curve.push(point),
        }
    }
}

/// One set of params and what came of it.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Its number, from 0.
    pub number: u32,
    /// Its params, coded in the study's current space.
    pub point: Point,
    /// The space version it was started under.
    pub space: u32,
    /// Whether a later change of the space left one of its values without a place; samplers skip it.
    pub outside: bool,
    /// Who chose the params.
    pub origin: Origin,
    /// Which arm of a mixing sampler chose them, if one did.
    pub by: Option<Choice>,
    /// The trial and step whose checkpoint it began with; at step 0 it began anew in that trial's place.
    pub parent: Option<(u32, u64)>,
    /// The trial whose random choices the objective makes for it: itself, or where it goes on from exactly where a trial that
    /// made way stood, the one whose choices that made. So a model whose knobs are turned trains on as it would have, but for them.
    pub draws: u32,
    first: Piece,
    rest: Box<[Piece]>,
    /// How many replicates make its outcome; those after them only measure it again.
    counted: u16,
    /// With how many of them it began.
    begun: u16,
    /// Whether it has paused or ended.
    stopped: bool,
    /// How a trial of several replicates ended; with one, its piece says so.
    combined: Option<Box<Outcome>>,
    /// What replicates say of it once it has finished, one per objective; empty where there is nothing to say.
    pub(crate) estimates: Box<[Estimate]>,
}

/// What replicates say about a trial's loss in one objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Their mean. Where not all of them ran, it is an estimate of what the mean of all would be, by how much easier or harder
    /// than the others those were for completed trials that came near; no better than both the plain mean and the best trial that
    /// had completed.
    pub mean: f64,
    /// Its standard error; NaN where nothing tells it. What all trials have in common, hard and easy folds, is no part of it,
    /// as far as another trial of similar spread has completed.
    pub error: f64,
    /// How many replicates it is made of.
    pub replicates: u16,
}

/// What a trial is doing, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrialState {
    /// Decided, not yet taken by a worker.
    Waiting,
    /// A worker has it.
    Running,
    /// Stopped at a budget with a checkpoint.
    Paused,
    /// Ran to its end.
    Completed,
    /// Stopped by the scheduler.
    Pruned,
    /// Continued by another trial.
    Replaced,
    /// Stopped by a user.
    Cancelled,
    /// Failed.
    Failed,
}

impl TrialState {
    /// The word for it, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Pruned => "pruned",
            Self::Replaced => "replaced",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen to the trial.
    pub fn is_finished(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running | Self::Paused)
    }
}

/// How many replicates a trial begins with, how many make its outcome, and how many it may have.
#[derive(Clone, Copy)]
pub(crate) struct Pieces {
    pub(crate) begun: u16,
    pub(crate) counted: u16,
    pub(crate) all: u16,
}

impl Trial {
    pub(crate) fn new(
        number: u32,
        point: Point,
        space: u32,
        origin: Origin,
        budget: Option<u64>,
        parent: Option<(u32, u64)>,
        Pieces { begun, counted, all }: Pieces,
    ) -> Self {
        let from = parent.map_or(0, |(_, step)| step);
        let piece =
            |k| Piece::new(budget, from, if k < begun { WorkState::Waiting } else { WorkState::Held });
        Self {
            number,
            point,
            space,
            outside: false,
            origin,
            by: None,
            parent,
            draws: number,
            first: piece(0),
            rest: (1..all).map(piece).collect(),
            counted,
            begun,
            stopped: false,
            combined: None,
            estimates: Box::default(),
        }
    }

    /// How it ended; `None` while some of its work has not.
    pub fn outcome(&self) -> Option<&Outcome> {
        if self.counted == 1 { self.first.outcome.as_ref() } else { self.combined.as_deref() }
    }

    /// The trial that took its place, if one did.
    pub fn replaced_by(&self) -> Option<u32> {
        match self.outcome() {
            Some(Outcome::Replaced { by }) => Some(*by),
            _ => None,
        }
    }

    /// Notes that all the work has ended, if it has; returns whether it has.
    pub(crate) fn conclude(&mut self) -> bool {
        if self.counted > 1 {
            self.combined = combine(self).map(Box::new);
        }
        self.outcome().is_some()
    }

    /// The replicates that make its outcome; those of [`Trial::pieces`] after them only measure it again.
    pub fn replicates(&self) -> impl Iterator<Item = (Work, &Piece)> {
        self.pieces().take(usize::from(self.counted))
    }

    /// How many of the first replicates all trials have, so that their curves compare: those with which it began where others
    /// were held back, else one. Later ones are run by trials that got through these.
    pub(crate) fn compared(&self) -> u16 {
        if self.begun < self.counted { self.begun } else { 1 }
    }

    /// The replicates by which it is measured again once it has completed; none of them made it the best.
    pub fn confirmations(&self) -> impl Iterator<Item = (Work, &Piece)> {
        self.pieces().skip(usize::from(self.counted))
    }

    /// All its pieces of work, replicate 0 first.
    pub fn pieces(&self) -> impl Iterator<Item = (Work, &Piece)> {
        std::iter::once(&self.first)
            .chain(self.rest.iter())
            .enumerate()
            .map(|(k, piece)| (Work { trial: self.number, replicate: k as u16 }, piece))
    }

    /// One replicate, if there is such.
    pub fn piece(&self, replicate: u16) -> Option<&Piece> {
        match replicate {
            0 => Some(&self.first),
            k => self.rest.get(usize::from(k) - 1),
        }
    }

    pub(crate) fn piece_mut(&mut self, replicate: u16) -> Option<&mut Piece> {
        match replicate {
            0 => Some(&mut self.first),
            k => self.rest.get_mut(usize::from(k) - 1),
        }
    }

    /// The steps of the pauses of its first piece, ascending: each had a checkpoint.
    pub fn pauses(&self) -> &[u64] {
        &self.first.pauses
    }

    /// The learning curve of replicate 0.
    pub fn curve(&self) -> &[CurvePoint] {
        &self.first.curve
    }

    /// The furthest step of any replicate.
    pub fn step(&self) -> u64 {
        self.pieces().map(|(_, piece)| piece.step()).max().unwrap_or(0)
    }

    /// Seconds of work of all replicates.
    pub fn seconds(&self) -> f64 {
        self.pieces().map(|(_, piece)| piece.seconds).sum()
    }

    /// What it is doing.
    pub fn state(&self) -> TrialState {
        match self.outcome() {
            Some(Outcome::Completed { .. }) => TrialState::Completed,
            Some(Outcome::Pruned) => TrialState::Pruned,
            Some(Outcome::Replaced { .. }) => TrialState::Replaced,
            Some(Outcome::Cancelled) => TrialState::Cancelled,
            Some(Outcome::Failed { .. }) => TrialState::Failed,
            None => {
                let any = |state| self.pieces().any(|(_, piece)| piece.state == state);
                if any(WorkState::Running) {
                    TrialState::Running
                } else if any(WorkState::Waiting) {
                    TrialState::Waiting
                } else {
                    TrialState::Paused
                }
            }
        }
    }

    /// Whether nothing more will happen to it.
    pub fn is_finished(&self) -> bool {
        self.outcome().is_some()
    }

    /// Whether it has come to a stop at least once: paused, or ended.
    pub fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// Notes a stop; returns whether it is the first.
    pub(crate) fn note_stop(&mut self) -> bool {
        !std::mem::replace(&mut self.stopped, true)
    }

    /// Raw values of a completed trial: the mean over its replicates.
    pub fn values(&self) -> Option<&[f64]> {
        match self.outcome() {
            Some(Outcome::Completed { values }) => Some(values),
            _ => None,
        }
    }

    /// The loss of objective `k` of a completed trial.
    pub fn loss(&self, metrics: &Metrics, k: usize) -> Option<f64> {
        self.values()
            .and_then(|values| values.get(k))
            .map(|value| metrics.objectives[k].direction.turn(*value))
    }

    /// The standard error of the mean of objective `k` over the replicates; `None` where nothing tells it.
    pub fn standard_error(&self, k: usize) -> Option<f64> {
        self.estimates.get(k).map(|estimate| estimate.error).filter(|error| !error.is_nan())
    }

    /// What its replicates say about objective `k`, as of when it finished or completed trials last doubled, also if it was stopped before all of them had run; none if
    /// it has one replicate, failed, or was stopped before any of them completed.
    pub fn estimate(&self, k: usize) -> Option<&Estimate> {
        self.estimates.get(k)
    }

    /// Losses in objective `k` of the replicates that completed, with their numbers.
    pub fn replicate_losses(&self, metrics: &Metrics, k: usize) -> impl Iterator<Item = (u16, f64)> {
        completed_losses(self.replicates(), metrics, k)
    }

    /// Losses in objective `k` as measured again.
    pub fn confirmation_losses(&self, metrics: &Metrics, k: usize) -> impl Iterator<Item = (u16, f64)> {
        completed_losses(self.confirmations(), metrics, k)
    }

    /// Whether all replicates that measure it again have ended, of which there are some.
    pub fn is_confirmed(&self) -> bool {
        let mut any = false;
        self.confirmations().all(|(_, piece)| {
            any = true;
            piece.state == WorkState::Ended
        }) && any
    }

    /// Goes on from a model whose best report was this.
    pub(crate) fn inherit(&mut self, before: Option<Box<CurvePoint>>) {
        self.first.before = before;
    }

    /// The loss that the curve of replicate 0 stands for: at its last step or its best, as the metrics say.
    pub fn curve_loss(&self, metrics: &Metrics) -> Option<f64> {
        match metrics.curve {
            CurveValue::Last => self.first.last_loss().map(|(_, loss)| loss),
            CurveValue::Best => self.first.best_loss_to(u64::MAX),
        }
    }
}

impl Estimate {
    /// The mean of these, with the standard error of independent draws.
    pub(crate) fn plain(losses: &[f64]) -> Self {
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let squares = losses.iter().map(|loss| (loss - mean).powi(2)).sum();
        Self::independent(mean, squares, losses.len())
    }

    /// The same from the mean of `count` losses and the sum of their squared deviations from it.
    pub(crate) fn independent(mean: f64, squares: f64, count: usize) -> Self {
        let n = count as f64;
        let error = if count < 2 { f64::NAN } else { (squares / (n - 1.0) / n).sqrt() };
        Self { mean, error, replicates: count as u16 }
    }
}

fn completed_losses<'a>(
    pieces: impl Iterator<Item = (Work, &'a Piece)>,
    metrics: &Metrics,
    k: usize,
) -> impl Iterator<Item = (u16, f64)> {
    let direction = metrics.objectives[k].direction;
    pieces.filter_map(move |(work, piece)| match &piece.outcome {
        Some(Outcome::Completed { values }) => Some((work.replicate, direction.turn(*values.get(k)?))),
        _ => None,
    })
}

/// The outcome of a trial whose replicates have all ended: the mean of what completed, or the worst that happened.
fn combine(trial: &Trial) -> Option<Outcome> {
    let mut ended = Vec::new();
    for (_, piece) in trial.replicates() {
        ended.push(piece.outcome.as_ref()?);
    }
    if let Some(other) = ended.iter().find(|outcome| !matches!(outcome, Outcome::Completed { .. })) {
        return Some((*other).clone());
    }
    let rows: Vec<&Vec<f64>> = ended
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Completed { values } => Some(values),
            _ => None,
        })
        .collect();
    let n = rows.len() as f64;
    let width = rows[0].len();
    Some(Outcome::Completed {
        values: (0..width).map(|k| rows.iter().map(|row| row[k]).sum::<f64>() / n).collect(),
    })
}
