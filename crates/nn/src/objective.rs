//! A network as the objective of a study. The only file of this crate that knows Luthier.
//!
//! Each epoch is a report; a checkpoint is written when a trial pauses, when it is interrupted, and every few seconds.
//! The model a trial leaves behind is that of the epoch which its value stands for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use luthier::core::event::Failure;
use luthier::core::metric::{CurveValue, Metrics};
use luthier::core::space::{Space, Value};
use luthier::core::spec::Spec;
use luthier::objective::{Failed, Flow, Objective, Running};

use crate::{
    Checkpoint, DataError, EngineError, Limits, Model, ModelError, NetworkSpec, ParamValue, Problem,
    Settings, SettingsError, StoreError, Summary, TrainError, Trainer,
};

/// Seconds between checkpoints of a trial that runs on.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// What is wrong with the `[network]` table of a study file, or with a saved model.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A key or a value of the table.
    #[error("[network]: {0}")]
    Table(serde_json::Error),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A setting.
    #[error(transparent)]
    Settings(#[from] SettingsError),
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
    /// Layers that do not fit together.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Networks on one data set: params are laid over the settings by name.
pub struct NetworkObjective {
    problem: Arc<Problem>,
    settings: Settings,
    limits: Limits,
    metrics: Metrics,
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
        let network: NetworkSpec = serde_json::from_value(table).map_err(NetworkError::Table)?;
        let problem = Arc::new(Problem::load(&network, base)?);
        let objective = Self {
            problem,
            settings: network.settings,
            limits: network.limits,
            metrics: spec.metrics.clone(),
        };
        objective.check_names(spec)?;
        objective.check_metrics()?;
        Ok(objective)
    }

    /// A fingerprint of the data and of how it is split.
    pub fn fingerprint(&self) -> &str {
        self.problem.fingerprint()
    }

    /// What was noticed about the data, for the user: one sentence each.
    pub fn notes(&self) -> &[String] {
        self.problem.notes()
    }

    /// What the network of some params has and costs. Parameters of the space that `params` does not name are at their
    /// defaults, or in the middle of their ranges; `params` may also name settings that are not tuned.
    pub fn summary(&self, space: &Space, params: &[(String, Value)]) -> Result<Summary, NetworkError> {
        let given = |name: &str| params.iter().find(|(given, _)| given == name).map(|(_, value)| value);
        let point = space.complete(|index| {
            let parameter = &space.parameters()[index];
            let wanted = given(&parameter.name).or(parameter.default.as_ref());
            let coded = wanted.and_then(|value| parameter.distribution.encode(value).ok());
            coded.unwrap_or_else(|| parameter.distribution.from_unit(0.5))
        });
        let mut settings = self.settings.clone();
        for (index, parameter) in space.parameters().iter().enumerate() {
            if let Some(coded) = point.get(index) {
                settings.set(&parameter.name, param_value(&parameter.distribution.decode(coded)))?;
            }
        }
        // Again, for values outside the ranges.
        for (name, value) in params {
            settings.set(name, param_value(value))?;
        }
        Ok(Trainer::summary(&self.problem, &settings)?)
    }

    /// What a trial's network may cost.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Saves the model of the best trial, whose files are under `folder`, into `out`, and measures it on the rows that
    /// were held out. To be called once, at the end: those rows say how good the *chosen* model is.
    pub fn save_best(&self, trial: u32, folder: &Path, out: &Path) -> Result<Saved, NetworkError> {
        let mut model = Model::load(&model_folder(&folder.join(format!("{trial:05}")).join("checkpoint")))?;
        model.save(out)?;
        let held_out = if self.problem.held_out_rows() == 0 {
            Vec::new()
        } else {
            let measured = model.held_out(&self.problem)?;
            measured.values().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        };
        Ok(Saved { model: out.to_owned(), held_out })
    }

    /// Every parameter must be a setting; tried on the middle of its range.
    fn check_names(&self, spec: &Spec) -> Result<(), NetworkError> {
        let mut settings = self.settings.clone();
        for parameter in spec.space.parameters() {
            let middle = parameter.distribution.decode(parameter.distribution.from_unit(0.5));
            settings.set(&parameter.name, param_value(&middle))?;
        }
        Ok(())
    }

    fn check_metrics(&self) -> Result<(), NetworkError> {
        let known = self.reported();
        for metric in &self.metrics.objectives {
            if !known.contains(&&*metric.name) {
                return Err(NetworkError::Metric { metric: metric.name.clone(), known: known.join(", ") });
            }
        }
        Ok(())
    }

    fn reported(&self) -> &'static [&'static str] {
        if self.problem.classes().is_empty() {
            &["train_loss", "val_loss", "val_rmse", "val_r2"]
        } else {
            &["train_loss", "val_loss", "val_accuracy"]
        }
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

impl Objective for NetworkObjective {
    fn evaluate(&self, running: &mut Running<'_>) -> Result<(), Failed> {
        let settings = self.settings_of(running).map_err(Failure::error)?;
        let checkpoint = running.checkpoint_folder();
        let mut trainer = self.trainer(settings, running, &checkpoint)?;
        let mut keeper = Keeper::new(&self.metrics, &checkpoint);
        let end =
            trainer.settings().epochs.min(running.budget().map_or(usize::MAX, |budget| budget as usize));
        let mut saved = Instant::now();
        let mut flow = Flow::Continue;
        while flow == Flow::Continue && trainer.epochs_done() < end && !running.is_interrupted() {
            let report = trainer.epoch().map_err(failure)?;
            let values = report.values();
            keeper.see(&values, &trainer);
            flow = running.report(report.epoch as u64, &values);
            if flow == Flow::Continue && saved.elapsed() > SAVE_EVERY {
                save(&trainer, &mut keeper, &checkpoint)?;
                saved = Instant::now();
            }
        }
        if flow == Flow::Pause || running.is_interrupted() {
            save(&trainer, &mut keeper, &checkpoint)?;
        } else if flow == Flow::Continue {
            keeper.save(&trainer).map_err(Failure::error)?;
            if trainer.epochs_done() < trainer.settings().epochs {
                trainer.save(&checkpoint).map_err(Failure::error)?;
            }
        }
        Ok(())
    }
}

impl NetworkObjective {
    /// The trial's trainer: from its checkpoint if it has a good one, else from the beginning.
    fn trainer(
        &self,
        settings: Settings,
        running: &Running<'_>,
        checkpoint: &Path,
    ) -> Result<Trainer, Failed> {
        if Checkpoint::exists(checkpoint) {
            // A checkpoint that is damaged costs the epochs it held, not the trial.
            if let Ok(trainer) =
                Trainer::resume(&self.problem, settings.clone(), running.random_key(), checkpoint)
                && trainer.epochs_done() as u64 <= running.step()
            {
                return Ok(trainer);
            }
        }
        Trainer::within(&self.limits, &self.problem, settings, running.random_key())
            .map_err(|e| failure(e).into())
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

    fn see(&mut self, values: &[(&str, f64)], trainer: &Trainer) {
        let metric = &self.metrics.objectives[0];
        let value = values.iter().find(|(name, _)| *name == &*metric.name).map(|(_, value)| *value);
        let Some(loss) = value.map(|value| metric.direction.turn(value)) else { return };
        if self.metrics.curve == CurveValue::Best && self.best.is_none_or(|best| loss < best) {
            self.best = Some(loss);
            self.model = Some(trainer.model());
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
