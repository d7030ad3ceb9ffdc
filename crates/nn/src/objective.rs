//! A network as the objective of a study, its params laid over settings by name. This file and `hypermodel.rs` are the
//! only ones of this crate that know Luthier.
//!
//! Each epoch is a report, unless the budget counts seconds or rows; a checkpoint is written when a trial pauses, when it is interrupted, and every few seconds.
//! The model a trial leaves behind is that of the epoch which its value stands for.

mod budget;
mod knobs;
mod population;

use std::borrow::Cow;
use std::f64::consts::FRAC_PI_2;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use luthier::core::event::{Failure, Outcome, Work};
use luthier::core::lineage;
use luthier::core::metric::{CurveValue, Metrics};
use luthier::core::rng::{Purpose, Rng};
use luthier::core::space::{Params, Space, Value};
use luthier::core::spec::{Design, Spec};
use luthier::core::study::Study;
use luthier::core::trial::Trial;
use luthier::folders;
use luthier::objective::{Failed, Flow, Objective, Running};
#[cfg(feature = "burn")]
use luthier::objective::{Next, Pool};
use luthier::session::named_values;

pub(crate) use self::budget::Budget;
pub use self::knobs::knob;
use crate::evaluation::joined;
pub use crate::hypermodel::{
    Choice, FloatDraw, HyperModel, HyperObjective, Hyperparameters, IntDraw, Training, Whole,
};
use crate::replicates::{base_name, is_reported};
use crate::winner::named;
use crate::{
    AnewError, BudgetUnit, Checkpoint, DataError, Diagnosis, Limits, MeasuredReplicates, Metric, Model,
    ModelError, Network, NetworkSpec, ParamValue, Problem, QualityError, QualitySpec, Replicates,
    Replication, Settings, SettingsError, ShapeError, StoreError, Summary, TargetError, TrainError, Trainer,
    WinnerReport, diagnose, store, train_along,
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
    /// Layers that do not fit together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The table `[network.quality]`.
    #[error(transparent)]
    Quality(#[from] QualityError),
    /// The winner's last training.
    #[error(transparent)]
    Anew(#[from] AnewError),
    /// Folds or seeds by two tables.
    #[error(
        "[replicates] and [network.quality] both say how often a trial is trained; keep [replicates] for folds that race, or \
         [network.quality] for folds in step, which allow objectives such as val_accuracy_lower"
    )]
    TwoDesigns,
    /// Params that are to change while a network trains, and cannot.
    #[error(
        "{names} cannot change while a network trains; name in the scheduler's `change` only parameters that can{}",
        if changeable.is_empty() { String::new() } else { format!(", such as {changeable}") }
    )]
    Frozen {
        /// Their names.
        names: String,
        /// Names of the space's other parameters.
        changeable: String,
    },
    /// A setting that cannot change while a network trains.
    #[error("{name} cannot change while a network trains; what can: {knobs}")]
    NoKnob {
        /// The setting.
        name: String,
        /// What can.
        knobs: String,
    },
    /// A setting of names, whose choices nobody has listed.
    #[error("{name} is no number; to turn it, declare it in [params] with the choices it may take")]
    NoNumber {
        /// The setting.
        name: String,
    },
    /// A unit of the budget that the rest of the study does not go with.
    #[error("[budget] unit = \"{unit}\": {problem}")]
    Budget {
        /// The unit.
        unit: BudgetUnit,
        /// What does not go with it, and what to do.
        problem: String,
    },
    /// A study without a winner.
    #[error("no trial has completed yet, so there is no winner")]
    NoWinner,
}

/// Networks on one data set: params are laid over the settings by name.
pub struct NetworkObjective {
    problem: Arc<Problem>,
    settings: Settings,
    metrics: Metrics,
    /// Metrics of the `[network]` table.
    reported: Vec<Metric>,
    /// How each trial is replicated, if it is.
    plan: Option<Arc<Replication>>,
    /// The plan of each replicate alone, where they are work of their own (`[replicates]`) and not one training in step.
    apart: Vec<Arc<Replication>>,
    /// Whether the winner is trained anew.
    retrain: bool,
    /// Whether the learning rate falls in that training, where nothing else is said about its course.
    cooldown: bool,
    budget: Budget,
    /// How many trials train together; 1 for one by one.
    together: usize,
    notes: Vec<String>,
}

