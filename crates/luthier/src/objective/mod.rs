//! The function under study. An objective knows its params and its budget; it has never heard of samplers.

mod closure;
pub mod command;
pub(crate) mod kept;
mod pool;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use luthier_core::event::{Failure, Work};
use luthier_core::rng::Rng;
use luthier_core::space::{Parameter, Params, Value};

pub use closure::closure;
use kept::Sharing;
pub use pool::{Clock, Intake, Next, Pool};

use crate::folders;
use crate::session::{Assigned, Reply, Returned};

/// The function under study.
pub trait Objective: Send + Sync {
    /// Evaluates one trial: reports values through `running` and returns when it is done, or when a report said so.
    ///
    /// A failure is data: it is recorded with the trial and the study goes on. But where it is [`Failure::NotStarted`],
    /// which says nothing about the params, the trial is given back and the run ends.
    fn evaluate(&self, running: &mut Running<'_>) -> Result<(), Failed>;

    /// How many trials one call of [`Objective::evaluate_batch`] can evaluate at once, at least 1; default 1. It is
    /// asked once for each run, and each worker has as many slots.
    fn slots(&self) -> usize {
        1
    }

    /// Whether the files of its checkpoints are only ever replaced, never changed in place; default false. Then a trial that
    /// begins with another's checkpoint gets hard links and not copies.
    fn replaces_files(&self) -> bool {
        false
    }

    /// Evaluates trials of `pool` until it has none: what a worker calls. By default one after the other with
    /// [`Objective::evaluate`]; an objective that can evaluate many at once, such as networks of one shape as one
    /// tensor program, overrides this and [`Objective::slots`].
    ///
    /// It fills its slots by [`Pool::refill`], and [finishes](Running::finish) each trial for itself, well or badly:
    /// what happens to one is nothing to the others. When nothing runs and there is nothing to refill with, it returns,
    /// to be called again if there is more. Trials that it has not finished then fail: with the error that it
    /// returned, with its panic, or for having been forgotten.
    ///
    /// ```
    /// use luthier::core::{metric::{Direction, Metrics}, space::Space, spec::Spec};
    /// use luthier::executor::{Options, run};
    /// use luthier::log::MemoryLog;
    /// use luthier::objective::{Failed, Flow, Next, Objective, Pool, Running};
    /// use luthier::session::Session;
    ///
    /// /// Walks down |x| with many trials at once.
    /// struct Walk;
    ///
    /// impl Objective for Walk {
    ///     fn evaluate(&self, _: &mut Running<'_>) -> Result<(), Failed> {
    ///         unreachable!("the pool is never asked for one trial at a time")
    ///     }
    ///
    ///     fn slots(&self) -> usize {
    ///         8
    ///     }
    ///
    ///     fn evaluate_batch(&self, pool: &mut Pool<'_>) -> Result<(), Failed> {
    ///         let mut members: Vec<(Running<'_>, f64, u64)> = Vec::new();
    ///         loop {
    ///             while let Next::Trial(running) = pool.refill() {
    ///                 match running.float("x") {
    ///                     Ok(x) => members.push((running, x, 0)),
    ///                     Err(failure) => running.finish(Err(failure.into())),
    ///                 }
    ///             }
    ///             if members.is_empty() {
    ///                 return Ok(());
    ///             }
    ///             for (running, x, step) in &mut members {
    ///                 (*x, *step) = (*x * 0.9, *step + 1); // one step of all, as one program
    ///                 running.post(*step, &[("loss", x.abs())]);
    ///             }
    ///             for (mut running, x, step) in std::mem::take(&mut members) {
    ///                 if running.flow() == Flow::Continue && step < 10 && !running.is_interrupted() {
    ///                     members.push((running, x, step));
    ///                 } else {
    ///                     running.finish(Ok(()));
    ///                 }
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// let space = Space::builder().float("x", -1.0..=1.0).build()?;
    /// let mut spec = Spec::new("walk", space, Metrics::single("loss", Direction::Minimize));
    /// spec.limits.trials = Some(30);
    /// let mut session = Session::create(Box::new(MemoryLog::new()), spec)?;
    /// run(&mut session, &Walk, &Options::new("walk.trials"), &mut |_, _| {})?;
    /// assert_eq!(session.study().tally().completed, 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn evaluate_batch(&self, pool: &mut Pool<'_>) -> Result<(), Failed> {
        while let Next::Trial(mut running) = pool.refill() {
            let result = self.evaluate(&mut running);
            running.finish(result);
        }
        Ok(())
    }
}

