//! When a parameter is active, and which combinations are allowed: comparisons joined by and/or/not, as data.
//!
//! The written form is a small table, the same in TOML and JSON: `{ param = "optimizer", eq = "sgd" }`,
//! `{ param = "layers", ge = 2 }`, `{ param = "act", in = ["relu", "elu"] }`, `{ all = [ … ] }`, `{ any = [ … ] }`,
//! `{ not = … }`. The right side may be another parameter: `{ param = "low", lt = { param = "high" } }`.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::value::Value;
use super::{Parameter, SpaceError};

/// A comparison's sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less than.
    Lt,
    /// At most.
    Le,
    /// Greater than.
    Gt,
    /// At least.
    Ge,
}

impl Comparison {
    /// Every sign, with the key that writes it.
    pub const ALL: [(&'static str, Self); 6] = [
        ("eq", Self::Eq),
        ("ne", Self::Ne),
        ("lt", Self::Lt),
        ("le", Self::Le),
        ("gt", Self::Gt),
        ("ge", Self::Ge),
    ];

    fn key(self) -> &'static str {
        Self::ALL.iter().find(|(_, sign)| *sign == self).map_or("eq", |(key, _)| key)
    }

    /// Whether `left SIGN right` holds.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Lt => left < right,
            Self::Le => left <= right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
        }
    }

    fn needs_order(self) -> bool {
        !matches!(self, Self::Eq | Self::Ne)
    }
}

/// The right side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A constant.
    Value(Value),
    /// Another parameter, by name.
    Param(Arc<str>),
}

/// A statement about the params of one trial. A comparison that mentions an inactive parameter is false.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// `param SIGN operand`.
    Compare {
        /// The left side.
        param: Arc<str>,
        /// The sign.
        sign: Comparison,
        /// The right side.
        operand: Operand,
    },
    /// The parameter has one of these values.
    In {
        /// The parameter.
        param: Arc<str>,
        /// The values.
        values: Vec<Value>,
    },
    /// All hold.
    All(Vec<Condition>),
    /// At least one holds.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
}

impl Condition {
    /// `param SIGN value`.
    pub fn compare(param: &str, sign: Comparison, value: impl Into<Value>) -> Self {
        Self::Compare { param: param.into(), sign, operand: Operand::Value(value.into()) }
    }

    /// `param = value`.
    pub fn eq(param: &str, value: impl Into<Value>) -> Self {
        Self::compare(param, Comparison::Eq, value)
    }

    /// `param ≥ value`.
    pub fn ge(param: &str, value: impl Into<Value>) -> Self {
        Self::compare(param, Comparison::Ge, value)
    }

    /// `param SIGN other`, both parameters.
    pub fn between(param: &str, sign: Comparison, other: &str) -> Self {
        Self::Compare { param: param.into(), sign, operand: Operand::Param(other.into()) }
    }

    /// `param ∈ values`.
    pub fn is_in<V: Into<Value>>(param: &str, values: impl IntoIterator<Item = V>) -> Self {
        Self::In { param: param.into(), values: values.into_iter().map(Into::into).collect() }
    }

    /// Both hold; flattens.
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::All(mut parts) => {
                parts.push(other);
                Self::All(parts)
            }
            first => Self::All(vec![first, other]),
        }
    }

    /// Every parameter mentioned, in order of mention, possibly more than once.
    pub fn mentions(&self) -> Vec<&str> {
        match self {
            Self::Compare { param, operand: Operand::Param(other), .. } => vec![param, other],
            Self::Compare { param, .. } | Self::In { param, .. } => vec![param],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::mentions).collect(),
            Self::Not(part) => part.mentions(),
        }
    }
}

/// A condition with names and values resolved against a space; evaluation touches numbers only.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    Value {
        param: usize,
        sign: Comparison,
        value: f64,
    },
    /// Both sides as numbers.
    Params {
        left: usize,
        sign: Comparison,
        right: usize,
    },
    /// Both sides as choices: `pairs` lists the equal ones.
    Choices {
        left: usize,
        right: usize,
        equal: bool,
        pairs: Vec<(u32, u32)>,
    },
    In {
        param: usize,
        values: Vec<f64>,
    },
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
}