/// What became of a study's winner.
#[derive(Clone, Debug, PartialEq)]
pub struct Winner {
    /// The folder with `model.safetensors` and `model.json`; `None` if the winner is to be trained anew and was not yet.
    pub model: Option<PathBuf>,
    /// Its metrics on rows that no trial has seen; empty if none were held out, or not yet measured.
    pub held_out: Vec<(String, f64)>,
    /// What is known about it; in the model's folder as `quality.json` too.
    pub report: WinnerReport,
}

/// The model of a trial, saved.
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
        let is_planned = table["settings"].get("schedule").is_some() || spec.space.find("schedule").is_some();
        let has_epochs = table["settings"].get("epochs").is_some() || spec.space.find("epochs").is_some();
        let network: NetworkSpec = serde_json::from_value(table).map_err(NetworkError::Table)?;
        let budget = Budget::read(&network, spec, has_epochs)?;
        if let Some(quality) = &network.quality {
            quality.check_objective(&names_of(&spec.metrics).collect::<Vec<_>>())?;
        }
        let problem = Arc::new(Problem::load(&network, base)?);
        let plan = match (&network.quality, spec.design) {
            (Some(_), Some(_)) => return Err(NetworkError::TwoDesigns),
            (Some(quality), None) => Some(Replication::new(&problem, quality)?),
            (None, Some(design)) => Some(replication(&problem, design)?),
            (None, None) => None,
        };
        let apart = |plan: &Replication| (0..plan.problems().len()).map(|k| Arc::new(plan.only(k))).collect();
        let apart = plan.as_ref().filter(|_| spec.design.is_some()).map_or(Vec::new(), apart);
        let mut objective = Self {
            notes: problem.notes().to_vec(),
            problem,
            settings: network.settings,
            metrics: spec.metrics.clone(),
            reported: network.metrics,
            retrain: network.retrain.unwrap_or(plan.is_some()),
            cooldown: network.cooldown.unwrap_or(!is_planned),
            plan: plan.map(Arc::new),
            apart,
            budget,
            together: 1,
        };
        let middle = objective.check_names(spec)?;
        check_changes(spec)?;
        // A replicate that is work of its own knows no spread.
        let in_step = objective.plan.is_some() && objective.apart.is_empty();
        check_reported(&objective.metrics, &objective.problem, in_step)?;
        // Replicates go in step with each other already, on data of their own.
        if objective.plan.is_none() {
            let (together, note) = match budget {
                Budget::Epochs { .. } => population::choose(network.population, &objective.problem, &middle),
                _ => (1, population::unless_epochs(network.population)),
            };
            objective.together = together;
            objective.notes.splice(0..0, note);
        }
        Ok(objective)
    }

    /// A fingerprint of the data and of how it is split.
    pub fn fingerprint(&self) -> &str {
        self.problem.fingerprint()
    }

    /// What a step of a trial is.
    pub fn unit(&self) -> BudgetUnit {
        self.budget.unit()
    }

    /// What was noticed about the data, and how trials will be trained, for the user: one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
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
        self.problem.limits()
    }

    /// Saves the model of a study's best trial into `out` and measures it on the rows that were held out; the files of
    /// trials are under `folder`. With `[network.quality]` or `retrain = true` the winner is trained anew for it, which is
    /// left for later if the study has not `ended`. To be called once, at the end: those rows say how good the *chosen*
    /// model is. A second call for the same winner measures nothing again.
    pub fn save_best(
        &self,
        study: &Study,
        folder: &Path,
        out: &Path,
        ended: bool,
    ) -> Result<Winner, NetworkError> {
        let best = study.incumbent().ok_or(NetworkError::NoWinner)?;
        let kept = model_folder(&folders::checkpoint_of(folder, Work::of(best.number)));
        let settings = self.settings_with(&study.params(best))?;
        let measured =
            if self.apart.is_empty() { self.measured(&kept)? } else { Some(measured_apart(best, folder)?) };
        let quality = measured.as_ref().and_then(|measured| Some(self.plan.as_ref()?.quality(measured)));
        let diagnosis = self.diagnosis(study, best, &settings);
        let mut report = WinnerReport { trial: best.number, quality, diagnosis, anew: None };
        if !self.retrain {
            let saved = save_best(&self.problem, best.number, folder, out)?;
            return Ok(Winner { model: Some(saved.model), held_out: saved.held_out, report });
        }
        if !ended {
            return Ok(Winner { model: None, held_out: Vec::new(), report });
        }
        let epochs = match &measured {
            Some(measured) => measured.epoch,
            None if study.metrics().curve == CurveValue::Best
                && settings.patience.is_none()
                && matches!(self.budget, Budget::Epochs { .. }) =>
            {
                match level_until(&lineage::losses(study, best.number, u64::MAX)) {
                    Some(epoch) => epoch as usize,
                    None => Model::load(&kept)?.epochs(),
                }
            }
            None => Model::load(&kept)?.epochs(),
        };
        let planned = || -> Result<usize, NetworkError> {
            Ok(match &measured {
                Some(measured) => measured.epoch.max(best.curve().len()),
                None => Model::load(&kept)?.settings().epochs,
            })
        };
        let settings = self.budget.of_winner(settings, epochs, planned)?;
        let seed = Rng::key(study.spec().seed, u64::from(best.number), Purpose::Objective, 0);
        // A model that went on from others' has had rates of its own.
        let cooled = settings.cooled(epochs).filter(|_| self.cooldown && best.parent.is_none());
        let (is_cooled, settings) = (cooled.is_some(), cooled.unwrap_or(settings));
        let legs = self.legs(study, best, settings, epochs)?;
        self.finish_winner(&mut report, &legs, is_cooled, epochs, &anew_seed(&seed), out)?;
        let held_out = report.anew.as_ref().map_or(Vec::new(), |anew| anew.held_out.clone());
        Ok(Winner { model: Some(out.to_owned()), held_out, report })
    }

    /// The settings of the winner's last training with the epochs from which they hold: `last`, and before that those of the trials that its
    /// model comes from.
    fn legs(
        &self,
        study: &Study,
        best: &Trial,
        last: Settings,
        epochs: usize,
    ) -> Result<Vec<(usize, Settings)>, NetworkError> {
        let is_stopped = last.patience.is_some();
        let mut schedule = lineage::schedule(study, best.number);
        let own = schedule.pop().map_or(0, |leg| leg.from as usize);
        let mut legs = Vec::with_capacity(schedule.len() + 1);
        for leg in schedule {
            legs.push((leg.from as usize, self.budget.limited(self.settings_with(&leg.params)?)));
        }
        legs.push((own, last));
        legs.retain(|(from, _)| *from == 0 || is_stopped || *from < epochs);
        Ok(legs)
    }

    /// Trains and measures the winner, unless that has been done; writes model and report.
    fn finish_winner(
        &self,
        report: &mut WinnerReport,
        legs: &[(usize, Settings)],
        cooled: bool,
        epochs: usize,
        seed: &[u8; 32],
        out: &Path,
    ) -> Result<(), NetworkError> {
        let before = WinnerReport::load(out).ok().and_then(|report| Some((report.trial, report.anew?)));
        if let Some((trial, anew)) = &before
            && *trial == report.trial
            && let Some((_, settings)) = legs.last()
            && Model::load(out).is_ok_and(|model| anew.is_of(&model, self.problem.fingerprint(), settings))
        {
            report.anew = Some(anew.clone());
            return Ok(report.save(out)?);
        }
        let scratch = out.with_extension("legs");
        let (model, mut anew) = train_along(&self.problem, legs, epochs, *seed, &scratch)?;
        anew.cooled = cooled;
        if let Some((trial, before)) = before {
            anew.earlier = before.earlier;
            if trial != report.trial && !anew.earlier.contains(&trial) {
                anew.earlier.push(trial);
            }
        }
        report.anew = Some(anew);
        model.save(out)?;
        Ok(report.save(out)?)
    }

    /// What the replicates of a trial said, if it has any.
    fn measured(&self, kept: &Path) -> Result<Option<MeasuredReplicates>, StoreError> {
        let read = |_: &Arc<Replication>| store::read_json(&kept.join(MEASURED), MEASURED_FORMAT);
        self.plan.as_ref().map(read).transpose()
    }

    /// What the curve of a trial tells; nothing where it is none of epochs.
    fn diagnosis(&self, study: &Study, trial: &Trial, settings: &Settings) -> Option<Diagnosis> {
        if !self.budget.tells_epochs() {
            return None;
        }
        let curve = |wanted: &str| -> Vec<f64> {
            let points =
                lineage::curve(study, trial.number).into_iter().map(|point| named_values(study, point));
            let value = |values: Vec<(Arc<str>, f64)>| values.into_iter().find(|(name, _)| **name == *wanted);
            points.filter_map(value).map(|(_, value)| value).collect()
        };
        let loss = settings.loss(self.problem.usual_loss());
        let [train, validation] = LOSSES.map(curve);
        Some(diagnose(&train, &validation, Some(self.problem.baseline_loss(loss))))
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

    fn settings_with(&self, params: &Params) -> Result<Settings, SettingsError> {
        let mut settings = self.settings.clone();
        for (name, value) in params.iter() {
            settings.set(name, param_value(value))?;
        }
        settings.check()?;
        Ok(settings)
    }
}

