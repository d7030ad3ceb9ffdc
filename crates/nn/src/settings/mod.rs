//! The hyperparameters of one training run: defaults, ranges, and how a tuned value is laid over them by name. No
//! data and no network here; [`crate::architecture`] makes a network of them.

mod fields;
mod per_layer;
mod value;

use serde::{Deserialize, Serialize};

pub use per_layer::PerLayer;
pub use value::{ParamValue, SettingsError};

use crate::activation::Activation;
use crate::initializer::InitializerKind;
use crate::loss::{Loss, LossKind};
use crate::naming::named_choices;
use crate::network::{Cell, Padding, Pooling};
use crate::optimizer::{Optimizer, OptimizerKind};
use crate::schedule::{LearningRate, PlateauSettings, Schedule};
use fields::field_named;

named_choices! {
    /// How the hidden part of a network is built.
    Architecture {
        /// Dense layers only; inputs of higher rank are flattened (tokens embedded first).
        Dense = "dense",
        /// Convolutions and pooling, then dense layers. For images and sequences.
        Convolutional = "convolutional",
        /// Recurrent layers, then dense layers. For sequences; an image is read row by row.
        Recurrent = "recurrent",
    }
}

named_choices! {
    /// What normalises the sums of a layer, before its activation.
    Normalization {
        /// Nothing.
        None = "none",
        /// Batch normalisation (Ioffe and Szegedy 2015).
        Batch = "batch",
        /// Layer normalisation (Ba, Kiros and Hinton 2016).
        Layer = "layer",
    }
}

named_choices! {
    /// How image or sequence positions become one row of features before the dense layers.
    Gathering {
        /// All positions side by side.
        Flatten = "flatten",
        /// The mean over positions.
        Average = "average",
        /// The largest over positions.
        Max = "max",
    }
}

named_choices! {
    /// How much each class counts in the loss.
    ClassWeights {
        /// Every row counts the same.
        Equal = "equal",
        /// Rows of a class count rows / (classes · rows of the class): rare classes as much as frequent ones.
        Balanced = "balanced",
    }
}

