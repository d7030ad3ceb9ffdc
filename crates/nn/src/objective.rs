//! A network as the objective of a study, its params laid over settings by name. This file and `hypermodel.rs` are the
//! only ones of this crate that know Luthier.
//!
//! Each epoch is a report; a checkpoint is written when a trial pauses, when it is interrupted, and every few seconds.
//! The model a trial leaves behind is that of the epoch which its value stands for.

mod population;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use luthier::core::event::Failure;
use luthier::core::metric::{CurveValue, Metrics};
use luthier::core::space::Value;
use luthier::core::spec::Spec;
use luthier::objective::{Failed, Flow, Objective, Running};
#[cfg(feature = "burn")]
use luthier::objective::{Next, Pool};

use crate::evaluation::joined;
pub use crate::hypermodel::{
    Choice, FloatDraw, HyperModel, HyperObjective, Hyperparameters, IntDraw, Training, Whole,
};
use crate::{
    Checkpoint, DataError, Metric, Model, ModelError, Network, NetworkSpec, ParamValue, Problem, Settings,
    SettingsError, StoreError, TargetError, TrainError, Trainer,
};

/// Seconds between checkpoints of a trial that runs on.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// What is wrong with the `[network]` table of a study file, or with a saved model.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A key or a value of the table.
    #[error("[network]: {0}")]
    Table(#[from] serde_json::Error),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A setting.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The loss.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A metric that networks do not report.
    #[error("a network on this data does not report {metric:?}; it reports {known}")]
    Metric {
        /// The metric.
        metric: Arc<str>,
        /// What there is.
        known: String,
    },
    /// A model that cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A model that does not fit the data.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Networks on one data set: params are laid over the settings by name.
pub struct NetworkObjective {
    problem: Arc<Problem>,
    settings: Settings,
    metrics: Metrics,
    /// Metrics of the `[network]` table.
    reported: Vec<Metric>,
    /// How many trials train together; 1 for one by one.
    together: usize,
    notes: Vec<String>,
}

/// The best model of a study, saved.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// The folder with `model.safetensors` and `model.json`.
    pub model: PathBuf,
    /// Its metrics on rows that no trial has seen; empty if none were held out.
    pub held_out: Vec<(String, f64)>,
}

impl NetworkObjective {
    /// Reads the `[network]` table of a study file and its data; paths start at `base`. The space's names and the
    /// metrics are checked before anything is trained.
    pub fn from_table(table: serde_json::Value, spec: &Spec, base: &Path) -> Result<Self, NetworkError> {
        let network: NetworkSpec = serde_json::from_value(table)?;
        let problem = Arc::new(Problem::load(&network, base)?);
        let (settings, reported) = (network.settings, network.metrics);
        let notes = problem.notes().to_vec();
        let metrics = spec.metrics.clone();
        let mut objective = Self { problem, settings, metrics, reported, together: 1, notes };
        let middle = objective.check_names(spec)?;
        check_metrics(&objective.metrics, &objective.problem)?;
        let (together, note) = population::choose(network.population, &objective.problem, &middle);
        objective.together = together;
        objective.notes.extend(note);
        Ok(objective)
    }

    /// A fingerprint of the data and of how it is split.
    pub fn fingerprint(&self) -> &str {
        self.problem.fingerprint()
    }

    /// What was noticed about the data, and how trials will be trained, for the user: one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Saves the model of the best trial, whose files are under `folder`, into `out`, and measures it on the rows that
    /// were held out. To be called once, at the end: those rows say how good the *chosen* model is.
    pub fn save_best(&self, trial: u32, folder: &Path, out: &Path) -> Result<Saved, NetworkError> {
        save_best(&self.problem, trial, folder, out)
    }

    /// Every parameter must be a setting; tried on the middle of its range. Returns the settings there.
    fn check_names(&self, spec: &Spec) -> Result<Settings, NetworkError> {
        let mut settings = self.settings.clone();
        for parameter in spec.space.parameters() {
            let middle = parameter.distribution.decode(parameter.distribution.from_unit(0.5));
            settings.set(&parameter.name, param_value(&middle))?;
        }
        if spec.space.find("loss").is_none() {
            self.problem.check_loss(settings.loss(self.problem.usual_loss()))?;
        }
        Ok(settings)
    }

    fn settings_of(&self, running: &Running<'_>) -> Result<Settings, SettingsError> {
        let mut settings = self.settings.clone();
        for (name, value) in running.params().iter() {
            settings.set(name, param_value(value))?;
        }
        settings.check()?;
        Ok(settings)
    }
}

