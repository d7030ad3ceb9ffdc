//! A session in the hands of a program that asks and tells: who was handed what, since when, and how that stands. No Python
//! here, so all of it runs without Python's lock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use luthier::core::event::{Failure, Outcome, Work};
use luthier::core::study::Study;
use luthier::core::trial::{Piece, WorkState};
use luthier::log::{Log, SqliteLog};
use luthier::process::{ProcessTag, is_alive};
use luthier::session::{Asked, Assigned, Reply, Returned, Session, SessionError};

use crate::error::Problem;
use crate::value::Said;

/// How long a trial stays its process's without a word from it, where the end of the process is noticed anyway.
const HELD: Duration = Duration::from_hours(24 * 365);

/// A study at work.
pub(crate) struct Desk {
    state: State,
    held: BTreeMap<Work, Held>,
    /// Why the last ask had nothing to give and none after it will, as far as is known.
    done: Option<String>,
    access: Access,
    path: Option<PathBuf>,
    process: u32,
}

/// Whose the study is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// In memory: nobody else's.
    Alone,
    /// In a file, and what is handed out comes back when the desk closes.
    Shared,
    /// In a file, and what is handed out stays out for the length of a lease.
    Leased,
}

enum State {
    Open(Box<Session>),
    /// What the study was, to look at.
    Closed(Box<Study>),
}

/// Work that was handed out here.
struct Held {
    attempt: u32,
    /// The last word: seconds of work are counted from here.
    since: Instant,
    phase: Phase,
}

/// How work that was handed out stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// It was told to pause, and whoever has it saves a checkpoint.
    Pausing,
    /// It has ended, and whoever has it was told to stop.
    Over,
    /// It was taken away.
    Gone,
}

/// How work ended, or why the objective says it did.
pub(crate) enum End {
    /// With these values; without any its curve speaks.
    Values(Said),
    /// With a failure and the last of its error output.
    Failed(Failure, Arc<str>),
    /// By the user's wish.
    Cancelled,
}

/// The work that somebody means: a trial as it was handed out, or only its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meant {
    /// Which.
    pub(crate) work: Work,
    /// The token it was handed out with, if that is known.
    pub(crate) attempt: Option<u32>,
}

impl Desk {
    /// A desk for a study in memory.
    pub(crate) fn in_memory(session: Session) -> Self {
        Self::new(session, Access::Alone, None)
    }

    /// A desk for the study in a file. With a lease, what is handed out stays out for so long; without one, until this
    /// process has ended.
    pub(crate) fn in_file(session: Session, path: &Path, lease: Option<Duration>) -> Self {
        let access = if lease.is_some() { Access::Leased } else { Access::Shared };
        let session = session.with_liveness(holder_is_alive).with_lease(lease.unwrap_or(HELD));
        Self::new(session, access, Some(path.to_owned()))
    }

    fn new(session: Session, access: Access, path: Option<PathBuf>) -> Self {
        let state = State::Open(Box::new(session));
        let process = std::process::id();
        Self { state, held: BTreeMap::new(), done: None, access, path, process }
    }

    /// The study, with what others have written to it.
    pub(crate) fn study(&mut self) -> Result<&Study, Problem> {
        if self.access != Access::Alone && !matches!(self.state, State::Closed(_)) {
            self.session()?.refresh()?;
        }
        Ok(match &self.state {
            State::Open(session) => session.study(),
            State::Closed(study) => study,
        })
    }

    /// The study's file.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Why the last ask had nothing to give, if nothing more will come.
    pub(crate) fn done(&self) -> Option<&str> {
        self.done.as_deref()
    }

    /// The session, to change something else in one turn.
    pub(crate) fn session(&mut self) -> Result<&mut Session, Problem> {
        if self.process != std::process::id() {
            let text = "this study was opened in another process, before a fork; open it in this process";
            return Err(Problem::Study(text.into()));
        }
        match &mut self.state {
            State::Open(session) => Ok(session),
            State::Closed(_) => Err(Problem::Study("the study is closed".into())),
        }
    }

    /// Up to `count` pieces of work, all decided in one turn.
    pub(crate) fn ask(&mut self, count: usize) -> Result<Vec<Assigned>, Problem> {
        let is_shared = self.access != Access::Alone;
        let mut done = None;
        let asked = self.session()?.turn(|turn| {
            if is_shared {
                turn.sweep()?;
            }
            let mut asked = Vec::new();
            while asked.len() < count {
                match turn.ask()? {
                    Asked::Work(assigned) => asked.push(*assigned),
                    Asked::Wait => break,
                    Asked::Done(reason) => {
                        done = Some(reason.to_string());
                        break;
                    }
                }
            }
            Ok(asked)
        })?;
        self.done = done;
        let since = Instant::now();
        let hold = |held: &Assigned| Held { attempt: held.attempt, since, phase: Phase::Running };
        self.held.extend(asked.iter().map(|assigned| (assigned.work, hold(assigned))));
        Ok(asked)
    }

