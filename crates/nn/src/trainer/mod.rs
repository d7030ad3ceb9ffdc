//! Training: epochs, reports, early stopping, budgets, and the guard against divergence. Drives an [`Engine`] and leaves
//! all tensors to it; never trains on or is steered by held-out rows.

mod batches;
mod report;
mod stopping;
#[cfg(feature = "burn")]
mod together;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::checkpoint::{Checkpoint, Progress, hexadecimal};
use crate::data::Problem;
use crate::engine::{Engine, Tensor};
use crate::engines::{self, EngineError};
use crate::evaluation::{Evaluation, Evaluator, ROWS_AT_ONCE, joined};
use crate::limits::LimitError;
use crate::loss::total_weight;
use crate::metrics::Metric;
use crate::model::Model;
use crate::network::{Network, ShapeError};
use crate::quality::Answers;
use crate::rng::{Purpose, Stream};
use crate::schedule::{LearningRate, Plateau};
use crate::settings::{Settings, SettingsError};
use crate::store::StoreError;
use crate::summary::Summary;
use crate::target::TargetError;
use batches::Batches;
pub use report::EpochReport;
use stopping::Stopping;

/// One run: a network being trained on a problem. The same problem, network, settings and seed give the same reports,
/// bit for bit, on the same machine; whether the run was interrupted does not matter. (`max_seconds` alone makes a run
/// depend on the machine's speed.)
///
/// With [`Settings::patience`] a part of the training rows is watched instead of trained on. A run then ends at the
/// latest after [`Settings::epochs`], and the weights of its best epoch return: the report of the last epoch and
/// [`Trainer::model`] are those of the best weights.
///
/// ```no_run
/// use std::{path::Path, sync::Arc};
/// use luthier_nn::{DataSpec, Problem, Settings, Trainer};
///
/// let problem = Arc::new(Problem::prepare(&DataSpec::new("digits.csv"), Path::new("."))?);
/// let mut trainer = Trainer::new(&problem, Settings::default(), [7; 32])?;
/// while !trainer.is_done() {
///     let report = trainer.epoch()?;
///     println!("{} {:?}", report.epoch, report.values());
/// }
/// trainer.export_model(Path::new("model"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer {
    problem: Arc<Problem>,
    settings: Settings,
    network: Network,
    seed: [u8; 32],
    metrics: Vec<Metric>,
    engine: Box<dyn Engine>,
    evaluator: Evaluator,
    batches: Batches,
    stopping: Option<Stopping>,
    learning_rate: LearningRate,
    /// Reduces the learning rate, if the schedule is to watch the loss.
    plateau: Option<Plateau>,
    epoch: usize,
    steps: u64,
    seconds: f64,
    diverged: Option<TrainError>,
}

/// Training that cannot start or go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// A setting is out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The loss or the network does not fit the data.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No engine can run the network.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Early stopping is to watch something unknown.
    #[error("`monitor` is `{name}`, which these data do not have; early stopping can watch {known}")]
    Monitor {
        /// The name given.
        name: String,
        /// All that can be watched.
        known: String,
    },
    /// Early stopping has no rows.
    #[error("{rows} training rows are too few to split off some for early stopping: remove `patience`")]
    NothingToWatch {
        /// Rows of the training part.
        rows: usize,
    },
    /// The network is above a limit.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A loss was infinite or not a number.
    #[error(
        "diverged at step {step} (epoch {epoch}): the {loss} is no longer finite; a smaller `learning_rate` may help"
    )]
    Diverged {
        /// Optimiser step, from 1.
        step: u64,
        /// Epoch, from 1.
        epoch: usize,
        /// `training loss`, `validation loss`, or `loss that early stopping watches`.
        loss: &'static str,
    },
}