impl NetworkObjective {
    fn run_of(&self, running: &Running<'_>) -> Result<Run<'_>, Failed> {
        let settings = self.settings_of(running).map_err(Failure::error)?;
        let network = self.problem.network(&settings);
        let reported = wanted(&self.metrics, &self.problem, &self.reported);
        Ok(Run { problem: &self.problem, network, settings, reported })
    }
}

impl Objective for NetworkObjective {
    fn evaluate(&self, running: &mut Running<'_>) -> Result<(), Failed> {
        self.run_of(running)?.train(running, &self.metrics)
    }

    fn slots(&self) -> usize {
        self.together
    }

    #[cfg(feature = "burn")]
    fn evaluate_batch(&self, pool: &mut Pool<'_>) -> Result<(), Failed> {
        if self.together == 1 {
            while let Next::Trial(mut running) = pool.refill() {
                let result = self.evaluate(&mut running);
                running.finish(result);
            }
            return Ok(());
        }
        population::evaluate(self, pool)
    }
}

/// One trial's training, whoever made its network.
pub(crate) struct Run<'a> {
    pub(crate) problem: &'a Arc<Problem>,
    pub(crate) network: Network,
    pub(crate) settings: Settings,
    /// Metrics to report beside the cheap ones.
    pub(crate) reported: Vec<Metric>,
}

impl Run<'_> {
    /// Trains to the budget or to the end; reports, saves and leaves the trial's model behind.
    pub(crate) fn train(self, running: &mut Running<'_>, metrics: &Metrics) -> Result<(), Failed> {
        let checkpoint = running.checkpoint_folder();
        let mut trainer = self.trainer(running, &checkpoint)?;
        let mut keeper = Keeper::new(metrics, &checkpoint);
        let end = running.budget().map_or(usize::MAX, |budget| budget as usize);
        let mut saved = Instant::now();
        let mut flow = Flow::Continue;
        let goes_on = |trainer: &Trainer| !trainer.is_done() && trainer.epochs_done() < end;
        while flow == Flow::Continue && goes_on(&trainer) && !running.is_interrupted() {
            let report = trainer.epoch().map_err(failure)?;
            let values = report.values();
            keeper.see(&values, || trainer.model());
            flow = running.report(report.epoch as u64, &values);
            if flow == Flow::Continue && saved.elapsed() > SAVE_EVERY {
                save(&trainer, &mut keeper, &checkpoint)?;
                saved = Instant::now();
            }
        }
        leave(flow, running, &trainer, &mut keeper, &checkpoint)
    }

    /// The trial's trainer: from its checkpoint if it has a good one, from that of its parent if it is a branch, else
    /// from the beginning.
    fn trainer(&self, running: &Running<'_>, checkpoint: &Path) -> Result<Trainer, Failed> {
        let (problem, key) = (self.problem, running.random_key());
        let parts = || (self.network.clone(), self.settings.clone());
        let mut saved = None;
        if Checkpoint::exists(checkpoint) {
            // A checkpoint that is damaged costs the epochs it held, not the trial.
            let (network, settings) = parts();
            saved = Trainer::resume_network(problem, network, settings, key, checkpoint).ok();
            if saved.is_none() && running.parent().is_some() {
                let (network, settings) = parts();
                saved = Trainer::branch_network(problem, network, settings, key, checkpoint).ok();
            }
        }
        let reached = running.step().max(running.parent().map_or(0, |(_, step)| step));
        let trainer = if let Some(trainer) = saved.filter(|trainer| trainer.epochs_done() as u64 <= reached) {
            trainer
        } else {
            let (network, settings) = parts();
            Trainer::with_network(problem, network, settings, key).map_err(failure)?
        };
        Ok(trainer.measuring(&self.reported))
    }
}

/// Remembers the model of the epoch that the trial's value stands for.
struct Keeper<'a> {
    metrics: &'a Metrics,
    folder: PathBuf,
    best: Option<f64>,
    model: Option<Model>,
}

impl<'a> Keeper<'a> {
    fn new(metrics: &'a Metrics, checkpoint: &Path) -> Self {
        let folder = model_folder(checkpoint);
        let best = fs::read_to_string(folder.join("loss")).ok().and_then(|text| text.trim().parse().ok());
        Self { metrics, folder, best, model: None }
    }

