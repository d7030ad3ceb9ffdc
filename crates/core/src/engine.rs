//! What happens next: the pure machine that turns a study into decisions.
//!
//! [`Engine::next`] answers what to run, [`Engine::judge`] what running work does after a report. Both are functions
//! of the study; the engine's own fields are memos. [`Verifier`] re-derives the decisions of a log.

use crate::convergence::{Course, Verdict};
use crate::coverage::Coverage;
use crate::event::{Choice, Decision, Event, Origin, Wish, Within, Work};
use crate::memo::Memo;
use crate::registry::{self, PolicyError};
use crate::rng::{Purpose, Rng};
use crate::sampler::{Proposal, Request, SAMPLERS, Sampler};
use crate::scheduler::{Allowance, Assignment, SCHEDULERS, Scheduler};
use crate::space::{Point, Space, SpaceError, Value};
use crate::spec::{POLICY_VERSION, PolicySpec, Spec};
use crate::study::{FoldError, Study};
use crate::trial::Trial;

/// Finite spaces up to this many points are searched without any repetition.
pub const COUNTABLE: u64 = 1 << 20;
/// Proposals asked of a sampler before the engine draws by itself, when they repeat a trial.
const REPEATS: u64 = 32;
/// Proposals asked of a sampler before the engine draws by itself, when they break a constraint.
const REFUSALS: u64 = 64;
/// Uniform draws before the constraints count as impossible.
const DRAWS: u64 = 10_000;

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Append this decision and ask again.
    Decide(Event),
    /// This work may be claimed now.
    Claim(Work),
    /// Nothing until something that runs has reported, or somebody has enqueued a trial.
    Wait,
    /// Nothing more to start.
    Done(Done),
}

/// Why nothing more is started.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Done {
    /// The limit of trials.
    #[error("all {0} trials have been run")]
    Trials(u64),
    /// The limit of seconds.
    #[error("the {0} seconds of work are used up")]
    Seconds(f64),
    /// The limit of steps.
    #[error("the {0} steps are used up")]
    Steps(u64),
    /// The target value.
    #[error("the target {0} is reached")]
    Target(f64),
    /// Too many failures in a row.
    #[error("the last {0} trials failed")]
    Failures(u64),
    /// More trials would hardly gain anything.
    #[error("{0}")]
    Converged(Verdict),
    /// A finite space is used up.
    #[error("every point of the space has been tried")]
    Exhausted,
    /// The sampler, by its name, tries some points of the space only, and has tried them.
    #[error("sampler {0:?} has tried every point that it has")]
    SamplerExhausted(Box<str>),
    /// The scheduler has nothing more to promote.
    #[error("the scheduler has nothing more to run")]
    Scheduler,
    /// No point keeps the constraints.
    #[error("none of {draws} points drawn keeps constraint {constraint}; relax it")]
    Impossible {
        /// How many were drawn.
        draws: u64,
        /// The constraint broken by the last one, from 1.
        constraint: usize,
    },
    /// A queued trial does not fit the space.
    #[error("a queued trial does not fit the space: {0}")]
    Queue(SpaceError),
}

/// A new trial's point, who chose it, and by which arm.
type Chosen = (Point, Origin, Option<Choice>);

/// The machine for one study.
pub struct Engine {
    policy: PolicySpec,
    sampler: Box<dyn Sampler>,
    scheduler: Box<dyn Scheduler>,
    sampler_memo: Memo,
    scheduler_memo: Memo,
    tried: Tried,
    /// What is known of convergence; a memo like the others.
    course: Course,
    space_version: u32,
}

/// What users should know who have chosen the sampler of `spec` for it, though it can be done.
pub fn caution(spec: &Spec) -> Result<Option<String>, PolicyError> {
    let (built, _) = registry::build("sampler", SAMPLERS, &spec.policy.sampler)?;
    Ok(built.caution(spec))
}

