//! Networks built by code as the objective of a study: the code asks for each hyperparameter where it needs it, and the
//! space grows as names come up. Training, reports and checkpoints are those of every trial.

use std::path::Path;
use std::sync::Arc;

use luthier::core::event::Failure;
use luthier::core::metric::Metrics;
use luthier::core::space::{Distribution, Parameter, Scale, Value};
use luthier::objective::{Failed, Objective, Running};

use crate::evaluation::joined;
use crate::objective::{Budget, NetworkError, Run, Saved, check_metrics, save_best, wanted};
use crate::{Activation, Cell, Compiled, Fit, OptimizerKind, Pooling, Problem, Schedule, TrainError};

/// Builds a network for each trial. A closure `|hp| network` is one too, see [`HyperObjective::from_fn`].
///
/// ```
/// use luthier_nn::objective::{HyperModel, Hyperparameters, Training};
/// use luthier_nn::{Activation, Compile, Compiled, Fit, Network};
/// use luthier::objective::Failed;
///
/// struct Digits;
///
/// impl HyperModel for Digits {
///     fn build(&self, hp: &mut Hyperparameters<'_, '_>) -> Compiled {
///         let mut network = Network::sequential([64]);
///         for layer in 1..=hp.int("layers", 1, 3).linear() {
///             let units = hp.int(&format!("units[{layer}]"), 16, 256).log();
///             network = network.dense(units).activation(hp.choice("activation", &[Activation::Relu, Activation::Tanh]));
///         }
///         let learning_rate = Some(hp.float("learning_rate", 1e-4, 1e-1).log());
///         network.dense(10).compile(Compile { learning_rate, ..Compile::default() })
///     }
///
///     fn fit(&self, hp: &mut Hyperparameters<'_, '_>, model: &Compiled, training: &Training<'_>) -> Result<(), Failed> {
///         let batch_size = Some(hp.choice("batch_size", &[16, 32, 64]));
///         training.run(hp, model, Fit { epochs: Some(20), batch_size, patience: Some(3), ..Fit::default() })
///     }
/// }
/// ```
pub trait HyperModel: Send + Sync {
    /// The network of a trial.
    fn build(&self, hp: &mut Hyperparameters<'_, '_>) -> Compiled;

    /// Trains it. By default as its [`Compile::settings`](crate::Compile::settings) say; what overrides this calls
    /// [`Training::run`] with a [`Fit`] of its own, or reports through [`Hyperparameters::running`] itself.
    ///
    /// # Errors
    ///
    /// A failure is recorded with the trial.
    fn fit(
        &self,
        hp: &mut Hyperparameters<'_, '_>,
        model: &Compiled,
        training: &Training<'_>,
    ) -> Result<(), Failed> {
        training.run(hp, model, Fit::default())
    }
}

impl<F, B> HyperModel for F
where
    F: Fn(&mut Hyperparameters<'_, '_>) -> B + Send + Sync,
    B: Into<Compiled>,
{
    fn build(&self, hp: &mut Hyperparameters<'_, '_>) -> Compiled {
        self(hp).into()
    }
}

/// A [`HyperModel`] on one data set, to be tuned.
pub struct HyperObjective<M> {
    problem: Arc<Problem>,
    metrics: Metrics,
    model: M,
}

impl<M: HyperModel> HyperObjective<M> {
    /// The objective of a study with these metrics (`spec.metrics`): `val_loss`, `train_loss`, or a metric of the task
    /// with `val_` before its name.
    ///
    /// # Errors
    ///
    /// Names a metric that networks on these data do not report.
    pub fn new(problem: &Arc<Problem>, metrics: &Metrics, model: M) -> Result<Self, NetworkError> {
        check_metrics(metrics, problem)?;
        Ok(Self { problem: Arc::clone(problem), metrics: metrics.clone(), model })
    }

    /// Saves the model of a trial, whose files are under `folder`, into `out`, and measures it on the rows that were
    /// held out. To be called once, at the end, with the best trial.
    ///
    /// # Errors
    ///
    /// A model that cannot be read or written.
    pub fn save_best(&self, trial: u32, folder: &Path, out: &Path) -> Result<Saved, NetworkError> {
        save_best(&self.problem, trial, folder, out)
    }
}

