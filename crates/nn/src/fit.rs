//! Training in three words, as in Keras: a network is described, compiled and fitted. A thin layer over [`Trainer`],
//! which does all the work.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::data::Problem;
use crate::diagnosis::{Diagnosis, diagnose};
use crate::engines::EngineError;
use crate::loss::LossKind;
use crate::metrics::Metric;
use crate::model::Model;
use crate::network::Network;
use crate::optimizer::OptimizerKind;
use crate::rng::seed_from_u64;
use crate::sequential::Sequential;
use crate::settings::Settings;
use crate::trainer::{EpochReport, ResumeError, TrainError, Trainer};

/// How a network is to be trained.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Compile {
    /// Update rule; default that of `settings`, which is Adam unless said.
    pub optimizer: Option<OptimizerKind>,
    /// Learning rate, above 0; default that of `settings`, which is the optimiser's usual one unless said.
    pub learning_rate: Option<f64>,
    /// What training makes small. Default: by the target, see [`Problem::usual_loss`].
    pub loss: Option<LossKind>,
    /// Metrics to report beside the cheap ones.
    pub metrics: Vec<Metric>,
    /// Everything else about training: schedule, clipping, augmentation, class weights, batch size, epochs, … What
    /// settings say about the network's layers counts for nothing here.
    pub settings: Settings,
}

/// A network with all that is said about its training but the data.
///
/// ```
/// use std::{path::Path, sync::Arc};
/// use luthier_nn::{Activation, Compile, DataSpec, Fit, Metric, Network, OptimizerKind, Problem};
///
/// let problem = Arc::new(Problem::prepare(&DataSpec::new("../../examples/digits/digits.csv"), Path::new("."))?);
/// let model = Network::sequential([problem.inputs()])
///     .dense(64)
///     .activation(Activation::Relu)
///     .dropout(0.1)
///     .dense(10)
///     .compile(Compile {
///         optimizer: Some(OptimizerKind::Adam),
///         learning_rate: Some(0.003),
///         metrics: vec![Metric::RocAuc],
///         ..Compile::default()
///     });
/// let mut history = model.fit(&problem, Fit { epochs: Some(10), patience: Some(3), ..Fit::default() })?;
/// println!("{history}");
/// assert!(history.curve("val_accuracy").last() > Some(&0.9));
/// assert!(history.model().held_out(&problem)?.metric(Metric::Accuracy) > Some(0.9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    body: Body,
    compile: Compile,
}

#[derive(Debug, Clone, PartialEq)]
enum Body {
    Layers(Sequential),
    Network(Network),
}

/// How long, in which portions and from which seed. What is not said is as in [`Compile::settings`].
///
/// There is no validation data here: the [`Problem`] has its validation part, which is measured after every epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fit {
    /// Passes over the training part, at least 1; with `patience` a maximum.
    pub epochs: Option<usize>,
    /// Rows in a step, at least 1.
    pub batch_size: Option<usize>,
    /// Epochs without improvement after which training stops and the best weights return; see [`Settings::patience`].
    pub patience: Option<usize>,
    /// Which initial weights, shuffles and masks; default 0. A trial of a study uses its own seed instead.
    pub seed: u64,
}

impl Sequential {
    /// These layers, to be trained like this.
    pub fn compile(self, compile: Compile) -> Compiled {
        Compiled { body: Body::Layers(self), compile }
    }
}

impl Network {
    /// This network, to be trained like this. [`Compile::loss`] takes the place of its own loss, if it is set.
    pub fn compile(self, compile: Compile) -> Compiled {
        Compiled { body: Body::Network(self), compile }
    }
}

impl From<Sequential> for Compiled {
    fn from(layers: Sequential) -> Self {
        layers.compile(Compile::default())
    }
}

impl From<Network> for Compiled {
    fn from(network: Network) -> Self {
        network.compile(Compile::default())
    }
}

impl Compiled {
    /// Trains on the problem's training part until the epochs are done or early stopping ends it.
    ///
    /// # Errors
    ///
    /// Settings out of range, a network that does not fit the data, or a divergence.
    pub fn fit(&self, problem: &Arc<Problem>, fit: Fit) -> Result<History, TrainError> {
        self.fit_with(problem, fit, |_| ControlFlow::Continue(()))
    }

