//! When a parameter is active, and which combinations are allowed: comparisons joined by and/or/not, as data.
//!
//! The written form is a small table, the same in TOML and JSON: `{ param = "optimizer", eq = "sgd" }`,
//! `{ param = "layers", ge = 2 }`, `{ param = "act", in = ["relu", "elu"] }`, `{ all = [ … ] }`, `{ any = [ … ] }`,
//! `{ not = … }`. The right side may be another parameter: `{ param = "low", lt = { param = "high" } }`.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, IntoDeserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
///
/// ```
/// use luthier_core::space::Condition;
/// let written: Condition = serde_json::from_str(
///     r#"{ "all": [{ "param": "optimizer", "eq": "sgd" }, { "param": "layers", "ge": 2 }] }"#)?;
/// assert_eq!(written, Condition::All(vec![Condition::eq("optimizer", "sgd"), Condition::ge("layers", 2)]));
/// # Ok::<(), serde_json::Error>(())
/// ```
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

/// How deep conditions nest at most: what JSON and TOML readers accept with room to spare, and no stack overflows.
pub(crate) const MAX_DEPTH: usize = 32;

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

    /// The same condition about other parameters: every name is replaced by `rename(name)`.
    pub(crate) fn renamed(&self, rename: &dyn Fn(&str) -> Arc<str>) -> Self {
        match self {
            Self::Compare { param, sign, operand } => Self::Compare {
                param: rename(param),
                sign: *sign,
                operand: match operand {
                    Operand::Value(value) => Operand::Value(value.clone()),
                    Operand::Param(other) => Operand::Param(rename(other)),
                },
            },
            Self::In { param, values } => Self::In { param: rename(param), values: values.clone() },
            Self::All(parts) => Self::All(parts.iter().map(|part| part.renamed(rename)).collect()),
            Self::Any(parts) => Self::Any(parts.iter().map(|part| part.renamed(rename)).collect()),
            Self::Not(part) => Self::Not(Box::new(part.renamed(rename))),
        }
    }

    /// Whether it is nested deeper than [`MAX_DEPTH`]; looks no deeper than that.
    fn is_too_deep(&self, allowed: usize) -> bool {
        match self {
            Self::Compare { .. } | Self::In { .. } => allowed == 0,
            Self::All(parts) | Self::Any(parts) => {
                allowed == 0 || parts.iter().any(|part| part.is_too_deep(allowed - 1))
            }
            Self::Not(part) => allowed == 0 || part.is_too_deep(allowed - 1),
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
    /// Both sides as choices: `same[i]` is the right side's choice that means the left side's choice `i`.
    Choices {
        left: usize,
        right: usize,
        equal: bool,
        same: Vec<Option<u32>>,
    },
    /// `values` ascend.
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
            Self::Choices { left, right, equal, same } => {
                let (left, right) = (point[*left], point[*right]);
                !left.is_nan() && !right.is_nan() && (same[left as usize] == Some(right as u32)) == *equal
            }
            Self::In { param, values } => {
                let value = point[*param];
                !value.is_nan() && values.binary_search_by(|probe| probe.total_cmp(&value)).is_ok()
            }
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

/// What names and values of a condition are resolved against.
pub(crate) struct Scope<'a> {
    pub(crate) parameters: &'a [Parameter],
    pub(crate) find: &'a dyn Fn(&str) -> Option<usize>,
    pub(crate) encode: &'a dyn Fn(usize, &Value) -> Result<f64, String>,
}

/// Resolves a condition. `owner` says whose condition it is, for messages.
pub(crate) fn compile(
    condition: &Condition,
    owner: &Owner<'_>,
    scope: &Scope<'_>,
) -> Result<Test, SpaceError> {
    if condition.is_too_deep(MAX_DEPTH) {
        return Err(owner.wrong(format!("conditions nest at most {MAX_DEPTH} deep; flatten this one")));
    }
    compile_part(condition, owner, scope)
}

fn compile_part(condition: &Condition, owner: &Owner<'_>, scope: &Scope<'_>) -> Result<Test, SpaceError> {
    match condition {
        Condition::Compare { param, sign, operand: Operand::Value(value) } => {
            let index = scope.resolve(param, owner)?;
            if sign.needs_order() && scope.parameters[index].distribution.is_categorical() {
                return Err(owner.wrong(format!("the choices of {param:?} have no order; use eq, ne or in")));
            }
            Ok(Test::Value { param: index, sign: *sign, value: scope.constant(index, value, *sign, owner)? })
        }
        Condition::Compare { param, sign, operand: Operand::Param(other) } => {
            let (left, right) = (scope.resolve(param, owner)?, scope.resolve(other, owner)?);
            compare_params(left, *sign, right, owner, scope)
        }
        Condition::In { param, values } => {
            let index = scope.resolve(param, owner)?;
            if values.is_empty() {
                return Err(owner.wrong(format!("the list of values for {param:?} is empty")));
            }
            let mut values = values
                .iter()
                .map(|value| scope.constant(index, value, Comparison::Eq, owner))
                .collect::<Result<Vec<f64>, _>>()?;
            values.sort_by(f64::total_cmp);
            Ok(Test::In { param: index, values })
        }
        Condition::All(parts) => Ok(Test::All(compile_all(parts, owner, scope)?)),
        Condition::Any(parts) => Ok(Test::Any(compile_all(parts, owner, scope)?)),
        Condition::Not(part) => Ok(Test::Not(Box::new(compile_part(part, owner, scope)?))),
    }
}

fn compile_all(parts: &[Condition], owner: &Owner<'_>, scope: &Scope<'_>) -> Result<Vec<Test>, SpaceError> {
    parts.iter().map(|part| compile_part(part, owner, scope)).collect()
}

fn compare_params(
    left: usize,
    sign: Comparison,
    right: usize,
    owner: &Owner<'_>,
    scope: &Scope<'_>,
) -> Result<Test, SpaceError> {
    let (a, b) = (&scope.parameters[left], &scope.parameters[right]);
    match (a.distribution.values(), b.distribution.values()) {
        (None, None) => Ok(Test::Params { left, sign, right }),
        (Some(x), Some(_)) if !sign.needs_order() => {
            let same = x.iter().map(|value| (scope.encode)(right, value).ok().map(|k| k as u32)).collect();
            Ok(Test::Choices { left, right, equal: sign == Comparison::Eq, same })
        }
        (Some(x), Some(y))
            if x == y && !a.distribution.is_categorical() && !b.distribution.is_categorical() =>
        {
            Ok(Test::Params { left, sign, right })
        }
        _ => {
            Err(owner.wrong(format!("{:?} and {:?} cannot be compared with {}", a.name, b.name, sign.key())))
        }
    }
}

impl Scope<'_> {
    pub(crate) fn resolve(&self, name: &str, owner: &Owner<'_>) -> Result<usize, SpaceError> {
        (self.find)(name).ok_or_else(|| owner.unknown(name, self.parameters))
    }

    /// Codes the constant of a comparison. An ordered comparison with a number may lie off the range.
    fn constant(
        &self,
        index: usize,
        value: &Value,
        sign: Comparison,
        owner: &Owner<'_>,
    ) -> Result<f64, SpaceError> {
        let parameter = &self.parameters[index];
        if parameter.distribution.values().is_none() && sign.needs_order() {
            return value.as_f64().filter(|x| x.is_finite()).ok_or_else(|| {
                owner.wrong(format!(
                    "{:?} is a number and cannot be compared with {}",
                    parameter.name,
                    value.quoted()
                ))
            });
        }
        (self.encode)(index, value).map_err(|problem| {
            owner.wrong(format!("{:?} can never be {}: {problem}", parameter.name, value.quoted()))
        })
    }
}