impl<F, B> HyperObjective<F>
where
    F: Fn(&mut Hyperparameters<'_, '_>) -> B + Send + Sync,
    B: Into<Compiled>,
{
    /// The same for a closure, whose argument needs no type then.
    ///
    /// # Errors
    ///
    /// As for [`HyperObjective::new`].
    pub fn from_fn(problem: &Arc<Problem>, metrics: &Metrics, build: F) -> Result<Self, NetworkError> {
        Self::new(problem, metrics, build)
    }
}

impl<M: HyperModel> Objective for HyperObjective<M> {
    fn evaluate(&self, running: &mut Running<'_>) -> Result<(), Failed> {
        let mut hp = Hyperparameters { running, failure: None };
        let model = self.model.build(&mut hp);
        hp.check()?;
        let training = Training { problem: &self.problem, metrics: &self.metrics };
        self.model.fit(&mut hp, &model, &training)?;
        hp.check()
    }
}

/// What a trial is trained on.
pub struct Training<'a> {
    problem: &'a Arc<Problem>,
    metrics: &'a Metrics,
}

impl Training<'_> {
    /// The data.
    pub fn problem(&self) -> &Arc<Problem> {
        self.problem
    }

    /// Trains the trial's network: each epoch is a report, and the trial pauses, resumes and stops as the study says.
    /// The seed is the trial's own.
    ///
    /// # Errors
    ///
    /// Settings out of range, a network that does not fit the data, or a divergence; also a hyperparameter that could
    /// not be drawn.
    pub fn run(&self, hp: &mut Hyperparameters<'_, '_>, model: &Compiled, fit: Fit) -> Result<(), Failed> {
        hp.check()?;
        let failed = |error: TrainError| Failed::from(Failure::error(error));
        let run = Run {
            problem: self.problem,
            network: model.network(self.problem).map_err(failed)?,
            settings: model.settings(fit),
            reported: joined(&wanted(self.metrics, self.problem, &[]), model.metrics()),
            budget: Budget::Epochs { max: None, is_open: false },
        };
        run.train(hp.running, self.metrics)
    }
}

/// Hands out a trial's hyperparameters by name. The first trial that asks for a name makes it part of the space; a trial
/// that does not ask for it does not have it.
///
/// If a value cannot be had (the same name with other choices, say), the trial fails when `build` returns; until then
/// the lowest value or the first choice stands in for it, so that building needs no error handling.
pub struct Hyperparameters<'a, 'b> {
    running: &'a mut Running<'b>,
    failure: Option<Failure>,
}

impl<'a, 'b> Hyperparameters<'a, 'b> {
    /// A whole number from `low` to `high`; the scale follows: `hp.int("units", 16, 256).log()`.
    pub fn int<T: Whole>(&mut self, name: &str, low: T, high: T) -> IntDraw<'_, 'a, 'b, T> {
        IntDraw { hp: self, name: name.to_owned(), low, high }
    }

    /// A number from `low` to `high`; the scale follows: `hp.float("learning_rate", 1e-4, 1e-1).log()`.
    pub fn float(&mut self, name: &str, low: f64, high: f64) -> FloatDraw<'_, 'a, 'b> {
        FloatDraw { hp: self, name: name.to_owned(), low, high }
    }

    /// One of some choices, all different, at least one.
    ///
    /// # Panics
    /// If there are no choices at all.
    pub fn choice<T: Choice>(&mut self, name: &str, choices: &[T]) -> T {
        let values: Vec<Value> = choices.iter().map(Choice::value).collect();
        let drawn = self.draw(name, Distribution::Categorical { choices: values.clone().into() });
        let place = drawn.and_then(|value| values.iter().position(|choice| *choice == value)).unwrap_or(0);
        choices[place].clone()
    }

    /// True or false.
    pub fn bool(&mut self, name: &str) -> bool {
        self.choice(name, &[false, true])
    }

    /// A parameter with everything that the space can say about it: a prior, a default. `None` if it cannot be had.
    pub fn parameter(&mut self, parameter: Parameter) -> Option<Value> {
        match self.running.suggest(parameter) {
            Ok(value) => Some(value),
            Err(failure) => {
                self.failure.get_or_insert(failure);
                None
            }
        }
    }

    /// The trial itself.
    pub fn running(&mut self) -> &mut Running<'b> {
        self.running
    }

    fn draw(&mut self, name: &str, distribution: Distribution) -> Option<Value> {
        self.parameter(Parameter::new(name, distribution))
    }

    fn check(&mut self) -> Result<(), Failed> {
        self.failure.take().map_or(Ok(()), |failure| Err(failure.into()))
    }
}