    /// The same; `after_epoch` sees each report, and may end training early.
    ///
    /// # Errors
    ///
    /// As for [`Compiled::fit`].
    pub fn fit_with(
        &self,
        problem: &Arc<Problem>,
        fit: Fit,
        mut after_epoch: impl FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> Result<History, TrainError> {
        let mut trainer = self.trainer(problem, fit)?;
        let mut reports = Vec::new();
        while !trainer.is_done() {
            let report = trainer.epoch()?;
            let flow = after_epoch(&report);
            reports.push(report);
            if flow.is_break() {
                break;
            }
        }
        let baseline = problem.baseline_loss(trainer.network().loss);
        Ok(History { best_epoch: trainer.best_epoch(), model: trainer.model(), reports, baseline })
    }

    /// The trainer, for who wants to go epoch by epoch.
    ///
    /// # Errors
    ///
    /// Settings out of range, or a network that does not fit the data.
    pub fn trainer(&self, problem: &Arc<Problem>, fit: Fit) -> Result<Trainer, TrainError> {
        let network = self.network(problem)?;
        let trainer = Trainer::with_network(problem, network, self.settings(fit), seed_from_u64(fit.seed))?;
        Ok(trainer.measuring(&self.compile.metrics))
    }

    /// Continues from the checkpoint that the trainer has saved in `directory`.
    ///
    /// # Errors
    ///
    /// As for [`Trainer::resume`].
    pub fn resume(&self, problem: &Arc<Problem>, fit: Fit, directory: &Path) -> Result<Trainer, ResumeError> {
        let (network, settings) = (self.network(problem)?, self.settings(fit));
        let trainer =
            Trainer::resume_network(problem, network, settings, seed_from_u64(fit.seed), directory)?;
        Ok(trainer.measuring(&self.compile.metrics))
    }

    /// The network with its loss, which may depend on the target.
    ///
    /// # Errors
    ///
    /// Layers that do not fit together.
    pub fn network(&self, problem: &Problem) -> Result<Network, TrainError> {
        let settings = self.settings(Fit::default());
        Ok(match &self.body {
            Body::Layers(layers) => {
                let loss = settings.loss(problem.usual_loss());
                layers.clone().build(loss).map_err(EngineError::Shape)?
            }
            Body::Network(network) => {
                let loss = settings.loss.map_or(network.loss, |kind| settings.loss(kind));
                Network { loss, ..network.clone() }
            }
        })
    }

    /// All that is said about training.
    pub fn settings(&self, fit: Fit) -> Settings {
        let Compile { optimizer, learning_rate, loss, settings, .. } = &self.compile;
        Settings {
            optimizer: optimizer.unwrap_or(settings.optimizer),
            learning_rate: learning_rate.or(settings.learning_rate),
            loss: loss.or(settings.loss),
            epochs: fit.epochs.unwrap_or(settings.epochs),
            batch_size: fit.batch_size.unwrap_or(settings.batch_size),
            patience: fit.patience.or(settings.patience),
            ..settings.clone()
        }
    }

    /// The metrics that are asked for.
    pub fn metrics(&self) -> &[Metric] {
        &self.compile.metrics
    }
}

/// What training came to: a report for each epoch, and the finished model.
pub struct History {
    reports: Vec<EpochReport>,
    best_epoch: Option<usize>,
    baseline: f64,
    model: Model,
}

impl History {
    /// A report for each epoch.
    pub fn reports(&self) -> &[EpochReport] {
        &self.reports
    }

    /// The values reported under a name, such as `val_loss`, epoch by epoch; epochs without one are left out.
    pub fn curve(&self, name: &str) -> Vec<f64> {
        let value = |report: &EpochReport| report.values().iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        self.reports.iter().filter_map(value).collect()
    }

    /// The epoch that the model is of if there was early stopping, else the one with the lowest validation loss;
    /// `None` if no epoch was done.
    pub fn best_epoch(&self) -> Option<usize> {
        self.best_epoch.or(self.diagnosis().best_epoch)
    }

    /// What the curves say, in one plain sentence.
    pub fn diagnosis(&self) -> Diagnosis {
        diagnose(&self.curve("train_loss"), &self.curve("val_loss"), Some(self.baseline))
    }

    /// The finished model.
    pub fn model(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The finished model, to keep.
    pub fn into_model(self) -> Model {
        self.model
    }
}

/// How long it trained, where it ended, and the diagnosis.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} epochs", self.reports.len())?;
        if let Some(epoch) = self.best_epoch() {
            write!(f, ", best {epoch}")?;
        }
        for (name, value) in self.reports.last().map(EpochReport::values).unwrap_or_default() {
            write!(f, ", {name} {value:.4}")?;
        }
        write!(f, "\n{}", self.diagnosis())
    }
}
