//! A study's state: the fold of its events, and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::event::{Decision, Event, Origin, Outcome, SpaceEdit, Steer, Wish, Work};
use crate::metric::{CurveValue, Metrics};
use crate::pareto;
use crate::space::{Params, Point, Space, SpaceData, SpaceError, Value};
use crate::spec::Spec;
use crate::trial::{CurvePoint, Estimate, Piece, Pieces, Trial, TrialState, WorkState};

mod effects;

use effects::Effects;

/// Everything that happened while tuning one objective.
#[derive(Clone, Debug)]
pub struct Study {
    spec: Spec,
    /// Every version of the space; the last one is current.
    spaces: Vec<Arc<Space>>,
    trials: Vec<Trial>,
    queue: VecDeque<Wish>,
    /// Finished trials in the order of the log.
    finished: Vec<u32>,
    /// Every pause and every end of a trial, in the order of the log.
    stops: Vec<Stop>,
    /// How many trials have stopped at least once.
    stopped: usize,
    /// How often something became another up to where a trial had stopped.
    rewritten: u64,
    /// How often estimates of finished trials became others.
    revised: u64,
    /// Pieces that may be claimed.
    waiting: BTreeSet<Work>,
    running: BTreeSet<Work>,
    paused: BTreeSet<Work>,
    pauses: u64,
    /// Replicates of unfinished trials that have not begun and begin only by a decision.
    held: BTreeSet<Work>,
    /// Trials of which all that measures them again has ended, in the order of the log.
    confirmed: Vec<u32>,
    /// What the replicates of completed trials have in common.
    effects: Effects,
    /// Trials that a user asked to stop and that have not ended.
    stopping: BTreeSet<u32>,
    /// A paused trial that makes way for one that begins with this trial's checkpoint at this step.
    exploiting: Option<(u32, (u32, u64))>,
    /// What users want of the one model that is watched and no decision has carried out yet, in order.
    steers: Vec<Steer>,
    incumbent: Option<u32>,
    trajectory: Vec<Incumbent>,
    tally: Tally,
    /// Names of metrics that are reported but not the first objective, in order of appearance.
    metric_names: Vec<Arc<str>>,
    metric_index: HashMap<Arc<str>, u32>,
    /// What the user wrote for trials whose values have no place in the current space.
    originals: HashMap<u32, Params>,
    notes: Vec<(Option<u32>, Arc<str>, serde_json::Value)>,
    /// Every report in the order of the log.
    reports: Vec<ReportAt>,
    /// Work that ended while other replicates of its trial had not, in the order of the log.
    ended_ahead: Vec<Work>,
    /// How many trials there were when the current policy began.
    policy_from: u32,
    /// How many there were when the current scheduler did, with its options.
    scheduler_from: u32,
    /// Some trial asked for a parameter that its params did not have.
    traced: bool,
}

/// A moment at which the best trial changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Incumbent {
    /// How many trials were finished then.
    pub finished: u64,
    /// Seconds of work spent by then.
    pub seconds: f64,
    /// The trial.
    pub trial: u32,
    /// Its loss in the first objective.
    pub loss: f64,
}

/// One entry of the list of reports: which curve changed, and where. 16 bytes; the values are in the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportAt {
    /// Whose curve.
    pub work: Work,
    /// The step reported; not always the largest, because lost work may begin again.
    pub step: u64,
}

/// A trial came to a stop, for now or for good. 24 bytes; what it said by then is in its curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The trial.
    pub trial: u32,
    /// Whether it is its first.
    pub is_first: bool,
    /// The step at which it paused; `None` if it is over.
    pub paused_at: Option<u64>,
}

/// Counts over the study.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Trials that ran to their end.
    pub completed: u64,
    /// Trials stopped by the scheduler.
    pub pruned: u64,
    /// Trials continued by another.
    pub replaced: u64,
    /// Trials that a scheduler started from another's checkpoint, in place of a replaced or a failed one.
    pub branched: u64,
    /// Trials stopped by a user.
    pub cancelled: u64,
    /// Trials that failed.
    pub failed: u64,
    /// Failed trials since the last one that did not fail, or since the limits were changed.
    pub failures_in_a_row: u64,
    /// Seconds of work, summed over pieces.
    pub seconds: f64,
    /// Steps, summed over pieces.
    pub steps: u64,
    /// Reports.
    pub reports: u64,
}

impl Tally {
    /// Finished trials that count towards the limit: all but those whose place another has taken.
    pub fn finished(&self) -> u64 {
        let ended = self.completed + self.pruned + self.cancelled + self.failed;
        ended - self.branched.saturating_sub(self.replaced).min(self.failed)
    }
}

/// An event that does not follow from those before it: the log is damaged or was written by something else.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FoldError {
    /// The first event is not `created`, or a later one is.
    #[error("a study's first event, and only the first, is \"created\"")]
    Created,
    /// An event about a trial or replicate that does not exist.
    #[error("an event mentions trial {} replicate {}, which does not exist", .0.trial, .0.replicate)]
    NoSuchWork(Work),
    /// An event that cannot happen to work in this state.
    #[error("trial {} replicate {} cannot be {what} while it is {state}", work.trial, work.replicate)]
    State {
        /// Which.
        work: Work,
        /// What the event does.
        what: &'static str,
        /// Where the work stands.
        state: &'static str,
    },
    /// A trial number out of turn.
    #[error("trial {got} was started where trial {expected} was due")]
    Number {
        /// The number in the event.
        got: u32,
        /// The next number.
        expected: u32,
    },
    /// A space or a value that is not valid.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// A claim whose token is not the next one.
    #[error("trial {} replicate {} was claimed with token {got} where {expected} was due", work.trial, work.replicate)]
    Token {
        /// Which.
        work: Work,
        /// The token in the event.
        got: u32,
        /// The next token.
        expected: u32,
    },
    /// A value that is not finite where only finite ones are written.
    #[error("trial {0} has a value that is not finite")]
    NonFinite(u32),
}

