//! The hyperparameters of one training run: defaults, ranges, and how a tuned value is laid over them by name. No
//! data and no network here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::initializer::KernelInitializer;
use crate::optimizer::{Optimizer, OptimizerKind};
use crate::schedule::Schedule;

/// Everything about a run that can be tuned. In a settings file each field may be left out.
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
pub struct Settings {
    /// Hidden layers, 0 … 64. Default: as many as `units` lists, or 1. With 0 the network is a linear model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Width of each hidden layer, 1 … 65,536; default 64. Values for layers beyond `layers` are ignored, here and
    /// in the other settings that exist per layer.
    pub units: PerLayer<usize>,
    /// Activation of each hidden layer; default relu. The output layer is linear, followed by softmax for classes.
    pub activation: PerLayer<Activation>,
    /// Fraction of a hidden layer's units dropped in training, [0, 1); default 0. The others are scaled up by
    /// 1 / (1 − rate), so that nothing changes in evaluation (inverted dropout).
    pub dropout: PerLayer<f64>,
    /// λ₁ of the penalty λ₁ Σ|w| + λ₂ Σw² on all kernels, at least 0; default 0. Biases are exempt. Reported losses
    /// do not include the penalty.
    pub l1: f64,
    /// λ₂ of the penalty (there is no ½), at least 0; default 0.
    pub l2: f64,
    /// Update rule; default adam.
    pub optimizer: OptimizerKind,
    /// Learning rate η, above 0. Default: 0.001 for adam, 0.01 for sgd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Momentum μ of sgd, [0, 1); default 0.
    pub momentum: f64,
    /// Nesterov's form of momentum; default false.
    pub nesterov: bool,
    /// β₁ of adam, [0, 1); default 0.9.
    pub beta1: f64,
    /// β₂ of adam, [0, 1); default 0.999.
    pub beta2: f64,
    /// ε of adam, above 0; default 1e-8 (the paper's and `PyTorch`'s; Keras has 1e-7).
    pub epsilon: f64,
    /// Rows in a step, 1 … 1,048,576; default 32. No more than the training part has are used.
    pub batch_size: usize,
    /// Passes over the training part, 1 … 1,000,000; default 20.
    pub epochs: usize,
    /// Initialiser of all kernels. Default: by each layer's activation, see [`KernelInitializer::default_for`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_initializer: Option<KernelInitializer>,
    /// How the learning rate changes; default constant.
    pub schedule: Schedule,
    /// Factor on the learning rate in each epoch of the exponential schedule, (0, 1]; default 0.95.
    pub decay_rate: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            layers: None,
            units: PerLayer::all(64),
            activation: PerLayer::all(Activation::Relu),
            dropout: PerLayer::all(0.0),
            l1: 0.0,
            l2: 0.0,
            optimizer: OptimizerKind::Adam,
            learning_rate: None,
            momentum: 0.0,
            nesterov: false,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            batch_size: 32,
            epochs: 20,
            kernel_initializer: None,
            schedule: Schedule::Constant,
            decay_rate: 0.95,
        }
    }
}

