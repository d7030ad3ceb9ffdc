//! A study opened for work: the engine's answers written to the log, one turn at a time.
//!
//! A [`Session`] belongs to one thread. Everything that changes the study happens in a [`Turn`], during which no
//! other process appends; so each decision has seen all that came before it, and one commit serves a whole turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use luthier_core::engine::{Done, Engine, Next, check_wish, drawn_value, resolve, trace};
use luthier_core::event::{Decision, Event, Failure, Outcome, SpaceEdit, Steer, Wish, Work};
use luthier_core::lineage::{self, Leg};
use luthier_core::registry::PolicyError;
use luthier_core::rng::{Purpose, Rng};
use luthier_core::space::{Parameter, Params, SpaceError, Value};
use luthier_core::spec::{Limits, Place, PolicySpec, Spec};
use luthier_core::steering::{self, SteerError, present, standing};
use luthier_core::study::Study;
use luthier_core::trial::{CurvePoint, Trial, WorkState};

use crate::log::{Draft, Guard, Log, LogError, ReplayError, replay};

/// How long a lease is good without a sign of life.
pub const LEASE: Duration = Duration::from_mins(1);
/// Records read at once.
const CHUNK: usize = 20_000;

/// What can go wrong with a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The policy names something unknown or has wrong options.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A value or an edit does not fit the space.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// A wish for the model that is watched cannot be granted.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// The log cannot be folded.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// There is no such trial.
    #[error("there is no trial {0}; `luthier trials` lists them")]
    NoTrial(u32),
    /// An earlier error has left the session without a study.
    #[error("the study could not be read again after an error; open it anew")]
    Stale,
    /// Seconds of work that are no duration.
    #[error("seconds of work must be a finite number of at least 0, not {0}")]
    Seconds(f64),
    /// The spec cannot be a study.
    #[error("{0}")]
    Spec(String),
}

/// A study opened for work.
pub struct Session {
    log: Box<dyn Log>,
    study: Study,
    engine: Engine,
    /// The last position folded.
    seen: u64,
    /// Work this session holds, with its tokens.
    held: BTreeMap<Work, u32>,
    lease: Duration,
    is_alive: fn(&str) -> Option<bool>,
    prompter: Option<Prompter>,
    /// After an error the study could not be read again, so what is in memory is no longer what is in the log.
    is_stale: bool,
}

/// Called in the turn of each report, before it is written down, with the work and the step: whatever it writes stands in the log
/// right before the report, so that it comes at the same step however fast anybody is.
pub type Prompter = Box<dyn FnMut(&mut Turn<'_>, Work, u64) -> Result<(), SessionError> + Send>;

/// Work handed to a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// Which.
    pub work: Work,
    /// The fencing token.
    pub attempt: u32,
    /// The trial's params.
    pub params: Params,
    /// How far it may go, in steps; none means to its end.
    pub budget: Option<u64>,
    /// The largest step any trial can reach, where that is known.
    pub max_budget: Option<u64>,
    /// The largest step already reported.
    pub step: u64,
    /// The trial and step whose checkpoint it begins with.
    pub parent: Option<(u32, u64)>,
    /// How that checkpoint came about, the oldest first: what to train along if it is gone. Empty without a parent. It is written out at
    /// each claim, since a worker has no study to read: that costs the params of every trial along the line.
    pub before: Vec<Leg>,
    /// Whether other trials may begin with what this one has when it pauses.
    pub keeps_pauses: bool,
    /// The study's seed.
    pub seed: u64,
    /// The trial whose random choices it makes; see [`Trial::draws`].
    pub draws: u32,
    /// Which fold and seed it is.
    pub place: Place,
    /// The number that replicates of its seed draw by, the same for all trials and folds; none where the study does not name seeds.
    pub seed_number: Option<u64>,
}

impl Assigned {
    /// Whether it pauses once it has come to `step`: that is what it may go to now, and not its end.
    pub(crate) fn pauses_at(&self, step: u64) -> bool {
        self.budget.is_some_and(|budget| step >= budget && self.max_budget.is_none_or(|max| budget < max))
    }

