//! What a space file holds, key by key, and how that becomes a space: sugar, repeated groups, expanded constraints.
//!
//! The Rust builder and the derive macro fill in the same forms, so all ways of declaring a space agree.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{FileError, Format};
use crate::space::{Condition, Constraint, Distribution, Parameter, Prior, Scale, Space, SpaceError, Value};

/// The most repetitions of one repeated parameter.
const MAX_REPEAT: u32 = 10_000;

/// A table whose order counts and whose keys are all different.
#[derive(Clone, Debug, PartialEq)]
pub struct Table<T>(pub Vec<(String, T)>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
            type Value = Table<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table<T>, A::Error> {
                let (mut entries, mut seen) = (Vec::new(), HashSet::new());
                while let Some(key) = map.next_key::<String>()? {
                    if !seen.insert(key.clone()) {
                        return Err(de::Error::custom(format!(
                            "{key:?} is declared twice; rename one of them"
                        )));
                    }
                    entries.push((key, map.next_value()?));
                }
                Ok(Table(entries))
            }
        }
        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

/// The file form of a space: the keys `params` and `constraints` of a document.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceFile {
    /// The parameters by name, in declared order.
    #[serde(default)]
    pub params: Table<ParameterForm>,
    /// The constraints.
    #[serde(default)]
    pub constraints: Vec<ConstraintForm>,
}

/// The kinds of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterType {
    /// Numbers of a range.
    Float,
    /// Whole numbers of a range.
    Int,
    /// True or false.
    Bool,
    /// Choices without an order.
    Categorical,
    /// Levels in ascending order.
    Ordinal,
    /// One value, passed on as it is.
    Fixed,
}

/// One parameter as written; which keys go with which type is checked by [`SpaceFile::into_space`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterForm {
    /// What kind of parameter; every parameter says so.
    #[serde(rename = "type")]
    pub kind: Option<ParameterType>,
    /// Smallest number.
    pub low: Option<Value>,
    /// Largest number.
    pub high: Option<Value>,
    /// Scale of the search; linear if left out.
    pub scale: Option<Scale>,
    /// `log = true` is short for `scale = "log"`.
    pub log: Option<bool>,
    /// Distance between allowed numbers, counted from `low`.
    pub step: Option<Value>,
    /// The choices of a categorical.
    pub choices: Option<Vec<Value>>,
    /// The levels of an ordinal, from low to high.
    pub levels: Option<Vec<Value>>,
    /// The value of a fixed parameter.
    pub value: Option<Value>,
    /// The value tried first.
    pub default: Option<Value>,
    /// When it is active.
    pub when: Option<Condition>,
    /// Where good values are expected.
    pub prior: Option<PriorForm>,
    /// How often it is repeated, as `NAME[1]`, `NAME[2]`, ….
    pub repeat: Option<Repeat>,
}

/// A prior as written: `center` and maybe `spread`, or `weights`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriorForm {
    /// The number or level expected to be good.
    pub center: Option<Value>,
    /// Standard deviation as a share of the range on the parameter's scale; 0.2 if left out.
    pub spread: Option<f64>,
    /// Relative weights of choices.
    pub weights: Option<WeightsForm>,
}

/// Weights of choices.
#[derive(Clone, Debug, PartialEq)]
pub enum WeightsForm {
    /// One per choice, in their order.
    List(Vec<f64>),
    /// By the choice's text; a choice that is not named weighs 1.
    Named(Vec<(String, f64)>),
}

impl<'de> Deserialize<'de> for WeightsForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WeightsVisitor;
        impl<'de> Visitor<'de> for WeightsVisitor {
            type Value = WeightsForm;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of numbers, one per choice, or a table from choices to numbers")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<WeightsForm, A::Error> {
                let mut weights = Vec::new();
                while let Some(weight) = list.next_element()? {
                    weights.push(weight);
                }
                Ok(WeightsForm::List(weights))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WeightsForm, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(WeightsForm::Named(table.0))
            }
        }
        deserializer.deserialize_any(WeightsVisitor)
    }
}

/// How often a parameter is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// As often as the int parameter of this name says, trial by trial.
    Param(String),
    /// Always this often.
    Times(u32),
}

