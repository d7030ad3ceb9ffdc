//! Networks as objectives of a study: built by code or by settings, paused, resumed, stopped early, with any metric.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::{Distribution, Parameter, Scale, Space, Value};
use luthier::core::spec::{PolicySpec, Spec};
use luthier::core::trial::{Trial, TrialState};
use luthier::executor::{Options, run};
use luthier::log::MemoryLog;
use luthier::objective::{Failed, Objective};
use luthier::session::Session;
use luthier_nn::objective::{HyperModel, HyperObjective, Hyperparameters, NetworkObjective, Training};
use luthier_nn::{
    Activation, Compile, Compiled, DataSpec, Fit, Metric, Model, Network, OptimizerKind, Problem, Settings,
};

const DIGITS: &str = "../../examples/digits/digits.csv";

fn digits() -> Arc<Problem> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    Arc::new(Problem::prepare(&DataSpec::new(DIGITS), base).unwrap())
}

fn study(metrics: Metrics, trials: u64) -> Spec {
    let mut spec = Spec::new("networks by hand", Space::builder().build().unwrap(), metrics);
    spec.limits.trials = Some(trials);
    spec
}

fn tuned(spec: Spec, objective: &dyn Objective, folder: &Path) -> Session {
    let mut session = Session::create(Box::new(MemoryLog::new()), spec).unwrap();
    run(&mut session, objective, &Options::new(folder), &mut |_, _| {}).unwrap();
    session
}

fn states(session: &Session) -> Vec<TrialState> {
    session.study().trials().iter().map(Trial::state).collect()
}

/// A builder that asks for its units, and trains with a batch size of its own.
struct Wide {
    fits: AtomicUsize,
}

impl HyperModel for Wide {
    fn build(&self, hp: &mut Hyperparameters<'_, '_>) -> Compiled {
        let units = hp.int("units", 4, 32).step(4);
        let optimizer = Some(hp.choice("optimizer", &[OptimizerKind::Adam, OptimizerKind::Rmsprop]));
        let settings = Settings { epochs: 9, flip: hp.bool("flip"), ..Settings::default() };
        let compile = Compile { optimizer, settings, metrics: vec![Metric::LogLoss], ..Compile::default() };
        Network::sequential([61]).dense(units).activation(Activation::Tanh).dense(10).compile(compile)
    }

    fn fit(
        &self,
        hp: &mut Hyperparameters<'_, '_>,
        model: &Compiled,
        training: &Training<'_>,
    ) -> Result<(), Failed> {
        self.fits.fetch_add(1, Ordering::Relaxed);
        let batch_size = Some(hp.choice("batch_size", &[64, 128]));
        training.run(hp, model, Fit { epochs: Some(2), batch_size, ..Fit::default() })
    }
}

#[test]
fn the_space_grows_by_what_a_hyper_model_asks_for() {
    let (problem, folder) = (digits(), tempfile::tempdir().unwrap());
    let metrics = Metrics::single("val_log_loss", Direction::Minimize);
    let objective = HyperObjective::new(&problem, &metrics, Wide { fits: AtomicUsize::new(0) }).unwrap();
    let session = tuned(study(metrics, 4), &objective, folder.path());
    let study = session.study();
    let names: Vec<&str> = study.space().parameters().iter().map(|parameter| &*parameter.name).collect();
    assert_eq!(names, ["units", "optimizer", "flip", "batch_size"]);
    assert_eq!(states(&session), [TrialState::Completed; 4]);
    assert!(study.trials().iter().all(|trial| trial.curve().last().map(|point| point.step) == Some(2)));
    let best = study.incumbent().unwrap();
    let saved = objective.save_best(best.number, folder.path(), &folder.path().join("best")).unwrap();
    assert!(saved.held_out.iter().any(|(name, value)| name == "accuracy" && *value > 0.2), "{saved:?}");
    let model = Model::load(&saved.model).unwrap();
    let units = study.params(best).get("units").and_then(Value::as_i64).unwrap();
    assert_eq!(model.network().parameter_count() as i64, 61 * units + units + units * 10 + 10);
}