    /// The key of the random stream of this replicate; the same on every attempt.
    pub fn random_key(&self) -> [u8; 32] {
        Rng::key(self.seed, u64::from(self.draws), Purpose::Objective, u64::from(self.work.replicate))
    }

    /// The stream that [`Assigned::random_key`] is the key of.
    pub fn random(&self) -> Rng {
        Rng::stream(self.seed, u64::from(self.draws), Purpose::Objective, u64::from(self.work.replicate))
    }

    /// A number below 2³¹ to seed whatever the objective draws. Where the study names seeds it is the same for all trials
    /// and folds of one seed, so that trials are compared on the same splits; else it belongs to this replicate alone.
    pub fn replicate_seed(&self) -> u64 {
        self.seed_number.unwrap_or_else(|| self.random().bits() >> 33)
    }
}

/// How a worker returned from a piece of work.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    /// Success, or why it failed with the last lines of its error output.
    pub result: Result<(), (Failure, Arc<str>)>,
    /// Final values that stand for the trial; without them its curve does.
    pub conclusion: Option<Vec<(Arc<str>, f64)>>,
    /// Seconds of work since the last report.
    pub seconds: f64,
    /// The parameters that a traced trial asked for.
    pub used: Option<Vec<Arc<str>>>,
}

impl Returned {
    fn paused(used: Option<Vec<Arc<str>>>) -> Self {
        Self { result: Ok(()), conclusion: None, seconds: 0.0, used }
    }

    /// Success with these final values.
    pub fn with_values(values: &[(&str, f64)], seconds: f64) -> Self {
        let conclusion = values.iter().map(|(name, value)| ((*name).into(), *value)).collect();
        Self { result: Ok(()), conclusion: Some(conclusion), seconds, used: None }
    }
}

/// The answer to a request for work.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Do this.
    Work(Box<Assigned>),
    /// Nothing now.
    Wait,
    /// Nothing more.
    Done(Done),
}

/// The answer to a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Go on.
    Continue,
    /// Save a checkpoint and return.
    Pause,
    /// Return; the trial is over, for this reason.
    Stop(Arc<str>),
    /// Return; the work is no longer this worker's, and nothing it says counts.
    Gone,
}

impl Session {
    /// Creates a study in an empty log. The policy is resolved: every option is spelled out in the log.
    pub fn create(mut log: Box<dyn Log>, mut spec: Spec) -> Result<Self, SessionError> {
        check_spec(&spec)?;
        spec.policy = resolve(&spec)?;
        let study = Study::new(spec.clone());
        let engine = Engine::new(&study)?;
        let created = Draft::new(&Event::Created(Box::new(spec)), 0)?;
        log.append(&[created], Guard::End(0))?;
        Ok(Self {
            log,
            study,
            engine,
            seen: 1,
            held: BTreeMap::new(),
            lease: LEASE,
            is_alive: |_| None,
            prompter: None,
            is_stale: false,
        })
    }

    /// Opens the study of a log.
    pub fn open(mut log: Box<dyn Log>) -> Result<Self, SessionError> {
        let (study, seen) = replay(&mut *log)?;
        let engine = Engine::new(&study)?;
        Ok(Self {
            log,
            study,
            engine,
            seen,
            held: BTreeMap::new(),
            lease: LEASE,
            is_alive: |_| None,
            prompter: None,
            is_stale: false,
        })
    }

    /// The same with another lease; for tests and slow networks.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The same with a way to tell whether a lease's holder still lives, so that work is taken over at once.
    pub fn with_liveness(mut self, is_alive: fn(&str) -> Option<bool>) -> Self {
        self.is_alive = is_alive;
        self
    }

    /// The same with somebody who is heard at each report that this session writes down.
    pub fn prompted_by(mut self, prompter: Prompter) -> Self {
        self.prompter = Some(prompter);
        self
    }

    /// The study as far as this session has seen it.
    pub fn study(&self) -> &Study {
        &self.study
    }

    /// Where the study is kept.
    pub fn place(&self) -> String {
        self.log.place()
    }

