//! Training: batches, shuffles, epochs, reports, and the guard against divergence. Drives an [`Engine`] and leaves
//! all tensors to it; never looks at held-out rows, and never decides when to stop.

use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::{Checkpoint, hexadecimal};
use crate::data::Problem;
use crate::engine::{Batch, Engine, Targets};
use crate::engines::{self, EngineError};
use crate::evaluation::{Evaluation, Evaluator, ROWS_AT_ONCE};
use crate::limits::{LimitError, Limits};
use crate::model::Model;
use crate::network::Network;
use crate::rng::{Purpose, Stream};
use crate::settings::{Settings, SettingsError};
use crate::store::StoreError;
use crate::summary::Summary;

/// One run: a network being trained on a problem. The same problem, settings and seed give the same reports, bit
/// for bit, on the same machine; whether the run was interrupted does not matter.
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
    engine: Box<dyn Engine>,
    evaluator: Evaluator,
    epoch: usize,
    diverged: Option<TrainError>,
    batch: BatchBuffer,
}

/// What an epoch came to.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochReport {
    /// Epochs done, from 1: the step of the report.
    pub epoch: usize,
    /// Mean loss over the epoch's rows, each taken before the step it contributed to, with dropout active and
    /// without penalties. In the unit of the validation loss.
    pub train_loss: f64,
    /// Validation part, after the epoch.
    pub validation: Evaluation,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
}

impl EpochReport {
    /// The values to report: `train_loss`, `val_loss`, and each metric of the validation part with `val_` in front.
    pub fn values(&self) -> Vec<(&'static str, f64)> {
        let metrics =
            self.validation.metrics.iter().map(|(metric, value)| (metric.validation_name(), *value));
        [("train_loss", self.train_loss), ("val_loss", self.validation.loss)]
            .into_iter()
            .chain(metrics)
            .collect()
    }
}