/// Everything about a run that can be tuned. In a settings file each field may be left out. Settings that do not
/// concern the network at hand (filters of a dense network) are ignored.
///
/// ```
/// use luthier_nn::Settings;
///
/// let settings = Settings::default()
///     .with_param("layers", 2i64)?
///     .with_param("units[1]", 128i64)?
///     .with_param("lr", 0.003)?
///     .with_param("activation", "tanh")?;
/// assert_eq!(settings.units.at(1), 128);
/// assert_eq!(settings.units.at(2), 64);
/// # Ok::<(), luthier_nn::SettingsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches, each tuned by its own name")]
pub struct Settings {
    /// Dense, convolutional or recurrent. Default: by the data (tables dense, images convolutional, sequences and
    /// tokens recurrent).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// Hidden dense layers, 0 … 64. Default: as many as `units` lists, or 1. With 0 a dense network is linear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Width of each hidden dense layer, 1 … 65,536; default 64. Values for layers beyond `layers` are ignored, here
    /// and in the other settings that exist per layer.
    pub units: PerLayer<usize>,
    /// Activation of each hidden dense layer; default relu. Convolutions use the value for all layers.
    pub activation: PerLayer<Activation>,
    /// Fraction of a hidden dense layer's units dropped in training, [0, 1); default 0. The others are scaled up by
    /// 1 / (1 − rate), so that nothing changes in evaluation (inverted dropout).
    pub dropout: PerLayer<f64>,
    /// Normalisation of each hidden dense layer; convolutions use the value for all layers. Default none. The bias
    /// of a layer before batch normalisation is dropped: β takes its place.
    pub normalization: PerLayer<Normalization>,
    /// Share of the old value in batch normalisation's moving mean and variance at each step, [0, 1); default 0.9
    /// (`PyTorch` calls 1 − this momentum; Keras has 0.99).
    pub normalization_momentum: f64,
    /// ε of batch and layer normalisation, above 0; default 1e-5.
    pub normalization_epsilon: f64,
    /// Whether hidden layers (dense, convolutional, all but the last recurrent) are added to their own input (He et
    /// al. 2016); default false.
    pub residual: bool,
    /// Blocks of convolution, normalisation, activation, pooling and dropout, 1 … 16; default 2.
    pub conv_layers: usize,
    /// Filters of each convolution, 1 … 4,096; default 32.
    pub filters: PerLayer<usize>,
    /// Width (and height) of each convolution's kernel, 1 … 31; default 3.
    pub kernel_size: PerLayer<usize>,
    /// Step of each convolution, 1 … 16; default 1.
    pub strides: PerLayer<usize>,
    /// Zeros around the input so that a convolution of step 1 keeps its size (`same`), or none (`valid`). Default
    /// same.
    pub padding: Padding,
    /// Pooling after each convolution; default max. Left out where an input is too small for it.
    pub pooling: PerLayer<Pooling>,
    /// Width (and height), and step, of pooling, 1 … 16; default 2.
    pub pool_size: usize,
    /// Dropout after each convolution's pooling, [0, 1); default 0.
    pub conv_dropout: PerLayer<f64>,
    /// How positions are gathered before the dense layers, after convolutions; default flatten.
    pub gathering: Gathering,
    /// Recurrent layers, 1 … 16; default 1. All but the last hand on every step, the last its final state.
    pub recurrent_layers: usize,
    /// Simple recurrence, LSTM or GRU; default lstm.
    pub cell: Cell,
    /// Width of each recurrent layer's state, 1 … 4,096; default 64.
    pub recurrent_units: PerLayer<usize>,
    /// Whether recurrent layers also read backwards, side by side; default false.
    pub bidirectional: bool,
    /// Dropout after each recurrent layer, [0, 1); default 0.
    pub recurrent_dropout: PerLayer<f64>,
    /// Numbers per token or category, 1 … 4,096. Default: half of how many there are, rounded up, at most 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<usize>,

    /// Initialiser of all kernels. Default: by each layer's activation, see [`InitializerKind::default_for`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_initializer: Option<InitializerKind>,
    /// Value of the `constant` initialiser; limit of `uniform`; standard deviation of `normal` and
    /// `truncated_normal`; gain of `orthogonal`. Default: 0, 0.05, 0.05, 0.05 and 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initializer_scale: Option<f64>,
    /// Value that biases start with; default 0.
    pub initial_bias: f64,

    /// λ₁ of the penalty λ₁ Σ|w| + λ₂ Σw² on kernels, at least 0; default 0. Shared by all layers, or of a hidden
    /// dense layer its own. Biases, γ and β are exempt. Reported losses do not include penalties.
    pub l1: PerLayer<f64>,
    /// λ₂ of the penalty (there is no ½), at least 0; default 0.
    pub l2: PerLayer<f64>,
    /// λ₁ on biases; default 0.
    pub bias_l1: f64,
    /// λ₂ on biases; default 0.
    pub bias_l2: f64,
    /// λ₁ on the outputs of hidden layers, as a mean over rows; default 0.
    pub activity_l1: f64,
    /// λ₂ on the outputs of hidden layers, as a mean over rows; default 0.
    pub activity_l2: f64,
    /// Whether `l1` acts by a proximal step (weights become exactly zero) instead of a subgradient; default false.
    pub l1_proximal: bool,
    /// Decoupled weight decay of kernels, at least 0; default 0, and 0.01 for adamw (Loshchilov and Hutter 2019). Equals
    /// l2 only under plain SGD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Largest L2 norm of the weights into one unit, above 0; default none (Srebro et al. 2005).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_norm: Option<f64>,
    /// Share of a row's target spread evenly over all classes, [0, 1); default 0 (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// How much each class counts in training; default equal.
    pub class_weights: ClassWeights,
    /// What training makes small. Default: by the target (cross-entropy for classes, squared error for numbers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossKind>,
    /// Error at which huber turns from squared to absolute, above 0, in standard deviations of the target; default 1.
    pub huber_delta: f64,
    /// Activation of the output layer itself. Default linear; the loss adds its own link (softmax, sigmoid, exp) behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_activation: Option<Activation>,

