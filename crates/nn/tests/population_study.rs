//! Studies whose networks train together: every trial has the curve it has alone, is paused, resumed, stopped and
//! interrupted by itself, and the decisions follow from the log.
#![cfg(feature = "burn")]

use std::fs;
use std::path::Path;

use luthier::core::engine::verify;
use luthier::core::event::Event;
use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::{Distribution, Parameter, Scale, Space, Value};
use luthier::core::spec::{Component, PolicySpec, Spec};
use luthier::core::study::Study;
use luthier::core::trial::Trial;
use luthier::executor::{End, Options, run};
use luthier::log::{Log, Options as LogOptions, SqliteLog};
use luthier::objective::Objective;
use luthier::session::Session;
use luthier_nn::Model;
use luthier_nn::objective::NetworkObjective;

const EPOCHS: usize = 9;

/// Two rings and what is around them, 180 rows.
fn data(folder: &Path) {
    let row = |i: u32| {
        let (angle, radius) = (f64::from(i) * 0.7, f64::from(i % 3) + 0.3 * (f64::from(i) * 1.3).sin());
        format!("{},{},r{}\n", radius * angle.cos(), radius * angle.sin(), i % 3)
    };
    fs::write(folder.join("rings.csv"), format!("x,y,ring\n{}", (0..180).map(row).collect::<String>()))
        .unwrap();
}

fn spec(scheduler: Component) -> Spec {
    let choices = |names: &[&str]| Distribution::Categorical {
        choices: names.iter().map(|name| Value::Text((*name).into())).collect(),
    };
    let rate = Distribution::Float { low: 1e-3, high: 1e-1, scale: Scale::Log, step: None };
    let units = Distribution::Int { low: 3, high: 12, scale: Scale::Linear, step: 1 };
    let dropout = Distribution::Float { low: 0.0, high: 0.4, scale: Scale::Linear, step: None };
    let space = Space::new(
        vec![
            Parameter::new("learning_rate", rate),
            Parameter::new("units", units),
            Parameter::new("dropout", dropout),
            Parameter::new("activation", choices(&["tanh", "relu"])),
            Parameter::new("schedule", choices(&["constant", "cosine"])),
        ],
        vec![],
    );
    let metrics = Metrics::single("val_loss", Direction::Minimize);
    let mut spec = Spec::new("rings", space.unwrap(), metrics);
    spec.limits.trials = Some(12);
    spec.max_budget = Some(EPOCHS as u64);
    spec.policy = PolicySpec { scheduler, ..PolicySpec::new("random", "run_all") };
    spec
}

fn objective(spec: &Spec, base: &Path, population: &str) -> NetworkObjective {
    let text = format!(
        "data = {{ file = 'rings.csv', standardize = true }}\npopulation = {population}\n\
         settings = {{ epochs = {EPOCHS}, batch_size = 32, layers = 2, normalization = 'batch' }}"
    );
    NetworkObjective::from_table(toml::from_str(&text).unwrap(), spec, base).unwrap()
}

fn create(base: &Path, spec: Spec) -> Session {
    let log = SqliteLog::create(base.join("study.luthier"), LogOptions::default()).unwrap();
    Session::create(Box::new(log), spec).unwrap()
}

fn options(base: &Path) -> Options {
    Options::new(base.join("trials"))
}

/// A study run to its end, with all that happened in it.
fn tuned(base: &Path, scheduler: &str, population: &str) -> (Session, Vec<Event>) {
    data(base);
    let spec = spec(Component::named(scheduler));
    let objective = objective(&spec, base, population);
    let mut session = create(base, spec);
    run(&mut session, &objective, &options(base), &mut |_, _| {}).unwrap();
    (session, events(base))
}

fn events(base: &Path) -> Vec<Event> {
    let mut log = SqliteLog::open(base.join("study.luthier"), LogOptions::default()).unwrap();
    let records = log.read(0, usize::MAX >> 1).unwrap();
    records.iter().map(|record| record.event().unwrap()).collect()
}

