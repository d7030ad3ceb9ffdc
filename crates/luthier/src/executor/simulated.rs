//! A study in virtual time: the session, its engine and its log are real, the workers and their clock are not.
//!
//! What trials report, and how long that takes, is [recorded](Recording). So a thousand workers and ten thousand trials are
//! played in seconds, with slow workers, stragglers, failures and workers that vanish, all drawn from the simulation's own
//! seed: the same seed gives the same log. Nothing is evaluated, no thread is started, no file written.

mod recording;

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use luthier_core::event::{Failure, Work};
use luthier_core::rng::{Purpose, Rng};
use luthier_core::study::Study;

pub use recording::{Curves, CurvesError, Life, Recorded, Recording, Told};

use super::End;
use crate::session::{Asked, Assigned, Reply, Returned, Session, SessionError, Turn};

/// The world that is simulated.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Workers, at least 1.
    pub workers: usize,
    /// Seed of everything that is drawn; the study's own seed is another.
    pub seed: u64,
    /// By how much each worker is slower than the recording: one draw for each worker.
    pub workers_slowness: Slowness,
    /// By how much each claim of a trial takes longer than recorded: one draw for each claim. Stragglers live here.
    pub trials_slowness: Slowness,
    /// Seconds between taking a piece of work and its first step, each time it is taken.
    pub start_seconds: f64,
    /// Probability that a step ends in a failure of the trial.
    pub failure: f64,
    /// Probability that a step ends in the worker's vanishing.
    pub loss: f64,
    /// Seconds until a vanished worker is missed and its work given to others, and another worker is in its place.
    pub missed_after: f64,
    /// A checkpoint every so many steps. One is written in any case where a trial pauses; lost work begins at the last.
    pub checkpoint_every: Option<u64>,
    /// The simulation ends after so many virtual seconds, whatever runs.
    pub seconds: Option<f64>,
}

impl Simulation {
    /// So many workers, all as fast as recorded, to whom nothing happens.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            seed: 0,
            workers_slowness: Slowness::None,
            trials_slowness: Slowness::None,
            start_seconds: 0.0,
            failure: 0.0,
            loss: 0.0,
            missed_after: 60.0,
            checkpoint_every: None,
            seconds: None,
        }
    }
}

/// A factor on durations, as a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slowness {
    /// Always 1.
    None,
    /// Log-normal with median 1: `deviation` is that of the factor's logarithm.
    LogNormal {
        /// From 0; at 0.3 two thirds of the factors lie between 0.74 and 1.35.
        deviation: f64,
    },
    /// Mostly 1, but with probability `share` Pareto-distributed from 1 on: the heavy tail of stragglers.
    Stragglers {
        /// Probability of a straggler, 0 to 1.
        share: f64,
        /// Shape, above 0; at 1.5 one straggler in 32 is ten times slower.
        shape: f64,
    },
}

impl Slowness {
    fn draw(self, rng: &mut Rng) -> f64 {
        match self {
            Self::None => 1.0,
            Self::LogNormal { deviation } => (deviation * rng.normal()).exp(),
            Self::Stragglers { share, shape } => {
                let (is_slow, tail) = (rng.uniform() < share, 1.0 - rng.uniform());
                if is_slow { tail.powf(-1.0 / shape) } else { 1.0 }
            }
        }
    }
}

/// What a simulation came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// Why it ended; [`End::Limit`] for its own seconds.
    pub end: End,
    /// Virtual seconds until the last event.
    pub seconds: f64,
    /// Worker-seconds during which workers held work, those lost with vanished workers included.
    pub busy: f64,
    /// Worker-seconds of steps that had to be done again, because a worker vanished after the last checkpoint.
    pub repeated: f64,
    /// Steps that were run, those run again included.
    pub steps: u64,
    /// The same as `seconds` and `busy`, at the moment when the last new trial was started.
    pub at_last_start: (f64, f64),
    /// Workers.
    pub workers: usize,
}

impl Simulated {
    /// Share of the workers' time that they held work, from the start to the end. Where trials are limited, the end is
    /// reached by fewer and fewer of them.
    pub fn utilisation(&self) -> f64 {
        share(self.busy, self.workers, self.seconds)
    }

    /// The same until the last new trial was started: as long as there was enough to do for everybody.
    pub fn utilisation_while_starting(&self) -> f64 {
        share(self.at_last_start.1, self.workers, self.at_last_start.0)
    }
}