    /// Standard deviation of normal noise added to inputs in training, at least 0; default 0.
    pub noise: f64,
    /// Most pixels (or steps) an example is shifted by in training, in each direction, zeros moving in, 0 … 64; default 0.
    pub shift: usize,
    /// Whether every other image is mirrored left to right in training; default false.
    pub flip: bool,
    /// α of mixup: rows of a batch are mixed in pairs with a share drawn from Beta(α, α), at least 0; default 0, which
    /// is off (Zhang et al. 2018).
    pub mixup: f64,

    /// Update rule; default adam.
    pub optimizer: OptimizerKind,
    /// Learning rate η, above 0. Default: by the optimiser, see [`OptimizerKind::default_learning_rate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Momentum μ of momentum, nesterov, sgd and rmsprop, [0, 1). Default 0.9 for momentum and nesterov, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Nesterov's form of sgd's momentum; default false.
    pub nesterov: bool,
    /// ρ of rmsprop, [0, 1); default 0.9.
    pub rho: f64,
    /// β₁ of adam, adamw, nadam and lion, [0, 1); default 0.9.
    pub beta1: f64,
    /// β₂ of adam, adamw, nadam and lion, [0, 1). Default 0.999, and 0.99 for lion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta2: Option<f64>,
    /// ε of the optimisers that divide, above 0; default 1e-8 (the paper's and `PyTorch`'s; Keras has 1e-7).
    pub epsilon: f64,
    /// What adagrad's sums of squares start with, at least 0; default 0.1 (Keras; `PyTorch` has 0).
    pub initial_accumulator: f64,
    /// Gradients whose global L2 norm is larger are scaled down to it, above 0; default none (Pascanu et al. 2013).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Gradients are cut to ± this, above 0; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f64>,
    /// How the learning rate changes; default constant.
    pub schedule: Schedule,
    /// Strength of the step, exponential and inverse-time schedules: the factor on the learning rate per
    /// `decay_epochs`, (0, 1]; for inverse time k in 1 / (1 + k · epochs / `decay_epochs`). Default 0.95.
    pub decay_rate: f64,
    /// Epochs between two falls of the step schedule, and the unit of the others that use `decay_rate`, at least 1;
    /// default 1.
    pub decay_epochs: usize,
    /// Power of the polynomial schedule, above 0; default 1.
    pub power: f64,
    /// Where the cosine and polynomial schedules and reduce on plateau end, as a factor on the learning rate, [0, 1]; default 0.
    pub end_factor: f64,
    /// Epochs of the first period of the cosine schedule with restarts, at least 1; default 10.
    pub restart_epochs: usize,
    /// Factor on the period at each restart, at least 1; default 2.
    pub restart_factor: f64,
    /// Epochs over which the learning rate rises linearly from zero before the schedule begins, at least 0 (fractions
    /// count); default 0.
    pub warmup_epochs: f64,
    /// Epochs without a better validation loss after which reduce on plateau acts, at least 1; default 5.
    pub plateau_patience: usize,
    /// Factor of reduce on plateau, (0, 1); default 0.5.
    pub plateau_factor: f64,