    /// Values at a step; answers what to do now.
    pub(crate) fn report(
        &mut self,
        meant: Meant,
        step: u64,
        values: &Said,
        seconds: Option<f64>,
    ) -> Result<&'static str, Problem> {
        let work = meant.work;
        let attempt = self.attempt(meant)?;
        let said = match self.phase(work) {
            Phase::Running => {
                let seconds = self.seconds(work, seconds);
                self.session()?.turn(|turn| turn.report(work, attempt, step, values, seconds))?
            }
            Phase::Pausing => Reply::Pause,
            Phase::Over => Reply::Stop("".into()),
            Phase::Gone => Reply::Gone,
        };
        let (phase, word) = match said {
            Reply::Continue => (Phase::Running, "continue"),
            Reply::Pause => (Phase::Pausing, "pause"),
            Reply::Stop(_) => (Phase::Over, "stop"),
            Reply::Gone => (Phase::Gone, "gone"),
        };
        let since = Instant::now();
        self.held.insert(work, Held { attempt, since, phase });
        Ok(word)
    }

    /// The end of work; answers how it stands now.
    pub(crate) fn end(
        &mut self,
        meant: Meant,
        end: End,
        seconds: Option<f64>,
    ) -> Result<&'static str, Problem> {
        let work = meant.work;
        let attempt = self.attempt(meant)?;
        match self.phase(work) {
            Phase::Over => {
                self.held.remove(&work);
                return Ok(self.standing(work));
            }
            Phase::Gone => return Err(self.gone(work)),
            Phase::Running | Phase::Pausing => {}
        }
        let is_pausing = self.phase(work) == Phase::Pausing;
        let seconds = self.seconds(work, seconds);
        let returned = match end {
            End::Cancelled => {
                self.session()?.turn(|turn| turn.cancel(work, attempt, seconds))?;
                self.held.remove(&work);
                return Ok(self.standing(work));
            }
            // What stands at a pause has been reported.
            End::Values(_) if is_pausing => returned(Ok(()), None, seconds),
            End::Values(values) => {
                self.check_complete(work, &values)?;
                let values = Some(values).filter(|values| !values.is_empty());
                returned(Ok(()), values, seconds)
            }
            End::Failed(failure, detail) => returned(Err((failure, detail)), None, seconds),
        };
        let reply = self.session()?.turn(|turn| turn.finish(work, attempt, returned))?;
        if reply == Reply::Gone {
            return Err(self.gone(work));
        }
        self.held.remove(&work);
        Ok(self.standing(work))
    }

    /// Takes note that nobody has these any more: what was told to pause is paused then.
    pub(crate) fn let_go(&mut self, dropped: &[(Work, u32)]) -> Result<(), Problem> {
        for (work, attempt) in dropped {
            match self.held.get(work) {
                Some(held) if held.attempt == *attempt && held.phase != Phase::Running => {
                    self.settle(*work)?;
                }
                // Whoever kept only the number may still tell.
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Ends the hold on work that is not running any more.
    fn settle(&mut self, work: Work) -> Result<(), Problem> {
        let Some(held) = self.held.remove(&work) else { return Ok(()) };
        if held.phase == Phase::Pausing {
            let pause = returned(Ok(()), None, 0.0);
            self.session()?.turn(|turn| turn.finish(work, held.attempt, pause))?;
        }
        Ok(())
    }

    /// Gives back what was handed out here and not told, and lets go of the file.
    pub(crate) fn close(&mut self) -> Result<(), Problem> {
        if matches!(self.state, State::Closed(_)) {
            return Ok(());
        }
        self.give_back()?;
        let study = self.study()?.clone();
        self.state = State::Closed(Box::new(study));
        Ok(())
    }

    fn give_back(&mut self) -> Result<(), Problem> {
        let settled = self.held.iter().filter(|(_, held)| held.phase != Phase::Running);
        let settled: Vec<Work> = settled.map(|(work, _)| *work).collect();
        settled.into_iter().try_for_each(|work| self.settle(work))?;
        let held = std::mem::take(&mut self.held);
        if self.access == Access::Leased || held.is_empty() {
            return Ok(());
        }
        self.session()?
            .turn(|turn| held.iter().try_for_each(|(work, held)| turn.give_back(*work, held.attempt)))?;
        Ok(())
    }

    /// The token of the work that is meant.
    fn attempt(&mut self, meant: Meant) -> Result<u32, Problem> {
        let work = meant.work;
        self.session()?;
        match (self.held.get(&work), meant.attempt) {
            (Some(held), None) => return Ok(held.attempt),
            (Some(held), Some(attempt)) if held.attempt == attempt => return Ok(attempt),
            (Some(_), Some(_)) => return Err(self.gone(work)),
            (None, _) => {}
        }
        let piece = self.study()?.piece(work).ok_or(SessionError::NoTrial(work.trial))?;
        let (state, attempt) = (piece.state, piece.attempt);
        match meant.attempt {
            None if state == WorkState::Running && attempt == 1 => self.check_free(work).map(|()| 1),
            None if state == WorkState::Running => Err(Problem::Study(format!(
                "trial {} has been handed out {attempt} times; tell with the Trial that ask() gave",
                work.trial
            ))),
            Some(_) | None => Err(Problem::Study(format!(
                "trial {} is {}, not running; ask() hands one out",
                work.trial,
                self.standing(work)
            ))),
        }
    }

    /// Refuses to speak for work that a living worker holds.
    fn check_free(&self, work: Work) -> Result<(), Problem> {
        let Some(path) = &self.path else { return Ok(()) };
        let leases = SqliteLog::watch(path)?.leases()?;
        if leases.iter().any(|lease| lease.work == work && holder_is_alive(&lease.holder) == Some(true)) {
            let number = work.trial;
            let text =
                format!("trial {number} is in the hands of another worker that still runs; that one tells");
            return Err(Problem::Study(text));
        }
        Ok(())
    }

    fn phase(&self, work: Work) -> Phase {
        self.held.get(&work).map_or(Phase::Running, |held| held.phase)
    }

    /// Seconds since the last word, unless they are told.
    fn seconds(&self, work: Work, told: Option<f64>) -> f64 {
        let measured = || self.held.get(&work).map_or(0.0, |held| held.since.elapsed().as_secs_f64());
        told.unwrap_or_else(measured)
    }

    /// Refuses values that leave an objective or a constraint without one, before a trial's work is lost to a mistyped name.
    fn check_complete(&mut self, work: Work, values: &Said) -> Result<(), Problem> {
        let study = match &self.state {
            State::Open(session) => session.study(),
            State::Closed(study) => study,
        };
        let given = |name: &str| values.iter().any(|(known, _)| **known == *name);
        let on_curve = |name: &str| study.piece(work).is_some_and(|piece| is_reported(study, piece, name));
        let metrics = study.metrics();
        let mut names = metrics.objectives.iter().map(|metric| &metric.name).chain(&metrics.constraints);
        match names.find(|name| !given(name) && !on_curve(name)) {
            None => Ok(()),
            Some(missing) => {
                let given: Vec<&str> = values.iter().map(|(name, _)| &**name).collect();
                let given = if given.is_empty() { "nothing".into() } else { given.join(", ") };
                Err(Problem::Study(format!(
                    "trial {} has no value for {missing:?}: none was reported, and {given} was told",
                    work.trial
                )))
            }
        }
    }

    fn gone(&mut self, work: Work) -> Problem {
        self.held.remove(&work);
        Problem::Study(format!(
            "trial {} has been taken over by another worker; nothing was recorded",
            work.trial
        ))
    }

    /// How work stands, in one word.
    fn standing(&self, work: Work) -> &'static str {
        let study = match &self.state {
            State::Open(session) => session.study(),
            State::Closed(study) => study,
        };
        let Some(piece) = study.piece(work) else { return "unknown" };
        match (&piece.outcome, piece.state) {
            (Some(Outcome::Completed { .. }), _) => "completed",
            (Some(Outcome::Pruned), _) => "pruned",
            (Some(Outcome::Replaced { .. }), _) => "replaced",
            (Some(Outcome::Cancelled), _) => "cancelled",
            (Some(Outcome::Failed { .. }), _) => "failed",
            (None, WorkState::Waiting) => "waiting",
            (None, WorkState::Running) => "running",
            (None, WorkState::Paused) => "paused",
            (None, WorkState::Held) => "held",
            (None, WorkState::Ended) => "ended",
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // Whoever drops a study that cannot be written has nobody to tell; its leases tell others.
            let _ = self.give_back();
            return;
        }
        // SQLite's handles must not be closed in a child of the process that opened them.
        let closed = State::Closed(Box::new(match &self.state {
            State::Open(session) => session.study().clone(),
            State::Closed(study) => (**study).clone(),
        }));
        std::mem::forget(std::mem::replace(&mut self.state, closed));
    }
}

fn returned(result: Result<(), (Failure, Arc<str>)>, conclusion: Option<Said>, seconds: f64) -> Returned {
    Returned { result, conclusion, seconds, used: None }
}

fn is_reported(study: &Study, piece: &Piece, name: &str) -> bool {
    piece.curve.iter().any(|point| study.curve_value(point, name).is_some())
}

/// This process, as leases name their holder.
pub(crate) fn holder() -> String {
    serde_json::to_string(&ProcessTag::of_this_process()).unwrap_or_default()
}

fn holder_is_alive(holder: &str) -> Option<bool> {
    is_alive(&serde_json::from_str(holder).ok()?)
}
