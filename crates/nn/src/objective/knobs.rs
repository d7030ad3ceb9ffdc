//! Settings as knobs: what of a network's settings can be turned while it trains, over which values.

use std::sync::Arc;

use luthier::core::space::{Distribution, Parameter, Scale, Value};

use super::{NetworkError, param_value};
use crate::Settings;

/// Smallest and largest values that are tried, the widest first: the first that a setting takes is the end of its range.
const LOWS: [f64; 3] = [0.0, 1e-9, 1.0];
const HIGHS: [f64; 9] = [1e6, 1e5, 1e4, 1000.0, 100.0, 64.0, 1.0, 0.999_999, 0.5];

/// The setting called `name` (or by its short name, such as `lr`) as a parameter over all values that it can have, whose default
/// is the value it has in `settings`.
///
/// ```
/// use luthier_nn::{Settings, objective::knob};
/// let dropout = knob(&Settings::default(), "dropout")?;
/// assert_eq!(dropout.default, Some(0.0.into()));
/// assert_eq!(&*knob(&Settings::default(), "lr")?.name, "learning_rate");
/// assert!(knob(&Settings::default(), "units").is_err());
/// # Ok::<(), luthier_nn::objective::NetworkError>(())
/// ```
///
/// # Errors
///
/// A name that is no setting, or that of one which cannot change while a network trains.
pub fn knob(settings: &Settings, name: &str) -> Result<Parameter, NetworkError> {
    let name = Settings::full_name(name)?;
    if !Settings::may_change(&name)? {
        let knobs = Settings::names().filter(|name| Settings::may_change(name).unwrap_or(false));
        return Err(NetworkError::NoKnob { name, knobs: knobs.collect::<Vec<_>>().join(", ") });
    }
    let distribution =
        distribution(settings, &name).ok_or_else(|| NetworkError::NoNumber { name: name.clone() })?;
    let default = present(settings, &name).filter(|value| distribution.encode(value).is_ok());
    Ok(Parameter { default, ..Parameter::new(name, distribution) })
}

/// All values that a setting takes; none for one that takes names.
fn distribution(settings: &Settings, name: &str) -> Option<Distribution> {
    let takes = |value: Value| settings.clone().set(name, param_value(&value)).is_ok();
    if takes(true.into()) {
        return Some(Distribution::Categorical { choices: Arc::from([false.into(), true.into()]) });
    }
    let low = LOWS.into_iter().find(|x| takes((*x).into()))?;
    let high = HIGHS.into_iter().find(|x| *x > low && takes((*x).into()))?;
    // A value between two whole numbers that only a setting of real numbers takes.
    if takes((low + (high - low).min(1.0) / 2.0).into()) {
        let scale = if low > 0.0 { Scale::Log } else { Scale::Linear };
        return Some(Distribution::Float { low, high, scale, step: None });
    }
    Some(Distribution::Int { low: low as i64, high: high as i64, scale: Scale::Linear, step: 1 })
}

/// The value that a setting has, if it has one; of one per layer that of the layer, or of the first.
fn present(settings: &Settings, name: &str) -> Option<Value> {
    let all = serde_json::to_value(settings.resolved()).ok()?;
    let (base, layer) = match name.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((base, layer)) => (base, layer.parse::<usize>().ok()?),
        None => (name, 1),
    };
    let value = match all.get(base)? {
        serde_json::Value::Array(layers) => layers.get(layer.checked_sub(1)?)?.clone(),
        serde_json::Value::Object(layers) => layers.get(&layer.to_string()).or(layers.get("all"))?.clone(),
        value => value.clone(),
    };
    serde_json::from_value(value).ok()
}