    /// Rows in a step, 1 … 1,048,576; default 32. No more than the training part has are used.
    pub batch_size: usize,
    /// Passes over the training part, 1 … 1,000,000; default 20. With `patience` a maximum.
    pub epochs: usize,
    /// Most optimiser steps; default none. Training ends with the epoch in which they are spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Most seconds of training; default none. Training ends with the epoch in which they are spent: such a run
    /// depends on the speed of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<f64>,
    /// Epochs without a better `monitor` after which training stops early and the best weights return, at least 1;
    /// default none. Watched on rows split off from the training part, never on those that score the trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// How much better counts as better, at least 0; default 0.
    pub min_delta: f64,
    /// What early stopping watches: `loss` or a metric of the task; default loss.
    pub monitor: String,
    /// Fraction of the training part that early stopping watches, (0, 0.5]; default 0.1.
    pub stopping_fraction: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            architecture: None,
            layers: None,
            units: PerLayer::all(64),
            activation: PerLayer::all(Activation::Relu),
            dropout: PerLayer::all(0.0),
            normalization: PerLayer::all(Normalization::None),
            normalization_momentum: 0.9,
            normalization_epsilon: 1e-5,
            residual: false,
            conv_layers: 2,
            filters: PerLayer::all(32),
            kernel_size: PerLayer::all(3),
            strides: PerLayer::all(1),
            padding: Padding::Same,
            pooling: PerLayer::all(Pooling::Max),
            pool_size: 2,
            conv_dropout: PerLayer::all(0.0),
            gathering: Gathering::Flatten,
            recurrent_layers: 1,
            cell: Cell::Lstm,
            recurrent_units: PerLayer::all(64),
            bidirectional: false,
            recurrent_dropout: PerLayer::all(0.0),
            embedding: None,
            kernel_initializer: None,
            initializer_scale: None,
            initial_bias: 0.0,
            l1: PerLayer::all(0.0),
            l2: PerLayer::all(0.0),
            bias_l1: 0.0,
            bias_l2: 0.0,
            activity_l1: 0.0,
            activity_l2: 0.0,
            l1_proximal: false,
            weight_decay: None,
            max_norm: None,
            label_smoothing: 0.0,
            class_weights: ClassWeights::Equal,
            loss: None,
            huber_delta: 1.0,
            output_activation: None,
            noise: 0.0,
            shift: 0,
            flip: false,
            mixup: 0.0,
            optimizer: OptimizerKind::Adam,
            learning_rate: None,
            momentum: None,
            nesterov: false,
            rho: 0.9,
            beta1: 0.9,
            beta2: None,
            epsilon: 1e-8,
            initial_accumulator: 0.1,
            clip_norm: None,
            clip_value: None,
            schedule: Schedule::Constant,
            decay_rate: 0.95,
            decay_epochs: 1,
            power: 1.0,
            end_factor: 0.0,
            restart_epochs: 10,
            restart_factor: 2.0,
            warmup_epochs: 0.0,
            plateau_patience: 5,
            plateau_factor: 0.5,
            batch_size: 32,
            epochs: 20,
            max_steps: None,
            max_seconds: None,
            patience: None,
            min_delta: 0.0,
            monitor: "loss".to_owned(),
            stopping_fraction: 0.1,
        }
    }
}