/// Training that cannot start or go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// A setting is out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No engine can run the network.
    #[error(transparent)]
    Engine(#[from] EngineError),
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
        /// `training loss` or `validation loss`.
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
    /// A run at its beginning, on the engine that suits the network, within the usual [`Limits`].
    pub fn new(problem: &Arc<Problem>, settings: Settings, seed: [u8; 32]) -> Result<Self, TrainError> {
        Self::within(&Limits::default(), problem, settings, seed)
    }

    /// The same within limits of the caller's: a network above them is refused before anything is made for it.
    pub fn within(
        limits: &Limits,
        problem: &Arc<Problem>,
        settings: Settings,
        seed: [u8; 32],
    ) -> Result<Self, TrainError> {
        settings.check()?;
        limits.check(&Self::summary(problem, &settings)?)?;
        Self::unlimited(problem, settings, seed)
    }

    fn unlimited(problem: &Arc<Problem>, settings: Settings, seed: [u8; 32]) -> Result<Self, TrainError> {
        settings.check()?;
        let network = problem.network(&settings);
        let rows = rows_at_once(problem, &settings);
        let engine = engines::for_training(&network, &settings, &seed, rows)?;
        Ok(Self::with_engine(problem, settings, seed, engine))
    }

    /// What the network of these settings has and costs on these data.
    ///
    /// # Errors
    ///
    /// Layers that do not fit together.
    pub fn summary(problem: &Problem, settings: &Settings) -> Result<Summary, EngineError> {
        Ok(problem.network(settings).summary(batch_rows(problem, settings), settings.optimizer)?)
    }

    /// A run at its beginning on an engine that is given. The engine must hold [`Problem::network`] of these
    /// settings with its initial weights and take as many rows as a batch has, and 256.
    pub fn with_engine(
        problem: &Arc<Problem>,
        settings: Settings,
        seed: [u8; 32],
        engine: Box<dyn Engine>,
    ) -> Self {
        let network = problem.network(&settings);
        Self {
            evaluator: Evaluator::new(&network),
            batch: BatchBuffer::new(problem, batch_rows(problem, &settings)),
            problem: Arc::clone(problem),
            settings,
            network,
            seed,
            engine,
            epoch: 0,
            diverged: None,
        }
    }

    /// Continues the run that was saved in `directory`: same data, settings and seed, or the checkpoint is refused.
    /// Only `epochs` may differ.
    pub fn resume(
        problem: &Arc<Problem>,
        settings: Settings,
        seed: [u8; 32],
        directory: &Path,
    ) -> Result<Self, ResumeError> {
        let checkpoint = Checkpoint::read(directory)?;
        let expected = Settings { epochs: checkpoint.settings.epochs, ..settings.resolved() };
        let problem_is = |same: bool, what: &str| -> Result<(), StoreError> {
            let problem = format!("it was saved by a run with other {what}");
            if same {
                Ok(())
            } else {
                Err(StoreError::Mismatch { path: Checkpoint::file(directory), problem })
            }
        };
        problem_is(checkpoint.settings == expected, "settings")?;
        problem_is(checkpoint.seed == hexadecimal(&seed), "seed")?;
        Self::from_checkpoint(problem, settings, seed, directory, &checkpoint)
    }

    /// Starts a new run from the weights, optimiser state and epoch of another run's checkpoint, with settings and
    /// a seed of its own. The shape of the network and the optimiser must be the same; learning rate, momentum,
    /// dropout, penalties, batch size and the like may differ.
    pub fn branch(
        problem: &Arc<Problem>,
        settings: Settings,
        seed: [u8; 32],
        directory: &Path,
    ) -> Result<Self, ResumeError> {
        let checkpoint = Checkpoint::read(directory)?;
        Self::from_checkpoint(problem, settings, seed, directory, &checkpoint)
    }

    fn from_checkpoint(
        problem: &Arc<Problem>,
        settings: Settings,
        seed: [u8; 32],
        directory: &Path,
        checkpoint: &Checkpoint,
    ) -> Result<Self, ResumeError> {
        if checkpoint.problem != problem.fingerprint() {
            let problem = "it was saved by a run on other data, or on another split of them".to_owned();
            return Err(StoreError::Mismatch { path: Checkpoint::file(directory), problem }.into());
        }
        // It was within the limits of the run that saved it.
        let mut trainer = Self::unlimited(problem, settings, seed)?;
        checkpoint.restore(directory, trainer.engine.as_mut())?;
        trainer.epoch = checkpoint.epoch;
        Ok(trainer)
    }

    /// Trains for one epoch and measures the validation part. After a divergence the error stays.
    ///
    /// Nothing stops a run from going beyond [`Settings::epochs`]; ask [`Trainer::is_done`].
    pub fn epoch(&mut self) -> Result<EpochReport, TrainError> {
        if let Some(error) = &self.diverged {
            return Err(error.clone());
        }
        let report = self.train_and_measure(self.epoch + 1);
        match &report {
            Ok(_) => self.epoch += 1,
            Err(error) => self.diverged = Some(error.clone()),
        }
        report
    }

    /// Epochs done.
    pub fn epochs_done(&self) -> usize {
        self.epoch
    }

    /// Whether as many epochs are done as the settings say.
    pub fn is_done(&self) -> bool {
        self.epoch >= self.settings.epochs
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Measures the validation part as the weights are now.
    pub fn evaluate_validation(&mut self) -> Evaluation {
        let encoding = self.problem.preprocessing().target();
        self.evaluator.evaluate(self.engine.as_mut(), self.problem.validation(), encoding)
    }

    /// Saves the state after the last epoch in `directory`, in place of what was saved there before. A kill at any
    /// moment leaves the old checkpoint or the new one.
    pub fn save(&self, directory: &Path) -> Result<(), StoreError> {
        if self.diverged.is_some() {
            return Err(StoreError::Diverged);
        }
        let fingerprint = self.problem.fingerprint();
        Checkpoint::save(directory, self.engine.as_ref(), self.epoch, &self.seed, &self.settings, fingerprint)
    }

    /// The network as it is now, to predict with.
    pub fn model(&self) -> Model {
        Model::new(&self.problem, &self.settings, &self.network, &self.engine.weights(), self.epoch)
    }

    /// Saves [`Trainer::model`] in `directory`.
    pub fn export_model(&self, directory: &Path) -> Result<(), StoreError> {
        if self.diverged.is_some() {
            return Err(StoreError::Diverged);
        }
        self.model().save(directory)
    }

    fn train_and_measure(&mut self, epoch: usize) -> Result<EpochReport, TrainError> {
        let (train_loss, learning_rate) = self.pass(epoch)?;
        let validation = self.evaluate_validation();
        if !validation.loss.is_finite() {
            let step = (epoch * self.steps_per_epoch()) as u64;
            return Err(TrainError::Diverged { step, epoch, loss: "validation loss" });
        }
        Ok(EpochReport { epoch, train_loss, validation, learning_rate })
    }

    /// One pass over the training part; returns the mean loss and the last learning rate.
    fn pass(&mut self, epoch: usize) -> Result<(f64, f64), TrainError> {
        let train = self.problem.train();
        let mut dropout = Stream::new(&self.seed, Purpose::Dropout, epoch as u64);
        self.batch.shuffle(&self.seed, epoch);
        let steps = self.steps_per_epoch();
        let (mut sum, mut learning_rate) = (0.0, 0.0);
        for step in 0..steps {
            let passed = (epoch - 1) as f64 + step as f64 / steps as f64;
            learning_rate = learning_rate_after(&self.settings, passed);
            let batch = self.batch.gather(train.inputs(), train.targets(), step);
            let loss = self.engine.train(batch, learning_rate, &mut dropout);
            if !loss.is_finite() {
                let step = ((epoch - 1) * steps + step + 1) as u64;
                return Err(TrainError::Diverged { step, epoch, loss: "training loss" });
            }
            sum += loss;
        }
        let scale = self.problem.preprocessing().loss_scale();
        Ok((sum / train.len() as f64 * scale, learning_rate))
    }

    fn steps_per_epoch(&self) -> usize {
        self.problem.train().len().div_ceil(self.batch.rows)
    }
}

/// η after `passed` epochs.
fn learning_rate_after(settings: &Settings, passed: f64) -> f64 {
    let factor = settings.schedule.factor(passed, settings.epochs as f64, settings.decay_rate);
    settings.initial_learning_rate() * factor
}

/// Rows of a batch: no more than there are.
fn batch_rows(problem: &Problem, settings: &Settings) -> usize {
    settings.batch_size.min(problem.train().len())
}

/// The most rows an engine is asked to take.
fn rows_at_once(problem: &Problem, settings: &Settings) -> usize {
    batch_rows(problem, settings).max(ROWS_AT_ONCE)
}

/// The order of the training rows in an epoch, and room for one batch of them.
struct BatchBuffer {
    rows: usize,
    width: usize,
    order: Vec<u32>,
    inputs: Vec<f32>,
    classes: Vec<u32>,
    values: Vec<f32>,
}

impl BatchBuffer {
    fn new(problem: &Problem, rows: usize) -> Self {
        let width = problem.inputs();
        Self {
            rows,
            width,
            order: (0..problem.train().len() as u32).collect(),
            inputs: vec![0.0; rows * width],
            classes: Vec::with_capacity(rows),
            values: Vec::with_capacity(rows),
        }
    }

    /// Each epoch shuffles the natural order anew, so that it depends on nothing but seed and epoch.
    fn shuffle(&mut self, seed: &[u8; 32], epoch: usize) {
        for (row, place) in (0..).zip(&mut self.order) {
            *place = row;
        }
        Stream::new(seed, Purpose::Shuffle, epoch as u64).shuffle(&mut self.order);
    }

    /// Copies the rows of one step together. The last batch of an epoch may be smaller.
    fn gather(&mut self, inputs: &[f32], targets: Targets<'_>, step: usize) -> Batch<'_> {
        let first = step * self.rows;
        let chosen = &self.order[first..self.order.len().min(first + self.rows)];
        for (place, &row) in self.inputs.chunks_exact_mut(self.width).zip(chosen) {
            let start = row as usize * self.width;
            place.copy_from_slice(&inputs[start..start + self.width]);
        }
        let targets = match targets {
            Targets::Classes(classes) => {
                self.classes.clear();
                self.classes.extend(chosen.iter().map(|&row| classes[row as usize]));
                Targets::Classes(&self.classes)
            }
            Targets::Values(values) => {
                self.values.clear();
                let width = values.len() / self.order.len();
                let cells =
                    chosen.iter().flat_map(|&row| &values[row as usize * width..(row as usize + 1) * width]);
                self.values.extend(cells);
                Targets::Values(&self.values)
            }
        };
        let rows = chosen.len();
        Batch { rows, inputs: &self.inputs[..rows * self.width], targets, weights: None }
    }
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