/// Whose condition is being checked.
pub(crate) enum Owner<'a> {
    Parameter(&'a str),
    Constraint(usize),
}

impl Owner<'_> {
    fn unknown(&self, name: &str, parameters: &[Parameter]) -> SpaceError {
        let first = format!("{name}[1]");
        if parameters.iter().any(|p| *p.name == *first) {
            return self.wrong(format!("{name:?} is repeated; write \"{name}[k]\" or \"{name}[1]\""));
        }
        if name.contains("[k") {
            return self.wrong(format!(
                "{name:?} stands for one parameter of each repetition, and there is none here to count k"
            ));
        }
        let known: Vec<&str> = parameters.iter().take(12).map(|p| &*p.name).collect();
        let more = parameters.len() - known.len();
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        self.wrong(format!("there is no parameter {name:?}; the parameters are {}{more}", known.join(", ")))
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
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Compare { param, sign, operand: Operand::Value(value) } => {
                map.serialize_entry("param", &**param)?;
                map.serialize_entry(sign.key(), value)?;
            }
            Self::Compare { param, sign, operand: Operand::Param(other) } => {
                map.serialize_entry("param", &**param)?;
                map.serialize_entry(sign.key(), &std::collections::BTreeMap::from([("param", &**other)]))?;
            }
            Self::In { param, values } => {
                map.serialize_entry("param", &**param)?;
                map.serialize_entry("in", values)?;
            }
            Self::All(parts) => map.serialize_entry("all", parts)?,
            Self::Any(parts) => map.serialize_entry("any", parts)?,
            Self::Not(part) => map.serialize_entry("not", part)?,
        }
        map.end()
    }
}

