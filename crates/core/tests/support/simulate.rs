//! A whole study in virtual time: workers that take steps, report, pause, fail and vanish, on one engine or several.
//!
//! It is deterministic, and it asks a second engine without memos every question it asks the first. What a real
//! executor adds (processes, files, leases) is not here.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use luthier_core::engine::{Done, Engine, Next};
use luthier_core::event::{Decision, Event, Failure, Outcome, Work};
use luthier_core::spec::Spec;
use luthier_core::study::Study;

/// What befalls work instead of a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mishap {
    /// The objective fails.
    Fails,
    /// The worker vanishes; the work begins again where it last paused.
    Vanishes,
    /// The objective is through before its last step.
    Completes,
    /// A report without the first objective.
    Silence,
}

/// A point in a piece's life, by which everything about it is determined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Which.
    pub(crate) work: Work,
    /// How often it was claimed.
    pub(crate) attempt: u32,
    /// The step that is over.
    pub(crate) step: u64,
}

/// The world around the engine.
pub(crate) struct World<'a> {
    /// How many run side by side.
    pub(crate) workers: usize,
    /// The objective's last step.
    pub(crate) last: u64,
    /// A report every so many steps.
    pub(crate) stride: u64,
    /// The raw value of the first objective for these params.
    pub(crate) value: &'a dyn Fn(&[f64], Moment) -> f64,
    /// The raw values of the further objectives, in their order.
    pub(crate) further: &'a dyn Fn(&[f64], Moment) -> Vec<f64>,
    /// Ticks that a step of this work takes.
    pub(crate) ticks: &'a dyn Fn(Work) -> u64,
    /// Whether something happens instead.
    pub(crate) mishap: &'a dyn Fn(Moment) -> Option<Mishap>,
    /// Users' wishes, by the number of events after which they come.
    pub(crate) wishes: Vec<(usize, Event)>,
    /// The whole simulation ends at so many steps of all trials, whatever still runs.
    pub(crate) steps: u64,
    /// Engines that take turns, as processes on one log do.
    pub(crate) engines: usize,
    /// Whether a checkpoint takes a tick to write, so that others ask between a report and the pause that follows.
    pub(crate) saves_slowly: bool,
    /// Whether every answer is compared with that of an engine without memos.
    pub(crate) compare: bool,
}

impl<'a> World<'a> {
    /// One worker, a report at each step, no mishap.
    pub(crate) fn new(last: u64, value: &'a dyn Fn(&[f64], Moment) -> f64) -> Self {
        Self {
            workers: 1,
            last,
            stride: 1,
            value,
            further: &|_, _| Vec::new(),
            ticks: &|_| 1,
            mishap: &|_| None,
            wishes: Vec::new(),
            steps: u64::MAX,
            engines: 1,
            saves_slowly: false,
            compare: true,
        }
    }
}

/// What came of it.
pub(crate) struct Run {
    /// The log.
    pub(crate) events: Vec<Event>,
    /// Its fold.
    pub(crate) study: Study,
    /// Why nothing more was started; none if the steps ran out first.
    pub(crate) done: Option<Done>,
    /// Ticks until the last event.
    pub(crate) time: u64,
}

struct Simulation<'a> {
    world: World<'a>,
    run: Run,
    engines: Vec<Engine>,
    turn: usize,
    /// (time, number of the entry, work, step at which it will be).
    due: BinaryHeap<Reverse<(u64, u64, Work, u64)>>,
    entries: u64,
    /// Steps with a checkpoint.
    saved: HashMap<Work, u64>,
    /// Work whose checkpoint is being written.
    saving: BTreeSet<Work>,
    idle: usize,
}

/// Runs a study until nothing is left to do. Panics where it hangs or where memos change an answer.
pub(crate) fn simulate(spec: Spec, world: World) -> Run {
    let study = Study::new(spec.clone());
    let engines = (0..world.engines).map(|_| Engine::new(&study).unwrap()).collect();
    let idle = world.workers;
    let run = Run { events: vec![Event::Created(Box::new(spec))], study, done: None, time: 0 };
    let (due, saved, saving) = (BinaryHeap::new(), HashMap::new(), BTreeSet::new());
    let mut simulation = Simulation { world, run, engines, turn: 0, due, entries: 0, saved, saving, idle };
    while simulation.run.study.tally().steps < simulation.world.steps {
        simulation.hear();
        simulation.employ();
        let Some(Reverse((time, _, work, step))) = simulation.due.pop() else {
            assert!(simulation.run.done.is_some(), "it waits although nothing runs");
            break;
        };
        simulation.run.time = time;
        simulation.live(work, step);
    }
    simulation.run
}

