//! Values of hyperparameters as people write them, and the params of one trial.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// One value of one parameter, as a user writes it: `true`, `3`, `0.1` or `"sgd"`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, within ±2⁵³ (see [`Value::MAX_INT`]).
    Int(i64),
    /// A finite number.
    Float(f64),
    /// Any text.
    Text(Arc<str>),
}

impl Value {
    /// The largest magnitude of an integer value: 2⁵³, up to which every integer is a distinct `f64`.
    pub const MAX_INT: i64 = 1 << 53;

    /// The value as a number: integers and floats are; booleans and text are not.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(i) => Some(*i as f64),
            Self::Float(x) => Some(*x),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// The value as an integer: `3` and `3.0` are, `3.5` is not.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(i) => Some(*i),
            Self::Float(x) if x.fract() == 0.0 && x.abs() <= Self::MAX_INT as f64 => Some(*x as i64),
            Self::Float(_) | Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// The value as text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) => None,
        }
    }

    /// The value as a boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            Self::Int(_) | Self::Float(_) | Self::Text(_) => None,
        }
    }

    /// Whether two values mean the same: like `==`, but `3` and `3.0` are the same number.
    pub fn means(&self, other: &Self) -> bool {
        match (self.as_f64(), other.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => self == other,
        }
    }

    /// The value in a message: text in quotes, the rest as it is.
    pub(crate) fn quoted(&self) -> String {
        match self {
            Self::Text(text) if text.len() > 80 => {
                let head: String = text.chars().take(40).collect();
                format!("{head:?}… ({} bytes)", text.len())
            }
            Self::Text(text) => format!("{text:?}"),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) => self.to_string(),
        }
    }

    /// Reads what a person typed on a command line: `true`, `3`, `1e-3`, else text.
    pub fn parse(text: &str) -> Self {
        if let Ok(flag) = text.parse::<bool>() {
            return Self::Bool(flag);
        }
        if let Ok(i) = text.parse::<i64>() {
            return Self::Int(i);
        }
        match text.parse::<f64>() {
            Ok(x) if x.is_finite() => Self::Float(x),
            _ => Self::Text(text.into()),
        }
    }
}

impl fmt::Display for Value {
    /// As in a command's argument: text bare, numbers in the shortest form that reads back equal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Int(i) => write!(f, "{i}"),
            Self::Float(x) if *x != 0.0 && (x.abs() < 1e-4 || x.abs() >= 1e16) => write!(f, "{x:e}"),
            Self::Float(x) => write!(f, "{x}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}
impl From<i64> for Value {
    fn from(i: i64) -> Self {
        Self::Int(i)
    }
}
impl From<i32> for Value {
    fn from(i: i32) -> Self {
        Self::Int(i.into())
    }
}
impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Self::Float(x)
    }
}
impl From<u32> for Value {
    fn from(u: u32) -> Self {
        Self::Int(u.into())
    }
}
impl From<f32> for Value {
    /// The number that the same digits mean in double precision: `0.1f32` becomes `0.1`.
    fn from(x: f32) -> Self {
        Self::Float(x.to_string().parse().unwrap_or_else(|_| x.into()))
    }
}
impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Int(i) => serializer.serialize_i64(*i),
            Self::Float(x) => serializer.serialize_f64(*x),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl Visitor<'_> for ValueVisitor {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, a finite number or a text")
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
                Ok(Value::Bool(flag))
            }
            fn visit_i64<E: de::Error>(self, i: i64) -> Result<Value, E> {
                Ok(Value::Int(i))
            }
            fn visit_u64<E: de::Error>(self, u: u64) -> Result<Value, E> {
                i64::try_from(u)
                    .map(Value::Int)
                    .map_err(|_| E::custom(format!("{u} is too large an integer")))
            }
            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Value, E> {
                if x.is_finite() { Ok(Value::Float(x)) } else { Err(E::custom(format!("{x} is not finite"))) }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.into()))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// The values of one trial, by name, in the order of the space. Inactive parameters are absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(Vec<(Arc<str>, Value)>);

impl Params {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of parameter `name`, or `None` where it is inactive or unknown.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| &**n == name).map(|(_, value)| value)
    }

    /// Sets `name` to `value`, replacing an earlier value.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some(slot) => slot.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// The same with one more value; for literals: `Params::new().with("lr", 0.1)`.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, name: Arc<str>, value: Value) {
        self.0.push((name, value));
    }
}

impl fmt::Display for Params {
    /// `lr=0.1 optimizer=sgd`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name}={value}", if k == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ParamsVisitor;
        impl<'de> Visitor<'de> for ParamsVisitor {
            type Value = Params;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from parameter names to values")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
                let mut params = Params::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if params.get(&name).is_some() {
                        return Err(de::Error::custom(format!("parameter {name:?} is given twice")));
                    }
                    params.push(name.into(), value);
                }
                Ok(params)
            }
        }
        deserializer.deserialize_map(ParamsVisitor)
    }
}