/// The policy of `spec` with every option spelled out, or what is wrong with it.
pub fn resolve(spec: &Spec) -> Result<PolicySpec, PolicyError> {
    let (built, sampler) =
        registry::build("sampler", SAMPLERS, &spec.policy.sampler).map_err(|mut error| {
            let is_scheduler = SCHEDULERS.iter().any(|entry| *entry.name == *spec.policy.sampler.name);
            if let PolicyError::Unknown { name, hint, .. } = &mut error
                && is_scheduler
            {
                *hint = format!(" ({name} is a scheduler)");
            }
            error
        })?;
    built.check(spec).map_err(|problem| PolicyError::Options {
        kind: "sampler",
        name: sampler.name.to_string(),
        problem,
    })?;
    let (built, scheduler) = registry::build("scheduler", SCHEDULERS, &spec.policy.scheduler)?;
    built.check(spec).map_err(|problem| PolicyError::Options {
        kind: "scheduler",
        name: scheduler.name.to_string(),
        problem,
    })?;
    Ok(PolicySpec { version: POLICY_VERSION, sampler, scheduler })
}

impl Engine {
    /// The machine for a study under its current policy.
    pub fn new(study: &Study) -> Result<Self, PolicyError> {
        let policy = study.spec().policy.clone();
        let (sampler, _) = registry::build("sampler", SAMPLERS, &policy.sampler)?;
        let (scheduler, _) = registry::build("scheduler", SCHEDULERS, &policy.scheduler)?;
        Ok(Self {
            policy,
            sampler,
            scheduler,
            sampler_memo: Memo::default(),
            scheduler_memo: Memo::default(),
            tried: Tried::default(),
            course: Course::default(),
            space_version: study.space_version(),
        })
    }

    /// Drops every memo; no answer changes.
    pub fn forget(&mut self) {
        self.sampler_memo.clear();
        self.scheduler_memo.clear();
        self.tried = Tried::default();
        self.course = Course::default();
    }

    /// What to do next.
    pub fn next(&mut self, study: &Study) -> Result<Next, PolicyError> {
        self.follow(study)?;
        if let Some(&work) = study.waiting().first() {
            return Ok(Next::Claim(work));
        }
        if let Some(done) = limit_reached(study) {
            return Ok(Next::Done(done));
        }
        let converged = self.converged(study);
        // Nothing more would be gained, but of the best it may not be known which it is.
        if let Some(done) = converged.as_ref().filter(|_| !self.scheduler.measures_again()) {
            return Ok(Next::Done(done.clone()));
        }
        let limit = study.spec().limits.trials;
        let started = study.roots();
        let may_start = converged.is_none() && limit.is_none_or(|limit| started < limit);
        let allowance = Allowance { may_start };
        let mut rng =
            Rng::stream(study.spec().seed, study.trials().len() as u64, Purpose::Scheduler, u64::MAX);
        let assignment = self.scheduler.assign(study, allowance, &mut self.scheduler_memo, &mut rng);
        let nothing_to_start = match assignment {
            Assignment::Start { budget } if allowance.may_start => match self.start(study, budget) {
                // What is paused can still be promoted when the space is used up.
                Next::Done(done) => done,
                next => return Ok(next),
            },
            Assignment::Wait => return Ok(Next::Wait),
            Assignment::Resume { .. }
            | Assignment::Stop { .. }
            | Assignment::Exploit { .. }
            | Assignment::Branch { .. } => {
                return Ok(Next::Decide(decided(study, assignment)));
            }
            Assignment::Start { .. } | Assignment::Done => {
                let trials = || limit.filter(|_| !allowance.may_start).map(Done::Trials);
                return Ok(Next::Done(converged.or_else(trials).unwrap_or(Done::Scheduler)));
            }
        };
        let allowance = Allowance { may_start: false };
        let assignment = self.scheduler.assign(study, allowance, &mut self.scheduler_memo, &mut rng);
        Ok(match assignment {
            Assignment::Wait => Next::Wait,
            Assignment::Start { .. } | Assignment::Done => Next::Done(nothing_to_start),
            assignment => Next::Decide(decided(study, assignment)),
        })
    }