impl From<&str> for Repeat {
    fn from(name: &str) -> Self {
        Self::Param(name.into())
    }
}
impl From<u32> for Repeat {
    fn from(times: u32) -> Self {
        Self::Times(times)
    }
}

impl<'de> Deserialize<'de> for Repeat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "repeat takes the name of an int parameter or a positive whole number";
        match Value::deserialize(deserializer)? {
            Value::Text(name) => Ok(Self::Param(name.to_string())),
            Value::Int(times) => {
                u32::try_from(times).map(Self::Times).map_err(|_| de::Error::custom(expected))
            }
            Value::Bool(_) | Value::Float(_) => Err(de::Error::custom(expected)),
        }
    }
}

/// A constraint as written: exactly one of its keys.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstraintForm {
    /// A condition that must not hold.
    pub forbid: Option<Condition>,
    /// A condition that must hold.
    pub require: Option<Condition>,
    /// Bounds on a weighted sum.
    pub linear: Option<LinearForm>,
    /// A bound on a product.
    pub product: Option<ProductForm>,
}

/// `at_least ≤ Σ weight · parameter ≤ at_most`; at least one of the bounds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearForm {
    /// Weights by parameter name.
    pub weights: Table<f64>,
    /// The upper bound.
    pub at_most: Option<f64>,
    /// The lower bound.
    pub at_least: Option<f64>,
}

/// `Π parameter ≤ at_most`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductForm {
    /// Names of the factors.
    pub of: Vec<String>,
    /// The bound.
    pub at_most: f64,
}

/// A semantic error and the path of the entry that it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Misplaced {
    /// Keys and indices from the document's root, such as `["params", "lr", "low"]`.
    pub path: Vec<String>,
    /// What is wrong.
    pub error: SpaceError,
}

impl Misplaced {
    /// The error with its position in the document that the form was read from.
    pub fn locate(&self, text: &str, format: Format) -> FileError {
        FileError::at(text, format, &self.path, self.error.to_string())
    }
}

impl SpaceFile {
    /// The space that is declared. An empty one is a space, too: a study may learn its parameters as it runs.
    pub fn into_space(self) -> Result<Space, Misplaced> {
        let counts = self.repetitions()?;
        let (mut parameters, mut origins) = (Vec::new(), HashMap::new());
        for (name, form) in &self.params.0 {
            for parameter in expand(name, form, counts.get(name.as_str()).copied())? {
                origins.insert(parameter.name.clone(), name.clone());
                parameters.push(parameter);
            }
        }
        let (mut constraints, mut numbers) = (Vec::new(), Vec::new());
        for (number, form) in self.constraints.iter().enumerate() {
            let expanded = form
                .constraints()
                .and_then(|list| expand_all(&list, &counts))
                .map_err(|problem| misplaced_constraint(number, problem))?;
            numbers.extend(std::iter::repeat_n(number, expanded.len()));
            constraints.extend(expanded);
        }
        Space::new(parameters, constraints).map_err(|error| place(error, &origins, &numbers))
    }

    /// How often each repeated parameter occurs at most.
    fn repetitions(&self) -> Result<HashMap<&str, u32>, Misplaced> {
        let mut counts = HashMap::new();
        for (name, form) in &self.params.0 {
            if let Some(repeat) = &form.repeat {
                let count = self.most(repeat).map_err(|problem| wrong(name, "repeat", problem))?;
                counts.insert(name.as_str(), count);
            }
        }
        Ok(counts)
    }

    fn most(&self, repeat: &Repeat) -> Result<u32, String> {
        let count = match repeat {
            Repeat::Times(times) => i64::from(*times),
            Repeat::Param(counter) => {
                let found = self.params.0.iter().find(|(name, _)| name == counter);
                let (_, form) = found.ok_or_else(|| format!("there is no parameter {counter:?}"))?;
                let high = match form.kind {
                    Some(ParameterType::Int) => &form.high,
                    Some(ParameterType::Fixed) => &form.value,
                    _ => &None,
                };
                let high = high.as_ref().and_then(Value::as_i64).filter(|_| form.repeat.is_none());
                high.ok_or_else(|| {
                    format!("{counter:?} is not an int parameter of its own, so it counts nothing")
                })?
            }
        };
        match u32::try_from(count) {
            Ok(count @ 1..=MAX_REPEAT) => Ok(count),
            _ => Err(format!("the number of repetitions goes up to 1 … {MAX_REPEAT}, not {count}")),
        }
    }
}