fn share(busy: f64, workers: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { busy / (workers as f64 * seconds) } else { 1.0 }
}

/// Runs the study of `session` in virtual time until it is done, with what `recording` says about its trials.
///
/// Use a session on a [`crate::log::MemoryLog`]: the log is written as in any run. Errors are those of the study's store.
///
/// ```
/// use luthier::core::{metric::{Direction, Metrics}, space::{Params, Space}, spec::{PolicySpec, Spec}, event::Work};
/// use luthier::executor::simulated::{Recorded, Simulation, Slowness, Told, simulate};
/// use luthier::{log::MemoryLog, session::Session};
///
/// // Curves that fall towards x²; a step takes a minute.
/// let recording = Recorded::new(27, |params: &Params, _: Work, step: u64| {
///     let x = params.get("x").and_then(|x| x.as_f64()).unwrap_or(f64::NAN);
///     Told { values: vec![x * x + 1.0 / step as f64], seconds: 60.0 }
/// });
/// let space = Space::builder().float("x", -1.0..=1.0).build()?;
/// let mut spec = Spec::new("virtual", space, Metrics::single("loss", Direction::Minimize));
/// spec.policy = PolicySpec::new("random", "asha");
/// spec.max_budget = Some(27);
/// spec.limits.trials = Some(500);
/// let mut session = Session::create(Box::new(MemoryLog::new()), spec)?;
/// let mut world = Simulation::new(50);
/// world.trials_slowness = Slowness::LogNormal { deviation: 0.5 };
/// let run = simulate(&mut session, &recording, &world)?;
/// assert_eq!(session.study().tally().finished(), 500);
/// assert!(run.utilisation_while_starting() > 0.99, "nobody waits in asynchronous halving");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn simulate(
    session: &mut Session,
    recording: &dyn Recording,
    world: &Simulation,
) -> Result<Simulated, SessionError> {
    let mut run = Run::new(session, recording, world);
    while run.simulated.end == RUNNING {
        if run.is_stale && !run.idle.is_empty() {
            run.take_turn(None)?;
        }
        let Some(Reverse(due)) = run.due.pop() else { break };
        if world.seconds.is_some_and(|limit| due.at > limit) {
            run.pass_to(world.seconds.unwrap_or(due.at));
            run.simulated.end = End::Limit;
            break;
        }
        run.pass_to(due.at);
        run.take_turn(Some(due.worker))?;
    }
    Ok(run.simulated)
}

/// Stands for "no end yet" until there is one; a run that merely ends with nothing due keeps it.
const RUNNING: End = End::Stopped;

/// When a worker has come so far.
struct Due {
    at: f64,
    /// Ties go to whoever was planned first.
    planned: u64,
    worker: usize,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.total_cmp(&other.at).then(self.planned.cmp(&other.planned))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

/// What a worker does.
struct Current<'a> {
    work: Work,
    attempt: u32,
    life: Life<'a>,
    chance: Rng,
    slowness: f64,
    /// The step that will be over next, and what it will say.
    next: (u64, Option<Told>),
    mishap: Option<Mishap>,
    /// Seconds since the last checkpoint.
    unsaved: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Mishap {
    Fails,
    Vanishes,
    /// It has vanished, and this is noticed next.
    Missed,
}

struct Run<'a> {
    session: &'a mut Session,
    recording: &'a dyn Recording,
    world: &'a Simulation,
    slowness: Vec<f64>,
    currents: Vec<Option<Current<'a>>>,
    idle: BTreeSet<usize>,
    due: BinaryHeap<Reverse<Due>>,
    planned: u64,
    /// Steps with a checkpoint.
    saved: HashMap<Work, u64>,
    /// Whether something has changed since an idle worker was last told to wait.
    is_stale: bool,
    /// Workers that hold work, those that have vanished not included.
    working: usize,
    simulated: Simulated,
}

impl<'a> Run<'a> {
    fn new(session: &'a mut Session, recording: &'a dyn Recording, world: &'a Simulation) -> Self {
        let workers = world.workers.max(1);
        let slowness = |worker| {
            let mut rng = Rng::stream(world.seed, worker, Purpose::Study, 0);
            world.workers_slowness.draw(&mut rng)
        };
        let simulated = Simulated {
            end: RUNNING,
            seconds: 0.0,
            busy: 0.0,
            repeated: 0.0,
            steps: 0,
            at_last_start: (0.0, 0.0),
            workers,
        };
        Self {
            session,
            recording,
            world,
            slowness: (0..workers as u64).map(slowness).collect(),
            currents: (0..workers).map(|_| None).collect(),
            idle: (0..workers).collect(),
            due: BinaryHeap::new(),
            planned: 0,
            saved: HashMap::new(),
            is_stale: true,
            working: 0,
            simulated,
        }
    }

