//! The written format: studies of every format ever released still open, and `docs/log-format.md` says what is true.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use luthier::log::{Draft, Guard, Log, MemoryLog, ReplayError, SqliteLog, replay};
use luthier_core::engine::{Engine, Next, verify};
use luthier_core::event::{
    Class, Decision, Event, Failure, Origin, Outcome, SpaceEdit, Steer, Wish, Within, Work,
};
use luthier_core::metric::{Direction, Metric, Metrics};
use luthier_core::space::{Distribution, Parameter, Params, Scale, Space, Value};
use luthier_core::spec::{Component, Limits, POLICY_VERSION, PolicySpec, Spec};
use luthier_core::study::Study;
use luthier_core::trial::TrialState;

use crate::{all, create, note, open};

/// Every kind of event of format 1.
const KINDS: [&str; 18] = [
    "created",
    "started",
    "resumed",
    "judged",
    "claimed",
    "drawn",
    "reported",
    "paused",
    "ended",
    "lost",
    "space_changed",
    "policy_changed",
    "limits_changed",
    "enqueued",
    "withdrawn",
    "stop_asked",
    "steered",
    "noted",
];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1.luthier")
}

/// A run of one model that was watched.
fn watched() -> PathBuf {
    fixture().with_file_name("format-1-watched.luthier")
}

fn events(log: &mut dyn Log) -> Vec<Event> {
    all(log).iter().map(|record| record.event().unwrap()).collect()
}

/// The name under which an event is written. A new kind goes into [`KINDS`], the story of the fixture and the document.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Created(_) => "created",
        Event::Started { .. } => "started",
        Event::Resumed { .. } => "resumed",
        Event::Judged { .. } => "judged",
        Event::Claimed { .. } => "claimed",
        Event::Drawn { .. } => "drawn",
        Event::Reported { .. } => "reported",
        Event::Paused { .. } => "paused",
        Event::Ended { .. } => "ended",
        Event::Lost { .. } => "lost",
        Event::SpaceChanged(_) => "space_changed",
        Event::PolicyChanged(_) => "policy_changed",
        Event::LimitsChanged(_) => "limits_changed",
        Event::Enqueued(_) => "enqueued",
        Event::Withdrawn { .. } => "withdrawn",
        Event::StopAsked { .. } => "stop_asked",
        Event::Steered(_) => "steered",
        Event::Noted { .. } => "noted",
    }
}

/// Every kind among the events, each under the name it has in its body.
fn kinds<'a>(written: impl Iterator<Item = (&'a str, &'a Event)>) -> BTreeSet<&'static str> {
    let named = |(body, event): (&str, &Event)| {
        assert!(body.starts_with(&format!("{{\"{}\":", kind(event))), "{body}");
        kind(event)
    };
    written.map(named).collect()
}

#[test]
fn a_study_of_format_1_folds_and_verifies() {
    let before = std::fs::read(fixture()).unwrap();
    let mut log = SqliteLog::watch(fixture()).unwrap();
    let (records, events) = (all(&mut log), events(&mut log));
    let found = kinds(records.iter().map(|record| &*record.body).zip(&events));
    let mut all_kinds: BTreeSet<&str> = KINDS.into();
    assert!(all_kinds.remove("steered"), "that is in a fixture of its own");
    assert_eq!(found, all_kinds, "every kind of event is in it");

    let (study, seen) = replay(&mut log).unwrap();
    assert_eq!(seen, records.len() as u64);
    let tally = study.tally();
    assert_eq!(study.trials().len(), 20);
    assert_eq!(
        (tally.completed, tally.pruned, tally.replaced, tally.cancelled, tally.failed),
        (4, 1, 1, 1, 10)
    );
    let state = |number: u32| study.trial(number).unwrap().state();
    assert_eq!(
        [state(17), state(18), state(19)],
        [TrialState::Running, TrialState::Paused, TrialState::Waiting]
    );
    assert_eq!(study.incumbent().unwrap().number, 0);
    let best = study.params(study.incumbent().unwrap()).to_string();
    assert_eq!(best, "lr=0.01 layers=2 optimizer=sgd momentum=0.9");
    assert_eq!(study.notes().len(), 2);
    assert_eq!(study.queue().len(), 1);
    assert!(study.is_traced());

    let decisions = events.iter().filter(|event| event.class() == Class::Decision).count() as u64;
    let found = verify(&events).unwrap();
    assert_eq!(found.disagreements, []);
    assert!(found.agreed + found.other_version >= decisions, "{found:?}");
    if POLICY_VERSION == 1 {
        assert!(found.agreed > 10 && found.other_version > 3, "{found:?}");
    }
    drop(log);
    assert!(std::fs::read(fixture()).unwrap() == before);
}