/// The parameters that one form stands for: itself, or `NAME[1]`, `NAME[2]`, ….
fn expand(name: &str, form: &ParameterForm, count: Option<u32>) -> Result<Vec<Parameter>, Misplaced> {
    let distribution = form.distribution().map_err(|(field, problem)| wrong(name, field, problem))?;
    let prior = form.prior.as_ref().map(|prior| prior.resolve(&distribution)).transpose();
    let prior = prior.map_err(|problem| wrong(name, "prior", problem))?;
    let plain = Parameter {
        prior,
        default: form.default.clone(),
        when: form.when.clone(),
        ..Parameter::new(name, distribution)
    };
    let Some(count) = count else { return Ok(vec![plain]) };
    Ok((1..=count).map(|k| repetition(&plain, form.repeat.as_ref(), k)).collect())
}

/// `NAME[k]`, active while the counter reaches k.
fn repetition(plain: &Parameter, repeat: Option<&Repeat>, k: u32) -> Parameter {
    let reached = match repeat {
        Some(Repeat::Param(counter)) => Some(Condition::ge(counter, i64::from(k))),
        Some(Repeat::Times(_)) | None => None,
    };
    let own = plain
        .when
        .as_ref()
        .map(|when| when.renamed(&|name| at_index(name, k).unwrap_or_else(|| name.into())));
    Parameter {
        name: format!("{}[{k}]", plain.name).into(),
        when: match (reached, own) {
            (Some(reached), Some(own)) => Some(reached.and(own)),
            (reached, own) => reached.or(own),
        },
        ..plain.clone()
    }
}

/// `act[k]` at k = 2 is `act[2]`, and `act[k-1]` is `act[1]`; other names have no index.
fn at_index(name: &str, k: u32) -> Option<Arc<str>> {
    let (base, offset) = indexed(name)?;
    Some(format!("{base}[{}]", i64::from(k) + offset).into())
}

/// Splits `act[k+1]` into `act` and 1.
fn indexed(name: &str) -> Option<(&str, i64)> {
    let (base, index) = name.strip_suffix(']')?.rsplit_once('[')?;
    let offset = index.strip_prefix('k')?;
    if offset.is_empty() {
        return Some((base, 0));
    }
    let is_signed = offset.starts_with(['+', '-']);
    offset.parse::<i32>().ok().filter(|_| is_signed).map(|offset| (base, offset.into()))
}

/// Expands every constraint that mentions `NAME[k]` into one for each k at which all such names exist.
fn expand_all(list: &[Constraint], counts: &HashMap<&str, u32>) -> Result<Vec<Constraint>, String> {
    let mut expanded = Vec::new();
    for constraint in list {
        let ranges = constraint.mentions().into_iter().filter_map(indexed).map(|(base, offset)| {
            let count =
                counts.get(base).ok_or_else(|| format!("{base:?} is not repeated, so it has no [k]"))?;
            Ok((1 - offset, i64::from(*count) - offset))
        });
        let ranges = ranges.collect::<Result<Vec<(i64, i64)>, String>>()?;
        if ranges.is_empty() {
            expanded.push(constraint.clone());
            continue;
        }
        let first = ranges.iter().map(|range| range.0).fold(i64::MIN, i64::max);
        let last = ranges.iter().map(|range| range.1).fold(i64::MAX, i64::min);
        let names = |k: i64| move |name: &str| at_index(name, k as u32).unwrap_or_else(|| name.into());
        expanded.extend((first.max(1)..=last).map(|k| constraint.renamed(&names(k))));
    }
    Ok(expanded)
}

impl ConstraintForm {
    /// The constraints that one form stands for: one, or two where a sum is bounded on both sides.
    fn constraints(&self) -> Result<Vec<Constraint>, String> {
        match (&self.forbid, &self.require, &self.linear, &self.product) {
            (Some(condition), None, None, None) => Ok(vec![Constraint::Forbid(condition.clone())]),
            (None, Some(condition), None, None) => Ok(vec![Constraint::Require(condition.clone())]),
            (None, None, Some(linear), None) => linear.constraints(),
            (None, None, None, Some(product)) => Ok(vec![Constraint::Product {
                of: product.of.iter().map(|name| name.as_str().into()).collect(),
                at_most: product.at_most,
            }]),
            _ => Err("a constraint has exactly one of forbid, require, linear and product".into()),
        }
    }
}