    fn converged(&mut self, study: &Study) -> Option<Done> {
        let rule = study.spec().limits.converged?;
        self.course.advance(study);
        self.course.verdict(study, &rule).map(Done::Converged)
    }

    /// Whether trials may begin with the checkpoints of others, so that those have to be kept.
    pub fn branches(&self) -> bool {
        self.scheduler.branches()
    }

    /// Whether `trial` may still be asked for what it had at its pause at `step`, beyond its latest pause.
    pub fn keeps(&self, study: &Study, trial: &Trial, step: u64) -> bool {
        self.scheduler.keeps(study, trial, step)
    }

    /// Whether users may steer the model that the study is about.
    pub fn is_steered(&self) -> bool {
        self.scheduler.is_steered()
    }

    /// What `work` does after its latest report, which the study already holds; `None` for going on.
    ///
    /// Where the last point of the curve has no value of the first objective there is nothing to judge.
    pub fn judge(&mut self, study: &Study, work: Work) -> Result<Option<Event>, PolicyError> {
        self.follow(study)?;
        if study.piece(work).and_then(|piece| piece.curve.last()).is_none_or(|last| last.loss.is_nan()) {
            return Ok(None);
        }
        let step = study.piece(work).map_or(0, crate::trial::Piece::step);
        let trial = u64::from(work.trial);
        let mut rng = Rng::stream(study.spec().seed, trial, Purpose::Scheduler, step);
        let verdict = self.scheduler.judge(study, work, &mut self.scheduler_memo, &mut rng);
        Ok(match verdict.decision {
            Decision::Continue => None,
            decision => Some(Event::Judged { work, decision, why: verdict.why }),
        })
    }

    /// What the sampler would do for the next trial and why, in one line; none where its name says it all.
    pub fn explain(&mut self, study: &Study) -> Result<Option<String>, PolicyError> {
        self.follow(study)?;
        Ok(self.sampler.explain(study, &mut self.sampler_memo))
    }

    /// Whether every point of the space has been tried, where that can be counted.
    pub fn is_exhausted(&mut self, study: &Study) -> Result<bool, PolicyError> {
        self.follow(study)?;
        self.tried.advance(study);
        Ok(self.tried.is_exhausted())
    }

    /// Keeps up with changes of policy and space.
    fn follow(&mut self, study: &Study) -> Result<(), PolicyError> {
        if self.policy != study.spec().policy {
            *self = Self::new(study)?;
        }
        if self.space_version != study.space_version() {
            self.space_version = study.space_version();
            self.forget();
        }
        Ok(())
    }

    fn start(&mut self, study: &Study, budget: Option<u64>) -> Next {
        let space = study.space();
        let trial = study.trials().len() as u32;
        let replicates = self.scheduler.opening(study).filter(|opening| *opening < study.spec().replicates);
        let chosen = match study.queue().front() {
            Some(wish) => {
                let queued = self.enqueued(study, wish, Request { trial, draw: 0, budget });
                queued.map(|(point, why)| (point, why, None))
            }
            None if self.sampler.waits_for_queue() => return Next::Wait,
            None => self.chosen(study, trial, budget),
        };
        match chosen {
            Ok((point, why, by)) => Next::Decide(Event::Started {
                trial,
                space: study.space_version(),
                params: written(space, &point),
                budget,
                replicates,
                parent: None,
                why,
                by,
            }),
            // A traced trial that runs may still ask for a parameter nobody knows, or turn out to differ from another.
            Err(Done::Exhausted | Done::SamplerExhausted(_))
                if (study.is_traced() || space.is_empty()) && !study.running().is_empty() =>
            {
                Next::Wait
            }
            Err(done) => Next::Done(done),
        }
    }