    /// Whether trials may begin with the checkpoints of others.
    pub fn branches(&self) -> bool {
        self.engine.branches()
    }

    /// Whether what a trial had at its pause at `step` is to be kept, beyond its latest pause.
    pub fn keeps(&self, trial: &Trial, step: u64) -> bool {
        self.engine.keeps(&self.study, trial, step)
    }

    /// Work this session holds, with its tokens.
    pub fn held(&self) -> &BTreeMap<Work, u32> {
        &self.held
    }

    /// Reads what others have appended; returns whether there was any.
    pub fn refresh(&mut self) -> Result<bool, SessionError> {
        let before = self.seen;
        if self.log.has_news(self.seen)? {
            self.catch_up()?;
        }
        Ok(self.seen != before)
    }

    /// Runs `act` while nobody else appends, and makes what it did durable in one commit.
    ///
    /// If `act` fails nothing of the turn is kept.
    pub fn turn<R>(
        &mut self,
        act: impl FnOnce(&mut Turn<'_>) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        if self.is_stale {
            return Err(SessionError::Stale);
        }
        self.log.lock()?;
        let mut turn = Turn { basis: 0, drafts: Vec::new(), leases: Vec::new(), session: self };
        let done = turn.session.catch_up().and_then(|()| {
            turn.basis = turn.session.seen;
            let result = act(&mut turn)?;
            turn.commit()?;
            Ok(result)
        });
        if done.is_err() {
            self.log.abandon();
            self.is_stale = self.reload().is_err();
        }
        done
    }

    /// Forgets what a failed turn has done to the study in memory.
    fn reload(&mut self) -> Result<(), SessionError> {
        (self.study, self.seen) = replay(&mut *self.log)?;
        self.engine = Engine::new(&self.study)?;
        self.held.retain(|work, attempt| holds(&self.study, *work, *attempt));
        Ok(())
    }

    /// A sign of life for all the work this session holds; returns what it has lost.
    pub fn renew(&mut self) -> Result<Vec<Work>, SessionError> {
        let held: Vec<(Work, u32)> = self.held.iter().map(|(work, attempt)| (*work, *attempt)).collect();
        let gone = if held.is_empty() { Vec::new() } else { self.log.renew(&held, self.lease)? };
        for work in &gone {
            self.held.remove(work);
        }
        Ok(gone)
    }

    /// How often a session should give a sign of life.
    pub fn renewal(&self) -> Duration {
        self.lease / 4
    }

    fn catch_up(&mut self) -> Result<(), SessionError> {
        loop {
            let records = self.log.read(self.seen, CHUNK)?;
            let count = records.len();
            for record in records {
                let event = record.event()?;
                self.study.apply(&event).map_err(|problem| ReplayError::Fold { seq: record.seq, problem })?;
                self.seen = record.seq;
            }
            if count < CHUNK {
                return Ok(());
            }
        }
    }
}

/// A session's turn: nobody else appends while it lasts.
pub struct Turn<'a> {
    session: &'a mut Session,
    basis: u64,
    drafts: Vec<Draft>,
    leases: Vec<(Work, Option<u32>)>,
}