impl Test {
    /// Whether it holds at a coded point, where NaN marks inactive parameters.
    pub(crate) fn holds(&self, point: &[f64]) -> bool {
        match self {
            Self::Value { param, sign, value } => {
                let left = point[*param];
                !left.is_nan() && sign.holds(left, *value)
            }
            Self::Params { left, sign, right } => {
                let (left, right) = (point[*left], point[*right]);
                !left.is_nan() && !right.is_nan() && sign.holds(left, right)
            }
            Self::Choices { left, right, equal, pairs } => {
                let (left, right) = (point[*left], point[*right]);
                !left.is_nan() && !right.is_nan() && pairs.contains(&(left as u32, right as u32)) == *equal
            }
            Self::In { param, values } => values.contains(&point[*param]),
            Self::All(parts) => parts.iter().all(|part| part.holds(point)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(point)),
            Self::Not(part) => !part.holds(point),
        }
    }

    /// Indices of the parameters mentioned.
    pub(crate) fn params(&self) -> Vec<usize> {
        match self {
            Self::Value { param, .. } | Self::In { param, .. } => vec![*param],
            Self::Params { left, right, .. } | Self::Choices { left, right, .. } => vec![*left, *right],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::params).collect(),
            Self::Not(part) => part.params(),
        }
    }
}

/// Resolves a condition. `owner` says whose condition it is, for messages (a parameter's name or `constraint 2`).
pub(crate) fn compile(
    condition: &Condition,
    owner: &Owner<'_>,
    parameters: &[Parameter],
    find: &dyn Fn(&str) -> Option<usize>,
) -> Result<Test, SpaceError> {
    let resolve = |name: &str| find(name).ok_or_else(|| owner.unknown(name, parameters));
    match condition {
        Condition::Compare { param, sign, operand: Operand::Value(value) } => {
            let index = resolve(param)?;
            let parameter = &parameters[index];
            if sign.needs_order() && parameter.distribution.is_categorical() {
                return Err(owner.wrong(format!("the choices of {param:?} have no order; use eq, ne or in")));
            }
            Ok(Test::Value { param: index, sign: *sign, value: constant(parameter, value, *sign, owner)? })
        }
        Condition::Compare { param, sign, operand: Operand::Param(other) } => {
            let (left, right) = (resolve(param)?, resolve(other)?);
            compare_params(left, *sign, right, parameters, owner)
        }
        Condition::In { param, values } => {
            let index = resolve(param)?;
            if values.is_empty() {
                return Err(owner.wrong(format!("the list of values for {param:?} is empty")));
            }
            let values = values
                .iter()
                .map(|value| constant(&parameters[index], value, Comparison::Eq, owner))
                .collect::<Result<_, _>>()?;
            Ok(Test::In { param: index, values })
        }
        Condition::All(parts) => Ok(Test::All(compile_all(parts, owner, parameters, find)?)),
        Condition::Any(parts) => Ok(Test::Any(compile_all(parts, owner, parameters, find)?)),
        Condition::Not(part) => Ok(Test::Not(Box::new(compile(part, owner, parameters, find)?))),
    }
}

fn compile_all(
    parts: &[Condition],
    owner: &Owner<'_>,
    parameters: &[Parameter],
    find: &dyn Fn(&str) -> Option<usize>,
) -> Result<Vec<Test>, SpaceError> {
    parts.iter().map(|part| compile(part, owner, parameters, find)).collect()
}

fn compare_params(
    left: usize,
    sign: Comparison,
    right: usize,
    parameters: &[Parameter],
    owner: &Owner<'_>,
) -> Result<Test, SpaceError> {
    let (a, b) = (&parameters[left], &parameters[right]);
    match (a.distribution.values(), b.distribution.values()) {
        (None, None) => Ok(Test::Params { left, sign, right }),
        (Some(x), Some(y)) if !sign.needs_order() => {
            let pairs = x
                .iter()
                .enumerate()
                .filter_map(|(i, v)| Some((i as u32, y.iter().position(|w| w.means(v))? as u32)))
                .collect();
            Ok(Test::Choices { left, right, equal: sign == Comparison::Eq, pairs })
        }
        (Some(x), Some(y)) if x == y && !a.distribution.is_categorical() => {
            Ok(Test::Params { left, sign, right })
        }
        _ => {
            Err(owner.wrong(format!("{:?} and {:?} cannot be compared with {}", a.name, b.name, sign.key())))
        }
    }
}