    fn chosen(&mut self, study: &Study, trial: u32, budget: Option<u64>) -> Result<Chosen, Done> {
        let space = study.space();
        let has_defaults = space.parameters().iter().any(|p| p.default.is_some() && !p.retired);
        if trial == 0 && has_defaults && self.sampler.starts_with_defaults() {
            let point = space.default_point();
            if space.allows(&point.0) {
                return Ok((point, Origin::Default, None));
            }
        }
        let unique = self.sampler.avoids_repeats() && !space.is_empty();
        if unique {
            self.tried.advance(study);
            if self.tried.is_exhausted() {
                return Err(Done::Exhausted);
            }
        }
        let (mut repeats, mut refusals, mut draw) = (0, 0, 0);
        while repeats < REPEATS && refusals < REFUSALS {
            let mut rng = Rng::stream(study.spec().seed, u64::from(trial), Purpose::Sampler, draw);
            let request = Request { trial, draw, budget };
            let (point, by) = match self.sampler.propose(study, &request, &mut self.sampler_memo, &mut rng) {
                Proposal::Point(point) => (point, None),
                Proposal::Chosen(point, by) => (point, Some(by)),
                Proposal::Exhausted => return Err(self.sampler_exhausted(study)),
            };
            if !space.allows(&point.0) {
                refusals += 1;
            } else if unique && self.tried.contains(&point) {
                repeats += 1;
            } else {
                return Ok((point, Origin::Sampler, by));
            }
            draw += 1;
        }
        self.fallback(study, trial, draw).map(|point| (point, Origin::Fallback, None))
    }

    /// Whether a sampler that has nothing more to try has covered the whole space.
    fn sampler_exhausted(&mut self, study: &Study) -> Done {
        self.tried.advance(study);
        // What conditions a traced program has nobody knows, and so not how many points there are.
        let finite =
            study.space().parameters().iter().all(|parameter| parameter.distribution.cells().is_some());
        if self.tried.is_exhausted() || (study.is_traced() && finite) || study.space().is_empty() {
            return Done::Exhausted;
        }
        Done::SamplerExhausted((*self.policy.sampler.name).into())
    }

    /// A point when the sampler finds none that is allowed and new: one of the untried if they can be listed, else
    /// the first allowed of many uniform draws, new if possible.
    fn fallback(&mut self, study: &Study, trial: u32, draw: u64) -> Result<Point, Done> {
        let space = study.space();
        let mut rng = Rng::stream(study.spec().seed, u64::from(trial), Purpose::Sampler, draw);
        if self.sampler.avoids_repeats()
            && !space.is_empty()
            && let Some(untried) = self.tried.untried(space)
        {
            let count = untried.len() as u64;
            return if count == 0 {
                Err(Done::Exhausted)
            } else {
                Ok(untried[rng.below(count) as usize].clone())
            };
        }
        let mut repeated = None;
        let mut broken = 0;
        for _ in 0..DRAWS {
            let point = space.draw(&rng.uniforms(space.len()));
            match space.broken_constraint(&point.0) {
                Some(constraint) => broken = constraint,
                None if self.tried.contains(&point) => repeated = Some(point),
                None => return Ok(point),
            }
        }
        repeated.ok_or(Done::Impossible { draws: DRAWS, constraint: broken + 1 })
    }