impl NetworkObjective {
    fn run_of(&self, running: &Running<'_>) -> Result<Run<'_>, Failed> {
        let settings = self.settings_with(running.params()).map_err(Failure::error)?;
        let settings = self.budget.limited(settings);
        let network = self.problem.network(&settings);
        let reported = wanted(&self.metrics, &self.problem, &self.reported);
        Ok(Run { problem: &self.problem, network, settings, reported, budget: self.budget })
    }
}

impl Objective for NetworkObjective {
    fn evaluate(&self, running: &mut Running<'_>) -> Result<(), Failed> {
        let run = self.run_of(running)?;
        let apart = self.apart.get(usize::from(running.replicate()));
        match apart.or(self.plan.as_ref()) {
            Some(plan) => {
                let Run { settings, reported, budget, .. } = run;
                ReplicatedRun { plan, settings, reported, budget }.train(running, &self.metrics)
            }
            None => run.train(running, &self.metrics),
        }
    }

    fn slots(&self) -> usize {
        self.together
    }

    fn replaces_files(&self) -> bool {
        true
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
    pub(crate) budget: Budget,
}

impl Run<'_> {
    /// Trains to the budget or to the end; reports, saves and leaves the trial's model behind.
    pub(crate) fn train(self, running: &mut Running<'_>, metrics: &Metrics) -> Result<(), Failed> {
        let checkpoint = running.checkpoint_folder();
        let trainer = self.trainer(running, &checkpoint)?;
        Learner::One(Box::new(trainer)).run(running, metrics, &checkpoint, self.budget)
    }