/// A failure with the last lines of whatever the objective printed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// Why.
    pub reason: Failure,
    /// The last lines of its error output; may be empty.
    pub detail: Arc<str>,
}

impl From<Failure> for Failed {
    fn from(reason: Failure) -> Self {
        Self { reason, detail: "".into() }
    }
}

/// What an objective does after a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// Go on.
    Continue,
    /// Save a checkpoint and return.
    Pause,
    /// Return.
    Stop,
}

/// The line from a running trial to the study.
pub trait Link: Send {
    /// Values at a step. The answer is waited for by [`Link::reply`], once, before anything else is posted.
    fn post(&mut self, step: u64, values: Vec<(Arc<str>, f64)>, seconds: f64);
    /// The answer to what was posted.
    fn reply(&mut self) -> Reply;
    /// The value of a parameter that the trial asks for, or why there is none.
    fn draw(&mut self, parameter: Parameter) -> Result<Value, Failure>;
    /// The trial is over for the objective; nothing follows.
    fn finish(&mut self, returned: Returned);
    /// The trial was dropped unfinished, after so many seconds since the last report and with these parameters used.
    /// Whoever called the objective says why.
    fn abandon(&mut self, seconds: f64, used: Option<Vec<Arc<str>>>);
}

/// One trial (or one replicate of it) while it runs.
pub struct Running<'a> {
    assigned: Assigned,
    link: Box<dyn Link + 'a>,
    interrupt: Arc<AtomicBool>,
    folder: PathBuf,
    clock: Clock,
    since: f64,
    /// Whether a report waits for its answer.
    is_posted: bool,
    ended: Option<Flow>,
    is_finished: bool,
    /// Parameters looked at by name; a trial that also suggests used these and no others.
    asked: RefCell<Vec<Arc<str>>>,
    suggests: bool,
    why: Arc<str>,
    conclusion: Option<Vec<(Arc<str>, f64)>>,
    sharing: Sharing,
    /// The step of its pause, once what it has there is kept.
    kept_at: Option<u64>,
}

impl<'a> Running<'a> {
    /// A running trial whose files live in `folder`; `interrupt` turns true when it should end without a report, and
    /// `clock` is that of the worker it runs on.
    pub fn new(
        assigned: Assigned,
        link: Box<dyn Link + 'a>,
        interrupt: Arc<AtomicBool>,
        folder: PathBuf,
        clock: Clock,
    ) -> Self {
        clock.enter();
        let since = clock.seconds();
        Self {
            assigned,
            link,
            interrupt,
            folder,
            clock,
            since,
            is_posted: false,
            ended: None,
            is_finished: false,
            asked: RefCell::default(),
            suggests: false,
            why: "".into(),
            conclusion: None,
            sharing: Sharing::Copies,
            kept_at: None,
        }
    }

    /// The same where the files of a checkpoint are [replaced and never changed](Objective::replaces_files).
    pub(crate) fn sharing(mut self, sharing: Sharing) -> Self {
        self.sharing = sharing;
        self
    }

    /// The trial's params; all of them count as used.
    pub fn params(&self) -> &Params {
        for (name, _) in self.assigned.params.iter() {
            self.note_use(name);
        }
        &self.assigned.params
    }