    /// A queued trial: values and ranges given by hand, the rest from the sampler, or drawn where the sampler's
    /// proposals break a constraint. A wish that leaves nothing open is taken as it is, constraints or not.
    fn enqueued(&mut self, study: &Study, wish: &Wish, request: Request) -> Result<(Point, Origin), Done> {
        let space = study.space();
        let seed = study.spec().seed;
        let mut given = given_values(space, wish).map_err(Done::Queue)?;
        let ranges = given_ranges(space, wish).map_err(Done::Queue)?;
        let whole = space.complete(|k| given[k]);
        let leaves_open = (0..space.len()).any(|k| given[k].is_nan() && space.is_active(k, &whole.0));
        if ranges.is_empty() && !leaves_open && refusal(space, wish, &given, &whole).is_none() {
            // The sampler has nothing to add, and may take long to say so.
            return Ok((whole, Origin::Enqueued));
        }
        let fill = space.default_point();
        let mut refused = None;
        for draw in 0..REFUSALS {
            let mut hand = Rng::stream(seed, u64::from(request.trial), Purpose::Enqueued, draw);
            for range in &ranges {
                given[range.index] = range.draw(space, hand.uniform());
            }
            let mut rng = Rng::stream(seed, u64::from(request.trial), Purpose::Sampler, draw);
            let request = Request { draw, ..request };
            let rest = match self.sampler.propose(study, &request, &mut self.sampler_memo, &mut rng) {
                _ if draw >= REFUSALS / 2 => space.draw(&rng.uniforms(space.len())),
                proposal if !self.sampler.waits_for_queue() => {
                    proposal.point().unwrap_or_else(|| fill.clone())
                }
                _ => fill.clone(),
            };
            let point = space.complete(|k| {
                let own = Some(given[k]).filter(|x| !x.is_nan());
                own.or_else(|| rest.get(k))
                    .or_else(|| fill.get(k))
                    .unwrap_or_else(|| space.draw_one(k, rng.uniform()))
            });
            match refusal(space, wish, &given, &point) {
                Some(problem) => refused = Some(problem),
                None => return Ok((point, Origin::Enqueued)),
            }
        }
        Err(Done::Queue(
            refused.unwrap_or(SpaceError::Value { name: String::new(), problem: "no draw".into() }),
        ))
    }
}

/// An assignment about trials that there are, as the event that says so.
fn decided(study: &Study, assignment: Assignment) -> Event {
    match assignment {
        Assignment::Resume { work, budget } => Event::Resumed { work, budget },
        Assignment::Stop { work, why } => Event::Judged { work, decision: Decision::Stop, why },
        Assignment::Exploit { work, from: (from, step), why } => {
            Event::Judged { work, decision: Decision::Exploit { from, step }, why }
        }
        Assignment::Branch { from, point, budget, why } => Event::Started {
            trial: study.trials().len() as u32,
            space: study.space_version(),
            params: written(study.space(), &point),
            budget,
            replicates: None,
            parent: Some(from),
            why,
            by: None,
        },
        Assignment::Start { .. } | Assignment::Wait | Assignment::Done => {
            unreachable!("{assignment:?} is about no trial that there is")
        }
    }
}

/// Whether a wish can become a trial of this space; an error names what does not fit.
pub fn check_wish(space: &Space, wish: &Wish) -> Result<(), SpaceError> {
    let mut given = given_values(space, wish)?;
    let ranges = given_ranges(space, wish)?;
    let mut rng = Rng::stream(0, 0, Purpose::Enqueued, 0);
    let mut refused = Ok(());
    for _ in 0..REFUSALS {
        for range in &ranges {
            given[range.index] = range.draw(space, rng.uniform());
        }
        let point = space.complete(|k| {
            Some(given[k]).filter(|x| !x.is_nan()).unwrap_or_else(|| space.draw_one(k, rng.uniform()))
        });
        match refusal(space, wish, &given, &point) {
            Some(problem) => refused = Err(problem),
            None => return Ok(()),
        }
    }
    refused
}

/// Why a completed wish is not what was wished: a value given has no place, or what was left open breaks a constraint.
/// A wish that leaves nothing open is taken as it is, constraints or not.
fn refusal(space: &Space, wish: &Wish, given: &[f64], point: &Point) -> Option<SpaceError> {
    let lost = (0..space.len()).find(|&k| !given[k].is_nan() && point.get(k).is_none());
    if let Some(k) = lost {
        let problem = "given a value, but its condition does not hold with the other values".into();
        return Some(SpaceError::Value { name: space.parameters()[k].name.to_string(), problem });
    }
    let is_open = (0..space.len()).any(|k| point.get(k).is_some() && given[k].is_nan());
    let broken = space.broken_constraint(&point.0).filter(|_| is_open || !wish.within.is_empty())?;
    let problem = format!("none of {REFUSALS} completions of the queued trial ({}) keeps it", wish.params);
    Some(SpaceError::Constraint { index: broken, problem })
}

/// A range given by hand, as shares of the unit interval and as coded values.
struct Range {
    index: usize,
    unit: (f64, f64),
    coded: (f64, f64),
}