    /// The trial's trainer: from its checkpoint if it has a good one, from that of its parent if it is a branch, else
    /// from the beginning.
    fn trainer(&self, running: &Running<'_>, checkpoint: &Path) -> Result<Trainer, Failed> {
        let (budget, key) = (self.budget, running.random_key());
        let problem = &budget.rows_of(self.problem, running)?;
        let parts = || (self.network.clone(), self.settings.clone());
        let is_own = |trainer: &Trainer| {
            let step = budget.position(trainer.epochs_done(), std::slice::from_ref(trainer));
            budget.is_own(running, step, trainer.is_done())
        };
        let mut saved = None;
        if Checkpoint::exists(checkpoint) {
            // A checkpoint that is damaged costs the epochs it held, not the trial.
            let (network, settings) = parts();
            saved = Trainer::resume_network(problem, network, settings, key, checkpoint).ok().filter(is_own);
        }
        let trainer = match (saved, running.parent()) {
            (Some(trainer), _) => trainer,
            (None, None) => {
                let (network, settings) = parts();
                Trainer::with_network(problem, network, settings, key)
                    .map_err(|error| budget.not_trained(error, running))?
            }
            (None, Some(parent)) => {
                let (network, settings) = parts();
                let branched = Trainer::branch_network(problem, network, settings, key, checkpoint);
                let trainer = branched.map_err(|error| not_begun(parent, &error))?;
                if trainer.epochs_done() as u64 != parent.1 {
                    return Err(
                        not_begun(parent, &format!("it is of epoch {}", trainer.epochs_done())).into()
                    );
                }
                trainer
            }
        };
        let trainer = trainer.measuring(&self.reported);
        Ok(if budget.counts_epochs_by_steps() { trainer.lasting_its_steps() } else { trainer })
    }
}

/// A trial that goes on from another's checkpoint cannot begin anew instead: its curve would be another's.
fn not_begun((parent, step): (u32, u64), problem: &dyn std::fmt::Display) -> Failure {
    Failure::error(format!("it cannot begin with what trial {parent} had at epoch {step}: {problem}"))
}

/// The model that is there is none of this trial's.
fn forget_model(checkpoint: &Path) -> Result<(), Failure> {
    let path = model_folder(checkpoint);
    match fs::remove_dir_all(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::error(StoreError::Io { action: "remove", path, source }))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One trial's training of all its replicates.
struct ReplicatedRun<'a> {
    plan: &'a Arc<Replication>,
    settings: Settings,
    reported: Vec<Metric>,
    budget: Budget,
}

impl ReplicatedRun<'_> {
    fn train(self, running: &mut Running<'_>, metrics: &Metrics) -> Result<(), Failed> {
        let checkpoint = running.checkpoint_folder();
        let replicates = self.replicates(running, &checkpoint)?.measuring(&self.reported);
        let detailed = names_of(metrics).map(|name| base_name(name).to_owned()).collect();
        let learner = Learner::Many { replicates: Box::new(replicates), detailed };
        learner.run(running, metrics, &checkpoint, self.budget)
    }