    fn see(&mut self, values: &[(&str, f64)], model: impl FnOnce() -> Model) {
        let metric = &self.metrics.objectives[0];
        let value = values.iter().find(|(name, _)| *name == &*metric.name).map(|(_, value)| *value);
        let Some(loss) = value.map(|value| metric.direction.turn(value)) else { return };
        if self.metrics.curve == CurveValue::Best && self.best.is_none_or(|best| loss < best) {
            self.best = Some(loss);
            self.model = Some(model());
        }
    }

    fn save(&mut self, trainer: &Trainer) -> Result<(), StoreError> {
        match (self.metrics.curve, self.model.take()) {
            (CurveValue::Last, _) => trainer.export_model(&self.folder),
            (CurveValue::Best, None) => Ok(()),
            (CurveValue::Best, Some(model)) => {
                model.save(&self.folder)?;
                // Without this file a resumed trial would keep a later, worse model.
                let text = self.best.unwrap_or(f64::INFINITY).to_string();
                let path = self.folder.join("loss");
                fs::write(&path, text).map_err(|source| StoreError::Io { action: "write", path, source })
            }
        }
    }
}

/// Saves the model of a trial into `out`, and measures it on the rows that were held out.
pub(crate) fn save_best(
    problem: &Problem,
    trial: u32,
    folder: &Path,
    out: &Path,
) -> Result<Saved, NetworkError> {
    let mut model = Model::load(&model_folder(&folder.join(format!("{trial:05}")).join("checkpoint")))?;
    model.save(out)?;
    let held_out = if problem.held_out_rows() == 0 {
        Vec::new()
    } else {
        let measured = model.held_out(problem)?;
        measured.values().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    Ok(Saved { model: out.to_owned(), held_out })
}

/// Whether networks on these data can report all that the study uses.
pub(crate) fn check_metrics(metrics: &Metrics, problem: &Problem) -> Result<(), NetworkError> {
    for name in names_of(metrics) {
        if !LOSSES.contains(&name) && metric_named(name, problem).is_none() {
            return Err(NetworkError::Metric { metric: name.into(), known: known_names(problem) });
        }
    }
    Ok(())
}

/// The metrics that the study uses, and others.
pub(crate) fn wanted(metrics: &Metrics, problem: &Problem, others: &[Metric]) -> Vec<Metric> {
    let used: Vec<Metric> = names_of(metrics).filter_map(|name| metric_named(name, problem)).collect();
    joined(&used, others)
}

/// What is reported beside metrics.
const LOSSES: [&str; 2] = ["train_loss", "val_loss"];

/// The names that the study uses.
fn names_of(metrics: &Metrics) -> impl Iterator<Item = &str> {
    metrics
        .objectives
        .iter()
        .map(|metric| &*metric.name)
        .chain(metrics.constraints.iter().map(|name| &**name))
}

/// The metric that is reported under this name on these data.
fn metric_named(name: &str, problem: &Problem) -> Option<Metric> {
    let kind = problem.target_kind();
    Metric::ALL.iter().copied().find(|metric| metric.applies_to(kind) && metric.validation_name() == name)
}

/// All names that can be reported on these data.
fn known_names(problem: &Problem) -> String {
    let kind = problem.target_kind();
    let metrics = Metric::ALL.iter().filter(|metric| metric.applies_to(kind)).map(|m| m.validation_name());
    LOSSES.into_iter().chain(metrics).collect::<Vec<_>>().join(", ")
}

/// Leaves behind what a trial needs that ends, pauses or is interrupted.
fn leave(
    flow: Flow,
    running: &Running<'_>,
    trainer: &Trainer,
    keeper: &mut Keeper<'_>,
    checkpoint: &Path,
) -> Result<(), Failed> {
    if flow == Flow::Pause || running.is_interrupted() {
        save(trainer, keeper, checkpoint)?;
    } else if flow == Flow::Continue {
        keeper.save(trainer).map_err(Failure::error)?;
        // At its budget a trial is paused, and may be sent further.
        if running.budget().is_some() {
            trainer.save(checkpoint).map_err(Failure::error)?;
        }
    }
    Ok(())
}

fn save(trainer: &Trainer, keeper: &mut Keeper<'_>, checkpoint: &Path) -> Result<(), Failed> {
    let saved = trainer.save(checkpoint).and_then(|()| keeper.save(trainer));
    saved.map_err(|e| Failure::error(e).into())
}

fn model_folder(checkpoint: &Path) -> PathBuf {
    checkpoint.join("model")
}

fn failure(error: TrainError) -> Failure {
    Failure::error(error)
}

fn param_value(value: &Value) -> ParamValue {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::Int(i) => (*i).into(),
        Value::Float(x) => (*x).into(),
        Value::Text(text) => text.to_string().into(),
    }
}