impl Range {
    fn draw(&self, space: &Space, uniform: f64) -> f64 {
        let unit = self.unit.0 + uniform * (self.unit.1 - self.unit.0);
        space.parameters()[self.index].distribution.from_unit(unit).clamp(self.coded.0, self.coded.1)
    }
}

fn given_values(space: &Space, wish: &Wish) -> Result<Vec<f64>, SpaceError> {
    let mut given = vec![f64::NAN; space.len()];
    for (name, value) in wish.params.iter() {
        let k = place(space, name)?;
        given[k] = space.encode_one(k, value)?;
    }
    Ok(given)
}

fn given_ranges(space: &Space, wish: &Wish) -> Result<Vec<Range>, SpaceError> {
    let range = |within: &Within| {
        let index = place(space, &within.name)?;
        let distribution = &space.parameters()[index].distribution;
        let coded = (space.encode_one(index, &within.low)?, space.encode_one(index, &within.high)?);
        let wrong = |problem| Err(SpaceError::Value { name: within.name.to_string(), problem });
        if distribution.is_categorical() {
            return wrong("its choices have no order, so a range means nothing; give a value".to_owned());
        }
        if coded.0 > coded.1 {
            return wrong(format!("the range {} … {} is empty; swap its ends", within.low, within.high));
        }
        let unit = (distribution.cell_bounds(coded.0).0, distribution.cell_bounds(coded.1).1);
        Ok(Range { index, unit, coded })
    };
    wish.within.iter().map(range).collect()
}

fn place(space: &Space, name: &str) -> Result<usize, SpaceError> {
    space.find(name).ok_or_else(|| {
        let known: Vec<&str> = space.parameters().iter().take(12).map(|p| &*p.name).collect();
        let problem = format!("the space has no such parameter; it has {}", known.join(", "));
        SpaceError::Value { name: name.into(), problem }
    })
}

/// The value of a parameter that trial `number` asks for although its point does not hold it: a draw from the prior.
pub fn drawn_value(study: &Study, number: u32, index: usize) -> Value {
    let space = study.space();
    let mut rng = Rng::stream(study.spec().seed, u64::from(number), Purpose::Drawn, index as u64);
    space.parameters()[index].distribution.decode(space.draw_one(index, rng.uniform()))
}

/// A point as an event writes it.
pub fn written(space: &Space, point: &Point) -> Vec<Option<Value>> {
    let parameters = space.parameters().iter().enumerate();
    parameters.map(|(k, p)| point.get(k).map(|coded| p.distribution.decode(coded))).collect()
}

fn limit_reached(study: &Study) -> Option<Done> {
    let (limits, tally) = (&study.spec().limits, study.tally());
    if let Some(failures) = limits.failures.filter(|&n| tally.failures_in_a_row >= n.max(1)) {
        return Some(Done::Failures(failures));
    }
    if let Some(target) = limits.target {
        let metric = &study.metrics().objectives[0];
        let reached = |loss: f64| loss <= metric.direction.turn(target);
        if study.incumbent().and_then(|best| best.loss(study.metrics(), 0)).is_some_and(reached) {
            return Some(Done::Target(target));
        }
    }
    if let Some(seconds) = limits.seconds.filter(|&s| tally.seconds >= s) {
        return Some(Done::Seconds(seconds));
    }
    limits.steps.filter(|&steps| tally.steps >= steps).map(Done::Steps)
}

/// Points that trials have had, for spaces without continuous parameters.
#[derive(Default)]
struct Tried {
    coverage: Coverage,
    /// Counted once: is the space discrete, and how many points has it.
    size: Option<Size>,
    /// Points not covered when they were last listed.
    untried: Option<Vec<Point>>,
}

#[derive(Clone, Copy)]
struct Size {
    discrete: bool,
    points: Option<u64>,
}

impl Tried {
    fn advance(&mut self, study: &Study) {
        let space = study.space();
        let size = *self.size.get_or_insert_with(|| measured(space));
        if size.discrete && self.coverage.advance(study) {
            self.untried = None;
        }
    }