    /// From a checkpoint if there is a good one, as for a single network.
    fn replicates(&self, running: &Running<'_>, checkpoint: &Path) -> Result<Replicates, Failed> {
        let (budget, settings, key) = (self.budget, &self.settings, running.random_key());
        let plan = &match budget.share(running) {
            None => Arc::clone(self.plan),
            Some(_) => Arc::new(self.plan.with_problems(|problem| budget.rows_of(problem, running))?),
        };
        let is_own = |replicates: &Replicates| {
            let step = budget.position(replicates.epochs_done(), replicates.trainers());
            budget.is_own(running, step, replicates.is_done())
        };
        let mut saved = None;
        if Replicates::exists(checkpoint) {
            saved = Replicates::resume(plan, settings, key, checkpoint).ok().filter(is_own);
        }
        let replicates = match (saved, running.parent()) {
            (Some(replicates), _) => replicates,
            (None, None) => Replicates::new(plan, settings, key).map_err(Failure::error)?,
            (None, Some(parent)) => {
                let branched = Replicates::branch(plan, settings, key, checkpoint);
                branched.map_err(|error| not_begun(parent, &error))?
            }
        };
        Ok(if budget.counts_epochs_by_steps() { replicates.lasting_its_steps() } else { replicates })
    }
}

/// What a trial trains.
enum Learner {
    One(Box<Trainer>),
    /// Replicates; of metrics in `detailed` spread and bound are reported beside the mean.
    Many {
        replicates: Box<Replicates>,
        detailed: Vec<String>,
    },
}

/// The data of replicates that are work of their own, those that measure again among them.
fn replication(problem: &Arc<Problem>, design: Design) -> Result<Replication, QualityError> {
    let rounds = usize::from(design.seeds + design.confirm);
    let of = |folds, repeats, seeds| -> Result<Replication, QualityError> {
        let usual = 0.95;
        Replication::new(problem, &QualitySpec { folds, repeats, seeds, objective: None, confidence: usual })
    };
    if design.folds < 2 {
        return of(None, 1, Some(rounds));
    }
    let folds = Some(usize::from(design.folds));
    match of(folds, rounds, None) {
        Err(QualityError::Data(DataError::RepeatedTime)) => Ok(of(folds, 1, None)?.again(rounds)),
        plan => plan,
    }
}

/// What the replicates of a trial left behind, each in a folder of its own; those that completed.
fn measured_apart(trial: &Trial, folder: &Path) -> Result<MeasuredReplicates, StoreError> {
    let mut all = MeasuredReplicates { epoch: 0, epochs: Vec::new(), replicates: Vec::new() };
    for (work, piece) in trial.pieces() {
        if !matches!(piece.outcome, Some(Outcome::Completed { .. })) {
            continue;
        }
        let kept = model_folder(&folders::checkpoint_of(folder, work)).join(MEASURED);
        // Those of a trial that was not the best for a while are gone.
        if !kept.exists() {
            continue;
        }
        let measured: MeasuredReplicates = store::read_json(&kept, MEASURED_FORMAT)?;
        all.epoch = all.epoch.max(measured.epoch);
        all.epochs.extend(measured.epochs);
        all.replicates.extend(measured.replicates);
    }
    Ok(all)
}

/// What a trial leaves behind.
enum Kept {
    Model(Box<Model>),
    Measured(MeasuredReplicates),
}