impl Turn<'_> {
    /// The study, with everything this turn has done.
    pub fn study(&self) -> &Study {
        &self.session.study
    }

    /// Decides and claims the next piece of work.
    pub fn ask(&mut self) -> Result<Asked, SessionError> {
        loop {
            match self.session.engine.next(&self.session.study)? {
                Next::Decide(event) => self.add(event)?,
                Next::Claim(work) if self.study().stopping().contains(&work.trial) => {
                    self.end_with(work, Outcome::Cancelled, 0.0, None)?;
                }
                Next::Claim(work) if self.is_to_be_done(work) => self.complete_as_it_is(work)?,
                Next::Claim(work) => return self.claim(work).map(|assigned| Asked::Work(Box::new(assigned))),
                Next::Wait => return Ok(Asked::Wait),
                // A later change of the space may have left a queued trial without a place.
                Next::Done(Done::Queue(problem)) => {
                    self.add(Event::Withdrawn { why: problem.to_string().into() })?;
                }
                Next::Done(done) => return Ok(Asked::Done(done)),
            }
        }
    }

    fn claim(&mut self, work: Work) -> Result<Assigned, SessionError> {
        let attempt = self.study().piece(work).map_or(0, |piece| piece.attempt) + 1;
        self.add(Event::Claimed { work, attempt })?;
        self.leases.push((work, Some(attempt)));
        self.session.held.insert(work, attempt);
        let study = self.study();
        let (Some(trial), Some(piece)) = (study.trial(work.trial), study.piece(work)) else {
            return Err(SessionError::NoTrial(work.trial));
        };
        let place = study.spec().place(work.replicate);
        let parent = trial.parent.filter(|(_, step)| *step > 0);
        let mut before = if parent.is_some() { lineage::schedule(study, work.trial) } else { Vec::new() };
        before.pop();
        Ok(Assigned {
            work,
            place,
            seed_number: place.seed.map(|seed| study.spec().seed_number(seed)),
            attempt,
            params: study.params(trial),
            budget: piece.budget,
            max_budget: study.spec().max_budget,
            step: piece.step(),
            parent,
            before,
            keeps_pauses: self.session.engine.branches(),
            seed: study.spec().seed,
            draws: trial.draws,
        })
    }

    /// Values at a step. Non-finite objectives fail the trial; other non-finite metrics are dropped and noted. Of a trial that
    /// goes on from another's checkpoint, steps up to that checkpoint are the other's, and not written down again.
    pub fn report(
        &mut self,
        work: Work,
        attempt: u32,
        step: u64,
        values: &[(Arc<str>, f64)],
        seconds: f64,
    ) -> Result<Reply, SessionError> {
        if !holds(self.study(), work, attempt) {
            return Ok(Reply::Gone);
        }
        if let Some(reason) = self.non_finite(work, values)? {
            let why: Arc<str> = reason.to_string().into();
            let outcome = Outcome::Failed { reason, detail: "".into() };
            self.end_with(work, outcome, seconds, None)?;
            return Ok(Reply::Stop(why));
        }
        // For whoever reports by hand, a report is the sign of life; workers give theirs apart.
        if !self.session.held.contains_key(&work) {
            self.leases.push((work, Some(attempt)));
        }
        if self.study().piece(work).is_some_and(|piece| step <= piece.from && piece.from > 0) {
            return Ok(Reply::Continue);
        }
        if let Some(mut prompter) = self.session.prompter.take() {
            let heard = prompter(self, work, step);
            self.session.prompter = Some(prompter);
            heard?;
        }
        let values: Vec<_> = values.iter().filter(|(_, value)| value.is_finite()).cloned().collect();
        self.add(Event::Reported { work, step, values, seconds })?;
        if let Some(judged) = self.judged(work)? {
            return self.carry_out(&judged);
        }
        if self.study().stopping().contains(&work.trial) {
            self.end_with(work, Outcome::Cancelled, 0.0, None)?;
            return Ok(Reply::Stop("you asked to stop it".into()));
        }
        if let Some(outcome) = self.fate_of_siblings(work) {
            self.end_with(work, outcome, 0.0, None)?;
            return Ok(Reply::Stop("another replicate of the trial has ended it".into()));
        }
        Ok(if self.is_at_budget(work, step) { Reply::Pause } else { Reply::Continue })
    }

    fn carry_out(&mut self, judged: &Event) -> Result<Reply, SessionError> {
        match judged {
            Event::Judged { decision: Decision::Pause, .. } => Ok(Reply::Pause),
            Event::Judged { work, decision: Decision::Stop, why } => {
                self.end_with(*work, Outcome::Pruned, 0.0, None)?;
                Ok(Reply::Stop(why.clone()))
            }
            _ => Ok(Reply::Continue),
        }
    }

    fn non_finite(
        &mut self,
        work: Work,
        values: &[(Arc<str>, f64)],
    ) -> Result<Option<Failure>, SessionError> {
        for (metric, value) in values.iter().filter(|(_, value)| !value.is_finite()) {
            let text: Arc<str> = value.to_string().to_lowercase().into();
            let metrics = self.study().metrics();
            if metrics.objective(metric).is_some() || metrics.constraints.contains(metric) {
                return Ok(Some(Failure::NonFinite { metric: metric.clone(), value: text }));
            }
            let known = |(trial, key, _): &&(Option<u32>, Arc<str>, serde_json::Value)| {
                *trial == Some(work.trial) && **key == *format!("dropped {metric}")
            };
            if self.study().notes().iter().rev().take(64).find(known).is_none() {
                let key = format!("dropped {metric}").into();
                self.add(Event::Noted { trial: Some(work.trial), key, value: (&*text).into() })?;
            }
        }
        Ok(None)
    }

    /// The worker returned: with success, paused at its budget or completed; or with a failure.
    pub fn finish(&mut self, work: Work, attempt: u32, returned: Returned) -> Result<Reply, SessionError> {
        if !holds(self.study(), work, attempt) {
            self.session.held.remove(&work);
            return Ok(Reply::Gone);
        }
        let Returned { result, conclusion, seconds, used } = returned;
        if let (Ok(()), Some(values), Some(budget)) = (&result, &conclusion, self.short_budget(work)) {
            return match self.report(work, attempt, budget, values, seconds)? {
                Reply::Pause => self.finish(work, attempt, Returned::paused(used)),
                reply => Ok(reply),
            };
        }
        let fate = self.fate_of_siblings(work).filter(|_| result.is_ok() && conclusion.is_none());
        let step = self.study().piece(work).map_or(0, luthier_core::trial::Piece::step);
        let outcome = match result {
            _ if fate.is_some() => fate.unwrap_or(Outcome::Pruned),
            Err((reason, detail)) => Outcome::Failed { reason, detail },
            Ok(()) if conclusion.is_none() && self.is_at_budget(work, step) && !self.is_to_be_done(work) => {
                self.add(Event::Paused { work, step, seconds })?;
                self.let_go(work);
                return Ok(Reply::Pause);
            }
            Ok(()) => self.completed(work, conclusion.unwrap_or_default())?,
        };
        self.end_with(work, outcome, seconds, used)?;
        Ok(Reply::Continue)
    }

    /// The budget of work, if it is short of the trial's end: final values given there stand for that step only. Who came to the
    /// largest step at once has nothing to go on to; but other replicates go as far as the first was sent.
    fn short_budget(&self, work: Work) -> Option<u64> {
        let piece = self.study().piece(work)?;
        let is_over = self.study().spec().runs_once() && self.is_final(Some(piece.step()));
        piece.budget.filter(|_| !self.is_final(piece.budget) && !is_over)
    }

    /// Whether work that is at `step` is at a budget that is not the last.
    fn is_at_budget(&self, work: Work, step: u64) -> bool {
        self.short_budget(work).is_some_and(|budget| step >= budget)
    }

    /// The outcome of work that ran to its end: its objectives from the conclusion, else from the curve. Other metrics
    /// of the conclusion join the curve's last point. Of constraints on metrics, too, it has to have told some value.
    fn completed(&mut self, work: Work, conclusion: Vec<(Arc<str>, f64)>) -> Result<Outcome, SessionError> {
        let failed = |reason| Ok(Outcome::Failed { reason, detail: "".into() });
        if let Some(reason) = self.non_finite(work, &conclusion)? {
            return failed(reason);
        }
        let piece = self.study().piece(work).ok_or(SessionError::NoTrial(work.trial))?;
        let step = piece.step();
        let curve = self.study().curve_values(piece, u64::MAX);
        let metrics = self.study().metrics();
        let mut values = Vec::with_capacity(metrics.objectives.len());
        for (k, metric) in metrics.objectives.iter().enumerate() {
            let concluded = conclusion.iter().find(|(name, _)| *name == metric.name).map(|(_, value)| *value);
            match concluded.or_else(|| curve.as_ref().ok().map(|curve| curve[k])) {
                Some(value) => values.push(value),
                None => return failed(Failure::NoResult { metric: metric.name.clone() }),
            }
        }
        let is_told = |name: &&Arc<str>| {
            let on_curve = |point: &CurvePoint| self.study().curve_value(point, name).is_some();
            conclusion.iter().any(|(told, _)| told == *name)
                || piece.curve.iter().chain(piece.before.as_deref()).any(on_curve)
        };
        if let Some(untold) = metrics.constraints.iter().find(|name| !is_told(name)) {
            return failed(Failure::NoResult { metric: untold.clone() });
        }
        let is_other =
            |(name, value): &&(Arc<str>, f64)| metrics.objective(name).is_none() && value.is_finite();
        let others: Vec<_> = conclusion.iter().filter(is_other).cloned().collect();
        if !others.is_empty() {
            self.add(Event::Reported { work, step, values: others, seconds: 0.0 })?;
            // The rules look at a curve whenever it is reported to, and so does whoever re-derives them.
            if let Some(Event::Judged { decision: Decision::Stop, .. }) = self.judged(work)? {
                return Ok(Outcome::Pruned);
            }
        }
        Ok(Outcome::Completed { values })
    }

    /// The engine's verdict after a report, written down.
    fn judged(&mut self, work: Work) -> Result<Option<Event>, SessionError> {
        let judged = self.session.engine.judge(&self.session.study, work)?;
        if let Some(event) = &judged {
            self.add(event.clone())?;
        }
        Ok(judged)
    }

    /// Whether a budget reaches the end of a trial.
    fn is_final(&self, budget: Option<u64>) -> bool {
        match (budget, self.study().spec().max_budget) {
            (Some(budget), Some(max)) => budget >= max,
            (None, _) => true,
            (Some(_), None) => false,
        }
    }

    /// Gives work back so that it can be claimed again at once; does not count as a lost attempt.
    pub fn give_back(&mut self, work: Work, attempt: u32) -> Result<(), SessionError> {
        if holds(self.study(), work, attempt) {
            self.add(Event::Lost { work, returned: true })?;
            self.let_go(work);
        }
        Ok(())
    }

    /// Ends work that a user asked to stop.
    pub fn cancel(&mut self, work: Work, attempt: u32, seconds: f64) -> Result<(), SessionError> {
        if holds(self.study(), work, attempt) {
            self.end_with(work, Outcome::Cancelled, seconds, None)?;
        }
        Ok(())
    }

    /// The value of a parameter that a trial asks for; an unknown one grows the space.
    pub fn draw(
        &mut self,
        work: Work,
        attempt: u32,
        parameter: &Parameter,
    ) -> Result<Option<Value>, SessionError> {
        if !holds(self.study(), work, attempt) {
            return Ok(None);
        }
        if let Some(edit) = trace(self.study().space(), parameter)? {
            self.add(Event::SpaceChanged(edit))?;
        }
        let study = self.study();
        let space = study.shared_space();
        let index =
            space.find(&parameter.name).ok_or_else(|| SessionError::Spec("the space did not grow".into()))?;
        let trial = study.trial(work.trial).ok_or(SessionError::NoTrial(work.trial))?;
        if let Some(coded) = trial.point.get(index) {
            return Ok(Some(space.parameters()[index].distribution.decode(coded)));
        }
        let value = drawn_value(study, work.trial, index);
        self.add(Event::Drawn { trial: work.trial, name: parameter.name.clone(), value: value.clone() })?;
        Ok(Some(value))
    }

    /// Takes work away from holders that are gone: their lease ran out, or their process has ended.
    pub fn sweep(&mut self) -> Result<u64, SessionError> {
        let own = self.session.log.writer();
        let mut lost = 0;
        for lease in self.session.log.leases()? {
            let is_dead = (self.session.is_alive)(&lease.holder) == Some(false);
            let is_ours = lease.writer == own && self.session.held.contains_key(&lease.work);
            if is_ours || (lease.expired_for <= 0.0 && !is_dead) {
                continue;
            }
            if holds(self.study(), lease.work, lease.attempt) {
                lost += 1;
                self.lose(lease.work)?;
            }
            self.leases.push((lease.work, None));
        }
        Ok(lost)
    }

    /// Writes down that the worker which held the work is gone, or that it was one too many.
    pub(crate) fn lose(&mut self, work: Work) -> Result<(), SessionError> {
        self.session.held.remove(&work);
        let attempts = self.study().piece(work).map_or(0, |piece| piece.lost) + 1;
        if attempts >= self.study().spec().max_attempts {
            let outcome = Outcome::Failed { reason: Failure::Lost { attempts }, detail: "".into() };
            return self.add(Event::Ended { work, outcome, seconds: 0.0, used: None });
        }
        self.add(Event::Lost { work, returned: false })
    }

    /// Queues params to be tried next.
    pub fn enqueue(&mut self, wish: Wish) -> Result<(), SessionError> {
        check_wish(self.study().space(), &wish)?;
        self.add(Event::Enqueued(wish))
    }

    /// Asks a trial to stop. Work that nobody holds ends at once.
    pub fn stop(&mut self, trial: u32) -> Result<(), SessionError> {
        let Some(known) = self.study().trial(trial) else { return Err(SessionError::NoTrial(trial)) };
        let idle =
            |state: WorkState| matches!(state, WorkState::Waiting | WorkState::Paused | WorkState::Held);
        let pieces: Vec<Work> =
            known.replicates().filter(|(_, piece)| idle(piece.state)).map(|(work, _)| work).collect();
        self.add(Event::StopAsked { trial })?;
        for work in pieces {
            self.end_with(work, Outcome::Cancelled, 0.0, None)?;
        }
        Ok(())
    }

    /// Steers the one model that is watched. It takes effect when the model next reports, or at once if it is paused.
    pub fn steer(&mut self, steer: Steer) -> Result<(), SessionError> {
        if !self.session.engine.is_steered() {
            return Err(SteerError::NotWatched.into());
        }
        steering::check(self.study(), &steer, |trial, step| self.session.keeps(trial, step))?;
        let stops = steer == Steer::Stop;
        self.add(Event::Steered(steer))?;
        let idle = self.study().paused().iter().copied().find(|work| stops && self.is_to_be_done(*work));
        idle.map_or(Ok(()), |work| self.complete_as_it_is(work))
    }

    /// Whether a user wants the model of this work as it is.
    fn is_to_be_done(&self, work: Work) -> bool {
        let study = self.study();
        let is_watched =
            !study.steers().is_empty() && present(study).is_some_and(|trial| trial.number == work.trial);
        let has_curve = study.piece(work).is_some_and(|piece| !piece.curve.is_empty());
        is_watched && has_curve && standing(study).is_some_and(|standing| standing.is_over)
    }

    /// Ends work with the values of its curve.
    fn complete_as_it_is(&mut self, work: Work) -> Result<(), SessionError> {
        let outcome = self.completed(work, Vec::new())?;
        self.end_with(work, outcome, 0.0, None)
    }

    /// Changes the limits from here on.
    pub fn change_limits(&mut self, limits: Limits) -> Result<(), SessionError> {
        limits.check().map_err(SessionError::Spec)?;
        self.add(Event::LimitsChanged(limits))
    }

    /// Changes the policy from here on, its options spelled out.
    pub fn change_policy(&mut self, policy: PolicySpec) -> Result<(), SessionError> {
        let spec = Spec { policy, ..self.study().spec().clone() };
        let resolved = resolve(&spec)?;
        self.add(Event::PolicyChanged(resolved))
    }

    /// Changes the space for later trials.
    pub fn change_space(&mut self, edit: SpaceEdit) -> Result<(), SessionError> {
        luthier_core::study::edited(self.study().space(), &edit)?;
        self.add(Event::SpaceChanged(edit))
    }

    /// Writes a note.
    pub fn note(
        &mut self,
        trial: Option<u32>,
        key: &str,
        value: serde_json::Value,
    ) -> Result<(), SessionError> {
        if let Some(number) = trial.filter(|n| self.study().trial(*n).is_none()) {
            return Err(SessionError::NoTrial(number));
        }
        self.add(Event::Noted { trial, key: key.into(), value })
    }

    fn end_with(
        &mut self,
        work: Work,
        outcome: Outcome,
        seconds: f64,
        used: Option<Vec<Arc<str>>>,
    ) -> Result<(), SessionError> {
        let goes_on = matches!(outcome, Outcome::Completed { .. });
        self.add(Event::Ended { work, outcome: outcome.clone(), seconds, used })?;
        self.let_go(work);
        if !goes_on {
            self.end_idle_siblings(work.trial, &outcome)?;
        }
        Ok(())
    }

    /// A trial is over once one of its replicates has not completed: nobody needs to run the others.
    fn end_idle_siblings(&mut self, trial: u32, outcome: &Outcome) -> Result<(), SessionError> {
        let Some(trial) = self.study().trial(trial) else { return Ok(()) };
        let is_idle = |state| matches!(state, WorkState::Waiting | WorkState::Paused | WorkState::Held);
        let idle: Vec<Work> =
            trial.replicates().filter(|(_, piece)| is_idle(piece.state)).map(|(work, _)| work).collect();
        for work in idle {
            self.add(Event::Ended { work, outcome: outcome.clone(), seconds: 0.0, used: None })?;
        }
        Ok(())
    }

    /// How another replicate ended, if it did not complete.
    fn fate_of_siblings(&self, work: Work) -> Option<Outcome> {
        fate_of_siblings(self.study(), work)
    }

    fn let_go(&mut self, work: Work) {
        self.session.held.remove(&work);
        self.leases.push((work, None));
    }

    fn add(&mut self, event: Event) -> Result<(), SessionError> {
        if let Some(seconds) = event.seconds().filter(|seconds| !(seconds.is_finite() && *seconds >= 0.0)) {
            return Err(SessionError::Seconds(seconds));
        }
        let position = self.basis + self.drafts.len() as u64;
        self.session
            .study
            .apply(&event)
            .map_err(|problem| ReplayError::Fold { seq: position + 1, problem })?;
        self.drafts.push(Draft::new(&event, position)?);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SessionError> {
        let session = &mut *self.session;
        if !self.drafts.is_empty() {
            session.seen = session.log.append(&self.drafts, Guard::End(self.basis))?;
        }
        for (work, attempt) in self.leases.drain(..) {
            match attempt {
                Some(attempt) => session.log.hold(work, attempt, session.lease)?,
                None => session.log.release(work)?,
            }
        }
        session.log.unlock()?;
        Ok(())
    }
}