#[test]
fn a_closure_is_a_hyper_model_and_its_trials_pause_and_resume() {
    let (problem, folder) = (digits(), tempfile::tempdir().unwrap());
    let metrics = Metrics::single("val_loss", Direction::Minimize);
    let objective = HyperObjective::from_fn(&problem, &metrics, |hp| {
        let rate = Some(hp.float("learning_rate", 1e-4, 1e-1).log());
        let settings = Settings { epochs: 9, batch_size: 128, ..Settings::default() };
        let network = Network::sequential([61]).dense(8).activation(Activation::Relu).dense(10);
        network.compile(Compile { learning_rate: rate, settings, ..Compile::default() })
    });
    let mut spec = study(metrics, 9);
    spec.max_budget = Some(9);
    spec.policy = PolicySpec::new("random", "asha");
    let session = tuned(spec, &objective.unwrap(), folder.path());
    let trials = session.study().trials();
    let furthest = trials.iter().filter_map(|trial| trial.curve().last()).map(|point| point.step).max();
    assert_eq!(furthest, Some(9));
    for trial in trials {
        let steps: Vec<u64> = trial.curve().iter().map(|point| point.step).collect();
        assert_eq!(steps, (1..=steps.len() as u64).collect::<Vec<_>>());
        // A trial whose curve was interrupted is the trial that was not: the curve is that of its own seed.
        assert_ne!(trial.state(), TrialState::Failed);
    }
    assert!(trials.iter().any(|trial| trial.curve().len() < 9), "no trial was stopped or paused");
}

#[test]
fn what_cannot_be_drawn_or_trained_fails_the_trial_and_not_the_study() {
    let (problem, folder) = (digits(), tempfile::tempdir().unwrap());
    let metrics = Metrics::single("val_loss", Direction::Minimize);
    let objective = HyperObjective::from_fn(&problem, &metrics, |hp| {
        Network::sequential([hp.int("inputs", 1, 60).linear()]).dense(10).compile(Compile::default())
    });
    let session = tuned(study(metrics.clone(), 3), &objective.unwrap(), folder.path());
    assert_eq!(states(&session), [TrialState::Failed; 3]);
    let upside_down = HyperObjective::from_fn(&problem, &metrics, |hp| {
        let units = hp.int("units", 9, 3).linear();
        Network::sequential([61]).dense(units).dense(10)
    });
    let session = tuned(study(metrics, 2), &upside_down.unwrap(), folder.path());
    assert_eq!(states(&session), [TrialState::Failed; 2]);
}

fn table(settings: &str) -> serde_json::Value {
    let text = format!("data = {{ file = '{DIGITS}' }}\nsettings = {{ {settings} }}\nmetrics = ['brier']");
    toml::from_str(&text).unwrap()
}

fn by_settings(metric: &str, settings: &str) -> Result<(Spec, NetworkObjective), String> {
    let rate = Distribution::Float { low: 1e-3, high: 1e-1, scale: Scale::Log, step: None };
    let space = Space::new(vec![Parameter::new("learning_rate", rate)], vec![]).unwrap();
    let mut spec = study(Metrics::single(metric, Direction::Maximize), 2);
    spec.space = space;
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let objective = NetworkObjective::from_table(table(settings), &spec, base);
    objective.map(|objective| (spec, objective)).map_err(|error| error.to_string())
}

#[test]
fn any_metric_of_the_task_can_be_the_objective() {
    for metric in ["val_accuracy", "val_roc_auc", "val_calibration_error", "val_top_3_accuracy"] {
        let folder = tempfile::tempdir().unwrap();
        let (spec, objective) = by_settings(metric, "epochs = 1").unwrap();
        let session = tuned(spec, &objective, folder.path());
        assert_eq!(states(&session), [TrialState::Completed; 2], "{metric}");
    }
    let error = by_settings("val_r2", "epochs = 1").err().unwrap();
    assert!(error.contains("it reports train_loss, val_loss, val_accuracy"), "{error}");
    let error = by_settings("val_loss", "loss = 'huber'").err().unwrap();
    assert!(error.contains("`huber` is for numbers"), "{error}");
}

#[test]
fn a_trial_that_stops_early_is_worth_its_last_report_and_leaves_that_model() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "epochs = 40, patience = 1, units = 16, batch_size = 16, stopping_fraction = 0.3";
    let (spec, objective) = by_settings("val_accuracy", settings).unwrap();
    let session = tuned(spec, &objective, folder.path());
    let problem = digits();
    assert_eq!(states(&session), [TrialState::Completed; 2]);
    assert!(session.study().trials().iter().all(|trial| trial.curve().len() < 40));
    // The files of the other trial are removed when it has lost.
    let trial = session.study().incumbent().unwrap();
    let last = trial.curve().last().unwrap();
    let mut model =
        Model::load(&folder.path().join(format!("{:05}/checkpoint/model", trial.number))).unwrap();
    assert_eq!(model.epochs() as u64 + 1, last.step);
    let predictions = model.predict(problem.validation().inputs(), problem.validation().len());
    let luthier_nn::Targets::Classes(truth) = problem.validation().targets() else { panic!("classes") };
    let right = predictions.iter().zip(truth).filter(|(prediction, class)| {
        matches!(prediction, luthier_nn::Prediction::Class { class: said, .. }
                if *said == problem.classes()[**class as usize])
    });
    assert_eq!(trial.values(), Some(&[right.count() as f64 / truth.len() as f64][..]));
}
