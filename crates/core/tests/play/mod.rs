//! Plays studies: an engine, a log in memory, and an objective that is a function of the params.
#![allow(dead_code, reason = "each test binary plays some of the moves")]
#![allow(clippy::result_large_err, reason = "nothing here is hot")]

use luthier_core::engine::{Done, Engine, Next, Verification, resolve, verify};
use luthier_core::event::{Event, Failure, Outcome, Wish, Work};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::space::{Constraint, Distribution, Parameter, Params, Scale, Space, Value};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use luthier_core::trial::Trial;

pub(crate) fn float(name: &str, low: f64, high: f64) -> Parameter {
    on_scale(name, low, high, Scale::Linear)
}

pub(crate) fn on_scale(name: &str, low: f64, high: f64, scale: Scale) -> Parameter {
    Parameter::new(name, Distribution::Float { low, high, scale, step: None })
}

pub(crate) fn int(name: &str, low: i64, high: i64) -> Parameter {
    Parameter::new(name, Distribution::Int { low, high, scale: Scale::Linear, step: 1 })
}

pub(crate) fn choice<V: Into<Value>>(name: &str, choices: impl IntoIterator<Item = V>) -> Parameter {
    let choices: Vec<Value> = choices.into_iter().map(Into::into).collect();
    Parameter::new(name, Distribution::Categorical { choices: choices.into() })
}

pub(crate) fn space(parameters: Vec<Parameter>) -> Space {
    Space::new(parameters, vec![]).unwrap()
}

pub(crate) fn constrained(parameters: Vec<Parameter>, constraints: Vec<Constraint>) -> Space {
    Space::new(parameters, constraints).unwrap()
}

/// A study of one loss to minimise.
pub(crate) fn spec(space: Space, sampler: &str) -> Spec {
    let mut spec = Spec::new("test", space, Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = Component::named(sampler);
    resolved(spec)
}

pub(crate) fn resolved(mut spec: Spec) -> Spec {
    spec.policy = resolve(&spec).unwrap();
    spec
}

pub(crate) fn completed(value: f64) -> Outcome {
    Outcome::Completed { values: vec![value] }
}

pub(crate) fn failed() -> Outcome {
    Outcome::Failed { reason: Failure::ExitCode { code: 1 }, detail: "".into() }
}

/// Whether values are even draws from 0 to 1, by the test of Kolmogorov and Smirnov at 0.001.
pub(crate) fn are_uniform(mut values: Vec<f64>) -> bool {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let gap = |(k, x): (usize, &f64)| (x - k as f64 / n).abs().max(((k + 1) as f64 / n - x).abs());
    values.iter().enumerate().map(gap).fold(0.0, f64::max) < 1.9495 / n.sqrt()
}

/// A study under way with everything that happened in it.
pub(crate) struct Play {
    pub(crate) events: Vec<Event>,
    pub(crate) study: Study,
    pub(crate) engine: Engine,
}

impl Play {
    pub(crate) fn new(spec: Spec) -> Self {
        let study = Study::new(spec.clone());
        let engine = Engine::new(&study).unwrap();
        Self { events: vec![Event::Created(Box::new(spec))], study, engine }
    }

    pub(crate) fn add(&mut self, event: Event) {
        self.study.apply(&event).unwrap();
        self.events.push(event);
    }

    pub(crate) fn next(&mut self) -> Next {
        self.engine.next(&self.study).unwrap()
    }

    /// Decides until some work can be claimed, and claims it.
    #[allow(clippy::result_large_err)] // the answer that was no claim is what the test looks at
    pub(crate) fn claim(&mut self) -> Result<Work, Next> {
        loop {
            match self.next() {
                Next::Decide(event) => self.add(event),
                Next::Claim(work) => {
                    let attempt = self.study.piece(work).unwrap().attempt + 1;
                    self.add(Event::Claimed { work, attempt });
                    return Ok(work);
                }
                other => return Err(other),
            }
        }
    }

    pub(crate) fn report(&mut self, work: Work, step: u64, loss: f64) {
        let values = vec![("loss".into(), loss)];
        self.add(Event::Reported { work, step, values, seconds: 1.0 });
    }

    pub(crate) fn end(&mut self, work: Work, outcome: Outcome) {
        self.add(Event::Ended { work, outcome, seconds: 1.0, used: None });
    }

    pub(crate) fn enqueue(&mut self, params: Params) {
        self.add(Event::Enqueued(Wish { params, within: vec![] }));
    }

    /// Runs one trial at a time until nothing more is started, or `most` trials have run.
    pub(crate) fn run(&mut self, most: usize, mut outcome: impl FnMut(&Trial) -> Outcome) -> Option<Next> {
        for _ in 0..most {
            match self.claim() {
                Ok(work) => {
                    let outcome = outcome(self.study.trial(work.trial).unwrap());
                    self.end(work, outcome);
                }
                Err(next) => return Some(next),
            }
        }
        None
    }

    /// Runs until nothing more is started and says why.
    pub(crate) fn run_out(&mut self, outcome: impl FnMut(&Trial) -> Outcome) -> Done {
        match self.run(1_000_000, outcome) {
            Some(Next::Done(done)) => done,
            other => panic!("stopped at {other:?}"),
        }
    }

    /// The same study as another process finds it: replayed from the written log, with nothing remembered.
    pub(crate) fn reopened(&self) -> Self {
        let lines: Vec<String> = self.events.iter().map(|e| serde_json::to_string(e).unwrap()).collect();
        let events: Vec<Event> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let study = Study::replay(&events).unwrap();
        let engine = Engine::new(&study).unwrap();
        Self { events, study, engine }
    }

    pub(crate) fn verified(&self) -> Verification {
        verify(&self.events).unwrap()
    }

    /// Every trial's params, as text.
    pub(crate) fn written(&self) -> Vec<String> {
        self.study.trials().iter().map(|trial| self.study.params(trial).to_string()).collect()
    }
}