impl Settings {
    /// The names that [`Settings::set`] knows, those that exist per layer also as `name[k]`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|field| field.name)
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
        within("layers", self.hidden_layers() as f64, 0.0, 64.0, "a whole number from 0 to 64")?;
        self.units.check("units", |&n| (1..=65_536).contains(&n), "a whole number from 1 to 65,536")?;
        self.dropout.check("dropout", |rate| (0.0..1.0).contains(rate), "at least 0 and below 1")?;
        for (name, value) in [("l1", self.l1), ("l2", self.l2)] {
            within(name, value, 0.0, f64::from(f32::MAX), "at least 0")?;
        }
        let positive =
            |name, value| within(name, value, f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX), "above 0");
        positive("learning_rate", self.initial_learning_rate())?;
        positive("epsilon", self.epsilon)?;
        for (name, value) in [("momentum", self.momentum), ("beta1", self.beta1), ("beta2", self.beta2)] {
            within(name, value, 0.0, 1.0f64.next_down(), "at least 0 and below 1")?;
        }
        within("batch_size", self.batch_size as f64, 1.0, 1_048_576.0, "a whole number from 1 to 1,048,576")?;
        within("epochs", self.epochs as f64, 1.0, 1e6, "a whole number from 1 to 1,000,000")?;
        within("decay_rate", self.decay_rate, f64::MIN_POSITIVE, 1.0, "above 0 and at most 1")
    }

    /// Number of hidden layers.
    pub fn hidden_layers(&self) -> usize {
        self.layers.unwrap_or_else(|| self.units.listed().max(1))
    }

    /// η before the schedule.
    pub fn initial_learning_rate(&self) -> f64 {
        self.learning_rate.unwrap_or_else(|| self.optimizer.default_learning_rate())
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
            learning_rate: Some(self.initial_learning_rate()),
            ..self.clone()
        }
    }

    /// The update rule with its constants.
    pub fn update_rule(&self) -> Optimizer {
        let momentum = if self.momentum > 0.0 { self.momentum } else { self.optimizer.default_momentum() };
        let (beta1, beta2, epsilon) = (self.beta1, self.beta2, self.epsilon);
        match self.optimizer.rule() {
            Optimizer::Sgd { nesterov, .. } => {
                Optimizer::Sgd { momentum, nesterov: nesterov || self.nesterov }
            }
            Optimizer::Rmsprop { rho, .. } => Optimizer::Rmsprop { rho, momentum, epsilon },
            Optimizer::Adagrad { initial_accumulator, .. } => {
                Optimizer::Adagrad { initial_accumulator, epsilon }
            }
            Optimizer::Adam { .. } => Optimizer::Adam { beta1, beta2, epsilon },
            Optimizer::AdamW { .. } => Optimizer::AdamW { beta1, beta2, epsilon },
            Optimizer::NAdam { .. } => Optimizer::NAdam { beta1, beta2, epsilon },
            Optimizer::Lion { beta2, .. } => Optimizer::Lion { beta1, beta2 },
        }
    }
}

/// A setting that hidden layers share, with exceptions. In a file: one value, or a list (layer by layer; the last
/// value also serves deeper layers), or a table such as `{ all = 64, 1 = 128 }`.
#[derive(Debug, Clone, PartialEq)]
pub struct PerLayer<T> {
    shared: T,
    own: BTreeMap<usize, T>,
    listed: usize,
}

impl<T: Copy> PerLayer<T> {
    /// The same value for every layer.
    pub fn all(value: T) -> Self {
        Self { shared: value, own: BTreeMap::new(), listed: 0 }
    }

    /// One value for each layer; the last also serves deeper layers. `None` if there is none.
    pub fn list(values: &[T]) -> Option<Self> {
        let own = values.iter().enumerate().map(|(index, &value)| (index + 1, value)).collect();
        values.last().map(|&shared| Self { shared, own, listed: values.len() })
    }

    /// The value of hidden layer `layer`, counted from 1.
    pub fn at(&self, layer: usize) -> T {
        self.own.get(&layer).copied().unwrap_or(self.shared)
    }

    /// Replaces the value of one layer (counted from 1), or of all.
    pub fn set(&mut self, layer: Option<usize>, value: T) {
        if let Some(layer) = layer {
            self.own.insert(layer, value);
        } else {
            self.own = (1..=self.listed).map(|layer| (layer, value)).collect();
            self.shared = value;
        }
    }

    fn resolved(&self, layers: usize) -> Self {
        let values: Vec<T> = (1..=layers).map(|layer| self.at(layer)).collect();
        Self::list(&values).unwrap_or_else(|| Self::all(self.shared))
    }

    /// How many layers a list in a file named; 0 if it was not a list.
    fn listed(&self) -> usize {
        self.listed
    }