    fn pass_to(&mut self, time: f64) {
        self.simulated.busy += self.working as f64 * (time - self.simulated.seconds);
        self.simulated.seconds = time;
    }

    /// What the worker that is due has to say, and work for everyone who is idle then: one turn, as in a real run.
    fn take_turn(&mut self, due: Option<usize>) -> Result<(), SessionError> {
        let (recording, world) = (self.recording, self.world);
        let told = due.and_then(|worker| self.currents[worker].take().map(|current| (worker, current)));
        let trials = self.session.study().trials().len();
        let mut idle: Vec<usize> = self.idle.iter().copied().collect();
        let mut said = None;
        let mut assigned = Vec::new();
        let mut done = None;
        self.session.turn(|turn| {
            if let Some((worker, current)) = &told {
                let fate = live(turn, current)?;
                if matches!(fate, Fate::Over | Fate::Paused) {
                    idle.push(*worker);
                }
                said = Some(fate);
            }
            for &worker in &idle {
                match turn.ask()? {
                    Asked::Work(work) => assigned.push((worker, work)),
                    Asked::Wait => break,
                    Asked::Done(reason) => {
                        done = Some(reason);
                        break;
                    }
                }
            }
            Ok(())
        })?;
        self.is_stale = false;
        if let (Some((worker, current)), Some(fate)) = (told, said) {
            self.follow(worker, current, fate);
        }
        for (worker, work) in assigned {
            self.idle.remove(&worker);
            self.begin(worker, *work, recording, world);
        }
        if self.session.study().trials().len() > trials {
            self.simulated.at_last_start = (self.simulated.seconds, self.simulated.busy);
        }
        if let Some(reason) = done.filter(|_| self.idle.len() == self.currents.len()) {
            self.simulated.end = End::Done(reason);
        }
        Ok(())
    }

    fn begin(&mut self, worker: usize, assigned: Assigned, recording: &'a dyn Recording, world: &Simulation) {
        let Assigned { work, attempt, params, parent, .. } = assigned;
        let draw = u64::from(attempt) << 16 | u64::from(work.replicate);
        let mut chance = Rng::stream(world.seed, u64::from(work.trial), Purpose::Objective, draw);
        let slowness = self.slowness[worker] * world.trials_slowness.draw(&mut chance);
        let from = self.saved.get(&work).copied().or(parent.map(|(_, step)| step)).unwrap_or(0);
        let mishap = None;
        let (life, next) = (recording.begin(&params, work), (from, None));
        let mut current = Current { work, attempt, life, chance, slowness, next, mishap, unsaved: 0.0 };
        self.working += 1;
        let delay = world.start_seconds * slowness;
        current.advance(world);
        self.plan(worker, current, delay);
    }

    /// Sends a worker on its way to its next step.
    fn plan(&mut self, worker: usize, current: Current<'a>, delay: f64) {
        let step = current.next.1.as_ref().map_or(0.0, |told| told.seconds * current.slowness);
        self.plan_at(worker, current, self.simulated.seconds + delay + step);
    }

    fn plan_at(&mut self, worker: usize, current: Current<'a>, at: f64) {
        self.planned += 1;
        self.due.push(Reverse(Due { at, planned: self.planned, worker }));
        self.currents[worker] = Some(current);
    }

    /// What comes of a worker after its turn.
    fn follow(&mut self, worker: usize, mut current: Current<'a>, fate: Fate) {
        let step = current.next.0;
        if fate != Fate::Missed && current.next.1.is_some() {
            self.simulated.steps += 1;
        }
        match fate {
            Fate::GoesOn => {
                current.unsaved += current.step_seconds();
                if self.world.checkpoint_every.is_some_and(|every| step.is_multiple_of(every.max(1))) {
                    self.saved.insert(current.work, step);
                    current.unsaved = 0.0;
                }
                current.advance(self.world);
                self.plan(worker, current, 0.0);
            }
            Fate::Vanished => {
                self.working -= 1;
                self.simulated.repeated += current.unsaved + current.step_seconds();
                current.mishap = Some(Mishap::Missed);
                let at = self.simulated.seconds + self.world.missed_after;
                self.plan_at(worker, current, at);
            }
            Fate::Paused => {
                self.saved.insert(current.work, step);
                self.set_free(worker);
            }
            Fate::Over => self.set_free(worker),
            Fate::Missed => {
                self.idle.insert(worker);
                self.is_stale = true;
            }
        }
    }