    fn note_use(&self, name: &str) {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|known| **known == *name) {
            asked.push(name.into());
        }
    }

    /// The trial's number.
    pub fn trial(&self) -> u32 {
        self.assigned.work.trial
    }

    /// The replicate (fold or seed), from 0.
    pub fn replicate(&self) -> u16 {
        self.assigned.work.replicate
    }

    /// The fold of this replicate, from 0; 0 where there are none.
    pub fn fold(&self) -> u16 {
        self.assigned.place.fold
    }

    /// How many folds there are; 1 where there are none.
    pub fn folds(&self) -> u16 {
        self.assigned.place.folds
    }

    /// A number below 2³¹ to seed whatever the objective draws. Where the study names seeds it is the same for all trials
    /// and folds of one seed, so that trials are compared on the same splits; else it belongs to this replicate alone.
    pub fn seed(&self) -> u64 {
        self.assigned.replicate_seed()
    }

    /// How often this work has been started, from 1.
    pub fn attempt(&self) -> u32 {
        self.assigned.attempt
    }

    /// The step to go to, if it is not the trial's end.
    pub fn budget(&self) -> Option<u64> {
        self.assigned.budget
    }

    /// The largest step any trial can reach, where the study declares it.
    pub fn max_budget(&self) -> Option<u64> {
        self.assigned.max_budget
    }

    /// The largest step reported so far, also by earlier attempts; if there is none, the step of the checkpoint that the
    /// trial begins with, or 0. A resumed trial continues from a checkpoint at or before it.
    pub fn step(&self) -> u64 {
        self.assigned.step
    }

    /// The trial and step whose checkpoint this trial begins with.
    pub fn parent(&self) -> Option<(u32, u64)> {
        self.assigned.parent
    }

    /// The key of the random stream for whatever the objective draws itself; the same on every attempt.
    pub fn random_key(&self) -> [u8; 32] {
        self.assigned.random_key()
    }

    /// The stream that [`Running::random_key`] is the key of.
    pub fn random(&self) -> Rng {
        self.assigned.random()
    }

    /// A float parameter.
    pub fn float(&self, name: &str) -> Result<f64, Failure> {
        self.value(name, "a number", Value::as_f64)
    }

    /// An integer parameter.
    pub fn int(&self, name: &str) -> Result<i64, Failure> {
        self.value(name, "a whole number", Value::as_i64)
    }

    /// A boolean parameter.
    pub fn flag(&self, name: &str) -> Result<bool, Failure> {
        self.value(name, "true or false", Value::as_bool)
    }

    /// A text parameter.
    pub fn text(&self, name: &str) -> Result<String, Failure> {
        self.value(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    fn value<T>(&self, name: &str, kind: &str, read: impl Fn(&Value) -> Option<T>) -> Result<T, Failure> {
        self.note_use(name);
        let value = self.assigned.params.get(name);
        let value = value.ok_or_else(|| Failure::error(format!("the trial has no parameter {name:?}")))?;
        read(value).ok_or_else(|| Failure::error(format!("parameter {name:?} is {value}, not {kind}")))
    }

    /// Define-by-run: the trial's value of `parameter`. A name the space does not know grows the space.
    pub fn suggest(&mut self, parameter: Parameter) -> Result<Value, Failure> {
        let name = parameter.name.clone();
        self.note_use(&name);
        self.suggests = true;
        if let Some(value) = self.assigned.params.get(&name)
            && parameter.distribution.encode(value).is_ok()
        {
            return Ok(value.clone());
        }
        let value = self.link.draw(parameter)?;
        self.assigned.params.set(name, value.clone());
        Ok(value)
    }

    /// The parameters a define-by-run trial has used; `None` if it has suggested none.
    pub fn asked(&self) -> Option<Vec<Arc<str>>> {
        self.suggests.then(|| self.asked.borrow().clone())
    }

    /// Reports values at a step and says what to do now. Steps ascend; a step reported twice counts once, the last time.
    pub fn report(&mut self, step: u64, values: &[(&str, f64)]) -> Flow {
        self.post(step, values);
        self.flow()
    }

    /// Like [`Running::report`], with names made elsewhere.
    pub fn report_named(&mut self, step: u64, values: Vec<(Arc<str>, f64)>) -> Flow {
        self.post_named(step, values);
        self.flow()
    }

    /// Reports values at a step without waiting for what [`Running::flow`] then says. Of trials that run together, post
    /// all reports before the first answer is asked for: they are written down together.
    pub fn post(&mut self, step: u64, values: &[(&str, f64)]) {
        let values = values.iter().map(|(name, value)| ((*name).into(), *value)).collect();
        self.post_named(step, values);
    }

    /// Like [`Running::post`], with names made elsewhere.
    pub fn post_named(&mut self, step: u64, values: Vec<(Arc<str>, f64)>) {
        if self.is_posted {
            let _kept_in_ended = self.flow();
        }
        if self.ended.is_some() {
            return;
        }
        let seconds = self.take_seconds();
        self.assigned.step = self.assigned.step.max(step);
        self.link.post(step, values, seconds);
        self.is_posted = true;
    }

    /// What to do now, by the answer to the last report.
    pub fn flow(&mut self) -> Flow {
        if let Some(ended) = self.ended {
            return ended;
        }
        let reply = if std::mem::take(&mut self.is_posted) { self.link.reply() } else { Reply::Continue };
        let flow = match reply {
            Reply::Continue if self.is_interrupted() => return Flow::Stop,
            Reply::Continue => return Flow::Continue,
            Reply::Pause => Flow::Pause,
            Reply::Stop(why) => {
                self.why = why;
                Flow::Stop
            }
            Reply::Gone => Flow::Stop,
        };
        self.ended = Some(flow);
        flow
    }

    /// The final values of a trial that has no curve, or whose curve they stand for; they count when the objective
    /// returns. Where the trial was sent less far than its end, they count as reported there.
    pub fn conclude(&mut self, values: Vec<(Arc<str>, f64)>) {
        self.conclusion = Some(values);
    }

    /// Says that the objective is done with the trial: well, paused with its checkpoint saved, or failed. Only
    /// [`Objective::evaluate_batch`] does this itself. Does not wait until it is written down.
    pub fn finish(mut self, result: Result<(), Failed>) {
        let (checkpoint, sharing) = (self.checkpoint_folder(), self.sharing);
        let result = result.and_then(|()| self.keep_pause(&checkpoint, sharing));
        let returned = Returned {
            result: result.map_err(|failed| (failed.reason, failed.detail)),
            conclusion: self.conclusion.take(),
            seconds: self.take_seconds(),
            used: self.asked(),
        };
        self.is_finished = true;
        self.link.finish(returned);
    }

    /// Keeps a folder as the checkpoint of a pause, for trials that may begin with it; once for a pause.
    pub(crate) fn keep_pause(&mut self, checkpoint: &Path, sharing: Sharing) -> Result<(), Failed> {
        let Assigned { budget, max_budget, step, .. } = self.assigned;
        let step = if self.conclusion.is_some() { budget.unwrap_or(step) } else { step };
        let pauses = self.assigned.pauses_at(step)
            || (self.ended == Some(Flow::Pause) && max_budget.is_none_or(|max| step < max));
        if !self.assigned.keeps_pauses || !pauses || self.kept_at == Some(step) {
            return Ok(());
        }
        let kept = kept::keep(&self.folder, checkpoint, step, sharing);
        self.kept_at = kept.is_ok().then_some(step);
        kept.map_err(|error| {
            Failure::error(format!("its checkpoint of step {step} cannot be kept: {error}")).into()
        })
    }

    /// The folder of the trial whose checkpoint this trial begins with, if there is one.
    pub fn parent_folder(&self) -> Option<PathBuf> {
        let (parent, _) = self.parent()?;
        Some(folders::of_work(self.folder.parent()?, Work::of(parent)))
    }

    /// What the last report said, if it ended the trial.
    pub fn ended(&self) -> Option<Flow> {
        self.ended
    }

    /// Why the trial was stopped; empty if it was not.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Whether the trial should end as soon as it can, saving a checkpoint if it has one: the user interrupted the run
    /// or asked this trial to stop, or the work now belongs to another worker.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// The interrupt itself, for code that waits elsewhere.
    pub fn interrupt(&self) -> &Arc<AtomicBool> {
        &self.interrupt
    }

    /// The trial's own folder; it may not exist yet.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the trial keeps its checkpoint, across pause, resume and lost workers; it may not exist yet.
    pub fn checkpoint_folder(&self) -> PathBuf {
        folders::checkpoint_in(&self.folder)
    }

    /// Seconds of work since the last report; see [`Clock`] for trials that run together.
    fn take_seconds(&mut self) -> f64 {
        let now = self.clock.seconds();
        now - std::mem::replace(&mut self.since, now)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            let (seconds, used) = (self.take_seconds(), self.asked());
            self.link.abandon(seconds, used);
        }
        self.clock.leave();
    }
}