impl Settings {
    /// The names that [`Settings::set`] knows, those that exist per layer also as `name[k]`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        fields::FIELDS.iter().map(|field| field.name)
    }

    /// The name that a setting is listed under: `learning_rate` for `lr`; `dropout[1]` stays as it is.
    pub fn full_name(name: &str) -> Result<String, SettingsError> {
        let (field, layer) = field_named(name)?;
        Ok(layer.map_or_else(|| field.name.to_owned(), |_| name.to_owned()))
    }

    /// Whether the setting called `name` can change while a network trains, as [`Trainer::branch`](crate::Trainer::branch)
    /// lets it: not those that say what is trained, by which optimiser, on which rows, how far, or how it is measured.
    ///
    /// ```
    /// use luthier_nn::Settings;
    /// assert!(Settings::may_change("learning_rate")? && Settings::may_change("dropout[1]")?);
    /// assert!(!Settings::may_change("units")?);
    /// # Ok::<(), luthier_nn::SettingsError>(())
    /// ```
    pub fn may_change(name: &str) -> Result<bool, SettingsError> {
        field_named(name).map(|(field, _)| !field.is_fixed)
    }

    /// These settings with one of them replaced: [`Settings::set`] for chains.
    pub fn with_param(mut self, name: &str, value: impl Into<ParamValue>) -> Result<Self, SettingsError> {
        self.set(name, value)?;
        Ok(self)
    }

    /// Replaces the setting called `name`; `units[2]` is the second hidden layer's alone, `lr` is `learning_rate`.
    /// On an error nothing has changed.
    pub fn set(&mut self, name: &str, value: impl Into<ParamValue>) -> Result<(), SettingsError> {
        let (field, layer) = field_named(name)?;
        let mut changed = self.clone();
        (field.set)(&mut changed, layer, &value.into())
            .map_err(|problem| SettingsError::Value { name: name.to_owned(), problem })?;
        changed.check().map_err(|error| error.under_name(field.name, name))?;
        *self = changed;
        Ok(())
    }

    /// Whether every setting lies in its range; the error names the first that does not.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_layers()?;
        self.check_regularisation()?;
        self.check_optimizer()?;
        self.check_schedule()?;
        count("batch_size", self.batch_size, 1, 1_048_576)?;
        count("epochs", self.epochs, 1, 1_000_000)?;
        if let Some(steps) = self.max_steps {
            within("max_steps", steps as f64, 1.0, 1e15, "a whole number of at least 1")?;
        }
        optional_positive("max_seconds", self.max_seconds)?;
        if let Some(patience) = self.patience {
            count("patience", patience, 1, 1_000_000)?;
        }
        not_negative("min_delta", self.min_delta)?;
        within("stopping_fraction", self.stopping_fraction, f64::MIN_POSITIVE, 0.5, "above 0 and at most 0.5")
    }

    fn check_layers(&self) -> Result<(), SettingsError> {
        count("layers", self.hidden_layers(), 0, 64)?;
        per_layer_count("units", &self.units, 1, 65_536)?;
        self.dropout.check("dropout", is_rate, RATE)?;
        rate("normalization_momentum", self.normalization_momentum)?;
        positive("normalization_epsilon", self.normalization_epsilon)?;
        count("conv_layers", self.conv_layers, 1, 16)?;
        per_layer_count("filters", &self.filters, 1, 4096)?;
        per_layer_count("kernel_size", &self.kernel_size, 1, 31)?;
        per_layer_count("strides", &self.strides, 1, 16)?;
        count("pool_size", self.pool_size, 1, 16)?;
        self.conv_dropout.check("conv_dropout", is_rate, RATE)?;
        count("recurrent_layers", self.recurrent_layers, 1, 16)?;
        per_layer_count("recurrent_units", &self.recurrent_units, 1, 4096)?;
        self.recurrent_dropout.check("recurrent_dropout", is_rate, RATE)?;
        if let Some(size) = self.embedding {
            count("embedding", size, 1, 4096)?;
        }
        if let Some(scale) = self.initializer_scale {
            finite("initializer_scale", scale)?;
        }
        finite("initial_bias", self.initial_bias)
    }

    fn check_regularisation(&self) -> Result<(), SettingsError> {
        let is_lambda = |value: &f64| (0.0..=f64::from(f32::MAX)).contains(value);
        self.l1.check("l1", is_lambda, "at least 0")?;
        self.l2.check("l2", is_lambda, "at least 0")?;
        for (name, value) in [
            ("bias_l1", self.bias_l1),
            ("bias_l2", self.bias_l2),
            ("activity_l1", self.activity_l1),
            ("activity_l2", self.activity_l2),
            ("weight_decay", self.weight_decay()),
            ("noise", self.noise),
            ("mixup", self.mixup),
        ] {
            not_negative(name, value)?;
        }
        optional_positive("max_norm", self.max_norm)?;
        rate("label_smoothing", self.label_smoothing)?;
        positive("huber_delta", self.huber_delta)?;
        count("shift", self.shift, 0, 64)
    }

    fn check_optimizer(&self) -> Result<(), SettingsError> {
        positive("learning_rate", self.initial_learning_rate())?;
        positive("epsilon", self.epsilon)?;
        for (name, value) in
            [("momentum", self.momentum()), ("rho", self.rho), ("beta1", self.beta1), ("beta2", self.beta2())]
        {
            rate(name, value)?;
        }
        not_negative("initial_accumulator", self.initial_accumulator)?;
        optional_positive("clip_norm", self.clip_norm)?;
        optional_positive("clip_value", self.clip_value)
    }

    fn check_schedule(&self) -> Result<(), SettingsError> {
        within("decay_rate", self.decay_rate, f64::MIN_POSITIVE, 1.0, "above 0 and at most 1")?;
        count("decay_epochs", self.decay_epochs, 1, 1_000_000)?;
        positive("power", self.power)?;
        within("end_factor", self.end_factor, 0.0, 1.0, "from 0 to 1")?;
        count("restart_epochs", self.restart_epochs, 1, 1_000_000)?;
        within("restart_factor", self.restart_factor, 1.0, 1e6, "at least 1")?;
        not_negative("warmup_epochs", self.warmup_epochs)?;
        count("plateau_patience", self.plateau_patience, 1, 1_000_000)?;
        within(
            "plateau_factor",
            self.plateau_factor,
            f64::MIN_POSITIVE,
            1.0f64.next_down(),
            "above 0 and below 1",
        )
    }

    /// The same for a run of `epochs` epochs in which the learning rate falls to [`Settings::end_factor`] by half a cosine. A constant rate
    /// keeps weights moving around a minimum until the last step; a falling one lets them come to rest there (Hägele et al. 2024,
    /// arXiv:2405.18392). `None` where another end is given: a schedule, early stopping, or a budget of steps or seconds.
    #[must_use]
    pub fn cooled(&self, epochs: usize) -> Option<Self> {
        let is_open = self.patience.is_none() && self.max_steps.is_none() && self.max_seconds.is_none();
        (self.schedule == Schedule::Constant && is_open && epochs > 0).then(|| Self {
            schedule: Schedule::Cosine,
            epochs,
            ..self.clone()
        })
    }

    /// Number of hidden dense layers.
    pub fn hidden_layers(&self) -> usize {
        self.layers.unwrap_or_else(|| self.units.listed().max(1))
    }

    /// η before the schedule.
    pub fn initial_learning_rate(&self) -> f64 {
        self.learning_rate.unwrap_or_else(|| self.optimizer.default_learning_rate())
    }

    /// μ.
    pub fn momentum(&self) -> f64 {
        self.momentum.unwrap_or_else(|| self.optimizer.default_momentum())
    }

    /// β₂.
    pub fn beta2(&self) -> f64 {
        self.beta2.unwrap_or_else(|| self.optimizer.default_beta2())
    }

    /// Decoupled weight decay.
    pub fn weight_decay(&self) -> f64 {
        self.weight_decay.unwrap_or_else(|| self.optimizer.default_weight_decay())
    }

    /// The same settings with every default that depends on another setting written out, and nothing for layers
    /// that do not exist: two runs with equal resolved settings are the same run.
    pub fn resolved(&self) -> Self {
        let layers = self.hidden_layers();
        Self {
            layers: Some(layers),
            units: self.units.resolved(layers),
            activation: self.activation.resolved(layers),
            dropout: self.dropout.resolved(layers),
            normalization: self.normalization.resolved(layers),
            l1: self.l1.resolved(layers),
            l2: self.l2.resolved(layers),
            learning_rate: Some(self.initial_learning_rate()),
            momentum: Some(self.momentum()),
            beta2: Some(self.beta2()),
            weight_decay: Some(self.weight_decay()),
            ..self.clone()
        }
    }

    /// The loss with its constants; `usual` is what the data want when none is set.
    pub fn loss(&self, usual: LossKind) -> Loss {
        let label_smoothing = self.label_smoothing;
        match self.loss.unwrap_or(usual) {
            LossKind::CrossEntropy => Loss::CrossEntropy { label_smoothing },
            LossKind::BinaryCrossEntropy => Loss::BinaryCrossEntropy { label_smoothing },
            LossKind::MultiLabel => Loss::MultiLabel { label_smoothing },
            LossKind::SquaredError => Loss::SquaredError,
            LossKind::AbsoluteError => Loss::AbsoluteError,
            LossKind::Huber => Loss::Huber { delta: self.huber_delta },
            LossKind::Poisson => Loss::Poisson,
        }
    }

    /// How the learning rate changes, with its numbers. Reduce on plateau ends at `end_factor`, too.
    pub fn learning_rate_plan(&self) -> LearningRate {
        LearningRate {
            schedule: self.schedule,
            decay_rate: self.decay_rate,
            decay_epochs: self.decay_epochs as f64,
            power: self.power,
            end_factor: self.end_factor,
            restart_epochs: self.restart_epochs as f64,
            restart_factor: self.restart_factor,
            warmup_epochs: self.warmup_epochs,
            plateau: PlateauSettings {
                patience: self.plateau_patience,
                factor: self.plateau_factor,
                min_factor: self.end_factor,
                ..PlateauSettings::default()
            },
            ..LearningRate::default()
        }
    }

    /// The update rule with its constants.
    pub fn update_rule(&self) -> Optimizer {
        let (momentum, beta1, beta2, epsilon) = (self.momentum(), self.beta1, self.beta2(), self.epsilon);
        match self.optimizer {
            OptimizerKind::Sgd | OptimizerKind::Momentum => {
                Optimizer::Sgd { momentum, nesterov: self.nesterov }
            }
            OptimizerKind::Nesterov => Optimizer::Sgd { momentum, nesterov: true },
            OptimizerKind::Rmsprop => Optimizer::Rmsprop { rho: self.rho, momentum, epsilon },
            OptimizerKind::Adagrad => {
                Optimizer::Adagrad { initial_accumulator: self.initial_accumulator, epsilon }
            }
            OptimizerKind::Adam => Optimizer::Adam { beta1, beta2, epsilon },
            OptimizerKind::AdamW => Optimizer::AdamW { beta1, beta2, epsilon },
            OptimizerKind::NAdam => Optimizer::NAdam { beta1, beta2, epsilon },
            OptimizerKind::Lion => Optimizer::Lion { beta1, beta2 },
        }
    }
}