#[test]
fn a_watched_run_of_format_1_folds_and_verifies() {
    let mut log = SqliteLog::watch(watched()).unwrap();
    let events = events(&mut log);
    let (study, _) = replay(&mut log).unwrap();
    let trials: Vec<_> =
        study.trials().iter().map(|trial| (trial.parent, trial.origin, trial.state())).collect();
    assert_eq!(
        trials,
        [
            (None, Origin::Enqueued, TrialState::Replaced),
            (Some((0, 2)), Origin::Steered, TrialState::Replaced),
            (Some((1, 3)), Origin::Scheduler, TrialState::Replaced),
            (Some((0, 1)), Origin::Steered, TrialState::Completed),
        ]
    );
    assert!(study.steers().is_empty());
    if POLICY_VERSION == 1 {
        assert_eq!(verify(&events).unwrap().disagreements, []);
    }
}

#[test]
fn a_study_of_format_1_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("copy.luthier");
    std::fs::copy(fixture(), &path).unwrap();
    let mut log = open(&path);
    let (_, seen) = replay(&mut log).unwrap();
    assert_eq!(log.append(&[note("and on")], Guard::End(seen)).unwrap(), seen + 1);
    assert_eq!(log.leases().unwrap().len(), 1);
}

#[test]
fn every_example_of_the_documentation_is_an_event_and_every_event_has_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/log-format.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut documented = BTreeSet::new();
    let blocks = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    for line in blocks.flat_map(str::lines) {
        let event: Event = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(serde_json::to_string(&event).unwrap(), line, "as it is written");
        documented.extend(kinds([(line, &event)].into_iter()));
    }
    assert_eq!(documented, KINDS.into());
}

#[test]
fn the_documentation_shows_the_tables_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    drop(create(&path));
    let conn = rusqlite::Connection::open(&path).unwrap();
    let mut statement = conn.prepare("SELECT sql FROM sqlite_schema").unwrap();
    let tables: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    let doc = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/log-format.md"));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let doc = words(&doc.unwrap()).replace("( ", "(").replace(" )", ")");
    for table in tables {
        assert!(doc.contains(&words(&table)), "{table}");
    }
    assert!(doc.contains(&format!("`application_id` is {:#x}", number("application_id"))));
    assert!(doc.contains(&format!("`user_version` is {}", number("user_version"))));
}

#[test]
fn a_log_without_a_first_event_or_with_a_wrong_one_is_no_study() {
    let mut log = MemoryLog::new();
    assert!(matches!(replay(&mut log), Err(ReplayError::Empty { .. })));
    log.append(&[note("x")], Guard::None).unwrap();
    let said = replay(&mut log).unwrap_err().to_string();
    assert!(said.starts_with("the study is damaged at event 1: a study's first event"), "{said}");
}

#[test]
fn replay_says_where_a_long_log_stops_making_sense() {
    let mut log = MemoryLog::new();
    let created = Draft::new(&Event::Created(Box::new(spec())), 0).unwrap();
    log.append(&[created], Guard::None).unwrap();
    log.append(&vec![note("x"); 12_000], Guard::None).unwrap();
    let (study, seen) = replay(&mut log).unwrap();
    assert_eq!((study.notes().len(), seen), (12_000, 12_001));
    let claimed = Draft::new(&Event::Claimed { work: Work::of(4), attempt: 1 }, 0).unwrap();
    log.append(&[claimed], Guard::None).unwrap();
    log.append(&vec![note("x"); 30_000], Guard::None).unwrap();
    assert!(matches!(replay(&mut log), Err(ReplayError::Fold { seq: 12_002, .. })));
}