type Values = Vec<(Cow<'static, str>, f64)>;

impl Learner {
    /// Trains to the budget or to the end; reports, saves and leaves behind what the trial's value stands for.
    fn run(
        self,
        running: &mut Running<'_>,
        metrics: &Metrics,
        checkpoint: &Path,
        budget: Budget,
    ) -> Result<(), Failed> {
        match budget.share(running) {
            None => self.train(running, metrics, checkpoint, budget),
            Some(percent) => self.train_on_share(running, metrics, checkpoint, percent),
        }
    }

    fn train(
        mut self,
        running: &mut Running<'_>,
        metrics: &Metrics,
        checkpoint: &Path,
        budget: Budget,
    ) -> Result<(), Failed> {
        let end = running.budget().unwrap_or(u64::MAX);
        let mut keeper = Keeper::new(metrics, checkpoint);
        let mut saved = Instant::now();
        let mut told = self.position(budget);
        let mut flow = Flow::Continue;
        while flow == Flow::Continue && self.goes_on(budget, end) && !running.is_interrupted() {
            let values = self.epoch()?;
            // Of the epochs that end within one second the first is told; the last one of all is told anyway.
            let step = self.position(budget);
            if step > told || !self.goes_on(budget, end) {
                told = step.max(told + 1);
                flow = tell(running, &mut keeper, told, &values, || self.keep());
            }
            if flow == Flow::Continue && saved.elapsed() > SAVE_EVERY {
                save(&mut self, &mut keeper, checkpoint)?;
                saved = Instant::now();
            }
        }
        leave(flow, running, &mut self, &mut keeper, checkpoint)
    }

    /// Trains to the end, and reports that.
    fn train_on_share(
        mut self,
        running: &mut Running<'_>,
        metrics: &Metrics,
        checkpoint: &Path,
        percent: u64,
    ) -> Result<(), Failed> {
        if running.step() >= percent {
            // It was reported, but its model may not have been saved: the one that is there may be of fewer rows.
            forget_model(checkpoint)?;
        }
        let mut saved = Instant::now();
        let values = loop {
            let values = self.epoch()?;
            if self.is_done() {
                break values;
            }
            // The model that is there stays that of what was reported.
            if running.is_interrupted() && running.step() < percent {
                return self.save_state(checkpoint).map_err(|error| Failure::error(error).into());
            }
            if saved.elapsed() > SAVE_EVERY {
                self.save_state(checkpoint).map_err(Failure::error)?;
                saved = Instant::now();
            }
        };
        let mut keeper = Keeper::new(metrics, checkpoint);
        let flow = tell(running, &mut keeper, percent, &values, || self.keep());
        leave(flow, running, &mut self, &mut keeper, checkpoint)
    }

    fn goes_on(&self, budget: Budget, end: u64) -> bool {
        !self.is_done() && self.position(budget) < end
    }

    fn is_done(&self) -> bool {
        match self {
            Self::One(trainer) => trainer.is_done(),
            Self::Many { replicates, .. } => replicates.is_done(),
        }
    }

    fn position(&self, budget: Budget) -> u64 {
        match self {
            Self::One(trainer) => budget.position(trainer.epochs_done(), std::slice::from_ref(&**trainer)),
            Self::Many { replicates, .. } => budget.position(replicates.epochs_done(), replicates.trainers()),
        }
    }

    fn epoch(&mut self) -> Result<Values, Failure> {
        match self {
            Self::One(trainer) => {
                let values = trainer.epoch().map_err(failure)?.values();
                Ok(values.into_iter().map(|(name, value)| (name.into(), value)).collect())
            }
            Self::Many { replicates, detailed } => {
                let values = replicates.epoch().map_err(Failure::error)?.values().into_iter();
                let is_wanted = |name: &str| {
                    base_name(name) == name || detailed.iter().any(|base| base == base_name(name))
                };
                Ok(values.filter(|(name, _)| is_wanted(name)).map(|(name, v)| (name.into(), v)).collect())
            }
        }
    }
}

/// Reports what an epoch came to.
fn tell(
    running: &mut Running<'_>,
    keeper: &mut Keeper<'_>,
    step: u64,
    values: &Values,
    keep: impl FnOnce() -> Kept,
) -> Flow {
    let values: Vec<(&str, f64)> = values.iter().map(|(name, value)| (&**name, *value)).collect();
    keeper.see(&values, keep);
    running.report(step, &values)
}

/// Something in training that a trial leaves behind.
trait Leaves {
    /// What it would leave behind now.
    fn keep(&mut self) -> Kept;

    /// Saves what it takes to go on.
    fn save_state(&self, checkpoint: &Path) -> Result<(), StoreError>;
}

impl Leaves for Learner {
    fn keep(&mut self) -> Kept {
        match self {
            Self::One(trainer) => (&**trainer).keep(),
            Self::Many { replicates, .. } => Kept::Measured(replicates.measure()),
        }
    }

    fn save_state(&self, checkpoint: &Path) -> Result<(), StoreError> {
        match self {
            Self::One(trainer) => trainer.save(checkpoint),
            Self::Many { replicates, .. } => replicates.save(checkpoint),
        }
    }
}

impl Leaves for &Trainer {
    fn keep(&mut self) -> Kept {
        Kept::Model(Box::new(self.model()))
    }

    fn save_state(&self, checkpoint: &Path) -> Result<(), StoreError> {
        self.save(checkpoint)
    }
}

/// Leaves behind what a trial needs that ends, pauses or is interrupted.
fn leave(
    flow: Flow,
    running: &Running<'_>,
    learner: &mut impl Leaves,
    keeper: &mut Keeper<'_>,
    checkpoint: &Path,
) -> Result<(), Failed> {
    if flow == Flow::Pause || running.is_interrupted() {
        save(learner, keeper, checkpoint)?;
    } else if flow == Flow::Continue {
        keeper.save(|| learner.keep()).map_err(Failure::error)?;
        // At its budget a trial is paused, and may be sent further.
        if running.budget().is_some() {
            learner.save_state(checkpoint).map_err(Failure::error)?;
        }
    }
    Ok(())
}

fn save(learner: &mut impl Leaves, keeper: &mut Keeper<'_>, checkpoint: &Path) -> Result<(), Failed> {
    let saved = learner.save_state(checkpoint).and_then(|()| keeper.save(|| learner.keep()));
    saved.map_err(|e| Failure::error(e).into())
}

const MEASURED: &str = "measured.json";
const MEASURED_FORMAT: &str = "luthier-measured";

impl Kept {
    fn save(&self, folder: &Path) -> Result<(), StoreError> {
        match self {
            Self::Model(model) => model.save(folder),
            Self::Measured(measured) => {
                store::make_directory(folder)?;
                store::write_json(&folder.join(MEASURED), MEASURED_FORMAT, measured)
            }
        }
    }
}

/// Remembers what the epoch left behind that the trial's value stands for. Where the best of a curve counts, that may be what came with a
/// parent's checkpoint.
struct Keeper<'a> {
    metrics: &'a Metrics,
    folder: PathBuf,
    best: Option<f64>,
    kept: Option<Kept>,
}

