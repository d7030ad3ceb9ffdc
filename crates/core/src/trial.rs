//! One trial: its point, its pieces of work with their learning curves, and its outcome.

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
    /// How often its worker vanished.
    pub lost: u32,
    /// How far it may go, in steps; `None` means to its end.
    pub budget: Option<u64>,
    /// Seconds of work so far.
    pub seconds: f64,
    /// The step it began at: that of its parent's checkpoint, else 0.
    pub from: u64,
    /// The step of its latest pause, which has a checkpoint.
    pub paused_at: Option<u64>,
    /// Its reports, steps ascending.
    pub curve: Vec<CurvePoint>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl Piece {
    pub(crate) fn new(budget: Option<u64>, from: u64) -> Self {
        Self {
            state: WorkState::Waiting,
            attempt: 0,
            lost: 0,
            budget,
            seconds: 0.0,
            from,
            paused_at: None,
            curve: Vec::new(),
            outcome: None,
        }
    }

    /// The largest step reported; before the first report the step it began at.
    pub fn step(&self) -> u64 {
        self.curve.last().map_or(self.from, |point| point.step)
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

    /// The smallest loss up to and including `step`.
    pub fn best_loss_to(&self, step: u64) -> Option<f64> {
        let losses = self.curve.iter().take_while(|point| point.step <= step).map(|point| point.loss);
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
    /// The trial and step whose checkpoint it began with.
    pub parent: Option<(u32, u64)>,
    first: Piece,
    rest: Box<[Piece]>,
    /// How a trial of several replicates ended; with one, its piece says so.
    combined: Option<Box<Outcome>>,
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

impl Trial {
    pub(crate) fn new(
        number: u32,
        point: Point,
        space: u32,
        origin: Origin,
        budget: Option<u64>,
        parent: Option<(u32, u64)>,
        replicates: u16,
    ) -> Self {
        let piece = || Piece::new(budget, parent.map_or(0, |(_, step)| step));
        Self {
            number,
            point,
            space,
            outside: false,
            origin,
            by: None,
            parent,
            first: piece(),
            rest: (1..replicates).map(|_| piece()).collect(),
            combined: None,
        }
    }

    /// How it ended; `None` while some of its work has not.
    pub fn outcome(&self) -> Option<&Outcome> {
        if self.rest.is_empty() { self.first.outcome.as_ref() } else { self.combined.as_deref() }
    }

    /// Notes that all the work has ended, if it has; returns whether it has.
    pub(crate) fn conclude(&mut self) -> bool {
        if !self.rest.is_empty() {
            self.combined = combine(self).map(Box::new);
        }
        self.outcome().is_some()
    }

    /// Its pieces of work, replicate 0 first.
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

    /// The standard error of the mean of objective `k` over the replicates; `None` with fewer than two.
    pub fn standard_error(&self, k: usize) -> Option<f64> {
        let values: Vec<f64> = self
            .pieces()
            .filter_map(|(_, piece)| match &piece.outcome {
                Some(Outcome::Completed { values }) => values.get(k).copied(),
                _ => None,
            })
            .collect();
        let n = values.len() as f64;
        if values.len() < 2 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Some((variance / n).sqrt())
    }

    /// The loss that the curve of replicate 0 stands for: at its last step or its best, as the metrics say.
    pub fn curve_loss(&self, metrics: &Metrics) -> Option<f64> {
        match metrics.curve {
            CurveValue::Last => self.first.last_loss().map(|(_, loss)| loss),
            CurveValue::Best => self.first.best_loss_to(u64::MAX),
        }
    }
}

/// The outcome of a trial whose replicates have all ended: the mean of what completed, or the worst that happened.
fn combine(trial: &Trial) -> Option<Outcome> {
    let mut ended = Vec::new();
    for (_, piece) in trial.pieces() {
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