/// Codes the constant of a comparison. An ordered comparison with a number may lie off the range.
fn constant(
    parameter: &Parameter,
    value: &Value,
    sign: Comparison,
    owner: &Owner<'_>,
) -> Result<f64, SpaceError> {
    if parameter.distribution.values().is_none() && sign.needs_order() {
        return value
            .as_f64()
            .ok_or_else(|| owner.wrong(format!("{:?} is a number and {value:?} is not", parameter.name)));
    }
    parameter
        .distribution
        .encode(value)
        .map_err(|problem| owner.wrong(format!("{:?} can never be {value}: {problem}", parameter.name)))
}

/// Whose condition is being checked.
pub(crate) enum Owner<'a> {
    Parameter(&'a str),
    Constraint(usize),
}

impl Owner<'_> {
    fn unknown(&self, name: &str, parameters: &[Parameter]) -> SpaceError {
        let known: Vec<&str> = parameters.iter().take(12).map(|p| &*p.name).collect();
        self.wrong(format!("there is no parameter {name:?}; the parameters are {}", known.join(", ")))
    }

    pub(crate) fn wrong(&self, problem: String) -> SpaceError {
        match self {
            Self::Parameter(name) => SpaceError::Parameter { name: (*name).into(), field: "when", problem },
            Self::Constraint(index) => SpaceError::Constraint { index: *index, problem },
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl Condition {
    fn to_json(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::Compare { param, sign, operand } => {
                let right = match operand {
                    Operand::Value(value) => json!(value),
                    Operand::Param(other) => json!({ "param": &**other }),
                };
                json!({ "param": &**param, sign.key(): right })
            }
            Self::In { param, values } => json!({ "param": &**param, "in": values }),
            Self::All(parts) => json!({ "all": parts }),
            Self::Any(parts) => json!({ "any": parts }),
            Self::Not(part) => json!({ "not": part }),
        }
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = serde_json::Map::<String, serde_json::Value>::deserialize(deserializer)?;
        from_table(&raw).map_err(de::Error::custom)
    }
}

const FORM: &str = "a condition is { param = NAME, eq|ne|lt|le|gt|ge = VALUE }, { param = NAME, in = [VALUES] }, \
                    { all = [..] }, { any = [..] } or { not = .. }";

fn from_table(raw: &serde_json::Map<String, serde_json::Value>) -> Result<Condition, String> {
    let parts = |value: &serde_json::Value| -> Result<Vec<Condition>, String> {
        let list = value.as_array().ok_or_else(|| format!("all and any take a list; {FORM}"))?;
        list.iter().map(from_value).collect()
    };
    let mut entries = raw.iter();
    match (entries.next(), entries.next(), entries.next()) {
        (Some((key, value)), None, None) if key == "all" => Ok(Condition::All(parts(value)?)),
        (Some((key, value)), None, None) if key == "any" => Ok(Condition::Any(parts(value)?)),
        (Some((key, value)), None, None) if key == "not" => Ok(Condition::Not(Box::new(from_value(value)?))),
        (Some(a), Some(b), None) => {
            let (param, (key, right)) = if a.0 == "param" { (a.1, b) } else { (b.1, a) };
            let param: Arc<str> = param.as_str().ok_or_else(|| format!("param takes a name; {FORM}"))?.into();
            if key == "in" {
                let values = serde_json::from_value(right.clone())
                    .map_err(|e| format!("in takes a list of values: {e}"))?;
                return Ok(Condition::In { param, values });
            }
            let sign = Comparison::ALL.iter().find(|(name, _)| name == key);
            let (_, sign) = sign.ok_or_else(|| format!("unknown key {key:?}; {FORM}"))?;
            Ok(Condition::Compare { param, sign: *sign, operand: operand(right)? })
        }
        _ => Err(FORM.to_owned()),
    }
}

fn from_value(value: &serde_json::Value) -> Result<Condition, String> {
    from_table(value.as_object().ok_or_else(|| FORM.to_owned())?)
}

fn operand(right: &serde_json::Value) -> Result<Operand, String> {
    if let Some(table) = right.as_object() {
        let name = table.get("param").and_then(serde_json::Value::as_str).filter(|_| table.len() == 1);
        return name.map(|n| Operand::Param(n.into())).ok_or_else(|| FORM.to_owned());
    }
    serde_json::from_value(right.clone()).map(Operand::Value).map_err(|e| e.to_string())
}