impl<'a> Keeper<'a> {
    fn new(metrics: &'a Metrics, checkpoint: &Path) -> Self {
        let folder = model_folder(checkpoint);
        let best = fs::read_to_string(folder.join("loss")).ok().and_then(|text| text.trim().parse().ok());
        Self { metrics, folder, best, kept: None }
    }

    fn see(&mut self, values: &[(&str, f64)], keep: impl FnOnce() -> Kept) {
        let metric = &self.metrics.objectives[0];
        let value = values.iter().find(|(name, _)| *name == &*metric.name).map(|(_, value)| *value);
        let Some(loss) = value.map(|value| metric.direction.turn(value)) else { return };
        if self.metrics.curve == CurveValue::Best && self.best.is_none_or(|best| loss < best) {
            self.best = Some(loss);
            self.kept = Some(keep());
        }
    }

    fn save(&mut self, keep: impl FnOnce() -> Kept) -> Result<(), StoreError> {
        match (self.metrics.curve, self.kept.take()) {
            (CurveValue::Last, _) => keep().save(&self.folder),
            (CurveValue::Best, None) => Ok(()),
            (CurveValue::Best, Some(kept)) => {
                kept.save(&self.folder)?;
                // Without this file a resumed trial would keep a later, worse model.
                let text = self.best.unwrap_or(f64::INFINITY).to_string();
                store::write_whole(&self.folder.join("loss"), text.as_bytes())
            }
        }
    }
}

/// Parameters that the scheduler is to change while trials train must be such that it can.
fn check_changes(spec: &Spec) -> Result<(), NetworkError> {
    let Some(change) = spec.policy.scheduler.options.get("change") else { return Ok(()) };
    let is_named = |name: &str| match change {
        serde_json::Value::Array(names) => names.iter().any(|named| named == name),
        _ => true,
    };
    let (mut frozen, mut changeable) = (Vec::new(), Vec::new());
    for parameter in spec.space.parameters() {
        let list = if Settings::may_change(&parameter.name)? { &mut changeable } else { &mut frozen };
        list.push(&*parameter.name);
    }
    frozen.retain(|name| is_named(name));
    if frozen.is_empty() {
        return Ok(());
    }
    Err(NetworkError::Frozen { names: frozen.join(", "), changeable: changeable.join(", ") })
}