    fn set_free(&mut self, worker: usize) {
        self.working -= 1;
        self.idle.insert(worker);
    }
}

impl Current<'_> {
    /// Looks ahead to the next step.
    fn advance(&mut self, world: &Simulation) {
        let step = self.next.0 + 1;
        self.next = (step, (self.life)(step));
        let (fails, vanishes) = (self.chance.uniform(), self.chance.uniform());
        self.mishap = if vanishes < world.loss {
            Some(Mishap::Vanishes)
        } else {
            (fails < world.failure).then_some(Mishap::Fails)
        };
    }

    fn step_seconds(&self) -> f64 {
        self.next.1.as_ref().map_or(0.0, |told| told.seconds * self.slowness)
    }
}

/// What comes of a worker.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    GoesOn,
    Paused,
    Over,
    Vanished,
    Missed,
}

/// The step that is over, told to the study.
fn live(turn: &mut Turn<'_>, current: &Current<'_>) -> Result<Fate, SessionError> {
    let (work, attempt) = (current.work, current.attempt);
    let seconds = current.step_seconds();
    let finish = |turn: &mut Turn<'_>, result| {
        let returned = Returned { result, conclusion: None, seconds: 0.0, used: None };
        turn.finish(work, attempt, returned)
    };
    let (step, Some(told)) = &current.next else {
        // The recording ends here.
        let reply = finish(turn, Ok(()))?;
        return Ok(if reply == Reply::Pause { Fate::Paused } else { Fate::Over });
    };
    match current.mishap {
        Some(Mishap::Vanishes) => return Ok(Fate::Vanished),
        Some(Mishap::Missed) => {
            turn.lose(work)?;
            return Ok(Fate::Missed);
        }
        Some(Mishap::Fails) => {
            let failure = Failure::error("failed by the simulation's chance");
            let returned =
                Returned { result: Err((failure, "".into())), conclusion: None, seconds, used: None };
            turn.finish(work, attempt, returned)?;
            return Ok(Fate::Over);
        }
        None => {}
    }
    let names = turn.study().metrics().objectives.iter().map(|metric| metric.name.clone());
    let values: Vec<_> = names.zip(told.values.iter().copied()).collect();
    match turn.report(work, attempt, *step, &values, seconds)? {
        Reply::Continue if is_at_end(turn.study(), *step) => {
            finish(turn, Ok(()))?;
            Ok(Fate::Over)
        }
        Reply::Continue => Ok(Fate::GoesOn),
        Reply::Pause => {
            finish(turn, Ok(()))?;
            Ok(Fate::Paused)
        }
        Reply::Stop(_) | Reply::Gone => Ok(Fate::Over),
    }
}

fn is_at_end(study: &Study, step: u64) -> bool {
    study.spec().max_budget.is_some_and(|max| step >= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowness_has_the_median_and_the_tail_that_it_says() {
        let draws = |slowness: Slowness| {
            let mut rng = Rng::stream(1, 0, Purpose::Study, 0);
            let mut draws: Vec<f64> = (0..20_000).map(|_| slowness.draw(&mut rng)).collect();
            draws.sort_by(f64::total_cmp);
            draws
        };
        let normal = draws(Slowness::LogNormal { deviation: 0.3 });
        // Six standard errors of the median and of a share.
        assert!((normal[10_000].ln()).abs() < 0.017);
        let within = normal.iter().filter(|x| (0.74..1.35).contains(*x)).count() as f64 / 20_000.0;
        assert!((within - 0.683).abs() < 0.02, "{within}");
        let slow = draws(Slowness::Stragglers { share: 0.5, shape: 1.5 });
        let (alike, tenfold) =
            (slow.iter().filter(|x| **x == 1.0).count(), slow.iter().filter(|x| **x >= 10.0).count());
        assert!((9_500..10_500).contains(&alike), "{alike}");
        assert!((210..420).contains(&tenfold), "{tenfold}, expected 316");
        assert!(draws(Slowness::None).iter().all(|x| *x == 1.0));
    }
}