    fn check(
        &self,
        name: &str,
        valid: impl Fn(&T) -> bool,
        expected: &'static str,
    ) -> Result<(), SettingsError>
    where
        T: std::fmt::Display,
    {
        let own = self.own.iter().map(|(layer, value)| (format!("{name}[{layer}]"), value));
        for (name, value) in std::iter::once((name.to_owned(), &self.shared)).chain(own) {
            if !valid(value) {
                return Err(SettingsError::Range { name, value: value.to_string(), expected });
            }
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PerLayerForm<T> {
    One(T),
    List(Vec<T>),
    Table(BTreeMap<String, T>),
}

impl<T: Copy + PartialEq + Serialize> Serialize for PerLayer<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = if self.own.is_empty() && self.listed == 0 {
            PerLayerForm::One(self.shared)
        } else if self.listed > 0
            && self.own.keys().copied().eq(1..=self.listed)
            && self.at(self.listed) == self.shared
        {
            PerLayerForm::List(self.own.values().copied().collect())
        } else {
            let own = self.own.iter().map(|(layer, &value)| (layer.to_string(), value));
            PerLayerForm::Table(std::iter::once(("all".to_owned(), self.shared)).chain(own).collect())
        };
        form.serialize(serializer)
    }
}

impl<'de, T: Copy + Deserialize<'de>> Deserialize<'de> for PerLayer<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let table = match PerLayerForm::deserialize(deserializer).map_err(|_| {
            D::Error::custom("expected one value, a list, or a table with `all` and layer numbers")
        })? {
            PerLayerForm::One(value) => return Ok(Self::all(value)),
            PerLayerForm::List(values) => {
                return Self::list(&values)
                    .ok_or_else(|| D::Error::custom("expected at least one value in the list"));
            }
            PerLayerForm::Table(table) => table,
        };
        let shared = *table.get("all").ok_or_else(|| D::Error::custom("expected `all` in the table"))?;
        let mut result = Self::all(shared);
        for (key, value) in table.into_iter().filter(|(key, _)| key != "all") {
            let layer = layer_number(&key)
                .ok_or_else(|| D::Error::custom(format!("expected `all` or a layer from 1, not `{key}`")))?;
            result.set(Some(layer), value);
        }
        Ok(result)
    }
}

/// A tuned value, as a search space gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number; whole ones are taken where a whole number is expected.
    Float(f64),
    /// A name.
    Text(String),
}

impl From<bool> for ParamValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for ParamValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for ParamValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for ParamValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for ParamValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl std::fmt::Display for ParamValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => write!(f, "\"{value}\""),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// No setting has this name.
    #[error(
        "`{name}` is not a network setting; the settings are {known} (those of hidden layers also as `units[1]`, `units[2]`, …)"
    )]
    Unknown {
        /// The name given.
        name: String,
        /// All names.
        known: String,
    },
    /// The setting exists, but not per layer.
    #[error("`{name}` cannot be set per layer: write `{field}`")]
    NotPerLayer {
        /// The name given.
        name: String,
        /// The name without its index.
        field: &'static str,
    },
    /// The value is of another type, or not one of the choices.
    #[error("setting `{name}`: {problem}")]
    Value {
        /// The name given.
        name: String,
        /// What was expected and what came.
        problem: String,
    },
    /// The value is out of range.
    #[error("setting `{name}` is {value}, but must be {expected}")]
    Range {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// The range in words.
        expected: &'static str,
    },
}

impl SettingsError {
    /// Shows the name that the user wrote (`lr`) in place of the field's (`learning_rate`).
    fn under_name(mut self, field: &str, written: &str) -> Self {
        if let Self::Range { name, .. } = &mut self
            && name == field
        {
            written.clone_into(name);
        }
        self
    }
}

/// One row per name that can be set: this table is also the list shown for an unknown name.
struct Field {
    name: &'static str,
    alias: Option<&'static str>,
    per_layer: bool,
    set: fn(&mut Settings, Option<usize>, &ParamValue) -> Result<(), String>,
}

impl Field {
    const fn new(
        name: &'static str,
        set: fn(&mut Settings, Option<usize>, &ParamValue) -> Result<(), String>,
    ) -> Self {
        Self { name, alias: None, per_layer: false, set }
    }

    const fn per_layer(mut self) -> Self {
        self.per_layer = true;
        self
    }

    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }
}