    fn contains(&self, point: &Point) -> bool {
        self.coverage.contains(&point.0)
    }

    /// Whether every point has been tried, as far as counting shows it. False where there is no point at all.
    fn is_exhausted(&self) -> bool {
        let points = self.size.and_then(|size| size.points).filter(|points| *points > 0);
        points.is_some_and(|points| self.coverage.count() >= points)
    }

    /// The untried points in odometer order, if the space can be listed and has points.
    fn untried(&mut self, space: &Space) -> Option<Vec<&Point>> {
        self.size?.points.filter(|points| *points > 0)?;
        let coverage = &self.coverage;
        let untried = self.untried.get_or_insert_with(|| {
            let mut all = Vec::new();
            space.visit_points(&mut |point| {
                all.push(Point(point.into()));
                true
            });
            all
        });
        untried.retain(|point| !coverage.contains_for_good(&point.0));
        Some(untried.iter().filter(|point| !coverage.contains(&point.0)).collect())
    }
}

/// An unconditional space too large to count is not walked. Conditions can only make a space smaller, so those
/// are walked, but not where constraints might hide how far the walk is.
fn measured(space: &Space) -> Size {
    let cells = space.parameters().iter().filter(|p| !p.retired).map(|p| p.distribution.cells());
    let discrete = cells.clone().all(|c| c.is_some());
    let bound = cells.map(|c| c.unwrap_or(1) as f64).product::<f64>();
    let shrinks = space.is_conditional() && space.constraints().is_empty();
    let countable = discrete && (bound <= COUNTABLE as f64 || shrinks);
    Size { discrete, points: countable.then(|| space.cardinality(COUNTABLE)).flatten() }
}

/// Re-derives the decisions of a log, event by event.
pub struct Verifier {
    study: Study,
    engine: Engine,
    /// The verdict that must come next, after a report.
    due: Option<Event>,
    outcome: Verification,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verification {
    /// Decisions that were re-derived and agree.
    pub agreed: u64,
    /// Decisions made under another version of the rules, which are not re-derived.
    pub other_version: u64,
    /// The first disagreements, at most ten.
    pub disagreements: Vec<Disagreement>,
}

/// A decision in the log that the engine would not have made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("event {position}: the log says {found}, the rules say {expected}")]
pub struct Disagreement {
    /// The event's position, from 1.
    pub position: u64,
    /// What the log holds.
    pub found: String,
    /// What the engine derives.
    pub expected: String,
}

/// Why a log cannot be verified at all.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// The log does not fold.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The policy cannot be built.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Verifier {
    /// Begins with the first event.
    pub fn new(first: &Event) -> Result<Self, VerifyError> {
        let Event::Created(spec) = first else { return Err(FoldError::Created.into()) };
        let study = Study::new((**spec).clone());
        let engine = Engine::new(&study)?;
        Ok(Self { study, engine, due: None, outcome: Verification::default() })
    }

    /// Checks the event at `position` if it is a decision, and folds it.
    pub fn check(&mut self, position: u64, event: &Event) -> Result<(), VerifyError> {
        let ours = self.study.spec().policy.version == POLICY_VERSION;
        if let Some(due) = self.due.take() {
            match event {
                Event::Judged { .. } if same(&due, event, self.study.space()) => self.outcome.agreed += 1,
                _ => self.disagree(position, event, format!("{due:?}")),
            }
        } else if !ours && event.class() == crate::event::Class::Decision {
            self.outcome.other_version += 1;
        } else if self.is_made_between_trials(event) {
            match self.engine.next(&self.study)? {
                Next::Decide(expected) if same(&expected, event, self.study.space()) => {
                    self.outcome.agreed += 1;
                }
                other => self.disagree(position, event, format!("{other:?}")),
            }
        } else if let Event::Judged { .. } = event {
            self.disagree(position, event, "no verdict here".into());
        }
        self.study.apply(event)?;
        if let (true, Event::Reported { work, .. }) = (ours, event) {
            self.due = self.engine.judge(&self.study, *work)?;
            self.outcome.agreed += u64::from(self.due.is_none());
        }
        Ok(())
    }