fn curve(study: &Study, trial: &Trial) -> Vec<f64> {
    trial.curve().iter().map(|point| study.curve_value(point, "val_loss").unwrap()).collect()
}

/// Each trial's curve is the beginning of the one it has when all are trained one by one to their end.
fn assert_curves(study: &Study, alone: &Study) {
    assert_eq!(study.trials().len(), alone.trials().len());
    for (trial, lone) in study.trials().iter().zip(alone.trials()) {
        assert_eq!(study.params(trial), alone.params(lone));
        let (found, expected) = (curve(study, trial), curve(alone, lone));
        assert!(!found.is_empty() && found.len() <= expected.len());
        for (epoch, (found, expected)) in (1..).zip(found.iter().zip(&expected)) {
            let error = (found - expected).abs() / expected;
            assert!(error < 2e-4, "trial {}, epoch {epoch}: {found}, alone {expected}", trial.number);
        }
    }
}

#[test]
fn trials_that_train_together_have_the_curves_they_have_alone() {
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let (alone, _) = tuned(folders[0].path(), "run_all", "'off'");
    for (folder, scheduler) in folders[1..].iter().zip(["run_all", "asha", "median"]) {
        let (together, events) = tuned(folder.path(), scheduler, "{ members = 5 }");
        let study = together.study();
        assert_curves(study, alone.study());
        let found = verify(&events).unwrap();
        assert!(found.disagreements.is_empty(), "{:?}", found.disagreements);
        assert_eq!(study.tally().failed, 0, "{scheduler}");
        // Padded tensors round otherwise: were all bits the same, nothing would have trained together.
        let bits = |study: &Study| study.trials().iter().map(|trial| curve(study, trial)).collect::<Vec<_>>();
        assert_ne!(bits(study), bits(alone.study()), "{scheduler}");
        let is_whole = |trial: &Trial| trial.curve().len() == EPOCHS;
        assert_eq!(study.trials().iter().all(is_whole), scheduler == "run_all", "{scheduler}");
        // The best trial has left the model of its value.
        let best = study.incumbent().unwrap();
        let model = folder.path().join(format!("trials/{:05}/checkpoint/model", best.number));
        assert!(Model::load(&model).unwrap().epochs() <= EPOCHS);
    }
}

#[test]
fn a_study_that_is_interrupted_goes_on_either_way() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (alone, _) = tuned(folders[0].path(), "run_all", "'off'");
    let base = folders[1].path();
    data(base);
    let spec = spec(Component::named("run_all"));
    let ways = [objective(&spec, base, "{ members = 4 }"), objective(&spec, base, "'off'")];
    let mut session = create(base, spec);
    for (round, objective) in ways.iter().cycle().take(4).enumerate() {
        let (options, mut reports) = (options(base), 0);
        let stop = options.stop.clone();
        let end = run(&mut session, objective, &options, &mut |_, _| {
            reports += 1;
            if round < 3 && reports == 25 {
                stop.now();
            }
        });
        assert_eq!(matches!(end.unwrap(), End::Done(_)), round == 3);
    }
    assert_eq!(session.study().tally().completed, 12);
    assert_curves(session.study(), alone.study());
}

#[test]
fn the_way_that_is_faster_here_is_chosen_and_said() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let spec = spec(Component::named("run_all"));
    let slots_and_notes = |population| {
        let objective = objective(&spec, folder.path(), population);
        (objective.slots(), objective.notes().iter().filter(|note| note.contains("train")).count())
    };
    assert_eq!(slots_and_notes("'off'"), (1, 0));
    assert_eq!(slots_and_notes("{ members = 7 }"), (7, 0));
    let (slots, notes) = slots_and_notes("'auto'");
    assert!(notes == 1 && (slots == 1 || slots == 32), "{slots} slots, {notes} notes");
}