const FIELDS: &[Field] = &[
    Field::new("layers", |s, _, v| put(&mut s.layers, whole(v).map(Some))),
    Field::new("units", |s, layer, v| put_layer(&mut s.units, layer, whole(v))).per_layer(),
    Field::new("activation", |s, layer, v| put_layer(&mut s.activation, layer, choice(v))).per_layer(),
    Field::new("dropout", |s, layer, v| put_layer(&mut s.dropout, layer, number(v))).per_layer(),
    Field::new("l1", |s, _, v| put(&mut s.l1, number(v))),
    Field::new("l2", |s, _, v| put(&mut s.l2, number(v))),
    Field::new("optimizer", |s, _, v| put(&mut s.optimizer, choice(v))),
    Field::new("learning_rate", |s, _, v| put(&mut s.learning_rate, number(v).map(Some))).alias("lr"),
    Field::new("momentum", |s, _, v| put(&mut s.momentum, number(v))),
    Field::new("nesterov", |s, _, v| put(&mut s.nesterov, truth(v))),
    Field::new("beta1", |s, _, v| put(&mut s.beta1, number(v))),
    Field::new("beta2", |s, _, v| put(&mut s.beta2, number(v))),
    Field::new("epsilon", |s, _, v| put(&mut s.epsilon, number(v))),
    Field::new("batch_size", |s, _, v| put(&mut s.batch_size, whole(v))),
    Field::new("epochs", |s, _, v| put(&mut s.epochs, whole(v))),
    Field::new("kernel_initializer", |s, _, v| put(&mut s.kernel_initializer, choice(v).map(Some))),
    Field::new("schedule", |s, _, v| put(&mut s.schedule, choice(v))),
    Field::new("decay_rate", |s, _, v| put(&mut s.decay_rate, number(v))),
];

/// Finds the field and the layer of `units[2]`; the layer is `None` for `units`.
fn field_named(name: &str) -> Result<(&'static Field, Option<usize>), SettingsError> {
    let unknown = || SettingsError::Unknown {
        name: name.to_owned(),
        known: Settings::names().collect::<Vec<_>>().join(", "),
    };
    let (base, layer) = match name.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((base, index)) => (base, Some(layer_number(index).ok_or_else(unknown)?)),
        None => (name, None),
    };
    let field = FIELDS.iter().find(|f| f.name == base || f.alias == Some(base)).ok_or_else(unknown)?;
    if layer.is_some() && !field.per_layer {
        return Err(SettingsError::NotPerLayer { name: name.to_owned(), field: field.name });
    }
    Ok((field, layer))
}

fn layer_number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&layer| layer >= 1)
}

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

fn put_layer<T: Copy>(
    place: &mut PerLayer<T>,
    layer: Option<usize>,
    value: Result<T, String>,
) -> Result<(), String> {
    place.set(layer, value?);
    Ok(())
}

fn whole(value: &ParamValue) -> Result<usize, String> {
    let expected = || format!("expected a whole number of at least 0, not {value}");
    match *value {
        ParamValue::Int(n) => usize::try_from(n).map_err(|_| expected()),
        ParamValue::Float(x) if x.fract() == 0.0 && (0.0..1e15).contains(&x) => Ok(x as usize),
        ParamValue::Float(_) | ParamValue::Bool(_) | ParamValue::Text(_) => Err(expected()),
    }
}

fn number(value: &ParamValue) -> Result<f64, String> {
    match *value {
        ParamValue::Int(n) => Ok(n as f64),
        ParamValue::Float(x) if x.is_finite() => Ok(x),
        ParamValue::Float(_) | ParamValue::Bool(_) | ParamValue::Text(_) => {
            Err(format!("expected a finite number, not {value}"))
        }
    }
}

fn truth(value: &ParamValue) -> Result<bool, String> {
    match value {
        ParamValue::Bool(truth) => Ok(*truth),
        ParamValue::Int(_) | ParamValue::Float(_) | ParamValue::Text(_) => {
            Err(format!("expected true or false, not {value}"))
        }
    }
}

fn choice<T: TryFrom<String, Error = String>>(value: &ParamValue) -> Result<T, String> {
    match value {
        ParamValue::Text(name) => T::try_from(name.clone()),
        ParamValue::Bool(_) | ParamValue::Int(_) | ParamValue::Float(_) => {
            Err(format!("expected a name, not {value}"))
        }
    }
}

fn within(name: &str, value: f64, low: f64, high: f64, expected: &'static str) -> Result<(), SettingsError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(SettingsError::Range { name: name.to_owned(), value: value.to_string(), expected })
}