const FORM: &str = "a condition is { param = NAME, eq|ne|lt|le|gt|ge = VALUE }, { param = NAME, in = [VALUES] }, \
                    { all = [..] }, { any = [..] } or { not = .. }";

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor)
    }
}

/// Reads a condition's table. Every key may come once; a wrong key is refused where it stands.
struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Condition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORM)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Condition, A::Error> {
        let mut param: Option<Arc<str>> = None;
        let mut side: Option<Side> = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "param" {
                if param.replace(map.next_value::<String>()?.into()).is_some() {
                    return Err(de::Error::custom("param is given twice"));
                }
                continue;
            }
            if side.is_some() {
                return Err(de::Error::custom(format!("{key:?} is one key too many; {FORM}")));
            }
            side = Some(Side::read(&key, &mut map)?);
        }
        match (param, side) {
            (Some(param), Some(Side::Compare(sign, operand))) => {
                Ok(Condition::Compare { param, sign, operand })
            }
            (Some(param), Some(Side::In(values))) => Ok(Condition::In { param, values }),
            (None, Some(Side::Whole(condition))) => Ok(condition),
            _ => Err(de::Error::custom(FORM)),
        }
    }
}

/// What a condition's table says besides `param`.
enum Side {
    Compare(Comparison, Operand),
    In(Vec<Value>),
    Whole(Condition),
}

impl Side {
    fn read<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error> {
        let parts = |parts: Vec<Condition>| {
            if parts.is_empty() {
                return Err(de::Error::custom(format!("the list of {key} is empty; {FORM}")));
            }
            Ok(parts)
        };
        match key {
            "in" => Ok(Self::In(map.next_value()?)),
            "all" => Ok(Self::Whole(Condition::All(parts(map.next_value()?)?))),
            "any" => Ok(Self::Whole(Condition::Any(parts(map.next_value()?)?))),
            "not" => Ok(Self::Whole(Condition::Not(Box::new(map.next_value()?)))),
            _ => match Comparison::ALL.iter().find(|(name, _)| *name == key) {
                Some((_, sign)) => Ok(Self::Compare(*sign, map.next_value()?)),
                None => Err(de::Error::custom(format!("unknown key {key:?}; {FORM}"))),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Operand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OperandVisitor)
    }
}

/// A constant, or `{ param = NAME }`.
struct OperandVisitor;

impl<'de> Visitor<'de> for OperandVisitor {
    type Value = Operand;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or { param = NAME }")
    }
    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Operand, E> {
        Ok(Operand::Value(Value::Bool(flag)))
    }
    fn visit_i64<E: de::Error>(self, i: i64) -> Result<Operand, E> {
        Value::deserialize(i.into_deserializer()).map(Operand::Value)
    }
    fn visit_u64<E: de::Error>(self, u: u64) -> Result<Operand, E> {
        Value::deserialize(u.into_deserializer()).map(Operand::Value)
    }
    fn visit_f64<E: de::Error>(self, x: f64) -> Result<Operand, E> {
        Value::deserialize(x.into_deserializer()).map(Operand::Value)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Operand, E> {
        Ok(Operand::Value(text.into()))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Operand, A::Error> {
        let Some((key, name)) = map.next_entry::<String, String>()? else {
            return Err(de::Error::custom("the right side is empty; write a value or { param = NAME }"));
        };
        if key != "param" || map.next_key::<String>()?.is_some() {
            return Err(de::Error::custom("the right side is a value or { param = NAME }"));
        }
        Ok(Operand::Param(name.into()))
    }
}