impl LinearForm {
    fn constraints(&self) -> Result<Vec<Constraint>, String> {
        let bounded = |sign: f64, bound: f64| Constraint::Linear {
            weights: self
                .weights
                .0
                .iter()
                .map(|(name, weight)| (name.as_str().into(), sign * weight))
                .collect(),
            at_most: sign * bound,
        };
        if self.at_most.is_none() && self.at_least.is_none() {
            return Err("a linear constraint needs at_most or at_least".into());
        }
        if let (Some(least), Some(most)) = (self.at_least, self.at_most)
            && least > most
        {
            return Err(format!("at_least = {least} is above at_most = {most}"));
        }
        let above = self.at_least.map(|bound| bounded(-1.0, bound));
        Ok(self.at_most.map(|bound| bounded(1.0, bound)).into_iter().chain(above).collect())
    }
}

type Wrong = (&'static str, String);

impl ParameterForm {
    fn distribution(&self) -> Result<Distribution, Wrong> {
        let Some(kind) = self.kind else {
            return Err(("type", format!("say what it is: type = one of {}", ParameterType::NAMES)));
        };
        self.check_keys(kind)?;
        match kind {
            ParameterType::Float => Ok(Distribution::Float {
                low: number("low", needed("low", kind, self.low.as_ref())?)?,
                high: number("high", needed("high", kind, self.high.as_ref())?)?,
                scale: self.scale()?,
                step: self.step.as_ref().map(|step| number("step", step)).transpose()?,
            }),
            ParameterType::Int => Ok(Distribution::Int {
                low: whole("low", needed("low", kind, self.low.as_ref())?)?,
                high: whole("high", needed("high", kind, self.high.as_ref())?)?,
                scale: self.scale()?,
                step: self.step.as_ref().map_or(Ok(1), |step| whole("step", step))?,
            }),
            ParameterType::Bool => Ok(choice([false.into(), true.into()])),
            ParameterType::Categorical => {
                Ok(choice(needed("choices", kind, self.choices.as_ref())?.iter().cloned()))
            }
            ParameterType::Ordinal => Ok(Distribution::Ordinal {
                levels: needed("levels", kind, self.levels.as_ref())?.iter().cloned().collect(),
            }),
            ParameterType::Fixed => Ok(fixed(needed("value", kind, self.value.as_ref())?)),
        }
    }

    fn scale(&self) -> Result<Scale, Wrong> {
        match (self.scale, self.log) {
            (Some(_), Some(_)) => Err(("log", "scale and log say the same thing; keep scale".into())),
            (Some(scale), None) => Ok(scale),
            (None, Some(true)) => Ok(Scale::Log),
            (None, Some(false) | None) => Ok(Scale::Linear),
        }
    }

    /// Refuses a key that means nothing for the type.
    fn check_keys(&self, kind: ParameterType) -> Result<(), Wrong> {
        let given = [
            ("low", self.low.is_some()),
            ("high", self.high.is_some()),
            ("scale", self.scale.is_some()),
            ("log", self.log.is_some()),
            ("step", self.step.is_some()),
            ("choices", self.choices.is_some()),
            ("levels", self.levels.is_some()),
            ("value", self.value.is_some()),
            ("default", self.default.is_some()),
            ("prior", self.prior.is_some()),
        ];
        match given.iter().find(|(key, given)| *given && !kind.keys().contains(key)) {
            Some((key, _)) => {
                let keys = [kind.keys(), &["when", "repeat"]].concat().join(", ");
                Err((key, format!("{} parameter has no {key}; its keys are {keys}", kind.name())))
            }
            None => Ok(()),
        }
    }
}

impl ParameterType {
    const NAMES: &'static str = "\"float\", \"int\", \"bool\", \"categorical\", \"ordinal\", \"fixed\"";

    fn name(self) -> &'static str {
        match self {
            Self::Float => "a float",
            Self::Int => "an int",
            Self::Bool => "a bool",
            Self::Categorical => "a categorical",
            Self::Ordinal => "an ordinal",
            Self::Fixed => "a fixed",
        }
    }

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Float | Self::Int => &["low", "high", "scale", "log", "step", "default", "prior"],
            Self::Bool => &["default", "prior"],
            Self::Categorical => &["choices", "default", "prior"],
            Self::Ordinal => &["levels", "default", "prior"],
            Self::Fixed => &["value"],
        }
    }
}