const RATE: &str = "at least 0 and below 1";

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that `PerLayer::check` calls")]
fn is_rate(value: &f64) -> bool {
    (0.0..1.0).contains(value)
}

fn rate(name: &str, value: f64) -> Result<(), SettingsError> {
    within(name, value, 0.0, 1.0f64.next_down(), RATE)
}

fn positive(name: &str, value: f64) -> Result<(), SettingsError> {
    within(name, value, f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX), "above 0")
}

fn optional_positive(name: &str, value: Option<f64>) -> Result<(), SettingsError> {
    value.map_or(Ok(()), |value| positive(name, value))
}

fn not_negative(name: &str, value: f64) -> Result<(), SettingsError> {
    within(name, value, 0.0, f64::from(f32::MAX), "at least 0")
}

fn finite(name: &str, value: f64) -> Result<(), SettingsError> {
    within(name, value, f64::from(f32::MIN), f64::from(f32::MAX), "a finite number")
}

fn count(name: &str, value: usize, least: usize, most: usize) -> Result<(), SettingsError> {
    within(name, value as f64, least as f64, most as f64, &whole_range(least, most))
}

fn per_layer_count(
    name: &str,
    values: &PerLayer<usize>,
    least: usize,
    most: usize,
) -> Result<(), SettingsError> {
    values.check(name, |n| (least..=most).contains(n), &whole_range(least, most))
}

fn whole_range(least: usize, most: usize) -> String {
    format!("a whole number from {least} to {}", with_commas(most))
}

/// 65536 as `65,536`.
fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn within(name: &str, value: f64, low: f64, high: f64, expected: &str) -> Result<(), SettingsError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(SettingsError::Range {
        name: name.to_owned(),
        value: value.to_string(),
        expected: expected.to_owned(),
    })
}