fn spec() -> Spec {
    let float = |low, high, scale| Distribution::Float { low, high, scale, step: None };
    let default = |parameter: Parameter, value: Value| Parameter { default: Some(value), ..parameter };
    let choices = Distribution::Categorical { choices: vec!["sgd".into(), "adam".into()].into() };
    let layers = Distribution::Int { low: 1, high: 4, scale: Scale::Linear, step: 1 };
    let mut momentum = Parameter::new("momentum", float(0.5, 0.99, Scale::Linear));
    momentum.when = serde_json::from_str(r#"{"param": "optimizer", "eq": "sgd"}"#).unwrap();
    let parameters = vec![
        default(Parameter::new("lr", float(1e-5, 1.0, Scale::Log)), 0.01.into()),
        default(Parameter::new("layers", layers), 2.into()),
        default(Parameter::new("optimizer", choices), "sgd".into()),
        default(momentum, 0.9.into()),
    ];
    let mut metrics = Metrics::single("loss", Direction::Minimize);
    metrics.objectives[0] = Metric { name: "loss".into(), direction: Direction::Minimize };
    let mut spec = Spec::new("format 1", Space::new(parameters, vec![]).unwrap(), metrics);
    spec.seed = 7;
    spec.max_budget = Some(10);
    spec.limits.trials = Some(40);
    spec
}

/// A study told event by event, in which the engine decides as long as the policy is its own.
struct Teller {
    study: Study,
    engine: Engine,
    events: Vec<Event>,
}

impl Teller {
    fn new(spec: Spec) -> Self {
        let study = Study::new(spec.clone());
        let engine = Engine::new(&study).unwrap();
        Self { study, engine, events: vec![Event::Created(Box::new(spec))] }
    }

    fn tell(&mut self, event: Event) {
        self.study.apply(&event).unwrap();
        self.events.push(event);
    }

    fn decide(&mut self) {
        match self.engine.next(&self.study).unwrap() {
            Next::Decide(event) => self.tell(event),
            other => panic!("a decision was due, not {other:?}"),
        }
    }

    /// Lets the engine start a trial, and claims it.
    fn start(&mut self) -> Work {
        self.decide();
        let work = Work::of(self.study.trials().len() as u32 - 1);
        self.tell(Event::Claimed { work, attempt: 1 });
        work
    }

    fn report(&mut self, work: Work, step: u64, loss: f64) {
        let values = vec![("loss".into(), loss), ("accuracy".into(), 1.0 - loss)];
        self.tell(Event::Reported { work, step, values, seconds: 1.5 });
    }

    fn end(&mut self, work: Work, outcome: Outcome) {
        self.tell(Event::Ended { work, outcome, seconds: 0.25, used: None });
    }

    fn complete(&mut self, work: Work, loss: f64) {
        self.end(work, Outcome::Completed { values: vec![loss] });
    }
}

fn failures() -> Vec<Failure> {
    vec![
        Failure::ExitCode { code: 2 },
        Failure::Signal { signal: 9 },
        Failure::Timeout { seconds: 60.0 },
        Failure::Memory { bytes: 1 << 30 },
        Failure::NonFinite { metric: "loss".into(), value: "nan".into() },
        Failure::NoResult { metric: "loss".into() },
        Failure::Lost { attempts: 3 },
        Failure::NotStarted { problem: "no such file: train.py".into() },
        Failure::error("the data has no rows"),
        Failure::Panicked { problem: "index out of bounds".into() },
    ]
}

/// A small study in which everything happens that can. Its middle is decided by hand under a policy of version 0,
/// so that pauses, verdicts and children need no scheduler that may change.
fn story() -> Vec<Event> {
    let mut teller = Teller::new(spec());
    let work = teller.start();
    teller.report(work, 1, 0.75);
    teller.report(work, 2, 0.125);
    teller.complete(work, 0.125);

    let work = teller.start();
    teller.tell(Event::Lost { work, returned: false });
    teller.tell(Event::Claimed { work, attempt: 2 });
    teller.tell(Event::Lost { work, returned: true });
    teller.tell(Event::Claimed { work, attempt: 3 });
    teller.complete(work, 0.5);
    teller.tell(Event::Noted { trial: Some(1), key: "comment".into(), value: "looks noisy".into() });
    teller.tell(Event::Noted { trial: None, key: "data".into(), value: serde_json::json!({"rows": 1797}) });

    let params = Params::new().with("optimizer", "sgd");
    let within = vec![Within { name: "lr".into(), low: 0.001.into(), high: 0.1.into() }];
    teller.tell(Event::Enqueued(Wish { params, within }));
    let work = teller.start();
    teller.tell(Event::StopAsked { trial: 2 });
    teller.end(work, Outcome::Cancelled);

    let work = teller.start();
    let dropout = Distribution::Float { low: 0.0, high: 0.5, scale: Scale::Linear, step: None };
    teller.tell(Event::SpaceChanged(SpaceEdit::Add(Parameter::new("dropout", dropout))));
    teller.tell(Event::Drawn { trial: 3, name: "dropout".into(), value: 0.25.into() });
    let used = Some(vec!["lr".into(), "dropout".into()]);
    let outcome = Outcome::Completed { values: vec![0.625] };
    teller.tell(Event::Ended { work, outcome, seconds: 2.0, used });
    let layers = Distribution::Int { low: 1, high: 8, scale: Scale::Linear, step: 1 };
    teller.tell(Event::SpaceChanged(SpaceEdit::Change(Parameter::new("layers", layers))));
    for reason in failures() {
        let work = teller.start();
        teller.end(work, Outcome::Failed { reason, detail: "the last lines\nof its output".into() });
    }
    teller.tell(Event::Enqueued(Wish { params: Params::new().with("dropout", 0.25), within: vec![] }));
    teller.tell(Event::SpaceChanged(SpaceEdit::Retire { name: "dropout".into() }));
    teller.tell(Event::Withdrawn { why: "parameter dropout is retired".into() });
    teller.tell(Event::LimitsChanged(Limits {
        trials: Some(50),
        seconds: Some(3_600.0),
        ..Limits::default()
    }));

    let ours = teller.study.spec().policy.clone();
    teller.tell(Event::PolicyChanged(PolicySpec { version: 0, ..ours.clone() }));
    by_hand(&mut teller);
    teller.tell(Event::PolicyChanged(ours));
    teller.decide();
    teller.tell(Event::Claimed { work: Work::of(17), attempt: 2 });
    let work = teller.start();
    teller.report(work, 1, 0.25);
    teller.decide();
    teller.tell(Event::Paused { work, step: 1, seconds: 0.5 });
    teller.tell(Event::Enqueued(Wish { params: Params::new().with("lr", 0.05), within: vec![] }));
    teller.events
}

fn by_hand(teller: &mut Teller) {
    let started = |trial, parent, why| {
        let params = vec![Some(0.5.into()), Some(8.into()), Some("adam".into()), None, None];
        Event::Started { trial, space: 3, params, budget: Some(1), replicates: None, parent, why, by: None }
    };
    let judged = |work, decision, why: &str| Event::Judged { work, decision, why: why.into() };
    let first = Work::of(14);
    teller.tell(started(14, None, Origin::Fallback));
    teller.tell(Event::Claimed { work: first, attempt: 1 });
    teller.report(first, 1, 0.9);
    teller.tell(judged(first, Decision::Pause, "rung 1: 3rd of 3"));
    teller.tell(Event::Paused { work: first, step: 1, seconds: 0.5 });
    teller.tell(Event::Resumed { work: first, budget: Some(3) });
    teller.tell(Event::Claimed { work: first, attempt: 2 });
    teller.report(first, 3, 0.8);
    teller.tell(judged(first, Decision::Stop, "worse than the median 0.5 at step 3"));
    teller.end(first, Outcome::Pruned);

    let parent = Work::of(15);
    teller.tell(started(15, None, Origin::Sampler));
    teller.tell(Event::Claimed { work: parent, attempt: 1 });
    teller.report(parent, 1, 0.7);
    teller.end(parent, Outcome::Replaced { by: 16 });
    let child = Work::of(16);
    teller.tell(started(16, Some((15, 1)), Origin::Sampler));
    teller.tell(Event::Claimed { work: child, attempt: 1 });
    teller.complete(child, 0.375);
    let paused = Work::of(17);
    teller.tell(started(17, None, Origin::Sampler));
    teller.tell(Event::Claimed { work: paused, attempt: 1 });
    teller.tell(Event::Paused { work: paused, step: 1, seconds: 0.5 });
}

/// A model whose knob is turned too far, that is taken back by itself and then by hand, paused, and stopped.
fn story_of_a_watched_model() -> Vec<Event> {
    let mut spec = spec();
    spec.policy = PolicySpec::new("manual", "babysit");
    spec.policy.scheduler = Component::named("babysit").with("window", 3);
    spec.limits = Limits { trials: Some(1), ..Limits::default() };
    spec.policy = luthier_core::engine::resolve(&spec).unwrap();
    let mut teller = Teller::new(spec);
    teller.tell(Event::Enqueued(Wish { params: Params::new().with("lr", 0.01), within: vec![] }));
    let first = teller.start();
    teller.step(first, 1, 0.9);
    teller.go_on(first, 2);
    let turn = |lr: f64| Event::Steered(Steer::Turn(Params::new().with("lr", lr)));
    teller.tell(turn(1.0));
    teller.step(first, 2, 0.8);
    teller.decide();
    let second = teller.start();
    teller.step(second, 3, 0.7);
    teller.go_on(second, 2);
    teller.step(second, 4, 90.0);
    teller.decide();
    let third = teller.start();
    teller.tell(Event::Steered(Steer::Pause));
    teller.step(third, 4, 0.65);
    teller.tell(Event::Steered(Steer::Back { trial: 0, step: 1 }));
    teller.tell(Event::Steered(Steer::Go));
    teller.decide();
    let last = teller.start();
    teller.tell(Event::Steered(Steer::Stop));
    teller.report(last, 2, 0.5);
    teller.judge(last);
    teller.complete(last, 0.5);
    teller.events
}

impl Teller {
    /// A report with its verdict, and the pause that follows.
    fn step(&mut self, work: Work, step: u64, loss: f64) {
        self.report(work, step, loss);
        self.judge(work);
        self.tell(Event::Paused { work, step, seconds: 0.0 });
    }

    fn judge(&mut self, work: Work) {
        if let Some(judged) = self.engine.judge(&self.study, work).unwrap() {
            self.tell(judged);
        }
    }

    fn go_on(&mut self, work: Work, attempt: u32) {
        self.decide();
        self.tell(Event::Claimed { work, attempt });
    }
}

/// Writes the fixture of a watched run; see [`write_the_fixture`].
#[test]
#[ignore = "writes a fixture"]
fn write_the_fixture_of_a_watched_run() {
    let mut log = create(&watched());
    for (k, event) in story_of_a_watched_model().iter().enumerate() {
        log.append(&[Draft::new(event, k as u64).unwrap()], Guard::End(k as u64)).unwrap();
    }
}

/// Writes the fixture of the current format; run it by name once per format, never over an old one.
#[test]
#[ignore = "writes a fixture"]
fn write_the_fixture() {
    let story = story();
    std::fs::create_dir_all(fixture().parent().unwrap()).unwrap();
    let mut log = create(&fixture());
    for (k, event) in story.iter().enumerate() {
        log.append(&[Draft::new(event, k as u64).unwrap()], Guard::End(k as u64)).unwrap();
    }
    log.hold(Work::of(17), 2, std::time::Duration::from_mins(1)).unwrap();
}