impl PriorForm {
    fn resolve(&self, distribution: &Distribution) -> Result<Prior, String> {
        match (&self.center, self.spread, &self.weights) {
            (Some(center), None, None) => Ok(Prior::around(center.clone())),
            (Some(center), Some(spread), None) => Ok(Prior::Center { center: center.clone(), spread }),
            (None, None, Some(WeightsForm::List(weights))) => Ok(Prior::Weights { weights: weights.clone() }),
            (None, None, Some(WeightsForm::Named(named))) => named_weights(named, distribution),
            _ => Err("a prior is { center = VALUE }, { center = VALUE, spread = SHARE } or { weights = .. }"
                .into()),
        }
    }
}

fn named_weights(named: &[(String, f64)], distribution: &Distribution) -> Result<Prior, String> {
    let values = distribution.values().ok_or("a number takes center and spread, not weights")?;
    let index: HashMap<String, usize> = values.iter().enumerate().map(|(k, v)| (v.to_string(), k)).collect();
    if index.len() < values.len() {
        return Err("some choices read alike, as 1 and \"1\" do; give the weights as a list".into());
    }
    let mut weights = vec![1.0; values.len()];
    for (name, weight) in named {
        let k = index.get(name).ok_or_else(|| format!("the weight of {name:?} belongs to no choice"))?;
        weights[*k] = *weight;
    }
    Ok(Prior::Weights { weights })
}

fn choice(choices: impl IntoIterator<Item = Value>) -> Distribution {
    Distribution::Categorical { choices: choices.into_iter().collect() }
}

/// A fixed number stays a number, so that it can be compared and bounded.
fn fixed(value: &Value) -> Distribution {
    match value {
        Value::Int(i) => Distribution::Int { low: *i, high: *i, scale: Scale::Linear, step: 1 },
        Value::Float(x) => Distribution::Float { low: *x, high: *x, scale: Scale::Linear, step: None },
        Value::Bool(_) | Value::Text(_) => choice([value.clone()]),
    }
}

fn needed<'a, T>(key: &'static str, kind: ParameterType, value: Option<&'a T>) -> Result<&'a T, Wrong> {
    value.ok_or_else(|| (key, format!("{} parameter needs {key}; add it", kind.name())))
}

fn number(key: &'static str, value: &Value) -> Result<f64, Wrong> {
    value.as_f64().ok_or_else(|| (key, format!("{} is not a number", value.quoted())))
}

fn whole(key: &'static str, value: &Value) -> Result<i64, Wrong> {
    let problem =
        || format!("{} is not a whole number within ±2^53; an int takes only those", value.quoted());
    value.as_i64().ok_or_else(|| (key, problem()))
}

fn wrong(name: &str, field: &'static str, problem: String) -> Misplaced {
    Misplaced {
        path: vec!["params".into(), name.into(), field.into()],
        error: SpaceError::Parameter { name: name.into(), field, problem },
    }
}

fn misplaced_constraint(number: usize, problem: String) -> Misplaced {
    Misplaced {
        path: vec!["constraints".into(), number.to_string()],
        error: SpaceError::Constraint { index: number, problem },
    }
}

/// Finds where in the file the error of an expanded space belongs. `origins` tells which entry a parameter came
/// from, `numbers` which entry a constraint came from.
fn place(error: SpaceError, origins: &HashMap<Arc<str>, String>, numbers: &[usize]) -> Misplaced {
    let origin = |name: &str| origins.get(name).cloned().unwrap_or_else(|| name.to_owned());
    let path = match &error {
        SpaceError::Parameter { name, field, .. } => vec!["params".into(), origin(name), (*field).into()],
        SpaceError::Duplicate { name } => vec!["params".into(), origin(name)],
        SpaceError::Cycle { names } => vec!["params".into(), origin(&names[0]), "when".into()],
        SpaceError::Constraint { index, problem } => {
            return misplaced_constraint(numbers[*index], problem.clone());
        }
        SpaceError::Value { name, .. } => vec!["params".into(), origin(name)],
    };
    Misplaced { path, error }
}