impl Simulation<'_> {
    /// Writes down the wishes that are due. A report and its verdict are one append, so none comes between them.
    fn hear(&mut self) {
        let count = self.run.events.len();
        while self.world.wishes.first().is_some_and(|(after, _)| *after <= count) {
            let (_, wish) = self.world.wishes.remove(0);
            self.add(wish);
        }
    }

    /// Gives idle workers what there is to do.
    fn employ(&mut self) {
        self.run.done = None;
        while self.idle > 0 {
            match self.ask(|engine, study| engine.next(study).unwrap()) {
                Next::Decide(event) => self.add(event),
                Next::Claim(work) => {
                    let attempt = self.run.study.piece(work).unwrap().attempt + 1;
                    self.add(Event::Claimed { work, attempt });
                    self.idle -= 1;
                    let parent = self.run.study.trial(work.trial).unwrap().parent;
                    let begun = parent.map_or(0, |(_, step)| step);
                    let from = self.saved.get(&work).copied().unwrap_or(begun);
                    self.plan(work, from);
                }
                Next::Wait => return,
                Next::Done(done) => {
                    self.run.done = Some(done);
                    return;
                }
            }
        }
    }

    fn live(&mut self, work: Work, step: u64) {
        if self.saving.remove(&work) {
            return self.pause(work, step);
        }
        let piece = self.run.study.piece(work).unwrap();
        let (attempt, budget) = (piece.attempt, piece.budget);
        let moment = Moment { work, attempt, step };
        let mishap = (self.world.mishap)(moment);
        let params = &self.run.study.trial(work.trial).unwrap().point.0;
        let mut all = vec![(self.world.value)(params, moment)];
        all.extend((self.world.further)(params, moment));
        match mishap {
            Some(Mishap::Fails) => {
                return self
                    .end(work, Outcome::Failed { reason: Failure::error("by plan"), detail: "".into() });
            }
            Some(Mishap::Vanishes) => {
                self.idle += 1;
                return self.add(Event::Lost { work, returned: false });
            }
            Some(Mishap::Completes) => return self.end(work, Outcome::Completed { values: all }),
            Some(Mishap::Silence) | None => {}
        }
        let names = self.run.study.metrics().objectives.iter().map(|metric| metric.name.clone());
        // A silent report holds the further objectives only.
        let silent = usize::from(mishap == Some(Mishap::Silence));
        let values = names.zip(all.iter().copied()).skip(silent).collect();
        self.add(Event::Reported { work, step, values, seconds: 1.0 });
        match self.ask(|engine, study| engine.judge(study, work).unwrap()) {
            Some(judged) => {
                self.add(judged.clone());
                match judged {
                    Event::Judged { decision: Decision::Stop, .. } => self.end(work, Outcome::Pruned),
                    Event::Judged { decision: Decision::Pause, .. } => self.pause(work, step),
                    other => panic!("{other:?}"),
                }
            }
            None if step >= self.world.last => self.end(work, Outcome::Completed { values: all }),
            None if budget.is_some_and(|budget| budget <= step) && self.world.saves_slowly => {
                self.saving.insert(work);
                self.schedule(1, work, step);
            }
            None if budget.is_some_and(|budget| budget <= step) => self.pause(work, step),
            None => self.plan(work, step),
        }
    }

    fn pause(&mut self, work: Work, step: u64) {
        self.saved.insert(work, step);
        self.idle += 1;
        self.add(Event::Paused { work, step, seconds: 0.0 });
    }

    fn end(&mut self, work: Work, outcome: Outcome) {
        self.idle += 1;
        self.add(Event::Ended { work, outcome, seconds: 0.0, used: None });
    }

    /// The next report of a worker that is at `step`.
    fn plan(&mut self, work: Work, step: u64) {
        let next = (step + self.world.stride).min(self.world.last);
        self.schedule((next - step) * (self.world.ticks)(work), work, next);
    }

    fn schedule(&mut self, ticks: u64, work: Work, step: u64) {
        self.entries += 1;
        self.due.push(Reverse((self.run.time + ticks, self.entries, work, step)));
    }

    fn add(&mut self, event: Event) {
        self.run.study.apply(&event).unwrap();
        self.run.events.push(event);
    }

    /// Takes turns between the engines.
    fn ask<T: PartialEq + std::fmt::Debug>(&mut self, question: impl Fn(&mut Engine, &Study) -> T) -> T {
        self.turn = (self.turn + 1) % self.engines.len();
        let study = &self.run.study;
        let answer = question(&mut self.engines[self.turn], study);
        if self.world.compare {
            let fresh = question(&mut Engine::new(study).unwrap(), study);
            assert_eq!(fresh, answer, "the memo changed the answer");
        }
        answer
    }
}