/// A run that cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The settings do not make a run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Trainer {
    /// What the network of these settings has and costs on these data.
    ///
    /// # Errors
    ///
    /// Names the first layer that cannot take what comes into it.
    pub fn summary(problem: &Problem, settings: &Settings) -> Result<Summary, ShapeError> {
        problem.network(settings).summary(settings.batch_size.min(problem.train().len()), settings.optimizer)
    }

    /// A run at its beginning, of the network that the settings describe. A network above [`Problem::limits`] is refused
    /// before anything is made for it.
    pub fn new(problem: &Arc<Problem>, settings: Settings, seed: [u8; 32]) -> Result<Self, TrainError> {
        let network = problem.network(&settings);
        Self::with_network(problem, network, settings, seed)
    }

    /// A run at its beginning, of a network that was made otherwise. Settings that describe networks are ignored;
    /// those of training and data count.
    pub fn with_network(
        problem: &Arc<Problem>,
        network: Network,
        settings: Settings,
        seed: [u8; 32],
    ) -> Result<Self, TrainError> {
        let make = |network: &Network, settings: &Settings, rows| {
            engines::for_training(network, settings, &seed, rows)
        };
        Self::build(problem, network, settings, seed, make)
    }

    /// A run at its beginning on an engine that is given. The engine must hold [`Problem::network`] of these
    /// settings with its initial weights and take as many rows as a batch has, and 256.
    pub fn with_engine(
        problem: &Arc<Problem>,
        settings: Settings,
        seed: [u8; 32],
        engine: Box<dyn Engine>,
    ) -> Result<Self, TrainError> {
        let network = problem.network(&settings);
        Self::build(problem, network, settings, seed, |_, _, _| Ok(engine))
    }

    fn build(
        problem: &Arc<Problem>,
        network: Network,
        settings: Settings,
        seed: [u8; 32],
        make_engine: impl FnOnce(&Network, &Settings, usize) -> Result<Box<dyn Engine>, EngineError>,
    ) -> Result<Self, TrainError> {
        settings.check()?;
        problem.check_loss(network.loss)?;
        network.shapes().map_err(EngineError::Shape)?;
        problem.check_network(&network)?;
        let (stopping, training) = Stopping::new(problem, &settings, &seed)?;
        let batch = settings.batch_size.min(training.len());
        let summary = network.summary(batch, settings.optimizer).map_err(EngineError::Shape)?;
        problem.limits().check(&summary)?;
        let rows = batch.max(ROWS_AT_ONCE);
        let evaluator = Evaluator::new(problem.preprocessing().target(), network.loss);
        Ok(Self {
            engine: make_engine(&network, &settings, rows)?,
            batches: Batches::new(problem, &network, &settings, evaluator.reading(), training),
            evaluator,
            metrics: Evaluation::metrics_of_an_epoch(problem.target_kind()).to_vec(),
            problem: Arc::clone(problem),
            learning_rate: settings.learning_rate_plan(),
            plateau: settings.learning_rate_plan().watch(),
            settings,
            network,
            seed,
            stopping,
            epoch: 0,
            steps: 0,
            seconds: 0.0,
            diverged: None,
        })
    }

    /// The same run with more metrics in its reports than the cheap ones (for classes accuracy, balanced accuracy and
    /// F1; for numbers RMSE, MAE and R²). Those that are not for this kind of target are left out.
    #[must_use]
    pub fn measuring(mut self, metrics: &[Metric]) -> Self {
        let kind = self.problem.target_kind();
        let fitting: Vec<Metric> = metrics.iter().copied().filter(|metric| metric.applies_to(kind)).collect();
        self.metrics = joined(&self.metrics, &fitting);
        self
    }

    /// The same run, for as many epochs as `max_steps` updates take: a course of the learning rate ends with them.
    #[must_use]
    pub(crate) fn lasting_its_steps(mut self) -> Self {
        if let Some(most) = self.settings.max_steps {
            self.settings.epochs = most.div_ceil(self.batches.count() as u64) as usize;
        }
        self
    }

    /// Continues the run that was saved in `directory`: same data, settings and seed, or the checkpoint is refused.
    /// Only the budgets (`epochs`, `max_steps`, `max_seconds`) may differ.
    pub fn resume(
        problem: &Arc<Problem>,
        settings: Settings,
        seed: [u8; 32],
        directory: &Path,
    ) -> Result<Self, ResumeError> {
        let network = problem.network(&settings);
        Self::resume_network(problem, network, settings, seed, directory)
    }

    /// Continues a run of [`Trainer::with_network`] as [`Trainer::resume`] does; the network must be the same.
    pub fn resume_network(
        problem: &Arc<Problem>,
        network: Network,
        settings: Settings,
        seed: [u8; 32],
        directory: &Path,
    ) -> Result<Self, ResumeError> {
        let checkpoint = Checkpoint::read(directory)?;
        check_data(&checkpoint, problem, directory)?;
        let saved = &checkpoint.settings;
        let expected = Settings {
            epochs: saved.epochs,
            max_steps: saved.max_steps,
            max_seconds: saved.max_seconds,
            ..settings.resolved()
        };
        let problem_is = |same: bool, what: &str| -> Result<(), StoreError> {
            let problem = format!("it was saved by a run with {what}");
            if same {
                Ok(())
            } else {
                Err(StoreError::Mismatch { path: Checkpoint::file(directory), problem })
            }
        };
        problem_is(*saved == expected, "other settings")?;
        problem_is(checkpoint.seed == hexadecimal(&seed), "other seed")?;
        problem_is(checkpoint.network.as_ref().is_none_or(|saved| *saved == network), "another network")?;
        let mut trainer = Self::from_checkpoint(problem, network, settings, seed, directory, &checkpoint)?;
        if let (Some(stopping), Some(state)) = (&mut trainer.stopping, checkpoint.stopping) {
            stopping.state = state;
            stopping.best_weights = checkpoint.best_weights(directory)?;
        }
        trainer.plateau = checkpoint.plateau.or(trainer.plateau);
        trainer.seconds = checkpoint.seconds;
        Ok(trainer)
    }

    /// Starts a new run from the weights, optimiser state and epoch of another run's checkpoint, with settings and
    /// a seed of its own. The shape of the network and the optimiser must be the same; learning rate, momentum,
    /// dropout, penalties, batch size and the like may differ. Early stopping begins afresh, with rows of its own.
    pub fn branch(
        problem: &Arc<Problem>,
        settings: Settings,
        seed: [u8; 32],
        directory: &Path,
    ) -> Result<Self, ResumeError> {
        let network = problem.network(&settings);
        Self::branch_network(problem, network, settings, seed, directory)
    }

    /// The same for a network that was made otherwise.
    pub fn branch_network(
        problem: &Arc<Problem>,
        network: Network,
        settings: Settings,
        seed: [u8; 32],
        directory: &Path,
    ) -> Result<Self, ResumeError> {
        let checkpoint = Checkpoint::read(directory)?;
        check_data(&checkpoint, problem, directory)?;
        Self::from_checkpoint(problem, network, settings, seed, directory, &checkpoint)
    }

    fn from_checkpoint(
        problem: &Arc<Problem>,
        network: Network,
        settings: Settings,
        seed: [u8; 32],
        directory: &Path,
        checkpoint: &Checkpoint,
    ) -> Result<Self, ResumeError> {
        let mut trainer = Self::with_network(problem, network, settings, seed)?;
        checkpoint.restore(directory, trainer.engine.as_mut())?;
        trainer.epoch = checkpoint.epoch;
        trainer.steps = checkpoint.steps;
        Ok(trainer)
    }

    /// Trains for one epoch and measures the validation part. After a divergence the error stays.
    ///
    /// Nothing stops a run from going beyond its end; ask [`Trainer::is_done`].
    pub fn epoch(&mut self) -> Result<EpochReport, TrainError> {
        if let Some(error) = &self.diverged {
            return Err(error.clone());
        }
        let report = self.train_and_measure(self.epoch + 1);
        if let Err(error) = &report {
            self.diverged = Some(error.clone());
        }
        report
    }

    /// Epochs done.
    pub fn epochs_done(&self) -> usize {
        self.epoch
    }

    /// Updates of the weights so far.
    pub fn steps_done(&self) -> u64 {
        self.steps
    }

    /// Seconds of training so far, those before a checkpoint that it was resumed from too.
    pub fn seconds_done(&self) -> f64 {
        self.seconds
    }

    /// Whether the run is over: its epochs, steps or seconds are spent, or early stopping says so.
    pub fn is_done(&self) -> bool {
        self.epoch >= self.settings.epochs
            || self.settings.max_steps.is_some_and(|most| self.steps >= most)
            || self.settings.max_seconds.is_some_and(|most| self.seconds >= most)
            || self.stopping.as_ref().is_some_and(Stopping::is_exhausted)
    }

    /// The epoch whose weights early stopping holds for the best; `None` without early stopping, or before the first.
    pub fn best_epoch(&self) -> Option<usize> {
        self.stopping.as_ref().map(|stopping| stopping.state.best_epoch).filter(|epoch| *epoch > 0)
    }

    /// Rows of the training part that early stopping watches instead of training on them; 0 without.
    pub fn watched_rows(&self) -> usize {
        self.stopping.as_ref().map_or(0, Stopping::taken_rows)
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Measures the validation part: with the weights as they are now, or with the best ones if the run is done and
    /// had early stopping.
    pub fn evaluate_validation(&mut self) -> Evaluation {
        let Some(best) = self.returning() else { return self.measure_validation() };
        let now = self.engine.weights();
        put(self.engine.as_mut(), &best);
        let evaluation = self.measure_validation();
        put(self.engine.as_mut(), &now);
        evaluation
    }

    /// What the network says about the validation part, with the weights that [`Trainer::evaluate_validation`] measures.
    pub(crate) fn answers_validation(&mut self) -> Answers {
        let now = self.returning().map(|best| {
            let now = self.engine.weights();
            put(self.engine.as_mut(), &best);
            now
        });
        let part = self.problem.validation();
        let answers = self.evaluator.answers(self.engine.as_mut(), part.inputs(), part.len());
        if let Some(now) = now {
            put(self.engine.as_mut(), &now);
        }
        answers
    }

    /// Saves the state after the last epoch in `directory`, in place of what was saved there before. A kill at any
    /// moment leaves the old checkpoint or the new one.
    pub fn save(&self, directory: &Path) -> Result<(), StoreError> {
        if self.diverged.is_some() {
            return Err(StoreError::Diverged);
        }
        let progress = Progress {
            epoch: self.epoch,
            seconds: self.seconds,
            seed: &self.seed,
            settings: &self.settings,
            network: &self.network,
            problem: self.problem.fingerprint(),
            plateau: self.plateau,
            stopping: self.stopping.as_ref().map(|stopping| stopping.state),
            best_weights: self.stopping.as_ref().map_or(&[], |stopping| &stopping.best_weights),
        };
        Checkpoint::save(directory, self.engine.as_ref(), &progress)
    }

    /// The network to predict with: as it is now, or with its best weights if the run is done and had early stopping.
    pub fn model(&self) -> Model {
        let (weights, epochs) = match (self.returning(), self.best_epoch()) {
            (Some(best), Some(epoch)) => (best, epoch),
            _ => (self.engine.weights(), self.epoch),
        };
        Model::new(&self.problem, &self.settings, &self.network, &weights, epochs)
    }

    /// Saves [`Trainer::model`] in `directory`.
    pub fn export_model(&self, directory: &Path) -> Result<(), StoreError> {
        if self.diverged.is_some() {
            return Err(StoreError::Diverged);
        }
        self.model().save(directory)
    }

    fn train_and_measure(&mut self, epoch: usize) -> Result<EpochReport, TrainError> {
        let started = Instant::now();
        let passed = self.pass(epoch)?;
        let watched = self.watch(epoch)?;
        self.conclude(epoch, passed, watched, started.elapsed().as_secs_f64())
    }

    /// After the pass over the training rows (mean loss, last learning rate) and the measurement of the watched ones.
    fn conclude(
        &mut self,
        epoch: usize,
        (train_loss, learning_rate): (f64, f64),
        watched: Option<(Option<f64>, f64)>,
        seconds: f64,
    ) -> Result<EpochReport, TrainError> {
        let (watched, watched_loss) = watched.unzip();
        self.seconds += seconds;
        self.epoch = epoch;
        let validation = self.evaluate_validation();
        self.must_be_finite(validation.loss, epoch, "validation loss")?;
        if let Some(plateau) = &mut self.plateau {
            plateau.observe(watched_loss.unwrap_or(validation.loss));
        }
        Ok(EpochReport {
            epoch,
            steps: self.steps,
            train_loss,
            validation,
            watched: watched.flatten(),
            restored: if self.is_done() { self.best_epoch() } else { None },
            learning_rate,
            seconds,
        })
    }

    /// One pass over the training rows; returns the mean loss and the last learning rate.
    fn pass(&mut self, epoch: usize) -> Result<(f64, f64), TrainError> {
        let mut dropout = Stream::new(&self.seed, Purpose::Dropout, epoch as u64);
        self.batches.begin(&self.seed, epoch);
        let steps = self.batches.count();
        let (mut sum, mut weight, mut learning_rate) = (0.0, 0.0, 0.0);
        for step in 0..steps {
            let passed = (epoch - 1) as f64 + step as f64 / steps as f64;
            learning_rate = self.learning_rate_after(passed);
            let batch = self.batches.gather(self.problem.train(), step);
            weight += total_weight(batch.rows, batch.weights);
            let loss = self.engine.train(batch, learning_rate, &mut dropout);
            self.steps += 1;
            self.must_be_finite(loss, epoch, "training loss")?;
            sum += loss;
        }
        Ok((sum / weight * self.evaluator.reading().unit(), learning_rate))
    }

    /// Measures the rows that early stopping watches: what it watches, and their loss.
    fn watch(&mut self, epoch: usize) -> Result<Option<(Option<f64>, f64)>, TrainError> {
        let Some(stopping) = &mut self.stopping else { return Ok(None) };
        let selection = stopping.selection(&self.problem);
        let evaluation = self.evaluator.evaluate(self.engine.as_mut(), selection, &stopping.metrics());
        if evaluation.loss.is_finite() {
            stopping.observe(epoch, &evaluation, self.engine.as_ref());
        }
        let watched = stopping.watched(&evaluation);
        self.must_be_finite(evaluation.loss, epoch, "loss that early stopping watches")?;
        Ok(Some((watched, evaluation.loss)))
    }

    /// η after `passed` epochs.
    fn learning_rate_after(&self, passed: f64) -> f64 {
        let planned = self.learning_rate.factor(passed, self.settings.epochs as f64);
        let reduced = self.plateau.as_ref().map_or(1.0, Plateau::factor);
        self.settings.initial_learning_rate() * planned * reduced
    }

    fn must_be_finite(&self, value: f64, epoch: usize, loss: &'static str) -> Result<(), TrainError> {
        if value.is_finite() { Ok(()) } else { Err(TrainError::Diverged { step: self.steps, epoch, loss }) }
    }

    fn measure_validation(&mut self) -> Evaluation {
        self.evaluator.evaluate(self.engine.as_mut(), self.problem.validation().into(), &self.metrics)
    }

    /// The weights of the best epoch, if the run is over and they are not the present ones. The engine keeps those of
    /// the last epoch, so that a run whose epochs are raised later continues as if it had never ended.
    fn returning(&self) -> Option<Vec<Tensor>> {
        let stopping = self.stopping.as_ref()?;
        let elsewhere = stopping.state.best_epoch != self.epoch && !stopping.best_weights.is_empty();
        (elsewhere && self.is_done()).then(|| stopping.best_weights.clone())
    }
}

fn check_data(checkpoint: &Checkpoint, problem: &Problem, directory: &Path) -> Result<(), StoreError> {
    if checkpoint.problem == problem.fingerprint() {
        return Ok(());
    }
    let problem = "it was saved by a run on other data, or on another split of them".to_owned();
    Err(StoreError::Mismatch { path: Checkpoint::file(directory), problem })
}

fn put(engine: &mut dyn Engine, weights: &[Tensor]) {
    engine
        .load_weights(weights)
        .unwrap_or_else(|error| unreachable!("weights that this engine gave, of finite loss: {error}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trainers_move_between_threads_and_problems_are_shared() {
        fn moves<T: Send>() {}
        fn is_shared<T: Send + Sync>() {}
        moves::<Trainer>();
        is_shared::<Problem>();
    }
}
