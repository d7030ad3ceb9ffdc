//! The names that can be tuned, one line each.

use super::Settings;
use super::per_layer::{PerLayer, layer_number};
use super::value::{ParamValue, SettingsError};

/// One row per name that can be set: this table is also the list shown for an unknown name.
pub(super) struct Field {
    pub(super) name: &'static str,
    alias: Option<&'static str>,
    per_layer: bool,
    /// Whether it says what is trained, on what, or how far, and so cannot change on the way.
    pub(super) is_fixed: bool,
    pub(super) set: fn(&mut Settings, Option<usize>, &ParamValue) -> Result<(), String>,
}

impl Field {
    const fn new(
        name: &'static str,
        set: fn(&mut Settings, Option<usize>, &ParamValue) -> Result<(), String>,
    ) -> Self {
        Self { name, alias: None, per_layer: false, is_fixed: false, set }
    }

    const fn per_layer(mut self) -> Self {
        self.per_layer = true;
        self
    }

    const fn fixed(mut self) -> Self {
        self.is_fixed = true;
        self
    }

    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }
}

pub(super) const FIELDS: &[Field] = &[
    Field::new("architecture", |s, _, v| put(&mut s.architecture, choice(v).map(Some))).fixed(),
    Field::new("layers", |s, _, v| put(&mut s.layers, whole(v).map(Some))).fixed(),
    Field::new("units", |s, layer, v| put_layer(&mut s.units, layer, whole(v))).per_layer().fixed(),
    Field::new("activation", |s, layer, v| put_layer(&mut s.activation, layer, choice(v)))
        .per_layer()
        .fixed(),
    Field::new("dropout", |s, layer, v| put_layer(&mut s.dropout, layer, number(v))).per_layer(),
    Field::new("normalization", |s, layer, v| put_layer(&mut s.normalization, layer, choice(v)))
        .per_layer()
        .fixed(),
    Field::new("normalization_momentum", |s, _, v| put(&mut s.normalization_momentum, number(v))),
    Field::new("normalization_epsilon", |s, _, v| put(&mut s.normalization_epsilon, number(v))).fixed(),
    Field::new("residual", |s, _, v| put(&mut s.residual, truth(v))).fixed(),
    Field::new("conv_layers", |s, _, v| put(&mut s.conv_layers, whole(v))).fixed(),
    Field::new("filters", |s, layer, v| put_layer(&mut s.filters, layer, whole(v))).per_layer().fixed(),
    Field::new("kernel_size", |s, layer, v| put_layer(&mut s.kernel_size, layer, whole(v)))
        .per_layer()
        .fixed(),
    Field::new("strides", |s, layer, v| put_layer(&mut s.strides, layer, whole(v))).per_layer().fixed(),
    Field::new("padding", |s, _, v| put(&mut s.padding, choice(v))).fixed(),
    Field::new("pooling", |s, layer, v| put_layer(&mut s.pooling, layer, choice(v))).per_layer().fixed(),
    Field::new("pool_size", |s, _, v| put(&mut s.pool_size, whole(v))).fixed(),
    Field::new("conv_dropout", |s, layer, v| put_layer(&mut s.conv_dropout, layer, number(v))).per_layer(),
    Field::new("gathering", |s, _, v| put(&mut s.gathering, choice(v))).fixed(),
    Field::new("recurrent_layers", |s, _, v| put(&mut s.recurrent_layers, whole(v))).fixed(),
    Field::new("cell", |s, _, v| put(&mut s.cell, choice(v))).fixed(),
    Field::new("recurrent_units", |s, layer, v| put_layer(&mut s.recurrent_units, layer, whole(v)))
        .per_layer()
        .fixed(),
    Field::new("bidirectional", |s, _, v| put(&mut s.bidirectional, truth(v))).fixed(),
    Field::new("recurrent_dropout", |s, layer, v| put_layer(&mut s.recurrent_dropout, layer, number(v)))
        .per_layer(),
    Field::new("embedding", |s, _, v| put(&mut s.embedding, whole(v).map(Some))).fixed(),
    Field::new("kernel_initializer", |s, _, v| put(&mut s.kernel_initializer, choice(v).map(Some))).fixed(),
    Field::new("initializer_scale", |s, _, v| put(&mut s.initializer_scale, number(v).map(Some))).fixed(),
    Field::new("initial_bias", |s, _, v| put(&mut s.initial_bias, number(v))).fixed(),
    Field::new("l1", |s, layer, v| put_layer(&mut s.l1, layer, number(v))).per_layer(),
    Field::new("l2", |s, layer, v| put_layer(&mut s.l2, layer, number(v))).per_layer(),
    Field::new("bias_l1", |s, _, v| put(&mut s.bias_l1, number(v))),
    Field::new("bias_l2", |s, _, v| put(&mut s.bias_l2, number(v))),
    Field::new("activity_l1", |s, _, v| put(&mut s.activity_l1, number(v))),
    Field::new("activity_l2", |s, _, v| put(&mut s.activity_l2, number(v))),
    Field::new("l1_proximal", |s, _, v| put(&mut s.l1_proximal, truth(v))).fixed(),
    Field::new("weight_decay", |s, _, v| put(&mut s.weight_decay, number(v).map(Some))),
    Field::new("max_norm", |s, _, v| put(&mut s.max_norm, number(v).map(Some))),
    Field::new("label_smoothing", |s, _, v| put(&mut s.label_smoothing, number(v))),
    Field::new("class_weights", |s, _, v| put(&mut s.class_weights, choice(v))),
    Field::new("loss", |s, _, v| put(&mut s.loss, choice(v).map(Some))).fixed(),
    Field::new("huber_delta", |s, _, v| put(&mut s.huber_delta, number(v))).fixed(),
    Field::new("output_activation", |s, _, v| put(&mut s.output_activation, choice(v).map(Some))).fixed(),
    Field::new("noise", |s, _, v| put(&mut s.noise, number(v))),
    Field::new("shift", |s, _, v| put(&mut s.shift, whole(v))),
    Field::new("flip", |s, _, v| put(&mut s.flip, truth(v))),
    Field::new("mixup", |s, _, v| put(&mut s.mixup, number(v))),
    Field::new("optimizer", |s, _, v| put(&mut s.optimizer, choice(v))).fixed(),
    Field::new("learning_rate", |s, _, v| put(&mut s.learning_rate, number(v).map(Some))).alias("lr"),
    Field::new("momentum", |s, _, v| put(&mut s.momentum, number(v).map(Some))),
    Field::new("nesterov", |s, _, v| put(&mut s.nesterov, truth(v))),
    Field::new("rho", |s, _, v| put(&mut s.rho, number(v))),
    Field::new("beta1", |s, _, v| put(&mut s.beta1, number(v))),
    Field::new("beta2", |s, _, v| put(&mut s.beta2, number(v).map(Some))),
    Field::new("epsilon", |s, _, v| put(&mut s.epsilon, number(v))),
    Field::new("initial_accumulator", |s, _, v| put(&mut s.initial_accumulator, number(v))).fixed(),
    Field::new("clip_norm", |s, _, v| put(&mut s.clip_norm, number(v).map(Some))),
    Field::new("clip_value", |s, _, v| put(&mut s.clip_value, number(v).map(Some))),
    Field::new("schedule", |s, _, v| put(&mut s.schedule, choice(v))),
    Field::new("decay_rate", |s, _, v| put(&mut s.decay_rate, number(v))),
    Field::new("decay_epochs", |s, _, v| put(&mut s.decay_epochs, whole(v))),
    Field::new("power", |s, _, v| put(&mut s.power, number(v))),
    Field::new("end_factor", |s, _, v| put(&mut s.end_factor, number(v))),
    Field::new("restart_epochs", |s, _, v| put(&mut s.restart_epochs, whole(v))),
    Field::new("restart_factor", |s, _, v| put(&mut s.restart_factor, number(v))),
    Field::new("warmup_epochs", |s, _, v| put(&mut s.warmup_epochs, number(v))),
    Field::new("plateau_patience", |s, _, v| put(&mut s.plateau_patience, whole(v))),
    Field::new("plateau_factor", |s, _, v| put(&mut s.plateau_factor, number(v))),
    Field::new("batch_size", |s, _, v| put(&mut s.batch_size, whole(v))),
    Field::new("epochs", |s, _, v| put(&mut s.epochs, whole(v))).fixed(),
    Field::new("max_steps", |s, _, v| put(&mut s.max_steps, steps(v).map(Some))).fixed(),
    Field::new("max_seconds", |s, _, v| put(&mut s.max_seconds, number(v).map(Some))).fixed(),
    Field::new("patience", |s, _, v| put(&mut s.patience, whole(v).map(Some))).fixed(),
    Field::new("min_delta", |s, _, v| put(&mut s.min_delta, number(v))).fixed(),
    Field::new("monitor", |s, _, v| put(&mut s.monitor, text(v))).fixed(),
    Field::new("stopping_fraction", |s, _, v| put(&mut s.stopping_fraction, number(v))).fixed(),
];

/// Finds the field and the layer of `units[2]`; the layer is `None` for `units`.
pub(super) fn field_named(name: &str) -> Result<(&'static Field, Option<usize>), SettingsError> {
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

fn steps(value: &ParamValue) -> Result<u64, String> {
    whole(value).map(|steps| steps as u64)
}

fn text(value: &ParamValue) -> Result<String, String> {
    match value {
        ParamValue::Text(text) => Ok(text.clone()),
        ParamValue::Bool(_) | ParamValue::Int(_) | ParamValue::Float(_) => {
            Err(format!("expected a name, not {value}"))
        }
    }
}