    /// Whether a decision answers the question what runs next, rather than a report.
    fn is_made_between_trials(&self, event: &Event) -> bool {
        match event {
            Event::Started { .. }
            | Event::Resumed { .. }
            | Event::Judged { decision: Decision::Exploit { .. }, .. } => true,
            Event::Judged { work, .. } => self.study.held().contains(work),
            _ => false,
        }
    }

    /// What was found.
    pub fn finish(mut self, position: u64) -> (Study, Verification) {
        if let Some(due) = self.due.take() {
            let found = "the end of the log".into();
            let expected = format!("{due:?}");
            self.outcome.disagreements.push(Disagreement { position, found, expected });
        }
        (self.study, self.outcome)
    }

    fn disagree(&mut self, position: u64, event: &Event, expected: String) {
        if self.outcome.disagreements.len() < 10 {
            let found = format!("{event:?}");
            self.outcome.disagreements.push(Disagreement { position, found, expected });
        }
    }
}

/// Equal, with floats within 1e-9 of the unit cube: `ln` and `exp` differ between targets in the last place.
fn same(expected: &Event, found: &Event, space: &Space) -> bool {
    match (expected, found) {
        (
            Event::Started {
                trial: a,
                space: va,
                params: pa,
                budget: ba,
                replicates: ra,
                parent: qa,
                why: wa,
                by: ca,
            },
            Event::Started {
                trial: b,
                space: vb,
                params: pb,
                budget: bb,
                replicates: rb,
                parent: qb,
                why: wb,
                by: cb,
            },
        ) => {
            let arm = |by: &Option<Choice>| by.as_ref().map(|choice| choice.arm.clone());
            (a, va, ba, ra, qa, wa, arm(ca)) == (b, vb, bb, rb, qb, wb, arm(cb))
                && pa.len() == pb.len()
                && pa.iter().zip(pb).enumerate().all(|(k, (x, y))| close(space, k, x.as_ref(), y.as_ref()))
        }
        (Event::Judged { work: a, decision: da, .. }, Event::Judged { work: b, decision: db, .. }) => {
            (a, da) == (b, db)
        }
        _ => expected == found,
    }
}

fn close(space: &Space, index: usize, a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) if a != b => {
            let distribution = &space.parameters()[index].distribution;
            let unit =
                |value: &Value| distribution.encode(value).ok().map(|coded| distribution.to_unit(coded));
            distribution.cells().is_none() && unit(a).zip(unit(b)).is_some_and(|(x, y)| (x - y).abs() <= 1e-9)
        }
        _ => a == b,
    }
}

/// Folds a log and re-derives its decisions.
pub fn verify<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Verification, VerifyError> {
    let mut events = events.into_iter();
    let first = events.next().ok_or(FoldError::Created)?;
    let mut verifier = Verifier::new(first)?;
    let mut position = 1;
    for event in events {
        position += 1;
        verifier.check(position, event)?;
    }
    Ok(verifier.finish(position).1)
}

/// The space of a traced trial: adds or finds the parameter that a trial asks for.
///
/// Returns the edit to append when the space does not know the name, or says why the declaration clashes.
pub fn trace(
    space: &Space,
    asked: &crate::space::Parameter,
) -> Result<Option<crate::event::SpaceEdit>, SpaceError> {
    use crate::event::SpaceEdit;
    let Some(index) = space.find(&asked.name) else {
        let edit = SpaceEdit::Add(asked.clone());
        crate::study::edited(space, &edit)?;
        return Ok(Some(edit));
    };
    let known = &space.parameters()[index];
    if known.distribution == asked.distribution && !known.retired {
        return Ok(None);
    }
    let edit = SpaceEdit::Change(crate::space::Parameter {
        retired: false,
        when: known.when.clone(),
        ..asked.clone()
    });
    crate::study::edited(space, &edit)?;
    Ok(Some(edit))
}