/// A whole number about to be drawn; its scale is still to be said.
#[must_use = "say the scale: `.linear()`, `.log()` or `.step(n)`"]
pub struct IntDraw<'h, 'a, 'b, T> {
    hp: &'h mut Hyperparameters<'a, 'b>,
    name: String,
    low: T,
    high: T,
}

impl<T: Whole> IntDraw<'_, '_, '_, T> {
    /// Equal differences count equally.
    pub fn linear(self) -> T {
        self.draw(Scale::Linear, 1)
    }

    /// Equal ratios count equally; the range must be positive.
    pub fn log(self) -> T {
        self.draw(Scale::Log, 1)
    }

    /// Only `low`, `low + step`, …
    pub fn step(self, step: i64) -> T {
        self.draw(Scale::Linear, step)
    }

    fn draw(self, scale: Scale, step: i64) -> T {
        let Self { hp, name, low, high } = self;
        let distribution = Distribution::Int { low: low.to_i64(), high: high.to_i64(), scale, step };
        hp.draw(&name, distribution).and_then(|value| value.as_i64()).and_then(T::from_i64).unwrap_or(low)
    }
}

/// A number about to be drawn; its scale is still to be said.
#[must_use = "say the scale: `.linear()`, `.log()`, `.log_of_rest()` or `.step(x)`"]
pub struct FloatDraw<'h, 'a, 'b> {
    hp: &'h mut Hyperparameters<'a, 'b>,
    name: String,
    low: f64,
    high: f64,
}

impl FloatDraw<'_, '_, '_> {
    /// Equal differences count equally.
    pub fn linear(self) -> f64 {
        self.draw(Scale::Linear, None)
    }

    /// Equal ratios count equally; the range must be positive.
    pub fn log(self) -> f64 {
        self.draw(Scale::Log, None)
    }

    /// Equal ratios of 1 − x count equally, as for momentum; the range must lie below 1.
    pub fn log_of_rest(self) -> f64 {
        self.draw(Scale::Log1m, None)
    }

    /// Only `low`, `low + step`, …
    pub fn step(self, step: f64) -> f64 {
        self.draw(Scale::Linear, Some(step))
    }

    fn draw(self, scale: Scale, step: Option<f64>) -> f64 {
        let Self { hp, name, low, high } = self;
        let drawn = hp.draw(&name, Distribution::Float { low, high, scale, step });
        drawn.and_then(|value| value.as_f64()).unwrap_or(low)
    }
}

/// A type of whole numbers that can be drawn.
pub trait Whole: Copy {
    /// From what the space holds; `None` if it does not fit.
    fn from_i64(value: i64) -> Option<Self>;
    /// To what the space holds; what is too large becomes the largest.
    fn to_i64(self) -> i64;
}

macro_rules! whole {
    ($($type:ty),+) => { $(
        impl Whole for $type {
            fn from_i64(value: i64) -> Option<Self> {
                Self::try_from(value).ok()
            }

            fn to_i64(self) -> i64 {
                i64::try_from(self).unwrap_or(i64::MAX)
            }
        }

        impl Choice for $type {
            fn value(&self) -> Value {
                Value::Int(self.to_i64())
            }
        }
    )+ };
}
whole!(usize, u64, u32, i64, i32);

/// Something that can be one of several choices.
pub trait Choice: Clone {
    /// How the study's log writes it.
    fn value(&self) -> Value;
}

impl Choice for bool {
    fn value(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Choice for f64 {
    fn value(&self) -> Value {
        Value::Float(*self)
    }
}

impl Choice for &str {
    fn value(&self) -> Value {
        (*self).into()
    }
}

impl Choice for String {
    fn value(&self) -> Value {
        self.as_str().into()
    }
}

macro_rules! named_choice {
    ($($type:ty),+) => { $(
        impl Choice for $type {
            fn value(&self) -> Value {
                self.name().into()
            }
        }
    )+ };
}
named_choice!(Activation, Cell, OptimizerKind, Pooling, Schedule);