/// The raw values of a curve's point, by name; for display.
pub fn named_values(study: &Study, point: &CurvePoint) -> Vec<(Arc<str>, f64)> {
    let names = study.metric_names().iter();
    names.filter_map(|name| Some((name.clone(), study.curve_value(point, name)?))).collect()
}

fn holds(study: &Study, work: Work, attempt: u32) -> bool {
    study.piece(work).is_some_and(|piece| piece.state == WorkState::Running && piece.attempt == attempt)
}

/// How another replicate of an unfinished trial ended, if it did not complete: then nobody needs this one.
pub(crate) fn fate_of_siblings(study: &Study, work: Work) -> Option<Outcome> {
    let trial = study.trial(work.trial).filter(|trial| !trial.is_finished())?;
    let mut ended = trial.replicates().filter_map(|(_, piece)| piece.outcome.clone());
    ended.find(|outcome| !matches!(outcome, Outcome::Completed { .. }))
}

fn check_spec(spec: &Spec) -> Result<(), SessionError> {
    let wrong = |problem: &str| Err(SessionError::Spec(problem.into()));
    if spec.metrics.objectives.is_empty() {
        return wrong("a study needs at least one metric to optimise");
    }
    if spec.replicates == 0 {
        return wrong("replicates must be at least 1");
    }
    if let Some(design) = spec.design {
        design.check().map_err(SessionError::Spec)?;
        if design.replicates() != spec.replicates {
            return wrong("folds times seeds must be the number of replicates");
        }
    }
    spec.limits.check().map_err(SessionError::Spec)?;
    if spec.max_attempts == 0 {
        return wrong("max_attempts must be at least 1");
    }
    Ok(())
}