impl Study {
    /// The study at its first event.
    pub fn new(spec: Spec) -> Self {
        let mut study = Self {
            spaces: vec![Arc::new(spec.space.clone())],
            spec,
            trials: Vec::new(),
            queue: VecDeque::new(),
            finished: Vec::new(),
            stops: Vec::new(),
            stopped: 0,
            rewritten: 0,
            revised: 0,
            waiting: BTreeSet::new(),
            running: BTreeSet::new(),
            paused: BTreeSet::new(),
            pauses: 0,
            held: BTreeSet::new(),
            confirmed: Vec::new(),
            effects: Effects::default(),
            stopping: BTreeSet::new(),
            exploiting: None,
            steers: Vec::new(),
            incumbent: None,
            trajectory: Vec::new(),
            tally: Tally::default(),
            metric_names: Vec::new(),
            metric_index: HashMap::new(),
            originals: HashMap::new(),
            notes: Vec::new(),
            reports: Vec::new(),
            ended_ahead: Vec::new(),
            policy_from: 0,
            scheduler_from: 0,
            traced: false,
        };
        for k in 0..study.spec.metrics.objectives.len() {
            let name = study.spec.metrics.objectives[k].name.clone();
            study.metric_id(&name);
        }
        study
    }

    /// Folds a whole log.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, FoldError> {
        let mut events = events.into_iter();
        let Some(Event::Created(spec)) = events.next() else { return Err(FoldError::Created) };
        let mut study = Self::new((**spec).clone());
        for event in events {
            study.apply(event)?;
        }
        Ok(study)
    }

    /// What the study is asked to do, with later changes of policy and limits.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What is measured.
    pub fn metrics(&self) -> &Metrics {
        &self.spec.metrics
    }

    /// The current space.
    pub fn space(&self) -> &Space {
        &self.spaces[self.spaces.len() - 1]
    }

    /// The current space, shared.
    pub fn shared_space(&self) -> Arc<Space> {
        self.spaces[self.spaces.len() - 1].clone()
    }

    /// The current space's version, from 0.
    pub fn space_version(&self) -> u32 {
        self.spaces.len() as u32 - 1
    }

    /// All trials by number.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// One trial.
    pub fn trial(&self, number: u32) -> Option<&Trial> {
        self.trials.get(number as usize)
    }

    /// One piece of work.
    pub fn piece(&self, work: Work) -> Option<&Piece> {
        self.trial(work.trial)?.piece(work.replicate)
    }

    /// Finished trials in the order in which they finished.
    pub fn finished(&self) -> &[u32] {
        &self.finished
    }

    /// Every pause and every end of a trial, in the order of the log. A trial that waits for more replicates after some have
    /// completed has not paused.
    pub fn stops(&self) -> &[Stop] {
        &self.stops
    }

    /// How many trials have stopped at least once.
    pub fn stopped(&self) -> usize {
        self.stopped
    }

    /// How often a piece of work has paused. Of a trial with several replicates some may have paused while others run, which is no stop of
    /// the trial.
    pub fn pauses(&self) -> u64 {
        self.pauses
    }

    /// How often a trial was given another point, or another report at or before a step at which it had paused, and
    /// [`revised`](Self::revised). What was made of stops before such a change does not hold any more.
    pub fn rewritten(&self) -> u64 {
        self.rewritten
    }

    /// How often the estimates of all finished trials were made anew: whenever the completed trials of several replicates have doubled.
    pub fn revised(&self) -> u64 {
        self.revised
    }

    /// Work that may be claimed, lowest trial first.
    pub fn waiting(&self) -> &BTreeSet<Work> {
        &self.waiting
    }

    /// Work that workers hold.
    pub fn running(&self) -> &BTreeSet<Work> {
        &self.running
    }

    /// Work that stopped at its budget.
    pub fn paused(&self) -> &BTreeSet<Work> {
        &self.paused
    }

    /// Replicates of unfinished trials that have not begun, and begin only by a decision.
    pub fn held(&self) -> &BTreeSet<Work> {
        &self.held
    }

    /// Trials that have been measured again, in the order of the log.
    pub fn confirmed(&self) -> &[u32] {
        &self.confirmed
    }

    /// What the replicates of a trial say now, one estimate per objective: where it stands, if some have completed and others
    /// not, else what they say of a finished trial, as of when it finished or there were last twice
    /// as many trials to learn from. Empty if none has completed, or there is only one.
    pub fn estimates(&self, trial: &Trial) -> Vec<Estimate> {
        if trial.is_finished() || self.spec.replicates < 2 {
            return trial.estimates.to_vec();
        }
        self.estimated(trial)
    }

    /// What the replicates that measured a trial again say about objective `k`; none if there are none. Where folds turn out as
    /// hard as when trials were measured first, that is no part of the standard error; it is where other seeds make other folds.
    pub fn measured_again(&self, trial: &Trial, k: usize) -> Option<Estimate> {
        let losses: Vec<(u16, f64)> = trial.confirmation_losses(&self.spec.metrics, k).collect();
        if losses.is_empty() {
            return None;
        }
        let fold = |replicate: u16| self.spec.place(replicate).fold;
        let same = |at: u16| (0..self.spec.replicates).filter(|r| fold(*r) == fold(at)).collect::<Vec<_>>();
        let with_folds: Vec<(Vec<u16>, f64)> = losses.iter().map(|(r, loss)| (same(*r), *loss)).collect();
        let by_folds = self.spec.place(0).folds > 1;
        let found = by_folds.then(|| self.effects.again(k, trial.number, &with_folds)).flatten();
        let plain = || Estimate::plain(&losses.iter().map(|(_, loss)| *loss).collect::<Vec<_>>());
        Some(found.unwrap_or_else(plain))
    }

    /// The variance of one replicate's loss in objective `k` once what trials and replicates have in common is taken away,
    /// for a completed trial and those like it by loss and spread, with its degrees of freedom. Where none is like it, stopped
    /// trials tell; none where these do not either.
    pub fn residual_variance(&self, trial: &Trial, k: usize) -> Option<(f64, f64)> {
        self.effects.residual_variance(k, trial.number)
    }

    /// The same by completed trials alone, with hard folds where none is like it; none before two have completed. Races go by this: what
    /// they stopped early is to stop nobody sooner.
    pub(crate) fn variance_of_completed(&self, trial: &Trial, k: usize) -> Option<(f64, f64)> {
        self.effects.variance_of_completed(k, trial.number)
    }

    /// Trials that a user asked to stop and that have not ended.
    pub fn stopping(&self) -> &BTreeSet<u32> {
        &self.stopping
    }

    /// The paused trial that makes way, with the trial and step whose checkpoint its successor is to begin with; the
    /// successor has not been started yet.
    pub fn exploiting(&self) -> Option<(u32, (u32, u64))> {
        self.exploiting
    }

    /// What users want of the one model that is watched and no decision has carried out yet, in order.
    pub fn steers(&self) -> &[Steer] {
        &self.steers
    }

    /// How many trials were started afresh, and not by a scheduler from another's checkpoint.
    pub fn roots(&self) -> u64 {
        self.trials.len() as u64 - self.tally.branched.max(self.tally.replaced)
    }

    /// Trials that have not finished: waiting, running or paused.
    pub fn unfinished(&self) -> u64 {
        self.trials.len() as u64 - self.finished.len() as u64
    }

    /// Params waiting in the queue.
    pub fn queue(&self) -> &VecDeque<Wish> {
        &self.queue
    }

    /// Counts.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The best completed trial by the first objective, feasible ones before others; ties go to the lower number. Of trials
    /// that were measured again, the one with the best mean over all its replicates.
    pub fn incumbent(&self) -> Option<&Trial> {
        self.incumbent.and_then(|number| self.trial(number))
    }

    /// The completed trials that break no constraint and that no other such trial beats in all objectives, by number.
    pub fn pareto_front(&self) -> Vec<&Trial> {
        self.front_of(&self.trials)
    }

    /// The same among the given trials, in their order.
    pub(crate) fn front_of<'a>(&self, trials: impl IntoIterator<Item = &'a Trial>) -> Vec<&'a Trial> {
        let kept = trials.into_iter().filter(|trial| self.violation(trial) <= 0.0);
        let (trials, losses): (Vec<&Trial>, Vec<Vec<f64>>) =
            kept.filter_map(|trial| Some((trial, self.losses(trial)?))).unzip();
        pareto::front(&losses).into_iter().map(|k| trials[k]).collect()
    }

    /// The given trials, the best first: completed ones that break no constraint, by their losses or front after front; completed ones
    /// by how much they break; the others. Equal ones by the first loss, then by number.
    pub fn best_first<'a>(&self, trials: impl IntoIterator<Item = &'a Trial>) -> Vec<&'a Trial> {
        let (mut completed, mut others) = (Vec::new(), Vec::new());
        for trial in trials {
            match self.losses(trial) {
                Some(losses) => completed.push((trial, losses)),
                None => others.push(trial),
            }
        }
        let losses: Vec<&[f64]> = completed.iter().map(|(_, losses)| &**losses).collect();
        let violations: Vec<f64> = completed.iter().map(|(trial, _)| self.violation(trial)).collect();
        let ranks = pareto::constrained_ranks(&losses, &violations);
        let mut order: Vec<usize> = (0..completed.len()).collect();
        let first = |k: usize| losses[k].first().copied().unwrap_or(f64::NAN);
        order.sort_by(|a, b| {
            let by_loss = first(*a).total_cmp(&first(*b));
            ranks[*a].cmp(&ranks[*b]).then(by_loss).then(completed[*a].0.number.cmp(&completed[*b].0.number))
        });
        others.sort_by_key(|trial| trial.number);
        order.into_iter().map(|k| completed[k].0).chain(others).collect()
    }

    /// A trial's loss by every objective; none where it has not completed.
    pub fn losses(&self, trial: &Trial) -> Option<Vec<f64>> {
        (0..self.spec.metrics.objectives.len()).map(|k| trial.loss(&self.spec.metrics, k)).collect()
    }

    /// Every moment at which the best trial changed.
    pub fn trajectory(&self) -> &[Incumbent] {
        &self.trajectory
    }

    /// Notes in order: about which trial (none: the study), key, value.
    pub fn notes(&self) -> &[(Option<u32>, Arc<str>, serde_json::Value)] {
        &self.notes
    }

    /// Every report in the order of the log, so that a memo can catch up with the curves that changed.
    pub fn reports(&self) -> &[ReportAt] {
        &self.reports
    }

    /// Work that ended while other replicates of its trial had not, in the order of the log; with [`Self::finished`],
    /// everything that ended.
    pub fn ended_ahead(&self) -> &[Work] {
        &self.ended_ahead
    }

    /// The step of the latest report of `work`. Quick when that report is among the last in the log.
    pub fn latest_report(&self, work: Work) -> Option<u64> {
        self.reports.iter().rev().find(|report| report.work == work).map(|report| report.step)
    }

    /// The first trial that the current policy has started, or will start; earlier ones ran under another.
    pub fn policy_from(&self) -> u32 {
        self.policy_from
    }

    /// The first trial that the current scheduler, with its options, has decided about: a change of the sampler alone is none of the scheduler.
    pub fn scheduler_from(&self) -> u32 {
        self.scheduler_from
    }

    /// Names of all metrics seen; a curve's `others` index into it. The first objective is number 0.
    pub fn metric_names(&self) -> &[Arc<str>] {
        &self.metric_names
    }

    /// Whether some trial asked for a parameter that its params did not have (define-by-run).
    pub fn is_traced(&self) -> bool {
        self.traced
    }

    /// A trial's params as users write them.
    pub fn params(&self, trial: &Trial) -> Params {
        match self.originals.get(&trial.number) {
            Some(params) => params.clone(),
            None => self.space().decode(&trial.point),
        }
    }

    /// The raw value of metric `name` at a curve's point.
    pub fn curve_value(&self, point: &CurvePoint, name: &str) -> Option<f64> {
        let id = *self.metric_index.get(name)?;
        if id == 0 {
            let direction = self.spec.metrics.objectives.first()?.direction;
            return Some(direction.turn(point.loss)).filter(|value| !value.is_nan());
        }
        point.others.iter().find(|(k, _)| *k == id).map(|(_, value)| *value)
    }

    /// The objectives' raw values that a piece's curve up to and including `step` stands for, or the first objective without one: all at the
    /// last step, or all at the step where the first objective is best, which may be one that its model had
    /// before it began ([`Piece::before`]).
    pub fn curve_values(&self, piece: &Piece, step: u64) -> Result<Vec<f64>, Arc<str>> {
        let points = self.points_that_count(piece, step);
        let at_end = |name: &Arc<str>| {
            let mut told = points.iter().rev().filter_map(|point| self.curve_value(point, name));
            told.next().ok_or_else(|| name.clone())
        };
        self.spec.metrics.objectives.iter().map(|metric| at_end(&metric.name)).collect()
    }

    /// The reports that end with the one whose value is that of the curve.
    fn points_that_count<'a>(&self, piece: &'a Piece, step: u64) -> &'a [CurvePoint] {
        let curve = &piece.curve[..piece.curve.partition_point(|point| point.step <= step)];
        if self.spec.metrics.curve == CurveValue::Last {
            return curve;
        }
        let losses = curve.iter().enumerate().filter(|(_, point)| !point.loss.is_nan());
        let best = losses.min_by(|a, b| a.1.loss.total_cmp(&b.1.loss));
        match (&piece.before, best) {
            (Some(before), Some((_, own))) if before.loss <= own.loss => std::slice::from_ref(before),
            (Some(before), None) => std::slice::from_ref(before),
            (_, best) => &curve[..best.map_or(curve.len(), |(k, _)| k + 1)],
        }
    }

    /// The best report of the model that `parent` had at `step`, with what was last told of metrics that this one left out.
    fn best_before(&self, parent: u32, step: u64) -> Option<Box<CurvePoint>> {
        let piece = self.piece(Work::of(parent)).filter(|_| step > 0)?;
        let points = self.points_that_count(piece, step);
        let mut best = points.last().filter(|point| !point.loss.is_nan())?.clone();
        let others: BTreeMap<u32, f64> = points.iter().flat_map(|point| &point.others).copied().collect();
        best.others = others.into_iter().collect();
        Some(Box::new(best))
    }

    /// By how much a trial breaks the metrics' constraints: positive last values, summed, averaged over its replicates.
    pub fn violation(&self, trial: &Trial) -> f64 {
        let names = &self.spec.metrics.constraints;
        if names.is_empty() {
            return 0.0;
        }
        let (mut sum, mut pieces) = (0.0, 0.0);
        for (_, piece) in trial.pieces().filter(|(_, piece)| piece.attempt > 0) {
            sum += names.iter().filter_map(|name| self.breach(piece, name)).sum::<f64>();
            pieces += 1.0;
        }
        if pieces > 0.0 { sum / pieces } else { 0.0 }
    }

    /// By how much a trial breaks each of the metrics' constraints, which [`Self::violation`] sums; in their order.
    pub fn excess(&self, trial: &Trial) -> Vec<f64> {
        let run = || trial.pieces().filter(|(_, piece)| piece.attempt > 0);
        let count = run().count().max(1) as f64;
        let mean =
            |name: &Arc<str>| run().filter_map(|(_, piece)| self.breach(piece, name)).sum::<f64>() / count;
        self.spec.metrics.constraints.iter().map(mean).collect()
    }

    /// By how much a piece breaks a constraint, by its last report of it.
    fn breach(&self, piece: &Piece, constraint: &str) -> Option<f64> {
        let told = piece.curve.iter().rev().find_map(|point| self.curve_value(point, constraint));
        told.map(|value| value.max(0.0))
    }

    /// Folds one event.
    pub fn apply(&mut self, event: &Event) -> Result<(), FoldError> {
        match event {
            Event::Created(_) => return Err(FoldError::Created),
            Event::Started { trial, space, params, budget, replicates, parent, why, by } => {
                self.start(*trial, *space, params, *budget, *parent, *replicates)?;
                let started = &mut self.trials[*trial as usize];
                started.origin = *why;
                started.by.clone_from(by);
                match why {
                    Origin::Enqueued => drop(self.queue.pop_front()),
                    Origin::Scheduler => self.make_way(*trial)?,
                    Origin::Steered => {
                        self.steers.clear();
                        self.make_way(*trial)?;
                    }
                    Origin::Sampler | Origin::Default | Origin::Fallback => {}
                }
                self.draw_on(*trial);
            }
            Event::Resumed { work, budget } => {
                let piece = self.piece_in(*work, &[WorkState::Paused, WorkState::Held], "resumed")?;
                piece.state = WorkState::Waiting;
                piece.budget = *budget;
                self.steers.clear();
                self.exploiting.take_if(|(trial, _)| *trial == work.trial);
                self.paused.remove(work);
                self.held.remove(work);
                self.waiting.insert(*work);
            }
            Event::Judged { work, decision: Decision::Exploit { from, step }, why } => {
                let piece = self.piece_in(*work, &[WorkState::Paused], "made to make way")?;
                piece.why = Some(why.clone());
                self.trial(*from).ok_or(FoldError::NoSuchWork(Work::of(*from)))?;
                self.exploiting = Some((work.trial, (*from, *step)));
            }
            Event::Judged { work, decision, why } => {
                if *decision == Decision::Stop && self.held.contains(work) {
                    self.piece_in(*work, &[WorkState::Held], "judged")?.why = Some(why.clone());
                    return self.end_race(work.trial);
                }
                let piece = self.piece_in(*work, &[WorkState::Running], "judged")?;
                piece.why = Some(why.clone());
                if *decision == Decision::Pause {
                    piece.budget = Some(piece.step());
                }
            }
            Event::Claimed { work, attempt } => {
                let piece = self.piece_in(*work, &[WorkState::Waiting], "claimed")?;
                if *attempt != piece.attempt + 1 {
                    return Err(FoldError::Token { work: *work, got: *attempt, expected: piece.attempt + 1 });
                }
                piece.attempt = *attempt;
                piece.state = WorkState::Running;
                self.waiting.remove(work);
                self.running.insert(*work);
            }
            Event::Drawn { trial, name, value } => self.draw(*trial, name, value)?,
            Event::Reported { work, step, values, seconds } => self.report(*work, *step, values, *seconds)?,
            Event::Paused { work, step, seconds } => self.pause(*work, *step, *seconds)?,
            Event::Ended { work, outcome, seconds, used } => {
                if let Some(used) = used {
                    self.keep_only(work.trial, used)?;
                }
                self.end(*work, outcome, *seconds)?;
            }
            Event::Lost { work, returned } => {
                let piece = self.piece_in(*work, &[WorkState::Running], "lost")?;
                piece.state = WorkState::Waiting;
                piece.lost += u32::from(!returned);
                self.running.remove(work);
                self.waiting.insert(*work);
            }
            Event::SpaceChanged(edit) => self.change_space(edit)?,
            Event::PolicyChanged(policy) => {
                self.policy_from = self.trials.len() as u32;
                if self.spec.policy.scheduler != policy.scheduler {
                    self.scheduler_from = self.policy_from;
                }
                self.spec.policy = policy.clone();
            }
            Event::LimitsChanged(limits) => {
                self.spec.limits = *limits;
                self.tally.failures_in_a_row = 0;
            }
            Event::Enqueued(wish) => self.queue.push_back(wish.clone()),
            Event::Withdrawn { .. } => drop(self.queue.pop_front()),
            Event::StopAsked { trial } => {
                let known = self.trial(*trial).ok_or(FoldError::NoSuchWork(Work::of(*trial)))?;
                if !known.is_finished() {
                    self.stopping.insert(*trial);
                }
            }
            Event::Steered(steer) => self.steers.push(steer.clone()),
            Event::Noted { trial, key, value } => self.notes.push((*trial, key.clone(), value.clone())),
        }
        Ok(())
    }

    fn pause(&mut self, work: Work, step: u64, seconds: f64) -> Result<(), FoldError> {
        let piece = self.piece_in(work, &[WorkState::Running], "paused")?;
        piece.state = WorkState::Paused;
        if let Err(place) = piece.pauses.binary_search(&step) {
            piece.pauses.insert(place, step);
            piece.lost = 0;
        }
        piece.seconds += seconds;
        self.tally.seconds += seconds;
        self.running.remove(&work);
        self.paused.insert(work);
        self.pauses += 1;
        let trial = &self.trials[work.trial as usize];
        let has_completed =
            || trial.pieces().any(|(_, p)| matches!(p.outcome, Some(Outcome::Completed { .. })));
        if trial.state() == TrialState::Paused && !has_completed() {
            self.stop(work.trial, Some(step));
        }
        Ok(())
    }

    fn stop(&mut self, trial: u32, paused_at: Option<u64>) {
        let is_first = self.trials[trial as usize].note_stop();
        self.stopped += usize::from(is_first);
        self.stops.push(Stop { trial, is_first, paused_at });
    }

    fn start(
        &mut self,
        number: u32,
        version: u32,
        params: &[Option<Value>],
        budget: Option<u64>,
        parent: Option<(u32, u64)>,
        begun: Option<u16>,
    ) -> Result<(), FoldError> {
        let expected = self.trials.len() as u32;
        if number != expected {
            return Err(FoldError::Number { got: number, expected });
        }
        let space =
            self.spaces.get(version as usize).cloned().ok_or(FoldError::NoSuchWork(Work::of(number)))?;
        let mut point = vec![f64::NAN; space.len()];
        for (k, value) in params.iter().enumerate().take(space.len()) {
            if let Some(value) = value {
                point[k] = space.encode_one(k, value)?;
            }
        }
        let counted = self.spec.replicates.max(1);
        let begun = begun.unwrap_or(counted).clamp(1, counted);
        let all = counted.saturating_add(self.spec.confirmations());
        let pieces = Pieces { begun, counted, all };
        let mut trial =
            Trial::new(number, Point(point.into()), version, Origin::Sampler, budget, parent, pieces);
        if let Some((parent, step)) = parent.filter(|_| self.spec.metrics.curve == CurveValue::Best) {
            trial.inherit(self.best_before(parent, step));
        }
        for replicate in 0..counted {
            let work = Work { trial: number, replicate };
            if replicate < begun {
                self.waiting.insert(work)
            } else {
                self.held.insert(work)
            };
        }
        self.trials.push(trial);
        if version != self.space_version() {
            let current = self.shared_space();
            self.recode(number as usize, &space, &current);
        }
        Ok(())
    }

    /// Ends the trial in whose place the scheduler has started `successor`, if there is one.
    fn make_way(&mut self, successor: u32) -> Result<(), FoldError> {
        self.tally.branched += 1;
        match self.exploiting.take() {
            Some((trial, _)) => self.end(Work::of(trial), &Outcome::Replaced { by: successor }, 0.0),
            None => Ok(()),
        }
    }

    /// Lets a new trial draw on as its parent did, if that made way just where the trial begins.
    fn draw_on(&mut self, number: u32) {
        let Some((parent, step)) = self.trials[number as usize].parent.filter(|(_, step)| *step > 0) else {
            return;
        };
        let stood = |parent: &&Trial| parent.state() == TrialState::Replaced && parent.step() == step;
        if let Some(draws) = self.trial(parent).filter(stood).map(|parent| parent.draws) {
            self.trials[number as usize].draws = draws;
        }
    }

    fn report(
        &mut self,
        work: Work,
        step: u64,
        values: &[(Arc<str>, f64)],
        seconds: f64,
    ) -> Result<(), FoldError> {
        let mut point = CurvePoint { step, loss: f64::NAN, others: Box::default() };
        let direction = self.spec.metrics.objectives.first().map(|metric| metric.direction);
        let mut others = Vec::with_capacity(values.len().saturating_sub(1));
        for (name, value) in values {
            if !value.is_finite() {
                return Err(FoldError::NonFinite(work.trial));
            }
            match (self.metric_id(name), direction) {
                (0, Some(direction)) => point.loss = direction.turn(*value),
                (id, _) => others.push((id, *value)),
            }
        }
        point.others = others.into();
        let piece = self.piece_in(work, &[WorkState::Running], "reported")?;
        let before = piece.step();
        let is_behind = piece.pauses.last().is_some_and(|pause| step <= *pause);
        piece.report(point);
        piece.seconds += seconds;
        let gained = piece.step() - before;
        if gained > 0 {
            piece.lost = 0;
        }
        self.tally.steps += gained;
        self.tally.seconds += seconds;
        self.tally.reports += 1;
        self.rewritten += u64::from(is_behind);
        self.reports.push(ReportAt { work, step });
        Ok(())
    }

    fn end(&mut self, work: Work, outcome: &Outcome, seconds: f64) -> Result<(), FoldError> {
        if let Outcome::Completed { values } = outcome
            && (values.len() != self.spec.metrics.objectives.len() || values.iter().any(|v| !v.is_finite()))
        {
            return Err(FoldError::NonFinite(work.trial));
        }
        let states = [WorkState::Running, WorkState::Waiting, WorkState::Paused, WorkState::Held];
        let piece = self.piece_in(work, &states, "ended")?;
        piece.state = WorkState::Ended;
        piece.seconds += seconds;
        piece.outcome = Some(outcome.clone());
        self.tally.seconds += seconds;
        self.running.remove(&work);
        self.waiting.remove(&work);
        self.paused.remove(&work);
        self.held.remove(&work);
        self.exploiting.take_if(|(trial, _)| *trial == work.trial);
        if work.replicate >= self.spec.replicates.max(1) {
            self.consider_confirmed(work.trial);
        } else if self.trials[work.trial as usize].conclude() {
            self.finish(work.trial);
        } else {
            self.ended_ahead.push(work);
        }
        Ok(())
    }

    /// A trial is stopped between two of its replicates: those that have not begun never will.
    fn end_race(&mut self, number: u32) -> Result<(), FoldError> {
        let first = Work::of(number);
        let held: Vec<Work> =
            self.held.range(first..).copied().take_while(|work| work.trial == number).collect();
        for work in held {
            self.end(work, &Outcome::Pruned, 0.0)?;
        }
        Ok(())
    }

    fn finish(&mut self, number: u32) {
        self.estimate(number);
        let Some(outcome) = self.trials[number as usize].outcome() else { return };
        match outcome {
            Outcome::Completed { .. } => {
                self.tally.completed += 1;
                // A model that is done has no knobs; it can still be taken back to a checkpoint.
                let back = self.steers.iter().position(|steer| matches!(steer, Steer::Back { .. }));
                self.steers.drain(..back.unwrap_or(self.steers.len()));
            }
            Outcome::Pruned => self.tally.pruned += 1,
            Outcome::Replaced { .. } => self.tally.replaced += 1,
            Outcome::Cancelled => self.tally.cancelled += 1,
            Outcome::Failed { .. } => self.tally.failed += 1,
        }
        self.tally.failures_in_a_row = match outcome {
            Outcome::Failed { .. } => self.tally.failures_in_a_row + 1,
            Outcome::Cancelled => self.tally.failures_in_a_row,
            Outcome::Completed { .. } | Outcome::Pruned | Outcome::Replaced { .. } => 0,
        };
        self.finished.push(number);
        self.stop(number, None);
        self.stopping.remove(&number);
        self.consider_incumbent(number);
    }

    /// Notes what the replicates of a trial that finishes say, in the light of the others. Those of all others are noted
    /// anew when there are twice as many to learn from: it costs little then, and what was known to the first was next to nothing.
    fn estimate(&mut self, number: u32) {
        if self.spec.replicates < 2 {
            return;
        }
        if self.learn_effects(number) {
            for at in 0..self.finished.len() {
                let earlier = self.finished[at];
                self.trials[earlier as usize].estimates = self.current_estimates(earlier);
            }
            self.revised += 1;
            self.rewritten += 1;
        }
        self.trials[number as usize].estimates = self.current_estimates(number);
    }

    /// Learns from the replicates of a trial that finishes; whether that says much of the earlier trials too.
    fn learn_effects(&mut self, number: u32) -> bool {
        let trial = &self.trials[number as usize];
        let mut says_much = false;
        for k in 0..self.spec.metrics.objectives.len() {
            let losses: Vec<(u16, f64)> = trial.replicate_losses(&self.spec.metrics, k).collect();
            says_much |= match trial.outcome() {
                Some(Outcome::Completed { .. }) => {
                    let losses: Vec<f64> = losses.into_iter().map(|(_, loss)| loss).collect();
                    self.effects.take(k, number, &losses)
                }
                Some(Outcome::Pruned | Outcome::Cancelled) => self.effects.take_stopped(k, losses),
                Some(Outcome::Failed { .. } | Outcome::Replaced { .. }) | None => false,
            };
        }
        says_much
    }

    fn current_estimates(&self, number: u32) -> Box<[Estimate]> {
        let trial = &self.trials[number as usize];
        match trial.outcome() {
            Some(Outcome::Completed { .. } | Outcome::Pruned | Outcome::Cancelled) => {
                self.estimated(trial).into()
            }
            Some(Outcome::Failed { .. } | Outcome::Replaced { .. }) | None => Box::default(),
        }
    }

    fn estimated(&self, trial: &Trial) -> Vec<Estimate> {
        let objectives = 0..self.spec.metrics.objectives.len();
        let losses = |k| trial.replicate_losses(&self.spec.metrics, k).collect::<Vec<_>>();
        objectives.map_while(|k| self.effects.estimate(k, trial.number, &losses(k))).collect()
    }

    /// Of trials that were measured again, the best is the one with the smallest mean over all its replicates. A trial that
    /// is better by those that all have and was not measured again stays the best until it is.
    fn consider_confirmed(&mut self, number: u32) {
        if !self.trials[number as usize].is_confirmed() {
            return;
        }
        self.confirmed.push(number);
        let awaits = |trial: &Trial| !trial.is_confirmed();
        if self.incumbent().is_some_and(awaits) {
            return;
        }
        let rank = |number: &u32| {
            let trial = &self.trials[*number as usize];
            let losses = trial.replicate_losses(&self.spec.metrics, 0);
            let losses = losses.chain(trial.confirmation_losses(&self.spec.metrics, 0));
            let losses: Vec<f64> = losses.map(|(_, loss)| loss).collect();
            (self.violation(trial), Estimate::plain(&losses).mean, *number)
        };
        let best = self
            .confirmed
            .iter()
            .map(rank)
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        if let Some((_, loss, best)) = best.filter(|best| self.incumbent != Some(best.2)) {
            let (finished, seconds) = (self.tally.finished(), self.tally.seconds);
            self.trajectory.push(Incumbent { finished, seconds, trial: best, loss });
            self.incumbent = Some(best);
        }
    }

    /// The best is the feasible trial with the smallest loss, or the one that breaks the constraints least.
    fn consider_incumbent(&mut self, number: u32) {
        let rank =
            |trial: &Trial| Some((self.violation(trial), trial.loss(&self.spec.metrics, 0)?, trial.number));
        let Some(own) = rank(&self.trials[number as usize]) else { return };
        if self.incumbent().and_then(rank).is_none_or(|best| own < best) {
            let (finished, seconds) = (self.tally.finished(), self.tally.seconds);
            self.trajectory.push(Incumbent { finished, seconds, trial: number, loss: own.1 });
            self.incumbent = Some(number);
        }
    }

    fn draw(&mut self, number: u32, name: &str, value: &Value) -> Result<(), FoldError> {
        let space = self.shared_space();
        let work = FoldError::NoSuchWork(Work::of(number));
        let index = space.find(name).ok_or_else(|| work.clone())?;
        let coded = space.encode_one(index, value)?;
        let trial = self.trials.get_mut(number as usize).ok_or(work)?;
        let mut point = trial.point.0.to_vec();
        point.resize(space.len(), f64::NAN);
        point[index] = coded;
        trial.point = Point(point.into());
        self.rewritten += u64::from(trial.has_stopped());
        if let Some(params) = self.originals.get_mut(&number) {
            params.set(name, value.clone());
        }
        self.traced = true;
        Ok(())
    }

    /// A parameter that a traced trial did not ask for was inactive in it.
    fn keep_only(&mut self, number: u32, used: &[Arc<str>]) -> Result<(), FoldError> {
        let space = self.shared_space();
        let trial = self.trials.get_mut(number as usize).ok_or(FoldError::NoSuchWork(Work::of(number)))?;
        for (k, parameter) in space.parameters().iter().enumerate() {
            if k < trial.point.0.len() && !used.contains(&parameter.name) {
                trial.point.0[k] = f64::NAN;
            }
        }
        self.rewritten += u64::from(trial.has_stopped());
        if let Some(params) = self.originals.get_mut(&number) {
            let kept = params.iter().filter(|(name, _)| used.iter().any(|asked| &**asked == *name));
            *params = kept.fold(Params::new(), |kept, (name, value)| kept.with(name, value.clone()));
        }
        self.traced = true;
        Ok(())
    }

    fn change_space(&mut self, edit: &SpaceEdit) -> Result<(), FoldError> {
        let old = self.shared_space();
        let new = Arc::new(edited(&old, edit)?);
        self.spaces.push(new.clone());
        if let SpaceEdit::Add(_) = edit {
            return Ok(());
        }
        for k in 0..self.trials.len() {
            self.recode(k, &old, &new);
        }
        Ok(())
    }

    /// Moves a trial's codes from one space version to the next; a value without a place marks it outside.
    fn recode(&mut self, number: usize, old: &Space, new: &Space) {
        let trial = &self.trials[number];
        let written = self.originals.get(&trial.number).cloned().unwrap_or_else(|| old.decode(&trial.point));
        let mut point = vec![f64::NAN; new.len()];
        let mut outside = false;
        for (name, value) in written.iter() {
            match new.find(name).map(|k| (k, new.encode_one(k, value))) {
                Some((k, Ok(coded))) => point[k] = coded,
                Some((_, Err(_))) | None => outside = true,
            }
        }
        let trial = &mut self.trials[number];
        trial.point = Point(point.into());
        trial.outside = outside;
        if outside {
            self.originals.insert(number as u32, written);
        } else {
            self.originals.remove(&(number as u32));
        }
    }

    fn metric_id(&mut self, name: &Arc<str>) -> u32 {
        if let Some(&id) = self.metric_index.get(name) {
            return id;
        }
        let id = self.metric_names.len() as u32;
        self.metric_names.push(name.clone());
        self.metric_index.insert(name.clone(), id);
        id
    }

    fn piece_in(
        &mut self,
        work: Work,
        allowed: &[WorkState],
        what: &'static str,
    ) -> Result<&mut Piece, FoldError> {
        let trial = self.trials.get_mut(work.trial as usize).ok_or(FoldError::NoSuchWork(work))?;
        let piece = trial.piece_mut(work.replicate).ok_or(FoldError::NoSuchWork(work))?;
        if allowed.contains(&piece.state) {
            return Ok(piece);
        }
        let state = match piece.state {
            WorkState::Held => "held",
            WorkState::Waiting => TrialState::Waiting.name(),
            WorkState::Running => TrialState::Running.name(),
            WorkState::Paused => TrialState::Paused.name(),
            WorkState::Ended => "ended",
        };
        Err(FoldError::State { work, what, state })
    }
}

/// The space after an edit.
pub fn edited(space: &Space, edit: &SpaceEdit) -> Result<Space, SpaceError> {
    let SpaceData { mut parameters, constraints } = space.clone().into();
    let unknown = |name: &Arc<str>| SpaceError::Value {
        name: name.to_string(),
        problem: "the space has no such parameter".into(),
    };
    match edit {
        SpaceEdit::Add(parameter) => parameters.push(parameter.clone()),
        SpaceEdit::Change(parameter) => {
            let slot = parameters.iter_mut().find(|p| p.name == parameter.name);
            *slot.ok_or_else(|| unknown(&parameter.name))? = parameter.clone();
        }
        SpaceEdit::Retire { name } => {
            let slot = parameters.iter_mut().find(|p| p.name == *name);
            slot.ok_or_else(|| unknown(name))?.retired = true;
        }
    }
    Space::new(parameters, constraints)
}