/// Saves the model of a trial into `out`, and measures it on the rows that were held out.
pub(crate) fn save_best(
    problem: &Problem,
    trial: u32,
    folder: &Path,
    out: &Path,
) -> Result<Saved, NetworkError> {
    let mut model = Model::load(&model_folder(&folders::checkpoint_of(folder, Work::of(trial))))?;
    model.save(out)?;
    let held_out =
        if problem.held_out_rows() == 0 { Vec::new() } else { named(&model.held_out(problem)?.values()) };
    Ok(Saved { model: out.to_owned(), held_out })
}

/// Whether networks on these data can report all that the study uses.
pub(crate) fn check_metrics(metrics: &Metrics, problem: &Problem) -> Result<(), NetworkError> {
    check_reported(metrics, problem, false)
}

/// The same where trials may be replicated.
fn check_reported(metrics: &Metrics, problem: &Problem, is_replicated: bool) -> Result<(), NetworkError> {
    for name in names_of(metrics) {
        let base = if is_replicated && is_reported(name) { base_name(name) } else { name };
        if !LOSSES.contains(&base) && metric_named(base, problem).is_none() {
            let mut known = known_names(problem);
            if is_replicated {
                known.push_str(REPLICATED);
            } else if base_name(name) != name {
                known.push_str("; spreads and bounds need [network.quality]");
            }
            return Err(NetworkError::Metric { metric: name.into(), known });
        }
    }
    Ok(())
}

/// What replicates report beside means.
const REPLICATED: &str =
    "; with `val_` in front also `…_sd`, and `…_lower` where more is better or `…_upper` where less is";

/// The metrics that the study uses, and others.
pub(crate) fn wanted(metrics: &Metrics, problem: &Problem, others: &[Metric]) -> Vec<Metric> {
    let used: Vec<Metric> =
        names_of(metrics).filter_map(|name| metric_named(base_name(name), problem)).collect();
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

/// Epochs whose losses are taken together where one alone says little.
const TOGETHER: usize = 5;

/// The last epoch until which a curve, as (epoch, loss), is level with its best: the median of the latest few losses is no
/// further above the least such median than chance explains, by two standard errors as the differences between
/// successive losses have it (the least of many medians is a lucky one). Which single epoch is best is mostly luck, and a falling learning rate pays at its end. `None` for
/// a short curve.
fn level_until(curve: &[(u64, f64)]) -> Option<u64> {
    let late = curve.get(curve.len() / 2..)?;
    if late.len() < TOGETHER {
        return None;
    }
    let median = |part: &[(u64, f64)]| {
        let mut losses: Vec<f64> = part.iter().map(|(_, loss)| *loss).collect();
        losses.sort_by(f64::total_cmp);
        losses[TOGETHER / 2]
    };
    let jumps: f64 = late.windows(2).map(|pair| (pair[1].1 - pair[0].1).powi(2)).sum();
    // Half the mean square of a difference is the variance; a median's is π/2 times that of a mean.
    let error = (FRAC_PI_2 * jumps / (2 * (late.len() - 1) * TOGETHER) as f64).sqrt();
    let medians: Vec<(u64, f64)> =
        curve.windows(TOGETHER).map(|part| (part[TOGETHER - 1].0, median(part))).collect();
    let least = medians.iter().map(|(_, median)| *median).fold(f64::INFINITY, f64::min);
    medians.iter().rev().find(|(_, median)| *median <= least + 2.0 * error).map(|(epoch, _)| *epoch)
}

/// The seed of the winner's last training, of the key of its trial.
fn anew_seed(key: &[u8; 32]) -> [u8; 32] {
    *blake3::keyed_hash(key, b"trained anew").as_bytes()
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

#[cfg(test)]
mod tests {
    use super::level_until;

    fn until(loss: impl Fn(u64) -> f64, epochs: u64) -> Option<u64> {
        level_until(&(1..=epochs).map(|epoch| (epoch, loss(epoch))).collect::<Vec<_>>())
    }

    #[test]
    fn a_winner_is_trained_for_as_long_as_its_curve_is_level() {
        // Up and down by chance, with the best single epoch early.
        let level = |epoch: u64| if epoch == 8 { 0.9 } else { 1.0 + 0.02 * (epoch % 3) as f64 };
        assert_eq!(until(level, 30), Some(30));
        // Falling to the end.
        assert_eq!(until(|epoch| 1.0 / epoch as f64, 30), Some(30));
        // Over-fitted from epoch 10 on, by far more than chance.
        let turned = until(|epoch| (epoch as f64 - 10.0).abs() / 10.0, 30).unwrap();
        assert!((10..=14).contains(&turned), "{turned}");
        // Too short to say.
        assert_eq!(until(|_| 1.0, 6), None);
    }
}
